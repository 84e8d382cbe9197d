/*
 * hypervisor/disk/mover_direct.c - data that the kernel copies from file to file: no byte of it comes here,
 * but the first of each run, to see whether it is zero.
 */
#include "hypervisor/disk/mover_direct.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor/disk/image.h"
#include "hypervisor/disk/mover.h"

enum {
	PROBE = 64,
	PAGE = 4096,
	WINDOW = 8 << 20, /* looked through, then copied: while it is still in the page cache */
};

/* --- places in the destination ------------------------------------------------------------------------- */

static struct image *
image_of(struct disk *d)
{
	return d->ops->submit == image_submit ? (struct image *)d : NULL;
}

static int
place(struct disk *to, uint64_t offset, uint64_t len, struct extent *x, struct err *e)
{
	struct image *i = image_of(to);
	int rc;

	if (!i) { /* no tables: where it is in the disk, it is in the file */
		*x = (struct extent){ .kind = EXTENT_DATA, .at = offset, .len = len };
		return 0;
	}
	do
		rc = i->ops->place(i, offset, len, x);
	while (rc == -EAGAIN && file_pump(to->file));
	return rc < 0 ? err_set(e, -rc, "offset %llu of the disk: no place for it: %s",
			    (unsigned long long)offset, strerror(-rc))
		      : 0;
}

static void
placed(struct disk *to, uint64_t offset, const struct extent *x, int rc)
{
	struct image *i = image_of(to);

	if (i)
		i->ops->wrote(i, offset, x, rc);
}

/* --- copying ------------------------------------------------------------------------------------------- */

/* What tells that these two files cannot be copied so. */
static bool
impossible(int error)
{
	return error == EXDEV || error == EINVAL || error == EOPNOTSUPP || error == ENOSYS || error == EBADF;
}

static int
copy(int from, uint64_t at, int to, uint64_t where, uint64_t len)
{
	while (len) {
		off_t in = (off_t)at, out = (off_t)where;
		ssize_t n = copy_file_range(from, &in, to, &out, len, 0);

		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return impossible(errno) ? -EXDEV : -errno;
		if (n == 0)
			return -EIO; /* the file has shrunk */
		at += (uint64_t)n;
		where += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

/* A run of data, which may lie in several places of the destination. */
static int
copy_run(struct disk *to, const struct layer_extent *from, uint64_t skip, uint64_t offset, uint64_t len,
    struct err *e)
{
	while (len) {
		struct extent x;
		int rc = place(to, offset, len, &x, e);

		if (rc < 0)
			return rc;
		if (x.len > len)
			x.len = len;
		rc = copy(from->owner->file->fd, from->at + skip, to->file->fd, x.at, x.len);
		placed(to, offset, &x, rc);
		if (rc < 0)
			return rc == -EXDEV
				   ? rc
				   : err_set(e, -rc, "offset %llu of the disk: it cannot be copied: %s",
					 (unsigned long long)offset, strerror(-rc));
		skip += x.len;
		offset += x.len;
		len -= x.len;
	}
	return 0;
}

/* --- zeros --------------------------------------------------------------------------------------------- */

/* A run is nearly always told by its first bytes; only one that begins with zeros is read. */
static int
run_is_zero(struct disk_file *f, uint64_t at, uint64_t len, bool *zero, struct err *e)
{
	uint8_t page[PAGE];
	size_t most = PROBE;

	for (*zero = true; len && *zero; most = PAGE) {
		size_t n = len < most ? (size_t)len : most;
		int rc = file_get(f, page, n, at, e);

		if (rc < 0)
			return rc;
		*zero = mover_all_zero(page, n);
		at += n;
		len -= n;
	}
	return 0;
}

/* How much from skip on is all zeros, or all not. */
static int
alike(const struct layer_extent *x, uint64_t skip, bool *zero, uint64_t *len, struct err *e)
{
	*len = 0;
	while (skip + *len < x->len) {
		uint64_t left = x->len - skip - *len, run = left < MOVER_RUN ? left : MOVER_RUN;
		bool z = false;
		int rc = run_is_zero(x->owner->file, x->at + skip + *len, run, &z, e);

		if (rc < 0)
			return rc;
		if (*len && z != *zero)
			break;
		*zero = z;
		*len += run;
	}
	return 0;
}

int
direct_copy(struct disk *to, struct layer_extent *x, uint64_t offset, uint64_t *stored, struct err *e)
{
	uint64_t done = 0, len = 0;
	int rc = 0;

	if (x->owner->file->fd < 0 || to->file->fd < 0 || x->owner->file->is_device || to->file->is_device)
		return -EXDEV;
	if (x->len > WINDOW)
		x->len = WINDOW;
	posix_fadvise(x->owner->file->fd, (off_t)x->at, WINDOW, POSIX_FADV_WILLNEED);
	for (; done < x->len; done += len) {
		bool zero = false;

		rc = alike(x, done, &zero, &len, e);
		if (rc == 0 && !zero)
			rc = copy_run(to, x, done, offset + done, len, e);
		if (rc < 0)
			break;
		*stored += zero ? 0 : len;
	}
	if (rc == 0)
		mover_begin_writeback(to->file);
	if (rc == -EXDEV && done) { /* the rest will say it again */
		x->len = done;
		return 0;
	}
	return rc;
}
