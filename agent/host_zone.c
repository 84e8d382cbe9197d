/* agent/host_zone.c - time zones from Debian's tzdata, and times. */
#include "agent/host_zone.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/file.h"

enum { ZONES_MAX = 1000, TAB_MAX = 256 * 1024 };

static int
by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* zone1970.tab: countries, coordinates, name, comment. */
static size_t
read_names(char *text, const char **name, size_t most)
{
	char *save = NULL;
	size_t n = 0;

	name[n++] = "UTC";
	for (char *line = strtok_r(text, "\n", &save); line && n < most; line = strtok_r(NULL, "\n", &save)) {
		char *at = line[0] == '#' ? NULL : strchr(line, '\t');

		at = at ? strchr(at + 1, '\t') : NULL;
		if (!at)
			continue;
		at[1 + strcspn(at + 1, "\t")] = '\0';
		name[n++] = at + 1;
	}
	return n;
}

json_t *
host_zones(void)
{
	const char *name[ZONES_MAX];
	json_t *list = json_array();
	struct err e = { 0 };
	char *text = NULL;
	size_t n;

	if (file_read(ZONE_DIR "/tzdata.tab", TAB_MAX, &text, NULL, &e) < 0 &&
	    file_read(ZONE_DIR "/zone1970.tab", TAB_MAX, &text, NULL, &e) < 0)
		text = strdup("");
	if (!text || !list) {
		free(text);
		return list;
	}
	n = read_names(text, name, ZONES_MAX);
	qsort(name, n, sizeof(name[0]), by_name);
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(name[i]));
	free(text);
	return list;
}

/* A file of tzdata, and of nothing else, whatever the name looks like. */
bool
host_zone_exists(const char *zone)
{
	char path[PATH_MAX], magic[4] = "";
	bool ok = zone[0] && zone[0] != '/' && !strstr(zone, "..") && strlen(zone) < HOST_ZONE_SIZE;
	int fd;

	if (!ok)
		return false;
	if (strcmp(zone, "UTC") == 0)
		return true;
	snprintf(path, sizeof(path), ZONE_DIR "/%s", zone);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return false;
	ok = read(fd, magic, sizeof(magic)) == (ssize_t)sizeof(magic) && memcmp(magic, "TZif", 4) == 0;
	close(fd);
	return ok;
}

void
host_zone_get(const char *etc, char zone[HOST_ZONE_SIZE])
{
	char path[PATH_MAX], target[PATH_MAX];
	const char *at;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/localtime", etc);
	n = readlink(path, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = '\0';
	at = strstr(target, "/zoneinfo/");
	at = at ? at + strlen("/zoneinfo/") : "UTC";
	snprintf(zone, HOST_ZONE_SIZE, "%.*s", HOST_ZONE_SIZE - 1, strcmp(at, "Etc/UTC") == 0 ? "UTC" : at);
}

int
host_zone_set(const char *etc, const char *zone, struct err *e)
{
	char path[PATH_MAX], new[PATH_MAX], target[PATH_MAX];

	if (!host_zone_exists(zone))
		return err_set(e, ENOENT, "there is no time zone '%s'", zone);
	snprintf(target, sizeof(target), ZONE_DIR "/%s", zone);
	snprintf(path, sizeof(path), "%s/localtime", etc);
	snprintf(new, sizeof(new), "%s/.localtime.new", etc);
	unlink(new);
	if (symlink(target, new) < 0)
		return err_sys(e, "%s", new);
	return file_rename(new, path, e);
}

void
host_zone_use(const char *zone)
{
	char value[HOST_ZONE_SIZE + 8];

	snprintf(value, sizeof(value), ":%s", zone);
	setenv("TZ", value, 1);
	tzset();
}

void
host_time_format(time_t t, char text[32])
{
	struct tm tm;
	size_t len;

	localtime_r(&t, &tm);
	len = strftime(text, 32, "%Y-%m-%dT%H:%M:%S%z", &tm);
	if (len < 5 || len > 30)
		return;
	memmove(text + len - 1, text + len - 2, 3); /* +0100 to +01:00 */
	text[len - 2] = ':';
}

/* The offset at the end of a time: seconds east of Greenwich, or false. */
static bool
parse_offset(const char *text, long *east)
{
	unsigned hours, minutes;
	int used = 0;

	if (strcmp(text, "Z") == 0) {
		*east = 0;
		return true;
	}
	if ((text[0] != '+' && text[0] != '-') ||
	    sscanf(text + 1, "%2u:%2u%n", &hours, &minutes, &used) != 2 || text[1 + used] || hours > 14 ||
	    minutes > 59)
		return false;
	*east = (long)(hours * 3600 + minutes * 60) * (text[0] == '-' ? -1 : 1);
	return true;
}

int
host_time_parse(const char *text, time_t *t, struct err *e)
{
	struct tm tm = { .tm_isdst = -1 }, is;
	const char *rest = strptime(text, strchr(text, 'T') ? "%Y-%m-%dT%H:%M" : "%Y-%m-%d %H:%M", &tm);
	long east = 0;
	bool ok;

	if (rest && rest[0] == ':')
		rest = strptime(rest, ":%S", &tm);
	tm.tm_isdst = -1;
	is = tm;
	if (rest && rest[0]) {
		ok = parse_offset(rest, &east);
		*t = timegm(&is) - east;
	} else {
		ok = rest != NULL;
		*t = mktime(&is);
	}
	if (!ok || tm.tm_year < 120 || tm.tm_year >= 200 || (!rest[0] && is.tm_mday != tm.tm_mday))
		return err_set(
		    e, EINVAL, "'%s' is not a time from 2020 to 2099, such as 2026-11-23 09:30", text);
	return 0;
}
