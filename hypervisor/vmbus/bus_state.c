/*
 * hypervisor/vmbus/bus_state.c - saving and restoring the bus: connection, channels, GPADLs, what waits in
 * both directions, and then each device's own state.
 *
 * One list of fields a structure serves both directions (state/snap.h). Whoever made the file may be hostile:
 * numbers are bounded before anything is made of them, rules between them are checked, and guest memory is
 * looked up again. A restore first builds what the bus knows, and only when all of it makes sense opens
 * devices.
 *
 * What a closing channel waits for, its device, is not there any more after a restore: it has let go.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "hypervisor/vmbus/bus_private.h"

enum {
	FORMAT = 1,
	NAME = 16, /* of a device, in the file */
	NO_DEVICE = UINT16_MAX,
	STATE_FIRST = 64 << 10,
	STATE_MOST = 16 << 20,      /* what a section of the stream can hold */
	CHANNELS_MOST = 2 * RELIDS, /* and those that a guest has yet to release */
};

static void
snap_count(struct snap *s, const char *name, uint32_t *n, uint32_t max)
{
	snap_u32(s, name, n, max);
	if (s->rc != 0)
		*n = 0; /* the loop over them ends at once */
}

/* --- the connection --- */

static void
snap_connection(struct vmbus *b, struct snap *s)
{
	uint8_t state = (uint8_t)b->state, then = (uint8_t)b->then;

	snap_u8(s, "state", &state, BUS_DISCONNECTING);
	snap_u8(s, "then", &then, THEN_CONTACT);
	b->state = state;
	b->then = then;
	snap_bytes(s, "contact", &b->contact, sizeof(b->contact));
	snap_u32(s, "contact connection", &b->contact_connection, CONNECTION_MESSAGE_NEW);
	snap_u32(s, "version", &b->version, VMBUS_5_3);
	snap_u32(s, "message processor", &b->message_vp, b->host->vps - 1);
	snap_u64(s, "interrupt page", &b->interrupt_page, UINT64_MAX);
	snap_bool(s, "silent unload", &b->silent_unload);
	snap_bool(s, "offers asked", &b->offers_asked);
	snap_check(s, (b->version != 0) == (b->state != BUS_DISCONNECTED) || b->state == BUS_DISCONNECTING,
	    "version", "does not go with the state");
	snap_check(s, b->version == 0 || connection_speaks(b->version), "version", "is not spoken");
	snap_check(
	    s, b->version < VMBUS_2_4 || b->interrupt_page == 0, "interrupt page", "not in this version");
	snap_check(s, !b->offers_asked || b->state == BUS_CONNECTED, "offers asked", "without a connection");
	snap_check(s, b->then == THEN_NOTHING || b->state == BUS_DISCONNECTING, "then", "without an end");
}

/* --- devices: who is there --- */

/* Those that the file knows, and those of which the guest is told that they are gone. */
static bool
stays(const struct vmbus_node *n)
{
	return n != NULL && !n->revoked && !n->device->ops->transient;
}

static bool
goes(const struct channel *c)
{
	return c->node != NULL && c->node->device->ops->transient && c->offered && !c->taken_back;
}

static uint32_t
count_nodes(const struct vmbus *b)
{
	uint32_t n = 0;

	for (const struct vmbus_node *node = b->nodes; node != NULL; node = node->next)
		n += stays(node);
	return n;
}

/* What identifies a device, the same in the file and on this bus. */
static void
snap_identity(struct vmbus_node *n, struct snap *s)
{
	const struct vmbus_device *d = n->device;
	uint8_t type[16], instance[16];
	char name[NAME] = { 0 }, here[NAME] = { 0 };
	uint32_t version = d->ops->version;

	memcpy(type, d->offer.type, sizeof(type));
	memcpy(instance, d->offer.instance, sizeof(instance));
	for (size_t i = 0; i < NAME - 1 && d->ops->name[i] != '\0'; i++)
		name[i] = here[i] = d->ops->name[i];
	snap_bytes(s, "type", type, sizeof(type));
	snap_bytes(s, "instance", instance, sizeof(instance));
	snap_bytes(s, "name", name, sizeof(name));
	snap_u32(s, "device version", &version, UINT32_MAX);
	snap_check(s,
	    memcmp(type, d->offer.type, sizeof(type)) == 0 &&
		memcmp(instance, d->offer.instance, sizeof(instance)) == 0,
	    d->offer.name, "is another device");
	snap_check(s, memcmp(name, here, sizeof(name)) == 0, d->offer.name, "is of another kind");
	snap_check(s, version == d->ops->version, d->offer.name, "is of another version");
}

static void
snap_devices(struct vmbus *b, struct snap *s)
{
	uint32_t here = count_nodes(b), n = here;

	snap_count(s, "devices", &n, VMBUS_MAX_CHANNELS);
	snap_check(s, n == here, "devices", "the machine has others");
	for (struct vmbus_node *node = b->nodes; node != NULL && s->rc == 0; node = node->next)
		if (stays(node))
			snap_identity(node, s);
}

static uint16_t
node_number(const struct vmbus *b, const struct vmbus_node *n)
{
	uint16_t at = 0;

	if (!stays(n))
		return NO_DEVICE;
	for (const struct vmbus_node *p = b->nodes; p != n; p = p->next)
		at += stays(p);
	return at;
}

static struct vmbus_node *
node_numbered(const struct vmbus *b, uint16_t at)
{
	for (struct vmbus_node *n = b->nodes; n != NULL; n = n->next)
		if (stays(n) && at-- == 0)
			return n;
	return NULL;
}

/* --- channels --- */

/* What a saved channel says of itself, before there is one. */
struct saved_channel {
	uint16_t node, index;
	uint32_t relid, target_vp, ring, downstream;
	bool offered, taken_back, released, open, reopen;
	uint8_t user[120];
	struct wire_open again;
};

static void
snap_channel(struct saved_channel *c, struct snap *s)
{
	snap_u16(s, "device", &c->node, NO_DEVICE);
	snap_u16(s, "sub-channel", &c->index, UINT16_MAX);
	snap_u32(s, "relid", &c->relid, RELIDS - 1);
	snap_bool(s, "offered", &c->offered);
	snap_bool(s, "taken back", &c->taken_back);
	snap_bool(s, "released", &c->released);
	snap_bool(s, "open", &c->open);
	snap_bool(s, "reopen", &c->reopen);
	if (c->open) {
		snap_u32(s, "target", &c->target_vp, UINT32_MAX);
		snap_u32(s, "ring", &c->ring, UINT32_MAX);
		snap_u32(s, "downstream", &c->downstream, VMBUS_MAX_GPADL_PAGES);
		snap_bytes(s, "user data", c->user, sizeof(c->user));
	}
	if (c->reopen)
		snap_bytes(s, "open again", &c->again, sizeof(c->again));
}

static void
save_channel(const struct vmbus *b, const struct channel *c, struct snap *s)
{
	struct saved_channel m = { .node = node_number(b, c->node),
		.index = c->pub.index,
		.relid = c->pub.relid,
		.offered = c->offered,
		.taken_back = c->taken_back || goes(c),
		.released = c->released,
		.open = c->pub.open && !goes(c),
		.reopen = c->reopen && !goes(c),
		.target_vp = atomic_load(&c->pub.target_vp),
		.ring = c->pub.open ? c->ring->id : 0,
		.downstream = c->downstream,
		.again = c->again };

	memcpy(m.user, c->pub.user, sizeof(m.user));
	snap_channel(&m, s);
}

static bool
has_index(const struct vmbus *b, const struct vmbus_node *n, uint16_t index)
{
	for (const struct channel *c = b->channels; c != NULL; c = c->next)
		if (c->node == n && c->pub.index == index && !c->taken_back)
			return true;
	return false;
}

static void
check_channel(
    const struct vmbus *b, const struct vmbus_node *n, const struct saved_channel *m, struct snap *s)
{
	bool live = m->offered && !m->taken_back && b->state == BUS_CONNECTED;

	snap_check(s, (n != NULL) == (m->node != NO_DEVICE), "channel", "its device does not exist");
	snap_check(s, n != NULL || m->taken_back, "channel", "is of no device");
	snap_check(s, m->index < b->host->vps, "channel", "has too high a number");
	snap_check(s, (m->relid != 0) == m->offered, "channel", "its relid does not go with its offer");
	snap_check(s, !m->offered || b->by_relid[m->relid] == NULL, "channel", "its relid is another's, too");
	snap_check(s, !m->offered || b->version != 0, "channel", "is offered without a connection");
	snap_check(s, !m->released || (m->offered && m->taken_back), "channel", "cannot have been released");
	snap_check(s, (!m->open && !m->reopen) || live, "channel", "cannot be open");
	snap_check(s, !m->open || !m->reopen, "channel", "is open, and to be opened");
	snap_check(s, !m->open || m->target_vp < b->host->vps || m->target_vp == (uint32_t)TARGET_NOBODY,
	    "channel", "interrupts a processor that does not exist");
	snap_check(s, n == NULL || m->index == 0 || m->taken_back || !has_index(b, n, m->index), "channel",
	    "is there twice");
}

static struct channel *
place_channel(struct vmbus *b, struct vmbus_node *n, const struct saved_channel *m, struct snap *s)
{
	if (n != NULL && m->index == 0)
		return channel_of(n->device->primary);
	return device_new_channel(b, n, m->index, &s->err);
}

static void
restore_channel(struct vmbus *b, struct snap *s)
{
	struct saved_channel m = { 0 };
	struct vmbus_node *n;
	struct channel *c;

	snap_channel(&m, s);
	n = node_numbered(b, m.node);
	check_channel(b, n, &m, s);
	if (s->rc != 0)
		return;
	c = place_channel(b, n, &m, s);
	if (c == NULL) {
		s->rc = -ENOMEM;
		return;
	}
	snap_check(s, !c->offered && !c->taken_back, "channel", "is there twice");
	if (s->rc != 0)
		return;
	c->pub.relid = m.relid;
	c->pub.connection = m.offered ? CONNECTION_CHANNEL | m.relid : 0;
	c->offered = m.offered;
	c->taken_back = m.taken_back;
	c->released = m.released;
	c->reopen = m.reopen;
	c->again = m.again;
	if (m.offered)
		b->by_relid[m.relid] = c;
	/* Opened when its memory is known: until then what is needed for it stands in `again`. */
	c->restoring = m.open;
	if (m.open) {
		c->again = (struct wire_open){ .relid = m.relid,
			.gpadl = m.ring,
			.target_vp = m.target_vp,
			.downstream = m.downstream };
		memcpy(c->again.user, m.user, sizeof(m.user));
	}
}

/* What was never offered of a device that goes, nobody need know. */
static bool
is_saved(const struct channel *c)
{
	return c->offered || c->node == NULL || !c->node->device->ops->transient;
}

static void
snap_channels(struct vmbus *b, struct snap *s)
{
	uint32_t n = 0;

	for (const struct channel *c = b->channels; s->saving && c != NULL; c = c->next)
		n += is_saved(c);
	snap_count(s, "channels", &n, CHANNELS_MOST);
	for (const struct channel *c = b->channels; s->saving && c != NULL; c = c->next)
		if (is_saved(c))
			save_channel(b, c, s);
	while (!s->saving && s->rc == 0 && n-- != 0)
		restore_channel(b, s);
}

/* --- GPADLs --- */

static void
snap_pages(struct gpadl *g, struct snap *s)
{
	/* A closing device has let go, in the file, and so has one that goes. */
	bool lent = g->lent && g->channel->pub.open && !goes(g->channel);

	snap_u32(s, "offset", &g->offset, GMEM_PAGE - 1);
	snap_u32(s, "length", &g->len, UINT32_MAX);
	snap_u32(s, "pages received", &g->have, g->pages);
	snap_bool(s, "lent", &lent);
	g->lent = s->saving ? g->lent : lent;
	snap_bool(s, "torn", &g->torn);
	if (s->rc == 0)
		snap_bytes(s, "page numbers", g->pfn, g->have * sizeof(g->pfn[0]));
}

static void
save_gpadl(struct gpadl *g, struct snap *s)
{
	snap_u32(s, "relid", &g->channel->pub.relid, RELIDS - 1);
	snap_u32(s, "GPADL", &g->id, UINT32_MAX);
	snap_u32(s, "pages", &g->pages, VMBUS_MAX_GPADL_PAGES);
	snap_pages(g, s);
}

static void
restore_pages(struct vmbus *b, struct gpadl *g, struct snap *s)
{
	snap_pages(g, s);
	if (s->rc != 0) {
		g->have = 0;
		return;
	}
	snap_check(s, gpadl_fits(g, g->offset, g->len), "GPADL", "does not hold its bytes");
	snap_check(s, g->have < g->pages || gpadl_is_ram(b, g), "GPADL", "is not all memory");
	snap_check(s, !g->lent || (g->have == g->pages && g->channel->restoring), "GPADL", "cannot be lent");
	snap_check(s, !g->torn || g->have == g->pages, "GPADL", "cannot be wanted back");
}

static void
restore_gpadl(struct vmbus *b, struct snap *s)
{
	uint32_t relid = 0, id = 0, pages = 0;
	struct channel *c;
	struct gpadl *g;

	snap_u32(s, "relid", &relid, RELIDS - 1);
	snap_u32(s, "GPADL", &id, UINT32_MAX);
	snap_u32(s, "pages", &pages, VMBUS_MAX_GPADL_PAGES);
	c = channel_find(b, relid);
	snap_check(s, c != NULL, "GPADL", "its channel does not exist");
	snap_check(s, c == NULL || gpadl_find(b, c, id) == NULL, "GPADL", "is there twice");
	snap_check(s, pages != 0, "GPADL", "has no pages");
	if (s->rc != 0 || c == NULL)
		return;
	g = gpadl_new(b, c, id, pages);
	snap_check(s, g != NULL, "GPADL", "is too much");
	if (g != NULL)
		restore_pages(b, g, s);
}

static void
snap_gpadls(struct vmbus *b, struct snap *s)
{
	uint32_t n = b->gpadl_count;

	snap_count(s, "GPADLs", &n, VMBUS_MAX_GPADLS);
	for (struct gpadl *g = b->gpadls; s->saving && g != NULL; g = g->next)
		save_gpadl(g, s);
	while (!s->saving && s->rc == 0 && n-- != 0)
		restore_gpadl(b, s);
}

/* --- queues --- */

static void
snap_received(struct inbox_message *m, struct snap *s)
{
	snap_u32(s, "connection", &m->connection, CONNECTION_MESSAGE_NEW);
	snap_u32(s, "length", &m->len, SYNIC_MESSAGE_MAX);
	if (s->rc == 0)
		snap_bytes(s, "message", m->m.bytes, m->len);
}

static void
snap_inbox(struct vmbus *b, struct snap *s)
{
	uint32_t n = b->inbox_count;

	snap_count(s, "messages from the guest", &n, VMBUS_MAX_INBOX);
	for (uint32_t i = 0; i < n && s->rc == 0; i++)
		snap_received(&b->inbox[(b->inbox_first + i) % VMBUS_MAX_INBOX], s);
	b->inbox_count = n;
}

static void
snap_waiting(struct vmbus *b, struct outbox_message *m, struct snap *s)
{
	snap_u32(s, "processor", &m->vp, b->host->vps - 1);
	snap_u32(s, "length", &m->len, OUTBOX_MESSAGE);
	snap_check(s, m->len >= sizeof(struct wire_head), "message to the guest", "is too short");
	if (s->rc == 0)
		snap_bytes(s, "message", m->bytes, m->len);
}

static uint32_t
count_going(const struct vmbus *b)
{
	uint32_t n = 0;

	for (const struct channel *c = b->channels; c != NULL; c = c->next)
		n += goes(c);
	return n;
}

/* The guest hears of it as the first thing after the restore. */
static void
save_going(struct vmbus *b, struct snap *s, uint32_t most)
{
	for (const struct channel *c = b->channels; c != NULL && most != 0; c = c->next) {
		struct outbox_message o = { .vp = b->message_vp, .len = sizeof(struct wire_relid) };
		struct wire_relid m = { .head.type = WIRE_RESCIND, .relid = c->pub.relid };

		if (!goes(c))
			continue;
		memcpy(o.bytes, &m, sizeof(m));
		snap_waiting(b, &o, s);
		most--;
	}
}

static void
snap_outbox(struct vmbus *b, struct snap *s)
{
	uint32_t here = b->outbox_count, n = here + (s->saving ? count_going(b) : 0);

	n = n < OUTBOX_CAP ? n : OUTBOX_CAP;
	snap_count(s, "messages to the guest", &n, OUTBOX_CAP);
	if (!s->saving)
		here = n;
	for (uint32_t i = 0; i < here && s->rc == 0; i++)
		snap_waiting(b, &b->outbox[(b->outbox_first + i) % OUTBOX_CAP], s);
	if (s->saving)
		save_going(b, s, n - here);
	else
		b->outbox_count = n;
}

/* --- devices: what they know --- */

/* A part of its own, so that a device cannot read or write beyond it: its length, then its bytes. */
static void
snap_device(struct vmbus_device *d, struct snap *s)
{
	uint32_t len = 0;
	size_t head = s->pos;
	struct snap part;

	snap_u32(s, "length", &len, STATE_MOST);
	if (s->rc != 0)
		return;
	snap_check(s, len <= s->len - s->pos, d->offer.name, "cut short");
	if (s->rc != 0)
		return;
	if (s->saving)
		snap_save_to(&part, s->buf + s->pos, s->len - s->pos);
	else
		snap_restore_from(&part, s->buf + s->pos, len);
	if (d->ops->snap != NULL)
		d->ops->snap(d, &part);
	if (snap_end(&part) != 0) {
		s->rc = err_set(&s->err, -part.rc, "%s: %s", d->offer.name, part.err.msg);
		return;
	}
	if (s->saving) {
		struct snap length = { .saving = true, .buf = s->buf, .len = s->len, .pos = head };

		len = (uint32_t)part.pos;
		snap_u32(&length, "length", &len, STATE_MOST);
	}
	s->pos += part.pos;
}

static void
snap_contents(struct vmbus *b, struct snap *s)
{
	for (struct vmbus_node *n = b->nodes; n != NULL && s->rc == 0; n = n->next)
		if (stays(n))
			snap_device(n->device, s);
}

/* --- the whole --- */

static void
snap_bus(struct vmbus *b, struct snap *s)
{
	uint32_t format = FORMAT;

	snap_u32(s, "format", &format, FORMAT);
	snap_check(s, format == FORMAT, "format", "is not known");
	snap_connection(b, s);
	snap_devices(b, s);
	snap_channels(b, s);
	snap_gpadls(b, s);
	snap_inbox(b, s);
	snap_outbox(b, s);
}

long
vmbus_save(struct vmbus *b, void *buf, size_t cap)
{
	struct snap s;

	snap_save_to(&s, buf, cap < STATE_MOST ? cap : STATE_MOST);
	snap_bus(b, &s);
	snap_contents(b, &s);
	return snap_end(&s) == 0 ? (long)s.pos : s.rc;
}

size_t
vmbus_state_max(const struct vmbus *b)
{
	struct vmbus *own = (struct vmbus *)(uintptr_t)b; /* saving changes nothing */
	long n = -ENOSPC;

	for (size_t cap = STATE_FIRST; n == -ENOSPC && cap <= STATE_MOST; cap *= 4) {
		void *buf = malloc(cap);

		n = buf != NULL ? vmbus_save(own, buf, cap) : -ENOMEM;
		free(buf);
	}
	return n > 0 ? (size_t)n : 0;
}

/* Opens what was open, the way the guest would have it opened. */
static void
reopen(struct vmbus *b, struct snap *s)
{
	for (struct channel *c = b->channels; c != NULL && s->rc == 0; c = c->next) {
		if (!c->restoring)
			continue;
		c->restoring = false;
		snap_check(s, c->pub.index == 0 || c->pub.device->primary->open, c->pub.device->offer.name,
		    "a sub-channel is open, the primary is not");
		if (s->rc == 0 && channel_restore(c, &s->err) < 0)
			s->rc = err_wrap(&s->err, -EINVAL, "%s", c->pub.device->offer.name);
	}
}

/* GPADLs that were waiting for a device to let go: it has. */
static void
let_go_of_closed(struct vmbus *b)
{
	for (struct channel *c = b->channels; c != NULL; c = c->next)
		if (!c->pub.open)
			gpadl_give_back(b, c);
}

static int
restore(struct vmbus *b, struct snap *s)
{
	snap_bus(b, s);
	if (s->rc == 0 && b->version != 0 && b->version < VMBUS_2_4 &&
	    connection_legacy(b, b->interrupt_page, &s->err) < 0)
		s->rc = -EINVAL;
	reopen(b, s);
	snap_contents(b, s);
	return snap_end(s);
}

int
vmbus_restore(struct vmbus *b, const void *buf, size_t len, struct err *e)
{
	struct snap s;
	int rc;

	if (b->state != BUS_DISCONNECTED || !vmbus_idle(b) || b->inbox_count != 0 || b->outbox_count != 0)
		return err_set(e, EBUSY, "VMBus: it is in use");
	snap_restore_from(&s, buf, len);
	b->depth++; /* and nothing follows from it yet */
	rc = restore(b, &s);
	if (rc == 0)
		let_go_of_closed(b);
	b->unsettled = true;
	b->depth--;
	if (rc == 0)
		return 0;
	vmbus_reset(b);
	return err_set(e, EINVAL, "VMBus: %s", s.err.msg);
}

static void
wake_channel(struct channel *c)
{
	ring_pair_sync(&c->pub.rings);
	(void)eventfd_write(c->pub.kick_fd, 1);
	vmbus_channel_signal(&c->pub);
	gpadl_ask(c);
}

void
vmbus_restored(struct vmbus *b)
{
	bus_enter(b);
	for (struct channel *c = b->channels; c != NULL; c = c->next)
		if (c->pub.open)
			wake_channel(c);
	(void)eventfd_write(b->legacy_fd, 1);
	for (struct vmbus_node *n = b->nodes; n != NULL; n = n->next)
		if (!n->revoked && n->device->ops->restored != NULL)
			n->device->ops->restored(n->device);
	bus_leave(b);
	vmbus_work(b);
}
