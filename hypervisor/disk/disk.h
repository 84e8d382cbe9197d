/*
 * hypervisor/disk/disk.h - what a disk is to whoever reads and writes it: the storage devices, and the
 * operations on whole images. Formats plug in here (raw.c; vhd/ and vhdx/ through image.h).
 *
 * A disk belongs to one I/O loop (core/io_loop.h): submit and done run on its thread; close and free on the
 * control thread, when nothing is in flight. A request is the caller's memory from submit until done; done
 * may come before submit returns. Requests may end in any order; a flush covers the writes that were done
 * before it was submitted.
 */
#ifndef HYPERVISOR_DISK_DISK_H
#define HYPERVISOR_DISK_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "hypervisor/core/io_loop.h"
#include "hypervisor/disk/file.h"
#include "lib/err.h"

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH,   /* what was written is on stable storage when it is done */
	DISK_DISCARD, /* the content may be given up: reads zero or what it was */
	DISK_ZERO,    /* reads zero afterwards */
};

struct disk;

/* What a range of a disk is made of. */
enum extent_kind {
	EXTENT_ZERO,   /* no place in any file: reads zero */
	EXTENT_DATA,   /* in the disk's own file, at `at` */
	EXTENT_PARENT, /* whatever the parent has there */
};
struct extent {
	enum extent_kind kind;
	uint64_t at, len; /* bytes */
	uint32_t own;     /* of image_ops.place and drop: the format's own, comes back with wrote; else 0 */
};

struct disk_io {
	enum disk_op op;
	bool fua;        /* a write or zero that is stable when it is done */
	bool unmap;      /* DISK_ZERO: the space may be given up */
	uint64_t offset; /* bytes: multiples of disk->logical, within disk->size; the caller has checked */
	uint64_t len;
	struct iovec *iov; /* DISK_READ, DISK_WRITE: len bytes in all; the disk may change the array, not what
			      it points to */
	unsigned iovs;
	/* 0, or -errno: -ENOSPC no room below, -EIO, ... On the loop's thread. */
	void (*done)(struct disk_io *io, int rc);

	/* The disk's own while in flight. */
	struct disk *disk;
	struct file_op file;
	struct disk_io *next;
	uint64_t at; /* bytes done */
	unsigned step;
	struct extent x;   /* the piece that is being done */
	struct iovec rest; /* of the iovec that it has cut in two */
};

struct disk_ops {
	const char *name; /* "Raw", "VHD", "VHDX": as the machine's document names the format */
	void (*submit)(struct disk *d, struct disk_io *io);
	/*
	 * What lies at offset: *x is all alike, at most len bytes long, at least one sector. On the thread
	 * that owns the disk, nothing in flight; reads tables where it must. For maps, copies, merges.
	 */
	int (*extent)(struct disk *d, uint64_t offset, uint64_t len, struct extent *x, struct err *e);
	/* The same for reads of a child, on the loop's thread, at once. NULL: of images (image.h), which have
	 * their own; and of what cannot be a parent. */
	int (*map)(struct disk *d, uint64_t offset, uint64_t len, struct extent *x);
	/* On the loop's thread: nothing is under way that nobody has asked for, or asks for no more. NULL:
	 * never. */
	bool (*idle)(const struct disk *d);
	/* Brings the file into the state that other programs expect (an empty log, no slack at its end). What
	 * was flushed is safe without it. */
	int (*close)(struct disk *d, struct err *e);
	void (*free)(struct disk *d); /* without close: as if the power failed */
};

struct disk {
	const struct disk_ops *ops;
	struct io_loop *loop;
	struct disk_file *file;
	struct disk *parent; /* of a differencing disk: its own to free; read only */
	uint64_t size;       /* bytes: a multiple of logical */
	uint32_t logical;    /* sector size that guests see: 512 or 4096; a DVD's may be 2048 */
	uint32_t physical;
	bool read_only, can_discard;
	bool discard_zeroes;          /* whatever is discarded reads zero */
	uint32_t discard_granularity; /* bytes */
};

static inline void
disk_submit(struct disk *d, struct disk_io *io)
{
	io->disk = d;
	d->ops->submit(d, io);
}

/* Both wait for what the disk does by itself. NULL is allowed. */
int disk_close(struct disk *d, struct err *e); /* of a disk that is only read: nothing */
void disk_free(struct disk *d);                /* its parents, too */

/* For tools, whose thread is the loop's (io_loop_here): submits a copy of io, and goes round until it is
 * done. Its result; io's own iovecs may have changed. */
int disk_wait(struct disk *d, const struct disk_io *io);

/* --- Opening. Control thread, also while the loop runs; blocks. ------------------------------------ */

/* On success the file is the disk's; else the caller's, as before. logical: 512, 2048 or 4096. */
int disk_raw_new(struct disk **out, struct io_loop *loop, struct disk_file *file, uint32_t logical,
    bool read_only, struct err *e);

#endif
