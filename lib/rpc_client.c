/*
 * lib/rpc_client.c - calls, events, jobs and streams over one connection.
 *
 * Both carriers are a stream socket with a message a line: the local agent's own, or one end of a pair
 * whose other end the transport pumps to a WebSocket. Only connecting differs.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/rpc_client_private.h"
#include "lib/schema.h"
#include "lib/transport_client.h"

enum { CONNECT_MS = 20000, TOKEN_SIZE = 512, JOB_POLL_FIRST_MS = 20, JOB_POLL_MS = 400, CALL_MS = 30000 };
enum { HTTP_FORBIDDEN = 403, TICKET_INVALID = 1204 }; /* agent/fault.h, a part of the interface */

struct rpc_client {
	bool remote;
	struct rpc_address at; /* remote */
	char socket_path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char user[RPC_USER_MAX + 1];
	char token[TOKEN_SIZE]; /* given, or the session's; "": log in with a password */
	bool token_given;
	char known_hosts[512];
	char fingerprint[RPC_FINGERPRINT_SIZE]; /* of this host; "" until it was looked up */
	int timeout_ms;
	struct rpc_options o; /* the callbacks; texts are in the members above */

	struct rpc_lines lines;
	json_int_t last_id;
	struct rpc_events events;
};

static const char again[] = "The agent may be restarting. Try again in a moment.";

static struct rpc_patience
patience(const struct rpc_client *c, int timeout_ms)
{
	return rpc_patience_of(timeout_ms, c->o.interrupted, c->o.ctx);
}

/* --- connecting to the local agent -------------------------------------------------------------- */

static int
connect_local(const struct rpc_client *c, struct rpc_error *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc = 0;

	if (fd < 0)
		return rpc_fail(e, RPC_LOCAL_FAULT, -errno, NULL, "socket: %s", strerror(errno));
	memcpy(addr.sun_path, c->socket_path, sizeof(addr.sun_path));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		rc = -errno;
	if (rc == 0)
		return fd;
	close(fd);
	return rpc_fail(e, RPC_NOT_CONNECTED, rc,
	    rc == -EACCES ? "You may not connect to the agent of this machine."
			  : "Is fh-agent running? For another machine: fhsh -H HOST.",
	    "the agent does not answer at %s: %s", c->socket_path, strerror(-rc));
}

/* --- connecting to another machine -------------------------------------------------------------- */

static int stream_refused(const struct rpc_client *c, struct rpc_error *e);

static int
refused_by_http(const struct rpc_client *c, const struct transport_told *told, struct rpc_error *e)
{
	if (told->http_status == 401 || told->http_status == 403)
		return rpc_fail(e, RPC_NOT_CONNECTED, -EACCES,
		    "The token may have expired, or remote management may be off.",
		    "%s refused the log-in (HTTP %d)", c->at.host, told->http_status);
	return rpc_fail(e, RPC_NOT_CONNECTED, -ECONNREFUSED,
	    "Is this a Freehold host, and is the port right?", "%s:%u answered with HTTP %d", c->at.host,
	    c->at.port, told->http_status);
}

static int
changed_certificate(const struct rpc_client *c, const char *seen, struct rpc_error *e)
{
	char hint[sizeof(e->hint)];

	snprintf(hint, sizeof(hint),
	    "If the host was installed again, compare with the fingerprint in its menu and delete its line "
	    "in "
	    "%.140s.",
	    c->known_hosts);
	return rpc_fail(e, RPC_CHANGED_CERTIFICATE, -EKEYREJECTED, hint,
	    "%s:%u shows another certificate than before: %s, but known is %s", c->at.host, c->at.port, seen,
	    c->fingerprint);
}

/* The first contact: asks, and keeps what was accepted. */
static int
pin_certificate(struct rpc_client *c, const char *seen, struct rpc_error *e)
{
	if (!c->o.pin || !c->o.pin(c->o.ctx, c->at.host, seen))
		return rpc_fail(e, RPC_UNKNOWN_CERTIFICATE, -EKEYREJECTED,
		    "Compare it with the fingerprint in the host's menu, then accept it once interactively.",
		    "%s:%u is not known yet; its certificate is %s", c->at.host, c->at.port, seen);
	snprintf(c->fingerprint, sizeof(c->fingerprint), "%s", seen);
	return rpc_pin_add(c->known_hosts, c->at.host, c->at.port, seen, e);
}

static int
unreachable(const struct rpc_client *c, int rc, const struct transport_told *told, struct rpc_error *e)
{
	if (rc == -ETIMEDOUT)
		return rpc_fail(e, RPC_TIMED_OUT, rc, "Is the address right, and is the host on?",
		    "%s:%u does not answer", c->at.host, c->at.port);
	if (rc == -ECANCELED)
		return rpc_fail(e, RPC_INTERRUPTED, rc, NULL, "interrupted");
	return rpc_fail(e, RPC_NOT_CONNECTED, rc, "Is remote management switched on in the host's menu?",
	    "%s:%u cannot be reached: %s", c->at.host, c->at.port, told->why[0] ? told->why : strerror(-rc));
}

static int
connect_remote(
    struct rpc_client *c, const char *path, enum transport_kind kind, int timeout_ms, struct rpc_error *e)
{
	struct transport_target t = {
		.host = c->at.host,
		.port = c->at.port,
		.path = path,
		.token = c->token[0] ? c->token : NULL,
		.fingerprint = c->fingerprint,
		.kind = kind,
	};
	struct rpc_patience p = patience(c, timeout_ms);
	struct transport_told told;
	int fd = -1, rc = 0;

	if (!c->fingerprint[0])
		rc = rpc_pin_find(c->known_hosts, c->at.host, c->at.port, c->fingerprint, e);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	rc = transport_connect(&t, &p, &fd, &told);
	if (rc == -EKEYREJECTED && !c->fingerprint[0]) {
		rc = pin_certificate(c, told.seen, e);
		if (rc < 0)
			return rc;
		p = patience(c, timeout_ms); /* it may have taken a while to compare */
		rc = transport_connect(&t, &p, &fd, &told);
	}
	if (rc == -EKEYREJECTED)
		return changed_certificate(c, told.seen, e);
	if (rc == -EACCES && told.http_status == HTTP_FORBIDDEN && kind == TRANSPORT_BYTES)
		return stream_refused(c, e);
	if (rc == -EACCES && told.http_status)
		return refused_by_http(c, &told, e);
	return rc < 0 ? unreachable(c, rc, &told, e) : fd;
}

/* --- calls -------------------------------------------------------------------------------------- */

/* A failure of the connection, in words; what cannot go on is closed. */
static int
lost(struct rpc_client *c, int rc, struct rpc_error *e)
{
	if (rc == -ETIMEDOUT)
		return rpc_fail(e, RPC_TIMED_OUT, rc, "The host may still be working on it.",
		    "%s did not answer in time", rpc_host(c));
	if (rc == -ECANCELED)
		return rpc_fail(e, RPC_INTERRUPTED, rc, NULL, "interrupted");
	rpc_lines_close(&c->lines);
	if (rc == -EMSGSIZE)
		return rpc_fail(e, RPC_BAD_ANSWER, rc, NULL, "%s sent a message of more than %d bytes",
		    rpc_host(c), RPC_MESSAGE_MAX);
	if (rc == -ENOMEM)
		return rpc_fail(e, RPC_LOCAL_FAULT, rc, NULL, "out of memory");
	return rpc_fail(
	    e, RPC_NOT_CONNECTED, -ECONNRESET, again, "the connection to %s was lost", rpc_host(c));
}

static int
garbage(struct rpc_client *c, struct rpc_error *e, const char *what)
{
	rpc_lines_close(&c->lines);
	return rpc_fail(
	    e, RPC_BAD_ANSWER, -EPROTO, "Is this a Freehold host?", "what %s sent %s", rpc_host(c), what);
}

/* The next message, whatever it is: a new reference. */
static int
receive(struct rpc_client *c, const struct rpc_patience *p, json_t **doc, const char **text, size_t *len,
    struct rpc_error *e)
{
	int rc = rpc_lines_read(&c->lines, p, text, len);

	*doc = NULL;
	if (rc < 0)
		return lost(c, rc, e);
	*doc = schema_parse(*text, *len, NULL);
	if (json_is_object(*doc))
		return 0;
	json_decref(*doc);
	*doc = NULL;
	return garbage(c, e, "is not JSON");
}

static bool
is_event(const json_t *doc)
{
	const char *method = json_string_value(json_object_get(doc, "method"));

	return method && strcmp(method, "event") == 0 && !json_object_get(doc, "id");
}

/* A host that could not read the id sends null. */
static bool
answers(const json_t *doc, json_int_t id)
{
	const json_t *got = json_object_get(doc, "id");

	return json_is_integer(got) ? json_integer_value(got) == id : json_is_null(got);
}

static int
read_answer(struct rpc_client *c, const json_t *doc, json_t **result, struct rpc_error *e)
{
	const json_t *error = json_object_get(doc, "error");
	json_t *value = json_object_get(doc, "result");

	if (error && !json_is_null(error))
		return rpc_fail_remote(e, error);
	if (!value)
		return garbage(c, e, "is neither an answer nor an error");
	if (result)
		*result = json_incref(value);
	return 0;
}

/* Until the answer to id is there. Events are kept; what else comes is late, to a call that was given up. */
static int
wait_answer(
    struct rpc_client *c, json_int_t id, const struct rpc_patience *p, json_t **result, struct rpc_error *e)
{
	const char *text;
	size_t len;
	json_t *doc;
	int rc;

	while ((rc = receive(c, p, &doc, &text, &len, e)) == 0) {
		if (is_event(doc)) {
			rpc_events_keep(&c->events, text, len);
		} else if (answers(doc, id)) {
			rc = read_answer(c, doc, result, e);
			json_decref(doc);
			return rc;
		}
		json_decref(doc);
		if (rpc_now_ns() >= p->deadline_ns) /* a flood must not hold us */
			return lost(c, -ETIMEDOUT, e);
		if (p->interrupted && p->interrupted(p->ctx))
			return lost(c, -ECANCELED, e);
	}
	return rc;
}

/* The request as a line (malloc, *len bytes), or NULL. Takes the reference of params. */
static char *
encode(json_int_t id, const char *method, json_t *params, size_t *len)
{
	json_t *msg = json_pack(
	    "{s:s, s:I, s:s, s:o*}", "jsonrpc", "2.0", "id", id, "method", method, "params", params);
	char *text = msg ? json_dumps(msg, JSON_COMPACT) : NULL;

	json_decref(msg);
	*len = text ? strlen(text) : 0;
	if (text)
		text[(*len)++] = '\n'; /* where the terminator was */
	return text;
}

int
rpc_call(struct rpc_client *c, const char *method, json_t *params, int timeout_ms, json_t **result,
    struct rpc_error *e)
{
	struct rpc_patience p = patience(c, timeout_ms);
	json_int_t id = ++c->last_id;
	size_t len;
	char *text = encode(id, method, params, &len);
	int rc;

	if (result)
		*result = NULL;
	if (!text)
		return rpc_fail(
		    e, RPC_LOCAL_FAULT, -EINVAL, NULL, "%s: these parameters cannot be sent", method);
	if (len > RPC_MESSAGE_MAX)
		rc = rpc_fail(
		    e, RPC_LOCAL_FAULT, -EMSGSIZE, NULL, "%s: more than %d bytes", method, RPC_MESSAGE_MAX);
	else if ((rc = rpc_lines_write(&c->lines, &p, text, len)) < 0)
		rc = lost(c, rc, e);
	explicit_bzero(text, len); /* it may have been a password */
	free(text);
	return rc < 0 ? rc : wait_answer(c, id, &p, result, e);
}

/* --- opening and closing ------------------------------------------------------------------------ */

/* Takes the password out of a request again. */
static void
wipe_member(json_t *params, const char *name)
{
	json_t *v = json_object_get(params, name);

	if (v)
		explicit_bzero((char *)json_string_value(v), json_string_length(v));
}

static int
log_in(struct rpc_client *c, struct rpc_error *e)
{
	char password[RPC_PASSWORD_SIZE] = "";
	json_t *params, *result;
	const char *token;
	int rc;

	if (!c->o.password || c->o.password(c->o.ctx, c->user, c->at.host, password, sizeof(password)) < 0)
		return rpc_fail(e, RPC_NO_PASSWORD, -EACCES, "Give a token in FREEHOLD_TOKEN.",
		    "%s@%s: no password was given", c->user, c->at.host);
	params = json_pack("{s:s, s:s}", "user", c->user, "password", password);
	explicit_bzero(password, sizeof(password));
	json_incref(params);
	rc = rpc_call(c, "session.login", params, c->timeout_ms, &result, e);
	wipe_member(params, "password");
	json_decref(params);
	if (rc < 0)
		return rc;
	token = json_string_value(json_object_get(result, "token"));
	if (token && strlen(token) < sizeof(c->token))
		memcpy(c->token, token, strlen(token) + 1);
	json_decref(result);
	return 0;
}

/* A token was sent with the connection: does it count? Tells so before the first real call. */
static int
check_token(struct rpc_client *c, struct rpc_error *e)
{
	return rpc_call(c, "session.get", NULL, c->timeout_ms, NULL, e);
}

static int
connect_host(struct rpc_client *c, struct rpc_error *e)
{
	int fd = c->remote ? connect_remote(c, "/rpc/v1", TRANSPORT_LINES, c->timeout_ms, e)
			   : connect_local(c, e);

	if (fd < 0)
		return fd;
	c->lines = (struct rpc_lines){ .fd = fd };
	if (!c->remote)
		return 0;
	return c->token[0] ? check_token(c, e) : log_in(c, e);
}

int
rpc_reconnect(struct rpc_client *c, struct rpc_error *e)
{
	int rc;

	rpc_lines_close(&c->lines);
	rpc_events_drop(&c->events);
	rc = connect_host(c, e);
	if (rc < 0 && c->token[0] && !c->token_given && (rc == -EREMOTEIO || rc == -EACCES)) {
		rpc_lines_close(&c->lines);
		c->token[0] = '\0'; /* the session is over: a new one */
		rc = connect_host(c, e);
	}
	if (rc < 0)
		rpc_lines_close(&c->lines);
	return rc;
}

static const char *
either(const char *given, const char *variable)
{
	const char *env = given ? NULL : getenv(variable);

	return given ? given : env && *env ? env : NULL;
}

static int
copy_option(char *out, size_t size, const char *given, const char *what, struct rpc_error *e)
{
	if (strlen(given) >= size)
		return rpc_fail(e, RPC_LOCAL_FAULT, -ENAMETOOLONG, NULL, "%s is too long", what);
	memcpy(out, given, strlen(given) + 1);
	return 0;
}

static int
set_remote(struct rpc_client *c, const char *host, struct rpc_error *e)
{
	const char *token = either(c->o.token, "FREEHOLD_TOKEN"), *user = either(c->o.user, "USER");
	int rc = rpc_address_parse(&c->at, host, e);

	c->remote = true;
	if (rc == 0 && !c->at.port)
		c->at.port = c->o.port ? c->o.port : RPC_PORT;
	if (rc == 0)
		rc = copy_option(c->user, sizeof(c->user),
		    c->at.user[0] ? c->at.user
		    : user        ? user
				  : "root",
		    "the user's name", e);
	if (rc == 0 && token) {
		rc = copy_option(c->token, sizeof(c->token), token, "the token", e);
		c->token_given = true;
	}
	if (rc == 0 && c->o.known_hosts)
		rc = copy_option(c->known_hosts, sizeof(c->known_hosts), c->o.known_hosts, "known_hosts", e);
	else if (rc == 0 && !rpc_known_hosts_path(c->known_hosts, sizeof(c->known_hosts)))
		rc = rpc_fail(e, RPC_LOCAL_FAULT, -ENOENT, "Set FREEHOLD_KNOWN_HOSTS to a file.",
		    "there is no place to remember certificates");
	return rc;
}

int
rpc_open(struct rpc_client **out, const char *host, const struct rpc_options *o, struct rpc_error *e)
{
	struct rpc_client *c = calloc(1, sizeof(*c));
	const char *path;
	int rc;

	*out = NULL;
	if (!c)
		return rpc_fail(e, RPC_LOCAL_FAULT, -ENOMEM, NULL, "out of memory");
	c->lines.fd = -1;
	if (o)
		c->o = *o;
	c->timeout_ms = c->o.timeout_ms > 0 ? c->o.timeout_ms : CONNECT_MS;
	path = either(c->o.socket_path, "FREEHOLD_SOCKET");
	if (host)
		rc = set_remote(c, host, e);
	else
		rc = copy_option(c->socket_path, sizeof(c->socket_path),
		    path ? path : "/run/freehold/rpc.sock", "the socket's path", e);
	if (rc == 0)
		rc = connect_host(c, e);
	if (rc < 0) {
		rpc_close(c);
		return rc;
	}
	*out = c;
	return 0;
}

void
rpc_close(struct rpc_client *c)
{
	if (!c)
		return;
	rpc_lines_close(&c->lines);
	rpc_events_drop(&c->events);
	explicit_bzero(c->token, sizeof(c->token));
	free(c);
}

const char *
rpc_host(const struct rpc_client *c)
{
	return c->remote ? c->at.host : "localhost";
}

bool
rpc_connected(const struct rpc_client *c)
{
	return c->lines.fd >= 0;
}

int
rpc_fd(const struct rpc_client *c)
{
	return c->lines.fd;
}

/* --- events ------------------------------------------------------------------------------------- */

json_t *
rpc_next_event(struct rpc_client *c, int timeout_ms, struct rpc_error *e)
{
	struct rpc_patience p = patience(c, timeout_ms);
	json_t *event = rpc_events_take(&c->events), *doc;
	const char *text;
	size_t len;

	while (!event && receive(c, &p, &doc, &text, &len, e) == 0) {
		if (is_event(doc))
			event = json_incref(json_object_get(doc, "params"));
		json_decref(doc);
		if (!event && rpc_now_ns() >= p.deadline_ns) {
			lost(c, -ETIMEDOUT, e);
			break;
		}
	}
	return event;
}

/* --- jobs --------------------------------------------------------------------------------------- */

static const char *
text_of(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s ? s : "";
}

static uint64_t
number_of(const json_t *object, const char *name)
{
	const json_t *v = json_object_get(object, name);
	double n = json_number_value(v);

	if (json_is_integer(v))
		return json_integer_value(v) > 0 ? (uint64_t)json_integer_value(v) : 0;
	return n > 0 && n < 1e18 ? (uint64_t)n : 0;
}

static bool
tell_progress(
    const char *job, const json_t *doc, bool (*progress)(void *ctx, const struct rpc_progress *p), void *ctx)
{
	const json_t *inner = json_object_get(doc, "progress");
	const json_t *from = json_is_object(inner) ? inner : doc;
	struct rpc_progress p = {
		.job = job,
		.state = text_of(doc, "state"),
		.phase = text_of(from, "phase"),
		.unit = text_of(from, "unit"),
		.done = number_of(from, "done"),
		.total = number_of(from, "total"),
	};

	return !progress || progress(ctx, &p);
}

static int
job_failed(const char *why, struct rpc_error *e)
{
	json_t *made = json_pack("{s:i, s:s}", "code", 1000, "message", why);
	int rc = rpc_fail_remote(e, made);

	json_decref(made);
	return rc;
}

/* Ended, and how: 1 while it goes on. */
static int
job_outcome(const json_t *doc, json_t **result, struct rpc_error *e)
{
	const char *state = text_of(doc, "state");
	const json_t *error = json_object_get(doc, "error");
	json_t *value = json_object_get(doc, "result");

	if (strcmp(state, "Completed") == 0) {
		if (result)
			*result = value ? json_incref(value) : json_null();
		return 0;
	}
	if (json_is_object(error))
		return rpc_fail_remote(e, error);
	if (strcmp(state, "Terminated") == 0)
		return job_failed("the job was cancelled", e);
	return strcmp(state, "Exception") == 0 ? job_failed("the job failed", e) : 1;
}

/* Between two looks; an interrupt ends it. */
static int
pause_ms(const struct rpc_client *c, int ms)
{
	struct rpc_patience p = patience(c, ms);

	return rpc_wait(-1, 0, &p) == -ECANCELED ? -ECANCELED : 0;
}

int
rpc_job_wait(struct rpc_client *c, const char *job, bool (*progress)(void *ctx, const struct rpc_progress *p),
    void *ctx, json_t **result, struct rpc_error *e)
{
	json_t *answer, *doc;
	int rc = 0;

	if (result)
		*result = NULL;
	for (int ms = JOB_POLL_FIRST_MS; rc == 0; ms = ms * 2 < JOB_POLL_MS ? ms * 2 : JOB_POLL_MS) {
		rc = rpc_call(c, "job.get", json_pack("{s:s}", "job", job), CALL_MS, &answer, e);
		if (rc < 0)
			return rc;
		doc = json_object_get(answer, "job");
		doc = json_is_object(doc) ? doc : answer;
		rc = tell_progress(job, doc, progress, ctx) ? 1 : -ECANCELED;
		if (rc > 0)
			rc = job_outcome(doc, result, e);
		json_decref(answer);
		if (rc <= 0 && rc != -ECANCELED)
			return rc;
		rc = rc > 0 ? pause_ms(c, ms) : rc;
	}
	return rpc_fail(e, RPC_INTERRUPTED, rc, "The job goes on. See job.get and job.cancel.",
	    "no longer waiting for job %s", job);
}

/* --- streams ------------------------------------------------------------------------------------ */

/* One answer line, a byte at a time: what follows it is the stream's. */
static int
read_greeting(const struct rpc_client *c, int fd, struct rpc_error *e)
{
	struct rpc_patience p = patience(c, c->timeout_ms);
	char line[4096];
	size_t n = 0;
	json_t *doc;
	int rc = 0;

	while (rc == 0 && n < sizeof(line)) {
		ssize_t got = recv(fd, line + n, 1, MSG_DONTWAIT);

		if (got == 1 && line[n] == '\n')
			break;
		if (got == 1)
			n++;
		else if (got == 0)
			rc = -ECONNRESET;
		else
			rc = errno == EAGAIN ? rpc_wait(fd, POLLIN, &p) : errno == EINTR ? 0 : -errno;
	}
	doc = rc == 0 ? schema_parse(line, n, NULL) : NULL;
	if (doc && json_object_get(doc, "error"))
		rc = rpc_fail_remote(e, json_object_get(doc, "error"));
	else if (!doc || !json_object_get(doc, "result"))
		rc = rpc_fail(
		    e, RPC_NOT_CONNECTED, rc < 0 ? rc : -EPROTO, again, "the stream could not be opened");
	json_decref(doc);
	return rc;
}

static int
stream_local(const struct rpc_client *c, const char *ticket, struct rpc_error *e)
{
	struct rpc_patience p = patience(c, c->timeout_ms);
	struct rpc_lines l = { .fd = connect_local(c, e) };
	json_t *msg;
	char *text;
	int rc;

	if (l.fd < 0)
		return l.fd;
	msg = json_pack("{s:s}", "stream", ticket);
	text = msg ? json_dumps(msg, JSON_COMPACT) : NULL;
	json_decref(msg);
	rc = text ? rpc_lines_write(&l, &p, text, strlen(text)) : -ENOMEM;
	free(text);
	if (rc == 0)
		rc = rpc_lines_write(&l, &p, "\n", 1);
	rc = rc < 0 ? rpc_fail(e, RPC_NOT_CONNECTED, rc, again, "the stream could not be opened: %s",
			  strerror(-rc))
		    : read_greeting(c, l.fd, e);
	if (rc == 0)
		return l.fd;
	close(l.fd);
	return rc;
}

/* The host has no frames for a stream that it refuses, only a status. */
static int
stream_refused(const struct rpc_client *c, struct rpc_error *e)
{
	char why[160];
	json_t *error;
	int rc;

	snprintf(why, sizeof(why),
	    "%.64s refused the stream: its ticket was used, has expired, or is good no more", c->at.host);
	error = json_pack("{s:i, s:s, s:{s:s, s:s}}", "code", TICKET_INVALID, "message", why, "data",
	    "symbol", "TICKET_INVALID", "hint", "Ask for a new one: each can be used once, within 30 s.");
	rc = rpc_fail_remote(e, error);
	json_decref(error);
	return rc;
}

static int
stream_remote(struct rpc_client *c, const char *ticket, struct rpc_error *e)
{
	char path[256];

	if (ticket[strspn(ticket, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")] ||
	    snprintf(path, sizeof(path), "/stream/%s", ticket) >= (int)sizeof(path))
		return rpc_fail(e, RPC_BAD_ANSWER, -EPROTO, NULL, "the host's ticket is no ticket");
	return connect_remote(c, path, TRANSPORT_BYTES, c->timeout_ms, e);
}

int
rpc_stream_open(struct rpc_client *c, const char *ticket, int *fd, struct rpc_error *e)
{
	int got = c->remote ? stream_remote(c, ticket, e) : stream_local(c, ticket, e);

	*fd = got < 0 ? -1 : got;
	if (got < 0)
		return got;
	if (fcntl(*fd, F_SETFL, 0) < 0) { /* blocking, as people expect of a descriptor */
		int rc = -errno;

		close(*fd);
		*fd = -1;
		return rpc_fail(e, RPC_LOCAL_FAULT, rc, NULL, "fcntl: %s", strerror(-rc));
	}
	return 0;
}
