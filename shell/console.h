/*
 * shell/console.h - a machine's serial console in this terminal.
 */
#ifndef SHELL_CONSOLE_H
#define SHELL_CONSOLE_H

#include <jansson.h>
#include <stdbool.h>

#include "lib/rpc_client.h"

struct session;

enum { CONSOLE_ESCAPE = 0x1d }; /* Ctrl-] */

/* Opens what params say ({vm, port}) and stays until Ctrl-] is pressed or the stream ends: 0, or a
 * negative errno with *e. The terminal is raw meanwhile. */
int shell_console_attach(struct session *s, const json_t *params, struct rpc_error *e);
/* Pumps between a terminal (in, out) and a stream until the escape or an end: true for the escape. */
bool shell_console_pump(int in, int out, int stream);

#endif
