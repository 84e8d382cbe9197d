/*
 * hypervisor/disk/image.c - the engine of images with tables: requests in pieces, commits.
 *
 * Whatever comes from outside (a request, the end of an operation on the file, a call of the format's) enters
 * the engine, and on leaving it everything is done that can be done now. What comes while the engine is on
 * the stack already is only noted: so a request that ends at once and is followed by another takes no more
 * stack than the first.
 */
#include "hypervisor/disk/image.h"

#include <errno.h>
#include <string.h>

/* Of a commit; see image.h. */
enum { IDLE, BARRIER, RECORD, FLUSH, SETTLE };

/* disk_io.step */
enum {
	NOT_STABLE = 1, /* something of it was written that is not durable yet */
	FOR_COMMIT = 2, /* it waits for a commit */
};

static struct image *
image_of(struct disk *d)
{
	return (struct image *)d; /* its first member */
}

static struct disk_io *
io_of(struct file_op *op)
{
	return (struct disk_io *)((char *)op - offsetof(struct disk_io, file));
}

/* --- Queues ----------------------------------------------------------------------------------------- */

static void
append(struct disk_io_queue *q, struct disk_io *io)
{
	io->next = NULL;
	*q->last = io;
	q->last = &io->next;
}

static struct disk_io *
take(struct disk_io_queue *q)
{
	struct disk_io *io = q->first;

	if (io) {
		q->first = io->next;
		if (!q->first)
			q->last = &q->first;
	}
	return io;
}

/* All of `from` goes before what is in `to`. */
static void
put_before(struct disk_io_queue *to, struct disk_io_queue *from)
{
	if (!from->first)
		return;
	*from->last = to->first;
	if (!to->first)
		to->last = from->last;
	to->first = from->first;
	from->first = NULL;
	from->last = &from->first;
}

/* --- Entering and leaving --------------------------------------------------------------------------- */

static void go_on(struct image *i, struct disk_io *io);
static bool begin_commit(struct image *i);

/* True for the one that has to leave. */
static bool
enter(struct image *i)
{
	bool first = !i->running;

	i->running = true;
	return first;
}

static void
leave(struct image *i, bool first)
{
	struct disk_io *io;

	if (!first)
		return;
	do {
		while ((io = take(&i->ready)))
			go_on(i, io);
	} while (begin_commit(i));
	i->running = false;
}

static void
end(struct image *i, struct disk_io *io, int rc)
{
	i->in_flight--;
	io->done(io, rc);
}

/* --- Parts of an array of iovecs -------------------------------------------------------------------- */

/*
 * The request's array begins with what is not done yet. Makes its first n bytes a part of their own, *from
 * with as many iovecs as are returned; the array then begins behind it, with the iovec that was cut in two
 * standing for its first half until `rejoin`.
 */
static unsigned
split(struct disk_io *io, uint64_t n, struct iovec **from)
{
	unsigned count = 0;

	*from = io->iov;
	io->rest.iov_len = 0;
	while (n && n >= io->iov->iov_len) {
		n -= io->iov->iov_len;
		io->iov++;
		io->iovs--;
		count++;
	}
	if (n == 0)
		return count;
	io->rest = (struct iovec){ (char *)io->iov->iov_base + n, io->iov->iov_len - n };
	io->iov->iov_len = n;
	return count + 1;
}

static void
rejoin(struct disk_io *io)
{
	if (io->rest.iov_len)
		io->iov[0] = io->rest;
	io->rest.iov_len = 0;
}

static void
fill_with_zeros(struct disk_io *io, uint64_t n)
{
	struct iovec *v;
	unsigned count = split(io, n, &v);

	for (; count; count--, v++)
		memset(v->iov_base, 0, v->iov_len);
	rejoin(io);
}

/* --- Pieces ----------------------------------------------------------------------------------------- */

static bool
tables_are_durable(const struct image *i)
{
	return !i->dirty && (i->stage == IDLE || i->stage == SETTLE);
}

/* All of it is done; what shall be stable waits for a commit, where a write alone did not do it. */
static void
finish(struct image *i, struct disk_io *io)
{
	bool changes = io->op == DISK_WRITE || io->op == DISK_ZERO;

	if (changes && io->fua && ((io->step & NOT_STABLE) || !tables_are_durable(i)))
		append(&i->flushes, io);
	else
		end(i, io, 0);
}

static void
piece_done(struct file_op *op, int rc)
{
	struct disk_io *io = io_of(op);
	struct image *i = image_of(io->disk);
	bool first = enter(i);

	if (io->op != DISK_READ) {
		i->placed--;
		i->ops->wrote(i, io->offset + io->at, &io->x, rc);
	}
	if (i->held.first && io->op != DISK_READ)
		append(&i->ready, take(&i->held)); /* it has waited longer than this one's next piece */
	if (rc < 0) {
		end(i, io, rc);
	} else {
		io->at += io->x.len;
		rejoin(io);
		if (io->at == io->len)
			finish(i, io);
		else
			append(&i->ready, io);
	}
	leave(i, first);
}

/* Where an answer comes from; and how often it had woken those who wait, before it was asked. */
struct source {
	struct disk *disk;
	unsigned wakes;
};

static int
map_in(struct source *from, uint64_t offset, uint64_t len, struct extent *x)
{
	struct disk *d = from->disk;
	int rc;

	if (d->ops->submit == image_submit) {
		from->wakes = image_of(d)->wakes;
		rc = image_of(d)->ops->map(image_of(d), offset, len, x);
	} else {
		rc = d->ops->map(d, offset, len, x);
	}
	if (x->len > len)
		x->len = len;
	return rc;
}

/* Goes down the chain to whoever has the bytes. */
static int
map_read(struct source *from, const struct disk_io *io, struct extent *x)
{
	uint64_t offset = io->offset + io->at;
	int rc = map_in(from, offset, io->len - io->at, x);

	while (rc == 0 && x->kind == EXTENT_PARENT && from->disk->parent) {
		const struct disk *d = from->disk = from->disk->parent;

		if (offset >= d->size) { /* the parent was smaller: nothing is there */
			x->kind = EXTENT_ZERO;
			break;
		}
		rc = map_in(from, offset, x->len < d->size - offset ? x->len : d->size - offset, x);
	}
	return rc;
}

/* Waits, unless what it would wait for has happened meanwhile. */
static void
wait_for_tables(struct image *i, struct disk_io *io, const struct source *from)
{
	struct image *whose = image_of(from->disk);

	if (whose->wakes != from->wakes) {
		append(&i->ready, io);
		return;
	}
	if (whose != i)
		whose->above = i;
	append(&i->waiting, io);
}

/* The three below begin the next piece. True: go on with the request at once; else it is on its way, or over.
 */
static bool
read_piece(struct image *i, struct disk_io *io)
{
	struct source from = { .disk = &i->disk };
	struct extent *x = &io->x;
	struct iovec *iov;
	unsigned n;
	int rc = map_read(&from, io, x);

	if (rc == -EAGAIN) {
		wait_for_tables(i, io, &from);
		return false;
	}
	if (rc < 0 || x->len == 0 || x->kind == EXTENT_PARENT) {
		end(i, io, rc < 0 ? rc : -EIO);
		return false;
	}
	if (x->kind == EXTENT_ZERO) {
		fill_with_zeros(io, x->len);
		io->at += x->len;
		return true;
	}
	n = split(io, x->len, &iov);
	file_readv(from.disk->file, &io->file, iov, n, x->len, x->at);
	return false;
}

/* Asks the format for a place, or what to empty. False: the request waits, or is over. */
static bool
ask_format(struct image *i, struct disk_io *io)
{
	const struct source from = { &i->disk, i->wakes };
	uint64_t offset = io->offset + io->at, len = io->len - io->at;
	struct extent *x = &io->x;
	int rc;

	if (i->placed == IMAGE_PIECES) {
		append(&i->held, io);
		return false;
	}
	*x = (struct extent){ 0 };
	i->asked = false;
	if (io->op == DISK_WRITE)
		rc = i->ops->place(i, offset, len, x);
	else
		rc = i->ops->drop(i, io, offset, len, x);
	if (rc == -EAGAIN) {
		io->step = (io->step & NOT_STABLE) | (i->asked ? FOR_COMMIT : 0);
		wait_for_tables(i, io, &from);
		return false;
	}
	if (rc == 0 && (x->len == 0 || x->len > len || x->kind == EXTENT_PARENT ||
			   (io->op == DISK_WRITE && x->kind != EXTENT_DATA)))
		rc = -EIO;
	if (rc < 0)
		end(i, io, rc);
	return rc == 0;
}

static bool
write_piece(struct image *i, struct disk_io *io)
{
	struct iovec *iov;
	unsigned n;
	bool fua;

	if (!ask_format(i, io))
		return false;
	fua = io->fua && tables_are_durable(i);
	if (!fua)
		io->step |= NOT_STABLE;
	i->placed++;
	n = split(io, io->x.len, &iov);
	file_writev(i->disk.file, &io->file, iov, n, io->x.len, io->x.at, fua);
	return false;
}

static bool
drop_piece(struct image *i, struct disk_io *io)
{
	struct extent *x = &io->x;
	bool fua;

	if (!ask_format(i, io))
		return false;
	fua = io->fua && tables_are_durable(i);
	if (!fua)
		io->step |= NOT_STABLE;
	if (x->kind == EXTENT_ZERO) {
		io->at += x->len;
		return true;
	}
	i->placed++;
	if (io->op == DISK_ZERO)
		file_zero(i->disk.file, &io->file, x->at, x->len, io->unmap, fua);
	else
		file_discard(i->disk.file, &io->file, x->at, x->len);
	return false;
}

static void
go_on(struct image *i, struct disk_io *io)
{
	static bool (*const piece[])(struct image *, struct disk_io *) = {
		[DISK_READ] = read_piece,
		[DISK_WRITE] = write_piece,
		[DISK_DISCARD] = drop_piece,
		[DISK_ZERO] = drop_piece,
	};

	do {
		if (io->op != DISK_READ && i->poisoned) {
			end(i, io, i->poisoned);
			return;
		}
		if (io->op == DISK_FLUSH && i->disk.read_only) {
			end(i, io, 0);
			return;
		}
		if (io->op == DISK_FLUSH) {
			append(&i->flushes, io);
			return;
		}
		if (io->at == io->len) {
			finish(i, io);
			return;
		}
	} while (piece[io->op](i, io));
}

void
image_submit(struct disk *d, struct disk_io *io)
{
	struct image *i = image_of(d);
	bool first = enter(i);

	i->in_flight++;
	io->at = 0;
	io->step = 0;
	io->file.done = piece_done;
	if (first)
		go_on(i, io);
	else
		append(&i->ready, io);
	leave(i, first);
}

void
image_wake(struct image *i)
{
	while (i) {
		struct image *above = i->above;
		bool first = enter(i);

		i->above = NULL;
		i->wakes++;
		put_before(&i->ready, &i->waiting);
		leave(i, first);
		i = above;
	}
}

/* --- Commits ---------------------------------------------------------------------------------------- */

static void records_done(struct image *i);

static void
finish_commit(struct image *i, int rc)
{
	struct disk_io_queue done = i->committing;
	struct disk_io *io;

	if (!rc)
		rc = i->poisoned;
	i->committing.first = NULL;
	i->committing.last = &i->committing.first;
	if (!done.first)
		done.last = &done.first;
	while ((io = take(&done)))
		end(i, io, rc);
	if (rc < 0) { /* nor is there room for those that waited for it */
		struct disk_io_queue waiting = { .last = &waiting.first };

		put_before(&waiting, &i->waiting);
		while ((io = take(&waiting)))
			if (io->step & FOR_COMMIT)
				end(i, io, rc);
			else
				append(&i->waiting, io);
	}
}

static void
commit_ended(struct image *i, int rc)
{
	if (rc < 0 && i->captured) {
		i->dirty = true;
		i->barrier |= i->had_barrier;
	}
	i->stage = SETTLE;
	i->records++;
	i->ops->settle(i, rc);
	i->records--;
	finish_commit(i, rc);
	image_wake(i); /* there is room for more changes, maybe: for the oldest first */
	records_done(i);
}

static void
commit_flushed(struct file_op *op, int rc)
{
	struct image *i = (struct image *)((char *)op - offsetof(struct image, commit_op));
	bool first = enter(i);

	commit_ended(i, rc);
	leave(i, first);
}

static void
flush_commit(struct image *i)
{
	i->stage = FLUSH;
	i->commit_op.done = commit_flushed;
	file_flush(i->disk.file, &i->commit_op);
}

static void
record(struct image *i)
{
	i->stage = RECORD;
	i->records++;
	i->ops->record(i);
	i->records--;
	records_done(i);
}

static void
barrier_passed(struct file_op *op, int rc)
{
	struct image *i = (struct image *)((char *)op - offsetof(struct image, commit_op));
	bool first = enter(i);

	if (rc < 0)
		commit_ended(i, rc);
	else
		record(i);
	leave(i, first);
}

/* All writes of tables have ended. */
static void
records_done(struct image *i)
{
	if (i->records)
		return;
	if (i->stage == RECORD) {
		if (i->commit_rc < 0)
			commit_ended(i, i->commit_rc);
		else
			flush_commit(i);
	} else if (i->stage == SETTLE) {
		i->stage = IDLE;
		image_wake(i);
	}
}

/* 0, or why there is none. */
static int
capture(struct image *i)
{
	int rc;

	i->captured = i->dirty;
	i->had_barrier = i->barrier;
	if (!i->captured)
		return 0;
	i->dirty = false;
	i->barrier = false;
	rc = i->ops->capture(i);
	if (rc < 0) {
		i->dirty = true;
		i->barrier |= i->had_barrier;
	}
	return rc;
}

/* False: there is nothing to commit, or one is under way. */
static bool
begin_commit(struct image *i)
{
	int rc = i->poisoned;

	if (i->stage != IDLE || i->records || (!i->wanted && !i->flushes.first))
		return false;
	i->wanted = false;
	put_before(&i->committing, &i->flushes);
	i->commit_rc = 0;
	if (!rc)
		rc = capture(i);
	if (rc < 0) {
		finish_commit(i, rc);
		return true;
	}
	image_wake(i); /* as when it ends */
	if (!i->captured) {
		flush_commit(i);
	} else if (i->had_barrier) {
		i->stage = BARRIER;
		i->commit_op.done = barrier_passed;
		file_flush(i->disk.file, &i->commit_op);
	} else {
		record(i);
	}
	return true;
}

void
image_commit(struct image *i)
{
	bool first = enter(i);

	i->asked = true;
	if (i->stage == IDLE || i->stage == SETTLE)
		i->wanted = true;
	leave(i, first);
}

static void
table_written(struct file_op *op, int rc)
{
	struct image_write *w = (struct image_write *)op;
	struct image *i = w->image;
	bool first = enter(i);

	if (rc < 0 && i->stage == RECORD && !i->commit_rc)
		i->commit_rc = rc;
	if (w->done)
		w->done(w, rc);
	i->records--;
	records_done(i);
	leave(i, first);
}

void
image_write(struct image *i, struct image_write *w, const void *buf, size_t len, uint64_t off)
{
	w->image = i;
	w->op.done = table_written;
	w->iov = (struct iovec){ (void *)(uintptr_t)buf, len };
	i->records++;
	file_writev(i->disk.file, &w->op, &w->iov, 1, len, off, false);
}

/* --- Life ------------------------------------------------------------------------------------------- */

bool
image_idle(const struct image *i)
{
	return i->in_flight == 0 && i->stage == IDLE && i->records == 0 && !i->wanted;
}

int
image_init(struct image *i, const struct image_ops *ops, struct err *e)
{
	struct disk_io_queue *queues[] = { &i->ready, &i->waiting, &i->held, &i->flushes, &i->committing };
	const struct disk *parent = i->disk.parent;

	if (parent && parent->ops->submit != image_submit && !parent->ops->map)
		return err_set(e, EINVAL, "an image of format %s cannot be a parent", parent->ops->name);
	for (size_t n = 0; n < sizeof(queues) / sizeof(queues[0]); n++)
		queues[n]->last = &queues[n]->first;
	i->ops = ops;
	i->disk.ops = &ops->disk;
	return 0;
}
