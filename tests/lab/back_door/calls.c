/*
 * tests/lab/back_door/calls.c - attempts against the lists of system calls (hypervisor/sandbox/syscalls.c).
 *
 * Held is what answers EPERM. The calls are made by hand: a C library may do other things than it says.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/nsfs.h>
#include <linux/vhost.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lab/back_door/back_door.h"

enum { CALLS = 600, FDS = 48 };
#define HIGH    (1l << 32)
#define TEXT(s) ((long)(uintptr_t)(s))

static long
raw(long nr, const long a[6])
{
	register long d __asm__("r10") = a[3];
	register long e __asm__("r8") = a[4];
	register long f __asm__("r9") = a[5];
	long rc;

	__asm__ volatile("syscall"
			 : "=a"(rc)
			 : "0"(nr), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(d), "r"(e), "r"(f)
			 : "rcx", "r11", "memory");
	return rc;
}

static bool
allowed(long nr, enum thread_kind kind)
{
	for (size_t i = 0; i < allowed_calls_n; i++)
		if (allowed_calls[i].nr == nr && (allowed_calls[i].kinds & kind))
			return true;
	return false;
}

static bool
allowed_value(long nr, enum thread_kind kind, uint64_t value)
{
	for (size_t i = 0; i < allowed_calls_n; i++) {
		const struct allowed_call *c = &allowed_calls[i];

		if (c->nr == nr && (c->kinds & kind) && (value & c->mask) == c->value)
			return true;
	}
	return false;
}

void
try_list(struct findings *f, enum thread_kind kind)
{
	for (long nr = 0; nr < CALLS; nr++)
		if (allowed(nr, kind))
			remark(f, "%ld", nr);
}

/* --- every number ---------------------------------------------------------------------------------- */

/* Linux lets these two past every filter, for its own probes (seccomp.c, since 6.14 and 6.12.y), and ends
 * with SIGILL whoever else makes them. */
enum { URETPROBE = 335, UPROBE = 336 };

void
try_calls(struct findings *f, enum thread_kind kind)
{
	static char page[4096] = "/";
	const long at = TEXT(page);
	const long args[][6] = {
		{ 0 },
		{ 1, 1, 1, 1, 1, 1 },
		{ -1, -1, -1, -1, -1, -1 },
		{ at, at, 0, 0, 0, 0 },
		{ AT_FDCWD, at, O_RDWR, 0777, 0, 0 },
		{ 3, at, sizeof(page), at, 0, 0 },
	};

	for (long nr = 0; nr < CALLS; nr++) {
		if (allowed(nr, kind) || nr == URETPROBE || nr == UPROBE)
			continue;
		for (size_t i = 0; i < sizeof(args) / sizeof(args[0]); i++) {
			long rc = raw(nr, args[i]);

			finding(f, rc == -EPERM, "call %ld with arguments %zu: %ld", nr, i, rc);
		}
	}
}

/* --- what somebody who breaks in would do ------------------------------------------------------------- */

static const char *const no_strings[] = { NULL };

static const struct {
	const char *what;
	long nr, a[6];
} named[] = {
	{ "open /", SYS_open, { TEXT("/"), O_RDONLY | O_DIRECTORY } },
	{ "open /proc/self/mem", SYS_open, { TEXT("/proc/self/mem"), O_RDWR } },
	{ "openat /dev/kvm", SYS_openat, { AT_FDCWD, TEXT("/dev/kvm"), O_RDWR } },
	{ "openat ..", SYS_openat, { AT_FDCWD, TEXT(".."), O_PATH } },
	{ "creat", SYS_creat, { TEXT("x"), 0600 } },
	{ "mkdir", SYS_mkdir, { TEXT("x"), 0700 } },
	{ "unlink", SYS_unlink, { TEXT("/x") } },
	{ "stat /", SYS_stat, { TEXT("/"), 0 } },
	{ "chroot", SYS_chroot, { TEXT("/") } },
	{ "mount", SYS_mount, { TEXT("none"), TEXT("/"), TEXT("tmpfs"), 0, 0 } },
	{ "memfd_create", SYS_memfd_create, { TEXT("x"), 0 } },
	{ "TCP socket", SYS_socket, { AF_INET, SOCK_STREAM, 0 } },
	{ "UDP socket", SYS_socket, { AF_INET6, SOCK_DGRAM, 0 } },
	{ "Unix socket", SYS_socket, { AF_UNIX, SOCK_STREAM, 0 } },
	{ "netlink socket", SYS_socket, { AF_NETLINK, SOCK_RAW, 0 } },
	{ "packet socket", SYS_socket, { AF_PACKET, SOCK_RAW, 0 } },
	{ "vsock socket", SYS_socket, { AF_VSOCK, SOCK_STREAM, 0 } },
	{ "crypto socket", SYS_socket, { AF_ALG, SOCK_SEQPACKET, 0 } },
	{ "socketpair", SYS_socketpair, { AF_UNIX, SOCK_STREAM, 0, 0 } },
	{ "fork", SYS_fork, { 0 } },
	{ "vfork", SYS_vfork, { 0 } },
	{ "clone", SYS_clone, { SIGCHLD } },
	{ "a thread", SYS_clone, { CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD } },
	{ "a new user namespace", SYS_unshare, { CLONE_NEWUSER } },
	{ "setns", SYS_setns, { 0, 0 } },
	{ "execve", SYS_execve, { TEXT("/bin/sh"), TEXT(no_strings), TEXT(no_strings) } },
	{ "execveat", SYS_execveat, { 0, TEXT(""), TEXT(no_strings), TEXT(no_strings), AT_EMPTY_PATH } },
	{ "kill everybody", SYS_kill, { -1, SIGKILL } },
	{ "kill oneself", SYS_kill, { 1, SIGKILL } },
	{ "ptrace", SYS_ptrace, { PTRACE_TRACEME } },
	{ "process_vm_readv", SYS_process_vm_readv, { 1, 0, 0, 0, 0, 0 } },
	{ "prctl", SYS_prctl, { PR_SET_DUMPABLE, 1 } },
	{ "another filter", SYS_seccomp, { 1, 0, 0 } },
	{ "setuid", SYS_setuid, { 0 } },
	{ "bpf", SYS_bpf, { 0, 0, 0 } },
	{ "io_uring_setup", SYS_io_uring_setup, { 1, 0 } },
	{ "userfaultfd", SYS_userfaultfd, { 1 } },
	{ "perf_event_open", SYS_perf_event_open, { 0, 0, -1, -1, 0 } },
	{ "keyctl", SYS_keyctl, { 0, -3, 0 } },
	{ "executable memory", SYS_mprotect, { 0x10000, 4096, PROT_READ | PROT_EXEC } },
	{ "ioperm", SYS_ioperm, { 0x80, 1, 1 } },
	{ "modify_ldt", SYS_modify_ldt, { 1, 0, 0 } },
	{ "personality", SYS_personality, { 0x0400000 } },
	{ "reboot", SYS_reboot, { 0 } },
};

void
try_named(struct findings *f, enum thread_kind kind)
{
	(void)kind;
	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
		long rc = raw(named[i].nr, named[i].a);

		finding(f, rc == -EPERM, "%s: %ld", named[i].what, rc);
	}
}

/* --- allowed calls, forbidden arguments ----------------------------------------------------------------- */

static const uint32_t requests[] = { KVM_CREATE_VM, KVM_CREATE_VCPU, KVM_CREATE_DEVICE, KVM_CREATE_IRQCHIP,
	KVM_CREATE_PIT2, KVM_ENABLE_CAP, KVM_SET_CPUID2, KVM_X86_SET_MSR_FILTER, KVM_IRQFD, KVM_IOEVENTFD,
	KVM_SET_GSI_ROUTING, KVM_SIGNAL_MSI, KVM_SET_SIGNAL_MASK, KVM_SET_GUEST_DEBUG, KVM_HYPERV_EVENTFD,
	KVM_MEMORY_ENCRYPT_OP, KVM_SET_PMU_EVENT_FILTER, KVM_GET_DIRTY_LOG, KVM_SET_TSS_ADDR, KVM_TRANSLATE,
	KVM_INTERRUPT, KVM_SMI, KVM_XEN_HVM_CONFIG, KVM_GET_SUPPORTED_CPUID, KVM_GET_DEVICE_ATTR + 1,
	KVM_RESET_DIRTY_RINGS, FIOASYNC, FIONBIO, FIOCLEX, FIONREAD, TCGETS, TCSETS, TIOCSTI, TIOCSCTTY,
	TIOCLINUX, TIOCGPTPEER, SIOCGIFCONF, SIOCSIFFLAGS, SIOCGIFHWADDR, FS_IOC_SETFLAGS, FICLONE,
	FIDEDUPERANGE, FITRIM, NS_GET_USERNS, NS_GET_PARENT, TUNSETIFF, VHOST_SET_OWNER, BLKDISCARD,
	BLKROSET };

static void
try_request(struct findings *f, enum thread_kind kind, long fd, uint64_t request)
{
	const long a[6] = { fd, (long)request, 0 };
	long rc;

	if (allowed_value(SYS_ioctl, kind, request))
		return;
	rc = raw(SYS_ioctl, a);
	finding(f, rc == -EPERM, "ioctl %#lx on %ld: %ld", (unsigned long)request, fd, rc);
}

static void
try_requests(struct findings *f, enum thread_kind kind, long fd)
{
	for (unsigned nr = 0; nr < 256; nr++)
		try_request(f, kind, fd, (uint64_t)_IO(KVMIO, nr));
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		try_request(f, kind, fd, requests[i]);
		try_request(f, kind, fd, requests[i] | (uint64_t)HIGH);
	}
	/* The kernel looks at 32 bits only: the filter must look at all. */
	for (size_t i = 0; i < allowed_calls_n; i++)
		if (allowed_calls[i].nr == SYS_ioctl)
			try_request(f, kind, fd, allowed_calls[i].value | (uint64_t)HIGH);
}

static void
try_fcntl(struct findings *f, enum thread_kind kind, long fd)
{
	for (long cmd = 0; cmd < 1050; cmd = cmd == 50 ? 1024 : cmd + 1)
		for (int high = 0; high < 2; high++) {
			const long a[6] = { fd, cmd | (high ? HIGH : 0), 1 };
			long rc;

			if (allowed_value(SYS_fcntl, kind, (uint64_t)a[1]))
				continue;
			rc = raw(SYS_fcntl, a);
			finding(f, rc == -EPERM, "fcntl %#lx on %ld: %ld", a[1], fd, rc);
		}
}

static void
try_executable(struct findings *f, long fd)
{
	static const long prot[] = { PROT_EXEC, PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE | PROT_EXEC,
		PROT_READ | PROT_EXEC | HIGH, PROT_EXEC | PROT_GROWSDOWN };

	for (size_t i = 0; i < sizeof(prot) / sizeof(prot[0]); i++)
		for (int flags = MAP_SHARED; flags <= MAP_PRIVATE; flags++) {
			const long a[6] = { 0, 4096, prot[i], flags | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0 };
			long rc = raw(SYS_mmap, a);

			finding(f, rc == -EPERM, "mmap of %ld with protection %#lx: %ld", fd, prot[i], rc);
		}
}

/* Other signals than the one that stops processors; and that one only within this process. */
static void
try_signals(struct findings *f, enum thread_kind kind)
{
	for (long sig = 0; sig <= 64; sig++)
		for (long pid = 1; pid <= 64; pid++) {
			const long a[6] = { pid == 1 ? 1 : pid, pid, sig }, high[6] = { 1, 1, sig | HIGH };
			bool may = allowed_value(SYS_tgkill, kind, (uint64_t)sig);
			long rc;

			if (may && pid == 1)
				continue;
			rc = raw(SYS_tgkill, a);
			finding(
			    f, rc == (may ? -ESRCH : -EPERM), "signal %ld to process %ld: %ld", sig, pid, rc);
			if (pid > 1)
				continue;
			rc = raw(SYS_tgkill, high);
			finding(f, rc == -EPERM, "signal %#lx: %ld", high[2], rc);
		}
}

void
try_arguments(struct findings *f, enum thread_kind kind)
{
	for (long fd = -1; fd < FDS; fd++) {
		try_requests(f, kind, fd);
		try_fcntl(f, kind, fd);
		try_executable(f, fd);
	}
	try_signals(f, kind);
}

void
try_uretprobe(struct findings *f, enum thread_kind kind)
{
	static const long none[6];
	long rc = raw(URETPROBE, none);

	(void)kind;
	finding(f, rc == -EPERM, "uretprobe: %ld", rc);
}

/* --- other architectures' numbers: 20 is getpid, 39 with the bit, too ------------------------------------
 */

void
try_int80(struct findings *f, enum thread_kind kind)
{
	long rc = 20;

	(void)kind;
	__asm__ volatile("int $0x80" : "+a"(rc) : : "memory", "r8", "r9", "r10", "r11");
	finding(f, false, "int 0x80: %ld", rc);
}

void
try_x32(struct findings *f, enum thread_kind kind)
{
	static const long none[6];

	(void)kind;
	finding(f, false, "x32: %ld", raw(0x40000000 | SYS_getpid, none));
}
