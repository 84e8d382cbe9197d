/*
 * lib/rpc_client_error.c - why a call failed, from this side or from the host's answer.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/rpc_client_private.h"
#include "lib/text.h"

static const char *const symbols[] = {
	[RPC_NOT_CONNECTED] = "NOT_CONNECTED",
	[RPC_TIMED_OUT] = "TIMED_OUT",
	[RPC_INTERRUPTED] = "INTERRUPTED",
	[RPC_BAD_ANSWER] = "BAD_ANSWER",
	[RPC_UNKNOWN_CERTIFICATE] = "UNKNOWN_CERTIFICATE",
	[RPC_CHANGED_CERTIFICATE] = "CHANGED_CERTIFICATE",
	[RPC_NO_PASSWORD] = "NO_PASSWORD",
	[RPC_LOCAL_FAULT] = "LOCAL_FAULT",
};

/* Copies what fits of s, which may be NULL, and makes it fit for a terminal. */
static void
copy_clean(char *out, size_t size, const char *s)
{
	snprintf(out, size, "%s", s ? s : "");
	text_clean(out); /* a character that was cut in two becomes '?' */
}

int
rpc_fail(struct rpc_error *e, enum rpc_client_code code, int rc, const char *hint, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return rc;
	memset(e, 0, sizeof(*e));
	e->code = (int)code;
	copy_clean(e->symbol, sizeof(e->symbol), symbols[code]);
	copy_clean(e->hint, sizeof(e->hint), hint);
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
	text_clean(e->message);
	return rc;
}

static void
copy_member(char *out, size_t size, const json_t *object, const char *name)
{
	copy_clean(out, size, json_string_value(json_object_get(object, name)));
}

int
rpc_fail_remote(struct rpc_error *e, const json_t *error)
{
	const json_t *data = json_object_get(error, "data");
	json_int_t code = json_integer_value(json_object_get(error, "code"));

	if (!e)
		return -EREMOTEIO;
	memset(e, 0, sizeof(*e));
	/* A host that calls its error 0, or by a number of ours, must not be taken for something else. */
	e->code = code < INT_MIN || code > INT_MAX || (code >= 0 && code < 1000) ? 1000 : (int)code;
	copy_member(e->message, sizeof(e->message), error, "message");
	copy_member(e->symbol, sizeof(e->symbol), data, "symbol");
	copy_member(e->path, sizeof(e->path), data, "path");
	copy_member(e->hint, sizeof(e->hint), data, "hint");
	copy_member(e->log_id, sizeof(e->log_id), data, "logId");
	if (!e->message[0])
		snprintf(e->message, sizeof(e->message), "the host gave no reason (error %d)", e->code);
	return -EREMOTEIO;
}

int
rpc_error_read(struct rpc_error *e, const json_t *error)
{
	return rpc_fail_remote(e, error);
}
