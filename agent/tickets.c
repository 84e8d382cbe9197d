/*
 * agent/tickets.c - tickets for streams.
 */
#include "agent/tickets.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/secret.h"

struct ticket {
	char hash[SECRET_HASH_SIZE]; /* "": free */
	struct stream_rights rights;
	uint64_t expires_ms;
	int fd;
};

struct tickets {
	pthread_mutex_t lock;
	uint64_t (*now_ms)(void);
	struct ticket ticket[TICKETS_MAX];
};

static uint64_t
monotonic_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

struct tickets *
tickets_new(void)
{
	struct tickets *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	pthread_mutex_init(&t->lock, NULL);
	t->now_ms = monotonic_ms;
	return t;
}

static void
drop(struct ticket *k)
{
	if (k->hash[0])
		close(k->fd);
	*k = (struct ticket){ 0 };
}

void
tickets_free(struct tickets *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < TICKETS_MAX; i++)
		drop(&t->ticket[i]);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

void
tickets_set_clock(struct tickets *t, uint64_t (*now_ms)(void))
{
	t->now_ms = now_ms;
}

static struct ticket *
place_for(struct tickets *t, const char *user)
{
	struct ticket *oldest = NULL;
	size_t count = 0;

	for (size_t i = 0; i < TICKETS_MAX; i++)
		count += t->ticket[i].hash[0] && strcmp(t->ticket[i].rights.who.user, user) == 0;
	for (size_t i = 0; i < TICKETS_MAX; i++) {
		struct ticket *k = &t->ticket[i];
		bool counts = count < TICKETS_OF_USER || strcmp(k->rights.who.user, user) == 0;

		if (counts && (!oldest || k->expires_ms < oldest->expires_ms))
			oldest = k; /* free ones have 0 */
	}
	return oldest;
}

void
tickets_add(struct tickets *t, const struct stream_rights *r, int fd, char text[TICKET_SIZE])
{
	struct ticket *k;

	secret_new(text);
	pthread_mutex_lock(&t->lock);
	k = place_for(t, r->who.user);
	drop(k);
	secret_hash(text, strlen(text), k->hash);
	k->rights = *r;
	k->expires_ms = t->now_ms() + TICKET_MS;
	k->fd = fd;
	pthread_mutex_unlock(&t->lock);
}

static bool
is_for(const struct ticket *k, const struct identity *who)
{
	if (who->user[0])
		return strcmp(who->user, k->rights.who.user) == 0;
	return strcmp(who->source, k->rights.who.source) == 0;
}

int
tickets_take(
    struct tickets *t, const char *text, const struct identity *who, struct stream_rights *r, struct fault *f)
{
	char hash[SECRET_HASH_SIZE];
	int fd = -1;

	*r = (struct stream_rights){ 0 };
	secret_hash(text, strlen(text), hash);
	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < TICKETS_MAX; i++) {
		struct ticket *k = &t->ticket[i];

		if (!k->hash[0] || !secret_same(k->hash, hash))
			continue;
		if (k->expires_ms > t->now_ms() && is_for(k, who)) {
			fd = k->fd;
			*r = k->rights;
			k->hash[0] = '\0';
		}
		drop(k);
		break;
	}
	pthread_mutex_unlock(&t->lock);
	if (fd < 0)
		fault_set(f, FAULT_TICKET_INVALID, NULL,
		    "Ask for a new one: each can be used once, within 30 s.",
		    "the ticket was used, has expired, or is another user's");
	return fd;
}

bool
tickets_look(struct tickets *t, bool (*may)(void *arg, struct stream_rights *r), void *arg)
{
	bool left = false;

	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < TICKETS_MAX; i++) {
		struct ticket *k = &t->ticket[i];

		if (k->hash[0] && !may(arg, &k->rights))
			drop(k);
		left = left || k->hash[0];
	}
	pthread_mutex_unlock(&t->lock);
	return left;
}

int
tickets_expire(struct tickets *t)
{
	uint64_t now = t->now_ms(), next = UINT64_MAX;

	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < TICKETS_MAX; i++) {
		struct ticket *k = &t->ticket[i];

		if (k->hash[0] && k->expires_ms <= now)
			drop(k);
		else if (k->hash[0] && k->expires_ms - now < next)
			next = k->expires_ms - now;
	}
	pthread_mutex_unlock(&t->lock);
	return next == UINT64_MAX ? -1 : (int)next;
}
