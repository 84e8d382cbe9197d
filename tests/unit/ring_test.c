/*
 * tests/unit/ring_test.c - rings and packets: what each side reads is what the other wrote, who is signalled
 * when, and what a hostile guest can do to us: break its ring.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>

#include "tests/unit/fake_vmbus.h"

enum { CONN = 0x2001, OUT_PAGES = 3, IN_PAGES = 2, FIRST = 16 };

struct fixture {
	struct fake_vmbus f; /* without a bus: memory, and the guest's side of the rings */
	struct fake_channel c;
	struct ring_pair r;
	int kick;
};

static int
setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));
	uint64_t pfn[OUT_PAGES + IN_PAGES];

	assert_int_equal(gmem_new(&x->f.mem, 1 << 20, false, NULL), 0);
	assert_int_equal(gmem_add(x->f.mem, 0, 1 << 20, NULL, NULL), 0);
	x->kick = eventfd(0, EFD_NONBLOCK);
	x->f.bound[0].conn = CONN;
	x->f.bound[0].fd = x->kick;
	x->c = (struct fake_channel){ .f = &x->f, .connection = CONN };
	/* Pages in no order, as a driver may have them; the guest's own view has to be in one piece. */
	for (unsigned i = 0; i < OUT_PAGES + IN_PAGES; i++)
		pfn[i] = FIRST + i;
	x->c.out = fake_ring(&x->f, FIRST, OUT_PAGES);
	x->c.in = fake_ring(&x->f, FIRST + OUT_PAGES, IN_PAGES);
	assert_int_equal(ring_pair_map(&x->r, x->f.mem, pfn, OUT_PAGES + IN_PAGES, OUT_PAGES), 0);
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *x = *state;

	ring_pair_unmap(&x->r);
	gmem_free(x->f.mem);
	close(x->kick);
	free(x);
	return 0;
}

static unsigned
kicks(struct fixture *x)
{
	eventfd_t n;

	return eventfd_read(x->kick, &n) == 0 ? (unsigned)n : 0;
}

static bool
guest_sends(struct fixture *x, uint64_t transaction, const void *payload, size_t len)
{
	return fake_send(&x->c, PACKET_INBAND, PACKET_WANTS_REPLY, transaction, NULL, 0, payload, len);
}

static void
packets_arrive_as_they_were_sent_wherever_they_lie(void **state)
{
	struct fixture *x = *state;
	uint8_t sent[1000], got[2000];
	struct packet p;

	/* Every length, so that heads, payloads and trailers cross pages and the ring's end. */
	for (unsigned round = 0; round < 5000; round++) {
		size_t len = round % sizeof(sent);

		for (size_t i = 0; i < len; i++)
			sent[i] = (uint8_t)(round + i);
		assert_true(guest_sends(x, round, sent, len));
		assert_int_equal(ring_read(&x->r.in, &p, got, sizeof(got)), 1);
		assert_int_equal(p.type, PACKET_INBAND);
		assert_int_equal(p.flags, PACKET_WANTS_REPLY);
		assert_int_equal(p.transaction, round);
		assert_int_equal(p.offset, 16);
		assert_int_equal(p.len, 16 + (len + 7) / 8 * 8);
		assert_memory_equal(got + p.offset, sent, len);
		assert_int_equal(ring_read(&x->r.in, &p, got, sizeof(got)), 0);
		ring_read_done(&x->r.in);
	}
}

static void
what_we_write_the_guest_reads(void **state)
{
	struct fixture *x = *state;
	uint8_t a[700], b[700], got[1500];
	struct packet_head h;

	for (unsigned round = 0; round < 5000; round++) {
		size_t alen = round % sizeof(a), blen = round * 7 % sizeof(b);
		bool signal = false;

		memset(a, (int)round, sizeof(a));
		memset(b, (int)~round, sizeof(b));
		assert_int_equal(
		    ring_write(&x->r.out, PACKET_COMPLETION, 0, round, a, alen, b, blen, &signal), 0);
		assert_true(signal);
		assert_int_equal(fake_recv(&x->c, &h, got, sizeof(got)), (alen + blen + 7) / 8 * 8);
		assert_int_equal(h.type, PACKET_COMPLETION);
		assert_int_equal(h.flags, 0);
		assert_int_equal(h.transaction, round);
		assert_memory_equal(got, a, alen);
		assert_memory_equal(got + alen, b, blen);
		for (size_t i = alen + blen; i % 8 != 0; i++)
			assert_int_equal(got[i], 0);
	}
}

static void
the_trailer_tells_where_the_packet_began(void **state)
{
	struct fixture *x = *state;
	uint8_t payload[24] = { 0 };
	bool signal;
	uint64_t trailer;

	ring_write(&x->r.out, 6, 0, 0, payload, 24, NULL, 0, &signal);
	ring_write(&x->r.out, 6, 0, 0, payload, 24, NULL, 0, &signal);
	memcpy(&trailer, x->c.in.data + 48 + 40, sizeof(trailer));
	assert_int_equal(trailer, 48ull << 32);
	assert_int_equal(x->c.in.control->write_index, 96);
}

static void
a_payload_may_come_in_two_parts_or_none(void **state)
{
	struct fixture *x = *state;
	uint8_t got[64];
	struct packet_head h;
	bool signal;

	assert_int_equal(ring_write(&x->r.out, 6, 1, 9, NULL, 0, NULL, 0, &signal), 0);
	assert_int_equal(fake_recv(&x->c, &h, got, sizeof(got)), 0);
	assert_int_equal(ring_write(&x->r.out, 6, 1, 9, NULL, 0, "tail", 4, &signal), 0);
	assert_int_equal(fake_recv(&x->c, &h, got, sizeof(got)), 8);
	assert_memory_equal(got, "tail\0\0\0", 8);
}

static void
a_packet_longer_than_the_buffer_is_left_out(void **state)
{
	struct fixture *x = *state;
	uint8_t got[64] = { 0 };
	struct packet p;

	assert_true(guest_sends(x, 1, "0123456789abcdef0123456789abcdef0123456789abcdefg", 49));
	assert_true(guest_sends(x, 2, "next", 4));
	assert_int_equal(ring_read(&x->r.in, &p, got, sizeof(got)), -EMSGSIZE);
	assert_int_equal(p.transaction, 1);
	assert_int_equal(p.len, 16 + 56);
	assert_memory_equal(got + 16, "0123456789abcdef0123456789abcdef0123456789abcdef", 48);
	assert_int_equal(ring_read(&x->r.in, &p, got, sizeof(got)), 1);
	assert_int_equal(p.transaction, 2);
	assert_true(guest_sends(x, 3, "", 0));
	assert_int_equal(ring_read(&x->r.in, &p, got, 3), -EMSGSIZE);
	assert_int_equal(p.transaction, 3);
}

static void
the_guest_is_signalled_for_the_first_packet_only(void **state)
{
	struct fixture *x = *state;
	struct packet_head h;
	uint8_t got[64];
	bool signal = false;

	ring_write(&x->r.out, 6, 0, 0, NULL, 0, NULL, 0, &signal);
	assert_true(signal);
	signal = false;
	ring_write(&x->r.out, 6, 0, 0, NULL, 0, NULL, 0, &signal);
	assert_false(signal); /* it has not read the first: it is awake, or will be */
	fake_recv(&x->c, &h, got, sizeof(got));
	ring_write(&x->r.out, 6, 0, 0, NULL, 0, NULL, 0, &signal);
	assert_false(signal);
	fake_recv(&x->c, &h, got, sizeof(got));
	fake_recv(&x->c, &h, got, sizeof(got));
	x->c.in.control->mask = 1;
	ring_write(&x->r.out, 6, 0, 0, NULL, 0, NULL, 0, &signal);
	assert_false(signal);
	fake_recv(&x->c, &h, got, sizeof(got));
	x->c.in.control->mask = 0;
	signal = true;
	ring_write(&x->r.out, 6, 0, 0, NULL, 0, NULL, 0, &signal);
	ring_write(&x->r.out, 6, 0, 0, NULL, 0, NULL, 0, &signal);
	assert_true(signal); /* one that is due stays due */
}

static void
who_sleeps_is_signalled_and_who_looks_is_not(void **state)
{
	struct fixture *x = *state;
	struct packet p;
	uint8_t got[64];

	ring_mask(&x->r.in);
	assert_true(guest_sends(x, 1, "", 0));
	assert_int_equal(kicks(x), 0);
	assert_true(ring_idle(&x->r.in)); /* something came: do not sleep */
	assert_int_equal(x->c.out.control->mask, 1);
	assert_int_equal(ring_read(&x->r.in, &p, got, sizeof(got)), 1);
	ring_read_done(&x->r.in);
	assert_false(ring_idle(&x->r.in));
	assert_int_equal(x->c.out.control->mask, 0);
	assert_true(guest_sends(x, 2, "", 0));
	assert_int_equal(kicks(x), 1);
}

static void
a_guest_that_waits_for_room_is_signalled_when_there_is_enough(void **state)
{
	struct fixture *x = *state;
	uint8_t payload[1000] = { 0 }, got[1100];
	unsigned sent = 0;
	struct packet p;

	ring_mask(&x->r.in);
	while (guest_sends(x, sent, payload, sizeof(payload)))
		sent++;
	assert_int_equal(sent, 7); /* 1024 bytes each into 8192, of which 8 stay free */
	assert_int_equal(x->c.out.control->pending_send, 1024);
	assert_false(ring_read_done(&x->r.in)); /* nothing was read */
	ring_read(&x->r.in, &p, got, sizeof(got));
	assert_true(ring_read_done(&x->r.in));
	ring_read(&x->r.in, &p, got, sizeof(got));
	assert_false(ring_read_done(&x->r.in)); /* it has been told */
	assert_true(guest_sends(x, sent, payload, sizeof(payload)));
	ring_read(&x->r.in, &p, got, sizeof(got));
	assert_false(ring_read_done(&x->r.in));
}

static void
space_counts_as_free_only_once_it_was_made_known(void **state)
{
	struct fixture *x = *state;
	uint8_t payload[1000] = { 0 }, got[1100];
	struct packet p;

	ring_mask(&x->r.in);
	while (guest_sends(x, 0, payload, sizeof(payload)))
		;
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(ring_read(&x->r.in, &p, got, sizeof(got)), 1);
	assert_int_equal(x->c.out.control->read_index, 0);
	assert_false(guest_sends(x, 0, payload, sizeof(payload)));
	assert_true(ring_read_done(&x->r.in));
	assert_int_equal(x->c.out.control->read_index, 7 * 1024);
	assert_true(guest_sends(x, 0, payload, sizeof(payload)));
}

static void
a_full_ring_asks_the_guest_to_signal_and_takes_the_wish_back(void **state)
{
	struct fixture *x = *state;
	uint8_t payload[1000] = { 0 }, got[1100];
	struct packet_head h;
	unsigned sent = 0;
	bool signal;

	while (ring_write(&x->r.out, 6, 0, sent, payload, sizeof(payload), NULL, 0, &signal) == 0)
		sent++;
	assert_int_equal(sent, 3);
	assert_int_equal(ring_write(&x->r.out, 6, 0, 0, payload, sizeof(payload), NULL, 0, &signal), -EAGAIN);
	assert_int_equal(x->c.in.control->pending_send, 1024);
	assert_int_equal(kicks(x), 0);
	fake_recv(&x->c, &h, got, sizeof(got));
	assert_int_equal(kicks(x), 1);
	assert_int_equal(ring_write(&x->r.out, 6, 0, 0, payload, sizeof(payload), NULL, 0, &signal), 0);
	assert_int_equal(x->c.in.control->pending_send, 0);
}

static void
a_ring_is_never_filled_to_the_last_byte(void **state)
{
	struct fixture *x = *state;
	uint8_t payload[4096] = { 0 };
	bool signal;

	/* 4096 bytes of data: a packet of 4096 would make it look empty. */
	assert_int_equal(ring_write(&x->r.out, 6, 0, 0, payload, 4096 - 24, NULL, 0, &signal), -EMSGSIZE);
	assert_int_equal(ring_write(&x->r.out, 6, 0, 0, payload, 4096 - 32, NULL, 0, &signal), 0);
	assert_int_equal(ring_write(&x->r.out, 6, 0, 0, NULL, 0, NULL, 0, &signal), -EAGAIN);
	assert_int_equal(ring_write(&x->r.out, 6, 0, 0, payload, SIZE_MAX, payload, 16, &signal), -EMSGSIZE);
	assert_int_equal(ring_write(&x->r.out, 6, 0, 0, payload, 1 << 20, NULL, 0, &signal), -EMSGSIZE);
}

static void
our_feature_bit_is_set_and_the_rest_left_alone(void **state)
{
	struct fixture *x = *state;
	uint64_t pfn[4] = { 40, 41, 42, 43 };
	struct ring_control *c = gmem_span(x->f.mem, 42 * GMEM_PAGE, GMEM_PAGE);
	struct ring_pair r;

	c->features = 0x80;
	c->mask = 1;
	assert_int_equal(ring_pair_map(&r, x->f.mem, pfn, 4, 2), 0);
	assert_int_equal(c->features, 0x81);
	assert_int_equal(c->mask, 1);
	ring_pair_unmap(&r);
}

static void
shapes_that_cannot_be_are_refused(void **state)
{
	static const struct {
		uint64_t last;
		uint32_t pages, downstream;
	} bad[] = {
		{ 43, 0, 0 },
		{ 43, 4, 0 },
		{ 43, 4, 1 },
		{ 43, 4, 3 },
		{ 43, 4, 4 },
		{ 43, 4, 5 },
		{ 43, 4, UINT32_MAX },
		{ 43, 3, 2 },
		{ 256, 4, 2 },
		{ UINT64_MAX, 4, 2 },
		{ 1ull << 52, 4, 2 },
		{ 43, RING_MAX_PAGES + 1, 2 },
	};
	struct fixture *x = *state;
	struct ring_pair r;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t pfn[4] = { 40, 41, 42, bad[i].last };
		bool signal = false;

		assert_int_equal(ring_pair_map(&r, x->f.mem, pfn, bad[i].pages, bad[i].downstream), -EINVAL);
		ring_pair_unmap(&r);
		assert_int_equal(ring_write(&r.out, 6, 0, 0, NULL, 0, NULL, 0, &signal), -EPROTO);
	}
}

static void
indices_of_a_restored_guest_are_taken_over(void **state)
{
	struct fixture *x = *state;
	uint8_t got[64];
	struct packet p;
	bool signal;

	assert_true(guest_sends(x, 1, "one", 3));
	assert_true(guest_sends(x, 2, "two", 3));
	ring_read(&x->r.in, &p, got, sizeof(got));
	ring_read_done(&x->r.in);
	ring_write(&x->r.out, 6, 0, 0, NULL, 0, NULL, 0, &signal);
	x->r.in.at = x->r.out.at = 0; /* as after a restore */
	ring_pair_sync(&x->r);
	assert_int_equal(ring_read(&x->r.in, &p, got, sizeof(got)), 1);
	assert_int_equal(p.transaction, 2);
	assert_int_equal(x->r.out.at, 24);
}

static void
bad_indices_break_the_ring_for_good(void **state)
{
	static const uint32_t bad[] = { 1, 4, 7, 8192, 8200, 0x80000000, UINT32_MAX, UINT32_MAX - 7 };
	struct fixture *x = *state;
	uint8_t got[64];
	struct packet p;
	bool signal = false;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		x->c.out.control->write_index = bad[i];
		assert_int_equal(ring_read(&x->r.in, &p, got, sizeof(got)), -EPROTO);
		x->c.out.control->write_index = 0;
		assert_int_equal(ring_read(&x->r.in, &p, got, sizeof(got)), -EPROTO);
		assert_false(ring_read_done(&x->r.in));
		assert_false(ring_idle(&x->r.in));
		ring_mask(&x->r.in);
		ring_pair_sync(&x->r);
		assert_int_equal(ring_read(&x->r.in, &p, got, sizeof(got)), 0);

		x->c.in.control->read_index = bad[i];
		assert_int_equal(ring_write(&x->r.out, 6, 0, 0, NULL, 0, NULL, 0, &signal), -EPROTO);
		x->c.in.control->read_index = 0;
		assert_int_equal(ring_write(&x->r.out, 6, 0, 0, NULL, 0, NULL, 0, &signal), -EPROTO);
		assert_false(signal);
		ring_pair_sync(&x->r);
	}
	x->c.in.control->write_index = 3;
	ring_pair_sync(&x->r);
	assert_true(x->r.out.broken);
}

static void
lengths_that_lie_break_the_ring(void **state)
{
	static const struct {
		uint16_t offset8, len8;
		uint32_t write;
	} bad[] = {
		{ 2, 2, 8 },
		{ 2, 2, 16 },
		{ 1, 3, 64 },
		{ 0, 3, 64 },
		{ 3, 2, 64 },
		{ 2, 8, 64 },
		{ 2, 0, 64 },
		{ 2, 0xffff, 64 },
		{ 0xffff, 0xffff, 64 },
		{ 2, 3, 24 },
	};
	struct fixture *x = *state;
	uint8_t got[64];
	struct packet p;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct packet_head h = { 6, bad[i].offset8, bad[i].len8, 0, 0 };

		memcpy(x->c.out.data, &h, sizeof(h));
		x->c.out.control->write_index = bad[i].write;
		assert_int_equal(ring_read(&x->r.in, &p, got, sizeof(got)), -EPROTO);
		ring_pair_sync(&x->r);
	}
	memcpy(x->c.out.data, &(struct packet_head){ 6, 2, 2, 0, 0 }, sizeof(struct packet_head));
	x->c.out.control->write_index = 24;
	assert_int_equal(ring_read(&x->r.in, &p, got, sizeof(got)), 1);
}

static void
our_read_index_is_not_the_guests_to_change(void **state)
{
	struct fixture *x = *state;
	uint8_t got[64];
	struct packet p;

	assert_true(guest_sends(x, 1, "one", 3));
	assert_true(guest_sends(x, 2, "two", 3));
	assert_int_equal(ring_read(&x->r.in, &p, got, sizeof(got)), 1);
	x->c.out.control->read_index = 0x12345;
	assert_int_equal(ring_read(&x->r.in, &p, got, sizeof(got)), 1);
	assert_int_equal(p.transaction, 2);
	ring_read_done(&x->r.in);
	assert_int_equal(x->c.out.control->read_index, 64);
}

static void
every_written_page_is_marked_dirty(void **state)
{
	struct fixture *x = *state;
	uint64_t bits[4] = { 0 };
	struct packet p;
	uint8_t got[64], payload[3000] = { 0 };
	bool signal;

	assert_true(guest_sends(x, 1, "one", 3));
	assert_int_equal(gmem_track(x->f.mem, true, NULL), 0);
	ring_read(&x->r.in, &p, got, sizeof(got));
	gmem_take_dirty(x->f.mem, 0, bits);
	assert_int_equal(bits[0], 0); /* reading writes nothing */
	ring_read_done(&x->r.in);
	gmem_take_dirty(x->f.mem, 0, bits);
	assert_int_equal(bits[0], 1ull << FIRST);
	ring_mask(&x->r.in);
	gmem_take_dirty(x->f.mem, 0, bits);
	assert_int_equal(bits[0], 1ull << FIRST);
	ring_idle(&x->r.in);
	gmem_take_dirty(x->f.mem, 0, bits);
	assert_int_equal(bits[0], 1ull << FIRST);
	ring_write(&x->r.out, 6, 0, 0, payload, sizeof(payload), NULL, 0, &signal);
	gmem_take_dirty(x->f.mem, 0, bits);
	assert_int_equal(bits[0], 3ull << (FIRST + OUT_PAGES));
	ring_write(&x->r.out, 6, 0, 0, payload, sizeof(payload), NULL, 0, &signal); /* no room */
	gmem_take_dirty(x->f.mem, 0, bits);
	assert_int_equal(bits[0], 1ull << (FIRST + OUT_PAGES));
}

/* --- address ranges --- */

struct ranges {
	struct packet_head head;
	uint32_t reserved, count;
	uint64_t words[64];
};

static void
ranges_are_found_wherever_their_pages_are(void **state)
{
	struct ranges b = { .count = 2 };
	struct packet p = { .type = PACKET_GPA_DIRECT, .offset = 24 + 8 + 8 * 3 + 8 + 8, .len = 200 };
	struct gpa_range r[2];

	(void)state;
	b.words[0] = 8192ull | 1ull << 32; /* 8192 bytes from 1: 3 pages */
	b.words[1] = 100;
	b.words[2] = 200;
	b.words[3] = 300;
	b.words[4] = 4096ull | 0ull << 32;
	b.words[5] = UINT64_MAX;
	assert_int_equal(packet_ranges(&p, &b, r, 2), 2);
	assert_int_equal(r[0].len, 8192);
	assert_int_equal(r[0].offset, 1);
	assert_int_equal(r[0].pages, 3);
	assert_int_equal(gpa_range_pfn(&r[0], 2), 300);
	assert_int_equal(r[1].pages, 1);
	assert_int_equal(gpa_range_pfn(&r[1], 0), UINT64_MAX);
	assert_int_equal(packet_ranges(&p, &b, r, 1), 2);
	assert_int_equal(packet_ranges(&p, &b, NULL, 0), 2);
}

static void
ranges_that_do_not_fit_are_refused(void **state)
{
	static const struct {
		uint32_t count, offset, len, start;
	} bad[] = {
		{ 1, 16, 4096, 0 },
		{ 1, 24, 4096, 0 },
		{ 1, 32, 4096, 0 },
		{ 1, 39, 4096, 0 },
		{ 1, 40, 4096, 1 },
		{ 1, 40, 0, 0 },
		{ 1, 40, 1, 4096 },
		{ 1, 40, UINT32_MAX, 4095 },
		{ 1, 40, 1, UINT32_MAX },
		{ 2, 40, 1, 0 },
		{ UINT32_MAX, 40, 1, 0 },
		{ 0x80000000, 40, 1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct ranges b = { .count = bad[i].count,
			.words[0] = bad[i].len | (uint64_t)bad[i].start << 32 };
		struct packet p = { .type = PACKET_GPA_DIRECT, .offset = bad[i].offset, .len = 400 };
		struct gpa_range r[4];

		assert_int_equal(packet_ranges(&p, &b, r, 4), -EPROTO);
	}
	assert_int_equal(
	    packet_ranges(&(struct packet){ .offset = 24 }, &(struct ranges){ .count = 0 }, NULL, 0), 0);
}

/* --- both at once --- */

enum { ROUNDS = 200000 };

static void *
guest_thread(void *arg)
{
	struct fixture *x = arg;
	uint64_t sent[6] = { 0 }, answered = 0;
	struct packet_head h;
	uint8_t got[64];

	while (answered < ROUNDS) {
		while (sent[0] < ROUNDS && guest_sends(x, sent[0], sent, sent[0] % 40 + 8))
			sent[0]++;
		while (fake_recv(&x->c, &h, got, sizeof(got)) >= 0) {
			if (h.transaction != answered || memcmp(got, &answered, sizeof(answered)) != 0)
				return x;
			answered++;
		}
	}
	return NULL;
}

/* Nothing is lost, doubled or torn, and nobody sleeps through what he waits for: a lost signal hangs this. */
static void
two_threads_talk_without_losing_anything(void **state)
{
	struct fixture *x = *state;
	uint64_t done = 0;
	pthread_t thread;
	void *failed;
	int flags = fcntl(x->kick, F_GETFL);

	fcntl(x->kick, F_SETFL, flags & ~O_NONBLOCK);
	pthread_create(&thread, NULL, guest_thread, x);
	ring_mask(&x->r.in);
	while (done < ROUNDS) {
		uint8_t got[128];
		struct packet p;
		bool signal = false;
		int rc = ring_read(&x->r.in, &p, got, sizeof(got));

		assert_true(rc >= 0);
		if (rc == 0) {
			if (ring_read_done(&x->r.in) || ring_idle(&x->r.in))
				continue;
			eventfd_read(x->kick, &(eventfd_t){ 0 });
			ring_mask(&x->r.in);
			continue;
		}
		while ((rc = ring_write(
			    &x->r.out, 11, 0, p.transaction, got + p.offset, 8, NULL, 0, &signal)) == -EAGAIN)
			ring_read_done(&x->r.in);
		assert_int_equal(rc, 0);
		done++;
	}
	pthread_join(thread, &failed);
	assert_null(failed);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(packets_arrive_as_they_were_sent_wherever_they_lie),
		TEST(what_we_write_the_guest_reads),
		TEST(the_trailer_tells_where_the_packet_began),
		TEST(a_payload_may_come_in_two_parts_or_none),
		TEST(a_packet_longer_than_the_buffer_is_left_out),
		TEST(the_guest_is_signalled_for_the_first_packet_only),
		TEST(who_sleeps_is_signalled_and_who_looks_is_not),
		TEST(a_guest_that_waits_for_room_is_signalled_when_there_is_enough),
		TEST(space_counts_as_free_only_once_it_was_made_known),
		TEST(a_full_ring_asks_the_guest_to_signal_and_takes_the_wish_back),
		TEST(a_ring_is_never_filled_to_the_last_byte),
		TEST(our_feature_bit_is_set_and_the_rest_left_alone),
		TEST(shapes_that_cannot_be_are_refused),
		TEST(indices_of_a_restored_guest_are_taken_over),
		TEST(bad_indices_break_the_ring_for_good),
		TEST(lengths_that_lie_break_the_ring),
		TEST(our_read_index_is_not_the_guests_to_change),
		TEST(every_written_page_is_marked_dirty),
		cmocka_unit_test(ranges_are_found_wherever_their_pages_are),
		cmocka_unit_test(ranges_that_do_not_fit_are_refused),
		TEST(two_threads_talk_without_losing_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
