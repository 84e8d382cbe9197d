/*
 * sconfig/link.c - the menu's line to the agent.
 */
#include "sconfig/link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { BACK_WITHIN_MS = 3000, POLL_MS = 100 };

uint64_t
link_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Whether the connection, not the call, is what failed. */
static bool
lost(const struct link *l, const struct rpc_error *e)
{
	return e->code == RPC_NOT_CONNECTED || e->code == RPC_BAD_ANSWER || !l->ops->connected(l->ctx);
}

/* Who we are, and that we want to hear of changes; neither is needed to go on. */
static void
greet(struct link *l)
{
	json_t *session = NULL;
	const char *user = NULL, *role = NULL;

	l->user[0] = l->role[0] = '\0';
	if (l->ops->call(l->ctx, "session.get", json_object(), LINK_TIMEOUT_MS, &session, NULL) == 0 &&
	    json_unpack(session, "{s?s, s?s}", "user", &user, "role", &role) == 0) {
		snprintf(l->user, sizeof(l->user), "%s", user ? user : "");
		snprintf(l->role, sizeof(l->role), "%s", role ? role : "");
	}
	json_decref(session);
	l->ops->call(l->ctx, "event.subscribe", json_object(), LINK_TIMEOUT_MS, NULL, NULL);
}

static int
connect_again(struct link *l, struct rpc_error *e)
{
	int rc;

	rc = l->ops->open(l->ctx, e);
	l->tried_ms = link_now_ms();
	l->up = rc == 0;
	if (l->up)
		greet(l);
	return rc;
}

int
link_open(struct link *l, const struct link_ops *ops, void *ctx, const char *host, struct rpc_error *e)
{
	*l = (struct link){ .ops = ops, .ctx = ctx };
	snprintf(l->host, sizeof(l->host), "%s", host ? host : "");
	return connect_again(l, e);
}

/* Until the agent is back, but not for long: the user waits. */
static int
wait_for_agent(struct link *l, struct rpc_error *e)
{
	uint64_t until = link_now_ms() + BACK_WITHIN_MS;

	while (connect_again(l, e) < 0) {
		struct timespec pause = { .tv_nsec = POLL_MS * 1000000 };

		if (link_now_ms() >= until)
			return -ECONNRESET;
		nanosleep(&pause, NULL);
	}
	return 0;
}

static int
say_lost(struct link *l, struct rpc_error *e)
{
	l->up = false;
	*e = (struct rpc_error){ .code = RPC_NOT_CONNECTED };
	snprintf(e->symbol, sizeof(e->symbol), "NOT_CONNECTED");
	if (l->host[0])
		snprintf(e->message, sizeof(e->message),
		    "%s does not answer; the menu keeps trying to reach it.", l->host);
	else
		snprintf(e->message, sizeof(e->message),
		    "The agent does not answer; machines keep running, and the menu keeps trying to reach "
		    "it.");
	return -ECONNRESET;
}

int
link_call(struct link *l, const char *method, json_t *params, json_t **result, struct rpc_error *e)
{
	struct rpc_error mine;
	int rc = -ECONNRESET;

	if (!e)
		e = &mine;
	*e = (struct rpc_error){ 0 };
	if (result)
		*result = NULL;
	if (!params)
		params = json_object();
	if (!l->ops->connected(l->ctx) && connect_again(l, e) < 0) {
		json_decref(params);
		return say_lost(l, e);
	}
	for (int attempt = 0; attempt < 2; attempt++) {
		rc = l->ops->call(l->ctx, method, json_incref(params), LINK_TIMEOUT_MS, result, e);
		if (rc == 0 || !lost(l, e) || attempt == 1 || wait_for_agent(l, e) < 0)
			break;
	}
	json_decref(params);
	l->up = rc == 0 || !lost(l, e);
	return l->up ? rc : say_lost(l, e);
}

static void
request_id(char out[33])
{
	unsigned char bytes[16];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		memcpy(bytes, &(uint64_t){ link_now_ms() }, sizeof(uint64_t));
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

int
link_change(struct link *l, const char *method, json_t *params, struct link_change how, json_t **result,
    struct rpc_error *e)
{
	json_t *meta = json_object();
	char id[33];

	if (!params)
		params = json_object();
	request_id(id);
	if (how.dry_run)
		json_object_set_new(meta, "dryRun", json_true());
	else
		json_object_set_new(meta, "requestId", json_string(id));
	if (how.confirm)
		json_object_set_new(meta, "confirm", json_true());
	if (how.if_match)
		json_object_set_new(meta, "ifMatch", json_integer(how.if_match));
	json_object_set_new(params, "_", meta);
	return link_call(l, method, params, result, e);
}

json_t *
link_event(struct link *l)
{
	json_t *event = l->up ? l->ops->next_event(l->ctx) : NULL;

	if (l->up && !l->ops->connected(l->ctx))
		l->up = false;
	return event;
}

bool
link_tick(struct link *l, uint64_t now_ms)
{
	struct rpc_error e;

	if (l->up && !l->ops->connected(l->ctx))
		l->up = false;
	if (l->up || now_ms - l->tried_ms < (l->host[0] ? LINK_RETRY_FAR_MS : LINK_RETRY_MS))
		return false;
	return connect_again(l, &e) == 0;
}

void
link_error_text(const struct rpc_error *e, char *out, size_t size)
{
	const char *message = e->message[0] ? e->message : "The host refused without a reason.";
	bool ended = strchr(".!?", message[strlen(message) - 1]) != NULL;

	snprintf(out, size, "%s%s%s%s", message, ended ? "" : ".", e->hint[0] ? " " : "", e->hint);
}
