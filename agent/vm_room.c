/* agent/vm_room.c - opening and closing the machines room, and automatic start. */
#include "agent/vm_room.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/disk_live.h"
#include "agent/inventory.h"
#include "agent/memory_balance.h"
#include "agent/spawner.h"
#include "agent/vm_console.h"
#include "agent/vm_keeper.h"
#include "lib/file.h"
#include "lib/log.h"

enum { AUTO_PATIENCE_MS = 3000 };

/* --- those that ended while no agent was there
 * -------------------------------------------------------------- */

struct found {
	struct machines *ms;
	uint8_t (*id)[GUID_BYTES];
	size_t n;
	bool failed;
};

static void
note_ended(void *arg, const uint8_t id[GUID_BYTES], bool running)
{
	struct found *f = arg;
	uint8_t(*bigger)[GUID_BYTES];

	if (running || f->failed)
		return;
	bigger = realloc(f->id, (f->n + 1) * sizeof(*f->id));
	if (bigger) {
		f->id = bigger;
		memcpy(f->id[f->n++], id, GUID_BYTES);
	}
	f->failed = !bigger;
}

static void
tell_ended(struct machines *ms, const uint8_t id[GUID_BYTES])
{
	char guid[GUID_TEXT + 1];
	struct spawn_ending how;
	struct err e = { 0 };
	json_t *data;
	struct vm *vm;

	guid_format(id, guid);
	vm = inventory_find(ms, guid);
	if (spawner_end(ms->spawner, id, &how, &e) == 0 && vm) {
		pthread_mutex_lock(&vm->lock);
		snprintf(vm->reason, sizeof(vm->reason),
		    "its worker ended %s while the agent was away%s%.120s", how.how, how.words[0] ? ": " : "",
		    how.words);
		log_msg(LOG_WARN, "%s: %s", vm->name, vm->reason);
		data = vm_event_data(vm);
		json_object_set_new(data, "reason", json_string(vm->reason));
		json_object_set_new(data, "lastWords", json_string(how.words));
		pthread_mutex_unlock(&vm->lock);
		ms->publish(ms->agent, "vm.workerLost", data);
	}
	vm_put(vm);
}

static void
hear_of_ended(struct machines *ms)
{
	struct found f = { .ms = ms };
	struct err e = { 0 };

	if (spawner_each(ms->spawner, note_ended, &f, &e) < 0)
		log_msg(LOG_WARN, "%s", e.msg);
	for (size_t i = 0; i < f.n; i++)
		tell_ended(ms, f.id[i]);
	free(f.id);
}

static void
find_all_again(struct machines *ms)
{
	struct vm **all;
	size_t n = inventory_all(ms, &all), running = 0;

	for (size_t i = 0; i < n; i++) {
		vm_find_again(ms, all[i]);
		disk_live_settle(ms, all[i]);
		pthread_mutex_lock(&all[i]->lock);
		running += all[i]->keeper != NULL;
		pthread_mutex_unlock(&all[i]->lock);
		vm_put(all[i]);
	}
	free(all);
	log_msg(LOG_INFO, "%zu machines, %zu of them running", n, running);
}

/* --- opening
 * ------------------------------------------------------------------------------------------------ */

int
machines_open(struct machines **out, struct agent *a,
    void (*publish)(struct agent *a, const char *type, json_t *data), struct err *e)
{
	struct machines *ms = calloc(1, sizeof(*ms));
	int rc;

	*out = NULL;
	if (!ms)
		return err_set(e, ENOMEM, "out of memory");
	ms->agent = a;
	ms->data = a->o.data;
	ms->run = a->o.run;
	ms->publish = publish;
	ms->balance_ms = BALANCE_MS;
	rc = inventory_open(ms, e);
	if (rc == 0)
		rc = consoles_new(&ms->consoles, ms->run, e);
	if (rc == 0)
		rc = spawner_new(&ms->spawner, ms->run, e);
	if (rc < 0) {
		machines_close(ms);
		return rc;
	}
	find_all_again(ms);
	hear_of_ended(ms);
	*out = ms;
	return 0;
}

void
machines_close(struct machines *ms)
{
	if (!ms)
		return;
	atomic_store(&ms->stopping, true);
	machines_booted(ms);
	vm_let_go(ms);
	inventory_close(ms);
	consoles_free(ms->consoles);
	spawner_free(ms->spawner);
	free(ms);
}

/* --- automatic start
 * ------------------------------------------------------------------------------------------ */

static bool
is_to_start(struct machines *ms, struct vm *vm)
{
	bool yes;

	pthread_mutex_lock(&vm->lock);
	yes = vm->state == VM_OFF &&
	      (vm->config.auto_start == AUTO_START_ALWAYS ||
		  (vm->config.auto_start == AUTO_START_IF_RUNNING && inventory_was_running(ms, vm)));
	pthread_mutex_unlock(&vm->lock);
	return yes;
}

/* One after the other, so that they do not all read their disks at once; but none waits long for another. */
static void
start_all(struct machines *ms)
{
	struct vm **all;
	size_t n = inventory_all(ms, &all);

	for (size_t i = 0; i < n; i++) {
		struct fault f = { 0 };

		if (!atomic_load(&ms->stopping) && !atomic_load(&ms->going_down) && is_to_start(ms, all[i]) &&
		    vm_start_within(ms, all[i], AUTO_PATIENCE_MS, &f) < 0)
			log_msg(LOG_ERROR, "%s: automatic start: %s", all[i]->name, f.message);
		vm_put(all[i]);
	}
	free(all);
}

/* In RUN, which a boot empties: there is one boot for any number of agents. */
static void
marker_path(const struct machines *ms, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/machines-started", ms->run);
}

static void *
starter_main(void *arg)
{
	struct machines *ms = arg;
	char path[PATH_MAX];
	struct err e = { 0 };

	start_all(ms);
	marker_path(ms, path);
	if (!atomic_load(&ms->stopping) && file_replace(path, "", 0, 0644, &e) < 0)
		log_msg(LOG_ERROR, "%s", e.msg);
	return NULL;
}

void
machines_boot(struct machines *ms)
{
	char path[PATH_MAX];

	marker_path(ms, path);
	if (access(path, F_OK) == 0)
		return;
	ms->has_starter = pthread_create(&ms->starter, NULL, starter_main, ms) == 0;
	if (!ms->has_starter)
		log_msg(LOG_ERROR, "automatic start: no thread");
}

void
machines_booted(struct machines *ms)
{
	if (ms->has_starter)
		pthread_join(ms->starter, NULL);
	ms->has_starter = false;
}

/* --- the agent's door
 * ------------------------------------------------------------------------------------------ */

static bool
guid_of(struct agent *a, const char *name_or_guid, char guid[GUID_TEXT + 1])
{
	struct vm *vm = inventory_find(a->machines, name_or_guid);

	if (!vm)
		return false;
	pthread_mutex_lock(&vm->lock);
	guid_format(vm->config.id, guid);
	pthread_mutex_unlock(&vm->lock);
	vm_put(vm);
	return true;
}

int
agent_vm_start(struct agent *a, struct err *e)
{
	int rc = machines_open(&a->machines, a, event_publish, e);

	if (rc == 0 && a->machines) {
		a->vm_guid = guid_of;
		machines_boot(a->machines);
	}
	return rc;
}

void
agent_vm_stop(struct agent *a)
{
	machines_close(a->machines);
	a->machines = NULL;
}
