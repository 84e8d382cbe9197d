/* tests/disk/memory_cut.c - what may be found in files after the power failed. */
#include <stdlib.h>
#include <string.h>

#include "tests/disk/memory_private.h"

#define NEVER UINT64_MAX

enum { SECTOR = 512, WHOLE = 4 << 20 }; /* holes larger than WHOLE bytes are there or not */

/* How a cut chooses, for each piece, the last moment whose changes it has. */
enum way {
	ONLY_DURABLE,
	EVERYTHING,
	PREFIX,      /* what happened until one moment: a disk that never reorders */
	NEAR_PREFIX, /* nearly: some moments more or less */
	SECTORS,     /* each sector for itself */
	PAGES,       /* each page */
	ALL_BUT_ONE, /* one change is missing */
	ONE_ALONE,   /* one change is there */
	MOST,
	FEW,
	WAYS
};

struct cut {
	enum way way;
	uint64_t seed, first, last; /* moments: that before all changes, that of the last one in flight */
	uint64_t until;             /* PREFIX */
	unsigned victim_file;       /* ALL_BUT_ONE, ONE_ALONE */
	struct memory_change victim;
};

static uint64_t
chance(const struct cut *c, uint64_t what, uint64_t of)
{
	return memory_mix(c->seed ^ what * 0x9e3779b97f4a7c15, what) % of;
}

/* --- The choice -------------------------------------------------------------------------------------- */

static uint64_t
any_moment(const struct cut *c, uint64_t what)
{
	switch (chance(c, what, 3)) {
	case 0:
		return 0;
	case 1:
		return NEVER;
	default:
		return c->first + chance(c, what + 1, c->last - c->first + 1);
	}
}

static bool
is_victims(const struct cut *c, unsigned file, uint64_t off)
{
	return file == c->victim_file && off / SECTOR >= c->victim.off / SECTOR &&
	       off < c->victim.off + c->victim.len;
}

/* The piece at off has what happened until then. */
static uint64_t
moment_of(const struct cut *c, unsigned file, uint64_t off)
{
	uint64_t what = (uint64_t)file << 48 ^ off / SECTOR << 2;
	uint64_t page = (uint64_t)file << 48 ^ off / PAGE_BYTES << 2;

	switch (c->way) {
	case EVERYTHING:
		return NEVER;
	case PREFIX:
		return c->until;
	case NEAR_PREFIX:
		return c->until + chance(c, what, 8) > 4 ? c->until + chance(c, what, 8) - 4 : 0;
	case SECTORS:
		return any_moment(c, what);
	case PAGES:
		return any_moment(c, page);
	case ALL_BUT_ONE:
		return is_victims(c, file, off) ? c->victim.moment - 1 : NEVER;
	case ONE_ALONE:
		return is_victims(c, file, off) ? c->victim.moment : 0;
	case MOST:
		return chance(c, page, 16) ? NEVER : 0;
	case FEW:
		return chance(c, page, 16) ? 0 : NEVER;
	default:
		return 0;
	}
}

/* The size is that of this moment. */
static uint64_t
size_moment(const struct cut *c, unsigned file)
{
	uint64_t what = (uint64_t)file << 48 ^ 0xffffffffffull;

	switch (c->way) {
	case ONLY_DURABLE:
		return 0;
	case EVERYTHING:
		return NEVER;
	case PREFIX:
	case NEAR_PREFIX:
		return c->until;
	case ALL_BUT_ONE:
		return file == c->victim_file && chance(c, what, 2) ? c->victim.moment - 1 : NEVER;
	case ONE_ALONE:
		return file == c->victim_file && chance(c, what, 2) ? c->victim.moment : NEVER;
	default:
		return any_moment(c, what);
	}
}

/* --- Its outcome ------------------------------------------------------------------------------------- */

static void
apply(struct pages *p, const struct memory_change *g, uint64_t off, uint64_t len)
{
	if (len == 0)
		return;
	if (g->kind == CHANGE_WRITE)
		pages_write(p, off, g->data + (off - g->off), (size_t)len);
	else
		pages_clear(p, off, len);
}

/* What of a change there is, below `limit`. */
static void
apply_pieces(
    const struct cut *c, unsigned file, struct pages *p, const struct memory_change *g, uint64_t limit)
{
	uint64_t end = g->off + g->len < limit ? g->off + g->len : limit, from = g->off, at = g->off;

	if (g->kind == CHANGE_CLEAR && g->len > WHOLE) {
		if (at < end && moment_of(c, file, at) >= g->moment)
			apply(p, g, at, end - at);
		return;
	}
	while (at < end) {
		uint64_t next = (at / SECTOR + 1) * SECTOR;

		next = next < end ? next : end;
		if (moment_of(c, file, at) < g->moment) {
			apply(p, g, from, at - from);
			from = next;
		}
		at = next;
	}
	if (from < end)
		apply(p, g, from, end - from);
}

/* A write in flight, as a change that would come after all others. */
static struct memory_change
change_in_flight(const struct memory_flight *x, const struct memory_inode *i, uint64_t moment)
{
	struct memory_change g = { .moment = moment,
		.kind = CHANGE_CLEAR,
		.off = x->what.off,
		.len = x->what.len,
		.size = i->size };
	uint64_t at = 0;

	if (x->what.kind != MEMORY_WRITE) {
		g.len = g.off < i->size && g.len > i->size - g.off ? i->size - g.off : g.len;
		g.len = g.off < i->size ? g.len : 0;
		return g;
	}
	g.kind = CHANGE_WRITE;
	g.data = malloc((size_t)g.len + 1);
	if (!g.data)
		abort();
	for (unsigned n = 0; n < x->iovs; at += x->iov[n++].iov_len)
		memcpy(g.data + at, x->iov[n].iov_base, x->iov[n].iov_len);
	if (g.off + g.len > g.size)
		g.size = g.off + g.len;
	return g;
}

static bool
may_be_there(const struct memory_flight *x)
{
	return x->what.kind == MEMORY_WRITE || (x->what.kind == MEMORY_ALLOCATE && x->what.mode);
}

struct outcome {
	struct pages pages;
	uint64_t size, limit; /* limit: what lies behind was cut off at a moment that is lost */
	uint64_t at_moment;   /* the size is that of */
	bool shrinks;
};

static void
change_size(struct outcome *o, const struct memory_change *g)
{
	if (g->kind == CHANGE_SHRINK) {
		o->shrinks = true;
		if (g->moment > o->at_moment && g->off < o->limit)
			o->limit = g->off;
		else if (g->moment <= o->at_moment)
			pages_clear(&o->pages, g->off, g->len);
	}
	if (g->moment <= o->at_moment)
		o->size = g->size;
}

static void
cut_file(const struct cut *c, const struct memory_host *h, unsigned file, struct memory_inode *to)
{
	const struct memory_inode *i = h->inode[file];
	struct outcome o = { .pages = pages_copy(&i->durable),
		.size = i->durable_size,
		.limit = NEVER,
		.at_moment = size_moment(c, file) };
	uint64_t moment = h->moment;

	for (const struct memory_change *g = i->changes; g; g = g->next) {
		change_size(&o, g);
		if (g->kind <= CHANGE_CLEAR)
			apply_pieces(c, file, &o.pages, g, o.limit);
	}
	for (const struct memory_flight *x = h->flights; x; x = x->next) {
		moment++;
		if (x->what.file == file && may_be_there(x)) {
			struct memory_change g = change_in_flight(x, i, moment);

			if (g.size > o.size && g.moment <= o.at_moment)
				o.size = g.size;
			apply_pieces(c, file, &o.pages, &g, o.limit);
			free(g.data);
		}
	}
	if (!o.shrinks && o.size < i->durable_size)
		o.size = i->durable_size; /* a write with FUA has made it so */
	pages_clear(&o.pages, o.size, PAGES_END - o.size);
	to->durable = o.pages;
	to->durable_size = to->size = o.size;
	to->now = pages_copy(&o.pages);
}

/* --- Cuts -------------------------------------------------------------------------------------------- */

/* One of all changes, those in flight too. */
static void
consider(struct cut *c, uint64_t nth, unsigned file, const struct memory_change *g)
{
	if (chance(c, nth, nth) != 0) /* the last is as likely as the first */
		return;
	c->victim = *g;
	c->victim.data = NULL;
	c->victim_file = file;
}

static void
choose_victim(struct cut *c, const struct memory_host *h)
{
	uint64_t n = 0, moment = h->moment;

	for (unsigned file = 0; file < MEMORY_FILES; file++)
		if (h->inode[file])
			for (const struct memory_change *g = h->inode[file]->changes; g; g = g->next)
				consider(c, ++n, file, g);
	for (const struct memory_flight *x = h->flights; x; x = x->next) {
		struct memory_change g = { .moment = ++moment, .off = x->what.off, .len = x->what.len };

		if (may_be_there(x))
			consider(c, ++n, x->what.file, &g);
	}
	if (n == 0)
		c->way = ONLY_DURABLE;
}

static uint64_t
first_change(const struct memory_host *h)
{
	uint64_t first = h->moment;

	for (unsigned file = 0; file < MEMORY_FILES; file++)
		if (h->inode[file] && h->inode[file]->changes && h->inode[file]->changes->moment <= first)
			first = h->inode[file]->changes->moment - 1;
	return first;
}

static struct memory_host *
cut(const struct memory_host *h, struct cut *c)
{
	struct memory_host *to = memory_host_new();

	c->first = first_change(h);
	c->last = h->moment + h->in_flight;
	c->until = c->first + chance(c, 77, c->last - c->first + 1);
	if (c->way == ALL_BUT_ONE || c->way == ONE_ALONE)
		choose_victim(c, h);
	for (unsigned file = 0; file < MEMORY_FILES; file++)
		if (h->inode[file])
			cut_file(c, h, file, memory_inode(to, file));
	return to;
}

struct memory_host *
memory_cut(const struct memory_host *h, uint64_t seed)
{
	struct cut c = { .way = (enum way)seed, .seed = memory_mix(seed, 0xc07) };

	if (seed > EVERYTHING)
		c.way = PREFIX + (enum way)chance(&c, 1, WAYS - PREFIX);
	return cut(h, &c);
}

struct memory_host *
memory_copy(const struct memory_host *h)
{
	struct memory_host *to = memory_host_new();

	for (unsigned file = 0; file < MEMORY_FILES; file++) {
		const struct memory_inode *i = h->inode[file];
		struct memory_inode *n = i ? memory_inode(to, file) : NULL;

		if (!i)
			continue;
		n->now = pages_copy(&i->now);
		n->durable = pages_copy(&i->now);
		n->size = n->durable_size = i->size;
	}
	return to;
}

unsigned
memory_unsafe(const struct memory_host *h, unsigned number)
{
	const struct memory_inode *i = h->inode[number];
	unsigned n = 0;

	for (const struct memory_change *g = i ? i->changes : NULL; g; g = g->next)
		n += g->kind != CHANGE_GROW || g->size != i->durable_size;
	return n;
}
