/*
 * hypervisor/disk/vhd_lost.c - a fixed VHD without a footer at its end: one that was growing when the power
 * failed. The file is longer then, what was to become the new footer is zeros, and the old footer is where it
 * was: the last in the file that is not zero.
 *
 * A guest can write what looks like a footer into its disk, but not behind it: the real one is found first,
 * and an undamaged file is not searched. The search has a bound: holes are halved, zeros are read up to a
 * limit.
 */
#include <errno.h>
#include <string.h>

#include "hypervisor/disk/vhd.h"

enum { CHUNK = 16384, LOOK = 16 << 20 }; /* bytes, in one read; in all */

static bool
is_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

static bool
all_hole(const struct vhd *v, uint64_t from, uint64_t end)
{
	uint64_t alike;

	return file_is_hole(v->file, from, end - from, &alike) && alike == end - from;
}

/* Where the hole that ends at `end` begins, in whole sectors; `end`, if there is none. */
static uint64_t
end_of_data(const struct vhd *v, uint64_t end)
{
	uint64_t low = 0, high = end / VHD_SECTOR; /* from high on all is hole */

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (all_hole(v, middle * VHD_SECTOR, end))
			high = middle;
		else
			low = middle + 1;
	}
	return low * VHD_SECTOR;
}

/* The last sector in the file that is not zero. False: it would have to be looked for too long. */
static bool
last_sector(const struct vhd *v, uint8_t raw[VHD_SECTOR], uint64_t *at)
{
	uint64_t end = end_of_data(v, v->file_size), left = LOOK;
	uint8_t buf[CHUNK];

	while (end > 0 && left > 0) {
		size_t n = end < CHUNK ? (size_t)end : CHUNK;

		if (file_get(v->file, buf, n, end - n, NULL) < 0)
			return false;
		for (size_t i = n; i > 0; i -= VHD_SECTOR) {
			const uint8_t *sector = buf + i - VHD_SECTOR;

			if (is_zero(sector, VHD_SECTOR))
				continue;
			memcpy(raw, sector, VHD_SECTOR);
			*at = end - n + i - VHD_SECTOR;
			return true;
		}
		/* Zeros that take space may lie far behind: the new footer's, say. */
		end = end_of_data(v, end - n);
		left -= CHUNK;
	}
	return false;
}

/* What has tables, and has lost both footers, is none. */
static bool
has_tables(const struct vhd *v)
{
	uint8_t raw[2 * VHD_SECTOR];

	return file_get(v->file, raw, sizeof(raw), 0, NULL) < 0 || vhd_is_footer(raw) ||
	       vhd_is_header(raw + VHD_SECTOR);
}

bool
vhd_find_lost(struct vhd *v)
{
	uint8_t raw[VHD_SECTOR];
	struct vhd_footer f;
	uint64_t at;

	if (v->file_size % VHD_SECTOR || v->file_size < 3 * VHD_SECTOR || has_tables(v))
		return false;
	if (file_get(v->file, raw, sizeof(raw), v->file_size - sizeof(raw), NULL) < 0 ||
	    !is_zero(raw, sizeof(raw)))
		return false;
	if (!last_sector(v, raw, &at) || vhd_footer_decode(&f, raw, at, NULL) < 0 || f.type != VHD_FIXED ||
	    f.size != at)
		return false;
	v->footer = f;
	v->trailer = at;
	v->faults = VHD_LOST_TRAILER;
	return true;
}

int
vhd_cut_fixed(struct vhd *v, struct err *e)
{
	int rc = file_truncate(v->file, v->trailer + VHD_FOOTER, e);

	if (rc == 0)
		rc = file_sync(v->file, e);
	if (rc == 0)
		v->file_size = v->trailer + VHD_FOOTER;
	return rc;
}
