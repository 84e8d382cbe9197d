/* hypervisor/disk/confined.c - a program of others, run on a stranger's file, where it can do no harm. */
#include "hypervisor/disk/confined.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/text.h"

enum {
	INPUT = 3, /* descriptors in the program */
	OUTPUT = 4,
	RULES = 5,  /* the walls while they are built */
	SPARE = 20, /* where descriptors are out of the way meanwhile */
	DESCRIPTORS = 64,
	WORDS = 160, /* of its complaints */
};
#define MEMORY_MAX (4ull << 30) /* address space: threads' stacks are counted */

/* --- in the child: no allocation, no locks; what fails is said on standard error --------------------------
 */

static void
give_up(const char *what)
{
	static const char colon[] = "walls: ";

	if (write(STDERR_FILENO, colon, sizeof(colon) - 1) > 0 &&
	    write(STDERR_FILENO, what, strlen(what)) > 0)
		_exit(126);
	_exit(126);
}

#define READ_ACCESS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_EXECUTE)
#define FILE_ACCESS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE)

/* What a program needs to start. */
static const char *const readable[] = { "/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache" };

static bool
allow(int rules, int fd, uint64_t access)
{
	struct landlock_path_beneath_attr a = { .allowed_access = access, .parent_fd = fd };

	return syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &a, 0) == 0;
}

static bool
allow_program(int rules)
{
	for (size_t i = 0; i < sizeof(readable) / sizeof(readable[0]); i++) {
		int fd = open(readable[i], O_PATH | O_CLOEXEC);
		struct stat st;
		bool ok;

		if (fd < 0)
			continue;
		ok = fstat(fd, &st) == 0 &&
		     allow(rules, fd, S_ISDIR(st.st_mode) ? READ_ACCESS : LANDLOCK_ACCESS_FS_READ_FILE);
		close(fd);
		if (!ok)
			return false;
	}
	return true;
}

/* All rights on files that the first version of Landlock knows, and, where there is a newer one, moving
 * files, truncating, and TCP. Nothing is allowed but what follows. */
static void
build_walls(bool output)
{
	static const struct {
		uint64_t fs, net;
	} abi[] = { { 0, 0 }, { 0x1fff, 0 }, { 0x3fff, 0 }, { 0x7fff, 0 }, { 0x7fff, 3 } };
	long has = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	uint64_t extra = has >= 3 ? 1ull << 14 : 0; /* to truncate */
	int rules;

	if (has < 1)
		give_up("this kernel has no Landlock");
	if (has > 4)
		has = 4;
	rules = (int)syscall(SYS_landlock_create_ruleset, &abi[has], has < 4 ? 8u : 16u, 0);
	if (rules < 0 || !allow_program(rules) || !allow(rules, 0, FILE_ACCESS) ||
	    !allow(rules, INPUT, LANDLOCK_ACCESS_FS_READ_FILE) ||
	    (output && !allow(rules, OUTPUT, FILE_ACCESS | extra)))
		give_up("its files cannot be allowed");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		give_up("Landlock refuses");
	close(rules);
}

static void
set_limits(const struct confined *c)
{
	const struct {
		int what;
		rlim_t most;
	} limits[] = { { RLIMIT_CORE, 0 }, { RLIMIT_AS, MEMORY_MAX }, { RLIMIT_NOFILE, DESCRIPTORS },
		{ RLIMIT_FSIZE, c->output_max } };

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct rlimit l = { limits[i].most, limits[i].most };

		if (setrlimit((__rlimit_resource_t)limits[i].what, &l) < 0)
			give_up("its limits cannot be set");
	}
}

/* The user whose file it reads, who can open it: not root's privileges even when that is root. */
static void
become_owner(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };
	struct stat st;
	unsigned long cap = 0;

	while (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
		cap++;
	if (fstat(INPUT, &st) < 0 || syscall(SYS_setgroups, 0, NULL) < 0 ||
	    syscall(SYS_setresgid, st.st_gid, st.st_gid, st.st_gid) < 0 ||
	    syscall(SYS_setresuid, st.st_uid, st.st_uid, st.st_uid) < 0 ||
	    syscall(SYS_capset, &head, none) < 0)
		give_up("its privileges cannot be given up");
}

/* Descriptors 0 (/dev/null, which QEMU tries locks on) to 4, and no other. */
static void
arrange(const struct confined *c, int said, int complained)
{
	const int from[] = { said, complained, c->input, c->output }, to[] = { 1, 2, INPUT, OUTPUT };
	int n = c->output < 0 ? 3 : 4, zero;

	for (int i = 0; i < n; i++)
		if (fcntl(from[i], F_DUPFD, SPARE + i) != SPARE + i && dup2(from[i], SPARE + i) < 0)
			_exit(126);
	for (int i = 0; i < n; i++)
		if (dup2(SPARE + i, to[i]) < 0)
			_exit(126);
	zero = open("/dev/null", O_RDWR);
	if (zero < 0 || (zero != 0 && dup2(zero, 0) < 0))
		give_up("/dev/null");
	syscall(SYS_close_range, c->output < 0 ? OUTPUT : OUTPUT + 1, ~0u, 0);
}

static void
child(const struct confined *c, int said, int complained, bool root)
{
	static char *const environment[] = { "LC_ALL=C", "PATH=/usr/bin:/bin", NULL };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	arrange(c, said, complained);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		give_up("it would outlive its caller");
	if (root && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		give_up("private mounts");
	set_limits(c);
	if (root)
		become_owner();
	build_walls(c->output >= 0);
	execve(c->argv[0], (char *const *)(uintptr_t)c->argv, environment);
	give_up("it cannot be started");
}

/* --- the caller's side ------------------------------------------------------------------------------------
 */

struct running {
	const struct confined *c;
	pid_t pid;
	int said, complained; /* -1: ended */
	char words[WORDS + 1];
	size_t n;
	time_t heard; /* when there was last a sign of life */
	uint64_t written;
};

static time_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static pid_t
begin(const struct confined *c, int said, int complained, struct err *e)
{
	bool root = geteuid() == 0;
	const uint64_t separate = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
	struct clone_args a = { .flags = separate | (root ? 0 : CLONE_NEWUSER), .exit_signal = SIGCHLD };
	long pid = syscall(SYS_clone3, &a, sizeof(a));

	if (pid < 0 && !root) { /* this host's users may not make namespaces: Landlock remains */
		a.flags = 0;
		pid = syscall(SYS_clone3, &a, sizeof(a));
	}
	if (pid == 0)
		child(c, said, complained, root);
	return pid < 0 ? (pid_t)err_sys(e, "a process of its own") : (pid_t)pid;
}

/* The last words are the most telling. */
static void
keep(struct running *r, const char *text, size_t n)
{
	if (n > WORDS) {
		text += n - WORDS;
		n = WORDS;
	}
	if (r->n + n > WORDS) {
		memmove(r->words, r->words + r->n + n - WORDS, WORDS - n);
		r->n = WORDS - n;
	}
	memcpy(r->words + r->n, text, n);
	r->n += n;
	r->words[r->n] = '\0';
}

static void
hear(struct running *r, int *fd, bool *stop)
{
	char buf[4096];
	ssize_t n = read(*fd, buf, sizeof(buf));

	if (n < 0 && errno == EINTR)
		return;
	if (n <= 0) {
		close(*fd);
		*fd = -1;
	} else if (fd == &r->complained) {
		keep(r, buf, (size_t)n);
	} else {
		r->heard = now();
		*stop = r->c->said && r->c->said(r->c->ctx, buf, (size_t)n);
	}
}

/* Whether it still does something, though it says nothing. */
static void
look(struct running *r, bool *stop)
{
	struct stat st;

	if (r->c->output >= 0 && fstat(r->c->output, &st) == 0 && (uint64_t)st.st_blocks != r->written) {
		r->written = (uint64_t)st.st_blocks;
		r->heard = now();
	}
	*stop = r->c->said && r->c->said(r->c->ctx, "", 0);
}

static int
follow(struct running *r)
{
	r->heard = now();
	while (r->said >= 0 || r->complained >= 0) {
		struct pollfd p[2] = { { r->said, POLLIN, 0 }, { r->complained, POLLIN, 0 } };
		int n = poll(p, 2, 1000);
		bool stop = false;

		if (n <= 0)
			look(r, &stop);
		if (n > 0 && p[1].revents)
			hear(r, &r->complained, &stop);
		if (n > 0 && p[0].revents)
			hear(r, &r->said, &stop);
		if (stop)
			return -ECANCELED;
		if (now() - r->heard > (time_t)r->c->patience_s)
			return -ETIMEDOUT;
	}
	return 0;
}

static int
end(struct running *r, int rc, struct err *e)
{
	const char *name = strrchr(r->c->argv[0], '/') + 1;
	int status;

	if (rc < 0)
		kill(r->pid, SIGKILL);
	while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (rc == -ECANCELED)
		return err_set(e, ECANCELED, "broken off");
	if (rc == -ETIMEDOUT)
		return err_set(
		    e, ETIMEDOUT, "%s has done nothing for %u s: it was ended", name, r->c->patience_s);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	while (r->n && (r->words[r->n - 1] == '\n' || r->words[r->n - 1] == ' '))
		r->words[--r->n] = '\0';
	text_clean(r->words);
	if (WIFSIGNALED(status))
		return err_set(e, EIO, "%s was ended by signal %d: %s", name, WTERMSIG(status), r->words);
	return err_set(e, EIO, "%s: %s", name, r->words);
}

int
confined_run(const struct confined *c, struct err *e)
{
	struct running r = { .c = c };
	int said[2], complained[2], rc;

	if (access(c->argv[0], X_OK) < 0)
		return err_set(e, ENOENT, "%s is not installed", c->argv[0]);
	if (pipe2(said, O_CLOEXEC) < 0)
		return err_sys(e, "pipe");
	if (pipe2(complained, O_CLOEXEC) < 0) {
		rc = err_sys(e, "pipe");
		close(said[0]);
		close(said[1]);
		return rc;
	}
	r.pid = begin(c, said[1], complained[1], e);
	close(said[1]);
	close(complained[1]);
	r.said = said[0];
	r.complained = complained[0];
	rc = r.pid < 0 ? (int)r.pid : end(&r, follow(&r), e);
	if (r.said >= 0)
		close(r.said);
	if (r.complained >= 0)
		close(r.complained);
	return rc;
}
