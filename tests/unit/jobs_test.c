/*
 * tests/unit/jobs_test.c - long work: its answer, its progress, its end; what becomes of it when somebody
 * cancels it or the agent ends.
 */
#include <stdatomic.h>

#include "agent/events.h"
#include "agent/jobs.h"
#include "tests/unit/fake_agent.h"

struct work_params {
	char vm[65], secret[33];
	uint64_t ms;
};

static struct {
	atomic_uint begun, ended, undone;
	char vm[65], machine[65], undone_vm[65];
	bool undone_secret;
} seen;

static const struct field work_fields[] = {
	{ "vm", FIELD_STRING, FIELD_AT(work_params, vm), .max = 64, .size = 65, .help = "A machine." },
	{ "secret", FIELD_STRING, FIELD_AT(work_params, secret), .max = 32, .size = 33, .secret = true,
	    .help = "Hush." },
	{ "ms", FIELD_UINT, FIELD_AT(work_params, ms), .max = 100000, .help = "How long." },
	{ .type = FIELD_END },
};

static const struct field work_result[] = {
	{ "slept", FIELD_UINT, true, .max = 100000, .help = "How long." },
	{ .type = FIELD_END },
};

static int
work(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct work_params *p = params;

	if (strcmp(p->vm, "none") == 0)
		return fault_set(f, FAULT_VM_NOT_FOUND, "vm", NULL, "no machine is called 'none'");
	if (call_would(c, "sleep %llu ms", (unsigned long long)p->ms))
		return 0;
	seen.begun++;
	strcpy(seen.vm, p->vm);
	strcpy(seen.machine, call_machine(c, p->vm));
	job_progress(c->job, "sleeping", 0, p->ms, "ms");
	if (job_sleep(c->job, (unsigned)p->ms))
		return fault_set(f, FAULT_CANCELLED, NULL, NULL, "woken up");
	if (strcmp(p->vm, "late") == 0)
		return fault_set(f, FAULT_VM_STOP_TIMED_OUT, NULL, NULL, "it went on");
	job_progress(c->job, "done", p->ms, p->ms, "ms");
	seen.ended++;
	json_object_set_new(result, "slept", json_integer((json_int_t)p->ms));
	return 0;
}

static void
undo(struct agent *a, json_t *params)
{
	(void)a;
	seen.undone++;
	seen.undone_secret = json_object_get(params, "secret") != NULL;
	snprintf(
	    seen.undone_vm, sizeof(seen.undone_vm), "%s", json_string_value(json_object_get(params, "vm")));
}

const struct rpc_method fake_methods[] = {
	{ "work.do", "Sleeps.", "/vm/{vm}", ROLE_OPERATOR, METHOD_CHANGES | METHOD_JOB, work_fields,
	    sizeof(struct work_params), NULL, work_result, NULL, "work.do()", work, undo },
	{ 0 },
};

static int
setup(void **state)
{
	memset(&seen, 0, sizeof(seen));
	return fake_setup(state);
}

static void
start(const char *user, const char *params, char id[JOB_ID_SIZE])
{
	json_t *r = fake_done(user, "work.do", params);

	assert_true(json_is_true(json_object_get(r, "changed")));
	strcpy(id, json_string_value(json_object_get(r, "job")));
	json_decref(r);
}

static json_t *
ask(const char *user, const char *method, const char *id)
{
	char params[64];

	snprintf(params, sizeof(params), "{\"job\":\"%.23s\"}", id);
	return fake_done(user, method, params);
}

static void
assert_state(const json_t *job, const char *state)
{
	assert_string_equal(json_string_value(json_object_get(job, "state")), state);
}

static void
a_job_answers_at_once_and_gives_its_result(void **state)
{
	char id[JOB_ID_SIZE];
	json_t *job;

	(void)state;
	start("olga", "{\"vm\":\"web1\",\"ms\":50}", id);
	job = ask("olga", "job.wait", id);
	assert_state(job, "Completed");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(job, "result"), "slept")), 50);
	assert_true(json_is_true(json_object_get(json_object_get(job, "result"), "changed")));
	assert_string_equal(json_string_value(json_object_get(job, "path")), "/vm/" WEB1);
	assert_string_equal(json_string_value(json_object_get(job, "phase")), "done");
	json_decref(job);
	fake_restart(); /* finished is finished */
	job = ask("olga", "job.get", id);
	assert_state(job, "Completed");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(job, "result"), "slept")), 50);
	json_decref(job);
	assert_int_equal(seen.undone, 0);
}

static void
a_job_is_about_the_machine_not_its_name(void **state)
{
	char id[JOB_ID_SIZE];
	json_t *job;

	(void)state;
	start("olga", "{\"vm\":\"web1\"}", id);
	job = ask("olga", "job.wait", id);
	assert_state(job, "Completed");
	json_decref(job);
	assert_string_equal(seen.vm, WEB1);
	assert_string_equal(seen.machine, WEB1);
}

static void
a_job_whose_user_lost_the_right_does_not_begin(void **state)
{
	char first[JOB_ID_SIZE], id[JOB_ID_SIZE];
	json_t *job;

	(void)state;
	start("olga", "{\"vm\":\"web1\",\"ms\":100000}", first);
	for (int i = 1; i < JOBS_RUNNING / 2; i++)
		start("olga", "{\"vm\":\"web1\",\"ms\":100000}", id);
	for (int i = 0; i < 1000 && seen.begun < JOBS_RUNNING / 2; i++)
		usleep(10000);
	assert_int_equal(seen.begun, JOBS_RUNNING / 2);
	start("olga", "{\"vm\":\"web1\"}", id); /* waits for its turn */
	fake_file("etc/group", "root:x:0:\nviewers:x:802:anna,olga\n");
	json_decref(ask("root", "job.cancel", first));
	job = ask("root", "job.wait", id);
	assert_state(job, "Exception");
	assert_string_equal(fake_symbol(job), "FORBIDDEN");
	json_decref(job);
	assert_int_equal(seen.begun, JOBS_RUNNING / 2);
	assert_int_equal(seen.ended, 0);
}

static void
a_mistake_is_answered_before_there_is_a_job(void **state)
{
	json_t *r;

	(void)state;
	fake_refused("root", "work.do", "{\"vm\":\"none\"}", "VM_NOT_FOUND");
	fake_refused("anna", "work.do", "{\"vm\":\"web1\"}", "FORBIDDEN");
	r = fake_done("root", "work.do", "{\"vm\":\"web1\",\"ms\":5,\"_\":{\"dryRun\":true}}");
	assert_null(json_object_get(r, "job"));
	assert_true(fake_changed(r));
	r = fake_done("root", "job.list", NULL);
	assert_int_equal(json_array_size(json_object_get(r, "jobs")), 0);
	json_decref(r);
	assert_int_equal(seen.begun, 0);
}

static void
a_failure_is_the_jobs_and_audited(void **state)
{
	char id[JOB_ID_SIZE];
	json_t *job, *entry;

	(void)state;
	start("root", "{\"vm\":\"late\"}", id);
	job = ask("root", "job.wait", id);
	assert_state(job, "Exception");
	assert_string_equal(fake_symbol(job), "VM_STOP_TIMED_OUT");
	json_decref(job);
	entry = fake_audit();
	assert_string_equal(json_string_value(json_object_get(entry, "result")), "VM_STOP_TIMED_OUT");
	json_decref(entry);
}

static void
a_job_can_be_cancelled_by_its_user_or_an_operator(void **state)
{
	char id[JOB_ID_SIZE];
	json_t *job;

	(void)state;
	start("root", "{\"vm\":\"web1\",\"ms\":100000}", id);
	{
		char params[64];

		snprintf(params, sizeof(params), "{\"job\":\"%.23s\"}", id);
		fake_refused("anna", "job.cancel", params, "FORBIDDEN");
		fake_refused(NULL, "job.cancel", params, "NOT_LOGGED_IN");
	}
	assert_true(fake_changed(ask("paul", "job.cancel", id))); /* an operator of web1 */
	job = ask("root", "job.wait", id);
	assert_state(job, "Terminated");
	assert_string_equal(fake_symbol(job), "CANCELLED");
	json_decref(job);
	assert_false(fake_changed(ask("root", "job.cancel", id)));
	assert_int_equal(seen.ended, 0);
}

static void
a_job_of_what_one_cannot_see_is_not_there(void **state)
{
	char id[JOB_ID_SIZE], params[64];
	json_t *r;

	(void)state;
	start("root", "{\"vm\":\"mail\"}", id);
	json_decref(ask("root", "job.wait", id));
	snprintf(params, sizeof(params), "{\"job\":\"%.23s\"}", id);
	fake_refused("paul", "job.get", params, "JOB_NOT_FOUND");
	fake_refused("paul", "job.wait", params, "JOB_NOT_FOUND");
	fake_refused("root", "job.get", "{\"job\":\"j99\"}", "JOB_NOT_FOUND");
	fake_refused("root", "job.cancel", "{\"job\":\"j99\"}", "JOB_NOT_FOUND");
	r = fake_done("paul", "job.list", NULL);
	assert_int_equal(json_array_size(json_object_get(r, "jobs")), 0);
	json_decref(r);
	json_decref(ask("anna", "job.get", id)); /* a viewer of everything */
}

static void
waiting_ends_with_its_time(void **state)
{
	char id[JOB_ID_SIZE], params[64];
	json_t *job;

	(void)state;
	start("root", "{\"vm\":\"web1\",\"ms\":100000}", id);
	snprintf(params, sizeof(params), "{\"job\":\"%s\",\"timeout\":0}", id);
	job = fake_done("root", "job.wait", params);
	assert_true(json_object_get(job, "finished") == NULL);
	json_decref(job); /* teardown cancels it */
}

/* The agent was killed: the file still says that it runs. */
static void
a_job_that_the_agent_did_not_survive_is_undone_and_says_so(void **state)
{
	json_t *job;

	(void)state;
	agent_stop(fake_agent);
	fake_file("data/system/jobs/j41.json",
	    "{\"Version\":1,\"job\":\"j41\",\"method\":\"work.do\",\"user\":\"root\",\"path\":\"/vm/" WEB1
	    "\",\"state\":\"Running\",\"phase\":\"sleeping\",\"done\":1,\"total\":2,\"unit\":\"ms\","
	    "\"created\":\"2026-11-01T00:00:00Z\",\"started\":\"2026-11-01T00:00:01Z\",\"params\":{\"vm\":"
	    "\"web1\"}}");
	fake_file("data/system/jobs/j42.json",
	    "{\"Version\":1,\"job\":\"j42\",\"method\":\"work.do\",\"user\":\"root\",\"path\":\"/"
	    "\",\"state\":\"New\","
	    "\"created\":\"2026-11-01T00:00:00Z\",\"params\":{\"vm\":\"mail\"}}");
	fake_file("data/system/jobs/j43.json", "{\"job\":");
	fake_file("data/system/jobs/junk", "");
	fake_start();
	assert_int_equal(seen.undone, 1); /* the other one had not begun */
	assert_string_equal(seen.undone_vm, "web1");
	job = ask("root", "job.get", "j41");
	assert_state(job, "Exception");
	assert_string_equal(fake_symbol(job), "RESTARTED");
	json_decref(job);
	fake_restart();
	assert_int_equal(seen.undone, 1); /* once */
	job = ask("root", "job.get", "j42");
	assert_string_equal(fake_symbol(job), "RESTARTED");
	json_decref(job);
}

static void
numbers_go_on_after_a_restart_and_files_hold_no_secret(void **state)
{
	char id[JOB_ID_SIZE], again[JOB_ID_SIZE], command[128];

	(void)state;
	start("root", "{\"vm\":\"web1\",\"ms\":100000,\"secret\":\"hush-hush\"}", id);
	snprintf(command, sizeof(command), "! grep -r hush-hush '%s/data'", fake_dir);
	assert_int_equal(system(command), 0);
	fake_restart(); /* which cancels it */
	start("root", "{\"vm\":\"web1\"}", again);
	assert_true(strtoul(again + 1, NULL, 10) > strtoul(id + 1, NULL, 10));
	json_decref(ask("root", "job.wait", again));
}

static void
only_so_many_finished_ones_are_kept(void **state)
{
	struct agent_options o = fake_agent->o;
	char id[JOB_ID_SIZE];
	struct err e = { 0 };
	json_t *r;

	(void)state;
	agent_stop(fake_agent);
	o.job_keep = 3;
	assert_int_equal(agent_start(&fake_agent, &o, &e), 0);
	for (int i = 0; i < 6; i++) {
		start("root", "{\"vm\":\"web1\"}", id);
		json_decref(ask("root", "job.wait", id));
	}
	/* A job has ended for those who wait a moment before its thread tidies up. */
	for (int i = 0; i < 1000; i++) {
		r = fake_done("root", "job.list", NULL);
		if (json_array_size(json_object_get(r, "jobs")) <= 3)
			break;
		json_decref(r);
		usleep(10000);
	}
	assert_int_equal(json_array_size(json_object_get(r, "jobs")), 3);
	assert_string_equal(
	    json_string_value(json_object_get(json_array_get(json_object_get(r, "jobs"), 0), "job")), id);
	json_decref(r);
}

static void
more_jobs_than_threads_wait_their_turn(void **state)
{
	char id[JOBS_RUNNING + 8][JOB_ID_SIZE];

	(void)state;
	for (int i = 0; i < JOBS_RUNNING + 8; i++)
		start("root", "{\"vm\":\"web1\",\"ms\":20}", id[i]);
	for (int i = 0; i < JOBS_RUNNING + 8; i++) {
		json_t *job = ask("root", "job.wait", id[i]);

		assert_state(job, "Completed");
		json_decref(job);
	}
}

static void
there_is_an_end_to_how_many_may_wait(void **state)
{
	char id[JOB_ID_SIZE];

	(void)state;
	for (int i = 0; i < JOBS_OF_USER; i++)
		start("root", "{\"vm\":\"web1\",\"ms\":100000}", id);
	fake_refused("root", "work.do", "{\"vm\":\"web1\"}", "TOO_BUSY");
	for (int i = JOBS_OF_USER; i < JOBS_MAX; i++)
		start("olga", "{\"vm\":\"web1\",\"ms\":100000}", id);
	fake_refused("olga", "work.do", "{\"vm\":\"web1\"}", "TOO_BUSY");
}

static void
nobody_makes_all_others_wait(void **state)
{
	char id[JOB_ID_SIZE];
	json_t *job;

	(void)state;
	for (int i = 0; i < JOBS_RUNNING + 8; i++)
		start("paul", "{\"vm\":\"web1\",\"ms\":100000}", id);
	start("root", "{\"vm\":\"mail\",\"ms\":1}", id);
	job = jobs_get(fake_agent->jobs, id, 3000);
	assert_state(job, "Completed");
	json_decref(job);
}

static void
its_life_is_told_as_events(void **state)
{
	static const char *const want[] = { "job.started", "job.progress", "job.progress", "job.ended" };
	char id[JOB_ID_SIZE];
	struct fake_link l;
	struct client *c = fake_client(&l, &fake_ops, "anna", NULL);
	json_t *doc;

	(void)state;
	fake_say(c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"event.subscribe\",\"params\":{\"types\":["
		    "\"job.\"]}}");
	json_decref(fake_hear(&l, NULL));
	start("root", "{\"vm\":\"web1\",\"ms\":1}", id);
	for (size_t i = 0; i < 4; i++) {
		doc = fake_hear(&l, NULL);
		assert_string_equal(
		    json_string_value(json_object_get(json_object_get(doc, "params"), "type")), want[i]);
		json_decref(doc);
	}
	fake_gone(c, &l);
}

#define T(x) cmocka_unit_test_setup_teardown(x, setup, fake_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_job_answers_at_once_and_gives_its_result),
		T(a_job_whose_user_lost_the_right_does_not_begin),
		T(a_job_is_about_the_machine_not_its_name),
		T(a_mistake_is_answered_before_there_is_a_job),
		T(a_failure_is_the_jobs_and_audited),
		T(a_job_can_be_cancelled_by_its_user_or_an_operator),
		T(a_job_of_what_one_cannot_see_is_not_there),
		T(waiting_ends_with_its_time),
		T(a_job_that_the_agent_did_not_survive_is_undone_and_says_so),
		T(numbers_go_on_after_a_restart_and_files_hold_no_secret),
		T(only_so_many_finished_ones_are_kept),
		T(more_jobs_than_threads_wait_their_turn),
		T(there_is_an_end_to_how_many_may_wait),
		T(nobody_makes_all_others_wait),
		T(its_life_is_told_as_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
