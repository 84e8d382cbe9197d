/*
 * hypervisor/vsp/storage.c - the storage controller as the worker sees it: its units come and go, are
 * measured, paused and let go on.
 *
 * Control thread; what it changes it changes through io_loop_call, and what the I/O thread leaves to it
 * (freeing, the bus) it finds in storage_work.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "hypervisor/vmbus/wire.h"
#include "hypervisor/vsp/storage_private.h"
#include "lib/log.h"

/* A unit, and whom to tell when it is gone. */
struct unit {
	struct scsi_unit scsi; /* first */
	void (*gone)(void *ctx);
	void *gone_ctx;
};

/* --- What units tell (I/O thread) --- */

void
storage_ask(struct storage *s)
{
	if (s->asked)
		return;
	s->asked = true;
	if (s->events.work)
		s->events.work(s->events.ctx);
}

/* The guest waits for its end, with a closed channel or a reset. */
static bool
may_wait(void *ctx, const struct scsi_cmd *c)
{
	const struct storage *s = ctx;
	const struct channel *ch = ((const struct request *)c)->ch;

	return !ch->closing && !ch->broken && !(s->reset && (s->reset_all || s->reset_unit == c->unit));
}

static void
on_full(void *ctx, struct scsi_unit *u, int error)
{
	struct storage *s = ctx;

	if (s->events.full)
		s->events.full(s->events.ctx, s->number, u->lun, error);
}

static void
on_ejected(void *ctx, struct scsi_unit *u)
{
	struct storage *s = ctx;

	if (s->events.ejected)
		s->events.ejected(s->events.ctx, s->number, u->lun);
}

static void
on_slow(void *ctx, struct scsi_unit *u, uint64_t iops)
{
	struct storage *s = ctx;

	if (s->events.slow)
		s->events.slow(s->events.ctx, s->number, u->lun, iops);
}

static void
on_failed(void *ctx, struct scsi_unit *u, enum disk_op op, uint64_t offset, int error)
{
	struct storage *s = ctx;

	if (s->events.failed)
		s->events.failed(s->events.ctx, s->number, u->lun, op, offset, error);
}

static void
on_again(void *ctx, struct scsi_cmd *c)
{
	struct storage *s = ctx;
	struct request *r = (struct request *)c;

	s->running--; /* it begins once more */
	request_rewind(r);
	protocol_execute(r, true);
}

static void
on_retired(void *ctx, struct scsi_medium *m)
{
	struct storage *s = ctx;

	m->next = s->retired;
	s->retired = m;
	storage_ask(s);
}

static void
on_left(void *ctx, struct scsi_unit *u)
{
	struct storage *s = ctx;

	if (s->reset_unit == u)
		s->reset_unit = NULL;
	u->next = s->left;
	s->left = u;
	storage_ask(s);
}

/* --- What is left to the control thread --- */

enum { CHANNELS_AT_ONCE = 64 };
struct work {
	struct storage *s;
	struct channel *gone[CHANNELS_AT_ONCE];
	struct vmbus_channel *broken; /* one is enough: its device is taken back whole */
	const char *why;
	unsigned n_gone, subchannels;
	struct scsi_medium *retired;
	struct scsi_unit *left;
	int rc;
};

static void
collect_channels(struct work *w)
{
	struct channel **p = &w->s->channels;

	while (*p) {
		struct channel *c = *p;

		if (c->gone && w->n_gone < CHANNELS_AT_ONCE) {
			*p = c->next;
			w->gone[w->n_gone++] = c;
			continue;
		}
		if (c->broken && !c->told && !c->closing && !w->broken) {
			c->told = true;
			w->broken = c->ch;
			w->why = c->why;
		}
		p = &c->next;
	}
}

static void
collect(void *arg)
{
	struct work *w = arg;
	struct storage *s = w->s;

	s->asked = false;
	collect_channels(w);
	w->retired = s->retired;
	w->left = s->left;
	s->retired = NULL;
	s->left = NULL;
	w->subchannels = s->subchannels ? protocol_subchannels(s->subchannels) : 0;
}

static void
subchannels_done(void *arg)
{
	struct work *w = arg;

	protocol_subchannels_done(w->s, w->rc);
}

static void
free_media(const struct storage *s, struct scsi_medium *m)
{
	struct err e;

	for (struct scsi_medium *next; m; m = next) {
		next = m->next;
		e = (struct err){ 0 };
		if (disk_close(m->disk, &e) < 0)
			log_msg(LOG_ERROR, "%s: a disk that has gone: %s", s->name, e.msg);
		disk_free(m->disk);
		free(m);
	}
}

static void
free_units(struct scsi_unit *u)
{
	for (struct scsi_unit *next; u; u = next) {
		struct unit *unit = (struct unit *)u;

		next = u->next;
		if (unit->gone)
			unit->gone(unit->gone_ctx);
		free(unit);
	}
}

/* True when there was as much as fits: there may be more. */
static bool
work_once(struct storage *s)
{
	struct work w = { .s = s };

	io_loop_call(s->loop, collect, &w);
	free_media(s, w.retired); /* before those who had them are told */
	free_units(w.left);
	for (unsigned i = 0; i < w.n_gone; i++) {
		struct vmbus_channel *ch = w.gone[i]->ch;

		storage_channel_free(w.gone[i]);
		ch->ctx = NULL;
		vmbus_channel_closed(ch);
	}
	if (w.subchannels) {
		w.rc = vmbus_offer_subchannels(&s->dev, w.subchannels, NULL);
		io_loop_call(s->loop, subchannels_done, &w);
	}
	if (w.broken)
		vmbus_channel_break(w.broken, w.why);
	return w.n_gone == CHANNELS_AT_ONCE || w.broken;
}

void
storage_work(struct storage *s)
{
	while (work_once(s))
		;
}

/* --- Units --- */

/* One change or question, on the I/O thread. */
struct change {
	struct storage *s;
	unsigned lun;
	struct scsi_unit *unit;
	struct scsi_medium *medium;
	const struct unit_config *config;
	struct unit_stats *stats;
	void (*gone)(void *ctx);
	void *gone_ctx;
	uint64_t size;
	bool force;
	int rc;
};

static int
change(struct change *c, void (*fn)(void *arg))
{
	c->rc = -ENOENT;
	if (c->lun < STORAGE_UNITS)
		io_loop_call(c->s->loop, fn, c);
	return c->rc;
}

static int
no_unit(const struct storage *s, unsigned lun, struct err *e)
{
	return err_set(e, ENOENT, "%s has no unit %u", s->name, lun);
}

static bool
is_zero(const uint8_t *p, size_t n)
{
	while (n && !*p)
		p++, n--;
	return n == 0;
}

/* Whatever nobody has chosen comes from the machine's id, and so stays the same wherever its disks lie. */
static void
identify(const struct storage *s, unsigned lun, struct unit_config *c)
{
	static const uint8_t naa[4] = { 0x60, 0x02, 0x24, 0x80 };
	const uint8_t *id = s->machine_id;
	size_t n = 0;

	if (!c->serial[0]) {
		for (size_t i = 0; i < 12; i++)
			n += (size_t)snprintf(c->serial + n, sizeof(c->serial) - n, "%02x", id[i]);
		snprintf(c->serial + n, sizeof(c->serial) - n, "%02x%02x", s->number & 0xff, lun & 0xff);
	}
	if (is_zero(c->wwn, sizeof(c->wwn))) {
		memcpy(c->wwn, naa, sizeof(naa));
		for (size_t i = 0; i < 10; i++)
			c->wwn[4 + i] = (uint8_t)(id[i] ^ (i < 6 ? id[10 + i] : 0));
		c->wwn[14] = (uint8_t)s->number;
		c->wwn[15] = (uint8_t)lun;
	}
}

static void
enumerate(struct storage *s)
{
	if (s->state == PROTOCOL_READY) /* a driver that has not begun yet looks anyway */
		s->enumerate = true;
}

static void
add_on_loop(void *arg)
{
	struct change *c = arg;
	struct storage *s = c->s;

	c->rc = -EEXIST;
	if (s->unit[c->lun])
		return;
	c->rc = 0;
	s->unit[c->lun] = c->unit;
	s->luns |= 1ull << c->lun;
	c->unit->held = s->paused;
	enumerate(s);
}

static int
check_unit(
    const struct storage *s, unsigned lun, const struct unit_config *c, const struct disk *d, struct err *e)
{
	if (lun >= STORAGE_UNITS)
		return err_set(
		    e, EINVAL, "%s has units 0 to %d, and no unit %u", s->name, STORAGE_UNITS - 1, lun);
	if (c->kind == UNIT_DISK && (!d || (d->logical != 512 && d->logical != 4096)))
		return err_set(
		    e, EINVAL, "%s: unit %u: a disk has sectors of 512 or 4096 bytes", s->name, lun);
	if (c->kind == UNIT_DVD && d && scsi_dvd_type.block % d->logical)
		return err_set(
		    e, EINVAL, "%s: unit %u: a DVD has no sectors of %u bytes", s->name, lun, d->logical);
	return 0;
}

int
storage_add(struct storage *s, unsigned lun, const struct unit_config *config, struct disk *d, struct err *e)
{
	int rc = check_unit(s, lun, config, d, e);
	struct change c = { .s = s, .lun = lun };
	struct unit *u;

	if (rc < 0)
		return rc;
	u = calloc(1, sizeof(*u));
	c.medium = d ? calloc(1, sizeof(*c.medium)) : NULL;
	if (!u || (d && !c.medium)) {
		free(u);
		free(c.medium);
		return err_set(e, ENOMEM, "%s: out of memory", s->name);
	}
	if (d)
		c.medium->disk = d;
	c.unit = &u->scsi;
	u->scsi.host = &s->host;
	u->scsi.type = config->kind == UNIT_DVD ? &scsi_dvd_type : &scsi_disk_type;
	u->scsi.lun = lun;
	u->scsi.config = *config;
	u->scsi.config.serial[STORAGE_SERIAL] = '\0';
	u->scsi.medium = c.medium;
	identify(s, lun, &u->scsi.config);
	scsi_unit_init(&u->scsi);
	rc = change(&c, add_on_loop);
	if (rc < 0) {
		free(u);
		free(c.medium);
		return err_set(e, -rc, "%s has a unit %u already", s->name, lun);
	}
	return 0;
}

static void
remove_on_loop(void *arg)
{
	struct change *c = arg;
	struct storage *s = c->s;
	struct unit *u = (struct unit *)s->unit[c->lun];

	if (!u)
		return;
	c->rc = 0;
	s->unit[c->lun] = NULL;
	s->luns &= ~(1ull << c->lun);
	u->gone = c->gone;
	u->gone_ctx = c->gone_ctx;
	enumerate(s);
	scsi_leave(&u->scsi);
}

int
storage_remove(struct storage *s, unsigned lun, void (*gone)(void *ctx), void *ctx, struct err *e)
{
	struct change c = { .s = s, .lun = lun, .gone = gone, .gone_ctx = ctx };

	return change(&c, remove_on_loop) < 0 ? no_unit(s, lun, e) : 0;
}

static void
insert_on_loop(void *arg)
{
	struct change *c = arg;
	struct scsi_unit *u = c->s->unit[c->lun];

	if (!u)
		return;
	if (!u->type->removable)
		c->rc = -EINVAL;
	else
		c->rc = scsi_dvd_insert(u, c->medium, c->force) ? 0 : -EBUSY;
}

int
storage_insert(struct storage *s, unsigned lun, struct disk *d, bool force, struct err *e)
{
	struct change c = { .s = s, .lun = lun, .force = force };
	int rc = check_unit(s, lun, &(struct unit_config){ .kind = UNIT_DVD }, d, e);

	if (rc < 0)
		return rc;
	if (d) {
		c.medium = calloc(1, sizeof(*c.medium));
		if (!c.medium)
			return err_set(e, ENOMEM, "%s: out of memory", s->name);
		c.medium->disk = d;
	}
	rc = change(&c, insert_on_loop);
	if (rc < 0)
		free(c.medium);
	if (rc == -EBUSY)
		return err_set(e, EBUSY, "%s: unit %u is locked by the guest", s->name, lun);
	if (rc == -EINVAL)
		return err_set(e, EINVAL, "%s: unit %u is no DVD drive", s->name, lun);
	return rc < 0 ? no_unit(s, lun, e) : 0;
}

static void
limit_on_loop(void *arg)
{
	struct change *c = arg;
	struct scsi_unit *u = c->s->unit[c->lun];

	if (!u)
		return;
	c->rc = 0;
	u->config.pause_on_full = c->config->pause_on_full;
	scsi_set_limits(u, c->config->min_iops, c->config->max_iops, c->config->max_bytes);
}

int
storage_set_limits(struct storage *s, unsigned lun, const struct unit_config *config, struct err *e)
{
	struct change c = { .s = s, .lun = lun, .config = config };

	return change(&c, limit_on_loop) < 0 ? no_unit(s, lun, e) : 0;
}

static void
resize_on_loop(void *arg)
{
	struct change *c = arg;
	struct scsi_unit *u = c->s->unit[c->lun];

	if (!u || !u->medium)
		return;
	c->rc = c->size && c->size % u->medium->disk->logical == 0 ? 0 : -EINVAL;
	if (c->rc < 0)
		return;
	u->medium->disk->size = c->size;
	u->attention |= u->type->removable ? ATTENTION_MEDIUM : ATTENTION_CAPACITY;
}

int
storage_resized(struct storage *s, unsigned lun, uint64_t size, struct err *e)
{
	struct change c = { .s = s, .lun = lun, .size = size };
	int rc = change(&c, resize_on_loop);

	if (rc == -EINVAL)
		return err_set(
		    e, EINVAL, "%s: unit %u: its size is no whole number of sectors", s->name, lun);
	return rc < 0 ? no_unit(s, lun, e) : 0;
}

static void
measure_on_loop(void *arg)
{
	struct change *c = arg;

	if (!c->s->unit[c->lun])
		return;
	*c->stats = c->s->unit[c->lun]->stats;
	c->rc = 0;
}

int
storage_statistics(struct storage *s, unsigned lun, struct unit_stats *st)
{
	struct change c = { .s = s, .lun = lun, .stats = st };

	return change(&c, measure_on_loop);
}

/* --- Pause --- */

struct flight {
	struct storage *s;
	unsigned n; /* requests that have not come to rest */
};

void
storage_hold(struct storage *s, bool held)
{
	s->paused = held;
	for (unsigned i = 0; i < STORAGE_UNITS; i++)
		if (s->unit[i])
			scsi_hold(s->unit[i], held);
}

static void
pause_on_loop(void *arg)
{
	storage_hold(arg, true);
}

static void
resume_on_loop(void *arg)
{
	struct storage *s = arg;

	storage_hold(s, false);
	for (struct channel *c = s->channels; c; c = c->next)
		c->stalled = true; /* looked at in this round */
}

static void
count_on_loop(void *arg)
{
	struct flight *f = arg;
	struct storage *s = f->s;

	f->n = s->running + (s->reset ? 1 : 0) + (s->subchannels ? 1 : 0);
	for (unsigned i = 0; i < STORAGE_UNITS; i++)
		if (s->unit[i])
			f->n -= s->unit[i]->stats.waiting;
}

int
storage_pause(struct storage *s, unsigned timeout_ms, struct err *e)
{
	struct flight f = { .s = s };

	io_loop_call(s->loop, pause_on_loop, s);
	for (unsigned ms = 0;; ms++) {
		storage_work(s);
		io_loop_call(s->loop, count_on_loop, &f);
		if (!f.n)
			return 0;
		if (ms == timeout_ms)
			break;
		poll(NULL, 0, 1);
	}
	storage_resume(s);
	return err_set(
	    e, EBUSY, "%s: %u requests to its disks have not ended in %u ms", s->name, f.n, timeout_ms);
}

void
storage_resume(struct storage *s)
{
	io_loop_call(s->loop, resume_on_loop, s);
}

static void
retry_on_loop(void *arg)
{
	struct storage *s = arg;

	if (s->paused)
		return;
	for (unsigned i = 0; i < STORAGE_UNITS; i++)
		if (s->unit[i])
			scsi_retry(s->unit[i]);
}

void
storage_retry(struct storage *s)
{
	io_loop_call(s->loop, retry_on_loop, s);
}

/* --- The controller --- */

static const struct vmbus_device_ops storage_ops = {
	.name = "storage",
	.version = 1,
	.open = storage_channel_open,
	.close = storage_channel_close,
	.snap = storage_snap,
	.restored = storage_restored,
};

static void
offer(struct storage *s)
{
	static const uint8_t scsi[16] = { 0xba, 0x61, 0x63, 0xd9, 0x04, 0xa1, 0x4d, 0x29, 0xb6, 0x05, 0x72,
		0xe2, 0xff, 0xb1, 0xdc, 0x7f };
	struct vmbus_offer *o = &s->dev.offer;

	snprintf(s->name, sizeof(s->name), "SCSI controller %u", s->number);
	memcpy(o->type, scsi, sizeof(scsi));
	memcpy(o->instance, s->machine_id, sizeof(o->instance));
	for (size_t i = 0; i < 4; i++)
		o->instance[i] ^= scsi[i];
	o->instance[15] ^= (uint8_t)s->number;
	o->flags = OFFER_ENUMERATE;
	o->name = s->name;
}

int
storage_new(struct storage **out, struct vmbus *bus, struct io_loop *loop, unsigned number,
    const uint8_t machine_id[16], const struct storage_events *events, struct err *e)
{
	struct storage *s = calloc(1, sizeof(*s));
	void *m = mmap(NULL, LONG_ARRAYS * sizeof(*s->arrays), PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (!s || m == MAP_FAILED) {
		free(s);
		if (m != MAP_FAILED)
			munmap(m, LONG_ARRAYS * sizeof(*s->arrays));
		return err_set(e, ENOMEM, "SCSI controller %u: out of memory", number);
	}
	s->arrays = m;
	s->loop = loop;
	s->number = number;
	s->events = *events;
	s->max_subchannels = vmbus_max_subchannels(bus);
	memcpy(s->machine_id, machine_id, sizeof(s->machine_id));
	s->dev.ops = &storage_ops;
	s->dev.bus = bus;
	s->host = (struct scsi_host){ .ctx = s,
		.loop = loop,
		.scratch = storage_scratch,
		.may_wait = may_wait,
		.full = on_full,
		.again = on_again,
		.ejected = on_ejected,
		.slow = on_slow,
		.failed = on_failed,
		.retired = on_retired,
		.left = on_left };
	offer(s);
	s->round = (struct io_round){ .fn = channel_round, .ctx = s };
	io_loop_each_round(loop, &s->round);
	*out = s;
	return 0;
}

struct vmbus_device *
storage_device(struct storage *s)
{
	return &s->dev;
}

unsigned
storage_version(const struct storage *s)
{
	return atomic_load_explicit(&s->version, memory_order_relaxed);
}

static void
leave_on_loop(void *arg)
{
	struct storage *s = arg;

	for (unsigned i = 0; i < STORAGE_UNITS; i++) {
		if (s->unit[i])
			scsi_leave(s->unit[i]);
		s->unit[i] = NULL;
	}
}

void
storage_free(struct storage *s)
{
	if (!s)
		return;
	io_loop_call(s->loop, leave_on_loop, s);
	storage_work(s);
	munmap(s->arrays, LONG_ARRAYS * sizeof(*s->arrays));
	free(s);
}
