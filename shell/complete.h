/*
 * shell/complete.h - what could stand at the cursor: nouns, verbs, names and values of parameters, names
 * of machines and other things of the host; in commands and in Lua.
 */
#ifndef SHELL_COMPLETE_H
#define SHELL_COMPLETE_H

#include <stdbool.h>
#include <stddef.h>

#include "shell/catalogue.h"

enum { CANDIDATES_MAX = 500 };

struct candidates {
	char *word[CANDIDATES_MAX]; /* malloc; sorted, no two alike */
	size_t n;
	size_t start;    /* the byte of the line that they replace, up to the cursor */
	bool open_ended; /* nothing goes behind one: "name=", "images/" */
};

/* Where names come from that only the host knows. Adds with candidates_add what begins with `prefix`. */
struct name_source {
	void (*things)(void *ctx, const char *noun, const char *prefix, struct candidates *out);
	void (*paths)(void *ctx, const char *prefix, struct candidates *out);
	void (*globals)(void *ctx, const char *prefix, struct candidates *out);
	void *ctx; /* any of the callbacks may be NULL */
};

void complete(struct candidates *out, const struct catalogue *c, const char *line, size_t cursor,
    const struct name_source *names);
/* Adds word if it begins with prefix and there is room. */
void candidates_add(struct candidates *out, const char *prefix, const char *word);
void candidates_free(struct candidates *out);

#endif
