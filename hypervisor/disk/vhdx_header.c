/*
 * hypervisor/disk/vhdx_header.c - the first MiB of a VHDX file: identifier, two headers, two region tables.
 *
 * One header of the two is current: the valid one, or the valid one with the greater sequence number. A
 * change goes over the other. Region tables are equal; the second serves when the first is damaged.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhdx.h"

enum { CRC_FIELD = 4, CREATOR = 256 /* UTF-16 units */, TABLE_HEAD = 16 };

const uint8_t vhdx_bat_id[GUID_BYTES] = { 0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11,
	0x5e, 0x9b, 0xfd, 0x4a, 0x08 };
const uint8_t vhdx_metadata_id[GUID_BYTES] = { 0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe,
	0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e };

static bool
no_guid(const uint8_t id[GUID_BYTES])
{
	static const uint8_t none[GUID_BYTES];

	return memcmp(id, none, GUID_BYTES) == 0;
}

int
vhdx_read_identifier(struct vhdx *v, char creator[64])
{
	uint8_t id[8 + CREATOR * 2];
	unsigned n = 0;
	int rc = file_get(v->file, id, sizeof(id), 0, v->err);

	if (rc < 0)
		return rc;
	if (memcmp(id, "vhdxfile", 8) != 0)
		return vhdx_fault(v, DISK_DAMAGE, "no VHDX file: offset 0 does not have \"vhdxfile\"");
	/* Whatever it says, it is shown to people only: ASCII is enough. */
	for (unsigned i = 0; creator && i < CREATOR && n < 63; i++) {
		unsigned c = id[8 + 2 * i] | (unsigned)id[9 + 2 * i] << 8;

		if (!c)
			break;
		creator[n++] = c >= ' ' && c < 0x7f ? (char)c : '?';
	}
	if (creator)
		creator[n] = '\0';
	return 0;
}

/* --- Headers --- */

static const char *
header_fault(const struct vhdx_header *h)
{
	if (memcmp(h->signature, "head", 4) != 0)
		return "it does not begin with \"head\"";
	if (vhdx_crc(h, sizeof(*h), CRC_FIELD) != h->crc)
		return "its checksum is wrong";
	return NULL;
}

static int
choose_header(struct vhdx *v)
{
	const struct vhdx_header *a = &v->header[0], *b = &v->header[1];

	if (!v->header_ok[0] && !v->header_ok[1])
		return vhdx_fault(v, DISK_DAMAGE,
		    "both headers (offsets 64 KiB and 128 KiB) are damaged: none can be trusted");
	if (!v->header_ok[0] || !v->header_ok[1]) {
		v->current = v->header_ok[1];
		return 0;
	}
	if (a->sequence == b->sequence && memcmp(a, b, sizeof(*a)) != 0)
		return vhdx_fault(v, DISK_DAMAGE,
		    "both headers have the sequence number %llu, but are different: none can be trusted",
		    (unsigned long long)a->sequence);
	v->current = b->sequence > a->sequence;
	return 0;
}

/* What the current header says of the log: 2.2.2. */
static int
check_header(struct vhdx *v)
{
	const struct vhdx_header *h = &v->header[v->current];
	unsigned at = VHDX_HEADER_AT + v->current * VHDX_COPY;

	if (h->version != 1)
		return vhdx_fault(
		    v, DISK_DAMAGE, "header at offset %u: version %u, where only 1 is known", at, h->version);
	if (h->log_version != 0 && !no_guid(h->log))
		return vhdx_fault(v, DISK_DAMAGE,
		    "header at offset %u: the log to be replayed has version %u, where only 0 is known", at,
		    h->log_version);
	if (h->log_offset % VHDX_MIB || h->log_length % VHDX_MIB || h->log_offset < VHDX_HEADERS_END)
		return vhdx_fault(v, DISK_DAMAGE,
		    "header at offset %u: the log's offset %#llx and length %#x are no multiples of 1 MiB "
		    "behind the "
		    "headers",
		    at, (unsigned long long)h->log_offset, h->log_length);
	if (h->log_length > VHDX_LOG_MAX)
		return vhdx_fault(v, DISK_DAMAGE,
		    "header at offset %u: a log of %u MiB, where 1024 is the most", at, h->log_length >> 20);
	if (h->log_length > v->file_size || h->log_offset > v->file_size - h->log_length)
		return vhdx_fault(v, DISK_DAMAGE,
		    "header at offset %u: the log at offset %#llx, %#x bytes long, is not in the file of "
		    "%llu bytes",
		    at, (unsigned long long)h->log_offset, h->log_length, (unsigned long long)v->file_size);
	if (!h->log_length && (!no_guid(h->log) || !v->read_only))
		return vhdx_fault(v, DISK_DAMAGE, "header at offset %u: there is no room for a log", at);
	return 0;
}

int
vhdx_read_headers(struct vhdx *v)
{
	int rc;

	for (unsigned i = 0; i < 2; i++) {
		uint64_t at = VHDX_HEADER_AT + i * VHDX_COPY;
		const char *why;

		rc = file_get(v->file, &v->header[i], sizeof(v->header[i]), at, v->err);
		if (rc < 0)
			return rc;
		why = header_fault(&v->header[i]);
		v->header_ok[i] = !why;
		if (why)
			vhdx_fault(v, DISK_REPAIRABLE, "header %u at offset %#llx: %s", i + 1,
			    (unsigned long long)at, why);
	}
	rc = choose_header(v);
	if (rc < 0)
		return rc;
	v->was_dirty = !no_guid(v->header[v->current].log);
	return check_header(v);
}

int
vhdx_next_header(struct vhdx *v, struct vhdx_header *h, const uint8_t *log)
{
	*h = v->header[v->current];
	if (h->sequence == UINT64_MAX)
		return err_set(v->err, EOVERFLOW,
		    "the header's sequence number has come to its end: the file cannot be "
		    "changed any more");
	h->sequence++;
	memcpy(h->file_write, v->w.file_write, GUID_BYTES);
	if (v->w.data)
		memcpy(h->data_write, v->w.data_write, GUID_BYTES);
	memset(h->log, 0, GUID_BYTES);
	if (log)
		memcpy(h->log, log, GUID_BYTES);
	h->log_version = 0;
	h->crc = vhdx_crc(h, sizeof(*h), CRC_FIELD);
	return 0;
}

uint64_t
vhdx_header_place(const struct vhdx *v)
{
	return VHDX_HEADER_AT + (uint64_t)!v->current * VHDX_COPY;
}

void
vhdx_header_written(struct vhdx *v, const struct vhdx_header *h)
{
	v->current = !v->current;
	v->header[v->current] = *h;
	v->header_ok[v->current] = true;
}

int
vhdx_update_headers(struct vhdx *v, const uint8_t *log)
{
	_Alignas(VHDX_PAGE) struct vhdx_header h; /* for files opened past the page cache */

	for (unsigned i = 0; i < 2; i++) {
		int rc = vhdx_next_header(v, &h, log);

		if (rc == 0)
			rc = file_put(v->file, &h, sizeof(h), vhdx_header_place(v), v->err);
		if (rc == 0)
			rc = file_sync(v->file, v->err);
		if (rc < 0)
			return rc;
		vhdx_header_written(v, &h);
	}
	return 0;
}

/* --- Region tables --- */

static const char *
table_fault(const uint8_t *table)
{
	struct vhdx_region_head head;

	memcpy(&head, table, sizeof(head));
	if (memcmp(head.signature, "regi", 4) != 0)
		return "it does not begin with \"regi\"";
	if (vhdx_crc(table, VHDX_COPY, CRC_FIELD) != head.crc)
		return "its checksum is wrong";
	if (head.count > VHDX_REGIONS_MAX)
		return "it has more than 2047 entries";
	return NULL;
}

void
vhdx_seal_regions(uint8_t *table)
{
	uint32_t crc = vhdx_crc(table, VHDX_COPY, CRC_FIELD);

	memcpy(table + CRC_FIELD, &crc, sizeof(crc));
}

/* Regions and the log, by where they begin. */
static int
by_offset(const void *a, const void *b)
{
	const struct vhdx_region *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int
by_id(const void *a, const void *b)
{
	return memcmp(((const struct vhdx_region *)a)->id, ((const struct vhdx_region *)b)->id, GUID_BYTES);
}

static int
check_region(struct vhdx *v, const struct vhdx_region *r, unsigned index)
{
	bool known = true;
	char text[GUID_TEXT + 1];
	uint8_t id[GUID_BYTES];

	vhdx_guid(id, r->id);
	guid_format(id, text);
	if (memcmp(r->id, vhdx_bat_id, GUID_BYTES) == 0)
		v->bat = *r;
	else if (memcmp(r->id, vhdx_metadata_id, GUID_BYTES) == 0)
		v->metadata = *r;
	else
		known = false;
	if (!known && r->flags & 1)
		return vhdx_fault(v, DISK_DAMAGE,
		    "region table, entry %u: the region {%s} must be understood, but is not known", index,
		    text);
	if (r->offset % VHDX_MIB || r->length % VHDX_MIB || !r->length || r->offset < VHDX_HEADERS_END)
		return vhdx_fault(v, DISK_DAMAGE,
		    "region table, entry %u {%s}: offset %#llx and length %#x are no multiples of 1 MiB "
		    "behind the headers",
		    index, text, (unsigned long long)r->offset, r->length);
	/* Whoever knows the others may keep them elsewhere; their place is left alone. */
	if (r->offset > (known ? v->replayed : VHDX_FILE_MAX) ||
	    r->length > (known ? v->replayed : VHDX_FILE_MAX) - r->offset)
		return vhdx_fault(v, DISK_DAMAGE,
		    "region table, entry %u {%s}: offset %#llx, length %#x is not in the file of %llu bytes",
		    index, text, (unsigned long long)r->offset, r->length, (unsigned long long)v->file_size);
	return 0;
}

/* No two are the same, or in the same place, or where the log is. */
static int
check_overlaps(struct vhdx *v, struct vhdx_region *r, unsigned n)
{
	const struct vhdx_header *h = &v->header[v->current];
	int rc = 0;

	qsort(r, n, sizeof(*r), by_id);
	for (unsigned i = 1; i < n; i++)
		if (by_id(&r[i - 1], &r[i]) == 0)
			rc = vhdx_fault(v, DISK_DAMAGE,
			    "region table: one region is there twice, at offsets %#llx and %#llx",
			    (unsigned long long)r[i - 1].offset, (unsigned long long)r[i].offset);
	r[n] = (struct vhdx_region){ .offset = h->log_offset, .length = h->log_length };
	n += h->log_length != 0;
	qsort(r, n, sizeof(*r), by_offset);
	for (unsigned i = 1; i < n; i++)
		if (r[i].offset - r[i - 1].offset < r[i - 1].length)
			rc = vhdx_fault(v, DISK_DAMAGE,
			    "the regions (or the log) at offsets %#llx and %#llx overlap",
			    (unsigned long long)r[i - 1].offset, (unsigned long long)r[i].offset);
	return rc;
}

static int
check_regions(struct vhdx *v)
{
	struct vhdx_region_head head;
	struct vhdx_region *all;
	int rc = 0;

	memcpy(&head, v->regions, sizeof(head));
	all = calloc(head.count + 1, sizeof(*all));
	if (!all)
		return err_set(v->err, ENOMEM, "VHDX: out of memory");
	memcpy(all, v->regions + TABLE_HEAD, head.count * sizeof(*all));
	for (unsigned i = 0; i < head.count; i++) {
		int one = check_region(v, &all[i], i);

		rc = rc ? rc : one;
	}
	if (rc == 0)
		rc = check_overlaps(v, all, head.count);
	if (rc == 0 && (!v->bat.length || !v->metadata.length))
		rc = vhdx_fault(v, DISK_DAMAGE, "the region table does not name the %s region",
		    v->bat.length ? "metadata" : "block table's");
	free(all);
	return rc;
}

int
vhdx_read_regions(struct vhdx *v)
{
	uint8_t *copy = malloc(2 * (size_t)VHDX_COPY);

	v->regions = copy;
	if (!copy)
		return err_set(v->err, ENOMEM, "VHDX: out of memory");
	for (unsigned i = 0; i < 2; i++) {
		uint64_t at = VHDX_REGION_AT + i * VHDX_COPY;
		int rc = vhdx_get(v, copy + (size_t)i * VHDX_COPY, VHDX_COPY, at);
		const char *why;

		if (rc < 0)
			return rc;
		why = table_fault(copy + (size_t)i * VHDX_COPY);
		v->region_ok[i] = !why;
		if (why)
			vhdx_fault(v, DISK_REPAIRABLE, "region table %u at offset %#llx: %s", i + 1,
			    (unsigned long long)at, why);
	}
	if (!v->region_ok[0] && !v->region_ok[1])
		return vhdx_fault(
		    v, DISK_DAMAGE, "both region tables (offsets 192 KiB and 256 KiB) are damaged");
	if (!v->region_ok[0])
		memcpy(copy, copy + VHDX_COPY, VHDX_COPY);
	else if (v->region_ok[1] && memcmp(copy, copy + VHDX_COPY, VHDX_COPY) != 0)
		vhdx_fault(v, DISK_NOTE, "the two region tables are different; the first counts");
	return check_regions(v);
}
