/*
 * sconfig/view_text.c - text to read: help.
 */
#include <stdlib.h>
#include <string.h>

#include "sconfig/ui.h"

struct text_view {
	struct view view;
	char *title, *text;
	int first, lines, rows; /* in sight: from first; of all; how many, at the last drawing */
};

static void
text_draw(struct view *v, struct ui *ui, struct box area)
{
	struct text_view *t = (struct text_view *)v;

	t->rows = area.rows;
	t->lines = cells_paragraph(ui->cells,
	    (struct box){ area.row, area.col + 1, area.rows, area.cols - 2 }, t->first, MARK_NONE, t->text);
	cells_cursor(ui->cells, area.row, area.col);
}

static bool
text_key(struct view *v, struct ui *ui, uint32_t key)
{
	struct text_view *t = (struct text_view *)v;
	int most = t->lines > t->rows ? t->lines - t->rows : 0;

	if (key == K_ESC || key == 'q' || key == K_ENTER || key == '?' || key == K_F1)
		ui_pop(ui);
	else
		move_focus(&t->first, most + 1, t->rows, key, true);
	return true;
}

static const char *
text_title(struct view *v)
{
	return ((struct text_view *)v)->title;
}

static void
text_free(struct view *v)
{
	struct text_view *t = (struct text_view *)v;

	free(t->title);
	free(t->text);
	free(t);
}

static const struct view_ops text_ops = {
	.draw = text_draw,
	.key = text_key,
	.title = text_title,
	.free = text_free,
};

struct view *
view_text(char *title, char *text)
{
	struct text_view *t = calloc(1, sizeof(*t));

	if (!t || !title || !text) {
		free(t);
		free(title);
		free(text);
		return NULL;
	}
	*t = (struct text_view){
		.view = { &text_ops, "j/k scroll   Enter back" }, .title = title, .text = text
	};
	return &t->view;
}
