/*
 * shell/session.h - a connection with what the shell adds to it: the catalogue, confirmation, dry run,
 * request ids, a second try after the agent was restarted, jobs that are waited for, consoles.
 *
 * One thread. SIGINT ends the call in progress (session_catch_interrupt).
 */
#ifndef SHELL_SESSION_H
#define SHELL_SESSION_H

#include <jansson.h>
#include <stdbool.h>

#include "lib/rpc_client.h"
#include "shell/catalogue.h"
#include "shell/convert.h"

/* Of struct rpc_error, beside those of lib/rpc_client.h: mistakes that were seen before the host was asked.
 */
enum { SESSION_USAGE = 100, SESSION_NOT_CONFIRMED = 101 };

/* Exit codes. */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_REFUSED = 2 };

struct session {
	struct rpc_client *rpc;
	struct catalogue cat;
	bool interactive; /* somebody can be asked */
	bool json;        /* answers as JSON */
	bool yes;         /* destructive calls are confirmed */
	bool dry_run;     /* whatif */
	bool strict;      /* failures raise, in Lua */
	char where[300];  /* "" or the host */
};

struct call_options {
	bool yes, what_if, background;
};

/* host: NULL for the local agent. On failure *s holds nothing. */
int session_open(struct session *s, const char *host, const struct rpc_options *o, struct rpc_error *e);
void session_close(struct session *s);

/*
 * Calls op with params (reference taken), which may lack secrets. 0 with *result (new reference; of a job
 * what it produced, or {job} in the background), else a negative errno with *e.
 */
int session_call(struct session *s, const struct operation *op, json_t *params, const struct call_options *o,
    json_t **result, struct rpc_error *e);

/* Shows an answer at standard output: as JSON, as tables, or in a word. */
void session_show(const struct session *s, const struct operation *op, const json_t *result);
/* Shows an error at standard error, in one line. */
void session_show_error(const struct rpc_error *e);
/* The line: malloc, or NULL. */
char *session_error_text(const struct rpc_error *e);
int session_exit_code(const struct rpc_error *e);
int session_usage(struct rpc_error *e, const struct usage *u);

/* Installs the handler of SIGINT. `also` (may be NULL) is called by it, in signal context. */
void session_catch_interrupt(void (*also)(void));
/* Whether it was pressed since the last time this was asked. */
bool session_interrupted(void);
/* The same, and it is not forgotten. */
bool session_interrupt_waits(void);

#endif
