/*
 * hypervisor/vsp/net_frame.c - what the guest is told of a frame: whether it is for it at all, which
 * checksums are right, the tag that was taken out, the hash, the parts that it lies in.
 *
 * I/O thread.
 */
#include <string.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/net_private.h"

enum {
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

	/* Of a part: its record's version and flags (RNDIS_PKTINFO of Linux, NVSP 6.1). */
	PART_VERSION = 1,
	PART_IS_ONE = 1,
	PART_FIRST = 2,
	PART_LAST = 4,
};

/* --- for whom --- */

bool
frame_wanted(const struct net *n, const uint8_t *to)
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

void
frame_count(struct net_queue *q, const uint8_t *to, uint32_t len)
{
	static const uint8_t all[NET_MAC] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	unsigned kind = memcmp(to, all, NET_MAC) == 0 ? 2 : to[0] & 1;

	net_count(q, TAKEN_UNICAST + kind, 1);
	net_count(q, TAKEN_UNICAST_BYTES + kind, len);
}

/* --- checksums --- */

/* A sender on this host has left the checksum to us. It is made, not only called good: a guest that forwards
 * the frame sends it as it is. False: the frame makes no sense. */
static bool
complete_checksum(struct receive *r, const struct virtio_net_hdr *v)
{
	uint32_t start = v->csum_start, at = start + v->csum_offset;
	uint16_t sum;

	if (start >= r->len || !within(at, sizeof(sum), r->len))
		return false;
	sum = (uint16_t)~frame_sum(r, start, r->len - start);
	if (sum == 0 && v->csum_offset == AT_CHECKSUM_UDP)
		sum = 0xffff;
	return frame_write(r, at, &sum, sizeof(sum));
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

bool
frame_checksums(struct receive *r, const uint8_t *head, uint32_t have, uint32_t *are)
{
	const struct virtio_net_hdr *v = (const struct virtio_net_hdr *)&r->vnet;
	bool segments = v->gso_type != VIRTIO_NET_HDR_GSO_NONE;

	*are = 0;
	if (segments && !atomic_load_explicit(&r->q->n->coalesce, memory_order_relaxed))
		return false;
	if (v->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		/* One of many segments has as many checksums: a guest that takes it does not forward it. */
		if (!segments && !complete_checksum(r, v))
			return false;
		*are = v->csum_offset == AT_CHECKSUM_TCP   ? CHECKED_TCP
		       : v->csum_offset == AT_CHECKSUM_UDP ? CHECKED_UDP
							   : 0;
		*are |= name_checksums(head, have) & CHECKED_IP;
	} else if (v->flags & VIRTIO_NET_HDR_F_DATA_VALID) {
		*are = name_checksums(head, have);
	}
	if (!atomic_load_explicit(&r->q->n->checked, memory_order_relaxed))
		*are &= CHECKED_IP;
	if (!atomic_load_explicit(&r->q->n->checked_ip, memory_order_relaxed))
		*are &= ~(uint32_t)CHECKED_IP;
	return true;
}

/* --- heads --- */

/* A message's, as it is put together. */
struct head {
	uint8_t m[RECEIVE_AT];
	uint32_t at;   /* behind its records */
	uint32_t from; /* where the frame begins */
};

static void
add_ppi(struct head *h, uint32_t type, uint32_t value)
{
	put_le32(h->m + h->at, PPI_HEAD + 4);
	put_le32(h->m + h->at + 4, type);
	put_le32(h->m + h->at + 8, PPI_HEAD);
	put_le32(h->m + h->at + PPI_HEAD, value);
	h->at += PPI_HEAD + 4;
}

/* The tag leaves the frame: the addresses move up to what follows it. */
static bool
take_tag_out(struct receive *r, struct head *h, const uint8_t *head)
{
	uint16_t tag = get_be16(head + 14);

	if (!frame_write(r, VLAN, head, 2 * NET_MAC))
		return false;
	add_ppi(
	    h, PPI_VLAN, (uint32_t)tag >> 13 | (uint32_t)(tag >> 12 & 1) << 3 | (uint32_t)(tag & 0xfff) << 4);
	h->from += VLAN;
	return true;
}

static void
add_part(const struct receive *r, struct head *h, unsigned k)
{
	uint32_t flags = PART_IS_ONE | (k == 0 ? PART_FIRST : 0) | (k + 1u == r->used ? PART_LAST : 0);

	add_ppi(h, PPI_INTERNAL | PPI_PART, PART_VERSION | flags << 8 | (uint32_t)r->q->long_id << 16);
}

static void
write_head(struct receive *r, struct head *h, unsigned k)
{
	uint32_t end = RECEIVE_AT + part_bytes(r, k);

	put_le32(h->m, RNDIS_PACKET);
	put_le32(h->m + 4, end);
	put_le32(h->m + 8, h->from - 8);
	put_le32(h->m + 12, end - h->from);
	if (h->at > RNDIS_PACKET_HEAD) {
		put_le32(h->m + 28, RNDIS_PACKET_HEAD - 8);
		put_le32(h->m + 32, h->at - RNDIS_PACKET_HEAD);
	}
	part_head(r, k, h->m, h->at);
}

static const struct head empty = { .at = RNDIS_PACKET_HEAD, .from = RECEIVE_AT };

bool
frame_heads(struct receive *r, const uint8_t *head, uint32_t have, const struct told *told)
{
	struct head h = empty;
	bool tagged = have >= ETHERNET + VLAN && get_be16(head + 12) == TAG;

	if (told->checksums)
		add_ppi(&h, PPI_CHECKSUM, told->checksums);
	if (told->hashed)
		add_ppi(&h, PPI_HASH, told->hash);
	if (tagged && atomic_load_explicit(&r->q->n->vlan, memory_order_relaxed) &&
	    !take_tag_out(r, &h, head))
		return false;
	if (r->used > 1) {
		r->q->long_id++;
		add_part(r, &h, 0);
	}
	write_head(r, &h, 0);
	for (unsigned k = 1; k < r->used; k++) {
		h = empty;
		add_part(r, &h, k);
		write_head(r, &h, k);
	}
	return true;
}
