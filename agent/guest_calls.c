/* agent/guest_calls.c - what a guest tells and is asked for: facts, restart, freezing, copies of files. */
#include "agent/guest_calls.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files.h"
#include "agent/inventory.h"
#include "agent/vm_keeper.h"
#include "agent/vm_life.h"
#include "lib/text.h"

enum {
	LOOK_MS = 5000,
	FREEZE_MS = 120000, /* a worker gives up before that */
	WAIT_MS = 300,
};

const char *const guest_pools[] = { "Intrinsic", "Guest", NULL };

struct fact {
	char key[GUEST_KEY_SIZE], value[GUEST_VALUE_SIZE];
};
struct guest_result {
	struct vm_guest guest;
	size_t facts;
	struct fact fact;
	char path[2 * GUEST_PATH_SIZE];
	uint64_t size;
};

/* clang-format off */
#define TEXT(s, m) .type = FIELD_STRING, FIELD_AT(s, m), .size = sizeof(((struct s *)0)->m), .max = sizeof(((struct s *)0)->m) - 1
static const struct field fact_fields[] = {
	{ "key", TEXT(fact, key), .help = "Its name." },
	{ "value", TEXT(fact, value), .help = "Its value." },
	{ 0 }
};
const struct field guest_get_result[] = {
	{ "heartbeat", FIELD_ENUM, FIELD_AT(guest_result, guest.heartbeat), .names = vm_heartbeats, .help = "Whether it lives; None: the machine does not run." },
	{ "name", TEXT(guest_result, guest.name), .help = "What it calls itself." },
	{ "system", TEXT(guest_result, guest.system), .help = "Its system." },
	{ "version", TEXT(guest_result, guest.version), .help = "That system's version." },
	{ "addresses", FIELD_STRINGS, FIELD_AT(guest_result, guest.address), .max = VM_ADDRESSES, .size = VM_ADDRESS_SIZE,
	  .count_offset = offsetof(struct guest_result, guest.addresses), .help = "Its addresses." },
	{ "frozen", FIELD_BOOL, FIELD_AT(guest_result, guest.frozen), .help = "Its file systems stand still (guest.freeze)." },
	{ "facts", FIELD_LIST, FIELD_AT(guest_result, fact), .max = GUEST_FACTS, .size = sizeof(struct fact),
	  .count_offset = offsetof(struct guest_result, facts), .fields = fact_fields, .help = "All that the pool has, as the guest told it last." },
	{ 0 }
};
const struct field guest_copy_result[] = {
	{ "path", TEXT(guest_result, path), .help = "Where the file is in the guest." },
	{ "size", FIELD_UINT, FIELD_AT(guest_result, size), .max = INT64_MAX, .unit = "bytes", .help = "Its size." },
	{ 0 }
};
/* The first part of that, as it is known here. */
static const struct field known_fields[] = {
	{ "heartbeat", FIELD_ENUM, FIELD_AT(vm_guest, heartbeat), .names = vm_heartbeats, .help = "." },
	{ "name", TEXT(vm_guest, name), .help = "." },
	{ "system", TEXT(vm_guest, system), .help = "." },
	{ "version", TEXT(vm_guest, version), .help = "." },
	{ "addresses", FIELD_STRINGS, FIELD_AT(vm_guest, address), .max = VM_ADDRESSES, .size = VM_ADDRESS_SIZE,
	  .count_offset = offsetof(struct vm_guest, addresses), .help = "." },
	{ "frozen", FIELD_BOOL, FIELD_AT(vm_guest, frozen), .help = "." },
	{ 0 }
};
/* clang-format on */

static int
no_memory(struct fault *f)
{
	return fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
}

/* --- asking -----------------------------------------------------------------------------------------------
 */

/* With vm->lock. */
static int
must_run(struct call *c, const struct vm *vm, struct fault *f)
{
	int rc = call_match(c, vm->config.revision, f);

	if (rc == 0 && (!vm->keeper || vm->state != VM_RUNNING))
		rc = fault_set(f, FAULT_VM_WRONG_STATE, "vm", NULL,
		    "'%s' is %s: a guest that does not run cannot be asked", vm->name,
		    vm_state_names[vm->state]);
	return rc;
}

/* With vm->lock. Whether the worker has begun to ask; ask's params are taken. */
static int
begin(struct vm *vm, enum guest_op op, struct keeper_call *ask, struct fault *f)
{
	int rc;

	vm->guest.asked[op].ended = false;
	rc = keeper_call(vm, ask);
	json_decref(ask->result);
	if (rc == -ENOTCONN || rc == -ENOENT)
		return fault_set(f, FAULT_GUEST_NO_CONTACT, "vm",
		    "integration.list shows what is offered to it, and what it has a driver for",
		    "the guest of '%s' cannot be asked: %s", vm->name, ask->why.msg);
	if (rc == -EBUSY)
		return fault_err(f, FAULT_TOO_BUSY, "vm", NULL, &ask->why);
	return rc < 0 ? keeper_fault(f, &ask->why) : 0;
}

/* With vm->lock. */
static int
how_it_ended(const struct vm *vm, uint64_t run, enum guest_op op, struct fault *f)
{
	const struct guest_asked *asked = &vm->guest.asked[op];

	if (!vm->keeper || vm->runs != run)
		return fault_set(
		    f, FAULT_VM_WORKER_LOST, "vm", NULL, "'%s' has ended before it was done", vm->name);
	if (!asked->ended)
		return fault_set(
		    f, FAULT_GUEST_REFUSED, "vm", NULL, "the guest of '%s' does not answer", vm->name);
	if (asked->why[0])
		return fault_set(
		    f, FAULT_GUEST_REFUSED, "vm", NULL, "the guest of '%s': %s", vm->name, asked->why);
	return 0;
}

/* With vm->lock. */
static int
wait_ended(struct vm *vm, enum guest_op op, struct fault *f)
{
	uint64_t run = vm->runs, until = vm_now_ms() + FREEZE_MS;

	while (vm->keeper && vm->runs == run && !vm->guest.asked[op].ended && vm_now_ms() < until)
		vm_wait(vm, WAIT_MS);
	return how_it_ended(vm, run, op, f);
}

/* --- facts ------------------------------------------------------------------------------------------------
 */

static json_t *
clean_text(const json_t *value, size_t size)
{
	const char *s = json_string_value(value);
	char *copy = malloc(size);
	json_t *text;

	if (!copy)
		return NULL;
	text_copy(copy, size, s ? s : "");
	text_clean(copy);
	text = json_string(copy);
	free(copy);
	return text;
}

static size_t
take_page(json_t *facts, const json_t *page)
{
	const json_t *items = json_object_get(page, "Items"), *item;
	size_t i;

	json_array_foreach(items, i, item)
	{
		json_t *fact = json_object();

		json_object_set_new(fact, "key", clean_text(json_object_get(item, "Key"), GUEST_KEY_SIZE));
		json_object_set_new(
		    fact, "value", clean_text(json_object_get(item, "Value"), GUEST_VALUE_SIZE));
		if (json_array_size(facts) < GUEST_FACTS)
			json_array_append(facts, fact);
		json_decref(fact);
	}
	return json_array_size(items);
}

/* With vm->lock, which is released meanwhile. A machine without the component has none. */
static void
read_facts(struct vm *vm, unsigned pool, json_t *facts)
{
	size_t got = 1;

	for (size_t from = 0; got && from < GUEST_FACTS && vm->keeper && vm->state != VM_STARTING;
	     from += got) {
		struct keeper_call ask = { .method = "kvp.enumerate",
			.params = json_pack(
			    "{s:s, s:I}", "Pool", guest_pools[pool], "From", (json_int_t)from),
			.ms = LOOK_MS };

		keeper_call(vm, &ask);
		got = take_page(facts, ask.result);
		json_decref(ask.result);
	}
}

/* With vm->lock. */
static int
refresh(struct call *c, struct vm *vm, unsigned pool, struct fault *f)
{
	struct keeper_call ask = { .method = "kvp.enumerate" };
	int rc = must_run(c, vm, f);

	if (rc < 0)
		return rc;
	ask.params = json_pack("{s:s, s:b}", "Pool", guest_pools[pool], "Refresh", true);
	rc = begin(vm, GUEST_READ, &ask, f);
	if (rc < 0 && f->code == FAULT_TOO_BUSY) { /* it is being asked: that will do */
		*f = (struct fault){ 0 };
		rc = 0;
	}
	return rc < 0 ? rc : wait_ended(vm, GUEST_READ, f);
}

/* With vm->lock. The facts of both pools may be known by now, but not yet to its keeper. */
static json_t *
show(const struct vm *vm, unsigned pool, const json_t *facts)
{
	struct vm_guest g = vm->guest;
	const json_t *fact;
	size_t i;

	if (pool != POOL_INTRINSIC)
		return schema_write(known_fields, &g);
	guest_forget_facts(&g);
	json_array_foreach(facts, i, fact)
	{
		guest_take_fact(&g, json_string_value(json_object_get(fact, "key")),
		    json_string_value(json_object_get(fact, "value")));
	}
	return schema_write(known_fields, &g);
}

static int
get(struct call *c, struct vm *vm, const struct guest_params *p, json_t *result, struct fault *f)
{
	json_t *facts = json_array(), *known;
	int rc = p->refresh ? refresh(c, vm, p->pool, f) : 0;

	if (rc == 0)
		read_facts(vm, p->pool, facts);
	known = show(vm, p->pool, facts);
	if (json_object_update(result, known) < 0 || json_object_set(result, "facts", facts) < 0)
		rc = no_memory(f);
	json_decref(known);
	json_decref(facts);
	return rc;
}

int
guest_call_get(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct guest_params *p = params;
	struct vm *vm = call_vm(c, p->vm, f);
	int rc;

	if (!vm)
		return -1;
	pthread_mutex_lock(&vm->lock);
	rc = get(c, vm, p, result, f);
	pthread_mutex_unlock(&vm->lock);
	vm_put(vm);
	return rc;
}

/* --- standing still ---------------------------------------------------------------------------------------
 */

static int
freeze(struct call *c, struct vm *vm, uint64_t seconds, struct fault *f)
{
	struct keeper_call ask = { .method = "guest.freeze" };
	int rc = must_run(c, vm, f);

	if (rc < 0 || call_would(c, "have the file systems of %s stand still for %llu s at most", vm->name,
			  (unsigned long long)seconds))
		return rc;
	ask.params = json_pack("{s:I}", "TimeLimit", (json_int_t)seconds);
	rc = begin(vm, GUEST_FREEZE, &ask, f);
	return rc < 0 ? rc : wait_ended(vm, GUEST_FREEZE, f);
}

int
guest_call_freeze(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct guest_params *p = params;
	struct vm *vm = call_vm(c, p->vm, f);
	int rc;

	(void)result;
	if (!vm)
		return -1;
	pthread_mutex_lock(&vm->lock);
	rc = freeze(c, vm, p->timeout, f);
	pthread_mutex_unlock(&vm->lock);
	vm_put(vm);
	return rc;
}

/* One that has thawed by itself was too late for whoever thought that it stood still. */
static int
thaw(struct call *c, struct vm *vm, struct fault *f)
{
	struct keeper_call ask = { .method = "guest.thaw" };
	int rc = must_run(c, vm, f);

	if (rc < 0 || call_would(c, "have the file systems of %s go on", vm->name))
		return rc;
	vm->guest.asked[GUEST_THAW].ended = false;
	rc = keeper_call(vm, &ask);
	json_decref(ask.result);
	if (rc == -EALREADY)
		return fault_set(f, FAULT_VM_WRONG_STATE, "vm", "guest.freeze takes a time limit",
		    "the guest of '%s' does not stand still (any more)", vm->name);
	if (rc == -ENOTCONN || rc == -ENOENT)
		return fault_err(f, FAULT_GUEST_NO_CONTACT, "vm", NULL, &ask.why);
	return rc < 0 ? keeper_fault(f, &ask.why) : wait_ended(vm, GUEST_THAW, f);
}

int
guest_call_thaw(struct call *c, const void *params, json_t *result, struct fault *f)
{
	struct vm *vm = call_vm(c, ((const struct guest_params *)params)->vm, f);
	int rc;

	(void)result;
	if (!vm)
		return -1;
	pthread_mutex_lock(&vm->lock);
	rc = thaw(c, vm, f);
	pthread_mutex_unlock(&vm->lock);
	vm_put(vm);
	return rc;
}

/* --- restarting -------------------------------------------------------------------------------------------
 */

int
guest_call_restart(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct guest_params *p = params;
	const struct vm_patience patience = { .timeout_s = (unsigned)p->timeout, .job = c->job };
	struct vm *vm = call_vm(c, p->vm, f);
	int rc;

	(void)result;
	if (!vm)
		return -1;
	pthread_mutex_lock(&vm->lock);
	rc = p->mode == RESTART_GUEST ? must_run(c, vm, f) : call_match(c, vm->config.revision, f);
	if (rc == 0 && !vm->keeper)
		rc = fault_set(f, FAULT_VM_WRONG_STATE, "vm", "vm.start starts it", "'%s' is Off", vm->name);
	pthread_mutex_unlock(&vm->lock);
	if (rc == 0 &&
	    !call_would(c, p->mode == RESTART_GUEST ? "ask the guest of %s to restart" : "reset %s", p->vm))
		rc = p->mode == RESTART_GUEST ? vm_restart(vm, &patience, f) : vm_reset(vm, f);
	vm_put(vm);
	return rc;
}

/* --- copies -----------------------------------------------------------------------------------------------
 */

struct copy {
	struct call *c;
	const struct guest_params *p;
	struct vm *vm;
	char source[VM_PATH_SIZE], folder[GUEST_PATH_SIZE], name[GUEST_PATH_SIZE];
	int fd;
	uint64_t size;
	json_t *result;
	struct fault *f;
};

/* Of the guest's or ours: what is behind the last separator. */
static const char *
last_part(const char *path)
{
	const char *name = path;

	for (const char *s = path; *s; s++)
		if (*s == '/' || *s == '\\')
			name = s + 1;
	return name;
}

/* A destination that ends with a separator is a folder. */
static int
split(struct copy *k)
{
	const char *to = k->p->destination, *name = last_part(to);
	size_t len = (size_t)(name - to);

	if (len == 0)
		return fault_set(k->f, FAULT_BAD_PARAMS, "destination", NULL,
		    "'%s' is no whole path, such as /tmp/file, /tmp/ or C:\\Temp\\", to);
	memcpy(k->folder, to, len);
	while (
	    len > 1 && (k->folder[len - 1] == '/' || k->folder[len - 1] == '\\') && k->folder[len - 2] != ':')
		len--;
	k->folder[len] = '\0';
	text_copy(k->name, sizeof(k->name), *name ? name : last_part(k->source));
	return 0;
}

static int
open_source(struct copy *k)
{
	const char *data = k->c->agent->o.data;
	struct err e = { 0 };
	char name[VM_NAME_SIZE];
	struct stat st;

	pthread_mutex_lock(&k->vm->lock);
	memcpy(name, k->vm->name, sizeof(name));
	pthread_mutex_unlock(&k->vm->lock);
	if (file_path_tidy(data, name, k->p->source, k->source, sizeof(k->source), &e) < 0)
		return fault_err(k->f, FAULT_FILE_BAD, "source", "file.list shows what there is", &e);
	k->fd = file_open_image(data, name, k->source, &e);
	if (k->fd < 0)
		return fault_err(k->f, e.code == ENOENT ? FAULT_FILE_NOT_FOUND : FAULT_FILE_BAD, "source",
		    "file.list shows what there is", &e);
	if (fstat(k->fd, &st) < 0)
		return fault_set(k->f, FAULT_STORAGE, "source", NULL, "%s: %s", k->source, strerror(errno));
	k->size = (uint64_t)st.st_size;
	return split(k);
}

/* With vm->lock. */
static void
cancel_copy(struct vm *vm)
{
	struct keeper_call ask = { .method = "guest.copy.cancel" };

	if (vm->keeper)
		keeper_call(vm, &ask);
	json_decref(ask.result);
}

/* With vm->lock. The worker ends it by itself if the guest does not answer; while the machine is paused it
 * rests. */
static int
follow(struct copy *k)
{
	uint64_t run = k->vm->runs;
	bool cancelled = false;

	while (k->vm->keeper && k->vm->runs == run && !k->vm->guest.asked[GUEST_COPY].ended) {
		uint64_t done = k->vm->guest.copied;

		pthread_mutex_unlock(&k->vm->lock);
		job_progress(k->c->job, "copying", done < k->size ? done : k->size, k->size, "bytes");
		cancelled = job_cancelled(k->c->job);
		pthread_mutex_lock(&k->vm->lock);
		if (cancelled) {
			cancel_copy(k->vm);
			return fault_set(k->f, FAULT_CANCELLED, NULL, NULL,
			    "cancelled: the guest removes what it has of %s", k->name);
		}
		if (!k->vm->guest.asked[GUEST_COPY].ended)
			vm_wait(k->vm, WAIT_MS);
	}
	return how_it_ended(k->vm, run, GUEST_COPY, k->f);
}

static int
copy(struct copy *k)
{
	struct keeper_call ask = { .method = "guest.copy", .fd = &k->fd, .fds = 1 };
	int rc;

	ask.params = json_pack("{s:i, s:s, s:s, s:b, s:b}", "File", 0, "Name", k->name, "Path", k->folder,
	    "Overwrite", k->p->overwrite, "CreatePath", k->p->create_path);
	pthread_mutex_lock(&k->vm->lock);
	k->vm->guest.copied = 0;
	if (k->vm->keeper && k->vm->state == VM_RUNNING) {
		rc = begin(k->vm, GUEST_COPY, &ask, k->f);
	} else {
		json_decref(ask.params);
		rc = must_run(k->c, k->vm, k->f);
	}
	if (rc == 0)
		rc = follow(k);
	pthread_mutex_unlock(&k->vm->lock);
	return rc;
}

static int
copy_checked(struct copy *k)
{
	char path[2 * GUEST_PATH_SIZE];
	const char *between = strchr("/\\", k->folder[strlen(k->folder) - 1]) ? ""
			      : strchr(k->folder, '\\')                       ? "\\"
									      : "/";
	int rc;

	pthread_mutex_lock(&k->vm->lock);
	rc = must_run(k->c, k->vm, k->f);
	pthread_mutex_unlock(&k->vm->lock);
	snprintf(path, sizeof(path), "%s%s%s", k->folder, between, k->name);
	if (rc == 0 && !call_would(k->c, "copy %s to %s in %s", k->source, path, k->p->vm))
		rc = copy(k);
	json_object_set_new(k->result, "path", json_string(path));
	json_object_set_new(k->result, "size", json_integer((json_int_t)k->size));
	return rc;
}

int
guest_call_copy(struct call *c, const void *params, json_t *result, struct fault *f)
{
	struct copy k = { .c = c, .p = params, .fd = -1, .result = result, .f = f };
	int rc;

	k.vm = call_vm(c, k.p->vm, f);
	if (!k.vm)
		return -1;
	rc = open_source(&k);
	if (rc == 0)
		rc = copy_checked(&k);
	if (k.fd >= 0)
		close(k.fd);
	vm_put(k.vm);
	return rc;
}

void
guest_undo_copy(struct agent *a, json_t *params)
{
	const char *name = json_string_value(json_object_get(params, "vm"));
	struct vm *vm = name ? inventory_find(a->machines, name) : NULL;

	if (!vm)
		return;
	pthread_mutex_lock(&vm->lock);
	cancel_copy(vm);
	pthread_mutex_unlock(&vm->lock);
	vm_put(vm);
}
