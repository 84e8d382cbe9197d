/* tests/unit/disk_file_test.c - what is done at once with a disk's file; what a file looks like. */
#include "hypervisor/disk/format.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int
setup(void **state)
{
	struct disk_file *f;

	assert_int_equal(file_new(&f, NULL, memfd_create("file", 0), false, NULL), 0);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	file_free(*state);
	file_free(NULL);
	return 0;
}

static void
what_is_put_is_got(void **state)
{
	struct disk_file *f = *state;
	uint8_t out[5000], in[5000];
	uint64_t size;

	memset(out, 7, sizeof(out));
	assert_int_equal(file_put(f, out, sizeof(out), 300, NULL), 0);
	assert_int_equal(file_get(f, in, sizeof(in), 300, NULL), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(file_size(f, &size, NULL), 0);
	assert_int_equal(size, 5300);
	assert_int_equal(file_sync(f, NULL), 0);
	assert_false(file_pump(f));
}

static void
the_end_of_a_file_is_told_with_its_place(void **state)
{
	struct disk_file *f = *state;
	struct err e;
	char b[100];

	assert_int_equal(file_truncate(f, 1000, NULL), 0);
	assert_int_equal(file_get(f, b, sizeof(b), 950, &e), -EIO);
	assert_non_null(strstr(e.msg, "ends at 1000"));
	assert_non_null(strstr(e.msg, "50 bytes"));
	assert_int_equal(file_get(f, b, 50, 950, &e), 0);
}

static void
an_error_is_told_with_its_offset(void **state)
{
	struct disk_file *f;
	struct err e;
	int fd = open("/dev/null", O_RDONLY);

	(void)state;
	assert_int_equal(file_new(&f, NULL, fd, true, NULL), 0);
	assert_int_equal(file_put(f, "x", 1, 77, &e), -EBADF);
	assert_non_null(strstr(e.msg, "offset 77"));
	assert_int_equal(file_truncate(f, 512, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "512"));
	file_free(f);
}

static void
assert_reads(struct disk_file *f, uint64_t from, uint64_t len, int byte)
{
	for (uint64_t at = from; at < from + len; at++) {
		uint8_t b = 0;

		assert_int_equal(file_get(f, &b, 1, at, NULL), 0);
		if (b != byte)
			fail_msg("byte %llu is %d, not %d", (unsigned long long)at, b, byte);
	}
}

static void
what_is_cleared_reads_zero_and_the_file_grows_for_it(void **state)
{
	struct disk_file *f = *state;
	uint8_t out[20000];
	uint64_t size;

	memset(out, 7, sizeof(out));
	for (int hole = 0; hole < 2; hole++) {
		assert_int_equal(file_truncate(f, 0, NULL), 0);
		assert_int_equal(file_put(f, out, sizeof(out), 0, NULL), 0);
		assert_int_equal(file_clear(f, 1000, 9192, hole, NULL), 0);
		assert_reads(f, 0, 1000, 7);
		assert_reads(f, 1000, 9192, 0);
		assert_reads(f, 10192, 100, 7);
		assert_int_equal(file_clear(f, 19000, 3000, hole, NULL), 0);
		assert_int_equal(file_size(f, &size, NULL), 0);
		assert_int_equal(size, 22000);
		assert_reads(f, 18000, 1000, 7);
		assert_reads(f, 19000, 3000, 0);
		assert_int_equal(file_clear(f, 30000, 10, hole, NULL), 0);
		assert_reads(f, 22000, 8010, 0);
	}
	assert_int_equal(file_clear(f, UINT64_MAX - 5, 10, false, NULL), -EINVAL);
}

static void
holes_are_told_from_data(void **state)
{
	struct disk_file *f = *state;
	uint64_t n;

	assert_true(f->can_punch);
	assert_int_equal(file_truncate(f, 1 << 20, NULL), 0);
	assert_true(file_is_hole(f, 0, 1 << 20, &n));
	assert_int_equal(n, 1 << 20);
	assert_int_equal(file_put(f, "data", 4, 65536, NULL), 0);
	assert_true(file_is_hole(f, 4096, 1 << 19, &n));
	assert_int_equal(n, 65536 - 4096);
	assert_false(file_is_hole(f, 65536, 1 << 19, &n));
	assert_int_equal(n, 4096);
	assert_false(file_is_hole(f, 65536, 512, &n));
	assert_int_equal(n, 512);
}

static void
a_format_is_known_by_its_looks(void **state)
{
	static const struct {
		uint64_t at;
		const char *magic;
		enum disk_format_id is;
	} rows[] = {
		{ 0, "vhdxfile", DISK_VHDX },
		{ 0, "conectix", DISK_VHD },
		{ 10000 - 512, "conectix", DISK_VHD },
		{ 10000 - 511, "conectix", DISK_VHD },
		{ 512, "conectix", DISK_RAW },
		{ 0, "vhdxfill", DISK_RAW },
	};
	struct disk_file *f = *state;

	assert_int_equal(disk_format_guess(f), DISK_RAW);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(file_truncate(f, 0, NULL), 0);
		assert_int_equal(file_truncate(f, 10000, NULL), 0);
		assert_int_equal(file_put(f, rows[i].magic, 8, rows[i].at, NULL), 0);
		assert_int_equal(disk_format_guess(f), rows[i].is);
	}
	assert_int_equal(disk_format_by_name("raw"), DISK_RAW);
	assert_int_equal(disk_format_by_name("qcow2"), -1);
}

static void
a_parent_is_known_by_its_identity(void **state)
{
	struct disk_info child = { .format = DISK_RAW, .type = DISK_DIFFERENCING, .logical = 512 };
	struct disk_info parent = { .format = DISK_RAW, .logical = 512 };
	struct err e;

	(void)state;
	memset(child.parent_id, 0x11, GUID_BYTES);
	memset(parent.data_id, 0x22, GUID_BYTES);
	assert_int_equal(disk_parent_fits(&child, &parent, &e), -ESTALE);
	assert_non_null(strstr(e.msg, "22222222-"));
	memset(child.parent_id2, 0x22, GUID_BYTES); /* during a merge either is right */
	assert_int_equal(disk_parent_fits(&child, &parent, &e), 0);
	memset(parent.data_id, 0, GUID_BYTES);
	memset(child.parent_id2, 0, GUID_BYTES); /* no second one */
	assert_int_equal(disk_parent_fits(&child, &parent, &e), -ESTALE);
	memset(parent.data_id, 0x11, GUID_BYTES);
	assert_int_equal(disk_parent_fits(&child, &parent, &e), 0);
	parent.logical = 4096;
	assert_int_equal(disk_parent_fits(&child, &parent, &e), -EINVAL);
	child.type = DISK_FIXED;
	assert_int_equal(disk_parent_fits(&child, &parent, &e), -EINVAL);
}

static void
a_raw_image_is_made_and_changes_its_size(void **state)
{
	struct disk_file *f = *state;
	const struct disk_create how = { .type = DISK_FIXED, .size = 1 << 20, .sparse_fixed = true };
	const struct disk_create odd = { .type = DISK_FIXED, .size = 1000 },
				 dynamic = { .type = DISK_DYNAMIC };
	struct disk_info info;
	struct err e;

	assert_int_equal(disk_raw_format.create(f, &odd, NULL, &e), -EINVAL);
	assert_int_equal(disk_raw_format.create(f, &dynamic, NULL, &e), -EINVAL);
	assert_int_equal(disk_raw_format.create(f, &how, NULL, &e), 0);
	assert_int_equal(disk_raw_format.info(f, &info, &e), 0);
	assert_int_equal(info.size, 1 << 20);
	assert_int_equal(info.allocated, 0);
	assert_int_equal(disk_raw_format.resize(f, 1 << 21, NULL, &e), 0);
	assert_int_equal(disk_raw_format.resize(f, 77, NULL, &e), -EINVAL);
	assert_int_equal(disk_raw_format.info(f, &info, &e), 0);
	assert_int_equal(info.size, 1 << 21);
	assert_int_equal(disk_raw_format.compact(f, NULL, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.msg, "raw"));
}

static void
a_raw_image_that_is_not_sparse_has_its_space(void **state)
{
	struct disk_file *f = *state;
	const struct disk_create how = { .type = DISK_FIXED, .size = 1 << 20 };
	struct stat st;

	assert_int_equal(disk_raw_format.create(f, &how, NULL, NULL), 0);
	assert_int_equal(fstat(f->fd, &st), 0);
	assert_int_equal(st.st_size, 1 << 20);
	assert_int_equal(st.st_blocks, (1 << 20) / 512);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(what_is_put_is_got),
		unit(the_end_of_a_file_is_told_with_its_place),
		unit(an_error_is_told_with_its_offset),
		unit(what_is_cleared_reads_zero_and_the_file_grows_for_it),
		unit(holes_are_told_from_data),
		unit(a_format_is_known_by_its_looks),
		unit(a_parent_is_known_by_its_identity),
		unit(a_raw_image_is_made_and_changes_its_size),
		unit(a_raw_image_that_is_not_sparse_has_its_space),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
