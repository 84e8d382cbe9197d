/*
 * hypervisor/disk/vhd_live.h - a dynamic or differencing VHD while it works, for the files vhd_*.c alone.
 *
 * There is no journal, so order does it. A sector is written whole or not at all, and each step below leaves
 * a good image:
 *
 *   room      (vhd_space.c) the last footer goes to its new place, far behind the old one, and is durable
 * before blocks are taken from between. With it go the bitmaps of a dynamic disk's blocks, all ones: so a
 *             later write needs no bitmap at all. Behind the file's end all reads zero, so a block that a
 * table names too early reads zero blocks    are named by the table with the next commit (vhd_live.c) bitmaps
 * of a child's blocks say of each sector whether it is here; the bit follows the data, with a flush between
 * (vhd_bits.c)
 *
 * All of it on the loop's thread, but open, extent, close and free.
 */
#ifndef HYPERVISOR_DISK_VHD_LIVE_H
#define HYPERVISOR_DISK_VHD_LIVE_H

#include "hypervisor/disk/image.h"
#include "hypervisor/disk/vhd.h"

enum {
	VHD_SLICE = 2 << 20,    /* bytes of disk that a sector of bitmap speaks of, at most */
	VHD_LOADS = 16,         /* sectors of bitmaps on their way from the file */
	VHD_CELLS_MAX = 16384,  /* of them in memory, that could be read again */
	VHD_TABLE_DIRTY = 128,  /* sectors of the table that may change between commits */
	VHD_CELLS_DIRTY = 1024, /* sectors of bitmaps */
	VHD_CHANGED = 2 * (VHD_TABLE_DIRTY + VHD_CELLS_DIRTY), /* both, the commit's under way with them */
	VHD_SLOTS = VHD_CHANGED + 2 * IMAGE_PIECES,            /* what was placed before may still come */
	VHD_WRITING = 64,
};

/* A sector of a bitmap, as it is in the file or will be. */
struct vhd_cell {
	struct vhd_cell *next; /* of those that have changed */
	uint32_t slice;
	uint32_t pins;        /* writes that were placed by it */
	bool dirty, captured; /* in the commit to come; in the one under way */
	uint8_t map[VHD_SECTOR];
};

struct vhd_load {
	struct file_op op; /* first */
	struct iovec iov;
	struct vhd_disk *disk;
	struct vhd_cell *cell; /* NULL: idle */
};

/* What a commit writes. */
struct vhd_slot {
	struct image_write write;
	uint64_t at;
	struct vhd_cell *cell; /* NULL: a sector of the table */
	uint32_t sector;       /* of the table */
	uint8_t data[VHD_SECTOR];
};

struct vhd_room {
	struct file_op op; /* first */
	struct iovec iov;
	struct vhd_disk *disk;
	uint64_t next, end; /* blocks are taken from here; the footer is at the end, durable */
	/* More of it, while busy. */
	bool busy;
	unsigned step;
	uint64_t at, to; /* next bitmap; where the footer goes. 0: the file was never made longer */
	bool awaited;    /* a request has nowhere to go but there */
	int rc;          /* why there is no more: told once to who waited */
	uint64_t first;  /* the first block's place: an old footer may be in its bitmap until a barrier */
};

struct vhd_disk {
	struct image image; /* first */
	struct vhd v;
	bool child;
	bool now;          /* bitmaps are read at once: its owner waits */
	int record_rc;     /* why tables could not be written: with no flush between, all is known */
	uint32_t unplaced; /* blocks that have no place in the file */
	uint32_t *home;    /* sector of a trimmed block's place: its own for ever; 0: none */
	uint8_t *dropping; /* a bit per block: all of it is being emptied */
	uint16_t writing[VHD_WRITING]; /* writes on their way, by block */
	struct vhd_room room;
	uint8_t *fill; /* a new block's bitmap */

	uint32_t slice_bytes, slices_per_block, slices;
	struct vhd_cell **cells;       /* by slice: NULL unknown, or vhd_full, vhd_empty, ... */
	struct vhd_cell *pool, *spare; /* what cells are made of */
	unsigned fresh;
	uint32_t *kept; /* slices that have cells of their own, in a ring */
	uint32_t hand;
	unsigned loading;
	struct vhd_load load[VHD_LOADS];

	uint8_t *table_dirty; /* per sector of the table */
	uint32_t table_list[VHD_SLOTS];
	unsigned table_n;
	struct vhd_cell *dirty_cells;
	unsigned cells_n;
	struct vhd_slot *slot; /* VHD_SLOTS */
	unsigned slots;        /* of the commit under way */
};

static inline struct vhd_disk *
vhd_of(struct image *i)
{
	return (struct vhd_disk *)i;
}

/* Where a present block's data lies. */
static inline uint64_t
vhd_data(const struct vhd_disk *d, uint32_t block)
{
	return (uint64_t)vhd_entry(&d->v, block) * VHD_SECTOR + d->v.bitmap;
}

/* --- vhd_space.c --- */

int vhd_space_init(struct vhd_disk *d, struct err *e);
/* A place for a block that has none: its sector. -EAGAIN: the file is being made longer. -ENOSPC, -EFBIG ...
 */
int vhd_take(struct vhd_disk *d, uint32_t *sector);

/* --- vhd_bits.c --- */

int vhd_bits_init(struct vhd_disk *d, struct err *e);
void vhd_bits_fini(struct vhd_disk *d);
/* All sectors of a new block are here (a dynamic disk's), or none is. */
void vhd_bits_new(struct vhd_disk *d, uint32_t block);
/* How many bytes from offset are alike, at most len, and whether they are here. The block is present.
 * -EAGAIN: on their way. */
int vhd_bits_run(struct vhd_disk *d, uint64_t offset, uint64_t *len, bool *here);
/* For a write: cuts *len to where one cell's sectors end. *pinned: vhd_bits_wrote has to be called. */
int vhd_bits_pin(struct vhd_disk *d, uint64_t offset, uint64_t *len, bool *pinned);
void vhd_bits_wrote(struct vhd_disk *d, uint64_t offset, uint64_t len, int rc);
/* Where a slice's sector of bitmap lies: of a block that has a place, if only its former one. */
uint64_t vhd_bits_at(const struct vhd_disk *d, uint32_t slice);
/* A captured cell is durable, or not. */
void vhd_bits_settle(struct vhd_disk *d, struct vhd_cell *c, bool durable);

#endif
