/*
 * lib/transport_server.c - the carriers on libwebsockets.
 *
 * Everything that belongs to libwebsockets happens on the loop's thread. Other threads put messages into a
 * link's queue under the transport's one lock, put the link on a list, and wake the loop. Foreign descriptors
 * (listeners, local connections, the other ends of streams) are "raw files" of the same loop.
 *
 * A link lives as long as its wsi, whose opaque pointer it is; for HTTP, `user` lives for one request.
 */
#include "lib/transport_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libwebsockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/text.h"

enum {
	CHUNK = 16 * 1024,
	OVERHEAD = 128,           /* what a queued message takes beside its text */
	STREAM_HIGH = 256 * 1024, /* towards a link: then the stream is not read */
	STREAM_LOW = 64 * 1024,
	STREAM_IN = 64 * 1024, /* towards the stream: then the link is not read */
	CLOSE_SECONDS = 5,
	ANSWER_SECONDS = 3600, /* a request may take long */
	FDS = 1024,
	HEADER_MAX = 512,
	TICKET_MAX = 64,
};

/* What a wsi is to us. */
enum role { ROLE_LISTEN_LOCAL, ROLE_LISTEN_NETWORK, ROLE_LOCAL, ROLE_NETWORK, ROLE_STREAM_END };

struct out {
	struct out *next;
	char *text;
	size_t len, sent;
	int status;
};

struct link {
	enum role role;
	enum link_kind kind;
	struct transport *t;
	struct lws *wsi;
	struct link *next, *prev; /* all of them */
	struct link *next_dirty;
	int fd; /* of raw files */
	void *user;
	char source[64];
	uid_t uid;

	char *in; /* an unfinished message */
	size_t in_len, in_size;

	/* Under the lock of the transport. */
	struct out *first, **last;
	size_t queued;
	bool dirty, closing, overrun;

	bool head_sent; /* HTTP: the header of the answer */
	bool hang_up;   /* HTTP: after the answer */
	bool deaf;      /* nothing is read any more */
	bool whole;     /* HTTP: the request is */
	bool begun;     /* local: a first line was read */
	bool slow_armed;
	atomic_bool trusted;
	struct link *peer; /* of a stream: its other end, both ways */
	bool secure;       /* TLS is a must */
	bool held;         /* not read until the peer's queue is short again */
};

struct transport {
	struct lws_context *context;
	struct lws_vhost *plain, *secure;
	const struct transport_ops *ops;
	void *ctx;
	char local_path[108];
	pthread_t thread;
	bool has_thread;
	struct link *links, *listener; /* listener: of the network */
	size_t network, local, bytes;

	pthread_mutex_t lock;
	pthread_cond_t done;
	struct link *dirty;
	bool stop;
	/* What transport_listen has asked for. */
	bool asked, ask_on;
	uint16_t ask_port, actual_port;
	struct err ask_err;
	int ask_rc;
};

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);

static const struct lws_protocols protocols[] = {
	{ "freehold", callback, 0, CHUNK, 0, NULL, 0 },
	{ NULL, NULL, 0, 0, 0, NULL, 0 },
};

/* Peers that have gone without a word are found out. */
static const lws_retry_bo_t idle_policy = { .secs_since_valid_ping = 120, .secs_since_valid_hangup = 180 };

/* --- links and their queues --- */

static struct link *
link_new(struct transport *t, enum role role, int fd)
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

static void
drop_input(struct link *l)
{
	l->t->bytes -= l->in_size;
	free(l->in);
	l->in = NULL;
	l->in_len = l->in_size = 0;
}

/* The user hears of it once; after that nobody else touches the link. */
static void
end_user(struct link *l)
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

static void
link_free(struct link *l)
{
	struct transport *t = l->t;

	end_user(l);
	pthread_mutex_lock(&t->lock);
	if (l->dirty)
		take_off_dirty(l);
	while (l->first)
		free_out(pop(l));
	pthread_mutex_unlock(&t->lock);
	drop_input(l);
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

void
link_trust(struct link *l)
{
	l->trusted = true;
}

static void
kill_soon(struct link *l)
{
	lws_set_timeout(l->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
}

/* The peer has so long to take another byte. */
static void
arm_slow(struct link *l)
{
	l->slow_armed = true;
	lws_set_timeout(l->wsi, PENDING_TIMEOUT_USER_OK, l->closing ? CLOSE_SECONDS : LINK_SLOW_SECONDS);
}

static void
disarm_slow(struct link *l)
{
	if (l->slow_armed)
		lws_set_timeout(l->wsi, NO_PENDING_TIMEOUT, 0);
	l->slow_armed = false;
}

/* On the loop's thread: what other threads have put into queues. */
static void
serve_dirty(struct transport *t)
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
			kill_soon(l);
		} else if (l->wsi) {
			if (!l->slow_armed || l->closing)
				arm_slow(l);
			lws_callback_on_writable(l->wsi);
		}
		pthread_mutex_lock(&t->lock);
	}
	pthread_mutex_unlock(&t->lock);
}

/* The message to write next, or NULL; it stays where it is. */
static struct out *
head(struct link *l)
{
	struct out *o;

	pthread_mutex_lock(&l->t->lock);
	o = l->overrun ? NULL : l->first;
	pthread_mutex_unlock(&l->t->lock);
	return o;
}

/* n more bytes of the first message have gone; when it is whole it is freed. */
static void
wrote(struct link *l, size_t n)
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
static int
after_write(struct link *l)
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
		arm_slow(l);
		write_again(l);
	} else {
		disarm_slow(l);
	}
	return 0;
}

/* --- what comes in --- */

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

static bool
collect(struct link *l, const char *data, size_t len)
{
	if (!grow(l, len + 1)) /* an empty frame has a place, too */
		return false;
	memcpy(l->in + l->in_len, data, len);
	l->in_len += len;
	return true;
}

static void
hear_message(struct link *l)
{
	if (l->user && !l->deaf)
		l->t->ops->message(l->user, l->in, l->in_len);
	drop_input(l);
}

static void
hear_oversized(struct link *l)
{
	drop_input(l);
	l->deaf = true;
	if (l->user)
		l->t->ops->oversized(l->user);
	else
		link_close(l);
}

/* --- streams --- */

/* From one end to the other; the reader is held while too much waits. */
static void
pass_on(struct link *from, const char *data, size_t len, size_t high)
{
	struct link *to = from->peer;
	char *copy;
	size_t queued;

	if (!to || !len)
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

/* After something was written to l: its peer may go on. */
static void
release_peer(struct link *l, size_t low)
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

static struct link *
adopt_file(struct transport *t, enum role role, int fd)
{
	lws_sock_file_fd_type u;
	struct link *l = link_new(t, role, fd);

	if (!l) {
		close(fd);
		return NULL;
	}
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	u.filefd = fd;
	l->wsi = lws_adopt_descriptor_vhost(t->plain, LWS_ADOPT_RAW_FILE_DESC, u, protocols[0].name, NULL);
	if (!l->wsi) {
		l->fd = -1;
		close(fd);
		link_free(l);
		return NULL;
	}
	lws_set_opaque_user_data(l->wsi, l);
	return l;
}

static void
fill_peer(const struct link *l, struct link_peer *peer, const char *authorization)
{
	*peer = (struct link_peer){ .kind = l->kind, .uid = l->uid, .authorization = authorization };
	snprintf(peer->source, sizeof(peer->source), "%s", l->source);
}

/* Makes l a stream: 0, or -1 with the refusal queued. */
static int
become_stream(struct link *l, const char *ticket, const char *authorization)
{
	struct link_peer peer;
	char *refusal = NULL;
	struct link *end;
	int fd;

	fill_peer(l, &peer, authorization);
	fd = l->t->ops->stream(l->t->ctx, ticket, &peer, &refusal);
	if (fd < 0) {
		link_send(l, refusal, refusal ? strlen(refusal) : 0, 0);
		link_close(l);
		return -1;
	}
	end = adopt_file(l->t, ROLE_STREAM_END, fd);
	if (!end) {
		link_close(l);
		return -1;
	}
	end->kind = l->kind = LINK_STREAM;
	end->peer = l;
	l->peer = end;
	l->trusted = true;
	return 0;
}

/* --- raw files: the local socket, and the far ends of streams --- */

static bool
is_gone(ssize_t n)
{
	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
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
	char *yes;

	end_user(l); /* from now on no message goes to it */
	if (become_stream(l, ticket, NULL) < 0)
		return -1;
	yes = strdup("{\"result\":{}}\n"); /* the one line before the bytes */
	link_send(l, yes, yes ? strlen(yes) : 0, 0);
	return 0;
}

static bool
is_closing(struct link *l)
{
	bool closing;

	pthread_mutex_lock(&l->t->lock);
	closing = l->closing;
	pthread_mutex_unlock(&l->t->lock);
	return closing;
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

	while (!l->deaf && !is_closing(l) && l->kind == LINK_LOCAL &&
	       (end = memchr(l->in + at, '\n', l->in_len - at))) {
		size_t len = (size_t)(end - (l->in + at)), trimmed = len;

		while (trimmed && (l->in[at + trimmed - 1] == '\r' || l->in[at + trimmed - 1] == ' '))
			trimmed--;
		if (len > LINK_MESSAGE_MAX) {
			hear_oversized(l);
			return;
		}
		local_line(l, l->in + at, trimmed);
		at += len + 1;
	}
	if (l->kind == LINK_STREAM) { /* what came behind the ticket is the stream's */
		pass_on(l, l->in + at, l->in_len - at, STREAM_IN);
		at = l->in_len;
	}
	l->in_len -= at;
	memmove(l->in, l->in + at, l->in_len);
	if (l->in_len > LINK_MESSAGE_MAX)
		hear_oversized(l);
	else if (l->in_len == 0)
		drop_input(l);
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

static int
local_readable(struct link *l)
{
	char buf[CHUNK];
	ssize_t n = recv(l->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n == 0 && l->user)
		return local_end(l);
	if (is_gone(n))
		return -1;
	if (n < 0 || l->deaf)
		return 0;
	if (l->kind == LINK_STREAM) {
		pass_on(l, buf, (size_t)n, STREAM_IN);
		return 0;
	}
	if (!collect(l, buf, (size_t)n))
		hear_oversized(l);
	else if (memchr(buf, '\n', (size_t)n) || l->in_len > LINK_MESSAGE_MAX)
		local_lines(l);
	return 0;
}

/* A descriptor that is a socket is written without a signal when the peer has gone. */
static ssize_t
write_fd(int fd, const char *data, size_t len)
{
	ssize_t n = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	return n < 0 && errno == ENOTSOCK ? write(fd, data, len) : n;
}

static int
raw_writable(struct link *l)
{
	struct out *o;

	while ((o = head(l))) {
		ssize_t n = write_fd(l->fd, o->text + o->sent, o->len - o->sent);

		if (n < 0 && is_gone(n))
			return -1;
		if (n < 0)
			break;
		wrote(l, (size_t)n);
	}
	release_peer(l, STREAM_LOW / 2);
	return after_write(l);
}

static int
stream_end_readable(struct link *l)
{
	char buf[CHUNK];
	ssize_t n = read(l->fd, buf, sizeof(buf));

	if (is_gone(n))
		return -1; /* link_free ends the other side once its queue is empty */
	if (n > 0)
		pass_on(l, buf, (size_t)n, STREAM_HIGH);
	return 0;
}

static void
accept_local(struct transport *t, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct err e = { 0 };

	if (fd >= 0)
		transport_adopt(t, LINK_LOCAL, fd, &e);
}

/* The address without port; IPv4 as itself. */
static void
source_of(const struct sockaddr_storage *ss, char out[64])
{
	const struct sockaddr_in6 *v6 = (const void *)ss;
	const struct sockaddr_in *v4 = (const void *)ss;

	text_copy(out, 64, "?");
	if (ss->ss_family == AF_INET)
		inet_ntop(AF_INET, &v4->sin_addr, out, 64);
	else if (ss->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], out, 64);
	else if (ss->ss_family == AF_INET6)
		inet_ntop(AF_INET6, &v6->sin6_addr, out, 64);
}

static bool
too_many_from(struct transport *t, const char *source)
{
	size_t n = 0;

	for (struct link *l = t->links; l; l = l->next)
		n += l->role == ROLE_NETWORK && strcmp(l->source, source) == 0;
	return n >= LINKS_SOURCE || t->network >= LINKS_NETWORK;
}

static int
adopt_network(struct transport *t, struct lws_vhost *vhost, int fd, const char *source)
{
	struct link *l = link_new(t, ROLE_NETWORK, -1);

	if (!l) {
		close(fd);
		return -ENOMEM;
	}
	l->kind = LINK_HTTP;
	l->secure = vhost == t->secure;
	snprintf(l->source, sizeof(l->source), "%s", source);
	l->wsi = lws_adopt_socket_vhost(vhost, fd);
	if (!l->wsi) { /* which has closed it */
		link_free(l);
		return -ENOMEM;
	}
	lws_set_opaque_user_data(l->wsi, l);
	return 0;
}

static void
accept_network(struct transport *t, int listener)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	int one = 1, fd = accept4(listener, (struct sockaddr *)&ss, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	char source[64];

	if (fd < 0)
		return;
	source_of(&ss, source);
	if (too_many_from(t, source)) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	adopt_network(t, t->secure, fd, source);
}

static int
raw_readable(struct link *l)
{
	switch (l->role) {
	case ROLE_LISTEN_LOCAL:
		accept_local(l->t, l->fd);
		return 0;
	case ROLE_LISTEN_NETWORK:
		accept_network(l->t, l->fd);
		return 0;
	case ROLE_LOCAL:
		return local_readable(l);
	case ROLE_STREAM_END:
		return stream_end_readable(l);
	case ROLE_NETWORK:
		break;
	}
	return -1;
}

/* --- HTTP and WebSocket --- */

static char *
header(struct lws *wsi, enum lws_token_indexes token, char out[HEADER_MAX])
{
	int n = lws_hdr_total_length(wsi, token);

	if (n <= 0)
		return NULL;
	if (n >= HEADER_MAX || lws_hdr_copy(wsi, out, HEADER_MAX, token) < 0)
		text_copy(out, HEADER_MAX, "too long");
	return out;
}

/* On the network nothing is said in the clear. libwebsockets lets plain HTTP through, so that it gets an
 * answer. */
static bool
is_in_the_clear(const struct link *l)
{
	return l->secure && !lws_get_ssl(l->wsi);
}

/* The answer is not a client's: one sentence, and the connection ends. */
static int
complain(struct link *l, int status, const char *sentence)
{
	char *text = l->t->ops->complaint(status, sentence);

	l->hang_up = true;
	l->deaf = true;
	link_send(l, text, text ? strlen(text) : 0, status);
	return 0;
}

/* A request's header is here. */
static int
http_begin(struct link *l, const char *uri)
{
	char length[32] = "", authorization[HEADER_MAX];
	struct link_peer peer;
	unsigned long long len;

	l->kind = LINK_HTTP;
	l->hang_up = l->head_sent = l->deaf = l->whole = false;
	lws_set_timeout(l->wsi, PENDING_TIMEOUT_HTTP_CONTENT, LINK_SLOW_SECONDS);
	if (is_in_the_clear(l))
		return complain(l, 400, "this port speaks HTTPS only");
	if (strcmp(uri, "/rpc/v1") != 0)
		return complain(l, 404, "there is nothing here: POST to /rpc/v1");
	if (lws_hdr_total_length(l->wsi, WSI_TOKEN_POST_URI) <= 0)
		return complain(l, 405, "only POST, or a WebSocket");
	if (lws_hdr_copy(l->wsi, length, sizeof(length), WSI_TOKEN_HTTP_CONTENT_LENGTH) <= 0 ||
	    strspn(length, "0123456789") != strlen(length))
		return complain(l, 411, "the request has no Content-Length");
	len = strtoull(length, NULL, 10);
	if (len == 0)
		return complain(l, 400, "the request is empty");
	if (len > LINK_MESSAGE_MAX)
		return complain(l, 413, "the message is longer than 1 MiB");
	fill_peer(l, &peer, header(l->wsi, WSI_TOKEN_HTTP_AUTHORIZATION, authorization));
	l->user = l->t->ops->open(l->t->ctx, l, &peer);
	explicit_bzero(authorization, sizeof(authorization));
	return l->user ? 0 : complain(l, 503, "the agent is busy");
}

static int
http_body(struct link *l, const char *data, size_t len)
{
	if (!l->deaf && !collect(l, data, len))
		hear_oversized(l);
	return 0;
}

static const char challenge[] = "Basic realm=\"Freehold\", Bearer";

static int
http_head(struct link *l, const struct out *o)
{
	unsigned char buf[LWS_PRE + 1024], *p = buf + LWS_PRE, *start = p, *end = buf + sizeof(buf) - 1;
	unsigned status = (unsigned)o->status;

	if (lws_add_http_header_status(l->wsi, status, &p, end) ||
	    lws_add_http_header_by_token(l->wsi, WSI_TOKEN_HTTP_CONTENT_TYPE,
		(const unsigned char *)"application/json", 16, &p, end) ||
	    lws_add_http_header_by_token(
		l->wsi, WSI_TOKEN_HTTP_CACHE_CONTROL, (const unsigned char *)"no-store", 8, &p, end))
		return -1;
	if (status == 401 && lws_add_http_header_by_token(l->wsi, WSI_TOKEN_HTTP_WWW_AUTHENTICATE,
				 (const unsigned char *)challenge, (int)strlen(challenge), &p, end))
		return -1;
	if (l->hang_up && lws_add_http_header_by_token(
			      l->wsi, WSI_TOKEN_CONNECTION, (const unsigned char *)"close", 5, &p, end))
		return -1;
	if (lws_add_http_header_content_length(l->wsi, o->len, &p, end) ||
	    lws_finalize_http_header(l->wsi, &p, end))
		return -1;
	l->head_sent = true;
	return lws_write(l->wsi, start, (size_t)(p - start),
		   o->len ? LWS_WRITE_HTTP_HEADERS : LWS_WRITE_HTTP_HEADERS | LWS_WRITE_H2_STREAM_END) < 0
		   ? -1
		   : 0;
}

/* The answer is out: the next request, or the end. */
static int
http_done(struct link *l)
{
	bool end;

	end_user(l);
	disarm_slow(l);
	pthread_mutex_lock(&l->t->lock);
	end = l->hang_up || l->closing || l->overrun;
	pthread_mutex_unlock(&l->t->lock);
	l->head_sent = l->whole = false;
	return end || lws_http_transaction_completed(l->wsi) ? -1 : 0;
}

static int
http_writable(struct link *l)
{
	unsigned char buf[LWS_PRE + CHUNK];
	struct out *o = head(l);
	size_t n;
	bool last;

	if (!o)
		return l->overrun ? -1 : 0;
	if (!l->head_sent) {
		pthread_mutex_lock(&l->t->lock);
		l->hang_up = l->hang_up || l->closing;
		pthread_mutex_unlock(&l->t->lock);
		if (http_head(l, o) < 0)
			return -1;
		if (o->len == 0) {
			wrote(l, 0);
			return http_done(l);
		}
		arm_slow(l);
		lws_callback_on_writable(l->wsi);
		return 0;
	}
	n = o->len - o->sent < CHUNK ? o->len - o->sent : CHUNK;
	last = o->sent + n == o->len;
	memcpy(buf + LWS_PRE, o->text + o->sent, n);
	if (lws_write(l->wsi, buf + LWS_PRE, n, last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < (int)n)
		return -1;
	wrote(l, n);
	if (last)
		return http_done(l);
	arm_slow(l);
	lws_callback_on_writable(l->wsi);
	return 0;
}

/*
 * The request is whole. A peer that sends more before it has the answer gets the answer if there is one, and
 * is let go: libwebsockets 4.1 would take it for more of this body, and tell about its end again and again;
 * and does not write while it is told not to read.
 */
static int
http_whole(struct link *l)
{
	if (l->whole) {
		l->hang_up = true;
		while (head(l) && http_writable(l) == 0)
			;
		return -1;
	}
	l->whole = true;
	lws_set_timeout(l->wsi, PENDING_TIMEOUT_HTTP_CONTENT, ANSWER_SECONDS);
	hear_message(l);
	return 0;
}

/* A WebSocket is asked for: 0 to open it. Here the header is still there to be read. */
static int
ws_begin(struct link *l)
{
	char uri[HEADER_MAX], authorization[HEADER_MAX], *auth;
	struct link_peer peer;
	int rc = -1;

	if ((!lws_is_ssl(l->wsi) && lws_get_vhost(l->wsi) == l->t->secure) ||
	    !header(l->wsi, WSI_TOKEN_GET_URI, uri))
		return -1;
	auth = header(l->wsi, WSI_TOKEN_HTTP_AUTHORIZATION, authorization);
	l->kind = LINK_WS;
	if (strncmp(uri, "/stream/", 8) == 0 && strlen(uri) < TICKET_MAX) {
		become_stream(l, uri + 8, auth); /* a refusal is told in a frame */
		l->kind = LINK_STREAM;
		rc = 0;
	} else if (strcmp(uri, "/rpc/v1") == 0) {
		fill_peer(l, &peer, auth);
		l->user = l->t->ops->open(l->t->ctx, l, &peer);
		rc = l->user ? 0 : -1;
	}
	explicit_bzero(authorization, sizeof(authorization));
	if (rc < 0)
		lws_return_http_status(l->wsi, HTTP_STATUS_NOT_FOUND, NULL);
	return rc;
}

static int
ws_received(struct link *l, const char *data, size_t len)
{
	if (l->deaf)
		return 0;
	if (l->kind == LINK_STREAM) {
		pass_on(l, data, len, STREAM_IN);
		return 0;
	}
	if (!collect(l, data, len)) {
		hear_oversized(l);
		return 0;
	}
	if (!lws_is_final_fragment(l->wsi) || lws_remaining_packet_payload(l->wsi))
		return l->in_len > LINK_MESSAGE_MAX ? hear_oversized(l), 0 : 0;
	if (l->in_len > LINK_MESSAGE_MAX)
		hear_oversized(l);
	else
		hear_message(l);
	return 0;
}

/* One message, one frame. */
static int
ws_writable(struct link *l)
{
	struct out *o = head(l);
	unsigned char *buf;
	size_t len;
	int n;

	if (!o)
		return after_write(l);
	len = o->len;
	buf = malloc(LWS_PRE + len + 1);
	if (!buf)
		return -1;
	memcpy(buf + LWS_PRE, o->text, len);
	n = lws_write(l->wsi, buf + LWS_PRE, len, l->kind == LINK_STREAM ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
	free(buf);
	if (n < (int)len)
		return -1;
	wrote(l, len);
	release_peer(l, STREAM_LOW);
	return after_write(l);
}

/* The link goes with its wsi; several reasons may come for one end. */
static int
gone(struct lws *wsi)
{
	struct link *l = lws_get_opaque_user_data(wsi);

	lws_set_opaque_user_data(wsi, NULL);
	if (l) {
		l->wsi = NULL;
		link_free(l);
	}
	return 0;
}

static int
callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct link *l = wsi ? lws_get_opaque_user_data(wsi) : NULL;

	(void)user;
	if (reason == LWS_CALLBACK_EVENT_WAIT_CANCELLED)
		return 0; /* transport_step looks at the queues after every turn */
	if (!l)
		return reason == LWS_CALLBACK_HTTP || reason == LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION ? -1
													: 0;
	switch (reason) {
	case LWS_CALLBACK_RAW_RX_FILE:
		return raw_readable(l);
	case LWS_CALLBACK_RAW_WRITEABLE_FILE:
		return raw_writable(l);
	case LWS_CALLBACK_HTTP:
		return http_begin(l, in);
	case LWS_CALLBACK_HTTP_BODY:
		return http_body(l, in, len);
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
		return http_whole(l);
	case LWS_CALLBACK_HTTP_WRITEABLE:
		return http_writable(l);
	case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
		return ws_begin(l);
	case LWS_CALLBACK_ESTABLISHED:
		lws_set_timer_usecs(wsi, (lws_usec_t)LINK_STRANGER_SECONDS * LWS_USEC_PER_SEC);
		lws_callback_on_writable(wsi); /* an answer may wait already */
		return 0;
	case LWS_CALLBACK_TIMER:
		return l->trusted ? 0 : -1;
	case LWS_CALLBACK_RECEIVE:
		return ws_received(l, in, len);
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return ws_writable(l);
	case LWS_CALLBACK_CLOSED:
	case LWS_CALLBACK_CLOSED_HTTP:
	case LWS_CALLBACK_RAW_CLOSE_FILE:
	case LWS_CALLBACK_WSI_DESTROY:
		return gone(wsi);
	default:
		return 0;
	}
}

/* --- the loop --- */

static void
log_line(int level, const char *line)
{
	size_t len = strcspn(line, "\n");

	log_msg(level == LLL_ERR ? LOG_WARN : LOG_INFO, "transport: %.*s", (int)len, line);
}

static int
open_local(struct transport *t, struct err *e)
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
	return adopt_file(t, ROLE_LISTEN_LOCAL, fd) ? 0 : err_set(e, ENOMEM, "out of memory");
}

static struct lws_vhost *
make_vhost(struct transport *t, const struct transport_config *c, const char *name, bool secure)
{
	struct lws_context_creation_info info = { 0 };

	info.vhost_name = name;
	info.port = CONTEXT_PORT_NO_LISTEN_SERVER;
	info.protocols = protocols;
	info.retry_and_idle_policy = &idle_policy;
	info.timeout_secs = 20;
	info.keepalive_timeout = 60;
	if (secure) {
		/* No client shows a certificate: the system's authorities would only take a megabyte. */
		info.options = LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS |
			       LWS_SERVER_OPTION_ALLOW_NON_SSL_ON_SSL_PORT |
			       LWS_SERVER_OPTION_ALLOW_HTTP_ON_HTTPS_LISTENER;
		info.ssl_cert_filepath = c->cert;
		info.ssl_private_key_filepath = c->key;
		info.alpn = "http/1.1";
		info.ssl_options_set = SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1 | SSL_OP_NO_TLSv1_2;
	}
	return lws_create_vhost(t->context, &info);
}

static int
make_context(struct transport *t, const struct transport_config *c, struct err *e)
{
	struct lws_context_creation_info info = { 0 };

	lws_set_log_level(LLL_ERR, log_line);
	info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
		       (c->cert ? LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT : 0);
	info.fd_limit_per_thread = FDS;
	info.pt_serv_buf_size = CHUNK;
	info.max_http_header_pool = 64;
	info.alpn = "http/1.1";
	t->context = lws_create_context(&info);
	if (!t->context)
		return err_set(e, EIO, "libwebsockets could not be set up");
	t->plain = make_vhost(t, c, "plain", false);
	if (!t->plain)
		return err_set(e, EIO, "libwebsockets could not be set up");
	if (c->cert)
		t->secure = make_vhost(t, c, "secure", true);
	if (c->cert && !t->secure)
		return err_set(e, EINVAL, "%s: the certificate or its key cannot be used", c->cert);
	return 0;
}

int
transport_new(struct transport **out, const struct transport_config *c, struct err *e)
{
	struct transport *t = calloc(1, sizeof(*t));
	int rc;

	*out = NULL;
	if (!t)
		return err_set(e, ENOMEM, "out of memory");
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->done, NULL);
	t->ops = c->ops;
	t->ctx = c->ctx;
	rc = make_context(t, c, e);
	if (rc == 0 && c->local_path) {
		if (strlen(c->local_path) >= sizeof(t->local_path))
			rc = err_set(e, ENAMETOOLONG, "%s: the name is too long", c->local_path);
		else
			text_copy(t->local_path, sizeof(t->local_path), c->local_path);
	}
	if (rc == 0 && c->local_path)
		rc = open_local(t, e);
	if (rc < 0) {
		transport_free(t);
		return rc;
	}
	*out = t;
	return 0;
}

/* IPv6 takes IPv4 along; a kernel without it gets IPv4 alone. */
static int
listen_network(uint16_t port, struct err *e)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	int one = 1, zero = 0, fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc;
	bool has_v6 = fd >= 0;

	if (!has_v6)
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (has_v6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	rc = has_v6 ? bind(fd, (struct sockaddr *)&v6, sizeof(v6))
		    : bind(fd, (struct sockaddr *)&v4, sizeof(v4));
	if (rc < 0 || listen(fd, 128) < 0) {
		rc = err_sys(e, "port %u", port);
		close(fd);
		return rc;
	}
	return fd;
}

static uint16_t
port_of(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} at = { 0 };
	socklen_t len = sizeof(at);

	if (getsockname(fd, &at.any, &len) < 0)
		return 0;
	if (at.any.sa_family == AF_INET6)
		return ntohs(at.v6.sin6_port);
	return ntohs(at.v4.sin_port);
}

/* On the loop's thread. */
static int
do_listen(struct transport *t, bool on, uint16_t port, struct err *e)
{
	int fd;

	if (on && !t->secure)
		return err_set(e, ENOTSUP, "there is no certificate to serve the network with");
	if (on && t->listener)
		return 0;
	if (!on) {
		if (t->listener) /* at once, so that the port is free for the next one */
			lws_set_timeout(t->listener->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
		for (struct link *l = t->links; l; l = l->next)
			if (l->role == ROLE_NETWORK)
				kill_soon(l);
		t->actual_port = 0;
		return 0;
	}
	fd = listen_network(port, e);
	if (fd < 0)
		return fd;
	t->actual_port = port_of(fd);
	t->listener = adopt_file(t, ROLE_LISTEN_NETWORK, fd);
	return t->listener ? 0 : err_set(e, ENOMEM, "out of memory");
}

static void
serve_asked(struct transport *t)
{
	bool on;
	uint16_t port;
	struct err e = { 0 };
	int rc;

	pthread_mutex_lock(&t->lock);
	if (t->asked) {
		on = t->ask_on;
		port = t->ask_port;
		pthread_mutex_unlock(&t->lock);
		rc = do_listen(t, on, port, &e);
		pthread_mutex_lock(&t->lock);
		t->ask_rc = rc;
		t->ask_err = e;
		t->asked = false;
		pthread_cond_broadcast(&t->done);
	}
	pthread_mutex_unlock(&t->lock);
}

int
transport_listen(struct transport *t, bool on, uint16_t port, uint16_t *actual, struct err *e)
{
	int rc;

	if (!t->has_thread) {
		rc = do_listen(t, on, port, e);
		*actual = t->actual_port;
		return rc;
	}
	pthread_mutex_lock(&t->lock);
	while (t->asked)
		pthread_cond_wait(&t->done, &t->lock);
	t->asked = true;
	t->ask_on = on;
	t->ask_port = port;
	lws_cancel_service(t->context);
	while (t->asked)
		pthread_cond_wait(&t->done, &t->lock);
	rc = t->ask_rc;
	if (rc < 0 && e)
		*e = t->ask_err;
	*actual = t->actual_port;
	pthread_mutex_unlock(&t->lock);
	return rc;
}

int
transport_adopt(struct transport *t, enum link_kind kind, int fd, struct err *e)
{
	struct ucred peer = { .uid = (uid_t)-1 };
	socklen_t len = sizeof(peer);
	struct link_peer who;
	struct link *l;

	if (kind != LINK_LOCAL)
		return adopt_network(t, t->plain, fd, "test");
	if (t->local >= LINKS_LOCAL || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0) {
		close(fd);
		return err_set(e, EMFILE, "too many local connections");
	}
	l = adopt_file(t, ROLE_LOCAL, fd);
	if (!l)
		return err_set(e, ENOMEM, "out of memory");
	l->kind = LINK_LOCAL;
	l->uid = peer.uid;
	l->trusted = true;
	snprintf(l->source, sizeof(l->source), "pid %d", peer.pid);
	fill_peer(l, &who, NULL);
	l->user = t->ops->open(t->ctx, l, &who);
	if (!l->user)
		link_close(l);
	return 0;
}

void
transport_step(struct transport *t)
{
	serve_asked(t);
	serve_dirty(t);
	lws_service(t->context, -1);
	serve_dirty(t);
}

static bool
must_stop(struct transport *t)
{
	bool stop;

	pthread_mutex_lock(&t->lock);
	stop = t->stop;
	pthread_mutex_unlock(&t->lock);
	return stop;
}

static void *
loop(void *arg)
{
	struct transport *t = arg;

	while (!must_stop(t) && lws_service(t->context, 0) >= 0) {
		serve_asked(t);
		serve_dirty(t);
	}
	return NULL;
}

int
transport_start(struct transport *t, struct err *e)
{
	int rc = pthread_create(&t->thread, NULL, loop, t);

	if (rc)
		return err_set(e, rc, "no thread for the carriers: %s", strerror(rc));
	t->has_thread = true;
	return 0;
}

/* Connections one by one: those in the middle of a TLS hello are not freed with the context. */
static void
end_all(struct transport *t)
{
	struct link *l;

	do {
		for (l = t->links; l && l->role != ROLE_NETWORK; l = l->next)
			;
		if (l)
			lws_set_timeout(l->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
	} while (l);
	for (l = t->links; l; l = l->next)
		end_user(l);
}

void
transport_stop(struct transport *t)
{
	if (!t->has_thread)
		return;
	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_mutex_unlock(&t->lock);
	lws_cancel_service(t->context);
	pthread_join(t->thread, NULL);
	t->has_thread = false;
	/* What is queued goes out, as far as the peers take it at once. */
	for (int i = 0; i < 10; i++)
		transport_step(t);
	end_all(t);
}

void
transport_free(struct transport *t)
{
	if (!t)
		return;
	if (t->context)
		lws_context_destroy(t->context); /* frees every link through its callback */
	while (t->links)
		link_free(t->links);
	if (t->local_path[0])
		unlink(t->local_path);
	pthread_mutex_destroy(&t->lock);
	pthread_cond_destroy(&t->done);
	free(t);
}
