/*
 * hypervisor/disk/vhd_create.c - new VHDs. What makes a file one, its footer, is written when all the rest is
 * on stable storage.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhd.h"

enum {
	STRING = VHD_STRINGS / 2, /* room for a path: all that DISK_PATH_MAX allows */
	STEP = 1 << 30,           /* bytes of a fixed image taken between two looks at progress */
	TABLE_STEP = 65536,
};

/* --- The parent's paths ------------------------------------------------------------------------------ */

static int
put_path(
    struct vhd_locator *l, const char *code, const char *path, uint64_t at, uint8_t *string, struct err *e)
{
	int len = vhd_to_utf16(path, false, string, STRING);

	if (len == -EILSEQ)
		return err_set(e, EINVAL, "the parent's path is not UTF-8");
	if (len < 0)
		return err_set(e, ENAMETOOLONG, "the parent's path has more than %d characters", STRING / 2);
	/* The specification counts the space in sectors; Windows, and all who read it, in bytes. */
	*l = (struct vhd_locator){ .space = STRING, .len = (uint32_t)len, .at = at };
	memcpy(l->code, code, sizeof(l->code));
	return 0;
}

/* Windows keeps ".\name" for a parent beside its child. */
static int
put_relative(struct vhd_locator *l, const char *path, uint64_t at, uint8_t *string, struct err *e)
{
	char dotted[DISK_PATH_MAX + 2];
	size_t len = strlen(path);

	if (path[0] == '.' || path[0] == '/' || path[0] == '\\')
		return put_path(l, "W2ru", path, at, string, e);
	if (len >= DISK_PATH_MAX)
		return err_set(
		    e, ENAMETOOLONG, "the parent's path has more than %d bytes", DISK_PATH_MAX - 1);
	snprintf(dotted, sizeof(dotted), ".\\%s", path);
	return put_path(l, "W2ru", dotted, at, string, e);
}

static const char *
base_name(const char *path)
{
	const char *base = path;

	for (; *path; path++)
		if (*path == '/' || *path == '\\')
			base = path + 1;
	return base;
}

int
vhd_locate(struct vhd_header *h, const struct disk_info *parent, const char *relative, const char *absolute,
    uint64_t at, uint8_t strings[VHD_STRINGS], struct err *e)
{
	unsigned n = 0;
	int rc = 0;

	if (parent && parent->format != DISK_VHD)
		return err_set(e, EINVAL, "a VHD's parent is a VHD, too");
	if (parent)
		memcpy(h->parent_id, parent->data_id, GUID_BYTES);
	if (!relative && !absolute)
		return 0;
	memset(strings, 0, VHD_STRINGS);
	memset(h->locator, 0, sizeof(h->locator));
	memset(h->parent_name, 0, VHD_NAME);
	if (relative) {
		rc = put_relative(&h->locator[n], relative, at, strings, e);
		n++;
	}
	if (absolute && rc == 0)
		rc = put_path(&h->locator[n], "W2ku", absolute, at + n * STRING, strings + n * STRING, e);
	if (rc < 0)
		return rc;
	rc = vhd_to_utf16(base_name(absolute ? absolute : relative), true, h->parent_name, VHD_NAME - 2);
	if (rc == -ENAMETOOLONG)
		memset(h->parent_name, 0, VHD_NAME); /* nobody needs it who has a path */
	return 0;
}

/* --- Fixed ------------------------------------------------------------------------------------------- */

/* A file system that cannot take space leaves that to the first writes. */
static int
take_space(struct disk_file *f, uint64_t size, const struct disk_progress *p, struct err *e)
{
	for (uint64_t at = 0; at < size; at += STEP) {
		uint64_t n = size - at < STEP ? size - at : STEP;
		int rc;

		if (p && p->step(p->ctx, "taking space", at, size))
			return err_set(e, ECANCELED, "cancelled");
		do
			rc = f->ops->allocate(f, 0, at, n);
		while (rc == -EINTR);
		if (rc == -EOPNOTSUPP || rc == -ENOSYS)
			return 0;
		if (rc < 0)
			return err_set(e, -rc, "there is no space for %llu bytes: %s",
			    (unsigned long long)size, strerror(-rc));
	}
	return 0;
}

static int
create_fixed(struct disk_file *f, const struct disk_create *how, const struct disk_progress *p, struct err *e)
{
	struct vhd v = { .file = f, .trailer = how->size };
	int rc = vhd_footer_init(&v.footer, VHD_FIXED, how->size, how->id, e);

	if (rc == 0 && !how->sparse_fixed)
		rc = take_space(f, how->size, p, e);
	if (rc == 0)
		rc = file_truncate(f, how->size, e);
	if (rc == 0)
		rc = file_sync(f, e);
	return rc < 0 ? rc : vhd_write_footers(&v, e);
}

/* --- Dynamic and differencing ------------------------------------------------------------------------ */

static int
put_empty_table(struct vhd *v, struct err *e)
{
	uint64_t left = vhd_table_bytes(v->header.entries), at = v->header.table;
	uint8_t *absent = malloc(TABLE_STEP);
	int rc = 0;

	if (!absent)
		return err_set(e, ENOMEM, "no memory to write the block table");
	memset(absent, 0xff, TABLE_STEP);
	while (left && rc == 0) {
		size_t n = left < TABLE_STEP ? (size_t)left : TABLE_STEP;

		rc = file_put(v->file, absent, n, at, e);
		at += n;
		left -= n;
	}
	free(absent);
	return rc;
}

/* The table comes behind the header and, in a child, the room for its parent's paths. */
static int
lay_out(
    struct vhd *v, const struct disk_create *how, uint64_t size, uint8_t strings[VHD_STRINGS], struct err *e)
{
	uint32_t block = how->block_size ? how->block_size : VHD_BLOCK_DEFAULT;
	uint64_t table = VHD_FOOTER + VHD_HEADER, blocks;

	if (block < VHD_BLOCK_MIN || block > VHD_BLOCK_MAX || (block & (block - 1)))
		return err_set(e, EINVAL,
		    "a VHD's blocks have a power of two of bytes, from %d to %d, not %u", VHD_BLOCK_MIN,
		    VHD_BLOCK_MAX, block);
	blocks = (size + block - 1) / block;
	if (blocks > VHD_ENTRIES_MAX)
		return err_set(e, EINVAL,
		    "%llu bytes are %llu blocks of %u bytes: a VHD has %d at most; take larger ones",
		    (unsigned long long)size, (unsigned long long)blocks, block, VHD_ENTRIES_MAX);
	if (how->type == DISK_DIFFERENCING)
		table += VHD_STRINGS;
	vhd_header_init(&v->header, table, (uint32_t)blocks, block);
	v->blocks = (uint32_t)blocks;
	v->bitmap = vhd_bitmap_bytes(block);
	v->end = table + vhd_table_bytes(v->header.entries);
	if (how->type != DISK_DIFFERENCING)
		return 0;
	return vhd_locate(&v->header, how->parent, how->parent_relative, how->parent_absolute,
	    VHD_FOOTER + VHD_HEADER, strings, e);
}

static int
put_all(struct vhd *v, const uint8_t strings[VHD_STRINGS], struct err *e)
{
	bool child = v->footer.type == VHD_DIFFERENCING;
	int rc = put_empty_table(v, e);

	vhd_header_encode(&v->header);
	if (rc == 0)
		rc = file_put(v->file, v->header.raw, VHD_HEADER, VHD_FOOTER, e);
	if (rc == 0 && child)
		rc = file_put(v->file, strings, VHD_STRINGS, VHD_FOOTER + VHD_HEADER, e);
	if (rc == 0)
		rc = file_sync(v->file, e);
	v->trailer = vhd_place(v, v->end);
	return rc < 0 ? rc : vhd_write_footers(v, e);
}

static int
create_blocks(struct disk_file *f, const struct disk_create *how, uint64_t size, struct err *e)
{
	enum vhd_type type = how->type == DISK_DYNAMIC ? VHD_DYNAMIC : VHD_DIFFERENCING;
	uint8_t *strings = malloc(VHD_STRINGS);
	struct vhd v = { .file = f };
	int rc;

	if (!strings)
		return err_set(e, ENOMEM, "no memory for a parent's paths");
	rc = vhd_footer_init(&v.footer, type, size, how->id, e);
	if (rc == 0)
		rc = lay_out(&v, how, size, strings, e);
	if (rc == 0)
		rc = put_all(&v, strings, e);
	free(strings);
	return rc;
}

/* --- Any --------------------------------------------------------------------------------------------- */

static int
check_request(const struct disk_create *how, uint64_t size, struct err *e)
{
	if (size == 0 || size % VHD_SECTOR || size > VHD_SIZE_MAX)
		return err_set(e, EINVAL,
		    "a VHD has a multiple of 512 bytes, up to %llu (2040 GiB), not %llu",
		    (unsigned long long)VHD_SIZE_MAX, (unsigned long long)size);
	if (how->logical && how->logical != VHD_SECTOR)
		return err_set(e, EINVAL, "a VHD's sectors have %d bytes, not %u; a VHDX can have others",
		    VHD_SECTOR, how->logical);
	if (how->type != DISK_DIFFERENCING)
		return 0;
	if (!how->parent || (!how->parent_relative && !how->parent_absolute))
		return err_set(e, EINVAL, "a differencing disk needs a parent, and a path to it");
	return 0;
}

int
vhd_create(struct disk_file *f, const struct disk_create *how, const struct disk_progress *p, struct err *e)
{
	uint64_t size = how->size;
	int rc;

	if (size == 0 && how->type == DISK_DIFFERENCING && how->parent)
		size = how->parent->size;
	rc = check_request(how, size, e);
	if (rc < 0)
		return rc;
	return how->type == DISK_FIXED ? create_fixed(f, how, p, e) : create_blocks(f, how, size, e);
}
