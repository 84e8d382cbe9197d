/* tests/unit/memory_balance_test.c - what machines with dynamic memory should have: the plan, as a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/memory_balance.h"

#define MIB (1ll << 20)
#define GIB (1ll << 30)

/* MiB. */
static const struct {
	const char *what;
	uint64_t least, most, assigned, demand, target;
	int64_t spare;
	uint64_t wanted;
} rows[] = {
	{ "it has what it needs and a fifth", 512, 4096, 1200, 1000, 1200, 8192, 1200 },
	{ "a little less is left alone", 512, 4096, 1150, 1000, 1150, 8192, 1150 },
	{ "a little more, too", 512, 4096, 1260, 1000, 1260, 8192, 1260 },
	{ "what was asked for stays, nearly there", 512, 4096, 1150, 1000, 1200, 8192, 1200 },
	{ "what was asked for long ago does not", 512, 4096, 1200, 1000, 3000, 8192, 1200 },
	{ "it needs more", 512, 4096, 1024, 1100, 1024, 8192, 1320 },
	{ "in steps of a half", 512, 8192, 2048, 6000, 2048, 16384, 3072 },
	{ "or of 256 MiB", 64, 8192, 100, 6000, 100, 16384, 356 },
	{ "up to its most", 512, 2000, 1900, 9000, 1900, 16384, 2000 },
	{ "as far as the host has it", 512, 4096, 1024, 2000, 1024, 100, 1124 },
	{ "which has nothing", 512, 4096, 1024, 2000, 1024, 0, 1024 },
	{ "it needs less", 512, 4096, 1200, 900, 1200, 8192, 1080 },
	{ "in steps of an eighth", 512, 8192, 4096, 1000, 4096, 8192, 3584 },
	{ "or of 64 MiB", 64, 4096, 256, 100, 256, 8192, 192 },
	{ "down to its least", 512, 4096, 560, 10, 560, 8192, 512 },
	{ "the host is short: what it needs, at once", 512, 8192, 4096, 1000, 4096, -1, 1000 },
	{ "and nobody grows", 512, 8192, 1024, 4000, 1024, -1, 1024 },
	{ "nor gives what it needs", 512, 8192, 1024, 1024, 1024, -4096, 1024 },
	{ "it has not said what it needs", 512, 8192, 1024, 0, 1024, 8192, 1024 },
	{ "its least was raised", 1024, 8192, 1020, 100, 1020, 8192, 1024 },
	{ "its most was lowered", 512, 1000, 1010, 5000, 1010, 8192, 1000 },
	{ "by much, which is due at once", 512, 1000, 4096, 5000, 4096, 8192, 1000 },
	{ "a demand that cannot be", 512, 8192, 1024, 16777216, 1024, 8192, 1536 },
};

static void
a_machine_should_have_what_it_needs(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct balance_row r = { rows[i].least * MIB, rows[i].most * MIB, rows[i].assigned * MIB,
			rows[i].demand * MIB, rows[i].target * MIB };

		balance_plan(&r, 1, rows[i].spare * MIB);
		if (r.target != rows[i].wanted * MIB)
			fail_msg("%s: %.1f MiB, not %llu", rows[i].what, (double)r.target / MIB,
			    (unsigned long long)rows[i].wanted);
	}
}

static void
those_that_grow_share_what_there_is(void **state)
{
	struct balance_row r[] = {
		{ 512 * MIB, 8 * GIB, 1 * GIB, 3 * GIB, 1 * GIB }, /* 512 MiB more, */
		{ 512 * MIB, 8 * GIB, 2 * GIB, 8 * GIB, 2 * GIB }, /* 1 GiB more, */
		{ 512 * MIB, 8 * GIB, 4 * GIB, 1 * GIB, 4 * GIB }, /* less */
	};

	(void)state;
	balance_plan(r, 3, 300 * MIB);
	assert_int_equal(r[0].target, 1 * GIB + 100 * MIB);
	assert_int_equal(r[1].target, 2 * GIB + 200 * MIB);
	assert_int_equal(r[2].target, 4 * GIB - 512 * MIB);
	balance_plan(NULL, 0, 0);
}

/* Whatever guests say, together they do not get more than there is, each is within its limits, and all comes
 * to rest when their demands do. */
static void
it_comes_to_rest(void **state)
{
	enum { MACHINES = 20, ROUNDS = 200 };
	struct balance_row r[MACHINES];
	const uint64_t host = 32 * GIB;

	(void)state;
	srandom(7);
	for (size_t i = 0; i < MACHINES; i++)
		r[i] = (struct balance_row){ 256 * MIB, (uint64_t)(random() % 8 + 1) * GIB, GIB,
			(uint64_t)(random() % 4096) * MIB, GIB };
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t before = 0, after = 0;
		bool moved = false;

		for (size_t i = 0; i < MACHINES; i++)
			before += r[i].assigned;
		balance_plan(r, MACHINES, (int64_t)host - (int64_t)before);
		for (size_t i = 0; i < MACHINES; i++) {
			assert_in_range(r[i].target, r[i].least, r[i].most);
			moved |= r[i].target != r[i].assigned;
			r[i].assigned = r[i].target;
			after += r[i].assigned;
		}
		assert_true(after <= host);
		if (round > ROUNDS / 2)
			assert_false(moved);
	}
}

static void
what_the_host_can_spare(void **state)
{
	uint64_t total, available;

	(void)state;
	assert_int_equal(balance_spare(16 * GIB, 10 * GIB, 2 * GIB), 9 * GIB);
	assert_int_equal(
	    balance_spare(16 * GIB, 15 * GIB, 12 * GIB), 3 * GIB); /* promised, and not used yet */
	assert_int_equal(balance_spare(16 * GIB, GIB / 2, 2 * GIB), -GIB / 2);
	assert_int_equal(balance_spare(GIB, GIB, 0), GIB - 128 * MIB);
	balance_host(&total, &available);
	assert_in_range(total, 1, INT64_MAX);
	assert_in_range(available, 1, total);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_machine_should_have_what_it_needs),
		cmocka_unit_test(those_that_grow_share_what_there_is),
		cmocka_unit_test(it_comes_to_rest),
		cmocka_unit_test(what_the_host_can_spare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
