/*
 * sconfig/checks.c - whether a typed text will do, and how values read.
 */
#include "sconfig/checks.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/text.h"
#include "sconfig/form.h"

enum {
	DISK_LEAST = 1 << 20,
	MEMORY_LEAST = 32,
	MEMORY_MOST = 1 << 24 /* MiB */,
	PROCESSORS_MOST = 64,
	HOST_NAME_MOST = 63,
	VM_NAME_MOST = 100
};

__attribute__((format(printf, 3, 4))) static bool
no(char *why, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, size, fmt, ap);
	va_end(ap);
	return false;
}

bool
check_host_name(const struct form *f, const char *text, char *why, size_t size)
{
	size_t len = strlen(text);

	(void)f;
	if (len > HOST_NAME_MOST)
		return no(why, size, "A computer name has at most %d characters.", HOST_NAME_MOST);
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)text[i]) && text[i] != '-')
			return no(why, size, "A computer name has only letters, digits and hyphens.");
	if (len && (text[0] == '-' || text[len - 1] == '-'))
		return no(why, size, "A computer name neither begins nor ends with a hyphen.");
	return true;
}

bool
check_vm_name(const struct form *f, const char *text, char *why, size_t size)
{
	(void)f;
	if (strlen(text) > VM_NAME_MOST)
		return no(why, size, "A machine's name has at most %d bytes.", VM_NAME_MOST);
	if (strpbrk(text, "/*?"))
		return no(why, size, "A machine's name has no / * or ?.");
	if (strchr(".- ", text[0]) || text[strlen(text) - 1] == ' ')
		return no(
		    why, size, "A machine's name does not begin with . - or a space, nor end with one.");
	return true;
}

static bool
is_address(const char *text)
{
	unsigned char bytes[16];

	return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

bool
check_address(const struct form *f, const char *text, char *why, size_t size)
{
	(void)f;
	return is_address(text) || no(why, size, "Write an address, such as 192.0.2.1.");
}

bool
check_prefix(const struct form *f, const char *text, char *why, size_t size)
{
	char address[64], rest;
	const char *slash = strchr(text, '/');
	int bits = -1;

	(void)f;
	if (!slash)
		return no(why, size, "Write address and prefix length, such as 192.0.2.5/24.");
	snprintf(address, sizeof(address), "%.*s", (int)(slash - text), text);
	if (!is_address(address))
		return no(
		    why, size, "%s is not an address.", address[0] ? address : "What is before the slash");
	// NOLINTNEXTLINE(cert-err34-c): the range below is the check
	if (sscanf(slash + 1, "%3d%c", &bits, &rest) != 1 || bits < 1 ||
	    bits > (strchr(address, ':') ? 128 : 32))
		return no(why, size, "The prefix length behind the slash is a number from 1 to %d.",
		    strchr(address, ':') ? 128 : 32);
	return true;
}

bool
check_addresses(const struct form *f, const char *text, char *why, size_t size)
{
	char copy[VALUE_SIZE], *save = NULL;
	int n = 0;

	(void)f;
	snprintf(copy, sizeof(copy), "%s", text);
	for (char *word = strtok_r(copy, " ,", &save); word; word = strtok_r(NULL, " ,", &save), n++)
		if (!is_address(word))
			return no(why, size, "%s is not an address.", word);
	return n <= 3 || no(why, size, "At most three addresses are used.");
}

bool
check_time(const struct form *f, const char *text, char *why, size_t size)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%Y-%m-%d", &tm);

	(void)f;
	if (end && (*end == ' ' || *end == 'T')) {
		const char *minutes = strptime(end + 1, "%H:%M", &tm);
		const char *seconds = minutes && *minutes == ':' ? strptime(minutes, ":%S", &tm) : minutes;

		if (seconds && !*seconds)
			return true;
	}
	return no(why, size, "Write it as 2026-11-23 09:30.");
}

bool
number_read(const char *text, const char *unit, json_int_t *out)
{
	bool bytes = unit && strcmp(unit, "bytes") == 0, memory = unit && strcmp(unit, "MiB") == 0;
	json_int_t n = 0;
	const char *p = text;

	for (; isdigit((unsigned char)*p); p++) {
		if (n > INT64_MAX / 20)
			return false;
		n = n * 10 + (*p - '0');
	}
	if (p == text)
		return false;
	while (*p == ' ')
		p++;
	if ((memory || bytes) && *p && strchr("mMgGtT", *p)) {
		int shift = (bytes ? 20 : 0) + (tolower((unsigned char)*p) == 'm'      ? 0
						   : tolower((unsigned char)*p) == 'g' ? 10
										       : 20);

		if (n > INT64_MAX >> (shift + 1))
			return false;
		n <<= shift;
		p++;
		if (strcmp(p, "iB") == 0 || strcmp(p, "B") == 0 || strcmp(p, "b") == 0)
			p += strlen(p);
	}
	*out = n;
	return !*p;
}

bool
check_memory(const struct form *f, const char *text, char *why, size_t size)
{
	json_int_t n;

	(void)f;
	if (!number_read(text, "MiB", &n))
		return no(why, size, "Write a number of MiB, or such as 2G.");
	return (n >= MEMORY_LEAST && n <= MEMORY_MOST) ||
	       no(why, size, "Memory is %d MiB at least.", MEMORY_LEAST);
}

bool
check_disk_size(const struct form *f, const char *text, char *why, size_t size)
{
	json_int_t n;

	(void)f;
	return (number_read(text, "bytes", &n) && n >= DISK_LEAST) ||
	       no(why, size, "Write a size such as 20G or 500M.");
}

bool
check_processors(const struct form *f, const char *text, char *why, size_t size)
{
	json_int_t n;

	(void)f;
	return (number_read(text, NULL, &n) && n >= 1 && n <= PROCESSORS_MOST) ||
	       no(why, size, "Write a number from 1 to %d.", PROCESSORS_MOST);
}

bool
check_same_name(const struct form *f, const char *text, char *why, size_t size)
{
	return strcmp(text, form_subject(f)) == 0 ||
	       no(why, size, "This is not its name: %s.", form_subject(f));
}

void
show_plain(const json_t *value, char *out, size_t size)
{
	size_t i, used = 0;
	json_t *element;

	out[0] = '\0';
	if (json_is_string(value)) {
		snprintf(out, size, "%s", json_string_value(value));
		text_clean(out);
		return;
	}
	if (json_is_integer(value))
		snprintf(out, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		snprintf(out, size, "%g", json_real_value(value));
	else if (json_is_boolean(value))
		snprintf(out, size, "%s", json_is_true(value) ? "yes" : "no");
	else if (json_is_array(value))
		json_array_foreach(value, i, element)
		{
			char text[VALUE_SIZE];

			if (json_is_array(element) || used + 2 >= size)
				break;
			show_plain(element, text, sizeof(text));
			snprintf(out + used, size - used, "%s%s", i ? " " : "", text);
			used += strlen(out + used);
		}
}

void
show_memory(const json_t *value, const json_t *doc, char *out, size_t size)
{
	double mib = json_number_value(value);

	(void)doc;
	if (!json_is_number(value))
		snprintf(out, size, "?");
	else if (mib < 1024)
		snprintf(out, size, "%.0f MiB", mib);
	else
		snprintf(out, size, "%.*f GiB", mib >= 10 * 1024 ? 0 : 1, mib / 1024);
}

void
show_bytes(const json_t *value, const json_t *doc, char *out, size_t size)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	double n = json_number_value(value);
	size_t unit = 0;

	(void)doc;
	for (; n >= 1024 && unit < 4; unit++)
		n /= 1024;
	snprintf(out, size, "%.*f %s", unit && n < 10 ? 1 : 0, n, units[unit]);
}

void
show_duration(const json_t *value, const json_t *doc, char *out, size_t size)
{
	long long s = (long long)json_number_value(value);

	(void)doc;
	if (!json_is_number(value) || s < 0)
		out[0] = '\0';
	else if (s < 60)
		snprintf(out, size, "< 1 min");
	else if (s < 3600)
		snprintf(out, size, "%lld min", s / 60);
	else if (s < 86400)
		snprintf(out, size, "%lld h %lld min", s / 3600, s / 60 % 60);
	else
		snprintf(out, size, "%lld d %lld h", s / 86400, s / 3600 % 24);
}

void
show_on(const json_t *value, const json_t *doc, char *out, size_t size)
{
	(void)doc;
	snprintf(out, size, "%s", json_is_true(value) ? "enabled" : json_is_false(value) ? "disabled" : "?");
}
