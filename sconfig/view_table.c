/*
 * sconfig/view_table.c - a list of objects, and what can be done with the one that has the focus.
 */
#include <stdlib.h>
#include <string.h>

#include "sconfig/checks.h"
#include "sconfig/ui.h"

enum { MARGIN = 3, KEYS_WIDTH = 80 };

struct table_view {
	struct view view;
	const struct page *page;
	char subject[VALUE_SIZE]; /* whose list it is; "" when it is the host's */
	char title[VALUE_SIZE + 64];
	json_t *list; /* array; NULL: not loaded */
	char trouble[REASON_SIZE];
	char focused[VALUE_SIZE]; /* key of the row with the focus, which may move */
	int focus, first, rows;
	const struct action *asked; /* waits for an answer */
	char keys[160];
};

static const char *
row_key(const struct table_view *t, int i)
{
	const char *key = json_string_value(
	    json_object_get(json_array_get(t->list, (size_t)i), t->page->row_key));

	return key ? key : "";
}

static int
row_count(const struct table_view *t)
{
	return (int)json_array_size(t->list);
}

/* The focus stays on the same object, wherever it is now. */
static void
find_focused(struct table_view *t)
{
	int n = row_count(t);

	for (int i = 0; i < n; i++)
		if (strcmp(row_key(t, i), t->focused) == 0) {
			t->focus = i;
			return;
		}
	if (t->focus >= n)
		t->focus = n ? n - 1 : 0;
	snprintf(t->focused, sizeof(t->focused), "%s", row_key(t, t->focus));
}

static void
load(struct table_view *t, struct ui *ui)
{
	struct rpc_error e;
	json_t *answer = NULL,
	       *params = t->page->subject ? json_pack("{s:s}", t->page->subject, t->subject) : NULL;

	if (link_call(ui->link, t->page->load, params, &answer, &e) < 0) {
		link_error_text(&e, t->trouble, sizeof(t->trouble));
	} else {
		t->trouble[0] = '\0';
		json_decref(t->list);
		t->list = json_incref(json_object_get(answer, t->page->member));
	}
	json_decref(answer);
	find_focused(t);
}

static void
draw_cell(struct cells *c, const struct column *col, const json_t *row, int at_row, int at_col, int width,
    unsigned mark)
{
	json_t *value = json_object_get(row, col->member);
	char text[VALUE_SIZE];
	int used;

	if (col->show)
		col->show(value, row, text, sizeof(text));
	else
		show_plain(value, text, sizeof(text));
	used = cells_width(text);
	if (used > width && width > 1) {
		cells_put(c, at_row, at_col, width - 1, mark, text);
		cells_put(c, at_row, at_col + width - 1, 1, mark, "~");
	} else {
		cells_put(
		    c, at_row, at_col + (col->right && used < width ? width - used : 0), width, mark, text);
	}
}

/* A row, or (row NULL) the heads of the columns. */
static void
draw_row(const struct table_view *t, struct cells *c, const json_t *row, int at, struct box area, bool here)
{
	unsigned mark = here ? MARK_REVERSE : row ? MARK_NONE : MARK_UNDERLINE;
	int col = area.col + MARGIN;

	cells_line(c, at, area.col + 1, row ? area.cols - 2 : 0, mark, here ? ">" : "");
	for (const struct column *k = t->page->columns; k->title && col < area.cols; k++) {
		int width = k->width ? k->width : area.cols - col - 1;

		if (row)
			draw_cell(c, k, row, at, col, width, mark);
		else
			cells_put(c, at, col + (k->right ? width - cells_width(k->title) : 0), width, mark,
			    k->title);
		col += width + 1;
	}
	if (here)
		cells_cursor(c, at, area.col + 1);
}

static void
table_draw(struct view *v, struct ui *ui, struct box area)
{
	struct table_view *t = (struct table_view *)v;
	int n = row_count(t), row = area.row + 1;

	cells_cursor(ui->cells, area.row, area.col);
	if (t->trouble[0])
		cells_printf(ui->cells, area.row, area.col + 1, area.cols - 1, MARK_BOLD, "! %s", t->trouble);
	t->rows = area.rows - 2 > 1 ? area.rows - 2 : 1;
	t->first = scroll_to(t->first, t->focus, n, t->rows);
	draw_row(t, ui->cells, NULL, row++, area, false);
	if (!n && !t->trouble[0])
		cells_put(
		    ui->cells, row + 1, area.col + MARGIN, area.cols - MARGIN, MARK_NONE, t->page->empty);
	for (int i = t->first; i < n && i < t->first + t->rows; i++)
		draw_row(t, ui->cells, json_array_get(t->list, (size_t)i), row++, area, i == t->focus);
}

/* What names the row with the focus as a part of the subject: an object, or NULL when it is no part. */
static json_t *
row_part(const struct table_view *t, const struct action *a)
{
	const json_t *row = json_array_get(t->list, (size_t)t->focus);
	const char *const *members = a->row_params ? a->row_params : t->page->row_params;
	json_t *part = members && !a->no_row ? json_object() : NULL;

	for (const char *const *p = members; part && *p; p++)
		json_object_set(part, *p, json_object_get(row, *p));
	return part;
}

/* Whom an action is about: the subject of the list, or the row. */
static const char *
whom(const struct table_view *t, const struct action *a)
{
	return t->page->subject ? t->subject : a->no_row ? "" : t->focused;
}

static json_t *
action_params(const struct table_view *t, const struct action *a)
{
	json_t *params = a->params ? json_loads(a->params, 0, NULL) : json_object(), *part = row_part(t, a);

	if (params && whom(t, a)[0])
		json_object_set_new(params, "vm", json_string(whom(t, a)));
	if (params && part)
		json_object_update(params, part);
	json_decref(part);
	return params;
}

static void
call_action(struct table_view *t, struct ui *ui, const struct action *a)
{
	struct rpc_error e;
	json_t *answer = NULL;
	const char *job;
	char what[VALUE_SIZE + 64];

	snprintf(what, sizeof(what), "%s %s", a->label, t->focused);
	if (link_change(ui->link, a->method, action_params(t, a), (struct link_change){ 0 }, &answer, &e) <
	    0) {
		ui_say_error(ui, &e);
		return;
	}
	job = json_string_value(json_object_get(answer, "job"));
	ui_changed(ui, "vm.");
	if (json_is_false(json_object_get(answer, "changed")))
		ui_say(ui, "%s: it was so already.", what);
	else if (job)
		ui_push(ui, view_job(what, job));
	else
		ui_say(ui, "%s: done.", what);
	json_decref(answer);
}

static void
confirmed(void *ctx, struct ui *ui, int button)
{
	struct table_view *t = ctx;

	if (button == 0)
		call_action(t, ui, t->asked);
	else
		ui_say(ui, "Nothing was changed.");
}

static void
ask_action(struct table_view *t, struct ui *ui, const struct action *a)
{
	static const char *choice[] = { NULL, "Back", NULL };
	size_t size = strlen(a->confirm) + sizeof(t->focused);
	char *text = malloc(size);
	const char *name = strstr(a->confirm, "%s");

	if (text)
		snprintf(text, size, "%.*s%s%s", (int)(name - a->confirm), a->confirm, t->focused, name + 2);
	t->asked = a;
	choice[0] = a->label;
	ui_push(ui, view_ask(t->page->title, text, choice, 0, confirmed, t));
}

static void
open_console(struct table_view *t, struct ui *ui)
{
	struct rpc_error e = { 0 };

	if (ui->terminal && ui->terminal->console(ui->terminal->ctx, t->focused, &e) < 0)
		ui_say_error(ui, &e);
	load(t, ui);
}

static void
act(struct table_view *t, struct ui *ui, const struct action *a)
{
	if (!a->no_row && !row_count(t))
		ui_say(ui, "! There is nothing in the list to do this with.");
	else if (a->kind == ACTION_PAGE)
		ui_open_part(ui, a->page, whom(t, a), row_part(t, a));
	else if (a->kind == ACTION_CONSOLE)
		open_console(t, ui);
	else if (a->confirm)
		ask_action(t, ui, a);
	else
		call_action(t, ui, a);
}

static void
chosen_action(void *ctx, struct ui *ui, const char *value)
{
	struct table_view *t = ctx;

	for (const struct action *a = t->page->actions; a && a->key; a++)
		if (strcmp(a->label, value) == 0)
			act(t, ui, a);
}

/* Enter: what can be done, as a list, for those who do not know the letters. */
static void
list_actions(struct table_view *t, struct ui *ui)
{
	struct choice choices[16] = { 0 };
	size_t n = 0;

	for (const struct action *a = t->page->actions; a && a->key && n < 16; a++) {
		if (!a->no_row && !row_count(t))
			continue;
		snprintf(choices[n].value, sizeof(choices[n].value), "%s", a->label);
		snprintf(choices[n].label, sizeof(choices[n].label), "%s", a->help);
		n++;
	}
	ui_push(ui, view_pick(row_count(t) ? t->focused : t->page->title, choices, n,
			row_count(t) ? "Start" : "New", chosen_action, t));
}

static bool
table_key(struct view *v, struct ui *ui, uint32_t key)
{
	struct table_view *t = (struct table_view *)v;
	uint32_t number = 0;

	if (key == '?' || key == K_F1)
		return false;
	for (const struct action *a = t->page->actions; a && a->key; a++)
		if (key == (uint32_t)a->key || key == '0' + ++number) {
			act(t, ui, a);
			return true;
		}
	if (key == K_ESC || key == 'q' || key == K_LEFT)
		ui_pop(ui);
	else if (key == K_ENTER || key == K_RIGHT)
		list_actions(t, ui);
	else if (move_focus(&t->focus, row_count(t), t->rows, key, true))
		snprintf(t->focused, sizeof(t->focused), "%s", row_key(t, t->focus));
	return true;
}

static void
table_stale(struct view *v, struct ui *ui, const char *event)
{
	struct table_view *t = (struct table_view *)v;

	if (!page_hears(t->page, event) || !ui->link->up)
		return;
	if (ui->made[0])
		snprintf(t->focused, sizeof(t->focused), "%s", ui->made);
	load(t, ui);
}

static void
table_help(struct view *v, struct ui *ui, FILE *out)
{
	struct table_view *t = (struct table_view *)v;
	int n = 1;
	char *list = lua_call(t->page->load, t->page->subject ? t->subject : NULL, NULL, false);

	(void)ui;
	fprintf(out, "%s\n\nThe list in Lua (option 15):\n    %s\n\n", t->page->about,
	    list ? list : t->page->load);
	free(list);
	for (const struct action *a = t->page->actions; a && a->key; a++, n++) {
		json_t *params = action_params(t, a);
		const char *method = a->method ? a->method : a->page->apply ? a->page->apply : a->page->load;
		char *lua;

		json_object_del(params, "vm");
		lua = lua_call(method, whom(t, a)[0] ? whom(t, a) : NULL, params,
		    a->page && a->page->flags & PAGE_DESTRUCTIVE);

		fprintf(out, "%c or %d: %s. %s\n    %s\n", a->key, n, a->label, a->help, lua ? lua : method);
		free(lua);
		json_decref(params);
	}
	fputs("\nj and k (or arrows) move, Enter lists what can be done. The list follows what happens.\n",
	    out);
}

static const char *
table_title(struct view *v)
{
	return ((struct table_view *)v)->title;
}

static void
table_free(struct view *v)
{
	struct table_view *t = (struct table_view *)v;

	json_decref(t->list);
	free(t);
}

static const struct view_ops table_ops = {
	.draw = table_draw,
	.key = table_key,
	.stale = table_stale,
	.help = table_help,
	.title = table_title,
	.free = table_free,
};

/* The foot: keys with gap blanks between them. Returns its width. */
static int
put_keys(struct table_view *t, int gap)
{
	size_t len = 0;

	for (const struct action *a = t->page->actions; a && a->key && len < sizeof(t->keys); a++)
		if (!a->rare)
			len += (size_t)snprintf(
			    t->keys + len, sizeof(t->keys) - len, "%c %s%*s", a->key, a->label, gap, "");
	if (len < sizeof(t->keys))
		snprintf(t->keys + len, sizeof(t->keys) - len, "? help");
	return cells_width(t->keys);
}

struct view *
view_table(struct ui *ui, const struct page *page, const char *subject)
{
	struct table_view *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->page = page;
	snprintf(t->subject, sizeof(t->subject), "%s", page->subject ? subject : "");
	snprintf(t->title, sizeof(t->title), "%s%s%s", page->title, t->subject[0] ? ": " : "", t->subject);
	t->view = (struct view){ &table_ops, t->keys };
	if (put_keys(t, 2) >= KEYS_WIDTH)
		put_keys(t, 1);
	load(t, ui);
	return &t->view;
}
