/*
 * hypervisor/disk/mirror.c - a merge under a running machine: requests that go to two disks, and the cursor
 * between what was moved and what was not.
 */
#include "hypervisor/disk/mirror.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "hypervisor/disk/layers.h"
#include "hypervisor/disk/merge.h"
#include "hypervisor/disk/mover.h"

enum {
	SLOTS = 64,          /* writes in flight; more of them wait */
	PIECE = 1 << 20,     /* bytes of a write that goes to both, at a time */
	STEP = 4 << 20,      /* bytes that are moved at a time, and that a write may have to wait for */
	SKIPS = 256,         /* extents that are looked at before others have their turn */
	PAUSE_MAX = 50000000 /* ns between two steps, while the machine has requests */
};

#define AGAIN_NS 50000ull /* a table page is being read */

/* A request of the machine on its way: to the top, and maybe to the parent after it. */
struct slot {
	struct mirror *m;
	struct disk_io *guest; /* NULL: free */
	bool both;
	uint64_t at, n; /* the piece, from guest->offset on */
	struct disk_io io;
	struct iovec iov;
	uint8_t *buf; /* PIECE bytes, which become memory when they are used */
};

struct mirror {
	struct disk disk; /* first */
	struct mirror_how how;
	struct mover *mover;
	struct layer_find find;
	struct merge_cursor cursor;
	struct slot slot[SLOTS];
	uint8_t *buffers;
	struct disk_io *waiting, **waiting_last;

	enum mirror_state state;
	bool begun, going, once_more; /* going: in go() */
	bool stepping, step_ended, flushing;
	struct io_timer timer;
	uint64_t step_began;
	uint64_t rewind; /* where a write to the top failed: it is moved again from there; UINT64_MAX */
	unsigned asked;  /* requests of the machine since the step began */
	struct disk_io flush;
	struct err why; /* it ends: as soon as nothing of its own is in flight */
};

static void go(struct mirror *m);

/* The first reason counts. */
static void
give_up(struct mirror *m, int rc, const char *what)
{
	if (!m->why.code)
		err_set(&m->why, -rc, "%s: %s", what, strerror(-rc));
}

static bool
is_over(const struct mirror *m)
{
	return m->state == MIRROR_ENDED;
}

/* --- requests --------------------------------------------------------------------------------------- */

static bool
overlap(const struct disk_io *io, uint64_t offset, uint64_t len)
{
	return io->offset < offset + len && offset < io->offset + io->len;
}

/* A write in flight in the range; NULL: none. */
static const struct slot *
writer_in(const struct mirror *m, uint64_t offset, uint64_t len)
{
	for (const struct slot *s = m->slot; s < m->slot + SLOTS; s++)
		if (s->guest && s->guest->op != DISK_FLUSH && overlap(s->guest, offset, len))
			return s;
	return NULL;
}

static void
end_request(struct slot *s, int rc)
{
	struct mirror *m = s->m;
	struct disk_io *guest = s->guest;

	s->guest = NULL;
	guest->done(guest, rc);
	go(m);
}

/* The piece's data, as it is now. */
static void
gather(struct slot *s)
{
	uint64_t skip = s->at, left = s->n;
	uint8_t *to = s->buf;

	for (const struct iovec *v = s->guest->iov; left; v++) {
		uint64_t have = v->iov_len > skip ? v->iov_len - skip : 0, n = have < left ? have : left;

		memcpy(to, (const uint8_t *)v->iov_base + (n ? skip : 0), n);
		skip = v->iov_len > skip ? 0 : skip - v->iov_len;
		to += n;
		left -= n;
	}
}

static void to_top(struct slot *s);

static void
piece_ended(struct slot *s)
{
	s->at += s->n;
	if (s->at < s->guest->len)
		to_top(s);
	else
		end_request(s, 0);
}

static void
parent_done(struct disk_io *io, int rc)
{
	struct slot *s = (struct slot *)((char *)io - offsetof(struct slot, io));
	struct mirror *m = s->m;

	if (rc < 0 && m->state == MIRROR_MERGED) {
		end_request(s, rc);
		return;
	}
	if (rc < 0)
		give_up(m, rc,
		    s->guest->op == DISK_FLUSH ? "the parent cannot be flushed"
					       : "the parent cannot be written to");
	piece_ended(s);
}

static void
to_parent(struct slot *s)
{
	const struct disk_io *guest = s->guest;

	s->iov = (struct iovec){ s->buf, s->n };
	s->io = (struct disk_io){ .op = guest->op,
		.fua = guest->fua,
		.unmap = guest->unmap,
		.offset = guest->offset + s->at,
		.len = s->n,
		.iov = &s->iov,
		.iovs = guest->op == DISK_WRITE,
		.done = parent_done };
	if (guest->op == DISK_DISCARD) { /* the same as the top has now */
		s->io.op = DISK_ZERO;
		s->io.unmap = true;
	}
	disk_submit(s->m->how.parent, &s->io);
}

/* What the top has now nobody knows: it is moved once more. A machine that was told that both have everything
 * was told of the failure, too. */
static void
top_failed(struct slot *s)
{
	struct mirror *m = s->m;

	if (s->both && m->state != MIRROR_MERGED && s->guest->op != DISK_FLUSH &&
	    s->guest->offset < m->rewind)
		m->rewind = s->guest->offset;
}

static void
top_done(struct disk_io *io, int rc)
{
	struct slot *s = (struct slot *)((char *)io - offsetof(struct slot, io));

	if (rc < 0) {
		top_failed(s);
		end_request(s, rc);
	} else if (s->both && !is_over(s->m)) {
		to_parent(s);
	} else {
		piece_ended(s);
	}
}

static void
to_top(struct slot *s)
{
	struct disk_io *guest = s->guest;
	struct disk *top = s->m->how.top;

	s->n = guest->len - s->at;
	s->io = *guest;
	if (s->both && guest->op == DISK_WRITE) {
		s->n = s->n < PIECE ? s->n : PIECE;
		gather(s);
		s->iov = (struct iovec){ s->buf, s->n };
		s->io.iov = &s->iov;
		s->io.iovs = 1;
	} else if (s->both && guest->op == DISK_DISCARD && !top->discard_zeroes) {
		s->io.op = DISK_ZERO;
		s->io.unmap = true;
	}
	s->io.offset += s->at;
	s->io.len = s->n;
	s->io.done = top_done;
	disk_submit(top, &s->io);
}

static struct slot *
free_slot(struct mirror *m)
{
	for (struct slot *s = m->slot; s < m->slot + SLOTS; s++)
		if (!s->guest)
			return s;
	return NULL;
}

/* Where it goes, when it can go now. */
static bool
may_go(const struct mirror *m, const struct disk_io *io, bool *both)
{
	enum merge_route route;

	*both = m->state == MIRROR_FLUSHING || m->state == MIRROR_MERGED;
	if (io->op == DISK_FLUSH)
		return true;
	if (writer_in(m, io->offset, io->len))
		return false;
	route = merge_route(&m->cursor, io->offset, io->len);
	*both = route == MERGE_BOTH;
	return route != MERGE_WAIT;
}

/* False: later. */
static bool
start(struct mirror *m, struct disk_io *io)
{
	bool both;
	struct slot *s;

	if (is_over(m) || (io->op == DISK_FLUSH && m->state == MIRROR_MOVING)) {
		disk_submit(m->how.top, io);
		return true;
	}
	s = may_go(m, io, &both) ? free_slot(m) : NULL;
	if (!s)
		return false;
	s->guest = io;
	s->both = both;
	s->at = 0;
	to_top(s);
	return true;
}

static void
mirror_submit(struct disk *d, struct disk_io *io)
{
	struct mirror *m = (struct mirror *)d;

	m->asked++;
	if (io->op == DISK_READ) {
		disk_submit(m->how.top, io);
		return;
	}
	if (start(m, io))
		return;
	io->next = NULL;
	*m->waiting_last = io;
	m->waiting_last = &io->next;
}

/* Each is tried once; those that must go on waiting keep their order. */
static void
start_waiting(struct mirror *m)
{
	struct disk_io *io = m->waiting, *next;

	m->waiting = NULL;
	m->waiting_last = &m->waiting;
	for (; io; io = next) {
		next = io->next;
		if (start(m, io))
			continue;
		io->next = NULL;
		*m->waiting_last = io;
		m->waiting_last = &io->next;
	}
}

/* --- moving ----------------------------------------------------------------------------------------- */

static void
timer_expires(void *ctx)
{
	go(ctx);
}

static void
sleep_for(struct mirror *m, uint64_t ns)
{
	io_loop_timer(m->disk.loop, &m->timer, io_loop_now(m->disk.loop) + ns);
}

/* As long as the step took, if the machine had requests meanwhile. */
static void
rest_after_step(struct mirror *m)
{
	uint64_t took = io_loop_now(m->disk.loop) - m->step_began;

	if (m->asked && took)
		sleep_for(m, took < PAUSE_MAX ? took : PAUSE_MAX);
}

static void
step_done(void *ctx, int rc)
{
	struct mirror *m = ctx;

	if (rc < 0 && !m->why.code)
		m->why = *mover_error(m->mover);
	if (rc == 0)
		m->cursor.done = m->cursor.busy;
	m->cursor.busy = m->cursor.done;
	m->stepping = false;
	rest_after_step(m);
	go(m);
}

static void
begin_step(struct mirror *m)
{
	m->stepping = true;
	m->asked = 0;
	m->step_began = io_loop_now(m->disk.loop);
	mover_step(m->mover, m->cursor.done, m->cursor.busy - m->cursor.done, step_done, m);
}

/* How much of a range that the upper images have nothing of can be passed over: a write on its way may be
 * about to give them something there. */
static uint64_t
passable(const struct mirror *m, uint64_t len)
{
	const struct slot *s;

	while (len && (s = writer_in(m, m->cursor.done, len)))
		len = s->guest->offset > m->cursor.done ? s->guest->offset - m->cursor.done : 0;
	return len;
}

/* The cursor goes on over what is nothing, or a step begins, or waits for writes in its range. False: there
 * is nothing to do now. */
static bool
look_ahead(struct mirror *m)
{
	struct merge_cursor *c = &m->cursor;
	struct layer_extent x;
	uint64_t n;
	int rc = layer_find(&m->find, c->done, m->disk.size - c->done, &x, &m->why);

	c->busy = c->done;
	if (rc == -EAGAIN)
		sleep_for(m, AGAIN_NS);
	else if (rc < 0)
		give_up(m, rc, "what is to be moved cannot be found");
	if (rc < 0)
		return rc != -EAGAIN;
	n = x.kind == EXTENT_PARENT ? passable(m, x.len) : 0;
	if (n) {
		c->done = c->busy = c->done + n;
		return true;
	}
	c->busy = c->done + (x.len < STEP ? x.len : STEP);
	if (writer_in(m, c->done, c->busy - c->done))
		return false; /* its end comes here again; no other begins there */
	begin_step(m);
	return !m->stepping;
}

static void
flushed(struct disk_io *io, int rc)
{
	struct mirror *m = (struct mirror *)((char *)io - offsetof(struct mirror, flush));

	m->flushing = false;
	if (rc < 0)
		give_up(m, rc, "the parent cannot be flushed");
	go(m);
}

static void
begin_flush(struct mirror *m)
{
	m->state = MIRROR_FLUSHING;
	m->flushing = true;
	m->flush = (struct disk_io){ .op = DISK_FLUSH, .done = flushed };
	disk_submit(m->how.parent, &m->flush);
}

static void
enter(struct mirror *m, enum mirror_state state)
{
	m->state = state;
	m->how.told(m->how.ctx);
}

/* What the top could not be written to is moved again. */
static void
go_back(struct mirror *m)
{
	if (m->rewind < m->cursor.done)
		m->cursor.done = m->cursor.busy = m->rewind;
	m->rewind = UINT64_MAX;
	m->state = MIRROR_MOVING;
}

/* One thing that is to be done. False: nothing is. */
static bool
next(struct mirror *m)
{
	if (!m->begun || is_over(m) || m->stepping || m->flushing)
		return false;
	if (m->why.code) {
		m->cursor.busy = m->cursor.done;
		enter(m, MIRROR_ENDED);
		return true;
	}
	if (m->state == MIRROR_MERGED)
		return false;
	if (m->rewind != UINT64_MAX) {
		go_back(m);
		return true;
	}
	if (m->state == MIRROR_FLUSHING) {
		enter(m, MIRROR_MERGED);
		return true;
	}
	if (m->timer.at)
		return false;
	if (m->cursor.done == m->disk.size) {
		begin_flush(m);
		return true;
	}
	return look_ahead(m);
}

/* Whatever can go on does. Called when something has ended. */
static void
go(struct mirror *m)
{
	unsigned turns = 0;

	m->once_more = true;
	if (m->going)
		return;
	m->going = true;
	while (m->once_more) {
		m->once_more = false;
		start_waiting(m);
		while (turns < SKIPS && next(m))
			turns++;
		if (turns)
			start_waiting(m);
	}
	m->going = false;
	if (turns == SKIPS)
		sleep_for(m, 1);
}

/* --- from outside ----------------------------------------------------------------------------------- */

void
mirror_begin(struct mirror *m)
{
	m->begun = true;
	go(m);
}

void
mirror_cancel(struct mirror *m)
{
	if (!m->begun)
		return;
	if (!m->why.code)
		err_set(&m->why, ECANCELED, "it was cancelled");
	io_loop_timer(m->disk.loop, &m->timer, 0);
	go(m);
}

void
mirror_look(const struct mirror *m, struct mirror_report *r)
{
	*r = (struct mirror_report){ .state = m->state,
		.done = m->cursor.done,
		.total = m->disk.size,
		.stored = mover_stored(m->mover),
		.why = m->why };
}

static int
mirror_extent(struct disk *d, uint64_t offset, uint64_t len, struct extent *x, struct err *e)
{
	struct disk *top = ((struct mirror *)d)->how.top;

	return top->ops->extent(top, offset, len, x, e);
}

static int
mirror_close(struct disk *d, struct err *e)
{
	struct mirror *m = (struct mirror *)d;
	int rc = disk_close(m->how.top, e);
	int rc2 = disk_close(m->how.parent, rc < 0 ? NULL : e);

	return rc < 0 ? rc : rc2;
}

static void
mirror_disk_free(struct disk *d)
{
	struct disk *top = ((struct mirror *)d)->how.top;

	mirror_free((struct mirror *)d);
	disk_free(top);
}

static const struct disk_ops mirror_ops = {
	.name = "Mirror",
	.submit = mirror_submit,
	.extent = mirror_extent,
	.close = mirror_close,
	.free = mirror_disk_free,
};

static int
check(const struct mirror_how *how, struct err *e)
{
	const struct disk *d = how->top;

	while (d && d != how->parent)
		d = d->parent;
	if (!d || d == how->top)
		return err_set(e, EINVAL, "an image is merged into one of its parents");
	if (how->top->size != how->parent->size)
		return err_set(e, EINVAL,
		    "the top has %llu bytes and the parent %llu: images of different sizes are not merged",
		    (unsigned long long)how->top->size, (unsigned long long)how->parent->size);
	if (how->parent->read_only || how->top->read_only)
		return err_set(e, EINVAL, "an image that is only read cannot be merged, or merged into");
	return 0;
}

static void
fill_in(struct mirror *m, const struct mirror_how *how)
{
	m->disk = *how->top;
	m->disk.ops = &mirror_ops;
	m->disk.parent = NULL;
	m->how = *how;
	m->find = (struct layer_find){ .top = how->top, .stop = how->parent, .live = true };
	m->waiting_last = &m->waiting;
	m->rewind = UINT64_MAX;
	m->timer = (struct io_timer){ .fn = timer_expires, .ctx = m };
	for (unsigned i = 0; i < SLOTS; i++) {
		m->slot[i].m = m;
		m->slot[i].buf = m->buffers + (size_t)i * PIECE;
	}
}

int
mirror_new(struct mirror **out, const struct mirror_how *how, struct err *e)
{
	const struct mover_how moves = {
		.from = how->top, .stop = how->parent, .to = how->parent, .live = true
	};
	struct mirror *m;
	int rc = check(how, e);

	if (rc < 0)
		return rc;
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_set(e, ENOMEM, "out of memory");
	m->buffers = mmap(NULL, (size_t)SLOTS * PIECE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	rc = m->buffers == MAP_FAILED ? err_set(e, ENOMEM, "out of memory") : mover_new(&m->mover, &moves, e);
	if (rc < 0) {
		if (m->buffers != MAP_FAILED)
			munmap(m->buffers, (size_t)SLOTS * PIECE);
		free(m);
		return rc;
	}
	fill_in(m, how);
	*out = m;
	return 0;
}

struct disk *
mirror_disk(struct mirror *m)
{
	return &m->disk;
}

void
mirror_free(struct mirror *m)
{
	if (!m)
		return;
	mover_free(m->mover);
	munmap(m->buffers, (size_t)SLOTS * PIECE);
	free(m);
}
