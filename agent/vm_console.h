/*
 * agent/vm_console.h - serial consoles: what a guest writes is kept (the last CONSOLE_KEPT bytes) and goes to
 * everybody who looks on; what any of them types goes to the guest.
 *
 * A console outlives its machine's starts and stops: who opens it before a start sees all of it. What is kept
 * is a file in RUN/consoles, so that it outlives the agent, too. Viewers are told nothing but the bytes; one
 * that does not read loses its place rather than hold the others up, and one more than CONSOLE_VIEWERS takes
 * the place of the one who has waited longest.
 *
 * One thread moves all bytes of all consoles. Functions may be called from any thread and do not block.
 */
#ifndef AGENT_VM_CONSOLE_H
#define AGENT_VM_CONSOLE_H

#include <stddef.h>

#include "lib/err.h"

enum { CONSOLE_KEPT = 64 * 1024, CONSOLE_VIEWERS = 8 };

struct console;
struct consoles;

/* Starts the thread. */
int consoles_new(struct consoles **out, const char *run, struct err *e);
/* Ends it; viewers are cut off. Every console was put before. */
void consoles_free(struct consoles *cs);

/* The console `name` ("GUID-0"); what an earlier agent has kept of it is taken up. NULL: out of memory. */
struct console *console_new(struct consoles *cs, const char *name);
/* Its last reference: ends its viewers and takes it out. c may be NULL. */
void console_put(struct console *c);
/* Forgets what was kept: the machine was deleted. */
void console_forget(struct console *c);

/* The worker's end, a stream socket, in place of the one before; -1 for none. Taken. */
void console_guest(struct console *c, int fd);
/* Somebody who looks on: first gets what was kept. Taken; made non-blocking. */
int console_view(struct console *c, int fd, struct err *e);
/* How many look on. */
size_t console_viewers(struct console *c);

#endif
