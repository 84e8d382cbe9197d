/*
 * hypervisor/vsp/balloon.c - dynamic memory: the device's life, pages that are given back to the host, memory
 * that is made. Control thread.
 */
#include "hypervisor/vsp/balloon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/vmbus/wire.h"
#include "hypervisor/vsp/balloon_private.h"
#include "hypervisor/vsp/bytes.h"
#include "lib/guid.h"

enum { RANGE_BITS = 40 };

void
balloon_ask(struct balloon *b)
{
	if (!atomic_exchange(&b->asked, true) && b->events.work)
		b->events.work(b->events.ctx);
}

bool
balloon_stretch(const struct balloon *b, size_t i, uint64_t *first, uint64_t *pages)
{
	if (i < b->regions) {
		const struct gmem_region *r = gmem_region(b->mem, i);

		*first = r->gpa / GMEM_PAGE;
		*pages = r->len / GMEM_PAGE;
		return true;
	}
	i -= b->regions;
	if (i >= b->ranges)
		return false;
	*first = b->range[i].first;
	*pages = b->range[i].given;
	return true;
}

/* --- pages that the guest gives ------------------------------------------------------------------------ */

/* What a message brings. */
struct taking {
	struct balloon *b;
	uint64_t left;       /* pages that it may still bring */
	uint64_t first, len; /* to be given back to the host */
	uint64_t took;
	bool more;
};

static void
give_back(struct taking *t)
{
	if (t->len)
		gmem_give_back(t->b->mem, t->first * GMEM_PAGE, t->len * GMEM_PAGE);
	t->len = 0;
}

static void
get_range(const uint8_t *p, uint64_t *first, uint64_t *pages)
{
	uint64_t range = get_le64(p);

	*first = range & ((1ull << RANGE_BITS) - 1);
	*pages = range >> RANGE_BITS;
}

/* Into the set, as far as it is the guest's memory and not there yet. */
static void
add_range(struct taking *t, uint64_t first, uint64_t pages)
{
	struct balloon *b = t->b;
	uint64_t end, from, n, added = 0, most = pages < t->left ? pages : t->left;

	t->left -= most;
	end = first + most;
	for (size_t i = 0; balloon_stretch(b, i, &from, &n); i++) {
		uint64_t lo = from > first ? from : first, hi = from + n < end ? from + n : end;

		if (lo < hi)
			added += page_set_add(b->set, lo, hi - lo);
	}
	b->nonsense += added != pages || pages == 0;
}

/* What a device of the bus has is the guest's own, whatever it says. */
static void
leave_out(void *ctx, uint64_t pfn)
{
	struct balloon *b = ctx;

	b->nonsense += page_set_remove(b->set, pfn, 1);
}

/* Neighbours together. */
static void
give_range(struct taking *t, uint64_t first, uint64_t pages)
{
	uint64_t end = first + pages, at, len;

	for (; (len = page_set_run(t->b->set, first, end, pages, &at)) != 0; first = at + len) {
		if (t->len && at != t->first + t->len)
			give_back(t);
		if (!t->len)
			t->first = at;
		t->len += len;
	}
}

static void
took_on_loop(void *arg)
{
	struct taking *t = arg;

	balloon_took(t->b, t->took, t->more);
	balloon_job_done(t->b);
}

static void
take_pages(struct balloon *b)
{
	const uint8_t *m = b->in + b->in_at;
	struct taking t = { .b = b, .left = BALLOON_TAKE_MOST };
	uint32_t n = get_le32(m + 12) >> 1;
	uint64_t before = page_set_count(b->set), first, pages;

	t.more = get_le32(m + 12) & 1;
	for (uint32_t i = 0; i < n; i++) {
		get_range(m + 16 + (size_t)i * BALLOON_RANGE, &first, &pages);
		add_range(&t, first, pages);
	}
	vmbus_each_lent_page(b->dev.bus, leave_out, b);
	t.left = BALLOON_TAKE_MOST;
	for (uint32_t i = 0; i < n && t.left; i++) {
		get_range(m + 16 + (size_t)i * BALLOON_RANGE, &first, &pages);
		pages = pages < t.left ? pages : t.left;
		t.left -= pages;
		give_range(&t, first, pages);
	}
	give_back(&t);
	t.took = page_set_count(b->set) > before ? page_set_count(b->set) - before : 0;
	io_loop_call(b->loop, took_on_loop, &t);
}

/* --- memory that is made ------------------------------------------------------------------------------- */

static void
not_made_on_loop(void *arg)
{
	balloon_not_made(arg);
	balloon_job_done(arg);
}

static void
make_memory(struct balloon *b)
{
	uint64_t unit = b->make_unit * GMEM_PAGE, bytes = b->make_pages * GMEM_PAGE, gpa = 0;
	int rc = b->events.add ? b->events.add(b->events.ctx, bytes, unit, &gpa, NULL) : -ENOTSUP;

	if (rc < 0 && bytes > unit && b->events.add) {
		bytes = unit;
		rc = b->events.add(b->events.ctx, bytes, unit, &gpa, NULL);
	}
	if (rc < 0) {
		io_loop_call(b->loop, not_made_on_loop, b);
		return;
	}
	b->range[b->ranges++] =
	    (struct balloon_range){ .first = gpa / GMEM_PAGE, .pages = bytes / GMEM_PAGE };
	io_loop_call(b->loop, balloon_job_done, b);
}

/* --- the channel --------------------------------------------------------------------------------------- */

static void
open_on_loop(void *arg)
{
	((struct balloon *)arg)->state = BALLOON_VERSION;
}

/* The loop has it from the next balloon_work on: of a channel that is restored, all has been read by then. */
static int
opened(struct vmbus_device *d, struct vmbus_channel *ch, struct err *e)
{
	struct balloon *b = (struct balloon *)d;
	int kick = io_loop_add_file(b->loop, ch->kick_fd, e);

	if (kick < 0)
		return kick;
	b->ch = ch;
	b->kick.slot = kick;
	b->broken = false;
	io_loop_call(b->loop, open_on_loop, b);
	b->begin = true;
	balloon_ask(b);
	return 0;
}

static void
end_on_loop(void *arg)
{
	struct balloon *b = arg;

	if (b->begun)
		io_loop_unwatch(b->loop, &b->kick);
	io_loop_timer(b->loop, &b->alarm, 0);
	b->begun = false;
	b->begin = false;
	b->state = BALLOON_CLOSED;
	b->version = 0;
	b->can_balloon = b->can_add = b->info_due = b->silent = b->complete_due = false;
	b->available = b->committed = 0;
	b->wanted = b->got = b->adding = b->deadline = b->again = b->pause = b->not_before = 0;
	b->refusals = b->out_len = 0;
	atomic_store(&b->job, JOB_NONE);
}

static void
look_on_loop(void *arg)
{
	balloon_look(arg);
}

static void
closed(struct vmbus_device *d, struct vmbus_channel *ch)
{
	struct balloon *b = (struct balloon *)d;

	io_loop_call(b->loop, end_on_loop, b);
	io_loop_drop_file(b->loop, b->kick.slot);
	page_set_clear(b->set);
	b->ch = NULL;
	io_loop_call(b->loop, look_on_loop, b);
	vmbus_channel_closed(ch);
}

static const struct vmbus_device_ops balloon_ops = {
	.name = "balloon", .version = 1, .open = opened, .close = closed, .snap = balloon_snap
};

/* --- what is asked of it ------------------------------------------------------------------------------- */

struct change {
	struct balloon *b;
	uint64_t pages;
	struct balloon_report *r;
};

static void
target_on_loop(void *arg)
{
	struct change *c = arg;

	c->b->target = c->pages;
	c->b->pause = c->b->not_before = 0;
	balloon_pump(c->b);
}

int
balloon_target(struct balloon *b, uint64_t bytes, struct err *e)
{
	struct change c = { .b = b, .pages = bytes / GMEM_PAGE };

	if (bytes < b->limits.minimum || bytes > b->limits.maximum)
		return err_set(e, EINVAL, "the machine has %llu to %llu MiB",
		    (unsigned long long)(b->limits.minimum >> 20),
		    (unsigned long long)(b->limits.maximum >> 20));
	io_loop_call(b->loop, target_on_loop, &c);
	return 0;
}

static void
report_on_loop(void *arg)
{
	struct change *c = arg;
	const struct balloon *b = c->b;

	*c->r = (struct balloon_report){ .state = b->state,
		.version = b->version,
		.target = b->target * GMEM_PAGE,
		.assigned = balloon_assigned(b) * GMEM_PAGE,
		.ballooned = page_set_count(b->set) * GMEM_PAGE,
		.added = balloon_added(b) * GMEM_PAGE,
		.demand = balloon_demand(b) * GMEM_PAGE,
		.available = b->available < UINT64_MAX / GMEM_PAGE ? b->available * GMEM_PAGE : 0,
		.can_balloon = b->can_balloon,
		.can_add = b->can_add,
		.silent = b->silent,
		.nonsense = b->nonsense };
}

void
balloon_report(struct balloon *b, struct balloon_report *r)
{
	struct change c = { .b = b, .r = r };

	io_loop_call(b->loop, report_on_loop, &c);
}

static void
reset_on_loop(void *arg)
{
	struct balloon *b = arg;

	for (uint32_t i = 0; i < b->ranges; i++)
		b->range[i].given = b->range[i].taken = 0;
	b->adding = 0;
	b->refusals = 0;
	balloon_look(b);
}

void
balloon_reset(struct balloon *b)
{
	io_loop_call(b->loop, reset_on_loop, b);
}

static void
do_job(struct balloon *b)
{
	int job = atomic_load(&b->job);

	if (job == JOB_TAKE)
		take_pages(b);
	else if (job == JOB_MAKE)
		make_memory(b);
}

static void
hold_on_loop(void *arg)
{
	((struct balloon *)arg)->held = true;
}

static void
go_on_on_loop(void *arg)
{
	((struct balloon *)arg)->held = false;
	balloon_pump(arg);
}

void
balloon_hold(struct balloon *b, bool hold)
{
	io_loop_call(b->loop, hold ? hold_on_loop : go_on_on_loop, b);
	if (hold)
		do_job(b); /* no other follows */
}

void
balloon_work(struct balloon *b)
{
	struct balloon_report r;

	atomic_store(&b->asked, false);
	if (atomic_exchange(&b->begin, false) && b->ch)
		io_loop_call(b->loop, balloon_begin, b);
	if (b->broken && b->ch)
		vmbus_channel_break(b->ch, "its rings make no sense");
	do_job(b);
	if (!atomic_exchange(&b->tell, false) || !b->events.changed)
		return;
	balloon_report(b, &r);
	b->events.changed(b->events.ctx, &r);
}

/* --- life ---------------------------------------------------------------------------------------------- */

static void
identify(struct balloon *b)
{
	guid_parse("525074dc-8985-46e2-8057-a307dc18a502", b->dev.offer.type);
	guid_parse("1eccfd72-4b41-45ef-b73a-4a6e44c12924", b->dev.offer.instance);
	b->dev.offer.name = "dynamic memory";
	b->dev.ops = &balloon_ops;
}

int
balloon_new(struct balloon **out, struct gmem *mem, struct io_loop *loop, const struct balloon_limits *limits,
    const struct balloon_events *events, struct err *e)
{
	struct balloon *b = calloc(1, sizeof(*b));
	int rc;

	if (!b)
		return err_set(e, ENOMEM, "balloon: out of memory");
	rc = page_set_new(&b->set, limits->end / GMEM_PAGE, e);
	if (rc < 0) {
		free(b);
		return rc;
	}
	b->mem = mem;
	b->loop = loop;
	b->limits = *limits;
	b->events = *events;
	b->regions = gmem_regions(mem);
	b->target = b->told_assigned = limits->start / GMEM_PAGE;
	identify(b);
	*out = b;
	return 0;
}

void
balloon_free(struct balloon *b)
{
	if (!b)
		return;
	page_set_free(b->set);
	free(b);
}

struct vmbus_device *
balloon_device(struct balloon *b)
{
	return &b->dev;
}
