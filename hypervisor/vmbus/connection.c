/*
 * hypervisor/vmbus/connection.c - the guest's connection: agreed on, used, ended.
 *
 * A guest may say INITIATE_CONTACT at any time: a kernel that was started by another (kexec, a crash kernel,
 * a boot loader) knows nothing of what was before it. Whatever was there is then ended first: channels are
 * closed, and only when their devices have let go of the old kernel's memory is the new one answered. While
 * that is under way the newest contact or unload counts, and nothing else is listened to.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "hypervisor/vmbus/bus_private.h"
#include "lib/log.h"

bool
connection_speaks(uint32_t version)
{
	static const uint32_t spoken[] = { VMBUS_0_13, VMBUS_1_1, VMBUS_2_4, VMBUS_3_0, VMBUS_4_0, VMBUS_4_1,
		VMBUS_5_0, VMBUS_5_1, VMBUS_5_2, VMBUS_5_3 };

	for (size_t i = 0; i < sizeof(spoken) / sizeof(spoken[0]); i++)
		if (version == spoken[i])
			return true;
	return false;
}

int
connection_legacy(struct vmbus *b, uint64_t page, struct err *e)
{
	int rc;

	b->interrupt_page = page;
	if (page == 0) /* then there is only polling */
		return 0;
	if (page % GMEM_PAGE != 0 || guest_page(b->host->mem, page / GMEM_PAGE) == NULL)
		return err_set(e, EINVAL, "the interrupt page is no page of memory");
	rc = b->host->bind(b->host->ctx, CONNECTION_EVENT, b->legacy_fd, e);
	b->legacy_bound = rc == 0;
	return rc;
}

void
connection_legacy_end(struct vmbus *b)
{
	if (b->legacy_bound)
		b->host->unbind(b->host->ctx, CONNECTION_EVENT);
	b->legacy_bound = false;
	b->interrupt_page = 0;
}

/* Everything of a contact that can be wrong. 0 or -errno. */
static int
accept_contact(struct vmbus *b, const struct wire_contact *m, struct err *e)
{
	if (!connection_speaks(m->version))
		return -EPROTONOSUPPORT; /* guests try one after another: nothing to complain about */
	if (m->target_vp >= b->host->vps)
		return err_set(e, EINVAL, "there is no processor %u", m->target_vp);
	if ((m->monitor_page[0] == 0) != (m->monitor_page[1] == 0))
		return err_set(e, EINVAL, "there is only one monitor page");
	if (m->version >= VMBUS_5_0 && (m->target.sint != VMBUS_SINT || m->target.vtl != 0))
		return err_set(e, EINVAL, "SINT %u of VTL %u", m->target.sint, m->target.vtl);
	return m->version < VMBUS_2_4 ? connection_legacy(b, m->interrupt_page, e) : 0;
}

static void
answer_contact(struct vmbus *b)
{
	const struct wire_contact *m = &b->contact;
	struct wire_version_response r = { 0 };
	struct err e = { 0 };
	int rc = accept_contact(b, m, &e);

	b->message_vp = m->target_vp < b->host->vps ? m->target_vp : 0;
	if (rc == 0) {
		b->state = BUS_CONNECTED;
		b->version = m->version;
		r.supported = 1;
		r.connection = m->version >= VMBUS_5_0 ? b->contact_connection : m->version;
		log_msg(LOG_DEBUG, "VMBus: connected, protocol %u.%u", m->version >> 16, m->version & 0xffff);
	} else {
		connection_legacy_end(b);
		if (rc != -EPROTONOSUPPORT)
			bus_complain(b, BAD_CONTACT, m->version);
	}
	outbox_put_to(b, b->message_vp, WIRE_VERSION_RESPONSE, &r, sizeof(r));
}

static void
answer_unload(struct vmbus *b)
{
	struct wire_head m;

	if (!b->silent_unload)
		outbox_put_to(b, b->message_vp, WIRE_UNLOADED, &m, sizeof(m));
}

void
connection_end(struct vmbus *b, enum bus_then then)
{
	b->then = then;
	b->state = BUS_DISCONNECTING;
	b->offers_asked = false;
	b->unsettled = true;
	outbox_clear(b);
	for (struct channel *c = b->channels; c != NULL; c = c->next) {
		c->reopen = false;
		if (c->pub.open)
			channel_close(c);
	}
}

bool
connection_settle(struct vmbus *b)
{
	enum bus_then then = b->then;

	if (b->state != BUS_DISCONNECTING || !vmbus_idle(b))
		return false;
	for (struct channel *c = b->channels; c != NULL; c = c->next) {
		channel_forget(c);
		c->taken_back = c->node == NULL || c->node->revoked || c->pub.index != 0;
	}
	connection_legacy_end(b);
	b->version = 0;
	b->state = BUS_DISCONNECTED;
	b->then = THEN_NOTHING;
	b->unsettled = true;
	if (then == THEN_CONTACT)
		answer_contact(b);
	else if (then == THEN_UNLOADED)
		answer_unload(b);
	return true;
}

void
connection_contact(struct vmbus *b, uint32_t connection, const struct wire_contact *m)
{
	b->contact = *m;
	b->contact_connection = connection;
	connection_end(b, THEN_CONTACT);
}

void
connection_unload(struct vmbus *b)
{
	if (b->state != BUS_DISCONNECTING)
		b->silent_unload = b->version == VMBUS_0_13;
	connection_end(b, THEN_UNLOADED);
}

void
connection_offers(struct vmbus *b)
{
	struct wire_head m;

	/* Asked a second time we have nothing new to offer, but the guest may wait for the end of it. */
	b->offers_asked = true;
	device_offer_all(b);
	outbox_put(b, WIRE_ALL_OFFERS, &m, sizeof(m));
}

/* --- streams --- */

void
vmbus_set_streams(struct vmbus *b, const struct vmbus_streams *s)
{
	b->streams = s != NULL ? *s : (struct vmbus_streams){ 0 };
}

void
vmbus_refuse_stream(struct vmbus *b, const uint8_t endpoint[16], const uint8_t service[16])
{
	struct wire_tl_result r = { .status = WIRE_STATUS_REFUSED };

	if (b->state != BUS_CONNECTED || b->version < VMBUS_4_1) /* 4.0 has the question, and no answer */
		return;
	channel_swap_guid(r.endpoint, endpoint);
	channel_swap_guid(r.service, service);
	bus_enter(b);
	outbox_put(b, WIRE_TL_RESULT, &r, sizeof(r));
	bus_leave(b);
}

void
connection_tl(struct vmbus *b, const struct wire_tl_connect *m)
{
	uint8_t endpoint[16], service[16];

	channel_swap_guid(endpoint, m->endpoint);
	channel_swap_guid(service, m->service);
	if (b->streams.wanted != NULL)
		b->streams.wanted(b->streams.ctx, endpoint, service);
	else
		vmbus_refuse_stream(b, endpoint, service);
}

/* --- the interrupt page --- */

int
vmbus_legacy_fd(const struct vmbus *b)
{
	return b->legacy_fd;
}

static void
kick(struct vmbus *b, uint32_t relid)
{
	struct channel *c = channel_find(b, relid);

	if (c != NULL && c->pub.open)
		(void)eventfd_write(c->pub.kick_fd, 1); /* full: it is readable all the same */
}

void
vmbus_legacy_signal(struct vmbus *b)
{
	uint8_t *page = b->legacy_bound ? guest_page(b->host->mem, b->interrupt_page / GMEM_PAGE) : NULL;
	uint64_t *word;
	eventfd_t n;

	(void)eventfd_read(b->legacy_fd, &n);
	if (page == NULL)
		return;
	word = (uint64_t *)(void *)(page + INTERRUPT_PAGE_TO_HOST);
	for (uint32_t i = 0; i < RELIDS / 64; i++) {
		uint64_t bits = __atomic_exchange_n(&word[i], 0, __ATOMIC_SEQ_CST);

		for (; bits != 0; bits &= bits - 1)
			kick(b, i * 64 + (uint32_t)__builtin_ctzll(bits));
	}
	gmem_dirty(b->host->mem, b->interrupt_page + INTERRUPT_PAGE_TO_HOST, RELIDS / 8);
}
