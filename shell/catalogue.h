/*
 * shell/catalogue.h - what the connected host can be asked, from its rpc.discover. Commands, bindings,
 * help and completion all come from here, so a newer host simply has more.
 *
 * The document is the host's and untrusted: what is no method is left out, texts may hold anything and
 * are cleaned where they are shown. One thread.
 */
#ifndef SHELL_CATALOGUE_H
#define SHELL_CATALOGUE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum value_type {
	VALUE_ANY,
	VALUE_BOOL,
	VALUE_INTEGER,
	VALUE_NUMBER,
	VALUE_STRING,
	VALUE_LIST,
	VALUE_OBJECT
};

/* A parameter. Texts are borrowed from the document and never NULL; "" when it has none. */
struct param {
	const char *name, *help, *unit; /* unit: "MiB", "s", ... */
	enum value_type type;
	bool required, secret;
	bool positional;        /* may be given without its name, behind the required ones */
	const json_t *schema;   /* an object */
	const json_t *choices;  /* array of strings, or NULL */
	const json_t *fallback; /* the default, or NULL */
};

struct operation {
	const char *name; /* "vm.create" */
	char *noun;       /* "vm" */
	const char *verb; /* "create", within name */
	const char *help, *example, *role;
	bool changes, job, destructive;
	const char *destroys; /* name of a parameter that makes it destructive when it is true; "" */
	struct param *params;
	size_t n_params;
	const json_t *result; /* JSON schema of the answer, or NULL */
	const json_t *errors; /* array, or NULL */
};

struct catalogue {
	json_t *doc;
	struct operation *op; /* sorted by name */
	size_t n;
};

enum { CATALOGUE_MAX = 2000, PARAMS_MAX = 100 }; /* of a document; more are left out */

/* Takes the reference of doc. False (and *c empty) when memory is out or it holds no method at all. */
bool catalogue_read(struct catalogue *c, json_t *doc);
void catalogue_free(struct catalogue *c);

/* NULL when there is none. name need not be terminated. */
const struct operation *catalogue_find(const struct catalogue *c, const char *name, size_t len);
const struct operation *catalogue_verb(const struct catalogue *c, const char *noun, const char *verb);
bool catalogue_has_noun(const struct catalogue *c, const char *noun, size_t len);
const struct param *operation_param(const struct operation *op, const char *name, size_t len);
/* The parameter that tells which object is meant: the noun's own name, or "name". NULL: there is none. */
const struct param *operation_identity(const struct operation *op);
/* What of all names comes nearest to a mistyped one, or NULL. */
const char *catalogue_nearest_verb(const struct catalogue *c, const char *noun, const char *typed);
const char *operation_nearest_param(const struct operation *op, const char *typed);
/* How many letters must change to make one of the other; for suggestions. */
size_t edit_distance(const char *a, const char *b);

#endif
