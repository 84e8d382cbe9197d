/* installer/tool.h - other programs that do a step: run without a shell, their last words kept for the
 * sentence. */
#ifndef INSTALLER_TOOL_H
#define INSTALLER_TOOL_H

#include "lib/err.h"

/* Runs argv[0] (found in PATH), input and output from and to nothing; 0, or -errno with what it said last. */
int tool_run(const char *const argv[], struct err *e);

#endif
