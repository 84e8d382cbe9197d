/*
 * hypervisor/disk/lock.c - who may have an image open: one writer, or any number of readers.
 */
#include "hypervisor/disk/lock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "lib/text.h"

enum {
	NOT_WRITTEN = 201, /* QEMU: a lock of byte 200 + n forbids permission n; 1 is to write */
	PROCESS_NAME = 64,
	/* The files of a process that has died stay open until the kernel has taken its io_uring apart, in
	 * the background: so a lock that nobody holds who can be seen is waited for, 10 s. */
	PAUSES = 500,
	PAUSE_MS = 20,
};

static int
set(int fd, short type, off_t start, off_t len)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };
	int rc;

	do
		rc = fcntl(fd, F_OFD_SETLK, &l);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

/* Read locks of NOT_WRITTEN only; the rest of what a writer held goes. */
static int
lock_reading(int fd)
{
	int rc = set(fd, F_RDLCK, NOT_WRITTEN, 1);

	if (rc == 0)
		rc = set(fd, F_UNLCK, 0, NOT_WRITTEN);
	if (rc == 0)
		rc = set(fd, F_UNLCK, NOT_WRITTEN + 1, 0);
	return rc;
}

static int
attempt(int fd, bool writing)
{
	int rc = writing ? set(fd, F_WRLCK, 0, 0) : lock_reading(fd);

	return rc == -EACCES ? -EAGAIN : rc;
}

/* The lock, or who is in the way: holder is empty if nobody can be seen. */
static int
attempts(int fd, bool writing, char *holder, size_t size)
{
	static const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000l };
	int rc = attempt(fd, writing);

	holder[0] = '\0';
	for (unsigned i = 0; rc == -EAGAIN && i < PAUSES && !disk_lock_holder(fd, holder, size); i++) {
		nanosleep(&pause, NULL);
		rc = attempt(fd, writing);
	}
	return rc;
}

int
disk_lock(int fd, bool writing, struct err *e)
{
	char holder[PROCESS_NAME + 64];
	int rc = attempts(fd, writing, holder, sizeof(holder));

	if (rc == 0)
		return 0;
	if (rc == -EBADF)
		return err_set(
		    e, EBADF, "it cannot be locked: it is not open for %s", writing ? "writing" : "reading");
	if (rc == -ENOLCK || rc == -EOPNOTSUPP)
		return err_set(e, -rc,
		    "it cannot be locked (%s): its file system has no locks, or its server does not answer "
		    "for them",
		    strerror(-rc));
	if (rc != -EAGAIN)
		return err_set(e, -rc, "it cannot be locked: %s", strerror(-rc));
	if (holder[0])
		return err_set(e, EAGAIN, "it is in use by %s", holder);
	return err_set(
	    e, EAGAIN, "it is in use, by another host or by a process that cannot be seen from here");
}

void
disk_unlock(int fd)
{
	set(fd, F_UNLCK, 0, 0);
}

/* --- who shares it ----------------------------------------------------------------------------------- */

struct disk_hold {
	unsigned sharers;
};

struct disk_hold *
disk_hold_new(void)
{
	struct disk_hold *h = calloc(1, sizeof(*h));

	return disk_hold_share(h);
}

struct disk_hold *
disk_hold_share(struct disk_hold *h)
{
	if (h)
		h->sharers++;
	return h;
}

void
disk_hold_end(struct disk_hold *h, int fd)
{
	if (!h || --h->sharers)
		return;
	disk_unlock(fd);
	free(h);
}

/* --- whose lock it is -------------------------------------------------------------------------------- */

/*
 * /proc/locks has no process for locks of this kind (-1), but each descriptor's fdinfo has the lines of the
 * locks that it holds: "lock:\t1: OFDLCK  ADVISORY  WRITE -1 08:01:131 0 EOF". Only these are read, never the
 * descriptors themselves: they may be of a server that does not answer.
 */
static bool
holds(const char *fdinfo, const struct stat *st)
{
	char line[256];
	bool found = false;
	FILE *f = fopen(fdinfo, "re");

	while (f && !found && fgets(line, sizeof(line), f)) {
		unsigned major, minor;
		unsigned long long inode;

		found = strncmp(line, "lock:", 5) == 0 &&
			sscanf(line, "lock: %*u: %*s %*s %*s %*d %x:%x:%llu", &major, &minor, &inode) == 3 &&
			inode == st->st_ino && makedev(major, minor) == st->st_dev;
	}
	if (f)
		fclose(f);
	return found;
}

static bool
process_holds(const char *pid, int own, const struct stat *st)
{
	char path[512];
	struct dirent *d;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.32s/fdinfo", pid);
	dir = opendir(path);
	while (dir && !found && (d = readdir(dir)) != NULL) {
		if (d->d_name[0] == '.' || (own >= 0 && atoi(d->d_name) == own))
			continue;
		snprintf(path, sizeof(path), "/proc/%.32s/fdinfo/%.32s", pid, d->d_name);
		found = holds(path, st);
	}
	if (dir)
		closedir(dir);
	return found;
}

static void
name_process(const char *pid, char *out, size_t size)
{
	char path[64], name[PROCESS_NAME] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.32s/comm", pid);
	f = fopen(path, "re");
	if (f) {
		if (fgets(name, sizeof(name), f))
			name[strcspn(name, "\n")] = '\0';
		fclose(f);
	}
	text_clean(name);
	snprintf(out, size, "%s (process %.32s)", name[0] ? name : "somebody", pid);
}

bool
disk_lock_holder(int fd, char *out, size_t size)
{
	struct dirent *d;
	struct stat st;
	bool found = false;
	DIR *proc;

	if (fstat(fd, &st) < 0)
		return false;
	proc = opendir("/proc");
	while (proc && !found && (d = readdir(proc)) != NULL) {
		int own = atoi(d->d_name) == (int)getpid() ? fd : -1;

		if (d->d_name[0] < '1' || d->d_name[0] > '9' || !process_holds(d->d_name, own, &st))
			continue;
		name_process(d->d_name, out, size);
		found = true;
	}
	if (proc)
		closedir(proc);
	return found;
}
