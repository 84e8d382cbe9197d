/*
 * sconfig/term_curses.c - cells on a real terminal.
 */
#include "sconfig/term_curses.h"

#define NCURSES_WIDECHAR 1
#include <ncurses.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <termios.h>

#include "sconfig/keys.h"

static SCREEN *screen;
static struct cells shown; /* what ncurses was told last */

/* XON/XOFF is what keeps a slow line from losing what it is sent. */
static void
keep_flow_control(void)
{
	struct termios t;

	if (tcgetattr(0, &t) < 0)
		return;
	t.c_iflag |= IXON | IXOFF;
	tcsetattr(0, TCSANOW, &t);
	def_prog_mode();
}

/* Whether there is a description of a terminal; newterm would leave memory behind if not. */
static bool
is_known(const char *name)
{
	int found;

	if (setupterm(name, 1, &found) != OK)
		return false;
	del_curterm(cur_term);
	return true;
}

/* Lets ncurses use our own description of a terminal, if we have one. */
static bool
bring_own(const char *name)
{
	static const struct {
		const char *name, *description;
	} terminals[] = {
#include "terminals.h" /* generated: module.mk */
	};

	for (size_t i = 0; i < sizeof(terminals) / sizeof(terminals[0]); i++)
		if (strcmp(terminals[i].name, name) == 0)
			return setenv("TERMINFO", terminals[i].description, 1) == 0 && is_known(name);
	return false;
}

/* TERM, or what it is taken for: the system's description, then ours, then a vt100. NULL: not even that. */
static const char *
choose_terminal(void)
{
	const char *name = getenv("TERM");

	if (name && (is_known(name) || bring_own(name)))
		return name;
	return is_known("vt100") || bring_own("vt100") ? "vt100" : NULL;
}

bool
curses_open(const struct terminal *t)
{
	const char *name = choose_terminal();

	screen = name ? newterm(name, stdout, stdin) : NULL;
	if (!screen)
		return false;
	set_term(screen);
	raw(); /* Ctrl-C is a key here: nothing but logging off ends the menu */
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(t->serial ? TERM_ESC_SERIAL_MS : TERM_ESC_MS);
	curs_set(1);
	if (t->serial)
		keep_flow_control();
	return true;
}

bool
curses_is_plain(void)
{
	return strncmp(termname(), "vt", 2) == 0;
}

void
curses_close(void)
{
	if (!screen)
		return;
	endwin();
	delscreen(screen);
	screen = NULL;
	cells_free(&shown);
}

void
curses_pause(void)
{
	if (screen)
		endwin();
}

void
curses_resume(void)
{
	if (!screen)
		return;
	reset_prog_mode();
	clearok(curscr, TRUE);
	cells_free(&shown); /* all of it is sent next time */
}

void
curses_size(int *rows, int *cols)
{
	getmaxyx(stdscr, *rows, *cols);
}

void
curses_set_size(int rows, int cols)
{
	if (is_term_resized(rows, cols))
		resizeterm(rows, cols);
}

static attr_t
attributes(unsigned mark)
{
	return (mark & MARK_REVERSE ? A_REVERSE : A_NORMAL) | (mark & MARK_BOLD ? A_BOLD : A_NORMAL) |
	       (mark & MARK_UNDERLINE ? A_UNDERLINE : A_NORMAL);
}

static void
put_cell(int row, int col, const struct cell *cell)
{
	wchar_t text[2] = { (wchar_t)cell->ch, 0 };
	cchar_t c;

	if (setcchar(&c, text, attributes(cell->mark), 0, NULL) == OK)
		mvadd_wch(row, col, &c);
}

static bool
differs(const struct cell *a, const struct cell *b)
{
	return a->ch != b->ch || a->mark != b->mark;
}

static bool
same_size(const struct cells *c)
{
	return shown.at && shown.rows == c->rows && shown.cols == c->cols;
}

void
curses_show(const struct cells *c, bool again)
{
	bool all = again || !same_size(c);

	if (!same_size(c) && cells_resize(&shown, c->rows, c->cols) < 0)
		return;
	if (all)
		erase();
	for (int row = 0; row < c->rows; row++)
		for (int col = 0; col < c->cols; col++) {
			int i = row * c->cols + col;
			bool blank = c->at[i].ch == ' ' && !c->at[i].mark;

			if (c->at[i].ch && (all ? !blank : differs(&c->at[i], &shown.at[i])))
				put_cell(row, col, &c->at[i]);
		}
	memcpy(shown.at, c->at, (size_t)(c->rows * c->cols) * sizeof(*c->at));
	move(c->cursor_row, c->cursor_col);
	if (again)
		clearok(curscr, TRUE);
	refresh();
}

static uint32_t
function_key(wint_t key)
{
	static const struct {
		wint_t theirs;
		uint32_t ours;
	} table[] = {
		{ KEY_UP, K_UP },
		{ KEY_DOWN, K_DOWN },
		{ KEY_LEFT, K_LEFT },
		{ KEY_RIGHT, K_RIGHT },
		{ KEY_HOME, K_HOME },
		{ KEY_END, K_END },
		{ KEY_PPAGE, K_PAGE_UP },
		{ KEY_NPAGE, K_PAGE_DOWN },
		{ KEY_BTAB, K_BACK_TAB },
		{ KEY_ENTER, K_ENTER },
		{ KEY_BACKSPACE, K_BACKSPACE },
		{ KEY_DC, K_CTRL_D },
		{ KEY_F(1), K_F1 },
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].theirs == key)
			return table[i].ours;
	return K_NONE;
}

/* Esc and a digit at once: the function key of that number. */
static uint32_t
escape_key(void)
{
	wint_t next;
	int rc = get_wch(&next);

	if (rc == ERR)
		return K_ESC;
	return rc == OK && next == '1' ? K_F1 : K_NONE;
}

uint32_t
curses_key(bool *resized)
{
	wint_t key;
	int rc = get_wch(&key);

	while (rc == KEY_CODE_YES && key == KEY_RESIZE) {
		*resized = true;
		rc = get_wch(&key);
	}
	if (rc == ERR)
		return K_NONE;
	if (rc == KEY_CODE_YES)
		return function_key(key);
	if (key == K_ESC)
		return escape_key();
	return key == '\n' ? K_ENTER : (uint32_t)key;
}
