/*
 * hypervisor/vsp/balloon.h - dynamic memory (hv_balloon): pages that the guest does not need are taken out of
 * it and given back to the host, put in again, and memory is added, until what the machine has assigned is
 * what was asked for.
 *
 * Protocols 2.0, 1.0 and 0.3. Assigned is the memory at start, and what the guest has taken of what was
 * added, without the pages in the balloon. Below the target, the balloon is emptied first; what is still
 * missing is added in units that the guest names. One request is under way at a time. A guest that gives less
 * than was asked for is asked again after a pause that grows; one that does not answer in time is left alone
 * until it speaks again, and what it answers late is taken for what it is.
 *
 * What a guest names that is no RAM, is in the balloon already, or is lent to a device of the bus, is skipped
 * and counted. A page in the balloon that the guest uses all the same takes memory again: it harms only the
 * guest, whose memory the host limits. When the guest closes the channel, or begins anew, what was in the
 * balloon is its own again: nobody there knows of it any more.
 *
 * Threads. The functions here are the control thread's, as is all that changes memory; messages run on the
 * loop. While the control thread works on a message (events.work, balloon_work), the loop reads no other.
 */
#ifndef HYPERVISOR_VSP_BALLOON_H
#define HYPERVISOR_VSP_BALLOON_H

#include "hypervisor/core/io_loop.h"
#include "hypervisor/vmbus/bus.h"

enum {
	BALLOON_2_0 = 2 << 16,
	BALLOON_1_0 = 1 << 16,
	BALLOON_0_3 = 3,
	BALLOON_RANGES = 16,         /* stretches of memory that were added */
	BALLOON_TAKE_MOST = 1 << 18, /* pages that are asked for at a time: 1 GiB */
	BALLOON_GIVE_MOST = 1 << 20, /* and that are put in again */
	BALLOON_ADD_MOST = 1 << 18,  /* and added, or one unit of the guest's */
	/* How long an answer may take. Each part of one counts anew. */
	BALLOON_TAKE_MS = 60000,
	BALLOON_GIVE_MS = 60000,
	BALLOON_ADD_MS = 300000, /* a guest may wait 5 s for every 128 MiB */
	/* After an answer that fell short; doubled each time. */
	BALLOON_PAUSE_MS = 1000,
	BALLOON_PAUSE_MOST_MS = 60000,
	BALLOON_RESTORED_MS = 5000, /* after a restore, for what the guest may yet answer */
	BALLOON_REFUSALS = 5,       /* in a row: memory is not added any more */
	BALLOON_TELL_MS = 1000,     /* between two calls of events.changed */
};

enum balloon_state {
	BALLOON_CLOSED,       /* no driver */
	BALLOON_VERSION,      /* it is to name a version */
	BALLOON_CAPABILITIES, /* and then what it can do */
	BALLOON_READY,        /* nothing is under way */
	BALLOON_TAKING,       /* pages are asked for */
	BALLOON_GIVING,       /* pages are put in again */
	BALLOON_ADDING,       /* memory is added */
	BALLOON_STATES
};

struct balloon_report {
	enum balloon_state state;
	uint32_t version;   /* BALLOON_*; 0: not agreed on */
	uint64_t target;    /* bytes, as is what follows */
	uint64_t assigned;  /* what the machine has */
	uint64_t ballooned; /* taken out of it */
	uint64_t added;     /* put into it beyond what it had at start */
	uint64_t demand;    /* what its programs have been promised; 0: it has not said */
	uint64_t available; /* what it could do without, by its own words */
	bool can_balloon, can_add;
	bool silent;       /* it owes an answer, and is left alone */
	uint64_t nonsense; /* messages and ranges that made none */
};

struct balloon_events {
	void *ctx;
	/* Something is to be done on the control thread: it should call balloon_work soon. Any thread. */
	void (*work)(void *ctx);
	/* Makes RAM that the guest does not know of: `bytes` at *gpa, both multiples of `unit`, a power of
	 * two of 2 MiB at least. Control thread, within balloon_work. */
	int (*add)(void *ctx, uint64_t bytes, uint64_t unit, uint64_t *gpa, struct err *e);
	/* What is assigned or in demand has changed by much, or the target is reached; once in
	 * BALLOON_TELL_MS at most. Control thread, within balloon_work. May be NULL. */
	void (*changed)(void *ctx, const struct balloon_report *r);
};

struct balloon_limits {
	uint64_t start, minimum, maximum; /* bytes */
	uint64_t end;                     /* no RAM of the machine will ever be at or above this address */
};

struct balloon;

/* loop: started or not. The target is what the machine has at start. */
int balloon_new(struct balloon **out, struct gmem *mem, struct io_loop *loop,
    const struct balloon_limits *limits, const struct balloon_events *events, struct err *e);
/* After vmbus_free, or when the bus has let go of the device; the loop does not run any more. */
void balloon_free(struct balloon *b);
struct vmbus_device *balloon_device(struct balloon *b);

/* -EINVAL: not between minimum and maximum. */
int balloon_target(struct balloon *b, uint64_t bytes, struct err *e);
void balloon_report(struct balloon *b, struct balloon_report *r);
/* The machine begins anew: its next guest does not know of memory that was added. The bus closes the channel.
 */
void balloon_reset(struct balloon *b);
/* The machine stands still: while held, no message is read or written. */
void balloon_hold(struct balloon *b, bool hold);
/* After events.work. */
void balloon_work(struct balloon *b);

#endif
