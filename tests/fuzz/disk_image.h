/*
 * tests/fuzz/disk_image.h - a hostile image and what is done with it, from a few bytes:
 *
 *   u8 flags, then a file (and with PARENT its parent): u32 length in sectors of 512 bytes, records,
 * 0xffffffff; a record: u32 sector, u16 length, bytes. What no record says is a hole. The rest are requests
 * and doings.
 *
 * The target makes checksums right (unless RAW_SUMS), so that what they protect is reached.
 * tests/disk/oracle.py pack makes such files of images.
 */
#ifndef TESTS_FUZZ_DISK_IMAGE_H
#define TESTS_FUZZ_DISK_IMAGE_H

#include <string.h>
#include <unistd.h>

#include "hypervisor/disk/format.h"
#include "tests/disk/memory_file.h"
#include "tests/fuzz/fuzz.h"

enum {
	PARENT = 1,   /* there is one */
	ANY_ID = 2,   /* it is taken even if it is not the right one */
	RAW_SUMS = 4, /* checksums are the input's */

	RECORDS = 256,
	REQUESTS = 48,
	EXTENTS = 512,
	BUFFER = 64 * 1024,
	STEPS = 1 << 20, /* pumps */
};

struct input {
	const uint8_t *p;
	size_t n;
};

struct fuzzed {
	const struct disk_format *f;
	struct memory_host *host;
	void (*mend)(struct memory_host *h, unsigned file); /* checksums */
	uint8_t flags;
	struct input in;
};

static inline uint8_t
take(struct input *in)
{
	if (!in->n)
		return 0;
	in->n--;
	return *in->p++;
}

static inline uint32_t
take32(struct input *in)
{
	uint32_t v = take(in);

	for (unsigned i = 8; i < 32; i += 8)
		v |= (uint32_t)take(in) << i;
	return v;
}

/* --- The file --- */

static inline void
build(struct fuzzed *z, unsigned number)
{
	uint64_t size = (uint64_t)take32(&z->in) * 512;
	struct disk_file *f = memory_open(z->host, number, false);

	for (unsigned i = 0; i < RECORDS && z->in.n >= 6; i++) {
		uint32_t sector = take32(&z->in);
		size_t len;

		if (sector == UINT32_MAX)
			break;
		len = take(&z->in);
		len |= (size_t)take(&z->in) << 8;
		len = len < z->in.n ? len : z->in.n;
		if (len && file_put(f, z->in.p, len, (uint64_t)sector * 512, NULL) < 0)
			break;
		z->in.p += len;
		z->in.n -= len;
	}
	file_truncate(f, size, NULL);
	if (!(z->flags & RAW_SUMS))
		z->mend(z->host, number);
	file_sync(f, NULL);
	file_free(f);
}

static inline bool
was_written(const struct memory_host *h)
{
	return h->count[MEMORY_WRITE] || h->count[MEMORY_ALLOCATE] || h->count[MEMORY_RESIZE];
}

/* --- Opening --- */

static inline int
open_one(struct fuzzed *z, struct memory_host *h, unsigned n, bool read_only, struct disk *parent,
    struct disk **out)
{
	struct disk_open how = {
		.file = memory_open(h, n, read_only), .read_only = read_only, .parent = parent
	};
	struct err e = { 0 };
	int rc = z->f->open(out, &how, &e);

	must(rc == 0 || (rc < 0 && e.msg[0])); /* every refusal has its sentence */
	if (rc < 0)
		file_free(how.file);
	return rc;
}

static inline int
info(struct fuzzed *z, struct memory_host *h, unsigned n, struct disk_info *out)
{
	struct disk_file *f = memory_open(h, n, true);
	struct err e = { 0 };
	int rc = z->f->info(f, out, &e);

	must(rc == 0 || (rc < 0 && e.msg[0]));
	file_free(f);
	return rc;
}

static inline int
open_chain(struct fuzzed *z, struct memory_host *h, bool read_only, struct disk **out)
{
	static struct disk_info child, above;
	struct disk *parent = NULL;
	int rc = info(z, h, 0, &child);

	if (rc == 0 && child.type == DISK_DIFFERENCING && z->flags & PARENT) {
		rc = info(z, h, 1, &above);
		if (rc == 0)
			rc = disk_parent_fits(&child, &above, NULL);
		if (rc == 0 || z->flags & ANY_ID)
			rc = open_one(z, h, 1, true, NULL, &parent);
	}
	if (rc == 0)
		rc = open_one(z, h, 0, read_only, parent, out);
	if (rc < 0)
		disk_free(parent);
	return rc;
}

/* --- Looking --- */

static inline void
walk(struct disk *d)
{
	uint64_t at = 0;
	struct extent x;
	struct err e = { 0 };

	for (unsigned i = 0; i < EXTENTS && at < d->size; i++) {
		int rc = d->ops->extent(d, at, d->size - at, &x, &e);

		if (rc < 0) {
			must(e.msg[0]);
			at += 1 << 20;
			continue;
		}
		must(x.len && x.len <= d->size - at);
		at += x.len;
	}
}

static inline void
read_at(struct disk *d, uint64_t at, size_t len)
{
	static uint8_t buf[BUFFER];
	struct iovec iov = { buf, len };
	const struct disk_io io = { .op = DISK_READ, .offset = at, .len = len, .iov = &iov, .iovs = 1 };

	if (at + len <= d->size)
		must(disk_wait(d, &io) <= 0);
}

static inline void
found(void *ctx, enum disk_fault_kind kind, const char *text)
{
	(void)ctx;
	must(kind <= DISK_DAMAGE && text[0]);
}

static inline void
check(struct fuzzed *z, struct memory_host *h, bool repair)
{
	struct disk_check c = { .repair = repair, .found = found };
	struct disk_file *f = memory_open(h, 0, !repair);
	struct err e = { 0 };
	int rc = z->f->check(f, &c, NULL, &e);

	must(rc == 0 || (rc < 0 && e.msg[0]));
	file_free(f);
}

/* --- Using --- */

static inline void
request(struct fuzzed *z, struct disk *d)
{
	static uint8_t buf[BUFFER];
	uint8_t what = take(&z->in);
	uint64_t blocks = d->size / d->logical, at = take32(&z->in),
		 len = (1 + take(&z->in)) * (uint64_t)d->logical;
	struct iovec iov = { buf, 0 };
	int rc;
	struct disk_io io = { .op = what % 5, .fua = what & 64, .unmap = what & 128, .iov = &iov, .iovs = 1 };

	len = len < sizeof(buf) ? len : sizeof(buf);
	if (io.op >= DISK_DISCARD)
		len <<= what >> 4 & 15; /* whole blocks, too */
	io.offset = (at & 0x80000000 ? blocks - 1 - (at & 0xffff) % blocks : at % blocks) * d->logical;
	io.len = len < d->size - io.offset ? len : d->size - io.offset;
	iov.iov_len = io.len;
	memset(buf, what, sizeof(buf));
	if (io.op == DISK_FLUSH)
		io.offset = io.len = 0;
	rc = disk_wait(d, &io);
	must(rc <= 0 && rc != -EDEADLK); /* a request that never ends */
}

static inline void
use(struct fuzzed *z, struct memory_host *h)
{
	struct disk *d;
	struct err e = { 0 };
	unsigned n = take(&z->in) % REQUESTS;

	if (open_chain(z, h, false, &d) < 0)
		return;
	for (unsigned i = 0; i < n && z->in.n; i++)
		request(z, d);
	if (n % 4)
		must(disk_close(d, &e) == 0 || e.msg[0]);
	disk_free(d);
	memory_run(h);
}

/* One of what changes an image as a whole. */
static inline void
change(struct fuzzed *z, struct memory_host *h)
{
	static const uint8_t id[GUID_BYTES] = { 1, 2, 3 };
	struct disk_file *f = memory_open(h, 0, false);
	uint8_t what = take(&z->in);
	struct err e = { 0 };
	int rc = 0;

	switch (what % 8) {
	case 0:
		rc = z->f->compact(f, NULL, &e);
		break;
	case 1:
		rc = z->f->resize(f, (uint64_t)take32(&z->in) << 12, NULL, &e);
		break;
	case 2:
		rc = z->f->relink(f, NULL, "a/b/c", what & 128 ? "/a/b/c" : NULL, &e);
		break;
	case 3:
		rc = z->f->set(f, id, what & 128 ? 512 : 0, &e);
		break;
	case 4:
		rc = z->f->set_data_id ? z->f->set_data_id(f, id, &e) : 0;
		break;
	case 5:
		rc = z->f->set_parent_id2 ? z->f->set_parent_id2(f, id, &e) : 0;
		break;
	default:
		break;
	}
	must(rc == 0 || (rc < 0 && e.msg[0]));
	file_free(f);
}

static inline void
look(struct fuzzed *z, struct memory_host *h)
{
	struct disk *d;
	int rc = open_chain(z, h, true, &d);

	if (rc == 0) {
		walk(d);
		read_at(d, 0, BUFFER);
		read_at(d, d->size / 2 / 4096 * 4096, BUFFER);
		read_at(d, d->size > BUFFER ? (d->size - BUFFER) / 4096 * 4096 : 0, BUFFER);
		must(disk_close(d, NULL) == 0);
		disk_free(d);
	}
	check(z, h, false);
	must(!was_written(h)); /* who only looks never writes */
}

static inline int
fuzz_image(const struct disk_format *f, void (*mend)(struct memory_host *, unsigned), const uint8_t *data,
    size_t size)
{
	struct fuzzed z = { .f = f, .mend = mend, .host = memory_host_new(), .in = { data, size } };
	struct memory_host *h;

	z.flags = take(&z.in);
	build(&z, 0);
	if (z.flags & PARENT)
		build(&z, 1);
	h = memory_copy(z.host);
	look(&z, h);
	use(&z, h);
	change(&z, h);
	use(&z, h);
	memory_host_free(h);
	h = memory_copy(z.host);
	check(&z, h, true);
	use(&z, h);
	memory_host_free(h);
	memory_host_free(z.host);
	return 0;
}

#endif
