/*
 * hypervisor/disk/vhd_layout.c - what lies where in a VHD's file.
 *
 * Nothing in the file is believed: the last footer, or the copy of it at the beginning if it is missing; the
 * header that it points at; the table that the header points at; and each block in the table has to lie in
 * the file and to overlap nothing. Memory is bounded by the table, which has to be in the file.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhd.h"

/* So much between what is used and the last footer is no sign of a crash: Windows leaves some sectors, too.
 */
enum { SLACK_MAX = 65536 };

/* --- Sums ------------------------------------------------------------------------------------------- */

static uint64_t
round_up(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit * unit;
}

uint64_t
vhd_table_bytes(uint32_t entries)
{
	return round_up((uint64_t)entries * sizeof(uint32_t), VHD_SECTOR);
}

uint32_t
vhd_bitmap_bytes(uint32_t block_size)
{
	return (uint32_t)round_up(block_size / VHD_SECTOR / 8, VHD_SECTOR);
}

uint64_t
vhd_stride(const struct vhd *v)
{
	return v->tight ? vhd_span(v) : round_up(vhd_span(v), VHD_PAGE);
}

uint64_t
vhd_place(const struct vhd *v, uint64_t at)
{
	return v->tight ? round_up(at, VHD_SECTOR) : round_up(at + v->bitmap, VHD_PAGE) - v->bitmap;
}

uint32_t
vhd_entry(const struct vhd *v, uint32_t block)
{
	return be32toh(v->table[block]);
}

void
vhd_set_entry(struct vhd *v, uint32_t block, uint32_t sector)
{
	v->table[block] = htobe32(sector);
}

/* --- The footers ------------------------------------------------------------------------------------ */

/* The last one, of 512 bytes or of 511. */
static int
load_trailer(struct vhd *v, struct err *e)
{
	uint8_t raw[VHD_FOOTER] = { 0 };
	int rc;

	v->trailer = v->file_size - VHD_FOOTER;
	rc = file_get(v->file, raw, VHD_FOOTER, v->trailer, e);
	if (rc < 0)
		return rc;
	if (!vhd_is_footer(raw) && vhd_is_footer(raw + 1)) { /* it looks at the magic alone */
		memmove(raw, raw + 1, VHD_OLD_FOOTER);
		raw[VHD_OLD_FOOTER] = 0;
		v->trailer++;
		v->faults |= VHD_OLD_TRAILER;
	}
	return vhd_footer_decode(&v->footer, raw, v->trailer, e);
}

/* The copy at 0, for what has one; used if there is no other. */
static int
load_copy(struct vhd *v, struct err *e)
{
	bool only = v->faults & VHD_NO_TRAILER;
	struct vhd_footer copy;
	uint8_t raw[VHD_FOOTER];
	int rc = file_get(v->file, raw, VHD_FOOTER, 0, only ? e : NULL);

	if (rc == 0)
		rc = vhd_footer_decode(&copy, raw, 0, only ? e : NULL);
	if (rc == 0 && copy.type == VHD_FIXED)
		rc = err_set(
		    only ? e : NULL, EINVAL, "the footer at offset 0 is a fixed VHD's, which is not there");
	if (only) {
		if (rc == 0)
			v->footer = copy;
		return rc;
	}
	if (rc < 0)
		v->faults |= VHD_NO_COPY;
	else if (memcmp(copy.raw, v->footer.raw, VHD_FOOTER) != 0)
		v->faults |= VHD_COPY_DIFFERS;
	return 0;
}

static int
load_footers(struct vhd *v, struct err *e)
{
	struct err last = { 0 };
	int rc;

	if (v->file_size < VHD_FOOTER)
		return err_set(e, EINVAL, "the file has %llu bytes: no VHD is so short",
		    (unsigned long long)v->file_size);
	rc = load_trailer(v, &last);
	if (rc < 0 && rc != -EINVAL) {
		if (e)
			*e = last;
		return rc;
	}
	if (rc == 0 && v->footer.type == VHD_FIXED)
		return 0;
	if (rc < 0)
		v->faults = VHD_NO_TRAILER;
	rc = load_copy(v, e);
	if (rc == -EINVAL && vhd_find_lost(v))
		return 0;
	if (rc == -EINVAL && e) /* what is at the end says more than what is not at the beginning */
		*e = last;
	return rc;
}

/* --- The header and the table ----------------------------------------------------------------------- */

/* Where blocks and tables have to end. */
static uint64_t
limit(const struct vhd *v)
{
	return v->faults & VHD_NO_TRAILER ? v->file_size : v->trailer;
}

static int
load_header(struct vhd *v, struct err *e)
{
	uint8_t raw[VHD_HEADER];
	uint64_t at = v->footer.data_offset, table;
	int rc;

	if (at + VHD_HEADER > limit(v))
		return err_set(e, EINVAL, "the header would be at offset %llu, but the file ends at %llu",
		    (unsigned long long)at, (unsigned long long)limit(v));
	rc = file_get(v->file, raw, sizeof(raw), at, e);
	if (rc == 0)
		rc = vhd_header_decode(&v->header, raw, at, e);
	if (rc < 0)
		return rc;
	table = vhd_table_bytes(v->header.entries);
	if (v->header.table + table > limit(v))
		return err_set(e, EINVAL,
		    "the block table at offset %llu has %llu bytes, but the file ends at %llu",
		    (unsigned long long)v->header.table, (unsigned long long)table,
		    (unsigned long long)limit(v));
	v->blocks = (uint32_t)((v->footer.size + v->header.block_size - 1) / v->header.block_size);
	if (v->blocks > v->header.entries)
		return err_set(e, EINVAL, "the block table has %u entries, but %llu bytes need %u",
		    v->header.entries, (unsigned long long)v->footer.size, v->blocks);
	v->bitmap = vhd_bitmap_bytes(v->header.block_size);
	return 0;
}

static int
load_table(struct vhd *v, struct err *e)
{
	uint64_t bytes = vhd_table_bytes(v->header.entries);
	int rc;

	v->table = malloc(bytes);
	if (!v->table)
		return err_set(
		    e, ENOMEM, "no memory for a block table of %llu bytes", (unsigned long long)bytes);
	rc = file_get(v->file, v->table, bytes, v->header.table, e);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < v->header.entries; i++)
		v->allocated += v->table[i] != VHD_ABSENT;
	return 0;
}

/* --- What overlaps ---------------------------------------------------------------------------------- */

unsigned
vhd_fixtures(const struct vhd *v, struct vhd_extent out[VHD_FIXTURES])
{
	unsigned n = 0;

	out[n++] = (struct vhd_extent){ 0, VHD_FOOTER, "the footer's copy" };
	out[n++] = (struct vhd_extent){ v->footer.data_offset, VHD_HEADER, "the header" };
	out[n++] =
	    (struct vhd_extent){ v->header.table, vhd_table_bytes(v->header.entries), "the block table" };
	if (v->footer.type != VHD_DIFFERENCING)
		return n;
	for (unsigned i = 0; i < VHD_LOCATORS; i++) {
		const struct vhd_locator *l = &v->header.locator[i];

		if (l->code[0] && l->len)
			out[n++] =
			    (struct vhd_extent){ l->at, round_up(l->len, VHD_SECTOR), "a parent's path" };
	}
	return n;
}

static bool
overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

static int
check_fixtures(struct vhd *v, struct err *e)
{
	struct vhd_extent x[VHD_FIXTURES];
	unsigned n = vhd_fixtures(v, x);

	for (unsigned i = 0; i < n; i++) {
		if (x[i].at > limit(v) || x[i].len > limit(v) - x[i].at)
			return err_set(e, EINVAL,
			    "%s would lie at offset %llu, %llu bytes: the file ends at %llu", x[i].what,
			    (unsigned long long)x[i].at, (unsigned long long)x[i].len,
			    (unsigned long long)limit(v));
		for (unsigned j = 0; j < i; j++)
			if (overlap(x[i].at, x[i].len, x[j].at, x[j].len))
				return err_set(e, EINVAL, "%s at offset %llu and %s at offset %llu overlap",
				    x[i].what, (unsigned long long)x[i].at, x[j].what,
				    (unsigned long long)x[j].at);
		if (x[i].at + x[i].len > v->end)
			v->end = x[i].at + x[i].len;
	}
	return 0;
}

static int
check_block(struct vhd *v, uint32_t block, const struct vhd_extent *x, unsigned n, struct err *e)
{
	uint64_t at = (uint64_t)vhd_entry(v, block) * VHD_SECTOR, span = vhd_span(v);

	if (at + span > limit(v))
		return err_set(e, EINVAL,
		    "block %u would lie at offset %llu, %llu bytes: the file ends at %llu", block,
		    (unsigned long long)at, (unsigned long long)span, (unsigned long long)limit(v));
	for (unsigned i = 0; i < n; i++)
		if (overlap(at, span, x[i].at, x[i].len))
			return err_set(e, EINVAL, "block %u at offset %llu and %s at offset %llu overlap",
			    block, (unsigned long long)at, x[i].what, (unsigned long long)x[i].at);
	if (at + span > v->end)
		v->end = at + span;
	return 0;
}

static int
by_place(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

uint64_t *
vhd_sorted(const struct vhd *v)
{
	uint64_t *place = calloc((size_t)v->allocated + 1, sizeof(*place));
	bool ordered = true;
	uint32_t n = 0;

	if (!place)
		return NULL;
	for (uint32_t i = 0; i < v->header.entries; i++) {
		if (v->table[i] == VHD_ABSENT)
			continue;
		place[n] = (uint64_t)vhd_entry(v, i) << 32 | i;
		ordered = ordered && (n == 0 || place[n - 1] < place[n]);
		n++;
	}
	if (!ordered)
		qsort(place, n, sizeof(*place), by_place);
	return place;
}

static int
check_overlaps(const struct vhd *v, struct err *e)
{
	uint64_t span = vhd_span(v) / VHD_SECTOR, *place;
	int rc = 0;

	/* Also bounds what is allocated for sorting by what lies in the file. */
	if (v->allocated > v->file_size / vhd_span(v))
		return err_set(e, EINVAL, "%u blocks of %llu bytes in a file of %llu: some overlap",
		    v->allocated, (unsigned long long)vhd_span(v), (unsigned long long)v->file_size);
	place = vhd_sorted(v);
	if (!place)
		return err_set(e, ENOMEM, "no memory for the places of %u blocks", v->allocated);
	for (uint32_t i = 1; i < v->allocated && rc == 0; i++)
		if ((place[i] >> 32) - (place[i - 1] >> 32) < span)
			rc = err_set(e, EINVAL, "blocks %u and %u overlap: they lie at sectors %llu and %llu",
			    (uint32_t)place[i - 1], (uint32_t)place[i],
			    (unsigned long long)(place[i - 1] >> 32), (unsigned long long)(place[i] >> 32));
	free(place);
	return rc;
}

static int
check_blocks(struct vhd *v, struct err *e)
{
	struct vhd_extent x[VHD_FIXTURES];
	unsigned n = vhd_fixtures(v, x);

	for (uint32_t i = 0; i < v->header.entries; i++) {
		int rc = v->table[i] == VHD_ABSENT ? 0 : check_block(v, i, x, n, e);

		if (rc < 0)
			return rc;
	}
	return check_overlaps(v, e);
}

/* --- All of it -------------------------------------------------------------------------------------- */

static int
load_fixed(struct vhd *v, struct err *e)
{
	v->end = v->footer.size;
	if (v->footer.size > v->trailer)
		return err_set(e, EINVAL,
		    "the footer gives a size of %llu bytes, but lies at offset %llu itself",
		    (unsigned long long)v->footer.size, (unsigned long long)v->trailer);
	return 0;
}

static void
look_for_slack(struct vhd *v)
{
	uint32_t missing = v->blocks > v->allocated ? v->blocks - v->allocated : 0;

	/* Small blocks of a very large disk fit into the file only without gaps. */
	v->tight = v->end + (missing + 1) * round_up(vhd_span(v), VHD_PAGE) > VHD_FILE_MAX;
	if (v->faults & VHD_NO_TRAILER)
		v->trailer = vhd_place(v, v->end);
	else if (v->trailer - v->end > SLACK_MAX)
		v->faults |= VHD_SLACK;
}

static int
load(struct vhd *v, struct disk_file *f, bool loosely, struct err *e)
{
	int rc;

	*v = (struct vhd){ .file = f };
	/* Who may write builds on what is read now, and gives to others what it does not name: it has to be
	 * on the disk, not only in the memory of the host, whose last flush may have failed, or was never
	 * asked for by somebody who was killed. Else a power cut brings an older table back, and another
	 * block's bytes with it. */
	rc = f->read_only ? 0 : file_sync(f, e);
	if (rc == 0)
		rc = file_size(f, &v->file_size, e);
	if (rc == 0)
		rc = load_footers(v, e);
	if (rc < 0)
		return rc;
	if (v->footer.type == VHD_FIXED)
		return load_fixed(v, e);
	rc = load_header(v, e);
	if (rc == 0)
		rc = check_fixtures(v, e);
	if (rc == 0)
		rc = load_table(v, e);
	if (rc == 0 && !loosely)
		rc = check_blocks(v, e);
	if (rc == 0 && !loosely)
		look_for_slack(v);
	if (rc < 0)
		vhd_unload(v);
	return rc;
}

int
vhd_load(struct vhd *v, struct disk_file *f, struct err *e)
{
	return load(v, f, false, e);
}

int
vhd_load_loosely(struct vhd *v, struct disk_file *f, struct err *e)
{
	return load(v, f, true, e);
}

void
vhd_unload(struct vhd *v)
{
	free(v->table);
	v->table = NULL;
}

void
vhd_recount(struct vhd *v)
{
	struct vhd_extent x[VHD_FIXTURES];
	unsigned n = vhd_fixtures(v, x);

	v->end = v->allocated = 0;
	for (unsigned i = 0; i < n; i++)
		if (x[i].at + x[i].len > v->end)
			v->end = x[i].at + x[i].len;
	for (uint32_t i = 0; i < v->header.entries; i++) {
		uint64_t end = (uint64_t)vhd_entry(v, i) * VHD_SECTOR + vhd_span(v);

		if (v->table[i] == VHD_ABSENT)
			continue;
		v->allocated++;
		if (end > v->end)
			v->end = end;
	}
}

/* --- Changing it ------------------------------------------------------------------------------------ */

int
vhd_may_change(const struct vhd *v, struct err *e)
{
	if (v->footer.saved_state)
		return err_set(e, EROFS,
		    "the disk belongs to a machine's saved state, and must not be changed before that is "
		    "resumed or "
		    "given up");
	if (v->faults & VHD_OLD_TRAILER)
		return err_set(e, EROFS,
		    "the footer has 511 bytes, as before Virtual PC 2004: such a disk is only read; convert "
		    "it");
	return 0;
}

int
vhd_mend(struct vhd *v, struct err *e)
{
	int rc = 0;

	if (v->faults & VHD_LOST_TRAILER)
		rc = vhd_cut_fixed(v, e);
	if (v->faults & (VHD_NO_TRAILER | VHD_SLACK))
		rc = vhd_cut(v, e);
	if (rc == 0 && v->faults & (VHD_NO_COPY | VHD_COPY_DIFFERS)) {
		rc = file_put(v->file, v->footer.raw, VHD_FOOTER, 0, e);
		if (rc == 0)
			rc = file_sync(v->file, e);
	}
	if (rc == 0)
		v->faults = 0;
	return rc;
}

int
vhd_load_to_change(struct vhd *v, struct disk_file *f, struct err *e)
{
	int rc = vhd_load(v, f, e);

	if (rc < 0)
		return rc;
	rc = vhd_may_change(v, e);
	if (rc == 0)
		rc = vhd_mend(v, e);
	if (rc < 0)
		vhd_unload(v);
	return rc;
}

static int
put_durable(struct vhd *v, const void *buf, size_t len, uint64_t at, struct err *e)
{
	int rc = file_put(v->file, buf, len, at, e);

	return rc < 0 ? rc : file_sync(v->file, e);
}

int
vhd_extend(struct vhd *v, uint64_t at, struct err *e)
{
	int rc;

	if (at <= v->trailer)
		return 0;
	if (at + VHD_FOOTER > VHD_FILE_MAX)
		return err_set(e, EFBIG, "the file would have to be longer than a VHD can be");
	rc = put_durable(v, v->footer.raw, VHD_FOOTER, at, e);
	if (rc == 0) {
		v->trailer = at;
		v->file_size = at + VHD_FOOTER;
	}
	return rc;
}

int
vhd_cut(struct vhd *v, struct err *e)
{
	uint64_t at = vhd_place(v, v->end);
	int rc = file_sync(
	    v->file, e); /* that nothing is there any more is durable before it is overwritten */

	if (rc == 0)
		rc = put_durable(v, v->footer.raw, VHD_FOOTER, at, e);
	if (rc == 0)
		rc = file_truncate(v->file, at + VHD_FOOTER, e);
	if (rc == 0)
		rc = file_sync(v->file, e);
	if (rc == 0) {
		v->trailer = at;
		v->file_size = at + VHD_FOOTER;
	}
	return rc;
}

int
vhd_write_footers(struct vhd *v, struct err *e)
{
	int rc;

	vhd_footer_encode(&v->footer);
	rc = put_durable(v, v->footer.raw, VHD_FOOTER, v->trailer, e);
	if (rc == 0 && v->footer.type != VHD_FIXED)
		rc = put_durable(v, v->footer.raw, VHD_FOOTER, 0, e);
	return rc;
}

int
vhd_write_entry(struct vhd *v, uint32_t block, struct err *e)
{
	uint32_t first = block / VHD_ENTRIES_PER_SECTOR * VHD_ENTRIES_PER_SECTOR;

	return file_put(
	    v->file, v->table + first, VHD_SECTOR, v->header.table + (uint64_t)first * sizeof(uint32_t), e);
}
