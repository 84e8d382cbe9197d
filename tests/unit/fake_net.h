/*
 * tests/unit/fake_net.h - a network adapter on the real bus, with a guest's driver at one side and sockets
 * for taps at the other: for tests and fuzz targets. Rings, bus and frames are real; loop and time are
 * fake_loop.h.
 *
 * The guest's memory: the receive buffer at FAKE_RECEIVE, the send buffer at FAKE_SEND, its data from
 * FAKE_DATA on.
 */
#ifndef TESTS_UNIT_FAKE_NET_H
#define TESTS_UNIT_FAKE_NET_H

#include <sys/socket.h>

#ifndef FAKE_LOOP_FILES
#define FAKE_LOOP_FILES 48
#endif
#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/net.h"
#include "tests/unit/fake_loop.h"
#include "tests/unit/fake_vmbus.h"

enum {
	FAKE_NET_MB = 16,
	FAKE_NET_VPS = 4,
	FAKE_NET_RING = 9, /* pages of each ring, its control page included */
	FAKE_RECEIVE = 4 << 20,
	FAKE_RECEIVE_PAGES = 256,
	FAKE_SEND = 6 << 20,
	FAKE_SEND_PAGES = 24,
	FAKE_DATA = 8 << 20,
	FAKE_CONTROL = 7 << 20, /* RNDIS control messages of the guest */
	FAKE_RECEIVE_ID = 0xcafe,
	FAKE_VNET = 12,
	NVSP_LEN = 40,
	FAKE_MAX_FRAME = 70000,
	FAKE_RANGES = 562, /* as many as Linux takes */
};

struct fake_net {
	struct fake_vmbus f;
	struct io_loop *loop;
	struct net *n;
	struct net_config config;
	struct fake_channel c[FAKE_NET_VPS];
	struct wire_offer offer;
	int tap[FAKE_NET_VPS]; /* our ends */
	bool work;
	bool backwards;         /* page n of the receive buffer is its memory's last but n */
	uint32_t receive, send; /* GPADLs */
	uint32_t section, sections;
	uint32_t next_id; /* of RNDIS requests */
	/* The last packet of transfer pages that was taken. */
	uint64_t held;
	uint32_t ranges;
	struct {
		uint32_t len, at;
	} range[FAKE_RANGES];
	uint8_t nvsp[128]; /* payload of the last packet */
};

static inline void
fake_net_work(void *ctx)
{
	((struct fake_net *)ctx)->work = true;
}

static inline bool
fake_net_run(struct fake_net *x)
{
	bool ended = fake_loop_run(x->loop);

	while (x->work) {
		x->work = false;
		net_work(x->n);
		ended = fake_loop_run(x->loop) && ended;
	}
	return ended;
}

/* The same, and a time in which all has been told that may wait for company. */
static inline void
fake_net_wait(struct fake_net *x)
{
	fake_net_run(x);
	fake_loop_pass(x->loop, 1000000);
	fake_net_run(x);
}

/* A frame arrives: vnet (NULL: zeros), then the bytes. */
static inline bool
fake_net_inject(struct fake_net *x, unsigned q, const void *vnet, const void *frame, size_t len)
{
	static const uint8_t zeros[FAKE_VNET];
	struct iovec iov[2] = { { (void *)(uintptr_t)(vnet ? vnet : zeros), FAKE_VNET },
		{ (void *)(uintptr_t)frame, len } };
	ssize_t n = writev(x->tap[q], iov, 2);

	fake_loop_poke(x->loop);
	return n == (ssize_t)(FAKE_VNET + len);
}

/* What the guest has sent: the frame's length, -1: nothing. */
static inline long
fake_net_sent(struct fake_net *x, unsigned q, uint8_t vnet[FAKE_VNET], void *frame, size_t cap)
{
	struct iovec iov[2] = { { vnet, FAKE_VNET }, { frame, cap } };
	ssize_t n = readv(x->tap[q], iov, 2);

	return n < FAKE_VNET ? -1 : n - FAKE_VNET;
}

static inline void
fake_net_taps(struct fake_net *x, unsigned count, int fd[])
{
	for (unsigned i = 0; i < count; i++) {
		int pair[2], size = 1 << 20;

		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
			abort();
		setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		if (x->tap[i] >= 0)
			close(x->tap[i]);
		x->tap[i] = pair[0];
		fd[i] = pair[1];
	}
}

static inline bool
fake_net_connect(struct fake_net *x, unsigned count)
{
	int fd[FAKE_NET_VPS];

	fake_net_taps(x, count, fd);
	return net_connect(x->n, true, fd, count, NULL) == 0;
}

static inline void
fake_net_make(struct fake_net *x)
{
	static const uint8_t id[16] = { 5, 6, 7 };
	const struct net_events events = { .ctx = x, .work = fake_net_work };

	x->work = false;
	x->loop = fake_loop_new();
	x->loop->prompt = true;
	if (net_new(&x->n, x->f.bus, &x->loop, 1, 0, id, &x->config, &events, NULL) < 0 ||
	    vmbus_offer_device(x->f.bus, net_device(x->n), NULL) < 0 ||
	    !fake_net_connect(x, x->config.queues))
		abort();
}

static const struct net_config fake_net_config = {
	.mac = { 0x00, 0x15, 0x5d, 1, 2, 3 }, .queues = FAKE_NET_VPS, .mtu = 9000
};

static inline void
fake_net_init(struct fake_net *x, const struct net_config *c)
{
	memset(x, 0, sizeof(*x));
	for (unsigned i = 0; i < FAKE_NET_VPS; i++)
		x->tap[i] = -1;
	x->config = c ? *c : fake_net_config;
	if (fake_vmbus_init(&x->f, FAKE_NET_MB, FAKE_NET_VPS) < 0)
		abort();
	fake_net_make(x);
}

/* Bus, adapter and loop; memory and the guest's view stay. */
static inline void
fake_net_drop(struct fake_net *x)
{
	vmbus_reset(x->f.bus);
	fake_net_run(x);
	if (!vmbus_idle(x->f.bus))
		abort();
	vmbus_free(x->f.bus);
	net_free(x->n);
	io_loop_free(x->loop);
}

static inline void
fake_net_free(struct fake_net *x)
{
	fake_net_drop(x);
	for (unsigned i = 0; i < FAKE_NET_VPS; i++)
		if (x->tap[i] >= 0)
			close(x->tap[i]);
	x->f.bus = NULL;
	gmem_free(x->f.mem);
	free(x->f.heard);
}

/* --- the guest's driver --- */

static inline bool
fake_net_open(struct fake_net *x)
{
	return fake_connect(&x->f, VMBUS_5_3) && fake_offers(&x->f, &x->offer, 1) == 1 &&
	       fake_open(&x->f, &x->c[0], &x->offer, FAKE_NET_RING, FAKE_NET_RING, 0) == WIRE_STATUS_OK;
}

/* Takes the next packet: its type, 0: none. Its payload is in x->nvsp, of pages in x->range. */
static inline unsigned
fake_net_recv(struct fake_net *x, unsigned i, struct packet_head *h)
{
	static uint8_t all[24 + 8 * FAKE_RANGES];
	struct fake_ring *r = &x->c[i].in;
	uint32_t at = r->control->read_index;
	long len;

	for (size_t k = 0; k < sizeof(all); k++)
		all[k] = r->data[(at + k) % r->size];
	memset(x->nvsp, 0, sizeof(x->nvsp));
	len = fake_recv(&x->c[i], h, x->nvsp, sizeof(x->nvsp));
	if (len < 0)
		return 0;
	if (h->type == PACKET_XFER_PAGES) {
		x->held = h->transaction;
		x->ranges = get_le32(all + 20);
		for (uint32_t k = 0; k < x->ranges && k < FAKE_RANGES; k++) {
			x->range[k].len = get_le32(all + 24 + 8 * k);
			x->range[k].at = get_le32(all + 28 + 8 * k);
		}
	}
	return h->type;
}

/* Gives sections back. */
static inline bool
fake_net_complete(struct fake_net *x, unsigned i, uint64_t transaction)
{
	const uint8_t m[NVSP_LEN] = { 108, 0, 0, 0, 1 };

	return fake_send(&x->c[i], PACKET_COMPLETION, 0, transaction, NULL, 0, m, sizeof(m));
}

/* Range k, until the next is asked for. */
static inline const uint8_t *
fake_net_received(struct fake_net *x, unsigned k)
{
	static uint8_t copy[FAKE_RECEIVE_PAGES * GMEM_PAGE];
	uint32_t at = x->range[k].at, len = x->range[k].len;

	if (!x->backwards)
		return gmem_span(x->f.mem, FAKE_RECEIVE + at, len);
	for (uint32_t i = 0; i < len && at < sizeof(copy); i++, at++)
		gmem_read(x->f.mem,
		    FAKE_RECEIVE + (FAKE_RECEIVE_PAGES - 1 - at / GMEM_PAGE) * GMEM_PAGE + at % GMEM_PAGE,
		    copy + i, 1);
	return copy;
}

/* Of a message its record of that type, internal ones with bit 31: its 4 bytes; false: there is none. */
static inline bool
fake_record(const uint8_t *m, uint32_t type, uint32_t *value)
{
	const uint8_t *p = m + 8 + get_le32(m + 28);

	for (uint32_t left = get_le32(m + 32); left >= 16; left -= get_le32(p), p += get_le32(p))
		if (get_le32(p + 4) == type) {
			*value = get_le32(p + get_le32(p + 8));
			return true;
		}
	return false;
}

/* The frame that begins in range *k of the last packet, as Linux puts it together since 5.12; *k: the next
 * one's. Its length, -1: a driver would drop it. */
static inline long
fake_net_frame(struct fake_net *x, uint32_t *k, uint8_t *frame, size_t cap)
{
	enum { IS_PART = 1, IS_FIRST = 2, IS_LAST = 4 };
	uint32_t len = 0, id = 0;

	for (bool first = true;; first = false) {
		const uint8_t *m = fake_net_received(x, *k);
		uint32_t part = 0, n = get_le32(m + 12), from = 8 + get_le32(m + 8), flags;

		if (*k >= x->ranges || x->range[*k].len > x->section || x->range[*k].at % x->section != 0 ||
		    get_le32(m) != 1 || get_le32(m + 4) != x->range[*k].len || from + n != x->range[*k].len ||
		    len + n > cap)
			return -1;
		flags = fake_record(m, 0x80000001, &part) ? part >> 8 & 0xff : 0;
		memcpy(frame + len, m + from, n);
		len += n;
		++*k;
		if (first && !flags)
			return len;
		if (!(flags & IS_PART) || (part & 0xff) != 1 || first != !!(flags & IS_FIRST) ||
		    (!first && part >> 16 != id))
			return -1;
		id = part >> 16;
		if (flags & IS_LAST)
			return len;
	}
}

/* Sends an NVSP message; true when it was completed, with the answer in x->nvsp. */
static inline bool
fake_nvsp(struct fake_net *x, const uint8_t m[NVSP_LEN], size_t len)
{
	struct packet_head h;

	if (!fake_send(&x->c[0], PACKET_INBAND, PACKET_WANTS_REPLY, 77, NULL, 0, m, len))
		return false;
	fake_net_run(x);
	return fake_net_recv(x, 0, &h) == PACKET_COMPLETION && h.transaction == 77;
}

static inline bool
fake_nvsp_numbers(struct fake_net *x, uint32_t type, uint32_t a, uint32_t b, uint64_t c)
{
	uint8_t m[NVSP_LEN] = { 0 };

	put_le32(m, type);
	put_le32(m + 4, a);
	put_le32(m + 8, b);
	memcpy(m + 12, &c, sizeof(c));
	return fake_nvsp(x, m, sizeof(m));
}

static inline uint32_t
fake_net_lend(struct fake_net *x, uint64_t gpa, uint32_t pages)
{
	return fake_gpadl(&x->f, x->c[0].relid, gpa / GMEM_PAGE, pages);
}

static inline uint32_t
fake_net_lend_backwards(struct fake_net *x)
{
	enum { ID = 50 };
	uint64_t pfn[FAKE_RECEIVE_PAGES];

	for (uint64_t i = 0; i < FAKE_RECEIVE_PAGES; i++)
		pfn[i] = FAKE_RECEIVE / GMEM_PAGE + FAKE_RECEIVE_PAGES - 1 - i;
	return fake_gpadl_pages(
		   &x->f, x->c[0].relid, ID, pfn, FAKE_RECEIVE_PAGES, 0, FAKE_RECEIVE_PAGES * GMEM_PAGE) == 0
		   ? ID
		   : 0;
}

/* Up to both buffers; false when anything was refused. */
static inline bool
fake_net_agree(struct fake_net *x, uint32_t version, uint32_t mtu)
{
	if (!fake_nvsp_numbers(x, 1, version, version, 0) || get_le32(x->nvsp) != 2 ||
	    get_le32(x->nvsp + 12) != 1)
		return false;
	if (version >= 0x30002 && !fake_nvsp_numbers(x, 125, mtu + 14, 0, 1 << 3))
		return false;
	if (!fake_nvsp_numbers(x, 100, 6, version >= 0x50000 ? 30 : 1, 0))
		return false;
	x->receive = x->backwards ? fake_net_lend_backwards(x)
				  : fake_net_lend(x, FAKE_RECEIVE, FAKE_RECEIVE_PAGES);
	if (!fake_nvsp_numbers(x, 101, x->receive, FAKE_RECEIVE_ID, 0) || get_le32(x->nvsp) != 102 ||
	    get_le32(x->nvsp + 4) != 1 || get_le32(x->nvsp + 8) != 1)
		return false;
	x->section = get_le32(x->nvsp + 16);
	x->sections = get_le32(x->nvsp + 20);
	x->send = fake_net_lend(x, FAKE_SEND, FAKE_SEND_PAGES);
	return fake_nvsp_numbers(x, 104, x->send, 0, 0) && get_le32(x->nvsp) == 105 &&
	       get_le32(x->nvsp + 4) == 1 && get_le32(x->nvsp + 8) == 6144;
}

/* A packet of one range of guest memory, with an NVSP message of that channel type. */
static inline bool
fake_rndis_send(
    struct fake_net *x, unsigned i, uint32_t channel, uint64_t transaction, uint64_t gpa, uint32_t len)
{
	uint8_t ext[16 + 8 * 32] = { 0 }, m[NVSP_LEN] = { 107 };
	uint32_t pages = (uint32_t)((gpa % GMEM_PAGE + len + GMEM_PAGE - 1) / GMEM_PAGE);

	put_le32(ext + 4, 1);
	put_le32(ext + 8, len);
	put_le32(ext + 12, gpa % GMEM_PAGE);
	for (uint32_t k = 0; k < pages && k < 32; k++) {
		uint64_t pfn = gpa / GMEM_PAGE + k;

		memcpy(ext + 16 + 8 * k, &pfn, sizeof(pfn));
	}
	put_le32(m + 4, channel);
	put_le32(m + 8, UINT32_MAX);
	return fake_send(&x->c[i], PACKET_GPA_DIRECT, PACKET_WANTS_REPLY, transaction, ext,
	    16 + 8 * (size_t)pages, m, sizeof(m));
}

/* A control message; the answer's length, 0: none came. It is in `answer`, of up to 1024 bytes. */
static inline uint32_t
fake_rndis(struct fake_net *x, uint8_t *m, uint32_t len, uint8_t answer[1024])
{
	struct packet_head h;
	uint32_t got = 0;
	unsigned type;

	put_le32(m + 4, len);
	gmem_write(x->f.mem, FAKE_CONTROL, m, len);
	if (!fake_rndis_send(x, 0, 1, 78, FAKE_CONTROL, len))
		return 0;
	fake_net_run(x);
	while ((type = fake_net_recv(x, 0, &h)) != 0) {
		if (type != PACKET_XFER_PAGES)
			continue;
		got = x->range[0].len < 1024 ? x->range[0].len : 1024;
		memcpy(answer, fake_net_received(x, 0), got);
		fake_net_complete(x, 0, h.transaction);
	}
	fake_net_run(x);
	return got;
}

static inline bool
fake_rndis_initialize(struct fake_net *x)
{
	uint8_t m[24] = { 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1 }, a[1024];

	put_le32(m + 20, 0x4000);
	return fake_rndis(x, m, sizeof(m), a) == 52 && get_le32(a) == 0x80000002 && get_le32(a + 12) == 0;
}

/* A status, UINT32_MAX: no answer. *len bytes of the value in out. */
static inline uint32_t
fake_query(struct fake_net *x, uint32_t oid, uint8_t out[1024], uint32_t *len)
{
	uint8_t m[28] = { 4 }, a[1024];
	uint32_t n;

	put_le32(m + 8, ++x->next_id);
	put_le32(m + 12, oid);
	n = fake_rndis(x, m, sizeof(m), a);
	if (n < 24 || get_le32(a) != 0x80000004 || get_le32(a + 8) != x->next_id)
		return UINT32_MAX;
	*len = get_le32(a + 16);
	if (*len > n - 24)
		return UINT32_MAX;
	memcpy(out, a + 24, *len);
	return get_le32(a + 12);
}

static inline uint32_t
fake_set(struct fake_net *x, uint32_t oid, const void *v, uint32_t len)
{
	uint8_t m[1024] = { 5 }, a[1024];

	put_le32(m + 8, ++x->next_id);
	put_le32(m + 12, oid);
	put_le32(m + 16, len);
	put_le32(m + 20, 20);
	memcpy(m + 28, v, len);
	if (fake_rndis(x, m, 28 + len, a) != 16 || get_le32(a) != 0x80000005 || get_le32(a + 8) != x->next_id)
		return UINT32_MAX;
	return get_le32(a + 12);
}

static inline bool
fake_filter(struct fake_net *x, uint32_t filter)
{
	uint8_t v[4];

	put_le32(v, filter);
	return fake_set(x, 0x1010e, v, sizeof(v)) == 0;
}

/* Everything up to traffic, as Linux does it. */
static inline bool
fake_net_up(struct fake_net *x, uint32_t version, uint32_t mtu)
{
	return fake_net_open(x) && fake_net_agree(x, version, mtu) && fake_rndis_initialize(x) &&
	       fake_filter(x, 1 | 4 | 8);
}

/* Receive scaling: TCP and addresses of both IPs, with this key and table. A status. */
static inline uint32_t
fake_scale(struct fake_net *x, const uint8_t key[40], const uint8_t *table, uint32_t size, bool off)
{
	uint8_t v[28 + 40 + 512] = { 0x89, 2, 40 };

	put_le16(v + 4, off ? 16 : 0);
	put_le32(v + 8, 0x1701);
	put_le16(v + 12, (uint16_t)(4 * size));
	put_le32(v + 16, 28 + 40);
	put_le16(v + 20, 40);
	put_le32(v + 24, 28);
	memcpy(v + 28, key, 40);
	for (uint32_t i = 0; i < size && i < 128; i++)
		put_le32(v + 68 + 4 * i, table[i]);
	return fake_set(x, 0x10204, v, sizeof(v));
}

/* A TCP frame of IPv4 with the addresses of the first published vector of the hash, from that port. */
static inline void
fake_flow(struct fake_net *x, uint8_t *frame, uint32_t len, uint16_t port)
{
	static const uint8_t head[] = { 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 66, 9, 149, 187, 161, 142,
		100, 80, 0, 0, 0x06, 0xe6 };

	memset(frame, port & 0xff, len);
	memcpy(frame, x->config.mac, 6);
	memset(frame + 6, 2, 6);
	put_be16(frame + 12, 0x0800);
	memcpy(frame + 14, head, sizeof(head));
	put_be16(frame + 34, port);
}

/* An RNDIS packet into m: records (ppi) and frame; its length, a multiple of 8. */
static inline uint32_t
fake_packet(uint8_t *m, const void *ppi, uint32_t ppi_len, const void *frame, uint32_t len)
{
	uint32_t total = (44 + ppi_len + len + 7) / 8 * 8;

	memset(m, 0, total);
	put_le32(m, 1);
	put_le32(m + 4, total);
	put_le32(m + 8, 36 + ppi_len);
	put_le32(m + 12, len);
	put_le32(m + 28, ppi_len ? 36 : 0);
	put_le32(m + 32, ppi_len);
	if (ppi_len)
		memcpy(m + 44, ppi, ppi_len);
	memcpy(m + 44 + ppi_len, frame, len);
	return total;
}

/* Sends it by its pages; the status of its completion, UINT32_MAX: none. Packets to the guest are left out.
 */
static inline uint32_t
fake_net_send(struct fake_net *x, unsigned i, uint64_t gpa, const uint8_t *m, uint32_t len)
{
	struct packet_head h;
	unsigned type;

	gmem_write(x->f.mem, gpa, m, len);
	if (!fake_rndis_send(x, i, 0, 79, gpa, len))
		return UINT32_MAX;
	fake_net_run(x);
	while ((type = fake_net_recv(x, i, &h)) != 0)
		if (type == PACKET_COMPLETION && h.transaction == 79 && get_le32(x->nvsp) == 108)
			return get_le32(x->nvsp + 4);
	return UINT32_MAX;
}

/* Sub-channels are asked for and opened. */
static inline bool
fake_net_subchannels(struct fake_net *x, uint32_t count)
{
	struct fake_message m;

	if (!fake_nvsp_numbers(x, 133, 1, count, 0) || get_le32(x->nvsp + 4) != 1 ||
	    get_le32(x->nvsp + 8) != count)
		return false;
	for (uint32_t i = 1; i <= count; i++)
		if (!fake_await(&x->f, WIRE_OFFER, &m) || m.offer.index != i ||
		    fake_open(&x->f, &x->c[i], &m.offer, FAKE_NET_RING, FAKE_NET_RING, i) != WIRE_STATUS_OK)
			return false;
	fake_net_run(x);
	return true;
}

#endif
