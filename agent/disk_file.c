/* agent/disk_file.c - raw files and block devices for machines: found, checked, locked, made. */
#include "agent/disk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/files.h"
#include "hypervisor/disk/lock.h"

#define OWN   "./disks/"
#define IMAGE "images/"
#define DEV   "/dev/"

enum { NAMES_TRIED = 10000 };

/* --- paths -------------------------------------------------------------------------------------------- */

static bool
begins(const char *path, const char *with)
{
	return strncmp(path, with, strlen(with)) == 0;
}

/* One name, as people give it; those that begin with a dot are ours. */
static bool
is_plain(const char *name)
{
	return name[0] && name[0] != '.' && !strchr(name, '/') && strlen(name) <= NAME_MAX;
}

/* NAME of ./disks/NAME, also written with the machine's folder before it; NULL. */
static const char *
own_name(const struct disk_place *at, const char *path)
{
	char folder[PATH_MAX];
	size_t len = (size_t)snprintf(folder, sizeof(folder), "%s/vms/%s/disks/", at->data, at->name);

	if (begins(path, OWN))
		return path + strlen(OWN);
	return len < sizeof(folder) && begins(path, folder) ? path + len : NULL;
}

static int
tidy_device(const char *path, char *out, size_t cap, struct err *e)
{
	if (!path[strlen(DEV)] || strstr(path, "/../") || strlen(path) >= cap)
		return err_set(e, EINVAL, "'%.200s': a block device is /dev/NAME", path);
	snprintf(out, cap, "%s", path);
	return 0;
}

int
disk_file_tidy(const struct disk_place *at, const char *path, char *out, size_t cap, struct err *e)
{
	const char *own = own_name(at, path);
	char image[PATH_MAX];
	int rc;

	if (begins(path, DEV))
		return tidy_device(path, out, cap, e);
	if (own && !is_plain(own))
		return err_set(e, EINVAL,
		    "'%.200s': a machine's own disk is ./disks/NAME; NAME does not begin with a dot", path);
	if (own)
		return (size_t)snprintf(out, cap, OWN "%s", own) < cap
			   ? 0
			   : err_set(e, ENAMETOOLONG, "a disk's path has %zu bytes at most", cap - 1);
	rc = file_image_path(at->data, path, image, sizeof(image), NULL);
	if (rc < 0)
		return err_set(e, EINVAL,
		    "'%.150s': a disk is images/NAME, ./disks/NAME in the machine's folder, or /dev/NAME",
		    path);
	if (rc == 0 && (size_t)snprintf(out, cap, "%s", image) >= cap)
		rc = err_set(e, ENAMETOOLONG, "a disk's path has %zu bytes at most", cap - 1);
	return rc;
}

/* The folder that nothing may lead out of, and what is looked for in it; -EINVAL. */
static int
split(const struct disk_place *at, const char *path, char dir[PATH_MAX], const char **rest, struct err *e)
{
	if (begins(path, OWN) && is_plain(path + strlen(OWN))) {
		snprintf(dir, PATH_MAX, "%s/vms/%s/disks", at->data, at->name);
		*rest = path + strlen(OWN);
	} else if (begins(path, IMAGE) && path[strlen(IMAGE)]) {
		snprintf(dir, PATH_MAX, "%s/images", at->data);
		*rest = path + strlen(IMAGE);
	} else if (begins(path, DEV) && path[strlen(DEV)]) {
		snprintf(dir, PATH_MAX, "/dev");
		*rest = path + strlen(DEV);
	} else {
		return err_set(e, EINVAL, "it is neither ./disks/NAME nor images/NAME nor /dev/NAME");
	}
	return 0;
}

/* --- what the host uses ------------------------------------------------------------------------------- */

/* The disk that a device is a part of, or is: "sda" for 8:1. Empty when it is none. */
static void
whole_disk(const char *sys, unsigned major, unsigned minor, char out[NAME_MAX + 1])
{
	char link[PATH_MAX], target[PATH_MAX], *name;
	ssize_t n;

	out[0] = '\0';
	snprintf(link, sizeof(link), "%s/%u:%u", sys, major, minor);
	n = readlink(link, target, sizeof(target) - 1); /* ../../devices/.../block/sda/sda1 */
	if (n <= 0)
		return;
	target[n] = '\0';
	name = strstr(target, "/block/");
	while (name && strstr(name + 1, "/block/"))
		name = strstr(name + 1, "/block/");
	if (!name) /* as it was written by somebody else than the kernel */
		return;
	name += strlen("/block/");
	snprintf(out, NAME_MAX + 1, "%.*s", (int)strcspn(name, "/"), name);
}

int
disk_file_free(const char *mounts, const char *sys, dev_t dev, struct err *e)
{
	char mine[NAME_MAX + 1], other[NAME_MAX + 1], *line = NULL;
	size_t size = 0;
	FILE *f = fopen(mounts, "re");
	int rc = 0;

	if (!f)
		return err_sys(e, "%s", mounts);
	whole_disk(sys, major(dev), minor(dev), mine);
	while (rc == 0 && getline(&line, &size, f) > 0) {
		unsigned major, minor;
		char where[256];

		if (sscanf(line, "%*d %*d %u:%u %*s %255s", &major, &minor, where) != 3)
			continue;
		whole_disk(sys, major, minor, other);
		if (makedev(major, minor) == dev || (mine[0] && strcmp(mine, other) == 0))
			rc = err_set(e, EBUSY, "the host uses this disk itself: it is mounted at %s", where);
	}
	free(line);
	fclose(f);
	return rc;
}

/* --- opening ------------------------------------------------------------------------------------------ */

static int
find(const char *dir, const char *rest, struct err *e)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
	int fd, at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (at < 0)
		return errno == ENOENT ? err_set(e, ENOENT, "there is no such file")
				       : err_set(e, errno, "%s", strerror(errno));
	fd = (int)syscall(SYS_openat2, at, rest, &how, sizeof(how));
	if (fd < 0 && errno == EXDEV)
		fd = err_set(e, EINVAL, "it leads out of %s", dir);
	else if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		fd = err_set(e, ENOENT, "there is no such file");
	else if (fd < 0)
		fd = err_set(e, errno, "%s", strerror(errno));
	close(at);
	return fd;
}

/* What was found, for use. Only now is a device's driver asked: some devices act when they are opened. */
static int
open_found(int found, const struct stat *st, enum disk_use use, struct err *e)
{
	int flags = O_CLOEXEC | (use == USE_WRITE || use == USE_GROW ? O_RDWR : O_RDONLY), fd;
	char path[32];

	if (S_ISBLK(st->st_mode) && (use == USE_WRITE || use == USE_READ))
		flags |= O_EXCL;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", found);
	fd = open(path, flags);
	if (fd >= 0 && S_ISBLK(st->st_mode) && use == USE_READ) { /* nobody's; readers share it */
		close(fd);
		fd = open(path, flags & ~O_EXCL);
	}
	if (fd < 0 && errno == EBUSY)
		return err_set(e, EAGAIN, "it is in use");
	return fd < 0 ? err_set(e, errno, "%s", strerror(errno)) : fd;
}

int
disk_file_size(int fd, uint64_t *size, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, "its size");
	*size = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, size) < 0)
		return err_sys(e, "its size");
	return 0;
}

static int
check_kind(const char *path, const struct stat *st, enum disk_use use, struct err *e)
{
	bool device = begins(path, DEV);

	if (device && !S_ISBLK(st->st_mode))
		return err_set(e, EINVAL, "it is not a block device");
	if (!device && !S_ISREG(st->st_mode))
		return err_set(e, EINVAL, "it is not a file");
	return device && use != USE_LOOK
		   ? disk_file_free("/proc/self/mountinfo", "/sys/dev/block", st->st_rdev, e)
		   : 0;
}

static int
check_size(int fd, uint64_t sector, struct err *e)
{
	uint64_t size = 0;
	int rc = disk_file_size(fd, &size, e);

	if (rc == 0 && size == 0)
		rc = err_set(e, EINVAL, "it is empty");
	else if (rc == 0 && size < sector)
		rc = err_set(e, EINVAL, "it has %llu bytes, less than one sector of %llu",
		    (unsigned long long)size, (unsigned long long)sector);
	return rc;
}

static int
lock(int fd, enum disk_use use, struct err *e)
{
	if (use != USE_READ && use != USE_WRITE)
		return 0;
	return disk_lock(fd, use == USE_WRITE, e);
}

static int
use_found(int found, const char *path, enum disk_use use, uint64_t sector, struct stat *st, struct err *e)
{
	int rc = fstat(found, st) < 0 ? err_sys(e, "stat") : check_kind(path, st, use, e);
	int fd = rc < 0 ? rc : open_found(found, st, use, e);

	if (fd < 0)
		return fd;
	rc = check_size(fd, sector, e);
	if (rc == 0)
		rc = lock(fd, use, e);
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

int
disk_file_open(const struct disk_place *at, const char *path, enum disk_use use, uint64_t sector,
    struct stat *st, struct err *e)
{
	struct stat unused;
	const char *rest = NULL;
	char dir[PATH_MAX];
	int found, fd, rc = split(at, path, dir, &rest, e);

	if (rc < 0)
		return rc;
	found = find(dir, rest, e);
	if (found < 0)
		return found;
	fd = use_found(found, path, use, sector, st ? st : &unused, e);
	close(found);
	return fd;
}

bool
disk_file_same(const struct stat *a, const struct stat *b)
{
	if (S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode))
		return a->st_rdev == b->st_rdev;
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* --- making ------------------------------------------------------------------------------------------- */

/* The machine's disks folder, made if it is missing. The machine's own is never made: it may have gone. */
static int
own_folder(const struct disk_place *at, bool make, struct err *e)
{
	char dir[PATH_MAX];
	int fd;

	snprintf(dir, sizeof(dir), "%s/vms/%s/disks", at->data, at->name);
	if (make && mkdir(dir, 0750) < 0 && errno != EEXIST)
		return err_sys(e, "%s", dir);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_sys(e, "%s", dir) : fd;
}

static int
fill(int fd, uint64_t size, struct err *e)
{
	if (ftruncate(fd, (off_t)size) < 0)
		return errno == EFBIG ? err_set(e, EFBIG, "the data disk's file system has no files so large")
				      : err_sys(e, "its size cannot be set");
	return fsync(fd) < 0 ? err_sys(e, "it cannot be brought to the disk") : 0;
}

int
disk_file_make(const struct disk_place *at, const char *path, uint64_t size, struct err *e)
{
	const char *name = path + strlen(OWN);
	int folder = own_folder(at, true, e), fd, rc;

	if (folder < 0)
		return folder;
	fd = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	rc = fd >= 0           ? fill(fd, size, e)
	     : errno == EEXIST ? err_set(e, EEXIST, "%s is there already", path)
			       : err_sys(e, "%s", path);
	if (fd >= 0) {
		close(fd);
		if (rc == 0 && fsync(folder) < 0)
			rc = err_sys(e, "%s", path);
		if (rc < 0)
			unlinkat(folder, name, 0);
	}
	close(folder);
	return rc;
}

int
disk_file_delete(const struct disk_place *at, const char *path, struct err *e)
{
	int folder = own_folder(at, false, e), rc = 0;

	if (folder < 0)
		return folder;
	if (unlinkat(folder, path + strlen(OWN), 0) < 0 || fsync(folder) < 0)
		rc = err_sys(e, "%s", path);
	close(folder);
	return rc;
}

int
disk_file_name(const struct disk_place *at, const char *end, char *out, size_t cap, struct err *e)
{
	char whole[PATH_MAX];

	for (unsigned i = 0; i < NAMES_TRIED; i++) {
		snprintf(out, cap, OWN "disk%u.%s", i, end);
		snprintf(whole, sizeof(whole), "%s/vms/%s/%s", at->data, at->name, out + 2);
		if (access(whole, F_OK) < 0)
			return 0;
	}
	return err_set(e, EEXIST, "all names from disk0.%s on are taken: give it one", end);
}

int
disk_file_room(const struct disk_place *at, uint64_t *left, struct err *e)
{
	struct statvfs fs;

	if (statvfs(at->data, &fs) < 0)
		return err_sys(e, "%s", at->data);
	*left = (uint64_t)fs.f_bavail * fs.f_frsize;
	return 0;
}
