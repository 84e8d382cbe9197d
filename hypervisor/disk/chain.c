/*
 * hypervisor/disk/chain.c - an image with all its parents, found by their paths.
 */
#include "hypervisor/disk/chain.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hypervisor/disk/lock.h"
#include "lib/text.h"

/* --- opening one file --------------------------------------------------------------------------------- */

/* A path as it may be shown: it can come from an image. */
static const char *
shown(const char *path, char out[81])
{
	size_t len = strlen(path);

	if (len > 80)
		snprintf(out, 81, "...%s", path + len - 77);
	else
		snprintf(out, 81, "%s", path);
	text_clean(out);
	return out;
}

/* With a root: below it, however the path is written. NULL: it leads elsewhere. */
static const char *
below_root(const struct disk_chain *c, const char *path)
{
	const char *root = c->root < 0 ? "" : c->search->root;
	size_t n = strlen(root);

	while (n > 0 && root[n - 1] == '/')
		n--;
	if (c->root < 0 || path[0] != '/')
		return path;
	if (strncmp(path, root, n) != 0 || path[n] != '/')
		return NULL;
	path += n;
	return path + strspn(path, "/");
}

static int
find(const struct disk_chain *c, const char *path, struct err *e)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC };
	const char *inside = below_root(c, path);
	char text[81];
	int fd;

	if (!inside && c->root >= 0)
		return err_set(e, EXDEV, "%s: it is not in %s", shown(path, text), c->search->root);
	if (c->root >= 0)
		how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
	fd = (int)syscall(SYS_openat2, c->root >= 0 ? c->root : AT_FDCWD, inside, &how, sizeof(how));
	if (fd >= 0)
		return fd;
	if (errno == EXDEV)
		return err_set(e, EXDEV, "%s: it leads out of %s", shown(path, text), c->search->root);
	if (errno == ENOTDIR || errno == ENOENT)
		return err_set(e, ENOENT, "%s: there is no such file", shown(path, text));
	return err_sys(e, "%s", shown(path, text));
}

/* What was found is opened only when it is known to be no device that acts, or pipe that waits. */
static int
open_found(int found, bool write, bool device, struct stat *st, struct err *e)
{
	char self[32];
	int fd;

	if (fstat(found, st) < 0)
		return err_sys(e, "stat");
	if (!S_ISREG(st->st_mode) && !(device && S_ISBLK(st->st_mode)))
		return err_set(e, EINVAL, "it is not a file");
	snprintf(self, sizeof(self), "/proc/self/fd/%d", found);
	fd = open(self, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return err_set(e, ENOENT, "it cannot be opened: /proc is not mounted");
	return fd < 0 ? err_set(e, errno, "%s", strerror(errno)) : fd;
}

/* A file over a second descriptor, which shares the lock of the first. */
static int
file_over(
    struct disk_file **out, int fd, struct disk_hold *hold, struct io_loop *loop, bool write, struct err *e)
{
	int own = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0), rc;

	if (own < 0)
		return fd < 0 ? err_set(e, EBADF, "it is not open") : err_sys(e, "a second descriptor");
	rc = file_new(out, loop, own, !write, e);
	if (rc < 0)
		close(own);
	else
		(*out)->hold = disk_hold_share(hold);
	return rc;
}

int
disk_info_of(int fd, int format, struct disk_info *info, struct err *e)
{
	struct disk_file *f = NULL;
	int rc = file_over(&f, fd, NULL, NULL, false, e);

	if (rc < 0 || !f)
		return rc;
	if (format == DISK_GUESS)
		format = (int)disk_format_guess(f);
	memset(info, 0, sizeof(*info));
	rc = disk_formats[format] ? disk_formats[format]->info(f, info, e)
				  : err_set(e, ENOTSUP, "images of this format cannot be read");
	file_free(f);
	return rc;
}

/* --- one image of the chain --------------------------------------------------------------------------- */

static void
close_link(struct disk_link *l)
{
	disk_hold_end(l->hold, l->fd);
	l->hold = NULL;
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

static void
free_link(struct disk_link *l)
{
	if (!l)
		return;
	close_link(l);
	free(l);
}

static int
lock_link(struct disk_link *l, bool write, struct err *e)
{
	int rc = disk_lock(l->fd, write, e);

	if (rc < 0)
		return rc;
	l->hold = disk_hold_new();
	return l->hold ? 0 : err_set(e, ENOMEM, "out of memory");
}

static int
in_chain(const struct disk_chain *c, const struct disk_link *l, struct err *e)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->link[i]->st.st_dev == l->st.st_dev && c->link[i]->st.st_ino == l->st.st_ino)
			return err_set(e, ELOOP,
			    "it is in the chain already, as %s: no image is its own parent",
			    i ? "another one's parent" : "the first");
	return 0;
}

/* A parent has its child's format, whatever it looks like; its looks only explain why it cannot be read. */
static int
parent_info(struct disk_link *l, int format, struct err *e)
{
	struct disk_info looks = { 0 };
	int rc = disk_info_of(l->fd, format, &l->info, e);

	if (rc < 0 && disk_info_of(l->fd, DISK_GUESS, &looks, NULL) == 0 && (int)looks.format != format)
		return err_set(e, EINVAL, "it is %s, the image on it %s: a chain has one format",
		    disk_formats[looks.format]->name, disk_formats[format]->name);
	return rc;
}

static int
load_link(const struct disk_chain *c, struct disk_link *l, const struct disk_chain_how *how, struct err *e)
{
	bool write = how->write && c->n == 0;
	int found = find(c, l->path, e), rc;
	char text[81];

	if (found < 0)
		return found;
	l->fd = open_found(found, write, c->n == 0, &l->st, e);
	close(found);
	rc = l->fd < 0 ? l->fd : in_chain(c, l, e);
	if (rc == 0 && !how->look)
		rc = lock_link(l, write, e);
	if (rc == 0)
		rc = c->n ? parent_info(l, how->format, e) : disk_info_of(l->fd, how->format, &l->info, e);
	return rc < 0 ? err_wrap(e, rc, "%s", shown(l->path, text)) : 0;
}

static int
new_link(struct disk_link **out, const struct disk_chain *c, const char *path,
    const struct disk_chain_how *how, struct err *e)
{
	struct disk_link *l = calloc(1, sizeof(*l));
	int rc;

	if (!l)
		return err_set(e, ENOMEM, "out of memory");
	l->fd = -1;
	if ((size_t)snprintf(l->path, sizeof(l->path), "%s", path) < sizeof(l->path))
		rc = load_link(c, l, how, e);
	else
		rc = err_set(e, ENAMETOOLONG, "%.80s...: the path is too long", path);
	if (rc < 0)
		free_link(l);
	else
		*out = l;
	return rc;
}

/* --- its parent --------------------------------------------------------------------------------------- */

/* The search for one parent: the first place where something is that does not fit is worth telling. */
struct hunt {
	struct disk_chain *c;
	struct disk_chain_how how;
	const struct disk_link *child;
	struct err why;
	bool found;
};

static int
check_fit(const struct disk_link *child, const struct disk_link *l, struct err *e)
{
	char text[81];
	int rc = disk_parent_fits(&child->info, &l->info, e);

	if (rc == -ESTALE)
		return err_set(e, ESTALE,
		    "%s: it was changed after this image was made on it, or is another one; "
		    "'fh-disk relink --force' takes it as it is",
		    shown(l->path, text));
	return rc < 0 ? err_wrap(e, rc, "%s", shown(l->path, text)) : 0;
}

/* True: the search is over. */
static bool
try_path(struct hunt *h, const char *path)
{
	struct disk_link *l = NULL;
	struct err e = { 0 };
	int rc = new_link(&l, h->c, path, &h->how, &e);

	if (rc == 0 && l)
		rc = check_fit(h->child, l, &e);
	if (rc == 0) {
		h->c->link[h->c->n++] = l;
		h->found = true;
		return true;
	}
	free_link(l);
	if (rc != -ENOENT && (!h->why.code || h->why.code == EXDEV))
		h->why = e;
	return rc == -ENOMEM || rc == -EMFILE || rc == -ENFILE;
}

static bool
try_stored(struct hunt *h, const struct disk_parent_path *p)
{
	char here[PATH_MAX], path[PATH_MAX];

	if (parent_path_here(p->path, h->c->search, here) < 0)
		return false;
	if (here[0] == '/')
		return try_path(h, here);
	return parent_path_beside(h->child->path, here, path) == 0 && try_path(h, path);
}

static bool
try_folders(struct hunt *h, const char *name)
{
	const struct disk_search *s = h->c->search;
	char path[PATH_MAX];

	if (parent_path_beside(h->child->path, name, path) == 0 && try_path(h, path))
		return true;
	for (size_t i = 0; s && i < s->folders_n; i++)
		if (snprintf(path, sizeof(path), "%s/%s", s->folders[i], name) < (int)sizeof(path) &&
		    try_path(h, path))
			return true;
	return false;
}

/* The relative path comes first, whatever the order in the image: it stays right when both are moved. */
static bool
is_relative(const struct disk_parent_path *p)
{
	return strcmp(p->which, "relative_path") == 0 || strcmp(p->which, "W2ru") == 0;
}

static void
hunt(struct hunt *h)
{
	const struct disk_info *info = &h->child->info;

	for (int absolute = 0; absolute < 2; absolute++)
		for (unsigned i = 0; i < info->parent_paths; i++)
			if (is_relative(&info->parent_path[i]) == !absolute &&
			    try_stored(h, &info->parent_path[i]))
				return;
	for (unsigned i = 0; i < info->parent_paths; i++) {
		char here[PATH_MAX];
		const char *name = here;

		/* Of a path on an unknown drive the name is as good as any. */
		if (parent_path_here(info->parent_path[i].path, NULL, here) < 0) {
			const char *back = strrchr(info->parent_path[i].path, '\\');

			name = back ? back + 1 : info->parent_path[i].path;
		}
		name = parent_path_base(name);
		if (name[0] && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && try_folders(h, name))
			return;
	}
}

static int
not_found(const struct hunt *h, struct err *e)
{
	const struct disk_info *info = &h->child->info;
	char text[81], child[81];

	shown(h->child->path, child);
	if (h->why.code) {
		if (e)
			*e = h->why;
		return err_wrap(e, -h->why.code, "parent of %s", child);
	}
	if (!info->parent_paths)
		return err_set(e, ENOENT, "parent of %s: the image does not say where it is", child);
	return err_set(e, ENOENT, "parent of %s: '%s' is not there, nor in the folders to search", child,
	    shown(info->parent_path[0].path, text));
}

static int
add_parent(struct disk_chain *c, const struct disk_chain_how *how, struct err *e)
{
	struct hunt h = { .c = c, .how = *how, .child = c->link[c->n - 1] };

	if (c->n == DISK_CHAIN_MAX)
		return err_set(
		    e, ELOOP, "%s: a chain has %d images at most", c->link[0]->path, DISK_CHAIN_MAX);
	h.how.format = (int)h.child->info.format;
	hunt(&h);
	return h.found ? 0 : not_found(&h, e);
}

/* --- chains ------------------------------------------------------------------------------------------- */

static int
open_root(struct disk_chain *c, struct err *e)
{
	if (!c->search || !c->search->root)
		return 0;
	c->root = open(c->search->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return c->root < 0 ? err_sys(e, "%s", c->search->root) : 0;
}

static int
fill(struct disk_chain *c, const char *path, const struct disk_chain_how *how, struct err *e)
{
	const struct disk_link *last;
	int rc = open_root(c, e);

	if (rc == 0)
		rc = new_link(&c->link[0], c, path, how, e);
	last = c->link[0];
	c->n = last != NULL;
	while (rc == 0 && last && last->info.type == DISK_DIFFERENCING) {
		if (how->most && c->n == how->most)
			return 0;
		rc = add_parent(c, how, e);
		last = c->link[c->n - 1];
	}
	c->complete = rc == 0;
	return rc;
}

int
disk_chain_open(struct disk_chain **out, const char *path, const struct disk_chain_how *how, struct err *e)
{
	struct disk_chain *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	c->root = -1;
	c->search = how->search;
	rc = fill(c, path, how, e);
	if (rc < 0)
		disk_chain_free(c);
	else
		*out = c;
	return rc;
}

void
disk_chain_free(struct disk_chain *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->n; i++)
		free_link(c->link[i]);
	if (c->root >= 0)
		close(c->root);
	free(c);
}

/* --- disks and files of it ---------------------------------------------------------------------------- */

/* One disk, over its parent, which is freed if this fails. */
static int
add_disk(
    struct disk **d, const struct disk_link *l, const struct disk_stack *stack, bool write, struct err *e)
{
	struct disk_open how = { .loop = stack->loop,
		.read_only = !write,
		.parent = *d,
		.logical = l->info.logical,
		.keep_data_id = stack->keep_id };
	int rc = file_over(&how.file, l->fd, l->hold, stack->loop, write, e);

	if (rc == 0) {
		rc = disk_formats[l->info.format]->open(d, &how, e);
		if (rc < 0)
			file_free(how.file);
	}
	if (rc < 0) {
		disk_free(how.parent);
		*d = NULL;
	}
	return rc < 0 ? err_wrap(e, rc, "%s", l->path) : 0;
}

int
disk_chain_disk(struct disk **out, struct disk_chain *c, const struct disk_stack *how, struct err *e)
{
	unsigned to = how->to ? how->to : c->n;
	struct disk *d = how->below;
	int rc = 0;

	if (!c->complete && !d) {
		disk_free(d);
		return err_set(e, EINVAL, "%s: its parents were not opened", c->link[0]->path);
	}
	for (unsigned i = to; rc == 0 && i > how->from; i--)
		rc = add_disk(&d, c->link[i - 1], how, how->write && i - 1 == how->from, e);
	if (rc == 0)
		*out = d;
	return rc;
}

int
disk_chain_file(struct disk_file **out, struct disk_chain *c, unsigned n, bool write, struct err *e)
{
	int rc = file_over(out, c->link[n]->fd, c->link[n]->hold, NULL, write, e);

	return rc < 0 ? err_wrap(e, rc, "%s", c->link[n]->path) : 0;
}

int
disk_chain_reread(struct disk_chain *c, unsigned n, struct err *e)
{
	struct disk_link *l = c->link[n];
	int rc = disk_info_of(l->fd, (int)l->info.format, &l->info, e);

	return rc < 0 ? err_wrap(e, rc, "%s", l->path) : 0;
}

int
disk_chain_sync(const struct disk_chain *c, unsigned n, struct err *e)
{
	char text[81];

	if (fdatasync(c->link[n]->fd) < 0)
		return err_sys(e, "%s: it cannot be made durable", shown(c->link[n]->path, text));
	return 0;
}

static int
rewrite(struct disk_chain *c, struct disk_link *l, struct err *e)
{
	struct stat st;
	int rc, found = find(c, l->path, e);

	if (found < 0)
		return found;
	l->fd = open_found(found, true, false, &st, e);
	close(found);
	if (l->fd < 0)
		return l->fd;
	rc = lock_link(l, true, e);
	if (rc == 0 && (st.st_dev != l->st.st_dev || st.st_ino != l->st.st_ino))
		rc = err_set(e, ESTALE, "another file has taken its place");
	return rc;
}

int
disk_chain_rewrite(struct disk_chain *c, unsigned n, struct err *e)
{
	struct disk_link *l = c->link[n];
	char text[81];
	int rc;

	close_link(l); /* its own lock would be in the way */
	rc = rewrite(c, l, e);
	if (rc == 0)
		return disk_chain_reread(c, n, e);
	close_link(l);
	return err_wrap(e, rc, "%s", shown(l->path, text));
}
