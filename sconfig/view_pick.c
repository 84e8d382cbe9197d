/*
 * sconfig/view_pick.c - a list to choose from. Typing leaves those that have the typed text in them.
 */
#include <stdlib.h>
#include <string.h>

#include "sconfig/ui.h"

struct pick_view {
	struct view view;
	char title[96];
	struct choice *choices;
	size_t n;
	size_t *match; /* indexes of those left */
	int matches, focus, first, rows;
	char typed[64];
	void (*chosen)(void *ctx, struct ui *ui, const char *value);
	void *ctx;
};

static void
find_matches(struct pick_view *p)
{
	p->matches = 0;
	for (size_t i = 0; i < p->n; i++)
		if (strcasestr(p->choices[i].value, p->typed))
			p->match[p->matches++] = i;
	if (p->focus >= p->matches)
		p->focus = p->matches ? p->matches - 1 : 0;
}

static void
draw_choice(struct pick_view *p, struct cells *c, int i, int row, int col, int width)
{
	const struct choice *choice = &p->choices[p->match[i]];
	unsigned mark = i == p->focus ? MARK_REVERSE : MARK_NONE;

	cells_printf(c, row, col, width, mark, "%c %s%s%s", i == p->focus ? '>' : ' ', choice->value,
	    choice->label[0] ? "   " : "", choice->label);
	if (i == p->focus)
		cells_cursor(c, row, col);
}

static void
pick_draw(struct view *v, struct ui *ui, struct box area)
{
	struct pick_view *p = (struct pick_view *)v;
	int cols = area.cols < 64 ? area.cols : 64, rows = (int)p->n + 4;
	struct box b = { .cols = cols, .rows = rows < area.rows ? rows : area.rows };

	b.row = area.row + (area.rows - b.rows) / 2;
	b.col = area.col + (area.cols - cols) / 2;
	p->rows = b.rows - 3;
	p->first = scroll_to(p->first, p->focus, p->matches, p->rows);
	cells_frame(ui->cells, b, p->title);
	cells_cursor(ui->cells, b.row + b.rows - 2, b.col + 8);
	for (int i = p->first; i < p->matches && i < p->first + p->rows; i++)
		draw_choice(p, ui->cells, i, b.row + 1 + i - p->first, b.col + 2, cols - 4);
	cells_printf(ui->cells, b.row + b.rows - 2, b.col + 2, cols - 4, MARK_NONE, "Find: %s  (%d of %zu)",
	    p->typed, p->matches, p->n);
}

static void
pick_chosen(struct pick_view *p, struct ui *ui)
{
	void (*chosen)(void *, struct ui *, const char *) = p->chosen;
	void *ctx = p->ctx;
	char value[VALUE_SIZE];

	if (!p->matches)
		return;
	snprintf(value, sizeof(value), "%s", p->choices[p->match[p->focus]].value);
	ui_pop(ui);
	chosen(ctx, ui, value);
}

static bool
pick_key(struct view *v, struct ui *ui, uint32_t key)
{
	struct pick_view *p = (struct pick_view *)v;
	size_t len = strlen(p->typed);

	if (key == K_ESC)
		ui_pop(ui);
	else if (key == K_ENTER)
		pick_chosen(p, ui);
	else if ((key == K_BACKSPACE || key == K_DELETE) && len)
		p->typed[len - 1] = '\0';
	else if (key == K_CTRL_U)
		p->typed[0] = '\0';
	else if (key >= ' ' && key < 0x7f && len + 1 < sizeof(p->typed))
		memcpy(p->typed + len, (char[]){ (char)key, '\0' }, 2);
	else
		move_focus(&p->focus, p->matches, p->rows, key, false);
	if (key < K_UP && key != K_ESC && key != K_ENTER && key != K_TAB && key != K_CTRL_N &&
	    key != K_CTRL_P)
		find_matches(p);
	return true;
}

static void
pick_free(struct view *v)
{
	struct pick_view *p = (struct pick_view *)v;

	free(p->choices);
	free(p->match);
	free(p);
}

static const struct view_ops pick_ops = {
	.over = true,
	.draw = pick_draw,
	.key = pick_key,
	.free = pick_free,
};

struct view *
view_pick(const char *title, const struct choice *choices, size_t n, const char *value,
    void (*chosen)(void *ctx, struct ui *ui, const char *value), void *ctx)
{
	struct pick_view *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->view = (struct view){ &pick_ops, "Type to find   Tab/Ctrl-P down, up   Enter take it   Esc back" };
	snprintf(p->title, sizeof(p->title), "%s", title);
	p->chosen = chosen;
	p->ctx = ctx;
	p->n = n;
	p->choices = calloc(n + 1, sizeof(*p->choices));
	p->match = calloc(n + 1, sizeof(*p->match));
	if (!p->choices || !p->match) {
		pick_free(&p->view);
		return NULL;
	}
	if (n)
		memcpy(p->choices, choices, n * sizeof(*choices));
	find_matches(p);
	for (int i = 0; i < p->matches; i++)
		if (strcmp(choices[i].value, value) == 0)
			p->focus = i;
	return &p->view;
}
