/*
 * hypervisor/worker/disk_requests.h - the rows of the worker's table of requests that are about disks.
 */
#ifndef HYPERVISOR_WORKER_DISK_REQUESTS_H
#define HYPERVISOR_WORKER_DISK_REQUESTS_H

#include <stdint.h>

#include "hypervisor/core/machine.h"
#include "hypervisor/worker/disks.h"
#include "lib/control.h"

struct disk_params {
	struct unit unit;
	bool force;
	uint64_t size, levels;
	int above; /* -1: none */
};
struct disk_list {
	size_t n;
	struct unit_report unit[MACHINE_MAX_SCSI * STORAGE_UNITS];
};

extern const struct field disk_add_fields[], disk_name_fields[], disk_insert_fields[], disk_limit_fields[],
    disk_resized_fields[], disk_list_fields[], disk_branch_fields[], disk_merge_fields[];

void disk_defaults(void *params);
int do_disk_add(void *ctx, void *params, void *result, struct err *e);
int do_disk_remove(void *ctx, void *params, void *result, struct err *e);
int do_disk_insert(void *ctx, void *params, void *result, struct err *e);
int do_disk_limit(void *ctx, void *params, void *result, struct err *e);
int do_disk_resized(void *ctx, void *params, void *result, struct err *e);
int do_disk_branch(void *ctx, void *params, void *result, struct err *e);
int do_disk_merge(void *ctx, void *params, void *result, struct err *e);
int do_disk_merge_complete(void *ctx, void *params, void *result, struct err *e);
int do_disk_merge_cancel(void *ctx, void *params, void *result, struct err *e);
int do_disk_list(void *ctx, void *params, void *result, struct err *e);

#endif
