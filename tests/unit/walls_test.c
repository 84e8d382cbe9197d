/*
 * tests/unit/walls_test.c - the table of system calls: what must never be in it, and that a thread behind
 * the walls can make none of those.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "hypervisor/sandbox/syscalls.h"
#include "hypervisor/sandbox/walls.h"

/* Calls that open, create, connect, start, trace, mount or reach something else. */
static const int forbidden[] = { SYS_open, SYS_openat, SYS_openat2, SYS_open_by_handle_at,
	SYS_name_to_handle_at, SYS_creat, SYS_socket, SYS_socketpair, SYS_connect, SYS_bind, SYS_listen,
	SYS_accept, SYS_sendto, SYS_sendmmsg, SYS_clone, SYS_clone3, SYS_fork, SYS_vfork, SYS_execve,
	SYS_execveat, SYS_ptrace, SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_chdir, SYS_fchdir,
	SYS_move_mount, SYS_open_tree, SYS_fsopen, SYS_fsmount, SYS_fspick, SYS_fsconfig, SYS_mount_setattr,
	SYS_bpf, SYS_io_uring_setup, SYS_io_setup, SYS_io_submit, SYS_perf_event_open, SYS_process_vm_readv,
	SYS_process_vm_writev, SYS_process_madvise, SYS_pidfd_open, SYS_pidfd_getfd, SYS_pidfd_send_signal,
	SYS_kexec_load, SYS_kexec_file_load, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_setns,
	SYS_unshare, SYS_setuid, SYS_setgid, SYS_setresuid, SYS_setresgid, SYS_setgroups, SYS_capset,
	SYS_prctl, SYS_arch_prctl, SYS_seccomp, SYS_mprotect, SYS_pkey_mprotect, SYS_memfd_create,
	SYS_memfd_secret, SYS_userfaultfd, SYS_timerfd_create, SYS_signalfd4, SYS_epoll_create1,
	SYS_inotify_init1, SYS_fanotify_init, SYS_pipe, SYS_pipe2, SYS_dup, SYS_dup2, SYS_dup3, SYS_kill,
	SYS_tkill, SYS_rt_sigaction, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_setrlimit, SYS_prlimit64,
	SYS_unlink, SYS_unlinkat, SYS_rename, SYS_renameat2, SYS_link, SYS_linkat, SYS_symlink, SYS_symlinkat,
	SYS_mkdir, SYS_mkdirat, SYS_mknod, SYS_mknodat, SYS_chmod, SYS_fchmod, SYS_fchmodat, SYS_chown,
	SYS_fchown, SYS_stat, SYS_newfstatat, SYS_readlink, SYS_readlinkat, SYS_access, SYS_getdents64,
	SYS_truncate, SYS_shmget, SYS_shmat, SYS_msgget, SYS_semget, SYS_mq_open, SYS_add_key,
	SYS_request_key, SYS_keyctl, SYS_personality, SYS_modify_ldt, SYS_iopl, SYS_ioperm, SYS_quotactl,
	SYS_swapon, SYS_reboot, SYS_sethostname, SYS_settimeofday, SYS_clock_settime, SYS_adjtimex,
	SYS_syslog, SYS_acct, SYS_remap_file_pages, SYS_splice, SYS_tee, SYS_vmsplice, SYS_sched_setaffinity,
	SYS_setpriority, SYS_kcmp, SYS_landlock_create_ruleset, SYS_landlock_restrict_self, SYS_uname };
enum { FORBIDDEN = sizeof(forbidden) / sizeof(forbidden[0]) };

static void
no_call_can_open_or_create_or_reach_out(void **state)
{
	(void)state;
	for (size_t i = 0; i < allowed_calls_n; i++)
		for (int k = 0; k < FORBIDDEN; k++)
			if (allowed_calls[i].nr == forbidden[k]) {
				print_error("call %d is allowed: %s\n", forbidden[k], allowed_calls[i].why);
				fail();
			}
}

static const struct allowed_call *
find(int nr, unsigned kind)
{
	for (size_t i = 0; i < allowed_calls_n; i++)
		if (allowed_calls[i].nr == nr && (allowed_calls[i].kinds & kind))
			return &allowed_calls[i];
	return NULL;
}

static void
calls_with_many_faces_are_allowed_by_argument_only(void **state)
{
	static const struct {
		int nr;
		unsigned arg;
	} faces[] = { { SYS_ioctl, 1 }, { SYS_mmap, 2 }, { SYS_fcntl, 1 }, { SYS_tgkill, 2 },
		{ SYS_io_uring_register, 1 } };

	(void)state;
	for (size_t i = 0; i < allowed_calls_n; i++)
		for (size_t k = 0; k < sizeof(faces) / sizeof(faces[0]); k++)
			if (allowed_calls[i].nr == faces[k].nr) {
				assert_true(allowed_calls[i].mask != 0);
				assert_int_equal(allowed_calls[i].arg, faces[k].arg);
			}
	assert_int_equal(find(SYS_mmap, THREAD_CONTROL)->mask, PROT_EXEC);
	assert_int_equal(find(SYS_mmap, THREAD_CONTROL)->value, 0);
	assert_int_equal(find(SYS_tgkill, THREAD_CONTROL)->value, SIGUSR1);
}

/* Rings are made before the walls close; only their own threads use them. */
static void
rings_are_for_io_threads_alone(void **state)
{
	static const int ring[] = { SYS_io_uring_enter, SYS_io_uring_register };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_null(find(ring[i], THREAD_CONTROL | THREAD_PROCESSOR));
		assert_non_null(find(ring[i], THREAD_IO));
	}
	assert_int_equal(find(SYS_io_uring_register, THREAD_IO)->value, IORING_REGISTER_FILES_UPDATE);
	assert_null(find(SYS_sched_yield, THREAD_CONTROL | THREAD_PROCESSOR));
}

/* I/O threads write to files through their ring, which knows only those it was given; processors not at all.
 */
static void
images_are_changed_by_the_control_thread_alone(void **state)
{
	static const int calls[] = { SYS_pread64, SYS_pwrite64, SYS_fdatasync, SYS_ftruncate, SYS_fallocate,
		SYS_getrandom };

	(void)state;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		assert_non_null(find(calls[i], THREAD_CONTROL));
		assert_null(find(calls[i], THREAD_PROCESSOR | THREAD_IO));
	}
}

static void
nothing_makes_a_vm_or_a_processor(void **state)
{
	static const unsigned long makes[] = { KVM_CREATE_VM, KVM_CREATE_VCPU, KVM_CREATE_DEVICE,
		KVM_SET_CPUID2, KVM_X86_SET_MSR_FILTER, KVM_ENABLE_CAP, KVM_IOEVENTFD, KVM_IRQFD, TIOCSTI };

	(void)state;
	for (size_t i = 0; i < allowed_calls_n; i++)
		for (size_t k = 0; k < sizeof(makes) / sizeof(makes[0]); k++)
			assert_false(allowed_calls[i].nr == SYS_ioctl && allowed_calls[i].value == makes[k]);
}

static void
every_row_has_a_reason_and_stands_once(void **state)
{
	(void)state;
	for (size_t i = 0; i < allowed_calls_n; i++) {
		const struct allowed_call *a = &allowed_calls[i];

		assert_true(a->why && a->why[0]);
		assert_in_range(a->kinds, 1, THREAD_CONTROL | THREAD_PROCESSOR | THREAD_IO);
		for (size_t k = 0; k < i; k++)
			assert_false(a->nr == allowed_calls[k].nr && a->arg == allowed_calls[k].arg &&
				     a->mask == allowed_calls[k].mask && a->value == allowed_calls[k].value);
	}
}

static void
processors_need_very_few_calls(void **state)
{
	unsigned n = 0;

	(void)state;
	for (int nr = 0; nr < 1024; nr++)
		n += find(nr, THREAD_PROCESSOR) != NULL;
	assert_in_range(n, 2, 20);
	assert_null(find(SYS_mmap, THREAD_PROCESSOR));
	assert_null(find(SYS_read, THREAD_PROCESSOR));
	assert_null(find(SYS_recvmsg, THREAD_PROCESSOR));
	assert_null(find(SYS_close, THREAD_PROCESSOR));
}

/* --- behind the walls ----------------------------------------------------------------------------------- */

static bool
seccomp_works(void)
{
	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &(uint32_t){ SECCOMP_RET_ERRNO }) == 0;
}

/* Which forbidden thing worked, or failed otherwise than by EPERM: its number, at least 1; 0: none. */
static int
try_forbidden(void)
{
	void *page;

	for (int i = 0; i < FORBIDDEN; i++) {
		errno = 0;
		if (syscall(forbidden[i], -1L, -1L, -1L, -1L, -1L, -1L) != -1 || errno != EPERM)
			return i % 100 + 1;
	}
	if (syscall(SYS_ioctl, 0, KVM_CREATE_VM, 0) != -1 || errno != EPERM)
		return 201;
	if (syscall(SYS_ioctl, 0, 0x100000000ull | KVM_RUN, 0) != -1 || errno != EPERM)
		return 202; /* the upper half counts, too */
	page = (void *)syscall(SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page != MAP_FAILED || errno != EPERM)
		return 203;
	if (syscall(SYS_fcntl, 0, F_DUPFD, 0) != -1 || errno != EPERM)
		return 204;
	if (syscall(SYS_tgkill, getppid(), getppid(), SIGKILL) != -1 || errno != EPERM)
		return 205;
	return 0;
}

static int
behind(int (*close_walls)(struct err *), int (*act)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct err e;

		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		signal(SIGILL, SIG_DFL);
		alarm(20);
		if (close_walls(&e) < 0)
			_exit(250);
		syscall(SYS_exit_group, act());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void
control_can_do_nothing_forbidden(void **state)
{
	(void)state;
	if (!seccomp_works()) {
		print_message("SKIP walls: no seccomp here\n");
		skip();
	}
	assert_int_equal(behind(walls_close_control, try_forbidden), 0);
}

/* A processor's thread may not even end the process: it tells by the signal that it dies of. */
static int
tell_by_dying(void)
{
	if (try_forbidden() == 0)
		__builtin_trap();
	for (;;)
		; /* until the alarm */
}

static void
processors_and_io_threads_can_do_nothing_forbidden(void **state)
{
	(void)state;
	if (!seccomp_works()) {
		print_message("SKIP walls: no seccomp here\n");
		skip();
	}
	assert_int_equal(behind(walls_close_processor, tell_by_dying), -SIGILL);
	assert_int_equal(behind(walls_close_io, tell_by_dying), -SIGILL);
}

/* What a control thread does all day. */
static int
work(void)
{
	struct timespec t;
	char *heap = NULL;
	int fd = 0;

	for (size_t n = 1; n < 1 << 22; n *= 2) {
		heap = realloc(heap, n);
		if (!heap)
			return 1;
		heap[n - 1] = 1;
	}
	free(heap);
	if (clock_gettime(CLOCK_MONOTONIC_RAW, &t) < 0 || lseek(fd, 0, SEEK_CUR) < -1)
		return 2;
	if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
		return 3;
	if (fcntl(fd, F_GETFL) < 0)
		return 4;
	return close(fd) < 0 ? 5 : 0;
}

static void
control_can_still_work(void **state)
{
	(void)state;
	if (!seccomp_works()) {
		print_message("SKIP walls: no seccomp here\n");
		skip();
	}
	assert_int_equal(behind(walls_close_control, work), 0);
}

static void
walls_need_no_new_privs_or_root(void **state)
{
	struct walls w = { .uid = 0, .gid = 1 };
	struct err e = { 0 };

	(void)state;
	if (geteuid() == 0) {
		assert_int_equal(walls_spawn(&w, &e), -EINVAL);
		assert_string_equal(e.msg, "the worker's own user and group must not be root's");
		w = (struct walls){ 1, 1, "/nowhere/at/all" };
		assert_int_equal(walls_spawn(&w, &e), -ENOENT);
		assert_string_equal(e.msg, "/nowhere/at/all: No such file or directory");
	} else {
		assert_int_equal(walls_spawn(&w, &e), -EPERM);
	}
}

/* What of root's rights is left behind walls_enter; 0: nothing. */
static int
rights_left(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct c[2] = { { 1, 1, 1 }, { 1, 1, 1 } };
	static const struct __user_cap_data_struct none[2];
	unsigned long cap = 0;

	for (int in; (in = prctl(PR_CAPBSET_READ, cap, 0, 0, 0)) >= 0; cap++)
		if (in != 0)
			return 1;
	if (cap <= CAP_SETPCAP || errno != EINVAL)
		return 2;
	if (syscall(SYS_capget, &head, c) < 0 || memcmp(c, none, sizeof(c)) != 0)
		return 3;
	return getuid() == 60001 && getegid() == 60002 && setuid(0) < 0 ? 0 : 4;
}

/* Not in a bare chroot, where no process can have another root. */
static bool
root_is_a_mount(void)
{
	struct statx x = { 0 };

	return statx(AT_FDCWD, "/", 0, STATX_BASIC_STATS, &x) == 0 &&
	       x.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

static void
inside_nothing_of_root_is_left(void **state)
{
	struct walls w = { .uid = 60001, .gid = 60002 };
	struct err e = { 0 };
	int status;
	pid_t pid;

	(void)state;
	if (!root_is_a_mount()) {
		print_message("SKIP walls: in a bare chroot\n");
		skip();
	}
	pid = walls_spawn(&w, &e);
	if (pid == -EPERM) {
		print_message("SKIP walls: no root here, or one without namespaces\n");
		skip();
	}
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(walls_enter(&w, &e) < 0 ? 250 : rights_left());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_call_can_open_or_create_or_reach_out),
		cmocka_unit_test(calls_with_many_faces_are_allowed_by_argument_only),
		cmocka_unit_test(rings_are_for_io_threads_alone),
		cmocka_unit_test(images_are_changed_by_the_control_thread_alone),
		cmocka_unit_test(nothing_makes_a_vm_or_a_processor),
		cmocka_unit_test(every_row_has_a_reason_and_stands_once),
		cmocka_unit_test(processors_need_very_few_calls),
		cmocka_unit_test(control_can_do_nothing_forbidden),
		cmocka_unit_test(processors_and_io_threads_can_do_nothing_forbidden),
		cmocka_unit_test(control_can_still_work),
		cmocka_unit_test(walls_need_no_new_privs_or_root),
		cmocka_unit_test(inside_nothing_of_root_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
