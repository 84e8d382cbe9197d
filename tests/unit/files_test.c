/*
 * tests/unit/files_test.c - files that machines may name: within their two places, and nowhere else, however
 * they are written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files.h"

static char data[64];
static struct err err;

static void
put(const char *path, const char *text)
{
	char whole[256];
	FILE *f;

	snprintf(whole, sizeof(whole), "%s/%s", data, path);
	f = fopen(whole, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void
make_dir(const char *path)
{
	char whole[256];

	snprintf(whole, sizeof(whole), "%s/%s", data, path);
	assert_int_equal(mkdir(whole, 0700), 0);
}

static void
link_to(const char *path, const char *target)
{
	char whole[256];

	snprintf(whole, sizeof(whole), "%s/%s", data, path);
	assert_int_equal(symlink(target, whole), 0);
}

static int
setup(void **state)
{
	(void)state;
	memset(&err, 0, sizeof(err));
	snprintf(data, sizeof(data), "/tmp/files_test.XXXXXX");
	if (!mkdtemp(data))
		return -1;
	make_dir("images");
	make_dir("images/debian");
	make_dir("vms");
	make_dir("vms/web1");
	make_dir("vms/mail");
	put("images/vmlinuz", "kernel");
	put("images/debian/initrd", "initrd");
	put("images/.hidden", "x");
	put("vms/web1/kernel", "own");
	put("vms/mail/disk", "secret");
	put("secret", "secret");
	return 0;
}

static int
teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", data);
	return system(command);
}

static int
try_open(const char *path)
{
	int fd = file_open_image(data, "web1", path, &err);

	if (fd >= 0)
		close(fd);
	return fd < 0 ? fd : 0;
}

static void
images_and_the_machines_own_folder_can_be_read(void **state)
{
	char whole[256];

	(void)state;
	link_to("images/latest", "debian/initrd");
	assert_int_equal(try_open("images/vmlinuz"), 0);
	assert_int_equal(try_open("images/debian/initrd"), 0);
	assert_int_equal(try_open("images/latest"), 0); /* a link within the place */
	assert_int_equal(try_open("./kernel"), 0);
	assert_int_equal(try_open("vms/web1/kernel"), 0);
	snprintf(whole, sizeof(whole), "%s/images/vmlinuz", data);
	assert_int_equal(try_open(whole), 0);
}

static void
nothing_else_can(void **state)
{
	static const struct {
		const char *path;
		int code;
	} rows[] = {
		{ "/etc/passwd", EINVAL },
		{ "secret", EINVAL },
		{ "images/../secret", EINVAL },
		{ "images/debian/../../secret", EINVAL },
		{ "images//etc/passwd", ENOENT },
		{ "vms/mail/disk", EINVAL },
		{ "./../mail/disk", EINVAL },
		{ "images/out", EINVAL },
		{ "images/absolute", EINVAL },
		{ "images/debian", EINVAL },
		{ "images/fifo", EINVAL },
		{ "images/none", ENOENT },
		{ "images/", EINVAL },
		{ "images", EINVAL },
		{ "", EINVAL },
		{ "imagesx/vmlinuz", EINVAL },
		{ "images/vmlinuz/", ENOTDIR },
	};
	char whole[256];

	(void)state;
	link_to("images/out", "../secret");
	link_to("images/absolute", "/etc/passwd");
	snprintf(whole, sizeof(whole), "%s/images/fifo", data);
	assert_int_equal(mkfifo(whole, 0600), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int rc = try_open(rows[i].path);

		if (rc != -rows[i].code)
			fail_msg("%s: %d (%s)", rows[i].path, rc, err.msg);
		assert_non_null(strstr(err.msg, rows[i].path));
	}
}

static void
paths_are_kept_in_their_short_form(void **state)
{
	char out[64], given[128];

	(void)state;
	snprintf(given, sizeof(given), "%s/images/vmlinuz", data);
	assert_int_equal(file_path_tidy(data, "web1", given, out, sizeof(out), &err), 0);
	assert_string_equal(out, "images/vmlinuz");
	snprintf(given, sizeof(given), "%s/vms/web1/disks/a", data);
	assert_int_equal(file_path_tidy(data, "web1", given, out, sizeof(out), &err), 0);
	assert_string_equal(out, "./disks/a");
	assert_int_equal(file_path_tidy(data, "web1", "images/vmlinuz", out, 5, &err), -ENAMETOOLONG);
	assert_int_equal(file_path_tidy(data, "web", given, out, sizeof(out), &err), -EINVAL);
}

static void
files_are_listed_with_the_path_to_give(void **state)
{
	json_t *list = file_list(data, "images", &err), *row;

	(void)state;
	assert_int_equal(json_array_size(list), 1); /* no folder, nothing hidden */
	row = json_array_get(list, 0);
	assert_string_equal(json_string_value(json_object_get(row, "path")), "images/vmlinuz");
	assert_int_equal(json_integer_value(json_object_get(row, "size")), 6);
	assert_int_equal(json_string_length(json_object_get(row, "modified")), 20);
	json_decref(list);
	list = file_list(data, "images/debian", &err);
	assert_int_equal(json_array_size(list), 1);
	json_decref(list);
	assert_null(file_list(data, "images/none", &err));
	assert_int_equal(err.code, ENOENT);
	assert_null(file_list(data, "vms/mail", &err));
	assert_int_equal(err.code, EINVAL);
	assert_null(file_list(data, "images/..", &err));
	assert_null(file_list(data, "/etc", &err));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(images_and_the_machines_own_folder_can_be_read),
		TEST(nothing_else_can),
		TEST(paths_are_kept_in_their_short_form),
		TEST(files_are_listed_with_the_path_to_give),
	};

	return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
