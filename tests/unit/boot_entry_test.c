/* tests/unit/boot_entry_test.c - what the firmware is told, in a folder that stands for its variables. */
#include <errno.h>
#include <fcntl.h>
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

#include "installer/boot_entry.h"

#define GLOBAL "-8be4df61-93ca-11d2-aa0d-00e098032b8c"

static char folder[64];
static struct layout layout = { .disk = 4ULL << 30, .sector = 512 };

static int
setup(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/boot_entry_test.XXXXXX");
	assert_non_null(mkdtemp(folder));
	layout.part[PART_BOOT].start = 2 << 20;
	layout.part[PART_BOOT].size = 320 << 20;
	strcpy(layout.part[PART_BOOT].uuid, "00112233-4455-6677-8899-aabbccddeeff");
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
	return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
put(const char *name, const void *bytes, size_t n)
{
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/%s" GLOBAL, folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
}

static void
holds(const char *name, const void *bytes, size_t n)
{
	char path[160], is[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s" GLOBAL, folder, name);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		fail_msg("there is no %s", name);
	assert_int_equal(read(fd, is, sizeof(is)), n);
	assert_memory_equal(is, bytes, n);
	close(fd);
}

/* As efibootmgr -v decodes it:
 * HD(2,GPT,00112233-4455-6677-8899-aabbccddeeff,0x1000,0xa0000)/\EFI\BOOT\BOOTX64.EFI */
static const uint8_t entry[] = "\7\0\0\0" /* attributes of the variable */
			       "\1\0\0\0"
			       "\x5e\0"
			       "F\0r\0e\0e\0h\0o\0l\0d\0\0\0"
			       "\4\1\x2a\0\2\0\0\0"
			       "\0\x10\0\0\0\0\0\0"
			       "\0\0\x0a\0\0\0\0\0"
			       "\x33\x22\x11\0\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff"
			       "\2\2"
			       "\4\4\x30\0"
			       "\\\0E\0F\0I\0\\\0B\0O\0O\0T\0\\\0"
			       "B\0O\0O\0T\0X\0006\0004\0.\0E\0F\0I\0\0\0"
			       "\x7f\xff\4"; /* and the 0 that ends the string */

static void
write_it(void)
{
	struct err e = { 0 };

	if (boot_entry_write(folder, &layout, &e) < 0)
		fail_msg("%s", e.msg);
}

static void
firmware_without_entries_gets_the_first(void **state)
{
	(void)state;
	write_it();
	holds("Boot0000", entry, sizeof(entry));
	holds("BootOrder", "\7\0\0\0\0\0", 6);
}

static void
other_entries_stay_behind_ours(void **state)
{
	static const char other[] = "\7\0\0\0\1\0\0\0\0\0U\0E\0F\0I\0\0";

	(void)state;
	put("Boot0000", other, sizeof(other));
	put("Boot0001", other, sizeof(other));
	put("Boot0003", other, sizeof(other));
	put("BootOrder", "\7\0\0\0\3\0\1\0\0\0", 10);
	write_it();
	holds("Boot0000", other, sizeof(other));
	holds("Boot0002", entry, sizeof(entry));
	holds("BootOrder", "\7\0\0\0\2\0\3\0\1\0\0\0", 12);
}

static void
an_earlier_installation_is_replaced(void **state)
{
	uint8_t was[sizeof(entry)];

	(void)state;
	memcpy(was, entry, sizeof(was));
	memset(was + 52, 0xff, 16); /* another disk */
	put("Boot001A", was, sizeof(was));
	put("BootOrder", "\7\0\0\0\1\0\x1a\0", 8);
	write_it();
	holds("Boot001A", entry, sizeof(entry));
	holds("BootOrder", "\7\0\0\0\x1a\0\1\0", 8);
	write_it();
	holds("BootOrder", "\7\0\0\0\x1a\0\1\0", 8);
}

static void
broken_variables_are_nobodys(void **state)
{
	(void)state;
	for (size_t cut = 0; cut < 28; cut++) { /* the name, cut short */
		put("Boot0000", entry, cut);
		put("BootOrder", "\7\0\0\0\0\0\5", cut % 8);
		write_it();
		holds("Boot0000", entry, cut);
		teardown(NULL);
		setup(NULL);
	}
	put("Bootxyz1", entry, sizeof(entry));
	put("Boot+001", entry, sizeof(entry));
	write_it();
	holds("Boot0000", entry, sizeof(entry));
}

static void
firmware_that_cannot_be_told_is_named(void **state)
{
	struct err e = { 0 };

	(void)state;
	teardown(NULL);
	assert_int_equal(boot_entry_write(folder, &layout, &e), -ENOENT);
	assert_non_null(strstr(e.msg, folder));
	setup(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(firmware_without_entries_gets_the_first, setup, teardown),
		cmocka_unit_test_setup_teardown(other_entries_stay_behind_ours, setup, teardown),
		cmocka_unit_test_setup_teardown(an_earlier_installation_is_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(broken_variables_are_nobodys, setup, teardown),
		cmocka_unit_test_setup_teardown(firmware_that_cannot_be_told_is_named, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
