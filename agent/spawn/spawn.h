/*
 * agent/spawn/spawn.h - fh-spawn: the small privileged program that starts workers (fh-worker) and tells
 * how they ended.
 *
 * The agent asks it over RUN/spawn.sock (lib/control, mode 600). It believes the agent nothing but a GUID
 * and a size: user, group, control group, paths and program follow from those and its own command line.
 * For the machine with GUID there are
 *
 *   RUN/workers/GUID.sock   the worker's control socket, made by the worker
 *   RUN/workers/GUID.log    a FIFO that is the worker's standard error, owned by the worker's user
 *   CGROUP/GUID/            the worker's control group, with its memory.max and pids.max
 *
 * Nothing else is kept, so that a restarted fh-spawn finds all its workers again: workers belong to
 * nobody and go on; the FIFO keeps what they say meanwhile. How one ended that is not its own child cannot
 * be known then, what it said last can.
 *
 * When a worker has ended, whatever is left in its control group is killed, and the group removed, before the
 * end is told and before the machine can be started again.
 *
 * One thread, which waits for nobody: "spawn" only begins a start, and "ready" is asked until it has come to
 * something; "end" is asked again until it has ended. A worker that hangs holds up no other.
 */
#ifndef AGENT_SPAWN_SPAWN_H
#define AGENT_SPAWN_SPAWN_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/control.h"
#include "lib/err.h"
#include "lib/guid.h"
#include "lib/rate.h"

enum {
	SPAWN_MAX = 1024,         /* workers, ended ones that nobody has asked about included */
	SPAWN_FIRST_UID = 100000, /* users of workers: from here ... */
	SPAWN_UIDS = 65536,       /* ... this many */
	SPAWN_STARTS = 16,        /* under way at once */
	SPAWN_START_MS = 60000,
	SPAWN_END_MS =
	    10000, /* for a control group to become empty; then it is left behind, and that is logged */
	SPAWN_LOOK_MS = 20,     /* until then it is looked at so often, */
	SPAWN_END_WAIT_MS = 20, /* and so long an "end" waits for a process that was killed */
	SPAWN_OVERHEAD_MB = 96, /* a worker's memory beside its guest's, and 1/64 of that for page tables */
	SPAWN_PIDS = 256,       /* threads: 64 processors, the rest is room */
	SPAWN_WORDS = 1000,     /* bytes of last words that are kept */
};

enum ending { ENDING_NONE, ENDING_EXIT, ENDING_SIGNAL, ENDING_UNKNOWN };
extern const char *const ending_names[]; /* "Running", "Exit", "Signal", "Unknown", NULL */

enum child_state {
	CHILD_STARTING, /* its first process has still to say whether the worker is ready */
	CHILD_RUNS,
	CHILD_LEAVING, /* it has ended, or did not start; its control group is not empty yet */
	CHILD_ENDED,
};

struct child {
	enum child_state state;
	pid_t first; /* STARTING: the first process, and */
	int first_fd;
	int64_t until_ms; /* STARTING, LEAVING: when that is given up (CLOCK_MONOTONIC) */
	struct err why;   /* why it did not start; code 0: it did */
	uint8_t id[GUID_BYTES];
	char name[GUID_TEXT + 1]; /* id as text */
	pid_t pid;
	int pidfd; /* -1: does not run */
	int log_fd;
	uid_t uid;
	enum ending ending;
	int status; /* exit status or signal */
	char words[SPAWN_WORDS];
	size_t words_len;
	struct rate rate; /* of its lines that go to our own log */
};

struct spawner {
	const char *run, *worker, *cgroup;
	struct control *control; /* NULL: nobody to tell (tests) */
	struct child *child[SPAWN_MAX];
	size_t children;
};

/* --- cgroup.c: CGROUP/NAME; no state of its own ---------------------------------------------------- */

/* Makes the parent of all and lets it hand out memory and pids. */
int cgroup_prepare(const char *parent, struct err *e);
/* Ends what is left of an earlier one. -EBUSY: it cannot be ended. */
int cgroup_make(const char *parent, const char *name, uint64_t memory_mb, struct err *e);
/* Its memory.max: memory_mb for the guest, and the worker's own. It is never made smaller, which could kill
 * the worker. */
int cgroup_raise(const char *parent, const char *name, uint64_t memory_mb, struct err *e);
/* The process in it (the first), or 0. */
pid_t cgroup_pid(const char *parent, const char *name);
/* All that is in it. */
void cgroup_kill(const char *parent, const char *name);
/* False while there are processes in it: a group is busy for a moment after its last one has ended. */
bool cgroup_remove(const char *parent, const char *name);

/* --- children.c ------------------------------------------------------------------------------------- */

/* Makes RUN/workers, finds running workers again, removes what ended ones left behind. */
int children_find(struct spawner *s, struct err *e);
/* Lets go of all; they go on. */
void children_free(struct spawner *s);
struct child *children_get(struct spawner *s, const uint8_t id[GUID_BYTES]);
/*
 * Begins: *out is STARTING. -EEXIST: it runs already; -EAGAIN: too many are starting, or it is still leaving.
 * When it did not start, it becomes ENDED with `why`: ENODEV when this host cannot run workers; the sentence
 * is the worker's own.
 */
int children_start(
    struct spawner *s, const uint8_t id[GUID_BYTES], uint64_t memory_mb, struct child **out, struct err *e);
/* Has it ended if it has not; soon after it is ENDED, and stays in the table with its ending. */
void children_end(struct spawner *s, struct child *c);
void children_forget(struct spawner *s, struct child *c);
/* Its log, its first process's end or its own has come (POLLIN on log_fd, first_fd, pidfd). */
void children_log(struct child *c);
void children_started(struct spawner *s, struct child *c);
void children_ended(struct spawner *s, struct child *c);
/* What time has brought: starts that are given up, control groups that have become empty. Milliseconds until
 * it is to be called again, or -1. */
int children_tend(struct spawner *s);
/* What it said last as one line; out has SPAWN_WORDS + 1 bytes. */
void children_words(const struct child *c, char *out);
/* The user that belongs to id, next to those in use. */
uid_t children_uid(const struct spawner *s, const uint8_t id[GUID_BYTES]);

/* --- requests.c ------------------------------------------------------------------------------------- */

extern const struct method spawn_methods[];

/* --- loop.c ----------------------------------------------------------------------------------------- */

/* Listens on RUN/spawn.sock, in place of what may be there. */
int spawn_listen(struct spawner *s, struct err *e);
/* Waits for something and deals with it; returns after timeout_ms at the latest. */
void spawn_step(struct spawner *s, int timeout_ms);

#endif
