/*
 * hypervisor/vsp/balloon_private.h - dynamic memory's inside: balloon.c (life, memory that is given back and
 * made; control thread), balloon_message.c (what the guest says), balloon_request.c (what is asked of it, and
 * when; both on the loop), balloon_state.c (saved state), balloon_set.c (the pages).
 */
#ifndef HYPERVISOR_VSP_BALLOON_PRIVATE_H
#define HYPERVISOR_VSP_BALLOON_PRIVATE_H

#include <stdatomic.h>

#include "hypervisor/vsp/balloon.h"
#include "hypervisor/vsp/balloon_set.h"

enum {
	BALLOON_MESSAGE = 4096,            /* the longest of either side */
	BALLOON_IN = BALLOON_MESSAGE + 64, /* with a packet's head */
	BALLOON_HEAD = 8,                  /* u16 type, u16 size of all, u32 transaction */
	BALLOON_RANGE = 8,                 /* pages: 40 bits of the first, 24 of how many */
};

enum balloon_message {
	SAYS_VERSION = 1,
	TELLS_VERSION = 2,
	SAYS_CAPABILITIES = 3,
	TELLS_CAPABILITIES = 4,
	SAYS_STATUS = 5,
	ASKS_BALLOON = 6,
	SAYS_BALLOON = 7,
	ASKS_UNBALLOON = 8,
	SAYS_UNBALLOON = 9,
	ASKS_HOT_ADD = 10,
	SAYS_HOT_ADD = 11,
	TELLS_INFO = 12,
};

/* RAM that was made beyond what the machine had at start: the guest was told of the first `given` pages, and
 * has taken so many of them. */
struct balloon_range {
	uint64_t first, pages, given, taken;
};

/* What the control thread is to do; meanwhile the loop reads and begins nothing. */
enum balloon_job {
	JOB_NONE,
	JOB_TAKE, /* the pages of the message in `in` */
	JOB_MAKE, /* RAM, for make_pages more */
};

struct balloon {
	struct vmbus_device dev; /* first */
	struct gmem *mem;
	struct io_loop *loop;
	struct balloon_events events;
	struct balloon_limits limits;
	/* The loop's, but while there is a job the control thread's. */
	struct page_set *set;
	size_t regions; /* of guest memory, that were there at start */
	struct balloon_range range[BALLOON_RANGES];
	uint32_t ranges;

	/* Control */
	struct vmbus_channel *ch;
	bool begun; /* the loop has it */

	/* Between the two. */
	atomic_bool asked;  /* the control thread has been asked to look */
	atomic_bool begin;  /* the channel was opened: the loop is to have it */
	atomic_bool broken; /* its rings make no sense */
	atomic_bool tell;   /* events.changed */
	atomic_int job;
	uint64_t make_pages, make_unit;

	/* The loop's */
	struct io_watch kick;
	struct io_timer alarm;
	bool held;
	enum balloon_state state;
	uint32_t version;
	bool can_balloon, can_add;
	uint64_t unit;     /* pages: what memory is added in */
	uint64_t max_page; /* the highest that it can have */
	bool info_due;     /* it has not been told the maximum */
	uint64_t target;   /* pages */
	uint64_t available, committed;
	/* A request that is under way. */
	uint64_t wanted, got;       /* pages asked for, and taken so far; or still to be put in again */
	uint64_t deadline;          /* ns; 0: none */
	uint64_t adding;            /* pages that it was told of and has not answered for, though late */
	uint32_t adding_in;         /* of this range */
	bool silent;                /* it owes an answer */
	uint64_t pause, not_before; /* ns */
	uint32_t refusals;          /* of added memory, in a row */
	uint64_t nonsense;
	uint64_t again; /* ns: more of the ring is to be read; 0: not */
	/* What was told last. */
	uint64_t told_assigned, told_demand, next_tell, tell_at;

	uint16_t in_len; /* of the message in `in`, from in_at */
	uint16_t in_at;
	uint8_t in[BALLOON_IN];
	/* What the ring had no room for yet. */
	bool complete_due; /* a packet that wants to be completed */
	uint64_t complete_id;
	uint32_t out_len, transaction;
	uint8_t out[BALLOON_MESSAGE];
};

/* balloon.c */
void balloon_ask(struct balloon *b); /* any thread */
/* The guest's memory as it knows it: stretch i, false: there is none. Any thread. */
bool balloon_stretch(const struct balloon *b, size_t i, uint64_t *first, uint64_t *pages);

/* balloon_message.c: loop */
/* Reads, answers, asks, until there is nothing more to do now. */
void balloon_pump(struct balloon *b);
/* The channel is the loop's, by io_loop_call. */
void balloon_begin(void *balloon);
/* A message of `size` bytes of this type, all zero behind its head: goes out when there is room. */
uint8_t *balloon_say(struct balloon *b, enum balloon_message type, uint32_t size);
/* The control thread has done its job, by io_loop_call. */
void balloon_job_done(void *balloon);

/* balloon_request.c: loop */
uint64_t balloon_assigned(const struct balloon *b); /* pages */
uint64_t balloon_demand(const struct balloon *b);
uint64_t balloon_added(const struct balloon *b);
/* Begins or goes on with what is to be asked. True: something is to go out, or a job was begun. */
bool balloon_next(struct balloon *b);
/* Answers: all of what was asked, or less; whatever was under way has ended. */
void balloon_took(struct balloon *b, uint64_t pages, bool more);
void balloon_gave(struct balloon *b);
void balloon_hot_added(struct balloon *b, uint64_t pages, bool will);
/* Memory for it was not to be had. */
void balloon_not_made(struct balloon *b);
/* Whatever was under way is over, or is to be waited for no longer. */
void balloon_look_at_time(struct balloon *b);
/* Tells what has changed, and when to look again. */
void balloon_look(struct balloon *b);
void balloon_fell_short(struct balloon *b);

/* balloon_state.c */
void balloon_snap(struct vmbus_device *d, struct snap *snap);

#endif
