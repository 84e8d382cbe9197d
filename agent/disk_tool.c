/* agent/disk_tool.c - fh-disk, run for the agent: its command line, its answers, its end. */
#include "agent/disk_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/method.h"
#include "lib/schema.h"
#include "lib/text.h"

enum {
	CALL_S = 60, /* without a sign of life: of a call, */
	JOB_S = 900, /* of a job: a large file may be brought to a slow disk meanwhile */
	GRACE_MS = 10000,
	LOOK_MS = 200,
	LINE_SIZE = 1024,
	STATUS_IN_USE = 5,
	STATUS_CANCELLED = 130,
};

/* --- the command line --------------------------------------------------------------------------------- */

void
disk_tool_add(struct disk_tool *t, const char *fmt, ...)
{
	va_list ap;
	char *text = NULL;

	va_start(ap, fmt);
	if (t->n == DISK_TOOL_ARGS || vasprintf(&text, fmt, ap) < 0)
		t->failed = true;
	else
		t->arg[t->n++] = text;
	va_end(ap);
}

static void
add_program(struct disk_tool *t)
{
	char self[PATH_MAX] = "", *slash;

	if (t->agent->o.disk_tool) {
		disk_tool_add(t, "%s", t->agent->o.disk_tool);
		return;
	}
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		t->failed = true;
	slash = strrchr(self, '/');
	disk_tool_add(t, "%.*s/fh-disk", slash ? (int)(slash - self) : 0, self);
}

void
disk_tool_begin(struct disk_tool *t, const struct agent *a, const char *command)
{
	*t = (struct disk_tool){ .agent = a };
	add_program(t);
	disk_tool_add(t, "%s", command);
	disk_tool_add(t, "--progress-json");
	if (strcmp(command, "import") != 0)
		disk_tool_add(t, "--confine");
}

void
disk_tool_read(struct disk_tool *t, const char *path)
{
	disk_tool_add(t, "--allow-read");
	disk_tool_add(t, "%s", path);
}

void
disk_tool_write(struct disk_tool *t, const char *path)
{
	disk_tool_add(t, "--allow-write");
	disk_tool_add(t, "%s", path);
}

void
disk_tool_drop(struct disk_tool *t)
{
	while (t->n > 0)
		free(t->arg[--t->n]);
}

/* --- what it says ------------------------------------------------------------------------------------- */

struct running {
	struct job *job;
	pid_t pid;
	int out, err; /* -1: at their ends */
	char *answer; /* what came from out */
	size_t len, cap;
	char line[LINE_SIZE]; /* the last one of err that was not whole; too long ones lose their end */
	size_t line_len;
	char words[ERR_MSG_SIZE];    /* its last complaint */
	uint64_t heard_ms, asked_ms; /* signs of life; when it was asked to end, 0: not */
	const char *ended;           /* why we have ended it; NULL: we have not */
};

static uint64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void
end_it(struct running *r, const char *why)
{
	r->ended = why;
	kill(r->pid, SIGKILL);
}

struct progress {
	char phase[33];
	uint64_t done, total;
};
static const struct field progress_fields[] = { { "phase", FIELD_STRING, .required = true,
						    FIELD_AT(progress, phase), .min = 1, .max = 32,
						    .size = 33, .help = "What it does." },
	{ "done", FIELD_UINT, .required = true, FIELD_AT(progress, done), .max = INT64_MAX,
	    .help = "How far." },
	{ "total", FIELD_UINT, .required = true, FIELD_AT(progress, total), .max = INT64_MAX,
	    .help = "Of what." },
	{ 0 } };

static void
hear_progress(struct running *r)
{
	struct progress p = { 0 };
	struct err e = { 0 };
	json_t *doc = schema_parse(r->line, r->line_len, &e);

	if (doc && schema_read(progress_fields, doc, NULL, &p, &e) == 0 && r->job && p.done <= p.total)
		job_progress(r->job, p.phase, p.done, p.total, "");
	json_decref(doc);
}

static void
hear_line(struct running *r)
{
	static const char who[] = "fh-disk: ";
	const char *text = r->line;

	r->line[r->line_len] = '\0';
	if (r->line[0] == '{') {
		hear_progress(r);
	} else if (r->line_len > 0) {
		if (strncmp(text, who, sizeof(who) - 1) == 0)
			text += sizeof(who) - 1;
		text_copy(r->words, sizeof(r->words), text);
		text_clean(r->words);
	}
	r->line_len = 0;
}

static void
hear_err(struct running *r)
{
	char buf[4096];
	ssize_t n = read(r->err, buf, sizeof(buf));

	if (n <= 0) {
		hear_line(r);
		close(r->err);
		r->err = -1;
		return;
	}
	for (ssize_t i = 0; i < n; i++)
		if (buf[i] == '\n')
			hear_line(r);
		else if (r->line_len < LINE_SIZE - 1)
			r->line[r->line_len++] = buf[i] ? buf[i] : '?';
}

static void
hear_out(struct running *r)
{
	char buf[4096], *more;
	ssize_t n = read(r->out, buf, sizeof(buf));

	if (n <= 0) {
		close(r->out);
		r->out = -1;
		return;
	}
	if (r->len + (size_t)n > SCHEMA_TEXT_MAX) {
		end_it(r, "it answered with more than can be");
		return;
	}
	if (r->len + (size_t)n > r->cap) {
		more = realloc(r->answer, r->cap * 2 + 4096);
		if (!more) {
			end_it(r, "out of memory");
			return;
		}
		r->answer = more;
		r->cap = r->cap * 2 + 4096;
	}
	memcpy(r->answer + r->len, buf, (size_t)n);
	r->len += (size_t)n;
}

/* --- its life ----------------------------------------------------------------------------------------- */

/* It has all signals as a new program has them, and no descriptor but three. */
static int
start(const struct disk_tool *t, const int out[2], const int err[2], pid_t *pid)
{
	posix_spawn_file_actions_t act;
	posix_spawnattr_t attr;
	char *env[] = { NULL };
	sigset_t none, all;
	int rc;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&act);
	posix_spawn_file_actions_addopen(&act, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&act, out[1], 1);
	posix_spawn_file_actions_adddup2(&act, err[1], 2);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(
	    &attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	rc = posix_spawn(pid, t->arg[0], &act, &attr, t->arg, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&act);
	return rc;
}

/* Whether it is to go on; it is asked to end, and if it does not, ended. */
static void
look_after(struct running *r)
{
	uint64_t now = now_ms();

	if (r->ended)
		return;
	if (r->job && !r->asked_ms && job_cancelled(r->job)) {
		r->asked_ms = now;
		kill(r->pid, SIGTERM);
	}
	if (r->asked_ms && now - r->asked_ms > GRACE_MS)
		end_it(r, "it was cancelled");
	else if (now - r->heard_ms > (r->job ? JOB_S : CALL_S) * UINT64_C(1000))
		end_it(r, "it has done nothing for too long");
}

static void
follow(struct running *r)
{
	r->heard_ms = now_ms();
	while (r->out >= 0 || r->err >= 0) {
		struct pollfd p[2] = { { r->out, POLLIN, 0 }, { r->err, POLLIN, 0 } };
		int n = poll(p, 2, LOOK_MS);

		if (n > 0)
			r->heard_ms = now_ms();
		if (n > 0 && p[0].revents)
			hear_out(r);
		if (n > 0 && p[1].revents)
			hear_err(r);
		look_after(r);
		if (r->ended)
			break;
	}
	if (r->out >= 0)
		close(r->out);
	if (r->err >= 0)
		close(r->err);
}

static int
failed(const struct running *r, int status, struct fault *f)
{
	const char *words = r->words[0] ? r->words : "fh-disk failed and did not say why";
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	if (r->asked_ms && code != 0)
		return fault_set(f, FAULT_CANCELLED, NULL, NULL, "cancelled: %s", words);
	if (r->ended)
		return fault_set(f, FAULT_TIMED_OUT, "path", NULL, "fh-disk was ended: %s", r->ended);
	if (code < 0)
		return fault_set(f, FAULT_FILE_BAD, "path", NULL,
		    "fh-disk was ended by signal %d over this image", WTERMSIG(status));
	if (code == STATUS_IN_USE)
		return fault_set(f, FAULT_DISK_IN_USE, "path", NULL, "%s", words);
	if (code == STATUS_CANCELLED)
		return fault_set(f, FAULT_CANCELLED, NULL, NULL, "%s", words);
	if (strstr(words, strerror(ENOSPC)))
		return fault_set(f, FAULT_NO_SPACE, "path", "make room on the data disk", "%s", words);
	return fault_set(f, FAULT_FILE_BAD, "path", NULL, "%s", words);
}

static int
take_answer(const struct running *r, json_t **result, struct fault *f)
{
	struct err e = { 0 };

	if (!result || r->len == 0)
		return 0;
	*result = schema_parse(r->answer, r->len, &e);
	return *result ? 0 : fault_set(f, FAULT_INTERNAL, NULL, NULL, "fh-disk's answer: %s", e.msg);
}

static int
judge(struct running *r, json_t **result, struct fault *f)
{
	int status = 0, code, rc;

	while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
		;
	code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	if (r->ended || (code != 0 && code != DISK_TOOL_DAMAGED))
		return failed(r, status, f);
	rc = take_answer(r, result, f);
	return rc < 0 ? rc : code;
}

static int
run(struct disk_tool *t, struct job *j, json_t **result, struct fault *f)
{
	struct running r = { .job = j };
	int out[2], err[2], rc;

	if (pipe2(out, O_CLOEXEC) < 0)
		return fault_set(f, FAULT_TOO_BUSY, NULL, NULL, "pipe: %s", strerror(errno));
	if (pipe2(err, O_CLOEXEC) < 0) {
		close(out[0]);
		close(out[1]);
		return fault_set(f, FAULT_TOO_BUSY, NULL, NULL, "pipe: %s", strerror(errno));
	}
	rc = start(t, out, err, &r.pid);
	close(out[1]);
	close(err[1]);
	r.out = out[0];
	r.err = err[0];
	if (rc == 0)
		follow(&r);
	else {
		close(r.out);
		close(r.err);
	}
	rc = rc == 0 ? judge(&r, result, f)
		     : fault_set(f, FAULT_NOT_SUPPORTED, NULL, NULL, "%s: %s", t->arg[0], strerror(rc));
	free(r.answer);
	return rc;
}

int
disk_tool_run(struct disk_tool *t, struct job *j, json_t **result, struct fault *f)
{
	int rc;

	if (result)
		*result = NULL;
	rc = t->failed ? fault_set(f, FAULT_INTERNAL, NULL, NULL, "fh-disk's command line has no room")
		       : run(t, j, result, f);
	disk_tool_drop(t);
	return rc;
}
