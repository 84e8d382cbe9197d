/*
 * hypervisor/core/io_loop.c - an I/O thread on io_uring.
 *
 * A round: what is due (timers), what the ring has completed, what was asked to be done once a round; then
 * one system call gives the kernel all that was begun and sleeps until something completes. Eventfds are
 * watched by polls that stay armed, so that a guest's signal costs no system call but the one the thread
 * sleeps in.
 */
#include "hypervisor/core/io_loop.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"

#define SECOND 1000000000ull

enum {
	SQ_ENTRIES = 128,
	CQ_ENTRIES = 1024,
	/* The kernel makes threads for what it cannot begin without waiting (flushes, discards), each counted
	 * in the worker's pids.max: at most so many for files, and as many for what else there is. */
	KERNEL_THREADS = 16,
};

struct io_loop {
	struct io_uring ring;
	bool have_ring, running, here;
	pthread_t thread;
	int (*walls)(struct err *);
	bool used[IO_LOOP_FILES];

	struct io_watch mail;
	int mail_fd;
	pthread_mutex_t lock; /* below */
	pthread_cond_t answered;
	void (*call)(void *arg); /* what the control thread wants done; NULL: nothing, or done */
	void *call_arg;
	bool started, refused, quit;

	/* The loop's thread alone. */
	struct {
		struct io_watch *watch; /* NULL: nobody watches that slot */
		uint32_t turn;
	} watched[IO_LOOP_FILES];
	struct io_timer *timers; /* earliest first */
	uint64_t rang_at;        /* what was due then has rung */
	struct io_round *rounds;
	uint64_t in_flight; /* operations, without watches */
};

/* --- the kernel's side of the walls ---------------------------------------------------------------- */

static const uint8_t allowed_operations[] = {
	IORING_OP_READ,
	IORING_OP_READV,
	IORING_OP_WRITE,
	IORING_OP_WRITEV,
	IORING_OP_FSYNC,
	IORING_OP_FALLOCATE,
	IORING_OP_POLL_ADD,
	IORING_OP_POLL_REMOVE,
};
enum { OPERATIONS = sizeof(allowed_operations) };

/* From when the ring is enabled: these operations, on registered files, and nothing else. */
static int
restrict_ring(struct io_uring *ring)
{
	struct io_uring_restriction r[OPERATIONS + 3] = { 0 };

	for (size_t i = 0; i < OPERATIONS; i++) {
		r[i].opcode = IORING_RESTRICTION_SQE_OP;
		r[i].sqe_op = allowed_operations[i];
	}
	r[OPERATIONS].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
	r[OPERATIONS].sqe_flags = IOSQE_FIXED_FILE;
	r[OPERATIONS + 1].opcode = IORING_RESTRICTION_REGISTER_OP;
	r[OPERATIONS + 1].register_op = IORING_REGISTER_FILES_UPDATE;
	r[OPERATIONS + 2].opcode = IORING_RESTRICTION_REGISTER_OP;
	r[OPERATIONS + 2].register_op = IORING_REGISTER_ENABLE_RINGS;
	return io_uring_register_restrictions(ring, r, OPERATIONS + 3);
}

static int
make_ring(struct io_loop *l, struct err *e)
{
	unsigned workers[2] = { KERNEL_THREADS, KERNEL_THREADS };
	struct io_uring_params p = { .cq_entries = CQ_ENTRIES,
		.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER |
			 IORING_SETUP_DEFER_TASKRUN };
	int rc = io_uring_queue_init_params(SQ_ENTRIES, &l->ring, &p);

	if (rc < 0)
		return err_set(e, -rc, "io_uring: %s", strerror(-rc));
	l->have_ring = true;
	rc = io_uring_register_files_sparse(&l->ring, IO_LOOP_FILES);
	if (rc == 0)
		rc = io_uring_register_iowq_max_workers(&l->ring, workers);
	if (rc == 0)
		rc = restrict_ring(&l->ring);
	return rc < 0 ? err_set(e, -rc, "io_uring: its files or restrictions: %s", strerror(-rc)) : 0;
}

/* --- operations ------------------------------------------------------------------------------------ */

static struct io_uring_sqe *
next_sqe(struct io_loop *l)
{
	struct io_uring_sqe *s = io_uring_get_sqe(&l->ring);

	while (!s) { /* full: the kernel takes what is there */
		io_uring_submit(&l->ring);
		s = io_uring_get_sqe(&l->ring);
	}
	return s;
}

static void
begin(struct io_loop *l, struct io_uring_sqe *s, struct io_op *op)
{
	l->in_flight++;
	s->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data(s, op);
}

void
io_loop_readv(
    struct io_loop *l, struct io_op *op, int slot, const struct iovec *iov, unsigned n, uint64_t off)
{
	struct io_uring_sqe *s = next_sqe(l);

	if (n == 1 && iov->iov_len <= UINT32_MAX)
		io_uring_prep_read(s, slot, iov->iov_base, (unsigned)iov->iov_len, off);
	else
		io_uring_prep_readv(s, slot, iov, n, off);
	begin(l, s, op);
}

void
io_loop_writev(struct io_loop *l, struct io_op *op, int slot, const struct iovec *iov, unsigned n,
    uint64_t off, bool fua)
{
	struct io_uring_sqe *s = next_sqe(l);

	if (n == 1 && iov->iov_len <= UINT32_MAX)
		io_uring_prep_write(s, slot, iov->iov_base, (unsigned)iov->iov_len, off);
	else
		io_uring_prep_writev(s, slot, iov, n, off);
	s->rw_flags = fua ? RWF_DSYNC : 0;
	begin(l, s, op);
}

void
io_loop_read_now(struct io_loop *l, struct io_op *op, int slot, const struct iovec *iov, unsigned n)
{
	struct io_uring_sqe *s = next_sqe(l);

	io_uring_prep_readv(s, slot, iov, n, 0);
	s->rw_flags = RWF_NOWAIT;
	begin(l, s, op);
}

void
io_loop_write_now(struct io_loop *l, struct io_op *op, int slot, const struct iovec *iov, unsigned n)
{
	struct io_uring_sqe *s = next_sqe(l);

	io_uring_prep_writev(s, slot, iov, n, 0);
	s->rw_flags = RWF_NOWAIT;
	begin(l, s, op);
}

void
io_loop_fsync(struct io_loop *l, struct io_op *op, int slot)
{
	struct io_uring_sqe *s = next_sqe(l);

	io_uring_prep_fsync(s, slot, IORING_FSYNC_DATASYNC);
	begin(l, s, op);
}

void
io_loop_fallocate(struct io_loop *l, struct io_op *op, int slot, int mode, uint64_t off, uint64_t len)
{
	struct io_uring_sqe *s = next_sqe(l);

	/* Not io_uring_prep_fallocate: its types differ between versions of liburing. */
	io_uring_prep_rw(IORING_OP_FALLOCATE, s, slot, NULL, (unsigned)mode, off);
	s->addr = len;
	begin(l, s, op);
}

/* --- watched eventfds ------------------------------------------------------------------------------ */

/*
 * A poll may still have something to say when its watch is gone and its slot is another's. So completions of
 * polls do not carry a pointer but an odd number: the slot, and which watch of that slot it was.
 */
static uint64_t
watch_tag(const struct io_loop *l, int slot)
{
	return (uint64_t)(unsigned)slot << 32 | (uint64_t)l->watched[slot].turn << 1 | 1;
}

static void
arm_watch(struct io_loop *l, int slot)
{
	struct io_uring_sqe *s = next_sqe(l);

	io_uring_prep_poll_multishot(s, slot, POLLIN);
	s->flags |= IOSQE_FIXED_FILE;
	s->user_data = watch_tag(l, slot);
}

void
io_loop_watch(struct io_loop *l, struct io_watch *w)
{
	l->watched[w->slot].turn = (l->watched[w->slot].turn + 1) & 0x7fffffff;
	l->watched[w->slot].watch = w;
	arm_watch(l, w->slot);
}

static void
end_poll(struct io_loop *l, uint64_t tag)
{
	struct io_uring_sqe *s = next_sqe(l);

	io_uring_prep_poll_remove(s, tag);
	s->flags |= IOSQE_FIXED_FILE;
	s->user_data = 0; /* its result interests nobody */
}

void
io_loop_unwatch(struct io_loop *l, struct io_watch *w)
{
	if (l->watched[w->slot].watch != w)
		return;
	l->watched[w->slot].watch = NULL;
	end_poll(l, watch_tag(l, w->slot));
}

/* Each poll ends and begins anew. No signal is lost: nobody reads the eventfds, so a new poll hears at once
 * of one that was ever signalled. */
static void
renew_watches(struct io_loop *l)
{
	for (int slot = 0; slot < IO_LOOP_FILES; slot++) {
		if (!l->watched[slot].watch)
			continue;
		end_poll(l, watch_tag(l, slot));
		io_loop_watch(l, l->watched[slot].watch);
	}
}

static void
signalled(struct io_loop *l, uint64_t tag, bool more)
{
	int slot = (int)(tag >> 32);
	struct io_watch *w = slot < IO_LOOP_FILES ? l->watched[slot].watch : NULL;

	if (!w || tag != watch_tag(l, slot)) {
		if (more)
			end_poll(l, tag); /* the kernel does not end one that is being signalled */
		return;
	}
	if (!more)
		arm_watch(l, slot); /* the kernel has ended it: too many completions at once */
	w->fn(w->ctx);
}

/* --- timers ---------------------------------------------------------------------------------------- */

uint64_t
io_loop_now(const struct io_loop *l)
{
	struct timespec t;

	(void)l;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
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
	if (at <= l->rang_at) /* not in this round: others have their turn */
		at = t->at = l->rang_at + 1;
	for (p = &l->timers; *p && (*p)->at <= at; p = &(*p)->next)
		;
	t->next = *p;
	*p = t;
}

static void
run_timers(struct io_loop *l)
{
	if (!l->timers)
		return;
	l->rang_at = io_loop_now(l);
	while (l->timers && l->timers->at <= l->rang_at) {
		struct io_timer *t = l->timers;

		l->timers = t->next;
		t->at = 0;
		t->fn(t->ctx); /* may set itself again */
	}
}

/* --- rounds ---------------------------------------------------------------------------------------- */

void
io_loop_each_round(struct io_loop *l, struct io_round *r)
{
	struct io_round **p = &l->rounds;

	while (*p)
		p = &(*p)->next;
	r->next = NULL;
	*p = r;
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

static void
deliver(struct io_loop *l)
{
	struct io_uring_cqe *c;
	unsigned head, n = 0;

	io_uring_for_each_cqe(&l->ring, head, c)
	{
		uint64_t tag = c->user_data;
		int res = c->res;
		bool more = c->flags & IORING_CQE_F_MORE;

		n++;
		if (tag & 1) {
			signalled(l, tag, more && res >= 0);
		} else if (tag != 0) {
			l->in_flight--;
			((struct io_op *)(uintptr_t)tag)->done((struct io_op *)(uintptr_t)tag, res);
		}
	}
	io_uring_cq_advance(&l->ring, n);
}

/* What was begun goes to the kernel; sleeps until something is done or due. */
static void
sleep_round(struct io_loop *l)
{
	struct io_uring_cqe *c;
	struct __kernel_timespec ts, *until = NULL;

	if (l->timers) {
		uint64_t now = io_loop_now(l), left = l->timers->at > now ? l->timers->at - now : 0;

		ts = (struct __kernel_timespec){ .tv_sec = (long long)(left / SECOND),
			.tv_nsec = (long long)(left % SECOND) };
		until = &ts;
	}
	if (until)
		io_uring_submit_and_wait_timeout(&l->ring, &c, 1, until, NULL);
	else
		io_uring_submit_and_wait(&l->ring, 1);
}

static void
round_once(struct io_loop *l)
{
	sleep_round(l);
	deliver(l);
	run_timers(l);
	for (struct io_round *r = l->rounds; r; r = r->next)
		r->fn(r->ctx);
}

static void
run(struct io_loop *l)
{
	while (!l->quit)
		round_once(l);
}

bool
io_loop_once(struct io_loop *l)
{
	if (!l->here || (!l->in_flight && !l->timers))
		return false;
	round_once(l);
	return true;
}

/* --- the control thread's side --------------------------------------------------------------------- */

static void
read_mail(void *ctx)
{
	struct io_loop *l = ctx;

	pthread_mutex_lock(&l->lock);
	if (l->call) {
		void (*fn)(void *) = l->call;

		pthread_mutex_unlock(&l->lock); /* fn may take long; the caller waits for the answer alone */
		fn(l->call_arg);
		pthread_mutex_lock(&l->lock);
		l->call = NULL;
		pthread_cond_broadcast(&l->answered);
	}
	pthread_mutex_unlock(&l->lock);
}

void
io_loop_call(struct io_loop *l, void (*fn)(void *arg), void *arg)
{
	if (!l->running) { /* nobody else is there yet */
		fn(arg);
		return;
	}
	pthread_mutex_lock(&l->lock);
	l->call_arg = arg;
	l->call = fn;
	eventfd_write(l->mail_fd, 1);
	while (l->call)
		pthread_cond_wait(&l->answered, &l->lock);
	pthread_mutex_unlock(&l->lock);
}

struct slot_change {
	struct io_loop *l;
	int slot, fd, rc;
};

static void
change_slot(void *arg)
{
	struct slot_change *c = arg;

	c->rc = io_uring_register_files_update(&c->l->ring, (unsigned)c->slot, &c->fd, 1);
}

/*
 * Kernels before 6.13 put a file that left the table only when every request has ended that was begun while
 * it was there, whatever file those are for. Polls never end of themselves, so they are taken up anew.
 */
static void
empty_slot(void *arg)
{
	struct slot_change *c = arg;

	change_slot(c);
	if (!c->l->running)
		return; /* no thread yet, or no more: there the ring's end closes the file */
	renew_watches(c->l);
	io_uring_submit_and_get_events(&c->l->ring);
}

int
io_loop_add_file(struct io_loop *l, int fd, struct err *e)
{
	struct slot_change c = { .l = l, .slot = 0, .fd = fd };

	while (c.slot < IO_LOOP_FILES && l->used[c.slot])
		c.slot++;
	if (c.slot == IO_LOOP_FILES)
		return err_set(e, EMFILE, "an I/O thread can hold %d files", IO_LOOP_FILES);
	io_loop_call(l, change_slot, &c);
	if (c.rc < 0)
		return err_set(e, -c.rc, "io_uring: a file cannot be used: %s", strerror(-c.rc));
	l->used[c.slot] = true;
	return c.slot;
}

void
io_loop_drop_file(struct io_loop *l, int slot)
{
	struct slot_change c = { .l = l, .slot = slot, .fd = -1 };

	if (slot < 0)
		return;
	io_loop_call(l, empty_slot, &c);
	l->used[slot] = false;
}

/* --- life ------------------------------------------------------------------------------------------ */

int
io_loop_new(struct io_loop **out, struct err *e)
{
	struct io_loop *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return err_set(e, ENOMEM, "I/O thread: out of memory");
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->answered, NULL);
	l->mail_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = l->mail_fd < 0 ? err_sys(e, "eventfd") : make_ring(l, e);
	if (rc == 0)
		rc = io_loop_add_file(l, l->mail_fd, e);
	if (rc < 0) {
		io_loop_free(l);
		return rc;
	}
	l->mail = (struct io_watch){ .fn = read_mail, .ctx = l, .slot = rc };
	*out = l;
	return 0;
}

/* The ring belongs to the thread that enables it. */
static void *
loop_thread(void *arg)
{
	struct io_loop *l = arg;
	struct err e = { 0 };
	int rc = io_uring_enable_rings(&l->ring);

	if (rc < 0)
		err_set(&e, -rc, "io_uring: %s", strerror(-rc));
	else if (l->walls)
		rc = l->walls(&e);
	if (rc < 0)
		log_msg(LOG_ERROR, "I/O thread: %s", e.msg);
	pthread_mutex_lock(&l->lock);
	l->started = true;
	l->refused = rc < 0;
	pthread_cond_broadcast(&l->answered);
	pthread_mutex_unlock(&l->lock);
	if (rc < 0)
		return NULL;
	io_loop_watch(l, &l->mail);
	run(l);
	return NULL;
}

int
io_loop_here(struct io_loop *l, struct err *e)
{
	int rc = io_uring_enable_rings(&l->ring);

	l->here = rc >= 0;
	return rc < 0 ? err_set(e, -rc, "io_uring: %s", strerror(-rc)) : 0;
}

bool
io_loop_has_thread(const struct io_loop *l)
{
	return l->running;
}

int
io_loop_start(struct io_loop *l, int (*walls)(struct err *), struct err *e)
{
	pthread_attr_t attr;
	int rc;

	l->walls = walls;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 128 * 1024);
	rc = pthread_create(&l->thread, &attr, loop_thread, l);
	pthread_attr_destroy(&attr);
	if (rc)
		return err_set(e, rc, "I/O thread: %s", strerror(rc));
	pthread_mutex_lock(&l->lock);
	while (!l->started)
		pthread_cond_wait(&l->answered, &l->lock);
	pthread_mutex_unlock(&l->lock);
	if (l->refused) {
		pthread_join(l->thread, NULL);
		return err_set(e, EPERM, "an I/O thread could not close its sandbox: see the log");
	}
	l->running = true;
	return 0;
}

static void
end_loop(void *arg)
{
	((struct io_loop *)arg)->quit = true;
}

void
io_loop_stop(struct io_loop *l)
{
	if (!l->running)
		return;
	io_loop_call(l, end_loop, l);
	pthread_join(l->thread, NULL);
	l->running = false;
}

void
io_loop_free(struct io_loop *l)
{
	if (!l)
		return;
	io_loop_stop(l);
	if (l->have_ring)
		io_uring_queue_exit(&l->ring);
	if (l->mail_fd >= 0)
		close(l->mail_fd);
	free(l);
}
