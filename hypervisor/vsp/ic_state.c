/*
 * hypervisor/vsp/ic_state.c - a component's saved state: what was agreed on, the number of its last question,
 * and what is its own.
 *
 * An answer that was on its way belongs to the machine as it was: whoever asked hears that it failed, and the
 * component agrees on versions anew; the old answer, found in the ring, is one to another question.
 */
#include <errno.h>

#include "hypervisor/vsp/ic_private.h"

struct job {
	struct ic *c;
	struct snap *snap;
};

static void
snap_on_loop(void *arg)
{
	struct job *j = arg;
	struct ic *c = j->c;
	struct snap *s = j->snap;
	uint8_t state = (uint8_t)c->state;
	bool open = c->ch != NULL;

	snap_u8(s, "state", &state, IC_STATES - 1);
	snap_u32(s, "framework", &c->framework, UINT32_MAX);
	snap_u32(s, "version", &c->version, UINT32_MAX);
	snap_u8(s, "transaction", &c->transaction, UINT8_MAX);
	snap_bool(s, "busy", &c->busy);
	if (!s->saving) {
		snap_check(s, (state != IC_CLOSED) == open, "state", "does not go with the channel's");
		if (state == IC_READY)
			snap_check(s, ic_speaks(c, c->framework, c->version), "version", "is not spoken");
		else
			c->framework = c->version = 0;
		snap_check(s, !c->busy || state == IC_READY || state == IC_NEGOTIATING, "busy",
		    "without a question");
	}
	if (c->type->snap)
		c->type->snap(c, s);
	if (s->saving)
		return;
	if (s->rc) { /* nothing of it is used, and its channel will be closed */
		c->busy = false;
		return;
	}
	c->state = (enum ic_state)state;
}

void
ic_snap(struct vmbus_device *d, struct snap *snap)
{
	struct job j = { (struct ic *)d, snap };

	io_loop_call(j.c->all->loop, snap_on_loop, &j);
}

static void
restored_on_loop(void *arg)
{
	struct ic *c = arg;
	bool renew = c->busy || c->state == IC_NEGOTIATING;

	if (!c->ch)
		return;
	if (renew) {
		ic_renegotiate(c, -ECANCELED, false);
		return;
	}
	if (c->type->hold) /* its timers */
		c->type->hold(c, c->all->held);
	ic_drain(c);
	ic_next(c);
}

void
ic_restored(struct vmbus_device *d)
{
	struct ic *c = (struct ic *)d;

	io_loop_call(c->all->loop, restored_on_loop, c);
}
