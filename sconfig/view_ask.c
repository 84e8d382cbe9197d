/*
 * sconfig/view_ask.c - a dialog: text, and buttons below it.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "sconfig/ui.h"

enum { BUTTONS_MAX = 4, SIDE = 2, COLS_MAX = 80 };

struct ask_view {
	struct view view;
	const char *title;
	char *text;
	const char *const *buttons;
	int n, focus, first, lines, rows;
	void (*chosen)(void *ctx, struct ui *ui, int button);
	void *ctx;
};

static void
draw_buttons(const struct ask_view *a, struct cells *c, int row, int col, int width)
{
	int used = 0;

	for (int i = 0; i < a->n; i++) {
		bool here = i == a->focus;

		if (here)
			cells_cursor(c, row, col + used + 2);
		used += cells_printf(c, row, col + used, width - used, here ? MARK_REVERSE : MARK_NONE,
		    "%c[ %s ]", here ? '>' : ' ', a->buttons[i]);
		used++;
	}
}

static void
ask_draw(struct view *v, struct ui *ui, struct box area)
{
	struct ask_view *a = (struct ask_view *)v;
	int cols = area.cols < COLS_MAX ? area.cols : COLS_MAX,
	    width = cols - 2 * SIDE > 1 ? cols - 2 * SIDE : 1;
	struct box b = { .cols = cols };
	struct box none = { .cols = width };

	a->lines = cells_paragraph(ui->cells, none, 0, MARK_NONE, a->text);
	b.rows = a->lines + 4 < area.rows ? a->lines + 4 : area.rows;
	b.row = area.row + (area.rows - b.rows) / 2;
	b.col = area.col + (area.cols - cols) / 2;
	a->rows = b.rows - 4;
	a->first = scroll_to(a->first, a->first, a->lines, a->rows);
	cells_frame(ui->cells, b, a->title);
	cells_paragraph(
	    ui->cells, (struct box){ b.row + 1, b.col + SIDE, a->rows, width }, a->first, MARK_NONE, a->text);
	if (a->lines > a->rows)
		cells_put(ui->cells, b.row + b.rows - 3, b.col + SIDE, width, MARK_NONE, "(more: j/k)");
	draw_buttons(a, ui->cells, b.row + b.rows - 2, b.col + SIDE, width);
}

static bool
choose(struct ask_view *a, struct ui *ui, int button)
{
	void (*chosen)(void *, struct ui *, int) = a->chosen;
	void *ctx = a->ctx;

	ui_pop(ui);
	chosen(ctx, ui, button);
	return true;
}

static bool
ask_key(struct view *v, struct ui *ui, uint32_t key)
{
	struct ask_view *a = (struct ask_view *)v;
	int most = a->lines > a->rows ? a->lines - a->rows : 0;

	if (key == K_ENTER)
		return choose(a, ui, a->focus);
	if (key == K_ESC || key == 'q')
		return choose(a, ui, -1);
	for (int i = 0; i < a->n; i++) /* the first letter of a button, or its number */
		if (key == (uint32_t)('1' + i) || key == (uint32_t)tolower((unsigned char)a->buttons[i][0]))
			return choose(a, ui, i);
	if (key == K_RIGHT || key == K_TAB || key == 'l')
		a->focus = (a->focus + 1) % a->n;
	else if (key == K_LEFT || key == K_BACK_TAB || key == 'h')
		a->focus = (a->focus + a->n - 1) % a->n;
	else
		move_focus(&a->first, most + 1, a->rows, key, true);
	return true;
}

static void
ask_free(struct view *v)
{
	struct ask_view *a = (struct ask_view *)v;

	free(a->text);
	free(a);
}

static const struct view_ops ask_ops = {
	.over = true,
	.draw = ask_draw,
	.key = ask_key,
	.free = ask_free,
};

struct view *
view_ask(const char *title, char *text, const char *const *buttons, int first,
    void (*chosen)(void *ctx, struct ui *ui, int button), void *ctx)
{
	struct ask_view *a = calloc(1, sizeof(*a));

	if (!a || !text) {
		free(a);
		free(text);
		return NULL;
	}
	*a = (struct ask_view){ .view = { &ask_ops, "Tab other button   Enter press it   Esc back" },
		.title = title,
		.text = text,
		.buttons = buttons,
		.focus = first,
		.chosen = chosen,
		.ctx = ctx };
	while (a->n < BUTTONS_MAX && buttons[a->n])
		a->n++;
	return &a->view;
}
