/*
 * hypervisor/vmbus/bus.c - the bus: its life, what it does with each message, how it comes to rest.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hypervisor/vmbus/bus_private.h"
#include "lib/log.h"

int
vmbus_new(struct vmbus **out, const struct vmbus_host *host, struct err *e)
{
	struct vmbus *b = calloc(1, sizeof(*b));
	int rc;

	if (b == NULL)
		return err_set(e, ENOMEM, "VMBus: no memory");
	pthread_mutex_init(&b->inbox_lock, NULL);
	b->host = host;
	b->legacy_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	b->outbox = calloc(OUTBOX_CAP, sizeof(*b->outbox));
	if (b->legacy_fd < 0 || b->outbox == NULL) {
		rc = err_sys(e, "VMBus");
		vmbus_free(b);
		return rc;
	}
	*out = b;
	return 0;
}

static void
free_node(struct vmbus_node *n)
{
	n->device->bus = NULL;
	n->device->node = NULL;
	n->device->primary = NULL;
	free(n);
}

void
vmbus_free(struct vmbus *b)
{
	if (b == NULL)
		return;
	while (b->gpadls != NULL)
		gpadl_free(b, b->gpadls);
	while (b->channels != NULL)
		channel_free(b->channels);
	connection_legacy_end(b);
	for (struct vmbus_node *n = b->nodes, *next; n != NULL; n = next) {
		next = n->next;
		free_node(n);
	}
	if (b->legacy_fd >= 0)
		close(b->legacy_fd);
	pthread_mutex_destroy(&b->inbox_lock);
	free(b->outbox);
	free(b);
}

void
bus_complain(struct vmbus *b, enum complaint what, uint32_t detail)
{
	static const char *const words[COMPLAINTS] = {
		[BAD_LENGTH] = "the guest sent a message that is too short; its type:",
		[BAD_TYPE] = "the guest sent a message that its protocol does not have; its type:",
		[BAD_MOMENT] = "the guest sent a message while it was not connected; its type:",
		[BAD_CHANNEL] = "the guest spoke of a channel that does not exist or is not open:",
		[BAD_GPADL] = "the guest's list of memory makes no sense, or is too much; its number:",
		[BAD_OPEN] = "the guest opened a channel in a way that cannot be:",
		[BAD_CONTACT] = "the guest made contact with parameters that cannot be; protocol:",
		[LOST_MESSAGE] = "a message to the guest is lost, too many wait; its type:",
		[DEAF_GUEST] = "what waits for the guest is dropped, it takes no messages; its processor:",
	};

	if (what < LOST_MESSAGE)
		b->messages_bad++;
	log_once(&b->told[what], LOG_WARN, "VMBus: %s %#x", words[what], detail);
}

/* --- messages from the guest --- */

static void
on_contact(struct vmbus *b, const struct inbox_message *r)
{
	connection_contact(b, r->connection, &r->m.contact);
}

static void
on_unload(struct vmbus *b, const struct inbox_message *r)
{
	(void)r;
	connection_unload(b);
}

static void
on_offers(struct vmbus *b, const struct inbox_message *r)
{
	(void)r;
	connection_offers(b);
}

static void
on_open(struct vmbus *b, const struct inbox_message *r)
{
	channel_on_open(b, &r->m.open);
}

static void
on_close(struct vmbus *b, const struct inbox_message *r)
{
	channel_on_close(b, &r->m.relid);
}

static void
on_released(struct vmbus *b, const struct inbox_message *r)
{
	channel_on_released(b, &r->m.relid);
}

static void
on_gpadl_header(struct vmbus *b, const struct inbox_message *r)
{
	gpadl_on_header(b, r->m.bytes, r->len);
}

static void
on_gpadl_body(struct vmbus *b, const struct inbox_message *r)
{
	gpadl_on_body(b, r->m.bytes, r->len);
}

static void
on_gpadl_teardown(struct vmbus *b, const struct inbox_message *r)
{
	gpadl_on_teardown(b, &r->m.teardown);
}

static void
on_tl(struct vmbus *b, const struct inbox_message *r)
{
	connection_tl(b, &r->m.tl);
}

static void
on_modify(struct vmbus *b, const struct inbox_message *r)
{
	channel_on_modify(b, &r->m.modify);
}

static void
on_reserved(struct vmbus *b, const struct inbox_message *r)
{
	(void)b;
	(void)r; /* for a paravisor: not meant for us */
}

/* What a guest may say: from which version on, and how long it is at least. Longer is well: some always send
 * as much as fits. From version 0: before anything is agreed on. */
static const struct {
	void (*take)(struct vmbus *b, const struct inbox_message *r);
	uint32_t since, len;
} messages[WIRE_TYPES] = {
	[WIRE_REQUEST_OFFERS] = { on_offers, VMBUS_0_13, sizeof(struct wire_head) },
	[WIRE_OPEN] = { on_open, VMBUS_0_13, sizeof(struct wire_open) },
	[WIRE_CLOSE] = { on_close, VMBUS_0_13, sizeof(struct wire_relid) },
	[WIRE_GPADL_HEADER] = { on_gpadl_header, VMBUS_0_13, sizeof(struct wire_gpadl_header) },
	[WIRE_GPADL_BODY] = { on_gpadl_body, VMBUS_0_13, sizeof(struct wire_gpadl_body) },
	[WIRE_GPADL_TEARDOWN] = { on_gpadl_teardown, VMBUS_0_13, sizeof(struct wire_gpadl_teardown) },
	[WIRE_RELID_RELEASED] = { on_released, VMBUS_0_13, sizeof(struct wire_relid) },
	[WIRE_CONTACT] = { on_contact, 0, sizeof(struct wire_contact) },
	[WIRE_UNLOAD] = { on_unload, 0, sizeof(struct wire_head) },
	[18] = { on_reserved, VMBUS_0_13, sizeof(struct wire_head) },
	[19] = { on_reserved, VMBUS_0_13, sizeof(struct wire_head) },
	[20] = { on_reserved, VMBUS_0_13, sizeof(struct wire_head) },
	[WIRE_TL_CONNECT] = { on_tl, VMBUS_4_0, sizeof(struct wire_tl_connect) },
	[WIRE_MODIFY] = { on_modify, VMBUS_4_1, sizeof(struct wire_modify) },
};

/* What is wrong with it; COMPLAINTS: nothing. */
static enum complaint
find_fault(const struct vmbus *b, const struct inbox_message *r, uint32_t type)
{
	if (r->len < sizeof(r->m.head))
		return BAD_LENGTH;
	if (type >= WIRE_TYPES || messages[type].take == NULL)
		return BAD_TYPE;
	if (messages[type].since != 0 && b->state != BUS_CONNECTED)
		return BAD_MOMENT;
	if (messages[type].since > b->version)
		return BAD_TYPE;
	return r->len < messages[type].len ? BAD_LENGTH : COMPLAINTS;
}

static void
dispatch(struct vmbus *b, const struct inbox_message *r)
{
	uint32_t type = r->m.head.type;
	enum complaint fault = find_fault(b, r, type);

	b->messages_in++;
	if (fault == COMPLAINTS)
		messages[type].take(b, r);
	else
		bus_complain(b, fault, type);
}

/* --- in, out, and at rest --- */

static void
settle_channels(struct vmbus *b)
{
	for (struct channel *c = b->channels, *next; c != NULL; c = next) {
		next = c->next;
		channel_settle(c);
	}
}

/* What follows from what has changed, until nothing more does. */
static void
settle(struct vmbus *b)
{
	while (b->unsettled) {
		b->unsettled = false;
		if (connection_settle(b) || device_settle(b)) {
			b->unsettled = true;
			continue;
		}
		settle_channels(b);
		device_offer_all(b);
	}
}

void
bus_enter(struct vmbus *b)
{
	b->depth++;
}

void
bus_leave(struct vmbus *b)
{
	if (b->depth == 1) {
		settle(b);
		outbox_post(b);
	}
	b->depth--;
}

void
vmbus_work(struct vmbus *b)
{
	struct inbox_message r;
	unsigned n = 0;

	bus_enter(b);
	while (n < VMBUS_WORK_AT_ONCE && b->outbox_count < VMBUS_MAX_OUTBOX && inbox_take(b, &r)) {
		n++;
		dispatch(b, &r);
		if (b->depth == 1)
			settle(b);
	}
	bus_leave(b);
	if (n == VMBUS_WORK_AT_ONCE) /* processors may post as fast as we read: the rest a little later */
		queue_retry(b, SOON_MS);
}

void
vmbus_retry(struct vmbus *b)
{
	b->retry_due = false;
	bus_enter(b);
	outbox_post(b);
	bus_leave(b);
	vmbus_work(b); /* the guest is listened to again, if it was not */
}

void
vmbus_reset(struct vmbus *b)
{
	bus_enter(b);
	inbox_clear(b);
	connection_end(b, THEN_NOTHING);
	bus_leave(b);
}

bool
vmbus_idle(const struct vmbus *b)
{
	for (const struct channel *c = b->channels; c != NULL; c = c->next)
		if (c->pub.open || c->closing)
			return false;
	return true;
}

void
vmbus_statistics(const struct vmbus *b, struct vmbus_stats *s)
{
	*s = (struct vmbus_stats){ .version = b->version,
		.gpadls = b->gpadl_count,
		.pages = b->page_count,
		.messages_in = b->messages_in,
		.messages_out = b->messages_out,
		.messages_bad = b->messages_bad };
	for (const struct channel *c = b->channels; c != NULL; c = c->next)
		s->channels_open += c->pub.open;
}
