/*
 * tests/unit/memory_file_test.c - the files in memory that other tests stand on: what they answer, and what a
 * power cut may leave of them.
 */
#include "tests/disk/memory_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TIB (1ull << 40)

struct fixture {
	struct memory_host *h;
	struct disk_file *f;
};

static int
setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	x->h = memory_host_new();
	x->f = memory_open(x->h, 0, false);
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *x = *state;

	file_free(x->f);
	memory_host_free(x->h);
	free(x);
	assert_int_equal(pages_alive(), 0);
	return 0;
}

static void
put(struct fixture *x, uint64_t off, int byte, size_t len)
{
	uint8_t *b = malloc(len);

	memset(b, byte, len);
	assert_int_equal(file_put(x->f, b, len, off, NULL), 0);
	free(b);
}

static int
byte_at(struct disk_file *f, uint64_t off)
{
	uint8_t b = 0;

	return file_get(f, &b, 1, off, NULL) == 0 ? b : -1;
}

struct step {
	struct file_op op;
	int rc;
	unsigned order;
};

static unsigned ended;

static void
step_done(struct file_op *op, int rc)
{
	struct step *s = (struct step *)op;

	s->rc = rc;
	s->order = ++ended;
}

static void
a_file_of_64_tib_costs_nothing(void **state)
{
	struct fixture *x = *state;
	uint64_t size, n;

	assert_int_equal(file_truncate(x->f, 64 * TIB, NULL), 0);
	put(x, 64 * TIB - 5, 7, 5);
	put(x, 3 * TIB + 4095, 8, 2);
	assert_int_equal(file_size(x->f, &size, NULL), 0);
	assert_int_equal(size, 64 * TIB);
	assert_int_equal(byte_at(x->f, 64 * TIB - 1), 7);
	assert_int_equal(byte_at(x->f, 3 * TIB + 4096), 8);
	assert_int_equal(byte_at(x->f, 3 * TIB), 0);
	assert_true(file_is_hole(x->f, 0, 64 * TIB, &n));
	assert_int_equal(n, 3 * TIB);
	assert_false(file_is_hole(x->f, 3 * TIB, TIB, &n));
	assert_int_equal(n, 8192);
	assert_int_equal(file_clear(x->f, 3 * TIB, TIB, true, NULL), 0);
	assert_int_equal(byte_at(x->f, 3 * TIB + 4096), 0);
	assert_int_equal(byte_at(x->f, 64 * TIB), -1);
}

static void
operations_end_in_the_order_of_the_test(void **state)
{
	struct fixture *x = *state;
	struct step s[3] = { 0 };
	char a[4] = "aaa", b[4] = "bbb", c[4] = "";
	struct iovec iov[3] = { { a, 4 }, { b, 4 }, { c, 4 } };

	ended = 0;
	for (int i = 0; i < 3; i++)
		s[i].op.done = step_done;
	file_writev(x->f, &s[0].op, &iov[0], 1, 4, 0, false);
	file_writev(x->f, &s[1].op, &iov[1], 1, 4, 0, false);
	file_readv(x->f, &s[2].op, &iov[2], 1, 4, 0);
	assert_int_equal(x->h->in_flight, 3);
	memory_end(x->h, 1);
	memory_end(x->h, 0);
	memory_end(x->h, 0);
	assert_int_equal(s[1].order, 1);
	assert_int_equal(s[0].order, 2);
	assert_string_equal(c, "aaa");
	assert_false(file_pump(x->f));
}

static void
the_seed_decides_the_order(void **state)
{
	struct fixture *x = *state;
	unsigned orders[2][8];

	for (int run = 0; run < 2; run++) {
		struct step s[8] = { 0 };

		ended = 0;
		x->h->seed = 42;
		for (int i = 0; i < 8; i++) {
			s[i].op.done = step_done;
			file_flush(x->f, &s[i].op);
		}
		memory_run(x->h);
		for (int i = 0; i < 8; i++)
			orders[run][i] = s[i].order;
	}
	assert_memory_equal(orders[0], orders[1], sizeof(orders[0]));
	assert_false(orders[0][0] == 1 && orders[0][1] == 2 && orders[0][2] == 3 && orders[0][3] == 4);
}

static int
fault(void *ctx, const struct memory_op *op)
{
	(void)ctx;
	if (op->kind == MEMORY_FLUSH)
		return -EIO;
	return op->kind == MEMORY_ALLOCATE ? -ENOSPC : 3;
}

static void
errors_and_short_transfers_are_injected(void **state)
{
	struct fixture *x = *state;
	struct step s = { .op.done = step_done };
	char out[8] = "1234567", in[8] = "";
	struct iovec iov = { out, 8 };

	x->h->fault = fault;
	file_writev(x->f, &s.op, &iov, 1, 8, 100, false);
	memory_run(x->h);
	assert_int_equal(s.rc, 0);
	assert_int_equal(x->h->count[MEMORY_WRITE], 3);
	assert_int_equal(file_get(x->f, in, 8, 100, NULL), 0);
	assert_string_equal(in, "1234567");
	file_zero(x->f, &s.op, 0, 512, true, false);
	memory_run(x->h);
	assert_int_equal(s.rc, -ENOSPC);
	assert_int_equal(file_sync(x->f, NULL), -EIO);
}

static void
without_holes_zeros_are_written(void **state)
{
	struct fixture *x = *state;
	struct step s = { .op.done = step_done };

	x->h->no_holes = true;
	put(x, 0, 5, 8192);
	file_zero(x->f, &s.op, 512, 4096, true, false);
	memory_run(x->h);
	assert_int_equal(s.rc, 0);
	assert_int_equal(byte_at(x->f, 511), 5);
	assert_int_equal(byte_at(x->f, 512), 0);
	assert_int_equal(byte_at(x->f, 512 + 4096), 5);
	x->h->no_holes = false;
}

/* --- power cuts -------------------------------------------------------------------------------------- */

/* Each value that byte `off` has after many cuts; -1: behind the end of the file. */
static void
values(struct fixture *x, uint64_t off, bool has[257])
{
	memset(has, 0, 257 * sizeof(has[0]));
	for (uint64_t seed = 0; seed < 400; seed++) {
		struct memory_host *h = memory_cut(x->h, seed);
		struct disk_file *f = memory_open(h, 0, true);

		has[byte_at(f, off) + 1] = true;
		file_free(f);
		memory_host_free(h);
	}
}

static void
assert_values(struct fixture *x, uint64_t off, const int *want, unsigned n)
{
	bool has[257], expected[257] = { 0 };

	values(x, off, has);
	for (unsigned i = 0; i < n; i++)
		expected[want[i] + 1] = true;
	for (int v = -1; v < 256; v++)
		if (has[v + 1] != expected[v + 1])
			fail_msg("offset %llu: %d is %s", (unsigned long long)off, v,
			    has[v + 1] ? "there" : "missing");
}
#define assert_may_be(x, off, ...) \
	assert_values(             \
	    x, off, (const int[]){ __VA_ARGS__ }, sizeof((const int[]){ __VA_ARGS__ }) / sizeof(int))

static void
what_was_flushed_is_there_and_the_rest_may_be(void **state)
{
	struct fixture *x = *state;

	put(x, 0, 1, 8192);
	assert_may_be(x, 0, -1, 0, 1);
	assert_int_equal(file_sync(x->f, NULL), 0);
	assert_may_be(x, 0, 1);
	put(x, 0, 2, 4096);
	put(x, 0, 3, 512);
	assert_may_be(x, 0, 1, 2, 3);
	assert_may_be(x, 512, 1, 2);
	assert_may_be(x, 4096, 1);
	assert_int_equal(memory_unsafe(x->h, 0), 2);
	assert_int_equal(file_sync(x->f, NULL), 0);
	assert_int_equal(memory_unsafe(x->h, 0), 0);
	assert_may_be(x, 0, 3);
}

static void
a_flush_covers_what_had_ended_when_it_began(void **state)
{
	struct fixture *x = *state;
	struct step w = { .op.done = step_done }, s = { .op.done = step_done };
	char b[512];
	struct iovec iov = { b, sizeof(b) };

	put(x, 0, 1, 512);
	file_flush(x->f, &s.op);
	memset(b, 2, sizeof(b));
	file_writev(x->f, &w.op, &iov, 1, 512, 0, false);
	memory_end(x->h, 1);
	assert_may_be(x, 0, -1, 0, 1, 2); /* the flush has not ended */
	memory_end(x->h, 0);
	assert_int_equal(s.rc, 0);
	assert_may_be(x, 0, 1, 2);
}

static void
a_write_in_flight_may_be_there(void **state)
{
	struct fixture *x = *state;
	struct step w = { .op.done = step_done };
	char b[1024];
	struct iovec iov = { b, sizeof(b) };

	put(x, 0, 1, 1024);
	assert_int_equal(file_sync(x->f, NULL), 0);
	memset(b, 2, sizeof(b));
	file_writev(x->f, &w.op, &iov, 1, sizeof(b), 0, false);
	assert_may_be(x, 0, 1, 2);
	assert_may_be(x, 512, 1, 2);
	memory_run(x->h);
}

static void
a_stable_write_is_there_alone(void **state)
{
	struct fixture *x = *state;
	struct step w = { .op.done = step_done };
	char b[512];
	struct iovec iov = { b, sizeof(b) };

	put(x, 0, 1, 8192);
	memset(b, 2, sizeof(b));
	file_writev(x->f, &w.op, &iov, 1, sizeof(b), 1024, true);
	memory_run(x->h);
	assert_may_be(x, 0, 0, 1); /* the size is stable, too, as far as this needs it */
	assert_may_be(x, 1024, 2);
	assert_may_be(x, 1536, -1, 0, 1);
	put(x, 1024, 3, 512);
	assert_may_be(x, 1024, 2, 3);
	assert_int_equal(file_sync(x->f, NULL), 0);
	assert_may_be(x, 1024, 3);
	assert_may_be(x, 1023, 1);
	assert_may_be(x, 1536, 1);
}

static void
a_hole_may_be_there_or_not(void **state)
{
	struct fixture *x = *state;

	put(x, 0, 1, 16384);
	assert_int_equal(file_sync(x->f, NULL), 0);
	assert_int_equal(file_clear(x->f, 4096, 4096, true, NULL), 0);
	assert_may_be(x, 4096, 0, 1);
	assert_may_be(x, 8192, 1);
}

static void
a_file_gets_shorter_at_one_moment(void **state)
{
	struct fixture *x = *state;

	put(x, 0, 1, 8192);
	assert_int_equal(file_sync(x->f, NULL), 0);
	assert_int_equal(file_truncate(x->f, 4096, NULL), 0);
	assert_int_equal(file_truncate(x->f, 8192, NULL), 0);
	put(x, 4096, 2, 512);
	assert_may_be(x, 0, 1);
	assert_may_be(x, 4096, 1, -1, 0, 2);
	assert_may_be(x, 8191, 1, -1, 0);
	for (uint64_t seed = 0; seed < 400; seed++) { /* old bytes and new ones are not mixed */
		struct memory_host *h = memory_cut(x->h, seed);
		struct disk_file *f = memory_open(h, 0, true);

		assert_false(byte_at(f, 4096) == 2 && byte_at(f, 8191) == 1);
		file_free(f);
		memory_host_free(h);
	}
}

static void
a_cut_repeats_itself_and_leaves_the_host_alone(void **state)
{
	struct fixture *x = *state;

	for (unsigned i = 0; i < 64; i++)
		put(x, (uint64_t)(i * 7 % 64) * 512, (int)i + 1, 512);
	for (uint64_t seed = 0; seed < 200; seed++) {
		struct memory_host *a = memory_cut(x->h, seed), *b = memory_cut(x->h, seed);
		struct disk_file *fa = memory_open(a, 0, false), *fb = memory_open(b, 0, false);
		uint64_t size_a, size_b;

		assert_int_equal(file_size(fa, &size_a, NULL), 0);
		assert_int_equal(file_size(fb, &size_b, NULL), 0);
		assert_int_equal(size_a, size_b);
		for (uint64_t at = 0; at < size_a; at += 512)
			assert_int_equal(byte_at(fa, at), byte_at(fb, at));
		assert_int_equal(file_put(fa, "x", 1, 0, NULL), 0);
		file_free(fa);
		file_free(fb);
		memory_host_free(a);
		memory_host_free(b);
	}
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(byte_at(x->f, (uint64_t)(i * 7 % 64) * 512), i + 1);
}

static void
a_file_comes_from_the_machine_and_goes_there(void **state)
{
	struct fixture *x = *state;
	char name[] = "/tmp/fh-memory-XXXXXX";
	int fd = mkstemp(name);

	put(x, 5 << 20, 9, 100);
	assert_int_equal(memory_save(x->h, 0, name), 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), (5 << 20) + 100);
	assert_int_equal(lseek(fd, 0, SEEK_DATA), 5 << 20);
	put(x, 5 << 20, 8, 100);
	assert_int_equal(memory_load(x->h, 0, name), 0);
	assert_may_be(x, 5 << 20, 9);
	assert_int_equal(memory_load(x->h, 0, "/nonexistent"), -ENOENT);
	close(fd);
	unlink(name);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(a_file_of_64_tib_costs_nothing),
		unit(operations_end_in_the_order_of_the_test),
		unit(the_seed_decides_the_order),
		unit(errors_and_short_transfers_are_injected),
		unit(without_holes_zeros_are_written),
		unit(what_was_flushed_is_there_and_the_rest_may_be),
		unit(a_flush_covers_what_had_ended_when_it_began),
		unit(a_write_in_flight_may_be_there),
		unit(a_stable_write_is_there_alone),
		unit(a_hole_may_be_there_or_not),
		unit(a_file_gets_shorter_at_one_moment),
		unit(a_cut_repeats_itself_and_leaves_the_host_alone),
		unit(a_file_comes_from_the_machine_and_goes_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
