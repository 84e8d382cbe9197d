/*
 * sconfig/ui.c - the full screen: the stack of views, and what is always there around them.
 */
#include "sconfig/ui.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "sconfig/checks.h"
#include "sconfig/pages.h"

enum { HEAD_ROWS = 2, FOOT_ROWS = 4, RELOAD_MS = 30000 };

static struct view *
top(const struct ui *ui)
{
	return ui->stack[ui->depth - 1];
}

void
ui_push(struct ui *ui, struct view *v)
{
	if (!v)
		ui_say(ui, "Memory is out.");
	else if (ui->depth == UI_DEPTH_MAX)
		v->ops->free(v);
	else
		ui->stack[ui->depth++] = v;
}

void
ui_pop(struct ui *ui)
{
	struct view *v;

	if (ui->depth <= 1)
		return;
	v = ui->stack[--ui->depth];
	v->ops->free(v);
}

void
ui_say(struct ui *ui, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(ui->message, sizeof(ui->message), fmt, ap);
	va_end(ap);
}

void
ui_say_error(struct ui *ui, const struct rpc_error *e)
{
	char text[UI_MESSAGE_SIZE - 2];

	link_error_text(e, text, sizeof(text));
	ui_say(ui, "! %s", text);
}

bool
page_hears(const struct page *page, const char *event)
{
	return !event[0] || (page->events && strncmp(page->events, event, strlen(page->events)) == 0);
}

static void
load_part(struct ui *ui, const char *method, const char *member, json_t **part)
{
	struct rpc_error e;
	json_t *answer = NULL;

	if (link_call(ui->link, method, NULL, &answer, &e) < 0) {
		if (ui->link->up) /* else the health line says so */
			ui_say_error(ui, &e);
	} else {
		json_decref(*part);
		*part = json_incref(member ? json_object_get(answer, member) : answer);
	}
	json_decref(answer);
}

void
ui_load(struct ui *ui)
{
	if (ui->host_stale)
		load_part(ui, "host.get", NULL, &ui->host);
	if (ui->vms_stale && ui->link->up)
		load_part(ui, "vm.list", "vms", &ui->vms);
	ui->host_stale = ui->vms_stale = false;
	ui->loaded_ms = link_now_ms();
}

static void
tell_views(struct ui *ui, const char *event)
{
	for (int i = 0; i < ui->depth; i++)
		if (ui->stack[i]->ops->stale)
			ui->stack[i]->ops->stale(ui->stack[i], ui, event);
}

void
ui_changed(struct ui *ui, const char *event)
{
	ui->host_stale = ui->vms_stale = true;
	ui_load(ui);
	tell_views(ui, event);
}

void
ui_begin(struct ui *ui, struct link *link, struct cells *cells, const struct ui_terminal *terminal)
{
	*ui = (struct ui){ .link = link, .cells = cells, .terminal = terminal };
	ui->host_stale = ui->vms_stale = true;
	ui_push(ui, view_menu());
	ui_load(ui);
}

void
ui_end(struct ui *ui)
{
	while (ui->depth > 0) {
		struct view *v = ui->stack[--ui->depth];

		v->ops->free(v);
	}
	json_decref(ui->host);
	json_decref(ui->vms);
	ui->host = ui->vms = NULL;
}

static void
run_shell(struct ui *ui)
{
	struct rpc_error e = { 0 };

	if (ui->terminal && ui->terminal->shell(ui->terminal->ctx, &e) < 0)
		ui_say_error(ui, &e);
	else
		ui_changed(ui, "");
}

void
ui_open(struct ui *ui, const struct page *page, const char *subject)
{
	ui_open_part(ui, page, subject, NULL);
}

void
ui_open_part(struct ui *ui, const struct page *page, const char *subject, json_t *part)
{
	ui->message[0] = '\0';
	if (page->kind == PAGE_SHELL)
		run_shell(ui);
	else if (page->kind == PAGE_TABLE)
		ui_push(ui, view_table(ui, page, subject));
	else
		ui_push(ui, view_form(ui, page, subject, json_incref(part)));
	json_decref(part);
}

static void
show_help(struct ui *ui)
{
	struct view *v = top(ui);
	char *text = NULL;
	size_t size;
	FILE *out;

	if (!v->ops->help)
		return;
	out = open_memstream(&text, &size);
	if (!out)
		return;
	v->ops->help(v, ui, out);
	if (fclose(out) == 0)
		ui_push(ui, view_text(strdup("Help"), text));
}

void
ui_key(struct ui *ui, uint32_t key)
{
	struct view *v = top(ui);

	if (key == K_NONE || key == K_CTRL_L)
		return;
	if (key == K_CTRL_C || key == K_CTRL_G)
		key = K_ESC;
	if (!v->ops->over && key != K_F1)
		ui->message[0] = '\0';
	if (!v->ops->key(v, ui, key) && (key == K_F1 || key == '?'))
		show_help(ui);
}

/* What a burst of events asks for is loaded once. Only machines and the host are shown. */
static bool
take_events(struct ui *ui)
{
	bool vms = false, host = false;
	json_t *event;

	while ((event = link_event(ui->link)) != NULL) {
		const char *type = json_string_value(json_object_get(event, "type"));

		vms = vms || (type && strncmp(type, "vm.", 3) == 0);
		host = host || (type && strncmp(type, "host.", 5) == 0);
		json_decref(event);
	}
	ui->vms_stale = ui->vms_stale || vms;
	ui->host_stale = ui->host_stale || vms || host; /* a machine takes memory of the host */
	ui->stale_event = vms && host ? "" : vms ? "vm." : "host.";
	return vms || host;
}

bool
ui_tick(struct ui *ui, uint64_t now_ms)
{
	bool was_up = ui->link->up, changed = take_events(ui);

	if (link_tick(ui->link, now_ms)) {
		ui_say(ui, "%s answers again.", ui->link->host[0] ? ui->link->host : "The agent");
		ui_changed(ui, "");
		changed = true;
	} else if (changed) {
		ui_load(ui);
		tell_views(ui, ui->stale_event);
	} else if (!ui->quiet && ui->link->up && now_ms - ui->loaded_ms > RELOAD_MS) {
		ui_changed(ui, "");
		changed = true;
	}
	if (top(ui)->ops->tick) {
		top(ui)->ops->tick(top(ui), ui);
		changed = true;
	}
	return changed || was_up != ui->link->up;
}

static void
health_line(const struct ui *ui, char *out, size_t size)
{
	char memory[64], address[128];

	if (!ui->link->up) {
		snprintf(out, size, "%s DOES NOT ANSWER; machines keep running. Trying to reach it...",
		    ui->link->host[0] ? ui->link->host : "THE AGENT");
		return;
	}
	if (!ui->host) {
		snprintf(out, size, "The state of the host is not known.");
		return;
	}
	show_memory(json_object_get(ui->host, "memoryFree"), NULL, memory, sizeof(memory));
	show_management(NULL, ui->host, address, sizeof(address));
	snprintf(out, size, "CPUs %lld | memory free %s | machines %zu/%zu | %s",
	    (long long)json_integer_value(json_object_get(ui->host, "processors")), memory,
	    running_machines(ui->vms), json_array_size(ui->vms), address);
}

static const char *
page_title(const struct ui *ui)
{
	for (int i = ui->depth - 1; i >= 0; i--)
		if (ui->stack[i]->ops->title)
			return ui->stack[i]->ops->title(ui->stack[i]);
	return "";
}

static void
draw_head(struct ui *ui)
{
	struct cells *c = ui->cells;
	const char *name = json_string_value(json_object_get(ui->host, "name"));
	char text[512];

	snprintf(text, sizeof(text), " %s - %s%s%s", name ? name : "Freehold", page_title(ui),
	    ui->link->host[0] ? " - remote: " : "", ui->link->host);
	cells_line(c, 0, 0, c->cols, MARK_REVERSE, text);
	snprintf(text, sizeof(text), "%s (%s) ", ui->link->user, ui->link->role);
	if (ui->link->user[0] && cells_width(text) < c->cols / 2)
		cells_put(c, 0, c->cols - cells_width(text), cells_width(text), MARK_REVERSE, text);
}

static void
draw_foot(struct ui *ui)
{
	struct cells *c = ui->cells;
	char text[512];
	int rows;

	cells_rule(c, c->rows - FOOT_ROWS, 0, c->cols);
	health_line(ui, text, sizeof(text));
	cells_put(c, c->rows - 3, 0, c->cols, MARK_NONE, text);
	/* A message that is too long takes the line of the health, too. */
	rows = cells_width(ui->message) > c->cols ? 2 : ui->message[0] != '\0';
	for (int i = 0; i < rows; i++)
		cells_line(c, c->rows - 1 - rows + i, 0, c->cols, MARK_NONE, "");
	cells_paragraph(c, (struct box){ c->rows - 1 - rows, 0, rows, c->cols }, 0, MARK_BOLD, ui->message);
	cells_put(c, c->rows - 1, 0, c->cols, MARK_NONE, top(ui)->keys);
}

void
ui_draw(struct ui *ui)
{
	struct cells *c = ui->cells;
	struct box area = { HEAD_ROWS, 0, c->rows - HEAD_ROWS - FOOT_ROWS, c->cols };
	int first = ui->depth - 1;

	if (area.rows < 1)
		area = (struct box){ 0, 0, c->rows, c->cols };
	while (first > 0 && ui->stack[first]->ops->over)
		first--;
	cells_clear(c);
	for (int i = first; i < ui->depth; i++)
		ui->stack[i]->ops->draw(ui->stack[i], ui, area);
	if (area.row > 0) {
		draw_head(ui);
		draw_foot(ui);
	}
}

int
scroll_to(int first, int focus, int n, int rows)
{
	if (rows < 1)
		return focus;
	if (focus < first)
		first = focus;
	if (focus >= first + rows)
		first = focus - rows + 1;
	if (first > n - rows)
		first = n - rows;
	return first < 0 ? 0 : first;
}

bool
move_focus(int *focus, int n, int page, uint32_t key, bool letters)
{
	int to = *focus;

	if (key == K_UP || key == K_CTRL_P || key == K_BACK_TAB || (letters && key == 'k'))
		to--;
	else if (key == K_DOWN || key == K_CTRL_N || key == K_TAB || (letters && key == 'j'))
		to++;
	else if (key == K_PAGE_UP || (letters && key == 'b'))
		to -= page > 1 ? page - 1 : 1;
	else if (key == K_PAGE_DOWN || (letters && (key == 'f' || key == ' ')))
		to += page > 1 ? page - 1 : 1;
	else if (letters && (key == K_HOME || key == 'g'))
		to = 0;
	else if (letters && (key == K_END || key == 'G'))
		to = n - 1;
	else
		return false;
	*focus = to >= n ? n - 1 : to;
	if (*focus < 0)
		*focus = 0;
	return true;
}
