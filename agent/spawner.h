/*
 * agent/spawner.h - the agent's side of fh-spawn (agent/spawn/spawn.h): who starts workers and knows how
 * they ended.
 *
 * It connects when first needed, and again when fh-spawn was restarted. Any thread. What takes its time (a
 * start, an end) is asked about again and again, each time for a moment: nobody waits for another's worker.
 */
#ifndef AGENT_SPAWNER_H
#define AGENT_SPAWNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/guid.h"

enum { SPAWNER_WORDS = 1001 };

struct spawn_ending {
	bool known;                /* false: fh-spawn cannot be asked, or has never heard of it */
	char how[48];              /* "with exit status 1", "by signal 11", "" when that is not known */
	char words[SPAWNER_WORDS]; /* what it said last; may be "" */
};

struct spawn_client;
int spawner_new(struct spawn_client **out, const char *run, struct err *e);
void spawner_free(struct spawn_client *s);

/* Starts a worker; its socket can be connected to when this returns 0. -EEXIST: there is one; -ENODEV: this
 * host cannot run machines. */
int spawner_spawn(struct spawn_client *s, const uint8_t id[GUID_BYTES], uint64_t memory_mb, struct err *e);
/* Ends it if it still runs, tells how it ended, and has it forgotten. */
int spawner_end(
    struct spawn_client *s, const uint8_t id[GUID_BYTES], struct spawn_ending *how, struct err *e);
/* Has its control group take so much, as spawner_spawn would, or what it takes already. -ENOENT: there is no
 * such worker. */
int spawner_limit(struct spawn_client *s, const uint8_t id[GUID_BYTES], uint64_t memory_mb, struct err *e);
/* Calls fn for every worker that fh-spawn knows. */
int spawner_each(struct spawn_client *s, void (*fn)(void *arg, const uint8_t id[GUID_BYTES], bool running),
    void *arg, struct err *e);

#endif
