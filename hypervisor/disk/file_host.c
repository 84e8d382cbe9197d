/* hypervisor/disk/file_host.c - a disk's file behind a descriptor: the kernel's calls, and an I/O loop's. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hypervisor/disk/file.h"
#include "hypervisor/disk/lock.h"

enum { HOLE = 4096 }; /* for a trial */

struct host_file {
	struct disk_file file; /* first */
	struct io_loop *loop;  /* NULL: only what happens at once */
	int slot;
};

static struct host_file *
host_of(struct disk_file *f)
{
	return (struct host_file *)f;
}

/* --- On the loop ------------------------------------------------------------------------------------ */

static void
host_readv(struct disk_file *f, struct io_op *op, const struct iovec *iov, unsigned n, uint64_t off)
{
	io_loop_readv(host_of(f)->loop, op, host_of(f)->slot, iov, n, off);
}

static void
host_writev(
    struct disk_file *f, struct io_op *op, const struct iovec *iov, unsigned n, uint64_t off, bool fua)
{
	io_loop_writev(host_of(f)->loop, op, host_of(f)->slot, iov, n, off, fua);
}

static void
host_fsync(struct disk_file *f, struct io_op *op)
{
	io_loop_fsync(host_of(f)->loop, op, host_of(f)->slot);
}

static void
host_fallocate(struct disk_file *f, struct io_op *op, int mode, uint64_t off, uint64_t len)
{
	io_loop_fallocate(host_of(f)->loop, op, host_of(f)->slot, mode, off, len);
}

static bool
host_pump(struct disk_file *f)
{
	struct io_loop *l = host_of(f)->loop;

	return l && !io_loop_has_thread(l) && io_loop_once(l);
}

/* --- At once ---------------------------------------------------------------------------------------- */

static ssize_t
host_pread(struct disk_file *f, void *buf, size_t len, uint64_t off)
{
	ssize_t n = pread(f->fd, buf, len, (off_t)off);

	return n < 0 ? -errno : n;
}

static ssize_t
host_pwrite(struct disk_file *f, const void *buf, size_t len, uint64_t off)
{
	ssize_t n = pwrite(f->fd, buf, len, (off_t)off);

	return n < 0 ? -errno : n;
}

static int
host_sync(struct disk_file *f)
{
	return fdatasync(f->fd) < 0 ? -errno : 0;
}

static int
host_truncate(struct disk_file *f, uint64_t size)
{
	return ftruncate(f->fd, (off_t)size) < 0 ? -errno : 0;
}

static int
host_allocate(struct disk_file *f, int mode, uint64_t off, uint64_t len)
{
	return fallocate(f->fd, mode, (off_t)off, (off_t)len) < 0 ? -errno : 0;
}

static int64_t
host_seek(struct disk_file *f, uint64_t off, int whence)
{
	off_t at = lseek(f->fd, (off_t)off, whence);

	return at < 0 ? -errno : at;
}

static int64_t
host_size(struct disk_file *f)
{
	return host_seek(f, 0, SEEK_END);
}

static void
host_free(struct disk_file *f)
{
	struct host_file *h = host_of(f);

	if (h->loop)
		io_loop_drop_file(h->loop, h->slot);
	disk_hold_end(f->hold, f->fd);
	close(f->fd);
	free(h);
}

static const struct disk_file_ops host_ops = {
	.readv = host_readv,
	.writev = host_writev,
	.fsync = host_fsync,
	.fallocate = host_fallocate,
	.pread = host_pread,
	.pwrite = host_pwrite,
	.sync = host_sync,
	.truncate = host_truncate,
	.allocate = host_allocate,
	.size = host_size,
	.seek = host_seek,
	.pump = host_pump,
	.free = host_free,
};

/* --- Opening ---------------------------------------------------------------------------------------- */

/* Tries a hole behind the end, where there is nothing to lose: a file says whether its file system can. A
 * block device does not know the place, and has to be tried in earnest. */
static bool
try_hole(int fd, uint64_t size)
{
	uint64_t behind = (size + HOLE) & ~(uint64_t)(HOLE - 1);

	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)behind, HOLE) == 0;
}

/* The C library's own goes by a path, which a worker's filter cannot look at and does not let pass. */
int
file_fstat(int fd, struct stat *st)
{
	return (int)syscall(SYS_fstat, fd, st);
}

int
file_new(struct disk_file **out, struct io_loop *loop, int fd, bool read_only, struct err *e)
{
	struct host_file *h;
	struct stat st;
	off_t size;

	if (file_fstat(fd, &st) < 0)
		return err_sys(e, "what it is");
	size = lseek(fd, 0, SEEK_END);
	if (size < 0)
		return err_sys(e, "its size");
	h = calloc(1, sizeof(*h));
	if (!h)
		return err_set(e, ENOMEM, "out of memory");
	h->loop = loop;
	h->slot = loop ? io_loop_add_file(loop, fd, e) : 0;
	if (h->slot < 0) {
		int rc = h->slot;

		free(h);
		return rc;
	}
	h->file = (struct disk_file){
		.ops = &host_ops, .read_only = read_only, .is_device = S_ISBLK(st.st_mode), .fd = fd
	};
	h->file.can_punch = !read_only && try_hole(fd, (uint64_t)size);
	*out = &h->file;
	return 0;
}
