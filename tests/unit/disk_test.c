/*
 * tests/unit/disk_test.c - a raw disk on a file: sizes, transfers that come back short, holes, zeros, errors.
 */
#include "hypervisor/disk/disk.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <sys/mman.h>

#include "tests/unit/fake_loop.h"

enum { SIZE = 1 << 20 };

struct fixture {
	struct io_loop *loop;
	int fd; /* a second descriptor of the file */
	struct disk *d;
	unsigned done;
	int rc;
};

static struct fixture *current; /* for answers, which have no context */

static int
open_raw(struct fixture *x, struct disk **d, uint32_t logical, bool read_only, struct err *e)
{
	struct disk_file *file;
	int rc;

	assert_int_equal(file_new(&file, x->loop, dup(x->fd), read_only, NULL), 0);
	rc = disk_raw_new(d, x->loop, file, logical, read_only, e);
	if (rc < 0)
		file_free(file);
	return rc;
}

static int
setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));
	uint8_t block[4096];

	x->loop = fake_loop_new();
	x->fd = memfd_create("disk", 0);
	for (int i = 0; i < SIZE / 4096; i++) {
		memset(block, i + 1, sizeof(block));
		assert_int_equal(pwrite(x->fd, block, sizeof(block), i * 4096), sizeof(block));
	}
	assert_int_equal(open_raw(x, &x->d, 512, false, NULL), 0);
	current = x;
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *x = *state;

	disk_free(x->d);
	close(x->fd);
	for (int i = 0; i < FAKE_LOOP_FILES; i++)
		assert_int_equal(x->loop->fd[i], 0);
	io_loop_free(x->loop);
	free(x);
	return 0;
}

static void
done(struct disk_io *io, int rc)
{
	(void)io;
	current->done++;
	current->rc = rc;
}

static int
run(struct fixture *x, struct disk_io *io)
{
	unsigned before = x->done;

	io->done = done;
	disk_submit(x->d, io);
	fake_loop_run(x->loop);
	assert_int_equal(x->done, before + 1);
	return x->rc;
}

static int
move(struct fixture *x, enum disk_op op, uint64_t offset, void *buf, size_t len, bool fua)
{
	struct iovec iov[3] = { { buf, len / 4 }, { (char *)buf + len / 4, len / 4 },
		{ (char *)buf + len / 2, len - len / 2 } };
	struct disk_io io = { .op = op, .offset = offset, .len = len, .iov = iov, .iovs = 3, .fua = fua };

	return run(x, &io);
}

static int
range(struct fixture *x, enum disk_op op, uint64_t offset, uint64_t len, bool unmap)
{
	struct disk_io io = { .op = op, .offset = offset, .len = len, .unmap = unmap };

	return run(x, &io);
}

static void
assert_bytes(struct fixture *x, uint64_t from, uint64_t len, int byte)
{
	uint8_t b[512];

	for (uint64_t at = from; at < from + len; at += sizeof(b)) {
		assert_int_equal(pread(x->fd, b, sizeof(b), (off_t)at), sizeof(b));
		for (size_t i = 0; i < sizeof(b); i++)
			if (b[i] != byte)
				fail_msg("byte %llu is %d, not %d", (unsigned long long)(at + i), b[i], byte);
	}
}

static void
the_size_is_the_file_s_without_a_partial_sector(void **state)
{
	static const struct {
		off_t file;
		uint32_t logical;
		uint64_t size;
	} rows[] = { { 512, 512, 512 }, { 1023, 512, 512 }, { 4096, 4096, 4096 }, { 12287, 4096, 8192 },
		{ 5000, 2048, 4096 } };
	struct fixture *x = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct disk *d;

		assert_int_equal(ftruncate(x->fd, rows[i].file), 0);
		assert_int_equal(open_raw(x, &d, rows[i].logical, false, NULL), 0);
		assert_int_equal(d->size, rows[i].size);
		assert_int_equal(d->logical, rows[i].logical);
		disk_free(d);
	}
}

static void
what_cannot_be_a_disk_is_refused_in_words(void **state)
{
	struct fixture *x = *state;
	struct err e;
	struct disk_file *file;
	struct disk *d;
	int p[2];

	assert_int_equal(open_raw(x, &d, 520, false, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "520"));
	assert_int_equal(ftruncate(x->fd, 511), 0);
	assert_int_equal(open_raw(x, &d, 512, false, &e), -EINVAL);
	assert_int_equal(pipe(p), 0);
	assert_int_equal(file_new(&file, x->loop, p[0], false, &e), -ESPIPE);
	close(p[0]);
	close(p[1]);
}

static void
what_is_written_is_read_back(void **state)
{
	struct fixture *x = *state;
	uint8_t out[8192], in[8192];

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 31 >> 3);
	assert_int_equal(move(x, DISK_WRITE, 512 * 7, out, sizeof(out), false), 0);
	assert_int_equal(move(x, DISK_READ, 512 * 7, in, sizeof(in), false), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(move(x, DISK_READ, SIZE - 512, in, 512, false), 0);
}

/* Every transfer moves a third of what it should, and at least a byte. */
static int
answer_short(const struct fake_op *o, bool *answered)
{
	struct iovec iov = o->iov[0];
	size_t n = iov.iov_len / 3 + 1;

	*answered = o->kind == FAKE_READV || o->kind == FAKE_WRITEV;
	if (!*answered)
		return 0;
	iov.iov_len = n < iov.iov_len ? n : iov.iov_len;
	return (int)(o->kind == FAKE_READV ? preadv(current->fd, &iov, 1, (off_t)o->off)
					   : pwritev(current->fd, &iov, 1, (off_t)o->off));
}

static void
short_transfers_are_continued(void **state)
{
	struct fixture *x = *state;
	uint8_t out[4096], in[4096];

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i ^ i >> 8);
	x->loop->answer = answer_short;
	assert_int_equal(move(x, DISK_WRITE, 1024, out, sizeof(out), false), 0);
	assert_int_equal(move(x, DISK_READ, 1024, in, sizeof(in), false), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_true(x->loop->begun[FAKE_READV] > 3);
}

static void
a_file_that_shrank_is_an_error(void **state)
{
	struct fixture *x = *state;
	uint8_t in[8192];

	assert_int_equal(ftruncate(x->fd, SIZE - 4096), 0);
	assert_int_equal(move(x, DISK_READ, SIZE - 8192, in, 8192, false), -EIO);
	assert_int_equal(move(x, DISK_READ, SIZE - 4096, in, 4096, false), -EIO);
}

static int
answer_interrupted(const struct fake_op *o, bool *answered)
{
	static unsigned n;

	(void)o;
	*answered = n++ % 3 != 2;
	return n % 3 == 1 ? -EINTR : -EAGAIN;
}

static void
interruptions_are_nobody_s_business(void **state)
{
	struct fixture *x = *state;
	uint8_t in[4096];

	x->loop->answer = answer_interrupted;
	assert_int_equal(move(x, DISK_READ, 4096, in, sizeof(in), false), 0);
	assert_int_equal(in[0], 2);
	assert_int_equal(range(x, DISK_ZERO, 4096, 4096, false), 0);
	x->loop->answer = NULL;
	assert_bytes(x, 4096, 4096, 0);
}

static int
answer_full(const struct fake_op *o, bool *answered)
{
	*answered = o->kind != FAKE_READV;
	return -ENOSPC;
}

static void
errors_are_told_as_they_are(void **state)
{
	struct fixture *x = *state;
	uint8_t b[4096] = { 0 };

	x->loop->answer = answer_full;
	assert_int_equal(move(x, DISK_WRITE, 0, b, sizeof(b), false), -ENOSPC);
	assert_int_equal(range(x, DISK_FLUSH, 0, 0, false), -ENOSPC);
	assert_int_equal(range(x, DISK_ZERO, 0, 4096, false), -ENOSPC);
	assert_int_equal(range(x, DISK_DISCARD, 0, 4096, false), -ENOSPC);
	assert_int_equal(move(x, DISK_READ, 0, b, sizeof(b), false), 0);
}

static unsigned syncs;

static int
answer_one_failed_sync(const struct fake_op *o, bool *answered)
{
	*answered = o->kind == FAKE_FSYNC && syncs++ == 0;
	return -EIO;
}

/* The kernel has forgotten what it could not write, and tells nobody twice. */
static void
after_a_flush_that_failed_nothing_is_called_stable(void **state)
{
	struct fixture *x = *state;
	uint8_t b[4096] = { 0 };

	syncs = 0;
	x->loop->answer = answer_one_failed_sync;
	assert_int_equal(move(x, DISK_WRITE, 0, b, sizeof(b), false), 0);
	assert_int_equal(range(x, DISK_FLUSH, 0, 0, false), -EIO);
	assert_int_equal(range(x, DISK_FLUSH, 0, 0, false), -EIO);
	assert_int_equal(move(x, DISK_WRITE, 0, b, sizeof(b), true), -EIO);
	assert_int_equal(move(x, DISK_WRITE, 0, b, sizeof(b), false), 0);
	assert_int_equal(move(x, DISK_READ, 0, b, sizeof(b), false), 0);
	assert_int_equal(file_sync(x->d->file, NULL), -EIO);
	disk_free(x->d);
	assert_int_equal(open_raw(x, &x->d, 512, false, NULL), 0);
	assert_int_equal(range(x, DISK_FLUSH, 0, 0, false), 0);
}

static unsigned fuas;

static int
answer_one_failed_fua(const struct fake_op *o, bool *answered)
{
	*answered = o->kind == FAKE_WRITEV && o->fua && fuas++ == 0;
	return -EIO;
}

static void
a_stable_write_that_failed_is_such_a_flush(void **state)
{
	struct fixture *x = *state;
	uint8_t b[4096] = { 0 };

	fuas = 0;
	x->loop->answer = answer_one_failed_fua;
	assert_int_equal(move(x, DISK_WRITE, 0, b, sizeof(b), true), -EIO);
	assert_int_equal(range(x, DISK_FLUSH, 0, 0, false), -EIO);
	assert_int_equal(move(x, DISK_WRITE, 0, b, sizeof(b), true), -EIO);
}

static int
answer_full_once(const struct fake_op *o, bool *answered)
{
	*answered = o->kind == FAKE_WRITEV && fuas++ == 0;
	return -ENOSPC;
}

static void
a_stable_write_without_room_may_be_tried_again(void **state)
{
	struct fixture *x = *state;
	uint8_t b[4096] = { 0 };

	fuas = 0;
	x->loop->answer = answer_full_once;
	assert_int_equal(move(x, DISK_WRITE, 0, b, sizeof(b), true), -ENOSPC);
	assert_int_equal(move(x, DISK_WRITE, 0, b, sizeof(b), true), 0);
	assert_int_equal(range(x, DISK_FLUSH, 0, 0, false), 0);
}

static bool saw_fua;

static int
answer_fua(const struct fake_op *o, bool *answered)
{
	if (o->kind == FAKE_WRITEV)
		saw_fua = o->fua;
	*answered = false;
	return 0;
}

static void
fua_goes_down_with_the_write(void **state)
{
	struct fixture *x = *state;
	uint8_t b[4096] = { 0 };

	x->loop->answer = answer_fua;
	assert_int_equal(move(x, DISK_WRITE, 0, b, sizeof(b), true), 0);
	assert_true(saw_fua);
	assert_int_equal(move(x, DISK_WRITE, 0, b, sizeof(b), false), 0);
	assert_false(saw_fua);
	assert_int_equal(range(x, DISK_FLUSH, 0, 0, false), 0);
	assert_int_equal(x->loop->begun[FAKE_FSYNC], 1);
}

static void
a_hole_gives_space_back_and_reads_zero(void **state)
{
	struct fixture *x = *state;

	assert_true(x->d->can_discard);
	assert_true(x->d->discard_zeroes);
	assert_int_equal(range(x, DISK_DISCARD, 8192, 16384, false), 0);
	assert_int_equal(lseek(x->fd, 8192, SEEK_HOLE), 8192);
	assert_int_equal(lseek(x->fd, 8192, SEEK_DATA), 8192 + 16384);
	assert_bytes(x, 8192, 16384, 0);
	assert_bytes(x, 4096, 4096, 2);
	assert_bytes(x, 24576, 4096, 7);
	assert_int_equal(range(x, DISK_DISCARD, 512, 1024, false), 0); /* less than a page */
	assert_bytes(x, 0, 512, 1);
	assert_bytes(x, 1536, 512, 1);
	assert_int_equal(lseek(x->fd, 0, SEEK_END), SIZE);
}

/* A file system without FALLOC_FL_ZERO_RANGE (as memory's is), or without holes, too. */
static int
answer_no_holes(const struct fake_op *o, bool *answered)
{
	*answered = o->kind == FAKE_FALLOCATE;
	return -EOPNOTSUPP;
}

static void
zeros_are_written_where_nothing_better_is_there(void **state)
{
	static const struct {
		uint64_t from, len;
	} rows[] = { { 4096, 4096 }, { 512, 512 }, { 1024, 3584 }, { 8192, 300 * 1024 + 1536 }, { 0, SIZE } };
	struct fixture *x = *state;

	x->loop->answer = answer_no_holes;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int p = 0; p < SIZE / 4096; p++) {
			uint8_t block[4096];

			memset(block, 0xee, sizeof(block));
			assert_int_equal(pwrite(x->fd, block, sizeof(block), p * 4096), sizeof(block));
		}
		assert_int_equal(range(x, DISK_ZERO, rows[i].from, rows[i].len, i & 1), 0);
		assert_bytes(x, 0, rows[i].from, 0xee);
		assert_bytes(x, rows[i].from, rows[i].len, 0);
		assert_bytes(x, rows[i].from + rows[i].len, SIZE - rows[i].from - rows[i].len, 0xee);
	}
	assert_int_equal(range(x, DISK_DISCARD, 0, 4096, false), 0); /* may be what it was */
}

static void
zeros_that_may_be_a_hole_are_one(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(range(x, DISK_ZERO, 8192, 8192, true), 0);
	assert_int_equal(lseek(x->fd, 8192, SEEK_HOLE), 8192);
	assert_int_equal(x->loop->begun[FAKE_WRITEV], 0);
}

static void
stable_zeros_are_flushed(void **state)
{
	struct fixture *x = *state;
	struct disk_io io = { .op = DISK_ZERO, .offset = 0, .len = 8192, .fua = true };

	x->loop->answer = answer_no_holes;
	assert_int_equal(run(x, &io), 0);
	assert_int_equal(x->loop->begun[FAKE_FSYNC], 1);
	assert_bytes(x, 0, 8192, 0);
}

static void
a_disk_that_is_only_read_discards_nothing(void **state)
{
	struct fixture *x = *state;
	struct disk *d;
	uint8_t b[512];
	struct iovec iov = { b, sizeof(b) };
	struct disk_io io = { .op = DISK_READ, .len = sizeof(b), .iov = &iov, .iovs = 1, .done = done };

	assert_int_equal(open_raw(x, &d, 512, true, NULL), 0);
	assert_true(d->read_only);
	assert_false(d->can_discard);
	disk_submit(d, &io);
	fake_loop_run(x->loop);
	assert_int_equal(x->rc, 0);
	disk_free(d);
	disk_free(NULL);
}

static void
holes_are_no_data(void **state)
{
	struct fixture *x = *state;
	struct extent e;

	assert_int_equal(range(x, DISK_ZERO, 8192, 8192, true), 0);
	assert_int_equal(x->d->ops->extent(x->d, 0, SIZE, &e, NULL), 0);
	assert_int_equal(e.kind, EXTENT_DATA);
	assert_int_equal(e.at, 0);
	assert_int_equal(e.len, 8192);
	assert_int_equal(x->d->ops->extent(x->d, 8192, SIZE - 8192, &e, NULL), 0);
	assert_int_equal(e.kind, EXTENT_ZERO);
	assert_int_equal(e.len, 8192);
	assert_int_equal(x->d->ops->extent(x->d, 8192, 512, &e, NULL), 0);
	assert_int_equal(e.len, 512);
	assert_int_equal(ftruncate(x->fd, 16384), 0); /* nothing but a hole until the end */
	assert_int_equal(x->d->ops->extent(x->d, 12288, 4096, &e, NULL), 0);
	assert_int_equal(e.kind, EXTENT_ZERO);
	assert_int_equal(e.len, 4096);
}

static void
who_can_wait_waits(void **state)
{
	struct fixture *x = *state;
	uint8_t b[512];
	struct iovec iov = { b, sizeof(b) };
	struct disk_io io = { .op = DISK_READ, .offset = 4096, .len = 512, .iov = &iov, .iovs = 1 };

	assert_int_equal(disk_wait(x->d, &io), 0);
	assert_int_equal(b[511], 2);
	x->loop->answer = answer_full;
	io.op = DISK_WRITE;
	assert_int_equal(disk_wait(x->d, &io), -ENOSPC);
	assert_int_equal(disk_close(x->d, NULL), 0);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(the_size_is_the_file_s_without_a_partial_sector),
		unit(what_cannot_be_a_disk_is_refused_in_words),
		unit(what_is_written_is_read_back),
		unit(short_transfers_are_continued),
		unit(a_file_that_shrank_is_an_error),
		unit(interruptions_are_nobody_s_business),
		unit(errors_are_told_as_they_are),
		unit(after_a_flush_that_failed_nothing_is_called_stable),
		unit(a_stable_write_that_failed_is_such_a_flush),
		unit(a_stable_write_without_room_may_be_tried_again),
		unit(fua_goes_down_with_the_write),
		unit(a_hole_gives_space_back_and_reads_zero),
		unit(zeros_are_written_where_nothing_better_is_there),
		unit(zeros_that_may_be_a_hole_are_one),
		unit(stable_zeros_are_flushed),
		unit(a_disk_that_is_only_read_discards_nothing),
		unit(holes_are_no_data),
		unit(who_can_wait_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
