/*
 * shell/catalogue.c - reads an OpenRPC document.
 */
#include "shell/catalogue.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_LEN_MAX = 80, DISTANCE_LEN_MAX = 40 };

static const char *
text(const json_t *object, const char *name)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s ? s : "";
}

/* A help text is called description or summary, and stands at the thing or in its schema. */
static const char *
help_of(const json_t *thing, const json_t *schema)
{
	const char *const names[] = { "description", "summary" };

	for (size_t i = 0; i < 4; i++) {
		const char *s = text(i < 2 ? thing : schema, names[i % 2]);

		if (*s)
			return s;
	}
	return "";
}

static enum value_type
type_of(const json_t *schema)
{
	static const struct {
		const char *name;
		enum value_type type;
	} types[] = {
		{ "boolean", VALUE_BOOL },
		{ "integer", VALUE_INTEGER },
		{ "number", VALUE_NUMBER },
		{ "string", VALUE_STRING },
		{ "array", VALUE_LIST },
		{ "object", VALUE_OBJECT },
	};
	const char *s = text(schema, "type");

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(types[i].name, s) == 0)
			return types[i].type;
	return VALUE_ANY;
}

/* "word" or "word.word...", of letters and digits. dots: how many there must be at least. */
static bool
name_ok(const char *s, size_t dots)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
	size_t found = 0;

	if (strlen(s) > NAME_LEN_MAX)
		return false;
	for (;; s++, found++) {
		size_t n = strspn(s, letters);

		if (n == 0 || (*s >= '0' && *s <= '9'))
			return false;
		s += n;
		if (*s != '.')
			return *s == '\0' && found >= dots && (dots > 0 || found == 0);
	}
}

static const json_t *
strings_or_null(const json_t *list)
{
	const json_t *v;
	size_t i;

	if (!json_is_array(list) || json_array_size(list) == 0)
		return NULL;
	json_array_foreach(list, i, v)
	{
		if (!json_is_string(v))
			return NULL;
	}
	return list;
}

static bool
read_param(struct param *p, const char *name, const json_t *thing, const json_t *schema, bool required)
{
	if (!name_ok(name, 0) ||
	    strcmp(name, "_") == 0) /* "_" carries rules of the call: the session's business */
		return false;
	*p = (struct param){
		.name = name,
		.help = help_of(thing, schema),
		.unit = text(schema, "x-unit"),
		.type = type_of(schema),
		.required = required,
		.secret = json_is_true(json_object_get(schema, "writeOnly")),
		.positional = json_is_true(json_object_get(thing, "x-positional")),
		.schema = schema,
		.choices = strings_or_null(json_object_get(schema, "enum")),
		.fallback = json_object_get(schema, "default"),
	};
	return true;
}

static bool
read_params(struct operation *op, const json_t *list)
{
	const json_t *v;
	size_t i;

	op->params = calloc(json_array_size(list) + 1, sizeof(op->params[0]));
	if (!op->params)
		return false;
	json_array_foreach(list, i, v)
	{
		const json_t *schema = json_object_get(v, "schema");

		if (op->n_params == PARAMS_MAX)
			break;
		if (read_param(&op->params[op->n_params], text(v, "name"), v, schema,
			json_is_true(json_object_get(v, "required"))))
			op->n_params++;
	}
	return true;
}

/* Facts that OpenRPC has no word for are members "x-...". */
static bool
flag(const json_t *m, const char *name)
{
	return json_is_true(json_object_get(m, name));
}

static bool
read_operation(struct operation *op, const json_t *m)
{
	const char *name = text(m, "name");

	*op = (struct operation){
		.name = name,
		.help = help_of(m, NULL),
		.example = text(m, "x-example"),
		.role = text(m, "x-role"),
		.changes = flag(m, "x-changes"),
		.job = flag(m, "x-job"),
		.destructive = flag(m, "x-destructive"),
		.destroys = text(m, "x-destroys"),
		.result = json_object_get(json_object_get(m, "result"), "schema"),
		.errors = json_object_get(m, "errors"),
	};
	op->verb = strrchr(name, '.') + 1;
	op->noun = strndup(name, (size_t)(op->verb - 1 - name));
	return op->noun && read_params(op, json_object_get(m, "params"));
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct operation *)a)->name, ((const struct operation *)b)->name);
}

static void
free_operation(struct operation *op)
{
	free(op->noun);
	free(op->params);
}

/* A name that came twice is kept once. */
static void
drop_doubles(struct catalogue *c)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->n; i++) {
		if (kept > 0 && strcmp(c->op[kept - 1].name, c->op[i].name) == 0)
			free_operation(&c->op[i]);
		else
			c->op[kept++] = c->op[i];
	}
	c->n = kept;
}

bool
catalogue_read(struct catalogue *c, json_t *doc)
{
	const json_t *methods = json_object_get(doc, "methods"), *m;
	bool ok;
	size_t i;

	*c = (struct catalogue){ .doc = doc };
	c->op = calloc(json_array_size(methods) + 1, sizeof(c->op[0]));
	ok = c->op;
	json_array_foreach(methods, i, m)
	{
		if (!ok || c->n == CATALOGUE_MAX)
			break;
		if (name_ok(text(m, "name"), 1))
			ok = read_operation(&c->op[c->n++], m);
	}
	if (!ok || c->n == 0) {
		catalogue_free(c);
		return false;
	}
	qsort(c->op, c->n, sizeof(c->op[0]), by_name);
	drop_doubles(c);
	return true;
}

void
catalogue_free(struct catalogue *c)
{
	for (size_t i = 0; c->op && i < c->n; i++)
		free_operation(&c->op[i]);
	free(c->op);
	json_decref(c->doc);
	*c = (struct catalogue){ 0 };
}

static bool
same(const char *s, const char *typed, size_t len)
{
	return strncmp(s, typed, len) == 0 && s[len] == '\0';
}

const struct operation *
catalogue_find(const struct catalogue *c, const char *name, size_t len)
{
	for (size_t i = 0; i < c->n; i++)
		if (same(c->op[i].name, name, len))
			return &c->op[i];
	return NULL;
}

const struct operation *
catalogue_verb(const struct catalogue *c, const char *noun, const char *verb)
{
	for (size_t i = 0; i < c->n; i++)
		if (strcmp(c->op[i].noun, noun) == 0 && strcmp(c->op[i].verb, verb) == 0)
			return &c->op[i];
	return NULL;
}

bool
catalogue_has_noun(const struct catalogue *c, const char *noun, size_t len)
{
	for (size_t i = 0; i < c->n; i++)
		if (same(c->op[i].noun, noun, len))
			return true;
	return false;
}

const struct param *
operation_param(const struct operation *op, const char *name, size_t len)
{
	for (size_t i = 0; i < op->n_params; i++)
		if (same(op->params[i].name, name, len))
			return &op->params[i];
	return NULL;
}

const struct param *
operation_identity(const struct operation *op)
{
	const struct param *p = operation_param(op, op->noun, strlen(op->noun));

	return p ? p : operation_param(op, "name", 4);
}

size_t
edit_distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b), row[DISTANCE_LEN_MAX + 1];

	if (la > DISTANCE_LEN_MAX || lb > DISTANCE_LEN_MAX)
		return DISTANCE_LEN_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t best = corner + (a[i - 1] != b[j - 1]);

			corner = row[j];
			best = row[j] + 1 < best ? row[j] + 1 : best;
			row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
		}
	}
	return row[lb];
}

/* Keeps the nearer one; what differs in more than a third is no suggestion. */
static void
consider(const char **best, size_t *least, const char *name, const char *typed)
{
	size_t d = edit_distance(name, typed),
	       longest = strlen(name) > strlen(typed) ? strlen(name) : strlen(typed);

	if (d < *least && d * 3 <= longest + 2) {
		*least = d;
		*best = name;
	}
}

const char *
catalogue_nearest_verb(const struct catalogue *c, const char *noun, const char *typed)
{
	const char *best = NULL;
	size_t least = DISTANCE_LEN_MAX;

	for (size_t i = 0; i < c->n; i++)
		if (strcmp(c->op[i].noun, noun) == 0)
			consider(&best, &least, c->op[i].verb, typed);
	return best;
}

const char *
operation_nearest_param(const struct operation *op, const char *typed)
{
	const char *best = NULL;
	size_t least = DISTANCE_LEN_MAX;

	for (size_t i = 0; i < op->n_params; i++)
		consider(&best, &least, op->params[i].name, typed);
	return best;
}
