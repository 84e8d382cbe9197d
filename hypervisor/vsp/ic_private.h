/*
 * hypervisor/vsp/ic_private.h - the integration components' inside: ic.c (a channel: framing, negotiation,
 * one question at a time), ics.c (all of them, control thread), ic_state.c (saved state), and a file for
 * each.
 *
 * Everything of a component belongs to the I/O thread, unless it says otherwise; the control thread reaches
 * it through io_loop_call only. The I/O thread does not allocate.
 */
#ifndef HYPERVISOR_VSP_IC_PRIVATE_H
#define HYPERVISOR_VSP_IC_PRIVATE_H

#include <stdatomic.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/ic.h"

enum {
	IC_PIPE = 8,    /* u32 type, u32 bytes that follow */
	IC_HEADER = 20, /* of a message, see put_header in ic.c */
	IC_HEAD = IC_PIPE + IC_HEADER,
	IC_PAYLOAD_MAX = 7680,      /* ours: the longest is IP information with 7430 */
	IC_PACKET_MAX = 16 + 16384, /* the guest's: a pipe carries no more */
	IC_STRIKES = 3,             /* negotiations anew, since the channel was opened */
};
#define IC_SECOND 1000000000ull

/* What a guest may answer, in a message's header. */
enum {
	IC_OK = 0,
	IC_NO_MORE_ITEMS = 0x80070103, /* (uint32_t) */
};

enum ic_mistake {
	MISTAKE_PACKET,      /* its frame */
	MISTAKE_TRANSACTION, /* an answer to nothing that was asked, or too late */
	MISTAKE_NEGOTIATION,
	MISTAKE_ANSWER, /* its content */
	MISTAKE_LATE,
	IC_MISTAKES
};

struct ic;

struct ic_type {
	const char *name;             /* in saved state */
	const char *label;            /* for the log */
	const char *class, *instance; /* GUIDs */
	uint16_t message;             /* its type in headers */
	const uint32_t *versions;     /* ascending; ends with 0 */
	/* Versions are agreed on: what is due from the beginning. `next` follows. */
	void (*ready)(struct ic *c);
	/* Nothing is outstanding: it may ask something. */
	void (*next)(struct ic *c);
	/* The answer to what was asked last, and its bytes behind the header. -EPROTO: it makes no sense. */
	int (*answer)(struct ic *c, uint32_t status, const uint8_t *p, size_t len);
	/* Nothing can be asked any more, until the next `ready`: what is under way has failed with rc. When
	 * the channel is closed, in any state. */
	void (*stop)(struct ic *c, int rc);
	/* The machine stands still, or goes on. May be NULL. */
	void (*hold)(struct ic *c, bool held);
	/* Its own fields. May be NULL. */
	void (*snap)(struct ic *c, struct snap *s);
};

struct ic {
	struct vmbus_device dev; /* first */
	struct ics *all;
	const struct ic_type *type;

	/* I/O */
	struct vmbus_channel *ch; /* NULL: not open */
	struct io_watch kick;
	struct io_timer limit; /* of the answer */
	struct io_timer again; /* there is more to read */
	enum ic_state state;
	uint32_t framework, version;
	uint8_t transaction; /* of what was asked last */
	bool busy;           /* that has no answer yet */
	bool unsent;         /* nor is it in the guest's ring: no room */
	bool broken, told_broken;
	unsigned strikes, limit_ms;
	uint16_t asked; /* message type */
	uint32_t len;   /* of message */
	uint64_t mistakes;
	atomic_int told[IC_MISTAKES], told_alone; /* in the log, once */
	uint8_t message[IC_HEAD + IC_PAYLOAD_MAX];
};

struct ic_heartbeat {
	struct ic c; /* first */
	struct io_timer tick;
	uint64_t sequence, answered, last; /* last: when, in the loop's time */
	uint32_t application;
	unsigned missed;
	bool there, due;
};

struct ic_shutdown {
	struct ic c; /* first */
	bool wanted, sent;
	uint32_t flags;
	uint8_t text[2 * (IC_REASON + 1)];
};

struct ic_timesync {
	struct ic c; /* first */
	struct io_timer sample;
	struct io_watch clock; /* the host's was set; slot -1: nobody says */
	bool sync_due, sample_due, wanted, sent_sync;
};

/* Of a fact of the host's. */
enum kvp_state { FACT_NONE, FACT_NEW, FACT_TOLD, FACT_GOING };
enum { KVP_IP_MESSAGE = 2 + 256 + 2 + 2048 + 2048 + 1024 + 2048, KVP_IP_GET = 4, KVP_IP_SET = 5 };

struct ic_kvp {
	struct ic c;           /* first */
	struct io_timer again; /* read the guest's facts */
	enum { KVP_IDLE, KVP_READING, KVP_TELLING, KVP_IP } doing;
	enum kvp_pool pool; /* that is read, or told */
	unsigned place;     /* in it: the guest's index, or the host's fact */
	unsigned count;     /* read so far */
	unsigned readings;  /* since the guest began to listen */
	bool read_due, wanted, changed;
	bool ip_wanted, ip_set;
	uint8_t ip_message[KVP_IP_MESSAGE];
	struct ic_ip ip; /* what came */
	/* The guest's pools: the first n. The host's: wherever `state` says so. */
	unsigned n[KVP_POOLS];
	struct kvp_item item[KVP_POOLS][KVP_ITEMS];
	uint8_t state[KVP_POOLS][KVP_ITEMS]; /* enum kvp_state */
};

struct ic_vss {
	struct ic c; /* first */
	struct io_timer limit;
	enum { VSS_IDLE, VSS_CHECKING, VSS_FREEZING, VSS_THAWING } doing;
	bool freeze_wanted, thaw_wanted; /* by the control thread, who hears of the end */
	bool thaw_due;                   /* whoever wants it */
	bool frozen;                     /* FREEZE was sent, and no THAW answered */
	unsigned seconds;
};

enum { COPY_PIECE = 6144, COPY_START = 36 + 520 + 520 + 4 + 8 };
struct ic_fcopy {
	struct ic c; /* first */
	enum { COPY_IDLE, COPY_STARTING, COPY_READING, COPY_WRITING, COPY_COMPLETING, COPY_CANCELLING } doing;
	struct io_op read; /* first of what is not the guest's */
	struct iovec iov;
	bool in_flight;  /* a read */
	bool wanted;     /* there is a copy, of which the control thread has not heard the end */
	bool ending;     /* it has ended, but for a read in flight */
	bool close_due;  /* it has ended: its descriptor is to be closed */
	bool cancel_due; /* the guest has an unfinished file */
	int rc;
	uint32_t status;
	int fd, slot;
	uint64_t size, at, told; /* bytes */
	uint8_t start[COPY_START];
	uint32_t have; /* bytes in piece */
	uint8_t piece[COPY_PIECE];
};

struct ics {
	struct vmbus *bus;
	struct io_loop *loop;
	struct ic_config config;
	struct ic_clock clock;
	struct ic_events events;

	/* I/O */
	bool held;
	bool asked; /* the control thread has been asked to look */
	bool clock_watched;
	union {
		uint8_t packet[IC_PACKET_MAX];
		uint64_t align;
	};
	struct ic_heartbeat heartbeat;
	struct ic_shutdown shutdown;
	struct ic_timesync timesync;
	struct ic_kvp kvp;
	struct ic_vss vss;
	struct ic_fcopy fcopy;
	struct ic *ic[IC_KINDS];
};

extern const struct ic_type ic_heartbeat_type, ic_shutdown_type, ic_timesync_type, ic_kvp_type, ic_vss_type,
    ic_fcopy_type;

/* ic.c */
/* Asks: IC_PAYLOAD_MAX at most. limit_ms: how long the answer may take. Only when ic_may_ask. */
void ic_ask(struct ic *c, const void *payload, size_t len, unsigned limit_ms);
bool ic_may_ask(const struct ic *c);
/* Its `next`, if it may ask. */
void ic_next(struct ic *c);
/* What is under way has failed with rc; all is agreed on anew. strike: of which there are few. */
void ic_renegotiate(struct ic *c, int rc, bool strike);
void ic_mistaken(struct ic *c, enum ic_mistake m);
void ic_drain(struct ic *c);
void ic_begin(struct ic *c); /* negotiates, if it is open */
void ic_hold(struct ic *c, bool held);
void ic_look(struct ics *s); /* asks the control thread to */
int ic_channel_open(struct vmbus_device *d, struct vmbus_channel *ch, struct err *e);
void ic_channel_close(struct vmbus_device *d, struct vmbus_channel *ch);
bool ic_speaks(const struct ic *c, uint32_t framework, uint32_t version);

/* ics.c */
/* -ENOTCONN in words. */
int ic_not_there(enum ic_kind kind, struct err *e);
void ic_ended(struct ics *s, enum ic_op op, int rc, uint32_t status);

/* ic_kvp_ip.c */
/* What the guest answered; -EPROTO. */
int kvp_ip_answer(struct ic_kvp *k, const uint8_t *p, size_t len);

/* ic_state.c */
void ic_snap(struct vmbus_device *d, struct snap *s);
void ic_restored(struct vmbus_device *d);

/* Once each, at the beginning. */
void ic_heartbeat_init(struct ics *s);
void ic_timesync_init(struct ics *s);
void ic_kvp_init(struct ics *s);
void ic_vss_init(struct ics *s);
void ic_fcopy_init(struct ics *s);
/* The descriptor of a copy that has ended. Control thread. */
void ic_fcopy_work(struct ics *s);
void ic_fcopy_free(struct ics *s);

#endif
