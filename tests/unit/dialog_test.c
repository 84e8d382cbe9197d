/* tests/unit/dialog_test.c - the conversation of the installer, with a made-up machine and typed lines. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "installer/dialog.h"

static char top[64], *said;
static size_t said_size;
static struct disk disk;
static struct answers answers;

static void
text(const char *name, const char *s)
{
	char path[256], *slash;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	for (slash = path + strlen(top) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(s, f);
	fclose(f);
}

static int
setup(void **state)
{
	(void)state;
	snprintf(top, sizeof(top), "/tmp/dialog_test.XXXXXX");
	assert_non_null(mkdtemp(top));
	text("block/nosuch0/size", "16777216\n");
	text("block/nosuch0/serial", "LAB00001\n");
	text("block/nosuch1/size", "16777216\n");
	text("block/nosuch2/size", "2048\n");
	text("mountinfo", "");
	said = NULL;
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
	free(said);
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static enum choice
talk(const char *typed)
{
	char mountinfo[128];
	struct disks_from from = { .sys = top, .mountinfo = mountinfo, .medium = "/medium" };
	struct ask t = { .in = fmemopen((void *)(uintptr_t)typed, strlen(typed), "r") };
	enum choice c;

	free(said);
	t.out = open_memstream(&said, &said_size);
	assert_true(t.in && t.out);
	snprintf(mountinfo, sizeof(mountinfo), "%s/mountinfo", top);
	c = dialog_run(&t, &from, &disk, &answers);
	fclose(t.in);
	fclose(t.out);
	return c;
}

static void
three_answers_are_enough(void **state)
{
	(void)state;
	assert_int_equal(talk("\n\n0001\ncorrect horse\ncorrect horse\n"), CHOICE_INSTALL);
	assert_string_equal(disk.path, "/dev/nosuch0");
	assert_memory_equal(answers.hash, "$y$", 3);
	assert_null(strstr(said, "correct horse"));
}

static void
a_disk_without_serial_is_confirmed_by_its_name(void **state)
{
	(void)state;
	assert_int_equal(talk("install\nnosuch1\nnosuch1\ncorrect horse\ncorrect horse\n"), CHOICE_INSTALL);
	assert_string_equal(disk.name, "nosuch1");
}

static void
another_word_than_the_serials_end_confirms_nothing(void **state)
{
	static const char *const words[] = { "nosuch0", "yes", "LAB00001", "000", "", "no" };
	char typed[100];

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		snprintf(typed, sizeof(typed), "\n\n%s\n", words[i]);
		assert_int_equal(talk(typed), CHOICE_END);
		assert_non_null(strstr(said, "Nothing has been written"));
	}
}

static void
what_cannot_be_used_is_shown_and_refused(void **state)
{
	(void)state;
	assert_int_equal(talk("\nnosuch2\n"), CHOICE_END);
	assert_non_null(strstr(said, "cannot be used: nosuch2: a disk of 0.0 GB is too small"));
	assert_int_equal(talk("\nsdx\nlive\n"), CHOICE_LIVE);
	assert_non_null(strstr(said, "There is no disk 'sdx'"));
}

static void
passwords_are_asked_for_until_two_agree(void **state)
{
	(void)state;
	assert_int_equal(
	    talk("\n\n0001\nshort\ncorrect horse\nhorse correct\ncorrect horse\ncorrect horse\n"),
	    CHOICE_INSTALL);
	assert_non_null(strstr(said, "at least 8"));
	assert_non_null(strstr(said, "They differ"));
}

static void
questions_are_explained_and_the_end_of_input_ends(void **state)
{
	(void)state;
	assert_int_equal(talk("?\nlive\n"), CHOICE_LIVE);
	assert_non_null(strstr(said, "no disk is touched"));
	assert_int_equal(talk("\n?\nlive\n"), CHOICE_LIVE);
	assert_non_null(strstr(said, "Everything on it will be erased"));
	assert_int_equal(talk(" "), CHOICE_END);
	assert_int_equal(talk("\n\n0001\ncorrect horse\n"), CHOICE_END);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(three_answers_are_enough, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_disk_without_serial_is_confirmed_by_its_name, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    another_word_than_the_serials_end_confirms_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_used_is_shown_and_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(passwords_are_asked_for_until_two_agree, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    questions_are_explained_and_the_end_of_input_ends, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
