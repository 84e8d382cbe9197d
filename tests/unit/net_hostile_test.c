/*
 * tests/unit/net_hostile_test.c - a network adapter and a guest that means ill: packets of every kind,
 * lengths that lie, counts of nothing and of too much, rings that break. After each the adapter answers, and
 * a good guest that comes next finds it in order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/log.h"
#include "tests/unit/fake_net.h"

enum { MTU = 1500, INVALID = 5 };

static struct fake_net x;
static uint8_t message[4096], frame[2048], got[FAKE_MAX_FRAME], vnet[FAKE_VNET];

static int
setup(void **state)
{
	(void)state;
	log_open("test", 2, LOG_ERROR);
	fake_net_init(&x, NULL);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fake_net_free(&x);
	return 0;
}

static void
make_frame(uint32_t len)
{
	memset(frame, 0x5a, len);
	memcpy(frame + 6, x.config.mac, 6);
}

/* All that came is taken; how many completions there were. */
static unsigned
take_all(void)
{
	struct packet_head h;
	unsigned n = 0, type;

	while ((type = fake_net_recv(&x, 0, &h)) != 0) {
		n += type == PACKET_COMPLETION;
		if (type == PACKET_XFER_PAGES)
			fake_net_complete(&x, 0, h.transaction);
	}
	fake_net_run(&x);
	return n;
}

/* The adapter serves the next driver as if nothing had been. */
static void
is_in_order(void)
{
	vmbus_reset(x.f.bus);
	assert_true(fake_net_run(&x));
	assert_true(vmbus_idle(x.f.bus));
	x.f.next_page = FAKE_FIRST_PAGE;
	assert_true(fake_net_up(&x, 0x60001, MTU));
	make_frame(100);
	assert_int_equal(
	    fake_net_send(&x, 0, FAKE_DATA, message, fake_packet(message, NULL, 0, frame, 100)), 1);
	while (fake_net_sent(&x, 0, vnet, got, sizeof(got)) >= 0)
		;
}

enum state { CLOSED_VERSION, AGREED, BUFFERS, READY, STATES };

static void
go_to(enum state s)
{
	vmbus_reset(x.f.bus);
	assert_true(fake_net_run(&x));
	x.f.next_page = FAKE_FIRST_PAGE;
	assert_true(fake_net_open(&x));
	if (s == AGREED)
		assert_true(fake_nvsp_numbers(&x, 1, 0x60001, 0x60001, 0));
	if (s >= BUFFERS)
		assert_true(fake_net_agree(&x, 0x60001, MTU));
	if (s == READY)
		assert_true(fake_rndis_initialize(&x));
}

static void
packets_of_every_kind_are_survived(void **state)
{
	uint8_t ext[64], m[NVSP_LEN] = { 107 };

	(void)state;
	go_to(READY);
	for (uint16_t type = 0; type < 14; type++)
		for (unsigned fill = 0; fill < 3; fill++)
			for (size_t len = 0; len <= sizeof(ext); len += 8) {
				memset(ext, fill == 2 ? 0xff : (int)fill, sizeof(ext));
				assert_true(fake_send(&x.c[0], type, 1, 9, ext, len, m, sizeof(m)));
				assert_true(fake_net_run(&x));
				assert_in_range(take_all(), type == PACKET_COMPLETION ? 0 : 1, 1);
			}
	is_in_order();
}

/* Each field of a good packet takes each of the values that matter. */
static void
rndis_packets_that_lie_are_refused(void **state)
{
	static const uint32_t at[] = { 0, 4, 8, 12, 16, 20, 24, 28, 32, 44, 48, 52 };
	uint32_t len, values[] = { 0, 1, 7, 8, 11, 12, 13, 16, 17, 35, 36, 37, 43, 44, 52, 100, 0, 0, 0, 1514,
		1519, 6144, 65535, 65536, 0x7fffffff, 0x80000000, 0xfffffff8, UINT32_MAX };
	uint8_t ppi[16] = { 16, 0, 0, 0, 0, 0, 0, 0, 12 };

	(void)state;
	go_to(READY);
	for (size_t f = 0; f < sizeof(at) / sizeof(at[0]); f++)
		for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
			uint32_t status;

			make_frame(100);
			len = fake_packet(message, ppi, sizeof(ppi), frame, 100);
			values[16] = len - 1;
			values[17] = len;
			values[18] = len + 1;
			put_le32(message + at[f], values[v]);
			status = fake_net_send(&x, 0, FAKE_DATA + 4000, message, len);
			assert_true(status == 1 || status == INVALID);
			assert_true(fake_net_sent(&x, 0, vnet, got, sizeof(got)) <= 1518 + 4);
		}
	is_in_order();
}

static void
sections_out_of_range_are_refused(void **state)
{
	static const uint32_t section[] = { 15, 16, 17, 0x7fffffff, 0xfffffffe },
			      len[] = { 0, 1, 43, 6144, 6145, UINT32_MAX };
	uint8_t m[NVSP_LEN] = { 107 };
	struct packet_head h;

	(void)state;
	go_to(READY);
	for (size_t i = 0; i < 5; i++)
		for (size_t k = 0; k < 6; k++) {
			put_le32(m + 8, section[i]);
			put_le32(m + 12, len[k]);
			assert_true(fake_send(&x.c[0], PACKET_INBAND, 1, 9, NULL, 0, m, sizeof(m)));
			assert_true(fake_net_run(&x));
			assert_int_equal(fake_net_recv(&x, 0, &h), PACKET_COMPLETION);
			assert_int_equal(get_le32(x.nvsp + 4), INVALID);
		}
	is_in_order();
}

static void
memory_that_is_not_there_is_not_touched(void **state)
{
	uint8_t ext[24] = { 0 }, m[NVSP_LEN] = { 107 };
	static const uint64_t pfns[] = { (FAKE_NET_MB << 20) / GMEM_PAGE, UINT64_MAX, UINT64_MAX / GMEM_PAGE,
		1ull << 51 };
	struct packet_head h;

	(void)state;
	go_to(READY);
	put_le32(ext + 4, 1);
	put_le32(ext + 8, 100);
	put_le32(m + 8, UINT32_MAX);
	for (size_t i = 0; i < 4; i++) {
		memcpy(ext + 16, &pfns[i], 8);
		assert_true(fake_send(&x.c[0], PACKET_GPA_DIRECT, 1, 9, ext, sizeof(ext), m, sizeof(m)));
		assert_true(fake_net_run(&x));
		assert_int_equal(fake_net_recv(&x, 0, &h), PACKET_COMPLETION);
		assert_int_equal(get_le32(x.nvsp + 4), INVALID);
	}
	is_in_order();
}

static void
control_messages_of_any_length_are_survived(void **state)
{
	static const uint32_t lengths[] = { 8, 11, 12, 13, 16, 23, 24, 27, 28, 29, 32, 1023, 1024 },
			      values[] = { 0, 1, 19, 20, 21, 28, 996, 1024, 0x7fffffff, 0xfffffff8,
				      UINT32_MAX };
	uint8_t m[1024], answer[1024];

	(void)state;
	go_to(READY);
	for (uint32_t type = 0; type < 10; type++)
		for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++)
			for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
				memset(m, 0, sizeof(m));
				put_le32(m, type);
				put_le32(m + 12, 0x1010e);
				put_le32(m + 16, values[v]);
				put_le32(m + 20, values[(v * 7 + l) % 11]);
				fake_rndis(&x, m, lengths[l], answer);
				if (type == 3 || type == 0)
					fake_rndis_initialize(&x);
			}
	is_in_order();
}

/* Nothing grows, and what was asked with patience is answered. */
static void
a_flood_of_questions_costs_the_guest_its_answers_only(void **state)
{
	uint8_t m[28] = { 4 }, v[1024];
	uint32_t len;

	(void)state;
	go_to(READY);
	put_le32(m + 4, sizeof(m));
	put_le32(m + 12, 0x10106);
	gmem_write(x.f.mem, FAKE_CONTROL, m, sizeof(m));
	for (unsigned i = 0; i < 5000; i++) { /* no section is ever given back */
		struct packet_head h;

		fake_rndis_send(&x, 0, 1, i, FAKE_CONTROL, sizeof(m));
		assert_true(fake_net_run(&x));
		while (fake_net_recv(&x, 0, &h))
			;
	}
	is_in_order();
	assert_int_equal(fake_query(&x, 0x10106, v, &len), 0);
}

static void
small_and_strange_buffers_are_refused_or_used(void **state)
{
	static const struct {
		uint32_t offset, len;
	} kinds[] = { { 0, 1 }, { 0, 1000 }, { 4095, 1 }, { 100, 8191 }, { 100, 8192 }, { 4000, 20000 },
		{ 1, 16 * 4096 - 1 } };
	uint64_t pfn[16];

	(void)state;
	for (uint64_t i = 0; i < 16; i++)
		pfn[i] = FAKE_RECEIVE / GMEM_PAGE + 15 - i; /* backwards */
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		uint32_t used = (kinds[i].offset + kinds[i].len + GMEM_PAGE - 1) / GMEM_PAGE;

		go_to(AGREED);
		assert_int_equal(
		    fake_gpadl_pages(&x.f, x.c[0].relid, 50, pfn, used, kinds[i].offset, kinds[i].len), 0);
		assert_true(fake_nvsp_numbers(&x, 101, 50, 1, 0));
		if (kinds[i].len < 8192) {
			assert_int_equal(get_le32(x.nvsp + 4), 2);
			assert_true(fake_teardown(&x.f, x.c[0].relid, 50));
			continue;
		}
		assert_int_equal(get_le32(x.nvsp + 4), 1);
		assert_int_equal(get_le32(x.nvsp + 20), kinds[i].len / 8192);
		assert_true(fake_nvsp_numbers(&x, 101, 50, 1, 0)); /* twice */
		assert_int_equal(get_le32(x.nvsp + 4), 2);
	}
	go_to(AGREED);
	assert_true(fake_nvsp_numbers(&x, 101, 12345, 1, 0)); /* never lent */
	assert_int_equal(get_le32(x.nvsp + 4), 2);
	assert_true(fake_nvsp_numbers(&x, 101, x.c[0].gpadl, 1, 0)); /* the rings */
	assert_int_equal(get_le32(x.nvsp + 4), 2);
	is_in_order();
}

static void
a_broken_ring_takes_the_adapter_back(void **state)
{
	struct fake_message m;

	(void)state;
	go_to(READY);
	x.c[0].out.control->write_index = 3;
	fake_kick(&x.f, x.c[0].connection);
	fake_net_run(&x);
	assert_true(fake_await(&x.f, WIRE_RESCIND, &m));
	is_in_order();
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(packets_of_every_kind_are_survived),
		unit(rndis_packets_that_lie_are_refused),
		unit(sections_out_of_range_are_refused),
		unit(memory_that_is_not_there_is_not_touched),
		unit(control_messages_of_any_length_are_survived),
		unit(a_flood_of_questions_costs_the_guest_its_answers_only),
		unit(small_and_strange_buffers_are_refused_or_used),
		unit(a_broken_ring_takes_the_adapter_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
