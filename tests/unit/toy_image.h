/*
 * tests/unit/toy_image.h - the simplest differencing image that there can be, for what works on any of them:
 * a file as long as the disk, in which each sector says by its first byte whose it is. 0: the parent's; 0xff:
 * zeros; others: data (so nobody writes sectors that begin with these two, but for zeros). A sector is whole
 * in the file or not there, so that a power cut needs no log.
 *
 * A program that includes it has no other image_submit.
 */
#ifndef TESTS_UNIT_TOY_IMAGE_H
#define TESTS_UNIT_TOY_IMAGE_H

#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/image.h"

enum { TOY_SECTOR = 512, TOY_SECTORS = 4096, TOY_PARENT = 0, TOY_ZERO = 0xff };

struct toy {
	struct image image; /* first */
	uint8_t first[TOY_SECTORS];
	unsigned again; /* so many times, a map has to wait */
	int fail[DISK_ZERO + 1];
};

struct toy_op {
	struct file_op op; /* first */
	struct toy *toy;
	struct disk_io *io;
	struct iovec iov;
	uint8_t *zeros;
};

static inline void
toy_ended(struct file_op *op, int rc)
{
	struct toy_op *t = (struct toy_op *)op;
	struct disk_io *io = t->io;

	if (rc == 0 && t->zeros)
		memset(t->toy->first + io->offset / TOY_SECTOR, TOY_ZERO, io->len / TOY_SECTOR);
	else if (rc == 0 && io->op == DISK_WRITE)
		memset(t->toy->first + io->offset / TOY_SECTOR, 1, io->len / TOY_SECTOR);
	free(t->zeros);
	free(t);
	io->done(io, rc);
}

static inline void
toy_get(struct toy *t, struct disk_io *io)
{
	uint8_t *p = malloc(io->len), *from = p;

	for (uint64_t at = io->offset; at < io->offset + io->len; at += TOY_SECTOR) {
		uint8_t first = t->first[at / TOY_SECTOR], *s = p + (at - io->offset);
		struct disk_file *f = first == TOY_PARENT ? t->image.disk.parent->file : t->image.disk.file;

		memset(s, 0, TOY_SECTOR);
		if (first != TOY_ZERO && file_get(f, s, TOY_SECTOR, at, NULL) < 0)
			abort();
	}
	for (unsigned i = 0; i < io->iovs; i++) {
		memcpy(io->iov[i].iov_base, from, io->iov[i].iov_len);
		from += io->iov[i].iov_len;
	}
	free(p);
	io->done(io, 0);
}

static inline void
toy_zero(struct toy_op *o)
{
	o->zeros = calloc(1, o->io->len);
	for (uint64_t i = 0; i < o->io->len; i += TOY_SECTOR)
		o->zeros[i] = TOY_ZERO;
	o->iov = (struct iovec){ o->zeros, o->io->len };
	file_writev(o->io->disk->file, &o->op, &o->iov, 1, o->io->len, o->io->offset, o->io->fua);
}

void
image_submit(struct disk *d, struct disk_io *io)
{
	struct toy *t = (struct toy *)d;
	struct toy_op *o;

	if (t->fail[io->op]) {
		io->done(io, t->fail[io->op]);
		return;
	}
	if (io->op == DISK_READ) {
		toy_get(t, io);
		return;
	}
	o = calloc(1, sizeof(*o));
	*o = (struct toy_op){ .op.done = toy_ended, .toy = t, .io = io };
	if (io->op == DISK_FLUSH)
		file_flush(d->file, &o->op);
	else if (io->op == DISK_WRITE)
		file_writev(d->file, &o->op, io->iov, io->iovs, io->len, io->offset, io->fua);
	else
		toy_zero(o);
}

static inline int
toy_map(struct image *i, uint64_t offset, uint64_t len, struct extent *x)
{
	struct toy *t = (struct toy *)i;
	uint64_t n = offset / TOY_SECTOR, end = (offset + len) / TOY_SECTOR, first = n;

	if (t->again) {
		t->again--;
		return -EAGAIN;
	}
	while (n < end && t->first[n] == t->first[first])
		n++;
	x->kind = t->first[first] == TOY_PARENT ? EXTENT_PARENT
		  : t->first[first] == TOY_ZERO ? EXTENT_ZERO
						: EXTENT_DATA;
	x->at = offset;
	x->len = (n - first) * TOY_SECTOR;
	return 0;
}

static inline int
toy_close(struct disk *d, struct err *e)
{
	(void)d, (void)e;
	return 0;
}

static inline void
toy_free(struct disk *d)
{
	disk_free(d->parent);
	file_free(d->file);
	free(d);
}

/* As the file says; its file has sectors * TOY_SECTOR bytes. */
static inline struct toy *
toy_open(struct io_loop *loop, struct disk_file *file, struct disk *parent)
{
	static const struct image_ops ops = {
		.disk = { .name = "Toy", .submit = image_submit, .close = toy_close, .free = toy_free },
		.map = toy_map
	};
	struct toy *t = calloc(1, sizeof(*t));
	uint64_t size;

	if (file_size(file, &size, NULL) < 0 || size > TOY_SECTORS * TOY_SECTOR)
		abort();
	t->image.ops = &ops;
	t->image.disk = (struct disk){ .ops = &ops.disk,
		.loop = loop,
		.file = file,
		.parent = parent,
		.size = size,
		.logical = TOY_SECTOR,
		.physical = 4096,
		.can_discard = true,
		.discard_zeroes = true,
		.discard_granularity = TOY_SECTOR };
	for (uint64_t i = 0; i < size / TOY_SECTOR; i++) {
		uint8_t sector[TOY_SECTOR];

		if (file_get(file, sector, sizeof(sector), i * TOY_SECTOR, NULL) < 0)
			abort();
		t->first[i] = sector[0] == TOY_PARENT || sector[0] == TOY_ZERO ? sector[0] : 1;
	}
	return t;
}

#endif
