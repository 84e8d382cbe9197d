/*
 * agent/events.h - what happened, numbered, for those who listen: a ring for replay, and a list of
 * subscribers that are told at once.
 *
 * Numbers go up by one; after a restart of the agent they go on above all earlier ones, so that a number
 * from before is always told to be a gap. The ring is bounded in events and bytes. Any thread.
 */
#ifndef AGENT_EVENTS_H
#define AGENT_EVENTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/fault.h"

enum { EVENTS_RING = 2048, EVENTS_BYTES = 1024 * 1024, EVENT_TYPES_MAX = 16, EVENT_TYPE_SIZE = 33 };

/* Whom to tell. A subscriber is embedded in a connection, which takes it off before it goes. */
struct subscriber {
	struct subscriber *next;
	/* What is wanted: "vm.state", or "vm." for all that begin so; none: everything. Set by
	 * events_subscribe. */
	char type[EVENT_TYPES_MAX][EVENT_TYPE_SIZE];
	size_t types;
	bool listed;
	/* Called under the lock of events: must not block or publish. text is a whole notification. False
	 * when there is no room: the subscriber is taken off and told about a gap. */
	bool (*tell)(struct subscriber *s, const char *text, size_t len);
	bool (*may_see)(struct subscriber *s, const char *path);
	void (*gap)(struct subscriber *s, uint64_t seq);
};

struct events;
struct events *events_new(size_t ring);
void events_free(struct events *ev);
/* path: whose it is, "/vm/GUID" or "/". Takes the reference of data. */
void events_publish(struct events *ev, const char *type, const char *path, json_t *data);
/*
 * Begins to tell s, after what came after `since` if has_since. Returns 0 and the number of the last event
 * that there was; FAULT_EVENT_GAP when not everything since then is kept.
 */
int events_subscribe(
    struct events *ev, struct subscriber *s, bool has_since, uint64_t since, uint64_t *last, struct fault *f);
/* After that nothing is told any more. Idempotent. */
void events_unsubscribe(struct events *ev, struct subscriber *s);
uint64_t events_last(struct events *ev);

#endif
