/* hypervisor/disk/copy.c - new images: empty ones, and copies of disks in any format and kind. */
#include "hypervisor/disk/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor/disk/mover.h"
#include "hypervisor/disk/new_file.h"

enum { STEP = 64 << 20 }; /* bytes between two looks at the caller's wish to go on */

bool
disk_cancelled(const struct disk_progress *p, const char *phase, uint64_t done, uint64_t total, struct err *e)
{
	if (!p || !p->step || !p->step(p->ctx, phase, done, total))
		return false;
	err_set(e, ECANCELED, "broken off");
	return true;
}

/* --- content ------------------------------------------------------------------------------------------- */

static int
copy_all(struct mover *m, uint64_t size, const struct disk_progress *p, struct err *e)
{
	int rc = 0;

	for (uint64_t at = 0; at < size && rc == 0;) {
		uint64_t len = size - at < STEP ? size - at : STEP;

		if (disk_cancelled(p, "copy", at, size, e))
			return -ECANCELED;
		rc = mover_wait(m, at, len, e);
		at += len;
	}
	return rc;
}

static int
flush(struct disk *d, struct err *e)
{
	const struct disk_io io = { .op = DISK_FLUSH };
	int rc = disk_wait(d, &io);

	return rc < 0 ? err_set(e, -rc, "it cannot be brought to the disk: %s", strerror(-rc)) : 0;
}

int
disk_copy(struct disk *from, struct disk *to, const struct disk_progress *p, struct err *e)
{
	const struct mover_how how = { .from = from, .to = to, .fresh = true };
	struct mover *m;
	int rc;

	if (to->size < from->size)
		return err_set(e, ENOSPC, "the new disk has %llu bytes, the old one %llu",
		    (unsigned long long)to->size, (unsigned long long)from->size);
	if (from->size % to->logical)
		return err_set(e, EINVAL, "a disk of %llu bytes does not consist of sectors of %u",
		    (unsigned long long)from->size, to->logical);
	rc = mover_new(&m, &how, e);
	if (rc < 0)
		return rc;
	rc = copy_all(m, from->size, p, e);
	mover_free(m);
	if (rc == 0)
		rc = flush(to, e);
	if (rc == 0)
		disk_cancelled(p, "copy", from->size, from->size, NULL);
	return rc;
}

/* --- files --------------------------------------------------------------------------------------------- */

/*
 * What is written has no name yet, and is brought to the disk whole before it gets one (new_file_end): no
 * order of its parts matters until then, and whoever waits for one of them waits for nothing.
 */
static int
sync_later(struct disk_file *f)
{
	(void)f;
	return 0;
}

/* An operation that ends at once, but not before this returns: nothing is read. */
static void
fsync_later(struct disk_file *f, struct io_op *op)
{
	static const struct iovec nothing;

	f->ops->readv(f, op, &nothing, 1, 0);
}

/* A file of its own over the descriptor, which stays the caller's. ops is its memory as long as it is there.
 */
static int
file_of(struct disk_file **out, struct disk_file_ops *ops, struct io_loop *loop, int fd, struct err *e)
{
	int own = fcntl(fd, F_DUPFD_CLOEXEC, 0), rc;

	if (own < 0)
		return err_sys(e, "a second descriptor");
	rc = file_new(out, loop, own, false, e);
	if (rc < 0) {
		close(own);
		return rc;
	}
	*ops = *(*out)->ops;
	ops->sync = sync_later;
	ops->fsync = fsync_later;
	(*out)->ops = ops;
	return 0;
}

static int
create(int fd, const struct disk_new *what, const struct disk_progress *p, struct err *e)
{
	const struct disk_format *f = disk_formats[what->format];
	struct disk_file *file = NULL;
	struct disk_file_ops ops;
	int rc;

	if (!f || !f->create)
		return err_set(e, ENOTSUP, "images of this format cannot be made");
	rc = file_of(&file, &ops, NULL, fd, e);
	if (rc < 0 || !file)
		return rc;
	rc = f->create(file, &what->create, p, e);
	file_free(file);
	return rc;
}

int
disk_make(const struct disk_new *what, const struct disk_progress *p, struct err *e)
{
	struct new_file n;
	int rc = new_file_begin(&n, what->path, what->replace, e);

	if (rc < 0)
		return rc;
	rc = create(n.fd, what, p, e);
	if (rc == 0)
		return new_file_end(&n, e);
	new_file_abort(&n);
	return err_wrap(e, rc, "%s", what->path);
}

static int
open_new(struct disk **out, struct disk_file_ops *ops, int fd, const struct disk_new *what,
    struct io_loop *loop, struct err *e)
{
	struct disk_open how = { .loop = loop, .logical = what->create.logical };
	int rc = file_of(&how.file, ops, loop, fd, e);

	if (rc < 0)
		return rc;
	rc = disk_formats[what->format]->open(out, &how, e);
	if (rc < 0)
		file_free(how.file);
	return rc;
}

static int
fill(struct disk *from, int fd, const struct disk_new *what, const struct disk_progress *p, struct err *e)
{
	struct disk_file_ops ops;
	struct disk *to = NULL;
	int rc = open_new(&to, &ops, fd, what, from->loop, e);

	if (rc < 0 || !to)
		return rc;
	rc = disk_copy(from, to, p, e);
	if (rc == 0)
		rc = disk_close(to, e);
	disk_free(to);
	return rc;
}

int
disk_copy_new(struct disk *from, const struct disk_new *what, const struct disk_progress *p, struct err *e)
{
	struct disk_new w = *what;
	struct new_file n;
	int rc;

	w.create.size = from->size;
	if (!w.create.logical)
		w.create.logical = from->logical;
	if (!w.create.physical)
		w.create.physical = from->physical;
	rc = new_file_begin(&n, w.path, w.replace, e);
	if (rc < 0)
		return rc;
	rc = create(n.fd, &w, p, e);
	if (rc == 0)
		rc = fill(from, n.fd, &w, p, e);
	if (rc == 0)
		return new_file_end(&n, e);
	new_file_abort(&n);
	return err_wrap(e, rc, "%s", what->path);
}
