/*
 * agent/lines.h - files of lines with fields between colons, like passwd: read, changed and written back
 * whole. Lines that are not understood are kept as they are.
 */
#ifndef AGENT_LINES_H
#define AGENT_LINES_H

#include <stdbool.h>
#include <stddef.h>

enum { LINES_MAX = 256 * 1024, LINES_FIELD = 256 };

/* The n-th field (from 0) of a line that ends at '\n' or '\0'; false when there is none or it is too long. */
bool lines_field(const char *line, unsigned n, char *out, size_t size);
/* The line whose first field is name; NULL if there is none. */
const char *lines_find(const char *text, const char *name);
/* The next line, or NULL: for (l = text; l; l = lines_next(l)). */
const char *lines_next(const char *line);
/* A copy of text with name's line replaced by line (without newline; NULL: taken away), or appended. The
 * caller's to free; NULL when memory is out. */
char *lines_set(const char *text, const char *name, const char *line);
/* Whether member is in a list between commas; a list without it; a list with it. */
bool lines_has_member(const char *list, const char *member);
void lines_drop_member(char *list, const char *member);
bool lines_add_member(char *list, size_t size, const char *member);

#endif
