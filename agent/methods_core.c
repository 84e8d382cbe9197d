/*
 * agent/methods_core.c - what can be asked of the agent itself: sessions, users, tokens, jobs, events, audit,
 * and what can be asked at all.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "agent/audit.h"
#include "agent/client.h"
#include "agent/discover.h"
#include "agent/dispatch.h"
#include "agent/events.h"
#include "agent/jobs.h"
#include "agent/login.h"
#include "agent/tokens.h"
#include "agent/users.h"
#include "lib/log.h"
#include "lib/text.h"

#define TEXT(s, m, least, most) FIELD_AT(s, m), .min = (least), .max = (most)-1, .size = (most)
#define PASSWORD(s, m)          FIELD_AT(s, m), .max = PASSWORD_MAX, .size = PASSWORD_MAX + 1, .secret = true
/* Rows of results: nothing is read into a struct. */
#define SHOWN(most) .max = (most)-1, .size = (most)

static const struct field end_only[] = { { .type = FIELD_END } };

/* --- what there is --- */

static const struct field discover_result[] = {
	{ "openrpc", FIELD_STRING, true, SHOWN(17), .help = "Version of OpenRPC." },
	{ "info", FIELD_JSON, true, .help = "Title and version." },
	{ "methods", FIELD_JSON, true, .help = "All methods: parameters, result, errors, role, an example." },
	{ .type = FIELD_END },
};

static int
rpc_discover(struct call *c, const void *params, json_t *result, struct fault *f)
{
	json_t *doc = discover_openrpc();

	(void)c;
	(void)params;
	if (!doc)
		return fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
	json_object_update(result, doc);
	json_decref(doc);
	return 0;
}

static const struct field features_result[] = {
	{ "version", FIELD_STRING, true, SHOWN(17), .help = "Of the interface: only additions within 1." },
	{ "features", FIELD_STRINGS, true, .max = 1000, .size = 33,
	    .help = "Names of what this appliance can do." },
	{ .type = FIELD_END },
};

static int
rpc_features(struct call *c, const void *params, json_t *result, struct fault *f)
{
	char version[16];

	(void)c;
	(void)params;
	(void)f;
	snprintf(version, sizeof(version), "%d.%d", API_VERSION_MAJOR, API_VERSION_MINOR);
	json_object_set_new(result, "version", json_string(version));
	json_object_set_new(result, "features", discover_features());
	return 0;
}

/* --- sessions --- */

struct login_params {
	char user[USER_SIZE], password[PASSWORD_MAX + 1];
};

static const struct field login_fields[] = {
	{ "user", FIELD_STRING, true, TEXT(login_params, user, 1, USER_SIZE), .help = "Name of the user." },
	{ "password", FIELD_STRING, true, PASSWORD(login_params, password), .help = "Its password." },
	{ .type = FIELD_END },
};

static const struct field login_result[] = {
	{ "token", FIELD_STRING, true, SHOWN(TOKEN_TEXT_SIZE), .secret = true,
	    .help = "For later connections: Authorization: Bearer TOKEN." },
	{ "expires", FIELD_STRING, true, SHOWN(TIME_TEXT_SIZE), .unit = "time",
	    .help = "When the session ends." },
	{ "user", FIELD_STRING, true, SHOWN(USER_SIZE), .help = "Name of the user." },
	{ "role", FIELD_ENUM, true, .names = role_names, .help = "Its highest role." },
	{ .type = FIELD_END },
};

static const enum fault_code login_faults[] = { FAULT_LOGIN_FAILED, FAULT_LOCKED_OUT, FAULT_NONE };

static const char *
highest_role(const struct identity *who)
{
	return role_names[identity_role_below(who, "/")];
}

static int
session_login(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct login_params *p = params;
	struct token_info info;
	struct identity who;
	char token[TOKEN_TEXT_SIZE], expires[TIME_TEXT_SIZE];
	time_t until;

	identity_none(&who, c->who->carrier, c->who->source);
	if (login_password(c->agent, p->user, p->password, &who, f) < 0)
		return -1;
	session_new(c->agent->tokens, who.user, who.password, token, &until);
	if (tokens_find(c->agent->tokens, token, &info))
		text_copy(who.session, sizeof(who.session), info.session);
	who.expires = until;
	if (c->client)
		client_set_identity(c->client, &who);
	time_text(until, expires);
	json_object_set_new(result, "token", json_string(token));
	json_object_set_new(result, "expires", json_string(expires));
	json_object_set_new(result, "user", json_string(who.user));
	json_object_set_new(result, "role", json_string(highest_role(&who)));
	explicit_bzero(token, sizeof(token));
	return 0;
}

static int
session_logout(struct call *c, const void *params, json_t *result, struct fault *f)
{
	struct identity nobody;

	(void)params;
	(void)result;
	(void)f;
	identity_none(&nobody, c->who->carrier, c->who->source);
	if (c->client) /* first: by its own log-out a connection goes on, for another log-in */
		client_set_identity(c->client, &nobody);
	if (c->who->session[0])
		session_end(c->agent->tokens, c->who->session);
	agent_rights_changed(c->agent);
	return 0;
}

static const struct field session_result[] = {
	{ "user", FIELD_STRING, true, SHOWN(USER_SIZE), .help = "Name of the user." },
	{ "role", FIELD_ENUM, true, .names = role_names, .help = "Its highest role." },
	{ "carrier", FIELD_ENUM, true, .names = carrier_names, .help = "How the call came." },
	{ "token", FIELD_STRING, .min = 1, SHOWN(USER_SIZE), .help = "Name of the token used." },
	{ "expires", FIELD_STRING, SHOWN(TIME_TEXT_SIZE), .unit = "time",
	    .help = "When session or token end." },
	{ "grants", FIELD_JSON, true, .help = "Roles and where: [{role, path}]." },
	{ .type = FIELD_END },
};

static int
session_get(struct call *c, const void *params, json_t *result, struct fault *f)
{
	json_t *grants = json_array();
	char expires[TIME_TEXT_SIZE];

	(void)params;
	(void)f;
	json_object_set_new(result, "user", json_string(c->who->user));
	json_object_set_new(result, "role", json_string(highest_role(c->who)));
	json_object_set_new(result, "carrier", json_string(carrier_names[c->who->carrier]));
	if (c->who->token[0])
		json_object_set_new(result, "token", json_string(c->who->token));
	if (c->who->expires) {
		time_text(c->who->expires, expires);
		json_object_set_new(result, "expires", json_string(expires));
	}
	for (size_t i = 0; i < c->who->grants; i++) {
		const struct grant *g = &c->who->grant[i];

		json_array_append_new(grants,
		    json_pack("{s:s, s:s}", "role",
			role_names[g->role < c->who->most ? g->role : c->who->most], "path", g->path));
	}
	json_object_set_new(result, "grants", grants);
	return 0;
}

/* --- users --- */

struct user_params {
	char name[USER_SIZE], password[PASSWORD_MAX + 1];
	unsigned role;
};

static const char *const given_roles[] = { "Viewer", "Operator", "Administrator", NULL };

static const struct field user_fields[] = {
	{ "name", FIELD_STRING, true, TEXT(user_params, name, 1, USER_SIZE),
	    .help = "Small letters, digits, '-' and '_'." },
	{ "password", FIELD_STRING, true, PASSWORD(user_params, password), .help = "At least eight bytes." },
	{ "role", FIELD_ENUM, true, FIELD_AT(user_params, role), .names = given_roles,
	    .help = "What the user may do." },
	{ .type = FIELD_END },
};

static const struct field password_fields[] = {
	{ "name", FIELD_STRING, true, TEXT(user_params, name, 1, USER_SIZE),
	    .help = "Whose: one's own, or anybody's for an administrator." },
	{ "password", FIELD_STRING, true, PASSWORD(user_params, password), .help = "At least eight bytes." },
	{ .type = FIELD_END },
};

static const struct field user_name_fields[] = {
	{ "name", FIELD_STRING, true, TEXT(user_params, name, 1, USER_SIZE), .help = "Name of the user." },
	{ .type = FIELD_END },
};

static const struct field user_row[] = {
	{ "name", FIELD_STRING, true, SHOWN(USER_SIZE), .help = "Name of the user." },
	{ "role", FIELD_ENUM, true, .names = role_names, .help = "At the whole appliance." },
	{ "uid", FIELD_UINT, true, .max = 65535, .help = "Number of the user." },
	{ "locked", FIELD_BOOL, true, .help = "Whether there is no password to log in with." },
	{ .type = FIELD_END },
};

static const struct field users_result[] = {
	{ "users", FIELD_LIST, true, .max = 10000, .size = 1, .fields = user_row,
	    .help = "root, and those made here." },
	{ .type = FIELD_END },
};

static const enum fault_code user_create_faults[] = { FAULT_USER_EXISTS, FAULT_USER_RESERVED,
	FAULT_WEAK_PASSWORD, FAULT_NONE };
static const enum fault_code user_delete_faults[] = { FAULT_USER_NOT_FOUND, FAULT_USER_RESERVED,
	FAULT_LAST_ADMINISTRATOR, FAULT_NONE };
static const enum fault_code password_faults[] = { FAULT_USER_NOT_FOUND, FAULT_USER_RESERVED,
	FAULT_WEAK_PASSWORD, FAULT_NONE };

static int
user_list(struct call *c, const void *params, json_t *result, struct fault *f)
{
	(void)params;
	(void)f;
	json_object_set_new(result, "users", users_list(c->agent->users));
	return 0;
}

static void
tell_user(struct call *c, const char *type, const char *name)
{
	event_publish(c->agent, type, json_pack("{s:s}", "name", name));
}

static int
user_create(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct user_params *p = params;
	struct err e = { 0 };

	(void)result;
	if (users_may_create(c->agent->users, p->name, p->password, f) < 0)
		return -1;
	if (call_would(c, "create the user %s with the role %s", p->name, given_roles[p->role]))
		return 0;
	if (tokens_forget(c->agent->tokens, p->name, &e) < 0) /* of a namesake whose end was cut short */
		return fault_err(f, FAULT_STORAGE, NULL, NULL, &e);
	if (users_create(c->agent->users, p->name, p->password, ROLE_VIEWER + p->role, f) < 0)
		return -1;
	tell_user(c, "user.created", p->name);
	return 0;
}

static int
user_delete(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct user_params *p = params;
	struct err e = { 0 };

	(void)result;
	if (users_may_delete(c->agent->users, p->name, f) < 0)
		return -1;
	if (call_would(c, "delete the user %s, with tokens and sessions", p->name))
		return 0;
	if (users_delete(c->agent->users, p->name, f) < 0)
		return -1;
	if (tokens_forget(c->agent->tokens, p->name, &e) <
	    0) /* without their owner they do not count anyway */
		log_msg(LOG_ERROR, "tokens of %s: %s", p->name, e.msg);
	agent_rights_changed(c->agent);
	tell_user(c, "user.deleted", p->name);
	return 0;
}

/* What opens an account is the user's own, after a log-in; a token has to be an administrator's for that, or
 * it could make itself all that its owner is. */
static bool
may_account(const struct call *c, const char *user)
{
	return call_may(c, ROLE_ADMINISTRATOR, "/") || (strcmp(user, c->who->user) == 0 && !c->who->token[0]);
}

static int
user_set_password(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct user_params *p = params;

	(void)result;
	if (!may_account(c, p->name))
		return fault_set(f, FAULT_FORBIDDEN, "name", NULL,
		    "only an administrator sets another user's password, or one's own with a token");
	if (users_must_exist(c->agent->users, p->name, f) < 0 ||
	    users_password_ok(p->name, p->password, f) < 0)
		return -1;
	if (call_would(c, "set the password of %s, and end the user's sessions", p->name))
		return 0;
	if (users_set_password(c->agent->users, p->name, p->password, f) < 0)
		return -1;
	session_end_all(c->agent->tokens, p->name);
	agent_rights_changed(c->agent);
	tell_user(c, "user.changed", p->name);
	return 0;
}

/* --- tokens --- */

struct token_params {
	char name[USER_SIZE], user[USER_SIZE];
	unsigned role;
	uint64_t days;
};

static void
token_defaults(void *params)
{
	struct token_params *p = params;

	p->days = 30;
}

static const struct field token_fields[] = {
	{ "name", FIELD_STRING, true, TEXT(token_params, name, 1, USER_SIZE),
	    .help = "To tell one's tokens apart." },
	{ "role", FIELD_ENUM, FIELD_AT(token_params, role), .names = given_roles,
	    .help = "The most the token can do; left out: all that its owner may." },
	{ "days", FIELD_UINT, FIELD_AT(token_params, days), .min = 1, .max = TOKEN_DAYS_MAX, .unit = "days",
	    .help = "How long it counts." },
	{ .type = FIELD_END },
};

static const struct field token_name_fields[] = {
	{ "name", FIELD_STRING, true, TEXT(token_params, name, 1, USER_SIZE), .help = "Name of the token." },
	{ "user", FIELD_STRING, TEXT(token_params, user, 0, USER_SIZE),
	    .help = "Its owner, if that is another one; for administrators." },
	{ .type = FIELD_END },
};

static const struct field token_result[] = {
	{ "token", FIELD_STRING, SHOWN(TOKEN_TEXT_SIZE), .secret = true,
	    .help = "Shown this once. Missing in a dry run, and when a requestId is repeated." },
	{ "name", FIELD_STRING, true, SHOWN(USER_SIZE), .help = "Its name." },
	{ "user", FIELD_STRING, true, SHOWN(USER_SIZE), .help = "Its owner." },
	{ "role", FIELD_ENUM, true, .names = role_names, .help = "The most it can do." },
	{ "expires", FIELD_STRING, true, SHOWN(TIME_TEXT_SIZE), .unit = "time", .help = "When it ends." },
	{ .type = FIELD_END },
};

static const struct field token_row[] = {
	{ "name", FIELD_STRING, true, SHOWN(USER_SIZE), .help = "Its name." },
	{ "user", FIELD_STRING, true, SHOWN(USER_SIZE), .help = "Its owner." },
	{ "role", FIELD_ENUM, true, .names = role_names, .help = "The most it can do." },
	{ "created", FIELD_STRING, true, SHOWN(TIME_TEXT_SIZE), .unit = "time", .help = "Since when." },
	{ "expires", FIELD_STRING, true, SHOWN(TIME_TEXT_SIZE), .unit = "time", .help = "Until when." },
	{ .type = FIELD_END },
};

static const struct field tokens_result[] = {
	{ "tokens", FIELD_LIST, true, .max = TOKENS_MAX, .size = 1, .fields = token_row,
	    .help = "One's own; all for an administrator." },
	{ .type = FIELD_END },
};

static const enum fault_code token_create_faults[] = { FAULT_TOKEN_EXISTS, FAULT_ROLE_TOO_HIGH, FAULT_LIMIT,
	FAULT_NONE };
static const enum fault_code token_delete_faults[] = { FAULT_TOKEN_NOT_FOUND, FAULT_NONE };

static void
fill_token(struct call *c, const struct token_params *p, enum role role, struct token_info *info)
{
	*info = (struct token_info){ .role = role, .created = time(NULL) };
	info->expires = info->created + (time_t)p->days * 24 * 3600;
	if (c->who->token[0] && info->expires > c->who->expires)
		info->expires = c->who->expires; /* one that a token makes ends with it */
	text_copy(info->user, sizeof(info->user), c->who->user);
	text_copy(info->name, sizeof(info->name), p->name);
}

static int
token_create(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct token_params *p = params;
	enum role own = identity_role_below(c->who, "/"),
		  role = call_has(c, "role") ? ROLE_VIEWER + p->role : own;
	char text[TOKEN_TEXT_SIZE], expires[TIME_TEXT_SIZE];
	struct token_info info;

	if (role > own)
		return fault_set(f, FAULT_ROLE_TOO_HIGH, "role", NULL,
		    "%s has the role %s, and a token cannot have more", c->who->user, role_names[own]);
	if (tokens_may_create(c->agent->tokens, c->who->user, p->name, f) < 0)
		return -1;
	fill_token(c, p, role, &info);
	time_text(info.expires, expires);
	json_object_set_new(result, "name", json_string(info.name));
	json_object_set_new(result, "user", json_string(info.user));
	json_object_set_new(result, "role", json_string(role_names[role]));
	json_object_set_new(result, "expires", json_string(expires));
	if (call_would(
		c, "create the token %s of %s, %s until %s", info.name, info.user, role_names[role], expires))
		return 0;
	if (tokens_create(c->agent->tokens, &info, text, f) < 0)
		return -1;
	json_object_set_new(result, "token", json_string(text));
	explicit_bzero(text, sizeof(text));
	return 0;
}

static int
token_list(struct call *c, const void *params, json_t *result, struct fault *f)
{
	(void)params;
	(void)f;
	json_object_set_new(result, "tokens",
	    tokens_list(c->agent->tokens, call_may(c, ROLE_ADMINISTRATOR, "/") ? NULL : c->who->user));
	return 0;
}

static int
token_delete(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct token_params *p = params;
	const char *user = p->user[0] ? p->user : c->who->user;
	bool itself = strcmp(user, c->who->user) == 0 && strcmp(p->name, c->who->token) == 0;

	(void)result;
	if (!itself && !may_account(c, user))
		return fault_set(f, FAULT_FORBIDDEN, "user", NULL,
		    "only an administrator deletes another user's token, or another one with a token");
	if (tokens_must_exist(c->agent->tokens, user, p->name, f) < 0)
		return -1;
	if (call_would(c, "delete the token %s of %s", p->name, user))
		return 0;
	if (tokens_delete(c->agent->tokens, user, p->name, f) < 0)
		return -1;
	agent_rights_changed(c->agent);
	return 0;
}

/* --- rights --- */

struct access_params {
	char method[64], vm[65], user[USER_SIZE];
};

static const struct field access_fields[] = {
	{ "method", FIELD_STRING, true, TEXT(access_params, method, 1, 64), .help = "Name of a method." },
	{ "vm", FIELD_STRING, TEXT(access_params, vm, 0, 65),
	    .help = "Name or GUID of a machine, where the method takes one." },
	{ "user", FIELD_STRING, TEXT(access_params, user, 0, USER_SIZE),
	    .help = "Whom it is about; others for administrators." },
	{ .type = FIELD_END },
};

static const struct field access_result[] = {
	{ "allowed", FIELD_BOOL, true, .help = "Whether the user may call it." },
	{ "because", FIELD_STRING, true, SHOWN(ERR_MSG_SIZE), .help = "The reason, in words." },
	{ .type = FIELD_END },
};

static const enum fault_code access_faults[] = { FAULT_NO_SUCH_METHOD, FAULT_USER_NOT_FOUND, FAULT_NONE };

/* Whom it is about. */
static int
access_who(struct call *c, const struct access_params *p, struct identity *who, struct fault *f)
{
	*who = *c->who;
	if (!p->user[0] || strcmp(p->user, c->who->user) == 0)
		return 0;
	if (!call_may(c, ROLE_ADMINISTRATOR, "/"))
		return fault_set(
		    f, FAULT_FORBIDDEN, "user", NULL, "only an administrator asks about another user");
	identity_none(who, CARRIER_INTERNAL, "");
	if (users_identify(c->agent->users, p->user, who))
		return 0;
	return fault_set(f, FAULT_USER_NOT_FOUND, "user", "user.list tells which there are.",
	    "no user is called '%s'", p->user);
}

static int
access_test(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct access_params *p = params;
	const struct rpc_method *m = dispatch_find(p->method);
	char path[PATH_TEXT_SIZE], because[ERR_MSG_SIZE];
	struct fault why = { 0 };
	struct identity who;
	json_t *asked;
	int rc;

	if (!m)
		return fault_set(f, FAULT_NO_SUCH_METHOD, "method", "rpc.discover lists all methods.",
		    "no method is called '%s'", p->method);
	if (access_who(c, p, &who, f) < 0)
		return -1;
	asked = json_pack("{s:s}", "vm", p->vm);
	rc = dispatch_may(c->agent, &who, m, asked, path, &why);
	json_decref(asked);
	snprintf(because, sizeof(because), "%s needs %s at %s, which %s has", m->name,
	    m->role == ROLE_NONE ? "a log-in" : role_names[m->role], path, who.user);
	json_object_set_new(result, "allowed", json_boolean(rc == 0));
	json_object_set_new(result, "because", json_string(rc == 0 ? because : why.message));
	return 0;
}

struct audit_params {
	uint64_t limit;
};

static void
audit_defaults(void *params)
{
	struct audit_params *p = params;

	p->limit = 100;
}

static const struct field audit_fields[] = {
	{ "limit", FIELD_UINT, FIELD_AT(audit_params, limit), .min = 1, .max = AUDIT_LIST_MAX,
	    .help = "The last so many." },
	{ .type = FIELD_END },
};

static const struct field audit_result[] = {
	{ "entries", FIELD_JSON, true,
	    .help = "Oldest first: [{time, user, token, carrier, from, method, params, result, message, "
		    "changed, job}]." },
	{ .type = FIELD_END },
};

static int
audit_list_call(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct audit_params *p = params;

	(void)f;
	json_object_set_new(result, "entries", audit_list(c->agent->audit, (size_t)p->limit));
	return 0;
}

/* --- jobs --- */

struct job_params {
	char job[JOB_ID_SIZE];
	uint64_t timeout;
};

static void
job_defaults(void *params)
{
	struct job_params *p = params;

	p->timeout = 60;
}

#define JOB_ROW                                                                                            \
	{                                                                                                  \
		"job", FIELD_STRING, true, TEXT(job_params, job, 1, JOB_ID_SIZE), .help = "Id of the job." \
	}

static const struct field job_fields[] = { JOB_ROW, { .type = FIELD_END } };

static const struct field wait_fields[] = {
	JOB_ROW,
	{ "timeout", FIELD_UINT, FIELD_AT(job_params, timeout), .max = 3600, .unit = "s",
	    .help = "Answers after so long at the latest, with whatever is so then." },
	{ .type = FIELD_END },
};

#define JOB_RESULT_ROWS                                                                                   \
	{ "job", FIELD_STRING, true, SHOWN(JOB_ID_SIZE), .help = "Id of the job." },                      \
	    { "method", FIELD_STRING, true, SHOWN(49), .help = "What was called." },                      \
	    { "user", FIELD_STRING, true, SHOWN(USER_SIZE), .help = "Who has called it." },               \
	    { "path", FIELD_STRING, true, SHOWN(SCOPE_SIZE), .help = "What it touches." },                \
	    { "state", FIELD_ENUM, true, .names = job_states,                                             \
		    .help = "ShuttingDown: somebody has cancelled it." },                                 \
	    { "phase", FIELD_STRING, true, SHOWN(33), .help = "What it is at." },                         \
	    { "done", FIELD_UINT, true, .max = INT64_MAX, .help = "How far, in unit." },                  \
	    { "total", FIELD_UINT, true, .max = INT64_MAX, .help = "Of how much; 0: unknown." },          \
	    { "unit", FIELD_STRING, true, SHOWN(17), .help = "bytes, s, or nothing." },                   \
	    { "created", FIELD_STRING, true, SHOWN(TIME_TEXT_SIZE), .unit = "time",                       \
		    .help = "When it was called." },                                                      \
	    { "started", FIELD_STRING, SHOWN(TIME_TEXT_SIZE), .unit = "time",                             \
		    .help = "When its turn came." },                                                      \
	{                                                                                                 \
		"finished", FIELD_STRING, SHOWN(TIME_TEXT_SIZE), .unit = "time", .help = "When it ended." \
	}

static const struct field job_result[] = {
	JOB_RESULT_ROWS,
	{ "result", FIELD_JSON, .help = "Once Completed: what the method gives." },
	{ "error", FIELD_JSON, .help = "Once Terminated or Exception: {code, message, data}." },
	{ .type = FIELD_END },
};

static const struct field job_row[] = { JOB_RESULT_ROWS, { .type = FIELD_END } };

static const struct field jobs_result[] = {
	{ "jobs", FIELD_LIST, true, .max = 1000, .size = 1, .fields = job_row, .help = "The newest first." },
	{ .type = FIELD_END },
};

static const enum fault_code job_faults[] = { FAULT_JOB_NOT_FOUND, FAULT_NONE };

/* One's own, or of something that one has the role at. */
static bool
may_job(const struct call *c, const json_t *job, enum role role)
{
	const char *user = json_string_value(json_object_get(job, "user"));
	const char *path = json_string_value(json_object_get(job, "path"));

	return (user && strcmp(user, c->who->user) == 0) || (path && call_may(c, role, path));
}

static int
job_list(struct call *c, const void *params, json_t *result, struct fault *f)
{
	json_t *all = jobs_list(c->agent->jobs), *seen = json_array(), *job;
	size_t i;

	(void)params;
	(void)f;
	json_array_foreach(all, i, job) if (may_job(c, job, ROLE_VIEWER)) json_array_append(seen, job);
	json_decref(all);
	json_object_set_new(result, "jobs", seen);
	return 0;
}

/* The job, if the caller may have to do with it; a job that may not be seen is not there. */
static json_t *
find_job(struct call *c, const char *id, unsigned timeout_ms, struct fault *f)
{
	json_t *job = jobs_get(c->agent->jobs, id, 0);

	if (job && may_job(c, job, ROLE_VIEWER)) {
		if (!timeout_ms)
			return job;
		json_decref(job);
		job = jobs_get(c->agent->jobs, id, timeout_ms);
		if (job)
			return job;
	}
	json_decref(job);
	fault_set(
	    f, FAULT_JOB_NOT_FOUND, "job", "job.list tells which there are.", "no job is called '%s'", id);
	return NULL;
}

static int
job_get(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct job_params *p = params;
	json_t *job = find_job(c, p->job, 0, f);

	if (!job)
		return -1;
	json_object_update(result, job);
	json_decref(job);
	return 0;
}

static int
job_wait(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct job_params *p = params;
	json_t *job = find_job(c, p->job, (unsigned)p->timeout * 1000, f);

	if (!job)
		return -1;
	json_object_update(result, job);
	json_decref(job);
	return 0;
}

static int
job_cancel(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct job_params *p = params;
	json_t *job = find_job(c, p->job, 0, f);
	bool may = job && may_job(c, job, ROLE_OPERATOR);
	bool ended = job && json_object_get(job, "finished");
	int rc;

	json_decref(job);
	if (!job)
		return -1;
	if (!may)
		return fault_set(
		    f, FAULT_FORBIDDEN, "job", NULL, "only an operator cancels another user's job");
	if (ended) {
		json_object_set_new(result, "changed", json_false());
		return 0;
	}
	if (call_would(c, "cancel the job %s", p->job))
		return 0;
	rc = jobs_cancel(c->agent->jobs, p->job, f);
	if (rc == 0)
		json_object_set_new(result, "changed", json_false());
	return rc < 0 ? -1 : 0;
}

/* --- events --- */

struct subscribe_params {
	uint64_t since;
	char type[EVENT_TYPES_MAX][EVENT_TYPE_SIZE];
	size_t types;
};

static const struct field subscribe_fields[] = {
	{ "since", FIELD_UINT, FIELD_AT(subscribe_params, since), .max = INT64_MAX,
	    .help = "Number of the last event that was heard: what came after it is told first." },
	{ "types", FIELD_STRINGS, FIELD_AT(subscribe_params, type), .max = EVENT_TYPES_MAX,
	    .size = EVENT_TYPE_SIZE, .count_offset = offsetof(struct subscribe_params, types),
	    .help = "What is wanted: vm.state, or all that begin with \"vm.\"; left out: everything." },
	{ .type = FIELD_END },
};

static const struct field subscribe_result[] = {
	{ "seq", FIELD_UINT, true, .max = INT64_MAX, .help = "Number of the last event that there was." },
	{ .type = FIELD_END },
};

static const struct field unsubscribe_result[] = {
	{ "subscribed", FIELD_BOOL, true, .help = "Whether the connection had subscribed." },
	{ .type = FIELD_END },
};

static const enum fault_code subscribe_faults[] = { FAULT_EVENT_GAP, FAULT_WRONG_CARRIER, FAULT_NONE };

static int
event_subscribe(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct subscribe_params *p = params;
	uint64_t last;

	if (client_subscribe(
		c->client, json_object_get(c->params, "types"), call_has(c, "since"), p->since, &last, f) < 0)
		return -1;
	json_object_set_new(result, "seq", json_integer((json_int_t)last));
	return 0;
}

static int
event_unsubscribe(struct call *c, const void *params, json_t *result, struct fault *f)
{
	(void)params;
	(void)f;
	json_object_set_new(result, "subscribed", json_boolean(client_unsubscribe(c->client)));
	return 0;
}

/* A role of ROLE_NONE without METHOD_OPEN: whoever has logged in. */
const struct rpc_method methods_core[] = {
	{ "rpc.discover", "Describes all methods as an OpenRPC document.", "/", ROLE_NONE, METHOD_OPEN,
	    .result = discover_result, .example = "rpc.discover()", .call = rpc_discover },
	{ "rpc.features",
	    "Names what this appliance can do, so that a client can ask before it relies on something.", "/",
	    ROLE_NONE, METHOD_OPEN, .result = features_result, .example = "rpc.features()",
	    .call = rpc_features },
	{ "session.login",
	    "Logs in with user and password. The connection is the user's from then on, and the token opens "
	    "others.",
	    "/", ROLE_NONE, METHOD_OPEN | METHOD_LOGIN | METHOD_AUDITED, login_fields,
	    sizeof(struct login_params), .result = login_result, .faults = login_faults,
	    .example = "session.login{user=\"root\", password=\"...\"}", .call = session_login },
	{ "session.logout",
	    "Ends the session, with its other connections and its streams; this connection is nobody's from "
	    "then on.",
	    "/", ROLE_NONE, METHOD_AUDITED, .result = end_only, .example = "session.logout()",
	    .call = session_logout },
	{ "session.get", "Tells who the caller is, and what the caller may do.", "/", ROLE_NONE, 0,
	    .result = session_result, .example = "session.get()", .call = session_get },
	{ "user.list", "Lists the users.", "/", ROLE_ADMINISTRATOR, 0, .result = users_result,
	    .example = "user.list()", .call = user_list },
	{ "user.create", "Makes a user, who can use this interface but has no log-in on the console.", "/",
	    ROLE_ADMINISTRATOR, METHOD_CHANGES | METHOD_LOGIN, user_fields, sizeof(struct user_params),
	    .result = end_only, .faults = user_create_faults,
	    .example = "user.create{name=\"anna\", password=\"...\", role=\"Viewer\"}", .call = user_create },
	{ "user.delete", "Deletes a user, with tokens, sessions, connections and streams.", "/",
	    ROLE_ADMINISTRATOR, METHOD_CHANGES | METHOD_DESTRUCTIVE, user_name_fields,
	    sizeof(struct user_params), .result = end_only, .faults = user_delete_faults,
	    .example = "user.delete{\"anna\", confirm=true}", .call = user_delete },
	{ "user.setPassword",
	    "Sets a password and ends the user's sessions, with their connections and streams. Tokens go on.",
	    "/", ROLE_NONE, METHOD_CHANGES | METHOD_LOGIN, password_fields, sizeof(struct user_params),
	    .result = end_only, .faults = password_faults,
	    .example = "user.setPassword{name=\"anna\", password=\"...\"}", .call = user_set_password },
	{ "token.create",
	    "Makes a token for scripts and tools: shown once, kept hashed, never more than its owner.", "/",
	    ROLE_NONE, METHOD_CHANGES, token_fields, sizeof(struct token_params), token_defaults,
	    token_result, token_create_faults, "token.create{name=\"backup\", role=\"Operator\", days=90}",
	    token_create },
	{ "token.list", "Lists tokens: one's own, or all for an administrator.", "/", ROLE_NONE, 0,
	    .result = tokens_result, .example = "token.list()", .call = token_list },
	{ "token.delete", "Deletes a token, and ends the connections and streams that were opened with it.",
	    "/", ROLE_NONE, METHOD_CHANGES, token_name_fields, sizeof(struct token_params),
	    .result = end_only, .faults = token_delete_faults, .example = "token.delete(\"backup\")",
	    .call = token_delete },
	{ "access.test", "Explains whether a user may call a method, and why.", "/", ROLE_NONE, 0,
	    access_fields, sizeof(struct access_params), .result = access_result, .faults = access_faults,
	    .example = "access.test{method=\"vm.start\", vm=\"web1\", user=\"anna\"}", .call = access_test },
	{ "audit.list", "Lists who did what, and what was refused to whom.", "/", ROLE_ADMINISTRATOR, 0,
	    audit_fields, sizeof(struct audit_params), audit_defaults, audit_result,
	    .example = "audit.list{limit=20}", .call = audit_list_call },
	{ "job.list", "Lists jobs: those under way, and the last that ended.", "/", ROLE_NONE, 0,
	    .result = jobs_result, .example = "job.list()", .call = job_list },
	{ "job.get", "Tells how far a job is.", "/", ROLE_NONE, METHOD_PRIORITY, job_fields,
	    sizeof(struct job_params), .result = job_result, .faults = job_faults,
	    .example = "job.get(\"j7\")", .call = job_get },
	{ "job.wait", "Waits until a job has ended, and tells what came of it.", "/", ROLE_NONE, METHOD_WAITS,
	    wait_fields, sizeof(struct job_params), job_defaults, job_result, job_faults,
	    "job.wait{\"j7\", timeout=600}", job_wait },
	{ "job.cancel", "Asks a job to end; it leaves nothing half done.", "/", ROLE_NONE,
	    METHOD_CHANGES | METHOD_PRIORITY, job_fields, sizeof(struct job_params), .result = end_only,
	    .faults = job_faults, .example = "job.cancel(\"j7\")", .call = job_cancel },
	{ "event.subscribe", "Tells the connection about events from now on, or from after an earlier one.",
	    "/", ROLE_NONE, 0, subscribe_fields, sizeof(struct subscribe_params), .result = subscribe_result,
	    .faults = subscribe_faults, .example = "event.subscribe{types={\"vm.\"}}",
	    .call = event_subscribe },
	{ "event.unsubscribe", "Tells the connection no more events.", "/", ROLE_NONE, 0,
	    .result = unsubscribe_result, .example = "event.unsubscribe()", .call = event_unsubscribe },
	{ 0 },
};
