/*
 * agent/disk_calls.h - what the table in methods_disk.c calls, and what is handed over. Private to it and the
 * files named here.
 *
 * Functions are as call in struct rpc_method (method.h): params is a struct disk_params, of which each looks
 * at what its row has. Any thread; they block for as long as a worker and the data disk take.
 */
#ifndef AGENT_DISK_CALLS_H
#define AGENT_DISK_CALLS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/fault.h"
#include "agent/method.h"
#include "agent/vm_config.h"

enum { DISK_NAME_SIZE = 200 };

/* Of all of them. size, sector: bytes; min_iops, max_iops: operations of 8 KiB a second; max_bytes: a second.
 * lun is UINT64_MAX if it is not given. */
struct disk_params {
	char vm[VM_NAME_SIZE], path[VM_DISK_PATH_SIZE], name[DISK_NAME_SIZE], serial[VM_SERIAL_SIZE];
	char parent[VM_DISK_PATH_SIZE];
	unsigned format, type; /* enum vm_disk_format, image_type */
	uint64_t block_size, physical;
	uint64_t controller, lun, size, sector, min_iops, max_iops, max_bytes;
	uint64_t levels;
	bool read_only, pause_when_full, overcommit, delete_file, force;
};

/* When a change takes effect (disk_work.c). */
enum disk_effect { DISK_EFFECT_NOW, DISK_EFFECT_NEXT_START };
extern const char *const disk_effects[]; /* "Now", "NextStart", NULL */

/* disk_calls.c */
int disk_call_add(struct call *c, const void *params, json_t *result, struct fault *f);
int disk_call_remove(struct call *c, const void *params, json_t *result, struct fault *f);
int disk_call_set(struct call *c, const void *params, json_t *result, struct fault *f);
int disk_call_resize(struct call *c, const void *params, json_t *result, struct fault *f);

/* branch_calls.c, merge_calls.c */
int disk_call_branch(struct call *c, const void *params, json_t *result, struct fault *f);
int disk_call_merge(struct call *c, const void *params, json_t *result, struct fault *f);

/* dvd_calls.c */
int dvd_call_add(struct call *c, const void *params, json_t *result, struct fault *f);
int dvd_call_remove(struct call *c, const void *params, json_t *result, struct fault *f);
int dvd_call_set(struct call *c, const void *params, json_t *result, struct fault *f);

/* disk_view.c */
extern const struct field disk_view_result[]; /* what both of them answer */
int disk_call_list(struct call *c, const void *params, json_t *result, struct fault *f);
int dvd_call_list(struct call *c, const void *params, json_t *result, struct fault *f);

#endif
