/*
 * shell/convert.h - what people and scripts give for parameters, made what the schema asks for:
 * "2G" where MiB are counted, "yes" for true, a name in any case for one of a choice.
 */
#ifndef SHELL_CONVERT_H
#define SHELL_CONVERT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "shell/catalogue.h"

enum { WHY_SIZE = 240 };

/* What is wrong with how something was called, before the host was asked: the user's mistake. */
struct usage {
	char message[WHY_SIZE]; /* one sentence */
	char path[96];          /* the parameter, or "" */
	char hint[WHY_SIZE];
};

/* A word that was typed for p: a new reference, or NULL with *u. */
json_t *convert_text(const struct param *p, const char *text, struct usage *u);
/* A value that a script gave for p (reference taken): a new reference, or NULL with *u. */
json_t *convert_value(const struct param *p, json_t *v, struct usage *u);
/*
 * A whole object of parameters, converted in place. Unknown names and missing parameters are told, a
 * member "_" is left alone. Secrets may be missing: the caller asks for them.
 */
bool convert_params(const struct operation *op, json_t *params, struct usage *u);
/* The n-th parameter that may be given without its name, or NULL: the required ones in their order, then
 * those that say so; the first optional one where there is neither. */
const struct param *convert_positional(const struct operation *op, size_t n);
/* Fills u: "vm.create: memory: ..."; always false, for return. */
bool usage_set(struct usage *u, const char *path, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
