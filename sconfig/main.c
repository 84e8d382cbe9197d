/*
 * sconfig/main.c - sconfig, the menu of the appliance: log-in shell of its consoles, and a client of its
 * own or another host's agent.
 *
 *   sconfig [-H HOST] [--prompts] [--serial] [--no-unicode] [--socket PATH]
 *   sconfig -c COMMAND         as a log-in shell is asked to run one: fhsh -c COMMAND
 *
 * Nothing but logging off (or a signal) ends it: not the agent, not a key, not a small window.
 */
#include <errno.h>
#include <getopt.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/text.h"
#include "sconfig/console.h"
#include "sconfig/link_rpc.h"
#include "sconfig/prompts.h"
#include "sconfig/term.h"
#include "sconfig/term_curses.h"
#include "sconfig/ui.h"

enum { TICK_MS = 500, EMPTY_READS_MOST = 100, NOTICE_MOST = 4096 };

#define AGENT_SOCKET "/run/freehold/rpc.sock"

static volatile sig_atomic_t ended; /* the signal that ends us */

struct app {
	struct terminal term;
	struct link link;
	struct link_rpc rpc;
	struct cells cells;
	struct ui_terminal terminal;
	bool prompts; /* asked for */
	bool full;    /* the terminal is ncurses' now */
	char host[128];
	char *notice; /* what the start of this host had to tell, until it is shown */
};

static void
on_end(int sig)
{
	ended = sig;
}

static void
on_interrupt(int sig)
{
	(void)sig;
}

/* Our own fault: leave a usable terminal and one sentence; init starts the menu again. */
static void
on_crash(int sig)
{
	static const char sorry[] =
	    "\033[m\r\n\r\nsconfig: the menu met a fault of its own and is started again.\r\n";

	term_restore();
	if (write(1, sorry, sizeof(sorry) - 1) < 0)
		_exit(127);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void catch (int sig, void (*handler)(int), int flags)
{
	struct sigaction a = { .sa_flags = flags };

	a.sa_handler = handler;
	sigaction(sig, &a, NULL);
}

static void
catch_signals(void)
{
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };

	for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
		catch (crashes[i], on_crash, (int)SA_RESETHAND);
	catch (SIGTERM, on_end, 0);
	catch (SIGHUP, on_end, 0);
	catch (SIGINT, on_interrupt, 0);
	signal(SIGQUIT, SIG_IGN);
	signal(SIGTSTP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
}

static void
give_terminal(struct app *a)
{
	if (a->full) {
		curses_pause();
		fputs("\033[H\033[J", stdout); /* whoever comes begins at the top of an empty screen */
	}
	term_restore();
}

static void
take_terminal(struct app *a)
{
	if (a->full)
		curses_resume();
}

static int
say_local(struct rpc_error *e, const char *message, const char *hint)
{
	*e = (struct rpc_error){ .code = RPC_LOCAL_FAULT };
	snprintf(e->message, sizeof(e->message), "%s", message);
	snprintf(e->hint, sizeof(e->hint), "%s", hint);
	return -ECANCELED;
}

/* In the child: the shell, with signals as a program expects them. */
_Noreturn static void
become_shell(char *const argv[])
{
	static const int sigs[] = { SIGINT, SIGQUIT, SIGTSTP, SIGPIPE, SIGTERM, SIGHUP, SIGSEGV, SIGABRT };

	for (size_t i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		signal(sigs[i], SIG_DFL);
	execvp(argv[0], argv);
	_exit(127);
}

/* What a shell that failed has said would be gone when the menu is drawn. */
static void
wait_for_reader(void)
{
	char line[16];

	printf("The shell ended with an error. Enter goes back to the menu. ");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		clearerr(stdin);
}

static int
run_shell(void *ctx, struct rpc_error *e)
{
	struct app *a = ctx;
	char *argv[] = { (char *)"fhsh", a->host[0] ? (char *)"-H" : NULL, a->host, NULL };
	int status = 0;
	pid_t pid;

	give_terminal(a);
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		become_shell(argv);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		if (ended)
			kill(pid, ended);
	if (pid > 0 && status && !(WIFEXITED(status) && WEXITSTATUS(status) == 127))
		wait_for_reader();
	take_terminal(a);
	if (pid < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 127))
		return say_local(e, "The shell, fhsh, could not be started.", "");
	return 0;
}

static int
open_console(struct app *a, const char *vm, int *fd, struct rpc_error *e)
{
	json_t *answer = NULL;
	const char *ticket;
	int rc = link_call(&a->link, "console.open", json_pack("{s:s}", "vm", vm), &answer, e);

	if (rc < 0)
		return rc;
	ticket = json_string_value(json_object_get(answer, "ticket"));
	rc = ticket ? rpc_stream_open(a->rpc.client, ticket, fd, e)
		    : say_local(e, "The host gave no ticket for the console.", "");
	json_decref(answer);
	return rc;
}

static int
run_console(void *ctx, const char *vm, struct rpc_error *e)
{
	struct app *a = ctx;
	int fd = -1, rc = open_console(a, vm, &fd, e);
	enum console_end end;

	if (rc < 0)
		return rc;
	give_terminal(a);
	printf("--- Console of %s: Ctrl-] comes back to the menu ---\r\n", vm);
	fflush(stdout);
	end = console_run(fd);
	take_terminal(a);
	if (end == CONSOLE_CLOSED)
		return say_local(e, "The console was closed by the host:", "the machine was stopped.");
	return 0;
}

static bool
too_small(int rows, int cols)
{
	return rows < UI_ROWS_LEAST || cols < UI_COLS_LEAST;
}

static bool
fits(void *ctx)
{
	struct app *a = ctx;
	int rows, cols;

	if (a->prompts || a->term.dumb || !a->term.is_tty)
		return false;
	term_size(&a->term, false, &rows, &cols);
	return !too_small(rows, cols);
}

/* Waits for a key, news from the agent, or the next tick. False: the terminal has gone. */
static bool
wait_for_news(struct app *a, bool *key)
{
	struct pollfd p[] = { { .fd = 0, .events = POLLIN },
		{ .fd = a->link.up && a->rpc.client ? rpc_fd(a->rpc.client) : -1, .events = POLLIN } };

	*key = false;
	if (poll(p, 2, TICK_MS) <= 0)
		return true;
	*key = p[0].revents != 0;
	return !(p[0].revents & (POLLHUP | POLLERR | POLLNVAL));
}

/* Handles all keys that have come; true if the screen is to be sent anew. */
static bool
take_keys(struct app *a, struct ui *ui, bool *any, bool *resized)
{
	bool again = false;
	uint32_t key;

	*any = false;
	while (!ui->quit && (key = curses_key(resized)) != K_NONE) {
		*any = true;
		if (key == K_CTRL_L) {
			int rows, cols;

			term_size(&a->term, true, &rows, &cols);
			curses_set_size(rows, cols);
			*resized = again = true;
		}
		ui_key(ui, key);
	}
	return again;
}

enum full_end { FULL_LOG_OFF, FULL_TOO_SMALL, FULL_ENDED, FULL_IMPOSSIBLE };

static enum full_end
full_loop(struct app *a, struct ui *ui)
{
	bool changed = true, again = false, resized = true, key, any;
	int rows = 0, cols = 0, empty = 0;

	for (;;) {
		if (resized)
			curses_size(&rows, &cols);
		if (resized && too_small(rows, cols))
			return FULL_TOO_SMALL;
		if (resized && cells_resize(&a->cells, rows, cols) < 0)
			return FULL_ENDED;
		if (changed || resized || again) {
			ui_draw(ui);
			curses_show(&a->cells, again);
		}
		resized = false;
		if (!wait_for_news(a, &key) || ended)
			return FULL_ENDED;
		again = take_keys(a, ui, &any, &resized);
		empty = key && !any && !resized ? empty + 1 : 0;
		if (ui->quit || empty > EMPTY_READS_MOST) /* input that is readable and empty has ended */
			return ui->quit ? FULL_LOG_OFF : FULL_ENDED;
		changed = ui_tick(ui, link_now_ms()) || any;
	}
}

/* The file beside the agent's socket that the start of the host has left; NULL: all went well. */
static char *
read_notice(void)
{
	const char *socket = getenv("FREEHOLD_SOCKET");
	char path[PATH_MAX], *text = NULL, *line, *rest;
	size_t n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s", socket && *socket ? socket : AGENT_SOCKET);
	line = strrchr(path, '/');
	snprintf(line ? line + 1 : path, 16, "notice");
	f = fopen(path, "re");
	if (f && (text = calloc(1, NOTICE_MOST + 1)) != NULL)
		n = fread(text, 1, NOTICE_MOST, f);
	if (f)
		fclose(f);
	for (rest = text; (line = strsep(&rest, "\n")) != NULL && rest; rest[-1] = '\n')
		text_clean(line);
	if (n == 0) {
		free(text);
		text = NULL;
	}
	return text;
}

static enum full_end
run_full(struct app *a)
{
	struct ui ui;
	enum full_end end;

	if (!curses_open(&a->term))
		return FULL_IMPOSSIBLE;
	a->full = true;
	a->cells.ascii = !a->term.unicode || curses_is_plain();
	ui_begin(&ui, &a->link, &a->cells, &a->terminal);
	ui.quiet = a->term.serial;
	if (a->notice)
		ui_push(&ui, view_text(strdup("What the start of this host has to tell"), a->notice));
	a->notice = NULL;
	end = full_loop(a, &ui);
	ui_end(&ui);
	curses_close();
	term_restore();
	a->full = false;
	return end;
}

static enum prompts_end
run_prompts(struct app *a)
{
	struct prompts p = {
		.link = &a->link, .in = stdin, .out = stdout, .terminal = &a->terminal, .fits = fits, .ctx = a
	};
	enum prompts_end end;

	signal(SIGTERM, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	if (a->notice)
		printf("What the start of this host has to tell:\n%s\n", a->notice);
	free(a->notice);
	a->notice = NULL;
	end = prompts_run(&p);
	catch (SIGTERM, on_end, 0);
	catch (SIGHUP, on_end, 0);
	return end;
}

static int
run(struct app *a)
{
	for (bool small = false;;) {
		int rows, cols;
		enum full_end end = FULL_IMPOSSIBLE;

		if (a->term.is_tty)
			term_size(&a->term, true, &rows, &cols);
		if (!small && fits(a))
			end = run_full(a);
		if (end == FULL_LOG_OFF)
			return 0;
		if (end == FULL_ENDED)
			return ended ? 128 + ended : 0;
		if (end == FULL_IMPOSSIBLE)
			a->prompts = a->prompts || (!small && fits(a));
		if (run_prompts(a) != PROMPTS_FITS)
			return 0;
		small = false;
	}
}

static int
usage(FILE *out)
{
	fputs("usage: sconfig [-H HOST] [--prompts] [--serial] [--no-unicode] [--socket PATH]\n"
	      "The menu of a Freehold host: this one, or HOST (name, name:port, user@name).\n"
	      "  --prompts     questions and answers instead of the full screen\n"
	      "  --serial      treat the terminal as a serial line\n"
	      "  --no-unicode  lines and letters in ASCII only\n"
	      "  --socket PATH the agent's socket\n",
	    out);
	return out == stderr ? 2 : 0;
}

/* -1: go on; else the exit status. */
static int
read_options(struct app *a, int argc, char **argv)
{
	enum { PROMPTS = 256, SERIAL, NO_UNICODE, SOCKET };
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "host", required_argument, NULL, 'H' },
		{ "prompts", no_argument, NULL, PROMPTS },
		{ "serial", no_argument, NULL, SERIAL },
		{ "no-unicode", no_argument, NULL, NO_UNICODE },
		{ "no-color", no_argument, NULL, 'n' }, /* there is none */
		{ "socket", required_argument, NULL, SOCKET },
		{ 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "hlH:c:", options, NULL)) != -1) {
		if (c == 'H')
			snprintf(a->host, sizeof(a->host), "%s", optarg);
		else if (c == 'c')
			execlp("fhsh", "fhsh", "-c", optarg, (char *)NULL);
		else if (c == PROMPTS)
			a->prompts = true;
		else if (c == SERIAL)
			a->term.serial = true;
		else if (c == SOCKET)
			setenv("FREEHOLD_SOCKET", optarg, 1); /* the shell is to ask the same agent */
		if (c == 'c' || c == '?' || c == 'h')
			return c == 'c' ? 127 : usage(c == 'h' ? stdout : stderr);
		if (c == NO_UNICODE || c == SERIAL)
			a->term.unicode = false;
	}
	return optind < argc ? usage(stderr) : -1;
}

int
main(int argc, char **argv)
{
	struct app a = { .rpc = { .ended = &ended, .may_ask = true } };
	struct rpc_error e;
	int rc;

	setlocale(LC_CTYPE, "");
	term_look(&a.term);
	if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0 && setlocale(LC_CTYPE, "C.UTF-8"))
		setenv("LC_CTYPE", "C.UTF-8", 1); /* what is typed is UTF-8 all the same, in the shell too */
	rc = read_options(&a, argc, argv);
	if (rc >= 0)
		return rc;
	a.terminal = (struct ui_terminal){ .shell = run_shell, .console = run_console, .ctx = &a };
	a.rpc.host = a.host[0] ? a.host : NULL;
	term_save();
	catch_signals();
	if (link_open(&a.link, &link_rpc_ops, &a.rpc, a.host, &e) < 0 && a.host[0]) {
		fprintf(stderr, "sconfig: %s %s\n", e.message, e.hint);
		return 1;
	}
	a.rpc.may_ask = false;
	a.notice = a.host[0] ? NULL : read_notice();
	rc = run(&a);
	free(a.notice);
	link_rpc_close(&a.rpc);
	cells_free(&a.cells);
	return rc;
}
