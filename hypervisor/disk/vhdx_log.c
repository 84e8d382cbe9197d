/*
 * hypervisor/disk/vhdx_log.c - the log, MS-VHDX 2.3: a ring of entries, each a set of pages that became
 * durable together.
 *
 * Of all entries in the ring those count that are whole, follow each other in place and number, and end with
 * the greatest number: the active sequence. Its head says from which of them on (its tail) pages may not be
 * at home yet. A ring is hostile: it is read in pieces, each sector a bounded number of times. An entry's
 * sectors all begin with a signature other than an entry's own, so that looking them over ends where the next
 * entry begins, and whole entries never share a sector.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhdx.h"

enum { HEAD = sizeof(struct vhdx_log_head), DESC = sizeof(struct vhdx_log_desc), CRC_FIELD = 4 };
enum { PAGE_FROM = 8, PAGE_BYTES = 4084 }; /* what a data sector has of its page; 2.3.1.4 */

/* --- Reading the ring --- */

static const struct vhdx_header *
ring(const struct vhdx *v)
{
	return &v->header[v->current];
}

static uint32_t
ring_add(const struct vhdx *v, uint32_t at, uint32_t n)
{
	return (uint32_t)(((uint64_t)at + n) % ring(v)->log_length);
}

static int
read_sector(struct vhdx *v, uint32_t at, void *to)
{
	return file_get(v->file, to, VHDX_PAGE, ring(v)->log_offset + at, v->err);
}

/* --- What makes an entry --- */

static uint32_t
desc_sectors(uint32_t count)
{
	return count <= VHDX_DESCS_FIRST ? 1 : 1 + (count - VHDX_DESCS_FIRST + VHDX_DESCS - 1) / VHDX_DESCS;
}

static bool
head_valid(const struct vhdx *v, const struct vhdx_log_head *h)
{
	uint32_t size = ring(v)->log_length;

	return memcmp(h->signature, "loge", 4) == 0 && memcmp(h->log, ring(v)->log, GUID_BYTES) == 0 &&
	       h->length && h->length % VHDX_PAGE == 0 && h->length <= size && h->tail % VHDX_PAGE == 0 &&
	       h->tail < size && h->sequence && h->flushed % VHDX_MIB == 0 && h->last % VHDX_MIB == 0 &&
	       h->count < h->length / DESC && desc_sectors(h->count) <= h->length / VHDX_PAGE;
}

/* Not over headers, nor into the log; ends below the largest file. */
static bool
target_valid(const struct vhdx *v, uint64_t off, uint64_t len)
{
	uint64_t log = ring(v)->log_offset;

	if (off % VHDX_PAGE || len % VHDX_PAGE || !len || off < VHDX_REGION_AT || off > VHDX_FILE_MAX ||
	    len > VHDX_FILE_MAX - off)
		return false;
	return off + len <= log || off >= log + ring(v)->log_length;
}

/* 0: zeros, 1: a page, -1: neither. */
static int
desc_kind(const struct vhdx *v, const struct vhdx_log_desc *d, uint64_t sequence)
{
	if (d->sequence != sequence)
		return -1;
	if (memcmp(d->signature, "zero", 4) == 0)
		return target_valid(v, d->offset, d->leading) ? 0 : -1;
	if (memcmp(d->signature, "desc", 4) == 0)
		return target_valid(v, d->offset, VHDX_PAGE) ? 1 : -1;
	return -1;
}

static bool
data_valid(const uint8_t *sector, uint64_t sequence)
{
	uint32_t high, low;

	memcpy(&high, sector + 4, sizeof(high));
	memcpy(&low, sector + VHDX_PAGE - 4, sizeof(low));
	return memcmp(sector, "data", 4) == 0 && high == sequence >> 32 && low == (uint32_t)sequence;
}

/* Descriptors of the n-th sector of an entry: the first, and how many. */
static const uint8_t *
descs_in(const struct vhdx_log_head *h, const uint8_t *sector, uint32_t n, uint32_t *count)
{
	uint32_t before = n ? VHDX_DESCS_FIRST + (n - 1) * VHDX_DESCS : 0,
		 room = n ? VHDX_DESCS : VHDX_DESCS_FIRST;

	*count = h->count - before < room ? h->count - before : room;
	return n ? sector : sector + HEAD;
}

/* Pages that the descriptors of one sector announce; -1: one is not valid. */
static int
count_pages(const struct vhdx *v, const struct vhdx_log_head *h, const uint8_t *sector, uint32_t n)
{
	struct vhdx_log_desc d;
	uint32_t count;
	const uint8_t *p = descs_in(h, sector, n, &count);
	int pages = 0;

	for (; count; count--, p += DESC) {
		int kind;

		memcpy(&d, p, sizeof(d));
		kind = desc_kind(v, &d, h->sequence);
		if (kind < 0)
			return -1;
		pages += kind;
	}
	return pages;
}

/* 1: an entry begins at `at`; 0: none that can be believed. The sector there has been read. */
static int
check_entry(struct vhdx *v, uint32_t at, const uint8_t *first, struct vhdx_log_head *h)
{
	uint8_t sector[VHDX_PAGE];
	uint32_t pages = 0, descs, crc = UINT32_MAX;

	memcpy(h, first, sizeof(*h));
	if (!head_valid(v, h))
		return 0;
	descs = desc_sectors(h->count);
	for (uint32_t n = 0; n < h->length / VHDX_PAGE; n++) {
		int more = 0, rc = 0;

		if (n == 0)
			memcpy(sector, first, VHDX_PAGE);
		else
			rc = read_sector(v, ring_add(v, at, n * VHDX_PAGE), sector);
		if (rc < 0)
			return rc;
		if (n < descs)
			more = count_pages(v, h, sector, n);
		else if (!data_valid(sector, h->sequence))
			more = -1;
		if (more < 0)
			return 0;
		pages += (uint32_t)more;
		if (n == 0)
			memset(sector + CRC_FIELD, 0, sizeof(crc));
		crc = vhdx_crc_part(crc, sector, VHDX_PAGE);
	}
	return ~crc == h->crc && descs + pages == h->length / VHDX_PAGE;
}

/* --- The active sequence --- */

struct found {
	uint64_t sequence; /* 0: no entry */
	uint32_t length, tail;
};

/* All entries, by the sector in which they begin. */
static int
find_entries(struct vhdx *v, struct found *all)
{
	enum { PIECE = 1 << 20 };
	uint8_t *piece = malloc(PIECE);
	int rc = 0;

	if (!piece)
		return err_set(v->err, ENOMEM, "VHDX: out of memory");
	for (uint32_t at = 0; rc == 0 && at < ring(v)->log_length; at += PIECE) {
		rc = file_get(v->file, piece, PIECE, ring(v)->log_offset + at, v->err);
		for (uint32_t n = 0; rc == 0 && n < PIECE; n += VHDX_PAGE) {
			struct vhdx_log_head h;
			int is = check_entry(v, at + n, piece + n, &h);

			if (is > 0)
				all[(at + n) / VHDX_PAGE] = (struct found){ h.sequence, h.length, h.tail };
			rc = is < 0 ? is : 0;
		}
	}
	free(piece);
	return rc;
}

struct run {
	uint32_t first, end, head; /* offsets; head: the last entry */
	uint32_t entries,
	    behind_tail; /* behind_tail: from the entry at its head's tail on; 0: none is there */
};

/* The entries that follow each other from `at` on. */
static struct run
run_from(const struct vhdx *v, const struct found *all, uint32_t at)
{
	struct run r = { .first = at, .end = at };
	uint64_t used = 0, number = 0;
	uint32_t pos, tail;

	for (;;) {
		const struct found *f = &all[r.end / VHDX_PAGE];

		if (!f->sequence || (r.entries && f->sequence != number + 1) ||
		    used + f->length > ring(v)->log_length)
			break;
		number = f->sequence;
		used += f->length;
		r.head = r.end;
		r.end = ring_add(v, r.end, f->length);
		r.entries++;
	}
	if (!r.entries)
		return r;
	tail = all[r.head / VHDX_PAGE].tail;
	pos = r.first;
	for (uint32_t i = 0; i < r.entries; i++) {
		if (pos == tail)
			r.behind_tail = r.entries - i;
		pos = ring_add(v, pos, all[pos / VHDX_PAGE].length);
	}
	return r;
}

/*
 * Each run that begins in the ring is looked at once. One whose head's tail is not in it cannot become better
 * by beginning later, so that the next look is behind it, too.
 */
static bool
best_run(const struct vhdx *v, const struct found *all, struct run *best)
{
	uint64_t number = 0;
	uint32_t at = 0, before;

	do {
		struct run r = run_from(v, all, at);

		if (r.behind_tail && all[r.head / VHDX_PAGE].sequence > number) {
			number = all[r.head / VHDX_PAGE].sequence;
			*best = r;
		}
		before = at;
		at = r.entries ? r.end : ring_add(v, at, VHDX_PAGE);
	} while (at > before);
	return number != 0;
}

int
vhdx_find_sequence(struct vhdx *v, struct vhdx_sequence *s)
{
	struct found *all = calloc(ring(v)->log_length / VHDX_PAGE, sizeof(*all));
	struct vhdx_log_head h;
	struct run best = { 0 };
	int rc;

	if (!all)
		return err_set(v->err, ENOMEM, "VHDX: out of memory");
	rc = find_entries(v, all);
	if (rc == 0 && !best_run(v, all, &best))
		rc = vhdx_fault(v, DISK_DAMAGE,
		    "a header says that the log at offset %#llx is to be replayed, but there is no whole "
		    "entry with its GUID",
		    (unsigned long long)ring(v)->log_offset);
	if (rc == 0)
		rc = file_get(v->file, &h, sizeof(h), ring(v)->log_offset + best.head, v->err);
	if (rc == 0) {
		*s = (struct vhdx_sequence){ all[best.head / VHDX_PAGE].tail, best.behind_tail, h.flushed,
			h.last };
		if (v->file_size < s->flushed)
			rc = vhdx_fault(v, DISK_DAMAGE,
			    "the file has been cut short: it has %llu bytes, and had at least %llu when its "
			    "log was written",
			    (unsigned long long)v->file_size, (unsigned long long)s->flushed);
		else if (s->last > VHDX_FILE_MAX)
			rc = vhdx_fault(v, DISK_DAMAGE,
			    "the log wants a file of %llu bytes, where 256 TiB are the most",
			    (unsigned long long)s->last);
	}
	free(all);
	return rc;
}

/* --- Replay --- */

static int
add_patch(struct vhdx *v, uint64_t off, uint64_t len, const uint8_t *page)
{
	struct vhdx_patch *p;

	if (v->n_patches == VHDX_PATCHES)
		return err_set(v->err, EFBIG,
		    "the log is too large to be replayed in memory: open the file for writing once");
	if (!v->patches)
		v->patches = calloc(VHDX_PATCHES, sizeof(*v->patches));
	if (!v->patches)
		return err_set(v->err, ENOMEM, "VHDX: out of memory");
	p = &v->patches[v->n_patches];
	*p = (struct vhdx_patch){ off, len, NULL };
	if (page) {
		p->page = malloc(VHDX_PAGE);
		if (!p->page)
			return err_set(v->err, ENOMEM, "VHDX: out of memory");
		memcpy(p->page, page, VHDX_PAGE);
	}
	v->n_patches++;
	return 0;
}

static int
apply(struct vhdx *v, const struct vhdx_log_desc *d, uint8_t *sector, uint64_t end)
{
	uint64_t len = sector ? VHDX_PAGE : d->leading;

	if (d->offset + len > end)
		return vhdx_fault(v, DISK_DAMAGE,
		    "the log wants to write at offset %#llx, behind the end of the file at %#llx",
		    (unsigned long long)d->offset, (unsigned long long)end);
	if (sector) {
		memcpy(sector, &d->leading, PAGE_FROM);
		memcpy(sector + PAGE_FROM + PAGE_BYTES, &d->trailing, sizeof(d->trailing));
	}
	if (v->read_only)
		return add_patch(v, d->offset, len, sector);
	return sector ? file_put(v->file, sector, VHDX_PAGE, d->offset, v->err)
		      : file_clear(v->file, d->offset, len, true, v->err);
}

static int
replay_entry(struct vhdx *v, uint32_t at, uint64_t end, uint32_t *length)
{
	uint8_t descs[VHDX_PAGE], data[VHDX_PAGE];
	struct vhdx_log_head h;
	struct vhdx_log_desc d;
	int rc = read_sector(v, at, descs);
	uint32_t next;

	memcpy(&h, descs, sizeof(h));
	*length = h.length;
	next = ring_add(v, at, desc_sectors(h.count) * VHDX_PAGE);
	for (uint32_t n = 0; rc == 0 && n < desc_sectors(h.count); n++) {
		const uint8_t *p;
		uint32_t count;

		if (n)
			rc = read_sector(v, ring_add(v, at, n * VHDX_PAGE), descs);
		p = descs_in(&h, descs, n, &count);
		for (; rc == 0 && count; count--, p += DESC) {
			bool page;

			memcpy(&d, p, sizeof(d));
			page = memcmp(d.signature, "desc", 4) == 0;
			if (page)
				rc = read_sector(v, next, data);
			if (rc == 0)
				rc = apply(v, &d, page ? data : NULL, end);
			if (page)
				next = ring_add(v, next, VHDX_PAGE);
		}
	}
	return rc;
}

int
vhdx_replay(struct vhdx *v, const struct vhdx_sequence *s)
{
	uint64_t end = s->last > v->file_size ? s->last : v->file_size;
	uint32_t at = s->first;
	int rc = 0;

	v->replayed = end;
	if (!v->read_only && end > v->file_size) {
		rc = file_truncate(v->file, end, v->err);
		if (rc == 0)
			v->file_size = end;
	}
	for (uint32_t i = 0; rc == 0 && i < s->entries; i++) {
		uint32_t length = 0;

		rc = replay_entry(v, at, end, &length);
		at = ring_add(v, at, length);
	}
	if (rc == 0 && !v->read_only)
		rc = file_sync(v->file, v->err);
	return rc;
}

/* --- What a replay in memory changes --- */

void
vhdx_patch(const struct vhdx *v, uint8_t *buf, uint64_t len, uint64_t off)
{
	for (unsigned i = 0; i < v->n_patches; i++) {
		const struct vhdx_patch *p = &v->patches[i];
		uint64_t from = off > p->offset ? off : p->offset;
		uint64_t to = off + len < p->offset + p->length ? off + len : p->offset + p->length;

		if (from >= to)
			continue;
		if (p->page)
			memcpy(buf + (from - off), p->page + (from - p->offset), to - from);
		else
			memset(buf + (from - off), 0, to - from);
	}
}

enum vhdx_patched
vhdx_patched(const struct vhdx *v, uint64_t off, uint64_t *len)
{
	for (unsigned i = v->n_patches; i-- > 0;) { /* the newest first */
		const struct vhdx_patch *p = &v->patches[i];

		if (off < p->offset) {
			if (p->offset - off < *len)
				*len = p->offset - off;
		} else if (off - p->offset < p->length) {
			if (p->length - (off - p->offset) < *len)
				*len = p->length - (off - p->offset);
			return p->page ? PATCHED_PAGE : PATCHED_ZERO;
		}
	}
	return PATCHED_NOT;
}

/* --- Writing --- */

static void
data_sector(uint8_t *sector, struct vhdx_log_desc *d, uint64_t sequence)
{
	static const char signature[4] = { 'd', 'a', 't', 'a' };
	uint32_t high = (uint32_t)(sequence >> 32), low = (uint32_t)sequence;

	memcpy(&d->leading, sector, PAGE_FROM);
	memcpy(&d->trailing, sector + PAGE_FROM + PAGE_BYTES, sizeof(d->trailing));
	memcpy(sector, signature, sizeof(signature));
	memcpy(sector + 4, &high, sizeof(high));
	memcpy(sector + PAGE_FROM + PAGE_BYTES, &low, sizeof(low));
}

void
vhdx_build_entry(struct vhdx *v, uint32_t tail)
{
	struct vhdx_writer *w = &v->w;
	struct vhdx_log_head h = { .signature = "loge",
		.length = (w->pages + 1) * VHDX_PAGE,
		.tail = tail,
		.sequence = w->sequence,
		.count = w->pages,
		.flushed = w->durable & ~(VHDX_MIB - 1),
		.last = round_up(v->file_size, VHDX_MIB) };

	memcpy(h.log, w->log, GUID_BYTES);
	memset(w->entry, 0, VHDX_PAGE);
	memcpy(w->entry, &h, sizeof(h));
	for (unsigned i = 0; i < w->pages; i++) {
		struct vhdx_log_desc d = {
			.signature = "desc", .offset = w->home[i], .sequence = w->sequence
		};

		data_sector(vhdx_entry_page(v, i), &d, w->sequence);
		memcpy(w->entry + HEAD + (size_t)i * DESC, &d, sizeof(d));
	}
	h.crc = vhdx_crc(w->entry, h.length, CRC_FIELD);
	memcpy(w->entry + CRC_FIELD, &h.crc, sizeof(h.crc));
	w->length = h.length;
	w->size = v->file_size;
}

void
vhdx_entry_pages(struct vhdx *v)
{
	for (unsigned i = 0; i < v->w.pages; i++) {
		uint8_t *page = vhdx_entry_page(v, i);
		struct vhdx_log_desc d;

		memcpy(&d, v->w.entry + HEAD + (size_t)i * DESC, sizeof(d));
		memcpy(page, &d.leading, PAGE_FROM);
		memcpy(page + PAGE_FROM + PAGE_BYTES, &d.trailing, sizeof(d.trailing));
	}
}
