/*
 * sconfig/term.c - what is known of the terminal.
 */
#include "sconfig/term.h"

#include <langinfo.h>
#include <linux/kd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static struct termios saved;
static volatile bool have_saved;

static bool
is_serial(const char *name)
{
	static const char *const kinds[] = { "/dev/ttyS", "/dev/ttyAMA", "/dev/ttyUSB", "/dev/hvc",
		"/dev/console" };

	for (size_t i = 0; name && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strncmp(name, kinds[i], strlen(kinds[i])) == 0)
			return true;
	return false;
}

/* A virtual terminal of the host itself: /dev/tty1. */
static bool
is_screen(const char *name)
{
	return strncmp(name, "/dev/tty", 8) == 0 && name[8] >= '0' && name[8] <= '9';
}

/* A screen of the host that is in UTF-8 mode, as the kernel's are unless they were told otherwise: its font
 * has lines. */
static bool
is_unicode_screen(const char *name)
{
	int mode;

	return name && is_screen(name) && ioctl(0, KDGKBMODE, &mode) == 0 && mode == K_UNICODE;
}

void
term_look(struct terminal *t)
{
	const char *name = ttyname(0), *type = getenv("TERM");
	bool utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;

	t->is_tty = isatty(0) && isatty(1);
	t->serial = t->is_tty && is_serial(name);
	if (!type || !*type) {
		type = !t->is_tty ? "dumb" : name && is_screen(name) ? "linux" : "vt100";
		setenv("TERM", type, 1);
	}
	t->dumb = strcmp(type, "dumb") == 0 || strcmp(type, "unknown") == 0;
	t->unicode = (utf8 || is_unicode_screen(name)) && !t->serial && !t->dumb &&
		     strncmp(type, "vt", 2) != 0 && strcmp(type, "ansi") != 0;
}

void
term_save(void)
{
	have_saved = tcgetattr(0, &saved) == 0;
}

void
term_restore(void)
{
	if (have_saved)
		tcsetattr(0, TCSANOW, &saved);
}

void
term_raw(void)
{
	struct termios t;

	if (tcgetattr(0, &t) < 0)
		return;
	cfmakeraw(&t);
	tcsetattr(0, TCSANOW, &t);
}

static int
ms_since(const struct timespec *t)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int)((now.tv_sec - t->tv_sec) * 1000 + (now.tv_nsec - t->tv_nsec) / 1000000);
}

/* Reads the answer "ESC [ rows ; cols R" that a terminal gives; other bytes are lost. */
static bool
read_report(int *rows, int *cols)
{
	struct timespec since;
	char text[64];
	size_t len = 0;

	clock_gettime(CLOCK_MONOTONIC, &since);
	for (int left = TERM_PROBE_MS; left > 0 && len + 1 < sizeof(text);
	     left = TERM_PROBE_MS - ms_since(&since)) {
		struct pollfd p = { .fd = 0, .events = POLLIN };
		const char *esc;

		if (poll(&p, 1, left) != 1 || read(0, text + len, 1) != 1)
			return false;
		text[++len] = '\0';
		esc = memrchr(text, '\033', len);
		// NOLINTNEXTLINE(cert-err34-c): the caller checks the range
		if (text[len - 1] == 'R' && esc && sscanf(esc, "\033[%4d;%4dR", rows, cols) == 2)
			return true;
	}
	return false;
}

/* Sends the cursor as far as it goes, and asks where that is. */
static bool
probe(int *rows, int *cols)
{
	static const char ask[] = "\0337\033[999;999H\033[6n\0338";
	struct termios before;
	bool ok;

	if (tcgetattr(0, &before) < 0)
		return false;
	term_raw();
	tcflush(0, TCIFLUSH);
	ok = write(1, ask, sizeof(ask) - 1) == (ssize_t)sizeof(ask) - 1 && read_report(rows, cols);
	tcsetattr(0, TCSANOW, &before);
	return ok && *rows > 0 && *cols > 0 && *rows < 1000 && *cols < 1000;
}

void
term_size(const struct terminal *t, bool again, int *rows, int *cols)
{
	struct winsize w = { 0 };

	ioctl(1, TIOCGWINSZ, &w);
	*rows = w.ws_row;
	*cols = w.ws_col;
	if (w.ws_row && w.ws_col && !(t->serial && again))
		return;
	if (!t->is_tty || !probe(rows, cols)) {
		*rows = w.ws_row ? w.ws_row : 24;
		*cols = w.ws_col ? w.ws_col : 80;
	}
	w.ws_row = (unsigned short)*rows;
	w.ws_col = (unsigned short)*cols;
	if (t->is_tty)
		ioctl(1, TIOCSWINSZ, &w);
}
