/*
 * lib/control_client.c - the client half of the control protocol.
 *
 * The server may be a worker that its guest has taken over: what it sends is bounded, in number, in
 * bytes and in time, and its sentences are cleaned by err_set.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lib/control.h"
#include "lib/control_wire.h"

enum { EVENTS_MAX = 256, EVENTS_BYTES = 1024 * 1024 };

/* Events are kept as text: 128 KiB of brackets would be megabytes as a document. */
struct event {
	char *text;
	size_t len;
};

struct control_client {
	int fd;
	json_int_t last_id;
	struct event event[EVENTS_MAX]; /* a ring */
	size_t first, n, bytes;
	char out[CONTROL_MAX];
	struct packet in;
};

static int64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static int64_t
deadline_after(int timeout_ms)
{
	return timeout_ms < 0 ? INT64_MAX : now_ns() + timeout_ms * INT64_C(1000000);
}

/* Waits until the socket is ready: 0, or -ETIMEDOUT. */
static int
wait_for(const struct control_client *c, short what, int64_t deadline)
{
	struct pollfd p = { .fd = c->fd, .events = what };
	int n;

	do {
		int64_t left = deadline - now_ns();
		struct timespec ts = { 0 };

		if (left > 0)
			ts = (struct timespec){ .tv_sec = left / 1000000000, .tv_nsec = left % 1000000000 };
		n = ppoll(&p, 1, deadline == INT64_MAX ? NULL : &ts, NULL);
	} while (n < 0 && errno == EINTR);
	return n > 0 ? 0 : n == 0 ? -ETIMEDOUT : -errno;
}

static int
failed(struct err *e, int rc)
{
	if (rc == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "no answer in time");
	if (rc == -ECONNRESET || rc == -EPIPE)
		return err_set(e, ECONNRESET, "the connection was closed");
	return err_set(e, -rc, "%s", strerror(-rc));
}

static int
send_request(struct control_client *c, size_t len, const int *fds, size_t nfds, int64_t deadline)
{
	int rc;

	while ((rc = wire_send(c->fd, c->out, len, fds, nfds)) == -EAGAIN)
		if ((rc = wait_for(c, POLLOUT, deadline)) < 0)
			break;
	return rc;
}

/* Receives one packet into c->in and reads it. Descriptors are not expected here and closed. */
static int
receive(struct control_client *c, int64_t deadline, json_t **doc, struct err *e)
{
	struct err why = { 0 };
	ssize_t n;
	int rc;

	while ((n = wire_recv(c->fd, &c->in)) == -EAGAIN)
		if ((rc = wait_for(c, POLLIN, deadline)) < 0)
			return failed(e, rc);
	wire_close_fds(&c->in);
	if (n <= 0)
		return failed(e, n ? (int)n : -ECONNRESET);
	*doc = c->in.cut_short ? NULL : schema_parse(c->in.text, c->in.len, &why);
	if (!*doc)
		return err_set(e, EPROTO, "the answer is not JSON: %s", why.code ? why.msg : "cut short");
	return 0;
}

static bool
is_event(const json_t *doc)
{
	return json_is_string(json_object_get(doc, "method")) && !json_object_get(doc, "id");
}

static struct event
take_event(struct control_client *c)
{
	struct event ev = c->event[c->first];

	c->first = (c->first + 1) % EVENTS_MAX;
	c->n--;
	c->bytes -= ev.len;
	return ev;
}

static void
keep_event(struct control_client *c)
{
	char *copy = malloc(c->in.len);

	if (!copy)
		return;
	while (c->n > 0 && (c->n == EVENTS_MAX || c->bytes + c->in.len > EVENTS_BYTES))
		free(take_event(c).text);
	memcpy(copy, c->in.text, c->in.len);
	c->event[(c->first + c->n) % EVENTS_MAX] = (struct event){ .text = copy, .len = c->in.len };
	c->n++;
	c->bytes += c->in.len;
}

/* Whether doc answers request id. A server that could not read the id sends null. */
static bool
answers(const json_t *doc, json_int_t id)
{
	const json_t *got = json_object_get(doc, "id");

	return json_is_integer(got) ? json_integer_value(got) == id : json_is_null(got);
}

static int
read_answer(const json_t *doc, json_t **result, struct err *e)
{
	const json_t *error = json_object_get(doc, "error");
	json_int_t code = json_integer_value(json_object_get(json_object_get(error, "data"), "errno"));
	const char *msg = json_string_value(json_object_get(error, "message"));
	json_t *value = json_object_get(doc, "result");

	if (error)
		return err_set(
		    e, code > 0 && code < 4096 ? (int)code : EPROTO, "%s", msg ? msg : "no reason");
	if (!value)
		return err_set(e, EPROTO, "neither result nor error in the answer");
	if (result)
		*result = json_incref(value);
	return 0;
}

/* Until the answer to request id is there; what comes before it is kept if it is an event. */
static int
wait_answer(struct control_client *c, json_int_t id, int64_t deadline, json_t **result, struct err *e)
{
	json_t *doc;
	int rc;

	for (;;) {
		rc = receive(c, deadline, &doc, e);
		if (rc < 0)
			return rc;
		if (is_event(doc))
			keep_event(c);
		else if (answers(doc, id))
			break; /* else late, to a request that we gave up */
		json_decref(doc);
		if (now_ns() >= deadline) /* a stream of events must not hold us */
			return failed(e, -ETIMEDOUT);
	}
	rc = read_answer(doc, result, e);
	json_decref(doc);
	return rc;
}

int
control_call(struct control_client *c, const char *method, json_t *params, const int *fds, size_t nfds,
    int timeout_ms, json_t **result, struct err *e)
{
	int64_t deadline = deadline_after(timeout_ms);
	json_int_t id = ++c->last_id;
	json_t *msg = json_pack(
	    "{s:s, s:I, s:s, s:o*}", "jsonrpc", "2.0", "id", id, "method", method, "params", params);
	ssize_t len = wire_encode(msg, c->out);
	int rc = len < 0 ? (int)len : 0;

	if (result)
		*result = NULL;
	json_decref(msg);
	if (rc == 0)
		rc = send_request(c, (size_t)len, fds, nfds, deadline);
	if (rc < 0)
		return err_wrap(e, failed(e, rc), "%s", method);
	return wait_answer(c, id, deadline, result, e);
}

static json_t *
wait_event(struct control_client *c, int64_t deadline, struct err *e)
{
	json_t *doc = NULL;

	while (receive(c, deadline, &doc, e) == 0) {
		if (is_event(doc))
			return doc;
		json_decref(doc); /* late, to a request that we gave up */
		if (now_ns() >= deadline) {
			failed(e, -ETIMEDOUT);
			break;
		}
	}
	return NULL;
}

json_t *
control_next_event(struct control_client *c, int timeout_ms, struct err *e)
{
	json_t *doc = NULL;

	while (c->n > 0 && !doc) {
		struct event ev = take_event(c);

		doc = schema_parse(ev.text, ev.len, NULL);
		free(ev.text);
	}
	if (!doc)
		doc = wait_event(c, deadline_after(timeout_ms), e);
	if (doc)
		json_object_del(doc, "jsonrpc");
	return doc;
}

int
control_attach(struct control_client **out, int fd, struct err *e)
{
	*out = calloc(1, sizeof(**out));
	if (!*out) {
		close(fd);
		return err_set(e, ENOMEM, "out of memory");
	}
	(*out)->fd = fd;
	return 0;
}

int
control_connect(struct control_client **out, const char *path, struct err *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	*out = NULL;
	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(e, ENAMETOOLONG, "%s: longer than a socket's name can be", path);
	memcpy(addr.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, "socket");
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		int rc = err_sys(e, "%s", path);

		close(fd);
		return rc;
	}
	return control_attach(out, fd, e);
}

void
control_close(struct control_client *c)
{
	if (!c)
		return;
	while (c->n > 0)
		free(take_event(c).text);
	close(c->fd);
	free(c);
}

int
control_client_fd(const struct control_client *c)
{
	return c->fd;
}
