/*
 * hypervisor/disk/vhdx_compact.c - a smaller file: blocks of zeros are given up, the last blocks move into
 * gaps, the end is cut off.
 *
 * A block is copied and the copy made safe before the table names it; its old place is nobody's from then on,
 * and is not used again by the same compact. So each moment has a whole image, and what guests read never
 * changes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhdx.h"

enum { PIECE = 1 << 20, BATCH_PAGES = 60, BATCH_BYTES = 256 << 20 };

/* --- Reading and copying places --- */

static bool
all_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

/* The part of [off, off+len) that is alike, cut to a piece; what a short file does not have is a hole. */
static bool
is_hole(const struct vhdx *v, uint64_t off, uint64_t len, uint64_t *n)
{
	bool hole;

	*n = len;
	if (off >= v->file_size)
		return true;
	if (*n > v->file_size - off)
		*n = v->file_size - off;
	hole = file_is_hole(v->file, off, *n, n);
	if (!hole && *n > PIECE)
		*n = PIECE;
	return hole;
}

int
vhdx_reads_zero(struct vhdx *v, uint64_t off, uint64_t len)
{
	uint8_t *p = malloc(PIECE);
	uint64_t n;
	int rc = p ? 1 : err_set(v->err, ENOMEM, "VHDX: out of memory");

	for (uint64_t at = 0; rc > 0 && at < len; at += n) {
		if (is_hole(v, off + at, len - at, &n))
			continue;
		rc = file_get(v->file, p, n, off + at, v->err);
		if (rc == 0)
			rc = all_zero(p, n);
	}
	free(p);
	return rc;
}

static int
copy_place(struct vhdx *v, uint8_t *piece, uint64_t from, uint64_t to, uint64_t len)
{
	uint64_t n;
	int rc = 0;

	for (uint64_t at = 0; rc == 0 && at < len; at += n) {
		bool hole = is_hole(v, from + at, len - at, &n);

		if (!hole)
			rc = file_get(v->file, piece, n, from + at, v->err);
		if (rc == 0 && (hole || all_zero(piece, n)))
			rc = file_clear(v->file, to + at, n, true, v->err);
		else if (rc == 0)
			rc = file_put(v->file, piece, n, to + at, v->err);
	}
	return rc;
}

/* --- Commits --- */

struct compact {
	struct vhdx *v;
	const struct disk_progress *progress;
	uint8_t *piece;
	uint64_t moved; /* bytes since the last commit */
	struct place {
		uint64_t at, index;
	} * places;
	uint64_t n;
};

static uint64_t *
entry_of(const struct compact *c, uint64_t index)
{
	return (uint64_t *)(void *)c->v->table[TABLE_BAT].pages + index;
}

static int
commit(struct compact *c)
{
	int rc = 0;

	c->moved = 0;
	if (!c->v->w.dirties)
		return 0;
	if (c->v->w.phase != WRITER_OPEN)
		rc = vhdx_begin(c->v, false);
	return rc == 0 ? vhdx_commit(c->v) : rc;
}

static int
set_entry(struct compact *c, uint64_t index, uint64_t value)
{
	vhdx_set_entry(c->v, index, value);
	return c->v->w.dirties >= BATCH_PAGES || c->moved >= BATCH_BYTES ? commit(c) : 0;
}

/* --- Giving up --- */

/* 1: no sector of a block is here. */
static int
no_bits(struct vhdx *v, uint64_t block)
{
	uint64_t sector = block * v->block_size / v->logical, end = sector + v->block_size / v->logical;
	const uint64_t *bitmap = (const uint64_t *)(const void *)v->table[TABLE_BAT].pages;
	uint8_t *bits;

	if ((bitmap[vhdx_bitmap_index(v, block / v->ratio)] & ENTRY_STATE) != BLOCK_FULL)
		return vhdx_fault(v, DISK_DAMAGE, "block %llu is partly here, but its chunk has no bitmap",
		    (unsigned long long)block);
	for (; sector < end; sector += 8) {
		int rc = vhdx_page(v, TABLE_BITMAP, sector / VHDX_PAGE_BITS, &bits);

		if (rc < 0)
			return rc;
		if (bits[sector % VHDX_PAGE_BITS / 8])
			return 0;
	}
	return 1;
}

/* What becomes of a block's entry. */
static int
give_up(struct compact *c, uint64_t block, bool *partial)
{
	struct vhdx *v = c->v;
	uint64_t index = vhdx_block_index(v, block), e = *entry_of(c, index), state = e & ENTRY_STATE;
	uint64_t less = state;
	int rc = 1;

	if (!vhdx_entry_space(v, index, e))
		return 0;
	if (state == BLOCK_FULL) {
		rc = vhdx_reads_zero(v, e & ENTRY_OFFSET, v->block_size);
		less = v->child ? BLOCK_ZERO : BLOCK_NOT_PRESENT;
	} else if (state == BLOCK_PARTIAL) {
		rc = no_bits(v, block);
		less = BLOCK_NOT_PRESENT;
	}
	*partial |= state == BLOCK_PARTIAL && !rc;
	return rc > 0 ? set_entry(c, index, less) : rc;
}

static int
give_up_all(struct compact *c)
{
	struct vhdx *v = c->v;
	bool partial = false;
	int rc = 0;

	for (uint64_t b = 0; rc == 0 && b < v->blocks; b++) {
		uint64_t bitmap = vhdx_bitmap_index(v, b / v->ratio);

		rc = give_up(c, b, &partial);
		if (rc == 0 && v->child && (b % v->ratio == v->ratio - 1 || b == v->blocks - 1)) {
			if (!partial && *entry_of(c, bitmap))
				rc = set_entry(c, bitmap, BLOCK_NOT_PRESENT);
			partial = false;
		}
		if (rc == 0 && vhdx_cancelled(c->progress, "look for zeros", b, v->blocks))
			rc = err_set(v->err, ECANCELED, "stopped");
	}
	return rc;
}

/* --- Moving together --- */

static int
last_first(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return x->at > y->at ? -1 : x->at < y->at;
}

static int
list_places(struct compact *c)
{
	const struct vhdx *v = c->v;
	uint64_t n = 0;

	for (uint64_t i = 0; i < v->entries; i++)
		n += vhdx_entry_space(v, i, *entry_of(c, i)) != 0;
	c->places = calloc(n + 1, sizeof(*c->places));
	if (!c->places)
		return err_set(v->err, ENOMEM, "VHDX: out of memory");
	for (uint64_t i = 0; i < v->entries; i++)
		if (vhdx_entry_space(v, i, *entry_of(c, i)))
			c->places[c->n++] = (struct place){ *entry_of(c, i) & ENTRY_OFFSET, i };
	qsort(c->places, c->n, sizeof(*c->places), last_first);
	return 0;
}

/* The first gap from *from on, below `below`; its beginning. */
static bool
find_gap(const struct vhdx *v, uint64_t *from, uint64_t len, uint64_t below)
{
	while (*from + len <= below) {
		if (vhdx_space_free(v, *from, len))
			return true;
		*from += VHDX_MIB;
	}
	return false;
}

static int
move(struct compact *c, const struct place *p, uint64_t to, uint64_t len)
{
	struct vhdx *v = c->v;
	uint64_t e = *entry_of(c, p->index);
	int rc = copy_place(v, c->piece, p->at, to, len);

	if (rc < 0)
		return rc;
	vhdx_space_mark(v, to, len, true);
	c->moved += len;
	return set_entry(c, p->index, to | (e & ENTRY_STATE));
}

static int
move_all(struct compact *c)
{
	struct vhdx *v = c->v;
	uint64_t block_gap = VHDX_HEADERS_END, bitmap_gap = VHDX_HEADERS_END;
	int rc = list_places(c);

	for (uint64_t i = 0; rc == 0 && i < c->n; i++) {
		const struct place *p = &c->places[i];
		bool bitmap = vhdx_is_bitmap(v, p->index);
		uint64_t *gap = bitmap ? &bitmap_gap : &block_gap, len = bitmap ? VHDX_MIB : v->block_size;

		if (find_gap(v, gap, len, p->at))
			rc = move(c, p, *gap, len);
		if (rc == 0 && vhdx_cancelled(c->progress, "move blocks", i, c->n))
			rc = err_set(v->err, ECANCELED, "stopped");
	}
	return rc;
}

/* --- All of it --- */

/* What was decided is kept, even if it goes no further. */
static int
finish(struct compact *c, int rc)
{
	struct vhdx *v = c->v;
	struct err e = { 0 };
	uint64_t end;
	int last;

	if (rc < 0 && rc != -ECANCELED)
		return rc;
	v->err = rc < 0 ? &e : v->err;
	last = commit(c);
	if (last == 0 && v->w.marked)
		last = vhdx_end(v);
	end = vhdx_space_again(v);
	if (last == 0 && end < v->file_size) {
		last = file_truncate(v->file, end, v->err);
		if (last == 0)
			last = file_sync(v->file, v->err);
	}
	return rc < 0 ? rc : last;
}

static int
compact(struct vhdx *v, const struct disk_progress *p)
{
	struct compact c = { .v = v, .progress = p };
	int rc = vhdx_read_bat(v);

	if (rc < 0)
		return rc;
	c.piece = malloc(PIECE);
	rc = c.piece ? give_up_all(&c) : err_set(v->err, ENOMEM, "VHDX: out of memory");
	if (rc == 0)
		rc = commit(&c);
	if (rc == 0) {
		vhdx_space_again(v);
		rc = move_all(&c);
	}
	rc = finish(&c, rc);
	free(c.places);
	free(c.piece);
	return rc;
}

int
vhdx_compact(struct disk_file *f, const struct disk_progress *p, struct err *e)
{
	struct vhdx v;
	int rc = vhdx_take(&v, f, e);

	if (rc == 0 && !v.fixed)
		rc = compact(&v, p);
	return vhdx_give_back(&v, rc);
}
