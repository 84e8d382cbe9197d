/*
 * shell/table.h - answers as people read them: lists as aligned tables fitted to the terminal, objects
 * as lines of key and value, humane units. The schema of the answer gives order and units; what the
 * host sends beside it is shown, too.
 */
#ifndef SHELL_TABLE_H
#define SHELL_TABLE_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

/* A list of objects. schema: of one element, or NULL. width: columns there are; 0: no limit. */
void table_list(FILE *f, const json_t *list, const json_t *schema, size_t width);
/* An object, one member a line; lists of objects in it follow as tables. */
void table_object(FILE *f, const json_t *object, const json_t *schema, size_t width);
/* Any answer: a list alone in its object is shown as that list. */
void table_answer(FILE *f, const json_t *answer, const json_t *schema, size_t width);
/* One value in one line: malloc, or NULL. */
char *table_value(const json_t *v, const json_t *schema);

#endif
