/* hypervisor/disk/new_file.c - a file that is there whole or not at all. */
#include "hypervisor/disk/new_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hypervisor/disk/lock.h"
#include "lib/file.h"

enum { MODE = 0640 };

/* --- what is there already ----------------------------------------------------------------------------- */

static int
check_old(const char *path, bool replace, struct err *e)
{
	struct stat st;
	int fd, rc;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : err_sys(e, "%s", path);
	if (!replace)
		return err_set(e, EEXIST, "%s is there already", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EEXIST, "%s is there, and no file that could be replaced", path);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(e, "%s", path);
	rc = disk_lock(fd, true, e);
	close(fd);
	return rc < 0 ? err_wrap(e, rc, "%s", path) : 0;
}

/* --- the temporary file -------------------------------------------------------------------------------- */

static int
name_temporary(struct new_file *n, struct err *e)
{
	const char *slash = strrchr(n->path, '/'), *name = slash ? slash + 1 : n->path;
	int len = snprintf(
	    n->temporary, sizeof(n->temporary), "%.*s.%s.new", (int)(name - n->path), n->path, name);

	if (!name[0] || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return err_set(e, EINVAL, "%s: a file's name is missing", n->path);
	return len < (int)sizeof(n->temporary) && strlen(name) + strlen("..new") <= NAME_MAX
		   ? 0
		   : err_set(e, ENAMETOOLONG, "%s: the name is too long", n->path);
}

/* Whoever had the lock before may have renamed or deleted the file that we have opened. */
static bool
still_there(const struct new_file *n)
{
	struct stat mine, named;

	return fstat(n->fd, &mine) == 0 && lstat(n->temporary, &named) == 0 && mine.st_ino == named.st_ino &&
	       mine.st_dev == named.st_dev;
}

static int
open_temporary(struct new_file *n, struct err *e)
{
	int rc;

	for (;;) {
		n->fd = open(n->temporary, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, MODE);
		if (n->fd < 0)
			return err_sys(e, "%s", n->temporary);
		rc = disk_lock(n->fd, true, e);
		if (rc == 0 && still_there(n))
			break;
		close(n->fd);
		n->fd = -1;
		if (rc < 0)
			return err_wrap(e, rc, "%s", n->temporary);
	}
	return ftruncate(n->fd, 0) < 0 ? err_sys(e, "%s", n->temporary) : 0;
}

int
new_file_begin(struct new_file *n, const char *path, bool replace, struct err *e)
{
	int rc;

	*n = (struct new_file){ .replace = replace, .fd = -1 };
	if ((size_t)snprintf(n->path, sizeof(n->path), "%s", path) >= sizeof(n->path))
		return err_set(e, ENAMETOOLONG, "%.80s...: the path is too long", path);
	rc = name_temporary(n, e);
	if (rc == 0)
		rc = check_old(path, replace, e);
	if (rc == 0)
		rc = open_temporary(n, e);
	if (rc < 0)
		new_file_abort(n);
	return rc;
}

/* --- its end ------------------------------------------------------------------------------------------- */

/* Under its name, if nothing has that by now. File systems that cannot rename so can link. */
static int
rename_new(const struct new_file *n)
{
	if (renameat2(AT_FDCWD, n->temporary, AT_FDCWD, n->path, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	if (link(n->temporary, n->path) < 0)
		return -1;
	return unlink(n->temporary);
}

static int
sync_folder(const char *path, struct err *e)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(path, '/');

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
	return file_sync_dir(folder, e);
}

/* The lock goes even if a ring has the file still open (lock.h). */
static void
close_file(struct new_file *n)
{
	disk_unlock(n->fd);
	close(n->fd);
	n->fd = -1;
}

int
new_file_end(struct new_file *n, struct err *e)
{
	int rc = n->replace ? check_old(n->path, true, e) : 0;

	if (rc == 0 && fsync(n->fd) < 0)
		rc = err_sys(e, "%s: it cannot be brought to the disk", n->path);
	if (rc == 0 && (n->replace ? rename(n->temporary, n->path) : rename_new(n)) < 0)
		rc = err_sys(e, "%s", n->path);
	if (rc < 0) {
		new_file_abort(n);
		return rc;
	}
	close_file(n);
	return sync_folder(n->path, e);
}

void
new_file_abort(struct new_file *n)
{
	if (n->fd < 0)
		return;
	unlink(n->temporary);
	close_file(n);
}
