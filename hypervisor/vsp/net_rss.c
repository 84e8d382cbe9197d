/* hypervisor/vsp/net_rss.c - receive side scaling: the Toeplitz hash of a frame, and the table. */
#include "hypervisor/vsp/net_rss.h"

#include <string.h>

#include "hypervisor/vsp/bytes.h"

enum {
	ETHERNET = 14,
	VLAN = 4,
	AT_TYPE = 12,
	TAG = 0x8100,
	IPV4 = 0x0800,
	IPV6 = 0x86dd,
	TCP = 6,
	UDP = 17,
	IPV4_HEAD = 20,
	IPV6_HEAD = 40,
	FRAGMENT = 0x3fff, /* more follow, or it is not the first */
	PORTS = 4,
};

/* Each bit of the input that is set adds the 32 bits of the key that begin where it stands. */
void
rss_prepare(struct net_rss *r)
{
	for (unsigned at = 0; at < 2 * RSS_INPUT; at++) {
		uint64_t key = (uint64_t)get_be32(r->key + at / 2) << 8 | r->key[at / 2 + 4]; /* 40 bits */

		for (unsigned v = 0; v < 16; v++) {
			r->adds[at][v] = 0;
			for (unsigned bit = 0; bit < 4; bit++)
				if (v >> (3 - bit) & 1)
					r->adds[at][v] ^= (uint32_t)(key >> (8 - at % 2 * 4 - bit));
		}
	}
}

uint32_t
rss_toeplitz(const struct net_rss *r, const uint8_t *in, size_t n)
{
	uint32_t hash = 0;

	for (size_t i = 0; i < n && i < RSS_INPUT; i++)
		hash ^= r->adds[2 * i][in[i] >> 4] ^ r->adds[2 * i + 1][in[i] & 15];
	return hash;
}

/* What a frame's flow is named by: its addresses, in the order they are hashed in, and perhaps ports. */
struct flow {
	const uint8_t *addresses;
	size_t len;
	const uint8_t *ports; /* NULL: it has none, or they are not in view */
	uint8_t protocol;
	bool v6;
};

static bool
find_ipv4(const uint8_t *p, size_t have, struct flow *f)
{
	size_t head = have >= IPV4_HEAD ? (size_t)(p[0] & 15) * 4 : 0;

	if (head < IPV4_HEAD)
		return false;
	*f = (struct flow){ .addresses = p + 12, .len = 8, .protocol = p[9] };
	if (!(get_be16(p + 6) & FRAGMENT) && have >= head + PORTS)
		f->ports = p + head;
	return true;
}

/* Extension headers are not gone through: what has them goes by its addresses. */
static bool
find_ipv6(const uint8_t *p, size_t have, struct flow *f)
{
	if (have < IPV6_HEAD)
		return false;
	*f = (struct flow){ .addresses = p + 8, .len = 32, .protocol = p[6], .v6 = true };
	if (have >= IPV6_HEAD + PORTS)
		f->ports = p + IPV6_HEAD;
	return true;
}

static bool
find_flow(const uint8_t *frame, size_t have, struct flow *f)
{
	size_t at = ETHERNET;
	uint16_t type;

	if (have < ETHERNET)
		return false;
	type = get_be16(frame + AT_TYPE);
	if (type == TAG && have >= ETHERNET + VLAN) {
		type = get_be16(frame + AT_TYPE + VLAN);
		at += VLAN;
	}
	if (type == IPV4)
		return find_ipv4(frame + at, have - at, f);
	return type == IPV6 && find_ipv6(frame + at, have - at, f);
}

bool
rss_hash(const struct net_rss *r, const uint8_t *frame, size_t have, uint32_t *hash)
{
	static const uint32_t with_ports[2][2] = { { RSS_TCP_IPV4, RSS_UDP_IPV4 },
		{ RSS_TCP_IPV6 | RSS_TCP_IPV6_EX, RSS_UDP_IPV6 | RSS_UDP_IPV6_EX } };
	static const uint32_t without[2] = { RSS_IPV4, RSS_IPV6 | RSS_IPV6_EX };
	uint8_t in[RSS_INPUT];
	struct flow f;
	uint32_t kinds;

	if (r->off || (r->hash & RSS_FUNCTION) != RSS_TOEPLITZ || !find_flow(frame, have, &f))
		return false;
	kinds = f.protocol == TCP ? with_ports[f.v6][0] : f.protocol == UDP ? with_ports[f.v6][1] : 0;
	memcpy(in, f.addresses, f.len);
	if (f.ports && (r->hash & kinds)) {
		memcpy(in + f.len, f.ports, PORTS);
		f.len += PORTS;
	} else if (!(r->hash & without[f.v6])) {
		return false;
	}
	*hash = rss_toeplitz(r, in, f.len);
	return true;
}

unsigned
rss_channel(const struct net_rss *r, uint32_t hash, unsigned channels, unsigned other)
{
	unsigned to = r->size && r->size <= RSS_TABLE ? r->table[hash % r->size] : other;

	return to < channels ? to : other;
}
