/* lib/transport_local.c - the local socket: who is there, lines, and the line that makes a stream. */
#include "lib/transport_private.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/text.h"

int
local_listen(struct transport *t, struct err *e)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_sys(e, "socket");
	text_copy(sun.sun_path, sizeof(sun.sun_path), t->local_path);
	unlink(t->local_path);
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 || chmod(t->local_path, 0666) < 0 ||
	    listen(fd, 64) < 0) {
		int rc = err_sys(e, "%s", t->local_path);

		close(fd);
		return rc;
	}
	return raw_adopt(t, ROLE_LISTEN_LOCAL, fd) ? 0 : err_set(e, ENOMEM, "out of memory");
}

bool
local_has_room(const struct transport *t, uid_t uid)
{
	size_t own = 0, others = 0;

	for (const struct link *l = t->links; l; l = l->next) {
		own += l->role == ROLE_LOCAL && l->uid == uid;
		others += l->role == ROLE_LOCAL && l->uid != 0;
	}
	if (uid == 0)
		return t->local < LINKS_LOCAL;
	return own < LINKS_LOCAL_USER && others < LINKS_LOCAL - LINKS_LOCAL_ROOT && t->local < LINKS_LOCAL;
}

int
local_adopt(struct transport *t, int fd, struct err *e)
{
	struct ucred peer = { .uid = (uid_t)-1 };
	socklen_t len = sizeof(peer);
	struct link_peer who;
	struct link *l;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || !local_has_room(t, peer.uid)) {
		close(fd);
		return err_set(e, EMFILE, "too many local connections");
	}
	l = raw_adopt(t, ROLE_LOCAL, fd);
	if (!l)
		return err_set(e, ENOMEM, "out of memory");
	l->kind = LINK_LOCAL;
	l->uid = peer.uid;
	l->trusted = true;
	snprintf(l->source, sizeof(l->source), "pid %d", peer.pid);
	link_describe(l, &who, NULL);
	l->user = t->ops->open(t->ctx, l, &who);
	if (!l->user)
		link_close(l);
	return 0;
}

void
local_accept(struct transport *t, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct err e = { 0 };

	if (fd >= 0)
		local_adopt(t, fd, &e);
}

/* {"stream":"TICKET"} and nothing else; *ticket is in doc. */
static json_t *
stream_request(const char *line, size_t len, const char **ticket)
{
	json_t *doc = NULL;

	if (len < 256 && memmem(line, len, "\"stream\"", 8))
		doc = json_loadb(line, len, 0, NULL);
	*ticket = json_string_value(json_object_get(doc, "stream"));
	if (*ticket && json_object_size(doc) == 1)
		return doc;
	json_decref(doc);
	return NULL;
}

static int
local_stream(struct link *l, const char *ticket)
{
	char *yes, *refusal;

	link_end_user(l); /* from now on no message goes to it */
	if (stream_begin(l, ticket, NULL, &refusal) < 0) {
		link_send(l, refusal, refusal ? strlen(refusal) : 0, 0);
		link_close(l);
		return -1;
	}
	yes = strdup("{\"result\":{}}\n"); /* the one line before the bytes */
	link_send(l, yes, yes ? strlen(yes) : 0, 0);
	return 0;
}

/* A whole line of the local socket. */
static void
local_line(struct link *l, const char *line, size_t len)
{
	const char *ticket;
	json_t *doc = l->begun ? NULL : stream_request(line, len, &ticket);

	l->begun = true;
	if (doc)
		local_stream(l, ticket);
	else if (len && l->user)
		l->t->ops->message(l->user, line, len);
	json_decref(doc);
}

/* Every line that is whole; what is left is kept. */
static void
local_lines(struct link *l)
{
	size_t at = 0;
	char *end;

	while (!l->deaf && !link_is_closing(l) && l->kind == LINK_LOCAL &&
	       (end = memchr(l->in + at, '\n', l->in_len - at))) {
		size_t len = (size_t)(end - (l->in + at)), trimmed = len;

		while (trimmed && (l->in[at + trimmed - 1] == '\r' || l->in[at + trimmed - 1] == ' '))
			trimmed--;
		if (len > LINK_MESSAGE_MAX) {
			link_oversized(l);
			return;
		}
		local_line(l, l->in + at, trimmed);
		at += len + 1;
	}
	if (l->kind == LINK_STREAM) { /* what came behind the ticket is the stream's */
		stream_pass_on(l, l->in + at, l->in_len - at, STREAM_IN);
		at = l->in_len;
	}
	l->in_len -= at;
	memmove(l->in, l->in + at, l->in_len);
	if (l->in_len > LINK_MESSAGE_MAX)
		link_oversized(l);
	else if (l->in_len == 0)
		link_drop_input(l);
}

/* It says no more, but may still read answers. */
static int
local_end(struct link *l)
{
	l->deaf = true;
	lws_rx_flow_control(l->wsi, 0);
	l->t->ops->ended(l->user);
	return 0;
}

int
local_readable(struct link *l)
{
	char buf[CHUNK];
	ssize_t n = recv(l->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n == 0 && l->user)
		return local_end(l);
	if (raw_is_gone(n))
		return -1;
	if (n < 0 || l->deaf)
		return 0;
	if (l->kind == LINK_STREAM) {
		stream_pass_on(l, buf, (size_t)n, STREAM_IN);
		return 0;
	}
	if (!link_collect(l, buf, (size_t)n))
		link_oversized(l);
	else if (memchr(buf, '\n', (size_t)n) || l->in_len > LINK_MESSAGE_MAX)
		local_lines(l);
	return 0;
}
