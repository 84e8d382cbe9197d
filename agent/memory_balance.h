/*
 * agent/memory_balance.h - which machine with dynamic memory should have how much: the host's memory, shared
 * out by what guests need.
 *
 * A guest tells its demand, what its programs have been promised; it should have that and a fifth more,
 * between the least and the most of its document. Small differences are left alone, and large ones are made
 * in steps, so that machines do not push each other to and fro. What the host has left is shared among those
 * that grow, in proportion. If it has less than nothing left, nobody grows, and everybody is brought down to
 * its demand at once, but to no less.
 */
#ifndef AGENT_MEMORY_BALANCE_H
#define AGENT_MEMORY_BALANCE_H

#include <stddef.h>
#include <stdint.h>

struct machines;

enum { BALANCE_MS = 5000 };             /* between two looks */
#define BALANCE_UNIT     (2ull << 20)   /* targets are multiples of this, but where least or most is none */
#define BALANCE_BAND     (32ull << 20)  /* smaller differences are left alone, and those below 1/16 */
#define BALANCE_STEP_OUT (64ull << 20)  /* at most so much is taken at a time, or 1/8, */
#define BALANCE_STEP_IN  (256ull << 20) /* and given, or 1/2 */

/* Bytes, up to 2^44 each. */
struct balance_row {
	uint64_t least, most, assigned;
	uint64_t demand; /* 0: the guest has not said */
	uint64_t target; /* what was asked for last; then what should be */
};

/* spare: bytes that could be given away beside what all of them have; below 0: the host is short of memory.
 */
void balance_plan(struct balance_row *row, size_t n, int64_t spare);

/* What the host has, in bytes: all of it, and what can be had of it now. Zeros if that cannot be found out.
 */
void balance_host(uint64_t *total, uint64_t *available);
/* Bytes that a host of so much can spare, when machines have been promised so much. */
int64_t balance_spare(uint64_t total, uint64_t available, uint64_t promised);

/* For keepers, each time they know anew what their machine has: once in BALANCE_MS all machines' targets are
 * thought over, and their keepers told (vm->guest.want). Without vm->lock. */
void memory_balance(struct machines *ms);

#endif
