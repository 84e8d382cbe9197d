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
 * One thread. A request may take as long as a worker takes to start or end (SPAWN_START_MS, SPAWN_END_MS).
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
	SPAWN_START_MS = 60000,
	SPAWN_END_MS = 10000,
	SPAWN_OVERHEAD_MB = 96, /* a worker's memory beside its guest's, and 1/64 of that for page tables */
	SPAWN_PIDS = 256,       /* threads: 64 processors, the rest is room */
	SPAWN_WORDS = 1000,     /* bytes of last words that are kept */
};

enum ending { ENDING_NONE, ENDING_EXIT, ENDING_SIGNAL, ENDING_UNKNOWN };
extern const char *const ending_names[]; /* "Running", "Exit", "Signal", "Unknown", NULL */

struct child {
	uint8_t id[GUID_BYTES];
	char name[GUID_TEXT + 1]; /* id as text */
	pid_t pid;
	int pidfd; /* -1: it has ended */
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
int cgroup_make(const char *parent, const char *name, uint64_t memory_mb, struct err *e);
/* The process in it (the first), or 0. */
pid_t cgroup_pid(const char *parent, const char *name);
void cgroup_kill(const char *parent, const char *name);
void cgroup_remove(const char *parent, const char *name);

/* --- children.c ------------------------------------------------------------------------------------- */

/* Makes RUN/workers, finds running workers again, removes what ended ones left behind. */
int children_find(struct spawner *s, struct err *e);
/* Lets go of all; they go on. */
void children_free(struct spawner *s);
struct child *children_get(struct spawner *s, const uint8_t id[GUID_BYTES]);
/* -EEXIST: it runs already; -ENODEV: this host cannot run workers; the sentence is the worker's own. */
int children_start(
    struct spawner *s, const uint8_t id[GUID_BYTES], uint64_t memory_mb, struct child **out, struct err *e);
/* Ends it if it runs; it stays in the table with its ending. */
int children_end(struct spawner *s, struct child *c, struct err *e);
void children_forget(struct spawner *s, struct child *c);
/* Its log or its end has come (POLLIN on log_fd or pidfd). */
void children_log(struct child *c);
void children_ended(struct spawner *s, struct child *c);
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
