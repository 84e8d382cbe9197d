/*
 * agent/carriers.h - between lib/transport_server.h, which knows connections, and agent/client.h, which knows
 * calls.
 */
#ifndef AGENT_CARRIERS_H
#define AGENT_CARRIERS_H

#include "agent/agent.h"

/* Makes the certificate if there is none, and binds the local socket; sets a->carriers. */
int carriers_new(struct agent *a, struct err *e);
/* Begins to serve. */
int carriers_start(struct agent *a, struct err *e);
/* Ends all connections; no call comes after that. */
void carriers_stop(struct agent *a);
void carriers_free(struct agent *a);
/* For fuzzing and tests: lib/transport_server.h's transport_adopt and _step. */
struct transport *carriers_transport(struct agent *a);

#endif
