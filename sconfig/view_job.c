/*
 * sconfig/view_job.c - how far a job is. Leaving this view leaves the job running.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "sconfig/ui.h"

enum { BAR_MAX = 40 };

struct job_view {
	struct view view;
	char what[160], job[64];
	char state[32], phase[64], unit[16];
	json_int_t done, total;
};

static void
copy_text(char *out, size_t size, const json_t *value)
{
	snprintf(out, size, "%s", json_is_string(value) ? json_string_value(value) : "");
}

static void
note_progress(struct job_view *j, const json_t *job)
{
	const json_t *p = json_object_get(job, "progress");

	if (!p)
		p = job;
	copy_text(j->state, sizeof(j->state), json_object_get(job, "state"));
	copy_text(j->phase, sizeof(j->phase), json_object_get(p, "phase"));
	copy_text(j->unit, sizeof(j->unit), json_object_get(p, "unit"));
	j->done = json_integer_value(json_object_get(p, "done"));
	j->total = json_integer_value(json_object_get(p, "total"));
}

static void
draw_bar(const struct job_view *j, struct cells *c, int row, int col, int width)
{
	char bar[BAR_MAX + 1];
	int n = width < BAR_MAX ? width : BAR_MAX, full;

	if (j->total <= 0 || n < 1)
		return;
	full = j->done >= j->total ? n : j->done <= 0 ? 0 : (int)((double)j->done / (double)j->total * n);
	for (int i = 0; i < n; i++)
		bar[i] = i < full ? '#' : '.';
	bar[n] = '\0';
	cells_put(c, row, col, width, MARK_NONE, bar);
}

static void
job_draw(struct view *v, struct ui *ui, struct box area)
{
	struct job_view *j = (struct job_view *)v;
	int cols = area.cols < 60 ? area.cols : 60;
	struct box b = { area.row + (area.rows - 6) / 2, area.col + (area.cols - cols) / 2, 6, cols };

	if (b.row < area.row)
		b.row = area.row;
	cells_frame(ui->cells, b, "Working");
	cells_put(ui->cells, b.row + 1, b.col + 2, cols - 4, MARK_NONE, j->what);
	if (j->total > 0)
		cells_printf(ui->cells, b.row + 2, b.col + 2, cols - 4, MARK_NONE,
		    "%s: %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " %s",
		    j->phase[0] ? j->phase : j->state, j->done, j->total, j->unit);
	else
		cells_put(
		    ui->cells, b.row + 2, b.col + 2, cols - 4, MARK_NONE, j->phase[0] ? j->phase : j->state);
	draw_bar(j, ui->cells, b.row + 3, b.col + 2, cols - 4);
	cells_put(ui->cells, b.row + 4, b.col + 2, cols - 4, MARK_NONE, "Esc leaves it running.");
	cells_cursor(ui->cells, b.row + 1, b.col + 2);
}

static void
cancel(struct job_view *j, struct ui *ui)
{
	struct rpc_error e;

	if (link_change(ui->link, "job.cancel", json_pack("{s:s}", "job", j->job), (struct link_change){ 0 },
		NULL, &e) < 0)
		ui_say_error(ui, &e);
	else
		ui_say(ui, "%s: asked to end.", j->what);
}

static bool
job_key(struct view *v, struct ui *ui, uint32_t key)
{
	struct job_view *j = (struct job_view *)v;

	if (key == 'x') {
		cancel(j, ui);
	} else if (key == K_ESC || key == 'q' || key == K_ENTER) {
		ui_say(ui, "%s: goes on in the background.", j->what);
		ui_pop(ui);
	}
	return true;
}

/* What a job that has ended says. */
static void
tell_end(struct job_view *j, struct ui *ui, const json_t *job)
{
	const char *why = json_string_value(json_object_get(json_object_get(job, "error"), "message"));

	if (strcmp(j->state, "Terminated") == 0)
		ui_say(ui, "%s: cancelled.", j->what);
	else if (strcmp(j->state, "Exception") == 0)
		ui_say(ui, "! %s: %s", j->what, why ? why : "failed.");
	else
		ui_say(ui, "%s: done.", j->what);
}

bool
job_has_ended(const char *state)
{
	static const char *const words[] = { "Completed", "Terminated", "Exception" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(state, words[i]) == 0)
			return true;
	return false;
}

static void
job_tick(struct view *v, struct ui *ui)
{
	struct job_view *j = (struct job_view *)v;
	struct rpc_error e;
	json_t *answer = NULL, *job;

	if (!ui->link->up)
		return;
	if (link_call(ui->link, "job.get", json_pack("{s:s}", "job", j->job), &answer, &e) < 0) {
		ui_say_error(ui, &e);
		if (e.code != RPC_NOT_CONNECTED)
			ui_pop(ui);
		return;
	}
	job = json_is_object(json_object_get(answer, "job")) ? json_object_get(answer, "job") : answer;
	note_progress(j, job);
	if (job_has_ended(j->state)) {
		tell_end(j, ui, job);
		ui_pop(ui);
		ui_changed(ui, "");
	}
	json_decref(answer);
}

static void
job_free(struct view *v)
{
	free(v);
}

static const struct view_ops job_ops = {
	.over = true,
	.draw = job_draw,
	.key = job_key,
	.tick = job_tick,
	.free = job_free,
};

struct view *
view_job(const char *what, const char *job)
{
	struct job_view *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->view = (struct view){ &job_ops, "x cancel it   Esc leave it running" };
	snprintf(j->what, sizeof(j->what), "%s", what);
	snprintf(j->job, sizeof(j->job), "%s", job);
	return &j->view;
}
