/*
 * tests/unit/fake_agent.h - an agent on a temporary tree, with rooms and methods of the test's own, and a
 * client without a carrier. One agent a test program at a time.
 */
#ifndef TESTS_UNIT_FAKE_AGENT_H
#define TESTS_UNIT_FAKE_AGENT_H

#include <crypt.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/agent.h"
#include "agent/audit.h"
#include "agent/client.h"
#include "agent/dispatch.h"
#include "agent/identity.h"
#include "agent/login.h"
#include "agent/method.h"
#include "agent/tokens.h"
#include "agent/users.h"
#include "lib/file.h"
#include "lib/log.h"

#define WEB1 "11111111-2222-3333-4444-555555555555"
#define MAIL "11111111-2222-3333-4444-666666666666"

static char fake_dir[64];
static struct agent *fake_agent;

/* Of the test: its own methods beside those of the core. */
extern const struct rpc_method fake_methods[];
const struct rpc_method *const method_tables[] = { methods_core, fake_methods, NULL };

static bool
fake_guid(struct agent *a, const char *name, char guid[37])
{
	(void)a;
	if (strcmp(name, "web1") == 0 || strcmp(name, WEB1) == 0)
		strcpy(guid, WEB1);
	else if (strcmp(name, "mail") == 0 || strcmp(name, MAIL) == 0)
		strcpy(guid, MAIL);
	else
		return false;
	return true;
}

int
agent_vm_start(struct agent *a, struct err *e)
{
	(void)e;
	a->vm_guid = fake_guid;
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

static inline const char *
fake_path(const char *name)
{
	static char path[4][160];
	static unsigned n;

	n = (n + 1) % 4;
	snprintf(path[n], sizeof(path[n]), "%s/%s", fake_dir, name);
	return path[n];
}

static inline void
fake_file(const char *name, const char *text)
{
	struct err e = { 0 };

	assert_int_equal(file_replace(fake_path(name), text, strlen(text), 0600, &e), 0);
}

/* Users: root, anna (Viewer), olga (Operator), paul (no role, but Operator at web1); their password is
 * "password of NAME", hashed cheaply. */
static inline void
fake_users(void)
{
	static const char *const names[] = { "root", "anna", "olga", "paul" };
	struct crypt_data *data = calloc(1, sizeof(*data));
	char shadow[1024] = "", password[64], hash[CRYPT_OUTPUT_SIZE];

	fake_file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\n"
				"anna:x:1000:100::/:/bin/false\nolga:x:1001:100::/:/bin/false\n"
				"paul:x:1002:100::/:/bin/false\n");
	fake_file("etc/group", "root:x:0:\nviewers:x:802:anna\noperators:x:801:olga\n");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(password, sizeof(password), "password of %s", names[i]);
		snprintf(hash, sizeof(hash), "%s", crypt_r(password, "$5$rounds=1000$salt$", data));
		snprintf(shadow + strlen(shadow), sizeof(shadow) - strlen(shadow),
		    "%s:%s:20000:0:99999:7:::\n", names[i], hash);
	}
	free(data);
	fake_file("etc/shadow", shadow);
	fake_file("data/system/roles.json",
	    "{\"Version\":1,\"Grants\":[{\"User\":\"paul\",\"Role\":\"Operator\",\"Path\":\"/vm/" WEB1
	    "\"}]}");
}

static inline void
fake_start(void)
{
	static char data[96], run[96], etc[96];
	struct agent_options o = { .data = data, .run = run, .etc = etc, .ring = 8 };
	struct err e = { 0 };

	snprintf(data, sizeof(data), "%s/data", fake_dir);
	snprintf(run, sizeof(run), "%s/run", fake_dir);
	snprintf(etc, sizeof(etc), "%s/etc", fake_dir);
	if (agent_start(&fake_agent, &o, &e) < 0)
		fail_msg("%s", e.msg);
}

static inline int
fake_setup(void **state)
{
	struct err e = { 0 };

	(void)state;
	log_open("test", -1, LOG_ERROR);
	strcpy(fake_dir, "/tmp/agent_test.XXXXXX");
	if (!mkdtemp(fake_dir))
		return -1;
	assert_int_equal(file_make_dirs(fake_path("data/system"), 0700, &e), 0);
	assert_int_equal(file_make_dirs(fake_path("etc"), 0700, &e), 0);
	fake_users();
	fake_start();
	return 0;
}

static inline int
fake_teardown(void **state)
{
	char command[128];

	(void)state;
	agent_stop(fake_agent);
	fake_agent = NULL;
	snprintf(command, sizeof(command), "rm -rf '%s'", fake_dir);
	return system(command);
}

/* The agent ends and starts again on the same tree. */
static inline void
fake_restart(void)
{
	agent_stop(fake_agent);
	fake_start();
}

static inline struct identity
fake_who(const char *user)
{
	struct identity who;

	identity_none(&who, CARRIER_WSS, "192.0.2.1");
	if (user)
		users_identify(fake_agent->users, user, &who);
	return who;
}

/* A call as user (NULL: nobody) with parameters in text (NULL: none): {"result":...} or {"error":...}. */
static inline json_t *
fake_call(const char *user, const char *method, const char *params)
{
	struct identity who = fake_who(user);
	json_t *p = params ? json_loads(params, 0, NULL) : NULL, *answer;

	assert_true(p || !params);
	answer = dispatch_call(fake_agent, NULL, &who, method, p, NULL);
	json_decref(p);
	return answer;
}

static inline const char *
fake_symbol(const json_t *answer)
{
	const char *s = json_string_value(
	    json_object_get(json_object_get(json_object_get(answer, "error"), "data"), "symbol"));

	return s ? s : "";
}

/* The call fails with that. */
static inline void
fake_refused(const char *user, const char *method, const char *params, const char *symbol)
{
	json_t *answer = fake_call(user, method, params);

	assert_string_equal(fake_symbol(answer), symbol);
	json_decref(answer);
}

/* The call succeeds; its result, which is as the table says. */
static inline json_t *
fake_done(const char *user, const char *method, const char *params)
{
	json_t *answer = fake_call(user, method, params),
	       *result = json_incref(json_object_get(answer, "result"));
	const struct rpc_method *m = dispatch_find(method);
	struct err e = { 0 };

	if (!result)
		fail_msg("%s: %s", method, json_dumps(answer, 0));
	if (!(m->flags & METHOD_JOB) && !json_object_get(result, "dryRun") &&
	    !method_result_ok(m, result, &e))
		fail_msg("%s: %s", method, e.msg);
	json_decref(answer);
	return result;
}

static inline bool
fake_changed(json_t *result)
{
	bool changed = json_is_true(json_object_get(result, "changed"));

	assert_true(json_is_boolean(json_object_get(result, "changed")));
	json_decref(result);
	return changed;
}

/* --- a client without a carrier --- */

struct fake_link {
	pthread_mutex_t lock;
	pthread_cond_t came;
	char *text[256];
	int status[256];
	size_t came_in, taken;
	size_t room; /* for events */
	bool closed;
};

static inline void
fake_send(void *link, char *text, size_t len, int status)
{
	struct fake_link *l = link;

	(void)len;
	pthread_mutex_lock(&l->lock);
	assert_true(l->came_in < 256);
	l->status[l->came_in] = status;
	l->text[l->came_in++] = text;
	pthread_cond_broadcast(&l->came);
	pthread_mutex_unlock(&l->lock);
}

static inline bool
fake_room(void *link, size_t len)
{
	struct fake_link *l = link;

	return len <= l->room;
}

static inline void
fake_close(void *link)
{
	struct fake_link *l = link;

	pthread_mutex_lock(&l->lock);
	l->closed = true;
	pthread_cond_broadcast(&l->came);
	pthread_mutex_unlock(&l->lock);
}

static inline void
fake_trust(void *link)
{
	(void)link;
}

static const struct client_ops fake_ops = { fake_send, fake_room, fake_close, fake_trust, .streams = true };
static const struct client_ops fake_post = { fake_send, fake_room, fake_close, fake_trust, .batches = true };

static inline struct client *
fake_client(struct fake_link *l, const struct client_ops *ops, const char *user, const char *header)
{
	struct identity who = fake_who(user);

	memset(l, 0, sizeof(*l));
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->came, NULL);
	l->room = 1 << 20;
	return client_new(fake_agent, ops, l, &who, header);
}

static inline void
fake_say(struct client *c, const char *text)
{
	client_message(c, text, strlen(text));
}

/* The next message, within ten seconds. */
static inline json_t *
fake_hear(struct fake_link *l, int *status)
{
	struct timespec until;
	json_t *doc;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 10;
	pthread_mutex_lock(&l->lock);
	while (l->taken == l->came_in)
		if (pthread_cond_timedwait(&l->came, &l->lock, &until) == ETIMEDOUT)
			fail_msg("nothing came");
	doc = l->text[l->taken][0] ? json_loads(l->text[l->taken], 0, NULL) : json_null();
	if (status)
		*status = l->status[l->taken];
	free(l->text[l->taken++]);
	pthread_mutex_unlock(&l->lock);
	assert_non_null(doc);
	return doc;
}

static inline void
fake_gone(struct client *c, struct fake_link *l)
{
	client_gone(c);
	while (l->taken < l->came_in)
		free(l->text[l->taken++]);
}

/* The last line of the audit: a new reference. */
static inline json_t *
fake_audit(void)
{
	json_t *list = audit_list(fake_agent->audit, 1), *last = json_incref(json_array_get(list, 0));

	json_decref(list);
	return last;
}

#endif
