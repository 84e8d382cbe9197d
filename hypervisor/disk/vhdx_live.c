/*
 * hypervisor/disk/vhdx_live.c - a VHDX while its disk works: where writes go, what trims leave (image_ops).
 *
 * New blocks come from behind the end of the file, which is made longer in large steps and reads zero there.
 * A block keeps its place until a compact, whatever becomes of it; one that was trimmed has it kept as a
 * "soft anchor" (MS-VHDX 2.5.1.1, unmapped with an offset), emptied, for its next write.
 *
 * In a differencing image a block that is only partly here has a bit for each sector. A write's bit is set
 * when the write is in the file, and the commit that carries it flushes the file first (barrier).
 */
#include <errno.h>
#include <string.h>

#include "hypervisor/disk/vhdx.h"

enum { GROW_LEAST = 32 << 20, GROW_BLOCKS = 8, GROW_MOST = 1 << 30 };
#define OWN_ANCHOR \
	UINT32_MAX /* in extent.own: a whole block is being emptied; else a page of the bitmap + 1 */

static const _Alignas(VHDX_PAGE) uint8_t zeros[VHDX_PAGE]; /* aligned for files opened past the page cache */

static bool
poison(struct vhdx *v, int rc)
{
	if (rc == -ENOSPC)
		return false;
	v->image.poisoned = -EIO;
	return true;
}

/* --- Room in the file --- */

static void
grown(struct file_op *op, int rc)
{
	struct vhdx *v = (struct vhdx *)((char *)op - offsetof(struct vhdx, growth.op));

	v->growth.under_way = false;
	v->growth.error = rc;
	if (rc == 0 && v->growth.to > v->file_size)
		v->file_size = v->growth.to;
	image_wake(&v->image);
}

static void
grow(struct vhdx *v, uint64_t least)
{
	struct vhdx_growth *g = &v->growth;
	uint64_t step = (uint64_t)v->block_size * GROW_BLOCKS;

	if (g->under_way)
		return;
	step = step < GROW_LEAST ? GROW_LEAST : step > GROW_MOST ? GROW_MOST : step;
	g->under_way = true;
	g->to = round_up(least > v->file_size ? least : v->file_size, VHDX_MIB) + step;
	g->op.done = grown;
	g->iov = (struct iovec){ (void *)(uintptr_t)zeros, sizeof(zeros) };
	file_writev(v->file, &g->op, &g->iov, 1, sizeof(zeros), g->to - sizeof(zeros), false);
}

/* The file is as long as its blocks say, and `len` more are free at its end. */
static int
find_room(struct vhdx *v, uint64_t len)
{
	int rc = v->growth.error;

	v->growth.error = 0;
	if (v->next + len <= v->file_size && v->need <= v->file_size)
		return 0;
	if (v->next + len > VHDX_FILE_MAX)
		return -ENOSPC;
	if (rc < 0)
		return rc;
	grow(v, v->next + len > v->need ? v->next + len : v->need);
	return -EAGAIN;
}

/* There is room. The next step is taken before it is needed. */
static uint64_t
take_room(struct vhdx *v, uint64_t len)
{
	uint64_t at = v->next;

	v->next += len;
	vhdx_space_mark(v, at, len, true);
	if (v->file_size - v->next < 2 * (uint64_t)v->block_size)
		grow(v, v->next);
	return at;
}

/* --- The beginning, without waiting --- */

static void begin_step(struct vhdx *v);

static void
begin_failed(struct vhdx *v, int rc)
{
	v->w.phase = WRITER_IDLE;
	v->w.error = poison(v, rc) ? -EIO : rc;
	image_wake(&v->image);
}

/* Its pages are not needed before: the header is made in the second sector of the entry. */
static struct vhdx_header *
begin_header(struct vhdx *v)
{
	return (struct vhdx_header *)(void *)vhdx_entry_page(v, 0);
}

static void
begin_flushed(struct file_op *op, int rc)
{
	struct vhdx *v = (struct vhdx *)((char *)op - offsetof(struct vhdx, w.op));

	if (rc < 0) {
		begin_failed(v, rc);
		return;
	}
	vhdx_begin_done(v, v->w.step, begin_header(v));
	v->w.step++;
	begin_step(v);
}

static void
begin_written(struct file_op *op, int rc)
{
	struct vhdx *v = (struct vhdx *)((char *)op - offsetof(struct vhdx, w.op));

	if (rc < 0) {
		begin_failed(v, rc);
		return;
	}
	op->done = begin_flushed;
	file_flush(v->file, op);
}

static void
begin_step(struct vhdx *v)
{
	struct vhdx_writer *w = &v->w;
	uint64_t where = 0;
	int rc = 0;

	w->iov.iov_len = 0;
	for (; rc == 0 && w->step < BEGIN_STEPS; w->step++) {
		rc = vhdx_begin_step(v, w->step, begin_header(v), &w->iov, &where);
		if (rc < 0 || w->iov.iov_len)
			break;
	}
	if (rc < 0) {
		begin_failed(v, rc);
	} else if (w->step == BEGIN_STEPS) {
		image_wake(&v->image);
	} else {
		w->op.done = begin_written;
		file_writev(v->file, &w->op, &w->iov, 1, w->iov.iov_len, where, false);
	}
}

/* Before the first change: 0, or -EAGAIN. */
static int
begin(struct vhdx *v)
{
	int rc = v->w.error;

	if (v->w.phase == WRITER_OPEN)
		return 0;
	v->w.error = 0;
	if (rc < 0)
		return rc;
	if (v->w.phase == WRITER_IDLE) {
		v->w.phase = WRITER_BEGINS;
		v->w.step = 0;
		begin_step(v);
	}
	return -EAGAIN;
}

/* --- Room in a commit --- */

/* May `pages` more become dirty? What is being written comes back if that fails. */
static bool
may_dirty(struct vhdx *v, unsigned pages)
{
	if (v->counted + pages <= VHDX_COMMIT_CAP &&
	    v->counted + v->w.committing + pages <= VHDX_COMMIT_MAX - 4)
		return true;
	v->starved = true;
	image_commit(&v->image);
	return false;
}

static unsigned
more(const struct vhdx *v, enum vhdx_table_id table, uint64_t page)
{
	return !vhdx_counted(v, table, page);
}

static void
fed(struct vhdx *v)
{
	if (!v->starved)
		return;
	v->starved = false;
	image_wake(&v->image);
}

/* --- Old space of a block --- */

static void
cleaned(struct file_op *op, int rc)
{
	struct vhdx *v = (struct vhdx *)((char *)op - offsetof(struct vhdx, cleaning.op));
	uint64_t *e = (uint64_t *)(void *)v->table[TABLE_BAT].pages + v->cleaning.index;

	v->cleaning.under_way = false;
	v->cleaning.error = rc;
	if (rc == 0)
		*e |= ENTRY_CLEAN;
	image_wake(&v->image);
}

/* What is there may be anything: it is emptied first. One at a time. */
static int
clean(struct vhdx *v, uint64_t index, uint64_t entry)
{
	struct vhdx_cleaning *c = &v->cleaning;
	int rc = c->error;

	if (c->under_way)
		return -EAGAIN;
	c->error = 0;
	if (rc < 0)
		return rc;
	c->under_way = true;
	c->index = index;
	c->op.done = cleaned;
	file_zero(v->file, &c->op, entry & ENTRY_OFFSET, v->block_size, true, false);
	return -EAGAIN;
}

/* --- Where a write goes --- */

/* What is to be written of one block. */
struct target {
	uint64_t offset, block, in, index; /* in: offset in the block; index: of its entry */
	uint64_t *entry;
};

static int
find_target(struct vhdx *v, uint64_t offset, struct target *t)
{
	t->offset = offset;
	t->block = offset / v->block_size;
	t->in = offset % v->block_size;
	t->index = vhdx_block_index(v, t->block);
	return vhdx_entry(v, t->index, &t->entry);
}

/* A block that reads zero gets a place, and is whole at once. */
static int
place_zero(struct vhdx *v, const struct target *t)
{
	uint64_t at = vhdx_entry_space(v, t->index, *t->entry) ? *t->entry & ENTRY_OFFSET : 0;
	int rc = 0;

	if (!may_dirty(v, more(v, TABLE_BAT, t->index / VHDX_ENTRIES)))
		return -EAGAIN;
	if (at && !(*t->entry & ENTRY_CLEAN))
		return clean(v, t->index, *t->entry);
	if (at) {
		v->image.barrier = true; /* its emptying must not come after the table */
	} else {
		rc = find_room(v, v->block_size);
		if (rc < 0)
			return rc;
		at = take_room(v, v->block_size);
	}
	vhdx_set_entry(v, t->index, at | BLOCK_FULL);
	return 0;
}

/* The pages of the bitmap that speak of a block. */
static uint64_t
first_bits(const struct vhdx *v, uint64_t block, uint64_t *pages)
{
	uint64_t first = vhdx_bit_page(v, block * v->block_size);
	uint64_t last = vhdx_bit_page(v, (block + 1) * v->block_size - v->logical);

	*pages = last - first + 1;
	return first;
}

/* A chunk's first part of a block: its bitmap, all zeros. */
static int
place_bitmap(struct vhdx *v, uint64_t block, uint64_t index)
{
	uint64_t n, first = first_bits(v, block, &n);
	int rc = find_room(v, VHDX_MIB + v->block_size);

	if (rc < 0)
		return rc;
	vhdx_set_entry(v, index, take_room(v, VHDX_MIB) | BLOCK_FULL);
	for (uint64_t page = first; page < first + n; page++)
		vhdx_new_bits(v, page);
	return 0;
}

/* Bits that another program may have left of an earlier life of the block. */
static void
forget_bits(struct vhdx *v, uint64_t block)
{
	uint64_t n, first = first_bits(v, block, &n);
	uint32_t from = vhdx_bit(v, block * v->block_size) / 8, len = v->block_size / v->logical / 8;

	for (uint64_t page = first; page < first + n; page++) {
		uint8_t *bits = vhdx_at(v, TABLE_BITMAP, page) + (n > 1 ? 0 : from);
		uint32_t m = n > 1 ? VHDX_PAGE : len;

		if (bits[0] == 0 && memcmp(bits, bits + 1, m - 1) == 0)
			continue;
		memset(bits, 0, m);
		vhdx_dirty(v, TABLE_BITMAP, page);
	}
}

static bool
bits_here(const struct vhdx *v, uint64_t block)
{
	uint64_t n, first = first_bits(v, block, &n);

	for (uint64_t page = first; page < first + n; page++)
		if (!(v->table[TABLE_BITMAP].state[page] & PAGE_HERE))
			return false;
	return true;
}

/* The bitmap of a block and the entry that says where it is are in memory. A page that comes at once may take
 * the place of one that was there: that is the next to come, and then takes another's. */
static int
fetch_bits(struct vhdx *v, uint64_t block, uint64_t **bitmap)
{
	uint64_t n, first = first_bits(v, block, &n);
	uint8_t *p;
	int rc = vhdx_entry(v, vhdx_bitmap_index(v, block / v->ratio), bitmap);

	if (rc < 0 || (**bitmap & ENTRY_STATE) != BLOCK_FULL)
		return rc;
	do
		for (uint64_t page = first; page < first + n; page++) {
			int one = vhdx_page(v, TABLE_BITMAP, page, &p);

			rc = rc == 0 || one == -EIO ? one : rc;
		}
	while (rc == 0 && !bits_here(v, block));
	return rc;
}

/* A block that is the parent's gets a place, but nothing is there yet. */
static int
place_part(struct vhdx *v, const struct target *t)
{
	uint64_t *bitmap, n, index = vhdx_bitmap_index(v, t->block / v->ratio);
	int rc = fetch_bits(v, t->block, &bitmap);

	first_bits(v, t->block, &n);
	if (rc < 0)
		return rc;
	if (!may_dirty(v, (unsigned)n + 2))
		return -EAGAIN;
	rc = (*bitmap & ENTRY_STATE) == BLOCK_FULL ? find_room(v, v->block_size)
						   : place_bitmap(v, t->block, index);
	if (rc < 0)
		return rc;
	forget_bits(v, t->block);
	vhdx_set_entry(v, t->index, take_room(v, v->block_size) | BLOCK_PARTIAL);
	return 0;
}

/* Into a block with bits: as far as one page of them goes, which is held until it is written. */
static int
place_bits(struct vhdx *v, const struct target *t, struct extent *x)
{
	uint64_t page = vhdx_bit_page(v, t->offset), *bitmap;
	uint64_t most = (uint64_t)(VHDX_PAGE_BITS - vhdx_bit(v, t->offset)) * v->logical;
	uint8_t *bits;
	int rc = vhdx_entry(v, vhdx_bitmap_index(v, t->block / v->ratio), &bitmap);

	if (rc == 0 && (*bitmap & ENTRY_STATE) != BLOCK_FULL)
		rc = -EIO;
	if (rc == 0)
		rc = vhdx_page(v, TABLE_BITMAP, page, &bits);
	if (rc < 0)
		return rc;
	if (!may_dirty(v, more(v, TABLE_BITMAP, page)))
		return -EAGAIN;
	vhdx_hold(v, TABLE_BITMAP, page);
	x->own = (uint32_t)page + 1;
	if (x->len > most)
		x->len = most;
	return 0;
}

static int
place_block(struct vhdx *v, struct target *t, struct extent *x)
{
	uint64_t state = *t->entry & ENTRY_STATE;
	int rc = 0;

	if (state == BLOCK_NOT_PRESENT && v->child)
		rc = place_part(v, t);
	else if (state != BLOCK_FULL && state != BLOCK_PARTIAL)
		rc = place_zero(v, t);
	else if (v->need > v->file_size)
		rc = find_room(v, 0);
	if (rc == 0 && (*t->entry & ENTRY_STATE) == BLOCK_PARTIAL)
		rc = place_bits(v, t, x);
	x->at = (*t->entry & ENTRY_OFFSET) + t->in;
	return rc;
}

static int
place(struct image *i, uint64_t offset, uint64_t len, struct extent *x)
{
	struct vhdx *v = vhdx_of(i);
	struct target t;
	int rc = begin(v);

	if (rc == 0)
		rc = find_target(v, offset, &t);
	if (rc < 0)
		return rc;
	*x = (struct extent){ .kind = EXTENT_DATA,
		.len = v->block_size - t.in < len ? v->block_size - t.in : len };
	return place_block(v, &t, x);
}

/* --- What has been written --- */

static void
set_bits(struct vhdx *v, uint64_t offset, uint64_t len)
{
	uint64_t page = vhdx_bit_page(v, offset);
	uint8_t *bits = vhdx_at(v, TABLE_BITMAP, page);
	uint32_t from = vhdx_bit(v, offset), to = from + (uint32_t)(len / v->logical);
	bool changed = false;

	for (uint32_t n = from; n < to; n++) {
		if (n % 8 == 0 && n + 8 <= to) {
			changed |= bits[n / 8] != 0xff;
			bits[n / 8] = 0xff;
			n += 7;
		} else {
			changed |= !(bits[n / 8] >> n % 8 & 1);
			bits[n / 8] |= (uint8_t)(1u << n % 8);
		}
	}
	if (!changed)
		return;
	vhdx_dirty(v, TABLE_BITMAP, page);
	v->image.barrier = true;
}

static bool
all_set(const uint8_t *bits, uint32_t bit, uint32_t last)
{
	for (; bit < last; bit++) {
		if (bit % 8 == 0 && bit + 8 <= last) {
			if (bits[bit / 8] != 0xff)
				return false;
			bit += 7;
		} else if (!(bits[bit / 8] >> bit % 8 & 1)) {
			return false;
		}
	}
	return true;
}

/* Whether all sectors of a block are here; no, if its bitmap is not all in memory. */
static bool
all_here(const struct vhdx *v, uint64_t block)
{
	uint64_t at = block * v->block_size, end = at + v->block_size;
	uint32_t bit, last;

	if (!bits_here(v, block))
		return false;
	for (end = end < v->size ? end : v->size; at < end; at += (uint64_t)(last - bit) * v->logical) {
		const uint8_t *bits = vhdx_at(v, TABLE_BITMAP, vhdx_bit_page(v, at));
		uint64_t left = (end - at) / v->logical;

		bit = vhdx_bit(v, at);
		last = VHDX_PAGE_BITS - bit < left ? VHDX_PAGE_BITS : bit + (uint32_t)left;
		if (!all_set(bits, bit, last))
			return false;
	}
	return true;
}

static void
complete_block(struct vhdx *v, uint64_t block)
{
	uint64_t index = vhdx_block_index(v, block);
	uint64_t *e = (uint64_t *)(void *)v->table[TABLE_BAT].pages + index;

	/* It can as well stay as it is, if the commit is full. */
	if (v->counted + v->w.committing + 1 > VHDX_COMMIT_MAX || !all_here(v, block))
		return;
	vhdx_set_entry(v, index, (*e & ENTRY_OFFSET) | BLOCK_FULL);
}

static void
wrote(struct image *i, uint64_t offset, const struct extent *x, int rc)
{
	struct vhdx *v = vhdx_of(i);
	uint64_t block = offset / v->block_size;
	uint64_t *e = (uint64_t *)(void *)v->table[TABLE_BAT].pages + vhdx_block_index(v, block);

	if (!x->own)
		return;
	if (x->own == OWN_ANCHOR) {
		bool all = x->len == v->block_size || offset + x->len == v->size;

		if (rc == 0 && all && (*e & ENTRY_STATE) == BLOCK_UNMAPPED)
			*e |= ENTRY_CLEAN;
		return;
	}
	if (rc == 0 && (*e & ENTRY_STATE) == BLOCK_PARTIAL) {
		set_bits(v, offset, x->len);
		complete_block(v, block);
	}
	vhdx_release(v, TABLE_BITMAP, x->own - 1);
	fed(v);
}

/* --- Trims and zeros --- */

/* A whole block is given up, but for its place: now it reads zero, and never as the parent again. */
static int
drop_whole(struct vhdx *v, const struct target *t, struct extent *x)
{
	if (!may_dirty(v, more(v, TABLE_BAT, t->index / VHDX_ENTRIES)))
		return -EAGAIN;
	x->at = *t->entry & ENTRY_OFFSET;
	x->own = v->file->can_punch ? OWN_ANCHOR : 0; /* else it need not be empty afterwards */
	vhdx_set_entry(v, t->index, x->at | BLOCK_UNMAPPED);
	return 0;
}

/* Zeros where the parent is seen. */
static int
drop_parent(struct vhdx *v, struct target *t, bool whole, struct extent *x)
{
	if (!whole)
		return place_block(v, t, x);
	x->kind = EXTENT_ZERO;
	if (!may_dirty(v, more(v, TABLE_BAT, t->index / VHDX_ENTRIES)))
		return -EAGAIN;
	vhdx_set_entry(v, t->index, BLOCK_ZERO);
	return 0;
}

static int
drop_block(struct vhdx *v, const struct disk_io *io, struct target *t, bool whole, struct extent *x)
{
	bool discard = io->op == DISK_DISCARD;

	switch (*t->entry & ENTRY_STATE) {
	case BLOCK_FULL:
		if (whole && !v->fixed && (discard || io->unmap))
			return drop_whole(v, t, x);
		return place_block(v, t, x);
	case BLOCK_PARTIAL:
		return whole ? drop_whole(v, t, x) : place_block(v, t, x);
	default:
		return drop_parent(v, t, whole, x);
	}
}

/* Nothing has to be done: it reads zero, or it is a trim of what cannot be given up. */
static bool
drop_nothing(const struct vhdx *v, const struct disk_io *io, uint64_t state, bool whole)
{
	if (io->op == DISK_DISCARD &&
	    (v->fixed || (state == BLOCK_NOT_PRESENT) || (state == BLOCK_PARTIAL && !whole)))
		return true;
	if (state == BLOCK_NOT_PRESENT)
		return !v->child;
	return state != BLOCK_FULL && state != BLOCK_PARTIAL;
}

/* As far as it is so, in one answer: there may be millions of blocks. */
static uint64_t
nothing_until(struct vhdx *v, const struct disk_io *io, uint64_t offset, uint64_t end)
{
	while (offset < end) {
		bool whole = end - offset >= v->block_size || end == v->size;
		uint64_t *e;

		if (vhdx_entry(v, vhdx_block_index(v, offset / v->block_size), &e) < 0 ||
		    !drop_nothing(v, io, *e & ENTRY_STATE, whole))
			break;
		offset += v->block_size;
	}
	return offset < end ? offset : end;
}

static int
drop(struct image *i, const struct disk_io *io, uint64_t offset, uint64_t len, struct extent *x)
{
	struct vhdx *v = vhdx_of(i);
	struct target t;
	uint64_t left;
	bool whole;
	int rc = find_target(v, offset, &t);

	if (rc < 0)
		return rc;
	left = v->block_size - t.in;
	*x = (struct extent){ .kind = EXTENT_ZERO, .len = left < len ? left : len };
	whole = t.in == 0 && (len >= v->block_size || offset + len == v->size);
	if (drop_nothing(v, io, *t.entry & ENTRY_STATE, whole)) {
		x->len = nothing_until(v, io, offset + x->len, offset + len) - offset;
		return 0;
	}
	rc = begin(v);
	if (rc < 0)
		return rc;
	x->kind = EXTENT_DATA;
	return drop_block(v, io, &t, whole, x);
}

static int
map(struct image *i, uint64_t offset, uint64_t len, struct extent *x)
{
	return vhdx_map(vhdx_of(i), offset, len, x);
}

/* --- Commits --- */

static void
homed(struct image_write *iw, int rc)
{
	struct vhdx *v = vhdx_of(iw->image);

	v->w.home_failed[iw - v->w.homes] = rc < 0;
	if (rc < 0 && !poison(v, rc))
		v->w.homeless++;
}

/* The pages of the last entry to where they belong; again: those for which there was no room. */
static void
write_homes(struct vhdx *v, bool again)
{
	struct vhdx_writer *w = &v->w;

	w->homeless = 0;
	for (unsigned n = 0; n < w->pages; n++) {
		if (again && !w->home_failed[n])
			continue;
		w->homes[n].done = homed;
		image_write(&v->image, &w->homes[n], vhdx_entry_page(v, n), VHDX_PAGE, w->home[n]);
	}
}

static uint32_t
ring_free(const struct vhdx *v)
{
	uint32_t size = v->header[v->current].log_length;
	uint32_t used = (uint32_t)(((uint64_t)v->w.head + size - v->w.live) % size);

	return size - used;
}

static int
capture(struct image *i)
{
	struct vhdx *v = vhdx_of(i);
	struct vhdx_writer *w = &v->w;

	if (w->homeless) { /* this flush cannot be; the one after it may */
		write_homes(v, true);
		return -ENOSPC;
	}
	w->pages = 0;
	vhdx_collect(v);
	vhdx_build_entry(v, w->last);
	if (w->length >= ring_free(v)) { /* three always find room: our own count is wrong */
		vhdx_uncollect(v);
		poison(v, -EIO);
		return -EIO;
	}
	return 0;
}

static void
record(struct image *i)
{
	struct vhdx *v = vhdx_of(i);
	struct vhdx_writer *w = &v->w;
	const struct vhdx_header *h = &v->header[v->current];
	uint32_t first = h->log_length - w->head < w->length ? h->log_length - w->head : w->length;

	w->recorded = true;
	w->ring[0].done = w->ring[1].done = NULL;
	image_write(i, &w->ring[0], w->entry, first, h->log_offset + w->head);
	if (first < w->length)
		image_write(i, &w->ring[1], w->entry + first, w->length - first, h->log_offset);
}

/*
 * The flush that made this entry durable did so for the pages of the one before: a replay begins at this
 * one's place from the next entry on.
 */
static void
settle(struct image *i, int rc)
{
	struct vhdx *v = vhdx_of(i);
	struct vhdx_writer *w = &v->w;

	if (rc == 0 && !w->recorded) /* a flush without changes */
		return;
	w->recorded = false;
	if (rc < 0) {
		poison(v, rc);
		w->pages = w->homeless ? w->pages : 0;
		vhdx_uncollect(v);
		image_wake(i);
		return;
	}
	w->committing = 0;
	w->durable = w->size;
	w->sequence++;
	w->live = w->last;
	w->last = w->head;
	w->head = (uint32_t)(((uint64_t)w->head + w->length) % v->header[v->current].log_length);
	vhdx_entry_pages(v);
	write_homes(v, false);
	v->starved = false;
	image_wake(i);
}

static bool
idle(const struct disk *d)
{
	const struct vhdx *v = (const struct vhdx *)d;

	for (unsigned i = 0; i < VHDX_FETCHES; i++)
		if (v->fetch[i].v)
			return false;
	return !v->growth.under_way && !v->cleaning.under_way && v->w.phase != WRITER_BEGINS &&
	       image_idle(&v->image);
}

const struct image_ops vhdx_image_ops = {
	.disk = { .name = "VHDX",
	    .submit = image_submit,
	    .extent = vhdx_disk_extent,
	    .idle = idle,
	    .close = vhdx_disk_close,
	    .free = vhdx_disk_free },
	.map = map,
	.place = place,
	.wrote = wrote,
	.drop = drop,
	.capture = capture,
	.record = record,
	.settle = settle,
};
