/*
 * sconfig/cells.h - a screen in memory: cells of one character each, and the place of the cursor.
 *
 * Widgets write here; a back end shows it: ncurses (term_curses.h), or text (cells_text) in tests and in
 * the manual. Every write is cut to the screen, so that nothing depends on its size; text may hold any
 * bytes: what is not UTF-8, or would move a terminal's cursor, becomes '?'. One thread.
 */
#ifndef SCONFIG_CELLS_H
#define SCONFIG_CELLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CELLS_MAX = 500 }; /* rows or columns; a larger terminal is used in part */

/* How text is set off: never by colour. */
enum { MARK_NONE, MARK_REVERSE = 1, MARK_BOLD = 2, MARK_UNDERLINE = 4 };

struct cell {
	uint32_t ch; /* a character; 0: right half of the wide one before */
	uint8_t mark;
};

/* One screen. Zero is a valid, empty one. */
struct cells {
	int rows, cols;
	struct cell *at;            /* rows * cols */
	int cursor_row, cursor_col; /* always on the screen */
	bool ascii;                 /* lines and foreign characters as ASCII */
};

/* A part of the screen; may lie outside of it in part or whole. */
struct box {
	int row, col, rows, cols;
};

/* Makes it rows by cols (each cut to 1..CELLS_MAX), all blank. 0 or -ENOMEM; then it is unchanged. */
int cells_resize(struct cells *c, int rows, int cols);
void cells_free(struct cells *c);
void cells_clear(struct cells *c);

/* Writes text from row, col, at most width columns of it. Returns the columns that it took. */
int cells_put(struct cells *c, int row, int col, int width, unsigned mark, const char *text);
int cells_printf(struct cells *c, int row, int col, int width, unsigned mark, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));
/* The same, the rest of the width filled with blanks of the same mark. */
void cells_line(struct cells *c, int row, int col, int width, unsigned mark, const char *text);
void cells_rule(struct cells *c, int row, int col, int width);
/* A frame with blanks inside and, if title is given, that in its upper line. */
void cells_frame(struct cells *c, struct box b, const char *title);
/* Puts the cursor there, or as near as the screen allows. */
void cells_cursor(struct cells *c, int row, int col);

/* Columns that text takes, as cells_put would count. */
int cells_width(const char *text);
/*
 * The length in bytes of the first part of text that fits width columns, broken at a blank if there is
 * one and at the latest at a newline; *next is where to go on (NULL: that was all).
 */
size_t cells_wrap(const char *text, int width, const char **next);

/* Text broken into lines: those from `first` on are put into b, as many as it has rows. Returns how many
 * there are in all. */
int cells_paragraph(struct cells *c, struct box b, int first, unsigned mark, const char *text);

/* The screen as lines of UTF-8, each without blanks at its end, without marks; to be freed. NULL when memory
 * is out. */
char *cells_text(const struct cells *c);

/* Decodes one character of s and moves *s on; what is not UTF-8 is '?', one byte long. */
uint32_t utf8_next(const char **s);
/* Encodes ch: number of bytes, 1..4; out is terminated. */
int utf8_put(uint32_t ch, char out[5]);

#endif
