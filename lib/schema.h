/*
 * lib/schema.h - JSON documents described by tables.
 *
 * One table says what a JSON object may hold: names, types, ranges, help, and where each value goes
 * in a C struct. It is read by schema_read (document to struct, everything checked), schema_write
 * (struct to document) and schema_describe (the table as JSON Schema, for help and manuals), so the
 * three cannot drift apart. Configuration files, control requests and RPC methods all use it.
 *
 * The document is untrusted: an unknown name, a wrong type or a number out of range is refused with
 * one sentence that begins with the path: "Processor.Count: 0 is not between 1 and 64".
 */
#ifndef LIB_SCHEMA_H
#define LIB_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

enum field_type {
	FIELD_END,     /* ends a table */
	FIELD_BOOL,    /* bool */
	FIELD_UINT,    /* uint64_t, within min..max; a document cannot hold more than 2^63 - 1 */
	FIELD_STRING,  /* char[size], UTF-8 without control characters, min..max bytes, max < size */
	FIELD_GUID,    /* uint8_t[16], written as "01234567-89ab-...", stored in the order written */
	FIELD_ENUM,    /* unsigned: index into names[] */
	FIELD_FD,      /* int: the document gives an index into the descriptors that came with the message */
	FIELD_OBJECT,  /* a struct at offset, described by fields */
	FIELD_LIST,    /* array of structs of `size` bytes at offset, min..max elements, their number in a
			  size_t at count_offset, each described by fields */
	FIELD_STRINGS, /* array of char[size] at offset, each 1..size - 1 bytes and clean as in FIELD_STRING,
			  min..max elements, their number in a size_t at count_offset */
	FIELD_JSON,    /* json_t *: any value, borrowed from the document when read, shared when written;
			  NULL when absent */
};

struct field {
	const char *name;
	enum field_type type;
	bool required;
	size_t offset;
	uint64_t min, max;
	size_t size;
	size_t count_offset;
	const char *const *names;   /* FIELD_ENUM: NULL-terminated */
	const struct field *fields; /* FIELD_OBJECT, FIELD_LIST */
	const char *help;           /* one sentence */
	const char *unit; /* "MiB", "s", "bytes", "path", "address"; what a number or text counts or names,
			     described as "x-unit"; may be NULL */
	bool secret;      /* a password: never logged, described as "writeOnly" */
};

/* Where the value of a row goes: { "Count", FIELD_UINT, FIELD_AT(processor, count), .min = 1, .max = 64 }. */
#define FIELD_AT(s, m) .offset = offsetof(struct s, m)

/* Descriptors that came with a document. A slot that the document uses is taken (set to -1); what is
 * left belongs to the caller, who closes it. A descriptor is taken once at most. */
struct fd_set_in {
	int *fd;
	size_t n;
};

enum {
	SCHEMA_DEPTH_MAX = 32,         /* of arrays and objects in each other */
	SCHEMA_TEXT_MAX = 1024 * 1024, /* bytes of a document */
	SCHEMA_DOCUMENT_FDS =
	    128, /* what FIELD_FD is described as being below of: an image and 127 parents */
};

/*
 * Reads doc into out, which the caller has filled with defaults; names that are absent keep them.
 * fds may be NULL. On failure returns -EINVAL (-EBADF for a bad descriptor index) with the sentence,
 * and every descriptor that had been taken is closed; out is then unspecified but holds no descriptor.
 * FIELD_FD members must be -1 by default. An element of a list keeps the defaults of its slot.
 */
int schema_read(const struct field *table, json_t *doc, struct fd_set_in *fds, void *out, struct err *e);
/*
 * A new reference, or NULL when memory is out. FIELD_FD members are left out, characters that no
 * document may hold become '?', numbers above 2^63 - 1 become that.
 */
json_t *schema_write(const struct field *table, const void *in);
/* The table as a JSON Schema object: a new reference, or NULL. */
json_t *schema_describe(const struct field *table);
/* Sets every FIELD_FD member of a zeroed struct to -1, those of all list slots too. */
void schema_no_fds(const struct field *table, void *out);
/* Closes every descriptor that a struct holds and sets its member to -1. */
void schema_close_fds(const struct field *table, void *out);
/*
 * Text to document, bounded: at most SCHEMA_TEXT_MAX bytes, SCHEMA_DEPTH_MAX levels, no duplicate
 * names, no NUL. Any JSON value is a document. A new reference, or NULL with e->code EINVAL or ENOMEM.
 */
json_t *schema_parse(const char *text, size_t len, struct err *e);
/* Whether a table keeps its own rules (every row has help, room for what it admits, ...); for tests. */
bool schema_table_ok(const struct field *table, struct err *e);

#endif
