/*
 * hypervisor/core/gmem.h - the one checked door to guest memory.
 *
 * Guest memory is one memfd, mapped once; each region of it appears at one guest physical address
 * (GPA). Host address, GPA and file offset of a region agree modulo 2 MiB, so that huge pages fit.
 * Nobody else keeps a pointer into it: every access names a GPA and a length, and fails unless every
 * byte is RAM. A guest may rewrite its memory at any moment: copy once, check the copy, use the copy.
 *
 * The kernel's dirty log does not see what the host writes, so every write through this door marks our
 * own bitmap while tracking is on. Any thread may read, write and mark; gmem_prepare, gmem_publish, gmem_add,
 * gmem_free and the tracking switches are the control thread's. Regions are only ever added.
 */
#ifndef HYPERVISOR_CORE_GMEM_H
#define HYPERVISOR_CORE_GMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

enum { GMEM_PAGE = 4096, GMEM_MAX_REGIONS = 16 };

struct gmem;

struct gmem_region {
	uint64_t gpa;  /* multiple of GMEM_PAGE */
	uint64_t len;  /* bytes, multiple of GMEM_PAGE, not 0 */
	uint64_t off;  /* in the memfd */
	uint8_t *host; /* where the worker sees it */
};

/* Reserves address space for `max` bytes of RAM in all; no memory is used yet. huge: MAP_HUGETLB pages
 * are required rather than transparent ones hoped for. */
int gmem_new(struct gmem **out, uint64_t max, bool huge, struct err *e);
void gmem_free(struct gmem *m);
/*
 * Makes RAM at gpa, in two steps, so that somebody between them may refuse. gmem_prepare maps it; it fails
 * when it overlaps a region or exceeds `max`. *out: the new region. gmem_publish makes RAM of what was
 * prepared last. Until then no access finds it, and the next gmem_prepare takes its place.
 */
int gmem_prepare(struct gmem *m, uint64_t gpa, uint64_t len, const struct gmem_region **out, struct err *e);
void gmem_publish(struct gmem *m);
/* Both. */
int gmem_add(struct gmem *m, uint64_t gpa, uint64_t len, const struct gmem_region **out, struct err *e);
size_t gmem_regions(const struct gmem *m);
const struct gmem_region *gmem_region(const struct gmem *m, size_t i);
uint64_t gmem_size(const struct gmem *m); /* bytes of RAM in all */

/* 0, or -EFAULT when a byte of gpa..gpa+len-1 is not RAM (then nothing was written). len may be 0. */
int gmem_read(const struct gmem *m, uint64_t gpa, void *buf, size_t len);
int gmem_write(struct gmem *m, uint64_t gpa, const void *buf, size_t len);
int gmem_zero(struct gmem *m, uint64_t gpa, uint64_t len);
/* pread() from fd straight into guest memory: 0, -EFAULT, or -EIO / -errno when fewer bytes came. */
int gmem_load(struct gmem *m, uint64_t gpa, int fd, uint64_t off, size_t len);
/* A host pointer to len bytes that are all RAM and contiguous, or NULL. For I/O that the kernel does
 * (preadv) and for atomics; the caller marks what it wrote with gmem_dirty. */
void *gmem_span(const struct gmem *m, uint64_t gpa, size_t len);

/* Gives every page back to the host; all memory reads as zero afterwards. Nobody may be using it. */
void gmem_discard(struct gmem *m);
/* Gives whole pages back to the host; they read as zero until they are used again. -EFAULT: not all of them
 * are RAM; -ENOTSUP: in huge pages of the host (gmem_new), which are not taken apart; or -errno. Control
 * thread. */
int gmem_give_back(struct gmem *m, uint64_t gpa, uint64_t len);
/* The next stretch of region i that holds pages, at or after `from` (bytes into the region): true with
 * *start and *len, false when none follows. Reading around in pages that were never touched would make
 * them. */
bool gmem_next_data(const struct gmem *m, size_t i, uint64_t from, uint64_t *start, uint64_t *len);

/* Dirty tracking of the host's own writes. */
int gmem_track(struct gmem *m, bool on, struct err *e);
void gmem_dirty(struct gmem *m, uint64_t gpa, uint64_t len);
/* Asked behind the writes: false spares whoever wrote in many places a gmem_dirty for each. */
bool gmem_tracked(const struct gmem *m);
/* Moves the bits of region i into bitmap (one bit a page, little-endian words) and clears them. */
void gmem_take_dirty(struct gmem *m, size_t i, uint64_t *bitmap);

#endif
