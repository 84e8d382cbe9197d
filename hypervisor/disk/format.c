/* hypervisor/disk/format.c - the table of formats, what a file looks like, and who is whose parent. */
#include "hypervisor/disk/format.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

enum { MAGIC = 8, FOOTER = 512, OLD_FOOTER = 511 }; /* Virtual PC before 2004 wrote 511 bytes */

const struct disk_format *const disk_formats[DISK_FORMATS] = {
	[DISK_RAW] = &disk_raw_format,
	[DISK_VHDX] = &disk_vhdx_format,
	[DISK_VHD] = &disk_vhd_format,
};

int
disk_format_by_name(const char *name)
{
	for (int i = 0; i < DISK_FORMATS; i++)
		if (disk_formats[i] && strcasecmp(disk_formats[i]->name, name) == 0)
			return i;
	return -1;
}

static bool
has_at(struct disk_file *f, uint64_t off, const char magic[MAGIC + 1])
{
	char found[MAGIC];

	return file_get(f, found, sizeof(found), off, NULL) == 0 && memcmp(found, magic, sizeof(found)) == 0;
}

enum disk_format_id
disk_format_guess(struct disk_file *f)
{
	uint64_t size;

	if (file_size(f, &size, NULL) < 0)
		return DISK_RAW;
	if (has_at(f, 0, "vhdxfile"))
		return DISK_VHDX;
	if (size >= FOOTER &&
	    (has_at(f, size - FOOTER, "conectix") || has_at(f, size - OLD_FOOTER, "conectix")))
		return DISK_VHD;
	return has_at(f, 0, "conectix") ? DISK_VHD : DISK_RAW;
}

static bool
is_named(const struct disk_info *child, const struct disk_info *parent)
{
	static const uint8_t none[GUID_BYTES];

	if (memcmp(child->parent_id, parent->data_id, GUID_BYTES) == 0)
		return true;
	return memcmp(child->parent_id2, none, GUID_BYTES) != 0 &&
	       memcmp(child->parent_id2, parent->data_id, GUID_BYTES) == 0;
}

int
disk_parent_fits(const struct disk_info *child, const struct disk_info *parent, struct err *e)
{
	char wants[GUID_TEXT + 1], is[GUID_TEXT + 1];

	if (child->type != DISK_DIFFERENCING)
		return err_set(e, EINVAL, "the image is not a differencing one: it has no parent");
	if (child->format != parent->format)
		return err_set(e, EINVAL, "the parent is %s, the image %s: a chain has one format",
		    disk_formats[parent->format]->name, disk_formats[child->format]->name);
	if (!is_named(child, parent)) {
		guid_format(child->parent_id, wants);
		guid_format(parent->data_id, is);
		return err_set(e, ESTALE,
		    "the parent is not the one that the image was made on, or has changed since: it is %s, "
		    "expected is %s",
		    is, wants);
	}
	if (child->logical != parent->logical)
		return err_set(e, EINVAL, "the parent's sectors have %u bytes, the image's %u",
		    parent->logical, child->logical);
	return 0;
}
