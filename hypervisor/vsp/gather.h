/*
 * hypervisor/vsp/gather.h - whether a reader of a guest's ring should first let the guest go on writing.
 *
 * A signal wakes the I/O thread. Where that thread takes the processor from the guest that has just
 * signalled, it finds one request, however many the guest was about to send, and each costs a wake-up and an
 * interrupt of its own. To yield once before reading lets the guest send them all; but a guest that sends one
 * at a time would only pay for it, and on a processor that others want too the way back may be long. So it is
 * tried now and then, and done as long as it brings more than one at once and takes no time worth speaking
 * of.
 *
 * Pure: no clock, no system call. One thread.
 */
#ifndef HYPERVISOR_VSP_GATHER_H
#define HYPERVISOR_VSP_GATHER_H

#include <stdbool.h>
#include <stdint.h>

enum {
	GATHER_PAUSE = 1,           /* signals until the next try, after the first that brought nothing */
	GATHER_PAUSE_MAX = 1024,    /* doubled each time up to this */
	GATHER_NS_MAX = 500 * 1000, /* a yield that takes longer was somebody else's turn */
};

/* All zero at first: the first signal is a try. */
struct gather {
	unsigned pause; /* after the last try that brought nothing; 0: the last was good, or there was none */
	unsigned left;  /* signals until the next try */
};

/* At a signal: whether to yield now. True is to be followed by gather_told. */
bool gather_try(struct gather *g);
/* How many requests were found after it, and how long the yield took. */
void gather_told(struct gather *g, unsigned found, uint64_t ns);

#endif
