/*
 * tests/unit/save_test.c - a whole machine as bytes: what is written, what is refused, and that what was
 * restored is saved as the same again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/resource.h>

#include "tests/unit/fake_saved.h"

static struct machine m;
static struct host host;
static struct err e;
static struct partition source, copy;
static uint8_t *saved;
static size_t saved_len;

enum { MB = 32, PAGES_AT = 0x1000000 };

/* Time stands still, so that what is saved twice is the same. */
int __wrap_clock_gettime(clockid_t id, struct timespec *t);

int
__wrap_clock_gettime(clockid_t id, struct timespec *t)
{
	(void)id;
	*t = (struct timespec){ .tv_sec = 1000 };
	return 0;
}

/* A small machine that has been used: three pages of memory, registers, devices. */
static void
make_source(void)
{
	assert_int_equal(fake_saved_init(&source, &host, &m, &e), 0);
	memset(gmem_span(source.mem, PAGES_AT, 8192), 0x42, 8192);
	memset(gmem_span(source.mem, PAGES_AT + 0x10000, 4096), 0, 4096); /* a page of zeros, though there */
	memset(gmem_span(source.mem, (MB << 20) - 4096, 4096), 0x43, 4096);
	for (int i = 0; i < FAKE_STATES; i++)
		memset(fake_kvm.vcpu[0].state[i], i + 1, 4096);
	bus_write(&source.ports, 0x3ff, 1, 0x77);
	bus_write(&source.ports, 0x70, 1, 0x30);
	bus_write(&source.ports, 0x71, 1, 0x55);
	source.crash.p[1] = 9;
}

static void
save_to_bytes(struct partition *p, uint8_t **bytes, size_t *len)
{
	int fd = memfd_create("saved", MFD_CLOEXEC);

	assert_int_equal(machine_save(p, fd, &e), 0);
	*len = (size_t)lseek(fd, 0, SEEK_END);
	*bytes = malloc(*len + 64);
	assert_int_equal(pread(fd, *bytes, *len, 0), *len);
	close(fd);
}

static int
setup(void **state)
{
	(void)state;
	memset(&e, 0, sizeof(e));
	host = (struct host){ .kvm_fd = fake_kvm_open() };
	fake_machine(&m, MB, 1);
	m.memory.maximum_mb = 512;
	make_source();
	save_to_bytes(&source, &saved, &saved_len);
	fake_saved_free(&source);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	free(saved);
	fake_kvm_close();
	machine_close(&m);
	return 0;
}

/* Restores into `copy`, which the caller frees. */
static int
restore_bytes(const uint8_t *bytes, size_t len)
{
	int fd = memfd_create("saved", MFD_CLOEXEC);
	struct saved_facts facts;
	int rc;

	assert_int_equal(write(fd, bytes, len), len);
	lseek(fd, 0, SEEK_SET);
	memset(&e, 0, sizeof(e));
	rc = saved_facts_read(&facts, &m, fd, &e);
	assert_int_equal(fake_saved_init(&copy, &host, &m, NULL), 0);
	if (rc == 0)
		rc = machine_restore(&copy, &facts, fd, &e);
	close(fd);
	return rc;
}

static void
assert_refused(const uint8_t *bytes, size_t len, const char *words)
{
	int rc = restore_bytes(bytes, len);

	if (rc >= 0 || !strstr(e.msg, words))
		print_error("wanted '%s', have %d '%s'\n", words, rc, e.msg);
	assert_true(rc < 0 && strstr(e.msg, words));
	fake_saved_free(&copy);
}

/* The head of the n-th section (from 0) of a type, where it is in `saved`; its content follows. */
static uint8_t *
section(uint32_t type, int n)
{
	for (size_t at = 8; at < saved_len;) {
		uint32_t t;
		uint64_t len;

		memcpy(&t, saved + at, 4);
		memcpy(&len, saved + at + 8, 8);
		if (t == type && n-- == 0)
			return saved + at;
		at += 16 + len;
	}
	return NULL;
}

static uint64_t
length(const uint8_t *head)
{
	uint64_t len;

	memcpy(&len, head + 8, 8);
	return len;
}

static void
set_length(uint8_t *head, uint64_t len)
{
	memcpy(head + 8, &len, 8);
}

static void
remove_section(uint8_t *head)
{
	size_t n = 16 + length(head);

	memmove(head, head + n, (size_t)(saved + saved_len - head) - n);
	saved_len -= n;
}

/* --- round trips -------------------------------------------------------------------------------------- */

static void
what_was_restored_is_saved_as_the_same_again(void **state)
{
	uint8_t *again;
	size_t len;

	(void)state;
	assert_int_equal(restore_bytes(saved, saved_len), 0);
	assert_memory_equal(gmem_span(copy.mem, PAGES_AT, 8192), section(SECTION_MEMORY, 0) + 24, 8192);
	assert_int_equal(bus_read(&copy.ports, 0x3ff, 1), 0x77);
	assert_int_equal(bus_read(&copy.ports, 0x71, 1), 0x55);
	assert_int_equal(copy.crash.p[1], 9);
	save_to_bytes(&copy, &again, &len);
	assert_int_equal(len, saved_len);
	assert_memory_equal(again, saved, len);
	free(again);
	fake_saved_free(&copy);
}

static void
pages_of_zeros_are_not_written(void **state)
{
	uint64_t bytes = 0;
	uint8_t *s;

	(void)state;
	for (int i = 0; (s = section(SECTION_MEMORY, i)); i++)
		bytes += length(s) - 8;
	assert_int_equal(bytes, 3 * 4096);
}

static void
much_memory_goes_in_sections_of_at_most_1_mib(void **state)
{
	uint64_t bytes = 0;
	uint8_t *s;

	(void)state;
	free(saved);
	make_source();
	memset(gmem_span(source.mem, 0x200000, 5 << 19), 0x11, 5 << 19);
	save_to_bytes(&source, &saved, &saved_len);
	fake_saved_free(&source);
	for (int i = 0; (s = section(SECTION_MEMORY, i)); i++) {
		assert_in_range(length(s), 8 + 4096, 8 + SECTION_MEMORY_MAX);
		bytes += length(s) - 8;
	}
	assert_int_equal(bytes, (5 << 19) + 3 * 4096);
	assert_int_equal(restore_bytes(saved, saved_len), 0);
	assert_int_equal(*(uint8_t *)gmem_span(copy.mem, 0x200000 + (5 << 19) - 1, 1), 0x11);
	fake_saved_free(&copy);
}

static void
added_memory_comes_along(void **state)
{
	uint64_t gpa;

	(void)state;
	free(saved);
	make_source();
	assert_int_equal(partition_add_memory(&source, 4 << 20, &gpa, &e), 0);
	memset(gmem_span(source.mem, gpa + 8192, 1), 0x99, 1);
	save_to_bytes(&source, &saved, &saved_len);
	fake_saved_free(&source);
	assert_int_equal(restore_bytes(saved, saved_len), 0);
	assert_int_equal(gmem_size(copy.mem), (MB + 4) << 20);
	assert_int_equal(*(uint8_t *)gmem_span(copy.mem, gpa + 8192, 1), 0x99);
	fake_saved_free(&copy);
}

static void
devices_are_restored_in_the_machine_s_own_time(void **state)
{
	uint64_t before;

	(void)state;
	free(saved);
	make_source();
	source.clock_offset += 10ll * 3600 * 1000000000; /* ten hours old */
	bus_write(&source.ports, 0x70, 1, 0x0b);
	bus_write(&source.ports, 0x71, 1, 0x42); /* the RTC interrupts 1024 times a second */
	bus_write(&source.ports, 0x402, 2, 1);   /* and PM when its timer turns over */
	bus_write(&source.ports, 0x400, 2, 1);   /* which has been seen */
	before = partition_now(&source);
	save_to_bytes(&source, &saved, &saved_len);
	fake_saved_free(&source);
	assert_int_equal(restore_bytes(saved, saved_len), 0);
	for (unsigned i = 0; i < copy.devices; i++)
		if (copy.deadline[i] != UINT64_MAX) {
			assert_true(copy.deadline[i] >= before);
			assert_true(copy.deadline[i] < before + 601ull * 1000000000); /* a turn */
		}
	assert_int_equal(bus_read(&copy.ports, 0x400, 2) & 1, 0); /* no turn was seen that never was */
	fake_saved_free(&copy);
}

static void
saving_changes_nothing(void **state)
{
	uint8_t *first, *second;
	size_t a, b;

	(void)state;
	make_source();
	save_to_bytes(&source, &first, &a);
	save_to_bytes(&source, &second, &b);
	assert_int_equal(a, b);
	assert_memory_equal(first, second, a);
	free(first);
	free(second);
	fake_saved_free(&source);
}

/* --- what is refused ------------------------------------------------------------------------------------ */

static void
a_machine_cut_anywhere_is_refused(void **state)
{
	(void)state;
	for (size_t cut = 0; cut < saved_len; cut += cut < 6000 || cut + 600 > saved_len ? 1 : 97)
		assert_refused(saved, cut, "saved state: ");
}

static void
another_machine_s_state_is_refused(void **state)
{
	const struct machine was = m;

	(void)state;
#define OTHER(change, words)                             \
	do {                                             \
		m = was;                                 \
		change;                                  \
		assert_refused(saved, saved_len, words); \
		m = was;                                 \
	} while (0)
	OTHER(m.version++, "ConfigurationVersion is another than this machine's");
	OTHER(m.id[15]++, "Id is another");
	OTHER(m.processor.threads_per_core++, "Processor.ThreadsPerCore is another");
	OTHER(m.processor.cores_per_socket++, "Processor.CoresPerSocket is another");
	OTHER(m.processor.count++, "Processor.Count is another");
	OTHER(m.memory.size_mb--, "Memory.SizeInMB is another");
	OTHER(m.memory.maximum_mb++, "Memory.MaximumSizeInMB is another");
	OTHER(m.com[1] = false, "ComPorts is another");
#undef OTHER
	assert_int_equal(restore_bytes(saved, saved_len), 0);
	fake_saved_free(&copy);
}

static void
every_part_is_needed_once(void **state)
{
	static const struct {
		uint32_t type;
		int n;
		const char *without, *twice;
	} parts[] = {
		{ SECTION_FACTS, 0, "does not begin with the machine's facts", "a section of type 1" },
		{ SECTION_PROCESSORS, 0, "a device comes before its clock", "processors come twice" },
		{ SECTION_DEVICE, 0, "a device is missing", "rtc 0 comes twice" },
		{ SECTION_DEVICE, 1, "a device is missing", "uart 0 comes twice" },
		{ SECTION_DEVICE, 2, "a device is missing", "uart 1 comes twice" },
		{ SECTION_DEVICE, 3, "a device is missing", "pm 0 comes twice" },
		{ SECTION_DEVICE, 4, "a device is missing", "reset 0 comes twice" },
		{ SECTION_VMBUS, 0, "the bus is missing", "the bus comes twice" },
		{ SECTION_END, 0, "cut short", NULL },
	};

	(void)state;
	assert_null(section(SECTION_DEVICE, 5));
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		uint8_t *s = section(parts[i].type, parts[i].n), *was = saved;
		size_t n = 16 + length(s), at = (size_t)(s - saved), was_len = saved_len;

		if (parts[i].twice) {
			saved = malloc(was_len + n);
			memcpy(saved, was, at + n);
			memcpy(saved + at + n, s, was_len - at);
			assert_refused(saved, was_len + n, parts[i].twice);
		} else {
			saved = malloc(was_len);
		}
		memcpy(saved, was, was_len);
		remove_section(saved + at);
		assert_refused(saved, saved_len, parts[i].without);
		free(saved);
		saved = was;
		saved_len = was_len;
	}
	for (int i = 0; i < 5; i++) /* without any device, processors are still missing */
		remove_section(section(SECTION_DEVICE, 0));
	remove_section(section(SECTION_VMBUS, 0));
	remove_section(section(SECTION_PROCESSORS, 0));
	assert_refused(saved, saved_len, "processors are missing");
}

static void
devices_of_another_kind_or_version_are_refused(void **state)
{
	uint8_t *d = section(SECTION_DEVICE, 1) + 16;

	(void)state;
	d[20]++; /* version */
	assert_refused(saved, saved_len, "uart: version 2 is not known here");
	d[20]--;
	d[16] = 2; /* instance */
	assert_refused(saved, saved_len, "no device it was saved with");
	d[16] = 0;
	memset(d, 'u', 16); /* a name without an end */
	assert_refused(saved, saved_len, "no device it was saved with");
	memcpy(d, "uart\0\0\0\0\0\0\0\0\0\0\0", 16);
	set_length(d - 16, 23);
	assert_refused(saved, saved_len, "damaged");
}

static void
memory_that_is_not_the_machine_s_is_refused(void **state)
{
	static const uint64_t bad[] = { MB << 20, (MB << 20) - 4096, PAGES_AT + 1, PAGES_AT + 2048,
		0x100000000, UINT64_MAX, UINT64_MAX - 4095, 0xfffffffffffff000 };
	uint8_t *s = section(SECTION_MEMORY, 0); /* of two pages */

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memcpy(s + 16, &bad[i], 8);
		assert_refused(saved, saved_len, "is not this machine's");
	}
}

static void
memory_comes_in_whole_pages(void **state)
{
	static const uint64_t bad[] = { 0, 7, 8, 9, 4096, 4103, 4105, SECTION_MEMORY_MAX + 9,
		SECTION_MEMORY_MAX + 8 + 4096, SECTION_MAX };
	uint8_t *s = section(SECTION_MEMORY, 0);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		set_length(s, bad[i]);
		assert_refused(saved, saved_len, "damaged (memory of ");
	}
}

static void
sections_that_are_too_large_are_refused_before_anything_is_read(void **state)
{
	(void)state;
	set_length(section(SECTION_FACTS, 0), 8193);
	assert_refused(saved, saved_len, "does not begin with the machine's facts");
	set_length(section(SECTION_FACTS, 0), SECTION_MAX + 1ull);
	assert_refused(saved, saved_len, "damaged (a section of type 1 with 16777217 bytes)");
}

static void
a_device_that_is_too_large_is_refused(void **state)
{
	(void)state;
	set_length(section(SECTION_DEVICE, 0), 65537);
	assert_refused(saved, saved_len, "damaged (a device of 65537 bytes)");
}

static void
sections_nobody_knows_are_refused(void **state)
{
	uint8_t *s = section(SECTION_DEVICE, 0);

	(void)state;
	for (uint32_t type = 0; type < 100; type += type == 0 ? 7 : 1) {
		memcpy(s, &type, 4);
		assert_refused(saved, saved_len, "damaged (a section of type ");
	}
}

static void
the_end_has_no_content(void **state)
{
	(void)state;
	set_length(section(SECTION_END, 0), 1);
	assert_refused(saved, saved_len, "damaged");
}

static void
added_memory_that_cannot_be_is_refused(void **state)
{
	static const uint64_t bad[] = { 1, 1 << 20, 1ull << 40, UINT64_MAX };
	uint8_t *added = section(SECTION_FACTS, 0) + 16 + 8 + 16 + 5 * 8;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memcpy(added, &bad[i], 8);
		assert_int_equal(restore_bytes(saved, saved_len) < 0, 1);
		assert_true(e.msg[0]);
		fake_saved_free(&copy);
	}
}

static void
what_kvm_refuses_is_told(void **state)
{
	static const unsigned long sets[] = { KVM_SET_CLOCK, KVM_SET_IRQCHIP, KVM_SET_REGS, KVM_SET_SREGS2,
		KVM_SET_MSRS, KVM_SET_LAPIC, KVM_SET_XSAVE, KVM_SET_DEVICE_ATTR };

	(void)state;
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		int rc;

		fake_kvm.fails = sets[i];
		rc = restore_bytes(saved, saved_len);
		fake_kvm.fails = 0;
		assert_int_equal(rc, -EIO);
		assert_non_null(strstr(e.msg, "saved state: "));
		fake_saved_free(&copy);
	}
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		unit(what_was_restored_is_saved_as_the_same_again),
		unit(pages_of_zeros_are_not_written),
		unit(much_memory_goes_in_sections_of_at_most_1_mib),
		unit(added_memory_comes_along),
		unit(devices_are_restored_in_the_machine_s_own_time),
		unit(saving_changes_nothing),
		unit(a_machine_cut_anywhere_is_refused),
		unit(another_machine_s_state_is_refused),
		unit(every_part_is_needed_once),
		unit(devices_of_another_kind_or_version_are_refused),
		unit(memory_that_is_not_the_machine_s_is_refused),
		unit(memory_comes_in_whole_pages),
		unit(sections_that_are_too_large_are_refused_before_anything_is_read),
		unit(a_device_that_is_too_large_is_refused),
		unit(sections_nobody_knows_are_refused),
		unit(the_end_has_no_content),
		unit(added_memory_that_cannot_be_is_refused),
		unit(what_kvm_refuses_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
