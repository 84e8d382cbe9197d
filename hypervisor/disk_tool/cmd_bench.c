/*
 * hypervisor/disk_tool/cmd_bench.c - fh-disk bench: requests on the path that machines use, counted and
 * timed.
 *
 * So many are in flight at a time; each that ends begins the next from its completion, as a guest's would. A
 * flush waits for nothing and covers what has ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "hypervisor/disk_tool/tool.h"

#define NS 1000000000ull

enum { DEPTH_MAX = 256, ALIGN = 4096, SIZE_MAX_MIB = 16, BUCKETS = 64 * 8 };
enum where { RANDOM, SEQUENTIAL, STRIDE };

struct request {
	struct bench *b;
	struct disk_io io;
	struct iovec iov;
	uint8_t *buf;
	uint64_t begun;
};

/* Stands between the image and its file, and counts what makes the host's disk flush. */
struct counter {
	struct disk_file_ops ops; /* first */
	const struct disk_file_ops *under;
	uint64_t flushes;
};

struct bench {
	struct disk *d;
	bool write;
	enum where where;
	uint64_t size, stride, count, flush_every, until;
	unsigned depth;

	struct request request[DEPTH_MAX];
	uint64_t next, random, begun, ended, flushes, since_flush, in_flight, slowest, sum;
	uint32_t bucket[BUCKETS]; /* how many took so long: 8 to an octave of nanoseconds */
	struct counter file;
	double cpu;
	int rc;
};

static uint64_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
}

/* --- the file's flushes --------------------------------------------------------------------------------- */

static struct counter *
counter_of(struct disk_file *f)
{
	return (struct counter *)(uintptr_t)f->ops;
}

static void
counted_fsync(struct disk_file *f, struct io_op *op)
{
	counter_of(f)->flushes++;
	counter_of(f)->under->fsync(f, op);
}

static int
counted_sync(struct disk_file *f)
{
	counter_of(f)->flushes++;
	return counter_of(f)->under->sync(f);
}

static void
counted_writev(
    struct disk_file *f, struct io_op *op, const struct iovec *iov, unsigned n, uint64_t off, bool fua)
{
	counter_of(f)->flushes += fua;
	counter_of(f)->under->writev(f, op, iov, n, off, fua);
}

static void
count_flushes(struct counter *c, struct disk_file *f)
{
	*c = (struct counter){ .ops = *f->ops, .under = f->ops };
	c->ops.fsync = counted_fsync;
	c->ops.sync = counted_sync;
	c->ops.writev = counted_writev;
	f->ops = &c->ops;
}

/* Of this process, the kernel's work for it included. */
static double
cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* --- where ---------------------------------------------------------------------------------------------- */

/* xorshift64 */
static uint64_t
random_next(struct bench *b)
{
	b->random ^= b->random << 13;
	b->random ^= b->random >> 7;
	b->random ^= b->random << 17;
	return b->random;
}

/* A stride goes on from the disk's beginning where it passes its end: one that does not divide the disk comes
 * to other places in each round. */
static uint64_t
place(struct bench *b)
{
	uint64_t places = b->d->size / b->size, at = b->next;

	if (b->where == RANDOM)
		return random_next(b) % places * b->size;
	if (at + b->size > b->d->size)
		at %= b->d->size;
	if (at + b->size > b->d->size)
		at = 0;
	b->next = at + (b->where == STRIDE ? b->stride : b->size);
	return at;
}

/* --- times ---------------------------------------------------------------------------------------------- */

static void
count(struct bench *b, uint64_t ns)
{
	unsigned octave = ns < 8 ? 3 : 63 - (unsigned)__builtin_clzll(ns);

	b->bucket[octave * 8 + (ns >> (octave - 3) & 7)]++;
	b->sum += ns;
	if (ns > b->slowest)
		b->slowest = ns;
}

/* Microseconds within which so many of 1000 have ended. */
static double
within(const struct bench *b, unsigned permille)
{
	uint64_t want = b->ended * permille / 1000, n = 0;

	for (unsigned i = 0; i < BUCKETS; i++) {
		n += b->bucket[i];
		if (n && n >= want)
			return (double)((8ull + i % 8 + 1) << (i / 8)) / 8 / 1000;
	}
	return 0;
}

/* --- requests ------------------------------------------------------------------------------------------- */

static void begin(struct request *r);

static void
done(struct disk_io *io, int rc)
{
	struct request *r = (struct request *)((char *)io - offsetof(struct request, io));
	struct bench *b = r->b;

	b->in_flight--;
	if (rc < 0 && b->rc == 0)
		b->rc = rc;
	if (io->op != DISK_FLUSH) {
		b->ended++;
		count(b, now() - r->begun);
	}
	begin(r);
}

static void
begin(struct request *r)
{
	struct bench *b = r->b;
	bool flush = b->flush_every && b->since_flush == b->flush_every;

	if (b->rc < 0 || interrupted() || (!flush && (b->count ? b->begun == b->count : now() >= b->until)))
		return;
	r->iov = (struct iovec){ r->buf, b->size };
	r->io = (struct disk_io){
		.op = b->write ? DISK_WRITE : DISK_READ, .iov = &r->iov, .iovs = 1, .done = done
	};
	if (flush) {
		b->since_flush = 0;
		b->flushes++;
		r->io.op = DISK_FLUSH;
	} else {
		r->io.offset = place(b);
		r->io.len = b->size;
		b->begun++;
		b->since_flush++;
	}
	b->in_flight++;
	r->begun = now();
	disk_submit(b->d, &r->io);
}

static int
run(struct bench *b, struct err *e)
{
	for (unsigned i = 0; i < b->depth; i++) {
		struct request *r = &b->request[i];

		r->b = b;
		r->buf = aligned_alloc(ALIGN, (b->size + ALIGN - 1) / ALIGN * ALIGN);
		if (!r->buf)
			return err_set(e, ENOMEM, "out of memory");
		memset(r->buf, 0x5a + (int)i, b->size);
	}
	for (unsigned i = 0; i < b->depth; i++)
		begin(&b->request[i]);
	while (b->in_flight)
		if (!file_pump(b->d->file))
			return err_set(
			    e, EDEADLK, "%llu requests do not end", (unsigned long long)b->in_flight);
	return b->rc < 0 ? err_set(e, -b->rc, "a request failed: %s", strerror(-b->rc)) : 0;
}

/* --- the command ---------------------------------------------------------------------------------------- */

static int
choice(const char *given, const char *const names[], const char *option, struct err *e)
{
	if (!given)
		return 0;
	for (int i = 0; names[i]; i++)
		if (strcmp(given, names[i]) == 0)
			return i;
	return err_set(e, EINVAL, "%s: '%.40s' is none", option, given);
}

static int
set_up(struct tool *t, struct bench *b, struct err *e)
{
	static const char *const wheres[] = { "random", "sequential", "stride", NULL };
	static const char *const ops[] = { "read", "write", NULL };
	int where = choice(t->o.pattern, wheres, "--pattern", e), op = choice(t->o.op, ops, "--op", e);

	if (where < 0 || op < 0)
		return -EINVAL;
	*b = (struct bench){ .write = op == 1,
		.where = (enum where)where,
		.size = t->o.size ? t->o.size : 4096,
		.stride = t->o.stride ? t->o.stride : 1 << 20,
		.count = t->o.count,
		.flush_every = t->o.flush_every,
		.depth = t->o.depth ? (unsigned)t->o.depth : 1,
		.random = t->o.seed * 2654435769u + 88172645463325252ull };
	if (t->o.depth > DEPTH_MAX || b->size > (uint64_t)SIZE_MAX_MIB << 20)
		return err_set(e, EINVAL, "at most %d requests of %d MiB", DEPTH_MAX, SIZE_MAX_MIB);
	return 0;
}

static int
check(const struct bench *b, struct err *e)
{
	if (b->size % b->d->logical || b->stride % b->d->logical || b->size > b->d->size)
		return err_set(e, EINVAL, "--size and --stride are multiples of %u within %llu bytes",
		    b->d->logical, (unsigned long long)b->d->size);
	return 0;
}

static void
report(const struct bench *b, const char *format, uint64_t ns)
{
	double s = (double)ns / (double)NS, n = (double)b->ended;

	printf("{\"format\": \"%s\", \"op\": \"%s\", \"size\": %llu, \"depth\": %u, \"requests\": %llu, "
	       "\"flushes\": %llu, \"fileFlushes\": %llu, \"seconds\": %.6f, \"cpuSeconds\": %.6f, "
	       "\"perSecond\": %.1f, \"mibPerSecond\": %.1f, "
	       "\"microseconds\": {\"mean\": %.1f, \"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f}}\n",
	    format, b->write ? "write" : "read", (unsigned long long)b->size, b->depth,
	    (unsigned long long)b->ended, (unsigned long long)b->flushes, (unsigned long long)b->file.flushes,
	    s, b->cpu, n / s, n * (double)b->size / s / 1048576, n > 0 ? (double)b->sum / n / 1000 : 0,
	    within(b, 500), within(b, 990), (double)b->slowest / 1000);
}

/* A VHD's table and bitmaps are read and written by the sector of 512 bytes, which only some devices take
 * past the page cache, and only from memory that lies as they like it. */
static int
go_direct(const struct disk_link *l, struct err *e)
{
	if (l->info.format == DISK_VHD && l->info.type != DISK_FIXED)
		return err_set(e, ENOTSUP,
		    "--direct: %s has a block table and bitmaps in pieces of 512 bytes, which do not go past "
		    "the page cache: measure a fixed VHD or a VHDX",
		    l->path);
	if (fcntl(l->fd, F_SETFL, O_DIRECT) < 0)
		return err_sys(e, "--direct: %s", l->path);
	return 0;
}

static int
measure(struct tool *t, struct bench *b, struct disk_chain *c, struct err *e)
{
	uint64_t began;
	int rc = check(b, e);

	for (unsigned i = 0; rc == 0 && t->o.direct && i < c->n; i++)
		rc = go_direct(c->link[i], e);
	if (rc < 0)
		return rc;
	count_flushes(&b->file, b->d->file);
	b->cpu = cpu_seconds();
	began = now();
	b->until = began + (t->o.seconds ? t->o.seconds : 2) * NS;
	rc = run(b, e);
	b->cpu = cpu_seconds() - b->cpu;
	if (rc == 0)
		report(b, b->d->ops->name, now() - began);
	for (unsigned i = 0; i < b->depth; i++)
		free(b->request[i].buf);
	return rc;
}

int
cmd_bench(struct tool *t, struct err *e)
{
	static struct bench b;
	struct disk_chain *c = NULL;
	int rc = set_up(t, &b, e), closed = 0;

	if (rc == 0)
		rc = tool_disk(&b.d, &c, t, t->arg[0], b.write, e);
	if (rc < 0 || !c)
		return rc;
	rc = measure(t, &b, c, e);
	if (rc == 0 && b.write)
		closed = disk_close(b.d, e);
	disk_free(b.d);
	disk_chain_free(c);
	rc = rc < 0 ? rc : closed;
	return rc < 0 ? err_wrap(e, rc, "%s", t->arg[0]) : 0;
}
