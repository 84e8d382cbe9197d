/*
 * tests/unit/gmem_test.c - what the door to guest memory promises.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hypervisor/core/gmem.h"

#define MIB  0x100000ull
#define HIGH 0x100000000ull

static struct gmem *
new_mem(uint64_t max)
{
	struct gmem *m;
	struct err e = { 0 };

	assert_int_equal(gmem_new(&m, max, false, &e), 0);
	return m;
}

/* 1 MiB at 0 and 1 MiB at 4 GiB, of 4 MiB at most. */
static struct gmem *
two_regions(void)
{
	struct gmem *m = new_mem(4 * MIB);

	assert_int_equal(gmem_add(m, 0, MIB, NULL, NULL), 0);
	assert_int_equal(gmem_add(m, HIGH, MIB, NULL, NULL), 0);
	return m;
}

static int
file_with(const void *buf, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, buf, len), (ssize_t)len);
	return fd;
}

static void
new_memory_has_no_ram(void **state)
{
	struct gmem *m = new_mem(MIB);
	char c;

	(void)state;
	assert_int_equal(gmem_regions(m), 0);
	assert_int_equal(gmem_size(m), 0);
	assert_null(gmem_region(m, 0));
	assert_int_equal(gmem_read(m, 0, &c, 1), -EFAULT);
	assert_int_equal(gmem_read(m, 0, &c, 0), 0);
	gmem_free(m);
	gmem_free(NULL);
}

static void
sizes_that_cannot_be_are_refused(void **state)
{
	static const uint64_t bad[] = { 0, 1, GMEM_PAGE - 1, GMEM_PAGE + 1, 1ull << 47, ~0ull, ~0ull - 4095 };
	struct err e = { 0 };
	struct gmem *m;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(gmem_new(&m, bad[i], false, &e), -EINVAL);
	assert_string_equal(e.msg, "guest memory: 18446744073709547520 bytes cannot be had");
}

static void
host_gpa_and_file_agree_modulo_2_mib(void **state)
{
	static const struct {
		uint64_t gpa, len;
	} add[] = {
		{ 0, 3 * MIB },
		{ HIGH, 5 * MIB },
		{ HIGH + 7 * MIB, GMEM_PAGE },
		{ HIGH + 0x1ff000, 0 }, /* replaced below: overlaps */
		{ 0xe0000000ull + GMEM_PAGE, 2 * MIB },
	};
	struct gmem *m = new_mem(16 * MIB);
	uint64_t end = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(add) / sizeof(add[0]); i++) {
		const struct gmem_region *r;

		if (add[i].len == 0) {
			assert_int_equal(gmem_add(m, add[i].gpa, GMEM_PAGE, &r, NULL), -EEXIST);
			continue;
		}
		assert_int_equal(gmem_add(m, add[i].gpa, add[i].len, &r, NULL), 0);
		assert_int_equal(r->gpa, add[i].gpa);
		assert_int_equal(r->len, add[i].len);
		assert_int_equal((uintptr_t)r->host % (2 * MIB), r->gpa % (2 * MIB));
		assert_int_equal(r->off % (2 * MIB), r->gpa % (2 * MIB));
		assert_true(r->off >= end);
		end = r->off + r->len;
	}
	gmem_free(m);
}

static void
a_bad_region_is_refused_and_changes_nothing(void **state)
{
	static const struct {
		uint64_t gpa, len;
		int rc;
	} bad[] = {
		{ 2 * MIB, 0, -EINVAL },
		{ 2 * MIB + 1, GMEM_PAGE, -EINVAL },
		{ 2 * MIB, GMEM_PAGE + 1, -EINVAL },
		{ ~0ull - 4095, 2 * GMEM_PAGE, -EINVAL },
		{ GMEM_PAGE, ~0ull - 4095, -EINVAL },
		{ 0, GMEM_PAGE, -EEXIST },
		{ MIB - GMEM_PAGE, 2 * GMEM_PAGE, -EEXIST },
		{ HIGH - GMEM_PAGE, 2 * GMEM_PAGE, -EEXIST },
		{ HIGH - GMEM_PAGE, MIB + 2 * GMEM_PAGE, -EEXIST },
		{ 2 * MIB, 2 * MIB + GMEM_PAGE, -ENOSPC },
	};
	struct gmem *m = two_regions();

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err e = { 0 };

		assert_int_equal(gmem_add(m, bad[i].gpa, bad[i].len, NULL, &e), bad[i].rc);
		assert_int_equal(e.code, -bad[i].rc);
		assert_int_equal(gmem_regions(m), 2);
		assert_int_equal(gmem_size(m), 2 * MIB);
	}
	gmem_free(m);
}

static void
there_is_room_for_the_maximum_in_any_pieces(void **state)
{
	struct gmem *m = new_mem(GMEM_MAX_REGIONS * (uint64_t)GMEM_PAGE);
	struct err e = { 0 };

	(void)state;
	/* The worst case for alignment: every region just below the place that the last one ended at. */
	for (unsigned i = 0; i < GMEM_MAX_REGIONS; i++)
		assert_int_equal(gmem_add(m, 64 * MIB * (i + 1) - GMEM_PAGE, GMEM_PAGE, NULL, &e), 0);
	for (unsigned i = 0; i < GMEM_MAX_REGIONS; i++)
		assert_int_equal(gmem_zero(m, 64 * MIB * (i + 1) - GMEM_PAGE, GMEM_PAGE), 0);
	assert_int_equal(gmem_add(m, 0, GMEM_PAGE, NULL, &e), -ENOSPC);
	gmem_free(m);

	m = new_mem(64 * (uint64_t)GMEM_PAGE);
	for (unsigned i = 0; i < GMEM_MAX_REGIONS; i++)
		assert_int_equal(gmem_add(m, i * MIB, GMEM_PAGE, NULL, &e), 0);
	assert_int_equal(gmem_add(m, 64 * MIB, GMEM_PAGE, NULL, &e), -ENOSPC);
	gmem_free(m);
}

static void
an_access_that_leaves_ram_fails_whole(void **state)
{
	static const struct {
		uint64_t gpa, len;
	} bad[] = {
		{ MIB, 1 },
		{ MIB - 1, 2 },
		{ 0, MIB + 1 },
		{ HIGH - 1, 2 },
		{ HIGH + MIB - 8, 16 },
		{ ~0ull, 1 },
		{ ~0ull, 2 },
		{ 8, SIZE_MAX },
		{ 8, SIZE_MAX - 7 },
		{ 0, HIGH + MIB },
	};
	static uint8_t buf[2 * MIB];
	struct gmem *m = two_regions();
	int fd = file_with(buf, sizeof(buf));

	(void)state;
	memset(buf, 0xaa, sizeof(buf));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(gmem_write(m, bad[i].gpa, buf, bad[i].len), -EFAULT);
		assert_int_equal(gmem_read(m, bad[i].gpa, buf, bad[i].len), -EFAULT);
		assert_int_equal(gmem_zero(m, bad[i].gpa, bad[i].len), -EFAULT);
		assert_int_equal(gmem_load(m, bad[i].gpa, fd, 0, bad[i].len), -EFAULT);
		assert_null(gmem_span(m, bad[i].gpa, bad[i].len));
	}
	assert_int_equal(gmem_read(m, 0, buf, MIB), 0);
	assert_int_equal(gmem_read(m, HIGH, buf + MIB, MIB), 0);
	for (size_t i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], 0);
	close(fd);
	gmem_free(m);
}

static void
an_access_may_cross_regions_that_touch(void **state)
{
	struct gmem *m = new_mem(4 * MIB);
	char out[] = "over the border", in[sizeof(out)];
	uint64_t gpa = MIB - 4;

	(void)state;
	assert_int_equal(gmem_add(m, MIB, MIB, NULL, NULL), 0);
	assert_int_equal(gmem_add(m, 0, MIB, NULL, NULL), 0);
	assert_int_equal(gmem_write(m, gpa, out, sizeof(out)), 0);
	assert_int_equal(gmem_read(m, gpa, in, sizeof(in)), 0);
	assert_string_equal(in, out);
	assert_null(gmem_span(m, gpa, sizeof(out)));
	assert_memory_equal(gmem_span(m, gpa, 4), "over", 4);
	assert_memory_equal(gmem_span(m, MIB, 4), " the", 4);
	gmem_free(m);
}

static void
a_file_is_read_to_the_byte(void **state)
{
	struct gmem *m = two_regions();
	uint8_t content[5000], seen[5002];
	int fd, pipes[2];

	(void)state;
	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)(i * 7 + 1);
	fd = file_with(content, sizeof(content));
	assert_int_equal(gmem_load(m, HIGH + 1, fd, 0, sizeof(content)), 0);
	assert_int_equal(gmem_read(m, HIGH, seen, sizeof(seen)), 0);
	assert_int_equal(seen[0], 0);
	assert_memory_equal(seen + 1, content, sizeof(content));
	assert_int_equal(seen[5001], 0);
	assert_int_equal(gmem_load(m, 0, fd, 1, sizeof(content)), -EIO);
	assert_int_equal(gmem_load(m, 0, fd, INT64_MAX, 1), -EINVAL);
	assert_int_equal(gmem_load(m, 0, fd, ~0ull, 1), -EINVAL);
	assert_int_equal(gmem_load(m, 0, -1, 0, 1), -EBADF);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(gmem_load(m, 0, pipes[0], 0, 1), -ESPIPE);
	close(pipes[0]);
	close(pipes[1]);
	close(fd);
	gmem_free(m);
}

/* The memfd of the only gmem in this process. */
static int
find_memfd(void)
{
	for (int fd = 0; fd < 100; fd++) {
		char path[32], link[64] = "";

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (readlink(path, link, sizeof(link) - 1) > 0 && strstr(link, "guest-ram") != NULL)
			return fd;
	}
	return -1;
}

static void
nobody_can_shrink_it(void **state)
{
	struct gmem *m = two_regions();
	int fd = find_memfd();

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_int_equal(gmem_add(m, 8 * MIB, MIB, NULL, NULL), 0);
	assert_int_equal(gmem_zero(m, 8 * MIB, MIB), 0);
	gmem_free(m);
	assert_int_equal(find_memfd(), -1);
}

static void
prepared_memory_is_ram_only_once_it_is_published(void **state)
{
	const struct gmem_region *r;
	struct gmem *m = new_mem(8 * MIB);
	char c;

	(void)state;
	assert_int_equal(gmem_add(m, 0, MIB, NULL, NULL), 0);
	assert_int_equal(gmem_prepare(m, HIGH, MIB, &r, NULL), 0);
	assert_int_equal(r->gpa, HIGH);
	assert_int_equal(gmem_regions(m), 1);
	assert_int_equal(gmem_size(m), MIB);
	assert_int_equal(gmem_read(m, HIGH, &c, 1), -EFAULT);
	gmem_publish(m);
	assert_int_equal(gmem_size(m), 2 * MIB);
	assert_int_equal(gmem_write(m, HIGH + MIB - 1, "x", 1), 0);
	assert_int_equal(gmem_regions(m), 2);
	gmem_free(m);
}

/* Without tracking, with it, and without again: a dirty bitmap of another size must not stay. */
static void
what_is_prepared_and_never_published_leaves_no_trace(void **state)
{
	struct gmem *m = new_mem(64 * MIB);
	uint64_t bits[512];

	(void)state;
	for (uint64_t gpa = 0; gpa < 2 * GMEM_MAX_REGIONS * MIB; gpa += MIB)
		assert_int_equal(gmem_prepare(m, gpa, 64 * MIB, NULL, NULL), 0);
	assert_int_equal(gmem_track(m, true, NULL), 0);
	assert_int_equal(gmem_prepare(m, 0, GMEM_PAGE, NULL, NULL), 0);
	assert_int_equal(gmem_track(m, false, NULL), 0);
	assert_int_equal(gmem_prepare(m, 0, 65 * MIB, NULL, NULL), -ENOSPC);
	assert_int_equal(gmem_regions(m), 0);
	assert_int_equal(gmem_add(m, 0, 64 * MIB, NULL, NULL), 0);
	assert_int_equal(gmem_track(m, true, NULL), 0);
	assert_int_equal(gmem_write(m, 64 * MIB - 1, "x", 1), 0);
	gmem_take_dirty(m, 0, bits);
	assert_true(bits[0] == 0 && bits[255] == 1ull << 63);
	gmem_free(m);
}

static bool no_holes;
int __real_fallocate(int fd, int mode, off_t off, off_t len);
int __wrap_fallocate(int fd, int mode, off_t off, off_t len);

int
__wrap_fallocate(int fd, int mode, off_t off, off_t len)
{
	errno = EOPNOTSUPP;
	return no_holes ? -1 : __real_fallocate(fd, mode, off, len);
}

static void
memory_is_empty_after_a_discard_even_where_no_hole_can_be_made(void **state)
{
	struct gmem *m = two_regions();
	char byte = 'x';

	(void)state;
	assert_int_equal(gmem_write(m, MIB - 1, "y", 1), 0);
	no_holes = true;
	gmem_discard(m);
	no_holes = false;
	assert_int_equal(gmem_read(m, MIB - 1, &byte, 1), 0);
	assert_int_equal(byte, 0);
	gmem_free(m);
}

static void
huge_pages_come_whole_or_not_at_all(void **state)
{
	struct err e = { 0 };
	struct gmem *m;

	(void)state;
	if (gmem_new(&m, 4 * MIB, true, &e) < 0)
		skip(); /* a kernel without them */
	assert_int_equal(gmem_add(m, 0, MIB, NULL, &e), -EINVAL);
	assert_int_equal(gmem_add(m, MIB, 2 * MIB, NULL, &e), -EINVAL);
	/* There may be none to have; then it is said now, not when the guest touches them. */
	if (gmem_add(m, 0, 2 * MIB, NULL, &e) < 0)
		assert_int_equal(e.code, ENOMEM);
	else
		assert_int_equal(gmem_zero(m, 0, 2 * MIB), 0);
	gmem_free(m);
	assert_int_equal(gmem_new(&m, 1ull << 40, true, &e), 0); /* no host has so many to spare */
	assert_int_equal(gmem_add(m, 0, 1ull << 40, NULL, &e), -ENOMEM);
	assert_string_equal(e.msg,
	    "guest memory: this host has not 524288 free huge pages of 2 MiB: reserve more in "
	    "/proc/sys/vm/nr_hugepages, or set Memory.BackingPageSize to Small");
	gmem_free(m);
}

static void
only_written_pages_are_dirty_and_only_once(void **state)
{
	struct gmem *m = two_regions();
	uint64_t bits[4];
	int fd = file_with("abc", 3);

	(void)state;
	assert_int_equal(gmem_write(m, 0, "x", 1), 0); /* tracking is off */
	assert_int_equal(gmem_track(m, true, NULL), 0);
	gmem_take_dirty(m, 0, bits);
	assert_int_equal(bits[0] | bits[1] | bits[2] | bits[3], 0);

	assert_int_equal(gmem_write(m, 2 * GMEM_PAGE - 1, "xy", 2), 0);
	assert_int_equal(gmem_zero(m, 62 * GMEM_PAGE, 4 * GMEM_PAGE), 0);
	assert_int_equal(gmem_load(m, 200 * GMEM_PAGE, fd, 0, 3), 0);
	assert_int_equal(gmem_load(m, 201 * GMEM_PAGE, fd, 1, 3), -EIO); /* two bytes came */
	assert_int_equal(gmem_write(m, 9 * GMEM_PAGE, "", 0), 0);
	assert_int_equal(gmem_write(m, MIB - 1, "xy", 2), -EFAULT);
	gmem_dirty(m, HIGH + MIB - 1, 1);
	gmem_take_dirty(m, 0, bits);
	assert_true(bits[0] == (6 | 3ull << 62));
	assert_true(bits[1] == 3);
	assert_true(bits[2] == 0);
	assert_true(bits[3] == (3ull << (200 - 192)));
	gmem_take_dirty(m, 0, bits);
	assert_true((bits[0] | bits[1] | bits[2] | bits[3]) == 0);
	gmem_take_dirty(m, 1, bits);
	assert_true(bits[0] == 0 && bits[3] == 1ull << 63);
	close(fd);
	gmem_free(m);
}

static void
switching_tracking_on_begins_afresh_and_twice_forgets_nothing(void **state)
{
	struct gmem *m = two_regions();
	uint64_t bits[4];

	(void)state;
	gmem_take_dirty(m, 0, bits); /* never tracked: nothing, and no crash */
	assert_true(bits[0] == 0);
	assert_int_equal(gmem_track(m, true, NULL), 0);
	assert_int_equal(gmem_write(m, 0, "x", 1), 0);
	assert_int_equal(gmem_track(m, true, NULL), 0);
	gmem_take_dirty(m, 0, bits);
	assert_true(bits[0] == 1);
	assert_int_equal(gmem_write(m, 0, "x", 1), 0);
	assert_int_equal(gmem_track(m, false, NULL), 0);
	assert_int_equal(gmem_write(m, GMEM_PAGE, "x", 1), 0);
	assert_int_equal(gmem_track(m, true, NULL), 0);
	gmem_take_dirty(m, 0, bits);
	assert_true(bits[0] == 0);
	assert_int_equal(gmem_add(m, 16 * MIB, MIB, NULL, NULL), 0);
	assert_int_equal(gmem_write(m, 16 * MIB, "x", 1), 0);
	gmem_take_dirty(m, 2, bits);
	assert_true(bits[0] == 1);
	gmem_free(m);
}

static void
discarded_memory_reads_as_zero_and_holds_no_pages(void **state)
{
	struct gmem *m = two_regions();
	uint64_t bits[4], start, len;
	char c = 1;

	(void)state;
	assert_false(gmem_next_data(m, 0, 0, &start, &len));
	assert_false(gmem_next_data(m, 2, 0, &start, &len));
	assert_int_equal(gmem_write(m, HIGH + 17 * GMEM_PAGE, "x", 1), 0);
	assert_false(gmem_next_data(m, 0, 0, &start, &len));
	assert_true(gmem_next_data(m, 1, 0, &start, &len));
	assert_true(start <= 17 * GMEM_PAGE && start + len > 17 * GMEM_PAGE && start + len <= MIB);
	assert_false(gmem_next_data(m, 1, start + len, &start, &len));
	assert_false(gmem_next_data(m, 1, MIB, &start, &len));
	assert_int_equal(gmem_track(m, true, NULL), 0);
	gmem_discard(m);
	assert_false(gmem_next_data(m, 1, 0, &start, &len));
	assert_int_equal(gmem_read(m, HIGH + 17 * GMEM_PAGE, &c, 1), 0);
	assert_int_equal(c, 0);
	for (size_t i = 0; i < 2; i++) {
		gmem_take_dirty(m, i, bits);
		assert_true((bits[0] & bits[1] & bits[2] & bits[3]) == ~0ull);
	}
	gmem_free(m);
}

/*
 * A migration under load: a shadow of the memory is kept by copying what the bitmap names while
 * threads write at random. Whenever they pause and one last round is done, the checksums of all pages
 * of both must agree; a page that was written and not marked, or marked too early, differs. The
 * memory is small and the pauses are many, so that threads meet in the same words of the bitmap.
 */
enum { WRITERS = 4, WRITES = 80, EPOCHS = 600, LOAD_PAGES = 128 };

struct load {
	struct gmem *m;
	atomic_uint running;
	int fd;
	pthread_barrier_t begin, done;
};

static void
write_somewhere(struct load *l, unsigned *seed)
{
	uint64_t gpa = (unsigned)rand_r(seed) % (LOAD_PAGES * GMEM_PAGE - 9000);
	uint64_t words[4] = { *seed, gpa, *seed, (uintptr_t)seed };

	gpa += (rand_r(seed) & 1) != 0 ? HIGH : 0;
	switch (rand_r(seed) % 16) {
	case 0:
		gmem_zero(l->m, gpa, (uint64_t)(rand_r(seed) % 9000));
		break;
	case 1:
		gmem_load(l->m, gpa, l->fd, 0, (size_t)(rand_r(seed) % 9000));
		break;
	case 2:
		*(atomic_uchar *)gmem_span(l->m, gpa, 1) = (unsigned char)*seed;
		gmem_dirty(l->m, gpa, 1);
		break;
	default:
		gmem_write(l->m, gpa, words, sizeof(words));
		break;
	}
}

static void *
writer(void *arg)
{
	struct load *l = arg;
	unsigned seed = (unsigned)((uintptr_t)&seed >> 12);

	for (unsigned epoch = 0; epoch < EPOCHS; epoch++) {
		pthread_barrier_wait(&l->begin);
		for (unsigned i = 0; i < WRITES; i++)
			write_somewhere(l, &seed);
		atomic_fetch_sub(&l->running, 1);
		pthread_barrier_wait(&l->done);
	}
	return NULL;
}

static uint64_t
sum(const uint8_t *page)
{
	uint64_t h = 14695981039346656037ull, word; /* FNV-1a, by words */

	for (unsigned i = 0; i < GMEM_PAGE; i += sizeof(word)) {
		memcpy(&word, page + i, sizeof(word));
		h = (h ^ word) * 1099511628211ull;
	}
	return h;
}

static void
copy_dirty(struct gmem *m, uint8_t shadow[2][LOAD_PAGES * GMEM_PAGE])
{
	for (size_t i = 0; i < 2; i++) {
		const struct gmem_region *r = gmem_region(m, i);
		uint64_t bits[LOAD_PAGES / 64];

		gmem_take_dirty(m, i, bits);
		for (uint64_t p = 0; p < LOAD_PAGES; p++)
			if ((bits[p / 64] >> (p % 64) & 1) != 0)
				gmem_read(m, r->gpa + p * GMEM_PAGE, shadow[i] + p * GMEM_PAGE, GMEM_PAGE);
	}
}

static unsigned
pages_that_differ(struct gmem *m, uint8_t shadow[2][LOAD_PAGES * GMEM_PAGE])
{
	unsigned n = 0;

	for (size_t i = 0; i < 2; i++)
		for (uint64_t p = 0; p < LOAD_PAGES; p++)
			n += sum(gmem_region(m, i)->host + p * GMEM_PAGE) != sum(shadow[i] + p * GMEM_PAGE);
	return n;
}

static void
the_bitmap_under_load_agrees_with_checksums_of_pages(void **state)
{
	static uint8_t shadow[2][LOAD_PAGES * GMEM_PAGE];
	struct load l = { .m = new_mem(2ull * LOAD_PAGES * GMEM_PAGE) };
	pthread_t thread[WRITERS];
	uint8_t file[9000];

	(void)state;
	memset(file, 0x5a, sizeof(file));
	l.fd = file_with(file, sizeof(file));
	assert_int_equal(gmem_add(l.m, 0, LOAD_PAGES * GMEM_PAGE, NULL, NULL), 0);
	assert_int_equal(gmem_add(l.m, HIGH, LOAD_PAGES * GMEM_PAGE, NULL, NULL), 0);
	pthread_barrier_init(&l.begin, NULL, WRITERS + 1);
	pthread_barrier_init(&l.done, NULL, WRITERS + 1);
	for (unsigned i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, writer, &l), 0);
	for (unsigned epoch = 0; epoch < EPOCHS; epoch++) {
		atomic_store(&l.running, WRITERS);
		pthread_barrier_wait(&l.begin);
		/* Tracking begins in the middle of the writing, then everything once, as in a migration. */
		assert_int_equal(gmem_track(l.m, true, NULL), 0);
		for (size_t i = 0; i < 2; i++)
			gmem_read(l.m, gmem_region(l.m, i)->gpa, shadow[i], sizeof(shadow[i]));
		while (atomic_load(&l.running) != 0)
			copy_dirty(l.m, shadow);
		pthread_barrier_wait(&l.done);
		copy_dirty(l.m, shadow);
		assert_int_equal(pages_that_differ(l.m, shadow), 0);
		assert_int_equal(gmem_track(l.m, false, NULL), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(thread[i], NULL);
	pthread_barrier_destroy(&l.begin);
	pthread_barrier_destroy(&l.done);
	close(l.fd);
	gmem_free(l.m);
}

/* Readers look on while regions are added: what they see is complete. */
static void *
looker(void *arg)
{
	struct load *l = arg;

	while (atomic_load(&l->running) != 0) {
		size_t n = gmem_regions(l->m);
		char c = 1;

		for (size_t i = 0; i < n; i++)
			if (gmem_read(l->m, gmem_region(l->m, i)->gpa, &c, 1) != 0 || c != 0)
				return l;
	}
	return NULL;
}

static void
regions_are_added_under_the_eyes_of_readers(void **state)
{
	struct load l = { .m = new_mem(GMEM_MAX_REGIONS * (uint64_t)GMEM_PAGE), .running = 1 };
	pthread_t thread;
	void *failed;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, looker, &l), 0);
	for (uint64_t i = 0; i < GMEM_MAX_REGIONS; i++) {
		assert_int_equal(gmem_add(l.m, i * HIGH, GMEM_PAGE, NULL, NULL), 0);
		usleep(100);
	}
	atomic_store(&l.running, 0);
	pthread_join(thread, &failed);
	assert_null(failed);
	gmem_free(l.m);
}

/* Bytes of the host that the file takes. */
static uint64_t
taken(const struct gmem *m)
{
	uint64_t start, len, n = 0;

	for (size_t i = 0; i < gmem_regions(m); i++)
		for (uint64_t at = 0; gmem_next_data(m, i, at, &start, &len); at = start + len)
			n += len;
	return n;
}

static void
pages_that_are_given_back_are_the_hosts(void **state)
{
	struct gmem *m = two_regions();
	uint64_t bitmap[4];
	uint8_t byte = 1;

	(void)state;
	for (uint64_t at = 0; at < MIB; at += GMEM_PAGE) {
		assert_int_equal(gmem_write(m, at, &byte, 1), 0);
		assert_int_equal(gmem_write(m, HIGH + at, &byte, 1), 0);
	}
	assert_int_equal(taken(m), 2 * MIB);
	assert_int_equal(gmem_track(m, true, NULL), 0);
	assert_int_equal(gmem_give_back(m, 16 * GMEM_PAGE, 4 * GMEM_PAGE), 0);
	assert_int_equal(gmem_give_back(m, HIGH, MIB), 0);
	assert_int_equal(taken(m), MIB - 4 * GMEM_PAGE);
	gmem_take_dirty(m, 0, bitmap);
	assert_int_equal(bitmap[0], 0xf0000);
	assert_int_equal(gmem_read(m, 16 * GMEM_PAGE, &byte, 1), 0);
	assert_int_equal(byte, 0);
	assert_int_equal(gmem_read(m, 20 * GMEM_PAGE, &byte, 1), 0);
	assert_int_equal(byte, 1);
	assert_int_equal(gmem_write(m, HIGH, &byte, 1), 0); /* and it can be used again */
	assert_int_equal(taken(m), MIB - 2 * GMEM_PAGE);
	gmem_free(m);
}

static void
only_whole_pages_of_ram_are_given_back(void **state)
{
	struct gmem *m = two_regions();

	(void)state;
	assert_int_equal(gmem_give_back(m, 0, 0), 0);
	assert_int_equal(gmem_give_back(m, 1, GMEM_PAGE), -EINVAL);
	assert_int_equal(gmem_give_back(m, 0, GMEM_PAGE + 1), -EINVAL);
	assert_int_equal(gmem_give_back(m, MIB - GMEM_PAGE, 2 * GMEM_PAGE), -EFAULT);
	assert_int_equal(gmem_give_back(m, HIGH + MIB, GMEM_PAGE), -EFAULT);
	assert_int_equal(gmem_give_back(m, UINT64_MAX - GMEM_PAGE + 1, GMEM_PAGE), -EFAULT);
	gmem_free(m);
	assert_int_equal(gmem_new(&m, 4 * MIB, true, NULL), 0);
	assert_int_equal(gmem_give_back(m, 0, 0), -ENOTSUP);
	gmem_free(m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_memory_has_no_ram),
		cmocka_unit_test(sizes_that_cannot_be_are_refused),
		cmocka_unit_test(host_gpa_and_file_agree_modulo_2_mib),
		cmocka_unit_test(a_bad_region_is_refused_and_changes_nothing),
		cmocka_unit_test(there_is_room_for_the_maximum_in_any_pieces),
		cmocka_unit_test(an_access_that_leaves_ram_fails_whole),
		cmocka_unit_test(an_access_may_cross_regions_that_touch),
		cmocka_unit_test(a_file_is_read_to_the_byte),
		cmocka_unit_test(nobody_can_shrink_it),
		cmocka_unit_test(prepared_memory_is_ram_only_once_it_is_published),
		cmocka_unit_test(what_is_prepared_and_never_published_leaves_no_trace),
		cmocka_unit_test(memory_is_empty_after_a_discard_even_where_no_hole_can_be_made),
		cmocka_unit_test(huge_pages_come_whole_or_not_at_all),
		cmocka_unit_test(only_written_pages_are_dirty_and_only_once),
		cmocka_unit_test(switching_tracking_on_begins_afresh_and_twice_forgets_nothing),
		cmocka_unit_test(discarded_memory_reads_as_zero_and_holds_no_pages),
		cmocka_unit_test(the_bitmap_under_load_agrees_with_checksums_of_pages),
		cmocka_unit_test(regions_are_added_under_the_eyes_of_readers),
		cmocka_unit_test(pages_that_are_given_back_are_the_hosts),
		cmocka_unit_test(only_whole_pages_of_ram_are_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
