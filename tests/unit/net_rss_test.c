/*
 * tests/unit/net_rss_test.c - receive side scaling: the hash against the vectors that Microsoft has published
 * for its key, what is hashed of which frame, and tables that a guest should not have made.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <string.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/net_rss.h"

enum { TCP = 6, UDP = 17, IPV4_AT = 14, LEN = 64, ALL = 0x1ff00 };

static const uint8_t key[RSS_KEY] = { 0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d,
	0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80,
	0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa };

static const struct vector {
	const char *to;
	uint16_t to_port;
	const char *from;
	uint16_t from_port;
	uint32_t addresses, with_ports;
} vectors[] = {
	{ "161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178 },
	{ "65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea },
	{ "12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a },
	{ "209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f },
	{ "202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2 },
	{ "3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5, 0x40207d3d },
	{ "ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c, 0xdde51bbf },
	{ "fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4b61e985,
	    0x02d1feef },
};
enum { VECTORS = sizeof(vectors) / sizeof(vectors[0]) };

static struct net_rss rss;
static uint8_t frame[LEN];

static int
setup(void **state)
{
	(void)state;
	rss = (struct net_rss){ .hash = RSS_TOEPLITZ | ALL };
	memcpy(rss.key, key, sizeof(key));
	rss_prepare(&rss);
	return 0;
}

/* Where its transport header begins. */
static size_t
make(const struct vector *v, uint8_t protocol, bool tagged)
{
	bool v6 = strchr(v->to, ':') != NULL;
	size_t at = tagged ? 18 : 14, ports = at + (v6 ? 40 : 20);

	memset(frame, 0, sizeof(frame));
	put_be16(frame + 12, 0x8100);
	put_be16(frame + at - 2, v6 ? 0x86dd : 0x0800);
	frame[at] = v6 ? 0x60 : 0x45;
	frame[at + (v6 ? 6 : 9)] = protocol;
	assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, v->from, frame + at + (v6 ? 8 : 12)), 1);
	assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, v->to, frame + at + (v6 ? 24 : 16)), 1);
	put_be16(frame + ports, v->from_port);
	put_be16(frame + ports + 2, v->to_port);
	return ports;
}

static uint32_t
hash_of(size_t have)
{
	uint32_t hash = 0;

	assert_true(rss_hash(&rss, frame, have, &hash));
	return hash;
}

static bool
is_hashed(size_t have)
{
	uint32_t hash;

	return rss_hash(&rss, frame, have, &hash);
}

static void
the_published_vectors_come_out(void **state)
{
	(void)state;
	for (int tagged = 0; tagged < 2; tagged++)
		for (size_t i = 0; i < VECTORS; i++) {
			make(&vectors[i], TCP, tagged);
			assert_int_equal(hash_of(LEN), vectors[i].with_ports);
			make(&vectors[i], UDP, tagged);
			assert_int_equal(hash_of(LEN), vectors[i].with_ports);
			make(&vectors[i], 1, tagged);
			assert_int_equal(hash_of(LEN), vectors[i].addresses);
		}
}

/* Linux asks for TCP and for addresses; of UDP the ports are left out then. */
static void
only_what_the_guest_wants_is_hashed(void **state)
{
	(void)state;
	for (size_t i = 0; i < VECTORS; i++) {
		rss.hash = RSS_TOEPLITZ | RSS_IPV4 | RSS_TCP_IPV4 | RSS_IPV6 | RSS_TCP_IPV6;
		make(&vectors[i], UDP, false);
		assert_int_equal(hash_of(LEN), vectors[i].addresses);
		make(&vectors[i], TCP, false);
		assert_int_equal(hash_of(LEN), vectors[i].with_ports);
		rss.hash = RSS_TOEPLITZ | RSS_TCP_IPV4 | RSS_TCP_IPV6_EX;
		assert_int_equal(hash_of(LEN), vectors[i].with_ports);
		make(&vectors[i], UDP, false);
		assert_false(is_hashed(LEN));
		rss.hash = RSS_TOEPLITZ | RSS_IPV4 | RSS_IPV6_EX;
		make(&vectors[i], TCP, false);
		assert_int_equal(hash_of(LEN), vectors[i].addresses);
		rss.hash = ALL; /* no function */
		assert_false(is_hashed(LEN));
		rss.hash = ALL | 2; /* another one */
		assert_false(is_hashed(LEN));
		rss.hash = ALL | RSS_TOEPLITZ;
		rss.off = 1;
		assert_false(is_hashed(LEN));
		rss.off = 0;
	}
	memset(frame, 0xff, sizeof(frame)); /* not of IP */
	assert_false(is_hashed(LEN));
}

/* The head of every fragment has the same addresses, but only the first one's has ports. */
static void
fragments_go_by_their_addresses(void **state)
{
	(void)state;
	make(&vectors[0], TCP, false);
	put_be16(frame + IPV4_AT + 6, 0x4000); /* must not be fragmented */
	assert_int_equal(hash_of(LEN), vectors[0].with_ports);
	put_be16(frame + IPV4_AT + 6, 0x2000);
	assert_int_equal(hash_of(LEN), vectors[0].addresses);
	put_be16(frame + IPV4_AT + 6, 1);
	assert_int_equal(hash_of(LEN), vectors[0].addresses);
}

static void
a_frame_may_be_cut_anywhere(void **state)
{
	(void)state;
	for (size_t i = 0; i < VECTORS; i++)
		for (int tagged = 0; tagged < 2; tagged++) {
			size_t ports = make(&vectors[i], TCP, tagged);

			for (size_t have = 0; have <= LEN; have++) {
				bool addresses = have >= ports;

				assert_int_equal(is_hashed(have), addresses);
				if (addresses)
					assert_int_equal(hash_of(have),
					    have >= ports + 4 ? vectors[i].with_ports : vectors[i].addresses);
			}
		}
	make(&vectors[0], TCP, false);
	for (unsigned words = 0; words < 16; words++) {
		frame[IPV4_AT] = (uint8_t)(0x40 | words);
		assert_int_equal(is_hashed(LEN), words >= 5);
	}
	assert_int_equal(hash_of(LEN), vectors[0].addresses); /* its ports are not in view */
}

static void
a_table_leads_to_channels_that_there_are(void **state)
{
	(void)state;
	for (uint32_t size = 0; size <= RSS_TABLE; size++) {
		rss.size = size;
		for (unsigned i = 0; i < RSS_TABLE; i++)
			rss.table[i] = (uint8_t)(i * 7);
		for (uint32_t hash = 0; hash < 1000; hash += 3) {
			unsigned want = size ? (uint8_t)(hash % size * 7) : 2u;

			assert_int_equal(rss_channel(&rss, hash, 4, 2), want < 4 ? want : 2);
			assert_int_equal(rss_channel(&rss, hash, 256, 2), want);
		}
	}
	rss.size = UINT32_MAX;
	assert_int_equal(rss_channel(&rss, UINT32_MAX, 4, 2), 2);
	rss.size = RSS_TABLE;
	for (unsigned i = 0; i < RSS_TABLE; i++)
		rss.table[i] = (uint8_t)(i % 2);
	assert_int_equal(rss_channel(&rss, 0xffffffff, 2, 0), 1); /* the hash's lowest bits */
}

#define unit(t) cmocka_unit_test_setup(t, setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(the_published_vectors_come_out),
		unit(only_what_the_guest_wants_is_hashed),
		unit(fragments_go_by_their_addresses),
		unit(a_frame_may_be_cut_anywhere),
		unit(a_table_leads_to_channels_that_there_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
