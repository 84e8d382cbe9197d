/*
 * hypervisor/sandbox/tool_syscalls.c - which system calls fh-disk may make when it looks at images of
 * strangers (disk_tool/confine.c), and why.
 *
 * Everything else answers EPERM. Which files it opens is Landlock's matter. No sockets, no programs, no
 * signals to others, no rings but the one that it has.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "hypervisor/sandbox/syscalls.h"

#define ANY                0, 0, 0
#define ONLY(arg, v)       arg, UINT64_MAX, v
#define WITHOUT(arg, bits) arg, bits, 0
#define IOCTL(cmd)         1, UINT64_MAX, cmd

const struct allowed_call tool_calls[] = {
	{ SYS_openat, THREAD_TOOL, ANY, "images, parents, new files" },
	{ SYS_open, THREAD_TOOL, ANY, "the same" },
	{ SYS_openat2, THREAD_TOOL, ANY, "images" },
	{ SYS_close, THREAD_TOOL, ANY, "images" },
	{ SYS_read, THREAD_TOOL, ANY, "images" },
	{ SYS_write, THREAD_TOOL, ANY, "results, progress, complaints" },
	{ SYS_writev, THREAD_TOOL, ANY, "the same" },
	{ SYS_pread64, THREAD_TOOL, ANY, "images" },
	{ SYS_pwrite64, THREAD_TOOL, ANY, "images" },
	{ SYS_preadv, THREAD_TOOL, ANY, "images" },
	{ SYS_pwritev, THREAD_TOOL, ANY, "images" },
	{ SYS_copy_file_range, THREAD_TOOL, ANY, "copies between images" },
	{ SYS_sync_file_range, THREAD_TOOL, ANY, "and has the disk begin with them" },
	{ SYS_fadvise64, THREAD_TOOL, ANY, "what will be read next" },
	{ SYS_lseek, THREAD_TOOL, ANY, "size, holes" },
	{ SYS_fstat, THREAD_TOOL, ANY, "what a file is" },
	{ SYS_stat, THREAD_TOOL, ANY, "the same" },
	{ SYS_lstat, THREAD_TOOL, ANY, "the same" },
	{ SYS_newfstatat, THREAD_TOOL, ANY, "the same" },
	{ SYS_fstatfs, THREAD_TOOL, ANY, "the same" },
	{ SYS_statfs, THREAD_TOOL, ANY, "the same" },
	{ SYS_access, THREAD_TOOL, ANY, "the same" },
	{ SYS_faccessat, THREAD_TOOL, ANY, "realpath" },
	{ SYS_faccessat2, THREAD_TOOL, ANY, "realpath" },
	{ SYS_readlink, THREAD_TOOL, ANY, "realpath" },
	{ SYS_readlinkat, THREAD_TOOL, ANY, "realpath" },
	{ SYS_getcwd, THREAD_TOOL, ANY, "realpath" },
	{ SYS_getdents64, THREAD_TOOL, ANY, "who holds a lock" },
	{ SYS_fcntl, THREAD_TOOL, ONLY(1, F_OFD_SETLK), "locks" },
	{ SYS_fcntl, THREAD_TOOL, ONLY(1, F_DUPFD_CLOEXEC), "a second descriptor" },
	{ SYS_fcntl, THREAD_TOOL, ONLY(1, F_GETFL), "how a descriptor was opened" },
	{ SYS_fcntl, THREAD_TOOL, ONLY(1, F_GETFD), "whether it is one" },
	{ SYS_ioctl, THREAD_TOOL, IOCTL(BLKGETSIZE64), "size of a block device" },
	{ SYS_ioctl, THREAD_TOOL, IOCTL(TCGETS), "whether it is a terminal" },
	{ SYS_ftruncate, THREAD_TOOL, ANY, "images" },
	{ SYS_fallocate, THREAD_TOOL, ANY, "images" },
	{ SYS_fsync, THREAD_TOOL, ANY, "images" },
	{ SYS_fdatasync, THREAD_TOOL, ANY, "images" },
	{ SYS_rename, THREAD_TOOL, ANY, "a new image gets its name" },
	{ SYS_renameat2, THREAD_TOOL, ANY, "the same" },
	{ SYS_link, THREAD_TOOL, ANY, "the same" },
	{ SYS_linkat, THREAD_TOOL, ANY, "the same" },
	{ SYS_unlink, THREAD_TOOL, ANY, "the same, and what is given up" },
	{ SYS_unlinkat, THREAD_TOOL, ANY, "the same" },
	{ SYS_fchmod, THREAD_TOOL, ANY, "a new image's mode" },
	{ SYS_io_uring_enter, THREAD_TOOL, ANY, "requests to images" },
	{ SYS_io_uring_register, THREAD_TOOL, ONLY(1, IORING_REGISTER_FILES_UPDATE),
	    "an image comes or goes" },
	{ SYS_brk, THREAD_TOOL, ANY, "heap" },
	{ SYS_mmap, THREAD_TOOL, WITHOUT(2, PROT_EXEC), "heap; tables" },
	{ SYS_mprotect, THREAD_TOOL, WITHOUT(2, PROT_EXEC), "heap" },
	{ SYS_mremap, THREAD_TOOL, ANY, "heap" },
	{ SYS_munmap, THREAD_TOOL, ANY, "heap" },
	{ SYS_madvise, THREAD_TOOL, ANY, "heap; tables" },
	{ SYS_getrandom, THREAD_TOOL, ANY, "identities" },
	{ SYS_clock_gettime, THREAD_TOOL, ANY, "time, where the vDSO cannot tell it" },
	{ SYS_gettimeofday, THREAD_TOOL, ANY, "the same" },
	{ SYS_time, THREAD_TOOL, ANY, "the same" },
	{ SYS_clock_nanosleep, THREAD_TOOL, ANY, "waiting" },
	{ SYS_timerfd_create, THREAD_TOOL, ANY, "timers of the loop" },
	{ SYS_timerfd_settime, THREAD_TOOL, ANY, "timers of the loop" },
	{ SYS_eventfd2, THREAD_TOOL, ANY, "wake-ups of the loop" },
	{ SYS_futex, THREAD_TOOL, ANY, "locks" },
	{ SYS_ppoll, THREAD_TOOL, ANY, "waiting" },
	{ SYS_poll, THREAD_TOOL, ANY, "waiting" },
	{ SYS_rt_sigaction, THREAD_TOOL, ANY, "the wish to stop" },
	{ SYS_rt_sigprocmask, THREAD_TOOL, ANY, "the same" },
	{ SYS_rt_sigreturn, THREAD_TOOL, ANY, "the same" },
	{ SYS_restart_syscall, THREAD_TOOL, ANY, "a wait that a signal interrupted" },
	{ SYS_getpid, THREAD_TOOL, ANY, "names, logs" },
	{ SYS_gettid, THREAD_TOOL, ANY, "the same" },
	{ SYS_geteuid, THREAD_TOOL, ANY, "the same" },
	{ SYS_uname, THREAD_TOOL, ANY, "the image's creator" },
	{ SYS_exit_group, THREAD_TOOL, ANY, "the end" },
};
const size_t tool_calls_n = sizeof(tool_calls) / sizeof(tool_calls[0]);
