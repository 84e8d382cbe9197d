/*
 * agent/pool.c - lanes of tasks and the threads that serve them.
 */
#include "agent/pool.h"

#include <pthread.h>
#include <stdlib.h>

enum { THREADS = POOL_NORMAL + POOL_PRIORITY + 1 };

struct lane_queue {
	struct task *first, **last;
	unsigned length;
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work[LANE_WAIT]; /* for the threads of a lane */
	pthread_cond_t idle;            /* no thread of LANE_WAIT is left */
	struct lane_queue lane[LANE_WAIT];
	pthread_t thread[THREADS];
	unsigned threads, waiting;
	bool stopping;
};

struct server {
	struct pool *pool;
	enum lane lane;
};

static struct task *
take(struct lane_queue *q)
{
	struct task *t = q->first;

	if (!t)
		return NULL;
	q->first = t->next;
	if (!q->first)
		q->last = &q->first;
	q->length--;
	return t;
}

static struct task *
take_for(struct pool *p, enum lane lane)
{
	struct task *t = lane == LANE_NORMAL ? take(&p->lane[LANE_PRIORITY]) : NULL;

	return t ? t : take(&p->lane[lane]);
}

static void *
serve(void *arg)
{
	struct server s = *(struct server *)arg;
	struct pool *p = s.pool;

	free(arg);
	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct task *t = take_for(p, s.lane);

		if (!t && p->stopping)
			break;
		if (!t) {
			pthread_cond_wait(&p->work[s.lane], &p->lock);
			continue;
		}
		pthread_mutex_unlock(&p->lock);
		t->run(t);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static bool
start_thread(struct pool *p, enum lane lane)
{
	struct server *s = malloc(sizeof(*s));

	if (!s)
		return false;
	*s = (struct server){ .pool = p, .lane = lane };
	if (pthread_create(&p->thread[p->threads], NULL, serve, s) != 0) {
		free(s);
		return false;
	}
	p->threads++;
	return true;
}

struct pool *
pool_new(void)
{
	struct pool *p = calloc(1, sizeof(*p));
	bool ok = p != NULL;

	if (!p)
		return NULL;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->idle, NULL);
	for (enum lane i = 0; i < LANE_WAIT; i++) {
		pthread_cond_init(&p->work[i], NULL);
		p->lane[i].last = &p->lane[i].first;
	}
	for (int i = 0; ok && i < POOL_NORMAL; i++)
		ok = start_thread(p, LANE_NORMAL);
	for (int i = 0; ok && i < POOL_PRIORITY; i++)
		ok = start_thread(p, LANE_PRIORITY);
	if (!ok || !start_thread(p, LANE_LOGIN)) {
		pool_stop(p);
		pool_free(p);
		return NULL;
	}
	return p;
}

struct waiter {
	struct pool *pool;
	struct task *task;
};

static void *
wait_thread(void *arg)
{
	struct waiter w = *(struct waiter *)arg;

	free(arg);
	w.task->run(w.task);
	pthread_mutex_lock(&w.pool->lock);
	if (--w.pool->waiting == 0)
		pthread_cond_broadcast(&w.pool->idle);
	pthread_mutex_unlock(&w.pool->lock);
	return NULL;
}

static bool
start_waiter(struct pool *p, struct task *t)
{
	struct waiter *w;
	pthread_t thread;

	if (p->waiting == POOL_WAITING || !(w = malloc(sizeof(*w))))
		return false;
	*w = (struct waiter){ .pool = p, .task = t };
	if (pthread_create(&thread, NULL, wait_thread, w) != 0) {
		free(w);
		return false;
	}
	pthread_detach(thread);
	p->waiting++;
	return true;
}

static bool
enqueue(struct pool *p, enum lane lane, struct task *t)
{
	struct lane_queue *q = &p->lane[lane];

	if (q->length == (lane == LANE_LOGIN ? POOL_LOGIN_QUEUE : POOL_QUEUE))
		return false;
	t->next = NULL;
	*q->last = t;
	q->last = &t->next;
	q->length++;
	pthread_cond_signal(&p->work[lane]);
	if (lane == LANE_PRIORITY)
		pthread_cond_signal(&p->work[LANE_NORMAL]);
	return true;
}

bool
pool_submit(struct pool *p, enum lane lane, struct task *t)
{
	bool ok;

	pthread_mutex_lock(&p->lock);
	if (p->stopping)
		ok = false;
	else if (lane == LANE_WAIT)
		ok = start_waiter(p, t);
	else
		ok = enqueue(p, lane, t);
	pthread_mutex_unlock(&p->lock);
	return ok;
}

void
pool_stop(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	for (enum lane i = 0; i < LANE_WAIT; i++)
		pthread_cond_broadcast(&p->work[i]);
	while (p->waiting)
		pthread_cond_wait(&p->idle, &p->lock);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->threads; i++)
		pthread_join(p->thread[i], NULL);
	p->threads = 0;
}

void
pool_free(struct pool *p)
{
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->idle);
	for (enum lane i = 0; i < LANE_WAIT; i++)
		pthread_cond_destroy(&p->work[i]);
	free(p);
}
