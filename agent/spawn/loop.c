/* agent/spawn/loop.c - waiting for requests, for what workers say and for their ends. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/spawn/spawn.h"

int
spawn_listen(struct spawner *s, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	mode_t mask;
	int fd, rc;

	if ((size_t)snprintf(a.sun_path, sizeof(a.sun_path), "%s/spawn.sock", s->run) >= sizeof(a.sun_path))
		return err_set(e, ENAMETOOLONG, "%s/spawn.sock: too long for a socket", s->run);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, "socket");
	unlink(a.sun_path);
	mask = umask(0177);
	rc = bind(fd, (struct sockaddr *)&a, sizeof(a));
	umask(mask);
	if (rc < 0 || listen(fd, 4) < 0) {
		rc = err_sys(e, "%s", a.sun_path);
		close(fd);
		return rc;
	}
	return control_new(&s->control, fd, spawn_methods, s, e);
}

enum { CHILD_LOG, CHILD_FIRST, CHILD_PID, CHILD_FDS };

static void
hear(struct spawner *s, struct child *c, const struct pollfd p[CHILD_FDS])
{
	if (p[CHILD_LOG].revents)
		children_log(c);
	if (p[CHILD_FIRST].revents)
		children_started(s, c);
	if (p[CHILD_PID].revents)
		children_ended(s, c);
}

/* Some descriptors a worker, in the order of the table. Requests are dealt with last: they may take rows
 * away. */
void
spawn_step(struct spawner *s, int timeout_ms)
{
	static struct pollfd p[1 + CHILD_FDS * SPAWN_MAX];
	int tend_ms = children_tend(s);
	size_t n = s->children;

	p[0] = (struct pollfd){ .fd = s->control ? control_poll_fd(s->control) : -1, .events = POLLIN };
	for (size_t i = 0; i < n; i++) {
		struct pollfd *of = &p[1 + CHILD_FDS * i];

		of[CHILD_LOG] = (struct pollfd){ .fd = s->child[i]->log_fd, .events = POLLIN };
		of[CHILD_FIRST] = (struct pollfd){ .fd = s->child[i]->first_fd, .events = POLLIN };
		of[CHILD_PID] = (struct pollfd){ .fd = s->child[i]->pidfd, .events = POLLIN };
	}
	if (tend_ms >= 0 && (timeout_ms < 0 || tend_ms < timeout_ms))
		timeout_ms = tend_ms;
	if (poll(p, 1 + CHILD_FDS * n, timeout_ms) <= 0)
		return;
	for (size_t i = 0; i < n; i++)
		hear(s, s->child[i], &p[1 + CHILD_FDS * i]);
	if (p[0].revents)
		control_handle(s->control);
}
