/*
 * agent/vm_guest.h - what the agent knows of a machine's guest: whether it lives, what it says of itself,
 * what memory it has; and how what it was asked has ended.
 *
 * All of it is what its worker has said last, in whose words a guest's are. Either may say anything: texts
 * are cleaned and cut here, numbers are taken for what they are. Plain values, no lock: those of a machine
 * belong to vm->lock.
 */
#ifndef AGENT_VM_GUEST_H
#define AGENT_VM_GUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

enum { VM_FACT_SIZE = 256, VM_ADDRESS_SIZE = 64, VM_ADDRESSES = 16 };

/* As PowerShell calls them. */
enum vm_heartbeat {
	HEARTBEAT_NONE,       /* the machine has no worker, or it was not asked yet */
	HEARTBEAT_DISABLED,   /* the component is off */
	HEARTBEAT_NO_CONTACT, /* the guest has not answered yet */
	HEARTBEAT_LOST,       /* ... or does not any more */
	HEARTBEAT_OK_UNKNOWN, /* it answers; of its applications this is known */
	HEARTBEAT_OK_HEALTHY,
	HEARTBEAT_OK_CRITICAL,
};
extern const char *const vm_heartbeats[]; /* "None", "Disabled", ..., NULL */

/* What takes its time in a guest; the event "integration" of its worker tells the end. */
enum guest_op { GUEST_SHUTDOWN, GUEST_FREEZE, GUEST_THAW, GUEST_COPY, GUEST_READ, GUEST_OPS };

struct guest_asked {
	bool ended;
	char why[ERR_MSG_SIZE]; /* "": it was done */
};

/* Bytes. */
struct guest_memory {
	bool known, dynamic;
	bool takes_part;           /* the guest gives memory back, or takes more */
	uint64_t minimum, maximum; /* as the worker was made */
	uint64_t start;            /* what the guest has when it begins anew */
	uint64_t target, assigned, demand;
};

struct vm_guest {
	unsigned heartbeat;
	bool frozen;
	/* "" when it has not said. */
	char name[VM_FACT_SIZE], system[VM_FACT_SIZE], version[VM_FACT_SIZE];
	size_t addresses;
	char address[VM_ADDRESSES][VM_ADDRESS_SIZE];
	struct guest_memory memory;
	uint64_t most;   /* bytes that it can have, as its document said when it was started */
	uint64_t want;   /* bytes that its target is to be (agent/memory_balance.h); 0: nobody has said */
	uint64_t pinned; /* an administrator has; 0: nobody */
	struct guest_asked asked[GUEST_OPS];
	uint64_t copied, to_copy; /* bytes */
};

/* Takes what "ic.list" answered. */
void guest_take_components(struct vm_guest *g, const json_t *list);
/* Forgets the guest's facts; takes one. */
void guest_forget_facts(struct vm_guest *g);
void guest_take_fact(struct vm_guest *g, const char *key, const char *value);
/* Takes what "memory.status" answered. */
void guest_take_memory(struct vm_guest *g, const json_t *status);
/* Takes what an event "integration" says of copies, and of what has ended. */
void guest_take_news(struct vm_guest *g, const json_t *params);
/* Whether a and b tell the same to somebody who looks on (not: memory). */
bool guest_same_facts(const struct vm_guest *a, const struct vm_guest *b);

#endif
