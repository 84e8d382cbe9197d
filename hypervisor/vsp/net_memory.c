/*
 * hypervisor/vsp/net_memory.c - guest memory of the network adapter: what a message consists of, piece by
 * piece, and the buffers that the guest lends.
 *
 * Any thread, on pieces of its own. Every piece is RAM when it is added, and RAM stays RAM.
 */
#include <errno.h>
#include <string.h>

#include "hypervisor/vsp/net_private.h"

int
pieces_add(struct net_pieces *ps, const struct gmem *mem, uint64_t gpa, uint32_t len)
{
	struct net_piece *last = ps->n ? &ps->piece[ps->n - 1] : NULL;

	if (!len)
		return 0;
	if (!gmem_span(mem, gpa, len))
		return -EFAULT;
	if (!within(ps->bytes, len, UINT32_MAX / 2))
		return -E2BIG;
	if (last && last->gpa + last->len == gpa && gmem_span(mem, last->gpa, (size_t)last->len + len)) {
		last->len += len;
	} else {
		if (ps->n == NET_PIECES)
			return -E2BIG;
		ps->piece[ps->n++] = (struct net_piece){ gpa, len };
	}
	ps->bytes += len;
	return 0;
}

int
pieces_add_buffer(
    struct net_pieces *ps, const struct gmem *mem, const struct net_buffer *b, uint32_t at, uint32_t len)
{
	uint64_t from = (uint64_t)b->offset + at;

	if (!b->pfn || !within(at, len, b->len))
		return -EFAULT;
	while (len) {
		uint32_t in = (uint32_t)(from % GMEM_PAGE), n = GMEM_PAGE - in < len ? GMEM_PAGE - in : len;
		uint64_t pfn = b->pfn[from / GMEM_PAGE];
		int rc = pfn > UINT64_MAX / GMEM_PAGE - 1 ? -EFAULT
							  : pieces_add(ps, mem, pfn * GMEM_PAGE + in, n);

		if (rc < 0)
			return rc;
		from += n;
		len -= n;
	}
	return 0;
}

/* The piece that has byte `at`, and how far into it; NULL when it is behind the last. */
static const struct net_piece *
find(const struct net_pieces *ps, uint32_t at, uint32_t *in)
{
	for (unsigned i = 0; i < ps->n; i++) {
		if (at < ps->piece[i].len) {
			*in = at;
			return &ps->piece[i];
		}
		at -= ps->piece[i].len;
	}
	return NULL;
}

/* Goes through the memory of at..at+len-1, stretch by stretch. */
struct walk {
	const struct gmem *mem;
	const struct net_piece *piece;
	uint32_t in, left;
};

static bool
walk_begin(struct walk *w, const struct net_pieces *ps, const struct gmem *mem, uint32_t at, uint32_t len)
{
	*w = (struct walk){ .mem = mem, .left = len };
	if (!within(at, len, ps->bytes))
		return false;
	w->piece = len ? find(ps, at, &w->in) : NULL;
	return !len || w->piece;
}

/* The next stretch; NULL at the end. */
static uint8_t *
walk_next(struct walk *w, uint32_t *n, uint64_t *gpa)
{
	uint32_t there;

	if (!w->left)
		return NULL;
	there = w->piece->len - w->in;
	*n = there < w->left ? there : w->left;
	*gpa = w->piece->gpa + w->in;
	w->left -= *n;
	w->in = 0;
	w->piece++;
	return gmem_span(w->mem, *gpa, *n);
}

bool
pieces_read(const struct net_pieces *ps, const struct gmem *mem, uint32_t at, void *buf, uint32_t len)
{
	uint8_t *to = buf, *p;
	struct walk w;
	uint64_t gpa;
	uint32_t n;

	if (!walk_begin(&w, ps, mem, at, len))
		return false;
	while ((p = walk_next(&w, &n, &gpa)) != NULL) {
		memcpy(to, p, n);
		to += n;
	}
	return w.left == 0;
}

unsigned
pieces_iov(const struct net_pieces *ps, const struct gmem *mem, uint32_t at, uint32_t len, struct iovec *iov,
    unsigned cap)
{
	struct walk w;
	unsigned i = 0;
	uint64_t gpa;
	uint32_t n;
	uint8_t *p;

	if (!walk_begin(&w, ps, mem, at, len))
		return 0;
	while ((p = walk_next(&w, &n, &gpa)) != NULL) {
		if (i == cap)
			return 0;
		iov[i++] = (struct iovec){ p, n };
	}
	return w.left == 0 ? i : 0;
}

/* --- of a buffer, without pieces --- */

/* Of bytes at..at+len-1 those that lie in the first's page: *n of them, at *gpa. NULL: there is no such
 * memory. */
static uint8_t *
in_page(
    const struct net_buffer *b, const struct gmem *mem, uint32_t at, uint32_t len, uint32_t *n, uint64_t *gpa)
{
	uint64_t from = (uint64_t)b->offset + at, pfn = b->pfn[from / GMEM_PAGE];
	uint32_t in = (uint32_t)(from % GMEM_PAGE);

	*n = len < GMEM_PAGE - in ? len : GMEM_PAGE - in;
	*gpa = pfn * GMEM_PAGE + in;
	return pfn > UINT64_MAX / GMEM_PAGE - 1 ? NULL : gmem_span(mem, *gpa, *n);
}

unsigned
buffer_iov(const struct net_buffer *b, const struct gmem *mem, uint32_t at, uint32_t len, struct iovec *iov,
    unsigned cap)
{
	unsigned i = 0;
	uint64_t gpa;

	if (!b->pfn || !within(at, len, b->len))
		return 0;
	for (uint32_t n; len; at += n, len -= n) {
		uint8_t *p = in_page(b, mem, at, len, &n, &gpa);

		if (!p || i == cap)
			return 0;
		iov[i++] = (struct iovec){ p, n };
	}
	return i;
}

bool
buffer_write(const struct net_buffer *b, struct gmem *mem, uint32_t at, const void *buf, uint32_t len)
{
	const uint8_t *bytes = buf;
	uint64_t gpa;

	if (!b->pfn || !within(at, len, b->len))
		return false;
	for (uint32_t n; len; at += n, len -= n, bytes += n) {
		uint8_t *p = in_page(b, mem, at, len, &n, &gpa);

		if (!p)
			return false;
		memcpy(p, bytes, n);
	}
	return true;
}

void
buffer_dirty(const struct net_buffer *b, struct gmem *mem, uint32_t at, uint32_t len)
{
	uint64_t gpa;

	if (!gmem_tracked(mem) || !b->pfn || !within(at, len, b->len))
		return;
	for (uint32_t n; len; at += n, len -= n)
		if (in_page(b, mem, at, len, &n, &gpa))
			gmem_dirty(mem, gpa, n);
}

/* --- the Internet checksum (RFC 1071): a sum of 16-bit words, in the machine's own order --- */

uint16_t
sum_fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)(sum + (sum >> 16));
}

uint32_t
bytes_sum(uint32_t sum, const void *p, size_t n)
{
	const uint8_t *b = p;
	uint64_t total = sum;
	uint16_t last = 0;
	uint32_t word;

	for (; n >= sizeof(word); n -= sizeof(word), b += sizeof(word)) {
		memcpy(&word, b, sizeof(word));
		total += word;
	}
	while (n) {
		size_t now = n < sizeof(last) ? n : sizeof(last);

		last = 0;
		memcpy(&last, b, now);
		total += last;
		b += now;
		n -= now;
	}
	total = (total & UINT32_MAX) + (total >> 32);
	total = (total & UINT32_MAX) + (total >> 32);
	return sum_fold((uint32_t)total);
}
