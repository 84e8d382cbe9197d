/*
 * hypervisor/disk/vhdx_change.c - small changes of an image as a whole: its identity, its links. Each is one
 * commit through the log, or one pair of headers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhdx.h"

const struct disk_format disk_vhdx_format = {
	.name = "VHDX",
	.open = vhdx_open,
	.info = vhdx_info,
	.create = vhdx_create,
	.check = vhdx_check,
	.resize = vhdx_resize,
	.compact = vhdx_compact,
	.relink = vhdx_relink,
	.set = vhdx_set,
	.set_parent_id2 = vhdx_set_parent_id2,
	.set_data_id = vhdx_set_data_id,
};

static int
commit_all(struct vhdx *v)
{
	int rc = vhdx_commit(v);

	return rc == 0 ? vhdx_end(v) : rc;
}

/* --- What guests see of the disk itself --- */

static int
set(struct vhdx *v, const uint8_t *id, uint32_t physical)
{
	uint8_t turned[GUID_BYTES];
	int rc;

	if (physical && physical != 512 && physical != 4096)
		return err_set(v->err, EINVAL, "physical sectors have 512 or 4096 bytes, not %u", physical);
	rc = vhdx_begin(v, true);
	if (rc == 0 && id) {
		vhdx_guid(turned, id);
		rc = vhdx_change_bytes(v, vhdx_item_at(v, ITEM_PAGE83), turned, GUID_BYTES);
	}
	if (rc == 0 && physical)
		rc = vhdx_change_bytes(v, vhdx_item_at(v, ITEM_PHYSICAL), &physical, sizeof(physical));
	return rc == 0 ? commit_all(v) : rc;
}

int
vhdx_set(struct disk_file *f, const uint8_t *id, uint32_t physical, struct err *e)
{
	struct vhdx v;
	int rc = vhdx_take(&v, f, e);

	if (rc == 0)
		rc = set(&v, id, physical);
	return vhdx_give_back(&v, rc);
}

/* --- The parent locator --- */

/* Are bytes [off, off+len) of the metadata region nobody's but the old locator's? */
static bool
room_at(const struct vhdx *v, unsigned items, uint32_t off, uint32_t len)
{
	for (unsigned i = 0; i < items; i++) {
		struct vhdx_item item;

		memcpy(&item, v->items + sizeof(struct vhdx_meta_head) + i * sizeof(item), sizeof(item));
		if (item.length && off < item.offset + item.length && item.offset < off + len)
			return false;
	}
	return off + len <= v->metadata.length;
}

/* A place for a locator: what it replaces stays whole until the commit. 0: there is none. */
static uint32_t
find_place(const struct vhdx *v, uint32_t len)
{
	struct vhdx_meta_head head;

	memcpy(&head, v->items, sizeof(head));
	for (uint32_t off = VHDX_TABLE; off < v->metadata.length; off += VHDX_PAGE)
		if (room_at(v, head.count, off, len))
			return off;
	return 0;
}

static int
put_locator(struct vhdx *v, const uint8_t *locator, uint32_t len)
{
	unsigned index = (unsigned)v->item[ITEM_LOCATOR];
	uint32_t at = sizeof(struct vhdx_meta_head) + index * (uint32_t)sizeof(struct vhdx_item);
	struct vhdx_item item;
	uint32_t off;
	int rc;

	memcpy(&item, v->items + at, sizeof(item));
	off = len <= item.length ? item.offset : find_place(v, len);
	if (!off)
		return err_set(
		    v->err, ENOSPC, "the metadata region has no room for a parent locator of %u bytes", len);
	item.offset = off;
	item.length = len;
	rc = vhdx_begin(v, false);
	if (rc == 0)
		rc = vhdx_change_bytes(v, v->metadata.offset + off, locator, len);
	if (rc == 0)
		rc = vhdx_change_bytes(v, v->metadata.offset + at, &item, sizeof(item));
	return rc == 0 ? commit_all(v) : rc;
}

static int
change_locator(struct vhdx *v, const struct vhdx_setting *settings, unsigned n)
{
	uint32_t len = 0;
	uint8_t *locator;
	int rc;

	if (!v->child)
		return err_set(v->err, EINVAL, "the image has no parent");
	locator = vhdx_locator_make(v->locator, v->locator_length, settings, n, &len, v->err);
	if (!locator)
		return -EINVAL;
	rc = put_locator(v, locator, len);
	free(locator);
	return rc;
}

/* What is put into the locator; paths that no longer lead there go with the old one. */
static int
relink(struct vhdx *v, const struct disk_info *parent, const char *relative, const char *absolute)
{
	char rel[DISK_PATH_MAX], abs[DISK_PATH_MAX], linkage[GUID_TEXT + 3];
	struct vhdx_setting settings[5];
	unsigned n = 0;
	int rc = 0;

	if (parent) {
		if (parent->format != DISK_VHDX || parent->logical != v->logical)
			return err_set(v->err, EINVAL,
			    "the parent of this VHDX must be a VHDX with sectors of %u bytes", v->logical);
		vhdx_linkage(linkage, parent->data_id);
		settings[n++] = (struct vhdx_setting){ "parent_linkage", linkage };
		settings[n++] = (struct vhdx_setting){ "parent_linkage2", NULL };
	}
	if (relative) {
		rc = vhdx_windows_path(rel, sizeof(rel), relative, true, v->err);
		settings[n++] = (struct vhdx_setting){ "relative_path", rel };
	}
	if (rc == 0 && absolute) {
		rc = vhdx_windows_path(abs, sizeof(abs), absolute, false, v->err);
		settings[n++] = (struct vhdx_setting){ "absolute_win32_path", abs };
	}
	if (relative || absolute)
		settings[n++] = (struct vhdx_setting){ "volume_path", NULL };
	return rc < 0 || !n ? rc : change_locator(v, settings, n);
}

int
vhdx_relink(struct disk_file *f, const struct disk_info *parent, const char *relative, const char *absolute,
    struct err *e)
{
	struct vhdx v;
	int rc = vhdx_take(&v, f, e);

	if (rc == 0)
		rc = relink(&v, parent, relative, absolute);
	return vhdx_give_back(&v, rc);
}

/* --- For a merge --- */

int
vhdx_set_parent_id2(struct disk_file *child, const uint8_t *next, struct err *e)
{
	char linkage[GUID_TEXT + 3];
	struct vhdx_setting setting = { "parent_linkage2", linkage };
	struct vhdx v;
	int rc = vhdx_take(&v, child, e);

	vhdx_linkage(linkage, next);
	if (rc == 0)
		rc = change_locator(&v, &setting, 1);
	return vhdx_give_back(&v, rc);
}

int
vhdx_set_data_id(struct disk_file *parent, const uint8_t *next, struct err *e)
{
	struct vhdx v;
	int rc = vhdx_take(&v, parent, e);

	if (rc == 0) {
		vhdx_guid(v.w.data_write, next);
		v.w.data = true;
		rc = vhdx_update_headers(&v, NULL);
	}
	return vhdx_give_back(&v, rc);
}
