/*
 * agent/disk_live.h - the images of a disk change, also while its machine runs: the steps that a new child
 * (branch_calls.c) and a merge (merge_calls.c) have in common, and what becomes of one that was broken off.
 *
 * Each step is whole or not done, and after each one vm.json names images that open and have everything that
 * the guest has flushed; the worker's side is in docs/architecture.md.
 *
 *   a child   note; its file; vm.json names it; the worker has it on top; the note goes.
 *             Broken off while vm.json names it: it stays if the worker has it, or it fits what is below
 *             (empty, it shows that). Else vm.json names the parent again, and the file goes.
 *   a merge   note; the worker merges; it says that the parent has everything; vm.json names the parent; the
 *             worker lets go of the images; their files go, if they shall; the note goes.
 *             Broken off before vm.json names the parent: it is cancelled. After that: it goes on.
 *
 * Whoever has claimed a disk is the only one to change its images until it lets go. Functions are called
 * within a change of the machine's disks (vm_disks_begin) unless something else is said; they block for as
 * long as a worker and the data disk take. 0, or a negative number with the fault.
 */
#ifndef AGENT_DISK_LIVE_H
#define AGENT_DISK_LIVE_H

#include "agent/disk_note.h"
#include "agent/vm_disks.h"

/* Writes n, and the disk is the caller's. Asked first: disk_live_free. */
int disk_live_claim(struct disks_change *ch, const struct disk_note *n, struct fault *f);
/* Others may; settled: nothing is left to be done, so the note goes. Outside of a change, too. */
void disk_live_release(struct machines *ms, struct vm *vm, const struct disk_note *n, bool settled);

/* vm.json: the disk is the uppermost of n's images, on the others and the parent; or the parent alone, on
 * what is below that. */
int disk_live_name_images(struct disks_change *ch, const struct disk_note *n, struct fault *f);
int disk_live_name_parent(struct disks_change *ch, const struct disk_note *n, struct fault *f);
/* Whether vm.json has n's disk as this. */
bool disk_live_is_named(struct disks_change *ch, const struct disk_note *n, const char *path);

/* A request to the worker about n's disk: `more` (taken, may be NULL) beside its place. 0 or -errno with
 * *why. Outside of a change, too. */
int disk_live_ask(struct vm *vm, const char *method, const struct disk_note *n, json_t *more,
    const struct vm_disk_files *files, struct err *why);

enum live_state {
	LIVE_NONE,    /* the disk is not being merged */
	LIVE_MOVING,  /* it is */
	LIVE_MERGED,  /* the parent has everything */
	LIVE_UNKNOWN, /* the worker does not answer just now */
	LIVE_LOST,    /* it has ended */
};
/* How far the worker is, in bytes of the disk. Outside of a change, too. */
enum live_state disk_live_state(struct vm *vm, const struct disk_note *n, uint64_t *done, uint64_t *total);

/* After LIVE_MERGED, vm.json names the parent: the worker lets go of n's images. 0 as well if the worker has
 * ended. -ECANCELED: the merge has ended by itself instead, and the images are to be named again. */
int disk_live_complete(struct disks_change *ch, const struct disk_note *n, struct fault *f);
/* The disk is what it was before the merge, or its worker has ended. Outside of a change, too. */
int disk_live_cancel(struct vm *vm, const struct disk_note *n, struct fault *f);

/* Whether somebody has that file open to write it. */
bool disk_live_is_held(const struct disk_place *at, const char *path);
/* Deletes the files of n's images, the uppermost first; none that somebody has open, or that a document
 * names. */
int disk_live_delete(
    struct machines *ms, const struct disk_place *at, const struct disk_note *n, struct fault *f);

/* --- disk_settle.c --- */
/* Whether the images of a disk may be changed: somebody else does not, and what was broken off there is
 * settled, in a dry run only looked at. */
int disk_live_free(struct disks_change *ch, uint64_t controller, uint64_t lun, bool dry_run, struct fault *f);
/* Settles all of a machine that was broken off and that nobody has claimed. Without vm->lock, outside of a
 * change. What cannot be settled now is logged, and stays for the next time. */
void disk_live_settle(struct machines *ms, struct vm *vm);

#endif
