/*
 * tests/unit/fake_disk.h - a disk in memory that can fail, wait and reorder, and knows what would be left
 * after the power fails.
 */
#ifndef TESTS_UNIT_FAKE_DISK_H
#define TESTS_UNIT_FAKE_DISK_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/disk.h"

enum { FAKE_DISK_HELD = 4096 };

struct fake_disk {
	struct disk disk;
	uint8_t *data, *stable; /* stable: what a flush or FUA has made durable */
	bool hold;              /* requests wait for fake_disk_release */
	struct disk_io *held[FAKE_DISK_HELD];
	unsigned n_held;
	int fail[DISK_ZERO + 1]; /* -errno that an operation answers, 0: it works */
	unsigned begun[DISK_ZERO + 1];
	unsigned fuas;
	bool closed;
	unsigned *freed; /* counts frees after a close */
};

static inline void
fake_disk_move(struct fake_disk *f, struct disk_io *io, uint8_t *medium)
{
	uint8_t *p = medium + io->offset;
	uint64_t sum = 0;

	(void)f;
	for (unsigned i = 0; i < io->iovs; i++) {
		if (io->op == DISK_READ)
			memcpy(io->iov[i].iov_base, p, io->iov[i].iov_len);
		else
			memcpy(p, io->iov[i].iov_base, io->iov[i].iov_len);
		p += io->iov[i].iov_len;
		sum += io->iov[i].iov_len;
	}
	if (sum != io->len)
		abort(); /* the caller's promise */
}

static inline void
fake_disk_do(struct fake_disk *f, struct disk_io *io)
{
	int rc = f->fail[io->op];

	if (rc == 0 && io->op == DISK_FLUSH)
		memcpy(f->stable, f->data, f->disk.size);
	else if (rc == 0 && (io->op == DISK_ZERO || io->op == DISK_DISCARD))
		memset(f->data + io->offset, 0, io->len);
	else if (rc == 0)
		fake_disk_move(f, io, f->data);
	if (rc == 0 && io->fua && (io->op == DISK_WRITE || io->op == DISK_ZERO))
		memcpy(f->stable + io->offset, f->data + io->offset, io->len);
	for (unsigned i = 0; i < io->iovs && io->op <= DISK_WRITE; i++) /* as disks may */
		io->iov[i] = (struct iovec){ NULL, 0 };
	io->done(io, rc);
}

static inline void
fake_disk_submit(struct disk *d, struct disk_io *io)
{
	struct fake_disk *f = (struct fake_disk *)d;

	if (io->offset > d->size || io->len > d->size - io->offset || io->offset % d->logical ||
	    io->len % d->logical || (d->read_only && io->op != DISK_READ && io->op != DISK_FLUSH))
		abort(); /* the caller has checked */
	f->begun[io->op]++;
	f->fuas += io->fua;
	if (f->hold) {
		if (f->n_held == FAKE_DISK_HELD)
			abort();
		f->held[f->n_held++] = io;
	} else {
		fake_disk_do(f, io);
	}
}

/* Ends what waits: the n-th of them. */
static inline void
fake_disk_release(struct fake_disk *f, unsigned n)
{
	struct disk_io *io = f->held[n];

	memmove(f->held + n, f->held + n + 1, (--f->n_held - n) * sizeof(f->held[0]));
	fake_disk_do(f, io);
}

static inline void
fake_disk_release_all(struct fake_disk *f, bool backwards)
{
	while (f->n_held)
		fake_disk_release(f, backwards ? f->n_held - 1 : 0);
}

static inline void
fake_disk_free(struct disk *d)
{
	struct fake_disk *f = (struct fake_disk *)d;

	if (f->n_held)
		abort();
	if (f->freed && f->closed)
		++*f->freed;
	free(f->data);
	free(f->stable);
	free(f);
}

static inline int
fake_disk_close(struct disk *d, struct err *e)
{
	struct fake_disk *f = (struct fake_disk *)d;

	(void)e;
	if (f->n_held)
		abort(); /* something is in flight */
	f->closed = true;
	return 0;
}

static inline struct fake_disk *
fake_disk_new(struct io_loop *loop, uint64_t size, uint32_t logical)
{
	static const struct disk_ops ops = {
		.name = "fake", .submit = fake_disk_submit, .close = fake_disk_close, .free = fake_disk_free
	};
	struct fake_disk *f = calloc(1, sizeof(*f));
	uint8_t sector[512];

	if (f == NULL)
		abort();
	f->disk = (struct disk){ .ops = &ops,
		.loop = loop,
		.size = size,
		.logical = logical,
		.physical = 4096,
		.can_discard = true,
		.discard_zeroes = true,
		.discard_granularity = 4096 };
	f->data = calloc(1, size);
	f->stable = calloc(1, size);
	if (f->data == NULL || f->stable == NULL)
		abort();
	for (unsigned i = 0; i < sizeof(sector); i++)
		sector[i] = (uint8_t)(i * 7 + i / 251);
	for (uint64_t i = 0; i < size; i += sizeof(sector)) { /* no two sectors alike */
		memcpy(sector + 8, &i, sizeof(i));
		memcpy(f->data + i, sector, sizeof(sector));
	}
	memcpy(f->stable, f->data, size);
	return f;
}

#endif
