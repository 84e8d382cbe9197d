/*
 * hypervisor/vmbus/gpadl.c - guest memory that is lent to a channel (GPADL: guest physical address descriptor
 * list): put together from messages, checked, given back.
 *
 * Ids are the guest's choice: they are looked up, never used as an index. Room is made when the header comes,
 * within bounds, so that nothing grows with what follows.
 */
#include <stdlib.h>
#include <string.h>

#include "hypervisor/vmbus/bus_private.h"

enum { PFN = sizeof(uint64_t), RANGE_HEAD = 8 };

struct gpadl *
gpadl_new(struct vmbus *b, struct channel *c, uint32_t id, uint32_t pages)
{
	struct gpadl *g;

	if (b->gpadl_count == VMBUS_MAX_GPADLS || pages > VMBUS_MAX_PAGES - b->page_count)
		return NULL;
	g = malloc(sizeof(*g) + pages * sizeof(g->pfn[0]));
	if (g == NULL)
		return NULL;
	*g = (struct gpadl){ .next = b->gpadls, .channel = c, .id = id, .pages = pages };
	b->gpadls = g;
	b->gpadl_count++;
	b->page_count += pages;
	return g;
}

void
gpadl_free(struct vmbus *b, struct gpadl *g)
{
	struct gpadl **p = &b->gpadls;

	while (*p != g)
		p = &(*p)->next;
	*p = g->next;
	b->gpadl_count--;
	b->page_count -= g->pages;
	free(g);
}

/* Sets where its bytes are; false when there are none, or more than its pages hold. */
bool
gpadl_fits(struct gpadl *g, uint32_t offset, uint32_t len)
{
	uint64_t used = ((uint64_t)offset + len + GMEM_PAGE - 1) / GMEM_PAGE;

	if (len == 0 || offset >= GMEM_PAGE || used > g->pages)
		return false;
	g->offset = offset;
	g->len = len;
	g->used = (uint32_t)used;
	return true;
}

bool
gpadl_is_ram(const struct vmbus *b, const struct gpadl *g)
{
	for (uint32_t i = 0; i < g->used; i++)
		if (guest_page(b->host->mem, g->pfn[i]) == NULL)
			return false;
	return true;
}

struct gpadl *
gpadl_find(struct vmbus *b, const struct channel *c, uint32_t id)
{
	struct gpadl *g = b->gpadls;

	while (g != NULL && (g->id != id || g->channel != c))
		g = g->next;
	return g;
}

/* By its id alone: that in progress, or any. */
static struct gpadl *
find_id(struct vmbus *b, uint32_t id, bool in_progress)
{
	struct gpadl *g = b->gpadls;

	while (g != NULL && (g->id != id || (in_progress && g->have == g->pages)))
		g = g->next;
	return g;
}

static void
tell_created(struct vmbus *b, uint32_t relid, uint32_t id, uint32_t status)
{
	struct wire_gpadl_created m = { .relid = relid, .gpadl = id, .status = status };

	if (status != WIRE_STATUS_OK)
		bus_complain(b, BAD_GPADL, id);
	outbox_put(b, WIRE_GPADL_CREATED, &m, sizeof(m));
}

static void
tell_torndown(struct vmbus *b, uint32_t id)
{
	struct wire_gpadl_torndown m = { .gpadl = id };

	outbox_put(b, WIRE_GPADL_TORNDOWN, &m, sizeof(m));
}

/* Takes page numbers from a message, as many as are still missing; what is behind them is none. */
static void
take_pages(struct vmbus *b, struct gpadl *g, const uint8_t *pfn, size_t bytes)
{
	size_t n = bytes / PFN;

	if (n > g->pages - g->have)
		n = g->pages - g->have;
	memcpy(g->pfn + g->have, pfn, n * PFN);
	g->have += (uint32_t)n;
	if (g->have < g->pages)
		return;
	if (gpadl_is_ram(b, g)) {
		tell_created(b, g->channel->pub.relid, g->id, WIRE_STATUS_OK);
		return;
	}
	tell_created(b, g->channel->pub.relid, g->id, WIRE_STATUS_PARAMETER);
	gpadl_free(b, g);
}

/* A status; *out is set when it is OK. A channel that was taken back is served all the same: the guest may
 * not know yet, and waits for the answer. */
static uint32_t
begin(struct vmbus *b, const struct wire_gpadl_header *h, struct gpadl **out)
{
	struct channel *c = channel_find(b, h->relid);
	uint32_t pages;

	if (c == NULL || h->ranges != 1 || h->range_bytes < RANGE_HEAD + PFN || h->range_bytes % PFN != 0)
		return WIRE_STATUS_PARAMETER;
	if (gpadl_find(b, c, h->gpadl) != NULL || find_id(b, h->gpadl, true) != NULL)
		return WIRE_STATUS_PARAMETER;
	pages = (h->range_bytes - RANGE_HEAD) / (unsigned)PFN;
	*out = gpadl_new(b, c, h->gpadl, pages);
	if (*out == NULL)
		return WIRE_STATUS_NO_RESOURCES;
	if (gpadl_fits(*out, h->offset, h->len))
		return WIRE_STATUS_OK;
	gpadl_free(b, *out);
	return WIRE_STATUS_PARAMETER;
}

void
gpadl_on_header(struct vmbus *b, const uint8_t *m, size_t len)
{
	struct wire_gpadl_header h;
	struct gpadl *g = NULL;
	uint32_t status;

	memcpy(&h, m, sizeof(h));
	status = begin(b, &h, &g);
	if (status == WIRE_STATUS_OK)
		take_pages(b, g, m + sizeof(h), len - sizeof(h));
	else
		tell_created(b, h.relid, h.gpadl, status);
}

void
gpadl_on_body(struct vmbus *b, const uint8_t *m, size_t len)
{
	struct wire_gpadl_body h;
	struct gpadl *g;

	memcpy(&h, m, sizeof(h));
	g = find_id(b, h.gpadl, true);
	if (g == NULL || len < sizeof(h) + PFN)
		bus_complain(b, BAD_GPADL, h.gpadl);
	else
		take_pages(b, g, m + sizeof(h), len - sizeof(h));
}

/* The device uses it, or may: it is given back later. */
static bool
in_use(const struct gpadl *g)
{
	const struct channel *c = g->channel;

	return (c->pub.open || c->closing) && (g->lent || g == c->ring);
}

static void
tear_down(struct vmbus *b, struct gpadl *g)
{
	struct channel *c = g->channel;

	if (!in_use(g)) {
		tell_torndown(b, g->id);
		gpadl_free(b, g);
		return;
	}
	if (g->torn || (c->pub.open && g == c->ring)) {
		bus_complain(b, BAD_GPADL, g->id); /* the rings of an open channel stay */
		return;
	}
	g->torn = true;
	if (c->pub.open)
		gpadl_ask(c);
}

void
gpadl_ask(struct channel *c)
{
	struct vmbus_device *d = c->pub.device;
	struct gpadl *g = c->bus->gpadls;

	while (d->ops->gpadl_wanted != NULL && g != NULL) {
		if (g->channel != c || !g->torn || g->asked) {
			g = g->next;
			continue;
		}
		g->asked = true;
		d->ops->gpadl_wanted(d, &c->pub, g->id);
		g = c->bus->gpadls; /* it may have released any of them */
	}
}

void
gpadl_on_teardown(struct vmbus *b, const struct wire_gpadl_teardown *m)
{
	struct channel *c = channel_find(b, m->relid);
	struct gpadl *g = c != NULL ? gpadl_find(b, c, m->gpadl) : NULL;

	if (g != NULL) {
		tear_down(b, g);
	} else if (find_id(b, m->gpadl, false) != NULL) {
		bus_complain(b, BAD_GPADL, m->gpadl); /* another channel's */
	} else {
		/* We have no such memory, and guests wait for this without an end. */
		if (c == NULL || !c->taken_back)
			bus_complain(b, BAD_GPADL, m->gpadl);
		tell_torndown(b, m->gpadl);
	}
}

void
gpadl_give_back(struct vmbus *b, struct channel *c)
{
	for (struct gpadl *g = b->gpadls, *next; g != NULL; g = next) {
		next = g->next;
		if (g->channel != c)
			continue;
		g->lent = false;
		if (!g->torn)
			continue;
		tell_torndown(b, g->id);
		gpadl_free(b, g);
	}
}

void
gpadl_free_all(struct vmbus *b, const struct channel *c)
{
	for (struct gpadl *g = b->gpadls, *next; g != NULL; g = next) {
		next = g->next;
		if (g->channel == c)
			gpadl_free(b, g);
	}
}

const uint64_t *
vmbus_gpadl(struct vmbus_channel *ch, uint32_t id, uint32_t *pages, uint32_t *offset, uint32_t *len)
{
	struct channel *c = channel_of(ch);
	struct gpadl *g = gpadl_find(c->bus, c, id);

	if (!ch->open || g == NULL || g->have < g->pages || g == c->ring || (g->torn && !g->lent))
		return NULL;
	g->lent = true;
	*pages = g->used;
	*offset = g->offset;
	*len = g->len;
	return g->pfn;
}

void
vmbus_gpadl_release(struct vmbus_channel *ch, uint32_t id)
{
	struct channel *c = channel_of(ch);
	struct gpadl *g = gpadl_find(c->bus, c, id);

	if (g == NULL || !g->lent)
		return;
	bus_enter(c->bus);
	g->lent = false;
	if (g->torn && g != c->ring)
		tear_down(c->bus, g);
	bus_leave(c->bus);
}

void
vmbus_each_lent_page(struct vmbus *b, void (*fn)(void *ctx, uint64_t pfn), void *ctx)
{
	for (const struct gpadl *g = b->gpadls; g != NULL; g = g->next)
		for (uint32_t i = 0; i < g->have; i++)
			fn(ctx, g->pfn[i]);
}
