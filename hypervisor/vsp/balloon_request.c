/*
 * hypervisor/vsp/balloon_request.c - what is asked of the guest, one thing at a time, and when: from what is
 * assigned, and what should be. The loop's.
 */
#include <string.h>

#include "hypervisor/vsp/balloon_private.h"
#include "hypervisor/vsp/bytes.h"

#define NS_PER_MS 1000000ull

enum {
	MORE = 1,
	RANGE_PAGES_SHIFT = 40,
	RANGE_PAGES_MOST = (1 << 24) - 1,
	PIECES = 8, /* RAM that is to be added is made in so many parts, or fewer */
	RING_SLACK = 64,
	MUCH_LEAST = 2048, /* pages: a change that is told */
	MUCH_SHARE = 16,
};

uint64_t
balloon_added(const struct balloon *b)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < b->ranges; i++)
		n += b->range[i].taken;
	return n;
}

uint64_t
balloon_assigned(const struct balloon *b)
{
	uint64_t all = b->limits.start / GMEM_PAGE + balloon_added(b), out = page_set_count(b->set);

	return all > out ? all - out : 0;
}

/* Guests count what is in the balloon as promised. */
uint64_t
balloon_demand(const struct balloon *b)
{
	uint64_t out = page_set_count(b->set), most = UINT64_MAX / GMEM_PAGE;

	if (b->committed <= out)
		return 0;
	return b->committed - out < most ? b->committed - out : most;
}

/* --- time --------------------------------------------------------------------------------------------- */

static void
wait_for_answer(struct balloon *b, uint64_t ms)
{
	b->deadline = io_loop_now(b->loop) + ms * NS_PER_MS;
}

void
balloon_fell_short(struct balloon *b)
{
	b->pause = b->pause ? b->pause * 2 : BALLOON_PAUSE_MS * NS_PER_MS;
	if (b->pause > BALLOON_PAUSE_MOST_MS * NS_PER_MS)
		b->pause = BALLOON_PAUSE_MOST_MS * NS_PER_MS;
	b->not_before = io_loop_now(b->loop) + b->pause;
}

static void
went_well(struct balloon *b)
{
	b->pause = 0;
	b->not_before = 0;
}

/* Nothing is under way any more. */
static void
ready(struct balloon *b)
{
	b->state = BALLOON_READY;
	b->deadline = 0;
	b->wanted = b->got = 0;
}

void
balloon_look_at_time(struct balloon *b)
{
	if (b->deadline && io_loop_now(b->loop) >= b->deadline) {
		ready(b);
		b->silent = true;
		balloon_fell_short(b);
	}
}

static bool
differs_much(uint64_t was, uint64_t is)
{
	uint64_t much = was / MUCH_SHARE > MUCH_LEAST ? was / MUCH_SHARE : MUCH_LEAST;

	return (was < is ? is - was : was - is) >= much;
}

static bool
is_news(const struct balloon *b)
{
	uint64_t assigned = balloon_assigned(b);

	return differs_much(b->told_assigned, assigned) || differs_much(b->told_demand, balloon_demand(b)) ||
	       (assigned == b->target && b->told_assigned != assigned);
}

static uint64_t
earlier(uint64_t a, uint64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

void
balloon_look(struct balloon *b)
{
	uint64_t now = io_loop_now(b->loop), at = b->deadline;
	bool waits = b->begun && !b->held && !b->broken;

	b->tell_at = 0;
	if (b->job != JOB_NONE) /* what there is to tell is in other hands */
		return;
	if (is_news(b) && now >= b->next_tell) {
		b->told_assigned = balloon_assigned(b);
		b->told_demand = balloon_demand(b);
		b->next_tell = now + BALLOON_TELL_MS * NS_PER_MS;
		b->tell = true;
		balloon_ask(b);
	} else if (is_news(b)) {
		b->tell_at = b->next_tell;
	}
	if (waits && b->state == BALLOON_READY && !b->silent && b->not_before > now)
		at = earlier(at, b->not_before);
	if (waits)
		at = earlier(at, b->again);
	io_loop_timer(b->loop, &b->alarm, earlier(at, b->tell_at));
}

/* --- pages out of the guest, and in again -------------------------------------------------------------- */

static void
ask_for(struct balloon *b, uint64_t pages)
{
	b->state = BALLOON_TAKING;
	b->wanted = pages < BALLOON_TAKE_MOST ? pages : BALLOON_TAKE_MOST;
	b->got = 0;
	put_le32(balloon_say(b, ASKS_BALLOON, 16) + 8, (uint32_t)b->wanted);
	wait_for_answer(b, BALLOON_TAKE_MS);
}

void
balloon_took(struct balloon *b, uint64_t pages, bool more)
{
	bool all;

	if (b->state != BALLOON_TAKING)
		return; /* late: they are taken all the same */
	b->got += pages;
	wait_for_answer(b, BALLOON_TAKE_MS);
	if (more)
		return;
	all = b->got >= b->wanted;
	ready(b);
	if (all)
		went_well(b);
	else
		balloon_fell_short(b);
}

/* One message of them. What is named is the guest's from now on. */
static void
give_some(struct balloon *b)
{
	uint32_t room = b->ch->rings.out.size - RING_SLACK; /* a page at least */
	uint32_t size = room < BALLOON_MESSAGE ? room : BALLOON_MESSAGE, n = 0;
	uint8_t *m = balloon_say(b, ASKS_UNBALLOON, size);
	uint64_t first, len;

	for (uint32_t at = 16; at + BALLOON_RANGE <= size && b->wanted; at += BALLOON_RANGE, n++) {
		len = page_set_run(b->set, 0, UINT64_MAX,
		    b->wanted < RANGE_PAGES_MOST ? b->wanted : RANGE_PAGES_MOST, &first);
		if (!len)
			break;
		page_set_remove(b->set, first, len);
		b->wanted -= len;
		put_le64(m + at, first | len << RANGE_PAGES_SHIFT);
	}
	if (!page_set_count(b->set))
		b->wanted = 0;
	b->out_len = 16 + n * BALLOON_RANGE;
	put_le16(m + 2, (uint16_t)b->out_len);
	put_le32(m + 8, b->wanted ? MORE : 0);
	put_le32(m + 12, n);
	wait_for_answer(b, BALLOON_GIVE_MS);
}

void
balloon_gave(struct balloon *b)
{
	if (b->state != BALLOON_GIVING || b->wanted)
		return; /* late, or early: what it was given it has */
	ready(b);
	went_well(b);
}

/* --- memory that is added ------------------------------------------------------------------------------ */

static uint64_t
made(const struct balloon *b)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < b->ranges; i++)
		n += b->range[i].pages;
	return n;
}

/* A range with a unit that the guest does not know of, or `ranges`. */
static uint32_t
find_room(const struct balloon *b)
{
	uint32_t i = 0;

	while (i < b->ranges && b->range[i].pages - b->range[i].given < b->unit)
		i++;
	return i;
}

static uint64_t
round_up(uint64_t v, uint64_t unit)
{
	return (v + unit - 1) / unit * unit;
}

/* More RAM than is needed now, for it is made a few times at most. */
static bool
make_room(struct balloon *b, uint64_t pages)
{
	uint64_t all = (b->limits.maximum - b->limits.start) / GMEM_PAGE, there = made(b);
	uint64_t left = all > there ? (all - there) / b->unit * b->unit : 0, piece;

	if (!left || b->ranges == BALLOON_RANGES) {
		b->can_add = false; /* until the guest names its units anew */
		return false;
	}
	piece = round_up(all / PIECES > pages ? all / PIECES : pages, b->unit);
	b->make_pages = piece < left ? piece : left;
	b->make_unit = b->unit;
	atomic_store(&b->job, JOB_MAKE);
	balloon_ask(b);
	return true;
}

void
balloon_not_made(struct balloon *b)
{
	balloon_fell_short(b);
}

static bool
add(struct balloon *b, uint64_t pages)
{
	uint32_t i = find_room(b);
	struct balloon_range *r = &b->range[i];
	uint64_t most = b->unit > BALLOON_ADD_MOST ? b->unit : BALLOON_ADD_MOST / b->unit * b->unit, n, first;

	if (i == b->ranges)
		return make_room(b, pages);
	n = round_up(pages < most ? pages : most, b->unit);
	if (n > (r->pages - r->given) / b->unit * b->unit)
		n = (r->pages - r->given) / b->unit * b->unit;
	first = r->first + r->given;
	if (first + n - 1 > b->max_page) {
		b->can_add = false;
		return false;
	}
	b->state = BALLOON_ADDING;
	b->adding = n;
	b->adding_in = i;
	put_le64(balloon_say(b, ASKS_HOT_ADD, 16) + 8, first | n << RANGE_PAGES_SHIFT);
	wait_for_answer(b, BALLOON_ADD_MS);
	return true;
}

/* will: it would have it another time. */
void
balloon_hot_added(struct balloon *b, uint64_t pages, bool will)
{
	struct balloon_range *r = &b->range[b->adding_in];

	if (!b->adding) {
		b->nonsense++;
		return;
	}
	if (pages > b->adding)
		pages = b->adding;
	r->taken += pages;
	/* What is left of a unit that it has begun with is not told it a second time. */
	r->given += round_up(pages, b->unit) < b->adding ? round_up(pages, b->unit) : b->adding;
	if (pages)
		b->refusals = 0;
	else if (!will || ++b->refusals >= BALLOON_REFUSALS)
		b->can_add = false;
	if (b->state == BALLOON_ADDING) {
		ready(b);
		if (pages == b->adding)
			went_well(b);
		else
			balloon_fell_short(b);
	}
	b->adding = 0;
}

/* --- what is to be done -------------------------------------------------------------------------------- */

static bool
ask_for_more_memory(struct balloon *b, uint64_t pages)
{
	uint64_t out = page_set_count(b->set);

	if (out == 0)
		return b->can_add && !b->adding && add(b, pages);
	b->state = BALLOON_GIVING;
	b->wanted = pages < out ? pages : out;
	if (b->wanted > BALLOON_GIVE_MOST)
		b->wanted = BALLOON_GIVE_MOST;
	give_some(b);
	return true;
}

bool
balloon_next(struct balloon *b)
{
	uint64_t assigned;

	if (b->state == BALLOON_GIVING && b->wanted) {
		give_some(b);
		return true;
	}
	if (b->state != BALLOON_READY || b->silent || io_loop_now(b->loop) < b->not_before)
		return false;
	assigned = balloon_assigned(b);
	if (assigned < b->target)
		return ask_for_more_memory(b, b->target - assigned);
	if (assigned == b->target || !b->can_balloon)
		return false;
	ask_for(b, assigned - b->target);
	return true;
}
