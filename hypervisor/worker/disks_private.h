/*
 * hypervisor/worker/disks_private.h - the machine's disks' inside: disks.c (units, news, all of them),
 * disks_live.c (another disk under a unit while its guest runs: children, merges).
 */
#ifndef HYPERVISOR_WORKER_DISKS_PRIVATE_H
#define HYPERVISOR_WORKER_DISKS_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "hypervisor/worker/disks.h"
#include "lib/rate.h"

enum { NEWS_MAX = 64 };

/* What a controller has to tell: by what the event calls it. */
enum news_kind {
	NEWS_FULL,
	NEWS_EJECTED,
	NEWS_SLOW,
	NEWS_FAILED,
	NEWS_REMOVED,
	NEWS_MERGED,
	NEWS_MERGE_ENDED,
	NEWS_KINDS
};

struct news {
	enum news_kind kind;
	unsigned controller, lun;
	int error;
	uint64_t number; /* NEWS_SLOW: IOPS; NEWS_FAILED: offset in bytes */
	enum disk_op op;
	const char *text; /* why, in words; NULL: what error says */
};

/* A unit as it was asked for. */
struct slot {
	bool used, leaving;
	struct unit unit; /* its file is the disk's, or -1 */
	struct disks *all;
	struct live_merge *merge;         /* disks_live.c; NULL: there is none */
	atomic_int logged[DISK_ZERO + 1]; /* log_once, for each kind of request that failed */
	/* Under the lock of all: */
	bool full;        /* it was told that there is no space; until the next retry */
	struct rate rate; /* of news that a guest can cause without end */
};

struct controller {
	struct io_loop *loop;
	struct storage *storage;
};

struct disks {
	struct control *control;
	struct partition *p; /* NULL: not created yet */
	unsigned controllers;
	struct controller controller[MACHINE_MAX_SCSI];
	struct slot slot[MACHINE_MAX_SCSI][STORAGE_UNITS];

	pthread_mutex_t lock; /* below */
	struct news news[NEWS_MAX];
	unsigned waiting;
	uint64_t lost;
	atomic_bool work; /* a controller wants its storage_work */
};

/* disks.c */
/* A unit that is there, and is not leaving. */
int disks_find(struct disks *d, uint64_t controller, uint64_t lun, struct slot **out, struct err *e);
void disks_send(struct disks *d, const struct news *n);

/* disks_live.c */
/* What merges have to tell, and what follows from it. */
void live_work(struct disks *d);
/* -EBUSY with words while a merge of the unit is under way. */
int live_busy(const struct slot *s, const char *what, struct err *e);
void live_report(const struct slot *s, struct unit_report *r);
/* Ends the unit's merge, if there is one; its disk is then what it was. No guest runs. */
void live_drop(struct slot *s);

#endif
