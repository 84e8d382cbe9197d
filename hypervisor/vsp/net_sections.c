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
mark(struct net_queue *q, uint16_t i)
{
	q->used[i / 64] |= 1ull << i % 64;
	q->free_sections--;
}

void
sections_release(struct net_queue *q, uint16_t section)
{
	q->used[section / 64] &= ~(1ull << section % 64);
	q->free_sections++;
	q->starved = false;
	if (section < q->look_from)
		q->look_from = section;
}

/* The lowest that is free: those that were in use last are in the processor's cache. */
bool
sections_take(struct net_queue *q, uint32_t keep, uint16_t *section)
{
	uint32_t end = q->first_section + q->sections, at = q->look_from;

	if (q->free_sections <= keep)
		return false;
	while (at < end) {
		uint64_t is_free = ~q->used[at / 64] & UINT64_MAX << at % 64;

		if (is_free) {
			at = at / 64 * 64 + (uint32_t)__builtin_ctzll(is_free);
			break;
		}
		at = (at / 64 + 1) * 64;
	}
	if (at >= end)
		return false;
	*section = (uint16_t)at;
	mark(q, *section);
	q->look_from = at + 1;
	return true;
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
batch_add(struct net_queue *q, struct batch *b, uint16_t section)
{
	q->chain[section] = b->first;
	b->first = section;
	b->n++;
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
batch_claim(struct net_queue *q, struct batch *b, uint16_t section)
{
	if (b->n == RANGES || section < q->first_section || section - q->first_section >= q->sections ||
	    is_used(q, section))
		return false;
	mark(q, section);
	batch_add(q, b, section);
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
	for (uint16_t section = b->first; b->n; b->n--) {
		sections_release(q, section);
		section = q->chain[section];
	}
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

int
receive_control(struct net_queue *q, const struct control *c, bool *signal)
{
	struct pages pages = { .n = 0 };
	struct gmem *mem = queue_memory(q);
	struct batch *b;
	uint64_t transaction;
	uint16_t section;
	uint32_t at;
	int rc;

	if (!q->receive.pfn)
		return 0; /* nobody can be told */
	b = batch_new(q, &transaction);
	if (!b)
		return -ENOBUFS;
	if (!sections_take(q, 0, &section)) {
		batch_free(q, b);
		return -ENOBUFS;
	}
	at = section * q->receive.section;
	buffer_write(&q->receive, mem, at, c->bytes, c->len);
	buffer_dirty(&q->receive, mem, at, c->len);
	pages_add(q, &pages, section, c->len);
	rc = pages_send(q, &pages, 1, transaction, signal);
	if (rc < 0) {
		sections_release(q, section);
		batch_free(q, b);
		return rc;
	}
	batch_add(q, b, section);
	return 0;
}
