/* agent/integration_calls.c - the integration components of a machine, in its document and in its worker. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/guest_calls.h"
#include "agent/vm_disks.h"
#include "agent/vm_keeper.h"
#include "lib/text.h"

enum { LOOK_MS = 5000 };

/* Of a component; Off: the machine does not run, or its guest is not offered it. */
enum service_state { SERVICE_OFF, SERVICE_STATES = 6 };
static const char *const service_states[] = { "Off", "NoContact", "Opened", "Negotiating", "Ok",
	"ProtocolMismatch", NULL };

struct service_row {
	unsigned service, state;
	bool enabled;
	char version[16];
};
struct service_list {
	size_t n;
	struct service_row row[VM_SERVICES];
};
struct service_change {
	unsigned service, effect;
	uint64_t revision;
};

static const char *const effects[] = { "Now", "NextStart", NULL };
enum effect { EFFECT_NOW, EFFECT_NEXT_START };

/* clang-format off */
static const struct field row_fields[] = {
	{ "service", FIELD_ENUM, FIELD_AT(service_row, service), .names = vm_services, .help = "Which one." },
	{ "enabled", FIELD_BOOL, FIELD_AT(service_row, enabled), .help = "Whether the guest is offered it, as the machine's settings say." },
	{ "state", FIELD_ENUM, FIELD_AT(service_row, state), .names = service_states,
	  .help = "Off: the machine does not run, or was started without it. NoContact: the guest has no driver for it. Ok: they understand each other." },
	{ "version", FIELD_STRING, FIELD_AT(service_row, version), .max = 15, .size = 16, .help = "Of its messages; empty before one is agreed on." },
	{ 0 }
};
const struct field integration_list_result[] = {
	{ "services", FIELD_LIST, FIELD_AT(service_list, row), .max = VM_SERVICES, .size = sizeof(struct service_row),
	  .count_offset = offsetof(struct service_list, n), .fields = row_fields, .help = "The integration components." },
	{ 0 }
};
const struct field integration_change_result[] = {
	{ "service", FIELD_ENUM, FIELD_AT(service_change, service), .names = vm_services, .help = "Which one." },
	{ "effect", FIELD_ENUM, FIELD_AT(service_change, effect), .names = effects,
	  .help = "Now: the running machine has it so. NextStart: from its next start on." },
	{ "revision", FIELD_UINT, FIELD_AT(service_change, revision), .max = INT64_MAX, .help = "Of the machine's settings; for ifMatch." },
	{ 0 }
};
/* clang-format on */

/* --- looking ----------------------------------------------------------------------------------------------
 */

static unsigned
index_of(const char *const *names, const char *word)
{
	unsigned i = 0;

	while (names[i] && (!word || strcmp(names[i], word) != 0))
		i++;
	return i;
}

/* What the worker says of one. It may say anything. */
static void
take_row(struct service_list *l, const json_t *row)
{
	unsigned i = index_of(vm_services, json_string_value(json_object_get(row, "Component")));
	unsigned state = index_of(service_states, json_string_value(json_object_get(row, "State")));
	const char *version = json_string_value(json_object_get(row, "Version"));

	if (i >= VM_SERVICES || !json_is_true(json_object_get(row, "Enabled")))
		return;
	l->row[i].state = state < SERVICE_STATES ? state : SERVICE_OFF;
	text_copy(l->row[i].version, sizeof(l->row[i].version), version ? version : "");
	text_clean(l->row[i].version);
}

static void
look(struct vm *vm, struct service_list *l)
{
	struct keeper_call ask = { .method = "ic.list", .ms = LOOK_MS };
	const json_t *row;
	size_t i;

	pthread_mutex_lock(&vm->lock);
	for (; l->n < VM_SERVICES; l->n++)
		l->row[l->n] = (struct service_row){ .service = (unsigned)l->n,
			.enabled = vm->config.devices.service[l->n] };
	if (vm->keeper && vm->state != VM_STARTING)
		keeper_call(vm, &ask); /* one that was made without any has none to tell of */
	pthread_mutex_unlock(&vm->lock);
	json_array_foreach(json_object_get(ask.result, "Components"), i, row)
	{
		take_row(l, row);
	}
	json_decref(ask.result);
}

int
integration_call_list(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct guest_params *p = params;
	struct vm *vm = call_vm(c, p->vm, f);
	struct service_list list = { 0 };
	json_t *doc;

	if (!vm)
		return -1;
	look(vm, &list);
	vm_put(vm);
	doc = schema_write(integration_list_result, &list);
	if (!doc || json_object_update(result, doc) < 0)
		fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
	json_decref(doc);
	return f->code ? -1 : 0;
}

/* --- changing ---------------------------------------------------------------------------------------------
 */

struct change {
	struct call *c;
	struct vm *vm;
	struct disks_change ch;
	unsigned service;
	bool on;
	enum effect effect;
	json_t *result;
	struct fault *f;
};

static int
edit(struct vm_config *c, const void *arg, struct err *e)
{
	const struct change *s = arg;

	(void)e;
	c->devices.service[s->service] = s->on;
	return 0;
}

/* A machine that was made without any gets none before its next start. */
static int
ask_worker(struct change *s, bool on, struct err *why)
{
	json_t *result = NULL;
	int rc = vm_disks_ask(&s->ch, "ic.set",
	    json_pack("{s:s, s:b}", "Component", vm_services[s->service], "Enabled", on), NULL, &result, why);

	json_decref(result);
	return rc;
}

static int
carry_out(struct change *s)
{
	struct err why = { 0 }, unused = { 0 };
	int rc = s->ch.runs ? ask_worker(s, s->on, &why) : -ENOENT;

	s->effect = rc == -ENOENT ? EFFECT_NEXT_START : EFFECT_NOW;
	if (rc < 0 && rc != -ENOENT)
		return keeper_fault(s->f, &why);
	rc = vm_disks_edit(&s->ch, edit, s, s->f);
	if (rc < 0 && s->effect == EFFECT_NOW)
		ask_worker(s, !s->on, &unused);
	return rc;
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

static int
change_it(struct change *s)
{
	int rc = call_match(s->c, s->ch.is->revision, s->f);
	bool same = s->ch.is->devices.service[s->service] == s->on;

	if (rc == 0 && same)
		json_object_set_new(s->result, "changed", json_false());
	if (rc == 0 && !same &&
	    !call_would(
		s->c, "%s %s of %s", s->on ? "enable" : "disable", vm_services[s->service], s->ch.is->name)) {
		rc = carry_out(s);
		if (rc == 0)
			tell(s);
	}
	json_object_set_new(s->result, "service", json_string(vm_services[s->service]));
	json_object_set_new(s->result, "effect", json_string(effects[s->effect]));
	json_object_set_new(s->result, "revision", json_integer((json_int_t)s->ch.is->revision));
	return rc;
}

static int
change(struct call *c, const struct guest_params *p, bool on, json_t *result, struct fault *f)
{
	struct change s = { .c = c, .service = p->service, .on = on, .result = result, .f = f };
	int rc;

	s.vm = call_vm(c, p->vm, f);
	if (!s.vm)
		return -1;
	rc = vm_disks_begin(&s.ch, c->agent->machines, s.vm, f);
	if (rc == 0) {
		s.effect = s.ch.runs ? EFFECT_NOW : EFFECT_NEXT_START;
		rc = change_it(&s);
		vm_disks_end(&s.ch);
	}
	vm_put(s.vm);
	return rc;
}

int
integration_call_enable(struct call *c, const void *params, json_t *result, struct fault *f)
{
	return change(c, params, true, result, f);
}

int
integration_call_disable(struct call *c, const void *params, json_t *result, struct fault *f)
{
	return change(c, params, false, result, f);
}
