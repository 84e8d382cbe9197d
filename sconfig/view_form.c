/*
 * sconfig/view_form.c - a page of facts and fields on the full screen.
 *
 * The focus is on an editable item, or on one of the buttons behind them. Applying goes: check here, dry
 * run there, summary to be confirmed, apply, read back.
 */
#include <stdlib.h>
#include <string.h>

#include "sconfig/ui.h"

enum { MARGIN = 3, LABEL_MAX = 20, HELP_ROWS = 3 };

struct form_view {
	struct view view;
	struct form *form;
	int focus;     /* 0..editable items, then the buttons */
	int first;     /* line in sight */
	size_t cursor; /* byte in the focused text */
	const char *buttons[3];
};

/* The item that has the focus, or -1 for a button. */
static int
focused_item(const struct form_view *v)
{
	int n = v->focus;

	for (size_t i = 0; i < form_count(v->form); i++)
		if (form_editable(v->form, i) && n-- == 0)
			return (int)i;
	return -1;
}

static int
editable_items(const struct form *f)
{
	int n = 0;

	for (size_t i = 0; i < form_count(f); i++)
		n += form_editable(f, i);
	return n;
}

static int
buttons(const struct form_view *v)
{
	return v->buttons[0] ? v->buttons[1] ? 2 : 1 : 0;
}

static bool
is_text(const struct item *item)
{
	return item->type == ITEM_TEXT || item->type == ITEM_NUMBER || item->type == ITEM_LIST;
}

static void
set_focus(struct form_view *v, int focus)
{
	int most = editable_items(v->form) + buttons(v) - 1, item;

	v->focus = focus > most ? most : focus;
	if (v->focus < 0)
		v->focus = 0;
	item = focused_item(v);
	v->cursor = item < 0 ? 0 : strlen(form_value(v->form, (size_t)item));
}

static void
focus_item(struct form_view *v, int item)
{
	int n = 0;

	for (int i = 0; i < item; i++)
		n += form_editable(v->form, (size_t)i);
	set_focus(v, n);
}

/* Where a form is drawn: lines are counted from its beginning, and only those in sight are put. */
struct pen {
	struct cells *c;
	struct box area;
	int line, first;
	int focus_line; /* the line of the focused item */
};

static void
pen_put(struct pen *p, int col, int width, unsigned mark, const char *text)
{
	int row = p->line - p->first;

	if (row >= 0 && row < p->area.rows)
		cells_put(p->c, p->area.row + row, p->area.col + col, width, mark, text);
}

static void
pen_cursor(struct pen *p, int col)
{
	int row = p->line - p->first;

	p->focus_line = p->line;
	cells_cursor(p->c, p->area.row + (row < 0 ? 0 : row), p->area.col + col);
}

/* Text that may need several lines. */
static void
draw_wrapped(struct pen *p, int col, int width, unsigned mark, const char *text)
{
	for (const char *next = text; next; p->line++) {
		char line[VALUE_SIZE + REASON_SIZE];
		const char *at = next;
		int len = (int)cells_wrap(at, width > 1 ? width : 1, &next);

		snprintf(line, sizeof(line), "%.*s", len, at);
		pen_put(p, col, width, mark, line);
	}
}

/* A text being edited: so much of it as shows the cursor. */
static void
draw_edited(struct form_view *v, struct pen *p, int col, int width, const char *value)
{
	char before[VALUE_SIZE], shown[VALUE_SIZE + 8];
	const char *from = value;
	int used;

	snprintf(before, sizeof(before), "%.*s", (int)v->cursor, value);
	used = cells_width(before);
	while (used > width - 1 && used > 0) {
		const char *was = from;
		char one[5];

		snprintf(one, sizeof(one), "%.*s", (int)(utf8_next(&from), from - was), was);
		used -= cells_width(one);
	}
	snprintf(shown, sizeof(shown), "%s", from);
	pen_put(p, col, width, MARK_UNDERLINE, shown);
	for (int i = cells_width(shown); i < width; i++)
		pen_put(p, col + i, 1, MARK_NONE, "_");
	pen_cursor(p, col + used);
}

static void
draw_value(struct form_view *v, struct pen *p, size_t i, int col, int width, bool here)
{
	const struct item *item = form_item(v->form, i);
	char text[VALUE_SIZE + 64];

	form_read(v->form, i, text, sizeof(text));
	if (item->type == ITEM_FACT) {
		draw_wrapped(p, col, width, MARK_NONE, text);
		return;
	}
	if (item->type == ITEM_BOOL)
		snprintf(text, sizeof(text), "[%c] %s",
		    strcmp(form_value(v->form, i), "yes") == 0 ? 'x' : ' ', form_value(v->form, i));
	if (here && is_text(item))
		draw_edited(v, p, col, width < 48 ? width : 48, form_value(v->form, i));
	else
		pen_put(p, col, width, here ? MARK_REVERSE : MARK_NONE, text[0] || !here ? text : "(none)");
	if (here && !is_text(item))
		pen_cursor(p, col + (item->type == ITEM_BOOL));
	p->line++;
}

static void
draw_item(struct form_view *v, struct pen *p, size_t i)
{
	const struct item *item = form_item(v->form, i);
	bool here = focused_item(v) == (int)i;
	int label = p->area.cols / 3 < LABEL_MAX ? p->area.cols / 3 : LABEL_MAX, col = MARGIN + label + 1;

	pen_put(p, 1, 1, MARK_NONE, here ? ">" : "");
	pen_put(p, MARGIN, label, here ? MARK_BOLD : MARK_NONE, item->label);
	draw_value(v, p, i, col, p->area.cols - col - 1, here);
	if (form_error(v->form, i)[0]) {
		pen_put(p, MARGIN + 2, 2, MARK_BOLD, "!");
		draw_wrapped(p, MARGIN + 4, p->area.cols - MARGIN - 5, MARK_BOLD, form_error(v->form, i));
	}
}

static void
draw_buttons(struct form_view *v, struct pen *p)
{
	int col = MARGIN, item = editable_items(v->form);

	p->line++;
	for (int i = 0; i < buttons(v); i++, item++) {
		char text[48];
		bool here = v->focus == item;

		snprintf(text, sizeof(text), "[ %s ]", v->buttons[i]);
		if (here) {
			pen_put(p, col - 2, 1, MARK_NONE, ">");
			pen_cursor(p, col + 2);
		}
		pen_put(p, col, (int)strlen(text), here ? MARK_REVERSE : MARK_NONE, text);
		col += (int)strlen(text) + 3;
	}
	p->line++;
}

static void
draw_lines(struct form_view *v, struct pen *p)
{
	p->line = 0;
	p->focus_line = 0;
	if (form_trouble(v->form)[0]) {
		pen_put(p, 1, 1, MARK_BOLD, "!");
		draw_wrapped(p, MARGIN, p->area.cols - MARGIN - 1, MARK_BOLD, form_trouble(v->form));
	}
	p->line++;
	for (size_t i = 0; i < form_count(v->form); i++)
		if (form_shown(v->form, i))
			draw_item(v, p, i);
	draw_buttons(v, p);
}

static void
form_draw(struct view *view, struct ui *ui, struct box area)
{
	struct form_view *v = (struct form_view *)view;
	int help = area.rows > 10 ? HELP_ROWS : 0, item = focused_item(v);
	struct pen p = { .c = ui->cells, .area = area, .first = 1 << 20 };
	const char *about = item >= 0 ? form_item(v->form, (size_t)item)->help : form_page(v->form)->about;

	p.area.rows -= help;
	draw_lines(v, &p); /* nothing is in sight: it only measures */
	v->first = scroll_to(v->first, p.focus_line, p.line, p.area.rows);
	p.first = v->first;
	draw_lines(v, &p);
	if (help)
		cells_paragraph(ui->cells,
		    (struct box){ area.row + area.rows - help + 1, area.col + 1, help - 1, area.cols - 2 }, 0,
		    MARK_NONE, about);
}

static void
leave(void *ctx, struct ui *ui, int button)
{
	(void)ctx;
	if (button == 0)
		ui_pop(ui);
}

static void
form_leave(struct form_view *v, struct ui *ui)
{
	static const char *const choice[] = { "Discard", "Stay", NULL };

	if (form_any_changed(v->form) && form_page(v->form)->apply)
		ui_push(ui, view_ask("Not applied", strdup("What was changed on this page is not applied."),
				choice, 0, leave, v));
	else
		ui_pop(ui);
}

static void
refused(struct form_view *v, struct ui *ui, int at)
{
	if (at >= 0)
		focus_item(v, at);
	ui_say(ui, "! Not applied: see the page.");
}

static void
form_do(void *ctx, struct ui *ui, int button)
{
	struct form_view *v = ctx;
	const struct page *page = form_page(v->form);
	char *said, *job, what[VALUE_SIZE + 32];
	int at;

	if (button != 0) {
		ui_say(ui, "Nothing was changed.");
		return;
	}
	if (form_apply(v->form, &at, &said, &job) < 0) {
		refused(v, ui, at);
		return;
	}
	snprintf(what, sizeof(what), "%s %s", page->verb, form_subject(v->form));
	set_focus(v, v->focus);
	if (page->flags & PAGE_CREATES)
		snprintf(ui->made, sizeof(ui->made), "%s", form_value_of(v->form, "name"));
	if (page->flags & (PAGE_CREATES | PAGE_LEAVES)) {
		ui_pop(ui); /* v is gone */
		v = NULL;
	}
	ui_changed(ui, "");
	ui->made[0] = '\0';
	ui_say(ui, "%s", said ? said : "Begun.");
	if (job)
		ui_push(ui, view_job(what, job));
	free(said);
	free(job);
}

static void
form_submit(struct form_view *v, struct ui *ui)
{
	const struct page *page = form_page(v->form);
	static const char *go_back[3];
	int at = form_check(v->form);
	char *summary, *text = NULL;

	if (at >= 0) {
		focus_item(v, at);
		ui_say(ui, "! Not applied: see the page.");
		return;
	}
	if (editable_items(v->form) && !(page->flags & (PAGE_CREATES | PAGE_DESTRUCTIVE)) &&
	    !form_any_changed(v->form)) {
		ui_say(ui, "Nothing has changed on this page.");
		return;
	}
	if (form_preview(v->form, &at) < 0) {
		refused(v, ui, at);
		return;
	}
	summary = form_summary(v->form);
	if (asprintf(&text, "%s%s%s", summary ? summary : "",
		summary && summary[0] && page->confirm ? "\n" : "", page->confirm ? page->confirm : "") < 0)
		text = NULL;
	free(summary);
	go_back[0] = page->verb;
	go_back[1] = "Back";
	ui_push(
	    ui, view_ask("What will be", text, go_back, page->flags & PAGE_DESTRUCTIVE ? 1 : 0, form_do, v));
}

static void
picked(void *ctx, struct ui *ui, const char *value)
{
	struct form_view *v = ctx;
	int item = focused_item(v);

	(void)ui;
	if (item >= 0)
		form_set(v->form, (size_t)item, value);
	set_focus(v, v->focus + 1);
}

static void
open_choices(struct form_view *v, struct ui *ui, size_t i)
{
	size_t n;
	const struct choice *choices = form_choices(v->form, i, &n);

	if (n)
		ui_push(ui,
		    view_pick(form_item(v->form, i)->label, choices, n, form_value(v->form, i), picked, v));
	else
		ui_say(ui, "! There is nothing to choose from. %s", form_error(v->form, i));
}

static void
form_enter(struct form_view *v, struct ui *ui)
{
	int item = focused_item(v), button = v->focus - editable_items(v->form);

	if (item >= 0 && form_item(v->form, (size_t)item)->type == ITEM_CHOICE)
		open_choices(v, ui, (size_t)item);
	else if (item >= 0)
		set_focus(v, v->focus + 1);
	else if (button == 0 && form_page(v->form)->apply)
		form_submit(v, ui);
	else
		form_leave(v, ui);
}

static void
toggle(struct form_view *v, size_t i)
{
	form_set(v->form, i, strcmp(form_value(v->form, i), "yes") == 0 ? "no" : "yes");
	set_focus(v, v->focus);
}

/* The bytes of the character before (after) the cursor. */
static size_t
step_back(const char *value, size_t at)
{
	size_t to = at;

	while (to > 0 && ((unsigned char)value[--to] & 0xc0) == 0x80)
		;
	return at - to;
}

static size_t
step_on(const char *value, size_t at)
{
	const char *p = value + at;

	if (!*p)
		return 0;
	utf8_next(&p);
	return (size_t)(p - value) - at;
}

/* Replaces `cut` bytes before the cursor by text. */
static void
splice(struct form_view *v, size_t i, size_t cut, const char *text)
{
	const char *value = form_value(v->form, i);
	char now[VALUE_SIZE + 8];

	snprintf(now, sizeof(now), "%.*s%s%s", (int)(v->cursor - cut), value, text, value + v->cursor);
	if (strlen(now) >= VALUE_SIZE)
		return;
	v->cursor += strlen(text) - cut;
	form_set(v->form, i, now);
}

static bool
edit_key(struct form_view *v, size_t i, uint32_t key)
{
	const char *value = form_value(v->form, i);
	char bytes[5];

	if (v->cursor > strlen(value))
		v->cursor = strlen(value);
	if (key == K_BACKSPACE || key == K_DELETE) {
		splice(v, i, step_back(value, v->cursor), "");
	} else if (key == K_CTRL_D) {
		size_t n = step_on(value, v->cursor);

		v->cursor += n;
		splice(v, i, n, "");
	} else if (key == K_CTRL_U) {
		splice(v, i, v->cursor, "");
	} else if (key == K_LEFT) {
		v->cursor -= step_back(value, v->cursor);
	} else if (key == K_RIGHT) {
		v->cursor += step_on(value, v->cursor);
	} else if (key == K_HOME || key == K_CTRL_A) {
		v->cursor = 0;
	} else if (key == K_END || key == K_CTRL_E) {
		v->cursor = strlen(value);
	} else if (key >= ' ' && key < K_UP && (key < 0x7f || key >= 0xa0)) {
		utf8_put(key, bytes);
		splice(v, i, 0, bytes);
	} else {
		return false;
	}
	return true;
}

/* A question mark is help where the text cannot have one. */
static bool
wants_help(const struct form_view *v, int item, uint32_t key)
{
	return key == K_F1 || (key == '?' && (item < 0 || !is_text(form_item(v->form, (size_t)item)) ||
						 form_item(v->form, (size_t)item)->check));
}

static bool
form_key(struct view *view, struct ui *ui, uint32_t key)
{
	struct form_view *v = (struct form_view *)view;
	int item = focused_item(v), focus = v->focus;
	bool text = item >= 0 && is_text(form_item(v->form, (size_t)item));
	enum item_type type = item < 0 ? ITEM_FACT : form_item(v->form, (size_t)item)->type;

	if (wants_help(v, item, key))
		return false;
	if (text && edit_key(v, (size_t)item, key))
		return true;
	if (key == K_ESC || (!text && key == 'q'))
		form_leave(v, ui);
	else if (key == K_ENTER)
		form_enter(v, ui);
	else if (type == ITEM_BOOL && (key == ' ' || key == 'x' || key == K_LEFT || key == K_RIGHT))
		toggle(v, (size_t)item);
	else if (type == ITEM_BOOL && (key == 'y' || key == 'n'))
		form_set(v->form, (size_t)item, key == 'y' ? "yes" : "no");
	else if (type == ITEM_CHOICE && key == ' ')
		open_choices(v, ui, (size_t)item);
	else if (type == ITEM_CHOICE && (key == K_BACKSPACE || key == K_DELETE))
		form_set(v->form, (size_t)item, "");
	else if (item < 0 && (key == K_RIGHT || key == K_LEFT))
		set_focus(v, focus + (key == K_RIGHT ? 1 : -1));
	else if (move_focus(&focus, editable_items(v->form) + buttons(v), 8, key, !text))
		set_focus(v, focus);
	return true;
}

static void
form_stale(struct view *view, struct ui *ui, const char *event)
{
	struct form_view *v = (struct form_view *)view;
	int item = focused_item(v);

	(void)ui;
	/* What is being filled in stays as it is; ifMatch tells if somebody else was faster. */
	if (!page_hears(form_page(v->form), event) || form_any_changed(v->form) || !ui->link->up)
		return;
	form_load(v->form, true);
	if (item >= 0 && v->cursor > strlen(form_value(v->form, (size_t)item)))
		v->cursor = strlen(form_value(v->form, (size_t)item));
}

static void
form_help(struct view *view, struct ui *ui, FILE *out)
{
	struct form_view *v = (struct form_view *)view;
	const struct page *page = form_page(v->form);
	char *lua = form_lua(v->form);

	(void)ui;
	fprintf(out, "%s\n\n", page->about);
	if (lua && lua[0])
		fprintf(out, "The same in Lua (option 15), with what is typed in now:\n    %s\n\n", lua);
	free(lua);
	for (size_t i = 0; i < form_count(v->form); i++)
		fprintf(out, "%s: %s\n", form_item(v->form, i)->label, form_item(v->form, i)->help);
	fputs(
	    "\nTab or Enter goes on, Ctrl-P back; Space changes a box or opens a list. What will be is shown "
	    "before anything is applied, and what is so is read back afterwards.\n"
	    "In a text where ? is a letter, Esc 1 (or F1) is help. Ctrl-U empties it.\n",
	    out);
}

static const char *
form_title(struct view *view)
{
	return form_page(((struct form_view *)view)->form)->title;
}

static void
form_close(struct view *view)
{
	struct form_view *v = (struct form_view *)view;

	form_free(v->form);
	free(v);
}

static const struct view_ops form_ops = {
	.draw = form_draw,
	.key = form_key,
	.stale = form_stale,
	.help = form_help,
	.title = form_title,
	.free = form_close,
};

struct view *
view_form(struct ui *ui, const struct page *page, const char *subject, json_t *part)
{
	struct form_view *v = calloc(1, sizeof(*v));

	if (!v) {
		json_decref(part);
		return NULL;
	}
	v->view = (struct view){ &form_ops, "Tab/Enter next   Space change   ? or Esc 1 help   Esc back" };
	v->form = form_new_part(page, ui->link, subject, part);
	if (!v->form) {
		free(v);
		return NULL;
	}
	v->buttons[0] = page->apply ? page->verb : "Back";
	v->buttons[1] = page->apply ? "Cancel" : NULL;
	/* On a page that destroys, the finger that presses Enter twice must not do it. */
	set_focus(v, page->flags & PAGE_DESTRUCTIVE && !editable_items(v->form) ? 1 : 0);
	return &v->view;
}
