/*
 * tests/unit/disk_live_test.c - children and merges of disks, asked of a whole agent that is a process of its
 * own (this program again): so that it can be killed between any two of its steps. Spawner and workers are
 * threads of this one (fake_vm.h), and live on. What vm.json names is what the worker has, or will have.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <libgen.h>
#include <limits.h>
#include <spawn.h>
#include <sys/wait.h>

#include "agent/agent.h"
#include "agent/audit.h"
#include "agent/dispatch.h"
#include "agent/identity.h"
#include "agent/jobs.h"
#include "lib/file.h"
#include "lib/log.h"
#include "tests/unit/fake_vm.h"

#define WEB1 "11111111-2222-3333-4444-555555555555"

/* --- the agent's process ----------------------------------------------------------------------------------
 */

/* "root METHOD PARAMS": {"result":...} or {"error":...}, of a job in the end. "begin": not waited for. */
static json_t *
served(struct agent *a, char *line)
{
	char *who = strsep(&line, " "), *method = strsep(&line, " ");
	struct identity id;
	json_t *params = json_loads(line ? line : "{}", 0, NULL), *answer, *job;
	const char *name;

	identity_none(&id, CARRIER_LOCAL, "test");
	snprintf(id.user, sizeof(id.user), "root"); /* whom a job finds again when its turn comes */
	id.most = ROLE_ADMINISTRATOR;
	identity_grant(&id, strcmp(who, "viewer") == 0 ? ROLE_VIEWER : ROLE_ADMINISTRATOR,
	    strcmp(who, "scoped") == 0 ? "/vm/" WEB1 : "/");
	answer = dispatch_call(a, NULL, &id, method, params, NULL);
	json_decref(params);
	name = json_string_value(json_object_get(json_object_get(answer, "result"), "job"));
	if (!name || strcmp(who, "begin") == 0)
		return answer;
	job = jobs_get(a->jobs, name, 60000);
	json_decref(answer);
	return job;
}

static int
agent_main(char **argv)
{
	struct agent_options o = { .data = argv[2], .run = argv[3], .etc = argv[4], .disk_tool = argv[5] };
	struct err e = { 0 };
	struct agent *a;
	char *line = NULL;
	size_t size = 0;

	log_open("agent", -1, LOG_ERROR);
	if (agent_start(&a, &o, &e) < 0) {
		fprintf(stderr, "agent: %s\n", e.msg);
		return 1;
	}
	puts("{}");
	fflush(stdout);
	while (getline(&line, &size, stdin) > 0) {
		json_t *answer;

		line[strcspn(line, "\n")] = '\0';
		answer = served(a, line);
		json_dumpf(answer, stdout, JSON_COMPACT);
		json_decref(answer);
		puts("");
		fflush(stdout);
	}
	free(line);
	agent_stop(a);
	return 0;
}

static struct {
	pid_t pid;
	FILE *to, *from;
} agent;
static char etc[96], tool[PATH_MAX], *tool_used;
static json_t *answer; /* of the last call */

/* The next answer; false: the agent has died over it. */
static bool
hear(void)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t n = getline(&line, &size, agent.from);

	json_decref(answer);
	answer = n > 0 ? json_loads(line, 0, NULL) : NULL;
	free(line);
	return answer != NULL;
}

static void
start_agent(void)
{
	char *argv[] = { "agent", "--agent", fake.data, fake.run, etc, tool_used, NULL };
	posix_spawn_file_actions_t act;
	int in[2], out[2];

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	posix_spawn_file_actions_init(&act);
	posix_spawn_file_actions_adddup2(&act, in[0], 0);
	posix_spawn_file_actions_adddup2(&act, out[1], 1);
	assert_int_equal(posix_spawn(&agent.pid, "/proc/self/exe", &act, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&act);
	close(in[0]);
	close(out[1]);
	agent.to = fdopen(in[1], "w");
	agent.from = fdopen(out[0], "r");
	if (!hear())
		fail_msg("the agent does not start");
}

static void
end_agent(void)
{
	fclose(agent.to);
	waitpid(agent.pid, NULL, 0);
	fclose(agent.from);
}

static void
restart_agent(void)
{
	end_agent();
	tool_used = tool;
	start_agent();
}

/* From a worker's thread, or a tool's: returns when it is dead. */
static void
kill_agent(void)
{
	siginfo_t how;

	kill(agent.pid, SIGKILL);
	waitid(P_PID, (id_t)agent.pid, &how, WEXITED | WNOWAIT);
}

/* --- calls ------------------------------------------------------------------------------------------------
 */

static void
say(const char *who, const char *method, const char *params)
{
	fprintf(agent.to, "%s %s %s\n", who, method, params);
	fflush(agent.to);
}

static const char *
text(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s ? s : "";
}

static const json_t *
result(void)
{
	const json_t *r = json_object_get(answer, "result");

	if (!r)
		fail_msg("%s", text(json_object_get(answer, "error"), "message"));
	return r;
}

static const json_t *
call(const char *method, const char *params)
{
	say("root", method, params);
	assert_true(hear());
	return result();
}

static void
is_refused(enum fault_code code, const char *words)
{
	const json_t *error = json_object_get(answer, "error");
	json_int_t is = json_integer_value(json_object_get(error, "code"));

	if (is != code || !strstr(text(error, "message"), words))
		fail_msg("%d: %s", (int)is, text(error, "message"));
}

static void
refused(const char *who, const char *method, const char *params, enum fault_code code, const char *words)
{
	say(who, method, params);
	assert_true(hear());
	is_refused(code, words);
}

/* --- what is so -------------------------------------------------------------------------------------------
 */

static bool
exists(const char *path)
{
	char whole[256];

	snprintf(whole, sizeof(whole), "%s/%s", fake.data, path);
	return access(whole, F_OK) == 0;
}

/* What vm.json has at 0:0, as "c < b < a". */
static const char *
named(void)
{
	static char chain[600];
	const json_t *disk, *parent;
	char path[256];
	json_t *doc;
	size_t i;

	snprintf(path, sizeof(path), "%s/vms/web1/vm.json", fake.data);
	doc = file_read_json(path, NULL);
	disk = json_array_get(json_object_get(json_object_get(doc, "Devices"), "Disks"), 0);
	snprintf(chain, sizeof(chain), "%s", text(disk, "Path"));
	json_array_foreach(json_object_get(disk, "Parents"), i, parent)
	{
		size_t n = strlen(chain);

		snprintf(chain + n, sizeof(chain) - n, " < %s", json_string_value(parent));
	}
	json_decref(doc);
	return chain;
}

static ino_t
inode_of(const char *path, size_t len)
{
	char whole[512];
	struct stat st;

	snprintf(
	    whole, sizeof(whole), "%s/%s%.*s", fake.data, path[0] == '.' ? "vms/web1/" : "", (int)len, path);
	return stat(whole, &st) < 0 ? 0 : st.st_ino;
}

static struct fake_unit *
unit(void)
{
	struct fake_worker *w = fake_find(WEB1);

	assert_non_null(w);
	return fake_unit(w, 0, 0);
}

/* The worker has the same files, and merges nothing; no note is left; a new worker can have them, too. */
static void
all_agree(const char *chain)
{
	const struct unit *is = &unit()->told.unit;
	const char *at = chain;

	assert_string_equal(named(), chain);
	assert_false(exists("vms/web1/change-0-0.json"));
	assert_int_equal(unit()->merge, MERGE_NONE);
	for (size_t i = 0; i <= is->parents; i++) {
		size_t len = strcspn(at, " ");
		struct stat st;

		assert_int_equal(fstat(i ? is->parent[i - 1].file : is->file, &st), 0);
		assert_int_equal(st.st_ino, inode_of(at, len));
		at += len;
		at += *at ? strlen(" < ") : 0;
	}
	assert_string_equal(at, "");
	call("vm.stop", "{\"vm\":\"web1\",\"mode\":\"turnOff\"}");
	call("vm.start", "{\"vm\":\"web1\"}");
	call("vhd.get", "{\"vm\":\"web1\",\"path\":\"./disks/a.vhdx\"}");
	assert_int_equal(unit()->told.unit.parents, is->parents);
}

/* --- setup ------------------------------------------------------------------------------------------------
 */

static void
put_etc(const char *name, const char *content)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", etc, name);
	assert_int_equal(file_replace(path, content, strlen(content), 0600, NULL), 0);
}

/* A machine that runs with disk 0:0, a.vhdx. */
static int
setup(void **state)
{
	char self[PATH_MAX - 32] = "", path[256];

	(void)state;
	log_open("test", -1, LOG_ERROR);
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0 || fake_setup() < 0)
		return -1;
	snprintf(tool, sizeof(tool), "%s/bin/fh-disk", dirname(dirname(dirname(self))));
	tool_used = tool;
	snprintf(etc, sizeof(etc), "%s/etc", fake.root);
	mkdir(etc, 0700);
	put_etc("passwd", "root:x:0:0::/root:/bin/sh\n");
	put_etc("shadow", "root:*:1::::::\n");
	put_etc("group", "root:x:0:\nadministrators:x:10:root\n");
	snprintf(path, sizeof(path), "%s/system", fake.data);
	mkdir(path, 0700);
	fake_file("system/host.json", "{\"Version\":1,\"RemoteManagement\":false}");
	start_agent();
	call("vm.create",
	    "{\"name\":\"web1\",\"id\":\"" WEB1 "\",\"memory\":64,\"kernel\":\"images/vmlinuz\"}");
	call("disk.add", "{\"vm\":\"web1\",\"size\":67108864,\"name\":\"a.vhdx\"}");
	call("vm.start", "{\"vm\":\"web1\"}");
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fake.hook = NULL;
	json_decref(answer);
	answer = NULL;
	end_agent();
	return fake_teardown();
}

#define A "./disks/a.vhdx"
#define B "./disks/b.vhdx"
#define C "./disks/c.vhdx"

static void
branch(const char *name)
{
	char params[120];

	snprintf(params, sizeof(params), "{\"vm\":\"web1\",\"lun\":0,\"name\":\"%s\"}", name);
	call("disk.branch", params);
}

static void
worker_does(unsigned what)
{
	atomic_fetch_or(&fake_find(WEB1)->todo, what);
}

static void
wait_for_merge(void)
{
	for (int i = 0; i < 2000 && unit()->merge != MERGE_MOVING; i++)
		usleep(5000);
	assert_int_equal(unit()->merge, MERGE_MOVING);
}

#define MERGE        "{\"vm\":\"web1\",\"lun\":0}"
#define MERGE_DELETE "{\"vm\":\"web1\",\"lun\":0,\"delete\":true,\"_\":{\"confirm\":true}}"
#define MERGE_2      "{\"vm\":\"web1\",\"lun\":0,\"levels\":2,\"delete\":true,\"_\":{\"confirm\":true}}"

/* --- a child ----------------------------------------------------------------------------------------------
 */

static void
a_running_disk_gets_a_child(void **state)
{
	(void)state;
	branch("b");
	assert_string_equal(text(result(), "path"), B);
	assert_string_equal(text(result(), "effect"), "Now");
	fake.stale = 2; /* the guest's first write gave the parent another identity meanwhile */
	call("disk.branch", "{\"vm\":\"web1\",\"lun\":0,\"path\":\"./disks/c.vhdx\"}");
	all_agree(C " < " B " < " A);
	call("vm.stop", "{\"vm\":\"web1\",\"mode\":\"turnOff\"}");
	branch("d"); /* off, too */
	assert_string_equal(text(result(), "effect"), "NextStart");
	assert_string_equal(named(), "./disks/d.vhdx < " C " < " B " < " A);
	call("vm.start", "{\"vm\":\"web1\"}");
}

static void
a_child_that_is_refused_is_not_there(void **state)
{
	(void)state;
	fake.refuse = "disk.branch";
	refused("root", "disk.branch", "{\"vm\":\"web1\",\"lun\":0,\"name\":\"b\"}", FAULT_VM_WORKER_FAILED,
	    "does not want");
	fake.refuse = NULL;
	fake.stale = 9;
	refused("root", "disk.branch", "{\"vm\":\"web1\",\"lun\":0,\"name\":\"b\"}", FAULT_DISK_IN_USE,
	    "has changed while");
	assert_false(exists("vms/web1/disks/b.vhdx"));
	all_agree(A);
}

static void
mistakes_are_told(void **state)
{
	static const struct {
		const char *who, *method, *params, *words;
		enum fault_code code;
	} rows[] = {
		{ "viewer", "disk.branch", MERGE, "", FAULT_FORBIDDEN },
		{ "viewer", "disk.merge", MERGE, "", FAULT_FORBIDDEN },
		{ "root", "disk.branch", "{\"vm\":\"web1\",\"lun\":7}", "has no disk", FAULT_DISK_NOT_FOUND },
		{ "root", "disk.branch", "{\"vm\":\"web1\",\"lun\":1}", "is raw", FAULT_BAD_PARAMS },
		{ "root", "disk.branch", "{\"vm\":\"web1\",\"lun\":0,\"name\":\"a.vhdx\"}",
		    "is there already", FAULT_DISK_EXISTS },
		{ "root", "disk.branch", "{\"vm\":\"web1\",\"lun\":0,\"path\":\"./disks/a.vhdx\"}",
		    "is there already", FAULT_DISK_EXISTS },
		{ "root", "disk.branch", "{\"vm\":\"web1\",\"lun\":0,\"name\":\"b.vhd\"}",
		    "says something else", FAULT_BAD_PARAMS },
		{ "root", "disk.branch",
		    "{\"vm\":\"web1\",\"lun\":0,\"name\":\"b\",\"path\":\"images/b.vhdx\"}", "or its path",
		    FAULT_BAD_PARAMS },
		{ "root", "disk.branch", "{\"vm\":\"web1\",\"lun\":0,\"path\":\"images/no/b.vhdx\"}",
		    "no folder", FAULT_FOLDER_NOT_FOUND },
		{ "root", "disk.branch", "{\"vm\":\"web1\",\"lun\":0,\"path\":\"/dev/null\"}", "is a device",
		    FAULT_FILE_BAD },
		{ "scoped", "disk.branch", "{\"vm\":\"web1\",\"lun\":0,\"path\":\"images/b.vhdx\"}", "",
		    FAULT_FORBIDDEN },
		{ "root", "disk.merge", MERGE, "no differencing image", FAULT_BAD_PARAMS },
		{ "root", "disk.merge", "{\"vm\":\"web1\",\"lun\":1}", "no differencing image",
		    FAULT_BAD_PARAMS },
		{ "root", "disk.merge", "{\"vm\":\"web1\",\"lun\":0,\"levels\":0}", "levels",
		    FAULT_BAD_PARAMS },
		{ "root", "disk.merge", "{\"vm\":\"web1\",\"lun\":0,\"delete\":true}", "confirmed",
		    FAULT_CONFIRM_NEEDED },
		{ "root", "disk.merge", "{\"vm\":\"web1\",\"lun\":0,\"_\":{\"ifMatch\":1}}", "",
		    FAULT_CONFLICT },
	};

	(void)state;
	call("disk.add", "{\"vm\":\"web1\",\"format\":\"Raw\",\"size\":1048576}");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		refused(rows[i].who, rows[i].method, rows[i].params, rows[i].code, rows[i].words);
	call("disk.branch", "{\"vm\":\"web1\",\"lun\":0,\"name\":\"b\",\"_\":{\"dryRun\":true}}");
	assert_false(exists("vms/web1/disks/b.vhdx"));
	branch("b");
	call("disk.merge", "{\"vm\":\"web1\",\"lun\":0,\"delete\":true,\"_\":{\"dryRun\":true}}");
	assert_string_equal(json_string_value(json_array_get(json_object_get(result(), "would"), 0)),
	    "put what " B " holds into " A ", while web1 runs");
	refused("root", "disk.merge", "{\"vm\":\"web1\",\"lun\":0,\"levels\":2}", FAULT_BAD_PARAMS,
	    "only 1 images below");
	refused("root", "vhd.merge", "{\"vm\":\"web1\",\"path\":\"" B "\"}", FAULT_DISK_IN_USE, "is running");
	all_agree(B " < " A);
}

/* --- a merge ----------------------------------------------------------------------------------------------
 */

static void
a_running_disk_is_merged(void **state)
{
	json_t *row;

	(void)state;
	branch("b");
	say("root", "disk.merge", MERGE_DELETE);
	wait_for_merge();
	worker_does(FAKE_MERGED);
	assert_true(hear());
	assert_string_equal(text(result(), "path"), A);
	assert_string_equal(text(result(), "effect"), "Now");
	assert_false(exists("vms/web1/disks/b.vhdx"));
	all_agree(A);
	branch("b");
	branch("c");
	say("begin", "disk.merge", MERGE_2);
	assert_true(hear());
	wait_for_merge();
	row = json_array_get(json_object_get(call("disk.list", "{\"vm\":\"web1\"}"), "disks"), 0);
	assert_int_equal(json_integer_value(json_object_get(row, "toMerge")), FAKE_MERGE_SIZE);
	refused("root", "disk.branch", "{\"vm\":\"web1\",\"lun\":0}", FAULT_DISK_IN_USE, "is being merged");
	refused("root", "disk.merge", MERGE, FAULT_DISK_IN_USE, "is being merged");
	worker_does(FAKE_MERGED);
	call("job.wait", "{\"job\":\"j3\",\"timeout\":30}");
	assert_false(exists("vms/web1/disks/b.vhdx"));
	all_agree(A);
}

static void
a_merge_that_ends_leaves_the_disk_as_it_was(void **state)
{
	(void)state;
	branch("b");
	say("root", "disk.merge", MERGE_DELETE);
	wait_for_merge();
	worker_does(FAKE_MERGE_FAILS);
	assert_true(hear());
	is_refused(FAULT_VM_WORKER_FAILED, "is what it was: write: Input/output error");
	all_agree(B " < " A);
	say("begin", "disk.merge", MERGE_DELETE);
	assert_true(hear());
	wait_for_merge();
	call("job.cancel", "{\"job\":\"j3\"}"); /* beside those of all_agree */
	refused("root", "job.wait", "{\"job\":\"j3\",\"timeout\":30}", FAULT_CANCELLED, "is what it was");
	all_agree(B " < " A);
	fake.refuse = "disk.merge";
	refused("root", "disk.merge", MERGE_DELETE, FAULT_VM_WORKER_FAILED, "does not want");
	fake.refuse = "disk.merge.complete"; /* after the document has been written */
	say("root", "disk.merge", MERGE_DELETE);
	wait_for_merge();
	worker_does(FAKE_MERGED);
	assert_true(hear());
	is_refused(FAULT_VM_WORKER_FAILED, "does not want");
	fake.refuse = NULL;
	all_agree(B " < " A);
}

static void
a_document_that_cannot_be_written_ends_a_merge(void **state)
{
	char path[256];

	(void)state;
	branch("b");
	say("root", "disk.merge", MERGE_DELETE);
	wait_for_merge();
	snprintf(path, sizeof(path), "%s/vms/web1/.vm.json.new", fake.data);
	assert_int_equal(mkdir(path, 0700), 0);
	worker_does(FAKE_MERGED);
	assert_true(hear());
	is_refused(FAULT_STORAGE, "");
	assert_int_equal(rmdir(path), 0);
	all_agree(B " < " A);
}

static void
a_worker_that_dies_takes_the_merge_with_it(void **state)
{
	(void)state;
	branch("b");
	say("root", "disk.merge", MERGE_DELETE);
	wait_for_merge();
	worker_does(FAKE_DIE);
	assert_true(hear());
	is_refused(FAULT_VM_WORKER_LOST, "its disk is what it was");
	call("vm.start", "{\"vm\":\"web1\"}");
	all_agree(B " < " A);
}

static void
a_disk_of_a_machine_that_is_off_is_merged(void **state)
{
	(void)state;
	branch("b");
	call("vm.stop", "{\"vm\":\"web1\",\"mode\":\"turnOff\"}");
	call("disk.merge", MERGE_DELETE);
	assert_string_equal(text(result(), "path"), A);
	assert_string_equal(text(result(), "effect"), "NextStart");
	assert_false(exists("vms/web1/disks/b.vhdx"));
	call("vm.start", "{\"vm\":\"web1\"}");
	all_agree(A);
}

static void
a_parent_of_others_is_not_merged_into(void **state)
{
	(void)state;
	call("vm.stop", "{\"vm\":\"web1\",\"mode\":\"turnOff\"}");
	call("disk.remove", "{\"vm\":\"web1\",\"lun\":0}");
	call("vhd.convert", "{\"vm\":\"web1\",\"path\":\"" A "\",\"destination\":\"images/base.vhdx\"}");
	call("disk.add", "{\"vm\":\"web1\",\"parent\":\"images/base.vhdx\",\"name\":\"b.vhdx\"}");
	call("vm.create", "{\"name\":\"web2\",\"memory\":64,\"kernel\":\"images/vmlinuz\"}");
	call("disk.add", "{\"vm\":\"web2\",\"parent\":\"images/base.vhdx\",\"name\":\"b.vhdx\"}");
	call("vm.start", "{\"vm\":\"web1\"}");
	refused("root", "disk.merge", MERGE, FAULT_FILE_IN_USE, "is a parent of disk 0:0 of 'web2'");
	refused("scoped", "disk.merge", MERGE, FAULT_FORBIDDEN, "is there for all machines");
}

/* --- the agent is killed ----------------------------------------------------------------------------------
 */

static const char *kill_at; /* a request to the worker: when it comes, */
static bool kill_after;     /* or when it is carried out and not answered yet */
static bool refuse_it;      /* of which nobody hears then */

static bool
kill_there(const char *method, bool done)
{
	if (!kill_at || strcmp(method, kill_at) != 0 || done != kill_after)
		return false;
	kill_at = NULL;
	kill_agent();
	return refuse_it;
}

static void
kill_when(const char *method, bool done, bool refused_then)
{
	kill_at = method;
	kill_after = done;
	refuse_it = refused_then;
	fake.hook = kill_there;
}

static void
worker_dies(void)
{
	worker_does(FAKE_DIE);
	while (!fake_find(WEB1)->ended)
		usleep(1000);
}

static void
dies_over_branch(void)
{
	say("root", "disk.branch", "{\"vm\":\"web1\",\"lun\":0,\"name\":\"b\"}");
	assert_false(hear());
}

/* Its file is there; neither document nor worker know of it. */
static void
killed_when_the_child_is_made(void **state)
{
	char path[256], script[2 * PATH_MAX];

	(void)state;
	snprintf(path, sizeof(path), "%s/tool", fake.root);
	snprintf(script, sizeof(script),
	    "#!/bin/sh\n%s \"$@\"\nrc=$?\n[ $1 != create ] || kill -9 $PPID\nexit $rc\n", tool);
	assert_int_equal(file_replace(path, script, strlen(script), 0700, NULL), 0);
	end_agent();
	tool_used = path;
	start_agent();
	dies_over_branch();
	assert_true(exists("vms/web1/disks/b.vhdx"));
	assert_string_equal(named(), A);
	restart_agent();
	assert_false(exists("vms/web1/disks/b.vhdx"));
	all_agree(A);
}

static void
killed_when_the_worker_is_asked_for_a_child(void **state)
{
	(void)state;
	kill_when("disk.branch", false, true);
	dies_over_branch();
	assert_string_equal(named(), B " < " A);
	restart_agent();
	assert_false(exists("vms/web1/disks/b.vhdx"));
	all_agree(A);
}

static void
killed_when_the_worker_has_the_child(void **state)
{
	(void)state;
	kill_when("disk.branch", true, false);
	dies_over_branch();
	restart_agent();
	all_agree(B " < " A);
}

/* With the worker, as a power cut does: the child fits what it was made on, and shows that. */
static void
killed_with_the_worker_over_a_child(void **state)
{
	(void)state;
	kill_when("disk.branch", false, true);
	dies_over_branch();
	worker_dies();
	restart_agent();
	call("vm.start", "{\"vm\":\"web1\"}");
	all_agree(B " < " A);
}

/* The same, and the parent was changed before the child was on top of it. */
static void
killed_with_the_worker_over_a_child_that_does_not_fit(void **state)
{
	char command[3 * PATH_MAX];

	(void)state;
	kill_when("disk.branch", false, true);
	dies_over_branch();
	worker_dies();
	snprintf(
	    command, sizeof(command), "%s write --pattern 5a %s/vms/web1/disks/a.vhdx 0 4K", tool, fake.data);
	assert_int_equal(system(command), 0);
	restart_agent();
	assert_false(exists("vms/web1/disks/b.vhdx"));
	call("vm.start", "{\"vm\":\"web1\"}");
	all_agree(A);
}

static void
dies_over_merge(bool merged)
{
	say("root", "disk.merge", MERGE_DELETE);
	if (merged) {
		wait_for_merge();
		worker_does(FAKE_MERGED);
	}
	assert_false(hear());
}

static void
killed_when_a_merge_begins(void **state)
{
	(void)state;
	branch("b");
	kill_when("disk.merge", false, false);
	dies_over_merge(false);
	restart_agent();
	all_agree(B " < " A);
	kill_when("disk.merge", true, false);
	dies_over_merge(false);
	assert_int_equal(unit()->merge, MERGE_MOVING);
	restart_agent(); /* it has cancelled what nobody waits for any more */
	assert_true(exists("vms/web1/disks/b.vhdx"));
	all_agree(B " < " A);
}

static void
killed_when_the_document_names_the_parent(void **state)
{
	(void)state;
	branch("b");
	kill_when("disk.merge.complete", false, true);
	dies_over_merge(true);
	assert_string_equal(named(), A);
	assert_int_equal(unit()->merge, MERGE_DONE);
	restart_agent();
	assert_false(exists("vms/web1/disks/b.vhdx"));
	all_agree(A);
}

static void
killed_when_the_merge_is_complete(void **state)
{
	(void)state;
	branch("b");
	kill_when("disk.merge.complete", true, false);
	dies_over_merge(true);
	assert_true(exists("vms/web1/disks/b.vhdx"));
	restart_agent();
	assert_false(exists("vms/web1/disks/b.vhdx"));
	all_agree(A);
}

static void
killed_with_the_worker_over_a_merge(void **state)
{
	(void)state;
	branch("b");
	kill_when("disk.merge.complete", false, true);
	dies_over_merge(true);
	worker_dies();
	restart_agent();
	assert_false(exists("vms/web1/disks/b.vhdx"));
	call("vm.start", "{\"vm\":\"web1\"}");
	all_agree(A);
}

/* The parent failed between the document and the worker's leave: the worker goes on with the images. */
static void
killed_when_a_merge_ends_after_all(void **state)
{
	(void)state;
	branch("b");
	kill_when("disk.merge.complete", false, true);
	dies_over_merge(true);
	worker_does(FAKE_MERGE_FAILS);
	while (unit()->merge != MERGE_NONE)
		usleep(1000);
	assert_string_equal(named(), A);
	restart_agent();
	assert_true(exists("vms/web1/disks/b.vhdx"));
	all_agree(B " < " A);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(a_running_disk_gets_a_child),
		TEST(a_child_that_is_refused_is_not_there),
		TEST(mistakes_are_told),
		TEST(a_running_disk_is_merged),
		TEST(a_merge_that_ends_leaves_the_disk_as_it_was),
		TEST(a_document_that_cannot_be_written_ends_a_merge),
		TEST(a_worker_that_dies_takes_the_merge_with_it),
		TEST(a_disk_of_a_machine_that_is_off_is_merged),
		TEST(a_parent_of_others_is_not_merged_into),
		TEST(killed_when_the_child_is_made),
		TEST(killed_when_the_worker_is_asked_for_a_child),
		TEST(killed_when_the_worker_has_the_child),
		TEST(killed_with_the_worker_over_a_child),
		TEST(killed_with_the_worker_over_a_child_that_does_not_fit),
		TEST(killed_when_a_merge_begins),
		TEST(killed_when_the_document_names_the_parent),
		TEST(killed_when_the_merge_is_complete),
		TEST(killed_with_the_worker_over_a_merge),
		TEST(killed_when_a_merge_ends_after_all),
	};

	signal(SIGPIPE, SIG_IGN);
	alarm(300);
	if (argc > 1 && strcmp(argv[1], "--agent") == 0)
		return agent_main(argv);
	return cmocka_run_group_tests_name("disk_live", tests, NULL, NULL);
}
