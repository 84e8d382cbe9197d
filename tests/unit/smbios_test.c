/*
 * tests/unit/smbios_test.c - the SMBIOS tables of machines, read as a guest reads them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "fake_boot.h"
#include "hypervisor/boot/smbios.h"

struct view {
	const uint8_t *start, *end;
	unsigned count;
	size_t longest;
};

static uint64_t
number(const uint8_t *p, size_t len)
{
	uint64_t v = 0;

	memcpy(&v, p, len);
	return v;
}

static uint8_t
sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	while (len-- != 0)
		s = (uint8_t)(s + *p++);
	return s;
}

/* The next structure; checks that strings end before the table does. */
static const uint8_t *
next(const uint8_t *s, const uint8_t *end)
{
	const uint8_t *p = s + s[1];

	while (p + 1 < end && (p[0] != 0 || p[1] != 0))
		p++;
	assert_true(p + 2 <= end);
	return p + 2;
}

static void
read_all(struct fake_boot *f, struct view *v)
{
	const uint8_t *rom = gmem_span(f->mem, MAP_SMBIOS, MAP_SMBIOS_LEN);

	assert_memory_equal(rom, "_SM3_", 5);
	assert_int_equal(rom[6], 24);
	assert_int_equal(sum(rom, 24), 0);
	assert_int_equal(rom[7], 3);
	v->start = gmem_span(f->mem, number(rom + 16, 8), number(rom + 12, 4));
	assert_non_null(v->start);
	v->end = v->start + number(rom + 12, 4);
	assert_true(v->start > rom && v->end <= rom + MAP_SMBIOS_LEN);
	v->count = 0;
	v->longest = 0;
	for (const uint8_t *s = v->start, *n; s < v->end; s = n, v->count++) {
		assert_true(s[1] >= 4);
		n = next(s, v->end);
		v->longest = (size_t)(n - s) > v->longest ? (size_t)(n - s) : v->longest;
		assert_int_equal(s[0] == 127, n == v->end);
	}
}

static const uint8_t *
find(const struct view *v, unsigned type, unsigned n)
{
	for (const uint8_t *s = v->start; s < v->end; s = next(s, v->end))
		if (s[0] == type && n-- == 0)
			return s;
	return NULL;
}

/* The string that a field names. */
static const char *
text(const uint8_t *s, size_t field)
{
	const char *p = (const char *)s + s[1];

	if (s[field] == 0)
		return "";
	for (unsigned i = 1; i < s[field]; i++)
		p += strlen(p) + 1;
	return p;
}

static void
make(struct fake_boot *f, struct view *v)
{
	assert_int_equal(smbios_write(&f->m, f->mem, &f->e), 0);
	read_all(f, v);
}

static void
old_and_new_entry_points_lead_to_the_same_structures(void **state)
{
	struct fake_boot f;
	struct view v;
	const uint8_t *old;

	(void)state;
	fake_boot_new(&f, 64);
	make(&f, &v);
	old = gmem_span(f.mem, MAP_SMBIOS + 0x20, 0x1f);
	assert_memory_equal(old, "_SM_", 4);
	assert_int_equal(old[5], 0x1f);
	assert_int_equal(sum(old, 0x1f), 0);
	assert_memory_equal(old + 16, "_DMI_", 5);
	assert_int_equal(sum(old + 16, 15), 0);
	assert_int_equal(number(old + 8, 2), v.longest);
	assert_int_equal(number(old + 22, 2), v.end - v.start);
	assert_ptr_equal(gmem_span(f.mem, number(old + 24, 4), 1), v.start);
	assert_int_equal(number(old + 28, 2), v.count);
	fake_boot_free(&f);
}

static void
structures_have_the_lengths_of_the_specification(void **state)
{
	static const struct {
		unsigned type, len;
	} want[] = {
		{ 0, 0x1a },
		{ 1, 0x1b },
		{ 3, 0x16 },
		{ 4, 0x30 },
		{ 16, 0x17 },
		{ 17, 0x28 },
		{ 19, 0x1f },
		{ 32, 0x0b },
		{ 127, 4 },
	};
	struct fake_boot f;
	struct view v;

	(void)state;
	fake_boot_new(&f, 64);
	make(&f, &v);
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		const uint8_t *s = find(&v, want[i].type, 0);

		assert_non_null(s);
		assert_int_equal(s[1], want[i].len);
		assert_null(find(&v, want[i].type, 1));
	}
	assert_int_equal(v.count, sizeof(want) / sizeof(want[0]));
	fake_boot_free(&f);
}

static void
the_system_is_who_the_document_says(void **state)
{
	static const uint8_t id[16] = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa,
		0xbb, 0xcc, 0xdd, 0xee, 0xff };
	static const uint8_t in_table[16] = { 0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99,
		0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff };
	struct fake_boot f;
	struct view v;
	const uint8_t *s;

	(void)state;
	fake_boot_new(&f, 64);
	memcpy(f.m.id, id, sizeof(id));
	strcpy(f.m.smbios.serial, "S-17");
	strcpy(f.m.smbios.asset_tag, "A-18");
	make(&f, &v);
	s = find(&v, 1, 0);
	assert_string_equal(text(s, 4), "Freehold");
	assert_string_equal(text(s, 5), "Virtual Machine");
	assert_string_equal(text(s, 7), "S-17");
	assert_memory_equal(s + 8, in_table, 16);
	s = find(&v, 3, 0);
	assert_string_equal(text(s, 7), "S-17");
	assert_string_equal(text(s, 8), "A-18");
	s = find(&v, 0, 0);
	assert_string_equal(text(s, 4), "Freehold");
	assert_int_equal(s[0x13] & 0x10, 0x10); /* a virtual machine */
	fake_boot_free(&f);
}

static void
empty_strings_are_no_strings(void **state)
{
	struct fake_boot f;
	struct view v;

	(void)state;
	fake_boot_new(&f, 64);
	make(&f, &v);
	assert_int_equal(find(&v, 1, 0)[7], 0);
	assert_int_equal(find(&v, 3, 0)[8], 0);
	fake_boot_free(&f);
}

static void
there_is_a_processor_structure_for_each_socket(void **state)
{
	struct fake_boot f;
	struct view v;

	(void)state;
	fake_boot_new(&f, 64);
	f.m.processor.count = 12;
	f.m.processor.threads_per_core = 2;
	f.m.processor.cores_per_socket = 3;
	make(&f, &v);
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *s = find(&v, 4, i);

		assert_string_equal(text(s, 4), i == 0 ? "CPU 00" : "CPU 01");
		assert_int_equal(s[0x23], 3);
		assert_int_equal(s[0x24], 3);
		assert_int_equal(s[0x25], 6);
		assert_int_equal(number(s + 0x26, 2), 0x1c);
		assert_int_equal(number(s + 0x2e, 2), 6);
		assert_int_equal(number(s + 2, 2), 0x400 + i);
	}
	assert_null(find(&v, 4, 2));
	fake_boot_free(&f);
}

static void
memory_of_any_size_has_its_fields(void **state)
{
	static const struct {
		uint64_t mb, most;
		uint32_t array_kb, device_mb, device_more, low_end, high_start, high_end;
		uint64_t array_more, high_end_more;
	} known[] = {
		{ 512, 0, 512 << 10, 512, 0, (512 << 10) - 1, 0, 0, 0, 0 },
		{ 4096, 8192, 8192 << 10, 4096, 0, (3072 << 10) - 1, 4096 << 10, (5120 << 10) - 1, 0, 0 },
		{ 0x7ffe, 0, 0x7ffe << 10, 0x7ffe, 0, (3072 << 10) - 1, 4096 << 10,
		    (0x7ffe + 1024) * 1024u - 1, 0, 0 },
		{ 0x7fff, 0, 0x7fff << 10, 0x7fff, 0x7fff, (3072 << 10) - 1, 4096 << 10,
		    (0x7fff + 1024) * 1024u - 1, 0, 0 },
		{ 2 << 20, 0, 0x80000000, 0x7fff, 2 << 20, (3072 << 10) - 1, 4096 << 10,
		    ((2 << 20) + 1024) * 1024u - 1, 2ull << 40, 0 },
		{ MACHINE_MAX_MB, 0, 0x80000000, 0x7fff, MACHINE_MAX_MB, (3072 << 10) - 1, 0xffffffff,
		    0xffffffff, 16ull << 40, (16ull << 40) + (1ull << 30) - 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		struct fake_boot f;
		struct view v;
		const uint8_t *s;

		fake_boot_new(&f, 32);
		f.m.memory.size_mb = known[i].mb;
		f.m.memory.maximum_mb = known[i].most;
		make(&f, &v);
		s = find(&v, 16, 0);
		assert_int_equal(number(s + 7, 4), known[i].array_kb);
		assert_true(number(s + 15, 8) == known[i].array_more);
		s = find(&v, 17, 0);
		assert_int_equal(number(s + 12, 2), known[i].device_mb);
		assert_int_equal(number(s + 0x1c, 4), known[i].device_more);
		assert_int_equal(number(s + 4, 2), number(find(&v, 16, 0) + 2, 2));
		s = find(&v, 19, 0);
		assert_int_equal(number(s + 4, 4), 0);
		assert_int_equal(number(s + 8, 4), known[i].low_end);
		s = find(&v, 19, 1);
		assert_int_equal(s != NULL, known[i].high_end != 0);
		if (s != NULL) {
			assert_int_equal(number(s + 4, 4), known[i].high_start);
			assert_int_equal(number(s + 8, 4), known[i].high_end);
			assert_true(number(s + 0x17, 8) == known[i].high_end_more);
		}
		fake_boot_free(&f);
	}
}

static void
the_largest_machine_with_the_longest_strings_fits(void **state)
{
	struct fake_boot f;
	struct view v;

	(void)state;
	fake_boot_new(&f, 4096);
	f.m.processor.count = 64;
	f.m.processor.cores_per_socket = 1;
	memset(f.m.smbios.serial, 's', sizeof(f.m.smbios.serial) - 1);
	memset(f.m.smbios.asset_tag, 'a', sizeof(f.m.smbios.asset_tag) - 1);
	make(&f, &v);
	assert_non_null(find(&v, 4, 63));
	assert_string_equal(text(find(&v, 4, 63), 4), "CPU 63");
	assert_string_equal(text(find(&v, 1, 0), 7), f.m.smbios.serial);
	assert_string_equal(text(find(&v, 3, 0), 8), f.m.smbios.asset_tag);
	fake_boot_free(&f);
}

static void
a_machine_without_memory_is_an_error(void **state)
{
	struct fake_boot f;

	(void)state;
	memset(&f, 0, sizeof(f));
	machine_defaults(&f.m);
	f.m.memory.size_mb = 32;
	assert_int_equal(gmem_new(&f.mem, 0x100000, false, &f.e), 0);
	assert_int_equal(smbios_write(&f.m, f.mem, &f.e), -EFAULT);
	fake_boot_free(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(old_and_new_entry_points_lead_to_the_same_structures),
		cmocka_unit_test(structures_have_the_lengths_of_the_specification),
		cmocka_unit_test(the_system_is_who_the_document_says),
		cmocka_unit_test(empty_strings_are_no_strings),
		cmocka_unit_test(there_is_a_processor_structure_for_each_socket),
		cmocka_unit_test(memory_of_any_size_has_its_fields),
		cmocka_unit_test(the_largest_machine_with_the_longest_strings_fits),
		cmocka_unit_test(a_machine_without_memory_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
