/*
 * hypervisor/disk/vhdx_create.c - new images. Everything is written and safe before the file's first bytes
 * make it a VHDX: whatever is cut short has no identifier.
 *
 *   0      identifier, headers, region tables
 *   1 MiB  log, 1 MiB
 *   2 MiB  metadata, 1 MiB
 *   3 MiB  block table, as much as the size needs
 *   then   the blocks of a fixed image
 *
 * Headers, log, metadata and tables up to 16 MiB get real space, so that later commits do not meet a full
 * host.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhdx.h"

enum {
	LOG_AT = 1 << 20,
	METADATA_AT = 2 << 20,
	BAT_AT = 3 << 20,
	REGION = 1 << 20,
	REAL_TABLE = 16 << 20,
	DEFAULT_BLOCK = 32 << 20, /* as Windows does */
	DEFAULT_CHILD_BLOCK = 2 << 20,
	PIECE = 1 << 20,
	SPACE_STEP = 1 << 30,
};

struct maker {
	struct disk_file *file;
	const struct disk_create *how;
	const struct disk_progress *progress;
	struct err *err;
	uint64_t size;
	uint32_t block_size, logical, physical;
	uint8_t page83[GUID_BYTES]; /* the file's order */
	uint64_t entries, blocks;
	uint32_t ratio;
	uint64_t bat_length, data_at, end;
	uint8_t *piece; /* PIECE bytes */
};

/* --- What is asked for --- */

static int
check_sizes(const struct maker *m)
{
	if (m->block_size < VHDX_BLOCK_MIN || m->block_size > VHDX_BLOCK_MAX ||
	    m->block_size & (m->block_size - 1))
		return err_set(m->err, EINVAL,
		    "a VHDX's blocks have 1 to 256 MiB, a power of two, not %u bytes", m->block_size);
	if ((m->logical != 512 && m->logical != 4096) || (m->physical != 512 && m->physical != 4096))
		return err_set(m->err, EINVAL,
		    "a VHDX's sectors have 512 or 4096 bytes, not %u (logical) and %u (physical)", m->logical,
		    m->physical);
	if (!m->size || m->size % m->logical || m->size > VHDX_SIZE_MAX)
		return err_set(m->err, EINVAL,
		    "a VHDX has whole sectors of %u bytes, up to 64 TiB, not %llu bytes", m->logical,
		    (unsigned long long)m->size);
	return 0;
}

static int
check_parent(const struct maker *m)
{
	const struct disk_create *how = m->how;

	if (how->type != DISK_DIFFERENCING)
		return how->parent ? err_set(m->err, EINVAL, "only a differencing image has a parent") : 0;
	if (!how->parent || (!how->parent_relative && !how->parent_absolute))
		return err_set(m->err, EINVAL, "a differencing image needs its parent and a path to it");
	if (how->parent->format != DISK_VHDX)
		return err_set(m->err, EINVAL, "the parent of a VHDX must be a VHDX");
	if (how->parent->logical != m->logical)
		return err_set(m->err, EINVAL,
		    "the parent's sectors have %u bytes: the child's cannot have %u", how->parent->logical,
		    m->logical);
	return 0;
}

static int
plan(struct maker *m)
{
	const struct disk_create *how = m->how;
	bool child = how->type == DISK_DIFFERENCING;
	int rc;

	m->size = how->size ? how->size : how->parent ? how->parent->size : 0;
	m->block_size = how->block_size ? how->block_size : child ? DEFAULT_CHILD_BLOCK : DEFAULT_BLOCK;
	m->logical = how->logical ? how->logical : how->parent ? how->parent->logical : 512;
	m->physical = how->physical ? how->physical : how->parent ? how->parent->physical : 4096;
	rc = check_sizes(m);
	if (rc == 0)
		rc = check_parent(m);
	if (rc < 0)
		return rc;
	if (how->id)
		vhdx_guid(m->page83, how->id);
	else if (child)
		vhdx_guid(m->page83, how->parent->id);
	else
		rc = vhdx_random(m->page83, GUID_BYTES, m->err);
	m->ratio = (uint32_t)((uint64_t)VHDX_BITS * m->logical / m->block_size);
	m->blocks = (m->size + m->block_size - 1) / m->block_size;
	m->entries = vhdx_entries_needed(m->size, m->block_size, m->logical, child);
	m->bat_length = round_up(m->entries * 8, VHDX_MIB);
	m->data_at = BAT_AT + m->bat_length;
	m->end = m->data_at + (how->type == DISK_FIXED ? m->blocks * m->block_size : 0);
	return rc;
}

/* --- Space --- */

static int
put_zeros(struct disk_file *f, uint64_t off, uint64_t len, struct err *e)
{
	static const uint8_t zeros[64 << 10];
	int rc = 0;

	for (uint64_t at = 0; rc == 0 && at < len; at += sizeof(zeros))
		rc = file_put(f, zeros, len - at < sizeof(zeros) ? len - at : sizeof(zeros), off + at, e);
	return rc;
}

int
vhdx_real_space(struct disk_file *f, uint64_t off, uint64_t len, const struct disk_progress *p, struct err *e)
{
	for (uint64_t at = 0; at < len;) {
		uint64_t n = len - at < SPACE_STEP ? len - at : SPACE_STEP;
		int rc = f->ops->allocate(f, 0, off + at, n);

		if (rc == -EINTR)
			continue;
		if (rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -EINVAL || rc == -ENODEV)
			rc = put_zeros(f, off + at, n, e);
		else if (rc < 0)
			return err_set(e, -rc, "no space for %llu bytes at offset %llu: %s",
			    (unsigned long long)n, (unsigned long long)(off + at), strerror(-rc));
		if (rc < 0)
			return rc;
		at += n;
		if (vhdx_cancelled(p, "space", at, len))
			return err_set(e, ECANCELED, "stopped");
	}
	return 0;
}

static int
make_space(const struct maker *m)
{
	uint64_t tables = m->bat_length < REAL_TABLE ? m->bat_length : REAL_TABLE;
	int rc = file_truncate(m->file, m->end, m->err);

	if (rc == 0)
		rc = vhdx_real_space(m->file, 0, BAT_AT + tables, NULL, m->err);
	if (rc == 0 && m->how->type == DISK_FIXED && !m->how->sparse_fixed)
		rc = vhdx_real_space(m->file, m->data_at, m->end - m->data_at, m->progress, m->err);
	return rc;
}

/* --- Tables --- */

/* A fixed image's blocks follow each other. */
static int
write_table(const struct maker *m)
{
	enum { ENTRIES = PIECE / 8 };
	uint64_t *e = (uint64_t *)(void *)m->piece, block = 0;
	int rc = 0;

	for (uint64_t first = 0; rc == 0 && m->how->type == DISK_FIXED && first < m->entries;
	     first += ENTRIES) {
		memset(e, 0, PIECE);
		for (uint64_t i = 0; i < ENTRIES && first + i < m->entries; i++)
			if ((first + i) % (m->ratio + 1) != m->ratio)
				e[i] = (m->data_at + block++ * m->block_size) | BLOCK_FULL;
		rc = file_put(m->file, e, PIECE, BAT_AT + first * 8, m->err);
		if (rc == 0 && vhdx_cancelled(m->progress, "table", first, m->entries))
			rc = err_set(m->err, ECANCELED, "stopped");
	}
	return rc;
}

static void
add_item(uint8_t *region, unsigned n, enum vhdx_item_id id, uint32_t flags, uint32_t *at, const void *p,
    uint32_t len)
{
	struct vhdx_item item = { .offset = *at, .length = len, .flags = flags };
	struct vhdx_meta_head head = { .signature = "metadat", .count = (uint16_t)(n + 1) };

	memcpy(item.id, vhdx_item_guid[id], GUID_BYTES);
	head.signature[7] = 'a';
	memcpy(region, &head, sizeof(head));
	memcpy(region + sizeof(head) + n * sizeof(item), &item, sizeof(item));
	memcpy(region + *at, p, len);
	*at += (uint32_t)round_up(len, 8);
}

static uint8_t *
make_locator(const struct maker *m, uint32_t *length)
{
	char relative[DISK_PATH_MAX], absolute[DISK_PATH_MAX], linkage[GUID_TEXT + 3];
	struct vhdx_setting set[] = { { "parent_linkage", linkage }, { "relative_path", NULL },
		{ "absolute_win32_path", NULL } };
	int rc = 0;

	vhdx_linkage(linkage, m->how->parent->data_id);
	if (m->how->parent_relative) {
		rc = vhdx_windows_path(relative, sizeof(relative), m->how->parent_relative, true, m->err);
		set[1].value = relative;
	}
	if (rc == 0 && m->how->parent_absolute) {
		rc = vhdx_windows_path(absolute, sizeof(absolute), m->how->parent_absolute, false, m->err);
		set[2].value = absolute;
	}
	return rc < 0 ? NULL : vhdx_locator_make(NULL, 0, set, 3, length, m->err);
}

static int
write_metadata(const struct maker *m)
{
	bool child = m->how->type == DISK_DIFFERENCING;
	uint32_t parameters[2] = { m->block_size, m->how->type == DISK_FIXED ? 1 : child ? 2 : 0 };
	uint32_t at = VHDX_TABLE, length = 0;
	uint8_t *locator = child ? make_locator(m, &length) : NULL;

	if (child && !locator)
		return -EINVAL;
	memset(m->piece, 0, REGION);
	add_item(m->piece, 0, ITEM_PARAMETERS, ITEM_REQUIRED, &at, parameters, sizeof(parameters));
	add_item(m->piece, 1, ITEM_SIZE, ITEM_DISK | ITEM_REQUIRED, &at, &m->size, sizeof(m->size));
	add_item(m->piece, 2, ITEM_PAGE83, ITEM_DISK | ITEM_REQUIRED, &at, m->page83, GUID_BYTES);
	add_item(m->piece, 3, ITEM_LOGICAL, ITEM_DISK | ITEM_REQUIRED, &at, &m->logical, sizeof(m->logical));
	add_item(
	    m->piece, 4, ITEM_PHYSICAL, ITEM_DISK | ITEM_REQUIRED, &at, &m->physical, sizeof(m->physical));
	if (locator)
		add_item(m->piece, 5, ITEM_LOCATOR, ITEM_REQUIRED, &at, locator, length);
	free(locator);
	return file_put(m->file, m->piece, REGION, METADATA_AT, m->err);
}

/* --- The first MiB --- */

static int
write_regions(const struct maker *m)
{
	struct vhdx_region_head head = { .signature = "regi", .count = 2 };
	struct vhdx_region r[2] = { { .offset = BAT_AT, .length = (uint32_t)m->bat_length, .flags = 1 },
		{ .offset = METADATA_AT, .length = REGION, .flags = 1 } };
	int rc;

	memcpy(r[0].id, vhdx_bat_id, GUID_BYTES);
	memcpy(r[1].id, vhdx_metadata_id, GUID_BYTES);
	memset(m->piece, 0, VHDX_COPY);
	memcpy(m->piece, &head, sizeof(head));
	memcpy(m->piece + sizeof(head), r, sizeof(r));
	vhdx_seal_regions(m->piece);
	rc = file_put(m->file, m->piece, VHDX_COPY, VHDX_REGION_AT, m->err);
	return rc < 0 ? rc : file_put(m->file, m->piece, VHDX_COPY, VHDX_REGION_AT + VHDX_COPY, m->err);
}

static int
write_headers(const struct maker *m)
{
	struct vhdx_header h = {
		.signature = "head", .version = 1, .log_length = REGION, .log_offset = LOG_AT
	};
	int rc = vhdx_random(h.file_write, GUID_BYTES, m->err);

	if (rc == 0)
		rc = vhdx_random(h.data_write, GUID_BYTES, m->err);
	for (unsigned i = 0; rc == 0 && i < 2; i++) {
		h.sequence = i + 1;
		h.crc = vhdx_crc(&h, sizeof(h), offsetof(struct vhdx_header, crc));
		rc = file_put(m->file, &h, sizeof(h), VHDX_HEADER_AT + i * VHDX_COPY, m->err);
	}
	return rc;
}

static int
write_identifier(const struct maker *m)
{
	static const char creator[] = "Freehold";

	memset(m->piece, 0, VHDX_COPY);
	memcpy(m->piece, "vhdxfile", 8);
	for (unsigned i = 0; creator[i]; i++)
		m->piece[8 + 2 * i] = (uint8_t)creator[i];
	return file_put(m->file, m->piece, VHDX_COPY, 0, m->err);
}

static int
make(const struct maker *m)
{
	int rc = make_space(m);

	if (rc == 0)
		rc = write_table(m);
	if (rc == 0)
		rc = write_metadata(m);
	if (rc == 0)
		rc = write_regions(m);
	if (rc == 0)
		rc = write_headers(m);
	if (rc == 0)
		rc = file_sync(m->file, m->err);
	if (rc == 0)
		rc = write_identifier(m);
	return rc == 0 ? file_sync(m->file, m->err) : rc;
}

int
vhdx_create(struct disk_file *f, const struct disk_create *how, const struct disk_progress *p, struct err *e)
{
	struct maker m = { .file = f, .how = how, .progress = p, .err = e };
	int rc = plan(&m);

	if (rc < 0)
		return rc;
	m.piece = malloc(PIECE);
	if (!m.piece)
		return err_set(e, ENOMEM, "VHDX: out of memory");
	rc = make(&m);
	free(m.piece);
	return rc;
}
