/*
 * hypervisor/vmbus/device.c - devices on the bus: offered, taken back, broken; their sub-channels.
 *
 * Devices are kept by type and instance, and offered in that order, so that a guest that starts again or
 * wakes finds each behind the same relid.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hypervisor/vmbus/bus_private.h"
#include "lib/log.h"

static int
compare(const struct vmbus_offer *a, const struct vmbus_offer *b)
{
	int order = memcmp(a->type, b->type, sizeof(a->type));

	return order != 0 ? order : memcmp(a->instance, b->instance, sizeof(a->instance));
}

/* By device, then index. Those whose device is gone stand anywhere. */
static bool
goes_before(const struct channel *a, const struct channel *b)
{
	int order;

	if (b->node == NULL)
		return false;
	order = compare(&a->pub.device->offer, &b->pub.device->offer);
	return order != 0 ? order < 0 : a->pub.index < b->pub.index;
}

static void
insert_channel(struct vmbus *b, struct channel *c)
{
	struct channel **p = &b->channels;

	while (*p != NULL && (c->node == NULL || !goes_before(c, *p)))
		p = &(*p)->next;
	c->next = *p;
	*p = c;
}

struct channel *
device_new_channel(struct vmbus *b, struct vmbus_node *n, uint16_t index, struct err *e)
{
	struct channel *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		err_set(e, ENOMEM, "no memory for a channel");
		return NULL;
	}
	c->bus = b;
	c->node = n;
	c->pub =
	    (struct vmbus_channel){ .device = n != NULL ? n->device : NULL, .index = index, .kick_fd = -1 };
	atomic_init(&c->pub.target_vp, (unsigned)TARGET_NOBODY);
	if (n != NULL) {
		c->pub.kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (c->pub.kick_fd < 0) {
			err_sys(e, "a channel's eventfd");
			free(c);
			return NULL;
		}
	}
	insert_channel(b, c);
	b->unsettled = true;
	return c;
}

static unsigned
count_channels(const struct vmbus *b)
{
	unsigned n = 0;

	for (const struct channel *c = b->channels; c != NULL; c = c->next)
		n += c->node != NULL;
	return n;
}

static struct vmbus_node **
node_place(struct vmbus *b, const struct vmbus_offer *o)
{
	struct vmbus_node **p = &b->nodes;

	while (*p != NULL && compare(&(*p)->device->offer, o) < 0)
		p = &(*p)->next;
	return p;
}

static int
add_node(struct vmbus *b, struct vmbus_node **place, struct vmbus_device *d, struct err *e)
{
	struct vmbus_node *n = calloc(1, sizeof(*n));
	struct channel *c;

	if (n == NULL)
		return err_set(e, ENOMEM, "%s: no memory", d->offer.name);
	n->device = d;
	c = device_new_channel(b, n, 0, e);
	if (c == NULL) {
		free(n);
		return err_wrap(e, -e->code, "%s", d->offer.name);
	}
	n->next = *place;
	*place = n;
	d->bus = b;
	d->node = n;
	d->primary = &c->pub;
	return 0;
}

int
vmbus_offer_device(struct vmbus *b, struct vmbus_device *d, struct err *e)
{
	struct vmbus_node **place = node_place(b, &d->offer);
	struct err own;
	int rc;

	if (e == NULL)
		e = &own;
	if (*place != NULL && compare(&(*place)->device->offer, &d->offer) == 0)
		return err_set(e, EEXIST, "%s: its instance is on the bus already", d->offer.name);
	if (count_channels(b) >= VMBUS_MAX_CHANNELS)
		return err_set(e, ENOSPC, "%s: the bus has no room for more than %d channels", d->offer.name,
		    VMBUS_MAX_CHANNELS);
	bus_enter(b);
	rc = add_node(b, place, d, e);
	bus_leave(b);
	return rc;
}

void
device_offer_all(struct vmbus *b)
{
	if (b->state != BUS_CONNECTED || !b->offers_asked)
		return;
	for (struct channel *c = b->channels; c != NULL; c = c->next)
		if (c->node != NULL && !c->offered && !c->taken_back)
			channel_offer(c);
}

/* The primary first: closing it takes the others along. */
void
device_take_back(struct vmbus_node *n)
{
	struct vmbus *b = n->device->bus;

	for (struct channel *c = b->channels; c != NULL; c = c->next)
		if (c->node == n)
			channel_take_back(c);
	b->unsettled = true;
}

void
vmbus_revoke_device(struct vmbus_device *d, void (*gone)(struct vmbus_device *d))
{
	struct vmbus_node *n = d->node;
	struct vmbus *b = d->bus;

	if (n == NULL) {
		if (gone != NULL)
			gone(d);
		return;
	}
	bus_enter(b);
	n->revoked = true;
	n->gone = gone;
	device_take_back(n);
	bus_leave(b);
}

struct device_told *
device_told(struct channel *c)
{
	return c->node->device->ops->transient ? &c->bus->told_asked : &c->node->told;
}

void
vmbus_channel_break(struct vmbus_channel *ch, const char *why)
{
	struct channel *c = channel_of(ch);
	struct vmbus *b = c->bus;

	if (c->node == NULL || c->taken_back)
		return;
	log_once(&device_told(c)->broken, LOG_WARN, "%s: channel %u is closed: %s", ch->device->offer.name,
	    (unsigned)ch->index, why);
	bus_enter(b);
	device_take_back(c->node);
	bus_leave(b);
}

unsigned
vmbus_max_subchannels(const struct vmbus *b)
{
	return b->host->vps - 1;
}

int
vmbus_offer_subchannels(struct vmbus_device *d, unsigned count, struct err *e)
{
	struct vmbus *b = d->bus;
	struct err own;
	unsigned there = 0;
	int rc = 0;

	if (e == NULL)
		e = &own;
	if (d->node == NULL || !d->primary->open)
		return err_set(e, EINVAL, "%s: it is not open", d->offer.name);
	for (const struct channel *c = b->channels; c != NULL; c = c->next)
		there += c->node == d->node && c->pub.index != 0 && !c->taken_back;
	if (count > vmbus_max_subchannels(b) || there > vmbus_max_subchannels(b) - count)
		return err_set(e, EINVAL, "%s: %u sub-channels more are too many for %u processors",
		    d->offer.name, count, b->host->vps);
	if (count_channels(b) + count > VMBUS_MAX_CHANNELS)
		return err_set(e, ENOSPC, "%s: the bus has no room for more than %d channels", d->offer.name,
		    VMBUS_MAX_CHANNELS);
	bus_enter(b);
	while (rc == 0 && count-- != 0)
		if (device_new_channel(b, d->node, (uint16_t)++there, e) == NULL)
			rc = err_wrap(e, -e->code, "%s", d->offer.name);
	bus_leave(b);
	return rc;
}

/* The guest may know a channel for longer than there is a device behind it. */
static void
detach(struct channel *c)
{
	if (c->pub.kick_fd >= 0)
		close(c->pub.kick_fd);
	c->pub.kick_fd = -1;
	c->pub.device = NULL;
	c->node = NULL;
	c->bus->unsettled = true;
}

static bool
let_go(const struct vmbus *b, const struct vmbus_node *n)
{
	for (const struct channel *c = b->channels; c != NULL; c = c->next)
		if (c->node == n && (c->pub.open || c->closing))
			return false;
	return true;
}

static void
remove_node(struct vmbus *b, struct vmbus_node **place)
{
	struct vmbus_node *n = *place;
	struct vmbus_device *d = n->device;
	void (*gone)(struct vmbus_device *) = n->gone;

	for (struct channel *c = b->channels; c != NULL; c = c->next)
		if (c->node == n)
			detach(c);
	*place = n->next;
	free(n);
	d->bus = NULL;
	d->node = NULL;
	d->primary = NULL;
	if (gone != NULL)
		gone(d);
}

void
vmbus_forget_device(struct vmbus_device *d)
{
	if (d->node == NULL)
		return;
	d->node->gone = NULL;
	remove_node(d->bus, node_place(d->bus, &d->offer));
}

bool
device_settle(struct vmbus *b)
{
	for (struct vmbus_node **p = &b->nodes; *p != NULL; p = &(*p)->next)
		if ((*p)->revoked && let_go(b, *p)) {
			remove_node(b, p);
			return true;
		}
	return false;
}
