/*
 * shell/help.h - what the host says about itself, for people.
 */
#ifndef SHELL_HELP_H
#define SHELL_HELP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "shell/catalogue.h"

/* topic: "" for what there is, a noun, or a method ("vm.create", "vm create"). False: there is no such
 * topic, and a sentence about it was written. width: columns, 0 for 80. */
bool help_write(FILE *f, const struct catalogue *c, const char *topic, size_t width);

#endif
