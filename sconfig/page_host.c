/*
 * sconfig/page_host.c - status (0), computer name (2), remote management (4), network (8), date and time (9).
 */
#include <stdio.h>
#include <string.h>

#include "sconfig/checks.h"
#include "sconfig/pages.h"

/* The first address that is not an adapter's own (link-local), without its prefix length. */
static const char *
first_address(const json_t *doc)
{
	json_t *adapter, *address;
	size_t i, j;

	json_array_foreach(json_object_get(doc, "adapters"), i, adapter)
	{
		json_array_foreach(json_object_get(adapter, "addresses"), j, address)
		{
			const char *text = json_string_value(address);

			if (text && strncasecmp(text, "fe80:", 5) != 0 && strncmp(text, "169.254.", 8) != 0)
				return text;
		}
	}
	return NULL;
}

void
show_management(const json_t *value, const json_t *doc, char *out, size_t size)
{
	const char *address = first_address(doc);
	int len = address ? (int)strcspn(address, "/") : 0;
	bool v6 = address && strchr(address, ':');

	(void)value;
	if (json_is_false(json_object_get(doc, "remoteManagement")))
		snprintf(out, size, "disabled (4 enables it)");
	else if (!address)
		snprintf(out, size, "no network address yet (8 sets one)");
	else
		snprintf(out, size, "https://%s%.*s%s:%lld", v6 ? "[" : "", len, address, v6 ? "]" : "",
		    (long long)json_integer_value(json_object_get(doc, "port")));
}

static void
show_free_memory(const json_t *value, const json_t *doc, char *out, size_t size)
{
	char spare[32], all[32];

	show_memory(value, doc, spare, sizeof(spare));
	show_memory(json_object_get(doc, "memory"), doc, all, sizeof(all));
	snprintf(out, size, "%s free of %s", spare, all);
}

static void
show_adapters(const json_t *value, const json_t *doc, char *out, size_t size)
{
	json_t *adapter;
	size_t i, used = 0;

	(void)doc;
	snprintf(out, size, "none found");
	json_array_foreach(value, i, adapter)
	{
		char addresses[256];
		const char *name = json_string_value(json_object_get(adapter, "name"));

		show_plain(json_object_get(adapter, "addresses"), addresses, sizeof(addresses));
		if (used + 2 < size)
			snprintf(out + used, size - used, "%s%s %s", i ? ", " : "", name ? name : "?",
			    addresses[0] ? addresses : "no address");
		used += strlen(out + used);
	}
}

static void
show_time_of(const json_t *value, const json_t *doc, char *out, size_t size)
{
	char time[64], zone[64];

	show_plain(value, time, sizeof(time));
	show_plain(json_object_get(doc, "timeZone"), zone, sizeof(zone));
	if (strlen(time) > 16) /* to the minute: seconds would be old before they are read */
		time[16] = '\0';
	if (time[0] && time[10] == 'T')
		time[10] = ' ';
	snprintf(out, size, "%s %s", time, zone);
}

static const struct item status_items[] = {
	{ "name", ITEM_FACT, "Computer name", "The name of this host. 2 changes it." },
	{ "management", ITEM_FACT, "Manage it at",
	    "From another machine: fhsh -H ADDRESS, or sconfig -H ADDRESS.", .from = "port",
	    .show = show_management },
	{ "fingerprint", ITEM_FACT, "Fingerprint",
	    "SHA-256 of this host's certificate. A client shows it at its first connection: compare the "
	    "two." },
	{ "adapters", ITEM_FACT, "Network", "Adapters and their addresses. 8 changes them.",
	    .show = show_adapters },
	{ "processors", ITEM_FACT, "Processors", "Logical processors of this host." },
	{ "memoryFree", ITEM_FACT, "Memory", "What machines can still have, and what there is.",
	    .show = show_free_memory },
	{ "time", ITEM_FACT, "Date and time", "When this page was loaded. 9 changes it.",
	    .show = show_time_of },
	{ "uptime", ITEM_FACT, "Up for", "Since this host was started.", .show = show_duration },
	{ "version", ITEM_FACT, "Version", "Of Freehold on this host." },
	{ 0 },
};

const struct page page_status = {
	.number = 0,
	.name = "status",
	.title = "Status",
	.about = "What this host is, how it is, and how to reach it from another machine.",
	.kind = PAGE_FACTS,
	.flags = PAGE_LIVE,
	.items = status_items,
	.load = "host.get",
	.events = "host.",
};

static void
brief_name(const json_t *host, const json_t *vms, char *out, size_t size)
{
	(void)vms;
	show_plain(json_object_get(host, "name"), out, size);
}

static const struct item name_items[] = {
	{ "name", ITEM_TEXT, "Computer name", "Letters, digits and hyphens, at most 63 of them.",
	    ITEM_REQUIRED, .check = check_host_name },
	{ 0 },
};

const struct page page_name = {
	.number = 2,
	.name = "name",
	.title = "Computer name",
	.about = "The name of this host on the network. It changes at once, without restart.",
	.kind = PAGE_FORM,
	.items = name_items,
	.load = "host.get",
	.apply = "host.set",
	.verb = "Apply",
	.events = "host.",
	.brief = brief_name,
};

static void
brief_remote(const json_t *host, const json_t *vms, char *out, size_t size)
{
	(void)vms;
	show_on(json_object_get(host, "remoteManagement"), host, out, size);
}

static const struct item remote_items[] = {
	{ "remoteManagement", ITEM_BOOL, "Remote management",
	    "Whether this host answers fhsh, sconfig and scripts on other machines (RPC over TLS)." },
	{ "management", ITEM_FACT, "Address", "What to give to clients.", .from = "port",
	    .show = show_management },
	{ "fingerprint", ITEM_FACT, "Fingerprint",
	    "SHA-256 of this host's certificate. A client shows it at its first connection: compare the "
	    "two." },
	{ 0 },
};

const struct page page_remote = {
	.number = 4,
	.name = "remote",
	.title = "Remote management",
	.about =
	    "Managing this host from another machine: fhsh -H ADDRESS asks for user and password, shows the "
	    "fingerprint once and remembers it.",
	.kind = PAGE_FORM,
	.items = remote_items,
	.load = "host.get",
	.apply = "host.set",
	.verb = "Apply",
	.confirm = "Sessions from other machines end when it is disabled.",
	.events = "host.",
	.brief = brief_remote,
};

static void
brief_network(const json_t *host, const json_t *vms, char *out, size_t size)
{
	const char *address = first_address(host);

	(void)vms;
	snprintf(out, size, "%s", address ? address : "no address");
}

static void
show_link(const json_t *value, const json_t *doc, char *out, size_t size)
{
	(void)doc;
	snprintf(out, size, "%s", json_is_true(value) ? "up" : "down: no cable, or nothing answers");
}

static const struct item network_items[] = {
	{ "adapter", ITEM_CHOICE, "Adapter", "Which network adapter the rest of this page is about.",
	    ITEM_REQUIRED | ITEM_KEY, .source = { .list = "adapters", .value = "name", .label = "mac" } },
	{ "link", ITEM_FACT, "Link", "Whether a cable is in and the other end answers.",
	    .from = "adapters[adapter].link", .show = show_link },
	{ "mac", ITEM_FACT, "MAC address", "Of this adapter.", .from = "adapters[adapter].mac" },
	{ "dhcp", ITEM_BOOL, "Use DHCP", "Whether a DHCP server on the network gives the address.",
	    .from = "adapters[adapter].dhcp" },
	{ "current", ITEM_FACT, "Addresses now", "What the adapter has at this moment.",
	    .from = "adapters[adapter].addresses", .when = "dhcp" },
	{ "address", ITEM_TEXT, "IP address", "With its prefix length: 192.0.2.5/24 (255.255.255.0 is /24).",
	    ITEM_REQUIRED, .from = "adapters[adapter].addresses.0", .unless = "dhcp", .check = check_prefix },
	{ "gateway", ITEM_TEXT, "Default gateway", "Where packets for other networks go; may be empty.",
	    .from = "adapters[adapter].gateway", .unless = "dhcp", .check = check_address },
	{ "dns", ITEM_LIST, "DNS servers", "Addresses of up to three servers, with blanks between them.",
	    .from = "adapters[adapter].dns", .unless = "dhcp", .check = check_addresses },
	{ 0 },
};

const struct page page_network = {
	.number = 8,
	.name = "network",
	.title = "Network settings",
	.about = "The address of this host, by DHCP or by hand.",
	.kind = PAGE_FORM,
	.items = network_items,
	.load = "host.get",
	.apply = "host.set",
	.verb = "Apply",
	.confirm = "Sessions over this adapter may be cut off.",
	.empty = "The system knows of no network adapter in this host.",
	.events = "host.",
	.brief = brief_network,
};

static void
brief_time(const json_t *host, const json_t *vms, char *out, size_t size)
{
	(void)vms;
	show_plain(json_object_get(host, "timeZone"), out, size);
}

static const struct item time_items[] = {
	{ "now", ITEM_FACT, "Date and time", "When this page was loaded.", .from = "time",
	    .show = show_time_of },
	{ "timeZone", ITEM_CHOICE, "Time zone", "Type part of a city's name to find it.",
	    .source = { .method = "host.timeZones", .list = "zones" } },
	{ "time", ITEM_TEXT, "Set the clock to",
	    "As 2026-11-23 09:30, in this host's time zone; empty: not set.", ITEM_UNREAD,
	    .check = check_time },
	{ 0 },
};

const struct page page_time = {
	.number = 9,
	.name = "time",
	.title = "Date and time",
	.about = "The clock of this host and where it is. Machines are told the time by their integration "
		 "services.",
	.kind = PAGE_FORM,
	.items = time_items,
	.load = "host.get",
	.apply = "host.set",
	.verb = "Apply",
	.events = "host.",
	.brief = brief_time,
};
