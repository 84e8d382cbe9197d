/*
 * tests/unit/vm_disks_test.c - disks and DVD drives of machines in a whole agent, called as carriers call
 * them; spawner and workers are threads of this test (fake_vm.h) that take what real ones take. Whatever
 * fails, vm.json, the files and the worker say the same afterwards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <libgen.h>
#include <limits.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include "agent/agent.h"
#include "agent/disk_file.h"
#include "agent/dispatch.h"
#include "agent/events.h"
#include "agent/identity.h"
#include "agent/inventory.h"
#include "agent/jobs.h"
#include "agent/vm_life.h"
#include "hypervisor/disk/lock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "tests/unit/fake_vm.h"

#define MIB (1ull << 20)

/* --- a whole agent ------------------------------------------------------------------------------------ */

static struct agent *agent;
static struct identity root, scoped, operator;
static char etc[96];
static json_t *answer; /* of the last call */
static char tool[PATH_MAX];

/* build/bin/fh-disk, seen from build/tests/unit/vm_disks_test. */
static void
find_tool(void)
{
	char self[PATH_MAX - 32] = "";

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		abort();
	snprintf(tool, sizeof(tool), "%s/bin/fh-disk", dirname(dirname(dirname(self))));
}

static void
start_agent(void)
{
	struct agent_options o = { .data = fake.data, .run = fake.run, .etc = etc, .disk_tool = tool };
	struct err e = { 0 };

	if (agent_start(&agent, &o, &e) < 0)
		fail_msg("%s", e.msg);
}

static void
put_etc(const char *name, const char *text)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", etc, name);
	assert_int_equal(file_replace(path, text, strlen(text), 0600, NULL), 0);
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
	return code;
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

static const char *
message(void)
{
	return text(json_object_get(answer, "error"), "message");
}

/* The result, which is as its table says. */
static const json_t *
call(const char *method, const char *params)
{
	struct err e = { 0 };
	const json_t *result;

	if (call_as(&root, method, params) != FAULT_NONE)
		fail_msg("%s %s: %s", method, params, message());
	result = json_object_get(answer, "result");
	if (!strstr(params, "dryRun") && !method_result_ok(dispatch_find(method), result, &e))
		fail_msg("%s %s: %s", method, params, e.msg);
	return result;
}

static void
refused(const char *method, const char *params, enum fault_code code, const char *words)
{
	enum fault_code is = call_as(&root, method, params);

	if (is != code || !strstr(message(), words))
		fail_msg("%s %s: %d: %s", method, params, is, message());
}

static bool
changed(const json_t *result)
{
	return json_is_true(json_object_get(result, "changed"));
}

#define WEB1 "11111111-2222-3333-4444-555555555555"

static void
make(const char *name, const char *id)
{
	char params[256];

	snprintf(params, sizeof(params),
	    "{\"name\":\"%s\",\"id\":\"%s\",\"memory\":64,\"kernel\":\"images/vmlinuz\"}", name, id);
	call("vm.create", params);
}

static void
make_images(void)
{
	static const char *const names[] = { "images/data.img", "images/tools.iso", "images/more.iso" };
	char path[256];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		fake_file(names[i], "");
		snprintf(path, sizeof(path), "%s/%s", fake.data, names[i]);
		assert_int_equal(truncate(path, 4 << 20), 0);
	}
	fake_file("images/empty.iso", "");
}

static int
setup(void **state)
{
	char path[256];

	(void)state;
	log_open("test", -1, LOG_ERROR);
	find_tool();
	if (fake_setup() < 0)
		return -1;
	snprintf(etc, sizeof(etc), "%s/etc", fake.root);
	mkdir(etc, 0700);
	put_etc("passwd", "root:x:0:0::/root:/bin/sh\n");
	put_etc("shadow", "root:*:1::::::\n");
	put_etc("group", "root:x:0:\nadministrators:x:10:root\n");
	snprintf(path, sizeof(path), "%s/system", fake.data);
	mkdir(path, 0700);
	fake_file("system/host.json", "{\"Version\":1,\"RemoteManagement\":false}");
	make_images();
	identity_none(&root, CARRIER_LOCAL, "test");
	snprintf(root.user, sizeof(root.user), "root");
	root.most = ROLE_ADMINISTRATOR;
	scoped = operator= root;
	identity_grant(&root, ROLE_ADMINISTRATOR, "/");
	identity_grant(&scoped, ROLE_ADMINISTRATOR, "/vm/" WEB1);
	identity_grant(&operator, ROLE_OPERATOR, "/vm/" WEB1);
	start_agent();
	make("web1", WEB1);
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

/* --- what is so --------------------------------------------------------------------------------------- */

static bool
exists(const char *path)
{
	char whole[256];

	snprintf(whole, sizeof(whole), "%s/%s", fake.data, path);
	return access(whole, F_OK) == 0;
}

/* vm.json says of Devices.Disks what is given as JSON text with ' for ". */
static json_t *
written_disks(void)
{
	char path[256];
	json_t *doc, *disks;

	snprintf(path, sizeof(path), "%s/vms/web1/vm.json", fake.data);
	doc = file_read_json(path, NULL);
	disks = json_incref(json_object_get(json_object_get(doc, "Devices"), "Disks"));
	json_decref(doc);
	assert_non_null(disks);
	return disks;
}

static size_t
written(void)
{
	json_t *disks = written_disks();
	size_t n = json_array_size(disks);

	json_decref(disks);
	return n;
}

static bool
is_written(size_t i, const char *member, const char *value)
{
	json_t *disks = written_disks();
	bool is = strcmp(text(json_array_get(disks, i), member), value) == 0;

	json_decref(disks);
	return is;
}

static json_int_t
written_number(size_t i, const char *member)
{
	json_t *disks = written_disks();
	json_int_t n = number(json_array_get(disks, i), member);

	json_decref(disks);
	return n;
}

static struct fake_worker *
worker(void)
{
	struct fake_worker *w = fake_find(WEB1);

	assert_non_null(w);
	return w;
}

/* What the worker has at 0:lun, or NULL. */
static const struct fake_unit *
unit(unsigned lun)
{
	return fake_unit(worker(), 0, lun);
}

static bool
has_medium(unsigned lun)
{
	return unit(lun) && unit(lun)->told.unit.file >= 0;
}

/* Whether nobody has it locked. */
static bool
is_free(const char *path)
{
	char whole[256];
	int fd;
	bool is;

	snprintf(whole, sizeof(whole), "%s/%s", fake.data, path);
	fd = open(whole, O_RDWR | O_CLOEXEC);
	is = fd >= 0 && disk_lock(fd, true, NULL) == 0;
	close(fd);
	return is;
}

static void
start(void)
{
	call("vm.start", "{\"vm\":\"web1\"}");
}

static void
stop(void)
{
	char id[JOB_ID_SIZE];

	assert_int_equal(call_as(&root, "vm.stop", "{\"vm\":\"web1\",\"mode\":\"turnOff\"}"), FAULT_NONE);
	snprintf(id, sizeof(id), "%s", text(json_object_get(answer, "result"), "job"));
	json_decref(jobs_get(agent->jobs, id, 30000));
}

static const json_t *
vm(void)
{
	return json_object_get(call("vm.get", "{\"vm\":\"web1\"}"), "vm");
}

static bool
soon(bool (*is)(void))
{
	for (int i = 0; i < 1000; i++, usleep(5000))
		if (is())
			return true;
	return false;
}

/* A folder in the place of the file that replaces vm.json: no change can be written. */
static void
block_writing(bool blocked)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/vms/web1/.vm.json.new", fake.data);
	if (blocked)
		assert_int_equal(mkdir(path, 0700), 0);
	else
		assert_int_equal(rmdir(path), 0);
}

/* --- adding ------------------------------------------------------------------------------------------- */

static void
a_new_disk_is_sparse_and_waits_for_the_start(void **state)
{
	const json_t *result = call("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":3000000}"),
		     *row;

	(void)state;
	assert_true(changed(result));
	assert_string_equal(text(result, "path"), "./disks/disk0.img");
	assert_string_equal(text(result, "effect"), "NextStart");
	assert_int_equal(number(result, "lun"), 0);
	assert_int_equal(number(result, "revision"), 2);
	row = json_array_get(json_object_get(call("disk.list", "{\"vm\":\"web1\"}"), "disks"), 0);
	assert_string_equal(text(row, "place"), "0:0");
	assert_string_equal(text(row, "type"), "VirtualDisk");
	assert_int_equal(number(row, "size"), 3 * MIB);
	assert_true(number(row, "used") < (json_int_t)MIB);
	assert_null(json_object_get(row, "reads")); /* it does not run */
	call("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576,\"name\":\"logs\",\"lun\":5,"
			 "\"sectorSize\":4096,"
			 "\"serialNumber\":\"S1\",\"pauseWhenFull\":false,\"maximumIops\":100}");
	assert_true(exists("vms/web1/disks/logs.img"));
	start();
	assert_int_equal(worker()->before, 2); /* both before it was created */
	assert_int_equal(worker()->machine.scsi_controllers, 1);
	assert_int_equal(unit(5)->told.unit.sector, 4096);
	assert_string_equal(unit(5)->told.unit.config.serial, "S1");
	assert_false(unit(5)->told.unit.config.pause_on_full);
	assert_int_equal(unit(5)->told.unit.config.max_iops, 100);
	assert_false(unit(5)->told.unit.read_only);
	assert_false(is_free("vms/web1/disks/logs.img"));
	row = json_array_get(json_object_get(call("disk.list", "{\"vm\":\"web1\"}"), "disks"), 1);
	assert_int_equal(number(row, "reads"), 7);
	assert_int_equal(number(row, "bytesRead"), 4096);
	row = json_array_get(json_object_get(vm(), "disks"), 1);
	assert_string_equal(text(row, "path"), "./disks/logs.img");
	assert_int_equal(number(row, "lun"), 5);
	stop();
	assert_true(is_free("vms/web1/disks/logs.img"));
}

static void
disks_come_and_go_while_it_runs(void **state)
{
	const json_t *result;

	(void)state;
	start();
	result = call("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576}");
	assert_string_equal(text(result, "effect"), "Now");
	assert_true(has_medium(0));
	result = call("disk.add", "{\"vm\":\"web1\",\"path\":\"images/data.img\"}"); /* the next place */
	assert_int_equal(number(result, "lun"), 1);
	assert_true(has_medium(1));
	assert_int_equal(worker()->before, 0);
	assert_int_equal(written(), 2);
	assert_false(is_free("images/data.img"));
	result = call("disk.remove", "{\"vm\":\"web1\",\"lun\":1}");
	assert_string_equal(text(result, "effect"), "Now");
	assert_true(json_is_true(json_object_get(result, "closed")));
	assert_null(unit(1));
	assert_true(is_free("images/data.img"));
	assert_int_equal(written(), 1);
	refused("disk.remove", "{\"vm\":\"web1\",\"lun\":0,\"deleteFile\":true}", FAULT_CONFIRM_NEEDED,
	    "confirmed");
	call("disk.remove", "{\"vm\":\"web1\",\"lun\":0,\"deleteFile\":true,\"_\":{\"confirm\":true}}");
	assert_false(exists("vms/web1/disks/disk0.img"));
	assert_int_equal(written(), 0);
	refused("disk.remove", "{\"vm\":\"web1\",\"lun\":0}", FAULT_DISK_NOT_FOUND, "has no disk at 0:0");
}

static void
mistakes_are_told_with_the_parameter(void **state)
{
	static const struct {
		const char *method, *params, *path;
		enum fault_code code;
	} rows[] = {
		{ "disk.add", "{\"vm\":\"web1\"}", "size", FAULT_BAD_PARAMS },
		{ "disk.add",
		    "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576,\"path\":\"images/data.img\"}",
		    "path", FAULT_BAD_PARAMS },
		{ "disk.add", "{\"vm\":\"web1\",\"path\":\"images/data.img\",\"name\":\"x\"}", "name",
		    FAULT_BAD_PARAMS },
		{ "disk.add", "{\"vm\":\"none\",\"format\":\"Raw\",\"size\":1048576}", "vm",
		    FAULT_VM_NOT_FOUND },
		{ "disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":5}", "size", FAULT_BAD_PARAMS },
		{ "disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576,\"controller\":1}",
		    "controller", FAULT_BAD_PARAMS },
		{ "disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576,\"controller\":4}",
		    "controller", FAULT_BAD_PARAMS },
		{ "disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576,\"lun\":64}", "lun",
		    FAULT_BAD_PARAMS },
		{ "disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576,\"lun\":3}", "lun",
		    FAULT_DISK_EXISTS },
		{ "disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576,\"name\":\"logs\"}",
		    "name", FAULT_DISK_EXISTS },
		{ "disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576,\"name\":\"../vm.json\"}",
		    "name", FAULT_FILE_BAD },
		{ "disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576,\"name\":\".x\"}", "name",
		    FAULT_FILE_BAD },
		{ "disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576,\"sectorSize\":1024}", "",
		    FAULT_BAD_PARAMS },
		{ "disk.add",
		    "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576,\"minimumIops\":9,\"maximumIops\":"
		    "8}",
		    "", FAULT_BAD_PARAMS },
		{ "disk.add", "{\"vm\":\"web1\",\"path\":\"images/none.img\"}", "path",
		    FAULT_FILE_NOT_FOUND },
		{ "disk.add", "{\"vm\":\"web1\",\"path\":\"images/../system/host.json\"}", "path",
		    FAULT_FILE_BAD },
		{ "disk.add", "{\"vm\":\"web1\",\"path\":\"./vm.json\"}", "path", FAULT_FILE_BAD },
		{ "disk.add", "{\"vm\":\"web1\",\"path\":\"./disks/../vm.json\"}", "path", FAULT_FILE_BAD },
		{ "disk.add", "{\"vm\":\"web1\",\"path\":\"/etc/passwd\"}", "path", FAULT_FILE_BAD },
		{ "disk.add", "{\"vm\":\"web1\",\"path\":\"images\"}", "path", FAULT_FILE_NOT_FOUND },
		{ "disk.add", "{\"vm\":\"web1\",\"path\":\"images/empty.iso\"}", "path", FAULT_FILE_BAD },
		{ "disk.add", "{\"vm\":\"web1\",\"path\":\"/dev/null\"}", "path", FAULT_FILE_BAD },
		{ "disk.add", "{\"vm\":\"web1\",\"path\":\"/dev/none\"}", "path", FAULT_FILE_NOT_FOUND },
		{ "disk.add", "{\"vm\":\"web1\",\"path\":\"/dev/../etc/passwd\"}", "path", FAULT_FILE_BAD },
		{ "disk.add", "{\"vm\":\"web1\",\"path\":\"./disks/logs.img\"}", "", FAULT_BAD_PARAMS },
		{ "disk.set", "{\"vm\":\"web1\",\"lun\":1,\"maximumIops\":1}", "lun", FAULT_DISK_NOT_FOUND },
		{ "disk.set", "{\"vm\":\"web1\",\"lun\":9,\"maximumIops\":1}", "lun", FAULT_DISK_NOT_FOUND },
		{ "disk.resize", "{\"vm\":\"web1\",\"lun\":3,\"size\":1048576}", "size", FAULT_BAD_PARAMS },
		{ "dvd.set", "{\"vm\":\"web1\",\"lun\":3,\"path\":\"\"}", "lun", FAULT_DISK_NOT_FOUND },
		{ "dvd.set", "{\"vm\":\"web1\",\"path\":\"images/none.iso\"}", "path", FAULT_FILE_NOT_FOUND },
		{ "dvd.remove", "{\"vm\":\"web1\",\"lun\":3}", "lun", FAULT_DISK_NOT_FOUND },
		{ "disk.remove", "{\"vm\":\"web1\",\"lun\":2}", "lun", FAULT_DISK_NOT_FOUND },
		{ "disk.remove", "{\"vm\":\"web1\",\"lun\":1,\"deleteFile\":true,\"_\":{\"confirm\":true}}",
		    "deleteFile", FAULT_BAD_PARAMS },
		{ "disk.list", "{\"vm\":\"none\"}", "vm", FAULT_VM_NOT_FOUND },
		{ "vm.set", "{\"vm\":\"web1\",\"scsiControllers\":0}", "", FAULT_BAD_PARAMS },
		{ "file.delete", "{\"path\":\"images/tools.iso\",\"_\":{\"confirm\":true}}", "path",
		    FAULT_FILE_IN_USE },
	};

	(void)state;
	call("dvd.add", "{\"vm\":\"web1\",\"lun\":1,\"path\":\"images/tools.iso\"}");
	call("disk.add", "{\"vm\":\"web1\",\"lun\":3,\"format\":\"Raw\",\"size\":2097152,\"name\":\"logs\"}");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum fault_code code = call_as(&root, rows[i].method, rows[i].params);
		const json_t *data = json_object_get(json_object_get(answer, "error"), "data");

		if (code != rows[i].code || strcmp(text(data, "path"), rows[i].path) != 0)
			fail_msg("%s %s: %d at '%s': %s", rows[i].method, rows[i].params, code,
			    text(data, "path"), message());
	}
	assert_int_equal(written(), 2);
	assert_false(exists("vms/web1/disks/disk0.img"));
}

static void
a_dry_run_tells_and_changes_nothing(void **state)
{
	const json_t *would;

	(void)state;
	would = json_object_get(
	    call("disk.add",
		"{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1073741824,\"_\":{\"dryRun\":true}}"),
	    "would");
	assert_string_equal(
	    json_string_value(json_array_get(would, 0)), "make the disk ./disks/disk0.img of 1 GiB");
	assert_string_equal(json_string_value(json_array_get(would, 1)),
	    "attach ./disks/disk0.img to web1 as disk 0:0, for its next start");
	refused("disk.add", "{\"vm\":\"web1\",\"path\":\"images/none.img\",\"_\":{\"dryRun\":true}}",
	    FAULT_FILE_NOT_FOUND, "no such file");
	assert_int_equal(written(), 0);
	assert_false(exists("vms/web1/disks"));
	call("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576}");
	call("dvd.add", "{\"vm\":\"web1\"}");
	start();
	call("disk.set", "{\"vm\":\"web1\",\"lun\":0,\"maximumIops\":5,\"_\":{\"dryRun\":true}}");
	call("disk.resize", "{\"vm\":\"web1\",\"lun\":0,\"size\":2097152,\"_\":{\"dryRun\":true}}");
	call("disk.remove", "{\"vm\":\"web1\",\"lun\":0,\"deleteFile\":true,\"_\":{\"dryRun\":true}}");
	call("dvd.set", "{\"vm\":\"web1\",\"path\":\"images/tools.iso\",\"_\":{\"dryRun\":true}}");
	call("dvd.add", "{\"vm\":\"web1\",\"_\":{\"dryRun\":true}}");
	call("dvd.remove", "{\"vm\":\"web1\",\"_\":{\"dryRun\":true}}");
	assert_int_equal(written(), 2);
	assert_int_equal(unit(0)->told.unit.config.max_iops, 0);
	assert_int_equal(unit(0)->size, 0);
	assert_false(has_medium(1));
}

static void
ids_revisions_and_confirmation_are_kept(void **state)
{
	(void)state;
	call(
	    "disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576,\"_\":{\"requestId\":\"r1\"}}");
	call("disk.add",
	    "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576,\"_\":{\"requestId\":\"r1\"}}"); /* the
												      first's
												    */
	assert_int_equal(written(), 1);
	refused("disk.set", "{\"vm\":\"web1\",\"lun\":0,\"maximumIops\":5,\"_\":{\"ifMatch\":1}}",
	    FAULT_CONFLICT, "");
	call("disk.set", "{\"vm\":\"web1\",\"lun\":0,\"maximumIops\":5,\"_\":{\"ifMatch\":2}}");
	assert_false(changed(call("disk.set", "{\"vm\":\"web1\",\"lun\":0,\"maximumIops\":5}")));
}

/* --- rights ------------------------------------------------------------------------------------------- */

static void
the_hosts_things_are_for_its_administrators(void **state)
{
	(void)state;
	assert_int_equal(
	    call_as(&scoped, "disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576}"),
	    FAULT_NONE);
	assert_int_equal(
	    call_as(&scoped, "disk.add", "{\"vm\":\"web1\",\"path\":\"/dev/null\"}"), FAULT_FORBIDDEN);
	assert_int_equal(
	    call_as(&scoped, "disk.add", "{\"vm\":\"web1\",\"path\":\"images/data.img\"}"), FAULT_FORBIDDEN);
	assert_non_null(strstr(message(), "for all machines"));
	assert_int_equal(
	    call_as(&scoped, "disk.add", "{\"vm\":\"web1\",\"path\":\"images/data.img\",\"readOnly\":true}"),
	    FAULT_NONE);
	assert_int_equal(
	    call_as(&scoped, "disk.set", "{\"vm\":\"web1\",\"lun\":1,\"readOnly\":false}"), FAULT_FORBIDDEN);
	assert_int_equal(call_as(&scoped, "dvd.add", "{\"vm\":\"web1\"}"), FAULT_NONE);
	assert_int_equal(
	    call_as(&operator, "dvd.set", "{\"vm\":\"web1\",\"path\":\"images/tools.iso\"}"), FAULT_NONE);
	assert_int_equal(
	    call_as(&operator, "dvd.set", "{\"vm\":\"web1\",\"path\":\"/dev/sr0\"}"), FAULT_FORBIDDEN);
	assert_int_equal(
	    call_as(&operator, "disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576}"),
	    FAULT_FORBIDDEN);
	assert_int_equal(call_as(&operator, "disk.list", "{\"vm\":\"web1\"}"), FAULT_NONE);
}

/* --- locks -------------------------------------------------------------------------------------------- */

static void
no_two_machines_write_one_disk(void **state)
{
	(void)state;
	make("web2", "11111111-2222-3333-4444-666666666666");
	call("disk.add", "{\"vm\":\"web1\",\"path\":\"images/data.img\"}");
	call("disk.add", "{\"vm\":\"web2\",\"path\":\"images/data.img\"}"); /* by turns they may */
	start();
	refused("vm.start", "{\"vm\":\"web2\"}", FAULT_DISK_IN_USE,
	    "images/data.img is disk 0:0 of 'web1', which is running");
	refused("vm.start", "{\"vm\":\"web2\",\"_\":{\"dryRun\":true}}", FAULT_DISK_IN_USE, "of 'web1'");
	refused("disk.add", "{\"vm\":\"web2\",\"path\":\"images/data.img\",\"readOnly\":true}",
	    FAULT_BAD_PARAMS, "is at 0:0 already");
	agent_stop(agent); /* the worker has the lock, not the agent */
	start_agent();
	refused("vm.start", "{\"vm\":\"web2\"}", FAULT_DISK_IN_USE, "of 'web1', which is running");
	assert_int_equal(fake.spawned, 1);
	stop();
	call("vm.start", "{\"vm\":\"web2\"}");
	refused("vm.start", "{\"vm\":\"web1\"}", FAULT_DISK_IN_USE, "of 'web2', which is running");
	assert_int_equal(written(), 1);
	assert_string_equal(text(vm(), "state"), "Off");
}

static void
what_is_only_read_is_shared(void **state)
{
	(void)state;
	make("web2", "11111111-2222-3333-4444-666666666666");
	call("disk.add", "{\"vm\":\"web1\",\"path\":\"images/data.img\",\"readOnly\":true}");
	call("disk.add", "{\"vm\":\"web2\",\"path\":\"images/data.img\",\"readOnly\":true}");
	call("dvd.add", "{\"vm\":\"web1\",\"path\":\"tools.iso\"}");
	call("dvd.add", "{\"vm\":\"web2\",\"path\":\"images/tools.iso\"}");
	start();
	call("vm.start", "{\"vm\":\"web2\"}");
	assert_true(unit(0)->told.unit.read_only);
	make("web3", "11111111-2222-3333-4444-777777777777");
	refused("disk.add", "{\"vm\":\"web3\",\"path\":\"images/data.img\"}", FAULT_DISK_IN_USE, "running");
}

/* --- images ------------------------------------------------------------------------------------------- */

static json_t *
first_disk(void)
{
	return json_array_get(json_object_get(call("disk.list", "{\"vm\":\"web1\"}"), "disks"), 0);
}

/* A disk of a new machine is a dynamic VHDX. */
static void
a_new_disk_is_an_image_unless_something_else_is_said(void **state)
{
	static const struct {
		const char *params, *path, *format;
	} rows[] = {
		{ "\"size\":1073741824", "./disks/disk0.vhdx", "VHDX" },
		{ "\"size\":1073741824", "./disks/disk1.vhdx", "VHDX" },
		{ "\"size\":1073741824,\"format\":\"VHD\"", "./disks/disk0.vhd", "VHD" },
		{ "\"size\":1048576,\"name\":\"a\"", "./disks/a.vhdx", "VHDX" },
		{ "\"size\":1048576,\"name\":\"a.img\"", "./disks/a.img", "Raw" },
		{ "\"size\":1048576,\"name\":\"a.vhd\",\"type\":\"Fixed\"", "./disks/a.vhd", "VHD" },
		{ "\"size\":1048576,\"name\":\"b\",\"sectorSize\":4096,\"blockSize\":2097152",
		    "./disks/b.vhdx", "VHDX" },
		{ "\"size\":1048576,\"name\":\"c.img\",\"type\":\"Fixed\"", "./disks/c.img", "Raw" },
	};
	const json_t *row;
	char params[200];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(params, sizeof(params), "{\"vm\":\"web1\",%s}", rows[i].params);
		assert_string_equal(text(call("disk.add", params), "path"), rows[i].path);
		assert_true(is_written(i, "Format", rows[i].format));
	}
	row = first_disk();
	assert_string_equal(text(row, "format"), "VHDX");
	assert_int_equal(number(row, "size"), 1 << 30);
	assert_true(number(row, "used") < (json_int_t)(8 * MIB));
	assert_string_equal(text(row, "problem"), "");
	start();
	assert_int_equal(unit(0)->told.unit.format, DISK_VHDX);
	assert_int_equal(unit(2)->told.unit.format, DISK_VHD);
	assert_int_equal(number(first_disk(), "size"), 1 << 30); /* in use */
	refused("disk.resize", "{\"vm\":\"web1\",\"lun\":0,\"size\":2147483648}", FAULT_VM_WRONG_STATE,
	    "while it is off");
	stop();
	call("disk.resize", "{\"vm\":\"web1\",\"lun\":0,\"size\":2147483648}");
	assert_int_equal(number(first_disk(), "size"), 1ll << 31);
	refused("disk.resize", "{\"vm\":\"web1\",\"lun\":0,\"size\":1073741824}", FAULT_BAD_PARAMS,
	    "not made smaller");
	assert_false(changed(call("disk.resize", "{\"vm\":\"web1\",\"lun\":0,\"size\":2147483648}")));
}

static void
a_disk_is_made_on_a_parent(void **state)
{
	json_t *disks;
	const json_t *would;

	(void)state;
	call("disk.add", "{\"vm\":\"web1\",\"size\":1073741824,\"name\":\"base\"}");
	call("disk.remove", "{\"vm\":\"web1\",\"lun\":0}");
	would = json_object_get(call("disk.add", "{\"vm\":\"web1\",\"parent\":\"./disks/"
						 "base.vhdx\",\"name\":\"a.avhdx\",\"_\":{\"dryRun\":true}}"),
	    "would");
	assert_string_equal(json_string_value(json_array_get(would, 0)),
	    "make the disk ./disks/a.avhdx of 1 GiB on ./disks/base.vhdx");
	call("disk.add", "{\"vm\":\"web1\",\"parent\":\"./disks/base.vhdx\",\"name\":\"a.avhdx\"}");
	call("disk.add", "{\"vm\":\"web1\",\"parent\":\"./disks/base.vhdx\",\"type\":\"Differencing\"}");
	disks = written_disks();
	assert_string_equal(
	    json_string_value(json_array_get(json_object_get(json_array_get(disks, 0), "Parents"), 0)),
	    "./disks/base.vhdx");
	json_decref(disks);
	refused("disk.add", "{\"vm\":\"web1\",\"path\":\"./disks/base.vhdx\"}", FAULT_BAD_PARAMS,
	    "may write to it");
	start();
	assert_int_equal(unit(0)->told.unit.parents, 1);
	assert_int_equal(unit(1)->told.unit.parents, 1);
	stop();
	call("disk.remove", "{\"vm\":\"web1\",\"lun\":1}");
	call("disk.remove", "{\"vm\":\"web1\",\"lun\":0}");
	assert_int_equal(written(), 0);
	start(); /* one that is there: its parent is found */
	call("disk.add", "{\"vm\":\"web1\",\"path\":\"./disks/a.avhdx\"}");
	assert_int_equal(unit(0)->told.unit.parents, 1);
	assert_false(is_free("vms/web1/disks/base.vhdx"));
}

/* What an image says is believed nowhere. */
static void
an_image_of_a_stranger_is_refused(void **state)
{
	char path[256], command[3 * PATH_MAX];

	(void)state;
	fake_file("images/broken.vhdx", "vhdxfile and nothing else");
	refused("disk.add", "{\"vm\":\"web1\",\"path\":\"images/broken.vhdx\",\"readOnly\":true}",
	    FAULT_FILE_BAD, "broken.vhdx");
	refused("disk.add", "{\"vm\":\"web1\",\"path\":\"images/data.img\",\"format\":\"VHDX\"}",
	    FAULT_FILE_BAD, "data.img");
	/* Its parent lies elsewhere. */
	snprintf(path, sizeof(path), "%s/secret.vhdx", fake.root);
	snprintf(command, sizeof(command),
	    "%s create -t vhdx %s 10M && %s create -t vhdx --parent %s %s/images/child.vhdx", tool, path,
	    tool, path, fake.data);
	assert_int_equal(system(command), 0);
	refused("disk.add", "{\"vm\":\"web1\",\"path\":\"images/child.vhdx\",\"readOnly\":true}",
	    FAULT_FILE_BAD, "");
	assert_int_equal(written(), 0);
	refused("disk.add", "{\"vm\":\"web1\",\"parent\":\"images/data.img\"}", FAULT_BAD_PARAMS,
	    "only VHD and VHDX");
	refused("disk.add", "{\"vm\":\"web1\",\"size\":1048576,\"type\":\"Differencing\"}", FAULT_BAD_PARAMS,
	    "say which");
	assert_int_equal(
	    call_as(&scoped, "disk.add", "{\"vm\":\"web1\",\"parent\":\"/dev/sda\",\"format\":\"VHDX\"}"),
	    FAULT_FORBIDDEN);
}

/* --- parents ------------------------------------------------------------------------------------------ */

/* Writes into vm.json, as by hand, what is given with ' for ". */
static void
edit_disks(const char *disks)
{
	char path[256], text_[1000];
	json_t *doc;

	snprintf(text_, sizeof(text_), "%s", disks);
	for (char *c = text_; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	snprintf(path, sizeof(path), "%s/vms/web1/vm.json", fake.data);
	doc = file_read_json(path, NULL);
	json_object_set_new(json_object_get(doc, "Devices"), "Disks", json_loads(text_, 0, NULL));
	assert_int_equal(file_replace_json(path, doc, 0600, NULL), 0);
	json_decref(doc);
}

static void
a_disk_goes_to_its_worker_with_its_parents(void **state)
{
	const json_t *config;

	(void)state;
	call("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576,\"name\":\"a.avhdx\"}");
	edit_disks("[{'Lun':0,'Path':'./disks/a.avhdx','Format':'VHDX','Parents':['images/data.img','images/"
		   "tools.iso']}]");
	make("web2", "11111111-2222-3333-4444-666666666666");
	call("disk.add", "{\"vm\":\"web2\",\"path\":\"images/tools.iso\",\"readOnly\":true}"); /* shared */
	start();
	assert_int_equal(unit(0)->told.unit.format, DISK_VHDX);
	assert_int_equal(unit(0)->told.unit.parents, 2);
	assert_false(is_free("images/data.img"));
	config = json_object_get(vm(), "config");
	assert_int_equal(
	    json_array_size(json_object_get(
		json_array_get(json_object_get(json_object_get(config, "Devices"), "Disks"), 0), "Parents")),
	    2);
	call("vm.start", "{\"vm\":\"web2\"}");
	refused("disk.add", "{\"vm\":\"web2\",\"path\":\"images/data.img\"}", FAULT_DISK_IN_USE,
	    "images/data.img is parent of disk 0:0 of 'web1', which is running");
	refused("file.delete", "{\"path\":\"images/data.img\",\"_\":{\"confirm\":true}}", FAULT_FILE_IN_USE,
	    "is the parent of disk 0:0 of 'web1'");
	call("disk.set", "{\"vm\":\"web1\",\"lun\":0,\"maximumIops\":7}"); /* its parents stay */
	call("disk.remove", "{\"vm\":\"web1\",\"lun\":0}");
	assert_true(is_free("images/data.img"));
	stop();
}

/* Given again when it cannot be taken out of the document: with its parents, and when one is gone, none. */
static void
a_disk_comes_back_with_its_parents(void **state)
{
	char path[256];

	(void)state;
	call("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576,\"name\":\"a.avhdx\"}");
	edit_disks("[{'Lun':0,'Path':'./disks/a.avhdx','Format':'VHDX','Parents':['images/data.img']}]");
	start();
	block_writing(true);
	refused("disk.remove", "{\"vm\":\"web1\",\"lun\":0}", FAULT_STORAGE, "");
	assert_int_equal(unit(0)->told.unit.parents, 1);
	block_writing(false);
	stop();
	snprintf(path, sizeof(path), "%s/images/data.img", fake.data);
	assert_int_equal(unlink(path), 0);
	refused("vm.start", "{\"vm\":\"web1\"}", FAULT_FILE_NOT_FOUND, "images/data.img");
	assert_true(is_free("vms/web1/disks/a.avhdx"));
}

static int stranger = -1;

static void *
let_go_soon(void *arg)
{
	usleep(300000);
	close(stranger);
	return arg;
}

static void
a_lock_that_is_let_go_of_is_waited_for(void **state)
{
	char path[256];
	pthread_t t;

	(void)state;
	call("disk.add", "{\"vm\":\"web1\",\"path\":\"images/data.img\"}");
	snprintf(path, sizeof(path), "%s/images/data.img", fake.data);
	stranger = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(disk_lock(stranger, true, NULL), 0);
	pthread_create(&t, NULL, let_go_soon, NULL);
	start(); /* as after a worker that has just ended */
	pthread_join(t, NULL);
	stop();
	stranger = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(disk_lock(stranger, true, NULL), 0);
	refused("vm.start", "{\"vm\":\"web1\"}", FAULT_DISK_IN_USE, "images/data.img: it is in use");
	close(stranger);
}

/* --- what fails --------------------------------------------------------------------------------------- */

static void
a_worker_that_refuses_leaves_all_as_it_was(void **state)
{
	(void)state;
	call("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576}");
	call("dvd.add", "{\"vm\":\"web1\",\"path\":\"images/tools.iso\"}");
	start();
	fake.refuse = "disk.add";
	refused("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576}", FAULT_VM_WORKER_FAILED,
	    "does not want");
	refused("disk.add", "{\"vm\":\"web1\",\"path\":\"images/data.img\"}", FAULT_VM_WORKER_FAILED, "");
	assert_false(exists("vms/web1/disks/disk1.img"));
	assert_true(is_free("images/data.img"));
	fake.refuse = "disk.remove";
	refused("disk.remove", "{\"vm\":\"web1\",\"lun\":0,\"deleteFile\":true,\"_\":{\"confirm\":true}}",
	    FAULT_VM_WORKER_FAILED, "");
	assert_true(exists("vms/web1/disks/disk0.img"));
	fake.refuse = "disk.limit";
	refused("disk.set", "{\"vm\":\"web1\",\"lun\":0,\"maximumIops\":5}", FAULT_VM_WORKER_FAILED, "");
	fake.refuse = "disk.insert";
	refused("dvd.set", "{\"vm\":\"web1\",\"path\":\"images/more.iso\"}", FAULT_VM_WORKER_FAILED, "");
	assert_true(is_free("images/more.iso"));
	fake.refuse = "disk.resized";
	refused("disk.resize", "{\"vm\":\"web1\",\"lun\":0,\"size\":2097152}", FAULT_VM_WORKER_FAILED, "");
	fake.refuse = "disk.list";
	assert_int_equal(
	    json_array_size(json_object_get(call("disk.list", "{\"vm\":\"web1\"}"), "disks")), 2);
	fake.refuse = NULL;
	assert_int_equal(written(), 2);
	assert_int_equal(written_number(0, "MaximumIops"), 0);
	assert_true(is_written(1, "Path", "images/tools.iso"));
	assert_int_equal(
	    number(
		json_array_get(json_object_get(call("disk.list", "{\"vm\":\"web1\"}"), "disks"), 0), "size"),
	    MIB); /* it has shrunk again */
	assert_true(has_medium(0));
	assert_int_equal(number(vm(), "revision"), 3);
}

static void
a_document_that_cannot_be_written_leaves_all_as_it_was(void **state)
{
	(void)state;
	call("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576,\"maximumIops\":3}");
	call("dvd.add", "{\"vm\":\"web1\",\"path\":\"images/tools.iso\"}");
	start();
	block_writing(true);
	refused("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576}", FAULT_STORAGE, "");
	assert_null(unit(2));
	assert_false(exists("vms/web1/disks/disk1.img"));
	refused("disk.remove", "{\"vm\":\"web1\",\"lun\":0,\"deleteFile\":true,\"_\":{\"confirm\":true}}",
	    FAULT_STORAGE, "");
	assert_true(has_medium(0)); /* given again */
	assert_int_equal(unit(0)->told.unit.config.max_iops, 3);
	assert_true(exists("vms/web1/disks/disk0.img"));
	refused("disk.set", "{\"vm\":\"web1\",\"lun\":0,\"maximumIops\":5}", FAULT_STORAGE, "");
	assert_int_equal(unit(0)->told.unit.config.max_iops, 3);
	refused("dvd.set", "{\"vm\":\"web1\",\"path\":\"\"}", FAULT_STORAGE, "");
	assert_true(has_medium(1));
	refused("dvd.set", "{\"vm\":\"web1\",\"path\":\"images/more.iso\"}", FAULT_STORAGE, "");
	assert_true(is_free("images/more.iso"));
	refused("dvd.remove", "{\"vm\":\"web1\"}", FAULT_STORAGE, "");
	assert_true(has_medium(1));
	stop();
	refused("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576}", FAULT_STORAGE,
	    ""); /* off, too */
	assert_false(exists("vms/web1/disks/disk1.img"));
	block_writing(false);
	assert_int_equal(written(), 2);
	assert_true(is_written(1, "Path", "images/tools.iso"));
	start();
}

static void
a_worker_that_dies_is_no_reason_to_wait(void **state)
{
	(void)state;
	call("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576}");
	start();
	atomic_fetch_or(&worker()->todo, FAKE_DIE);
	call_as(&root, "disk.add",
	    "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576}"); /* lost, or off by now */
	assert_true(written() == 1 || exists("vms/web1/disks/disk1.img"));
	assert_true(written() == 2 || !exists("vms/web1/disks/disk1.img"));
}

static void
a_disk_that_is_gone_refuses_the_start(void **state)
{
	char path[256];
	const json_t *row;

	(void)state;
	call("disk.add", "{\"vm\":\"web1\",\"path\":\"images/data.img\"}");
	snprintf(path, sizeof(path), "%s/images/data.img", fake.data);
	unlink(path);
	refused("vm.start", "{\"vm\":\"web1\",\"_\":{\"dryRun\":true}}", FAULT_FILE_NOT_FOUND,
	    "images/data.img: there is no such file");
	refused(
	    "vm.start", "{\"vm\":\"web1\"}", FAULT_FILE_NOT_FOUND, "images/data.img: there is no such file");
	assert_int_equal(fake.spawned, 0);
	row = json_array_get(json_object_get(call("disk.list", "{\"vm\":\"web1\"}"), "disks"), 0);
	assert_string_equal(text(row, "problem"), "there is no such file");
	call("disk.remove", "{\"vm\":\"web1\",\"lun\":0}");
	start();
	fake.refuse = "disk.add";
	stop();
	fake.refuse = NULL;
	call("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576}");
	fake.refuse = "disk.add";
	refused("vm.start", "{\"vm\":\"web1\"}", FAULT_VM_START_FAILED, "does not want to");
	assert_true(is_free("vms/web1/disks/disk0.img"));
}

static void
more_than_there_is_room_for_has_to_be_meant(void **state)
{
	struct statvfs fs;
	char params[160], words[160];
	uint64_t left;

	(void)state;
	assert_int_equal(statvfs(fake.data, &fs), 0);
	left = (uint64_t)fs.f_bavail * fs.f_frsize + (64ull << 30);
	if (left > 8ull << 40)
		skip(); /* no file is so large everywhere */
	snprintf(params, sizeof(params), "{\"vm\":\"web1\",\"size\":%llu}", (unsigned long long)left);
	refused("disk.add", params, FAULT_NO_SPACE, "and the data disk has");
	assert_false(exists("vms/web1/disks/disk0.img"));
	snprintf(words, sizeof(words), "{\"vm\":\"web1\",\"size\":%llu,\"overcommit\":true}",
	    (unsigned long long)left);
	call("disk.add", words);
	call("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576}");
	snprintf(
	    params, sizeof(params), "{\"vm\":\"web1\",\"lun\":1,\"size\":%llu}", (unsigned long long)left);
	refused("disk.resize", params, FAULT_NO_SPACE, "");
}

/* --- while it runs ------------------------------------------------------------------------------------ */

static void
limits_change_now_other_things_later(void **state)
{
	const json_t *result;

	(void)state;
	call("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576}");
	start();
	result = call("disk.set", "{\"vm\":\"web1\",\"lun\":0,\"maximumIops\":50,\"maximumBytesPerSecond\":"
				  "1000000,\"pauseWhenFull\":false}");
	assert_string_equal(text(result, "effect"), "Now");
	assert_string_equal(
	    json_string_value(json_array_get(json_object_get(result, "restart"), 0)), "pauseWhenFull");
	assert_int_equal(unit(0)->told.unit.config.max_iops, 50);
	assert_int_equal(unit(0)->told.unit.config.max_bytes, 1000000);
	assert_int_equal(written_number(0, "MaximumIops"), 50);
	refused("disk.set", "{\"vm\":\"web1\",\"lun\":0,\"readOnly\":true}", FAULT_VM_WRONG_STATE, "running");
	stop();
	call("disk.set", "{\"vm\":\"web1\",\"lun\":0,\"readOnly\":true}");
	start();
	assert_true(unit(0)->told.unit.read_only);
	assert_false(unit(0)->told.unit.config.pause_on_full);
}

static void
a_disk_grows_and_never_shrinks(void **state)
{
	const json_t *result;

	(void)state;
	call("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576}");
	result = call("disk.resize", "{\"vm\":\"web1\",\"lun\":0,\"size\":2000000}");
	assert_int_equal(number(result, "size"), 2 * MIB);
	assert_string_equal(text(result, "effect"), "NextStart");
	start();
	result = call("disk.resize", "{\"vm\":\"web1\",\"lun\":0,\"size\":3145728}");
	assert_string_equal(text(result, "effect"), "Now");
	assert_int_equal(unit(0)->size, 3 * MIB);
	assert_false(changed(call("disk.resize", "{\"vm\":\"web1\",\"lun\":0,\"size\":3145728}")));
	refused(
	    "disk.resize", "{\"vm\":\"web1\",\"lun\":0,\"size\":2097152}", FAULT_BAD_PARAMS, "cannot shrink");
	assert_int_equal(
	    number(
		json_array_get(json_object_get(call("disk.list", "{\"vm\":\"web1\"}"), "disks"), 0), "size"),
	    3 * MIB);
}

static void
discs_are_put_in_and_taken_out(void **state)
{
	const json_t *result;

	(void)state;
	refused("dvd.set", "{\"vm\":\"web1\",\"path\":\"\"}", FAULT_DISK_NOT_FOUND, "has no DVD drive");
	call("dvd.add", "{\"vm\":\"web1\"}");
	assert_false(changed(call("dvd.set", "{\"vm\":\"web1\",\"path\":\"\"}")));
	start();
	assert_false(has_medium(0));
	assert_int_equal(unit(0)->told.unit.config.kind, UNIT_DVD);
	result = call("dvd.set", "{\"vm\":\"web1\",\"path\":\"tools.iso\"}");
	assert_string_equal(text(result, "path"), "images/tools.iso");
	assert_string_equal(text(result, "effect"), "Now");
	assert_true(has_medium(0));
	fake.locked = true;
	refused("dvd.set", "{\"vm\":\"web1\",\"path\":\"\"}", FAULT_DISK_LOCKED, "has locked the drive");
	assert_true(is_written(0, "Path", "images/tools.iso"));
	call("dvd.set", "{\"vm\":\"web1\",\"path\":\"\",\"force\":true}");
	assert_false(has_medium(0));
	assert_true(is_written(0, "Path", ""));
	call("dvd.add", "{\"vm\":\"web1\",\"path\":\"images/more.iso\"}"); /* a second one, while it runs */
	assert_true(has_medium(1));
	assert_int_equal(json_array_size(json_object_get(call("dvd.list", "{\"vm\":\"web1\"}"), "disks")), 2);
	refused("dvd.set", "{\"vm\":\"web1\",\"path\":\"\"}", FAULT_BAD_PARAMS, "has 2 DVD drives");
	call("dvd.remove", "{\"vm\":\"web1\",\"lun\":1}");
	assert_null(unit(1));
}

static bool
drive_is_empty(void)
{
	return is_written(0, "Path", "");
}

static bool
is_paused(void)
{
	return strcmp(text(vm(), "state"), "Paused") == 0;
}

static void
what_the_guest_ejects_is_written_down(void **state)
{
	uint64_t seen;

	(void)state;
	call("dvd.add", "{\"vm\":\"web1\",\"path\":\"images/tools.iso\"}");
	start();
	seen = events_last(agent->events);
	atomic_fetch_or(&worker()->todo, FAKE_EJECT);
	assert_true(soon(drive_is_empty));
	assert_true(events_last(agent->events) >= seen + 1);
	assert_int_equal(number(vm(), "revision"), 3);
	call("dvd.set", "{\"vm\":\"web1\",\"path\":\"images/tools.iso\"}");
	/* It ejects a moment before another is put in: that one stays. */
	fake.ejects_first = true;
	call("dvd.set", "{\"vm\":\"web1\",\"path\":\"images/more.iso\"}");
	usleep(50000);
	assert_true(is_written(0, "Path", "images/more.iso"));
	assert_true(has_medium(0));
}

static void
a_full_data_disk_pauses_it_with_the_reason(void **state)
{
	(void)state;
	call("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576}");
	start();
	atomic_fetch_or(&worker()->todo, FAKE_FULL);
	assert_true(soon(is_paused));
	assert_non_null(strstr(text(vm(), "reason"), "disk 0:0: No space left on device"));
	start(); /* it goes on */
	assert_string_equal(text(vm(), "state"), "Running");
	assert_string_equal(text(vm(), "reason"), "");
}

static void
a_restarted_agent_finds_disks_as_they_are(void **state)
{
	(void)state;
	call("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576}");
	start();
	agent_stop(agent);
	start_agent();
	assert_int_equal(fake.spawned, 1);
	assert_true(has_medium(0));
	assert_int_equal(worker()->before, 1);
	call("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576}");
	assert_true(has_medium(1));
	call("disk.remove", "{\"vm\":\"web1\",\"lun\":0}");
	assert_null(unit(0));
	call("disk.remove", "{\"vm\":\"web1\",\"lun\":1}");
	assert_int_equal(written(), 0);
}

static void
what_was_written_by_hand_waits_for_the_start(void **state)
{
	char path[256];
	json_t *doc, *disks;

	(void)state;
	start();
	snprintf(path, sizeof(path), "%s/vms/web1/vm.json", fake.data);
	doc = file_read_json(path, NULL);
	disks = json_object_get(json_object_get(doc, "Devices"), "Disks");
	json_array_append_new(disks, json_pack("{s:i, s:s}", "Lun", 4, "Path", "images/data.img"));
	assert_int_equal(file_replace_json(path, doc, 0640, NULL), 0);
	json_decref(doc);
	assert_string_equal(
	    text(call("disk.set", "{\"vm\":\"web1\",\"lun\":4,\"maximumIops\":9}"), "effect"), "NextStart");
	assert_string_equal(text(call("disk.remove", "{\"vm\":\"web1\",\"lun\":4}"), "effect"), "NextStart");
	assert_int_equal(written(), 0);
}

static void
a_start_waits_for_a_change(void **state)
{
	struct vm *m;

	(void)state;
	m = inventory_find(agent->machines, "web1");
	pthread_mutex_lock(&m->lock);
	m->disks_busy = true;
	pthread_mutex_unlock(&m->lock);
	refused("vm.delete", "{\"vm\":\"web1\",\"_\":{\"confirm\":true}}", FAULT_TOO_BUSY, "being changed");
	refused("vm.set", "{\"vm\":\"web1\",\"name\":\"web2\"}", FAULT_TOO_BUSY, "being changed");
	call("vm.set", "{\"vm\":\"web1\",\"notes\":\"n\"}");
	pthread_mutex_lock(&m->lock);
	m->disks_busy = false;
	pthread_mutex_unlock(&m->lock);
	vm_put(m);
	start();
}

/* --- deleting a machine ------------------------------------------------------------------------------- */

static void
disks_of_a_deleted_machine_stay_unless_asked_for(void **state)
{
	const json_t *result;

	(void)state;
	call("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576}");
	fake_file("vms/web1/notes.txt", "x");
	call("vm.delete", "{\"vm\":\"web1\",\"_\":{\"dryRun\":true}}");
	result = call("vm.delete", "{\"vm\":\"web1\",\"_\":{\"confirm\":true}}");
	assert_string_equal(
	    json_string_value(json_array_get(json_object_get(result, "kept"), 0)), "./disks/disk0.img");
	assert_non_null(strstr(text(result, "folder"), "/vms/web1/disks"));
	assert_true(exists("vms/web1/disks/disk0.img"));
	assert_false(exists("vms/web1/notes.txt"));
	agent_stop(agent);
	start_agent();
	assert_int_equal(json_array_size(json_object_get(call("vm.list", "{}"), "vms")), 0);
	make("other", "11111111-2222-3333-4444-888888888888");
	refused("vm.set", "{\"vm\":\"other\",\"name\":\"web1\"}", FAULT_VM_EXISTS, "there is a folder");
	make("web1", WEB1); /* of the same name: it finds them */
	assert_false(exists("vms/web1/vm.json.deleted"));
	call("disk.add", "{\"vm\":\"web1\",\"path\":\"./disks/disk0.img\"}");
	agent_stop(agent);
	start_agent();
	start();
	stop();
	result = call("vm.delete", "{\"vm\":\"web1\",\"deleteDisks\":true,\"_\":{\"confirm\":true}}");
	assert_int_equal(json_array_size(json_object_get(result, "kept")), 0);
	assert_false(exists("vms/web1"));
	make("web1", WEB1);
	call("vm.delete", "{\"vm\":\"web1\",\"_\":{\"confirm\":true}}"); /* without disks nothing stays */
	assert_false(exists("vms/web1"));
}

static void
controllers_are_a_setting(void **state)
{
	(void)state;
	call("vm.set", "{\"vm\":\"web1\",\"scsiControllers\":3}");
	call("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576,\"controller\":2}");
	refused("vm.set", "{\"vm\":\"web1\",\"scsiControllers\":2}", FAULT_BAD_PARAMS, "no controller 2");
	assert_int_equal(number(vm(), "scsiControllers"), 3);
	start();
	assert_int_equal(worker()->machine.scsi_controllers, 3);
	assert_non_null(fake_unit(worker(), 2, 0));
}

/* --- block devices ------------------------------------------------------------------------------------ */

static void
the_hosts_own_disks_are_known(void **state)
{
	static const char text[] =
	    "22 1 8:2 / /data rw - ext4 /dev/sda2 rw\n23 1 0:21 / /proc rw - proc proc rw\n";
	char dir[128], mounts[160], path[256];
	struct err e = { 0 };

	(void)state;
	snprintf(dir, sizeof(dir), "%s/sys", fake.root);
	mkdir(dir, 0700);
	for (int i = 0; i < 5; i++) {
		static const char *const names[] = { "8:0", "8:1", "8:2", "8:16", "8:17" };
		static const char *const targets[] = { "../../devices/pci/block/sda",
			"../../devices/pci/block/sda/sda1", "../../devices/pci/block/sda/sda2",
			"../../devices/pci/block/sdb", "../../devices/pci/block/sdb/sdb1" };

		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		assert_int_equal(symlink(targets[i], path), 0);
	}
	snprintf(mounts, sizeof(mounts), "%s/mountinfo", fake.root);
	assert_int_equal(file_replace(mounts, text, strlen(text), 0600, NULL), 0);
	assert_int_equal(disk_file_free(mounts, dir, makedev(8, 0), &e), -EBUSY); /* the disk itself */
	assert_non_null(strstr(e.msg, "mounted at /data"));
	assert_int_equal(disk_file_free(mounts, dir, makedev(8, 1), &e), -EBUSY); /* its other slot */
	assert_int_equal(disk_file_free(mounts, dir, makedev(8, 2), &e), -EBUSY);
	assert_int_equal(disk_file_free(mounts, dir, makedev(8, 16), &e), 0);
	assert_int_equal(disk_file_free(mounts, dir, makedev(8, 17), &e), 0);
	assert_int_equal(disk_file_free(mounts, dir, makedev(7, 0), &e), 0);
}

static void
paths_have_one_short_form(void **state)
{
	static const struct {
		const char *given, *tidy;
	} rows[] = { { "x.iso", "images/x.iso" }, { "images/a/x.iso", "images/a/x.iso" },
		{ "./disks/a.img", "./disks/a.img" }, { "/dev/sdb", "/dev/sdb" },
		{ "/dev/disk/by-id/x", "/dev/disk/by-id/x" }, { "/dev/", NULL }, { "./a.img", NULL },
		{ "images/.x", NULL }, { "./disks/a/b", NULL }, { "./disks/", NULL }, { "", NULL },
		{ "../x", NULL } };
	const struct disk_place at = { fake.data, "web1" };
	char path[VM_DISK_PATH_SIZE], whole[160];
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int rc = disk_file_tidy(&at, rows[i].given, path, sizeof(path), &e);

		if (rc != (rows[i].tidy ? 0 : -EINVAL))
			fail_msg("%s: %d", rows[i].given, rc);
		if (rc == 0)
			assert_string_equal(path, rows[i].tidy);
	}
	snprintf(whole, sizeof(whole), "%s/vms/web1/disks/a.img", fake.data);
	assert_int_equal(disk_file_tidy(&at, whole, path, sizeof(path), &e), 0);
	assert_string_equal(path, "./disks/a.img");
	snprintf(whole, sizeof(whole), "%s/vms/web2/disks/a.img", fake.data);
	assert_true(
	    disk_file_tidy(&at, whole, path, sizeof(path), &e) < 0 || strncmp(path, "images/", 7) == 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(a_new_disk_is_sparse_and_waits_for_the_start),
		TEST(disks_come_and_go_while_it_runs),
		TEST(mistakes_are_told_with_the_parameter),
		TEST(a_dry_run_tells_and_changes_nothing),
		TEST(ids_revisions_and_confirmation_are_kept),
		TEST(the_hosts_things_are_for_its_administrators),
		TEST(no_two_machines_write_one_disk),
		TEST(what_is_only_read_is_shared),
		TEST(a_new_disk_is_an_image_unless_something_else_is_said),
		TEST(a_disk_is_made_on_a_parent),
		TEST(an_image_of_a_stranger_is_refused),
		TEST(a_disk_goes_to_its_worker_with_its_parents),
		TEST(a_disk_comes_back_with_its_parents),
		TEST(a_lock_that_is_let_go_of_is_waited_for),
		TEST(a_worker_that_refuses_leaves_all_as_it_was),
		TEST(a_document_that_cannot_be_written_leaves_all_as_it_was),
		TEST(a_worker_that_dies_is_no_reason_to_wait),
		TEST(a_disk_that_is_gone_refuses_the_start),
		TEST(more_than_there_is_room_for_has_to_be_meant),
		TEST(limits_change_now_other_things_later),
		TEST(a_disk_grows_and_never_shrinks),
		TEST(discs_are_put_in_and_taken_out),
		TEST(what_the_guest_ejects_is_written_down),
		TEST(a_full_data_disk_pauses_it_with_the_reason),
		TEST(a_restarted_agent_finds_disks_as_they_are),
		TEST(what_was_written_by_hand_waits_for_the_start),
		TEST(a_start_waits_for_a_change),
		TEST(disks_of_a_deleted_machine_stay_unless_asked_for),
		TEST(controllers_are_a_setting),
		TEST(the_hosts_own_disks_are_known),
		TEST(paths_have_one_short_form),
	};

	signal(SIGPIPE, SIG_IGN);
	alarm(300);
	return cmocka_run_group_tests_name("vm_disks", tests, NULL, NULL);
}
