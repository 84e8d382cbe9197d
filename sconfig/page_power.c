/*
 * sconfig/page_power.c - log off (12), restart (13), shut down (14), shell (15).
 */
#include "sconfig/pages.h"

const struct page page_log_off = {
	.number = 12,
	.name = "log-off",
	.title = "Log off",
	.about = "Ends this session. Machines keep running; the menu comes back after the next log-in.",
	.kind = PAGE_LOG_OFF,
	.confirm = "Log off?",
};

static const struct item power_items[] = {
	{ "name", ITEM_FACT, "Computer name", "The host that this is about." },
	{ "running", ITEM_FACT, "Running machines", "They are asked to shut down first.",
	    .source = { "vm.list", "{\"state\":\"Running\"}", "vms", "name", NULL } },
	{ 0 },
};

const struct page page_restart = {
	.number = 13,
	.name = "restart",
	.title = "Restart the host",
	.about = "Running machines are shut down first. Those with automatic start come back with the host.",
	.kind = PAGE_FORM,
	.flags = PAGE_DESTRUCTIVE | PAGE_LEAVES,
	.items = power_items,
	.load = "host.get",
	.apply = "host.restart",
	.verb = "Restart",
	.confirm = "The host and all its machines restart now.",
};

const struct page page_shut_down = {
	.number = 14,
	.name = "shut-down",
	.title = "Shut down the host",
	.about =
	    "Running machines are shut down first. The host then stays off until it is switched on by hand.",
	.kind = PAGE_FORM,
	.flags = PAGE_DESTRUCTIVE | PAGE_LEAVES,
	.items = power_items,
	.load = "host.get",
	.apply = "host.shutdown",
	.verb = "Shut down",
	.confirm = "The host and all its machines are shut down now.",
};

const struct page page_shell = {
	.number = 15,
	.name = "shell",
	.title = "Shell",
	.about = "fhsh, the Lua shell: everything the menu does, and more. exit comes back to the menu.",
	.kind = PAGE_SHELL,
};
