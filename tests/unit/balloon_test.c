/*
 * tests/unit/balloon_test.c - dynamic memory on the real bus, with a guest that plays hv_balloon: it agrees,
 * gives pages and gets them again, takes memory that is added; it answers less, late, or nonsense; and all of
 * it through saved state.
 */
#include "hypervisor/vsp/balloon.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/fake_balloon.h"

enum { START_MB = 64, LEAST_MB = 16, MOST_MB = 256, PAGES_PER_MB = 256, CAN_BOTH = 3, FIRST = 4096 };

#define MB(n) ((uint64_t)(n) << 20)

static int
setup(void **state)
{
	struct fake_balloon *x = calloc(1, sizeof(*x));

	assert_int_equal(fake_balloon_init(x, START_MB, LEAST_MB, MOST_MB), 0);
	assert_true(fake_connect(&x->f, VMBUS_5_3));
	assert_int_equal(fake_offers(&x->f, &x->offer, 1), 1);
	*state = x;
	return 0;
}

static void
drop(struct fake_balloon *x)
{
	vmbus_reset(x->f.bus);
	assert_true(fake_balloon_run(x));
	assert_true(vmbus_idle(x->f.bus));
	for (int i = 0; i < FAKE_LOOP_FILES; i++)
		assert_int_equal(x->loop->fd[i], 0);
	fake_balloon_free(x);
}

static int
teardown(void **state)
{
	drop(*state);
	free(*state);
	return 0;
}

static struct balloon_report
report(struct fake_balloon *x)
{
	struct balloon_report r;

	balloon_report(x->b, &r);
	return r;
}

static void
assert_says(struct fake_balloon *x, uint16_t type, uint8_t *m)
{
	assert_int_equal(guest_hears(x, m), type);
}

static void
assert_silent(struct fake_balloon *x)
{
	uint8_t m[BALLOON_MESSAGE];

	assert_int_equal(guest_hears(x, m), 0);
}

static void
agree(struct fake_balloon *x, uint32_t version, uint64_t can)
{
	uint8_t m[BALLOON_MESSAGE];

	assert_int_equal(guest_opens(x), WIRE_STATUS_OK);
	assert_true(guest_says_version(x, version));
	assert_says(x, TELLS_VERSION, m);
	assert_int_equal(get_le64(m + 8), 1);
	assert_true(guest_says_capabilities(x, can, 1));
	assert_says(x, TELLS_CAPABILITIES, m);
	assert_int_equal(get_le64(m + 8), 1);
	if (version >= BALLOON_1_0) {
		assert_says(x, TELLS_INFO, m);
		assert_int_equal(get_le16(m + 2), 32);
		assert_int_equal(get_le32(m + 12), 16);
		assert_int_equal(get_le32(m + 16), 0);
		assert_int_equal(get_le32(m + 20), 8);
		assert_int_equal(get_le64(m + 24), MOST_MB * PAGES_PER_MB);
	}
	assert_silent(x);
}

static void
target(struct fake_balloon *x, uint64_t bytes)
{
	assert_int_equal(balloon_target(x->b, bytes, NULL), 0);
	assert_true(fake_balloon_run(x));
}

static void
assert_asks_for(struct fake_balloon *x, uint32_t pages)
{
	uint8_t m[BALLOON_MESSAGE];

	assert_says(x, ASKS_BALLOON, m);
	assert_int_equal(get_le16(m + 2), 16);
	assert_int_equal(get_le32(m + 8), pages);
	assert_int_equal(report(x).state, BALLOON_TAKING);
}

static uint64_t
host_bytes(struct fake_balloon *x)
{
	uint64_t start, len, n = 0;

	for (size_t i = 0; i < gmem_regions(x->f.mem); i++)
		for (uint64_t at = 0; gmem_next_data(x->f.mem, i, at, &start, &len); at = start + len)
			n += len;
	return n;
}

/* --- agreement ---------------------------------------------------------------------------------------- */

static void
each_version_is_spoken(void **state)
{
	static const uint32_t versions[] = { BALLOON_2_0, BALLOON_1_0, BALLOON_0_3 };
	struct fake_balloon *x = *state;

	assert_int_equal(report(x).state, BALLOON_CLOSED);
	for (size_t i = 0; i < 3; i++) {
		agree(x, versions[i], CAN_BOTH);
		assert_int_equal(report(x).version, versions[i]);
		assert_true(report(x).can_balloon && report(x).can_add);
		assert_int_equal(report(x).state, BALLOON_READY);
		assert_true(fake_shut(&x->c));
		assert_true(fake_balloon_run(x));
		assert_int_equal(report(x).state, BALLOON_CLOSED);
	}
}

static void
other_versions_are_refused_until_one_is_right(void **state)
{
	static const uint32_t versions[] = { 0, 1, 2, 3 << 16, (2 << 16) + 1, UINT32_MAX };
	struct fake_balloon *x = *state;
	uint8_t m[BALLOON_MESSAGE];

	assert_int_equal(guest_opens(x), WIRE_STATUS_OK);
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		assert_true(guest_says_version(x, versions[i]));
		assert_says(x, TELLS_VERSION, m);
		assert_int_equal(get_le64(m + 8), 0);
	}
	assert_true(guest_says_version(x, BALLOON_1_0));
	assert_says(x, TELLS_VERSION, m);
	assert_int_equal(get_le64(m + 8), 1);
}

static void
nothing_is_asked_before_the_guest_has_agreed(void **state)
{
	struct fake_balloon *x = *state;

	target(x, MB(LEAST_MB));
	assert_int_equal(guest_opens(x), WIRE_STATUS_OK);
	assert_silent(x);
	assert_true(fake_shut(&x->c));
	x->c = (struct fake_channel){ 0 };
	agree(x, BALLOON_2_0, 0); /* it can nothing */
	assert_true(fake_balloon_pass(x, 100000));
	assert_silent(x);
}

/* --- pages out, and in again --------------------------------------------------------------------------- */

static void
pages_leave_the_guest_and_the_host_has_them(void **state)
{
	struct fake_balloon *x = *state;
	struct guest_range r[2] = { { FIRST, 1024 }, { FIRST + 2048, 1024 } };
	uint64_t before;

	agree(x, BALLOON_2_0, CAN_BOTH);
	memset(gmem_span(x->f.mem, FIRST * GMEM_PAGE, MB(16)), 1, MB(16));
	before = host_bytes(x);
	target(x, MB(START_MB - 8));
	assert_asks_for(x, 8 * PAGES_PER_MB);
	assert_true(guest_says_balloon(x, r, 2, false));
	assert_int_equal(before - host_bytes(x), MB(8));
	assert_int_equal(report(x).assigned, MB(START_MB - 8));
	assert_int_equal(report(x).ballooned, MB(8));
	assert_int_equal(report(x).state, BALLOON_READY);
	assert_int_equal(report(x).nonsense, 0);
	assert_true(fake_balloon_pass(x, 100000));
	assert_silent(x);
}

static void
an_answer_may_come_in_parts(void **state)
{
	struct fake_balloon *x = *state;

	agree(x, BALLOON_2_0, CAN_BOTH);
	target(x, MB(START_MB) - 1000 * GMEM_PAGE);
	assert_asks_for(x, 1000);
	for (uint64_t i = 0; i < 10; i++) {
		struct guest_range r[100];

		for (uint64_t k = 0; k < 100; k++)
			r[k] = (struct guest_range){ FIRST + 2 * (100 * i + k), 1 };
		assert_int_equal(report(x).state, BALLOON_TAKING);
		assert_true(guest_says_balloon(x, r, 100, i < 9));
		assert_true(fake_balloon_pass(x, BALLOON_TAKE_MS - 1000)); /* each part has its time */
	}
	assert_int_equal(report(x).state, BALLOON_READY);
	assert_int_equal(report(x).ballooned, 1000 * GMEM_PAGE);
	assert_false(report(x).silent);
}

static void
who_gives_less_is_asked_again_after_a_growing_pause(void **state)
{
	struct fake_balloon *x = *state;
	uint64_t pause = BALLOON_PAUSE_MS;

	agree(x, BALLOON_2_0, CAN_BOTH);
	target(x, MB(START_MB) - 100 * GMEM_PAGE);
	for (uint64_t i = 0; i < 9; i++) {
		struct guest_range r = { FIRST + i, 1 };

		assert_asks_for(x, (uint32_t)(100 - i));
		assert_true(guest_says_balloon(x, &r, 1, false));
		assert_true(fake_balloon_pass(x, pause - 10));
		assert_silent(x);
		assert_true(fake_balloon_pass(x, 20));
		pause = 2 * pause < BALLOON_PAUSE_MOST_MS ? 2 * pause : BALLOON_PAUSE_MOST_MS;
	}
	assert_asks_for(x, 91);
	assert_true(guest_says_balloon(x, NULL, 0, false));
	assert_silent(x);
	target(x, MB(START_MB) - 50 * GMEM_PAGE); /* another target: at once */
	assert_asks_for(x, 41);
}

static void
they_come_back_in_messages_of_many_ranges(void **state)
{
	struct fake_balloon *x = *state;
	uint8_t m[BALLOON_MESSAGE];
	uint64_t pages = 0, next = 0;
	unsigned messages = 0;

	agree(x, BALLOON_2_0, CAN_BOTH);
	target(x, MB(START_MB) - 1500 * GMEM_PAGE);
	assert_asks_for(x, 1500);
	for (uint64_t i = 0; i < 3; i++) {
		struct guest_range r[500];

		for (uint64_t k = 0; k < 500; k++)
			r[k] = (struct guest_range){ FIRST + 3 * (500 * i + k), 1 };
		assert_true(guest_says_balloon(x, r, 500, i < 2));
	}
	target(x, MB(START_MB) - 100 * GMEM_PAGE);
	for (uint32_t more = 1; more; messages++) {
		assert_says(x, ASKS_UNBALLOON, m);
		more = get_le32(m + 8);
		assert_int_equal(get_le16(m + 2), 16 + 8 * get_le32(m + 12));
		for (uint32_t i = 0; i < get_le32(m + 12); i++) {
			struct guest_range r = guest_range_at(m + 16 + 8 * (size_t)i);

			assert_int_equal(r.first, FIRST + 3 * next++);
			assert_int_equal(r.pages, 1);
			pages++;
		}
		assert_int_equal(report(x).state, BALLOON_GIVING);
	}
	assert_int_equal(messages, 3);
	assert_int_equal(pages, 1400);
	assert_int_equal(report(x).ballooned, 100 * GMEM_PAGE);
	target(x, MB(START_MB)); /* one thing at a time */
	assert_silent(x);
	assert_true(guest_says_unballoon(x));
	assert_says(x, ASKS_UNBALLOON, m);
	assert_int_equal(get_le32(m + 8), 0);
	assert_int_equal(get_le32(m + 12), 100);
	assert_true(guest_says_unballoon(x));
	assert_int_equal(report(x).state, BALLOON_READY);
	assert_int_equal(report(x).assigned, MB(START_MB));
}

static void
what_makes_no_sense_is_skipped(void **state)
{
	struct fake_balloon *x = *state;
	uint64_t last = START_MB * PAGES_PER_MB;
	struct guest_range r[] = {
		{ FIRST, 10 }, { FIRST + 5, 10 },                           /* half of it again */
		{ last - 1, 2 },                                            /* one is RAM */
		{ last, 1 },                                                /* none is */
		{ (1ull << 40) - 1, 1 }, { (1ull << 32) / GMEM_PAGE, 512 }, /* nothing was added yet */
		{ FIRST + 100, 0 },
		{ x->f.next_page, 8 }, /* the rings of the channel: they are opened there */
	};

	agree(x, BALLOON_2_0, CAN_BOTH);
	target(x, MB(LEAST_MB));
	assert_asks_for(x, (START_MB - LEAST_MB) * PAGES_PER_MB);
	assert_true(guest_says_balloon(x, r, sizeof(r) / sizeof(r[0]), false));
	assert_int_equal(report(x).ballooned, 16 * GMEM_PAGE);
	assert_int_equal(report(x).nonsense, 6 + 8);
	assert_true(guest_says_status(x, 1, 1)); /* the rings are what they were */
	assert_int_equal(report(x).nonsense, 14);
}

static void
no_more_is_taken_from_a_message_than_can_have_been_asked_for(void **state)
{
	struct fake_balloon *x = *state;
	struct guest_range r[3] = { { 0, 1 << 23 }, { FIRST, 100 }, { 0, (1 << 24) - 1 } };

	agree(x, BALLOON_2_0, CAN_BOTH);
	x->b->not_before = UINT64_MAX; /* they are not given back at once */
	assert_true(
	    guest_says_balloon(x, r + 2, 1, false)); /* nothing was asked for: all but the rings are taken */
	assert_int_equal(report(x).ballooned, MB(START_MB) - 8 * GMEM_PAGE);
	assert_int_equal(report(x).assigned, 8 * GMEM_PAGE);
	assert_true(guest_says_balloon(x, r, 2, false));
}

/* --- time --------------------------------------------------------------------------------------------- */

static void
a_guest_that_does_not_answer_is_left_alone_until_it_speaks(void **state)
{
	struct fake_balloon *x = *state;
	struct guest_range r = { FIRST, 100 };

	agree(x, BALLOON_2_0, CAN_BOTH);
	target(x, MB(START_MB) - 100 * GMEM_PAGE);
	assert_asks_for(x, 100);
	assert_true(fake_balloon_pass(x, BALLOON_TAKE_MS - 10));
	assert_false(report(x).silent);
	assert_true(fake_balloon_pass(x, 20));
	assert_true(report(x).silent);
	assert_true(fake_balloon_pass(x, 1000000));
	assert_silent(x);
	assert_true(guest_says_status(x, 1000, 2000));
	assert_false(report(x).silent);
	assert_asks_for(x, 100);
	assert_true(guest_says_balloon(x, &r, 1, false)); /* of the first time, or the second */
	assert_int_equal(report(x).assigned, MB(START_MB) - 100 * GMEM_PAGE);
	r.first += 100;
	assert_true(guest_says_balloon(x, &r, 1, false));  /* and the other one, late */
	assert_int_equal(report(x).state, BALLOON_GIVING); /* which was too much */
	assert_int_equal(report(x).ballooned, 100 * GMEM_PAGE);
	assert_int_equal(report(x).nonsense, 0);
}

static void
every_kind_of_request_has_its_time(void **state)
{
	struct fake_balloon *x = *state;
	struct guest_range r = { FIRST, 100 };
	uint8_t m[BALLOON_MESSAGE];

	agree(x, BALLOON_2_0, CAN_BOTH);
	assert_true(guest_says_balloon(x, &r, 1, false));
	assert_says(x, ASKS_UNBALLOON, m);
	assert_true(fake_balloon_pass(x, BALLOON_GIVE_MS + 10));
	assert_true(report(x).silent);
	assert_true(guest_says_unballoon(x));
	assert_false(report(x).silent);
	assert_int_equal(report(x).state, BALLOON_READY);
	target(x, MB(START_MB + 2));
	assert_says(x, ASKS_HOT_ADD, m);
	assert_true(fake_balloon_pass(x, BALLOON_ADD_MS + 10));
	assert_true(report(x).silent);
	assert_true(guest_says_status(x, 1, 1));
	assert_true(fake_balloon_pass(x, 1000000));
	assert_silent(x); /* whether it has the memory is not known */
	assert_true(guest_says_hot_add(x, 512, 1));
	assert_int_equal(report(x).assigned, MB(START_MB + 2));
}

/* --- memory that is added ------------------------------------------------------------------------------ */

static struct guest_range
assert_adds(struct fake_balloon *x, uint64_t pages)
{
	struct guest_range r;
	uint8_t m[BALLOON_MESSAGE];

	assert_says(x, ASKS_HOT_ADD, m);
	assert_int_equal(get_le16(m + 2), 16);
	r = guest_range_at(m + 8);
	assert_int_equal(r.pages, pages);
	assert_int_equal(r.first % 512, 0);
	assert_non_null(gmem_span(x->f.mem, r.first * GMEM_PAGE, r.pages * GMEM_PAGE));
	assert_int_equal(report(x).state, BALLOON_ADDING);
	return r;
}

static void
memory_is_added_up_to_the_maximum(void **state)
{
	struct fake_balloon *x = *state;
	uint64_t at = 1 << 20;

	agree(x, BALLOON_2_0, CAN_BOTH);
	for (uint64_t mb = START_MB + 16; mb <= MOST_MB; mb += 16) {
		target(x, MB(mb));
		while (report(x).assigned < MB(mb)) {
			uint8_t m[BALLOON_MESSAGE];
			struct guest_range r;

			assert_says(x, ASKS_HOT_ADD, m);
			r = guest_range_at(m + 8);
			assert_int_equal(r.first, at);
			assert_non_null(gmem_span(x->f.mem, r.first * GMEM_PAGE, r.pages * GMEM_PAGE));
			at += r.pages;
			assert_true(guest_says_hot_add(x, (uint32_t)r.pages, 1));
		}
	}
	assert_silent(x);
	assert_int_equal(gmem_size(x->f.mem), MB(MOST_MB));
	assert_true(x->adds <= 8);
	assert_int_equal(report(x).added, MB(MOST_MB - START_MB));
	assert_int_equal(balloon_target(x->b, MB(MOST_MB) + 1, NULL), -EINVAL);
	assert_int_equal(balloon_target(x->b, MB(LEAST_MB) - 1, NULL), -EINVAL);
}

static void
what_is_more_than_needed_goes_into_the_balloon(void **state)
{
	struct fake_balloon *x = *state;
	struct guest_range r;

	agree(x, BALLOON_2_0, CAN_BOTH);
	target(x, MB(START_MB) + 100 * GMEM_PAGE);
	r = assert_adds(x, 512);
	assert_true(guest_says_hot_add(x, 512, 1));
	assert_asks_for(x, 412);
	r.pages = 412;
	assert_true(guest_says_balloon(x, &r, 1, false)); /* of the memory that was added */
	assert_int_equal(report(x).assigned, MB(START_MB) + 100 * GMEM_PAGE);
	assert_int_equal(report(x).nonsense, 0);
	target(x, MB(START_MB) + 512 * GMEM_PAGE); /* the balloon first */
	assert_int_equal(report(x).state, BALLOON_GIVING);
	assert_int_equal(report(x).ballooned, 0);
}

static void
a_guest_may_take_a_part(void **state)
{
	struct fake_balloon *x = *state;
	struct guest_range r;

	agree(x, BALLOON_2_0, CAN_BOTH);
	target(x, MB(START_MB + 8));
	r = assert_adds(x, 2048);
	assert_true(guest_says_hot_add(x, 600, 1));
	assert_int_equal(report(x).assigned, MB(START_MB) + 600 * GMEM_PAGE);
	assert_true(fake_balloon_pass(x, BALLOON_PAUSE_MS + 10));
	assert_int_equal(assert_adds(x, 1536).first, r.first + 1024); /* never the same unit twice */
	assert_true(guest_says_hot_add(x, UINT32_MAX, 1));
	assert_int_equal(report(x).added, 600 * GMEM_PAGE + 1536 * GMEM_PAGE);
}

static void
a_guest_that_refuses_is_remembered(void **state)
{
	struct fake_balloon *x = *state;

	agree(x, BALLOON_2_0, CAN_BOTH);
	target(x, MB(START_MB + 8));
	assert_adds(x, 2048);
	assert_true(guest_says_hot_add(x, 0, 1)); /* never */
	assert_true(fake_balloon_pass(x, 1000000));
	assert_silent(x);
	assert_false(report(x).can_add);
	assert_true(fake_shut(&x->c));
	target(x, MB(START_MB));
	agree(x, BALLOON_2_0, CAN_BOTH); /* as far as this driver goes */
	assert_true(report(x).can_add);
}

static void
one_that_would_later_is_asked_a_few_times(void **state)
{
	struct fake_balloon *x = *state;

	agree(x, BALLOON_2_0, CAN_BOTH);
	target(x, MB(START_MB + 8));
	for (int i = 0; i < BALLOON_REFUSALS; i++) {
		assert_adds(x, 2048);
		assert_true(guest_says_hot_add(x, 0, 0));
		assert_silent(x);
		assert_true(fake_balloon_pass(x, BALLOON_PAUSE_MOST_MS));
	}
	assert_silent(x);
	assert_false(report(x).can_add);
	assert_true(guest_says_hot_add(x, 5, 1)); /* of nothing */
	assert_int_equal(report(x).nonsense, 1);
}

static void
a_guest_that_cannot_is_not_asked(void **state)
{
	struct fake_balloon *x = *state;

	agree(x, BALLOON_2_0, 1);
	target(x, MB(MOST_MB));
	assert_silent(x);
	assert_int_equal(x->adds, 0);
}

static void
its_units_and_its_last_page_are_kept(void **state)
{
	struct fake_balloon *x = *state;
	uint64_t last = (1 << 20) + 128 * PAGES_PER_MB - 1;

	x->next += MB(2); /* the first multiple of 64 MiB comes after a gap */
	for (int i = 0; i < 2; i++) {
		const uint64_t body[3] = { 3 | 6 << 2, 0, last - (i == 0) };
		uint8_t m[BALLOON_MESSAGE];

		assert_int_equal(guest_opens(x), WIRE_STATUS_OK);
		assert_true(guest_says_version(x, BALLOON_0_3));
		assert_says(x, TELLS_VERSION, m);
		assert_true(guest_says(x, SAYS_CAPABILITIES, 32, body, 32));
		assert_says(x, TELLS_CAPABILITIES, m);
		target(x, MB(START_MB + 1));
		if (i == 0) { /* a page too many for it */
			assert_silent(x);
			assert_false(report(x).can_add);
			assert_true(fake_shut(&x->c));
			continue;
		}
		assert_says(x, ASKS_HOT_ADD, m);
		assert_int_equal(guest_range_at(m + 8).first, last + 1 - 64 * PAGES_PER_MB);
		assert_int_equal(guest_range_at(m + 8).pages, 64 * PAGES_PER_MB);
	}
}

static void
without_memory_it_is_tried_again_later(void **state)
{
	struct fake_balloon *x = *state;

	agree(x, BALLOON_2_0, CAN_BOTH);
	x->add_error = -ENOMEM;
	target(x, MB(START_MB + 8));
	assert_silent(x);
	assert_int_equal(x->adds, 2); /* and then less */
	x->add_error = 0;
	assert_true(fake_balloon_pass(x, BALLOON_PAUSE_MS + 10));
	assert_adds(x, 2048);
}

static void
after_a_reset_all_begins_anew(void **state)
{
	struct fake_balloon *x = *state;
	struct guest_range r = { FIRST, 100 };
	uint64_t at;

	agree(x, BALLOON_2_0, CAN_BOTH);
	assert_true(guest_says_balloon(x, &r, 1, true));
	target(x, MB(START_MB + 8));
	assert_true(guest_says_unballoon(x));
	assert_true(fake_balloon_run(x));
	{
		uint8_t m[BALLOON_MESSAGE];

		assert_says(x, ASKS_UNBALLOON, m);
		assert_true(guest_says_unballoon(x));
	}
	at = assert_adds(x, 2048).first;
	assert_true(guest_says_hot_add(x, 2048, 1));
	assert_true(guest_says_balloon(x, &r, 1, false));
	vmbus_reset(x->f.bus);
	balloon_reset(x->b);
	assert_true(fake_balloon_run(x));
	assert_int_equal(report(x).ballooned, 0);
	assert_int_equal(report(x).assigned, MB(START_MB));
	assert_true(fake_connect(&x->f, VMBUS_5_3));
	assert_int_equal(fake_offers(&x->f, &x->offer, 1), 1);
	agree(x, BALLOON_2_0, 0);
	assert_true(fake_shut(&x->c));
	assert_int_equal(guest_opens(x), WIRE_STATUS_OK);
	{
		uint8_t m[BALLOON_MESSAGE];

		assert_true(guest_says_version(x, BALLOON_2_0));
		assert_true(guest_says_capabilities(x, CAN_BOTH, 1));
		for (int i = 0; i < 3; i++)
			guest_hears(x, m);
	}
	assert_int_equal(assert_adds(x, 2048).first, at);
	assert_int_equal(gmem_regions(x->f.mem), 2);
}

static void
a_driver_that_comes_again_has_an_empty_balloon(void **state)
{
	struct fake_balloon *x = *state;
	struct guest_range r = { FIRST, 100 };

	agree(x, BALLOON_2_0, CAN_BOTH);
	target(x, MB(START_MB) - 100 * GMEM_PAGE);
	assert_asks_for(x, 100);
	assert_true(guest_says_balloon(x, &r, 1, false));
	assert_true(fake_shut(&x->c));
	assert_true(fake_balloon_run(x));
	assert_int_equal(report(x).ballooned, 0);
}

/* --- what is told -------------------------------------------------------------------------------------- */

static void
changes_are_told_but_not_too_often(void **state)
{
	struct fake_balloon *x = *state;

	agree(x, BALLOON_2_0, CAN_BOTH);
	assert_int_equal(x->tells, 0);
	assert_true(guest_says_status(x, 5000, 12000));
	assert_int_equal(x->tells, 1);
	assert_int_equal(x->told.demand, 12000 * GMEM_PAGE);
	assert_int_equal(x->told.available, 5000 * GMEM_PAGE);
	assert_true(guest_says_status(x, 5000, 12100)); /* not much */
	assert_int_equal(x->tells, 1);
	for (uint64_t i = 0; i < 100; i++)
		assert_true(guest_says_status(x, 5000, 20000 + 10000 * (i & 1)));
	assert_int_equal(x->tells, 1);
	assert_true(fake_balloon_pass(x, BALLOON_TELL_MS + 10));
	assert_int_equal(x->tells, 2);
	assert_int_equal(x->told.demand, 30000 * GMEM_PAGE);
	assert_true(guest_says_status(x, UINT64_MAX, UINT64_MAX));
	assert_true(fake_balloon_pass(x, BALLOON_TELL_MS + 10));
	assert_int_equal(x->tells, 3);
}

static void
that_the_target_is_reached_is_told(void **state)
{
	struct fake_balloon *x = *state;
	struct guest_range r = { FIRST, 1 };

	agree(x, BALLOON_2_0, CAN_BOTH);
	target(x, MB(START_MB) - GMEM_PAGE);
	assert_asks_for(x, 1);
	assert_true(guest_says_balloon(x, &r, 1, false));
	assert_int_equal(x->tells, 1);
	assert_int_equal(x->told.assigned, MB(START_MB) - GMEM_PAGE);
}

/* --- nonsense ------------------------------------------------------------------------------------------ */

/* Every message in every state, with every length near its own, whatever it says of itself. */
static void
every_message_of_every_length_in_every_state(void **state)
{
	static const uint32_t exact[] = { 8, 16, 16, 32, 16, 48, 16, 16, 16, 8, 16, 16, 32, 8 };
	struct fake_balloon *x = *state;
	uint8_t m[BALLOON_MESSAGE];

	for (int at = BALLOON_VERSION; at < BALLOON_STATES; at++)
		for (uint16_t type = 0; type < sizeof(exact) / sizeof(exact[0]); type++) {
			const uint32_t lengths[] = { 0, 1, 7, 8, exact[type] - 1, exact[type],
				exact[type] + 1, exact[type] + 8, BALLOON_MESSAGE, BALLOON_MESSAGE + 8,
				BALLOON_MESSAGE + 200 };

			for (size_t l = 0; l < 6 * sizeof(lengths) / sizeof(lengths[0]); l++) {
				uint32_t len = lengths[l / 6];
				const uint32_t sizes[] = { exact[type], len, 0, 1, len + 1, UINT16_MAX };
				uint32_t size = sizes[l % 6];
				struct balloon_report was, is;
				bool sense;

				x->b->state = (enum balloon_state)at;
				x->b->job = JOB_NONE;
				x->b->version = BALLOON_2_0;
				x->b->unit = 512;
				x->b->wanted = 0;
				x->b->silent = true;
				x->b->can_balloon = x->b->can_add = false;
				x->b->deadline = 0;
				if (x->b->state == BALLOON_VERSION && !x->c.f) {
					assert_int_equal(guest_opens(x), WIRE_STATUS_OK);
					x->b->unit = 512;
				}
				was = report(x);
				assert_true(guest_says(x, type, (uint16_t)size, NULL, len));
				is = report(x);
				sense = size == exact[type] && len >= 4 &&
					/* its size is there */ (size + 7) / 8 * 8 == (len + 7) / 8 * 8 &&
					(at == BALLOON_VERSION ? type == SAYS_VERSION
					    : at == BALLOON_CAPABILITIES
						? type == SAYS_CAPABILITIES
						: type == SAYS_STATUS || type == SAYS_BALLOON ||
						      type == SAYS_UNBALLOON || type == SAYS_HOT_ADD);
				if (sense && type == SAYS_HOT_ADD) /* nothing is being added */
					sense = false;
				if (is.nonsense - was.nonsense != !sense)
					fail_msg("state %d type %u length %u size %u", at, type, len, size);
				assert_int_equal(is.ballooned, 0);
				while (guest_hears(x, m))
					;
			}
		}
}

static void
ranges_are_counted(void **state)
{
	static const struct {
		uint32_t n, ranges; /* in its head; there */
		bool sense;
	} rows[] = { { 0, 0, true }, { 1, 1, true }, { 1, 0, false }, { 0, 1, false }, { 510, 510, true },
		{ 511, 510, false }, { 511, 511, false }, { 0x7fffffff, 510, false },
		{ 0x20000001, 1, false }, { 0x1fffffff, 510, false } };
	struct fake_balloon *x = *state;

	agree(x, BALLOON_2_0, 0);
	x->b->not_before = UINT64_MAX;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t body[2 * BALLOON_MESSAGE] = { 0 };
		uint64_t before = report(x).nonsense, skipped = 0;

		put_le32(body + 4, rows[i].n << 1);
		for (uint32_t k = 0; k < rows[i].ranges; k++)
			put_le64(body + 8 + 8 * (size_t)k, FIRST + 600 * i + k + (1ull << 40));
		assert_true(guest_says(x, SAYS_BALLOON, (uint16_t)(16 + 8 * rows[i].ranges), body,
		    16 + 8 * (size_t)rows[i].ranges));
		skipped = report(x).nonsense - before;
		assert_int_equal(skipped, !rows[i].sense);
	}
	assert_int_equal(report(x).ballooned, 511 * GMEM_PAGE);
}

static void
other_packets_are_nonsense_but_completed_when_they_want_it(void **state)
{
	static const uint16_t types[] = { PACKET_COMPLETION, PACKET_GPA_DIRECT, PACKET_XFER_PAGES, 0,
		0xffff };
	struct fake_balloon *x = *state;
	const uint8_t status[48] = { SAYS_STATUS, 0, 48 };
	struct packet_head h;
	uint8_t m[64];

	agree(x, BALLOON_2_0, 0);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		assert_true(fake_send(&x->c, types[i], 0, 0, NULL, 0, status, sizeof(status)));
		assert_true(fake_balloon_run(x));
		assert_int_equal(report(x).nonsense, i + 1);
	}
	assert_true(
	    fake_send(&x->c, PACKET_INBAND, PACKET_WANTS_REPLY, 4711, NULL, 0, status, sizeof(status)));
	assert_true(fake_balloon_run(x));
	assert_int_equal(fake_recv(&x->c, &h, m, sizeof(m)), 0);
	assert_int_equal(h.type, PACKET_COMPLETION);
	assert_int_equal(h.transaction, 4711);
	assert_int_equal(report(x).nonsense, 5);
}

static void
a_ring_that_is_spoilt_ends_the_channel(void **state)
{
	struct fake_balloon *x = *state;
	struct fake_message m;

	agree(x, BALLOON_2_0, 0);
	x->c.out.control->write_index = 12345;
	fake_kick(&x->f, x->c.connection);
	assert_true(fake_balloon_run(x));
	assert_int_equal(report(x).state, BALLOON_CLOSED);
	assert_true(fake_await(&x->f, WIRE_RESCIND, &m));
}

static void
many_messages_leave_others_their_turn(void **state)
{
	struct fake_balloon *x = *state;
	const uint8_t status[48] = { SAYS_STATUS, 0, 48, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 99 };
	unsigned n = 0;

	agree(x, BALLOON_2_0, 0);
	while (fake_send(&x->c, PACKET_INBAND, 0, 0, NULL, 0, status, sizeof(status)))
		n++;
	assert_true(n > 2 * 64);
	assert_true(fake_balloon_run(x) && fake_balloon_pass(x, 10));
	assert_int_equal(x->c.out.control->read_index, x->c.out.control->write_index);
	assert_int_equal(report(x).nonsense, 0);
}

/* The guest does not read: what is said waits for room, and nothing is lost. */
static void
a_full_ring_is_waited_for(void **state)
{
	struct fake_balloon *x = *state;
	struct guest_range r[500];
	uint8_t m[BALLOON_MESSAGE];
	unsigned n = 0;
	uint64_t pages = 0;

	agree(x, BALLOON_2_0, 1);
	for (uint64_t i = 0; i < 12; i++) {
		for (uint64_t k = 0; k < 500; k++)
			r[k] = (struct guest_range){ FIRST + 2 * (500 * i + k), 1 };
		x->b->silent = true; /* not yet */
		x->b->not_before = UINT64_MAX;
		assert_true(guest_says_balloon(x, r, 500, true));
	}
	x->b->not_before = 0;
	assert_true(guest_says_status(x, 1, 1));
	assert_true(report(x).ballooned > 0); /* some are still here */
	while (guest_hears(x, m) == ASKS_UNBALLOON) {
		n++;
		pages += get_le32(m + 12);
	}
	assert_int_equal(pages, 6000);
	assert_true(n >= 12);
	assert_true(guest_says_unballoon(x));
	assert_int_equal(report(x).state, BALLOON_READY);
	assert_int_equal(report(x).ballooned, 0);
}

/* --- saved state --------------------------------------------------------------------------------------- */

static uint8_t saved[1 << 20];

/* Into another process. */
static struct fake_balloon *
go_on(struct fake_balloon *x, long len, int want)
{
	struct fake_balloon *y = calloc(1, sizeof(*y));
	uint64_t added = gmem_size(x->f.mem) - MB(START_MB);

	assert_int_equal(fake_balloon_init(y, START_MB, LEAST_MB, MOST_MB), 0);
	if (added)
		assert_int_equal(gmem_add(y->f.mem, 1ull << 32, added, NULL, NULL), 0);
	y->next = (1ull << 32) + added;
	memcpy(gmem_span(y->f.mem, 0, MB(START_MB)), gmem_span(x->f.mem, 0, MB(START_MB)), MB(START_MB));
	assert_int_equal(vmbus_restore(y->f.bus, saved, (size_t)len, NULL), want);
	if (want < 0)
		return y;
	vmbus_restored(y->f.bus);
	y->f.connection = x->f.connection;
	y->offer = x->offer;
	y->c = x->c;
	y->c.f = &y->f;
	y->c.out = fake_ring(&y->f, x->c.first, FAKE_BALLOON_RING);
	y->c.in = fake_ring(&y->f, x->c.first + FAKE_BALLOON_RING, FAKE_BALLOON_RING);
	assert_true(fake_balloon_run(y));
	return y;
}

static long
save(struct fake_balloon *x)
{
	long n;

	balloon_hold(x->b, true);
	n = vmbus_save(x->f.bus, saved, sizeof(saved));
	assert_true(n > 0);
	assert_int_equal(vmbus_state_max(x->f.bus), n);
	return n;
}

static void
it_goes_on_elsewhere_with_what_was_agreed_and_its_pages(void **state)
{
	struct fake_balloon *x = *state, *y;
	struct guest_range r[2] = { { FIRST, 100 }, { FIRST + 1000, 400 } };
	uint8_t m[BALLOON_MESSAGE];

	agree(x, BALLOON_1_0, CAN_BOTH);
	target(x, MB(START_MB) - 500 * GMEM_PAGE);
	assert_asks_for(x, 500);
	assert_true(guest_says_balloon(x, r, 2, false));
	y = go_on(x, save(x), 0);
	assert_int_equal(report(y).state, BALLOON_READY);
	assert_int_equal(report(y).version, BALLOON_1_0);
	assert_int_equal(report(y).ballooned, 500 * GMEM_PAGE);
	assert_int_equal(report(y).target, MB(START_MB) - 500 * GMEM_PAGE);
	target(y, MB(START_MB));
	assert_says(y, ASKS_UNBALLOON, m);
	assert_int_equal(get_le32(m + 12), 2);
	assert_int_equal(guest_range_at(m + 16).first, FIRST);
	assert_int_equal(guest_range_at(m + 24).pages, 400);
	drop(y);
	free(y);
}

static void
a_request_under_way_is_forgotten_and_its_answer_accepted(void **state)
{
	struct fake_balloon *x = *state, *y;
	struct guest_range r = { FIRST, 100 };

	agree(x, BALLOON_2_0, CAN_BOTH);
	target(x, MB(START_MB) - 200 * GMEM_PAGE);
	assert_asks_for(x, 200);
	assert_true(guest_says_balloon(x, &r, 1, true));
	y = go_on(x, save(x), 0);
	assert_int_equal(report(y).state, BALLOON_READY);
	assert_silent(y); /* it may answer yet */
	r.first += 100;
	assert_true(guest_says_balloon(y, &r, 1, false));
	assert_int_equal(report(y).ballooned, 200 * GMEM_PAGE);
	assert_true(fake_balloon_pass(y, 2 * BALLOON_RESTORED_MS));
	assert_silent(y);
	drop(y);
	free(y);
}

static void
one_that_is_never_answered_is_asked_again(void **state)
{
	struct fake_balloon *x = *state, *y;

	agree(x, BALLOON_2_0, CAN_BOTH);
	target(x, MB(START_MB) - 200 * GMEM_PAGE);
	assert_asks_for(x, 200);
	y = go_on(x, save(x), 0);
	assert_true(fake_balloon_pass(y, BALLOON_RESTORED_MS + 10));
	assert_asks_for(y, 200);
	drop(y);
	free(y);
}

static void
memory_that_is_being_added_goes_along(void **state)
{
	struct fake_balloon *x = *state, *y;

	agree(x, BALLOON_2_0, CAN_BOTH);
	target(x, MB(START_MB + 8));
	assert_adds(x, 2048);
	y = go_on(x, save(x), 0);
	assert_int_equal(report(y).assigned, MB(START_MB));
	assert_true(guest_says_hot_add(y, 2048, 1));
	assert_int_equal(report(y).assigned, MB(START_MB + 8));
	target(y, MB(START_MB + 10));
	assert_adds(y, 512);
	drop(y);
	free(y);
}

/* What the guest said in the moment before is not lost: neither while held nor while it is being done. */
static void
what_was_read_is_done_before_a_save(void **state)
{
	struct fake_balloon *x = *state, *y;
	uint8_t body[24 + 8] = { 0 };

	agree(x, BALLOON_2_0, 0);
	put_le16(body, SAYS_BALLOON);
	put_le16(body + 2, 24);
	put_le32(body + 12, 2);
	put_le64(body + 16, FIRST | 7ull << 40);
	assert_true(fake_send(&x->c, PACKET_INBAND, 0, 0, NULL, 0, body, 24));
	assert_true(fake_loop_run(x->loop)); /* the loop has it, the control thread not */
	assert_int_equal(x->b->job, JOB_TAKE);
	y = go_on(x, save(x), 0);
	assert_int_equal(report(y).ballooned, 7 * GMEM_PAGE);
	drop(y);
	free(y);
	balloon_hold(x->b, false);
	assert_int_equal(report(x).state, BALLOON_GIVING); /* what nobody asked for */
}

/* Whatever a byte of the device's own state is changed to: it is refused, or the device works on. */
static void
hostile_state_does_no_harm(void **state)
{
	struct fake_balloon *x = *state;
	struct guest_range r[3] = { { FIRST, 100 }, { FIRST + 1000, 1 }, { FIRST + 1002, 1 } };
	struct balloon_report was;
	static uint8_t own[4096];
	struct snap s;
	size_t n;

	agree(x, BALLOON_2_0, CAN_BOTH);
	target(x, MB(START_MB + 8));
	assert_adds(x, 2048);
	assert_true(guest_says_hot_add(x, 2048, 1));
	x->b->not_before = UINT64_MAX;
	assert_true(guest_says_balloon(x, r, 3, false));
	balloon_hold(x->b, true);
	snap_save_to(&s, own, sizeof(own));
	balloon_snap(balloon_device(x->b), &s);
	assert_int_equal(snap_end(&s), 0);
	n = s.pos;
	was = report(x);
	for (size_t at = 0; at < n; at++)
		for (int bit = 0; bit < 9; bit++) {
			uint8_t keep = own[at];

			own[at] = (uint8_t)(bit < 8 ? keep ^ (1u << bit) : 0xffu);
			page_set_clear(x->b->set);
			snap_restore_from(&s, own, n);
			balloon_snap(balloon_device(x->b), &s);
			(void)snap_end(&s);
			balloon_report(x->b, &was);
			assert_true(was.state <= BALLOON_READY);
			assert_true(was.assigned <= MB(MOST_MB));
			own[at] = keep;
		}
	for (size_t len = 0; len <= n; len++) {
		page_set_clear(x->b->set);
		snap_restore_from(&s, own, len);
		balloon_snap(balloon_device(x->b), &s);
		assert_int_equal(snap_end(&s), len == n ? 0 : -EINVAL);
	}
	assert_int_equal(report(x).ballooned, 102 * GMEM_PAGE);
}

static void
rules_between_saved_fields_are_kept(void **state)
{
	struct fake_balloon *x = *state;
	static uint8_t own[4096];
	struct snap s;

	agree(x, BALLOON_2_0, CAN_BOTH);
	target(x, MB(START_MB + 8));
	assert_adds(x, 2048);
	balloon_hold(x->b, true);
	for (int i = 0; i < 8; i++) {
		const struct balloon was = *x->b;

		x->b->state = i == 0 ? BALLOON_CLOSED : BALLOON_READY;
		x->b->unit = i == 1 ? 513 : 512;
		x->b->target = i == 2 ? 1 : x->b->target;
		x->b->range[0].given = i == 3 ? x->b->range[0].pages + 1 : 0;
		x->b->range[0].first += i == 4 ? 1 << 20 : 0;
		x->b->adding = i == 5 ? x->b->range[0].pages + 1 : x->b->adding;
		x->b->adding_in = i == 6 ? 1 : 0;
		x->b->range[0].first = i == 7 ? 16 : x->b->range[0].first;
		snap_save_to(&s, own, sizeof(own));
		balloon_snap(balloon_device(x->b), &s);
		*x->b = was;
		snap_restore_from(&s, own, s.pos);
		balloon_snap(balloon_device(x->b), &s);
		assert_int_equal(snap_end(&s), -EINVAL);
		*x->b = was;
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_version_is_spoken),
		TEST(other_versions_are_refused_until_one_is_right),
		TEST(nothing_is_asked_before_the_guest_has_agreed),
		TEST(pages_leave_the_guest_and_the_host_has_them),
		TEST(an_answer_may_come_in_parts),
		TEST(who_gives_less_is_asked_again_after_a_growing_pause),
		TEST(they_come_back_in_messages_of_many_ranges),
		TEST(what_makes_no_sense_is_skipped),
		TEST(no_more_is_taken_from_a_message_than_can_have_been_asked_for),
		TEST(a_guest_that_does_not_answer_is_left_alone_until_it_speaks),
		TEST(every_kind_of_request_has_its_time),
		TEST(memory_is_added_up_to_the_maximum),
		TEST(what_is_more_than_needed_goes_into_the_balloon),
		TEST(a_guest_may_take_a_part),
		TEST(a_guest_that_refuses_is_remembered),
		TEST(one_that_would_later_is_asked_a_few_times),
		TEST(a_guest_that_cannot_is_not_asked),
		TEST(its_units_and_its_last_page_are_kept),
		TEST(without_memory_it_is_tried_again_later),
		TEST(after_a_reset_all_begins_anew),
		TEST(a_driver_that_comes_again_has_an_empty_balloon),
		TEST(changes_are_told_but_not_too_often),
		TEST(that_the_target_is_reached_is_told),
		TEST(every_message_of_every_length_in_every_state),
		TEST(ranges_are_counted),
		TEST(other_packets_are_nonsense_but_completed_when_they_want_it),
		TEST(a_ring_that_is_spoilt_ends_the_channel),
		TEST(many_messages_leave_others_their_turn),
		TEST(a_full_ring_is_waited_for),
		TEST(it_goes_on_elsewhere_with_what_was_agreed_and_its_pages),
		TEST(a_request_under_way_is_forgotten_and_its_answer_accepted),
		TEST(one_that_is_never_answered_is_asked_again),
		TEST(memory_that_is_being_added_goes_along),
		TEST(what_was_read_is_done_before_a_save),
		TEST(hostile_state_does_no_harm),
		TEST(rules_between_saved_fields_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
