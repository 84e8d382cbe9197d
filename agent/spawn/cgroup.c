/* agent/spawn/cgroup.c - control groups (v2) of workers: Documentation/admin-guide/cgroup-v2.rst. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/spawn/spawn.h"

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

/* What an earlier worker, or an earlier fh-spawn, has left. */
static int
clear_old(const char *parent, const char *name, struct err *e)
{
	pid_t pid;

	cgroup_kill(parent, name);
	pid = cgroup_pid(parent, name);
	if (pid && kill(pid, 0) == 0)
		return err_set(e, EBUSY, "process %d of an earlier worker does not end", (int)pid);
	return 0;
}

static uint64_t
limit_mb(uint64_t memory_mb)
{
	return memory_mb + memory_mb / 64 + SPAWN_OVERHEAD_MB;
}

static int
set_limit(const char *parent, const char *name, uint64_t memory_mb, struct err *e)
{
	char number[32];

	snprintf(number, sizeof(number), "%lluM", (unsigned long long)limit_mb(memory_mb));
	return write_file(parent, name, "memory.max", number, e);
}

/* In MiB; bytes as the kernel tells them, or MiB as they were written. UINT64_MAX: none. */
static uint64_t
read_limit(const char *parent, const char *name)
{
	char path[PATH_MAX], text[32] = "", *end;
	unsigned long long n = 0;
	int fd;

	snprintf(path, sizeof(path), "%s/%s/memory.max", parent, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	n = strtoull(text, &end, 10);
	return strncmp(text, "max", 3) == 0 ? UINT64_MAX : *end == 'M' ? n : n >> 20;
}

int
cgroup_raise(const char *parent, const char *name, uint64_t memory_mb, struct err *e)
{
	return read_limit(parent, name) >= limit_mb(memory_mb) ? 0 : set_limit(parent, name, memory_mb, e);
}

int
cgroup_make(const char *parent, const char *name, uint64_t memory_mb, struct err *e)
{
	char path[PATH_MAX], number[32];
	int rc;

	snprintf(path, sizeof(path), "%s/%s", parent, name);
	rc = mkdir(path, 0755) == 0 ? 0
	     : errno == EEXIST      ? clear_old(parent, name, e)
				    : err_sys(e, "%s", path);
	if (rc < 0)
		return rc;
	rc = set_limit(parent, name, memory_mb, e);
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

bool
cgroup_remove(const char *parent, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", parent, name);
	return rmdir(path) == 0 || errno != EBUSY;
}
