/*
 * hypervisor/vsp/net_sections.c - sections of the guest's receive buffer: which are free, which the guest
 * holds, and the packets that tell it of them.
 *
 * I/O thread. A section is the guest's from such a packet until it has completed that.
 */
#include <errno.h>
#include <string.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/net_private.h"

/* --- sections --- */

static bool
is_used(const struct net_queue *q, uint32_t i)
{
	return q->used[i / 64] >> i % 64 & 1;
}

static void
mark(struct net_queue *q, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++)
		q->used[i / 64] |= 1ull << i % 64;
	q->free_sections -= count;
}

void
sections_release(struct net_queue *q, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++)
		q->used[i / 64] &= ~(1ull << i % 64);
	q->free_sections += count;
	q->starved = false;
}

/* So many in a row, from where the last were found, once around. */
bool
sections_take(struct net_queue *q, uint32_t count, uint32_t keep, uint16_t *first)
{
	uint32_t row = 0, at = q->next_section;

	if (q->free_sections < count + keep || count > q->sections)
		return false;
	for (uint32_t n = 0; n < q->sections + count; n++, at++) {
		if (at == q->sections)
			at = row = 0;
		row = is_used(q, q->first_section + at) ? 0 : row + 1;
		if (row < count)
			continue;
		*first = (uint16_t)(q->first_section + at + 1 - count);
		q->next_section = (at + 1) % q->sections;
		mark(q, *first, count);
		return true;
	}
	return false;
}

uint32_t
sections_for(const struct net_queue *q, uint32_t bytes)
{
	return (bytes + q->receive.section - 1) / q->receive.section;
}

/* --- batches --- */

struct batch *
batch_new(struct net_queue *q, uint64_t *transaction)
{
	uint32_t i;

	if (q->spare_batch) {
		i = q->spare_batch - 1u;
		q->spare_batch = q->batches[i].next;
	} else if (q->batches_made < BATCHES) {
		i = q->batches_made++;
	} else {
		return NULL;
	}
	*transaction = (uint64_t)q->generation << 32 | (i + 1);
	q->batches[i].n = 0;
	return &q->batches[i];
}

void
batch_free(struct net_queue *q, struct batch *b)
{
	b->n = 0;
	b->next = q->spare_batch;
	q->spare_batch = (uint16_t)(b - q->batches + 1);
}

struct batch *
batch_at(struct net_queue *q, uint32_t number)
{
	if (!q->ch || !number || number > BATCHES)
		return NULL;
	while (q->batches_made < number) {
		struct batch *b = &q->batches[q->batches_made++];

		batch_free(q, b);
	}
	for (uint16_t *p = &q->spare_batch; *p; p = &q->batches[*p - 1].next)
		if (*p == number) {
			*p = q->batches[number - 1].next;
			return &q->batches[number - 1];
		}
	return NULL;
}

bool
batch_claim(struct net_queue *q, struct batch *b, uint32_t first, uint32_t count)
{
	if (b->n == BATCH || !count || first < q->first_section ||
	    !within(first - q->first_section, count, q->sections))
		return false;
	for (uint32_t i = 0; i < count; i++)
		if (is_used(q, first + i))
			return false;
	mark(q, first, count);
	b->run[b->n++] = (struct run){ (uint16_t)first, (uint16_t)count };
	return true;
}

void
receive_completed(struct net_queue *q, uint64_t transaction)
{
	uint32_t number = (uint32_t)transaction;
	struct batch *b;

	if (!q->receive.pfn || transaction >> 32 != q->generation || !number || number > q->batches_made ||
	    !q->batches[number - 1].n) {
		net_mistake(q->n, MISTAKE_COMPLETION);
		return;
	}
	b = &q->batches[number - 1];
	for (unsigned i = 0; i < b->n; i++)
		sections_release(q, b->run[i].first, b->run[i].count);
	batch_free(q, b);
}

void
pages_add(const struct net_queue *q, struct pages *p, uint32_t section, uint32_t len)
{
	uint8_t *to = p->bytes + 8 + 8 * p->n++;

	put_le32(to, len);
	put_le32(to + 4, section * q->receive.section);
}

int
pages_send(struct net_queue *q, struct pages *p, uint32_t channel, uint64_t transaction, bool *signal)
{
	uint8_t message[NVSP_MESSAGE] = { 107 };

	put_le32(message + 4, channel);
	put_le32(message + 8, UINT32_MAX);
	memset(p->bytes, 0, 8);
	put_le16(p->bytes, q->receive.id);
	put_le32(p->bytes + 4, p->n);
	return ring_write_pages(&q->ch->rings.out, PACKET_WANTS_REPLY, transaction, p->bytes,
	    8 + 8 * (size_t)p->n, message, sizeof(message), signal);
}

/* --- control messages --- */

static bool
section_write(struct net_queue *q, uint32_t section, const void *bytes, uint32_t len)
{
	struct net_pieces *ps = &q->pieces;

	ps->n = ps->bytes = 0;
	return pieces_add_buffer(ps, queue_memory(q), &q->receive, section * q->receive.section, len) == 0 &&
	       pieces_write(ps, queue_memory(q), 0, bytes, len);
}

int
receive_control(struct net_queue *q, const struct control *c, bool *signal)
{
	struct pages pages = { .n = 0 };
	struct batch *b;
	uint64_t transaction;
	uint16_t first;
	uint32_t count;
	int rc;

	if (!q->receive.pfn)
		return 0; /* nobody can be told */
	count = sections_for(q, c->len);
	b = batch_new(q, &transaction);
	if (!b)
		return -ENOBUFS;
	if (!sections_take(q, count, 0, &first)) {
		batch_free(q, b);
		return -ENOBUFS;
	}
	section_write(q, first, c->bytes, c->len);
	pages_add(q, &pages, first, c->len);
	rc = pages_send(q, &pages, 1, transaction, signal);
	if (rc < 0) {
		sections_release(q, first, count);
		batch_free(q, b);
		return rc;
	}
	b->run[b->n++] = (struct run){ first, (uint16_t)count };
	return 0;
}
