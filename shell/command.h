/*
 * shell/command.h - the plain way of typing: "vm create web1 memory=2G kernel=images/vmlinuz".
 *
 *   [whatif] NOUN VERB [VALUE...] [NAME=VALUE...] [--yes] [--json] [--what-if] [&]
 *
 * Values without a name go to the required parameters in their order. Quotes ('...' and "...") and
 * backslashes keep blanks together, as in other shells.
 */
#ifndef SHELL_COMMAND_H
#define SHELL_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "shell/catalogue.h"
#include "shell/convert.h"

enum { WORDS_MAX = 64 };

struct words {
	char *word[WORDS_MAX]; /* malloc */
	size_t at[WORDS_MAX];  /* where it begins in the line */
	size_t n;
	bool open_quote; /* the line ends within quotes */
	bool too_many;
};

/* False when memory is out. Free with words_free in any case. */
bool words_split(struct words *w, const char *line, size_t len);
void words_free(struct words *w);

struct command {
	const struct operation *op;
	json_t *params; /* a reference */
	bool yes, json, what_if, background;
};

/* Whether a line is meant as a command, rather than as Lua: a noun, then a word. */
bool command_is(const struct catalogue *c, const char *line);
/* False with *u. Free with command_free in any case. */
bool command_parse(struct command *cmd, const struct catalogue *c, const char *line, struct usage *u);
void command_free(struct command *cmd);
/* The same in Lua: vm.create{name="web1", memory=2048}. Secrets are shown as "...". malloc, or NULL. */
char *command_as_lua(const struct operation *op, const json_t *params);

#endif
