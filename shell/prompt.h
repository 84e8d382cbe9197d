/*
 * shell/prompt.h - lines from a person: readline, history, completion.
 */
#ifndef SHELL_PROMPT_H
#define SHELL_PROMPT_H

#include <stdbool.h>

#include "shell/catalogue.h"
#include "shell/complete.h"

enum prompt_result { PROMPT_LINE, PROMPT_BROKEN_OFF /* Ctrl-C */, PROMPT_END /* Ctrl-D */ };

/* c and names must outlive the prompt. */
void prompt_open(const struct catalogue *c, const struct name_source *names);
/* *line is malloc; not for the history yet. */
enum prompt_result prompt_read(const char *prompt, char **line);
/* Keeps what was entered, unless there may be a secret in it. */
void prompt_remember(const struct catalogue *c, const char *text);
/* Writes the history. */
void prompt_close(void);

/* Whether a line may hold a password or token: those never reach the history. */
bool prompt_is_secret(const struct catalogue *c, const char *text);

#endif
