/*
 * shell/convert.c - typed words and Lua values to what a parameter's schema asks for.
 */
#include "shell/convert.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/schema.h"
#include "lib/text.h"
#include "shell/units.h"

bool
usage_set(struct usage *u, const char *path, const char *hint, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(u->message, sizeof(u->message), fmt, ap);
	va_end(ap);
	snprintf(u->path, sizeof(u->path), "%s", path ? path : "");
	snprintf(u->hint, sizeof(u->hint), "%s", hint ? hint : "");
	text_clean(u->message);
	text_clean(u->path);
	text_clean(u->hint);
	return false;
}

static json_t *
refuse(const struct param *p, struct usage *u, const char *why)
{
	usage_set(u, p->name, p->help, "%s: %s", p->name, why);
	return NULL;
}

static json_t *
refuse_choice(const struct param *p, struct usage *u, const char *text)
{
	char hint[WHY_SIZE] = "";
	size_t used = 0, i;
	const json_t *v;

	json_array_foreach(p->choices, i, v)
	{
		int n = snprintf(
		    hint + used, sizeof(hint) - used, "%s%s", i ? ", " : "One of: ", json_string_value(v));

		if (n < 0 || (size_t)n >= sizeof(hint) - used)
			break;
		used += (size_t)n;
	}
	usage_set(u, p->name, hint, "%s: '%s' is not one of the choices", p->name, text);
	return NULL;
}

static json_t *
choice(const struct param *p, const char *text, struct usage *u)
{
	const json_t *v;
	size_t i;

	json_array_foreach(p->choices, i, v)
	{
		if (strcasecmp(json_string_value(v), text) == 0)
			return json_string(json_string_value(v));
	}
	return refuse_choice(p, u, text);
}

static json_t *
boolean(const struct param *p, const char *text, struct usage *u)
{
	static const char *const yes[] = { "true", "yes", "on", "1" }, *const no[] = { "false", "no", "off",
		"0" };

	for (size_t i = 0; i < 4; i++) {
		if (strcasecmp(text, yes[i]) == 0)
			return json_true();
		if (strcasecmp(text, no[i]) == 0)
			return json_false();
	}
	return refuse(p, u, "yes or no is wanted");
}

static json_t *
integer(const struct param *p, const char *text, struct usage *u)
{
	char why[WHY_SIZE / 2];
	json_int_t n;

	return unit_parse(text, p->unit, &n, why, sizeof(why)) ? json_integer(n) : refuse(p, u, why);
}

static json_t *
real(const struct param *p, const char *text, struct usage *u)
{
	char *end;
	double n = strtod(text, &end);

	return *text && !*end && isfinite(n) ? json_real(n) : refuse(p, u, "a number is wanted");
}

static struct param
element_of(const struct param *p)
{
	const json_t *items = json_object_get(p->schema, "items");
	const char *type = json_string_value(json_object_get(items, "type"));
	const char *unit = json_string_value(json_object_get(items, "x-unit"));
	struct param one = *p;

	one.schema = items;
	one.unit = unit ? unit : "";
	one.choices = json_object_get(items, "enum");
	one.type = !type                          ? VALUE_ANY
		   : strcmp(type, "integer") == 0 ? VALUE_INTEGER
		   : strcmp(type, "object") == 0  ? VALUE_OBJECT
						  : VALUE_STRING;
	return one;
}

/* "a,b,c"; nothing at all is the empty list. */
static json_t *
list(const struct param *p, const char *text, struct usage *u)
{
	struct param one = element_of(p);
	char *copy = strdup(text), *rest = copy, *word;
	json_t *out = json_array(), *v;

	if (one.type == VALUE_OBJECT) { /* those are typed as JSON */
		free(copy);
		json_decref(out);
		out = schema_parse(text, strlen(text), NULL);
		return json_is_array(out) ? out
					  : (json_decref(out), refuse(p, u, "a list in JSON is wanted"));
	}
	while (out && *text && (word = strsep(&rest, ","))) {
		v = convert_text(&one, word, u);
		if (!v || json_array_append_new(out, v) < 0) {
			json_decref(out);
			out = NULL;
		}
	}
	free(copy);
	return out;
}

json_t *
convert_text(const struct param *p, const char *text, struct usage *u)
{
	json_t *v;

	if (p->choices)
		return choice(p, text, u);
	switch (p->type) {
	case VALUE_BOOL:
		return boolean(p, text, u);
	case VALUE_INTEGER:
		return integer(p, text, u);
	case VALUE_NUMBER:
		return real(p, text, u);
	case VALUE_LIST:
		return list(p, text, u);
	case VALUE_OBJECT:
		v = schema_parse(text, strlen(text), NULL);
		return json_is_object(v) ? v : (json_decref(v), refuse(p, u, "an object in JSON is wanted"));
	case VALUE_STRING:
	case VALUE_ANY:
		break;
	}
	v = json_string(text);
	return v ? v : refuse(p, u, "this is not UTF-8");
}

/* A table without members may be meant as a list, a single text as a list of one. */
static json_t *
value_as_list(const struct param *p, json_t *v, struct usage *u)
{
	struct param one = element_of(p);
	json_t *out = json_array(), *el;
	size_t i;

	if (json_is_object(v) && json_object_size(v) == 0)
		return json_decref(v), out;
	if (json_is_string(v)) {
		json_decref(out);
		out = convert_text(p, json_string_value(v), u);
		return json_decref(v), out;
	}
	if (!json_is_array(v)) {
		json_decref(out);
		return json_decref(v), refuse(p, u, "a list is wanted");
	}
	json_array_foreach(v, i, el)
	{
		json_t *got = convert_value(&one, json_incref(el), u);

		if (!got || json_array_append_new(out, got) < 0) {
			json_decref(out);
			out = NULL;
			break;
		}
	}
	return json_decref(v), out;
}

static bool
fits(const struct param *p, const json_t *v)
{
	switch (p->type) {
	case VALUE_BOOL:
		return json_is_boolean(v);
	case VALUE_INTEGER:
		return json_is_integer(v);
	case VALUE_NUMBER:
		return json_is_number(v);
	case VALUE_STRING:
		return json_is_string(v);
	case VALUE_OBJECT:
		return json_is_object(v);
	case VALUE_LIST:
	case VALUE_ANY:
		break;
	}
	return true;
}

static const char *
wanted(const struct param *p)
{
	static const char *const words[] = {
		[VALUE_ANY] = "another value is wanted",
		[VALUE_BOOL] = "true or false is wanted",
		[VALUE_INTEGER] = "a whole number is wanted",
		[VALUE_NUMBER] = "a number is wanted",
		[VALUE_STRING] = "text is wanted",
		[VALUE_LIST] = "a list is wanted",
		[VALUE_OBJECT] = "a table is wanted",
	};

	return words[p->type];
}

json_t *
convert_value(const struct param *p, json_t *v, struct usage *u)
{
	double n = json_number_value(v);
	json_t *out = v;

	if (json_is_null(v)) /* in a change: back to the default */
		return v;
	if (p->type == VALUE_LIST)
		return value_as_list(p, v, u);
	if (json_is_string(v) && (p->choices || p->type == VALUE_INTEGER))
		out = convert_text(p, json_string_value(v), u);
	else if (json_is_real(v) && p->type == VALUE_INTEGER && floor(n) == n && fabs(n) < 9e15)
		out = json_integer((json_int_t)n);
	else if (json_is_integer(v) && p->type == VALUE_STRING)
		out = json_sprintf("%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else if (!fits(p, v))
		out = refuse(p, u, wanted(p));
	if (out != v)
		json_decref(v);
	return out;
}

static bool
unknown_param(const struct operation *op, const char *name, struct usage *u)
{
	const char *near = operation_nearest_param(op, name);
	char hint[WHY_SIZE];

	if (near)
		snprintf(hint, sizeof(hint), "Did you mean %s?", near);
	else
		snprintf(hint, sizeof(hint), "help \"%s\" lists the parameters.", op->name);
	return usage_set(u, name, hint, "%s has no parameter '%s'", op->name, name);
}

static bool
nothing_missing(const struct operation *op, const json_t *params, struct usage *u)
{
	for (size_t i = 0; i < op->n_params; i++) {
		const struct param *p = &op->params[i];

		if (p->required && !p->secret && !json_object_get(params, p->name))
			return usage_set(u, p->name, p->help, "%s: %s is missing", op->name, p->name);
	}
	return true;
}

bool
convert_params(const struct operation *op, json_t *params, struct usage *u)
{
	const char *name;
	json_t *v, *got;
	void *next;

	json_object_foreach_safe(params, next, name, v)
	{
		const struct param *p = operation_param(op, name, strlen(name));
		char message[WHY_SIZE];

		if (strcmp(name, "_") == 0)
			continue;
		if (!p)
			return unknown_param(op, name, u);
		got = convert_value(p, json_incref(v), u);
		if (!got) {
			memcpy(message, u->message, sizeof(message));
			snprintf(u->message, sizeof(u->message), "%s: %.180s", op->name, message);
			return false;
		}
		json_object_set_new(params, name, got);
	}
	return nothing_missing(op, params, u);
}

const struct param *
convert_positional(const struct operation *op, size_t n)
{
	size_t seen = 0;

	for (size_t i = 0; i < op->n_params; i++)
		if (op->params[i].required && seen++ == n)
			return &op->params[i];
	for (size_t i = 0; i < op->n_params; i++)
		if (!op->params[i].required && op->params[i].positional && seen++ == n)
			return &op->params[i];
	return seen == 0 && n == 0 && op->n_params > 0 ? &op->params[0] : NULL;
}
