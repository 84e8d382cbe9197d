/*
 * tests/unit/pvh_test.c - how an ELF kernel with a PVH entry is put into memory, and which are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <elf.h>
#include <errno.h>

#include "fake_boot.h"

#define MIB 0x100000u

enum {
	MEMORY_MB = 64,
	ENTRY = 2 * MIB + 0x40,
	IMAGE = 0x3000,
	CODE_AT = 0x1000,
	DATA_AT = 0x2000,
	NOTES_AT = 0x300,
	NOTES_LEN = 60,
};

/* Notes of others around ours: a name to be padded, another type of Xen's, our type of another name. */
static void
make_notes(uint8_t *at, bool is64)
{
	struct {
		Elf32_Nhdr gnu;
		char gnu_name[4];
		uint8_t gnu_desc[4];
		Elf32_Nhdr other;
		char other_name[4]; /* "Xe" and padding */
		Elf32_Nhdr xen;
		char xen_name[4];
		uint32_t entry[2];
	} n = {
		.gnu = { 4, 3, 18 },
		.gnu_name = "GNU",
		.other = { 3, 0, 18 },
		.other_name = "Xe",
		.xen = { 4, is64 ? 8 : 4, 18 },
		.xen_name = "Xen",
		.entry = { ENTRY, 0 },
	};

	_Static_assert(sizeof(n) == NOTES_LEN, "notes");
	memcpy(at, &n, sizeof(n));
}

/* Code of one page at 2 MiB, data of a page and as much bss at 3 MiB, notes. */
static void
make_elf64(uint8_t image[IMAGE])
{
	const Elf64_Phdr ph[] = {
		{ .p_type = PT_LOAD,
		    .p_offset = CODE_AT,
		    .p_paddr = 2 * MIB,
		    .p_filesz = 4096,
		    .p_memsz = 4096 },
		{ .p_type = PT_LOAD,
		    .p_offset = DATA_AT,
		    .p_paddr = 3 * MIB,
		    .p_filesz = 4096,
		    .p_memsz = 8192 },
		{ .p_type = PT_NOTE, .p_offset = NOTES_AT, .p_filesz = NOTES_LEN, .p_memsz = NOTES_LEN },
	};
	const Elf64_Ehdr h = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_phoff = sizeof(h),
		.e_phentsize = sizeof(ph[0]),
		.e_phnum = 3,
	};

	for (size_t i = 0; i < IMAGE; i++)
		image[i] = (uint8_t)(i >> 4);
	memcpy(image, &h, sizeof(h));
	memcpy(image + sizeof(h), ph, sizeof(ph));
	make_notes(image + NOTES_AT, true);
}

static void
make_elf32(uint8_t image[IMAGE])
{
	const Elf32_Phdr ph[] = {
		{ .p_type = PT_NOTE, .p_offset = NOTES_AT, .p_filesz = NOTES_LEN - 4, .p_memsz = 0 },
		{ .p_type = PT_LOAD,
		    .p_offset = CODE_AT,
		    .p_paddr = 2 * MIB,
		    .p_filesz = 4096,
		    .p_memsz = 4096 },
		{ .p_type = PT_LOAD,
		    .p_offset = DATA_AT,
		    .p_paddr = 3 * MIB,
		    .p_filesz = 4096,
		    .p_memsz = 8192 },
	};
	const Elf32_Ehdr h = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_386,
		.e_phoff = sizeof(h),
		.e_phentsize = sizeof(ph[0]),
		.e_phnum = 3,
	};

	for (size_t i = 0; i < IMAGE; i++)
		image[i] = (uint8_t)(i >> 4);
	memcpy(image, &h, sizeof(h));
	memcpy(image + sizeof(h), ph, sizeof(ph));
	make_notes(image + NOTES_AT, false);
}

static uint64_t
number(struct fake_boot *f, uint64_t gpa, size_t len)
{
	uint64_t v = 0;

	assert_int_equal(gmem_read(f->mem, gpa, &v, len), 0);
	return v;
}

static void
both_widths_are_loaded_and_start_in_protected_mode(void **state)
{
	static void (*const make[])(uint8_t *) = { make_elf64, make_elf32 };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		uint8_t image[IMAGE], zero[4096] = { 0 };
		struct fake_boot f;

		make[i](image);
		fake_boot_new(&f, MEMORY_MB);
		memset(gmem_span(f.mem, 3 * MIB, 3 * 4096), 0xee, 3 * 4096); /* as after a reset */
		assert_int_equal(fake_boot_load(&f, image, IMAGE, NULL, 0), 0);
		assert_int_equal(f.entry.mode, BOOT_PROTECTED32);
		assert_int_equal(f.entry.rip, ENTRY);
		assert_int_equal(f.entry.cr3, 0);
		assert_memory_equal(gmem_span(f.mem, 2 * MIB, 4096), image + CODE_AT, 4096);
		assert_memory_equal(gmem_span(f.mem, 3 * MIB, 4096), image + DATA_AT, 4096);
		assert_memory_equal(gmem_span(f.mem, 3 * MIB + 4096, 4096), zero, 4096);
		assert_int_equal(number(&f, 3 * MIB + 8192, 1), 0xee);
		fake_boot_free(&f);
	}
}

static void
the_kernel_is_told_what_pvh_asks_for(void **state)
{
	uint8_t image[IMAGE];
	struct fake_boot f;
	uint64_t info, list, map;
	char cmdline[32];

	(void)state;
	make_elf64(image);
	fake_boot_new(&f, MEMORY_MB);
	strcpy(f.m.direct.cmdline, "console=ttyS0");
	assert_int_equal(fake_boot_load(&f, image, IMAGE, "initrd", 6), 0);
	info = f.entry.rbx;
	assert_int_equal(number(&f, info, 4), 0x336ec578);
	assert_int_equal(number(&f, info + 4, 4), 1);
	assert_int_equal(number(&f, info + 8, 4), 0);
	assert_int_equal(number(&f, info + 12, 4), 1);
	list = number(&f, info + 16, 8);
	assert_int_equal(number(&f, list, 8), MEMORY_MB * MIB - 4096);
	assert_int_equal(number(&f, list + 8, 8), 6);
	assert_memory_equal(gmem_span(f.mem, MEMORY_MB * MIB - 4096, 6), "initrd", 6);
	assert_int_equal(gmem_read(f.mem, number(&f, info + 24, 8), cmdline, sizeof(cmdline)), 0);
	assert_string_equal(cmdline, "console=ttyS0");
	assert_int_equal(number(&f, info + 32, 8), MAP_TABLES);
	map = number(&f, info + 40, 8);
	assert_int_equal(number(&f, info + 48, 4), 5);
	assert_int_equal(number(&f, map + 2 * 24, 8), MIB);
	assert_int_equal(number(&f, map + 2 * 24 + 8, 8), (MEMORY_MB - 1) * MIB);
	assert_int_equal(number(&f, map + 2 * 24 + 16, 4), 1);
	assert_int_equal(number(&f, map + 3 * 24 + 16, 4), 2);
	/* Without an initrd there is no list, whatever was there before. */
	assert_int_equal(fake_boot_load(&f, image, IMAGE, NULL, 0), 0);
	assert_int_equal(number(&f, info + 12, 4), 0);
	assert_int_equal(number(&f, info + 16, 8), 0);
	fake_boot_free(&f);
}

static void
the_initrd_does_not_lie_on_the_kernel(void **state)
{
	static uint8_t image[IMAGE], initrd[30 * MIB];
	struct fake_boot f;

	(void)state;
	make_elf64(image);
	fake_boot_new(&f, 32);
	assert_int_equal(fake_boot_load(&f, image, IMAGE, initrd, 28 * MIB), 0);
	assert_int_equal(fake_boot_load(&f, image, IMAGE, initrd, 29 * MIB - 8192), 0);
	assert_int_equal(fake_boot_load(&f, image, IMAGE, initrd, 29 * MIB - 8191), -E2BIG);
	assert_string_equal(f.e.msg, "initrd: 30400513 bytes do not fit between 3 and 32 MiB of memory");
	fake_boot_free(&f);
}

static void
an_image_cut_anywhere_is_refused(void **state)
{
	static void (*const make[])(uint8_t *) = { make_elf64, make_elf32 };
	struct fake_boot f;

	(void)state;
	fake_boot_new(&f, MEMORY_MB);
	for (size_t i = 0; i < 2; i++) {
		uint8_t image[IMAGE];

		make[i](image);
		for (size_t len = 0; len < IMAGE; len++) {
			int rc = fake_boot_load(&f, image, len, NULL, 0);

			assert_int_equal(rc, len < 4 ? -ENOEXEC : -EINVAL);
			assert_memory_equal(
			    f.e.msg, len < 4 ? "kernel: is neither" : "kernel: cut short: ", 18);
		}
	}
	fake_boot_free(&f);
}

#define EH(m) offsetof(Elf64_Ehdr, m), sizeof(((Elf64_Ehdr *)0)->m)
#define PH(i, m) \
	sizeof(Elf64_Ehdr) + (i) * sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, m), sizeof(((Elf64_Phdr *)0)->m)

static const struct {
	size_t at, len;
	uint64_t value;
	int rc;
	const char *msg;
} bad[] = {
	{ 0, 1, 0, -ENOEXEC, "kernel: is neither a Linux kernel (bzImage) nor an ELF file" },
	{ EI_CLASS, 1, 0, -ENOEXEC, "kernel: is an ELF file for another processor" },
	{ EI_CLASS, 1, 3, -ENOEXEC, "kernel: is an ELF file for another processor" },
	{ EI_DATA, 1, ELFDATA2MSB, -ENOEXEC, "kernel: is an ELF file for another processor" },
	{ EH(e_machine), EM_AARCH64, -ENOEXEC, "kernel: is an ELF file for another processor" },
	{ EH(e_phnum), 0, -EINVAL, "kernel: damaged: 0 program headers of 56 bytes" },
	{ EH(e_phnum), 65, -EINVAL, "kernel: damaged: 65 program headers of 56 bytes" },
	{ EH(e_phnum), 65535, -EINVAL, "kernel: damaged: 65535 program headers of 56 bytes" },
	{ EH(e_phnum), 2, -ENOEXEC, "kernel: is an ELF file without a PVH entry" },
	{ EH(e_phentsize), 32, -EINVAL, "kernel: damaged: 3 program headers of 32 bytes" },
	{ EH(e_phoff), ~0ull, -EINVAL,
	    "kernel: cut short: program headers at 18446744073709551615, file has 12288 bytes" },
	{ EH(e_phoff), IMAGE, -EINVAL, "kernel: cut short: needs 56 bytes at 12288, file has 12288" },
	{ PH(0, p_filesz), 4097, -EINVAL, "kernel: damaged: 4097 bytes for 4096 bytes at 0x200000" },
	{ PH(0, p_filesz), ~0ull, -EINVAL,
	    "kernel: cut short: needs 18446744073709551615 bytes at 4096, file has 12288" },
	{ PH(1, p_offset), 0x2001, -EINVAL, "kernel: cut short: needs 4096 bytes at 8193, file has 12288" },
	{ PH(1, p_offset), ~0ull, -EINVAL,
	    "kernel: cut short: needs 4096 bytes at 18446744073709551615, file has 12288" },
	{ PH(1, p_paddr), 0, -EINVAL,
	    "kernel: a segment at 0, where only tables may be: it must be at 0x100000 or above" },
	{ PH(1, p_paddr), MIB - 1, -EINVAL,
	    "kernel: a segment at 0xfffff, where only tables may be: it must be at 0x100000 or above" },
	{ PH(1, p_paddr), 64 * MIB - 8191, -E2BIG,
	    "kernel: needs 8192 bytes at 0x3ffe001, memory ends at 64 MiB" },
	{ PH(1, p_paddr), ~0ull, -E2BIG,
	    "kernel: needs 8192 bytes at 0xffffffffffffffff, memory ends at 64 MiB" },
	{ PH(1, p_memsz), ~0ull, -E2BIG,
	    "kernel: needs 18446744073709551615 bytes at 0x300000, memory ends at 64 MiB" },
	{ PH(1, p_paddr), 2 * MIB, -EINVAL, "kernel: damaged: two segments at 0x200000" },
	{ PH(1, p_paddr), 2 * MIB - 8191, -EINVAL, "kernel: damaged: two segments at 0x1fe001" },
	{ PH(1, p_paddr), 2 * MIB + 4095, -EINVAL, "kernel: damaged: two segments at 0x200fff" },
	{ PH(2, p_type), PT_NULL, -ENOEXEC, "kernel: is an ELF file without a PVH entry" },
	{ PH(2, p_offset), ~0ull, -EINVAL,
	    "kernel: cut short: needs 60 bytes at 18446744073709551615, file has 12288" },
	{ PH(2, p_filesz), 51, -ENOEXEC, "kernel: is an ELF file without a PVH entry" },
	{ NOTES_AT, 4, 0xffffffff, -ENOEXEC, "kernel: is an ELF file without a PVH entry" },
	{ NOTES_AT + 4, 4, 0xffffffff, -ENOEXEC, "kernel: is an ELF file without a PVH entry" },
	{ NOTES_AT + 20 + 16 + 4, 4, 3, -ENOEXEC, "kernel: is an ELF file without a PVH entry" },
	{ NOTES_AT + 20 + 16 + 8, 4, 17, -ENOEXEC, "kernel: is an ELF file without a PVH entry" },
	{ NOTES_AT + 20 + 16 + 16, 4, 0, -ENOEXEC, "kernel: is an ELF file without a PVH entry" },
	{ NOTES_AT + 20 + 16 + 16, 4, 2 * MIB - 1, -EINVAL,
	    "kernel: damaged: its entry 0x1fffff is in no segment" },
	{ NOTES_AT + 20 + 16 + 16, 4, 2 * MIB + 4096, -EINVAL,
	    "kernel: damaged: its entry 0x201000 is in no segment" },
};

static void
nonsense_in_the_headers_is_refused_in_words(void **state)
{
	struct fake_boot f;

	(void)state;
	fake_boot_new(&f, MEMORY_MB);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t image[IMAGE];

		make_elf64(image);
		memcpy(image + bad[i].at, &bad[i].value, bad[i].len);
		assert_int_equal(fake_boot_load(&f, image, IMAGE, NULL, 0), bad[i].rc);
		assert_string_equal(f.e.msg, bad[i].msg);
	}
	fake_boot_free(&f);
}

static void
segments_may_touch_and_be_empty(void **state)
{
	uint8_t image[IMAGE];
	const uint64_t next = 2 * MIB + 4096, none = 0;
	struct fake_boot f;

	(void)state;
	make_elf64(image);
	fake_boot_new(&f, MEMORY_MB);
	memcpy(image + sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, p_paddr), &next, 8);
	assert_int_equal(fake_boot_load(&f, image, IMAGE, NULL, 0), 0);
	memcpy(image + sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, p_filesz), &none, 8);
	assert_int_equal(fake_boot_load(&f, image, IMAGE, NULL, 0), 0);
	assert_int_equal(number(&f, next, 8), 0);
	fake_boot_free(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_widths_are_loaded_and_start_in_protected_mode),
		cmocka_unit_test(the_kernel_is_told_what_pvh_asks_for),
		cmocka_unit_test(the_initrd_does_not_lie_on_the_kernel),
		cmocka_unit_test(an_image_cut_anywhere_is_refused),
		cmocka_unit_test(nonsense_in_the_headers_is_refused_in_words),
		cmocka_unit_test(segments_may_touch_and_be_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
