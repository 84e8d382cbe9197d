/*
 * tests/unit/life_test.c - the states of a machine: every pair of state and event, and actions that fail.
 * The machine is a real one on a fake KVM.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "hypervisor/state/save.h"
#include "tests/unit/fake_worker.h"

static struct fake_worker f;
static struct err e;

static int
setup(void **state)
{
	(void)state;
	memset(&e, 0, sizeof(e));
	fake_worker_init(&f);
	fake_machine(&f.w.machine, 32, 1);
	if (life_create(&f.w, -1, &e) < 0)
		return -1;
	fake_told(&f);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fake_worker_free(&f);
	return 0;
}

enum { NO = -1, SAME = -2 };

/* Where each event leads from each state; NO: refused, SAME: it is so already. */
static const int leads[][LIFE_EVENTS] = {
	/* START PAUSE RESUME RESET POWER_OFF SAVED GUEST_OFF GUEST_RESET FAILED */
	[STATE_NONE] = { NO, NO, NO, NO, NO, NO, NO, NO, NO },
	[STATE_OFF] = { STATE_RUNNING, NO, NO, NO, SAME, NO, NO, NO, NO },
	[STATE_RUNNING] = { SAME, STATE_PAUSED, SAME, STATE_RUNNING, STATE_OFF, NO, STATE_OFF, STATE_RUNNING,
	    STATE_CRITICAL },
	[STATE_PAUSED] = { STATE_RUNNING, SAME, STATE_RUNNING, STATE_RUNNING, STATE_OFF, STATE_SAVED,
	    STATE_OFF, STATE_PAUSED, STATE_CRITICAL },
	[STATE_SAVED] = { NO, NO, NO, NO, STATE_OFF, NO, NO, NO, NO },
	[STATE_CRITICAL] = { NO, NO, NO, STATE_RUNNING, STATE_OFF, NO, NO, NO, NO },
};

static void
put_into(enum machine_state s)
{
	partition_stop(f.w.p);
	if (s == STATE_RUNNING)
		partition_go(f.w.p);
	f.w.state = s;
}

static void
check_pair(enum machine_state from, enum life_event ev)
{
	int to = leads[from][ev], rc;
	bool changed = true;
	char event[100];

	put_into(from);
	memset(&e, 0, sizeof(e));
	rc = life_move(&f.w, ev, "a test", &changed, &e);
	fake_told(&f);
	if (to == NO) {
		assert_int_equal(rc, -EINVAL);
		snprintf(event, sizeof(event), "a machine that is %s cannot be ", state_names[from]);
		assert_int_equal(strncmp(e.msg, event, strlen(event)), 0);
		assert_true(strlen(e.msg) > strlen(event));
		assert_null(strstr(e.msg, "(null)"));
	} else {
		assert_int_equal(rc, 0);
	}
	assert_true(changed == (to >= 0));
	assert_int_equal(f.w.state, to >= 0 ? to : (int)from);
	if (to >= 0) {
		snprintf(event, sizeof(event),
		    "{\"jsonrpc\":\"2.0\",\"method\":\"state\",\"params\":{\"State\":\"%s\",\"Reason\":\"a "
		    "test\"}}",
		    state_names[to]);
		assert_string_equal(f.heard, event);
		assert_string_equal(f.w.reason, "a test");
		/* Processors run in one state only. */
		assert_true(atomic_load(&f.w.p->go) == (to == STATE_RUNNING));
	} else {
		assert_string_equal(f.heard, "");
	}
}

static void
every_event_in_every_state_leads_where_it_should_or_is_refused(void **state)
{
	(void)state;
	for (int s = STATE_NONE; state_names[s]; s++)
		for (int ev = 0; ev < LIFE_EVENTS; ev++)
			check_pair((enum machine_state)s, (enum life_event)ev);
}

static void
only_resets_are_counted(void **state)
{
	static const int adds[LIFE_EVENTS] = { [LIFE_RESET] = 1, [LIFE_GUEST_RESET] = 1 };

	(void)state;
	for (int ev = 0; ev < LIFE_EVENTS; ev++) {
		uint64_t before = f.w.resets;

		put_into(STATE_RUNNING);
		life_move(&f.w, (enum life_event)ev, NULL, NULL, NULL);
		assert_int_equal(f.w.resets - before, adds[ev]);
	}
}

static void
a_start_that_fails_leaves_the_machine_off_with_the_reason(void **state)
{
	static const struct {
		enum machine_state from;
		enum life_event ev;
	} starts[] = { { STATE_OFF, LIFE_START }, { STATE_RUNNING, LIFE_RESET }, { STATE_PAUSED, LIFE_RESET },
		{ STATE_RUNNING, LIFE_GUEST_RESET }, { STATE_CRITICAL, LIFE_RESET } };

	(void)state;
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		bool changed = true;

		put_into(starts[i].from);
		fake_kvm.fails = KVM_SET_SREGS;
		assert_int_equal(life_move(&f.w, starts[i].ev, "a test", &changed, &e), -EIO);
		fake_kvm.fails = 0;
		assert_int_equal(f.w.state, STATE_OFF);
		assert_string_equal(f.w.reason, "processor 0: KVM_SET_SREGS: Input/output error");
		assert_non_null(strstr(fake_told(&f), "\"State\":\"Off\",\"Reason\":\"processor 0"));
		assert_false(changed);
		assert_false(atomic_load(&f.w.p->go));
		assert_int_equal(life_move(&f.w, LIFE_START, NULL, NULL, &e), 0); /* the next try works */
		fake_told(&f);
	}
}

static void
nobody_needs_to_ask_why(void **state)
{
	(void)state;
	fake_kvm.fails = KVM_SET_SREGS;
	assert_int_equal(life_move(&f.w, LIFE_START, NULL, NULL, NULL), -EIO);
	fake_kvm.fails = 0;
	assert_non_null(strstr(f.w.reason, "KVM_SET_SREGS"));
	assert_int_equal(life_move(&f.w, LIFE_PAUSE, NULL, NULL, NULL), -EINVAL);
}

static void
a_worker_has_one_machine(void **state)
{
	(void)state;
	assert_int_equal(life_create(&f.w, -1, &e), -EBUSY);
	assert_false(f.w.quit);
	assert_int_equal(f.w.state, STATE_OFF);
}

/* --- a worker that has no machine yet --------------------------------------------------------------- */

static int
setup_empty(void **state)
{
	(void)state;
	memset(&e, 0, sizeof(e));
	fake_worker_init(&f);
	return 0;
}

static void
a_machine_that_breaks_a_rule_leaves_the_worker_for_a_better_one(void **state)
{
	(void)state;
	fake_machine(&f.w.machine, 32, 3);
	f.w.machine.processor.threads_per_core = 2;
	assert_int_equal(life_create(&f.w, -1, &e), -EINVAL);
	assert_false(f.w.quit);
	machine_close(&f.w.machine);
	fake_machine(&f.w.machine, 32, 2);
	assert_int_equal(life_create(&f.w, -1, &e), 0);
	assert_int_equal(f.w.state, STATE_OFF);
}

static void
a_machine_that_cannot_be_built_ends_the_worker(void **state)
{
	(void)state;
	fake_machine(&f.w.machine, 32, 1);
	fake_kvm.fails = KVM_CREATE_VM;
	assert_int_equal(life_create(&f.w, -1, &e), -EIO);
	assert_string_equal(e.msg, "KVM_CREATE_VM: Input/output error");
	assert_true(f.w.quit);
	assert_int_equal(f.w.state, STATE_NONE);
	assert_null(f.w.p);
	machine_close(&f.w.machine);
}

static void
a_machine_from_saved_state_is_paused_and_knows_its_new_generation(void **state)
{
	int stream = memfd_create("saved", MFD_CLOEXEC);
	uint8_t generation[16];

	(void)state;
	fake_machine(&f.w.machine, 32, 1);
	assert_int_equal(life_create(&f.w, -1, &e), 0);
	assert_int_equal(life_move(&f.w, LIFE_START, NULL, NULL, &e), 0);
	assert_int_equal(life_move(&f.w, LIFE_PAUSE, NULL, NULL, &e), 0);
	assert_int_equal(gmem_write(f.w.p->mem, 0x1000000, "guest", 5), 0);
	assert_int_equal(machine_save(f.w.p, stream, &e), 0);
	fake_worker_free(&f);
	fake_worker_init(&f);
	lseek(stream, 0, SEEK_SET);
	fake_machine(&f.w.machine, 32, 1);
	memset(f.w.machine.generation_id, 0x77, sizeof(generation));
	assert_int_equal(life_create(&f.w, stream, &e), 0);
	assert_int_equal(f.w.state, STATE_PAUSED);
	assert_memory_equal(gmem_span(f.w.p->mem, 0x1000000, 5), "guest", 5);
	assert_int_equal(gmem_read(f.w.p->mem, MAP_SHARED_PAGE, generation, sizeof(generation)), 0);
	assert_memory_equal(generation, f.w.machine.generation_id, sizeof(generation));
	assert_non_null(strstr(fake_told(&f), "\"State\":\"Paused\",\"Reason\":\"restored\""));
	assert_int_equal(life_move(&f.w, LIFE_RESUME, NULL, NULL, &e), 0);
	close(stream);
}

static void
a_stream_that_is_damaged_ends_the_worker(void **state)
{
	int stream = memfd_create("saved", MFD_CLOEXEC);

	(void)state;
	fake_machine(&f.w.machine, 32, 1);
	assert_int_equal(life_create(&f.w, stream, &e), -EINVAL);
	assert_string_equal(e.msg, "saved state: cut short");
	assert_true(f.w.quit);
	machine_close(&f.w.machine);
	close(stream);
}

#define unit(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)
#define empty(f) cmocka_unit_test_setup_teardown(f, setup_empty, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		unit(every_event_in_every_state_leads_where_it_should_or_is_refused),
		unit(only_resets_are_counted),
		unit(a_start_that_fails_leaves_the_machine_off_with_the_reason),
		unit(nobody_needs_to_ask_why),
		unit(a_worker_has_one_machine),
		empty(a_machine_that_breaks_a_rule_leaves_the_worker_for_a_better_one),
		empty(a_machine_that_cannot_be_built_ends_the_worker),
		empty(a_machine_from_saved_state_is_paused_and_knows_its_new_generation),
		empty(a_stream_that_is_damaged_ends_the_worker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
