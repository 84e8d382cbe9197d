/* agent/vm_guest.c - what a worker says of its guest, read with care. */
#include "agent/vm_guest.h"

#include <stdio.h>
#include <string.h>

#include "lib/text.h"

const char *const vm_heartbeats[] = { "None", "Disabled", "NoContact", "LostCommunication",
	"OkApplicationsUnknown", "OkApplicationsHealthy", "OkApplicationsCritical", NULL };

static const char *const operations[GUEST_OPS] = { [GUEST_SHUTDOWN] = "guest.shutdown",
	[GUEST_FREEZE] = "guest.freeze",
	[GUEST_THAW] = "guest.thaw",
	[GUEST_COPY] = "guest.copy",
	[GUEST_READ] = "kvp.enumerate" };

static const char *
text_of(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s ? s : "";
}

static uint64_t
number_of(const json_t *object, const char *name)
{
	json_int_t n = json_integer_value(json_object_get(object, name));

	return n > 0 ? (uint64_t)n : 0;
}

static bool
is_true(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

static void
take_text(char *out, size_t size, const char *s)
{
	text_copy(out, size, s);
	text_clean(out);
}

/* --- components -------------------------------------------------------------------------------------------
 */

static enum vm_heartbeat
heartbeat_of(const json_t *row)
{
	const char *applications = text_of(row, "Applications");

	if (!is_true(row, "Enabled"))
		return HEARTBEAT_DISABLED;
	if (!is_true(row, "There"))
		return number_of(row, "Answered") ? HEARTBEAT_LOST : HEARTBEAT_NO_CONTACT;
	if (strcmp(applications, "Healthy") == 0)
		return HEARTBEAT_OK_HEALTHY;
	return strcmp(applications, "Critical") == 0 ? HEARTBEAT_OK_CRITICAL : HEARTBEAT_OK_UNKNOWN;
}

void
guest_take_components(struct vm_guest *g, const json_t *list)
{
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(list, "Components"), i, row)
	{
		const char *which = text_of(row, "Component");

		if (strcmp(which, "Heartbeat") == 0)
			g->heartbeat = heartbeat_of(row);
		if (strcmp(which, "VSS") == 0)
			g->frozen = is_true(row, "Frozen");
	}
}

/* --- facts ------------------------------------------------------------------------------------------------
 */

void
guest_forget_facts(struct vm_guest *g)
{
	g->name[0] = g->system[0] = g->version[0] = '\0';
	memset(g->address, 0, sizeof(g->address));
	g->addresses = 0;
}

/* Separated by semicolons. */
static void
take_addresses(struct vm_guest *g, const char *list)
{
	while (*list && g->addresses < VM_ADDRESSES) {
		size_t len = strcspn(list, ";");
		char *out = g->address[g->addresses];

		if (len > 0 && len < VM_ADDRESS_SIZE) {
			memcpy(out, list, len);
			out[len] = '\0';
			text_clean(out);
			g->addresses++;
		}
		list += len + (list[len] != '\0');
	}
}

void
guest_take_fact(struct vm_guest *g, const char *key, const char *value)
{
	const struct {
		const char *key;
		char *out;
	} rows[] = {
		{ "FullyQualifiedDomainName", g->name },
		{ "OSName", g->system },
		{ "OSVersion", g->version },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].key, key) == 0)
			take_text(rows[i].out, VM_FACT_SIZE, value);
	if (strcmp(key, "NetworkAddressIPv4") == 0 || strcmp(key, "NetworkAddressIPv6") == 0)
		take_addresses(g, value);
}

bool
guest_same_facts(const struct vm_guest *a, const struct vm_guest *b)
{
	return a->heartbeat == b->heartbeat && a->frozen == b->frozen && strcmp(a->name, b->name) == 0 &&
	       strcmp(a->system, b->system) == 0 && strcmp(a->version, b->version) == 0 &&
	       a->addresses == b->addresses && memcmp(a->address, b->address, sizeof(a->address)) == 0;
}

/* --- memory -----------------------------------------------------------------------------------------------
 */

void
guest_take_memory(struct vm_guest *g, const json_t *status)
{
	uint64_t there = number_of(status, "AssignedInBytes"), added = number_of(status, "AddedInBytes"),
		 out = number_of(status, "BalloonedInBytes");

	g->memory = (struct guest_memory){ .known = true,
		.dynamic = is_true(status, "Dynamic"),
		.takes_part = is_true(status, "Balloons") || is_true(status, "Adds"),
		.minimum = number_of(status, "MinimumInBytes"),
		.maximum = number_of(status, "MaximumInBytes"),
		.start = added < there + out ? there + out - added : 0,
		.target = number_of(status, "TargetInBytes"),
		.assigned = there,
		.demand = number_of(status, "DemandInBytes") };
}

/* --- what has ended ---------------------------------------------------------------------------------------
 */

void
guest_take_news(struct vm_guest *g, const json_t *params)
{
	const char *what = text_of(params, "What"), *operation = text_of(params, "Operation"),
		   *error = text_of(params, "Error");

	if (strcmp(what, "Copying") == 0) {
		g->copied = number_of(params, "Done");
		g->to_copy = number_of(params, "Total");
	}
	for (size_t i = 0; strcmp(what, "Ended") == 0 && i < GUEST_OPS; i++)
		if (strcmp(operations[i], operation) == 0) {
			g->asked[i].ended = true;
			take_text(g->asked[i].why, sizeof(g->asked[i].why), error);
		}
}
