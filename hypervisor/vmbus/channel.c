/*
 * hypervisor/vmbus/channel.c - a channel's life: offered, opened, closed, taken back, released.
 *
 * Three parties hold on to a channel: its device (while it is open, and until it has let go after that), the
 * guest (while it knows the relid), and the bus. The memory of a channel goes when all have let go.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hypervisor/vmbus/bus_private.h"
#include "lib/log.h"

_Static_assert(offsetof(struct channel, pub) == 0, "channel_of");

struct channel *
channel_of(struct vmbus_channel *pub)
{
	return (struct channel *)(void *)pub;
}

struct channel *
channel_find(struct vmbus *b, uint32_t relid)
{
	return relid < RELIDS ? b->by_relid[relid] : NULL;
}

/* --- offer --- */

/* Microsoft's order: the first three groups are little-endian integers. */
void
channel_swap_guid(uint8_t to[16], const uint8_t from[16])
{
	static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

	for (size_t i = 0; i < sizeof(order); i++)
		to[i] = from[order[i]];
}

static void
tell_offer(struct channel *c)
{
	const struct vmbus_offer *o = &c->pub.device->offer;
	struct wire_offer m = { .flags = o->flags,
		.mmio_mb = o->mmio_mb,
		.index = c->pub.index,
		.relid = c->pub.relid,
		.monitor_id = 0xff,
		.dedicated = 1,
		.connection = c->pub.connection };

	channel_swap_guid(m.type, o->type);
	channel_swap_guid(m.instance, o->instance);
	memcpy(m.user, o->user, sizeof(m.user));
	outbox_put(c->bus, WIRE_OFFER, &m, sizeof(m));
}

void
channel_offer(struct channel *c)
{
	uint32_t relid = 1;

	while (relid < RELIDS && c->bus->by_relid[relid] != NULL)
		relid++;
	if (relid == RELIDS)
		return; /* all are taken; when one is released we are asked again */
	c->bus->by_relid[relid] = c;
	c->pub.relid = relid;
	c->pub.connection = CONNECTION_CHANNEL | relid;
	c->offered = true;
	tell_offer(c);
}

void
channel_take_back(struct channel *c)
{
	struct wire_relid m = { .relid = c->pub.relid };

	if (c->taken_back)
		return;
	c->taken_back = true;
	c->reopen = false;
	c->bus->unsettled = true;
	if (c->pub.open)
		channel_close(c);
	if (c->offered)
		outbox_put(c->bus, WIRE_RESCIND, &m, sizeof(m));
}

void
channel_forget(struct channel *c)
{
	gpadl_free_all(c->bus, c);
	if (c->offered)
		c->bus->by_relid[c->pub.relid] = NULL;
	c->pub.relid = c->pub.connection = 0;
	c->offered = c->released = c->reopen = c->restoring = false;
}

/* --- open and close --- */

static int
bind_kick(struct channel *c, struct err *e)
{
	const struct vmbus_host *h = c->bus->host;
	int rc = h->bind(h->ctx, c->pub.connection, c->pub.kick_fd, e);

	c->bound = rc == 0;
	return rc;
}

static void
unbind_kick(struct channel *c)
{
	const struct vmbus_host *h = c->bus->host;

	if (c->bound)
		h->unbind(h->ctx, c->pub.connection);
	c->bound = false;
}

static void
release_rings(struct channel *c)
{
	unbind_kick(c);
	ring_pair_unmap(&c->pub.rings);
	c->ring = NULL;
	c->pub.open = false;
}

static void
close_kick(struct channel *c)
{
	if (c->pub.kick_fd >= 0)
		close(c->pub.kick_fd);
	c->pub.kick_fd = -1;
}

void
channel_free(struct channel *c)
{
	struct channel **p = &c->bus->channels;

	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	release_rings(c);
	close_kick(c);
	free(c);
}

/* The GPADL that is to hold the rings, or NULL: it is whole pages, and nobody else's. */
static struct gpadl *
ring_memory(struct channel *c, uint32_t id)
{
	struct gpadl *g = gpadl_find(c->bus, c, id);

	if (g == NULL || g->have < g->pages || g->torn || g->lent || g->offset != 0 ||
	    g->len % GMEM_PAGE != 0)
		return NULL;
	return g;
}

static uint32_t
map_rings(struct channel *c, const struct wire_open *o)
{
	struct gpadl *g = ring_memory(c, o->gpadl);
	int rc;

	if (g == NULL)
		return WIRE_STATUS_PARAMETER;
	rc = ring_pair_map(&c->pub.rings, c->bus->host->mem, g->pfn, g->used, o->downstream);
	if (rc < 0)
		return rc == -ENOMEM ? WIRE_STATUS_NO_RESOURCES : WIRE_STATUS_PARAMETER;
	c->ring = g;
	c->downstream = o->downstream;
	return WIRE_STATUS_OK;
}

static bool
is_target(const struct vmbus *b, uint32_t vp)
{
	return vp < b->host->vps || vp == (uint32_t)TARGET_NOBODY;
}

/* Whom to interrupt, and how. False when there is no such processor. */
static bool
set_target(struct channel *c, uint32_t vp)
{
	struct vmbus *b = c->bus;

	c->legacy = b->version < VMBUS_2_4;
	c->interrupts = NULL;
	if (c->legacy) {
		vp = b->message_vp; /* the field has another meaning there */
		if (b->interrupt_page != 0)
			c->interrupts = guest_page(b->host->mem, b->interrupt_page / GMEM_PAGE);
	}
	atomic_store(&c->pub.target_vp, vp);
	return is_target(b, vp);
}

static int
open_device(struct channel *c, struct err *e)
{
	struct vmbus_device *d = c->pub.device;
	int rc = bind_kick(c, e);

	if (rc < 0)
		return rc;
	c->pub.open = true;
	rc = d->ops->open(d, &c->pub, e);
	if (rc == 0 && !c->pub.open) /* it broke the channel before it was open */
		return err_set(e, EPROTO, "broken");
	return rc;
}

uint32_t
channel_open(struct channel *c, const struct wire_open *o)
{
	struct err e = { 0 };
	uint32_t status = set_target(c, o->target_vp) ? map_rings(c, o) : WIRE_STATUS_PARAMETER;

	if (status != WIRE_STATUS_OK)
		return status;
	if (c->pub.rings.in.broken || c->pub.rings.out.broken) {
		release_rings(c);
		return WIRE_STATUS_PARAMETER;
	}
	memcpy(c->pub.user, o->user, sizeof(c->pub.user));
	if (open_device(c, &e) == 0)
		return WIRE_STATUS_OK;
	log_once(&device_told(c)->open, LOG_WARN, "%s: the guest cannot open it: %s",
	    c->pub.device->offer.name, e.msg);
	if (!c->closing)
		release_rings(c);
	return WIRE_STATUS_FAILED;
}

int
channel_restore(struct channel *c, struct err *e)
{
	int rc;

	if (!set_target(c, c->again.target_vp) || map_rings(c, &c->again) != WIRE_STATUS_OK)
		return err_set(e, EINVAL, "its rings cannot be mapped");
	memcpy(c->pub.user, c->again.user, sizeof(c->pub.user));
	rc = open_device(c, e);
	if (rc < 0 && !c->closing)
		release_rings(c);
	return rc;
}

void
channel_close(struct channel *c)
{
	struct vmbus_device *d = c->pub.device;

	unbind_kick(c);
	c->pub.open = false;
	c->closing = true;
	d->ops->close(d, &c->pub);
	/* A primary takes its sub-channels with it: the guest asks for them again. */
	for (struct channel *s = c->bus->channels; c->pub.index == 0 && s != NULL; s = s->next)
		if (s->node == c->node && s->pub.index != 0)
			channel_take_back(s);
}

void
channel_let_go(struct channel *c)
{
	c->closing = false;
	release_rings(c);
	gpadl_give_back(c->bus, c);
	c->bus->unsettled = true;
}

void
vmbus_channel_closed(struct vmbus_channel *ch)
{
	struct channel *c = channel_of(ch);
	struct vmbus *b = c->bus;

	if (!c->closing)
		return;
	bus_enter(b);
	channel_let_go(c);
	bus_leave(b);
}

static void
tell_opened(struct channel *c, const struct wire_open *o, uint32_t status)
{
	struct wire_open_result m = { .relid = o->relid, .open_id = o->open_id, .status = status };

	outbox_put(c->bus, WIRE_OPEN_RESULT, &m, sizeof(m));
}

void
channel_settle(struct channel *c)
{
	if (c->pub.open || c->closing)
		return;
	if (c->reopen) {
		struct wire_open o = c->again;

		c->reopen = false;
		tell_opened(c, &o, channel_open(c, &o));
		return;
	}
	if (c->released)
		channel_forget(c);
	else if (c->taken_back && c->pub.index != 0)
		close_kick(c); /* never opened again: the guest may keep its relid, but no descriptor */
	/* A device's primary is kept for its next offer. */
	if (!c->offered && (c->node == NULL || (c->pub.index != 0 && c->taken_back)))
		channel_free(c);
}

/* --- what the guest says --- */

void
channel_on_open(struct vmbus *b, const struct wire_open *m)
{
	struct channel *c = channel_find(b, m->relid);
	struct wire_open_result refused = {
		.relid = m->relid, .open_id = m->open_id, .status = WIRE_STATUS_PARAMETER
	};

	if (c != NULL && c->taken_back)
		return; /* the guest is about to learn it, and then waits no longer */
	if (c == NULL || c->pub.open || c->reopen) {
		bus_complain(b, BAD_OPEN, m->relid);
		outbox_put(b, WIRE_OPEN_RESULT, &refused, sizeof(refused));
	} else if (c->closing) {
		c->again = *m;
		c->reopen = true;
	} else {
		uint32_t status = channel_open(c, m);

		if (status == WIRE_STATUS_PARAMETER)
			bus_complain(b, BAD_OPEN, m->relid);
		tell_opened(c, m, status);
	}
}

void
channel_on_close(struct vmbus *b, const struct wire_relid *m)
{
	struct channel *c = channel_find(b, m->relid);

	if (c != NULL && c->pub.open) {
		channel_close(c);
	} else if (c != NULL && c->reopen) {
		c->reopen = false;
		tell_opened(c, &c->again, WIRE_STATUS_FAILED);
	} else if (c == NULL || !c->taken_back) {
		bus_complain(b, BAD_CHANNEL, m->relid);
	}
}

void
channel_on_released(struct vmbus *b, const struct wire_relid *m)
{
	struct channel *c = channel_find(b, m->relid);

	if (c == NULL || !c->taken_back || c->released) {
		bus_complain(b, BAD_CHANNEL, m->relid);
		return;
	}
	c->released = true;
	b->unsettled = true;
}

void
channel_on_modify(struct vmbus *b, const struct wire_modify *m)
{
	struct channel *c = channel_find(b, m->relid);
	struct wire_modify_result r = { .relid = m->relid, .status = WIRE_STATUS_OK };

	if (c != NULL && c->pub.open && is_target(b, m->target_vp)) {
		atomic_store(&c->pub.target_vp, m->target_vp);
	} else {
		r.status = WIRE_STATUS_PARAMETER;
		if (c == NULL || !c->taken_back)
			bus_complain(b, BAD_CHANNEL, m->relid);
	}
	if (b->version >= VMBUS_5_3)
		outbox_put(b, WIRE_MODIFY_RESULT, &r, sizeof(r));
}

/* --- interrupts --- */

static void
interrupt(struct channel *c, unsigned vp)
{
	const struct vmbus *b = c->bus;
	uint32_t relid = c->pub.relid;

	if (!c->legacy) {
		b->host->signal(b->host->ctx, vp, relid);
		return;
	}
	if (c->interrupts != NULL) {
		__atomic_fetch_or(&c->interrupts[relid / 32], 1u << relid % 32, __ATOMIC_SEQ_CST);
		gmem_dirty(b->host->mem, b->interrupt_page + relid / 32 * sizeof(uint32_t), sizeof(uint32_t));
	}
	b->host->signal(b->host->ctx, vp, 0);
}

/*
 * MODIFYCHANNEL may come in between. Once it is answered the guest looks for our flags on the new target
 * only; so if the target is another one after we have signalled, the new one is signalled as well.
 */
void
vmbus_channel_signal(struct vmbus_channel *ch)
{
	struct channel *c = channel_of(ch);
	unsigned vp = atomic_load(&ch->target_vp), before;

	do {
		before = vp;
		if (vp != (unsigned)TARGET_NOBODY)
			interrupt(c, vp);
		vp = atomic_load(&ch->target_vp);
	} while (vp != before);
}
