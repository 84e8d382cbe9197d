/* lib/transport_link.c - connections: their list, their queues of messages to write, and what they have said
 * so far. */
#include "lib/transport_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	OVERHEAD = 128, /* what a queued message takes beside its text */
	CLOSE_SECONDS = 5,
};

struct link *
link_new(struct transport *t, enum link_role role, int fd)
{
	struct link *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->t = t;
	l->role = role;
	l->fd = fd;
	l->last = &l->first;
	l->next = t->links;
	if (l->next)
		l->next->prev = l;
	t->links = l;
	t->network += role == ROLE_NETWORK;
	t->local += role == ROLE_LOCAL;
	return l;
}

static struct out *
pop(struct link *l)
{
	struct out *o = l->first;

	l->first = o->next;
	if (!l->first)
		l->last = &l->first;
	return o;
}

static void
free_out(struct out *o)
{
	free(o->text);
	free(o);
}

void
link_drop_input(struct link *l)
{
	l->t->bytes -= l->in_size;
	free(l->in);
	l->in = NULL;
	l->in_len = l->in_size = 0;
}

void
link_end_user(struct link *l)
{
	void *user = l->user;

	l->user = NULL;
	if (user)
		l->t->ops->closed(user);
}

static void
take_off_dirty(struct link *l)
{
	for (struct link **at = &l->t->dirty; *at; at = &(*at)->next_dirty)
		if (*at == l) {
			*at = l->next_dirty;
			return;
		}
}

void
link_free(struct link *l)
{
	struct transport *t = l->t;

	link_end_user(l);
	if (l->is_stream && t->ops->stream_closed)
		t->ops->stream_closed(t->ctx, l);
	pthread_mutex_lock(&t->lock);
	if (l->dirty)
		take_off_dirty(l);
	while (l->first)
		free_out(pop(l));
	pthread_mutex_unlock(&t->lock);
	link_drop_input(l);
	if (l->next)
		l->next->prev = l->prev;
	if (l->prev)
		l->prev->next = l->next;
	else
		t->links = l->next;
	t->network -= l->role == ROLE_NETWORK;
	t->local -= l->role == ROLE_LOCAL;
	if (t->listener == l)
		t->listener = NULL;
	if (l->peer) { /* the other end of a stream goes when its queue is empty */
		l->peer->peer = NULL;
		link_close(l->peer);
	}
	free(l);
}

/* Under the lock. True when the loop has to be woken. */
static bool
mark_dirty(struct link *l)
{
	bool first = l->t->dirty == NULL;

	if (l->dirty)
		return false;
	l->dirty = true;
	l->next_dirty = l->t->dirty;
	l->t->dirty = l;
	return first;
}

void
link_send(struct link *l, char *text, size_t len, int status)
{
	struct transport *t = l->t;
	struct out *o = malloc(sizeof(*o));
	bool wake;

	if (text && l->kind == LINK_LOCAL)
		text[len++] = '\n'; /* in the place of the NUL */
	pthread_mutex_lock(&t->lock);
	if (!o || !text || l->overrun || l->queued + len + OVERHEAD > LINK_QUEUE_MAX) {
		l->overrun = true; /* an answer that is lost must not go unnoticed */
		free(text);
		free(o);
	} else {
		*o = (struct out){ .text = text, .len = len, .status = status };
		*l->last = o;
		l->last = &o->next;
		l->queued += len + OVERHEAD;
	}
	wake = mark_dirty(l);
	pthread_mutex_unlock(&t->lock);
	if (wake)
		lws_cancel_service(t->context);
}

bool
link_room(struct link *l, size_t len)
{
	bool room;

	pthread_mutex_lock(&l->t->lock);
	room = l->queued + len <= LINK_EVENTS_MAX;
	pthread_mutex_unlock(&l->t->lock);
	return room;
}

void
link_close(struct link *l)
{
	bool wake;

	pthread_mutex_lock(&l->t->lock);
	l->closing = true;
	wake = mark_dirty(l);
	pthread_mutex_unlock(&l->t->lock);
	if (wake)
		lws_cancel_service(l->t->context);
}

bool
link_is_closing(struct link *l)
{
	bool closing;

	pthread_mutex_lock(&l->t->lock);
	closing = l->closing;
	pthread_mutex_unlock(&l->t->lock);
	return closing;
}

void
link_trust(struct link *l)
{
	l->trusted = true;
}

void
link_describe(struct link *l, struct link_peer *peer, const char *authorization)
{
	*peer =
	    (struct link_peer){ .kind = l->kind, .uid = l->uid, .authorization = authorization, .link = l };
	snprintf(peer->source, sizeof(peer->source), "%s", l->source);
}

void
link_kill_soon(struct link *l)
{
	lws_set_timeout(l->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}

void
link_arm_slow(struct link *l)
{
	l->slow_armed = true;
	lws_set_timeout(l->wsi, PENDING_TIMEOUT_USER_OK, l->closing ? CLOSE_SECONDS : LINK_SLOW_SECONDS);
}

void
link_disarm_slow(struct link *l)
{
	if (l->slow_armed)
		lws_set_timeout(l->wsi, NO_PENDING_TIMEOUT, 0);
	l->slow_armed = false;
}

/* On the loop's thread: what other threads have put into queues. */
void
links_serve(struct transport *t)
{
	struct link *l;

	pthread_mutex_lock(&t->lock);
	while ((l = t->dirty)) {
		bool nothing;

		t->dirty = l->next_dirty;
		l->dirty = false;
		nothing = l->overrun || (l->closing && !l->first);
		pthread_mutex_unlock(&t->lock);
		if (l->closing)
			l->deaf = true;
		if (l->wsi && nothing && (l->kind != LINK_HTTP || l->overrun)) {
			link_kill_soon(l);
		} else if (l->wsi) {
			if (!l->slow_armed || l->closing)
				link_arm_slow(l);
			lws_callback_on_writable(l->wsi);
		}
		pthread_mutex_lock(&t->lock);
	}
	pthread_mutex_unlock(&t->lock);
}

struct out *
link_first(struct link *l)
{
	struct out *o;

	pthread_mutex_lock(&l->t->lock);
	o = l->overrun ? NULL : l->first;
	pthread_mutex_unlock(&l->t->lock);
	return o;
}

void
link_wrote(struct link *l, size_t n)
{
	struct out *o, *gone = NULL;

	pthread_mutex_lock(&l->t->lock);
	o = l->first;
	o->sent += n;
	l->queued -= n;
	if (o->sent == o->len) {
		l->queued -= OVERHEAD;
		gone = pop(l);
	}
	pthread_mutex_unlock(&l->t->lock);
	if (gone)
		free_out(gone);
}

/* libwebsockets forgets what a raw file asks for while it is being told that it may write: it asks later. */
static void
write_again(struct link *l)
{
	if (l->role == ROLE_NETWORK) {
		lws_callback_on_writable(l->wsi);
		return;
	}
	pthread_mutex_lock(&l->t->lock);
	mark_dirty(l); /* the loop looks at those after every turn */
	pthread_mutex_unlock(&l->t->lock);
}

/* After a write: 0 to go on, -1 to close. */
int
link_after_write(struct link *l)
{
	bool more, closing, overrun;

	pthread_mutex_lock(&l->t->lock);
	more = l->first != NULL;
	closing = l->closing;
	overrun = l->overrun;
	pthread_mutex_unlock(&l->t->lock);
	if (overrun || (closing && !more))
		return -1;
	if (more) {
		link_arm_slow(l);
		write_again(l);
	} else {
		link_disarm_slow(l);
	}
	return 0;
}

static bool
grow(struct link *l, size_t more)
{
	size_t need = l->in_len + more, size = l->in_size ? l->in_size : 1024;
	char *in;

	if (need <= l->in_size)
		return true;
	while (size < need)
		size *= 2;
	if (need > LINK_MESSAGE_MAX + CHUNK || l->t->bytes - l->in_size + size > LINKS_BYTES)
		return false;
	in = realloc(l->in, size);
	if (!in)
		return false;
	l->t->bytes += size - l->in_size;
	l->in = in;
	l->in_size = size;
	return true;
}

bool
link_collect(struct link *l, const char *data, size_t len)
{
	if (!grow(l, len + 1)) /* an empty frame has a place, too */
		return false;
	memcpy(l->in + l->in_len, data, len);
	l->in_len += len;
	return true;
}

void
link_hear(struct link *l)
{
	if (l->user && !l->deaf)
		l->t->ops->message(l->user, l->in, l->in_len);
	link_drop_input(l);
}

void
link_oversized(struct link *l)
{
	link_drop_input(l);
	l->deaf = true;
	if (l->user)
		l->t->ops->oversized(l->user);
	else
		link_close(l);
}
