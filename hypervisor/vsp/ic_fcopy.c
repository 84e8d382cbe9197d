/*
 * hypervisor/vsp/ic_fcopy.c - a file of the host's becomes one of the guest's: its name, then pieces of 6
 * KiB, one question each, then the end; or it is cancelled, and the guest removes what it has.
 *
 * The file is read through the I/O loop, from a descriptor that was passed; the control thread closes it, and
 * tells the copy's end, when no read is in flight.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hypervisor/disk/file.h"
#include "hypervisor/vsp/ic_private.h"
#include "hypervisor/vsp/ic_text.h"

enum {
	START = 0,
	WRITE = 1,
	COMPLETE = 2,
	CANCEL = 3, /* operations */
	HEAD = 36,  /* u32 operation, two GUIDs that nobody uses */
	UNITS = 260,
	NAME_AT = HEAD,
	PATH_AT = NAME_AT + 2 * UNITS,
	FLAGS_AT = PATH_AT + 2 * UNITS,
	SIZE_AT = FLAGS_AT + 4,
	OFFSET_AT = HEAD + 4,
	LENGTH_AT = OFFSET_AT + 8,
	DATA_AT = LENGTH_AT + 4,
	OVERWRITE = 1,
	MAKE_PATH = 2, /* flags */
	LIMIT_MS = 60000,
	TOLD = 64, /* times, in a long copy */
};

/* --- The control thread --- */

struct request {
	struct ics *s;
	const uint8_t *start;
	uint64_t size;
	int fd, slot, rc, end;
	uint32_t status;
};

static void
begin(void *arg)
{
	struct request *r = arg;
	struct ic_fcopy *f = &r->s->fcopy;

	r->rc = f->c.state != IC_READY ? -ENOTCONN : f->wanted ? -EBUSY : 0;
	if (r->rc < 0)
		return;
	f->wanted = true;
	f->ending = false;
	f->fd = r->fd;
	f->slot = r->slot;
	f->size = r->size;
	f->at = f->told = 0;
	memcpy(f->start, r->start, COPY_START);
	if (f->doing == COPY_IDLE) /* else what is left of another is being cancelled */
		f->doing = f->cancel_due ? COPY_CANCELLING : COPY_STARTING;
	ic_next(&f->c);
}

static int
fill(uint8_t *p, const struct ic_copy *c, uint64_t size, struct err *e)
{
	memset(p, 0, COPY_START);
	put_le32(p, START);
	if (!*c->name || !ic_text_put(c->name, p + NAME_AT, UNITS, NULL))
		return err_set(e, EINVAL, "Name: it has to have 1 to %d characters", COPY_NAME);
	if (!*c->path || !ic_text_put(c->path, p + PATH_AT, UNITS, NULL))
		return err_set(e, EINVAL, "Path: it has to have 1 to %d characters", COPY_NAME);
	put_le32(p + FLAGS_AT, (c->overwrite ? OVERWRITE : 0u) | (c->make_path ? MAKE_PATH : 0u));
	put_le64(p + SIZE_AT, size);
	return 0;
}

static int
check(const struct ic_copy *c, struct request *r, uint8_t *start, struct err *e)
{
	struct stat st;

	if (file_fstat(c->fd, &st) < 0)
		return err_sys(e, "File");
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "File: it is no ordinary file");
	r->size = (uint64_t)st.st_size;
	return fill(start, c, r->size, e);
}

int
ic_copy(struct ics *s, const struct ic_copy *c, struct err *e)
{
	uint8_t start[COPY_START];
	struct request r = { .s = s, .start = start, .fd = c->fd, .slot = -1 };
	int rc = check(c, &r, start, e);

	if (rc == 0)
		r.slot = rc = io_loop_add_file(s->loop, c->fd, e);
	if (rc < 0) {
		close(c->fd);
		return rc;
	}
	io_loop_call(s->loop, begin, &r);
	if (r.rc == 0)
		return 0;
	io_loop_drop_file(s->loop, r.slot);
	close(c->fd);
	if (r.rc == -EBUSY)
		return err_set(e, EBUSY, "another file is being copied");
	return ic_not_there(IC_FCOPY, e);
}

static void
collect(void *arg)
{
	struct request *r = arg;
	struct ic_fcopy *f = &r->s->fcopy;

	r->rc = f->close_due;
	r->fd = f->fd;
	r->slot = f->slot;
	r->end = f->rc;
	r->status = f->status;
	if (!f->close_due)
		return;
	f->close_due = f->wanted = f->ending = false;
	f->fd = -1;
}

void
ic_fcopy_work(struct ics *s)
{
	struct request r = { .s = s };

	io_loop_call(s->loop, collect, &r);
	if (!r.rc)
		return;
	io_loop_drop_file(s->loop, r.slot);
	close(r.fd);
	ic_ended(s, IC_OP_COPY, r.end, r.status);
}

void
ic_fcopy_free(struct ics *s)
{
	if (s->fcopy.fd >= 0)
		close(s->fcopy.fd);
	s->fcopy.fd = -1;
}

/* --- Its end --- */

static void
finish(struct ic_fcopy *f, int rc, uint32_t status)
{
	if (!f->wanted || f->ending)
		return;
	f->ending = true;
	f->rc = rc;
	f->status = status;
	f->close_due = !f->in_flight;
	if (f->close_due)
		ic_look(f->c.all);
}

/* The guest has a part of the file. */
static void
cancel(struct ic_fcopy *f, int rc, uint32_t status)
{
	f->doing = COPY_CANCELLING;
	finish(f, rc, status);
}

static void
cancel_on_loop(void *arg)
{
	struct request *r = arg;
	struct ic_fcopy *f = &r->s->fcopy;

	r->rc = f->wanted && !f->ending ? 0 : -EALREADY;
	if (r->rc < 0)
		return;
	f->cancel_due = true; /* after the answer that is on its way */
	if (f->doing == COPY_READING || !f->c.busy)
		cancel(f, -ECANCELED, 0);
	ic_next(&f->c);
}

int
ic_copy_cancel(struct ics *s, struct err *e)
{
	struct request r = { .s = s };

	io_loop_call(s->loop, cancel_on_loop, &r);
	return r.rc < 0 ? err_set(e, EALREADY, "no file is being copied") : 0;
}

/* --- Reading --- */

static void
read_piece(struct ic_fcopy *f)
{
	uint64_t left = f->size - f->at;

	f->doing = COPY_READING;
	f->in_flight = true;
	f->iov = (struct iovec){ f->piece, left < COPY_PIECE ? (size_t)left : COPY_PIECE };
	io_loop_readv(f->c.all->loop, &f->read, f->slot, &f->iov, 1, f->at);
}

static void
was_read(struct io_op *op, int res)
{
	struct ic_fcopy *f = (struct ic_fcopy *)((char *)op - offsetof(struct ic_fcopy, read));

	f->in_flight = false;
	if (f->ending) {
		f->close_due = true;
		ic_look(f->c.all);
	} else if (res <= 0) { /* 0: the file has become shorter */
		cancel(f, res < 0 ? res : -EIO, 0);
	} else {
		f->have = (uint32_t)res;
		f->doing = COPY_WRITING;
	}
	ic_next(&f->c);
}

void
ic_fcopy_init(struct ics *s)
{
	s->fcopy.read.done = was_read;
	s->fcopy.fd = s->fcopy.slot = -1;
}

/* --- The guest --- */

static void
write_piece(struct ic_fcopy *f)
{
	uint8_t p[DATA_AT + COPY_PIECE] = { 0 };

	put_le32(p, WRITE);
	put_le64(p + OFFSET_AT, f->at);
	put_le32(p + LENGTH_AT, f->have);
	memcpy(p + DATA_AT, f->piece, f->have);
	ic_ask(&f->c, p, sizeof(p), LIMIT_MS);
}

static void
operation(struct ic_fcopy *f, uint32_t op)
{
	uint8_t p[HEAD] = { 0 };

	put_le32(p, op);
	ic_ask(&f->c, p, sizeof(p), LIMIT_MS);
}

static void
next(struct ic *c)
{
	struct ic_fcopy *f = (struct ic_fcopy *)c;

	if (f->doing == COPY_IDLE && f->cancel_due)
		f->doing = COPY_CANCELLING;
	switch (f->doing) {
	case COPY_STARTING:
		ic_ask(c, f->start, sizeof(f->start), LIMIT_MS);
		break;
	case COPY_WRITING:
		write_piece(f);
		break;
	case COPY_COMPLETING:
		operation(f, COMPLETE);
		break;
	case COPY_CANCELLING:
		f->cancel_due = false;
		operation(f, CANCEL);
		break;
	case COPY_IDLE:
	case COPY_READING:
		break;
	}
}

static void
tell_progress(struct ic_fcopy *f)
{
	const struct ic_events *ev = &f->c.all->events;

	if (f->at - f->told <= f->size / TOLD && f->at != f->size)
		return;
	f->told = f->at;
	if (ev->progress)
		ev->progress(ev->ctx, f->at, f->size);
}

/* What comes after what has been answered. */
static void
go_on(struct ic_fcopy *f)
{
	if (f->doing == COPY_WRITING) {
		f->at += f->have;
		tell_progress(f);
	}
	if (f->at < f->size)
		read_piece(f);
	else
		f->doing = COPY_COMPLETING;
}

static int
answer(struct ic *c, uint32_t status, const uint8_t *p, size_t len)
{
	struct ic_fcopy *f = (struct ic_fcopy *)c;

	(void)p, (void)len;
	if (f->doing == COPY_CANCELLING) {
		f->doing = f->wanted && !f->ending ? COPY_STARTING
						   : COPY_IDLE; /* one may have come meanwhile */
	} else if (f->doing == COPY_COMPLETING && status == IC_OK) {
		f->cancel_due = false;
		f->doing = COPY_IDLE;
		finish(f, 0, 0);
	} else if (status != IC_OK && f->doing == COPY_STARTING) { /* what it has there is its own */
		f->cancel_due = false;
		f->doing = COPY_IDLE;
		finish(f, -EREMOTEIO, status);
	} else if (f->cancel_due) {
		cancel(f, -ECANCELED, 0);
	} else if (status != IC_OK) {
		cancel(f, -EREMOTEIO, status);
	} else {
		go_on(f);
	}
	return 0;
}

/* The guest has begun to write: it has said so. */
static bool
is_unfinished(const struct ic_fcopy *f)
{
	return f->doing == COPY_IDLE ? f->cancel_due : f->doing != COPY_STARTING;
}

static void
stop(struct ic *c, int rc)
{
	struct ic_fcopy *f = (struct ic_fcopy *)c;

	f->cancel_due = is_unfinished(f) && c->state != IC_CLOSED;
	f->doing = COPY_IDLE;
	finish(f, rc, 0);
}

static void
ready(struct ic *c)
{
	(void)c;
}

static void
snap(struct ic *c, struct snap *s)
{
	struct ic_fcopy *f = (struct ic_fcopy *)c;
	bool unfinished = is_unfinished(f);

	snap_bool(s, "unfinished", &unfinished);
	snap_check(s, !unfinished || c->ch, "unfinished", "without a channel");
	if (!s->saving && !s->rc)
		f->cancel_due = unfinished;
}

static const uint32_t versions[] = { 1 << 16 | 1, 0 };

const struct ic_type ic_fcopy_type = {
	.name = "fcopy",
	.label = "guest services",
	.class = "34d14be3-dee4-41c8-9ae7-6b174977c192",
	.instance = "eb765408-105f-49b6-b4aa-c123b64d17d4",
	.message = 7,
	.versions = versions,
	.ready = ready,
	.next = next,
	.answer = answer,
	.stop = stop,
	.snap = snap,
};
