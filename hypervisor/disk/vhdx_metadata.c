/*
 * hypervisor/disk/vhdx_metadata.c - the metadata region: a table of items by GUID, and the items that say
 * what the disk is. Nothing in it has a checksum. Items that are not known and not required stay as they are.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhdx.h"

enum { TABLE_HEAD = 32, FIXED = 1, HAS_PARENT = 2 };

const uint8_t vhdx_item_guid[ITEMS][GUID_BYTES] = {
	[ITEM_PARAMETERS] = { 0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa,
	    0x44, 0xe7, 0x6b },
	[ITEM_SIZE] = { 0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b,
	    0xf4, 0xb8 },
	[ITEM_PAGE83] = { 0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00,
	    0xc7, 0x46 },
	[ITEM_LOGICAL] = { 0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa,
	    0xab, 0x5f },
	[ITEM_PHYSICAL] = { 0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9, 0x88, 0x52,
	    0x51, 0xc5, 0x56 },
	[ITEM_LOCATOR] = { 0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34,
	    0xab, 0x0c },
};

/* A sign that Microsoft's tools leave while they create a file. */
static const uint8_t incomplete[GUID_BYTES] = { 0xf0, 0x85, 0xcc, 0x71, 0x69, 0x1b, 0x28, 0x4e, 0x95, 0x58,
	0xc3, 0xbf, 0x83, 0xae, 0x75, 0xd3 };

/* 0: any. */
static const struct {
	const char *name;
	uint32_t length;
} known[ITEMS] = {
	[ITEM_PARAMETERS] = { "file parameters", 8 },
	[ITEM_SIZE] = { "disk size", 8 },
	[ITEM_PAGE83] = { "disk identity", GUID_BYTES },
	[ITEM_LOGICAL] = { "logical sector size", 4 },
	[ITEM_PHYSICAL] = { "physical sector size", 4 },
	[ITEM_LOCATOR] = { "parent locator", 0 },
};

static struct vhdx_item
item_of(const struct vhdx *v, unsigned index)
{
	struct vhdx_item item;

	memcpy(&item, v->items + TABLE_HEAD + index * sizeof(item), sizeof(item));
	return item;
}

uint64_t
vhdx_item_at(const struct vhdx *v, enum vhdx_item_id id)
{
	return v->metadata.offset + item_of(v, (unsigned)v->item[id]).offset;
}

static int
find_known(const struct vhdx_item *item)
{
	if (item->flags & ITEM_USER)
		return -1;
	for (int i = 0; i < ITEMS; i++)
		if (memcmp(item->id, vhdx_item_guid[i], GUID_BYTES) == 0)
			return i;
	return -1;
}

/* Where it lies; 2.6.1.2. */
static const char *
item_fault(const struct vhdx *v, const struct vhdx_item *item)
{
	if (item->length > VHDX_ITEM_MAX)
		return "is longer than 1 MiB";
	if (!item->length)
		return item->offset ? "has an offset, but no length" : NULL;
	if (item->offset < VHDX_TABLE)
		return "lies in the metadata table";
	if (item->offset > v->metadata.length || item->length > v->metadata.length - item->offset)
		return "lies behind the end of the metadata region";
	return NULL;
}

static int
check_item(struct vhdx *v, unsigned index)
{
	struct vhdx_item item = item_of(v, index);
	const char *why = item_fault(v, &item);
	uint64_t at = v->metadata.offset + TABLE_HEAD + index * sizeof(item);
	char text[GUID_TEXT + 1];
	uint8_t id[GUID_BYTES];
	int which = find_known(&item);

	vhdx_guid(id, item.id);
	guid_format(id, text);
	if (memcmp(item.id, incomplete, GUID_BYTES) == 0)
		return vhdx_fault(v, DISK_DAMAGE,
		    "metadata entry %u at offset %#llx says that the file was never finished: it has to be "
		    "made again",
		    index, (unsigned long long)at);
	if (why)
		return vhdx_fault(v, DISK_DAMAGE,
		    "metadata entry %u at offset %#llx {%s}: the item (offset %#x, length %#x) %s", index,
		    (unsigned long long)at, text, item.offset, item.length, why);
	if (which < 0 && item.flags & ITEM_REQUIRED)
		return vhdx_fault(v, DISK_DAMAGE,
		    "metadata entry %u at offset %#llx: the item {%s} must be understood, but is not known",
		    index, (unsigned long long)at, text);
	if (which < 0)
		return 0;
	if (v->item[which] >= 0)
		return vhdx_fault(v, DISK_DAMAGE, "metadata entry %u at offset %#llx: a second %s", index,
		    (unsigned long long)at, known[which].name);
	if (known[which].length ? item.length != known[which].length : !item.length)
		return vhdx_fault(v, DISK_DAMAGE,
		    "metadata entry %u at offset %#llx: the %s has %u bytes, not %u", index,
		    (unsigned long long)at, known[which].name, item.length, known[which].length);
	v->item[which] = (int)index;
	return 0;
}

static int
by_offset(const void *a, const void *b)
{
	const struct vhdx_item *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int
by_key(const void *a, const void *b)
{
	const struct vhdx_item *x = a, *y = b;
	int d = memcmp(x->id, y->id, GUID_BYTES);

	return d ? d : (int)(x->flags & ITEM_USER) - (int)(y->flags & ITEM_USER);
}

static int
check_pairs(struct vhdx *v, struct vhdx_item *item, unsigned n)
{
	int rc = 0;

	qsort(item, n, sizeof(*item), by_key);
	for (unsigned i = 1; i < n; i++)
		if (by_key(&item[i - 1], &item[i]) == 0)
			rc = vhdx_fault(v, DISK_DAMAGE,
			    "metadata: one item is there twice, at offsets %#x and %#x of the region",
			    item[i - 1].offset, item[i].offset);
	qsort(item, n, sizeof(*item), by_offset);
	for (unsigned i = 1; i < n; i++)
		if (item[i].length && item[i].offset - item[i - 1].offset < item[i - 1].length)
			rc = vhdx_fault(v, DISK_DAMAGE,
			    "metadata: the items at offsets %#x and %#x of the region overlap",
			    item[i - 1].offset, item[i].offset);
	return rc;
}

static int
check_table(struct vhdx *v, unsigned n)
{
	struct vhdx_item *all;
	unsigned users = 0;
	int rc = 0;

	for (unsigned i = 0; i < n; i++) {
		int one = check_item(v, i);

		rc = rc ? rc : one;
		users += item_of(v, i).flags & ITEM_USER;
	}
	if (users > VHDX_USER_ITEMS_MAX)
		rc = vhdx_fault(v, DISK_DAMAGE, "metadata: %u user items, where 1024 are the most", users);
	if (rc < 0)
		return rc;
	all = calloc(n + 1, sizeof(*all));
	if (!all)
		return err_set(v->err, ENOMEM, "VHDX: out of memory");
	memcpy(all, v->items + TABLE_HEAD, n * sizeof(*all));
	rc = check_pairs(v, all, n);
	free(all);
	return rc;
}

static int
get_item(struct vhdx *v, enum vhdx_item_id id, void *to)
{
	if (v->item[id] < 0)
		return vhdx_fault(v, DISK_DAMAGE, "metadata: there is no %s", known[id].name);
	return vhdx_get(v, to, known[id].length, vhdx_item_at(v, id));
}

static bool
is_sector(uint32_t n)
{
	return n == 512 || n == 4096;
}

static int
check_values(struct vhdx *v)
{
	if (v->block_size < VHDX_BLOCK_MIN || v->block_size > VHDX_BLOCK_MAX ||
	    v->block_size & (v->block_size - 1))
		return vhdx_fault(v, DISK_DAMAGE,
		    "metadata, offset %#llx: blocks of %u bytes, where a power of two from 1 MiB to 256 MiB "
		    "is needed",
		    (unsigned long long)vhdx_item_at(v, ITEM_PARAMETERS), v->block_size);
	if (!is_sector(v->logical) || !is_sector(v->physical))
		return vhdx_fault(v, DISK_DAMAGE,
		    "metadata, offset %#llx: sectors of %u and %u bytes (logical, physical), where 512 or "
		    "4096 is needed",
		    (unsigned long long)vhdx_item_at(v, ITEM_LOGICAL), v->logical, v->physical);
	if (!v->size || v->size % v->logical || v->size > VHDX_SIZE_MAX)
		return vhdx_fault(v, DISK_DAMAGE,
		    "metadata, offset %#llx: a disk of %llu bytes, where whole sectors of %u up to 64 TiB "
		    "are needed",
		    (unsigned long long)vhdx_item_at(v, ITEM_SIZE), (unsigned long long)v->size, v->logical);
	if (v->fixed && v->child)
		return vhdx_fault(v, DISK_DAMAGE,
		    "metadata, offset %#llx: a disk cannot be fixed and have a parent",
		    (unsigned long long)vhdx_item_at(v, ITEM_PARAMETERS));
	return 0;
}

static int
read_values(struct vhdx *v)
{
	struct {
		uint32_t block_size, flags;
	} parameters = { 0 };
	int rc = get_item(v, ITEM_PARAMETERS, &parameters);

	if (rc == 0)
		rc = get_item(v, ITEM_SIZE, &v->size);
	if (rc == 0)
		rc = get_item(v, ITEM_PAGE83, v->page83);
	if (rc == 0)
		rc = get_item(v, ITEM_LOGICAL, &v->logical);
	if (rc == 0)
		rc = get_item(v, ITEM_PHYSICAL, &v->physical);
	if (rc < 0)
		return rc;
	v->block_size = parameters.block_size;
	v->fixed = parameters.flags & FIXED;
	v->child = parameters.flags & HAS_PARENT;
	return check_values(v);
}

static int
read_locator(struct vhdx *v)
{
	struct vhdx_item item;
	int rc;

	if (!v->child)
		return 0;
	if (v->item[ITEM_LOCATOR] < 0)
		return vhdx_fault(v, DISK_DAMAGE, "metadata: the disk has a parent, but there is no %s",
		    known[ITEM_LOCATOR].name);
	item = item_of(v, (unsigned)v->item[ITEM_LOCATOR]);
	v->locator = malloc(item.length);
	v->locator_length = item.length;
	if (!v->locator)
		return err_set(v->err, ENOMEM, "VHDX: out of memory");
	rc = vhdx_get(v, v->locator, item.length, vhdx_item_at(v, ITEM_LOCATOR));
	return rc < 0 ? rc : vhdx_check_locator(v, v->locator, item.length);
}

uint64_t
vhdx_entries_needed(uint64_t size, uint32_t block_size, uint32_t logical, bool child)
{
	uint64_t ratio = (uint64_t)VHDX_BITS * logical / block_size;
	uint64_t blocks = (size + block_size - 1) / block_size;

	if (child)
		return (blocks + ratio - 1) / ratio * (ratio + 1);
	return blocks + (blocks - 1) / ratio;
}

void
vhdx_geometry(struct vhdx *v)
{
	v->ratio = (uint32_t)((uint64_t)VHDX_BITS * v->logical / v->block_size);
	v->blocks = (v->size + v->block_size - 1) / v->block_size;
	v->chunks = (v->blocks + v->ratio - 1) / v->ratio;
	v->entries = vhdx_entries_needed(v->size, v->block_size, v->logical, v->child);
}

int
vhdx_read_metadata(struct vhdx *v)
{
	struct vhdx_meta_head head;
	int rc;

	for (unsigned i = 0; i < ITEMS; i++)
		v->item[i] = -1;
	v->items = malloc(VHDX_TABLE);
	if (!v->items)
		return err_set(v->err, ENOMEM, "VHDX: out of memory");
	rc = vhdx_get(v, v->items, VHDX_TABLE, v->metadata.offset);
	if (rc < 0)
		return rc;
	memcpy(&head, v->items, sizeof(head));
	if (memcmp(head.signature, "metadata", 8) != 0)
		return vhdx_fault(v, DISK_DAMAGE,
		    "the metadata table at offset %#llx does not begin with \"metadata\"",
		    (unsigned long long)v->metadata.offset);
	if (head.count > VHDX_ITEMS_MAX)
		return vhdx_fault(v, DISK_DAMAGE,
		    "the metadata table at offset %#llx has %u entries, where 2047 are the most",
		    (unsigned long long)v->metadata.offset, head.count);
	rc = check_table(v, head.count);
	if (rc == 0)
		rc = read_values(v);
	if (rc == 0)
		rc = read_locator(v);
	if (rc < 0)
		return rc;
	vhdx_geometry(v);
	if (v->entries > v->bat.length / 8)
		return vhdx_fault(v, DISK_DAMAGE,
		    "the block table at offset %#llx has room for %u entries, but a disk of %llu bytes needs "
		    "%llu",
		    (unsigned long long)v->bat.offset, v->bat.length / 8, (unsigned long long)v->size,
		    (unsigned long long)v->entries);
	return 0;
}
