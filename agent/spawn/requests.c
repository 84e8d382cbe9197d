/* agent/spawn/requests.c - what fh-spawn can be asked: one table. */
#include <errno.h>
#include <string.h>

#include "agent/spawn/spawn.h"

struct spawn_params {
	uint8_t id[GUID_BYTES];
	uint64_t memory_mb;
};
struct spawn_result {
	uint64_t uid;
};
struct ready_result {
	bool ready;
	uint64_t pid;
};
struct ending_result {
	bool changed;
	unsigned ending;
	uint64_t status;
	char words[SPAWN_WORDS + 1];
};
struct list_row {
	uint8_t id[GUID_BYTES];
	bool running;
};
struct list_result {
	size_t workers;
	struct list_row worker[SPAWN_MAX];
};

/* clang-format off */
#define ID_ROW { "Id", FIELD_GUID, .required = true, FIELD_AT(spawn_params, id), .help = "The machine's id." }

static const struct field spawn_fields[] = {
	ID_ROW,
	{ "MemoryInMB", FIELD_UINT, .required = true, FIELD_AT(spawn_params, memory_mb), .min = 1, .max = 16 << 20,
	  .help = "The guest's memory at most, in MiB; the worker's own comes on top." },
	{ 0 }
};
static const struct field id_fields[] = { ID_ROW, { 0 } };
static const struct field none[] = { { 0 } };
static const struct field spawn_result_fields[] = {
	{ "Uid", FIELD_UINT, FIELD_AT(spawn_result, uid), .max = UINT64_MAX, .help = "The worker's own user." },
	{ 0 }
};
static const struct field ready_fields[] = {
	{ "Ready", FIELD_BOOL, FIELD_AT(ready_result, ready), .help = "False: not yet; ask again." },
	{ "Pid", FIELD_UINT, FIELD_AT(ready_result, pid), .max = UINT64_MAX, .help = "Once it is: the worker's process." },
	{ 0 }
};
static const struct field ending_fields[] = {
	{ "changed", FIELD_BOOL, FIELD_AT(ending_result, changed), .help = "False when it had ended by itself." },
	{ "Ending", FIELD_ENUM, FIELD_AT(ending_result, ending), .names = ending_names,
	  .help = "How it ended; Unknown when fh-spawn was restarted meanwhile; Running: it has still to end, ask again." },
	{ "Status", FIELD_UINT, FIELD_AT(ending_result, status), .max = UINT64_MAX, .help = "Exit status, or the signal's number." },
	{ "LastWords", FIELD_STRING, FIELD_AT(ending_result, words), .max = SPAWN_WORDS, .size = SPAWN_WORDS + 1,
	  .help = "The end of what it logged." },
	{ 0 }
};
static const struct field row_fields[] = {
	{ "Id", FIELD_GUID, FIELD_AT(list_row, id), .help = "The machine's id." },
	{ "Running", FIELD_BOOL, FIELD_AT(list_row, running), .help = "False: it has ended, and \"end\" tells how." },
	{ 0 }
};
static const struct field list_fields[] = {
	{ "Workers", FIELD_LIST, FIELD_AT(list_result, worker), .max = SPAWN_MAX, .size = sizeof(struct list_row),
	  .count_offset = offsetof(struct list_result, workers), .fields = row_fields, .help = "All workers." },
	{ 0 }
};
/* clang-format on */

static int
do_spawn(void *ctx, void *params, void *result, struct err *e)
{
	struct spawn_params *p = params;
	struct spawn_result *r = result;
	struct child *c;
	int rc = children_start(ctx, p->id, p->memory_mb, &c, e);

	if (rc == 0)
		r->uid = c->uid;
	return rc;
}

static int
do_limit(void *ctx, void *params, void *result, struct err *e)
{
	struct spawn_params *p = params;
	const struct child *c = children_get(ctx, p->id);

	(void)result;
	if (!c || c->state != CHILD_RUNS)
		return err_set(e, ENOENT, "there is no such worker");
	return cgroup_raise(((struct spawner *)ctx)->cgroup, c->name, p->memory_mb, e);
}

/* One that did not start is forgotten with the answer. */
static int
do_ready(void *ctx, void *params, void *result, struct err *e)
{
	struct spawn_params *p = params;
	struct ready_result *r = result;
	struct child *c = children_get(ctx, p->id);

	if (!c)
		return err_set(e, ENOENT, "there is no such worker");
	if (c->why.code && c->state == CHILD_ENDED) {
		*e = c->why;
		children_forget(ctx, c);
		return -e->code;
	}
	r->ready = !c->why.code && c->state != CHILD_STARTING;
	r->pid = r->ready ? (uint64_t)c->pid : 0;
	return 0;
}

static int
do_list(void *ctx, void *params, void *result, struct err *e)
{
	struct spawner *s = ctx;
	struct list_result *r = result;

	(void)params;
	(void)e;
	r->workers = s->children;
	for (size_t i = 0; i < s->children; i++) {
		memcpy(r->worker[i].id, s->child[i]->id, GUID_BYTES);
		r->worker[i].running = s->child[i]->state != CHILD_ENDED;
	}
	return 0;
}

static int
do_end(void *ctx, void *params, void *result, struct err *e)
{
	struct spawn_params *p = params;
	struct ending_result *r = result;
	struct child *c = children_get(ctx, p->id);

	if (!c)
		return err_set(e, ENOENT, "there is no such worker");
	r->changed = c->state != CHILD_ENDED;
	children_end(ctx, c);
	if (c->state != CHILD_ENDED)
		return 0;
	r->ending = c->ending;
	r->status = (uint64_t)c->status;
	children_words(c, r->words);
	children_forget(ctx, c);
	return 0;
}

#define PARAMS(type, fields_) .params = fields_, .params_size = sizeof(struct type)
#define RESULT(type, fields_) .result = fields_, .result_size = sizeof(struct type)

const struct method spawn_methods[] = {
	{ "spawn", "Begins to start a machine's worker; \"ready\" tells what comes of it.",
	    PARAMS(spawn_params, spawn_fields), RESULT(spawn_result, spawn_result_fields), .call = do_spawn },
	{ "ready",
	    "Whether a worker's control socket can be connected to; the reason, when it did not start.",
	    PARAMS(spawn_params, id_fields), RESULT(ready_result, ready_fields), .call = do_ready },
	{ "limit",
	    "Gives a worker's control group a higher limit: a machine whose memory is dynamic is to have "
	    "more.",
	    PARAMS(spawn_params, spawn_fields), .result = none, .call = do_limit },
	{ "list", "All workers, and those that have ended since and were not asked about.", .params = none,
	    RESULT(list_result, list_fields), .call = do_list },
	{ "end", "Ends a worker if it still runs; tells how it ended, and forgets it, once it has.",
	    PARAMS(spawn_params, id_fields), RESULT(ending_result, ending_fields), .call = do_end },
	{ 0 },
};
