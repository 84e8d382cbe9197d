/*
 * shell/progress.c - rate, time left and bar of a job.
 */
#include "shell/progress.h"

#include <stdio.h>
#include <string.h>

#include "lib/text.h"
#include "shell/units.h"

enum { BAR_MAX = 30, BAR_MIN = 8 };

void
progress_note(struct progress *g, const struct rpc_progress *p, int64_t now_ns)
{
	double seconds = (double)(now_ns - g->last_ns) / 1e9, rate;

	if (g->begun_ns == 0)
		g->begun_ns = now_ns;
	if (g->last_ns == 0 || strncmp(g->phase, p->phase, sizeof(g->phase) - 1) != 0 ||
	    p->done < g->last_done) {
		snprintf(g->phase, sizeof(g->phase), "%s", p->phase);
		g->last_done = p->done;
		g->last_ns = now_ns;
		g->rate = 0;
		return;
	}
	if (seconds < 0.2)
		return;
	rate = (double)(p->done - g->last_done) / seconds;
	g->rate = g->rate > 0 ? g->rate * 0.7 + rate * 0.3 : rate;
	g->last_done = p->done;
	g->last_ns = now_ns;
}

/* Appends, cut at the end of the buffer. */
static void
append(char *out, size_t size, const char *text)
{
	size_t len = strlen(out);

	snprintf(out + len, size - len, "%s", text);
}

static void
append_bar(char *out, size_t size, double part, size_t width)
{
	char bar[BAR_MAX + 3];
	size_t filled = (size_t)(part * (double)width);

	bar[0] = '[';
	memset(bar + 1, '#', filled);
	memset(bar + 1 + filled, '-', width - filled);
	bar[width + 1] = ']';
	bar[width + 2] = '\0';
	append(out, size, bar);
}

static void
amount(uint64_t n, const char *unit, char out[UNIT_TEXT])
{
	unit_format(n > INT64_MAX ? INT64_MAX : (json_int_t)n, unit, out);
}

/* "  45%  1.2 GiB of 2.7 GiB  110 MiB/s  13s left" */
static void
figures(const struct progress *g, const struct rpc_progress *p, double part, char *out, size_t size)
{
	bool bytes = strcmp(p->unit, "bytes") == 0;
	char a[UNIT_TEXT], b[UNIT_TEXT], text[3 * UNIT_TEXT];

	if (p->total > 0) {
		snprintf(text, sizeof(text), " %3d%%", (int)(part * 100));
		append(out, size, text);
		amount(p->total, p->unit, b);
	}
	amount(p->done, p->unit, a);
	if (p->total > 0)
		snprintf(text, sizeof(text), "  %s of %s", a, b);
	else
		snprintf(text, sizeof(text), "  %s", a);
	if (p->done > 0 || p->total > 0)
		append(out, size, text);
	if (bytes && g->rate > 0) {
		unit_bytes(g->rate, a);
		snprintf(text, sizeof(text), "  %s/s", a);
		append(out, size, text);
	}
	if (g->rate > 0 && p->total > p->done) {
		unit_seconds((double)(p->total - p->done) / g->rate + 0.5, a);
		snprintf(text, sizeof(text), "  %s left", a);
		append(out, size, text);
	}
}

void
progress_line(const struct progress *g, const struct rpc_progress *p, int64_t now_ns, size_t width, char *out,
    size_t size)
{
	double part = p->total > 0 ? (double)(p->done < p->total ? p->done : p->total) / (double)p->total : 0;
	char head[48], tail[200] = "", spent[UNIT_TEXT];
	size_t room;

	snprintf(head, sizeof(head), "%.30s  ", *p->phase ? p->phase : *p->state ? p->state : "working");
	figures(g, p, part, tail, sizeof(tail));
	if (p->total == 0) {
		unit_seconds((double)(now_ns - g->begun_ns) / 1e9, spent);
		append(tail, sizeof(tail), "  ");
		append(tail, sizeof(tail), spent);
	}
	*out = '\0';
	append(out, size, head);
	room = width > strlen(head) + strlen(tail) + 2 ? width - strlen(head) - strlen(tail) - 2 : 0;
	if (p->total > 0 && room >= BAR_MIN)
		append_bar(out, size, part, room < BAR_MAX ? room : BAR_MAX);
	append(out, size, tail);
	text_clean(out);
	if (strlen(out) > width)
		out[width] = '\0'; /* cuts in a character at worst on a very narrow terminal */
	text_clean(out);
}
