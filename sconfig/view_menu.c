/*
 * sconfig/view_menu.c - the main menu: SConfig's numbers, with what each is set to beside it.
 */
#include <stdlib.h>
#include <string.h>

#include "sconfig/pages.h"
#include "sconfig/ui.h"

enum { NUMBER_WIDTH = 7, TITLE_WIDTH = 24 };

static const char *const yes_no[] = { "Yes", "No", NULL };

struct menu_view {
	struct view view;
	int n, focus, first, rows;
	char typed[8];
};

static void
draw_item(const struct menu_view *m, struct ui *ui, int i, struct box at)
{
	const struct page *page = pages[i];
	unsigned mark = i == m->focus ? MARK_REVERSE : MARK_NONE;
	char brief[256] = "", line[400];

	if (page->brief && ui->host)
		page->brief(ui->host, ui->vms, brief, sizeof(brief));
	snprintf(line, sizeof(line), "%s%2d) %s%s", i == m->focus ? " > " : "   ", page->number, page->title,
	    brief[0] ? ":" : "");
	cells_line(ui->cells, at.row, at.col, NUMBER_WIDTH + TITLE_WIDTH, mark, line);
	cells_put(ui->cells, at.row, at.col + NUMBER_WIDTH + TITLE_WIDTH,
	    at.cols - NUMBER_WIDTH - TITLE_WIDTH, mark, brief);
	if (i == m->focus)
		cells_cursor(ui->cells, at.row, at.col + 1);
}

static void
menu_draw(struct view *v, struct ui *ui, struct box area)
{
	struct menu_view *m = (struct menu_view *)v;
	int row = area.row + (area.rows > m->n + 3);

	m->rows = area.rows - 2 > 1 ? area.rows - 2 : 1;
	m->first = scroll_to(m->first, m->focus, m->n, m->rows);
	for (int i = m->first; i < m->n && i < m->first + m->rows; i++)
		draw_item(m, ui, i, (struct box){ row++, area.col, 1, area.cols });
	if (row + 1 < area.row + area.rows)
		cells_printf(ui->cells, row + 1, area.col, area.cols, MARK_NONE,
		    " Enter number to select an option: %s", m->typed);
}

static void
log_off(void *ctx, struct ui *ui, int button)
{
	(void)ctx;
	ui->quit = button == 0;
}

static void
open_focused(struct menu_view *m, struct ui *ui)
{
	const struct page *page = pages[m->focus];

	if (page->kind == PAGE_LOG_OFF)
		ui_push(ui, view_ask(page->title, strdup(page->about), yes_no, 0, log_off, NULL));
	else
		ui_open(ui, page, "");
}

static int
find_number(const struct menu_view *m, const char *typed)
{
	for (int i = 0; i < m->n; i++)
		if (pages[i]->number == atoi(typed)) // NOLINT(cert-err34-c): digits only
			return i;
	return -1;
}

static void
menu_enter(struct menu_view *m, struct ui *ui)
{
	int at = m->typed[0] ? find_number(m, m->typed) : m->focus;

	if (at < 0) {
		ui_say(ui, "! There is no option %s.", m->typed);
	} else {
		m->focus = at;
		open_focused(m, ui);
	}
	m->typed[0] = '\0';
}

static void
type_digit(struct menu_view *m, uint32_t key)
{
	size_t len = strlen(m->typed);
	int at;

	if (len == 2)
		len = 0;
	m->typed[len] = (char)key;
	m->typed[len + 1] = '\0';
	at = find_number(m, m->typed);
	if (at >= 0)
		m->focus = at;
}

static bool
menu_key(struct view *v, struct ui *ui, uint32_t key)
{
	struct menu_view *m = (struct menu_view *)v;
	size_t len = strlen(m->typed);

	if (key == '?' || key == K_F1)
		return false;
	if (key >= '0' && key <= '9')
		type_digit(m, key);
	else if (key == K_ENTER || key == K_RIGHT)
		menu_enter(m, ui);
	else if ((key == K_BACKSPACE || key == K_DELETE) && len)
		m->typed[len - 1] = '\0';
	else if (key == '!')
		ui_open(ui, &page_shell, "");
	else if (key == 'q')
		ui_push(
		    ui, view_ask(page_log_off.title, strdup(page_log_off.about), yes_no, 1, log_off, NULL));
	else if (move_focus(&m->focus, m->n, m->rows, key, true) || key == K_ESC)
		m->typed[0] = '\0';
	return true;
}

static const char *
menu_title(struct view *v)
{
	(void)v;
	return "Freehold configuration";
}

static void
menu_help(struct view *v, struct ui *ui, FILE *out)
{
	const struct menu_view *m = (const struct menu_view *)v;
	const struct page *page = pages[m->focus];

	(void)ui;
	fprintf(out, "%d) %s\n%s\n\n", page->number, page->title, page->about);
	if (page->load)
		fprintf(out, "The same in Lua (option 15):\n    %s()\n\n", page->load);
	fputs("Type a number and Enter, or move with j and k (or arrows) and press Enter.\n"
	      "q logs off. ! is the shell. Ctrl-L draws the screen anew.\n"
	      "Everywhere: ? or F1 is help, Esc goes back, Tab goes on.\n",
	    out);
}

static void
menu_free(struct view *v)
{
	free(v);
}

static const struct view_ops menu_ops = {
	.draw = menu_draw,
	.key = menu_key,
	.title = menu_title,
	.help = menu_help,
	.free = menu_free,
};

struct view *
view_menu(void)
{
	struct menu_view *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->view = (struct view){ &menu_ops, "Number or j/k, Enter select   ? help   q log off   ! shell" };
	while (pages[m->n])
		m->n++;
	return &m->view;
}
