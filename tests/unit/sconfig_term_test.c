/*
 * tests/unit/sconfig_term_test.c - the menu itself on a pseudo-terminal, against an agent on a socket: what
 * terminals are sent and how much of it, small windows, serial lines, signals, and the way back.
 */
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <utmp.h>
#include <cmocka.h>

#include "fake_menu_agent.h"
#include "fake_terminal.h"

enum { REDRAW_MOST = 2048, KEY_MOST = 200, RSS_MOST_KB = 6144 };

static struct fake_agent agent;
static char shells[32];
static int listener;

/* Serves one connection; a console's stream answers each byte in brackets. */
static void
serve(int fd)
{
	FILE *in = fdopen(fd, "r");
	char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, in) > 0) {
		json_t *request = json_loads(line, 0, NULL), *params = json_object_get(request, "params"),
		       *answer = NULL;
		struct rpc_error e = { 0 };
		const char *method = json_string_value(json_object_get(request, "method"));

		if (!method) { /* {"stream":TICKET} */
			dprintf(fd, "{\"result\":{}}\nlogin: ");
			json_decref(request);
			for (char c; read(fd, &c, 1) == 1;)
				dprintf(fd, "<%c>", c);
			break;
		}
		if (strcmp(method, "console.open") == 0)
			answer = json_pack("{s:s,s:s}", "ticket", "t", "path", "/stream/t");
		else
			fake_answer(&agent, method, params ? params : json_object(), &answer, &e);
		answer = answer ? json_pack("{s:s,s:O,s:o}", "jsonrpc", "2.0", "id",
				      json_object_get(request, "id"), "result", answer)
				: json_pack("{s:s,s:O,s:{s:i,s:s}}", "jsonrpc", "2.0", "id",
				      json_object_get(request, "id"), "error", "code", e.code, "message",
				      e.message);
		line = json_dumps(answer, JSON_COMPACT);
		dprintf(fd, "%s\n", line);
		json_decref(answer);
		json_decref(request);
		free(line);
		line = NULL;
		size = 0;
	}
	free(line);
	fclose(in);
}

static void *
serve_all(void *arg)
{
	(void)arg;
	for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
		pid_t pid = fork(); /* each connection its own: a stream does not hold up calls */

		if (pid == 0) {
			close(listener);
			serve(fd);
			_exit(0);
		}
		close(fd);
	}
	return NULL;
}

static int
begin(void **state)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	static pthread_t thread;
	char shell[128];
	FILE *f;

	(void)state;
	find_programs();
	fake_agent_begin(&agent);
	snprintf(shells, sizeof(shells), "/tmp/sconfig-test-XXXXXX");
	assert_non_null(mkdtemp(shells));
	snprintf(shell, sizeof(shell), "%s/fhsh", shells); /* a shell that only says so */
	f = fopen(shell, "w");
	fputs("#!/bin/sh\necho this is fhsh \"$@\"\nread line\n", f);
	fchmod(fileno(f), 0755);
	fclose(f);
	snprintf(path_before, sizeof(path_before), "%s", shells);
	snprintf(socket_path, sizeof(socket_path), "%s/rpc.sock", shells);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", socket_path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(listener, 8), 0);
	return pthread_create(&thread, NULL, serve_all, NULL);
}

static int
end(void **state)
{
	char shell[128];

	(void)state;
	shutdown(listener, SHUT_RDWR);
	unlink(socket_path);
	snprintf(shell, sizeof(shell), "%s/fhsh", shells);
	unlink(shell);
	rmdir(shells);
	fake_agent_end(&agent);
	return 0;
}

static void
log_off(struct desk *d)
{
	type(d, "12\r");
	sees(d, "Yes");
	type(d, "\r");
	assert_int_equal(finish(d), 0);
}

static long
memory_kb(pid_t pid)
{
	char path[64], line[256];
	long kb = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, "VmRSS:", 6) == 0)
			kb = strtol(line + 6, NULL, 10);
	if (f)
		fclose(f);
	return kb;
}

static void
a_vt100_is_sent_little_and_in_ascii(void **state)
{
	struct desk *d = start("vt100", 24, 80, NULL, NULL);

	(void)state;
	sees(d, "1 of 2 running");
	settle(d);
	for (size_t i = 0; i < d->len; i++)
		assert_true((unsigned char)d->seen[i] < 0x80);
	for (const char *at = d->seen; (at = strstr(at, "\033[3")) != NULL; at++)
		assert_int_not_equal(at[4], 'm'); /* no colour */
	type(d, "\x0c");
	sees(d, "running");
	assert_in_range(settle(d), 100, REDRAW_MOST);
	type(d, "j");
	assert_in_range(settle(d), 1, KEY_MOST);
	type(d, "16");
	assert_in_range(settle(d), 1, KEY_MOST);
#ifndef __SANITIZE_ADDRESS__
	assert_in_range(memory_kb(d->pid), 100, RSS_MOST_KB);
#endif
	print_message("redraw and keys within bounds, %ld kB\n", memory_kb(d->pid));
	log_off(d);
}

static void
a_unicode_terminal_gets_real_lines(void **state)
{
	struct desk *d = start("xterm", 24, 80, NULL, NULL);

	(void)state;
	sees(d, "\u2500\u2500");
	type(d, "8\r");
	sees(d, "MAC address");
	type(d, "\033[B\033[B"); /* the arrow down, as an xterm in normal mode has it */
	type(d, "\033");
	log_off(d);
}

static void
an_unknown_terminal_is_a_vt100_and_a_dumb_one_is_asked(void **state)
{
	struct desk *d = start("no-such-terminal", 24, 80, NULL, NULL);

	(void)state;
	sees(d, "1 of 2 running");
	settle(d);
	assert_null(strstr(d->seen, "\u2500"));
	log_off(d);
	d = start("dumb", 24, 80, NULL, NULL);
	sees(d, "Enter number to select an option: ");
	assert_null(strchr(d->seen, '\033'));
	type(d, "12\n");
	sees(d, "Log off? [yes]");
	type(d, "\n");
	assert_int_equal(finish(d), 0);
}

static void
the_usual_terminals_need_no_files(void **state)
{
	static const char *const terms[] = { "vt100", "vt220", "linux", "xterm-256color", "screen", "tmux",
		"no-such-terminal" };

	(void)state;
	setenv("TERMINFO_DIRS", "/nonexistent", 1);
	setenv("TERMINFO", "/nonexistent", 1);
	for (size_t i = 0; i < sizeof(terms) / sizeof(terms[0]); i++) {
		struct desk *d = start(terms[i], 24, 80, NULL, NULL);

		sees(d, "1 of 2 running");
		settle(d);
		assert_non_null(strstr(d->seen, "\033["));
		log_off(d);
	}
	unsetenv("TERMINFO_DIRS");
	unsetenv("TERMINFO");
}

static void
a_small_window_is_asked_and_a_larger_one_drawn(void **state)
{
	struct desk *d = start("vt100", 11, 80, NULL, NULL);
	struct winsize w = { .ws_row = 30, .ws_col = 100 };

	(void)state;
	sees(d, "Enter number to select an option: ");
	assert_null(strchr(d->seen, '\033'));
	ioctl(d->fd, TIOCSWINSZ, &w);
	type(d, "\n");
	sees(d, "q log off");
	w.ws_col = 30;
	d->mark = d->len;
	ioctl(d->fd, TIOCSWINSZ, &w);
	kill(d->pid, SIGWINCH);
	sees(d, "Enter number to select an option: ");
	type(d, "12\n\n");
	assert_int_equal(finish(d), 0);
}

static void
a_serial_line_is_asked_for_its_size(void **state)
{
	struct winsize w = { 0 };
	struct desk *d = start("vt100", 0, 0, "--serial", NULL);

	(void)state;
	d->answers = true;
	sees(d, "1 of 2 running");
	ioctl(d->fd, TIOCGWINSZ, &w);
	assert_int_equal(w.ws_row, 30);
	assert_int_equal(w.ws_col, 100);
	settle(d);
	d->mark = d->len;
	for (int i = 0; i < 15; i++)
		take(d, 100);
	assert_int_equal(d->len, d->mark); /* nothing ticks */
	log_off(d);
	d = start("vt100", 0, 0, "--serial", NULL);
	sees(d, "1 of 2 running"); /* a line that does not answer is 24 by 80 */
	ioctl(d->fd, TIOCGWINSZ, &w);
	assert_int_equal(w.ws_row, 24);
	assert_int_equal(w.ws_col, 80);
	log_off(d);
}

static void
signals_restore_the_terminal(void **state)
{
	static const int signals[] = { SIGTERM, SIGHUP };

	(void)state;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct desk *d = start("vt100", 24, 80, NULL, NULL);
		int status;

		sees(d, "1 of 2 running");
		settle(d);
		kill(d->pid, signals[i]);
		status = finish(d);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 128 + signals[i]);
	}
}

static void
a_fault_of_the_menu_leaves_a_usable_terminal(void **state)
{
	struct desk *d = start("vt100", 24, 80, NULL, NULL);
	int status;

	(void)state;
	sees(d, "1 of 2 running");
	settle(d);
	kill(d->pid, SIGSEGV);
	sees(d, "the menu met a fault of its own and is started again.");
	status = finish(d);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
}

static void
no_key_ends_the_menu(void **state)
{
	struct desk *d = start("vt100", 24, 80, NULL, NULL);

	(void)state;
	sees(d, "1 of 2 running");
	type(d, "\x03\x1a\x1c\x04\x13\x11\033\033qn");
	type(d, "2\r");
	sees(d, "at most 63");
	type(d, "\033");
	log_off(d);
}

static void
the_shell_comes_back_to_the_menu(void **state)
{
	struct desk *d = start("vt100", 24, 80, NULL, NULL);

	(void)state;
	sees(d, "1 of 2 running");
	type(d, "15\r");
	sees(d, "this is fhsh");
	type(d, "\n");
	sees(d, "1 of 2 running");
	log_off(d);
}

static void
a_console_passes_bytes_until_ctrl_bracket(void **state)
{
	struct desk *d = start("vt100", 24, 80, NULL, NULL);

	(void)state;
	sees(d, "1 of 2 running");
	type(d, "16\r");
	sees(d, "web1");
	type(d, "c");
	sees(d, "login: ");
	type(d, "\x03q");
	sees(d, "<\x03><q>");
	type(d, "x\x1d");
	sees(d, "\033[?1049;1047;47l"); /* what a guest has left: screen_test.c */
	sees(d, "Virtual machines");
	type(d, "q");
	log_off(d);
}

static void
what_failed_at_the_start_is_told_first(void **state)
{
	char path[128];
	struct desk *d;
	FILE *f;

	(void)state;
	snprintf(path, sizeof(path), "%s/notice", shells);
	f = fopen(path, "w");
	fputs("The data partition is missing.\nNothing will be\033[2Jkept.\n", f);
	fclose(f);
	d = start("vt100", 24, 80, NULL, NULL);
	sees(d, "What the start of this host has to tell");
	sees(d, "Nothing will be?[2Jkept.");
	settle(d);
	assert_null(strstr(d->seen, "Enter number"));
	type(d, "\r");
	sees(d, "Enter number");
	log_off(d);
	d = start("dumb", 24, 80, NULL, NULL);
	sees(d, "Nothing will be?[2Jkept.");
	sees(d, "Enter number to select an option: ");
	type(d, "12\n\n");
	assert_int_equal(finish(d), 0);
	f = fopen(path, "w"); /* an empty one is none */
	fclose(f);
	d = start("vt100", 24, 80, NULL, NULL);
	sees(d, "Enter number");
	log_off(d);
	unlink(path);
}

static void
an_absent_agent_is_one_sentence(void **state)
{
	struct desk *d;
	char path[sizeof(socket_path)];

	(void)state;
	memcpy(path, socket_path, sizeof(path));
	strcat(socket_path, ".none");
	d = start("vt100", 24, 80, NULL, NULL);
	sees(d, "THE AGENT DOES NOT ANSWER");
	memcpy(socket_path, path, sizeof(path));
	log_off(d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_vt100_is_sent_little_and_in_ascii),
		cmocka_unit_test(a_unicode_terminal_gets_real_lines),
		cmocka_unit_test(an_unknown_terminal_is_a_vt100_and_a_dumb_one_is_asked),
		cmocka_unit_test(the_usual_terminals_need_no_files),
		cmocka_unit_test(a_small_window_is_asked_and_a_larger_one_drawn),
		cmocka_unit_test(a_serial_line_is_asked_for_its_size),
		cmocka_unit_test(signals_restore_the_terminal),
		cmocka_unit_test(a_fault_of_the_menu_leaves_a_usable_terminal),
		cmocka_unit_test(no_key_ends_the_menu),
		cmocka_unit_test(the_shell_comes_back_to_the_menu),
		cmocka_unit_test(a_console_passes_bytes_until_ctrl_bracket),
		cmocka_unit_test(what_failed_at_the_start_is_told_first),
		cmocka_unit_test(an_absent_agent_is_one_sentence),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
