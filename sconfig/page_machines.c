/*
 * sconfig/page_machines.c - virtual machines (16): the list, a new one, settings, deleting.
 */
#include <stdio.h>
#include <string.h>

#include "sconfig/checks.h"
#include "sconfig/pages.h"

size_t
running_machines(const json_t *vms)
{
	size_t i, n = 0;
	json_t *vm;

	json_array_foreach(vms, i, vm)
	{
		const char *state = json_string_value(json_object_get(vm, "state"));

		n += state && strcmp(state, "Running") == 0;
	}
	return n;
}

static void
brief_machines(const json_t *host, const json_t *vms, char *out, size_t size)
{
	(void)host;
	if (json_array_size(vms))
		snprintf(out, size, "%zu of %zu running", running_machines(vms), json_array_size(vms));
	else
		snprintf(out, size, "%s", vms ? "none yet" : "?");
}

/* How long it has run; of one that is not running, why it is not. */
static void
show_since(const json_t *value, const json_t *row, char *out, size_t size)
{
	const char *reason = json_string_value(json_object_get(row, "reason"));

	if (json_integer_value(value) > 0)
		show_duration(value, row, out, size);
	else
		snprintf(out, size, "%s", reason ? reason : "");
}

static const struct column machine_columns[] = {
	{ "Name", "name", 24 },
	{ "State", "state", 10 },
	{ "CPUs", "processors", 4, true },
	{ "Memory", "memory", 9, true, show_memory },
	{ "Up for / reason", "uptime", 0, false, show_since },
	{ 0 },
};

static const char *const automatic_start[] = { "Nothing", "StartIfRunning", "Start", NULL };
static const char *const automatic_stop[] = { "ShutDown", "TurnOff", NULL };

#define IMAGES                                                                  \
	{                                                                       \
		"file.list", "{\"folder\":\"images\"}", "files", "path", "size" \
	}

/* What a machine has; facts are left out where it is new. */
static const struct item machine_items[] = {
	{ "state", ITEM_FACT, "State",
	    "Some settings wait for the machine's next start; what is applied says so." },
	{ "reason", ITEM_FACT, "Reason", "Why it is in this state." },
	{ "heartbeat", ITEM_FACT, "Guest", "Whether its system lives.", .show = show_heartbeat },
	{ "addresses", ITEM_FACT, "Addresses", "Its system's, as that says." },
	{ "name", ITEM_TEXT, "Name", "What it is called here, such as web1.", ITEM_REQUIRED,
	    .check = check_vm_name },
	{ "memory", ITEM_NUMBER, "Memory", "In MiB, or such as 2G. It is taken from the host while it runs.",
	    ITEM_REQUIRED, .unit = "MiB", .first = "512", .check = check_memory },
	{ "processors", ITEM_NUMBER, "Processors", "Virtual processors.", ITEM_REQUIRED, .first = "1",
	    .check = check_processors },
	{ "kernel", ITEM_CHOICE, "Kernel", "A Linux kernel (bzImage) from /data/images of this host.",
	    ITEM_REQUIRED, .source = IMAGES },
	{ "initrd", ITEM_CHOICE, "Initial RAM disk", "From /data/images; Backspace empties it: none.",
	    .source = IMAGES },
	{ "commandLine", ITEM_TEXT, "Command line", "What the kernel is told, such as console=ttyS0.",
	    .first = "console=ttyS0" },
	{ "automaticStart", ITEM_CHOICE, "When the host starts",
	    "Nothing; StartIfRunning, if it ran when the host went down; or Start.", .first = "Nothing",
	    .names = automatic_start },
	{ "automaticStop", ITEM_CHOICE, "When it shuts down",
	    "What the host does with it when it goes down: ShutDown asks its system, TurnOff cuts its power.",
	    .first = "ShutDown", .names = automatic_stop },
	{ "notes", ITEM_TEXT, "Notes", "What it is for; shown in lists." },
	{ "id", ITEM_FACT, "Id", "Its GUID, which stays when the name changes." },
	{ 0 },
};

const struct page page_vm_create = {
	.number = -1,
	.name = "vm-create",
	.title = "New virtual machine",
	.about =
	    "A machine that boots a Linux kernel directly. Put kernel and initial RAM disk into /data/images "
	    "first.",
	.kind = PAGE_FORM,
	.flags = PAGE_CREATES,
	.items = machine_items,
	.apply = "vm.create",
	.verb = "Create",
};

const struct page page_vm_settings = {
	.number = -1,
	.name = "vm-settings",
	.title = "Machine settings",
	.about = "What the machine has. What cannot change while it runs is kept for its next start.",
	.kind = PAGE_FORM,
	.items = machine_items,
	.load = "vm.get",
	.member = "vm",
	.apply = "vm.set",
	.verb = "Apply",
	.subject = "vm",
	.events = "vm.",
};

static const struct item delete_items[] = {
	{ "name", ITEM_FACT, "Name", "The machine that is deleted, with what is in its folder." },
	{ "state", ITEM_FACT, "State", "A machine must be off to be deleted." },
	{ "again", ITEM_TEXT, "Type its name", "To be sure that it is this one: its name, letter by letter.",
	    ITEM_REQUIRED | ITEM_UNSENT, .check = check_same_name },
	{ "deleteDisks", ITEM_BOOL, "Its disks, too",
	    "The disks in its folder. If not, they stay there, and a new machine of the same name finds "
	    "them.",
	    ITEM_UNREAD, .first = "no" },
	{ 0 },
};

const struct page page_vm_delete = {
	.number = -1,
	.name = "vm-delete",
	.title = "Delete a machine",
	.about =
	    "Deletes the machine and what is in its folder; its disks only if that is chosen. There is no "
	    "way back.",
	.kind = PAGE_FORM,
	.flags = PAGE_DESTRUCTIVE | PAGE_LEAVES,
	.items = delete_items,
	.load = "vm.get",
	.member = "vm",
	.apply = "vm.delete",
	.verb = "Delete",
	.confirm = "It cannot be undone.",
	.subject = "vm",
};

static const struct action machine_actions[] = {
	{ 'n', "New", "Creates a machine.", ACTION_PAGE, true, &page_vm_create },
	{ 's', "Start", "Starts it.", ACTION_CALL, .method = "vm.start" },
	{ 't', "Stop", "Asks its system to shut down; if it does not, it goes on.", ACTION_CALL,
	    .method = "vm.stop", .params = "{\"mode\":\"shutdown\"}", .confirm = "Shut down %s?" },
	{ 'o', "Turn off", "Cuts its power; what it has not written is lost.", ACTION_CALL,
	    .method = "vm.stop", .params = "{\"mode\":\"turnOff\"}",
	    .confirm = "Turn %s off? What it has not written is lost." },
	{ 'c', "Console", "Its serial console. Ctrl-] comes back.", ACTION_CONSOLE,
	    .method = "console.open" },
	{ 'e', "Settings", "Shows and changes what it has.", ACTION_PAGE, .page = &page_vm_settings },
	{ 'd', "Delete", "Deletes it, after asking.", ACTION_PAGE, .page = &page_vm_delete },
	{ 'i', "Disks", "Its disks and DVD drives.", ACTION_PAGE, .page = &page_disks },
	{ 'm', "Memory", "What memory it has, and may have.", ACTION_PAGE, .page = &page_memory,
	    .rare = true },
	{ 'g', "Guest", "What its system says of itself.", ACTION_PAGE, .page = &page_guest, .rare = true },
	{ 'v', "Integration services", "How host and guest speak.", ACTION_PAGE, .page = &page_services,
	    .rare = true },
	{ 'f', "Copy a file", "Copies a file of this host into its system.", ACTION_PAGE, .page = &page_copy,
	    .rare = true },
	{ 'r', "Restart", "Asks its system to restart.", ACTION_CALL, .method = "vm.restart",
	    .confirm = "Restart %s?", .rare = true },
	{ 'x', "Reset", "Starts it anew at once; what it has not written is lost.", ACTION_CALL,
	    .method = "vm.restart", .params = "{\"mode\":\"reset\"}",
	    .confirm = "Reset %s? What it has not written is lost.", .rare = true },
	{ 0 },
};

const struct page page_machines = {
	.number = 16,
	.name = "machines",
	.title = "Virtual machines",
	.about = "The machines of this host, their state as it changes, and what can be done with them.",
	.kind = PAGE_TABLE,
	.load = "vm.list",
	.member = "vms",
	.columns = machine_columns,
	.row_key = "name",
	.events = "vm.",
	.empty = "There is no machine yet: press n for a new one.",
	.actions = machine_actions,
	.brief = brief_machines,
};
