/*
 * shell/out.h - text for a terminal: cleaned of what a host may have put into it, measured in columns.
 */
#ifndef SHELL_OUT_H
#define SHELL_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Writes s with every control character replaced; line feeds pass where lines is set. */
void out_clean(FILE *f, const char *s, bool lines);
/* How many columns s takes; what is not printable counts as one. */
size_t out_width(const char *s);
/* s cut to at most `width` columns, the last being an ellipsis if anything was cut: malloc, or NULL. */
char *out_cut(const char *s, size_t width);
/* Columns of the terminal at fd, or 0 when it is none. */
size_t out_columns(int fd);
/* Writes s, cleaned, in lines of at most `width` columns that begin with `indent` spaces. */
void out_wrapped(FILE *f, const char *s, size_t indent, size_t width);

#endif
