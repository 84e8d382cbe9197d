/*
 * hypervisor/vsp/net.c - the network adapter as the worker sees it: it is made, connected, measured, paused
 * and let go on; and what its I/O threads leave to the control thread.
 *
 * Control thread; what it changes it changes through io_loop_call.
 */
#include "hypervisor/vsp/net.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor/vmbus/wire.h"
#include "hypervisor/vsp/net_private.h"
#include "lib/log.h"

/* --- what I/O threads tell --- */

void
net_ask(struct net *n)
{
	if (!atomic_exchange(&n->asked, true) && n->events.work)
		n->events.work(n->events.ctx);
}

void
net_mistake(struct net *n, enum net_mistake m)
{
	static const char *const what[NET_MISTAKES] = {
		[MISTAKE_LONG] = "a packet that is longer than one can be",
		[MISTAKE_KIND] = "a packet of a kind that the network does not know",
		[MISTAKE_NVSP] = "a message that is none",
		[MISTAKE_TIME] = "a message that is not right at this time",
		[MISTAKE_SPACE] = "a packet that names memory it does not have",
		[MISTAKE_RNDIS] = "a frame that makes no sense",
		[MISTAKE_CONTROL] = "a control message that makes no sense",
		[MISTAKE_FLOOD] = "more control messages than it takes answers",
		[MISTAKE_COMPLETION] = "a completion of what it was not given",
		[MISTAKE_SOURCE] = "a frame from an address that is not its own",
	};

	log_once(&n->logged[m], LOG_WARN, "%s: the guest sent %s", n->name, what[m]);
}

/* --- channels --- */

static int
net_open(struct vmbus_device *d, struct vmbus_channel *ch, struct err *e)
{
	struct net *n = (struct net *)d;
	unsigned i = ch->index;
	int rc;

	if (i >= n->queues)
		return err_set(e, EINVAL, "%s: there is no channel %u", n->name, i);
	if (i < n->taps && n->tap[i].is_tap && !n->tap[i].joined) {
		tap_join(n->tap[i].fd, true);
		n->tap[i].joined = true;
	}
	rc = queue_open(n, ch, e);
	if (rc < 0)
		return rc;
	n->channel[i] = ch;
	n->leaving[i] = false;
	n->open++;
	net_ask(n); /* perhaps it was the last that the guest asked for */
	return 0;
}

/* Channels that have come to rest: the bus has them back. The guest's buffers are the primary's. */
static void
settle_channels(struct net *n)
{
	for (unsigned i = n->queues; i-- > 0;) {
		struct vmbus_channel *ch = n->channel[i];

		if (!ch || !n->leaving[i] || !(i ? net_queue_idle(&n->queue[i]) : net_all_idle(n)))
			continue;
		queue_unmap(&n->queue[i]);
		if (i && i < n->taps && n->tap[i].joined) {
			tap_join(n->tap[i].fd, false);
			n->tap[i].joined = false;
		}
		n->channel[i] = NULL;
		n->leaving[i] = false;
		n->open--;
		ch->ctx = NULL;
		vmbus_channel_closed(ch);
	}
}

static bool
still_leaving(const struct net *n)
{
	for (unsigned i = 0; i < n->queues; i++)
		if (n->leaving[i])
			return true;
	return n->revoked[0] || n->revoked[1];
}

static void
net_close(struct vmbus_device *d, struct vmbus_channel *ch)
{
	struct net *n = (struct net *)d;
	struct net_queue *q = &n->queue[ch->index];

	n->leaving[ch->index] = true;
	io_loop_call(q->loop, queue_begin_close, q);
	if (ch->index == 0) {
		net_take_buffer(n, false);
		net_take_buffer(n, true);
		n->revoked[0] = n->revoked[1] = false;
	}
	atomic_store(&n->wants_idle, true);
	settle_channels(n);
	atomic_store(&n->wants_idle, still_leaving(n));
}

static void
gpadl_wanted(struct vmbus_device *d, struct vmbus_channel *ch, uint32_t id)
{
	struct net *n = (struct net *)d;

	for (unsigned send = 0; send < 2; send++) {
		const struct net_buffer *b = send ? &n->queue[0].send : &n->queue[0].receive;

		if (b->pfn && b->gpadl == id)
			n->revoked[send] = true;
	}
	if (!n->revoked[0] && !n->revoked[1])
		vmbus_gpadl_release(ch, id);
	else
		net_ask(n);
}

/* --- what is left to this thread --- */

/* A buffer that is wanted back, by whichever way: true when it is the guest's again. */
static bool
give_back(struct net *n, bool send)
{
	const struct net_buffer *b = send ? &n->queue[0].send : &n->queue[0].receive;

	if (b->pfn) {
		n->wanted_back[send] = b->gpadl;
		net_take_buffer(n, send);
	}
	if (!net_all_idle(n))
		return false;
	n->revoked[send] = false;
	if (n->channel[0] && !n->leaving[0])
		vmbus_gpadl_release(n->channel[0], n->wanted_back[send]);
	return true;
}

struct job_look {
	struct net *n;
	struct net_job job;
	int rc;
};

static void
look_on_loop(void *arg)
{
	struct job_look *l = arg;

	l->job = l->n->job;
}

static void
done_on_loop(void *arg)
{
	struct job_look *l = arg;

	nvsp_job_done(l->n, l->rc);
}

static int
lend(struct net *n, bool send, const struct net_job *job)
{
	struct net_buffer b;
	int rc = net_find_buffer(n, send, job->gpadl, job->id, &b);

	if (rc == 0)
		net_give_buffer(n, send, &b);
	return rc;
}

/* False: it cannot be done yet. */
static bool
do_job(struct net *n, struct job_look *l)
{
	switch (l->job.kind) {
	case JOB_RECEIVE_BUFFER:
	case JOB_SEND_BUFFER:
		l->rc = lend(n, l->job.kind == JOB_SEND_BUFFER, &l->job);
		return true;
	case JOB_REVOKE_RECEIVE:
	case JOB_REVOKE_SEND:
		return give_back(n, l->job.kind == JOB_REVOKE_SEND);
	case JOB_SUBCHANNELS:
		l->rc = vmbus_offer_subchannels(&n->dev, l->job.number, NULL);
		return true;
	default:
		return true;
	}
}

static void
table_on_loop(void *arg)
{
	struct net *n = arg;

	n->table_due = n->subchannels && !n->table_told && n->open == n->subchannels + 1;
	n->table_told = n->table_told || n->table_due;
}

struct scaling {
	struct net_queue *q;
	struct net_rss rss;
};

static void
take_rss_on_loop(void *arg)
{
	struct scaling *s = arg;

	s->rss = s->q->n->rss;
}

static void
give_rss_on_loop(void *arg)
{
	struct scaling *s = arg;

	s->q->rss = s->rss;
}

/* What the guest has told the primary, to every queue. */
static void
follow_rss(struct net *n)
{
	struct scaling s = { .q = &n->queue[0] };

	if (!atomic_exchange(&n->rss_dirty, false))
		return;
	io_loop_call(s.q->loop, take_rss_on_loop, &s);
	for (unsigned i = 0; i < n->queues; i++) {
		s.q = &n->queue[i];
		io_loop_call(s.q->loop, give_rss_on_loop, &s);
	}
}

struct broken {
	struct net_queue *q;
	const char *why;
};

static void
broken_on_loop(void *arg)
{
	struct broken *b = arg;

	if (!b->q->ch || b->q->closing || !b->q->broken || b->q->told)
		return;
	b->q->told = true;
	b->why = b->q->why;
}

/* One is enough: its device is taken back whole. */
static void
tell_broken(struct net *n)
{
	for (unsigned i = 0; i < n->queues; i++) {
		struct broken b = { .q = &n->queue[i] };

		if (!n->channel[i] || n->leaving[i])
			continue;
		io_loop_call(b.q->loop, broken_on_loop, &b);
		if (b.why) {
			vmbus_channel_break(n->channel[i], b.why);
			return;
		}
	}
}

static void
work_once(struct net *n)
{
	struct job_look l = { .n = n };

	atomic_store(&n->wants_idle, true); /* before it is looked at */
	settle_channels(n);
	io_loop_call(n->queue[0].loop, look_on_loop, &l);
	if (l.job.kind != JOB_NONE && do_job(n, &l))
		io_loop_call(n->queue[0].loop, done_on_loop, &l);
	else if (l.job.kind == JOB_REVOKE_RECEIVE || l.job.kind == JOB_REVOKE_SEND)
		n->revoked[l.job.kind == JOB_REVOKE_SEND] = true; /* looked at again */
	for (unsigned send = 0; send < 2; send++)
		if (n->revoked[send])
			give_back(n, send);
	io_loop_call(n->queue[0].loop, table_on_loop, n);
	net_follow_offloads(n);
	follow_rss(n);
	tell_broken(n);
	atomic_store(&n->wants_idle, still_leaving(n));
}

void
net_work(struct net *n)
{
	/* Once: what is asked meanwhile comes back by itself (net_ask), and a guest that keeps a queue busy
	 * while it wants its memory back asks all the time. */
	if (atomic_exchange(&n->asked, false))
		work_once(n);
}

/* --- pause --- */

static void
wake_on_loop(void *arg)
{
	struct net_queue *q = arg;

	q->stalled = true;
	if (q->tap_watched)
		q->tap_ready = true;
}

int
net_pause(struct net *n, unsigned timeout_ms, struct err *e)
{
	atomic_store(&n->paused, true);
	for (unsigned ms = 0;; ms++) {
		struct job_look l = { .n = n };

		net_work(n);
		io_loop_call(n->queue[0].loop, look_on_loop, &l);
		if (l.job.kind == JOB_NONE && net_all_idle(n))
			return 0;
		if (ms == timeout_ms)
			break;
		poll(NULL, 0, 1);
	}
	net_resume(n);
	return err_set(e, EBUSY, "%s: its tap has not taken everything in %u ms", n->name, timeout_ms);
}

void
net_resume(struct net *n)
{
	atomic_store(&n->paused, false);
	for (unsigned i = 0; i < n->queues; i++)
		io_loop_call(n->queue[i].loop, wake_on_loop, &n->queue[i]);
}

void
net_statistics(struct net *n, struct net_stats *s)
{
	uint64_t mac = atomic_load(&n->mac);

	*s = (struct net_stats){ .mtu = atomic_load(&n->frame_max) - ETHERNET,
		.channels = n->open,
		.version = atomic_load(&n->version),
		.link = atomic_load(&n->link),
		.ready = atomic_load(&n->ready) };
	for (int c = 0; c < NET_COUNTS; c++)
		s->count[c] = net_total(n, (enum net_count)c);
	memcpy(s->mac, &mac, NET_MAC);
}

/* --- life --- */

static const struct vmbus_device_ops net_ops = {
	.name = "network",
	.version = 1,
	.open = net_open,
	.close = net_close,
	.snap = net_snap,
	.restored = net_restored,
	.gpadl_wanted = gpadl_wanted,
};

static void
offer(struct net *n, const uint8_t machine_id[16])
{
	static const uint8_t type[16] = { 0xf8, 0x61, 0x51, 0x63, 0xdf, 0x3e, 0x46, 0xc5, 0x91, 0x3f, 0xf2,
		0xd2, 0xf9, 0x65, 0xed, 0x0e };
	struct vmbus_offer *o = &n->dev.offer;

	snprintf(n->name, sizeof(n->name), "network adapter %u", n->number);
	memcpy(o->type, type, sizeof(type));
	memcpy(o->instance, machine_id, sizeof(o->instance));
	for (size_t i = 0; i < 4; i++)
		o->instance[i] ^= type[i];
	o->instance[15] ^= (uint8_t)n->number;
	o->flags = OFFER_ENUMERATE;
	o->name = n->name;
}

static void
no_alarm(void *ctx)
{
	(void)ctx; /* the round looks at the time */
}

static void
add_round_on_loop(void *arg)
{
	struct net_queue *q = arg;

	io_loop_each_round(q->loop, &q->round);
}

int
net_new(struct net **out, struct vmbus *bus, struct io_loop *const *loops, unsigned n_loops, unsigned number,
    const uint8_t machine_id[16], const struct net_config *c, const struct net_events *events, struct err *e)
{
	struct net *n = calloc(1, sizeof(*n));
	unsigned most = vmbus_max_subchannels(bus) + 1;

	if (!n || !(n->queue = calloc(NET_QUEUES, sizeof(*n->queue)))) {
		free(n);
		return err_set(e, ENOMEM, "network adapter %u: out of memory", number);
	}
	n->config = *c;
	n->events = *events;
	n->number = number;
	n->queues = c->queues < most ? c->queues : most;
	if (n->queues == 0 || n->queues > NET_QUEUES || n_loops == 0 || c->mtu < NET_MTU_MIN ||
	    c->mtu > NET_MTU_MAX || (c->mac[0] & 1)) {
		free(n->queue);
		free(n);
		return err_set(e, EINVAL, "network adapter %u: queues, MTU or address", number);
	}
	n->dev.ops = &net_ops;
	n->dev.bus = bus;
	n->link_timer = (struct io_timer){ .fn = no_alarm, .ctx = n };
	for (unsigned i = 0; i < NET_QUEUES; i++) {
		n->tap[i].fd = n->tap[i].slot = -1;
		queue_init(&n->queue[i], n, i, loops[i % n_loops]);
	}
	offer(n, machine_id);
	nvsp_close(n);
	for (unsigned i = 0; i < n->queues; i++)
		io_loop_call(n->queue[i].loop, add_round_on_loop, &n->queue[i]);
	*out = n;
	return 0;
}

struct vmbus_device *
net_device(struct net *n)
{
	return &n->dev;
}

static void
leave_loop(void *arg)
{
	struct net_queue *q = arg;

	io_loop_end_round(q->loop, &q->round);
	io_loop_timer(q->loop, &q->again, 0);
	if (!q->index)
		io_loop_timer(q->loop, &q->n->link_timer, 0);
}

void
net_free(struct net *n)
{
	if (!n)
		return;
	net_work(n);
	if (net_leave_taps(n, NULL) < 0)
		log_msg(LOG_ERROR, "%s: its tap holds on to it", n->name);
	for (unsigned i = 0; i < n->queues; i++) {
		if (n->queue[i].pools) { /* the bus was freed without a word */
			io_loop_call(n->queue[i].loop, queue_begin_close, &n->queue[i]);
			queue_unmap(&n->queue[i]);
		}
		io_loop_call(n->queue[i].loop, leave_loop, &n->queue[i]);
	}
	free(n->queue);
	free(n);
}
