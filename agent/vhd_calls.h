/*
 * agent/vhd_calls.h - what the table in methods_vhd.c calls, and what is handed over. Private to it and the
 * files named here.
 *
 * Functions are as call in struct rpc_method (method.h): params is a struct vhd_params, of which each looks
 * at what its row has. Any thread; they block for as long as fh-disk takes (agent/disk_tool.h).
 */
#ifndef AGENT_VHD_CALLS_H
#define AGENT_VHD_CALLS_H

#include "agent/disk_image.h"
#include "agent/method.h"
#include "agent/vm_disks.h"

enum { VHD_LEVELS_MAX = VM_CHAIN_MAX };

/* Of all of them. Sizes: bytes. */
struct vhd_params {
	char vm[VM_NAME_SIZE], path[VM_DISK_PATH_SIZE], destination[VM_DISK_PATH_SIZE],
	    parent[VM_DISK_PATH_SIZE];
	unsigned format, to_format, type, source; /* enum vm_disk_format, image_type; of vhd.import */
	uint64_t size, block_size, sector, physical, levels;
	uint8_t id[GUID_BYTES];
	bool new_id, force, remove, repair;
};
extern const char *const vhd_sources[]; /* what vhd.import reads: "VMDK", "QCOW2", "VDI", NULL */

/* One call: the image it is about, found and allowed. All is borrowed for the time of the call. */
struct vhd_work {
	struct call *c;
	const struct vhd_params *p;
	json_t *result;
	struct fault *f;
	char name[VM_NAME_SIZE]; /* of the machine whose folder it is; "": none was given */
	struct disk_place at;
	char path[VM_DISK_PATH_SIZE]; /* short form; whole: */
	char whole[PATH_MAX];
	enum vm_disk_format format;
};

/* --- vhd_work.c: 0, or a negative number with the fault in w->f --- */
int vhd_begin(struct vhd_work *w, struct call *c, const void *params, json_t *result, struct fault *f);
/* The short form of another path of the call, in the same places. */
int vhd_take_path(
    const struct vhd_work *w, const char *param, const char *given, char out[VM_DISK_PATH_SIZE]);
/* Whether who calls may have that image written. */
int vhd_may_write(const struct vhd_work *w, const char *param, const char *path);
/* Whether it is there, and nobody uses it otherwise than use would allow. */
int vhd_is_free(const struct vhd_work *w, const char *path, enum disk_use use);
/* Whether a new image can be made there. */
int vhd_is_new(const struct vhd_work *w, const char *param, const char *path);
/* Refuses if the document of a machine names it as somebody's parent; without[] (n of them): disks with these
 * do not count. what: what would be done to it. */
int vhd_no_children(const struct vhd_work *w, const char *path, const char *without, const char *what);
/* Writes into all documents that name `was` as a disk, that it is path[0] with path[1], ... as its parents
 * now. */
int vhd_move_disks(
    struct vhd_work *w, const char *was, enum vm_disk_format format, const char *const *path, size_t n);
/* A command of fh-disk about w's image, which it may write. */
void vhd_tool(const struct vhd_work *w, struct disk_tool *t, const char *command);
/* Tells everybody of a file among the images; those of machines are not told of. */
void vhd_tell(const struct vhd_work *w, const char *path, const char *change);
/* Takes back what a job that was broken off may have left. */
void vhd_undo(struct agent *a, json_t *params);

/* What vhd.merge does, of an image that nobody uses (vhd_chain.c); in a dry run only told. */
int vhd_merge(struct vhd_work *w);

/* --- vhd_calls.c --- */
int vhd_call_create(struct call *c, const void *params, json_t *result, struct fault *f);
int vhd_call_convert(struct call *c, const void *params, json_t *result, struct fault *f);
int vhd_call_import(struct call *c, const void *params, json_t *result, struct fault *f);
int vhd_call_resize(struct call *c, const void *params, json_t *result, struct fault *f);
int vhd_call_optimize(struct call *c, const void *params, json_t *result, struct fault *f);

/* --- vhd_chain.c --- */
int vhd_call_set(struct call *c, const void *params, json_t *result, struct fault *f);
int vhd_call_merge(struct call *c, const void *params, json_t *result, struct fault *f);

/* --- vhd_look.c --- */
extern const struct field vhd_get_result[], vhd_test_result[];
int vhd_call_get(struct call *c, const void *params, json_t *result, struct fault *f);
int vhd_call_test(struct call *c, const void *params, json_t *result, struct fault *f);
int vhd_call_repair(struct call *c, const void *params, json_t *result, struct fault *f);

#endif
