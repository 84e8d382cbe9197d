/*
 * tests/lab/back_door/layers.c - attempts against the walls behind the system call lists, which are left out.
 *
 * Held is what cannot be done; what can be, and should not, is told.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lab/back_door/back_door.h"

enum { FDS = 64, PIDS = 4096 };

/* Held when it failed. */
static void
must_fail(struct findings *f, long rc, const char *what)
{
	finding(f, rc < 0, "%s worked", what);
}

/* --- files ---------------------------------------------------------------------------------------------- */

static void
try_open(struct findings *f, int dir, const char *path, int flags)
{
	int fd = openat(dir, path, flags | O_CLOEXEC, 0600);

	finding(f, fd < 0, "opened %s with %#x", path, (unsigned)flags);
	if (fd >= 0)
		close(fd);
}

/* Only when the empty file system is there: it is all that can be seen, and nothing can be put on it. */
static void
try_empty_root(struct findings *f)
{
	struct statvfs s;
	struct stat a, b;
	int root = open("/", O_PATH), up = open("../../../..", O_PATH);
	const unsigned long flags = ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC;

	finding(f, root >= 0 && fstatvfs(root, &s) == 0 && (s.f_flag & flags) == flags, "root: flags %#lx",
	    s.f_flag);
	finding(f, fstat(root, &a) == 0 && (a.st_mode & 0777) == 0, "root: mode %o", a.st_mode);
	/* The way up ends at once; where it cannot even be looked for, all the better. */
	finding(
	    f, up < 0 || (fstat(up, &b) == 0 && b.st_dev == a.st_dev), "there is something above the root");
	close(root);
	close(up);
}

void
try_files(struct findings *f, enum thread_kind kind)
{
	static const char *const there[] = { "/init", "/proc", "/proc/self/status", "/proc/1/mem", "/dev/kvm",
		"/dev/null", "/dev/mem", "/sys/kernel", "/bin/busybox", "/etc/passwd", "/run", "/tmp", "..",
		"../../..", "/proc/self/fd/0", "/dev/pts/ptmx" };
	static const int how[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDONLY | O_DIRECTORY };
	char path[40];

	(void)kind;
	for (size_t i = 0; i < sizeof(there) / sizeof(there[0]); i++)
		for (size_t k = 0; k < sizeof(how) / sizeof(how[0]); k++)
			try_open(f, AT_FDCWD, there[i], how[k]);
	for (int fd = 0; fd < FDS; fd++) { /* none of them is a folder */
		try_open(f, fd, "..", O_RDONLY | O_DIRECTORY);
		try_open(f, fd, ".", O_PATH);
		must_fail(f, syscall(SYS_fchdir, fd), "fchdir"); /* by number: fchdir may be left out */
	}
	try_open(f, AT_FDCWD, "/", O_RDONLY | O_DIRECTORY);
	try_open(f, AT_FDCWD, ".", O_TMPFILE | O_RDWR);
	try_open(f, AT_FDCWD, "/tmp", O_TMPFILE | O_RDWR);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/x", (const char *[]){ ".", "", "/tmp" }[i]);
		try_open(f, AT_FDCWD, path, O_CREAT | O_WRONLY);
		must_fail(f, mkdir(path, 0700), "mkdir");
		must_fail(f, symlink("/", path), "symlink");
		must_fail(f, mknod(path, S_IFIFO | 0600, 0), "mknod of a pipe");
		must_fail(f, mknod(path, S_IFCHR | 0600, 0x101), "mknod of a device");
	}
	must_fail(f, unlink("/tmp/x"), "unlink");
	must_fail(f, mount("none", "/", "tmpfs", 0, NULL), "mount");
	must_fail(f, mount(NULL, "/", NULL, MS_REMOUNT, NULL), "remount");
	must_fail(f, syscall(SYS_umount2, "/", MNT_DETACH), "umount");
	must_fail(f, syscall(SYS_chroot, "/"), "chroot");
	must_fail(f, syscall(SYS_fsopen, "tmpfs", 0), "fsopen");
	must_fail(f, syscall(SYS_open_tree, AT_FDCWD, "/", 1), "open_tree");
	must_fail(f, syscall(SYS_open_by_handle_at, 0, path, 0), "open_by_handle_at");
	if (!left_out("files"))
		try_empty_root(f);
}

/* --- network ----------------------------------------------------------------------------------------------
 */

enum { LISTENER_PORT = 7777 }; /* contain.lua listens there, and at the abstract name "@breakout" */

static void
try_tcp(struct findings *f)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
		.sin_port = htons(LISTENER_PORT),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	int s = socket(AF_INET, SOCK_STREAM, 0);

	must_fail(f, connect(s, (const struct sockaddr *)&a, sizeof(a)), "TCP to 127.0.0.1");
	a.sin_addr.s_addr = htonl(0xc0a80001);
	must_fail(f, connect(s, (const struct sockaddr *)&a, sizeof(a)), "TCP to a network");
	close(s);
}

static void
try_abstract(struct findings *f)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "\0breakout" };
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	must_fail(f, connect(s, (const struct sockaddr *)&a, offsetof(struct sockaddr_un, sun_path) + 9),
	    "connection to an abstract socket");
	close(s);
}

static void
try_interfaces(struct findings *f)
{
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	unsigned found = 0;
	struct ifreq r;

	for (int i = 1; i < 256; i++) {
		r.ifr_ifindex = i;
		if (ioctl(s, SIOCGIFNAME, &r) < 0)
			continue;
		found++;
		finding(f,
		    strcmp(r.ifr_name, "lo") == 0 && ioctl(s, SIOCGIFFLAGS, &r) == 0 &&
			!(r.ifr_flags & IFF_UP),
		    "interface %.16s is there, or up", r.ifr_name);
		r.ifr_flags |= IFF_UP;
		must_fail(f, ioctl(s, SIOCSIFFLAGS, &r), "switching an interface on");
	}
	finding(f, found <= 1, "%u interfaces", found);
	close(s);
}

void
try_network(struct findings *f, enum thread_kind kind)
{
	(void)kind;
	try_interfaces(f);
	try_tcp(f);
	try_abstract(f);
	must_fail(f, socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), "a raw socket");
	must_fail(f, socket(AF_PACKET, SOCK_RAW, 0), "a packet socket");
}

/* --- rights
 * ------------------------------------------------------------------------------------------------- */

static void
try_capabilities(struct findings *f)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct c[2] = { { 1, 1, 1 }, { 1, 1, 1 } };
	static const struct __user_cap_data_struct none[2];

	finding(f, syscall(SYS_capget, &head, c) == 0 && memcmp(c, none, sizeof(c)) == 0, "capabilities");
	for (unsigned long cap = 0; cap < 64; cap++) {
		int in_bounds = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);

		if (in_bounds < 0)
			break;
		finding(f, in_bounds == 0, "capability %lu is in the bounding set", cap);
		finding(f, prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 0,
		    "ambient capability %lu", cap);
		memset(c, 0, sizeof(c));
		c[cap / 32].effective = c[cap / 32].permitted = 1u << cap % 32;
		must_fail(f, syscall(SYS_capset, &head, c), "capset");
		must_fail(f, prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0), "raising a capability");
	}
	must_fail(f, prctl(PR_SET_SECUREBITS, SECBIT_KEEP_CAPS, 0, 0, 0), "securebits");
}

static void
try_identity(struct findings *f)
{
	uid_t r = 0, e = 0, s = 0;
	gid_t group = 0;
	struct rlimit core;

	finding(f, getresuid(&r, &e, &s) == 0 && r >= 60000 && e == r && s == r, "users %u %u %u", r, e, s);
	finding(f, getresgid(&r, &e, &s) == 0 && r >= 60000 && e == r && s == r, "groups %u %u %u", r, e, s);
	finding(f, getgroups(0, NULL) == 0, "supplementary groups");
	must_fail(f, syscall(SYS_setuid, 0), "setuid");
	must_fail(f, syscall(SYS_setgid, 0), "setgid");
	must_fail(f, syscall(SYS_setresuid, 0, 0, 0), "setresuid");
	must_fail(f, syscall(SYS_setgroups, 1, &group), "setgroups");
	finding(f, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "new privileges");
	must_fail(f, prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), "leaving no_new_privs");
	finding(f, prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0, "dumpable");
	finding(
	    f, getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_cur == 0 && core.rlim_max == 0, "core files");
	core.rlim_cur = core.rlim_max = 1;
	must_fail(f, setrlimit(RLIMIT_CORE, &core), "raising the core limit");
}

/* In one of its own a process would have every capability, and more of the kernel to attack. */
static void
try_user_namespace(struct findings *f)
{
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	finding(f, pid < 0, "a process in a user namespace of its own");
	if (pid > 0)
		waitpid((pid_t)pid, NULL, 0);
}

void
try_rights(struct findings *f, enum thread_kind kind)
{
	static const struct sched_param first = { .sched_priority = 1 };

	(void)kind;
	try_capabilities(f);
	try_identity(f);
	if (!left_out("files")) /* the empty root is what forbids it */
		try_user_namespace(f);
	must_fail(f, syscall(SYS_unshare, CLONE_NEWNS), "a mount namespace");
	must_fail(f, syscall(SYS_unshare, CLONE_NEWPID), "a process namespace");
	must_fail(f, sethostname("x", 1), "sethostname");
	must_fail(f, syscall(SYS_iopl, 3), "iopl");
	must_fail(f, syscall(SYS_ioperm, 0x80, 1, 1), "ioperm");
	must_fail(f, syscall(SYS_reboot, 0xfee1dead, 672274793, 0, NULL), "reboot");
	must_fail(f, syscall(SYS_settimeofday, &(struct timespec){ 1, 0 }, NULL), "settimeofday");
	must_fail(f, syscall(SYS_init_module, "", 0, ""), "init_module");
	must_fail(f, syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &first), "real-time priority");
	must_fail(f, syscall(SYS_setpriority, PRIO_PROCESS, 0, -20), "a higher priority");
	must_fail(f, syscall(SYS_syslog, 3, (char[16]){ 0 }, 16), "reading the kernel's log");
}

/* --- processes
 * ------------------------------------------------------------------------------------------------ */

static bool
ours(int tid)
{
	return syscall(SYS_tgkill, 1, tid, 0) == 0;
}

void
try_processes(struct findings *f, enum thread_kind kind)
{
	char byte;
	struct iovec here = { &byte, 1 }, there = { (void *)(uintptr_t)0x400000, 1 };

	(void)kind;
	finding(f, getpid() == 1, "process %d", getpid());
	finding(f, getppid() == 0, "parent %d", getppid());
	must_fail(f, kill(-1, SIGKILL), "killing everybody");
	for (int pid = 2; pid < PIDS; pid++) {
		if (ours(pid))
			continue;
		finding(f, kill(pid, 0) < 0, "sees process %d", pid);
		finding(f, syscall(SYS_pidfd_open, pid, 0) < 0, "has a descriptor of process %d", pid);
		if (pid > 64)
			continue;
		finding(f, ptrace(PTRACE_ATTACH, pid, NULL, NULL) < 0, "traces process %d", pid);
		finding(f, process_vm_readv(pid, &here, 1, &there, 1, 0) < 0, "reads process %d", pid);
		must_fail(f, syscall(SYS_setpriority, PRIO_PROCESS, pid, 10), "setpriority");
		must_fail(f, syscall(SYS_migrate_pages, pid, 0, NULL, NULL), "migrate_pages");
	}
}
