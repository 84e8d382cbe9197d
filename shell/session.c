/*
 * shell/session.c - what happens around a call.
 */
#include "shell/session.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "shell/command.h"
#include "shell/console.h"
#include "shell/out.h"
#include "shell/progress.h"
#include "shell/table.h"
#include "shell/tty.h"
#include "shell/upload.h"

enum { CALL_MS = 60000, DISCOVER_MS = 20000, PROGRESS_AFTER_MS = 300, RECONNECT_TRIES = 10 };

/* --- Ctrl-C ------------------------------------------------------------------------------------- */

static volatile sig_atomic_t pressed;
static void (*also_then)(void);

static void
on_interrupt(int sig)
{
	(void)sig;
	pressed = 1;
	if (also_then)
		also_then();
}

void
session_catch_interrupt(void (*also)(void))
{
	struct sigaction sa = { .sa_handler = on_interrupt };

	also_then = also;
	sigaction(SIGINT, &sa, NULL); /* without SA_RESTART: whoever waits is to notice */
}

bool
session_interrupted(void)
{
	bool was = pressed;

	pressed = 0;
	return was;
}

bool
session_interrupt_waits(void)
{
	return pressed;
}

/* While the library waits; it forgets, so that one Ctrl-C ends one call. */
static bool
poll_interrupt(void *ctx)
{
	(void)ctx;
	return session_interrupted();
}

/* --- opening ------------------------------------------------------------------------------------ */

/* Of methods that are ours, though the host has all they need: described as its own are. Ours of file.upload
 * takes the place of the host's. */
static void
add_own_methods(json_t *doc)
{
	static const char console[] =
	    "{\"name\":\"vm.console\",\"summary\":\"Opens a serial console of a machine in this terminal. "
	    "Ctrl-] "
	    "leaves it.\",\"x-role\":\"Operator\",\"x-example\":\"vm.console(\\\"web1\\\")\",\"params\":["
	    "{\"name\":\"vm\",\"required\":true,\"schema\":{\"type\":\"string\",\"description\":\"Name or id "
	    "of the "
	    "machine.\"}},{\"name\":\"port\",\"schema\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":3,"
	    "\"default\":0,\"description\":\"Serial port, counted from 0.\"}}]}";
	json_t *methods = json_object_get(doc, "methods");
	size_t n = json_array_size(methods);

	for (size_t i = 0; i < n; i++) {
		const char *name = json_string_value(json_object_get(json_array_get(methods, i), "name"));

		if (name && strcmp(name, "console.open") == 0)
			json_array_append_new(methods, json_loads(console, 0, NULL));
		else if (name && strcmp(name, "file.upload") == 0)
			json_array_set_new(methods, i, json_loads(upload_method, 0, NULL));
	}
}

static int
discover(struct session *s, struct rpc_error *e)
{
	json_t *doc;
	int rc = rpc_call(s->rpc, "rpc.discover", NULL, DISCOVER_MS, &doc, e);

	if (rc < 0)
		return rc;
	add_own_methods(doc);
	if (catalogue_read(&s->cat, doc))
		return 0;
	*e = (struct rpc_error){ .code = RPC_BAD_ANSWER, .symbol = "BAD_ANSWER" };
	snprintf(e->message, sizeof(e->message), "%s does not say what it can do", rpc_host(s->rpc));
	return -EPROTO;
}

int
session_open(struct session *s, const char *host, const struct rpc_options *o, struct rpc_error *e)
{
	struct rpc_options with = *o;
	int rc;

	with.interrupted = poll_interrupt;
	rc = rpc_open(&s->rpc, host, &with, e);
	if (rc == 0)
		rc = discover(s, e);
	if (rc < 0)
		session_close(s);
	else
		snprintf(s->where, sizeof(s->where), "%s", host ? rpc_host(s->rpc) : "");
	return rc;
}

void
session_close(struct session *s)
{
	catalogue_free(&s->cat);
	rpc_close(s->rpc);
	s->rpc = NULL;
}

/* --- errors ------------------------------------------------------------------------------------- */

int
session_usage(struct rpc_error *e, const struct usage *u)
{
	*e = (struct rpc_error){ .code = SESSION_USAGE, .symbol = "USAGE" };
	snprintf(e->message, sizeof(e->message), "%s", u->message);
	snprintf(e->path, sizeof(e->path), "%s", u->path);
	snprintf(e->hint, sizeof(e->hint), "%s", u->hint);
	return -EINVAL;
}

/* Refused by a rule, or asked wrongly: nothing was tried. */
int
session_exit_code(const struct rpc_error *e)
{
	static const char *const refusals[] = { "USAGE", "NOT_CONFIRMED", "FORBIDDEN", "NOT_LOGGED_IN",
		"LOGIN_FAILED", "LOCKED_OUT", "CONFIRM_NEEDED", "BAD_PARAMS", "NO_SUCH_METHOD", "NO_PASSWORD",
		"UNKNOWN_CERTIFICATE", "CHANGED_CERTIFICATE" };

	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
		if (strcmp(refusals[i], e->symbol) == 0)
			return EXIT_REFUSED;
	return EXIT_FAILED;
}

char *
session_error_text(const struct rpc_error *e)
{
	char *text = NULL;
	size_t size, len = strlen(e->message);
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	out_clean(f, e->message, false);
	if (*e->path && !strstr(e->message, e->path)) {
		fputs(" (parameter ", f);
		out_clean(f, e->path, false);
		fputc(')', f);
	}
	if (len == 0 || !strchr(".!?", e->message[len - 1]))
		fputc('.', f);
	if (*e->hint) {
		fputc(' ', f);
		out_clean(f, e->hint, false);
	}
	if (*e->log_id) {
		fputs(" [log ", f);
		out_clean(f, e->log_id, false);
		fputc(']', f);
	}
	fclose(f);
	return text;
}

void
session_show_error(const struct rpc_error *e)
{
	char *text = session_error_text(e);
	bool colour = isatty(STDERR_FILENO) && !getenv("NO_COLOR");
	const char *term = getenv("TERM");

	if (!term || strcmp(term, "dumb") == 0 || strncmp(term, "vt", 2) == 0)
		colour = false;
	fflush(stdout);
	fprintf(stderr, colour ? "\x1b[31m%s\x1b[0m\n" : "%s\n", text ? text : e->message);
	free(text);
}

/* --- before the call ---------------------------------------------------------------------------- */

static json_t *
meta(json_t *params)
{
	json_t *m = json_object_get(params, "_");

	if (json_is_object(m))
		return m;
	json_object_set_new(params, "_", json_object());
	return json_object_get(params, "_");
}

/* So that the same change can be sent again when the connection broke before its answer. */
static void
add_request_id(json_t *params)
{
	unsigned char random[12];
	char text[2 * sizeof(random) + 1];

	if (json_object_get(meta(params), "requestId") ||
	    getrandom(random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		return;
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(text + 2 * i, 3, "%02x", random[i]);
	json_object_set_new(meta(params), "requestId", json_string(text));
}

static int
ask_secrets(const struct session *s, const struct operation *op, json_t *params, struct rpc_error *e)
{
	for (size_t i = 0; i < op->n_params; i++) {
		const struct param *p = &op->params[i];
		char question[120], value[RPC_PASSWORD_SIZE], again[RPC_PASSWORD_SIZE];
		struct usage u = { 0 };
		bool same;

		if (!p->required || !p->secret || json_object_get(params, p->name))
			continue;
		snprintf(question, sizeof(question), "%s: ", p->name);
		if (!s->interactive || tty_ask_secret(question, value, sizeof(value)) < 0) {
			usage_set(&u, p->name, p->help, "%s: %s is missing", op->name, p->name);
			return session_usage(e, &u);
		}
		snprintf(question, sizeof(question), "%s, again: ", p->name);
		same = tty_ask_secret(question, again, sizeof(again)) == 0 && strcmp(value, again) == 0;
		json_object_set_new(params, p->name, json_string(value));
		explicit_bzero(value, sizeof(value));
		explicit_bzero(again, sizeof(again));
		if (!same) {
			usage_set(&u, p->name, NULL, "%s: the two are not the same", op->name);
			return session_usage(e, &u);
		}
	}
	return 0;
}

static bool
is_yes(const char *answer)
{
	return strcmp(answer, "y") == 0 || strcmp(answer, "yes") == 0;
}

/* What deletes a thing wants its name, anything else a yes. */
static bool
asked(const struct operation *op, const json_t *params)
{
	const struct param *p = operation_identity(op);
	const char *name = p ? json_string_value(json_object_get(params, p->name)) : NULL;
	bool deletes = strcmp(op->verb, "delete") == 0 && name;
	char question[400], answer[300], *lua = command_as_lua(op, params);

	snprintf(question, sizeof(question),
	    deletes ? "%.200s: type the name to confirm: " : "%.200s: sure? [y/N] ", lua ? lua : op->name);
	free(lua);
	if (tty_ask(question, answer, sizeof(answer)) < 0)
		return false;
	return deletes ? strcmp(answer, name) == 0 : is_yes(answer);
}

static int
confirm(const struct session *s, const struct operation *op, json_t *params, const struct call_options *o,
    struct rpc_error *e)
{
	if (!op->destructive && !json_is_true(json_object_get(params, op->destroys)))
		return 0;
	if (json_object_get(meta(params), "confirm"))
		return 0;
	if (!s->yes && !o->yes) {
		json_t *shown = json_copy(params);
		bool ok;

		json_object_del(shown, "_");
		ok = s->interactive && asked(op, shown);
		json_decref(shown);
		if (!ok) {
			*e = (struct rpc_error){ .code = SESSION_NOT_CONFIRMED, .symbol = "NOT_CONFIRMED" };
			snprintf(e->message, sizeof(e->message), "%s was not confirmed, nothing was done",
			    op->name);
			snprintf(e->hint, sizeof(e->hint), "Use --yes, or confirm=true in Lua.");
			return -EPERM;
		}
	}
	return json_object_set_new(meta(params), "confirm", json_true());
}

/* --- jobs --------------------------------------------------------------------------------------- */

struct wait {
	const struct session *s;
	struct progress progress;
	int64_t begun_ns;
	bool left; /* the job goes on without us */
};

static int64_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static void
draw(struct wait *w, const struct rpc_progress *p)
{
	size_t width = out_columns(STDERR_FILENO);
	char line[512];

	if (width == 0 || now() - w->begun_ns < PROGRESS_AFTER_MS * INT64_C(1000000))
		return;
	progress_line(
	    &w->progress, p, now(), width < sizeof(line) ? width - 1 : sizeof(line) - 1, line, sizeof(line));
	fprintf(stderr, "\r%s\x1b[K", line);
	fflush(stderr);
	w->progress.drawn = true;
}

static void
erase(struct wait *w)
{
	if (w->progress.drawn)
		fprintf(stderr, "\r\x1b[K");
	w->progress.drawn = false;
}

static bool
on_progress(void *ctx, const struct rpc_progress *p)
{
	struct wait *w = ctx;

	progress_note(&w->progress, p, now());
	draw(w, p);
	return true;
}

/* After Ctrl-C: 'c' cancel, 'l' leave, 'w' wait on. Who cannot be asked cancels. */
static char
what_now(const struct session *s, const char *job)
{
	char answer[16], question[160];

	if (!s->interactive)
		return 'c';
	snprintf(question, sizeof(question), "Job %.64s goes on. [c]ancel it, [l]eave it, or [w]ait? ", job);
	session_interrupted();
	if (tty_ask(question, answer, sizeof(answer)) < 0)
		return 'l';
	return answer[0] == 'c' || answer[0] == 'w' ? answer[0] : 'l';
}

/* After the connection was lost: the agent is given some seconds to come back. */
static bool
reconnected(struct session *s)
{
	const struct timespec pause = { .tv_nsec = 300000000 };

	for (int i = 0; i < RECONNECT_TRIES && !session_interrupted(); i++) {
		nanosleep(&pause, NULL);
		if (rpc_reconnect(s->rpc, NULL) == 0)
			return true;
	}
	return false;
}

static int
wait_job(struct session *s, const char *job, json_t **result, struct rpc_error *e)
{
	struct wait w = { .s = s, .begun_ns = now() };
	int rc;

	for (;;) {
		rc = rpc_job_wait(s->rpc, job, on_progress, &w, result, e);
		erase(&w);
		if (rc < 0 && e->code == RPC_NOT_CONNECTED && reconnected(s))
			continue; /* a job outlives its agent's connections */
		if (rc != -ECANCELED)
			return rc;
		switch (what_now(s, job)) {
		case 'w':
			continue;
		case 'c':
			rpc_call(s->rpc, "job.cancel", json_pack("{s:s}", "job", job), CALL_MS, NULL, NULL);
			return rpc_job_wait(s->rpc, job, NULL, NULL, result, e);
		default:
			*result = json_pack("{s:s}", "job", job);
			return 0;
		}
	}
}

/* --- the call ----------------------------------------------------------------------------------- */

/* A method that waits on the host is given that long, and some. */
static int
time_for(const json_t *params)
{
	json_int_t seconds = json_integer_value(json_object_get(params, "timeout"));

	return seconds > 0 && seconds < 86400 ? CALL_MS + (int)seconds * 1000 : CALL_MS;
}

/* When the connection broke: once more, if that can do no harm. */
static int
call_again(
    struct session *s, const struct operation *op, json_t *params, json_t **result, struct rpc_error *e)
{
	int ms = time_for(params), rc = rpc_call(s->rpc, op->name, json_incref(params), ms, result, e);
	bool safe = !op->changes || json_object_get(meta(params), "requestId");

	if (rc < 0 && e->code == RPC_NOT_CONNECTED && safe && reconnected(s))
		rc = rpc_call(s->rpc, op->name, json_incref(params), ms, result, e);
	return rc;
}

static void
show_plan(const json_t *result)
{
	const json_t *would = json_object_get(result, "would"), *v;
	size_t i;

	json_array_foreach(would, i, v)
	{
		fputs("would ", stdout);
		out_clean(stdout, json_string_value(v) ? json_string_value(v) : "?", false);
		fputc('\n', stdout);
	}
	if (json_array_size(would) == 0)
		fputs(json_is_true(json_object_get(result, "changed")) ? "would change something\n"
								       : "would change nothing\n",
		    stdout);
}

static int
call_host(struct session *s, const struct operation *op, json_t *params, const struct call_options *o,
    json_t **result, struct rpc_error *e)
{
	bool dry = op->changes && (s->dry_run || o->what_if);
	const char *job;
	int rc = ask_secrets(s, op, params, e);

	if (rc == 0 && dry)
		json_object_set_new(meta(params), "dryRun", json_true());
	else if (rc == 0)
		rc = confirm(s, op, params, o, e);
	if (rc < 0)
		return rc;
	if (op->changes && !dry)
		add_request_id(params);
	if (json_object_size(json_object_get(params, "_")) == 0)
		json_object_del(params, "_");
	rc = call_again(s, op, params, result, e);
	if (rc == 0 && dry && !s->json)
		show_plan(*result);
	job = rc == 0 && op->job && !dry ? json_string_value(json_object_get(*result, "job")) : NULL;
	if (job && !o->background) {
		json_t *answer = *result;

		*result = NULL;
		rc = wait_job(s, job, result, e);
		json_decref(answer);
	}
	return rc;
}

/* The host is asked for a stream, then the file goes there. */
static int
upload(struct session *s, const struct operation *op, json_t *params, const struct call_options *o,
    json_t **result, struct rpc_error *e)
{
	const char *ticket;
	json_t *answer;
	int rc, file = upload_prepare(params, e);

	if (file < 0)
		return file;
	rc = call_host(s, op, params, o, result, e);
	ticket = rc == 0 ? json_string_value(json_object_get(*result, "ticket")) : NULL;
	if (ticket) { /* no dry run */
		answer = *result;
		*result = NULL;
		rc = upload_send(
		    s, file, ticket, json_integer_value(json_object_get(params, "size")), result, e);
		json_decref(answer);
	}
	close(file);
	return rc;
}

int
session_call(struct session *s, const struct operation *op, json_t *params, const struct call_options *o,
    json_t **result, struct rpc_error *e)
{
	int rc;

	*result = NULL;
	memset(e, 0, sizeof(*e));
	session_interrupted();
	if (strcmp(op->name, "vm.console") == 0)
		rc = shell_console_attach(s, params, e);
	else if (strcmp(op->name, "file.upload") == 0)
		rc = upload(s, op, params, o, result, e);
	else
		rc = call_host(s, op, params, o, result, e);
	json_decref(params);
	if (rc == 0 && !*result)
		*result = json_null();
	return rc;
}

/* --- showing ------------------------------------------------------------------------------------ */

static void
show_json(const json_t *result)
{
	size_t flags = JSON_ENCODE_ANY | (isatty(STDOUT_FILENO) ? JSON_INDENT(2) : JSON_COMPACT);

	json_dumpf(result, stdout, flags);
	fputc('\n', stdout);
}

/* Of a change: whether, and what there is to know beside the thing itself. */
static void
show_change(const struct operation *op, const json_t *result, size_t width)
{
	json_t *rest = json_copy((json_t *)result);
	const json_t *restart = json_object_get(result, "restart");

	fputs(json_is_true(json_object_get(result, "changed")) ? "Done.\n"
							       : "Nothing to do: it is so already.\n",
	    stdout);
	if (json_array_size(restart) > 0) {
		char *s = table_value(restart, NULL);

		printf("At the next start: %s.\n", s ? s : "");
		free(s);
	}
	json_object_del(rest, "changed");
	json_object_del(rest, "restart");
	if (json_is_object(
		json_object_get(rest, op->noun))) /* the thing itself; but a new token is what was wanted */
		json_object_del(rest, op->noun);
	if (json_object_size(rest) > 0)
		table_object(stdout, rest, op->result, width);
	json_decref(rest);
}

/* {"vm": {...}}: that object. */
static void
show_thing(const struct operation *op, const json_t *result, size_t width)
{
	const json_t *schema = json_object_get(json_object_get(op->result, "properties"), op->noun);
	const json_t *thing = json_object_get(result, op->noun);

	if (json_is_object(thing) && json_object_size(result) == 1)
		table_object(stdout, thing, schema, width);
	else
		table_answer(stdout, result, op->result, width);
}

static void
show_result(const struct operation *op, const json_t *result, size_t width)
{
	bool empty = json_object_size(result) + json_array_size(result) == 0;

	if (json_is_boolean(json_object_get(result, "changed")))
		show_change(op, result, width);
	else if (json_is_null(result) ? op->job : empty)
		puts("Done.");
	else if (!json_is_null(result))
		show_thing(op, result, width);
}

void
session_show(const struct session *s, const struct operation *op, const json_t *result)
{
	size_t width = out_columns(STDOUT_FILENO);
	const char *job = json_string_value(json_object_get(result, "job"));

	if (s->json)
		show_json(result);
	else if (op->job && job)
		printf("Job %s goes on in the background; see job get %s.\n", job, job);
	else if (!json_object_get(result, "would")) /* the plan was told already */
		show_result(op, result, width);
	fflush(stdout);
}
