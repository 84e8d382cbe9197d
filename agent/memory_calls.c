/* agent/memory_calls.c - what memory a machine has and may have. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/guest_calls.h"
#include "agent/vm_disks.h"
#include "agent/vm_keeper.h"

#define MIB 0x100000ull
enum { RESTART_MAX = 4 };

/* MiB. */
struct memory_view {
	bool dynamic, takes_part;
	uint64_t startup, minimum, maximum, assigned, demand, target, pinned, revision;
};
struct memory_result {
	struct memory_view memory;
	size_t restarts;
	char restart[RESTART_MAX][16];
};

/* clang-format off */
#define MEMORY(n, m, h) { n, FIELD_UINT, FIELD_AT(memory_view, m), .max = INT64_MAX, .unit = "MiB", .help = h }
static const struct field view_fields[] = {
	{ "dynamic", FIELD_BOOL, FIELD_AT(memory_view, dynamic), .help = "Whether it changes while the machine runs." },
	MEMORY("startup", startup, "What the machine starts with."),
	MEMORY("minimum", minimum, "Least it has, if it is dynamic."),
	MEMORY("maximum", maximum, "Most it can have."),
	{ "takesPart", FIELD_BOOL, FIELD_AT(memory_view, takes_part), .help = "Whether its guest has a driver for that, and has spoken." },
	MEMORY("assigned", assigned, "What it has at this moment; 0: it does not run."),
	MEMORY("demand", demand, "What its guest's programs need; 0: the guest has not said."),
	MEMORY("target", target, "What it should have, and is on its way to."),
	MEMORY("pinned", pinned, "What memory.target has asked for; 0: its demand decides."),
	{ "revision", FIELD_UINT, FIELD_AT(memory_view, revision), .max = INT64_MAX, .help = "Of the machine's settings; for ifMatch." },
	{ 0 }
};
const struct field memory_get_result[] = {
	{ "memory", FIELD_OBJECT, FIELD_AT(memory_result, memory), .fields = view_fields, .help = "The machine's memory as it is now." },
	{ 0 }
};
const struct field memory_set_result[] = {
	{ "memory", FIELD_OBJECT, FIELD_AT(memory_result, memory), .fields = view_fields, .help = "The machine's memory as it is now." },
	{ "restart", FIELD_STRINGS, FIELD_AT(memory_result, restart), .max = RESTART_MAX, .size = 16,
	  .count_offset = offsetof(struct memory_result, restarts), .help = "What takes effect at the machine's next start." },
	{ 0 }
};
/* clang-format on */

static int
no_memory(struct fault *f)
{
	return fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
}

static int
answer(struct vm *vm, json_t *result, struct fault *f)
{
	struct memory_view v = { 0 };

	pthread_mutex_lock(&vm->lock);
	const struct guest_memory *m = &vm->guest.memory;

	v.dynamic = vm->config.memory.dynamic;
	v.startup = vm->config.memory.size_mb;
	vm_config_memory(&vm->config, &v.minimum, &v.maximum);
	v.takes_part = m->takes_part;
	v.assigned = m->assigned / MIB;
	v.demand = m->demand / MIB;
	v.target = m->target / MIB;
	v.pinned = vm->guest.pinned / MIB;
	v.revision = vm->config.revision;
	pthread_mutex_unlock(&vm->lock);
	return json_object_set_new(result, "memory", schema_write(view_fields, &v)) < 0 ? no_memory(f) : 0;
}

int
memory_call_get(struct call *c, const void *params, json_t *result, struct fault *f)
{
	struct vm *vm = call_vm(c, ((const struct guest_params *)params)->vm, f);
	int rc = vm ? answer(vm, result, f) : -1;

	vm_put(vm);
	return rc;
}

/* --- settings ---------------------------------------------------------------------------------------------
 */

struct change {
	struct call *c;
	const struct guest_params *p;
	struct vm *vm;
	struct disks_change ch;
	struct guest_memory runs; /* what its worker can do */
	json_t *result;
	struct fault *f;
};

/* What was given, into the document. */
static int
edit(struct vm_config *c, const void *arg, struct err *e)
{
	const struct change *s = arg;

	(void)e;
	if (call_has(s->c, "dynamic"))
		c->memory.dynamic = s->p->dynamic;
	if (call_has(s->c, "startup"))
		c->memory.size_mb = s->p->startup;
	if (call_has(s->c, "minimum"))
		c->memory.minimum_mb = s->p->minimum;
	if (call_has(s->c, "maximum"))
		c->memory.maximum_mb = s->p->maximum;
	return 0;
}

/* What the machine that runs cannot do: it has the limits that it was started with, and keeps within both. */
static json_t *
list_restart(const struct change *s, const struct vm_config *is)
{
	uint64_t least, most;
	const struct guest_memory *m = &s->runs;
	json_t *list = json_array();

	vm_config_memory(is, &least, &most);
	const struct {
		const char *name;
		bool waits;
	} rows[] = {
		{ "dynamic", m->known && m->dynamic != is->memory.dynamic },
		{ "startup", s->ch.is->memory.size_mb != is->memory.size_mb },
		{ "minimum", is->memory.dynamic && (!m->dynamic || least < m->minimum / MIB) },
		{ "maximum", is->memory.dynamic && (!m->dynamic || most > m->maximum / MIB) },
	};

	for (size_t i = 0; s->ch.runs && i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].waits && call_has(s->c, rows[i].name))
			json_array_append_new(list, json_string(rows[i].name));
	return list;
}

static void
tell(struct change *s)
{
	struct machines *ms = s->ch.ms;
	json_t *data;

	pthread_mutex_lock(&s->vm->lock);
	data = vm_event_data(s->vm);
	json_object_set_new(data, "revision", json_integer((json_int_t)s->vm->config.revision));
	pthread_mutex_unlock(&s->vm->lock);
	ms->publish(ms->agent, "vm.changed", data);
}

/* is: room for a document. */
static int
set_it(struct change *s, struct vm_config *is)
{
	struct err e = { 0 };
	json_t *restart;

	if (call_match(s->c, s->ch.is->revision, s->f) < 0)
		return -1;
	*is = *s->ch.is;
	edit(is, s, &e);
	if (vm_config_check(is, &e) < 0)
		return fault_err(s->f, FAULT_BAD_PARAMS, NULL,
		    "minimum, startup and maximum go up; give those that are in the way, too", &e);
	restart = list_restart(s, is);
	json_object_set_new(s->result, "restart", restart);
	if (vm_config_same(s->ch.is, is))
		return json_object_set_new(s->result, "changed", json_false());
	if (call_would(s->c, "change the memory of %s%s", is->name,
		json_array_size(restart) ? "; not all of it before its next start" : ""))
		return 0;
	if (vm_disks_edit(&s->ch, edit, s, s->f) < 0)
		return -1;
	tell(s);
	return 0;
}

static int
set(struct change *s)
{
	struct vm_config *is = malloc(sizeof(*is));
	int rc;

	if (!is)
		return no_memory(s->f);
	rc = vm_disks_begin(&s->ch, s->c->agent->machines, s->vm, s->f);
	if (rc == 0) {
		pthread_mutex_lock(&s->vm->lock);
		s->runs = s->vm->guest.memory;
		pthread_mutex_unlock(&s->vm->lock);
		rc = set_it(s, is);
		vm_disks_end(&s->ch);
	}
	free(is);
	return rc < 0 ? rc : answer(s->vm, s->result, s->f);
}

int
memory_call_set(struct call *c, const void *params, json_t *result, struct fault *f)
{
	struct change s = { .c = c, .p = params, .result = result, .f = f };
	int rc;

	s.vm = call_vm(c, s.p->vm, f);
	rc = s.vm ? set(&s) : -1;
	vm_put(s.vm);
	return rc;
}

/* --- by hand ----------------------------------------------------------------------------------------------
 */

/* With vm->lock: whether it may have so much, which its document and its worker have to agree to. */
static int
may_pin(const struct vm *vm, uint64_t mb, struct fault *f)
{
	const struct guest_memory *m = &vm->guest.memory;
	uint64_t least, most;

	vm_config_memory(&vm->config, &least, &most);
	if (!vm->keeper || vm->state != VM_RUNNING)
		return fault_set(f, FAULT_VM_WRONG_STATE, "vm", "memory.set changes what it starts with",
		    "'%s' is %s, and has no memory to change", vm->name, vm_state_names[vm->state]);
	if (!m->known || !m->dynamic)
		return fault_set(f, FAULT_NOT_SUPPORTED, "vm",
		    "memory.set with dynamic=true, from its next start on",
		    "the memory of '%s' is not dynamic", vm->name);
	if (mb && (mb < least || mb > most || mb < m->minimum / MIB || mb > m->maximum / MIB))
		return fault_set(f, FAULT_BAD_PARAMS, "size", "0 leaves it to its demand",
		    "'%s' may have %llu to %llu MiB", vm->name,
		    (unsigned long long)(least > m->minimum / MIB ? least : m->minimum / MIB),
		    (unsigned long long)(most < m->maximum / MIB ? most : m->maximum / MIB));
	return 0;
}

/* With vm->lock. */
static int
pin(struct call *c, struct vm *vm, uint64_t mb, json_t *result, struct fault *f)
{
	bool same = vm->guest.pinned == mb * MIB;
	int rc = call_match(c, vm->config.revision, f);

	if (rc == 0)
		rc = may_pin(vm, mb, f);
	if (rc == 0 && same)
		return json_object_set_new(result, "changed", json_false());
	if (rc < 0 || (mb ? call_would(c, "have %s go to %llu MiB", vm->name, (unsigned long long)mb)
			  : call_would(c, "leave the memory of %s to its demand", vm->name)))
		return rc;
	vm->guest.pinned = mb * MIB;
	atomic_store(
	    &c->agent->machines->balance_due, 0); /* thought over when its memory is looked at next */
	return 0;
}

int
memory_call_target(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct guest_params *p = params;
	struct vm *vm = call_vm(c, p->vm, f);
	int rc;

	if (!vm)
		return -1;
	pthread_mutex_lock(&vm->lock);
	rc = pin(c, vm, p->size, result, f);
	pthread_mutex_unlock(&vm->lock);
	vm_put(vm);
	return rc;
}
