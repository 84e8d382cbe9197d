/*
 * tests/fuzz/schema_table.h - a table with a field of every type, for the fuzz targets of lib/.
 */
#ifndef TESTS_FUZZ_SCHEMA_TABLE_H
#define TESTS_FUZZ_SCHEMA_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/schema.h"

struct thing {
	bool b;
	uint64_t u;
	char s[9];
	uint8_t g[16];
	unsigned e;
};

struct fuzzed {
	struct thing thing;
	int fd;
	struct {
		int fd;
		uint64_t n;
	} inner;
	struct element {
		int fd;
		char s[5];
		struct thing deep[2];
		size_t ndeep;
	} list[3];
	size_t nlist;
};

static const char *const thing_names[] = { "red", "green", "blue", NULL };

static const struct field thing_fields[] = {
	{ "b", FIELD_BOOL, .help = "Bool.", FIELD_AT(thing, b) },
	{ "u", FIELD_UINT, .help = "Number.", .min = 3, .max = INT64_MAX, FIELD_AT(thing, u) },
	{ "s", FIELD_STRING, .help = "Text.", .max = 8, .size = 9, FIELD_AT(thing, s) },
	{ "g", FIELD_GUID, .help = "GUID.", FIELD_AT(thing, g) },
	{ "e", FIELD_ENUM, .help = "Name.", .names = thing_names, FIELD_AT(thing, e) },
	{ .type = FIELD_END },
};

static const struct field inner_fields[] = {
	{ "fd", FIELD_FD, .help = "File.", FIELD_AT(fuzzed, inner.fd) },
	{ "n", FIELD_UINT, .help = "Number.", .max = 64, FIELD_AT(fuzzed, inner.n) },
	{ .type = FIELD_END },
};

static const struct field element_fields[] = {
	{ "s", FIELD_STRING, true, .help = "Text.", .min = 1, .max = 4, .size = 5, FIELD_AT(element, s) },
	{ "fd", FIELD_FD, .help = "File.", FIELD_AT(element, fd) },
	{ "deep", FIELD_LIST, .help = "Things.", .max = 2, .size = sizeof(struct thing),
	    .fields = thing_fields, .count_offset = offsetof(struct element, ndeep),
	    FIELD_AT(element, deep) },
	{ .type = FIELD_END },
};

static const struct field fuzzed_fields[] = {
	{ "thing", FIELD_OBJECT, .help = "Thing.", .fields = thing_fields, FIELD_AT(fuzzed, thing) },
	{ "fd", FIELD_FD, .help = "File.", FIELD_AT(fuzzed, fd) },
	{ "inner", FIELD_OBJECT, .help = "More.", .fields = inner_fields },
	{ "list", FIELD_LIST, .help = "Elements.", .max = 3, .size = sizeof(struct element),
	    .fields = element_fields, .count_offset = offsetof(struct fuzzed, nlist),
	    FIELD_AT(fuzzed, list) },
	{ .type = FIELD_END },
};

#endif
