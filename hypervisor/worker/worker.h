/*
 * hypervisor/worker/worker.h - the worker process around its partition: what it can be asked
 * (requests.c), the states of its machine (life.c), its consoles (console.c), its loop (loop.c).
 *
 * All of it belongs to the control thread.
 */
#ifndef HYPERVISOR_WORKER_WORKER_H
#define HYPERVISOR_WORKER_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "hypervisor/core/machine.h"
#include "hypervisor/core/partition.h"
#include "hypervisor/worker/components.h"
#include "hypervisor/worker/console.h"
#include "hypervisor/worker/disks.h"
#include "hypervisor/worker/nics.h"
#include "hypervisor/worker/services.h"
#include "hypervisor/worker/streams.h"
#include "lib/control.h"
#include "lib/err.h"
#include "lib/rate.h"

enum machine_state {
	STATE_NONE, /* nothing was created yet */
	STATE_OFF,
	STATE_RUNNING,
	STATE_PAUSED,
	STATE_SAVED,    /* written to a stream: this copy must not run again */
	STATE_CRITICAL, /* a processor cannot go on */
};
extern const char *const state_names[]; /* NULL-terminated: "None", "Off", ... */

struct worker {
	struct host host;
	struct control *control;
	struct machine machine;
	struct partition *p;           /* NULL until created */
	struct disks *disks;           /* from the worker's start */
	struct nics *nics;             /* from the worker's start, too */
	struct services *services;     /* NULL: not created, or it has no small devices. These: */
	struct streams *streams;       /* NULL: not created, or it has none */
	struct components *components; /* NULL: not created, or it has none */
	struct balloon *balloon;       /* memory_requests.c; NULL: its memory is not dynamic */
	enum machine_state state;
	char reason[240]; /* why it is in that state, for people; may be empty */
	uint64_t resets, panics;
	struct rate panic_rate; /* of telling them: a guest may report any number */
	atomic_int told_panic;  /* log_once */
	struct console console[MACHINE_COM_PORTS];
	bool go_on; /* it was paused for a save only, while its guest asked for a reset: that, then resume */
	bool quit;
	int status; /* what the process ends with after that */
};

/* --- life.c -------------------------------------------------------------------------------------- */

enum life_event {
	LIFE_START,
	LIFE_PAUSE,
	LIFE_RESUME,
	LIFE_RESET,
	LIFE_POWER_OFF,
	LIFE_SAVED,
	LIFE_GUEST_OFF,
	LIFE_GUEST_RESET,
	LIFE_FAILED,
	LIFE_EVENTS,
};
/*
 * Moves the machine, or refuses in words (-EINVAL). *changed (may be NULL) is false when the machine is
 * already where the event leads. Tells the controller of every change by a "state" event.
 */
int life_move(struct worker *w, enum life_event ev, const char *reason, bool *changed, struct err *e);
/* Builds the machine (w->machine is set). stream < 0: a new one, Off; else from saved state, Paused. */
int life_create(struct worker *w, int stream, struct err *e);

/* --- requests.c ---------------------------------------------------------------------------------- */

extern const struct method worker_methods[];

/* --- loop.c -------------------------------------------------------------------------------------- */

/* Serves controller, partition and consoles until "quit", or a machine that could not be made. Returns the
 * exit status of the process. */
int worker_loop(struct worker *w);

#endif
