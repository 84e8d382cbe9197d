/*
 * shell/console.c - pumps between the terminal and a console's stream.
 */
#include "shell/console.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shell/session.h"
#include "shell/tty.h"

enum { CALL_MS = 30000 };

static bool
write_all(int fd, const char *buf, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		buf += n;
		len -= (size_t)n;
	}
	return true;
}

/* From the keyboard: what stands before the escape is still sent. 1: go on, 0: an end, -1: the escape. */
static int
from_keyboard(int in, int stream)
{
	char buf[512], *escape;
	ssize_t n = read(in, buf, sizeof(buf));

	if (n <= 0)
		return n < 0 && errno == EINTR ? 1 : 0;
	escape = memchr(buf, CONSOLE_ESCAPE, (size_t)n);
	for (size_t sent = 0, len = escape ? (size_t)(escape - buf) : (size_t)n; sent < len;) {
		ssize_t put = send(stream, buf + sent, len - sent, MSG_NOSIGNAL);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			return 0;
		sent += (size_t)put;
	}
	return escape ? -1 : 1;
}

static bool
from_machine(int stream, int out)
{
	char buf[4096];
	ssize_t n = read(stream, buf, sizeof(buf));

	if (n < 0 && errno == EINTR)
		return true;
	return n > 0 && write_all(out, buf, (size_t)n);
}

bool
shell_console_pump(int in, int out, int stream)
{
	struct pollfd p[2] = { { .fd = in, .events = POLLIN }, { .fd = stream, .events = POLLIN } };
	int rc = 1;

	while (rc > 0) {
		if (poll(p, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			return false;
		}
		if (p[1].revents && !from_machine(stream, out))
			return false;
		if (p[0].revents)
			rc = from_keyboard(in, stream);
	}
	return rc < 0;
}

int
shell_console_attach(struct session *s, const json_t *params, struct rpc_error *e)
{
	const char *vm = json_string_value(json_object_get(params, "vm")), *ticket;
	json_t *answer;
	bool escaped;
	int fd, rc;

	if (!s->interactive) {
		*e = (struct rpc_error){ .code = SESSION_USAGE, .symbol = "USAGE" };
		snprintf(e->message, sizeof(e->message), "vm.console needs a terminal");
		return -ENOTTY;
	}
	rc = rpc_call(s->rpc, "console.open", json_copy((json_t *)params), CALL_MS, &answer, e);
	if (rc < 0)
		return rc;
	ticket = json_string_value(json_object_get(answer, "ticket"));
	rc = rpc_stream_open(s->rpc, ticket ? ticket : "", &fd, e);
	json_decref(answer);
	if (rc < 0)
		return rc;
	printf("The console of %s. Ctrl-] leaves it.\r\n", vm ? vm : "the machine");
	fflush(stdout);
	if (tty_raw() < 0) {
		close(fd);
		return -ENOTTY;
	}
	escaped = shell_console_pump(STDIN_FILENO, STDOUT_FILENO, fd);
	tty_restore();
	close(fd);
	printf(escaped ? "\nLeft the console.\n" : "\nThe console has ended.\n");
	return 0;
}
