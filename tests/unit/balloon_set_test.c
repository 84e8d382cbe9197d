/*
 * tests/unit/balloon_set_test.c - the set of pages in a balloon: against a plain array of bytes, and through
 * saved state, good and hostile.
 */
#include "hypervisor/vsp/balloon_set.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PAGES = 5 * PAGE_SET_CHUNK + 1000, STATE = 1 << 20 };

static struct page_set *
make(void)
{
	struct page_set *s;

	assert_int_equal(page_set_new(&s, PAGES, NULL), 0);
	return s;
}

static uint64_t seed;

static uint64_t
random_below(uint64_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 33) % n;
}

/* Somewhere, and more often near a border than not. */
static uint64_t
somewhere(void)
{
	uint64_t at = random_below(PAGES + 100);

	return random_below(2) ? at : at / 64 * 64;
}

static void
compare(const struct page_set *s, const uint8_t *plain)
{
	uint64_t n = 0, at = 0, first, len;

	for (uint64_t i = 0; i < PAGES; i++) {
		n += plain[i];
		if (plain[i] != page_set_has(s, i))
			fail_msg("page %llu", (unsigned long long)i);
	}
	assert_int_equal(page_set_count(s), n);
	while ((len = page_set_run(s, at, UINT64_MAX, PAGES, &first)) != 0) {
		assert_null(memchr(plain + at, 1, first - at));
		assert_null(memchr(plain + first, 0, len));
		at = first + len;
		n -= len;
	}
	assert_int_equal(n, 0);
}

static void
random_changes(struct page_set *s, uint8_t *plain, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t first = somewhere(), len = random_below(i % 7 ? 300 : 2 * PAGE_SET_CHUNK),
			 changed = 0;
		bool set = random_below(3);

		for (uint64_t p = first; p < first + len && p < PAGES; p++) {
			changed += plain[p] != set;
			plain[p] = set;
		}
		assert_int_equal(set ? page_set_add(s, first, len) : page_set_remove(s, first, len), changed);
	}
}

static void
it_is_what_a_plain_array_is(void **state)
{
	uint8_t *plain = calloc(1, PAGES + 1);
	struct page_set *s = make();

	(void)state;
	for (seed = 1; seed < 2000000; seed += random_below(100000)) {
		random_changes(s, plain, 60);
		compare(s, plain);
	}
	page_set_clear(s);
	memset(plain, 0, PAGES);
	compare(s, plain);
	page_set_free(s);
	free(plain);
}

static void
ends_are_exact(void **state)
{
	struct page_set *s = make();
	uint64_t first;

	(void)state;
	assert_int_equal(page_set_run(s, 0, UINT64_MAX, 1, &first), 0);
	assert_int_equal(page_set_add(s, 0, 0), 0);
	assert_int_equal(page_set_add(s, PAGES - 1, UINT64_MAX), 1);
	assert_int_equal(page_set_add(s, PAGES, 1), 0);
	assert_int_equal(page_set_add(s, UINT64_MAX, UINT64_MAX), 0);
	assert_false(page_set_has(s, PAGES));
	assert_false(page_set_has(s, UINT64_MAX));
	assert_int_equal(page_set_run(s, 0, PAGES - 1, 10, &first), 0);
	assert_int_equal(page_set_run(s, PAGES, UINT64_MAX, 10, &first), 0);
	assert_int_equal(page_set_run(s, 0, UINT64_MAX, 10, &first), 1);
	assert_int_equal(first, PAGES - 1);
	assert_int_equal(page_set_add(s, 100, 10), 10);
	assert_int_equal(page_set_run(s, 104, UINT64_MAX, 3, &first), 3);
	assert_int_equal(first, 104);
	assert_int_equal(page_set_remove(s, 0, UINT64_MAX), 11);
	assert_int_equal(page_set_count(s), 0);
	page_set_free(s);
	assert_int_equal(page_set_new(&s, 0, NULL), -EINVAL);
}

/* --- saved state -------------------------------------------------------------------------------------- */

static bool
all(void *ctx, uint64_t first, uint64_t n)
{
	(void)first;
	return n <= PAGES && ctx == NULL;
}

static size_t
save(struct page_set *s, uint8_t *buf, size_t cap)
{
	struct snap snap;

	snap_save_to(&snap, buf, cap);
	page_set_snap(s, &snap, all, NULL);
	assert_int_equal(snap_end(&snap), 0);
	return snap.pos;
}

static int
restore(struct page_set *s, const uint8_t *buf, size_t len)
{
	struct snap snap;

	snap_restore_from(&snap, buf, len);
	page_set_snap(s, &snap, all, NULL);
	return snap_end(&snap);
}

static void
it_is_saved_in_little(void **state)
{
	static const struct {
		uint64_t first, len, step, n;
		size_t most;
	} rows[] = {
		{ 0, 0, 0, 0, 4 },
		{ 0, PAGES, 0, 1, 5 * 8 + 32 },                     /* all */
		{ 512, 512, 1024, 30, 4 + 8 + 30 * 4 },             /* huge pages */
		{ 7, 1, 2, PAGE_SET_CHUNK / 2, 4 + 16 + 4096 + 8 }, /* every second one */
		{ PAGES - 1, 1, 0, 1, 4 + 8 + 4 },
	};
	static uint8_t buf[STATE], again[STATE];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct page_set *s = make(), *t = make();
		size_t len;

		for (uint64_t n = 0; n < rows[i].n; n++)
			page_set_add(s, rows[i].first + n * rows[i].step, rows[i].len);
		len = save(s, buf, sizeof(buf));
		assert_in_range(len, 4, rows[i].most);
		assert_int_equal(restore(t, buf, len), 0);
		assert_int_equal(page_set_count(t), page_set_count(s));
		assert_int_equal(save(t, again, sizeof(again)), len);
		assert_memory_equal(buf, again, len);
		for (size_t cut = 0; cut < len; cut += 1 + len / 300) {
			page_set_clear(t);
			assert_int_equal(restore(t, buf, cut), -EINVAL);
		}
		page_set_free(s);
		page_set_free(t);
	}
}

static void
random_ones_come_back(void **state)
{
	static uint8_t buf[STATE];
	uint8_t *plain = calloc(1, PAGES + 1);

	(void)state;
	for (seed = 5; seed < 1000000; seed += random_below(200000)) {
		struct page_set *s = make(), *t = make();

		memset(plain, 0, PAGES);
		random_changes(s, plain, 40);
		assert_int_equal(restore(t, buf, save(s, buf, sizeof(buf))), 0);
		compare(t, plain);
		page_set_free(s);
		page_set_free(t);
	}
	free(plain);
}

static void
hostile_state_is_refused(void **state)
{
	static const struct {
		uint8_t byte[32];
		size_t len;
	} rows[] = {
		{ { 7 }, 4 },                                         /* more chunks than there are */
		{ { 1, 0, 0, 0, 6, 0, 0, 0, 0 }, 9 },                 /* a chunk behind the end */
		{ { 1, 0, 0, 0, 5, 0, 0, 0, 0 }, 9 },                 /* all of the last, which is short */
		{ { 1, 0, 0, 0, 1, 0, 0, 0, 3 }, 9 },                 /* a form that is none */
		{ { 2, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0 }, 14 }, /* twice */
		{ { 1, 0, 0, 0, 0, 0, 0, 0, 1, 1, 4 }, 11 },          /* too many runs */
		{ { 1, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 9, 0, 5, 0, 0, 0 }, 19 }, /* that overlap */
		{ { 1, 0, 0, 0, 5, 0, 0, 0, 1, 1, 0, 231, 3, 1, 0 }, 15 },           /* beyond the end */
		{ { 0xff, 0xff, 0xff, 0xff }, 4 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct page_set *s = make();

		assert_int_equal(restore(s, rows[i].byte, rows[i].len), -EINVAL);
		page_set_free(s);
	}
}

/* The rest is left out, and what is there can be read. */
static void
too_much_is_cut(void **state)
{
	enum { MANY = 3000 * 8 };
	uint8_t *buf = malloc(2 * PAGE_SET_STATE_MAX);
	struct page_set *s, *t;
	size_t len;

	(void)state;
	assert_int_equal(page_set_new(&s, (uint64_t)MANY / 8 * PAGE_SET_CHUNK, NULL), 0);
	assert_int_equal(page_set_new(&t, (uint64_t)MANY / 8 * PAGE_SET_CHUNK, NULL), 0);
	for (uint64_t i = 0; i < (uint64_t)MANY / 8 * PAGE_SET_CHUNK; i += 2)
		page_set_add(s, i, 1);
	len = save(s, buf, 2ul * PAGE_SET_STATE_MAX);
	assert_in_range(len, PAGE_SET_STATE_MAX - 8192, PAGE_SET_STATE_MAX + 8);
	assert_int_equal(restore(t, buf, len), 0);
	assert_true(page_set_count(t) > 2000ull * PAGE_SET_CHUNK / 2);
	page_set_free(s);
	page_set_free(t);
	free(buf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_what_a_plain_array_is),
		cmocka_unit_test(ends_are_exact),
		cmocka_unit_test(it_is_saved_in_little),
		cmocka_unit_test(random_ones_come_back),
		cmocka_unit_test(hostile_state_is_refused),
		cmocka_unit_test(too_much_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
