/*
 * agent/vm.h - the machines room: what the agent knows of each machine, and who may touch it when.
 *
 * A machine (struct vm) has one lock, held for moments: to read, to change a state, to write its vm.json.
 * Nobody waits for a worker with it. Its keeper (vm_keeper.c), a thread that lives as long as its worker, is
 * the only one who talks to that worker. Machines are counted: who has found one (inventory_find) puts it
 * back (vm_put); a deleted one lives on as `gone` until the last has let go.
 *
 * Locks, in the order they may be taken: machines.lock, vm.lock, then those of consoles and spawner, which
 * are taken last and alone.
 */
#ifndef AGENT_VM_H
#define AGENT_VM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "agent/agent.h"
#include "agent/vm_config.h"
#include "agent/vm_guest.h"
#include "lib/err.h"

struct console;
struct consoles;
struct spawn_client;
struct vm_keeper;

enum vm_state {
	VM_OFF,
	VM_STARTING,
	VM_RUNNING,
	VM_PAUSED,
	VM_STOPPING,
	VM_SAVED,
	VM_CRITICAL, /* its vm.json cannot be used, or its worker's processors cannot go on */
	VM_STATES
};
extern const char *const vm_state_names[]; /* "Off", ..., NULL */

/* Which vm.json was read last: it may be edited by hand. */
struct vm_mark {
	struct timespec mtime;
	off_t size;
	ino_t inode;
};

struct vm {
	atomic_uint refs;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* of state, or a keeper's command is done */
	/* The rest belongs to lock; name, gone and config.id change with machines.lock as well. */
	char name[VM_NAME_SIZE];
	bool gone;
	struct vm_config config;   /* the last good one; of a broken machine all that was found out */
	char broken[ERR_MSG_SIZE]; /* what is wrong with vm.json; "" when nothing is */
	bool misnamed;             /* its document has another name than its folder */
	struct vm_mark mark;
	enum vm_state state;
	char reason[ERR_MSG_SIZE]; /* why it is in that state; may be "" */
	uint64_t started_ms;       /* CLOCK_BOOTTIME of its start; 0: does not run */
	uint64_t panics, resets;
	uint64_t runs;            /* how often it has had a keeper: tells one run from the next */
	struct vm_keeper *keeper; /* NULL: has no worker */
	/* Its disks are being changed: its start, its end as a machine and other such changes wait
	 * (vm_disks.h). */
	bool disks_busy;
	uint64_t ejected[VM_MAX_CONTROLLERS]; /* by the guest, and not yet in its document: a bit a place */
	/* Taken from the worker, which has not closed their files yet. */
	uint64_t leaving[VM_MAX_CONTROLLERS];
	uint64_t claimed[VM_MAX_CONTROLLERS]; /* their images are being changed (disk_live.h) */
	struct {
		bool told;
		uint64_t controller, lun;
		char why[ERR_MSG_SIZE];
	} merge_end;                           /* what its worker said last of a merge that has ended */
	struct vm_guest guest;                 /* what it said of its guest; zeros when it has none */
	struct console *console[VM_COM_PORTS]; /* made when first needed, kept as long as the machine */
};

struct machines {
	struct agent *agent;
	char *vms;        /* DATA/vms */
	const char *data; /* DATA */
	const char *run;  /* RUN */
	pthread_mutex_t lock;
	struct vm **vm; /* sorted by name */
	size_t n, room;
	struct spawn_client *spawner;
	struct consoles *consoles;
	atomic_bool stopping;   /* the agent ends: keepers let go of their workers, which go on */
	atomic_bool going_down; /* the host ends: nothing starts, what is running stays marked as running */
	atomic_uint keepers;    /* threads */
	unsigned balance_ms;    /* memory_balance.h; tests have less patience */
	_Atomic uint64_t balance_due; /* when (vm_now_ms) */
	pthread_t starter;            /* automatic start */
	bool has_starter;
	/* event_publish, or a test's ear. Takes the reference of data. */
	void (*publish)(struct agent *a, const char *type, json_t *data);
};

struct vm *vm_get(struct vm *vm); /* one more reference */
void vm_put(struct vm *vm);       /* vm may be NULL */

#endif
