/*
 * tests/unit/file_test.c - files that are whole or not there: replaced through links, with their mode, and
 * when a call in between fails.
 */
#include <errno.h>
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

#include "lib/file.h"

static char dir[64], path[128];
static int fail_fsync_at, fsyncs;

int __real_fsync(int fd);
int __wrap_fsync(int fd);

int
__wrap_fsync(int fd)
{
	if (++fsyncs == fail_fsync_at) {
		errno = EIO;
		return -1;
	}
	return __real_fsync(fd);
}

static int
setup(void **state)
{
	(void)state;
	fail_fsync_at = fsyncs = 0;
	strcpy(dir, "/tmp/file_test.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/settings.json", dir);
	return 0;
}

static int
teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

static void
assert_content(const char *want)
{
	struct err e = { 0 };
	char *text;

	assert_int_equal(file_read(path, 100, &text, NULL, &e), 0);
	assert_string_equal(text, want);
	free(text);
}

static void
a_file_is_replaced_and_read_again(void **state)
{
	struct err e = { 0 };
	struct stat st;

	(void)state;
	assert_int_equal(file_replace(path, "one", 3, 0, &e), 0);
	assert_content("one");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(file_replace(path, "", 0, 0644, &e), 0);
	assert_content("");
	assert_int_equal(file_replace(path, "three", 5, 0, &e), 0); /* keeps the mode */
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	assert_int_equal(fsyncs, 6); /* the file and its folder, each time */
}

static void
until_the_rename_the_old_content_stays(void **state)
{
	struct err e = { 0 };

	(void)state;
	assert_int_equal(file_replace(path, "old", 3, 0, &e), 0);
	fail_fsync_at = fsyncs + 1;
	assert_int_equal(file_replace(path, "new", 3, 0, &e), -EIO);
	assert_non_null(strstr(e.msg, "settings.json"));
	assert_content("old");
	assert_int_equal(file_replace(path, "new", 3, 0, &e), 0);
	assert_content("new");
}

static void
a_link_is_followed_and_stays(void **state)
{
	struct err e = { 0 };
	struct stat st;
	char real[128];

	(void)state;
	snprintf(real, sizeof(real), "%s/real", dir);
	assert_int_equal(file_replace(real, "1", 1, 0, &e), 0);
	assert_int_equal(symlink(real, path), 0);
	assert_int_equal(file_replace(path, "2", 1, 0, &e), 0);
	assert_content("2");
	assert_int_equal(lstat(path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
}

static void
what_is_too_long_or_no_file_is_refused(void **state)
{
	struct err e = { 0 };
	char *text;

	(void)state;
	assert_int_equal(file_replace(path, "12345", 5, 0, &e), 0);
	assert_int_equal(file_read(path, 5, &text, NULL, &e), 0);
	free(text);
	assert_int_equal(file_read(path, 4, &text, NULL, &e), -EFBIG);
	assert_int_equal(file_read(dir, 4096, &text, NULL, &e), -EINVAL);
	assert_int_equal(file_remove(path, &e), 0);
	assert_int_equal(file_remove(path, &e), 0);
	assert_int_equal(file_read(path, 5, &text, NULL, &e), -ENOENT);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(file_read(path, 5, &text, NULL, &e), -EINVAL);
}

static void
json_goes_in_and_out(void **state)
{
	struct err e = { 0 };
	json_t *doc = json_pack("{s:i}", "Version", 1), *back;

	(void)state;
	assert_int_equal(file_replace_json(path, doc, 0, &e), 0);
	assert_content("{\n  \"Version\": 1\n}\n");
	back = file_read_json(path, &e);
	assert_true(json_equal(doc, back));
	json_decref(doc);
	json_decref(back);
	assert_int_equal(file_replace(path, "{", 1, 0, &e), 0);
	assert_null(file_read_json(path, &e));
	assert_int_equal(e.code, EINVAL);
	assert_non_null(strstr(e.msg, "settings.json: line 1"));
}

static void
folders_are_made_with_those_above(void **state)
{
	struct err e = { 0 };
	struct stat st;
	char deep[128], other[160];

	(void)state;
	snprintf(deep, sizeof(deep), "%s/a/b/c", dir);
	assert_int_equal(file_make_dirs(deep, 0700, &e), 0);
	assert_int_equal(file_make_dirs(deep, 0700, &e), 0);
	assert_int_equal(stat(deep, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	snprintf(other, sizeof(other), "%s/a/moved", dir);
	assert_int_equal(file_rename(deep, other, &e), 0);
	assert_int_equal(file_rename(deep, other, &e), -ENOENT);
	assert_int_equal(file_replace(path, "", 0, 0, &e), 0);
	snprintf(other, sizeof(other), "%s/x", path);
	assert_int_equal(file_make_dirs(other, 0700, &e), -ENOTDIR);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_file_is_replaced_and_read_again, setup, teardown),
		cmocka_unit_test_setup_teardown(until_the_rename_the_old_content_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(a_link_is_followed_and_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_too_long_or_no_file_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(json_goes_in_and_out, setup, teardown),
		cmocka_unit_test_setup_teardown(folders_are_made_with_those_above, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
