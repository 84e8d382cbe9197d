/*
 * tests/unit/vm_life_test.c - the life of a machine, with a spawner and workers that are threads of this
 * test: started and stopped, lost and found again, by restarted agents and spawners alike.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/inventory.h"
#include "agent/vm_console.h"
#include "agent/vm_life.h"
#include "tests/unit/fake_vm.h"

#define GUID "11111111-2222-3333-4444-555555555555"

/* --- the ear
 * ------------------------------------------------------------------------------------------------- */

static pthread_mutex_t ear_lock = PTHREAD_MUTEX_INITIALIZER;
static char heard[16384];

static void
hear(struct agent *a, const char *type, json_t *data)
{
	const char *state = json_string_value(json_object_get(data, "state"));
	size_t len;

	(void)a;
	pthread_mutex_lock(&ear_lock);
	len = strlen(heard);
	snprintf(heard + len, sizeof(heard) - len, "%s%s%s ", type, state ? "=" : "", state ? state : "");
	pthread_mutex_unlock(&ear_lock);
	json_decref(data);
}

static bool
was_heard(const char *what)
{
	bool yes;

	pthread_mutex_lock(&ear_lock);
	yes = strstr(heard, what) != NULL;
	pthread_mutex_unlock(&ear_lock);
	return yes;
}

void __wrap_event_publish(struct agent *a, const char *type, json_t *data);

void
__wrap_event_publish(struct agent *a, const char *type, json_t *data)
{
	hear(a, type, data);
}

/* A job that is cancelled after some looks. */
static int looks_left = -1;

void __wrap_job_progress(struct job *j, const char *phase, uint64_t done, uint64_t total, const char *unit);
bool __wrap_job_cancelled(struct job *j);

void
__wrap_job_progress(struct job *j, const char *phase, uint64_t done, uint64_t total, const char *unit)
{
	(void)j;
	assert_string_equal(phase, "shutting down");
	assert_string_equal(unit, "s");
	assert_true(done <= total);
}

bool
__wrap_job_cancelled(struct job *j)
{
	(void)j;
	return looks_left >= 0 && looks_left-- == 0;
}

/* --- the place
 * ----------------------------------------------------------------------------------------------- */

static struct agent agent;
static struct machines *ms;
static struct fault fault;
static bool changed;

static void
open_room(void)
{
	struct err e = { 0 };

	agent.o.data = fake.data;
	agent.o.run = fake.run;
	if (machines_open(&ms, &agent, hear, &e) < 0)
		fail_msg("%s", e.msg);
}

static void
restart_room(void)
{
	machines_close(ms);
	open_room();
}

static struct vm *
make(const char *name, const char *guid)
{
	struct vm_config c;
	struct err e = { 0 };
	struct vm *vm;

	vm_config_defaults(&c);
	snprintf(c.name, sizeof(c.name), "%s", name);
	guid_parse(guid, c.id);
	c.memory.size_mb = 32;
	snprintf(c.direct.kernel, sizeof(c.direct.kernel), "images/vmlinuz");
	snprintf(c.direct.initrd, sizeof(c.direct.initrd), "images/initrd");
	snprintf(c.direct.cmdline, sizeof(c.direct.cmdline), "console=ttyS0");
	if (inventory_create(ms, &c, &vm, &e) < 0)
		fail_msg("%s", e.msg);
	vm_put(vm); /* the inventory has it */
	return vm;
}

static int
setup(void **state)
{
	if (fake_setup() < 0)
		return -1;
	heard[0] = '\0';
	looks_left = -1;
	memset(&fault, 0, sizeof(fault));
	open_room();
	*state = make("web1", GUID);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	machines_close(ms);
	return fake_teardown();
}

static void
start(struct vm *vm)
{
	if (vm_start(ms, vm, &changed, &fault) < 0)
		fail_msg("%s", fault.message);
}

static void
assert_state(struct vm *vm, enum vm_state wanted)
{
	enum vm_state is = VM_STATES;

	for (int i = 0; i < 1000 && is != wanted; i++) {
		pthread_mutex_lock(&vm->lock);
		is = vm->state;
		if (is == VM_OFF && vm->keeper)
			is = VM_STOPPING;
		pthread_mutex_unlock(&vm->lock);
		if (is != wanted)
			usleep(5000);
	}
	if (is != wanted)
		fail_msg("it is %s, not %s", vm_state_names[is], vm_state_names[wanted]);
}

static void
assert_heard(const char *what)
{
	for (int i = 0; i < 1000 && !was_heard(what); i++)
		usleep(5000);
	if (!was_heard(what))
		fail_msg("'%s' is not in: %s", what, heard);
}

static void
happen(unsigned what)
{
	struct fake_worker *w = fake_find(GUID);

	assert_non_null(w);
	atomic_fetch_or(&w->todo, what);
}

static struct vm *
find(const char *name)
{
	struct vm *vm = inventory_find(ms, name);

	assert_non_null(vm);
	vm_put(vm);
	return vm;
}

static const struct vm_patience minute = { .timeout_s = 60 };

/* --- tests
 * ----------------------------------------------------------------------------------------------------- */

static void
a_machine_starts_once(void **state)
{
	struct vm *vm = *state;
	struct fake_worker *w;

	start(vm);
	assert_true(changed);
	assert_state(vm, VM_RUNNING);
	w = fake_find(GUID);
	assert_non_null(w);
	assert_string_equal(w->machine.name, "web1");
	assert_string_equal(w->machine.direct.cmdline, "console=ttyS0");
	assert_int_equal(w->machine.memory.size_mb, 32);
	assert_true(w->machine.direct.initrd_fd >= 0);
	assert_true(w->console >= 0);
	start(vm);
	assert_false(changed);
	assert_int_equal(fake.spawned, 1);
	assert_heard("vm.state=Starting vm.state=Running ");
}

struct starting {
	struct vm *vm;
	pthread_t thread;
	struct fault fault;
	bool changed;
	int rc;
};

static void *
start_it(void *arg)
{
	struct starting *s = arg;

	s->rc = vm_start(ms, s->vm, &s->changed, &s->fault);
	return NULL;
}

static void
one_that_is_never_ready_holds_up_no_other(void **state)
{
	struct starting hung[2] = { { .vm = *state }, { .vm = *state } }; /* the second joins the first */
	uint64_t from;

	snprintf(fake.hangs, sizeof(fake.hangs), "%s", GUID);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&hung[i].thread, NULL, start_it, &hung[i]), 0);
	assert_heard("vm.state=Starting ");
	for (int i = 0; i < 5; i++) {
		char name[8], guid[] = "22222222-2222-3333-4444-555555555550";

		snprintf(name, sizeof(name), "web%d", i + 2);
		guid[GUID_TEXT - 1] = (char)('0' + i);
		from = vm_now_ms();
		start(make(name, guid));
		assert_true(vm_now_ms() - from < 1000);
	}
	assert_state(hung[0].vm, VM_STARTING);
	fake.hangs[0] = '\0';
	for (int i = 0; i < 2; i++) {
		pthread_join(hung[i].thread, NULL);
		assert_int_equal(hung[i].rc, 0);
	}
	assert_true(hung[0].changed != hung[1].changed);
}

static void
a_guest_is_asked_to_shut_down(void **state)
{
	struct vm *vm = *state;

	start(vm);
	assert_int_equal(vm_shut_down(ms, vm, &minute, &changed, &fault), 0);
	assert_true(changed);
	assert_state(vm, VM_OFF);
	assert_string_equal(vm->reason, "turned off by the guest");
	assert_null(fake_find(GUID)); /* its worker has ended, too */
	assert_heard("vm.state=Stopping ");
	assert_int_equal(vm_shut_down(ms, vm, &minute, &changed, &fault), 0);
	assert_false(changed);
	start(vm); /* and again */
	assert_int_equal(fake.spawned, 2);
}

static void
a_guest_that_does_not_obey_goes_on_or_is_turned_off(void **state)
{
	struct vm *vm = *state;

	fake.ignore_button = true;
	struct vm_patience second = { .timeout_s = 1 };

	start(vm);
	assert_true(vm_shut_down(ms, vm, &second, &changed, &fault) < 0);
	assert_int_equal(fault.code, FAULT_VM_STOP_TIMED_OUT);
	assert_state(vm, VM_RUNNING);
	second.force = true;
	assert_int_equal(vm_shut_down(ms, vm, &second, &changed, &fault), 0);
	assert_state(vm, VM_OFF);
	assert_non_null(strstr(vm->reason, "did not shut down within 1 s"));
}

static void
a_cancelled_stop_lets_it_run(void **state)
{
	struct vm *vm = *state;

	fake.ignore_button = true;
	const struct vm_patience patience = { .timeout_s = 60, .job = (struct job *)vm };

	start(vm);
	looks_left = 1;
	assert_true(vm_shut_down(ms, vm, &patience, &changed, &fault) < 0);
	assert_int_equal(fault.code, FAULT_CANCELLED);
	assert_state(vm, VM_RUNNING);
	assert_int_equal(vm_turn_off(ms, vm, &changed, &fault), 0);
	assert_true(changed);
	assert_state(vm, VM_OFF);
	assert_string_equal(vm->reason, "turned off");
}

static void
a_guest_turns_itself_off(void **state)
{
	struct vm *vm = *state;

	start(vm);
	happen(FAKE_GUEST_OFF);
	assert_state(vm, VM_OFF);
	assert_string_equal(vm->reason, "turned off by the guest");
	assert_false(inventory_was_running(ms, vm));
}

static void
a_worker_that_dies_is_reported_with_its_last_words(void **state)
{
	struct vm *vm = *state;

	start(vm);
	happen(FAKE_DIE);
	assert_state(vm, VM_OFF);
	assert_string_equal(vm->reason, "its worker ended by signal 11: processor 0: out of luck");
	assert_heard("vm.workerLost ");
	assert_true(inventory_was_running(ms, vm)); /* nobody wanted it off */
	start(vm);
	assert_state(vm, VM_RUNNING);
}

static void
a_worker_that_only_hangs_up_is_kept(void **state)
{
	struct vm *vm = *state;

	start(vm);
	happen(FAKE_HANG_UP);
	usleep(100000);
	happen(FAKE_PAUSE);
	assert_state(vm, VM_PAUSED);
	assert_int_equal(fake.spawned, 1);
	assert_false(was_heard("vm.workerLost"));
}

static void
panics_resets_and_failures_are_told(void **state)
{
	struct vm *vm = *state;

	start(vm);
	happen(FAKE_PANIC);
	assert_heard("vm.panic ");
	happen(FAKE_RESET);
	assert_heard("vm.reset ");
	assert_state(vm, VM_RUNNING);
	happen(FAKE_FAIL);
	assert_state(vm, VM_CRITICAL);
	assert_string_equal(vm->reason, "processor 0: emulation failed");
	assert_true(vm_start(ms, vm, &changed, &fault) < 0);
	assert_int_equal(fault.code, FAULT_VM_WRONG_STATE);
	assert_int_equal(vm_shut_down(ms, vm, &minute, &changed, &fault), 0); /* no guest to ask */
	assert_state(vm, VM_OFF);
}

/* Taken over by its guest, it may say what it likes: events and log have room for others. */
static void
a_worker_that_changes_its_mind_all_the_time_is_heard_now_and_then(void **state)
{
	struct vm *vm = *state;
	size_t told = 0;

	start(vm);
	happen(FAKE_FLAP);
	sleep(1);
	pthread_mutex_lock(&ear_lock);
	for (const char *s = heard; (s = strstr(s, "vm.state=")); s++)
		told++;
	pthread_mutex_unlock(&ear_lock);
	assert_in_range(told, 4, 50);
	assert_int_equal(vm_turn_off(ms, vm, &changed, &fault), 0);
	assert_state(vm, VM_OFF);
}

static void
a_paused_machine_goes_on(void **state)
{
	struct vm *vm = *state;

	start(vm);
	happen(FAKE_PAUSE);
	assert_state(vm, VM_PAUSED);
	assert_true(vm_shut_down(ms, vm, &minute, &changed, &fault) < 0);
	assert_int_equal(fault.code, FAULT_VM_WRONG_STATE);
	start(vm);
	assert_true(changed);
	assert_state(vm, VM_RUNNING);
	assert_int_equal(fake.spawned, 1);
}

static void
a_start_that_fails_leaves_nothing_behind(void **state)
{
	struct vm *vm = *state;

	fake.refuse_create = true;
	assert_true(vm_start(ms, vm, &changed, &fault) < 0);
	assert_int_equal(fault.code, FAULT_VM_START_FAILED);
	assert_string_equal(fault.message, "guest memory: there is not enough");
	assert_state(vm, VM_OFF);
	assert_string_equal(vm->reason, "guest memory: there is not enough");
	assert_null(fake_find(GUID));
	fake.refuse_create = false;
	fake.unfit = true;
	assert_true(vm_start(ms, vm, &changed, &fault) < 0);
	assert_int_equal(fault.code, FAULT_HOST_UNFIT);
	fake.unfit = false;
	fake.die_at_start = true; /* too late to be an error of the start: it is lost */
	if (vm_start(ms, vm, &changed, &fault) == 0)
		assert_heard("vm.workerLost ");
	assert_state(vm, VM_OFF);
	assert_null(fake_find(GUID));
	fake.die_at_start = false;
	start(vm);
}

static void
what_is_missing_is_said_before_anything_starts(void **state)
{
	struct vm *vm = *state;
	char path[256];

	snprintf(path, sizeof(path), "%s/images/initrd", fake.data);
	unlink(path);
	assert_true(vm_start(ms, vm, &changed, &fault) < 0);
	assert_int_equal(fault.code, FAULT_FILE_NOT_FOUND);
	assert_string_equal(fault.path, "initrd");
	assert_string_equal(fault.message, "images/initrd: No such file or directory");
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_true(vm_may_start(ms, vm, &changed, &fault) < 0);
	assert_int_equal(fault.code, FAULT_FILE_BAD);
	assert_int_equal(fake.spawned, 0);
}

static void
a_machine_too_large_for_the_host_is_refused(void **state)
{
	struct vm *vm = *state;

	vm->config.memory.size_mb = VM_MAX_MB;
	assert_true(vm_start(ms, vm, &changed, &fault) < 0);
	assert_int_equal(fault.code, FAULT_NOT_ENOUGH_MEMORY);
	assert_non_null(strstr(fault.message, "16777216 MiB"));
	assert_state(vm, VM_OFF);
}

static void
without_a_spawner_nothing_starts_and_all_is_said(void **state)
{
	struct vm *vm = *state;

	fake_spawner_stop();
	assert_true(vm_start(ms, vm, &changed, &fault) < 0);
	assert_int_equal(fault.code, FAULT_VM_START_FAILED);
	assert_non_null(strstr(fault.message, "fh-spawn cannot be reached"));
	fake_spawner_start(); /* it is back: found by itself */
	start(vm);
}

static void
a_restarted_agent_finds_its_machines_as_they_are(void **state)
{
	struct vm *vm = *state;

	start(vm);
	make("db1", "99999999-2222-3333-4444-555555555555");
	restart_room();
	vm = find("web1");
	assert_state(vm, VM_RUNNING);
	assert_true(vm_now_ms() - vm->started_ms >= 3600 * 1000); /* its age is the worker's */
	assert_state(find("db1"), VM_OFF);
	assert_int_equal(fake.spawned, 1);
	assert_true(fake_find(GUID)->console >= 0);
	start(vm);
	assert_false(changed);
	happen(FAKE_PAUSE);
	assert_state(vm, VM_PAUSED);
	restart_room();
	vm = find("web1");
	assert_state(vm, VM_PAUSED);
	assert_int_equal(vm_turn_off(ms, vm, &changed, &fault), 0);
	assert_null(fake_find(GUID));
}

static void
what_happened_while_no_agent_was_there_is_told(void **state)
{
	struct vm *vm = *state;

	start(vm);
	machines_close(ms);
	happen(FAKE_DIE);
	while (!fake_find(GUID)->ended)
		usleep(2000);
	open_room();
	vm = find("web1");
	assert_state(vm, VM_OFF);
	assert_non_null(
	    strstr(vm->reason, "by signal 11 while the agent was away: processor 0: out of luck"));
	assert_heard("vm.workerLost ");
	start(vm);
	machines_close(ms);
	happen(FAKE_GUEST_OFF);
	usleep(50000);
	open_room();
	vm = find("web1");
	assert_state(vm, VM_OFF);
	assert_string_equal(vm->reason, "turned off by the guest");
	assert_null(fake_find(GUID));
}

static void
a_worker_without_its_machine_is_ended(void **state)
{
	struct fake_spawn p;
	struct err e;

	(void)state;
	guid_parse(GUID, p.id);
	machines_close(ms);
	fake_spawner_stop(); /* the agent was killed between spawn and create */
	assert_int_equal(fake_do_spawn(NULL, &p, NULL, &e), 0);
	fake_spawner_start();
	open_room();
	assert_state(find("web1"), VM_OFF);
	assert_null(fake_find(GUID));
}

static void
set_auto_start(const char *name, unsigned how)
{
	struct vm *vm = find(name);
	struct vm_config c = vm->config;
	struct err e = { 0 };

	c.auto_start = how;
	assert_int_equal(inventory_set(ms, vm, &c, NULL, NULL, &e), 0);
}

static void
boot(void)
{
	char path[256];

	machines_close(ms);
	snprintf(path, sizeof(path), "%s/machines-started", fake.run);
	unlink(path);
	open_room();
	machines_boot(ms);
	machines_booted(ms);
}

static void
one_that_hangs_does_not_keep_the_host_from_starting_others(void **state)
{
	uint64_t from = vm_now_ms();

	(void)state;
	make("zed", "99999999-2222-3333-4444-555555555555"); /* behind web1 */
	set_auto_start("web1", AUTO_START_ALWAYS);
	set_auto_start("zed", AUTO_START_ALWAYS);
	snprintf(fake.hangs, sizeof(fake.hangs), "%s", GUID);
	boot();
	assert_state(find("zed"), VM_RUNNING);
	assert_true(vm_now_ms() - from < 10000);
	assert_state(find("web1"), VM_STARTING);
	fake.hangs[0] = '\0';
	assert_state(find("web1"), VM_RUNNING); /* its start went on */
}

static void
machines_start_with_the_host_and_not_with_the_agent(void **state)
{
	(void)state;
	make("db1", "99999999-2222-3333-4444-555555555555");
	make("mail1", "88888888-2222-3333-4444-555555555555");
	set_auto_start("web1", AUTO_START_ALWAYS);
	set_auto_start("db1", AUTO_START_IF_RUNNING);
	start(find("mail1"));
	boot();
	assert_state(find("web1"), VM_RUNNING);
	assert_state(find("db1"), VM_OFF);
	assert_int_equal(vm_turn_off(ms, find("web1"), &changed, &fault), 0);
	restart_room();
	machines_boot(ms); /* only the agent was restarted */
	machines_booted(ms);
	assert_state(find("web1"), VM_OFF);
	assert_state(find("mail1"), VM_RUNNING);
	start(find("db1"));
	vm_stop_all(ms, 10); /* the host goes down */
	assert_state(find("db1"), VM_OFF);
	assert_state(find("mail1"), VM_OFF);
	boot();
	assert_state(find("db1"), VM_RUNNING); /* it was running */
	assert_state(find("mail1"), VM_OFF);   /* so was this, but it is not to start by itself */
}

static void
a_host_that_goes_down_does_not_wait_for_ever(void **state)
{
	struct vm *vm = *state;
	uint64_t from;

	fake.ignore_button = true;
	start(vm);
	from = vm_now_ms();
	vm_stop_all(ms, 1);
	assert_state(vm, VM_OFF);
	assert_true(vm_now_ms() - from < 20000);
	assert_true(inventory_was_running(ms, vm));
}

static void
workers_that_hang_hold_nobody_up_when_the_host_goes_down(void **state)
{
	struct vm *vm = *state;
	uint64_t from;

	make("db1", "99999999-2222-3333-4444-555555555555");
	make("db2", "88888888-2222-3333-4444-555555555555");
	make("db3", "77777777-2222-3333-4444-555555555555");
	start(vm);
	start(find("db1"));
	start(find("db2"));
	start(find("db3"));
	fake.button_ms = 4000;
	from = vm_now_ms();
	vm_stop_all(ms, 1);
	assert_true(vm_now_ms() - from < 8000); /* three hang; one after another it would be twelve seconds */
	assert_state(vm, VM_OFF);
	assert_string_equal(vm->reason, "turned off by the guest"); /* which was asked all the same */
	assert_state(find("db1"), VM_OFF);
	assert_state(find("db2"), VM_OFF);
	assert_state(find("db3"), VM_OFF);
	assert_int_equal(vm_start(ms, vm, &changed, &fault), -1); /* nothing starts any more */
	assert_int_equal(fault.code, FAULT_STOPPING);
	assert_string_equal(fault.message, "'web1' cannot be started: the host goes down");
}

static void
a_console_shows_the_boot_and_carries_what_is_typed(void **state)
{
	struct vm *vm = *state;
	struct console *c;
	struct err e = { 0 };
	char text[256] = "";
	size_t len = 0;
	int pair[2];

	start(vm);
	assert_int_equal(vm_turn_off(ms, vm, &changed, &fault), 0);
	start(vm);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	pthread_mutex_lock(&vm->lock);
	c = vm_console(ms, vm, 0);
	pthread_mutex_unlock(&vm->lock);
	assert_int_equal(console_view(c, pair[0], &e), 0);
	assert_int_equal(write(pair[1], "hello\n", 6), 6);
	while (len < strlen("boot of web1\nboot of web1\nhello\n")) {
		ssize_t n = read(pair[1], text + len, sizeof(text) - 1 - len);

		assert_true(n > 0);
		len += (size_t)n;
	}
	assert_string_equal(text, "boot of web1\nboot of web1\nhello\n");
	close(pair[1]);
}

static void
every_state_can_be_left_when_the_worker_ends(void **state)
{
	(void)state;
	for (int s = 0; s < VM_STATES; s++) {
		int to = vm_next_state((enum vm_state)s, VM_EV_ENDED);

		assert_int_equal(to, s == VM_OFF || s == VM_SAVED ? -1 : VM_OFF);
		assert_non_null(vm_state_names[s]);
	}
	assert_null(vm_state_names[VM_STATES]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(a_machine_starts_once),
		TEST(one_that_is_never_ready_holds_up_no_other),
		TEST(a_guest_is_asked_to_shut_down),
		TEST(a_guest_that_does_not_obey_goes_on_or_is_turned_off),
		TEST(a_cancelled_stop_lets_it_run),
		TEST(a_guest_turns_itself_off),
		TEST(a_worker_that_dies_is_reported_with_its_last_words),
		TEST(a_worker_that_only_hangs_up_is_kept),
		TEST(panics_resets_and_failures_are_told),
		TEST(a_worker_that_changes_its_mind_all_the_time_is_heard_now_and_then),
		TEST(a_paused_machine_goes_on),
		TEST(a_start_that_fails_leaves_nothing_behind),
		TEST(what_is_missing_is_said_before_anything_starts),
		TEST(a_machine_too_large_for_the_host_is_refused),
		TEST(without_a_spawner_nothing_starts_and_all_is_said),
		TEST(a_restarted_agent_finds_its_machines_as_they_are),
		TEST(what_happened_while_no_agent_was_there_is_told),
		TEST(a_worker_without_its_machine_is_ended),
		TEST(one_that_hangs_does_not_keep_the_host_from_starting_others),
		TEST(machines_start_with_the_host_and_not_with_the_agent),
		TEST(a_host_that_goes_down_does_not_wait_for_ever),
		TEST(workers_that_hang_hold_nobody_up_when_the_host_goes_down),
		TEST(a_console_shows_the_boot_and_carries_what_is_typed),
		cmocka_unit_test(every_state_can_be_left_when_the_worker_ends),
	};

	signal(SIGPIPE, SIG_IGN);
	alarm(120);
	return cmocka_run_group_tests_name("vm_life", tests, NULL, NULL);
}
