/* tests/unit/disks_test.c - disks as a made-up sysfs shows them, and which of them a filter means. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "installer/disks.h"

static char top[64];

static void
put(const char *name, const char *bytes, size_t n)
{
	char path[512], *slash;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	for (slash = path + strlen(top) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	fclose(f);
}

static void
text(const char *name, const char *s)
{
	put(name, s, strlen(s));
}

/* sda: SATA, 500 GB; sdb: the stick that the medium is on; nvme0n1; vda: too small; and what is no disk. */
static int
setup(void **state)
{
	(void)state;
	snprintf(top, sizeof(top), "/tmp/disks_test.XXXXXX");
	assert_non_null(mkdtemp(top));
	text("block/sda/size", "976773168\n");
	text("block/sda/dev", "8:0\n");
	text("block/sda/device/vendor", "ATA     \n");
	text("block/sda/device/model", "Samsung SSD  870\n");
	put("block/sda/device/vpd_pg80", "\0\x80\0\x14     S4EWNX0M123456 ", 24);
	text("block/sdb/size", "15728640\n");
	text("block/sdb/dev", "8:16\n");
	text("block/sdb/removable", "1\n");
	text("block/sdb/device/vendor", "Generic \n");
	text("block/sdb/device/model", "Stick\n");
	text("block/sdb/sdb1/dev", "8:17\n");
	text("block/nvme0n1/size", "1953525168\n");
	text("block/nvme0n1/dev", "259:0\n");
	text("block/nvme0n1/device/model", "NV \x1b[2J Disk                \n");
	text("block/nvme0n1/device/serial", "NV00042   \n");
	text("block/nvme0n1/queue/logical_block_size", "4096\n");
	text("block/vda/size", "2097152\n");
	text("block/vda/dev", "254:0\n");
	text("block/vda/serial", "LAB1");
	text("block/sr0/size", "2097152\n");
	text("block/loop0/size", "2097152\n");
	text("block/sdc/size", "0\n");
	text("mountinfo", "21 1 8:17 / /run/freehold/medium ro - iso9660 /dev/sdb1 ro\n22 1 0:5 / /proc rw - "
			  "proc proc rw\n");
	return 0;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int
teardown(void **state)
{
	(void)state;
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int
list(struct disk *out)
{
	char mountinfo[128];
	struct disks_from from = { .sys = top, .mountinfo = mountinfo, .medium = "/run/freehold/medium" };
	struct err e;

	snprintf(mountinfo, sizeof(mountinfo), "%s/mountinfo", top);
	return disks_list(&from, out, 16, &e);
}

static void
disks_are_listed_with_what_they_say_about_themselves(void **state)
{
	struct disk d[16];
	char line[200];

	(void)state;
	assert_int_equal(list(d), 4);
	assert_string_equal(d[0].name, "nvme0n1");
	assert_string_equal(d[0].serial, "NV00042");
	assert_string_equal(d[0].model, "NV ?[2J Disk"); /* nothing a terminal would obey */
	assert_int_equal(d[0].sector, 4096);
	assert_string_equal(d[1].path, "/dev/sda");
	assert_string_equal(d[1].serial, "S4EWNX0M123456");
	assert_string_equal(d[1].model, "Samsung SSD 870");
	assert_true(d[2].removable && d[2].medium && d[2].in_use);
	assert_string_equal(d[3].serial, "LAB1");
	disks_describe(&d[1], line, sizeof(line));
	assert_string_equal(line, "sda, 500.1 GB, Samsung SSD 870, serial S4EWNX0M123456");
}

static int
choose(const char *serial, const char *model, uint64_t min, uint64_t max, struct err *e)
{
	struct disk_filter f = { .minimum = min, .maximum = max };
	struct disk d[16];
	int n = list(d);

	snprintf(f.serial, sizeof(f.serial), "%s", serial);
	snprintf(f.model, sizeof(f.model), "%s", model);
	return disks_choose(d, (size_t)n, &f, e);
}

static void
a_filter_finds_its_one_disk(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(choose("S4EWNX*", "", 0, 0, &e), 1);
	assert_int_equal(choose("", "samsung*", 0, 0, &e), 1);
	assert_int_equal(choose("", "", 900000000000, 0, &e), 0);
	assert_int_equal(choose("", "", 0, 600000000000, &e), 1);
}

static void
what_cannot_be_meant_is_said(void **state)
{
	struct err e;

	(void)state;
	assert_true(choose("", "", 0, 0, &e) < 0);
	assert_non_null(strstr(e.msg, "nvme0n1 and sda both fit"));
	assert_true(choose("ABSENT", "", 0, 0, &e) < 0);
	assert_non_null(strstr(e.msg, "none fits"));
	assert_true(choose("LAB1", "", 0, 0, &e) < 0);
	assert_non_null(strstr(e.msg, "too small"));
	assert_true(choose("", "Generic*", 0, 0, &e) < 0);
	assert_non_null(strstr(e.msg, "the medium that this system runs from"));
}

static void
content_of_an_image_is_told(void **state)
{
	char path[128], out[CONTENT_SIZE];

	(void)state;
	text("blank", "");
	snprintf(path, sizeof(path), "%s/blank", top);
	assert_int_equal(truncate(path, 4 << 20), 0);
	disks_content(path, out);
	assert_string_equal(out, "empty");
	disks_content("/nonexistent", out);
	assert_string_equal(out, "cannot be read");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    disks_are_listed_with_what_they_say_about_themselves, setup, teardown),
		cmocka_unit_test_setup_teardown(a_filter_finds_its_one_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_meant_is_said, setup, teardown),
		cmocka_unit_test_setup_teardown(content_of_an_image_is_told, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
