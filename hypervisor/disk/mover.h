/*
 * hypervisor/disk/mover.h - moves the content of one disk, or of the upper images of a chain, to another
 * disk.
 *
 * In steps: each moves one range, several pieces of it at a time, and ends with a call. Between steps nothing
 * is in flight. Copies (copy.h) and merges (merge.h) are made of it, and a live merge (there) as well: a step
 * never blocks if it is told that the disks are working.
 *
 * Holes and runs of zeros are found and not stored. Where both sides are files of the host and nobody waits,
 * the kernel copies between them (copy_file_range), which also shares space where the file system can.
 */
#ifndef HYPERVISOR_DISK_MOVER_H
#define HYPERVISOR_DISK_MOVER_H

#include "hypervisor/disk/disk.h"
#include "hypervisor/disk/layers.h"

enum {
	MOVER_PIECE = 1 << 20, /* bytes of a read or write */
	MOVER_PIECES = 6,      /* in flight */
	MOVER_RUN = 64 << 10,  /* zeros are looked for in runs of this length */
};

struct mover;

struct mover_how {
	struct disk *from;
	const struct disk
	    *stop; /* an image of from's chain: what it and those behind it have stays; or NULL */
	struct disk *to;
	bool fresh; /* `to` reads zero everywhere: what is zero is left out. Else it is made zero */
	bool live;  /* both are working on the caller's loop: nothing blocks */
};

int mover_new(struct mover **out, const struct mover_how *how, struct err *e);
void mover_free(struct mover *m); /* NULL is allowed; no step is under way */

/*
 * Live: moves [offset, offset + len): multiples of both disks' sectors, within both. On the loop's thread;
 * done may be called before this returns. rc: 0, or the first error, of which mover_error has the sentence;
 * then part of the range may have been moved.
 */
void mover_step(struct mover *m, uint64_t offset, uint64_t len, void (*done)(void *ctx, int rc), void *ctx);
/* For tools: the same, waited for, on a loop that is here (io_loop_here). */
int mover_wait(struct mover *m, uint64_t offset, uint64_t len, struct err *e);
const struct err *mover_error(const struct mover *m);
/* Bytes of data that have been stored so far. */
uint64_t mover_stored(const struct mover *m);

#endif
