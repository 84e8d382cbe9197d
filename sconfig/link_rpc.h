/*
 * sconfig/link_rpc.h - the link's carrier: lib/rpc_client.h. Passwords are asked for on the plain terminal,
 * once, before the full screen begins, and kept for as long as the menu runs.
 */
#ifndef SCONFIG_LINK_RPC_H
#define SCONFIG_LINK_RPC_H

#include <signal.h>

#include "sconfig/link.h"

struct link_rpc {
	struct rpc_client *client;
	const char *host; /* NULL: this one */
	bool may_ask;     /* questions are possible now */
	char password[RPC_PASSWORD_SIZE];
	const volatile sig_atomic_t *ended; /* not 0: stop waiting */
};

extern const struct link_ops link_rpc_ops; /* ctx: a struct link_rpc */
void link_rpc_close(struct link_rpc *l);

#endif
