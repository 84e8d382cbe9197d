/*
 * tests/fuzz/rpc_fuzz.c - the input is messages from a client: the first byte says who it is and by which
 * carrier, each message ends at a NUL. Behind the dispatcher, its rules and its tables stand handlers that
 * only look at what they are given. Every message is answered as JSON-RPC says, a stranger never gets past
 * the rules, and parameters are within their ranges.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/audit.h"
#include "agent/client.h"
#include "agent/dispatch.h"
#include "agent/events.h"
#include "agent/identity.h"
#include "agent/jobs.h"
#include "agent/login.h"
#include "agent/pool.h"
#include "agent/requests.h"
#include "agent/tickets.h"
#include "agent/tokens.h"
#include "agent/users.h"
#include "lib/file.h"
#include "lib/log.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/schema_table.h"

enum { MESSAGES_MAX = 4 };

static struct agent agent;
static char dir[] = "/dev/shm/rpc_fuzz.XXXXXX";
static enum role who_role;
static int answered;
static bool closed;

/* --- what is not looked at here, or takes time --- */

struct pool *
pool_new(void)
{
	return NULL;
}

bool
pool_submit(struct pool *p, enum lane lane, struct task *t)
{
	(void)p;
	must(lane < LANES);
	t->run(t); /* at once, on this thread */
	return true;
}

void
pool_stop(struct pool *p)
{
	(void)p;
}

void
pool_free(struct pool *p)
{
	(void)p;
}

int
requests_new(struct requests **out, const char *folder, struct err *e)
{
	(void)folder;
	(void)e;
	*out = NULL;
	return 0;
}

void
requests_free(struct requests *r)
{
	(void)r;
}

int
requests_begin(struct requests *r, const char *user, const char *id, const char *method, const json_t *params,
    char key[REQUEST_KEY_SIZE], json_t **answer, struct fault *f)
{
	(void)r;
	(void)params;
	(void)f;
	(void)answer;
	must(user[0] && id[0] && strlen(id) <= REQUEST_ID_MAX && dispatch_find(method));
	key[0] = '\0';
	return 0;
}

void
requests_end(struct requests *r, const char *key, const json_t *answer)
{
	(void)r;
	(void)key;
	must(json_is_object(answer));
}

void
requests_expire(struct requests *r)
{
	(void)r;
}

int
agent_vm_start(struct agent *a, struct err *e)
{
	(void)a;
	(void)e;
	return 0;
}

void
agent_vm_stop(struct agent *a)
{
	(void)a;
}

int
agent_host_start(struct agent *a, struct err *e)
{
	(void)a;
	(void)e;
	return 0;
}

void
agent_host_stop(struct agent *a)
{
	(void)a;
}

/* --- the methods: every flag, every kind of parameter --- */

static void
defaults(void *params)
{
	struct fuzzed *f = params;

	f->thing.u = 7;
}

static int
look(struct call *c, const void *params, json_t *result, struct fault *f)
{
	const struct fuzzed *p = params;

	(void)f;
	must((c->method->flags & METHOD_OPEN) || who_role >= c->method->role);
	must(!json_object_get(c->params, "_"));
	json_object_set_new(result, "what", schema_write(fuzzed_fields, p));
	return 0;
}

static int
change(struct call *c, const void *params, json_t *result, struct fault *f)
{
	must(who_role >= c->method->role);
	if (call_match(c, 3, f) < 0)
		return -1;
	if (((const struct fuzzed *)params)->thing.b)
		return fault_set(f, FAULT_VM_NOT_FOUND, "thing", "Look.", "no '%s'",
		    ((const struct fuzzed *)params)->thing.s);
	if (call_would(c, "do it to %s", ((const struct fuzzed *)params)->thing.s))
		return 0;
	return look(c, params, result, f);
}

#define ARGS fuzzed_fields, sizeof(struct fuzzed), defaults, fuzzed_fields, NULL, "x"

static struct rpc_method table[64] = {
	{ "a.open", "Looks.", "/", ROLE_NONE, METHOD_OPEN, ARGS, look },
	{ "a.look", "Looks.", "/vm/", ROLE_VIEWER, 0, ARGS, look },
	{ "a.set", "Changes.", "/vm/{vm}", ROLE_OPERATOR, METHOD_CHANGES, ARGS, change },
	{ "a.drop", "Destroys.", "/", ROLE_ADMINISTRATOR,
	    METHOD_CHANGES | METHOD_DESTRUCTIVE | METHOD_AUDITED, ARGS, change },
};
const struct rpc_method *const method_tables[] = { table, NULL };

/* Of the core those that neither hash a password nor write a file. */
static void
add_core(void)
{
	static const char *const names[] = { "rpc.features", "session.get", "session.logout", "access.test",
		"token.list", "job.list", "job.get", "job.wait", "job.cancel", "event.subscribe",
		"event.unsubscribe" };
	size_t n = 4;

	for (const struct rpc_method *m = methods_core; m->name; m++)
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (strcmp(m->name, names[i]) == 0)
				table[n++] = *m;
}

static bool
no_vm(struct agent *a, const char *name, char guid[37])
{
	(void)a;
	(void)guid;
	return name[0] == '\x01';
}

static void
write_file(const char *name, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	must(file_replace(path, text, strlen(text), 0600, NULL) == 0);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct err e = { 0 };

	(void)argc;
	(void)argv;
	log_open("rpc_fuzz", -1, LOG_ERROR);
	json_object_seed(1);
	must(mkdtemp(dir) != NULL);
	write_file("passwd", "root:x:0:0::/:/\nanna:x:1000:100::/:/\nolga:x:1001:100::/:/\n");
	write_file("group", "viewers:x:802:anna\noperators:x:801:olga\n");
	add_core();
	agent.vm_guid = no_vm;
	agent.events = events_new(8);
	agent.tickets = tickets_new();
	agent.login = login_new();
	must(users_new(&agent.users, dir, "/nonexistent", &e) == 0);
	must(tokens_new(&agent.tokens, "/nonexistent", &e) == 0);
	must(audit_new(&agent.audit, dir, 1 << 16, &e) == 0);
	must(jobs_new(&agent.jobs, &agent, dir, 0, &e) == 0);
	return 0;
}

/* --- the client --- */

static void
check_one(const json_t *doc)
{
	const json_t *error = json_object_get(doc, "error");

	must(strcmp(json_string_value(json_object_get(doc, "jsonrpc")), "2.0") == 0);
	if (json_object_get(doc, "method"))
		return; /* a notification */
	must(json_object_get(doc, "id") && !json_object_get(doc, "result") != !error);
	must(!error || (json_integer_value(json_object_get(error, "code")) != 0 &&
			   json_string_length(json_object_get(error, "message")) > 0));
	answered++;
}

static void
hear(void *link, char *text, size_t len, int status)
{
	struct err e = { 0 };
	json_t *doc = len ? schema_parse(text, len, &e) : NULL, *one;
	size_t i;

	(void)link;
	must(!len || doc);
	must(status >= 200 && status < 600);
	json_array_foreach(doc, i, one) check_one(one);
	if (json_is_object(doc))
		check_one(doc);
	json_decref(doc);
	free(text);
}

static bool
room(void *link, size_t len)
{
	(void)link;
	return len < 4096;
}

static void
close_it(void *link)
{
	(void)link;
	closed = true;
}

static void
trust(void *link)
{
	(void)link;
}

static const struct client_ops ops[] = {
	{ hear, room, close_it, trust, .streams = true },
	{ hear, room, close_it, trust, .batches = true },
};

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const users[] = { "", "anna", "olga", "root" };
	struct identity who;
	struct client *c;

	if (size < 2)
		return 0;
	identity_none(&who, CARRIER_WSS, "192.0.2.1");
	who_role = data[0] & 3;
	if (who_role != ROLE_NONE) {
		snprintf(who.user, sizeof(who.user), "%s", users[who_role]);
		identity_grant(&who, who_role, "/");
	}
	who.stamp = users_stamp(agent.users) + tokens_stamp(agent.tokens);
	closed = false;
	c = client_new(&agent, &ops[data[0] >> 2 & 1], &agent, &who, NULL);
	must(c != NULL);
	data++, size--;
	for (int i = 0; i < MESSAGES_MAX && size && !closed; i++) {
		const uint8_t *end = memchr(data, '\0', size);
		size_t len = end ? (size_t)(end - data) : size;

		answered = 0;
		client_message(c, (const char *)data, len);
		must(answered <= CLIENT_CALLS);
		size -= len + (end ? 1 : 0);
		data += len + (end ? 1 : 0);
	}
	client_gone(c);
	return 0;
}
