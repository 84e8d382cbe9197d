/*
 * tests/unit/sconfig_methods_test.c - the pages against the agent's own tables: every method, parameter and
 * member that a page names exists, what a method must be given is asked for, and what destroys asks first.
 */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "agent/method.h"
#include "sconfig/pages.h"

static const struct rpc_method *
find_method(const char *name)
{
	for (const struct rpc_method *const *table = method_tables; *table; table++)
		for (const struct rpc_method *m = *table; m->name; m++)
			if (strcmp(m->name, name) == 0)
				return m;
	fail_msg("there is no method %s", name);
	return NULL;
}

static const struct field *
find_field(const struct field *table, const char *name, size_t len)
{
	for (const struct field *f = table; f && f->type != FIELD_END; f++)
		if (strncmp(f->name, name, len) == 0 && !f->name[len])
			return f;
	return NULL;
}

/* Follows a path of page.h ("adapters[adapter].addresses.0") through tables. */
static void
has_path(const struct rpc_method *m, const struct field *table, const char *path)
{
	const char *at = path;
	const struct field *f = NULL;

	while (*at) {
		size_t len = strcspn(at, ".[");

		if (!(f && (f->type == FIELD_STRINGS || f->type == FIELD_LIST) &&
			isdigit((unsigned char)*at)))
			f = find_field(f ? f->fields : table, at, len);
		if (!f)
			fail_msg("the answer of %s has no %s", m->name, path);
		at += len;
		if (*at == '[')
			at += strcspn(at, "]") + 1;
		at += *at == '.';
	}
}

static const struct field *
part(const struct rpc_method *m, const char *member)
{
	const struct field *f = member ? find_field(m->result, member, strlen(member)) : NULL;

	if (member && !f)
		fail_msg("the answer of %s has no %s", m->name, member);
	return f ? f->fields : m->result;
}

static void
has_param(const struct rpc_method *m, const char *name)
{
	if (!find_field(m->params, name, strlen(name)))
		fail_msg("%s has no parameter %s", m->name, name);
}

/* What the menu sends beside the subject. */
static void
takes(const struct rpc_method *m, const char *params)
{
	json_t *doc = params ? json_loads(params, 0, NULL) : json_object();
	const char *name;
	json_t *value;

	assert_non_null(doc);
	json_object_foreach(doc, name, value)
	{
		const struct field *f = find_field(m->params, name, strlen(name));
		bool known = f && f->type != FIELD_ENUM;

		if (!f)
			fail_msg("%s has no parameter %s", m->name, name);
		for (const char *const *word = f->names; !known && word && *word; word++)
			known = strcmp(*word, json_string_value(value)) == 0;
		assert_true(known);
	}
	json_decref(doc);
}

static void
walk_source(const struct page *page, const struct item *item)
{
	const struct source *s = &item->source;
	const struct rpc_method *m = s->method ? find_method(s->method) : NULL;
	const struct field *rows;

	if (!s->list)
		return;
	if (m)
		takes(m, s->params);
	rows = part(m ? m : find_method(page->load), s->list);
	if (s->value)
		assert_non_null(find_field(rows, s->value, strlen(s->value)));
	if (s->label)
		assert_non_null(find_field(rows, s->label, strlen(s->label)));
}

static const struct item *
find_item(const struct page *page, const char *member)
{
	for (const struct item *item = page->items; item && item->member; item++)
		if (strcmp(item->member, member) == 0)
			return item;
	return NULL;
}

static void
walk_item(const struct page *page, const struct item *item)
{
	const struct rpc_method *load = page->load ? find_method(page->load) : NULL;
	const struct rpc_method *apply = page->apply ? find_method(page->apply) : NULL;

	assert_non_null(item->label);
	assert_non_null(item->help);
	walk_source(page, item);
	if (item->when)
		assert_int_equal(find_item(page, item->when)->type, ITEM_BOOL);
	if (item->unless)
		assert_int_equal(find_item(page, item->unless)->type, ITEM_BOOL);
	if (load && !(item->flags & (ITEM_UNSENT | ITEM_UNREAD | ITEM_KEY)) &&
	    !(item->type == ITEM_FACT && item->source.method))
		has_path(load, part(load, page->member), item->from ? item->from : item->member);
	if (apply && item->type != ITEM_FACT && !(item->flags & ITEM_UNSENT))
		has_param(apply, item->member);
	for (const char *const *name = item->names; name && *name; name++) {
		const struct field *f = find_field(apply->params, item->member, strlen(item->member));
		bool known = false;

		for (const char *const *theirs = f->names; theirs && *theirs; theirs++)
			known = known || strcmp(*theirs, *name) == 0;
		if (!known)
			fail_msg("%s.%s cannot be %s", apply->name, item->member, *name);
	}
}

/* Whether the table that leads to page sends name with each of its rows. */
static bool
is_row_param(const struct page *page, const char *name)
{
	for (const struct page *const *p = all_pages; *p; p++)
		for (const struct action *a = (*p)->actions; a && a->key; a++)
			for (const char *const *m = a->row_params ? a->row_params : (*p)->row_params;
			     a->page == page && !a->no_row && m && *m; m++)
				if (strcmp(*m, name) == 0)
					return true;
	return false;
}

/* What names a row is in it, and taken by what is done with it. */
static void
walk_row_params(const struct page *page, const struct field *rows)
{
	for (const struct action *a = page->actions; page->row_params && a->key; a++) {
		const char *method = a->method ? a->method : a->page->apply ? a->page->apply : a->page->load;

		assert_non_null(page->subject);
		for (const char *const *p = a->row_params ? a->row_params : page->row_params;
		     !a->no_row && *p; p++) {
			assert_non_null(find_field(rows, *p, strlen(*p)));
			has_param(find_method(method), *p);
		}
	}
}

static void
walk_apply(const struct page *page)
{
	const struct rpc_method *m = find_method(page->apply);

	assert_non_null(page->verb);
	assert_true(m->flags & METHOD_CHANGES);
	assert_int_equal(
	    (m->flags & METHOD_DESTRUCTIVE) != 0 || (m->destroys && find_item(page, m->destroys)),
	    (page->flags & PAGE_DESTRUCTIVE) != 0);
	if (page->subject)
		has_param(m, page->subject);
	for (const struct field *f = m->params; f && f->type != FIELD_END; f++) {
		const struct item *item = find_item(page, f->name);

		if (f->required && !(page->subject && strcmp(page->subject, f->name) == 0) &&
		    !(item && item->flags & ITEM_REQUIRED) && !is_row_param(page, f->name))
			fail_msg("%s does not ask for %s, which %s needs", page->name, f->name, m->name);
	}
}

static void
walk_table(const struct page *page)
{
	const struct field *rows = part(find_method(page->load), page->member);

	assert_non_null(find_field(rows, page->row_key, strlen(page->row_key)));
	walk_row_params(page, rows);
	for (const struct column *c = page->columns; c->title; c++)
		if (!find_field(rows, c->member, strlen(c->member)))
			fail_msg("%s has no %s", page->load, c->member);
	for (const struct action *a = page->actions; a->key; a++) {
		const struct rpc_method *m = a->method ? find_method(a->method) : NULL;

		assert_non_null(a->label);
		assert_non_null(a->help);
		assert_true(m || a->page);
		if (!m)
			continue;
		has_param(m, "vm");
		takes(m, a->params);
		assert_false(m->flags & METHOD_DESTRUCTIVE); /* those have a page that confirms */
	}
}

static void
every_method_and_member_that_a_page_names_exists(void **state)
{
	(void)state;
	for (const struct page *const *p = all_pages; *p; p++) {
		const struct page *page = *p;

		if (page->load && page->subject)
			has_param(find_method(page->load), page->subject);
		for (const struct item *item = page->items; item && item->member; item++)
			walk_item(page, item);
		if (page->apply)
			walk_apply(page);
		if (page->kind == PAGE_TABLE)
			walk_table(page);
	}
}

static void
what_the_menu_calls_by_itself_exists(void **state)
{
	static const char *const names[] = { "session.get", "event.subscribe", "job.get", "job.wait",
		"job.cancel", "host.get", "vm.list", "console.open" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_non_null(find_method(names[i]));
	has_path(find_method("job.get"), find_method("job.get")->result, "state");
	has_path(find_method("job.get"), find_method("job.get")->result, "total");
	has_path(find_method("console.open"), find_method("console.open")->result, "ticket");
	has_path(find_method("session.get"), find_method("session.get")->result, "role");
}

static void
numbers_are_those_of_sconfig_and_no_two_are_alike(void **state)
{
	static const struct {
		int number;
		const struct page *page;
	} for_ever[] = { { 2, &page_name }, { 4, &page_remote }, { 8, &page_network }, { 9, &page_time },
		{ 12, &page_log_off }, { 13, &page_restart }, { 14, &page_shut_down }, { 15, &page_shell },
		{ 16, &page_machines } };

	(void)state;
	for (size_t i = 0; i < sizeof(for_ever) / sizeof(for_ever[0]); i++)
		assert_int_equal(for_ever[i].page->number, for_ever[i].number);
	for (size_t i = 1; pages[i]; i++)
		assert_true(pages[i]->number > pages[i - 1]->number);
}

/* The methods of a page in the order that docs/sconfig.md has them: `a`, `b`. */
static void
add_method(char *list, size_t size, const char *method)
{
	char name[64];
	size_t len = strlen(list);

	if (!method)
		return;
	snprintf(name, sizeof(name), "`%s`", method);
	if (!strstr(list, name))
		snprintf(list + len, size - len, "%s%s", len ? ", " : "", name);
}

static void
the_manual_has_a_row_for_every_page(void **state)
{
	static char manual[65536];
	FILE *f = fopen("docs/sconfig.md", "r");

	(void)state;
	if (!f)
		skip(); /* not run from the top of the tree */
	manual[fread(manual, 1, sizeof(manual) - 1, f)] = '\0';
	fclose(f);
	for (const struct page *const *p = all_pages; *p; p++) {
		char row[512], list[256] = "";

		add_method(list, sizeof(list), (*p)->load);
		add_method(list, sizeof(list), (*p)->apply);
		for (const struct item *item = (*p)->items; item && item->member; item++)
			add_method(list, sizeof(list), item->source.method);
		for (const struct action *a = (*p)->actions; a && a->key; a++)
			add_method(list, sizeof(list), a->method);
		if ((*p)->number >= 0)
			snprintf(row, sizeof(row), "| %d | %s | %s", (*p)->number, (*p)->title, list);
		else
			snprintf(row, sizeof(row), "| %s | %s", (*p)->title, list);
		if (!strstr(manual, row))
			fail_msg("docs/sconfig.md has no row \"%s\"", row);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_method_and_member_that_a_page_names_exists),
		cmocka_unit_test(what_the_menu_calls_by_itself_exists),
		cmocka_unit_test(the_manual_has_a_row_for_every_page),
		cmocka_unit_test(numbers_are_those_of_sconfig_and_no_two_are_alike),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
