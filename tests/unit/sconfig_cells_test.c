/*
 * tests/unit/sconfig_cells_test.c - the screen in memory: text is cut to it, whatever its bytes; lines break
 * at blanks; and what is typed is checked before the host is asked.
 */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "sconfig/cells.h"
#include "sconfig/checks.h"
#include "sconfig/form.h"

static int
setup(void **state)
{
	static struct cells c;

	setlocale(LC_CTYPE, "C.UTF-8");
	c = (struct cells){ 0 };
	assert_int_equal(cells_resize(&c, 4, 10), 0);
	*state = &c;
	return 0;
}

static int
teardown(void **state)
{
	cells_free(*state);
	return 0;
}

static void
is(struct cells *c, const char *expected)
{
	char *text = cells_text(c);

	assert_string_equal(text, expected);
	free(text);
}

static void
text_is_cut_to_its_width_and_to_the_screen(void **state)
{
	struct cells *c = *state;

	assert_int_equal(cells_put(c, 0, 2, 4, 0, "abcdef"), 4);
	cells_put(c, 1, 7, 100, 0, "abcdef");
	cells_put(c, 2, -2, 100, 0, "abcdef");
	cells_put(c, 4, 0, 100, 0, "below");
	cells_put(c, -1, 0, 100, 0, "above");
	is(c, "  abcd\n       abc\ncdef\n\n");
}

static void
wide_characters_take_two_cells_or_none(void **state)
{
	struct cells *c = *state;

	assert_int_equal(cells_put(c, 0, 0, 10, 0, "\u65e5\u672c"), 4);
	assert_int_equal(cells_put(c, 1, 0, 3, 0, "\u65e5\u672c"), 2);
	cells_put(c, 2, 9, 10, 0, "\u65e5");
	cells_put(c, 3, 0, 10, 0, "e\u0301!"); /* what would join the letter before is left out */
	is(c, "\u65e5\u672c\n\u65e5\n         ?\ne!\n");
	assert_int_equal(cells_width("\u65e5\u672cx"), 5);
}

static void
bytes_that_a_terminal_would_obey_become_question_marks(void **state)
{
	struct cells *c = *state;

	cells_put(c, 0, 0, 10, 0, "a\033[2Jb\n\x7f");
	cells_put(c, 1, 0, 10, 0, "\xff\xc0\x80\xed\xa0\x80");
	cells_put(c, 2, 0, 10, 0,
	    "\xc2\x9b"
	    "1m\xe2\x82");
	is(c, "a?[2Jb??\n??????\n?1m??\n\n");
}

static void
ascii_is_all_that_an_ascii_screen_gets(void **state)
{
	struct cells *c = *state;

	c->ascii = true;
	cells_frame(c, (struct box){ 0, 0, 3, 10 }, "\u00fc");
	cells_put(c, 3, 0, 10, 0, "\u65e5-\u00e9");
	is(c, "+- ? ----+\n|        |\n+--------+\n?-?\n");
	c->ascii = false;
	cells_frame(c, (struct box){ 0, 0, 3, 10 }, NULL);
	cells_put(c, 3, 0, 10, 0, "   ");
	is(c, "┌────────┐\n│        │\n└────────┘\n\n");
}

static void
lines_break_at_blanks_and_newlines(void **state)
{
	struct cells *c = *state;
	struct box b = { 0, 0, 4, 10 };

	assert_int_equal(cells_paragraph(c, b, 0, 0, "one two three\nfour-five-six"), 4);
	is(c, "one two\nthree\nfour-five-\nsix\n");
	cells_clear(c);
	assert_int_equal(cells_paragraph(c, (struct box){ 0, 0, 1, 1 }, 0, 0, "\u65e5\u672c"), 2);
	assert_int_equal(cells_paragraph(c, b, 0, 0, ""), 1);
	assert_int_equal(cells_paragraph(c, b, 2, 0, "a\nb\nc"), 3);
	is(c, "c\n\n\n\n");
}

static void
the_cursor_never_leaves_the_screen(void **state)
{
	struct cells *c = *state;

	cells_cursor(c, 100, -5);
	assert_int_equal(c->cursor_row, 3);
	assert_int_equal(c->cursor_col, 0);
	assert_int_equal(cells_resize(c, 0, 100000), 0);
	assert_int_equal(c->rows, 1);
	assert_int_equal(c->cols, CELLS_MAX);
}

struct sample {
	bool (*check)(const struct form *f, const char *text, char *why, size_t size);
	const char *text;
	bool good;
};

static void
what_is_typed_is_checked(void **state)
{
	static const struct sample samples[] = {
		{ check_host_name, "host-1", true },
		{ check_host_name, "-host", false },
		{ check_host_name, "host-", false },
		{ check_host_name, "host.example", false },
		{ check_host_name, "h\u00f6st", false },
		{ check_host_name, "1234567890123456789012345678901234567890123456789012345678901234",
		    false },
		{ check_vm_name, "web 1", true },
		{ check_vm_name, "../web1", false },
		{ check_vm_name, "a/b", false },
		{ check_vm_name, "web*", false },
		{ check_vm_name, "web ", false },
		{ check_prefix, "192.0.2.5/24", true },
		{ check_prefix, "2001:db8::5/64", true },
		{ check_prefix, "192.0.2.5", false },
		{ check_prefix, "192.0.2.5/33", false },
		{ check_prefix, "192.0.2.5/0", false },
		{ check_prefix, "192.0.2.5/24x", false },
		{ check_prefix, "192.0.2/24", false },
		{ check_prefix, "/24", false },
		{ check_address, "192.0.2.1", true },
		{ check_address, "192.0.2.1 ", false },
		{ check_address, "gateway", false },
		{ check_addresses, "192.0.2.1, 2001:db8::1", true },
		{ check_addresses, "192.0.2.1 x", false },
		{ check_addresses, "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4", false },
		{ check_time, "2026-11-23 09:30", true },
		{ check_time, "2026-11-23T09:30:59", true },
		{ check_time, "2026-11-23", false },
		{ check_time, "2026-13-23 09:30", false },
		{ check_time, "09:30", false },
		{ check_memory, "512", true },
		{ check_memory, "2G", true },
		{ check_memory, "2 GiB", true },
		{ check_memory, "1", false },
		{ check_memory, "2X", false },
		{ check_memory, "99999999999999999999", false },
		{ check_memory, "9000000000000000T", false },
		{ check_processors, "4", true },
		{ check_processors, "0", false },
		{ check_processors, "-1", false },
		{ check_processors, "4.5", false },
	};
	char why[REASON_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		why[0] = '\0';
		if (samples[i].check(NULL, samples[i].text, why, sizeof(why)) != samples[i].good)
			fail_msg("\"%s\": %s", samples[i].text, samples[i].good ? why : "was taken");
		if (!samples[i].good)
			assert_int_equal(why[strlen(why) - 1], '.'); /* a sentence */
	}
}

static void
memory_is_read_with_its_unit(void **state)
{
	json_int_t n;

	(void)state;
	assert_true(number_read("2G", "MiB", &n));
	assert_int_equal(n, 2048);
	assert_true(number_read("1 TiB", "MiB", &n));
	assert_int_equal(n, 1024 * 1024);
	assert_false(number_read("2G", NULL, &n));
	assert_false(number_read("", "MiB", &n));
}

static void
values_read_as_people_write_them(void **state)
{
	static const struct {
		void (*show)(const json_t *value, const json_t *doc, char *out, size_t size);
		int value;
		const char *text;
	} samples[] = {
		{ show_memory, 512, "512 MiB" },
		{ show_memory, 1536, "1.5 GiB" },
		{ show_memory, 65536, "64 GiB" },
		{ show_duration, 5, "< 1 min" },
		{ show_duration, 3599, "59 min" },
		{ show_duration, 90000, "1 d 1 h" },
		{ show_duration, -1, "" },
	};
	char text[64];
	json_t *list = json_pack("[s,[s],i,b]", "a\033", "b", 7, 1);

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		json_t *value = json_integer(samples[i].value);

		samples[i].show(value, NULL, text, sizeof(text));
		assert_string_equal(text, samples[i].text);
		json_decref(value);
	}
	show_plain(list, text, sizeof(text));
	assert_string_equal(text, "a?");
	json_array_remove(list, 1);
	show_plain(list, text, sizeof(text));
	assert_string_equal(text, "a? 7 yes");
	show_plain(list, text, 5);
	show_plain(NULL, text, sizeof(text));
	assert_string_equal(text, "");
	json_decref(list);
}

int
main(void)
{
#define ON_A_SCREEN(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		ON_A_SCREEN(text_is_cut_to_its_width_and_to_the_screen),
		ON_A_SCREEN(wide_characters_take_two_cells_or_none),
		ON_A_SCREEN(bytes_that_a_terminal_would_obey_become_question_marks),
		ON_A_SCREEN(ascii_is_all_that_an_ascii_screen_gets),
		ON_A_SCREEN(lines_break_at_blanks_and_newlines),
		ON_A_SCREEN(the_cursor_never_leaves_the_screen),
		cmocka_unit_test(what_is_typed_is_checked),
		cmocka_unit_test(memory_is_read_with_its_unit),
		cmocka_unit_test(values_read_as_people_write_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
