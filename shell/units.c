/*
 * shell/units.c - sizes and times, read and written.
 */
#include "shell/units.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct unit {
	const char *name;
	bool size;    /* else a time */
	double scale; /* in bytes, or in milliseconds */
} units[] = {
	{ "bytes", true, 1 },
	{ "KiB", true, 1024.0 },
	{ "MiB", true, 1048576.0 },
	{ "GiB", true, 1073741824.0 },
	{ "TiB", true, 1099511627776.0 },
	{ "ms", false, 1 },
	{ "s", false, 1000 },
	{ "min", false, 60000 },
	{ "h", false, 3600000 },
	{ "days", false, 86400000 },
};

static const struct suffix {
	const char *text;
	double scale;
} sizes[] = {
	{ "b", 1 }, { "byte", 1 }, { "bytes", 1 },
	{ "k", 1024.0 }, { "kb", 1024.0 }, { "kib", 1024.0 },
	{ "m", 1048576.0 }, { "mb", 1048576.0 }, { "mib", 1048576.0 },
	{ "g", 1073741824.0 }, { "gb", 1073741824.0 }, { "gib", 1073741824.0 },
	{ "t", 1099511627776.0 }, { "tb", 1099511627776.0 }, { "tib", 1099511627776.0 },
	{ 0 },
}, times[] = {
	{ "ms", 1 },
	{ "s", 1000 }, { "sec", 1000 }, { "second", 1000 }, { "seconds", 1000 },
	{ "m", 60000 }, { "min", 60000 }, { "minute", 60000 }, { "minutes", 60000 },
	{ "h", 3600000 }, { "hour", 3600000 }, { "hours", 3600000 },
	{ "d", 86400000 }, { "day", 86400000 }, { "days", 86400000 },
	{ "w", 604800000 }, { "week", 604800000 }, { "weeks", 604800000 },
	{ 0 },
};

static const struct unit *
find_unit(const char *name)
{
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(units[i].name, name) == 0)
			return &units[i];
	return NULL;
}

/* A decimal number without sign, exponent or hexadecimal. */
static bool
number(const char **s, double *out)
{
	size_t whole = strspn(*s, "0123456789"), part = 0;
	char digits[40];

	if ((*s)[whole] == '.')
		part = 1 + strspn(*s + whole + 1, "0123456789");
	if (whole == 0 || part == 1 || whole + part >= sizeof(digits))
		return false;
	memcpy(digits, *s, whole + part);
	digits[whole + part] = '\0';
	*out = strtod(digits, NULL);
	*s += whole + part;
	return true;
}

/* The scale of the letters at *s; none: that of the unit itself, 0: no such suffix. */
static double
suffix(const char **s, const struct unit *u)
{
	const struct suffix *list = u->size ? sizes : times;
	char word[16];
	size_t n;

	*s += strspn(*s, " ");
	n = strspn(*s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
	if (n == 0)
		return u->scale;
	if (n >= sizeof(word))
		return 0;
	memcpy(word, *s, n);
	word[n] = '\0';
	*s += n;
	for (; list->text; list++)
		if (strcasecmp(list->text, word) == 0)
			return list->scale;
	return 0;
}

static bool
plain(const char *text, json_int_t *out)
{
	const char *digits = text + (*text == '-');
	size_t n = strspn(digits, "0123456789");
	long long v;

	errno = 0;
	v = strtoll(text, NULL, 10);
	*out = v;
	return n > 0 && digits[n] == '\0' && errno == 0;
}

static bool
sum_up(const char *text, const struct unit *u, double *total)
{
	const char *s = text;
	double n, scale;

	*total = 0;
	do {
		if (!number(&s, &n) || (scale = suffix(&s, u)) <= 0)
			return false;
		*total += n * scale;
		s += strspn(s, " ");
	} while (*s && !u->size); /* 1h30m, but not 1G512M */
	return *s == '\0';
}

bool
unit_parse(const char *text, const char *unit, json_int_t *out, char *why, size_t size)
{
	const struct unit *u = find_unit(unit);
	double total;

	if (plain(text, out))
		return true;
	if (!u || !sum_up(text, u, &total)) {
		snprintf(why, size, "'%s' is no %s", text,
		    !u        ? "number"
		    : u->size ? "size, such as 512M or 2G"
			      : "time, such as 90s or 1h30m");
		return false;
	}
	total /= u->scale;
	if (total >= 9e15 || floor(total) != total) {
		snprintf(why, size, "'%s' is no whole number of %s", text, u->name);
		return false;
	}
	*out = (json_int_t)total;
	return true;
}

void
unit_bytes(double bytes, char out[UNIT_TEXT])
{
	static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	size_t i = 0;

	while (bytes >= 1023.95 && i + 1 < sizeof(names) / sizeof(names[0])) {
		bytes /= 1024;
		i++;
	}
	if (bytes < 100)
		bytes = round(bytes * 10) / 10;
	snprintf(
	    out, UNIT_TEXT, floor(bytes) == bytes || bytes >= 100 ? "%.0f %s" : "%.1f %s", bytes, names[i]);
}

void
unit_seconds(double seconds, char out[UNIT_TEXT])
{
	uint64_t s = seconds > 0 && seconds < 1e15 ? (uint64_t)seconds : 0;

	if (s >= 86400)
		snprintf(out, UNIT_TEXT, "%jud %juh", (uintmax_t)(s / 86400), (uintmax_t)(s / 3600 % 24));
	else if (s >= 3600)
		snprintf(out, UNIT_TEXT, "%juh %jum", (uintmax_t)(s / 3600), (uintmax_t)(s / 60 % 60));
	else if (s >= 60)
		snprintf(out, UNIT_TEXT, "%jum %jus", (uintmax_t)(s / 60), (uintmax_t)(s % 60));
	else
		snprintf(out, UNIT_TEXT, "%jus", (uintmax_t)s);
}

void
unit_format(json_int_t n, const char *unit, char out[UNIT_TEXT])
{
	const struct unit *u = find_unit(unit);

	if (u && u->size && n >= 0)
		unit_bytes((double)n * u->scale, out);
	else if (u && !u->size && n >= 0 && u->scale >= 1000)
		unit_seconds((double)n * u->scale / 1000, out);
	else
		snprintf(out, UNIT_TEXT, *unit ? "%" JSON_INTEGER_FORMAT " %.8s" : "%" JSON_INTEGER_FORMAT, n,
		    unit);
}
