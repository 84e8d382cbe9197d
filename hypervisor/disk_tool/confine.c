/*
 * hypervisor/disk_tool/confine.c - fh-disk --confine: what it gives up before it looks at images of
 * strangers.
 *
 * The files it may open are named on the command line; the rest is denied by Landlock, and what is not in
 * sandbox/tool_syscalls.c by the system-call filter. The ring for images is made before that, and restricted
 * by itself: no other can be made afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "filters.h"
#include "hypervisor/disk_tool/tool.h"

#define TRUNCATE (1ull << 14) /* since the third version of Landlock's interface */
#define READ     ((uint64_t)LANDLOCK_ACCESS_FS_READ_FILE)
#define WRITE    (READ | LANDLOCK_ACCESS_FS_WRITE_FILE)
#define LOOK     ((uint64_t)LANDLOCK_ACCESS_FS_READ_DIR)
#define MAKE     (LOOK | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE)

#ifdef __SANITIZE_ADDRESS__
static bool confined;
int __lsan_is_turned_off(void);
/* Leaks are looked for from another process, which may not look at this one any more. */
int
__lsan_is_turned_off(void)
{
	return confined;
}
#endif

enum { DESCRIPTORS = 1024, LIKELY_VICTIM = 1000 };

/* --- files ---------------------------------------------------------------------------------------------- */

static int
allow(int rules, const char *path, uint64_t file, uint64_t folder, struct err *e)
{
	struct landlock_path_beneath_attr a = { .allowed_access = file };
	int fd = open(path, O_PATH | O_CLOEXEC), rc = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		rc = err_sys(e, "%s", path);
	} else {
		a.parent_fd = fd;
		a.allowed_access |= S_ISDIR(st.st_mode) ? folder : 0;
		if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &a, 0) < 0)
			rc = err_sys(e, "Landlock: %s", path);
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

static int
close_files(const struct options *o, struct err *e)
{
	/* What each version of the interface can deny: files; TCP since the fourth. */
	static const uint64_t abi[][2] = { { 0, 0 }, { 0x1fff, 0 }, { 0x3fff, 0 }, { 0x7fff, 0 },
		{ 0x7fff, 3 } };
	long has = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	uint64_t cut = has >= 3 ? TRUNCATE : 0;
	int rules, rc = 0;

	if (has < 1)
		return err_set(e, ENOTSUP, "--confine: this host's kernel has no Landlock");
	if (has > 4)
		has = 4;
	rules = (int)syscall(SYS_landlock_create_ruleset, abi[has], has < 4 ? 8u : 16u, 0);
	if (rules < 0)
		return err_sys(e, "Landlock");
	for (size_t i = 0; rc == 0 && i < o->readables; i++)
		rc = allow(rules, o->readable[i], READ, LOOK, e);
	for (size_t i = 0; rc == 0 && i < o->writables; i++)
		rc = allow(rules, o->writable[i], WRITE | cut, MAKE, e);
	if (rc == 0 && syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		rc = err_sys(e, "Landlock");
	close(rules);
	return rc;
}

/* --- the rest ------------------------------------------------------------------------------------------- */

static int
drop_privileges(struct err *e)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };
	unsigned long cap = 0;

	while (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
		cap++;
	if (syscall(SYS_capset, &head, none) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, "privileges");
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	return 0;
}

/* Namespaces are for root to make; without them no other process can be reached all the same, and no socket
 * made: the filter has neither. If memory becomes short this process goes first. */
static void
step_aside(void)
{
	const struct rlimit none = { 0, 0 }, files = { DESCRIPTORS, DESCRIPTORS };
	FILE *f = fopen("/proc/self/oom_score_adj", "we");

	if (f) {
		fprintf(f, "%d", LIKELY_VICTIM);
		fclose(f);
	}
	setrlimit(RLIMIT_CORE, &none);
	setrlimit(RLIMIT_NOFILE, &files);
	if (geteuid() == 0)
		unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS);
}

static int
close_calls(struct err *e)
{
	const struct sock_fprog filter = { sizeof(tool_filter) / sizeof(tool_filter[0]),
		(struct sock_filter *)(uintptr_t)tool_filter };

#ifdef __SANITIZE_ADDRESS__
	confined = true; /* sanitizers make calls of their own */
	return 0;
#endif
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0
		   ? err_sys(e, "system-call filter")
		   : 0;
}

int
confine(struct tool *t, struct err *e)
{
	int rc;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return err_sys(e, "--confine");
	if (!tool_loop(t, e))
		return -EIO;
	step_aside();
	rc = drop_privileges(e);
	if (rc == 0)
		rc = close_files(&t->o, e);
	return rc < 0 ? rc : close_calls(e);
}
