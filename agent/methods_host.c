/* agent/methods_host.c - what can be asked about the host: one table. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/host.h"
#include "agent/host_zone.h"
#include "agent/method.h"

enum { ZONES_MAX = 1000 };

struct host_params {
	char name[HOST_NAME_SIZE], zone[HOST_ZONE_SIZE], time[40];
	bool remote;
	char adapter[HOST_ADAPTER_SIZE];
	bool dhcp;
	char address[HOST_ADDRESS_SIZE], gateway[HOST_ADDRESS_SIZE];
	size_t dns_count;
	char dns[HOST_DNS][HOST_ADDRESS_SIZE];
};
struct zones_result {
	size_t zones;
	char zone[ZONES_MAX][HOST_ZONE_SIZE];
};
struct set_result {
	struct host_view host;
};

/* clang-format off */
#define TEXT(s, m) .type = FIELD_STRING, FIELD_AT(s, m), .size = sizeof(((struct s *)0)->m), .max = sizeof(((struct s *)0)->m) - 1

static const struct field set_params[] = {
	{ "name", TEXT(host_params, name), .min = 1, .help = "Name of the host: letters, digits and hyphens." },
	{ "timeZone", TEXT(host_params, zone), .min = 1, .help = "Such as Europe/Berlin; host.timeZones lists all." },
	{ "time", TEXT(host_params, time), .unit = "time", .help = "Sets the clock: 2026-11-23 09:30 in the host's time zone, or with Z or +01:00 at its end." },
	{ "remoteManagement", FIELD_BOOL, FIELD_AT(host_params, remote), .help = "Whether other machines can manage this host." },
	{ "adapter", TEXT(host_params, adapter), .min = 1, .help = "Which adapter the following is about; may be left out when there is one." },
	{ "dhcp", FIELD_BOOL, FIELD_AT(host_params, dhcp), .help = "Whether a DHCP server gives its address." },
	{ "address", TEXT(host_params, address), .unit = "address", .help = "Its address with prefix length: 192.0.2.5/24." },
	{ "gateway", TEXT(host_params, gateway), .unit = "address", .help = "Where packets for other networks go; empty for none." },
	{ "dns", FIELD_STRINGS, FIELD_AT(host_params, dns), .max = HOST_DNS, .size = HOST_ADDRESS_SIZE, .unit = "address",
	  .count_offset = offsetof(struct host_params, dns_count), .help = "Name servers." },
	{ 0 }
};
static const struct field adapter_fields[] = {
	{ "name", TEXT(host_adapter_view, name), .help = "What the kernel calls it." },
	{ "mac", TEXT(host_adapter_view, mac), .help = "Its address on the wire." },
	{ "link", FIELD_BOOL, FIELD_AT(host_adapter_view, link), .help = "Whether a cable is in and the other end answers." },
	{ "dhcp", FIELD_BOOL, FIELD_AT(host_adapter_view, dhcp), .help = "Whether a DHCP server gives its address." },
	{ "addresses", FIELD_STRINGS, FIELD_AT(host_adapter_view, address), .max = HOST_ADDRESSES, .size = HOST_ADDRESS_SIZE, .unit = "address",
	  .count_offset = offsetof(struct host_adapter_view, addresses), .help = "What it has now, with prefix lengths." },
	{ "gateway", TEXT(host_adapter_view, gateway), .unit = "address", .help = "Where packets for other networks go; empty for none." },
	{ "dns", FIELD_STRINGS, FIELD_AT(host_adapter_view, dns), .max = HOST_DNS, .size = HOST_ADDRESS_SIZE, .unit = "address",
	  .count_offset = offsetof(struct host_adapter_view, dns_count), .help = "Name servers." },
	{ 0 }
};
static const struct field view_fields[] = {
	{ "name", TEXT(host_view, name), .help = "Name of the host." },
	{ "version", TEXT(host_view, version), .help = "Of Freehold." },
	{ "release", TEXT(host_view, release), .help = "Of the kernel." },
	{ "uptime", FIELD_UINT, FIELD_AT(host_view, uptime), .max = INT64_MAX, .unit = "s", .help = "Since the host was started." },
	{ "time", TEXT(host_view, time), .unit = "time", .help = "Local time, with its offset from UTC." },
	{ "timeZone", TEXT(host_view, zone), .help = "Such as Europe/Berlin." },
	{ "processors", FIELD_UINT, FIELD_AT(host_view, processors), .max = 65536, .help = "Logical processors." },
	{ "memory", FIELD_UINT, FIELD_AT(host_view, memory), .max = INT64_MAX, .unit = "MiB", .help = "Memory of the host." },
	{ "memoryFree", FIELD_UINT, FIELD_AT(host_view, memory_free), .max = INT64_MAX, .unit = "MiB", .help = "What machines can still have of it." },
	{ "adapters", FIELD_LIST, FIELD_AT(host_view, adapter), .max = HOST_ADAPTERS, .size = sizeof(struct host_adapter_view),
	  .count_offset = offsetof(struct host_view, adapters), .fields = adapter_fields, .help = "Physical network adapters." },
	{ "remoteManagement", FIELD_BOOL, FIELD_AT(host_view, remote), .help = "Whether other machines can manage this host." },
	{ "port", FIELD_UINT, FIELD_AT(host_view, port), .max = 65535, .help = "Where they connect to." },
	{ "fingerprint", TEXT(host_view, fingerprint), .help = "SHA-256 of the host's certificate." },
	{ "revision", FIELD_UINT, FIELD_AT(host_view, revision), .max = INT64_MAX, .help = "Counts changes of its settings; for ifMatch." },
	{ 0 }
};
static const struct field set_result[] = {
	{ "host", FIELD_OBJECT, FIELD_AT(set_result, host), .fields = view_fields, .help = "The host as it is now." },
	{ 0 }
};
static const struct field zones_result[] = {
	{ "zones", FIELD_STRINGS, FIELD_AT(zones_result, zone), .max = ZONES_MAX, .size = HOST_ZONE_SIZE,
	  .count_offset = offsetof(struct zones_result, zones), .help = "Names of time zones, sorted." },
	{ 0 }
};
/* clang-format on */

static int
no_memory(struct fault *f)
{
	return fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
}

/* A new reference, or NULL with *f. */
static json_t *
show(const struct call *c, struct fault *f)
{
	struct host_view *v = malloc(sizeof(*v));
	struct err e = { 0 };
	json_t *shown = NULL;
	int rc = v ? host_look(c->agent->host, v, &e) : -1;

	if (!v)
		no_memory(f);
	else if (rc < 0)
		fault_err(f, FAULT_HOST_SETTING_FAILED, NULL, NULL, &e);
	if (rc == 0) {
		v->port = carriers_port(c->agent);
		snprintf(v->fingerprint, sizeof(v->fingerprint), "%s", carriers_fingerprint(c->agent));
		shown = schema_write(view_fields, v);
		if (!shown)
			no_memory(f);
	}
	free(v);
	return shown;
}

static int
do_get(struct call *c, const void *params, json_t *result, struct fault *f)
{
	json_t *shown = show(c, f);
	int rc = shown ? json_object_update(result, shown) : -1;

	(void)params;
	json_decref(shown);
	return rc;
}

/* --- host.set
 * ------------------------------------------------------------------------------------------------- */

/* The adapter that is meant: in the kernel's list, or -1 with *f. */
static int
find_adapter(const struct call *c, const struct host_params *p, struct host_adapter *out, struct fault *f)
{
	struct host_adapter list[HOST_ADAPTERS];
	struct err e = { 0 };
	int n = c->agent->host->ops->adapters(list, &e);

	if (n < 0)
		return fault_err(f, FAULT_HOST_SETTING_FAILED, "adapter", NULL, &e);
	for (int i = 0; i < n; i++)
		if (call_has(c, "adapter") ? strcmp(list[i].name, p->adapter) == 0 : n == 1) {
			*out = list[i];
			return 0;
		}
	if (call_has(c, "adapter"))
		return fault_set(f, FAULT_ADAPTER_NOT_FOUND, "adapter", "host.get lists them",
		    "there is no adapter '%s'", p->adapter);
	return fault_set(f, n ? FAULT_BAD_PARAMS : FAULT_ADAPTER_NOT_FOUND, "adapter", "host.get lists them",
	    n ? "this host has %d adapters: say which" : "this host has no adapter", n);
}

/* "address: sentence": the parameter that is wrong is named first. */
static int
bad_address(struct fault *f, const struct err *e)
{
	char path[16];
	size_t len = strcspn(e->msg, ":");

	snprintf(path, sizeof(path), "%.*s", (int)len, e->msg);
	return fault_set(f, FAULT_BAD_ADDRESS, path, NULL, "%s", e->msg + len + (e->msg[len] ? 2 : 0));
}

static int
apply_network(const struct call *c, const struct host_params *p, struct host_settings *s, struct fault *f)
{
	bool wants_static = call_has(c, "address") || call_has(c, "gateway") || call_has(c, "dns");
	struct host_adapter_settings *row;
	struct host_adapter adapter;
	struct err e = { 0 };

	if (!wants_static && !call_has(c, "dhcp"))
		return call_has(c, "adapter") ? fault_set(f, FAULT_BAD_PARAMS, "adapter", NULL,
						    "nothing is said of what the adapter is to have")
					      : 0;
	if (find_adapter(c, p, &adapter, f) < 0)
		return -1;
	row = host_settings_for(s, adapter.mac, adapter.name);
	if (!row)
		return fault_set(
		    f, FAULT_LIMIT, "adapter", NULL, "%d adapters are set already", HOST_ADAPTERS);
	memcpy(row->name, adapter.name, sizeof(row->name));
	if (call_has(c, "dhcp") && p->dhcp) {
		if (wants_static)
			return fault_set(f, FAULT_BAD_PARAMS, "dhcp", NULL,
			    "with DHCP, address, gateway and name servers are not given");
		row->dhcp = true;
		row->address[0] = row->gateway[0] = '\0';
		row->dns_count = 0;
		memset(row->dns, 0, sizeof(row->dns));
		return 0;
	}
	row->dhcp = false;
	if (call_has(c, "address"))
		memcpy(row->address, p->address, sizeof(row->address));
	if (call_has(c, "gateway"))
		memcpy(row->gateway, p->gateway, sizeof(row->gateway));
	if (call_has(c, "dns")) {
		row->dns_count = p->dns_count;
		memcpy(row->dns, p->dns, sizeof(row->dns));
	}
	return host_address_check(row, &e) < 0 ? bad_address(f, &e) : 0;
}

/* What was given, into s; *clock is the time to set, or 0. */
static int
apply(const struct call *c, const struct host_params *p, struct host_settings *s, time_t *clock,
    struct fault *f)
{
	struct err e = { 0 };

	*clock = 0;
	if (call_has(c, "name")) {
		if (!host_name_ok(p->name))
			return fault_set(f, FAULT_BAD_HOST_NAME, "name", NULL,
			    "'%s': a host's name is 1 to 63 letters, digits and hyphens, without a hyphen at "
			    "its ends",
			    p->name);
		memcpy(s->name, p->name, sizeof(s->name));
	}
	if (call_has(c, "timeZone")) {
		if (!host_zone_exists(p->zone))
			return fault_set(f, FAULT_TIME_ZONE_NOT_FOUND, "timeZone", "host.timeZones lists all",
			    "there is no time zone '%s'", p->zone);
		memcpy(s->zone, p->zone, sizeof(s->zone));
	}
	if (call_has(c, "time") && p->time[0] && host_time_parse(p->time, clock, &e) < 0)
		return fault_err(f, FAULT_BAD_TIME, "time", NULL, &e);
	if (call_has(c, "remoteManagement"))
		s->remote = p->remote;
	return apply_network(c, p, s, f);
}

/* With h->lock. */
static int
set(struct call *c, const struct host_params *p, json_t *result, struct fault *f)
{
	struct host_state *h = c->agent->host;
	struct host_settings to = h->settings;
	struct err e = { 0 };
	bool changed;
	time_t clock = 0;
	int rc = call_match(c, h->settings.revision, f);

	if (rc == 0)
		rc = apply(c, p, &to, &clock, f);
	if (rc < 0)
		return rc;
	changed = !host_settings_same(&to, &h->settings);
	if (!changed && !clock)
		return json_object_set_new(result, "changed", json_false());
	if (changed && call_would(c, "change the host's settings"))
		changed = false;
	if (clock && call_would(c, "set the clock"))
		clock = 0;
	if (changed)
		rc = host_change(h, &to, f);
	/* Again, in the zone that counts now. */
	if (rc == 0 && clock &&
	    (host_time_parse(p->time, &clock, &e) < 0 || h->ops->set_clock(clock, &e) < 0))
		rc = fault_err(f, FAULT_HOST_SETTING_FAILED, "time", NULL, &e);
	return rc;
}

static int
do_set(struct call *c, const void *params, json_t *result, struct fault *f)
{
	struct host_state *h = c->agent->host;
	json_t *shown;
	int rc;

	pthread_mutex_lock(&h->lock);
	rc = set(c, params, result, f);
	pthread_mutex_unlock(&h->lock);
	if (rc < 0)
		return rc;
	shown = show(c, f);
	if (!shown)
		return -1;
	if (!c->dry_run && !json_object_get(result, "changed"))
		event_publish(c->agent, "host.changed",
		    json_pack("{s:O}", "revision", json_object_get(shown, "revision")));
	return json_object_set_new(result, "host", shown) < 0 ? no_memory(f) : 0;
}

/* --- the end
 * -------------------------------------------------------------------------------------------------- */

static int
go(struct call *c, enum host_power what, json_t *result)
{
	if (call_would(c, what == HOST_RESTART ? "end all machines and restart the host"
					       : "end all machines and shut the host down"))
		return 0;
	return json_object_set_new(result, "changed", json_boolean(host_go(c->agent->host, what)));
}

static int
do_restart(struct call *c, const void *params, json_t *result, struct fault *f)
{
	(void)params;
	(void)f;
	return go(c, HOST_RESTART, result);
}

static int
do_shutdown(struct call *c, const void *params, json_t *result, struct fault *f)
{
	(void)params;
	(void)f;
	return go(c, HOST_SHUTDOWN, result);
}

static int
do_zones(struct call *c, const void *params, json_t *result, struct fault *f)
{
	(void)c;
	(void)params;
	return json_object_set_new(result, "zones", host_zones()) < 0 ? no_memory(f) : 0;
}

/* --- the table
 * ------------------------------------------------------------------------------------------------ */

#define FAULTS(...)                     \
	(const enum fault_code[])       \
	{                               \
		__VA_ARGS__, FAULT_NONE \
	}

/* clang-format off */
const struct rpc_method methods_host[] = {
	{ .name = "host.get", .help = "The host: name, time, hardware, network, remote management, as the kernel has them.", .path = "/host",
	  .role = ROLE_VIEWER, .result = view_fields, .faults = FAULTS(FAULT_HOST_SETTING_FAILED), .example = "host.get()", .call = do_get },
	{ .name = "host.set", .help = "Changes settings of the host, at once. Either all that is given is set, or nothing.", .path = "/host",
	  .role = ROLE_ADMINISTRATOR, .flags = METHOD_CHANGES, .params = set_params, .params_size = sizeof(struct host_params),
	  .result = set_result,
	  .faults = FAULTS(FAULT_ADAPTER_NOT_FOUND, FAULT_TIME_ZONE_NOT_FOUND, FAULT_BAD_ADDRESS, FAULT_BAD_TIME, FAULT_BAD_HOST_NAME,
	      FAULT_HOST_SETTING_FAILED, FAULT_STORAGE, FAULT_NO_SPACE, FAULT_LIMIT),
	  .example = "host.set{adapter=\"eth0\", address=\"192.0.2.5/24\", gateway=\"192.0.2.1\", dns={\"192.0.2.1\"}}", .call = do_set },
	{ .name = "host.restart", .help = "Ends all machines as each is to be ended, then restarts the host.", .path = "/host",
	  .role = ROLE_ADMINISTRATOR, .flags = METHOD_CHANGES | METHOD_DESTRUCTIVE, .example = "host.restart{confirm=true}", .call = do_restart },
	{ .name = "host.shutdown", .help = "Ends all machines as each is to be ended, then switches the host off.", .path = "/host",
	  .role = ROLE_ADMINISTRATOR, .flags = METHOD_CHANGES | METHOD_DESTRUCTIVE, .example = "host.shutdown{confirm=true}", .call = do_shutdown },
	{ .name = "host.timeZones", .help = "The names that host.set takes as timeZone.", .path = "/host", .role = ROLE_VIEWER,
	  .result = zones_result, .example = "host.timeZones()", .call = do_zones },
	{ 0 }
};
/* clang-format on */
