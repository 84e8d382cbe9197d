/*
 * lib/schema_describe.c - what a table says, as JSON Schema for help and manuals; and whether the table
 * itself makes sense.
 */
#include <errno.h>
#include <string.h>

#include "lib/guid.h"
#include "lib/schema.h"

/* Sets name in obj; false when value is NULL or memory is out. Takes the reference of value. */
static bool
put(json_t *obj, const char *name, json_t *value)
{
	return json_object_set_new(obj, name, value) == 0;
}

static bool
put_number(json_t *obj, const char *name, uint64_t n)
{
	return put(obj, name, json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n));
}

static bool
put_type(json_t *obj, const char *type)
{
	return put(obj, "type", json_string(type));
}

static bool
put_range(json_t *obj, const char *type, const char *least, uint64_t min, const char *most, uint64_t max)
{
	return put_type(obj, type) && put_number(obj, least, min) && put_number(obj, most, max);
}

static json_t *
names_of(const struct field *f)
{
	json_t *list = json_array();

	for (unsigned i = 0; list && f->names[i]; i++)
		if (json_array_append_new(list, json_string(f->names[i])) < 0) {
			json_decref(list);
			return NULL;
		}
	return list;
}

static bool put_object(json_t *obj, const struct field *table);

/* Fills obj with what may stand for f. */
static bool
put_value(json_t *obj, const struct field *f)
{
	switch (f->type) {
	case FIELD_BOOL:
		return put_type(obj, "boolean");
	case FIELD_UINT:
		return put_range(obj, "integer", "minimum", f->min, "maximum", f->max);
	case FIELD_STRING: /* JSON Schema counts characters, we count bytes: never more characters */
		return put_range(obj, "string", "minLength", f->min ? 1 : 0, "maxLength", f->max);
	case FIELD_GUID:
		return put_range(obj, "string", "minLength", GUID_TEXT, "maxLength", GUID_TEXT) &&
		       put(obj, "format", json_string("uuid"));
	case FIELD_ENUM:
		return put_type(obj, "string") && put(obj, "enum", names_of(f));
	case FIELD_FD:
		return put_range(obj, "integer", "minimum", 0, "maximum", SCHEMA_DOCUMENT_FDS - 1) &&
		       put(obj, "format", json_string("descriptor"));
	case FIELD_OBJECT:
		return put_object(obj, f->fields);
	case FIELD_LIST:
		return put_range(obj, "array", "minItems", f->min, "maxItems", f->max) &&
		       put(obj, "items", schema_describe(f->fields));
	case FIELD_STRINGS:
		return put_range(obj, "array", "minItems", f->min, "maxItems", f->max) &&
		       put(obj, "items",
			   json_pack("{s:s, s:i, s:I}", "type", "string", "minLength", 1, "maxLength",
			       (json_int_t)(f->size - 1)));
	case FIELD_JSON:
		return true;
	case FIELD_END:
		break;
	}
	return false;
}

static bool
put_property(json_t *properties, json_t *required, const struct field *f)
{
	json_t *value = json_object();

	/* In properties at once, which then owns it whatever happens. */
	if (!put(properties, f->name, value) || !put_value(value, f))
		return false;
	if (f->help && !put(value, "description", json_string(f->help)))
		return false;
	if (f->unit && !put(value, "x-unit", json_string(f->unit)))
		return false;
	if (f->secret && !put(value, "writeOnly", json_true()))
		return false;
	return !f->required || json_array_append_new(required, json_string(f->name)) == 0;
}

static bool
put_object(json_t *obj, const struct field *table)
{
	json_t *properties = json_object(), *required = json_array();
	bool ok = put_type(obj, "object");

	ok = put(obj, "properties", properties) && ok;
	ok = put(obj, "required", required) && ok;
	ok = put(obj, "additionalProperties", json_false()) && ok;
	for (const struct field *f = table; ok && f->type != FIELD_END; f++)
		ok = put_property(properties, required, f);
	return ok;
}

json_t *
schema_describe(const struct field *table)
{
	json_t *obj = json_object();

	if (!put_object(obj, table)) {
		json_decref(obj);
		return NULL;
	}
	return obj;
}

static const char *
wrong_with(const struct field *f)
{
	bool nested = f->type == FIELD_OBJECT || f->type == FIELD_LIST;

	if (!f->name || !f->name[0])
		return "no name";
	if (!f->help || !f->help[0])
		return "no help";
	if (f->min > f->max)
		return "min is above max";
	if (f->type == FIELD_UINT && (f->max == 0 || f->min > INT64_MAX))
		return "admits no number";
	if (f->type == FIELD_STRING && (f->max == 0 || f->max >= f->size))
		return "max is not below size, or 0";
	if (f->type == FIELD_ENUM && (!f->names || !f->names[0]))
		return "no names";
	if (f->type == FIELD_LIST && (f->max == 0 || f->size == 0))
		return "admits no element";
	if (f->type == FIELD_STRINGS && (f->max == 0 || f->size < 2))
		return "admits no text";
	if (nested && !f->fields)
		return "no fields";
	return NULL;
}

bool
schema_table_ok(const struct field *table, struct err *e)
{
	for (const struct field *f = table; f->type != FIELD_END; f++) {
		const char *wrong = wrong_with(f);

		for (const struct field *g = table; !wrong && g < f; g++)
			if (strcmp(f->name, g->name) == 0)
				wrong = "the name is there twice";
		if (wrong) {
			err_set(e, EINVAL, "%s: %s", f->name ? f->name : "?", wrong);
			return false;
		}
		if (f->fields && !schema_table_ok(f->fields, e)) {
			err_wrap(e, -EINVAL, "%s", f->name);
			return false;
		}
	}
	return true;
}
