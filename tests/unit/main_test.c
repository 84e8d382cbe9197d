/*
 * tests/unit/main_test.c - fh-worker's command line, and what it says on a host where it cannot run: one
 * sentence with what is missing and what to do, and nothing left behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <libgen.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

static char worker[PATH_MAX];
static char out[4096], err[4096];

/* build/bin/fh-worker, seen from build/tests/unit/main_test. */
static int
find_worker(void **state)
{
	char self[PATH_MAX - 32] = "";

	(void)state;
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return -1;
	snprintf(worker, sizeof(worker), "%s/bin/fh-worker", dirname(dirname(dirname(self))));
	return access(worker, X_OK);
}

static void
slurp(int fd, char *to, size_t cap)
{
	ssize_t n = pread(fd, to, cap - 1, 0);

	to[n > 0 ? n : 0] = '\0';
	close(fd);
}

/* Runs it with arguments (NULL-terminated); its exit status. */
static int
run(char *const args[])
{
	char name[] = "/tmp/main_test.XXXXXX";
	int status, o = mkstemp(name), e;
	char *argv[16] = { worker };
	pid_t pid;

	unlink(name);
	memcpy(name + sizeof(name) - 7, "XXXXXX", 6);
	e = mkstemp(name);
	unlink(name);
	for (int i = 0; args[i]; i++)
		argv[i + 1] = args[i];
	pid = fork();
	if (pid == 0) {
		dup2(o, 1);
		dup2(e, 2);
		execv(worker, argv);
		_exit(99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	slurp(o, out, sizeof(out));
	slurp(e, err, sizeof(err));
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define RUN(...) run((char *const[]){ __VA_ARGS__, NULL })

static void
help_is_what_was_asked_for(void **state)
{
	(void)state;
	assert_int_equal(RUN("--help"), 0);
	assert_int_equal(strncmp(out, "usage: fh-worker --socket PATH --uid N --gid N", 46), 0);
	assert_string_equal(err, "");
}

static void
a_wrong_command_line_is_answered_with_usage(void **state)
{
	static char *const lines[][9] = {
		{ NULL },
		{ "--socket", "/tmp/x", NULL },
		{ "--socket", "/tmp/x", "--uid", "7", NULL },
		{ "--uid", "7", "--gid", "7", NULL },
		{ "--socket", "/tmp/x", "--uid", "0", "--gid", "7", NULL },
		{ "--socket", "/tmp/x", "--uid", "7", "--gid", "0", NULL },
		{ "--socket", "/tmp/x", "--uid", "-7", "--gid", "7", NULL },
		{ "--socket", "/tmp/x", "--uid", "7x", "--gid", "7", NULL },
		{ "--socket", "/tmp/x", "--uid", "", "--gid", "7", NULL },
		{ "--socket", "/tmp/x", "--uid", "4294967295", "--gid", "7", NULL },
		{ "--socket", "/tmp/x", "--uid", "99999999999999999999", "--gid", "7", NULL },
		{ "--socket", "/tmp/x", "--uid", "7", "--gid", "7", "more", NULL },
		{ "--socket", "/tmp/x", "--uid", "7", "--gid", "7", "--no-such", NULL },
		{ "--socket", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		assert_int_equal(run(lines[i]), 2);
		assert_string_equal(out, "");
		assert_non_null(strstr(err, "usage: fh-worker"));
	}
}

/* Has this machine all that a worker needs? Then there is nothing to be told. */
static int
kvm_is_suitable(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int yes = fd >= 0 && ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_HYPERV_ENFORCE_CPUID) > 0 &&
		  ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_HYPERV_EVENTFD) > 0;

	if (fd >= 0)
		close(fd);
	return yes;
}

static void
what_the_host_lacks_is_told_in_one_sentence(void **state)
{
	char dir[] = "/tmp/main_test.XXXXXX", path[64];

	(void)state;
	if (kvm_is_suitable()) {
		print_message("SKIP main: this host's KVM has everything\n");
		skip();
	}
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	assert_int_equal(RUN("--socket", path, "--uid", "7", "--gid", "7", "--foreground"), 3);
	assert_string_equal(out, "");
	assert_int_equal(strncmp(err, "<3>fh-worker: ", 14), 0);
	assert_ptr_equal(strchr(err, '\n'), err + strlen(err) - 1); /* one line */
	assert_non_null(strstr(err, "this host"));
	assert_non_null(strpbrk(err, ":"));
	assert_null(strstr(err, "  "));
	assert_true(
	    strstr(err, "needs ") || strstr(err, "switch on") || strstr(err, "use ") || strstr(err, "must "));
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(rmdir(dir), 0); /* there is nothing in it */
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(help_is_what_was_asked_for),
		cmocka_unit_test(a_wrong_command_line_is_answered_with_usage),
		cmocka_unit_test(what_the_host_lacks_is_told_in_one_sentence),
	};

	return cmocka_run_group_tests(tests, find_worker, NULL);
}
