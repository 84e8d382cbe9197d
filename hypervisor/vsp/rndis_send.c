/*
 * hypervisor/vsp/rndis_send.c - RNDIS packets of the guest, to the tap: frames with what their driver has
 * left to us (checksums, segmentation, tags), as the header before a frame tells it to the kernel.
 *
 * I/O thread. The payload goes from guest memory to the kernel as it lies; of what decides anything there is
 * one copy, which is checked, changed and sent.
 */
#include <string.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/net_private.h"

enum {
	PPI_MOST = 512,   /* bytes of them in a packet */
	OFFSETS_FROM = 8, /* offsets in a message count from here */

	WISH_IPV4 = 1 << 0,
	WISH_IPV6 = 1 << 1,
	WISH_TCP = 1 << 2,
	WISH_UDP = 1 << 3,
	WISH_IP_HEADER = 1 << 4,
	WISH_L4_SHIFT = 16,
	L4_MASK = 0x3ff,
	LSO_MSS = 0xfffff,
	LSO_L4_SHIFT = 20,
	LSO_V2 = 1 << 30,

	TYPE_IPV4 = 0x0800,
	TYPE_IPV6 = 0x86dd,
	TYPE_TAG = 0x8100,
	PROTOCOL_TCP = 6,
	IPV4_HEAD = 20,
	IPV6_HEAD = 40,
	TCP_HEAD = 20,
	TCP_CWR = 0x80,
	AT_TCP_SUM = 16,
	AT_UDP_SUM = 6,
};

#define PPI_INTERNAL 0x80000000u
#define LSO_IPV6     0x80000000u

/* What the packet's records ask for. */
struct wish {
	bool has_checksum, has_lso, has_tag;
	uint32_t checksum, lso, tag;
};

/* A frame that is put together. */
struct draft {
	struct net_queue *q;
	const struct net_pieces *ps;
	uint32_t at, len; /* of the frame in its pieces */
	uint32_t have;    /* bytes of it in `head` */
	uint8_t head[HEADERS];
	struct virtio_net_hdr_mrg_rxbuf vnet;
};

/* --- records --- */

static bool
read_records(const uint8_t *p, uint32_t left, struct wish *w)
{
	while (left) {
		uint32_t size, type, off, value;

		if (left < PPI_HEAD)
			return false;
		size = get_le32(p);
		type = get_le32(p + 4);
		off = get_le32(p + 8);
		if (size < PPI_HEAD || size > left || off < PPI_HEAD || off > size)
			return false;
		if (within(off, sizeof(value), size) && !(type & PPI_INTERNAL)) {
			value = get_le32(p + off);
			if (type == PPI_CHECKSUM) {
				w->has_checksum = true;
				w->checksum = value;
			} else if (type == PPI_LSO) {
				w->has_lso = true;
				w->lso = value;
			} else if (type == PPI_VLAN) {
				w->has_tag = true;
				w->tag = value;
			}
		}
		p += size;
		left -= size;
	}
	return true;
}

/* --- headers: in the draft's copy --- */

/* Where the IP header begins, and which it is; false when it is none. */
static bool
find_ip(const struct draft *d, uint32_t *at, uint16_t *type)
{
	*at = ETHERNET;
	*type = get_be16(d->head + 12);
	if (*type == TYPE_TAG && d->have >= ETHERNET + VLAN) {
		*at += VLAN;
		*type = get_be16(d->head + 16);
	}
	if (*type == TYPE_IPV4)
		return d->have >= *at + IPV4_HEAD && (d->head[*at] & 0xf) * 4 >= IPV4_HEAD &&
		       d->have >= *at + (d->head[*at] & 0xfu) * 4;
	return *type == TYPE_IPV6 && d->have >= *at + IPV6_HEAD;
}

static void
sum_ip_header(struct draft *d, uint32_t at)
{
	uint16_t sum;

	memset(d->head + at + 10, 0, sizeof(sum));
	sum = (uint16_t)~bytes_sum(0, d->head + at, (d->head[at] & 0xfu) * 4);
	memcpy(d->head + at + 10, &sum, sizeof(sum));
}

static void
want_checksum(struct draft *d, uint32_t start, uint32_t offset)
{
	d->vnet.hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	d->vnet.hdr.csum_start = (uint16_t)start;
	d->vnet.hdr.csum_offset = (uint16_t)offset;
}

/* The sum over addresses, protocol and length, from which the kernel goes on. */
static void
put_pseudo_sum(struct draft *d, uint32_t ip, bool v6, uint32_t l4)
{
	uint8_t rest[8] = { 0 };
	uint32_t sum = v6 ? bytes_sum(0, d->head + ip + 8, 32) : bytes_sum(0, d->head + ip + 12, 8);
	uint16_t folded;

	put_be32(rest, d->len - l4);
	rest[7] = PROTOCOL_TCP;
	folded = sum_fold(bytes_sum(sum, rest, sizeof(rest)));
	memcpy(d->head + l4 + AT_TCP_SUM, &folded, sizeof(folded));
}

/*
 * Large send, version 2. Its driver has left lengths and checksums empty that the kernel's stack wants to be
 * those of the whole frame.
 */
static bool
segment(struct draft *d, uint32_t lso)
{
	uint32_t mss = lso & LSO_MSS, l4 = lso >> LSO_L4_SHIFT & L4_MASK, ip, end;
	bool v6 = lso & LSO_IPV6;
	uint16_t type;

	if (!(lso & LSO_V2) || !mss || mss > UINT16_MAX || !find_ip(d, &ip, &type) ||
	    (type == TYPE_IPV6) != v6 || l4 < ip + (v6 ? IPV6_HEAD : (d->head[ip] & 0xfu) * 4) ||
	    d->have < l4 + TCP_HEAD)
		return false;
	end = l4 + (d->head[l4 + 12] >> 4) * 4u;
	if (end < l4 + TCP_HEAD || end > d->have || d->len - ip > UINT16_MAX)
		return false;
	if (v6) {
		put_be16(d->head + ip + 4, (uint16_t)(d->len - ip - IPV6_HEAD));
	} else {
		put_be16(d->head + ip + 2, (uint16_t)(d->len - ip));
		sum_ip_header(d, ip);
	}
	put_pseudo_sum(d, ip, v6, l4);
	want_checksum(d, l4, AT_TCP_SUM);
	if (d->len - end <= mss)
		return true; /* one segment */
	d->vnet.hdr.gso_type = v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4;
	if (d->head[l4 + 13] & TCP_CWR)
		d->vnet.hdr.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	d->vnet.hdr.gso_size = (uint16_t)mss;
	d->vnet.hdr.hdr_len = (uint16_t)end;
	return true;
}

static bool
checksum(struct draft *d, uint32_t wish)
{
	uint32_t l4 = wish >> WISH_L4_SHIFT & L4_MASK, ip = 0, at;
	uint16_t type = 0;

	if (((wish & WISH_IP_HEADER) || ((wish & (WISH_TCP | WISH_UDP)) && !l4)) && !find_ip(d, &ip, &type))
		return false;
	if ((wish & WISH_IP_HEADER) && type == TYPE_IPV4)
		sum_ip_header(d, ip);
	if (!(wish & (WISH_TCP | WISH_UDP)))
		return true;
	if (!l4)
		l4 = ip + (type == TYPE_IPV6 ? IPV6_HEAD : (d->head[ip] & 0xfu) * 4);
	at = wish & WISH_TCP ? AT_TCP_SUM : AT_UDP_SUM;
	if (l4 < ETHERNET || !within(l4 + at, 2, d->len))
		return false;
	want_checksum(d, l4, at);
	return true;
}

/* A tag that came beside the frame goes into it. */
static void
insert_tag(struct draft *d, uint32_t tag)
{
	memmove(d->head + 2 * NET_MAC + VLAN, d->head + 2 * NET_MAC, d->have - 2 * NET_MAC);
	put_be16(d->head + 2 * NET_MAC, TYPE_TAG);
	put_be16(d->head + 2 * NET_MAC + 2,
	    (uint16_t)((tag & 7) << 13 | (tag >> 3 & 1) << 12 | (tag >> 4 & 0xfff)));
	if (d->vnet.hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		d->vnet.hdr.csum_start += VLAN;
	if (d->vnet.hdr.gso_type)
		d->vnet.hdr.hdr_len += VLAN;
}

/* --- a frame --- */

static bool
is_broadcast(const uint8_t *to)
{
	static const uint8_t all[NET_MAC] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	return memcmp(to, all, NET_MAC) == 0;
}

/* It may send from its own address only, unless its administrator lets it have any. */
static bool
is_own(const struct net_queue *q, const uint8_t *head)
{
	uint64_t mac = atomic_load_explicit(&q->n->mac, memory_order_relaxed);

	return q->n->config.spoofing || memcmp(head + NET_MAC, &mac, NET_MAC) == 0;
}

static bool
go(struct draft *d, struct send *s, uint32_t tag_bytes)
{
	struct frame *f = frame_new(d->q);
	const struct gmem *mem = queue_memory(d->q);
	uint32_t rest = d->len - d->have;
	unsigned iovs = 2, more = 0;

	if (!f)
		return false;
	if (rest)
		more = pieces_iov(d->ps, mem, d->at + d->have, rest, f->iov + 2, NET_PIECES);
	if (rest && !more) {
		frame_free(f);
		return false;
	}
	f->send = s;
	f->len = d->len + tag_bytes;
	f->first = d->head[0];
	f->broadcast = is_broadcast(d->head);
	f->vnet = d->vnet;
	memcpy(f->head, d->head, d->have + tag_bytes);
	f->iov[0] = (struct iovec){ &f->vnet, VNET };
	f->iov[1] = (struct iovec){ f->head, d->have + tag_bytes };
	frame_begin(f, iovs + more);
	return true;
}

/* False: it makes no sense. */
static bool
send_frame(struct draft *d, struct send *s, const struct wish *w)
{
	struct net_queue *q = d->q;
	uint32_t most = w->has_lso ? FRAME_MAX
				   : atomic_load_explicit(&q->n->frame_max, memory_order_relaxed) + VLAN;
	uint32_t want = w->has_lso || w->has_checksum || d->len <= HEADERS - VLAN ? HEADERS - VLAN : ETHERNET;

	d->have = want < d->len ? want : d->len;
	if (d->len < ETHERNET || d->len > most ||
	    !pieces_read(d->ps, queue_memory(q), d->at, d->head, d->have))
		return false;
	if (!is_own(q, d->head)) {
		net_count(q, SENT_SPOOFED, 1);
		net_mistake(q->n, MISTAKE_SOURCE);
		return true;
	}
	if (w->has_lso ? !segment(d, w->lso) : w->has_checksum && !checksum(d, w->checksum))
		return false;
	if (q->tap.slot < 0 || !atomic_load_explicit(&q->n->link, memory_order_relaxed)) {
		net_count(q, SENT_DROPPED, 1);
		return true;
	}
	if (w->has_tag)
		insert_tag(d, w->tag);
	return go(d, s, w->has_tag ? VLAN : 0);
}

/* --- a message --- */

/* The message at `at`: its length, 0 when it is none. */
static uint32_t
one_message(struct net_queue *q, struct send *s, uint32_t at)
{
	const struct gmem *mem = queue_memory(q);
	struct draft d = { .q = q, .ps = &q->pieces };
	uint8_t m[RNDIS_PACKET_HEAD], records[PPI_MOST];
	uint64_t data, ppi;
	uint32_t len, ppi_len;
	struct wish w = { 0 };

	if (!pieces_read(&q->pieces, mem, at, m, sizeof(m)))
		return 0;
	len = get_le32(m + 4);
	data = (uint64_t)get_le32(m + 8) + OFFSETS_FROM;
	d.len = get_le32(m + 12);
	ppi = (uint64_t)get_le32(m + 28) + OFFSETS_FROM;
	ppi_len = get_le32(m + 32);
	if (get_le32(m) != RNDIS_PACKET || len < RNDIS_PACKET_HEAD || !within(at, len, q->pieces.bytes) ||
	    data < RNDIS_PACKET_HEAD || !within(data, d.len, len))
		return 0;
	if (ppi_len && (ppi_len > PPI_MOST || ppi < RNDIS_PACKET_HEAD || !within(ppi, ppi_len, len) ||
			   !pieces_read(&q->pieces, mem, at + (uint32_t)ppi, records, ppi_len) ||
			   !read_records(records, ppi_len, &w)))
		return 0;
	d.at = at + (uint32_t)data;
	if (!send_frame(&d, s, &w))
		return 0;
	return len;
}

uint32_t
rndis_send(struct net_queue *q, struct send *s)
{
	uint32_t at = 0, n = 0, len;

	/* What is too short for a message is what fills the space behind the last. */
	while (n == 0 || q->pieces.bytes - at >= RNDIS_PACKET_HEAD) {
		len = n++ < FRAMES_A_PACKET ? one_message(q, s, at) : 0;
		if (!len) {
			net_count(q, SENT_ERRORS, 1);
			net_mistake(q->n, MISTAKE_RNDIS);
			return NVSP_INVALID;
		}
		at += len;
	}
	return NVSP_OK;
}
