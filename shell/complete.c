/*
 * shell/complete.c - completion, for commands and for Lua.
 */
#include "shell/complete.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "shell/command.h"

static const char *const own_words[] = { "exit", "help", "quit", "whatif" };

void
candidates_add(struct candidates *out, const char *prefix, const char *word)
{
	if (out->n == CANDIDATES_MAX || strncmp(word, prefix, strlen(prefix)) != 0 ||
	    !text_is_clean(word, strlen(word)))
		return;
	out->word[out->n] = strdup(word);
	if (out->word[out->n])
		out->n++;
}

void
candidates_free(struct candidates *out)
{
	for (size_t i = 0; i < out->n; i++)
		free(out->word[i]);
	out->n = 0;
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
sort(struct candidates *out)
{
	size_t kept = 0;

	qsort(out->word, out->n, sizeof(out->word[0]), by_text);
	for (size_t i = 0; i < out->n; i++) {
		if (kept > 0 && strcmp(out->word[kept - 1], out->word[i]) == 0)
			free(out->word[i]);
		else
			out->word[kept++] = out->word[i];
	}
	out->n = kept;
}

/* --- what names there are ----------------------------------------------------------------------- */

/* The next part of every name that begins with path ("" or "vm."): nouns, then verbs. */
static void
add_names(struct candidates *out, const struct catalogue *c, const char *path, const char *prefix)
{
	size_t len = strlen(path);
	char part[96];

	for (size_t i = 0; i < c->n; i++) {
		const char *rest = c->op[i].name + len;

		if (strncmp(c->op[i].name, path, len) != 0)
			continue;
		snprintf(part, sizeof(part), "%.*s", (int)strcspn(rest, "."), rest);
		candidates_add(out, prefix, part);
	}
}

/* Whether p is one of the first n that were given without their names. */
static bool
given_in_order(const struct operation *op, const struct param *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (convert_positional(op, i) == p)
			return true;
	return false;
}

/* Names of parameters that are not given yet, as "name="; the first n were given in their order. */
static void
add_params(
    struct candidates *out, const struct operation *op, const char *prefix, const char *given, size_t n)
{
	char text[96], look[100];

	for (size_t i = 0; i < op->n_params; i++) {
		if (given_in_order(op, &op->params[i], n))
			continue;
		snprintf(text, sizeof(text), "%s=", op->params[i].name);
		snprintf(look, sizeof(look), " %s", text);
		if (!strstr(given, look))
			candidates_add(out, prefix, text);
	}
	out->open_ended = true;
}

/* The noun whose things a parameter names: its own name if that is a noun, "name" for its method's. */
static const char *
noun_of(const struct catalogue *c, const struct operation *op, const struct param *p)
{
	if (catalogue_verb(c, p->name, "list"))
		return p->name;
	if (strcmp(p->name, "name") == 0 && strcmp(op->verb, "create") != 0 &&
	    catalogue_verb(c, op->noun, "list"))
		return op->noun;
	return NULL;
}

static void
add_values(struct candidates *out, const struct catalogue *c, const struct operation *op,
    const struct param *p, const char *prefix, const struct name_source *names)
{
	const char *noun = noun_of(c, op, p);
	const json_t *v;
	size_t i;

	json_array_foreach(p->choices, i, v)
	{
		candidates_add(out, prefix, json_string_value(v));
	}
	if (p->type == VALUE_BOOL) {
		candidates_add(out, prefix, "true");
		candidates_add(out, prefix, "false");
	}
	if (noun && names->things)
		names->things(names->ctx, noun, prefix, out);
	else if (strcmp(p->unit, "path") == 0 && names->paths)
		names->paths(names->ctx, prefix, out);
}

/* --- commands ----------------------------------------------------------------------------------- */

static void
add_topics(struct candidates *out, const struct catalogue *c, const char *prefix)
{
	add_names(out, c, "", prefix);
	for (size_t i = 0; strchr(prefix, '.') && i < c->n; i++)
		candidates_add(out, prefix, c->op[i].name);
}

/* How many of the words first..end are values without a name. */
static size_t
count_values(const struct operation *op, const struct words *w, size_t first, size_t end)
{
	size_t n = 0;

	for (size_t i = first; i < end; i++) {
		const char *eq = strchr(w->word[i], '=');

		if (strncmp(w->word[i], "--", 2) != 0 &&
		    !(eq && operation_param(op, w->word[i], (size_t)(eq - w->word[i]))))
			n++;
	}
	return n;
}

static void
complete_arguments(struct candidates *out, const struct catalogue *c, const struct operation *op,
    const struct words *w, size_t first, size_t last, const char *line, const struct name_source *names)
{
	const char *word = w->word[last], *eq = strchr(word, '=');
	const struct param *p = eq ? operation_param(op, word, (size_t)(eq - word)) : NULL;

	if (p) {
		out->start += (size_t)(strchr(line + out->start, '=') - (line + out->start)) + 1;
		add_values(out, c, op, p, eq + 1, names);
		return;
	}
	p = convert_positional(op, count_values(op, w, first, last));
	if (p)
		add_values(out, c, op, p, word, names);
	if (out->n == 0)
		add_params(out, op, word, line, count_values(op, w, first, last));
}

/* words: those before the cursor, the last being the one under it (it may be empty). */
static void
complete_command(struct candidates *out, const struct catalogue *c, const struct words *w, const char *line,
    const struct name_source *names)
{
	size_t first = strcmp(w->word[0], "whatif") == 0 && w->n > 1 ? 1 : 0, last = w->n - 1, len = 0;
	const struct operation *op = NULL;
	char path[160] = "";

	if (strcmp(w->word[0], "help") == 0) {
		add_topics(out, c, w->word[last]);
		return;
	}
	for (size_t i = first; i < last && !op; i++) {
		int n = snprintf(path + len, sizeof(path) - len, "%s.", w->word[i]);

		if (n < 0 || (size_t)n >= sizeof(path) - len)
			return;
		len += (size_t)n;
		op = catalogue_find(c, path, len - 1);
		if (op)
			complete_arguments(out, c, op, w, i + 1, last, line, names);
	}
	if (!op)
		add_names(out, c, path, w->word[last]);
}

/* --- Lua ---------------------------------------------------------------------------------------- */

/* Where the call begins whose parentheses or braces the cursor is in; NULL when in none. */
static const char *
enclosing(const char *line, const char *cursor)
{
	int depth = 0;

	for (const char *s = cursor; s > line; s--) {
		if (strchr(")}", s[-1]))
			depth++;
		else if (strchr("({", s[-1]) && depth-- == 0)
			return s - 1;
	}
	return NULL;
}

static const char *
name_before(const char *line, const char *end)
{
	const char *s = end;

	while (s > line && (isalnum((unsigned char)s[-1]) || s[-1] == '_' || s[-1] == '.'))
		s--;
	return s;
}

/* In vm.create{...}: the method whose table this is. */
static const struct operation *
enclosing_call(const struct catalogue *c, const char *line, const char *cursor)
{
	const char *open = enclosing(line, cursor), *name;

	if (open && open > line && *open == '{' && open[-1] == '(') /* vm.create({...}) */
		open--;
	if (!open)
		return NULL;
	name = name_before(line, open);
	return catalogue_find(c, name, (size_t)(open - name));
}

/* Within quotes: a value of the parameter named before them, or the first one of the call. */
static void
complete_string(struct candidates *out, const struct catalogue *c, const char *line, const char *quote,
    const char *prefix, const struct name_source *names)
{
	const char *end = quote, *name;
	const struct operation *op;
	const struct param *p;
	char noun[96];

	while (end > line && end[-1] == ' ')
		end--;
	if (end > line && end[-1] == '=') {
		op = enclosing_call(c, line, quote);
		for (end--; end > line && end[-1] == ' ';)
			end--;
		name = name_before(line, end);
		p = op ? operation_param(op, name, (size_t)(end - name)) : NULL;
		if (p)
			add_values(out, c, op, p, prefix, names);
		return;
	}
	if (end > line && end[-1] == '(')
		end--;
	name = name_before(line, end);
	snprintf(noun, sizeof(noun), "%.*s", (int)(end - name), name);
	op = catalogue_find(c, noun, strlen(noun));
	p = op ? convert_positional(op, 0) : NULL;
	if (p)
		add_values(out, c, op, p, prefix, names);
	else if (strcmp(noun, "help") == 0)
		add_topics(out, c, prefix);
	else if (catalogue_verb(c, noun, "list") && names->things) /* vm"web1" */
		names->things(names->ctx, noun, prefix, out);
}

/* Behind vm"web1": what can be done with it. */
static void
complete_handle(struct candidates *out, const struct catalogue *c, const char *line, const char *colon,
    const char *prefix)
{
	const char *s = colon, *name;
	char noun[96], path[100];

	if (s > line && s[-1] == ')')
		s--;
	if (s > line && strchr("\"'", s[-1])) {
		char quote = *--s;

		while (s > line && s[-1] != quote)
			s--;
		if (s > line)
			s--;
	}
	if (s > line && s[-1] == '(')
		s--;
	name = name_before(line, s);
	snprintf(noun, sizeof(noun), "%.*s", (int)(s - name), name);
	snprintf(path, sizeof(path), "%s.", noun);
	if (catalogue_has_noun(c, noun, strlen(noun)))
		add_names(out, c, path, prefix);
}

/* The quotation mark that is open at the cursor, or NULL. */
static const char *
open_quote(const char *line, const char *cursor)
{
	const char *open = NULL;

	for (const char *s = line; s < cursor; s++) {
		if (open && *s == '\\')
			s++;
		else if (open && *s == *open)
			open = NULL;
		else if (!open && (*s == '"' || *s == '\''))
			open = s;
	}
	return open;
}

static void
complete_lua(struct candidates *out, const struct catalogue *c, const char *line, const char *cursor,
    const struct name_source *names)
{
	const char *quote = open_quote(line, cursor), *name = name_before(line, cursor), *dot = NULL;
	const struct operation *op = enclosing_call(c, line, cursor);
	char path[160], prefix[160];

	if (quote) {
		out->start = (size_t)(quote + 1 - line);
		snprintf(prefix, sizeof(prefix), "%.*s", (int)(cursor - quote - 1), quote + 1);
		complete_string(out, c, line, quote, prefix, names);
		return;
	}
	for (const char *s = name; s < cursor; s++)
		if (*s == '.')
			dot = s + 1;
	snprintf(path, sizeof(path), "%.*s", (int)((dot ? dot : name) - name), name);
	snprintf(prefix, sizeof(prefix), "%.*s", (int)(cursor - (dot ? dot : name)), dot ? dot : name);
	out->start = (size_t)((dot ? dot : name) - line);
	if (!dot && name > line && name[-1] == ':') {
		complete_handle(out, c, line, name - 1, prefix);
	} else if (op && !dot) {
		add_params(out, op, prefix, line, 0);
	} else {
		add_names(out, c, path, prefix);
		if (!dot && names->globals)
			names->globals(names->ctx, prefix, out);
	}
}

void
complete(struct candidates *out, const struct catalogue *c, const char *line, size_t cursor,
    const struct name_source *names)
{
	struct words w;
	bool plain;

	*out = (struct candidates){ .start = cursor };
	if (!words_split(&w, line, cursor)) {
		words_free(&w);
		return;
	}
	/* Behind a blank a new word begins. */
	if (!w.too_many && w.n < WORDS_MAX && !w.open_quote &&
	    (w.n == 0 || strchr(" \t", line[cursor - 1]))) {
		w.at[w.n] = cursor;
		w.word[w.n++] = strdup("");
	}
	plain = w.n > 1 && (strcmp(w.word[0], "help") == 0 || strcmp(w.word[0], "whatif") == 0 ||
			       command_is(c, line) || (w.n == 2 && !*w.word[1]));
	if (w.n == 1 && !strpbrk(line, "\"'(){}.:=") && w.word[0]) {
		out->start = w.at[0];
		add_names(out, c, "", w.word[0]);
		for (size_t i = 0; i < sizeof(own_words) / sizeof(own_words[0]); i++)
			candidates_add(out, w.word[0], own_words[i]);
		if (names->globals)
			names->globals(names->ctx, w.word[0], out);
	} else if (plain && w.word[w.n - 1]) {
		out->start = w.at[w.n - 1];
		complete_command(out, c, &w, line, names);
	} else {
		char *part = strndup(line, cursor);

		if (part)
			complete_lua(out, c, part, part + cursor, names);
		free(part);
	}
	words_free(&w);
	sort(out);
}
