/*
 * lib/transport_server.h - the carriers of the RPC, without a word about what is said on them: HTTPS,
 * WebSocket over TLS and a local socket, in one loop on one thread.
 *
 *   rpc.sock                 lines; a first line {"stream":"TICKET"} makes the connection a stream of bytes
 *   POST https://HOST/rpc/v1 one message a request
 *   wss://HOST/rpc/v1        one message a text or binary frame
 *   wss://HOST/stream/TICKET binary frames, a stream of bytes; status 403 and an answer when it is refused
 *
 * TLS 1.3 only, ALPN http/1.1. Messages are bounded (LINK_MESSAGE_MAX), connections, too, in number, in what
 * waits to be read by a peer (LINK_QUEUE_MAX) and in how long it may wait. No libwebsockets or OpenSSL type
 * leaves lib/transport_*.c. Callbacks come on the loop's thread and must not block; link_* may be called by
 * any thread until `closed` has returned.
 */
#ifndef LIB_TRANSPORT_SERVER_H
#define LIB_TRANSPORT_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"

enum {
	LINK_MESSAGE_MAX = 1024 * 1024,
	LINK_QUEUE_MAX = 4 * 1024 * 1024, /* a peer with more waiting is disconnected */
	LINK_EVENTS_MAX = 1024 * 1024,    /* what link_room leaves to answers */
	LINK_SLOW_SECONDS = 30,           /* without a byte taken by the peer */
	LINK_STRANGER_SECONDS = 30,       /* a WebSocket without log-in */
	LINKS_NETWORK = 256,
	LINKS_SOURCE = 64, /* from one source (lib/source.h) */
	LINKS_LOCAL = 128,
	LINKS_LOCAL_ROOT = 32,          /* of those, which nobody but root gets */
	LINKS_LOCAL_USER = 32,          /* of one user who is not root */
	LINKS_BYTES = 64 * 1024 * 1024, /* unfinished messages of all peers */
};

enum link_kind { LINK_LOCAL, LINK_HTTP, LINK_WS, LINK_STREAM };

struct link;
struct link_peer {
	enum link_kind kind;
	char source[64];           /* address without port; "pid 123" on the local socket */
	uid_t uid;                 /* local */
	const char *authorization; /* the HTTP header, or NULL; for the time of the call */
	struct link *link;         /* the connection itself */
};

struct transport_ops {
	/* A connection (HTTP: a request) begins: what the other callbacks get as user, or NULL to refuse it.
	 */
	void *(*open)(void *ctx, struct link *l, const struct link_peer *peer);
	void (*message)(void *user, const char *text, size_t len);
	void (*oversized)(void *user); /* it is read no further; link_close is to follow */
	/* The peer sends no more, but still reads: link_close is to follow when all answers are queued. */
	void (*ended)(void *user);
	void (*closed)(void *user); /* link is gone once this returns */
	/* A ticket is shown: a descriptor (stream socket or pty, taken), or -1 with the answer in refusal
	 * (from malloc). */
	int (*stream)(void *ctx, const char *ticket, const struct link_peer *peer, char **refusal);
	/* A sentence for a peer that is no client of ours, as an answer (from malloc). */
	char *(*complaint)(int http_status, const char *sentence);
	/* The link for which `stream` gave a descriptor is gone once this returns; until then link_close ends
	 * the stream. May be NULL. */
	void (*stream_closed)(void *ctx, struct link *l);
};

struct transport_config {
	const char *cert, *key; /* files (PEM); NULL: no network at all */
	const char *local_path; /* of the local socket (mode 0666); NULL: none */
	const struct transport_ops *ops;
	void *ctx;
};

struct transport;
/* Makes and binds the local socket; nothing is served before transport_start. */
int transport_new(struct transport **out, const struct transport_config *c, struct err *e);
int transport_start(struct transport *t, struct err *e);
/* Opens (port, 0: any) or closes the network; any thread but the loop's. *actual: the port in use, 0 when
 * closed. */
int transport_listen(struct transport *t, bool on, uint16_t port, uint16_t *actual, struct err *e);
/* Ends all connections (what is queued gets a moment) and the thread; no callback comes after that. */
void transport_stop(struct transport *t);
void transport_free(struct transport *t);

/* For tests and fuzzing, without transport_start: takes a connected socket as a client's (LINK_LOCAL, or
 * LINK_HTTP without TLS), and does what there is to do without waiting. */
int transport_adopt(struct transport *t, enum link_kind kind, int fd, struct err *e);
void transport_step(struct transport *t);

/* Takes text (from malloc). status counts on HTTP only. */
void link_send(struct link *l, char *text, size_t len, int status);
bool link_room(struct link *l, size_t len);
void link_close(struct link *l);
/* It has logged in. */
void link_trust(struct link *l);

#endif
