/*
 * agent/host_ops.h - everything that the host room does to the machine it runs on, and nothing else: a test
 * gives it a fake. Settings, files and services are not here: they are below DATA and RUN.
 *
 * Any thread, one at a time (the host room's lock). 0 or -errno with a sentence.
 */
#ifndef AGENT_HOST_OPS_H
#define AGENT_HOST_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "lib/err.h"

enum {
	HOST_NAME_SIZE = 64,
	HOST_ADAPTER_SIZE = 16, /* IFNAMSIZ */
	HOST_MAC_SIZE = 18,
	HOST_ADDRESS_SIZE = 50, /* "2001:db8:.../64" */
	HOST_ADAPTERS = 32,
	HOST_ADDRESSES = 8,
};

enum host_power { HOST_RESTART, HOST_SHUTDOWN };

/* An adapter as the kernel has it. */
struct host_adapter {
	char name[HOST_ADAPTER_SIZE], mac[HOST_MAC_SIZE];
	bool link; /* a cable is in, and the other end answers */
	size_t addresses;
	char address[HOST_ADDRESSES][HOST_ADDRESS_SIZE]; /* with prefix length; global ones */
	char gateway[HOST_ADDRESS_SIZE];                 /* "" for none */
};

struct host_ops {
	int (*get_name)(char name[HOST_NAME_SIZE], struct err *e);
	int (*set_name)(const char *name, struct err *e);
	/* The physical ones, in the kernel's order: how many, or -errno. */
	int (*adapters)(struct host_adapter list[HOST_ADAPTERS], struct err *e);
	/* Switches the adapter on and gives it this address alone, with this default gateway ("": none). */
	int (*set_address)(const char *adapter, const char *address, const char *gateway, struct err *e);
	int (*set_clock)(time_t t, struct err *e);
	/* Tells init. */
	int (*power)(enum host_power what, struct err *e);
	/* A non-blocking descriptor, the caller's, that can be read whenever an adapter, its link or its
	 * addresses may have changed; what is read means nothing. May be NULL. */
	int (*watch)(struct err *e);
};

/* The real thing. */
extern const struct host_ops host_linux;

/* host_net.c: the part of it that is about adapters. */
int host_net_adapters(struct host_adapter list[HOST_ADAPTERS], struct err *e);
int host_net_watch(struct err *e);
int host_net_set_address(const char *adapter, const char *address, const char *gateway, struct err *e);

#endif
