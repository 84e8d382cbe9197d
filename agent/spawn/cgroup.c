/* agent/spawn/cgroup.c - control groups (v2) of workers: Documentation/admin-guide/cgroup-v2.rst. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/spawn/spawn.h"

enum { REMOVE_TRIES = 50, REMOVE_WAIT_US = 20000 };

static int
write_file(const char *dir, const char *name, const char *file, const char *text, struct err *e)
{
	char path[PATH_MAX];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s/%s", dir, name, file);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, "%s", path);
	n = write(fd, text, strlen(text));
	if (n < 0)
		err_sys(e, "%s", path);
	close(fd);
	return n < 0 ? -e->code : 0;
}

/* Controllers are handed down level by level: by the parent's own parent first. */
int
cgroup_prepare(const char *parent, struct err *e)
{
	int rc = 0;

	if (mkdir(parent, 0755) < 0 && errno != EEXIST)
		return err_sys(e, "%s", parent);
	rc = write_file(parent, "..", "cgroup.subtree_control", "+memory +pids", e);
	if (rc == 0)
		rc = write_file(parent, ".", "cgroup.subtree_control", "+memory +pids", e);
	return rc;
}

int
cgroup_make(const char *parent, const char *name, uint64_t memory_mb, struct err *e)
{
	char path[PATH_MAX], number[32];
	uint64_t most = memory_mb + memory_mb / 64 + SPAWN_OVERHEAD_MB;
	int rc;

	snprintf(path, sizeof(path), "%s/%s", parent, name);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return err_sys(e, "%s", path);
	snprintf(number, sizeof(number), "%lluM", (unsigned long long)most);
	rc = write_file(parent, name, "memory.max", number, e);
	snprintf(number, sizeof(number), "%d", SPAWN_PIDS);
	if (rc == 0)
		rc = write_file(parent, name, "pids.max", number, e);
	if (rc < 0)
		rmdir(path);
	return rc;
}

pid_t
cgroup_pid(const char *parent, const char *name)
{
	char path[PATH_MAX], text[32] = "";
	long pid;
	int fd;

	snprintf(path, sizeof(path), "%s/%s/cgroup.procs", parent, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	pid = strtol(text, NULL, 10);
	return pid > 1 && pid <= INT_MAX ? (pid_t)pid : 0;
}

void
cgroup_kill(const char *parent, const char *name)
{
	struct err e = { 0 };

	write_file(parent, name, "cgroup.kill", "1", &e);
}

/* A group is busy for a moment after its last process has ended. */
void
cgroup_remove(const char *parent, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", parent, name);
	for (int i = 0; i < REMOVE_TRIES && rmdir(path) < 0 && errno == EBUSY; i++)
		usleep(REMOVE_WAIT_US);
}
