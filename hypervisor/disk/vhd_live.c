/*
 * hypervisor/disk/vhd_live.c - a dynamic or differencing VHD while it works: where requests go, and what a
 * commit writes. Order and reasons are in vhd_live.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhd_live.h"

enum {
	GRANULARITY = 4096,
	/* vhd: extent.own, what wrote has to do. */
	OWN_PINNED = 1,  /* the cell's bits */
	OWN_DROP = 2,    /* a whole block is being emptied */
	OWN_COUNTED = 4, /* one in d->writing */
};

static uint32_t
block_of(const struct vhd_disk *d, uint64_t offset)
{
	return (uint32_t)(offset / d->v.header.block_size);
}

static bool
is_present(const struct vhd_disk *d, uint32_t block)
{
	return vhd_entry(&d->v, block) != VHD_ABSENT;
}

static uint64_t
at_most(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* How far the block goes from offset, at most len. */
static uint64_t
in_block(const struct vhd_disk *d, uint64_t offset, uint64_t len)
{
	return at_most(len, d->v.header.block_size - offset % d->v.header.block_size);
}

static uint64_t
data_at(const struct vhd_disk *d, uint64_t offset)
{
	return vhd_data(d, block_of(d, offset)) + offset % d->v.header.block_size;
}

/* --- Reads ------------------------------------------------------------------------------------------- */

/* What is not here: the parent's, as far as it goes. */
static void
not_here(const struct vhd_disk *d, uint64_t offset, uint64_t len, struct extent *x)
{
	uint64_t parent = d->child ? d->image.disk.parent->size : 0;

	*x = (struct extent){ .kind = EXTENT_ZERO, .len = len };
	if (offset < parent)
		*x = (struct extent){
			.kind = EXTENT_PARENT, .at = offset, .len = at_most(len, parent - offset)
		};
}

static uint64_t
absent_run(const struct vhd_disk *d, uint64_t offset, uint64_t len)
{
	uint64_t n = in_block(d, offset, len);

	while (n < len && !is_present(d, block_of(d, offset + n)))
		n += in_block(d, offset + n, len - n);
	return n;
}

static int
map(struct image *i, uint64_t offset, uint64_t len, struct extent *x)
{
	struct vhd_disk *d = vhd_of(i);
	bool here;
	int rc;

	if (!is_present(d, block_of(d, offset))) {
		not_here(d, offset, absent_run(d, offset, len), x);
		return 0;
	}
	len = in_block(d, offset, len);
	rc = vhd_bits_run(d, offset, &len, &here);
	if (rc < 0)
		return rc;
	if (here)
		*x = (struct extent){ .kind = EXTENT_DATA, .at = data_at(d, offset), .len = len };
	else
		not_here(d, offset, len, x);
	return 0;
}

static int
extent(struct disk *disk, uint64_t offset, uint64_t len, struct extent *x, struct err *e)
{
	struct vhd_disk *d = (struct vhd_disk *)disk;
	int rc;

	d->now = true;
	rc = map(&d->image, offset, len, x);
	d->now = false;
	return rc < 0 ? err_set(e, -rc, "what lies at offset %llu of the disk: %s",
			    (unsigned long long)offset, strerror(-rc))
		      : 0;
}

/* --- Writes ------------------------------------------------------------------------------------------ */

static void
entry_changed(struct vhd_disk *d, uint32_t block)
{
	uint32_t sector = block / VHD_ENTRIES_PER_SECTOR;

	d->image.dirty = true;
	if (d->table_dirty[sector])
		return;
	d->table_dirty[sector] = true;
	d->table_list[d->table_n++] = sector;
}

/* So much has changed that it has to be written first. */
static int
wait_for_commit(struct vhd_disk *d)
{
	if (d->table_n < VHD_TABLE_DIRTY && d->cells_n < VHD_CELLS_DIRTY &&
	    d->table_n + d->cells_n + d->slots < VHD_CHANGED)
		return 0;
	image_commit(&d->image);
	return -EAGAIN;
}

/* A trimmed block gets its own place again, where it is empty; its bitmap is as it was. */
static int
allocate(struct vhd_disk *d, uint32_t block)
{
	uint32_t sector = d->home[block];
	int rc;

	if (sector) {
		d->home[block] = 0;
	} else {
		rc = vhd_take(d, &sector);
		if (rc < 0)
			return rc;
		vhd_bits_new(d, block);
	}
	vhd_set_entry(&d->v, block, sector);
	entry_changed(d, block);
	return 0;
}

static int
place(struct image *i, uint64_t offset, uint64_t len, struct extent *x)
{
	struct vhd_disk *d = vhd_of(i);
	uint32_t block = block_of(d, offset);
	bool pinned;
	int rc = wait_for_commit(d);

	if (rc == 0 && !is_present(d, block))
		rc = allocate(d, block);
	len = in_block(d, offset, len);
	if (rc == 0)
		rc = vhd_bits_pin(d, offset, &len, &pinned);
	if (rc < 0)
		return rc;
	*x = (struct extent){ .kind = EXTENT_DATA,
		.at = data_at(d, offset),
		.len = len,
		.own = OWN_COUNTED | (pinned ? OWN_PINNED : 0) };
	d->writing[block % VHD_WRITING]++;
	d->dropping[block / 8] &= (uint8_t) ~(1u << block % 8);
	return 0;
}

/* --- Zeros and trims --------------------------------------------------------------------------------- */

/*
 * A block of a dynamic disk that is wholly given up leaves the table when its place has been emptied. The
 * place stays its own, so that nobody else's bytes can come up there; nor may a write be on its way to it.
 */
static bool
can_leave(const struct vhd_disk *d, const struct disk_io *io, uint64_t offset, uint64_t len)
{
	bool hole = d->v.file->can_punch && (io->op == DISK_DISCARD || io->unmap);

	return hole && !d->child && len == d->v.header.block_size && offset % len == 0 &&
	       d->writing[block_of(d, offset) % VHD_WRITING] == 0;
}

static int
drop_block(struct vhd_disk *d, uint64_t offset, uint64_t len, struct extent *x)
{
	uint32_t block = block_of(d, offset);
	int rc = wait_for_commit(d);

	if (rc < 0)
		return rc;
	d->dropping[block / 8] |= (uint8_t)(1u << block % 8);
	*x = (struct extent){ .kind = EXTENT_DATA, .at = data_at(d, offset), .len = len, .own = OWN_DROP };
	return 0;
}

static int
drop(struct image *i, const struct disk_io *io, uint64_t offset, uint64_t len, struct extent *x)
{
	struct vhd_disk *d = vhd_of(i);
	uint64_t parent = d->child ? i->disk.parent->size : 0;
	int rc;

	/* There is no mark for "zero" over a parent: only sectors of our own hide its. */
	if (io->op == DISK_ZERO && offset < parent)
		return place(i, offset, at_most(len, parent - offset), x);
	if (is_present(d, block_of(d, offset)) && can_leave(d, io, offset, in_block(d, offset, len)))
		return drop_block(d, offset, in_block(d, offset, len), x);
	rc = map(i, offset, len, x);
	if (rc == 0 && (x->kind != EXTENT_DATA || (io->op == DISK_DISCARD && !d->v.file->can_punch)))
		x->kind = EXTENT_ZERO;
	return rc;
}

static void
dropped(struct vhd_disk *d, uint64_t offset, const struct extent *x, int rc)
{
	uint32_t block = block_of(d, offset);
	uint8_t mark = (uint8_t)(1u << block % 8);
	bool still = d->dropping[block / 8] & mark;

	d->dropping[block / 8] &= (uint8_t)~mark;
	if (!still || rc < 0 || x->len < d->v.header.block_size)
		return;
	d->home[block] = vhd_entry(&d->v, block);
	vhd_set_entry(&d->v, block, VHD_ABSENT);
	entry_changed(d, block);
}

static void
wrote(struct image *i, uint64_t offset, const struct extent *x, int rc)
{
	struct vhd_disk *d = vhd_of(i);

	if (x->own & OWN_COUNTED)
		d->writing[block_of(d, offset) % VHD_WRITING]--;
	if (x->own & OWN_PINNED)
		vhd_bits_wrote(d, offset, x->len, rc);
	if (x->own & OWN_DROP)
		dropped(d, offset, x, rc);
}

/* --- Commits ----------------------------------------------------------------------------------------- */

static void
capture_sector(struct vhd_disk *d, uint32_t sector)
{
	struct vhd_slot *s = &d->slot[d->slots++];
	uint64_t at = (uint64_t)sector * VHD_SECTOR;

	d->table_dirty[sector] = false;
	s->cell = NULL;
	s->sector = sector;
	s->at = d->v.header.table + at;
	memcpy(s->data, (const uint8_t *)d->v.table + at, VHD_SECTOR);
}

static void
capture_cell(struct vhd_disk *d, struct vhd_cell *c)
{
	struct vhd_slot *s = &d->slot[d->slots++];

	c->dirty = false;
	c->captured = true;
	s->cell = c;
	s->at = vhd_bits_at(d, c->slice);
	memcpy(s->data, c->map, VHD_SECTOR);
}

static int
capture(struct image *i)
{
	struct vhd_disk *d = vhd_of(i);

	d->slots = 0;
	for (unsigned n = 0; n < d->table_n; n++)
		capture_sector(d, d->table_list[n]);
	for (struct vhd_cell *c = d->dirty_cells; c; c = c->next)
		capture_cell(d, c);
	d->table_n = d->cells_n = 0;
	d->dirty_cells = NULL;
	return 0;
}

static void
recorded(struct image_write *w, int rc)
{
	if (rc < 0)
		vhd_of(w->image)->record_rc = rc;
}

static void
record(struct image *i)
{
	struct vhd_disk *d = vhd_of(i);

	for (unsigned n = 0; n < d->slots; n++)
		d->slot[n].write.done = recorded;
	for (unsigned n = 0; n < d->slots; n++)
		image_write(i, &d->slot[n].write, d->slot[n].data, VHD_SECTOR, d->slot[n].at);
}

/*
 * A commit that found no space for its tables can be tried again. After any other error nobody knows what is
 * in the file: what a flush has lost it has lost, and the next one does not say so.
 */
static void
settle(struct image *i, int rc)
{
	struct vhd_disk *d = vhd_of(i);
	bool full = d->record_rc == -ENOSPC || d->record_rc == -EDQUOT;

	for (unsigned n = 0; n < d->slots; n++) {
		struct vhd_slot *s = &d->slot[n];

		if (s->cell)
			vhd_bits_settle(d, s->cell, rc == 0);
		else if (rc < 0)
			entry_changed(d, s->sector * VHD_ENTRIES_PER_SECTOR);
	}
	d->slots = 0;
	d->record_rc = 0;
	if (rc < 0 && !full)
		i->poisoned = rc;
	image_wake(i);
}

/* --- Closing ----------------------------------------------------------------------------------------- */

/* What nobody has asked for may still be on its way: room, bitmaps ahead. */
static bool
is_idle(const struct disk *disk)
{
	const struct vhd_disk *d = (const struct vhd_disk *)disk;

	return image_idle(&d->image) && !d->room.busy && d->loading == 0;
}

static int
write_now(struct vhd_disk *d, struct err *e)
{
	int rc = file_sync(d->v.file, e);

	capture(&d->image);
	for (unsigned n = 0; n < d->slots && rc == 0; n++)
		rc = file_put(d->v.file, d->slot[n].data, VHD_SECTOR, d->slot[n].at, e);
	if (rc == 0)
		rc = file_sync(d->v.file, e);
	return rc;
}

/* All is durable: whoever made a child of it flushes the child alone from then on. The room that was not used
 * goes. */
static int
vhd_close(struct disk *disk, struct err *e)
{
	struct vhd_disk *d = (struct vhd_disk *)disk;
	int rc;

	if (disk->read_only)
		return 0;
	if (d->image.poisoned)
		return err_set(e, -d->image.poisoned, "the disk is left as it was when writing failed: %s",
		    strerror(-d->image.poisoned));
	rc = d->image.dirty ? write_now(d, e) : file_sync(d->v.file, e);
	if (rc < 0)
		return rc;
	d->image.dirty = d->image.barrier = false;
	vhd_recount(&d->v);
	return d->room.to ? vhd_cut(&d->v, e) : 0;
}

static void
discard_disk(struct vhd_disk *d)
{
	vhd_bits_fini(d);
	vhd_unload(&d->v);
	free(d->home);
	free(d->dropping);
	free(d->table_dirty);
	free(d->slot);
	free(d->fill);
	free(d);
}

static void
vhd_free(struct disk *disk)
{
	struct disk_file *file = disk->file;
	struct disk *parent = disk->parent;

	discard_disk((struct vhd_disk *)disk);
	file_free(file);
	disk_free(parent);
}

/* --- Opening ----------------------------------------------------------------------------------------- */

static const struct image_ops ops = {
	.disk = { .name = "VHD",
	    .submit = image_submit,
	    .extent = extent,
	    .idle = is_idle,
	    .close = vhd_close,
	    .free = vhd_free },
	.map = map,
	.place = place,
	.wrote = wrote,
	.drop = drop,
	.capture = capture,
	.record = record,
	.settle = settle,
};

/* Of what grows with the disk only what is used takes memory. */
static int
allocate_all(struct vhd_disk *d, struct err *e)
{
	uint32_t entries = d->v.header.entries;
	int rc;

	d->home = calloc(entries, sizeof(*d->home));
	d->dropping = calloc(entries / 8 + 1, 1);
	d->table_dirty = calloc(entries / VHD_ENTRIES_PER_SECTOR + 1, 1);
	d->slot = calloc(VHD_SLOTS, sizeof(*d->slot));
	if (!d->home || !d->dropping || !d->table_dirty || !d->slot)
		return err_set(e, ENOMEM, "no memory for the state of %u blocks", entries);
	rc = vhd_bits_init(d, e);
	return rc < 0 ? rc : vhd_space_init(d, e);
}

static void
describe(struct vhd_disk *d, const struct disk_open *how)
{
	bool discard = !how->read_only && how->file->can_punch;

	d->image.disk = (struct disk){ .ops = &ops.disk,
		.loop = how->loop,
		.file = how->file,
		.parent = how->parent,
		.size = d->v.footer.size,
		.logical = VHD_SECTOR,
		.physical = VHD_PHYSICAL,
		.read_only = how->read_only,
		.can_discard = discard,
		.discard_zeroes = discard && !d->child,
		.discard_granularity = GRANULARITY };
}

int
vhd_live_open(struct disk **out, const struct disk_open *how, struct vhd *v, struct err *e)
{
	struct vhd_disk *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return err_set(e, ENOMEM, "disk: out of memory");
	d->v = *v;
	d->child = v->footer.type == VHD_DIFFERENCING;
	describe(d, how);
	rc = image_init(&d->image, &ops, e);
	if (rc == 0)
		rc = allocate_all(d, e);
	if (rc < 0) {
		d->v.table = NULL; /* it stays the caller's */
		discard_disk(d);
		return rc;
	}
	*out = &d->image.disk;
	return 0;
}
