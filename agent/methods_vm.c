/* agent/methods_vm.c - what can be asked about machines and their consoles: one table. */
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/files.h"
#include "agent/inventory.h"
#include "agent/method.h"
#include "agent/vm_console.h"
#include "agent/vm_keeper.h"
#include "agent/vm_life.h"
#include "lib/guid.h"

enum { LIST_MAX = 10000, MIB = 1 << 20, RESTART_MAX = 8, KEPT_MAX = 1000, STOP_MAX_S = 3600 };
enum stop_mode { STOP_SHUTDOWN, STOP_TURN_OFF };
static const char *const stop_modes[] = { "shutdown", "turnOff", NULL };

/* --- parameters and results
 * ----------------------------------------------------------------------------------- */

struct vm_params {
	char vm[VM_NAME_SIZE], name[VM_NAME_SIZE];
	uint8_t id[GUID_BYTES];
	uint64_t memory, processors, controllers;
	char kernel[VM_PATH_SIZE], initrd[VM_PATH_SIZE], cmdline[VM_CMDLINE_SIZE];
	unsigned auto_start, auto_stop;
	char notes[VM_NOTES_SIZE];
	unsigned state, mode;
	uint64_t timeout, port;
	bool delete_disks, force;
};

/* What is shown of a machine; a row of vm.list is its first part. */
struct vm_view {
	uint8_t id[GUID_BYTES];
	char name[VM_NAME_SIZE];
	unsigned state;
	uint64_t processors, memory, uptime;
	unsigned auto_start;
	uint64_t revision;
	char reason[ERR_MSG_SIZE], notes[VM_NOTES_SIZE];
	uint64_t assigned, demand; /* MiB */
	struct vm_guest guest;
	uint64_t least, most; /* MiB */
	bool dynamic;
	unsigned auto_stop;
	char kernel[VM_PATH_SIZE], initrd[VM_PATH_SIZE], cmdline[VM_CMDLINE_SIZE];
	uint64_t resets, panics, controllers;
	struct vm_config config; /* last: a row does without it */
};
struct vm_result {
	size_t vms, restarts;
	struct vm_view vm;
	char restart[RESTART_MAX][16];
	char ticket[TICKET_SIZE], path[TICKET_SIZE + 16];
	bool turned_off;
	size_t kept_count;
	char folder[VM_PATH_SIZE], kept[KEPT_MAX][VM_DISK_PATH_SIZE];
};

/* clang-format off */
#define TEXT(s, m) .type = FIELD_STRING, FIELD_AT(s, m), .size = sizeof(((struct s *)0)->m), .max = sizeof(((struct s *)0)->m) - 1
#define VM { "vm", TEXT(vm_params, vm), .min = 1, .required = true, .help = "Name or id of the machine." }
#define SETTINGS \
	{ "memory", FIELD_UINT, FIELD_AT(vm_params, memory), .min = VM_MIN_MB, .max = VM_MAX_MB, .unit = "MiB", .help = "Memory at start." }, \
	{ "processors", FIELD_UINT, FIELD_AT(vm_params, processors), .min = 1, .max = VM_MAX_PROCESSORS, .help = "Virtual processors." }, \
	{ "initrd", TEXT(vm_params, initrd), .unit = "path", .help = "Initial RAM disk: a file below images; empty for none." }, \
	{ "commandLine", TEXT(vm_params, cmdline), .help = "Command line of the kernel." }, \
	{ "scsiControllers", FIELD_UINT, FIELD_AT(vm_params, controllers), .max = VM_MAX_CONTROLLERS, \
	  .help = "Storage controllers, for 64 disks and DVD drives each." }, \
	{ "automaticStart", FIELD_ENUM, FIELD_AT(vm_params, auto_start), .names = vm_auto_start_names, .help = "What happens when the host starts." }, \
	{ "automaticStop", FIELD_ENUM, FIELD_AT(vm_params, auto_stop), .names = vm_auto_stop_names, .help = "What happens when the host shuts down." }, \
	{ "notes", TEXT(vm_params, notes), .help = "For people." }

static const struct field create_params[] = {
	{ "name", TEXT(vm_params, name), .min = 1, .required = true, .help = "Name of the machine; its folder is called so." },
	{ "kernel", TEXT(vm_params, kernel), .min = 1, .required = true, .unit = "path", .help = "Linux kernel: a file below images." },
	{ "id", FIELD_GUID, FIELD_AT(vm_params, id), .help = "Its id; a new one if it is not given." },
	SETTINGS, { 0 }
};
static const struct field set_params[] = {
	VM,
	{ "name", TEXT(vm_params, name), .min = 1, .help = "Another name." },
	{ "kernel", TEXT(vm_params, kernel), .min = 1, .unit = "path", .help = "Linux kernel: a file below images, or ./NAME in the machine's folder." },
	SETTINGS, { 0 }
};
static const struct field list_params[] = {
	{ "name", TEXT(vm_params, name), .help = "Only those whose name is so; * and ? stand for any text and any character." },
	{ "state", FIELD_ENUM, FIELD_AT(vm_params, state), .names = vm_state_names, .help = "Only those in this state." },
	{ 0 }
};
static const struct field vm_params[] = { VM, { 0 } };
static const struct field delete_params[] = {
	VM,
	{ "deleteDisks", FIELD_BOOL, FIELD_AT(vm_params, delete_disks), .help = "The disks in its folder, too; else they stay there." },
	{ 0 }
};
static const struct field stop_params[] = {
	VM,
	{ "mode", FIELD_ENUM, FIELD_AT(vm_params, mode), .names = stop_modes, .help = "shutdown asks the guest; turnOff pulls the plug." },
	{ "timeout", FIELD_UINT, FIELD_AT(vm_params, timeout), .min = 1, .max = STOP_MAX_S, .unit = "s",
	  .help = "How long the guest may take to shut down." },
	{ "force", FIELD_BOOL, FIELD_AT(vm_params, force), .help = "Turn it off when its guest refuses, or has not shut down by then; else it goes on." },
	{ 0 }
};
static const struct field console_params[] = {
	VM,
	{ "port", FIELD_UINT, FIELD_AT(vm_params, port), .max = VM_COM_PORTS - 1, .help = "0 is COM1, 1 is COM2." },
	{ 0 }
};

#define ROW \
	{ "id", FIELD_GUID, FIELD_AT(vm_view, id), .help = "Its id." }, \
	{ "name", TEXT(vm_view, name), .help = "Its name." }, \
	{ "state", FIELD_ENUM, FIELD_AT(vm_view, state), .names = vm_state_names, .help = "What it does." }, \
	{ "processors", FIELD_UINT, FIELD_AT(vm_view, processors), .max = VM_MAX_PROCESSORS, .help = "Virtual processors." }, \
	{ "memory", FIELD_UINT, FIELD_AT(vm_view, memory), .max = VM_MAX_MB, .unit = "MiB", .help = "Memory at start." }, \
	{ "uptime", FIELD_UINT, FIELD_AT(vm_view, uptime), .max = INT64_MAX, .unit = "s", .help = "Since its start; 0 when it does not run." }, \
	{ "automaticStart", FIELD_ENUM, FIELD_AT(vm_view, auto_start), .names = vm_auto_start_names, .help = "What happens when the host starts." }, \
	{ "revision", FIELD_UINT, FIELD_AT(vm_view, revision), .max = INT64_MAX, .help = "Counts changes of its settings; for ifMatch." }, \
	{ "reason", TEXT(vm_view, reason), .help = "Why it is in its state." }, \
	{ "notes", TEXT(vm_view, notes), .help = "For people." }, \
	{ "heartbeat", FIELD_ENUM, FIELD_AT(vm_view, guest.heartbeat), .names = vm_heartbeats, .help = "Whether its guest lives; None: it does not run." }, \
	{ "memoryAssigned", FIELD_UINT, FIELD_AT(vm_view, assigned), .max = INT64_MAX, .unit = "MiB", .help = "Memory it has at this moment; 0: it does not run." }, \
	{ "memoryDemand", FIELD_UINT, FIELD_AT(vm_view, demand), .max = INT64_MAX, .unit = "MiB", .help = "What its guest's programs need, if its memory is dynamic; 0: the guest has not said." }, \
	{ "addresses", FIELD_STRINGS, FIELD_AT(vm_view, guest.address), .max = VM_ADDRESSES, .size = VM_ADDRESS_SIZE, \
	  .count_offset = offsetof(struct vm_view, guest.addresses), .help = "Its guest's addresses, as the guest says." }

static const struct field row_fields[] = { ROW, { 0 } };
static const struct field disk_fields[] = {
	{ "controller", FIELD_UINT, FIELD_AT(vm_disk, controller), .max = VM_MAX_CONTROLLERS - 1, .help = "Storage controller." },
	{ "lun", FIELD_UINT, FIELD_AT(vm_disk, lun), .max = VM_CONTROLLER_UNITS - 1, .help = "Place on the controller." },
	{ "type", FIELD_ENUM, FIELD_AT(vm_disk, type), .names = vm_disk_types, .help = "What the guest sees." },
	{ "path", TEXT(vm_disk, path), .unit = "path", .help = "Its file or block device; empty: a drive without a disc." },
	{ "format", FIELD_ENUM, FIELD_AT(vm_disk, format), .names = vm_disk_formats, .help = "What its file is." },
	{ "readOnly", FIELD_BOOL, FIELD_AT(vm_disk, read_only), .help = "Whether the guest can only read." },
	{ 0 }
};
static const struct field view_fields[] = {
	ROW,
	{ "guestName", TEXT(vm_view, guest.name), .help = "What its guest calls itself." },
	{ "guestSystem", TEXT(vm_view, guest.system), .help = "Its guest's system, as the guest says." },
	{ "guestVersion", TEXT(vm_view, guest.version), .help = "That system's version." },
	{ "frozen", FIELD_BOOL, FIELD_AT(vm_view, guest.frozen), .help = "Its guest's file systems stand still (guest.freeze)." },
	{ "dynamicMemory", FIELD_BOOL, FIELD_AT(vm_view, dynamic), .help = "Its memory changes while it runs." },
	{ "memoryMinimum", FIELD_UINT, FIELD_AT(vm_view, least), .max = VM_MAX_MB, .unit = "MiB", .help = "Least it has, if that is so." },
	{ "memoryMaximum", FIELD_UINT, FIELD_AT(vm_view, most), .max = VM_MAX_MB, .unit = "MiB", .help = "Most it can have." },
	{ "automaticStop", FIELD_ENUM, FIELD_AT(vm_view, auto_stop), .names = vm_auto_stop_names, .help = "What happens when the host shuts down." },
	{ "kernel", TEXT(vm_view, kernel), .unit = "path", .help = "Linux kernel." },
	{ "initrd", TEXT(vm_view, initrd), .unit = "path", .help = "Initial RAM disk; empty: none." },
	{ "commandLine", TEXT(vm_view, cmdline), .help = "Command line of the kernel." },
	{ "resets", FIELD_UINT, FIELD_AT(vm_view, resets), .max = INT64_MAX, .help = "Resets since its start." },
	{ "panics", FIELD_UINT, FIELD_AT(vm_view, panics), .max = INT64_MAX, .help = "Panics its guest has reported since its start." },
	{ "scsiControllers", FIELD_UINT, FIELD_AT(vm_view, controllers), .max = VM_MAX_CONTROLLERS, .help = "Storage controllers." },
	{ "disks", FIELD_LIST, FIELD_AT(vm_view, config.devices.disk), .max = VM_MAX_DISKS, .size = sizeof(struct vm_disk),
	  .count_offset = offsetof(struct vm_view, config.devices.disks), .fields = disk_fields, .help = "Disks and DVD drives; disk.list tells more." },
	{ "config", FIELD_OBJECT, FIELD_AT(vm_view, config), .fields = vm_config_fields, .help = "The whole document, as in vm.json." },
	{ 0 }
};
static const struct field list_result[] = {
	{ "vms", FIELD_LIST, FIELD_AT(vm_result, vm), .max = LIST_MAX, .size = sizeof(struct vm_view),
	  .count_offset = offsetof(struct vm_result, vms), .fields = row_fields, .help = "The machines, by name." },
	{ 0 }
};
static const struct field vm_result[] = {
	{ "vm", FIELD_OBJECT, FIELD_AT(vm_result, vm), .fields = view_fields, .help = "The machine as it is now." },
	{ 0 }
};
static const struct field set_result[] = {
	{ "vm", FIELD_OBJECT, FIELD_AT(vm_result, vm), .fields = view_fields, .help = "The machine as it is now." },
	{ "restart", FIELD_STRINGS, FIELD_AT(vm_result, restart), .max = RESTART_MAX, .size = 16,
	  .count_offset = offsetof(struct vm_result, restarts), .help = "What takes effect at the machine's next start." },
	{ 0 }
};
static const struct field stop_result[] = {
	{ "turnedOff", FIELD_BOOL, FIELD_AT(vm_result, turned_off), .help = "Whether the plug was pulled, rather than the guest shut down." },
	{ 0 }
};
static const struct field delete_result[] = {
	{ "folder", TEXT(vm_result, folder), .unit = "path", .help = "Where disks were left; empty: nowhere." },
	{ "kept", FIELD_STRINGS, FIELD_AT(vm_result, kept), .max = KEPT_MAX, .size = VM_DISK_PATH_SIZE,
	  .count_offset = offsetof(struct vm_result, kept_count), .help = "The files there. A new machine of the same name has them as ./disks/NAME." },
	{ 0 }
};
static const struct field console_result[] = {
	{ "ticket", TEXT(vm_result, ticket), .help = "To be shown once, within 30 seconds." },
	{ "path", TEXT(vm_result, path), .help = "Where the stream is: /stream/TICKET." },
	{ 0 }
};
/* clang-format on */

static void
defaults(void *params)
{
	struct vm_params *p = params;

	p->memory = VM_DEFAULT_MB;
	p->processors = 1;
	p->controllers = 1;
	p->timeout = 60;
}

/* --- showing
 * -------------------------------------------------------------------------------------------------- */

/* With vm->lock. A row does without the document. */
static void
look(const struct vm *vm, struct vm_view *v, bool row)
{
	const struct vm_config *c = &vm->config;

	memset(v, 0, offsetof(struct vm_view, config));
	memcpy(v->id, c->id, sizeof(v->id));
	memcpy(v->name, vm->name, sizeof(v->name));
	v->state = vm->state;
	v->processors = c->processor.count;
	v->memory = c->memory.size_mb;
	v->uptime = vm->started_ms ? (vm_now_ms() - vm->started_ms) / 1000 : 0;
	v->auto_start = c->auto_start;
	v->revision = c->revision;
	/* A document that was broken while its machine runs is worth knowing about. */
	memcpy(v->reason, vm->broken[0] ? vm->broken : vm->reason, sizeof(v->reason));
	memcpy(v->notes, c->notes, sizeof(v->notes));
	v->guest = vm->guest;
	v->assigned = vm->guest.memory.assigned / MIB;
	v->demand = vm->guest.memory.demand / MIB;
	v->dynamic = c->memory.dynamic;
	vm_config_memory(c, &v->least, &v->most);
	v->auto_stop = c->auto_stop;
	memcpy(v->kernel, c->direct.kernel, sizeof(v->kernel));
	memcpy(v->initrd, c->direct.initrd, sizeof(v->initrd));
	memcpy(v->cmdline, c->direct.cmdline, sizeof(v->cmdline));
	v->resets = vm->resets;
	v->panics = vm->panics;
	v->controllers = c->devices.controllers;
	if (!row)
		v->config = *c;
}

/* A new reference, or NULL when memory is out. */
static json_t *
show(struct vm *vm, const struct field *fields)
{
	struct vm_view *v = malloc(sizeof(*v));
	json_t *shown;

	if (!v)
		return NULL;
	pthread_mutex_lock(&vm->lock);
	look(vm, v, fields == row_fields);
	pthread_mutex_unlock(&vm->lock);
	shown = schema_write(fields, v);
	if (fields == view_fields && v->config.direct.kernel[0])
		json_object_set_new(shown, "config", vm_config_write(&v->config)); /* with disks' parents */
	else /* a broken document: what is known of it is no document */
		json_object_del(shown, "config");
	free(v);
	return shown;
}

static int
no_memory(struct fault *f)
{
	return fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
}

static int
answer(json_t *result, struct vm *vm, struct fault *f)
{
	return json_object_set_new(result, "vm", show(vm, view_fields)) < 0 ? no_memory(f) : 0;
}

struct vm *
call_vm(const struct call *c, const char *name, struct fault *f)
{
	struct vm *vm = inventory_find(c->agent->machines, call_machine(c, name));

	if (vm)
		inventory_refresh(c->agent->machines, vm);
	else
		fault_set(f, FAULT_VM_NOT_FOUND, "vm", "vm.list shows all machines",
		    "there is no machine '%s'", name);
	return vm;
}

static int
storage_fault(struct fault *f, const struct err *e)
{
	enum fault_code code = e->code == EEXIST                        ? FAULT_VM_EXISTS
			       : e->code == ENOENT                      ? FAULT_VM_NOT_FOUND
			       : e->code == ENOSPC || e->code == EDQUOT ? FAULT_NO_SPACE
									: FAULT_STORAGE;

	return fault_err(f, code, code == FAULT_VM_EXISTS ? "name" : NULL,
	    code == FAULT_NO_SPACE ? "make room on the data disk" : NULL, e);
}

static void
publish(const struct call *c, struct vm *vm, const char *type)
{
	struct machines *ms = c->agent->machines;
	json_t *data;

	pthread_mutex_lock(&vm->lock);
	data = vm_event_data(vm);
	json_object_set_new(data, "revision", json_integer((json_int_t)vm->config.revision));
	pthread_mutex_unlock(&vm->lock);
	ms->publish(ms->agent, type, data);
}

/* --- settings
 * ------------------------------------------------------------------------------------------------- */

/* The short form of a path, and whether the file is there; a machine's own folder may still have to be
 * filled. */
static int
take_path(
    struct machines *ms, const char *name, const char *param, const char *given, char *out, struct fault *f)
{
	struct err e = { 0 };
	int fd = -1;

	if (!given[0]) {
		out[0] = '\0';
		return 0;
	}
	if (file_path_tidy(ms->data, name, given, out, VM_PATH_SIZE, &e) < 0)
		return fault_err(f, FAULT_FILE_BAD, param, "file.list shows what there is", &e);
	if (out[0] == '.')
		return 0;
	fd = file_open_image(ms->data, name, out, &e);
	if (fd < 0)
		return fault_err(f, e.code == ENOENT ? FAULT_FILE_NOT_FOUND : FAULT_FILE_BAD, param,
		    "file.list shows what there is", &e);
	close(fd);
	return 0;
}

/* What was given, into config; the rest stays. */
static int
apply(const struct call *c, const struct vm_params *p, struct vm_config *config, struct fault *f)
{
	struct machines *ms = c->agent->machines;
	struct err e = { 0 };
	int rc = 0;

	if (call_has(c, "name")) {
		if (vm_name_check(p->name, &e) < 0)
			return fault_err(f, FAULT_BAD_PARAMS, "name", NULL, &e);
		memcpy(config->name, p->name, sizeof(config->name));
	}
	if (call_has(c, "memory"))
		config->memory.size_mb = p->memory;
	if (call_has(c, "memory") && !config->memory.dynamic && config->memory.maximum_mb < p->memory)
		config->memory.maximum_mb = 0;
	if (call_has(c, "memory") && !config->memory.dynamic && config->memory.minimum_mb > p->memory)
		config->memory.minimum_mb = 0;
	if (call_has(c, "processors"))
		config->processor.count = p->processors;
	if (call_has(c, "scsiControllers"))
		config->devices.controllers = p->controllers;
	if (call_has(c, "automaticStart"))
		config->auto_start = p->auto_start;
	if (call_has(c, "automaticStop"))
		config->auto_stop = p->auto_stop;
	if (call_has(c, "notes"))
		memcpy(config->notes, p->notes, sizeof(config->notes));
	if (call_has(c, "commandLine"))
		memcpy(config->direct.cmdline, p->cmdline, sizeof(config->direct.cmdline));
	if (call_has(c, "kernel"))
		rc = take_path(ms, config->name, "kernel", p->kernel, config->direct.kernel, f);
	if (rc == 0 && call_has(c, "initrd"))
		rc = take_path(ms, config->name, "initrd", p->initrd, config->direct.initrd, f);
	if (rc == 0 && vm_config_check(config, &e) < 0)
		rc = fault_err(f, FAULT_BAD_PARAMS, NULL, NULL, &e);
	return rc;
}

static int
create(struct call *c, const struct vm_config *config, json_t *result, struct fault *f)
{
	struct machines *ms = c->agent->machines;
	struct err e = { 0 };
	struct vm *vm;
	int rc;

	if (inventory_may_create(ms, config, &e) < 0)
		return storage_fault(f, &e);
	if (call_would(c, "create the machine %s with %llu MiB and %llu processors", config->name,
		(unsigned long long)config->memory.size_mb, (unsigned long long)config->processor.count))
		return 0;
	if (inventory_create(ms, config, &vm, &e) < 0)
		return storage_fault(f, &e);
	publish(c, vm, "vm.created");
	rc = answer(result, vm, f);
	vm_put(vm);
	return rc;
}

static int
do_create(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct vm_params *p = params;
	struct vm_config *config = malloc(sizeof(*config));
	int rc;

	if (!config)
		return no_memory(f);
	vm_config_defaults(config);
	if (call_has(c, "id"))
		memcpy(config->id, p->id, sizeof(config->id));
	else
		vm_new_guid(config->id);
	vm_new_guid(config->generation_id);
	rc = apply(c, p, config, f);
	if (rc == 0)
		rc = create(c, config, result, f);
	free(config);
	return rc;
}

/* A change that is agreed to under the locks. */
struct agreed {
	struct call *call;
	uint64_t base; /* the revision that the change was made from */
	bool renames;
	struct fault *f;
};

/* With vm->lock. The files of a machine do not move, nor go, while something is done with them. */
static int
files_rest(const struct vm *vm, struct fault *f)
{
	return vm->disks_busy ? fault_set(f, FAULT_TOO_BUSY, "vm", "try again in a moment",
				    "the disks of '%s' are being changed", vm->name)
			      : 0;
}

static int
agree_to_set(struct vm *vm, void *arg)
{
	struct agreed *a = arg;

	if (vm->config.revision != a->base)
		return -EAGAIN;
	if (a->renames && files_rest(vm, a->f) < 0)
		return -EPERM;
	return call_match(a->call, vm->config.revision, a->f) < 0 ? -EPERM : 0;
}

/* What is different, and needs a restart when the machine runs. */
static json_t *
list_restart(const struct vm_config *was, const struct vm_config *is)
{
	const struct {
		const char *name;
		bool differs;
	} rows[] = {
		{ "memory", was->memory.size_mb != is->memory.size_mb },
		{ "processors", was->processor.count != is->processor.count },
		{ "kernel", strcmp(was->direct.kernel, is->direct.kernel) != 0 },
		{ "initrd", strcmp(was->direct.initrd, is->direct.initrd) != 0 },
		{ "commandLine", strcmp(was->direct.cmdline, is->direct.cmdline) != 0 },
		{ "scsiControllers", was->devices.controllers != is->devices.controllers },
	};
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].differs)
			json_array_append_new(list, json_string(rows[i].name));
	return list;
}

/* One try; -EAGAIN: somebody else changed it meanwhile. was and is are room for two documents. */
static int
set_once(struct call *c, struct vm *vm, const struct vm_params *p, struct vm_config *was,
    struct vm_config *is, json_t *result, struct fault *f)
{
	struct machines *ms = c->agent->machines;
	struct agreed agreed = { .call = c, .f = f };
	struct err e = { 0 };
	json_t *restart;
	bool runs;
	int rc;

	pthread_mutex_lock(&vm->lock);
	*was = *is = vm->config;
	runs = vm->keeper != NULL;
	rc = vm->broken[0] ? fault_set(f, FAULT_VM_DOCUMENT_BAD, "vm", "mend the file, or delete the machine",
				 "'%s': %s", vm->name, vm->broken)
			   : call_match(c, was->revision, f);
	pthread_mutex_unlock(&vm->lock);
	agreed.base = was->revision;
	if (rc == 0)
		rc = apply(c, p, is, f);
	if (rc < 0)
		return -EPERM;
	agreed.renames = strcmp(was->name, is->name) != 0;
	restart = runs ? list_restart(was, is) : json_array();
	json_object_set_new(result, "restart", restart);
	if (vm_config_same(was, is))
		return json_object_set_new(result, "changed", json_false());
	if (call_would(c, "change the settings of %s%s%s", was->name,
		json_array_size(restart) ? "; takes effect at its next start" : "",
		agreed.renames ? "; its name, too" : ""))
		return 0;
	rc = inventory_set(ms, vm, is, agree_to_set, &agreed, &e);
	if (rc < 0 && rc != -EAGAIN && e.code)
		storage_fault(f, &e);
	if (rc == 0)
		publish(c, vm, "vm.changed");
	return rc;
}

static int
do_set(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct vm_params *p = params;
	struct vm *vm = call_vm(c, p->vm, f);
	struct vm_config *room = vm ? malloc(2 * sizeof(*room)) : NULL;
	int rc = -EAGAIN;

	if (!room) {
		vm_put(vm);
		return vm ? no_memory(f) : -1;
	}
	for (int i = 0; i < 10 && rc == -EAGAIN; i++)
		rc = set_once(c, vm, p, &room[0], &room[1], result, f);
	free(room);
	if (rc == -EAGAIN)
		fault_set(
		    f, FAULT_CONFLICT, "vm", NULL, "'%s' is being changed by others all the time", p->vm);
	if (rc == 0)
		rc = answer(result, vm, f);
	vm_put(vm);
	return rc;
}

static int
agree_to_delete(struct vm *vm, void *arg)
{
	struct agreed *a = arg;

	if (vm->keeper) {
		fault_set(a->f, FAULT_VM_WRONG_STATE, "vm", "vm.stop it first",
		    "'%s' is %s and cannot be deleted", vm->name, vm_state_names[vm->state]);
		return -EPERM;
	}
	if (files_rest(vm, a->f) < 0)
		return -EPERM;
	return call_match(a->call, vm->config.revision, a->f) < 0 ? -EPERM : 0;
}

/* The disks in its folder, which stay if that is not asked for otherwise. An array, perhaps empty. */
static json_t *
disks_left(struct call *c, struct vm *vm, const struct vm_params *p)
{
	json_t *left = p->delete_disks ? NULL : inventory_disks(c->agent->machines, vm);

	return left ? left : json_array();
}

static int
delete_it(struct call *c, struct vm *vm, const struct vm_params *p, struct agreed *agreed)
{
	struct err e = { 0 };
	int rc = inventory_delete(c->agent->machines, vm, !p->delete_disks, agree_to_delete, agreed, &e);

	if (rc < 0 && e.code)
		storage_fault(agreed->f, &e);
	if (!vm->gone)
		return rc;
	for (int i = 0; i < VM_COM_PORTS; i++)
		console_forget(vm->console[i]);
	publish(c, vm, "vm.deleted");
	return rc;
}

static void
would_leave(struct call *c, const json_t *left, const char *folder)
{
	if (json_array_size(left))
		call_would(c, "leave %zu files in %s; deleteDisks=true deletes them, too",
		    json_array_size(left), folder);
}

static int
do_delete(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct vm_params *p = params;
	struct agreed agreed = { .call = c, .f = f };
	struct vm *vm = call_vm(c, p->vm, f);
	char folder[VM_PATH_SIZE];
	json_t *left;
	int rc;

	if (!vm)
		return -1;
	pthread_mutex_lock(&vm->lock);
	rc = agree_to_delete(vm, &agreed);
	snprintf(folder, sizeof(folder), "%.300s/vms/%s/disks", c->agent->o.data, vm->name);
	pthread_mutex_unlock(&vm->lock);
	left = disks_left(c, vm, p);
	if (rc == 0 &&
	    call_would(c, "delete the machine %s and %s", p->vm,
		json_array_size(left) ? "what is in its folder but its disks" : "all that is in its folder"))
		would_leave(c, left, folder);
	else if (rc == 0)
		rc = delete_it(c, vm, p, &agreed);
	json_object_set_new(result, "folder", json_string(json_array_size(left) ? folder : ""));
	json_object_set_new(result, "kept", left);
	vm_put(vm);
	return rc;
}

/* --- looking
 * -------------------------------------------------------------------------------------------------- */

static bool
is_wanted(const struct call *c, struct vm *vm, const struct vm_params *p)
{
	char path[GUID_TEXT + 8] = "/vm/";
	bool wanted;

	pthread_mutex_lock(&vm->lock);
	guid_format(vm->config.id, path + 4);
	wanted = (!p->name[0] || fnmatch(p->name, vm->name, 0) == 0) &&
		 (!call_has(c, "state") || vm->state == p->state);
	pthread_mutex_unlock(&vm->lock);
	return wanted && call_may(c, ROLE_VIEWER, path);
}

static int
do_list(struct call *c, const void *params, json_t *result, struct fault *f)
{
	struct machines *ms = c->agent->machines;
	json_t *list = json_array();
	struct vm **all;
	size_t n = inventory_all(ms, &all);
	int rc = all && list ? 0 : -1;

	for (size_t i = 0; all && i < n; i++) {
		inventory_refresh(ms, all[i]);
		if (rc == 0 && is_wanted(c, all[i], params))
			rc = json_array_append_new(list, show(all[i], row_fields));
		vm_put(all[i]);
	}
	free(all);
	if (json_object_set_new(result, "vms", list) < 0)
		rc = -1;
	return rc < 0 ? no_memory(f) : 0;
}

static int
do_get(struct call *c, const void *params, json_t *result, struct fault *f)
{
	struct vm *vm = call_vm(c, ((const struct vm_params *)params)->vm, f);
	int rc = vm ? answer(result, vm, f) : -1;

	vm_put(vm);
	return rc;
}

/* --- running
 * -------------------------------------------------------------------------------------------------- */

static int
match(struct call *c, struct vm *vm, struct fault *f)
{
	int rc;

	pthread_mutex_lock(&vm->lock);
	rc = call_match(c, vm->config.revision, f);
	pthread_mutex_unlock(&vm->lock);
	return rc;
}

static int
start(struct call *c, struct vm *vm, const char *name, json_t *result, struct fault *f)
{
	struct machines *ms = c->agent->machines;
	bool changed = false;
	int rc = match(c, vm, f);

	if (rc == 0)
		rc = vm_may_start(ms, vm, &changed, f);
	if (rc == 0 && (!changed || !call_would(c, "start %s", name)))
		rc = vm_start(ms, vm, &changed, f);
	return rc < 0 ? rc : json_object_set_new(result, "changed", json_boolean(changed));
}

static int
do_start(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct vm_params *p = params;
	struct vm *vm = call_vm(c, p->vm, f);
	int rc = vm ? start(c, vm, p->vm, result, f) : -1;

	vm_put(vm);
	return rc;
}

static int
stop(struct call *c, struct vm *vm, const struct vm_params *p, json_t *result, struct fault *f)
{
	const struct vm_patience patience = {
		.timeout_s = (unsigned)p->timeout, .force = p->force, .job = c->job
	};
	struct machines *ms = c->agent->machines;
	bool changed, turned_off;
	int rc = match(c, vm, f);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&vm->lock);
	changed = vm->keeper != NULL;
	pthread_mutex_unlock(&vm->lock);
	if (changed && call_would(c, p->mode == STOP_TURN_OFF ? "turn off %s" : "shut down %s", p->vm))
		return 0;
	if (changed && p->mode == STOP_TURN_OFF)
		rc = vm_turn_off(ms, vm, &changed, f);
	else if (changed)
		rc = vm_shut_down(ms, vm, &patience, &changed, f);
	pthread_mutex_lock(&vm->lock);
	turned_off = changed && strncmp(vm->reason, "turned off", 10) == 0 &&
		     !strstr(vm->reason, "by the guest");
	pthread_mutex_unlock(&vm->lock);
	json_object_set_new(result, "turnedOff", json_boolean(turned_off));
	return rc < 0 ? rc : json_object_set_new(result, "changed", json_boolean(changed));
}

static int
do_stop(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct vm_params *p = params;
	struct vm *vm = call_vm(c, p->vm, f);
	int rc = vm ? stop(c, vm, p, result, f) : -1;

	vm_put(vm);
	return rc;
}

/* --- consoles
 * ------------------------------------------------------------------------------------------------- */

static int
open_console(struct call *c, struct vm *vm, const struct vm_params *p, int pair[2], struct fault *f)
{
	struct console *console;
	struct err e = { 0 };
	bool there;

	pthread_mutex_lock(&vm->lock);
	there = vm->config.com[p->port];
	console = there ? vm_console(c->agent->machines, vm, (unsigned)p->port) : NULL;
	pthread_mutex_unlock(&vm->lock);
	if (!there)
		return fault_set(f, FAULT_CONSOLE_NOT_FOUND, "port", NULL, "'%s' has no serial port COM%llu",
		    p->vm, (unsigned long long)p->port + 1);
	if (!console)
		return no_memory(f);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return fault_set(f, FAULT_LIMIT, NULL, NULL, "console: %s", strerror(errno));
	if (console_view(console, pair[0], &e) == 0)
		return 0;
	close(pair[1]);
	return fault_err(f, FAULT_LIMIT, NULL, NULL, &e);
}

static int
do_console(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct vm_params *p = params;
	char ticket[TICKET_SIZE], path[TICKET_SIZE + 16];
	struct vm *vm = call_vm(c, p->vm, f);
	struct err e = { 0 };
	int pair[2] = { -1, -1 }, rc = vm ? open_console(c, vm, p, pair, f) : -1;

	vm_put(vm);
	if (rc < 0)
		return rc;
	if (ticket_new(c, pair[1], ticket, &e) < 0)
		return fault_err(f, FAULT_LIMIT, NULL, "close another console first", &e);
	snprintf(path, sizeof(path), "/stream/%s", ticket);
	if (json_object_set_new(result, "ticket", json_string(ticket)) < 0 ||
	    json_object_set_new(result, "path", json_string(path)) < 0)
		return no_memory(f);
	return 0;
}

/* --- the table
 * ------------------------------------------------------------------------------------------------ */

#define FAULTS(...)                     \
	(const enum fault_code[])       \
	{                               \
		__VA_ARGS__, FAULT_NONE \
	}
#define PARAMS(table) .params = table, .params_size = sizeof(struct vm_params), .defaults = defaults

/* clang-format off */
const struct rpc_method methods_vm[] = {
	{ .name = "vm.create", .help = "Makes a machine, switched off.", .path = "/", .role = ROLE_ADMINISTRATOR,
	  .flags = METHOD_CHANGES, PARAMS(create_params), .result = vm_result,
	  .faults = FAULTS(FAULT_VM_EXISTS, FAULT_FILE_NOT_FOUND, FAULT_FILE_BAD, FAULT_NO_SPACE, FAULT_STORAGE),
	  .example = "vm.create{name=\"web1\", memory=\"1G\", kernel=\"images/vmlinuz\", initrd=\"images/initrd.img\", commandLine=\"console=ttyS0\"}",
	  .call = do_create },
	{ .name = "vm.list", .help = "All machines that the caller may see, with their states.", .path = "/vm/", .role = ROLE_VIEWER,
	  PARAMS(list_params), .result = list_result, .example = "vm.list{name=\"web*\"}", .call = do_list },
	{ .name = "vm.get", .help = "One machine: state, settings, and the whole document.", .path = "/vm/{vm}", .role = ROLE_VIEWER,
	  PARAMS(vm_params), .result = vm_result, .faults = FAULTS(FAULT_VM_NOT_FOUND), .example = "vm.get(\"web1\")", .call = do_get },
	{ .name = "vm.set", .help = "Changes settings of a machine. What it runs with takes effect at its next start.", .path = "/vm/{vm}",
	  .role = ROLE_ADMINISTRATOR, .flags = METHOD_CHANGES, PARAMS(set_params), .result = set_result,
	  .faults = FAULTS(FAULT_VM_NOT_FOUND, FAULT_VM_EXISTS, FAULT_VM_DOCUMENT_BAD, FAULT_FILE_NOT_FOUND, FAULT_FILE_BAD,
	      FAULT_NO_SPACE, FAULT_STORAGE),
	  .example = "vm.set(\"web1\", {memory=\"2G\", processors=2})", .call = do_set },
	{ .name = "vm.start", .help = "Switches a machine on; a paused one goes on.", .path = "/vm/{vm}", .role = ROLE_OPERATOR,
	  .flags = METHOD_CHANGES | METHOD_WAITS, PARAMS(vm_params),
	  .faults = FAULTS(FAULT_VM_NOT_FOUND, FAULT_VM_WRONG_STATE, FAULT_VM_START_FAILED, FAULT_VM_DOCUMENT_BAD, FAULT_FILE_NOT_FOUND,
	      FAULT_FILE_BAD, FAULT_DISK_IN_USE, FAULT_NOT_ENOUGH_MEMORY, FAULT_HOST_UNFIT, FAULT_VM_WORKER_LOST, FAULT_VM_WORKER_FAILED),
	  .example = "vm.start(\"web1\")", .call = do_start },
	{ .name = "vm.stop", .help = "Asks the guest to shut down, by its integration component or its power button, and waits; or turns the machine off at once.",
	  .path = "/vm/{vm}", .role = ROLE_OPERATOR, .flags = METHOD_CHANGES | METHOD_JOB | METHOD_PRIORITY, PARAMS(stop_params),
	  .result = stop_result, .faults = FAULTS(FAULT_VM_NOT_FOUND, FAULT_VM_WRONG_STATE, FAULT_VM_STOP_TIMED_OUT, FAULT_GUEST_REFUSED, FAULT_VM_WORKER_LOST,
	      FAULT_VM_WORKER_FAILED),
	  .example = "vm.stop(\"web1\", {timeout=120})", .call = do_stop },
	{ .name = "vm.delete", .help = "Deletes a machine that is off, with all that is in its folder but its disks, which are left there unless "
	      "deleteDisks is given. A machine that is made with the same name later finds them.",
	  .path = "/vm/{vm}", .role = ROLE_ADMINISTRATOR, .flags = METHOD_CHANGES | METHOD_DESTRUCTIVE, PARAMS(delete_params),
	  .result = delete_result, .faults = FAULTS(FAULT_VM_NOT_FOUND, FAULT_VM_WRONG_STATE, FAULT_STORAGE), .example = "vm.delete(\"web1\", {confirm=true})",
	  .call = do_delete },
	{ .name = "console.open", .help = "A stream to a machine's serial port: what was written last comes first. Several may look on.",
	  .path = "/vm/{vm}", .role = ROLE_OPERATOR, .flags = METHOD_AUDITED, PARAMS(console_params), .result = console_result,
	  .faults = FAULTS(FAULT_VM_NOT_FOUND, FAULT_CONSOLE_NOT_FOUND, FAULT_LIMIT), .example = "vm.console(\"web1\")", .call = do_console },
	{ 0 }
};
/* clang-format on */
