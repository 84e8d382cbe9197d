/*
 * tests/unit/stream_test.c - sections through files and pipes, in pieces of any size.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "hypervisor/state/stream.h"

/* What read and writev do: at most `most` bytes at once (0: as many as asked), now and then interrupted. */
static struct {
	size_t most;
	unsigned interrupt_every, calls;
	bool takes_nothing;
} io;

ssize_t __real_read(int fd, void *buf, size_t n);
ssize_t __wrap_read(int fd, void *buf, size_t n);
ssize_t __real_writev(int fd, const struct iovec *v, int n);
ssize_t __wrap_writev(int fd, const struct iovec *v, int n);

static bool
interrupted(void)
{
	errno = EINTR;
	return io.interrupt_every && ++io.calls % io.interrupt_every == 0;
}

ssize_t
__wrap_read(int fd, void *buf, size_t n)
{
	if (interrupted())
		return -1;
	return __real_read(fd, buf, io.most && n > io.most ? io.most : n);
}

ssize_t
__wrap_writev(int fd, const struct iovec *v, int n)
{
	struct iovec first;

	if (interrupted())
		return -1;
	if (io.takes_nothing)
		return 0;
	if (!io.most)
		return __real_writev(fd, v, n);
	for (; n > 1 && v->iov_len == 0; n--)
		v++;
	first = (struct iovec){ v->iov_base, v->iov_len < io.most ? v->iov_len : io.most };
	return __real_writev(fd, &first, 1);
}

static int
setup(void **state)
{
	(void)state;
	memset(&io, 0, sizeof(io));
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

static const char memory[3000] = "memory";

static void *
write_all_sections(void *arg)
{
	int fd = *(int *)arg;
	struct err e = { 0 };

	assert_int_equal(stream_begin_write(fd, &e), 0);
	assert_int_equal(stream_write(fd, SECTION_FACTS, "facts", 5, NULL, 0, &e), 0);
	assert_int_equal(stream_write(fd, SECTION_DEVICE, NULL, 0, "device", 6, &e), 0);
	assert_int_equal(stream_write(fd, SECTION_MEMORY, "12345678", 8, memory, sizeof(memory), &e), 0);
	assert_int_equal(stream_write(fd, SECTION_END, NULL, 0, NULL, 0, &e), 0);
	return NULL;
}

static void
read_all_sections(int fd)
{
	struct section s;
	struct err e = { 0 };
	char buf[sizeof(memory) + 8];

	assert_int_equal(stream_begin_read(fd, &e), 0);
	assert_int_equal(stream_next(fd, &s, &e), 0);
	assert_true(s.type == SECTION_FACTS && s.len == 5);
	assert_int_equal(stream_read(fd, buf, 2, &e), 0);
	assert_int_equal(stream_read(fd, buf + 2, 3, &e), 0);
	assert_memory_equal(buf, "facts", 5);
	assert_int_equal(stream_next(fd, &s, &e), 0);
	assert_true(s.type == SECTION_DEVICE && s.len == 6);
	assert_int_equal(stream_read(fd, buf, 6, &e), 0);
	assert_memory_equal(buf, "device", 6);
	assert_int_equal(stream_next(fd, &s, &e), 0);
	assert_true(s.type == SECTION_MEMORY && s.len == sizeof(memory) + 8);
	assert_int_equal(stream_read(fd, buf, sizeof(memory) + 8, &e), 0);
	assert_memory_equal(buf, "12345678memory", 14);
	assert_int_equal(stream_next(fd, &s, &e), 0);
	assert_true(s.type == SECTION_END && s.len == 0);
}

static void
sections_go_through_a_file_in_pieces_of_any_size(void **state)
{
	static const size_t pieces[] = { 0, 1, 2, 3, 7, 8, 15, 16, 17, 1000 };

	(void)state;
	for (size_t w = 0; w < sizeof(pieces) / sizeof(pieces[0]); w++)
		for (unsigned interrupts = 0; interrupts < 4; interrupts++) {
			int fd = memfd_create("stream", MFD_CLOEXEC);

			io.most = pieces[w];
			io.interrupt_every = interrupts > 1 ? interrupts : 0;
			write_all_sections(&fd);
			lseek(fd, 0, SEEK_SET);
			read_all_sections(fd);
			close(fd);
		}
}

static void
sections_go_through_a_pipe(void **state)
{
	pthread_t thread;
	int fd[2];

	(void)state;
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	io.most = 100;
	pthread_create(&thread, NULL, write_all_sections, &fd[1]);
	read_all_sections(fd[0]);
	pthread_join(thread, NULL);
	close(fd[0]);
	close(fd[1]);
}

static void
a_stream_cut_anywhere_is_cut_short(void **state)
{
	int whole = memfd_create("stream", MFD_CLOEXEC);
	struct err e = { 0 };
	struct section s;
	char buf[8];

	(void)state;
	assert_int_equal(stream_begin_write(whole, &e), 0);
	assert_int_equal(stream_write(whole, SECTION_FACTS, "facts", 5, NULL, 0, &e), 0);
	for (off_t cut = 8 + 16 + 4; cut >= 0; cut--) {
		int rc;

		assert_int_equal(ftruncate(whole, cut), 0);
		lseek(whole, 0, SEEK_SET);
		rc = stream_begin_read(whole, &e);
		assert_int_equal(rc, cut < 8 ? -EINVAL : 0);
		if (rc == 0)
			rc = stream_next(whole, &s, &e);
		if (rc == 0)
			rc = stream_read(whole, buf, 5, &e);
		assert_int_equal(rc, -EINVAL);
		assert_string_equal(e.msg, "saved state: cut short");
	}
	close(whole);
}

static void
something_else_is_not_a_saved_machine(void **state)
{
	int fd = memfd_create("stream", MFD_CLOEXEC);
	struct err e = { 0 };

	(void)state;
	assert_int_equal(write(fd, "FHSTATE2", 8), 8);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(stream_begin_read(fd, &e), -EINVAL);
	assert_string_equal(e.msg, "saved state: this is not a saved machine");
	close(fd);
}

static void
heads_that_cannot_be_are_refused(void **state)
{
	static const struct {
		uint32_t type, zero;
		uint64_t len;
		int rc;
	} heads[] = {
		{ SECTION_DEVICE, 0, SECTION_MAX, 0 }, { SECTION_DEVICE, 0, SECTION_MAX + 1, -EINVAL },
		{ SECTION_DEVICE, 0, UINT64_MAX, -EINVAL }, { SECTION_DEVICE, 1, 0, -EINVAL },
		{ 77, 0, 0, 0 }, /* what types there are is the reader's business */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		int fd = memfd_create("stream", MFD_CLOEXEC);
		struct err e = { 0 };
		struct section s;

		assert_int_equal(write(fd, &heads[i], 16), 16);
		lseek(fd, 0, SEEK_SET);
		assert_int_equal(stream_next(fd, &s, &e), heads[i].rc);
		assert_true(heads[i].rc == 0 || strstr(e.msg, "saved state: damaged"));
		close(fd);
	}
}

static void
what_cannot_be_written_or_read_is_told(void **state)
{
	struct err e = { 0 };
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(stream_begin_write(fd, &e), -ENOSPC);
	assert_string_equal(e.msg, "saved state: write: No space left on device");
	assert_int_equal(stream_begin_read(fd, &e), -EBADF);
	io.takes_nothing = true;
	assert_int_equal(stream_write(fd, SECTION_FACTS, "x", 1, NULL, 0, &e), -EIO);
	close(fd);
}

#define unit(f) cmocka_unit_test_setup(f, setup)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		unit(sections_go_through_a_file_in_pieces_of_any_size),
		unit(sections_go_through_a_pipe),
		unit(a_stream_cut_anywhere_is_cut_short),
		unit(something_else_is_not_a_saved_machine),
		unit(heads_that_cannot_be_are_refused),
		unit(what_cannot_be_written_or_read_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
