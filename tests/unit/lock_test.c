/*
 * tests/unit/lock_test.c - the locks of images: one writer or many readers, by whichever way the file was
 * opened; changed from one kind to the other without a gap; and who has it is told.
 */
#include "hypervisor/disk/lock.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[] = "/tmp/lock_test.XXXXXX";

static int
setup(void **state)
{
	(void)state;
	memcpy(path + sizeof(path) - 7, "XXXXXX", 6);
	close(mkstemp(path));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	return unlink(path);
}

static int
opened(int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* A ring may keep a descriptor open long after its close: here, a copy that nobody closes. */
static void
the_last_that_shares_it_ends_it(void **state)
{
	int a = opened(O_RDWR), b = dup(a), kept = dup(a), other = opened(O_RDWR);
	struct disk_hold *hold, *shared;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(disk_lock(a, true, &e), 0);
	hold = disk_hold_new();
	shared = disk_hold_share(hold);
	disk_hold_end(hold, a);
	close(a);
	assert_int_equal(disk_lock(other, true, &e), -EAGAIN);
	disk_hold_end(shared, b);
	close(b);
	assert_int_equal(disk_lock(other, true, &e), 0);
	close(other);
	close(kept);
	assert_null(disk_hold_share(NULL));
	disk_hold_end(NULL, -1);
}

static void
one_writes_alone(void **state)
{
	int a = opened(O_RDWR), b = opened(O_RDWR), c = opened(O_RDONLY);
	struct err e = { 0 };

	(void)state;
	assert_int_equal(disk_lock(a, true, &e), 0);
	assert_int_equal(disk_lock(b, true, &e), -EAGAIN);
	assert_int_equal(disk_lock(c, false, &e), -EAGAIN);
	close(c); /* another descriptor of the file: the lock stays */
	assert_int_equal(disk_lock(b, true, &e), -EAGAIN);
	close(a);
	assert_int_equal(disk_lock(b, true, &e), 0);
	close(b);
}

static void
many_read(void **state)
{
	int a = opened(O_RDONLY), b = opened(O_RDONLY), c = opened(O_RDWR);
	struct err e = { 0 };

	(void)state;
	assert_int_equal(disk_lock(a, false, &e), 0);
	assert_int_equal(disk_lock(b, false, &e), 0);
	assert_int_equal(disk_lock(c, true, &e), -EAGAIN);
	disk_unlock(a);
	assert_int_equal(disk_lock(c, true, &e), -EAGAIN);
	disk_unlock(b);
	assert_int_equal(disk_lock(c, true, &e), 0);
	close(a);
	close(b);
	close(c);
}

static void
a_lock_changes_its_kind(void **state)
{
	int a = opened(O_RDWR), b = opened(O_RDWR);
	struct err e = { 0 };

	(void)state;
	assert_int_equal(disk_lock(a, true, &e), 0);
	assert_int_equal(disk_lock(a, false, &e), 0);
	assert_int_equal(disk_lock(b, false, &e), 0);
	assert_int_equal(disk_lock(a, true, &e), -EAGAIN);
	disk_unlock(b);
	assert_int_equal(
	    disk_lock(b, true, &e), -EAGAIN); /* a still reads: a refusal has taken nothing from it */
	assert_int_equal(disk_lock(a, true, &e), 0);
	assert_int_equal(disk_lock(b, false, &e), -EAGAIN);
	close(a);
	close(b);
}

static void
a_lock_goes_with_its_descriptor(void **state)
{
	int a = opened(O_RDWR), b = opened(O_RDWR), go[2], status;
	struct err e = { 0 };
	pid_t pid;
	char c;

	(void)state;
	assert_int_equal(pipe(go), 0);
	assert_int_equal(disk_lock(a, true, &e), 0);
	pid = fork();
	if (pid == 0) { /* has it as well, until the pipe ends */
		close(go[1]);
		_exit(read(go[0], &c, 1) == 0 ? 0 : 1);
	}
	close(go[0]);
	close(a);
	assert_int_equal(disk_lock(b, true, &e), -EAGAIN);
	assert_non_null(strstr(e.msg, "lock_test (process "));
	close(go[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(disk_lock(b, true, &e), 0);
	close(b);
}

static void
the_holder_is_named(void **state)
{
	int a = opened(O_RDWR), b = opened(O_RDWR);
	struct err e = { 0 };
	char name[128], pid[32];

	(void)state;
	assert_false(disk_lock_holder(b, name, sizeof(name)));
	assert_int_equal(disk_lock(a, true, &e), 0);
	assert_true(disk_lock_holder(b, name, sizeof(name)));
	snprintf(pid, sizeof(pid), "(process %d)", (int)getpid());
	assert_non_null(strstr(name, pid));
	assert_false(disk_lock_holder(a, name, sizeof(name))); /* one's own lock is in nobody's way */
	close(a);
	close(b);
}

static void
writing_needs_a_descriptor_that_writes(void **state)
{
	int a = opened(O_RDONLY);
	struct err e = { 0 };

	(void)state;
	assert_int_equal(disk_lock(a, true, &e), -EBADF);
	assert_non_null(strstr(e.msg, "not open for writing"));
	close(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_last_that_shares_it_ends_it, setup, teardown),
		cmocka_unit_test_setup_teardown(one_writes_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(many_read, setup, teardown),
		cmocka_unit_test_setup_teardown(a_lock_changes_its_kind, setup, teardown),
		cmocka_unit_test_setup_teardown(a_lock_goes_with_its_descriptor, setup, teardown),
		cmocka_unit_test_setup_teardown(the_holder_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(writing_needs_a_descriptor_that_writes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
