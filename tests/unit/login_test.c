/*
 * tests/unit/login_test.c - users, passwords, tokens and sessions: what they open, what ends them, and what
 * becomes of those who guess.
 */
#include "agent/lines.h"
#include "agent/requests.h"
#include "agent/secret.h"
#include "agent/tickets.h"
#include "tests/unit/fake_agent.h"

const struct rpc_method fake_methods[] = { { 0 } };

static uint64_t now_ms;

static uint64_t
clock_ms(void)
{
	return now_ms;
}

static int
setup(void **state)
{
	int rc = fake_setup(state);

	now_ms = 1000000;
	login_set_clock(fake_agent->login, clock_ms);
	tickets_set_clock(fake_agent->tickets, clock_ms);
	return rc;
}

static struct stream_rights rights; /* of the last ticket */

static const struct stream_rights *
rights_of(const struct identity *who)
{
	static struct stream_rights r;

	r = (struct stream_rights){ .who = *who, .role = ROLE_VIEWER, .path = "/" };
	return &r;
}

static int
log_in_from(const char *source, const char *user, const char *password)
{
	struct identity who;
	struct fault f = { 0 };

	identity_none(&who, CARRIER_WSS, source);
	now_ms += 1100; /* slow enough for the bucket */
	login_password(fake_agent, user, password, &who, &f);
	assert_int_equal(who.user[0] == '\0', f.code != FAULT_NONE);
	return (int)f.code;
}

static void
a_password_opens_and_a_wrong_one_does_not(void **state)
{
	(void)state;
	assert_int_equal(log_in_from("::1", "anna", "password of anna"), 0);
	assert_int_equal(log_in_from("::1", "anna", "password of olga"), FAULT_LOGIN_FAILED);
	assert_int_equal(log_in_from("::1", "nemo", "password of nemo"), FAULT_LOGIN_FAILED);
	assert_int_equal(log_in_from("::1", "daemon", ""), FAULT_LOGIN_FAILED);
	assert_int_equal(log_in_from("::1", "", ""), FAULT_LOGIN_FAILED);
	fake_file("etc/shadow", "anna::20000:0:99999:7:::\nolga:!$5$x$y:20000:0:99999:7:::\n");
	assert_int_equal(log_in_from("::1", "anna", ""), FAULT_LOGIN_FAILED); /* no password is none */
}

static void
who_guesses_is_locked_out_for_longer_and_longer(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++)
		assert_int_equal(log_in_from("10.0.0.1", "anna", "guess"), FAULT_LOGIN_FAILED);
	assert_int_equal(log_in_from("10.0.0.1", "anna", "password of anna"), FAULT_LOCKED_OUT);
	assert_int_equal(log_in_from("10.0.0.2", "anna", "password of anna"), 0); /* from elsewhere she may */
	assert_int_equal(log_in_from("10.0.0.1", "olga", "password of olga"), 0);
	now_ms += 30000;
	assert_int_equal(log_in_from("10.0.0.1", "anna", "guess"), FAULT_LOGIN_FAILED);
	now_ms += 31000;
	assert_int_equal(
	    log_in_from("10.0.0.1", "anna", "password of anna"), FAULT_LOCKED_OUT); /* 60 s now */
	now_ms += 30000;
	assert_int_equal(log_in_from("10.0.0.1", "anna", "password of anna"), 0);
	assert_int_equal(
	    log_in_from("10.0.0.1", "anna", "guess"), FAULT_LOGIN_FAILED); /* forgotten: from the start */
}

static void
a_source_and_a_user_are_locked_out_as_a_whole(void **state)
{
	char name[32];

	(void)state;
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "user%d", i);
		assert_int_equal(log_in_from("10.0.0.3", name, "guess"), FAULT_LOGIN_FAILED);
	}
	assert_int_equal(log_in_from("10.0.0.3", "anna", "password of anna"), FAULT_LOCKED_OUT);
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof(name), "10.1.0.%d", i);
		assert_int_equal(log_in_from(name, "olga", "guess"), FAULT_LOGIN_FAILED);
	}
	assert_int_equal(log_in_from("10.2.0.1", "olga", "password of olga"), FAULT_LOCKED_OUT);
}

/* Whoever has one address of IPv6 has 2^64 of them. */
static void
addresses_of_one_network_are_one_source(void **state)
{
	char from[64], name[32];

	(void)state;
	for (int i = 0; i < 20; i++) {
		snprintf(from, sizeof(from), "2001:db8:0:1::%x", i + 1);
		snprintf(name, sizeof(name), "user%d", i);
		assert_int_equal(log_in_from(from, name, "guess"), FAULT_LOGIN_FAILED);
	}
	assert_int_equal(log_in_from("2001:db8:0:1::ffff", "anna", "password of anna"), FAULT_LOCKED_OUT);
	assert_int_equal(log_in_from("2001:db8:0:2::1", "anna", "password of anna"), 0);
}

/* Nor is anything forgotten since others guess, too. */
static void
a_crowd_of_names_does_not_hide_who_is_guessed(void **state)
{
	char from[64], name[32];

	(void)state;
	for (int i = 0; i < 50; i++) {
		snprintf(from, sizeof(from), "10.3.0.%d", i);
		assert_int_equal(log_in_from(from, "olga", "guess"), FAULT_LOGIN_FAILED);
		for (int k = 0; k < (i == 48 ? 100 : 0); k++) {
			snprintf(from, sizeof(from), "10.4.%d.1", k);
			snprintf(name, sizeof(name), "user%d", k);
			assert_int_equal(log_in_from(from, name, "guess"), FAULT_LOGIN_FAILED);
		}
	}
	assert_int_equal(log_in_from("10.99.0.1", "olga", "password of olga"), FAULT_LOCKED_OUT);
}

static void
tries_come_no_faster_than_one_a_second(void **state)
{
	struct identity who;
	struct fault f;
	int refused = 0;

	(void)state;
	for (int i = 0; i < 15; i++) {
		identity_none(&who, CARRIER_WSS, "10.0.0.4");
		login_password(fake_agent, "anna", "password of anna", &who, &f);
		refused += f.code == FAULT_LOCKED_OUT;
		f.code = FAULT_NONE;
	}
	assert_int_equal(refused, 5);
}

static void
users_are_made_changed_and_deleted(void **state)
{
	json_t *r;

	(void)state;
	assert_true(fake_changed(fake_done(
	    "root", "user.create", "{\"name\":\"bert\",\"password\":\"a long one\",\"role\":\"Operator\"}")));
	assert_int_equal(log_in_from("::1", "bert", "a long one"), 0);
	assert_int_equal(fake_who("bert").grant[0].role, ROLE_OPERATOR);
	fake_refused("root", "user.create",
	    "{\"name\":\"bert\",\"password\":\"a long one\",\"role\":\"Viewer\"}", "USER_EXISTS");
	fake_refused("root", "user.create",
	    "{\"name\":\"daemon\",\"password\":\"a long one\",\"role\":\"Viewer\"}", "USER_RESERVED");
	fake_refused("root", "user.create",
	    "{\"name\":\"operators\",\"password\":\"a long one\",\"role\":\"Viewer\"}", "USER_RESERVED");
	fake_refused("root", "user.create",
	    "{\"name\":\"x:0:0\",\"password\":\"a long one\",\"role\":\"Viewer\"}", "BAD_PARAMS");
	fake_refused("root", "user.create", "{\"name\":\"carl\",\"password\":\"short\",\"role\":\"Viewer\"}",
	    "WEAK_PASSWORD");
	fake_refused("root", "user.create",
	    "{\"name\":\"carl\",\"password\":\"aaaaaaaaaa\",\"role\":\"Viewer\"}", "WEAK_PASSWORD");
	fake_refused("olga", "user.create",
	    "{\"name\":\"carl\",\"password\":\"a long one\",\"role\":\"Viewer\"}", "FORBIDDEN");
	r = fake_done("root", "user.list", NULL);
	assert_int_equal(json_array_size(json_object_get(r, "users")), 5); /* without daemon */
	json_decref(r);
	assert_true(fake_changed(
	    fake_done("bert", "user.setPassword", "{\"name\":\"bert\",\"password\":\"another one\"}")));
	assert_int_equal(log_in_from("::1", "bert", "a long one"), FAULT_LOGIN_FAILED);
	assert_int_equal(log_in_from("::1", "bert", "another one"), 0);
	fake_refused(
	    "bert", "user.setPassword", "{\"name\":\"anna\",\"password\":\"another one\"}", "FORBIDDEN");
	fake_refused(
	    "root", "user.setPassword", "{\"name\":\"nemo\",\"password\":\"another one\"}", "USER_NOT_FOUND");
	fake_refused("root", "user.delete", "{\"name\":\"bert\"}", "CONFIRM_NEEDED");
	assert_true(
	    fake_changed(fake_done("root", "user.delete", "{\"name\":\"bert\",\"_\":{\"confirm\":true}}")));
	assert_int_equal(log_in_from("::1", "bert", "another one"), FAULT_LOGIN_FAILED);
	fake_refused("root", "user.delete", "{\"name\":\"bert\",\"_\":{\"confirm\":true}}", "USER_NOT_FOUND");
	fake_refused(
	    "root", "user.delete", "{\"name\":\"root\",\"_\":{\"confirm\":true}}", "LAST_ADMINISTRATOR");
	fake_refused(
	    "root", "user.delete", "{\"name\":\"daemon\",\"_\":{\"confirm\":true}}", "USER_RESERVED");
}

static void
token_of(const char *user, const char *params, char text[TOKEN_TEXT_SIZE])
{
	json_t *r = fake_done(user, "token.create", params);

	strcpy(text, json_string_value(json_object_get(r, "token")));
	json_decref(r);
}

static int
use(const char *text, struct identity *who)
{
	struct fault f = { 0 };

	identity_none(who, CARRIER_HTTPS, "::1");
	now_ms += 1100;
	login_token(fake_agent, text, who, &f);
	return (int)f.code;
}

static void
a_token_is_kept_hashed_and_never_more_than_its_owner(void **state)
{
	char text[TOKEN_TEXT_SIZE], command[160];
	struct identity who;

	(void)state;
	token_of("olga", "{\"name\":\"t\",\"role\":\"Viewer\"}", text);
	snprintf(command, sizeof(command), "! grep -r '%s' '%s'", text, fake_dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(use(text, &who), 0);
	assert_int_equal(identity_role(&who, "/"), ROLE_VIEWER);
	assert_string_equal(who.token, "t");
	fake_refused("olga", "token.create", "{\"name\":\"u\",\"role\":\"Administrator\"}", "ROLE_TOO_HIGH");
	fake_refused("olga", "token.create", "{\"name\":\"t\"}", "TOKEN_EXISTS");
	fake_refused("olga", "token.create", "{\"name\":\"u\",\"days\":0}", "BAD_PARAMS");
	fake_refused(NULL, "token.create", "{\"name\":\"u\"}", "NOT_LOGGED_IN");
	fake_restart();
	login_set_clock(fake_agent->login, clock_ms);
	assert_int_equal(use(text, &who), 0);
	text[10] ^= 1;
	assert_int_equal(use(text, &who), FAULT_LOGIN_FAILED);
	assert_int_equal(identity_role(&who, "/"), ROLE_NONE);
	/* Its owner has less now. */
	text[10] ^= 1;
	fake_file("etc/group", "viewers:x:802:anna\n");
	assert_int_equal(use(text, &who), 0);
	assert_int_equal(identity_role(&who, "/"), ROLE_NONE);
}

static void
a_token_ends_with_its_time(void **state)
{
	char text[TOKEN_TEXT_SIZE], command[160];
	struct identity who;
	json_t *r;

	(void)state;
	token_of("anna", "{\"name\":\"t\",\"days\":1}", text);
	agent_stop(fake_agent);
	snprintf(command, sizeof(command),
	    "sed -i 's/\"Expires\": .*/\"Expires\": 1000/' %s/data/system/tokens.json", fake_dir);
	assert_int_equal(system(command), 0);
	fake_start();
	assert_int_equal(use(text, &who), FAULT_LOGIN_FAILED);
	r = fake_done("anna", "token.list", NULL);
	assert_int_equal(json_array_size(json_object_get(r, "tokens")), 0);
	json_decref(r);
	token_of("anna", "{\"name\":\"t\"}", text); /* the name is free again */
}

static void
a_connection_loses_what_its_token_or_user_loses(void **state)
{
	char text[TOKEN_TEXT_SIZE];
	struct identity who, session;
	struct fault f = { 0 };
	time_t until;

	(void)state;
	token_of("olga", "{\"name\":\"t\"}", text);
	assert_int_equal(use(text, &who), 0);
	login_renew(fake_agent, &who);
	assert_string_equal(who.user, "olga");
	session_new(fake_agent->tokens, "olga", 0, text, &until);
	assert_int_equal(use(text, &session), 0);
	fake_refused("anna", "token.delete", "{\"name\":\"t\",\"user\":\"olga\"}", "FORBIDDEN");
	fake_refused("anna", "token.delete", "{\"name\":\"t\"}", "TOKEN_NOT_FOUND");
	assert_true(fake_changed(fake_done("root", "token.delete", "{\"name\":\"t\",\"user\":\"olga\"}")));
	login_renew(fake_agent, &who);
	assert_string_equal(who.user, "");
	assert_int_equal(who.grants, 0);
	login_renew(fake_agent, &session);
	assert_string_equal(session.user, "olga");
	users_set_password(fake_agent->users, "olga", "a new password", &f);
	session_end_all(fake_agent->tokens, "olga");
	login_renew(fake_agent, &session);
	assert_string_equal(session.user, "");
}

/* Edited by hand, with passwd or chage. */
static void
set_shadow(const char *user, const char *hash, const char *expires)
{
	char text[512];

	snprintf(text, sizeof(text), "root:*:20000::::::\n%s:%s:20000:0:99999:7::%s:\n", user, hash, expires);
	fake_file("etc/shadow", text);
}

static void
who_is_disabled_is_nobody(void **state)
{
	static const struct {
		const char *hash, *expires;
		bool counts;
	} rows[] = {
		{ "$5$x$y", "", true },
		{ "*", "", true }, /* no password at all: tokens and the local socket are left */
		{ "!", "", true },
		{ "!$5$x$y", "", false }, /* passwd -l */
		{ "$5$x$y", "1", false }, /* chage -E */
		{ "$5$x$y", "99999", true },
	};
	char text[TOKEN_TEXT_SIZE];
	struct identity who;

	(void)state;
	token_of("olga", "{\"name\":\"t\"}", text);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		set_shadow("olga", "$5$x$y", "");
		assert_int_equal(use(text, &who), 0);
		assert_true(login_holds(fake_agent, &who, ROLE_OPERATOR, "/"));
		set_shadow("olga", rows[i].hash, rows[i].expires);
		assert_int_equal(login_holds(fake_agent, &who, ROLE_OPERATOR, "/"), rows[i].counts);
		assert_int_equal(use(text, &who), rows[i].counts ? 0 : FAULT_LOGIN_FAILED);
	}
}

static void
another_password_ends_what_the_old_one_opened(void **state)
{
	char token[TOKEN_TEXT_SIZE], session[TOKEN_TEXT_SIZE];
	struct identity by_password, by_token, by_session;
	struct fault f = { 0 };
	time_t until;

	(void)state;
	identity_none(&by_password, CARRIER_WSS, "::1");
	assert_int_equal(login_password(fake_agent, "olga", "password of olga", &by_password, &f), 0);
	session_new(fake_agent->tokens, "olga", by_password.password, session, &until);
	assert_int_equal(use(session, &by_session), 0);
	token_of("olga", "{\"name\":\"t\"}", token);
	assert_int_equal(use(token, &by_token), 0);
	set_shadow("olga", "$5$another$one", "");
	assert_false(login_holds(fake_agent, &by_password, ROLE_NONE, "/"));
	assert_false(login_holds(fake_agent, &by_session, ROLE_NONE, "/"));
	assert_true(login_holds(fake_agent, &by_token, ROLE_OPERATOR, "/")); /* has a life of its own */
	assert_int_equal(use(session, &by_session), FAULT_LOGIN_FAILED);
}

static void
what_was_begun_counts_by_its_user(void **state)
{
	char text[TOKEN_TEXT_SIZE];
	struct identity by_session, by_token;
	time_t until;

	(void)state;
	session_new(fake_agent->tokens, "olga", 0, text, &until);
	assert_int_equal(use(text, &by_session), 0);
	token_of("olga", "{\"name\":\"t\"}", text);
	assert_int_equal(use(text, &by_token), 0);
	session_end_all(fake_agent->tokens, "olga");
	assert_true(login_still_may(fake_agent, &by_session, ROLE_OPERATOR, "/vm/" WEB1)); /* a log-out */
	by_token.expires = 1;
	assert_false(login_still_may(fake_agent, &by_token, ROLE_OPERATOR, "/vm/" WEB1));
	fake_file("etc/group", "viewers:x:802:olga\n");
	assert_false(login_still_may(fake_agent, &by_session, ROLE_OPERATOR, "/vm/" WEB1));
	assert_true(login_still_may(fake_agent, &by_session, ROLE_VIEWER, "/vm/" WEB1));
}

/* A namesake has another number; whoever still runs with the old one is not the namesake. */
static void
a_local_user_is_known_by_number(void **state)
{
	struct identity who;

	(void)state;
	identity_none(&who, CARRIER_LOCAL, "pid 1");
	login_peer(fake_agent, 1001, &who);
	assert_string_equal(who.user, "olga");
	assert_true(login_holds(fake_agent, &who, ROLE_OPERATOR, "/"));
	fake_file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nolga:x:1009:100::/:/bin/false\n");
	assert_false(login_holds(fake_agent, &who, ROLE_NONE, "/"));
}

static void
a_deleted_user_leaves_no_token(void **state)
{
	char text[TOKEN_TEXT_SIZE];
	struct identity who;

	(void)state;
	token_of("olga", "{\"name\":\"t\"}", text);
	json_decref(fake_done("root", "user.delete", "{\"name\":\"olga\",\"_\":{\"confirm\":true}}"));
	assert_int_equal(use(text, &who), FAULT_LOGIN_FAILED);
	json_decref(fake_done(
	    "root", "user.create", "{\"name\":\"olga\",\"password\":\"a new one\",\"role\":\"Viewer\"}"));
	assert_int_equal(use(text, &who), FAULT_LOGIN_FAILED); /* nor one for a namesake */
}

static void
there_is_an_end_to_tokens_and_sessions(void **state)
{
	char params[64], text[TOKEN_TEXT_SIZE], first[TOKEN_TEXT_SIZE];
	struct identity who;
	time_t until;

	(void)state;
	for (int i = 0; i < TOKENS_OF_USER; i++) {
		snprintf(params, sizeof(params), "{\"name\":\"t%d\"}", i);
		token_of("anna", params, text);
	}
	fake_refused("anna", "token.create", "{\"name\":\"more\"}", "LIMIT");
	token_of("olga", "{\"name\":\"t\"}", text); /* others still can */
	session_new(fake_agent->tokens, "olga", 0, first, &until);
	for (int i = 0; i < SESSIONS_MAX + 5; i++)
		session_new(fake_agent->tokens, "anna", 0, text, &until);
	assert_int_equal(use(text, &who), 0);
	assert_int_equal(use(first, &who), 0);
}

static void
nobody_takes_away_the_tickets_of_others(void **state)
{
	struct identity anna = fake_who("anna"), olga = fake_who("olga");
	struct tickets *t = fake_agent->tickets;
	char first[TICKET_SIZE], text[TICKET_SIZE];
	struct fault f = { 0 };
	int fd;

	(void)state;
	tickets_add(t, rights_of(&olga), dup(0), first);
	for (int i = 0; i < TICKETS_MAX + 5; i++, now_ms++)
		tickets_add(t, rights_of(&anna), dup(0), text);
	fd = tickets_take(t, first, &olga, &rights, &f);
	assert_true(fd >= 0);
	close(fd);
	fd = tickets_take(t, text, &anna, &rights, &f);
	assert_true(fd >= 0);
	close(fd);
}

/* What call gives to whoever shows the token. */
static json_t *
call_with(const char *token, const char *method, const char *params)
{
	json_t *p = json_loads(params, 0, NULL), *answer;
	struct identity who;

	assert_int_equal(use(token, &who), 0);
	answer = dispatch_call(fake_agent, NULL, &who, method, p, NULL);
	json_decref(p);
	return answer;
}

static void
refused_with(const char *token, const char *method, const char *params, const char *symbol)
{
	json_t *answer = call_with(token, method, params);

	assert_string_equal(fake_symbol(answer), symbol);
	json_decref(answer);
}

static void
a_token_cannot_make_itself_more_or_longer(void **state)
{
	char text[TOKEN_TEXT_SIZE], full[TOKEN_TEXT_SIZE];
	json_t *answer, *result;

	(void)state;
	token_of("root", "{\"name\":\"t\",\"role\":\"Viewer\",\"days\":1}", text);
	token_of("root", "{\"name\":\"full\"}", full);
	refused_with(
	    text, "user.setPassword", "{\"name\":\"root\",\"password\":\"stolen by token\"}", "FORBIDDEN");
	assert_int_equal(log_in_from("::1", "root", "password of root"), 0);
	refused_with(text, "token.delete", "{\"name\":\"full\"}", "FORBIDDEN");
	refused_with(text, "token.create", "{\"name\":\"u\",\"role\":\"Operator\"}", "ROLE_TOO_HIGH");
	answer = call_with(text, "token.create", "{\"name\":\"u\",\"days\":3650}");
	result = fake_done("root", "token.list", NULL);
	for (size_t i = 0; i < 3; i++) { /* "t" and "u" end together */
		json_t *row = json_array_get(json_object_get(result, "tokens"), i);

		if (strcmp(json_string_value(json_object_get(row, "name")), "t") == 0)
			assert_string_equal(json_string_value(json_object_get(row, "expires")),
			    json_string_value(json_object_get(json_object_get(answer, "result"), "expires")));
	}
	json_decref(result);
	json_decref(answer);
	json_decref(
	    call_with(full, "user.setPassword", "{\"name\":\"root\",\"password\":\"by an administrator\"}"));
	assert_int_equal(log_in_from("::1", "root", "by an administrator"), 0);
	answer = call_with(text, "token.delete", "{\"name\":\"t\"}"); /* it may give itself up */
	assert_string_equal(fake_symbol(answer), "");
	json_decref(answer);
}

static void
a_request_that_is_kept_holds_no_secret(void **state)
{
	static const char params[] = "{\"name\":\"t\",\"_\":{\"requestId\":\"a\"}}";
	char text[TOKEN_TEXT_SIZE], command[256];
	json_t *again;

	(void)state;
	token_of("olga", params, text);
	snprintf(command, sizeof(command), "! grep -r '%s' '%s'", text, fake_dir);
	assert_int_equal(system(command), 0);
	again = fake_done("olga", "token.create", params);
	assert_string_equal(json_string_value(json_object_get(again, "name")), "t");
	assert_null(json_object_get(again, "token"));
	json_decref(again);
	/* Nor anything by which a password could be found: its digest is quicker to try than its hash. */
	json_decref(fake_done("olga", "user.setPassword",
	    "{\"name\":\"olga\",\"password\":\"the new one\",\"_\":{\"requestId\":\"b\"}}"));
	snprintf(command, sizeof(command),
	    "! grep -r \"$(printf '[\"user.setPassword\",{\"name\":\"olga\",\"password\":\"the new one\"}]' "
	    "| "
	    "sha256sum | cut -d' ' -f1)\" '%s'",
	    fake_dir);
	assert_int_equal(system(command), 0);
}

static void
nobody_pushes_out_the_requests_of_others(void **state)
{
	char params[96];

	(void)state;
	json_decref(fake_done("olga", "token.create", "{\"name\":\"t\",\"_\":{\"requestId\":\"a\"}}"));
	for (int i = 0; i < 2 * REQUESTS_MAX; i++) {
		snprintf(params, sizeof(params), "{\"name\":\"none\",\"_\":{\"requestId\":\"%d\"}}", i);
		fake_refused("anna", "token.delete", params, "TOKEN_NOT_FOUND");
		if (i == REQUESTS_MAX / 2)
			fake_restart();
	}
	json_decref(fake_done("olga", "token.create", "{\"name\":\"t\",\"_\":{\"requestId\":\"a\"}}"));
}

static void
a_namesake_of_a_deleted_user_inherits_nothing(void **state)
{
	(void)state;
	assert_int_equal(fake_who("paul").grants, 1);
	json_decref(fake_done("root", "user.delete", "{\"name\":\"paul\",\"_\":{\"confirm\":true}}"));
	json_decref(fake_done(
	    "root", "user.create", "{\"name\":\"paul\",\"password\":\"a new one\",\"role\":\"Viewer\"}"));
	assert_int_equal(fake_who("paul").grants, 1);
	assert_int_equal(fake_who("paul").grant[0].role, ROLE_VIEWER);
}

static void *
make_nina(void *password)
{
	struct fault f = { 0 };

	return users_create(fake_agent->users, "nina", password, ROLE_VIEWER, &f) == 0 ? password : NULL;
}

static void
of_two_who_make_a_user_one_is_told(void **state)
{
	static char one[] = "password one", two[] = "password two";
	pthread_t t[2];
	void *made[2];

	(void)state;
	pthread_create(&t[0], NULL, make_nina, one);
	pthread_create(&t[1], NULL, make_nina, two);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], &made[i]);
	assert_true((made[0] == NULL) != (made[1] == NULL));
	assert_int_equal(log_in_from("::1", "nina", made[0] ? made[0] : made[1]), 0);
}

/* There is no other way to take a grant away. */
static void
files_that_were_edited_count_at_once(void **state)
{
	struct identity paul, anna;
	struct fault f = { 0 };

	(void)state;
	identity_none(&paul, CARRIER_WSS, "::1");
	identity_none(&anna, CARRIER_WSS, "::1");
	assert_int_equal(login_password(fake_agent, "paul", "password of paul", &paul, &f), 0);
	assert_int_equal(login_password(fake_agent, "anna", "password of anna", &anna, &f), 0);
	fake_file("data/system/roles.json", "{\"Version\":1,\"Grants\":[]}");
	login_renew(fake_agent, &paul);
	assert_int_equal(paul.grants, 0);
	fake_file("etc/group", "root:x:0:\n");
	login_renew(fake_agent, &anna);
	assert_int_equal(anna.grants, 0);
}

static void
roots_session_on_the_socket_ends_too(void **state)
{
	struct identity who;
	struct token_info info;
	char text[TOKEN_TEXT_SIZE];
	time_t until;

	(void)state;
	session_new(fake_agent->tokens, "root", 0, text, &until);
	assert_true(tokens_find(fake_agent->tokens, text, &info));
	identity_none(&who, CARRIER_LOCAL, "pid 1");
	users_identify(fake_agent->users, "root", &who);
	strcpy(who.session, info.session);
	session_end_all(fake_agent->tokens, "root");
	login_renew(fake_agent, &who);
	assert_string_equal(who.user, "");
}

static void
a_broken_file_of_grants_grants_nothing(void **state)
{
	(void)state;
	fake_file("data/system/roles.json", "{\"Version\":1,\"Grants\":[{\"User\":\"paul\"");
	assert_int_equal(fake_who("paul").grants, 0);
	assert_int_equal(fake_who("anna").grants, 1);
	fake_file("data/system/roles.json", "{\"Version\":2,\"Grants\":[]}");
	assert_int_equal(fake_who("paul").grants, 0);
}

static void
a_broken_file_of_tokens_stops_the_start(void **state)
{
	struct agent_options o = fake_agent->o;
	struct err e = { 0 };

	(void)state;
	agent_stop(fake_agent);
	fake_file("data/system/tokens.json", "{}");
	assert_true(agent_start(&fake_agent, &o, &e) < 0);
	assert_non_null(strstr(e.msg, "tokens.json: Version: missing"));
	assert_null(fake_agent);
}

static void
a_ticket_is_good_once_for_its_user_for_30_seconds(void **state)
{
	struct identity anna = fake_who("anna"), olga = fake_who("olga"), near = fake_who(NULL),
			far = fake_who(NULL);
	struct tickets *t = fake_agent->tickets;
	char text[TICKET_SIZE];
	struct fault f = { 0 };
	int fd;

	(void)state;
	strcpy(far.source, "192.0.2.99");
	tickets_add(t, rights_of(&anna), dup(0), text);
	fd = tickets_take(t, text, &anna, &rights, &f);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(tickets_take(t, text, &anna, &rights, &f), -1);
	assert_int_equal(f.code, FAULT_TICKET_INVALID);
	tickets_add(t, rights_of(&anna), dup(0), text);
	assert_int_equal(tickets_take(t, text, &olga, &rights, &f), -1);
	assert_int_equal(tickets_take(t, text, &anna, &rights, &f), -1); /* shown is gone */
	tickets_add(t, rights_of(&anna), dup(0), text);
	assert_int_equal(tickets_take(t, text, &far, &rights, &f), -1);
	tickets_add(t, rights_of(&anna), dup(0), text);
	fd = tickets_take(t, text, &near, &rights, &f);
	assert_true(fd >= 0);
	close(fd);
	tickets_add(t, rights_of(&anna), dup(0), text);
	assert_int_equal(tickets_expire(t), TICKET_MS);
	now_ms += TICKET_MS;
	assert_int_equal(tickets_take(t, text, &anna, &rights, &f), -1);
	for (int i = 0; i < TICKETS_MAX + 5; i++)
		tickets_add(t, rights_of(&anna), dup(0), text);
	now_ms += TICKET_MS;
	assert_int_equal(tickets_expire(t), -1); /* all closed: teardown's leak check sees it */
	assert_int_equal(tickets_take(t, "", &anna, &rights, &f), -1);
}

static bool
may_anna(void *arg, struct stream_rights *r)
{
	(void)arg;
	return strcmp(r->who.user, "anna") == 0;
}

static void
a_ticket_whose_rights_have_gone_is_closed(void **state)
{
	struct identity anna = fake_who("anna"), olga = fake_who("olga");
	char of_anna[TICKET_SIZE], of_olga[TICKET_SIZE];
	struct tickets *t = fake_agent->tickets;
	struct fault f = { 0 };
	int fd[2];
	char byte;

	(void)state;
	assert_int_equal(pipe(fd), 0);
	tickets_add(t, rights_of(&olga), fd[1], of_olga);
	tickets_add(t, rights_of(&anna), dup(0), of_anna);
	assert_true(tickets_look(t, may_anna, NULL));
	assert_int_equal(read(fd[0], &byte, 1), 0);
	close(fd[0]);
	assert_int_equal(tickets_take(t, of_olga, &olga, &rights, &f), -1);
	fd[0] = tickets_take(t, of_anna, &anna, &rights, &f);
	assert_true(fd[0] >= 0);
	assert_string_equal(rights.who.user, "anna");
	assert_int_equal(rights.role, ROLE_VIEWER);
	close(fd[0]);
	assert_false(tickets_look(t, may_anna, NULL));
}

static void
lines_are_replaced_and_others_kept_as_they_are(void **state)
{
	static const struct {
		const char *text, *name, *line, *want;
	} rows[] = {
		{ "", "a", "a:1", "a:1\n" },
		{ "b:2", "a", "a:1", "b:2\na:1\n" },
		{ "a:0\nb:2\n", "a", "a:1", "a:1\nb:2\n" },
		{ "x\naa:0\na:0", "a", NULL, "x\naa:0\n" },
		{ "b:2\n", "a", NULL, "b:2\n" },
	};
	char members[64] = "b,a,ab,a", field[8];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *out = lines_set(rows[i].text, rows[i].name, rows[i].line);

		assert_string_equal(out, rows[i].want);
		free(out);
	}
	lines_drop_member(members, "a");
	assert_string_equal(members, "b,ab");
	assert_true(lines_add_member(members, sizeof(members), "c"));
	assert_true(lines_add_member(members, sizeof(members), "c"));
	assert_string_equal(members, "b,ab,c");
	lines_drop_member(members, "c");
	lines_drop_member(members, "ab");
	lines_drop_member(members, "b");
	assert_string_equal(members, "");
	assert_true(lines_field("a:bc:\n", 1, field, sizeof(field)));
	assert_string_equal(field, "bc");
	assert_true(lines_field("a:bc:\n", 2, field, sizeof(field)));
	assert_false(lines_field("a:bc\nd:e:f", 2, field, sizeof(field)));
	assert_false(lines_field("a:much too long", 1, field, sizeof(field)));
}

static void
base64_is_read_with_and_without_padding(void **state)
{
	char out[16];

	(void)state;
	assert_int_equal(secret_base64("YTpi", out, sizeof(out)), 3);
	assert_string_equal(out, "a:b");
	assert_int_equal(secret_base64("YTo=", out, sizeof(out)), 2);
	assert_int_equal(secret_base64("YQ", out, sizeof(out)), 1);
	assert_int_equal(secret_base64("", out, sizeof(out)), 0);
	assert_int_equal(secret_base64("Y T", out, sizeof(out)), -1);
	assert_int_equal(secret_base64("YTpiYTpiYTpiYTpiYTpiYTpi", out, sizeof(out)), -1);
}

#define T(x) cmocka_unit_test_setup_teardown(x, setup, fake_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_password_opens_and_a_wrong_one_does_not),
		T(who_guesses_is_locked_out_for_longer_and_longer),
		T(a_source_and_a_user_are_locked_out_as_a_whole),
		T(addresses_of_one_network_are_one_source),
		T(a_crowd_of_names_does_not_hide_who_is_guessed),
		T(tries_come_no_faster_than_one_a_second),
		T(users_are_made_changed_and_deleted),
		T(a_token_is_kept_hashed_and_never_more_than_its_owner),
		T(a_token_ends_with_its_time),
		T(a_connection_loses_what_its_token_or_user_loses),
		T(who_is_disabled_is_nobody),
		T(another_password_ends_what_the_old_one_opened),
		T(what_was_begun_counts_by_its_user),
		T(a_local_user_is_known_by_number),
		T(a_ticket_whose_rights_have_gone_is_closed),
		T(a_deleted_user_leaves_no_token),
		T(there_is_an_end_to_tokens_and_sessions),
		T(nobody_takes_away_the_tickets_of_others),
		T(a_token_cannot_make_itself_more_or_longer),
		T(a_request_that_is_kept_holds_no_secret),
		T(nobody_pushes_out_the_requests_of_others),
		T(a_namesake_of_a_deleted_user_inherits_nothing),
		T(of_two_who_make_a_user_one_is_told),
		T(files_that_were_edited_count_at_once),
		T(roots_session_on_the_socket_ends_too),
		T(a_broken_file_of_grants_grants_nothing),
		T(a_broken_file_of_tokens_stops_the_start),
		T(a_ticket_is_good_once_for_its_user_for_30_seconds),
		cmocka_unit_test(lines_are_replaced_and_others_kept_as_they_are),
		cmocka_unit_test(base64_is_read_with_and_without_padding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
