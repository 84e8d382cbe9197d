/*
 * tests/unit/net_state_test.c - a network adapter saved with its bus in the middle of traffic, and continued
 * elsewhere; the same from a file that somebody has changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/log.h"
#include "tests/unit/fake_net.h"

enum { MTU = 1500 };

static struct fake_net x;
static uint8_t memory[FAKE_NET_MB << 20], message[4096], frame[2048], got[4096], vnet[FAKE_VNET];
static void *state_buf;
static size_t state_len;

static int
setup(void **state)
{
	(void)state;
	log_open("test", 2, LOG_ERROR);
	fake_net_init(&x, NULL);
	assert_true(fake_net_up(&x, 0x60001, MTU));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fake_net_free(&x);
	free(state_buf);
	state_buf = NULL;
	return 0;
}

static void
make_frame(bool to_guest, uint32_t len)
{
	memset(frame, 0x5a, len);
	memcpy(frame + (to_guest ? 0 : 6), x.config.mac, 6);
	frame[to_guest ? 6 : 0] = 0x52;
}

static void
save(void)
{
	size_t cap;

	assert_int_equal(net_pause(x.n, 10, NULL), 0);
	cap = vmbus_state_max(x.f.bus);
	state_buf = malloc(cap);
	state_len = (size_t)vmbus_save(x.f.bus, state_buf, cap);
	assert_true((long)state_len > 0);
	gmem_read(x.f.mem, 0, memory, sizeof(memory));
}

/* Another bus and another adapter; 0 or what the restore says. */
static int
restore(const void *buf, size_t len)
{
	fake_net_drop(&x);
	assert_int_equal(vmbus_new(&x.f.bus, &x.f.host, NULL), 0);
	fake_net_make(&x);
	gmem_write(x.f.mem, 0, memory, sizeof(memory));
	return vmbus_restore(x.f.bus, buf, len, NULL);
}

static void
works(unsigned q)
{
	struct packet_head h;

	make_frame(true, 300);
	assert_true(fake_net_inject(&x, q, NULL, frame, 300));
	assert_true(fake_net_run(&x));
	assert_int_equal(fake_net_recv(&x, q, &h), PACKET_XFER_PAGES);
	assert_true(fake_net_complete(&x, q, h.transaction));
	make_frame(false, 100);
	assert_int_equal(
	    fake_net_send(&x, q, FAKE_DATA, message, fake_packet(message, NULL, 0, frame, 100)), 1);
	assert_int_equal(fake_net_sent(&x, q, vnet, got, sizeof(got)), 100);
}

static void
traffic_goes_on_elsewhere(void **state)
{
	uint64_t held[8];
	unsigned n = 0;
	struct packet_head h;
	struct net_stats st;

	(void)state;
	assert_true(fake_net_subchannels(&x, 2));
	fake_net_recv(&x, 0, &h); /* the table */
	for (unsigned i = 0; i < 8; i++) {
		make_frame(true, 300);
		fake_net_inject(&x, i % 3, NULL, frame, 300);
		fake_net_run(&x);
		assert_int_equal(fake_net_recv(&x, i % 3, &h), PACKET_XFER_PAGES);
		held[n++] = h.transaction;
	}
	/* A packet that nobody has read yet. */
	assert_int_equal(net_pause(x.n, 10, NULL), 0);
	make_frame(false, 80);
	gmem_write(x.f.mem, FAKE_DATA, message, fake_packet(message, NULL, 0, frame, 80));
	assert_true(fake_rndis_send(&x, 0, 0, 4711, FAKE_DATA, 128));
	save();
	assert_int_equal(restore(state_buf, state_len), 0);
	fake_net_run(&x);
	assert_int_equal(fake_net_sent(&x, 0, vnet, got, sizeof(got)), -1); /* not before all is there */
	vmbus_restored(x.f.bus);
	fake_net_run(&x);
	assert_int_equal(fake_net_sent(&x, 0, vnet, got, sizeof(got)), 80);
	assert_int_equal(fake_net_recv(&x, 0, &h), PACKET_COMPLETION);
	assert_int_equal(h.transaction, 4711);
	for (unsigned i = 0; i < n; i++)
		assert_true(fake_net_complete(&x, i % 3, held[i]));
	for (unsigned q = 0; q < 3; q++)
		works(q);
	net_statistics(x.n, &st);
	assert_int_equal(st.version, 0x60001);
	assert_int_equal(st.channels, 3);
	assert_true(st.ready);
}

static void
what_was_set_is_still_set(void **state)
{
	static const uint8_t group[12] = { 1, 0, 0x5e, 1, 2, 3, 1, 0, 0x5e, 4, 5, 6 };
	static const uint8_t key[40] = { 1, 2, 3 }, table[4];
	uint8_t v[1024], told[16];
	struct packet_head h;
	uint32_t len;

	(void)state;
	assert_true(fake_filter(&x, 0x2b));
	assert_int_equal(fake_scale(&x, key, table, 4, false), 0);
	fake_flow(&x, frame, 60, 99);
	assert_true(fake_net_inject(&x, 0, NULL, frame, 60));
	assert_true(fake_net_run(&x));
	assert_int_equal(fake_net_recv(&x, 0, &h), PACKET_XFER_PAGES);
	memcpy(told, fake_net_received(&x, 0) + 44, sizeof(told));
	assert_int_equal(get_le32(told + 4), 8); /* the hash */
	assert_true(fake_net_complete(&x, 0, h.transaction));
	assert_int_equal(fake_set(&x, 0x1010103, group, 12), 0);
	save();
	assert_int_equal(restore(state_buf, state_len), 0);
	vmbus_restored(x.f.bus);
	assert_int_equal(fake_query(&x, 0x1010e, v, &len), 0);
	assert_int_equal(get_le32(v), 0x2b);
	assert_int_equal(fake_query(&x, 0x1010103, v, &len), 0);
	assert_int_equal(len, 12);
	assert_memory_equal(v, group, 12);
	assert_true(fake_net_inject(&x, 0, NULL, frame, 60));
	assert_true(fake_net_run(&x));
	assert_int_equal(fake_net_recv(&x, 0, &h), PACKET_XFER_PAGES);
	assert_memory_equal(fake_net_received(&x, 0) + 44, told, sizeof(told));
}

static const struct {
	uint8_t flags, gso;
	uint16_t hdr, size, start, off, bufs;
} segments = { 1, 1, 54, 1460, 34, 16, 0 };

static void
long_frames(void)
{
	uint8_t params[28] = { 0x80, 3, 28 };

	params[22] = params[23] = 2;
	assert_int_equal(fake_set(&x, 0xfc01020c, params, sizeof(params)), 0);
}

static void
a_frame_in_parts_is_given_back_elsewhere(void **state)
{
	static uint8_t sent[60000], back[60000];
	struct packet_head h;
	uint64_t held;

	(void)state;
	fake_net_drop(&x); /* one queue, which has all sections */
	x.config.queues = 1;
	assert_int_equal(vmbus_new(&x.f.bus, &x.f.host, NULL), 0);
	fake_net_make(&x);
	assert_true(fake_net_up(&x, 0x60001, MTU));
	long_frames();
	fake_flow(&x, sent, sizeof(sent), 7);
	assert_true(fake_net_inject(&x, 0, &segments, sent, sizeof(sent)));
	fake_net_run(&x);
	assert_int_equal(fake_net_recv(&x, 0, &h), PACKET_XFER_PAGES);
	held = h.transaction;
	save();
	assert_int_equal(restore(state_buf, state_len), 0);
	vmbus_restored(x.f.bus);
	for (unsigned i = 0; i < 4 * x.sections / 8; i++) { /* the guest's parts are left alone */
		uint32_t k = 0;

		sent[100] = (uint8_t)i;
		assert_true(fake_net_inject(&x, 0, &segments, sent, sizeof(sent)));
		fake_net_run(&x);
		assert_int_equal(fake_net_recv(&x, 0, &h), PACKET_XFER_PAGES);
		assert_int_equal(fake_net_frame(&x, &k, back, sizeof(back)), sizeof(sent));
		assert_memory_equal(back, sent, sizeof(sent));
		assert_true(fake_net_complete(&x, 0, h.transaction));
		fake_net_run(&x);
		if (i == 9)
			assert_true(fake_net_complete(&x, 0, held));
	}
}

static bool
is_dirty(const uint64_t *bitmap, uint64_t gpa)
{
	return bitmap[gpa / GMEM_PAGE / 64] >> gpa / GMEM_PAGE % 64 & 1;
}

static void
what_a_frame_has_written_is_noted(void **state)
{
	static uint64_t bitmap[(FAKE_NET_MB << 20) / GMEM_PAGE / 64];
	static uint8_t sent[30000];
	struct packet_head h;

	(void)state;
	long_frames();
	assert_int_equal(gmem_track(x.f.mem, true, NULL), 0);
	for (size_t len = 60; len <= sizeof(sent); len += 29940) {
		fake_flow(&x, sent, (uint32_t)len, 7);
		gmem_take_dirty(x.f.mem, 0, bitmap);
		assert_true(fake_net_inject(&x, 0, len > 60 ? &segments : NULL, sent, len));
		fake_net_run(&x);
		gmem_take_dirty(x.f.mem, 0, bitmap);
		assert_int_equal(fake_net_recv(&x, 0, &h), PACKET_XFER_PAGES);
		for (uint32_t k = 0; k < x.ranges; k++)
			for (uint32_t at = 0; at < x.range[k].len; at += 64)
				assert_true(is_dirty(bitmap, FAKE_RECEIVE + x.range[k].at + at));
		assert_true(fake_net_complete(&x, 0, h.transaction));
		fake_net_run(&x);
	}
}

static void
a_failed_save_leaves_it_working(void **state)
{
	(void)state;
	save();
	net_resume(x.n);
	works(0);
}

/* Every byte of it changed, and every length: it is refused, or taken and then survived. */
static void
a_changed_file_does_no_harm(void **state)
{
	struct packet_head h;
	uint8_t *copy;

	(void)state;
	make_frame(true, 300);
	fake_net_inject(&x, 0, NULL, frame, 300);
	fake_net_run(&x);
	fake_net_recv(&x, 0, &h);
	save();
	copy = malloc(state_len);
	for (size_t i = state_len > 700 ? state_len - 700 : 0; i < state_len; i++) {
		memcpy(copy, state_buf, state_len);
		copy[i] ^= (uint8_t)(i % 3 == 0 ? 0xff : i % 3);
		if (restore(copy, state_len) == 0) {
			vmbus_restored(x.f.bus);
			fake_net_run(&x);
			fake_net_complete(&x, 0, h.transaction);
			fake_net_run(&x);
		}
	}
	for (size_t cut = state_len > 300 ? state_len - 300 : 0; cut < state_len; cut++)
		assert_int_equal(restore(state_buf, cut), -EINVAL);
	assert_int_equal(restore(state_buf, state_len), 0);
	vmbus_restored(x.f.bus);
	fake_net_complete(&x, 0, h.transaction);
	works(0);
	free(copy);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(traffic_goes_on_elsewhere),
		unit(what_was_set_is_still_set),
		unit(a_frame_in_parts_is_given_back_elsewhere),
		unit(what_a_frame_has_written_is_noted),
		unit(a_failed_save_leaves_it_working),
		unit(a_changed_file_does_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
