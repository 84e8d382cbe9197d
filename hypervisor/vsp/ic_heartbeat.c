/*
 * hypervisor/vsp/ic_heartbeat.c - whether the guest lives: every two seconds a number, which it gives back
 * one greater, with the state of its applications.
 *
 * A guest that is busy may be late: its answer is waited for, and nothing more is asked. Off (not offered, or
 * no driver) it has no timer.
 */
#include <errno.h>

#include "hypervisor/vsp/ic_private.h"

enum {
	PERIOD_S = 2,
	LOST_AFTER = 5,     /* periods without an answer */
	ANEW_AFTER = 15,    /* periods: perhaps its answer was lost */
	LENGTH = 8 + 8 * 4, /* as long as a driver's own structure */
	APPLICATION_AT = 8,
	APPLICATIONS = 3,
};

static void
arm(struct ic_heartbeat *h)
{
	struct ics *s = h->c.all;
	bool on = !s->held && (h->c.state == IC_READY || (h->there && h->c.state != IC_CLOSED));

	io_loop_timer(s->loop, &h->tick, on ? io_loop_now(s->loop) + PERIOD_S * IC_SECOND : 0);
}

static void
tell(struct ic_heartbeat *h, bool there)
{
	struct ics *s = h->c.all;

	h->there = there;
	if (s->events.heartbeat)
		s->events.heartbeat(s->events.ctx, there, h->application);
}

static void
ticked(void *ctx)
{
	struct ic_heartbeat *h = ctx;

	bool waits = h->c.busy || h->c.state != IC_READY;

	if (waits && ++h->missed >= LOST_AFTER && h->there)
		tell(h, false);
	h->due = !waits;
	if (h->c.state == IC_READY && h->c.busy && h->missed >= ANEW_AFTER) {
		h->missed = LOST_AFTER;
		ic_renegotiate(&h->c, -ETIMEDOUT, false);
		return;
	}
	arm(h);
	ic_next(&h->c);
}

void
ic_heartbeat_init(struct ics *s)
{
	s->heartbeat.tick = (struct io_timer){ .fn = ticked, .ctx = &s->heartbeat };
}

static void
ready(struct ic *c)
{
	struct ic_heartbeat *h = (struct ic_heartbeat *)c;

	h->due = true;
	arm(h);
}

static void
next(struct ic *c)
{
	struct ic_heartbeat *h = (struct ic_heartbeat *)c;
	uint8_t p[LENGTH] = { 0 };

	if (!h->due)
		return;
	h->due = false;
	put_le64(p, h->sequence);
	ic_ask(c, p, sizeof(p), 0);
}

static int
answer(struct ic *c, uint32_t status, const uint8_t *p, size_t len)
{
	struct ic_heartbeat *h = (struct ic_heartbeat *)c;
	uint32_t application = len >= APPLICATION_AT + 4 ? get_le32(p + APPLICATION_AT) : 0;

	(void)status;
	if (len < 8 || get_le64(p) != h->sequence + 1)
		return -EPROTO;
	if (application > APPLICATIONS)
		application = 0;
	h->sequence++;
	h->answered++;
	h->missed = 0;
	h->last = io_loop_now(c->all->loop);
	if (!h->there || application != h->application) {
		h->application = application;
		tell(h, true);
	}
	return 0;
}

static void
stop(struct ic *c, int rc)
{
	struct ic_heartbeat *h = (struct ic_heartbeat *)c;

	(void)rc;
	h->due = false;
	arm(h);
	if (c->state == IC_CLOSED || c->broken) {
		h->missed = 0;
		if (h->there)
			tell(h, false);
	}
}

static void
hold(struct ic *c, bool held)
{
	struct ic_heartbeat *h = (struct ic_heartbeat *)c;

	if (held)
		h->missed = 0; /* that it stands still is not its fault */
	arm(h);
}

static void
snap(struct ic *c, struct snap *s)
{
	struct ic_heartbeat *h = (struct ic_heartbeat *)c;
	bool there = h->there;

	snap_u64(s, "sequence", &h->sequence, UINT64_MAX);
	snap_u32(s, "application", &h->application, APPLICATIONS);
	snap_bool(s, "there", &there);
	snap_check(s, !there || c->ch, "there", "without a channel");
	if (!s->saving && !s->rc)
		h->there = there;
}

static const uint32_t versions[] = { 1 << 16, 3 << 16, 0 };

const struct ic_type ic_heartbeat_type = {
	.name = "heartbeat",
	.label = "heartbeat",
	.class = "57164f39-9115-4e78-ab55-382f3bd5422d",
	.instance = "fd149e91-82e0-4a7d-afa6-2a4166cbd7c0",
	.message = 1,
	.versions = versions,
	.ready = ready,
	.next = next,
	.answer = answer,
	.stop = stop,
	.hold = hold,
	.snap = snap,
};
