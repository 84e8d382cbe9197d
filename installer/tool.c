/* installer/tool.c - a child process, its standard error read to the end. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "installer/tool.h"
#include "lib/text.h"

extern char **environ;

/* The last line that is not empty, of everything that comes. */
static void
last_line(int fd, char *out, size_t size)
{
	char line[160];
	size_t n = 0;
	char c;

	out[0] = '\0';
	while (read(fd, &c, 1) == 1) {
		if (c != '\n' && n < sizeof(line) - 1)
			line[n++] = c;
		if (c == '\n' && n > 0) {
			line[n] = '\0';
			snprintf(out, size, "%s", line);
			n = 0;
		}
	}
	if (n > 0) {
		line[n] = '\0';
		snprintf(out, size, "%s", line);
	}
	text_clean(out);
}

int
tool_run(const char *const argv[], struct err *e)
{
	posix_spawn_file_actions_t a;
	char said[160];
	int p[2], rc, status = 0;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	posix_spawn_file_actions_init(&a);
	posix_spawn_file_actions_addopen(&a, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&a, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_adddup2(&a, p[1], 2);
	rc = posix_spawnp(&pid, argv[0], &a, NULL, (char *const *)argv, environ);
	posix_spawn_file_actions_destroy(&a);
	close(p[1]);
	if (rc != 0) {
		close(p[0]);
		return err_set(e, rc, "%s: %s", argv[0], strerror(rc));
	}
	last_line(p[0], said, sizeof(said));
	close(p[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return err_set(e, EIO, "%s failed: %s", argv[0], said[0] ? said : "it said nothing");
	return 0;
}
