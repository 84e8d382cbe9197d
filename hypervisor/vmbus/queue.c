/*
 * hypervisor/vmbus/queue.c - messages that wait: from the guest for the control thread, to the guest for its
 * only message slot.
 *
 * The inbox is filled by processors' threads, under a lock held for one copy. The outbox is the control
 * thread's; it holds more than VMBUS_MAX_OUTBOX because what is queued at once (all offers) must fit, and
 * what is untouched of it takes no memory.
 */
#include <errno.h>
#include <string.h>

#include "hypervisor/vmbus/bus_private.h"

enum {
	DEAF_MS = 20,
	DEAF_TRIES = 1500, /* half a minute: then nobody will come back for what waits */
};

static bool
inbox_put(struct vmbus *b, uint32_t connection, const void *payload, size_t len, bool *wake)
{
	struct inbox_message *m;
	bool room;

	pthread_mutex_lock(&b->inbox_lock);
	room = b->inbox_count < VMBUS_MAX_INBOX;
	if (room) {
		m = &b->inbox[(b->inbox_first + b->inbox_count) % VMBUS_MAX_INBOX];
		m->connection = connection;
		m->len = (uint32_t)len;
		if (len != 0)
			memcpy(m->m.bytes, payload, len);
		*wake = b->inbox_count++ == 0;
	}
	pthread_mutex_unlock(&b->inbox_lock);
	return room;
}

uint16_t
vmbus_receive(
    struct vmbus *b, uint32_t connection, uint32_t type, const void *payload, size_t len, bool *wake)
{
	*wake = false;
	if (connection != CONNECTION_MESSAGE && connection != CONNECTION_MESSAGE_NEW)
		return HV_STATUS_INVALID_CONNECTION_ID;
	if (type != MESSAGE_TYPE_VMBUS || len > SYNIC_MESSAGE_MAX)
		return HV_STATUS_INVALID_PARAMETER;
	return inbox_put(b, connection, payload, len, wake) ? HV_STATUS_SUCCESS
							    : HV_STATUS_INSUFFICIENT_BUFFERS;
}

bool
inbox_take(struct vmbus *b, struct inbox_message *m)
{
	bool some;

	pthread_mutex_lock(&b->inbox_lock);
	some = b->inbox_count != 0;
	if (some) {
		*m = b->inbox[b->inbox_first];
		b->inbox_first = (b->inbox_first + 1) % VMBUS_MAX_INBOX;
		b->inbox_count--;
	}
	pthread_mutex_unlock(&b->inbox_lock);
	if (some)
		memset(m->m.bytes + m->len, 0, sizeof(m->m.bytes) - m->len);
	return some;
}

void
inbox_clear(struct vmbus *b)
{
	pthread_mutex_lock(&b->inbox_lock);
	b->inbox_count = 0;
	pthread_mutex_unlock(&b->inbox_lock);
}

void
outbox_put_to(struct vmbus *b, uint32_t vp, enum wire_type type, void *message, size_t len)
{
	struct outbox_message *m = &b->outbox[(b->outbox_first + b->outbox_count) % OUTBOX_CAP];
	struct wire_head head = { .type = type };

	if (b->outbox_count == OUTBOX_CAP || len > OUTBOX_MESSAGE) {
		bus_complain(b, LOST_MESSAGE, type);
		return;
	}
	memcpy(message, &head, sizeof(head));
	m->vp = vp;
	m->len = (uint32_t)len;
	memcpy(m->bytes, message, len);
	b->outbox_count++;
}

void
outbox_put(struct vmbus *b, enum wire_type type, void *message, size_t len)
{
	if (b->state == BUS_CONNECTED)
		outbox_put_to(b, b->message_vp, type, message, len);
}

void
outbox_clear(struct vmbus *b)
{
	/* From the beginning again: pages behind it stay untouched. */
	b->outbox_first = b->outbox_count = 0;
	b->deaf_tries = 0;
}

void
queue_retry(struct vmbus *b, unsigned ms)
{
	b->retry_due = true;
	b->host->retry(b->host->ctx, ms);
}

/* The processor that is to hear of it takes no messages: not yet, or never more. */
static void
wait_for_ears(struct vmbus *b, uint32_t vp)
{
	if (b->deaf_tries++ < DEAF_TRIES) {
		queue_retry(b, DEAF_MS);
		return;
	}
	bus_complain(b, DEAF_GUEST, vp);
	outbox_clear(b);
}

void
outbox_post(struct vmbus *b)
{
	while (b->outbox_count != 0 && !b->retry_due) {
		const struct outbox_message *m = &b->outbox[b->outbox_first];
		int rc = b->host->post(b->host->ctx, m->vp, MESSAGE_TYPE_VMBUS, m->bytes, m->len);

		if (rc == -EAGAIN) {
			queue_retry(b, SOON_MS);
		} else if (rc < 0) {
			wait_for_ears(b, m->vp);
		} else {
			b->outbox_first = (b->outbox_first + 1) % OUTBOX_CAP;
			b->outbox_count--;
			b->deaf_tries = 0;
			b->messages_out++;
		}
	}
	if (b->outbox_count == 0)
		b->outbox_first = 0;
}
