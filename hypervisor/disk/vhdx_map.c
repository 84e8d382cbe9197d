/*
 * hypervisor/disk/vhdx_map.c - what a read finds where: MS-VHDX 2.5.1.1, states of payload blocks.
 */
#include <errno.h>

#include "hypervisor/disk/vhdx.h"

/* A place in the file; what a short file does not have reads zero. */
static void
in_file(const struct vhdx *v, uint64_t at, struct extent *x)
{
	x->kind = EXTENT_DATA;
	x->at = at;
	if (at >= v->file_size)
		x->kind = EXTENT_ZERO;
	else if (x->len > v->file_size - at)
		x->len = (v->file_size - at) / v->logical * v->logical;
	if (!x->len) {
		x->kind = EXTENT_ZERO;
		x->len = v->logical;
	}
}

/* Behind the parent's end are zeros. */
static void
in_parent(const struct vhdx *v, uint64_t offset, struct extent *x)
{
	uint64_t end = v->image.disk.parent ? v->image.disk.parent->size : v->size;

	x->kind = EXTENT_PARENT;
	x->at = offset;
	if (offset >= end)
		x->kind = EXTENT_ZERO;
	else if (x->len > end - offset)
		x->len = end - offset;
}

/* Sectors of a block that is partly here: those alike in one page of the bitmap. */
static int
in_part(struct vhdx *v, uint64_t offset, uint64_t at, struct extent *x)
{
	uint32_t from = vhdx_bit(v, offset), to = from + (uint32_t)(x->len / v->logical), n;
	uint8_t *bits;
	bool here;
	int rc = vhdx_page(v, TABLE_BITMAP, vhdx_bit_page(v, offset), &bits);

	if (rc < 0)
		return rc;
	if (to > VHDX_PAGE_BITS)
		to = VHDX_PAGE_BITS;
	here = bits[from / 8] >> from % 8 & 1;
	for (n = from + 1; n < to; n++) {
		if (n % 8 == 0 && n + 8 <= to && bits[n / 8] == (here ? 0xff : 0))
			n += 7;
		else if ((bits[n / 8] >> n % 8 & 1) != here)
			break;
	}
	x->len = (uint64_t)(n - from) * v->logical;
	if (here)
		in_file(v, at, x);
	else
		in_parent(v, offset, x);
	return 0;
}

/* Within one block. */
static int
map_block(struct vhdx *v, uint64_t offset, uint64_t len, struct extent *x)
{
	uint64_t block = offset / v->block_size, in = offset % v->block_size, *e, *bitmap;
	int rc = vhdx_entry(v, vhdx_block_index(v, block), &e);

	*x = (struct extent){ .kind = EXTENT_ZERO,
		.len = v->block_size - in < len ? v->block_size - in : len };
	if (rc < 0)
		return rc;
	switch (*e & ENTRY_STATE) {
	case BLOCK_FULL:
		in_file(v, (*e & ENTRY_OFFSET) + in, x);
		return 0;
	case BLOCK_PARTIAL:
		rc = vhdx_entry(v, vhdx_bitmap_index(v, block / v->ratio), &bitmap);
		if (rc == 0 && (*bitmap & ENTRY_STATE) != BLOCK_FULL)
			rc = v->blocking ? vhdx_fault(v, DISK_DAMAGE,
					       "block %llu is partly here, but its chunk has no bitmap",
					       (unsigned long long)block)
					 : -EIO;
		return rc < 0 ? rc : in_part(v, offset, (*e & ENTRY_OFFSET) + in, x);
	case BLOCK_NOT_PRESENT:
		if (v->child)
			in_parent(v, offset, x);
		return 0;
	default:
		return 0;
	}
}

/* What a log that is replayed in memory alone has for the data of a block. */
static int
patched(const struct vhdx *v, struct extent *x)
{
	switch (vhdx_patched(v, x->at, &x->len)) {
	case PATCHED_ZERO:
		x->kind = EXTENT_ZERO;
		return 0;
	case PATCHED_PAGE:
		return v->blocking
			   ? err_set(v->err, EIO,
				 "the log changes data at offset %#llx: open the file for writing once",
				 (unsigned long long)x->at)
			   : -EIO;
	default:
		return 0;
	}
}

static bool
continues(const struct extent *x, const struct extent *next)
{
	return x->kind == next->kind && (x->kind != EXTENT_DATA || x->at + x->len == next->at);
}

int
vhdx_map(struct vhdx *v, uint64_t offset, uint64_t len, struct extent *x)
{
	struct extent next;
	int rc = map_block(v, offset, len, x);

	if (rc == 0 && v->n_patches && x->kind == EXTENT_DATA)
		return patched(v, x);
	while (rc == 0 && x->len < len && (offset + x->len) % v->block_size == 0) {
		if (v->n_patches || map_block(v, offset + x->len, len - x->len, &next) < 0 ||
		    !continues(x, &next))
			break;
		x->len += next.len;
	}
	return rc;
}
