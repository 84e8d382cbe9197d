/*
 * lib/rpc_client_line.c - newline-delimited messages on a stream socket, with a deadline and with
 * somebody who may lose patience.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/rpc_client_private.h"

enum { FIRST_SIZE = 4096, KEEP_SIZE = 64 * 1024, SLICE_MS = 100 };

int64_t
rpc_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

struct rpc_patience
rpc_patience_of(int timeout_ms, bool (*interrupted)(void *ctx), void *ctx)
{
	return (struct rpc_patience){
		.deadline_ns = timeout_ms < 0 ? INT64_MAX : rpc_now_ns() + timeout_ms * INT64_C(1000000),
		.interrupted = interrupted,
		.ctx = ctx,
	};
}

/* What poll may wait now, in ms: all, or a slice when somebody wants to be asked in between. */
static int
slice(const struct rpc_patience *p)
{
	int64_t left = p->deadline_ns == INT64_MAX ? INT64_MAX : p->deadline_ns - rpc_now_ns();
	int64_t ms = left == INT64_MAX ? INT64_MAX : (left + 999999) / 1000000;

	if (ms <= 0)
		return 0;
	if (p->interrupted && ms > SLICE_MS)
		return SLICE_MS;
	return ms > 3600000 ? 3600000 : (int)ms;
}

int
rpc_wait(int fd, short what, const struct rpc_patience *p)
{
	struct pollfd pfd = { .fd = fd, .events = what };
	int n;

	for (;;) {
		n = poll(&pfd, 1, slice(p));
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (p->interrupted && p->interrupted(p->ctx))
			return -ECANCELED;
		if (p->deadline_ns != INT64_MAX && rpc_now_ns() >= p->deadline_ns)
			return -ETIMEDOUT;
	}
}

/* Room for at least one more byte. What was read is given up first, so that the buffer does not wander. */
static int
make_room(struct rpc_lines *l)
{
	size_t size;
	char *buf;

	if (l->start > 0) {
		memmove(l->buf, l->buf + l->start, l->end - l->start);
		l->end -= l->start;
		l->seen -= l->start;
		l->start = 0;
	}
	if (l->end < l->size)
		return 0;
	if (l->end > RPC_MESSAGE_MAX)
		return -EMSGSIZE;
	size = l->size ? l->size * 2 : FIRST_SIZE;
	if (size > RPC_MESSAGE_MAX + 1)
		size = RPC_MESSAGE_MAX + 1;
	if (size == l->size)
		return -EMSGSIZE;
	buf = realloc(l->buf, size);
	if (!buf)
		return -ENOMEM;
	l->buf = buf;
	l->size = size;
	return 0;
}

/* After a large message the memory is given back. */
static void
shrink(struct rpc_lines *l)
{
	if (l->start != l->end)
		return;
	l->start = l->end = l->seen = 0;
	if (l->size <= KEEP_SIZE)
		return;
	free(l->buf);
	l->buf = NULL;
	l->size = 0;
}

static int
receive(struct rpc_lines *l, const struct rpc_patience *p)
{
	ssize_t n;
	int rc = make_room(l);

	while (rc == 0) {
		n = recv(l->fd, l->buf + l->end, l->size - l->end, MSG_DONTWAIT);
		if (n > 0) {
			l->end += (size_t)n;
			return 0;
		}
		if (n == 0)
			return -ECONNRESET;
		if (errno == EAGAIN)
			rc = rpc_wait(l->fd, POLLIN, p);
		else if (errno != EINTR)
			rc = -errno;
	}
	return rc;
}

int
rpc_lines_read(struct rpc_lines *l, const struct rpc_patience *p, const char **text, size_t *len)
{
	char *nl;
	int rc;

	if (l->fd < 0)
		return -ECONNRESET;
	shrink(l);
	while (!(nl = l->end > l->seen ? memchr(l->buf + l->seen, '\n', l->end - l->seen) : NULL)) {
		l->seen = l->end;
		rc = receive(l, p);
		if (rc < 0)
			return rc;
	}
	*text = l->buf + l->start;
	*len = (size_t)(nl - *text);
	l->start = l->seen = (size_t)(nl - l->buf) + 1;
	return 0;
}

int
rpc_lines_write(struct rpc_lines *l, const struct rpc_patience *p, const char *text, size_t len)
{
	size_t sent = 0;
	ssize_t n;
	int rc = 0;

	if (l->fd < 0)
		return -ECONNRESET;
	while (sent < len && rc == 0) {
		n = send(l->fd, text + sent, len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0)
			sent += (size_t)n;
		else if (errno == EAGAIN)
			rc = rpc_wait(l->fd, POLLOUT, p);
		else if (errno != EINTR)
			rc = -errno;
	}
	return rc < 0 && sent > 0 ? -EPIPE : rc;
}

void
rpc_lines_close(struct rpc_lines *l)
{
	if (l->fd >= 0)
		close(l->fd);
	free(l->buf);
	*l = (struct rpc_lines){ .fd = -1 };
}
