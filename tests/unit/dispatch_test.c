/*
 * tests/unit/dispatch_test.c - the rules of the interface: who may, with what, once or again, for real or
 * not, and what the audit keeps of it.
 */
#include "tests/unit/fake_agent.h"

struct thing_params {
	char vm[65], password[33];
	uint64_t count;
};

static struct {
	unsigned calls;
	uint64_t count, revision;
	char vm[65];
} seen;

static void
defaults(void *params)
{
	struct thing_params *p = params;

	p->count = 7;
}

static const struct field thing_fields[] = {
	{ "vm", FIELD_STRING, FIELD_AT(thing_params, vm), .max = 64, .size = 65, .help = "A machine." },
	{ "password", FIELD_STRING, FIELD_AT(thing_params, password), .max = 32, .size = 33, .secret = true,
	    .help = "A secret." },
	{ "count", FIELD_UINT, FIELD_AT(thing_params, count), .min = 1, .max = 100, .help = "A number." },
	{ .type = FIELD_END },
};

static const struct field thing_result[] = {
	{ "count", FIELD_UINT, .max = 1000, .help = "A number." },
	{ .type = FIELD_END },
};

static int
look(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct thing_params *p = params;

	(void)c;
	(void)f;
	seen.calls++;
	seen.count = p->count;
	strcpy(seen.vm, p->vm);
	json_object_set_new(result, "count", json_integer((json_int_t)p->count));
	return 0;
}

static int
change(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct thing_params *p = params;

	if (call_match(c, seen.revision, f) < 0)
		return -1;
	if (p->count == 13)
		return fault_set(
		    f, FAULT_VM_NOT_FOUND, "vm", "Look again.", "no machine is called '%s'", p->vm);
	if (p->count == 14)
		return -1;
	if (p->count == seen.count) {
		json_object_set_new(result, "changed", json_false());
		return 0;
	}
	if (call_would(c, "set the number to %llu", (unsigned long long)p->count))
		return 0;
	seen.calls++;
	seen.revision++;
	seen.count = p->count;
	json_object_set_new(result, "count", json_integer((json_int_t)seen.calls));
	return 0;
}

#define ARGS thing_fields, sizeof(struct thing_params), defaults, thing_result

const struct rpc_method fake_methods[] = {
	{ "thing.look", "Looks.", "/", ROLE_VIEWER, 0, ARGS, NULL, "thing.look()", look },
	{ "thing.set", "Sets.", "/", ROLE_OPERATOR, METHOD_CHANGES, ARGS, NULL, "thing.set()", change },
	{ "thing.set_vm", "Sets one of a machine.", "/vm/{vm}", ROLE_OPERATOR, METHOD_CHANGES, ARGS, NULL,
	    "x", change },
	{ "thing.list", "Lists machines.", "/vm/", ROLE_VIEWER, 0, ARGS, NULL, "x", look },
	{ "thing.drop", "Destroys.", "/", ROLE_OPERATOR, METHOD_CHANGES | METHOD_DESTRUCTIVE, ARGS, NULL, "x",
	    change },
	{ 0 },
};

static int
setup(void **state)
{
	memset(&seen, 0, sizeof(seen));
	return fake_setup(state);
}

static void
without_a_role_nothing_is_allowed(void **state)
{
	(void)state;
	fake_refused(NULL, "thing.look", NULL, "NOT_LOGGED_IN");
	fake_refused("paul", "thing.look", NULL, "FORBIDDEN");
	fake_refused("anna", "thing.set", "{\"count\":8}", "FORBIDDEN");
	assert_int_equal(seen.calls, 0);
	json_decref(fake_done("anna", "thing.look", NULL));
	assert_true(fake_changed(fake_done("olga", "thing.set", "{\"count\":8}")));
	assert_true(fake_changed(fake_done("root", "thing.set", "{\"count\":9}")));
	json_decref(fake_done(NULL, "rpc.features", NULL)); /* open to anybody */
	json_decref(fake_done(NULL, "rpc.discover", NULL));
}

static void
a_role_at_one_machine_counts_there_only(void **state)
{
	(void)state;
	assert_true(fake_changed(fake_done("paul", "thing.set_vm", "{\"vm\":\"web1\",\"count\":8}")));
	assert_true(fake_changed(fake_done("paul", "thing.set_vm", "{\"vm\":\"" WEB1 "\",\"count\":9}")));
	fake_refused("paul", "thing.set_vm", "{\"vm\":\"mail\",\"count\":8}", "FORBIDDEN");
	fake_refused("paul", "thing.set_vm", "{\"vm\":\"none\",\"count\":8}",
	    "FORBIDDEN"); /* nor whether it is there */
	fake_refused("paul", "thing.set_vm", "{\"count\":8}", "FORBIDDEN");
	fake_refused("paul", "thing.set_vm", "{\"vm\":\"../vm/web1\",\"count\":8}", "FORBIDDEN");
	fake_refused("anna", "thing.set_vm", "{\"vm\":\"web1\",\"count\":8}", "FORBIDDEN");
	json_decref(fake_done("paul", "thing.list", NULL)); /* whatever there is for him to see */
	fake_refused(NULL, "thing.list", NULL, "NOT_LOGGED_IN");
}

static void
a_grant_covers_what_is_below_and_nothing_beside(void **state)
{
	struct identity who;

	(void)state;
	identity_none(&who, CARRIER_WSS, "");
	assert_true(identity_grant(&who, ROLE_OPERATOR, "/vm/1"));
	assert_int_equal(identity_role(&who, "/vm/1"), ROLE_OPERATOR);
	assert_int_equal(identity_role(&who, "/vm/1/disk"), ROLE_OPERATOR);
	assert_int_equal(identity_role(&who, "/vm/10"), ROLE_NONE);
	assert_int_equal(identity_role(&who, "/vm"), ROLE_NONE);
	assert_int_equal(identity_role(&who, "/"), ROLE_NONE);
	assert_int_equal(identity_role_below(&who, "/vm/"), ROLE_OPERATOR);
	assert_int_equal(identity_role_below(&who, "/host"), ROLE_NONE);
	who.most = ROLE_VIEWER;
	assert_int_equal(identity_role(&who, "/vm/1"), ROLE_VIEWER);
	while (identity_grant(&who, ROLE_VIEWER, "/host"))
		;
	assert_int_equal(who.grants, GRANTS_MAX);
}

static void
bad_parameters_are_told_by_their_path(void **state)
{
	static const struct {
		const char *params, *path;
	} bad[] = {
		{ "{\"count\":0}", "count" },
		{ "{\"count\":\"8\"}", "count" },
		{ "{\"cuont\":8}", "cuont" },
		{ "{\"_\":{\"dryrun\":true}}", "_.dryrun" },
		{ "{\"_\":{\"ifMatch\":-1}}", "_.ifMatch" },
		{ "{\"_\":{\"requestId\":\"\"}}", "_.requestId" },
		{ "{\"_\":7}", "_." },
		{ "[8]", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_t *answer = fake_call("root", "thing.set", bad[i].params);
		const char *path = json_string_value(
		    json_object_get(json_object_get(json_object_get(answer, "error"), "data"), "path"));

		assert_string_equal(fake_symbol(answer), "BAD_PARAMS");
		if (bad[i].path)
			assert_string_equal(path, bad[i].path);
		json_decref(answer);
	}
	fake_refused("root", "thing.fly", NULL, "NO_SUCH_METHOD");
	fake_refused(
	    "anna", "thing.set", "{\"count\":0}", "FORBIDDEN"); /* before anything is told about parameters */
	assert_int_equal(seen.calls, 0);
}

static void
what_is_left_out_has_its_default(void **state)
{
	(void)state;
	json_decref(fake_done("anna", "thing.look", "{}"));
	assert_int_equal(seen.count, 7);
	json_decref(fake_done("anna", "thing.look", "{\"count\":3}"));
	assert_int_equal(seen.count, 3);
}

static void
a_dry_run_tells_and_changes_nothing(void **state)
{
	json_t *result;

	(void)state;
	result = fake_done("root", "thing.set", "{\"count\":8,\"_\":{\"dryRun\":true,\"requestId\":\"a\"}}");
	assert_int_equal(seen.calls, 0);
	assert_string_equal(
	    json_string_value(json_array_get(json_object_get(result, "would"), 0)), "set the number to 8");
	assert_true(json_is_true(json_object_get(result, "dryRun")));
	assert_true(fake_changed(result));
	assert_true(fake_changed(
	    fake_done("root", "thing.set", "{\"count\":8,\"_\":{\"requestId\":\"a\"}}"))); /* new */
	assert_int_equal(seen.calls, 1);
	assert_false(fake_changed(fake_done("root", "thing.set", "{\"count\":8,\"_\":{\"dryRun\":true}}")));
	fake_refused("root", "thing.set", "{\"count\":13,\"_\":{\"dryRun\":true}}", "VM_NOT_FOUND");
	fake_refused("anna", "thing.set", "{\"count\":8,\"_\":{\"dryRun\":true}}", "FORBIDDEN");
}

static void
every_change_says_whether_it_changed_anything(void **state)
{
	(void)state;
	assert_true(fake_changed(fake_done("root", "thing.set", "{\"count\":8}")));
	assert_false(fake_changed(fake_done("root", "thing.set", "{\"count\":8}")));
}

static void
a_stale_revision_is_refused(void **state)
{
	(void)state;
	assert_true(fake_changed(fake_done("root", "thing.set", "{\"count\":8,\"_\":{\"ifMatch\":0}}")));
	fake_refused("root", "thing.set", "{\"count\":9,\"_\":{\"ifMatch\":0}}", "CONFLICT");
	assert_true(fake_changed(fake_done("root", "thing.set", "{\"count\":9,\"_\":{\"ifMatch\":1}}")));
}

static void
what_destroys_has_to_be_confirmed(void **state)
{
	(void)state;
	fake_refused("root", "thing.drop", "{\"count\":8}", "CONFIRM_NEEDED");
	fake_refused("root", "thing.drop", "{\"count\":8,\"_\":{\"confirm\":false}}", "CONFIRM_NEEDED");
	assert_int_equal(seen.calls, 0);
	json_decref(fake_done("root", "thing.drop", "{\"count\":8,\"_\":{\"dryRun\":true}}"));
	assert_int_equal(seen.calls, 0);
	assert_true(fake_changed(fake_done("root", "thing.drop", "{\"count\":8,\"_\":{\"confirm\":true}}")));
}

static void
a_change_sent_again_gives_the_first_answer(void **state)
{
	json_t *first, *again;

	(void)state;
	first = fake_done("root", "thing.set", "{\"count\":8,\"_\":{\"requestId\":\"a\"}}");
	again = fake_done("root", "thing.set", "{\"_\":{\"requestId\":\"a\"},\"count\":8}");
	assert_true(json_equal(first, again));
	assert_int_equal(seen.calls, 1);
	json_decref(again);
	fake_restart();
	again = fake_done("root", "thing.set", "{\"count\":8,\"_\":{\"requestId\":\"a\"}}");
	assert_true(json_equal(first, again));
	assert_int_equal(seen.calls, 1);
	json_decref(again);
	json_decref(first);
	fake_refused("root", "thing.set", "{\"count\":9,\"_\":{\"requestId\":\"a\"}}", "REQUEST_ID_REUSED");
	fake_refused("root", "thing.drop", "{\"count\":8,\"_\":{\"requestId\":\"a\",\"confirm\":true}}",
	    "REQUEST_ID_REUSED");
	/* An id belongs to its user. */
	assert_true(
	    fake_changed(fake_done("olga", "thing.set", "{\"count\":10,\"_\":{\"requestId\":\"a\"}}")));
	/* A failure is an answer, too. */
	fake_refused("root", "thing.set", "{\"count\":13,\"_\":{\"requestId\":\"b\"}}", "VM_NOT_FOUND");
	fake_refused("root", "thing.set", "{\"count\":13,\"_\":{\"requestId\":\"b\"}}", "VM_NOT_FOUND");
}

/* What the agent leaves behind when it ends between the two writes of a request. */
static void
a_change_that_was_cut_short_is_not_done_again(void **state)
{
	char command[256];

	(void)state;
	json_decref(fake_done("root", "thing.set", "{\"count\":8,\"_\":{\"requestId\":\"a\"}}"));
	snprintf(command, sizeof(command),
	    "sed -i '/Answer/,/^  }/d; s/\\(Digest.*\\),$/\\1/' '%s'/data/system/requests/*", fake_dir);
	assert_int_equal(system(command), 0);
	fake_restart();
	fake_refused("root", "thing.set", "{\"count\":8,\"_\":{\"requestId\":\"a\"}}", "RESTARTED");
	assert_int_equal(seen.calls, 1);
}

static void
an_own_mistake_has_a_log_id(void **state)
{
	json_t *answer = fake_call("root", "thing.set", "{\"count\":14}");
	json_t *data = json_object_get(json_object_get(answer, "error"), "data");

	(void)state;
	assert_string_equal(fake_symbol(answer), "INTERNAL");
	assert_int_equal(json_string_length(json_object_get(data, "logId")), 12);
	json_decref(answer);
}

static const char *
member(const json_t *doc, const char *name)
{
	const char *text = json_string_value(json_object_get(doc, name));

	return text ? text : "";
}

static void
the_audit_keeps_changes_and_refusals_without_secrets(void **state)
{
	json_t *entry;

	(void)state;
	json_decref(fake_done("olga", "thing.set", "{\"count\":8,\"password\":\"hush\"}"));
	entry = fake_audit();
	assert_string_equal(member(entry, "user"), "olga");
	assert_string_equal(member(entry, "from"), "192.0.2.1");
	assert_string_equal(member(entry, "method"), "thing.set");
	assert_string_equal(member(entry, "result"), "ok");
	assert_string_equal(member(json_object_get(entry, "params"), "password"), "***");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(entry, "params"), "count")), 8);
	json_decref(entry);
	fake_refused("anna", "thing.set", "{\"count\":9,\"pasword\":\"hush\"}", "FORBIDDEN");
	entry = fake_audit();
	assert_string_equal(member(entry, "user"), "anna");
	assert_string_equal(member(entry, "result"), "FORBIDDEN");
	assert_null(json_object_get(
	    json_object_get(entry, "params"), "pasword")); /* a secret with a slip of the pen */
	json_decref(entry);
	json_decref(fake_done("anna", "thing.look", NULL)); /* not audited: neither is what only tells */
	json_decref(fake_done("root", "thing.set", "{\"count\":10,\"_\":{\"dryRun\":true}}"));
	entry = fake_audit();
	assert_string_equal(member(entry, "user"), "anna");
	assert_string_equal(member(entry, "method"), "thing.set");
	json_decref(entry);
}

static void
a_stranger_cannot_flood_the_audit(void **state)
{
	json_t *list, *last;

	(void)state;
	for (int i = 0; i < 200; i++)
		fake_refused(NULL, "thing.look", NULL, "NOT_LOGGED_IN");
	list = audit_list(fake_agent->audit, 1000);
	assert_in_range(json_array_size(list), 10, 40);
	json_decref(list);
	json_decref(fake_done("root", "thing.set", "{\"count\":8}")); /* others are heard */
	last = fake_audit();
	assert_string_equal(member(last, "user"), "root");
	json_decref(last);
}

static void
a_user_cannot_flood_it_with_refusals_either(void **state)
{
	json_t *list, *last;

	(void)state;
	for (int i = 0; i < 400; i++) {
		fake_refused("anna", "thing.set", "{\"count\":8}", "FORBIDDEN");
		fake_refused("anna", "token.delete", "{\"name\":\"t\"}", "TOKEN_NOT_FOUND");
	}
	list = audit_list(fake_agent->audit, 1000);
	assert_in_range(json_array_size(list), 50, 150);
	json_decref(list);
	fake_refused("olga", "user.list", NULL, "FORBIDDEN");
	last = fake_audit();
	assert_string_equal(member(last, "user"), "olga"); /* others are heard */
	json_decref(last);
}

static void
access_test_explains(void **state)
{
	json_t *r;

	(void)state;
	r = fake_done(
	    "root", "access.test", "{\"method\":\"thing.set_vm\",\"vm\":\"web1\",\"user\":\"paul\"}");
	assert_true(json_is_true(json_object_get(r, "allowed")));
	json_decref(r);
	r = fake_done(
	    "root", "access.test", "{\"method\":\"thing.set_vm\",\"vm\":\"mail\",\"user\":\"paul\"}");
	assert_true(json_is_false(json_object_get(r, "allowed")));
	assert_non_null(strstr(member(r, "because"), "Operator"));
	json_decref(r);
	r = fake_done("anna", "access.test", "{\"method\":\"thing.set\"}");
	assert_true(json_is_false(json_object_get(r, "allowed")));
	json_decref(r);
	fake_refused("anna", "access.test", "{\"method\":\"thing.set\",\"user\":\"root\"}", "FORBIDDEN");
	fake_refused("root", "access.test", "{\"method\":\"thing.set\",\"user\":\"nemo\"}", "USER_NOT_FOUND");
	fake_refused("root", "access.test", "{\"method\":\"no.no\"}", "NO_SUCH_METHOD");
}

static void
audit_list_gives_the_last_ones(void **state)
{
	json_t *r, *entries;

	(void)state;
	json_decref(fake_done("root", "thing.set", "{\"count\":8}"));
	json_decref(fake_done("root", "thing.set", "{\"count\":9}"));
	r = fake_done("root", "audit.list", "{\"limit\":1}");
	entries = json_object_get(r, "entries");
	assert_int_equal(json_array_size(entries), 1);
	assert_int_equal(json_integer_value(
			     json_object_get(json_object_get(json_array_get(entries, 0), "params"), "count")),
	    9);
	json_decref(r);
	fake_refused("olga", "audit.list", NULL, "FORBIDDEN");
}

static void
faults_have_numbers_and_symbols_of_their_own(void **state)
{
	(void)state;
	for (size_t i = 0; fault_code_at(i); i++) {
		struct fault f = { 0 }, back;
		json_t *doc;

		for (size_t j = 0; j < i; j++) {
			assert_int_not_equal(fault_code_at(i), fault_code_at(j));
			assert_string_not_equal(
			    fault_symbol(fault_code_at(i)), fault_symbol(fault_code_at(j)));
		}
		assert_true(strlen(fault_help(fault_code_at(i))) > 10);
		fault_set(&f, fault_code_at(i), "a.b", "Try again.", "it %s", "failed");
		doc = fault_to_json(&f);
		fault_from_json(&back, doc);
		assert_memory_equal(&f, &back, sizeof(f));
		json_decref(doc);
	}
}

#define T(x) cmocka_unit_test_setup_teardown(x, setup, fake_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(without_a_role_nothing_is_allowed),
		T(a_role_at_one_machine_counts_there_only),
		T(a_grant_covers_what_is_below_and_nothing_beside),
		T(bad_parameters_are_told_by_their_path),
		T(what_is_left_out_has_its_default),
		T(a_dry_run_tells_and_changes_nothing),
		T(every_change_says_whether_it_changed_anything),
		T(a_stale_revision_is_refused),
		T(what_destroys_has_to_be_confirmed),
		T(a_change_sent_again_gives_the_first_answer),
		T(a_change_that_was_cut_short_is_not_done_again),
		T(an_own_mistake_has_a_log_id),
		T(the_audit_keeps_changes_and_refusals_without_secrets),
		T(a_stranger_cannot_flood_the_audit),
		T(a_user_cannot_flood_it_with_refusals_either),
		T(access_test_explains),
		T(audit_list_gives_the_last_ones),
		cmocka_unit_test(faults_have_numbers_and_symbols_of_their_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
