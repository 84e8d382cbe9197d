/*
 * hypervisor/worker/console.h - a serial port's other end: a descriptor that the controller gave.
 *
 * What the guest writes goes to the descriptor as fast as it takes it, what comes from it goes to the
 * guest as fast as that reads. Nobody waits: a reader that is too slow loses the oldest output (the
 * port's ring, 64 KiB), input that the guest does not read stays in the descriptor.
 */
#ifndef HYPERVISOR_WORKER_CONSOLE_H
#define HYPERVISOR_WORKER_CONSOLE_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#include "hypervisor/chipset/device.h"
#include "lib/err.h"

enum { CONSOLE_CHUNK = 4096 };

struct console {
	struct device *port; /* NULL: the machine has no such port */
	int fd;              /* -1: nobody is attached */
	char out[CONSOLE_CHUNK];
	size_t out_len, out_at; /* taken from the port, not yet written */
	char in[64];
	size_t in_len, in_at; /* read, not yet accepted by the port */
	bool in_end;          /* the other end will send no more */
};

void console_init(struct console *c, struct device *port);
/* Takes fd (socket, pipe or terminal) and replaces the one before. */
int console_attach(struct console *c, int fd, struct err *e);
void console_detach(struct console *c);
/* Which events to poll the descriptor for now; 0: none. */
short console_wants(const struct console *c);
/* Moves bytes both ways as far as they go. */
void console_pump(struct console *c);

#endif
