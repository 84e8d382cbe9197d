/* hypervisor/worker/ic_requests.c - what a worker can be asked about integration components. */
#include "hypervisor/worker/ic_requests.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "hypervisor/worker/worker.h"

static const char *const families[] = { "IPv4", "IPv6", NULL };

/* clang-format off */
#define TEXT(s, m) .type = FIELD_STRING, FIELD_AT(s, m), .max = sizeof(((struct s *)0)->m) - 1, .size = sizeof(((struct s *)0)->m)
#define COMPONENT  { .name = "Component", .type = FIELD_ENUM, .required = true, FIELD_AT(ic_params, kind), .names = ic_names, \
	.help = "Which one." }
#define POOL { .name = "Pool", .type = FIELD_ENUM, .required = true, FIELD_AT(ic_params, pool), .names = kvp_pools, \
	.help = "External and Host are what the guest is told, Guest and Intrinsic what it tells." }
#define KEY  { .name = "Key", TEXT(ic_params, item.key), .required = true, .min = 1, .help = "Name of the fact." }

static const struct field entry_fields[] = {
	{ .name = "Component", .type = FIELD_ENUM, FIELD_AT(ic_entry, report.kind), .names = ic_names, .help = "Which one." },
	{ .name = "Enabled", .type = FIELD_BOOL, FIELD_AT(ic_entry, report.on), .help = "It is offered to the guest." },
	{ .name = "State", .type = FIELD_ENUM, FIELD_AT(ic_entry, report.state), .names = ic_states, .help = "What the guest makes of it." },
	{ .name = "Version", TEXT(ic_entry, version), .help = "Of its messages; empty before one is agreed on." },
	{ .name = "There", .type = FIELD_BOOL, FIELD_AT(ic_entry, report.there), .help = "Heartbeat: the guest answers." },
	{ .name = "Applications", .type = FIELD_ENUM, FIELD_AT(ic_entry, report.application), .names = ic_applications,
	  .help = "Heartbeat: the state of the guest's applications." },
	{ .name = "Answered", .type = FIELD_UINT, FIELD_AT(ic_entry, report.heartbeats), .max = UINT64_MAX, .help = "Heartbeats in all." },
	{ .name = "LastInMs", .type = FIELD_UINT, FIELD_AT(ic_entry, report.since_ms), .max = UINT64_MAX, .unit = "ms",
	  .help = "Since the last heartbeat." },
	{ .name = "Frozen", .type = FIELD_BOOL, FIELD_AT(ic_entry, report.frozen), .help = "VSS: the guest's file systems stand still." },
	{ .name = "Mistakes", .type = FIELD_UINT, FIELD_AT(ic_entry, report.mistakes), .max = UINT64_MAX,
	  .help = "Answers that made no sense or came too late." },
	{ 0 }
};
const struct field ic_list_fields[] = {
	{ .name = "Components", .type = FIELD_LIST, FIELD_AT(ic_list, entry), .max = IC_KINDS, .size = sizeof(struct ic_entry),
	  .count_offset = offsetof(struct ic_list, n), .fields = entry_fields, .help = "Integration components." },
	{ 0 }
};
const struct field ic_set_fields[] = {
	COMPONENT,
	{ .name = "Enabled", .type = FIELD_BOOL, .required = true, FIELD_AT(ic_params, on), .help = "Whether the guest is offered it." },
	{ 0 }
};
const struct field ic_changed_fields[] = {
	{ .name = "changed", .type = FIELD_BOOL, FIELD_AT(ic_changed, changed), .help = "False when it was so already." },
	{ 0 }
};
const struct field guest_shutdown_fields[] = {
	{ .name = "Kind", .type = FIELD_ENUM, FIELD_AT(ic_params, shutdown), .names = ic_shutdown_kinds, .help = "What the guest does." },
	{ .name = "Force", .type = FIELD_BOOL, FIELD_AT(ic_params, force), .help = "Though its programs object." },
	{ .name = "Reason", TEXT(ic_params, reason), .help = "What its people are told." },
	{ 0 }
};
const struct field kvp_key_fields[] = { POOL, KEY, { 0 } };
const struct field kvp_set_fields[] = {
	POOL,
	KEY,
	{ .name = "Value", TEXT(ic_params, item.value), .required = true, .help = "Its value." },
	{ 0 }
};
const struct field kvp_enumerate_fields[] = {
	POOL,
	{ .name = "From", .type = FIELD_UINT, FIELD_AT(ic_params, from), .max = KVP_ITEMS, .help = "The first that is told, counted from 0." },
	{ .name = "Refresh", .type = FIELD_BOOL, FIELD_AT(ic_params, refresh),
	  .help = "The guest's facts are read anew; the event \"integration\" says when that has ended." },
	{ 0 }
};
const struct field kvp_item_fields[] = {
	{ .name = "Key", TEXT(kvp_item, key), .help = "Name of the fact." },
	{ .name = "Value", TEXT(kvp_item, value), .help = "Its value." },
	{ .name = "Told", .type = FIELD_BOOL, FIELD_AT(kvp_item, told), .help = "Of the host's facts: the guest has it." },
	{ 0 }
};
const struct field kvp_page_fields[] = {
	{ .name = "Items", .type = FIELD_LIST, FIELD_AT(kvp_page, item), .max = IC_PAGE, .size = sizeof(struct kvp_item),
	  .count_offset = offsetof(struct kvp_page, n), .fields = kvp_item_fields, .help = "Facts, a dozen at most." },
	{ .name = "Total", .type = FIELD_UINT, FIELD_AT(kvp_page, total), .max = UINT64_MAX, .help = "How many the pool has." },
	{ 0 }
};
#define FAMILY { .name = "Family", .type = FIELD_ENUM, FIELD_AT(ic_params, ip.family), .names = families, .help = "Of the addresses." }
const struct field guest_ip_get_fields[] = {
	{ .name = "Adapter", TEXT(ic_params, ip.adapter), .required = true, .min = 1, .help = "Its MAC address, as 00:11:22:33:44:55." },
	FAMILY,
	{ 0 }
};
const struct field guest_ip_set_fields[] = {
	{ .name = "Adapter", TEXT(ic_params, ip.adapter), .required = true, .min = 1, .help = "The GUID of its device, in braces." },
	FAMILY,
	{ .name = "Dhcp", .type = FIELD_BOOL, FIELD_AT(ic_params, ip.dhcp), .help = "The guest asks a server for them." },
	{ .name = "Addresses", TEXT(ic_params, ip.address), .help = "Separated by semicolons." },
	{ .name = "Masks", TEXT(ic_params, ip.mask), .help = "For each address." },
	{ .name = "Gateways", TEXT(ic_params, ip.gateway), .help = "Separated by semicolons." },
	{ .name = "DnsServers", TEXT(ic_params, ip.dns), .help = "Separated by semicolons." },
	{ 0 }
};
const struct field guest_freeze_fields[] = {
	{ .name = "TimeLimit", .type = FIELD_UINT, FIELD_AT(ic_params, seconds), .min = 1, .max = 3600, .unit = "s",
	  .help = "After which it is thawed, whatever happens." },
	{ 0 }
};
const struct field guest_copy_fields[] = {
	{ .name = "File", .type = FIELD_FD, .required = true, FIELD_AT(ic_params, copy.fd), .help = "What is copied, for reading." },
	{ .name = "Name", TEXT(ic_params, copy.name), .required = true, .min = 1, .help = "The file's name in the guest." },
	{ .name = "Path", TEXT(ic_params, copy.path), .required = true, .min = 1, .help = "Its folder in the guest." },
	{ .name = "Overwrite", .type = FIELD_BOOL, FIELD_AT(ic_params, copy.overwrite), .help = "A file that is there is replaced." },
	{ .name = "CreatePath", .type = FIELD_BOOL, FIELD_AT(ic_params, copy.make_path), .help = "Folders that are not there are made." },
	{ 0 }
};
/* clang-format on */

void
ic_defaults(void *params)
{
	((struct ic_params *)params)->seconds = 60;
}

/* Its components; NULL with words. */
static struct ics *
find(const struct worker *w, struct err *e)
{
	if (!w->p)
		err_set(e, ENOENT, "no machine was created yet");
	else if (!w->components)
		err_set(e, ENOENT,
		    "the machine was created without integration components "
		    "(Devices.IntegrationServices)");
	return components_ics(w);
}

/* Of a machine that runs: a guest that stands still answers nothing. */
static struct ics *
find_running(const struct worker *w, struct err *e)
{
	struct ics *s = find(w, e);

	if (!s || w->state == STATE_RUNNING)
		return s;
	err_set(e, EINVAL, "the machine is %s, not Running", state_names[w->state]);
	return NULL;
}

int
do_ic_list(void *ctx, void *params, void *result, struct err *e)
{
	struct ics *s = find(ctx, e);
	struct ic_list *l = result;

	(void)params;
	if (!s)
		return -e->code;
	for (; l->n < IC_KINDS; l->n++) {
		struct ic_entry *entry = &l->entry[l->n];
		uint32_t v;

		ics_report(s, (enum ic_kind)l->n, &entry->report);
		v = (uint32_t)entry->report.version;
		if (v)
			snprintf(entry->version, sizeof(entry->version), "%u.%u", v >> 16, v & 0xffff);
	}
	return 0;
}

int
do_ic_set(void *ctx, void *params, void *result, struct err *e)
{
	const struct ic_params *p = params;
	struct ic_changed *r = result;
	struct ics *s = find(ctx, e);

	return s ? ics_set(s, (enum ic_kind)p->kind, p->on, &r->changed, e) : -e->code;
}

int
do_kvp_get(void *ctx, void *params, void *result, struct err *e)
{
	const struct ic_params *p = params;
	struct ics *s = find(ctx, e);

	return s ? ic_kvp_get(s, (enum kvp_pool)p->pool, p->item.key, result, e) : -e->code;
}

int
do_kvp_set(void *ctx, void *params, void *result, struct err *e)
{
	const struct ic_params *p = params;
	struct ic_changed *r = result;
	struct ics *s = find(ctx, e);

	if (!s)
		return -e->code;
	return ic_kvp_set(s, (enum kvp_pool)p->pool, p->item.key, p->item.value, &r->changed, e);
}

int
do_kvp_delete(void *ctx, void *params, void *result, struct err *e)
{
	const struct ic_params *p = params;
	struct ic_changed *r = result;
	struct ics *s = find(ctx, e);

	return s ? ic_kvp_delete(s, (enum kvp_pool)p->pool, p->item.key, &r->changed, e) : -e->code;
}

int
do_kvp_enumerate(void *ctx, void *params, void *result, struct err *e)
{
	const struct ic_params *p = params;
	struct kvp_page *page = result;
	struct ics *s = p->refresh ? find_running(ctx, e) : find(ctx, e);
	size_t total;
	int rc = s ? 0 : -e->code;

	if (rc == 0 && p->refresh)
		rc = ic_kvp_refresh(s, e);
	if (rc < 0)
		return rc;
	page->n = ic_kvp_list(s, (enum kvp_pool)p->pool, p->from, page->item, IC_PAGE, &total);
	page->total = total;
	return 0;
}

int
do_guest_copy(void *ctx, void *params, void *result, struct err *e)
{
	const struct ic_params *p = params;
	struct ics *s = find_running(ctx, e);

	(void)result;
	if (!s) {
		close(p->copy.fd);
		return -e->code;
	}
	return ic_copy(s, &p->copy, e);
}

#define GUEST(what, call)                                                         \
	int do_guest_##what(void *ctx, void *params, void *result, struct err *e) \
	{                                                                         \
		const struct ic_params *p = params;                               \
		struct ics *s = find_running(ctx, e);                             \
                                                                                  \
		(void)result, (void)p;                                            \
		return s ? call : -e->code;                                       \
	}
GUEST(shutdown, ic_shutdown(s, (enum ic_shutdown_kind)p->shutdown, p->force, p->reason, e))
GUEST(time_sync, ic_time_sync(s, e))
GUEST(ip_get, ic_ip_get(s, &p->ip, e))
GUEST(ip_set, ic_ip_set(s, &p->ip, e))
GUEST(freeze, ic_freeze(s, (unsigned)p->seconds, e))
GUEST(thaw, ic_thaw(s, e))
GUEST(copy_cancel, ic_copy_cancel(s, e))
