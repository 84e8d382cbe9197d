/* lib/transport_stream.c - a connection made a stream of bytes: a ticket, its descriptor, and the bytes
 * between both ends. */
#include "lib/transport_private.h"

#include <stdlib.h>
#include <unistd.h>

void
stream_pass_on(struct link *from, const char *data, size_t len, size_t high)
{
	struct link *to = from->peer;
	char *copy;
	size_t queued;

	if (!to || !len || link_is_closing(to)) /* one that is cut gets what is queued, and no more */
		return;
	copy = malloc(len);
	if (copy)
		memcpy(copy, data, len);
	link_send(to, copy, len, 0);
	pthread_mutex_lock(&to->t->lock);
	queued = to->queued;
	pthread_mutex_unlock(&to->t->lock);
	if (queued > high && !from->held) {
		from->held = true;
		lws_rx_flow_control(from->wsi, 0);
	}
}

void
stream_release(struct link *l, size_t low)
{
	size_t queued;

	pthread_mutex_lock(&l->t->lock);
	queued = l->queued;
	pthread_mutex_unlock(&l->t->lock);
	if (l->peer && l->peer->held && queued <= low) {
		l->peer->held = false;
		lws_rx_flow_control(l->peer->wsi, 1);
	}
}

int
stream_begin(struct link *l, const char *ticket, const char *authorization, char **refusal)
{
	struct link_peer peer;
	struct link *end;
	int fd;

	*refusal = NULL;
	link_describe(l, &peer, authorization);
	fd = l->t->ops->stream(l->t->ctx, ticket, &peer, refusal);
	if (fd < 0)
		return -1;
	l->is_stream = true;
	end = raw_adopt(l->t, ROLE_STREAM_END, fd);
	if (!end)
		return -1;
	end->kind = l->kind = LINK_STREAM;
	end->peer = l;
	l->peer = end;
	l->trusted = true;
	return 0;
}

int
stream_end_readable(struct link *l)
{
	char buf[CHUNK];
	ssize_t n = read(l->fd, buf, sizeof(buf));

	if (raw_is_gone(n))
		return -1; /* link_free ends the other side once its queue is empty */
	if (n > 0)
		stream_pass_on(l, buf, (size_t)n, STREAM_HIGH);
	return 0;
}
