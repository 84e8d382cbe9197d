/*
 * agent/pool.h - the threads that carry out calls, so that no call holds up a carrier or, for long, another.
 *
 * Four lanes: normal calls (4 threads), urgent ones (2 threads of their own; the normal ones help), passwords
 * (1 thread, since checking one is made slow), and calls that wait for a job or a machine (a thread each,
 * bounded). Queues are bounded; what does not fit is refused at once. Any thread.
 */
#ifndef AGENT_POOL_H
#define AGENT_POOL_H

#include <stdbool.h>

enum lane { LANE_NORMAL, LANE_PRIORITY, LANE_LOGIN, LANE_WAIT, LANES };
enum { POOL_NORMAL = 4, POOL_PRIORITY = 2, POOL_WAITING = 64, POOL_QUEUE = 512, POOL_LOGIN_QUEUE = 64 };

struct task {
	struct task *next;
	void (*run)(struct task *t); /* on one of the pool's threads; the task is its own from then on */
};

struct pool;
/* NULL when there are no threads to be had. */
struct pool *pool_new(void);
/* False when the lane is full or the pool is being stopped. */
bool pool_submit(struct pool *p, enum lane lane, struct task *t);
/* Carries out what is queued and waits for it. pool_submit is refused from then on. */
void pool_stop(struct pool *p);
/* After pool_stop. */
void pool_free(struct pool *p);

#endif
