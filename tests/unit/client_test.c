/*
 * tests/unit/client_test.c - what a client may say and what it hears: requests, batches, garbage, log-ins,
 * limits, events and their gaps.
 */
#include "agent/events.h"
#include "tests/unit/fake_agent.h"

static pthread_mutex_t hold = PTHREAD_MUTEX_INITIALIZER;

static int
held(struct call *c, const void *params, json_t *result, struct fault *f)
{
	(void)c;
	(void)params;
	(void)result;
	(void)f;
	pthread_mutex_lock(&hold);
	pthread_mutex_unlock(&hold);
	return 0;
}

static int
large(struct call *c, const void *params, json_t *result, struct fault *f)
{
	char *text = malloc(SCHEMA_TEXT_MAX + 1);

	(void)c;
	(void)params;
	(void)f;
	memset(text, 'x', SCHEMA_TEXT_MAX);
	text[SCHEMA_TEXT_MAX] = '\0';
	json_object_set_new(result, "text", json_string(text));
	free(text);
	return 0;
}

const struct rpc_method fake_methods[] = {
	{ "slow.call", "Hangs.", "/", ROLE_NONE, METHOD_OPEN, .example = "x", .call = held },
	{ "slow.wait", "Waits.", "/", ROLE_NONE, METHOD_OPEN | METHOD_WAITS, .example = "x", .call = held },
	{ "large.call", "Says much.", "/", ROLE_NONE, METHOD_OPEN, .example = "x", .call = large },
	{ 0 },
};

static struct fake_link l;

static void
assert_fault(int want_status, const char *symbol)
{
	int status;
	json_t *doc = fake_hear(&l, &status);

	assert_string_equal(fake_symbol(doc), symbol);
	assert_string_equal(json_string_value(json_object_get(doc, "jsonrpc")), "2.0");
	assert_non_null(json_object_get(doc, "id"));
	if (want_status)
		assert_int_equal(status, want_status);
	json_decref(doc);
}

static json_t *
result_of(struct client *c, const char *method, const char *params)
{
	char text[512];
	json_t *doc, *result;

	snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"%s\",\"params\":%s}",
	    method, params);
	fake_say(c, text);
	doc = fake_hear(&l, NULL);
	assert_string_equal(json_string_value(json_object_get(doc, "id")), "x");
	result = json_incref(json_object_get(doc, "result"));
	if (!result)
		fail_msg("%s: %s", method, json_dumps(doc, 0));
	json_decref(doc);
	return result;
}

static const char *
user_of(struct client *c)
{
	static struct identity who;

	client_identity(c, &who);
	return who.user;
}

static void
what_is_no_json_gets_one_error_and_the_end(void **state)
{
	static const char *const garbage[] = { "", "garbage", "{", "\xff\xfe", "{\"a\":1,\"a\":2}" };

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		struct client *c = fake_client(&l, &fake_ops, "root", NULL);

		fake_say(c, garbage[i]);
		assert_fault(400, "NOT_JSON");
		assert_true(l.closed);
		assert_int_equal(l.came_in, 1);
		fake_gone(c, &l);
	}
}

static void
what_is_no_request_is_told_why_and_may_go_on(void **state)
{
	static const char *const wrong[] = { "7", "{}",
		"{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"rpc.features\"}",
		"{\"jsonrpc\":\"2.0\",\"id\":1}", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}",
		"{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"rpc.features\"}" };
	struct client *c = fake_client(&l, &fake_ops, "root", NULL);

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		fake_say(c, wrong[i]);
		assert_fault(400, "NOT_A_REQUEST");
	}
	fake_say(c, "[]");
	assert_fault(0, "WRONG_CARRIER");
	assert_false(l.closed);
	json_decref(result_of(c, "rpc.features", "{}"));
	fake_gone(c, &l);
}

static void
a_message_that_is_too_long_or_deep_is_refused(void **state)
{
	struct client *c = fake_client(&l, &fake_ops, "root", NULL);
	char deep[80];

	(void)state;
	memset(deep, '[', 40);
	memset(deep + 40, ']', 40);
	client_message(c, deep, sizeof(deep));
	assert_fault(400, "NOT_JSON");
	client_oversized(c);
	assert_fault(413, "TOO_LARGE");
	assert_true(l.closed);
	fake_gone(c, &l);
}

static void
an_answer_that_is_too_long_is_replaced(void **state)
{
	struct client *c = fake_client(&l, &fake_ops, "root", NULL);

	(void)state;
	fake_say(c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"large.call\"}");
	assert_fault(0, "TOO_LARGE");
	fake_gone(c, &l);
}

static void
a_batch_is_answered_as_one(void **state)
{
	struct client *c = fake_client(&l, &fake_post, "anna", NULL);
	json_t *doc;
	int status;

	(void)state;
	fake_say(c, "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rpc.features\"},{\"jsonrpc\":\"2.0\","
		    "\"method\":\"rpc.features\"},"
		    "7,{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"user.list\"}]");
	doc = fake_hear(&l, &status);
	assert_int_equal(status, 200);
	assert_int_equal(json_array_size(doc), 3); /* a request without id is not answered */
	assert_non_null(json_object_get(json_array_get(doc, 0), "result"));
	assert_string_equal(fake_symbol(json_array_get(doc, 1)), "NOT_A_REQUEST");
	assert_string_equal(fake_symbol(json_array_get(doc, 2)), "FORBIDDEN");
	json_decref(doc);
	fake_say(c, "[{\"jsonrpc\":\"2.0\",\"method\":\"rpc.features\"}]");
	doc = fake_hear(&l, &status);
	assert_int_equal(status, 204);
	json_decref(doc);
	fake_say(c, "[]");
	assert_fault(400, "NOT_A_REQUEST");
	fake_gone(c, &l);
}

static void
a_header_logs_in_once_or_ends_it(void **state)
{
	struct client *c = fake_client(&l, &fake_ops, NULL, "Basic YW5uYTpwYXNzd29yZCBvZiBhbm5h");
	json_t *entry;

	(void)state;
	json_decref(result_of(c, "session.get", "{}"));
	assert_string_equal(user_of(c), "anna");
	fake_gone(c, &l);
	c = fake_client(&l, &fake_post, NULL, "Basic YW5uYTp3cm9uZw==");
	fake_say(c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rpc.features\"}");
	assert_fault(401, "LOGIN_FAILED");
	fake_gone(c, &l);
	entry = fake_audit();
	assert_string_equal(json_string_value(json_object_get(entry, "method")), "session.login");
	assert_string_equal(
	    json_string_value(json_object_get(json_object_get(entry, "params"), "user")), "anna");
	json_decref(entry);
	c = fake_client(&l, &fake_ops, NULL, "Negotiate abc");
	fake_say(c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rpc.features\"}");
	assert_fault(401, "LOGIN_FAILED");
	fake_gone(c, &l);
}

static void
a_session_makes_the_connection_the_users_until_logout(void **state)
{
	struct client *c = fake_client(&l, &fake_ops, NULL, NULL), *d;
	char header[128];
	json_t *r;

	(void)state;
	fake_say(c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"session.get\"}");
	assert_fault(401, "NOT_LOGGED_IN");
	r = result_of(c, "session.login", "{\"user\":\"olga\",\"password\":\"password of olga\"}");
	assert_string_equal(user_of(c), "olga");
	assert_string_equal(json_string_value(json_object_get(r, "role")), "Operator");
	snprintf(header, sizeof(header), "Bearer %s", json_string_value(json_object_get(r, "token")));
	json_decref(r);
	fake_gone(c, &l);
	c = fake_client(&l, &fake_ops, NULL, header); /* the token opens others */
	json_decref(result_of(c, "session.get", "{}"));
	json_decref(result_of(c, "session.logout", "{}"));
	assert_string_equal(user_of(c), "");
	fake_gone(c, &l);
	d = fake_client(&l, &fake_ops, NULL, header);
	fake_say(d, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"session.get\"}");
	assert_fault(401, "LOGIN_FAILED");
	fake_gone(d, &l);
}

static void
calls_in_flight_are_bounded(void **state)
{
	struct client *c = fake_client(&l, &fake_ops, "root", NULL);

	(void)state;
	pthread_mutex_lock(&hold);
	for (int i = 0; i < CLIENT_CALLS; i++)
		fake_say(c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"slow.call\"}");
	fake_say(c, "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"slow.call\"}");
	assert_fault(503, "TOO_BUSY");
	pthread_mutex_unlock(&hold);
	for (int i = 0; i < CLIENT_CALLS; i++)
		json_decref(fake_hear(&l, NULL));
	fake_gone(c, &l);
	c = fake_client(&l, &fake_ops, NULL, NULL); /* a stranger has fewer */
	pthread_mutex_lock(&hold);
	for (int i = 0; i <= CLIENT_STRANGER_CALLS; i++)
		fake_say(c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"slow.call\"}");
	assert_fault(503, "TOO_BUSY");
	pthread_mutex_unlock(&hold);
	for (int i = 0; i < CLIENT_STRANGER_CALLS; i++)
		json_decref(fake_hear(&l, NULL));
	fake_gone(c, &l);
}

static void
an_urgent_call_works_while_others_hang(void **state)
{
	struct client *c = fake_client(&l, &fake_ops, "root", NULL);
	json_t *doc;

	(void)state;
	pthread_mutex_lock(&hold);
	for (int i = 0; i < 20; i++)
		fake_say(c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"slow.call\"}");
	for (int i = 0; i < CLIENT_WAITS; i++)
		fake_say(c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"slow.wait\"}");
	fake_say(c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"slow.wait\"}");
	assert_fault(503, "TOO_BUSY"); /* waiting calls have a bound of their own */
	fake_say(c, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"job.get\",\"params\":{\"job\":\"j1\"}}");
	doc = fake_hear(&l, NULL);
	assert_int_equal(json_integer_value(json_object_get(doc, "id")), 7);
	json_decref(doc);
	pthread_mutex_unlock(&hold);
	for (int i = 0; i < 20 + CLIENT_WAITS; i++)
		json_decref(fake_hear(&l, NULL));
	fake_gone(c, &l);
}

static void
a_call_with_a_password_keeps_no_other_from_its_log_in(void **state)
{
	static const char *const hangs[] = { "slow.call", "slow.wait" };
	static const char header[] = "Basic b2xnYTpwYXNzd29yZCBvZiBvbGdh";
	struct fake_link first;
	json_t *doc;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct client *c = fake_client(&first, &fake_post, NULL, header), *d;
		char text[80];

		pthread_mutex_lock(&hold);
		snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\"}", hangs[i]);
		fake_say(c, text);
		d = fake_client(&l, &fake_post, NULL, header);
		fake_say(d, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"session.get\"}");
		doc = fake_hear(&l, NULL);
		assert_non_null(json_object_get(doc, "result"));
		json_decref(doc);
		pthread_mutex_unlock(&hold);
		json_decref(fake_hear(&first, NULL));
		fake_gone(d, &l);
		fake_gone(c, &first);
	}
}

static void
a_client_that_goes_leaves_its_calls(void **state)
{
	struct client *c = fake_client(&l, &fake_ops, "root", NULL);

	(void)state;
	pthread_mutex_lock(&hold);
	for (int i = 0; i < 10; i++)
		fake_say(c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"slow.call\"}");
	fake_gone(c, &l);
	pthread_mutex_unlock(&hold); /* nothing is sent to it; teardown waits for the calls */
}

static void
one_that_says_no_more_still_gets_its_answers(void **state)
{
	struct client *c = fake_client(&l, &fake_ops, "root", NULL);

	(void)state;
	pthread_mutex_lock(&hold);
	fake_say(c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"slow.call\"}");
	client_ended(c);
	assert_false(l.closed);
	pthread_mutex_unlock(&hold);
	json_decref(fake_hear(&l, NULL));
	for (int i = 0; i < 1000 && !l.closed; i++)
		usleep(10000);
	assert_true(l.closed);
	fake_gone(c, &l);
}

static uint64_t
subscribe(struct client *c, const char *params)
{
	json_t *r = result_of(c, "event.subscribe", params);
	uint64_t seq = (uint64_t)json_integer_value(json_object_get(r, "seq"));

	json_decref(r);
	return seq;
}

static uint64_t
assert_event(const char *type)
{
	json_t *doc = fake_hear(&l, NULL), *p = json_object_get(doc, "params");
	uint64_t seq = (uint64_t)json_integer_value(json_object_get(p, "seq"));

	assert_string_equal(json_string_value(json_object_get(doc, "method")), "event");
	assert_string_equal(json_string_value(json_object_get(p, "type")), type);
	assert_null(json_object_get(doc, "id"));
	json_decref(doc);
	return seq;
}

static void
events_are_numbered_and_replayed(void **state)
{
	struct client *c = fake_client(&l, &fake_ops, "anna", NULL);
	char params[64];
	uint64_t seq;

	(void)state;
	seq = subscribe(c, "{}");
	event_publish(fake_agent, "a.one", NULL);
	event_publish(fake_agent, "a.two", json_pack("{s:i}", "n", 2));
	assert_int_equal(assert_event("a.one"), seq + 1);
	assert_int_equal(assert_event("a.two"), seq + 2);
	json_decref(result_of(c, "event.unsubscribe", "{}"));
	event_publish(fake_agent, "b.three", NULL);
	snprintf(
	    params, sizeof(params), "{\"since\":%llu,\"types\":[\"a.two\",\"b.\"]}", (unsigned long long)seq);
	fake_say(c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rpc.features\"}");
	json_decref(fake_hear(&l, NULL));
	{
		char text[256];

		snprintf(text, sizeof(text),
		    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"event.subscribe\",\"params\":%s}", params);
		fake_say(c, text);
	}
	assert_int_equal(assert_event("a.two"), seq + 2);
	assert_int_equal(assert_event("b.three"), seq + 3);
	json_decref(fake_hear(&l, NULL)); /* the answer comes behind what it replays */
	fake_gone(c, &l);
}

static void
what_is_no_longer_kept_is_a_gap(void **state)
{
	struct client *c = fake_client(&l, &fake_ops, "anna", NULL);
	char text[256];
	uint64_t seq = subscribe(c, "{}");

	(void)state;
	json_decref(result_of(c, "event.unsubscribe", "{}"));
	for (int i = 0; i < 9; i++) /* the ring of the test holds eight */
		event_publish(fake_agent, "a.one", NULL);
	snprintf(text, sizeof(text),
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"event.subscribe\",\"params\":{\"since\":%llu}}",
	    (unsigned long long)seq);
	fake_say(c, text);
	assert_fault(0, "EVENT_GAP");
	snprintf(text, sizeof(text),
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"event.subscribe\",\"params\":{\"since\":%llu}}",
	    (unsigned long long)seq + 1000); /* from a future that was lost */
	fake_say(c, text);
	assert_fault(0, "EVENT_GAP");
	fake_gone(c, &l);
	fake_restart();
	c = fake_client(&l, &fake_ops, "anna", NULL);
	snprintf(text, sizeof(text),
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"event.subscribe\",\"params\":{\"since\":%llu}}",
	    (unsigned long long)seq + 9); /* the last one of the life before */
	fake_say(c, text);
	assert_fault(0, "EVENT_GAP");
	fake_gone(c, &l);
}

static void
who_reads_too_slowly_is_told_and_disconnected(void **state)
{
	struct client *c = fake_client(&l, &fake_ops, "anna", NULL);
	json_t *doc;

	(void)state;
	subscribe(c, "{}");
	l.room = 0;
	event_publish(fake_agent, "a.one", NULL);
	doc = fake_hear(&l, NULL);
	assert_string_equal(json_string_value(json_object_get(doc, "method")), "gap");
	assert_true(json_integer_value(json_object_get(json_object_get(doc, "params"), "seq")) > 0);
	json_decref(doc);
	assert_true(l.closed);
	event_publish(fake_agent, "a.two", NULL);
	assert_int_equal(l.taken, l.came_in); /* no more */
	fake_gone(c, &l);
}

static void
events_of_a_machine_are_for_those_who_see_it(void **state)
{
	struct client *c = fake_client(&l, &fake_ops, "paul", NULL);

	(void)state;
	subscribe(c, "{}");
	event_publish(fake_agent, "vm.state", json_pack("{s:s}", "id", MAIL));
	event_publish(fake_agent, "host.changed", NULL);
	event_publish(fake_agent, "vm.state", json_pack("{s:s}", "id", WEB1));
	assert_event("vm.state");
	assert_int_equal(l.came_in, 2); /* the answer, and that one */
	fake_gone(c, &l);
}

static void
whoever_loses_the_right_hears_no_more(void **state)
{
	struct client *c = fake_client(&l, &fake_ops, "anna", NULL);

	(void)state;
	subscribe(c, "{}");
	event_publish(fake_agent, "a.one", NULL);
	assert_event("a.one");
	json_decref(fake_done("root", "user.delete", "{\"name\":\"anna\",\"_\":{\"confirm\":true}}"));
	event_publish(fake_agent, "a.two", NULL);
	assert_int_equal(l.came_in, 2); /* the answer, and the first */
	fake_gone(c, &l);
}

static bool
was_closed(void)
{
	bool closed;

	pthread_mutex_lock(&l.lock);
	closed = l.closed;
	pthread_mutex_unlock(&l.lock);
	return closed;
}

static void
a_connection_ends_with_its_log_in(void **state)
{
	struct client *c = fake_client(&l, &fake_ops, "anna", NULL);

	(void)state;
	json_decref(result_of(c, "session.get", "{}"));
	json_decref(fake_done("root", "user.delete", "{\"name\":\"olga\",\"_\":{\"confirm\":true}}"));
	assert_false(was_closed()); /* another's */
	json_decref(fake_done("root", "user.delete", "{\"name\":\"anna\",\"_\":{\"confirm\":true}}"));
	assert_true(was_closed());
	fake_gone(c, &l);
}

static void
who_sets_the_own_password_is_answered_before_the_end(void **state)
{
	struct client *c = fake_client(&l, &fake_ops, NULL, NULL);

	(void)state;
	json_decref(result_of(c, "session.login", "{\"user\":\"anna\",\"password\":\"password of anna\"}"));
	json_decref(result_of(c, "user.setPassword", "{\"name\":\"anna\",\"password\":\"quite another\"}"));
	for (int i = 0; i < 1000 && !was_closed(); i++)
		usleep(5000);
	assert_true(was_closed());
	fake_gone(c, &l);
}

static void
a_log_out_lets_the_connection_go_on(void **state)
{
	struct client *c = fake_client(&l, &fake_ops, NULL, NULL);

	(void)state;
	for (int i = 0; i < 2; i++) {
		json_decref(
		    result_of(c, "session.login", "{\"user\":\"anna\",\"password\":\"password of anna\"}"));
		json_decref(result_of(c, "session.logout", "{}"));
	}
	assert_false(was_closed());
	fake_gone(c, &l);
}

/* A role that was lost, not the log-in: what may still be seen is still told. */
static void
events_are_judged_by_the_role_of_the_moment(void **state)
{
	struct client *c = fake_client(&l, &fake_ops, "paul", NULL);

	(void)state;
	subscribe(c, "{}");
	event_publish(fake_agent, "vm.state", json_pack("{s:s}", "id", WEB1));
	assert_event("vm.state");
	fake_file("data/system/roles.json", "{\"Version\":1,\"Grants\":[{\"User\":\"paul\","
					    "\"Role\":\"Viewer\",\"Path\":\"/vm/" MAIL "\"}]}");
	event_publish(fake_agent, "vm.state", json_pack("{s:s}", "id", WEB1));
	event_publish(fake_agent, "vm.reset", json_pack("{s:s}", "id", MAIL));
	assert_event("vm.reset");
	fake_say(c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"slow.call\"}");
	json_decref(fake_hear(&l, NULL));
	assert_false(was_closed());
	fake_gone(c, &l);
}

static void
events_cannot_come_by_post(void **state)
{
	struct client *c = fake_client(&l, &fake_post, "anna", NULL);

	(void)state;
	fake_say(c, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"event.subscribe\"}");
	assert_fault(200, "WRONG_CARRIER");
	fake_gone(c, &l);
}

#define T(x) cmocka_unit_test_setup_teardown(x, fake_setup, fake_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(what_is_no_json_gets_one_error_and_the_end),
		T(what_is_no_request_is_told_why_and_may_go_on),
		T(a_message_that_is_too_long_or_deep_is_refused),
		T(an_answer_that_is_too_long_is_replaced),
		T(a_batch_is_answered_as_one),
		T(a_header_logs_in_once_or_ends_it),
		T(a_session_makes_the_connection_the_users_until_logout),
		T(calls_in_flight_are_bounded),
		T(an_urgent_call_works_while_others_hang),
		T(a_call_with_a_password_keeps_no_other_from_its_log_in),
		T(a_client_that_goes_leaves_its_calls),
		T(one_that_says_no_more_still_gets_its_answers),
		T(events_are_numbered_and_replayed),
		T(what_is_no_longer_kept_is_a_gap),
		T(who_reads_too_slowly_is_told_and_disconnected),
		T(events_of_a_machine_are_for_those_who_see_it),
		T(events_are_judged_by_the_role_of_the_moment),
		T(a_log_out_lets_the_connection_go_on),
		T(who_sets_the_own_password_is_answered_before_the_end),
		T(a_connection_ends_with_its_log_in),
		T(whoever_loses_the_right_hears_no_more),
		T(events_cannot_come_by_post),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
