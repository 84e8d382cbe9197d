/*
 * tests/crash/fault.h - making the n-th call of a kind fail, on the thread that asked for it. The calls are
 * wrapped by the linker (module.mk); what the C library does inside is not.
 */
#ifndef TESTS_CRASH_FAULT_H
#define TESTS_CRASH_FAULT_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum fault {
	FAULT_NONE,
	FAULT_MEMORY, /* malloc, calloc, realloc */
	FAULT_MMAP,
	FAULT_FTRUNCATE,
	FAULT_FALLOCATE,
	FAULT_LSEEK,
	FAULT_PREAD,
	FAULT_FCNTL,
	FAULT_READ,
	FAULT_WRITE, /* write, writev */
	FAULT_RECVMSG,
	FAULT_SENDMSG,
	FAULT_IOCTL,
	FAULTS
};

static const struct {
	const char *name;
	int code[3]; /* with which it can fail */
} faults[FAULTS] = {
	[FAULT_MEMORY] = { "malloc", { ENOMEM } },
	[FAULT_MMAP] = { "mmap", { ENOMEM } },
	[FAULT_FTRUNCATE] = { "ftruncate", { ENOSPC, EINTR } },
	[FAULT_FALLOCATE] = { "fallocate", { EOPNOTSUPP } },
	[FAULT_LSEEK] = { "lseek", { ESPIPE, EPERM } },
	[FAULT_PREAD] = { "pread", { EIO, EINTR } },
	[FAULT_FCNTL] = { "fcntl", { EPERM } },
	[FAULT_READ] = { "read", { EIO, EINTR } },
	[FAULT_WRITE] = { "write", { ENOSPC, EPIPE, EINTR } },
	[FAULT_RECVMSG] = { "recvmsg", { ECONNRESET, ENOMEM, EINTR } },
	[FAULT_SENDMSG] = { "sendmsg", { EPIPE, EAGAIN, EINTR } },
	[FAULT_IOCTL] = { "ioctl", { EIO } },
};

static _Thread_local struct {
	enum fault kind; /* FAULT_NONE: nothing fails */
	unsigned left;   /* calls until the one that fails */
	int code;
	bool came; /* it has failed */
} fault;

static inline void
fault_arm(enum fault kind, unsigned n, int code)
{
	fault.left = n;
	fault.code = code;
	fault.came = false;
	fault.kind = kind;
}

/* True when the armed fault came. */
static inline bool
fault_disarm(void)
{
	fault.kind = FAULT_NONE;
	return fault.came;
}

static inline bool
fault_now(enum fault kind)
{
	if (fault.kind != kind || fault.came || fault.left-- > 0)
		return false;
	fault.came = true;
	errno = fault.code;
	return true;
}

static inline bool
fault_ioctl(void)
{
	return fault_now(FAULT_IOCTL);
}

#define FAULTY(type, name, kind, bad, params, args) \
	type __real_##name params;                  \
	type __wrap_##name params;                  \
	type __wrap_##name params                   \
	{                                           \
		if (fault_now(kind))                \
			return bad;                 \
		return __real_##name args;          \
	}

FAULTY(void *, malloc, FAULT_MEMORY, NULL, (size_t n), (n))
FAULTY(void *, calloc, FAULT_MEMORY, NULL, (size_t k, size_t n), (k, n))
FAULTY(void *, realloc, FAULT_MEMORY, NULL, (void *p, size_t n), (p, n))
FAULTY(void *, mmap, FAULT_MMAP, MAP_FAILED, (void *p, size_t n, int prot, int flags, int fd, off_t off),
    (p, n, prot, flags, fd, off))
FAULTY(int, ftruncate, FAULT_FTRUNCATE, -1, (int fd, off_t n), (fd, n))
FAULTY(int, fallocate, FAULT_FALLOCATE, -1, (int fd, int mode, off_t off, off_t n), (fd, mode, off, n))
FAULTY(off_t, lseek, FAULT_LSEEK, -1, (int fd, off_t off, int how), (fd, off, how))
FAULTY(ssize_t, pread, FAULT_PREAD, -1, (int fd, void *p, size_t n, off_t off), (fd, p, n, off))
FAULTY(ssize_t, read, FAULT_READ, -1, (int fd, void *p, size_t n), (fd, p, n))
#ifndef FAULT_OWN_WRITE /* the target wraps it itself */
FAULTY(ssize_t, write, FAULT_WRITE, -1, (int fd, const void *p, size_t n), (fd, p, n))
#endif
FAULTY(ssize_t, recvmsg, FAULT_RECVMSG, -1, (int fd, struct msghdr *m, int flags), (fd, m, flags))
FAULTY(ssize_t, sendmsg, FAULT_SENDMSG, -1, (int fd, const struct msghdr *m, int flags), (fd, m, flags))

int __real_fcntl(int fd, int cmd, ...);
int __wrap_fcntl(int fd, int cmd, ...);

int
__wrap_fcntl(int fd, int cmd, ...)
{
	uintptr_t arg;
	va_list ap;

	va_start(ap, cmd);
	arg = va_arg(ap, uintptr_t);
	va_end(ap);
	return fault_now(FAULT_FCNTL) ? -1 : __real_fcntl(fd, cmd, arg);
}

/* Time stands still, so that what is saved twice is the same. */
int __wrap_clock_gettime(clockid_t id, struct timespec *t);

int
__wrap_clock_gettime(clockid_t id, struct timespec *t)
{
	(void)id;
	*t = (struct timespec){ .tv_sec = 1000 };
	return 0;
}

/* --- what came of it ------------------------------------------------------------------------------- */

static struct {
	unsigned passed, failed;
	char point[120]; /* where we are: for whoever reads what failed */
} tally;

/* One point passed, or what went wrong there. */
static inline void
point(bool ok, const char *wrong, const char *detail)
{
	if (ok)
		tally.passed++;
	else if (tally.failed++ < 20)
		printf("FAILED %s: %s %s\n", tally.point, wrong, detail);
}

static inline int
tell(const char *name)
{
	printf("%s: %u passed, %u failed\n", name, tally.passed, tally.failed);
	return tally.failed != 0;
}

#endif
