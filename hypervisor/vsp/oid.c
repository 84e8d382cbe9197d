/*
 * hypervisor/vsp/oid.c - what the guest's driver may ask of its adapter and set: one table of OIDs. What is
 * not in it is not supported.
 *
 * The primary channel's thread. The list is of what Linux 4.4 and newer, and Windows Server 2012 R2 and newer
 * ask; names and layouts are those of NDIS (ntddndis.h).
 */
#include <string.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/net_private.h"

enum {
	OUT_MAX = CONTROL_MAX - 64,
	CONNECTED = 1, /* NDIS_MEDIA_CONNECT_STATE */
	DISCONNECTED = 2,
	FULL_DUPLEX = 2,
	MAC_OPTIONS = 1 | 4 | 8, /* copies data, transfers not pending, no loopback */
	MAC_OPTION_8021 = 0x40 | 0x80,
	FILTERS = 0x2f,
	LINK_STATE_LEN = 40,
	STATISTICS_LEN = 8 + 18 * 8,
	OBJECT_DEFAULT = 0x80,
	PARAMETER_HEAD = 20,
	PARAMETER_STRING = 2,
};

struct query {
	struct net *n;
	const uint8_t *in;
	uint32_t in_len;
	uint8_t *out;
};

uint64_t
net_total(const struct net *n, enum net_count c)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < n->queues; i++)
		sum += atomic_load_explicit(&n->queue[i].count[c], memory_order_relaxed);
	return sum;
}

/* --- queries: how many bytes were put into out, or 0: it has failed --- */

static uint32_t
put_number(const struct query *q, uint32_t v)
{
	put_le32(q->out, v);
	return sizeof(v);
}

static uint32_t
put_text(const struct query *q, const char *text)
{
	memcpy(q->out, text, strlen(text) + 1);
	return (uint32_t)strlen(text) + 1;
}

static uint32_t
put_count(const struct query *q, uint64_t v)
{
	memcpy(q->out, &v, sizeof(v));
	return sizeof(v);
}

static uint32_t
put_mac(const struct query *q, uint64_t mac)
{
	memcpy(q->out, &mac, NET_MAC);
	return NET_MAC;
}

static uint64_t
speed(const struct net *n)
{
	return n->config.speed ? n->config.speed : 10000000000ull;
}

static uint32_t
get_vendor(const struct query *q)
{
	return put_text(q, "Freehold network adapter");
}

static uint32_t
get_driver_version(const struct query *q)
{
	put_le16(q->out, 0x0600);
	return sizeof(uint16_t);
}

static uint32_t
get_mac_options(const struct query *q)
{
	return put_number(q, MAC_OPTIONS | (atomic_load(&q->n->vlan) ? MAC_OPTION_8021 : 0));
}

static uint32_t
get_link_speed(const struct query *q)
{
	uint64_t units = speed(q->n) / 100;

	return put_number(q, units > UINT32_MAX ? UINT32_MAX : (uint32_t)units);
}

static uint32_t
get_max_speed(const struct query *q)
{
	put_count(q, speed(q->n));
	put_count(&(struct query){ .out = q->out + 8 }, speed(q->n));
	return 16;
}

static uint32_t
get_link_state(const struct query *q)
{
	bool up = atomic_load(&q->n->link);

	memset(q->out, 0, LINK_STATE_LEN);
	q->out[0] = OBJECT_DEFAULT;
	q->out[1] = 1;
	put_le16(q->out + 2, LINK_STATE_LEN);
	put_le32(q->out + 4, up ? CONNECTED : DISCONNECTED);
	put_le32(q->out + 8, FULL_DUPLEX);
	put_count(&(struct query){ .out = q->out + 16 }, speed(q->n));
	put_count(&(struct query){ .out = q->out + 24 }, speed(q->n));
	return LINK_STATE_LEN;
}

static uint32_t
get_multicasts(const struct query *q)
{
	memcpy(q->out, q->n->multicast, (size_t)q->n->multicasts * NET_MAC);
	return q->n->multicasts * NET_MAC;
}

static uint64_t
frames(const struct net *n, enum net_count first)
{
	return net_total(n, first) + net_total(n, first + 1) + net_total(n, first + 2);
}

static uint64_t
sent_errors(const struct net *n)
{
	return net_total(n, SENT_ERRORS) + net_total(n, SENT_DROPPED) + net_total(n, SENT_SPOOFED);
}

/* NDIS_STATISTICS_INFO: everything at once. */
static uint32_t
get_statistics(const struct query *q)
{
	static const enum net_count taken[] = { TAKEN_UNICAST, TAKEN_MULTICAST, TAKEN_BROADCAST },
				    sent[] = { SENT_UNICAST, SENT_MULTICAST, SENT_BROADCAST },
				    taken_bytes[] = { TAKEN_UNICAST_BYTES, TAKEN_MULTICAST_BYTES,
					    TAKEN_BROADCAST_BYTES },
				    sent_bytes[] = { SENT_UNICAST_BYTES, SENT_MULTICAST_BYTES,
					    SENT_BROADCAST_BYTES };
	uint64_t v[18] = { net_total(q->n, TAKEN_NO_ROOM), net_total(q->n, TAKEN_ERRORS),
		frames(q->n, TAKEN_UNICAST_BYTES) };

	for (size_t i = 0; i < 3; i++) {
		v[3 + i] = net_total(q->n, taken[i]);
		v[7 + i] = net_total(q->n, sent[i]);
		v[12 + i] = net_total(q->n, taken_bytes[i]);
		v[15 + i] = net_total(q->n, sent_bytes[i]);
	}
	v[6] = frames(q->n, SENT_UNICAST_BYTES);
	v[10] = net_total(q->n, SENT_ERRORS);
	v[11] = net_total(q->n, SENT_DROPPED) + net_total(q->n, SENT_SPOOFED);
	q->out[0] = OBJECT_DEFAULT;
	q->out[1] = 1;
	put_le16(q->out + 2, STATISTICS_LEN);
	put_le32(q->out + 4, 0x3ffff); /* all of them count */
	memcpy(q->out + 8, v, sizeof(v));
	return 8 + sizeof(v);
}

static uint32_t
get_capabilities(const struct query *q)
{
	return offload_capabilities(q->n, q->in, q->in_len, q->out);
}

static uint32_t
get_offloads(const struct query *q)
{
	return offload_config(q->n, q->in, q->in_len, q->out);
}

static uint32_t
get_rss(const struct query *q)
{
	return rss_capabilities(q->n, q->in, q->in_len, q->out);
}

static uint32_t get_supported(const struct query *q);

#define NUMBER(name, value)                               \
	static uint32_t get_##name(const struct query *q) \
	{                                                 \
		return put_number(q, (uint32_t)(value));  \
	}
#define COUNT(name, value)                                \
	static uint32_t get_##name(const struct query *q) \
	{                                                 \
		return put_count(q, value);               \
	}
NUMBER(zero, 0)
NUMBER(mtu, q->n->mtu)
NUMBER(frame, q->n->mtu + ETHERNET)
NUMBER(buffer, 1 << 20)
NUMBER(vendor_id, 0xffffff)
NUMBER(filter, atomic_load(&q->n->filter))
NUMBER(connect, !atomic_load(&q->n->link))
NUMBER(send_packets, 8)
NUMBER(vendor_version, 0x10000)
NUMBER(list_size, MULTICASTS)
COUNT(sent, frames(q->n, SENT_UNICAST))
COUNT(taken, frames(q->n, TAKEN_UNICAST))
COUNT(sent_errors, sent_errors(q->n))
COUNT(taken_errors, net_total(q->n, TAKEN_ERRORS))
COUNT(no_room, net_total(q->n, TAKEN_NO_ROOM))
COUNT(sent_unicast_bytes, net_total(q->n, SENT_UNICAST_BYTES))
COUNT(sent_unicast, net_total(q->n, SENT_UNICAST))
COUNT(sent_multicast_bytes, net_total(q->n, SENT_MULTICAST_BYTES))
COUNT(sent_multicast, net_total(q->n, SENT_MULTICAST))
COUNT(sent_broadcast_bytes, net_total(q->n, SENT_BROADCAST_BYTES))
COUNT(sent_broadcast, net_total(q->n, SENT_BROADCAST))
COUNT(taken_unicast_bytes, net_total(q->n, TAKEN_UNICAST_BYTES))
COUNT(taken_unicast, net_total(q->n, TAKEN_UNICAST))
COUNT(taken_multicast_bytes, net_total(q->n, TAKEN_MULTICAST_BYTES))
COUNT(taken_multicast, net_total(q->n, TAKEN_MULTICAST))
COUNT(taken_broadcast_bytes, net_total(q->n, TAKEN_BROADCAST_BYTES))
COUNT(taken_broadcast, net_total(q->n, TAKEN_BROADCAST))
COUNT(taken_bytes, frames(q->n, TAKEN_UNICAST_BYTES))
COUNT(sent_bytes, frames(q->n, SENT_UNICAST_BYTES))

static uint32_t
get_permanent_mac(const struct query *q)
{
	memcpy(q->out, q->n->config.mac, NET_MAC);
	return NET_MAC;
}

static uint32_t
get_mac(const struct query *q)
{
	return put_mac(q, atomic_load(&q->n->mac));
}

/* --- sets: a status --- */

static uint32_t
set_nothing(struct net *n, const uint8_t *in, uint32_t len)
{
	(void)n, (void)in, (void)len;
	return RNDIS_OK;
}

static uint32_t
set_filter(struct net *n, const uint8_t *in, uint32_t len)
{
	if (len < sizeof(uint32_t))
		return RNDIS_LENGTH;
	atomic_store(&n->filter, get_le32(in) & FILTERS);
	return RNDIS_OK;
}

unsigned
oid_multicast_bin(const uint8_t address[NET_MAC])
{
	uint32_t h = 0x811c9dc5;

	for (int i = 0; i < NET_MAC; i++)
		h = (h ^ address[i]) * 0x01000193;
	return h >> 26;
}

void
oid_multicast_bins(struct net *n)
{
	uint64_t bins = 0;

	for (uint32_t i = 0; i < n->multicasts; i++)
		bins |= 1ull << oid_multicast_bin(n->multicast[i]);
	atomic_store(&n->bins, bins);
}

static uint32_t
set_multicasts(struct net *n, const uint8_t *in, uint32_t len)
{
	if (len % NET_MAC != 0 || len / NET_MAC > MULTICASTS)
		return RNDIS_LENGTH;
	n->multicasts = len / NET_MAC;
	memcpy(n->multicast, in, len);
	oid_multicast_bins(n);
	return RNDIS_OK;
}

static int
digit(uint16_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Twelve digits of UTF-16. */
static bool
read_mac(const uint8_t *p, uint8_t mac[NET_MAC])
{
	for (int i = 0; i < NET_MAC; i++) {
		int high = digit(get_le16(p + 4 * (size_t)i)), low = digit(get_le16(p + 4 * (size_t)i + 2));

		if (high < 0 || low < 0)
			return false;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	return !(mac[0] & 1);
}

/* A parameter by its name. There is one that an adapter may be told: another address. */
static uint32_t
set_parameter(struct net *n, const uint8_t *in, uint32_t len)
{
	static const char name[] = "NetworkAddress";
	uint32_t name_at, name_len, at, value_len;
	uint8_t mac[NET_MAC];
	uint64_t packed = 0;

	if (len < PARAMETER_HEAD)
		return RNDIS_LENGTH;
	name_at = get_le32(in);
	name_len = get_le32(in + 4);
	at = get_le32(in + 12);
	value_len = get_le32(in + 16);
	if (!within(name_at, name_len, len) || !within(at, value_len, len))
		return RNDIS_INVALID_DATA;
	if (name_len != 2 * (sizeof(name) - 1) || value_len != 4 * NET_MAC ||
	    get_le32(in + 8) != PARAMETER_STRING)
		return RNDIS_NOT_SUPPORTED;
	for (size_t i = 0; i < sizeof(name) - 1; i++)
		if (get_le16(in + name_at + 2 * i) != (uint8_t)name[i])
			return RNDIS_NOT_SUPPORTED;
	if (!read_mac(in + at, mac))
		return RNDIS_INVALID_DATA;
	if (!n->config.spoofing && memcmp(mac, n->config.mac, NET_MAC) != 0)
		return RNDIS_FAILURE;
	memcpy(&packed, mac, NET_MAC);
	atomic_store(&n->mac, packed);
	return RNDIS_OK;
}

/* --- the table --- */

static const struct oid {
	uint32_t oid;
	uint32_t (*get)(const struct query *q);                          /* NULL: it cannot be asked */
	uint32_t (*set)(struct net *n, const uint8_t *in, uint32_t len); /* NULL: nor set */
} oids[] = {
	{ 0x00010101, get_supported, NULL },             /* supported list */
	{ 0x00010102, get_zero, NULL },                  /* hardware status: ready */
	{ 0x00010103, get_zero, NULL },                  /* media supported: 802.3 */
	{ 0x00010104, get_zero, NULL },                  /* media in use */
	{ 0x00010105, get_mtu, NULL },                   /* maximum look-ahead */
	{ 0x00010106, get_mtu, NULL },                   /* maximum frame size */
	{ 0x00010107, get_link_speed, NULL },            /* in units of 100 bit/s */
	{ 0x00010108, get_buffer, NULL },                /* transmit buffer space */
	{ 0x00010109, get_buffer, NULL },                /* receive buffer space */
	{ 0x0001010a, get_frame, NULL },                 /* transmit block size */
	{ 0x0001010b, get_frame, NULL },                 /* receive block size */
	{ 0x0001010c, get_vendor_id, NULL },             /* none */
	{ 0x0001010d, get_vendor, NULL },                /* vendor's description */
	{ 0x0001010e, get_filter, set_filter },          /* packet filter */
	{ 0x0001010f, get_mtu, set_nothing },            /* look-ahead */
	{ 0x00010110, get_driver_version, NULL },        /* NDIS version of the driver */
	{ 0x00010111, get_frame, NULL },                 /* maximum total size */
	{ 0x00010113, get_mac_options, NULL },           /* MAC options */
	{ 0x00010114, get_connect, NULL },               /* media connect status: 0 connected */
	{ 0x00010115, get_send_packets, NULL },          /* packets in a message */
	{ 0x00010116, get_vendor_version, NULL },        /* of the vendor's driver */
	{ 0x00010118, NULL, set_nothing },               /* network layer addresses */
	{ 0x00010202, get_zero, NULL },                  /* physical medium: unspecified */
	{ 0x00010203, get_rss, NULL },                   /* receive scaling: capabilities */
	{ 0x00010204, NULL, rss_set },                   /* and parameters */
	{ 0x00010206, get_max_speed, NULL },             /* maximum link speed */
	{ 0x00010207, get_link_state, NULL },            /* link state */
	{ 0x00010208, NULL, set_nothing },               /* link parameters */
	{ 0x0001021b, NULL, set_parameter },             /* configuration parameter */
	{ 0x00020101, get_sent, NULL },                  /* frames sent */
	{ 0x00020102, get_taken, NULL },                 /* and received */
	{ 0x00020103, get_sent_errors, NULL },           /* not sent */
	{ 0x00020104, get_taken_errors, NULL },          /* not received */
	{ 0x00020105, get_no_room, NULL },               /* no buffer */
	{ 0x00020106, get_statistics, NULL },            /* all at once */
	{ 0x00020201, get_sent_unicast_bytes, NULL },    /* directed bytes sent */
	{ 0x00020202, get_sent_unicast, NULL },          /* frames */
	{ 0x00020203, get_sent_multicast_bytes, NULL },  /* multicast */
	{ 0x00020204, get_sent_multicast, NULL },        /* frames */
	{ 0x00020205, get_sent_broadcast_bytes, NULL },  /* broadcast */
	{ 0x00020206, get_sent_broadcast, NULL },        /* frames */
	{ 0x00020207, get_taken_unicast_bytes, NULL },   /* and the same received */
	{ 0x00020208, get_taken_unicast, NULL },         /* directed frames */
	{ 0x00020209, get_taken_multicast_bytes, NULL }, /* multicast */
	{ 0x0002020a, get_taken_multicast, NULL },       /* frames */
	{ 0x0002020b, get_taken_broadcast_bytes, NULL }, /* broadcast */
	{ 0x0002020c, get_taken_broadcast, NULL },       /* frames */
	{ 0x0002021f, get_taken_bytes, NULL },           /* bytes received */
	{ 0x00020220, get_sent_bytes, NULL },            /* bytes sent */
	{ 0x01010101, get_permanent_mac, NULL },         /* 802.3: permanent address */
	{ 0x01010102, get_mac, NULL },                   /* current address */
	{ 0x01010103, get_multicasts, set_multicasts },  /* multicast list */
	{ 0x01010104, get_list_size, NULL },             /* its most */
	{ 0x0101010a, NULL, set_nothing },               /* encapsulation: Ethernet */
	{ 0x01020101, get_zero, NULL },                  /* alignment errors */
	{ 0x01020102, get_zero, NULL },                  /* one collision */
	{ 0x01020103, get_zero, NULL },                  /* more collisions */
	{ 0xfc01020b, get_offloads, NULL },              /* offloads: as they are */
	{ 0xfc01020c, NULL, offload_set },               /* as they shall be */
	{ 0xfc01020d, get_capabilities, NULL },          /* as they may be */
	{ 0xfd010101, NULL, set_nothing },               /* power state */
};
enum { OIDS = sizeof(oids) / sizeof(oids[0]) };
_Static_assert(OIDS * sizeof(uint32_t) <= OUT_MAX, "the list fits into an answer");

static uint32_t
get_supported(const struct query *q)
{
	for (size_t i = 0; i < OIDS; i++)
		put_le32(q->out + 4 * i, oids[i].oid);
	return 4 * OIDS;
}

static const struct oid *
find(uint32_t oid)
{
	for (size_t i = 0; i < OIDS; i++)
		if (oids[i].oid == oid)
			return &oids[i];
	return NULL;
}

/* Nothing to tell is an answer, too: of an empty list. */
uint32_t
oid_query(struct net *n, uint32_t oid, const uint8_t *in, uint32_t in_len, uint8_t *out, uint32_t *len)
{
	const struct oid *o = find(oid);
	struct query q = { n, in, in_len, out };

	*len = 0;
	if (!o || !o->get)
		return RNDIS_NOT_SUPPORTED;
	*len = o->get(&q);
	return *len || o->get == get_multicasts ? RNDIS_OK : RNDIS_NOT_SUPPORTED;
}

uint32_t
oid_set(struct net *n, uint32_t oid, const uint8_t *in, uint32_t in_len)
{
	const struct oid *o = find(oid);

	return o && o->set ? o->set(n, in, in_len) : RNDIS_NOT_SUPPORTED;
}

/* As a driver finds its adapter. */
void
oid_reset(struct net *n)
{
	uint64_t mac = 0;

	memcpy(&mac, n->config.mac, NET_MAC);
	atomic_store(&n->mac, mac);
	n->multicasts = 0;
	oid_multicast_bins(n);
	memset(&n->rss, 0, sizeof(n->rss));
	rss_changed(n);
	memset(n->checksum_state, 0, sizeof(n->checksum_state));
	atomic_store(&n->coalesce, false);
	offload_apply(n);
}
