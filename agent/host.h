/*
 * agent/host.h - the host room: settings of the host as the administrator wants them, applied at the agent's
 * start and at every change, and read back from the kernel.
 *
 * Any thread; one lock.
 */
#ifndef AGENT_HOST_H
#define AGENT_HOST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "agent/agent.h"
#include "agent/fault.h"
#include "agent/host_ops.h"
#include "agent/host_settings.h"

struct host_state {
	struct agent *agent;
	const struct host_ops *ops;
	/* carriers_remote and the like, or a test's. */
	int (*remote)(struct agent *a, bool on, struct err *e);
	bool (*remote_is_on)(struct agent *a);
	unsigned stop_s; /* how long guests may take when the host goes down */
	pthread_mutex_t lock;
	struct host_settings settings;
	atomic_bool going; /* down */
	enum host_power power;
	pthread_t goer;
	bool has_goer;
	struct host_adapter used[HOST_ADAPTERS]; /* those that have got their address, or a client for it */
	size_t used_count;
	pthread_t watcher; /* host_watch.c */
	bool has_watcher;
	int watch, watch_stop;
};

/* Reads host.json (a broken one is put aside as host.json.bad) and applies it; what fails is logged. */
int host_state_new(struct host_state **out, struct agent *a, const struct host_ops *ops,
    int (*remote)(struct agent *a, bool on, struct err *e), bool (*remote_is_on)(struct agent *a),
    struct err *e);
void host_close(struct host_state *h);

/* With h->lock. Writes the document first, then applies it; when that fails, all is as before. */
int host_change(struct host_state *h, struct host_settings *to, struct fault *f);
/* With h->lock. Gives an adapter its address as it is set, or DHCP, and notes that. */
int host_use_adapter(struct host_state *h, const struct host_adapter *a, struct err *e);
/* Begins to listen to h->watch for adapters that come and go; a thread of its own. */
int host_watch_start(struct host_state *h, struct err *e);
/* Without h->lock. */
void host_watch_stop(struct host_state *h);
/* Ends guests and then the host, on a thread of its own. False when that is under way already. */
bool host_go(struct host_state *h, enum host_power what);

/* What host.get answers: a new reference, or NULL with *e. Takes h->lock. */
struct host_view;
int host_look(struct host_state *h, struct host_view *v, struct err *e);

enum { HOST_TEXT_SIZE = 128 };
struct host_adapter_view {
	char name[HOST_ADAPTER_SIZE], mac[HOST_MAC_SIZE];
	bool link, dhcp;
	size_t addresses, dns_count;
	char address[HOST_ADDRESSES][HOST_ADDRESS_SIZE];
	char gateway[HOST_ADDRESS_SIZE];
	char dns[HOST_DNS][HOST_ADDRESS_SIZE];
};
struct host_view {
	char name[HOST_NAME_SIZE], version[HOST_TEXT_SIZE], release[HOST_TEXT_SIZE];
	uint64_t uptime, processors, memory, memory_free, port, revision;
	char time[32], zone[HOST_ZONE_SIZE], fingerprint[HOST_TEXT_SIZE];
	bool remote;
	size_t adapters;
	struct host_adapter_view adapter[HOST_ADAPTERS];
};

#endif
