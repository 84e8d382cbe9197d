/*
 * sconfig/page_guest.c - what a machine's guest says of itself, its integration components, its memory, files
 * for it.
 */
#include <stdio.h>
#include <string.h>

#include "sconfig/checks.h"
#include "sconfig/pages.h"

/* --- the guest --------------------------------------------------------------------------------------------
 */

void
show_heartbeat(const json_t *value, const json_t *doc, char *out, size_t size)
{
	static const struct {
		const char *is, *reads;
	} rows[] = {
		{ "None", "-" },
		{ "Disabled", "not asked: the component is off" },
		{ "NoContact", "no contact" },
		{ "LostCommunication", "does not answer any more" },
		{ "OkApplicationsUnknown", "alive" },
		{ "OkApplicationsHealthy", "alive, its applications are healthy" },
		{ "OkApplicationsCritical", "alive, its applications are critical" },
	};
	const char *is = json_string_value(value);

	(void)doc;
	snprintf(out, size, "%s", is ? is : "-");
	for (size_t i = 0; is && i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].is, is) == 0)
			snprintf(out, size, "%s", rows[i].reads);
}

static const struct item guest_items[] = {
	{ "heartbeat", ITEM_FACT, "Heartbeat", "Whether it lives.", .show = show_heartbeat },
	{ "name", ITEM_FACT, "Name", "What it calls itself." },
	{ "system", ITEM_FACT, "System", "Its operating system." },
	{ "version", ITEM_FACT, "Version", "Of that." },
	{ "addresses", ITEM_FACT, "Addresses", "Of its network adapters." },
	{ "frozen", ITEM_FACT, "Stands still",
	    "Its file systems, for a backup (guest freeze in the shell)." },
	{ 0 },
};

const struct page page_guest = {
	.number = -1,
	.name = "guest",
	.title = "Guest",
	.about = "What the system in the machine says of itself, if it has drivers for the integration "
		 "components. guest get in the shell shows all that it tells.",
	.kind = PAGE_FACTS,
	.flags = PAGE_LIVE,
	.items = guest_items,
	.load = "guest.get",
	.subject = "vm",
	.events = "vm.",
};

/* --- integration components -------------------------------------------------------------------------------
 */

static void
show_state(const json_t *value, const json_t *row, char *out, size_t size)
{
	const char *state = json_string_value(value),
		   *version = json_string_value(json_object_get(row, "version"));

	snprintf(out, size, "%s%s%s", state ? state : "?", version && version[0] ? ", version " : "",
	    version ? version : "");
}

static const struct column service_columns[] = {
	{ "Component", "service", 24 },
	{ "Offered", "enabled", 10, false, show_on },
	{ "The guest", "state", 0, false, show_state },
	{ 0 },
};

static const char *const one_service[] = { "service", NULL };

static const struct action service_actions[] = {
	{ 'e', "Enable", "Offers it to the guest; if the machine runs, at once.", ACTION_CALL,
	    .method = "integration.enable" },
	{ 'd', "Disable", "Takes it from the guest.", ACTION_CALL, .method = "integration.disable" },
	{ 0 },
};

const struct page page_services = {
	.number = -1,
	.name = "services",
	.title = "Integration services",
	.about =
	    "Components by which host and guest speak: its heart, shutting down, the clock, facts, backups, "
	    "copies of files.",
	.kind = PAGE_TABLE,
	.load = "integration.list",
	.member = "services",
	.subject = "vm",
	.columns = service_columns,
	.row_key = "service",
	.row_params = one_service,
	.events = "vm.",
	.empty = "There is none.",
	.actions = service_actions,
};

/* --- memory -----------------------------------------------------------------------------------------------
 */

static void
show_mib(const json_t *value, const json_t *doc, char *out, size_t size)
{
	if (json_integer_value(value) > 0)
		show_memory(value, doc, out, size);
	else
		snprintf(out, size, "-");
}

static const struct item memory_items[] = {
	{ "assigned", ITEM_FACT, "Has now", "What the machine has at this moment.", .show = show_mib },
	{ "demand", ITEM_FACT, "Needs", "What its guest's programs need, as it says.", .show = show_mib },
	{ "startup", ITEM_NUMBER, "At start", "In MiB, or such as 2G.", ITEM_REQUIRED, .unit = "MiB",
	    .check = check_memory },
	{ "dynamic", ITEM_BOOL, "Dynamic",
	    "It changes while the machine runs, as its guest needs it and the host has it." },
	{ "minimum", ITEM_NUMBER, "Minimum", "It is not asked to run with less.", ITEM_REQUIRED,
	    .unit = "MiB", .when = "dynamic", .check = check_memory },
	{ "maximum", ITEM_NUMBER, "Maximum", "It does not get more.", ITEM_REQUIRED, .unit = "MiB",
	    .when = "dynamic", .check = check_memory },
	{ 0 },
};

const struct page page_memory = {
	.number = -1,
	.name = "memory",
	.title = "Memory",
	.about =
	    "What memory the machine starts with, and between which limits it changes. A machine that runs "
	    "keeps within the limits that it was started with; narrower ones hold at once.",
	.kind = PAGE_FORM,
	.items = memory_items,
	.load = "memory.get",
	.member = "memory",
	.apply = "memory.set",
	.verb = "Apply",
	.subject = "vm",
	.events = "vm.",
};

/* --- files ------------------------------------------------------------------------------------------------
 */

static const struct item copy_items[] = {
	{ "source", ITEM_CHOICE, "File", "From /data/images of this host.", ITEM_REQUIRED,
	    .source = { "file.list", "{\"folder\":\"images\"}", "files", "path", "size" } },
	{ "destination", ITEM_TEXT, "To",
	    "In the guest, such as /tmp/ or C:\\Temp\\: a folder, or a whole name.", ITEM_REQUIRED },
	{ "overwrite", ITEM_BOOL, "Overwrite", "A file that is there is replaced.", .first = "no" },
	{ "createPath", ITEM_BOOL, "Make folders", "Those that are not there.", .first = "no" },
	{ 0 },
};

const struct page page_copy = {
	.number = -1,
	.name = "copy",
	.title = "Copy a file into the guest",
	.about = "Copies a file of this host into the guest, without any network. The component "
		 "GuestServiceInterface has to be on, and the guest needs a driver for it.",
	.kind = PAGE_FORM,
	.flags = PAGE_CREATES,
	.items = copy_items,
	.apply = "vm.copyFile",
	.verb = "Copy",
	.subject = "vm",
};
