/*
 * hypervisor/vsp/ic.h - the integration components of a machine: heartbeat, shutdown, time, facts
 * (key/value pairs), quiescing for backups (VSS), copies of files into the guest.
 *
 * Each is a VMBus device with one channel in message-pipe mode, on which the host asks and the guest answers,
 * one question at a time. A guest that answers wrongly, late or not at all is negotiated with anew a few
 * times, and then left alone until it opens the channel again; that harms nobody but itself.
 *
 * Threads. The functions here are the control thread's; packets and timers run on one I/O loop that all
 * components share. While the machine does not run (ics_hold) nothing is sent, read or timed.
 */
#ifndef HYPERVISOR_VSP_IC_H
#define HYPERVISOR_VSP_IC_H

#include "hypervisor/core/io_loop.h"
#include "hypervisor/vmbus/bus.h"

enum ic_kind { IC_HEARTBEAT, IC_SHUTDOWN, IC_TIMESYNC, IC_KVP, IC_VSS, IC_FCOPY, IC_KINDS };
extern const char *const ic_names[]; /* by enum ic_kind, NULL-terminated */

/* What the control thread can begin; its end is told by ic_events.ended. */
enum ic_op {
	IC_OP_SHUTDOWN,
	IC_OP_TIME,
	IC_OP_FACTS,
	IC_OP_IP_GET,
	IC_OP_IP_SET,
	IC_OP_FREEZE,
	IC_OP_THAW,
	IC_OP_COPY,
	IC_OPS
};

/* In nanoseconds: the guest's reference time, and the host's wall clock since 1970. Any thread. */
struct ic_clock {
	void *ctx;
	uint64_t (*reference)(void *ctx);
	uint64_t (*wall)(void *ctx);
};

struct ic_config {
	bool on[IC_KINDS];
	/* The guest's clock is set: when its driver is there, when the machine goes on after a pause or from
	 * saved state, when the host's clock is set. */
	bool time_at_boot, time_at_resume, time_at_step;
	uint64_t
	    time_sample_s; /* a sample each so many seconds, by which it may correct its drift; 0: none */
	uint64_t facts_s;  /* its facts are read anew each so many seconds; 0: when asked for */
};

/* What the components tell the worker, from their I/O thread: must not block. */
struct ic_events {
	void *ctx;
	/* Something is to be done on the control thread: it should call ics_work soon. */
	void (*work)(void *ctx);
	/* The guest answers (again), in which state its applications are; or it does not any more. */
	void (*heartbeat)(void *ctx, bool there, unsigned application);
	void (*facts)(void *ctx); /* what the guest tells of itself has changed */
	/* An operation has ended: 0; -EREMOTEIO: the guest refused, `status` is its word; or -errno. */
	void (*ended)(void *ctx, enum ic_op op, int rc, uint32_t status);
	void (*progress)(void *ctx, uint64_t done, uint64_t total); /* of a copy, in bytes */
};

struct ics;

/* Offers those that are on. clock_fd: a timerfd that becomes readable when the host's clock is set (the
 * caller keeps it open), or -1. */
int ics_new(struct ics **out, struct vmbus *bus, struct io_loop *loop, const struct ic_config *config,
    const struct ic_clock *clock, int clock_fd, const struct ic_events *events, struct err *e);
/* After vmbus_free or when the loop does not run any more. */
void ics_free(struct ics *s);
/* Offers one, or takes it back. -EBUSY: the bus has not let go of it since it was taken back. */
int ics_set(struct ics *s, enum ic_kind kind, bool on, bool *changed, struct err *e);
/* The machine runs now; does not. In the beginning it does not. */
void ics_go(struct ics *s);
void ics_hold(struct ics *s);
/* After events.work: channels that broke, copies that ended. */
void ics_work(struct ics *s);

enum ic_state {
	IC_CLOSED,      /* the guest has not opened it */
	IC_OPEN,        /* nothing was said yet */
	IC_NEGOTIATING, /* versions are offered; its driver may wait for a daemon */
	IC_READY,
	IC_ALONE, /* no version in common, or too many mistakes: until the guest opens it again */
	IC_STATES
};
extern const char *const ic_states[]; /* by enum ic_state */
extern const char *const ic_applications[];

struct ic_report {
	unsigned kind, state, application;
	bool on, there, frozen;
	uint64_t version, framework;   /* major << 16 | minor; 0: not agreed on */
	uint64_t heartbeats, since_ms; /* answered in all; since the last one */
	uint64_t mistakes;             /* packets that made no sense */
};
void ics_report(struct ics *s, enum ic_kind kind, struct ic_report *r);

/* --- What can be begun. -ENOTCONN: the guest has no driver for it; -EBUSY: one of its kind is under way ---
 */

enum ic_shutdown_kind { IC_POWER_OFF, IC_REBOOT, IC_HIBERNATE };
extern const char *const ic_shutdown_kinds[];
enum { IC_REASON = 1023 }; /* bytes of text */
int ic_shutdown(struct ics *s, enum ic_shutdown_kind kind, bool force, const char *reason, struct err *e);

/* The guest's clock is set to the host's. */
int ic_time_sync(struct ics *s, struct err *e);

/*
 * Facts: keys and values by pool. The host's own (KVP_EXTERNAL, KVP_HOST) are kept here, and told to the
 * guest whenever it begins to listen. The guest's are what was read last: its own (KVP_GUEST), and what its
 * driver says of it (KVP_INTRINSIC).
 */
enum kvp_pool { KVP_EXTERNAL, KVP_GUEST, KVP_INTRINSIC, KVP_HOST, KVP_POOLS };
extern const char *const kvp_pools[];
enum { KVP_KEY = 255 * 3, KVP_VALUE = 1023 * 3, KVP_ITEMS = 128 /* of a pool */ };
struct kvp_item {
	char key[KVP_KEY + 1], value[KVP_VALUE + 1]; /* clean UTF-8 */
	bool told;                                   /* the host's: the guest has it */
};
/* Items from number `from` on: at most cap in out, how many there are in *total. Returns how many. */
size_t ic_kvp_list(
    struct ics *s, enum kvp_pool pool, size_t from, struct kvp_item *out, size_t cap, size_t *total);
int ic_kvp_get(struct ics *s, enum kvp_pool pool, const char *key, struct kvp_item *out, struct err *e);
/* The host's pools. -ENOSPC, -ENOENT, -EINVAL. */
int ic_kvp_set(
    struct ics *s, enum kvp_pool pool, const char *key, const char *value, bool *changed, struct err *e);
int ic_kvp_delete(struct ics *s, enum kvp_pool pool, const char *key, bool *changed, struct err *e);
/* The guest's pools are read. */
int ic_kvp_refresh(struct ics *s, struct err *e);

enum { IP_ADAPTER = 127, IP_TEXT = 1023 };
struct ic_ip {
	char adapter[IP_ADAPTER * 3 + 1];
	unsigned family; /* 0: IPv4, 1: IPv6 */
	bool dhcp;
	/* Lists, separated by semicolons. */
	char address[IP_TEXT * 3 + 1], mask[IP_TEXT * 3 + 1], gateway[IP_TEXT * 3 + 1], dns[IP_TEXT * 3 + 1];
};
int ic_ip_get(struct ics *s, const struct ic_ip *ip, struct err *e);
int ic_ip_set(struct ics *s, const struct ic_ip *ip, struct err *e);
/* What the last ic_ip_get has brought. */
void ic_ip_result(struct ics *s, struct ic_ip *ip);

/* The guest's file systems stand still from IC_OP_FREEZE's end until ic_thaw or `seconds` later; IC_OP_THAW
 * tells either. */
int ic_freeze(struct ics *s, unsigned seconds, struct err *e);
int ic_thaw(struct ics *s, struct err *e);

enum { COPY_NAME = 259 };
struct ic_copy {
	int fd;                                                /* a file, for reading */
	char name[COPY_NAME * 3 + 1], path[COPY_NAME * 3 + 1]; /* in the guest */
	bool overwrite, make_path;
};
/* Takes c->fd over in any case. */
int ic_copy(struct ics *s, const struct ic_copy *c, struct err *e);
int ic_copy_cancel(struct ics *s, struct err *e);

#endif
