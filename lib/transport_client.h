/*
 * lib/transport_client.h - a WebSocket to another host as a plain descriptor.
 *
 * A thread of the library keeps the connection (TLS 1.3, libwebsockets) and pumps between it and one end
 * of a socket pair; the caller has the other end, so that what is remote is used just like a Unix socket.
 * The thread ends when either side closes. No libwebsockets or OpenSSL type leaves this file's .c.
 */
#ifndef LIB_TRANSPORT_CLIENT_H
#define LIB_TRANSPORT_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/rpc_client_private.h"

enum transport_kind {
	TRANSPORT_LINES, /* a text frame is a line, both ways */
	TRANSPORT_BYTES, /* binary frames, cut anywhere */
};

struct transport_target {
	const char *host; /* name or address, without brackets */
	uint16_t port;
	const char *path;  /* "/rpc/v1" */
	const char *token; /* sent as "Authorization: Bearer ..."; NULL: none */
	const char
	    *fingerprint; /* the only certificate that will do; "" or NULL: none, so that told->seen
			     can be asked about; nothing but the TLS hello is sent before it was compared */
	enum transport_kind kind;
};

struct transport_told {
	char seen[RPC_FINGERPRINT_SIZE]; /* the certificate that the host showed, or "" */
	int http_status;                 /* what the host answered instead of opening the WebSocket, or 0 */
	char why[160];                   /* libwebsockets' words */
};

/*
 * Connects and waits until the WebSocket is open: 0 with *fd, a connected non-blocking stream socket that
 * the caller closes. Else a negative errno: -EKEYREJECTED for another certificate (told->seen),
 * -EACCES for an HTTP answer (told->http_status), -ECONNREFUSED, -ETIMEDOUT, -ECANCELED, -ENOMEM, ...
 */
int transport_connect(
    const struct transport_target *t, const struct rpc_patience *p, int *fd, struct transport_told *told);

#endif
