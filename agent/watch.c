/*
 * agent/watch.c - the list of those who are watched.
 */
#include "agent/watch.h"

#include <pthread.h>
#include <stdlib.h>

struct watch {
	pthread_mutex_t lock;
	struct watched *first;
};

struct watch *
watch_new(void)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (w)
		pthread_mutex_init(&w->lock, NULL);
	return w;
}

void
watch_free(struct watch *w)
{
	if (w)
		pthread_mutex_destroy(&w->lock);
	free(w);
}

void
watch_add(struct watch *w, struct watched *one)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	one->next = w->first;
	one->at = &w->first;
	if (one->next)
		one->next->at = &one->next;
	w->first = one;
	pthread_mutex_unlock(&w->lock);
}

void
watch_drop(struct watch *w, struct watched *one)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	if (one->at) {
		*one->at = one->next;
		if (one->next)
			one->next->at = one->at;
	}
	one->at = NULL;
	pthread_mutex_unlock(&w->lock);
}

bool
watch_look(struct watch *w)
{
	bool left = false;

	if (!w)
		return false;
	pthread_mutex_lock(&w->lock);
	for (struct watched *one = w->first; one; one = one->next)
		left = one->look(one) || left;
	pthread_mutex_unlock(&w->lock);
	return left;
}
