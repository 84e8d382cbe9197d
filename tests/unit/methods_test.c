/*
 * tests/unit/methods_test.c - the tables of methods as a whole: no row lacks anything, every method has a
 * test, and the manual is what the tables say.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "agent/audit.h"
#include "agent/discover.h"
#include "agent/dispatch.h"
#include "agent/identity.h"
#include "lib/file.h"

static void
each(void (*look)(const struct rpc_method *m))
{
	for (size_t i = 0; method_tables[i]; i++)
		for (const struct rpc_method *m = method_tables[i]; m->name; m++)
			look(m);
}

static bool
has_field(const struct field *table, const char *name, size_t len)
{
	for (const struct field *f = table; f && f->type != FIELD_END; f++)
		if (strlen(f->name) == len && strncmp(f->name, name, len) == 0)
			return true;
	return false;
}

/* A path names a parameter that there is. */
static void
check_path(const struct rpc_method *m)
{
	const char *open;

	if (!m->path || m->path[0] != '/')
		fail_msg("%s: the path is no path", m->name);
	open = strchr(m->path, '{');
	if (open && !has_field(m->params, open + 1, strcspn(open + 1, "?}")))
		fail_msg("%s: %s names no parameter", m->name, m->path);
	if ((m->flags & METHOD_OPEN) && m->role != ROLE_NONE)
		fail_msg("%s: open to anybody, and yet with a role", m->name);
}

static void
check_text(const struct rpc_method *m)
{
	if (!strchr(m->name, '.') ||
	    strspn(m->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.") != strlen(m->name))
		fail_msg("%s: not noun.verb", m->name);
	if (!m->help || strlen(m->help) < 10 || m->help[strlen(m->help) - 1] != '.')
		fail_msg("%s: no sentence of help", m->name);
	if (!m->example || strlen(m->example) < 5)
		fail_msg("%s: no example", m->name);
}

static void
check_row(const struct rpc_method *m)
{
	struct err e = { 0 };

	check_text(m);
	check_path(m);
	if (!m->call)
		fail_msg("%s: nobody answers", m->name);
	if (m->params && !schema_table_ok(m->params, &e))
		fail_msg("%s: %s", m->name, e.msg);
	if (m->params && !m->params_size)
		fail_msg("%s: parameters without a size", m->name);
	if (m->defaults && !m->params)
		fail_msg("%s: defaults without parameters", m->name);
	if (!m->result && !(m->flags & METHOD_CHANGES))
		fail_msg("%s: no result", m->name);
	if (m->result && !schema_table_ok(m->result, &e))
		fail_msg("%s: result: %s", m->name, e.msg);
	if ((m->flags & (METHOD_JOB | METHOD_DESTRUCTIVE)) && !(m->flags & METHOD_CHANGES))
		fail_msg("%s: a job, or destructive, and changes nothing", m->name);
	for (const enum fault_code *f = m->faults; f && *f; f++)
		if (!fault_help(*f))
			fail_msg("%s: the fault %d is not in the table", m->name, (int)*f);
}

static void
no_row_lacks_anything(void **state)
{
	(void)state;
	each(check_row);
}

static void
check_unique(const struct rpc_method *m)
{
	assert_ptr_equal(dispatch_find(m->name), m);
}

static void
no_name_is_there_twice(void **state)
{
	(void)state;
	each(check_unique);
	assert_null(dispatch_find("no.such"));
	assert_null(dispatch_find(""));
}

/* All tests of units, as one text. */
static char *tests;

static void
read_tests(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		char path[512], *text, *both;

		if (!strstr(entry->d_name, "_test.") || strcmp(entry->d_name, "methods_test.c") == 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		assert_int_equal(file_read(path, 1 << 20, &text, NULL, NULL), 0);
		assert_true(asprintf(&both, "%s\n%s", tests ? tests : "", text) > 0);
		free(tests);
		free(text);
		tests = both;
	}
	closedir(dir);
}

static void
check_tested(const struct rpc_method *m)
{
	char quoted[80];

	snprintf(quoted, sizeof(quoted), "\"%s\"", m->name);
	if (!strstr(tests, quoted) &&
	    !(snprintf(quoted, sizeof(quoted), "\\\"%s\\\"", m->name) && strstr(tests, quoted)))
		fail_msg("%s: no test in tests/unit calls it", m->name);
}

static void
every_method_has_a_test(void **state)
{
	(void)state;
	read_tests("tests/unit");
	each(check_tested);
	free(tests);
}

static void
openrpc_describes_every_method(void **state)
{
	json_t *doc = discover_openrpc(), *m;
	char *text = json_dumps(doc, JSON_COMPACT);
	size_t n = 0, i;

	(void)state;
	assert_true(strlen(text) < SCHEMA_TEXT_MAX); /* it is one message */
	free(text);
	json_array_foreach(json_object_get(doc, "methods"), i, m)
	{
		assert_non_null(json_object_get(json_object_get(m, "result"), "schema"));
		assert_non_null(dispatch_find(json_string_value(json_object_get(m, "name"))));
		assert_true(json_array_size(json_object_get(m, "errors")) >= 5);
		n++;
	}
	for (size_t t = 0; method_tables[t]; t++)
		for (const struct rpc_method *r = method_tables[t]; r->name; r++)
			n--;
	assert_int_equal(n, 0);
	json_decref(doc);
}

static void
the_manual_is_what_the_tables_say(void **state)
{
	char *made = NULL, *kept = NULL;
	size_t len;
	FILE *f = open_memstream(&made, &len);

	(void)state;
	discover_markdown(f);
	fclose(f);
	assert_int_equal(file_read("docs/api.md", 1 << 20, &kept, NULL, NULL), 0);
	if (strcmp(made, kept) != 0)
		fail_msg("docs/api.md is not current: make api");
	free(made);
	free(kept);
}

static void
the_audit_is_rotated_and_bounded(void **state)
{
	struct audit *a;
	struct err e = { 0 };
	struct identity who;
	const struct audit_entry entry = { .who = &who, .method = "x.y" };
	char dir[] = "/tmp/audit_test.XXXXXX", command[64], path[64], *text;
	json_t *list;

	(void)state;
	identity_none(&who, CARRIER_LOCAL, "pid 1");
	strcpy(who.user, "root");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(audit_new(&a, dir, 1000, &e), 0);
	for (int i = 0; i < 100; i++)
		audit_write(a, &entry);
	list = audit_list(a, 1000);
	assert_in_range(json_array_size(list), 20, 40);
	json_decref(list);
	list = audit_list(a, 12); /* across files */
	assert_int_equal(json_array_size(list), 12);
	json_decref(list);
	for (int i = 0; i < AUDIT_FILES; i++) {
		snprintf(path, sizeof(path), i ? "%s/audit.log.%d" : "%s/audit.log", dir, i);
		assert_int_equal(file_read(path, 1000, &text, NULL, &e), 0);
		free(text);
	}
	snprintf(path, sizeof(path), "%s/audit.log.%d", dir, AUDIT_FILES);
	assert_int_equal(file_read(path, 1000, &text, NULL, &e), -2);
	audit_free(a);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	assert_int_equal(system(command), 0);
}

int
main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(no_row_lacks_anything),
		cmocka_unit_test(no_name_is_there_twice),
		cmocka_unit_test(every_method_has_a_test),
		cmocka_unit_test(openrpc_describes_every_method),
		cmocka_unit_test(the_manual_is_what_the_tables_say),
		cmocka_unit_test(the_audit_is_rotated_and_bounded),
	};

	return cmocka_run_group_tests(all, NULL, NULL);
}
