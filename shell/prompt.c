/*
 * shell/prompt.c - readline, with our completion and our idea of what is to be remembered.
 */
#include "shell/prompt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <readline/history.h>
#include <readline/readline.h>

#include "shell/command.h"
#include "shell/session.h"

enum { HISTORY_MAX = 2000 };

static const struct catalogue *catalogue;
static const struct name_source *source;
static char history_path[512];
static bool broken_off;

/* --- keys --------------------------------------------------------------------------------------- */

/* Waits for a key or a signal, and misses none that came just before: readline only notes them, or has passed
 * them on to us already. */
static int
wait_key(struct pollfd *p)
{
	sigset_t interrupt, before;
	int rc = -1;

	sigemptyset(&interrupt);
	sigaddset(&interrupt, SIGINT);
	sigprocmask(SIG_BLOCK, &interrupt, &before);
	if (!rl_pending_signal() && !session_interrupt_waits())
		rc = ppoll(p, 1, NULL, &before);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return rc;
}

/* One byte from the terminal. Ctrl-C empties the line and ends it. */
static int
read_key(FILE *f)
{
	struct pollfd p = { .fd = fileno(f), .events = POLLIN };
	unsigned char c;
	ssize_t n;

	for (;;) {
		if (wait_key(&p) < 0) {
			rl_check_signals();
			if (!session_interrupted())
				continue;
			broken_off = true;
			rl_replace_line("", 0);
			fputs("^C", rl_outstream);
			return '\n';
		}
		n = read(p.fd, &c, 1);
		if (n == 1)
			return c;
		if (n == 0 || errno != EINTR)
			return EOF;
	}
}

/* --- completion --------------------------------------------------------------------------------- */

/* A candidate replaces the line from found->start; readline thinks the word begins at start. */
static char *
as_readline(const struct candidates *found, size_t i, const char *line, size_t start)
{
	const char *word = found->word[i];
	char *out;
	size_t more;

	if (found->start <= start)
		return strdup(strlen(word) >= start - found->start ? word + (start - found->start) : "");
	more = found->start - start;
	out = malloc(more + strlen(word) + 1);
	if (out) {
		memcpy(out, line + start, more);
		memcpy(out + more, word, strlen(word) + 1);
	}
	return out;
}

static size_t
common(const char *a, const char *b)
{
	size_t n = 0;

	while (a[n] && a[n] == b[n])
		n++;
	return n;
}

/* readline's list: what all have in common, the words, NULL. */
static char **
match_list(const struct candidates *found, const char *line, size_t start)
{
	char **list = calloc(found->n + 2, sizeof(*list));
	size_t n = 0, same;

	for (size_t i = 0; list && i < found->n; i++)
		if ((list[n + 1] = as_readline(found, i, line, start)))
			n++;
	if (!list || n == 0) {
		free(list);
		return NULL;
	}
	same = strlen(list[1]);
	for (size_t i = 2; i <= n; i++)
		if (common(list[1], list[i]) < same)
			same = common(list[1], list[i]);
	list[0] = strndup(list[1], same);
	if (n == 1) {
		free(list[1]);
		list[1] = NULL;
	}
	return list;
}

static char **
on_complete(const char *text, int start, int end)
{
	struct candidates found;
	char **list;

	(void)text;
	(void)end;
	rl_attempted_completion_over = 1; /* never file names of this machine */
	complete(&found, catalogue, rl_line_buffer, (size_t)rl_point, source);
	rl_completion_suppress_append = found.open_ended || strpbrk(rl_line_buffer, "({\"'.:") != NULL;
	list = found.n > 0 ? match_list(&found, rl_line_buffer, (size_t)start) : NULL;
	candidates_free(&found);
	return list;
}

/* --- history ------------------------------------------------------------------------------------ */

/* A word of text, in any case, that is followed by one of `then` (after blanks), or by anything if NULL. */
static bool
mentions(const char *text, const char *word, const char *then)
{
	for (const char *s = strcasestr(text, word); s; s = strcasestr(s + 1, word)) {
		const char *after = s + strlen(word);

		after += strspn(after, " \t\"']");
		if (!then || (*after && strchr(then, *after)))
			return true;
	}
	return false;
}

bool
prompt_is_secret(const struct catalogue *c, const char *text)
{
	char *spaced = strdup(text);
	bool found = mentions(text, "passw", NULL) || mentions(text, "secret", NULL) ||
		     mentions(text, "passphrase", NULL) || mentions(text, "token", "=");

	for (char *s = spaced; s && *s; s++) /* "user setPassword" is user.setPassword */
		*s = *s == ' ' || *s == '\t' ? '.' : *s;
	for (size_t i = 0; i < c->n && !found; i++)
		for (size_t k = 0; k < c->op[i].n_params && !found; k++)
			found = c->op[i].params[k].secret &&
				(!spaced || strstr(spaced, c->op[i].name) ||
				    mentions(text, c->op[i].params[k].name, "="));
	free(spaced);
	return found;
}

static void
choose_history_path(void)
{
	const char *given = getenv("FREEHOLD_HISTORY"), *home = getenv("HOME");
	struct stat st;

	if (given)
		snprintf(history_path, sizeof(history_path), "%s", given);
	else if (geteuid() == 0 && stat("/data/system", &st) == 0)
		snprintf(history_path, sizeof(history_path), "/data/system/fhsh_history");
	else if (home && *home == '/') {
		snprintf(history_path, sizeof(history_path), "%s/.config", home);
		mkdir(history_path, 0700);
		snprintf(history_path, sizeof(history_path), "%s/.config/freehold", home);
		mkdir(history_path, 0700);
		snprintf(history_path, sizeof(history_path), "%s/.config/freehold/history", home);
	}
}

void
prompt_remember(const struct catalogue *c, const char *text)
{
	HIST_ENTRY *last = history_length > 0 ? history_get(history_base + history_length - 1) : NULL;

	if (*text && !prompt_is_secret(c, text) && (!last || strcmp(last->line, text) != 0))
		add_history(text);
}

/* --- the prompt --------------------------------------------------------------------------------- */

void
prompt_open(const struct catalogue *c, const struct name_source *names)
{
	static char name[] = "fhsh", breaks[] = " \t\n\"'{}(),;=";
	const char *term = getenv("TERM");

	catalogue = c;
	source = names;
	rl_readline_name = name;
	rl_catch_signals = 0;
	rl_getc_function = read_key;
	rl_attempted_completion_function = on_complete;
	rl_completer_word_break_characters = breaks;
	rl_completer_quote_characters = NULL;
	rl_sort_completion_matches = 0;
	if (term && strncmp(term, "vt", 2) == 0) /* a terminal that would show the marks of bracketed paste */
		rl_variable_bind("enable-bracketed-paste", "off");
	using_history();
	stifle_history(HISTORY_MAX);
	choose_history_path();
	if (*history_path)
		read_history(history_path);
}

enum prompt_result
prompt_read(const char *prompt, char **line)
{
	broken_off = false;
	session_interrupted();
	*line = readline(prompt);
	if (broken_off) {
		free(*line);
		*line = NULL;
		return PROMPT_BROKEN_OFF;
	}
	return *line ? PROMPT_LINE : PROMPT_END;
}

void
prompt_close(void)
{
	mode_t before;

	if (!*history_path)
		return;
	before = umask(077);
	write_history(history_path);
	umask(before);
}
