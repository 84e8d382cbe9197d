/*
 * tests/unit/fake_terminal.h - a person at a terminal: starts the menu on a pseudo-terminal, types, and waits
 * for words to come.
 */
#ifndef TESTS_FAKE_TERMINAL_H
#define TESTS_FAKE_TERMINAL_H

#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <pty.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <utmp.h>

enum { SEEN_MAX = 1 << 20, WAIT_MS = 20000, QUIET_MS = 150 };

static char socket_path[64];    /* of the agent that the menu is to ask */
static char programs[PATH_MAX]; /* build/bin */
static char path_before[64];    /* a folder that is searched first */

/* One program on one terminal. */
struct desk {
	pid_t pid;
	int fd, slave;
	char seen[SEEN_MAX]; /* all that it wrote */
	size_t len, mark;    /* mark: where the present step began */
	bool answers;        /* the terminal tells its size when asked */
	struct termios before;
};

/* build/bin, seen from build/tests/unit/NAME. */
static inline void
find_programs(void)
{
	char self[PATH_MAX - 32] = "";

	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	snprintf(programs, sizeof(programs), "%s/bin", dirname(dirname(dirname(self))));
}

static inline int64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Starts the menu with up to three arguments. */
static inline struct desk *
start(const char *term, int rows, int cols, const char *one, const char *two)
{
	struct desk *d = calloc(1, sizeof(*d));
	struct winsize w = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols };
	char path[PATH_MAX], program[PATH_MAX];

	assert_int_equal(openpty(&d->fd, &d->slave, NULL, NULL, &w), 0);
	snprintf(program, sizeof(program), "%.4000s/sconfig", programs);
	tcgetattr(d->slave, &d->before);
	d->pid = fork();
	if (d->pid == 0) {
		login_tty(d->slave);
		snprintf(path, sizeof(path), "%.64s:%.4000s", path_before, getenv("PATH"));
		setenv("PATH", path, 1);
		setenv("TERM", term, 1);
		unsetenv("LC_ALL"); /* of whoever runs the tests */
		unsetenv("LC_CTYPE");
		setenv("LANG", "C.UTF-8", 1);
		execl(program, "sconfig", "--socket", socket_path, one, two, (char *)NULL);
		_exit(126);
	}
	return d;
}

/* Reads what comes within ms; false at the end. */
static inline bool
take(struct desk *d, int ms)
{
	struct pollfd p = { .fd = d->fd, .events = POLLIN };
	ssize_t n;

	if (poll(&p, 1, ms) != 1)
		return true;
	n = read(d->fd, d->seen + d->len, SEEN_MAX - 1 - d->len);
	if (n <= 0)
		return false;
	if (d->answers && memmem(d->seen + d->len, (size_t)n, "\033[6n", 4))
		assert_int_equal(write(d->fd, "\033[30;100R", 9), 9);
	d->len += (size_t)n;
	d->seen[d->len] = '\0';
	return true;
}

static inline void
sees(struct desk *d, const char *words)
{
	int64_t until = now_ms() + WAIT_MS;

	while (!strstr(d->seen + d->mark, words)) {
		if (now_ms() > until || !take(d, 100))
			fail_msg("\"%s\" did not come; what did is: %s", words, d->seen + d->mark);
	}
}

/* Waits until nothing more comes; the bytes of this step. */
static inline size_t
settle(struct desk *d)
{
	size_t was;

	do {
		was = d->len;
		take(d, QUIET_MS);
	} while (d->len != was);
	return d->len - d->mark;
}

static inline void
type(struct desk *d, const char *keys)
{
	settle(d);
	d->mark = d->len;
	assert_int_equal(write(d->fd, keys, strlen(keys)), strlen(keys));
}

/* Its exit status, as waitpid tells; the terminal must be as it was. */
static inline int
finish(struct desk *d)
{
	struct termios after;
	int status;

	while (waitpid(d->pid, &status, WNOHANG) == 0)
		take(d, 20);
	tcgetattr(d->slave, &after);
	assert_int_equal(after.c_lflag, d->before.c_lflag);
	assert_int_equal(after.c_iflag, d->before.c_iflag);
	assert_int_equal(after.c_oflag, d->before.c_oflag);
	close(d->slave);
	close(d->fd);
	free(d);
	return status;
}

#endif
