/*
 * hypervisor/vsp/net_receive.c - frames of the tap, to the guest: read straight into sections of its receive
 * buffer, given their heads, and told, many in one packet.
 *
 * A section is the guest's from then until it has completed that packet. When none is free the tap is not
 * read: the kernel keeps a few hundred frames, and drops what comes after them. I/O thread.
 */
#include <errno.h>
#include <string.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/net_private.h"
#include "lib/log.h"

enum { FEW_READS = 4 };

/* --- reads --- */

static struct receive *
receive_new(struct net_queue *q)
{
	struct receive *r = q->spare_receive;

	if (r) {
		q->spare_receive = r->next;
	} else if (q->receives_made < READS) {
		r = &q->receives[q->receives_made++];
		r->q = q;
		r->gone = r->parts = 0;
		r->generation = q->generation;
	}
	return r;
}

static void
receive_free(struct receive *r)
{
	if (r->parts > r->gone)
		r->q->starved = false; /* another read may have them */
	r->next = r->q->spare_receive;
	r->q->spare_receive = r;
}

/* Memory for so many parts, if need be that of other reads that are not under way. */
static bool
find_room(struct receive *r, unsigned parts)
{
	if (parts_fill(r, parts))
		return true;
	parts_reclaim(r->q);
	return parts_fill(r, parts);
}

/* --- receive scaling --- */

/* The tap has chosen the queue by where the flow was seen last; the guest's table may lead to another. It is
 * followed within a thread: between two there would have to be locks, and an adapter that was there when its
 * machine was made has one for each queue. */
static struct net_queue *
queue_for(struct net_queue *q, uint32_t hash)
{
	struct net *n = q->n;
	struct net_queue *to = &n->queue[rss_channel(&q->rss, hash, n->queues, q->index)];

	if (to->loop != q->loop || !to->ch || to->closing || to->broken || !to->receive.pfn)
		return q;
	return to;
}

/* The frame, in sections of another queue; without room there it stays where it is. */
static struct receive *
move_to(struct net_queue *to, struct receive *r)
{
	struct receive *moved = receive_new(to);

	if (!moved)
		return r;
	if (!find_room(moved, r->used)) {
		receive_free(moved);
		return r;
	}
	frame_copy(moved, r);
	receive_free(r);
	return moved;
}

/* What is to be told of the frame; NULL: it is not for the guest. */
static struct receive *
deliver(struct receive *r)
{
	struct net_queue *q = r->q;
	struct told told = { 0 };
	uint8_t head[LOOK_AT];
	uint32_t have = r->len < LOOK_AT ? r->len : LOOK_AT;

	if (!frame_read(r, 0, head, have) || !frame_checksums(r, head, have, &told.checksums)) {
		net_count(q, TAKEN_ERRORS, 1);
		receive_free(r);
		return NULL;
	}
	if (!frame_wanted(q->n, head)) {
		net_count(q, TAKEN_FILTERED, 1);
		receive_free(r);
		return NULL;
	}
	told.hashed = rss_hash(&q->rss, head, have, &told.hash);
	if (told.hashed && queue_for(q, told.hash) != q)
		r = move_to(queue_for(q, told.hash), r);
	if (!frame_heads(r, head, have, &told)) {
		receive_free(r);
		return NULL;
	}
	frame_dirty(r);
	frame_count(r->q, head, r->len);
	return r;
}

static bool
is_frame(struct receive *r, int res)
{
	struct net_queue *q = r->q;

	if (res == -EAGAIN) {
		q->tap_ready = false;
		if (q->got_all)
			q->expected = q->got_all;
		q->got_all = 0;
		return false;
	}
	if (res < 0) {
		q->tap_ready = false; /* until it is poked again, if that will be */
		log_once(&q->tap_told, LOG_WARN, "%s: queue %u: its tap cannot be read: %s", q->n->name,
		    q->index, strerror(-res));
	} else {
		q->got++;
		q->got_all++;
	}
	if (res < VNET + ETHERNET || (uint32_t)res > VNET + r->parts * q->part) {
		net_count(q, TAKEN_ERRORS, 1);
		return false;
	}
	return true;
}

static void
keep_ready(struct receive *r)
{
	struct net_queue *q = r->q;

	r->next = NULL;
	*q->ready_last = r;
	q->ready_last = &r->next;
}

static void
was_read(struct io_op *op, int res)
{
	struct receive *r = (struct receive *)op;
	struct net_queue *q = r->q;

	q->reads--;
	if (q->closing || q->broken || r->generation != q->generation || !is_frame(r, res)) {
		receive_free(r);
	} else {
		frame_is(r, (uint32_t)res - VNET);
		r = deliver(r);
		if (r)
			keep_ready(r);
	}
	queue_ended(q);
}

/* Sections that a read has. The tap is told to give long frames when there is room for them (net_tap.c). */
static unsigned
parts_to_read(const struct net_queue *q)
{
	bool long_ones = atomic_load_explicit(&q->n->coalesce, memory_order_relaxed);

	return long_ones && q->long_parts ? q->long_parts : 1;
}

/* False: nothing more can be read now. */
static bool
read_one(struct net_queue *q, unsigned parts)
{
	struct receive *r = receive_new(q);

	if (!r)
		return false;
	if (!find_room(r, parts)) {
		receive_free(r);
		if (!q->starved)
			net_count(q, TAKEN_NO_ROOM, 1);
		q->starved = true;
		return false;
	}
	r->iov[0] = (struct iovec){ &r->vnet, VNET };
	r->op.done = was_read;
	q->reads++;
	io_loop_read_now(q->loop, &r->op, q->tap.slot, r->iov, parts_iovs(r));
	return true;
}

static bool
may_read(const struct net_queue *q)
{
	if (!q->index && q->n->job.kind != JOB_NONE)
		return false; /* the answer comes first */
	return q->tap_ready && !q->reads && !q->ready && !q->starved && q->receive.pfn &&
	       atomic_load_explicit(&q->n->ready, memory_order_relaxed) &&
	       atomic_load_explicit(&q->n->link, memory_order_relaxed);
}

/* A guest that asks and waits for the answer gets one frame at a time: one read brings it, another finds
 * nothing, and more would be for nothing. Else as many as brought something the last time, and a few; they
 * hold half of the sections at most. */
static unsigned
reads_to_begin(const struct net_queue *q, unsigned parts)
{
	unsigned depth = q->got * 2 > FEW_READS ? q->got * 2 : FEW_READS, most = q->sections / 2 / parts;

	if (q->expected <= 1 && q->got_all <= 1)
		depth = 2;
	depth = depth < READS ? depth : READS;
	return depth < most ? depth : most > 1 ? most : 1;
}

/* Once a round. All reads are answered in the system call that takes them; the first that finds nothing ends
 * it until the tap has something again. */
void
receive_pump(struct net_queue *q)
{
	unsigned depth, parts;

	if (!may_read(q))
		return;
	parts = parts_to_read(q);
	depth = reads_to_begin(q, parts);
	q->got = 0;
	for (unsigned i = 0; i < depth && read_one(q, parts); i++)
		;
}

/* --- to the guest --- */

/* The next frame's parts are in the packet now, and the guest's when it is sent. */
static void
add_frame(struct net_queue *q, struct pages *pages, const struct receive *r)
{
	for (unsigned k = 0; k < r->used; k++)
		pages_add(q, pages, r->section[k], RECEIVE_AT + part_bytes(r, k));
}

static void
give_away(struct net_queue *q, struct batch *b, struct receive *r)
{
	for (unsigned k = 0; k < r->used; k++)
		batch_add(q, b, r->section[k]);
	r->gone = r->used;
	receive_free(r);
}

static int
flush_batch(struct net_queue *q, bool *signal)
{
	unsigned most = atomic_load_explicit(&q->n->coalesce, memory_order_relaxed) ? RANGES : BATCH;
	struct pages pages = { .n = 0 };
	struct receive *r = q->ready, *next;
	uint64_t transaction;
	struct batch *b = batch_new(q, &transaction);
	int rc;

	if (!b)
		return -EAGAIN; /* until the guest completes one */
	do {
		add_frame(q, &pages, r);
		r = r->next;
	} while (r && pages.n + r->used <= most);
	rc = pages_send(q, &pages, 0, transaction, signal);
	if (rc < 0) {
		batch_free(q, b);
		return rc;
	}
	for (struct receive *sent = q->ready; sent != r; sent = next) {
		next = sent->next;
		give_away(q, b, sent);
	}
	q->ready = r;
	if (!r)
		q->ready_last = &q->ready;
	return 0;
}

int
receive_flush(struct net_queue *q, bool *signal)
{
	int rc = 0;

	while (rc == 0 && q->ready)
		rc = flush_batch(q, signal);
	return rc;
}

/* --- changes --- */

/* Frames that the guest has not been told of are lost, as on a wire. */
void
receive_drop(struct net_queue *q)
{
	struct receive *r = q->ready;

	q->ready = NULL;
	q->ready_last = &q->ready;
	for (struct receive *next; r; r = next) {
		next = r->next;
		receive_free(r);
	}
}

void
receive_buffer(struct net_queue *q, const struct net_buffer *b)
{
	unsigned shares;

	q->receive = *b;
	q->sections = q->free_sections = q->first_section = q->look_from = q->long_parts = 0;
	q->generation++;
	if (!q->ch)
		return; /* once more when it is opened */
	receive_drop(q);
	memset(q->used, 0, SECTIONS / 8);
	q->spare_batch = 0;
	q->batches_made = 0;
	q->starved = false;
	if (!b->pfn)
		return;
	shares = nvsp_shares(q->n, b->sections);
	if (q->index >= shares)
		return;
	q->sections = q->free_sections = b->sections / shares;
	q->first_section = q->look_from = q->index * q->sections;
	q->part = b->section - RECEIVE_AT - RECEIVE_END;
	q->part_pieces = parts_pieces(b);
	q->long_parts = parts_of_long_ones(b, q->sections);
}

static void
tap_has_something(void *ctx)
{
	struct net_queue *q = ctx;

	q->tap_ready = true;
}

void
receive_init(struct net_queue *q)
{
	q->tap = (struct io_watch){ .fn = tap_has_something, .ctx = q, .slot = -1 };
}

void
receive_start(struct net_queue *q)
{
	if (!q->ch || q->closing || q->broken || q->tap.slot < 0 || !q->tap_own || q->tap_watched)
		return;
	q->tap_watched = q->tap_ready = true;
	io_loop_watch(q->loop, &q->tap);
}

void
receive_stop(struct net_queue *q)
{
	if (q->tap_watched)
		io_loop_unwatch(q->loop, &q->tap);
	q->tap_watched = q->tap_ready = false;
}
