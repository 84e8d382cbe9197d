/* tests/unit/boot_code_test.c - GRUB's two parts for BIOS are told where the next one is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "installer/boot_code.h"

static uint8_t sector[BOOT_SECTOR], core[4 * BOOT_SECTOR];

static int
setup(void **state)
{
	(void)state;
	memset(sector, 0, sizeof(sector));
	memset(core, 0, sizeof(core));
	sector[0x66] = 0xeb;
	sector[0x1fe] = 0x55;
	sector[0x1ff] = 0xaa;
	core[0x1fe] = 0x20;
	core[0x1ff] = 0x08;
	return 0;
}

static void
each_part_knows_where_the_next_is(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(boot_code_patch(sector, core, sizeof(core), 0x123456789a, &e), 0);
	assert_memory_equal(sector + 0x5c, "\x9a\x78\x56\x34\x12\0\0\0", 8);
	assert_memory_equal(core + 0x1f4, "\x9b\x78\x56\x34\x12\0\0\0", 8);
	assert_memory_equal(core + 0x1fc, "\x03\0\x20\x08", 4);
	assert_memory_equal(sector + 0x66, "\x90\x90", 2);
}

static void
what_is_not_grub_is_refused(void **state)
{
	struct err e;

	(void)state;
	assert_true(boot_code_patch(sector, core, sizeof(core) - 1, 2048, &e) < 0);
	assert_true(boot_code_patch(sector, core, BOOT_SECTOR, 2048, &e) < 0);
	core[0x1ff] = 0;
	assert_true(boot_code_patch(sector, core, sizeof(core), 2048, &e) < 0);
	core[0x1ff] = 8;
	sector[0x1fe] = 0;
	assert_true(boot_code_patch(sector, core, sizeof(core), 2048, &e) < 0);
	assert_string_equal(e.msg, "boot.img is not GRUB's first sector");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(each_part_knows_where_the_next_is, setup),
		cmocka_unit_test_setup(what_is_not_grub_is_refused, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
