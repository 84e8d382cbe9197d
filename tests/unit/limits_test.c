/*
 * tests/unit/limits_test.c - ceilings and floors of a unit's share, in the test's time.
 */
#include "hypervisor/vsp/limits.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#define SECOND UINT64_C(1000000000)

/* How often `bytes` can be taken in a second by one who always asks again at the time he is told. */
static uint64_t
taken(struct limits *l, uint64_t bytes, uint64_t begin, uint64_t seconds)
{
	uint64_t n = 0, now = begin;

	while (now < begin + seconds * SECOND) {
		uint64_t due = limits_take(l, bytes, now);

		if (due == 0)
			n++;
		else
			assert_true(due > now);
		now = due ? due : now;
	}
	return n;
}

static void
without_a_limit_nobody_waits(void **state)
{
	struct limits l;

	(void)state;
	limits_set(&l, 0, 0);
	assert_false(limits_on(&l));
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(limits_take(&l, UINT64_MAX, 1), 0);
}

static void
requests_are_counted_in_8_kib(void **state)
{
	static const struct {
		uint64_t bytes, per_s;
	} rows[] = { { 0, 100 }, { 512, 100 }, { 8192, 100 }, { 8193, 50 }, { 65536, 12 } };
	struct limits l;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t n;

		limits_set(&l, 100, 0);
		n = taken(&l, rows[i].bytes, 100 * SECOND, 20);
		assert_in_range(n, rows[i].per_s * 20, rows[i].per_s * 20 + 20);
	}
}

static void
the_stricter_of_two_limits_holds(void **state)
{
	struct limits l;

	(void)state;
	limits_set(&l, 1000, 1 << 20); /* 256 requests of 4 KiB */
	assert_in_range(taken(&l, 4096, 100 * SECOND, 10), 2560, 2600);
	limits_set(&l, 100, 1 << 30);
	assert_in_range(taken(&l, 4096, 100 * SECOND, 10), 1000, 1010);
}

static void
idle_time_is_not_saved_up(void **state)
{
	struct limits l;

	(void)state;
	limits_set(&l, 100, 0);
	taken(&l, 512, SECOND, 1);
	assert_in_range(taken(&l, 512, 1000 * SECOND, 1), 100, 108); /* a burst of 50 ms, no more */
}

static void
the_largest_numbers_do_no_harm(void **state)
{
	struct limits l;

	(void)state;
	limits_set(&l, UINT64_MAX, UINT64_MAX);
	assert_int_equal(limits_take(&l, 1 << 20, UINT64_MAX / 2), 0);
	limits_set(&l, 1, 1);
	assert_int_equal(limits_take(&l, 1 << 20, SECOND), 0);
	assert_true(limits_take(&l, 1, SECOND) > 1000 * SECOND);
}

static void
a_floor_tells_who_wanted_more_and_got_less(void **state)
{
	struct iops_floor f = { .min_iops = 100 };
	uint64_t iops;

	(void)state;
	assert_true(floor_busy(&f, SECOND));
	assert_false(floor_busy(&f, 2 * SECOND));
	for (unsigned i = 0; i < 500; i++)
		floor_got(&f, 4096);
	assert_true(floor_window_ends(&f, 11 * SECOND, &iops));
	assert_int_equal(iops, 50);
	assert_int_equal(f.begun, 11 * SECOND); /* still busy: the next begins */
	for (unsigned i = 0; i < 1500; i++)
		floor_got(&f, 4096);
	assert_false(floor_window_ends(&f, 21 * SECOND, &iops));
	assert_int_equal(iops, 150);
	floor_idle(&f, 22 * SECOND);
	assert_false(floor_window_ends(&f, 31 * SECOND, &iops)); /* it had nothing to do */
	assert_int_equal(f.begun, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_limit_nobody_waits),
		cmocka_unit_test(requests_are_counted_in_8_kib),
		cmocka_unit_test(the_stricter_of_two_limits_holds),
		cmocka_unit_test(idle_time_is_not_saved_up),
		cmocka_unit_test(the_largest_numbers_do_no_harm),
		cmocka_unit_test(a_floor_tells_who_wanted_more_and_got_less),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
