/* tests/unit/answers_test.c - what an answer file may say, and that half of one says nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "installer/answers.h"
#include "installer/password.h"

static const char whole[] = "{ \"disk\": { \"serial\": \"LAB*\", \"minimum\": \"100G\" }, \"password\": "
			    "\"correct horse\", \"name\": \"host1\","
			    " \"address\": \"192.0.2.5/24\", \"gateway\": \"192.0.2.1\", \"dns\": "
			    "[\"192.0.2.1\"], \"finish\": \"powerOff\" }";

static int
read_text(const char *text, struct answers *a, struct err *e)
{
	memset(e, 0, sizeof(*e));
	return answers_read(text, strlen(text), a, e);
}

static void
a_whole_file_is_understood(void **state)
{
	struct answers a;
	struct err e;

	(void)state;
	assert_int_equal(read_text(whole, &a, &e), 0);
	assert_string_equal(a.disk.serial, "LAB*");
	assert_int_equal(a.disk.minimum, 100ULL << 30);
	assert_string_equal(a.name, "host1");
	assert_string_equal(a.network.address, "192.0.2.5/24");
	assert_string_equal(a.network.dns[0], "192.0.2.1");
	assert_int_equal(a.finish, FINISH_POWER_OFF);
	assert_memory_equal(a.hash, "$y$", 3);
	assert_int_equal(password_check_hash(a.hash, &e), 0);
}

static void
a_file_cut_short_anywhere_is_refused(void **state)
{
	struct answers a;
	struct err e;

	(void)state;
	for (size_t cut = 0; cut < strlen(whole); cut++) {
		assert_true(answers_read(whole, cut, &a, &e) < 0);
		assert_true(e.msg[0] != '\0');
	}
}

static void
wrong_files_are_refused_in_words(void **state)
{
	static const struct {
		const char *text, *says;
	} wrong[] = {
		{ "{}", "disk" },
		{ "{ \"disk\": {} }", "password: it is missing" },
		{ "{ \"disk\": {}, \"password\": \"short\" }", "password: a password has at least" },
		{ "{ \"disk\": {}, \"password\": \"long enough\", \"passwordHash\": \"$y$j9T$x$y\" }",
		    "there is a password as well" },
		{ "{ \"disk\": {}, \"passwordHash\": \"secret\" }",
		    "passwordHash: this is not a whole hash" },
		{ "{ \"disk\": {}, \"passwordHash\": \"$y$j9T$abc\" }",
		    "passwordHash: this is not a whole hash" },
		{ "{ \"disk\": {}, \"password\": \"long enough\", \"name\": \"-a\" }", "name: " },
		{ "{ \"disk\": {}, \"password\": \"long enough\", \"address\": \"192.0.2.5\" }",
		    "address: " },
		{ "{ \"disk\": {}, \"password\": \"long enough\", \"gateway\": \"192.0.2.1\" }",
		    "address: it is missing" },
		{ "{ \"disk\": {}, \"password\": \"long enough\", \"address\": \"192.0.2.5/24\", "
		  "\"gateway\": \"198.51.100.1\" }",
		    "gateway: " },
		{ "{ \"disk\": { \"minimum\": \"big\" }, \"password\": \"long enough\" }", "disk.minimum: " },
		{ "{ \"disk\": { \"minimum\": \"2T\", \"maximum\": \"1T\" }, \"password\": \"long enough\" }",
		    "disk.maximum: " },
		{ "{ \"disk\": { \"colour\": \"red\" }, \"password\": \"long enough\" }", "disk.colour" },
		{ "{ \"disk\": {}, \"password\": \"long enough\", \"finish\": \"explode\" }", "finish" },
	};
	struct answers a;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_true(read_text(wrong[i].text, &a, &e) < 0);
		if (!strstr(e.msg, wrong[i].says))
			fail_msg("%s: it says '%s', not '%s'", wrong[i].text, e.msg, wrong[i].says);
	}
}

static void
sizes_are_read_with_their_units(void **state)
{
	struct err e;
	uint64_t v;

	(void)state;
	assert_int_equal(answers_size("512", &v, &e), 0);
	assert_int_equal(v, 512);
	assert_int_equal(answers_size("1.5T", &v, &e), 0);
	assert_int_equal(v, 3ULL << 39);
	assert_int_equal(answers_size("20GiB", &v, &e), 0);
	assert_int_equal(v, 20ULL << 30);
	assert_true(answers_size("", &v, &e) < 0);
	assert_true(answers_size("-1G", &v, &e) < 0);
	assert_true(answers_size("10X", &v, &e) < 0);
	assert_true(answers_size("9999999T", &v, &e) < 0);
}

static void
a_hash_is_different_each_time_and_never_the_password(void **state)
{
	char a[256], b[256];
	struct err e;

	(void)state;
	assert_int_equal(password_hash("correct horse", a, sizeof(a), &e), 0);
	assert_int_equal(password_hash("correct horse", b, sizeof(b), &e), 0);
	assert_string_not_equal(a, b);
	assert_null(strstr(a, "correct"));
	assert_true(password_hash("correct horse", a, 8, &e) < 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_file_is_understood),
		cmocka_unit_test(a_file_cut_short_anywhere_is_refused),
		cmocka_unit_test(wrong_files_are_refused_in_words),
		cmocka_unit_test(sizes_are_read_with_their_units),
		cmocka_unit_test(a_hash_is_different_each_time_and_never_the_password),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
