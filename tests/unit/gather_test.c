/*
 * tests/unit/gather_test.c - when a ring's reader lets the guest go on first: always where that brings
 * several requests at once, hardly ever where it brings one or takes long.
 */
#include "hypervisor/vsp/gather.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

enum { SIGNALS = 100000, QUICK = 20 * 1000 };

/* How often it yields in so many signals, if each try ends like this. */
static unsigned
tries(struct gather *g, unsigned signals, unsigned found, uint64_t ns)
{
	unsigned n = 0;

	for (unsigned i = 0; i < signals; i++)
		if (gather_try(g)) {
			gather_told(g, found, ns);
			n++;
		}
	return n;
}

static void
several_at_once_are_always_waited_for(void **state)
{
	struct gather g = { 0 };

	(void)state;
	assert_int_equal(tries(&g, SIGNALS, 2, QUICK), SIGNALS);
	assert_int_equal(tries(&g, SIGNALS, 2, GATHER_NS_MAX), SIGNALS);
}

static void
one_at_a_time_costs_next_to_nothing(void **state)
{
	struct gather g = { 0 };
	unsigned n = tries(&g, SIGNALS, 1, QUICK);

	(void)state;
	assert_in_range(n, SIGNALS / GATHER_PAUSE_MAX, SIGNALS / GATHER_PAUSE_MAX + 16);
	assert_in_range(tries(&g, SIGNALS, 0, QUICK), 1, SIGNALS / GATHER_PAUSE_MAX + 1);
}

static void
a_processor_that_others_want_is_left_alone(void **state)
{
	struct gather g = { 0 };
	unsigned n = tries(&g, SIGNALS, 16, GATHER_NS_MAX + 1);

	(void)state;
	assert_in_range(n, 1, SIGNALS / GATHER_PAUSE_MAX + 16);
	assert_in_range(tries(&g, SIGNALS, 16, UINT64_MAX), 1, SIGNALS / GATHER_PAUSE_MAX + 1);
}

static void
a_change_is_noticed(void **state)
{
	struct gather g = { 0 };
	unsigned n;

	(void)state;
	tries(&g, SIGNALS, 1, QUICK);
	n = tries(&g, SIGNALS, 16, QUICK); /* from the next try on */
	assert_in_range(n, SIGNALS - GATHER_PAUSE_MAX, SIGNALS);
	assert_int_equal(tries(&g, 1, 1, QUICK), 1); /* one that was alone is forgiven soon */
	assert_in_range(tries(&g, SIGNALS, 16, QUICK), SIGNALS - GATHER_PAUSE, SIGNALS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(several_at_once_are_always_waited_for),
		cmocka_unit_test(one_at_a_time_costs_next_to_nothing),
		cmocka_unit_test(a_processor_that_others_want_is_left_alone),
		cmocka_unit_test(a_change_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
