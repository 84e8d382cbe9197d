/* hypervisor/disk/disk.c - what is the same for disks of all formats; and requests for whoever can wait. */
#include "hypervisor/disk/disk.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>

enum { LOOK_MS = 1 };

struct question {
	const struct disk *d;
	bool idle;
};

static void
ask(void *arg)
{
	struct question *q = arg;

	q->idle = q->d->ops->idle(q->d);
}

/* Until nothing follows any more from what was done: some writes of tables, no more. */
static void
wait_idle(struct disk *d)
{
	struct question q = { .d = d };
	bool threaded = d->loop && io_loop_has_thread(d->loop);

	if (!d->ops->idle)
		return;
	for (;;) {
		if (threaded)
			io_loop_call(d->loop, ask, &q);
		else
			ask(&q);
		if (q.idle)
			return;
		if (threaded)
			poll(NULL, 0, LOOK_MS);
		else if (!file_pump(d->file))
			return;
	}
}

int
disk_close(struct disk *d, struct err *e)
{
	if (!d || d->read_only)
		return 0;
	wait_idle(d);
	return d->ops->close(d, e);
}

void
disk_free(struct disk *d)
{
	if (!d)
		return;
	wait_idle(d);
	d->ops->free(d);
}

/* --- Requests that are waited for -------------------------------------------------------------------- */

struct waiter {
	struct disk_io io; /* first */
	bool ended;
	int rc;
};

static void
waiter_done(struct disk_io *io, int rc)
{
	struct waiter *w = (struct waiter *)io;

	w->ended = true;
	w->rc = rc;
}

int
disk_wait(struct disk *d, const struct disk_io *io)
{
	struct waiter w = { .io = *io };

	w.io.done = waiter_done;
	disk_submit(d, &w.io);
	while (!w.ended)
		if (!file_pump(d->file))
			return -EDEADLK; /* nothing is in flight that could end it */
	return w.rc;
}
