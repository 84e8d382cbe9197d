/*
 * hypervisor/disk/parent_path.c - the paths to a parent that an image keeps, as paths of this host.
 */
#include "hypervisor/disk/parent_path.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int
fits(int len)
{
	return len >= 0 && len < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* --- from Windows ------------------------------------------------------------------------------------- */

/* Prefixes that say how a path is to be read, not where it leads; slashes are forward here. */
static const struct {
	const char *prefix, *becomes;
} spellings[] = {
	{ "//?/UNC/", "//" },
	{ "//./UNC/", "//" },
	{ "//?/", "" },
	{ "//./", "" },
	{ "file://localhost/", "/" },
	{ "file:///", "/" },
};

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return isxdigit((unsigned char)c) ? tolower((unsigned char)c) - 'a' + 10 : -1;
}

/* %41 as in URLs, in place; a %00 stays as it is. */
static void
decode(char *s)
{
	char *out = s;

	while (*s) {
		int hi = s[0] == '%' ? hex(s[1]) : -1, lo = hi >= 0 ? hex(s[2]) : -1;

		if (lo >= 0 && hi + lo > 0) {
			*out++ = (char)(hi << 4 | lo);
			s += 3;
		} else {
			*out++ = *s++;
		}
	}
	*out = '\0';
}

static int
normalise(const char *windows, char out[PATH_MAX])
{
	char s[PATH_MAX];
	int rc = fits(snprintf(s, sizeof(s), "%s", windows));

	for (char *c = s; *c; c++)
		if (*c == '\\')
			*c = '/';
	if (strncasecmp(s, "file:", 5) == 0)
		decode(s);
	for (size_t i = 0; rc == 0 && i < sizeof(spellings) / sizeof(spellings[0]); i++) {
		size_t n = strlen(spellings[i].prefix);

		if (strncasecmp(s, spellings[i].prefix, n) == 0)
			return fits(snprintf(out, PATH_MAX, "%s%s", spellings[i].becomes, s + n));
	}
	return rc < 0 ? rc : fits(snprintf(out, PATH_MAX, "%s", s));
}

/* What follows the drive in path, or NULL if it is not on that one. */
static const char *
on_drive(const char *path, const struct disk_drive *d)
{
	char prefix[PATH_MAX];
	size_t n;

	if (normalise(d->prefix, prefix) < 0)
		return NULL;
	n = strlen(prefix);
	while (n > 0 && prefix[n - 1] == '/')
		n--;
	return n > 0 && strncasecmp(path, prefix, n) == 0 && path[n] == '/' ? path + n : NULL;
}

/* "C:...", "//server/share", "Volume{...}": only a table knows where that is. */
static bool
is_elsewhere(const char *path)
{
	return (isalpha((unsigned char)path[0]) && path[1] == ':') || strncmp(path, "//", 2) == 0 ||
	       strncasecmp(path, "Volume{", 7) == 0;
}

int
parent_path_here(const char *windows, const struct disk_search *s, char out[PATH_MAX])
{
	char path[PATH_MAX];
	int rc = normalise(windows, path);

	if (rc < 0)
		return rc;
	if (!path[0])
		return -ENOENT;
	for (size_t i = 0; s && i < s->drives_n; i++) {
		const char *rest = on_drive(path, &s->drives[i]);

		if (rest)
			return fits(snprintf(out, PATH_MAX, "%s%s", s->drives[i].folder, rest));
	}
	return is_elsewhere(path) ? -ENOENT : fits(snprintf(out, PATH_MAX, "%s", path));
}

/* --- parts -------------------------------------------------------------------------------------------- */

const char *
parent_path_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

int
parent_path_beside(const char *child, const char *relative, char out[PATH_MAX])
{
	while (strncmp(relative, "./", 2) == 0)
		relative += 2;
	return fits(
	    snprintf(out, PATH_MAX, "%.*s%s", (int)(parent_path_base(child) - child), child, relative));
}

/* --- to Windows --------------------------------------------------------------------------------------- */

int
parent_path_relative(const char *child, const char *parent, char out[PATH_MAX])
{
	size_t common = 0, len = 0;

	for (size_t i = 0; child[i] && child[i] == parent[i]; i++)
		if (child[i] == '/')
			common = i + 1;
	for (const char *c = child + common; (c = strchr(c, '/')) != NULL; c++) {
		if (len + 4 > PATH_MAX)
			return -ENAMETOOLONG;
		memcpy(out + len, "../", 4);
		len += 3;
	}
	if (len == 0) { /* as Windows writes it; and never mistaken for a drive or a share */
		memcpy(out, "./", 3);
		len = 2;
	}
	return len + strlen(parent + common) < PATH_MAX
		   ? fits(snprintf(out + len, PATH_MAX - len, "%s", parent + common))
		   : -ENAMETOOLONG;
}

int
parent_path_windows(const char *path, const struct disk_search *s, char out[PATH_MAX])
{
	for (size_t i = 0; s && i < s->drives_n; i++) {
		const struct disk_drive *d = &s->drives[i];
		size_t n = strlen(d->folder);
		int rc;

		while (n > 0 && d->folder[n - 1] == '/')
			n--;
		if (strncmp(path, d->folder, n) != 0 || path[n] != '/')
			continue;
		rc = fits(snprintf(out, PATH_MAX, "%s%s", d->prefix, path + n));
		for (char *c = out; rc == 0 && *c; c++)
			if (*c == '/')
				*c = '\\';
		return rc;
	}
	return -ENOENT;
}
