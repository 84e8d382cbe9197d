/*
 * hypervisor/vsp/balloon_set.h - the guest's pages that are in its balloon: one bit for each page below a
 * limit, in address space that takes memory only where it is used.
 *
 * One thread at a time; page_set_new, page_set_clear and page_set_free are the control thread's (they map).
 */
#ifndef HYPERVISOR_VSP_BALLOON_SET_H
#define HYPERVISOR_VSP_BALLOON_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/state/snap.h"
#include "lib/err.h"

enum {
	PAGE_SET_CHUNK = 1 << 15,     /* pages that are counted and saved together: 128 MiB */
	PAGE_SET_STATE_MAX = 8 << 20, /* bytes of saved state; of 256 GiB whatever the pattern */
};

struct page_set;

/* Of pages 0 to limit - 1. */
int page_set_new(struct page_set **out, uint64_t limit, struct err *e);
void page_set_free(struct page_set *s);
void page_set_clear(struct page_set *s);

uint64_t page_set_count(const struct page_set *s);
bool page_set_has(const struct page_set *s, uint64_t page);
/* How many of n pages from `first` on were changed. Pages at or above the limit are left out. */
uint64_t page_set_add(struct page_set *s, uint64_t first, uint64_t n);
uint64_t page_set_remove(struct page_set *s, uint64_t first, uint64_t n);
/* The lowest pages of the set at or after `from` and below `end` that follow each other, at most `most`: how
 * many, and the first; 0: none. */
uint64_t page_set_run(const struct page_set *s, uint64_t from, uint64_t end, uint64_t most, uint64_t *first);

/* Restored into an empty set. ok: whether n pages from `first` on may be in it. What does not fit into
 * PAGE_SET_STATE_MAX is left out: the guest then gets those pages back only when it starts again. */
void page_set_snap(
    struct page_set *s, struct snap *snap, bool (*ok)(void *ctx, uint64_t first, uint64_t n), void *ctx);

#endif
