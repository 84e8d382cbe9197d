/*
 * lib/transport_private.h - what the files of the carriers share. Private to lib/transport_*.c: here, and not
 * in lib/transport_server.h, are libwebsockets and what a link and its transport are made of.
 *
 * Everything that belongs to libwebsockets happens on the loop's thread. Other threads put messages into a
 * link's queue under the transport's one lock, put the link on a list, and wake the loop. Foreign descriptors
 * (listeners, local connections, the other ends of streams) are "raw files" of the same loop.
 *
 * A link lives as long as its wsi, whose opaque pointer it is; for HTTP, `user` lives for one request.
 *
 * Functions are the loop's thread's alone, where nothing else is said. Those that answer libwebsockets return
 * 0 to go on and -1 to end the connection.
 */
#ifndef LIB_TRANSPORT_PRIVATE_H
#define LIB_TRANSPORT_PRIVATE_H

#include <libwebsockets.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/transport_server.h"

#define TRANSPORT_PROTOCOL "freehold" /* the one of every vhost */

enum {
	CHUNK = 16 * 1024, /* read or written at once */
	HEADER_MAX = 512,
	STREAM_HIGH = 256 * 1024, /* towards a link: then the stream is not read */
	STREAM_LOW = 64 * 1024,
	STREAM_IN = 64 * 1024, /* towards the stream: then the link is not read */
};

/* What a wsi is to us. */
enum link_role { ROLE_LISTEN_LOCAL, ROLE_LISTEN_NETWORK, ROLE_LOCAL, ROLE_NETWORK, ROLE_STREAM_END };

/* A message that waits to be written. */
struct out {
	struct out *next;
	char *text;
	size_t len, sent;
	int status;
};

struct link {
	enum link_role role;
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
	bool is_stream;    /* ops->stream_closed is to come */
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

/* --- links and their queues (transport_link.c) -------------------------------------------------- */

/* NULL without memory. fd is of a raw file, else -1; the wsi is still to come. */
struct link *link_new(struct transport *t, enum link_role role, int fd);
void link_free(struct link *l);
/* Fills peer; authorization may be NULL. */
void link_describe(struct link *l, struct link_peer *peer, const char *authorization);
/* The user hears of it once; after that nobody else touches the link. */
void link_end_user(struct link *l);
void link_kill_soon(struct link *l);
/* The peer has so long to take another byte. */
void link_arm_slow(struct link *l);
void link_disarm_slow(struct link *l);

/* What other threads have put into queues. */
void links_serve(struct transport *t);
/* Any thread. */
bool link_is_closing(struct link *l);
/* The message to write next, or NULL; it stays where it is. */
struct out *link_first(struct link *l);
/* n more bytes of the first message have gone; when it is whole it is freed. */
void link_wrote(struct link *l, size_t n);
/* After a write. */
int link_after_write(struct link *l);

/* Adds to the unfinished message; false when there is too much of it, or of all. */
bool link_collect(struct link *l, const char *data, size_t len);
/* What was collected is a whole message, */
void link_hear(struct link *l);
/* or is longer than one may be. */
void link_oversized(struct link *l);
void link_drop_input(struct link *l);

/* --- raw files (transport_raw.c) ---------------------------------------------------------------- */

/* Takes fd, also when it fails: NULL. */
struct link *raw_adopt(struct transport *t, enum link_role role, int fd);
int raw_readable(struct link *l);
int raw_writable(struct link *l);
/* What read, recv or write have returned, with errno: there will be no more. */
bool raw_is_gone(ssize_t n);

/* --- streams (transport_stream.c) --------------------------------------------------------------- */

/* Makes l a stream: 0, or -1 with the refusal (from malloc; NULL without memory), which is the caller's to
 * tell. */
int stream_begin(struct link *l, const char *ticket, const char *authorization, char **refusal);
/* From one end to the other; the reader is held while more than high bytes wait. */
void stream_pass_on(struct link *from, const char *data, size_t len, size_t high);
/* After something was written to l: its peer may go on when no more than low bytes wait. */
void stream_release(struct link *l, size_t low);
int stream_end_readable(struct link *l);

/* --- the local socket (transport_local.c) ------------------------------------------------------- */

/* Binds t->local_path. */
int local_listen(struct transport *t, struct err *e);
void local_accept(struct transport *t, int listener);
/* Whether another one of uid may come. */
bool local_has_room(const struct transport *t, uid_t uid);
/* Takes a connected socket, also when it fails. */
int local_adopt(struct transport *t, int fd, struct err *e);
int local_readable(struct link *l);

/* --- the network (transport_network.c) ---------------------------------------------------------- */

/* Opens or closes it; t->actual_port says where. */
int network_serve(struct transport *t, bool on, uint16_t port, struct err *e);
void network_accept(struct transport *t, int listener);
/* Whether another one from there may come. */
bool network_has_room(const struct transport *t, const char *source);
/* Takes a connected socket, also when it fails. Without TLS on the plain vhost. */
int network_adopt(struct transport *t, struct lws_vhost *vhost, int fd, const char *source);

/* --- HTTP (transport_http.c) -------------------------------------------------------------------- */

/* Whether a connection that has to be under TLS is not. */
bool http_in_the_clear(const struct link *l);
/* A header of the request: out, or NULL when there is none. */
char *http_header(struct lws *wsi, enum lws_token_indexes token, char out[HEADER_MAX]);
int http_begin(struct link *l, const char *uri);
/* Instead of a WebSocket: an answer, at once; the connection is to be ended. text may be NULL. */
void http_refuse(struct link *l, int status, char *text);
int http_body(struct link *l, const char *data, size_t len);
int http_whole(struct link *l);
int http_writable(struct link *l);

/* --- WebSockets (transport_ws.c) ---------------------------------------------------------------- */

int ws_begin(struct link *l);
int ws_received(struct link *l, const char *data, size_t len);
int ws_writable(struct link *l);

#endif
