/*
 * hypervisor/disk/vhd_bits.c - which sectors of a block are here: its bitmap, read by the sector when it is
 * needed, kept while it is in use or as there is room, and forgotten when all of it says "here".
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhd_live.h"

enum { AHEAD = 4, WORD = 64, POOL = VHD_CELLS_MAX + VHD_LOADS + 2 };

/* What needs no cell of its own. */
static struct vhd_cell full, empty, loading, failed;

static bool
is_own(const struct vhd_cell *c)
{
	return c && c != &full && c != &empty && c != &loading && c != &failed;
}

uint64_t
vhd_bits_at(const struct vhd_disk *d, uint32_t slice)
{
	uint32_t block = slice / d->slices_per_block, sector = vhd_entry(&d->v, block);

	if (sector == VHD_ABSENT)
		sector = d->home[block];
	return ((uint64_t)sector + slice % d->slices_per_block) * VHD_SECTOR;
}

/* --- Bits: the highest of a byte is its first sector ------------------------------------------------- */

static bool
bit(const uint8_t *map, uint32_t i)
{
	return map[i / 8] & 0x80 >> i % 8;
}

/* How many from `from` on are as it is, up to `to`. */
static uint32_t
run(const uint8_t *map, uint32_t from, uint32_t to)
{
	bool like = bit(map, from);
	uint64_t word, all = like ? UINT64_MAX : 0;
	uint32_t i = from + 1;

	while (i < to && bit(map, i) == like) {
		i++;
		while (i % WORD == 0 && i + WORD <= to) {
			memcpy(&word, map + i / 8, sizeof(word));
			if (word != all)
				break;
			i += WORD;
		}
	}
	return i - from;
}

/* True if one was clear. */
static bool
set(uint8_t *map, uint32_t from, uint32_t to)
{
	bool changed = false;

	for (uint32_t i = from; i < to; i++) {
		if (i % 8 == 0 && i + 8 <= to) {
			changed = changed || map[i / 8] != 0xff;
			map[i / 8] = 0xff;
			i += 7;
		} else {
			changed = changed || !bit(map, i);
			map[i / 8] |= (uint8_t)(0x80 >> i % 8);
		}
	}
	return changed;
}

/* Sectors of a slice: the last one's may end before its block does. */
static uint32_t
sectors(const struct vhd_disk *d, uint32_t slice)
{
	uint64_t left = d->v.footer.size - (uint64_t)slice * d->slice_bytes;

	return (uint32_t)((left < d->slice_bytes ? left : d->slice_bytes) / VHD_SECTOR);
}

static bool
is_full(const struct vhd_disk *d, const struct vhd_cell *c)
{
	uint32_t n = sectors(d, c->slice);

	return bit(c->map, 0) && run(c->map, 0, n) == n;
}

/* --- Cells in memory --------------------------------------------------------------------------------- */

static bool
is_idle(const struct vhd_cell *c)
{
	return c->pins == 0 && !c->dirty && !c->captured;
}

/* I/O threads cannot get memory: all that there ever is was made when the disk was opened, and is memory when
 * it is first used. Those in the ring, those being loaded, and one that is just to go into the ring: there is
 * always one left. */
static struct vhd_cell *
new_cell(struct vhd_disk *d, uint32_t slice)
{
	struct vhd_cell *c = d->spare;

	if (c)
		d->spare = c->next;
	else if (d->fresh < POOL)
		c = &d->pool[d->fresh++];
	if (c)
		*c = (struct vhd_cell){ .slice = slice };
	return c;
}

static void
drop_cell(struct vhd_disk *d, struct vhd_cell *c)
{
	c->next = d->spare;
	d->spare = c;
}

/* The cell takes the place in the ring of one that can go: most can. */
static void
keep(struct vhd_disk *d, uint32_t slice)
{
	for (unsigned i = 0; i < VHD_CELLS_MAX; i++) {
		uint32_t *place = &d->kept[d->hand++ % VHD_CELLS_MAX];
		struct vhd_cell *old = *place ? d->cells[*place - 1] : NULL;

		if (is_own(old) && !is_idle(old))
			continue;
		if (is_own(old) && *place - 1 != slice) {
			d->cells[old->slice] = NULL;
			drop_cell(d, old);
		}
		*place = slice + 1;
		return;
	}
}

static void
has_cell(struct vhd_disk *d, struct vhd_cell *c)
{
	uint32_t slice = c->slice;

	if (is_full(d, c)) {
		d->cells[slice] = &full;
		drop_cell(d, c);
		return;
	}
	d->cells[slice] = c;
	keep(d, slice);
}

/* --- Reading them ------------------------------------------------------------------------------------ */

static void
loaded(struct file_op *op, int rc)
{
	struct vhd_load *l = (struct vhd_load *)op;
	struct vhd_disk *d = l->disk;
	struct vhd_cell *c = l->cell;

	l->cell = NULL;
	d->loading--;
	if (rc < 0) {
		d->cells[c->slice] = &failed;
		drop_cell(d, c);
	} else {
		has_cell(d, c);
	}
	image_wake(&d->image);
}

static struct vhd_load *
idle_load(struct vhd_disk *d)
{
	for (unsigned i = 0; i < VHD_LOADS; i++)
		if (!d->load[i].cell)
			return &d->load[i];
	return NULL;
}

/* Without one to load it with it waits for the next that ends. */
static int
load(struct vhd_disk *d, uint32_t slice)
{
	struct vhd_load *l = idle_load(d);

	if (!l)
		return -EAGAIN;
	l->cell = new_cell(d, slice);
	if (!l->cell)
		return -ENOMEM;
	d->cells[slice] = &loading;
	d->loading++;
	l->disk = d;
	l->op.done = loaded;
	l->iov = (struct iovec){ l->cell->map, VHD_SECTOR };
	file_readv(d->v.file, &l->op, &l->iov, 1, VHD_SECTOR, vhd_bits_at(d, slice));
	return -EAGAIN;
}

/* Whoever reads on will want the next ones, too; in a dynamic disk they then say "full" for ever. */
static void
load_ahead(struct vhd_disk *d, uint32_t slice)
{
	for (uint32_t i = slice + 1; i <= slice + AHEAD && i < d->slices; i++) {
		uint32_t block = i / d->slices_per_block;

		if (!d->cells[i] && vhd_entry(&d->v, block) != VHD_ABSENT && load(d, i) != -EAGAIN)
			return;
	}
}

static int
load_now(struct vhd_disk *d, uint32_t slice)
{
	struct vhd_cell *c = new_cell(d, slice);
	int rc;

	if (!c)
		return -ENOMEM;
	rc = file_get(d->v.file, c->map, VHD_SECTOR, vhd_bits_at(d, slice), NULL);
	if (rc < 0)
		drop_cell(d, c);
	else
		has_cell(d, c);
	return rc;
}

/* 0: known, by a cell of its own or not. */
static int
need(struct vhd_disk *d, uint32_t slice)
{
	int rc;

	if (d->cells[slice] == &loading)
		return -EAGAIN;
	if (d->cells[slice] == &failed) { /* told once; the next one tries again */
		d->cells[slice] = NULL;
		return -EIO;
	}
	if (d->cells[slice])
		return 0;
	if (d->now)
		return load_now(d, slice);
	rc = load(d, slice);
	load_ahead(d, slice);
	return rc;
}

/* --- For the disk ------------------------------------------------------------------------------------ */

int
vhd_bits_run(struct vhd_disk *d, uint64_t offset, uint64_t *len, bool *here)
{
	uint32_t slice = (uint32_t)(offset / d->slice_bytes), from, to;
	uint64_t within = offset % d->slice_bytes;
	struct vhd_cell *c;
	int rc = need(d, slice);

	if (rc < 0)
		return rc;
	if (*len > d->slice_bytes - within)
		*len = d->slice_bytes - within;
	c = d->cells[slice];
	*here = c == &full;
	if (!is_own(c))
		return 0;
	from = (uint32_t)(within / VHD_SECTOR);
	to = from + (uint32_t)(*len / VHD_SECTOR);
	*here = bit(c->map, from);
	*len = (uint64_t)run(c->map, from, to) * VHD_SECTOR;
	return 0;
}

int
vhd_bits_pin(struct vhd_disk *d, uint64_t offset, uint64_t *len, bool *pinned)
{
	uint32_t slice = (uint32_t)(offset / d->slice_bytes);
	uint64_t within = offset % d->slice_bytes;
	int rc = need(d, slice);

	if (rc < 0)
		return rc;
	if (*len > d->slice_bytes - within)
		*len = d->slice_bytes - within;
	*pinned = d->cells[slice] != &full;
	if (d->cells[slice] == &empty) {
		struct vhd_cell *c = new_cell(d, slice);

		if (!c)
			return -ENOMEM;
		d->cells[slice] = c;
		keep(d, slice);
	}
	if (*pinned)
		d->cells[slice]->pins++;
	return 0;
}

void
vhd_bits_wrote(struct vhd_disk *d, uint64_t offset, uint64_t len, int rc)
{
	struct vhd_cell *c = d->cells[offset / d->slice_bytes];
	uint32_t from = (uint32_t)(offset % d->slice_bytes / VHD_SECTOR);

	c->pins--;
	if (rc < 0 || !set(c->map, from, from + (uint32_t)(len / VHD_SECTOR)))
		return;
	d->image.dirty = d->image.barrier = true;
	if (c->dirty)
		return;
	c->dirty = true;
	c->next = d->dirty_cells;
	d->dirty_cells = c;
	d->cells_n++;
}

void
vhd_bits_settle(struct vhd_disk *d, struct vhd_cell *c, bool durable)
{
	c->captured = false;
	if (!durable && !c->dirty) {
		c->dirty = true;
		c->next = d->dirty_cells;
		d->dirty_cells = c;
		d->cells_n++;
	}
	if (is_idle(c) && is_full(d, c)) { /* nothing can change in it any more */
		d->cells[c->slice] = &full;
		drop_cell(d, c);
	}
}

void
vhd_bits_new(struct vhd_disk *d, uint32_t block)
{
	for (uint32_t i = 0; i < d->slices_per_block; i++)
		d->cells[block * d->slices_per_block + i] = d->child ? &empty : &full;
}

int
vhd_bits_init(struct vhd_disk *d, struct err *e)
{
	uint32_t block = d->v.header.block_size;

	d->slice_bytes = block < VHD_SLICE ? block : VHD_SLICE;
	d->slices_per_block = block / d->slice_bytes;
	d->slices = d->v.blocks * d->slices_per_block;
	/* Of all only what is used takes memory. */
	d->cells = calloc(d->slices, sizeof(struct vhd_cell *));
	d->kept = calloc(VHD_CELLS_MAX, sizeof(*d->kept));
	d->pool = calloc(POOL, sizeof(*d->pool));
	if (!d->cells || !d->kept || !d->pool)
		return err_set(e, ENOMEM, "no memory for %u bitmaps", d->slices);
	return 0;
}

void
vhd_bits_fini(struct vhd_disk *d)
{
	free(d->cells);
	free(d->kept);
	free(d->pool);
}
