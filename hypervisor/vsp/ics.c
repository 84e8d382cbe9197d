/*
 * hypervisor/vsp/ics.c - all integration components of a machine, as the worker sees them: made, offered,
 * taken back, held while the machine does not run. Control thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/vmbus/wire.h"
#include "hypervisor/vsp/ic_private.h"
#include "lib/guid.h"

const char *const ic_names[] = { [IC_HEARTBEAT] = "Heartbeat",
	[IC_SHUTDOWN] = "Shutdown",
	[IC_TIMESYNC] = "TimeSynchronization",
	[IC_KVP] = "KeyValuePairExchange",
	[IC_VSS] = "VSS",
	[IC_FCOPY] = "GuestServiceInterface",
	NULL };
const char *const ic_states[] = { [IC_CLOSED] = "NoContact",
	[IC_OPEN] = "Opened",
	[IC_NEGOTIATING] = "Negotiating",
	[IC_READY] = "Ok",
	[IC_ALONE] = "ProtocolMismatch",
	NULL };
const char *const ic_applications[] = { "Unknown", "Healthy", "Critical", "Stopped", NULL };
const char *const ic_shutdown_kinds[] = {
	[IC_POWER_OFF] = "PowerOff", [IC_REBOOT] = "Reboot", [IC_HIBERNATE] = "Hibernate", NULL
};
const char *const kvp_pools[] = { [KVP_EXTERNAL] = "External",
	[KVP_GUEST] = "Guest",
	[KVP_INTRINSIC] = "Intrinsic",
	[KVP_HOST] = "Host",
	NULL };

static const struct ic_type *const types[IC_KINDS] = { [IC_HEARTBEAT] = &ic_heartbeat_type,
	[IC_SHUTDOWN] = &ic_shutdown_type,
	[IC_TIMESYNC] = &ic_timesync_type,
	[IC_KVP] = &ic_kvp_type,
	[IC_VSS] = &ic_vss_type,
	[IC_FCOPY] = &ic_fcopy_type };

void
ic_ended(struct ics *s, enum ic_op op, int rc, uint32_t status)
{
	if (s->events.ended)
		s->events.ended(s->events.ctx, op, rc, status);
}

int
ic_not_there(enum ic_kind kind, struct err *e)
{
	return err_set(e, ENOTCONN, "%s: the guest does not answer it (no driver, no daemon, or it is off)",
	    ic_names[kind]);
}

/* --- The machine runs, does not --- */

static void
go_on_loop(void *arg)
{
	struct ics *s = arg;

	if (!s->held)
		return;
	s->held = false;
	if (s->timesync.clock.slot >= 0 && !s->clock_watched) {
		s->clock_watched = true;
		io_loop_watch(s->loop, &s->timesync.clock);
	}
	for (unsigned i = 0; i < IC_KINDS; i++)
		ic_hold(s->ic[i], false);
}

static void
hold_on_loop(void *arg)
{
	struct ics *s = arg;

	if (s->held)
		return;
	s->held = true;
	for (unsigned i = 0; i < IC_KINDS; i++)
		ic_hold(s->ic[i], true);
}

void
ics_go(struct ics *s)
{
	io_loop_call(s->loop, go_on_loop, s);
}

void
ics_hold(struct ics *s)
{
	io_loop_call(s->loop, hold_on_loop, s);
}

/* --- What the I/O thread leaves to the control thread --- */

struct work {
	struct ics *s;
	struct vmbus_channel *broken;
};

static void
collect(void *arg)
{
	struct work *w = arg;

	w->s->asked = false;
	w->broken = NULL;
	for (unsigned i = 0; i < IC_KINDS; i++) {
		struct ic *c = w->s->ic[i];

		if (!c->broken || c->told_broken || w->broken || !c->ch)
			continue;
		c->told_broken = true;
		w->broken = c->ch;
	}
}

void
ics_work(struct ics *s)
{
	struct work w = { .s = s };

	do {
		io_loop_call(s->loop, collect, &w);
		if (w.broken)
			vmbus_channel_break(w.broken, "its ring makes no sense");
	} while (w.broken);
	ic_fcopy_work(s);
}

/* --- Reports --- */

struct reporting {
	struct ics *s;
	struct ic_report *r;
	enum ic_kind kind;
};

static void
report_on_loop(void *arg)
{
	struct reporting *r = arg;
	const struct ics *s = r->s;
	const struct ic *c = s->ic[r->kind];
	uint64_t now = io_loop_now(s->loop), last = s->heartbeat.last;

	*r->r = (struct ic_report){ .kind = r->kind,
		.state = c->state,
		.version = c->version,
		.framework = c->framework,
		.mistakes = c->mistakes };
	if (r->kind == IC_HEARTBEAT) {
		r->r->application = s->heartbeat.application;
		r->r->there = s->heartbeat.there;
		r->r->heartbeats = s->heartbeat.answered;
		r->r->since_ms = last && now > last ? (now - last) / 1000000 : 0;
	}
	r->r->frozen = r->kind == IC_VSS && s->vss.frozen;
}

void
ics_report(struct ics *s, enum ic_kind kind, struct ic_report *r)
{
	io_loop_call(s->loop, report_on_loop, &(struct reporting){ s, r, kind });
	r->on = s->config.on[kind];
}

/* --- On and off --- */

int
ics_set(struct ics *s, enum ic_kind kind, bool on, bool *changed, struct err *e)
{
	struct ic *c = s->ic[kind];
	int rc;

	*changed = false;
	if (s->config.on[kind] == on)
		return 0;
	if (!on) {
		struct ic_report r;

		ics_report(s, kind, &r);
		if (r.frozen) /* nobody could thaw it */
			return err_set(e, EBUSY, "%s: the guest is frozen: thaw it first", ic_names[kind]);
		vmbus_revoke_device(&c->dev, NULL); /* a channel closes at once: nothing is in flight */
		s->config.on[kind] = false;
		*changed = true;
		return 0;
	}
	if (c->dev.node)
		return err_set(e, EBUSY, "%s: the bus has not let go of it yet", ic_names[kind]);
	rc = vmbus_offer_device(s->bus, &c->dev, e);
	*changed = s->config.on[kind] = rc == 0;
	return rc;
}

/* --- Life --- */

static const struct vmbus_device_ops ops[IC_KINDS] = {
#define OPS(kind, name_)                   \
	[kind] = { .name = name_,          \
		.version = 1,              \
		.open = ic_channel_open,   \
		.close = ic_channel_close, \
		.snap = ic_snap,           \
		.restored = ic_restored }
	OPS(IC_HEARTBEAT, "heartbeat"),
	OPS(IC_SHUTDOWN, "shutdown"),
	OPS(IC_TIMESYNC, "timesync"),
	OPS(IC_KVP, "kvp"),
	OPS(IC_VSS, "vss"),
	OPS(IC_FCOPY, "fcopy"),
#undef OPS
};

static void
make(struct ics *s, enum ic_kind kind, struct ic *c)
{
	s->ic[kind] = c;
	c->all = s;
	c->type = types[kind];
	c->dev.ops = &ops[kind];
	c->dev.bus = s->bus;
	guid_parse(c->type->class, c->dev.offer.type);
	guid_parse(c->type->instance, c->dev.offer.instance);
	c->dev.offer.flags = OFFER_ENUMERATE | OFFER_PIPE;
	put_le32(c->dev.offer.user, 4); /* how a pipe is used: by messages */
	c->dev.offer.name = c->type->label;
}

static int
offer(struct ics *s, int clock_fd, struct err *e)
{
	int rc = 0;

	if (clock_fd >= 0) {
		rc = io_loop_add_file(s->loop, clock_fd, e);
		s->timesync.clock.slot = rc;
	}
	for (unsigned i = 0; rc >= 0 && i < IC_KINDS; i++)
		if (s->config.on[i])
			rc = vmbus_offer_device(s->bus, &s->ic[i]->dev, e);
	return rc < 0 ? rc : 0;
}

int
ics_new(struct ics **out, struct vmbus *bus, struct io_loop *loop, const struct ic_config *config,
    const struct ic_clock *clock, int clock_fd, const struct ic_events *events, struct err *e)
{
	struct ics *s = calloc(1, sizeof(*s)); /* large, and only what is used becomes memory */
	int rc;

	if (!s)
		return err_set(e, ENOMEM, "integration components: out of memory");
	s->bus = bus;
	s->loop = loop;
	s->config = *config;
	s->clock = *clock;
	s->events = *events;
	s->held = true;
	make(s, IC_HEARTBEAT, &s->heartbeat.c);
	make(s, IC_SHUTDOWN, &s->shutdown.c);
	make(s, IC_TIMESYNC, &s->timesync.c);
	make(s, IC_KVP, &s->kvp.c);
	make(s, IC_VSS, &s->vss.c);
	make(s, IC_FCOPY, &s->fcopy.c);
	ic_heartbeat_init(s);
	ic_timesync_init(s);
	ic_kvp_init(s);
	ic_vss_init(s);
	ic_fcopy_init(s);
	rc = offer(s, clock_fd, e);
	if (rc < 0) {
		for (unsigned i = 0; i < IC_KINDS; i++)
			if (s->ic[i]->dev.node)
				vmbus_revoke_device(&s->ic[i]->dev, NULL);
		free(s);
		return rc;
	}
	*out = s;
	return 0;
}

void
ics_free(struct ics *s)
{
	if (!s)
		return;
	ic_fcopy_free(s);
	free(s);
}
