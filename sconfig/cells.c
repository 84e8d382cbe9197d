/*
 * sconfig/cells.c - a screen in memory.
 */
#include "sconfig/cells.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

enum {
	RULE_ROW = 0x2500,
	RULE_COL = 0x2502,
	CORNER_NW = 0x250c,
	CORNER_NE = 0x2510,
	CORNER_SW = 0x2514,
	CORNER_SE = 0x2518
};

static int
clamp(int n, int low, int high)
{
	return n < low ? low : n > high ? high : n;
}

uint32_t
utf8_next(const char **s)
{
	const unsigned char *p = (const unsigned char *)*s;
	static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 };
	uint32_t ch = p[0];
	int more = ch < 0x80             ? 0
		   : (ch & 0xe0) == 0xc0 ? 1
		   : (ch & 0xf0) == 0xe0 ? 2
		   : (ch & 0xf8) == 0xf0 ? 3
					 : -1;

	*s += 1;
	if (more == 0)
		return ch;
	if (more < 0)
		return '?';
	ch &= 0x3fU >> more;
	for (int i = 1; i <= more; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return '?';
		ch = ch << 6 | (p[i] & 0x3fU);
	}
	if (ch < least[more] || ch > 0x10ffff || (ch >= 0xd800 && ch <= 0xdfff))
		return '?';
	*s += more;
	return ch;
}

int
utf8_put(uint32_t ch, char out[5])
{
	static const unsigned char lead[] = { 0, 0xc0, 0xe0, 0xf0 };
	int more = ch < 0x80 ? 0 : ch < 0x800 ? 1 : ch < 0x10000 ? 2 : 3;

	for (int i = more; i > 0; i--, ch >>= 6)
		out[i] = (char)(0x80 | (ch & 0x3f));
	out[0] = (char)(more ? lead[more] | ch : ch);
	out[more + 1] = '\0';
	return more + 1;
}

/* Columns of a character, 1 or 2; 0 is one to leave out (it would join the one before). */
static int
columns(uint32_t *ch)
{
	int n;

	if (*ch >= 0x20 && *ch < 0x7f)
		return 1;
	n = *ch < 0xa0 ? -1 : wcwidth((wchar_t)*ch);
	if (n < 0)
		*ch = '?';
	return n < 0 ? 1 : n;
}

int
cells_resize(struct cells *c, int rows, int cols)
{
	struct cell *at;

	rows = clamp(rows, 1, CELLS_MAX);
	cols = clamp(cols, 1, CELLS_MAX);
	at = calloc((size_t)(rows * cols), sizeof(*at));
	if (!at)
		return -ENOMEM;
	free(c->at);
	c->at = at;
	c->rows = rows;
	c->cols = cols;
	cells_clear(c);
	return 0;
}

void
cells_free(struct cells *c)
{
	free(c->at);
	*c = (struct cells){ .ascii = c->ascii };
}

void
cells_clear(struct cells *c)
{
	for (int i = 0; i < c->rows * c->cols; i++)
		c->at[i] = (struct cell){ .ch = ' ' };
	c->cursor_row = c->cursor_col = 0;
}

static void
set(struct cells *c, int row, int col, uint32_t ch, unsigned mark)
{
	if (row >= 0 && row < c->rows && col >= 0 && col < c->cols)
		c->at[row * c->cols + col] = (struct cell){ .ch = ch, .mark = (uint8_t)mark };
}

/* A wide character needs both of its cells; one that would be cut is not shown. */
static void
set_wide(struct cells *c, int row, int col, uint32_t ch, unsigned mark)
{
	if (col >= 0 && col + 1 < c->cols) {
		set(c, row, col, ch, mark);
		set(c, row, col + 1, 0, mark);
	} else {
		set(c, row, col, '?', mark);
		set(c, row, col + 1, '?', mark);
	}
}

int
cells_put(struct cells *c, int row, int col, int width, unsigned mark, const char *text)
{
	int used = 0;

	while (*text && used < width) {
		uint32_t ch = utf8_next(&text);
		int n = columns(&ch);

		if (c->ascii && ch >= 0x7f)
			ch = '?';
		if (used + n > width)
			break;
		if (n == 1 || (n == 2 && c->ascii)) {
			set(c, row, col + used, ch, mark);
			n = 1;
		} else if (n == 2) {
			set_wide(c, row, col + used, ch, mark);
		}
		used += n;
	}
	return used;
}

int
cells_printf(struct cells *c, int row, int col, int width, unsigned mark, const char *fmt, ...)
{
	char text[4 * CELLS_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return cells_put(c, row, col, width, mark, text);
}

void
cells_line(struct cells *c, int row, int col, int width, unsigned mark, const char *text)
{
	int used = cells_put(c, row, col, width, mark, text);

	for (; used < width && col + used < c->cols; used++)
		set(c, row, col + used, ' ', mark);
}

/* A character of a line: ASCII where the terminal may not have it. */
static void
set_rule(struct cells *c, int row, int col, uint32_t ch)
{
	if (c->ascii)
		ch = ch == RULE_ROW ? '-' : ch == RULE_COL ? '|' : '+';
	set(c, row, col, ch, MARK_NONE);
}

void
cells_rule(struct cells *c, int row, int col, int width)
{
	for (int i = 0; i < width && col + i < c->cols; i++)
		set_rule(c, row, col + i, RULE_ROW);
}

void
cells_frame(struct cells *c, struct box b, const char *title)
{
	int right = b.col + b.cols - 1, bottom = b.row + b.rows - 1;

	for (int row = b.row; row <= bottom; row++) {
		cells_line(c, row, b.col, b.cols, MARK_NONE, "");
		set_rule(c, row, b.col, RULE_COL);
		set_rule(c, row, right, RULE_COL);
	}
	cells_rule(c, b.row, b.col, b.cols);
	cells_rule(c, bottom, b.col, b.cols);
	set_rule(c, b.row, b.col, CORNER_NW);
	set_rule(c, b.row, right, CORNER_NE);
	set_rule(c, bottom, b.col, CORNER_SW);
	set_rule(c, bottom, right, CORNER_SE);
	if (title)
		cells_printf(c, b.row, b.col + 2, b.cols - 4, MARK_BOLD, " %s ", title);
}

void
cells_cursor(struct cells *c, int row, int col)
{
	c->cursor_row = clamp(row, 0, c->rows - 1);
	c->cursor_col = clamp(col, 0, c->cols - 1);
}

int
cells_width(const char *text)
{
	int used = 0;

	while (*text) {
		uint32_t ch = utf8_next(&text);

		used += columns(&ch);
	}
	return used;
}

size_t
cells_wrap(const char *text, int width, const char **next)
{
	const char *p = text, *blank = NULL;
	int used = 0;

	while (*p && *p != '\n') {
		const char *at = p;
		uint32_t ch = utf8_next(&p);

		used += columns(&ch);
		if (*at == ' ')
			blank = at;
		if (used <= width)
			continue;
		if (!blank || blank == text)
			blank = NULL;
		if (at == text) /* at least one character, or it would never end */
			at = p;
		*next = blank ? blank + 1 : at;
		if (!**next)
			*next = NULL;
		return (size_t)((blank ? blank : at) - text);
	}
	*next = *p ? p + 1 : NULL;
	return (size_t)(p - text);
}

int
cells_paragraph(struct cells *c, struct box b, int first, unsigned mark, const char *text)
{
	int n = 0;

	for (const char *next = text; next; n++) {
		char line[4 * CELLS_MAX + 1];
		const char *from = next;
		size_t len = cells_wrap(from, b.cols > 1 ? b.cols : 1, &next);

		if (n < first || n - first >= b.rows)
			continue;
		if (len >= sizeof(line))
			len = sizeof(line) - 1;
		memcpy(line, from, len);
		line[len] = '\0';
		cells_put(c, b.row + n - first, b.col, b.cols, mark, line);
	}
	return n;
}

char *
cells_text(const struct cells *c)
{
	char *out = NULL, bytes[5];
	size_t size = 0;
	FILE *f = open_memstream(&out, &size);

	if (!f)
		return NULL;
	for (int row = 0; row < c->rows; row++) {
		const struct cell *line = c->at + row * c->cols;
		int end = c->cols;

		while (end > 0 && line[end - 1].ch == ' ')
			end--;
		for (int col = 0; col < end; col++)
			if (line[col].ch) {
				utf8_put(line[col].ch, bytes);
				fputs(bytes, f);
			}
		fputc('\n', f);
	}
	return fclose(f) == 0 ? out : NULL;
}
