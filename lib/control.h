/*
 * lib/control.h - the control protocol: JSON-RPC 2.0 over a Unix SOCK_SEQPACKET socket, one message a
 * packet, with descriptors passed beside it (SCM_RIGHTS).
 *
 * The agent drives workers through it; whatever a program can be asked is one row in a table of
 * methods. Parameters are checked by the dispatcher against the row's schema before the handler
 * sees them. Messages: at most CONTROL_MAX bytes and CONTROL_MAX_FDS descriptors; a peer that breaks
 * the protocol (garbage, oversized, a batch) gets one error answer and keeps its connection; a
 * peer that does not read is disconnected once its socket is full. An empty packet ends the
 * connection: a reader cannot tell it from a peer that has gone.
 *
 *   -> {"jsonrpc":"2.0","id":1,"method":"pause","params":{}}
 *   <- {"jsonrpc":"2.0","id":1,"result":{"changed":true}}
 *   <- {"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"...","data":{"errno":22}}}
 *   <- {"jsonrpc":"2.0","method":"state","params":{...}}              (an event)
 *
 * Every table answers "methods" as well: what there is to ask, as control_describe tells it. Errors:
 * -32700 not JSON, -32600 not a request, -32601 no such method, -32602 bad params, -32000 the
 * method failed. A request without id is carried out and not answered.
 *
 * Server side: one thread, never blocks, no allocation beyond the message in hand; after control_new
 * no system calls but accept4, recvmsg, sendmsg and close (and malloc's).
 */
#ifndef LIB_CONTROL_H
#define LIB_CONTROL_H

#include <jansson.h>
#include <stddef.h>

#include "lib/err.h"
#include "lib/schema.h"

enum { CONTROL_MAX = 128 * 1024, CONTROL_MAX_FDS = SCHEMA_DOCUMENT_FDS };

struct method {
	const char *name; /* NULL ends a table */
	const char *help; /* one or two sentences, for people */
	const struct field *params;
	size_t params_size;
	void (*defaults)(void *params); /* after zeroing and setting FIELD_FD members to -1; may be NULL */
	const struct field *result;
	size_t result_size;
	/* Returns 0 with *result filled (zeroed before), or -errno with *e. Descriptors in *params are the
	 * handler's, whatever it returns. It may send events, which go out before the answer. */
	int (*call)(void *ctx, void *params, void *result, struct err *e);
};

/* The server half: listens, serves one controller at a time; a newcomer waits until it has gone. */
struct control;
/* Takes ownership of listen_fd (bound, listening, SOCK_SEQPACKET); it is made non-blocking. */
int control_new(struct control **out, int listen_fd, const struct method *methods, void *ctx, struct err *e);
void control_free(struct control *c);
/* The one descriptor to poll for POLLIN: the listener while nobody is connected, else the connection. */
int control_poll_fd(const struct control *c);
/* Called when that descriptor is readable: accepts, or reads and answers at most one message. */
void control_handle(struct control *c);
/* Sends an event to the controller, if there is one. Takes the reference of params. */
void control_event(struct control *c, const char *name, json_t *params);

/* The client half: blocking, one call at a time. */
struct control_client;
int control_connect(struct control_client **out, const char *path, struct err *e);
/* The same on a connected socket, which is taken. */
int control_attach(struct control_client **out, int fd, struct err *e);
void control_close(struct control_client *c);
int control_client_fd(const struct control_client *c);
/*
 * Calls method with params (reference taken, NULL for none) and descriptors (still the caller's).
 * Returns 0 and *result (new reference; may be NULL to drop it), or -errno with the server's own
 * sentence. timeout_ms < 0 waits for ever; -ETIMEDOUT leaves the connection usable, the late answer
 * is dropped. Events that arrive meanwhile are kept (at most 256 and 1 MiB, the oldest dropped) for
 * control_next_event; polling control_client_fd does not tell about those.
 */
int control_call(struct control_client *c, const char *method, json_t *params, const int *fds, size_t nfds,
    int timeout_ms, json_t **result, struct err *e);
/* The next event as {"method":..., "params":...} (new reference), or NULL after timeout_ms or at the
 * end of the connection (then *e has ECONNRESET; on a mere time-out ETIMEDOUT). */
json_t *control_next_event(struct control_client *c, int timeout_ms, struct err *e);

/* The table as a JSON array of {name, help, params, result}; the answer of a "methods" request. */
json_t *control_describe(const struct method *methods);

#endif
