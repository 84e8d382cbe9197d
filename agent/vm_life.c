/* agent/vm_life.c - the states of a machine as a table, and what people ask of it. */
#include "agent/vm_life.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/disk_live.h"
#include "agent/files.h"
#include "agent/inventory.h"
#include "agent/vm_console.h"
#include "agent/vm_disks.h"
#include "agent/vm_keeper.h"
#include "lib/log.h"

/* A worker that hangs: a call that times out, its end by request, its end by force. */
enum { FORCE_MS = 30000 };

const char *const vm_state_names[] = { "Off", "Starting", "Running", "Paused", "Stopping", "Saved",
	"Critical", NULL };

/* --- the table --------------------------------------------------------------------------------------------
 */

static const struct move {
	enum vm_state from;
	enum vm_event event;
	enum vm_state to;
} moves[] = {
	{ VM_OFF, VM_EV_START, VM_STARTING },

	{ VM_STARTING, VM_EV_START, VM_STARTING },
	{ VM_STARTING, VM_EV_RUNNING, VM_RUNNING },
	{ VM_STARTING, VM_EV_PAUSED, VM_PAUSED }, /* found again so */
	{ VM_STARTING, VM_EV_FAILED, VM_CRITICAL },
	{ VM_STARTING, VM_EV_STOP, VM_STOPPING },
	{ VM_STARTING, VM_EV_WORKER_OFF, VM_STOPPING },
	{ VM_STARTING, VM_EV_ENDED, VM_OFF },

	{ VM_RUNNING, VM_EV_START, VM_RUNNING },
	{ VM_RUNNING, VM_EV_RUNNING, VM_RUNNING },
	{ VM_RUNNING, VM_EV_PAUSED, VM_PAUSED },
	{ VM_RUNNING, VM_EV_FAILED, VM_CRITICAL },
	{ VM_RUNNING, VM_EV_STOP, VM_STOPPING },
	{ VM_RUNNING, VM_EV_WORKER_OFF, VM_STOPPING },
	{ VM_RUNNING, VM_EV_ENDED, VM_OFF },

	{ VM_PAUSED, VM_EV_START, VM_PAUSED }, /* its keeper has it go on, and then hears that it runs */
	{ VM_PAUSED, VM_EV_RUNNING, VM_RUNNING },
	{ VM_PAUSED, VM_EV_PAUSED, VM_PAUSED },
	{ VM_PAUSED, VM_EV_FAILED, VM_CRITICAL },
	{ VM_PAUSED, VM_EV_STOP, VM_STOPPING },
	{ VM_PAUSED, VM_EV_WORKER_OFF, VM_STOPPING },
	{ VM_PAUSED, VM_EV_ENDED, VM_OFF },

	{ VM_STOPPING, VM_EV_STOP, VM_STOPPING },
	{ VM_STOPPING, VM_EV_STOP_GIVEN_UP, VM_RUNNING },
	{ VM_STOPPING, VM_EV_RUNNING, VM_STOPPING },
	{ VM_STOPPING, VM_EV_PAUSED, VM_STOPPING },
	{ VM_STOPPING, VM_EV_FAILED, VM_CRITICAL },
	{ VM_STOPPING, VM_EV_WORKER_OFF, VM_STOPPING },
	{ VM_STOPPING, VM_EV_ENDED, VM_OFF },

	{ VM_CRITICAL, VM_EV_RUNNING, VM_RUNNING }, /* it was reset */
	{ VM_CRITICAL, VM_EV_FAILED, VM_CRITICAL },
	{ VM_CRITICAL, VM_EV_STOP, VM_STOPPING },
	{ VM_CRITICAL, VM_EV_WORKER_OFF, VM_STOPPING },
	{ VM_CRITICAL, VM_EV_ENDED, VM_OFF },
};

int
vm_next_state(enum vm_state from, enum vm_event ev)
{
	for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++)
		if (moves[i].from == from && moves[i].event == ev)
			return (int)moves[i].to;
	return -1;
}

json_t *
vm_event_data(const struct vm *vm)
{
	char guid[GUID_TEXT + 1];

	guid_format(vm->config.id, guid);
	return json_pack("{s:s, s:s}", "id", guid, "name", vm->name);
}

void
vm_move(struct machines *ms, struct vm *vm, enum vm_event ev, const char *reason)
{
	int to = vm_next_state(vm->state, ev);
	json_t *data;

	if (to == VM_OFF && vm->broken[0]) { /* edited while it ran */
		to = VM_CRITICAL;
		reason = vm->broken;
	}
	if (to < 0 || (to == (int)vm->state && strcmp(reason, vm->reason) == 0))
		return;
	vm->state = (enum vm_state)to;
	snprintf(vm->reason, sizeof(vm->reason), "%s", reason);
	pthread_cond_broadcast(&vm->changed);
	data = vm_event_data(vm);
	json_object_set_new(data, "state", json_string(vm_state_names[to]));
	json_object_set_new(data, "reason", json_string(vm->reason));
	log_msg(LOG_INFO, "%s: %s%s%s", vm->name, vm_state_names[to], reason[0] ? ": " : "", reason);
	ms->publish(ms->agent, "vm.state", data);
}

uint64_t
vm_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void
vm_wait(struct vm *vm, unsigned ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += (long)(ms % 1000) * 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(&vm->changed, &vm->lock, &t);
}

struct console *
vm_console(struct machines *ms, struct vm *vm, unsigned port)
{
	char guid[GUID_TEXT + 1], name[GUID_TEXT + 4];

	guid_format(vm->config.id, guid);
	snprintf(name, sizeof(name), "%s-%u", guid, port % 10);
	if (!vm->console[port])
		vm->console[port] = console_new(ms->consoles, name);
	return vm->console[port];
}

/* --- starting ---------------------------------------------------------------------------------------------
 */

static int
wrong_state(struct fault *f, const struct vm *vm, const char *hint, const char *what)
{
	return fault_set(f, FAULT_VM_WRONG_STATE, "vm", hint, "'%s' is %s and cannot be %s", vm->name,
	    vm_state_names[vm->state], what);
}

static int
gone(struct fault *f, const struct vm *vm)
{
	return fault_set(f, FAULT_VM_NOT_FOUND, "vm", "vm.list shows all machines",
	    "there is no machine '%s' any more", vm->name);
}

/* Can both files be opened? Better said now than by a worker. */
static int
check_files(struct machines *ms, const struct vm *vm, struct fault *f)
{
	const char *const path[] = { vm->config.direct.kernel, vm->config.direct.initrd };
	static const char *const param[] = { "kernel", "initrd" };

	for (int i = 0; i < 2; i++) {
		struct err e = { 0 };
		int fd = path[i][0] ? file_open_image(ms->data, vm->name, path[i], &e) : -1;

		if (fd >= 0)
			close(fd);
		else if (e.code)
			return fault_err(f, e.code == ENOENT ? FAULT_FILE_NOT_FOUND : FAULT_FILE_BAD,
			    param[i], "file.list shows what is there", &e);
	}
	return 0;
}

/* With vm->lock. */
static int
may_start(struct machines *ms, struct vm *vm, bool *changed, struct fault *f)
{
	*changed = false;
	if (vm->gone)
		return gone(f, vm);
	if (atomic_load(&ms->going_down))
		return fault_set(
		    f, FAULT_STOPPING, "vm", NULL, "'%s' cannot be started: the host goes down", vm->name);
	if (vm->broken[0] && !vm->keeper)
		return fault_set(f, FAULT_VM_DOCUMENT_BAD, "vm", "mend the file, or delete the machine",
		    "'%s': %s", vm->name, vm->broken);
	if (vm_next_state(vm->state, VM_EV_START) < 0)
		return wrong_state(f, vm,
		    vm->state == VM_STOPPING ? "wait until it is off" : "turn it off first", "started");
	if (vm->state == VM_RUNNING || vm->state == VM_STARTING)
		return 0;
	*changed = true;
	return vm->state == VM_OFF ? check_files(ms, vm, f) : 0;
}

/* With vm->lock, which is released meanwhile. Who has a file is asked of other machines. */
static int
check_disks(struct machines *ms, struct vm *vm, struct fault *f)
{
	struct vm_config *c = malloc(sizeof(*c));
	int rc;

	if (!c)
		return fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
	*c = vm->config;
	pthread_mutex_unlock(&vm->lock);
	rc = vm_disks_check(ms, c, f);
	free(c);
	pthread_mutex_lock(&vm->lock);
	return rc;
}

/* With vm->lock, which is released meanwhile: a change of its disks is waited for. */
static int
may_start_now(struct machines *ms, struct vm *vm, bool *changed, struct fault *f)
{
	int rc;

	while (vm->disks_busy)
		vm_wait(vm, 1000);
	rc = may_start(ms, vm, changed, f);
	if (rc < 0 || !*changed || vm->state != VM_OFF)
		return rc;
	rc = check_disks(ms, vm, f);
	while (vm->disks_busy)
		vm_wait(vm, 1000);
	return rc < 0 ? rc : may_start(ms, vm, changed, f);
}

int
vm_may_start(struct machines *ms, struct vm *vm, bool *changed, struct fault *f)
{
	int rc;

	inventory_refresh(ms, vm);
	pthread_mutex_lock(&vm->lock);
	rc = may_start_now(ms, vm, changed, f);
	pthread_mutex_unlock(&vm->lock);
	return rc;
}

static int
start_off(struct machines *ms, struct vm *vm, struct fault *f)
{
	struct err e = { 0 };

	if (keeper_new(ms, vm, false, &e) < 0)
		return fault_err(f, FAULT_VM_START_FAILED, "vm", NULL, &e);
	vm_move(ms, vm, VM_EV_START, "");
	return keeper_ask(vm, KEEPER_START, f);
}

int
vm_start(struct machines *ms, struct vm *vm, bool *changed, struct fault *f)
{
	int rc;

	inventory_refresh(ms, vm);
	disk_live_settle(ms, vm);
	pthread_mutex_lock(&vm->lock);
	rc = may_start_now(ms, vm, changed, f);
	if (rc == 0 && *changed)
		rc = vm->state == VM_PAUSED ? keeper_ask(vm, KEEPER_RESUME, f) : start_off(ms, vm, f);
	else
		while (rc == 0 && vm->state == VM_STARTING && vm->keeper) /* another's start */
			vm_wait(vm, 1000);
	pthread_mutex_unlock(&vm->lock);
	return rc;
}

/* With vm->lock. */
static int
begin_start(struct machines *ms, struct vm *vm, struct fault *f)
{
	struct err e = { 0 };

	if (keeper_new(ms, vm, false, &e) < 0)
		return fault_err(f, FAULT_VM_START_FAILED, "vm", NULL, &e);
	vm_move(ms, vm, VM_EV_START, "");
	keeper_post(vm, KEEPER_START);
	return 0;
}

int
vm_start_within(struct machines *ms, struct vm *vm, unsigned patience_ms, struct fault *f)
{
	uint64_t until = vm_now_ms() + patience_ms;
	bool wanted;
	int rc;

	inventory_refresh(ms, vm);
	disk_live_settle(ms, vm);
	pthread_mutex_lock(&vm->lock);
	rc = may_start_now(ms, vm, &wanted, f);
	wanted = wanted && vm->state == VM_OFF;
	if (rc == 0 && wanted)
		rc = begin_start(ms, vm, f);
	while (rc == 0 && vm->state == VM_STARTING && vm->keeper && vm_now_ms() < until)
		vm_wait(vm, 100);
	if (rc == 0 && wanted && vm->state == VM_OFF)
		rc = fault_set(f, FAULT_VM_START_FAILED, "vm", NULL, "%s", vm->reason);
	pthread_mutex_unlock(&vm->lock);
	return rc;
}

/* --- stopping ---------------------------------------------------------------------------------------------
 */

/* With vm->lock. */
static int
turn_off(struct machines *ms, struct vm *vm, const char *why, struct fault *f)
{
	if (!vm->keeper)
		return 0;
	vm_move(ms, vm, VM_EV_STOP, why);
	return keeper_ask(vm, KEEPER_TURN_OFF, f);
}

int
vm_turn_off(struct machines *ms, struct vm *vm, bool *changed, struct fault *f)
{
	int rc;

	pthread_mutex_lock(&vm->lock);
	*changed = vm->keeper != NULL;
	rc = vm->gone ? gone(f, vm) : turn_off(ms, vm, "turned off", f);
	pthread_mutex_unlock(&vm->lock);
	return rc;
}

/* With vm->lock. Its guest was asked, and has said that it will not, or nothing at all. */
static bool
has_refused(const struct vm *vm)
{
	const struct guest_asked *asked = &vm->guest.asked[GUEST_SHUTDOWN];

	return asked->ended && asked->why[0];
}

/* What is waited for; with vm->lock. */
struct wait {
	struct vm *vm;
	const struct vm_patience *p;
	const char *phase;
	uint64_t run, resets; /* as they were */
	bool until_reset;     /* else until it is off */
};

static bool
is_over(const struct wait *w)
{
	return !w->vm->keeper || w->vm->runs != w->run || (w->until_reset && w->vm->resets != w->resets);
}

/* With vm->lock. Until that is so, the time is over (-ETIMEDOUT), the guest will not (-EREMOTEIO) or nobody
 * wants it any more (-ECANCELED). */
static int
wait_for(const struct wait *w)
{
	uint64_t from = vm_now_ms(), now = from, most = (uint64_t)w->p->timeout_s * 1000;
	struct job *j = w->p->job;
	struct vm *vm = w->vm;

	while (!is_over(w) && !has_refused(vm) && now - from < most) {
		pthread_mutex_unlock(&vm->lock); /* a job has locks of its own */
		if (j)
			job_progress(j, w->phase, (now - from) / 1000, w->p->timeout_s, "s");
		bool cancelled = j && job_cancelled(j);
		pthread_mutex_lock(&vm->lock);
		if (cancelled && !is_over(w))
			return -ECANCELED;
		if (!is_over(w) && !has_refused(vm))
			vm_wait(vm, most - (now - from) < 300 ? (unsigned)(most - (now - from)) : 300);
		now = vm_now_ms();
	}
	return is_over(w) ? 0 : has_refused(vm) ? -EREMOTEIO : -ETIMEDOUT;
}

/* With vm->lock. What is said when the machine goes on. */
static int
not_done(struct fault *f, const struct vm *vm, const struct vm_patience *p, int rc, const char *what)
{
	if (rc == -ECANCELED)
		return fault_set(f, FAULT_CANCELLED, NULL, NULL,
		    "'%s' is not waited for any more; its guest may still %s", vm->name, what);
	if (rc == -EREMOTEIO)
		return fault_set(f, FAULT_GUEST_REFUSED, "vm", NULL, "the guest of '%s' does not %s: %s",
		    vm->name, what, vm->guest.asked[GUEST_SHUTDOWN].why);
	return fault_set(f, FAULT_TIMED_OUT, "timeout", NULL, "the guest of '%s' did not %s within %u s",
	    vm->name, what, p->timeout_s);
}

/* With vm->lock. */
static int
give_up(struct machines *ms, struct vm *vm, const struct vm_patience *p, int rc, struct fault *f)
{
	vm_move(ms, vm, VM_EV_STOP_GIVEN_UP, "");
	if (rc != -ETIMEDOUT)
		return not_done(f, vm, p, rc, "shut down");
	return fault_set(f, FAULT_VM_STOP_TIMED_OUT, "timeout",
	    "give it more time, or turn it off: force=true, or mode=turnOff",
	    "the guest of '%s' did not shut down within %u s, and goes on", vm->name, p->timeout_s);
}

static int
shut_down(struct machines *ms, struct vm *vm, const struct vm_patience *p, struct fault *f)
{
	const struct wait w = { .vm = vm, .p = p, .phase = "shutting down", .run = vm->runs };
	char why[80];
	int rc;

	vm_move(ms, vm, VM_EV_STOP, "shutting down");
	vm->guest.asked[GUEST_SHUTDOWN].ended = false;
	rc = keeper_ask(vm, KEEPER_SHUT_DOWN, f);
	if (rc < 0) {
		vm_move(ms, vm, VM_EV_STOP_GIVEN_UP, "");
		return rc;
	}
	rc = wait_for(&w);
	if (rc == 0)
		return 0;
	if (rc == -ECANCELED || !p->force)
		return give_up(ms, vm, p, rc, f);
	if (rc == -EREMOTEIO)
		snprintf(why, sizeof(why), "turned off: its guest refused to shut down");
	else
		snprintf(
		    why, sizeof(why), "turned off: its guest did not shut down within %u s", p->timeout_s);
	return turn_off(ms, vm, why, f);
}

int
vm_shut_down(struct machines *ms, struct vm *vm, const struct vm_patience *p, bool *changed, struct fault *f)
{
	int rc = 0;

	pthread_mutex_lock(&vm->lock);
	while (vm->state == VM_STARTING && vm->keeper)
		vm_wait(vm, 1000);
	*changed = vm->keeper != NULL;
	if (vm->gone)
		rc = gone(f, vm);
	else if (vm->keeper && vm->state == VM_PAUSED)
		rc = wrong_state(f, vm, "start it, or use mode turnOff", "shut down");
	else if (vm->keeper && vm->state == VM_CRITICAL)
		rc = turn_off(ms, vm, "turned off: it could not go on", f);
	else if (vm->keeper)
		rc = shut_down(ms, vm, p, f);
	pthread_mutex_unlock(&vm->lock);
	return rc;
}

/* --- restarting -------------------------------------------------------------------------------------------
 */

/* With vm->lock. */
static int
ask_restart(struct vm *vm, struct fault *f)
{
	struct keeper_call c = { .method = "guest.shutdown", .params = json_pack("{s:s}", "Kind", "Reboot") };
	int rc;

	vm->guest.asked[GUEST_SHUTDOWN].ended = false;
	rc = keeper_call(vm, &c);
	json_decref(c.result);
	if (rc == -ENOTCONN || rc == -ENOENT)
		return fault_set(f, FAULT_GUEST_NO_CONTACT, "vm",
		    "mode=reset restarts it without asking its guest",
		    "the guest of '%s' cannot be asked: %s", vm->name, c.why.msg);
	return rc < 0 ? keeper_fault(f, &c.why) : 0;
}

/* With vm->lock. */
static int
restart(struct vm *vm, const struct vm_patience *p, struct fault *f)
{
	const struct wait w = { .vm = vm,
		.p = p,
		.phase = "restarting",
		.run = vm->runs,
		.resets = vm->resets,
		.until_reset = true };
	int rc = ask_restart(vm, f);

	if (rc < 0)
		return rc;
	rc = wait_for(&w);
	if (rc < 0)
		return not_done(f, vm, p, rc, "restart");
	if (!vm->keeper || vm->runs != w.run)
		return fault_set(f, FAULT_GUEST_REFUSED, "vm", "vm.start starts it",
		    "the guest of '%s' has shut down, and not restarted", vm->name);
	return 0;
}

int
vm_restart(struct vm *vm, const struct vm_patience *p, struct fault *f)
{
	int rc;

	pthread_mutex_lock(&vm->lock);
	if (vm->gone)
		rc = gone(f, vm);
	else if (vm->state != VM_RUNNING)
		rc = wrong_state(f, vm, "vm.start starts it", "restarted");
	else
		rc = restart(vm, p, f);
	pthread_mutex_unlock(&vm->lock);
	return rc;
}

int
vm_reset(struct vm *vm, struct fault *f)
{
	struct keeper_call c = { .method = "reset" };
	int rc;

	pthread_mutex_lock(&vm->lock);
	if (vm->gone)
		rc = gone(f, vm);
	else if (!vm->keeper || vm->state == VM_STARTING || vm->state == VM_STOPPING)
		rc = wrong_state(f, vm, NULL, "reset");
	else
		rc = keeper_call(vm, &c) < 0 ? keeper_fault(f, &c.why) : 0;
	json_decref(c.result);
	pthread_mutex_unlock(&vm->lock);
	return rc;
}

/* --- all of them ------------------------------------------------------------------------------------------
 */

void
vm_find_again(struct machines *ms, struct vm *vm)
{
	char path[sizeof("/workers/.sock") + GUID_TEXT + 256], guid[GUID_TEXT + 1];
	struct err e = { 0 };

	guid_format(vm->config.id, guid);
	snprintf(path, sizeof(path), "%.250s/workers/%s.sock", ms->run, guid);
	if (access(path, F_OK) < 0)
		return;
	pthread_mutex_lock(&vm->lock);
	if (!vm->keeper) {
		vm->state = VM_STARTING; /* until its keeper knows better; not told to anybody */
		if (keeper_new(ms, vm, true, &e) < 0)
			log_msg(LOG_ERROR, "%s: %s", vm->name, e.msg);
		while (vm->keeper && !keeper_settled(vm))
			vm_wait(vm, 1000);
	}
	pthread_mutex_unlock(&vm->lock);
}

void
vm_let_go(struct machines *ms)
{
	struct vm **all;
	size_t n = inventory_all(ms, &all);

	for (size_t i = 0; i < n; i++) {
		pthread_mutex_lock(&all[i]->lock);
		keeper_wake(all[i]);
		pthread_mutex_unlock(&all[i]->lock);
		vm_put(all[i]);
	}
	free(all);
	while (atomic_load(&ms->keepers) > 0)
		usleep(2000);
}

/* With vm->lock. Nobody is waited for here: a worker that hangs must not hold up the others. */
static void
begin_end(struct machines *ms, struct vm *vm)
{
	if (!vm->keeper || vm->state == VM_STOPPING)
		return; /* what somebody has asked for goes on */
	if (vm->state == VM_RUNNING && vm->config.auto_stop == AUTO_STOP_SHUT_DOWN) {
		vm_move(ms, vm, VM_EV_STOP, "the host goes down");
		keeper_post(vm, KEEPER_SHUT_DOWN);
	} else {
		vm_move(ms, vm, VM_EV_STOP, "turned off: the host goes down");
		keeper_post(vm, KEEPER_TURN_OFF);
	}
}

/* Returns how many are not off when the time is over. */
static size_t
wait_all(struct vm **all, size_t n, uint64_t until)
{
	size_t left = 0;

	for (size_t i = 0; i < n; i++) {
		struct vm *vm = all[i];

		pthread_mutex_lock(&vm->lock);
		while (vm->keeper && vm_now_ms() < until)
			vm_wait(vm, 200);
		left += vm->keeper != NULL;
		pthread_mutex_unlock(&vm->lock);
	}
	return left;
}

void
vm_stop_all(struct machines *ms, unsigned seconds)
{
	uint64_t from = vm_now_ms();
	struct vm **all;
	size_t n, left;

	atomic_store(&ms->going_down, true); /* from here on nothing starts */
	n = inventory_all(ms, &all);
	for (size_t i = 0; i < n; i++) {
		pthread_mutex_lock(&all[i]->lock);
		begin_end(ms, all[i]);
		pthread_mutex_unlock(&all[i]->lock);
	}
	left = wait_all(all, n, from + (uint64_t)seconds * 1000);
	for (size_t i = 0; left > 0 && i < n; i++) {
		pthread_mutex_lock(&all[i]->lock);
		if (all[i]->keeper) {
			vm_move(ms, all[i], VM_EV_STOP, "turned off: the host goes down");
			keeper_post(all[i], KEEPER_TURN_OFF);
		}
		pthread_mutex_unlock(&all[i]->lock);
	}
	left = left ? wait_all(all, n, vm_now_ms() + FORCE_MS) : 0;
	if (left)
		log_msg(LOG_ERROR, "%zu machines could not be ended", left);
	for (size_t i = 0; i < n; i++)
		vm_put(all[i]);
	free(all);
}
