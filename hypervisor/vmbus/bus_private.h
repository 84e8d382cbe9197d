/*
 * hypervisor/vmbus/bus_private.h - what the files of the bus know of each other.
 *
 *   bus.c         life, the table of messages, entering and leaving, statistics
 *   queue.c       messages that wait: from the guest (inbox), to it (outbox)
 *   connection.c  contact, version, unload, offers asked for, the interrupt page
 *   device.c      what is offered, taken back, broken; sub-channels
 *   channel.c     a channel's life between offer and release
 *   gpadl.c       memory that the guest lends
 *   bus_state.c   saving and restoring
 *
 * Every public function of the control thread is bracketed by bus_enter and bus_leave. Handlers only change
 * state and queue messages; what follows from it (memory given back, relids free again, a disconnection
 * complete, a device gone) is found by bus_settle, on the way out of the outermost bracket: so a device may
 * call back into the bus from within its own open and close.
 */
#ifndef HYPERVISOR_VMBUS_BUS_PRIVATE_H
#define HYPERVISOR_VMBUS_BUS_PRIVATE_H

#include <pthread.h>

#include "hypervisor/vmbus/bus.h"
#include "hypervisor/vmbus/wire.h"

enum {
	RELIDS = VMBUS_MAX_CHANNELS + 1, /* 0 is none */
	/* One message asks for all offers; the host may offer and take back each, answer for every GPADL and
	 * every channel that closes. */
	OUTBOX_CAP = VMBUS_MAX_OUTBOX + 4 * RELIDS + VMBUS_MAX_GPADLS,
	OUTBOX_MESSAGE = sizeof(struct wire_offer), /* the longest */
	SOON_MS = 1,
};

enum bus_state { BUS_DISCONNECTED, BUS_CONNECTED, BUS_DISCONNECTING };
/* What follows when all channels have been let go. */
enum bus_then { THEN_NOTHING, THEN_UNLOADED, THEN_CONTACT };

/* What is told once a bus. */
enum complaint {
	BAD_LENGTH,
	BAD_TYPE,
	BAD_MOMENT,
	BAD_CHANNEL,
	BAD_GPADL,
	BAD_OPEN,
	BAD_CONTACT,
	LOST_MESSAGE,
	DEAF_GUEST,
	COMPLAINTS,
};

/* A message from the guest; what is behind len is zero. */
struct inbox_message {
	uint32_t connection, len;
	union {
		uint8_t bytes[SYNIC_MESSAGE_MAX];
		struct wire_head head;
		struct wire_relid relid;
		struct wire_open open;
		struct wire_gpadl_teardown teardown;
		struct wire_contact contact;
		struct wire_tl_connect tl;
		struct wire_modify modify;
	} m;
};

struct outbox_message {
	uint32_t vp, len;
	uint8_t bytes[OUTBOX_MESSAGE];
};

/* Memory lent by the guest. In progress while have < pages. */
struct gpadl {
	struct gpadl *next;
	struct channel *channel;
	uint32_t id, len, offset;
	uint32_t pages; /* numbers announced */
	uint32_t used;  /* of them: those that len and offset reach */
	uint32_t have;
	bool lent;  /* the device has its page numbers */
	bool torn;  /* the guest wants it back: it is told when the device has let go */
	bool asked; /* the device has been told so */
	uint64_t pfn[];
};

struct channel {
	struct vmbus_channel pub;
	struct vmbus *bus;
	struct vmbus_node *node; /* NULL: the device is gone, the guest has yet to release the relid */
	struct channel *next;
	bool offered;    /* the guest knows it by its relid */
	bool taken_back; /* and was told so, if it knew it; not offered again in this connection */
	bool released;   /* by the guest: the relid is free when the device has let go */
	bool closing;    /* the device has yet to let go */
	bool bound;
	bool legacy;            /* protocol below 2.4: interrupts by page */
	uint32_t *interrupts;   /* guest-bound half of that page, or NULL */
	struct gpadl *ring;     /* while open or closing */
	uint32_t downstream;    /* and where `out` begins in it */
	bool reopen;            /* the guest opened it again while closing */
	bool restoring;         /* was open, and will be, by `again` */
	struct wire_open again; /* so */
};

/* What is told once of a device; of all those that the guest can ask for, once in all. */
struct device_told {
	atomic_int open, broken;
};

/* A device that is offered. */
struct vmbus_node {
	struct vmbus_node *next; /* by type, then instance */
	struct vmbus_device *device;
	bool revoked;
	void (*gone)(struct vmbus_device *d);
	struct device_told told;
};

struct vmbus {
	const struct vmbus_host *host;

	enum bus_state state;
	enum bus_then then;
	struct wire_contact contact; /* for THEN_CONTACT */
	uint32_t contact_connection; /* where it came in */
	uint32_t version;            /* 0: not connected */
	uint32_t message_vp;         /* of the last contact */
	uint64_t interrupt_page;     /* below 2.4; 0: none */
	bool silent_unload;          /* the protocol has no answer */
	bool offers_asked;
	bool legacy_bound;
	int legacy_fd;

	struct vmbus_streams streams;
	struct vmbus_node *nodes;
	struct channel *channels; /* in the order they are offered in */
	struct channel *by_relid[RELIDS];
	struct gpadl *gpadls;
	uint32_t gpadl_count, page_count;

	unsigned depth; /* of bus_enter */
	bool unsettled;

	pthread_mutex_t inbox_lock;
	struct inbox_message inbox[VMBUS_MAX_INBOX];
	unsigned inbox_first, inbox_count;

	struct outbox_message *outbox;
	unsigned outbox_first, outbox_count;
	bool retry_due;      /* host->retry was called */
	unsigned deaf_tries; /* in a row */

	uint64_t messages_in, messages_out, messages_bad;
	atomic_int told[COMPLAINTS];
	struct device_told told_asked; /* of devices that the guest asks for */
};

/* bus.c */
void bus_enter(struct vmbus *b);
void bus_leave(struct vmbus *b);
/* A message that makes no sense is counted, and each cause told once. */
void bus_complain(struct vmbus *b, enum complaint what, uint32_t detail);

/* queue.c */
bool inbox_take(struct vmbus *b, struct inbox_message *m);
void inbox_clear(struct vmbus *b);
/* A message to the guest, to the processor it wants its messages on; nothing when it is not connected. */
void outbox_put(struct vmbus *b, enum wire_type type, void *message, size_t len);
void outbox_put_to(struct vmbus *b, uint32_t vp, enum wire_type type, void *message, size_t len);
void outbox_clear(struct vmbus *b);
void outbox_post(struct vmbus *b);
/* vmbus_retry comes in so many milliseconds: nothing is posted before. */
void queue_retry(struct vmbus *b, unsigned ms);

/* connection.c */
bool connection_speaks(uint32_t version);
void connection_contact(struct vmbus *b, uint32_t connection, const struct wire_contact *m);
void connection_unload(struct vmbus *b);
void connection_offers(struct vmbus *b);
void connection_tl(struct vmbus *b, const struct wire_tl_connect *m);
/* All channels are closed, what waits for the guest is forgotten; `then` follows. */
void connection_end(struct vmbus *b, enum bus_then then);
/* If that is under way and all devices have let go: ends it. True when it did. */
bool connection_settle(struct vmbus *b);
/* The interrupt page of a protocol below 2.4 is used from now on. 0 or -errno. */
int connection_legacy(struct vmbus *b, uint64_t page, struct err *e);
void connection_legacy_end(struct vmbus *b);

/* device.c */
/* Calls a revoked device's `gone`: true when one is, and then the list is to be walked anew. */
bool device_settle(struct vmbus *b);
/* Offers what is not offered yet, in order. */
void device_offer_all(struct vmbus *b);
void device_take_back(struct vmbus_node *n);
/* What has been told of a channel's device. */
struct device_told *device_told(struct channel *c);
struct channel *device_new_channel(struct vmbus *b, struct vmbus_node *n, uint16_t index, struct err *e);

/* channel.c */
/* Between Microsoft's order and that of lib/guid.h, either way. */
void channel_swap_guid(uint8_t to[16], const uint8_t from[16]);
struct channel *channel_of(struct vmbus_channel *pub);
void channel_free(struct channel *c);
/* The channel of a relid that the guest knows, or NULL. */
struct channel *channel_find(struct vmbus *b, uint32_t relid);
void channel_offer(struct channel *c);
void channel_take_back(struct channel *c);
void channel_close(struct channel *c);
/* The device has let go. */
void channel_let_go(struct channel *c);
/* The guest knows it no longer: GPADLs and relid are free. The device has let go. */
void channel_forget(struct channel *c);
/* Maps the rings, binds the eventfd, opens the device: a status. */
uint32_t channel_open(struct channel *c, const struct wire_open *o);
/* The same after a restore, by what stands in c->again. */
int channel_restore(struct channel *c, struct err *e);
/* Does what follows from its state; may free it. */
void channel_settle(struct channel *c);
void channel_on_open(struct vmbus *b, const struct wire_open *m);
void channel_on_close(struct vmbus *b, const struct wire_relid *m);
void channel_on_released(struct vmbus *b, const struct wire_relid *m);
void channel_on_modify(struct vmbus *b, const struct wire_modify *m);

/* gpadl.c */
/* Makes room for one, in progress, or NULL: a bound is reached. */
struct gpadl *gpadl_new(struct vmbus *b, struct channel *c, uint32_t id, uint32_t pages);
bool gpadl_fits(struct gpadl *g, uint32_t offset, uint32_t len);
bool gpadl_is_ram(const struct vmbus *b, const struct gpadl *g);
void gpadl_free(struct vmbus *b, struct gpadl *g);
struct gpadl *gpadl_find(struct vmbus *b, const struct channel *c, uint32_t id);
/* Those that the guest wants back of a channel that the device has let go of; or all, silently. */
void gpadl_give_back(struct vmbus *b, struct channel *c);
/* Asks the device for those that it has and the guest wants back. */
void gpadl_ask(struct channel *c);
void gpadl_free_all(struct vmbus *b, const struct channel *c);
void gpadl_on_header(struct vmbus *b, const uint8_t *m, size_t len);
void gpadl_on_body(struct vmbus *b, const uint8_t *m, size_t len);
void gpadl_on_teardown(struct vmbus *b, const struct wire_gpadl_teardown *m);

#endif
