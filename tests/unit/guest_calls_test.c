/*
 * tests/unit/guest_calls_test.c - integration components, guests and memory as they are asked for in a whole
 * agent; spawner and workers, with their guests, are fakes. Every result is compared with its table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/agent.h"
#include "agent/dispatch.h"
#include "agent/identity.h"
#include "agent/inventory.h"
#include "agent/jobs.h"
#include "lib/log.h"
#include "tests/unit/fake_vm.h"

#define WEB1 "11111111-2222-3333-4444-555555555555"

static struct agent *agent;
static struct identity root, viewer;
static char etc[96];
static json_t *answer; /* of the last call */

/* --- the ear */

static pthread_mutex_t ear_lock = PTHREAD_MUTEX_INITIALIZER;
static char heard[32768];

static void
hear(struct agent *a, const char *type, json_t *data)
{
	char *text = json_dumps(data, JSON_COMPACT);
	size_t len;

	(void)a;
	pthread_mutex_lock(&ear_lock);
	len = strlen(heard);
	snprintf(heard + len, sizeof(heard) - len, "%s%s\n", type, text ? text : "");
	pthread_mutex_unlock(&ear_lock);
	free(text);
	json_decref(data);
}

static void
assert_heard(const char *what)
{
	bool yes = false;

	for (int i = 0; i < 2000 && !yes; i++) {
		pthread_mutex_lock(&ear_lock);
		yes = strstr(heard, what) != NULL;
		pthread_mutex_unlock(&ear_lock);
		if (!yes)
			usleep(5000);
	}
	if (!yes)
		fail_msg("'%s' is not in: %s", what, heard);
}

/* --- the agent */

static void
start_agent(void)
{
	struct agent_options o = { .data = fake.data, .run = fake.run, .etc = etc };
	struct err e = { 0 };

	if (agent_start(&agent, &o, &e) < 0)
		fail_msg("%s", e.msg);
	agent->machines->publish = hear;
	agent->machines->balance_ms = 20;
}

static void
write_file(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", etc, name);
	f = fopen(path, "w");
	fputs(text, f);
	fclose(f);
}

static int
setup(void **state)
{
	char path[256];

	(void)state;
	if (fake_setup() < 0)
		return -1;
	heard[0] = '\0';
	snprintf(etc, sizeof(etc), "%s/etc", fake.root);
	mkdir(etc, 0700);
	write_file("passwd", "root:x:0:0::/root:/bin/sh\n");
	write_file("shadow", "root:*:1::::::\n");
	write_file("group", "root:x:0:\nadministrators:x:10:root\noperators:x:11:\nviewers:x:12:\n");
	snprintf(path, sizeof(path), "%s/system", fake.data);
	mkdir(path, 0700);
	fake_file("system/host.json", "{\"Version\":1,\"RemoteManagement\":false}");
	identity_none(&root, CARRIER_LOCAL, "test");
	snprintf(root.user, sizeof(root.user), "root");
	viewer = root;
	root.most = viewer.most = ROLE_ADMINISTRATOR;
	identity_grant(&root, ROLE_ADMINISTRATOR, "/");
	identity_grant(&viewer, ROLE_VIEWER, "/");
	start_agent();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	json_decref(answer);
	answer = NULL;
	agent_stop(agent);
	return fake_teardown();
}

static enum fault_code
call_as(const struct identity *who, const char *method, const char *params)
{
	enum fault_code code = FAULT_NONE;
	json_t *doc = json_loads(params, 0, NULL);

	if (!doc)
		fail_msg("%s", params);
	json_decref(answer);
	answer = dispatch_call(agent, NULL, who, method, doc, &code);
	json_decref(doc);
	assert_non_null(answer);
	return code;
}

static const char *
text(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s ? s : "";
}

static const char *
message(void)
{
	return text(json_object_get(answer, "error"), "message");
}

/* The result, compared with its table. */
static const json_t *
call(const char *method, const char *params)
{
	const struct rpc_method *m = dispatch_find(method);
	struct err e = { 0 };
	const json_t *result;

	if (call_as(&root, method, params) != FAULT_NONE)
		fail_msg("%s %s: %s", method, params, message());
	result = json_object_get(answer, "result");
	if (!strstr(params, "dryRun") && !(m->flags & METHOD_JOB) && !method_result_ok(m, result, &e))
		fail_msg("%s %s: %s", method, params, e.msg);
	return result;
}

static void
refused(const char *method, const char *params, enum fault_code code)
{
	enum fault_code is = call_as(&root, method, params);

	if (is != code)
		fail_msg(
		    "%s %s: %s, not %s: %s", method, params, fault_symbol(is), fault_symbol(code), message());
}

static bool
changed(const json_t *result)
{
	return json_is_true(json_object_get(result, "changed"));
}

static json_int_t
number(const json_t *object, const char *name)
{
	assert_true(json_is_integer(json_object_get(object, name)));
	return json_integer_value(json_object_get(object, name));
}

/* Begins a job; its id. */
static const char *
begin_job(const char *method, const char *params)
{
	static char id[JOB_ID_SIZE];

	snprintf(id, sizeof(id), "%s", text(call(method, params), "job"));
	return id;
}

/* Its end: the symbol of its fault, or "" and its result in answer. */
static const char *
end_job(const char *id)
{
	json_decref(answer);
	answer = jobs_get(agent->jobs, id, 30000);
	assert_non_null(answer);
	return text(json_object_get(json_object_get(answer, "error"), "data"), "symbol");
}

static const char *
run_job(const char *method, const char *params)
{
	return end_job(begin_job(method, params));
}

static void
make_web1(void)
{
	call("vm.create",
	    "{\"name\":\"web1\",\"id\":\"" WEB1 "\",\"memory\":64,\"kernel\":\"images/vmlinuz\"}");
}

static void
start_web1(void)
{
	call("vm.start", "{\"vm\":\"web1\"}");
}

static const json_t *
get_web1(void)
{
	return json_object_get(call("vm.get", "{\"vm\":\"web1\"}"), "vm");
}

static void
assert_state(const char *state)
{
	for (int i = 0; i < 2000 && strcmp(text(get_web1(), "state"), state) != 0; i++)
		usleep(5000);
	assert_string_equal(text(get_web1(), "state"), state);
}

/* --- integration components */

/* Of the component with that name, in integration.list. */
static const json_t *
service(const char *name)
{
	const json_t *rows = json_object_get(call("integration.list", "{\"vm\":\"web1\"}"), "services"), *row;
	size_t i;

	json_array_foreach(rows, i, row) if (strcmp(text(row, "service"), name) == 0) return row;
	fail_msg("there is no %s", name);
	return NULL;
}

static bool
is_enabled(const char *name)
{
	return json_is_true(json_object_get(service(name), "enabled"));
}

static void
components_are_listed_with_what_the_guest_makes_of_them(void **state)
{
	(void)state;
	make_web1();
	assert_true(is_enabled("Heartbeat"));
	assert_true(is_enabled("VSS"));
	assert_false(is_enabled("GuestServiceInterface")); /* as in Hyper-V */
	assert_string_equal(text(service("Heartbeat"), "state"), "Off");
	start_web1();
	assert_string_equal(text(service("Heartbeat"), "state"), "NoContact");
	fake.drivers = true;
	assert_string_equal(text(service("Heartbeat"), "state"), "Ok");
	assert_string_equal(text(service("Heartbeat"), "version"), "3.0");
	assert_string_equal(text(service("GuestServiceInterface"), "state"), "Off");
}

#define SWITCH(verb, what) call("integration." verb, "{\"vm\":\"web1\",\"service\":\"" what "\"}")

static void
components_are_switched_while_the_machine_runs(void **state)
{
	const struct fake_worker *w;
	const json_t *r;

	(void)state;
	make_web1();
	r = SWITCH("disable", "Heartbeat");
	assert_true(changed(r));
	assert_string_equal(text(r, "effect"), "NextStart");
	start_web1();
	w = fake_find(WEB1);
	assert_false(w->machine.ic.on[IC_HEARTBEAT]);
	assert_true(w->machine.ic.on[IC_KVP]);
	assert_true(changed(call(
	    "integration.enable", "{\"vm\":\"web1\",\"service\":\"Heartbeat\",\"_\":{\"dryRun\":true}}")));
	assert_false(w->machine.ic.on[IC_HEARTBEAT]);
	r = SWITCH("enable", "Heartbeat");
	assert_true(changed(r));
	assert_string_equal(text(r, "effect"), "Now");
	assert_true(w->machine.ic.on[IC_HEARTBEAT]);
	assert_true(is_enabled("Heartbeat"));
	assert_false(changed(SWITCH("enable", "Heartbeat")));
	fake.refuse = "ic.set";
	refused("integration.disable", "{\"vm\":\"web1\",\"service\":\"VSS\"}", FAULT_VM_WORKER_FAILED);
	assert_true(is_enabled("VSS"));
	refused("integration.disable", "{\"vm\":\"web1\",\"service\":\"Voodoo\"}", FAULT_BAD_PARAMS);
	assert_int_equal(call_as(&viewer, "integration.disable", "{\"vm\":\"web1\",\"service\":\"VSS\"}"),
	    FAULT_FORBIDDEN);
	assert_int_equal(call_as(&viewer, "integration.list", "{\"vm\":\"web1\"}"), FAULT_NONE);
}

static void
a_machine_that_was_started_without_any_gets_them_later(void **state)
{
	char params[96];
	const json_t *r;

	(void)state;
	make_web1();
	for (size_t i = 0; vm_services[i]; i++) {
		snprintf(params, sizeof(params), "{\"vm\":\"web1\",\"service\":\"%s\"}", vm_services[i]);
		call("integration.disable", params);
	}
	start_web1();
	r = SWITCH("enable", "Shutdown");
	assert_true(changed(r));
	assert_string_equal(text(r, "effect"), "NextStart");
	assert_true(is_enabled("Shutdown"));
	fake.drivers = true;                                              /* and yet it cannot be asked */
	assert_string_equal(run_job("vm.stop", "{\"vm\":\"web1\"}"), ""); /* the power button */
	assert_state("Off");
}

/* --- facts */

static void
wait_heartbeat(const char *heartbeat)
{
	for (int i = 0; i < 2000 && strcmp(text(get_web1(), "heartbeat"), heartbeat) != 0; i++)
		usleep(5000);
	assert_string_equal(text(get_web1(), "heartbeat"), heartbeat);
}

static void
a_guest_tells_of_itself(void **state)
{
	const json_t *vm, *facts;
	struct fake_worker *w;

	(void)state;
	fake.drivers = true;
	make_web1();
	assert_string_equal(text(get_web1(), "heartbeat"), "None");
	start_web1();
	wait_heartbeat("OkApplicationsHealthy");
	assert_heard("web1.example");
	vm = get_web1();
	assert_string_equal(text(vm, "guestName"), "web1.example?"); /* clean, whatever it says */
	assert_string_equal(text(vm, "guestSystem"), "Debian GNU/Linux");
	assert_string_equal(text(vm, "guestVersion"), "6.12");
	assert_int_equal(json_array_size(json_object_get(vm, "addresses")), 3);
	assert_string_equal(
	    json_string_value(json_array_get(json_object_get(vm, "addresses"), 1)), "192.0.2.8");
	assert_int_equal(number(vm, "memoryAssigned"), 64);
	assert_heard("vm.guest{");
	facts = json_object_get(call("guest.get", "{\"vm\":\"web1\"}"), "facts");
	assert_int_equal(json_array_size(facts), FAKE_FILLERS + 5);
	assert_string_equal(text(json_array_get(facts, FAKE_FILLERS + 1), "value"), "Debian GNU/Linux");
	assert_int_equal(json_array_size(json_object_get(
			     call("guest.get", "{\"vm\":\"web1\",\"pool\":\"Guest\"}"), "facts")),
	    0);
	call("guest.get", "{\"vm\":\"web1\",\"refresh\":true}");
	fake.guest_refuses = "the guest says that it failed";
	refused("guest.get", "{\"vm\":\"web1\",\"refresh\":true}", FAULT_GUEST_REFUSED);
	fake.heart_stops = true;
	w = fake_find(WEB1);
	atomic_fetch_or(&w->todo, FAKE_HEARTBEAT);
	wait_heartbeat("LostCommunication");
	call("vm.list", "{}");
	assert_string_equal(run_job("vm.stop", "{\"vm\":\"web1\",\"mode\":\"turnOff\"}"), "");
	wait_heartbeat("None");
	assert_string_equal(text(get_web1(), "guestName"), "");
	refused("guest.get", "{\"vm\":\"web1\",\"refresh\":true}", FAULT_VM_WRONG_STATE);
	assert_int_equal(
	    json_array_size(json_object_get(call("guest.get", "{\"vm\":\"web1\"}"), "facts")), 0);
}

/* --- stopping, restarting */

static void
a_guest_is_asked_by_its_component(void **state)
{
	(void)state;
	fake.drivers = true;
	fake.button_ms = 20000; /* nobody presses that */
	make_web1();
	start_web1();
	fake.guest_refuses = "the guest's session is locked";
	assert_string_equal(run_job("vm.stop", "{\"vm\":\"web1\"}"), "GUEST_REFUSED");
	assert_non_null(strstr(text(json_object_get(answer, "error"), "message"), "session is locked"));
	assert_state("Running");
	assert_string_equal(run_job("vm.restart", "{\"vm\":\"web1\"}"), "GUEST_REFUSED");
	assert_string_equal(run_job("vm.stop", "{\"vm\":\"web1\",\"force\":true}"), "");
	assert_true(json_is_true(json_object_get(json_object_get(answer, "result"), "turnedOff")));
	assert_state("Off");
	assert_string_equal(text(get_web1(), "reason"), "turned off: its guest refused to shut down");
	fake.guest_refuses = NULL;
	start_web1();
	assert_string_equal(run_job("vm.stop", "{\"vm\":\"web1\"}"), "");
	assert_false(json_is_true(json_object_get(json_object_get(answer, "result"), "turnedOff")));
	assert_state("Off");
}

static void
a_guest_that_does_not_shut_down_goes_on(void **state)
{
	(void)state;
	fake.drivers = fake.ignore_button = true;
	make_web1();
	start_web1();
	assert_string_equal(run_job("vm.stop", "{\"vm\":\"web1\",\"timeout\":1}"), "VM_STOP_TIMED_OUT");
	assert_string_equal(text(json_object_get(answer, "error"), "message"),
	    "the guest of 'web1' did not shut down within 1 s, and goes on");
	assert_state("Running");
	assert_string_equal(run_job("vm.restart", "{\"vm\":\"web1\",\"timeout\":1}"), "TIMED_OUT");
	assert_state("Running");
}

static void
a_machine_is_restarted_or_reset(void **state)
{
	(void)state;
	make_web1();
	refused("vm.restart", "{\"vm\":\"web1\"}", FAULT_VM_WRONG_STATE);
	refused("vm.restart", "{\"vm\":\"web1\",\"mode\":\"reset\"}", FAULT_VM_WRONG_STATE);
	start_web1();
	assert_string_equal(run_job("vm.restart", "{\"vm\":\"web1\"}"), "GUEST_NO_CONTACT");
	assert_string_equal(run_job("vm.restart", "{\"vm\":\"web1\",\"mode\":\"reset\"}"), "");
	for (int i = 0; i < 2000 && number(get_web1(), "resets") != 1; i++)
		usleep(5000);
	assert_int_equal(number(get_web1(), "resets"), 1);
	fake.drivers = true;
	assert_string_equal(run_job("vm.restart", "{\"vm\":\"web1\"}"), "");
	assert_int_equal(number(get_web1(), "resets"), 2);
	assert_state("Running");
	fake.restart_is_off = true;
	assert_string_equal(run_job("vm.restart", "{\"vm\":\"web1\"}"), "GUEST_REFUSED");
	assert_non_null(strstr(text(json_object_get(answer, "error"), "message"), "and not restarted"));
}

/* --- standing still */

static void
a_guest_stands_still_for_a_backup(void **state)
{
	(void)state;
	make_web1();
	refused("guest.freeze", "{\"vm\":\"web1\"}", FAULT_VM_WRONG_STATE);
	start_web1();
	refused("guest.freeze", "{\"vm\":\"web1\"}", FAULT_GUEST_NO_CONTACT);
	fake.drivers = true;
	refused("guest.thaw", "{\"vm\":\"web1\"}", FAULT_VM_WRONG_STATE);
	call("guest.freeze", "{\"vm\":\"web1\",\"timeout\":30}");
	assert_int_equal(fake_find(WEB1)->freeze_s, 30);
	call("guest.thaw", "{\"vm\":\"web1\"}");
	refused("guest.thaw", "{\"vm\":\"web1\"}", FAULT_VM_WRONG_STATE);
	fake.guest_refuses = "the guest says that it failed";
	refused("guest.freeze", "{\"vm\":\"web1\"}", FAULT_GUEST_REFUSED);
	assert_string_equal(message(), "the guest of 'web1': the guest says that it failed");
}

/* --- copies */

#define COPY(from, to) "{\"vm\":\"web1\",\"source\":\"" from "\",\"destination\":\"" to "\"}"

static void
a_file_is_copied_into_the_guest(void **state)
{
	const json_t *r;
	char id[JOB_ID_SIZE];

	(void)state;
	make_web1();
	refused("vm.copyFile", COPY("images/initrd", "/tmp/"), FAULT_VM_WRONG_STATE);
	start_web1();
	assert_string_equal(run_job("vm.copyFile", COPY("images/initrd", "/tmp/")), "GUEST_NO_CONTACT");
	fake.drivers = true;
	assert_string_equal(
	    run_job("vm.copyFile", COPY("images/initrd", "/tmp/")), "GUEST_NO_CONTACT"); /* it is off */
	SWITCH("enable", "GuestServiceInterface");
	assert_string_equal(run_job("vm.copyFile", COPY("images/initrd", "/tmp/")), "");
	r = json_object_get(answer, "result");
	assert_string_equal(text(r, "path"), "/tmp/initrd");
	assert_int_equal(number(r, "size"), 6);
	assert_string_equal(fake_find(WEB1)->copied, "initrd");
	assert_string_equal(fake_find(WEB1)->copied_to, "/tmp|initrd");
	assert_string_equal(
	    run_job("vm.copyFile",
		"{\"vm\":\"web1\",\"source\":\"images/initrd\",\"destination\":\"C:\\\\a b\\\\c.txt\","
		"\"overwrite\":true,\"createPath\":true}"),
	    "");
	assert_string_equal(text(json_object_get(answer, "result"), "path"), "C:\\a b\\c.txt");
	assert_string_equal(fake_find(WEB1)->copied_to, "C:\\a b|c.txt|overwrite|make");
	assert_string_equal(run_job("vm.copyFile", COPY("images/initrd", "C:\\\\x")), "");
	assert_string_equal(fake_find(WEB1)->copied_to, "C:\\|x");
	assert_string_equal(run_job("vm.copyFile", COPY("images/initrd", "/x")), "");
	assert_string_equal(fake_find(WEB1)->copied_to, "/|x");
	refused("vm.copyFile", COPY("images/initrd", "x"), FAULT_BAD_PARAMS);
	refused("vm.copyFile", COPY("images/none", "/tmp/"), FAULT_FILE_NOT_FOUND);
	refused("vm.copyFile", COPY("/etc/shadow", "/tmp/"), FAULT_FILE_BAD);
	fake.guest_refuses = "the guest's disk is full";
	assert_string_equal(run_job("vm.copyFile", COPY("images/initrd", "/tmp/")), "GUEST_REFUSED");
	fake.copy_hangs = true;
	snprintf(id, sizeof(id), "%s", begin_job("vm.copyFile", COPY("images/initrd", "/tmp/")));
	usleep(100000);
	call("job.cancel", strcat(strcat(strcpy((char[128]){ 0 }, "{\"job\":\""), id), "\"}"));
	assert_string_equal(end_job(id), "CANCELLED");
	assert_true(fake.copy_cancelled);
}

static void
a_copy_does_not_outlive_its_job(void **state)
{
	(void)state;
	fake.drivers = fake.copy_hangs = true;
	make_web1();
	SWITCH("enable", "GuestServiceInterface");
	start_web1();
	begin_job("vm.copyFile", COPY("images/initrd", "/tmp/"));
	usleep(100000);
	agent_stop(agent);
	start_agent();
	for (int i = 0; i < 2000 && !fake.copy_cancelled; i++)
		usleep(5000);
	assert_true(fake.copy_cancelled);
}

/* --- memory */

static const json_t *
memory(void)
{
	return json_object_get(call("memory.get", "{\"vm\":\"web1\"}"), "memory");
}

static bool
waits(const json_t *result, const char *what)
{
	const json_t *list = json_object_get(result, "restart"), *row;
	size_t i;

	json_array_foreach(list, i, row) if (strcmp(json_string_value(row), what) == 0) return true;
	return false;
}

static void
memory_is_set_within_its_limits(void **state)
{
	(void)state;
	make_web1();
	assert_int_equal(number(memory(), "minimum"), 64);
	assert_int_equal(number(memory(), "maximum"), 64);
	refused("memory.set", "{\"vm\":\"web1\",\"minimum\":65}", FAULT_BAD_PARAMS);
	assert_string_equal(
	    message(), "Memory.MinimumSizeInMB: 65 is not between 32 and the 64 MiB at start");
	refused("memory.set", "{\"vm\":\"web1\",\"maximum\":63}", FAULT_BAD_PARAMS);
	assert_string_equal(message(), "Memory.MaximumSizeInMB: 63 is below the 64 MiB at start");
	refused("memory.set", "{\"vm\":\"web1\",\"maximum\":99999999}", FAULT_BAD_PARAMS);
	assert_true(changed(call("memory.set",
	    "{\"vm\":\"web1\",\"dynamic\":true,\"minimum\":32,\"maximum\":256,\"_\":{\"dryRun\":true}}")));
	assert_false(json_is_true(json_object_get(memory(), "dynamic")));
	assert_true(
	    changed(call("memory.set", "{\"vm\":\"web1\",\"dynamic\":true,\"minimum\":32,\"maximum\":256}")));
	assert_false(
	    changed(call("memory.set", "{\"vm\":\"web1\",\"dynamic\":true,\"minimum\":32,\"maximum\":256}")));
	assert_true(json_is_true(json_object_get(get_web1(), "dynamicMemory")));
	assert_int_equal(number(get_web1(), "memoryMinimum"), 32);
	refused("vm.set", "{\"vm\":\"web1\",\"memory\":512}", FAULT_BAD_PARAMS); /* above its maximum */
	refused("memory.target", "{\"vm\":\"web1\",\"size\":64}", FAULT_VM_WRONG_STATE);
	start_web1();
	assert_true(fake_find(WEB1)->machine.memory.dynamic);
	assert_int_equal(fake_find(WEB1)->machine.memory.minimum_mb, 32);
	assert_int_equal(fake_find(WEB1)->machine.memory.maximum_mb, 256);
	assert_int_equal(fake_find(WEB1)->limit_mb, 64); /* until it is to have more */
	assert_heard("vm.guest{");                       /* its worker has been asked by now */
	assert_true(waits(call("memory.set", "{\"vm\":\"web1\",\"maximum\":512}"), "maximum"));
	assert_false(waits(call("memory.set", "{\"vm\":\"web1\",\"maximum\":200}"), "maximum"));
	assert_true(waits(call("memory.set", "{\"vm\":\"web1\",\"dynamic\":false}"), "dynamic"));
	assert_true(waits(call("memory.set", "{\"vm\":\"web1\",\"startup\":128}"), "startup"));
	assert_int_equal(
	    call_as(&viewer, "memory.set", "{\"vm\":\"web1\",\"maximum\":300}"), FAULT_FORBIDDEN);
}

static void
wait_assigned(json_int_t mb)
{
	for (int i = 0; i < 4000 && number(memory(), "assigned") != mb; i++)
		usleep(5000);
	assert_int_equal(number(memory(), "assigned"), mb);
}

static void
memory_follows_what_the_guest_needs(void **state)
{
	(void)state;
	fake.drivers = true;
	fake.demand_mb = 160;
	make_web1();
	call("memory.set", "{\"vm\":\"web1\",\"dynamic\":true,\"minimum\":32,\"maximum\":256}");
	start_web1();
	wait_assigned(192); /* a fifth more */
	assert_int_equal(number(memory(), "demand"), 160);
	assert_int_equal(fake_find(WEB1)->limit_mb, 256);
	assert_heard("\"assigned\":192,\"demand\":160,\"target\":192");
	call("memory.set", "{\"vm\":\"web1\",\"maximum\":128}"); /* at once */
	wait_assigned(128);
	fake.demand_mb = 20;
	wait_assigned(64); /* in steps; the rest is not worth one */
	refused("memory.target", "{\"vm\":\"web1\",\"size\":200}", FAULT_BAD_PARAMS);
	assert_string_equal(message(), "'web1' may have 32 to 128 MiB");
	assert_true(changed(call("memory.target", "{\"vm\":\"web1\",\"size\":100}")));
	assert_false(changed(call("memory.target", "{\"vm\":\"web1\",\"size\":100}")));
	wait_assigned(100);
	assert_int_equal(number(memory(), "pinned"), 100);
	agent_stop(agent);
	start_agent();
	wait_assigned(36);
	assert_int_equal(number(memory(), "pinned"), 0);
}

static void
memory_that_is_not_dynamic_is_left_alone(void **state)
{
	(void)state;
	fake.drivers = true;
	fake.demand_mb = 160;
	make_web1();
	start_web1();
	assert_heard("vm.guest{");
	usleep(200000);
	assert_int_equal(number(memory(), "assigned"), 64);
	refused("memory.target", "{\"vm\":\"web1\",\"size\":64}", FAULT_NOT_SUPPORTED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(components_are_listed_with_what_the_guest_makes_of_them),
		TEST(components_are_switched_while_the_machine_runs),
		TEST(a_machine_that_was_started_without_any_gets_them_later),
		TEST(a_guest_tells_of_itself),
		TEST(a_guest_is_asked_by_its_component),
		TEST(a_guest_that_does_not_shut_down_goes_on),
		TEST(a_machine_is_restarted_or_reset),
		TEST(a_guest_stands_still_for_a_backup),
		TEST(a_file_is_copied_into_the_guest),
		TEST(a_copy_does_not_outlive_its_job),
		TEST(memory_is_set_within_its_limits),
		TEST(memory_follows_what_the_guest_needs),
		TEST(memory_that_is_not_dynamic_is_left_alone),
	};

	log_open("test", -1, LOG_ERROR);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
