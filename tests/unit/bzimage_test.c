/*
 * tests/unit/bzimage_test.c - how a Linux kernel is put into memory, and which images are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <asm/bootparam.h>
#include <errno.h>
#include <stdio.h>

#include "fake_boot.h"

#define MIB 0x100000u

enum { SETUP = 1024, CODE = 4096, IMAGE = SETUP + CODE, MEMORY_MB = 64 };

/* A kernel of one page that prefers 16 MiB and uses 8 MiB. */
static void
make_kernel(uint8_t image[IMAGE])
{
	struct setup_header h = {
		.setup_sects = 1,
		.syssize = CODE / 16,
		.boot_flag = 0xaa55,
		.jump = 0x6aeb, /* the header ends at 0x202 + 0x6a */
		.header = 0x53726448,
		.version = 0x20f,
		.loadflags = LOADED_HIGH,
		.code32_start = 0x100000,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 0x200000,
		.relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 2047,
		.setup_data = 0x1234, /* nonsense that must not reach the guest */
		.pref_address = 16 * MIB,
		.init_size = 8 * MIB,
	};

	for (size_t i = 0; i < IMAGE; i++)
		image[i] = (uint8_t)(i * 3 + 1);
	memcpy(image + 0x1f1, &h, sizeof(h));
}

static struct boot_params
params(struct fake_boot *f)
{
	struct boot_params bp;

	assert_int_equal(f->entry.rsi % 4, 0);
	assert_int_equal(gmem_read(f->mem, f->entry.rsi, &bp, sizeof(bp)), 0);
	return bp;
}

static uint64_t
word(struct fake_boot *f, uint64_t gpa)
{
	uint64_t v;

	assert_int_equal(gmem_read(f->mem, gpa, &v, sizeof(v)), 0);
	return v;
}

static void
a_64_bit_kernel_starts_in_long_mode_at_its_preferred_address(void **state)
{
	uint8_t image[IMAGE], seen[CODE];
	struct fake_boot f;

	(void)state;
	make_kernel(image);
	fake_boot_new(&f, MEMORY_MB);
	assert_int_equal(fake_boot_load(&f, image, IMAGE, NULL, 0), 0);
	assert_int_equal(f.entry.mode, BOOT_LONG64);
	assert_int_equal(f.entry.rip, 16 * MIB + 0x200);
	assert_int_equal(gmem_read(f.mem, 16 * MIB, seen, CODE), 0);
	assert_memory_equal(seen, image + SETUP, CODE);
	fake_boot_free(&f);
}

static void
a_32_bit_kernel_starts_in_protected_mode(void **state)
{
	uint8_t image[IMAGE];
	struct fake_boot f;

	(void)state;
	make_kernel(image);
	((struct setup_header *)(image + 0x1f1))->xloadflags = 0;
	fake_boot_new(&f, MEMORY_MB);
	assert_int_equal(fake_boot_load(&f, image, IMAGE, NULL, 0), 0);
	assert_int_equal(f.entry.mode, BOOT_PROTECTED32);
	assert_int_equal(f.entry.rip, 16 * MIB);
	assert_int_equal(f.entry.cr3, 0);
	assert_int_equal(params(&f).hdr.code32_start, 16 * MIB);
	assert_true(word(&f, f.entry.gdt + 0x10) == 0x00cf9b000000ffff);
	fake_boot_free(&f);
}

static void
the_kernel_is_told_what_boot_rst_asks_for(void **state)
{
	uint8_t image[IMAGE];
	struct fake_boot f;
	struct boot_params bp;
	char cmdline[32];

	(void)state;
	make_kernel(image);
	fake_boot_new(&f, MEMORY_MB);
	strcpy(f.m.direct.cmdline, "console=ttyS0");
	assert_int_equal(fake_boot_load(&f, image, IMAGE, "initrd", 6), 0);
	bp = params(&f);
	assert_int_equal(bp.hdr.type_of_loader, 0xff);
	assert_int_equal(bp.hdr.header, 0x53726448);
	assert_int_equal(bp.hdr.setup_data, 0);
	assert_int_equal(bp.hdr.init_size, 8 * MIB);
	assert_int_equal(bp.hdr.handover_offset, 0);
	assert_int_equal(bp.sentinel, 0);
	assert_true(bp.acpi_rsdp_addr == MAP_TABLES);
	assert_int_equal(bp.hdr.ramdisk_size, 6);
	assert_int_equal(gmem_read(f.mem, bp.hdr.cmd_line_ptr, cmdline, sizeof(cmdline)), 0);
	assert_string_equal(cmdline, "console=ttyS0");
	assert_memory_equal(gmem_span(f.mem, bp.hdr.ramdisk_image, 6), "initrd", 6);
	fake_boot_free(&f);
}

static void
what_is_behind_the_end_of_the_header_is_not_header(void **state)
{
	uint8_t image[IMAGE];
	struct fake_boot f;

	(void)state;
	make_kernel(image);
	image[0x201] = 0x5a; /* ends before pref_address and init_size: protocol 2.09 */
	((struct setup_header *)(image + 0x1f1))->version = 0x209;
	((struct setup_header *)(image + 0x1f1))->init_size = 0xffffffff;
	fake_boot_new(&f, MEMORY_MB);
	assert_int_equal(fake_boot_load(&f, image, IMAGE, NULL, 0), 0);
	assert_int_equal(f.entry.mode, BOOT_PROTECTED32);
	assert_int_equal(f.entry.rip, 2 * MIB); /* 1 MiB, aligned */
	assert_int_equal(params(&f).hdr.init_size, 0);
	fake_boot_free(&f);
}

static void
the_memory_map_names_ram_and_what_is_kept_for_later(void **state)
{
	static const struct boot_e820_entry want[] = {
		{ 0, 0xa0000, 1 },
		{ 0xe0000, 0x20000, 2 },
		{ 0x100000, 0xbff00000, 1 },
		{ 0xe0000000, 0x10000000, 2 },
		{ 0xfeffc000, 0x1004000, 2 },
		{ 0x100000000, 0x40000000, 1 },
	};
	uint8_t image[IMAGE];
	struct boot_params bp;
	struct fake_boot f;

	(void)state;
	make_kernel(image);
	fake_boot_new(&f, 4096);
	assert_int_equal(fake_boot_load(&f, image, IMAGE, NULL, 0), 0);
	bp = params(&f);
	assert_int_equal(bp.e820_entries, 6);
	assert_memory_equal(bp.e820_table, want, sizeof(want));
	fake_boot_free(&f);

	fake_boot_new(&f, MEMORY_MB);
	assert_int_equal(fake_boot_load(&f, image, IMAGE, NULL, 0), 0);
	bp = params(&f);
	assert_int_equal(bp.e820_entries, 5);
	assert_true(bp.e820_table[2].size == (MEMORY_MB - 1) * (uint64_t)MIB);
	fake_boot_free(&f);
}

static void
page_tables_map_4_gib_one_to_one(void **state)
{
	static const uint64_t probe[] = { 0, 0x1fffff, 0x200000, 0xc0000000, 0xfee00000, 0xffffffff };
	uint8_t image[IMAGE];
	struct fake_boot f;

	(void)state;
	make_kernel(image);
	fake_boot_new(&f, MEMORY_MB);
	assert_int_equal(fake_boot_load(&f, image, IMAGE, NULL, 0), 0);
	for (size_t i = 0; i < sizeof(probe) / sizeof(probe[0]); i++) {
		uint64_t pml4e = word(&f, f.entry.cr3), pdpte, pde;

		assert_int_equal(pml4e & 0xfff, 3);
		pdpte = word(&f, (pml4e & ~0xfffull) + (probe[i] >> 30) * 8);
		assert_int_equal(pdpte & 0xfff, 3);
		pde = word(&f, (pdpte & ~0xfffull) + (probe[i] >> 21 & 511) * 8);
		assert_int_equal(pde & 0xfff, 0x83);
		assert_int_equal(pde & ~0xfffull, probe[i] & ~0x1fffffull);
	}
	assert_int_equal(word(&f, f.entry.cr3 + 8), 0);
	fake_boot_free(&f);
}

static void
segments_are_flat_and_where_boot_rst_wants_them(void **state)
{
	uint8_t image[IMAGE];
	struct fake_boot f;

	(void)state;
	make_kernel(image);
	fake_boot_new(&f, MEMORY_MB);
	assert_int_equal(fake_boot_load(&f, image, IMAGE, NULL, 0), 0);
	assert_int_equal(f.entry.gdt_len, 0x20);
	assert_true(word(&f, f.entry.gdt) == 0);
	assert_true(word(&f, f.entry.gdt + 0x10) == 0x00af9b000000ffff);
	assert_true(word(&f, f.entry.gdt + 0x18) == 0x00cf93000000ffff);
	assert_true(f.entry.rsp != 0 && f.entry.rsp % 16 == 0 && f.entry.rsp < 0xa0000);
	fake_boot_free(&f);
}

static void
the_initrd_lies_as_high_as_the_kernel_allows(void **state)
{
	static const struct {
		uint32_t max;
		size_t len;
		uint32_t want; /* 0: refused */
	} at[] = {
		{ 0x7fffffff, 1, MEMORY_MB * MIB - 4096 },
		{ 0x7fffffff, 4096, MEMORY_MB * MIB - 4096 },
		{ 0x7fffffff, 4097, MEMORY_MB * MIB - 8192 },
		{ 0xffffffff, 1, MEMORY_MB * MIB - 4096 },
		{ 0x37fffff, 5, 0x37ff000 },
		{ 0x3000000, 5, 0x2fff000 },
		{ 24 * MIB + 4095, 4096, 24 * MIB },
		{ 24 * MIB + 4095, 4097, 0 },
		{ 24 * MIB + 4094, 4096, 0 },
		{ 0x1000, 1, 0 },
		{ 0, 1, 0 },
		{ 0, 4096, 0 },
	};
	static const uint8_t initrd[4097] = { 7, 8, 9 };
	uint8_t image[IMAGE];
	struct fake_boot f;

	(void)state;
	make_kernel(image);
	fake_boot_new(&f, MEMORY_MB);
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		int rc;

		((struct setup_header *)(image + 0x1f1))->initrd_addr_max = at[i].max;
		rc = fake_boot_load(&f, image, IMAGE, initrd, at[i].len);
		if (at[i].want == 0) {
			assert_int_equal(rc, -E2BIG);
			assert_memory_equal(f.e.msg, "initrd: ", 8);
			continue;
		}
		assert_int_equal(rc, 0);
		assert_int_equal(params(&f).hdr.ramdisk_image, at[i].want);
		assert_memory_equal(gmem_span(f.mem, at[i].want, at[i].len), initrd, at[i].len);
	}
	fake_boot_free(&f);
}

static void
a_kernel_uses_at_least_the_memory_of_its_code(void **state)
{
	uint8_t image[IMAGE];
	struct fake_boot f;

	(void)state;
	make_kernel(image);
	((struct setup_header *)(image + 0x1f1))->init_size = 0;
	((struct setup_header *)(image + 0x1f1))->initrd_addr_max = 16 * MIB + CODE - 1;
	fake_boot_new(&f, MEMORY_MB);
	assert_int_equal(fake_boot_load(&f, image, IMAGE, "x", 1), -E2BIG);
	((struct setup_header *)(image + 0x1f1))->initrd_addr_max = 16 * MIB + 2 * CODE - 1;
	assert_int_equal(fake_boot_load(&f, image, IMAGE, "x", 1), 0);
	fake_boot_free(&f);
}

static void
an_empty_initrd_is_refused(void **state)
{
	uint8_t image[IMAGE];
	struct fake_boot f;

	(void)state;
	make_kernel(image);
	fake_boot_new(&f, MEMORY_MB);
	f.m.direct.kernel_fd = fake_file(image, IMAGE);
	f.m.direct.initrd_fd = fake_file("", 0);
	assert_int_equal(boot_load(&f.m, f.mem, &f.entry, &f.e), -EINVAL);
	assert_string_equal(f.e.msg, "initrd: is empty");
	fake_boot_free(&f);
}

static void
the_command_line_fits_or_is_refused(void **state)
{
	uint8_t image[IMAGE];
	struct fake_boot f;

	(void)state;
	make_kernel(image);
	((struct setup_header *)(image + 0x1f1))->cmdline_size = 4;
	fake_boot_new(&f, MEMORY_MB);
	strcpy(f.m.direct.cmdline, "quit");
	assert_int_equal(fake_boot_load(&f, image, IMAGE, NULL, 0), 0);
	strcpy(f.m.direct.cmdline, "quiet");
	assert_int_equal(fake_boot_load(&f, image, IMAGE, NULL, 0), -E2BIG);
	assert_string_equal(f.e.msg, "kernel: takes 4 bytes of command line, 5 are given");
	fake_boot_free(&f);
}

static void
an_image_cut_anywhere_is_refused(void **state)
{
	uint8_t image[IMAGE];
	struct fake_boot f;

	(void)state;
	make_kernel(image);
	fake_boot_new(&f, MEMORY_MB);
	for (size_t len = 0; len < IMAGE; len++) {
		int rc = fake_boot_load(&f, image, len, NULL, 0);

		assert_int_equal(rc, len < 0x206 ? -ENOEXEC : -EINVAL);
		assert_memory_equal(f.e.msg, "kernel: ", 8);
	}
	assert_string_equal(f.e.msg, "kernel: cut short: header says 5120 bytes, file has 5119");
	fake_boot_free(&f);
}

#define AT(m) 0x1f1 + offsetof(struct setup_header, m), sizeof(((struct setup_header *)0)->m)

static void
nonsense_in_the_header_is_refused_in_words(void **state)
{
	static const struct {
		size_t at, len;
		uint64_t value;
		int rc;
		const char *msg;
	} bad[] = {
		{ AT(header), 0, -ENOEXEC, "kernel: is neither a Linux kernel (bzImage) nor an ELF file" },
		{ AT(version), 0x205, -ENOEXEC, "kernel: boot protocol 2.05 is too old, 2.06 is needed" },
		{ AT(version), 0, -ENOEXEC, "kernel: boot protocol 0.00 is too old, 2.06 is needed" },
		{ AT(loadflags), 0, -ENOEXEC, "kernel: starts only from a BIOS" },
		{ AT(code32_start), 0, -ENOEXEC, "kernel: starts only from a BIOS" },
		{ AT(setup_sects), 0, -EINVAL, "kernel: cut short: header says 6656 bytes, file has 5120" },
		{ AT(setup_sects), 255, -EINVAL,
		    "kernel: cut short: header says 135168 bytes, file has 5120" },
		{ AT(syssize), 0, -EINVAL, "kernel: damaged: header says 0 bytes of code" },
		{ AT(syssize), 0x20, -EINVAL, "kernel: damaged: header says 512 bytes of code" },
		{ AT(syssize), 0x101, -EINVAL, "kernel: cut short: header says 5136 bytes, file has 5120" },
		{ AT(syssize), 0xffffffff, -EINVAL,
		    "kernel: cut short: header says 68719477744 bytes, file has 5120" },
		{ AT(kernel_alignment), 0, -EINVAL, "kernel: damaged: its alignment is 0" },
		{ AT(kernel_alignment), 0x300000, -EINVAL, "kernel: damaged: its alignment is 0x300000" },
		{ AT(kernel_alignment), 0x80000000, -E2BIG,
		    "kernel: needs 8 MiB at 0x80000000, memory ends at 64 MiB" },
		{ AT(pref_address), 0, -EINVAL, "kernel: damaged: it wants to be at 0" },
		{ AT(pref_address), ~0ull, -EINVAL, "kernel: damaged: it wants to be at 0" },
		{ AT(pref_address), 57 * MIB, -E2BIG,
		    "kernel: needs 8 MiB at 0x3a00000, memory ends at 64 MiB" },
		{ AT(pref_address), 0xffffffffff000000, -E2BIG,
		    "kernel: needs 8 MiB at 0xffffffffff000000, memory ends at 64 MiB" },
		{ AT(pref_address), 0x100000000, -E2BIG,
		    "kernel: needs 8 MiB at 0x100000000, memory ends at 64 MiB" },
		{ AT(init_size), 0xffffffff, -E2BIG,
		    "kernel: needs 4096 MiB at 0x1000000, memory ends at 64 MiB" },
		{ AT(init_size), 48 * MIB + 1, -E2BIG,
		    "kernel: needs 49 MiB at 0x1000000, memory ends at 64 MiB" },
	};
	struct fake_boot f;

	(void)state;
	fake_boot_new(&f, MEMORY_MB);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t image[IMAGE];

		make_kernel(image);
		memcpy(image + bad[i].at, &bad[i].value, bad[i].len);
		assert_int_equal(fake_boot_load(&f, image, IMAGE, NULL, 0), bad[i].rc);
		assert_string_equal(f.e.msg, bad[i].msg);
	}
	fake_boot_free(&f);
}

static void
a_kernel_may_fill_memory_to_its_end(void **state)
{
	uint8_t image[IMAGE];
	struct fake_boot f;

	(void)state;
	make_kernel(image);
	((struct setup_header *)(image + 0x1f1))->init_size = 48 * MIB;
	fake_boot_new(&f, MEMORY_MB);
	assert_int_equal(fake_boot_load(&f, image, IMAGE, NULL, 0), 0);
	assert_int_equal(fake_boot_load(&f, image, IMAGE, "x", 1), -E2BIG);
	assert_string_equal(f.e.msg, "initrd: 1 bytes do not fit between 64 and 64 MiB of memory");
	fake_boot_free(&f);
}

static void
what_is_no_file_is_refused(void **state)
{
	struct fake_boot f;
	int pipes[2];

	(void)state;
	fake_boot_new(&f, MEMORY_MB);
	assert_int_equal(boot_load(&f.m, f.mem, &f.entry, &f.e), -ENOENT);
	assert_int_equal(pipe(pipes), 0);
	f.m.direct.kernel_fd = pipes[0];
	assert_int_equal(boot_load(&f.m, f.mem, &f.entry, &f.e), -EINVAL);
	assert_string_equal(f.e.msg, "kernel: is not a regular file");
	close(pipes[1]);
	fake_boot_free(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_64_bit_kernel_starts_in_long_mode_at_its_preferred_address),
		cmocka_unit_test(a_32_bit_kernel_starts_in_protected_mode),
		cmocka_unit_test(the_kernel_is_told_what_boot_rst_asks_for),
		cmocka_unit_test(what_is_behind_the_end_of_the_header_is_not_header),
		cmocka_unit_test(the_memory_map_names_ram_and_what_is_kept_for_later),
		cmocka_unit_test(page_tables_map_4_gib_one_to_one),
		cmocka_unit_test(segments_are_flat_and_where_boot_rst_wants_them),
		cmocka_unit_test(the_initrd_lies_as_high_as_the_kernel_allows),
		cmocka_unit_test(a_kernel_uses_at_least_the_memory_of_its_code),
		cmocka_unit_test(an_empty_initrd_is_refused),
		cmocka_unit_test(the_command_line_fits_or_is_refused),
		cmocka_unit_test(an_image_cut_anywhere_is_refused),
		cmocka_unit_test(nonsense_in_the_header_is_refused_in_words),
		cmocka_unit_test(a_kernel_may_fill_memory_to_its_end),
		cmocka_unit_test(what_is_no_file_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
