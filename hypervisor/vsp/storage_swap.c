/*
 * hypervisor/vsp/storage_swap.c - another disk under a unit while its guest runs: its requests wait, those in
 * flight end, the disk is exchanged, and those that wait go on with the other one.
 *
 * Control thread. The unit rests only as long as its owner works on its disk; the controller's other units go
 * on. Whatever a guest does meanwhile (resets, closed channels) it can do: requests that wait are ended as
 * any that wait.
 */
#include <errno.h>
#include <poll.h>

#include "hypervisor/vsp/storage_private.h"

struct swap {
	struct storage *s;
	unsigned lun;
	struct disk *disk;
	unsigned in_flight;
	bool resting;
	int rc;
};

static int
call(struct swap *w, void (*fn)(void *arg))
{
	w->rc = -ENOENT;
	if (w->lun < STORAGE_UNITS)
		io_loop_call(w->s->loop, fn, w);
	return w->rc;
}

static struct scsi_unit *
unit_of(const struct swap *w)
{
	struct scsi_unit *u = w->s->unit[w->lun];

	return u && u->medium ? u : NULL;
}

static void
rest_on_loop(void *arg)
{
	struct swap *w = arg;
	struct scsi_unit *u = unit_of(w);

	if (!u)
		return;
	scsi_rest(u, w->resting);
	w->rc = 0;
}

static void
look_on_loop(void *arg)
{
	struct swap *w = arg;
	struct scsi_unit *u = unit_of(w);

	if (!u)
		return;
	w->in_flight = u->stats.in_flight;
	w->disk = u->medium->disk;
	w->rc = 0;
}

int
storage_rest(struct storage *s, unsigned lun, unsigned timeout_ms, struct disk **d, struct err *e)
{
	struct swap w = { .s = s, .lun = lun, .resting = true };

	if (call(&w, rest_on_loop) < 0)
		return err_set(e, ENOENT, "%s has no unit %u with a disk in it", s->name, lun);
	for (unsigned ms = 0;; ms++) {
		call(&w, look_on_loop);
		if (!w.in_flight) {
			*d = w.disk;
			return 0;
		}
		if (ms == timeout_ms)
			break;
		poll(NULL, 0, 1);
	}
	storage_go_on(s, lun);
	return err_set(e, EBUSY, "%s: unit %u: %u requests to its disk have not ended in %u ms", s->name, lun,
	    w.in_flight, timeout_ms);
}

void
storage_go_on(struct storage *s, unsigned lun)
{
	struct swap w = { .s = s, .lun = lun, .resting = false };

	call(&w, rest_on_loop);
}

/* What a guest has been told of its disk it is not told again. */
static int
check_same(
    const struct storage *s, unsigned lun, const struct disk *was, const struct disk *is, struct err *e)
{
	if (is->size != was->size)
		return err_set(e, EINVAL, "%s: unit %u has %llu bytes, and its new disk %llu", s->name, lun,
		    (unsigned long long)was->size, (unsigned long long)is->size);
	if (is->logical != was->logical || is->physical != was->physical)
		return err_set(e, EINVAL, "%s: unit %u has sectors of %u/%u bytes, and its new disk of %u/%u",
		    s->name, lun, was->logical, was->physical, is->logical, is->physical);
	if (is->read_only != was->read_only)
		return err_set(
		    e, EINVAL, "%s: unit %u can be written to, or not, as before only", s->name, lun);
	return 0;
}

static void
exchange_on_loop(void *arg)
{
	struct swap *w = arg;
	struct scsi_unit *u = unit_of(w);

	if (!u)
		return;
	u->told_discard = scsi_can_discard(u);
	u->told_zeroes = scsi_discard_zeroes(u);
	u->medium->disk = w->disk; /* whoever waits has the medium, not the disk */
	w->rc = 0;
}

int
storage_exchange(struct storage *s, unsigned lun, struct disk *d, struct err *e)
{
	struct swap w = { .s = s, .lun = lun };
	int rc = call(&w, look_on_loop);

	if (rc == 0)
		rc = check_same(s, lun, w.disk, d, e);
	else
		err_set(e, ENOENT, "%s has no unit %u with a disk in it", s->name, lun);
	if (rc < 0)
		return rc;
	w.disk = d;
	return call(&w, exchange_on_loop);
}
