/*
 * hypervisor/disk_tool/children.c - who else is made on images that a merge changes or deletes.
 *
 * An image does not know its children. So they are looked for where people keep them: in the folders of the
 * images themselves, and in those to search for parents. A VHD's identity does not follow its content: a
 * child of it that was not found shows a mixture from then on, and nobody notices.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hypervisor/disk_tool/tool.h"

struct look {
	const struct disk_chain *chain;
	unsigned first, into; /* images that must have no other children */
};

static bool
is_in_chain(const struct disk_chain *c, const struct stat *st)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->link[i]->st.st_dev == st->st_dev && c->link[i]->st.st_ino == st->st_ino)
			return true;
	return false;
}

static int
refuse(const struct look *l, unsigned parent, const char *folder, const char *name, struct err *e)
{
	const char *path = l->chain->link[parent]->path;

	if (parent == l->into)
		return err_set(e, EBUSY,
		    "%s%s is made on %s, too, which would change under it: merge or convert it first, or "
		    "give it up with --force",
		    folder, name, path);
	return err_set(e, EBUSY,
	    "%s%s is made on %s, %s: merge or convert it first, or give it up with --force", folder, name,
	    path, parent ? "whose parents would change or go" : "which would be deleted");
}

/* What cannot be read is no child that would work. */
static int
look_at_file(const struct look *l, int dir, const char *folder, const char *name, struct err *e)
{
	const struct disk_chain *c = l->chain;
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), rc = 0;
	static struct disk_info info; /* large */
	struct stat st;

	if (fd < 0)
		return 0;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && !is_in_chain(c, &st) &&
	    disk_info_of(fd, DISK_GUESS, &info, NULL) == 0 && info.type == DISK_DIFFERENCING)
		for (unsigned i = l->first; i <= l->into && rc == 0; i++)
			if (disk_parent_fits(&info, &c->link[i]->info, NULL) == 0)
				rc = refuse(l, i, folder, name, e);
	close(fd);
	return rc;
}

/* folder: ends in a slash, or is empty: the one that we are in. */
static int
look_in(const struct look *l, const char *folder, struct err *e)
{
	DIR *dir = opendir(folder[0] ? folder : ".");
	const struct dirent *d;
	int rc = 0;

	if (!dir)
		return err_sys(e, "whether others are made on it: folder %s", folder);
	while (rc == 0 && !interrupted() && (d = readdir(dir)) != NULL)
		rc = look_at_file(l, dirfd(dir), folder, d->d_name, e);
	closedir(dir);
	return rc == 0 && interrupted() ? err_set(e, ECANCELED, "cancelled") : rc;
}

int
children_none(const struct tool *t, const struct disk_chain *c, unsigned first, unsigned into, struct err *e)
{
	const struct look l = { c, first, into };
	char folder[PATH_MAX + 1];
	int rc = 0;

	for (unsigned i = 0; i <= into && rc == 0; i++) {
		const char *path = c->link[i]->path, *name = parent_path_base(path);

		snprintf(folder, sizeof(folder), "%.*s", (int)(name - path), path);
		rc = look_in(&l, folder, e);
	}
	for (size_t i = 0; i < t->search.folders_n && rc == 0; i++) {
		snprintf(folder, sizeof(folder), "%s/", t->search.folders[i]);
		rc = look_in(&l, folder, e);
	}
	return rc;
}
