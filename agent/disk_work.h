/*
 * agent/disk_work.h - one call's change of a machine's disks or DVD drives: what all kinds of calls do on
 * the way. Private to disk_calls.c, dvd_calls.c, branch_calls.c and merge_calls.c.
 *
 * A change goes so: find its place, judge the file and the document it would make, note it for a dry run
 * (call_would), ask the worker, write the document, tell everybody. What is judged before the note changes
 * nothing.
 *
 * A struct disk_work belongs to the thread of its call, between vm_disks_begin and vm_disks_end: without
 * vm->lock. Functions return 0, or a negative number with the fault in w->f.
 */
#ifndef AGENT_DISK_WORK_H
#define AGENT_DISK_WORK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/disk_calls.h"
#include "agent/disk_file.h"
#include "agent/disk_image.h"
#include "agent/vm_disks.h"

/* A change of one machine's disks, from its rights on. All is borrowed for the time of the call. */
struct disk_work {
	struct call *c;
	const struct disk_params *p;
	struct vm *vm;
	struct disks_change ch;
	struct disk_place at;
	json_t *result;
	struct fault *f;
	enum disk_effect effect;
	struct image_chain *chain; /* what the disk is made on, or is, if that is an image; else NULL */
	bool is_parent;            /* the disk is made on it */
};

/* Finds the machine, waits its turn, and has change done if ifMatch agrees: the whole of a call. */
int disk_work_carry_out(
    struct call *c, const void *params, json_t *result, struct fault *f, int (*change)(struct disk_work *w));
/* The turn of a change that takes several: w->vm is set. The rest of w is as it is between the two. */
int disk_work_enter(struct disk_work *w);
void disk_work_leave(struct disk_work *w);
/* Ends a change: everybody hears that the machine is another now, and the answer says how; d is its disk. */
int disk_work_done(struct disk_work *w, const struct vm_disk *d);
/* Ends one that changes nothing. */
int disk_work_unchanged(struct disk_work *w);
/* For notes: "at once", or "for its next start". */
const char *disk_work_when(const struct disk_work *w);

/* The place that the call names, as it is now: a disk, or with find_any a drive, too. */
int disk_work_find_disk(struct disk_work *w, struct vm_disk *out);
int disk_work_find_any(struct disk_work *w, struct vm_disk *out);
/* The DVD drive that the call names; without lun the only one there is. */
int disk_work_find_drive(struct disk_work *w, struct vm_disk *out);
/* The place that the call names, or the first free one of its controller, into d. */
int disk_work_free_place(struct disk_work *w, struct vm_disk *d);

/* Whether who calls may have the machine use d's file so. */
int disk_work_may_use(const struct disk_work *w, const struct vm_disk *d);
/* Whether its file may be deleted: it is the machine's own, and nothing else of it is on it. */
int disk_work_may_delete_file(struct disk_work *w, const struct vm_disk *d);
/* The path that was given, in its short form, into d; and whether it may be used. */
int disk_work_take_path(struct disk_work *w, struct vm_disk *d);
/* Whether d's file can be opened, and by this machine. */
int disk_work_try_file(struct disk_work *w, const struct vm_disk *d);
/* Whether the document can have d so, with the parents of w->chain if there is one; w->ch.is has it then. */
int disk_work_try_document(struct disk_work *w, const struct vm_disk *d);
/* Where the new disk's file is to be, into d, whose format is set: it is not there yet, and there is room for
 * size bytes of it. */
int disk_work_plan_file(struct disk_work *w, struct vm_disk *d, uint64_t size);

/* Bytes in words, as MiB, GiB or TiB: "1.5 GiB". Returns out. */
const char *disk_work_size_text(uint64_t bytes, char out[32]);
/* Bytes, up to the next whole MiB. */
uint64_t disk_work_whole_mib(uint64_t size);
/* Whether the data disk has room for more: bytes that may be written one day and are not there now. */
int disk_work_check_room(struct disk_work *w, uint64_t more);

/* Gives the machine d, which is as it shall be, in worker and document; with make its file, as w->p and
 * w->chain say, is made first. All of it is taken back if it fails; else the change is done. */
int disk_work_attach(struct disk_work *w, const struct vm_disk *d, bool make);
/* Takes d from the worker, then from the document; back to the worker if that fails. The answer says whether
 * its file is closed. The change is still to be done. */
int disk_work_detach(struct disk_work *w, const struct vm_disk *d);

#endif
