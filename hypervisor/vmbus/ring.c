/*
 * hypervisor/vmbus/ring.c - one pair of ring buffers in guest memory.
 *
 * Indices count bytes of data, in steps of 8. The ring is empty when both are equal, so a writer leaves at
 * least 8 bytes free. Each side owns one index, and a copy of ours is kept here: what the guest makes of the
 * one in its memory does not matter. The other's is read once a call and checked before it is used.
 *
 * Barriers: an index is stored with release after the bytes it speaks of, and loaded with acquire before
 * them. Before looking at what the other side wishes (its mask, the space it waits for) comes a full barrier,
 * since it stores its wish and then looks at our index: one of the two must see the other's store.
 */
#include "hypervisor/vmbus/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/vmbus/wire.h"

enum {
	UNIT = 8, /* everything in a ring is a multiple of it */
	HEAD = sizeof(struct packet_head),
	PACKET_MAX = UINT16_MAX * UNIT, /* head and payload */
};

static struct ring_control *
control(const struct ring *r)
{
	return (struct ring_control *)(void *)r->page[0];
}

static uint32_t
load(const uint32_t *field)
{
	return __atomic_load_n(field, __ATOMIC_ACQUIRE);
}

static void
store(uint32_t *field, uint32_t v)
{
	__atomic_store_n(field, v, __ATOMIC_RELEASE);
}

static void
full_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static void
control_written(const struct ring *r)
{
	gmem_dirty(r->mem, r->pfn[0] * GMEM_PAGE, sizeof(struct ring_control));
}

static bool
is_index(const struct ring *r, uint32_t i)
{
	return i < r->size && i % UNIT == 0;
}

static int
broken(struct ring *r)
{
	r->broken = true;
	return -EPROTO;
}

static uint32_t
space(const struct ring *r, uint32_t write, uint32_t read)
{
	return read > write ? read - write : r->size - (write - read);
}

static uint32_t
advance(const struct ring *r, uint32_t at, uint32_t n)
{
	at += n; /* both below 2^25: a ring has at most 8190 pages */
	return at >= r->size ? at - r->size : at;
}

/* Where the byte at `at` is, and how many follow it in the same page. */
static uint8_t *
place(const struct ring *r, uint32_t at, uint32_t *left)
{
	*left = GMEM_PAGE - at % GMEM_PAGE;
	return r->page[1 + at / GMEM_PAGE] + at % GMEM_PAGE;
}

static void
copy_out(const struct ring *r, uint32_t at, uint8_t *to, uint32_t n)
{
	while (n != 0) {
		uint32_t m;
		const uint8_t *from = place(r, at, &m);

		if (m > n)
			m = n;
		memcpy(to, from, m);
		to += m;
		n -= m;
		at = advance(r, at, m);
	}
}

/* Returns the index behind what was copied. */
static uint32_t
copy_in(const struct ring *r, uint32_t at, const void *data, size_t n)
{
	const uint8_t *from = data;

	while (n != 0) {
		uint32_t m;
		uint8_t *to = place(r, at, &m);

		if (m > n)
			m = (uint32_t)n;
		memcpy(to, from, m);
		from += m;
		n -= m;
		at = advance(r, at, m);
	}
	return at;
}

static void
data_written(const struct ring *r, uint32_t at, uint32_t n)
{
	while (n != 0) {
		uint32_t m = GMEM_PAGE - at % GMEM_PAGE;

		if (m > n)
			m = n;
		gmem_dirty(r->mem, r->pfn[1 + at / GMEM_PAGE] * GMEM_PAGE + at % GMEM_PAGE, m);
		n -= m;
		at = advance(r, at, m);
	}
}

static void
take_indices(struct ring *r, bool in)
{
	const struct ring_control *c = control(r);
	uint32_t write = load(&c->write_index), read = load(&c->read_index);

	r->broken = !is_index(r, write) || !is_index(r, read);
	r->at = r->told = r->broken ? 0 : in ? read : write;
	r->waiting = !in && load(&c->pending_send) != 0;
}

void
ring_pair_sync(struct ring_pair *r)
{
	struct ring_control *c = control(&r->out);

	take_indices(&r->in, true);
	take_indices(&r->out, false);
	store(&c->features, load(&c->features) | RING_FEATURE_PENDING_SEND);
	control_written(&r->out);
}

static void
map_ring(struct ring *r, struct gmem *mem, const struct ring_pair *pair, uint32_t first, uint32_t pages)
{
	*r = (struct ring){ .mem = mem,
		.pfn = pair->pfns + first,
		.page = pair->pages + first,
		.size = (pages - 1) * GMEM_PAGE };
}

int
ring_pair_map(struct ring_pair *r, struct gmem *mem, const uint64_t *pfn, uint32_t pages, uint32_t downstream)
{
	*r = (struct ring_pair){ 0 };
	if (pages > RING_MAX_PAGES || downstream < 2 || downstream >= pages || pages - downstream < 2)
		return -EINVAL;
	r->pfns = malloc(pages * sizeof(*r->pfns));
	r->pages = malloc(pages * sizeof(*r->pages));
	if (r->pfns == NULL || r->pages == NULL) {
		ring_pair_unmap(r);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < pages; i++) {
		r->pfns[i] = pfn[i];
		r->pages[i] = guest_page(mem, pfn[i]);
		if (r->pages[i] == NULL) {
			ring_pair_unmap(r);
			return -EINVAL;
		}
	}
	map_ring(&r->in, mem, r, 0, downstream);
	map_ring(&r->out, mem, r, downstream, pages - downstream);
	ring_pair_sync(r);
	return 0;
}

void
ring_pair_unmap(struct ring_pair *r)
{
	free(r->pfns);
	free(r->pages);
	*r = (struct ring_pair){ .in.broken = true, .out.broken = true };
}

/* 8 bytes, read once. They lie in one page, as does all that begins at a multiple of 8. */
static uint64_t
read_word(const struct ring *r, uint32_t at)
{
	uint32_t left;

	return __atomic_load_n((const uint64_t *)(const void *)place(r, at, &left), __ATOMIC_RELAXED);
}

static struct packet_head
read_head(const struct ring *r, uint32_t at)
{
	uint64_t word[2] = { read_word(r, at), read_word(r, advance(r, at, UNIT)) };
	struct packet_head h;

	memcpy(&h, word, sizeof(h));
	return h;
}

int
ring_read(struct ring *in, struct packet *p, void *buf, size_t cap)
{
	struct packet_head h;
	uint32_t write, filled, n;

	if (in->broken)
		return -EPROTO;
	write = load(&control(in)->write_index);
	if (write == in->at)
		return 0;
	if (!is_index(in, write))
		return broken(in);
	filled = in->size - space(in, write, in->at);
	if (filled < HEAD + PACKET_TRAILER)
		return broken(in);
	h = read_head(in, in->at);
	*p = (struct packet){ h.type, h.flags, h.transaction, h.offset8 * (uint32_t)UNIT,
		h.len8 * (uint32_t)UNIT };
	if (p->offset < HEAD || p->len < p->offset || p->len + PACKET_TRAILER > filled)
		return broken(in);
	n = p->len < cap ? p->len : (uint32_t)cap;
	if (n >= HEAD)
		memcpy(buf, &h, HEAD);
	else
		memcpy(buf, &h, n);
	if (n > HEAD)
		copy_out(in, advance(in, in->at, HEAD), (uint8_t *)buf + HEAD, n - HEAD);
	in->at = advance(in, in->at, p->len + PACKET_TRAILER);
	return p->len > cap ? -EMSGSIZE : 1;
}

bool
ring_read_done(struct ring *in)
{
	uint32_t wanted, write, before, after;
	struct ring_control *c;

	if (in->broken || in->told == in->at)
		return false;
	c = control(in);
	store(&c->read_index, in->at);
	full_barrier();
	control_written(in);
	wanted = load(&c->pending_send);
	if (wanted == 0) {
		in->told = in->at;
		return false;
	}
	write = load(&c->write_index);
	if (!is_index(in, write)) {
		broken(in);
		return false;
	}
	/* Guests differ in whether "enough" includes the size itself; a signal too many does no harm. Nor
	 * does one to a guest that has not set its feature bit. */
	before = space(in, write, in->told);
	after = space(in, write, in->at);
	in->told = in->at;
	return before <= wanted && after >= wanted;
}

void
ring_mask(struct ring *in)
{
	if (in->broken)
		return;
	store(&control(in)->mask, 1);
	control_written(in);
}

bool
ring_idle(struct ring *in)
{
	struct ring_control *c;

	if (in->broken)
		return false;
	c = control(in);
	store(&c->mask, 0);
	full_barrier();
	control_written(in);
	if (load(&c->write_index) == in->at)
		return false;
	store(&c->mask, 1);
	return true;
}

uint32_t
ring_unread(const struct ring *out)
{
	uint32_t read = load(&control(out)->read_index);

	if (out->broken || !is_index(out, read))
		return 0;
	return out->at >= read ? out->at - read : out->size - (read - out->at);
}

static uint8_t *
append(uint8_t *to, const void *from, size_t n)
{
	if (n != 0) /* from may be NULL */
		memcpy(to, from, n);
	return to + n;
}

static void
write_packet(const struct ring *out, const struct packet_head *h, const void *a, size_t alen, const void *b,
    size_t blen)
{
	static const uint8_t zeros[UNIT];
	size_t pad = -(alen + blen) % UNIT;
	uint64_t trailer = (uint64_t)out->at << 32;
	uint32_t left, at = out->at;
	uint8_t *p = place(out, at, &left);

	if (left >= HEAD + alen + blen + pad + PACKET_TRAILER) {
		p = append(p, h, HEAD);
		p = append(append(p, a, alen), b, blen);
		p = append(p, zeros, pad);
		append(p, &trailer, PACKET_TRAILER);
		return;
	}
	at = copy_in(out, at, h, HEAD);
	at = copy_in(out, at, a, alen);
	at = copy_in(out, at, b, blen);
	at = copy_in(out, at, zeros, pad);
	copy_in(out, at, &trailer, PACKET_TRAILER);
}

/* Is there room for `need` bytes? If not the guest is asked to tell, and there is a second look, since it may
 * have read everything before it could see that. 0, -EAGAIN, -EPROTO. */
static int
find_room(struct ring *out, uint32_t need)
{
	struct ring_control *c = control(out);
	uint32_t read = load(&c->read_index);

	if (is_index(out, read) && need < space(out, out->at, read))
		return 0;
	store(&c->pending_send, need);
	out->waiting = true;
	full_barrier();
	control_written(out);
	read = load(&c->read_index);
	if (!is_index(out, read))
		return broken(out);
	return need < space(out, out->at, read) ? 0 : -EAGAIN;
}

/* `more`: bytes of a that belong to the packet's head. */
static int
write_one(struct ring *out, struct packet_head h, size_t more, const void *a, size_t alen, const void *b,
    size_t blen, bool *signal)
{
	uint32_t len, total, before = out->at;
	struct ring_control *c;
	int rc;

	if (out->broken)
		return -EPROTO;
	if (alen > PACKET_MAX || blen > PACKET_MAX || HEAD + alen + blen > PACKET_MAX)
		return -EMSGSIZE;
	len = (uint32_t)(HEAD + alen + blen + UNIT - 1) / UNIT * UNIT;
	total = len + PACKET_TRAILER;
	if (total >= out->size)
		return -EMSGSIZE;
	rc = find_room(out, total);
	if (rc < 0)
		return rc;
	c = control(out);
	h.offset8 = (uint16_t)((HEAD + more) / UNIT);
	h.len8 = (uint16_t)(len / UNIT);
	write_packet(out, &h, a, alen, b, blen);
	if (out->waiting) {
		store(&c->pending_send, 0);
		out->waiting = false;
	}
	out->at = advance(out, before, total);
	store(&c->write_index, out->at);
	full_barrier();
	data_written(out, before, total);
	control_written(out);
	/* It sleeps only over an empty ring, and only then must be woken. */
	if (load(&c->mask) == 0 && load(&c->read_index) == before)
		*signal = true;
	return 0;
}

int
ring_write(struct ring *out, uint16_t type, uint16_t flags, uint64_t transaction, const void *a, size_t alen,
    const void *b, size_t blen, bool *signal)
{
	struct packet_head h = { .type = type, .flags = flags, .transaction = transaction };

	return write_one(out, h, 0, a, alen, b, blen, signal);
}

int
ring_write_pages(struct ring *out, uint16_t flags, uint64_t transaction, const void *pages, size_t pages_len,
    const void *payload, size_t len, bool *signal)
{
	struct packet_head h = { .type = PACKET_XFER_PAGES, .flags = flags, .transaction = transaction };

	if (pages_len % UNIT != 0)
		return -EMSGSIZE;
	return write_one(out, h, pages_len, pages, pages_len, payload, len, signal);
}
