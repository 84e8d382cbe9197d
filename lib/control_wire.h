/*
 * lib/control_wire.h - what both ends of a control socket share: one JSON text a packet, descriptors
 * beside it. Private to lib/control*.c. Nothing here blocks.
 */
#ifndef LIB_CONTROL_WIRE_H
#define LIB_CONTROL_WIRE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/control.h"

/* JSON-RPC 2.0, section 5.1; the last is ours. */
enum rpc_code {
	RPC_OK = 0,
	RPC_NOT_JSON = -32700,
	RPC_NOT_A_REQUEST = -32600,
	RPC_NO_SUCH_METHOD = -32601,
	RPC_BAD_PARAMS = -32602,
	RPC_FAILED = -32000,
};

struct packet {
	char text[CONTROL_MAX];
	size_t len;
	bool cut_short; /* it was longer than CONTROL_MAX */
	bool fds_lost;  /* more descriptors came than fit; those that did are closed */
	int fd[CONTROL_MAX_FDS];
	size_t nfds;
};

/*
 * Takes one packet: its length, 0 at the end of the connection (an empty packet counts as one) or
 * -errno. Descriptors are the caller's once this returns; there are none unless it returns > 0.
 */
ssize_t wire_recv(int sock, struct packet *p);
/* Closes those that nobody has taken. */
void wire_close_fds(struct packet *p);
/* 0 or -errno; a message goes whole or not at all. */
int wire_send(int sock, const char *text, size_t len, const int *fd, size_t nfds);
/* The text of msg, at most CONTROL_MAX bytes: its length, or -ENOMEM or -EMSGSIZE. NULL is -ENOMEM. */
ssize_t wire_encode(const json_t *msg, char text[CONTROL_MAX]);

#endif
