/*
 * sconfig/form.c - a page being filled in.
 */
#include "sconfig/form.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sconfig/checks.h"

struct entry {
	char value[VALUE_SIZE]; /* as it stands in the form */
	char was[VALUE_SIZE];   /* as it was loaded */
	char error[REASON_SIZE];
	bool was_shown; /* with the values that were loaded */
	struct choice *choices;
	size_t nchoices;
};

struct form {
	const struct page *page;
	struct link *link;
	char subject[VALUE_SIZE];
	json_t *part;  /* what names a part of the subject; NULL: the page is about all of it */
	json_t *doc;   /* load's answer, the part that the page is about; NULL: not loaded */
	json_t *would; /* what the agent said it would do */
	char trouble[REASON_SIZE];
	size_t n;
	struct entry *entry;
};

static void
set_text(char *out, size_t size, const char *text)
{
	size_t len = strnlen(text, size - 1);

	/* A character that is cut in the middle goes as a whole. */
	if (text[len])
		while (len && ((unsigned char)text[len] & 0xc0) == 0x80)
			len--;
	memmove(out, text, len);
	out[len] = '\0';
}

static long
item_index(const struct form *f, const char *member, size_t len)
{
	for (size_t i = 0; i < f->n; i++)
		if (strncmp(f->page->items[i].member, member, len) == 0 && !f->page->items[i].member[len])
			return (long)i;
	return -1;
}

struct form *
form_new(const struct page *page, struct link *link, const char *subject)
{
	return form_new_part(page, link, subject, NULL);
}

struct form *
form_new_part(const struct page *page, struct link *link, const char *subject, json_t *part)
{
	struct form *f = calloc(1, sizeof(*f));

	if (!f) {
		json_decref(part);
		return NULL;
	}
	f->part = part;
	f->page = page;
	f->link = link;
	set_text(f->subject, sizeof(f->subject), subject ? subject : "");
	for (f->n = 0; page->items && page->items[f->n].member;)
		f->n++;
	f->entry = calloc(f->n ? f->n : 1, sizeof(*f->entry));
	if (!f->entry) {
		json_decref(f->part);
		free(f);
		return NULL;
	}
	form_load(f, false);
	return f;
}

static void
drop_choices(struct form *f)
{
	for (size_t i = 0; i < f->n; i++) {
		free(f->entry[i].choices);
		f->entry[i].choices = NULL;
		f->entry[i].nchoices = 0;
	}
}

void
form_free(struct form *f)
{
	if (!f)
		return;
	drop_choices(f);
	json_decref(f->part);
	json_decref(f->doc);
	json_decref(f->would);
	free(f->entry);
	free(f);
}

/* The element of a list whose name is what item `key` says. */
static json_t *
find_element(const struct form *f, const json_t *list, const char *key, size_t len)
{
	long at = item_index(f, key, len);
	json_t *element;
	size_t i;

	if (at < 0)
		return NULL;
	json_array_foreach(list, i, element)
	{
		const char *name = json_string_value(json_object_get(element, "name"));

		if (name && strcmp(name, f->entry[at].value) == 0)
			return element;
	}
	return NULL;
}

json_t *
form_find(const struct form *f, const json_t *doc, const char *path)
{
	json_t *at = (json_t *)doc;

	while (at && *path) {
		size_t len = strcspn(path, ".[");
		char name[64];

		snprintf(name, sizeof(name), "%.*s", (int)len, path);
		if (json_is_array(at) && isdigit((unsigned char)name[0]))
			at = json_array_get(at, strtoul(name, NULL, 10));
		else
			at = json_object_get(at, name);
		path += len;
		if (*path == '[') {
			len = strcspn(path + 1, "]");
			at = find_element(f, at, path + 1, len);
			path += len + 1 + (path[len + 1] == ']');
		}
		if (*path == '.')
			path++;
	}
	return at;
}

static const char *
item_path(const struct item *item)
{
	return item->from ? item->from : item->member;
}

/* A fact that a method lists, such as the running machines. */
static void
listed_fact(struct form *f, size_t i, char out[VALUE_SIZE])
{
	size_t n, used = 0;
	const struct choice *c = form_choices(f, i, &n);

	set_text(out, VALUE_SIZE, n ? "" : "none");
	for (size_t at = 0; at < n && used + 2 < VALUE_SIZE; at++) {
		snprintf(out + used, VALUE_SIZE - used, "%s%s", at ? ", " : "", c[at].value);
		used += strlen(out + used);
	}
	drop_choices(f);
}

/* The value that item i has in the document. */
static void
loaded_value(struct form *f, size_t i, char out[VALUE_SIZE])
{
	const struct item *item = &f->page->items[i];

	if (f->page->flags & PAGE_CREATES || item->flags & (ITEM_UNSENT | ITEM_UNREAD))
		set_text(out, VALUE_SIZE, item->first ? item->first : "");
	else if (item->type == ITEM_FACT && item->source.method)
		listed_fact(f, i, out);
	else
		show_plain(form_find(f, f->doc, item_path(item)), out, VALUE_SIZE);
	if (item->type == ITEM_BOOL && !out[0])
		set_text(out, VALUE_SIZE, "no");
}

static bool
shown_by(const struct form *f, const struct item *item, bool was)
{
	const char *member = item->when ? item->when : item->unless;
	long at = member ? item_index(f, member, strlen(member)) : -1;
	const char *value;

	if (item->type == ITEM_FACT && f->page->flags & PAGE_CREATES)
		return false; /* there is nothing yet */
	if (item->type == ITEM_FACT && !item->show && !f->entry[item - f->page->items].value[0])
		return false; /* nothing to look at */
	if (at < 0)
		return true;
	value = was ? f->entry[at].was : f->entry[at].value;
	return (strcmp(value, "yes") == 0) == (item->when != NULL);
}

static void
note_shown(struct form *f)
{
	for (size_t i = 0; i < f->n; i++)
		f->entry[i].was_shown = shown_by(f, &f->page->items[i], true);
}

/* Reads item i from the document; a change of the user's stays if keep. */
static void
read_item(struct form *f, size_t i, bool keep)
{
	struct entry *entry = &f->entry[i];
	bool changed = strcmp(entry->value, entry->was) != 0;

	loaded_value(f, i, entry->was);
	if (!keep || !changed)
		set_text(entry->value, sizeof(entry->value), entry->was);
}

/* The first of several objects, so that there is something to see: the first adapter. */
static void
begin_key(struct form *f, size_t i)
{
	struct entry *entry = &f->entry[i];
	const struct choice *choices;
	size_t n, at;

	choices = form_choices(f, i, &n);
	for (at = 0; at < n; at++)
		if (strcmp(choices[at].value, entry->value) == 0)
			break;
	if (at == n)
		set_text(entry->value, sizeof(entry->value), n ? choices[0].value : "");
	set_text(entry->was, sizeof(entry->was), entry->value);
	if (!n && f->page->empty && !f->trouble[0])
		set_text(f->trouble, sizeof(f->trouble), f->page->empty);
}

static void
read_items(struct form *f, bool keep)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->page->items[i].flags & ITEM_KEY)
			begin_key(f, i);
	for (size_t i = 0; i < f->n; i++)
		if (!(f->page->items[i].flags & ITEM_KEY))
			read_item(f, i, keep);
	note_shown(f);
}

static json_t *
subject_params(const struct form *f)
{
	json_t *params = json_object();

	if (f->page->subject)
		json_object_set_new(params, f->page->subject, json_string(f->subject));
	if (f->part)
		json_object_update(params, f->part);
	return params;
}

int
form_load(struct form *f, bool keep)
{
	struct rpc_error e;
	json_t *answer = NULL;
	int rc = 0;

	drop_choices(f);
	if (f->page->load)
		rc = link_call(f->link, f->page->load, subject_params(f), &answer, &e);
	if (rc < 0) {
		link_error_text(&e, f->trouble, sizeof(f->trouble));
	} else {
		f->trouble[0] = '\0';
		json_decref(f->doc);
		f->doc = f->page->member ? json_incref(json_object_get(answer, f->page->member))
					 : json_incref(answer);
	}
	json_decref(answer);
	read_items(f, keep);
	return rc;
}

const struct page *
form_page(const struct form *f)
{
	return f->page;
}

const char *
form_subject(const struct form *f)
{
	return f->subject;
}

const char *
form_trouble(const struct form *f)
{
	return f->trouble;
}

size_t
form_count(const struct form *f)
{
	return f->n;
}

const struct item *
form_item(const struct form *f, size_t i)
{
	return &f->page->items[i];
}

bool
form_shown(const struct form *f, size_t i)
{
	return shown_by(f, &f->page->items[i], false);
}

bool
form_editable(const struct form *f, size_t i)
{
	return f->page->items[i].type != ITEM_FACT && form_shown(f, i);
}

const char *
form_value(const struct form *f, size_t i)
{
	return f->entry[i].value;
}

const char *
form_value_of(const struct form *f, const char *member)
{
	long at = item_index(f, member, strlen(member));

	return at < 0 ? "" : f->entry[at].value;
}

void
form_read(const struct form *f, size_t i, char *out, size_t size)
{
	const struct item *item = &f->page->items[i];

	if (item->type == ITEM_FACT && item->show)
		item->show(form_find(f, f->doc, item_path(item)), f->doc, out, size);
	else
		snprintf(out, size, "%s%s%s", f->entry[i].value,
		    item->unit && f->entry[i].value[0] ? " " : "",
		    item->unit && f->entry[i].value[0] &&
			    strspn(f->entry[i].value, "0123456789") == strlen(f->entry[i].value)
			? item->unit
			: "");
}

bool
form_changed(const struct form *f, size_t i)
{
	return strcmp(f->entry[i].value, f->entry[i].was) != 0;
}

/* Whether item i goes to the host. */
static bool
is_sent(const struct form *f, size_t i)
{
	const struct item *item = &f->page->items[i];
	const struct entry *entry = &f->entry[i];

	if (!form_editable(f, i) || item->flags & ITEM_UNSENT)
		return false;
	if (f->page->flags & PAGE_CREATES)
		return entry->value[0] != '\0';
	return item->flags & ITEM_KEY || form_changed(f, i) || (!entry->was_shown && entry->value[0]);
}

bool
form_any_changed(const struct form *f)
{
	for (size_t i = 0; i < f->n; i++)
		if (form_editable(f, i) && !(f->page->items[i].flags & ITEM_KEY) && form_changed(f, i))
			return true;
	return false;
}

void
form_set(struct form *f, size_t i, const char *text)
{
	struct entry *entry = &f->entry[i];
	bool same = strcmp(entry->value, text) == 0;

	set_text(entry->value, sizeof(entry->value), text);
	entry->error[0] = '\0';
	if (same || !(f->page->items[i].flags & ITEM_KEY))
		return;
	set_text(entry->was, sizeof(entry->was), entry->value);
	for (size_t j = 0; j < f->n; j++)
		if (!(f->page->items[j].flags & ITEM_KEY)) {
			f->entry[j].error[0] = '\0';
			read_item(f, j, false);
		}
	note_shown(f);
}

const char *
form_error(const struct form *f, size_t i)
{
	return f->entry[i].error;
}

static void
fixed_choices(struct entry *entry, const char *const *names)
{
	size_t n = 0;

	while (names[n])
		n++;
	entry->choices = calloc(n + 1, sizeof(*entry->choices));
	for (entry->nchoices = 0; entry->choices && entry->nchoices < n; entry->nchoices++)
		set_text(entry->choices[entry->nchoices].value, VALUE_SIZE, names[entry->nchoices]);
}

/* A number beside a choice is a size in bytes. */
static void
show_label(const json_t *value, char *out, size_t size)
{
	if (json_is_integer(value))
		show_bytes(value, NULL, out, size);
	else
		show_plain(value, out, size);
}

static void
listed_choices(struct entry *entry, const struct source *s, const json_t *list)
{
	json_t *element;
	size_t i;

	entry->choices = calloc(json_array_size(list) + 1, sizeof(*entry->choices));
	json_array_foreach(list, i, element)
	{
		struct choice *c = entry->choices ? &entry->choices[entry->nchoices] : NULL;
		char label[VALUE_SIZE] = "";

		if (!c)
			break;
		show_plain(
		    s->value ? json_object_get(element, s->value) : element, c->value, sizeof(c->value));
		if (s->label)
			show_label(json_object_get(element, s->label), label, sizeof(label));
		set_text(c->label, sizeof(c->label), label);
		entry->nchoices += c->value[0] != '\0';
	}
}

static void
asked_choices(struct form *f, struct entry *entry, const struct source *s)
{
	json_t *params = s->params ? json_loads(s->params, 0, NULL) : NULL, *answer = NULL;
	struct rpc_error e;

	if (link_call(f->link, s->method, params, &answer, &e) < 0)
		link_error_text(&e, entry->error, sizeof(entry->error));
	else
		listed_choices(entry, s, json_object_get(answer, s->list));
	json_decref(answer);
}

const struct choice *
form_choices(struct form *f, size_t i, size_t *n)
{
	static const char *const yes_no[] = { "yes", "no", NULL };
	const struct item *item = &f->page->items[i];
	struct entry *entry = &f->entry[i];

	if (!entry->choices) {
		if (item->type == ITEM_BOOL)
			fixed_choices(entry, yes_no);
		else if (item->names)
			fixed_choices(entry, item->names);
		else if (item->source.method)
			asked_choices(f, entry, &item->source);
		else if (item->source.list)
			listed_choices(entry, &item->source, form_find(f, f->doc, item->source.list));
	}
	*n = entry->nchoices;
	return entry->choices;
}

/* An ITEM_CHOICE that was typed (in prompts) must be one of its choices; what was loaded may stay. */
static bool
is_choice(struct form *f, size_t i)
{
	const struct choice *choices;
	size_t n;

	if (!form_changed(f, i) && !(f->page->flags & PAGE_CREATES))
		return true;
	choices = form_choices(f, i, &n);
	for (size_t c = 0; choices && c < n; c++)
		if (strcmp(choices[c].value, f->entry[i].value) == 0)
			return true;
	return n == 0; /* the list could not be had: the agent knows */
}

bool
form_check_item(struct form *f, size_t i)
{
	const struct item *item = &f->page->items[i];
	struct entry *entry = &f->entry[i];
	json_int_t number = 0;

	entry->error[0] = '\0';
	if (!entry->value[0]) {
		if (item->flags & ITEM_REQUIRED)
			snprintf(entry->error, sizeof(entry->error), "%s is needed.", item->label);
	} else if (item->type == ITEM_NUMBER && !number_read(entry->value, item->unit, &number)) {
		if (!item->check || item->check(f, entry->value, entry->error, sizeof(entry->error)))
			snprintf(entry->error, sizeof(entry->error), "Write a number.");
	} else if ((item->type == ITEM_CHOICE || item->type == ITEM_BOOL) && !is_choice(f, i)) {
		snprintf(entry->error, sizeof(entry->error), "Choose one of the list.");
	} else if (item->check && (form_changed(f, i) || f->page->flags & PAGE_CREATES)) {
		if (!item->check(f, entry->value, entry->error, sizeof(entry->error)))
			return false;
		entry->error[0] = '\0';
	}
	/* "2G" is 2048 from here on; of bytes nobody reads the digits. */
	if (item->type == ITEM_NUMBER && !entry->error[0] && entry->value[0] &&
	    !(item->unit && strcmp(item->unit, "bytes") == 0))
		snprintf(entry->value, sizeof(entry->value), "%" JSON_INTEGER_FORMAT, number);
	return !entry->error[0];
}

int
form_check(struct form *f)
{
	int first = -1;

	for (size_t i = 0; i < f->n; i++)
		if (form_editable(f, i) && !form_check_item(f, i) && first < 0)
			first = (int)i;
	return first;
}

static json_t *
list_value(const char *text)
{
	json_t *list = json_array();
	char copy[VALUE_SIZE], *save = NULL;

	set_text(copy, sizeof(copy), text);
	for (char *word = strtok_r(copy, " ,", &save); word; word = strtok_r(NULL, " ,", &save))
		json_array_append_new(list, json_string(word));
	return list;
}

static json_t *
item_value(const struct item *item, const char *text)
{
	json_int_t number;

	switch (item->type) {
	case ITEM_NUMBER:
		return number_read(text, item->unit, &number) ? json_integer(number) : json_string(text);
	case ITEM_BOOL:
		return json_boolean(strcmp(text, "yes") == 0);
	case ITEM_LIST:
		return list_value(text);
	default:
		return json_string(text);
	}
}

json_t *
form_params(const struct form *f)
{
	json_t *params = subject_params(f);

	for (size_t i = 0; i < f->n; i++)
		if (is_sent(f, i))
			json_object_set_new(params, f->page->items[i].member,
			    item_value(&f->page->items[i], f->entry[i].value));
	return params;
}

static const char *
or_none(const char *text)
{
	return text[0] ? text : "(none)";
}

char *
form_summary(const struct form *f)
{
	char *out = NULL;
	size_t size, i;
	FILE *s = open_memstream(&out, &size);
	json_t *line;

	if (!s)
		return NULL;
	for (i = 0; i < f->n; i++) {
		const struct item *item = &f->page->items[i];
		char value[VALUE_SIZE];

		if (!is_sent(f, i))
			continue;
		form_read(f, i, value, sizeof(value));
		if (f->page->flags & PAGE_CREATES || item->flags & ITEM_KEY)
			fprintf(s, "%s: %s\n", item->label, value);
		else
			fprintf(s, "%s: %s -> %s\n", item->label, or_none(f->entry[i].was), or_none(value));
	}
	if (json_array_size(f->would))
		fputs("\nThe host will:\n", s);
	json_array_foreach(f->would, i, line)
	{
		fprintf(s, "- %s\n", json_is_string(line) ? json_string_value(line) : "?");
	}
	return fclose(s) == 0 ? out : NULL;
}

/* Puts the agent's refusal where it belongs: at the item that its path names, or over the page. */
static int
place_error(struct form *f, const struct rpc_error *e)
{
	const char *path = e->path[0] == '/' ? e->path + 1 : e->path;
	long at = item_index(f, path, strcspn(path, ".[/"));

	if (at < 0 || !path[0] || !form_editable(f, (size_t)at)) {
		link_error_text(e, f->trouble, sizeof(f->trouble));
		return -1;
	}
	link_error_text(e, f->entry[at].error, sizeof(f->entry[at].error));
	return (int)at;
}

static int
change(struct form *f, bool dry_run, json_t **answer, int *at)
{
	struct link_change how = { .dry_run = dry_run,
		.confirm = !dry_run && f->page->flags & PAGE_DESTRUCTIVE };
	struct rpc_error e;
	int rc;

	*at = -1;
	f->trouble[0] = '\0';
	if (!(f->page->flags & (PAGE_CREATES | PAGE_LEAVES)))
		how.if_match = json_integer_value(json_object_get(f->doc, "revision"));
	rc = link_change(f->link, f->page->apply, form_params(f), how, answer, &e);
	if (rc < 0)
		*at = place_error(f, &e);
	return rc;
}

int
form_preview(struct form *f, int *at)
{
	json_t *answer = NULL;
	int rc;

	json_decref(f->would);
	f->would = NULL;
	rc = change(f, true, &answer, at);
	if (rc == 0)
		f->would = json_incref(json_object_get(answer, "would"));
	json_decref(answer);
	return rc;
}

/* What is so now, by what was loaded again after a change; wanted holds the values as they were typed. */
static char *
read_back(const struct form *f, char (*wanted)[VALUE_SIZE], const bool *sent)
{
	char *out = NULL;
	size_t size, told = 0;
	FILE *s = open_memstream(&out, &size);

	if (!s)
		return NULL;
	for (size_t i = 0; i < f->n; i++) {
		const struct item *item = &f->page->items[i];
		json_t *want, *is;

		if (!sent[i] || item->flags & (ITEM_KEY | ITEM_UNREAD))
			continue;
		want = item_value(item, wanted[i]);
		is = item_value(item, f->entry[i].was);
		fprintf(s, "%s%s is %s%s", told++ ? "; " : "", item->label,
		    json_equal(want, is) ? "now " : "still ", or_none(f->entry[i].was));
		json_decref(want);
		json_decref(is);
	}
	fputs(told ? "." : "Done.", s);
	return fclose(s) == 0 ? out : NULL;
}

static char *
load_and_tell(struct form *f)
{
	char(*wanted)[VALUE_SIZE] = calloc(f->n + 1, sizeof(*wanted));
	bool *sent = calloc(f->n + 1, sizeof(*sent));
	char *said = NULL;

	if (wanted && sent) {
		for (size_t i = 0; i < f->n; i++) {
			sent[i] = is_sent(f, i);
			set_text(wanted[i], VALUE_SIZE, f->entry[i].value);
		}
		said = form_load(f, false) == 0 ? read_back(f, wanted, sent)
						: strdup("Done, but it could not be read back.");
	}
	free(wanted);
	free(sent);
	return said;
}

static char *
say_done(const struct form *f)
{
	const char *name = f->subject[0] ? f->subject : form_value_of(f, "name");
	char *said = NULL;

	return asprintf(&said, "%s %s: done.", f->page->verb, name) < 0 ? NULL : said;
}

/* What waits for the machine's next start, behind what was said; takes said. */
static char *
say_restart(char *said, const json_t *restart)
{
	char names[VALUE_SIZE], *all = NULL;

	show_plain(restart, names, sizeof(names));
	if (asprintf(&all, "%s At the machine's next start: %s.", said, names) < 0)
		return said;
	free(said);
	return all;
}

int
form_apply(struct form *f, int *at, char **said, char **job)
{
	json_t *answer = NULL;
	int rc = change(f, false, &answer, at);
	const char *id = rc == 0 ? json_string_value(json_object_get(answer, "job")) : NULL;

	/* It may have another name now. */
	if (rc == 0 && f->page->subject && form_value_of(f, "name")[0])
		set_text(f->subject, sizeof(f->subject), form_value_of(f, "name"));
	*said = NULL;
	*job = id ? strdup(id) : NULL;
	if (rc == 0 && !id && json_is_false(json_object_get(answer, "changed")))
		*said = strdup("All of this was so already.");
	else if (rc == 0 && !id && f->page->load && !(f->page->flags & (PAGE_CREATES | PAGE_LEAVES)))
		*said = load_and_tell(f);
	else if (rc == 0)
		*said = say_done(f);
	if (*said && json_array_size(json_object_get(answer, "restart")))
		*said = say_restart(*said, json_object_get(answer, "restart"));
	json_decref(answer);
	return rc;
}

static void
lua_string(FILE *s, const char *text)
{
	fputc('"', s);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', s);
		fputc(*text, s);
	}
	fputc('"', s);
}

static void
lua_value(FILE *s, const json_t *value)
{
	json_t *element;
	size_t i;

	if (json_is_string(value)) {
		lua_string(s, json_string_value(value));
	} else if (json_is_array(value)) {
		fputc('{', s);
		json_array_foreach(value, i, element)
		{
			fputs(i ? ", " : " ", s);
			lua_value(s, element);
		}
		fputs(" }", s);
	} else if (json_is_boolean(value)) {
		fputs(json_is_true(value) ? "true" : "false", s);
	} else {
		fprintf(s, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	}
}

/* a="x", b=2 */
static void
lua_members(FILE *s, const json_t *params, bool confirm)
{
	const char *name, *between = "";
	json_t *value;

	json_object_foreach((json_t *)params, name, value)
	{
		fprintf(s, "%s%s=", between, name);
		lua_value(s, value);
		between = ", ";
	}
	if (confirm)
		fprintf(s, "%sconfirm=true", between);
}

char *
lua_call(const char *method, const char *subject, const json_t *params, bool confirm)
{
	char *out = NULL;
	size_t size;
	FILE *s = open_memstream(&out, &size);
	bool members = json_object_size(params) > 0 || confirm;

	if (!s)
		return NULL;
	fputs(method, s);
	if (subject || !members)
		fputc('(', s);
	if (subject)
		lua_string(s, subject);
	if (members) {
		fputs(subject ? ", {" : "{", s);
		lua_members(s, params, confirm);
		fputc('}', s);
	}
	if (subject || !members)
		fputc(')', s);
	return fclose(s) == 0 ? out : NULL;
}

char *
form_lua(const struct form *f)
{
	const struct page *page = f->page;
	json_t *params;
	char *line;

	if (!page->apply && !page->load)
		return strdup("");
	params = page->apply ? form_params(f) : json_object();
	if (page->subject)
		json_object_del(params, page->subject);
	line = lua_call(page->apply ? page->apply : page->load, page->subject ? f->subject : NULL, params,
	    page->apply && page->flags & PAGE_DESTRUCTIVE);
	json_decref(params);
	return line;
}
