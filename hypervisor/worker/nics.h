/*
 * hypervisor/worker/nics.h - the machine's network adapters: their I/O threads, their taps, and what they
 * have to tell.
 *
 * Adapters may be named before the machine is created: they are then part of it from its first moment, and
 * saved state finds them. Afterwards they come and go while it runs, on the threads that were made then:
 * those that the machine's description asks for (Devices.NetworkThreads), or as many as its adapters have
 * queues. All functions are the control thread's.
 */
#ifndef HYPERVISOR_WORKER_NICS_H
#define HYPERVISOR_WORKER_NICS_H

#include "hypervisor/core/partition.h"
#include "hypervisor/vsp/net.h"
#include "lib/control.h"

enum { MAX_NICS = 8 };

/* One adapter, as a request names it. */
struct nic {
	uint64_t number;
	char mac[18];    /* "00-15-5D-01-02-03"; empty: one that is the machine's and the number's own */
	uint64_t queues; /* 0: as many as taps */
	uint64_t mtu, speed_mbps;
	bool spoofing, connected;
	size_t taps;
	struct nic_tap {
		int fd;
	} tap[NET_QUEUES];
};

struct nics;

int nics_new(struct nics **out, struct control *control, struct err *e);
/* Before the partition is freed; no guest runs. Units only: a worker's process ends with it. */
void nics_free(struct nics *n);
/* Threads, and the adapters named so far, on a partition that was just built. Before the control thread's
 * walls close. */
int nics_create(struct nics *n, struct partition *p, int (*walls)(struct err *), struct err *e);

/* An adapter comes, with its taps (taken over in any case). */
int nics_add(struct nics *n, const struct nic *c, struct err *e);
/* It goes: it is away for the guest; a "nic" event ("Removed") says when its taps have been closed. */
int nics_remove(struct nics *n, uint64_t number, struct err *e);
/* Its link goes up or down; with taps (taken over in any case) on those. */
int nics_connect(struct nics *n, const struct nic *c, struct err *e);

/* What I/O threads have left to this one. */
void nics_work(struct nics *n);
int nics_pause(struct nics *n, struct err *e);
void nics_resume(struct nics *n);

struct nic_report {
	uint64_t number, mtu, channels, version;
	char mac[18];
	bool connected, ready, leaving;
	uint64_t count[NET_COUNTS];
};
/* The adapters there are: their number, at most cap of them in r. */
size_t nics_report(struct nics *n, struct nic_report *r, size_t cap);

#endif
