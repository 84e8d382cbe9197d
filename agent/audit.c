/*
 * agent/audit.c - lines of JSON, files that are rotated.
 */
#include "agent/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/tokens.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/rate.h"

enum { PATH_SIZE = 256, STRANGERS_BURST = 20, USER_BURST = 100, PER_S = 2, BUCKETS = 64, REFUSED_MAX = 1024 };

/* How many lines that changed nothing one user may write; the first is all strangers'. */
struct bucket {
	struct rate rate;
	unsigned left_out;
};

struct audit {
	pthread_mutex_t lock;
	char path[PATH_SIZE];
	size_t file_max, size;
	int fd;
	struct bucket bucket[BUCKETS];
};

static int
open_file(struct audit *a, struct err *e)
{
	struct stat st;

	a->fd = open(a->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (a->fd < 0 || fstat(a->fd, &st) < 0)
		return err_sys(e, "%s", a->path);
	a->size = (size_t)st.st_size;
	return 0;
}

int
audit_new(struct audit **out, const char *folder, size_t file_max, struct err *e)
{
	struct audit *a = calloc(1, sizeof(*a));
	int rc;

	*out = NULL;
	if (!a)
		return err_set(e, ENOMEM, "out of memory");
	pthread_mutex_init(&a->lock, NULL);
	a->fd = -1;
	a->file_max = file_max ? file_max : AUDIT_FILE_MAX;
	for (size_t i = 0; i < BUCKETS; i++)
		a->bucket[i].rate =
		    (struct rate){ .burst = i ? USER_BURST : STRANGERS_BURST, .per_s = PER_S };
	snprintf(a->path, sizeof(a->path), "%s/audit.log", folder);
	rc = file_make_dirs(folder, 0700, e);
	if (rc == 0)
		rc = open_file(a, e);
	if (rc < 0) {
		audit_free(a);
		return rc;
	}
	*out = a;
	return 0;
}

void
audit_free(struct audit *a)
{
	if (!a)
		return;
	if (a->fd >= 0)
		close(a->fd);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

static void
file_name(const struct audit *a, unsigned n, char out[PATH_SIZE + 16])
{
	if (n)
		snprintf(out, PATH_SIZE + 16, "%s.%u", a->path, n);
	else
		snprintf(out, PATH_SIZE + 16, "%s", a->path);
}

static void
rotate(struct audit *a)
{
	char from[PATH_SIZE + 16], to[PATH_SIZE + 16];
	struct err e = { 0 };

	fsync(a->fd);
	close(a->fd);
	for (unsigned n = AUDIT_FILES - 1; n > 0; n--) {
		file_name(a, n - 1, from);
		file_name(a, n, to);
		if (rename(from, to) < 0 && errno != ENOENT)
			log_msg(LOG_ERROR, "audit: %s: %s", from, strerror(errno));
	}
	if (open_file(a, &e) < 0)
		log_msg(LOG_ERROR, "audit: %s", e.msg);
}

/* What may be told of the parameters: those of the table that are no secret. */
static json_t *
without_secrets(const struct rpc_method *row, const json_t *params)
{
	json_t *out = json_object();

	for (const struct field *f = row ? row->params : NULL; f && f->type != FIELD_END; f++) {
		json_t *v = json_object_get(params, f->name);

		if (!v)
			continue;
		if (f->secret)
			json_object_set_new(out, f->name, json_string("***"));
		else
			json_object_set(out, f->name, v);
	}
	return out;
}

static void
put_text(json_t *line, const char *name, const char *text)
{
	if (text && text[0])
		json_object_set_new(line, name, json_string(text));
}

static json_t *
make_line(const struct audit_entry *entry)
{
	char now[TIME_TEXT_SIZE];
	json_t *line = json_object();

	time_text(time(NULL), now);
	put_text(line, "time", now);
	put_text(line, "user", entry->who->user);
	put_text(line, "token", entry->who->token);
	put_text(line, "carrier", carrier_names[entry->who->carrier]);
	put_text(line, "from", entry->who->source);
	put_text(line, "method", entry->method);
	json_object_set_new(line, "params", without_secrets(entry->row, entry->params));
	put_text(line, "result", entry->fault ? fault_symbol(entry->fault->code) : "ok");
	if (entry->fault)
		put_text(line, "message", entry->fault->message);
	if (json_object_get(entry->result, "changed"))
		json_object_set(line, "changed", json_object_get(entry->result, "changed"));
	if (json_object_get(entry->result, "dryRun"))
		json_object_set(line, "dryRun", json_object_get(entry->result, "dryRun"));
	put_text(line, "job", json_string_value(json_object_get(entry->result, "job")));
	put_text(line, "logId", entry->log_id);
	return line;
}

static void
append(struct audit *a, json_t *line, size_t max)
{
	char *text = json_dumps(line, JSON_COMPACT);
	size_t len = text ? strlen(text) : 0;

	if (len > max) {
		free(text);
		json_object_set_new(line, "params", json_string("too long"));
		text = json_dumps(line, JSON_COMPACT);
		len = text ? strlen(text) : 0;
	}
	if (!text)
		return;
	text[len++] = '\n'; /* in the place of the NUL */
	if (a->size + len > a->file_max)
		rotate(a);
	if (a->fd < 0 || write(a->fd, text, len) != (ssize_t)len)
		log_msg(LOG_ERROR, "audit: %s cannot be written: %s", a->path, strerror(errno));
	a->size += len;
	free(text);
}

static struct bucket *
bucket_of(struct audit *a, const char *user)
{
	unsigned sum = 0;

	for (const char *s = user; *s; s++)
		sum = sum * 31 + (unsigned char)*s;
	return &a->bucket[user[0] ? 1 + sum % (BUCKETS - 1) : 0];
}

/* Whether there is room for it; if there is, what was left out before is told. */
static bool
admits(struct bucket *b, json_t *line)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	if (!rate_take(&b->rate, (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec)) {
		b->left_out++;
		return false;
	}
	if (b->left_out)
		json_object_set_new(line, "leftOut", json_integer(b->left_out));
	b->left_out = 0;
	return true;
}

void
audit_write(struct audit *a, const struct audit_entry *entry)
{
	json_t *line = make_line(entry);
	bool changed = !entry->fault && json_is_true(json_object_get(entry->result, "changed"));

	pthread_mutex_lock(&a->lock);
	if (changed || admits(bucket_of(a, entry->who->user), line))
		append(a, line, entry->fault ? REFUSED_MAX : AUDIT_LINE_MAX);
	pthread_mutex_unlock(&a->lock);
	json_decref(line);
}

/* The last `limit` lines of a file: a new reference to a list, oldest first. */
static json_t *
tail(const char *path, size_t limit)
{
	json_t *list = json_array();
	char *text = NULL, *end;
	size_t len = 0;

	if (file_read(path, AUDIT_FILE_MAX * 2, &text, &len, NULL) < 0)
		return list;
	for (end = text + len; end > text && limit; limit--) {
		char *line;

		if (end[-1] == '\n')
			*--end = '\0';
		line = memrchr(text, '\n', (size_t)(end - text));
		line = line ? line + 1 : text;
		json_array_insert_new(list, 0, json_loadb(line, (size_t)(end - line), 0, NULL));
		end = line;
	}
	free(text);
	return list;
}

json_t *
audit_list(struct audit *a, size_t limit)
{
	json_t *all = json_array();

	pthread_mutex_lock(&a->lock);
	for (unsigned n = 0; n < AUDIT_FILES && json_array_size(all) < limit; n++) {
		char path[PATH_SIZE + 16];
		json_t *older;

		file_name(a, n, path);
		older = tail(path, limit - json_array_size(all));
		json_array_extend(older, all);
		json_decref(all);
		all = older;
	}
	pthread_mutex_unlock(&a->lock);
	return all;
}
