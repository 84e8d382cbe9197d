/*
 * tests/unit/units_test.c - sizes and times as people write and read them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "shell/units.h"

static void
what_people_write_becomes_what_is_counted(void **state)
{
	static const struct {
		const char *text, *unit;
		json_int_t n;
	} rows[] = {
		{ "512", "MiB", 512 },
		{ "2G", "MiB", 2048 },
		{ "2g", "MiB", 2048 },
		{ "2GB", "MiB", 2048 },
		{ "2 GiB", "MiB", 2048 },
		{ "1.5G", "MiB", 1536 },
		{ "1T", "GiB", 1024 },
		{ "1k", "bytes", 1024 },
		{ "1048576KiB", "MiB", 1024 },
		{ "90", "s", 90 },
		{ "90s", "s", 90 },
		{ "5m", "s", 300 },
		{ "1h30m", "s", 5400 },
		{ "1h 30m", "s", 5400 },
		{ "2d", "h", 48 },
		{ "2 weeks", "days", 14 },
		{ "1500ms", "ms", 1500 },
		{ "0.5s", "ms", 500 },
		{ "7", "", 7 },
		{ "-7", "", -7 },
		{ "7", "furlongs", 7 },
	};
	char why[120];
	json_int_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_true(unit_parse(rows[i].text, rows[i].unit, &n, why, sizeof(why)));
		assert_int_equal(n, rows[i].n);
	}
}

static void
what_is_no_such_number_is_refused_in_words(void **state)
{
	static const struct {
		const char *text, *unit;
	} rows[] = {
		{ "", "MiB" },
		{ "G", "MiB" },
		{ "2X", "MiB" },
		{ "2G1", "MiB" },
		{ "1G512M", "MiB" },
		{ "0x10", "MiB" },
		{ "1e3", "MiB" },
		{ "-1G", "MiB" },
		{ "1.", "MiB" },
		{ "1k", "MiB" },
		{ "1.5", "MiB" },
		{ "99999999999999T", "bytes" },
		{ "99999999999999999999", "bytes" },
		{ "2G", "s" },
		{ "5 minutesandmoreletters", "s" },
		{ "2G", "" },
		{ "inf", "s" },
	};
	char why[120];
	json_int_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		why[0] = '\0';
		assert_false(unit_parse(rows[i].text, rows[i].unit, &n, why, sizeof(why)));
		assert_true(why[0] == '\'');
	}
}

static void
numbers_are_shown_in_the_unit_that_suits_them(void **state)
{
	static const struct {
		json_int_t n;
		const char *unit, *text;
	} rows[] = {
		{ 2048, "MiB", "2 GiB" },
		{ 512, "MiB", "512 MiB" },
		{ 1536, "MiB", "1.5 GiB" },
		{ 0, "bytes", "0 B" },
		{ 1023, "bytes", "1023 B" },
		{ 1047552, "bytes", "1023 KiB" },
		{ 1048575, "bytes", "1 MiB" },
		{ 123456789, "bytes", "118 MiB" },
		{ 93784, "s", "1d 2h" },
		{ 5400, "s", "1h 30m" },
		{ 125, "s", "2m 5s" },
		{ 0, "s", "0s" },
		{ 250, "ms", "250 ms" },
		{ -5, "MiB", "-5 MiB" },
		{ 7, "", "7" },
		{ 7, "furlongs", "7 furlongs" },
	};
	char text[UNIT_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unit_format(rows[i].n, rows[i].unit, text);
		assert_string_equal(text, rows[i].text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_people_write_becomes_what_is_counted),
		cmocka_unit_test(what_is_no_such_number_is_refused_in_words),
		cmocka_unit_test(numbers_are_shown_in_the_unit_that_suits_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
