/*
 * tests/unit/vhd_methods_test.c - disk images in a whole agent, called as carriers call them: made, looked
 * at, changed and merged by the real fh-disk, in its walls. What fails leaves images and documents as they
 * were.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <libgen.h>
#include <limits.h>

#include "agent/agent.h"
#include "agent/disk_tool.h"
#include "agent/dispatch.h"
#include "agent/identity.h"
#include "agent/jobs.h"
#include "hypervisor/disk/lock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "tests/unit/fake_vm.h"

#define WEB1 "11111111-2222-3333-4444-555555555555"

static struct agent *agent;
static struct identity root, scoped;
static char etc[96], tool[PATH_MAX];
static json_t *answer; /* of the last call, or of its job */

static enum fault_code
call_as(const struct identity *who, const char *method, const char *params)
{
	enum fault_code code = FAULT_NONE;
	json_t *doc = json_loads(params, 0, NULL), *job;
	const char *id;

	if (!doc)
		fail_msg("%s", params);
	json_decref(answer);
	answer = dispatch_call(agent, NULL, who, method, doc, &code);
	json_decref(doc);
	id = json_string_value(json_object_get(json_object_get(answer, "result"), "job"));
	if (code != FAULT_NONE || !id)
		return code;
	job = jobs_get(agent->jobs, id, 60000);
	json_decref(answer);
	answer = job;
	job = json_object_get(answer, "error");
	return job ? (enum fault_code)json_integer_value(json_object_get(job, "code")) : FAULT_NONE;
}

static const char *
text(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s ? s : "";
}

static json_int_t
number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static const json_t *
call(const char *method, const char *params)
{
	struct err e = { 0 };
	const json_t *result;

	if (call_as(&root, method, params) != FAULT_NONE)
		fail_msg("%s %s: %s", method, params, text(json_object_get(answer, "error"), "message"));
	result = json_object_get(answer, "result");
	if (!strstr(params, "dryRun") && !method_result_ok(dispatch_find(method), result, &e))
		fail_msg("%s %s: %s", method, params, e.msg);
	return result;
}

static void
refused(const char *method, const char *params, enum fault_code code, const char *words)
{
	enum fault_code is = call_as(&root, method, params);
	const char *message = text(json_object_get(answer, "error"), "message");

	if (is != code || !strstr(message, words))
		fail_msg("%s %s: %d: %s", method, params, is, message);
}

static bool
exists(const char *path)
{
	char whole[256];

	snprintf(whole, sizeof(whole), "%s/%s", fake.data, path);
	return access(whole, F_OK) == 0;
}

static void
put_etc(const char *name, const char *content)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", etc, name);
	assert_int_equal(file_replace(path, content, strlen(content), 0600, NULL), 0);
}

static void
start_agent(const char *program)
{
	struct agent_options o = { .data = fake.data, .run = fake.run, .etc = etc, .disk_tool = program };
	struct err e = { 0 };

	if (agent_start(&agent, &o, &e) < 0)
		fail_msg("%s", e.msg);
}

static int
setup(void **state)
{
	char self[PATH_MAX - 32] = "", path[256];

	(void)state;
	log_open("test", -1, LOG_ERROR);
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0 || fake_setup() < 0)
		return -1;
	snprintf(tool, sizeof(tool), "%s/bin/fh-disk", dirname(dirname(dirname(self))));
	snprintf(etc, sizeof(etc), "%s/etc", fake.root);
	mkdir(etc, 0700);
	put_etc("passwd", "root:x:0:0::/root:/bin/sh\n");
	put_etc("shadow", "root:*:1::::::\n");
	put_etc("group", "root:x:0:\nadministrators:x:10:root\n");
	snprintf(path, sizeof(path), "%s/system", fake.data);
	mkdir(path, 0700);
	fake_file("system/host.json", "{\"Version\":1,\"RemoteManagement\":false}");
	identity_none(&root, CARRIER_LOCAL, "test");
	snprintf(root.user, sizeof(root.user), "root");
	root.most = ROLE_ADMINISTRATOR;
	scoped = root;
	identity_grant(&root, ROLE_ADMINISTRATOR, "/");
	identity_grant(&scoped, ROLE_ADMINISTRATOR, "/vm/" WEB1);
	start_agent(tool);
	call("vm.create",
	    "{\"name\":\"web1\",\"id\":\"" WEB1 "\",\"memory\":64,\"kernel\":\"images/vmlinuz\"}");
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

/* Image i of what vhd.get tells. */
static const json_t *
image(const char *params, size_t i)
{
	return json_array_get(json_object_get(call("vhd.get", params), "images"), i);
}

/* --- making and looking ----------------------------------------------------------------------------------
 */

static void
images_of_every_kind_are_made_and_looked_at(void **state)
{
	static const struct {
		const char *params, *get, *format, *type;
	} rows[] = {
		{ "{\"path\":\"images/a.vhdx\",\"size\":1073741824}", "{\"path\":\"images/a.vhdx\"}", "VHDX",
		    "Dynamic" },
		{ "{\"path\":\"images/a.vhd\",\"size\":1073741824}", "{\"path\":\"images/a.vhd\"}", "VHD",
		    "Dynamic" },
		{ "{\"path\":\"images/f.vhd\",\"size\":4194304,\"type\":\"Fixed\"}",
		    "{\"path\":\"images/f.vhd\"}", "VHD", "Fixed" },
		{ "{\"path\":\"images/c.avhdx\",\"parent\":\"images/a.vhdx\"}",
		    "{\"path\":\"images/c.avhdx\"}", "VHDX", "Differencing" },
		{ "{\"vm\":\"web1\",\"path\":\"./disks/d.avhdx\",\"parent\":\"images/c.avhdx\"}",
		    "{\"vm\":\"web1\",\"path\":\"./disks/d.avhdx\"}", "VHDX", "Differencing" },
		{ "{\"path\":\"images/r.img\",\"size\":4194304}", "{\"path\":\"images/r.img\"}", "Raw",
		    "Fixed" },
	};
	const json_t *i;

	(void)state;
	for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		call("vhd.create", rows[r].params);
		i = image(rows[r].get, 0);
		assert_string_equal(text(i, "format"), rows[r].format);
		assert_string_equal(text(i, "type"), rows[r].type);
		refused("vhd.create", rows[r].params, FAULT_FILE_EXISTS, "is there already");
	}
	assert_string_equal(
	    text(image("{\"vm\":\"web1\",\"path\":\"./disks/d.avhdx\"}", 2), "path"), "images/a.vhdx");
	assert_int_equal(number(image("{\"path\":\"images/c.avhdx\"}", 1), "size"), 1 << 30);
	assert_true(json_is_true(json_object_get(call("vhd.test", "{\"path\":\"images/c.avhdx\"}"), "ok")));
	call("vhd.create", "{\"path\":\"images/dry.vhdx\",\"size\":1048576,\"_\":{\"dryRun\":true}}");
	assert_false(exists("images/dry.vhdx"));
}

static void
mistakes_are_told_before_there_is_a_job(void **state)
{
	static const struct {
		const char *method, *params, *words;
		enum fault_code code;
	} rows[] = {
		{ "vhd.create", "{\"path\":\"images/a.vhdx\"}", "how large", FAULT_BAD_PARAMS },
		{ "vhd.create", "{\"path\":\"./disks/a.vhdx\",\"size\":1048576}", "say which machine's",
		    FAULT_BAD_PARAMS },
		{ "vhd.create", "{\"path\":\"/dev/sda\",\"size\":1048576}", "is a device", FAULT_FILE_BAD },
		{ "vhd.create", "{\"path\":\"images/../system/x.vhdx\",\"size\":1048576}", "",
		    FAULT_FILE_BAD },
		{ "vhd.create", "{\"path\":\"images/no/a.vhdx\",\"size\":1048576}", "no folder",
		    FAULT_FOLDER_NOT_FOUND },
		{ "vhd.create", "{\"path\":\"images/a.vhdx\",\"type\":\"Differencing\"}", "say which",
		    FAULT_BAD_PARAMS },
		{ "vhd.create", "{\"path\":\"images/a.vhdx\",\"parent\":\"images/none.vhdx\"}",
		    "no such file", FAULT_FILE_NOT_FOUND },
		{ "vhd.get", "{\"path\":\"images/none.vhdx\"}", "no such file", FAULT_FILE_NOT_FOUND },
		{ "vhd.get", "{\"vm\":\"none\",\"path\":\"images/none.vhdx\"}", "", FAULT_VM_NOT_FOUND },
		{ "vhd.get", "{\"path\":\"images/bad.vhdx\"}", "bad.vhdx", FAULT_FILE_BAD },
		{ "vhd.test", "{\"path\":\"images/bad.vhdx\"}", "bad.vhdx", FAULT_FILE_BAD },
		{ "vhd.repair", "{\"path\":\"images/bad.vhdx\"}", "bad.vhdx", FAULT_FILE_BAD },
		{ "vhd.resize", "{\"path\":\"images/bad.vhdx\",\"size\":1048576}", "bad.vhdx",
		    FAULT_FILE_BAD },
		{ "vhd.merge", "{\"path\":\"images/good.vhdx\"}", "no differencing image", FAULT_BAD_PARAMS },
		{ "vhd.merge", "{\"path\":\"images/good.vhdx\",\"delete\":true}", "confirmed",
		    FAULT_CONFIRM_NEEDED },
		{ "vhd.convert", "{\"path\":\"images/good.vhdx\",\"destination\":\"images/bad.vhdx\"}",
		    "is there already", FAULT_FILE_EXISTS },
		{ "vhd.convert",
		    "{\"path\":\"images/good.vhdx\",\"destination\":\"images/"
		    "n.vhd\",\"type\":\"Differencing\"}",
		    "never a differencing one", FAULT_BAD_PARAMS },
		{ "vhd.set", "{\"path\":\"images/good.vhdx\",\"parent\":\"images/good.vhdx\"}", "own parent",
		    FAULT_BAD_PARAMS },
		{ "vhd.import", "{\"path\":\"images/bad.vhdx\",\"destination\":\"images/n.vhdx\"}", "source",
		    FAULT_BAD_PARAMS },
	};

	(void)state;
	fake_file("images/bad.vhdx", "vhdxfile, and then nothing");
	call("vhd.create", "{\"path\":\"images/good.vhdx\",\"size\":1048576}");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		refused(rows[i].method, rows[i].params, rows[i].code, rows[i].words);
}

static void
the_hosts_images_are_for_its_administrators(void **state)
{
	(void)state;
	call("vhd.create", "{\"path\":\"images/a.vhdx\",\"size\":1048576}");
	assert_int_equal(
	    call_as(&scoped, "vhd.create", "{\"path\":\"images/b.vhdx\",\"size\":1048576}"), FAULT_FORBIDDEN);
	assert_int_equal(
	    call_as(&scoped, "vhd.create", "{\"vm\":\"web1\",\"path\":\"images/b.vhdx\",\"size\":1048576}"),
	    FAULT_FORBIDDEN);
	assert_int_equal(call_as(&scoped, "vhd.get", "{\"path\":\"images/a.vhdx\"}"), FAULT_FORBIDDEN);
	assert_int_equal(
	    call_as(&scoped, "vhd.get", "{\"vm\":\"web1\",\"path\":\"images/a.vhdx\"}"), FAULT_NONE);
	assert_int_equal(call_as(&scoped, "vhd.create",
			     "{\"vm\":\"web1\",\"path\":\"./disks/c.avhdx\",\"parent\":\"images/a.vhdx\"}"),
	    FAULT_NONE);
	assert_int_equal(call_as(&scoped, "vhd.optimize", "{\"vm\":\"web1\",\"path\":\"images/a.vhdx\"}"),
	    FAULT_FORBIDDEN);
	assert_int_equal(
	    call_as(&scoped, "vhd.optimize", "{\"vm\":\"web1\",\"path\":\"./disks/c.avhdx\"}"), FAULT_NONE);
	assert_int_equal(/* would write the parent */
	    call_as(&scoped, "vhd.merge", "{\"vm\":\"web1\",\"path\":\"./disks/c.avhdx\"}"), FAULT_FORBIDDEN);
}

/* --- changing --------------------------------------------------------------------------------------------
 */

static void
images_are_changed_and_copied(void **state)
{
	char id[64];

	(void)state;
	call("vhd.create", "{\"path\":\"images/a.vhdx\",\"size\":1073741824}");
	call("vhd.resize", "{\"path\":\"images/a.vhdx\",\"size\":2147483648}");
	assert_int_equal(number(image("{\"path\":\"images/a.vhdx\"}", 0), "size"), 1ll << 31);
	call("vhd.optimize", "{\"path\":\"images/a.vhdx\"}");
	snprintf(id, sizeof(id), "%s", text(image("{\"path\":\"images/a.vhdx\"}", 0), "id"));
	call("vhd.set", "{\"path\":\"images/a.vhdx\",\"newId\":true,\"physicalSectorSize\":512}");
	assert_string_not_equal(text(image("{\"path\":\"images/a.vhdx\"}", 0), "id"), id);
	assert_int_equal(number(image("{\"path\":\"images/a.vhdx\"}", 0), "physicalSectorSize"), 512);
	call("vhd.set", "{\"path\":\"images/a.vhdx\",\"id\":\"01234567-89ab-4def-8123-456789abcdef\"}");
	assert_string_equal(
	    text(image("{\"path\":\"images/a.vhdx\"}", 0), "id"), "01234567-89ab-4def-8123-456789abcdef");
	call("vhd.convert", "{\"path\":\"images/a.vhdx\",\"destination\":\"images/b.vhd\"}");
	assert_string_equal(text(image("{\"path\":\"images/b.vhd\"}", 0), "format"), "VHD");
	call("vhd.convert", "{\"vm\":\"web1\",\"path\":\"images/b.vhd\",\"destination\":\"./disks/"
			    "c\",\"destinationFormat\":\"VHDX\"}");
	assert_string_equal(
	    text(image("{\"vm\":\"web1\",\"path\":\"./disks/c\",\"format\":\"VHDX\"}", 0), "format"), "VHDX");
	assert_false(
	    json_is_true(json_object_get(call("vhd.repair", "{\"path\":\"images/a.vhdx\"}"), "changed")));
}

static void
run(const char *arguments)
{
	char command[2 * PATH_MAX];

	snprintf(command, sizeof(command), "cd %s && %.2000s %s", fake.data, tool, arguments);
	assert_int_equal(system(command), 0);
}

/* vm.json's member of disk 0:0, or of its parents' list the first. */
static bool
is_written(const char *path, const char *parent)
{
	char whole[256];
	json_t *doc, *disk;
	bool is;

	snprintf(whole, sizeof(whole), "%s/vms/web1/vm.json", fake.data);
	doc = file_read_json(whole, NULL);
	disk = json_array_get(json_object_get(json_object_get(doc, "Devices"), "Disks"), 0);
	is = strcmp(text(disk, "Path"), path) == 0;
	disk = json_array_get(json_object_get(disk, "Parents"), 0);
	is = is && strcmp(disk ? json_string_value(disk) : "", parent) == 0;
	json_decref(doc);
	return is;
}

static void
a_merged_disk_is_its_parent_then(void **state)
{
	(void)state;
	call("disk.add", "{\"vm\":\"web1\",\"size\":67108864,\"name\":\"base\"}");
	call("disk.remove", "{\"vm\":\"web1\",\"lun\":0}");
	call("disk.add", "{\"vm\":\"web1\",\"parent\":\"./disks/base.vhdx\",\"name\":\"a.avhdx\"}");
	run("write --pattern 5a vms/web1/disks/a.avhdx 1M 1M");
	refused("vhd.resize", "{\"vm\":\"web1\",\"path\":\"./disks/base.vhdx\",\"size\":134217728}",
	    FAULT_FILE_IN_USE, "is a parent of disk 0:0 of 'web1'");
	call("vm.start", "{\"vm\":\"web1\"}");
	refused("vhd.merge", "{\"vm\":\"web1\",\"path\":\"./disks/a.avhdx\"}", FAULT_DISK_IN_USE,
	    "is disk 0:0 of 'web1', which is running");
	assert_string_not_equal(
	    text(call("vhd.get", "{\"vm\":\"web1\",\"path\":\"./disks/a.avhdx\"}"), "inUse"), "");
	call("vm.stop", "{\"vm\":\"web1\",\"mode\":\"turnOff\"}");
	call("vhd.merge", "{\"vm\":\"web1\",\"path\":\"./disks/a.avhdx\",\"_\":{\"dryRun\":true}}");
	assert_true(is_written("./disks/a.avhdx", "./disks/base.vhdx"));
	call("vhd.merge",
	    "{\"vm\":\"web1\",\"path\":\"./disks/a.avhdx\",\"delete\":true,\"_\":{\"confirm\":true}}");
	assert_true(is_written("./disks/base.vhdx", ""));
	assert_false(exists("vms/web1/disks/a.avhdx"));
	run("read --pattern 5a vms/web1/disks/base.vhdx 1M 1M");
	call("vm.start", "{\"vm\":\"web1\"}");
}

static void
a_parent_that_was_moved_is_found_again(void **state)
{
	char from[256], to[256];

	(void)state;
	call("vhd.create", "{\"path\":\"images/base.vhdx\",\"size\":67108864}");
	call("disk.add", "{\"vm\":\"web1\",\"parent\":\"images/base.vhdx\",\"name\":\"a.avhdx\"}");
	snprintf(from, sizeof(from), "%s/images/base.vhdx", fake.data);
	snprintf(to, sizeof(to), "%s/images/moved.vhdx", fake.data);
	assert_int_equal(rename(from, to), 0);
	refused("vm.start", "{\"vm\":\"web1\"}", FAULT_FILE_NOT_FOUND, "images/base.vhdx");
	refused("vhd.test", "{\"vm\":\"web1\",\"path\":\"./disks/a.avhdx\"}", FAULT_FILE_BAD, "");
	call("vhd.set", "{\"vm\":\"web1\",\"path\":\"./disks/a.avhdx\",\"parent\":\"images/moved.vhdx\"}");
	assert_true(is_written("./disks/a.avhdx", "images/moved.vhdx"));
	call("vm.start", "{\"vm\":\"web1\"}");
}

static void
what_another_program_wrote_is_imported(void **state)
{
	char command[256];

	(void)state;
	if (access("/usr/bin/qemu-img", X_OK) < 0) {
		print_message("SKIP what_another_program_wrote_is_imported: no qemu-img\n");
		return;
	}
	snprintf(command, sizeof(command), "/usr/bin/qemu-img create -q -f qcow2 %s/images/a.qcow2 64M",
	    fake.data);
	assert_int_equal(system(command), 0);
	call("vhd.import",
	    "{\"path\":\"images/a.qcow2\",\"source\":\"QCOW2\",\"destination\":\"images/a.vhdx\"}");
	assert_int_equal(number(image("{\"path\":\"images/a.vhdx\"}", 0), "size"), 64 << 20);
	fake_file("images/bad.qcow2", "no image at all");
	refused("vhd.import",
	    "{\"path\":\"images/bad.qcow2\",\"source\":\"QCOW2\",\"destination\":\"images/n.vhdx\"}",
	    FAULT_FILE_BAD, "");
	assert_false(exists("images/n.vhdx"));
}

/* --- a tool that was taken over ---------------------------------------------------------------------------
 */

static void
hostile(const char *script, enum fault_code code, const char *words)
{
	char path[256], content[600];

	snprintf(path, sizeof(path), "%s/tool", fake.root);
	snprintf(content, sizeof(content), "#!/bin/sh\n%s\n", script);
	assert_int_equal(file_replace(path, content, strlen(content), 0700, NULL), 0);
	agent_stop(agent);
	start_agent(path);
	refused("vhd.get", "{\"path\":\"images/a.vhdx\"}", code, words);
}

static void
nothing_that_the_tool_says_is_believed(void **state)
{
	(void)state;
	fake_file("images/a.vhdx", "whatever");
	hostile("exec yes", FAULT_TIMED_OUT, "more than can be");
	hostile("yes >&2 & sleep 0.2; kill $!; exit 1", FAULT_FILE_BAD, "y");
	hostile("echo '{'", FAULT_INTERNAL, "");
	hostile("echo '[]'", FAULT_INTERNAL, "no such");
	hostile(
	    "echo '[{\"type\":\"fixed\",\"size\":-1,\"logicalSectorSize\":512}]'", FAULT_INTERNAL, "no such");
	hostile(
	    "echo '[{\"type\":\"dynamic\",\"size\":1,\"logicalSectorSize\":512},{\"file\":\"/etc/passwd\"}]'",
	    FAULT_FILE_BAD, "neither in the machine's folder nor in images");
	hostile("printf '{\"phase\":\"a\\\\u001b\",\"done\":7,\"total\":-7}\\n\\033[2Jx\\n' >&2; exit 1",
	    FAULT_FILE_BAD, "?[2Jx");
	hostile("kill -SEGV $$", FAULT_FILE_BAD, "signal 11");
	hostile("exit 5", FAULT_DISK_IN_USE, "");
	agent_stop(agent);
	start_agent("/nowhere/fh-disk");
	refused("vhd.get", "{\"path\":\"images/a.vhdx\"}", FAULT_NOT_SUPPORTED, "/nowhere/fh-disk");
}

static void
a_cancelled_job_leaves_nothing(void **state)
{
	enum fault_code code = FAULT_NONE;
	char path[256];
	json_t *doc, *job;
	const char *id;
	static const char script[] =
	    "#!/bin/sh\ntrap 'exit 130' TERM\n"
	    "echo '{\"phase\":\"space\",\"done\":1,\"total\":2}' >&2\nwhile :; do sleep 0.1; done\n";

	(void)state;
	snprintf(path, sizeof(path), "%s/tool", fake.root);
	assert_int_equal(file_replace(path, script, strlen(script), 0700, NULL), 0);
	agent_stop(agent);
	start_agent(path);
	doc = json_pack("{s:s, s:i}", "path", "images/a.vhdx", "size", 1 << 20);
	json_decref(answer);
	answer = dispatch_call(agent, NULL, &root, "vhd.create", doc, &code);
	json_decref(doc);
	id = text(json_object_get(answer, "result"), "job");
	for (int i = 0; i < 1000; i++, usleep(5000)) {
		bool begun;

		job = jobs_get(agent->jobs, id, 0);
		begun = strcmp(text(job, "phase"), "space") == 0;
		json_decref(job);
		if (begun)
			break;
	}
	assert_int_equal(jobs_cancel(agent->jobs, id, NULL), 1);
	job = jobs_get(agent->jobs, id, 30000);
	assert_string_equal(text(job, "state"), "Terminated");
	json_decref(job);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(images_of_every_kind_are_made_and_looked_at),
		TEST(mistakes_are_told_before_there_is_a_job),
		TEST(the_hosts_images_are_for_its_administrators),
		TEST(images_are_changed_and_copied),
		TEST(a_merged_disk_is_its_parent_then),
		TEST(a_parent_that_was_moved_is_found_again),
		TEST(what_another_program_wrote_is_imported),
		TEST(nothing_that_the_tool_says_is_believed),
		TEST(a_cancelled_job_leaves_nothing),
	};

	return cmocka_run_group_tests_name("vhd_methods", tests, NULL, NULL);
}
