/*
 * hypervisor/worker/disks.h - the machine's disks and DVD drives: one storage controller and one I/O thread
 * for each that its description asks for, the units on them, and what they have to tell.
 *
 * Units may be named before the machine is created: they are then part of it from its first moment, and saved
 * state finds them. Afterwards they come and go while it runs. All functions are the control thread's; the
 * controllers' news come from I/O threads through a queue that drops what is more than it holds (and counts),
 * and of what a guest can cause without end what comes too often.
 */
#ifndef HYPERVISOR_WORKER_DISKS_H
#define HYPERVISOR_WORKER_DISKS_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/core/partition.h"
#include "hypervisor/disk/format.h"
#include "hypervisor/vsp/storage.h"
#include "lib/control.h"
#include "lib/err.h"

extern const char *const format_names[]; /* by enum disk_format_id, NULL-terminated */
extern const char *const unit_kinds[];   /* by enum unit_kind */

/* One unit, as a request names it. */
struct unit {
	uint64_t controller, lun;
	struct unit_config config;
	unsigned format; /* enum disk_format_id */
	uint64_t sector; /* logical: 512 or 4096; a DVD has its own */
	bool read_only;
	int file;       /* -1: no medium */
	size_t parents; /* of a differencing image: its parent, that one's parent, ... */
	struct unit_parent {
		int file;
	} parent[DISK_CHAIN_MAX - 1];
};

struct disks;

/* What is named before there is a machine. */
int disks_new(struct disks **out, struct control *control, struct err *e);
/* Before the partition is freed; no guest runs. Units only: a worker's process ends with it. */
void disks_free(struct disks *d);

/* Controllers with their threads, on a partition that was just built. Before the control thread's walls
 * close. */
int disks_create(struct disks *d, struct partition *p, int (*walls)(struct err *), struct err *e);
/* The units named so far: their images are read, so after those walls have closed. */
int disks_attach(struct disks *d, struct err *e);

/* A unit comes, with its files (taken over in any case). */
int disks_add(struct disks *d, const struct unit *u, struct err *e);
/* A unit goes: it is away for the guest; a "disk" event ("Removed") says when its file has been closed. */
int disks_remove(struct disks *d, uint64_t controller, uint64_t lun, struct err *e);
/* Another medium in a DVD drive; u->file -1 takes it out. force: though the guest has locked the drive. */
int disks_insert(struct disks *d, const struct unit *u, bool force, struct err *e);
int disks_limit(struct disks *d, const struct unit *u, struct err *e);
/*
 * While the guest runs: u->file, an empty differencing image on the disk's own, becomes its own, and that one
 * its parent (taken over in any case). Or the disk's own image and levels - 1 of its parents are merged into
 * the next one: u->file and above are descriptors of that one and of the image right above it, open for
 * writing (taken over in any case; above -1 if that is the disk's own). A "disk" event says when all is in
 * the parent ("Merged"), or that the disk is what it was ("MergeEnded"). After "Merged" complete makes the
 * parent the disk's own; after cancel follows "MergeEnded".
 */
int disks_branch(struct disks *d, const struct unit *u, struct err *e);
int disks_merge(struct disks *d, const struct unit *u, uint64_t levels, int above, struct err *e);
int disks_merge_complete(struct disks *d, const struct unit *u, struct err *e);
int disks_merge_cancel(struct disks *d, const struct unit *u, struct err *e);
int disks_resized(struct disks *d, uint64_t controller, uint64_t lun, uint64_t size, struct err *e);

/* The guest stops being served, for a save; goes on. -EBUSY when a disk does not end its requests in time. */
int disks_pause(struct disks *d, struct err *e);
void disks_resume(struct disks *d);
/* What waits for space below is tried again. */
void disks_retry(struct disks *d);
/* Does what I/O threads have left to this one, of the bus: a part of disks_news, for whoever waits. */
void disks_work(struct disks *d);

/* Brings all disks into the order in which other programs like to find them; waits for their requests. No
 * guest runs, nor will: units do not come back from this. */
void disks_close(struct disks *d);

/*
 * Tells the controller what the I/O threads had to say, and lets the bus know of channels that are closed.
 * True when a disk found no space below: the machine is to be paused, why has words.
 */
bool disks_news(struct disks *d, char *why, size_t size);

enum merge_progress { MERGE_NONE, MERGE_MOVING, MERGE_DONE };
extern const char *const merge_names[];
struct unit_report {
	uint64_t controller, lun;
	unsigned kind;
	struct unit_stats stats;
	unsigned merge;                /* enum merge_progress */
	uint64_t merge_at, merge_size; /* bytes */
};
/* The units there are: their number, at most cap of them in r. */
size_t disks_report(struct disks *d, struct unit_report *r, size_t cap);

#endif
