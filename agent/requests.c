/*
 * agent/requests.c - one file for each change with an id. What is in memory is only who is there, since when.
 */
#include "agent/requests.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/identity.h"
#include "agent/secret.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/text.h"

enum { FOLDER_SIZE = 200, PATH_SIZE = FOLDER_SIZE + REQUEST_KEY_SIZE + 8 };

struct kept {
	char key[REQUEST_KEY_SIZE]; /* "": free */
	char user[USER_SIZE];
	time_t since;
	bool running;
};

struct requests {
	pthread_mutex_t lock;
	char folder[FOLDER_SIZE];
	struct kept kept[REQUESTS_MAX];
};

static void
file_of(const struct requests *r, const char *key, char path[PATH_SIZE])
{
	snprintf(path, PATH_SIZE, "%s/%s", r->folder, key);
}

static void
forget(struct requests *r, struct kept *k)
{
	char path[PATH_SIZE];
	struct err e = { 0 };

	file_of(r, k->key, path);
	if (file_remove(path, &e) < 0)
		log_msg(LOG_ERROR, "requests: %s", e.msg);
	*k = (struct kept){ 0 };
}

static size_t
count_of(const struct requests *r, const char *user)
{
	size_t n = 0;

	for (size_t i = 0; i < REQUESTS_MAX; i++)
		n += r->kept[i].key[0] && strcmp(r->kept[i].user, user) == 0;
	return n;
}

/* A free place; the oldest that is not under way makes room, one's own when one has many. NULL when all
 * are under way. */
static struct kept *
free_place(struct requests *r, const char *user)
{
	bool own = count_of(r, user) >= REQUESTS_OF_USER;
	struct kept *oldest = NULL;

	for (size_t i = 0; i < REQUESTS_MAX; i++) {
		struct kept *k = &r->kept[i];

		if (own && (!k->key[0] || strcmp(k->user, user) != 0))
			continue;
		if (!k->key[0])
			return k;
		if (!k->running && (!oldest || k->since < oldest->since))
			oldest = k;
	}
	if (oldest)
		forget(r, oldest);
	return oldest;
}

static struct kept *
find(struct requests *r, const char *key)
{
	for (size_t i = 0; i < REQUESTS_MAX; i++)
		if (strcmp(r->kept[i].key, key) == 0)
			return &r->kept[i];
	return NULL;
}

/* A time in the future (the clock was wrong) counts as now. */
static time_t
since_of(const json_t *doc)
{
	time_t now = time(NULL), since = (time_t)json_integer_value(json_object_get(doc, "Since"));

	return since > now ? now : since;
}

static void
load_one(struct requests *r, const char *name)
{
	struct kept found = { 0 }, *place;
	char path[PATH_SIZE];
	const char *user;
	json_t *doc;

	if (strlen(name) != REQUEST_KEY_SIZE - 1 || strspn(name, "0123456789abcdef") != REQUEST_KEY_SIZE - 1)
		return;
	text_copy(found.key, sizeof(found.key), name);
	file_of(r, name, path);
	doc = file_read_json(path, NULL);
	found.since = since_of(doc);
	user = json_string_value(json_object_get(doc, "User"));
	text_copy(found.user, sizeof(found.user), user ? user : "");
	json_decref(doc);
	if (!doc || time(NULL) - found.since > REQUEST_SECONDS)
		forget(r, &found);
	else if ((place = free_place(r, found.user)))
		*place = found;
}

int
requests_new(struct requests **out, const char *folder, struct err *e)
{
	struct requests *r = calloc(1, sizeof(*r));
	struct dirent *entry;
	DIR *dir;

	*out = NULL;
	if (!r)
		return err_set(e, ENOMEM, "out of memory");
	pthread_mutex_init(&r->lock, NULL);
	snprintf(r->folder, sizeof(r->folder), "%s", folder);
	dir = file_make_dirs(folder, 0700, e) == 0 ? opendir(folder) : NULL;
	if (!dir) {
		requests_free(r);
		return e->code ? -e->code : err_sys(e, "%s", folder);
	}
	while ((entry = readdir(dir)))
		load_one(r, entry->d_name);
	closedir(dir);
	*out = r;
	return 0;
}

void
requests_free(struct requests *r)
{
	if (r)
		pthread_mutex_destroy(&r->lock);
	free(r);
}

static void
make_key(const char *user, const char *id, char key[REQUEST_KEY_SIZE])
{
	char both[REQUEST_ID_MAX + 64];
	int len = snprintf(both, sizeof(both), "%s%c%s", user, '\n', id);

	secret_hash(both, (size_t)len, key);
}

/* What makes two calls the same: method and parameters, whatever their order. The file holds no parameter. */
static bool
make_digest(const char *method, const json_t *params, char digest[SECRET_HASH_SIZE])
{
	json_t *both = json_pack("[s, O]", method, params);
	char *text = both ? json_dumps(both, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

	if (text)
		secret_hash(text, strlen(text), digest);
	json_decref(both);
	free(text);
	return text != NULL;
}

static int
answered_before(
    struct requests *r, const struct kept *k, const char *digest, json_t **answer, struct fault *f)
{
	char path[PATH_SIZE];
	struct err e = { 0 };
	const char *first;
	json_t *doc;
	int rc = 1;

	if (k->running)
		return fault_set(f, FAULT_TOO_BUSY, "_.requestId", "Wait, then send it again.",
		    "the first call with this request id is still under way");
	file_of(r, k->key, path);
	doc = file_read_json(path, &e);
	if (!doc)
		return fault_err(f, FAULT_STORAGE, "_.requestId", NULL, &e);
	first = json_string_value(json_object_get(doc, "Digest"));
	*answer = json_incref(json_object_get(doc, "Answer"));
	if (!first || strcmp(first, digest) != 0)
		rc = fault_set(f, FAULT_REQUEST_ID_REUSED, "_.requestId", "Use a new id for each change.",
		    "the request id was used for another call");
	else if (!*answer)
		rc = fault_set(f, FAULT_RESTARTED, "_.requestId",
		    "Look what is there, then send it again with a new id.",
		    "the agent was restarted while the first call was under way");
	if (rc < 0) {
		json_decref(*answer);
		*answer = NULL;
	}
	json_decref(doc);
	return rc;
}

static int
write_file(struct requests *r, const struct kept *k, const char *digest, const json_t *answer, struct err *e)
{
	json_t *doc = json_pack("{s:i, s:I, s:s, s:s, s:O*}", "Version", 1, "Since", (json_int_t)k->since,
	    "User", k->user, "Digest", digest, "Answer", answer);
	char path[PATH_SIZE];
	int rc;

	file_of(r, k->key, path);
	rc = doc ? file_replace_json(path, doc, 0600, e) : err_set(e, ENOMEM, "out of memory");
	json_decref(doc);
	return rc;
}

static int
begin_new(struct requests *r, const char *user, const char *key, const char *digest, struct fault *f)
{
	struct kept *k = free_place(r, user);
	struct err e = { 0 };

	if (!k)
		return fault_set(
		    f, FAULT_TOO_BUSY, NULL, "Try again.", "%d changes are under way", REQUESTS_MAX);
	*k = (struct kept){ .since = time(NULL), .running = true };
	text_copy(k->key, sizeof(k->key), key);
	text_copy(k->user, sizeof(k->user), user);
	if (write_file(r, k, digest, NULL, &e) < 0) {
		*k = (struct kept){ 0 };
		return fault_err(
		    f, e.code == ENOSPC ? FAULT_NO_SPACE : FAULT_STORAGE, "_.requestId", NULL, &e);
	}
	return 0;
}

int
requests_begin(struct requests *r, const char *user, const char *id, const char *method, const json_t *params,
    char key[REQUEST_KEY_SIZE], json_t **answer, struct fault *f)
{
	char digest[SECRET_HASH_SIZE];
	struct kept *k;
	int rc;

	*answer = NULL;
	make_key(user, id, key);
	if (!make_digest(method, params, digest))
		return fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
	pthread_mutex_lock(&r->lock);
	k = find(r, key);
	if (k && !k->running && time(NULL) - k->since > REQUEST_SECONDS) {
		forget(r, k);
		k = NULL;
	}
	rc = k ? answered_before(r, k, digest, answer, f) : begin_new(r, user, key, digest, f);
	pthread_mutex_unlock(&r->lock);
	return rc;
}

void
requests_end(struct requests *r, const char *key, const json_t *answer)
{
	char path[PATH_SIZE];
	struct err e = { 0 };
	struct kept *k;
	json_t *doc;

	pthread_mutex_lock(&r->lock);
	k = find(r, key);
	if (k) {
		file_of(r, key, path);
		doc = file_read_json(path, &e);
		if (!doc ||
		    write_file(r, k, json_string_value(json_object_get(doc, "Digest")), answer, &e) < 0)
			log_msg(LOG_ERROR, "requests: an answer cannot be kept: %s", e.msg);
		json_decref(doc);
		k->running = false;
	}
	pthread_mutex_unlock(&r->lock);
}

void
requests_expire(struct requests *r)
{
	time_t now = time(NULL);

	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < REQUESTS_MAX; i++) {
		struct kept *k = &r->kept[i];

		if (k->key[0] && !k->running && now - k->since > REQUEST_SECONDS)
			forget(r, k);
	}
	pthread_mutex_unlock(&r->lock);
}
