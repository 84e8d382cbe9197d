/*
 * hypervisor/worker/services.h - the machine's small devices: those with little to move, which share one I/O
 * loop and its thread. Which ones there are is the list in services.c.
 *
 * Control thread, but for services_wake. A machine that has none has no such thread either, and all may be
 * called all the same.
 */
#ifndef HYPERVISOR_WORKER_SERVICES_H
#define HYPERVISOR_WORKER_SERVICES_H

#include <stdbool.h>

#include "hypervisor/core/io_loop.h"
#include "hypervisor/core/machine.h"
#include "lib/err.h"

struct worker;

/* A kind of small device. What it has is its own, in struct worker. */
struct service {
	bool (*wanted)(const struct machine *m);
	/* Before the loop runs. `leave` and `free` follow, after a failure too. */
	int (*make)(struct worker *w, struct io_loop *loop, struct err *e);
	void (*work)(struct worker *w);          /* after services_wake; others may have called it */
	void (*hold)(struct worker *w, bool on); /* the machine stands still: so does guest memory */
	void (*reset)(struct worker *w);         /* may be NULL: the guest is gone */
	void (*leave)(struct worker *w);         /* the bus; the loop runs still */
	void (*free)(struct worker *w);
};

/* Makes what the machine wants, held, and the loop's thread. Before the control thread's walls close. */
int services_create(struct worker *w, int (*walls)(struct err *), struct err *e);
/* Units only: a worker's process ends with them. */
void services_free(struct worker *w);
/* A device has something for the control thread. Any thread; the shape that devices' events.work have. */
void services_wake(void *worker);
void services_work(struct worker *w);
/* The machine does not run; does. */
void services_hold(struct worker *w, bool on);
void services_reset(struct worker *w);

#endif
