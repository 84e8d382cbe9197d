/* tests/unit/io_loop_test.c - an I/O thread: operations, signals, timers, calls, and its walls. */
#include "hypervisor/core/io_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

struct fixture {
	struct io_loop *l;
	int file, slot;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int done, res; /* under lock */
	struct io_op op;
	struct iovec iov[2];
	char a[4], b[4];
	_Atomic int rounds;
	_Atomic bool rest;
};

static void
op_done(struct io_op *op, int res)
{
	struct fixture *f = (struct fixture *)((char *)op - offsetof(struct fixture, op));

	pthread_mutex_lock(&f->lock);
	f->done++;
	f->res = res;
	pthread_cond_broadcast(&f->cond);
	pthread_mutex_unlock(&f->lock);
}

static int
wait_done(struct fixture *f, int n)
{
	pthread_mutex_lock(&f->lock);
	while (f->done < n)
		pthread_cond_wait(&f->cond, &f->lock);
	pthread_mutex_unlock(&f->lock);
	return f->res;
}

static void
count_round(void *ctx)
{
	((struct fixture *)ctx)->rounds++;
}

static int
setup(void **state)
{
	static struct fixture f;
	static struct io_round round = { .fn = count_round, .ctx = &f };
	struct err e;
	char name[] = "/tmp/fh-io-loop-XXXXXX";

	memset(&f, 0, sizeof(f));
	pthread_mutex_init(&f.lock, NULL);
	pthread_cond_init(&f.cond, NULL);
	f.file = mkstemp(name);
	unlink(name);
	f.op.done = op_done;
	f.iov[0] = (struct iovec){ f.a, sizeof(f.a) };
	f.iov[1] = (struct iovec){ f.b, sizeof(f.b) };
	if (io_loop_new(&f.l, &e) < 0)
		return -1;
	io_loop_each_round(f.l, &round);
	f.slot = io_loop_add_file(f.l, f.file, &e);
	*state = &f;
	return io_loop_start(f.l, NULL, &e);
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	io_loop_free(f->l);
	close(f->file);
	return 0;
}

static void
begin_write(void *arg)
{
	struct fixture *f = arg;

	io_loop_writev(f->l, &f->op, f->slot, f->iov, 2, 100, true);
}

static void
begin_read(void *arg)
{
	struct fixture *f = arg;

	io_loop_readv(f->l, &f->op, f->slot, f->iov, 2, 100);
}

static void
begin_sync(void *arg)
{
	struct fixture *f = arg;

	io_loop_fsync(f->l, &f->op, f->slot);
}

static void
begin_punch(void *arg)
{
	struct fixture *f = arg;

	io_loop_fallocate(f->l, &f->op, f->slot, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 8);
}

static void
what_is_written_is_read(void **state)
{
	struct fixture *f = *state;

	memcpy(f->a, "abcd", 4);
	memcpy(f->b, "efgh", 4);
	io_loop_call(f->l, begin_write, f);
	assert_int_equal(wait_done(f, 1), 8);
	memset(f->a, 0, 4);
	memset(f->b, 0, 4);
	io_loop_call(f->l, begin_read, f);
	assert_int_equal(wait_done(f, 2), 8);
	assert_memory_equal(f->a, "abcd", 4);
	assert_memory_equal(f->b, "efgh", 4);
	io_loop_call(f->l, begin_sync, f);
	assert_int_equal(wait_done(f, 3), 0);
	io_loop_call(f->l, begin_punch, f);
	assert_int_equal(wait_done(f, 4), 0);
	io_loop_call(f->l, begin_read, f);
	assert_int_equal(wait_done(f, 5), 8);
	assert_memory_equal(f->a, "\0\0\0\0", 4);
	assert_true(f->rounds > 4);
}

static void
an_error_is_told(void **state)
{
	struct fixture *f = *state;
	struct err e;
	int fd = open("/dev/null", O_RDONLY), keep = f->slot;

	f->slot = io_loop_add_file(f->l, fd, &e);
	assert_true(f->slot >= 0);
	io_loop_call(f->l, begin_write, f);
	assert_int_equal(wait_done(f, 1), -EBADF);
	io_loop_drop_file(f->l, f->slot);
	io_loop_call(f->l, begin_read, f);
	assert_int_equal(wait_done(f, 2), -EBADF);
	f->slot = keep;
	close(fd);
}

/* --- signals --------------------------------------------------------------------------------------- */

struct watcher {
	struct fixture *f;
	struct io_watch w;
	int fd;
	_Atomic int calls;
};

static void
on_signal(void *ctx)
{
	((struct watcher *)ctx)->calls++;
}

static void
begin_watch(void *arg)
{
	struct watcher *x = arg;

	io_loop_watch(x->f->l, &x->w);
}

static void
end_watch(void *arg)
{
	struct watcher *x = arg;

	io_loop_unwatch(x->f->l, &x->w);
}

static void
nothing(void *arg)
{
	(void)arg;
}

static void
wait_calls(struct watcher *x, int n)
{
	for (int i = 0; i < 5000 && x->calls < n; i++)
		usleep(1000);
	assert_true(x->calls >= n);
}

static void
each_signal_is_heard_until_nobody_watches(void **state)
{
	struct watcher x = { .f = *state, .fd = eventfd(0, EFD_NONBLOCK) };
	struct err e;
	int before;

	x.w = (struct io_watch){ on_signal, &x, io_loop_add_file(x.f->l, x.fd, &e) };
	io_loop_call(x.f->l, begin_watch, &x);
	for (int i = 1; i <= 3000; i++) { /* more than the completion queue holds */
		before = x.calls;
		eventfd_write(x.fd, 1);
		wait_calls(&x, before + 1);
	}
	io_loop_call(x.f->l, end_watch, &x);
	before = x.calls;
	eventfd_write(x.fd, 1);
	io_loop_call(x.f->l, nothing, NULL);
	assert_int_equal(x.calls, before);
	/* The slot's next owner is not taken for the last. */
	io_loop_call(x.f->l, begin_watch, &x);
	before = x.calls;
	eventfd_write(x.fd, 1);
	wait_calls(&x, before + 1);
	io_loop_call(x.f->l, end_watch, &x);
	io_loop_drop_file(x.f->l, x.w.slot);
	close(x.fd);
}

/* --- timers ---------------------------------------------------------------------------------------- */

struct alarm {
	struct fixture *f;
	struct io_timer t[3];
	_Atomic int rang;
	int order[3];
};

static void
ring(struct alarm *a, int which)
{
	a->order[a->rang] = which;
	a->rang++;
}

static void
ring0(void *ctx)
{
	ring(ctx, 0);
}

static void
ring1(void *ctx)
{
	ring(ctx, 1);
}

static void
ring2(void *ctx)
{
	ring(ctx, 2);
}

static void
set_alarms(void *arg)
{
	struct alarm *a = arg;
	uint64_t now = io_loop_now(a->f->l);

	for (int i = 0; i < 3; i++)
		a->t[i] = (struct io_timer){ .fn = (void (*[])(void *)){ ring0, ring1, ring2 }[i], .ctx = a };
	io_loop_timer(a->f->l, &a->t[0], now + 30000000);
	io_loop_timer(a->f->l, &a->t[1], now + 10000000);
	io_loop_timer(a->f->l, &a->t[2], now + 20000000);
	io_loop_timer(a->f->l, &a->t[2], 0);             /* disarmed */
	io_loop_timer(a->f->l, &a->t[0], now + 5000000); /* earlier now */
}

static void *
signal_without_end(void *arg)
{
	struct watcher *x = arg;

	while (!x->f->rest)
		eventfd_write(x->fd, 1);
	return NULL;
}

/* Whoever has the other end of what was forgotten learns of it, whatever else the loop still waits for. */
static void
a_forgotten_file_is_closed(void **state)
{
	struct fixture *f = *state;
	struct watcher quiet = { .f = f, .fd = eventfd(0, EFD_NONBLOCK) },
		       busy = { .f = f, .fd = eventfd(0, 0) };
	pthread_t t;
	struct err e;

	quiet.w = (struct io_watch){ on_signal, &quiet, io_loop_add_file(f->l, quiet.fd, &e) };
	busy.w = (struct io_watch){ on_signal, &busy, io_loop_add_file(f->l, busy.fd, &e) };
	io_loop_call(f->l, begin_watch, &quiet);
	io_loop_call(f->l, begin_watch, &busy);
	assert_int_equal(pthread_create(&t, NULL, signal_without_end, &busy), 0);
	for (int i = 0; i < 300; i++) {
		struct pollfd end;
		int fd[2], slot, calls;

		assert_int_equal(pipe2(fd, O_NONBLOCK), 0);
		slot = io_loop_add_file(f->l, fd[1], &e);
		assert_true(slot >= 0);
		close(fd[1]);
		end = (struct pollfd){ .fd = fd[0], .events = POLLIN };
		assert_int_equal(poll(&end, 1, 0), 0);
		io_loop_drop_file(f->l, slot);
		assert_int_equal(poll(&end, 1, 5000), 1);
		assert_int_equal(end.revents, POLLHUP);
		close(fd[0]);
		calls = quiet.calls;
		eventfd_write(quiet.fd, 1);
		wait_calls(&quiet, calls + 1);
		calls = busy.calls;
		wait_calls(&busy, calls + 1);
	}
	f->rest = true;
	pthread_join(t, NULL);
	io_loop_call(f->l, end_watch, &quiet);
	io_loop_call(f->l, end_watch, &busy);
	close(quiet.fd);
	close(busy.fd);
}

static void
alarms_ring_in_their_order(void **state)
{
	struct alarm a = { .f = *state };

	io_loop_call(a.f->l, set_alarms, &a);
	for (int i = 0; i < 5000 && a.rang < 2; i++)
		usleep(1000);
	usleep(30000);
	assert_int_equal(a.rang, 2);
	assert_int_equal(a.order[0], 0);
	assert_int_equal(a.order[1], 1);
}

/* --- walls ----------------------------------------------------------------------------------------- */

static int
refuse(struct err *e)
{
	return err_set(e, EPERM, "no");
}

static void
a_loop_whose_walls_fail_is_not_started(void **state)
{
	struct io_loop *l;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(io_loop_new(&l, &e), 0);
	assert_int_equal(io_loop_start(l, refuse, &e), -EPERM);
	assert_non_null(strstr(e.msg, "sandbox"));
	io_loop_free(l);
}

/* --- without a thread ------------------------------------------------------------------------------ */

static void
ring_once(void *ctx)
{
	++*(int *)ctx;
}

static void
a_tool_s_own_thread_is_the_loop_s(void **state)
{
	struct fixture f = { .op.done = op_done, .a = "abcd", .b = "efgh" };
	struct io_timer t = { .fn = ring_once };
	struct err e;
	FILE *file = tmpfile();
	int rang = 0;

	(void)state;
	pthread_mutex_init(&f.lock, NULL);
	pthread_cond_init(&f.cond, NULL);
	f.iov[0] = (struct iovec){ f.a, sizeof(f.a) };
	f.iov[1] = (struct iovec){ f.b, sizeof(f.b) };
	assert_int_equal(io_loop_new(&f.l, &e), 0);
	assert_int_equal(io_loop_here(f.l, &e), 0);
	f.slot = io_loop_add_file(f.l, fileno(file), &e);
	assert_true(f.slot >= 0);
	assert_false(io_loop_once(f.l)); /* and it does not wait for ever */
	begin_write(&f);
	assert_int_equal(f.done, 0); /* nothing happens but in a round */
	assert_true(io_loop_once(f.l));
	assert_int_equal(f.done, 1);
	assert_int_equal(f.res, 8);
	memset(f.a, 0, sizeof(f.a));
	begin_read(&f);
	assert_true(io_loop_once(f.l));
	assert_int_equal(f.done, 2);
	assert_memory_equal(f.a, "abcd", 4);
	assert_false(io_loop_once(f.l));
	t.ctx = &rang;
	io_loop_timer(f.l, &t, io_loop_now(f.l) + 1000000);
	while (io_loop_once(f.l))
		;
	assert_int_equal(rang, 1);
	io_loop_drop_file(f.l, f.slot);
	io_loop_free(f.l);
	fclose(file);
}

struct insistent {
	struct io_loop *l;
	struct io_timer t;
	int rang;
};

static void
ring_and_again(void *ctx)
{
	struct insistent *i = ctx;

	if (++i->rang < 100)
		io_loop_timer(i->l, &i->t, i->rang % 2 ? 1 : io_loop_now(i->l));
}

static void
an_alarm_that_sets_itself_again_lets_others_have_their_turn(void **state)
{
	struct insistent i = { .t.fn = ring_and_again };
	struct err e;
	int rounds = 0;

	(void)state;
	assert_int_equal(io_loop_new(&i.l, &e), 0);
	assert_int_equal(io_loop_here(i.l, &e), 0);
	i.t.ctx = &i;
	io_loop_timer(i.l, &i.t, 1);
	while (io_loop_once(i.l)) {
		rounds++;
		assert_int_equal(i.rang, rounds);
	}
	assert_int_equal(rounds, 100);
	io_loop_free(i.l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_written_is_read, setup, teardown),
		cmocka_unit_test_setup_teardown(an_error_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(each_signal_is_heard_until_nobody_watches, setup, teardown),
		cmocka_unit_test_setup_teardown(a_forgotten_file_is_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(alarms_ring_in_their_order, setup, teardown),
		cmocka_unit_test(a_loop_whose_walls_fail_is_not_started),
		cmocka_unit_test(a_tool_s_own_thread_is_the_loop_s),
		cmocka_unit_test(an_alarm_that_sets_itself_again_lets_others_have_their_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
