/*
 * agent/events.c - the ring of events and those who listen.
 */
#include "agent/events.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/tokens.h"

struct event {
	uint64_t seq;
	char type[EVENT_TYPE_SIZE], path[64];
	char *text; /* the whole notification */
	size_t len;
};

struct events {
	pthread_mutex_t lock;
	struct event *ring;
	size_t size, first, used, bytes;
	uint64_t last;
	struct subscriber *subscribers;
};

struct events *
events_new(size_t ring)
{
	struct events *ev = calloc(1, sizeof(*ev));

	if (!ev)
		return NULL;
	ev->size = ring ? ring : EVENTS_RING;
	ev->ring = calloc(ev->size, sizeof(*ev->ring));
	if (!ev->ring) {
		free(ev);
		return NULL;
	}
	pthread_mutex_init(&ev->lock, NULL);
	/* A million a second would have to happen before a later start begins below this one's end. */
	ev->last = (uint64_t)time(NULL) << 20;
	return ev;
}

static void
drop_oldest(struct events *ev)
{
	struct event *old = &ev->ring[ev->first];

	ev->bytes -= old->len;
	free(old->text);
	ev->first = (ev->first + 1) % ev->size;
	ev->used--;
}

void
events_free(struct events *ev)
{
	if (!ev)
		return;
	while (ev->used)
		drop_oldest(ev);
	pthread_mutex_destroy(&ev->lock);
	free(ev->ring);
	free(ev);
}

static bool
wants(struct subscriber *s, const struct event *e)
{
	bool any = s->types == 0;

	for (size_t i = 0; i < s->types && !any; i++) {
		size_t len = strlen(s->type[i]);

		any = strncmp(e->type, s->type[i], len) == 0 &&
		      (e->type[len] == '\0' || s->type[i][len - 1] == '.');
	}
	return any && s->may_see(s, e->path);
}

static void
take_off(struct events *ev, struct subscriber *s)
{
	for (struct subscriber **at = &ev->subscribers; *at; at = &(*at)->next)
		if (*at == s) {
			*at = s->next;
			break;
		}
	s->listed = false;
}

static void
tell_all(struct events *ev, const struct event *e)
{
	struct subscriber *next;

	for (struct subscriber *s = ev->subscribers; s; s = next) {
		next = s->next;
		if (!wants(s, e) || s->tell(s, e->text, e->len))
			continue;
		take_off(ev, s);
		s->gap(s, e->seq);
	}
}

static char *
notification(const struct event *e, json_t *data)
{
	char now[TIME_TEXT_SIZE], *text;
	json_t *doc;

	time_text(time(NULL), now);
	doc = json_pack("{s:s, s:s, s:{s:I, s:s, s:s, s:O}}", "jsonrpc", "2.0", "method", "event", "params",
	    "seq", (json_int_t)e->seq, "type", e->type, "time", now, "data", data);
	text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	json_decref(doc);
	return text;
}

void
events_publish(struct events *ev, const char *type, const char *path, json_t *data)
{
	struct event e = { 0 };

	if (!data)
		data = json_object();
	snprintf(e.type, sizeof(e.type), "%s", type);
	snprintf(e.path, sizeof(e.path), "%s", path);
	pthread_mutex_lock(&ev->lock);
	e.seq = ++ev->last; /* also when memory is out: then there is a gap, and it is seen */
	e.text = notification(&e, data);
	if (e.text) {
		e.len = strlen(e.text);
		while (ev->used == ev->size || (ev->used && ev->bytes + e.len > EVENTS_BYTES))
			drop_oldest(ev);
		ev->ring[(ev->first + ev->used++) % ev->size] = e;
		ev->bytes += e.len;
		tell_all(ev, &e);
	}
	pthread_mutex_unlock(&ev->lock);
	json_decref(data);
}

static bool
replay(struct events *ev, struct subscriber *s, uint64_t since)
{
	for (size_t i = 0; i < ev->used; i++) {
		const struct event *e = &ev->ring[(ev->first + i) % ev->size];

		if (e->seq > since && wants(s, e) && !s->tell(s, e->text, e->len))
			return false;
	}
	return true;
}

/* Whether every event after since is in the ring. */
static bool
is_kept(const struct events *ev, uint64_t since)
{
	uint64_t first = ev->used ? ev->ring[ev->first].seq : ev->last + 1;

	return since <= ev->last && since + 1 >= first;
}

int
events_subscribe(
    struct events *ev, struct subscriber *s, bool has_since, uint64_t since, uint64_t *last, struct fault *f)
{
	bool kept;

	pthread_mutex_lock(&ev->lock);
	take_off(ev, s);
	kept = !has_since || (is_kept(ev, since) && replay(ev, s, since));
	*last = ev->last;
	if (kept) {
		s->next = ev->subscribers;
		ev->subscribers = s;
		s->listed = true;
	}
	pthread_mutex_unlock(&ev->lock);
	return kept ? 0
		    : fault_set(f, FAULT_EVENT_GAP, "since",
			  "Read everything again, then subscribe without since.",
			  "not all events since %llu are kept", (unsigned long long)since);
}

void
events_unsubscribe(struct events *ev, struct subscriber *s)
{
	pthread_mutex_lock(&ev->lock);
	take_off(ev, s);
	pthread_mutex_unlock(&ev->lock);
}

uint64_t
events_last(struct events *ev)
{
	uint64_t last;

	pthread_mutex_lock(&ev->lock);
	last = ev->last;
	pthread_mutex_unlock(&ev->lock);
	return last;
}
