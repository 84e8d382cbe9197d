/*
 * agent/vm_keeper.h - the keeper of a machine: the thread that holds the connection to its worker.
 * Private to vm_*.c.
 */
#ifndef AGENT_VM_KEEPER_H
#define AGENT_VM_KEEPER_H

#include "agent/fault.h"
#include "agent/vm.h"
#include "agent/vm_life.h"

enum keeper_op { KEEPER_START, KEEPER_RESUME, KEEPER_SHUT_DOWN, KEEPER_TURN_OFF, KEEPER_CALL };

/* Something that the worker itself is asked, by its own table of requests. */
struct keeper_call {
	const char *method;
	json_t *params; /* taken; NULL: none */
	const int *fd;  /* passed along; still the caller's */
	size_t fds;     /* how many; may be 0 */
	int ms;         /* how long it may take; 0: as long as all others */
	json_t *result; /* a new reference, or NULL */
	struct err why; /* when it failed: code and sentence as the worker gave them; -ECONNRESET: it ended */
};

/* Makes vm's keeper; find_again: for a worker that is there, else its first request is KEEPER_START. With
 * vm->lock; vm has none. */
int keeper_new(struct machines *ms, struct vm *vm, bool find_again, struct err *e);
/* Has vm's keeper do something and waits until it is done. With vm->lock, which is released meanwhile; vm has
 * a keeper. 0, or a fault's number. */
int keeper_ask(struct vm *vm, enum keeper_op op, struct fault *f);
/* Has the keeper call the worker and waits for the answer; what the worker had told before that has been
 * heard by then. With vm->lock, which is released meanwhile; vm has a keeper. 0 or -errno as in c->why. */
int keeper_call(struct vm *vm, struct keeper_call *c);
/* The same without waiting. With vm->lock; vm has a keeper. */
void keeper_post(struct vm *vm, enum keeper_op op);
/* Has the keeper look whether the agent ends. With vm->lock. */
void keeper_wake(struct vm *vm);
/* Whether it knows by now how its worker is. With vm->lock. */
bool keeper_settled(const struct vm *vm);

/* Moves vm along the table and tells everybody. With vm->lock. */
void vm_move(struct machines *ms, struct vm *vm, enum vm_event ev, const char *reason);
/* A fault for a call that failed. */
int keeper_fault(struct fault *f, const struct err *why);

/* Waits for vm->changed, at most ms. With vm->lock. */
void vm_wait(struct vm *vm, unsigned ms);
/* {id, name, ...}: what an event about vm begins with. With vm->lock. */
json_t *vm_event_data(const struct vm *vm);

#endif
