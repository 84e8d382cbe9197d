/*
 * shell/table.c - the layout of lists and objects.
 */
#include "shell/table.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "shell/out.h"
#include "shell/units.h"

enum { COLUMNS_MAX = 40, NARROWEST = 6, GAP = 2 };

struct column {
	const char *name;
	const json_t *schema;
	size_t width, least;
	bool right;
};

struct table {
	struct column column[COLUMNS_MAX];
	size_t n, rows;
	char **cell; /* rows * n */
};

static const json_t *
property(const json_t *schema, const char *name)
{
	return json_object_get(json_object_get(schema, "properties"), name);
}

static char *
joined(const json_t *list, const json_t *schema)
{
	char *text = NULL;
	size_t size, i;
	FILE *f = open_memstream(&text, &size);
	const json_t *v;

	if (!f)
		return NULL;
	json_array_foreach(list, i, v)
	{
		char *one = table_value(v, json_object_get(schema, "items"));

		fprintf(f, "%s%s", i ? ", " : "", one ? one : "");
		free(one);
	}
	fclose(f);
	return text;
}

/* Objects within a line: name=value name=value. */
static char *
inlined(const json_t *object, const json_t *schema)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	const char *name, *gap = "";
	json_t *v;

	if (!f)
		return NULL;
	json_object_foreach((json_t *)object, name, v)
	{
		char *one = table_value(v, property(schema, name));

		fprintf(f, "%s%s=%s", gap, name, one ? one : "");
		gap = " ";
		free(one);
	}
	fclose(f);
	return text;
}

char *
table_value(const json_t *v, const json_t *schema)
{
	const char *unit = json_string_value(json_object_get(schema, "x-unit"));
	char text[UNIT_TEXT], *s = NULL;

	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_NULL:
		s = strdup("-");
		break;
	case JSON_TRUE:
		s = strdup("yes");
		break;
	case JSON_FALSE:
		s = strdup("no");
		break;
	case JSON_INTEGER:
		unit_format(json_integer_value(v), unit ? unit : "", text);
		s = strdup(text);
		break;
	case JSON_REAL:
		snprintf(text, sizeof(text), "%.6g", json_real_value(v));
		s = strdup(text);
		break;
	case JSON_STRING:
		s = strdup(*json_string_value(v) ? json_string_value(v) : "-");
		break;
	case JSON_ARRAY:
		s = json_array_size(v) ? joined(v, schema) : strdup("-");
		break;
	case JSON_OBJECT:
		s = json_object_size(v) ? inlined(v, schema) : strdup("-");
		break;
	}
	if (s)
		text_clean(s);
	return s;
}

static bool
nothing(const json_t *v)
{
	if (json_is_array(v))
		return json_array_size(v) == 0;
	if (json_is_string(v))
		return json_string_length(v) == 0;
	return !v || json_is_null(v);
}

/* A column that has nothing in any row would only take room. */
static bool
used(const json_t *list, const char *name)
{
	const json_t *row;
	size_t i;

	json_array_foreach(list, i, row)
	{
		if (!nothing(json_object_get(row, name)))
			return true;
	}
	return false;
}

static void
add_column(struct table *t, const json_t *list, const char *name, const json_t *schema)
{
	if (t->n == COLUMNS_MAX || !used(list, name))
		return;
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->column[i].name, name) == 0)
			return;
	t->column[t->n++] = (struct column){ .name = name, .schema = property(schema, name), .right = true };
}

static void
choose_columns(struct table *t, const json_t *list, const json_t *schema)
{
	const char *name;
	json_t *v;
	const json_t *row;
	size_t i;

	json_object_foreach(json_object_get(schema, "properties"), name, v)
	{
		add_column(t, list, name, schema);
	}
	json_array_foreach(list, i, row)
	{
		json_object_foreach((json_t *)row, name, v)
		{
			add_column(t, list, name, schema);
		}
	}
}

/* "automaticStart" is headed "automatic start"; paths ("config.Memory.SizeInMB") stay as they are. malloc. */
static char *
heading(const char *name)
{
	char *out = malloc(2 * strlen(name) + 1), *o = out;
	bool path = strchr(name, '.');

	for (const char *s = name; o && *s; s++) {
		bool capital = !path && *s >= 'A' && *s <= 'Z';

		if (capital && s > name)
			*o++ = ' ';
		*o++ = capital ? (char)(*s - 'A' + 'a') : *s;
	}
	if (o)
		*o = '\0';
	if (out)
		text_clean(out);
	return out;
}

static bool
fill_cells(struct table *t, const json_t *list)
{
	const json_t *row;
	size_t r;

	t->rows = json_array_size(list);
	t->cell = calloc(t->rows * t->n + 1, sizeof(t->cell[0]));
	if (!t->cell)
		return false;
	json_array_foreach(list, r, row)
	{
		for (size_t i = 0; i < t->n; i++) {
			struct column *c = &t->column[i];
			const json_t *v = json_object_get(row, c->name);
			char *s = table_value(v, c->schema);
			size_t w = s ? out_width(s) : 0;

			if (!s)
				return false;
			t->cell[r * t->n + i] = s;
			c->width = w > c->width ? w : c->width;
			c->right = c->right && (json_is_number(v) || nothing(v));
		}
	}
	return true;
}

static size_t
total_width(const struct table *t)
{
	size_t sum = 0;

	for (size_t i = 0; i < t->n; i++)
		sum += t->column[i].width + (i ? GAP : 0);
	return sum;
}

/* Narrows the widest columns of text, column by column, as far as their headings allow. Whether it fits. */
static bool
narrow(struct table *t, size_t width)
{
	while (total_width(t) > width) {
		struct column *widest = NULL;

		for (size_t i = 0; i < t->n; i++) {
			struct column *c = &t->column[i];

			if (!c->right && c->width > c->least && (!widest || c->width > widest->width))
				widest = c;
		}
		if (!widest)
			return false;
		widest->width--;
	}
	return true;
}

static void
put_padded(FILE *f, const char *s, const struct column *c, bool last)
{
	char *cut = out_cut(s, c->width);
	size_t w = cut ? out_width(cut) : 0, pad = c->width > w ? c->width - w : 0;

	if (c->right)
		fprintf(f, "%*s", (int)pad, "");
	fputs(cut ? cut : "", f);
	if (!c->right && !last)
		fprintf(f, "%*s", (int)pad, "");
	free(cut);
}

/* One line; with names of columns when row is -1. */
static void
put_row(FILE *f, const struct table *t, size_t shown, ssize_t row)
{
	for (size_t i = 0; i < shown; i++) {
		char *head = row < 0 ? heading(t->column[i].name) : NULL;

		if (i)
			fprintf(f, "%*s", GAP, "");
		put_padded(f, row < 0 ? (head ? head : "") : t->cell[(size_t)row * t->n + i], &t->column[i],
		    i + 1 == shown);
		free(head);
	}
	fputc('\n', f);
}

/* Takes columns from the right until the rest fits; the first always stays. */
static size_t
drop_columns(struct table *t, size_t width)
{
	size_t all = t->n, shown = all;

	while (width > 0 && shown > 1 && !narrow(t, width))
		t->n = --shown;
	if (width > 0)
		narrow(t, width);
	t->n = all;
	return shown;
}

static void
free_cells(struct table *t)
{
	for (size_t i = 0; t->cell && i < t->rows * t->n; i++)
		free(t->cell[i]);
	free(t->cell);
}

/* A list of plain values: one a line. */
static void
put_values(FILE *f, const json_t *list, const json_t *schema)
{
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		char *s = table_value(v, schema);

		fprintf(f, "%s\n", s ? s : "");
		free(s);
	}
}

static bool
objects_only(const json_t *list)
{
	const json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		if (!json_is_object(v))
			return false;
	}
	return json_array_size(list) > 0;
}

void
table_list(FILE *f, const json_t *list, const json_t *schema, size_t width)
{
	struct table t = { 0 };
	size_t shown;

	if (!objects_only(list)) {
		put_values(f, list, schema);
		return;
	}
	choose_columns(&t, list, schema);
	if (t.n > 0 && fill_cells(&t, list)) {
		for (size_t i = 0; i < t.n; i++) {
			char *head = heading(t.column[i].name);
			size_t w = head ? out_width(head) : 0;

			t.column[i].width = w > t.column[i].width ? w : t.column[i].width;
			t.column[i].least = w > NARROWEST ? w : NARROWEST;
			free(head);
		}
		shown = drop_columns(&t, width);
		put_row(f, &t, shown, -1);
		for (size_t r = 0; r < t.rows; r++)
			put_row(f, &t, shown, (ssize_t)r);
		if (shown < t.n)
			fprintf(f, "(%zu more columns do not fit; --json has them all)\n", t.n - shown);
	}
	free_cells(&t);
}

/* Adds a member; an object in it becomes members "name.inner", so that a line holds one value. */
static void
add_flat(json_t *out, const char *name, json_t *v)
{
	const char *inner;
	char path[200];
	json_t *el;

	if (!json_is_object(v) || json_object_size(v) == 0) {
		json_object_set(out, name, v);
		return;
	}
	json_object_foreach(v, inner, el)
	{
		if (snprintf(path, sizeof(path), "%s.%s", name, inner) < (int)sizeof(path))
			add_flat(out, path, el);
	}
}

/* The same members, those of the schema first and in its order: a new reference, or NULL. */
static json_t *
in_order(const json_t *object, const json_t *schema)
{
	json_t *out = json_object(), *v;
	const char *name;

	json_object_foreach(json_object_get(schema, "properties"), name, v)
	{
		json_t *member = json_object_get(object, name);

		if (member)
			add_flat(out, name, member);
	}
	json_object_foreach((json_t *)object, name, v)
	{
		if (!property(schema, name))
			add_flat(out, name, v);
	}
	return out;
}

static void
put_members(FILE *f, const json_t *object, const json_t *schema, size_t width)
{
	size_t longest = 0;
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)object, name, v)
	{
		char *head = heading(name);

		if (head && !objects_only(v) && out_width(head) > longest)
			longest = out_width(head);
		free(head);
	}
	json_object_foreach((json_t *)object, name, v)
	{
		size_t room = width > longest + GAP + NARROWEST ? width - longest - GAP : 0;
		char *head = heading(name),
		     *s = objects_only(v) ? NULL : table_value(v, property(schema, name));
		char *cut = s && room ? out_cut(s, room) : NULL;

		if (head && s)
			fprintf(
			    f, "%s%*s%s\n", head, (int)(longest - out_width(head) + GAP), "", cut ? cut : s);
		free(head);
		free(s);
		free(cut);
	}
}

void
table_object(FILE *f, const json_t *object, const json_t *schema, size_t width)
{
	json_t *ordered = in_order(object, schema), *v;
	const char *name;

	put_members(f, ordered, schema, width);
	json_object_foreach(ordered, name, v)
	{
		char *head = objects_only(v) ? heading(name) : NULL;

		if (!head)
			continue;
		fprintf(f, "\n%s:\n", head);
		table_list(f, v, json_object_get(property(schema, name), "items"), width);
		free(head);
	}
	json_decref(ordered);
}

/* A list of things in an object of one member: {"vms": [...]}. */
static bool
only_list(const json_t *answer, const char **name, const json_t **list)
{
	const char *key;
	json_t *v;

	if (json_object_size(answer) != 1)
		return false;
	json_object_foreach((json_t *)answer, key, v)
	{
		*name = key;
		*list = v;
	}
	return json_is_array(*list);
}

void
table_answer(FILE *f, const json_t *answer, const json_t *schema, size_t width)
{
	const json_t *list = NULL;
	const char *name = NULL;
	char *s;

	if (json_is_object(answer) && only_list(answer, &name, &list)) {
		if (json_array_size(list) == 0)
			fputs("(none)\n", f);
		else
			table_list(f, list, json_object_get(property(schema, name), "items"), width);
	} else if (json_is_object(answer)) {
		table_object(f, answer, schema, width);
	} else if (json_is_array(answer)) {
		table_list(f, answer, json_object_get(schema, "items"), width);
	} else {
		s = table_value(answer, schema);
		fprintf(f, "%s\n", s ? s : "");
		free(s);
	}
}
