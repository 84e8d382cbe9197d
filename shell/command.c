/*
 * shell/command.c - commands as people type them.
 */
#include "shell/command.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char blanks[] = " \t\r\n";

/* Copies the word at *s, without quotes and backslashes: malloc, or NULL. */
static char *
unquote(const char **s, const char *end, bool *open_quote)
{
	char *out = strndup(*s, (size_t)(end - *s)), *o = out, quote = '\0';

	for (; out && *s < end; (*s)++) {
		if (!quote && strchr(blanks, **s))
			break;
		if (quote ? **s == quote : **s == '"' || **s == '\'') {
			quote = quote ? '\0' : **s;
			continue;
		}
		if (**s == '\\' && quote != '\'' && *s + 1 < end)
			(*s)++;
		*o++ = **s;
	}
	if (out)
		*o = '\0';
	*open_quote = quote != '\0';
	return out;
}

bool
words_split(struct words *w, const char *line, size_t len)
{
	const char *s = line, *end = line + strnlen(line, len);

	memset(w, 0, sizeof(*w));
	for (;;) {
		while (s < end && strchr(blanks, *s))
			s++;
		if (s == end)
			return true;
		if (w->n == WORDS_MAX) {
			w->too_many = true;
			return true;
		}
		w->at[w->n] = (size_t)(s - line);
		w->word[w->n] = unquote(&s, end, &w->open_quote);
		if (!w->word[w->n])
			return false;
		w->n++;
	}
}

void
words_free(struct words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->word[i]);
	w->n = 0;
}

/* Words of Lua that can stand behind a name. */
static bool
is_lua_word(const char *s, size_t len)
{
	static const char *const words[] = { "and", "or", "then", "do", "end", "else", "elseif", "until" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strlen(words[i]) == len && strncmp(words[i], s, len) == 0)
			return true;
	return false;
}

static size_t
name_len(const char *s)
{
	size_t n = 0;

	while (isalnum((unsigned char)s[n]) || s[n] == '_')
		n++;
	return n;
}

/* "nic vlan set" has the noun nic.vlan, "nic" alone is none: the first word of a noun will do. */
static bool
begins_noun(const struct catalogue *c, const char *word, size_t len)
{
	for (size_t i = 0; i < c->n; i++)
		if (strncmp(c->op[i].name, word, len) == 0 && c->op[i].name[len] == '.')
			return true;
	return false;
}

bool
command_is(const struct catalogue *c, const char *line)
{
	size_t len, more;

	line += strspn(line, blanks);
	len = name_len(line);
	if (len == 6 && strncmp(line, "whatif", 6) == 0) {
		line += len + strspn(line + len, blanks);
		len = name_len(line);
	}
	if (len == 0 || !begins_noun(c, line, len) || !strchr(" \t", line[len]) || !line[len])
		return false;
	line += len + strspn(line + len, blanks);
	more = name_len(line);
	/* "vm = 5" and "vm .list" are Lua; "vm x = 5" is neither, and better told about as a command. */
	return more > 0 && !isdigit((unsigned char)*line) && !is_lua_word(line, more);
}

static bool
no_such_verb(const struct catalogue *c, const struct words *w, size_t first, struct usage *u)
{
	const char *noun = w->word[first], *near;
	char hint[WHY_SIZE];

	if (w->n == first + 1)
		return usage_set(u, "", "help lists what there is.", "%s: what about it?", noun);
	near = catalogue_nearest_verb(c, noun, w->word[first + 1]);
	if (near)
		snprintf(hint, sizeof(hint), "Did you mean %s %s?", noun, near);
	else
		snprintf(hint, sizeof(hint), "help \"%s\" lists what there is.", noun);
	return usage_set(u, "", hint, "there is no command '%s %s'", noun, w->word[first + 1]);
}

/* The operation with the longest name that the words begin with; *used counts its words. */
static const struct operation *
find_operation(const struct catalogue *c, const struct words *w, size_t first, size_t *used)
{
	const struct operation *best = NULL, *op;
	char name[128] = "";
	size_t len = 0;

	for (size_t i = first; i < w->n && i < first + 5; i++) {
		int n = snprintf(name + len, sizeof(name) - len, "%s%s", len ? "." : "", w->word[i]);

		if (n < 0 || (size_t)n >= sizeof(name) - len)
			break;
		len += (size_t)n;
		op = catalogue_find(c, name, len);
		if (op) {
			best = op;
			*used = i + 1 - first;
		}
	}
	return best;
}

static bool
take_flag(struct command *cmd, const char *word, struct usage *u)
{
	const struct {
		const char *name;
		bool *flag;
	} flags[] = {
		{ "--yes", &cmd->yes },
		{ "--json", &cmd->json },
		{ "--what-if", &cmd->what_if },
		{ "--background", &cmd->background },
	};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (strcmp(flags[i].name, word) == 0)
			return *flags[i].flag = true;
	return usage_set(
	    u, word, "There are --yes, --json, --what-if and --background.", "no option %s", word);
}

static bool
put_value(struct command *cmd, const struct param *p, const char *text, struct usage *u)
{
	json_t *v;

	if (json_object_get(cmd->params, p->name))
		return usage_set(u, p->name, NULL, "%s: %s is there twice", cmd->op->name, p->name);
	v = convert_text(p, text, u);
	if (!v) {
		char message[WHY_SIZE];

		memcpy(message, u->message, sizeof(message));
		snprintf(u->message, sizeof(u->message), "%s: %.180s", cmd->op->name, message);
		return false;
	}
	return json_object_set_new(cmd->params, p->name, v) == 0;
}

/* name=value; a value that holds '=' itself is one when no parameter has that name. */
static const struct param *
named(const struct operation *op, const char *word, const char **value)
{
	size_t len = name_len(word);

	if (len == 0 || word[len] != '=')
		return NULL;
	*value = word + len + 1;
	return operation_param(op, word, len);
}

static bool
take_word(struct command *cmd, const char *word, size_t *position, struct usage *u)
{
	const char *value = NULL;
	const struct param *p = named(cmd->op, word, &value);

	if (p)
		return put_value(cmd, p, value, u);
	if (value && strncmp(word, "confirm=", 8) == 0)
		return cmd->yes = strcmp(value, "true") == 0 || strcmp(value, "yes") == 0, true;
	while ((p = convert_positional(cmd->op, *position)) && json_object_get(cmd->params, p->name))
		++*position; /* given by name already */
	if (value && (!p || p->type != VALUE_STRING || p->unit[0])) {
		char name[64], hint[WHY_SIZE];
		const char *near;

		snprintf(name, sizeof(name), "%.*s", (int)name_len(word), word);
		near = operation_nearest_param(cmd->op, name);
		snprintf(hint, sizeof(hint), near ? "Did you mean %s?" : "See help \"%s\".",
		    near ? near : cmd->op->name);
		return usage_set(u, name, hint, "%s has no parameter '%s'", cmd->op->name, name);
	}
	if (!p)
		return usage_set(u, "", "Write NAME=VALUE; help lists the names.", "%s: what is '%s'?",
		    cmd->op->name, word);
	++*position;
	return put_value(cmd, p, word, u);
}

static bool
take_words(struct command *cmd, const struct words *w, size_t from, struct usage *u)
{
	size_t position = 0;

	for (size_t i = from; i < w->n; i++) {
		const char *word = w->word[i];
		bool ok = true;

		if (strcmp(word, "&") == 0 && i + 1 == w->n)
			cmd->background = true;
		else if (strncmp(word, "--", 2) == 0)
			ok = take_flag(cmd, word, u);
		else
			ok = take_word(cmd, word, &position, u);
		if (!ok)
			return false;
	}
	return true;
}

static bool
parse_words(struct command *cmd, const struct catalogue *c, const struct words *w, struct usage *u)
{
	size_t first = w->n > 0 && strcmp(w->word[0], "whatif") == 0 ? 1 : 0, used = 0;

	if (w->open_quote)
		return usage_set(u, "", NULL, "a quotation mark is missing at the end");
	if (w->too_many)
		return usage_set(u, "", NULL, "more than %d words", WORDS_MAX);
	if (w->n <= first)
		return usage_set(u, "", "help lists what there is.", "an empty command");
	cmd->what_if = first == 1;
	cmd->op = find_operation(c, w, first, &used);
	if (!cmd->op)
		return no_such_verb(c, w, first, u);
	cmd->params = json_object();
	if (!cmd->params || !take_words(cmd, w, first + used, u))
		return false;
	return convert_params(cmd->op, cmd->params, u);
}

bool
command_parse(struct command *cmd, const struct catalogue *c, const char *line, struct usage *u)
{
	struct words w;
	bool ok;

	memset(cmd, 0, sizeof(*cmd));
	memset(u, 0, sizeof(*u));
	ok = words_split(&w, line, strlen(line)) || usage_set(u, "", NULL, "out of memory");
	ok = ok && parse_words(cmd, c, &w, u);
	words_free(&w);
	return ok;
}

void
command_free(struct command *cmd)
{
	json_decref(cmd->params);
	cmd->params = NULL;
}

/* --- in Lua ------------------------------------------------------------------------------------- */

static void
put_string(FILE *f, const char *s)
{
	fputc('"', f);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fprintf(f, "\\%c", *s);
		else if ((unsigned char)*s < ' ' || *s == 0x7f)
			fprintf(f, "\\x%02x", (unsigned char)*s);
		else
			fputc(*s, f);
	}
	fputc('"', f);
}

static void put_lua(FILE *f, const json_t *v);

static void
put_members(FILE *f, const json_t *object, const struct operation *op)
{
	const char *name, *gap = "";
	json_t *v;

	json_object_foreach((json_t *)object, name, v)
	{
		const struct param *p = op ? operation_param(op, name, strlen(name)) : NULL;

		if (name_len(name) == strlen(name) && !isdigit((unsigned char)*name))
			fprintf(f, "%s%s=", gap, name);
		else {
			fprintf(f, "%s[", gap);
			put_string(f, name);
			fputs("]=", f);
		}
		if (p && p->secret)
			fputs("\"...\"", f);
		else
			put_lua(f, v);
		gap = ", ";
	}
}

static void
put_lua(FILE *f, const json_t *v)
{
	const json_t *el;
	size_t i;

	switch (json_typeof(v)) {
	case JSON_STRING:
		put_string(f, json_string_value(v));
		break;
	case JSON_INTEGER:
		fprintf(f, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
		break;
	case JSON_REAL:
		fprintf(f, "%.17g", json_real_value(v));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		fputs(json_is_true(v) ? "true" : "false", f);
		break;
	case JSON_NULL:
		fputs("null", f);
		break;
	case JSON_ARRAY:
		fputc('{', f);
		json_array_foreach(v, i, el)
		{
			fputs(i ? ", " : "", f);
			put_lua(f, el);
		}
		fputc('}', f);
		break;
	case JSON_OBJECT:
		fputc('{', f);
		put_members(f, v, NULL);
		fputc('}', f);
		break;
	}
}

char *
command_as_lua(const struct operation *op, const json_t *params)
{
	const struct param *only = json_object_size(params) == 1 ? convert_positional(op, 0) : NULL;
	const json_t *v = only ? json_object_get(params, only->name) : NULL;
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	fputs(op->name, f);
	if (json_object_size(params) == 0) {
		fputs("()", f);
	} else if (v && !json_is_object(v) && !json_is_array(v) && !only->secret) {
		fputc('(', f);
		put_lua(f, v);
		fputc(')', f);
	} else {
		fputc('{', f);
		put_members(f, params, op);
		fputc('}', f);
	}
	fclose(f);
	return text;
}
