/* tests/disk/memory_file.c - files in memory: operations, and what of them is durable. */
#include "tests/disk/memory_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/disk/memory_private.h"

struct memory_file {
	struct disk_file file; /* first */
	struct memory_host *host;
	struct memory_inode *inode;
	unsigned number;
};

static void *
get_memory(size_t size)
{
	void *p = calloc(1, size ? size : 1);

	if (!p)
		abort();
	return p;
}

uint64_t
memory_mix(uint64_t a, uint64_t b) /* splitmix64 */
{
	uint64_t x = a + 0x9e3779b97f4a7c15 * (b + 1);

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* --- Changes, and what makes them durable ------------------------------------------------------------ */

static struct memory_change *
add_change(struct memory_host *h, struct memory_inode *i, struct memory_change c)
{
	struct memory_change *new = get_memory(sizeof(*new));

	c.moment = ++h->moment;
	c.size = i->size;
	*new = c;
	*i->changes_last = new;
	i->changes_last = &new->next;
	return new;
}

static void
free_change(struct memory_change *c)
{
	free(c->data);
	free(c);
}

static void
make_durable(struct memory_inode *i, const struct memory_change *c)
{
	if (c->kind == CHANGE_WRITE)
		pages_write(&i->durable, c->off, c->data, (size_t)c->len);
	else if (c->kind != CHANGE_GROW)
		pages_clear(&i->durable, c->off, c->len);
	if (c->kind == CHANGE_SHRINK || c->size > i->durable_size)
		i->durable_size = c->size;
}

static void
flush_until(struct memory_inode *i, uint64_t moment)
{
	while (i->changes && i->changes->moment <= moment) {
		struct memory_change *c = i->changes;

		i->changes = c->next;
		make_durable(i, c);
		free_change(c);
	}
	if (!i->changes)
		i->changes_last = &i->changes;
}

/* A part of a change is a change of its own. */
static struct memory_change *
part_of(const struct memory_change *c, uint64_t off, uint64_t len)
{
	struct memory_change *new = get_memory(sizeof(*new));

	*new = *c;
	new->off = off;
	new->len = len;
	if (c->data) {
		new->data = get_memory((size_t)len);
		memcpy(new->data, c->data + (off - c->off), (size_t)len);
	}
	return new;
}

/* What lies within [off, end) is no longer to be lost. */
static void
carve(struct memory_inode *i, uint64_t off, uint64_t end)
{
	struct memory_change **at = &i->changes, *c;

	while ((c = *at)) {
		uint64_t c_end = c->off + c->len;
		struct memory_change *before = NULL, *behind = NULL, *next = c->next;

		if (c->kind > CHANGE_CLEAR || c_end <= off || c->off >= end) {
			at = &c->next;
			continue;
		}
		if (c->off < off)
			before = part_of(c, c->off, off - c->off);
		if (c_end > end)
			behind = part_of(c, end, c_end - end);
		if (!before && !behind) { /* its size remains */
			c->kind = CHANGE_GROW;
			free(c->data);
			c->data = NULL;
			at = &c->next;
			continue;
		}
		*at = before ? before : behind;
		if (before)
			before->next = behind ? behind : next;
		if (behind)
			behind->next = next;
		at = behind ? &behind->next : &before->next;
		if (i->changes_last == &c->next)
			i->changes_last = at;
		free_change(c);
	}
}

/* A write with FUA has ended: it and what it lies on are durable. */
static void
made_durable(struct memory_host *h, struct memory_inode *i, uint64_t off, uint64_t len)
{
	uint64_t end = (off + len + 511) & ~511ull;
	uint8_t sector[512];

	for (const struct memory_change *c = i->changes; c; c = c->next)
		if (c->kind == CHANGE_SHRINK) {
			flush_until(i, h->moment);
			return;
		}
	off &= ~511ull;
	for (uint64_t at = off; at < end; at += sizeof(sector)) {
		pages_read(&i->now, at, sector, sizeof(sector));
		pages_write(&i->durable, at, sector, sizeof(sector));
	}
	carve(i, off, end);
	if (i->durable_size < end)
		i->durable_size = end < i->size ? end : i->size;
}

/* --- What operations do ------------------------------------------------------------------------------ */

static void
write_bytes(struct memory_host *h, struct memory_inode *i, uint64_t off, uint8_t *data, uint64_t len)
{
	pages_write(&i->now, off, data, (size_t)len);
	if (off + len > i->size)
		i->size = off + len;
	add_change(
	    h, i, (struct memory_change){ .kind = CHANGE_WRITE, .off = off, .len = len, .data = data });
	h->bytes_written += len;
}

static int
do_read(struct memory_host *h, struct memory_inode *i, const struct memory_op *o, const struct iovec *iov,
    uint64_t len)
{
	uint64_t at = o->off, left = o->off < i->size ? i->size - o->off : 0;

	left = left < len ? left : len;
	h->bytes_read += left;
	for (len = left; left; iov++) {
		size_t n = iov->iov_len < left ? iov->iov_len : (size_t)left;

		pages_read(&i->now, at, iov->iov_base, n);
		at += n;
		left -= n;
	}
	return (int)len;
}

static int
do_write(struct memory_host *h, struct memory_inode *i, const struct memory_op *o, const struct iovec *iov,
    uint64_t len)
{
	uint8_t *data = get_memory((size_t)len);
	uint64_t at = 0;

	for (; at < len; iov++) {
		size_t n = iov->iov_len < len - at ? iov->iov_len : (size_t)(len - at);

		memcpy(data + at, iov->iov_base, n);
		at += n;
	}
	write_bytes(h, i, o->off, data, len);
	if (o->fua)
		made_durable(h, i, o->off, len);
	return (int)len;
}

static int
do_resize(struct memory_host *h, struct memory_inode *i, uint64_t size)
{
	uint64_t old = i->size;

	if (size > PAGES_END)
		return -EFBIG;
	i->size = size;
	if (size > old)
		add_change(h, i, (struct memory_change){ .kind = CHANGE_GROW });
	if (size >= old)
		return 0;
	pages_clear(&i->now, size, old - size);
	add_change(h, i, (struct memory_change){ .kind = CHANGE_SHRINK, .off = size, .len = old - size });
	return 0;
}

static int
do_allocate(struct memory_host *h, struct memory_inode *i, const struct memory_op *o)
{
	uint64_t end = o->off + o->len;
	int clears = o->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE);

	if (end > PAGES_END || end < o->off)
		return -EFBIG;
	if (end > i->size && !(o->mode & FALLOC_FL_KEEP_SIZE))
		do_resize(h, i, end);
	if (end > i->size)
		end = i->size;
	if (!clears || o->off >= end)
		return 0;
	pages_clear(&i->now, o->off, end - o->off);
	add_change(h, i, (struct memory_change){ .kind = CHANGE_CLEAR, .off = o->off, .len = end - o->off });
	return 0;
}

static int
take_place(struct memory_host *h, struct memory_inode *i, const struct memory_op *o, const struct iovec *iov,
    uint64_t covers)
{
	int rc = h->fault ? h->fault(h->ctx, o) : 0;
	uint64_t len = rc > 0 && (uint64_t)rc < o->len ? (uint64_t)rc : o->len;

	if (rc < 0)
		return rc;
	h->count[o->kind]++;
	switch (o->kind) {
	case MEMORY_READ:
		return do_read(h, i, o, iov, len);
	case MEMORY_WRITE:
		return o->off + len > PAGES_END ? -EFBIG : do_write(h, i, o, iov, len);
	case MEMORY_FLUSH:
		flush_until(i, covers);
		return 0;
	case MEMORY_ALLOCATE:
		return do_allocate(h, i, o);
	default:
		return do_resize(h, i, o->off);
	}
}

/* --- In flight --------------------------------------------------------------------------------------- */

static struct memory_file *
file_of(struct disk_file *f)
{
	return (struct memory_file *)f;
}

static void
begin(struct disk_file *f, struct io_op *op, struct memory_op what, const struct iovec *iov, unsigned n)
{
	struct memory_file *m = file_of(f);
	struct memory_host *h = m->host;
	struct memory_flight *x = get_memory(sizeof(*x));

	if (f->read_only && what.kind != MEMORY_READ && what.kind != MEMORY_FLUSH)
		abort(); /* the caller's promise */
	what.file = m->number;
	for (unsigned j = 0; j < n; j++)
		what.len += iov[j].iov_len;
	*x = (struct memory_flight){ .what = what, .op = op, .iov = iov, .iovs = n, .covers = h->moment };
	*h->flights_last = x;
	h->flights_last = &x->next;
	h->in_flight++;
}

static void
begin_readv(struct disk_file *f, struct io_op *op, const struct iovec *iov, unsigned n, uint64_t off)
{
	begin(f, op, (struct memory_op){ .kind = MEMORY_READ, .off = off }, iov, n);
}

static void
begin_writev(
    struct disk_file *f, struct io_op *op, const struct iovec *iov, unsigned n, uint64_t off, bool fua)
{
	begin(f, op, (struct memory_op){ .kind = MEMORY_WRITE, .off = off, .fua = fua }, iov, n);
}

static void
begin_fsync(struct disk_file *f, struct io_op *op)
{
	begin(f, op, (struct memory_op){ .kind = MEMORY_FLUSH }, NULL, 0);
}

static void
begin_fallocate(struct disk_file *f, struct io_op *op, int mode, uint64_t off, uint64_t len)
{
	begin(f, op, (struct memory_op){ .kind = MEMORY_ALLOCATE, .off = off, .len = len, .mode = mode },
	    NULL, 0);
}

static bool
refused(const struct memory_host *h, const struct memory_op *o)
{
	return h->no_holes && o->kind == MEMORY_ALLOCATE &&
	       (o->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE));
}

void
memory_end(struct memory_host *h, unsigned n)
{
	struct memory_flight **at = &h->flights, *x;
	int res;

	while (n-- && *at)
		at = &(*at)->next;
	x = *at;
	if (!x)
		abort();
	*at = x->next;
	if (!*at)
		h->flights_last = at;
	h->in_flight--;
	res = refused(h, &x->what) ? -EOPNOTSUPP
				   : take_place(h, h->inode[x->what.file], &x->what, x->iov, x->covers);
	x->op->done(x->op, res);
	free(x);
}

bool
memory_end_one(struct memory_host *h)
{
	if (!h->in_flight)
		return false;
	if (h->seed)
		h->seed = memory_mix(h->seed, 1) | 1;
	memory_end(h, h->seed ? (unsigned)((h->seed >> 8) % h->in_flight) : 0);
	return true;
}

void
memory_run(struct memory_host *h)
{
	while (memory_end_one(h))
		;
}

/* --- At once ----------------------------------------------------------------------------------------- */

static int
at_once(struct disk_file *f, struct memory_op o, const struct iovec *iov)
{
	struct memory_file *m = file_of(f);

	o.file = m->number;
	if (refused(m->host, &o))
		return -EOPNOTSUPP;
	if (f->read_only && o.kind != MEMORY_READ && o.kind != MEMORY_FLUSH)
		return -EBADF;
	return take_place(m->host, m->inode, &o, iov, m->host->moment);
}

static ssize_t
at_once_pread(struct disk_file *f, void *buf, size_t len, uint64_t off)
{
	const struct iovec iov = { buf, len };

	return at_once(f, (struct memory_op){ .kind = MEMORY_READ, .off = off, .len = len }, &iov);
}

static ssize_t
at_once_pwrite(struct disk_file *f, const void *buf, size_t len, uint64_t off)
{
	const struct iovec iov = { (void *)(uintptr_t)buf, len };

	return at_once(f, (struct memory_op){ .kind = MEMORY_WRITE, .off = off, .len = len }, &iov);
}

static int
at_once_sync(struct disk_file *f)
{
	return at_once(f, (struct memory_op){ .kind = MEMORY_FLUSH }, NULL);
}

static int
at_once_truncate(struct disk_file *f, uint64_t size)
{
	return at_once(f, (struct memory_op){ .kind = MEMORY_RESIZE, .off = size }, NULL);
}

static int
at_once_allocate(struct disk_file *f, int mode, uint64_t off, uint64_t len)
{
	return at_once(
	    f, (struct memory_op){ .kind = MEMORY_ALLOCATE, .off = off, .len = len, .mode = mode }, NULL);
}

static int64_t
at_once_seek(struct disk_file *f, uint64_t off, int whence)
{
	const struct memory_inode *i = file_of(f)->inode;
	uint64_t at;

	if (off >= i->size)
		return -ENXIO;
	at = pages_seek(&i->now, off, whence == SEEK_DATA);
	if (at >= i->size)
		return whence == SEEK_DATA ? -ENXIO : (int64_t)i->size;
	return (int64_t)at;
}

static int64_t
at_once_size(struct disk_file *f)
{
	return (int64_t)file_of(f)->inode->size;
}

static bool
memory_pump(struct disk_file *f)
{
	return memory_end_one(file_of(f)->host);
}

static void
memory_close(struct disk_file *f)
{
	struct memory_file *m = file_of(f);

	for (struct memory_flight *x = m->host->flights; x; x = x->next)
		if (x->what.file == m->number && m->inode->opened == 1)
			abort(); /* something is in flight */
	m->inode->opened--;
	free(m);
}

static const struct disk_file_ops memory_ops = {
	.readv = begin_readv,
	.writev = begin_writev,
	.fsync = begin_fsync,
	.fallocate = begin_fallocate,
	.pread = at_once_pread,
	.pwrite = at_once_pwrite,
	.sync = at_once_sync,
	.truncate = at_once_truncate,
	.allocate = at_once_allocate,
	.size = at_once_size,
	.seek = at_once_seek,
	.pump = memory_pump,
	.free = memory_close,
};

/* --- Hosts and files --------------------------------------------------------------------------------- */

struct memory_inode *
memory_inode(struct memory_host *h, unsigned number)
{
	struct memory_inode **at = &h->inode[number];

	if (number >= MEMORY_FILES)
		abort();
	if (!*at) {
		*at = get_memory(sizeof(**at));
		(*at)->changes_last = &(*at)->changes;
	}
	return *at;
}

struct disk_file *
memory_open(struct memory_host *h, unsigned number, bool read_only)
{
	struct memory_file *m = get_memory(sizeof(*m));

	*m = (struct memory_file){
		.file = { .ops = &memory_ops, .read_only = read_only, .can_punch = !h->no_holes, .fd = -1 },
		.host = h,
		.inode = memory_inode(h, number),
		.number = number,
	};
	m->inode->opened++;
	return &m->file;
}

struct memory_host *
memory_host_new(void)
{
	struct memory_host *h = get_memory(sizeof(*h));

	h->flights_last = &h->flights;
	return h;
}

void
memory_host_free(struct memory_host *h)
{
	if (!h)
		return;
	if (h->in_flight)
		abort();
	for (unsigned n = 0; n < MEMORY_FILES; n++) {
		struct memory_inode *i = h->inode[n];

		if (!i)
			continue;
		if (i->opened)
			abort();
		flush_until(i, UINT64_MAX);
		pages_free(&i->now);
		pages_free(&i->durable);
		free(i);
	}
	free(h);
}

int
memory_load(struct memory_host *h, unsigned number, const char *path)
{
	struct memory_inode *i = memory_inode(h, number);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END), at = 0;
	static uint8_t buf[64 * 1024];
	ssize_t n = 0;

	if (size < 0)
		return -errno;
	pages_clear(&i->now, 0, i->size);
	while (n >= 0 && (at = lseek(fd, at, SEEK_DATA)) >= 0 && at < size) {
		n = pread(fd, buf, sizeof(buf) - (size_t)(at % PAGE_BYTES), at);
		if (n > 0)
			pages_write(&i->now, (uint64_t)at, buf, (size_t)n);
		at += n;
	}
	close(fd);
	i->size = (uint64_t)size;
	flush_until(i, UINT64_MAX);
	pages_free(&i->durable);
	i->durable = pages_copy(&i->now);
	i->durable_size = i->size;
	return n < 0 ? -EIO : 0;
}

int
memory_save(const struct memory_host *h, unsigned number, const char *path)
{
	const struct memory_inode *i = h->inode[number];
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), rc = 0;
	uint8_t page[PAGE_BYTES];

	if (fd < 0 || !i || ftruncate(fd, (off_t)i->size) < 0)
		rc = -EIO;
	for (uint64_t at = 0; rc == 0 && (at = pages_seek(&i->now, at, true)) < i->size; at += sizeof(page)) {
		size_t n = i->size - at < sizeof(page) ? (size_t)(i->size - at) : sizeof(page);

		pages_read(&i->now, at, page, n);
		if (pwrite(fd, page, n, (off_t)at) != (ssize_t)n)
			rc = -EIO;
	}
	if (fd >= 0)
		close(fd);
	return rc;
}
