/*
 * agent/fault.h - why a call failed, for programs and for people: a stable number with its symbol, one
 * sentence, the path of the bad parameter, a hint what to do.
 *
 * Numbers and symbols are part of the interface: never change one, never use one again. Each room has
 * its range; a new code needs a row in fault.c as well (a test compares them). A struct fault belongs to
 * one thread at a time.
 */
#ifndef AGENT_FAULT_H
#define AGENT_FAULT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/err.h"

enum fault_code {
	FAULT_NONE = 0,

	/* JSON-RPC's own. */
	FAULT_NOT_JSON = -32700,
	FAULT_NOT_A_REQUEST = -32600,
	FAULT_NO_SUCH_METHOD = -32601,
	FAULT_BAD_PARAMS = -32602,
	FAULT_INTERNAL = -32603, /* always with a log id */

	/* 1000: what any call can meet. */
	FAULT_NOT_LOGGED_IN = 1001,
	FAULT_LOGIN_FAILED = 1002,
	FAULT_FORBIDDEN = 1003,
	FAULT_LOCKED_OUT = 1004,
	FAULT_CONFIRM_NEEDED = 1005,
	FAULT_CONFLICT = 1006,          /* ifMatch is stale */
	FAULT_REQUEST_ID_REUSED = 1007, /* the same id with another call */
	FAULT_TOO_BUSY = 1008,          /* more calls in flight than a connection or the agent may have */
	FAULT_TOO_LARGE = 1009,
	FAULT_NOT_SUPPORTED = 1010,
	FAULT_TIMED_OUT = 1011,
	FAULT_CANCELLED = 1012,
	FAULT_NO_SPACE = 1013,
	FAULT_STORAGE = 1014,   /* a file of the appliance cannot be read or written */
	FAULT_STOPPING = 1015,  /* the agent is being stopped */
	FAULT_RESTARTED = 1016, /* of a job: the agent stopped before it was done */
	FAULT_WRONG_CARRIER = 1017,
	FAULT_LIMIT = 1018, /* there may be no more of these */

	/* 1100: users and tokens. */
	FAULT_USER_NOT_FOUND = 1101,
	FAULT_USER_EXISTS = 1102,
	FAULT_LAST_ADMINISTRATOR = 1103,
	FAULT_WEAK_PASSWORD = 1104,
	FAULT_TOKEN_NOT_FOUND = 1105,
	FAULT_TOKEN_EXISTS = 1106,
	FAULT_ROLE_TOO_HIGH = 1107,
	FAULT_USER_RESERVED = 1108,

	/* 1200: jobs, events, streams. */
	FAULT_JOB_NOT_FOUND = 1201,
	FAULT_JOB_FINISHED = 1202,
	FAULT_EVENT_GAP = 1203,
	FAULT_TICKET_INVALID = 1204,

	/* 1300: the host. */
	FAULT_ADAPTER_NOT_FOUND = 1301,
	FAULT_TIME_ZONE_NOT_FOUND = 1302,
	FAULT_BAD_ADDRESS = 1303,
	FAULT_BAD_TIME = 1304,
	FAULT_HOST_SETTING_FAILED = 1305, /* the kernel or a service refused what was asked */
	FAULT_BAD_HOST_NAME = 1306,

	/* 1400: machines. */
	FAULT_VM_NOT_FOUND = 1404,
	FAULT_VM_EXISTS = 1405,
	FAULT_VM_WRONG_STATE = 1406,
	FAULT_VM_START_FAILED = 1407,
	FAULT_VM_WORKER_LOST = 1408,
	FAULT_VM_WORKER_FAILED = 1409, /* the worker refused, or answered too late */
	FAULT_VM_DOCUMENT_BAD = 1410,
	FAULT_VM_STOP_TIMED_OUT = 1411,
	FAULT_FILE_NOT_FOUND = 1412,
	FAULT_FILE_BAD = 1413,
	FAULT_NOT_ENOUGH_MEMORY = 1414,
	FAULT_CONSOLE_BUSY = 1415,
	FAULT_CONSOLE_NOT_FOUND = 1416,
	FAULT_HOST_UNFIT = 1417, /* no KVM, or it lacks what is needed */
	FAULT_FOLDER_NOT_FOUND = 1418,
	FAULT_FILE_EXISTS = 1419,
	FAULT_FILE_IN_USE = 1420,       /* by a machine's settings, or another upload */
	FAULT_UPLOAD_WRONG_SIZE = 1421, /* fewer or more bytes came than were announced */
	FAULT_DISK_NOT_FOUND = 1422,
	FAULT_DISK_EXISTS = 1423,
	FAULT_DISK_IN_USE = 1424, /* by a machine that runs, or by the host */
	FAULT_DISK_LOCKED = 1425, /* the guest has locked the drive */
	FAULT_GUEST_NO_CONTACT = 1426,
	FAULT_GUEST_REFUSED = 1427,
};

enum { FAULT_PATH_SIZE = 96, FAULT_HINT_SIZE = 160, FAULT_LOG_ID_SIZE = 20 };

struct fault {
	enum fault_code code;
	char message[ERR_MSG_SIZE];     /* one sentence, clean text */
	char path[FAULT_PATH_SIZE];     /* of the bad parameter: "vm", "disks[1].path"; may be "" */
	char hint[FAULT_HINT_SIZE];     /* what to do about it; may be "" */
	char log_id[FAULT_LOG_ID_SIZE]; /* to find it in the log; may be "" */
};

/* Fills f; path and hint may be NULL. Returns a negative number, so that a handler can return it. f may
 * be NULL. */
int fault_set(struct fault *f, enum fault_code code, const char *path, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* The same with the sentence of e: fault_err(f, FAULT_STORAGE, NULL, NULL, &e). */
int fault_err(struct fault *f, enum fault_code code, const char *path, const char *hint, const struct err *e);
/* "VM_NOT_FOUND"; "INTERNAL" for a number that is none. */
const char *fault_symbol(enum fault_code code);
/* When it happens, one sentence; NULL for a number that is none. */
const char *fault_help(enum fault_code code);
/* The i-th code there is; FAULT_NONE behind the last. For manuals and tests. */
enum fault_code fault_code_at(size_t i);
/* {"code":..., "message":..., "data":{...}}: a new reference, or NULL when memory is out. */
json_t *fault_to_json(const struct fault *f);
/* Back from such an object, as far as it holds one; for jobs and answers kept in files. */
void fault_from_json(struct fault *f, const json_t *error);

#endif
