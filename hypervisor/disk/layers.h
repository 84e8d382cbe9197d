/*
 * hypervisor/disk/layers.h - which file of a chain holds what a reader of the disk sees.
 *
 * On the loop's thread, or on the thread that owns the disks while there is none.
 */
#ifndef HYPERVISOR_DISK_LAYERS_H
#define HYPERVISOR_DISK_LAYERS_H

#include "hypervisor/disk/disk.h"

/* What lies at an offset, and from there on: */
struct layer_extent {
	enum extent_kind kind; /* EXTENT_PARENT: `stop` or what is behind it has it */
	struct disk *owner;    /* EXTENT_DATA: in this one's file, at `at` */
	uint64_t at, len;      /* bytes; len is a multiple of the disk's sectors */
};

struct layer_find {
	struct disk *top;
	const struct disk *stop; /* not looked into; NULL: the whole chain is */
	bool live;               /* the disks are working: -EAGAIN when a table has to be read first */
	bool holes;              /* holes of the host's files are zeros */
};

/*
 * offset + len is within the top's size. What lies behind a parent's end reads zero. -EAGAIN: it can be
 * asked again when the loop has been round. e may be NULL.
 */
int layer_find(
    const struct layer_find *how, uint64_t offset, uint64_t len, struct layer_extent *x, struct err *e);

#endif
