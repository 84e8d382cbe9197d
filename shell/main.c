/*
 * shell/main.c - fhsh: options, connecting, and what is to be run.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shell/shell.h"
#include "shell/tty.h"

enum { OPT_JSON = 256, OPT_YES, OPT_TOKEN_FILE, OPT_SOCKET, OPT_HELP, COMMANDS_MAX = 64, PASSWORD_TRIES = 3 };

static const struct option options[] = {
	{ "host", required_argument, NULL, 'H' },
	{ "user", required_argument, NULL, 'u' },
	{ "port", required_argument, NULL, 'p' },
	{ "command", required_argument, NULL, 'c' },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "yes", no_argument, NULL, OPT_YES },
	{ "token-file", required_argument, NULL, OPT_TOKEN_FILE },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

static const char usage[] =
    "fhsh [OPTION...] [SCRIPT [ARGUMENT...]]   the shell of a Freehold host\n\n"
    "  -H, --host HOST        another machine: host, user@host, host:port\n"
    "  -u, --user USER        whom to log in as there\n"
    "  -p, --port PORT        default 8443\n"
    "  -c, --command COMMAND  runs a command or a line of Lua, and ends; may be given again\n"
    "      --json             answers as JSON\n"
    "      --yes              destructive calls do not ask\n"
    "      --token-file FILE  holds the token to log in with; nobody else may read it\n"
    "      --socket PATH      of the local agent\n\n"
    "FREEHOLD_TOKEN: a token to log in with. Exit codes: 0 done, 1 failed, 2 refused or wrongly called.\n";

struct arguments {
	const char *host, *command[COMMANDS_MAX];
	size_t n_commands;
	char token[512];
	struct rpc_options o;
	bool json, yes;
};

/* --- questions of the connection ---------------------------------------------------------------- */

static int
ask_password(void *ctx, const char *user, const char *host, char *out, size_t size)
{
	char question[400];

	(void)ctx;
	snprintf(question, sizeof(question), "%s@%s's password: ", user, host);
	return tty_ask_secret(question, out, size);
}

static bool
ask_pin(void *ctx, const char *host, const char *fingerprint)
{
	char question[600], answer[16];

	(void)ctx;
	snprintf(question, sizeof(question),
	    "%s is met for the first time. Its certificate is\n  SHA256 %s\n"
	    "The host's menu shows the same if it is the right one. Trust it from now on? [y/N] ",
	    host, fingerprint);
	return tty_is_interactive() && tty_ask(question, answer, sizeof(answer)) == 0 &&
	       (strcmp(answer, "y") == 0 || strcmp(answer, "yes") == 0);
}

/* --- options ------------------------------------------------------------------------------------ */

static int
complain(const char *what, const char *why)
{
	fprintf(stderr, "fhsh: %s: %s\n", what, why);
	return -1;
}

static int
read_token(struct arguments *a, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return complain(path, strerror(errno));
	if (!S_ISREG(st.st_mode) || (st.st_mode & 077) != 0) {
		close(fd);
		return complain(path, "others may read this token; chmod 600 it");
	}
	n = read(fd, a->token, sizeof(a->token) - 1);
	close(fd);
	a->token[n > 0 ? n : 0] = '\0';
	a->token[strcspn(a->token, " \t\r\n")] = '\0';
	a->o.token = a->token;
	return *a->token ? 0 : complain(path, "there is no token in it");
}

static int
take_port(struct arguments *a, const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || n == 0 || n > UINT16_MAX)
		return complain(text, "a port is a number from 1 to 65535");
	a->o.port = (uint16_t)n;
	return 0;
}

/* 0, or what to exit with + 1. */
static int
take_option(struct arguments *a, int option)
{
	switch (option) {
	case 'H':
		a->host = optarg;
		return 0;
	case 'u':
		a->o.user = optarg;
		return 0;
	case 'p':
		return take_port(a, optarg);
	case 'c':
		if (a->n_commands == COMMANDS_MAX)
			return complain("-c", "given too often");
		a->command[a->n_commands++] = optarg;
		return 0;
	case OPT_JSON:
		a->json = true;
		return 0;
	case OPT_YES:
		a->yes = true;
		return 0;
	case OPT_TOKEN_FILE:
		return read_token(a, optarg);
	case OPT_SOCKET:
		a->o.socket_path = optarg;
		return 0;
	default:
		return -1;
	}
}

/* A password may be mistyped, by a person. */
static int
connect_patiently(struct session *s, const struct arguments *a, struct rpc_error *e)
{
	int rc = session_open(s, a->host, &a->o, e);

	for (int i = 1; i < PASSWORD_TRIES && rc < 0 && strcmp(e->symbol, "LOGIN_FAILED") == 0; i++) {
		if (!tty_is_interactive() || a->o.token || getenv("FREEHOLD_TOKEN"))
			break;
		session_show_error(e);
		rc = session_open(s, a->host, &a->o, e);
	}
	return rc;
}

/* --- what is to be run -------------------------------------------------------------------------- */

static void
run(struct shell *sh, const struct arguments *a, int argc, char **argv)
{
	for (size_t i = 0; i < a->n_commands && sh->exit_code == EXIT_OK && !sh->quit; i++)
		if (shell_line(sh, a->command[i]) == LINE_INCOMPLETE) {
			fputs("fhsh: -c: the statement is not complete\n", stderr);
			sh->exit_code = EXIT_REFUSED;
		}
	if (a->n_commands > 0)
		return;
	if (argc > 0)
		shell_script(sh, argc, argv);
	else if (sh->s.interactive)
		shell_prompt(sh);
	else
		shell_stdin(sh);
}

int
main(int argc, char **argv)
{
	struct arguments a = { .o = { .password = ask_password, .pin = ask_pin } };
	struct shell sh = { 0 };
	struct rpc_error e;
	int option;

	setlocale(LC_CTYPE, "");
	while ((option = getopt_long(argc, argv, "+H:u:p:c:", options, NULL)) != -1) {
		if (option == OPT_HELP)
			return fputs(usage, stdout) < 0;
		if (take_option(&a, option) < 0)
			return fputs("Try fhsh --help.\n", stderr), EXIT_REFUSED;
	}
	session_catch_interrupt(NULL);
	if (connect_patiently(&sh.s, &a, &e) < 0) {
		session_show_error(&e);
		return session_exit_code(&e);
	}
	sh.s.interactive = tty_is_interactive();
	sh.s.json = a.json;
	sh.s.yes = a.yes;
	sh.teach = sh.s.interactive && !a.json && a.n_commands == 0;
	if (shell_open(&sh))
		run(&sh, &a, argc - optind, argv + optind);
	else
		sh.exit_code = (fputs("fhsh: out of memory\n", stderr), EXIT_FAILED);
	fflush(stdout);
	shell_close(&sh);
	session_close(&sh.s);
	explicit_bzero(a.token, sizeof(a.token));
	return sh.exit_code;
}
