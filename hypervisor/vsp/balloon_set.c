/*
 * hypervisor/vsp/balloon_set.c - a set of pages: bits, and how many of them are set in each chunk, so that
 * looking for one goes past what is empty.
 */
#include "hypervisor/vsp/balloon_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
	WORD = 64,
	CHUNK_WORDS = PAGE_SET_CHUNK / WORD,
	CHUNK_BYTES = PAGE_SET_CHUNK / 8,
	RUN_BYTES = 4, /* in saved state: first page in the chunk, pages - 1 */
	RUNS_MAX = CHUNK_BYTES / RUN_BYTES,
	HEAD_BYTES = 8, /* more than what is before a chunk's runs or bits */
};

/* How a chunk is saved. */
enum form { FORM_FULL, FORM_RUNS, FORM_BITS, FORMS };

struct page_set {
	uint64_t limit, count;
	uint32_t chunks;
	uint64_t *bits;
	uint32_t *in_chunk;
	size_t bits_len, in_chunk_len;
};

static void *
map(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int
page_set_new(struct page_set **out, uint64_t limit, struct err *e)
{
	struct page_set *s = limit && limit <= (uint64_t)UINT32_MAX * PAGE_SET_CHUNK ? calloc(1, sizeof(*s))
										     : NULL;

	if (!s)
		return err_set(e, limit ? ENOMEM : EINVAL, "balloon: a set of %llu pages cannot be had",
		    (unsigned long long)limit);
	s->limit = limit;
	s->chunks = (uint32_t)((limit + PAGE_SET_CHUNK - 1) / PAGE_SET_CHUNK);
	s->bits_len = (size_t)s->chunks * CHUNK_BYTES;
	s->in_chunk_len = (size_t)s->chunks * sizeof(s->in_chunk[0]);
	s->bits = map(s->bits_len);
	s->in_chunk = map(s->in_chunk_len);
	if (!s->bits || !s->in_chunk) {
		page_set_free(s);
		return err_set(e, ENOMEM, "balloon: no address space for a set of pages");
	}
	*out = s;
	return 0;
}

void
page_set_free(struct page_set *s)
{
	if (!s)
		return;
	if (s->bits)
		munmap(s->bits, s->bits_len);
	if (s->in_chunk)
		munmap(s->in_chunk, s->in_chunk_len);
	free(s);
}

void
page_set_clear(struct page_set *s)
{
	if (s->count == 0)
		return;
	if (madvise(s->bits, s->bits_len, MADV_DONTNEED) < 0)
		memset(s->bits, 0, s->bits_len);
	memset(s->in_chunk, 0, s->in_chunk_len);
	s->count = 0;
}

uint64_t
page_set_count(const struct page_set *s)
{
	return s->count;
}

bool
page_set_has(const struct page_set *s, uint64_t page)
{
	return page < s->limit && (s->bits[page / WORD] >> page % WORD & 1);
}

/* Bits lo to hi - 1 of a word. */
static uint64_t
bits_of(uint64_t lo, uint64_t hi)
{
	return (~0ull << lo) & (~0ull >> (WORD - hi));
}

/* n pages from `first` on are set, or cleared. */
static uint64_t
change(struct page_set *s, uint64_t first, uint64_t n, bool set)
{
	uint64_t end, changed = 0;

	if (first >= s->limit || n == 0)
		return 0;
	end = n < s->limit - first ? first + n : s->limit;
	for (uint64_t at = first, next; at < end; at = next) {
		uint64_t *word = &s->bits[at / WORD], base = at / WORD * WORD, mask;
		uint32_t *in_chunk = &s->in_chunk[at / PAGE_SET_CHUNK], bits;

		next = end < base + WORD ? end : base + WORD;
		mask = bits_of(at - base, next - base) & (set ? ~*word : *word);
		if (mask == 0)
			continue; /* what has no bit is not written: it would take memory */
		*word ^= mask;
		bits = (uint32_t)__builtin_popcountll(mask);
		*in_chunk += set ? bits : -bits;
		changed += bits;
	}
	s->count += set ? changed : -changed;
	return changed;
}

uint64_t
page_set_add(struct page_set *s, uint64_t first, uint64_t n)
{
	return change(s, first, n, true);
}

uint64_t
page_set_remove(struct page_set *s, uint64_t first, uint64_t n)
{
	return change(s, first, n, false);
}

/* The first page at or after `from` and below `end` whose bit is `set`; `end`: none. */
static uint64_t
look_for(const struct page_set *s, uint64_t from, uint64_t end, bool set)
{
	while (from < end) {
		uint64_t word;

		if (from % PAGE_SET_CHUNK == 0 && s->in_chunk[from / PAGE_SET_CHUNK] == 0 && set) {
			from += PAGE_SET_CHUNK;
			continue;
		}
		word = (set ? s->bits[from / WORD] : ~s->bits[from / WORD]) & (~0ull << from % WORD);
		if (word != 0) {
			from = from / WORD * WORD + (uint64_t)__builtin_ctzll(word);
			break;
		}
		from = (from / WORD + 1) * WORD;
	}
	return from < end ? from : end;
}

uint64_t
page_set_run(const struct page_set *s, uint64_t from, uint64_t end, uint64_t most, uint64_t *first)
{
	uint64_t last;

	if (end > s->limit)
		end = s->limit;
	*first = look_for(s, from, end, true);
	if (*first >= end)
		return 0;
	last = end - *first < most ? end : *first + most;
	return look_for(s, *first, last, false) - *first;
}

/* --- saved state -------------------------------------------------------------------------------------- */

struct saving {
	struct page_set *s;
	struct snap *snap;
	bool (*ok)(void *ctx, uint64_t first, uint64_t n);
	void *ctx;
};

/* Pages of a chunk: all but perhaps the last have as many. */
static uint64_t
chunk_end(const struct page_set *s, uint32_t chunk)
{
	uint64_t end = ((uint64_t)chunk + 1) * PAGE_SET_CHUNK;

	return end < s->limit ? end : s->limit;
}

static unsigned
count_runs(const struct page_set *s, uint32_t chunk)
{
	uint64_t end = chunk_end(s, chunk), first, len;
	unsigned n = 0;

	for (uint64_t at = (uint64_t)chunk * PAGE_SET_CHUNK;
	     n <= RUNS_MAX && (len = page_set_run(s, at, end, PAGE_SET_CHUNK, &first)); at = first + len)
		n++;
	return n;
}

static enum form
form_of(const struct page_set *s, uint32_t chunk, unsigned *runs)
{
	*runs = 0;
	if (s->in_chunk[chunk] == PAGE_SET_CHUNK)
		return FORM_FULL;
	*runs = count_runs(s, chunk);
	return *runs < RUNS_MAX ? FORM_RUNS : FORM_BITS;
}

static size_t
saved_size(const struct page_set *s, uint32_t chunk)
{
	unsigned runs;
	enum form form = form_of(s, chunk, &runs);

	return HEAD_BYTES + (form == FORM_BITS ? (size_t)CHUNK_BYTES : (size_t)runs * RUN_BYTES);
}

/* How many chunks are saved, and in *end the first that is not looked at. */
static uint32_t
count_chunks(const struct page_set *s, uint32_t *end)
{
	size_t room = PAGE_SET_STATE_MAX;
	uint32_t n = 0;

	for (*end = 0; *end < s->chunks; ++*end) {
		size_t need = s->in_chunk[*end] ? saved_size(s, *end) : 0;

		if (need > room)
			break;
		room -= need;
		n += need != 0;
	}
	return n;
}

static void
save_runs(struct page_set *s, struct snap *snap, uint32_t chunk, unsigned runs)
{
	uint64_t base = (uint64_t)chunk * PAGE_SET_CHUNK, at = base, end = chunk_end(s, chunk), first, len;
	uint16_t n = (uint16_t)runs;

	snap_u16(snap, "runs", &n, RUNS_MAX);
	for (; (len = page_set_run(s, at, end, PAGE_SET_CHUNK, &first)); at = first + len) {
		uint16_t from = (uint16_t)(first - base), less = (uint16_t)(len - 1);

		snap_u16(snap, "first", &from, PAGE_SET_CHUNK - 1);
		snap_u16(snap, "pages", &less, PAGE_SET_CHUNK - 1);
	}
}

static void
save_chunk(struct page_set *s, struct snap *snap, uint32_t chunk)
{
	unsigned runs;
	uint8_t form = (uint8_t)form_of(s, chunk, &runs);

	snap_u32(snap, "chunk", &chunk, UINT32_MAX);
	snap_u8(snap, "form", &form, FORMS - 1);
	if (form == FORM_RUNS)
		save_runs(s, snap, chunk, runs);
	else if (form == FORM_BITS)
		snap_bytes(snap, "bits", s->bits + (size_t)chunk * CHUNK_WORDS, CHUNK_BYTES);
}

static void
take_run(struct saving *v, uint64_t first, uint64_t n)
{
	snap_check(v->snap, first < v->s->limit && n <= v->s->limit - first && v->ok(v->ctx, first, n),
	    "pages", "are no memory that can be given back");
	if (!v->snap->rc)
		snap_check(v->snap, page_set_add(v->s, first, n) == n, "pages", "come twice");
}

static void
take_bits(struct saving *v, uint64_t base)
{
	uint64_t bits[CHUNK_WORDS];

	snap_bytes(v->snap, "bits", bits, sizeof(bits));
	for (unsigned i = 0; i < CHUNK_WORDS && !v->snap->rc; i++)
		for (uint64_t word = bits[i]; word != 0 && !v->snap->rc;) {
			unsigned lo = (unsigned)__builtin_ctzll(word);
			uint64_t rest = ~(word >> lo);
			unsigned n = rest ? (unsigned)__builtin_ctzll(rest) : WORD;

			take_run(v, base + (uint64_t)i * WORD + lo, n);
			word &= ~bits_of(lo, lo + n);
		}
}

static void
restore_chunk(struct saving *v)
{
	uint32_t chunk = 0;
	uint16_t n = 0;
	uint8_t form = 0;
	uint64_t base;

	snap_u32(v->snap, "chunk", &chunk, v->s->chunks - 1);
	snap_u8(v->snap, "form", &form, FORMS - 1);
	base = (uint64_t)chunk * PAGE_SET_CHUNK;
	if (form == FORM_FULL && !v->snap->rc)
		take_run(v, base, PAGE_SET_CHUNK);
	if (form == FORM_BITS)
		take_bits(v, base);
	if (form == FORM_RUNS)
		snap_u16(v->snap, "runs", &n, RUNS_MAX);
	while (n-- && !v->snap->rc) {
		uint16_t first = 0, less = 0;

		snap_u16(v->snap, "first", &first, PAGE_SET_CHUNK - 1);
		snap_u16(v->snap, "pages", &less, PAGE_SET_CHUNK - 1);
		if (!v->snap->rc)
			take_run(v, base + first, (uint64_t)less + 1);
	}
}

void
page_set_snap(
    struct page_set *s, struct snap *snap, bool (*ok)(void *ctx, uint64_t first, uint64_t n), void *ctx)
{
	struct saving v = { s, snap, ok, ctx };
	uint32_t end = 0, n = snap->saving ? count_chunks(s, &end) : 0;

	snap_u32(snap, "chunks", &n, s->chunks);
	for (uint32_t i = 0; snap->saving && i < end; i++)
		if (s->in_chunk[i])
			save_chunk(s, snap, i);
	while (!snap->saving && !snap->rc && n--)
		restore_chunk(&v);
}
