/* hypervisor/worker/components.c - integration components in a worker: their clocks, and news. */
#include "hypervisor/worker/components.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "hypervisor/worker/worker.h"
#include "lib/rate.h"

_Static_assert((int)MACHINE_ICS == (int)IC_KINDS, "a machine's document names every component");

#define SECOND 1000000000ull
enum { NEWS_BURST = 10, NEWS_PER_SECOND = 1 };

/* The latest of each kind: what was not told yet is replaced. */
struct news {
	bool heartbeat, facts, progress, ended[IC_OPS];
	bool there;
	unsigned application;
	uint64_t done, total;
	int rc[IC_OPS];
	uint32_t status[IC_OPS];
};

struct components {
	struct ics *ics;
	int clock_fd;
	struct rate heartbeats, facts; /* of telling them */
	pthread_mutex_t lock;          /* below */
	struct news news;
};

static const char *const operations[IC_OPS] = { [IC_OP_SHUTDOWN] = "guest.shutdown",
	[IC_OP_TIME] = "guest.time.sync",
	[IC_OP_FACTS] = "kvp.enumerate",
	[IC_OP_IP_GET] = "guest.ip.get",
	[IC_OP_IP_SET] = "guest.ip.set",
	[IC_OP_FREEZE] = "guest.freeze",
	[IC_OP_THAW] = "guest.thaw",
	[IC_OP_COPY] = "guest.copy" };

/* --- From the I/O thread --- */

static struct news *
begin_news(const struct worker *w)
{
	pthread_mutex_lock(&w->components->lock);
	return &w->components->news;
}

static void
end_news(struct worker *w)
{
	pthread_mutex_unlock(&w->components->lock);
	services_wake(w);
}

static void
on_heartbeat(void *ctx, bool there, unsigned application)
{
	struct news *n = begin_news(ctx);

	n->heartbeat = true;
	n->there = there;
	n->application = application;
	end_news(ctx);
}

static void
on_facts(void *ctx)
{
	begin_news(ctx)->facts = true;
	end_news(ctx);
}

static void
on_ended(void *ctx, enum ic_op op, int rc, uint32_t status)
{
	struct news *n = begin_news(ctx);

	n->ended[op] = true;
	n->rc[op] = rc;
	n->status[op] = status;
	end_news(ctx);
}

static void
on_progress(void *ctx, uint64_t done, uint64_t total)
{
	struct news *n = begin_news(ctx);

	n->progress = true;
	n->done = done;
	n->total = total;
	end_news(ctx);
}

/* --- To the controller --- */

/* What guests answer, in words. */
static const char *
status_text(uint32_t status)
{
	static const struct {
		uint32_t status;
		const char *text;
	} texts[] = {
		{ 0x80004005, "the guest says that it failed" },
		{ 0x80070032, "the guest does not support it" },
		{ 0x80070050, "the file exists in the guest" },
		{ 0x80070057, "the guest calls it an invalid argument" },
		{ 0x80070070, "the guest's disk is full" },
		{ 0x800704f7, "the guest's session is locked" },
		{ 0x8007048f, "the guest's device is not connected" },
		{ 0x80041002, "the guest has no such device" },
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].status == status)
			return texts[i].text;
	return "the guest refused";
}

static json_t *
addresses(struct components *c)
{
	struct ic_ip *ip = calloc(1, sizeof(*ip));
	json_t *doc = NULL;

	if (!ip)
		return NULL;
	ic_ip_result(c->ics, ip);
	doc = json_pack("{s:s, s:s, s:b, s:s, s:s, s:s, s:s}", "Adapter", ip->adapter, "Family",
	    ip->family ? "IPv6" : "IPv4", "Dhcp", ip->dhcp, "Addresses", ip->address, "Masks", ip->mask,
	    "Gateways", ip->gateway, "DnsServers", ip->dns);
	free(ip);
	return doc;
}

static void
tell_ended(struct worker *w, const struct news *n, enum ic_op op)
{
	json_t *doc = json_pack("{s:s, s:s}", "What", "Ended", "Operation", operations[op]);
	char status[16];

	if (n->rc[op] == -EREMOTEIO) {
		snprintf(status, sizeof(status), "0x%08x", n->status[op]);
		json_object_set_new(doc, "Error", json_string(status_text(n->status[op])));
		json_object_set_new(doc, "Status", json_string(status));
	} else if (n->rc[op] < 0) {
		json_object_set_new(doc, "Error", json_string(strerror(-n->rc[op])));
	} else if (op == IC_OP_IP_GET) {
		json_object_set_new(doc, "Ip", addresses(w->components));
	}
	control_event(w->control, "integration", doc);
}

static bool
may_tell(struct rate *r)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	r->burst = NEWS_BURST;
	r->per_s = NEWS_PER_SECOND;
	return rate_take(r, (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec);
}

static void
work(struct worker *w)
{
	struct components *c = w->components;
	struct news n;

	ics_work(c->ics);
	pthread_mutex_lock(&c->lock);
	n = c->news;
	c->news = (struct news){ 0 };
	pthread_mutex_unlock(&c->lock);
	if (n.heartbeat && may_tell(&c->heartbeats))
		control_event(w->control, "integration",
		    json_pack("{s:s, s:b, s:s}", "What", "Heartbeat", "There", n.there, "Applications",
			ic_applications[n.application]));
	if (n.facts && may_tell(&c->facts))
		control_event(w->control, "integration", json_pack("{s:s}", "What", "GuestFacts"));
	if (n.progress)
		control_event(w->control, "integration",
		    json_pack("{s:s, s:I, s:I}", "What", "Copying", "Done", (json_int_t)n.done, "Total",
			(json_int_t)n.total));
	for (unsigned op = 0; op < IC_OPS; op++)
		if (n.ended[op])
			tell_ended(w, &n, (enum ic_op)op);
}

/* --- Life --- */

static uint64_t
wall(void *ctx)
{
	struct timespec t;

	(void)ctx;
	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static uint64_t
reference(void *ctx)
{
	return partition_now(ctx);
}

/* Readable once the host's clock has been set. */
static int
watch_clock(struct err *e)
{
	const struct itimerspec never = { .it_value.tv_sec = 1ll << 33 };
	int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0)
		return err_sys(e, "timerfd");
	if (timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) < 0) {
		int rc = err_sys(e, "the host's clock cannot be watched");

		close(fd);
		return rc;
	}
	return fd;
}

static bool
wanted(const struct machine *m)
{
	for (unsigned i = 0; i < IC_KINDS; i++)
		if (m->ic.on[i])
			return true;
	return false;
}

static int
make_all(struct worker *w, struct io_loop *loop, struct err *e)
{
	const struct machine *m = &w->machine;
	const struct ic_clock clock = { .ctx = w->p, .reference = reference, .wall = wall };
	const struct ic_events events = { .ctx = w,
		.work = services_wake,
		.heartbeat = on_heartbeat,
		.facts = on_facts,
		.ended = on_ended,
		.progress = on_progress };
	struct ic_config config = { .time_at_boot = m->ic.time_at_boot,
		.time_at_resume = m->ic.time_at_resume,
		.time_at_step = m->ic.time_at_step,
		.time_sample_s = m->ic.time_sample_s,
		.facts_s = m->ic.facts_s };
	struct components *c = w->components;
	int rc = c->clock_fd = watch_clock(e);

	memcpy(config.on, m->ic.on, sizeof(config.on));
	return rc < 0 ? rc : ics_new(&c->ics, w->p->vmbus, loop, &config, &clock, rc, &events, e);
}

static int
make(struct worker *w, struct io_loop *loop, struct err *e)
{
	int rc;

	w->components = calloc(1, sizeof(*w->components));
	if (!w->components)
		return err_set(e, ENOMEM, "integration components: out of memory");
	w->components->clock_fd = -1;
	pthread_mutex_init(&w->components->lock, NULL);
	rc = make_all(w, loop, e);
	return rc < 0 ? err_wrap(e, rc, "integration components") : 0;
}

static void
hold(struct worker *w, bool on)
{
	if (on)
		ics_hold(w->components->ics);
	else
		ics_go(w->components->ics);
}

static void
leave(struct worker *w)
{
	struct ics *s = w->components ? w->components->ics : NULL;
	bool changed;

	for (unsigned i = 0; s && i < IC_KINDS; i++)
		ics_set(s, (enum ic_kind)i, false, &changed, NULL);
}

static void
free_it(struct worker *w)
{
	struct components *c = w->components;

	if (!c)
		return;
	ics_free(c->ics);
	if (c->clock_fd >= 0)
		close(c->clock_fd);
	pthread_mutex_destroy(&c->lock);
	free(c);
	w->components = NULL;
}

const struct service component_service = {
	.wanted = wanted, .make = make, .work = work, .hold = hold, .leave = leave, .free = free_it
};

struct ics *
components_ics(const struct worker *w)
{
	return w->components ? w->components->ics : NULL;
}
