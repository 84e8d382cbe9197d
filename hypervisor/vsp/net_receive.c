/*
 * hypervisor/vsp/net_receive.c - frames of the tap, to the guest: read straight into sections of its receive
 * buffer, given a head, and told, many in one packet.
 *
 * A section is the guest's from then until it has completed that packet. When none is free the tap is not
 * read: the kernel keeps a few hundred frames, and drops what comes after them. I/O thread.
 */
#include <errno.h>
#include <string.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/net_private.h"
#include "lib/log.h"

enum {
	LOOK_AT = 64, /* bytes of a frame that decide something */
	FEW_READS = 4,
	TAG = 0x8100,
	IPV4 = 0x0800,
	IPV6 = 0x86dd,
	TCP = 6,
	UDP = 17,
	AT_CHECKSUM_TCP = 16, /* in its header */
	AT_CHECKSUM_UDP = 6,
	CHECKED_TCP = 1 << 3,
	CHECKED_UDP = 1 << 4,
	CHECKED_IP = 1 << 5,

	/* Packet filter. */
	FILTER_DIRECTED = 1,
	FILTER_MULTICAST = 2,
	FILTER_ALL_MULTICAST = 4,
	FILTER_BROADCAST = 8,
	FILTER_PROMISCUOUS = 0x20,
};

/* --- one frame --- */

static bool
is_wanted(const struct net *n, const uint8_t *to)
{
	static const uint8_t all[NET_MAC] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	unsigned filter = atomic_load_explicit(&n->filter, memory_order_relaxed);
	uint64_t mac = atomic_load_explicit(&n->mac, memory_order_relaxed);

	if (filter & FILTER_PROMISCUOUS)
		return true;
	if (!(to[0] & 1))
		return (filter & FILTER_DIRECTED) && memcmp(to, &mac, NET_MAC) == 0;
	if (memcmp(to, all, NET_MAC) == 0)
		return filter & FILTER_BROADCAST;
	if (filter & FILTER_ALL_MULTICAST)
		return true;
	return (filter & FILTER_MULTICAST) &&
	       (atomic_load_explicit(&n->bins, memory_order_relaxed) >> oid_multicast_bin(to) & 1);
}

static void
count_frame(struct net_queue *q, const uint8_t *to, uint32_t len)
{
	static const uint8_t all[NET_MAC] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	unsigned kind = memcmp(to, all, NET_MAC) == 0 ? 2 : to[0] & 1;

	net_count(q, TAKEN_UNICAST + kind, 1);
	net_count(q, TAKEN_UNICAST_BYTES + kind, len);
}

/* A sender on this host has left the checksum to us. It is made, not only called good: a guest that forwards
 * the frame sends it as it is. False: the frame makes no sense. */
static bool
complete_checksum(struct receive *r, const struct virtio_net_hdr *v, uint32_t len)
{
	struct gmem *mem = queue_memory(r->q);
	uint32_t start = v->csum_start, at = start + v->csum_offset;
	uint16_t sum;

	if (start >= len || !within(at, sizeof(sum), len))
		return false;
	sum = (uint16_t)~pieces_sum(r->pieces, mem, RECEIVE_AT + start, len - start);
	if (sum == 0 && v->csum_offset == AT_CHECKSUM_UDP)
		sum = 0xffff;
	return pieces_write(r->pieces, mem, RECEIVE_AT + at, &sum, sizeof(sum));
}

/* Which checksums of a frame are right, if those above IP are. */
static uint32_t
name_checksums(const uint8_t *head, uint32_t have)
{
	uint32_t at = ETHERNET, is = 0;
	uint16_t type = get_be16(head + 12);
	uint8_t protocol;

	if (type == TAG && have >= ETHERNET + VLAN + 2) {
		at += VLAN;
		type = get_be16(head + 16);
	}
	if (type == IPV4 && have >= at + 20) {
		protocol = head[at + 9];
		if (head[at] == 0x45 && bytes_sum(0, head + at, 20) == 0xffff)
			is |= CHECKED_IP;
	} else if (type == IPV6 && have >= at + 40) {
		protocol = head[at + 6];
	} else {
		return 0;
	}
	return is | (protocol == TCP ? CHECKED_TCP : protocol == UDP ? CHECKED_UDP : 0);
}

/* False: the frame cannot be given to the guest. */
static bool
look_at_checksum(struct receive *r, const uint8_t *head, uint32_t have, uint32_t len, uint32_t *is)
{
	const struct virtio_net_hdr *v = (const struct virtio_net_hdr *)&r->vnet;
	bool segments = v->gso_type != VIRTIO_NET_HDR_GSO_NONE;

	*is = 0;
	if (segments && !atomic_load_explicit(&r->q->n->coalesce, memory_order_relaxed))
		return false;
	if (v->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		/* One of many segments has as many checksums: a guest that takes it does not forward it. */
		if (!segments && !complete_checksum(r, v, len))
			return false;
		*is = v->csum_offset == AT_CHECKSUM_TCP   ? CHECKED_TCP
		      : v->csum_offset == AT_CHECKSUM_UDP ? CHECKED_UDP
							  : 0;
		*is |= name_checksums(head, have) & CHECKED_IP;
	} else if (v->flags & VIRTIO_NET_HDR_F_DATA_VALID) {
		*is = name_checksums(head, have);
	}
	if (!atomic_load_explicit(&r->q->n->checked, memory_order_relaxed))
		*is &= CHECKED_IP;
	if (!atomic_load_explicit(&r->q->n->checked_ip, memory_order_relaxed))
		*is &= ~(uint32_t)CHECKED_IP;
	return true;
}

/* What goes beside a frame. */
struct told {
	uint32_t checksums, hash;
	bool hashed;
};

static uint32_t
add_ppi(uint8_t *message, uint32_t at, uint32_t type, uint32_t value)
{
	put_le32(message + at, PPI_HEAD + 4);
	put_le32(message + at + 4, type);
	put_le32(message + at + 8, PPI_HEAD);
	put_le32(message + at + PPI_HEAD, value);
	return at + PPI_HEAD + 4;
}

/* The head of the message, before the frame. False when there is no such memory. */
static bool
put_head(struct receive *r, const uint8_t *head, uint32_t have, uint32_t len, const struct told *told)
{
	struct gmem *mem = queue_memory(r->q);
	uint8_t m[RECEIVE_AT] = { RNDIS_PACKET };
	uint32_t at = RNDIS_PACKET_HEAD, from = RECEIVE_AT;

	if (told->checksums)
		at = add_ppi(m, at, PPI_CHECKSUM, told->checksums);
	if (told->hashed)
		at = add_ppi(m, at, PPI_HASH, told->hash);
	if (have >= ETHERNET + VLAN && get_be16(head + 12) == TAG &&
	    atomic_load_explicit(&r->q->n->vlan, memory_order_relaxed)) {
		uint16_t tag = get_be16(head + 14);

		/* The tag leaves the frame: the addresses move up to what follows it. */
		if (!pieces_write(r->pieces, mem, RECEIVE_AT + VLAN, head, 2 * NET_MAC))
			return false;
		at = add_ppi(m, at, PPI_VLAN,
		    (uint32_t)tag >> 13 | (uint32_t)(tag >> 12 & 1) << 3 | (uint32_t)(tag & 0xfff) << 4);
		from += VLAN;
		len -= VLAN;
	}
	r->len = from + len;
	put_le32(m + 4, r->len);
	put_le32(m + 8, from - 8);
	put_le32(m + 12, len);
	if (at > RNDIS_PACKET_HEAD) {
		put_le32(m + 28, RNDIS_PACKET_HEAD - 8);
		put_le32(m + 32, at - RNDIS_PACKET_HEAD);
	}
	return pieces_write(r->pieces, mem, 0, m, at);
}

static void
dirty(const struct receive *r, uint32_t len)
{
	struct gmem *mem = queue_memory(r->q);

	if (!gmem_tracked(mem))
		return;
	for (unsigned i = 0; i < r->pieces->n && len; i++) {
		uint32_t n = r->pieces->piece[i].len < len ? r->pieces->piece[i].len : len;

		gmem_dirty(mem, r->pieces->piece[i].gpa, n);
		len -= n;
	}
}

/* --- reads --- */

static struct receive *
receive_new(struct net_queue *q)
{
	struct receive *r = q->spare_receive;

	if (r) {
		q->spare_receive = r->next;
	} else if (q->receives_made < READS) {
		r = &q->receives[q->receives_made];
		r->pieces = &q->receive_pieces[q->receives_made++];
		r->q = q;
	}
	return r;
}

static void
receive_free(struct receive *r)
{
	r->next = r->q->spare_receive;
	r->q->spare_receive = r;
}

/* Sections for a frame of so many bytes, its head and its end. False: there are not so many. */
static bool
find_room(struct receive *r, uint32_t room)
{
	struct net_queue *q = r->q;
	uint32_t count = sections_for(q, RECEIVE_AT + room + RECEIVE_END);
	uint32_t keep = q->index || q->sections <= 2 * KEPT_SECTIONS ? 0 : KEPT_SECTIONS;

	if (!sections_take(q, count, keep, &r->first))
		return false;
	r->room = room;
	r->count = (uint16_t)count;
	r->generation = q->generation;
	r->pieces->n = r->pieces->bytes = 0;
	pieces_add_buffer(
	    r->pieces, queue_memory(q), &q->receive, r->first * q->receive.section, RECEIVE_AT + room);
	return true;
}

static void
give_up(struct receive *r)
{
	sections_release(r->q, r->first, r->count);
	receive_free(r);
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
move_to(struct net_queue *to, struct receive *r, uint32_t len)
{
	struct receive *moved = receive_new(to);

	if (!moved)
		return r;
	if (!find_room(moved, len)) {
		receive_free(moved);
		return r;
	}
	for (uint32_t at = 0, i = 1; at < len; i++) {
		uint32_t n = r->iov[i].iov_len < len - at ? (uint32_t)r->iov[i].iov_len : len - at;

		pieces_write(moved->pieces, queue_memory(to), RECEIVE_AT + at, r->iov[i].iov_base, n);
		at += n;
	}
	give_up(r);
	return moved;
}

/* What is to be told of the frame; NULL: it is not for the guest. */
static struct receive *
deliver(struct receive *r, uint32_t len)
{
	struct net_queue *q = r->q;
	struct told told = { 0 };
	uint8_t head[LOOK_AT];
	uint32_t have = len < LOOK_AT ? len : LOOK_AT;

	if (!pieces_read(r->pieces, queue_memory(q), RECEIVE_AT, head, have) ||
	    !look_at_checksum(r, head, have, len, &told.checksums)) {
		net_count(q, TAKEN_ERRORS, 1);
		give_up(r);
		return NULL;
	}
	if (!is_wanted(q->n, head)) {
		net_count(q, TAKEN_FILTERED, 1);
		give_up(r);
		return NULL;
	}
	told.hashed = rss_hash(&q->rss, head, have, &told.hash);
	if (told.hashed && queue_for(q, told.hash) != q)
		r = move_to(queue_for(q, told.hash), r, len);
	if (!put_head(r, head, have, len, &told)) {
		give_up(r);
		return NULL;
	}
	count_frame(r->q, head, len);
	return r;
}

/* Sections behind those that the message takes. */
static void
trim(struct receive *r)
{
	uint32_t need = sections_for(r->q, r->len + RECEIVE_END);

	if (need >= r->count)
		return;
	sections_release(r->q, r->first + need, r->count - need);
	r->count = (uint16_t)need;
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
		dirty(r, RECEIVE_AT + r->room);
	}
	if (res < VNET + ETHERNET || (uint32_t)res > VNET + r->room) {
		net_count(q, TAKEN_ERRORS, 1);
		return false;
	}
	return true;
}

static void
keep_ready(struct receive *r)
{
	struct net_queue *q = r->q;

	trim(r);
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
	if (q->closing || q->broken || r->generation != q->generation) {
		receive_free(r);
	} else if (!is_frame(r, res)) {
		give_up(r);
	} else {
		r = deliver(r, (uint32_t)res - VNET);
		if (r)
			keep_ready(r);
	}
	queue_ended(q);
}

/* False: nothing more can be read now. */
static bool
read_one(struct net_queue *q)
{
	bool long_ones = atomic_load_explicit(&q->n->coalesce, memory_order_relaxed);
	uint32_t room = atomic_load_explicit(&q->n->frame_max, memory_order_relaxed) + VLAN;
	struct receive *r = receive_new(q);
	unsigned iovs;

	if (!r)
		return false;
	if (long_ones && sections_for(q, RECEIVE_AT + FRAME_MAX + VLAN + RECEIVE_END) <= q->sections)
		room = FRAME_MAX + VLAN; /* else a small buffer: no long ones after all */
	if (!find_room(r, room)) {
		receive_free(r);
		if (!q->starved)
			net_count(q, TAKEN_NO_ROOM, 1);
		q->starved = true;
		return false;
	}
	r->iov[0] = (struct iovec){ &r->vnet, VNET };
	iovs = pieces_iov(r->pieces, queue_memory(q), RECEIVE_AT, r->room, r->iov + 1, READ_PIECES);
	if (!iovs) {
		give_up(r);
		return false;
	}
	r->op.done = was_read;
	q->reads++;
	io_loop_read_now(q->loop, &r->op, q->tap.slot, r->iov, 1 + iovs);
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

/* A guest that asks and waits for the answer gets one frame at a time: every further read would be for
 * nothing. Else as many as brought something the last time, and a few. */
static unsigned
reads_to_begin(const struct net_queue *q)
{
	unsigned depth = q->got * 2 > FEW_READS ? q->got * 2 : FEW_READS;

	if (q->expected <= 1 && q->got_all <= 1)
		return 1;
	return depth < READS ? depth : READS;
}

/* Once a round. All reads are answered in the system call that takes them; the first that finds nothing ends
 * it until the tap has something again. */
void
receive_pump(struct net_queue *q)
{
	unsigned depth;

	if (!may_read(q))
		return;
	depth = reads_to_begin(q);
	q->got = 0;
	for (unsigned i = 0; i < depth && read_one(q); i++)
		;
}

/* --- to the guest --- */

static int
flush_batch(struct net_queue *q, bool *signal)
{
	struct pages pages = { .n = 0 };
	struct receive *r = q->ready;
	uint64_t transaction;
	struct batch *b = batch_new(q, &transaction);
	int rc;

	if (!b)
		return -EAGAIN; /* until the guest completes one */
	for (; r && pages.n < BATCH; r = r->next) {
		b->run[pages.n] = (struct run){ r->first, r->count };
		pages_add(q, &pages, r->first, r->len);
	}
	rc = pages_send(q, &pages, 0, transaction, signal);
	if (rc < 0) {
		batch_free(q, b);
		return rc;
	}
	b->n = (uint16_t)pages.n;
	while (q->ready != r) {
		struct receive *sent = q->ready;

		q->ready = sent->next;
		receive_free(sent);
	}
	if (!q->ready)
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
		if (r->generation == q->generation)
			sections_release(q, r->first, r->count);
		receive_free(r);
	}
}

void
receive_buffer(struct net_queue *q, const struct net_buffer *b)
{
	unsigned shares;

	q->receive = *b;
	q->sections = q->free_sections = q->first_section = q->next_section = 0;
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
	q->first_section = q->index * q->sections;
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
