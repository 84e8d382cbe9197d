/* tests/unit/layout_test.c - the division of a disk, planned for every size and written to an image. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "installer/layout.h"

static void
parts_follow_each_other_and_stay_clear_of_both_tables(void **state)
{
	static const uint64_t sizes[] = { LAYOUT_MIN_BYTES, LAYOUT_MIN_BYTES + 511, 4ULL << 30,
		500107862016ULL, 20ULL << 40 };
	struct layout l;
	struct err e;

	(void)state;
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		assert_int_equal(layout_plan(sizes[s], 512, &l, &e), 0);
		assert_int_equal(l.part[0].start, 1 << 20);
		for (int i = 0; i < PARTS; i++) {
			assert_int_equal(l.part[i].start % (1 << 20), 0);
			assert_int_equal(l.part[i].size % (1 << 20), 0);
			if (i > 0)
				assert_int_equal(l.part[i].start, l.part[i - 1].start + l.part[i - 1].size);
		}
		assert_true(l.part[PART_DATA].size >= 512ULL << 20);
		assert_true(l.part[PART_DATA].start + l.part[PART_DATA].size <= sizes[s] - (1 << 20));
		assert_int_equal(l.part[PART_SLOT_A].size, l.part[PART_SLOT_B].size);
	}
}

static void
a_small_disk_is_refused_with_both_sizes(void **state)
{
	struct layout l;
	struct err e;

	(void)state;
	assert_true(layout_plan(1000000000, 512, &l, &e) < 0);
	assert_string_equal(e.msg, "a disk of 1.0 GB is too small: Freehold needs 2 GB");
}

/* The first entry of the table, whatever was on the disk before. */
static void
a_table_is_written_over_an_old_one(void **state)
{
	static const uint8_t bios_boot[16] = { 0x48, 0x61, 0x68, 0x21, 0x49, 0x64, 0x6f, 0x6e, 0x74, 0x4e,
		0x65, 0x65, 0x64, 0x45, 0x46, 0x49 };
	char path[] = "/tmp/layout_test.XXXXXX";
	uint8_t entry[128];
	struct layout l, again;
	struct err e = { 0 };
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4LL << 30), 0);
	assert_int_equal(layout_plan(4ULL << 30, 512, &l, &e), 0);
	assert_int_equal(layout_write(path, &l, &e), 0);
	assert_int_equal(pread(fd, entry, sizeof(entry), 1024), sizeof(entry));
	assert_memory_equal(entry, bios_boot, 16);
	assert_int_equal(strlen(l.part[PART_DATA].uuid), 36);
	assert_string_not_equal(l.part[PART_SLOT_A].uuid, l.part[PART_SLOT_B].uuid);
	again = l;
	assert_int_equal(layout_write(path, &again, &e), 0);
	assert_string_not_equal(l.part[PART_DATA].uuid, again.part[PART_DATA].uuid);
	close(fd);
	unlink(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_follow_each_other_and_stay_clear_of_both_tables),
		cmocka_unit_test(a_small_disk_is_refused_with_both_sizes),
		cmocka_unit_test(a_table_is_written_over_an_old_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
