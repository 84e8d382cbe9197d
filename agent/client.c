/*
 * agent/client.c - messages of a client: requests and batches in, each to its lane, answers out.
 */
#include "agent/client.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "agent/audit.h"
#include "agent/dispatch.h"
#include "agent/events.h"
#include "agent/login.h"
#include "agent/pool.h"
#include "agent/watch.h"
#include "lib/err.h"
#include "lib/text.h"

enum {
	HTTP_OK = 200,
	HTTP_NO_CONTENT = 204,
	HTTP_BAD = 400,
	HTTP_UNAUTHORIZED = 401,
	HTTP_TOO_LARGE = 413,
	HTTP_TOO_MANY = 429,
	HTTP_BUSY = 503
};

struct client {
	struct agent *agent;
	const struct client_ops *ops;
	atomic_uint refs;
	pthread_mutex_t lock;       /* what follows; may be taken under the lock of events */
	pthread_mutex_t login_lock; /* one thread looks at the header, others wait for it */
	void *link;                 /* NULL: gone */
	struct identity who;
	char authorization[CLIENT_AUTHORIZATION]; /* not looked at yet; "" when it has been */
	unsigned calls, waits;
	bool ended; /* it sends no more: close after the last answer */
	struct subscriber subscriber;
	struct watched watched;
};

/* A message on its way: a request, or a batch of them. */
struct message {
	struct task task;
	struct client *client;
	json_t *doc;
	enum lane lane;
	unsigned count;
};

/* Who is asking, as of now. One who is nobody any more, having lost the log-in, is let go as soon as its
 * calls are answered. With c->lock. */
static void
renew(struct client *c)
{
	bool was = c->who.user[0] != '\0';

	login_renew(c->agent, &c->who);
	if (!was || c->who.user[0])
		return;
	c->ended = true;
	if (c->calls == 0 && c->link)
		c->ops->close(c->link);
}

static bool
look(struct watched *w)
{
	struct client *c = (struct client *)(void *)((char *)w - offsetof(struct client, watched));
	bool can_lose;

	pthread_mutex_lock(&c->lock);
	renew(c);
	can_lose = login_can_lose(&c->who);
	pthread_mutex_unlock(&c->lock);
	return can_lose;
}

struct client *
client_new(struct agent *a, const struct client_ops *ops, void *link, const struct identity *who,
    const char *authorization)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->agent = a;
	c->ops = ops;
	c->refs = 1;
	c->link = link;
	c->who = *who;
	if (authorization && strlen(authorization) < sizeof(c->authorization))
		text_copy(c->authorization, sizeof(c->authorization), authorization);
	else if (authorization)
		text_copy(c->authorization, sizeof(c->authorization), "too long");
	pthread_mutex_init(&c->lock, NULL);
	pthread_mutex_init(&c->login_lock, NULL);
	c->watched.look = look;
	if (!ops->streams) /* over with its answer */
		return c;
	watch_add(a->watch, &c->watched);
	if (login_can_lose(who))
		agent_rights_given(a);
	return c;
}

static void
put(struct client *c)
{
	if (--c->refs)
		return;
	events_unsubscribe(c->agent->events, &c->subscriber); /* a call may have subscribed after the end */
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->login_lock);
	explicit_bzero(c->authorization, sizeof(c->authorization));
	free(c);
}

void
client_gone(struct client *c)
{
	watch_drop(c->agent->watch, &c->watched);
	events_unsubscribe(c->agent->events, &c->subscriber);
	pthread_mutex_lock(&c->lock);
	c->link = NULL;
	pthread_mutex_unlock(&c->lock);
	put(c);
}

void
client_identity(struct client *c, struct identity *who)
{
	pthread_mutex_lock(&c->lock);
	*who = c->who;
	pthread_mutex_unlock(&c->lock);
}

void
client_set_identity(struct client *c, const struct identity *who)
{
	pthread_mutex_lock(&c->lock);
	c->who = *who;
	if (who->user[0] && c->link)
		c->ops->trust(c->link);
	pthread_mutex_unlock(&c->lock);
	agent_rights_given(c->agent);
}

static void
send_text(struct client *c, char *text, size_t len, int status)
{
	pthread_mutex_lock(&c->lock);
	if (c->link)
		c->ops->send(c->link, text, len, status);
	else
		free(text);
	pthread_mutex_unlock(&c->lock);
}

static void
close_link(struct client *c)
{
	pthread_mutex_lock(&c->lock);
	if (c->link)
		c->ops->close(c->link);
	pthread_mutex_unlock(&c->lock);
}

/* An answer of its own: what the call gave, with version and id. Takes answer. */
static json_t *
envelope(json_t *id, json_t *answer)
{
	json_t *doc = json_pack("{s:s, s:O}", "jsonrpc", "2.0", "id", id);

	if (doc && answer)
		json_object_update(doc, answer);
	json_decref(answer);
	return doc;
}

static json_t *
fault_answer(json_t *id, const struct fault *f)
{
	json_t *error = fault_to_json(f), *answer = envelope(id ? id : json_null(), NULL);

	json_object_set_new(answer, "error", error);
	return answer;
}

/* Sends and frees an answer; one that is too long is replaced. */
static void
send_answer(struct client *c, json_t *answer, int status)
{
	char *text = json_dumps(answer, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0;
	struct fault f = { 0 };
	json_t *shorter;

	if (len > SCHEMA_TEXT_MAX) {
		fault_set(&f, FAULT_TOO_LARGE, NULL, "Ask for less: by name, or with a limit.",
		    "the answer would be %zu bytes long, more than %d", len, SCHEMA_TEXT_MAX);
		shorter = fault_answer(json_object_get(answer, "id"), &f);
		free(text);
		text = json_dumps(shorter, JSON_COMPACT);
		len = text ? strlen(text) : 0;
		json_decref(shorter);
	}
	json_decref(answer);
	if (text)
		send_text(c, text, len, status);
	else
		close_link(c); /* out of memory: better no answer than a wrong one */
}

static int
http_status(enum fault_code code)
{
	switch (code) {
	case FAULT_NOT_JSON:
	case FAULT_NOT_A_REQUEST:
		return HTTP_BAD;
	case FAULT_NOT_LOGGED_IN:
	case FAULT_LOGIN_FAILED:
		return HTTP_UNAUTHORIZED;
	case FAULT_TOO_LARGE:
		return HTTP_TOO_LARGE;
	case FAULT_LOCKED_OUT:
		return HTTP_TOO_MANY;
	case FAULT_TOO_BUSY:
	case FAULT_STOPPING:
		return HTTP_BUSY;
	default:
		return HTTP_OK;
	}
}

static void
refuse(struct client *c, json_t *id, const struct fault *f)
{
	send_answer(c, fault_answer(id, f), http_status(f->code));
}

/* A log-in by header that failed stands in the audit as one by session.login would. */
static void
audit_refusal(struct client *c, const struct identity *who, const char *header, const struct fault *f)
{
	char user[USER_SIZE];
	json_t *params = login_header_user(header, user) ? json_pack("{s:s}", "user", user) : json_object();
	const struct audit_entry entry = { .who = who,
		.method = "session.login",
		.row = dispatch_find("session.login"),
		.params = params,
		.fault = f };

	audit_write(c->agent->audit, &entry);
	json_decref(params);
}

/* Looks at the header, once. Negative with *f when it is no good: then the connection ends, too. */
static int
log_in(struct client *c, struct fault *f)
{
	struct identity who;
	char header[CLIENT_AUTHORIZATION];
	int rc = 0;

	pthread_mutex_lock(&c->login_lock);
	pthread_mutex_lock(&c->lock);
	text_copy(header, sizeof(header), c->authorization);
	who = c->who;
	pthread_mutex_unlock(&c->lock);
	if (header[0]) {
		rc = login_header(c->agent, header, &who, f);
		if (rc < 0)
			audit_refusal(c, &who, header, f);
		explicit_bzero(header, sizeof(header));
		pthread_mutex_lock(&c->lock);
		if (rc == 0) {
			c->who = who;
			if (c->link)
				c->ops->trust(c->link);
			explicit_bzero(c->authorization, sizeof(c->authorization));
		}
		pthread_mutex_unlock(&c->lock);
		agent_rights_given(c->agent);
	}
	pthread_mutex_unlock(&c->login_lock);
	return rc;
}

static const char *
why_no_request(const json_t *doc)
{
	const json_t *id = json_object_get(doc, "id");
	const char *version = json_string_value(json_object_get(doc, "jsonrpc"));

	if (!json_is_object(doc))
		return "a request is an object";
	if (!version || strcmp(version, "2.0") != 0)
		return "\"jsonrpc\" is not \"2.0\"";
	if (!json_is_string(json_object_get(doc, "method")))
		return "\"method\" is not a string";
	if (id && !json_is_string(id) && !json_is_integer(id) && !json_is_null(id))
		return "\"id\" is neither a string, a whole number nor null";
	return NULL;
}

static int
check_request(const json_t *doc, struct fault *f)
{
	const char *why = why_no_request(doc);

	if (!why)
		return 0;
	return fault_set(f, FAULT_NOT_A_REQUEST, NULL,
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rpc.discover\"}", "not a JSON-RPC 2.0 request: %s",
	    why);
}

/* One request: its answer, or NULL when it has no id. */
static json_t *
carry_out(struct client *c, const json_t *doc, enum fault_code *code)
{
	json_t *id = json_object_get(doc, "id"), *answer;
	struct identity *who = malloc(sizeof(*who)); /* too large for many on a stack */
	struct fault f = { 0 };

	if (!who || check_request(doc, &f) < 0) {
		free(who);
		*code = f.code;
		return fault_answer(json_is_object(doc) ? id : NULL, &f);
	}
	pthread_mutex_lock(&c->lock);
	renew(c);
	*who = c->who;
	pthread_mutex_unlock(&c->lock);
	answer = dispatch_call(c->agent, c, who, json_string_value(json_object_get(doc, "method")),
	    json_object_get(doc, "params"), code);
	free(who);
	if (id)
		return envelope(id, answer);
	json_decref(answer);
	return NULL;
}

static void
run_batch(struct client *c, const json_t *list)
{
	json_t *answers = json_array(), *doc;
	enum fault_code code;
	size_t i;

	json_array_foreach(list, i, doc)
	{
		json_t *answer = carry_out(c, doc, &code);

		if (answer)
			json_array_append_new(answers, answer);
	}
	if (json_array_size(answers)) {
		send_answer(c, answers, HTTP_OK);
	} else {
		json_decref(answers);
		send_text(c, calloc(1, 1), 0, HTTP_NO_CONTENT);
	}
}

static void
run_single(struct client *c, const json_t *doc)
{
	enum fault_code code = FAULT_NONE;
	json_t *answer = carry_out(c, doc, &code);

	if (answer)
		send_answer(c, answer, http_status(code));
	else if (!c->ops->streams)
		send_text(c, calloc(1, 1), 0, HTTP_NO_CONTENT);
}

static void too_busy(struct client *c, json_t *id);
static enum lane lane_of(struct client *c, const json_t *doc);

/* The password is right: what follows must not keep others from having theirs checked. 1: it goes on
 * elsewhere, and m is not ours any more; 0: it goes on here; negative: there is no room, and the client has
 * been told. */
static int
change_lane(struct client *c, struct message *m)
{
	enum lane lane = lane_of(c, m->doc);
	bool room;

	if (m->lane != LANE_LOGIN || lane == LANE_LOGIN)
		return 0;
	pthread_mutex_lock(&c->lock);
	room = lane != LANE_WAIT || c->waits < CLIENT_WAITS;
	if (room) {
		c->waits += lane == LANE_WAIT;
		m->lane = lane;
	}
	pthread_mutex_unlock(&c->lock);
	if (room && pool_submit(c->agent->pool, lane, &m->task))
		return 1;
	too_busy(c, json_object_get(m->doc, "id"));
	return -1;
}

static void
run_message(struct task *t)
{
	struct message *m = (struct message *)(void *)t;
	struct client *c = m->client;
	struct fault f = { 0 };
	int rc = log_in(c, &f);

	if (rc < 0) {
		refuse(c, json_object_get(m->doc, "id"), &f);
		close_link(c);
	} else {
		rc = change_lane(c, m);
	}
	if (rc > 0)
		return;
	if (rc == 0 && json_is_array(m->doc))
		run_batch(c, m->doc);
	else if (rc == 0)
		run_single(c, m->doc);
	pthread_mutex_lock(&c->lock);
	c->calls -= m->count;
	c->waits -= m->lane == LANE_WAIT;
	if (c->ended && c->calls == 0 && c->link)
		c->ops->close(c->link);
	pthread_mutex_unlock(&c->lock);
	json_decref(m->doc);
	free(m);
	put(c);
}

static unsigned
flags_of(const json_t *doc)
{
	const char *name = json_string_value(json_object_get(doc, "method"));
	const struct rpc_method *m = name ? dispatch_find(name) : NULL;

	return m ? m->flags : 0;
}

/* The lane of a message: that of the slowest call in it. */
static enum lane
lane_of(struct client *c, const json_t *doc)
{
	enum lane lane = LANE_NORMAL;
	size_t i;
	json_t *one;

	pthread_mutex_lock(&c->lock);
	if (strncasecmp(c->authorization, "Basic", 5) == 0)
		lane = LANE_LOGIN; /* before the call there is a password to check */
	pthread_mutex_unlock(&c->lock);
	if (lane == LANE_LOGIN)
		return lane;
	if (flags_of(doc) & METHOD_WAITS)
		return LANE_WAIT;
	if (flags_of(doc) & METHOD_LOGIN)
		return LANE_LOGIN;
	if (flags_of(doc) & METHOD_PRIORITY)
		return LANE_PRIORITY;
	json_array_foreach(doc, i, one) if (flags_of(one) & (METHOD_WAITS | METHOD_LOGIN)) lane = LANE_WAIT;
	return lane;
}

/* Counts a message's calls as in flight; false when that would be too many. */
static bool
count_calls(struct client *c, const struct message *m)
{
	unsigned most;
	bool ok;

	pthread_mutex_lock(&c->lock);
	most = c->who.user[0] || c->authorization[0] ? CLIENT_CALLS : CLIENT_STRANGER_CALLS;
	ok = c->calls + m->count <= most && (m->lane != LANE_WAIT || c->waits < CLIENT_WAITS);
	if (ok) {
		c->calls += m->count;
		c->waits += m->lane == LANE_WAIT;
	}
	pthread_mutex_unlock(&c->lock);
	return ok;
}

static void
too_busy(struct client *c, json_t *id)
{
	struct fault f = { 0 };

	fault_set(&f, FAULT_TOO_BUSY, NULL, "Wait for answers, then send it again.",
	    "more calls are in flight than may be: %d on a connection, %d of them waiting", CLIENT_CALLS,
	    CLIENT_WAITS);
	refuse(c, id, &f);
}

/* Takes doc. */
static void
submit(struct client *c, json_t *doc, unsigned count)
{
	struct message *m = calloc(1, sizeof(*m));

	if (m) {
		*m = (struct message){
			.task = { .run = run_message }, .client = c, .doc = doc, .count = count
		};
		m->lane = lane_of(c, doc);
	}
	if (!m || !count_calls(c, m)) {
		too_busy(c, json_object_get(doc, "id"));
		json_decref(doc);
		free(m);
		return;
	}
	c->refs++;
	if (pool_submit(c->agent->pool, m->lane, &m->task))
		return;
	pthread_mutex_lock(&c->lock);
	c->calls -= m->count;
	c->waits -= m->lane == LANE_WAIT;
	pthread_mutex_unlock(&c->lock);
	too_busy(c, json_object_get(doc, "id"));
	json_decref(doc);
	free(m);
	put(c);
}

static int
check_batch(struct client *c, const json_t *doc, struct fault *f)
{
	size_t n = json_array_size(doc);

	if (!c->ops->batches)
		return fault_set(f, FAULT_WRONG_CARRIER, NULL,
		    "Send the requests one by one, without waiting.", "batches are taken by POST only");
	if (n == 0 || n > CLIENT_CALLS)
		return fault_set(f, FAULT_NOT_A_REQUEST, NULL, NULL,
		    "a batch of %zu requests: not between 1 and %d", n, CLIENT_CALLS);
	return 0;
}

void
client_message(struct client *c, const char *text, size_t len)
{
	struct fault f = { 0 };
	struct err e = { 0 };
	json_t *doc = schema_parse(text, len, &e);
	int rc;

	if (!doc) {
		fault_set(&f, FAULT_NOT_JSON, NULL, NULL, "not a JSON-RPC message: %s", e.msg);
		refuse(c, NULL, &f);
		close_link(c);
		return;
	}
	rc = json_is_array(doc) ? check_batch(c, doc, &f) : check_request(doc, &f);
	if (rc == 0) {
		submit(c, doc, json_is_array(doc) ? (unsigned)json_array_size(doc) : 1);
		return;
	}
	refuse(c, json_object_get(doc, "id"), &f);
	json_decref(doc);
}

void
client_oversized(struct client *c)
{
	struct fault f = { 0 };

	fault_set(&f, FAULT_TOO_LARGE, NULL, NULL, "the message is longer than %d bytes", SCHEMA_TEXT_MAX);
	refuse(c, NULL, &f);
	close_link(c);
}

void
client_ended(struct client *c)
{
	pthread_mutex_lock(&c->lock);
	c->ended = true;
	if (c->calls == 0 && c->link)
		c->ops->close(c->link);
	pthread_mutex_unlock(&c->lock);
}

static struct client *
of_subscriber(struct subscriber *s)
{
	return (struct client *)(void *)((char *)s - offsetof(struct client, subscriber));
}

static bool
tell(struct subscriber *s, const char *text, size_t len)
{
	struct client *c = of_subscriber(s);
	bool room;
	char *copy;

	pthread_mutex_lock(&c->lock);
	room = !c->link || c->ops->room(c->link, len);
	if (room && c->link && (copy = strndup(text, len)))
		c->ops->send(c->link, copy, len, HTTP_OK);
	pthread_mutex_unlock(&c->lock);
	return room;
}

static bool
may_see(struct subscriber *s, const char *path)
{
	struct client *c = of_subscriber(s);
	bool may;

	pthread_mutex_lock(&c->lock);
	renew(c); /* it may have lost the right since it subscribed */
	may = identity_role(&c->who, path) >= ROLE_VIEWER;
	pthread_mutex_unlock(&c->lock);
	return may;
}

static void
gap(struct subscriber *s, uint64_t seq)
{
	struct client *c = of_subscriber(s);
	json_t *doc = json_pack("{s:s, s:s, s:{s:I, s:s}}", "jsonrpc", "2.0", "method", "gap", "params",
	    "seq", (json_int_t)seq, "message",
	    "you read too slowly: events were lost, and the connection is closed");
	char *text = json_dumps(doc, JSON_COMPACT);

	json_decref(doc);
	if (text)
		send_text(c, text, strlen(text), HTTP_OK);
	close_link(c);
}

/* Under nobody's lock: the subscriber is off the list while it is filled in. */
static void
fill_types(struct subscriber *s, const json_t *types)
{
	size_t i;
	json_t *t;

	s->types = 0;
	json_array_foreach(types, i, t) if (s->types < EVENT_TYPES_MAX)
	    snprintf(s->type[s->types++], EVENT_TYPE_SIZE, "%s", json_string_value(t));
}

int
client_subscribe(
    struct client *c, const json_t *types, bool has_since, uint64_t since, uint64_t *last, struct fault *f)
{
	int rc;

	if (!c || !c->ops->streams)
		return fault_set(f, FAULT_WRONG_CARRIER, NULL, "Use the WebSocket wss://HOST:PORT/rpc/v1.",
		    "events cannot be told over POST");
	pthread_mutex_lock(&c->login_lock); /* one subscription at a time */
	events_unsubscribe(c->agent->events, &c->subscriber);
	c->subscriber.tell = tell;
	c->subscriber.may_see = may_see;
	c->subscriber.gap = gap;
	fill_types(&c->subscriber, types);
	rc = events_subscribe(c->agent->events, &c->subscriber, has_since, since, last, f);
	pthread_mutex_unlock(&c->login_lock);
	return rc;
}

bool
client_unsubscribe(struct client *c)
{
	bool was = c && c->subscriber.listed;

	if (c)
		events_unsubscribe(c->agent->events, &c->subscriber);
	return was;
}
