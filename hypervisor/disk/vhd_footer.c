/*
 * hypervisor/disk/vhd_footer.c - a VHD's footer and dynamic header: bytes to numbers and back.
 *
 * Both are sealed by a sum of bytes, which does not see two that changed places: so every field is looked at.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "hypervisor/disk/vhd.h"

enum {
	VERSION = 0x00010000,
	CREATOR_VERSION = 0x000a0000,
	FEATURE_ALWAYS = 2, /* must be set */
	YEAR_2000 = 946684800,

	FOOTER_SUM = 64,
	HEADER_SUM = 36,

	/* The geometry's largest: 65535 cylinders, 16 heads, 255 sectors in a track. */
	CYLINDERS = 65535,
	HEADS = 16,
	TRACK = 255,
	BIG_TRACK = 63,
};

static const char footer_magic[8] = { 'c', 'o', 'n', 'e', 'c', 't', 'i', 'x' };
static const char header_magic[8] = { 'c', 'x', 's', 'p', 'a', 'r', 's', 'e' };

/* --- Numbers ---------------------------------------------------------------------------------------- */

static uint32_t
get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static uint64_t
get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

static void
put32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

static void
put64(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof(v));
}

/* The sum's own field counts as zero. */
static uint32_t
checksum(const uint8_t *p, size_t len, size_t field)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		if (i < field || i >= field + 4)
			sum += p[i];
	return ~sum;
}

static int
check_sum(const uint8_t *p, size_t len, size_t field, uint64_t at, const char *what, struct err *e)
{
	uint32_t is = get32(p + field), should = checksum(p, len, field);

	if (is == should)
		return 0;
	return err_set(e, EINVAL,
	    "the %s at offset %llu is damaged: its checksum is %08x, its bytes give %08x", what,
	    (unsigned long long)at, is, should);
}

static int
check_version(uint32_t version, uint64_t at, const char *what, struct err *e)
{
	if (version >> 16 == VERSION >> 16)
		return 0;
	return err_set(e, EINVAL, "the %s at offset %llu has version %u.%u; only 1.x is known", what,
	    (unsigned long long)at, version >> 16, version & 0xffff);
}

/* --- Footer ----------------------------------------------------------------------------------------- */

bool
vhd_is_footer(const uint8_t *raw)
{
	return memcmp(raw, footer_magic, sizeof(footer_magic)) == 0;
}

bool
vhd_is_header(const uint8_t *raw)
{
	return memcmp(raw, header_magic, sizeof(header_magic)) == 0;
}

static int
check_type(const struct vhd_footer *f, uint32_t type, uint64_t at, struct err *e)
{
	bool known = type == VHD_FIXED || type == VHD_DYNAMIC || type == VHD_DIFFERENCING;

	if (!known)
		return err_set(e, EINVAL,
		    "the footer at offset %llu has type %u; fixed (2), dynamic (3) and differencing (4) are "
		    "known",
		    (unsigned long long)at, type);
	if (f->size == 0 || f->size % VHD_SECTOR || f->size > VHD_SIZE_MAX)
		return err_set(e, EINVAL,
		    "the footer at offset %llu gives a size of %llu bytes: it has to be a multiple of 512, "
		    "up to %llu",
		    (unsigned long long)at, (unsigned long long)f->size, (unsigned long long)VHD_SIZE_MAX);
	if (type != VHD_FIXED &&
	    (f->data_offset < VHD_FOOTER || f->data_offset % VHD_SECTOR || f->data_offset > VHD_FILE_MAX))
		return err_set(e, EINVAL,
		    "the footer at offset %llu puts the header at offset %llu, where it cannot be",
		    (unsigned long long)at, (unsigned long long)f->data_offset);
	return 0;
}

int
vhd_footer_decode(struct vhd_footer *out, const uint8_t raw[VHD_FOOTER], uint64_t at, struct err *e)
{
	struct vhd_footer f = { 0 };
	int rc;

	if (!vhd_is_footer(raw))
		return err_set(e, EINVAL, "there is no VHD footer at offset %llu", (unsigned long long)at);
	rc = check_sum(raw, VHD_FOOTER, FOOTER_SUM, at, "footer", e);
	if (rc < 0)
		return rc;
	memcpy(f.raw, raw, VHD_FOOTER);
	f.features = get32(raw + 8);
	f.version = get32(raw + 12);
	f.data_offset = get64(raw + 16);
	f.created = get32(raw + 24);
	memcpy(f.creator, raw + 28, sizeof(f.creator));
	f.creator_version = get32(raw + 32);
	memcpy(f.host, raw + 36, sizeof(f.host));
	f.original_size = get64(raw + 40);
	f.size = get64(raw + 48);
	f.geometry = get32(raw + 56);
	f.type = (enum vhd_type)get32(raw + 60);
	memcpy(f.id, raw + 68, sizeof(f.id));
	f.saved_state = raw[84] != 0;
	rc = check_version(f.version, at, "footer", e);
	if (rc == 0)
		rc = check_type(&f, get32(raw + 60), at, e);
	if (rc == 0)
		*out = f;
	return rc;
}

void
vhd_footer_encode(struct vhd_footer *f)
{
	uint8_t *raw = f->raw;

	memcpy(raw, footer_magic, sizeof(footer_magic));
	put32(raw + 8, f->features);
	put32(raw + 12, f->version);
	put64(raw + 16, f->data_offset);
	put32(raw + 24, f->created);
	memcpy(raw + 28, f->creator, sizeof(f->creator));
	put32(raw + 32, f->creator_version);
	memcpy(raw + 36, f->host, sizeof(f->host));
	put64(raw + 40, f->original_size);
	put64(raw + 48, f->size);
	put32(raw + 56, f->geometry);
	put32(raw + 60, f->type);
	memcpy(raw + 68, f->id, sizeof(f->id));
	raw[84] = f->saved_state;
	put32(raw + FOOTER_SUM, checksum(raw, VHD_FOOTER, FOOTER_SUM));
}

static int
random_id(uint8_t id[GUID_BYTES], struct err *e)
{
	if (getrandom(id, GUID_BYTES, 0) != GUID_BYTES)
		return err_sys(e, "a random identity");
	id[6] = (uint8_t)((id[6] & 0x0f) | 0x40); /* as RFC 4122 marks random ones */
	id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
	return 0;
}

int
vhd_footer_init(struct vhd_footer *f, enum vhd_type type, uint64_t size, const uint8_t *id, struct err *e)
{
	time_t now = time(NULL);

	*f = (struct vhd_footer){ .features = FEATURE_ALWAYS,
		.version = VERSION,
		.data_offset = type == VHD_FIXED ? UINT64_MAX : VHD_FOOTER,
		.created = now > YEAR_2000 ? (uint32_t)(now - YEAR_2000) : 0,
		/* QEMU believes the size in a footer of these creators, and the geometry of all others. */
		.creator = { 'w', 'i', 'n', ' ' },
		.creator_version = CREATOR_VERSION,
		.host = { 'W', 'i', '2', 'k' },
		.original_size = size,
		.type = type };
	vhd_footer_resize(f, size);
	if (!id)
		return random_id(f->id, e);
	memcpy(f->id, id, GUID_BYTES);
	return 0;
}

void
vhd_footer_resize(struct vhd_footer *f, uint64_t size)
{
	f->size = size;
	f->geometry = vhd_geometry(size);
}

/* As the specification counts it, roundings and all: others compare it with theirs. */
uint32_t
vhd_geometry(uint64_t size)
{
	uint64_t sectors = size / VHD_SECTOR, most = (uint64_t)CYLINDERS * HEADS * TRACK, q;
	uint32_t track = 17, heads;

	if (sectors > most)
		sectors = most;
	if (sectors >= (uint64_t)CYLINDERS * HEADS * BIG_TRACK) {
		track = TRACK;
		heads = HEADS;
		q = sectors / track;
	} else {
		q = sectors / track;
		heads = (uint32_t)((q + 1023) / 1024);
		if (heads < 4)
			heads = 4;
		if (q >= heads * 1024 || heads > HEADS) {
			track = 31;
			heads = HEADS;
			q = sectors / track;
		}
		if (q >= heads * 1024) {
			track = BIG_TRACK;
			heads = HEADS;
			q = sectors / track;
		}
	}
	return (uint32_t)(q / heads) << 16 | heads << 8 | track;
}

/* --- Dynamic header --------------------------------------------------------------------------------- */

static int
check_header(const struct vhd_header *h, uint64_t at, struct err *e)
{
	if (h->block_size < VHD_BLOCK_MIN || h->block_size > VHD_BLOCK_MAX ||
	    (h->block_size & (h->block_size - 1)))
		return err_set(e, EINVAL,
		    "the header at offset %llu gives blocks of %u bytes: it has to be a power of two from %d "
		    "to %d",
		    (unsigned long long)at, h->block_size, VHD_BLOCK_MIN, VHD_BLOCK_MAX);
	if (h->entries == 0 || h->entries > VHD_ENTRIES_MAX)
		return err_set(e, EINVAL,
		    "the header at offset %llu gives a block table of %u entries: 1 to %d are taken",
		    (unsigned long long)at, h->entries, VHD_ENTRIES_MAX);
	if (h->table < VHD_FOOTER || h->table % VHD_SECTOR || h->table > VHD_FILE_MAX)
		return err_set(e, EINVAL,
		    "the header at offset %llu puts the block table at offset %llu, where it cannot be",
		    (unsigned long long)at, (unsigned long long)h->table);
	return 0;
}

static void
get_locator(struct vhd_locator *l, const uint8_t *p)
{
	memcpy(l->code, p, sizeof(l->code));
	l->space = get32(p + 4);
	l->len = get32(p + 8);
	l->at = get64(p + 16);
}

int
vhd_header_decode(struct vhd_header *out, const uint8_t raw[VHD_HEADER], uint64_t at, struct err *e)
{
	int rc;

	if (!vhd_is_header(raw))
		return err_set(e, EINVAL,
		    "there is no dynamic header at offset %llu, where the footer puts it",
		    (unsigned long long)at);
	rc = check_sum(raw, VHD_HEADER, HEADER_SUM, at, "dynamic header", e);
	if (rc == 0)
		rc = check_version(get32(raw + 24), at, "dynamic header", e);
	if (rc < 0)
		return rc;
	memcpy(out->raw, raw, VHD_HEADER);
	out->table = get64(raw + 16);
	out->entries = get32(raw + 28);
	out->block_size = get32(raw + 32);
	memcpy(out->parent_id, raw + 40, GUID_BYTES);
	out->parent_time = get32(raw + 56);
	memcpy(out->parent_name, raw + 64, VHD_NAME);
	for (unsigned i = 0; i < VHD_LOCATORS; i++)
		get_locator(&out->locator[i], raw + 576 + i * 24);
	return check_header(out, at, e);
}

static void
put_locator(const struct vhd_locator *l, uint8_t *p)
{
	memcpy(p, l->code, sizeof(l->code));
	put32(p + 4, l->space);
	put32(p + 8, l->len);
	put32(p + 12, 0);
	put64(p + 16, l->at);
}

void
vhd_header_encode(struct vhd_header *h)
{
	uint8_t *raw = h->raw;

	put64(raw + 16, h->table);
	put32(raw + 28, h->entries);
	put32(raw + 32, h->block_size);
	memcpy(raw + 40, h->parent_id, GUID_BYTES);
	put32(raw + 56, h->parent_time);
	memcpy(raw + 64, h->parent_name, VHD_NAME);
	for (unsigned i = 0; i < VHD_LOCATORS; i++)
		put_locator(&h->locator[i], raw + 576 + i * 24);
	put32(raw + HEADER_SUM, checksum(raw, VHD_HEADER, HEADER_SUM));
}

void
vhd_header_init(struct vhd_header *h, uint64_t table, uint32_t entries, uint32_t block_size)
{
	*h = (struct vhd_header){ .table = table, .entries = entries, .block_size = block_size };
	memcpy(h->raw, header_magic, sizeof(header_magic));
	put64(h->raw + 8, UINT64_MAX); /* no next structure: all 64 bits, whatever the old text says */
	put32(h->raw + 24, VERSION);
	vhd_header_encode(h);
}
