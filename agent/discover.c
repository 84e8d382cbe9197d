/*
 * agent/discover.c - what can be asked, from the tables.
 */
#include "agent/discover.h"

#include <stdlib.h>
#include <string.h>

#include "agent/identity.h"

/* Methods, result members and rules that a client may look for, before it relies on them. */
static const char *const features[] = {
	"batch",
	"dryRun",
	"requestId",
	"ifMatch",
	"confirm",
	"jobs",
	"events",
	"tickets",
	"tokens",
	"sessions",
	"audit",
	"consoles",
	NULL,
};

/* What any method may fail with. */
static const enum fault_code general[] = { FAULT_BAD_PARAMS, FAULT_FORBIDDEN, FAULT_NOT_LOGGED_IN,
	FAULT_TOO_BUSY, FAULT_INTERNAL, FAULT_NONE };
static const enum fault_code of_changes[] = { FAULT_CONFLICT, FAULT_REQUEST_ID_REUSED, FAULT_STORAGE,
	FAULT_NO_SPACE, FAULT_NONE };
static const enum fault_code of_destructive[] = { FAULT_CONFIRM_NEEDED, FAULT_NONE };

static const struct field change_fields[] = {
	{ "changed", FIELD_BOOL, true, .help = "Whether anything was not so already." },
	{ .type = FIELD_END },
};

static const struct field job_fields[] = {
	{ "job", FIELD_STRING, true, .min = 1, .max = 23, .size = 24, .help = "See job.wait." },
	{ "changed", FIELD_BOOL, true, .help = "Whether anything is not so already." },
	{ .type = FIELD_END },
};

static const char extras_help[] =
    "Rules of the call: dryRun (only tell what would be done), requestId (a change sent again with the same "
    "id gives "
    "the first answer again), ifMatch (the revision that was seen), confirm (yes, destroy it).";

json_t *
discover_features(void)
{
	json_t *list = json_array();

	for (size_t i = 0; features[i]; i++)
		json_array_append_new(list, json_string(features[i]));
	return list;
}

/* What the parameters are when nobody gives them: {} without defaults. */
static json_t *
default_values(const struct rpc_method *m)
{
	void *values = m->defaults ? calloc(1, m->params_size + 1) : NULL;
	json_t *doc = NULL;

	if (values) {
		m->defaults(values);
		doc = schema_write(m->params, values);
	}
	free(values);
	return doc ? doc : json_object();
}

static bool
says_something(const json_t *v)
{
	return !(json_is_string(v) && json_string_length(v) == 0) &&
	       !(json_is_array(v) && json_array_size(v) == 0);
}

/* What there is no value for by default, the defaults leave out of its range. */
static bool
is_default(const struct field *f, const json_t *v)
{
	json_int_t n = json_integer_value(v);

	if (!v || f->required || !says_something(v))
		return false;
	return f->type != FIELD_UINT || (n >= 0 && (uint64_t)n >= f->min && (uint64_t)n <= f->max);
}

static json_t *
param_of(const struct field *f, json_t *schema, json_t *fallback)
{
	if (is_default(f, fallback))
		json_object_set(schema, "default", fallback);
	return json_pack("{s:s, s:s, s:b, s:O}", "name", f->name, "description", f->help, "required",
	    f->required, "schema", schema);
}

static json_t *
extras_param(void)
{
	return json_pack("{s:s, s:s, s:b, s:{s:s, s:{s:{s:s}, s:{s:s, s:i}, s:{s:s}, s:{s:s}}, s:b}}", "name",
	    "_", "description", extras_help, "required", 0, "schema", "type", "object", "properties",
	    "dryRun", "type", "boolean", "requestId", "type", "string", "maxLength", 64, "ifMatch", "type",
	    "integer", "confirm", "type", "boolean", "additionalProperties", 0);
}

static json_t *
params_of(const struct rpc_method *m)
{
	json_t *list = json_array(), *fallback = default_values(m);
	json_t *whole = m->params ? schema_describe(m->params) : NULL;
	json_t *properties = json_object_get(whole, "properties");

	for (const struct field *f = m->params; f && f->type != FIELD_END; f++)
		json_array_append_new(list,
		    param_of(f, json_object_get(properties, f->name), json_object_get(fallback, f->name)));
	if (m->flags & METHOD_CHANGES)
		json_array_append_new(list, extras_param());
	json_decref(whole);
	json_decref(fallback);
	return list;
}

/* The result's table, and what the dispatcher adds. */
static json_t *
result_of(const struct rpc_method *m)
{
	const struct field *table = m->flags & METHOD_JOB ? job_fields : m->result;
	json_t *schema = table ? schema_describe(table) : NULL, *change;

	if (!schema)
		schema = json_pack("{s:s, s:{}, s:[]}", "type", "object", "properties", "required");
	if ((m->flags & METHOD_CHANGES) &&
	    !json_object_get(json_object_get(schema, "properties"), "changed")) {
		change = schema_describe(change_fields);
		json_object_update(
		    json_object_get(schema, "properties"), json_object_get(change, "properties"));
		json_array_extend(json_object_get(schema, "required"), json_object_get(change, "required"));
		json_decref(change);
	}
	json_object_del(schema, "additionalProperties"); /* more may come within v1 */
	return json_pack("{s:s, s:o}", "name", "result", "schema", schema);
}

static void
add_errors(json_t *list, const enum fault_code *codes)
{
	for (; codes && *codes; codes++)
		json_array_append_new(list, json_pack("{s:i, s:s, s:{s:s}}", "code", (int)*codes, "message",
						fault_help(*codes), "data", "symbol", fault_symbol(*codes)));
}

static json_t *
errors_of(const struct rpc_method *m)
{
	json_t *list = json_array();

	add_errors(list, m->faults);
	if (m->flags & METHOD_CHANGES)
		add_errors(list, of_changes);
	if (m->flags & METHOD_DESTRUCTIVE || m->destroys)
		add_errors(list, of_destructive);
	add_errors(list, general);
	return list;
}

static const char *
role_text(const struct rpc_method *m)
{
	if (m->flags & METHOD_OPEN)
		return "Anybody";
	return m->role == ROLE_NONE ? "Any user" : role_names[m->role];
}

static json_t *
describe(const struct rpc_method *m)
{
	json_t *doc = json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:s, s:s, s:s}", "name", m->name, "summary",
	    m->help, "paramStructure", "by-name", "params", params_of(m), "result", result_of(m), "errors",
	    errors_of(m), "x-role", role_text(m), "x-path", m->path, "x-example", m->example);
	static const struct {
		unsigned flag;
		const char *name;
	} flags[] = { { METHOD_CHANGES, "x-changes" }, { METHOD_JOB, "x-job" },
		{ METHOD_DESTRUCTIVE, "x-destructive" }, { METHOD_PRIORITY, "x-priority" },
		{ METHOD_WAITS, "x-waits" } };

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (m->flags & flags[i].flag)
			json_object_set_new(doc, flags[i].name, json_true());
	if (m->destroys)
		json_object_set_new(doc, "x-destroys", json_string(m->destroys));
	if ((m->flags & METHOD_JOB) && m->result)
		json_object_set_new(doc, "x-job-result", schema_describe(m->result));
	return doc;
}

json_t *
discover_openrpc(void)
{
	json_t *methods = json_array();
	char version[16];

	for (size_t i = 0; method_tables[i]; i++)
		for (const struct rpc_method *m = method_tables[i]; m->name; m++)
			json_array_append_new(methods, describe(m));
	snprintf(version, sizeof(version), "%d.%d.0", API_VERSION_MAJOR, API_VERSION_MINOR);
	return json_pack("{s:s, s:{s:s, s:s, s:s}, s:o}", "openrpc", "1.3.2", "info", "title", "Freehold",
	    "version", version, "description", "The one interface of a Freehold appliance.", "methods",
	    methods);
}

/* --- Markdown --- */

static void
print_type(FILE *out, const struct field *f)
{
	switch (f->type) {
	case FIELD_BOOL:
		fputs("true or false", out);
		break;
	case FIELD_UINT:
		fprintf(out, "%llu to %llu", (unsigned long long)f->min, (unsigned long long)f->max);
		break;
	case FIELD_STRING:
		fprintf(out, "text, at most %llu bytes", (unsigned long long)f->max);
		break;
	case FIELD_GUID:
		fputs("GUID", out);
		break;
	case FIELD_ENUM:
		for (unsigned i = 0; f->names[i]; i++)
			fprintf(out, "%s%s", i ? ", " : "", f->names[i]);
		break;
	case FIELD_OBJECT:
		fputs("object", out);
		break;
	case FIELD_LIST:
		fputs("list of objects", out);
		break;
	case FIELD_STRINGS:
		fputs("list of texts", out);
		break;
	case FIELD_JSON:
		fputs("any JSON", out);
		break;
	case FIELD_FD:
	case FIELD_END:
		break;
	}
	if (f->unit)
		fprintf(out, "; %s", f->unit);
}

static void
print_fields(FILE *out, const struct field *table, const json_t *fallback, bool params, unsigned depth)
{
	for (const struct field *f = table; f && f->type != FIELD_END; f++) {
		json_t *v = json_object_get(fallback, f->name);
		char *text = is_default(f, v) ? json_dumps(v, JSON_ENCODE_ANY) : NULL;

		fprintf(out, "%*s- `%s` (", (int)depth * 2, "", f->name);
		print_type(out, f);
		if (params)
			fprintf(out, "%s%s",
			    f->required ? "; required"
			    : text      ? "; default "
					: "",
			    text ? text : "");
		fprintf(out, "): %s\n", f->help);
		free(text);
		if (f->fields)
			print_fields(out, f->fields, NULL, false, depth + 1);
	}
}

static void
print_faults(FILE *out, const enum fault_code *codes)
{
	const char *between = "Errors: ";

	for (; codes && *codes; codes++, between = ", ")
		fprintf(out, "%s`%s`", between, fault_symbol(*codes));
	if (between[0] == ',')
		fputs(".\n\n", out);
}

static void
print_facts(FILE *out, const struct rpc_method *m)
{
	static const struct {
		unsigned flag;
		const char *words;
	} facts[] = { { METHOD_CHANGES, "changes something" }, { METHOD_JOB, "is a job" },
		{ METHOD_DESTRUCTIVE, "needs `_.confirm`" }, { METHOD_PRIORITY, "urgent" },
		{ METHOD_WAITS, "may wait" } };

	fprintf(out, "%s at `%s`", role_text(m), m->path);
	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++)
		if (m->flags & facts[i].flag)
			fprintf(out, "; %s", facts[i].words);
	if (m->destroys)
		fprintf(out, "; needs `_.confirm` with `%s`", m->destroys);
	fputs(".\n\n", out);
}

static void
print_method(FILE *out, const struct rpc_method *m)
{
	json_t *fallback = default_values(m);

	fprintf(out, "### %s\n\n%s\n\n", m->name, m->help);
	print_facts(out, m);
	if (m->params) {
		fputs("Parameters:\n\n", out);
		print_fields(out, m->params, fallback, true, 0);
		fputc('\n', out);
	}
	if (m->result) {
		fprintf(out, "%s:\n\n", m->flags & METHOD_JOB ? "Result of the job" : "Result");
		print_fields(out, m->result, NULL, false, 0);
		fputc('\n', out);
	}
	print_faults(out, m->faults);
	fprintf(out, "    %s\n\n", m->example);
	json_decref(fallback);
}

static const char introduction[] =
    "# The interface\n"
    "\n"
    "<!-- Made by `make api` from the tables of methods in agent/. Do not edit. -->\n"
    "\n"
    "JSON-RPC 2.0 on three carriers; all methods on all of them.\n"
    "\n"
    "| carrier | how | who |\n"
    "|---|---|---|\n"
    "| `/run/freehold/rpc.sock` | one JSON text a line | the user of the process; root is an administrator "
    "|\n"
    "| `POST https://HOST:8443/rpc/v1` | one request, or a batch of up to 64 | `Authorization: Bearer "
    "TOKEN`, or `Basic` |\n"
    "| `wss://HOST:8443/rpc/v1` | one JSON text a frame; events | the same header, or `session.login` as the "
    "first call |\n"
    "\n"
    "    curl --cacert cert.pem -H \"Authorization: Bearer $TOKEN\" https://HOST:8443/rpc/v1 \\\n"
    "      -d '{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"vm.start\",\"params\":{\"vm\":\"web1\"}}'\n"
    "\n"
    "TLS 1.3 only. A message is at most 1 MiB long and 32 levels deep; 64 calls may be in flight on a "
    "connection, eight of\n"
    "them waiting (`job.wait`). What is no JSON is answered once, and the connection is closed. By POST an "
    "answer has status\n"
    "200 whatever the call came to, except 400 (no request), 401 (log-in), 413, 429 (locked out) and 503 "
    "(busy).\n"
    "\n"
    "## Rules for all methods\n"
    "\n"
    "Parameters have names. The member `_` of `params` carries what concerns the call, not the object:\n"
    "\n"
    "- `dryRun`: nothing is changed; the answer has `would`, a list of sentences, and `changed` if there are "
    "any.\n"
    "- `requestId` (up to 64 bytes): a change that is sent again with the same id within 24 hours gives the "
    "first answer again.\n"
    "- `ifMatch`: the `revision` that the caller saw; if there is a newer one the change is refused with "
    "`CONFLICT`.\n"
    "- `confirm`: must be true for what destroys something for good.\n"
    "\n"
    "Every change answers `changed`: false when all was so already. A method that is a job answers "
    "`{\"job\":\"j7\"}` at once;\n"
    "see `job.wait`. A job goes on without its client. If the agent is restarted, an unfinished job ends as "
    "`RESTARTED`.\n"
    "\n"
    "An error is `{\"code\":1404,\"message\":\"one "
    "sentence\",\"data\":{\"symbol\":\"VM_NOT_FOUND\",\"path\":\"vm\",\"hint\":\"...\"}}`.\n"
    "Numbers and symbols never change. Within v1 only additions are made; `rpc.features` names them.\n"
    "\n"
    "Events are notifications "
    "`{\"method\":\"event\",\"params\":{\"seq\":7,\"type\":\"vm.state\",\"time\":\"...\",\"data\":{...}}}` "
    "after\n"
    "`event.subscribe`. A client that reads too slowly gets the notification `gap`, and the connection is "
    "closed.\n"
    "\n"
    "A stream (a console) is opened with a ticket: `wss://HOST:8443/stream/TICKET` with binary frames, or on "
    "the local socket\n"
    "the line `{\"stream\":\"TICKET\"}`; after the answer `{\"result\":{}}` the connection is the stream. A "
    "ticket is good once, for\n"
    "30 seconds, for the user who asked for it (without credentials: from the same address); one that\n"
    "is refused gets HTTP status 403 with the error, or a line with it. Tickets, "
    "streams and\n"
    "connections end with the user, the token, session or password that they were opened with; tickets and "
    "streams also\n"
    "with the role that they take.\n"
    "\n"
    "Roles: Viewer, Operator, Administrator, each with all that the former may; at `/` by the groups "
    "`viewers`, `operators`,\n"
    "`administrators`, and at single machines (`/vm/GUID`) by `roles.json`. Without a role nothing is "
    "allowed.\n"
    "\n";

static void
print_all_faults(FILE *out)
{
	enum fault_code code;

	fputs("## Errors\n\n| code | symbol | when |\n|---|---|---|\n", out);
	for (size_t i = 0; (code = fault_code_at(i)) != FAULT_NONE; i++)
		fprintf(out, "| %d | `%s` | %s |\n", (int)code, fault_symbol(code), fault_help(code));
}

void
discover_markdown(FILE *out)
{
	fputs(introduction, out);
	fputs("## Methods\n\n", out);
	for (size_t i = 0; method_tables[i]; i++)
		for (const struct rpc_method *m = method_tables[i]; m->name; m++)
			print_method(out, m);
	print_all_faults(out);
}
