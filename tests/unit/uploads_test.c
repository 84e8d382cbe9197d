/*
 * tests/unit/uploads_test.c - files that are uploaded and deleted, in a whole agent: there whole, or not at
 * all, and nowhere but below images.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>

#include "agent/audit.h"
#include "agent/dispatch.h"
#include "agent/events.h"
#include "agent/identity.h"
#include "agent/users.h"
#include "agent/tickets.h"
#include "agent/uploads.h"
#include "tests/unit/fake_vm.h"

static struct agent *agent;
static struct identity root, operator;
static char etc[96];
static json_t *answer; /* of the last call */

/* --- a disk that gets full
 * ----------------------------------------------------------------------------------- */

static atomic_int writes_left = -1; /* -1: any number */

ssize_t __real_write(int fd, const void *buf, size_t len);
ssize_t __wrap_write(int fd, const void *buf, size_t len);

ssize_t
__wrap_write(int fd, const void *buf, size_t len)
{
	if (len > 4096 && writes_left >= 0 && writes_left-- == 0) {
		errno = ENOSPC;
		return -1;
	}
	return __real_write(fd, buf, len);
}

/* --- the agent
 * ----------------------------------------------------------------------------------------------- */

static void
start_agent(void)
{
	struct agent_options o = { .data = fake.data, .run = fake.run, .etc = etc };
	struct err e = { 0 };

	if (agent_start(&agent, &o, &e) < 0)
		fail_msg("%s", e.msg);
}

static int
setup(void **state)
{
	char path[256];

	(void)state;
	writes_left = -1;
	if (fake_setup() < 0)
		return -1;
	snprintf(etc, sizeof(etc), "%s/etc", fake.root);
	mkdir(etc, 0700);
	for (int i = 0; i < 3; i++) {
		static const char *const files[] = { "passwd", "shadow", "group" };
		static const char *const text[] = { "root:x:0:0::/root:/bin/sh\n", "root:*:1::::::\n",
			"root:x:0:\n" };

		snprintf(path, sizeof(path), "../etc/%s", files[i]);
		fake_file(path, text[i]);
	}
	snprintf(path, sizeof(path), "%s/system", fake.data);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/images/debian", fake.data);
	mkdir(path, 0700);
	fake_file("system/host.json", "{\"Version\":1,\"RemoteManagement\":false}");
	identity_none(&root, CARRIER_LOCAL, "test");
	snprintf(root.user, sizeof(root.user), "root");
	root.most = ROLE_ADMINISTRATOR;
	operator= root;
	identity_grant(&root, ROLE_ADMINISTRATOR, "/");
	identity_grant(&operator, ROLE_OPERATOR, "/");
	start_agent();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	json_decref(answer);
	answer = NULL;
	agent_stop(agent);
	return fake_teardown();
}

static enum fault_code
call_as(const struct identity *who, const char *method, const char *params)
{
	enum fault_code code = FAULT_NONE;
	json_t *doc = json_loads(params, 0, NULL);

	assert_non_null(doc);
	json_decref(answer);
	answer = dispatch_call(agent, NULL, who, method, doc, &code);
	json_decref(doc);
	return code;
}

static const char *
text(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s ? s : "";
}

static const char *
message(void)
{
	return text(json_object_get(answer, "error"), "message");
}

/* Begins an upload: the client's end of its stream. */
static int
begin(const char *params)
{
	const struct rpc_method *m = dispatch_find("file.upload");
	struct stream_rights rights;
	const json_t *result;
	struct fault f;
	struct err e = { 0 };
	int fd;

	if (call_as(&root, "file.upload", params) != FAULT_NONE)
		fail_msg("%s: %s", params, message());
	result = json_object_get(answer, "result");
	assert_true(method_result_ok(m, result, &e));
	fd = tickets_take(agent->tickets, text(result, "ticket"), &root, &rights, &f);
	assert_true(fd >= 0);
	return fd;
}

static void
give(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

		if (n < 0)
			return; /* refused: the line tells */
		bytes += n;
		len -= (size_t)n;
	}
}

/* The line at the end, and the end of the stream. Takes fd. */
static const json_t *
line(int fd)
{
	char buf[2048];
	size_t len = 0;
	ssize_t n;

	while ((n = recv(fd, buf + len, sizeof(buf) - len, 0)) > 0)
		len += (size_t)n;
	assert_true(len > 1 && buf[len - 1] == '\n');
	close(fd);
	json_decref(answer);
	answer = json_loadb(buf, len, 0, NULL);
	assert_non_null(answer);
	return answer;
}

static const char *
symbol(void)
{
	return text(json_object_get(json_object_get(answer, "error"), "data"), "symbol");
}

/* What is in DATA/images/NAME; "" when it is not there. */
static const char *
content(const char *name)
{
	static char buf[4096];
	char path[256];
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/images/%s", fake.data, name);
	f = fopen(path, "r");
	if (f) {
		n = fread(buf, 1, sizeof(buf) - 1, f);
		fclose(f);
	}
	buf[n] = '\0';
	return buf;
}

static size_t
left_over(const char *folder)
{
	char path[256];
	size_t n = 0;
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/%s", fake.data, folder);
	dir = opendir(path);
	assert_non_null(dir);
	while ((d = readdir(dir)))
		n += strncmp(d->d_name, ".upload-", 8) == 0;
	closedir(dir);
	return n;
}

/* Until the agent has noticed. */
static void
nothing_is_left(void)
{
	for (int i = 0; i < 500 && left_over("images") + left_over("images/debian") > 0; i++)
		usleep(10000);
	assert_int_equal(left_over("images") + left_over("images/debian"), 0);
}

/* Whether the audit has it within seconds. */
static bool
audited(const char *method, const char *result)
{
	for (int i = 0; i < 500; i++) {
		json_t *list = audit_list(agent->audit, 10), *row;
		bool found = false;
		size_t k;

		json_array_foreach(list, k, row)
		{
			found |= strcmp(text(row, "method"), method) == 0 &&
				 strcmp(text(row, "result"), result) == 0;
		}
		json_decref(list);
		if (found)
			return true;
		usleep(10000);
	}
	return false;
}

/* --- uploads
 * ------------------------------------------------------------------------------------------------- */

static void
a_file_is_uploaded_whole_with_its_digest(void **state)
{
	uint64_t seen = events_last(agent->events);
	const json_t *result;
	int fd;

	(void)state;
	fd = begin("{\"path\":\"images/debian/vmlinuz\",\"size\":11}");
	give(fd, "hello ", 6);
	assert_string_equal(content("debian/vmlinuz"), ""); /* not before all is there */
	give(fd, "world", 5);
	result = json_object_get(line(fd), "result");
	assert_string_equal(text(result, "path"), "images/debian/vmlinuz");
	assert_int_equal(json_integer_value(json_object_get(result, "size")), 11);
	assert_string_equal(
	    text(result, "sha256"), "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9");
	assert_string_equal(content("debian/vmlinuz"), "hello world");
	nothing_is_left();
	assert_true(audited("file.upload", "ok"));
	assert_true(audited("file.uploaded", "ok"));
	assert_int_equal(events_last(agent->events), seen + 1); /* file.changed */
}

static void
large_files_come_in_pieces(void **state)
{
	enum { SIZE = 40 << 20 };
	char *bytes = malloc(SIZE);
	char path[256];
	struct stat st;
	int fd;

	(void)state;
	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = (char)(i * 7 >> 3);
	fd = begin("{\"path\":\"images/disk.iso\",\"size\":41943040}");
	give(fd, bytes, SIZE);
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(line(fd), "result"), "size")), SIZE);
	snprintf(path, sizeof(path), "%s/images/disk.iso", fake.data);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, SIZE);
	free(bytes);
}

static void
a_broken_off_upload_leaves_nothing(void **state)
{
	int fd = begin("{\"path\":\"images/new\",\"size\":100}");

	(void)state;
	give(fd, "only so much", 12);
	close(fd);
	nothing_is_left();
	assert_string_equal(content("new"), "");
	assert_true(audited("file.uploaded", "UPLOAD_WRONG_SIZE"));
	fd = begin("{\"path\":\"images/new\",\"size\":100}"); /* one that still listens is told */
	give(fd, "only so much", 12);
	shutdown(fd, SHUT_WR);
	line(fd);
	assert_string_equal(message(), "images/new: broken off after 12 of 100 bytes; nothing was kept");
	nothing_is_left();
}

static void
too_many_bytes_are_refused(void **state)
{
	int fd = begin("{\"path\":\"images/new\",\"size\":4}");

	(void)state;
	give(fd, "hello", 5);
	line(fd);
	assert_string_equal(symbol(), "UPLOAD_WRONG_SIZE");
	assert_string_equal(message(), "images/new: more than 4 bytes came; nothing was kept");
	assert_string_equal(content("new"), "");
	nothing_is_left();
}

static void
two_uploads_to_one_name_do_not_meet(void **state)
{
	char path[256];
	int fd;

	(void)state;
	fd = begin("{\"path\":\"images/debian/new\",\"size\":5}");
	assert_int_equal(
	    call_as(&root, "file.upload", "{\"path\":\"debian//new\",\"size\":5}"), FAULT_FILE_IN_USE);
	assert_string_equal(message(), "images/debian/new is being uploaded already");
	snprintf(path, sizeof(path), "%s/images/alias", fake.data);
	assert_int_equal(symlink("debian", path), 0);
	assert_int_equal(
	    call_as(&root, "file.upload", "{\"path\":\"images/alias/new\",\"size\":5}"), FAULT_FILE_IN_USE);
	close(begin("{\"path\":\"images/new\",\"size\":5}")); /* another folder's */
	give(fd, "first", 5);
	assert_non_null(json_object_get(line(fd), "result"));
	assert_int_equal(
	    call_as(&root, "file.upload", "{\"path\":\"images/debian/new\",\"size\":5}"), FAULT_FILE_EXISTS);
	fd = begin("{\"path\":\"images/debian/new\",\"size\":6,\"overwrite\":true}");
	assert_string_equal(content("debian/new"), "first");
	give(fd, "second", 6);
	assert_non_null(json_object_get(line(fd), "result"));
	assert_string_equal(content("debian/new"), "second");
}

static void
a_file_made_meanwhile_is_not_overwritten(void **state)
{
	int fd = begin("{\"path\":\"images/new\",\"size\":5}");

	(void)state;
	fake_file("images/new", "by hand");
	give(fd, "hello", 5);
	line(fd);
	assert_string_equal(symbol(), "FILE_EXISTS");
	assert_string_equal(content("new"), "by hand");
	nothing_is_left();
}

static void
there_are_only_so_many_at_once(void **state)
{
	int fd[UPLOADS_MAX];
	char params[80];

	(void)state;
	for (int i = 0; i < UPLOADS_MAX; i++) {
		snprintf(params, sizeof(params), "{\"path\":\"images/f%d\",\"size\":5}", i);
		fd[i] = begin(params);
	}
	assert_int_equal(call_as(&root, "file.upload", "{\"path\":\"images/new\",\"size\":5}"), FAULT_LIMIT);
	for (int i = 0; i < UPLOADS_MAX; i++)
		close(fd[i]);
	nothing_is_left();
}

static void
what_does_not_fit_is_refused_before_it_comes(void **state)
{
	(void)state;
	assert_int_equal(call_as(&root, "file.upload", "{\"path\":\"images/new\",\"size\":1125899906842624}"),
	    FAULT_NO_SPACE);
	assert_non_null(strstr(message(), "images/new takes 1073741824 MiB, and the data disk has "));
	assert_int_equal(left_over("images"), 0);
}

static void
a_disk_that_gets_full_leaves_nothing(void **state)
{
	char bytes[300 * 1024] = { 0 };
	int fd = begin("{\"path\":\"images/new\",\"size\":307200}");

	(void)state;
	writes_left = 1;
	give(fd, bytes, sizeof(bytes));
	line(fd);
	assert_string_equal(symbol(), "NO_SPACE");
	assert_string_equal(message(), "images/new: No space left on device");
	nothing_is_left();
}

static void
names_that_lead_elsewhere_are_refused(void **state)
{
	static const struct {
		const char *path;
		enum fault_code code;
	} rows[] = {
		{ "/etc/passwd", FAULT_FILE_BAD },
		{ "images/../system/host.json", FAULT_FILE_BAD },
		{ "images/.hidden", FAULT_FILE_BAD },
		{ "images/", FAULT_FILE_BAD },
		{ "images", FAULT_FILE_EXISTS + 1000 }, /* fine: a file called images */
		{ "images/debian", FAULT_FILE_BAD },
		{ "images/debian/", FAULT_FILE_BAD },
		{ "images/none/new", FAULT_FOLDER_NOT_FOUND },
		{ "images/vmlinuz/new", FAULT_FOLDER_NOT_FOUND },
		{ "images/out/new", FAULT_FILE_BAD },
		{ "images/up/new", FAULT_FILE_BAD },
		{ "images/link", FAULT_FILE_BAD },
	};
	char path[256], params[300];

	(void)state;
	snprintf(path, sizeof(path), "%s/images/out", fake.data);
	assert_int_equal(symlink("/tmp", path), 0);
	snprintf(path, sizeof(path), "%s/images/up", fake.data);
	assert_int_equal(symlink("../system", path), 0);
	snprintf(path, sizeof(path), "%s/images/link", fake.data);
	assert_int_equal(symlink("../system/host.json", path), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum fault_code code;

		snprintf(params, sizeof(params),
		    "{\"path\":\"%s\",\"size\":5,\"overwrite\":true,\"_\":{\"dryRun\":true}}", rows[i].path);
		code = call_as(&root, "file.upload", params);
		if (rows[i].code > FAULT_FILE_EXISTS + 500)
			assert_int_equal(code, FAULT_NONE);
		else if (code != rows[i].code)
			fail_msg("%s: %d, %s", rows[i].path, (int)code, message());
	}
}

static void
only_administrators_upload_and_delete(void **state)
{
	(void)state;
	assert_int_equal(
	    call_as(&operator, "file.upload", "{\"path\":\"images/new\",\"size\":5}"), FAULT_FORBIDDEN);
	assert_int_equal(
	    call_as(&operator, "file.delete", "{\"path\":\"images/vmlinuz\",\"_\":{\"confirm\":true}}"),
	    FAULT_FORBIDDEN);
	assert_int_equal(call_as(&operator, "file.list", "{}"), FAULT_NONE);
}

static void
who_loses_the_right_meanwhile_uploads_nothing(void **state)
{
	int fd;

	(void)state;
	fake_file("../etc/passwd", "root:x:0:0::/root:/bin/sh\nanna:x:1000:100::/:/bin/false\n");
	fake_file("../etc/group", "root:x:0:\nadministrators:x:800:anna\n");
	identity_none(&root, CARRIER_WSS, "::1");
	assert_true(users_identify(agent->users, "anna", &root));
	fd = begin("{\"path\":\"images/new\",\"size\":11}");
	give(fd, "hello ", 6);
	fake_file("../etc/group", "root:x:0:\nviewers:x:802:anna\n");
	give(fd, "world", 5); /* before anybody has looked */
	line(fd);
	assert_string_equal(symbol(), "FORBIDDEN");
	assert_string_equal(content("new"), "");
	nothing_is_left();
}

static void
a_dry_run_uploads_nothing(void **state)
{
	(void)state;
	assert_int_equal(
	    call_as(&root, "file.upload", "{\"path\":\"images/new\",\"size\":5,\"_\":{\"dryRun\":true}}"),
	    FAULT_NONE);
	assert_null(json_object_get(json_object_get(answer, "result"), "ticket"));
	assert_int_equal(left_over("images"), 0);
}

static void
an_agent_that_ends_breaks_uploads_off_and_sweeps_at_its_start(void **state)
{
	int fd = begin("{\"path\":\"images/new\",\"size\":100}");
	char path[256];

	(void)state;
	give(fd, "only so much", 12);
	agent_stop(agent);
	line(fd);
	assert_string_equal(symbol(), "STOPPING");
	nothing_is_left();
	fake_file("images/.upload-0123", "of one that was killed");
	fake_file("images/debian/.upload-4567", "and there");
	snprintf(path, sizeof(path), "%s/images/out", fake.data);
	assert_int_equal(symlink("../system", path), 0);
	fake_file("system/.upload-89ab", "not below images");
	start_agent();
	assert_int_equal(left_over("images"), 0);
	assert_int_equal(left_over("images/debian"), 0);
	assert_int_equal(left_over("system"), 1);
	assert_string_equal(content("vmlinuz"), "kernel");
}

/* --- deleting
 * ------------------------------------------------------------------------------------------------ */

static void
a_file_is_deleted_unless_a_machine_names_it(void **state)
{
	uint64_t seen;
	char path[256];

	(void)state;
	assert_int_equal(
	    call_as(&root, "vm.create",
		"{\"name\":\"web1\",\"memory\":64,\"kernel\":\"images/debian/../vmlinuz\",\"initrd\":"
		"\"images/initrd\"}"),
	    FAULT_NONE);
	assert_int_equal(
	    call_as(&root, "file.delete", "{\"path\":\"images/vmlinuz\"}"), FAULT_CONFIRM_NEEDED);
	assert_int_equal(
	    call_as(&root, "file.delete", "{\"path\":\"images/vmlinuz\",\"_\":{\"confirm\":true}}"),
	    FAULT_FILE_IN_USE);
	assert_string_equal(message(), "images/vmlinuz is the kernel of 'web1'");
	assert_int_equal(call_as(&root, "file.delete", "{\"path\":\"initrd\",\"_\":{\"dryRun\":true}}"),
	    FAULT_FILE_IN_USE);
	assert_string_equal(message(), "images/initrd is the initial RAM disk of 'web1'");
	assert_int_equal(call_as(&root, "vm.set", "{\"vm\":\"web1\",\"initrd\":\"\"}"), FAULT_NONE);
	assert_int_equal(
	    call_as(&root, "file.delete", "{\"path\":\"initrd\",\"_\":{\"dryRun\":true}}"), FAULT_NONE);
	assert_string_equal(content("initrd"), "initrd");
	seen = events_last(agent->events);
	assert_int_equal(
	    call_as(&root, "file.delete", "{\"path\":\"initrd\",\"_\":{\"confirm\":true}}"), FAULT_NONE);
	assert_string_equal(content("initrd"), "");
	assert_int_equal(events_last(agent->events), seen + 1);
	assert_true(audited("file.delete", "ok"));
	assert_int_equal(call_as(&root, "file.delete", "{\"path\":\"initrd\",\"_\":{\"confirm\":true}}"),
	    FAULT_FILE_NOT_FOUND);
	assert_int_equal(call_as(&root, "file.delete", "{\"path\":\"none/initrd\",\"_\":{\"confirm\":true}}"),
	    FAULT_FILE_NOT_FOUND);
	assert_int_equal(
	    call_as(&root, "file.delete", "{\"path\":\"debian\",\"_\":{\"confirm\":true}}"), FAULT_FILE_BAD);
	snprintf(path, sizeof(path), "%s/images/out", fake.data);
	assert_int_equal(symlink("../system", path), 0);
	assert_int_equal(
	    call_as(&root, "file.delete", "{\"path\":\"out/host.json\",\"_\":{\"confirm\":true}}"),
	    FAULT_FILE_BAD);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(a_file_is_uploaded_whole_with_its_digest),
		TEST(large_files_come_in_pieces),
		TEST(a_broken_off_upload_leaves_nothing),
		TEST(too_many_bytes_are_refused),
		TEST(two_uploads_to_one_name_do_not_meet),
		TEST(a_file_made_meanwhile_is_not_overwritten),
		TEST(there_are_only_so_many_at_once),
		TEST(what_does_not_fit_is_refused_before_it_comes),
		TEST(a_disk_that_gets_full_leaves_nothing),
		TEST(names_that_lead_elsewhere_are_refused),
		TEST(who_loses_the_right_meanwhile_uploads_nothing),
		TEST(only_administrators_upload_and_delete),
		TEST(a_dry_run_uploads_nothing),
		TEST(an_agent_that_ends_breaks_uploads_off_and_sweeps_at_its_start),
		TEST(a_file_is_deleted_unless_a_machine_names_it),
	};
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("uploads", tests, NULL, NULL);
}
