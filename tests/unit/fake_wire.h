/*
 * tests/unit/fake_wire.h - an agent that speaks the wire on a Unix socket: a few machines, a job, a
 * console, and every kind of misbehaviour. For the tests of the client and of the shell.
 *
 * A thread listens, one more serves each connection. What was asked last is kept for the test to see.
 */
#ifndef TESTS_UNIT_FAKE_WIRE_H
#define TESTS_UNIT_FAKE_WIRE_H

#include <ctype.h>
#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct fake_wire {
	char folder[64], path[96];
	int listener;
	pthread_t thread;
	pthread_mutex_t lock;
	char last[8192]; /* the last request of each method that matters: its params as text */
	int polls;       /* job.get since the job began */
	int polls_needed;
	bool cancelled, web1_running, drop_next, drop_next_get, never_starts;
	int connections, starts;
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER };

#define P_VM                                                                                            \
	"{\"name\":\"vm\",\"required\":true,\"schema\":{\"type\":\"string\",\"description\":\"Name or " \
	"id.\"}}"
#define P_MEMORY                                                                                    \
	"{\"name\":\"memory\",\"schema\":{\"type\":\"integer\",\"minimum\":16,\"maximum\":1048576," \
	"\"x-unit\":\"MiB\",\"default\":512,\"description\":\"Memory.\"}}"
#define R_ROW                                                                                               \
	"{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\"},\"name\":{\"type\":\"string\"}," \
	"\"state\":{\"type\":\"string\"},\"processors\":{\"type\":\"integer\"},\"memory\":{\"type\":"       \
	"\"integer\",\"x-unit\":\"MiB\"},\"uptime\":{\"type\":\"integer\",\"x-unit\":\"s\"}}}"

static const char fake_discover[] =
    "{\"openrpc\":\"1.2.6\",\"info\":{\"title\":\"Freehold\",\"version\":\"1\"},\"methods\":["
    "{\"name\":\"vm.create\",\"summary\":\"Creates a "
    "machine.\",\"x-changes\":true,\"x-role\":\"Administrator\","
    "\"x-example\":\"vm.create{name=\\\"web1\\\", memory=\\\"2G\\\"}\",\"params\":["
    "{\"name\":\"name\",\"required\":true,\"schema\":{\"type\":\"string\",\"description\":\"Its "
    "name.\"}}," P_MEMORY ",{\"name\":\"processors\",\"schema\":{\"type\":\"integer\"}},"
    "{\"name\":\"kernel\",\"schema\":{\"type\":\"string\",\"x-unit\":\"path\",\"description\":\"Kernel.\"}},"
    "{\"name\":\"automaticStart\",\"schema\":{\"type\":\"string\",\"enum\":[\"Nothing\",\"StartIfRunning\","
    "\"Start\"],\"default\":\"Nothing\"}},{\"name\":\"notes\",\"schema\":{\"type\":\"string\"}},"
    "{\"name\":\"tags\",\"schema\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}}},"
    "{\"name\":\"secure\",\"schema\":{\"type\":\"boolean\"}}],"
    "\"errors\":[{\"code\":1405,\"message\":\"The name is taken.\",\"data\":{\"symbol\":\"VM_EXISTS\"}}]},"
    "{\"name\":\"vm.list\",\"summary\":\"Lists "
    "machines.\",\"params\":[{\"name\":\"name\",\"schema\":{\"type\":"
    "\"string\"}},{\"name\":\"state\",\"schema\":{\"type\":\"string\",\"enum\":[\"Off\",\"Running\"]}}],"
    "\"result\":{\"name\":\"result\",\"schema\":{\"type\":\"object\",\"properties\":{\"vms\":{\"type\":"
    "\"array\","
    "\"items\":" R_ROW "}}}}},"
    "{\"name\":\"vm.get\",\"summary\":\"One machine.\",\"params\":[" P_VM
    "],\"result\":{\"schema\":{\"properties\":"
    "{\"vm\":" R_ROW "}}}},"
    "{\"name\":\"vm.set\",\"summary\":\"Changes one.\",\"x-changes\":true,\"params\":[" P_VM "," P_MEMORY
    "]},"
    "{\"name\":\"vm.start\",\"summary\":\"Starts it.\",\"x-changes\":true,\"params\":[" P_VM "]},"
    "{\"name\":\"vm.stop\",\"summary\":\"Stops it.\",\"x-changes\":true,\"x-job\":true,\"params\":[" P_VM
    ",{\"name\":\"mode\",\"schema\":{\"type\":\"string\",\"enum\":[\"shutdown\",\"turnOff\"]}},"
    "{\"name\":\"timeout\",\"schema\":{\"type\":\"integer\",\"x-unit\":\"s\"}}]},"
    "{\"name\":\"vm.delete\",\"summary\":\"Deletes "
    "it.\",\"x-changes\":true,\"x-destructive\":true,\"params\":[" P_VM "]},"
    "{\"name\":\"disk.add\",\"summary\":\"Gives it a disk.\",\"x-changes\":true,\"params\":[" P_VM
    ",{\"name\":\"size\",\"schema\":{\"type\":\"integer\",\"x-unit\":\"bytes\"}},"
    "{\"name\":\"path\",\"schema\":{\"type\":\"string\",\"x-unit\":\"path\"}}]},"
    "{\"name\":\"disk.remove\",\"summary\":\"Takes a "
    "disk.\",\"x-changes\":true,\"x-destroys\":\"deleteFile\","
    "\"params\":[" P_VM ",{\"name\":\"lun\",\"required\":true,\"schema\":{\"type\":\"integer\"}},"
    "{\"name\":\"deleteFile\",\"schema\":{\"type\":\"boolean\"}}]},"
    "{\"name\":\"job.get\",\"summary\":\"A job.\",\"params\":[{\"name\":\"job\",\"required\":true,\"schema\":"
    "{\"type\":\"string\"}}]},{\"name\":\"job.list\",\"summary\":\"Jobs.\",\"params\":[]},"
    "{\"name\":\"job.cancel\",\"summary\":\"Ends it.\",\"params\":[{\"name\":\"job\",\"required\":true,"
    "\"schema\":{\"type\":\"string\"}}]},"
    "{\"name\":\"host.get\",\"summary\":\"The host.\",\"params\":[]},"
    "{\"name\":\"host.set\",\"summary\":\"Changes it.\",\"x-changes\":true,\"params\":[{\"name\":\"name\","
    "\"schema\":{\"type\":\"string\"}},{\"name\":\"dns\",\"schema\":{\"type\":\"array\",\"items\":{\"type\":"
    "\"string\"}}}]},"
    "{\"name\":\"console.open\",\"summary\":\"A console.\",\"params\":[" P_VM "]},"
    "{\"name\":\"file.list\",\"summary\":\"Files.\",\"params\":[{\"name\":\"folder\",\"schema\":{\"type\":"
    "\"string\"}}]},"
    "{\"name\":\"file.upload\",\"summary\":\"Takes a file.\",\"x-changes\":true,\"params\":[{\"name\":"
    "\"path\",\"required\":true,\"schema\":{\"type\":\"string\"}},{\"name\":\"size\",\"required\":true,"
    "\"schema\":{\"type\":\"integer\"}}]},"
    "{\"name\":\"user.create\",\"summary\":\"A user.\",\"x-changes\":true,\"params\":[{\"name\":\"name\","
    "\"required\":true,\"schema\":{\"type\":\"string\"}},{\"name\":\"password\",\"required\":true,\"schema\":"
    "{\"type\":\"string\",\"writeOnly\":true}}]},"
    "{\"name\":\"nic.vlan.set\",\"summary\":\"A VLAN.\",\"x-changes\":true,\"params\":[" P_VM
    ",{\"name\":\"id\",\"required\":true,\"schema\":{\"type\":\"integer\"}}]},"
    "{\"name\":\"event.subscribe\",\"summary\":\"Events.\",\"params\":[]},"
    "{\"name\":\"test.hang\",\"summary\":\"Never answers.\",\"params\":[]},"
    "{\"name\":\"test.drop\",\"summary\":\"Hangs up.\",\"params\":[]},"
    "{\"name\":\"../etc\",\"summary\":\"No name.\",\"params\":[]}]}";

static inline json_t *
fake_vm(const char *name, bool running, int memory)
{
	return json_pack("{s:s, s:s, s:s, s:i, s:i, s:i}", "id", name, "name", name, "state",
	    running ? "Running" : "Off", "processors", 2, "memory", memory, "uptime", running ? 93784 : 0);
}

static inline json_t *
fake_error(int code, const char *symbol, const char *path, const char *hint, const char *message)
{
	return json_pack("{s:{s:i, s:s, s:{s:s, s:s, s:s}}}", "error", "code", code, "message", message,
	    "data", "symbol", symbol, "path", path, "hint", hint);
}

static inline json_t *
fake_list(const json_t *params)
{
	const char *state = json_string_value(json_object_get(params, "state"));
	const char *name = json_string_value(json_object_get(params, "name"));
	json_t *vms = json_array();

	if ((!state || (strcmp(state, "Running") == 0) == fake.web1_running) &&
	    (!name || strcmp(name, "web1") == 0))
		json_array_append_new(vms, fake_vm("web1", fake.web1_running, 2048));
	if ((!state || strcmp(state, "Off") == 0) && (!name || strcmp(name, "web2") == 0))
		json_array_append_new(vms, fake_vm("web2", false, 512));
	return json_pack("{s:{s:o}}", "result", "vms", vms);
}

static inline json_t *
fake_job(void)
{
	bool ended = ++fake.polls >= fake.polls_needed;
	json_t *job = json_pack("{s:s, s:s, s:s, s:i, s:i, s:s}", "job", "7", "state",
	    fake.cancelled ? "Terminated"
	    : ended        ? "Completed"
			   : "Running",
	    "phase", "stopping", "done", fake.polls, "total", fake.polls_needed, "unit", "s");

	if (fake.cancelled)
		json_object_set_new(job, "error",
		    json_pack("{s:i, s:s, s:{s:s}}", "code", 1012, "message", "the job was cancelled", "data",
			"symbol", "CANCELLED"));
	else if (ended)
		json_object_set_new(job, "result", json_pack("{s:b}", "changed", 1));
	return json_pack("{s:{s:o}}", "result", "job", job);
}

static inline bool
fake_knows(const json_t *params)
{
	const char *vm = json_string_value(json_object_get(params, "vm"));

	return vm && (strcmp(vm, "web1") == 0 || strcmp(vm, "web2") == 0);
}

/* {"result":...} or {"error":...} */
static inline json_t *
fake_vm_answer(const char *verb, const json_t *params)
{
	const json_t *meta = json_object_get(params, "_");
	bool dry = json_is_true(json_object_get(meta, "dryRun")), before = fake.web1_running;

	if (strcmp(verb, "list") == 0)
		return fake_list(params);
	if (strcmp(verb, "create") == 0)
		return json_pack("{s:{s:b, s:o}}", "result", "changed", 1, "vm", fake_vm("web3", false, 512));
	if (!fake_knows(params))
		return fake_error(
		    1404, "VM_NOT_FOUND", "vm", "vm list shows the machines.", "no machine is called so");
	if (dry)
		return json_pack("{s:{s:b, s:b, s:[s]}}", "result", "changed", 1, "dryRun", 1, "would",
		    "do something to the machine");
	if (strcmp(verb, "get") == 0)
		return json_pack("{s:{s:o}}", "result", "vm", fake_vm("web1", fake.web1_running, 2048));
	if (strcmp(verb, "start") == 0) {
		fake.web1_running = !fake.never_starts;
		fake.starts++;
		return json_pack("{s:{s:b}}", "result", "changed", !before);
	}
	if (strcmp(verb, "stop") == 0) {
		fake.web1_running = fake.cancelled = false;
		fake.polls = 0;
		return json_pack("{s:{s:s, s:b}}", "result", "job", "7", "changed", 1);
	}
	if (strcmp(verb, "set") == 0)
		return json_pack("{s:{s:b, s:[s]}}", "result", "changed", 1, "restart", "memory");
	if (!json_is_true(json_object_get(meta, "confirm")))
		return fake_error(1005, "CONFIRM_NEEDED", "_.confirm", "", "this needs confirmation");
	return json_pack("{s:{s:b}}", "result", "changed", 1);
}

/* Its ticket tells the name. */
static inline json_t *
fake_upload_answer(const json_t *params)
{
	const char *path = json_string_value(json_object_get(params, "path"));
	char ticket[64];

	if (json_object_get(json_object_get(params, "_"), "dryRun"))
		return json_pack("{s:{s:b, s:[s]}}", "result", "changed", 1, "would", "upload it");
	snprintf(ticket, sizeof(ticket), "U/%.40s", path && strrchr(path, '/') ? strrchr(path, '/') + 1 : "");
	return json_pack("{s:{s:b, s:s}}", "result", "changed", 1, "ticket", ticket);
}

static inline json_t *
fake_answer(const char *method, const json_t *params)
{
	if (strncmp(method, "vm.", 3) == 0)
		return fake_vm_answer(method + 3, params);
	if (strcmp(method, "rpc.discover") == 0)
		return json_pack("{s:o}", "result", json_loads(fake_discover, 0, NULL));
	if (strcmp(method, "job.get") == 0)
		return fake_job();
	if (strcmp(method, "job.cancel") == 0)
		fake.cancelled = true;
	if (strcmp(method, "host.get") == 0)
		return json_pack("{s:{s:s, s:[{s:s, s:b}]}}", "result", "name", "alpha", "adapters", "name",
		    "eth0", "link", 1);
	if (strcmp(method, "console.open") == 0)
		return json_pack("{s:{s:s, s:s}}", "result", "ticket", "T1", "path", "/stream/T1");
	if (strcmp(method, "file.list") == 0)
		return json_pack(
		    "{s:{s:[{s:s, s:s}]}}", "result", "files", "name", "vmlinuz", "path", "images/vmlinuz");
	if (strcmp(method, "file.upload") == 0)
		return fake_upload_answer(params);
	if (strcmp(method, "test.evil") == 0)
		return fake_error(1999, "EVIL\x1b[2J", "", "", "\x1b]0;gotcha\x07line\nbreak");
	return json_pack("{s:{s:b}}", "result", "changed", 1);
}

static inline void
fake_send(int fd, json_t *msg)
{
	char *text = json_dumps(msg, JSON_COMPACT);

	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0 || send(fd, "\n", 1, MSG_NOSIGNAL) < 0)
		shutdown(fd, SHUT_RDWR);
	free(text);
	json_decref(msg);
}

static inline void
fake_event(int fd, int seq)
{
	fake_send(fd,
	    json_pack("{s:s, s:s, s:{s:i, s:s, s:s, s:{s:s}}}", "jsonrpc", "2.0", "method", "event", "params",
		"seq", seq, "type", "vm.state", "time", "2026-01-01T00:00:00Z", "data", "vm", "web1"));
}

static inline void
fake_flood(int fd)
{
	static char much[65536];

	memset(much, 'x', sizeof(much));
	for (int i = 0; i < 40; i++)
		if (send(fd, much, sizeof(much), MSG_NOSIGNAL) < 0)
			return;
}

/* What misbehaves on the wire itself. False: it is no such method. */
static inline bool
fake_misbehave(int fd, const char *method, json_t *id)
{
	if (strcmp(method, "test.hang") == 0)
		return true;
	if (strcmp(method, "test.drop") == 0)
		return shutdown(fd, SHUT_RDWR), true;
	if (strcmp(method, "test.garbage") == 0)
		return send(fd, "\x7f\x00{]\n", 5, MSG_NOSIGNAL), true;
	if (strcmp(method, "test.neither") == 0)
		return fake_send(fd, json_pack("{s:s, s:O}", "jsonrpc", "2.0", "id", id)), true;
	if (strcmp(method, "test.flood") == 0)
		return fake_flood(fd), true;
	if (strcmp(method, "event.subscribe") == 0)
		for (int i = 1; i <= 3; i++)
			fake_event(fd, i);
	return false;
}

/* An upload of "hello world", by the name it is to get: images/full, images/other, images/gone, or any. */
static inline void
fake_upload(int fd, const char *name)
{
	static const char sum[] = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
	char c;
	int n = 0;

	if (send(fd, "{\"result\":{}}\n", 14, MSG_NOSIGNAL) != 14)
		return;
	while (n < (strcmp(name, "full") == 0 ? 3 : 11) && read(fd, &c, 1) == 1)
		n++;
	if (strcmp(name, "full") == 0)
		fake_send(fd, fake_error(1013, "NO_SPACE", "", "", "images/full: No space left on device"));
	else if (strcmp(name, "gone") != 0)
		fake_send(fd, json_pack("{s:{s:s, s:i, s:s}}", "result", "path", name, "size", n, "sha256",
				  strcmp(name, "other") == 0 ? "00" : sum));
}

/* A console: everything comes back in capitals, after a greeting; Ctrl-D ends it. */
static inline void
fake_stream(int fd)
{
	char c;

	if (send(fd, "{\"result\":{}}\nlogin: ", 21, MSG_NOSIGNAL) != 21)
		return;
	while (read(fd, &c, 1) == 1 && c != 4) {
		c = (char)toupper((unsigned char)c);
		if (send(fd, &c, 1, MSG_NOSIGNAL) != 1)
			return;
	}
}

static inline bool
fake_serve_line(int fd, const char *line)
{
	json_t *msg = json_loads(line, 0, NULL), *id = json_object_get(msg, "id"), *answer;
	const char *method = json_string_value(json_object_get(msg, "method"));
	const char *stream = json_string_value(json_object_get(msg, "stream"));
	char *text = json_dumps(json_object_get(msg, "params"), JSON_COMPACT | JSON_ENCODE_ANY);

	if (stream) {
		if (strcmp(stream, "T1") == 0)
			fake_stream(fd);
		else if (strncmp(stream, "U/", 2) == 0)
			fake_upload(fd, stream + 2);
		else
			fake_send(fd, fake_error(1204, "TICKET_INVALID", "", "", "this ticket is not valid"));
		shutdown(fd, SHUT_RDWR);
	} else if (method) {
		pthread_mutex_lock(&fake.lock);
		if (strcmp(method, "job.get") != 0 && strcmp(method, "file.list") != 0)
			snprintf(fake.last, sizeof(fake.last), "%s %s", method, text ? text : "null");
		if (fake.drop_next_get && strcmp(method, "job.get") == 0) {
			fake.drop_next_get = false;
			shutdown(fd, SHUT_RDWR);
		} else if (fake.drop_next && strcmp(method, "vm.start") == 0) {
			fake.drop_next = false; /* carried out, but nobody is told */
			json_decref(fake_answer(method, json_object_get(msg, "params")));
			shutdown(fd, SHUT_RDWR);
		} else if (!fake_misbehave(fd, method, id)) {
			answer = fake_answer(method, json_object_get(msg, "params"));
			json_object_set_new(answer, "jsonrpc", json_string("2.0"));
			json_object_set(answer, "id", id);
			fake_send(fd, answer);
		}
		pthread_mutex_unlock(&fake.lock);
	}
	free(text);
	json_decref(msg);
	return method != NULL;
}

static inline void *
fake_serve(void *ctx)
{
	int fd = (int)(intptr_t)ctx;
	static const size_t room = 1 << 21;
	char *line = malloc(room);
	size_t n = 0;

	while (line && n + 1 < room && read(fd, line + n, 1) == 1) {
		if (line[n] != '\n') {
			n++;
			continue;
		}
		line[n] = '\0';
		n = 0;
		if (!fake_serve_line(fd, line))
			break;
	}
	free(line);
	close(fd);
	return NULL;
}

static inline void *
fake_accept(void *ctx)
{
	pthread_attr_t attr;
	pthread_t thread;
	int fd;

	(void)ctx;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	while ((fd = accept4(fake.listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		fake.connections++;
		if (pthread_create(&thread, &attr, fake_serve, (void *)(intptr_t)fd) != 0)
			close(fd);
	}
	pthread_attr_destroy(&attr);
	return NULL;
}

/* Listens in a new folder; the path is told to clients by FREEHOLD_SOCKET. */
static inline int
fake_wire_start(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	strcpy(fake.folder, "/tmp/fhsh-test-XXXXXX");
	if (!mkdtemp(fake.folder))
		return -1;
	snprintf(fake.path, sizeof(fake.path), "%s/rpc.sock", fake.folder);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", fake.path);
	fake.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(fake.listener, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fake.listener, 16) < 0)
		return -1;
	fake.web1_running = true;
	fake.polls_needed = 3;
	setenv("FREEHOLD_SOCKET", fake.path, 1);
	return pthread_create(&fake.thread, NULL, fake_accept, NULL);
}

static inline void
fake_wire_stop(void)
{
	shutdown(fake.listener, SHUT_RDWR);
	pthread_join(fake.thread, NULL);
	close(fake.listener);
	unlink(fake.path);
	rmdir(fake.folder);
}

/* What was asked last: "vm.start {\"vm\":\"web1\"}"; a copy that lives until the next call. */
static inline const char *
fake_last(void)
{
	static char copy[sizeof(fake.last)];

	pthread_mutex_lock(&fake.lock);
	memcpy(copy, fake.last, sizeof(copy));
	pthread_mutex_unlock(&fake.lock);
	return copy;
}

#endif
