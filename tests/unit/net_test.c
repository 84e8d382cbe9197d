/*
 * tests/unit/net_test.c - the network adapter as a guest's driver finds it: every version, frames both ways,
 * offloads, sections that run out, sub-channels, the link, addresses, counters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fake_net.h"

enum { MTU = 1500, RECEIVE_AT = 128, GOOD = 1 };

static struct fake_net x;
static uint8_t frame[FAKE_MAX_FRAME], got[FAKE_MAX_FRAME], message[FAKE_MAX_FRAME + 256], vnet[FAKE_VNET];
static const uint8_t peer[6] = { 0x52, 0x54, 0, 9, 9, 9 };

static void
begin(const struct net_config *c)
{
	fake_net_init(&x, c);
}

static int
teardown(void **state)
{
	(void)state;
	fake_net_free(&x);
	return 0;
}

static void
up(uint32_t version, uint32_t mtu)
{
	begin(NULL);
	assert_true(fake_net_up(&x, version, mtu));
}

/* A frame of `len` bytes in which each byte has its value. */
static void
make_frame(bool to_guest, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(i * 7 + (i >> 8));
	memcpy(frame + (to_guest ? 0 : 6), x.config.mac, 6);
	memcpy(frame + (to_guest ? 6 : 0), peer, 6);
	put_be16(frame + 12, 0x88b5);
}

/* The frame arrives and is told as one range; p: its message. */
static const uint8_t *
receive_one(unsigned q)
{
	struct packet_head h;

	assert_true(fake_net_run(&x));
	assert_int_equal(fake_net_recv(&x, q, &h), PACKET_XFER_PAGES);
	assert_int_equal(x.ranges, 1);
	assert_int_equal(get_le32(x.nvsp), 107);
	assert_int_equal(get_le32(x.nvsp + 4), 0);
	assert_int_equal(get_le32(fake_net_received(&x, 0) + 4), x.range[0].len);
	assert_true(fake_net_complete(&x, q, h.transaction));
	return fake_net_received(&x, 0);
}

static void
arrives(uint32_t len)
{
	const uint8_t *p;

	make_frame(true, len);
	assert_true(fake_net_inject(&x, 0, NULL, frame, len));
	p = receive_one(0);
	assert_int_equal(get_le32(p), 1);
	assert_int_equal(get_le32(p + 12), len);
	assert_memory_equal(p + 8 + get_le32(p + 8), frame, len);
}

static void
leaves(uint32_t len)
{
	make_frame(false, len);
	assert_int_equal(
	    fake_net_send(&x, 0, FAKE_DATA + 100, message, fake_packet(message, NULL, 0, frame, len)), GOOD);
	assert_int_equal(fake_net_sent(&x, 0, vnet, got, sizeof(got)), len);
	assert_memory_equal(got, frame, len);
	assert_memory_equal(vnet, ((uint8_t[FAKE_VNET]){ 0 }), FAKE_VNET);
}

static void
every_version_carries_frames(void **state)
{
	static const uint32_t versions[] = { 2, 0x30002, 0x40000, 0x50000, 0x60000, 0x60001 };

	for (size_t i = 0; i < 6; i++) {
		up(versions[i], MTU);
		arrives(60);
		arrives(1514);
		leaves(60);
		leaves(1514);
		if (i < 5)
			teardown(state);
	}
}

static void
a_version_that_is_not_spoken_is_refused_and_the_next_is_taken(void **state)
{
	(void)state;
	begin(NULL);
	assert_true(fake_net_open(&x));
	assert_true(fake_nvsp_numbers(&x, 1, 0x60002, 0x60002, 0));
	assert_int_equal(get_le32(x.nvsp), 2);
	assert_int_not_equal(get_le32(x.nvsp + 12), 1);
	assert_true(fake_nvsp_numbers(&x, 1, 0x30001, 0x30001, 0));
	assert_int_not_equal(get_le32(x.nvsp + 12), 1);
	assert_true(fake_net_agree(&x, 0x60001, MTU));
}

static void
a_driver_without_send_buffer_and_with_small_receive_buffer_is_served(void **state)
{
	(void)state;
	begin(NULL);
	assert_true(fake_net_open(&x));
	assert_true(fake_nvsp_numbers(&x, 1, 2, 2, 0));
	assert_true(fake_nvsp_numbers(&x, 100, 6, 0, 0));
	x.receive = fake_net_lend(&x, FAKE_RECEIVE, 16);
	assert_true(fake_nvsp_numbers(&x, 101, x.receive, 0xbead, 0));
	assert_int_equal(get_le32(x.nvsp + 4), 1);
	assert_in_range(get_le32(x.nvsp + 20), 16, 64);
	assert_true(fake_rndis_initialize(&x));
	assert_true(fake_filter(&x, 9));
	arrives(1000);
	leaves(1000);
}

static void
frames_of_9000_bytes_pass_where_the_network_carries_them(void **state)
{
	uint8_t v[1024];
	uint32_t len;

	(void)state;
	up(0x60001, 9000);
	assert_int_equal(fake_query(&x, 0x10106, v, &len), 0);
	assert_int_equal(get_le32(v), 9000);
	arrives(9014);
	leaves(9014);
}

/* What is in `message`, in a section of the send buffer. */
static bool
send_copied(uint32_t section, uint64_t transaction, uint32_t len)
{
	uint8_t m[NVSP_LEN] = { 107 };

	gmem_write(x.f.mem, FAKE_SEND + section * 6144, message, len);
	put_le32(m + 8, section);
	put_le32(m + 12, len);
	return fake_send(&x.c[0], PACKET_INBAND, PACKET_WANTS_REPLY, transaction, NULL, 0, m, sizeof(m)) &&
	       fake_net_run(&x);
}

static void
who_has_copied_a_packet_is_told_of_its_end_with_what_comes_next(void **state)
{
	enum { WAIT = 32 };
	struct packet_head h;
	uint32_t len;

	(void)state;
	up(0x60001, MTU);
	make_frame(false, 100);
	len = fake_packet(message, NULL, 0, frame, 100);
	assert_true(send_copied(0, 1, len));
	assert_int_equal(fake_net_sent(&x, 0, vnet, got, sizeof(got)), 100);
	assert_int_equal(fake_net_recv(&x, 0, &h), 0);
	make_frame(true, 100);
	assert_true(fake_net_inject(&x, 0, NULL, frame, 100)); /* the answer to it */
	assert_true(fake_net_run(&x));
	assert_int_equal(fake_net_recv(&x, 0, &h), PACKET_COMPLETION);
	assert_int_equal(h.transaction, 1);
	assert_int_equal(fake_net_recv(&x, 0, &h), PACKET_XFER_PAGES);
	fake_net_complete(&x, 0, h.transaction);

	assert_true(send_copied(0, 2, len)); /* nothing comes: half a millisecond */
	fake_loop_pass(x.loop, 400000);
	assert_int_equal(fake_net_recv(&x, 0, &h), 0);
	fake_loop_pass(x.loop, 200000);
	assert_int_equal(fake_net_recv(&x, 0, &h), PACKET_COMPLETION);
	assert_int_equal(h.transaction, 2);

	for (unsigned i = 1; i < WAIT; i++)
		assert_true(send_copied(i % 16, i, len));
	assert_int_equal(fake_net_recv(&x, 0, &h), 0);
	assert_true(send_copied(0, WAIT, len));
	for (unsigned i = 1; i <= WAIT; i++) {
		assert_int_equal(fake_net_recv(&x, 0, &h), PACKET_COMPLETION);
		assert_int_equal(h.transaction, i);
	}
	assert_true(
	    send_copied(0, 9, len)); /* one whose pages are lent does not wait, nor who was before it */
	assert_int_equal(fake_net_send(&x, 0, FAKE_DATA, message, len), GOOD);
	fake_loop_pass(x.loop, 1000000);
	assert_int_equal(fake_net_recv(&x, 0, &h), 0);
}

static void
many_messages_in_one_send_section_are_many_frames(void **state)
{
	struct packet_head h;
	uint32_t at = 0;

	(void)state;
	up(0x60001, MTU);
	for (uint32_t i = 0; i < 8; i++) {
		make_frame(false, 100 + i);
		at += fake_packet(message + at, NULL, 0, frame, 100 + i);
	}
	assert_true(send_copied(3, 5, at));
	fake_net_wait(&x);
	assert_int_equal(fake_net_recv(&x, 0, &h), PACKET_COMPLETION);
	assert_int_equal(h.transaction, 5);
	assert_int_equal(get_le32(x.nvsp), 108);
	assert_int_equal(get_le32(x.nvsp + 4), 1);
	assert_int_equal(fake_net_recv(&x, 0, &h), 0);
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(fake_net_sent(&x, 0, vnet, got, sizeof(got)), 100 + i);
}

/* The head in the section, the frame in ranges of its own. */
static void
a_partly_copied_packet_is_put_together(void **state)
{
	uint8_t m[NVSP_LEN] = { 107 }, ext[8 + 16 * 2] = { 0 };
	struct packet_head h;
	uint64_t pfn[2] = { FAKE_DATA / GMEM_PAGE, FAKE_DATA / GMEM_PAGE + 5 };
	uint32_t len;

	(void)state;
	up(0x60001, MTU);
	make_frame(false, 900);
	len = fake_packet(message, NULL, 0, frame, 900);
	assert_int_equal(len, 944);
	gmem_write(x.f.mem, FAKE_SEND, message, 44);
	gmem_write(x.f.mem, FAKE_DATA + 3896, frame, 200);
	gmem_write(x.f.mem, FAKE_DATA + 5 * GMEM_PAGE, frame + 200, 700);
	put_le32(m + 8, 0);
	put_le32(m + 12, 44);
	put_le32(ext + 4, 2);
	put_le32(ext + 8, 200);
	put_le32(ext + 12, 3896);
	memcpy(ext + 16, &pfn[0], 8);
	put_le32(ext + 24, 700);
	memcpy(ext + 32, &pfn[1], 8);
	assert_true(fake_send(&x.c[0], PACKET_GPA_DIRECT, 1, 6, ext, sizeof(ext), m, sizeof(m)));
	fake_net_run(&x);
	assert_int_equal(fake_net_recv(&x, 0, &h), PACKET_COMPLETION);
	assert_int_equal(get_le32(x.nvsp + 4), 1);
	assert_int_equal(fake_net_sent(&x, 0, vnet, got, sizeof(got)), 900);
	assert_memory_equal(got, frame, 900);
}

/* --- offloads --- */

static void
put_ppi(uint8_t *p, uint32_t type, uint32_t value)
{
	put_le32(p, 16);
	put_le32(p + 4, type);
	put_le32(p + 8, 12);
	put_le32(p + 12, value);
}

static uint16_t
sum(uint32_t s, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i + 1 < n; i += 2)
		s += get_be16(p + i);
	if (n & 1)
		s += (uint32_t)p[n - 1] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)s;
}

/* TCP on IPv4: 14 + 20 + 20 and data. */
static void
make_tcp4(bool to_guest, uint32_t len)
{
	make_frame(to_guest, len);
	put_be16(frame + 12, 0x0800);
	memset(frame + 14, 0, 40);
	frame[14] = 0x45;
	put_be16(frame + 16, (uint16_t)(len - 14));
	frame[22] = 64;
	frame[23] = 6;
	put_be32(frame + 26, 0x0a000001);
	put_be32(frame + 30, 0x0a000002);
	put_be16(frame + 24, (uint16_t)~sum(0, frame + 14, 20));
	frame[14 + 20 + 12] = 5 << 4;
}

static uint32_t
pseudo4(const uint8_t *f, uint32_t len)
{
	return sum(6 + (len - 34), f + 26, 8);
}

static void
checksum_wishes_become_the_taps(void **state)
{
	uint8_t ppi[16];

	(void)state;
	up(0x60001, MTU);
	make_tcp4(false, 500);
	put_ppi(ppi, 0, 1 | 4 | 34 << 16);
	assert_int_equal(
	    fake_net_send(&x, 0, FAKE_DATA, message, fake_packet(message, ppi, 16, frame, 500)), GOOD);
	assert_int_equal(fake_net_sent(&x, 0, vnet, got, sizeof(got)), 500);
	assert_int_equal(vnet[0], 1);
	assert_int_equal(get_le16(vnet + 6), 34);
	assert_int_equal(get_le16(vnet + 8), 16);
	/* Without an offset it is found; the header's own sum is made. */
	memset(frame + 24, 0, 2);
	put_ppi(ppi, 0, 1 | 8 | 16);
	fake_net_send(&x, 0, FAKE_DATA, message, fake_packet(message, ppi, 16, frame, 500));
	assert_int_equal(fake_net_sent(&x, 0, vnet, got, sizeof(got)), 500);
	assert_int_equal(get_le16(vnet + 6), 34);
	assert_int_equal(get_le16(vnet + 8), 6);
	assert_int_equal(sum(0, got + 14, 20), 0xffff);
}

static void
large_sends_become_the_taps(void **state)
{
	enum { LEN = 54 + 20000 };
	uint8_t ppi[16];

	(void)state;
	up(0x60001, MTU);
	make_tcp4(false, LEN);
	memset(frame + 16, 0, 2); /* as drivers leave it */
	memset(frame + 24, 0, 2);
	put_ppi(ppi, 2, 1460u | 34u << 20 | 1u << 30);
	assert_int_equal(
	    fake_net_send(&x, 0, FAKE_DATA + 8, message, fake_packet(message, ppi, 16, frame, LEN)), GOOD);
	assert_int_equal(fake_net_sent(&x, 0, vnet, got, sizeof(got)), LEN);
	assert_int_equal(vnet[0], 1);
	assert_int_equal(vnet[1], 1);
	assert_int_equal(get_le16(vnet + 2), 54);
	assert_int_equal(get_le16(vnet + 4), 1460);
	assert_int_equal(get_be16(got + 16), LEN - 14);
	assert_int_equal(sum(0, got + 14, 20), 0xffff);
	assert_int_equal(get_be16(got + 34 + 16), pseudo4(got, LEN));
	assert_memory_equal(got + 54, frame + 54, LEN - 54);
}

static void
large_sends_of_ipv6_too(void **state)
{
	enum { LEN = 14 + 40 + 20 + 5000 };
	uint8_t ppi[16];
	uint32_t s;

	(void)state;
	up(0x60001, MTU);
	make_frame(false, LEN);
	put_be16(frame + 12, 0x86dd);
	memset(frame + 14, 0, 60);
	frame[14] = 0x60;
	frame[20] = 6;
	memset(frame + 22, 0x11, 32);
	frame[54 + 12] = 5 << 4;
	put_ppi(ppi, 2, 1440u | 54u << 20 | 3u << 30);
	assert_int_equal(
	    fake_net_send(&x, 0, FAKE_DATA, message, fake_packet(message, ppi, 16, frame, LEN)), GOOD);
	assert_int_equal(fake_net_sent(&x, 0, vnet, got, sizeof(got)), LEN);
	assert_int_equal(vnet[1], 4);
	assert_int_equal(get_be16(got + 18), LEN - 54);
	s = sum(6 + LEN - 54, got + 22, 32);
	assert_int_equal(get_be16(got + 54 + 16), s);
}

static void
large_sends_that_lie_are_not_sent(void **state)
{
	static const uint32_t lies[] = { 0, 34u << 20 | 1u << 30, 1460 | 34u << 20,
		1460 | 33u << 20 | 1u << 30, 1460u | 34u << 20 | 3u << 30, 1460u | 1000u << 20 | 1u << 30,
		0xfffffu | 34u << 20 | 1u << 30 };
	uint8_t ppi[16];

	(void)state;
	up(0x60001, MTU);
	make_tcp4(false, 3000);
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		put_ppi(ppi, 2, lies[i]);
		assert_int_equal(
		    fake_net_send(&x, 0, FAKE_DATA, message, fake_packet(message, ppi, 16, frame, 3000)), 5);
		assert_int_equal(fake_net_sent(&x, 0, vnet, got, sizeof(got)), -1);
	}
}

static uint32_t
checksum_record(const uint8_t *p)
{
	if (get_le32(p + 32) < 16 || get_le32(p + 44 + 4) != 0)
		return 0;
	return get_le32(p + 44 + 12);
}

static void
a_checksum_left_to_us_is_made_and_told(void **state)
{
	struct {
		uint8_t flags, gso;
		uint16_t hdr, size, start, off, bufs;
	} v = { 1, 0, 0, 0, 34, 16, 0 };
	const uint8_t *p, *f;

	(void)state;
	up(0x60001, MTU);
	for (uint32_t len = 600; len < 603; len++) {
		make_tcp4(true, len);
		put_be16(frame + 50, (uint16_t)pseudo4(frame, len));
		assert_true(fake_net_inject(&x, 0, &v, frame, len));
		p = receive_one(0);
		assert_int_equal(checksum_record(p), 1 << 3 | 1 << 5);
		f = p + 8 + get_le32(p + 8);
		assert_int_equal(sum(pseudo4(f, len), f + 34, len - 34), 0xffff);
	}
	v.flags = 2; /* seen by the host's adapter */
	assert_true(fake_net_inject(&x, 0, &v, frame, 600));
	assert_int_equal(checksum_record(receive_one(0)), 1 << 3 | 1 << 5);
	v.flags = 1;
	v.start = 599; /* makes no sense */
	assert_true(fake_net_inject(&x, 0, &v, frame, 600));
	fake_net_run(&x);
	assert_int_equal(fake_net_recv(&x, 0, &(struct packet_head){ 0 }), 0);
}

/* As Linux asks: of the header's own sum it wants to hear nothing, of all others everything. */
static void
what_is_told_of_checksums_is_what_was_asked_for(void **state)
{
	enum { OFF = 1, SEND = 2, RECEIVE = 3, BOTH = 4, HEADER = 1 << 5, ABOVE = 1 << 3 };
	static const struct {
		uint8_t sum[5];
		uint32_t told;
	} asked[] = {
		{ { OFF, BOTH, BOTH, BOTH, BOTH }, ABOVE },
		{ { RECEIVE, RECEIVE, RECEIVE, RECEIVE, RECEIVE }, ABOVE | HEADER },
		{ { 0, BOTH, SEND, BOTH, BOTH }, HEADER },
		{ { SEND, 0, BOTH, 0, 0 }, ABOVE },
		{ { OFF, OFF, OFF, OFF, OFF }, 0 },
		{ { BOTH, BOTH, BOTH, BOTH, OFF }, HEADER },
	};
	uint8_t params[28] = { 0x80, 3, 28 };
	struct {
		uint8_t flags, gso;
		uint16_t hdr, size, start, off, bufs;
	} v = { 2, 0, 0, 0, 0, 0, 0 };

	(void)state;
	up(0x60001, MTU);
	make_tcp4(true, 600);
	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		memcpy(params + 4, asked[i].sum, sizeof(asked[i].sum));
		assert_int_equal(fake_set(&x, 0xfc01020c, params, sizeof(params)), 0);
		assert_true(fake_net_inject(&x, 0, &v, frame, 600));
		assert_int_equal(checksum_record(receive_one(0)), asked[i].told);
	}
}

static const struct {
	uint8_t flags, gso;
	uint16_t hdr, size, start, off, bufs;
} long_one = { 1, 1, 54, 1460, 34, 16, 0 };

/* Coalescing (RSC) on or off: a status. */
static uint32_t
coalesce(bool on)
{
	uint8_t params[28] = { 0x80, 3, 28 };

	params[22] = params[23] = on ? 2 : 1;
	return fake_set(&x, 0xfc01020c, params, sizeof(params));
}

static void
nothing_arrives(void)
{
	assert_true(fake_net_inject(&x, 0, &long_one, frame, 30000));
	fake_net_run(&x);
	assert_int_equal(fake_net_recv(&x, 0, &(struct packet_head){ 0 }), 0);
}

/* One packet has come on that channel: `frames` of them, all like `frame`. */
static void
long_ones_are_whole(unsigned q, unsigned frames, uint32_t len)
{
	struct packet_head h;
	uint32_t k = 0, value = 0;

	assert_int_equal(fake_net_recv(&x, q, &h), PACKET_XFER_PAGES);
	for (unsigned i = 0; i < frames; i++) {
		assert_true(fake_record(fake_net_received(&x, k), 0, &value));
		assert_int_equal(value & 1 << 3, 1 << 3);
		assert_int_equal(fake_net_frame(&x, &k, got, sizeof(got)), len);
		assert_memory_equal(got, frame, len);
	}
	assert_int_equal(k, x.ranges);
	assert_true(fake_net_complete(&x, q, h.transaction));
	assert_true(fake_net_run(&x));
}

static void
long_frames_are_taken_only_by_a_guest_that_asks_for_them(void **state)
{
	struct net_config c = fake_net_config;

	(void)state;
	c.queues = 1;
	begin(&c);
	assert_true(fake_net_up(&x, 0x60001, MTU));
	make_tcp4(true, 30000);
	nothing_arrives();
	assert_int_equal(coalesce(true), 0);
	assert_true(fake_net_inject(&x, 0, &long_one, frame, 30000));
	fake_net_run(&x);
	long_ones_are_whole(0, 1, 30000);
	arrives(100);
	make_tcp4(true, 30000);
	assert_int_equal(coalesce(false), 0);
	nothing_arrives();
}

static void
coalescing_is_for_drivers_that_know_parts(void **state)
{
	uint8_t v[1024];
	uint32_t len;

	(void)state;
	up(0x60000, MTU);
	assert_int_equal(fake_query(&x, 0xfc01020d, v, &len), 0);
	assert_int_equal(v[144] | v[145], 0);
	assert_int_equal(coalesce(true), 0xc00000bb);
	assert_int_equal(coalesce(false), 0);
	teardown(state);
	up(0x60001, MTU);
	assert_int_equal(fake_query(&x, 0xfc01020d, v, &len), 0);
	assert_int_equal(v[144] & v[145], 1);
	assert_int_equal(coalesce(true), 0);
	assert_int_equal(fake_query(&x, 0xfc01020b, v, &len), 0);
}

/* Of every length around where one more part begins, and at every length of a section; short ones between. */
static void
long_frames_lie_in_sections_of_any_length(void **state)
{
	static const uint32_t mtus[] = { 1500, 1280, 4000, 4100, 9000 };

	for (size_t m = 0; m < sizeof(mtus) / sizeof(mtus[0]); m++) {
		struct net_config c = fake_net_config;
		uint32_t part;

		c.queues = 1;
		begin(&c);
		x.backwards = true;
		assert_true(fake_net_up(&x, 0x60001, mtus[m]));
		assert_int_equal(coalesce(true), 0);
		part = x.section - RECEIVE_AT - 36;
		for (uint32_t parts = 1; parts * part < 65000; parts += 1 + parts / 3)
			for (uint32_t len = parts * part - 1; len <= parts * part + 1; len++) {
				make_tcp4(true, len);
				assert_true(fake_net_inject(&x, 0, &long_one, frame, len));
				fake_net_run(&x);
				long_ones_are_whole(0, 1, len);
				arrives(60 + parts);
			}
		if (m + 1 < sizeof(mtus) / sizeof(mtus[0]))
			teardown(state);
	}
}

static void
long_frames_share_a_packet_and_are_not_torn(void **state)
{
	enum { LEN = 20000 }; /* three parts */
	struct net_config c = fake_net_config;
	struct packet_head h;
	unsigned packets = 0, frames = 0;
	uint64_t held[64];

	(void)state;
	c.queues = 1;
	begin(&c);
	assert_true(fake_net_up(&x, 0x60001, MTU));
	assert_int_equal(coalesce(true), 0);
	make_tcp4(true, LEN);
	for (unsigned i = 0; i < 60; i++)
		assert_true(fake_net_inject(&x, 0, &long_one, frame, LEN));
	fake_net_run(&x);
	while (fake_net_recv(&x, 0, &h) == PACKET_XFER_PAGES) { /* the guest keeps them all */
		assert_in_range(x.ranges, 1, 128);
		for (uint32_t k = 0; k < x.ranges; frames++) {
			assert_int_equal(fake_net_frame(&x, &k, got, sizeof(got)), LEN);
			assert_memory_equal(got, frame, LEN);
		}
		held[packets++] = h.transaction;
	}
	assert_in_range(frames, 30, x.sections / 3);
	assert_true(packets < frames);
	while (packets) {
		assert_true(fake_net_complete(&x, 0, held[--packets]));
		fake_net_run(&x);
		while (fake_net_recv(&x, 0, &h) == PACKET_XFER_PAGES) {
			for (uint32_t k = 0; k < x.ranges; frames++)
				assert_int_equal(fake_net_frame(&x, &k, got, sizeof(got)), LEN);
			assert_true(fake_net_complete(&x, 0, h.transaction));
			fake_net_run(&x);
		}
	}
	assert_int_equal(frames, 60);
}

static void
tags_go_beside_the_frame_both_ways(void **state)
{
	uint8_t ppi[16];
	const uint8_t *p, *f;

	(void)state;
	up(0x60001, MTU);
	make_frame(true, 200);
	put_be16(frame + 12, 0x8100);
	put_be16(frame + 14, 5 << 13 | 1 << 12 | 100);
	put_be16(frame + 16, 0x88b5);
	assert_true(fake_net_inject(&x, 0, NULL, frame, 200));
	p = receive_one(0);
	assert_int_equal(get_le32(p + 32), 16);
	assert_int_equal(get_le32(p + 44 + 4), 6);
	assert_int_equal(get_le32(p + 44 + 12), 5 | 1 << 3 | 100 << 4);
	f = p + 8 + get_le32(p + 8);
	assert_int_equal(get_le32(p + 12), 196);
	assert_memory_equal(f, frame, 12);
	assert_memory_equal(f + 12, frame + 16, 184);

	make_frame(false, 200);
	put_ppi(ppi, 6, 5 | 1 << 3 | 100 << 4);
	assert_int_equal(
	    fake_net_send(&x, 0, FAKE_DATA, message, fake_packet(message, ppi, 16, frame, 200)), GOOD);
	assert_int_equal(fake_net_sent(&x, 0, vnet, got, sizeof(got)), 204);
	assert_memory_equal(got, frame, 12);
	assert_int_equal(get_be16(got + 12), 0x8100);
	assert_int_equal(get_be16(got + 14), 5 << 13 | 1 << 12 | 100);
	assert_memory_equal(got + 16, frame + 12, 188);
}

static void
capabilities_have_the_size_of_the_drivers_version(void **state)
{
	static const struct {
		uint32_t version, size, revision;
	} sizes[] = { { 2, 144, 2 }, { 0x60001, 156, 3 } };
	uint8_t v[1024];
	uint32_t len;

	for (size_t i = 0; i < 2; i++) {
		up(sizes[i].version, MTU);
		assert_int_equal(fake_query(&x, 0xfc01020d, v, &len), 0);
		assert_int_equal(len, sizes[i].size);
		assert_int_equal(get_le16(v + 2), len);
		assert_int_equal(v[0], 0xa7);
		assert_int_equal(v[1], sizes[i].revision);
		assert_int_equal(get_le32(v + 80), 2);
		if (!i)
			teardown(state);
	}
}

/* --- sections --- */

static void
a_section_is_not_used_again_before_the_guest_gives_it_back(void **state)
{
	static uint64_t held[1024];
	static bool used[1 << 12];
	struct packet_head h;
	unsigned packets = 0, frames = 0, sent = 0;
	struct net_stats st;

	(void)state;
	up(2, MTU);
	for (unsigned round = 0; round < 64; round++) {
		make_frame(true, 1000);
		for (unsigned i = 0; i < 16; i++)
			sent += fake_net_inject(&x, 0, NULL, frame, 1000);
		assert_true(fake_net_run(&x));
		while (fake_net_recv(&x, 0, &h) == PACKET_XFER_PAGES) {
			held[packets++] = h.transaction;
			for (uint32_t k = 0; k < x.ranges; k++) {
				uint32_t s = x.range[k].at / x.section;

				assert_int_equal(x.range[k].at % x.section, 0);
				assert_true(s < x.sections && !used[s]);
				used[s] = true;
				frames++;
			}
		}
	}
	assert_in_range(frames, x.sections - 6, x.sections);
	assert_true(sent > frames); /* the rest waits in the tap */
	net_statistics(x.n, &st);
	assert_in_range(st.count[TAKEN_NO_ROOM], 1, 3);
	assert_int_equal(st.count[TAKEN_UNICAST], frames);
	/* A control message still comes through. */
	assert_true(fake_filter(&x, 1 | 4 | 8));
	assert_true(fake_net_complete(&x, 0, held[0]));
	assert_true(fake_net_complete(&x, 0, held[0])); /* twice: not believed */
	assert_true(fake_net_complete(&x, 0, 0x1234567800000001));
	assert_true(fake_net_run(&x));
	assert_int_equal(fake_net_recv(&x, 0, &h), PACKET_XFER_PAGES);
}

static void
one_interrupt_serves_a_batch(void **state)
{
	struct packet_head h;
	unsigned before, frames = 0;

	(void)state;
	up(0x60001, MTU);
	arrives(100);
	fake_net_run(&x);
	make_frame(true, 100);
	for (unsigned i = 0; i < 4; i++)
		fake_net_inject(&x, 0, NULL, frame, 100);
	before = atomic_load(&x.f.signals);
	assert_true(fake_net_run(&x));
	assert_int_equal(atomic_load(&x.f.signals), before + 1);
	while (fake_net_recv(&x, 0, &h) == PACKET_XFER_PAGES)
		frames += x.ranges;
	assert_int_equal(frames, 4);
}

static void
a_full_ring_of_the_guest_loses_nothing(void **state)
{
	struct packet_head h;
	unsigned frames = 0, n = 0;

	(void)state;
	up(0x60001, MTU);
	for (unsigned i = 0; i < 800; i++) { /* completions that nobody takes */
		make_frame(false, 60);
		gmem_write(x.f.mem, FAKE_DATA, message, fake_packet(message, NULL, 0, frame, 60));
		if (fake_rndis_send(&x, 0, 0, 1000 + n, FAKE_DATA, 104))
			n++;
		fake_net_run(&x);
		while (fake_net_sent(&x, 0, vnet, got, sizeof(got)) > 0)
			frames++;
	}
	for (unsigned left = n, again = 0; left && again < 10000; again++) {
		while (fake_net_recv(&x, 0, &h)) {
			assert_int_equal(h.transaction, 1000 + n - left);
			left--;
		}
		fake_net_run(&x);
		while (fake_net_sent(&x, 0, vnet, got, sizeof(got)) > 0)
			frames++;
		if (again == 9999)
			fail();
	}
	assert_int_equal(frames, n);
}

/* --- filters and addresses --- */

static bool
comes(const uint8_t *to)
{
	struct packet_head h;

	make_frame(true, 100);
	memcpy(frame, to, 6);
	fake_net_inject(&x, 0, NULL, frame, 100);
	fake_net_run(&x);
	if (fake_net_recv(&x, 0, &h) != PACKET_XFER_PAGES)
		return false;
	fake_net_complete(&x, 0, h.transaction);
	return true;
}

static void
filters_are_kept(void **state)
{
	static const uint8_t all[6] = { 255, 255, 255, 255, 255, 255 }, group[6] = { 1, 0, 0x5e, 0, 0, 1 },
			     group2[6] = { 0x33, 0x33, 0, 0, 0, 0x16 };

	(void)state;
	up(0x60001, MTU);
	fake_filter(&x, 0);
	assert_false(comes(x.config.mac));
	fake_filter(&x, 1);
	assert_true(comes(x.config.mac));
	assert_false(comes(peer));
	assert_false(comes(all));
	fake_filter(&x, 8);
	assert_true(comes(all));
	fake_filter(&x, 4);
	assert_true(comes(group));
	fake_filter(&x, 2);
	assert_false(comes(group));
	assert_int_equal(fake_set(&x, 0x1010103, group, 6), 0);
	assert_true(comes(group));
	assert_false(comes(group2));
	fake_filter(&x, 0x20);
	assert_true(comes(peer));
	assert_int_equal(fake_set(&x, 0x1010103, frame, 5), 0xc0010014);
	assert_int_equal(fake_set(&x, 0x1010103, frame, 33 * 6), 0xc0010014);
}

static uint32_t
change_mac(const char *digits)
{
	static const char name[] = "NetworkAddress";
	uint8_t v[20 + 28 + 24] = { 0 };

	put_le32(v, 20);
	put_le32(v + 4, 28);
	put_le32(v + 8, 2);
	put_le32(v + 12, 48);
	put_le32(v + 16, 24);
	for (size_t i = 0; i < 14; i++)
		v[20 + 2 * i] = (uint8_t)name[i];
	for (size_t i = 0; i < 12; i++)
		v[48 + 2 * i] = (uint8_t)digits[i];
	return fake_set(&x, 0x1021b, v, sizeof(v));
}

static void
another_address_needs_leave(void **state)
{
	struct net_config c = fake_net_config;
	struct net_stats st;

	up(0x60001, MTU);
	assert_int_equal(change_mac("021122334455"), 0xc0000001);
	assert_int_equal(change_mac("00155D010203"), 0);
	make_frame(false, 60);
	frame[6] ^= 2;
	assert_int_equal(
	    fake_net_send(&x, 0, FAKE_DATA, message, fake_packet(message, NULL, 0, frame, 60)), GOOD);
	assert_int_equal(fake_net_sent(&x, 0, vnet, got, sizeof(got)), -1);
	net_statistics(x.n, &st);
	assert_int_equal(st.count[SENT_SPOOFED], 1);
	teardown(state);

	c.spoofing = true;
	begin(&c);
	assert_true(fake_net_up(&x, 0x60001, MTU));
	assert_int_equal(change_mac("03112233445x"), 0xc0010015);
	assert_int_equal(change_mac("031122334455"), 0xc0010015); /* a group's */
	assert_int_equal(change_mac("021122334455"), 0);
	assert_false(comes(x.config.mac));
	assert_true(comes((const uint8_t[]){ 2, 0x11, 0x22, 0x33, 0x44, 0x55 }));
	leaves(60);
}

/* --- OIDs --- */

static void
what_drivers_ask_is_answered(void **state)
{
	static const uint32_t must[] = { 0x10106, 0x1010101, 0x1010102, 0xfc01020d, 0x10114, 0x10107,
		0x10203 };
	uint8_t v[1024], list[1024];
	uint32_t len, n;

	(void)state;
	up(0x60001, MTU);
	for (size_t i = 0; i < 7; i++)
		assert_int_equal(fake_query(&x, must[i], v, &len), 0);
	assert_int_equal(fake_query(&x, 0x1010101, v, &len), 0);
	assert_int_equal(len, 6);
	assert_memory_equal(v, x.config.mac, 6);
	assert_int_equal(fake_query(&x, 0x10107, v, &len), 0);
	assert_int_equal(get_le32(v), 100000000);
	assert_int_equal(fake_query(&x, 0x10203, v, &len), 0);
	assert_int_equal(get_le32(v + 12), FAKE_NET_VPS);
	assert_int_equal(fake_query(&x, 0x10101, list, &n), 0);
	for (uint32_t i = 0; i < n; i += 4) { /* each is asked and set: no status but those of NDIS */
		uint32_t s = fake_query(&x, get_le32(list + i), v, &len);

		assert_true(s == 0 || s == 0xc00000bb);
		s = fake_set(&x, get_le32(list + i), v, 0);
		assert_true(s == 0 || s == 0xc00000bb || s == 0xc0010014);
	}
	assert_int_equal(fake_query(&x, 0x10216, v, &len), 0xc00000bb);
	assert_int_equal(fake_set(&x, 0x12345678, v, 4), 0xc00000bb);
}

static void
receive_scaling_is_taken_within_bounds(void **state)
{
	uint8_t v[28 + 40 + 512] = { 0x89, 2, 40 };

	(void)state;
	up(0x60001, MTU);
	put_le32(v + 8, 0x701);
	put_le16(v + 12, 512);
	put_le32(v + 16, 28);
	put_le16(v + 20, 40);
	put_le32(v + 24, 28 + 512);
	assert_int_equal(fake_set(&x, 0x10204, v, sizeof(v)), 0);
	put_le32(v + 28, FAKE_NET_VPS);
	assert_int_equal(fake_set(&x, 0x10204, v, sizeof(v)), 0xc0010015);
	put_le32(v + 28, 0);
	put_le16(v + 12, 0); /* a table of nothing */
	assert_int_equal(fake_set(&x, 0x10204, v, sizeof(v)), 0);
	put_le16(v + 12, 516);
	assert_int_equal(fake_set(&x, 0x10204, v, sizeof(v)), 0xc0010015);
	put_le16(v + 12, 512);
	put_le32(v + 16, 0xfffffff0);
	assert_int_equal(fake_set(&x, 0x10204, v, sizeof(v)), 0xc0010015);
}

/* --- sub-channels --- */

static void
sub_channels_carry_frames_and_the_table_follows(void **state)
{
	struct packet_head h;
	struct net_stats st;

	(void)state;
	up(0x60001, MTU);
	assert_true(fake_net_subchannels(&x, 3));
	assert_int_equal(fake_net_recv(&x, 0, &h), PACKET_INBAND);
	assert_int_equal(get_le32(x.nvsp), 134);
	assert_int_equal(get_le32(x.nvsp + 4), 16);
	assert_int_equal(get_le32(x.nvsp + 8), 40);
	for (uint32_t i = 0; i < 16; i++)
		assert_int_equal(get_le32(x.nvsp + 40 + 4 * i), i % 4);
	for (unsigned q = 0; q < 4; q++) {
		make_frame(true, 500 + q);
		assert_true(fake_net_inject(&x, q, NULL, frame, 500 + q));
		assert_int_equal(get_le32(receive_one(q) + 12), 500 + q);
		make_frame(false, 100);
		assert_int_equal(
		    fake_net_send(&x, q, FAKE_DATA, message, fake_packet(message, NULL, 0, frame, 100)),
		    GOOD);
		assert_int_equal(fake_net_sent(&x, q, vnet, got, sizeof(got)), 100);
	}
	net_statistics(x.n, &st);
	assert_int_equal(st.channels, 4);
	assert_int_equal(st.count[TAKEN_UNICAST], 4);
	assert_int_equal(st.count[SENT_UNICAST_BYTES], 400);
	assert_true(fake_nvsp_numbers(&x, 133, 1, 1, 0)); /* there are no more */
	assert_int_equal(get_le32(x.nvsp + 4), 2);
}

static void
sub_channels_of_none_are_refused(void **state)
{
	(void)state;
	up(0x60001, MTU);
	assert_true(fake_nvsp_numbers(&x, 133, 1, 0, 0));
	assert_int_equal(get_le32(x.nvsp + 4), 2);
	assert_true(fake_nvsp_numbers(&x, 133, 1, UINT32_MAX, 0));
	assert_int_equal(get_le32(x.nvsp + 4), 1);
	assert_int_equal(get_le32(x.nvsp + 8), 3);
}

/* --- receive scaling --- */

/* Of the published vectors. */
static const uint8_t rss_key[40] = { 0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d,
	0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80,
	0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa };
static const uint8_t one_channel[128];

static uint32_t
hash_told(const uint8_t *p)
{
	assert_int_equal(get_le32(p + 28), 36);
	assert_int_equal(get_le32(p + 32), 16);
	assert_int_equal(get_le32(p + 44), 16);
	assert_int_equal(get_le32(p + 48), 8);
	assert_int_equal(get_le32(p + 52), 12);
	return get_le32(p + 56);
}

static void
the_hash_of_a_frame_is_told_while_the_guest_wants_it(void **state)
{
	(void)state;
	up(0x60001, MTU);
	fake_flow(&x, frame, 60, 2794);
	for (int on = 0; on < 3; on++) {
		if (on)
			assert_int_equal(fake_scale(&x, rss_key, one_channel, 128, on == 2), 0);
		assert_true(fake_net_inject(&x, 0, NULL, frame, 60));
		if (on == 1)
			assert_int_equal(hash_told(receive_one(0)), 0x51ccc178);
		else
			assert_int_equal(get_le32(receive_one(0) + 32), 0);
	}
	assert_int_equal(fake_scale(&x, rss_key, one_channel, 128, false), 0);
	make_frame(true, 60); /* not of IP */
	assert_true(fake_net_inject(&x, 0, NULL, frame, 60));
	assert_int_equal(get_le32(receive_one(0) + 32), 0);
}

/* All queues have the same thread here. Sections come back to whom they belong, however many frames there
 * are. */
static void
frames_go_where_the_guests_table_leads(void **state)
{
	struct packet_head h;
	uint8_t table[128];
	unsigned seen[FAKE_NET_VPS] = { 0 };

	(void)state;
	up(0x60001, MTU);
	assert_true(fake_net_subchannels(&x, 3));
	fake_net_recv(&x, 0, &h); /* the send table */
	for (unsigned i = 0; i < 128; i++)
		table[i] = (uint8_t)(i / 3 % 4);
	assert_int_equal(fake_scale(&x, rss_key, table, 128, false), 0);
	for (unsigned i = 0; i < 2000; i++) {
		uint32_t len = 60 + i * 31 % 1400;
		unsigned from = i % 4, to = 0;
		const uint8_t *p;

		fake_flow(&x, frame, len, (uint16_t)i);
		assert_true(fake_net_inject(&x, from, NULL, frame, len));
		assert_true(fake_net_run(&x));
		while (to < 4 && x.c[to].in.control->read_index == x.c[to].in.control->write_index)
			to++;
		assert_in_range(to, 0, 3);
		p = receive_one(to);
		assert_int_equal(table[hash_told(p) % 128], to);
		assert_int_equal(get_le32(p + 12), len);
		assert_memory_equal(p + 8 + get_le32(p + 8), frame, len);
		seen[to]++;
	}
	for (unsigned i = 0; i < 4; i++)
		assert_in_range(seen[i], 100, 1900);
}

static void
a_long_frame_moves_whole(void **state)
{
	enum { LEN = 30000 };
	struct net_config c = fake_net_config;
	uint8_t table[2] = { 1, 1 };
	struct packet_head h;

	(void)state;
	c.queues = 2;
	begin(&c);
	x.backwards = true;
	assert_true(fake_net_up(&x, 0x60001, 9000));
	assert_int_equal(coalesce(true), 0);
	assert_int_equal(fake_scale(&x, rss_key, table, 2, false), 0);
	assert_true(fake_net_subchannels(&x, 1));
	fake_net_recv(&x, 0, &h);
	for (unsigned i = 0; i < 20; i++) {
		fake_flow(&x, frame, LEN, (uint16_t)i);
		for (uint32_t k = 60; k < LEN; k++)
			frame[k] = (uint8_t)(k >> 6 ^ i);
		assert_true(fake_net_inject(&x, 0, &long_one, frame, LEN));
		assert_true(fake_net_run(&x));
		long_ones_are_whole(1, 1, LEN);
	}
}

static void
a_channel_that_is_not_open_gets_nothing(void **state)
{
	uint8_t table[128];

	(void)state;
	up(0x60001, MTU);
	memset(table, 3, sizeof(table));
	assert_int_equal(fake_scale(&x, rss_key, table, 128, false), 0);
	fake_flow(&x, frame, 60, 1);
	assert_true(fake_net_inject(&x, 0, NULL, frame, 60));
	hash_told(receive_one(0));
}

static void
where_the_channel_has_no_room_a_frame_stays(void **state)
{
	struct net_stats st;
	struct packet_head h;
	unsigned there = 0;
	uint8_t table[128];

	(void)state;
	up(0x60001, MTU);
	assert_true(fake_net_subchannels(&x, 1));
	fake_net_recv(&x, 0, &h);
	memset(table, 1, sizeof(table));
	assert_int_equal(fake_scale(&x, rss_key, table, 128, false), 0);
	fake_flow(&x, frame, 60, 1);
	for (;; there++) { /* the guest keeps them all */
		assert_true(fake_net_inject(&x, 0, NULL, frame, 60));
		assert_true(fake_net_run(&x));
		if (fake_net_recv(&x, 1, &h) != PACKET_XFER_PAGES)
			break;
	}
	assert_int_equal(there, x.sections / 4);
	assert_int_equal(fake_net_recv(&x, 0, &h), PACKET_XFER_PAGES);
	net_statistics(x.n, &st);
	assert_int_equal(st.count[TAKEN_UNICAST], there + 1);
}

/* --- the link --- */

static uint32_t
indication(void)
{
	struct packet_head h;

	fake_net_run(&x);
	if (fake_net_recv(&x, 0, &h) != PACKET_XFER_PAGES || get_le32(x.nvsp + 4) != 1)
		return 0;
	fake_net_complete(&x, 0, h.transaction);
	return get_le32(fake_net_received(&x, 0)) == 7 ? get_le32(fake_net_received(&x, 0) + 8) : 0;
}

static void
the_link_goes_and_comes_back_late_enough_to_be_seen(void **state)
{
	uint8_t v[1024];
	uint32_t len;

	(void)state;
	up(0x60001, MTU);
	assert_int_equal(net_connect(x.n, false, NULL, 0, NULL), 0);
	assert_int_equal(indication(), 0x4001000c);
	assert_int_equal(fake_query(&x, 0x10114, v, &len), 0);
	assert_int_equal(get_le32(v), 1);
	make_frame(false, 60);
	assert_int_equal(
	    fake_net_send(&x, 0, FAKE_DATA, message, fake_packet(message, NULL, 0, frame, 60)), GOOD);
	assert_int_equal(fake_net_sent(&x, 0, vnet, got, sizeof(got)), -1);
	assert_int_equal(net_connect(x.n, true, NULL, 0, NULL), 0);
	assert_int_equal(indication(), 0);
	fake_loop_pass(x.loop, 4000000000);
	assert_int_equal(indication(), 0);
	fake_loop_pass(x.loop, 1100000000);
	assert_int_equal(indication(), 0x4001000b);
	arrives(100);
	leaves(100);
}

static void
another_network_is_told(void **state)
{
	(void)state;
	up(0x60001, MTU);
	assert_true(fake_net_connect(&x, 1));
	assert_int_equal(indication(), 0x40010018);
	arrives(100);
	leaves(100);
}

static void
a_tap_of_one_queue_takes_from_all_channels(void **state)
{
	(void)state;
	up(0x60001, MTU);
	assert_true(fake_net_connect(&x, 1));
	assert_int_equal(indication(), 0x40010018);
	assert_true(fake_net_subchannels(&x, 3));
	for (unsigned q = 0; q < 4; q++) {
		make_frame(false, 100 + q);
		assert_int_equal(
		    fake_net_send(&x, q, FAKE_DATA, message, fake_packet(message, NULL, 0, frame, 100 + q)),
		    GOOD);
		assert_int_equal(fake_net_sent(&x, 0, vnet, got, sizeof(got)), 100 + q);
	}
}

/* --- ends --- */

static void
buffers_come_back_when_they_are_wanted(void **state)
{
	(void)state;
	up(0x60001, MTU);
	assert_true(fake_nvsp_numbers(&x, 103, FAKE_RECEIVE_ID, 0, 0));
	assert_true(fake_teardown(&x.f, x.c[0].relid, x.receive));
	/* Older drivers tear down what they have not revoked. */
	assert_false(fake_teardown(&x.f, x.c[0].relid, x.send));
	fake_net_run(&x);
	assert_true(fake_await(&x.f, WIRE_GPADL_TORNDOWN, &(struct fake_message){ 0 }));
	make_frame(true, 100);
	fake_net_inject(&x, 0, NULL, frame, 100);
	assert_int_equal(indication(), 0);
	x.receive = fake_net_lend(&x, FAKE_RECEIVE, FAKE_RECEIVE_PAGES);
	assert_true(fake_nvsp_numbers(&x, 101, x.receive, 7, 0));
	assert_int_equal(get_le32(x.nvsp + 4), 1);
	assert_int_equal(get_le32(receive_one(0) + 12), 100);
}

static void
a_driver_comes_again_after_it_has_gone(void **state)
{
	(void)state;
	up(0x60001, MTU);
	assert_true(fake_net_subchannels(&x, 2));
	assert_true(fake_shut(&x.c[0]));
	fake_net_run(&x);
	fake_forget(&x.f);
	assert_true(fake_connect(&x.f, VMBUS_5_3));
	assert_true(fake_net_up(&x, 0x40000, MTU));
	arrives(1514);
	leaves(1514);
}

#define unit(f) cmocka_unit_test_teardown(f, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(every_version_carries_frames),
		unit(a_version_that_is_not_spoken_is_refused_and_the_next_is_taken),
		unit(a_driver_without_send_buffer_and_with_small_receive_buffer_is_served),
		unit(frames_of_9000_bytes_pass_where_the_network_carries_them),
		unit(who_has_copied_a_packet_is_told_of_its_end_with_what_comes_next),
		unit(many_messages_in_one_send_section_are_many_frames),
		unit(a_partly_copied_packet_is_put_together),
		unit(checksum_wishes_become_the_taps),
		unit(large_sends_become_the_taps),
		unit(large_sends_of_ipv6_too),
		unit(large_sends_that_lie_are_not_sent),
		unit(a_checksum_left_to_us_is_made_and_told),
		unit(what_is_told_of_checksums_is_what_was_asked_for),
		unit(long_frames_are_taken_only_by_a_guest_that_asks_for_them),
		unit(coalescing_is_for_drivers_that_know_parts),
		unit(long_frames_lie_in_sections_of_any_length),
		unit(long_frames_share_a_packet_and_are_not_torn),
		unit(tags_go_beside_the_frame_both_ways),
		unit(capabilities_have_the_size_of_the_drivers_version),
		unit(a_section_is_not_used_again_before_the_guest_gives_it_back),
		unit(one_interrupt_serves_a_batch),
		unit(a_full_ring_of_the_guest_loses_nothing),
		unit(filters_are_kept),
		unit(another_address_needs_leave),
		unit(what_drivers_ask_is_answered),
		unit(receive_scaling_is_taken_within_bounds),
		unit(the_hash_of_a_frame_is_told_while_the_guest_wants_it),
		unit(frames_go_where_the_guests_table_leads),
		unit(a_long_frame_moves_whole),
		unit(a_channel_that_is_not_open_gets_nothing),
		unit(where_the_channel_has_no_room_a_frame_stays),
		unit(sub_channels_carry_frames_and_the_table_follows),
		unit(sub_channels_of_none_are_refused),
		unit(the_link_goes_and_comes_back_late_enough_to_be_seen),
		unit(another_network_is_told),
		unit(a_tap_of_one_queue_takes_from_all_channels),
		unit(buffers_come_back_when_they_are_wanted),
		unit(a_driver_comes_again_after_it_has_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
