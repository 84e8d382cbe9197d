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

/* Two descriptors a worker, in the order of the table. Ends are dealt with last: they may take rows away. */
void
spawn_step(struct spawner *s, int timeout_ms)
{
	static struct pollfd p[1 + 2 * SPAWN_MAX];
	size_t n = s->children;

	p[0] = (struct pollfd){ .fd = control_poll_fd(s->control), .events = POLLIN };
	for (size_t i = 0; i < n; i++) {
		p[1 + 2 * i] = (struct pollfd){ .fd = s->child[i]->log_fd, .events = POLLIN };
		p[2 + 2 * i] = (struct pollfd){ .fd = s->child[i]->pidfd, .events = POLLIN };
	}
	if (poll(p, 1 + 2 * n, timeout_ms) <= 0)
		return;
	for (size_t i = 0; i < n; i++) {
		if (p[1 + 2 * i].revents)
			children_log(s->child[i]);
		if (p[2 + 2 * i].revents)
			children_ended(s, s->child[i]);
	}
	if (p[0].revents)
		control_handle(s->control);
}
