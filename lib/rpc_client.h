/*
 * lib/rpc_client.h - the client of the appliance's RPC: what the menu, the shell and scripts call.
 *
 * One connection, to the agent on this machine (Unix socket, newline-delimited JSON) or on another
 * one (WebSocket over TLS 1.3, certificate pinned at first use). Calls block; one thread at a time
 * may use a connection, and different threads different connections. What the host sends is
 * untrusted: its messages are bounded in size, depth and number, its sentences are cleaned of what a
 * terminal would obey.
 *
 *   struct rpc_client *c;
 *   struct rpc_error e;
 *   json_t *result;
 *
 *   if (rpc_open(&c, NULL, NULL, &e) < 0)                       // NULL: the local agent
 *           return say("%s", e.message);
 *   if (rpc_call(c, "vm.start", json_pack("{s:s}", "vm", "web1"), 30000, &result, &e) < 0)
 *           say("%s (%s)", e.message, e.hint);                  // "no machine is called web1 (...)"
 *   else
 *           json_decref(result);
 *   rpc_close(c);
 *
 * A member "_" of the parameters carries dryRun, requestId, ifMatch and confirm; see docs/api.md.
 *
 * Programs that use this link libraries `rpc` and `fh`, with -lwebsockets -lssl -lcrypto -ljansson.
 */
#ifndef LIB_RPC_CLIENT_H
#define LIB_RPC_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	RPC_PORT = 8443,
	RPC_MESSAGE_MAX = 1024 * 1024, /* bytes of one message, in either direction */
	RPC_EVENTS_KEPT = 256,     /* events that came while a call was waited for; the oldest is dropped */
	RPC_FINGERPRINT_SIZE = 96, /* "12:34:...": 32 bytes of SHA-256, terminated */
	RPC_PASSWORD_SIZE = 256,
};

/*
 * What can go wrong on this side; below 1000, so that no code of a host (1000 and more, and JSON-RPC's
 * own below 0) is one of them. `symbol` says the same.
 */
enum rpc_client_code {
	RPC_NOT_CONNECTED = 1,   /* NOT_CONNECTED: nobody answers there, or the connection was lost */
	RPC_TIMED_OUT,           /* TIMED_OUT: no answer in time; the connection is still good */
	RPC_INTERRUPTED,         /* INTERRUPTED: options.interrupted said so; the connection is still good */
	RPC_BAD_ANSWER,          /* BAD_ANSWER: what came is no answer; the connection is closed */
	RPC_UNKNOWN_CERTIFICATE, /* UNKNOWN_CERTIFICATE: seen for the first time and not accepted */
	RPC_CHANGED_CERTIFICATE, /* CHANGED_CERTIFICATE: another one than was pinned; message tells both */
	RPC_NO_PASSWORD,         /* NO_PASSWORD: nobody gave one */
	RPC_LOCAL_FAULT,         /* LOCAL_FAULT: memory, descriptors, a file of our own */
};

/* Why a call failed. All texts are clean, terminated, and empty when there is nothing to tell. */
struct rpc_error {
	int code;          /* 0: nothing failed; see above */
	char symbol[48];   /* "VM_NOT_FOUND" */
	char message[512]; /* one sentence for people */
	char path[96];     /* the parameter that is wrong: "memory" */
	char hint[256];    /* what to do */
	char log_id[48];   /* where the host's log tells more */
};

/* All members may be left out (zero). Texts are copied; callbacks are called by the thread that calls
 * rpc_open, rpc_reconnect, rpc_call, rpc_next_event or rpc_job_wait. */
struct rpc_options {
	const char *socket_path; /* of the local agent; default /run/freehold/rpc.sock, or $FREEHOLD_SOCKET */
	uint16_t port;           /* remote; default RPC_PORT */
	const char *user;        /* remote; default $USER */
	const char *token;       /* remote; instead of user and password; default $FREEHOLD_TOKEN */
	const char *known_hosts; /* remote; default: rpc_known_hosts_path */
	int timeout_ms;          /* of connecting and logging in; default 20000 */
	/* Writes the password (terminated) and returns 0, or a negative number to give up. Wiped after use.
	 */
	int (*password)(void *ctx, const char *user, const char *host, char *out, size_t size);
	/* Whether to trust a host that is met for the first time. Without it the answer is no. */
	bool (*pin)(void *ctx, const char *host, const char *fingerprint);
	/* Asked several times a second while waiting; true ends the wait. For Ctrl-C. */
	bool (*interrupted)(void *ctx);
	void *ctx;
};

struct rpc_client;

/*
 * All functions that return int return 0, or a negative errno with *e (which may be NULL) filled:
 * -EREMOTEIO when it is the host that refused (code, symbol, path and hint are the host's),
 * -ETIMEDOUT, -ECANCELED (interrupted), -ECONNRESET or what connect said when there is no connection.
 */

/* Connects to host ("name", "name:port", "user@name", "[2001:db8::1]:8443"; NULL: the local agent) and,
 * if remote, logs in. o may be NULL. On failure *out is NULL. */
int rpc_open(struct rpc_client **out, const char *host, const struct rpc_options *o, struct rpc_error *e);
/* After the connection was lost (the agent was restarted): connects and logs in again, with the session's
 * token if it still counts. Kept events are dropped, subscriptions are gone. */
int rpc_reconnect(struct rpc_client *c, struct rpc_error *e);
/* c may be NULL. Streams that were opened through it live on. */
void rpc_close(struct rpc_client *c);
/* "web" or "localhost" for the local agent; borrowed. */
const char *rpc_host(const struct rpc_client *c);
bool rpc_connected(const struct rpc_client *c);

/*
 * Calls method with params (reference taken; NULL for none). Waits at most timeout_ms (negative: for
 * ever). *result (may be NULL to drop it) is a new reference to the answer's "result", else NULL. An
 * answer that comes after the time is dropped; whether the host carried the call out is then unknown.
 */
int rpc_call(struct rpc_client *c, const char *method, json_t *params, int timeout_ms, json_t **result,
    struct rpc_error *e);

/*
 * The next event as {"seq", "type", "time", "data"} (new reference), or NULL with *e after timeout_ms
 * (0: only what is there). Subscribe first: rpc_call(c, "event.subscribe", ...). The descriptor is for
 * poll (POLLIN); it does not tell about events kept from earlier, so take events until there are none
 * before polling. It changes with rpc_reconnect and is -1 without connection.
 */
json_t *rpc_next_event(struct rpc_client *c, int timeout_ms, struct rpc_error *e);
int rpc_fd(const struct rpc_client *c);

/* How far a job is. Texts are borrowed for the time of the callback. */
struct rpc_progress {
	const char *job;      /* its id */
	const char *state;    /* "Running", ... */
	const char *phase;    /* "" when there is none */
	const char *unit;     /* "bytes", "s", ""; of done and total */
	uint64_t done, total; /* total 0: unknown */
};

/*
 * Waits until a job has ended; progress (may be NULL) is called at each change and at least twice a
 * second, and returns false to stop waiting (-ECANCELED; the job goes on, see job.cancel). *result as
 * for rpc_call: what the job produced, if anything (may be JSON null). A job that failed or was
 * cancelled is -EREMOTEIO with its error.
 */
int rpc_job_wait(struct rpc_client *c, const char *job,
    bool (*progress)(void *ctx, const struct rpc_progress *p), void *ctx, json_t **result,
    struct rpc_error *e);

/*
 * A stream: the bytes of a console, an upload, ... for a ticket that a method gave. *fd is a connected
 * descriptor to poll, read and write raw bytes; a read of 0 is the end; close it when done. Each
 * ticket can be used once.
 */
int rpc_stream_open(struct rpc_client *c, const char *ticket, int *fd, struct rpc_error *e);

/* Fills e from the error that came at the end of a stream, as an answer's "error": always -EREMOTEIO. */
int rpc_error_read(struct rpc_error *e, const json_t *error);

/* Where pins are kept: $FREEHOLD_KNOWN_HOSTS, /data/system/known_hosts on the appliance (as root), else
 * ~/.config/freehold/known_hosts. One line a host: "name:port SHA256:12:34:...". False: no place. */
bool rpc_known_hosts_path(char *out, size_t size);

#endif
