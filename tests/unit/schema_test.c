/*
 * tests/unit/schema_test.c - documents and tables: what is refused and in which words, that nothing is
 * lost on the way to a document and back, and that no descriptor or memory leaks when it fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/guid.h"
#include "lib/schema.h"

/* A machine of the size that fits on a page, with a field of every type. */
struct disk {
	char path[32];
	int fd;
	bool read_only;
};

struct machine {
	char name[17];
	uint8_t id[16];
	struct {
		uint64_t count;
	} processor;
	unsigned kind;
	bool secure;
	int log;
	struct disk disk[4];
	size_t ndisks;
};

static const struct field disk_fields[] = {
	{ "Path", FIELD_STRING, true, FIELD_AT(disk, path), .min = 1, .max = 31, .size = 32,
	    .help = "Its file." },
	{ "Fd", FIELD_FD, .help = "The open file.", FIELD_AT(disk, fd) },
	{ "ReadOnly", FIELD_BOOL, .help = "Refuse writes.", FIELD_AT(disk, read_only) },
	{ .type = FIELD_END },
};

static const struct field processor_fields[] = {
	{ "Count", FIELD_UINT, true, 0, 1, 64, .help = "Virtual processors." },
	{ .type = FIELD_END },
};

static const char *const kinds[] = { "direct", "bios", "uefi", NULL };

static const struct field machine_fields[] = {
	{ "Name", FIELD_STRING, true, FIELD_AT(machine, name), .min = 1, .max = 16, .size = 17,
	    .help = "Name." },
	{ "Id", FIELD_GUID, .help = "Identity.", FIELD_AT(machine, id) },
	{ "Processor", FIELD_OBJECT, .fields = processor_fields, .help = "CPU.",
	    FIELD_AT(machine, processor) },
	{ "Kind", FIELD_ENUM, .names = kinds, .help = "How it starts.", FIELD_AT(machine, kind) },
	{ "Secure", FIELD_BOOL, .help = "Secure boot.", FIELD_AT(machine, secure) },
	{ "Log", FIELD_FD, .help = "Where it logs.", FIELD_AT(machine, log) },
	{ "Disks", FIELD_LIST, .max = 4, .size = sizeof(struct disk), .fields = disk_fields, .help = "Disks.",
	    .count_offset = offsetof(struct machine, ndisks), FIELD_AT(machine, disk) },
	{ .type = FIELD_END },
};

static const char full[] = "{\"Name\":\"web1\",\"Id\":\"01234567-89ab-cdef-0123-456789abcdef\","
			   "\"Processor\":{\"Count\":3},\"Kind\":\"uefi\",\"Secure\":true,"
			   "\"Disks\":[{\"Path\":\"a.vhdx\",\"ReadOnly\":false},"
			   "{\"Path\":\"d\xc3\xa9.iso\",\"ReadOnly\":true}]}";

static int
read_text(const char *text, struct fd_set_in *fds, struct machine *m, struct err *e)
{
	json_t *doc = schema_parse(text, strlen(text), e);
	int rc = -EBADMSG;

	memset(m, 0, sizeof(*m));
	schema_no_fds(machine_fields, m);
	if (doc)
		rc = schema_read(machine_fields, doc, fds, m, e);
	json_decref(doc);
	return rc;
}

/* Reads {"Name":"x", <rest>} and expects this sentence. */
static void
expect_refusal(const char *rest, int code, const char *sentence)
{
	struct err e = { 0 };
	struct machine m;
	char text[512];

	snprintf(text, sizeof(text), "{\"Name\":\"x\",%s}", rest);
	assert_int_equal(read_text(text, NULL, &m, &e), -code);
	assert_string_equal(e.msg, sentence);
	assert_int_equal(e.code, code);
}

static void
a_full_document_fills_the_struct(void **state)
{
	struct machine m;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(read_text(full, NULL, &m, &e), 0);
	assert_string_equal(m.name, "web1");
	assert_memory_equal(m.id, "\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef", 16);
	assert_int_equal(m.processor.count, 3);
	assert_int_equal(m.kind, 2);
	assert_true(m.secure);
	assert_int_equal(m.ndisks, 2);
	assert_string_equal(m.disk[1].path, "d\xc3\xa9.iso");
	assert_true(m.disk[1].read_only);
	assert_false(m.disk[0].read_only);
}

static void
what_is_read_is_written_back_the_same(void **state)
{
	json_t *in = schema_parse(full, strlen(full), NULL), *out;
	struct machine m;

	(void)state;
	assert_int_equal(read_text(full, NULL, &m, NULL), 0);
	out = schema_write(machine_fields, &m);
	assert_true(json_equal(in, out));
	json_decref(in);
	json_decref(out);
}

static void
absent_names_keep_their_defaults(void **state)
{
	json_t *doc = schema_parse("{\"Name\":\"x\"}", 12, NULL);
	struct machine m = { .processor.count = 2, .secure = true, .kind = 1 };

	(void)state;
	schema_no_fds(machine_fields, &m);
	m.disk[0].read_only = true;
	assert_int_equal(schema_read(machine_fields, doc, NULL, &m, NULL), 0);
	assert_int_equal(m.processor.count, 2);
	assert_int_equal(m.kind, 1);
	assert_true(m.secure);
	json_decref(doc);

	doc = schema_parse("{\"Name\":\"x\",\"Disks\":[{\"Path\":\"p\"}]}", 35, NULL);
	assert_int_equal(schema_read(machine_fields, doc, NULL, &m, NULL), 0);
	assert_true(m.disk[0].read_only);
	json_decref(doc);
}

static void
a_shorter_string_leaves_nothing_of_the_longer_one(void **state)
{
	json_t *doc = schema_parse("{\"Name\":\"x\"}", 12, NULL);
	struct machine m = { .name = "secret-password" };
	const char zeros[15] = { 0 };

	(void)state;
	schema_no_fds(machine_fields, &m);
	assert_int_equal(schema_read(machine_fields, doc, NULL, &m, NULL), 0);
	assert_memory_equal(m.name + 1, zeros, sizeof(zeros));
	json_decref(doc);
}

static void
a_refusal_begins_with_the_path(void **state)
{
	(void)state;
	expect_refusal("\"Processor\":{\"Count\":0}", EINVAL, "Processor.Count: 0 is not between 1 and 64");
	expect_refusal("\"Processor\":{\"Count\":65}", EINVAL, "Processor.Count: 65 is not between 1 and 64");
	expect_refusal("\"Processor\":{\"Count\":-1}", EINVAL, "Processor.Count: -1 is not between 1 and 64");
	expect_refusal("\"Processor\":{}", EINVAL, "Processor.Count: missing");
	expect_refusal(
	    "\"Disks\":[{\"Path\":\"a\"},{\"Path\":\"b\",\"X\":1}]", EINVAL, "Disks[1].X: unknown name");
	expect_refusal("\"Disks\":[1]", EINVAL, "Disks[0]: not an object");
	expect_refusal("\"X\":{}", EINVAL, "X: unknown name");
}

static void
a_value_of_the_wrong_type_is_refused(void **state)
{
	static const char *const others[] = { "null", "true", "1", "1.0", "\"x\"", "[]", "{}" };
	static const struct {
		const char *name, *fits;
	} fields[] = {
		{ "Id", "" },
		{ "Processor", "" },
		{ "Kind", "" },
		{ "Secure", "true" },
		{ "Log", "" },
		{ "Disks", "[]" },
	};

	(void)state;
	for (size_t f = 0; f < sizeof(fields) / sizeof(fields[0]); f++)
		for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
			struct err e = { 0 };
			struct machine m;
			char text[128];
			int rc;

			snprintf(text, sizeof(text), "{\"Name\":\"x\",\"%s\":%s}", fields[f].name, others[i]);
			rc = read_text(text, NULL, &m, &e);
			assert_int_equal(rc == 0, strcmp(others[i], fields[f].fits) == 0);
			if (rc < 0)
				assert_memory_equal(e.msg, fields[f].name, strlen(fields[f].name));
		}
}

static void
a_document_is_an_object(void **state)
{
	static const char *const others[] = { "[]", "1", "null", "\"x\"", "[{\"Name\":\"x\"}]" };
	struct err e = { 0 };
	struct machine m;

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_int_equal(read_text(others[i], NULL, &m, &e), -EINVAL);
		assert_string_equal(e.msg, "not an object");
	}
	assert_int_equal(schema_read(machine_fields, NULL, NULL, &m, &e), -EINVAL);
}

static void
numbers_are_whole_and_fit(void **state)
{
	struct machine m;
	struct err e = { 0 };

	(void)state;
	expect_refusal("\"Processor\":{\"Count\":1.0}", EINVAL, "Processor.Count: not a whole number");
	expect_refusal("\"Processor\":{\"Count\":1e3}", EINVAL, "Processor.Count: not a whole number");
	assert_int_equal(
	    read_text("{\"Name\":\"x\",\"Processor\":{\"Count\":99999999999999999999}}", NULL, &m, &e),
	    -EBADMSG);
	assert_int_equal(
	    read_text("{\"Name\":\"x\",\"Processor\":{\"Count\":1e999}}", NULL, &m, &e), -EBADMSG);
}

static void
strings_are_bounded_and_without_control_characters(void **state)
{
	struct machine m;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(read_text("{\"Name\":\"\"}", NULL, &m, &e), -EINVAL);
	assert_string_equal(e.msg, "Name: 0 bytes long, not between 1 and 16");
	assert_int_equal(read_text("{\"Name\":\"0123456789abcdefg\"}", NULL, &m, &e), -EINVAL);
	assert_string_equal(e.msg, "Name: 17 bytes long, not between 1 and 16");
	assert_int_equal(read_text("{\"Name\":\"0123456789abcdef\"}", NULL, &m, &e), 0);
	assert_int_equal(strlen(m.name), 16);
	assert_int_equal(read_text("{\"Name\":\"a\\nb\"}", NULL, &m, &e), -EINVAL);
	assert_string_equal(e.msg, "Name: has a control character");
	assert_int_equal(read_text("{\"Name\":\"a\\u009bb\"}", NULL, &m, &e), -EINVAL);
	assert_int_equal(read_text("{\"Name\":\"a\\u007f\"}", NULL, &m, &e), -EINVAL);
	assert_int_equal(read_text("{\"Name\":\"a\\u0000b\"}", NULL, &m, &e), -EBADMSG);
}

static void
a_nul_in_a_string_made_elsewhere_is_refused(void **state)
{
	json_t *doc = json_pack("{s:s#}", "Name", "a\0b", 3);
	struct machine m = { 0 };
	struct err e = { 0 };

	(void)state;
	schema_no_fds(machine_fields, &m);
	assert_int_equal(schema_read(machine_fields, doc, NULL, &m, &e), -EINVAL);
	json_decref(doc);
	doc = json_pack("{s:s, s:s#}", "Name", "x", "Kind", "bios\0", 5);
	assert_int_equal(schema_read(machine_fields, doc, NULL, &m, &e), -EINVAL);
	json_decref(doc);
}

static void
an_unknown_name_cannot_write_on_the_terminal(void **state)
{
	(void)state;
	expect_refusal("\"a\\u001b[2Jb\":1", EINVAL, "a?[2Jb: unknown name");
	expect_refusal("\"Kind\":\"a\\nb\"", EINVAL, "Kind: 'a?b' is not one of direct, bios, uefi");
}

static void
lists_are_bounded(void **state)
{
	(void)state;
	expect_refusal("\"Disks\":[{},{},{},{},{}]", EINVAL, "Disks: 5 elements, not between 0 and 4");
}

static void
the_ends_of_a_range_belong_to_it(void **state)
{
	static const struct field number[] = {
		{ "u", FIELD_UINT, .max = UINT64_MAX, .help = "h" },
		{ .type = FIELD_END },
	};
	static const struct field list[] = {
		{ "l", FIELD_LIST, .offset = 8, .min = 1, .max = 2, .size = 8, .fields = number,
		    .help = "h" },
		{ .type = FIELD_END },
	};
	static const struct {
		const struct field *table;
		const char *text;
		int rc;
	} cases[] = {
		{ number, "{\"u\":-1}", -EINVAL },
		{ number, "{\"u\":0}", 0 },
		{ number, "{\"u\":9223372036854775807}", 0 },
		{ list, "{\"l\":[]}", -EINVAL },
		{ list, "{\"l\":[{}]}", 0 },
		{ list, "{\"l\":[{},{}]}", 0 },
		{ list, "{\"l\":[{},{},{}]}", -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t out[3] = { 0 }; /* a number, or a count and two elements */
		json_t *doc = schema_parse(cases[i].text, strlen(cases[i].text), NULL);

		assert_int_equal(schema_read(cases[i].table, doc, NULL, out, NULL), cases[i].rc);
		json_decref(doc);
	}
}

static void
a_guid_has_one_form(void **state)
{
	static const char *const wrong[] = { "", "01234567-89ab-cdef-0123-456789abcde",
		"01234567-89ab-cdef-0123-456789abcdef0", "0123456789ab-cdef-0123-456789abcdef--",
		"01234567-89ab-cdef-0123-456789abcdeg", "{1234567-89ab-cdef-0123-456789abcde}",
		"01234567_89ab-cdef-0123-456789abcdef", " 1234567-89ab-cdef-0123-456789abcdef" };
	uint8_t guid[16], again[16];
	char text[37];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(guid_parse(wrong[i], guid));
	assert_true(guid_parse("FEDCBA98-7654-3210-fedc-ba9876543210", guid));
	guid_format(guid, text);
	assert_string_equal(text, "fedcba98-7654-3210-fedc-ba9876543210");
	assert_true(guid_parse(text, again));
	assert_memory_equal(guid, again, 16);
}

static void
duplicate_names_are_refused(void **state)
{
	struct machine m;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(read_text("{\"Name\":\"x\",\"Name\":\"y\"}", NULL, &m, &e), -EBADMSG);
	assert_int_equal(e.code, EINVAL);
	assert_non_null(strstr(e.msg, "duplicate"));
}

static char *
nested(size_t depth, const char *open, const char *close, const char *middle)
{
	char *text = calloc(1, depth * (strlen(open) + strlen(close)) + strlen(middle) + 1);

	for (size_t i = 0; i < depth; i++)
		strcat(text, open);
	strcat(text, middle);
	for (size_t i = 0; i < depth; i++)
		strcat(text, close);
	return text;
}

static void
a_document_is_at_most_32_levels_deep(void **state)
{
	static const struct {
		const char *open, *close;
	} kind[] = { { "[", "]" }, { "{\"a\":", "}" } };
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		char *text = nested(SCHEMA_DEPTH_MAX, kind[i].open, kind[i].close, "1");
		json_t *doc = schema_parse(text, strlen(text), &e);

		assert_non_null(doc);
		json_decref(doc);
		free(text);
		text = nested(SCHEMA_DEPTH_MAX + 1, kind[i].open, kind[i].close, "1");
		assert_null(schema_parse(text, strlen(text), &e));
		assert_string_equal(e.msg, "nested deeper than 32 levels");
		free(text);
	}
}

static void
what_stands_side_by_side_is_not_depth(void **state)
{
	char *text = nested(50, "[],{},", "", ""), *all = nested(1, "[", "1]", text);
	json_t *doc = schema_parse(all, strlen(all), NULL);

	(void)state;
	assert_int_equal(json_array_size(doc), 101);
	json_decref(doc);
	free(text);
	free(all);
}

static void
brackets_in_a_string_are_not_depth(void **state)
{
	const char *text = "[\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"]";
	json_t *doc = schema_parse(text, strlen(text), NULL);

	(void)state;
	assert_non_null(doc);
	json_decref(doc);
}

static void
what_is_not_json_is_refused_with_its_position(void **state)
{
	static const char *const wrong[] = { "", " ", "{", "{}{}", "{} x", "{'a':1}", "{\"a\":1,}", "[1 2]",
		"nul", "01", "\"\xff\"", "\"\xc3\"", "\"\xed\xa0\x80\"", "\"\\ud800\"", "\"a\nb\"" };
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_null(schema_parse(wrong[i], strlen(wrong[i]), &e));
		assert_int_equal(e.code, EINVAL);
		assert_memory_equal(e.msg, "line ", 5);
	}
	assert_null(schema_parse("{}\0", 3, &e));
	assert_string_equal(e.msg, "holds a NUL byte");
}

static void
text_without_end_is_not_read(void **state)
{
	char *text = malloc(SCHEMA_TEXT_MAX + 1);
	struct err e = { 0 };
	json_t *doc;

	(void)state;
	memset(text, ' ', SCHEMA_TEXT_MAX + 1);
	text[0] = '1';
	doc = schema_parse(text, SCHEMA_TEXT_MAX, &e);
	assert_non_null(doc);
	json_decref(doc);
	assert_null(schema_parse(text, SCHEMA_TEXT_MAX + 1, &e));
	assert_string_equal(e.msg, "longer than 1048576 bytes");
	free(text);
}

static void
a_document_cut_anywhere_is_refused(void **state)
{
	(void)state;
	for (size_t len = 0; len < strlen(full); len++) {
		char *cut = malloc(len ? len : 1); /* exactly as long: a sanitizer sees a byte too many */

		memcpy(cut, full, len);
		assert_null(schema_parse(cut, len, NULL));
		free(cut);
	}
}

/* Fills fd[] with n descriptors. */
static struct fd_set_in
some_fds(int *fd, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fd[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return (struct fd_set_in){ .fd = fd, .n = n };
}

static bool
is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void
a_document_takes_the_descriptors_it_names(void **state)
{
	int fd[3], was[3];
	struct fd_set_in fds = some_fds(fd, 3);
	struct machine m;

	(void)state;
	memcpy(was, fd, sizeof(was));
	assert_int_equal(
	    read_text("{\"Name\":\"x\",\"Log\":2,\"Disks\":[{\"Path\":\"a\",\"Fd\":0}]}", &fds, &m, NULL), 0);
	assert_int_equal(m.log, was[2]);
	assert_int_equal(m.disk[0].fd, was[0]);
	assert_int_equal(m.disk[1].fd, -1);
	assert_int_equal(fd[0], -1);
	assert_int_equal(fd[1], was[1]);
	assert_int_equal(fd[2], -1);
	schema_close_fds(machine_fields, &m);
	assert_int_equal(m.log, -1);
	assert_int_equal(m.disk[0].fd, -1);
	assert_false(is_open(was[0]));
	assert_true(is_open(was[1]));
	assert_false(is_open(was[2]));
	close(was[1]);
}

static void
a_bad_descriptor_is_refused_and_those_taken_are_closed(void **state)
{
	static const struct {
		const char *rest, *sentence;
	} bad[] = {
		{ "\"Log\":0,\"Disks\":[{\"Path\":\"a\",\"Fd\":0}]",
		    "Disks[0].Fd: descriptor 0 is used twice" },
		{ "\"Log\":0,\"Disks\":[{\"Path\":\"a\",\"Fd\":1}]",
		    "Disks[0].Fd: no descriptor 1 came along" },
		{ "\"Log\":0,\"Disks\":[{\"Path\":\"a\",\"Fd\":-1}]",
		    "Disks[0].Fd: no descriptor -1 came along" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		int fd[1], was;
		struct fd_set_in fds = some_fds(fd, 1);
		struct machine m;
		struct err e = { 0 };
		char text[128];

		was = fd[0];
		snprintf(text, sizeof(text), "{\"Name\":\"x\",%s}", bad[i].rest);
		assert_int_equal(read_text(text, &fds, &m, &e), -EBADF);
		assert_string_equal(e.msg, bad[i].sentence);
		assert_int_equal(fd[0], -1);
		assert_false(is_open(was));
		assert_int_equal(m.log, -1);
		assert_int_equal(m.disk[0].fd, -1);
	}
	expect_refusal("\"Log\":0", EBADF, "Log: no descriptor 0 came along");
}

static void
a_failure_after_a_descriptor_closes_it(void **state)
{
	int fd[2], was[2];
	struct fd_set_in fds = some_fds(fd, 2);
	struct machine m;

	(void)state;
	memcpy(was, fd, sizeof(was));
	assert_int_equal(read_text("{\"Name\":\"x\",\"Log\":0,"
				   "\"Disks\":[{\"Path\":\"a\",\"Fd\":1},{\"Path\":\"\"}]}",
			     &fds, &m, NULL),
	    -EINVAL);
	assert_false(is_open(was[0]));
	assert_false(is_open(was[1]));
	assert_int_equal(m.log, -1);
	assert_int_equal(m.disk[0].fd, -1);
}

static void
what_no_document_may_hold_is_written_as_something_it_may(void **state)
{
	struct machine m = { .name = "a\nb\xff", .processor.count = UINT64_MAX };
	json_t *doc = schema_write(machine_fields, &m);

	(void)state;
	assert_string_equal(json_string_value(json_object_get(doc, "Name")), "a?b?");
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(doc, "Processor"), "Count")), INT64_MAX);
	json_decref(doc);
}

static void
a_string_without_end_is_written_as_far_as_its_member_goes(void **state)
{
	struct machine m = { 0 };
	json_t *doc;

	(void)state;
	memset(m.name, 'n', sizeof(m.name));
	doc = schema_write(machine_fields, &m);
	assert_int_equal(json_string_length(json_object_get(doc, "Name")), sizeof(m.name));
	json_decref(doc);
}

static const json_t *
at(const json_t *doc, const char *a, const char *b, const char *c)
{
	return json_object_get(json_object_get(json_object_get(doc, a), b), c);
}

static void
the_description_tells_types_ranges_and_help(void **state)
{
	json_t *d = schema_describe(machine_fields);
	const json_t *count = json_object_get(at(d, "properties", "Processor", "properties"), "Count");

	(void)state;
	assert_string_equal(json_string_value(json_object_get(d, "type")), "object");
	assert_true(json_is_false(json_object_get(d, "additionalProperties")));
	assert_int_equal(json_object_size(json_object_get(d, "properties")), 7);
	assert_string_equal(json_string_value(json_array_get(json_object_get(d, "required"), 0)), "Name");
	assert_int_equal(json_integer_value(json_object_get(count, "minimum")), 1);
	assert_int_equal(json_integer_value(json_object_get(count, "maximum")), 64);
	assert_string_equal(json_string_value(json_object_get(count, "description")), "Virtual processors.");
	assert_int_equal(json_array_size(at(d, "properties", "Kind", "enum")), 3);
	assert_int_equal(json_integer_value(at(d, "properties", "Name", "maxLength")), 16);
	assert_string_equal(json_string_value(at(d, "properties", "Id", "format")), "uuid");
	assert_string_equal(json_string_value(at(d, "properties", "Secure", "type")), "boolean");
	assert_int_equal(json_integer_value(at(d, "properties", "Disks", "maxItems")), 4);
	assert_string_equal(
	    json_string_value(json_object_get(at(d, "properties", "Disks", "items"), "type")), "object");
	json_decref(d);
}

/* malloc that fails once, at the n-th call. */
static size_t until_failure;

static void *
failing_malloc(size_t size)
{
	return until_failure-- == 0 ? NULL : malloc(size);
}

static void
fail_at(size_t n)
{
	until_failure = n;
	json_set_alloc_funcs(failing_malloc, free);
}

/* Without a token of 16 bytes or more: for those jansson 2.14 itself overlooks that memory is out. */
static json_t *
parse_short(void)
{
	const char *text = "{\"Name\":\"web1\",\"Processor\":{\"Count\":3},\"Disks\":[{\"Path\":\"a\"}]}";

	return schema_parse(text, strlen(text), NULL);
}

static json_t *
write_machine(void)
{
	static struct machine m;

	if (m.ndisks == 0)
		assert_int_equal(read_text(full, NULL, &m, NULL), 0);
	return schema_write(machine_fields, &m);
}

static json_t *
describe_machine(void)
{
	return schema_describe(machine_fields);
}

static void
any_allocation_may_fail_and_nothing_leaks(void **state)
{
	static json_t *(*const make[])(void) = { parse_short, write_machine, describe_machine };

	(void)state;
	for (size_t i = 0; i < sizeof(make) / sizeof(make[0]); i++) {
		json_t *whole = make[i](), *doc = NULL;
		size_t n;

		for (n = 0; !doc && n < 10000; n++) {
			fail_at(n);
			doc = make[i]();
			json_set_alloc_funcs(malloc, free);
		}
		assert_in_range(n, 10, 9999);
		assert_true(json_equal(doc, whole)); /* none is returned half made */
		json_decref(doc);
		json_decref(whole);
	}
}

static void
memory_that_is_out_is_told_as_such(void **state)
{
	struct err e = { 0 };

	(void)state;
	fail_at(0);
	assert_null(schema_parse("[1,2,3]", 7, &e));
	json_set_alloc_funcs(malloc, free);
	assert_int_equal(e.code, ENOMEM);
}

static void
a_table_that_breaks_its_own_rules_is_found(void **state)
{
	static const char *const none[] = { NULL };
	static const struct field end = { .type = FIELD_END };
	const struct field wrong[] = {
		{ NULL, FIELD_BOOL, .help = "h" },
		{ "a", FIELD_BOOL },
		{ "a", FIELD_UINT, .min = 2, .max = 1, .help = "h" },
		{ "a", FIELD_UINT, .help = "h" },
		{ "a", FIELD_STRING, .max = 8, .size = 8, .help = "h" },
		{ "a", FIELD_STRING, .size = 8, .help = "h" },
		{ "a", FIELD_ENUM, .help = "h" },
		{ "a", FIELD_ENUM, .names = none, .help = "h" },
		{ "a", FIELD_OBJECT, .help = "h" },
		{ "a", FIELD_LIST, .fields = &end, .size = 8, .help = "h" },
		{ "a", FIELD_LIST, .max = 1, .size = 8, .help = "h" },
	};
	struct err e = { 0 };

	(void)state;
	assert_true(schema_table_ok(machine_fields, &e));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const struct field table[] = { wrong[i], end };
		const struct field around[] = {
			{ "o", FIELD_OBJECT, .fields = table, .help = "h" },
			end,
		};

		assert_false(schema_table_ok(table, &e));
		assert_false(schema_table_ok(around, &e));
		assert_memory_equal(e.msg, "o: ", 3);
	}
	assert_false(schema_table_ok(
	    (const struct field[]){ { "a", FIELD_BOOL, .help = "h" }, { "a", FIELD_BOOL, .help = "h" }, end },
	    &e));
	assert_string_equal(e.msg, "a: the name is there twice");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_document_fills_the_struct),
		cmocka_unit_test(what_is_read_is_written_back_the_same),
		cmocka_unit_test(absent_names_keep_their_defaults),
		cmocka_unit_test(a_shorter_string_leaves_nothing_of_the_longer_one),
		cmocka_unit_test(a_refusal_begins_with_the_path),
		cmocka_unit_test(a_value_of_the_wrong_type_is_refused),
		cmocka_unit_test(a_document_is_an_object),
		cmocka_unit_test(numbers_are_whole_and_fit),
		cmocka_unit_test(strings_are_bounded_and_without_control_characters),
		cmocka_unit_test(a_nul_in_a_string_made_elsewhere_is_refused),
		cmocka_unit_test(an_unknown_name_cannot_write_on_the_terminal),
		cmocka_unit_test(lists_are_bounded),
		cmocka_unit_test(the_ends_of_a_range_belong_to_it),
		cmocka_unit_test(a_guid_has_one_form),
		cmocka_unit_test(duplicate_names_are_refused),
		cmocka_unit_test(a_document_is_at_most_32_levels_deep),
		cmocka_unit_test(what_stands_side_by_side_is_not_depth),
		cmocka_unit_test(brackets_in_a_string_are_not_depth),
		cmocka_unit_test(what_is_not_json_is_refused_with_its_position),
		cmocka_unit_test(text_without_end_is_not_read),
		cmocka_unit_test(a_document_cut_anywhere_is_refused),
		cmocka_unit_test(a_document_takes_the_descriptors_it_names),
		cmocka_unit_test(a_bad_descriptor_is_refused_and_those_taken_are_closed),
		cmocka_unit_test(a_failure_after_a_descriptor_closes_it),
		cmocka_unit_test(what_no_document_may_hold_is_written_as_something_it_may),
		cmocka_unit_test(a_string_without_end_is_written_as_far_as_its_member_goes),
		cmocka_unit_test(the_description_tells_types_ranges_and_help),
		cmocka_unit_test(any_allocation_may_fail_and_nothing_leaks),
		cmocka_unit_test(memory_that_is_out_is_told_as_such),
		cmocka_unit_test(a_table_that_breaks_its_own_rules_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
