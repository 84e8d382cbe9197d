/*
 * tests/unit/fake_menu_agent.h - an agent in a test's own memory, behind struct link_ops: one host, a few
 * machines, the methods that the menu uses. It can die, refuse and answer nonsense when told to.
 */
#ifndef TESTS_FAKE_MENU_AGENT_H
#define TESTS_FAKE_MENU_AGENT_H

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "sconfig/link.h"

struct fake_agent {
	bool down;                  /* nobody answers, until it is set to false */
	int dies_in;                /* dies at that call, 1 is the next; 0: does not */
	bool nonsense;              /* every answer is of the wrong shape */
	json_t *host, *vms, *disks; /* its truth; disks are web1's */
	json_t *services, *memory;  /* web1's, too */
	json_t *events;             /* to be taken */
	json_t *calls;              /* every call: [method, params] */
	bool connected;
	int opened;
};

static int
fake_refuse(struct rpc_error *e, int code, const char *symbol, const char *path, const char *message,
    const char *hint)
{
	*e = (struct rpc_error){ .code = code };
	snprintf(e->symbol, sizeof(e->symbol), "%s", symbol);
	snprintf(e->path, sizeof(e->path), "%s", path);
	snprintf(e->message, sizeof(e->message), "%s", message);
	snprintf(e->hint, sizeof(e->hint), "%s", hint);
	return -EREMOTEIO;
}

static json_t *
fake_vm(struct fake_agent *a, const char *name)
{
	json_t *vm;
	size_t i;

	json_array_foreach(a->vms, i,
	    vm) if (name && strcmp(json_string_value(json_object_get(vm, "name")), name) == 0) return vm;
	return NULL;
}

static bool
fake_dry(json_t *params)
{
	return json_is_true(json_object_get(json_object_get(params, "_"), "dryRun"));
}

static int
fake_host_set(struct fake_agent *a, json_t *params, json_t **result, struct rpc_error *e)
{
	const char *name = json_string_value(json_object_get(params, "name")), *key;
	json_t *value, *adapter = json_array_get(json_object_get(a->host, "adapters"), 0);

	if (name && strcmp(name, "taken") == 0)
		return fake_refuse(e, 1306, "BAD_HOST_NAME", "name", "taken is the name of another host.",
		    "Choose another.");
	if (name && strcmp(name, "broken") == 0)
		return fake_refuse(e, 1014, "STORAGE", "", "The disk is full.", "");
	*result = json_pack("{s:b,s:[s]}", "changed", 1, "would", "write the settings of the host");
	if (fake_dry(params))
		return 0;
	json_object_foreach(params, key, value)
	{
		if (strcmp(key, "_") == 0 || strcmp(key, "adapter") == 0)
			continue;
		if (strcmp(key, "address") == 0)
			json_object_set_new(adapter, "addresses", json_pack("[O]", value));
		else if ((strcmp(key, "name") != 0 && json_object_get(adapter, key)) ||
			 strcmp(key, "dhcp") == 0)
			json_object_set(adapter, key, value);
		else
			json_object_set(a->host, key, value);
	}
	return 0;
}

static int
fake_vm_call(struct fake_agent *a, const char *verb, json_t *params, json_t **result, struct rpc_error *e)
{
	json_t *vm = fake_vm(a, json_string_value(json_object_get(params, "vm"))), *copy;
	size_t i;

	if (strcmp(verb, "list") == 0) {
		*result = json_pack("{s:o}", "vms", json_deep_copy(a->vms));
		return 0;
	}
	if (strcmp(verb, "create") == 0) {
		if (fake_vm(a, json_string_value(json_object_get(params, "name"))))
			return fake_refuse(
			    e, 1405, "VM_EXISTS", "name", "There is a machine of that name.", "");
		*result = json_pack("{s:b}", "changed", 1);
		if (fake_dry(params))
			return 0;
		copy = json_deep_copy(params);
		json_object_del(copy, "_");
		json_object_set_new(copy, "state", json_string("Off"));
		json_object_set_new(copy, "id", json_string("00000000-0000-4000-8000-000000000009"));
		json_object_set_new(copy, "revision", json_integer(1));
		json_array_append_new(a->vms, copy);
		return 0;
	}
	if (!vm)
		return fake_refuse(
		    e, 1404, "VM_NOT_FOUND", "vm", "There is no such machine.", "vm.list shows them.");
	if (strcmp(verb, "get") == 0) {
		*result = json_pack("{s:o}", "vm", json_deep_copy(vm));
		return 0;
	}
	*result = json_pack("{s:b}", "changed", 1);
	if (fake_dry(params))
		return 0;
	if (strcmp(verb, "start") == 0) {
		json_object_set_new(vm, "state", json_string("Running"));
	} else if (strcmp(verb, "stop") == 0) {
		json_object_set_new(vm, "state", json_string("Off"));
		json_decref(*result);
		*result = json_pack("{s:s}", "job", "job-1");
	} else if (strcmp(verb, "set") == 0) {
		json_object_update(vm, params);
		json_object_del(vm, "_");
		json_object_del(vm, "vm");
	} else if (strcmp(verb, "delete") == 0) {
		json_array_foreach(a->vms, i, copy) if (copy == vm)
		{
			json_array_remove(a->vms, i);
			break;
		}
	}
	return 0;
}

/* Disks and drives: disk.add, dvd.add, dvd.set, disk.remove and disk.list, of web1. */
static int
fake_disk_call(struct fake_agent *a, const char *method, json_t *params, json_t **result, struct rpc_error *e)
{
	json_t *row = NULL, *at;
	char place[8];
	size_t i;

	if (!fake_vm(a, json_string_value(json_object_get(params, "vm"))))
		return fake_refuse(e, 1404, "VM_NOT_FOUND", "vm", "There is no such machine.", "");
	*result = json_pack("{s:b,s:[s]}", "changed", 1, "would", "do something to a disk");
	json_array_foreach(a->disks, i, at)
	{
		if (json_equal(json_object_get(at, "lun"), json_object_get(params, "lun")))
			row = at;
	}
	if (strcmp(method, "disk.list") == 0)
		json_object_set_new(*result, "disks", json_deep_copy(a->disks));
	else if (strcmp(method + 4, "add") == 0 || strcmp(method, "disk.add") == 0) {
		if (fake_dry(params))
			return 0;
		snprintf(place, sizeof(place), "0:%zu", json_array_size(a->disks) % 100);
		row = json_pack("{s:s, s:i, s:i, s:s, s:b, s:i, s:i}", "place", place, "controller", 0, "lun",
		    (int)json_array_size(a->disks), "type", method[1] == 'v' ? "Dvd" : "VirtualDisk",
		    "readOnly", method[1] == 'v', "size", 1 << 30, "used", 4096);
		json_object_set_new(row, "path",
		    json_object_get(params, "path") ? json_incref(json_object_get(params, "path"))
						    : json_string("./new"));
		json_array_append_new(a->disks, row);
	} else if (!row) {
		return fake_refuse(e, 1422, "DISK_NOT_FOUND", "lun", "There is no such disk.", "");
	} else if (!fake_dry(params) && strcmp(method, "disk.merge") == 0) {
		json_decref(*result);
		*result = json_pack("{s:s}", "job", "job-1");
	} else if (!fake_dry(params) && strcmp(method, "disk.branch") == 0) {
		json_object_set_new(row, "path", json_string("./disks/child.vhdx"));
	} else if (!fake_dry(params) && strcmp(method, "dvd.set") == 0) {
		json_object_set(row, "path", json_object_get(params, "path"));
	} else if (!fake_dry(params)) {
		for (i = 0; json_array_get(a->disks, i) != row;)
			i++;
		json_array_remove(a->disks, i);
	}
	return 0;
}

/* guest.get, integration.* and memory.*, of web1. */
static int
fake_guest_call(
    struct fake_agent *a, const char *method, json_t *params, json_t **result, struct rpc_error *e)
{
	const char *name;
	json_t *row, *value;
	size_t i;

	if (!fake_vm(a, json_string_value(json_object_get(params, "vm"))))
		return fake_refuse(e, 1404, "VM_NOT_FOUND", "vm", "There is no such machine.", "");
	*result = json_pack("{s:b,s:[s]}", "changed", 1, "would", "do something to a guest");
	if (strcmp(method, "guest.get") == 0)
		return json_object_update_new(
		    *result, json_pack("{s:s, s:s, s:s, s:s, s:[s,s], s:b, s:[]}", "heartbeat",
				 "OkApplicationsHealthy", "name", "web1.example", "system", "Debian",
				 "version", "13", "addresses", "192.0.2.7", "fe80::1", "frozen", 0, "facts"));
	if (strcmp(method, "integration.list") == 0)
		return json_object_set(*result, "services", a->services);
	if (strcmp(method, "memory.get") == 0)
		return json_object_set_new(*result, "memory", json_deep_copy(a->memory));
	if (fake_dry(params))
		return 0;
	json_array_foreach(a->services, i,
	    row) if (json_equal(json_object_get(row, "service"), json_object_get(params, "service")))
	    json_object_set_new(row, "enabled", json_boolean(strcmp(method, "integration.enable") == 0));
	json_object_foreach(params, name, value) if (json_object_get(a->memory, name))
	    json_object_set(a->memory, name, value);
	return 0;
}

static int
fake_answer(struct fake_agent *a, const char *method, json_t *params, json_t **result, struct rpc_error *e)
{
	json_t *meta = json_object_get(params, "_");

	if (strncmp(method, "vm.", 3) == 0)
		return fake_vm_call(a, method + 3, params, result, e);
	if (strncmp(method, "disk.", 5) == 0 || strncmp(method, "dvd.", 4) == 0)
		return fake_disk_call(a, method, params, result, e);
	if (strcmp(method, "guest.get") == 0 || strncmp(method, "integration.", 12) == 0 ||
	    strncmp(method, "memory.", 7) == 0)
		return fake_guest_call(a, method, params, result, e);
	if (strcmp(method, "host.get") == 0)
		*result = json_deep_copy(a->host);
	else if (strcmp(method, "host.set") == 0)
		return fake_host_set(a, params, result, e);
	else if (strcmp(method, "host.timeZones") == 0)
		*result = json_pack("{s:[s,s,s]}", "zones", "Asia/Tokyo", "Europe/Vienna", "UTC");
	else if (strcmp(method, "file.list") == 0)
		*result = json_pack("{s:[{s:s,s:s,s:i},{s:s,s:s,s:i}]}", "files", "name", "vmlinuz", "path",
		    "/data/images/vmlinuz", "size", 8000000, "name", "initrd.img", "path",
		    "/data/images/initrd.img", "size", 4000000);
	else if (strcmp(method, "vhd.test") == 0)
		*result = json_pack("{s:b, s:i, s:i, s:i, s:i, s:[]}", "ok", 1, "damages", 0, "repairable", 0,
		    "repaired", 0, "notes", 0, "findings");
	else if (strcmp(method, "vhd.get") == 0)
		*result = json_pack("{s:[{s:s, s:s, s:s, s:i, s:i, s:i, s:s},{s:s}], s:s}", "images", "path",
		    "./disks/child.vhdx", "format", "VHDX", "type", "Differencing", "size", 1 << 30,
		    "fileSize", 4 << 20, "allocated", 0, "id", "01234567-89ab-4def-8123-456789abcdef", "path",
		    "./disks/disk0.vhdx", "inUse", "");
	else if (strncmp(method, "vhd.", 4) == 0)
		*result = json_pack("{s:b,s:[s]}", "changed", 1, "would", "do something to an image");
	else if (strcmp(method, "session.get") == 0)
		*result = json_pack(
		    "{s:s,s:s,s:s}", "user", "root", "role", "Administrator", "carrier", "local");
	else if (strcmp(method, "event.subscribe") == 0 || strcmp(method, "job.cancel") == 0)
		*result = json_object();
	else if (strcmp(method, "job.get") == 0 || strcmp(method, "job.wait") == 0)
		*result = json_pack("{s:{s:s,s:s}}", "job", "id", "job-1", "state", "Completed");
	else if (strcmp(method, "host.restart") == 0 || strcmp(method, "host.shutdown") == 0) {
		if (!json_is_true(json_object_get(meta, "confirm")) && !fake_dry(params))
			return fake_refuse(e, 1005, "CONFIRM_NEEDED", "", "This has to be confirmed.", "");
		*result = json_pack("{s:b}", "changed", 1);
	} else
		return fake_refuse(e, -32601, "NO_SUCH_METHOD", "", "There is no such method.", "");
	return 0;
}

static int
fake_open(void *ctx, struct rpc_error *e)
{
	struct fake_agent *a = ctx;

	a->opened++;
	a->connected = !a->down;
	if (a->down)
		fake_refuse(e, RPC_NOT_CONNECTED, "NOT_CONNECTED", "", "Nobody answers.", "");
	return a->down ? -ECONNREFUSED : 0;
}

static int
fake_call(void *ctx, const char *method, json_t *params, int timeout_ms, json_t **result, struct rpc_error *e)
{
	struct fake_agent *a = ctx;
	struct rpc_error mine;
	json_t *answer = NULL;
	int rc;

	(void)timeout_ms;
	if (a->dies_in && --a->dies_in == 0)
		a->down = true;
	if (a->down || !a->connected) {
		a->connected = false;
		json_decref(params);
		return fake_refuse(e ? e : &mine, RPC_NOT_CONNECTED, "NOT_CONNECTED", "", "Gone.", "") * 0 -
		       ECONNRESET;
	}
	json_array_append_new(a->calls, json_pack("[s,O]", method, params));
	rc = fake_answer(a, method, params, &answer, e ? e : &mine);
	if (rc == 0 && a->nonsense) {
		json_decref(answer);
		answer = json_pack("{s:[i,n,{}],s:s,s:{s:i},s:[[]],s:s}", "vms", 1, "adapters", "x", "vm",
		    "name", 7, "files", "would", "y");
	}
	json_decref(params);
	if (result)
		*result = json_incref(answer);
	json_decref(answer);
	return rc;
}

static json_t *
fake_next_event(void *ctx)
{
	struct fake_agent *a = ctx;
	json_t *event = json_incref(json_array_get(a->events, 0));

	if (a->down)
		a->connected = false;
	json_array_remove(a->events, 0);
	return event;
}

static bool
fake_connected(void *ctx)
{
	struct fake_agent *a = ctx;

	if (a->down)
		a->connected = false;
	return a->connected;
}

static const struct link_ops fake_agent_ops = { fake_open, fake_call, fake_next_event, fake_connected };

static void
fake_agent_begin(struct fake_agent *a)
{
	*a = (struct fake_agent){ .events = json_array(), .calls = json_array() };
	a->host = json_pack("{s:s,s:s,s:i,s:s,s:s,s:i,s:i,s:i,s:b,s:i,s:s,"
			    "s:[{s:s,s:s,s:b,s:b,s:[s],s:s,s:[s]},{s:s,s:s,s:b,s:b,s:[],s:s,s:[]}]}",
	    "name", "host1", "version", "0.3", "uptime", 7260, "time", "2026-11-23T09:30:00", "timeZone",
	    "UTC", "processors", 4, "memory", 8192, "memoryFree", 6144, "remoteManagement", 1, "port", 8443,
	    "fingerprint",
	    "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF",
	    "adapters", "name", "eth0", "mac", "52:54:00:12:34:56", "link", 1, "dhcp", 1, "addresses",
	    "192.0.2.5/24", "gateway", "192.0.2.1", "dns", "192.0.2.53", "name", "eth1", "mac",
	    "52:54:00:12:34:57", "link", 0, "dhcp", 0, "addresses", "gateway", "", "dns");
	a->vms = json_pack(
	    "[{s:s,s:s,s:s,s:i,s:i,s:i,s:s,s:s,s:i},{s:s,s:s,s:s,s:i,s:i,s:i,s:s,s:s,s:s,s:i}]", "id",
	    "00000000-0000-4000-8000-000000000001", "name", "web1", "state", "Off", "processors", 1, "memory",
	    512, "uptime", 0, "automaticStart", "Nothing", "kernel", "/data/images/vmlinuz", "revision", 3,
	    "id", "00000000-0000-4000-8000-000000000002", "name", "db1", "state", "Running", "processors", 2,
	    "memory", 2048, "uptime", 7260, "automaticStart", "Start", "kernel", "/data/images/vmlinuz",
	    "reason", "", "revision", 5);
	a->services = json_pack("[{s:s, s:b, s:s, s:s},{s:s, s:b, s:s, s:s}]", "service", "Heartbeat",
	    "enabled", 1, "state", "Ok", "version", "3.0", "service", "GuestServiceInterface", "enabled", 0,
	    "state", "Off", "version", "");
	a->memory = json_pack("{s:b, s:i, s:i, s:i, s:i, s:i, s:i}", "dynamic", 0, "startup", 512, "minimum",
	    512, "maximum", 512, "assigned", 512, "demand", 0, "revision", 3);
	a->disks = json_pack("[{s:s, s:i, s:i, s:s, s:s, s:b, s:I, s:I},{s:s, s:i, s:i, s:s, s:s, s:b}]",
	    "place", "0:0", "controller", 0, "lun", 0, "type", "VirtualDisk", "path", "./disks/disk0.img",
	    "readOnly", 0, "size", (json_int_t)20 << 30, "used", (json_int_t)1536 << 20, "place", "0:1",
	    "controller", 0, "lun", 1, "type", "Dvd", "path", "", "readOnly", 1);
}

static void
fake_agent_end(struct fake_agent *a)
{
	json_decref(a->host);
	json_decref(a->vms);
	json_decref(a->disks);
	json_decref(a->services);
	json_decref(a->memory);
	json_decref(a->events);
	json_decref(a->calls);
}

/* The last call of a method: its parameters; borrowed, NULL if there was none. */
static inline json_t *
fake_last(struct fake_agent *a, const char *method)
{
	for (size_t i = json_array_size(a->calls); i-- > 0;) {
		json_t *call = json_array_get(a->calls, i);

		if (strcmp(json_string_value(json_array_get(call, 0)), method) == 0)
			return json_array_get(call, 1);
	}
	return NULL;
}

#endif
