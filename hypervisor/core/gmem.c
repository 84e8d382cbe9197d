/*
 * hypervisor/core/gmem.c - the one checked door to guest memory.
 *
 * The memfd is laid out region after region; base is aligned to 2 MiB and a region's host address is
 * base + its file offset, so only the offset has to be chosen to agree with the GPA.
 *
 * Threads: a region is filled in, then published by the release store of `count`; readers load it with
 * acquire and take no lock. Bitmaps of what is published stay until gmem_free, so that a writer may still
 * mark a page after tracking was switched off.
 */
#include "hypervisor/core/gmem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE 0x200000ull
#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21u << 26) /* linux/memfd.h: not in every C library's headers */
#endif
/* Half of what a process can address on x86-64; keeps all sums below far from overflow. */
#define MAX_RAM (1ull << 46)

struct gmem {
	int fd;
	bool huge;
	uint64_t max, size;
	uint64_t end;       /* in the file, of the last region */
	uint64_t file_size; /* only grows: the file is sealed against shrinking */
	uint8_t *map;       /* the whole reservation */
	size_t map_len;
	uint8_t *base; /* map, aligned */
	struct gmem_region region[GMEM_MAX_REGIONS];
	_Atomic uint64_t *dirty[GMEM_MAX_REGIONS]; /* one bit a page, or NULL before any tracking */
	atomic_size_t count;
	bool prepared; /* region[count] waits to be published */
	atomic_bool tracking;
};

static size_t
bitmap_words(const struct gmem_region *r)
{
	return (size_t)((r->len / GMEM_PAGE + 63) / 64);
}

static int
open_memory(struct gmem *m, struct err *e)
{
	m->fd = memfd_create(
	    "guest-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING | (m->huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0u));
	if (m->fd < 0)
		return err_sys(e, "guest memory");
	/* Whoever gets the descriptor one day must not be able to take pages from under us (SIGBUS),
	 * nor seal it against the writing that hole punching counts as. */
	if (fcntl(m->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return err_sys(e, "guest memory: seal");
	return 0;
}

static int
reserve_space(struct gmem *m, struct err *e)
{
	/* Each region may be moved by less than 2 MiB to agree with its GPA, and so may the base. */
	m->map_len = m->max + (GMEM_MAX_REGIONS + 1) * HUGE_PAGE;
	m->map = mmap(NULL, m->map_len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->map == MAP_FAILED) {
		m->map = NULL;
		return err_sys(
		    e, "guest memory: reserve %llu MiB of address space", (unsigned long long)m->max >> 20);
	}
	m->base = m->map + (-(uintptr_t)m->map & (HUGE_PAGE - 1));
	return 0;
}

int
gmem_new(struct gmem **out, uint64_t max, bool huge, struct err *e)
{
	struct gmem *m;
	int rc;

	if (max == 0 || max % GMEM_PAGE != 0 || max > MAX_RAM)
		return err_set(e, EINVAL, "guest memory: %llu bytes cannot be had", (unsigned long long)max);
	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return err_set(e, ENOMEM, "guest memory: out of memory");
	m->fd = -1;
	m->max = max;
	m->huge = huge;
	rc = open_memory(m, e);
	if (rc == 0)
		rc = reserve_space(m, e);
	if (rc < 0) {
		gmem_free(m);
		return rc;
	}
	*out = m;
	return 0;
}

void
gmem_free(struct gmem *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < GMEM_MAX_REGIONS; i++)
		free(m->dirty[i]);
	if (m->map != NULL)
		munmap(m->map, m->map_len);
	if (m->fd >= 0)
		close(m->fd);
	free(m);
}

size_t
gmem_regions(const struct gmem *m)
{
	return atomic_load_explicit(&m->count, memory_order_acquire);
}

const struct gmem_region *
gmem_region(const struct gmem *m, size_t i)
{
	return i < gmem_regions(m) ? &m->region[i] : NULL;
}

uint64_t
gmem_size(const struct gmem *m)
{
	uint64_t size = 0;

	for (size_t i = 0, n = gmem_regions(m); i < n; i++)
		size += m->region[i].len;
	return size;
}

static int
check_new(const struct gmem *m, uint64_t gpa, uint64_t len, struct err *e)
{
	uint64_t unit = m->huge ? HUGE_PAGE : GMEM_PAGE, end;

	if (len == 0 || gpa % unit != 0 || len % unit != 0 || __builtin_add_overflow(gpa, len, &end))
		return err_set(e, EINVAL, "guest memory at %#llx: %llu bytes are not whole pages of %llu",
		    (unsigned long long)gpa, (unsigned long long)len, (unsigned long long)unit);
	if (len > m->max - m->size)
		return err_set(e, ENOSPC, "guest memory at %#llx: more than the maximum of %llu MiB",
		    (unsigned long long)gpa, (unsigned long long)m->max >> 20);
	if (gmem_regions(m) == GMEM_MAX_REGIONS)
		return err_set(
		    e, ENOSPC, "guest memory: there are %d regions, the most possible", GMEM_MAX_REGIONS);
	for (size_t i = 0; i < gmem_regions(m); i++) {
		const struct gmem_region *r = &m->region[i];

		if (gpa < r->gpa + r->len && r->gpa < end)
			return err_set(e, EEXIST, "guest memory at %#llx: overlaps what is at %#llx",
			    (unsigned long long)gpa, (unsigned long long)r->gpa);
	}
	return 0;
}

static int
map_failed(const struct gmem *m, uint64_t len, int code, struct err *e)
{
	if (m->huge && code == ENOMEM)
		return err_set(e, code,
		    "guest memory: this host has not %llu free huge pages of 2 MiB: reserve more in "
		    "/proc/sys/vm/nr_hugepages, or set Memory.BackingPageSize to Small",
		    (unsigned long long)(len / HUGE_PAGE));
	return err_set(
	    e, code, "guest memory: map %llu MiB: %s", (unsigned long long)len >> 20, strerror(code));
}

static int
map_region(struct gmem *m, struct gmem_region *r, struct err *e)
{
	uint64_t end = r->off + r->len;
	void *p;

	if (end > m->file_size) {
		if (ftruncate(m->fd, (off_t)end) < 0)
			return err_sys(e, "guest memory: grow to %llu MiB", (unsigned long long)end >> 20);
		m->file_size = end;
	}
	p = mmap(r->host, r->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, m->fd, (off_t)r->off);
	if (p == MAP_FAILED) {
		int rc = map_failed(m, r->len, errno, e);

		/* The kernel may have dropped the reservation before it failed: close the gap. */
		(void)!mmap(r->host, r->len, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
		return rc;
	}
	/* Both are wishes: a kernel without transparent huge pages runs the guest all the same. */
	if (!m->huge)
		madvise(r->host, r->len, MADV_HUGEPAGE);
	madvise(r->host, r->len, MADV_DONTDUMP);
	return 0;
}

static int
make_bitmap(struct gmem *m, size_t i, struct err *e)
{
	if (m->dirty[i] == NULL)
		m->dirty[i] = calloc(bitmap_words(&m->region[i]), sizeof(*m->dirty[i]));
	return m->dirty[i] != NULL ? 0 : err_set(e, ENOMEM, "guest memory: no memory for a dirty bitmap");
}

int
gmem_prepare(struct gmem *m, uint64_t gpa, uint64_t len, const struct gmem_region **out, struct err *e)
{
	size_t i = gmem_regions(m);
	struct gmem_region *r;
	int rc = check_new(m, gpa, len, e);

	m->prepared = false;
	if (rc < 0)
		return rc;
	r = &m->region[i];
	r->gpa = gpa;
	r->len = len;
	r->off = m->end + ((gpa - m->end) & (HUGE_PAGE - 1)); /* the next that agrees with gpa */
	r->host = m->base + r->off;
	free(m->dirty[i]); /* of one that was never published and may have been smaller */
	m->dirty[i] = NULL;
	rc = map_region(m, r, e);
	if (rc == 0 && atomic_load(&m->tracking))
		rc = make_bitmap(m, i, e);
	if (rc < 0)
		return rc;
	m->prepared = true;
	if (out != NULL)
		*out = r;
	return 0;
}

void
gmem_publish(struct gmem *m)
{
	size_t i = gmem_regions(m);
	const struct gmem_region *r = &m->region[i];

	assert(m->prepared);
	m->prepared = false;
	m->end = r->off + r->len;
	m->size += r->len;
	atomic_store_explicit(&m->count, i + 1, memory_order_release);
}

int
gmem_add(struct gmem *m, uint64_t gpa, uint64_t len, const struct gmem_region **out, struct err *e)
{
	int rc = gmem_prepare(m, gpa, len, out, e);

	if (rc == 0)
		gmem_publish(m);
	return rc;
}

/* The region that holds gpa, and how many bytes it has from there on. */
static const struct gmem_region *
find(const struct gmem *m, uint64_t gpa, uint64_t *left)
{
	for (size_t i = 0, n = gmem_regions(m); i < n; i++) {
		const struct gmem_region *r = &m->region[i];

		if (gpa >= r->gpa && gpa - r->gpa < r->len) {
			*left = r->len - (gpa - r->gpa);
			return r;
		}
	}
	return NULL;
}

/* The longest run of RAM from gpa, at most *len bytes long, that is contiguous for the host; shortens
 * *len to it. */
static uint8_t *
run(const struct gmem *m, uint64_t gpa, uint64_t *len)
{
	uint64_t left;
	const struct gmem_region *r = find(m, gpa, &left);

	if (r == NULL)
		return NULL;
	if (*len > left)
		*len = left;
	return r->host + (gpa - r->gpa);
}

static bool
is_ram(const struct gmem *m, uint64_t gpa, uint64_t len)
{
	while (len != 0) {
		uint64_t n = len;

		if (run(m, gpa, &n) == NULL)
			return false;
		len -= n;
		gpa += n;
		if (gpa == 0 && len != 0)
			return false;
	}
	return true;
}

int
gmem_read(const struct gmem *m, uint64_t gpa, void *buf, size_t len)
{
	uint8_t *to = buf;

	if (!is_ram(m, gpa, len))
		return -EFAULT;
	for (uint64_t n; len != 0; gpa += n, to += n, len -= n) {
		const uint8_t *p;

		n = len;
		p = run(m, gpa, &n);
		memcpy(to, p, n);
	}
	return 0;
}

int
gmem_write(struct gmem *m, uint64_t gpa, const void *buf, size_t len)
{
	const uint8_t *from = buf;
	uint64_t at = gpa, left = len;

	if (!is_ram(m, gpa, len))
		return -EFAULT;
	for (uint64_t n; left != 0; at += n, from += n, left -= n) {
		uint8_t *p;

		n = left;
		p = run(m, at, &n);
		memcpy(p, from, n);
	}
	gmem_dirty(m, gpa, len);
	return 0;
}

int
gmem_zero(struct gmem *m, uint64_t gpa, uint64_t len)
{
	uint64_t at = gpa, left = len;

	if (!is_ram(m, gpa, len))
		return -EFAULT;
	for (uint64_t n; left != 0; at += n, left -= n) {
		uint8_t *p;

		n = left;
		p = run(m, at, &n);
		memset(p, 0, n);
	}
	gmem_dirty(m, gpa, len);
	return 0;
}

/* len bytes of fd at off to a run of RAM. */
static int
load_run(uint8_t *to, int fd, uint64_t off, uint64_t len)
{
	while (len != 0) {
		ssize_t n = pread(fd, to, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		to += n;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

/* Makes the huge pages by a touch each. A copy by the kernel into pages that are not there stops at each of
 * them: loading a kernel of 14 MiB took 9.8 M instructions, and takes 7.6 M so. */
static void
touch(uint8_t *p, uint64_t n)
{
	for (uint64_t at = 0; at < n; at += HUGE_PAGE - (((uintptr_t)p + at) & (HUGE_PAGE - 1)))
		__atomic_fetch_or(p + at, 0, __ATOMIC_RELAXED);
}

int
gmem_load(struct gmem *m, uint64_t gpa, int fd, uint64_t off, size_t len)
{
	uint64_t at = gpa, left = len;
	int rc = 0;

	if (!is_ram(m, gpa, len))
		return -EFAULT;
	if (off > INT64_MAX - len)
		return -EINVAL;
	for (uint64_t n; rc == 0 && left != 0; at += n, off += n, left -= n) {
		uint8_t *p;

		n = left;
		p = run(m, at, &n);
		touch(p, n);
		rc = load_run(p, fd, off, n);
	}
	gmem_dirty(m, gpa, len); /* after a failure too: some bytes may have come */
	return rc;
}

void *
gmem_span(const struct gmem *m, uint64_t gpa, size_t len)
{
	uint64_t n = len;
	uint8_t *p = run(m, gpa, &n);

	return n == len ? p : NULL;
}

int
gmem_track(struct gmem *m, bool on, struct err *e)
{
	if (!on) {
		atomic_store(&m->tracking, false);
		return 0;
	}
	for (size_t i = 0; i < gmem_regions(m); i++) {
		int rc = make_bitmap(m, i, e);

		if (rc < 0)
			return rc;
		if (atomic_load(&m->tracking))
			continue; /* on already: nothing may be forgotten */
		for (size_t w = 0; w < bitmap_words(&m->region[i]); w++)
			atomic_store_explicit(&m->dirty[i][w], 0, memory_order_relaxed);
	}
	atomic_store(&m->tracking, true);
	return 0;
}

static void
mark(_Atomic uint64_t *bitmap, uint64_t first, uint64_t last)
{
	for (uint64_t w = first / 64; w <= last / 64; w++) {
		unsigned lo = w == first / 64 ? (unsigned)(first % 64) : 0;
		unsigned hi = w == last / 64 ? (unsigned)(last % 64) : 63;

		/* Never skipped for a bit that looks set: it may be taken before our data is seen. */
		atomic_fetch_or(&bitmap[w], (~0ull << lo) & (~0ull >> (63 - hi)));
	}
}

bool
gmem_tracked(const struct gmem *m)
{
	/* Orders the data before the look at `tracking`: either we see it on and mark, or who switched it
	 * on sees our data. */
	atomic_thread_fence(memory_order_seq_cst);
	return atomic_load_explicit(&m->tracking, memory_order_acquire);
}

void
gmem_dirty(struct gmem *m, uint64_t gpa, uint64_t len)
{
	if (!gmem_tracked(m))
		return;
	while (len != 0) {
		uint64_t n;
		const struct gmem_region *r = find(m, gpa, &n);

		if (r == NULL)
			return;
		if (n > len)
			n = len;
		mark(m->dirty[r - m->region], (gpa - r->gpa) / GMEM_PAGE, (gpa + n - 1 - r->gpa) / GMEM_PAGE);
		gpa += n;
		len -= n;
	}
}

void
gmem_take_dirty(struct gmem *m, size_t i, uint64_t *bitmap)
{
	const struct gmem_region *r = gmem_region(m, i);

	for (size_t w = 0; r != NULL && w < bitmap_words(r); w++)
		bitmap[w] = m->dirty[i] != NULL ? atomic_exchange(&m->dirty[i][w], 0) : 0;
}

void
gmem_discard(struct gmem *m)
{
	for (size_t i = 0; i < gmem_regions(m); i++) {
		const struct gmem_region *r = &m->region[i];

		if (fallocate(
			m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)r->off, (off_t)r->len) < 0)
			memset(r->host, 0, r->len); /* dearer, but the next guest must not read it */
		gmem_dirty(m, r->gpa, r->len);
	}
}

int
gmem_give_back(struct gmem *m, uint64_t gpa, uint64_t len)
{
	uint64_t at = gpa, left = len;
	int rc = 0;

	if (m->huge)
		return -ENOTSUP;
	if (gpa % GMEM_PAGE != 0 || len % GMEM_PAGE != 0)
		return -EINVAL;
	if (!is_ram(m, gpa, len))
		return -EFAULT;
	for (uint64_t n; rc == 0 && left != 0; at += n, left -= n) {
		const uint8_t *p;

		n = left;
		p = run(m, at, &n);
		if (fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(p - m->base),
			(off_t)n) < 0)
			rc = -errno;
	}
	gmem_dirty(m, gpa, len);
	return rc;
}

bool
gmem_next_data(const struct gmem *m, size_t i, uint64_t from, uint64_t *start, uint64_t *len)
{
	const struct gmem_region *r = gmem_region(m, i);
	off_t data, hole, end;

	if (!r || from >= r->len)
		return false;
	end = (off_t)(r->off + r->len);
	data = lseek(m->fd, (off_t)(r->off + from), SEEK_DATA);
	if (data < 0 && errno != ENXIO) /* cannot be told: then all of it */
		data = (off_t)(r->off + from);
	if (data < 0 || data >= end)
		return false;
	hole = lseek(m->fd, data, SEEK_HOLE);
	if (hole < 0 || hole > end)
		hole = end;
	*start = (uint64_t)data - r->off;
	*len = (uint64_t)(hole - data);
	return true;
}
