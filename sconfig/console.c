/*
 * sconfig/console.c - the terminal as a machine's serial console.
 */
#include "sconfig/console.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "sconfig/term.h"
#include "shell/screen.h"

enum { CTRL_BRACKET = 0x1d };

static bool
write_all(int fd, const char *bytes, size_t n)
{
	while (n) {
		ssize_t done = write(fd, bytes, n);

		if (done < 0 && (errno == EINTR || errno == EAGAIN)) {
			poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 100);
			continue;
		}
		if (done <= 0)
			return false;
		bytes += done;
		n -= (size_t)done;
	}
	return true;
}

/* Passes what is there; false at the end. At most one byte of a key goes on after Ctrl-]. */
static bool
pass_keys(int fd, bool *left)
{
	char bytes[256];
	ssize_t n = read(0, bytes, sizeof(bytes));
	char *end = n > 0 ? memchr(bytes, CTRL_BRACKET, (size_t)n) : NULL;

	if (n <= 0)
		return n < 0 && (errno == EINTR || errno == EAGAIN);
	*left = end != NULL;
	return write_all(fd, bytes, end ? (size_t)(end - bytes) : (size_t)n) && !end;
}

static bool
pass_output(int fd)
{
	char bytes[4096];
	ssize_t n = read(fd, bytes, sizeof(bytes));

	if (n <= 0)
		return n < 0 && (errno == EINTR || errno == EAGAIN);
	return write_all(1, bytes, (size_t)n);
}

static enum console_end
pass(int fd)
{
	for (;;) {
		struct pollfd p[] = { { .fd = 0, .events = POLLIN }, { .fd = fd, .events = POLLIN } };
		bool left = false;

		if (poll(p, 2, -1) < 0) {
			if (errno != EINTR)
				return CONSOLE_CLOSED;
			continue;
		}
		if (p[1].revents && !pass_output(fd))
			return CONSOLE_CLOSED;
		if (p[0].revents && !pass_keys(fd, &left))
			return left ? CONSOLE_LEFT : CONSOLE_HUNG_UP;
	}
}

enum console_end
console_run(int fd)
{
	enum console_end end;

	term_raw();
	end = pass(fd);
	screen_reset(1);
	term_restore();
	close(fd);
	return end;
}
