/*
 * hypervisor/disk/vhdx_resize.c - another size of a disk.
 *
 * Whatever the new size needs lies where the old one does not look, and is safe, before one commit makes the
 * new size true. What the old size had beyond the new one is cleared after it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhdx.h"

enum { PIECE = 1 << 20, BATCH_PAGES = 60 };

struct resize {
	struct vhdx *v;
	const struct disk_progress *progress;
	uint64_t size, entries, blocks; /* the new ones */
	uint64_t table;                 /* where the table will be */
	uint32_t table_length;
	uint64_t place; /* fixed: of the next new block */
};

static int
check_size(const struct vhdx *v, uint64_t size)
{
	if (v->child)
		return err_set(v->err, ENOTSUP,
		    "a differencing image has the size that it was made with: merge it, or resize its "
		    "parent before");
	if (!size || size % v->logical || size > VHDX_SIZE_MAX)
		return err_set(v->err, EINVAL,
		    "a VHDX has whole sectors of %u bytes, up to 64 TiB, not %llu bytes", v->logical,
		    (unsigned long long)size);
	return 0;
}

static uint64_t *
entry_of(const struct vhdx *v, uint64_t index)
{
	return (uint64_t *)(void *)v->table[TABLE_BAT].pages + index;
}

/* The last block's sectors that nobody could see. */
static int
clear_last(const struct resize *r)
{
	const struct vhdx *v = r->v;
	uint64_t last = v->blocks - 1, in = v->size - last * v->block_size;
	uint64_t e = *entry_of(v, vhdx_block_index(v, last));

	if ((e & ENTRY_STATE) != BLOCK_FULL || in == v->block_size)
		return 0;
	return file_clear(v->file, (e & ENTRY_OFFSET) + in, v->block_size - in, false, v->err);
}

/* --- Growing --- */

/* Space for a longer table and a fixed image's new blocks, at the end of the file. */
static int
make_room(struct resize *r)
{
	struct vhdx *v = r->v;
	uint64_t end = v->next, first = v->next;

	r->table = v->bat.offset;
	r->table_length = v->bat.length;
	if (r->entries * 8 > v->bat.length) {
		r->table = end;
		r->table_length = (uint32_t)round_up(r->entries * 8, VHDX_MIB);
		end += r->table_length;
	}
	r->place = end;
	if (v->fixed)
		end += (r->blocks - v->blocks) * v->block_size;
	if (end == first && v->need <= v->file_size)
		return 0;
	if (end > VHDX_FILE_MAX)
		return err_set(v->err, EFBIG, "the file would have more than 256 TiB");
	if (end > first) {
		int rc = vhdx_real_space(v->file, first, end - first, r->progress, v->err);

		if (rc < 0)
			return rc;
	}
	v->file_size = end > v->file_size ? end : v->file_size;
	v->next = v->file_size;
	return file_truncate(v->file, v->file_size, v->err);
}

static uint64_t
new_entry(struct resize *r, uint64_t index)
{
	struct vhdx *v = r->v;
	uint64_t at = r->place;

	if (!v->fixed || vhdx_is_bitmap(v, index))
		return 0;
	r->place += v->block_size;
	return at | BLOCK_FULL;
}

/* The table from a page's border on: nobody looks there yet. */
static int
write_entries(struct resize *r, uint64_t first)
{
	enum { ENTRIES = PIECE / 8 };
	const struct vhdx *v = r->v;
	uint64_t *e = malloc(PIECE);
	int rc = 0;

	if (!e)
		return err_set(v->err, ENOMEM, "VHDX: out of memory");
	for (uint64_t index = first; rc == 0 && index < r->entries;) {
		uint64_t i, n = r->entries - index < ENTRIES ? r->entries - index : ENTRIES;

		memset(e, 0, PIECE);
		for (i = 0; i < n; i++)
			e[i] = index + i < v->entries ? *entry_of(v, index + i) : new_entry(r, index + i);
		rc = file_put(v->file, e, round_up(n * 8, VHDX_PAGE), r->table + index * 8, v->err);
		index += n;
		if (rc == 0 && vhdx_cancelled(r->progress, "table", index, r->entries))
			rc = err_set(v->err, ECANCELED, "stopped");
	}
	free(e);
	return rc;
}

/* The page that the old end of the table and the new entries share. */
static int
change_border(struct resize *r, uint64_t from, uint64_t to)
{
	int rc = 0;

	for (uint64_t index = from; rc == 0 && index < to; index++) {
		uint64_t e = new_entry(r, index);

		rc = vhdx_change_bytes(r->v, r->table + index * 8, &e, sizeof(e));
	}
	return rc;
}

static int
change_regions(struct resize *r)
{
	struct vhdx *v = r->v;
	struct vhdx_region_head head;
	int rc = 0;

	memcpy(&head, v->regions, sizeof(head));
	for (unsigned i = 0; i < head.count; i++) {
		uint8_t *at = v->regions + sizeof(head) + i * sizeof(struct vhdx_region);
		struct vhdx_region region;

		memcpy(&region, at, sizeof(region));
		if (memcmp(region.id, vhdx_bat_id, GUID_BYTES) != 0)
			continue;
		region.offset = r->table;
		region.length = r->table_length;
		memcpy(at, &region, sizeof(region));
	}
	vhdx_seal_regions(v->regions);
	for (unsigned i = 0; rc == 0 && i < 2; i++)
		rc = vhdx_change_bytes(v, VHDX_REGION_AT + i * (uint64_t)VHDX_COPY, v->regions, VHDX_COPY);
	return rc;
}

/* Which blocks a fixed image's new entries name depends on their order: the border first. */
static int
grow(struct resize *r)
{
	struct vhdx *v = r->v;
	bool moves = r->entries * 8 > v->bat.length;
	uint64_t border = moves ? v->entries : round_up(v->entries, VHDX_ENTRIES), place;
	int rc = clear_last(r);

	if (border > r->entries)
		border = r->entries;
	if (rc == 0)
		rc = make_room(r);
	if (rc < 0)
		return rc;
	place = r->place;
	for (uint64_t i = v->entries; i < border; i++)
		new_entry(r, i);
	rc = write_entries(r, moves ? 0 : border);
	if (rc == 0)
		rc = file_sync(v->file, v->err);
	if (rc == 0)
		rc = vhdx_begin(v, true);
	r->place = place;
	if (rc == 0)
		rc = change_border(r, v->entries, border);
	if (rc == 0 && moves)
		rc = change_regions(r);
	if (rc == 0)
		rc = vhdx_change_bytes(v, vhdx_item_at(v, ITEM_SIZE), &r->size, sizeof(r->size));
	if (rc == 0)
		rc = vhdx_commit(v);
	return rc == 0 ? vhdx_end(v) : rc;
}

/* --- Shrinking --- */

static int
must_be_zero(struct resize *r, uint64_t block, uint64_t in)
{
	struct vhdx *v = r->v;
	uint64_t e = *entry_of(v, vhdx_block_index(v, block));
	int rc;

	if ((e & ENTRY_STATE) != BLOCK_FULL || in == v->block_size)
		return 0;
	rc = vhdx_reads_zero(v, (e & ENTRY_OFFSET) + in, v->block_size - in);
	if (rc == 0)
		return err_set(v->err, EBUSY,
		    "there is data behind the new end, at offset %llu of the disk or later: nothing was "
		    "changed",
		    (unsigned long long)(block * v->block_size + in));
	return rc < 0 ? rc : 0;
}

static int
check_end(struct resize *r)
{
	const struct vhdx *v = r->v;
	uint64_t first = r->size / v->block_size;
	int rc = 0;

	for (uint64_t b = first; rc == 0 && b < v->blocks; b++) {
		rc = must_be_zero(r, b, b == first ? r->size % v->block_size : 0);
		if (rc == 0 && vhdx_cancelled(r->progress, "look for data", b - first, v->blocks - first))
			rc = err_set(v->err, ECANCELED, "stopped");
	}
	return rc;
}

/* The size counts already; what is left of the old one goes. */
static int
clear_entries(struct resize *r)
{
	struct vhdx *v = r->v;
	int rc = 0;

	for (uint64_t index = r->entries; rc == 0 && index < v->entries; index++) {
		if (*entry_of(v, index))
			vhdx_set_entry(v, index, 0);
		if (v->w.dirties == BATCH_PAGES)
			rc = vhdx_commit(v);
	}
	return rc == 0 ? vhdx_commit(v) : rc;
}

static int
cut(struct resize *r)
{
	struct vhdx *v = r->v;
	uint64_t end = vhdx_space_again(v);
	int rc;

	if (end >= v->file_size)
		return 0;
	rc = file_truncate(v->file, end, v->err);
	return rc == 0 ? file_sync(v->file, v->err) : rc;
}

static int
shrink(struct resize *r)
{
	struct vhdx *v = r->v;
	int rc = check_end(r);

	if (rc == 0)
		rc = vhdx_begin(v, true);
	if (rc == 0)
		rc = vhdx_change_bytes(v, vhdx_item_at(v, ITEM_SIZE), &r->size, sizeof(r->size));
	if (rc == 0)
		rc = vhdx_commit(v);
	if (rc == 0)
		rc = clear_entries(r);
	if (rc == 0)
		rc = vhdx_end(v);
	return rc == 0 ? cut(r) : rc;
}

static int
resize(struct vhdx *v, uint64_t size, const struct disk_progress *p)
{
	struct resize r = { .v = v,
		.progress = p,
		.size = size,
		.entries = vhdx_entries_needed(size, v->block_size, v->logical, false),
		.blocks = (size + v->block_size - 1) / v->block_size };
	int rc = vhdx_read_bat(v);

	if (rc < 0 || size == v->size)
		return rc;
	return size > v->size ? grow(&r) : shrink(&r);
}

int
vhdx_resize(struct disk_file *f, uint64_t size, const struct disk_progress *p, struct err *e)
{
	struct vhdx v;
	int rc = vhdx_take(&v, f, e);

	if (rc == 0)
		rc = check_size(&v, size);
	if (rc == 0)
		rc = resize(&v, size, p);
	return vhdx_give_back(&v, rc);
}
