/*
 * hypervisor/disk/mover.c - moves the content of one disk, or of the upper images of a chain, to another
 * disk.
 *
 * A step goes along its range from extent to extent. Zeros are left out or made at once; data becomes pieces,
 * each read into its own buffer straight from the file that has it, looked through for zeros, and written in
 * runs through `to`. direct.c is tried first where it is possible.
 */
#include "hypervisor/disk/mover.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/mover_direct.h"

#define AGAIN_NS 50000ull /* a table page is being read: it is asked for again after so long */

/* One piece on its way. */
struct piece {
	struct mover *m;
	bool busy;
	uint8_t *buf;
	uint64_t offset, len; /* of the disk */
	uint64_t at;          /* written so far, from offset on */
	uint64_t run;         /* bytes of the write under way */
	struct iovec iov;
	struct file_op read;
	struct disk_io write;
};

struct mover {
	struct mover_how how;
	struct layer_find find;
	struct piece piece[MOVER_PIECES];
	uint8_t *buffers;
	bool direct;     /* until it is known not to be possible */
	uint64_t sector; /* what all pieces are multiples of */
	uint64_t stored;

	/* The step. */
	uint64_t offset, end;
	struct layer_extent x; /* what lies at offset; x.len 0: not known */
	unsigned busy;
	bool going, under_way; /* going: in go() */
	struct io_timer again;
	void (*done)(void *ctx, int rc);
	void *ctx;
	int rc;
	struct err e;
};

static void go(void *ctx);

static void
fail(struct mover *m, int rc, const char *what, uint64_t offset)
{
	if (m->rc == 0 && rc < 0) {
		m->rc = rc;
		err_set(&m->e, -rc, "offset %llu of the disk: it cannot be %s: %s",
		    (unsigned long long)offset, what, strerror(-rc));
	}
}

/* --- zeros -------------------------------------------------------------------------------------------- */

bool
mover_all_zero(const uint8_t *p, uint64_t len)
{
	static const uint8_t first[16];

	/* If the first bytes are zero, and each byte is what comes 16 later. */
	if (len <= sizeof(first))
		return memcmp(p, first, len) == 0;
	return memcmp(p, first, sizeof(first)) == 0 && memcmp(p, p + sizeof(first), len - sizeof(first)) == 0;
}

/* How much from at on is all zeros, or all not, in runs. */
static uint64_t
alike(const struct piece *p, bool *zero)
{
	uint64_t n = 0;

	while (p->at + n < p->len) {
		uint64_t left = p->len - p->at - n, run = left < MOVER_RUN ? left : MOVER_RUN;
		bool z = mover_all_zero(p->buf + p->at + n, run);

		if (n && z != *zero)
			break;
		*zero = z;
		n += run;
	}
	return n;
}

/* --- pieces ------------------------------------------------------------------------------------------- */

static void write_on(struct piece *p);

/* The disk begins to write what has been moved while the next is being moved. Only a beginning: whoever wants
 * it stable flushes, and then has less to wait for. */
void
mover_begin_writeback(const struct disk_file *f)
{
	if (f->fd >= 0)
		sync_file_range(f->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

/* As often as all pieces have ended once, about; not where a guest waits for the disk, too. */
static void
end_piece(struct piece *p)
{
	if (!p->m->how.live && p == p->m->piece)
		mover_begin_writeback(p->m->how.to->file);
	p->busy = false;
	p->m->busy--;
	if (p->m->how.live) /* else mover_wait goes on, when the loop's round has ended */
		go(p->m);
}

static void
written(struct disk_io *io, int rc)
{
	struct piece *p = (struct piece *)((char *)io - offsetof(struct piece, write));

	fail(p->m, rc, "written", p->offset + p->at);
	p->at += p->run;
	write_on(p);
}

/* The next run of the piece: left out, made zero, or written. */
static void
write_on(struct piece *p)
{
	struct mover *m = p->m;
	bool zero = false;

	while (m->rc == 0 && p->at < p->len) {
		p->run = alike(p, &zero);
		if (zero && m->how.fresh) {
			p->at += p->run;
			continue;
		}
		p->iov = (struct iovec){ p->buf + p->at, p->run };
		p->write = (struct disk_io){ .op = zero ? DISK_ZERO : DISK_WRITE,
			.unmap = zero,
			.offset = p->offset + p->at,
			.len = p->run,
			.iov = &p->iov,
			.iovs = 1,
			.done = written };
		m->stored += zero ? 0 : p->run;
		disk_submit(m->how.to, &p->write);
		return;
	}
	end_piece(p);
}

static void
was_read(struct file_op *op, int rc)
{
	struct piece *p = (struct piece *)((char *)op - offsetof(struct piece, read));

	fail(p->m, rc, "read", p->offset);
	write_on(p);
}

/* So much of it has been seen to. */
static void
pass(struct mover *m, uint64_t n)
{
	m->offset += n;
	m->x.at += n;
	m->x.len -= n;
}

static struct piece *
take_piece(struct mover *m, uint64_t len)
{
	struct piece *p = m->piece;

	while (p->busy)
		p++;
	p->busy = true;
	m->busy++;
	p->offset = m->offset;
	p->len = len;
	p->at = 0;
	return p;
}

static void
begin_data(struct mover *m, uint64_t len)
{
	struct piece *p = take_piece(m, len < MOVER_PIECE ? len : MOVER_PIECE);
	uint64_t at = m->x.at;

	pass(m, p->len);
	p->iov = (struct iovec){ p->buf, p->len };
	p->read.done = was_read;
	file_readv(m->x.owner->file, &p->read, &p->iov, 1, p->len, at);
}

static void
begin_zero(struct mover *m, uint64_t len)
{
	struct piece *p = take_piece(m, len);

	pass(m, p->len);
	p->run = p->len;
	p->write = (struct disk_io){
		.op = DISK_ZERO, .unmap = true, .offset = p->offset, .len = p->len, .done = written
	};
	disk_submit(m->how.to, &p->write);
}

/* Sectors of the source that are smaller than the destination's and not alike: read through the chain. */
static int
begin_mixed(struct mover *m)
{
	struct piece *p = take_piece(m, m->sector);
	struct disk_io io = {
		.op = DISK_READ, .offset = p->offset, .len = p->len, .iov = &p->iov, .iovs = 1
	};
	int rc;

	m->offset += p->len;
	m->x.len = 0;
	p->iov = (struct iovec){ p->buf, p->len };
	rc = disk_wait(m->how.from, &io);
	fail(m, rc, "read", p->offset);
	write_on(p);
	return 0;
}

/* --- the step ----------------------------------------------------------------------------------------- */

/*
 * What lies at the step's place. Asked once for as long as it is alike, beyond the step's end, too: some file
 * systems look through all of a file to find its next hole. (Of disks that are working it may change after
 * the step.)
 */
static int
find_here(struct mover *m)
{
	uint64_t end = m->how.live ? m->end : m->how.from->size;
	int rc;

	if (m->x.len)
		return 0;
	rc = layer_find(&m->find, m->offset, end - m->offset, &m->x, &m->e);
	if (rc < 0)
		m->x.len = 0;
	return rc;
}

static int
next_data(struct mover *m, uint64_t len)
{
	struct layer_extent x = m->x;
	int rc = -EXDEV;

	x.len = len;
	if (m->direct) {
		rc = direct_copy(m->how.to, &x, m->offset, &m->stored, &m->e);
		if (rc == 0)
			pass(m, x.len);
	}
	if (rc != -EXDEV)
		return rc;
	m->direct = false; /* from here on through buffers, this extent, too */
	begin_data(m, len);
	return 0;
}

/* 0: go on. -EAGAIN: later. */
static int
next(struct mover *m)
{
	int rc = find_here(m);
	uint64_t len;

	if (rc < 0)
		return rc;
	if (m->x.len < m->sector)
		return begin_mixed(m);
	m->x.len &= ~(m->sector - 1); /* a power of two */
	len = m->x.len < m->end - m->offset ? m->x.len : m->end - m->offset;
	if (m->x.kind == EXTENT_DATA)
		return next_data(m, len);
	if (m->x.kind == EXTENT_PARENT || m->how.fresh)
		pass(m, len);
	else
		begin_zero(m, len);
	return 0;
}

static void
end_step(struct mover *m)
{
	m->under_way = false;
	m->done(m->ctx, m->rc);
}

static void
go(void *ctx)
{
	struct mover *m = ctx;

	if (m->going)
		return;
	m->going = true;
	while (m->rc == 0 && m->offset < m->end && m->busy < MOVER_PIECES) {
		int rc = next(m);

		if (rc == -EAGAIN) {
			io_loop_timer(m->how.to->loop, &m->again, io_loop_now(m->how.to->loop) + AGAIN_NS);
			break;
		}
		if (rc < 0 && m->rc == 0)
			m->rc = rc;
	}
	m->going = false;
	if (m->under_way && !m->busy && (m->rc < 0 || m->offset == m->end))
		end_step(m);
}

void
mover_step(struct mover *m, uint64_t offset, uint64_t len, void (*done)(void *ctx, int rc), void *ctx)
{
	if (m->how.live || offset != m->offset)
		m->x.len = 0;
	m->offset = offset;
	m->end = offset + len;
	m->done = done;
	m->ctx = ctx;
	m->rc = 0;
	m->under_way = true;
	go(m);
}

struct waited {
	bool ended;
	int rc;
};

static void
step_ended(void *ctx, int rc)
{
	struct waited *w = ctx;

	w->ended = true;
	w->rc = rc;
}

int
mover_wait(struct mover *m, uint64_t offset, uint64_t len, struct err *e)
{
	struct waited w = { 0 };

	mover_step(m, offset, len, step_ended, &w);
	for (; !w.ended; go(m)) {
		bool any = file_pump(m->how.to->file);

		for (struct disk *d = m->how.from; d && !any; d = d->parent)
			any = file_pump(d->file);
		if (!any)
			return err_set(e, EDEADLK, "offset %llu: nothing is in flight that could end",
			    (unsigned long long)m->offset);
	}
	if (w.rc < 0 && e)
		*e = m->e;
	return w.rc;
}

const struct err *
mover_error(const struct mover *m)
{
	return &m->e;
}

uint64_t
mover_stored(const struct mover *m)
{
	return m->stored;
}

/* --- life --------------------------------------------------------------------------------------------- */

int
mover_new(struct mover **out, const struct mover_how *how, struct err *e)
{
	struct mover *m = calloc(1, sizeof(*m));

	if (m)
		m->buffers = aligned_alloc(4096, (size_t)MOVER_PIECE * MOVER_PIECES);
	if (!m || !m->buffers) {
		free(m);
		return err_set(e, ENOMEM, "out of memory");
	}
	m->how = *how;
	m->find = (struct layer_find){
		.top = how->from, .stop = how->stop, .live = how->live, .holes = !how->live
	};
	m->sector = how->to->logical > how->from->logical ? how->to->logical : how->from->logical;
	m->direct = how->fresh && !how->live;
	m->again = (struct io_timer){ .fn = go, .ctx = m };
	for (unsigned i = 0; i < MOVER_PIECES; i++) {
		m->piece[i].m = m;
		m->piece[i].buf = m->buffers + (size_t)i * MOVER_PIECE;
	}
	*out = m;
	return 0;
}

void
mover_free(struct mover *m)
{
	if (!m)
		return;
	free(m->buffers);
	free(m);
}
