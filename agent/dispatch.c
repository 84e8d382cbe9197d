/*
 * agent/dispatch.c - the rules of the interface, once.
 *
 * In this order: is there such a method; has the caller any role that could do it; are the parameters what
 * the table says; may the caller do it there; is a destructive call confirmed; was it answered before
 * (requestId). Then the handler, or its job; then the audit.
 */
#include "agent/dispatch.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/audit.h"
#include "agent/identity.h"
#include "agent/jobs.h"
#include "agent/login.h"
#include "agent/requests.h"
#include "agent/secret.h"
#include "lib/guid.h"
#include "lib/log.h"

enum { WOULD_MAX = 64 };

/* The member "_" of the parameters. */
struct extras {
	bool dry_run, confirm;
	char request_id[REQUEST_ID_MAX + 1];
	uint64_t if_match;
};

static const struct field extras_fields[] = {
	{ "dryRun", FIELD_BOOL, FIELD_AT(extras, dry_run), .help = "Only tell what would be done." },
	{ "requestId", FIELD_STRING, FIELD_AT(extras, request_id), .min = 1, .max = REQUEST_ID_MAX,
	    .size = REQUEST_ID_MAX + 1,
	    .help = "A change sent again with the same id gives the first answer again." },
	{ "ifMatch", FIELD_UINT, FIELD_AT(extras, if_match), .max = INT64_MAX,
	    .help = "The revision that the caller saw; refused when there is a newer one." },
	{ "confirm", FIELD_BOOL, FIELD_AT(extras, confirm), .help = "Yes, destroy it." },
	{ .type = FIELD_END },
};

/* One call on its way through the rules. */
struct passage {
	struct call call;
	const struct rpc_method *m;
	struct extras extras;
	void *values; /* of the parameters, as m->params says */
	char path[PATH_TEXT_SIZE];
	char key[REQUEST_KEY_SIZE]; /* of the requestId; "" without */
	char name[64];              /* as the caller wrote it, cut */
};

const struct rpc_method *
dispatch_find(const char *name)
{
	for (size_t i = 0; method_tables[i]; i++)
		for (const struct rpc_method *m = method_tables[i]; m->name; m++)
			if (strcmp(m->name, name) == 0)
				return m;
	return NULL;
}

/* What the call touches: "/vm/{vm}" with the machine's GUID, or, when there is none of that name, the name.
 */
static void
resolve_path(struct agent *a, const struct rpc_method *m, const json_t *params, char out[PATH_TEXT_SIZE])
{
	const char *open = strchr(m->path, '{'), *close = open ? strchr(open, '}') : NULL;
	char param[33] = "", guid[37];
	const char *value;

	if (!close || (size_t)(close - open) > sizeof(param)) {
		snprintf(out, PATH_TEXT_SIZE, "%s", m->path);
		return;
	}
	memcpy(param, open + 1, (size_t)(close - open) - 1);
	if (close[-1] == '?') {
		param[close - open - 2] = '\0';
		if (!json_object_get(params, param)) {
			snprintf(out, PATH_TEXT_SIZE, "/");
			return;
		}
	}
	value = json_string_value(json_object_get(params, param));
	if (!value || strchr(value, '/'))
		value = "?";
	if (strcmp(param, "vm") == 0 && a->vm_guid && a->vm_guid(a, value, guid))
		value = guid;
	snprintf(out, PATH_TEXT_SIZE, "%.*s%.40s", (int)(open - m->path), m->path, value);
}

static int
forbid(
    struct fault *f, const struct identity *who, const struct rpc_method *m, const char *path, enum role has)
{
	return fault_set(f, FAULT_FORBIDDEN, NULL, "access.test explains what a user may do.",
	    "%s needs the role %s at %s; %s has %s there", m->name, role_names[m->role], path, who->user,
	    has == ROLE_NONE ? "none" : role_names[has]);
}

static int
not_logged_in(struct fault *f, const struct rpc_method *m)
{
	return fault_set(f, FAULT_NOT_LOGGED_IN, NULL, "Use a token, user and password, or session.login.",
	    "%s needs a log-in", m->name);
}

/* At path, or, when it ends with a slash, anywhere there. */
static enum role
role_at(const struct identity *who, const char *path)
{
	size_t len = strlen(path);

	return len > 1 && path[len - 1] == '/' ? identity_role_below(who, path) : identity_role(who, path);
}

int
dispatch_may(struct agent *a, const struct identity *who, const struct rpc_method *m, const json_t *params,
    char *path, struct fault *f)
{
	enum role has;

	resolve_path(a, m, params, path);
	if (m->flags & METHOD_OPEN)
		return 0;
	if (!who->user[0])
		return not_logged_in(f, m);
	has = role_at(who, path);
	return has >= m->role ? 0 : forbid(f, who, m, path, has);
}

/* Before the parameters are looked at: whether there is anything at all that the caller may do with it. */
static int
may_anywhere(const struct identity *who, const struct rpc_method *m, struct fault *f)
{
	char above[PATH_TEXT_SIZE];
	enum role has;

	if (m->flags & METHOD_OPEN)
		return 0;
	if (!who->user[0])
		return not_logged_in(f, m);
	snprintf(above, sizeof(above), "%.*s", (int)strcspn(m->path, "{"), m->path);
	has = role_at(who, above);
	return has >= m->role ? 0 : forbid(f, who, m, above, has);
}

/* A schema's sentence begins with the path, if there is one: "memory: 3 is not between ...". */
static int
bad_params(struct fault *f, const char *prefix, const struct err *e)
{
	size_t len = strcspn(e->msg, ": ");
	char path[FAULT_PATH_SIZE];

	if (e->msg[len] != ':' || e->msg[len + 1] != ' ')
		len = 0;
	snprintf(path, sizeof(path), "%s%.*s", prefix, (int)len, e->msg);
	return fault_set(f, FAULT_BAD_PARAMS, path, NULL, "%s%s", len ? prefix : "", e->msg);
}

/* Takes "_" out of a copy of the parameters. */
static int
split_params(struct passage *p, json_t *params, struct fault *f)
{
	json_t *extras = json_object_get(params, "_");
	struct err e = { 0 };

	p->call.params = params ? json_copy(params) : json_object();
	if (!p->call.params)
		return fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
	if (!extras)
		return 0;
	json_object_del(p->call.params, "_");
	if (schema_read(extras_fields, extras, NULL, &p->extras, &e) < 0)
		return bad_params(f, "_.", &e);
	p->call.dry_run = p->extras.dry_run;
	p->call.if_match = p->extras.if_match;
	p->call.has_if_match = json_object_get(extras, "ifMatch") != NULL;
	return 0;
}

static const struct field no_params[] = { { .type = FIELD_END } };

static int
read_params(struct passage *p, struct fault *f)
{
	const struct rpc_method *m = p->m;
	struct err e = { 0 };

	p->values = calloc(1, m->params_size + 1);
	if (!p->values)
		return fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
	if (m->defaults)
		m->defaults(p->values);
	if (schema_read(m->params ? m->params : no_params, p->call.params, NULL, p->values, &e) < 0)
		return bad_params(f, "", &e);
	return 0;
}

static bool
destroys(const struct passage *p)
{
	return (p->m->flags & METHOD_DESTRUCTIVE) ||
	       (p->m->destroys && json_is_true(json_object_get(p->call.params, p->m->destroys)));
}

static int
check(struct passage *p, json_t *params, struct fault *f)
{
	int rc = may_anywhere(p->call.who, p->m, f);

	if (rc == 0 && params && !json_is_object(params))
		rc = fault_set(f, FAULT_BAD_PARAMS, NULL, "{\"vm\":\"web1\"}",
		    "params is not an object: parameters have names");
	if (rc == 0)
		rc = split_params(p, params, f);
	if (rc == 0)
		rc = read_params(p, f);
	if (rc == 0)
		rc = dispatch_may(p->call.agent, p->call.who, p->m, p->call.params, p->path, f);
	p->call.path = p->path;
	if (rc == 0 && destroys(p) && !p->extras.dry_run && !p->extras.confirm)
		rc = fault_set(f, FAULT_CONFIRM_NEEDED, "_.confirm", "Send \"_\":{\"confirm\":true} with it.",
		    "%s destroys something for good and has to be confirmed", p->m->name);
	return rc;
}

static bool
is_change(const struct passage *p)
{
	return (p->m->flags & METHOD_CHANGES) && !p->call.dry_run;
}

/* Calls the handler once; *result is new. */
static int
run_handler(struct passage *p, json_t **result, struct fault *f)
{
	int rc;

	*result = json_object();
	p->call.would = json_array();
	rc = p->m->call(&p->call, p->values, *result, f);
	if (rc < 0 && f->code == FAULT_NONE)
		fault_set(f, FAULT_INTERNAL, NULL, NULL, "%s failed and did not say why", p->m->name);
	return rc;
}

/* "changed", and in a dry run what would be done. */
static void
complete(struct passage *p, json_t *result)
{
	bool would = json_array_size(p->call.would) > 0;

	if (!(p->m->flags & METHOD_CHANGES))
		return;
	if (p->call.dry_run) {
		json_object_set_new(result, "changed", json_boolean(would));
		json_object_set_new(result, "dryRun", json_true());
		json_object_set(result, "would", p->call.would);
	} else if (!json_object_get(result, "changed")) {
		json_object_set_new(result, "changed", json_true());
	}
}

/* The GUID in "/vm/GUID", or NULL: the path of something else, or of no machine that there is. */
static const char *
guid_in(const char *path)
{
	uint8_t id[GUID_BYTES];

	return strncmp(path, "/vm/", 4) == 0 && guid_parse(path + 4, id) ? path + 4 : NULL;
}

/* What a job gets: whatever the machine is called when its turn comes, it is this one. A new reference. */
static json_t *
job_params(const struct passage *p)
{
	const char *guid = strstr(p->m->path, "{vm") ? guid_in(p->path) : NULL;
	json_t *params = json_copy(p->call.params);

	if (params && guid)
		json_object_set_new(params, "vm", json_string(guid));
	return params;
}

/* First as a dry run, so that a mistake is answered at once; then the job has it. */
static int
start_job(struct passage *p, json_t **result, struct fault *f)
{
	bool dry_run = p->call.dry_run, would;
	char id[JOB_ID_SIZE];
	json_t *params;
	int rc;

	p->call.dry_run = true;
	rc = run_handler(p, result, f);
	p->call.dry_run = dry_run;
	if (rc < 0 || dry_run)
		return rc;
	would = json_array_size(p->call.would) > 0;
	params = job_params(p);
	rc = params ? jobs_start(p->call.agent->jobs, p->m, params, p->call.who, p->path, id, f)
		    : fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
	json_decref(params);
	if (rc < 0)
		return rc;
	json_decref(*result);
	*result = json_pack("{s:s, s:b}", "job", id, "changed", would);
	return 0;
}

/* The answer: {"result":...}, or NULL with *f. */
static json_t *
perform(struct passage *p, struct fault *f)
{
	json_t *result = NULL;
	int rc = p->m->flags & METHOD_JOB ? start_job(p, &result, f) : run_handler(p, &result, f);

	if (rc == 0)
		complete(p, result);
	json_decref(p->call.would);
	if (rc < 0) {
		json_decref(result);
		return NULL;
	}
	return json_pack("{s:o}", "result", result);
}

static void
give_log_id(struct passage *p, struct fault *f)
{
	char secret[SECRET_SIZE];

	if (f->code != FAULT_INTERNAL || f->log_id[0])
		return;
	secret_new(secret);
	snprintf(f->log_id, sizeof(f->log_id), "%.12s", secret);
	log_msg(LOG_ERROR, "%s: %s: %s", f->log_id, p->name, f->message);
}

static json_t *
error_answer(struct passage *p, struct fault *f)
{
	json_t *error;

	give_log_id(p, f);
	error = fault_to_json(f);
	return error ? json_pack("{s:o}", "error", error) : NULL;
}

/* Whether it stands in the audit: changes, log-ins, and whatever was refused to somebody. */
static bool
is_audited(const struct passage *p, const struct fault *f)
{
	switch (f->code) {
	case FAULT_FORBIDDEN:
	case FAULT_NOT_LOGGED_IN:
	case FAULT_LOGIN_FAILED:
	case FAULT_LOCKED_OUT:
		return true;
	case FAULT_NO_SUCH_METHOD:
	case FAULT_BAD_PARAMS:
		return false;
	default:
		return p->m && (is_change(p) || (p->m->flags & METHOD_AUDITED));
	}
}

static void
audit(struct passage *p, const struct fault *f, const json_t *answer)
{
	const struct audit_entry entry = { .who = p->call.who,
		.method = p->name,
		.row = p->m,
		.params = p->call.params,
		.fault = f->code ? f : NULL,
		.result = json_object_get(answer, "result"),
		.log_id = f->log_id };

	if (is_audited(p, f))
		audit_write(p->call.agent->audit, &entry);
}

json_t *
dispatch_without_secrets(const struct field *table, const json_t *doc)
{
	json_t *kept = json_copy((json_t *)(size_t)doc);

	for (const struct field *f = table; f && f->type != FIELD_END; f++)
		if (f->secret)
			json_object_del(kept, f->name);
	return kept;
}

/* What there may be of an answer on the disk. */
static json_t *
to_keep(const struct rpc_method *m, json_t *answer)
{
	json_t *result = json_object_get(answer, "result");

	if (!result)
		return json_incref(answer);
	return json_pack("{s:o}", "result", dispatch_without_secrets(m->result, result));
}

static int
begin_once(struct passage *p, json_t **answer, struct fault *f)
{
	json_t *params = dispatch_without_secrets(p->m->params, p->call.params);
	int rc = requests_begin(p->call.agent->requests, p->call.who->user, p->extras.request_id, p->m->name,
	    params, p->key, answer, f);

	json_decref(params);
	return rc;
}

static void
end_once(struct passage *p, json_t *answer)
{
	json_t *kept = to_keep(p->m, answer);

	requests_end(p->call.agent->requests, p->key, kept);
	json_decref(kept);
}

/* Sets *answer: the handler's, or the first one's. 0, or negative with *f and no answer. */
static int
perform_once(struct passage *p, json_t **answer, struct fault *f)
{
	bool once = is_change(p) && p->extras.request_id[0];
	int rc = 0;

	if (once)
		rc = begin_once(p, answer, f);
	if (rc < 0)
		return rc;
	if (rc == 1)
		return 0; /* done before: not audited again */
	*answer = perform(p, f);
	if (!*answer)
		*answer = error_answer(p, f);
	audit(p, f, *answer);
	if (once)
		end_once(p, *answer);
	return 0;
}

json_t *
dispatch_call(struct agent *a, struct client *client, const struct identity *who, const char *method,
    json_t *params, enum fault_code *code)
{
	struct passage p = { .call = { .agent = a, .who = who, .client = client } };
	struct fault f = { 0 };
	json_t *answer = NULL;
	int rc;

	snprintf(p.name, sizeof(p.name), "%s", method);
	p.m = p.call.method = dispatch_find(method);
	if (!p.m)
		rc = fault_set(&f, FAULT_NO_SUCH_METHOD, NULL, "rpc.discover lists all methods.",
		    "no method is called '%s'", p.name);
	else
		rc = check(&p, params, &f);
	if (rc == 0)
		rc = perform_once(&p, &answer, &f);
	if (rc < 0) {
		answer = error_answer(&p, &f);
		audit(&p, &f, NULL);
	}
	if (code)
		*code = f.code;
	json_decref(p.call.params);
	free(p.values);
	return answer;
}

/* It may have waited long for its turn. */
static int
check_job(struct passage *p, struct fault *f)
{
	if (login_still_may(p->call.agent, p->call.who, p->m->role, p->path))
		return 0;
	return fault_set(f, FAULT_FORBIDDEN, NULL, NULL,
	    "%s: %s, who has started it, may not do that any more", p->m->name, p->call.who->user);
}

int
dispatch_job(struct agent *a, const struct rpc_method *m, json_t *params, const struct identity *who,
    const char *path, struct job *job, json_t **answer, struct fault *f)
{
	struct passage p = { .call = { .agent = a, .who = who, .method = m, .job = job }, .m = m };
	int rc;

	snprintf(p.name, sizeof(p.name), "%s", m->name);
	snprintf(p.path, sizeof(p.path), "%s", path);
	p.call.path = p.path;
	p.call.params = json_incref(params);
	rc = check_job(&p, f);
	if (rc == 0)
		rc = read_params(&p, f);
	if (rc == 0) {
		json_t *result = NULL;

		rc = run_handler(&p, &result, f);
		if (rc == 0) {
			complete(&p, result);
			*answer = json_pack("{s:O}", "result", result);
		}
		json_decref(result);
		json_decref(p.call.would);
	}
	if (rc < 0)
		give_log_id(&p, f);
	audit(&p, f, rc == 0 ? *answer : NULL);
	json_decref(p.call.params);
	free(p.values);
	return rc;
}

bool
call_would(struct call *c, const char *fmt, ...)
{
	char text[ERR_MSG_SIZE];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (json_array_size(c->would) < WOULD_MAX)
		json_array_append_new(c->would, json_string(text));
	return c->dry_run;
}

int
call_match(struct call *c, uint64_t revision, struct fault *f)
{
	if (!c->has_if_match || c->if_match == revision)
		return 0;
	return fault_set(f, FAULT_CONFLICT, "_.ifMatch", "Read it again, and decide anew.",
	    "it is at revision %llu now, not at %llu", (unsigned long long)revision,
	    (unsigned long long)c->if_match);
}

bool
call_has(const struct call *c, const char *param)
{
	return json_object_get(c->params, param) != NULL;
}

const char *
call_machine(const struct call *c, const char *name)
{
	const char *guid = guid_in(c->path);

	return guid ? guid : name;
}

bool
call_may(const struct call *c, enum role role, const char *path)
{
	return identity_role(c->who, path) >= role;
}
