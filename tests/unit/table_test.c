/*
 * tests/unit/table_test.c - the layout of answers: aligned, in humane units, never wider than the terminal.
 */
#include <jansson.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "shell/out.h"
#include "shell/progress.h"
#include "shell/table.h"

static const char schema_text[] =
    "{\"properties\":{\"vms\":{\"items\":{\"properties\":{\"name\":{},\"state\":{},"
    "\"memory\":{\"x-unit\":\"MiB\"},\"notes\":{}}}}}}";

static char *
laid_out(const char *answer, const char *schema, size_t width)
{
	json_t *a = json_loads(answer, JSON_DECODE_ANY, NULL), *s = json_loads(schema, 0, NULL);
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(a);
	table_answer(f, a, s, width);
	fclose(f);
	json_decref(a);
	json_decref(s);
	return text;
}

static void
shows(const char *answer, const char *schema, size_t width, const char *expected)
{
	char *text = laid_out(answer, schema, width);

	assert_string_equal(text, expected);
	free(text);
}

static void
a_list_is_a_table_with_numbers_to_the_right(void **state)
{
	(void)state;
	shows("{\"vms\":[{\"memory\":2048,\"name\":\"web1\",\"state\":\"Running\",\"notes\":\"\"},"
	      "{\"name\":\"a-longer-name\",\"state\":\"Off\",\"memory\":512,\"notes\":null}]}",
	    schema_text, 0,
	    "name           state     memory\n"
	    "web1           Running    2 GiB\n"
	    "a-longer-name  Off      512 MiB\n");
}

static void
a_column_that_is_empty_takes_no_room(void **state)
{
	(void)state;
	shows("[{\"a\":1,\"b\":null,\"c\":[]},{\"a\":2,\"b\":\"\"}]", "{}", 0, "a\n1\n2\n");
}

static void
an_empty_list_is_told(void **state)
{
	(void)state;
	shows("{\"vms\":[]}", schema_text, 80, "(none)\n");
}

static void
what_the_schema_does_not_know_is_shown_too(void **state)
{
	(void)state;
	shows("{\"vms\":[{\"name\":\"a\",\"newIdea\":true}]}", schema_text, 0, "name  new idea\na     yes\n");
}

static void
an_object_is_lines_of_name_and_value_and_its_lists_follow(void **state)
{
	(void)state;
	shows("{\"timeZone\":\"UTC\",\"name\":\"alpha\",\"dns\":[\"1.1.1.1\",\"::1\"],\"nothing\":null,"
	      "\"adapters\":[{\"name\":\"eth0\"}],\"release\":{\"version\":1}}",
	    "{\"properties\":{\"name\":{}}}", 0,
	    "name             alpha\n"
	    "time zone        UTC\n"
	    "dns              1.1.1.1, ::1\n"
	    "nothing          -\n"
	    "release.version  1\n"
	    "\n"
	    "adapters:\n"
	    "name\n"
	    "eth0\n");
}

static void
no_line_is_wider_than_the_terminal(void **state)
{
	static const char answer[] =
	    "{\"vms\":[{\"name\":\"a-very-long-name-that-goes-on-and-on\",\"state\":\"Running\",\"memory\":"
	    "2048,"
	    "\"notes\":\"\xc3\xa4\xc3\xa4\xc3\xa4 some words about this machine, too many\"},{\"name\":\"b\","
	    "\"state\":\"Off\",\"memory\":1,\"notes\":\"\xe4\xbd\xa0\xe5\xa5\xbd\xe4\xbd\xa0\xe5\xa5\xbd\"}]"
	    "}";

	(void)state;
	for (size_t width = 6; width < 120; width++) {
		char *text = laid_out(answer, schema_text, width), *rest = text, *line;

		while ((line = strsep(&rest, "\n")))
			if (*line != '(') /* the note about columns left out */
				assert_true(out_width(line) <= (width < 7 ? 7 : width));
		free(text);
	}
}

static void
columns_that_do_not_fit_are_counted(void **state)
{
	char *text = laid_out("[{\"aaaaaaaa\":1,\"bbbbbbbb\":2,\"cccccccc\":3}]", "{}", 20);

	(void)state;
	assert_string_equal(text, "aaaaaaaa  bbbbbbbb\n"
				  "       1         2\n"
				  "(1 more columns do not fit; --json has them all)\n");
	free(text);
}

static void
what_a_terminal_would_obey_is_never_shown(void **state)
{
	char *text = laid_out("[{\"a\\u001b[2J\":\"x\\u0007\\u009by\\ny\"}]", "{}", 0);

	(void)state;
	assert_null(strpbrk(text, "\x1b\x07"));
	assert_null(strstr(text, "\xc2\x9b"));
	assert_non_null(strstr(text, "x???y?y\n"));
	free(text);
}

static void
values_alone_are_shown_plainly(void **state)
{
	(void)state;
	shows("3", "{}", 80, "3\n");
	shows("[1,\"a\",[2]]", "{}", 80, "1\na\n2\n");
	shows("2.5", "{}", 80, "2.5\n");
	shows("false", "{}", 80, "no\n");
}

static void
text_is_cut_at_a_whole_character(void **state)
{
	char *s = out_cut("\xe4\xbd\xa0\xe5\xa5\xbd", 3);

	(void)state;
	assert_string_equal(s, "\xe4\xbd\xa0\xe2\x80\xa6");
	free(s);
	s = out_cut("abc", 3);
	assert_string_equal(s, "abc");
	free(s);
	s = out_cut("abc", 0);
	assert_string_equal(s, "");
	free(s);
	setlocale(LC_CTYPE, "C"); /* no half characters there, either */
	s = out_cut("\xe4\xbd\xa0\xe5\xa5\xbd!", 2);
	assert_string_equal(s, "\xe4\xbd\xa0~");
	free(s);
	setlocale(LC_CTYPE, "C.UTF-8");
}

static void
help_is_wrapped_at_words(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	out_wrapped(f, "one two  three\nfour", 2, 10);
	fclose(f);
	assert_string_equal(text, "  one two\n  three\n  four\n");
	free(text);
}

static void
a_job_has_a_bar_a_rate_and_the_time_left(void **state)
{
	const int64_t s = 1000000000;
	struct progress g = { 0 };
	struct rpc_progress p = { .phase = "copying", .unit = "bytes", .state = "Running", .total = 1 << 30 };
	char line[200];

	(void)state;
	progress_note(&g, &p, s);
	p.done = 1 << 28;
	progress_note(&g, &p, 3 * s);
	progress_line(&g, &p, 3 * s, 100, line, sizeof(line));
	assert_string_equal(
	    line, "copying  [#######-----------------------]  25%  256 MiB of 1 GiB  128 MiB/s  6s left");
	for (size_t width = 1; width < 100; width++) {
		progress_line(&g, &p, 3 * s, width, line, sizeof(line));
		assert_true(strlen(line) <= width);
	}
}

static void
a_job_of_unknown_length_tells_how_long_it_took(void **state)
{
	const int64_t s = 1000000000;
	struct progress g = { 0 };
	struct rpc_progress p = { .phase = "", .unit = "", .state = "Running" };
	char line[200];

	(void)state;
	progress_note(&g, &p, s);
	progress_line(&g, &p, 66 * s, 80, line, sizeof(line));
	assert_string_equal(line, "Running    1m 5s");
	p.phase = "\x1b[2J";
	progress_note(&g, &p, 67 * s);
	progress_line(&g, &p, 67 * s, 80, line, sizeof(line));
	assert_null(strchr(line, '\x1b'));
}

static int
utf8(void **state)
{
	(void)state;
	return setlocale(LC_CTYPE, "C.UTF-8") ? 0 : -1;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_is_a_table_with_numbers_to_the_right),
		cmocka_unit_test(a_column_that_is_empty_takes_no_room),
		cmocka_unit_test(an_empty_list_is_told),
		cmocka_unit_test(what_the_schema_does_not_know_is_shown_too),
		cmocka_unit_test(an_object_is_lines_of_name_and_value_and_its_lists_follow),
		cmocka_unit_test(no_line_is_wider_than_the_terminal),
		cmocka_unit_test(columns_that_do_not_fit_are_counted),
		cmocka_unit_test(what_a_terminal_would_obey_is_never_shown),
		cmocka_unit_test(values_alone_are_shown_plainly),
		cmocka_unit_test(text_is_cut_at_a_whole_character),
		cmocka_unit_test(help_is_wrapped_at_words),
		cmocka_unit_test(a_job_has_a_bar_a_rate_and_the_time_left),
		cmocka_unit_test(a_job_of_unknown_length_tells_how_long_it_took),
	};

	return cmocka_run_group_tests(tests, utf8, NULL);
}
