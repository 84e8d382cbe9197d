/*
 * installer/ask.h - questions on a line at a time, which work on any terminal and any serial line: the
 * default in brackets, Enter takes it, ? explains.
 */
#ifndef INSTALLER_ASK_H
#define INSTALLER_ASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct ask {
	FILE *in, *out;
};

/*
 * Asks until there is an answer; an empty one is the default, which may be NULL: then it is asked again. ?
 * prints help. The answer has no blanks around it. False at the end of the input.
 */
bool ask_line(
    struct ask *a, const char *question, const char *dflt, const char *help, char *out, size_t size);
/* The same without echo, and without default; blanks are kept. */
bool ask_secret(struct ask *a, const char *question, const char *help, char *out, size_t size);

#endif
