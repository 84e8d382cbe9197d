/*
 * shell/tty.c - raw mode, hidden input, and the way back from both.
 */
#include "shell/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "shell/screen.h"

/* The one terminal of the process: as it was, and whether it must be put back. */
static struct termios before;
static int changed_fd = -1;
static volatile sig_atomic_t changed, raw;

static const int deadly[] = { SIGHUP, SIGTERM, SIGQUIT, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };

void
tty_restore(void)
{
	int saved = errno;

	if (raw) {
		raw = 0;
		screen_reset(STDOUT_FILENO);
	}
	if (changed) {
		changed = 0;
		tcsetattr(changed_fd, TCSAFLUSH, &before);
	}
	errno = saved;
}

static void
on_deadly(int sig)
{
	tty_restore();
	raise(sig); /* the handler is reset: this time it counts */
}

static int
change(int fd, const struct termios *now)
{
	static bool prepared;
	struct sigaction sa = { .sa_handler = on_deadly, .sa_flags = (int)SA_RESETHAND | SA_NODEFER };

	if (!prepared) {
		atexit(tty_restore);
		prepared = true;
	}
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		sigaction(deadly[i], &sa, NULL);
	changed_fd = fd;
	changed = 1;
	if (tcsetattr(fd, TCSAFLUSH, now) == 0)
		return 0;
	changed = 0;
	return -1;
}

int
tty_raw(void)
{
	struct termios now;

	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return -1;
	now = before;
	cfmakeraw(&now);
	raw = 1;
	if (change(STDIN_FILENO, &now) == 0)
		return 0;
	raw = 0;
	return -1;
}

/* A line of at most size - 1 bytes from fd; the rest of a longer one is lost. */
static int
read_line(int fd, char *out, size_t size)
{
	size_t n = 0;
	ssize_t got;
	char c;

	while ((got = read(fd, &c, 1)) == 1 && c != '\n')
		if (n + 1 < size)
			out[n++] = c;
	out[n] = '\0';
	return got == 1 ? 0 : -1; /* Ctrl-C, Ctrl-D */
}

static int
ask(const char *question, char *out, size_t size, bool hidden)
{
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY), rc = -1;
	struct termios now;

	out[0] = '\0';
	if (fd < 0)
		return -1;
	/* Echo goes off before the question comes, so that not even a quick answer is seen. */
	if (hidden) {
		if (tcgetattr(fd, &before) < 0)
			goto done;
		now = before;
		now.c_lflag &= ~(tcflag_t)ECHO;
		if (change(fd, &now) < 0)
			goto done;
	}
	if (dprintf(fd, "%s", question) < 0)
		goto done;
	rc = read_line(fd, out, size);
done:
	if (hidden && changed) {
		tty_restore();
		dprintf(fd, "\n");
	}
	close(fd);
	if (rc < 0)
		explicit_bzero(out, size);
	return rc;
}

int
tty_ask_secret(const char *question, char *out, size_t size)
{
	return ask(question, out, size, true);
}

int
tty_ask(const char *question, char *out, size_t size)
{
	return ask(question, out, size, false);
}

bool
tty_is_interactive(void)
{
	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}
