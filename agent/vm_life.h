/*
 * agent/vm_life.h - the life of a machine: started, stopped, lost and found again.
 *
 * Every machine that has a worker has a keeper, a thread of the agent that alone talks to that worker. It
 * carries out what others ask for, hears what happens, and ends with the worker, whose end it reports:
 * "vm.state" for every change, "vm.panic", "vm.reset", "vm.workerLost". A keeper of a restarted agent takes
 * up a worker that was there before.
 *
 * Any thread; functions wait for what they ask for, each step of which is bounded in time (a start: some
 * minutes at the very worst). Call them without vm->lock.
 */
#ifndef AGENT_VM_LIFE_H
#define AGENT_VM_LIFE_H

#include "agent/fault.h"
#include "agent/method.h"
#include "agent/vm.h"

enum vm_event {
	VM_EV_START, /* somebody wants it to run */
	VM_EV_STOP,  /* ... or not to */
	VM_EV_STOP_GIVEN_UP,
	VM_EV_RUNNING, /* the worker says so */
	VM_EV_PAUSED,
	VM_EV_FAILED,
	VM_EV_WORKER_OFF,
	VM_EV_ENDED, /* there is no worker any more */
};
/* The table: where ev leads from `from`, or -1 when it makes no sense there. */
int vm_next_state(enum vm_state from, enum vm_event ev);

/* Starts it (or lets a paused one go on) and waits until it runs. *changed is false when it runs already. */
int vm_start(struct machines *ms, struct vm *vm, bool *changed, struct fault *f);
/* Begins to start one that is off, and waits patience_ms at most: a start that takes longer goes on. Negative
 * when it was refused, or has come to nothing by then. */
int vm_start_within(struct machines *ms, struct vm *vm, unsigned patience_ms, struct fault *f);
/* Whether vm_start would be refused now: the same checks, nothing done. */
int vm_may_start(struct machines *ms, struct vm *vm, bool *changed, struct fault *f);
/* Pulls the plug. */
int vm_turn_off(struct machines *ms, struct vm *vm, bool *changed, struct fault *f);
/* How a guest is asked for something that takes its time. */
struct vm_patience {
	unsigned timeout_s; /* for the guest to do it */
	bool force; /* vm_shut_down: then the plug is pulled; else the machine goes on, and it is a fault */
	struct job *job; /* hears of the progress, and can cancel the wait; may be NULL */
};
/*
 * Asks the guest to shut down, by its integration component if it has a driver for that, else by the power
 * button, and waits. When the wait is cancelled the machine goes on, if its guest does. GUEST_REFUSED,
 * VM_STOP_TIMED_OUT.
 */
int vm_shut_down(
    struct machines *ms, struct vm *vm, const struct vm_patience *p, bool *changed, struct fault *f);
/* Asks the guest to restart, and waits until it has. GUEST_NO_CONTACT, GUEST_REFUSED, TIMED_OUT. */
int vm_restart(struct vm *vm, const struct vm_patience *p, struct fault *f);
/* Starts its guest anew at once, as a reset button does. */
int vm_reset(struct vm *vm, struct fault *f);

/* Takes up the worker of vm, if there is one. */
void vm_find_again(struct machines *ms, struct vm *vm);
/* Lets go of all workers, which go on; returns when no keeper is left. ms->stopping is set. */
void vm_let_go(struct machines *ms);
/* Ends every machine as its AutomaticStopAction says, all at once, within seconds; then by force, within half
 * a minute. From its beginning no machine starts. */
void vm_stop_all(struct machines *ms, unsigned seconds);

/* ms of CLOCK_BOOTTIME: time that goes on while the host sleeps. */
uint64_t vm_now_ms(void);
/* The console of a port, made when there is none. With vm->lock. NULL: out of memory. */
struct console *vm_console(struct machines *ms, struct vm *vm, unsigned port);

#endif
