/*
 * hypervisor/disk/image.h - what all formats with tables (VHD, VHDX) have in common while a disk works:
 * requests cut at the borders of what lies apart in the file, tables that are read when they are needed,
 * changes of tables that become durable together when the guest flushes.
 *
 * The engine (image.c) owns requests and flushes; a format owns its tables. All of it runs on the loop's
 * thread, so there are no locks; nothing is allocated while the disk works but pages of tables.
 *
 * A request is done piece by piece, one after the other; many requests at a time. A read is mapped and
 * fetched: from the own file, from that of the image in the chain that has it, or as zeros without any I/O.
 * The pieces of a request are parts of its own array of iovecs, which is changed for it. A write is placed
 * (the format changes its tables in memory), written, and then told (`wrote`). A flush is a commit:
 *
 *   1. capture   the format copies what has changed in its tables since the last commit. Everything that was
 *                told by `wrote` before is in it, nothing later is. Nothing changed: go to 4
 *   2. flush     of the file, if the format asks for it (image.barrier): tables must never point to data that
 *                is not there yet
 *   3. record    the format writes the copy: into its log, or to its place
 *   4. flush     of the file. Now the guest's flush is done
 *   5. settle    the format does what may follow later (a log's pages to their homes). Guests do not wait,
 * but the next commit does
 *
 * One commit at a time; flushes that come meanwhile share the next one, and so do those that come in one
 * round. A write with FUA is a write and a flush, but where all tables are durable: there it is one write
 * with FUA.
 *
 * The format's functions may call image_wake, image_commit and image_write; what follows from that is done
 * after they have returned. So a callback never finds itself within another, and the stack has a bound
 * whatever the length of the chain.
 */
#ifndef HYPERVISOR_DISK_IMAGE_H
#define HYPERVISOR_DISK_IMAGE_H

#include "hypervisor/disk/disk.h"

/* Pieces that are placed and not yet told by `wrote`, at a time, at most; more requests wait. Of reads there
 * is no bound but that of requests. */
enum { IMAGE_PIECES = 128 };

struct image;

struct image_ops {
	struct disk_ops disk; /* submit is image_submit */

	/*
	 * What a read finds at offset; *x as in disk.h. Called by the image's children, too. -EAGAIN: a table
	 * page is on its way (file_* below), and image_wake tells when to ask again. Other errors are the
	 * request's.
	 */
	int (*map)(struct image *i, uint64_t offset, uint64_t len, struct extent *x);
	/*
	 * Where a write of [offset, offset+len) goes: x->kind is EXTENT_DATA. Allocates, in memory. -EAGAIN
	 * as above, also when too much has changed since the last commit (it has called image_commit: the
	 * request is tried again after that, and fails if that fails). What is placed and not yet written
	 * must read as it did before, or zero if that is what it was.
	 */
	int (*place)(struct image *i, uint64_t offset, uint64_t len, struct extent *x);
	/*
	 * What was placed there is in the file now (rc 0; not yet durable), or could not be written. Once for
	 * each place and drop that gave EXTENT_DATA, with *x as it was given (of x->len maybe only a first
	 * part, if no more was taken). Called in any order.
	 */
	void (*wrote)(struct image *i, uint64_t offset, const struct extent *x, int rc);
	/*
	 * The range shall read zero (io->op DISK_ZERO) or may be forgotten (DISK_DISCARD: treated alike where
	 * that costs nothing). The format changes its tables as far as whole blocks go. *x says what is left
	 * to do for its first x->len bytes: EXTENT_DATA: that part of the file is to be emptied (a hole if io
	 * allows one, the engine sees to it), then `wrote` is called for it; EXTENT_ZERO: nothing. -EAGAIN as
	 * above.
	 */
	int (*drop)(
	    struct image *i, const struct disk_io *io, uint64_t offset, uint64_t len, struct extent *x);

	/* Called if `dirty`. 0, or -errno: the flush fails with it, the tables stay dirty, and settle is not
	 * called. */
	int (*capture)(struct image *i);
	/* Begins writing what was captured with image_write; the engine goes on when all of that has ended.
	 */
	void (*record)(struct image *i);
	/* The file was flushed (0), after a commit without changes too; or something failed: then nothing of
	 * the commit may be counted on, `dirty` is set again, and the format decides whether it can be tried
	 * again. Begins what may follow, with image_write: the next commit waits for it to end, too. */
	void (*settle)(struct image *i, int rc);
};

/* A write of tables by the format; its memory until done. */
struct image_write {
	struct file_op op;
	struct iovec iov;
	struct image *image;
	void (*done)(struct image_write *w, int rc); /* may be NULL */
};

struct disk_io_queue {
	struct disk_io *first, **last;
};

struct image {
	struct disk disk; /* first */
	const struct image_ops *ops;
	bool dirty;   /* set by the format: tables have changed. The engine clears both when it captures */
	bool barrier; /* set by the format: the next commit needs step 2 */
	/*
	 * Why no more is written: an error after which tables in the file may not be what we think they are.
	 * Every later write, zero, discard and flush fails with it; reads go on. 0: all is well.
	 */
	int poisoned;

	/* The engine's. */
	struct disk_io_queue ready, waiting; /* to be gone on with now; when image_wake is called */
	struct disk_io_queue held;           /* until fewer than IMAGE_PIECES are placed */
	struct disk_io_queue flushes;        /* for the commit to come */
	struct disk_io_queue committing;     /* with this one */
	struct image *above;                 /* whose requests wait for our tables */
	unsigned in_flight, placed, wakes;
	bool running; /* something of the engine is on the stack */
	bool wanted;  /* a commit shall begin without a flush */
	bool asked;   /* image_commit was called */
	bool captured, had_barrier;
	unsigned stage;
	unsigned records; /* image_writes that have not ended */
	struct file_op commit_op;
	int commit_rc;
};

/* Control thread. Fills in the engine's part of a zeroed image whose disk fields, parent included, the format
 * has set. There is nothing to be freed. */
int image_init(struct image *i, const struct image_ops *ops, struct err *e);

void image_submit(struct disk *d, struct disk_io *io);
/* Nothing of the engine is in flight or waiting: for disk_ops.idle. */
bool image_idle(const struct image *i);

/* --- For formats, on the loop's thread -------------------------------------------------------------- */

/* Requests that wait are tried again, the oldest first. After a commit that happens by itself. */
void image_wake(struct image *i);
/* A commit begins, if none is under way, though no guest has asked for it. */
void image_commit(struct image *i);
/* The next commit's record waits for its end, whenever it was begun; an error of one that ends during a
 * record is the commit's. */
void image_write(struct image *i, struct image_write *w, const void *buf, size_t len, uint64_t off);

#endif
