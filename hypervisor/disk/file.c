/*
 * hypervisor/disk/file.c - operations on a file that are done whole: transfers that come back short are
 * continued, and zeros are made by whatever way the file has.
 *
 * Nothing is allocated. What the kernel does is behind disk_file_ops (file_host.c).
 */
#include "hypervisor/disk/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum {
	ZERO_PAGE = 4096,
	ZERO_PIECES = 64, /* pages of zeros in one write */
	SECTOR = 512,
	STEP_MAX = 1 << 30, /* bytes in one call of pread or pwrite */
};

/* How a range is emptied, the best first: what the file below cannot do, the next has to. */
enum { BY_HOLE, BY_ZERO_RANGE, BY_WRITING };

/* Where zeros are written from, many times in one write. The kernel only reads them; an iovec cannot say so.
 */
static const uint8_t zeros[ZERO_PAGE];
#define PAGE                                        \
	{                                           \
		(void *)(uintptr_t)zeros, ZERO_PAGE \
	}
#define PAGES8 PAGE, PAGE, PAGE, PAGE, PAGE, PAGE, PAGE, PAGE
#define PART(n)                                      \
	{                                            \
		(void *)(uintptr_t)zeros, (n)*SECTOR \
	}
static const struct iovec zero_pages[ZERO_PIECES] = { PAGES8, PAGES8, PAGES8, PAGES8, PAGES8, PAGES8, PAGES8,
	PAGES8 };
static const struct iovec zero_parts[] = { PART(0), PART(1), PART(2), PART(3), PART(4), PART(5), PART(6),
	PART(7) };
#undef PAGE
#undef PAGES8
#undef PART

static struct file_op *
op_of(struct io_op *sys)
{
	return (struct file_op *)((char *)sys - offsetof(struct file_op, sys));
}

static bool
again(int res)
{
	return res == -EINTR || res == -EAGAIN;
}

static bool
unsupported(int res)
{
	return res == -EOPNOTSUPP || res == -ENOSYS || res == -EINVAL || res == -ENODEV;
}

/* --- Reads and writes ------------------------------------------------------------------------------- */

/* Drops the n bytes of the array that have been moved: fewer than it has. */
static void
advance(struct file_op *op, uint64_t n)
{
	op->off += n;
	op->left -= n;
	while (op->iovs && n >= op->iov->iov_len) {
		n -= op->iov->iov_len;
		op->iov++;
		op->iovs--;
	}
	if (!op->iovs)
		return;
	op->iov->iov_base = (char *)op->iov->iov_base + n;
	op->iov->iov_len -= n;
}

/* All of it, at once: as nearly always. */
static bool
whole(const struct file_op *op, int res)
{
	return res > 0 && (uint64_t)res == op->left;
}

/* True when there is more to move. */
static bool
moved(struct file_op *op, int res)
{
	if (again(res))
		return true;
	if (res <= 0) { /* nothing: the file has shrunk under us */
		op->done(op, res < 0 ? res : -EIO);
		return false;
	}
	if ((uint64_t)res >= op->left) {
		op->done(op, 0);
		return false;
	}
	advance(op, (uint64_t)res);
	return true;
}

static void
was_read(struct io_op *sys, int res)
{
	struct file_op *op = op_of(sys);

	if (whole(op, res))
		op->done(op, 0);
	else if (moved(op, res))
		op->file->ops->readv(op->file, sys, op->iov, op->iovs, op->off);
}

/* Of a write that is to be stable: where there is no room nothing was taken, so that it can be tried again.
 */
static int
stable(struct file_op *op, int res)
{
	struct disk_file *f = op->file;

	if (res < 0 && !again(res) && res != -ENOSPC && res != -EDQUOT)
		f->lost = res;
	return f->lost && !again(res) ? f->lost : res;
}

static void
was_written(struct io_op *sys, int res)
{
	struct file_op *op = op_of(sys);

	if (op->fua)
		res = stable(op, res);
	if (whole(op, res))
		op->done(op, 0);
	else if (moved(op, res))
		op->file->ops->writev(op->file, sys, op->iov, op->iovs, op->off, op->fua);
}

void
file_readv(struct disk_file *f, struct file_op *op, struct iovec *iov, unsigned n, uint64_t len, uint64_t off)
{
	op->sys.done = was_read;
	op->file = f;
	op->iov = iov;
	op->iovs = n;
	op->off = off;
	op->left = len;
	f->ops->readv(f, &op->sys, iov, n, off);
}

void
file_writev(struct disk_file *f, struct file_op *op, struct iovec *iov, unsigned n, uint64_t len,
    uint64_t off, bool fua)
{
	op->sys.done = was_written;
	op->file = f;
	op->iov = iov;
	op->iovs = n;
	op->fua = fua;
	op->off = off;
	op->left = len;
	f->ops->writev(f, &op->sys, iov, n, off, fua);
}

/* --- Flush ------------------------------------------------------------------------------------------ */

static void
flushed(struct io_op *sys, int res)
{
	struct file_op *op = op_of(sys);

	if (again(res)) {
		file_flush(op->file, op);
		return;
	}
	if (res < 0)
		op->file->lost = res;
	op->done(op, op->file->lost);
}

void
file_flush(struct disk_file *f, struct file_op *op)
{
	op->sys.done = flushed;
	op->file = f;
	f->ops->fsync(f, &op->sys);
}

/* --- Zeros and holes -------------------------------------------------------------------------------- */

static void empty(struct file_op *op);

/* Stable, if that was asked for; then it is done. */
static void
emptied(struct file_op *op)
{
	if (op->fua)
		file_flush(op->file, op);
	else
		op->done(op, 0);
}

static void
zeros_written(struct io_op *sys, int res)
{
	struct file_op *op = op_of(sys);

	if (res <= 0 && !again(res)) {
		op->done(op, res < 0 ? res : -EIO);
		return;
	}
	if (res > 0) {
		op->off += (uint64_t)res;
		op->left -= (uint64_t)res;
	}
	if (op->left)
		empty(op);
	else
		emptied(op);
}

static void
write_zeros(struct file_op *op)
{
	const struct iovec *iov = zero_pages;
	unsigned n = op->left / ZERO_PAGE < ZERO_PIECES ? (unsigned)(op->left / ZERO_PAGE) : ZERO_PIECES;

	if (!n) { /* a byte count that is no multiple of a sector comes from a short write */
		iov = &zero_parts[(op->left + SECTOR - 1) / SECTOR];
		n = 1;
	}
	op->sys.done = zeros_written;
	op->file->ops->writev(op->file, &op->sys, iov, n, op->off, false);
}

static void
allocated(struct io_op *sys, int res)
{
	struct file_op *op = op_of(sys);

	if (again(res)) {
		empty(op);
	} else if (res >= 0) {
		emptied(op);
	} else if (unsupported(res)) {
		op->step++;
		empty(op);
	} else {
		op->done(op, res);
	}
}

static void
empty(struct file_op *op)
{
	int mode = op->step == BY_HOLE ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;

	if (op->step == BY_WRITING) {
		write_zeros(op);
		return;
	}
	op->sys.done = allocated;
	op->file->ops->fallocate(op->file, &op->sys, mode | FALLOC_FL_KEEP_SIZE, op->off, op->left);
}

void
file_zero(struct disk_file *f, struct file_op *op, uint64_t off, uint64_t len, bool hole, bool fua)
{
	op->file = f;
	op->off = off;
	op->left = len;
	op->hole = hole;
	op->fua = fua;
	op->step = hole ? BY_HOLE : BY_ZERO_RANGE;
	empty(op);
}

static void
discarded(struct io_op *sys, int res)
{
	struct file_op *op = op_of(sys);

	if (again(res))
		file_discard(op->file, op, op->off, op->left);
	else /* what cannot be given up may be what it was */
		op->done(op, res < 0 && !unsupported(res) ? res : 0);
}

void
file_discard(struct disk_file *f, struct file_op *op, uint64_t off, uint64_t len)
{
	op->sys.done = discarded;
	op->file = f;
	op->off = off;
	op->left = len;
	f->ops->fallocate(f, &op->sys, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, len);
}

/* --- At once ---------------------------------------------------------------------------------------- */

static int
failed(struct err *e, int rc, const char *what, uint64_t off)
{
	return err_set(e, -rc, "offset %llu: %s: %s", (unsigned long long)off, what, strerror(-rc));
}

int
file_get(struct disk_file *f, void *buf, size_t len, uint64_t off, struct err *e)
{
	char *to = buf;

	while (len) {
		ssize_t n = f->ops->pread(f, to, len < STEP_MAX ? len : STEP_MAX, off);

		if (n == -EINTR)
			continue;
		if (n == 0)
			return err_set(e, EIO, "the file ends at %llu, where %zu bytes more are expected",
			    (unsigned long long)off, len);
		if (n < 0)
			return failed(e, (int)n, "it cannot be read", off);
		to += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int
file_put(struct disk_file *f, const void *buf, size_t len, uint64_t off, struct err *e)
{
	const char *from = buf;

	while (len) {
		ssize_t n = f->ops->pwrite(f, from, len < STEP_MAX ? len : STEP_MAX, off);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return failed(e, n < 0 ? (int)n : -EIO, "it cannot be written", off);
		from += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int
file_sync(struct disk_file *f, struct err *e)
{
	int rc;

	do
		rc = f->ops->sync(f);
	while (rc == -EINTR);
	if (rc < 0)
		f->lost = rc;
	rc = f->lost;
	return rc < 0 ? err_set(e, -rc, "it cannot be made durable: %s", strerror(-rc)) : 0;
}

int
file_truncate(struct disk_file *f, uint64_t size, struct err *e)
{
	int rc;

	do
		rc = f->ops->truncate(f, size);
	while (rc == -EINTR);
	return rc < 0 ? err_set(e, -rc, "its size cannot become %llu: %s", (unsigned long long)size,
			    strerror(-rc))
		      : 0;
}

int
file_size(struct disk_file *f, uint64_t *size, struct err *e)
{
	int64_t n = f->ops->size(f);

	if (n < 0)
		return err_set(e, (int)-n, "its size: %s", strerror((int)-n));
	*size = (uint64_t)n;
	return 0;
}

static int
put_zeros(struct disk_file *f, uint64_t off, uint64_t len, struct err *e)
{
	int rc = 0;

	while (len && rc == 0) {
		size_t n = len < ZERO_PAGE ? (size_t)len : ZERO_PAGE;

		rc = file_put(f, zeros, n, off, e);
		off += n;
		len -= n;
	}
	return rc;
}

int
file_clear(struct disk_file *f, uint64_t off, uint64_t len, bool hole, struct err *e)
{
	uint64_t size = 0;
	int rc = file_size(f, &size, e);

	if (rc == 0 && len > UINT64_MAX - off)
		rc = err_set(e, EINVAL, "offset %llu: no file has %llu bytes there", (unsigned long long)off,
		    (unsigned long long)len);
	if (rc == 0 && off + len > size) { /* what a file gets at its end reads zero */
		rc = file_truncate(f, off + len, e);
		len = off < size ? size - off : 0;
	}
	if (rc < 0 || len == 0)
		return rc;
	for (int step = hole ? BY_HOLE : BY_ZERO_RANGE; step < BY_WRITING; step++) {
		int mode = step == BY_HOLE ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;

		do
			rc = f->ops->allocate(f, mode | FALLOC_FL_KEEP_SIZE, off, len);
		while (rc == -EINTR);
		if (rc >= 0)
			return 0;
		if (!unsupported(rc))
			return failed(e, rc, "it cannot be emptied", off);
	}
	return put_zeros(f, off, len, e);
}

bool
file_is_hole(struct disk_file *f, uint64_t off, uint64_t len, uint64_t *alike)
{
	int64_t data = f->is_device ? (int64_t)off : f->ops->seek(f, off, SEEK_DATA);
	bool hole = data == -ENXIO || (data >= 0 && (uint64_t)data > off);
	int64_t until = data;

	if (!hole)
		until = data < 0 || f->is_device ? -ENXIO : f->ops->seek(f, off, SEEK_HOLE);
	*alike = until > (int64_t)off && (uint64_t)until - off < len ? (uint64_t)until - off : len;
	return hole;
}

bool
file_pump(struct disk_file *f)
{
	return f->ops->pump(f);
}

void
file_free(struct disk_file *f)
{
	if (f)
		f->ops->free(f);
}
