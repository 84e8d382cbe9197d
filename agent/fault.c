/*
 * agent/fault.c - the table of faults: number, symbol, when it happens.
 */
#include "agent/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/text.h"

static const struct fault_row {
	enum fault_code code;
	const char *symbol;
	const char *help;
} rows[] = {
	{ FAULT_NOT_JSON, "NOT_JSON", "What came is not JSON; the connection is closed after this answer." },
	{ FAULT_NOT_A_REQUEST, "NOT_A_REQUEST", "JSON, but no JSON-RPC 2.0 request." },
	{ FAULT_NO_SUCH_METHOD, "NO_SUCH_METHOD", "No method has this name." },
	{ FAULT_BAD_PARAMS, "BAD_PARAMS",
	    "A parameter is missing, unknown, or not what it may be; path tells which." },
	{ FAULT_INTERNAL, "INTERNAL", "The appliance's own mistake; logId finds it in the log." },
	{ FAULT_NOT_LOGGED_IN, "NOT_LOGGED_IN",
	    "The call needs a log-in: a token, a password, or session.login." },
	{ FAULT_LOGIN_FAILED, "LOGIN_FAILED",
	    "User, password or token are wrong, or the token has expired." },
	{ FAULT_FORBIDDEN, "FORBIDDEN", "The user's role does not allow this there." },
	{ FAULT_LOCKED_OUT, "LOCKED_OUT", "Too many failed log-ins; the message says when to try again." },
	{ FAULT_CONFIRM_NEEDED, "CONFIRM_NEEDED",
	    "Something is destroyed for good, and _.confirm is not true." },
	{ FAULT_CONFLICT, "CONFLICT", "Somebody changed the object since the caller read it (_.ifMatch)." },
	{ FAULT_REQUEST_ID_REUSED, "REQUEST_ID_REUSED",
	    "The same _.requestId came with another call before." },
	{ FAULT_TOO_BUSY, "TOO_BUSY", "More calls are under way than may be; try again." },
	{ FAULT_TOO_LARGE, "TOO_LARGE", "A message or an answer is longer than 1 MiB." },
	{ FAULT_NOT_SUPPORTED, "NOT_SUPPORTED", "This appliance cannot do that." },
	{ FAULT_TIMED_OUT, "TIMED_OUT", "It did not happen in the time that was given." },
	{ FAULT_CANCELLED, "CANCELLED", "Somebody cancelled it." },
	{ FAULT_NO_SPACE, "NO_SPACE", "The data disk is full." },
	{ FAULT_STORAGE, "STORAGE", "A file of the appliance cannot be read or written." },
	{ FAULT_STOPPING, "STOPPING", "The agent is being stopped; try again in a few seconds." },
	{ FAULT_RESTARTED, "RESTARTED", "The agent was restarted before this was done." },
	{ FAULT_WRONG_CARRIER, "WRONG_CARRIER", "Events and batches need another carrier than this one." },
	{ FAULT_LIMIT, "LIMIT", "There may be no more of these." },
	{ FAULT_USER_NOT_FOUND, "USER_NOT_FOUND", "No user has this name." },
	{ FAULT_USER_EXISTS, "USER_EXISTS", "A user has this name already." },
	{ FAULT_LAST_ADMINISTRATOR, "LAST_ADMINISTRATOR", "root stays, and stays an administrator." },
	{ FAULT_WEAK_PASSWORD, "WEAK_PASSWORD", "The password is too easy to guess." },
	{ FAULT_TOKEN_NOT_FOUND, "TOKEN_NOT_FOUND", "The user has no token of this name." },
	{ FAULT_TOKEN_EXISTS, "TOKEN_EXISTS", "The user has a token of this name already." },
	{ FAULT_ROLE_TOO_HIGH, "ROLE_TOO_HIGH", "A token cannot do more than its owner." },
	{ FAULT_USER_RESERVED, "USER_RESERVED", "The name belongs to the system." },
	{ FAULT_JOB_NOT_FOUND, "JOB_NOT_FOUND", "No job has this id, or it was long ago." },
	{ FAULT_JOB_FINISHED, "JOB_FINISHED", "The job has ended already." },
	{ FAULT_EVENT_GAP, "EVENT_GAP", "Events since then are no longer kept: read everything again." },
	{ FAULT_TICKET_INVALID, "TICKET_INVALID", "The ticket was used, has expired, or is another user's." },
	{ FAULT_ADAPTER_NOT_FOUND, "ADAPTER_NOT_FOUND", "No network adapter has this name." },
	{ FAULT_TIME_ZONE_NOT_FOUND, "TIME_ZONE_NOT_FOUND", "No time zone has this name." },
	{ FAULT_BAD_ADDRESS, "BAD_ADDRESS", "Not an address that an adapter can have." },
	{ FAULT_BAD_TIME, "BAD_TIME", "Not a time that the clock can be set to." },
	{ FAULT_HOST_SETTING_FAILED, "HOST_SETTING_FAILED",
	    "The system refused the setting; it is as it was." },
	{ FAULT_BAD_HOST_NAME, "BAD_HOST_NAME", "Not a name that a computer can have." },
	{ FAULT_VM_NOT_FOUND, "VM_NOT_FOUND", "No machine has this name or GUID." },
	{ FAULT_VM_EXISTS, "VM_EXISTS", "A machine has this name or GUID already." },
	{ FAULT_VM_WRONG_STATE, "VM_WRONG_STATE", "The machine's state does not allow this." },
	{ FAULT_VM_START_FAILED, "VM_START_FAILED", "The machine could not be started." },
	{ FAULT_VM_WORKER_LOST, "VM_WORKER_LOST", "The machine's worker process has gone." },
	{ FAULT_VM_WORKER_FAILED, "VM_WORKER_FAILED",
	    "The machine's worker refused, or did not answer in time." },
	{ FAULT_VM_DOCUMENT_BAD, "VM_DOCUMENT_BAD", "The machine's document cannot be read." },
	{ FAULT_VM_STOP_TIMED_OUT, "VM_STOP_TIMED_OUT", "The guest did not shut down in time; it goes on." },
	{ FAULT_FILE_NOT_FOUND, "FILE_NOT_FOUND", "No file has this name." },
	{ FAULT_FILE_BAD, "FILE_BAD", "The file is not what it has to be." },
	{ FAULT_NOT_ENOUGH_MEMORY, "NOT_ENOUGH_MEMORY", "The host has less memory free than is needed." },
	{ FAULT_CONSOLE_BUSY, "CONSOLE_BUSY", "Somebody has this console open." },
	{ FAULT_CONSOLE_NOT_FOUND, "CONSOLE_NOT_FOUND", "The machine has no such port." },
	{ FAULT_HOST_UNFIT, "HOST_UNFIT", "The processor or the kernel lacks what machines need." },
	{ FAULT_FOLDER_NOT_FOUND, "FOLDER_NOT_FOUND", "No folder for the user's files has this name." },
	{ FAULT_FILE_EXISTS, "FILE_EXISTS",
	    "There is a file of this name, and it is not to be overwritten." },
	{ FAULT_FILE_IN_USE, "FILE_IN_USE",
	    "A machine's settings name the file, or another upload writes it." },
	{ FAULT_UPLOAD_WRONG_SIZE, "UPLOAD_WRONG_SIZE",
	    "Fewer or more bytes came than were announced; nothing was kept." },
	{ FAULT_DISK_NOT_FOUND, "DISK_NOT_FOUND", "The machine has no such disk or drive at that place." },
	{ FAULT_DISK_EXISTS, "DISK_EXISTS",
	    "There is a disk or drive at that place, or a file of that name." },
	{ FAULT_DISK_IN_USE, "DISK_IN_USE",
	    "A machine that runs, or the host itself, has the file or device." },
	{ FAULT_DISK_LOCKED, "DISK_LOCKED", "The guest has locked its DVD drive." },
	{ FAULT_GUEST_NO_CONTACT, "GUEST_NO_CONTACT",
	    "The guest has no driver that could do it, or the integration component is off." },
	{ FAULT_GUEST_REFUSED, "GUEST_REFUSED", "The guest was asked, and refused or did not answer." },
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

static const struct fault_row *
row_of(enum fault_code code)
{
	for (size_t i = 0; i < ROWS; i++)
		if (rows[i].code == code)
			return &rows[i];
	return NULL;
}

const char *
fault_symbol(enum fault_code code)
{
	const struct fault_row *row = row_of(code);

	return row ? row->symbol : "INTERNAL";
}

const char *
fault_help(enum fault_code code)
{
	const struct fault_row *row = row_of(code);

	return row ? row->help : NULL;
}

enum fault_code
fault_code_at(size_t i)
{
	return i < ROWS ? rows[i].code : FAULT_NONE;
}

static void
set(struct fault *f, enum fault_code code, const char *path, const char *hint, const char *message)
{
	struct fault made = { .code = code };

	snprintf(made.message, sizeof(made.message), "%s", message);
	snprintf(made.path, sizeof(made.path), "%s", path ? path : "");
	snprintf(made.hint, sizeof(made.hint), "%s", hint ? hint : "");
	text_clean(made.message);
	text_clean(made.path);
	text_clean(made.hint);
	*f = made;
}

int
fault_set(struct fault *f, enum fault_code code, const char *path, const char *hint, const char *fmt, ...)
{
	char message[ERR_MSG_SIZE];
	va_list ap;

	if (!f)
		return -1;
	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	set(f, code, path, hint, message);
	return -1;
}

int
fault_err(struct fault *f, enum fault_code code, const char *path, const char *hint, const struct err *e)
{
	if (f)
		set(f, code, path, hint, e->msg);
	return -1;
}

/* Members that have nothing to say are left out. */
static bool
put_text(json_t *obj, const char *name, const char *text)
{
	return !text[0] || json_object_set_new(obj, name, json_string(text)) == 0;
}

json_t *
fault_to_json(const struct fault *f)
{
	json_t *data = json_object(), *error;
	bool ok = put_text(data, "symbol", fault_symbol(f->code)) && put_text(data, "path", f->path) &&
		  put_text(data, "hint", f->hint) && put_text(data, "logId", f->log_id);

	error = json_pack("{s:i, s:s, s:o}", "code", (int)f->code, "message", f->message, "data", data);
	if (error && !ok) {
		json_decref(error);
		return NULL;
	}
	return error;
}

static void
take_text(const json_t *obj, const char *name, char *out, size_t size)
{
	const char *text = json_string_value(json_object_get(obj, name));

	snprintf(out, size, "%s", text ? text : "");
	text_clean(out);
}

void
fault_from_json(struct fault *f, const json_t *error)
{
	const json_t *data = json_object_get(error, "data");
	json_int_t code = json_integer_value(json_object_get(error, "code"));

	*f = (struct fault){ .code = FAULT_INTERNAL };
	for (size_t i = 0; i < ROWS; i++)
		if (rows[i].code == code)
			f->code = rows[i].code;
	take_text(error, "message", f->message, sizeof(f->message));
	take_text(data, "path", f->path, sizeof(f->path));
	take_text(data, "hint", f->hint, sizeof(f->hint));
	take_text(data, "logId", f->log_id, sizeof(f->log_id));
}
