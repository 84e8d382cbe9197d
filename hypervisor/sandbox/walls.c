/* hypervisor/sandbox/walls.c - namespaces, user, capabilities, Landlock. */
#include "hypervisor/sandbox/walls.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- the process ---------------------------------------------------------------------------------- */

static int
open_cgroup(const struct walls *w, struct err *e)
{
	int fd = open(w->cgroup, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? err_sys(e, "%s", w->cgroup) : fd;
}

pid_t
walls_spawn(const struct walls *w, struct err *e)
{
	struct clone_args a = { .flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
					 CLONE_NEWUTS | CLONE_NEWCGROUP,
		.exit_signal = SIGCHLD };
	int cg = -1;
	long pid;

	if (geteuid() != 0)
		return err_set(e, EPERM, "must be started as root: it gives every privilege up by itself");
	if (w->uid == 0 || w->gid == 0)
		return err_set(e, EINVAL, "the worker's own user and group must not be root's");
	if (w->cgroup) {
		cg = open_cgroup(w, e);
		if (cg < 0)
			return cg;
		a.flags |= (unsigned long long)CLONE_INTO_CGROUP;
		a.cgroup = (unsigned)cg;
	}
	pid = syscall(SYS_clone3, &a, sizeof(a));
	if (pid < 0)
		err_sys(e, "new process in its own namespaces");
	if (cg >= 0)
		close(cg);
	return pid < 0 ? -e->code : (pid_t)pid;
}

/* --- no file system -------------------------------------------------------------------------------- */

/* The folder of the empty file system that becomes the root. Not the file system's own root: whoever is in
 * such a place (chroot) may not make user namespaces, in which he would have all capabilities. */
#define NOWHERE "nowhere"

/* A read-only tmpfs with one empty folder in it and no room for anything. */
static int
empty_file_system(struct err *e)
{
	struct mount_attr read_only = { .attr_set = MOUNT_ATTR_RDONLY };
	int mnt = -1, rc = 0, fs = fsopen("tmpfs", FSOPEN_CLOEXEC);

	if (fs >= 0 && fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", "2", 0) == 0 &&
	    fsconfig(fs, FSCONFIG_SET_STRING, "mode", "000", 0) == 0 &&
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		mnt = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (mnt < 0 || mkdirat(mnt, NOWHERE, 0) < 0 ||
	    mount_setattr(mnt, "", AT_EMPTY_PATH, &read_only, sizeof(read_only)) < 0)
		rc = err_sys(e, "empty file system");
	if (fs >= 0)
		close(fs);
	if (rc < 0 && mnt >= 0)
		close(mnt);
	return rc < 0 ? rc : mnt;
}

static int
leave_file_system(struct err *e)
{
	int rc = 0, mnt;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(e, "private mounts");
	mnt = empty_file_system(e);
	if (mnt < 0)
		return mnt;
	if (move_mount(mnt, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 || fchdir(mnt) < 0)
		rc = err_sys(e, "empty root");
	/* An initramfs cannot be pivoted away; there it stays beneath, out of reach. */
	else if (syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) < 0)
		rc = err_sys(e, "unmount the old root");
	else if (chroot(NOWHERE) < 0 || chdir("/") < 0)
		rc = err_sys(e, "chroot");
	close(mnt);
	return rc;
}

/* --- no privileges ---------------------------------------------------------------------------------- */

/* Each capability that this kernel has, up to the first number that is none (EINVAL). */
static int
drop_bounding_set(struct err *e)
{
	unsigned long cap = 0;

	while (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
		cap++;
	return errno == EINVAL && cap > 0 ? 0 : err_sys(e, "capability %lu", cap);
}

/* Changing the user has emptied the effective and permitted sets already, unless somebody set securebits. */
static int
drop_capabilities(struct err *e)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	return syscall(SYS_capset, &head, none) < 0 ? err_sys(e, "capabilities") : 0;
}

static int
change_user(const struct walls *w, struct err *e)
{
	if (setgroups(0, NULL) < 0 || setresgid(w->gid, w->gid, w->gid) < 0 ||
	    setresuid(w->uid, w->uid, w->uid) < 0)
		return err_sys(e, "user %u, group %u", w->uid, w->gid);
	return 0;
}

/* Landlock (Documentation/userspace-api/landlock.rst): a ruleset that handles everything and allows
 * nothing. What each version of the interface can handle beyond the one before: */
static const struct {
	uint64_t fs, net, scope;
} landlock_abi[] = {
	{ 0, 0, 0 }, { 0x1fff, 0, 0 }, /* 1: the 13 rights of Linux 5.13 */
	{ 0x3fff, 0, 0 },              /* 2: refer */
	{ 0x7fff, 0, 0 },              /* 3: truncate */
	{ 0x7fff, 3, 0 },              /* 4: TCP bind, connect */
	{ 0xffff, 3, 0 },              /* 5: ioctl on devices opened from now on */
	{ 0xffff, 3, 3 },              /* 6: abstract sockets, signals to the outside */
};
enum { LANDLOCK_KNOWN = sizeof(landlock_abi) / sizeof(landlock_abi[0]) - 1 };

static int
landlock_all(struct err *e)
{
	struct {
		uint64_t fs, net, scope;
	} attr;
	long fd, abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	int rc = 0;

	if (abi < 1)
		return err_set(e, ENOTSUP,
		    "this host's kernel has no Landlock: use Debian's kernel, and keep landlock in its lsm= "
		    "list");
	if (abi > LANDLOCK_KNOWN)
		abi = LANDLOCK_KNOWN;
	memcpy(&attr, &landlock_abi[abi], sizeof(attr));
	/* Older kernels know a shorter structure; what they do not know is zero here. */
	fd = syscall(SYS_landlock_create_ruleset, &attr, abi < 4 ? 8u : abi < 6 ? 16u : 24u, 0);
	if (fd < 0 || syscall(SYS_landlock_restrict_self, (int)fd, 0) < 0)
		rc = err_sys(e, "Landlock");
	if (fd >= 0)
		close((int)fd);
	return rc;
}

int
walls_enter(const struct walls *w, struct err *e)
{
	const struct rlimit none = { 0, 0 };
	int rc;

	setsid();
	rc = leave_file_system(e);
	if (rc == 0)
		rc = drop_bounding_set(e);
	if (rc == 0)
		rc = change_user(w, e);
	if (rc == 0)
		rc = drop_capabilities(e);
	if (rc < 0)
		return rc;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
		return err_sys(e, "no_new_privs");
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* not to be traced, its memory not to be read, by its own user */
	return landlock_all(e);
}
