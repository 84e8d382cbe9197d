/* agent/spawner.c - asking fh-spawn. */
#include "agent/spawner.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/control.h"

enum {
	CALL_MS = 10000,
	START_MS = 90000, /* fh-spawn gives a worker 60 s (SPAWN_START_MS), and some for others' starts */
	END_MS = 15000,   /* more than SPAWN_END_MS */
	PAUSE_FIRST_MS = 2,
	PAUSE_MS = 20,
};

struct spawn_client {
	pthread_mutex_t lock;
	struct control_client *c; /* NULL: not connected */
	char path[PATH_MAX];
};

int
spawner_new(struct spawn_client **out, const char *run, struct err *e)
{
	struct spawn_client *s = calloc(1, sizeof(*s));

	*out = s;
	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	pthread_mutex_init(&s->lock, NULL);
	snprintf(s->path, sizeof(s->path), "%.*s/spawn.sock", PATH_MAX - 16, run);
	return 0;
}

void
spawner_free(struct spawn_client *s)
{
	if (!s)
		return;
	control_close(s->c);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static int
connected(struct spawn_client *s, struct err *e)
{
	int rc = s->c ? 0 : control_connect(&s->c, s->path, e);

	return rc < 0 ? err_wrap(e, rc, "fh-spawn cannot be reached") : 0;
}

/* Its events are not waited for: whoever holds a worker's connection sees it end. */
static void
drop_events(struct spawn_client *s)
{
	json_t *event;
	struct err e;

	while ((event = control_next_event(s->c, 0, &e)))
		json_decref(event);
}

static bool
lost(int rc)
{
	return rc == -ECONNRESET || rc == -EPIPE || rc == -ENOTCONN;
}

/* One more try on a new connection: fh-spawn may have been restarted since the last call. */
static int
call(struct spawn_client *s, const char *method, json_t *params, json_t **result, struct err *e)
{
	int rc = -ECONNRESET;

	if (result)
		*result = NULL;
	pthread_mutex_lock(&s->lock);
	for (int i = 0; i < 2 && lost(rc); i++) {
		rc = connected(s, e);
		if (rc < 0)
			break;
		drop_events(s);
		rc = control_call(s->c, method, json_incref(params), NULL, 0, CALL_MS, result, e);
		if (lost(rc) || rc == -ETIMEDOUT) {
			control_close(s->c);
			s->c = NULL;
		}
	}
	pthread_mutex_unlock(&s->lock);
	json_decref(params);
	return rc;
}

static json_t *
id_params(const uint8_t id[GUID_BYTES])
{
	char guid[GUID_TEXT + 1];

	guid_format(id, guid);
	return json_pack("{s:s}", "Id", guid);
}

/* Until something is so that is asked about again and again. */
struct patience {
	int64_t until_ms;
	unsigned pause_ms;
};

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static struct patience
patience(int ms)
{
	return (struct patience){ .until_ms = now_ms() + ms, .pause_ms = PAUSE_FIRST_MS };
}

/* False when it has lasted too long. */
static bool
wait_more(struct patience *p)
{
	if (now_ms() >= p->until_ms)
		return false;
	usleep(p->pause_ms * 1000);
	p->pause_ms = p->pause_ms * 2 < PAUSE_MS ? p->pause_ms * 2 : PAUSE_MS;
	return true;
}

static int
wait_ready(struct spawn_client *s, const uint8_t id[GUID_BYTES], struct patience *p, struct err *e)
{
	bool ready = false;
	json_t *result;
	int rc;

	do {
		rc = call(s, "ready", id_params(id), &result, e);
		ready = json_is_true(json_object_get(result, "Ready"));
		json_decref(result);
	} while (rc == 0 && !ready && wait_more(p));
	if (rc == 0 && !ready)
		rc = err_set(e, ETIMEDOUT, "fh-spawn does not say what becomes of the worker");
	return rc;
}

int
spawner_spawn(struct spawn_client *s, const uint8_t id[GUID_BYTES], uint64_t memory_mb, struct err *e)
{
	struct patience p = patience(START_MS);
	json_t *params = id_params(id);
	int rc;

	json_object_set_new(params, "MemoryInMB", json_integer((json_int_t)memory_mb));
	do
		rc = call(s, "spawn", json_incref(params), NULL, e);
	while (rc == -EAGAIN && wait_more(&p));
	json_decref(params);
	return rc < 0 ? rc : wait_ready(s, id, &p, e);
}

static void
read_ending(const json_t *result, struct spawn_ending *how)
{
	const char *ending = json_string_value(json_object_get(result, "Ending"));
	const char *words = json_string_value(json_object_get(result, "LastWords"));
	long long status = json_integer_value(json_object_get(result, "Status"));

	how->known = true;
	snprintf(how->words, sizeof(how->words), "%s", words ? words : "");
	if (ending && strcmp(ending, "Exit") == 0)
		snprintf(how->how, sizeof(how->how), "with exit status %lld", status);
	else if (ending && strcmp(ending, "Signal") == 0)
		snprintf(how->how, sizeof(how->how), "by signal %lld", status);
}

static bool
still_runs(const json_t *result)
{
	const char *ending = json_string_value(json_object_get(result, "Ending"));

	return ending && strcmp(ending, "Running") == 0;
}

int
spawner_end(struct spawn_client *s, const uint8_t id[GUID_BYTES], struct spawn_ending *how, struct err *e)
{
	struct patience p = patience(END_MS);
	bool runs;
	int rc;

	memset(how, 0, sizeof(*how));
	do {
		json_t *result;

		rc = call(s, "end", id_params(id), &result, e);
		runs = rc == 0 && still_runs(result);
		if (rc == 0 && !runs)
			read_ending(result, how);
		json_decref(result);
	} while (runs && wait_more(&p));
	return runs ? err_set(e, ETIMEDOUT, "the worker does not end") : rc;
}

int
spawner_limit(struct spawn_client *s, const uint8_t id[GUID_BYTES], uint64_t memory_mb, struct err *e)
{
	json_t *params = id_params(id);

	json_object_set_new(params, "MemoryInMB", json_integer((json_int_t)memory_mb));
	return call(s, "limit", params, NULL, e);
}

int
spawner_each(struct spawn_client *s, void (*fn)(void *arg, const uint8_t id[GUID_BYTES], bool running),
    void *arg, struct err *e)
{
	uint8_t id[GUID_BYTES];
	json_t *result, *row;
	size_t i;
	int rc = call(s, "list", NULL, &result, e);

	json_array_foreach(json_object_get(result, "Workers"), i, row)
	{
		const char *guid = json_string_value(json_object_get(row, "Id"));

		if (guid && guid_parse(guid, id))
			fn(arg, id, json_is_true(json_object_get(row, "Running")));
	}
	json_decref(result);
	return rc;
}
