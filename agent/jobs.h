/*
 * agent/jobs.h - long work: started by a call, done by a thread of its own, told by job.get and events.
 *
 * A job is a file in DATA/system/jobs/, written when it is made, when it begins and when it ends; so it
 * outlives its client and the agent. A job that was there when the agent ended is RESTARTED at the next
 * start, and its method's undo takes back what half of it left. At most JOBS_RUNNING at once, half of them of
 * one user, others wait their turn; JOBS_MAX unfinished ones, JOBS_OF_USER of one user. Of the finished the
 * last JOBS_KEPT stay. Any thread.
 */
#ifndef AGENT_JOBS_H
#define AGENT_JOBS_H

#include <jansson.h>
#include <stdbool.h>

#include "agent/identity.h"

enum { JOB_ID_SIZE = 24, JOBS_RUNNING = 32, JOBS_OF_USER = 96, JOBS_MAX = 128, JOBS_KEPT = 200 };
/* As CIM names them. ShuttingDown: somebody has cancelled it; Terminated: it gave up. */
enum job_state { JOB_NEW, JOB_RUNNING, JOB_SHUTTING_DOWN, JOB_COMPLETED, JOB_TERMINATED, JOB_EXCEPTION };
extern const char *const job_states[];

struct jobs;
/* Reads what there is; undoes what was under way. Machines and host must be there already. */
int jobs_new(struct jobs **out, struct agent *a, const char *folder, size_t keep, struct err *e);
/* Cancels what runs and waits for it. */
void jobs_stop(struct jobs *js);
void jobs_free(struct jobs *js);

/* path: what it touches, "/vm/GUID" or "/"; who may see it depends on that, and whether who may do it still
 * when its turn comes. id is filled in. */
int jobs_start(struct jobs *js, const struct rpc_method *m, const json_t *params, const struct identity *who,
    const char *path, char id[JOB_ID_SIZE], struct fault *f);
/*
 * {job, method, user, path, state, phase, done, total, unit, created, started?, finished?, result?, error?}:
 * a new reference, or NULL when there is none of this id. Waits until it has ended, at most timeout_ms.
 */
json_t *jobs_get(struct jobs *js, const char *id, unsigned timeout_ms);
/* All, the newest first, without results: a new reference to a list. */
json_t *jobs_list(struct jobs *js);
/* 1: asked to end; 0: it had ended; negative with *f. */
int jobs_cancel(struct jobs *js, const char *id, struct fault *f);

#endif
