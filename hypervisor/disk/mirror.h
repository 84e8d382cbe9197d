/*
 * hypervisor/disk/mirror.h - a merge under a running machine: a disk that is its top image to the machine
 * while the content of the top, and of the images between, is moved into one of its parents.
 *
 * The order of a merge, and why it is safe, is merge.h's. Here: reads go to the top. A write, zero or discard
 * goes to the top; below the cursor then to the parent, too, from a copy of its data (a guest may change its
 * memory meanwhile, and the two must not differ); where a range is being moved it waits. Writes that overlap
 * are done one after the other.
 *
 *   MOVING    one range after the other is moved, a few MiB each. While the machine has requests, no more
 * than half of the time is spent on it FLUSHING  all is moved: the parent is flushed. From here on the
 * machine's flushes go to both MERGED    each of the two, alone, has everything that was flushed, and goes on
 * to have it: whichever is named after a crash is right. A failure of either is the machine's request's ENDED
 * cancelled, or the parent failed: the top has everything, as before; nothing more goes to the parent
 *
 * Threads: as disk.h says of a disk; mirror_begin, mirror_cancel and mirror_look on the loop's thread.
 */
#ifndef HYPERVISOR_DISK_MIRROR_H
#define HYPERVISOR_DISK_MIRROR_H

#include "hypervisor/disk/disk.h"

struct mirror;

enum mirror_state { MIRROR_MOVING, MIRROR_FLUSHING, MIRROR_MERGED, MIRROR_ENDED };

struct mirror_how {
	struct disk *top;    /* open for writing; of as many bytes as the parent */
	struct disk *parent; /* of its chain, open for writing, prepared (merge.h) */
	/* The state became MERGED or ENDED. On the loop's thread; must not block. */
	void (*told)(void *ctx);
	void *ctx;
};

struct mirror_report {
	enum mirror_state state;
	uint64_t done, total; /* bytes of the disk */
	uint64_t stored;      /* bytes of data that were moved */
	struct err why;       /* ENDED; ECANCELED: it was asked for */
};

/* Nothing is in flight to the two, which stay the caller's. The disk belongs to the mirror. */
int mirror_new(struct mirror **out, const struct mirror_how *how, struct err *e);
struct disk *mirror_disk(struct mirror *m);
void mirror_free(struct mirror *m); /* NULL is allowed; MERGED, ENDED or never begun; nothing is in flight */

void mirror_begin(struct mirror *m);
/* It becomes ENDED when what is under way has ended; also if it was MERGED. */
void mirror_cancel(struct mirror *m);
void mirror_look(const struct mirror *m, struct mirror_report *r);

#endif
