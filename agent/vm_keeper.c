/*
 * agent/vm_keeper.c - one thread for each machine that has a worker.
 *
 * What a worker says is a hint only: after "state" it is asked for its status, which counts. A worker may
 * have been taken over by its guest: its sentences are cleaned, its events bounded in number.
 */
#include "agent/vm_keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/files.h"
#include "agent/guest_watch.h"
#include "agent/inventory.h"
#include "agent/memory_balance.h"
#include "agent/spawner.h"
#include "agent/vm_console.h"
#include "agent/vm_disks.h"
#include "lib/control.h"
#include "lib/log.h"
#include "lib/rate.h"
#include "lib/text.h"

enum { CALL_MS = 20000, START_MS = 60000, QUIT_MS = 5000, EVENTS_A_TURN = 32, STACK = 512 * 1024 };
enum { LOOKS_BURST = 20, LOOKS_PER_S = 10, LATER_MS = 100 };

struct request {
	enum keeper_op op;
	bool done;
	bool posted; /* nobody waits: it is freed when it is done */
	int rc;
	struct fault fault;
	struct keeper_call *call; /* KEEPER_CALL */
	struct request *next;
};

struct vm_keeper {
	struct machines *ms;
	struct vm *vm;
	uint8_t id[GUID_BYTES];
	struct control_client *worker; /* NULL: none, or lost */
	int wake;
	bool find_again;
	bool over;                 /* there is no worker any more */
	bool more;                 /* events that poll does not tell of */
	char reason[ERR_MSG_SIZE]; /* why it is over */
	bool lost;                 /* nobody asked for the end */
	bool later;                /* it says so much that the rest has to wait */
	bool unasked;              /* its state may have changed since it was asked */
	struct rate told, looks;
	struct guest_watch guest;
	/* With vm->lock: */
	struct request *queue;
	bool settled;
};

/* --- the worker -------------------------------------------------------------------------------------------
 */

static int
call(struct vm_keeper *k, const char *method, json_t *params, int fd, int ms, json_t **result, struct err *e)
{
	return control_call(k->worker, method, params, &fd, fd >= 0 ? 1 : 0, ms, result, e);
}

static int
connect_worker(struct vm_keeper *k, struct err *e)
{
	char path[PATH_MAX], guid[GUID_TEXT + 1];

	guid_format(k->id, guid);
	snprintf(path, sizeof(path), "%.*s/workers/%s.sock", PATH_MAX - 64, k->ms->run, guid);
	return control_connect(&k->worker, path, e);
}

static void
disconnect(struct vm_keeper *k)
{
	control_close(k->worker);
	k->worker = NULL;
}

/* Has it end by itself, then by force; learns how it did. */
static void
end_worker(struct vm_keeper *k, struct spawn_ending *how)
{
	struct err e = { 0 };

	if (k->worker)
		call(k, "quit", NULL, -1, QUIT_MS, NULL, &e);
	disconnect(k);
	if (spawner_end(k->ms->spawner, k->id, how, &e) < 0 && e.code != ENOENT)
		log_msg(LOG_WARN, "%s: %s", k->vm->name, e.msg);
}

/* --- consoles ---------------------------------------------------------------------------------------------
 */

static int
attach_port(struct vm_keeper *k, unsigned port, struct err *e)
{
	struct console *c;
	int pair[2], rc;

	pthread_mutex_lock(&k->vm->lock);
	c = vm_console(k->ms, k->vm, port);
	pthread_mutex_unlock(&k->vm->lock);
	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, "console");
	rc = call(k, "console.attach", json_pack("{s:i, s:i}", "Port", (int)port, "Stream", 0), pair[1],
	    CALL_MS, NULL, e);
	close(pair[1]);
	if (rc < 0) {
		close(pair[0]);
		return rc;
	}
	console_guest(c, pair[0]);
	return 0;
}

static int
attach_consoles(struct vm_keeper *k, const bool com[VM_COM_PORTS], struct err *e)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < VM_COM_PORTS; i++)
		if (com[i])
			rc = attach_port(k, i, e);
	return rc;
}

/* --- start ------------------------------------------------------------------------------------------------
 */

static int
check_memory(const struct vm_config *c, struct fault *f)
{
	uint64_t total, left;

	balance_host(&total, &left);
	left >>= 20;
	if (left == 0 || c->memory.size_mb <= left)
		return 0;
	return fault_set(f, FAULT_NOT_ENOUGH_MEMORY, "memory", "stop another machine, or give this one less",
	    "it needs %llu MiB, and the host has %llu MiB left", (unsigned long long)c->memory.size_mb,
	    (unsigned long long)left);
}

static int
open_files(struct vm_keeper *k, const struct vm_config *c, int fd[2], struct fault *f)
{
	const char *const path[] = { c->direct.kernel, c->direct.initrd };
	static const char *const param[] = { "kernel", "initrd" };

	for (int i = 0; i < 2; i++) {
		struct err e = { 0 };

		fd[i] = path[i][0] ? file_open_image(k->ms->data, c->name, path[i], &e) : -1;
		if (e.code)
			return fault_err(f, e.code == ENOENT ? FAULT_FILE_NOT_FOUND : FAULT_FILE_BAD,
			    param[i], "file.list shows what is there", &e);
	}
	return 0;
}

static int
spawn(struct vm_keeper *k, const struct vm_config *c, struct fault *f)
{
	uint64_t mb, least;
	struct spawn_ending how;
	struct err e = { 0 };
	int rc;

	vm_config_memory(c, &least, &mb);
	if (c->memory.dynamic) /* more only when it is to have more (guest_watch.h) */
		mb = c->memory.size_mb;
	rc = spawner_spawn(k->ms->spawner, k->id, mb, &e);

	if (rc == -EEXIST) { /* one that is nobody's: it could not be found again */
		spawner_end(k->ms->spawner, k->id, &how, &e);
		rc = spawner_spawn(k->ms->spawner, k->id, mb, &e);
	}
	if (rc == 0)
		return 0;
	return fault_err(f, e.code == ENODEV ? FAULT_HOST_UNFIT : FAULT_VM_START_FAILED, "vm",
	    e.code == ENODEV ? "look into the host's firmware setup for virtualisation" : NULL, &e);
}

/* Before "create": what is there then is part of the machine from its first moment. */
static int
give_disk(struct vm_keeper *k, const struct vm_config *c, const struct vm_disk *d, struct err *e)
{
	struct vm_disk_files files;
	struct fault f = { 0 };
	json_t *params;
	int rc = vm_disk_open(k->ms, c, d, &files, &f);

	if (rc < 0)
		return err_set(e, EIO, "%s", f.message);
	params = vm_disk_worker(d, files.n ? files.n - 1 : 0);
	rc = params ? control_call(k->worker, "disk.add", params, files.fd, files.n, CALL_MS, NULL, e)
		    : err_set(e, ENOMEM, "out of memory");
	vm_disk_close(&files); /* the worker has them, and the locks that are on them */
	return rc;
}

static int
create(struct vm_keeper *k, const struct vm_config *c, const int fd[2], struct err *e)
{
	json_t *params = vm_config_worker(c);
	int rc;

	if (!params)
		return err_set(e, ENOMEM, "out of memory");
	rc = connect_worker(k, e);
	for (size_t i = 0; rc == 0 && i < c->devices.disks; i++)
		rc = give_disk(k, c, &c->devices.disk[i], e);
	if (rc < 0)
		json_decref(params);
	else
		rc = control_call(k->worker, "create", params, fd, fd[1] >= 0 ? 2 : 1, START_MS, NULL, e);
	if (rc == 0)
		rc = attach_consoles(k, c->com, e);
	return rc < 0 ? rc : call(k, "start", NULL, -1, START_MS, NULL, e);
}

static int
start_worker(struct vm_keeper *k, const struct vm_config *c, struct fault *f)
{
	struct spawn_ending how;
	struct err e = { 0 };
	int fd[2] = { -1, -1 }, rc = check_memory(c, f);

	if (rc == 0)
		rc = open_files(k, c, fd, f);
	if (rc == 0)
		rc = vm_disks_check(k->ms, c, f);
	if (rc == 0)
		rc = spawn(k, c, f);
	if (rc == 0 && create(k, c, fd, &e) < 0) {
		rc = fault_err(f, FAULT_VM_START_FAILED, "vm", NULL, &e);
		end_worker(k, &how);
		if (how.words[0] && (e.code == ECONNRESET || e.code == EPIPE))
			fault_set(f, FAULT_VM_START_FAILED, "vm", NULL, "its worker ended %s: %.160s",
			    how.how, how.words);
	}
	for (int i = 0; i < 2; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	return rc;
}

static int
do_start(struct vm_keeper *k, struct fault *f)
{
	struct vm *vm = k->vm;
	struct vm_config *c = malloc(sizeof(*c));
	uint64_t least, most = 0;
	int rc = -ENOMEM;

	if (c) {
		pthread_mutex_lock(&vm->lock);
		*c = vm->config;
		pthread_mutex_unlock(&vm->lock);
		vm_config_memory(c, &least, &most);
		rc = start_worker(k, c, f);
	} else {
		fault_set(f, FAULT_VM_START_FAILED, "vm", NULL, "out of memory");
	}
	free(c);
	if (rc < 0) {
		k->over = true;
		snprintf(k->reason, sizeof(k->reason), "%s", f->message);
		return rc;
	}
	pthread_mutex_lock(&vm->lock);
	vm->started_ms = vm_now_ms();
	vm->panics = vm->resets = 0;
	inventory_mark_running(k->ms, vm, true);
	vm_move(k->ms, vm, VM_EV_RUNNING, "");
	k->settled = true;
	pthread_mutex_unlock(&vm->lock);
	guest_watch_begin(&k->guest, k->ms, vm, most);
	k->more = true; /* what it said while it was asked */
	return 0;
}

/* --- what it says -----------------------------------------------------------------------------------------
 */

static const char *
text_of(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s ? s : "";
}

/* A guest may panic and reset as often as it likes; what is told is bounded. Takes the reference of more. */
static void
tell_all(struct vm_keeper *k, const char *type, json_t *more)
{
	json_t *data;

	k->told.burst = 10;
	k->told.per_s = 1;
	if (rate_take(&k->told, vm_now_ms() * 1000000)) {
		pthread_mutex_lock(&k->vm->lock);
		data = vm_event_data(k->vm);
		pthread_mutex_unlock(&k->vm->lock);
		json_object_update(data, more);
		k->ms->publish(k->ms->agent, type, data);
	}
	json_decref(more);
}

static void
tell(struct vm_keeper *k, const char *type, const char *member, json_t *value)
{
	tell_all(k, type, json_pack("{s:o}", member, value));
}

static const struct {
	const char *name;
	enum vm_event event;
} worker_states[] = {
	{ "None", VM_EV_WORKER_OFF }, /* the agent was killed between spawn and create */
	{ "Off", VM_EV_WORKER_OFF },
	{ "Running", VM_EV_RUNNING },
	{ "Paused", VM_EV_PAUSED },
	{ "Saved", VM_EV_PAUSED },
	{ "Critical", VM_EV_FAILED },
};

static void
apply_status(struct vm_keeper *k, const json_t *status)
{
	uint64_t resets = (uint64_t)json_integer_value(json_object_get(status, "Resets"));
	const char *state = text_of(status, "State"), *reason = text_of(status, "Reason");
	enum vm_event ev = VM_EV_FAILED;
	struct vm *vm = k->vm;
	bool was_reset;

	for (size_t i = 0; i < sizeof(worker_states) / sizeof(worker_states[0]); i++)
		if (strcmp(worker_states[i].name, state) == 0)
			ev = worker_states[i].event;
	pthread_mutex_lock(&vm->lock);
	was_reset = k->settled && resets > vm->resets;
	vm->resets = resets;
	vm->panics = (uint64_t)json_integer_value(json_object_get(status, "Panics"));
	if (ev == VM_EV_WORKER_OFF) {
		k->over = true;
		snprintf(k->reason, sizeof(k->reason), "%s", reason);
	} else {
		/* "requested" explains nothing to anybody. */
		vm_move(k->ms, vm, ev,
		    ev == VM_EV_FAILED || (ev == VM_EV_PAUSED && strcmp(reason, "requested") != 0) ? reason
		    : vm->state == VM_STOPPING ? vm->reason
					       : "");
	}
	pthread_mutex_unlock(&vm->lock);
	if (was_reset)
		tell(k, "vm.reset", "reason", json_string(reason));
}

static int
ask_status(struct vm_keeper *k, struct err *e)
{
	json_t *status;
	int rc = call(k, "status", NULL, -1, CALL_MS, &status, e);

	if (rc == 0)
		apply_status(k, status);
	json_decref(status);
	return rc;
}

/* It ended, unless it only cut us off. */
static void
lost(struct vm_keeper *k)
{
	struct err e = { 0 };

	for (int i = 0; i < 2; i++) {
		disconnect(k);
		if (connect_worker(k, &e) == 0 && ask_status(k, &e) == 0)
			return;
	}
	disconnect(k);
	k->over = k->lost = true;
}

/* What the worker says of a disk, in the words of the interface. It may say anything. */
static json_t *
disk_event(const json_t *params, uint64_t controller, uint64_t lun)
{
	static const struct {
		const char *theirs, *ours;
		json_type type;
	} members[] = { { "Error", "error", JSON_STRING }, { "Operation", "operation", JSON_STRING },
		{ "Offset", "offset", JSON_INTEGER }, { "Iops", "iops", JSON_INTEGER } };
	json_t *data = json_pack("{s:s, s:I, s:I}", "what", text_of(params, "What"), "controller",
	    (json_int_t)controller, "lun", (json_int_t)lun);

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		json_t *v = json_object_get(params, members[i].theirs);

		if (v && json_typeof(v) == members[i].type)
			json_object_set(data, members[i].ours, v);
	}
	return data;
}

static void
hear_disk(struct vm_keeper *k, const json_t *params)
{
	json_int_t controller = json_integer_value(json_object_get(params, "Controller"));
	json_int_t lun = json_integer_value(json_object_get(params, "Lun"));
	const char *what = text_of(params, "What");

	if (controller < 0 || controller >= VM_MAX_CONTROLLERS || lun < 0 || lun >= VM_CONTROLLER_UNITS)
		return;
	pthread_mutex_lock(&k->vm->lock);
	if (strcmp(what, "Ejected") == 0)
		k->vm->ejected[controller] |= 1ull << lun;
	if (strcmp(what, "Removed") == 0)
		k->vm->leaving[controller] &= ~(1ull << lun);
	if (strcmp(what, "MergeEnded") == 0) {
		k->vm->merge_end.told = true;
		k->vm->merge_end.controller = (uint64_t)controller;
		k->vm->merge_end.lun = (uint64_t)lun;
		text_copy(k->vm->merge_end.why, sizeof(k->vm->merge_end.why), text_of(params, "Error"));
		text_clean(k->vm->merge_end.why);
	}
	pthread_cond_broadcast(&k->vm->changed);
	pthread_mutex_unlock(&k->vm->lock);
	tell_all(k, "vm.disk", disk_event(params, (uint64_t)controller, (uint64_t)lun));
}

/* Returns whether its state may have changed. */
static bool
hear(struct vm_keeper *k, const json_t *event)
{
	const char *method = text_of(event, "method");
	json_t *params = json_object_get(event, "params");

	if (strcmp(method, "disk") == 0)
		hear_disk(k, params);
	if (strcmp(method, "panic") == 0)
		tell(k, "vm.panic", "text", json_string(text_of(params, "Text")));
	guest_watch_hear(&k->guest, method, params);
	return strcmp(method, "state") == 0;
}

/* Each look may be told to everybody, and logged. */
static void
look_closer(struct vm_keeper *k)
{
	struct err e = { 0 };
	bool unasked = k->unasked;

	k->looks.burst = LOOKS_BURST;
	k->looks.per_s = LOOKS_PER_S;
	k->later = !rate_take(&k->looks, vm_now_ms() * 1000000);
	if (k->later)
		return;
	k->more = true;
	k->unasked = false;
	if (unasked && ask_status(k, &e) < 0 && e.code != ETIMEDOUT)
		lost(k);
}

static void
listen_to(struct vm_keeper *k)
{
	struct err e = { 0 };
	json_t *event;
	int n = 0;

	k->more = k->later = false;
	for (; n < EVENTS_A_TURN && (event = control_next_event(k->worker, 0, &e)); n++) {
		k->unasked |= hear(k, event);
		json_decref(event);
	}
	if (n < EVENTS_A_TURN && e.code != ETIMEDOUT)
		lost(k);
	else if (k->unasked || n == EVENTS_A_TURN)
		look_closer(k);
	vm_disks_settle(k->ms, k->vm);
}

/* --- what others ask --------------------------------------------------------------------------------------
 */

static int
ask_worker(struct vm_keeper *k, const char *method, struct fault *f)
{
	struct err e = { 0 };
	int rc = call(k, method, NULL, -1, CALL_MS, NULL, &e);

	k->more = true;
	return rc == 0 ? 0 : keeper_fault(f, &e);
}

static int
do_turn_off(struct vm_keeper *k, struct fault *f)
{
	(void)f;
	k->over = true; /* without the guest's leave: its end comes with the worker's */
	pthread_mutex_lock(&k->vm->lock);
	snprintf(k->reason, sizeof(k->reason), "%s", k->vm->reason);
	pthread_mutex_unlock(&k->vm->lock);
	return 0;
}

static int
do_resume(struct vm_keeper *k, struct fault *f)
{
	struct err e = { 0 };
	int rc = ask_worker(k, "start", f);

	if (rc == 0)
		ask_status(k, &e);
	return rc;
}

/* By the component for it, whose answer is an event; a guest that has no driver for that has a power button.
 */
static int
do_shut_down(struct vm_keeper *k, struct fault *f)
{
	struct err e = { 0 };
	int rc = call(k, "guest.shutdown", json_pack("{s:s}", "Kind", "PowerOff"), -1, CALL_MS, NULL, &e);

	k->more = true;
	if (rc == 0 || rc == -EBUSY) /* it was asked before */
		return 0;
	if (rc == -ECONNRESET || rc == -EPIPE)
		return keeper_fault(f, &e);
	return ask_worker(k, "power_button", f);
}

int
keeper_fault(struct fault *f, const struct err *why)
{
	if (why->code == ECONNRESET || why->code == EPIPE)
		return fault_set(f, FAULT_VM_WORKER_LOST, "vm", NULL, "its worker has ended");
	return fault_err(f, FAULT_VM_WORKER_FAILED, "vm", NULL, why);
}

/* What it said before it answered comes before the answer here as well: whoever asks finds vm as the worker
 * saw it. */
static void
hear_what_came(struct vm_keeper *k)
{
	struct err e = { 0 };
	json_t *event;

	for (int n = 0; n < EVENTS_A_TURN && (event = control_next_event(k->worker, 0, &e)); n++) {
		k->unasked |= hear(k, event);
		json_decref(event);
	}
	k->more = true;
}

static int
do_call(struct vm_keeper *k, struct keeper_call *c)
{
	int rc = control_call(
	    k->worker, c->method, c->params, c->fd, c->fds, c->ms ? c->ms : CALL_MS, &c->result, &c->why);

	c->params = NULL;
	hear_what_came(k);
	return rc;
}

static int (*const ops[])(struct vm_keeper *, struct fault *) = {
	[KEEPER_START] = do_start,
	[KEEPER_RESUME] = do_resume,
	[KEEPER_SHUT_DOWN] = do_shut_down,
	[KEEPER_TURN_OFF] = do_turn_off,
};

static struct request *
take(struct vm_keeper *k)
{
	struct request *r;

	pthread_mutex_lock(&k->vm->lock);
	r = k->queue;
	if (r)
		k->queue = r->next;
	pthread_mutex_unlock(&k->vm->lock);
	return r;
}

/* The end of the machine answers whoever wanted it; the last to be told. With vm->lock. */
static void
answer(struct vm_keeper *k, struct request *r)
{
	r->done = true;
	pthread_cond_broadcast(&k->vm->changed);
	if (r->posted)
		free(r);
}

static void
serve(struct vm_keeper *k, struct request **ending)
{
	struct request *r;

	while (!k->over && (r = take(k))) {
		r->rc = r->call ? do_call(k, r->call) : ops[r->op](k, &r->fault);
		if (k->over) {
			*ending = r;
			return;
		}
		pthread_mutex_lock(&k->vm->lock);
		answer(k, r);
		pthread_mutex_unlock(&k->vm->lock);
	}
}

/* --- the thread -------------------------------------------------------------------------------------------
 */

static void
find_again(struct vm_keeper *k)
{
	struct vm *vm = k->vm;
	bool com[VM_COM_PORTS];
	struct err e = { 0 };
	json_t *stats = NULL;
	uint64_t age, least, most;

	if (connect_worker(k, &e) < 0 || ask_status(k, &e) < 0) {
		k->over = k->lost = true;
		return;
	}
	if (k->over)
		return;
	pthread_mutex_lock(&vm->lock);
	memcpy(com, vm->config.com, sizeof(com));
	vm_config_memory(&vm->config, &least, &most);
	pthread_mutex_unlock(&vm->lock);
	if (attach_consoles(k, com, &e) < 0)
		log_msg(LOG_WARN, "%s: console: %s", vm->name, e.msg);
	call(k, "statistics", NULL, -1, CALL_MS, &stats, &e);
	age = (uint64_t)json_integer_value(json_object_get(stats, "ReferenceTimeInMs"));
	json_decref(stats);
	pthread_mutex_lock(&vm->lock);
	vm->started_ms = vm_now_ms() - age;
	k->settled = true;
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
	guest_watch_begin(&k->guest, k->ms, vm, most);
	k->more = true;
}

/* Why it is off, from what the spawner knows. */
static void
explain(struct vm_keeper *k, const struct spawn_ending *how)
{
	json_t *data;

	if (!k->lost)
		return;
	snprintf(k->reason, sizeof(k->reason), "its worker ended%s%s%s%.160s", how->how[0] ? " " : "",
	    how->how, how->words[0] ? ": " : "", how->words);
	pthread_mutex_lock(&k->vm->lock);
	data = vm_event_data(k->vm);
	pthread_mutex_unlock(&k->vm->lock);
	json_object_set_new(data, "reason", json_string(k->reason));
	json_object_set_new(data, "lastWords", json_string(how->words));
	k->ms->publish(k->ms->agent, "vm.workerLost", data);
}

/* With vm->lock. Who else waits is told that there is nothing left to ask. */
static void
answer_rest(struct vm_keeper *k)
{
	struct request *r;

	while ((r = k->queue)) {
		k->queue = r->next;
		if (r->call) {
			json_decref(r->call->params);
			r->call->params = NULL;
			err_set(&r->call->why, ECONNRESET, "its worker has ended");
		}
		r->rc = r->op == KEEPER_TURN_OFF || r->op == KEEPER_SHUT_DOWN
			    ? 0
			    : fault_set(&r->fault, FAULT_VM_WORKER_LOST, "vm", NULL, "its worker has ended");
		answer(k, r);
	}
}

static void
finish(struct vm_keeper *k, struct request *ending)
{
	struct machines *ms = k->ms;
	struct vm *vm = k->vm;
	struct spawn_ending how = { 0 };

	if (k->over) {
		end_worker(k, &how);
		explain(k, &how);
	}
	disconnect(k);
	pthread_mutex_lock(&vm->lock);
	if (k->over) {
		memset(vm->leaving, 0, sizeof(vm->leaving));
		memset(&vm->guest, 0, sizeof(vm->guest));
		if (!atomic_load(&ms->going_down) && !k->lost && !vm->gone)
			inventory_mark_running(ms, vm, false);
		vm->started_ms = 0;
	}
	vm->keeper = NULL;
	if (k->over)
		vm_move(ms, vm, VM_EV_ENDED, k->reason);
	if (ending)
		answer(k, ending);
	answer_rest(k);
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
	close(k->wake);
	free(k);
	vm_put(vm);
	atomic_fetch_sub(&ms->keepers, 1);
}

/* How long it may sleep. */
static int
patience(struct vm_keeper *k)
{
	bool asked = false;
	int ms, guest = k->worker ? guest_watch_turn(&k->guest, k->worker, &asked) : -1;

	k->more |= asked;
	ms = k->more ? 0 : k->later ? LATER_MS : -1;
	return guest >= 0 && (ms < 0 || guest < ms) ? guest : ms;
}

static void *
keeper_main(void *arg)
{
	struct vm_keeper *k = arg;
	struct request *ending = NULL;
	uint64_t n;

	if (k->find_again)
		find_again(k);
	serve(k, &ending);
	while (!k->over && !atomic_load(&k->ms->stopping)) {
		struct pollfd p[2] = { { .fd = k->wake, .events = POLLIN },
			{ .fd = k->worker && !k->later ? control_client_fd(k->worker) : -1,
			    .events = POLLIN } };

		poll(p, 2, patience(k));
		if (p[0].revents && read(k->wake, &n, sizeof(n)) < 0)
			log_msg(LOG_ERROR, "%s: eventfd: %s", k->vm->name, strerror(errno));
		serve(k, &ending);
		if (!k->over && k->worker && (p[1].revents || k->more || k->later))
			listen_to(k);
	}
	finish(k, ending);
	return NULL;
}

static int
start_thread(struct vm_keeper *k)
{
	pthread_attr_t attr;
	pthread_t t;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK);
	rc = pthread_create(&t, &attr, keeper_main, k);
	pthread_attr_destroy(&attr);
	return -rc;
}

int
keeper_new(struct machines *ms, struct vm *vm, bool again, struct err *e)
{
	struct vm_keeper *k = calloc(1, sizeof(*k));
	int rc = -ENOMEM;

	if (k) {
		k->ms = ms;
		k->vm = vm_get(vm);
		memcpy(k->id, vm->config.id, sizeof(k->id));
		k->find_again = again;
		k->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		atomic_fetch_add(&ms->keepers, 1);
		vm->keeper = k;
		vm->runs++;
		rc = k->wake < 0 ? -errno : start_thread(k);
	}
	if (rc == 0)
		return 0;
	if (k) {
		vm->keeper = NULL;
		atomic_fetch_sub(&ms->keepers, 1);
		if (k->wake >= 0)
			close(k->wake);
		free(k);
		vm_put(vm);
	}
	return err_set(e, -rc, "its keeper cannot be started: %s", strerror(-rc));
}

void
keeper_wake(struct vm *vm)
{
	uint64_t one = 1;

	if (vm->keeper && write(vm->keeper->wake, &one, sizeof(one)) < 0)
		log_msg(LOG_ERROR, "%s: eventfd: %s", vm->name, strerror(errno));
}

bool
keeper_settled(const struct vm *vm)
{
	return vm->keeper->settled;
}

static void
put(struct vm *vm, struct request *r)
{
	struct request **at = &vm->keeper->queue;

	while (*at)
		at = &(*at)->next;
	*at = r;
	keeper_wake(vm);
}

void
keeper_post(struct vm *vm, enum keeper_op op)
{
	struct request *r = calloc(1, sizeof(*r));

	if (!r) {
		log_msg(LOG_ERROR, "%s: out of memory", vm->name);
		return;
	}
	r->op = op;
	r->posted = true;
	put(vm, r);
}

int
keeper_ask(struct vm *vm, enum keeper_op op, struct fault *f)
{
	struct request r = { .op = op };

	put(vm, &r);
	while (!r.done)
		pthread_cond_wait(&vm->changed, &vm->lock);
	if (r.rc < 0 && f)
		*f = r.fault;
	return r.rc;
}

int
keeper_call(struct vm *vm, struct keeper_call *c)
{
	struct request r = { .op = KEEPER_CALL, .call = c };

	memset(&c->why, 0, sizeof(c->why));
	c->result = NULL;
	put(vm, &r);
	while (!r.done)
		pthread_cond_wait(&vm->changed, &vm->lock);
	return r.rc < 0 ? -c->why.code : 0;
}
