/*
 * agent/method_result.c - whether a result is what its table says; for tests, which check every method's.
 */
#include <errno.h>
#include <string.h>

#include "agent/method.h"
#include "lib/guid.h"

static int check_object(const struct field *table, const json_t *doc, bool changed_too, struct err *e);

static bool
is_name(const struct field *f, const char *text)
{
	for (unsigned i = 0; text && f->names[i]; i++)
		if (strcmp(f->names[i], text) == 0)
			return true;
	return false;
}

static int
check_list(const struct field *f, const json_t *v, struct err *e)
{
	const json_t *one;
	size_t i;
	int rc = 0;

	json_array_foreach(v, i, one)
	{
		if (f->type == FIELD_STRINGS && !json_is_string(one))
			rc = err_set(e, EINVAL, "[%zu]: not a string", i);
		else if (f->type == FIELD_LIST)
			rc = check_object(f->fields, one, false, e);
		if (rc < 0)
			return err_wrap(e, rc, "%s", f->name);
	}
	return json_is_array(v) ? 0 : err_set(e, EINVAL, "%s: not a list", f->name);
}

static bool
is_right(const struct field *f, const json_t *v)
{
	const char *text = json_string_value(v);
	json_int_t n = json_integer_value(v);
	uint8_t guid[GUID_BYTES];

	switch (f->type) {
	case FIELD_BOOL:
		return json_is_boolean(v);
	case FIELD_UINT:
		return json_is_integer(v) && n >= 0 && (uint64_t)n >= f->min && (uint64_t)n <= f->max;
	case FIELD_STRING:
		return text && json_string_length(v) >= f->min && json_string_length(v) <= f->max;
	case FIELD_GUID:
		return text && guid_parse(text, guid);
	case FIELD_ENUM:
		return is_name(f, text);
	case FIELD_JSON:
	case FIELD_LIST:
	case FIELD_STRINGS:
	case FIELD_OBJECT:
		return true;
	case FIELD_FD:
	case FIELD_END:
		break;
	}
	return false;
}

static int
check_value(const struct field *f, const json_t *v, struct err *e)
{
	if (!is_right(f, v))
		return err_set(e, EINVAL, "%s: not what the table says", f->name);
	if (f->type == FIELD_LIST || f->type == FIELD_STRINGS)
		return check_list(f, v, e);
	if (f->type == FIELD_OBJECT)
		return check_object(f->fields, v, false, e);
	return 0;
}

static const struct field *
find(const struct field *table, const char *name)
{
	for (const struct field *f = table; f && f->type != FIELD_END; f++)
		if (strcmp(f->name, name) == 0)
			return f;
	return NULL;
}

static int
check_object(const struct field *table, const json_t *doc, bool changed_too, struct err *e)
{
	const char *name;
	json_t *v;
	int rc = json_is_object(doc) ? 0 : err_set(e, EINVAL, "not an object");

	json_object_foreach((json_t *)(size_t)doc, name, v)
	{
		const struct field *f = find(table, name);

		if (rc == 0 && f)
			rc = check_value(f, v, e);
		else if (rc == 0 && !(changed_too && strcmp(name, "changed") == 0))
			rc = err_set(e, EINVAL, "%s: is not in the table", name);
	}
	for (const struct field *f = table; rc == 0 && f && f->type != FIELD_END; f++)
		if (f->required && !json_object_get(doc, f->name))
			rc = err_set(e, EINVAL, "%s: is missing", f->name);
	return rc;
}

bool
method_result_ok(const struct rpc_method *m, const json_t *result, struct err *e)
{
	return check_object(m->result, result, m->flags & METHOD_CHANGES, e) == 0;
}
