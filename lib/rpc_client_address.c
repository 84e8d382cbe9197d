/*
 * lib/rpc_client_address.c - "[user@]host[:port]" taken apart.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/rpc_client_private.h"

static bool
copy(char *out, size_t size, const char *s, size_t len)
{
	if (len == 0 || len >= size)
		return false;
	memcpy(out, s, len);
	out[len] = '\0';
	return true;
}

/* 1 to 65535 in decimal digits. */
static bool
parse_port(uint16_t *out, const char *s)
{
	size_t digits = strspn(s, "0123456789");
	unsigned long n = strtoul(s, NULL, 10);

	if (digits == 0 || digits > 5 || s[digits] || n == 0 || n > UINT16_MAX)
		return false;
	*out = (uint16_t)n;
	return true;
}

static bool
host_is_plain(const char *host)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:%";

	return host[strspn(host, letters)] == '\0' && host[0] != '-';
}

static bool
parse(struct rpc_address *a, const char *s)
{
	const char *at = strrchr(s, '@'), *end, *rest;

	if (at && !copy(a->user, sizeof(a->user), s, (size_t)(at - s)))
		return false;
	s = at ? at + 1 : s;
	if (*s == '[') {
		end = strchr(++s, ']');
		rest = end ? end + 1 : NULL;
	} else {
		end = strchr(s, ':');
		if (!end || strchr(end + 1, ':')) /* more than one colon: an IPv6 address, bare */
			end = s + strlen(s);
		rest = end;
	}
	if (!end || !copy(a->host, sizeof(a->host), s, (size_t)(end - s)) || !host_is_plain(a->host))
		return false;
	return !*rest || (*rest == ':' && parse_port(&a->port, rest + 1));
}

int
rpc_address_parse(struct rpc_address *a, const char *text, struct rpc_error *e)
{
	memset(a, 0, sizeof(*a));
	if (parse(a, text))
		return 0;
	return rpc_fail(e, RPC_LOCAL_FAULT, -EINVAL,
	    "Write it as host, user@host, host:port or [2001:db8::1]:port.", "'%s' is no host", text);
}
