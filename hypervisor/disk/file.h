/*
 * hypervisor/disk/file.h - the host's file or block device under a disk.
 *
 * Two kinds of access. While the disk works, its loop's thread begins operations that end later: whole or
 * not at all, however the kernel cuts them. To open, close, check or change an image as a whole, its owner
 * waits for each step; nothing else is then in flight.
 *
 * What the kernel does is behind disk_file_ops, so that units, fuzzers and the power-cut simulator put a file
 * in memory there. Offsets and lengths are bytes; nothing is aligned that the caller has not aligned.
 */
#ifndef HYPERVISOR_DISK_FILE_H
#define HYPERVISOR_DISK_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "hypervisor/core/io_loop.h"
#include "lib/err.h"

struct disk_file;

/* What a kind of file does. Results are those of the system calls, short transfers included; -errno. */
struct disk_file_ops {
	/* On the loop's thread; op->done comes later, never before they return. */
	void (*readv)(
	    struct disk_file *f, struct io_op *op, const struct iovec *iov, unsigned n, uint64_t off);
	void (*writev)(struct disk_file *f, struct io_op *op, const struct iovec *iov, unsigned n,
	    uint64_t off, bool fua);
	void (*fsync)(struct disk_file *f, struct io_op *op);
	void (*fallocate)(struct disk_file *f, struct io_op *op, int mode, uint64_t off, uint64_t len);
	/* At once, on the thread that owns the file now. Lengths up to 1 GiB. */
	ssize_t (*pread)(struct disk_file *f, void *buf, size_t len, uint64_t off);
	ssize_t (*pwrite)(struct disk_file *f, const void *buf, size_t len, uint64_t off);
	int (*sync)(struct disk_file *f);
	int (*truncate)(struct disk_file *f, uint64_t size);
	int (*allocate)(struct disk_file *f, int mode, uint64_t off, uint64_t len);
	int64_t (*size)(struct disk_file *f);
	/* SEEK_DATA, SEEK_HOLE; -ENXIO behind the last data; other errors: it cannot tell, all may be data.
	 */
	int64_t (*seek)(struct disk_file *f, uint64_t off, int whence);
	/* For an owner without a loop's thread: ends what can be ended, and waits for the first if need be.
	 * False: nothing was in flight. */
	bool (*pump)(struct disk_file *f);
	void (*free)(struct disk_file *f);
};

/*
 * When the kernel could not bring data to the disk it says so once and forgets that data: it may be gone, and
 * the next fsync answers that all is well. So after one that failed nothing of this file is called stable any
 * more, until it is opened anew: every later flush has the same error.
 */
struct disk_file {
	const struct disk_file_ops *ops;
	bool read_only;         /* never written, never locked for writing */
	bool can_punch;         /* a hole can be made in it; holes read zero */
	int lost;               /* the error of a flush that failed (-errno); 0: none has */
	bool is_device;         /* a block device: its size is what it is, and all of it is data */
	struct disk_hold *hold; /* its lock (lock.h), which ends with it; NULL: that is not its matter */
	int fd;                 /* for what the kernel copies between files; -1: there is none */
};

/*
 * A descriptor on an I/O loop; taken over on success. Control thread, also while the loop runs. loop may be
 * NULL: then only what happens at once is possible (tools that only look).
 */
int file_new(struct disk_file **out, struct io_loop *loop, int fd, bool read_only, struct err *e);
/* As fstat, also behind a worker's walls. */
int file_fstat(int fd, struct stat *st);
void file_free(struct disk_file *f); /* NULL is allowed; nothing is in flight */

/* --- On the loop's thread ------------------------------------------------------------------------- */

/* One operation. The caller's memory until done; done may begin the next with it. */
struct file_op {
	void (*done)(struct file_op *op, int rc); /* 0: all of it; or -errno */

	/* The file's own while in flight. */
	struct io_op sys;
	struct disk_file *file;
	struct iovec *iov;
	unsigned iovs, step;
	bool fua, hole;
	uint64_t off, left;
};

/* len: the sum of iov. The array may be changed until done, what it points to by reads only. Reading behind
 * the end of the file is -EIO; writing there makes it longer. */
void file_readv(
    struct disk_file *f, struct file_op *op, struct iovec *iov, unsigned n, uint64_t len, uint64_t off);
void file_writev(struct disk_file *f, struct file_op *op, struct iovec *iov, unsigned n, uint64_t len,
    uint64_t off, bool fua);
/* What was written before is stable, the file's size too; or what it said when it failed before. */
void file_flush(struct disk_file *f, struct file_op *op);
/* The range reads zero afterwards, by the cheapest way that the file has. hole: its space may be given up.
 * fua: stable when done. Multiples of 512. What lies behind the end of the file may stay behind it. */
void file_zero(struct disk_file *f, struct file_op *op, uint64_t off, uint64_t len, bool hole, bool fua);
/* The space may be given up; it reads zero or what it was. */
void file_discard(struct disk_file *f, struct file_op *op, uint64_t off, uint64_t len);

/* --- At once -------------------------------------------------------------------------------------- */

/* All of it, or -errno with the offset in e; reading behind the end is -EIO. */
int file_get(struct disk_file *f, void *buf, size_t len, uint64_t off, struct err *e);
int file_put(struct disk_file *f, const void *buf, size_t len, uint64_t off, struct err *e);
int file_sync(struct disk_file *f, struct err *e);
int file_truncate(struct disk_file *f, uint64_t size, struct err *e);
/* Reads zero afterwards, by whatever way there is; the file grows if the range lies behind its end. */
int file_clear(struct disk_file *f, uint64_t off, uint64_t len, bool hole, struct err *e);
int file_size(struct disk_file *f, uint64_t *size, struct err *e);
/* Whether the byte at off is in a hole (reads zero, has no space), and how many from there are so, at least 1
 * and at most len. A file that cannot tell is all data. */
bool file_is_hole(struct disk_file *f, uint64_t off, uint64_t len, uint64_t *alike);
/* As the pump of disk_file_ops. Not from within done. */
bool file_pump(struct disk_file *f);

#endif
