/*
 * hypervisor/vmbus/bus.h - the bus: its connection with the guest, the channels it offers, the guest memory
 * (GPADLs) that the guest lends them.
 *
 * Threads. All of it belongs to the control thread, but for vmbus_receive (a processor's thread brings a
 * message), and for vmbus_channel_signal and the rings of an open channel, which are the device's I/O
 * thread's. A device hears of its channel on the control thread (open, close) and answers with
 * vmbus_channel_closed when nothing of it touches the channel's memory any more: only then the guest is told
 * that its memory is its own again.
 *
 * Nothing a guest sends ends the worker, makes it wait, or makes it grow: queues, GPADLs and pages are
 * bounded (enum below), a message that makes no sense is dropped and counted, and told once per cause.
 */
#ifndef HYPERVISOR_VMBUS_BUS_H
#define HYPERVISOR_VMBUS_BUS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/state/snap.h"
#include "hypervisor/vmbus/host.h"
#include "hypervisor/vmbus/ring.h"
#include "lib/err.h"

enum {
	VMBUS_MAX_CHANNELS = 2047,    /* relids 1..2047 */
	VMBUS_MAX_INBOX = 64,         /* messages from the guest that wait */
	VMBUS_WORK_AT_ONCE = 256,     /* of them are taken before others have their turn */
	VMBUS_MAX_OUTBOX = 4096,      /* to it; beyond that it is not listened to */
	VMBUS_MAX_GPADLS = 1024,      /* in all */
	VMBUS_MAX_GPADL_PAGES = 8190, /* each */
	VMBUS_MAX_PAGES = 1 << 18,    /* in all: 1 GiB of guest memory */
};

struct vmbus;
struct vmbus_device;
struct vmbus_channel;

struct vmbus_device_ops {
	const char *name; /* in saved state: never changes */
	uint32_t version; /* of snap() */
	/* It does not outlive its worker: saved state has none of it, and the guest is told after a restore
	 * that its channel is gone. snap is not called. */
	bool transient;
	/* The guest opened the channel: its rings are mapped, its eventfd is bound. 0, or -errno (the guest
	 * is told). */
	int (*open)(struct vmbus_device *d, struct vmbus_channel *ch, struct err *e);
	/* The guest closed it, or is gone. vmbus_channel_closed(ch) follows, within this call or later. */
	void (*close)(struct vmbus_device *d, struct vmbus_channel *ch);
	/* The state of the device and its open channels; after a restore each open channel is opened by
	 * `open` first. May be NULL. */
	void (*snap)(struct vmbus_device *d, struct snap *s);
	/* After all is restored: look at every ring. The bus has made every channel's eventfd readable and
	 * interrupted the guest once for each. May be NULL. */
	void (*restored)(struct vmbus_device *d);
	/* The guest wants memory back that the device has from vmbus_gpadl while the channel is open.
	 * vmbus_gpadl_release follows, within this call or later, at the latest when the channel is closed.
	 * May be NULL: it is released when the channel is closed. */
	void (*gpadl_wanted)(struct vmbus_device *d, struct vmbus_channel *ch, uint32_t id);
};

/* What is offered: constant while the device exists. */
struct vmbus_offer {
	uint8_t type[16],
	    instance[16]; /* as lib/guid.h keeps them; wire.h turns them into Microsoft's order */
	uint16_t flags;   /* OFFER_* of wire.h */
	uint16_t mmio_mb;
	uint8_t user[120];
	const char *name; /* for the log: "SCSI controller 0" */
};

struct vmbus_device {
	const struct vmbus_device_ops *ops;
	struct vmbus *bus;
	struct vmbus_offer offer;
	struct vmbus_channel *primary; /* NULL before it is offered, and once revoked and let go */
	struct vmbus_node *node;       /* the bus's own */
	void *owner;                   /* of whoever has made it: for `gone` */
};

struct vmbus_channel {
	struct vmbus_device *device;
	uint16_t index; /* 0: primary */
	uint32_t relid, connection;
	int kick_fd;            /* eventfd: the guest has signalled. Made with the channel. */
	atomic_uint target_vp;  /* whom to interrupt; UINT32_MAX: nobody */
	struct ring_pair rings; /* while open */
	uint8_t user[120];      /* of the open request */
	bool open;
	void *ctx; /* the device's own */
		   /* the bus's own follows: struct channel in bus_private.h */
};

/* host must outlive the bus. */
int vmbus_new(struct vmbus **out, const struct vmbus_host *host, struct err *e);
/* Devices are not called any more; those that are still offered are told that there is no bus. */
void vmbus_free(struct vmbus *b);

/* Offers a device: at once if the guest has asked for offers, else when it does. d->ops and d->offer are set.
 */
int vmbus_offer_device(struct vmbus *b, struct vmbus_device *d, struct err *e);
/* Takes it back (RESCIND): its channels are closed; `gone` (may be NULL) is called when the device has let go
 * of all of them, and may free d. The guest may take its time to forget it: that holds nobody up. */
void vmbus_revoke_device(struct vmbus_device *d, void (*gone)(struct vmbus_device *d));
/* Takes it from the bus at once, without a word to it or to the guest: for one that is freed before the bus
 * is, when neither the machine nor the device's I/O thread runs any more. */
void vmbus_forget_device(struct vmbus_device *d);
/* Offers `count` sub-channels more, as the guest has asked for through the device's own protocol. At most
 * processors - 1 in all: -EINVAL. */
int vmbus_offer_subchannels(struct vmbus_device *d, unsigned count, struct err *e);
unsigned vmbus_max_subchannels(const struct vmbus *b);

/* The device has let go of a channel that was closed. Any number of channels may be closing at a time. */
void vmbus_channel_closed(struct vmbus_channel *ch);

/*
 * Streams (hv_sock). A guest asks for one by the service that it wants to reach and an endpoint, a GUID that
 * it made: it is answered by offering a device whose type is the service and whose instance the endpoint, or
 * by vmbus_refuse_stream (of which guests below 4.1 hear nothing: they wait in vain). `wanted` is called on
 * the control thread, within vmbus_work; without it all are refused.
 */
struct vmbus_streams {
	void *ctx;
	void (*wanted)(void *ctx, const uint8_t endpoint[16], const uint8_t service[16]);
};
void vmbus_set_streams(struct vmbus *b, const struct vmbus_streams *s); /* copied; NULL: none */
void vmbus_refuse_stream(struct vmbus *b, const uint8_t endpoint[16], const uint8_t service[16]);

/* Interrupts the guest for this channel. I/O thread. */
void vmbus_channel_signal(struct vmbus_channel *ch);
/* A device found its ring broken, or its protocol: its channels are closed and taken back; `why` for the log.
 * The next connection (a guest that starts again) is offered it anew. Control thread. */
void vmbus_channel_break(struct vmbus_channel *ch, const char *why);
/* Pages of GPADL `id` of this channel, accepted and not torn down: NULL when there is none. Valid until
 * close. */
const uint64_t *vmbus_gpadl(
    struct vmbus_channel *ch, uint32_t id, uint32_t *pages, uint32_t *offset, uint32_t *len);
/* Calls fn for each page that the guest lends to any device at this moment, rings and all; more than once for
 * one that is lent more than once. Control thread. */
void vmbus_each_lent_page(struct vmbus *b, void (*fn)(void *ctx, uint64_t pfn), void *ctx);
/* The device does not touch it any more, though the channel is open: the guest may have it back. */
void vmbus_gpadl_release(struct vmbus_channel *ch, uint32_t id);

/*
 * HvPostMessage: a hypercall status. Processor's thread: copies the message and returns; `wake` (host's
 * business) tells the control thread to call vmbus_work. *wake is set when it must be woken.
 */
uint16_t vmbus_receive(
    struct vmbus *b, uint32_t connection, uint32_t type, const void *payload, size_t len, bool *wake);
void vmbus_work(struct vmbus *b);  /* control thread: takes what was received */
void vmbus_retry(struct vmbus *b); /* control thread: posts what waits */

/* Guests of protocols below 2.4 (iPXE) signal all channels in one way: when this eventfd is readable, the
 * control thread calls vmbus_legacy_signal, which finds out which. */
int vmbus_legacy_fd(const struct vmbus *b);
void vmbus_legacy_signal(struct vmbus *b);

/* Reset or power-off: the guest is gone without a word; processors are stopped. All channels are closed;
 * vmbus_idle is true once every device has let go. The guest's memory may be discarded only then. */
void vmbus_reset(struct vmbus *b);
bool vmbus_idle(const struct vmbus *b);

/*
 * The whole bus with its devices' channels, GPADLs and queues; devices (by type, instance) must be offered
 * before a restore. Processors stopped, I/O threads paused, what was read from rings made known
 * (ring_read_done). A channel that is closing is saved as one that the device has let go of.
 *
 * vmbus_save returns the bytes written, or -errno. vmbus_state_max: how many it would write now, or 0 when it
 * cannot be saved. Restore: everything is untrusted; -EINVAL with words, and then the bus is as after
 * vmbus_reset. A restored bus is quiet until vmbus_restored.
 */
long vmbus_save(struct vmbus *b, void *buf, size_t cap);
size_t vmbus_state_max(const struct vmbus *b);
int vmbus_restore(struct vmbus *b, const void *buf, size_t len, struct err *e);
void vmbus_restored(struct vmbus *b); /* when memory and processors are there as well */

struct vmbus_stats {
	uint32_t version; /* of the connection: major << 16 | minor; 0: not connected */
	unsigned channels_open, gpadls, pages;
	uint64_t messages_in, messages_out, messages_bad;
};
void vmbus_statistics(const struct vmbus *b, struct vmbus_stats *s);

#endif
