/* hypervisor/disk/mover_direct.h - for mover.c: data that the kernel copies from file to file. */
#ifndef HYPERVISOR_DISK_MOVER_DIRECT_H
#define HYPERVISOR_DISK_MOVER_DIRECT_H

#include "hypervisor/disk/layers.h"

/*
 * Copies x->len bytes of data to `offset` of a disk that reads zero there, but for runs of zeros. Shortens
 * x->len to what it has done. -EXDEV: nothing was done, and never can be between these two.
 */
int direct_copy(struct disk *to, struct layer_extent *x, uint64_t offset, uint64_t *stored, struct err *e);

/* mover.c: */
bool mover_all_zero(const uint8_t *p, uint64_t len);
void mover_begin_writeback(const struct disk_file *f);

#endif
