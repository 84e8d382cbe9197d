/*
 * tests/unit/fake_guest.h - the guest of a worker that is a thread of the test (fake_vm.h, which includes
 * this): its drivers for integration components and dynamic memory, and what it answers. The test says
 * whether it has any, and what it refuses.
 */
#ifndef TESTS_UNIT_FAKE_GUEST_H
#define TESTS_UNIT_FAKE_GUEST_H

#include "hypervisor/worker/ic_requests.h"
#include "hypervisor/worker/memory_requests.h"

enum { FAKE_FILLERS = 13 /* facts that nobody knows, before those that are known: more than a page */ };

static void
fake_ended(struct fake_worker *w, const char *operation, const char *error)
{
	json_t *doc = json_pack("{s:s, s:s}", "What", "Ended", "Operation", operation);

	if (error)
		json_object_set_new(doc, "Error", json_string(error));
	control_event(w->control, "integration", doc);
}

static int
fake_has(const struct fake_worker *w, enum ic_kind kind, struct err *e)
{
	bool any = false;

	for (unsigned i = 0; i < IC_KINDS; i++)
		any |= w->machine.ic.on[i];
	if (!any)
		return err_set(e, ENOENT, "the machine was created without integration components");
	if (!fake.drivers || !w->machine.ic.on[kind])
		return err_set(e, ENOTCONN, "%s: the guest does not answer it", ic_names[kind]);
	return 0;
}

static int
fake_do_ic_list(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;
	struct ic_list *l = result;

	(void)params;
	(void)e;
	for (; l->n < IC_KINDS; l->n++) {
		bool on = w->machine.ic.on[l->n];

		l->entry[l->n].report = (struct ic_report){ .kind = (unsigned)l->n,
			.on = on,
			.state = on && fake.drivers ? IC_READY : IC_CLOSED,
			.there = on && fake.drivers && !fake.heart_stops,
			.application = 1,
			.heartbeats = 3,
			.frozen = l->n == IC_VSS && w->frozen };
		if (on && fake.drivers)
			strcpy(l->entry[l->n].version, "3.0");
	}
	return 0;
}

static int
fake_do_ic_set(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;
	const struct ic_params *p = params;
	struct ic_changed *r = result;
	bool any = false;

	if (fake_refused("ic.set", -1, e) < 0)
		return -e->code;
	for (unsigned i = 0; i < IC_KINDS; i++)
		any |= w->machine.ic.on[i];
	if (!any)
		return err_set(e, ENOENT, "the machine was created without integration components");
	r->changed = w->machine.ic.on[p->kind] != p->on;
	w->machine.ic.on[p->kind] = p->on;
	return 0;
}

static int
fake_do_guest_shutdown(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;
	const struct ic_params *p = params;
	int rc = fake_has(w, IC_SHUTDOWN, e);

	(void)result;
	if (rc < 0)
		return rc;
	fake_ended(w, "guest.shutdown", fake.guest_refuses);
	if (!fake.guest_refuses && !fake.ignore_button)
		atomic_fetch_or(
		    &w->todo, p->shutdown == IC_REBOOT && !fake.restart_is_off ? FAKE_RESET : FAKE_GUEST_OFF);
	return 0;
}

static int
fake_do_reset(void *ctx, void *params, void *result, struct err *e)
{
	(void)params;
	(void)result;
	(void)e;
	atomic_fetch_or(&((struct fake_worker *)ctx)->todo, FAKE_RESET);
	return 0;
}

static int
fake_do_kvp(void *ctx, void *params, void *result, struct err *e)
{
	static const char *const facts[][2] = { { "FullyQualifiedDomainName", "web1.example\n" },
		{ "OSName", "Debian GNU/Linux" }, { "OSVersion", "6.12" },
		{ "NetworkAddressIPv4", "192.0.2.7;192.0.2.8" }, { "NetworkAddressIPv6", "fe80::1" } };
	const size_t all = FAKE_FILLERS + sizeof(facts) / sizeof(facts[0]);
	const struct ic_params *p = params;
	struct kvp_page *page = result;

	if (fake_has(ctx, IC_KVP, e) < 0)
		return -e->code;
	if (p->refresh)
		fake_ended(ctx, "kvp.enumerate", fake.guest_refuses);
	page->total = all;
	if (p->pool != KVP_INTRINSIC)
		return 0;
	for (size_t i = p->from; i < all && page->n < IC_PAGE; i++) {
		struct kvp_item *item = &page->item[page->n++];

		if (i < FAKE_FILLERS)
			snprintf(item->key, sizeof(item->key), "Filler%zu", i);
		else
			snprintf(item->key, sizeof(item->key), "%s", facts[i - FAKE_FILLERS][0]);
		snprintf(item->value, sizeof(item->value), "%s",
		    i < FAKE_FILLERS ? "" : facts[i - FAKE_FILLERS][1]);
	}
	return 0;
}

static int
fake_do_freeze(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;
	int rc = fake_has(w, IC_VSS, e);

	(void)result;
	if (rc < 0)
		return rc;
	w->frozen = !fake.guest_refuses;
	w->freeze_s = ((struct ic_params *)params)->seconds;
	fake_ended(w, "guest.freeze", fake.guest_refuses);
	return 0;
}

static int
fake_do_thaw(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;

	(void)params;
	(void)result;
	if (!w->frozen)
		return err_set(e, EALREADY, "the guest is not frozen");
	w->frozen = false;
	fake_ended(w, "guest.thaw", NULL);
	return 0;
}

static int
fake_do_copy(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;
	const struct ic_params *p = params;
	int rc = fake_has(w, IC_FCOPY, e);
	ssize_t n = rc == 0 ? read(p->copy.fd, w->copied, sizeof(w->copied) - 1) : 0;

	(void)result;
	close(p->copy.fd);
	if (rc < 0)
		return rc;
	w->copied[n > 0 ? n : 0] = '\0';
	snprintf(w->copied_to, sizeof(w->copied_to), "%s|%s%s%s", p->copy.path, p->copy.name,
	    p->copy.overwrite ? "|overwrite" : "", p->copy.make_path ? "|make" : "");
	control_event(w->control, "integration",
	    json_pack("{s:s, s:i, s:i}", "What", "Copying", "Done", 3, "Total", 6));
	if (!fake.copy_hangs)
		fake_ended(w, "guest.copy", fake.guest_refuses);
	return 0;
}

static int
fake_do_copy_cancel(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;

	(void)params;
	(void)result;
	(void)e;
	atomic_store(&fake.copy_cancelled, true);
	fake_ended(w, "guest.copy", "Operation canceled");
	return 0;
}

/* --- memory */

static void
fake_memory_event(struct fake_worker *w)
{
	control_event(w->control, "memory", json_pack("{s:s}", "State", "Ready"));
}

static int
fake_do_memory_status(void *ctx, void *params, void *result, struct err *e)
{
	const struct fake_worker *w = ctx;
	struct memory_status *s = result;

	(void)params;
	(void)e;
	s->dynamic = w->machine.memory.dynamic;
	s->balloons = s->adds = s->dynamic && fake.drivers;
	s->state = 3;
	s->minimum = w->machine.memory.minimum_mb << 20;
	s->maximum = w->machine.memory.maximum_mb << 20;
	s->assigned = (w->assigned_mb ? w->assigned_mb : w->machine.memory.size_mb) << 20;
	s->target = (w->target_mb ? w->target_mb : w->machine.memory.size_mb) << 20;
	s->demand = atomic_load(&fake.demand_mb) << 20;
	s->ballooned = s->assigned < w->machine.memory.size_mb << 20
			   ? (w->machine.memory.size_mb << 20) - s->assigned
			   : 0;
	s->added = s->assigned > w->machine.memory.size_mb << 20
		       ? s->assigned - (w->machine.memory.size_mb << 20)
		       : 0;
	return 0;
}

/* Its guest obeys at once. */
static int
fake_do_memory_target(void *ctx, void *params, void *result, struct err *e)
{
	struct fake_worker *w = ctx;
	uint64_t mb = ((struct memory_target *)params)->bytes >> 20;

	(void)result;
	if (mb < w->machine.memory.minimum_mb || mb > w->machine.memory.maximum_mb)
		return err_set(e, EINVAL, "not so");
	if (mb > w->machine.memory.size_mb && atomic_load(&w->limit_mb) < mb)
		abort(); /* its control group would kill it */
	w->target_mb = w->assigned_mb = mb;
	fake_memory_event(w);
	return 0;
}

#endif
