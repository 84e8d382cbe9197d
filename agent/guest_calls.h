/*
 * agent/guest_calls.h - what the table in methods_guest.c calls, and what is handed over. Private to it and
 * the files named here.
 *
 * Functions are as call in struct rpc_method (method.h): params is a struct guest_params, of which each looks
 * at what its row has. Any thread; they block for as long as a worker, the data disk and, where that is said,
 * the guest take.
 */
#ifndef AGENT_GUEST_CALLS_H
#define AGENT_GUEST_CALLS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/fault.h"
#include "agent/method.h"
#include "agent/vm_config.h"

enum { GUEST_PATH_SIZE = 520, GUEST_FACTS = 128, GUEST_KEY_SIZE = 766, GUEST_VALUE_SIZE = 3070 };
enum guest_restart { RESTART_GUEST, RESTART_RESET };
enum guest_pool { POOL_INTRINSIC, POOL_GUEST };
extern const char *const guest_pools[]; /* "Intrinsic", "Guest", NULL: as workers call them, too */

/* Of all of them; sizes in MiB, times in seconds. */
struct guest_params {
	char vm[VM_NAME_SIZE];
	unsigned service, mode, pool;
	uint64_t timeout;
	char source[VM_PATH_SIZE], destination[GUEST_PATH_SIZE];
	bool overwrite, create_path, refresh;
	bool dynamic;
	uint64_t startup, minimum, maximum, size;
};

/* integration_calls.c */
extern const struct field integration_list_result[], integration_change_result[];
int integration_call_list(struct call *c, const void *params, json_t *result, struct fault *f);
int integration_call_enable(struct call *c, const void *params, json_t *result, struct fault *f);
int integration_call_disable(struct call *c, const void *params, json_t *result, struct fault *f);

/* guest_calls.c: they wait for the guest */
extern const struct field guest_get_result[], guest_copy_result[];
int guest_call_get(struct call *c, const void *params, json_t *result, struct fault *f);
int guest_call_freeze(struct call *c, const void *params, json_t *result, struct fault *f);
int guest_call_thaw(struct call *c, const void *params, json_t *result, struct fault *f);
int guest_call_restart(struct call *c, const void *params, json_t *result, struct fault *f);
int guest_call_copy(struct call *c, const void *params, json_t *result, struct fault *f);
/* As undo in struct rpc_method: nobody waits for the copy any more. */
void guest_undo_copy(struct agent *a, json_t *params);

/* memory_calls.c */
extern const struct field memory_get_result[], memory_set_result[];
int memory_call_get(struct call *c, const void *params, json_t *result, struct fault *f);
int memory_call_set(struct call *c, const void *params, json_t *result, struct fault *f);
int memory_call_target(struct call *c, const void *params, json_t *result, struct fault *f);

#endif
