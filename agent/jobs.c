/*
 * agent/jobs.c - jobs: their files, their threads, what is told about them.
 */
#include "agent/jobs.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/dispatch.h"
#include "agent/events.h"
#include "agent/tokens.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/text.h"

enum {
	FOLDER_SIZE = 200,
	PATH_SIZE = FOLDER_SIZE + JOB_ID_SIZE + 8,
	TELL_MS = 250,
	PHASE_SIZE = 33,
	UNIT_SIZE = 17
};

const char *const job_states[] = { "New", "Running", "ShuttingDown", "Completed", "Terminated", "Exception",
	NULL };

struct job {
	struct job *next; /* the newest first */
	struct jobs *jobs;
	const struct rpc_method *method; /* NULL: of an earlier release */
	struct identity who;
	json_t *params;
	pthread_t thread;
	bool has_thread, cancel;
	uint64_t told_ms;
	unsigned waiters; /* that hold on to it */

	/* What its file says. */
	char id[JOB_ID_SIZE], method_name[48], user[USER_SIZE], path[SCOPE_SIZE];
	enum job_state state;
	char phase[PHASE_SIZE], unit[UNIT_SIZE];
	uint64_t done, total;
	time_t created, started, finished;
	json_t *result; /* {"result":...} or {"error":...} */
};

struct jobs {
	struct agent *agent;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* CLOCK_MONOTONIC */
	char folder[FOLDER_SIZE];
	struct job *first;
	uint64_t last_id;
	size_t keep, running, unfinished;
	bool stopping;
};

static uint64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static struct timespec
in_ms(unsigned ms)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += ms / 1000;
	ts.tv_nsec += (long)(ms % 1000) * 1000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000;
	}
	return ts;
}

static bool
has_ended(const struct job *j)
{
	return j->state >= JOB_COMPLETED;
}

static void
put_time(json_t *doc, const char *name, time_t t)
{
	char text[TIME_TEXT_SIZE];

	if (!t)
		return;
	time_text(t, text);
	json_object_set_new(doc, name, json_string(text));
}

/* Under the lock. */
static json_t *
describe(const struct job *j, bool with_result)
{
	json_t *doc = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s}", "job", j->id, "method",
	    j->method_name, "user", j->user, "path", j->path, "state", job_states[j->state], "phase",
	    j->phase, "done", (json_int_t)j->done, "total", (json_int_t)j->total, "unit", j->unit);

	put_time(doc, "created", j->created);
	put_time(doc, "started", j->started);
	put_time(doc, "finished", j->finished);
	if (with_result && j->result)
		json_object_update(doc, j->result);
	return doc;
}

static void
file_of(const struct jobs *js, const char *id, char path[PATH_SIZE])
{
	snprintf(path, PATH_SIZE, "%s/%s.json", js->folder, id);
}

static int
write_file(struct job *j, struct err *e)
{
	json_t *doc = describe(j, true);
	char path[PATH_SIZE];
	int rc;

	json_object_set_new(doc, "Version", json_integer(1));
	if (!has_ended(j)) /* undo needs them */
		json_object_set_new(doc, "params", dispatch_without_secrets(j->method->params, j->params));
	file_of(j->jobs, j->id, path);
	rc = doc ? file_replace_json(path, doc, 0600, e) : err_set(e, ENOMEM, "out of memory");
	json_decref(doc);
	return rc;
}

static void
tell(struct job *j, const char *type)
{
	json_t *doc = describe(j, false);

	j->told_ms = now_ms();
	events_publish(j->jobs->agent->events, type, j->path, doc);
}

static void
free_job(struct job *j)
{
	json_decref(j->params);
	json_decref(j->result);
	free(j);
}

/* Under the lock: the oldest finished ones beyond what is kept go, with their files. */
static void
prune(struct jobs *js)
{
	size_t finished = 0;

	for (struct job **at = &js->first; *at;) {
		struct job *j = *at;
		char path[PATH_SIZE];
		struct err e = { 0 };

		if (!has_ended(j) || ++finished <= js->keep || j->has_thread || j->waiters) {
			at = &j->next;
			continue;
		}
		file_of(js, j->id, path);
		if (file_remove(path, &e) < 0)
			log_msg(LOG_ERROR, "jobs: %s", e.msg);
		*at = j->next;
		free_job(j);
	}
}

/* Under the lock. answer: {"result":...} or {"error":...}, taken. */
static void
end(struct job *j, enum job_state state, json_t *answer)
{
	struct err e = { 0 };

	j->state = state;
	j->result = answer;
	j->finished = time(NULL);
	if (write_file(j, &e) < 0)
		log_msg(LOG_ERROR, "jobs: %s", e.msg);
	j->jobs->unfinished--;
	tell(j, "job.ended");
	pthread_cond_broadcast(&j->jobs->changed);
}

static json_t *
error_answer(const struct fault *f)
{
	return json_pack("{s:o}", "error", fault_to_json(f));
}

/* Of one user: those that run, or all that have not ended. */
static size_t
count_of(const struct jobs *js, const char *user, bool running)
{
	size_t n = 0;

	for (const struct job *j = js->first; j; j = j->next)
		n += !has_ended(j) && (j->started || !running) && strcmp(j->user, user) == 0;
	return n;
}

/* Nobody keeps all others from working. */
static bool
has_turn(const struct jobs *js, const struct job *j)
{
	return js->running < JOBS_RUNNING && count_of(js, j->user, true) < JOBS_RUNNING / 2;
}

/* Its turn: false when it was cancelled before that. */
static bool
wait_for_turn(struct job *j)
{
	struct jobs *js = j->jobs;
	struct err e = { 0 };

	while (!has_turn(js, j) && !j->cancel)
		pthread_cond_wait(&js->changed, &js->lock);
	if (j->cancel)
		return false;
	js->running++;
	j->state = JOB_RUNNING;
	j->started = time(NULL);
	if (write_file(j, &e) < 0)
		log_msg(LOG_ERROR, "jobs: %s", e.msg);
	tell(j, "job.started");
	return true;
}

static void *
job_thread(void *arg)
{
	struct job *j = arg;
	struct jobs *js = j->jobs;
	struct fault f = { 0 };
	json_t *answer = NULL;
	bool ran;
	int rc = 0;

	pthread_mutex_lock(&js->lock);
	ran = wait_for_turn(j);
	pthread_mutex_unlock(&js->lock);
	if (ran)
		rc = dispatch_job(js->agent, j->method, j->params, &j->who, j->path, j, &answer, &f);
	else
		rc = fault_set(&f, FAULT_CANCELLED, NULL, NULL, "cancelled before it began");
	if (rc < 0)
		answer = error_answer(&f);
	pthread_mutex_lock(&js->lock);
	js->running -= ran;
	if (rc == 0)
		end(j, JOB_COMPLETED, answer);
	else
		end(j, f.code == FAULT_CANCELLED ? JOB_TERMINATED : JOB_EXCEPTION, answer);
	if (!js->stopping) {
		pthread_detach(j->thread);
		j->has_thread = false;
	}
	prune(js);
	pthread_cond_broadcast(&js->changed);
	pthread_mutex_unlock(&js->lock);
	return NULL;
}

static struct job *
new_job(struct jobs *js, const char *id)
{
	struct job *j = calloc(1, sizeof(*j));

	if (!j)
		return NULL;
	j->jobs = js;
	if (id)
		snprintf(j->id, sizeof(j->id), "%s", id);
	else
		snprintf(j->id, sizeof(j->id), "j%llu", (unsigned long long)++js->last_id);
	return j;
}

static int
start_locked(struct jobs *js, struct job *j, struct fault *f)
{
	struct err e = { 0 };
	char path[PATH_SIZE];
	int rc;

	if (js->stopping)
		return fault_set(f, FAULT_STOPPING, NULL, NULL, "the agent is being stopped");
	if (js->unfinished >= JOBS_MAX)
		return fault_set(f, FAULT_TOO_BUSY, NULL, "job.list tells which; try again later.",
		    "%d jobs are waiting already", JOBS_MAX);
	if (count_of(js, j->user, false) >= JOBS_OF_USER)
		return fault_set(f, FAULT_TOO_BUSY, NULL, "job.list tells which; try again later.",
		    "%d jobs of %s are waiting already", JOBS_OF_USER, j->user);
	if (write_file(j, &e) < 0)
		return fault_err(f, e.code == ENOSPC ? FAULT_NO_SPACE : FAULT_STORAGE, NULL, NULL, &e);
	rc = pthread_create(&j->thread, NULL, job_thread, j);
	if (rc) {
		file_of(js, j->id, path);
		file_remove(path, &e);
		return fault_set(
		    f, FAULT_TOO_BUSY, NULL, "Try again later.", "no thread for the job: %s", strerror(rc));
	}
	j->has_thread = true;
	js->unfinished++;
	j->next = js->first;
	js->first = j;
	return 0;
}

int
jobs_start(struct jobs *js, const struct rpc_method *m, const json_t *params, const struct identity *who,
    const char *path, char id[JOB_ID_SIZE], struct fault *f)
{
	struct job *j;
	int rc;

	pthread_mutex_lock(&js->lock);
	j = new_job(js, NULL);
	if (!j) {
		pthread_mutex_unlock(&js->lock);
		return fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
	}
	j->method = m;
	j->who = *who;
	j->params = json_deep_copy(params);
	j->created = time(NULL);
	snprintf(j->method_name, sizeof(j->method_name), "%s", m->name);
	text_copy(j->user, sizeof(j->user), who->user);
	snprintf(j->path, sizeof(j->path), "%s", path);
	text_copy(id, JOB_ID_SIZE, j->id);
	rc = start_locked(js, j, f);
	if (rc < 0)
		free_job(j);
	pthread_mutex_unlock(&js->lock);
	return rc;
}

void
job_progress(struct job *j, const char *phase, uint64_t done, uint64_t total, const char *unit)
{
	struct jobs *js = j->jobs;
	bool other;

	pthread_mutex_lock(&js->lock);
	other = strcmp(j->phase, phase) != 0;
	snprintf(j->phase, sizeof(j->phase), "%s", phase);
	snprintf(j->unit, sizeof(j->unit), "%s", unit);
	j->done = done;
	j->total = total;
	if (other || now_ms() - j->told_ms >= TELL_MS)
		tell(j, "job.progress");
	pthread_mutex_unlock(&js->lock);
}

bool
job_cancelled(struct job *j)
{
	bool cancel;

	pthread_mutex_lock(&j->jobs->lock);
	cancel = j->cancel;
	pthread_mutex_unlock(&j->jobs->lock);
	return cancel;
}

bool
job_sleep(struct job *j, unsigned ms)
{
	struct timespec until = in_ms(ms);
	struct jobs *js = j->jobs;
	bool cancel;

	pthread_mutex_lock(&js->lock);
	while (!j->cancel && pthread_cond_timedwait(&js->changed, &js->lock, &until) != ETIMEDOUT)
		;
	cancel = j->cancel;
	pthread_mutex_unlock(&js->lock);
	return cancel;
}

static struct job *
find(struct jobs *js, const char *id)
{
	for (struct job *j = js->first; j; j = j->next)
		if (strcmp(j->id, id) == 0)
			return j;
	return NULL;
}

json_t *
jobs_get(struct jobs *js, const char *id, unsigned timeout_ms)
{
	struct timespec until = in_ms(timeout_ms);
	json_t *doc = NULL;
	struct job *j;

	pthread_mutex_lock(&js->lock);
	j = find(js, id);
	if (j) {
		j->waiters++;
		while (!has_ended(j) && timeout_ms && !js->stopping)
			if (pthread_cond_timedwait(&js->changed, &js->lock, &until) == ETIMEDOUT)
				break;
		j->waiters--;
		doc = describe(j, true);
	}
	pthread_mutex_unlock(&js->lock);
	return doc;
}

json_t *
jobs_list(struct jobs *js)
{
	json_t *list = json_array();

	pthread_mutex_lock(&js->lock);
	for (struct job *j = js->first; j; j = j->next)
		json_array_append_new(list, describe(j, false));
	pthread_mutex_unlock(&js->lock);
	return list;
}

int
jobs_cancel(struct jobs *js, const char *id, struct fault *f)
{
	struct job *j;
	int rc = 1;

	pthread_mutex_lock(&js->lock);
	j = find(js, id);
	if (!j) {
		rc = fault_set(f, FAULT_JOB_NOT_FOUND, "job", "job.list tells which there are.",
		    "no job is called '%s'", id);
	} else if (has_ended(j) || j->cancel) {
		rc = 0;
	} else {
		j->cancel = true;
		j->state = JOB_SHUTTING_DOWN;
		tell(j, "job.cancelled");
		pthread_cond_broadcast(&js->changed);
	}
	pthread_mutex_unlock(&js->lock);
	return rc;
}

static void
take_text(const json_t *doc, const char *name, char *out, size_t size)
{
	const char *text = json_string_value(json_object_get(doc, name));

	snprintf(out, size, "%s", text ? text : "");
}

/* "2026-11-23T03:08:53Z" back to a time; 0 when there is none. */
static time_t
take_time(const json_t *doc, const char *name)
{
	const char *text = json_string_value(json_object_get(doc, name));
	struct tm tm = { 0 };

	return text && strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) ? timegm(&tm) : 0;
}

static enum job_state
state_of(const json_t *doc)
{
	const char *text = json_string_value(json_object_get(doc, "state"));

	for (unsigned i = 0; text && job_states[i]; i++)
		if (strcmp(job_states[i], text) == 0)
			return i;
	return JOB_EXCEPTION;
}

static void
take_answer(struct job *j, const json_t *doc)
{
	static const char *const names[] = { "result", "error" };

	j->result = json_object();
	for (size_t i = 0; i < 2; i++)
		if (json_object_get(doc, names[i]))
			json_object_set(j->result, names[i], json_object_get(doc, names[i]));
}

/* It was under way when the agent ended. */
static void
undo(struct jobs *js, struct job *j, json_t *params)
{
	struct fault f = { 0 };

	if (j->started && j->method && j->method->undo)
		j->method->undo(js->agent, params);
	fault_set(&f, FAULT_RESTARTED, NULL, "Start it again.",
	    j->started ? "the agent was restarted before the job was done"
		       : "the agent was restarted before the job began");
	js->unfinished++;
	json_decref(j->result);
	end(j, JOB_EXCEPTION, error_answer(&f));
}

static void
load_one(struct jobs *js, const char *id)
{
	char path[PATH_SIZE];
	struct err e = { 0 };
	struct job *j, **at;
	json_t *doc;

	file_of(js, id, path);
	doc = file_read_json(path, &e);
	j = doc ? new_job(js, id) : NULL;
	if (!j) {
		log_msg(LOG_ERROR, "jobs: %s", doc ? "out of memory" : e.msg);
		json_decref(doc);
		return;
	}
	take_text(doc, "method", j->method_name, sizeof(j->method_name));
	take_text(doc, "user", j->user, sizeof(j->user));
	take_text(doc, "path", j->path, sizeof(j->path));
	take_text(doc, "phase", j->phase, sizeof(j->phase));
	take_text(doc, "unit", j->unit, sizeof(j->unit));
	j->done = (uint64_t)json_integer_value(json_object_get(doc, "done"));
	j->total = (uint64_t)json_integer_value(json_object_get(doc, "total"));
	j->created = take_time(doc, "created");
	j->started = take_time(doc, "started");
	j->finished = take_time(doc, "finished");
	j->method = dispatch_find(j->method_name);
	j->state = state_of(doc);
	take_answer(j, doc);
	if (!has_ended(j))
		undo(js, j, json_object_get(doc, "params"));
	json_decref(doc);
	/* In order: the newest first. */
	for (at = &js->first; *at && strtoull((*at)->id + 1, NULL, 10) > strtoull(id + 1, NULL, 10);
	     at = &(*at)->next)
		;
	j->next = *at;
	*at = j;
}

/* "j12.json": its number, else 0. */
static uint64_t
number_of(const char *name)
{
	unsigned long long n;
	int len = 0;

	if (sscanf(name, "j%19llu.json%n", &n, &len) != 1 || name[len] || len == 0)
		return 0;
	return n;
}

static int
load(struct jobs *js, struct err *e)
{
	struct dirent *entry;
	DIR *dir = opendir(js->folder);

	if (!dir)
		return err_sys(e, "%s", js->folder);
	while ((entry = readdir(dir))) {
		uint64_t n = number_of(entry->d_name);
		char id[JOB_ID_SIZE];

		if (!n)
			continue;
		if (n > js->last_id)
			js->last_id = n;
		snprintf(id, sizeof(id), "j%llu", (unsigned long long)n);
		load_one(js, id);
	}
	closedir(dir);
	prune(js);
	return 0;
}

int
jobs_new(struct jobs **out, struct agent *a, const char *folder, size_t keep, struct err *e)
{
	struct jobs *js = calloc(1, sizeof(*js));
	pthread_condattr_t attr;
	int rc;

	*out = NULL;
	if (!js)
		return err_set(e, ENOMEM, "out of memory");
	pthread_mutex_init(&js->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&js->changed, &attr);
	pthread_condattr_destroy(&attr);
	js->agent = a;
	js->keep = keep ? keep : JOBS_KEPT;
	snprintf(js->folder, sizeof(js->folder), "%s", folder);
	rc = file_make_dirs(folder, 0700, e);
	if (rc == 0)
		rc = load(js, e);
	if (rc < 0) {
		jobs_free(js);
		return rc;
	}
	*out = js;
	return 0;
}

/* A job with a thread that nobody has waited for yet. */
static struct job *
with_thread(struct jobs *js)
{
	for (struct job *j = js->first; j; j = j->next)
		if (j->has_thread)
			return j;
	return NULL;
}

void
jobs_stop(struct jobs *js)
{
	struct job *j;

	pthread_mutex_lock(&js->lock);
	js->stopping = true;
	for (j = js->first; j; j = j->next)
		j->cancel = j->cancel || !has_ended(j);
	pthread_cond_broadcast(&js->changed);
	while ((j = with_thread(js))) {
		j->has_thread = false;
		j->waiters++;
		pthread_mutex_unlock(&js->lock);
		pthread_join(j->thread, NULL);
		pthread_mutex_lock(&js->lock);
		j->waiters--;
	}
	pthread_mutex_unlock(&js->lock);
}

void
jobs_free(struct jobs *js)
{
	if (!js)
		return;
	while (js->first) {
		struct job *j = js->first;

		js->first = j->next;
		free_job(j);
	}
	pthread_mutex_destroy(&js->lock);
	pthread_cond_destroy(&js->changed);
	free(js);
}
