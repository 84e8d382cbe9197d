/* tests/unit/screen_test.c - a terminal after a guest had it: what the reset sends, seen by a small terminal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "shell/screen.h"

enum { ROWS = 24, COLS = 80, MODES = 3000 };

/* What an xterm, a vt100 and the kernel's console have in common, as far as a guest can leave it changed. */
struct terminal {
	enum { TEXT, ESCAPE, CSI, STRING, CHARSET } at;
	char args[64];
	size_t n;
	char charset[2]; /* G0, G1 */
	bool shifted;    /* G1 is in use */
	bool keypad, marked, utf8;
	bool mode[MODES], insert; /* DEC private modes */
	int row, top, bottom;
	int answers; /* to questions: they would be taken for typed keys */
};

static const struct terminal as_new = {
	.charset = { 'B', 'B' }, .utf8 = true, .bottom = ROWS, .mode = { [7] = true, [25] = true }
};

static void
set_modes(struct terminal *t, bool on)
{
	bool private = t->args[0] == '?';

	for (char *p = t->args + private, *next; *p; p = *next ? next + 1 : next) {
		long mode = strtol(p, &next, 10);

		assert_in_range(mode, 1, MODES - 1);
		if (private)
			t->mode[mode] = on;
		else if (mode == 4)
			t->insert = on;
		if (private && mode == 6)
			t->row = on ? t->top : 0;
	}
}

static void
csi(struct terminal *t, char final)
{
	switch (final) {
	case 'h':
	case 'l':
		set_modes(t, final == 'h');
		break;
	case 'm':
		t->marked = t->args[0] && strcmp(t->args, "0") != 0;
		break;
	case 'r':
		t->top = t->args[0] ? atoi(t->args) - 1 : 0;
		t->bottom = t->args[0] ? atoi(strchr(t->args, ';') + 1) : ROWS;
		t->row = 0;
		break;
	case 'H':
		t->row = atoi(t->args) - 1 < ROWS - 1 ? atoi(t->args) - 1 : ROWS - 1;
		break;
	case 'c':
	case 'n':
		t->answers++;
		break;
	default:
		fail_msg("not every terminal knows CSI %s%c", t->args, final);
	}
}

static void
escape(struct terminal *t, char c)
{
	t->at = TEXT;
	t->args[0] = '\0';
	t->n = 0;
	if (c == '[')
		t->at = CSI;
	else if (c == ']' || c == 'P' || c == '^' || c == '_')
		t->at = STRING;
	else if (c == '(' || c == ')' || c == '%') {
		t->args[0] = c;
		t->at = CHARSET;
	} else if (c == '=' || c == '>')
		t->keypad = c == '=';
	else if (c == 'Z')
		t->answers++;
	else
		assert_true(c == '\\' || c == '7' || c == '8');
}

static void
charset(struct terminal *t, char c)
{
	if (t->args[0] == '%')
		t->utf8 = c == 'G';
	else
		t->charset[t->args[0] == ')'] = c;
	t->at = TEXT;
}

static void
see(struct terminal *t, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char c = bytes[i];

		if (c == '\030')
			t->at = TEXT;
		else if (c == '\033')
			t->at = ESCAPE;
		else if (t->at == ESCAPE)
			escape(t, c);
		else if (t->at == CHARSET)
			charset(t, c);
		else if (t->at == CSI && c >= '@') {
			t->at = TEXT;
			csi(t, c);
		} else if (t->at == CSI) {
			t->args[t->n++] = c;
			t->args[t->n] = '\0';
		} else if (t->at == TEXT && (c == '\016' || c == '\017'))
			t->shifted = c == '\016';
	}
}

static void
reset(struct terminal *t)
{
	char bytes[1024];
	ssize_t n;
	int p[2];

	assert_int_equal(pipe(p), 0);
	screen_reset(p[1]);
	close(p[1]);
	n = read(p[0], bytes, sizeof(bytes));
	close(p[0]);
	assert_in_range(n, 1, 400); /* a third of a second on a line of 9,600 */
	see(t, bytes, (size_t)n);
}

static void
check(const char *left)
{
	struct terminal t = as_new;

	see(&t, left, strlen(left));
	reset(&t);
	assert_int_equal(t.at, TEXT);
	assert_memory_equal(t.charset, as_new.charset, 2);
	assert_false(t.shifted || t.keypad || t.marked || t.insert);
	assert_true(t.utf8);
	assert_int_equal(t.top, 0);
	assert_int_equal(t.bottom, ROWS);
	assert_int_equal(t.row, ROWS - 1); /* what was there is not written over */
	assert_int_equal(t.answers, 0);
	for (int i = 0; i < MODES; i++)
		if (t.mode[i] != as_new.mode[i])
			fail_msg("mode %d is left %d by '%s'", i, t.mode[i], left + 1);
}

static void
whatever_a_guest_left_is_put_back(void **state)
{
	static const char *const left[] = { "", "\033[?1049h", "\033[?47h", "\033[?1047h", "\033[5;10r",
		"\033[1;7;31m", "\033[?25l", "\033[?1000;1002;1006h", "\033[?9h\033[?1003h\033[?1015h",
		"\033[?1005h\033[?1001h", "\033[?1004h", "\033[?2004h", "\033=", "\033[?1h", "\033(0",
		"\016\033)0", "\033[?7l", "\033[?5h", "\033[?6h", "\033[4h", "\033%@",
		"\033[?1049h\033[?25l\033[3;9r\033[?6h\033(0\033=\033[?1003;1006;2004;1004h\033[44m" };

	(void)state;
	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++)
		check(left[i]);
}

static void
what_the_guest_was_in_the_middle_of_is_broken_off(void **state)
{
	static const char *const left[] = { "\033", "\033[", "\033[?104", "\033]0;title", "\033Pq#0",
		"\033(" };

	(void)state;
	for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++)
		check(left[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_a_guest_left_is_put_back),
		cmocka_unit_test(what_the_guest_was_in_the_middle_of_is_broken_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
