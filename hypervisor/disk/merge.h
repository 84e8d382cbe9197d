/*
 * hypervisor/disk/merge.h - what differencing images hold goes into the image they were made on.
 *
 * Only what the children hold themselves is moved: data as data, zeros and trimmed ranges as zeros, and of a
 * block that is partly there the sectors that are. Several levels go at once: of each range, what the
 * uppermost of them has.
 *
 * Order, so that a power cut at any point leaves a chain that opens and shows the same (fact: a reader of the
 * top never sees what the parent has where a child has something):
 *
 *   1. the image right above the parent gets the parent's next identity as its second name
 *   2. the parent gets that identity: from now on other children of it do not fit any more
 *   3. content is moved, in any order; flushed
 *   4. now, and no earlier, the caller may drop the children: the parent shows what the top has shown
 *
 * A merge that was broken off is begun again and goes on where 2 was already done. (VHD has no second name,
 * and its identity does not follow its content: there are no steps 1 and 2.)
 *
 * A live merge, under a running machine whose disk is the top (step 3 only; 1 and 2 need files that nobody
 * uses, and are done while the machine's I/O is stopped for a moment):
 *
 *   - I/O stopped: 1, 2; the parent is opened for writing (keep_data_id) and put in the place of the one that
 * the top reads through, since only one set of tables of a file may be alive
 *   - I/O goes on. On its loop, mover_step (live; from: the top, stop and to: the parent) moves one range
 * after the other; struct merge_cursor says how far it is. Each write, zero and discard of the machine is
 * asked merge_route: above the cursor it goes to the top alone; below, to both, and ends when both have
 * ended; where the step is, it waits for the step's end. Reads and flushes go to the top: it has everything
 * until the end
 *   - a write that fails in the parent alone ends the merge, not the machine's request
 *   - behind the last range: a flush of the parent; I/O stopped; the parent is opened with the descriptors of
 * the chain as the machine's disk; the children can be dropped; I/O goes on
 *
 * Blocks, but for merge_route.
 */
#ifndef HYPERVISOR_DISK_MERGE_H
#define HYPERVISOR_DISK_MERGE_H

#include "hypervisor/disk/chain.h"
#include "hypervisor/disk/format.h"

/*
 * Merges images [0, into) into image `into`. The chain was opened whole; its first image for writing if it is
 * right above the parent. The loop is here (io_loop_here). -ECANCELED: p has ended it; -EINVAL: the two have
 * not the same size, ...
 */
int disk_merge(
    struct disk_chain *c, unsigned into, struct io_loop *loop, const struct disk_progress *p, struct err *e);
/* Steps 1 and 2 alone, for a live merge. */
int disk_merge_prepare(struct disk_chain *c, unsigned into, struct err *e);

/* Whether a merge before this one has come through steps 1 and 2; and an identity for them, if not. Formats
 * whose identity stays take no notice of it. */
bool disk_merge_is_prepared(const struct disk_info *child, const struct disk_info *parent);
int disk_merge_next_id(uint8_t next[GUID_BYTES], struct err *e);

/* --- Live: on the loop's thread ---------------------------------------------------------------------- */

struct merge_cursor {
	uint64_t done; /* everything below is in the parent */
	uint64_t busy; /* [done, busy) is being moved; busy == done: nothing is */
};

enum merge_route {
	MERGE_TOP,  /* to the top alone */
	MERGE_BOTH, /* to the top and to the parent */
	MERGE_WAIT, /* asked again when the step has ended */
};

static inline enum merge_route
merge_route(const struct merge_cursor *c, uint64_t offset, uint64_t len)
{
	if (offset < c->busy && offset + len > c->done)
		return c->busy > c->done ? MERGE_WAIT : MERGE_BOTH;
	return offset < c->done ? MERGE_BOTH : MERGE_TOP;
}

#endif
