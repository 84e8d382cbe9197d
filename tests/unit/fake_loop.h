/*
 * tests/unit/fake_loop.h - an I/O loop without thread, io_uring and time: for tests and fuzz targets of what
 * runs on one. A program that includes it defines all of core/io_loop.h.
 *
 * The test plays the thread: fake_loop_run goes round until nothing is left to do; fake_loop_pass lets time
 * pass. Operations on files are done when the loop runs, by the calls that io_uring would make, unless the
 * test says what they answer (fake_loop.answer).
 */
#ifndef TESTS_UNIT_FAKE_LOOP_H
#define TESTS_UNIT_FAKE_LOOP_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "hypervisor/core/io_loop.h"

#ifndef FAKE_LOOP_FILES /* another where more are needed */
#define FAKE_LOOP_FILES 16
#endif

enum { FAKE_LOOP_OPS = 256, FAKE_LOOP_ROUNDS = 10000 };

enum fake_op_kind { FAKE_READV, FAKE_WRITEV, FAKE_FSYNC, FAKE_FALLOCATE };

struct fake_op {
	enum fake_op_kind kind;
	struct io_op *op;
	int slot, mode;
	const struct iovec *iov;
	unsigned n;
	uint64_t off, len;
	bool fua;
	bool now; /* does not wait */
};

struct io_loop {
	uint64_t now;
	int fd[FAKE_LOOP_FILES]; /* 0: free, else fd + 1 */
	struct io_watch *watch[FAKE_LOOP_FILES];
	bool poked[FAKE_LOOP_FILES]; /* a watched socket has something: it is told once (fake_loop_poke) */
	struct io_timer *timers;
	struct io_round *rounds;
	struct fake_op op[FAKE_LOOP_OPS];
	unsigned ops;
	/* What an operation answers; *answered false: what the system says. NULL: always that. */
	int (*answer)(const struct fake_op *o, bool *answered);
	unsigned begun[FAKE_FALLOCATE + 1];
	bool prompt; /* what a call has begun is done when it returns */
};

static inline struct io_loop *
fake_loop_new(void)
{
	struct io_loop *l = calloc(1, sizeof(*l));

	if (l == NULL)
		abort();
	l->now = 1000000000;
	return l;
}

static inline bool
fake_is_socket(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* On a socket an operation waits until it can do something, unless it is to be done now or not at all. */
static inline bool
fake_op_is_ready(const struct io_loop *l, const struct fake_op *o)
{
	struct pollfd p = { .fd = l->fd[o->slot] - 1, .events = o->kind == FAKE_READV ? POLLIN : POLLOUT };

	return o->now || !fake_is_socket(p.fd) || poll(&p, 1, 0) == 1;
}

static inline int
fake_op_do(const struct io_loop *l, const struct fake_op *o)
{
	int fd = l->fd[o->slot] - 1;
	ssize_t n = 0;

	if (fake_is_socket(fd)) {
		const struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)o->iov, .msg_iovlen = o->n };

		n = o->kind == FAKE_READV ? readv(fd, o->iov, (int)o->n)
					  : sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	} else if (o->kind == FAKE_READV)
		n = preadv(fd, o->iov, (int)o->n, (off_t)o->off);
	else if (o->kind == FAKE_WRITEV)
		n = pwritev2(fd, o->iov, (int)o->n, (off_t)o->off, o->fua ? RWF_DSYNC : 0);
	else if (o->kind == FAKE_FSYNC)
		n = fdatasync(fd);
	else
		n = fallocate(fd, o->mode, (off_t)o->off, (off_t)o->len);
	return n < 0 ? -errno : (int)n;
}

/* The first that can be done now; l->ops: there is none. */
static inline unsigned
fake_loop_first(const struct io_loop *l)
{
	unsigned i = 0;

	while (i < l->ops && !fake_op_is_ready(l, &l->op[i]))
		i++;
	return i;
}

static inline bool
fake_loop_ops(struct io_loop *l)
{
	unsigned i = fake_loop_first(l);
	struct fake_op o;
	bool answered = false;
	int res = 0;

	if (i == l->ops)
		return false;
	o = l->op[i];
	memmove(l->op + i, l->op + i + 1, (--l->ops - i) * sizeof(l->op[0]));
	if (l->answer != NULL)
		res = l->answer(&o, &answered);
	if (!answered)
		res = fake_op_do(l, &o);
	o.op->done(o.op, res);
	return true;
}

static inline bool
fake_loop_timers(struct io_loop *l)
{
	struct io_timer **earliest = NULL, *t;

	for (struct io_timer **p = &l->timers; *p; p = &(*p)->next)
		if ((*p)->at <= l->now && (!earliest || (*p)->at < (*earliest)->at))
			earliest = p;
	if (!earliest)
		return false;
	t = *earliest;
	*earliest = t->next;
	t->at = 0;
	t->fn(t->ctx);
	return true;
}

/* Something has come into a socket that is watched. */
static inline void
fake_loop_poke(struct io_loop *l)
{
	memset(l->poked, true, sizeof(l->poked));
}

static inline bool
fake_loop_watches(struct io_loop *l)
{
	bool any = false;

	for (int i = 0; i < FAKE_LOOP_FILES; i++) {
		struct pollfd p = { .fd = l->fd[i] - 1, .events = POLLIN };
		eventfd_t n;

		if (!l->watch[i] || poll(&p, 1, 0) != 1)
			continue;
		if (!fake_is_socket(p.fd))
			eventfd_read(p.fd, &n);
		else if (!l->poked[i])
			continue;
		l->poked[i] = false;
		any = true;
		l->watch[i]->fn(l->watch[i]->ctx);
	}
	return any;
}

static inline void
fake_loop_rounds(struct io_loop *l)
{
	for (struct io_round *r = l->rounds; r; r = r->next)
		r->fn(r->ctx);
}

static inline bool
fake_loop_is_due(const struct io_loop *l)
{
	for (struct io_timer *t = l->timers; t; t = t->next)
		if (t->at <= l->now)
			return true;
	return false;
}

/* Until there is nothing to do now; false when there was no end. */
static inline bool
fake_loop_run(struct io_loop *l)
{
	for (unsigned i = 0; i < FAKE_LOOP_ROUNDS; i++) {
		bool any = fake_loop_watches(l);

		while (fake_loop_timers(l))
			any = true;
		while (fake_loop_ops(l))
			any = true;
		fake_loop_rounds(l);
		if (!any && !fake_loop_is_due(l) && fake_loop_first(l) == l->ops)
			return true;
	}
	return false;
}

/* Time passes, from alarm to alarm. */
static inline void
fake_loop_pass(struct io_loop *l, uint64_t ns)
{
	uint64_t end = l->now + ns;

	while (l->now < end) {
		uint64_t next = end;

		for (struct io_timer *t = l->timers; t; t = t->next)
			if (t->at > l->now && t->at < next)
				next = t->at;
		l->now = next;
		fake_loop_run(l);
	}
}

int
io_loop_new(struct io_loop **out, struct err *e)
{
	(void)e;
	*out = fake_loop_new();
	return 0;
}

int
io_loop_start(struct io_loop *l, int (*walls)(struct err *), struct err *e)
{
	(void)l, (void)walls, (void)e;
	return 0;
}

int
io_loop_here(struct io_loop *l, struct err *e)
{
	(void)l, (void)e;
	return 0;
}

bool
io_loop_once(struct io_loop *l)
{
	bool any = l->ops || l->timers;

	fake_loop_run(l);
	return any;
}

bool
io_loop_has_thread(const struct io_loop *l)
{
	(void)l;
	return false;
}

void
io_loop_stop(struct io_loop *l)
{
	(void)l;
}

void
io_loop_free(struct io_loop *l)
{
	free(l);
}

int
io_loop_add_file(struct io_loop *l, int fd, struct err *e)
{
	for (int i = 0; i < FAKE_LOOP_FILES; i++)
		if (l->fd[i] == 0) {
			l->fd[i] = fd + 1;
			return i;
		}
	return err_set(e, EMFILE, "no slot is free");
}

void
io_loop_drop_file(struct io_loop *l, int slot)
{
	if (l->fd[slot] == 0 || l->watch[slot] != NULL)
		abort();
	l->fd[slot] = 0;
}

void
io_loop_call(struct io_loop *l, void (*fn)(void *arg), void *arg)
{
	fn(arg);
	fake_loop_rounds(l);
	while (l->prompt && fake_loop_ops(l))
		;
}

static inline void
fake_loop_begin(struct io_loop *l, const struct fake_op *o)
{
	if (l->ops == FAKE_LOOP_OPS || l->fd[o->slot] == 0)
		abort();
	l->begun[o->kind]++;
	l->op[l->ops++] = *o;
}

void
io_loop_readv(
    struct io_loop *l, struct io_op *op, int slot, const struct iovec *iov, unsigned n, uint64_t off)
{
	fake_loop_begin(l, &(struct fake_op){ FAKE_READV, op, slot, 0, iov, n, off, 0, false, false });
}

void
io_loop_writev(struct io_loop *l, struct io_op *op, int slot, const struct iovec *iov, unsigned n,
    uint64_t off, bool fua)
{
	fake_loop_begin(l, &(struct fake_op){ FAKE_WRITEV, op, slot, 0, iov, n, off, 0, fua, false });
}

void
io_loop_read_now(struct io_loop *l, struct io_op *op, int slot, const struct iovec *iov, unsigned n)
{
	fake_loop_begin(l, &(struct fake_op){ FAKE_READV, op, slot, 0, iov, n, 0, 0, false, true });
}

void
io_loop_write_now(struct io_loop *l, struct io_op *op, int slot, const struct iovec *iov, unsigned n)
{
	fake_loop_begin(l, &(struct fake_op){ FAKE_WRITEV, op, slot, 0, iov, n, 0, 0, false, true });
}

void
io_loop_fsync(struct io_loop *l, struct io_op *op, int slot)
{
	fake_loop_begin(l, &(struct fake_op){ FAKE_FSYNC, op, slot, 0, NULL, 0, 0, 0, false, false });
}

void
io_loop_fallocate(struct io_loop *l, struct io_op *op, int slot, int mode, uint64_t off, uint64_t len)
{
	fake_loop_begin(
	    l, &(struct fake_op){ FAKE_FALLOCATE, op, slot, mode, NULL, 0, off, len, false, false });
}

void
io_loop_watch(struct io_loop *l, struct io_watch *w)
{
	l->watch[w->slot] = w;
	l->poked[w->slot] = true;
}

void
io_loop_unwatch(struct io_loop *l, struct io_watch *w)
{
	if (l->watch[w->slot] == w)
		l->watch[w->slot] = NULL;
}

void
io_loop_timer(struct io_loop *l, struct io_timer *t, uint64_t at)
{
	struct io_timer **p = &l->timers;

	while (*p && *p != t)
		p = &(*p)->next;
	if (*p)
		*p = t->next;
	t->at = at;
	if (at == 0)
		return;
	t->next = l->timers;
	l->timers = t;
}

uint64_t
io_loop_now(const struct io_loop *l)
{
	return l->now;
}

void
io_loop_each_round(struct io_loop *l, struct io_round *r)
{
	r->next = l->rounds;
	l->rounds = r;
}

void
io_loop_end_round(struct io_loop *l, struct io_round *r)
{
	struct io_round **p = &l->rounds;

	while (*p && *p != r)
		p = &(*p)->next;
	if (*p)
		*p = r->next;
}

#endif
