/*
 * tests/unit/gpadl_test.c - memory that a guest lends: every legal shape arrives whole, every other one is
 * answered, nothing grows beyond its bounds, and the guest gets it back only when nobody uses it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fake_vmbus_device.h"

enum { OUT = 3, IN = 2, RAM_PAGES = 64 * 256 };

struct fixture {
	struct fake_vmbus f;
	struct fake_device a, b;
	struct wire_offer offer[2];
	struct fake_channel c; /* of b, whose relid is 1; a's is 2 */
};

static int
setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	assert_int_equal(fake_vmbus_init(&x->f, 64, 2), 0);
	fake_device_init(&x->a, 0x20, 1);
	fake_device_init(&x->b, 0x10, 1);
	assert_int_equal(vmbus_offer_device(x->f.bus, &x->a.d, NULL), 0);
	assert_int_equal(vmbus_offer_device(x->f.bus, &x->b.d, NULL), 0);
	assert_true(fake_connect(&x->f, VMBUS_5_3));
	assert_int_equal(fake_offers(&x->f, x->offer, 2), 2);
	assert_int_equal(fake_open(&x->f, &x->c, &x->offer[0], OUT, IN, 0), 0);
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *x = *state;

	fake_vmbus_free(&x->f);
	free(x);
	return 0;
}

static struct vmbus_stats
stats(const struct fixture *x)
{
	struct vmbus_stats s;

	vmbus_statistics(x->f.bus, &s);
	return s;
}

static uint64_t *
numbers(size_t n)
{
	uint64_t *pfn = malloc((n + 1) * sizeof(*pfn));

	for (size_t i = 0; i < n; i++)
		pfn[i] = i * 7919 % RAM_PAGES; /* in no order */
	return pfn;
}

static void
lists_of_every_length_arrive_whole(void **state)
{
	static const size_t length[] = { 1, 2, 25, 26, 27, 53, 54, 55, 82, 1000, 8189, 8190 };
	struct fixture *x = *state;

	for (size_t i = 0; i < sizeof(length) / sizeof(length[0]); i++) {
		size_t n = length[i];
		uint64_t *pfn = numbers(n);
		uint32_t pages, offset, len;
		const uint64_t *got;

		assert_int_equal(fake_gpadl_pages(&x->f, 1, 500, pfn, n, 0, (uint32_t)n * GMEM_PAGE), 0);
		got = vmbus_gpadl(x->b.open[0], 500, &pages, &offset, &len);
		assert_non_null(got);
		assert_int_equal(pages, n);
		assert_int_equal(offset, 0);
		assert_int_equal(len, n * GMEM_PAGE);
		assert_memory_equal(got, pfn, n * sizeof(*pfn));
		assert_true(fake_teardown(&x->f, 1, 500));
		assert_null(vmbus_gpadl(x->b.open[0], 500, &pages, &offset, &len));
		free(pfn);
	}
	assert_int_equal(stats(x).pages, OUT + IN);
}

static void
bytes_need_not_begin_or_end_with_a_page(void **state)
{
	static const struct {
		uint32_t offset, len, numbers, used;
		bool good;
	} shape[] = {
		{ 0, 1, 1, 1, true },
		{ 4095, 1, 1, 1, true },
		{ 4095, 2, 2, 2, true },
		{ 1, 4096, 2, 2, true },
		{ 100, 5000, 2, 2, true },
		{ 0, 4096, 3, 1, true }, /* numbers too many are ignored */
		{ 0, 0, 1, 0, false },
		{ 4096, 1, 2, 0, false },
		{ 4095, 2, 1, 0, false },
		{ 0, 4097, 1, 0, false },
		{ 0, UINT32_MAX, 26, 0, false },
		{ UINT32_MAX, 1, 1, 0, false },
		{ UINT32_MAX, UINT32_MAX, 26, 0, false },
	};
	struct fixture *x = *state;

	for (size_t i = 0; i < sizeof(shape) / sizeof(shape[0]); i++) {
		uint64_t *pfn = numbers(shape[i].numbers);
		uint32_t pages, offset, len, status;

		status = fake_gpadl_pages(
		    &x->f, 1, 600, pfn, shape[i].numbers, shape[i].offset, shape[i].len);
		if (shape[i].good) {
			assert_int_equal(status, 0);
			assert_non_null(vmbus_gpadl(x->b.open[0], 600, &pages, &offset, &len));
			assert_int_equal(pages, shape[i].used);
			assert_int_equal(offset, shape[i].offset);
			assert_int_equal(len, shape[i].len);
			assert_true(fake_teardown(&x->f, 1, 600));
		} else {
			assert_in_range(status, 1, UINT32_MAX - 1);
		}
		free(pfn);
	}
}

static void
the_last_body_may_be_longer_than_what_is_missing(void **state)
{
	struct fixture *x = *state;
	uint64_t *pfn = numbers(26 + 28);
	struct fake_message m;
	uint32_t pages, offset, len;

	for (size_t i = 27; i < 54; i++)
		pfn[i] = UINT64_MAX; /* what is behind its end is no number of anything */
	fake_gpadl_header(&x->f, 1, 700, pfn, 27, 0, 27 * GMEM_PAGE);
	assert_int_equal(fake_hear(&x->f, &m), 0);
	fake_gpadl_bodies(&x->f, 700, pfn + 26, 28);
	assert_int_equal(fake_hear(&x->f, &m), WIRE_GPADL_CREATED);
	assert_int_equal(m.len, 20);
	assert_int_equal(m.created.status, 0);
	assert_memory_equal(vmbus_gpadl(x->b.open[0], 700, &pages, &offset, &len), pfn, 27 * 8);
	fake_gpadl_bodies(&x->f, 700, pfn, 28); /* it is complete */
	assert_int_equal(fake_hear(&x->f, &m), 0);
	assert_int_equal(stats(x).messages_bad, 1);
	free(pfn);
}

static void
several_may_be_in_progress_at_a_time(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;
	uint64_t *pfn = numbers(100);
	size_t done = 0;

	for (uint32_t i = 0; i < 10; i++)
		done = fake_gpadl_header(&x->f, 1 + i % 2, 800 + i, pfn, 60, 0, 60 * GMEM_PAGE);
	for (; done < 60; done++)
		for (uint32_t i = 0; i < 10; i++)
			fake_gpadl_bodies(&x->f, 800 + i, pfn + done, 1);
	for (uint32_t i = 0; i < 10; i++) {
		assert_int_equal(fake_hear(&x->f, &m), WIRE_GPADL_CREATED);
		assert_int_equal(m.created.gpadl, 800 + i);
		assert_int_equal(m.created.relid, 1 + i % 2);
		assert_int_equal(m.created.status, 0);
	}
	free(pfn);
}

static void
headers_that_make_no_sense_are_answered_with_a_failure(void **state)
{
	static const struct {
		uint32_t relid;
		uint16_t bytes, ranges;
	} bad[] = {
		{ 1, 16, 0 },
		{ 1, 16, 2 },
		{ 1, 16, 0xffff },
		{ 1, 0, 1 },
		{ 1, 8, 1 },
		{ 1, 15, 1 },
		{ 1, 17, 1 },
		{ 3, 16, 1 },
		{ 0, 16, 1 },
		{ 2048, 16, 1 },
		{ UINT32_MAX, 16, 1 },
	};
	struct fixture *x = *state;
	struct fake_message m;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t raw[40] = { 0 };
		struct wire_gpadl_header h = { .head.type = WIRE_GPADL_HEADER,
			.relid = bad[i].relid,
			.gpadl = 900,
			.range_bytes = bad[i].bytes,
			.ranges = bad[i].ranges,
			.len = GMEM_PAGE };

		memcpy(raw, &h, sizeof(h));
		fake_say(&x->f, raw, sizeof(raw));
		assert_int_equal(fake_hear(&x->f, &m), WIRE_GPADL_CREATED);
		assert_int_equal(m.created.relid, bad[i].relid);
		assert_int_equal(m.created.gpadl, 900);
		assert_int_not_equal(m.created.status, 0);
	}
	assert_int_equal(stats(x).messages_bad, sizeof(bad) / sizeof(bad[0]));
	assert_int_equal(stats(x).gpadls, 1);
}

static void
pages_that_are_no_memory_are_refused(void **state)
{
	static const uint64_t bad[] = { RAM_PAGES, 1ull << 40, 1ull << 52, (1ull << 52) + 1, UINT64_MAX };
	struct fixture *x = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t *pfn = numbers(30);

		pfn[29] = bad[i];
		assert_in_range(
		    fake_gpadl_pages(&x->f, 1, 1000, pfn, 30, 0, 30 * GMEM_PAGE), 1, UINT32_MAX - 1);
		free(pfn);
	}
	assert_int_equal(stats(x).gpadls, 1);
}

static void
an_id_is_one_at_a_time(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;
	uint64_t *pfn = numbers(30);

	fake_gpadl_header(&x->f, 1, 5, pfn, 30, 0, 30 * GMEM_PAGE);
	fake_gpadl_header(&x->f, 2, 5, pfn, 1, 0, GMEM_PAGE); /* bodies have no relid: whose would they be? */
	assert_int_equal(fake_hear(&x->f, &m), WIRE_GPADL_CREATED);
	assert_int_equal(m.created.relid, 2);
	assert_int_not_equal(m.created.status, 0);
	fake_gpadl_bodies(&x->f, 5, pfn, 4);
	assert_int_equal(fake_hear(&x->f, &m), WIRE_GPADL_CREATED);
	assert_int_equal(m.created.status, 0);
	assert_int_not_equal(fake_gpadl_pages(&x->f, 1, 5, pfn, 1, 0, GMEM_PAGE), 0);
	assert_int_equal(fake_gpadl_pages(&x->f, 2, 5, pfn, 1, 0, GMEM_PAGE), 0); /* another channel's */
	free(pfn);
}

static void
number_and_pages_are_bounded_and_come_back(void **state)
{
	struct fixture *x = *state;
	uint64_t *pfn = numbers(8190);
	uint32_t made = 0, status = 0;

	while (status == 0 && made < 100)
		if ((status = fake_gpadl_pages(&x->f, 1, 2000 + made, pfn, 8190, 0, 8190u * GMEM_PAGE)) == 0)
			made++;
	assert_int_equal(status, WIRE_STATUS_NO_RESOURCES);
	assert_int_equal(made, (VMBUS_MAX_PAGES - OUT - IN) / 8190);
	for (uint32_t i = 0; i < made; i++)
		assert_true(fake_teardown(&x->f, 1, 2000 + i));
	made = 0;
	do {
		/* In progress they count as well. */
		fake_gpadl_header(&x->f, 1, 2000 + made, pfn, 27, 0, 27 * GMEM_PAGE);
		fake_take(&x->f);
		made++;
	} while (x->f.first == x->f.last && made < 3000);
	assert_int_equal(made, VMBUS_MAX_GPADLS);
	assert_int_equal(stats(x).gpadls, VMBUS_MAX_GPADLS);
	assert_true(fake_connect(&x->f, VMBUS_5_3));
	assert_int_equal(stats(x).gpadls, 0);
	assert_int_equal(stats(x).pages, 0);
	free(pfn);
}

static void
one_in_progress_can_be_taken_back(void **state)
{
	struct fixture *x = *state;
	uint64_t *pfn = numbers(30);
	struct fake_message m;

	fake_gpadl_header(&x->f, 1, 5, pfn, 30, 0, 30 * GMEM_PAGE);
	assert_true(fake_teardown(&x->f, 1, 5));
	fake_gpadl_bodies(&x->f, 5, pfn, 4);
	assert_int_equal(fake_hear(&x->f, &m), 0);
	assert_int_equal(stats(x).gpadls, 1);
	free(pfn);
}

static void
what_the_device_uses_is_given_back_when_it_says_so(void **state)
{
	struct fixture *x = *state;
	uint32_t id = fake_gpadl(&x->f, 1, 100, 4), pages, offset, len;
	struct fake_message m;

	x->b.keep_gpadl = true;
	assert_non_null(vmbus_gpadl(x->b.open[0], id, &pages, &offset, &len));
	assert_false(fake_teardown(&x->f, 1, id));
	assert_int_equal(x->b.wanted, 1);
	assert_int_equal(x->b.wanted_id, id);
	assert_false(fake_teardown(&x->f, 1, id)); /* it has been asked */
	assert_int_equal(x->b.wanted, 1);
	vmbus_gpadl_release(x->b.open[0], id);
	assert_int_equal(fake_hear(&x->f, &m), WIRE_GPADL_TORNDOWN);
	vmbus_gpadl_release(x->b.open[0], id); /* gone */
	/* At the latest when the channel is closed. */
	id = fake_gpadl(&x->f, 1, 100, 4);
	assert_non_null(vmbus_gpadl(x->b.open[0], id, &pages, &offset, &len));
	assert_false(fake_teardown(&x->f, 1, id));
	x->b.hold = true;
	fake_close(&x->c);
	assert_int_equal(fake_hear(&x->f, &m), 0);
	fake_let_go(&x->b);
	assert_int_equal(fake_hear(&x->f, &m), WIRE_GPADL_TORNDOWN);
	assert_int_equal(m.torndown.gpadl, id);
}

static void
only_the_channels_own_memory_is_found_or_torn_down(void **state)
{
	struct fixture *x = *state;
	uint32_t theirs = fake_gpadl(&x->f, 2, 100, 4), pages, offset, len;

	assert_null(vmbus_gpadl(x->b.open[0], theirs, &pages, &offset, &len));
	assert_null(vmbus_gpadl(x->b.open[0], x->c.gpadl, &pages, &offset, &len)); /* the rings */
	assert_null(vmbus_gpadl(x->a.d.primary, theirs, &pages, &offset, &len));   /* not open */
	assert_false(fake_teardown(&x->f, 1, theirs));
	assert_true(fake_teardown(&x->f, 2, theirs));
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(lists_of_every_length_arrive_whole),
		TEST(bytes_need_not_begin_or_end_with_a_page),
		TEST(the_last_body_may_be_longer_than_what_is_missing),
		TEST(several_may_be_in_progress_at_a_time),
		TEST(headers_that_make_no_sense_are_answered_with_a_failure),
		TEST(pages_that_are_no_memory_are_refused),
		TEST(an_id_is_one_at_a_time),
		TEST(number_and_pages_are_bounded_and_come_back),
		TEST(one_in_progress_can_be_taken_back),
		TEST(what_the_device_uses_is_given_back_when_it_says_so),
		TEST(only_the_channels_own_memory_is_found_or_torn_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
