/*
 * lib/rpc_client_private.h - what the files of the RPC client share. Private to lib/rpc_client*.c and
 * their tests.
 */
#ifndef LIB_RPC_CLIENT_PRIVATE_H
#define LIB_RPC_CLIENT_PRIVATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/rpc_client.h"

/* --- errors (rpc_client_error.c) ---------------------------------------------------------------- */

/* Fills e (which may be NULL) with a failure of this side; returns rc, a negative errno. hint may be NULL. */
int rpc_fail(struct rpc_error *e, enum rpc_client_code code, int rc, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* Fills e from the "error" member of an answer, whatever that is. Returns -EREMOTEIO. */
int rpc_fail_remote(struct rpc_error *e, const json_t *error);

/* --- where a host is (rpc_client_address.c) ----------------------------------------------------- */

enum { RPC_HOST_MAX = 253, RPC_USER_MAX = 64 };

struct rpc_address {
	char user[RPC_USER_MAX + 1]; /* "" when none was given */
	char host[RPC_HOST_MAX + 1]; /* a name or an address, without brackets */
	uint16_t port;               /* 0 when none was given */
};

/* "[user@]host[:port]", IPv6 addresses with a port in brackets. 0, or -EINVAL. */
int rpc_address_parse(struct rpc_address *a, const char *text, struct rpc_error *e);

/* --- pinned certificates (rpc_client_pin.c) ----------------------------------------------------- */

/* Fills out with the pin of host and port: 0, -ENOENT when there is none, or another failure. */
int rpc_pin_find(
    const char *file, const char *host, uint16_t port, char out[RPC_FINGERPRINT_SIZE], struct rpc_error *e);
/* Adds one, durably; makes the file (mode 600) and its folder (700). */
int rpc_pin_add(
    const char *file, const char *host, uint16_t port, const char *fingerprint, struct rpc_error *e);

/* --- a socket that carries lines (rpc_client_line.c) -------------------------------------------- */

/* How long to wait, and who may end it earlier. */
struct rpc_patience {
	int64_t deadline_ns; /* of CLOCK_MONOTONIC; INT64_MAX: for ever */
	bool (*interrupted)(void *ctx);
	void *ctx;
};

struct rpc_patience rpc_patience_of(int timeout_ms, bool (*interrupted)(void *ctx), void *ctx);
int64_t rpc_now_ns(void);
/* Until fd is ready for `what` (POLLIN, POLLOUT): 0, -ETIMEDOUT, -ECANCELED. */
int rpc_wait(int fd, short what, const struct rpc_patience *p);

struct rpc_lines {
	int fd; /* non-blocking; owned */
	char *buf;
	size_t size, start, end; /* what has come and was not yet read is start..end */
	size_t seen;             /* up to here there is no newline */
};

/* The next line without its newline: 0 with *text (valid until the next call) and *len; -ECONNRESET at the
 * end, -EMSGSIZE when it is longer than RPC_MESSAGE_MAX, -ETIMEDOUT, -ECANCELED, -ENOMEM, or the socket's. */
int rpc_lines_read(struct rpc_lines *l, const struct rpc_patience *p, const char **text, size_t *len);
/* Sends all of text: 0, or a negative errno; -EPIPE when it went out in part, which ends the connection. */
int rpc_lines_write(struct rpc_lines *l, const struct rpc_patience *p, const char *text, size_t len);
void rpc_lines_close(struct rpc_lines *l);

/* --- events that wait to be asked for (rpc_client_events.c) ------------------------------------- */

/* Kept as text: a document takes many times the memory of a hostile one's text. */
struct rpc_events {
	struct {
		char *text;
		size_t len;
	} ring[RPC_EVENTS_KEPT];
	size_t first, n, bytes;
};

void rpc_events_keep(struct rpc_events *ev, const char *text, size_t len);
/* The oldest one's parameters (new reference), or NULL when there is none. */
json_t *rpc_events_take(struct rpc_events *ev);
void rpc_events_drop(struct rpc_events *ev);

#endif
