/*
 * hypervisor/vsp/net_channel.c - a queue's channel: the guest's packets in, completions and messages out,
 * many at a time.
 *
 * I/O thread, but for queue_open, queue_unmap and queue_init. While packets are read the guest need not
 * signal; what goes to it is written once a round of the loop, with one interrupt for all. When frames or
 * room in the guest's ring run out, reading stops: the rings are the guest's own queue, and nothing here
 * grows.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/net_private.h"

enum {
	SOON = 1, /* a time that has passed: the loop comes round once more before it sleeps */
	LATE_NS = 500000,
	DRAIN_AT_ONCE = 512,
};

/* What a queue has while its channel is open. */
struct pools {
	struct send sends[SENDS];
	struct batch batches[BATCHES];
	uint64_t used[SECTIONS / 64];
	uint16_t chain[SECTIONS];
	struct receive receives[READS];
	struct frame frames[FRAMES];
};

/* --- packets and frames --- */

static struct send *
send_new(struct net_queue *q)
{
	struct send *s = q->spare_send;

	if (s)
		q->spare_send = s->next;
	else if (q->sends_made < SENDS)
		s = &q->sends[q->sends_made++];
	return s;
}

static void
send_free(struct net_queue *q, struct send *s)
{
	s->next = q->spare_send;
	q->spare_send = s;
}

void
send_done(struct net_queue *q, struct send *s)
{
	if (q->closing || q->broken || !s->reply) {
		send_free(q, s);
		return;
	}
	s->next = NULL;
	*q->done_last = s;
	q->done_last = &s->next;
	if (!s->patient || ++q->dones == DONES)
		q->done_due = true;
}

struct frame *
frame_new(struct net_queue *q)
{
	struct frame *f = q->spare_frame;

	if (f)
		q->spare_frame = f->next;
	else if (q->frames_made < FRAMES)
		f = &q->frames[q->frames_made++];
	else
		return NULL;
	q->frames_busy++;
	f->q = q;
	return f;
}

void
frame_free(struct frame *f)
{
	struct net_queue *q = f->q;

	f->next = q->spare_frame;
	q->spare_frame = f;
	q->frames_busy--;
}

void
queue_ended(struct net_queue *q)
{
	if (!q->reads && !q->writes && atomic_load(&q->n->wants_idle))
		net_ask(q->n);
}

static void
frame_sent(struct io_op *op, int res)
{
	struct frame *f = (struct frame *)op;
	struct net_queue *q = f->q;
	struct send *s = f->send;
	unsigned kind = f->broadcast ? 2 : f->first & 1;

	q->writes--;
	if (res >= 0) {
		net_count(q, SENT_UNICAST + kind, 1);
		net_count(q, SENT_UNICAST_BYTES + kind, f->len);
	} else {
		/* -EINVAL: its headers. All else is the tap's: full, down, gone. */
		net_count(q, res == -EINVAL ? SENT_ERRORS : SENT_DROPPED, 1);
	}
	frame_free(f);
	if (--s->left == 0)
		send_done(q, s);
	queue_ended(q);
}

void
frame_begin(struct frame *f, unsigned iovs)
{
	struct net_queue *q = f->q;

	f->op.done = frame_sent;
	f->send->left++;
	q->writes++;
	io_loop_write_now(q->loop, &f->op, q->tap.slot, f->iov, iovs);
}

/* --- packets in --- */

static void
take_packet(struct net_queue *q, struct send *s, const struct packet *p, bool whole)
{
	uint8_t message[NVSP_MESSAGE] = { 0 };
	uint32_t len = p->len - p->offset, have = len < NVSP_MESSAGE ? len : NVSP_MESSAGE;

	s->transaction = p->transaction;
	s->reply = p->flags & PACKET_WANTS_REPLY;
	s->patient = false;
	s->left = 0;
	s->len = 0;
	memset(s->message, 0, sizeof(s->message));
	if (within(p->offset, have, NET_PACKET_MAX))
		memcpy(message, q->packet + p->offset, have);
	if (!whole)
		nvsp_refuse(q, s, MISTAKE_LONG, get_le32(message));
	else if (p->type != PACKET_INBAND && p->type != PACKET_GPA_DIRECT)
		nvsp_refuse(q, s, MISTAKE_KIND, get_le32(message));
	else
		nvsp_packet(q, s, p, message, have);
}

/* Is there room for whatever one packet may bring? */
static bool
can_take(const struct net_queue *q)
{
	return !q->closing && !q->broken && !net_rests(q->n) && (q->index || !q->n->job.kind) &&
	       (q->spare_send || q->sends_made < SENDS) && FRAMES - q->frames_busy >= FRAMES_A_PACKET;
}

/* 1: a packet was read; 0: there is none; -ENOBUFS: none can be taken now; -EPROTO. */
static int
read_packet(struct net_queue *q)
{
	struct packet p;
	struct send *s;
	int rc;

	if (!can_take(q))
		return -ENOBUFS;
	s = send_new(q);
	rc = ring_read(&q->ch->rings.in, &p, q->packet, sizeof(q->packet));
	if (rc != 1 && rc != -EMSGSIZE) {
		send_free(q, s);
		return rc;
	}
	if (p.type == PACKET_COMPLETION) {
		send_free(q, s);
		receive_completed(q, p.transaction);
	} else {
		take_packet(q, s, &p, rc == 1);
	}
	return 1;
}

void
queue_break(struct net_queue *q, const char *why)
{
	if (q->broken)
		return;
	q->broken = true;
	q->why = why;
	io_loop_unwatch(q->loop, &q->kick);
	receive_stop(q);
	net_ask(q->n);
}

/* Reads until the ring is empty (0), the guest had its share (1), or no more can be taken now (-errno). */
static int
read_packets(struct net_queue *q)
{
	struct ring *in = &q->ch->rings.in;

	q->found = 0;
	for (unsigned n = 0; n < DRAIN_AT_ONCE; n++) {
		int rc = read_packet(q);

		if (rc < 0)
			return rc;
		if (rc == 1) {
			q->found++;
			continue;
		}
		if (ring_read_done(in))
			vmbus_channel_signal(q->ch);
		if (!ring_idle(in))
			return 0;
	}
	return 1;
}

static void
drain(struct net_queue *q)
{
	struct ring *in;
	int rc;

	if (!q->ch || q->closing || q->broken)
		return;
	q->stalled = true;
	if (net_rests(q->n))
		return;
	in = &q->ch->rings.in;
	ring_mask(in);
	rc = read_packets(q);
	if (rc == -EPROTO) {
		queue_break(q, "its ring makes no sense");
		return;
	}
	if (rc != 0 && ring_read_done(in))
		vmbus_channel_signal(q->ch);
	q->stalled = rc != 0;
}

/* --- packets out --- */

static int
flush_table(struct net_queue *q, bool *signal)
{
	uint8_t m[NVSP_MESSAGE + SEND_TABLE * sizeof(uint32_t)] = { 0 };
	struct net *n = q->n;
	size_t len;
	int rc;

	if (q->index || !n->table_due)
		return 0;
	len = nvsp_table(n, m);
	rc = ring_write(&q->ch->rings.out, PACKET_INBAND, 0, 0, m, len, NULL, 0, signal);
	if (rc == 0)
		n->table_due = false;
	return rc;
}

/* A driver that has copied a packet into its buffer has nothing to do when that is sent: it is told with what
 * comes next, mostly the answer to it, and is not woken twice. But not too late, nor of too many at once: it
 * counts them. */
static bool
dones_may_wait(struct net_queue *q)
{
	if (q->done_due || q->ready || (!q->index && (q->n->controls || q->n->table_due)))
		return false;
	if (q->done && !q->late.at)
		io_loop_timer(q->loop, &q->late, io_loop_now(q->loop) + LATE_NS);
	return true;
}

static int
flush_done(struct net_queue *q, bool *signal)
{
	if (dones_may_wait(q))
		return 0;
	for (struct send *s = q->done; s; s = q->done) {
		int rc = ring_write(&q->ch->rings.out, PACKET_COMPLETION, 0, s->transaction, s->message,
		    s->len, NULL, 0, signal);

		if (rc < 0)
			return rc;
		q->done = s->next;
		if (!q->done)
			q->done_last = &q->done;
		send_free(q, s);
	}
	q->dones = 0;
	q->done_due = false;
	if (q->late.at)
		io_loop_timer(q->loop, &q->late, 0);
	return 0;
}

/* -ENOBUFS: they wait for a section; frames have their own. */
static int
flush_controls(struct net_queue *q, bool *signal)
{
	struct net *n = q->n;

	while (!q->index && n->controls) {
		int rc = receive_control(q, &n->control[n->first_control], signal);

		if (rc == -ENOBUFS)
			return 0;
		if (rc < 0)
			return rc;
		n->first_control = (n->first_control + 1) % CONTROLS;
		n->controls--;
	}
	return 0;
}

static void
flush(struct net_queue *q)
{
	static int (*const what[])(struct net_queue *, bool *) = {
		flush_table,
		flush_done,
		flush_controls,
		receive_flush,
	};
	bool signal = false;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(what) / sizeof(what[0]); i++)
		rc = what[i](q, &signal);
	if (signal)
		vmbus_channel_signal(q->ch);
	if (rc < 0 && rc != -EAGAIN) /* -EAGAIN: the guest signals when it has made room */
		queue_break(q, "its ring makes no sense");
}

void
queue_round(void *ctx)
{
	struct net_queue *q = ctx;

	if (!q->ch || q->closing || q->broken)
		return;
	if (q->stalled && can_take(q))
		drain(q);
	if (q->broken || net_rests(q->n))
		return;
	if (!q->index)
		rndis_link(q->n);
	flush(q);
	if (q->broken)
		return;
	receive_pump(q);
	if (q->stalled && can_take(q))
		io_loop_timer(q->loop, &q->again, SOON);
}

/* --- opened and closed --- */

/* The guest goes on writing for as long as it has this processor, and need not signal again. */
static void
give_way(struct net_queue *q)
{
	uint64_t began = io_loop_now(q->loop), ns;

	ring_mask(&q->ch->rings.in);
	sched_yield();
	ns = io_loop_now(q->loop) - began;
	drain(q);
	gather_told(&q->gather, q->found, ns);
}

static void
kicked(void *ctx)
{
	struct net_queue *q = ctx;

	if (can_take(q) && !q->stalled && gather_try(&q->gather))
		give_way(q);
	else
		drain(q);
}

static void
dones_are_late(void *ctx)
{
	((struct net_queue *)ctx)->done_due = true; /* and told in this round */
}

/* What is left is read in this round. */
static void
woken(void *ctx)
{
	(void)ctx;
}

void
queue_init(struct net_queue *q, struct net *n, unsigned index, struct io_loop *loop)
{
	q->n = n;
	q->index = index;
	q->loop = loop;
	q->round = (struct io_round){ .fn = queue_round, .ctx = q };
	q->kick = (struct io_watch){ .fn = kicked, .ctx = q, .slot = -1 };
	q->again = (struct io_timer){ .fn = woken, .ctx = q };
	q->late = (struct io_timer){ .fn = dones_are_late, .ctx = q };
	receive_init(q);
}

struct opening {
	struct net_queue *q;
	struct vmbus_channel *ch;
	struct pools *pools;
};

static void
use_pools(struct net_queue *q, struct pools *p)
{
	q->sends = p->sends;
	q->batches = p->batches;
	q->used = p->used;
	q->receives = p->receives;
	q->chain = p->chain;
	q->frames = p->frames;
	q->spare_send = q->done = NULL;
	q->done_last = &q->done;
	q->dones = 0;
	q->done_due = false;
	q->spare_frame = NULL;
	q->spare_receive = q->ready = NULL;
	q->ready_last = &q->ready;
	q->spare_batch = 0;
	q->sends_made = q->frames_made = q->frames_busy = q->receives_made = q->batches_made = 0;
}

static void
open_on_loop(void *arg)
{
	struct opening *o = arg;
	struct net_queue *q = o->q;

	if (!q->index)
		atomic_store(&q->n->restoring, false); /* a restore that failed has no end of its own */
	use_pools(q, o->pools);
	q->closing = q->broken = q->told = q->stalled = q->starved = false;
	q->gather = (struct gather){ 0 };
	q->ch = o->ch;
	io_loop_watch(q->loop, &q->kick);
	receive_buffer(q, &q->receive);
	receive_start(q);
}

int
queue_open(struct net *n, struct vmbus_channel *ch, struct err *e)
{
	struct net_queue *q = &n->queue[ch->index];
	struct opening o = { .q = q, .ch = ch };
	int slot;

	if (ch->index >= n->queues || q->pools)
		return err_set(e, EBUSY, "%s: channel %u is not there", n->name, (unsigned)ch->index);
	o.pools = mmap(NULL, sizeof(*o.pools), PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (o.pools == MAP_FAILED)
		return err_set(e, ENOMEM, "%s: out of memory", n->name);
	slot = io_loop_add_file(q->loop, ch->kick_fd, e);
	if (slot < 0) {
		munmap(o.pools, sizeof(*o.pools));
		return slot;
	}
	q->pools = o.pools;
	q->kick.slot = slot;
	ch->ctx = q;
	io_loop_call(q->loop, open_on_loop, &o);
	return 0;
}

void
queue_begin_close(void *arg)
{
	struct net_queue *q = arg;

	q->closing = true;
	if (!q->broken)
		io_loop_unwatch(q->loop, &q->kick);
	receive_stop(q);
	io_loop_timer(q->loop, &q->again, 0);
	io_loop_timer(q->loop, &q->late, 0);
	if (!q->index)
		nvsp_close(q->n);
}

static void
forget_on_loop(void *arg)
{
	struct net_queue *q = arg;

	q->ch = NULL;
}

void
queue_unmap(struct net_queue *q)
{
	io_loop_call(q->loop, forget_on_loop, q);
	io_loop_drop_file(q->loop, q->kick.slot);
	q->kick.slot = -1;
	munmap(q->pools, sizeof(struct pools));
	q->pools = NULL;
}
