/*
 * agent/host_settings.h - what the administrator has set of the host: one versioned document,
 * DATA/system/host.json. What is not in it stays as the system has it; an adapter that is not in it uses
 * DHCP.
 */
#ifndef AGENT_HOST_SETTINGS_H
#define AGENT_HOST_SETTINGS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/host_ops.h"
#include "lib/schema.h"

enum { HOST_VERSION = 1, HOST_ZONE_SIZE = 64, HOST_DNS = 3 };

struct host_adapter_settings {
	char mac[HOST_MAC_SIZE];      /* which adapter: names change with kernels */
	char name[HOST_ADAPTER_SIZE]; /* for readers of the file */
	bool dhcp;
	char address[HOST_ADDRESS_SIZE], gateway[HOST_ADDRESS_SIZE]; /* without DHCP */
	size_t dns_count;
	char dns[HOST_DNS][HOST_ADDRESS_SIZE];
};

struct host_settings {
	uint64_t version, revision;
	char name[HOST_NAME_SIZE], zone[HOST_ZONE_SIZE]; /* "": not set */
	bool remote;
	size_t adapters;
	struct host_adapter_settings adapter[HOST_ADAPTERS];
};

extern const struct field host_settings_fields[];

/* Nothing set; remote management on. */
void host_settings_defaults(struct host_settings *s);
/* -EINVAL with a sentence that begins with the path. */
int host_settings_read(struct host_settings *s, json_t *doc, struct err *e);
/* The row of an adapter, or NULL. */
struct host_adapter_settings *host_settings_of(struct host_settings *s, const char *mac);
/* The same; a new one (DHCP) if there is none. NULL: there is no room. */
struct host_adapter_settings *host_settings_for(struct host_settings *s, const char *mac, const char *name);

/* RFC 1123: letters, digits and hyphens, 1-63, no hyphen at either end. */
bool host_name_ok(const char *name);
/* Address with prefix length, gateway ("": none) within its network, servers: 0, or -EINVAL in words. */
int host_address_check(const struct host_adapter_settings *s, struct err *e);
/* Whether both say the same, revisions apart. */
bool host_settings_same(const struct host_settings *a, const struct host_settings *b);
bool host_adapters_same(const struct host_settings *a, const struct host_settings *b);

#endif
