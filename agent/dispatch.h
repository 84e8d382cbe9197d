/*
 * agent/dispatch.h - one call, with all rules of the interface: who may, with what, once or again, for real
 * or not. Carriers and batches are agent/client.h's.
 */
#ifndef AGENT_DISPATCH_H
#define AGENT_DISPATCH_H

#include <jansson.h>

#include "agent/method.h"

enum { PATH_TEXT_SIZE = 64 };

/* NULL when no method is called that. */
const struct rpc_method *dispatch_find(const char *name);
/*
 * Carries out a call of who's. params as sent, with "_"; NULL for none. Returns a new reference to
 * {"result":...} or {"error":...}; *code (may be NULL) is the fault's. client may be NULL. Any thread; blocks
 * as long as the handler does.
 */
json_t *dispatch_call(struct agent *a, struct client *client, const struct identity *who, const char *method,
    json_t *params, enum fault_code *code);
/* A job's turn; on its thread. path: what it touches. 0 with *answer {"result":...}, or negative with *f,
 * also when the user may not any more. */
int dispatch_job(struct agent *a, const struct rpc_method *m, json_t *params, const struct identity *who,
    const char *path, struct job *job, json_t **answer, struct fault *f);
/*
 * Whether who may call m with these parameters: 0, or FAULT_NOT_LOGGED_IN or FAULT_FORBIDDEN with the reason.
 * path (of PATH_TEXT_SIZE) is what the call touches.
 */
int dispatch_may(struct agent *a, const struct identity *who, const struct rpc_method *m,
    const json_t *params, char *path, struct fault *f);

/* A copy of doc, an object as table says, that may be written to the disk: a new reference. */
json_t *dispatch_without_secrets(const struct field *table, const json_t *doc);

#endif
