/*
 * agent/tokens.c - API tokens and sessions.
 */
#include "agent/tokens.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/file.h"
#include "lib/text.h"

static const char token_prefix[] = "fht_", session_prefix[] = "fhs_";

struct token_row {
	char user[USER_SIZE], name[USER_SIZE], hash[SECRET_HASH_SIZE];
	unsigned role;
	uint64_t created, expires;
	uint64_t password; /* of a session */
};

struct tokens_file {
	uint64_t version;
	struct token_row row[TOKENS_MAX];
	size_t rows;
};

struct tokens {
	pthread_mutex_t lock;
	_Atomic uint64_t stamp;
	char path[256];
	struct tokens_file file;
	struct token_row session[SESSIONS_MAX]; /* hash "": free */
};

#define NAME(m, text)                                                                                  \
	FIELD_STRING, true, FIELD_AT(token_row, m), .min = 1, .max = USER_SIZE - 1, .size = USER_SIZE, \
						    .help = text
#define SECONDS(m, text) FIELD_UINT, true, FIELD_AT(token_row, m), .max = INT64_MAX, .help = text

static const struct field row_fields[] = {
	{ "User", NAME(user, "The owner.") },
	{ "Name", NAME(name, "Among the owner's tokens.") },
	{ "Hash", FIELD_STRING, true, FIELD_AT(token_row, hash), .min = SECRET_HASH_SIZE - 1,
	    .max = SECRET_HASH_SIZE - 1, .size = SECRET_HASH_SIZE, .help = "SHA-256 of its text." },
	{ "Role", FIELD_ENUM, true, FIELD_AT(token_row, role), .names = role_names,
	    .help = "The most it can do." },
	{ "Created", SECONDS(created, "Seconds since 1970.") },
	{ "Expires", SECONDS(expires, "Seconds since 1970.") },
	{ .type = FIELD_END },
};

static const struct field file_fields[] = {
	{ "Version", FIELD_UINT, true, FIELD_AT(tokens_file, version), .min = 1, .max = 1,
	    .help = "Of this file." },
	{ "Tokens", FIELD_LIST, true, FIELD_AT(tokens_file, row), .max = TOKENS_MAX,
	    .size = sizeof(struct token_row), .count_offset = offsetof(struct tokens_file, rows),
	    .fields = row_fields, .help = "Rows." },
	{ .type = FIELD_END },
};

void
time_text(time_t t, char out[TIME_TEXT_SIZE])
{
	struct tm tm = { 0 };

	gmtime_r(&t, &tm);
	strftime(out, TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

int
tokens_new(struct tokens **out, const char *path, struct err *e)
{
	struct tokens *t = calloc(1, sizeof(*t));
	struct err why = { 0 };
	json_t *doc;
	int rc = 0;

	*out = NULL;
	if (!t)
		return err_set(e, ENOMEM, "out of memory");
	pthread_mutex_init(&t->lock, NULL);
	snprintf(t->path, sizeof(t->path), "%s", path);
	t->file.version = 1;
	doc = file_read_json(path, &why);
	if (doc)
		rc = schema_read(file_fields, doc, NULL, &t->file, &why);
	else if (why.code != ENOENT)
		rc = -EINVAL;
	json_decref(doc);
	if (rc < 0) {
		err_set(e, EINVAL, "%s: %s", path, why.msg);
		tokens_free(t);
		return rc;
	}
	*out = t;
	return 0;
}

void
tokens_free(struct tokens *t)
{
	if (t)
		pthread_mutex_destroy(&t->lock);
	free(t);
}

uint64_t
tokens_stamp(struct tokens *t)
{
	return t->stamp;
}

static struct token_row *
find_row(struct tokens *t, const char *user, const char *name)
{
	for (size_t i = 0; i < t->file.rows; i++)
		if (strcmp(t->file.row[i].user, user) == 0 && strcmp(t->file.row[i].name, name) == 0)
			return &t->file.row[i];
	return NULL;
}

/* Writes next in the place of what there is; memory follows only when that worked. */
static int
commit(struct tokens *t, const struct tokens_file *next, struct err *e)
{
	json_t *doc = schema_write(file_fields, next);
	int rc = doc ? file_replace_json(t->path, doc, 0600, e) : err_set(e, ENOMEM, "out of memory");

	json_decref(doc);
	if (rc == 0)
		t->file = *next;
	t->stamp++;
	return rc;
}

/* A copy of the rows without those that have ended and those that drop says. The caller's to free. */
static struct tokens_file *
copy_without(struct tokens *t, const char *user, const char *name)
{
	struct tokens_file *next = calloc(1, sizeof(*next));
	uint64_t now = (uint64_t)time(NULL);

	if (!next)
		return NULL;
	next->version = 1;
	for (size_t i = 0; i < t->file.rows; i++) {
		const struct token_row *r = &t->file.row[i];
		bool dropped = user && strcmp(r->user, user) == 0 && (!name || strcmp(r->name, name) == 0);

		if (!dropped && r->expires > now)
			next->row[next->rows++] = *r;
	}
	return next;
}

static int
storage(struct fault *f, const struct err *e)
{
	return fault_err(f, e->code == ENOSPC ? FAULT_NO_SPACE : FAULT_STORAGE, NULL, NULL, e);
}

static bool
row_counts(const struct token_row *r)
{
	return r && (time_t)r->expires > time(NULL);
}

int
tokens_may_create(struct tokens *t, const char *user, const char *name, struct fault *f)
{
	bool there;

	pthread_mutex_lock(&t->lock);
	there = row_counts(find_row(t, user, name));
	pthread_mutex_unlock(&t->lock);
	return there ? fault_set(f, FAULT_TOKEN_EXISTS, "name", "token.delete takes the old one away.",
			   "%s has a token called '%s' already", user, name)
		     : 0;
}

static void
new_text(const char *prefix, char text[TOKEN_TEXT_SIZE], char hash[SECRET_HASH_SIZE])
{
	char secret[SECRET_SIZE];

	secret_new(secret);
	snprintf(text, TOKEN_TEXT_SIZE, "%s%s", prefix, secret);
	explicit_bzero(secret, sizeof(secret));
	secret_hash(text, strlen(text), hash);
}

static size_t
count_of(const struct token_row *rows, size_t n, const char *user)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += strcmp(rows[i].user, user) == 0;
	return count;
}

static int
add_row(struct tokens *t, const struct token_info *info, const char *hash, struct fault *f)
{
	struct tokens_file *next;
	struct token_row *r;
	struct err e = { 0 };
	int rc;

	if (row_counts(find_row(t, info->user, info->name)))
		return fault_set(f, FAULT_TOKEN_EXISTS, "name", NULL, "%s has a token called '%s' already",
		    info->user, info->name);
	next = copy_without(t, NULL, NULL);
	if (!next)
		return fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
	if (next->rows == TOKENS_MAX) {
		free(next);
		return fault_set(f, FAULT_LIMIT, NULL, "Delete some with token.delete.",
		    "there are %d tokens already", TOKENS_MAX);
	}
	if (count_of(next->row, next->rows, info->user) >= TOKENS_OF_USER) {
		free(next);
		return fault_set(f, FAULT_LIMIT, NULL, "Delete some with token.delete.",
		    "%s has %d tokens already", info->user, TOKENS_OF_USER);
	}
	r = &next->row[next->rows++];
	text_copy(r->user, sizeof(r->user), info->user);
	text_copy(r->name, sizeof(r->name), info->name);
	text_copy(r->hash, sizeof(r->hash), hash);
	r->role = info->role;
	r->created = (uint64_t)info->created;
	r->expires = (uint64_t)info->expires;
	rc = commit(t, next, &e);
	free(next);
	return rc < 0 ? storage(f, &e) : 0;
}

int
tokens_create(struct tokens *t, const struct token_info *info, char text[TOKEN_TEXT_SIZE], struct fault *f)
{
	char hash[SECRET_HASH_SIZE];
	int rc;

	new_text(token_prefix, text, hash);
	pthread_mutex_lock(&t->lock);
	rc = add_row(t, info, hash, f);
	pthread_mutex_unlock(&t->lock);
	if (rc < 0)
		explicit_bzero(text, TOKEN_TEXT_SIZE);
	return rc;
}

int
tokens_must_exist(struct tokens *t, const char *user, const char *name, struct fault *f)
{
	bool there;

	pthread_mutex_lock(&t->lock);
	there = find_row(t, user, name) != NULL;
	pthread_mutex_unlock(&t->lock);
	return there ? 0
		     : fault_set(f, FAULT_TOKEN_NOT_FOUND, "name", "token.list tells which there are.",
			   "%s has no token called '%s'", user, name);
}

static int
drop_rows(struct tokens *t, const char *user, const char *name, struct err *e)
{
	struct tokens_file *next = copy_without(t, user, name);
	int rc;

	if (!next)
		return err_set(e, ENOMEM, "out of memory");
	rc = next->rows == t->file.rows ? 0 : commit(t, next, e);
	free(next);
	return rc;
}

int
tokens_delete(struct tokens *t, const char *user, const char *name, struct fault *f)
{
	struct err e = { 0 };
	int rc = tokens_must_exist(t, user, name, f);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&t->lock);
	rc = drop_rows(t, user, name, &e);
	pthread_mutex_unlock(&t->lock);
	return rc < 0 ? storage(f, &e) : 0;
}

json_t *
tokens_list(struct tokens *t, const char *user)
{
	json_t *list = json_array();
	char created[TIME_TEXT_SIZE], expires[TIME_TEXT_SIZE];

	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < t->file.rows; i++) {
		const struct token_row *r = &t->file.row[i];

		if ((user && strcmp(r->user, user) != 0) || !row_counts(r))
			continue;
		time_text((time_t)r->created, created);
		time_text((time_t)r->expires, expires);
		json_array_append_new(
		    list, json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", r->name, "user", r->user, "role",
			      role_names[r->role], "created", created, "expires", expires));
	}
	pthread_mutex_unlock(&t->lock);
	return list;
}

static void
to_info(const struct token_row *r, struct token_info *info)
{
	*info = (struct token_info){ .role = r->role,
		.created = (time_t)r->created,
		.expires = (time_t)r->expires,
		.password = r->password };
	text_copy(info->user, sizeof(info->user), r->user);
	text_copy(info->name, sizeof(info->name), r->name);
	if (!r->name[0])
		text_copy(info->session, sizeof(info->session), r->hash);
}

/* All are compared, so that the time tells nothing about which one it was. */
static const struct token_row *
find_hash(const struct token_row *rows, size_t n, const char *hash)
{
	const struct token_row *found = NULL;

	for (size_t i = 0; i < n; i++)
		if (rows[i].hash[0] && secret_same(rows[i].hash, hash))
			found = &rows[i];
	return found;
}

bool
tokens_find(struct tokens *t, const char *text, struct token_info *info)
{
	const struct token_row *r;
	char hash[SECRET_HASH_SIZE];
	bool counts;

	secret_hash(text, strlen(text), hash);
	pthread_mutex_lock(&t->lock);
	r = find_hash(t->file.row, t->file.rows, hash);
	if (!r)
		r = find_hash(t->session, SESSIONS_MAX, hash);
	counts = row_counts(r);
	if (counts)
		to_info(r, info);
	pthread_mutex_unlock(&t->lock);
	return counts;
}

bool
tokens_counts(struct tokens *t, const char *user, const char *name)
{
	bool counts;

	pthread_mutex_lock(&t->lock);
	counts = row_counts(find_row(t, user, name));
	pthread_mutex_unlock(&t->lock);
	return counts;
}

int
tokens_forget(struct tokens *t, const char *user, struct err *e)
{
	int rc;

	session_end_all(t, user);
	pthread_mutex_lock(&t->lock);
	rc = drop_rows(t, user, NULL, e);
	pthread_mutex_unlock(&t->lock);
	return rc;
}

/* Where a new one goes: a free place, or that of the session that ends first; one's own when one has many. */
static struct token_row *
session_place(struct tokens *t, const char *user)
{
	bool own = count_of(t->session, SESSIONS_MAX, user) >= TOKENS_OF_USER;
	struct token_row *r = NULL;

	for (size_t i = 0; i < SESSIONS_MAX; i++) {
		struct token_row *s = &t->session[i];

		if ((!own || strcmp(s->user, user) == 0) && (!r || s->expires < r->expires))
			r = s; /* free ones have 0 */
	}
	return r;
}

void
session_new(
    struct tokens *t, const char *user, uint64_t password, char text[TOKEN_TEXT_SIZE], time_t *expires)
{
	struct token_row *r;
	char hash[SECRET_HASH_SIZE];

	new_text(session_prefix, text, hash);
	*expires = time(NULL) + SESSION_SECONDS;
	pthread_mutex_lock(&t->lock);
	r = session_place(t, user);
	*r = (struct token_row){ .role = ROLE_ADMINISTRATOR,
		.created = (uint64_t)time(NULL),
		.expires = (uint64_t)*expires,
		.password = password };
	text_copy(r->user, sizeof(r->user), user);
	text_copy(r->hash, sizeof(r->hash), hash);
	pthread_mutex_unlock(&t->lock);
}

bool
session_counts(struct tokens *t, const char *hash)
{
	bool counts;

	pthread_mutex_lock(&t->lock);
	counts = row_counts(find_hash(t->session, SESSIONS_MAX, hash));
	pthread_mutex_unlock(&t->lock);
	return counts;
}

bool
session_end(struct tokens *t, const char *hash)
{
	bool ended = false;

	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < SESSIONS_MAX; i++)
		if (t->session[i].hash[0] && secret_same(t->session[i].hash, hash)) {
			t->session[i] = (struct token_row){ 0 };
			ended = true;
		}
	t->stamp++;
	pthread_mutex_unlock(&t->lock);
	return ended;
}

void
session_end_all(struct tokens *t, const char *user)
{
	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < SESSIONS_MAX; i++)
		if (strcmp(t->session[i].user, user) == 0)
			t->session[i] = (struct token_row){ 0 };
	t->stamp++;
	pthread_mutex_unlock(&t->lock);
}
