/*
 * agent/guest_watch.h - a keeper's eye on the guest: asks the worker about components, facts and memory when
 * there is news of them, writes down what it says (vm->guest), tells everybody ("vm.guest", "vm.memory"), and
 * has the machine's memory follow what was planned (memory_balance.h). Private to keepers: their thread,
 * without vm->lock.
 *
 * A worker may have news all the time: it is asked once a second at most, and one that does not answer is
 * left alone for a while.
 *
 * What a worker's control group lets it have is what its machine has at start. Before a target above that is
 * asked for, the group is given room for the most that the machine can have, and keeps it: memory that was
 * added stays with the guest, in units of its own choice, whatever it gives back by its balloon. Less than
 * what it has at start would not do: a guest that begins anew has all of that, and one that uses pages it has
 * given back must harm nobody, not even itself.
 */
#ifndef AGENT_GUEST_WATCH_H
#define AGENT_GUEST_WATCH_H

#include "agent/vm.h"
#include "lib/control.h"

struct guest_watch {
	struct machines *ms;
	struct vm *vm;
	bool components, facts, memory; /* are to be asked about */
	bool silent;                    /* it has just not answered */
	bool has_room;                  /* its control group has room for all that it can have */
	uint64_t not_before_ms;         /* it is left alone until then (vm_now_ms) */
	uint64_t memory_ms;             /* its memory is looked at then, if it is dynamic; 0: it is not */
	uint64_t asked_target;          /* bytes, of this agent; 0: none */
	struct vm_guest was;            /* as it was told */
};

/* The machine runs. most_mb: memory that it can have. */
void guest_watch_begin(struct guest_watch *w, struct machines *ms, struct vm *vm, uint64_t most_mb);
/* An event of the worker. */
void guest_watch_hear(struct guest_watch *w, const char *method, const json_t *params);
/* Does what is due; *asked: the worker was asked, and may have said more meanwhile. Milliseconds until
 * something else is due, or -1. */
int guest_watch_turn(struct guest_watch *w, struct control_client *worker, bool *asked);

#endif
