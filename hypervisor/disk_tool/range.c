/* hypervisor/disk_tool/range.c - reading, writing and emptying ranges of a disk. */
#include "hypervisor/disk_tool/range.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 1 << 20, ALIGN = 4096 };

/* --- patterns ------------------------------------------------------------------------------------------ */

struct pattern {
	uint8_t *bytes; /* NULL: there is none */
	size_t len;
};

static void
lay(const struct pattern *p, uint64_t at, uint8_t *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = p->bytes[(at + i) % p->len];
}

static int
compare(const struct pattern *p, uint64_t offset, uint64_t at, const uint8_t *found, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t expected = p->bytes[(at + i) % p->len];

		if (found[i] != expected) {
			err_set(e, EILSEQ, "offset %llu is %02x, expected is %02x",
			    (unsigned long long)(offset + at + i), found[i], expected);
			return STATUS_DIFFERS;
		}
	}
	return 0;
}

/* --- standard input and output ------------------------------------------------------------------------- */

static int
take(uint8_t *buf, size_t n, struct err *e)
{
	while (n) {
		ssize_t got = interrupted() ? 0 : read(STDIN_FILENO, buf, n);

		if (interrupted())
			return err_set(e, ECANCELED, "broken off");
		if (got == 0)
			return err_set(e, EINVAL, "standard input ends %zu bytes too early", n);
		if (got < 0 && errno != EINTR)
			return err_sys(e, "standard input");
		buf += got > 0 ? got : 0;
		n -= got > 0 ? (size_t)got : 0;
	}
	return 0;
}

static int
give(const uint8_t *buf, size_t n, struct err *e)
{
	return fwrite(buf, 1, n, stdout) == n ? 0 : err_sys(e, "standard output");
}

/* --- transfers ----------------------------------------------------------------------------------------- */

static int
submit(struct disk *d, const struct disk_io *io, const char *what, struct err *e)
{
	int rc = disk_wait(d, io);

	return rc < 0 ? err_set(e, -rc, "offset %llu: %llu bytes cannot be %s: %s",
			    (unsigned long long)io->offset, (unsigned long long)io->len, what, strerror(-rc))
		      : 0;
}

static int
read_piece(struct disk *d, const struct range_request *r, const struct pattern *p, uint64_t at, uint8_t *buf,
    size_t n, struct err *e)
{
	struct iovec iov = { buf, n };
	struct disk_io io = { .op = DISK_READ, .offset = r->offset + at, .len = n, .iov = &iov, .iovs = 1 };
	int rc = submit(d, &io, "read", e);

	if (rc < 0)
		return rc;
	return p->bytes ? compare(p, r->offset, at, buf, n, e) : give(buf, n, e);
}

static int
write_piece(struct disk *d, const struct range_request *r, const struct pattern *p, uint64_t at, uint8_t *buf,
    size_t n, struct err *e)
{
	struct iovec iov = { buf, n };
	struct disk_io io = { .op = DISK_WRITE,
		.fua = r->op == RANGE_FUA,
		.offset = r->offset + at,
		.len = n,
		.iov = &iov,
		.iovs = 1 };
	int rc = 0;

	if (p->bytes)
		lay(p, at, buf, n);
	else
		rc = take(buf, n, e);
	return rc < 0 ? rc : submit(d, &io, "written", e);
}

static int
transfer(struct disk *d, const struct range_request *r, struct err *e)
{
	uint8_t *buf = aligned_alloc(ALIGN, PIECE);
	struct pattern p = { 0 };
	int rc = 0;

	if (!buf)
		return err_set(e, ENOMEM, "out of memory");
	if (r->pattern)
		rc = value_pattern(r->pattern, &p.bytes, &p.len, e);
	for (uint64_t at = 0; rc == 0 && at < r->len; at += PIECE) {
		size_t n = r->len - at < PIECE ? (size_t)(r->len - at) : PIECE;

		if (interrupted())
			rc = err_set(e, ECANCELED, "broken off");
		else if (r->op == RANGE_READ)
			rc = read_piece(d, r, &p, at, buf, n, e);
		else
			rc = write_piece(d, r, &p, at, buf, n, e);
	}
	free(p.bytes);
	free(buf);
	return rc;
}

/* --- the others ---------------------------------------------------------------------------------------- */

static const struct {
	enum disk_op op;
	bool unmap;
	const char *what;
} plain[] = {
	[RANGE_ZERO] = { DISK_ZERO, false, "made zero" },
	[RANGE_UNMAP] = { DISK_ZERO, true, "made zero" },
	[RANGE_DISCARD] = { DISK_DISCARD, false, "discarded" },
	[RANGE_FLUSH] = { DISK_FLUSH, false, "brought to the disk" },
};

int
range_do(struct disk *d, const struct range_request *r, struct err *e)
{
	struct disk_io io = { .offset = r->offset, .len = r->len };

	if (r->op != RANGE_FLUSH && (r->offset % d->logical || r->len % d->logical || r->offset > d->size ||
					r->len > d->size - r->offset))
		return err_set(e, EINVAL,
		    "offset %llu, length %llu: expected are multiples of %u within %llu bytes",
		    (unsigned long long)r->offset, (unsigned long long)r->len, d->logical,
		    (unsigned long long)d->size);
	if (r->op != RANGE_FLUSH && r->len == 0)
		return 0;
	if (r->op <= RANGE_FUA)
		return transfer(d, r, e);
	io.op = plain[r->op].op;
	io.unmap = plain[r->op].unmap;
	return submit(d, &io, plain[r->op].what, e);
}
