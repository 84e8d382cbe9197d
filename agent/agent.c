/*
 * agent/agent.c - the agent as a whole: parts are started in order and ended in the opposite one.
 *
 * A thread of its own takes away tickets and request ids that have expired; it sleeps while there are none.
 */
#include "agent/agent.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/audit.h"
#include "agent/carriers.h"
#include "agent/events.h"
#include "agent/identity.h"
#include "agent/jobs.h"
#include "agent/login.h"
#include "agent/pool.h"
#include "agent/requests.h"
#include "agent/tickets.h"
#include "agent/tokens.h"
#include "agent/uploads.h"
#include "agent/users.h"
#include "agent/watch.h"
#include "lib/file.h"

enum { PATH_SIZE = 256, HOUSEKEEPING_MS = 3600 * 1000, LOOK_MS = 900 };

/* The caretaker: what the parts do not do by themselves. While rights can be lost it looks about once a
 * second: they also go with time, and with files that somebody edits. */
struct caretaker {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool running, stop, poked;
};

static void
path_of(const struct agent *a, const char *below, char out[PATH_SIZE])
{
	snprintf(out, PATH_SIZE, "%s/%s", a->o.data, below);
}

/* Sleeps until something expires, a new ticket is there, or the end. */
static bool
rest(struct caretaker *k, int ms)
{
	struct timespec until;
	bool stop;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000 + 1;
	pthread_mutex_lock(&k->lock);
	while (!k->stop && !k->poked)
		if (pthread_cond_timedwait(&k->wake, &k->lock, &until) == ETIMEDOUT)
			break;
	k->poked = false;
	stop = k->stop;
	pthread_mutex_unlock(&k->lock);
	return !stop;
}

static bool
may_stream(void *arg, struct stream_rights *r)
{
	return login_holds(arg, &r->who, r->role, r->path);
}

/* Whether there is anything left to lose. */
static bool
look(struct agent *a)
{
	bool watched = watch_look(a->watch);

	return tickets_look(a->tickets, may_stream, a) || watched;
}

void
agent_rights_changed(struct agent *a)
{
	look(a);
}

static void *
take_care(void *arg)
{
	struct agent *a = arg;
	int ms;

	do {
		ms = tickets_expire(a->tickets);
		requests_expire(a->requests);
		if (look(a))
			ms = LOOK_MS;
	} while (rest(a->caretaker, ms < 0 ? HOUSEKEEPING_MS : ms));
	return NULL;
}

static int
start_caretaker(struct agent *a, struct err *e)
{
	struct caretaker *k = calloc(1, sizeof(*k));
	pthread_condattr_t attr;

	if (!k)
		return err_set(e, ENOMEM, "out of memory");
	pthread_mutex_init(&k->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&k->wake, &attr);
	pthread_condattr_destroy(&attr);
	a->caretaker = k;
	if (pthread_create(&k->thread, NULL, take_care, a) != 0)
		return err_set(e, EAGAIN, "no thread to be had");
	k->running = true;
	return 0;
}

static void
stop_caretaker(struct agent *a)
{
	struct caretaker *k = a->caretaker;

	if (!k)
		return;
	pthread_mutex_lock(&k->lock);
	k->stop = true;
	pthread_cond_signal(&k->wake);
	pthread_mutex_unlock(&k->lock);
	if (k->running)
		pthread_join(k->thread, NULL);
	pthread_mutex_destroy(&k->lock);
	pthread_cond_destroy(&k->wake);
	free(k);
	a->caretaker = NULL;
}

void
agent_rights_given(struct agent *a)
{
	struct caretaker *k = a->caretaker;

	if (!k)
		return;
	pthread_mutex_lock(&k->lock);
	k->poked = true;
	pthread_cond_signal(&k->wake);
	pthread_mutex_unlock(&k->lock);
}

int
ticket_new(const struct call *c, int fd, char ticket[TICKET_SIZE], struct err *e)
{
	struct stream_rights r = { .who = *c->who, .role = c->method->role };

	if (fd < 0)
		return err_set(e, EBADF, "there is nothing to give a ticket for");
	snprintf(r.path, sizeof(r.path), "%s", c->path);
	tickets_add(c->agent->tickets, &r, fd, ticket);
	agent_rights_given(c->agent);
	return 0;
}

void
event_publish(struct agent *a, const char *type, json_t *data)
{
	const char *id = json_string_value(json_object_get(data, "id"));
	char path[SCOPE_SIZE] = "/";

	if (strncmp(type, "vm.", 3) == 0 && id)
		snprintf(path, sizeof(path), "/vm/%.40s", id);
	events_publish(a->events, type, path, data);
}

static int
start_files(struct agent *a, struct err *e)
{
	char path[PATH_SIZE];
	int rc;

	path_of(a, "log", path);
	rc = audit_new(&a->audit, path, 0, e);
	if (rc < 0)
		return rc;
	path_of(a, "system/requests", path);
	rc = requests_new(&a->requests, path, e);
	if (rc < 0)
		return rc;
	path_of(a, "system/tokens.json", path);
	rc = tokens_new(&a->tokens, path, e);
	if (rc < 0)
		return rc;
	path_of(a, "system/roles.json", path);
	return users_new(&a->users, a->o.etc, path, e);
}

static int
start_memory(struct agent *a, struct err *e)
{
	a->events = events_new(a->o.ring);
	a->tickets = tickets_new();
	a->watch = watch_new();
	a->login = login_new();
	a->pool = pool_new();
	if (!a->events || !a->tickets || !a->watch || !a->login || !a->pool)
		return err_set(e, ENOMEM, "out of memory or threads");
	return start_caretaker(a, e);
}

/* Rooms before jobs, which may have to undo something in them; the network last. */
static int
start_rooms(struct agent *a, struct err *e)
{
	char path[PATH_SIZE];
	int rc;

	rc = agent_vm_start(a, e);
	if (rc < 0)
		return rc;
	a->has_vm = true;
	rc = uploads_new(&a->uploads, a, e);
	if (rc < 0)
		return rc;
	path_of(a, "system/jobs", path);
	rc = jobs_new(&a->jobs, a, path, a->o.job_keep, e);
	if (rc < 0)
		return rc;
	rc = agent_host_start(a, e);
	if (rc < 0)
		return rc;
	a->has_host = true;
	if (a->o.remote)
		rc = carriers_remote(a, true, e);
	return rc < 0 ? rc : carriers_start(a, e);
}

int
agent_start(struct agent **out, const struct agent_options *o, struct err *e)
{
	struct agent *a = calloc(1, sizeof(*a));
	int rc;

	*out = NULL;
	if (!a)
		return err_set(e, ENOMEM, "out of memory");
	a->o = *o;
	rc = start_files(a, e);
	if (rc == 0)
		rc = start_memory(a, e);
	if (rc == 0)
		rc = carriers_new(a, e);
	if (rc == 0)
		rc = start_rooms(a, e);
	if (rc < 0) {
		agent_stop(a);
		return rc;
	}
	*out = a;
	return 0;
}

void
agent_stop(struct agent *a)
{
	if (!a)
		return;
	if (a->jobs)
		jobs_stop(a->jobs); /* first: whoever waits for one gets its answer */
	if (a->pool)
		pool_stop(a->pool); /* answers go out through the carriers */
	uploads_stop(a->uploads);
	if (a->carriers)
		carriers_stop(a);
	if (a->has_host)
		agent_host_stop(a);
	if (a->has_vm)
		agent_vm_stop(a);
	carriers_free(a);
	stop_caretaker(a);
	uploads_free(a->uploads);
	if (a->pool)
		pool_free(a->pool);
	jobs_free(a->jobs);
	login_free(a->login);
	users_free(a->users);
	tokens_free(a->tokens);
	tickets_free(a->tickets);
	watch_free(a->watch);
	events_free(a->events);
	requests_free(a->requests);
	audit_free(a->audit);
	free(a);
}
