/*
 * lib/control.c - the server half of the control protocol.
 *
 * Runs on one thread, inside the sandbox: after control_new it calls nothing but accept4, recvmsg,
 * sendmsg and close, besides what malloc needs. The peer is a program of ours, but is treated as
 * a stranger.
 */
#include "lib/control.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/control_wire.h"
#include "lib/log.h"

enum { ID_MAX = 64 }; /* bytes of an id that is a string: it goes into the answer */

struct control {
	int listen_fd;
	int fd; /* the controller; -1: nobody is connected */
	const struct method *methods;
	void *ctx;
	void *params, *result; /* room for those of any method */
	struct packet in;
	char out[CONTROL_MAX];
};

static const struct field no_fields[] = { { .type = FIELD_END } };

static const struct field *
table_or_none(const struct field *table)
{
	return table ? table : no_fields;
}

static void
disconnect(struct control *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/*
 * Takes the reference of msg. Returns -EMSGSIZE if it is too long; whatever else goes wrong ends the
 * connection: a peer that cannot be told anything is not worth keeping.
 */
static int
send_message(struct control *c, json_t *msg)
{
	ssize_t n = wire_encode(msg, c->out);
	int rc = n < 0 ? (int)n : 0;

	json_decref(msg);
	if (c->fd < 0 || rc == -EMSGSIZE)
		return rc;
	if (rc == 0)
		rc = wire_send(c->fd, c->out, (size_t)n, NULL, 0);
	if (rc < 0) {
		log_msg(LOG_WARN, "control: controller disconnected: %s", strerror(-rc));
		disconnect(c);
	}
	return 0;
}

static json_t *
error_message(json_t *id, enum rpc_code code, const struct err *e)
{
	return json_pack("{s:s, s:O, s:{s:i, s:s, s:{s:i}}}", "jsonrpc", "2.0", "id", id, "error", "code",
	    (int)code, "message", e->msg, "data", "errno", e->code);
}

/* id NULL: a notification, nobody wants to know. */
static void
answer_error(struct control *c, json_t *id, enum rpc_code code, const struct err *e)
{
	if (id)
		send_message(c, error_message(id, code, e));
}

/* Takes the reference of result, which may be NULL (out of memory). */
static void
answer_result(struct control *c, json_t *id, json_t *result)
{
	json_t *msg = NULL;
	struct err e = { 0 };

	if (!id) {
		json_decref(result);
		return;
	}
	if (result)
		msg = json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", id, "result", result);
	if (send_message(c, msg) == -EMSGSIZE) {
		err_set(&e, EMSGSIZE, "the answer is longer than %d bytes", CONTROL_MAX);
		answer_error(c, id, RPC_FAILED, &e);
	}
}

static const struct method *
find_method(const struct control *c, const char *name)
{
	for (const struct method *m = c->methods; m->name; m++)
		if (strcmp(m->name, name) == 0)
			return m;
	return NULL;
}

/* params NULL: left out, which is the same as an empty object. */
static enum rpc_code
read_params(const struct field *table, json_t *params, struct packet *p, void *out, struct err *e)
{
	struct fd_set_in fds = { .fd = p->fd, .n = p->nfds };
	json_t *doc = params ? json_incref(params) : json_object();
	int rc = schema_read(table, doc, &fds, out, e);

	json_decref(doc);
	return rc < 0 ? RPC_BAD_PARAMS : RPC_OK;
}

static enum rpc_code
call(struct control *c, const struct method *m, json_t *params, json_t **result, struct err *e)
{
	const struct field *table = table_or_none(m->params);
	enum rpc_code code;
	int rc;

	memset(c->params, 0, m->params_size);
	memset(c->result, 0, m->result_size);
	schema_no_fds(table, c->params);
	if (m->defaults)
		m->defaults(c->params);
	code = read_params(table, params, &c->in, c->params, e);
	if (code != RPC_OK)
		return code;
	rc = m->call(c->ctx, c->params, c->result, e);
	if (rc < 0) {
		if (e->code == 0)
			err_wrap(e, rc, "%s", m->name);
		return RPC_FAILED;
	}
	*result = schema_write(table_or_none(m->result), c->result);
	return RPC_OK;
}

static enum rpc_code
describe(struct control *c, json_t *params, json_t **result, struct err *e)
{
	enum rpc_code code = read_params(no_fields, params, &c->in, NULL, e);

	if (code == RPC_OK)
		*result = control_describe(c->methods);
	return code;
}

/* What a request may hold; id and params are checked by type, the rest by who reads it. */
static bool
is_request(json_t *doc, struct err *e)
{
	static const char *const names[] = { "jsonrpc", "id", "method", "params" };
	const char *version = json_string_value(json_object_get(doc, "jsonrpc"));
	size_t known = 0;

	if (!json_is_object(doc)) {
		err_set(e, EPROTO, "a request is one object");
		return false;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		known += json_object_get(doc, names[i]) ? 1 : 0;
	if (known < json_object_size(doc))
		err_set(e, EPROTO, "a request holds jsonrpc, id, method and params only");
	else if (!version || strcmp(version, "2.0") != 0)
		err_set(e, EPROTO, "jsonrpc is not \"2.0\"");
	else if (!json_is_string(json_object_get(doc, "method")))
		err_set(e, EPROTO, "method is not a string");
	else
		return true;
	return false;
}

static bool
is_id(const json_t *id)
{
	return json_is_integer(id) || json_is_null(id) ||
	       (json_is_string(id) && json_string_length(id) <= ID_MAX);
}

static void
serve_request(struct control *c, json_t *doc)
{
	const char *name = json_string_value(json_object_get(doc, "method"));
	json_t *params = json_object_get(doc, "params");
	json_t *id = json_object_get(doc, "id");
	const struct method *m = find_method(c, name);
	enum rpc_code code = RPC_NO_SUCH_METHOD;
	struct err e = { 0 };
	json_t *result = NULL;

	if (m)
		code = call(c, m, params, &result, &e);
	else if (strcmp(name, "methods") == 0)
		code = describe(c, params, &result, &e);
	else
		err_set(&e, ENOSYS, "no method named '%.64s'", name);
	if (code == RPC_OK)
		answer_result(c, id, result);
	else
		answer_error(c, id, code, &e);
}

static void
serve_document(struct control *c, json_t *doc)
{
	json_t *id = json_object_get(doc, "id");
	struct err e = { 0 };

	if (id && !is_id(id)) {
		err_set(&e, EPROTO, "id is not a whole number or a string of %d bytes at most", ID_MAX);
		answer_error(c, json_null(), RPC_NOT_A_REQUEST, &e);
	} else if (!is_request(doc, &e)) {
		answer_error(c, id ? id : json_null(), RPC_NOT_A_REQUEST, &e);
	} else {
		serve_request(c, doc);
	}
}

static void
serve_packet(struct control *c)
{
	struct err e = { 0 };
	json_t *doc;

	if (c->in.cut_short || c->in.fds_lost) {
		err_set(&e, EMSGSIZE, "longer than %d bytes, or more than %d descriptors", CONTROL_MAX,
		    CONTROL_MAX_FDS);
		answer_error(c, json_null(), RPC_NOT_A_REQUEST, &e);
		return;
	}
	doc = schema_parse(c->in.text, c->in.len, &e);
	if (doc)
		serve_document(c, doc);
	else
		answer_error(c, json_null(), RPC_NOT_JSON, &e);
	json_decref(doc);
}

static void
accept_controller(struct control *c)
{
	c->fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (c->fd < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
		log_msg(LOG_ERROR, "control: accept: %s", strerror(errno));
}

void
control_handle(struct control *c)
{
	ssize_t n;

	if (c->fd < 0) {
		accept_controller(c);
		return;
	}
	n = wire_recv(c->fd, &c->in);
	if (n > 0)
		serve_packet(c);
	else if (n != -EAGAIN)
		disconnect(c);
	wire_close_fds(&c->in); /* what no handler took */
}

void
control_event(struct control *c, const char *name, json_t *params)
{
	json_t *msg;

	if (c->fd < 0) {
		json_decref(params);
		return;
	}
	if (!params)
		params = json_object();
	msg = json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", name, "params", params);
	if (send_message(c, msg) == -EMSGSIZE)
		log_msg(LOG_ERROR, "control: event %s is too long", name);
}

int
control_poll_fd(const struct control *c)
{
	return c->fd >= 0 ? c->fd : c->listen_fd;
}

/* Handlers' params and results are made once: a request then cannot fail for want of them. */
static int
make_room(struct control *c)
{
	size_t params = 1, result = 1;

	for (const struct method *m = c->methods; m->name; m++) {
		assert(m->call);
		params = m->params_size > params ? m->params_size : params;
		result = m->result_size > result ? m->result_size : result;
	}
	c->params = calloc(1, params);
	c->result = calloc(1, result);
	return c->params && c->result ? 0 : -ENOMEM;
}

/* jansson would look for its hash seed in /dev at the first object, where a sandbox has none. */
static void
seed_hashes(void)
{
	unsigned seed = 0;

	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		seed = (unsigned)getpid();
	json_object_seed(seed | 1); /* 0 would ask jansson to look for one */
}

static int
set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

int
control_new(struct control **out, int listen_fd, const struct method *methods, void *ctx, struct err *e)
{
	struct control *c = calloc(1, sizeof(*c));
	int rc = 0;

	*out = NULL;
	if (!c) {
		close(listen_fd);
		return err_set(e, ENOMEM, "control: out of memory");
	}
	c->listen_fd = listen_fd;
	c->fd = -1;
	c->methods = methods;
	c->ctx = ctx;
	if (set_nonblocking(listen_fd) < 0)
		rc = err_sys(e, "control: listener");
	else if (make_room(c) < 0)
		rc = err_set(e, ENOMEM, "control: out of memory");
	if (rc < 0) {
		control_free(c);
		return rc;
	}
	seed_hashes();
	*out = c;
	return 0;
}

void
control_free(struct control *c)
{
	if (!c)
		return;
	disconnect(c);
	close(c->listen_fd);
	free(c->params);
	free(c->result);
	free(c);
}

json_t *
control_describe(const struct method *methods)
{
	json_t *list = json_array();

	for (const struct method *m = methods; list && m->name; m++) {
		json_t *row = json_pack("{s:s, s:s, s:o, s:o}", "name", m->name, "help", m->help, "params",
		    schema_describe(table_or_none(m->params)), "result",
		    schema_describe(table_or_none(m->result)));

		if (json_array_append_new(list, row) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}
