/*
 * tests/unit/spawn_test.c - fh-spawn: workers are started, watched, ended and found again, and the one who
 * asks is believed nothing. The worker is this program itself, started again; the control group a plain
 * folder, where it notes its process as the kernel would.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "agent/spawn/spawn.h"

#define RUNS   "aaaaaaaa-0000-0000-0000-000000000001"
#define UNFIT  "bbbbbbbb-0000-0000-0000-000000000002" /* says that the host lacks something */
#define DIES   "cccccccc-0000-0000-0000-000000000003" /* ends by a signal when told */
#define SILENT "dddddddd-0000-0000-0000-000000000004" /* fails without a word */
#define HANGS  "eeeeeeee-0000-0000-0000-000000000005" /* is never ready */

/* --- the worker ------------------------------------------------------------------------------------- */

static void
note_process(const char *group)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	f = fopen(path, "w");
	if (!f)
		_exit(90);
	fprintf(f, "%d\n", (int)getpid());
	fclose(f);
}

static void
worker_runs(int listener, const char *group, int ready)
{
	char c = 0;
	int fd;

	note_process(group);
	dprintf(2, "<6>fh-worker: up\n");
	if (write(ready, "", 1) != 1)
		_exit(91);
	fd = accept(listener, NULL, NULL);
	if (fd < 0 || read(fd, &c, 1) != 1)
		_exit(92);
	fcntl(2, F_SETFL, 0); /* one that means harm: reading its words must not hold the spawner up */
	dprintf(2, "<3>fh-worker: told to end\nwith %d\n", c);
	if (c == 'k')
		raise(SIGKILL);
	_exit(c);
}

static int
worker_main(char **argv) /* --socket PATH --uid N --gid N --cgroup DIR */
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const char *name = strrchr(argv[2], '/') + 1;
	int listener, ready[2];
	char c;

	if (name[0] == 'b') {
		dprintf(2, "<3>fh-worker: this host's processor needs more than it has\n");
		return 3;
	}
	if (name[0] == 'd')
		return 1;
	if (name[0] == 'e')
		pause();
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", argv[2]);
	listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	if (bind(listener, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(listener, 4) < 0 ||
	    pipe(ready) < 0)
		return 93;
	if (fork() == 0)
		worker_runs(listener, argv[8], ready[1]);
	return read(ready[0], &c, 1) == 1 ? 0 : 94;
}

static bool exists(const char *guid, const char *suffix);

/* --- the place ---------------------------------------------------------------------------------------- */

static char root[64], run[80], cgroup[96], self[PATH_MAX];

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static int
setup(void **state)
{
	static struct spawner s;
	struct err e = { 0 };

	snprintf(root, sizeof(root), "/tmp/spawn_test.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	snprintf(run, sizeof(run), "%s/run", root);
	snprintf(cgroup, sizeof(cgroup), "%s/cgroup", root);
	s = (struct spawner){ .run = run, .worker = self, .cgroup = cgroup };
	*state = &s;
	return cgroup_prepare(cgroup, &e) < 0 || children_find(&s, &e) < 0 ? -1 : 0;
}

static void
end(struct spawner *s, struct child *c)
{
	for (int i = 0; i < 500 && c->state != CHILD_ENDED; i++) {
		children_end(s, c);
		spawn_step(s, 1);
	}
	assert_int_equal(c->state, CHILD_ENDED);
}

static int
teardown(void **state)
{
	struct spawner *s = *state;

	for (size_t i = 0; i < s->children; i++)
		end(s, s->child[i]);
	children_free(s);
	control_free(s->control);
	return nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static struct child *
begin(struct spawner *s, const char *guid)
{
	uint8_t id[GUID_BYTES];
	struct err e = { 0 };
	struct child *c = NULL;

	assert_true(guid_parse(guid, id));
	if (children_start(s, id, 512, &c, &e) < 0)
		fail_msg("%s", e.msg);
	assert_int_equal(c->state, CHILD_STARTING);
	return c;
}

/* What comes of it. */
static void
settle(struct spawner *s, struct child *c)
{
	for (int i = 0; i < 1000 && (c->state == CHILD_STARTING || c->state == CHILD_LEAVING); i++)
		spawn_step(s, 10);
	assert_true(c->state == CHILD_RUNS || c->state == CHILD_ENDED);
}

static struct child *
start(struct spawner *s, const char *guid)
{
	struct child *c = begin(s, guid);

	settle(s, c);
	if (c->state != CHILD_RUNS)
		fail_msg("%s", c->why.msg);
	return c;
}

static void
assert_fails(struct spawner *s, const char *guid, int code, const char *why)
{
	struct child *c = begin(s, guid);

	settle(s, c);
	assert_int_equal(c->state, CHILD_ENDED);
	assert_int_equal(c->why.code, code);
	assert_string_equal(c->why.msg, why);
	assert_false(exists(guid, ".log"));
	assert_false(exists(guid, ".sock"));
	children_forget(s, c);
}

/* Sends the worker one byte: with which status it is to end. */
static void
tell(const char *guid, char how)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/workers/%s.sock", run, guid);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(write(fd, &how, 1), 1);
	close(fd);
}

static bool
exists(const char *guid, const char *suffix)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/workers/%s%s", run, guid, suffix);
	return access(path, F_OK) == 0;
}

static void
check_file(const char *guid, const char *name, const char *wanted)
{
	char path[PATH_MAX], text[64] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/%s/%s", cgroup, guid, name);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	assert_true(read(fd, text, sizeof(text) - 1) >= 0);
	close(fd);
	assert_string_equal(text, wanted);
}

/* --- tests --------------------------------------------------------------------------------------------- */

static void
a_worker_gets_its_own_user_group_and_limits(void **state)
{
	struct spawner *s = *state;
	struct child *c = start(s, RUNS);

	assert_true(c->pid > 0);
	assert_true(c->uid >= SPAWN_FIRST_UID && c->uid < SPAWN_FIRST_UID + SPAWN_UIDS);
	check_file(RUNS, "memory.max", "616M"); /* 512 + 512/64 + 96 */
	check_file(RUNS, "pids.max", "256");
	assert_true(exists(RUNS, ".sock"));
}

/* As a request of the agent's. */
static int
ask(struct spawner *s, const char *method, const char *text)
{
	const struct method *m = spawn_methods;
	struct err e = { 0 };
	json_t *doc = schema_parse(text, strlen(text), &e);
	uint64_t params[64] = { 0 }, result[4] = { 0 };
	int rc;

	while (m->name && strcmp(m->name, method) != 0)
		m++;
	assert_non_null(m->name);
	assert_true(m->params_size <= sizeof(params) && m->result_size <= sizeof(result));
	rc = schema_read(m->params, doc, NULL, params, &e);
	json_decref(doc);
	return rc < 0 ? rc : m->call(s, params, result, &e);
}

static void
a_limit_is_raised_while_the_worker_runs(void **state)
{
	struct spawner *s = *state;

	start(s, RUNS);
	assert_int_equal(ask(s, "limit", "{\"Id\":\"" RUNS "\",\"MemoryInMB\":1024}"), 0);
	check_file(RUNS, "memory.max", "1136M");
	assert_int_equal(ask(s, "limit", "{\"Id\":\"" RUNS "\",\"MemoryInMB\":0}"), -EINVAL);
	assert_int_equal(ask(s, "limit", "{\"Id\":\"" DIES "\",\"MemoryInMB\":1024}"), -ENOENT);
	assert_int_equal(ask(s, "limit", "{\"Id\":\"" RUNS "\",\"MemoryInMB\":600}"), 0);
	check_file(RUNS, "memory.max", "1136M"); /* less could kill it */
}

static void
an_end_is_told_with_status_and_last_words(void **state)
{
	struct spawner *s = *state;
	struct child *c = start(s, RUNS);
	char words[SPAWN_WORDS + 1];

	assert_int_equal(spawn_listen(s, NULL), 0);
	tell(RUNS, 7);
	for (int i = 0; i < 100 && c->pidfd >= 0; i++)
		spawn_step(s, 100);
	assert_int_equal(c->pidfd, -1);
	assert_int_equal(c->ending, ENDING_EXIT);
	assert_int_equal(c->status, 7);
	children_words(c, words);
	assert_string_equal(words, "up; told to end; with 7");
	assert_false(exists(RUNS, ".sock"));
	assert_false(exists(RUNS, ".log"));
}

static void
a_signal_is_told_from_an_exit(void **state)
{
	struct spawner *s = *state;
	struct child *c = start(s, DIES);

	assert_int_equal(spawn_listen(s, NULL), 0);
	tell(DIES, 'k');
	for (int i = 0; i < 100 && c->pidfd >= 0; i++)
		spawn_step(s, 100);
	assert_int_equal(c->ending, ENDING_SIGNAL);
	assert_int_equal(c->status, SIGKILL);
}

static void
what_the_host_lacks_is_said_in_the_workers_words(void **state)
{
	struct spawner *s = *state;
	uint8_t id[GUID_BYTES];
	struct err e = { 0 };
	struct child *c;

	assert_fails(s, UNFIT, ENODEV, "this host's processor needs more than it has");
	assert_fails(s, SILENT, EIO, "the worker did not start, and said nothing");
	assert_int_equal(s->children, 0);
	guid_parse(SILENT, id);
	s->worker = "/nonexistent";
	assert_int_equal(children_start(s, id, 512, &c, &e), -ENOENT);
	assert_false(exists(SILENT, ".log"));
}

static void
a_machine_has_one_worker(void **state)
{
	struct spawner *s = *state;
	struct child *c = start(s, RUNS), *second;
	struct err e = { 0 };

	assert_int_equal(children_start(s, c->id, 512, &second, &e), -EEXIST);
	end(s, c);
	assert_int_equal(c->ending, ENDING_SIGNAL);
	end(s, c);      /* already so */
	start(s, RUNS); /* forgets the one that ended */
	assert_int_equal(s->children, 1);
}

static int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static void
one_that_hangs_holds_up_no_other(void **state)
{
	struct spawner *s = *state;
	struct child *hangs = begin(s, HANGS), *other;
	int64_t from = now_ms();
	char guid[] = RUNS;

	for (int i = 0; i < 5; i++) {
		guid[GUID_TEXT - 1] = (char)('1' + i);
		start(s, guid);
	}
	assert_true(now_ms() - from < 5000);
	assert_int_equal(hangs->state, CHILD_STARTING);
	other = children_get(s, s->child[1]->id);
	end(s, other);
	hangs->until_ms = now_ms(); /* a minute later */
	settle(s, hangs);
	assert_int_equal(hangs->state, CHILD_ENDED);
	assert_int_equal(hangs->why.code, ETIMEDOUT);
	assert_string_equal(hangs->why.msg, "the worker was not ready within 60 s");
}

static void
one_that_hangs_can_be_ended(void **state)
{
	struct spawner *s = *state;
	struct child *c = begin(s, HANGS);

	end(s, c);
	assert_int_equal(c->why.code, ECANCELED);
	assert_true(kill(c->first, 0) < 0 && errno == ESRCH); /* reaped */
	c = begin(s, HANGS);
	end(s, c);
}

static void
there_is_an_end_to_starts(void **state)
{
	struct spawner *s = *state;
	uint8_t id[GUID_BYTES];
	char guid[] = HANGS;
	struct err e = { 0 };
	struct child *c;

	for (int i = 0; i < SPAWN_STARTS; i++) {
		snprintf(guid + GUID_TEXT - 2, 3, "%02d", i);
		begin(s, guid);
	}
	guid_parse(RUNS, id);
	assert_int_equal(children_start(s, id, 512, &c, &e), -EAGAIN);
	end(s, s->child[0]);
	start(s, RUNS);
}

/* The kernel does the killing; what is asked of it can be seen in a folder. */
static void
what_is_left_in_the_group_is_killed_with_the_worker(void **state)
{
	struct spawner *s = *state;
	struct child *c = start(s, RUNS);
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/" RUNS "/cgroup.kill", cgroup);
	assert_int_equal(access(path, F_OK), -1);
	tell(RUNS, 0); /* it ends by itself */
	for (int i = 0; i < 100 && c->state != CHILD_ENDED; i++)
		spawn_step(s, 100);
	assert_int_equal(c->ending, ENDING_EXIT);
	check_file(RUNS, "cgroup.kill", "1");
	assert_int_equal(unlink(path), 0);
	start(s, RUNS); /* the folder is still there: what is in it is ended before it is used again */
	check_file(RUNS, "cgroup.kill", "1");
}

static void
a_group_that_cannot_be_emptied_is_not_used_again(void **state)
{
	struct spawner *s = *state;
	char path[PATH_MAX];
	uint8_t id[GUID_BYTES];
	struct err e = { 0 };
	struct child *c;
	FILE *f;

	snprintf(path, sizeof(path), "%s/" RUNS, cgroup);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/" RUNS "/cgroup.procs", cgroup);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "%d\n", (int)getpid());
	fclose(f);
	guid_parse(RUNS, id);
	assert_int_equal(children_start(s, id, 512, &c, &e), -EBUSY);
	assert_int_equal(s->children, 0);
	assert_int_equal(unlink(path), 0);
	start(s, RUNS);
}

static void
a_restarted_spawner_finds_its_workers_and_sweeps_the_rest(void **state)
{
	struct spawner *s = *state;
	struct child *c = start(s, RUNS);
	pid_t pid = c->pid;
	uid_t uid = c->uid;
	struct err e = { 0 };
	char path[PATH_MAX], words[SPAWN_WORDS + 1];
	int log;

	snprintf(path, sizeof(path), "%s/workers/" DIES ".sock", run);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	children_free(s);
	snprintf(path, sizeof(path), "%s/workers/" RUNS ".log", run);
	log = open(path, O_WRONLY | O_NONBLOCK);
	assert_true(dprintf(log, "<6>fh-worker: alone\n") > 0);
	close(log);
	assert_int_equal(children_find(s, &e), 0);
	assert_int_equal(s->children, 1);
	c = s->child[0];
	assert_string_equal(c->name, RUNS);
	assert_int_equal(c->pid, pid);
	if (geteuid() == 0)
		assert_int_equal(c->uid, uid);
	assert_false(exists(DIES, ".sock"));
	assert_int_equal(spawn_listen(s, &e), 0);
	tell(RUNS, 0);
	for (int i = 0; i < 100 && c->pidfd >= 0; i++)
		spawn_step(s, 100);
	assert_int_equal(c->pidfd, -1);
	children_words(c, words); /* what it said while nobody was there is not lost */
	assert_string_equal(words, "alone; told to end; with 0");
}

static void
users_are_never_shared(void **state)
{
	struct spawner *s = *state;
	struct child one = { .state = CHILD_RUNS }, two = { .state = CHILD_RUNS };
	uint8_t id[GUID_BYTES];
	uid_t uid;

	guid_parse(RUNS, id);
	uid = children_uid(s, id);
	assert_int_equal(children_uid(s, id), uid); /* the same every time */
	one.uid = uid;
	s->child[0] = &one;
	s->child[1] = &two;
	s->children = 2;
	two.uid = children_uid(s, id);
	assert_int_not_equal(two.uid, uid);
	assert_int_not_equal(children_uid(s, id), two.uid);
	one.state = CHILD_ENDED; /* it has ended: free again */
	assert_int_equal(children_uid(s, id), uid);
	s->children = 0;
}

static void
last_words_are_the_end_of_what_was_said(void **state)
{
	struct child c = { .log_fd = -1 };
	char words[SPAWN_WORDS + 1];
	int p[2];

	(void)state;
	assert_int_equal(pipe2(p, O_NONBLOCK), 0);
	c.log_fd = p[0];
	snprintf(c.name, sizeof(c.name), "%s", RUNS);
	for (int i = 0; i < 200; i++) {
		assert_true(dprintf(p[1], "<6>fh-worker: line %d\033[2J\n", i) > 0);
		children_log(&c);
	}
	children_words(&c, words);
	assert_int_equal(strncmp(words, "line ", 5), 0);
	assert_non_null(strstr(words, "; line 199?[2J"));
	assert_null(strstr(words, "line 1?"));
	assert_true(strlen(words) <= SPAWN_WORDS);
	close(p[0]);
	close(p[1]);
}

/* --- over the socket ----------------------------------------------------------------------------------- */

static volatile bool stop;

static void *
serve(void *arg)
{
	while (!stop)
		spawn_step(arg, 20);
	return NULL;
}

static void
the_agent_is_believed_nothing(void **state)
{
	static const struct {
		const char *method, *params;
		int code;
	} rows[] = {
		{ "spawn", "{}", EINVAL },
		{ "spawn", "{\"Id\":\"../../etc\",\"MemoryInMB\":64}", EINVAL },
		{ "spawn", "{\"Id\":\"" RUNS "\",\"MemoryInMB\":0}", EINVAL },
		{ "spawn", "{\"Id\":\"" RUNS "\",\"MemoryInMB\":99999999}", EINVAL },
		{ "spawn", "{\"Id\":\"" RUNS "\",\"MemoryInMB\":64,\"Uid\":0}", EINVAL },
		{ "spawn", "{\"Id\":\"" RUNS "\",\"MemoryInMB\":64,\"Worker\":\"/bin/sh\"}", EINVAL },
		{ "ready", "{\"Id\":\"" RUNS "\"}", ENOENT },
		{ "end", "{\"Id\":\"" RUNS "\"}", ENOENT },
		{ "exec", "{}", ENOSYS },
	};
	struct spawner *s = *state;
	struct control_client *c;
	struct err e = { 0 };
	char path[PATH_MAX];
	json_t *result, *ended;
	pthread_t thread;

	stop = false;
	assert_int_equal(spawn_listen(s, &e), 0);
	assert_int_equal(pthread_create(&thread, NULL, serve, s), 0);
	snprintf(path, sizeof(path), "%s/spawn.sock", run);
	assert_int_equal(control_connect(&c, path, &e), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(control_call(c, rows[i].method, json_loads(rows[i].params, 0, NULL), NULL, 0,
				     5000, NULL, &e),
		    -rows[i].code);
	assert_int_equal(control_call(c, "spawn", json_pack("{s:s, s:i}", "Id", RUNS, "MemoryInMB", 64), NULL,
			     0, 30000, NULL, &e),
	    0);
	assert_int_equal(control_call(c, "list", NULL, NULL, 0, 5000, &result, &e), 0);
	assert_int_equal(json_array_size(json_object_get(result, "Workers")), 1);
	json_decref(result);
	for (int i = 0; i < 500; i++) {
		bool ready;

		assert_int_equal(
		    control_call(c, "ready", json_pack("{s:s}", "Id", RUNS), NULL, 0, 5000, &result, &e), 0);
		ready = json_is_true(json_object_get(result, "Ready"));
		json_decref(result);
		if (ready)
			break;
		usleep(10000);
	}
	tell(RUNS, 5);
	ended = control_next_event(c, 10000, &e);
	assert_non_null(ended);
	assert_string_equal(json_string_value(json_object_get(ended, "method")), "ended");
	json_decref(ended);
	assert_int_equal(
	    control_call(c, "end", json_pack("{s:s}", "Id", RUNS), NULL, 0, 5000, &result, &e), 0);
	assert_true(json_is_false(json_object_get(result, "changed")));
	assert_string_equal(json_string_value(json_object_get(result, "Ending")), "Exit");
	assert_int_equal(json_integer_value(json_object_get(result, "Status")), 5);
	assert_string_equal(
	    json_string_value(json_object_get(result, "LastWords")), "up; told to end; with 5");
	json_decref(result);
	control_close(c);
	stop = true;
	pthread_join(thread, NULL);
	assert_int_equal(s->children, 0); /* asked about: forgotten */
}

static void
every_request_is_described(void **state)
{
	struct err e = { 0 };

	(void)state;
	for (const struct method *m = spawn_methods; m->name; m++) {
		assert_true(schema_table_ok(m->params, &e));
		assert_true(schema_table_ok(m->result, &e));
		assert_true(strlen(m->help) > 10);
	}
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(a_worker_gets_its_own_user_group_and_limits),
		TEST(a_limit_is_raised_while_the_worker_runs),
		TEST(an_end_is_told_with_status_and_last_words),
		TEST(a_signal_is_told_from_an_exit),
		TEST(what_the_host_lacks_is_said_in_the_workers_words),
		TEST(a_machine_has_one_worker),
		TEST(one_that_hangs_holds_up_no_other),
		TEST(one_that_hangs_can_be_ended),
		TEST(there_is_an_end_to_starts),
		TEST(what_is_left_in_the_group_is_killed_with_the_worker),
		TEST(a_group_that_cannot_be_emptied_is_not_used_again),
		TEST(a_restarted_spawner_finds_its_workers_and_sweeps_the_rest),
		TEST(users_are_never_shared),
		cmocka_unit_test(last_words_are_the_end_of_what_was_said),
		TEST(the_agent_is_believed_nothing),
		cmocka_unit_test(every_request_is_described),
	};

	if (argc == 9 && strcmp(argv[1], "--socket") == 0)
		return worker_main(argv);
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return 1;
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	return cmocka_run_group_tests_name("spawn", tests, NULL, NULL);
}
