/*
 * hypervisor/worker/memory_requests.h - dynamic memory of a machine (Memory.Dynamic): the device in the
 * worker, the rows of the table of requests that are about it, and the event "memory".
 */
#ifndef HYPERVISOR_WORKER_MEMORY_REQUESTS_H
#define HYPERVISOR_WORKER_MEMORY_REQUESTS_H

#include <stdint.h>

#include "hypervisor/worker/services.h"
#include "lib/control.h"

struct memory_target {
	uint64_t bytes;
};
struct memory_status {
	bool dynamic, balloons, adds, silent;
	unsigned state;
	uint64_t minimum, maximum, target, assigned, demand, available, ballooned, added, nonsense;
};

extern const struct service memory_service;
extern const struct field memory_target_fields[], memory_status_fields[];

int do_memory_target(void *ctx, void *params, void *result, struct err *e);
int do_memory_status(void *ctx, void *params, void *result, struct err *e);
/* Bytes that the machine has at this moment. */
uint64_t memory_assigned(struct worker *w);

#endif
