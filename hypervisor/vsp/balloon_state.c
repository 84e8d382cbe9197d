/*
 * hypervisor/vsp/balloon_state.c - dynamic memory's saved state: what was agreed on, what was added, the
 * pages in the balloon, and a message that the ring had no room for. A request that is under way is
 * forgotten: the guest's answer is taken for what it is when it comes. What is read is as untrusted as the
 * guest.
 */
#include <errno.h>

#include "hypervisor/vsp/balloon_private.h"

static const uint64_t page_most = (1ull << 40) - 1; /* of a page's number */

static bool
is_guests(void *ctx, uint64_t first, uint64_t n)
{
	const struct balloon *b = ctx;
	uint64_t from, pages;

	for (size_t i = 0; balloon_stretch(b, i, &from, &pages); i++)
		if (first >= from && first - from < pages && n <= pages - (first - from))
			return true;
	return false;
}

/* RAM that is there, behind all that the machine had at start and the range before. */
static bool
is_range(const struct balloon *b, const struct balloon_range *r, uint64_t least)
{
	return r->pages && r->first >= least && r->given <= r->pages && r->taken <= r->given &&
	       gmem_span(b->mem, r->first * GMEM_PAGE, r->pages * GMEM_PAGE) != NULL;
}

static void
snap_ranges(struct balloon *b, struct snap *s)
{
	uint64_t least = 0, first, pages;

	for (size_t i = 0; i < b->regions; i++)
		if (balloon_stretch(b, i, &first, &pages) && first + pages > least)
			least = first + pages;
	snap_u32(s, "ranges", &b->ranges, BALLOON_RANGES);
	for (uint32_t i = 0; i < b->ranges && !s->rc; i++) {
		struct balloon_range *r = &b->range[i];

		snap_u64(s, "first", &r->first, page_most);
		snap_u64(s, "pages", &r->pages, page_most);
		snap_u64(s, "given", &r->given, page_most);
		snap_u64(s, "taken", &r->taken, page_most);
		snap_check(s, s->rc || is_range(b, r, least), "range", "is no memory that was added");
		least = r->first + r->pages;
	}
	snap_u64(s, "adding", &b->adding, page_most);
	snap_u32(s, "adding in", &b->adding_in, BALLOON_RANGES - 1);
	snap_check(s,
	    !b->adding || (b->adding_in < b->ranges &&
			      b->adding <= b->range[b->adding_in].pages - b->range[b->adding_in].given),
	    "adding", "more than there is");
	snap_u32(s, "refusals", &b->refusals, BALLOON_REFUSALS);
}

static bool
unit_ok(const struct balloon *b)
{
	return (b->unit & (b->unit - 1)) == 0 && (b->unit >= 512 || b->state != BALLOON_READY);
}

static void
snap_agreed(struct balloon *b, struct snap *s)
{
	uint8_t state = (uint8_t)(b->state > BALLOON_READY ? BALLOON_READY : b->state);

	snap_u8(s, "state", &state, BALLOON_READY);
	snap_u32(s, "version", &b->version, BALLOON_2_0);
	snap_bool(s, "balloons", &b->can_balloon);
	snap_bool(s, "adds", &b->can_add);
	snap_u64(s, "unit", &b->unit, 1ull << 23);
	snap_u64(s, "highest page", &b->max_page, UINT64_MAX);
	snap_bool(s, "info", &b->info_due);
	snap_u64(s, "target", &b->target, page_most);
	snap_u64(s, "available", &b->available, UINT64_MAX);
	snap_u64(s, "committed", &b->committed, UINT64_MAX);
	if (s->saving || s->rc)
		return;
	b->state = (enum balloon_state)state;
	snap_check(s, (state == BALLOON_CLOSED) == !b->ch, "state", "does not go with the channel");
	snap_check(s, unit_ok(b), "unit", "is not one");
	snap_check(s,
	    b->target >= b->limits.minimum / GMEM_PAGE && b->target <= b->limits.maximum / GMEM_PAGE,
	    "target", "is not the machine's");
}

static void
snap_out(struct balloon *b, struct snap *s)
{
	snap_u32(s, "transaction", &b->transaction, UINT32_MAX);
	snap_bool(s, "completion", &b->complete_due);
	snap_u64(s, "completion of", &b->complete_id, UINT64_MAX);
	snap_u32(s, "message", &b->out_len, BALLOON_MESSAGE);
	snap_check(s, b->out_len % 8 == 0 && (b->ch || !b->out_len), "message", "is none");
	if (!s->rc && b->out_len)
		snap_bytes(s, "message", b->out, b->out_len);
}

struct job {
	struct balloon *b;
	struct snap *snap;
};

static void
snap_on_loop(void *arg)
{
	struct job *j = arg;
	struct balloon *b = j->b;

	snap_agreed(b, j->snap);
	snap_out(b, j->snap);
	snap_ranges(b, j->snap);
	if (!j->snap->rc)
		page_set_snap(b->set, j->snap, is_guests, b);
	snap_check(j->snap, b->ch || !page_set_count(b->set), "pages", "without a channel");
	if (j->snap->saving)
		return;
	if (j->snap->rc)
		b->ranges = 0;
	/* It may have been asked for something, and answer yet. */
	b->not_before = io_loop_now(b->loop) + BALLOON_RESTORED_MS * 1000000ull;
	b->told_assigned = 0;
}

void
balloon_snap(struct vmbus_device *d, struct snap *snap)
{
	struct balloon *b = (struct balloon *)d;
	struct job j = { b, snap };

	if (snap->saving && atomic_load(&b->job) != JOB_NONE)
		balloon_work(b); /* what the guest said last */
	io_loop_call(b->loop, snap_on_loop, &j);
}
