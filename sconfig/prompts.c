/*
 * sconfig/prompts.c - the menu as questions and answers.
 */
#include "sconfig/prompts.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "sconfig/checks.h"
#include "sconfig/pages.h"

enum { LIST_MOST = 40 /* choices shown at once; more are found by typing a part */ };

/* What a line may be, beside an answer. */
enum reply { REPLY_TEXT, REPLY_HELP, REPLY_BACK, REPLY_EOF };

__attribute__((format(printf, 2, 3))) static void
say(struct prompts *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(p->out, fmt, ap);
	va_end(ap);
}

static void
say_error(struct prompts *p, const struct rpc_error *e)
{
	char text[REASON_SIZE];

	link_error_text(e, text, sizeof(text));
	say(p, "! %s\n", text);
}

/* One line without its end; false at the end of the input. Ctrl-C is like going back. */
static bool
read_line(struct prompts *p, char *out, size_t size)
{
	size_t len;

	fflush(p->out);
	errno = 0;
	if (!fgets(out, (int)size, p->in)) {
		bool interrupted = errno == EINTR && !feof(p->in);

		clearerr(p->in);
		snprintf(out, size, ".");
		if (interrupted)
			say(p, "\n");
		return interrupted;
	}
	len = strlen(out);
	if (len && out[len - 1] != '\n')
		for (int c = 0; c != '\n' && c != EOF;)
			c = fgetc(p->in);
	out[strcspn(out, "\r\n")] = '\0';
	text_clean(out);
	return true;
}

static void
run_shell(struct prompts *p)
{
	struct rpc_error e = { 0 };

	if (p->terminal && p->terminal->shell(p->terminal->ctx, &e) < 0)
		say_error(p, &e);
}

/* Asks until there is an answer; ! is seen to here. */
static enum reply
ask(struct prompts *p, const char *question, const char *standard, char *out, size_t size)
{
	for (;;) {
		bool bracket = standard && standard[0];

		say(p, "%s%s%s%s ", question, bracket ? " [" : "", bracket ? standard : "",
		    bracket ? "]" : "");
		if (!read_line(p, out, size))
			return REPLY_EOF;
		if (strcmp(out, "!") != 0)
			break;
		run_shell(p);
	}
	if (strcmp(out, "?") == 0)
		return REPLY_HELP;
	return strcmp(out, ".") == 0 ? REPLY_BACK : REPLY_TEXT;
}

static bool
ask_yes(struct prompts *p, const char *question, bool standard)
{
	char line[16];
	enum reply r;

	do
		r = ask(p, question, standard ? "yes" : "no", line, sizeof(line));
	while (r == REPLY_HELP);
	if (r != REPLY_TEXT)
		return false;
	return line[0] ? tolower((unsigned char)line[0]) == 'y' : standard;
}

/* Waits for a job, with a line for each new phase. */
static void
wait_job(struct prompts *p, const char *what, const char *job)
{
	say(p, "%s: ", what);
	fflush(p->out);
	for (;;) {
		struct rpc_error e;
		json_t *answer = NULL, *about;
		const char *state, *why;

		if (link_call(p->link, "job.wait", json_pack("{s:s,s:i}", "job", job, "timeout", 10), &answer,
			&e) < 0) {
			say_error(p, &e);
			return;
		}
		about = json_is_object(json_object_get(answer, "job")) ? json_object_get(answer, "job")
								       : answer;
		state = json_string_value(json_object_get(about, "state"));
		why = json_string_value(json_object_get(json_object_get(about, "error"), "message"));
		if (state && job_has_ended(state)) {
			if (strcmp(state, "Exception") == 0)
				say(p, "! %s\n", why ? why : "failed.");
			else
				say(p, "%s.\n", strcmp(state, "Completed") == 0 ? "done" : "cancelled");
			json_decref(answer);
			return;
		}
		say(p, ".");
		fflush(p->out);
		json_decref(answer);
	}
}

static void
show_choices(struct prompts *p, const struct choice *choices, size_t n, const char *part)
{
	size_t shown = 0;

	for (size_t i = 0; choices && i < n; i++) {
		if (!strcasestr(choices[i].value, part))
			continue;
		if (shown++ < LIST_MOST)
			say(p, "  %3zu) %s%s%s\n", i + 1, choices[i].value, choices[i].label[0] ? "   " : "",
			    choices[i].label);
	}
	if (shown > LIST_MOST)
		say(p, "  ... and %zu more: type a part of the name to see fewer.\n", shown - LIST_MOST);
}

/* An answer to a choice: its number, itself, or the only one that has it as a part. NULL: none. */
static const struct choice *
find_choice(const struct choice *choices, size_t n, const char *text)
{
	const struct choice *only = NULL;
	size_t matches = 0;

	if (text[0] && strspn(text, "0123456789") == strlen(text)) {
		size_t number = strtoul(text, NULL, 10);

		if (number >= 1 && number <= n)
			return &choices[number - 1];
	}
	for (size_t i = 0; i < n; i++)
		if (strcmp(choices[i].value, text) == 0)
			return &choices[i];
	for (size_t i = 0; i < n; i++)
		if (strcasestr(choices[i].value, text)) {
			only = &choices[i];
			matches++;
		}
	return matches == 1 ? only : NULL;
}

static void
explain_item(struct prompts *p, struct form *f, size_t i)
{
	const struct item *item = form_item(f, i);
	char *lua = form_lua(f);

	say(p, "  %s\n  Enter keeps what is in brackets, - empties it, . goes back, ! is the shell.\n",
	    item->help);
	if (lua && lua[0])
		say(p, "  The same in Lua: %s\n", lua);
	free(lua);
}

/* Takes an answer; false if it has to be asked again. */
static bool
take_answer(struct prompts *p, struct form *f, size_t i, const char *line)
{
	const struct item *item = form_item(f, i);
	size_t n = 0;
	const struct choice *choices =
	    item->type == ITEM_CHOICE && line[0] && strcmp(line, "-") != 0 ? form_choices(f, i, &n) : NULL;
	const struct choice *found;

	if (item->type == ITEM_BOOL && line[0]) {
		int c = tolower((unsigned char)line[0]);

		form_set(f, i, c == 'y' ? "yes" : c == 'n' ? "no" : line);
	} else if (n) {
		found = find_choice(choices, n, line);
		if (!found) {
			show_choices(p, choices, n, line);
			return false;
		}
		form_set(f, i, found->value);
	} else if (line[0]) {
		form_set(f, i, strcmp(line, "-") == 0 ? "" : line);
	}
	return true;
}

static enum reply
ask_item(struct prompts *p, struct form *f, size_t i)
{
	const struct item *item = form_item(f, i);

	for (;;) {
		char line[VALUE_SIZE];
		enum reply r;

		if (form_error(f, i)[0])
			say(p, "! %s\n", form_error(f, i));
		r = ask(p, item->label, form_value(f, i), line, sizeof(line));
		if (r == REPLY_HELP) {
			size_t n = 0;
			const struct choice *choices = item->type == ITEM_CHOICE ? form_choices(f, i, &n)
										 : NULL;

			explain_item(p, f, i);
			show_choices(p, choices, n, "");
		} else if (r != REPLY_TEXT) {
			return r;
		} else if (take_answer(p, f, i, line)) {
			if (form_check_item(f, i))
				return REPLY_TEXT;
		}
	}
}

static void
show_facts(struct prompts *p, struct form *f)
{
	if (form_trouble(f)[0])
		say(p, "! %s\n", form_trouble(f));
	for (size_t i = 0; i < form_count(f); i++) {
		char value[VALUE_SIZE + 64];

		if (form_item(f, i)->type != ITEM_FACT || !form_shown(f, i))
			continue;
		form_read(f, i, value, sizeof(value));
		say(p, "  %-18s %s\n", form_item(f, i)->label, value);
	}
}

/* Asks from item `from` on; false when the user goes back. */
static enum reply
ask_items(struct prompts *p, struct form *f, int from)
{
	enum reply r = REPLY_TEXT;

	for (size_t i = (size_t)from; i < form_count(f) && r == REPLY_TEXT; i++)
		if (form_editable(f, i))
			r = ask_item(p, f, i);
	return r;
}

static bool
apply_form(struct prompts *p, struct form *f, int *at)
{
	const struct page *page = form_page(f);
	char *said, *job, what[VALUE_SIZE + 32];

	if (form_apply(f, at, &said, &job) < 0)
		return false;
	snprintf(what, sizeof(what), "%s %s", page->verb, form_subject(f));
	if (job)
		wait_job(p, what, job);
	else
		say(p, "%s\n", said ? said : "Done.");
	free(said);
	free(job);
	return true;
}

/* What the agent refused: at its question, or as a whole. Returns where to ask again, or -1. */
static int
refused(struct prompts *p, struct form *f, int at)
{
	if (at < 0)
		say(p, "! %s\n", form_trouble(f));
	return at;
}

/* One round of questions, summary, applying: where to ask again, or -1 when it is over. */
static int
form_round(struct prompts *p, struct form *f, int from, enum reply *r)
{
	const struct page *page = form_page(f);
	char *summary;
	int at;

	*r = ask_items(p, f, from);
	if (*r != REPLY_TEXT)
		return -1;
	at = form_check(f);
	if (at >= 0)
		return at;
	if (!(page->flags & (PAGE_CREATES | PAGE_DESTRUCTIVE)) && !form_any_changed(f)) {
		say(p, "Nothing has changed.\n");
		return -1;
	}
	if (form_preview(f, &at) < 0)
		return refused(p, f, at);
	summary = form_summary(f);
	say(p, "What will be:\n%s%s%s", summary ? summary : "", page->confirm ? page->confirm : "",
	    page->confirm ? "\n" : "");
	free(summary);
	if (!ask_yes(p, page->verb, !(page->flags & PAGE_DESTRUCTIVE))) {
		say(p, "Nothing was changed.\n");
		return -1;
	}
	return apply_form(p, f, &at) ? -1 : refused(p, f, at);
}

/* part: what names a part of the subject (form.h), taken. */
static enum reply
run_form(struct prompts *p, const struct page *page, const char *subject, json_t *part)
{
	struct form *f = form_new_part(page, p->link, subject, part);
	enum reply r = REPLY_TEXT;

	if (!f)
		return REPLY_BACK;
	say(p, "\n%s\n", page->title);
	show_facts(p, f);
	if (page->apply && !(form_trouble(f)[0] && page->load))
		for (int from = 0; from >= 0;)
			from = form_round(p, f, from, &r);
	form_free(f);
	return r;
}

static void
show_rows(struct prompts *p, const struct page *page, const json_t *list)
{
	json_t *row;
	size_t i;

	if (!json_array_size(list))
		say(p, "  %s\n", page->empty);
	json_array_foreach(list, i, row)
	{
		say(p, "  %3zu) ", i + 1);
		for (const struct column *c = page->columns; c->title; c++) {
			char text[VALUE_SIZE];

			if (c->show)
				c->show(json_object_get(row, c->member), row, text, sizeof(text));
			else
				show_plain(json_object_get(row, c->member), text, sizeof(text));
			say(p, "%-*s ", c->width, text);
		}
		say(p, "\n");
	}
}

/* A list, whose it is ("": the host's), and the row that was chosen ("": none). */
struct listed {
	const struct page *page;
	const char *subject;
	const json_t *list;
	char name[VALUE_SIZE];
};

static const char *
whom(const struct listed *l)
{
	return l->page->subject ? l->subject : l->name;
}

/* What names the row as a part of the subject: a new object, or NULL when it is none. */
static json_t *
row_part(const struct listed *l, const struct action *a)
{
	const char *const *members = a->row_params ? a->row_params : l->page->row_params;
	json_t *part = members && l->name[0] ? json_object() : NULL, *row;
	size_t i;

	json_array_foreach(l->list, i, row)
	{
		const char *key = json_string_value(json_object_get(row, l->page->row_key));

		for (const char *const *m = members; part && key && strcmp(key, l->name) == 0 && *m; m++)
			json_object_set(part, *m, json_object_get(row, *m));
	}
	return part;
}

static void
call_action(struct prompts *p, const struct action *a, const struct listed *l)
{
	const char *name = l->name;
	json_t *part = row_part(l, a);
	json_t *params = a->params ? json_loads(a->params, 0, NULL) : json_object(), *answer = NULL;
	char question[VALUE_SIZE + 160], what[VALUE_SIZE + 64];
	const char *mark = a->confirm ? strstr(a->confirm, "%s") : NULL, *job;
	struct rpc_error e;

	if (mark) {
		snprintf(question, sizeof(question), "%.*s%s%s", (int)(mark - a->confirm), a->confirm, name,
		    mark + 2);
		if (!ask_yes(p, question, false)) {
			json_decref(params);
			json_decref(part);
			return;
		}
	}
	json_object_set_new(params, "vm", json_string(whom(l)));
	if (part)
		json_object_update(params, part);
	json_decref(part);
	if (link_change(p->link, a->method, params, (struct link_change){ 0 }, &answer, &e) < 0) {
		say_error(p, &e);
		return;
	}
	snprintf(what, sizeof(what), "%s %s", a->label, name);
	job = json_string_value(json_object_get(answer, "job"));
	if (json_is_false(json_object_get(answer, "changed")))
		say(p, "%s: it was so already.\n", what);
	else if (job)
		wait_job(p, what, job);
	else
		say(p, "%s: done.\n", what);
	json_decref(answer);
}

static enum reply run_table(struct prompts *p, const struct page *page, const char *subject);

static enum reply
act(struct prompts *p, const struct action *a, const struct listed *l)
{
	struct rpc_error e = { 0 };

	if (a->kind == ACTION_PAGE && a->page->kind == PAGE_TABLE)
		return run_table(p, a->page, whom(l)) == REPLY_EOF ? REPLY_EOF : REPLY_TEXT;
	if (a->kind == ACTION_PAGE)
		return run_form(p, a->page, whom(l), row_part(l, a));
	if (a->kind == ACTION_CALL)
		call_action(p, a, l);
	else if (p->terminal && p->terminal->console(p->terminal->ctx, l->name, &e) < 0)
		say_error(p, &e);
	return REPLY_TEXT;
}

static void
explain_actions(struct prompts *p, const struct page *page)
{
	say(p, "  %s\n  Type a letter and the number or name of a row: %c 1\n", page->about,
	    page->actions[1].key);
	for (const struct action *a = page->actions; a->key; a++)
		say(p, "  %c  %-10s %s\n", a->key, a->label, a->help);
	say(p, "  Enter shows the list anew, . goes back. In Lua: %s()\n", page->load);
}

/* The object that an answer such as "s 1" or "s web1" names; "" if there is none. */
static void
find_object(const struct page *page, const json_t *list, const char *word, char *out, size_t size)
{
	char *end;
	unsigned long number = strtoul(word, &end, 10);
	const char *key = NULL;
	json_t *row;
	size_t i;

	json_array_foreach(list, i, row)
	{
		const char *name = json_string_value(json_object_get(row, page->row_key));

		if (name && strcmp(name, word) == 0)
			key = name;
	}
	if (!key && word[0] && !*end && number >= 1)
		key = json_string_value(json_object_get(json_array_get(list, number - 1), page->row_key));
	snprintf(out, size, "%s", key ? key : "");
}

static enum reply
answer_table(struct prompts *p, struct listed *l, const char *line)
{
	const char *word = line + (line[0] != '\0');

	word += strspn(word, " ");
	for (const struct action *a = l->page->actions; a->key; a++) {
		if (tolower((unsigned char)line[0]) != a->key || (line[1] && line[1] != ' '))
			continue;
		find_object(l->page, l->list, json_array_size(l->list) == 1 && !word[0] ? "1" : word, l->name,
		    sizeof(l->name));
		if (a->no_row)
			l->name[0] = '\0';
		if (a->no_row || l->name[0])
			return act(p, a, l);
		say(p, "! Which one? Type %c and its number.\n", a->key);
		return REPLY_TEXT;
	}
	if (line[0])
		say(p, "! ? lists what can be done here.\n");
	return REPLY_TEXT;
}

static enum reply
run_table(struct prompts *p, const struct page *page, const char *subject)
{
	enum reply r = REPLY_TEXT;
	char line[VALUE_SIZE];

	while (r != REPLY_BACK && r != REPLY_EOF) {
		struct listed l = { .page = page, .subject = subject };
		struct rpc_error e;
		json_t *answer = NULL,
		       *params = page->subject ? json_pack("{s:s}", page->subject, subject) : NULL;

		say(p, "\n%s%s%s\n", page->title, page->subject ? ": " : "", page->subject ? subject : "");
		if (link_call(p->link, page->load, params, &answer, &e) < 0)
			say_error(p, &e);
		l.list = json_object_get(answer, page->member);
		show_rows(p, page, l.list);
		r = ask(p, "Letter and number (? for help, . to go back):", NULL, line, sizeof(line));
		if (r == REPLY_HELP)
			explain_actions(p, page);
		else if (r == REPLY_TEXT && answer_table(p, &l, line) == REPLY_EOF)
			r = REPLY_EOF;
		json_decref(answer);
	}
	return r;
}

static json_t *
fetch(struct prompts *p, const char *method, const char *member)
{
	struct rpc_error e;
	json_t *answer = NULL, *part;

	if (link_call(p->link, method, NULL, &answer, &e) < 0)
		say_error(p, &e);
	part = json_incref(member ? json_object_get(answer, member) : answer);
	json_decref(answer);
	return part;
}

static void
show_menu(struct prompts *p)
{
	json_t *host = fetch(p, "host.get", NULL), *vms = p->link->up ? fetch(p, "vm.list", "vms") : NULL;
	char brief[256];

	say(p, "\nFreehold configuration\n\n");
	show_management(NULL, host, brief, sizeof(brief));
	if (host)
		say(p, "  Manage this host at %s\n\n", brief);
	for (const struct page *const *page = pages; *page; page++) {
		brief[0] = '\0';
		if ((*page)->brief && host)
			(*page)->brief(host, vms, brief, sizeof(brief));
		say(p, "  %2d) %s%s%s\n", (*page)->number, (*page)->title, brief[0] ? ": " : "", brief);
	}
	say(p, "\n");
	json_decref(host);
	json_decref(vms);
}

static enum reply
run_page(struct prompts *p, const struct page *page, bool *log_off)
{
	switch (page->kind) {
	case PAGE_LOG_OFF:
		*log_off = ask_yes(p, page->confirm, true);
		return REPLY_TEXT;
	case PAGE_SHELL:
		run_shell(p);
		return REPLY_TEXT;
	case PAGE_TABLE:
		return run_table(p, page, "");
	default:
		return run_form(p, page, "", NULL);
	}
}

static const struct page *
find_page(const char *line)
{
	char *end;
	long number = strtol(line, &end, 10);

	for (const struct page *const *page = pages; *page && end > line && !*end; page++)
		if ((*page)->number == number)
			return *page;
	return NULL;
}

/* "?8" explains a number. */
static void
explain(struct prompts *p, const char *line)
{
	const struct page *page = find_page(line);

	if (page)
		say(p, "  %d) %s. %s\n", page->number, page->title, page->about);
	else
		say(p, "  Type a number and Enter; ?8 explains number 8, ! is the shell, 12 logs off.\n"
		       "  In pages: Enter keeps what is in brackets, - empties it, . goes back.\n");
}

enum prompts_end
prompts_run(struct prompts *p)
{
	bool show = true, log_off = false;
	enum reply r = REPLY_TEXT;

	while (r != REPLY_EOF && !log_off) {
		const struct page *page;
		char line[VALUE_SIZE];

		if (p->fits && p->fits(p->ctx))
			return PROMPTS_FITS;
		if (show)
			show_menu(p);
		r = ask(p, "Enter number to select an option:", NULL, line, sizeof(line));
		if (r == REPLY_EOF)
			break;
		page = find_page(line);
		if (line[0] == '?')
			explain(p, line + 1);
		else if (page)
			r = run_page(p, page, &log_off);
		else if (line[0] && r != REPLY_BACK)
			say(p, "! There is no option %s.\n", line);
		show = page || !line[0] || r == REPLY_BACK;
	}
	fflush(p->out);
	return log_off ? PROMPTS_LOG_OFF : PROMPTS_EOF;
}
