/*
 * hypervisor/vsp/net_parts.c - the memory that a frame is read into: parts, each in a section of the guest's
 * receive buffer, behind room for its head. Most frames have one. A guest that takes long ones wants no part
 * longer than a section, so a read has sections for the longest that may come, and keeps those that a short
 * one has left over.
 *
 * I/O thread, but for parts_of_long_ones.
 */
#include <string.h>

#include "hypervisor/vsp/net_private.h"

enum {
	KEEPS_APART = 3, /* long frames that a queue must have room for */
	LONGEST = FRAME_MAX + VLAN,
};

_Static_assert(PARTS <= RANGES, "a frame is told in one packet");

unsigned
parts_of_long_ones(const struct net_buffer *b, uint32_t sections)
{
	uint32_t part = b->section - RECEIVE_AT - RECEIVE_END, parts = (LONGEST + part - 1) / part;

	return b->pfn && b->section % LONG_SECTION == 0 && sections / KEEPS_APART >= parts ? parts : 0;
}

/* Where sections are whole pages, every part begins in the first of its own. */
unsigned
parts_pieces(const struct net_buffer *b)
{
	uint32_t part = b->section - RECEIVE_AT - RECEIVE_END;

	if (b->offset % GMEM_PAGE == 0 && b->section % GMEM_PAGE == 0)
		return b->section / GMEM_PAGE;
	return (part + GMEM_PAGE - 2) / GMEM_PAGE + 1;
}

/* --- sections --- */

/* The iovecs of part k: as many for each, whether it needs them or not, so that one part can be replaced. */
static bool
set_part(struct receive *r, unsigned k)
{
	struct net_queue *q = r->q;
	struct iovec *iov = r->iov + 1 + k * q->part_pieces;
	unsigned n = buffer_iov(&q->receive, queue_memory(q), r->section[k] * q->receive.section + RECEIVE_AT,
	    q->part, iov, q->part_pieces);

	if (!n)
		return false;
	for (; n < q->part_pieces; n++)
		iov[n] = (struct iovec){ NULL, 0 };
	return true;
}

/* A section where there is no memory is never released: the guest has lent nothing there. */
static bool
take_part(struct receive *r, unsigned k)
{
	struct net_queue *q = r->q;
	uint32_t keep = q->index || q->sections <= 2 * KEPT_SECTIONS ? 0 : KEPT_SECTIONS;

	do
		if (!sections_take(q, keep, &r->section[k]))
			return false;
	while (!set_part(r, k));
	return true;
}

static void
release_behind(struct receive *r, unsigned want)
{
	while (r->parts > want && r->parts > r->gone)
		sections_release(r->q, r->section[--r->parts]);
	if (r->parts == r->gone)
		r->parts = r->gone = 0;
}

static void
forget_old_buffer(struct receive *r)
{
	if (r->generation != r->q->generation)
		r->parts = r->gone = 0;
	r->generation = r->q->generation;
}

bool
parts_fill(struct receive *r, unsigned want)
{
	forget_old_buffer(r);
	release_behind(r, want);
	for (; r->gone; r->gone--)
		if (!take_part(r, r->gone - 1u))
			return false;
	for (; r->parts < want; r->parts++)
		if (!take_part(r, r->parts))
			return false;
	return true;
}

void
parts_reclaim(struct net_queue *q)
{
	for (struct receive *r = q->spare_receive; r; r = r->next) {
		forget_old_buffer(r);
		release_behind(r, 0);
	}
}

/* --- a frame --- */

void
frame_is(struct receive *r, uint32_t len)
{
	r->len = len;
	r->used = (uint16_t)((len + r->q->part - 1) / r->q->part);
}

/* Goes through its memory, stretch by stretch. */
struct walk {
	const struct iovec *iov;
	size_t in;
	uint32_t left;
};

static bool
walk_begin(struct walk *w, const struct receive *r, uint32_t at, uint32_t len)
{
	*w = (struct walk){ r->iov + 1, at, len };
	if (!within(at, len, r->len))
		return false;
	while (w->in >= w->iov->iov_len && len)
		w->in -= w->iov++->iov_len;
	return true;
}

/* NULL at the end. */
static uint8_t *
walk_next(struct walk *w, uint32_t *n)
{
	uint8_t *p;

	if (!w->left)
		return NULL;
	while (w->in == w->iov->iov_len) {
		w->iov++;
		w->in = 0;
	}
	p = (uint8_t *)w->iov->iov_base + w->in;
	*n = w->iov->iov_len - w->in < w->left ? (uint32_t)(w->iov->iov_len - w->in) : w->left;
	w->in += *n;
	w->left -= *n;
	return p;
}

bool
frame_read(const struct receive *r, uint32_t at, void *buf, uint32_t len)
{
	uint8_t *to = buf;
	struct walk w;
	uint32_t n;

	if (!walk_begin(&w, r, at, len))
		return false;
	for (const uint8_t *p; (p = walk_next(&w, &n)) != NULL; to += n)
		memcpy(to, p, n);
	return true;
}

bool
frame_write(struct receive *r, uint32_t at, const void *buf, uint32_t len)
{
	const uint8_t *from = buf;
	struct walk w;
	uint32_t n;

	if (!walk_begin(&w, r, at, len))
		return false;
	for (uint8_t *p; (p = walk_next(&w, &n)) != NULL; from += n)
		memcpy(p, from, n);
	return true;
}

uint16_t
frame_sum(const struct receive *r, uint32_t at, uint32_t len)
{
	uint32_t sum = 0, n, done = 0;
	struct walk w;

	if (!walk_begin(&w, r, at, len))
		return 0;
	for (const uint8_t *p; (p = walk_next(&w, &n)) != NULL; done += n) {
		uint32_t part = bytes_sum(0, p, n);

		if (done & 1) /* its first byte is the second of a word */
			part = (part >> 8 | part << 8) & 0xffff;
		sum += part;
	}
	return sum_fold(sum);
}

void
frame_copy(struct receive *to, const struct receive *from)
{
	uint32_t at = 0, n;
	struct walk w;

	frame_is(to, from->len);
	walk_begin(&w, from, 0, from->len);
	for (const uint8_t *p; (p = walk_next(&w, &n)) != NULL; at += n)
		frame_write(to, at, p, n);
}

void
part_head(struct receive *r, unsigned k, const void *head, uint32_t len)
{
	struct net_queue *q = r->q;

	buffer_write(&q->receive, queue_memory(q), r->section[k] * q->receive.section, head, len);
}

void
frame_dirty(const struct receive *r)
{
	struct net_queue *q = r->q;

	for (unsigned k = 0; k < r->used; k++)
		buffer_dirty(&q->receive, queue_memory(q), r->section[k] * q->receive.section,
		    RECEIVE_AT + part_bytes(r, k));
}
