/*
 * hypervisor/disk/vhd_space.c - room for new blocks: the last footer moves on, in large steps, before it is
 * in the way. Nobody waits for that but who comes when there is no room left at all.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhd_live.h"

enum {
	STEP = 128 << 20, /* bytes of room made at a time: sparse, they take no space */
	STEP_BLOCKS = 64, /* nor more blocks: each has its bitmap written */
};

enum { FOOTER, BITMAPS, FLUSH, FIRST };

static void
write_at(struct vhd_room *r, const void *buf, size_t len, uint64_t off)
{
	r->iov = (struct iovec){ (void *)(uintptr_t)buf, len };
	file_writev(r->disk->v.file, &r->op, &r->iov, 1, len, off, false);
}

/* Another try may find what this one did not; but what a flush has lost is lost. */
static void
ended(struct vhd_disk *d, int rc)
{
	struct vhd_room *r = &d->room;

	r->busy = false;
	if (rc < 0) {
		r->rc = r->awaited ? rc : 0; /* who comes next finds out by trying */
		if (r->step == FLUSH)
			d->image.poisoned = rc;
	} else {
		r->first = r->end;
		r->end = d->v.trailer = r->to;
	}
	image_wake(&d->image);
}

/* The bitmaps of the room's blocks, one after the other; the first is under the old footer still. */
static bool
next_bitmap(struct vhd_disk *d)
{
	struct vhd_room *r = &d->room;

	r->at += vhd_stride(&d->v);
	if (d->child || r->at >= r->to)
		return false;
	write_at(r, d->fill, d->v.bitmap, r->at);
	return true;
}

static void
step_done(struct file_op *op, int rc)
{
	struct vhd_room *r = (struct vhd_room *)op;
	struct vhd_disk *d = r->disk;

	if (rc < 0 || r->step == FIRST) {
		ended(d, rc);
	} else if (r->step == FLUSH) {
		r->step = FIRST;
		write_at(r, d->fill, d->v.bitmap, r->end);
	} else {
		r->step = BITMAPS;
		if (next_bitmap(d))
			return;
		r->step = FLUSH;
		file_flush(d->v.file, op);
	}
}

static uint32_t
blocks_left(const struct vhd_disk *d)
{
	return (uint32_t)((d->room.end - d->room.next) / vhd_stride(&d->v));
}

static uint32_t
step_blocks(const struct vhd_disk *d)
{
	uint64_t n = STEP / vhd_stride(&d->v);

	return n == 0 ? 1 : n < STEP_BLOCKS ? (uint32_t)n : STEP_BLOCKS;
}

static int
make_room(struct vhd_disk *d)
{
	struct vhd_room *r = &d->room;
	uint64_t last = VHD_FILE_MAX - VHD_FOOTER; /* where a footer can be */
	uint64_t most = r->end < last ? (last - r->end) / vhd_stride(&d->v) : 0;
	uint32_t want = d->unplaced - blocks_left(d);

	if (want > step_blocks(d))
		want = step_blocks(d);
	if (want > most)
		want = (uint32_t)most;
	if (want == 0)
		return -EFBIG;
	r->busy = true;
	r->step = FOOTER;
	r->at = r->end;
	r->to = r->end + want * vhd_stride(&d->v);
	write_at(r, d->v.footer.raw, VHD_FOOTER, r->to);
	return -EAGAIN;
}

/* Before it is needed. */
static void
look_ahead(struct vhd_disk *d)
{
	uint32_t left = blocks_left(d);

	if (!d->room.busy && left < d->unplaced && left <= step_blocks(d) / 2) {
		d->room.awaited = false;
		make_room(d);
	}
}

int
vhd_take(struct vhd_disk *d, uint32_t *sector)
{
	struct vhd_room *r = &d->room;
	int rc = r->rc;

	if (r->next == r->end) {
		r->awaited = true;
		if (r->busy)
			return -EAGAIN;
		r->rc = 0;
		return rc < 0 ? rc : make_room(d);
	}
	if (r->next == r->first)
		d->image.barrier = true;
	*sector = (uint32_t)(r->next / VHD_SECTOR);
	r->next += vhd_stride(&d->v);
	d->unplaced--;
	look_ahead(d);
	return 0;
}

int
vhd_space_init(struct vhd_disk *d, struct err *e)
{
	struct vhd_room *r = &d->room;

	r->disk = d;
	r->op.done = step_done;
	r->next = r->end = vhd_place(&d->v, d->v.trailer);
	for (uint32_t i = 0; i < d->v.blocks; i++)
		d->unplaced += d->v.table[i] == VHD_ABSENT;
	d->fill = malloc(d->v.bitmap);
	if (!d->fill)
		return err_set(e, ENOMEM, "no memory for a bitmap of %u bytes", d->v.bitmap);
	memset(d->fill, d->child ? 0 : 0xff, d->v.bitmap);
	return 0;
}
