/*
 * tests/unit/machines_test.c - the methods of machines, consoles, files and the host in a whole agent, called
 * as carriers call them; the spawner, the workers and the host's effects are fakes. Every result is compared
 * with its table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/eventfd.h>

#include "agent/dispatch.h"
#include "agent/events.h"
#include "agent/host.h"
#include "agent/identity.h"
#include "agent/jobs.h"
#include "agent/vm_life.h"
#include "tests/unit/fake_vm.h"

/* --- the host
 * ------------------------------------------------------------------------------------------------ */

static struct {
	char name[HOST_NAME_SIZE], address[HOST_ADDRESS_SIZE], gateway[HOST_ADDRESS_SIZE];
	int adapters, addresses_set;
	bool refuse_address;
	time_t clock;
	atomic_int powered; /* -1: no */
	int watch;          /* an eventfd: adapters came or went; the host room's to close */
} box;

static int
box_get_name(char name[HOST_NAME_SIZE], struct err *e)
{
	(void)e;
	memcpy(name, box.name, HOST_NAME_SIZE);
	return 0;
}

static int
box_set_name(const char *name, struct err *e)
{
	(void)e;
	snprintf(box.name, sizeof(box.name), "%s", name);
	return 0;
}

static int
box_adapters(struct host_adapter list[HOST_ADAPTERS], struct err *e)
{
	(void)e;
	memset(list, 0, (size_t)box.adapters * sizeof(*list));
	for (int i = 0; i < box.adapters; i++) {
		snprintf(list[i].name, sizeof(list[i].name), "eth%d", i);
		snprintf(list[i].mac, sizeof(list[i].mac), "52:54:00:00:00:%02x", (unsigned)i & 0xff);
		list[i].link = true;
	}
	if (box.address[0]) {
		list[0].addresses = 1;
		memcpy(list[0].address[0], box.address, sizeof(box.address));
		memcpy(list[0].gateway, box.gateway, sizeof(box.gateway));
	}
	return box.adapters;
}

static int
box_set_address(const char *adapter, const char *address, const char *gateway, struct err *e)
{
	if (box.refuse_address)
		return err_set(e, EIO, "%s: the address cannot be set: somebody has it", adapter);
	assert_string_equal(adapter, "eth0");
	snprintf(box.address, sizeof(box.address), "%s", address);
	snprintf(box.gateway, sizeof(box.gateway), "%s", gateway);
	box.addresses_set++;
	return 0;
}

static int
box_set_clock(time_t t, struct err *e)
{
	(void)e;
	box.clock = t;
	return 0;
}

static int
box_power(enum host_power what, struct err *e)
{
	(void)e;
	box.powered = (int)what;
	return 0;
}

static int
box_watch(struct err *e)
{
	(void)e;
	return box.watch = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static const struct host_ops box_ops = { box_get_name, box_set_name, box_adapters, box_set_address,
	box_set_clock, box_power, box_watch };

/* --- the agent
 * ----------------------------------------------------------------------------------------------- */

static struct agent *agent;
static struct identity root, viewer, stranger;
static char etc[96];
static json_t *answer; /* of the last call */

static void
use_box(void)
{
	struct err e = { 0 };

	host_close(agent->host); /* the real one has touched nothing but RUN */
	if (host_state_new(&agent->host, agent, &box_ops, carriers_remote, carriers_remote_is_on, &e) < 0)
		fail_msg("%s", e.msg);
}

static void
start_agent(void)
{
	struct agent_options o = { .data = fake.data, .run = fake.run, .etc = etc };
	struct err e = { 0 };

	if (agent_start(&agent, &o, &e) < 0)
		fail_msg("%s", e.msg);
	use_box();
}

static int
setup(void **state)
{
	char path[256];

	(void)state;
	if (fake_setup() < 0)
		return -1;
	memset(&box, 0, sizeof(box));
	snprintf(box.name, sizeof(box.name), "freehold");
	box.adapters = 1;
	box.powered = -1;
	snprintf(etc, sizeof(etc), "%s/etc", fake.root);
	mkdir(etc, 0700);
	for (int i = 0; i < 3; i++) {
		static const char *const files[] = { "passwd", "shadow", "group" };
		static const char *const text[] = { "root:x:0:0::/root:/bin/sh\n", "root:*:1::::::\n",
			"root:x:0:\nadministrators:x:10:root\noperators:x:11:\nviewers:x:12:\n" };
		FILE *f;

		snprintf(path, sizeof(path), "%s/%s", etc, files[i]);
		f = fopen(path, "w");
		fputs(text[i], f);
		fclose(f);
	}
	/* Off: a unit has no port to open. */
	snprintf(path, sizeof(path), "%s/system", fake.data);
	mkdir(path, 0700);
	fake_file("system/host.json", "{\"Version\":1,\"RemoteManagement\":false}");
	identity_none(&root, CARRIER_LOCAL, "test");
	snprintf(root.user, sizeof(root.user), "root");
	viewer = stranger = root;
	root.most = viewer.most = ROLE_ADMINISTRATOR;
	identity_grant(&root, ROLE_ADMINISTRATOR, "/");
	snprintf(viewer.user, sizeof(viewer.user), "vera");
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
	json_error_t where;
	json_t *doc = json_loads(params, 0, &where);

	if (!doc)
		fail_msg("%s: %s", params, where.text);
	json_decref(answer);
	answer = dispatch_call(agent, NULL, who, method, doc, &code);
	json_decref(doc);
	assert_non_null(answer);
	return code;
}

/* The result, compared with its table. */
static const json_t *
call(const char *method, const char *params)
{
	const struct rpc_method *m = dispatch_find(method);
	struct err e = { 0 };
	const json_t *result;

	if (call_as(&root, method, params) != FAULT_NONE)
		fail_msg("%s %s: %s", method, params,
		    json_string_value(json_object_get(json_object_get(answer, "error"), "message")));
	result = json_object_get(answer, "result");
	assert_non_null(result);
	if (!strstr(params, "dryRun") && !(m->flags & METHOD_JOB) && !method_result_ok(m, result, &e))
		fail_msg("%s %s: %s", method, params, e.msg);
	return result;
}

static bool
changed(const json_t *result)
{
	assert_true(json_is_boolean(json_object_get(result, "changed")));
	return json_is_true(json_object_get(result, "changed"));
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

#define WEB1 "\"name\":\"web1\",\"memory\":64,\"kernel\":\"images/vmlinuz\",\"initrd\":\"images/initrd\""

static const json_t *
get(const char *name)
{
	char params[160];

	snprintf(params, sizeof(params), "{\"vm\":\"%s\"}", name);
	return json_object_get(call("vm.get", params), "vm");
}

/* Runs a job to its end; its state. */
static const char *
run_job(const char *method, const char *params)
{
	const json_t *result = call(method, params);
	const char *job = text(result, "job");
	char id[JOB_ID_SIZE];

	snprintf(id, sizeof(id), "%s", job);
	json_decref(answer);
	answer = jobs_get(agent->jobs, id, 30000);
	assert_non_null(answer);
	return text(answer, "state");
}

/* --- machines
 * -------------------------------------------------------------------------------------------------- */

static void
a_machine_is_made_started_stopped_and_deleted(void **state)
{
	const json_t *vm;

	(void)state;
	assert_true(
	    changed(call("vm.create", "{" WEB1 ",\"commandLine\":\"console=ttyS0\",\"notes\":\"n\"}")));
	vm = get("web1");
	assert_string_equal(text(vm, "state"), "Off");
	assert_string_equal(text(vm, "commandLine"), "console=ttyS0");
	assert_int_equal(json_integer_value(json_object_get(vm, "memory")), 64);
	assert_true(changed(call("vm.start", "{\"vm\":\"web1\"}")));
	assert_false(changed(call("vm.start", "{\"vm\":\"web1\"}")));
	assert_string_equal(text(get("web1"), "state"), "Running");
	assert_int_equal(
	    call_as(&root, "vm.delete", "{\"vm\":\"web1\",\"_\":{\"confirm\":true}}"), FAULT_VM_WRONG_STATE);
	assert_string_equal(message(), "'web1' is Running and cannot be deleted");
	assert_string_equal(run_job("vm.stop", "{\"vm\":\"web1\"}"), job_states[JOB_COMPLETED]);
	vm = get("web1");
	assert_string_equal(text(vm, "state"), "Off");
	assert_string_equal(text(vm, "reason"), "turned off by the guest");
	assert_int_equal(call_as(&root, "vm.delete", "{\"vm\":\"web1\"}"), FAULT_CONFIRM_NEEDED);
	assert_true(changed(call("vm.delete", "{\"vm\":\"web1\",\"_\":{\"confirm\":true}}")));
	assert_int_equal(call_as(&root, "vm.get", "{\"vm\":\"web1\"}"), FAULT_VM_NOT_FOUND);
	assert_string_equal(message(), "there is no machine 'web1'");
}

/* Somebody else gives the name to another machine, right after it was looked up. */
static bool (*real_guid)(struct agent *a, const char *name, char guid[37]);

static bool
guid_then_swap(struct agent *a, const char *name, char guid[37])
{
	bool found = real_guid(a, name, guid);

	agent->vm_guid = real_guid;
	if (strcmp(name, "web1") == 0) {
		char kept[37];

		memcpy(kept, guid, sizeof(kept));
		answer = NULL; /* in the middle of a call that has freed the one before */
		call("vm.set", "{\"vm\":\"web1\",\"name\":\"old\"}");
		call("vm.create", "{" WEB1 "}");
		json_decref(answer);
		memcpy(guid, kept, sizeof(kept));
	}
	return found;
}

static void
swap_at_next_look(void)
{
	real_guid = agent->vm_guid;
	agent->vm_guid = guid_then_swap;
}

static void
a_call_is_about_the_machine_whose_rights_were_looked_at(void **state)
{
	(void)state;
	call("vm.create", "{" WEB1 "}");
	swap_at_next_look();
	call("vm.set", "{\"vm\":\"web1\",\"notes\":\"for the first\"}");
	assert_string_equal(text(get("old"), "notes"), "for the first");
	assert_string_equal(text(get("web1"), "notes"), "");
	call("vm.delete", "{\"vm\":\"old\",\"_\":{\"confirm\":true}}");
	swap_at_next_look();
	call("vm.delete", "{\"vm\":\"web1\",\"_\":{\"confirm\":true}}");
	assert_string_equal(text(get("web1"), "name"), "web1"); /* the second one */
	assert_int_equal(call_as(&root, "vm.get", "{\"vm\":\"old\"}"), FAULT_VM_NOT_FOUND);
}

static void
a_job_is_about_the_machine_it_was_started_for(void **state)
{
	(void)state;
	call("vm.create", "{" WEB1 "}");
	call("vm.start", "{\"vm\":\"web1\"}");
	swap_at_next_look();
	assert_string_equal(
	    run_job("vm.stop", "{\"vm\":\"web1\",\"mode\":\"turnOff\"}"), job_states[JOB_COMPLETED]);
	assert_string_equal(text(get("old"), "state"), "Off");
	assert_string_equal(text(get("old"), "reason"), "turned off");
}

/* --- many at once, through the local socket */

static int
connect_agent(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct timeval tv = { .tv_sec = 10 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/rpc.sock", fake.run);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	return fd;
}

static void
send_call(int fd, int id, const char *method, const char *vm)
{
	assert_true(
	    dprintf(fd, "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"%s\",\"params\":{\"vm\":\"%s\"}}\n", id,
		method, vm) > 0);
}

/* The next answer's id; it is no error. */
static json_int_t
read_answer(int fd)
{
	static char buf[65536];
	size_t n = 0;
	json_int_t id;
	json_t *doc;

	while (n + 1 < sizeof(buf) && recv(fd, buf + n, 1, 0) == 1 && buf[n] != '\n')
		n++;
	doc = json_loadb(buf, n, 0, NULL);
	if (!json_object_get(doc, "result"))
		fail_msg("%.*s", (int)n, buf);
	id = json_integer_value(json_object_get(doc, "id"));
	json_decref(doc);
	return id;
}

static void
starts_that_hang_hold_up_no_other_call(void **state)
{
	enum { HUNG = 8, OTHERS = 5 };
	uint64_t from;
	int hung, other;

	(void)state;
	if (getuid() != 0)
		skip(); /* root is who the socket says */
	for (int i = 0; i < OTHERS + 1; i++) {
		char params[160];

		snprintf(params, sizeof(params),
		    "{\"name\":\"vm%d\",\"id\":\"33333333-2222-3333-4444-55555555555%d\",\"memory\":64,"
		    "\"kernel\":\"images/vmlinuz\"}",
		    i, i);
		call("vm.create", params);
	}
	snprintf(fake.hangs, sizeof(fake.hangs), "33333333-2222-3333-4444-555555555550");
	hung = connect_agent();
	other = connect_agent();
	for (int i = 0; i < HUNG; i++) /* the second and all after it join the first */
		send_call(hung, i, "vm.start", "vm0");
	usleep(100000);
	for (int i = 1; i <= OTHERS; i++) {
		char name[8];

		snprintf(name, sizeof(name), "vm%d", i);
		from = vm_now_ms();
		send_call(other, i, "vm.get", name);
		assert_int_equal(read_answer(other), i);
		send_call(other, i, "vm.start", name);
		assert_int_equal(read_answer(other), i);
		assert_true(vm_now_ms() - from < 1000);
	}
	fake.hangs[0] = '\0';
	for (int i = 0; i < HUNG; i++)
		read_answer(hung);
	close(hung);
	close(other);
}

static void
a_dry_run_tells_and_changes_nothing(void **state)
{
	(void)state;
	call("vm.create", "{" WEB1 ",\"_\":{\"dryRun\":true}}");
	assert_int_equal(json_array_size(json_object_get(call("vm.list", "{}"), "vms")), 0);
	call("vm.create", "{" WEB1 "}");
	assert_int_equal(call_as(&root, "vm.create", "{" WEB1 ",\"_\":{\"dryRun\":true}}"), FAULT_VM_EXISTS);
	call("vm.set", "{\"vm\":\"web1\",\"memory\":128,\"_\":{\"dryRun\":true}}");
	call("vm.start", "{\"vm\":\"web1\",\"_\":{\"dryRun\":true}}");
	call("vm.delete", "{\"vm\":\"web1\",\"_\":{\"dryRun\":true}}");
	assert_int_equal(json_integer_value(json_object_get(get("web1"), "memory")), 64);
	assert_string_equal(text(get("web1"), "state"), "Off");
	assert_int_equal(fake.spawned, 0);
}

static void
mistakes_are_told_with_the_parameter(void **state)
{
	static const struct {
		const char *method, *params, *path;
		enum fault_code code;
	} rows[] = {
		{ "vm.create", "{\"name\":\"a/b\",\"kernel\":\"images/vmlinuz\"}", "name", FAULT_BAD_PARAMS },
		{ "vm.create", "{\"name\":\"x\",\"kernel\":\"images/none\"}", "kernel",
		    FAULT_FILE_NOT_FOUND },
		{ "vm.create", "{\"name\":\"x\",\"kernel\":\"/etc/passwd\"}", "kernel", FAULT_FILE_BAD },
		{ "vm.create", "{\"name\":\"x\",\"kernel\":\"images/../system/host.json\"}", "kernel",
		    FAULT_FILE_BAD },
		{ "vm.create",
		    "{\"name\":\"x\",\"kernel\":\"images/vmlinuz\",\"initrd\":\"vms/web1/vm.json\"}",
		    "initrd", FAULT_FILE_BAD },
		{ "vm.create", "{\"name\":\"x\",\"kernel\":\"images/vmlinuz\",\"memory\":1}", "memory",
		    FAULT_BAD_PARAMS },
		{ "vm.create", "{\"name\":\"web1\",\"kernel\":\"images/vmlinuz\"}", "name", FAULT_VM_EXISTS },
		{ "vm.set", "{\"vm\":\"web1\",\"name\":\"\"}", "name", FAULT_BAD_PARAMS },
		{ "vm.set", "{\"vm\":\"none\",\"memory\":64}", "vm", FAULT_VM_NOT_FOUND },
		{ "vm.start", "{\"vm\":\"none\"}", "vm", FAULT_VM_NOT_FOUND },
		{ "vm.stop", "{\"vm\":\"none\"}", "vm", FAULT_VM_NOT_FOUND },
		{ "vm.stop", "{\"vm\":\"web1\",\"mode\":\"kill\"}", "mode", FAULT_BAD_PARAMS },
		{ "console.open", "{\"vm\":\"web1\",\"port\":1}", "port", FAULT_CONSOLE_NOT_FOUND },
		{ "file.list", "{\"folder\":\"/etc\"}", "folder", FAULT_BAD_PARAMS },
		{ "file.list", "{\"folder\":\"images/none\"}", "folder", FAULT_FOLDER_NOT_FOUND },
	};

	(void)state;
	call("vm.create", "{" WEB1 "}");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum fault_code code = call_as(&root, rows[i].method, rows[i].params);
		const json_t *data = json_object_get(json_object_get(answer, "error"), "data");

		if (code != rows[i].code || strcmp(text(data, "path"), rows[i].path) != 0)
			fail_msg("%s %s: %d at '%s': %s", rows[i].method, rows[i].params, code,
			    text(data, "path"), message());
	}
}

static void
settings_change_now_or_at_the_next_start(void **state)
{
	const json_t *result;

	(void)state;
	call("vm.create", "{" WEB1 "}");
	call("vm.start", "{\"vm\":\"web1\"}");
	result = call("vm.set", "{\"vm\":\"web1\",\"notes\":\"new\",\"memory\":128,\"processors\":2}");
	assert_true(changed(result));
	assert_int_equal(json_array_size(json_object_get(result, "restart")), 2);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(result, "vm"), "revision")), 2);
	assert_false(changed(call("vm.set", "{\"vm\":\"web1\",\"notes\":\"new\"}")));
	assert_int_equal(call_as(&root, "vm.set", "{\"vm\":\"web1\",\"notes\":\"x\",\"_\":{\"ifMatch\":1}}"),
	    FAULT_CONFLICT);
	call("vm.set", "{\"vm\":\"web1\",\"notes\":\"x\",\"_\":{\"ifMatch\":2}}");
	assert_true(changed(call("vm.set", "{\"vm\":\"web1\",\"name\":\"web2\"}")));
	assert_string_equal(text(get("web2"), "state"), "Running"); /* a name is only a label */
	call("vm.set", "{\"vm\":\"web2\",\"initrd\":\"\"}");
	assert_string_equal(text(get("web2"), "initrd"), "");
}

static void
lists_are_filtered_by_name_state_and_right(void **state)
{
	struct identity some = stranger;
	char path[64];

	(void)state;
	call("vm.create", "{" WEB1 "}");
	call("vm.create", "{\"name\":\"web2\",\"kernel\":\"images/vmlinuz\",\"memory\":64}");
	call("vm.create", "{\"name\":\"db1\",\"kernel\":\"images/vmlinuz\",\"memory\":64}");
	call("vm.start", "{\"vm\":\"db1\"}");
	assert_int_equal(json_array_size(json_object_get(call("vm.list", "{}"), "vms")), 3);
	assert_int_equal(json_array_size(json_object_get(call("vm.list", "{\"name\":\"web*\"}"), "vms")), 2);
	assert_int_equal(
	    json_array_size(json_object_get(call("vm.list", "{\"state\":\"Running\"}"), "vms")), 1);
	snprintf(path, sizeof(path), "/vm/%s", text(get("web2"), "id"));
	some.most = ROLE_ADMINISTRATOR;
	identity_grant(&some, ROLE_VIEWER, path);
	assert_int_equal(call_as(&some, "vm.list", "{}"), FAULT_NONE);
	assert_int_equal(json_array_size(json_object_get(json_object_get(answer, "result"), "vms")), 1);
	assert_int_equal(call_as(&some, "vm.get", "{\"vm\":\"web2\"}"), FAULT_NONE);
	assert_int_equal(call_as(&some, "vm.get", "{\"vm\":\"db1\"}"), FAULT_FORBIDDEN);
	assert_int_equal(call_as(&viewer, "vm.start", "{\"vm\":\"web2\"}"), FAULT_FORBIDDEN);
	assert_int_equal(call_as(&viewer, "console.open", "{\"vm\":\"db1\"}"), FAULT_FORBIDDEN);
}

static void
a_console_gets_a_ticket(void **state)
{
	const json_t *result;

	(void)state;
	call("vm.create", "{" WEB1 "}");
	result = call("console.open", "{\"vm\":\"web1\"}"); /* before it starts, too */
	assert_int_equal(strlen(text(result, "ticket")), TICKET_SIZE - 1);
	assert_int_equal(strncmp(text(result, "path"), "/stream/", 8), 0);
	result = call("file.list", "{}");
	assert_int_equal(json_array_size(json_object_get(result, "files")), 2);
}

static void
a_restarted_agent_continues(void **state)
{
	(void)state;
	call("vm.create", "{" WEB1 ",\"automaticStart\":\"Start\"}");
	call("vm.start", "{\"vm\":\"web1\"}");
	agent_stop(agent);
	start_agent();
	assert_string_equal(text(get("web1"), "state"), "Running");
	assert_int_equal(fake.spawned, 1);
	assert_string_equal(
	    run_job("vm.stop", "{\"vm\":\"web1\",\"mode\":\"turnOff\"}"), job_states[JOB_COMPLETED]);
	assert_true(json_is_true(json_object_get(json_object_get(answer, "result"), "turnedOff")));
}

static void
a_broken_document_is_shown_and_stops_nothing(void **state)
{
	const json_t *vm;

	(void)state;
	call("vm.create", "{" WEB1 "}");
	call("vm.create", "{\"name\":\"db1\",\"kernel\":\"images/vmlinuz\",\"memory\":64}");
	fake_file("vms/web1/vm.json", "{\"Version\":2}");
	vm = get("web1");
	assert_string_equal(text(vm, "state"), "Critical");
	assert_string_equal(text(vm, "reason"), "vm.json: Version: 2 is not between 1 and 1");
	assert_int_equal(call_as(&root, "vm.start", "{\"vm\":\"web1\"}"), FAULT_VM_DOCUMENT_BAD);
	assert_int_equal(call_as(&root, "vm.set", "{\"vm\":\"web1\",\"memory\":64}"), FAULT_VM_DOCUMENT_BAD);
	agent_stop(agent);
	start_agent();
	assert_string_equal(text(get("web1"), "state"), "Critical");
	call("vm.start", "{\"vm\":\"db1\"}");
	call("vm.delete", "{\"vm\":\"web1\",\"_\":{\"confirm\":true}}");
}

/* As if copied there, without a thousand fsyncs. */
static void
put_machines(unsigned n)
{
	char path[256], doc[512];

	for (unsigned i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/vms/vm%u", fake.data, i);
		mkdir(path, 0700);
		snprintf(path, sizeof(path), "vms/vm%u/vm.json", i);
		snprintf(doc, sizeof(doc),
		    "{\"Version\":1,\"Id\":\"%08x-1111-4111-8111-111111111111\",\"Memory\":{\"SizeInMB\":512}"
		    ","
		    "\"LinuxKernelDirect\":{\"KernelFilePath\":\"images/vmlinuz\"}}",
		    i + 1);
		fake_file(path, doc);
	}
}

static void
a_thousand_machines_are_listed_in_no_time(void **state)
{
	uint64_t from, took;

	(void)state;
	agent_stop(agent);
	put_machines(1000);
	start_agent();
	from = vm_now_ms();
	assert_int_equal(call_as(&root, "vm.list", "{}"), FAULT_NONE);
	took = vm_now_ms() - from;
	print_message("vm.list of 1000 machines: %u ms\n", (unsigned)took);
	assert_int_equal(json_array_size(json_object_get(json_object_get(answer, "result"), "vms")), 1000);
	assert_true(took < 2000); /* of a busy machine under sanitizers: what counts is that nothing waits */
}

/* --- the host
 * -------------------------------------------------------------------------------------------------- */

static bool
exists(const char *path)
{
	char whole[256];

	snprintf(whole, sizeof(whole), "%s/%s", fake.root, path);
	return access(whole, F_OK) == 0;
}

static char *
content(const char *path)
{
	static char bytes[1024];
	char whole[256];
	ssize_t n;
	int fd;

	snprintf(whole, sizeof(whole), "%s/%s", fake.root, path);
	fd = open(whole, O_RDONLY);
	n = fd < 0 ? 0 : read(fd, bytes, sizeof(bytes) - 1);
	bytes[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
	return bytes;
}

static void
the_host_is_shown_as_it_is(void **state)
{
	const json_t *host = call("host.get", "{}"), *adapter;

	(void)state;
	assert_string_equal(text(host, "name"), "freehold");
	assert_true(json_integer_value(json_object_get(host, "memory")) > 0);
	assert_true(json_is_false(json_object_get(host, "remoteManagement")));
	adapter = json_array_get(json_object_get(host, "adapters"), 0);
	assert_string_equal(text(adapter, "name"), "eth0");
	assert_true(json_is_true(json_object_get(adapter, "dhcp")));
	assert_true(exists("run/service/udhcpc-eth0/run")); /* by default */
	assert_non_null(strstr(content("run/service/udhcpc-eth0/run"), "-i eth0 -x "));
}

static void
a_name_is_set_everywhere(void **state)
{
	const json_t *result = call("host.set", "{\"name\":\"alpha\"}");

	(void)state;
	assert_true(changed(result));
	assert_string_equal(text(json_object_get(result, "host"), "name"), "alpha");
	assert_string_equal(box.name, "alpha");
	assert_string_equal(content("etc/hostname"), "alpha\n");
	assert_false(changed(call("host.set", "{\"name\":\"alpha\"}")));
	snprintf(box.name, sizeof(box.name), "other"); /* a new boot */
	agent_stop(agent);
	start_agent();
	assert_string_equal(box.name, "alpha");
	assert_int_equal(call_as(&viewer, "host.set", "{\"name\":\"beta\"}"), FAULT_FORBIDDEN);
}

static void
an_address_is_set_and_survives_a_boot(void **state)
{
	const json_t *adapter;

	(void)state;
	adapter = json_array_get(
	    json_object_get(
		json_object_get(call("host.set", "{\"address\":\"192.0.2.5/24\","
						 "\"gateway\":\"192.0.2.1\",\"dns\":[\"192.0.2.1\","
						 "\"2001:db8::1\"]}"),
		    "host"),
		"adapters"),
	    0);
	assert_true(json_is_false(json_object_get(adapter, "dhcp")));
	assert_string_equal(text(adapter, "gateway"), "192.0.2.1");
	assert_int_equal(json_array_size(json_object_get(adapter, "dns")), 2);
	assert_string_equal(box.address, "192.0.2.5/24");
	assert_false(exists("run/service/udhcpc-eth0"));
	assert_string_equal(content("run/resolv.conf"), "nameserver 192.0.2.1\nnameserver 2001:db8::1\n");
	box.address[0] = '\0';
	agent_stop(agent);
	start_agent();
	assert_string_equal(box.address, "192.0.2.5/24");
	call("host.set", "{\"adapter\":\"eth0\",\"dhcp\":true}");
	assert_true(exists("run/service/udhcpc-eth0/run"));
	assert_false(exists("run/dhcp/eth0"));
}

/* Waits for a DHCP client of an adapter to be there, or not. */
static bool
has_client(const char *adapter, bool wanted)
{
	char path[64];

	snprintf(path, sizeof(path), "run/service/udhcpc-%s/run", adapter);
	for (int i = 0; i < 1000 && exists(path) != wanted; i++)
		usleep(5000);
	return exists(path);
}

static void
plug(int adapters)
{
	uint64_t one = 1;

	pthread_mutex_lock(&agent->host->lock);
	box.adapters = adapters;
	pthread_mutex_unlock(&agent->host->lock);
	assert_int_equal(write(box.watch, &one, sizeof(one)), sizeof(one));
}

/* Whether it becomes so; with the host room's lock. */
static bool
within_seconds(bool (*is_so)(void))
{
	bool so = false;

	for (int i = 0; i < 1000 && !so; i++) {
		usleep(5000);
		pthread_mutex_lock(&agent->host->lock);
		so = is_so();
		pthread_mutex_unlock(&agent->host->lock);
	}
	return so;
}

static bool
none_used(void)
{
	if (agent->host->used_count > 0)
		return false;
	box.address[0] = '\0';
	return true;
}

static bool
address_set(void)
{
	return strcmp(box.address, "192.0.2.5/24") == 0;
}

static void
an_adapter_that_comes_later_gets_its_address(void **state)
{
	uint64_t seen;

	(void)state;
	assert_true(has_client("eth0", true));
	seen = events_last(agent->events);
	plug(2);
	assert_true(has_client("eth1", true));
	for (int i = 0; i < 1000 && events_last(agent->events) == seen; i++)
		usleep(5000);
	assert_int_equal(events_last(agent->events), seen + 1); /* host.changed */
	plug(1);
	assert_false(has_client("eth1", false));
	assert_true(has_client("eth0", true));
	call("host.set", "{\"adapter\":\"eth0\",\"dhcp\":false,\"address\":\"192.0.2.5/24\"}");
	assert_false(has_client("eth0", false));
	plug(0); /* the card is pulled */
	assert_true(within_seconds(none_used));
	plug(1);
	assert_true(within_seconds(address_set)); /* as it was set, not by DHCP */
	assert_false(has_client("eth0", false));
}

static void
an_address_that_changes_is_told(void **state)
{
	uint64_t seen, one = 1;

	(void)state;
	assert_true(has_client("eth0", true));
	seen = events_last(agent->events);
	pthread_mutex_lock(&agent->host->lock);
	snprintf(box.address, sizeof(box.address), "192.0.2.77/24"); /* as a DHCP client does it */
	pthread_mutex_unlock(&agent->host->lock);
	assert_int_equal(write(box.watch, &one, sizeof(one)), sizeof(one));
	for (int i = 0; i < 1000 && events_last(agent->events) == seen; i++)
		usleep(5000);
	assert_int_equal(events_last(agent->events), seen + 1); /* host.changed */
}

static void
what_a_lease_brought_is_shown(void **state)
{
	const json_t *dns;
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/dhcp", fake.run);
	mkdir(path, 0700);
	fake_file("../run/dhcp/eth0",
	    "address=192.0.2.9/24\ngateway=192.0.2.1\ndns=192.0.2.2 nonsense 192.0.2.3\n");
	dns = json_object_get(json_array_get(json_object_get(call("host.get", "{}"), "adapters"), 0), "dns");
	assert_int_equal(json_array_size(dns), 2);
	assert_string_equal(json_string_value(json_array_get(dns, 1)), "192.0.2.3");
}

static void
a_change_that_fails_leaves_all_as_it_was(void **state)
{
	(void)state;
	box.refuse_address = true;
	assert_int_equal(call_as(&root, "host.set", "{\"name\":\"beta\",\"address\":\"192.0.2.5/24\"}"),
	    FAULT_HOST_SETTING_FAILED);
	assert_string_equal(message(), "eth0: the address cannot be set: somebody has it");
	assert_string_equal(text(call("host.get", "{}"), "name"), "freehold");
	assert_null(strstr(content("data/system/host.json"), "beta"));
	assert_true(exists("run/service/udhcpc-eth0/run"));
}

static void
wrong_settings_are_refused_with_their_parameter(void **state)
{
	static const struct {
		const char *params, *path;
		enum fault_code code;
	} rows[] = {
		{ "{\"name\":\"-a\"}", "name", FAULT_BAD_HOST_NAME },
		{ "{\"name\":\"a b\"}", "name", FAULT_BAD_HOST_NAME },
		{ "{\"timeZone\":\"Mars/Phobos\"}", "timeZone", FAULT_TIME_ZONE_NOT_FOUND },
		{ "{\"timeZone\":\"../../../etc/passwd\"}", "timeZone", FAULT_TIME_ZONE_NOT_FOUND },
		{ "{\"time\":\"soon\"}", "time", FAULT_BAD_TIME },
		{ "{\"time\":\"2026-02-31 10:00\"}", "time", FAULT_BAD_TIME },
		{ "{\"time\":\"1999-01-01 10:00\"}", "time", FAULT_BAD_TIME },
		{ "{\"adapter\":\"eth7\",\"dhcp\":true}", "adapter", FAULT_ADAPTER_NOT_FOUND },
		{ "{\"adapter\":\"eth0\"}", "adapter", FAULT_BAD_PARAMS },
		{ "{\"dhcp\":true,\"address\":\"192.0.2.5/24\"}", "dhcp", FAULT_BAD_PARAMS },
		{ "{\"dhcp\":false}", "address", FAULT_BAD_ADDRESS },
		{ "{\"address\":\"192.0.2.5\"}", "address", FAULT_BAD_ADDRESS },
		{ "{\"address\":\"192.0.2.500/24\"}", "address", FAULT_BAD_ADDRESS },
		{ "{\"address\":\"192.0.2.5/33\"}", "address", FAULT_BAD_ADDRESS },
		{ "{\"address\":\"192.0.2.0/24\"}", "address", FAULT_BAD_ADDRESS },
		{ "{\"address\":\"192.0.2.255/24\"}", "address", FAULT_BAD_ADDRESS },
		{ "{\"address\":\"127.0.0.1/8\"}", "address", FAULT_BAD_ADDRESS },
		{ "{\"address\":\"224.0.0.1/24\"}", "address", FAULT_BAD_ADDRESS },
		{ "{\"address\":\"192.0.2.5/24\",\"gateway\":\"198.51.100.1\"}", "gateway",
		    FAULT_BAD_ADDRESS },
		{ "{\"address\":\"192.0.2.5/24\",\"gateway\":\"192.0.2.5\"}", "gateway", FAULT_BAD_ADDRESS },
		{ "{\"address\":\"192.0.2.5/24\",\"dns\":[\"one.one\"]}", "dns", FAULT_BAD_ADDRESS },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum fault_code code = call_as(&root, "host.set", rows[i].params);
		const json_t *data = json_object_get(json_object_get(answer, "error"), "data");

		if (code != rows[i].code || strcmp(text(data, "path"), rows[i].path) != 0)
			fail_msg("%s: %d at '%s': %s", rows[i].params, code, text(data, "path"), message());
	}
	assert_int_equal(box.addresses_set, 0);
	box.adapters = 2;
	assert_int_equal(call_as(&root, "host.set", "{\"dhcp\":true}"), FAULT_BAD_PARAMS);
	assert_string_equal(message(), "this host has 2 adapters: say which");
}

static void
the_clock_and_its_zone_are_set(void **state)
{
	const json_t *zones = json_object_get(call("host.timeZones", "{}"), "zones");

	(void)state;
	assert_true(json_array_size(zones) > 100);
	call("host.set", "{\"time\":\"2026-11-23T09:30:00Z\"}");
	assert_int_equal(box.clock, 1795426200);
	assert_string_equal(
	    text(json_object_get(call("host.set", "{\"timeZone\":\"Europe/Berlin\"}"), "host"), "timeZone"),
	    "Europe/Berlin");
	assert_non_null(strchr(text(call("host.get", "{}"), "time"), '+'));
	call("host.set", "{\"time\":\"2026-11-23 10:30\"}"); /* in Berlin */
	assert_int_equal(box.clock, 1795426200);
	call("host.set", "{\"timeZone\":\"UTC\",\"time\":\"2026-11-23 09:30\"}"); /* in the new zone */
	assert_int_equal(box.clock, 1795426200);
}

static void
a_broken_host_document_is_put_aside(void **state)
{
	(void)state;
	agent_stop(agent);
	fake_file(
	    "system/host.json", "{\"Version\":1,\"RemoteManagement\":false,\"Adapters\":[{\"Mac\":\"x\"}]}");
	start_agent();
	assert_true(exists("data/system/host.json.bad"));
	call("host.set", "{\"name\":\"alpha\",\"remoteManagement\":false}");
	assert_non_null(strstr(content("data/system/host.json"), "alpha"));
}

static void
the_host_goes_down_after_its_guests(void **state)
{
	(void)state;
	call("vm.create", "{" WEB1 "}");
	call("vm.start", "{\"vm\":\"web1\"}");
	assert_int_equal(call_as(&root, "host.restart", "{}"), FAULT_CONFIRM_NEEDED);
	call("host.shutdown", "{\"_\":{\"dryRun\":true}}");
	assert_true(changed(call("host.restart", "{\"_\":{\"confirm\":true}}")));
	assert_false(changed(call("host.shutdown", "{\"_\":{\"confirm\":true}}"))); /* it goes already */
	for (int i = 0; i < 1000 && box.powered < 0; i++)
		usleep(5000);
	assert_int_equal(box.powered, HOST_RESTART);
	assert_string_equal(text(get("web1"), "state"), "Off");
	assert_true(exists("data/vms/web1/running"));
}

static void
machines_end_with_the_agent_only_when_the_host_goes_down(void **state)
{
	(void)state;
	call("vm.create", "{" WEB1 "}");
	call("vm.start", "{\"vm\":\"web1\"}");
	agent_host_goes_down(agent); /* it does not: only the agent ends */
	assert_string_equal(text(get("web1"), "state"), "Running");
	fake_file("../run/going-down", "");
	agent_host_goes_down(agent);
	assert_string_equal(text(get("web1"), "state"), "Off");
	assert_true(exists("data/vms/web1/running"));
	assert_int_equal(box.powered, -1); /* init does that */
	assert_int_equal(call_as(&root, "vm.start", "{\"vm\":\"web1\"}"), FAULT_STOPPING);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(a_machine_is_made_started_stopped_and_deleted),
		TEST(a_job_is_about_the_machine_it_was_started_for),
		TEST(a_call_is_about_the_machine_whose_rights_were_looked_at),
		TEST(starts_that_hang_hold_up_no_other_call),
		TEST(a_dry_run_tells_and_changes_nothing),
		TEST(mistakes_are_told_with_the_parameter),
		TEST(settings_change_now_or_at_the_next_start),
		TEST(lists_are_filtered_by_name_state_and_right),
		TEST(a_console_gets_a_ticket),
		TEST(a_restarted_agent_continues),
		TEST(a_broken_document_is_shown_and_stops_nothing),
		TEST(a_thousand_machines_are_listed_in_no_time),
		TEST(the_host_is_shown_as_it_is),
		TEST(a_name_is_set_everywhere),
		TEST(an_address_is_set_and_survives_a_boot),
		TEST(an_adapter_that_comes_later_gets_its_address),
		TEST(an_address_that_changes_is_told),
		TEST(what_a_lease_brought_is_shown),
		TEST(a_change_that_fails_leaves_all_as_it_was),
		TEST(wrong_settings_are_refused_with_their_parameter),
		TEST(the_clock_and_its_zone_are_set),
		TEST(a_broken_host_document_is_put_aside),
		TEST(the_host_goes_down_after_its_guests),
		TEST(machines_end_with_the_agent_only_when_the_host_goes_down),
	};

	signal(SIGPIPE, SIG_IGN);
	alarm(300);
	return cmocka_run_group_tests_name("machines", tests, NULL, NULL);
}
