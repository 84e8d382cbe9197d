/*
 * agent/lines.c - passwd, shadow and group as text.
 */
#include "agent/lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t
line_len(const char *line)
{
	return strcspn(line, "\n");
}

bool
lines_field(const char *line, unsigned n, char *out, size_t size)
{
	size_t len;

	for (; n; n--) {
		line += strcspn(line, ":\n");
		if (*line != ':')
			return false;
		line++;
	}
	len = strcspn(line, ":\n");
	if (len >= size)
		return false;
	memcpy(out, line, len);
	out[len] = '\0';
	return true;
}

const char *
lines_next(const char *line)
{
	line += line_len(line);
	return line[0] && line[1] ? line + 1 : NULL;
}

const char *
lines_find(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (const char *l = text; l; l = lines_next(l))
		if (strncmp(l, name, len) == 0 && l[len] == ':')
			return l;
	return NULL;
}

char *
lines_set(const char *text, const char *name, const char *line)
{
	const char *old = lines_find(text, name);
	size_t before = old ? (size_t)(old - text) : strlen(text), after = before;
	char *out = NULL;

	if (old)
		after += line_len(old) + (old[line_len(old)] == '\n');
	if (asprintf(&out, "%.*s%s%s%s%s", (int)before, text,
		before && text[before - 1] != '\n' && line ? "\n" : "", line ? line : "", line ? "\n" : "",
		text + after) < 0)
		return NULL;
	return out;
}

/* Where member stands in list; NULL if it does not. */
static char *
find_member(const char *list, const char *member)
{
	size_t len = strlen(member);

	for (const char *at = list; *at;) {
		size_t n = strcspn(at, ",");

		if (n == len && strncmp(at, member, len) == 0)
			return (char *)(size_t)at;
		at += n;
		at += *at == ',';
	}
	return NULL;
}

bool
lines_has_member(const char *list, const char *member)
{
	return find_member(list, member) != NULL;
}

void
lines_drop_member(char *list, const char *member)
{
	char *at;

	while ((at = find_member(list, member))) {
		size_t len = strlen(member);

		if (at[len] == ',')
			len++;
		else if (at > list)
			at--, len++; /* the last one: the comma before it goes */
		memmove(at, at + len, strlen(at + len) + 1);
	}
}

bool
lines_add_member(char *list, size_t size, const char *member)
{
	size_t len = strlen(list);

	if (lines_has_member(list, member))
		return true;
	return (size_t)snprintf(list + len, size - len, "%s%s", len ? "," : "", member) < size - len;
}
