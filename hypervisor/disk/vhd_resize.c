/*
 * hypervisor/disk/vhd_resize.c - another size for a VHD.
 *
 * Larger, the table has to grow: blocks that lie where it grows to move to the end first. Until the footers
 * say the new size the old one holds, and whatever has been done for the new one does it no harm.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhd.h"

static int
check_size(uint64_t size, struct err *e)
{
	if (size && size % VHD_SECTOR == 0 && size <= VHD_SIZE_MAX)
		return 0;
	return err_set(e, EINVAL, "a VHD has a multiple of 512 bytes, up to %llu (2040 GiB), not %llu",
	    (unsigned long long)VHD_SIZE_MAX, (unsigned long long)size);
}

static bool
cancelled(const struct disk_progress *p, const char *phase, uint64_t done, uint64_t total)
{
	return p && p->step(p->ctx, phase, done, total);
}

/* --- Fixed ------------------------------------------------------------------------------------------- */

/* Without a longer file: it would have no footer at its end. */
static int
take_space(struct vhd *v, uint64_t size, struct err *e)
{
	int rc = 0;

	if (size > v->file_size)
		rc = v->file->ops->allocate(v->file, FALLOC_FL_KEEP_SIZE, v->file_size, size - v->file_size);
	if (rc == 0 || rc == -EOPNOTSUPP || rc == -ENOSYS)
		return 0;
	return err_set(
	    e, -rc, "there is no space for %llu bytes: %s", (unsigned long long)size, strerror(-rc));
}

/* The footer directly behind the data, where it is found again (vhd_lost.c). Two are there for a moment: the
 * same.
 */
static int
footer_to_data(struct vhd *v, struct err *e)
{
	int rc;

	if (v->trailer == v->footer.size)
		return 0;
	v->trailer = v->footer.size;
	rc = vhd_write_footers(v, e);
	return rc < 0 ? rc : vhd_cut_fixed(v, e);
}

/* The footer goes to its new place with the old size: the file is longer than it need be, and still the same
 * disk. Should the file be longer without it, it is still in its old place, with zeros behind. Then what was
 * behind the data is emptied, the old footer with it; then the new size holds. */
static int
grow_fixed(struct vhd *v, uint64_t size, struct err *e)
{
	int rc = footer_to_data(v, e);

	if (rc == 0)
		rc = take_space(v, size, e);
	if (rc == 0 && v->trailer < size)
		rc = vhd_extend(v, size, e);
	if (rc == 0)
		rc = file_clear(v->file, v->footer.size, size - v->footer.size, false, e);
	if (rc == 0)
		rc = file_sync(v->file, e);
	if (rc < 0)
		return rc;
	vhd_footer_resize(&v->footer, size);
	return vhd_write_footers(v, e);
}

/* First the last footer says the new size; then it may lie where data was. */
static int
shrink_fixed(struct vhd *v, uint64_t size, struct err *e)
{
	int rc;

	vhd_footer_resize(&v->footer, size);
	rc = vhd_write_footers(v, e);
	return rc < 0 ? rc : footer_to_data(v, e);
}

/* What a shorter fixed disk would lose has to be nothing. */
static int
check_fixed_end(struct vhd *v, uint64_t size, struct err *e)
{
	enum { CHUNK = 65536 };
	uint8_t *buf = malloc(CHUNK);
	uint64_t alike;
	int rc = 0;

	if (!buf)
		return err_set(e, ENOMEM, "no memory to look at the end of the disk");
	for (uint64_t at = size; at < v->footer.size && rc == 0; at += alike) {
		size_t n = v->footer.size - at < CHUNK ? (size_t)(v->footer.size - at) : CHUNK;

		if (file_is_hole(v->file, at, v->footer.size - at, &alike))
			continue;
		alike = n;
		rc = file_get(v->file, buf, n, at, e);
		if (rc == 0 && (buf[0] || memcmp(buf, buf + 1, n - 1) != 0))
			rc = err_set(e, EBUSY, "the disk holds data at offset %llu: it cannot end at %llu",
			    (unsigned long long)at, (unsigned long long)size);
	}
	free(buf);
	return rc;
}

static int
resize_fixed(struct vhd *v, uint64_t size, struct err *e)
{
	int rc;

	if (size > v->footer.size)
		return grow_fixed(v, size, e);
	rc = check_fixed_end(v, size, e);
	return rc < 0 ? rc : shrink_fixed(v, size, e);
}

/* --- The table --------------------------------------------------------------------------------------- */

static uint32_t
blocks_for(const struct vhd *v, uint64_t size)
{
	return (uint32_t)((size + v->header.block_size - 1) / v->header.block_size);
}

/* What an interrupted resize, or another program, left behind the end. */
static int
clear_entries(struct vhd *v, uint32_t from, struct err *e)
{
	bool any = false;
	int rc = 0;

	for (uint32_t i = from; i < v->header.entries && rc == 0; i++) {
		if (vhd_entry(v, i) == VHD_ABSENT)
			continue;
		any = true;
		vhd_set_entry(v, i, VHD_ABSENT);
		rc = vhd_write_entry(v, i, e);
	}
	return rc == 0 && any ? file_sync(v->file, e) : rc;
}

/* Its number of entries is in the header's first sector, with the checksum: old or new. */
static int
write_entries(struct vhd *v, uint32_t entries, struct err *e)
{
	int rc;

	v->header.entries = entries;
	vhd_header_encode(&v->header);
	rc = file_put(v->file, v->header.raw, VHD_SECTOR, v->footer.data_offset, e);
	return rc < 0 ? rc : file_sync(v->file, e);
}

static int
check_way(const struct vhd *v, uint64_t end, struct err *e)
{
	struct vhd_extent x[VHD_FIXTURES];
	unsigned n = vhd_fixtures(v, x);

	for (unsigned i = 0; i < n; i++)
		if (x[i].at > v->header.table && x[i].at < end)
			return err_set(e, ENOTSUP,
			    "the block table would have to grow to offset %llu, but there is %s at %llu: "
			    "convert the disk",
			    (unsigned long long)end, x[i].what, (unsigned long long)x[i].at);
	return 0;
}

static int
clear_way(struct vhd *v, uint64_t end, const struct disk_progress *p, struct err *e)
{
	int rc = check_way(v, end, e);

	for (uint32_t i = 0; i < v->header.entries && rc == 0; i++) {
		uint64_t at = (uint64_t)vhd_entry(v, i) * VHD_SECTOR;
		uint64_t to = vhd_place(v, v->trailer < end ? end : v->trailer);

		if (vhd_entry(v, i) == VHD_ABSENT || at >= end)
			continue;
		if (cancelled(p, "moving blocks", i, v->header.entries))
			return err_set(e, ECANCELED, "cancelled");
		rc = vhd_extend(v, to + vhd_stride(v), e);
		if (rc == 0)
			rc = vhd_move_block(v, i, to, e);
	}
	return rc;
}

static int
grow_table(struct vhd *v, uint32_t entries, const struct disk_progress *p, struct err *e)
{
	uint32_t old = v->header.entries;
	uint64_t bytes = vhd_table_bytes(entries), end = v->header.table + bytes;
	uint32_t *table;
	int rc = clear_way(v, end, p, e);

	if (rc == 0 && v->trailer < end)
		rc = vhd_extend(v, vhd_place(v, end), e);
	if (rc < 0)
		return rc;
	table = realloc(v->table, bytes);
	if (!table)
		return err_set(
		    e, ENOMEM, "no memory for a block table of %llu bytes", (unsigned long long)bytes);
	v->table = table;
	/* All of the rest, for the old padding may be anything. */
	memset(table + old, 0xff, bytes - old * sizeof(uint32_t));
	old -= old % VHD_ENTRIES_PER_SECTOR;
	rc = file_put(v->file, table + old, bytes - old * sizeof(uint32_t),
	    v->header.table + old * sizeof(uint32_t), e);
	if (rc == 0)
		rc = file_sync(v->file, e);
	return rc < 0 ? rc : write_entries(v, entries, e);
}

/* --- Dynamic ----------------------------------------------------------------------------------------- */

/* Nobody has seen the end of the last block yet: it must be empty. */
static int
clear_last(struct vhd *v, struct err *e)
{
	uint64_t within = v->footer.size % v->header.block_size;
	uint32_t block = v->blocks - 1, sector = vhd_entry(v, block);
	int rc;

	if (within == 0 || sector == VHD_ABSENT)
		return 0;
	rc = file_clear(v->file, (uint64_t)sector * VHD_SECTOR + v->bitmap + within,
	    v->header.block_size - within, true, e);
	return rc < 0 ? rc : file_sync(v->file, e);
}

static int
grow(struct vhd *v, uint64_t size, const struct disk_progress *p, struct err *e)
{
	uint64_t blocks = (size + v->header.block_size - 1) / v->header.block_size;
	int rc;

	if (blocks > VHD_ENTRIES_MAX)
		return err_set(e, EINVAL, "%llu bytes are %llu blocks of %u bytes: a VHD has %d at most",
		    (unsigned long long)size, (unsigned long long)blocks, v->header.block_size,
		    VHD_ENTRIES_MAX);
	rc = clear_entries(v, v->blocks, e);
	if (rc == 0)
		rc = clear_last(v, e);
	if (rc == 0 && blocks > v->header.entries)
		rc = grow_table(v, (uint32_t)blocks, p, e);
	if (rc < 0)
		return rc;
	vhd_footer_resize(&v->footer, size);
	return vhd_write_footers(v, e);
}

static int
check_end(struct vhd *v, uint64_t size, const struct disk_progress *p, struct err *e)
{
	uint32_t first = (uint32_t)(size / v->header.block_size);
	uint32_t from = (uint32_t)(size % v->header.block_size / VHD_SECTOR);

	for (uint32_t i = first; i < v->blocks; i++, from = 0) {
		int rc = vhd_entry(v, i) == VHD_ABSENT ? 1 : vhd_is_blank(v, i, from, e);

		if (rc < 0)
			return rc;
		if (rc == 0)
			return err_set(e, EBUSY,
			    "the disk holds data in its block %u, at offset %llu: it cannot end at %llu", i,
			    (unsigned long long)i * v->header.block_size, (unsigned long long)size);
		if (cancelled(p, "looking at blocks", i - first, v->blocks - first))
			return err_set(e, ECANCELED, "cancelled");
	}
	return 0;
}

static int
shrink(struct vhd *v, uint64_t size, const struct disk_progress *p, struct err *e)
{
	int rc = check_end(v, size, p, e);

	if (rc < 0)
		return rc;
	vhd_footer_resize(&v->footer, size);
	rc = vhd_write_footers(v, e);
	if (rc == 0)
		rc = clear_entries(v, blocks_for(v, size), e);
	return rc < 0 ? rc : write_entries(v, blocks_for(v, size), e);
}

static int
resize_dynamic(struct vhd *v, uint64_t size, const struct disk_progress *p, struct err *e)
{
	int rc = size > v->footer.size ? grow(v, size, p, e) : shrink(v, size, p, e);

	vhd_recount(v);
	if (v->trailer != vhd_place(v, v->end) && (rc == 0 || rc == -ECANCELED)) {
		int cut = vhd_cut(v, rc < 0 ? NULL : e);

		rc = rc < 0 ? rc : cut;
	}
	return rc;
}

int
vhd_resize(struct disk_file *f, uint64_t size, const struct disk_progress *p, struct err *e)
{
	struct vhd v;
	int rc = check_size(size, e);

	if (rc < 0)
		return rc;
	rc = vhd_load_to_change(&v, f, e);
	if (rc < 0)
		return rc;
	if (v.footer.type == VHD_DIFFERENCING)
		rc = err_set(e, ENOTSUP, "a differencing disk keeps the size it was made with");
	else if (size != v.footer.size)
		rc = v.footer.type == VHD_FIXED ? resize_fixed(&v, size, e) : resize_dynamic(&v, size, p, e);
	vhd_unload(&v);
	return rc;
}
