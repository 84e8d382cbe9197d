/* agent/guest_watch.c - a keeper's eye on the guest of its machine. */
#include "agent/guest_watch.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "agent/memory_balance.h"
#include "agent/spawner.h"
#include "agent/vm_keeper.h"
#include "lib/log.h"

#define MIB 0x100000ull

enum {
	LOOK_MS = 1000,
	ANSWER_MS = 5000,
	ALONE_MS = 30000, /* after an answer that did not come */
	FACTS_MAX = 128,  /* that a worker keeps of a pool */
};

void
guest_watch_begin(struct guest_watch *w, struct machines *ms, struct vm *vm, uint64_t most_mb)
{
	*w = (struct guest_watch){ .ms = ms, .vm = vm, .components = true, .facts = true, .memory = true };
	pthread_mutex_lock(&vm->lock);
	vm->guest.most = most_mb * MIB;
	pthread_mutex_unlock(&vm->lock);
}

void
guest_watch_hear(struct guest_watch *w, const char *method, const json_t *params)
{
	const char *what = json_string_value(json_object_get(params, "What"));

	if (!w->vm) /* it does not run yet */
		return;
	if (strcmp(method, "memory") == 0)
		w->memory = true;
	if (strcmp(method, "integration") != 0 || !what)
		return;
	w->facts |= strcmp(what, "GuestFacts") == 0;
	w->components |= strcmp(what, "Heartbeat") == 0 || strcmp(what, "Ended") == 0;
	pthread_mutex_lock(&w->vm->lock);
	guest_take_news(&w->vm->guest, params);
	pthread_cond_broadcast(&w->vm->changed);
	pthread_mutex_unlock(&w->vm->lock);
}

/* --- asking -----------------------------------------------------------------------------------------------
 */

/* A new reference; NULL: it has no such thing, or does not answer. */
static json_t *
ask(struct guest_watch *w, struct control_client *worker, const char *method, json_t *params)
{
	struct err e = { 0 };
	json_t *result = NULL;

	if (w->silent) {
		json_decref(params);
		return NULL;
	}
	if (control_call(worker, method, params, NULL, 0, ANSWER_MS, &result, &e) == -ETIMEDOUT) {
		w->silent = true;
		w->not_before_ms = vm_now_ms() + ALONE_MS;
	}
	return result;
}

static void
look_at_components(struct guest_watch *w, struct control_client *worker)
{
	json_t *list = ask(w, worker, "ic.list", NULL);

	pthread_mutex_lock(&w->vm->lock);
	if (list)
		guest_take_components(&w->vm->guest, list);
	else if (!w->silent)
		w->vm->guest.heartbeat = HEARTBEAT_DISABLED; /* made without any */
	pthread_mutex_unlock(&w->vm->lock);
	json_decref(list);
}

static size_t
take_page(struct vm_guest *g, const json_t *page)
{
	const json_t *items = json_object_get(page, "Items"), *item;
	size_t i;

	json_array_foreach(items, i, item)
	{
		const char *key = json_string_value(json_object_get(item, "Key"));
		const char *value = json_string_value(json_object_get(item, "Value"));

		if (key && value)
			guest_take_fact(g, key, value);
	}
	return json_array_size(items);
}

static void
look_at_facts(struct guest_watch *w, struct control_client *worker)
{
	struct vm_guest read = { 0 };
	struct vm_guest *g = &w->vm->guest;
	size_t got = 1;

	for (size_t from = 0; got && from < FACTS_MAX; from += got) {
		json_t *page = ask(w, worker, "kvp.enumerate",
		    json_pack("{s:s, s:I}", "Pool", "Intrinsic", "From", (json_int_t)from));

		got = take_page(&read, page);
		json_decref(page);
	}
	if (w->silent)
		return;
	pthread_mutex_lock(&w->vm->lock);
	memcpy(g->name, read.name, sizeof(g->name));
	memcpy(g->system, read.system, sizeof(g->system));
	memcpy(g->version, read.version, sizeof(g->version));
	memcpy(g->address, read.address, sizeof(g->address));
	g->addresses = read.addresses;
	pthread_mutex_unlock(&w->vm->lock);
}

static void
look_at_memory(struct guest_watch *w, struct control_client *worker)
{
	json_t *status = ask(w, worker, "memory.status", NULL);
	bool dynamic;

	pthread_mutex_lock(&w->vm->lock);
	if (status)
		guest_take_memory(&w->vm->guest, status);
	dynamic = w->vm->guest.memory.dynamic;
	pthread_mutex_unlock(&w->vm->lock);
	json_decref(status);
	w->memory_ms = dynamic ? vm_now_ms() + w->ms->balance_ms : 0;
	if (status && dynamic)
		memory_balance(w->ms);
}

/* --- telling ----------------------------------------------------------------------------------------------
 */

static json_t *
mib(uint64_t bytes)
{
	return json_integer((json_int_t)(bytes / MIB));
}

static void
tell(struct guest_watch *w)
{
	const struct guest_memory *now, *was = &w->was.memory;
	json_t *guest = NULL, *memory = NULL;
	struct vm_guest *g = &w->vm->guest;

	pthread_mutex_lock(&w->vm->lock);
	now = &g->memory;
	if (!guest_same_facts(g, &w->was)) {
		guest = vm_event_data(w->vm);
		json_object_set_new(guest, "heartbeat", json_string(vm_heartbeats[g->heartbeat]));
		json_object_set_new(guest, "guestName", json_string(g->name));
	}
	if (now->dynamic && (now->assigned / MIB != was->assigned / MIB || now->target != was->target)) {
		memory = vm_event_data(w->vm);
		json_object_set_new(memory, "assigned", mib(now->assigned));
		json_object_set_new(memory, "demand", mib(now->demand));
		json_object_set_new(memory, "target", mib(now->target));
	}
	w->was = *g;
	pthread_mutex_unlock(&w->vm->lock);
	if (guest)
		w->ms->publish(w->ms->agent, "vm.guest", guest);
	if (memory)
		w->ms->publish(w->ms->agent, "vm.memory", memory);
}

/* --- memory that follows the plan -------------------------------------------------------------------------
 */

/* Before it can have more than at start. */
static bool
make_room(struct guest_watch *w, uint64_t bytes, uint64_t start)
{
	uint8_t id[GUID_BYTES];
	struct err e = { 0 };
	uint64_t most;

	if (w->has_room || bytes <= start)
		return true;
	pthread_mutex_lock(&w->vm->lock);
	memcpy(id, w->vm->config.id, sizeof(id));
	most = w->vm->guest.most;
	pthread_mutex_unlock(&w->vm->lock);
	w->has_room = spawner_limit(w->ms->spawner, id, most / MIB, &e) == 0;
	if (!w->has_room) {
		log_msg(LOG_WARN, "%s: it gets no more memory: %s", w->vm->name, e.msg);
		w->not_before_ms = vm_now_ms() + ALONE_MS;
	}
	return w->has_room;
}

static void
follow_plan(struct guest_watch *w, struct control_client *worker)
{
	struct guest_memory m;
	uint64_t want;

	pthread_mutex_lock(&w->vm->lock);
	m = w->vm->guest.memory;
	want = w->vm->guest.want;
	pthread_mutex_unlock(&w->vm->lock);
	if (want == m.target)
		w->asked_target = want;
	if (!want || !m.known || want == w->asked_target || !make_room(w, want, m.start))
		return;
	w->asked_target = want;
	json_decref(ask(w, worker, "memory.target", json_pack("{s:I}", "SizeInBytes", (json_int_t)want)));
	w->memory = true;
}

/* --- a turn -----------------------------------------------------------------------------------------------
 */

static int
until(uint64_t ms, uint64_t now)
{
	return ms <= now ? 0 : ms - now < INT_MAX ? (int)(ms - now) : INT_MAX;
}

static void
look(struct guest_watch *w, struct control_client *worker)
{
	w->not_before_ms = vm_now_ms() + LOOK_MS;
	w->silent = false;
	if (w->components)
		look_at_components(w, worker);
	if (w->facts)
		look_at_facts(w, worker);
	if (w->memory)
		look_at_memory(w, worker);
	if (!w->silent) /* else all of it once more, later */
		w->components = w->facts = w->memory = false;
	follow_plan(w, worker);
	tell(w);
}

int
guest_watch_turn(struct guest_watch *w, struct control_client *worker, bool *asked)
{
	uint64_t now = vm_now_ms(), want;
	bool due;

	*asked = false;
	if (!w->vm)
		return -1;
	w->memory |= w->memory_ms && now >= w->memory_ms;
	pthread_mutex_lock(&w->vm->lock);
	want = w->vm->guest.want;
	pthread_mutex_unlock(&w->vm->lock);
	due = w->components || w->facts || w->memory || (want && want != w->asked_target);
	if (due && now >= w->not_before_ms) {
		look(w, worker);
		*asked = true;
		due = w->memory;
		now = vm_now_ms();
	}
	if (due)
		return until(w->not_before_ms, now);
	return w->memory_ms ? until(w->memory_ms, now) : -1;
}
