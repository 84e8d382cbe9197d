/*
 * lib/schema.c - documents to structs and back.
 *
 * Everything about a document is doubted; a table is our own code and is not. The depth of recursion
 * here is that of the table, never that of the document.
 */
#include "lib/schema.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/guid.h"
#include "lib/text.h"

/* Where in the document we are: a chain of names on the stack, printed only if something is wrong. */
struct place {
	const struct place *up; /* NULL: the whole document */
	const char *name;       /* NULL: element `index` of the list above */
	size_t index;
};

struct reader {
	struct fd_set_in *fds;
	struct err *e;
};

static void
print_place(const struct place *p, char *buf, size_t size)
{
	size_t len;

	buf[0] = '\0';
	if (!p->up)
		return;
	print_place(p->up, buf, size);
	len = strlen(buf);
	if (p->name)
		snprintf(buf + len, size - len, "%s%.64s", len ? "." : "", p->name);
	else
		snprintf(buf + len, size - len, "[%zu]", p->index);
}

__attribute__((format(printf, 4, 5))) static int
refuse(struct reader *r, const struct place *p, int code, const char *fmt, ...)
{
	char path[128], why[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	print_place(p, path, sizeof(path));
	return err_set(r->e, code, "%s%s%s", path, path[0] ? ": " : "", why);
}

static const struct field *
find_field(const struct field *table, const char *name)
{
	for (const struct field *f = table; f->type != FIELD_END; f++)
		if (strcmp(f->name, name) == 0)
			return f;
	return NULL;
}

static void *
member(const struct field *f, void *out)
{
	return (char *)out + f->offset;
}

static const void *
const_member(const struct field *f, const void *in)
{
	return (const char *)in + f->offset;
}

static size_t *
list_count(const struct field *f, void *out)
{
	return (size_t *)(void *)((char *)out + f->count_offset);
}

static int
read_bool(struct reader *r, const struct place *p, json_t *v, bool *out)
{
	if (!json_is_boolean(v))
		return refuse(r, p, EINVAL, "neither true nor false");
	*out = json_is_true(v);
	return 0;
}

static int
read_uint(struct reader *r, const struct place *p, const struct field *f, json_t *v, uint64_t *out)
{
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v))
		return refuse(r, p, EINVAL, "not a whole number");
	if (n < 0 || (uint64_t)n < f->min || (uint64_t)n > f->max)
		return refuse(r, p, EINVAL,
		    "%" JSON_INTEGER_FORMAT " is not between %" PRIu64 " and %" PRIu64, n, f->min, f->max);
	*out = (uint64_t)n;
	return 0;
}

static int
read_string(struct reader *r, const struct place *p, const struct field *f, json_t *v, char *out)
{
	const char *s = json_string_value(v);
	size_t len = json_string_length(v);

	assert(f->max < f->size);
	if (!s)
		return refuse(r, p, EINVAL, "not a string");
	if (len < f->min || len > f->max)
		return refuse(r, p, EINVAL, "%zu bytes long, not between %" PRIu64 " and %" PRIu64, len,
		    f->min, f->max);
	if (!text_is_clean(s, len))
		return refuse(r, p, EINVAL, "has a control character");
	memcpy(out, s, len);
	memset(out + len, 0, f->size - len); /* nothing of an earlier value stays behind */
	return 0;
}

static int
read_guid(struct reader *r, const struct place *p, json_t *v, uint8_t *out)
{
	const char *s = json_string_value(v);
	uint8_t guid[GUID_BYTES];

	if (!s || json_string_length(v) != GUID_TEXT || !guid_parse(s, guid))
		return refuse(r, p, EINVAL, "not a GUID");
	memcpy(out, guid, sizeof(guid));
	return 0;
}

static int
read_enum(struct reader *r, const struct place *p, const struct field *f, json_t *v, unsigned *out)
{
	const char *s = json_string_value(v);
	char names[96] = "";

	if (!s)
		return refuse(r, p, EINVAL, "not a string");
	for (unsigned i = 0; f->names[i]; i++) {
		size_t len = strlen(names);

		if (strlen(f->names[i]) == json_string_length(v) && strcmp(f->names[i], s) == 0) {
			*out = i;
			return 0;
		}
		snprintf(names + len, sizeof(names) - len, "%s%s", i ? ", " : "", f->names[i]);
	}
	return refuse(r, p, EINVAL, "'%.32s' is not one of %s", s, names);
}

static int
read_fd(struct reader *r, const struct place *p, json_t *v, int *out)
{
	json_int_t i = json_integer_value(v);

	if (!json_is_integer(v))
		return refuse(r, p, EINVAL, "not the number of a descriptor");
	if (!r->fds || i < 0 || (uint64_t)i >= r->fds->n)
		return refuse(r, p, EBADF, "no descriptor %" JSON_INTEGER_FORMAT " came along", i);
	if (r->fds->fd[i] < 0)
		return refuse(r, p, EBADF, "descriptor %" JSON_INTEGER_FORMAT " is used twice", i);
	*out = r->fds->fd[i];
	r->fds->fd[i] = -1;
	return 0;
}

static int read_object(
    struct reader *r, const struct place *p, const struct field *table, json_t *doc, void *out);

static int
read_list(struct reader *r, const struct place *p, const struct field *f, json_t *v, void *out)
{
	size_t *count = list_count(f, out), n = json_array_size(v);
	int rc = 0;

	if (!json_is_array(v))
		return refuse(r, p, EINVAL, "not a list");
	if (n < f->min || n > f->max)
		return refuse(
		    r, p, EINVAL, "%zu elements, not between %" PRIu64 " and %" PRIu64, n, f->min, f->max);
	*count = 0;
	while (*count < n && rc == 0) {
		struct place here = { .up = p, .index = *count };
		void *element = (char *)member(f, out) + *count * f->size;

		++*count; /* before reading, so that schema_close_fds sees what a bad element took */
		rc = read_object(r, &here, f->fields, json_array_get(v, here.index), element);
	}
	return rc;
}

static int
read_strings(struct reader *r, const struct place *p, const struct field *f, json_t *v, void *out)
{
	const struct field element = { .min = 1, .max = f->size - 1, .size = f->size };
	size_t *count = list_count(f, out), n = json_array_size(v);
	int rc = 0;

	if (!json_is_array(v))
		return refuse(r, p, EINVAL, "not a list");
	if (n < f->min || n > f->max)
		return refuse(
		    r, p, EINVAL, "%zu elements, not between %" PRIu64 " and %" PRIu64, n, f->min, f->max);
	for (*count = 0; *count < n && rc == 0; ++*count) {
		struct place here = { .up = p, .index = *count };

		rc = read_string(
		    r, &here, &element, json_array_get(v, *count), (char *)member(f, out) + *count * f->size);
	}
	return rc;
}

static int
read_field(struct reader *r, const struct place *p, const struct field *f, json_t *v, void *out)
{
	void *m = member(f, out);

	switch (f->type) {
	case FIELD_BOOL:
		return read_bool(r, p, v, m);
	case FIELD_UINT:
		return read_uint(r, p, f, v, m);
	case FIELD_STRING:
		return read_string(r, p, f, v, m);
	case FIELD_GUID:
		return read_guid(r, p, v, m);
	case FIELD_ENUM:
		return read_enum(r, p, f, v, m);
	case FIELD_FD:
		return read_fd(r, p, v, m);
	case FIELD_OBJECT:
		return read_object(r, p, f->fields, v, m);
	case FIELD_LIST:
		return read_list(r, p, f, v, out);
	case FIELD_STRINGS:
		return read_strings(r, p, f, v, out);
	case FIELD_JSON:
		*(json_t **)m = v;
		return 0;
	case FIELD_END:
		break;
	}
	assert(false && "a type that schema.h does not know");
	return -EINVAL;
}

static int
refuse_unknown(struct reader *r, const struct place *p, const struct field *table, json_t *doc)
{
	const char *name;
	json_t *v;

	json_object_foreach(doc, name, v)
	{
		struct place here = { .up = p, .name = name };

		if (!find_field(table, name))
			return refuse(r, &here, EINVAL, "unknown name");
	}
	return 0;
}

static int
read_object(struct reader *r, const struct place *p, const struct field *table, json_t *doc, void *out)
{
	int rc;

	if (!json_is_object(doc))
		return refuse(r, p, EINVAL, "not an object");
	rc = refuse_unknown(r, p, table, doc);
	for (const struct field *f = table; rc == 0 && f->type != FIELD_END; f++) {
		struct place here = { .up = p, .name = f->name };
		json_t *v = json_object_get(doc, f->name);

		if (v)
			rc = read_field(r, &here, f, v, out);
		else if (f->required)
			rc = refuse(r, &here, EINVAL, "missing");
	}
	return rc;
}

int
schema_read(const struct field *table, json_t *doc, struct fd_set_in *fds, void *out, struct err *e)
{
	struct reader r = { .fds = fds, .e = e };
	struct place top = { 0 };
	int rc = read_object(&r, &top, table, doc, out);

	if (rc < 0)
		schema_close_fds(table, out);
	return rc;
}

/* Calls do_fd for every FIELD_FD member; of a list the elements that are there, or all slots. */
static void
each_fd(const struct field *table, void *out, bool all_slots, void (*do_fd)(int *fd))
{
	for (const struct field *f = table; f->type != FIELD_END; f++) {
		if (f->type == FIELD_FD)
			do_fd(member(f, out));
		if (f->type == FIELD_OBJECT)
			each_fd(f->fields, member(f, out), all_slots, do_fd);
		if (f->type == FIELD_LIST) {
			size_t n = all_slots ? (size_t)f->max : *list_count(f, out);

			for (size_t i = 0; i < n; i++)
				each_fd(f->fields, (char *)member(f, out) + i * f->size, all_slots, do_fd);
		}
	}
}

static void
set_none(int *fd)
{
	*fd = -1;
}

static void
close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void
schema_no_fds(const struct field *table, void *out)
{
	each_fd(table, out, true, set_none);
}

void
schema_close_fds(const struct field *table, void *out)
{
	each_fd(table, out, false, close_one);
}

static json_t *
write_string(const char *s, size_t size)
{
	json_t *v = NULL;
	char *copy = strndup(s, size);

	if (copy) {
		text_clean(copy); /* a result may quote a guest */
		v = json_string(copy);
		free(copy);
	}
	return v;
}

static json_t *
write_guid(const uint8_t *guid)
{
	char text[GUID_TEXT + 1];

	guid_format(guid, text);
	return json_string(text);
}

static json_t *
write_list(const struct field *f, const void *in)
{
	size_t n = *(const size_t *)(const void *)((const char *)in + f->count_offset);
	json_t *list = json_array();

	assert(n <= f->max);
	for (size_t i = 0; list && i < n; i++) {
		const char *element = (const char *)const_member(f, in) + i * f->size;

		if (json_array_append_new(list, schema_write(f->fields, element)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *
write_strings(const struct field *f, const void *in)
{
	size_t n = *(const size_t *)(const void *)((const char *)in + f->count_offset);
	json_t *list = json_array();

	assert(n <= f->max);
	for (size_t i = 0; list && i < n; i++) {
		const char *element = (const char *)const_member(f, in) + i * f->size;

		if (json_array_append_new(list, write_string(element, f->size)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static json_t *
write_field(const struct field *f, const void *in)
{
	const void *m = const_member(f, in);
	uint64_t n;

	switch (f->type) {
	case FIELD_BOOL:
		return json_boolean(*(const bool *)m);
	case FIELD_UINT:
		n = *(const uint64_t *)m;
		return json_integer(n > INT64_MAX ? INT64_MAX : (json_int_t)n);
	case FIELD_STRING:
		return write_string(m, f->size);
	case FIELD_GUID:
		return write_guid(m);
	case FIELD_ENUM:
		return json_string(f->names[*(const unsigned *)m]);
	case FIELD_OBJECT:
		return schema_write(f->fields, m);
	case FIELD_LIST:
		return write_list(f, in);
	case FIELD_STRINGS:
		return write_strings(f, in);
	case FIELD_JSON:
		return json_incref(*(json_t *const *)m);
	case FIELD_FD:
	case FIELD_END:
		break;
	}
	assert(false && "a type that cannot be written");
	return NULL;
}

json_t *
schema_write(const struct field *table, const void *in)
{
	json_t *doc = json_object();

	for (const struct field *f = table; doc && f->type != FIELD_END; f++) {
		if (f->type == FIELD_FD)
			continue; /* a number would mean nothing to the reader */
		if (f->type == FIELD_JSON && !*(json_t *const *)const_member(f, in))
			continue;
		if (json_object_set_new(doc, f->name, write_field(f, in)) < 0) {
			json_decref(doc);
			return NULL;
		}
	}
	return doc;
}
