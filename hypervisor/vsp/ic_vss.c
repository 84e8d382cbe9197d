/*
 * hypervisor/vsp/ic_vss.c - the guest's file systems stand still for a moment, so that a checkpoint finds
 * them whole: can it, then freeze, then thaw.
 *
 * Whoever has sent FREEZE sends THAW, whatever was answered, and whoever forgets to: a guest that stays
 * frozen is lost. There is a time after which it is thawed; a saved machine is thawed when it goes on.
 */
#include <errno.h>

#include "hypervisor/vsp/ic_private.h"

enum {
	HOT_BACKUP = 2,
	FREEZE = 5,
	THAW = 6,    /* operations */
	LENGTH = 32, /* head of 8 bytes; what drivers have behind it is shorter */
	LIMIT_MS = 60000,
};

static void
arm(struct ic_vss *v)
{
	struct ics *s = v->c.all;
	bool on = v->frozen && v->doing == VSS_IDLE && !v->thaw_due && !s->held;

	io_loop_timer(s->loop, &v->limit, on ? io_loop_now(s->loop) + v->seconds * IC_SECOND : 0);
}

static void
is_too_long(void *ctx)
{
	struct ic_vss *v = ctx;

	v->thaw_due = true;
	ic_next(&v->c);
}

void
ic_vss_init(struct ics *s)
{
	s->vss.limit = (struct io_timer){ .fn = is_too_long, .ctx = &s->vss };
}

struct request {
	struct ics *s;
	unsigned seconds;
	int rc;
};

static void
freeze_on_loop(void *arg)
{
	struct request *r = arg;
	struct ic_vss *v = &r->s->vss;
	bool busy = v->freeze_wanted || v->frozen || v->thaw_due || v->doing != VSS_IDLE;

	r->rc = v->c.state != IC_READY ? -ENOTCONN : busy ? -EBUSY : 0;
	if (r->rc < 0)
		return;
	v->freeze_wanted = true;
	v->seconds = r->seconds;
	ic_next(&v->c);
}

static void
thaw_on_loop(void *arg)
{
	struct request *r = arg;
	struct ic_vss *v = &r->s->vss;

	r->rc = v->frozen || v->doing == VSS_FREEZING ? 0 : -EALREADY;
	if (r->rc < 0)
		return;
	v->thaw_due = true;
	ic_next(&v->c);
}

int
ic_freeze(struct ics *s, unsigned seconds, struct err *e)
{
	struct request r = { .s = s, .seconds = seconds };

	io_loop_call(s->loop, freeze_on_loop, &r);
	if (r.rc == -EBUSY)
		return err_set(e, EBUSY, "the guest is frozen, or is being frozen or thawed");
	return r.rc < 0 ? ic_not_there(IC_VSS, e) : 0;
}

int
ic_thaw(struct ics *s, struct err *e)
{
	struct request r = { .s = s };

	io_loop_call(s->loop, thaw_on_loop, &r);
	return r.rc < 0 ? err_set(e, EALREADY, "the guest is not frozen") : 0;
}

/* --- The guest --- */

static void
ask(struct ic_vss *v, uint8_t operation, unsigned limit_ms)
{
	const uint8_t p[LENGTH] = { operation };

	ic_ask(&v->c, p, sizeof(p), limit_ms);
}

static void
next(struct ic *c)
{
	struct ic_vss *v = (struct ic_vss *)c;

	if (v->doing == VSS_FREEZING) { /* it can */
		v->frozen = true;
		ask(v, FREEZE, v->seconds * 1000);
	} else if (v->thaw_due) {
		v->thaw_due = false;
		v->doing = VSS_THAWING;
		ask(v, THAW, LIMIT_MS);
	} else if (v->freeze_wanted && v->doing == VSS_IDLE && !v->frozen) {
		v->doing = VSS_CHECKING;
		ask(v, HOT_BACKUP, LIMIT_MS);
	}
}

static void
freeze_ended(struct ic_vss *v, int rc, uint32_t status)
{
	bool was = v->freeze_wanted;

	v->freeze_wanted = false;
	if (was)
		ic_ended(v->c.all, IC_OP_FREEZE, rc, status);
}

static int
answer(struct ic *c, uint32_t status, const uint8_t *p, size_t len)
{
	struct ic_vss *v = (struct ic_vss *)c;
	int rc = status == IC_OK ? 0 : -EREMOTEIO;

	(void)p, (void)len;
	if (v->doing == VSS_CHECKING && rc == 0) {
		v->doing = VSS_FREEZING;
	} else if (v->doing == VSS_THAWING) {
		v->doing = VSS_IDLE;
		v->frozen = false;
		ic_ended(c->all, IC_OP_THAW, rc, status);
	} else {
		v->thaw_due |= rc < 0 && v->doing == VSS_FREEZING;
		v->doing = VSS_IDLE;
		freeze_ended(v, rc, status);
	}
	arm(v);
	return 0;
}

static void
stop(struct ic *c, int rc)
{
	struct ic_vss *v = (struct ic_vss *)c;
	bool gone = v->frozen && c->state == IC_CLOSED;

	v->doing = VSS_IDLE;
	v->thaw_due = v->frozen && !gone;
	v->frozen = v->frozen && !gone;
	arm(v);
	freeze_ended(v, rc, 0);
	if (gone)
		ic_ended(c->all, IC_OP_THAW, rc, 0);
}

static void
hold(struct ic *c, bool held)
{
	(void)held;
	arm((struct ic_vss *)c);
}

static void
ready(struct ic *c)
{
	(void)c;
}

static void
snap(struct ic *c, struct snap *s)
{
	struct ic_vss *v = (struct ic_vss *)c;

	bool frozen = v->frozen;

	snap_bool(s, "frozen", &frozen);
	snap_check(s, !frozen || c->ch, "frozen", "without a channel");
	if (s->saving || s->rc)
		return;
	v->frozen = v->thaw_due = frozen;
}

static const uint32_t versions[] = { 5 << 16, 0 };

const struct ic_type ic_vss_type = {
	.name = "vss",
	.label = "volume shadow copy",
	.class = "35fa2e29-ea23-4236-96ae-3a6ebacba440",
	.instance = "2450ee40-33bf-4fbd-892e-9fb06e9214cf",
	.message = 5,
	.versions = versions,
	.ready = ready,
	.next = next,
	.answer = answer,
	.stop = stop,
	.hold = hold,
	.snap = snap,
};
