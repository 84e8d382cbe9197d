/*
 * hypervisor/vsp/net_state.c - an adapter's saved state: what was agreed on, the guest's buffers and which of
 * their sections it holds, completions and messages that its rings had no room for.
 *
 * Frames that were read and not told are lost, as on a wire. What is read is as untrusted as the guest.
 */
#include <errno.h>
#include <string.h>

#include "hypervisor/vsp/net_private.h"

enum { CONTROL_LEAST = 16, FILTERS = 0x2f, SUM_MOST = 4 };

struct job {
	struct net *n;
	struct net_queue *q;
	struct snap *snap;
};

static void
snap_flag(struct snap *s, const char *name, atomic_bool *flag)
{
	bool v = atomic_load(flag);

	snap_bool(s, name, &v);
	if (!s->saving && !s->rc)
		atomic_store(flag, v);
}

static uint32_t
snap_number(struct snap *s, const char *name, atomic_uint *number, uint32_t max)
{
	uint32_t v = atomic_load(number);

	snap_u32(s, name, &v, max);
	if (!s->saving && !s->rc)
		atomic_store(number, v);
	return v;
}

/* --- the protocol --- */

static void
snap_versions(struct net *n, struct snap *s)
{
	uint8_t state = (uint8_t)n->state, queues = (uint8_t)n->queues;
	uint32_t version;

	snap_u8(s, "queues", &queues, NET_QUEUES);
	snap_check(s, queues == n->queues, "queues", "the adapter has another number of them");
	snap_u8(s, "state", &state, NVSP_STATES - 1);
	version = snap_number(s, "version", &n->version, NVSP_6_1);
	snap_check(s, nvsp_has_version(version) == (state == NVSP_AGREED), "version",
	    "not one that is spoken, or not at this time");
	snap_check(s, state == NVSP_START || n->channel[0], "state", "no channel is open");
	snap_u32(s, "ndis", &n->ndis, UINT32_MAX);
	snap_u32(s, "mtu", &n->mtu, NET_MTU_MAX);
	snap_check(s, n->mtu >= NET_MTU_MIN && n->mtu <= n->config.mtu, "mtu", "not one of this adapter");
	if (s->saving || s->rc)
		return;
	n->state = (enum nvsp_state)state;
	atomic_store(&n->frame_max, n->mtu + ETHERNET);
}

static void
snap_multicasts(struct net *n, struct snap *s)
{
	snap_u32(s, "multicasts", &n->multicasts, MULTICASTS);
	for (uint32_t i = 0; i < n->multicasts && !s->rc; i++)
		snap_bytes(s, "multicast", n->multicast[i], NET_MAC);
	if (!s->saving && !s->rc)
		oid_multicast_bins(n);
}

static void
snap_rss(struct net *n, struct snap *s)
{
	struct net_rss *r = &n->rss;

	snap_u32(s, "rss flags", &r->off, UINT16_MAX);
	snap_u32(s, "rss hash", &r->hash, UINT32_MAX);
	snap_bytes(s, "rss key", r->key, RSS_KEY);
	snap_u32(s, "rss size", &r->size, RSS_TABLE);
	for (uint32_t i = 0; i < r->size && !s->rc; i++)
		snap_u8(s, "rss table", &r->table[i], NET_QUEUES - 1);
	if (s->saving || s->rc)
		return;
	rss_prepare(r);
	rss_changed(n);
}

static void
snap_rndis(struct net *n, struct snap *s)
{
	uint64_t mac = atomic_load(&n->mac);

	snap_bool(s, "rndis", &n->rndis);
	snap_check(s, !n->rndis || n->state == NVSP_AGREED, "rndis", "not at this time");
	snap_number(s, "filter", &n->filter, FILTERS);
	snap_flag(s, "vlan", &n->vlan);
	snap_flag(s, "coalesce", &n->coalesce);
	for (size_t i = 0; i < sizeof(n->checksum_state); i++)
		snap_u8(s, "checksums", &n->checksum_state[i], SUM_MOST);
	snap_u64(s, "mac", &mac, 0xffffffffffff);
	snap_check(s, !(mac & 1) && (n->config.spoofing || memcmp(&mac, n->config.mac, NET_MAC) == 0), "mac",
	    "not one that this adapter may have");
	snap_multicasts(n, s);
	snap_rss(n, s);
	snap_u32(s, "sub-channels", &n->subchannels, n->queues - 1);
	snap_bool(s, "table", &n->table_due);
	snap_bool(s, "table told", &n->table_told);
	snap_bool(s, "link", &n->link_told);
	snap_bool(s, "network", &n->network_changed);
	if (s->saving || s->rc)
		return;
	atomic_store(&n->mac, mac);
	atomic_store(&n->ready, n->rndis);
	offload_apply(n);
}

static void
snap_controls(struct net *n, struct snap *s)
{
	uint32_t count = n->controls;

	snap_u32(s, "messages", &count, CONTROLS);
	if (!s->saving)
		n->first_control = 0;
	for (uint32_t i = 0; i < count && !s->rc; i++) {
		struct control *c = &n->control[(n->first_control + i) % CONTROLS];

		snap_u32(s, "length", &c->len, CONTROL_MAX);
		snap_check(s, c->len >= CONTROL_LEAST, "length", "no message is so short");
		if (!s->rc)
			snap_bytes(s, "message", c->bytes, c->len);
	}
	if (!s->saving)
		n->controls = s->rc ? 0 : count;
}

static void
protocol_on_loop(void *arg)
{
	struct job *j = arg;

	snap_versions(j->n, j->snap);
	snap_rndis(j->n, j->snap);
	snap_controls(j->n, j->snap);
}

/* --- buffers: control thread --- */

static void
snap_buffer(struct net *n, struct snap *s, bool send)
{
	struct net_buffer b = send ? n->queue[0].send : n->queue[0].receive;
	bool there = b.pfn != NULL;

	snap_bool(s, "buffer", &there);
	snap_check(s, !there || n->state == NVSP_AGREED, "buffer", "not at this time");
	if (!there || s->rc)
		return;
	snap_u32(s, "gpadl", &b.gpadl, UINT32_MAX);
	snap_u16(s, "id", &b.id, UINT16_MAX);
	if (s->saving || s->rc)
		return;
	snap_check(s, net_find_buffer(n, send, b.gpadl, b.id, &b) == 0, "gpadl", "the guest has not lent it");
	if (!s->rc)
		net_give_buffer(n, send, &b);
}

/* --- queues --- */

static void
snap_send(struct net_queue *q, struct snap *s, struct send *one)
{
	(void)q;
	snap_u64(s, "transaction", &one->transaction, UINT64_MAX);
	snap_u8(s, "answer", &one->len, NVSP_MESSAGE);
	snap_check(s, one->len == 0 || one->len == NVSP_MESSAGE, "answer", "not an answer's length");
	snap_bytes(s, "completion", one->message, NVSP_MESSAGE);
}

static void
snap_sends(struct net_queue *q, struct snap *s)
{
	uint32_t n = 0;

	for (struct send *one = q->done; one; one = one->next)
		n++;
	snap_u32(s, "completions", &n, SENDS);
	if (s->saving) {
		for (struct send *one = q->done; one; one = one->next)
			snap_send(q, s, one);
		return;
	}
	for (uint32_t i = 0; i < n && !s->rc && q->sends_made < SENDS; i++) {
		struct send *one = &q->sends[q->sends_made++];

		snap_send(q, s, one);
		one->reply = true;
		send_done(q, one);
	}
}

static void
save_batches(struct net_queue *q, struct snap *s)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < q->batches_made; i++)
		n += q->batches[i].n != 0;
	snap_u32(s, "held", &n, BATCHES);
	for (uint32_t i = 0; i < q->batches_made; i++) {
		struct batch *b = &q->batches[i];
		uint32_t number = i + 1, sections = b->n;

		if (!sections)
			continue;
		snap_u32(s, "number", &number, BATCHES);
		snap_u32(s, "sections", &sections, RANGES);
		for (uint16_t section = b->first; sections; sections--) {
			snap_u16(s, "section", &section, SECTIONS - 1);
			section = q->chain[section];
		}
	}
}

static void
restore_batch(struct net_queue *q, struct snap *s)
{
	uint32_t number = 0, sections = 0;
	struct batch *b;

	snap_u32(s, "number", &number, BATCHES);
	snap_u32(s, "sections", &sections, RANGES);
	b = sections && !s->rc ? batch_at(q, number) : NULL;
	snap_check(s, b != NULL, "number", "there twice, or without sections");
	if (!b)
		return;
	b->n = 0;
	while (sections-- && !s->rc) {
		uint16_t section = 0;

		snap_u16(s, "section", &section, SECTIONS - 1);
		snap_check(s, !s->rc && batch_claim(q, b, section), "section",
		    "not one of the queue's, or held twice");
	}
}

static void
restore_batches(struct net_queue *q, struct snap *s)
{
	uint32_t n = 0;

	snap_u32(s, "held", &n, BATCHES);
	snap_check(s, !n || q->receive.pfn, "held", "without a buffer");
	while (n-- && !s->rc)
		restore_batch(q, s);
}

static void
queue_on_loop(void *arg)
{
	struct job *j = arg;
	struct net_queue *q = j->q;
	bool open = q->ch && !q->closing, was = open;

	snap_bool(j->snap, "open", &was);
	snap_check(j->snap, was == open, "open", "not the channels that are");
	if (!open || j->snap->rc)
		return;
	snap_u32(j->snap, "generation", &q->generation, UINT32_MAX);
	snap_sends(q, j->snap);
	if (j->snap->saving)
		save_batches(q, j->snap);
	else
		restore_batches(q, j->snap);
}

/* --- all of it --- */

void
net_snap(struct vmbus_device *d, struct snap *snap)
{
	struct net *n = (struct net *)d;
	struct job j = { .n = n, .snap = snap };

	if (!snap->saving)
		atomic_store(&n->restoring, true);
	io_loop_call(n->queue[0].loop, protocol_on_loop, &j);
	snap_buffer(n, snap, false);
	snap_buffer(n, snap, true);
	for (unsigned i = 0; i < n->queues; i++) {
		j.q = &n->queue[i];
		io_loop_call(j.q->loop, queue_on_loop, &j);
	}
}

static void
restored_on_loop(void *arg)
{
	struct net_queue *q = arg;

	if (!q->ch || q->closing)
		return;
	q->stalled = true; /* the ring is looked at in this round */
	if (q->tap_watched)
		q->tap_ready = true;
	vmbus_channel_signal(q->ch);
}

void
net_restored(struct vmbus_device *d)
{
	struct net *n = (struct net *)d;

	atomic_store(&n->paused, false);
	atomic_store(&n->restoring, false);
	for (unsigned i = 0; i < n->queues; i++)
		io_loop_call(n->queue[i].loop, restored_on_loop, &n->queue[i]);
}
