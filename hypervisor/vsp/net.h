/*
 * hypervisor/vsp/net.h - the synthetic network adapter: a VMBus device that speaks NVSP and RNDIS with the
 * guest's driver, and moves frames between the guest's memory and a tap, a descriptor for each queue.
 *
 * Threads. The functions here are the control thread's. Packets run on I/O loops: queue n (channel n, tap n)
 * on loop n of those it was given, one after the other when there are fewer. The primary channel's loop has
 * the protocol; what has to do with the bus or with a tap's settings it leaves to net_work.
 */
#ifndef HYPERVISOR_VSP_NET_H
#define HYPERVISOR_VSP_NET_H

#include "hypervisor/core/io_loop.h"
#include "hypervisor/vmbus/bus.h"

enum {
	NET_QUEUES = 16,
	NET_MAC = 6,
	NET_MTU_MIN = 576,
	NET_MTU_MAX = 9216,
	NET_MTU_USUAL = 1500, /* what a driver has that says nothing */
};

struct net;

struct net_config {
	uint8_t mac[NET_MAC];
	unsigned queues; /* 1 to NET_QUEUES: channels that the guest may have; processors bound them, too */
	uint32_t mtu;    /* largest packet (without its Ethernet header) that the guest may use */
	bool spoofing;   /* the guest may send from other addresses, and take another one itself */
	uint64_t speed;  /* bits a second that the guest is told; 0: 10 Gbit/s */
};

/* What an adapter tells the worker, from any of its I/O threads: must not block. */
struct net_events {
	void *ctx;
	void (*work)(void *ctx); /* net_work is to be called soon */
};

/* Offers nothing yet. `number` and machine_id make its instance. Loops outlive it. No tap: the link is down.
 */
int net_new(struct net **out, struct vmbus *bus, struct io_loop *const *loops, unsigned n_loops,
    unsigned number, const uint8_t machine_id[16], const struct net_config *c,
    const struct net_events *events, struct err *e);
/*
 * The link goes up or down; with n > 0 on another tap, of n queues (no more than the adapter has), whose
 * descriptors are taken over on success. A tap is checked and set up (IFF_VNET_HDR, IFF_NO_PI); a datagram
 * socket is taken for one that has no settings.
 */
int net_connect(struct net *n, bool up, const int *fd, unsigned count, struct err *e);

/* Stops taking packets; returns when nothing is in flight below (-EBUSY with words: it then goes on). */
int net_pause(struct net *n, unsigned timeout_ms, struct err *e);
void net_resume(struct net *n);

/* As the guest's driver counts: sent is what came from the guest. */
enum net_count {
	SENT_UNICAST,
	SENT_MULTICAST,
	SENT_BROADCAST,
	SENT_UNICAST_BYTES,
	SENT_MULTICAST_BYTES,
	SENT_BROADCAST_BYTES,
	SENT_ERRORS,   /* made no sense */
	SENT_DROPPED,  /* no link, no room in the tap */
	SENT_SPOOFED,  /* from an address that is not the adapter's */
	TAKEN_UNICAST, /* what went to the guest */
	TAKEN_MULTICAST,
	TAKEN_BROADCAST,
	TAKEN_UNICAST_BYTES,
	TAKEN_MULTICAST_BYTES,
	TAKEN_BROADCAST_BYTES,
	TAKEN_ERRORS,   /* longer than the guest takes, or not read */
	TAKEN_FILTERED, /* the guest does not want it */
	TAKEN_NO_ROOM,  /* times that reading stopped, for the guest has all receive memory */
	NET_COUNTS
};
struct net_stats {
	uint64_t count[NET_COUNTS];
	uint8_t mac[NET_MAC]; /* as the guest uses it */
	uint32_t mtu;
	unsigned channels; /* open */
	unsigned version;  /* of NVSP; 0 before it is agreed on */
	bool link, ready;  /* ready: the guest's driver is at work */
};
void net_statistics(struct net *n, struct net_stats *s);
struct vmbus_device *net_device(struct net *n);
/* After events.work: closed channels, memory, sub-channels, settings of the tap, channels that broke. */
void net_work(struct net *n);
/* After vmbus_free, or when the bus has let go of the device. */
void net_free(struct net *n);

#endif
