/* agent/methods_guest.c - what can be asked about guests, integration components and memory: one table. */
#include <stddef.h>

#include "agent/guest_calls.h"
#include "agent/method.h"

enum { TIMEOUT_MAX_S = 3600 };
static const char *const restart_modes[] = { "restart", "reset", NULL };

/* --- parameters -------------------------------------------------------------------------------------------
 */

/* clang-format off */
#define TEXT(m) .type = FIELD_STRING, FIELD_AT(guest_params, m), .size = sizeof(((struct guest_params *)0)->m), \
	.max = sizeof(((struct guest_params *)0)->m) - 1
#define VM { "vm", TEXT(vm), .min = 1, .required = true, .help = "Name or id of the machine." }
#define MEMORY(n, m, least, h) { n, FIELD_UINT, FIELD_AT(guest_params, m), .min = least, .max = VM_MAX_MB, .unit = "MiB", .help = h }

static const struct field vm_params[] = { VM, { 0 } };
static const struct field service_params[] = {
	VM,
	{ "service", FIELD_ENUM, FIELD_AT(guest_params, service), .names = vm_services, .required = true, .help = "Which component." },
	{ 0 }
};
static const struct field get_params[] = {
	VM,
	{ "pool", FIELD_ENUM, FIELD_AT(guest_params, pool), .names = guest_pools,
	  .help = "Intrinsic: what its driver says of it. Guest: what its own programs have put there." },
	{ "refresh", FIELD_BOOL, FIELD_AT(guest_params, refresh), .help = "It is asked anew first; else this is what it said last, five minutes ago at most." },
	{ 0 }
};
static const struct field freeze_params[] = {
	VM,
	{ "timeout", FIELD_UINT, FIELD_AT(guest_params, timeout), .min = 1, .max = TIMEOUT_MAX_S, .unit = "s",
	  .help = "After which it goes on by itself, whatever happens." },
	{ 0 }
};
static const struct field restart_params[] = {
	VM,
	{ "mode", FIELD_ENUM, FIELD_AT(guest_params, mode), .names = restart_modes, .help = "restart asks the guest; reset does not." },
	{ "timeout", FIELD_UINT, FIELD_AT(guest_params, timeout), .min = 1, .max = TIMEOUT_MAX_S, .unit = "s",
	  .help = "How long the guest may take." },
	{ 0 }
};
static const struct field copy_params[] = {
	VM,
	{ "source", TEXT(source), .min = 1, .required = true, .unit = "path", .help = "The file: images/NAME, or ./NAME in the machine's folder." },
	{ "destination", TEXT(destination), .min = 1, .required = true,
	  .help = "Where it is to be in the guest; with a separator at the end: in that folder, under its own name." },
	{ "overwrite", FIELD_BOOL, FIELD_AT(guest_params, overwrite), .help = "A file that is there is replaced." },
	{ "createPath", FIELD_BOOL, FIELD_AT(guest_params, create_path), .help = "Folders that are not there are made." },
	{ 0 }
};
static const struct field memory_params[] = {
	VM,
	{ "dynamic", FIELD_BOOL, FIELD_AT(guest_params, dynamic), .help = "Whether it changes while the machine runs, as its guest needs it." },
	MEMORY("startup", startup, VM_MIN_MB, "What the machine starts with."),
	MEMORY("minimum", minimum, 0, "Least it is asked to run with; 0: startup."),
	MEMORY("maximum", maximum, 0, "Most it can have; 0: startup."),
	{ 0 }
};
static const struct field target_params[] = {
	VM,
	{ "size", FIELD_UINT, FIELD_AT(guest_params, size), .required = true, .max = VM_MAX_MB, .unit = "MiB",
	  .help = "What it should have, between minimum and maximum; 0: what its guest needs." },
	{ 0 }
};
/* clang-format on */

static void
defaults(void *params)
{
	((struct guest_params *)params)->timeout = 60;
}

/* --- the table --------------------------------------------------------------------------------------------
 */

#define FAULTS(...)                                         \
	(const enum fault_code[])                           \
	{                                                   \
		FAULT_VM_NOT_FOUND, __VA_ARGS__, FAULT_NONE \
	}
#define CHANGE_FAULTS                                                                                     \
	FAULTS(FAULT_VM_WRONG_STATE, FAULT_VM_DOCUMENT_BAD, FAULT_VM_WORKER_LOST, FAULT_VM_WORKER_FAILED, \
	    FAULT_NO_SPACE, FAULT_STORAGE)
#define GUEST_FAULTS                                                                             \
	FAULT_VM_WRONG_STATE, FAULT_GUEST_NO_CONTACT, FAULT_GUEST_REFUSED, FAULT_VM_WORKER_LOST, \
	    FAULT_VM_WORKER_FAILED
#define PARAMS(table) .params = table, .params_size = sizeof(struct guest_params), .defaults = defaults
#define AT            .path = "/vm/{vm}"

/* clang-format off */
const struct rpc_method methods_guest[] = {
	{ .name = "vm.restart", .help = "Asks the guest to restart, by its integration component, and waits until it has; or resets the machine at once.",
	  AT, .role = ROLE_OPERATOR, .flags = METHOD_CHANGES | METHOD_JOB | METHOD_PRIORITY, PARAMS(restart_params),
	  .faults = FAULTS(GUEST_FAULTS), .example = "vm.restart(\"web1\", {timeout=120})", .call = guest_call_restart },
	{ .name = "vm.copyFile", .help = "Copies a file of this host into the guest of a machine that runs, if the component GuestServiceInterface is on.",
	  AT, .role = ROLE_ADMINISTRATOR, .flags = METHOD_CHANGES | METHOD_JOB, PARAMS(copy_params), .result = guest_copy_result,
	  .faults = FAULTS(GUEST_FAULTS, FAULT_FILE_NOT_FOUND, FAULT_FILE_BAD, FAULT_STORAGE),
	  .example = "vm.copyFile(\"web1\", \"images/site.conf\", \"/etc/\", {overwrite=true})", .call = guest_call_copy, .undo = guest_undo_copy },
	{ .name = "integration.list", .help = "The integration components of a machine, and what its guest makes of them.", AT, .role = ROLE_VIEWER,
	  .flags = METHOD_WAITS, PARAMS(vm_params), .result = integration_list_result, .faults = (const enum fault_code[]){ FAULT_VM_NOT_FOUND, FAULT_NONE },
	  .example = "integration.list(\"web1\")", .call = integration_call_list },
	{ .name = "integration.enable", .help = "Offers the guest an integration component, also while the machine runs.", AT, .role = ROLE_ADMINISTRATOR,
	  .flags = METHOD_CHANGES | METHOD_WAITS, PARAMS(service_params), .result = integration_change_result, .faults = CHANGE_FAULTS,
	  .example = "integration.enable(\"web1\", \"GuestServiceInterface\")", .call = integration_call_enable },
	{ .name = "integration.disable", .help = "Takes an integration component from the guest, also while the machine runs.", AT,
	  .role = ROLE_ADMINISTRATOR, .flags = METHOD_CHANGES | METHOD_WAITS, PARAMS(service_params), .result = integration_change_result,
	  .faults = CHANGE_FAULTS, .example = "integration.disable(\"web1\", \"TimeSynchronization\")", .call = integration_call_disable },
	{ .name = "guest.get", .help = "What the guest says of itself.", AT, .role = ROLE_VIEWER, .flags = METHOD_WAITS, PARAMS(get_params),
	  .result = guest_get_result, .faults = FAULTS(GUEST_FAULTS), .example = "guest.get(\"web1\")", .call = guest_call_get },
	{ .name = "guest.freeze", .help = "Has the guest's file systems stand still, whole, for a backup of its disks; answers when they do. guest.thaw has them go on.",
	  AT, .role = ROLE_OPERATOR, .flags = METHOD_CHANGES | METHOD_WAITS, PARAMS(freeze_params), .faults = FAULTS(GUEST_FAULTS),
	  .example = "guest.freeze(\"web1\", {timeout=30})", .call = guest_call_freeze },
	{ .name = "guest.thaw", .help = "Has them go on. A fault says that they did not stand still any more, so that the backup may not be whole.", AT,
	  .role = ROLE_OPERATOR, .flags = METHOD_CHANGES | METHOD_WAITS, PARAMS(vm_params), .faults = FAULTS(GUEST_FAULTS),
	  .example = "guest.thaw(\"web1\")", .call = guest_call_thaw },
	{ .name = "memory.get", .help = "What memory a machine has, and may have.", AT, .role = ROLE_VIEWER, PARAMS(vm_params), .result = memory_get_result,
	  .faults = (const enum fault_code[]){ FAULT_VM_NOT_FOUND, FAULT_NONE }, .example = "memory.get(\"web1\")", .call = memory_call_get },
	{ .name = "memory.set", .help = "Changes what memory a machine starts with, whether that changes while it runs, and between which limits. Limits within "
	      "those that a running machine was started with hold for it at once.",
	  AT, .role = ROLE_ADMINISTRATOR, .flags = METHOD_CHANGES | METHOD_WAITS, PARAMS(memory_params), .result = memory_set_result,
	  .faults = CHANGE_FAULTS, .example = "memory.set(\"web1\", {dynamic=true, minimum=\"512M\", maximum=\"4G\"})", .call = memory_call_set },
	{ .name = "memory.target", .help = "Has a running machine with dynamic memory go to a size, step by step, as far as its guest and the host's memory allow, "
	      "until it ends or the agent is started anew.",
	  AT, .role = ROLE_OPERATOR, .flags = METHOD_CHANGES, PARAMS(target_params), .faults = FAULTS(FAULT_VM_WRONG_STATE, FAULT_NOT_SUPPORTED),
	  .example = "memory.target(\"web1\", \"768M\")", .call = memory_call_target },
	{ 0 }
};
/* clang-format on */
