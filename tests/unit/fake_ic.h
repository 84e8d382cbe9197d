/*
 * tests/unit/fake_ic.h - integration components between a fake bus, a fake loop and a guest's drivers: for
 * tests and fuzz targets. The rings are real; the bus is what a component sees of it, and nothing more.
 *
 * The guest takes questions (fake_ic_take) and answers them (fake_ic_answer), as Linux does: in the
 * question's own bytes, with other flags.
 */
#ifndef TESTS_UNIT_FAKE_IC_H
#define TESTS_UNIT_FAKE_IC_H

#include <sys/mman.h>

#include "hypervisor/vsp/ic_private.h"
#include "lib/log.h"
#include "tests/unit/fake_loop.h"
#include "tests/unit/fake_vmbus.h"

enum { FAKE_IC_MB = 16, FAKE_IC_PAGES = 8, FAKE_IC_MESSAGE = 20000, FAKE_ENDS = 64 };

/* The other side of what components call. */
struct vmbus {
	unsigned offered, revoked, closed, broke, signals;
	int offer_rc;
};

int
vmbus_offer_device(struct vmbus *b, struct vmbus_device *d, struct err *e)
{
	if (b->offer_rc)
		return err_set(e, -b->offer_rc, "refused by the test");
	b->offered++;
	d->bus = b;
	d->node = (struct vmbus_node *)(void *)b; /* something */
	return 0;
}

void
vmbus_channel_closed(struct vmbus_channel *ch)
{
	ch->open = false;
	ch->device->bus->closed++;
}

void
vmbus_channel_signal(struct vmbus_channel *ch)
{
	ch->device->bus->signals++;
}

void
vmbus_channel_break(struct vmbus_channel *ch, const char *why)
{
	(void)why;
	ch->device->bus->broke++;
	ch->device->ops->close(ch->device, ch);
}

struct fake_ic_channel {
	struct vmbus_channel ch;
	struct fake_channel guest;
	uint8_t message[FAKE_IC_MESSAGE]; /* taken last: with the pipe's head */
	long len;
};

struct fake_ic {
	struct fake_vmbus f; /* of it: memory, and who is kicked */
	struct vmbus bus;
	struct io_loop *loop;
	struct ics *s;
	struct fake_ic_channel c[IC_KINDS];
	uint64_t wall, reference;
	int clock_fd;
	unsigned work, facts, beats, progresses, completions;
	bool there;
	unsigned application;
	uint64_t done, total;
	struct {
		enum ic_op op;
		int rc;
		uint32_t status;
	} end[FAKE_ENDS];
	unsigned ends;
};

static inline struct fake_ic *
fake_ic_of(struct ics *s)
{
	return s->events.ctx;
}

void
vmbus_revoke_device(struct vmbus_device *d, void (*gone)(struct vmbus_device *d))
{
	struct fake_ic *x = fake_ic_of(((struct ic *)d)->all);

	(void)gone;
	x->bus.revoked++;
	for (unsigned i = 0; i < IC_KINDS; i++)
		if (x->c[i].ch.device == d && x->c[i].ch.open)
			d->ops->close(d, &x->c[i].ch);
	d->node = NULL;
}

static inline void
fake_ic_work(void *ctx)
{
	((struct fake_ic *)ctx)->work++;
}

static inline void
fake_ic_beat(void *ctx, bool there, unsigned application)
{
	struct fake_ic *x = ctx;

	x->beats++;
	x->there = there;
	x->application = application;
}

static inline void
fake_ic_facts(void *ctx)
{
	((struct fake_ic *)ctx)->facts++;
}

static inline void
fake_ic_ended(void *ctx, enum ic_op op, int rc, uint32_t status)
{
	struct fake_ic *x = ctx;
	unsigned i = x->ends++ % FAKE_ENDS;

	x->end[i].op = op;
	x->end[i].rc = rc;
	x->end[i].status = status;
}

static inline void
fake_ic_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct fake_ic *x = ctx;

	x->progresses++;
	x->done = done;
	x->total = total;
}

static inline uint64_t
fake_ic_wall(void *ctx)
{
	return ((struct fake_ic *)ctx)->wall;
}

static inline uint64_t
fake_ic_reference(void *ctx)
{
	return ((struct fake_ic *)ctx)->reference;
}

/* Both threads do what there is to do; false when there was no end. */
static inline bool
fake_ic_run(struct fake_ic *x)
{
	bool ended = fake_loop_run(x->loop);

	while (x->work) {
		x->work = 0;
		ics_work(x->s);
		ended = fake_loop_run(x->loop) && ended;
	}
	return ended;
}

static inline void
fake_ic_pass(struct fake_ic *x, uint64_t ms)
{
	fake_loop_pass(x->loop, ms * 1000000);
	fake_ic_run(x);
}

static inline void
fake_ic_make(struct fake_ic *x, const struct ic_config *config)
{
	const struct ic_clock clock = { x, fake_ic_reference, fake_ic_wall };
	const struct ic_events events = { x, fake_ic_work, fake_ic_beat, fake_ic_facts, fake_ic_ended,
		fake_ic_progress };

	x->loop = fake_loop_new();
	if (ics_new(&x->s, &x->bus, x->loop, config, &clock, x->clock_fd, &events, NULL) < 0)
		abort();
}

static inline struct ic_config
fake_ic_config(void)
{
	return (struct ic_config){ .on = { true, true, true, true, true, true },
		.time_at_boot = true,
		.time_at_resume = true,
		.time_at_step = true };
}

/* All components, on a machine that runs. */
static inline void
fake_ic_init(struct fake_ic *x)
{
	struct ic_config config = fake_ic_config();

	memset(x, 0, sizeof(*x));
	log_open("test", 2, (enum log_level)0);
	if (gmem_new(&x->f.mem, (uint64_t)FAKE_IC_MB << 20, false, NULL) < 0 ||
	    gmem_add(x->f.mem, 0, (uint64_t)FAKE_IC_MB << 20, NULL, NULL) < 0)
		abort();
	x->clock_fd = eventfd(0, EFD_NONBLOCK);
	x->wall = 1700000000000000000;
	x->reference = 5000000000;
	fake_ic_make(x, &config);
	ics_go(x->s);
}

/* Rings of FAKE_IC_PAGES pages each way, at the same place each time. */
static inline void
fake_ic_map(struct fake_ic *x, enum ic_kind kind)
{
	struct fake_ic_channel *c = &x->c[kind];
	uint64_t pfn[2 * FAKE_IC_PAGES], first = FAKE_FIRST_PAGE + (unsigned)kind * 2 * FAKE_IC_PAGES;

	for (uint32_t n = 0; n < 2 * FAKE_IC_PAGES; n++)
		pfn[n] = first + n;
	c->ch = (struct vmbus_channel){ .device = &x->s->ic[kind]->dev,
		.relid = kind + 1,
		.connection = 100 + kind,
		.kick_fd = eventfd(0, EFD_NONBLOCK),
		.open = true };
	if (ring_pair_map(&c->ch.rings, x->f.mem, pfn, 2 * FAKE_IC_PAGES, FAKE_IC_PAGES) < 0)
		abort();
	c->guest.f = &x->f;
	c->guest.connection = 100 + kind;
	c->guest.out = fake_ring(&x->f, first, FAKE_IC_PAGES);
	c->guest.in = fake_ring(&x->f, first + FAKE_IC_PAGES, FAKE_IC_PAGES);
	x->f.bound[kind].conn = 100 + kind;
	x->f.bound[kind].fd = c->ch.kick_fd;
}

static inline void
fake_ic_open(struct fake_ic *x, enum ic_kind kind)
{
	uint64_t first = FAKE_FIRST_PAGE + (unsigned)kind * 2 * FAKE_IC_PAGES;
	struct vmbus_channel *ch = &x->c[kind].ch;

	gmem_zero(x->f.mem, first * GMEM_PAGE, 2ull * FAKE_IC_PAGES * GMEM_PAGE);
	fake_ic_map(x, kind);
	if (ch->device->ops->open(ch->device, ch, NULL) < 0)
		abort();
	fake_ic_run(x);
}

static inline void
fake_ic_unmap(struct fake_ic *x, enum ic_kind kind)
{
	struct fake_ic_channel *c = &x->c[kind];

	if (c->ch.kick_fd <= 0 || c->ch.open)
		return;
	ring_pair_unmap(&c->ch.rings);
	close(c->ch.kick_fd);
	x->f.bound[kind].conn = 0;
	c->ch.kick_fd = 0;
}

static inline void
fake_ic_close(struct fake_ic *x, enum ic_kind kind)
{
	struct vmbus_channel *ch = &x->c[kind].ch;

	if (ch->kick_fd > 0 && ch->open)
		ch->device->ops->close(ch->device, ch);
	fake_ic_run(x);
	fake_ic_unmap(x, kind);
}

static inline void
fake_ic_drop(struct fake_ic *x)
{
	for (unsigned i = 0; i < IC_KINDS; i++)
		fake_ic_close(x, (enum ic_kind)i);
	ics_free(x->s);
	free(x->loop);
}

static inline void
fake_ic_free(struct fake_ic *x)
{
	fake_ic_drop(x);
	gmem_free(x->f.mem);
	close(x->clock_fd);
}

/* --- the guest's driver --- */

/* The next question; its payload's bytes, -1: there is none. */
static inline long
fake_ic_take(struct fake_ic *x, enum ic_kind kind)
{
	struct fake_ic_channel *c = &x->c[kind];
	struct packet_head h;

	fake_ic_run(x);
	memset(c->message, 0, sizeof(c->message));
	do {
		c->len = fake_recv(&c->guest, &h, c->message, sizeof(c->message));
		if (c->len < 0)
			return -1;
		x->completions += h.type == PACKET_COMPLETION;
	} while (h.type == PACKET_COMPLETION);
	if (h.type != PACKET_INBAND || h.flags || get_le32(c->message) != 1)
		abort();
	c->len = (long)get_le32(c->message + 4) + IC_PIPE;
	return c->len - IC_HEAD;
}

/* Its payload. */
static inline uint8_t *
fake_ic_payload(struct fake_ic *x, enum ic_kind kind)
{
	return x->c[kind].message + IC_HEAD;
}

/* Sends `len` bytes of the message as it is now. */
static inline void
fake_ic_send(struct fake_ic *x, enum ic_kind kind, size_t len)
{
	struct fake_ic_channel *c = &x->c[kind];

	fake_send(&c->guest, PACKET_INBAND, 0, 1, NULL, 0, c->message, len);
	fake_ic_run(x);
}

static inline void
fake_ic_answer(struct fake_ic *x, enum ic_kind kind, uint32_t status)
{
	struct fake_ic_channel *c = &x->c[kind];

	put_le32(c->message + IC_PIPE + 12, status);
	c->message[IC_PIPE + 17] = 1 | 4;
	fake_ic_send(x, kind, (size_t)c->len);
}

/* The answer to what was taken, which offers versions: these. 0.0 as message version: none suits. */
static inline void
fake_ic_agree(struct fake_ic *x, enum ic_kind kind, uint32_t framework, uint32_t version)
{
	uint8_t *p = fake_ic_payload(x, kind);

	put_le16(x->c[kind].message + IC_PIPE + 10, 16);
	put_le16(p, version != 0);
	put_le16(p + 2, version != 0);
	put_le16(p + 8, (uint16_t)(framework >> 16));
	put_le16(p + 10, (uint16_t)framework);
	put_le16(p + 12, (uint16_t)(version >> 16));
	put_le16(p + 14, (uint16_t)version);
	fake_ic_answer(x, kind, 0);
}

/* What Linux 6 chooses. */
static inline uint32_t
fake_ic_newest(enum ic_kind kind)
{
	static const uint32_t newest[IC_KINDS] = { [IC_HEARTBEAT] = 3 << 16,
		[IC_SHUTDOWN] = 3 << 16 | 2,
		[IC_TIMESYNC] = 4 << 16,
		[IC_KVP] = 4 << 16,
		[IC_VSS] = 5 << 16,
		[IC_FCOPY] = 1 << 16 | 1 };

	return newest[kind];
}

static inline bool
fake_ic_negotiate(struct fake_ic *x, enum ic_kind kind)
{
	if (fake_ic_take(x, kind) < 0 || get_le16(x->c[kind].message + IC_PIPE + 4) != 0)
		return false;
	fake_ic_agree(x, kind, 3 << 16, fake_ic_newest(kind));
	return x->s->ic[kind]->state == IC_READY;
}

static inline bool
fake_ic_start(struct fake_ic *x, enum ic_kind kind)
{
	fake_ic_open(x, kind);
	return fake_ic_negotiate(x, kind);
}

/* Something is asked that the guest has to answer; most components do that by themselves. */
static inline bool
fake_ic_begin(struct fake_ic *x, enum ic_kind kind)
{
	struct ic_copy copy = { .fd = -1, .name = "n", .path = "/p" };
	int rc = 0;

	if (kind == IC_SHUTDOWN)
		rc = ic_shutdown(x->s, IC_POWER_OFF, false, "", NULL);
	if (kind == IC_VSS)
		rc = ic_freeze(x->s, 10, NULL);
	if (kind == IC_FCOPY) {
		copy.fd = memfd_create("source", MFD_CLOEXEC);
		if (ftruncate(copy.fd, 10000) < 0)
			abort();
		rc = ic_copy(x->s, &copy, NULL);
	}
	fake_ic_run(x);
	return rc == 0;
}

/* Whether operation `op` ended last, and with what. */
static inline bool
fake_ic_did_end(const struct fake_ic *x, enum ic_op op, int rc)
{
	unsigned i = (x->ends - 1) % FAKE_ENDS;

	return x->ends && x->end[i].op == op && x->end[i].rc == rc;
}

#endif
