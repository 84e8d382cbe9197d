/*
 * shell/help.c - overview, nouns and methods, from the catalogue.
 */
#include "shell/help.h"

#include <stdlib.h>
#include <string.h>

#include "shell/command.h"
#include "shell/out.h"
#include "shell/table.h"
#include "shell/units.h"

enum { DEFAULT_WIDTH = 80, TEXT_COLUMN = 26 };

static void
put_entry(FILE *f, const char *name, const char *text, size_t width)
{
	char *s = NULL;
	size_t size, begin = 2 + out_width(name) + 2;
	FILE *m = open_memstream(&s, &size);

	if (!m)
		return;
	out_wrapped(m, text, TEXT_COLUMN, width);
	fclose(m);
	fputs("  ", f);
	out_clean(f, name, false);
	if (begin > TEXT_COLUMN || !*s)
		fprintf(f, "\n%s", s);
	else
		fprintf(f, "%*s%s", (int)(TEXT_COLUMN - begin + 2), "", s + TEXT_COLUMN);
	free(s);
}

static void
put_nouns(FILE *f, const struct catalogue *c, size_t width)
{
	for (size_t i = 0; i < c->n;) {
		char *verbs = NULL;
		size_t size, k = i;
		FILE *m = open_memstream(&verbs, &size);

		for (; m && k < c->n && strcmp(c->op[k].noun, c->op[i].noun) == 0; k++)
			fprintf(m, "%s%s", k > i ? " " : "", c->op[k].verb);
		if (!m)
			return;
		fclose(m);
		put_entry(f, c->op[i].noun, verbs, width);
		free(verbs);
		i = k;
	}
}

static void
put_overview(FILE *f, const struct catalogue *c, size_t width)
{
	static const char intro[] =
	    "Type commands, or Lua:\n"
	    "  vm list state=Running             vm.list{state=\"Running\"}\n"
	    "  vm start web1                     vm\"web1\":start()\n"
	    "  vm create web1 memory=2G ...      vm.create{name=\"web1\", memory=\"2G\", ...}\n"
	    "  vm console web1                   for v in vms{state=\"Running\"} do print(v.name) end\n"
	    "Tab completes. A command takes --yes, --json, --what-if and --background.\n\n"
	    "What this host can do (help \"vm\", help \"vm.create\" tell more):\n";
	static const char outro[] =
	    "\nThe shell's own in Lua: call help json next_event null print_table sleep strict whatif\n"
	    "exit, or Ctrl-D, leaves.\n";

	fputs(intro, f);
	put_nouns(f, c, width);
	fputs(outro, f);
}

static void
put_noun(FILE *f, const struct catalogue *c, const char *noun, size_t width)
{
	for (size_t i = 0; i < c->n; i++)
		if (strcmp(c->op[i].noun, noun) == 0)
			put_entry(f, c->op[i].name, c->op[i].help, width);
}

/* "(MiB, 16 to 1048576, default 512)": what is known about a value. */
static void
put_range(FILE *f, const struct param *p)
{
	const json_t *min = json_object_get(p->schema, "minimum"),
		     *max = json_object_get(p->schema, "maximum");
	const char *gap = "";

	fputs(" (", f);
	if (*p->unit) {
		fprintf(f, "%s", p->unit);
		gap = ", ";
	}
	if (p->type == VALUE_BOOL) {
		fprintf(f, "%strue or false", gap);
		gap = ", ";
	}
	if (json_is_integer(min) && json_is_integer(max)) {
		fprintf(f, "%s%" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT, gap,
		    json_integer_value(min), json_integer_value(max));
		gap = ", ";
	}
	if (p->fallback) {
		char *s = table_value(p->fallback, NULL);

		fprintf(f, "%sdefault %s", gap, s ? s : "");
		free(s);
		gap = ", ";
	}
	fprintf(f, "%s%s)", gap, p->required ? "needed" : "optional");
}

static void
put_choices(FILE *f, const json_t *choices)
{
	const json_t *v;
	size_t i;

	json_array_foreach(choices, i, v)
	{
		fputs(i ? ", " : " One of ", f);
		out_clean(f, json_string_value(v), false);
	}
	if (choices)
		fputc('.', f);
}

static void
put_param(FILE *f, const struct param *p, size_t width)
{
	char *text = NULL;
	size_t size;
	FILE *m = open_memstream(&text, &size);

	if (!m)
		return;
	fputs(p->help, m);
	put_choices(m, p->choices);
	put_range(m, p);
	fclose(m);
	put_entry(f, p->name, text, width);
	free(text);
}

static void
put_usage(FILE *f, const struct operation *op)
{
	const char *dot;

	fputs("  ", f);
	for (const char *s = op->name; *s; s = dot) {
		dot = s + strcspn(s, ".");
		fprintf(f, "%.*s ", (int)(dot - s), s);
		dot += *dot == '.';
	}
	for (size_t i = 0; i < op->n_params; i++) {
		const struct param *p = &op->params[i];

		fprintf(f, p->required ? "%s " : "[%s=...] ", p->name);
	}
	fputc('\n', f);
}

static void
put_facts(FILE *f, const struct operation *op, size_t width)
{
	if (*op->role) {
		fputs("Who may: ", f);
		out_clean(f, op->role, false);
		fputs(".\n", f);
	}
	if (op->job)
		fputs("Runs as a job, which is waited for; --background leaves it.\n", f);
	if (op->destructive)
		fputs("Asks before it does anything; --yes (in Lua: confirm=true) answers.\n", f);
	if (*op->destroys) {
		fputs("With ", f);
		out_clean(f, op->destroys, false);
		fputs(" it asks before it does anything; --yes (in Lua: confirm=true) answers.\n", f);
	}
	if (op->changes)
		fputs("Changes something; --what-if tells what it would do.\n", f);
	if (*op->example) {
		fputs("\nIn Lua:\n", f);
		out_wrapped(f, op->example, 2, width);
	}
}

static void
put_errors(FILE *f, const struct operation *op, size_t width)
{
	const json_t *v;
	size_t i;

	if (json_array_size(op->errors) == 0)
		return;
	fputs("\nCan fail with:\n", f);
	json_array_foreach(op->errors, i, v)
	{
		const char *symbol = json_string_value(json_object_get(json_object_get(v, "data"), "symbol"));
		const char *message = json_string_value(json_object_get(v, "message"));

		put_entry(f, symbol ? symbol : "?", message ? message : "", width);
	}
}

static void
put_result(FILE *f, const struct operation *op, size_t width)
{
	const json_t *properties = json_object_get(op->result, "properties");
	const char *name;
	json_t *v;

	if (json_object_size(properties) == 0)
		return;
	fputs("\nAnswers:\n", f);
	json_object_foreach((json_t *)properties, name, v)
	{
		const char *s = json_string_value(json_object_get(v, "description"));

		put_entry(f, name, s ? s : "", width);
	}
}

static void
put_operation(FILE *f, const struct operation *op, size_t width)
{
	put_usage(f, op);
	out_wrapped(f, op->help, 0, width);
	if (op->n_params > 0)
		fputs("\nParameters:\n", f);
	for (size_t i = 0; i < op->n_params; i++)
		put_param(f, &op->params[i], width);
	put_result(f, op, width);
	fputc('\n', f);
	put_facts(f, op, width);
	put_errors(f, op, width);
}

/* Blanks become dots: "vm create" and "vm.create" are the same topic. */
static void
topic_name(char *out, size_t size, const char *topic)
{
	size_t n = 0;

	for (const char *s = topic; *s && n + 1 < size; s++) {
		bool blank = strchr(" \t.\"'(),", *s);

		if (!blank)
			out[n++] = *s;
		else if (n > 0 && out[n - 1] != '.')
			out[n++] = '.';
	}
	while (n > 0 && out[n - 1] == '.')
		n--;
	out[n] = '\0';
}

bool
help_write(FILE *f, const struct catalogue *c, const char *topic, size_t width)
{
	const struct operation *op;
	char name[96];

	width = width ? width : DEFAULT_WIDTH;
	topic_name(name, sizeof(name), topic);
	op = catalogue_find(c, name, strlen(name));
	if (!*name) {
		put_overview(f, c, width);
	} else if (op) {
		put_operation(f, op, width);
	} else if (catalogue_has_noun(c, name, strlen(name))) {
		put_noun(f, c, name, width);
	} else {
		fputs("This host knows nothing about '", f);
		out_clean(f, name, false);
		fputs("'; help() tells what there is.\n", f);
		return false;
	}
	return true;
}
