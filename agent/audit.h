/*
 * agent/audit.h - who did what: one JSON line for each change, each log-in and each refusal.
 *
 * DATA/log/audit.log is rotated at 8 MiB into audit.log.1 .. .3, so that it is never larger than 32 MiB. A
 * line is written at once; it is on the disk within seconds, not before the answer. Changes are all there.
 * Of what changed nothing (refusals, failures, log-ins) each user has a hundred lines, and two a second after
 * that; all strangers together have less. So nobody can push out what others did; how many lines were left
 * out is told. Any thread.
 */
#ifndef AGENT_AUDIT_H
#define AGENT_AUDIT_H

#include <jansson.h>

#include "agent/identity.h"

enum { AUDIT_FILE_MAX = 8 * 1024 * 1024, AUDIT_FILES = 4, AUDIT_LINE_MAX = 8 * 1024, AUDIT_LIST_MAX = 1000 };

struct audit;
int audit_new(struct audit **out, const char *folder, size_t file_max, struct err *e);
void audit_free(struct audit *a);

struct audit_entry {
	const struct identity *who;
	const char *method;
	const struct rpc_method *row; /* NULL: no such method; then no parameter is written */
	const json_t *params;
	const struct fault *fault; /* NULL: it was done */
	const json_t *result;      /* of a change: changed and job are taken from it */
	const char *log_id;        /* may be NULL */
};

void audit_write(struct audit *a, const struct audit_entry *entry);
/* The last entries, oldest first: a new reference. */
json_t *audit_list(struct audit *a, size_t limit);

#endif
