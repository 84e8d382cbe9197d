/* agent/spawner.c - asking fh-spawn. */
#include "agent/spawner.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/control.h"

enum { CALL_MS = 90000 }; /* a start may take 60 s (SPAWN_START_MS) */

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

int
spawner_spawn(struct spawn_client *s, const uint8_t id[GUID_BYTES], uint64_t memory_mb, struct err *e)
{
	json_t *params = id_params(id);

	json_object_set_new(params, "MemoryInMB", json_integer((json_int_t)memory_mb));
	return call(s, "spawn", params, NULL, e);
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

int
spawner_end(struct spawn_client *s, const uint8_t id[GUID_BYTES], struct spawn_ending *how, struct err *e)
{
	json_t *result;
	int rc = call(s, "end", id_params(id), &result, e);

	memset(how, 0, sizeof(*how));
	if (rc == 0)
		read_ending(result, how);
	json_decref(result);
	return rc;
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
