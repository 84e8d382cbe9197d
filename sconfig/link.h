/*
 * sconfig/link.h - the menu's line to the agent: calls, events, and coming back after the agent went.
 *
 * Above it nobody knows whether the agent is here, on another host, or a fake in a test. A call that
 * finds the connection gone connects again and asks once more; changes carry a requestId, with which
 * the agent does not do them twice. One thread.
 */
#ifndef SCONFIG_LINK_H
#define SCONFIG_LINK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/rpc_client.h"

/* What carries the calls: link_rpc.h, or a test's own. As lib/rpc_client.h says, by function. */
struct link_ops {
	int (*open)(void *ctx, struct rpc_error *e); /* for the first time or again */
	int (*call)(void *ctx, const char *method, json_t *params, int timeout_ms, json_t **result,
	    struct rpc_error *e);
	json_t *(*next_event)(void *ctx); /* one that has come already, or NULL */
	bool (*connected)(void *ctx);
};

enum {
	LINK_TIMEOUT_MS = 15000,  /* of a call */
	LINK_RETRY_MS = 1000,     /* between attempts to connect, */
	LINK_RETRY_FAR_MS = 4000, /* and to a remote host, where one may take long */
};

struct link {
	const struct link_ops *ops;
	void *ctx;
	char host[128];          /* "" for the local agent: as words say it */
	bool up;                 /* as far as is known */
	uint64_t tried_ms;       /* when connecting last failed or succeeded, monotonic */
	char user[64], role[32]; /* of this session; "" when not known */
};

/* Connects. On failure the link is usable all the same: it goes on trying. */
int link_open(struct link *l, const struct link_ops *ops, void *ctx, const char *host, struct rpc_error *e);
/*
 * As rpc_call. When nobody answers, the sentence in *e is for the user as it is. wait_ms: how long to
 * try to connect again if the connection breaks.
 */
int link_call(struct link *l, const char *method, json_t *params, json_t **result, struct rpc_error *e);
/* A changing call: adds "_" with a new requestId and, if not 0, ifMatch; confirm for a destructive one. */
struct link_change {
	bool dry_run, confirm;
	json_int_t if_match;
};
int link_change(struct link *l, const char *method, json_t *params, struct link_change how, json_t **result,
    struct rpc_error *e);
/* An event (new reference), or NULL: there is none now, or the connection broke. */
json_t *link_event(struct link *l);
/* Now and then: notices that the agent has gone, connects again. True: it has just come back. */
bool link_tick(struct link *l, uint64_t now_ms);

/* The sentence of an error and what the host advises, in one line. */
void link_error_text(const struct rpc_error *e, char *out, size_t size);
uint64_t link_now_ms(void);

#endif
