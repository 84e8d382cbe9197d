/* agent/host_settings.c - host.json: its table and its rules. */
#include "agent/host_settings.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(s, m)                                                                \
	.type = FIELD_STRING, FIELD_AT(s, m), .size = sizeof(((struct s *)0)->m), \
	.max = sizeof(((struct s *)0)->m) - 1

/* clang-format off */
static const struct field adapter_fields[] = {
	{ "Mac", TEXT(host_adapter_settings, mac), .min = 17, .required = true, .help = "Which adapter." },
	{ "Name", TEXT(host_adapter_settings, name), .help = "What it was called then." },
	{ "Dhcp", FIELD_BOOL, FIELD_AT(host_adapter_settings, dhcp), .help = "Whether a DHCP server gives its address." },
	{ "Address", TEXT(host_adapter_settings, address), .help = "Its address with prefix length, without DHCP." },
	{ "Gateway", TEXT(host_adapter_settings, gateway), .help = "Where packets for other networks go; may be empty." },
	{ "Dns", FIELD_STRINGS, FIELD_AT(host_adapter_settings, dns), .max = HOST_DNS, .size = HOST_ADDRESS_SIZE,
	  .count_offset = offsetof(struct host_adapter_settings, dns_count), .help = "Name servers." },
	{ 0 }
};
const struct field host_settings_fields[] = {
	{ "Version", FIELD_UINT, .required = true, FIELD_AT(host_settings, version), .min = HOST_VERSION, .max = HOST_VERSION,
	  .help = "Form of this document." },
	{ "Revision", FIELD_UINT, FIELD_AT(host_settings, revision), .max = INT64_MAX, .help = "Counts changes of this document." },
	{ "Name", TEXT(host_settings, name), .help = "Name of the host; empty: as it is." },
	{ "TimeZone", TEXT(host_settings, zone), .help = "Such as Europe/Berlin; empty: as it is." },
	{ "RemoteManagement", FIELD_BOOL, FIELD_AT(host_settings, remote), .help = "Whether other machines can manage this host." },
	{ "Adapters", FIELD_LIST, FIELD_AT(host_settings, adapter), .max = HOST_ADAPTERS, .size = sizeof(struct host_adapter_settings),
	  .count_offset = offsetof(struct host_settings, adapters), .fields = adapter_fields, .help = "Adapters that were set; others use DHCP." },
	{ 0 }
};
/* clang-format on */

void
host_settings_defaults(struct host_settings *s)
{
	memset(s, 0, sizeof(*s));
	s->version = HOST_VERSION;
	s->revision = 1;
	s->remote = true;
}

bool
host_name_ok(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len >= HOST_NAME_SIZE || name[0] == '-' || name[len - 1] == '-')
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && name[i] != '-')
			return false;
	return true;
}

/* --- addresses
 * ------------------------------------------------------------------------------------------------ */

struct address {
	int family;
	unsigned bits; /* prefix length */
	uint8_t byte[16];
};

static bool
parse_plain(const char *text, struct address *a)
{
	memset(a, 0, sizeof(*a));
	a->family = strchr(text, ':') ? AF_INET6 : AF_INET;
	return inet_pton(a->family, text, a->byte) == 1;
}

static bool
parse(const char *text, struct address *a)
{
	char plain[HOST_ADDRESS_SIZE], *slash, *end;
	unsigned long bits;

	snprintf(plain, sizeof(plain), "%s", text);
	slash = strchr(plain, '/');
	if (!slash || !isdigit((unsigned char)slash[1]))
		return false;
	bits = strtoul(slash + 1, &end, 10);
	*slash = '\0';
	if (*end || !parse_plain(plain, a) || bits < 1 || bits > (a->family == AF_INET ? 32u : 128u))
		return false;
	a->bits = (unsigned)bits;
	return true;
}

static bool
same_network(const struct address *a, const struct address *b)
{
	unsigned whole = a->bits / 8, rest = a->bits % 8;
	unsigned mask = (0xff00u >> rest) & 0xff;

	return a->family == b->family && memcmp(a->byte, b->byte, whole) == 0 &&
	       (rest == 0 || ((a->byte[whole] ^ b->byte[whole]) & mask) == 0);
}

/* One that no adapter can have. */
static bool
is_special(const struct address *a)
{
	static const uint8_t zero[16];
	unsigned first = a->byte[0];

	if (a->family == AF_INET)
		return first == 0 || first == 127 || first >= 224;
	return first == 0xff || memcmp(a->byte, zero, 15) == 0;
}

/* The network itself, or all of it: the part of the host is all zeros or all ones. */
static bool
is_network_or_broadcast(const struct address *a)
{
	uint32_t host, value;

	if (a->family != AF_INET || a->bits > 30)
		return false;
	host = 0xffffffffu >> a->bits;
	value = (uint32_t)a->byte[0] << 24 | (uint32_t)a->byte[1] << 16 | (uint32_t)a->byte[2] << 8 |
		a->byte[3];
	return (value & host) == 0 || (value & host) == host;
}

int
host_address_check(const struct host_adapter_settings *s, struct err *e)
{
	struct address a, gateway, dns;

	if (!parse(s->address, &a))
		return err_set(e, EINVAL,
		    "address: '%s' is not an address with its prefix length, such as 192.0.2.5/24",
		    s->address);
	if (is_special(&a) || is_network_or_broadcast(&a))
		return err_set(e, EINVAL, "address: %s is not the address of a host", s->address);
	if (s->gateway[0]) {
		if (!parse_plain(s->gateway, &gateway))
			return err_set(
			    e, EINVAL, "gateway: '%s' is not an address, such as 192.0.2.1", s->gateway);
		if (!same_network(&a, &gateway) || memcmp(a.byte, gateway.byte, sizeof(a.byte)) == 0)
			return err_set(e, EINVAL, "gateway: %s is not another host in the network of %s",
			    s->gateway, s->address);
	}
	for (size_t i = 0; i < s->dns_count; i++)
		if (!parse_plain(s->dns[i], &dns))
			return err_set(
			    e, EINVAL, "dns: '%s' is not an address, such as 192.0.2.1", s->dns[i]);
	return 0;
}

/* --- the document
 * --------------------------------------------------------------------------------------------- */

int
host_settings_read(struct host_settings *s, json_t *doc, struct err *e)
{
	int rc;

	host_settings_defaults(s);
	rc = schema_read(host_settings_fields, doc, NULL, s, e);
	if (rc == 0 && s->name[0] && !host_name_ok(s->name))
		rc = err_set(e, EINVAL, "Name: '%s' is not a host's name", s->name);
	for (size_t i = 0; rc == 0 && i < s->adapters; i++)
		if (!s->adapter[i].dhcp && host_address_check(&s->adapter[i], e) < 0)
			rc = err_wrap(e, -EINVAL, "Adapters[%zu]", i);
	return rc;
}

struct host_adapter_settings *
host_settings_of(struct host_settings *s, const char *mac)
{
	for (size_t i = 0; i < s->adapters; i++)
		if (strcasecmp(s->adapter[i].mac, mac) == 0)
			return &s->adapter[i];
	return NULL;
}

struct host_adapter_settings *
host_settings_for(struct host_settings *s, const char *mac, const char *name)
{
	struct host_adapter_settings *a = host_settings_of(s, mac);

	if (a || s->adapters == HOST_ADAPTERS)
		return a;
	a = &s->adapter[s->adapters++];
	memset(a, 0, sizeof(*a));
	snprintf(a->mac, sizeof(a->mac), "%s", mac);
	snprintf(a->name, sizeof(a->name), "%s", name);
	a->dhcp = true;
	return a;
}

bool
host_adapters_same(const struct host_settings *a, const struct host_settings *b)
{
	bool same = a->adapters == b->adapters;

	for (size_t i = 0; same && i < a->adapters; i++) {
		const struct host_adapter_settings *x = &a->adapter[i], *y = &b->adapter[i];

		same = strcmp(x->mac, y->mac) == 0 && x->dhcp == y->dhcp &&
		       strcmp(x->address, y->address) == 0 && strcmp(x->gateway, y->gateway) == 0 &&
		       x->dns_count == y->dns_count;
		for (size_t k = 0; same && k < x->dns_count; k++)
			same = strcmp(x->dns[k], y->dns[k]) == 0;
	}
	return same;
}

bool
host_settings_same(const struct host_settings *a, const struct host_settings *b)
{
	return strcmp(a->name, b->name) == 0 && strcmp(a->zone, b->zone) == 0 && a->remote == b->remote &&
	       host_adapters_same(a, b);
}
