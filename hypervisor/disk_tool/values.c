/* hypervisor/disk_tool/values.c - sizes, names and patterns, as people write them. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "hypervisor/disk_tool/tool.h"

const char *const type_names[] = {
	[DISK_FIXED] = "fixed", [DISK_DYNAMIC] = "dynamic", [DISK_DIFFERENCING] = "differencing"
};

/* --- sizes --------------------------------------------------------------------------------------------- */

static const struct {
	char letter;
	unsigned shift;
} units[] = { { '\0', 0 }, { 'b', 0 }, { 's', 9 }, { 'k', 10 }, { 'm', 20 }, { 'g', 30 }, { 't', 40 } };

int
value_size(const char *text, uint64_t *out, const char *what, struct err *e)
{
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, hex ? 16 : 10);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (tolower((unsigned char)*end) != units[i].letter || (*end && end[1]) || errno ||
		    !isdigit((unsigned char)text[0]) || v > UINT64_MAX >> units[i].shift)
			continue;
		*out = (uint64_t)v << units[i].shift;
		return 0;
	}
	return err_set(
	    e, EINVAL, "%s: '%.40s' is no number of bytes, like 4096, 64K, 10G or 0x200", what, text);
}

const char *
size_text(uint64_t bytes)
{
	static const char *const names[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB" };
	static char text[32];
	unsigned i = 0;

	while (i < 5 && bytes >> (10 * (i + 1)))
		i++;
	snprintf(text, sizeof(text), "%.4g %s", (double)bytes / (double)(1ull << (10 * i)), names[i]);
	return text;
}

/* --- names --------------------------------------------------------------------------------------------- */

int
value_guid(const char *text, uint8_t id[GUID_BYTES], struct err *e)
{
	return guid_parse(text, id)
		   ? 0
		   : err_set(e, EINVAL, "'%.60s' is no identity, like 01234567-89ab-cdef-0123-456789abcdef",
			 text);
}

int
value_format(const char *name, int absent, int *out, struct err *e)
{
	int format = name ? disk_format_by_name(name) : absent;

	if (name && format < 0)
		return err_set(e, EINVAL, "'%.40s' is no format: there are raw, vhd and vhdx", name);
	*out = format;
	return 0;
}

static const struct {
	const char *end;
	enum disk_format_id format;
} ends[] = { { ".vhdx", DISK_VHDX }, { ".avhdx", DISK_VHDX }, { ".vhd", DISK_VHD }, { ".avhd", DISK_VHD } };

int
value_new_format(const char *name, const char *path, enum disk_format_id *out, struct err *e)
{
	const char *dot = strrchr(path, '.');
	int format = DISK_RAW, rc;

	for (size_t i = 0; dot && i < sizeof(ends) / sizeof(ends[0]); i++)
		if (strcasecmp(dot, ends[i].end) == 0)
			format = (int)ends[i].format;
	rc = value_format(name, format, &format, e);
	if (rc == 0)
		*out = (enum disk_format_id)format;
	return rc;
}

int
value_type(const char *name, enum disk_format_id format, enum disk_type *out, struct err *e)
{
	*out = format == DISK_RAW ? DISK_FIXED : DISK_DYNAMIC;
	if (!name)
		return 0;
	for (unsigned i = DISK_FIXED; i <= DISK_DIFFERENCING; i++)
		if (strcasecmp(name, type_names[i]) == 0) {
			*out = (enum disk_type)i;
			return 0;
		}
	return err_set(e, EINVAL, "'%.40s' is no type: there are fixed, dynamic and differencing", name);
}

/* --- patterns ------------------------------------------------------------------------------------------ */

int
value_pattern(const char *hex, uint8_t **out, size_t *len, struct err *e)
{
	size_t n;
	uint8_t *p;

	if (hex[0] == '0' && (hex[1] == 'x' || hex[1] == 'X'))
		hex += 2;
	n = strlen(hex) / 2;
	if (!n || strlen(hex) % 2 || strspn(hex, "0123456789abcdefABCDEF") != 2 * n)
		return err_set(
		    e, EINVAL, "'%.40s' is no pattern: hexadecimal bytes like 5a or 00010203", hex);
	p = malloc(n);
	if (!p)
		return err_set(e, ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		char two[3] = { hex[2 * i], hex[2 * i + 1], 0 };

		p[i] = (uint8_t)strtoul(two, NULL, 16);
	}
	*out = p;
	*len = n;
	return 0;
}
