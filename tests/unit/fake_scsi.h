/*
 * tests/unit/fake_scsi.h - a SCSI unit without a controller: one command at a time, its data in a buffer with
 * guards around it, in pieces of any size.
 */
#ifndef TESTS_UNIT_FAKE_SCSI_H
#define TESTS_UNIT_FAKE_SCSI_H

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/scsi.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/fake_loop.h"

#ifndef FAKE_SCSI_BUFFER
#define FAKE_SCSI_BUFFER SCSI_MAX_TRANSFER
#endif
enum { FAKE_GUARD = 64, FAKE_PIECES = 300, FAKE_BUFFER = FAKE_SCSI_BUFFER };

struct fake_scsi {
	struct io_loop *loop;
	struct scsi_host host;
	struct scsi_unit u;
	struct fake_disk *disk; /* of the medium that was put in last */
	uint8_t scratch[SCSI_SCRATCH];
	bool no_scratch;
	unsigned full, ejected, slow, failed, left, done;
	uint64_t iops;

	struct scsi_cmd c;
	struct iovec iov[FAKE_PIECES];
	uint8_t *buffer; /* FAKE_BUFFER bytes between two guards */
	uint32_t piece;  /* bytes of each piece of it; 0: one piece */
};

static inline bool
fake_scsi_scratch(void *ctx, struct scsi_cmd *c)
{
	struct fake_scsi *x = ctx;

	if (x->no_scratch)
		return false;
	c->scratch = x->scratch;
	return true;
}

static inline bool
fake_scsi_may_wait(void *ctx, const struct scsi_cmd *c)
{
	(void)ctx, (void)c;
	return true;
}

static inline void
fake_scsi_full(void *ctx, struct scsi_unit *u, int error)
{
	(void)u, (void)error;
	((struct fake_scsi *)ctx)->full++;
}

static inline void
fake_scsi_slow(void *ctx, struct scsi_unit *u, uint64_t iops)
{
	(void)u;
	((struct fake_scsi *)ctx)->slow++;
	((struct fake_scsi *)ctx)->iops = iops;
}

static inline void
fake_scsi_failed(void *ctx, struct scsi_unit *u, enum disk_op op, uint64_t offset, int error)
{
	(void)u, (void)op, (void)offset, (void)error;
	((struct fake_scsi *)ctx)->failed++;
}

static inline void
fake_scsi_ejected(void *ctx, struct scsi_unit *u)
{
	(void)u;
	((struct fake_scsi *)ctx)->ejected++;
}

static inline void
fake_scsi_retired(void *ctx, struct scsi_medium *m)
{
	(void)ctx;
	disk_free(m->disk);
	free(m);
}

static inline void
fake_scsi_left(void *ctx, struct scsi_unit *u)
{
	(void)u;
	((struct fake_scsi *)ctx)->left++;
}

/* The buffer in pieces, as the guest's pages are. */
static inline void
fake_scsi_pieces(struct fake_scsi *x)
{
	uint32_t left = x->c.len, at = 0;

	x->c.iovs = 0;
	while (left) {
		uint32_t n = x->piece && x->piece < left ? x->piece : left;

		if (x->c.iovs == FAKE_PIECES)
			abort();
		x->iov[x->c.iovs++] = (struct iovec){ x->buffer + at, n };
		at += n;
		left -= n;
	}
	x->c.iov = x->iov;
}

static inline void
fake_scsi_again(void *ctx, struct scsi_cmd *c)
{
	struct fake_scsi *x = ctx;

	fake_scsi_pieces(x);
	scsi_execute(&x->u, c);
}

static inline struct scsi_medium *
fake_scsi_medium(struct fake_scsi *x, uint64_t size, uint32_t logical)
{
	struct scsi_medium *m = calloc(1, sizeof(*m));

	if (m == NULL)
		abort();
	x->disk = fake_disk_new(x->loop, size, logical);
	m->disk = &x->disk->disk;
	return m;
}

/* size 0: an empty drive. */
static inline void
fake_scsi_init(struct fake_scsi *x, const struct scsi_type *type, uint64_t size, uint32_t logical)
{
	memset(x, 0, sizeof(*x));
	x->loop = fake_loop_new();
	x->host = (struct scsi_host){ .ctx = x,
		.loop = x->loop,
		.scratch = fake_scsi_scratch,
		.may_wait = fake_scsi_may_wait,
		.full = fake_scsi_full,
		.again = fake_scsi_again,
		.ejected = fake_scsi_ejected,
		.slow = fake_scsi_slow,
		.failed = fake_scsi_failed,
		.retired = fake_scsi_retired,
		.left = fake_scsi_left };
	x->buffer = calloc(1, FAKE_BUFFER + 2 * FAKE_GUARD);
	if (x->buffer == NULL)
		abort();
	x->buffer += FAKE_GUARD;
	x->u.host = &x->host;
	x->u.type = type;
	strcpy(x->u.config.serial, "0102030405");
	x->u.config.wwn[0] = 0x60;
	if (size)
		x->u.medium = fake_scsi_medium(x, size, logical);
	scsi_unit_init(&x->u);
}

static inline void
fake_scsi_free(struct fake_scsi *x)
{
	scsi_leave(&x->u);
	free(x->buffer - FAKE_GUARD);
	free(x->loop);
}

static inline void
fake_scsi_done(struct scsi_cmd *c)
{
	struct fake_scsi *x = (struct fake_scsi *)((char *)c - offsetof(struct fake_scsi, c));

	x->done++;
}

/* Begins a command with `len` bytes of buffer behind it. */
static inline void
fake_scsi_begin(struct fake_scsi *x, const uint8_t *cdb, uint8_t cdb_len, enum scsi_dir dir, uint32_t len)
{
	memset(&x->c, 0, sizeof(x->c));
	memcpy(x->c.cdb, cdb, cdb_len);
	x->c.cdb_len = cdb_len;
	x->c.dir = dir;
	x->c.len = len;
	x->c.done = fake_scsi_done;
	fake_scsi_pieces(x);
	scsi_execute(&x->u, &x->c);
}

/* Sense key, code and qualifier of the answer: 0 when all is well. */
static inline uint32_t
fake_scsi_sense(const struct fake_scsi *x)
{
	const uint8_t *s = x->c.sense;

	return x->c.sense_len ? (uint32_t)s[2] << 16 | (uint32_t)s[12] << 8 | s[13] : 0;
}

static inline uint32_t
fake_scsi_do(struct fake_scsi *x, const uint8_t *cdb, uint8_t cdb_len, enum scsi_dir dir, uint32_t len)
{
	fake_scsi_begin(x, cdb, cdb_len, dir, len);
	fake_loop_run(x->loop);
	return fake_scsi_sense(x);
}

#endif
