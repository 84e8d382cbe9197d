/*
 * hypervisor/vsp/oid_offload.c - OIDs about offloads and receive scaling: what the adapter can do, what the
 * guest wants of it. Layouts are those of NDIS 6.0, 6.1 and 6.30.
 *
 * The primary channel's thread.
 */
#include <string.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/net_private.h"

enum {
	OBJECT_OFFLOAD = 0xa7,
	OBJECT_DEFAULT = 0x80,
	OBJECT_RSS_CAPABILITIES = 0x88,
	OBJECT_RSS_PARAMETERS = 0x89,
	NDIS_6_1 = 6 << 16 | 1,
	NDIS_6_30 = 6 << 16 | 30,

	/* NDIS_OFFLOAD: its size by revision, and where its parts are. */
	OFFLOAD_6_0 = 112,
	OFFLOAD_6_1 = 144,
	OFFLOAD_6_30 = 156,
	AT_CHECKSUM = 4,
	AT_LSO_2 = 80,
	AT_RSC = 144,
	ENCAPSULATION_8023 = 2,
	CHECKSUM_IPV4 = 0x155, /* with options: IP header; TCP; UDP */
	CHECKSUM_IPV6 = 0x055, /* with extension headers */
	LSO_MOST = 62780,      /* bytes of TCP payload: with all headers it stays below 64 KiB */
	LSO_LEAST = 2,         /* segments */
	LSO_IPV6_ALL = 0x5,    /* with extension headers and TCP options */

	/* NDIS_OFFLOAD_PARAMETERS */
	PARAMETERS_LEAST = 16,
	AT_SUMS = 4,
	SUM_IPV4 = 0, /* its header's */
	SUMS = 5,
	SUM_OFF = 1,
	SUM_SEND_ONLY = 2,
	SUM_MOST = 4,
	AT_RSC_V4 = 22,
	AT_RSC_V6 = 23,
	RSC_OFF = 1,
	RSC_ON = 2,

	/* Receive scaling. */
	RSS_CAPABILITIES_LEN = 18, /* through its last field: Linux takes not a byte more */
	RSS_TYPES = 0x700,         /* TCP and IP on IPv4, IPv6, and with extension headers */
	RSS_HEAD = 28,
	RSS_NO_CHANGE_HASH = 2,
	RSS_NO_CHANGE_TABLE = 4,
	RSS_NO_CHANGE_KEY = 8,
	RSS_OFF = 16,
};

/* --- offloads --- */

static uint32_t
offload_len(const struct net *n)
{
	return n->ndis >= NDIS_6_30 ? OFFLOAD_6_30 : n->ndis >= NDIS_6_1 ? OFFLOAD_6_1 : OFFLOAD_6_0;
}

/* The head of an object in a query says how much of it its driver knows. */
static uint32_t
bounded(const uint8_t *in, uint32_t in_len, uint32_t len)
{
	uint32_t knows = in_len >= 4 ? get_le16(in + 2) : len;

	return knows >= OFFLOAD_6_0 && knows < len ? knows : len;
}

static void
put_checksums(uint8_t *p, uint32_t send, uint32_t receive)
{
	put_le32(p, ENCAPSULATION_8023);
	put_le32(p + 4, send);
	put_le32(p + 8, ENCAPSULATION_8023);
	put_le32(p + 12, receive);
}

static uint32_t
put_offloads(const struct net *n, const uint8_t *in, uint32_t in_len, uint8_t *out, bool receive, bool rsc)
{
	uint32_t len = bounded(in, in_len, offload_len(n));

	memset(out, 0, OFFLOAD_6_30);
	out[0] = OBJECT_OFFLOAD;
	out[1] = len >= OFFLOAD_6_30 ? 3 : len >= OFFLOAD_6_1 ? 2 : 1;
	put_le16(out + 2, (uint16_t)len);
	put_checksums(out + AT_CHECKSUM, CHECKSUM_IPV4, receive ? CHECKSUM_IPV4 : 0);
	put_checksums(out + AT_CHECKSUM + 16, CHECKSUM_IPV6, receive ? CHECKSUM_IPV6 : 0);
	put_le32(out + AT_LSO_2, ENCAPSULATION_8023);
	put_le32(out + AT_LSO_2 + 4, LSO_MOST);
	put_le32(out + AT_LSO_2 + 8, LSO_LEAST);
	put_le32(out + AT_LSO_2 + 12, ENCAPSULATION_8023);
	put_le32(out + AT_LSO_2 + 16, LSO_MOST);
	put_le32(out + AT_LSO_2 + 20, LSO_LEAST);
	put_le32(out + AT_LSO_2 + 24, LSO_IPV6_ALL);
	if (len >= OFFLOAD_6_30)
		out[AT_RSC] = out[AT_RSC + 1] = rsc;
	return len;
}

/* Long frames come in parts, as the vSwitch has told them since NVSP 6.1. */
static bool
takes_parts(const struct net *n)
{
	return atomic_load(&n->version) >= NVSP_6_1;
}

uint32_t
offload_capabilities(struct net *n, const uint8_t *in, uint32_t in_len, uint8_t *out)
{
	return put_offloads(n, in, in_len, out, true, takes_parts(n));
}

uint32_t
offload_config(struct net *n, const uint8_t *in, uint32_t in_len, uint8_t *out)
{
	return put_offloads(n, in, in_len, out, atomic_load(&n->checked), atomic_load(&n->coalesce));
}

static bool
is_told(const struct net *n, size_t sum)
{
	return n->checksum_state[sum] != SUM_OFF && n->checksum_state[sum] != SUM_SEND_ONLY;
}

/* Above IP of all kinds or of none: a frame without checksum does not say beforehand which it is. IPv4's own
 * header is apart: every frame has that sum, and Linux wants to hear nothing of it. */
void
offload_apply(struct net *n)
{
	bool checked = true;

	for (size_t i = SUM_IPV4 + 1; i < SUMS; i++)
		checked = checked && is_told(n, i);
	atomic_store(&n->checked, checked);
	atomic_store(&n->checked_ip, is_told(n, SUM_IPV4));
	if (!atomic_exchange(&n->tap_dirty, true))
		net_ask(n);
}

/* The tap's frames are of both or of neither. */
static bool
wants_coalescing(const uint8_t *in, uint32_t in_len)
{
	return in_len > AT_RSC_V6 && in[AT_RSC_V4] == RSC_ON && in[AT_RSC_V6] == RSC_ON;
}

uint32_t
offload_set(struct net *n, const uint8_t *in, uint32_t in_len)
{
	if (in_len < PARAMETERS_LEAST)
		return RNDIS_LENGTH;
	if (in[0] != OBJECT_DEFAULT)
		return RNDIS_INVALID_DATA;
	for (size_t i = 0; i < SUMS; i++)
		if (in[AT_SUMS + i] > SUM_MOST)
			return RNDIS_INVALID_DATA;
	if (wants_coalescing(in, in_len) && !takes_parts(n))
		return RNDIS_NOT_SUPPORTED;
	for (size_t i = 0; i < SUMS; i++)
		if (in[AT_SUMS + i]) /* 0: as it was */
			n->checksum_state[i] = in[AT_SUMS + i];
	if (in_len > AT_RSC_V6) {
		if (wants_coalescing(in, in_len))
			atomic_store(&n->coalesce, true);
		else if (in[AT_RSC_V4] == RSC_OFF || in[AT_RSC_V6] == RSC_OFF)
			atomic_store(&n->coalesce, false);
	}
	offload_apply(n);
	return RNDIS_OK;
}

/* --- receive scaling --- */

void
rss_changed(struct net *n)
{
	atomic_store(&n->rss_dirty, true);
	net_ask(n);
}

uint32_t
rss_capabilities(struct net *n, const uint8_t *in, uint32_t in_len, uint8_t *out)
{
	(void)in, (void)in_len;
	if (atomic_load(&n->version) < NVSP_5)
		return 0;
	memset(out, 0, RSS_CAPABILITIES_LEN);
	out[0] = OBJECT_RSS_CAPABILITIES;
	out[1] = 2;
	put_le16(out + 2, RSS_CAPABILITIES_LEN);
	put_le32(out + 4, RSS_TOEPLITZ | RSS_TYPES);
	put_le32(out + 8, n->queues);
	put_le32(out + 12, n->queues);
	put_le16(out + 16, RSS_TABLE);
	return RSS_CAPABILITIES_LEN;
}

struct rss_parameters {
	const uint8_t *table, *key;
	uint32_t size, key_len;
};

static uint32_t
check_rss(const struct net *n, const uint8_t *in, uint32_t len, uint16_t flags, struct rss_parameters *r)
{
	uint32_t table_at = get_le32(in + 16), key_at = get_le32(in + 24);

	r->size = get_le16(in + 12);
	r->key_len = get_le16(in + 20);
	if (flags & RSS_NO_CHANGE_TABLE)
		r->size = 0;
	if (flags & RSS_NO_CHANGE_KEY)
		r->key_len = 0;
	if (!within(table_at, r->size, len) || !within(key_at, r->key_len, len) || r->size % 4 != 0 ||
	    r->size / 4 > RSS_TABLE || r->key_len > RSS_KEY)
		return RNDIS_INVALID_DATA;
	r->table = in + (r->size ? table_at : 0);
	r->key = in + (r->key_len ? key_at : 0);
	for (uint32_t i = 0; i < r->size / 4; i++)
		if (get_le32(r->table + (size_t)4 * i) >= n->queues)
			return RNDIS_INVALID_DATA;
	return RNDIS_OK;
}

uint32_t
rss_set(struct net *n, const uint8_t *in, uint32_t len)
{
	struct rss_parameters r;
	uint16_t flags;
	uint32_t status;

	if (len < RSS_HEAD)
		return RNDIS_LENGTH;
	if (in[0] != OBJECT_RSS_PARAMETERS)
		return RNDIS_INVALID_DATA;
	flags = get_le16(in + 4);
	status = check_rss(n, in, len, flags, &r);
	if (status != RNDIS_OK)
		return status;
	n->rss.off = flags & RSS_OFF;
	if (!(flags & RSS_NO_CHANGE_HASH))
		n->rss.hash = get_le32(in + 8);
	if (r.size) {
		n->rss.size = r.size / 4;
		for (uint32_t i = 0; i < n->rss.size; i++)
			n->rss.table[i] = (uint8_t)get_le32(r.table + (size_t)4 * i);
	}
	if (r.key_len) {
		memset(n->rss.key, 0, sizeof(n->rss.key));
		memcpy(n->rss.key, r.key, r.key_len);
		rss_prepare(&n->rss);
	}
	rss_changed(n);
	return RNDIS_OK;
}
