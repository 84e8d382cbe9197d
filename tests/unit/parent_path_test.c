/*
 * tests/unit/parent_path_test.c - paths to a parent, from Windows' spelling to this host's and back.
 */
#include "hypervisor/disk/parent_path.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

static const struct disk_drive drives[] = {
	{ "C:", "/data" },
	{ "\\\\server\\share", "/mnt/share" },
	{ "Volume{12345678-0000-0000-0000-000000000000}", "/vol/" },
};
static const struct disk_search search = { .drives = drives, .drives_n = 3 };

static void
windows_paths_are_mapped(void **state)
{
	static const struct {
		const char *windows, *here;
	} cases[] = {
		{ "..\\base\\a.vhdx", "../base/a.vhdx" },
		{ ".\\a.vhdx", "./a.vhdx" },
		{ "C:\\images\\a.vhdx", "/data/images/a.vhdx" },
		{ "c:/images/a.vhdx", "/data/images/a.vhdx" },
		{ "\\\\?\\C:\\a.vhdx", "/data/a.vhdx" },
		{ "\\\\SERVER\\Share\\a.vhdx", "/mnt/share/a.vhdx" },
		{ "\\\\?\\UNC\\server\\share\\x\\a.vhdx", "/mnt/share/x/a.vhdx" },
		{ "\\\\?\\Volume{12345678-0000-0000-0000-000000000000}\\a.vhdx", "/vol//a.vhdx" },
		{ "file://localhost/Users/x/my%20disk.vhd", "/Users/x/my disk.vhd" },
		{ "file:///a%2", "/a%2" },
		{ "/data/a.vhdx", "/data/a.vhdx" },
		{ "\\data\\a.vhdx", "/data/a.vhdx" },
	};
	char out[PATH_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parent_path_here(cases[i].windows, &search, out), 0);
		assert_string_equal(out, cases[i].here);
	}
}

static void
unknown_drives_are_nowhere(void **state)
{
	static const char *const cases[] = { "D:\\a.vhdx", "C:a.vhdx", "\\\\server\\other\\a",
		"\\\\server\\sharex\\a", "\\\\?\\Volume{0}\\a", "", "\\\\?\\" };
	char out[PATH_MAX], longest[PATH_MAX + 8];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(parent_path_here(cases[i], &search, out), -ENOENT);
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(parent_path_here(longest, &search, out), -ENAMETOOLONG);
	assert_int_equal(parent_path_here("C:\\a", NULL, out), -ENOENT);
}

static void
the_way_to_a_parent_is_relative(void **state)
{
	static const struct {
		const char *child, *parent, *way;
	} cases[] = {
		{ "/a/b/child", "/a/b/parent", "./parent" },
		{ "/a/b/child", "/a/parent", "../parent" },
		{ "/a/child", "/a/b/parent", "./b/parent" },
		{ "/a/b/c/child", "/a/x/parent", "../../x/parent" },
		{ "/child", "/parent", "./parent" },
		{ "/ab/child", "/abc/parent", "../abc/parent" },
	};
	char out[PATH_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parent_path_relative(cases[i].child, cases[i].parent, out), 0);
		assert_string_equal(out, cases[i].way);
	}
}

static void
a_path_is_given_to_windows(void **state)
{
	char out[PATH_MAX];

	(void)state;
	assert_int_equal(parent_path_windows("/data/images/a.vhdx", &search, out), 0);
	assert_string_equal(out, "C:\\images\\a.vhdx");
	assert_int_equal(parent_path_windows("/vol/a.vhdx", &search, out), 0);
	assert_string_equal(out, "Volume{12345678-0000-0000-0000-000000000000}\\a.vhdx");
	assert_int_equal(parent_path_windows("/database/a.vhdx", &search, out), -ENOENT);
}

static void
names_are_taken_apart(void **state)
{
	char out[PATH_MAX];

	(void)state;
	assert_string_equal(parent_path_base("/a/b"), "b");
	assert_string_equal(parent_path_base("b"), "b");
	assert_string_equal(parent_path_base("a/"), "");
	assert_int_equal(parent_path_beside("/a/child", "../x", out), 0);
	assert_string_equal(out, "/a/../x");
	assert_int_equal(parent_path_beside("child", "./x", out), 0);
	assert_string_equal(out, "x");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(windows_paths_are_mapped),
		cmocka_unit_test(unknown_drives_are_nowhere),
		cmocka_unit_test(the_way_to_a_parent_is_relative),
		cmocka_unit_test(a_path_is_given_to_windows),
		cmocka_unit_test(names_are_taken_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
