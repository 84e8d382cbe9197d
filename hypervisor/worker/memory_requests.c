/* hypervisor/worker/memory_requests.c - dynamic memory in the worker: made, asked for, told. */
#include "hypervisor/worker/memory_requests.h"

#include <errno.h>

#include "hypervisor/vsp/balloon.h"
#include "hypervisor/worker/worker.h"

#define MIB 0x100000ull

static const char *const states[] = { [BALLOON_CLOSED] = "NoDriver",
	[BALLOON_VERSION] = "Version",
	[BALLOON_CAPABILITIES] = "Capabilities",
	[BALLOON_READY] = "Ready",
	[BALLOON_TAKING] = "Taking",
	[BALLOON_GIVING] = "Giving",
	[BALLOON_ADDING] = "Adding",
	NULL };

/* clang-format off */
#define STATUS(m) FIELD_AT(memory_status, m), .max = UINT64_MAX

const struct field memory_target_fields[] = {
	{ .name = "SizeInBytes", .type = FIELD_UINT, .required = true, FIELD_AT(memory_target, bytes), .max = UINT64_MAX,
	  .help = "What the machine should have, between Memory.MinimumSizeInMB and Memory.MaximumSizeInMB." },
	{ 0 }
};
const struct field memory_status_fields[] = {
	{ .name = "Dynamic", .type = FIELD_BOOL, FIELD_AT(memory_status, dynamic), .help = "Memory.Dynamic of the machine." },
	{ .name = "State", .type = FIELD_ENUM, FIELD_AT(memory_status, state), .names = states,
	  .help = "NoDriver, Version, Capabilities: the guest does not take part (yet). Taking, Giving, Adding: it has been asked." },
	{ .name = "Silent", .type = FIELD_BOOL, FIELD_AT(memory_status, silent), .help = "The guest owes an answer, and is left alone until it speaks." },
	{ .name = "Balloons", .type = FIELD_BOOL, FIELD_AT(memory_status, balloons), .help = "The guest gives memory back." },
	{ .name = "Adds", .type = FIELD_BOOL, FIELD_AT(memory_status, adds), .help = "The guest takes memory that is added." },
	{ .name = "MinimumInBytes", .type = FIELD_UINT, STATUS(minimum), .help = "The least it may be asked to run with." },
	{ .name = "MaximumInBytes", .type = FIELD_UINT, STATUS(maximum), .help = "The most it can have." },
	{ .name = "TargetInBytes", .type = FIELD_UINT, STATUS(target), .help = "What was asked for last." },
	{ .name = "AssignedInBytes", .type = FIELD_UINT, STATUS(assigned), .help = "What it has." },
	{ .name = "DemandInBytes", .type = FIELD_UINT, STATUS(demand), .help = "What its programs have been promised, as it says; 0: it has not said." },
	{ .name = "AvailableInBytes", .type = FIELD_UINT, STATUS(available), .help = "What it could do without, as it says." },
	{ .name = "BalloonedInBytes", .type = FIELD_UINT, STATUS(ballooned), .help = "What was taken out of it." },
	{ .name = "AddedInBytes", .type = FIELD_UINT, STATUS(added), .help = "What it was given beyond what it had at start." },
	{ .name = "Nonsense", .type = FIELD_UINT, STATUS(nonsense), .help = "Messages and ranges of pages that made none." },
	{ 0 }
};
/* clang-format on */

/* --- the device ---------------------------------------------------------------------------------------- */

static bool
wanted(const struct machine *m)
{
	return m->memory.dynamic;
}

/* Behind all RAM that there is; what lies before a multiple of the unit is nobody's. */
static int
add(void *ctx, uint64_t bytes, uint64_t unit, uint64_t *gpa, struct err *e)
{
	struct worker *w = ctx;
	uint64_t end = partition_memory_end(w->p), gap = -end & (unit - 1), at;
	int rc = partition_add_memory(w->p, gap + bytes, &at, e);

	if (rc == 0)
		*gpa = at + gap;
	return rc;
}

static void
changed(void *ctx, const struct balloon_report *r)
{
	struct worker *w = ctx;

	control_event(w->control, "memory",
	    json_pack("{s:s, s:I, s:I, s:I}", "State", states[r->state], "AssignedInBytes",
		(json_int_t)r->assigned, "DemandInBytes", (json_int_t)r->demand, "TargetInBytes",
		(json_int_t)r->target));
}

static int
make(struct worker *w, struct io_loop *loop, struct err *e)
{
	const struct machine *m = &w->machine;
	const struct balloon_limits limits = { m->memory.size_mb * MIB, m->memory.minimum_mb * MIB,
		m->memory.maximum_mb * MIB, w->p->map.high_limit };
	const struct balloon_events events = { w, services_wake, add, changed };
	int rc = balloon_new(&w->balloon, w->p->mem, loop, &limits, &events, e);

	return rc < 0 ? rc : vmbus_offer_device(w->p->vmbus, balloon_device(w->balloon), e);
}

static void
work(struct worker *w)
{
	balloon_work(w->balloon);
}

static void
hold(struct worker *w, bool on)
{
	balloon_hold(w->balloon, on);
}

static void
reset(struct worker *w)
{
	balloon_reset(w->balloon);
}

static void
leave(struct worker *w)
{
	if (w->balloon)
		vmbus_revoke_device(balloon_device(w->balloon), NULL);
}

static void
free_it(struct worker *w)
{
	balloon_free(w->balloon);
	w->balloon = NULL;
}

const struct service memory_service = { .wanted = wanted,
	.make = make,
	.work = work,
	.hold = hold,
	.reset = reset,
	.leave = leave,
	.free = free_it };

/* --- requests ------------------------------------------------------------------------------------------ */

uint64_t
memory_assigned(struct worker *w)
{
	struct balloon_report r;

	if (!w->balloon)
		return gmem_size(w->p->mem);
	balloon_report(w->balloon, &r);
	return r.assigned;
}

int
do_memory_target(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	struct memory_target *t = params;

	(void)result;
	if (!w->p)
		return err_set(e, ENOENT, "no machine was created yet");
	if (!w->balloon)
		return err_set(e, ENOTSUP, "the machine's memory is not dynamic (Memory.Dynamic)");
	return balloon_target(w->balloon, t->bytes, e);
}

int
do_memory_status(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	struct memory_status *s = result;
	struct balloon_report r = { 0 };

	(void)params;
	if (!w->p)
		return err_set(e, ENOENT, "no machine was created yet");
	s->dynamic = w->balloon != NULL;
	s->minimum = w->machine.memory.minimum_mb * MIB;
	s->maximum = w->machine.memory.maximum_mb * MIB;
	if (w->balloon)
		balloon_report(w->balloon, &r);
	else
		r.target = r.assigned = gmem_size(w->p->mem);
	s->state = r.state;
	s->silent = r.silent;
	s->balloons = r.can_balloon;
	s->adds = r.can_add;
	s->target = r.target;
	s->assigned = r.assigned;
	s->demand = r.demand < INT64_MAX ? r.demand : 0; /* a document's numbers end there */
	s->available = r.available < INT64_MAX ? r.available : 0;
	s->ballooned = r.ballooned;
	s->added = r.added;
	s->nonsense = r.nonsense;
	return 0;
}
