/*
 * agent/method.h - what can be asked of the agent. One table declares every method; the dispatcher's
 * checks, rpc.discover, the shell's help and completion and docs/api.md all come from it.
 *
 * The rules of the wire (roles, schema, dry run, request ids, ifMatch, confirm, audit, jobs) are the
 * dispatcher's. A handler finds parameters that are right by their schema, and does its work.
 *
 * Handlers run on the threads of a pool and may block for a while (seconds); what takes longer is a job.
 * They may be called from several threads at once: what they touch has its own lock.
 */
#ifndef AGENT_METHOD_H
#define AGENT_METHOD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/agent.h"
#include "agent/fault.h"
#include "lib/schema.h"

enum role { ROLE_NONE, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMINISTRATOR };
extern const char *const role_names[]; /* "None", "Viewer", "Operator", "Administrator", NULL */

enum {
	METHOD_CHANGES = 1,     /* dryRun, requestId, ifMatch apply; audited; the answer says changed */
	METHOD_JOB = 2,         /* answers {job}; the handler runs on a job's thread */
	METHOD_DESTRUCTIVE = 4, /* needs _.confirm: true (not in a dry run) */
	METHOD_PRIORITY = 8,    /* served by the priority pool */
	METHOD_OPEN = 16,       /* before log-in, too: role is ROLE_NONE */
	METHOD_WAITS = 32,      /* may block for long (job.wait, vm.start): on a thread of its own, bounded */
	METHOD_LOGIN = 128,     /* checks a password: on the thread that does that */
	METHOD_AUDITED = 64,    /* audited though it changes nothing (session.login, console.open) */
};

struct client;
struct identity;
struct job;
struct rpc_method;
struct vm;

/* What a handler knows; everything is borrowed for the time of the call. */
struct call {
	struct agent *agent;
	const struct identity *who; /* agent/identity.h */
	const struct rpc_method *method;
	const char *path; /* what it touches: "/", or "/vm/GUID", whatever the machine is called by now */
	json_t *params;   /* as sent, without "_": tells which were given */
	struct job *job;  /* on a job's thread, else NULL */
	struct client *client; /* the connection, for events and sessions; NULL in a job */
	json_t *would;         /* call_would's notes */
	uint64_t if_match;
	bool has_if_match;
	bool dry_run; /* use call_would */
};

struct rpc_method {
	const char *name; /* "vm.start"; NULL ends a table */
	const char *help; /* one or two sentences */
	/*
	 * What it touches, for scopes: "/", "/host", "/vm/{vm}" (the parameter vm: name or GUID), "/vm/{vm?}"
	 * (the same, or "/" if that is not given), or "/vm/" with a slash at the end: any grant below will
	 * do, and the handler leaves out what call_may refuses.
	 */
	const char *path;
	enum role role; /* the least that is needed there */
	unsigned flags;
	const struct field *params; /* NULL: none */
	size_t params_size;
	void (*defaults)(void *params); /* after zeroing; may be NULL */
	/* What a result holds; for a METHOD_JOB what the job's result holds. NULL: nothing but `changed`,
	 * which the dispatcher adds to the table of every METHOD_CHANGES. */
	const struct field *result;
	const enum fault_code *faults; /* beside the general ones, FAULT_NONE behind the last; may be NULL */
	const char *example;           /* one Lua line: vm.start("web1") */
	/*
	 * Returns 0 with members set in result (an empty object), or a negative number with *f. One that
	 * METHOD_CHANGES sets "changed" to false when all was so already; the dispatcher adds true otherwise.
	 * With METHOD_JOB it is called twice: first on the caller's thread as a dry run, so that a mistake is
	 * answered at once, then on the job's thread, with the machine's GUID in the place of its name.
	 */
	int (*call)(struct call *c, const void *params, json_t *result, struct fault *f);
	/*
	 * METHOD_JOB: the agent ended while this job ran; take back what half of it may have left. Called
	 * once at the next start, before carriers open. NULL when half the work leaves nothing behind.
	 */
	void (*undo)(struct agent *a, json_t *params);
	const char *destroys; /* a parameter (true or false) with which it is METHOD_DESTRUCTIVE; or NULL */
};

/* Each is ended by a row without name. */
extern const struct rpc_method methods_core[], methods_vm[], methods_guest[], methods_disk[], methods_vhd[],
    methods_file[], methods_host[];
/* All tables, NULL behind the last (agent/methods.c). */
extern const struct rpc_method *const method_tables[];

/*
 * Notes in words what is about to be done: "create the machine web1". True in a dry run: the handler
 * then goes on to the next note, or returns 0, and changes nothing. Whatever is checked is checked before.
 */
bool call_would(struct call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The ifMatch rule: 0, or a fault when the caller saw another revision. Call it under the object's lock. */
int call_match(struct call *c, uint64_t revision, struct fault *f);
/* Whether the parameter was given, rather than left to its default. */
bool call_has(const struct call *c, const char *param);
/*
 * The machine that the call is about: its GUID, as the dispatcher has found it when it looked at the rights
 * (or, in a job, when the job was started), so that another one cannot slip in under the name. name, when
 * there was none.
 */
const char *call_machine(const struct call *c, const char *name);
/* The same as it is now, its vm.json read again if somebody has edited it: a reference (vm_put it), or NULL
 * with *f. (agent/methods_vm.c) */
struct vm *call_vm(const struct call *c, const char *name, struct fault *f);
/* Whether the caller has at least role at path ("/vm/GUID"). For lists that leave out what is not seen. */
bool call_may(const struct call *c, enum role role, const char *path);

/* Jobs; thread-safe, cheap enough for every megabyte. phase is one word or two; unit "bytes", "s", "". */
void job_progress(struct job *j, const char *phase, uint64_t done, uint64_t total, const char *unit);
/* Somebody wants it to end, or the agent stops: undo, and return fault_set(f, FAULT_CANCELLED, ...). */
bool job_cancelled(struct job *j);
/* Sleeps; true at once when it is to end. */
bool job_sleep(struct job *j, unsigned ms);

/* For tests: whether a result is as its row says. */
bool method_result_ok(const struct rpc_method *m, const json_t *result, struct err *e);

#endif
