/*
 * hypervisor/vsp/ic_timesync.c - the guest's clock: set to the host's when its driver is there, when the
 * machine goes on, when the host's clock is set or the control thread says so; and samples, from which a
 * guest that wants to keeps its own pace.
 *
 * A setting is a SYNC and then a SAMPLE. The clocks are read when the question is written, reference time and
 * wall clock together, so that what it waits in the ring does no harm (version 4).
 */
#include <errno.h>

#include "hypervisor/vsp/ic_private.h"

enum {
	SYNC = 1,
	SAMPLE = 2, /* flags */
	LENGTH_4 = 22,
	LENGTH_OLD = 25,
	LIMIT_MS = 30000,
	HUNDRED_NS = 100,
};
#define VERSION_4  (4u << 16)
#define SINCE_1601 116444736000000000ull /* of 1970, in 100 ns */

static void
arm(struct ic_timesync *t)
{
	struct ics *s = t->c.all;
	uint64_t period = s->config.time_sample_s * IC_SECOND;
	bool on = period && t->c.state == IC_READY && !s->held;

	io_loop_timer(s->loop, &t->sample, on ? io_loop_now(s->loop) + period : 0);
}

static void
sample_is_due(void *ctx)
{
	struct ic_timesync *t = ctx;

	t->sample_due = true;
	arm(t);
	ic_next(&t->c);
}

static void
clock_was_set(void *ctx)
{
	struct ic_timesync *t = ctx;

	if (t->c.state != IC_READY || !t->c.all->config.time_at_step)
		return;
	t->sync_due = true;
	ic_next(&t->c);
}

void
ic_timesync_init(struct ics *s)
{
	s->timesync.sample = (struct io_timer){ .fn = sample_is_due, .ctx = &s->timesync };
	s->timesync.clock = (struct io_watch){ .fn = clock_was_set, .ctx = &s->timesync, .slot = -1 };
}

struct request {
	struct ics *s;
	int rc;
};

static void
begin(void *arg)
{
	struct request *r = arg;
	struct ic_timesync *t = &r->s->timesync;

	r->rc = t->c.state != IC_READY ? -ENOTCONN : t->wanted ? -EBUSY : 0;
	if (r->rc < 0)
		return;
	t->sync_due = t->wanted = true;
	ic_next(&t->c);
}

int
ic_time_sync(struct ics *s, struct err *e)
{
	struct request r = { .s = s };

	io_loop_call(s->loop, begin, &r);
	if (r.rc == -EBUSY)
		return err_set(e, EBUSY, "the guest's clock is being set already");
	return r.rc < 0 ? ic_not_there(IC_TIMESYNC, e) : 0;
}

static void
ready(struct ic *c)
{
	struct ic_timesync *t = (struct ic_timesync *)c;

	if (c->all->config.time_at_boot)
		t->sync_due = true;
	arm(t);
}

static void
next(struct ic *c)
{
	struct ic_timesync *t = (struct ic_timesync *)c;
	const struct ic_clock *clock = &c->all->clock;
	uint8_t p[LENGTH_OLD] = { 0 };

	if (!t->sync_due && !t->sample_due)
		return;
	t->sent_sync = t->sync_due;
	t->sample_due = t->sync_due; /* one follows */
	t->sync_due = false;
	put_le64(p, clock->wall(clock->ctx) / HUNDRED_NS + SINCE_1601);
	if (c->version >= VERSION_4) {
		put_le64(p + 8, clock->reference(clock->ctx) / HUNDRED_NS);
		p[16] = t->sent_sync ? SYNC : SAMPLE;
	} else {
		p[24] = t->sent_sync ? SYNC : SAMPLE;
	}
	ic_ask(c, p, c->version >= VERSION_4 ? LENGTH_4 : LENGTH_OLD, LIMIT_MS);
}

static void
end(struct ic_timesync *t, int rc, uint32_t status)
{
	bool was = t->wanted;

	t->wanted = false;
	if (was)
		ic_ended(t->c.all, IC_OP_TIME, rc, status);
}

static int
answer(struct ic *c, uint32_t status, const uint8_t *p, size_t len)
{
	struct ic_timesync *t = (struct ic_timesync *)c;

	(void)p, (void)len;
	if (t->sent_sync)
		end(t, status == IC_OK ? 0 : -EREMOTEIO, status);
	return 0;
}

static void
stop(struct ic *c, int rc)
{
	struct ic_timesync *t = (struct ic_timesync *)c;

	t->sync_due = t->sample_due = false;
	arm(t);
	end(t, rc, 0);
}

static void
hold(struct ic *c, bool held)
{
	struct ic_timesync *t = (struct ic_timesync *)c;

	arm(t);
	if (!held && c->state == IC_READY && c->all->config.time_at_resume)
		t->sync_due = true; /* ic_hold looks for what is due */
}

static const uint32_t versions[] = { 1 << 16, 3 << 16, 4 << 16, 0 };

const struct ic_type ic_timesync_type = {
	.name = "timesync",
	.label = "time synchronization",
	.class = "9527e630-d0ae-497b-adce-e80ab0175caf",
	.instance = "2dd1ce17-079e-403c-b352-a1921ee207ee",
	.message = 4,
	.versions = versions,
	.ready = ready,
	.next = next,
	.answer = answer,
	.stop = stop,
	.hold = hold,
};
