/*
 * hypervisor/disk/vhd_blocks.c - whole blocks of a VHD that nobody uses: whether there is anything in them,
 * and how they move.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhd.h"

enum { CHUNK = 256 * 1024 };

static bool
all_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* --- Is there anything in it? ------------------------------------------------------------------------ */

static bool
any_bit(const uint8_t *map, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++)
		if (map[i / 8] & 0x80 >> i % 8)
			return true;
	return false;
}

/* Of a dynamic disk's block: sectors that are not here read zero, whatever lies in their place. */
static int
data_is_blank(
    const struct vhd *v, uint64_t at, const uint8_t *map, uint32_t from, uint8_t *buf, struct err *e)
{
	uint64_t hole;

	for (uint64_t off = (uint64_t)from * VHD_SECTOR; off < v->header.block_size; off += hole) {
		uint64_t left = v->header.block_size - off;
		size_t n = left < CHUNK ? (size_t)left : CHUNK;
		int rc;

		if (file_is_hole(v->file, at + off, left, &hole) && hole % VHD_SECTOR == 0)
			continue;
		hole = n;
		rc = file_get(v->file, buf, n, at + off, e);
		if (rc < 0)
			return rc;
		for (size_t i = 0; i < n; i += VHD_SECTOR) {
			uint32_t sector = (uint32_t)((off + i) / VHD_SECTOR);

			if (any_bit(map, sector, sector + 1) && !all_zero(buf + i, VHD_SECTOR))
				return 0;
		}
	}
	return 1;
}

int
vhd_is_blank(const struct vhd *v, uint32_t block, uint32_t from, struct err *e)
{
	uint64_t at = (uint64_t)vhd_entry(v, block) * VHD_SECTOR;
	uint8_t *map = malloc((size_t)v->bitmap + CHUNK);
	int rc;

	if (!map)
		return err_set(e, ENOMEM, "no memory to look at a block");
	rc = file_get(v->file, map, v->bitmap, at, e);
	if (rc == 0) {
		rc = !any_bit(map, from, v->header.block_size / VHD_SECTOR);
		/* A child's zeros hide what its parent has. */
		if (rc == 0 && v->footer.type == VHD_DYNAMIC)
			rc = data_is_blank(v, at + v->bitmap, map, from, map + v->bitmap, e);
	}
	free(map);
	return rc;
}

/* --- Moving ------------------------------------------------------------------------------------------ */

/* Zeros become a hole, so that the copy takes no more space than what it was made of. */
static int
copy_chunk(struct vhd *v, uint64_t from, uint64_t to, uint8_t *buf, size_t n, struct err *e)
{
	int rc = file_get(v->file, buf, n, from, e);

	if (rc < 0)
		return rc;
	return all_zero(buf, n) ? file_clear(v->file, to, n, true, e) : file_put(v->file, buf, n, to, e);
}

int
vhd_copy_block(struct vhd *v, uint32_t block, uint64_t to, struct err *e)
{
	uint64_t from = (uint64_t)vhd_entry(v, block) * VHD_SECTOR, span = vhd_span(v);
	uint8_t *buf = malloc(CHUNK);
	int rc = 0;

	if (!buf)
		return err_set(e, ENOMEM, "no memory to move a block");
	/* The bitmap by itself, so that what follows it is aligned as the data is. */
	rc = copy_chunk(v, from, to, buf, v->bitmap < CHUNK ? v->bitmap : CHUNK, e);
	for (uint64_t off = v->bitmap; off < span && rc == 0; off += CHUNK)
		rc = copy_chunk(
		    v, from + off, to + off, buf, span - off < CHUNK ? (size_t)(span - off) : CHUNK, e);
	free(buf);
	return rc;
}

int
vhd_move_block(struct vhd *v, uint32_t block, uint64_t to, struct err *e)
{
	int rc = vhd_copy_block(v, block, to, e);

	if (rc == 0)
		rc = file_sync(v->file, e);
	if (rc < 0)
		return rc;
	vhd_set_entry(v, block, (uint32_t)(to / VHD_SECTOR));
	rc = vhd_write_entry(v, block, e);
	return rc < 0 ? rc : file_sync(v->file, e);
}
