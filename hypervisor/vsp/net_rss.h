/*
 * hypervisor/vsp/net_rss.h - receive side scaling, as NDIS has it: a hash over what names a frame's flow,
 * made with the guest's key, and the guest's table of channels, which a hash leads into. Nothing but
 * computation; any thread.
 */
#ifndef HYPERVISOR_VSP_NET_RSS_H
#define HYPERVISOR_VSP_NET_RSS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	RSS_KEY = 40, /* bytes */
	RSS_TABLE = 128,
	RSS_INPUT = 36, /* bytes: two addresses of IPv6, and ports */
};

/* Which hash, and over what: NDIS_RECEIVE_SCALE_PARAMETERS.HashInformation. With UDP: since NDIS 6.80. */
enum {
	RSS_FUNCTION = 0xff,
	RSS_TOEPLITZ = 1,
	RSS_IPV4 = 0x100,
	RSS_TCP_IPV4 = 0x200,
	RSS_IPV6 = 0x400,
	RSS_IPV6_EX = 0x800,
	RSS_TCP_IPV6 = 0x1000,
	RSS_TCP_IPV6_EX = 0x2000,
	RSS_UDP_IPV4 = 0x4000,
	RSS_UDP_IPV6 = 0x8000,
	RSS_UDP_IPV6_EX = 0x10000,
};

/* As the guest has set it; zeros: it has not. */
struct net_rss {
	uint32_t off;  /* not 0: it wants none */
	uint32_t hash; /* of the bits above */
	uint32_t size; /* of the table; 0 to RSS_TABLE */
	uint8_t key[RSS_KEY];
	uint8_t table[RSS_TABLE]; /* channels: whatever the guest has put there */
	/* Of the key: what four bits add to the hash, by where they stand (rss_prepare). */
	uint32_t adds[2 * RSS_INPUT][16];
};

/* After the key has changed, before it is used. */
void rss_prepare(struct net_rss *r);
/* n: at most RSS_INPUT. */
uint32_t rss_toeplitz(const struct net_rss *r, const uint8_t *in, size_t n);
/* The hash of an Ethernet frame of whose bytes the first `have` are given (64 are enough for all but long IP
 * options). False: the guest wants none of such a frame. */
bool rss_hash(const struct net_rss *r, const uint8_t *frame, size_t have, uint32_t *hash);
/* The channel that a hash leads to; `other` where the table has none below `channels`. */
unsigned rss_channel(const struct net_rss *r, uint32_t hash, unsigned channels, unsigned other);

#endif
