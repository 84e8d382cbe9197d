/*
 * agent/client.h - one client on one connection: JSON-RPC messages in, answers and events out, whatever the
 * carrier.
 *
 * A carrier hands in whole messages on its own thread and never waits; calls run on the pool, and their
 * answers go back through the carrier's ops, on any thread. At most CLIENT_CALLS are in flight (four
 * before log-in). What is no JSON gets one error, and the connection is closed. Each call, and each event, is
 * judged by what the client may do then; a connection whose log-in has gone (its user, token, session or
 * password) is closed, except by session.logout.
 */
#ifndef AGENT_CLIENT_H
#define AGENT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "agent/identity.h"

enum { CLIENT_CALLS = 64, CLIENT_STRANGER_CALLS = 4, CLIENT_WAITS = 16, CLIENT_AUTHORIZATION = 512 };

/* What a carrier can do with a connection; thread-safe, never blocks, never calls back. */
struct client_ops {
	/* Takes text (from malloc). status is HTTP's, for carriers that have one. */
	void (*send)(void *link, char *text, size_t len, int status);
	/* Whether an event of len bytes has room beside what is queued already. */
	bool (*room)(void *link, size_t len);
	/* Ends the connection when what is queued has gone, or has not gone in a few seconds. */
	void (*close)(void *link);
	/* It has logged in: it is not ended as a stranger. */
	void (*trust)(void *link);
	bool streams; /* events may be sent: not on HTTP, where an answer ends it */
	bool batches;
};

struct client;
/* authorization: the header, checked when the first call comes; NULL if there is none. NULL when memory is
 * out. */
struct client *client_new(struct agent *a, const struct client_ops *ops, void *link,
    const struct identity *who, const char *authorization);
/* A message has come; text is only borrowed. On the carrier's thread. */
void client_message(struct client *c, const char *text, size_t len);
/* One that was too long to be taken. */
void client_oversized(struct client *c);
/* Nothing more will come, but answers are still read. */
void client_ended(struct client *c);
/* The connection has gone: link is not touched after this returns. Calls go on; the client is freed when
 * the last has ended. */
void client_gone(struct client *c);

/* For handlers. */
void client_identity(struct client *c, struct identity *who);
void client_set_identity(struct client *c, const struct identity *who);
/* Events, after `since` if has_since. types: those wanted, none for all. */
int client_subscribe(
    struct client *c, const json_t *types, bool has_since, uint64_t since, uint64_t *last, struct fault *f);
bool client_unsubscribe(struct client *c);

#endif
