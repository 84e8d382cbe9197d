/*
 * tests/crash/inventory_crash.c - the inventory, cut at every call that changes the disk. A process that
 * makes, changes, renames or deletes a machine ends right before its n-th such call, or in the middle of a
 * write; or the call fails. The next one to open the inventory finds each machine as it was or as it was to
 * be, whole, and nothing else; and after a failure the one that had it shows what is on the disk.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define FAULT_OWN_WRITE
#include "tests/crash/fault.h"

#include "agent/inventory.h"

enum { CALLS_MAX = 200 };

static char root[64];
static struct machines ms;

/* --- the calls
 * ------------------------------------------------------------------------------------------------ */

static struct {
	bool on;
	unsigned n, at; /* calls so far; the one that is cut */
	bool half;      /* of a write: its first half is done */
	int code;       /* it fails with this; 0: the process ends */
	bool came;
} cut;

/* True: the call is to fail. */
static bool
is_cut(void)
{
	if (!cut.on || cut.n++ != cut.at)
		return false;
	cut.came = true;
	if (!cut.code)
		_exit(0);
	errno = cut.code;
	return true;
}

#define CUT(name, params, args)            \
	int __real_##name params;          \
	int __wrap_##name params;          \
	int __wrap_##name params           \
	{                                  \
		if (is_cut())              \
			return -1;         \
		return __real_##name args; \
	}

CUT(fsync, (int fd), (fd))
CUT(rename, (const char *from, const char *to), (from, to))
CUT(renameat2, (int a, const char *from, int b, const char *to, unsigned flags), (a, from, b, to, flags))
CUT(mkdir, (const char *path, mode_t mode), (path, mode))
CUT(unlink, (const char *path), (path))
CUT(remove, (const char *path), (path))
CUT(fchmod, (int fd, mode_t mode), (fd, mode))

ssize_t __real_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n);

ssize_t
__wrap_write(int fd, const void *p, size_t n)
{
	if (cut.on && cut.n == cut.at && cut.half && __real_write(fd, p, n / 2) < 0)
		abort();
	return is_cut() ? -1 : __real_write(fd, p, n);
}

/* --- the machines
 * --------------------------------------------------------------------------------------------- */

static void
config_of(struct vm_config *c, const char *name, uint8_t id)
{
	vm_config_defaults(c);
	memset(c->id, id, sizeof(c->id));
	snprintf(c->name, sizeof(c->name), "%s", name);
	snprintf(c->direct.kernel, sizeof(c->direct.kernel), "images/vmlinuz");
}

static void
open_inventory(void)
{
	struct err e = { 0 };

	memset(&ms, 0, sizeof(ms));
	ms.data = root;
	if (inventory_open(&ms, &e) < 0)
		abort();
}

static struct vm *
find(const char *name)
{
	struct vm *vm = inventory_find(&ms, name);

	vm_put(vm);
	return vm;
}

static int
do_create(struct err *e)
{
	struct vm_config c;
	struct vm *vm = NULL;
	int rc;

	config_of(&c, "new", 2);
	rc = inventory_create(&ms, &c, &vm, e);
	if (rc == 0)
		vm_put(vm);
	return rc;
}

static int
do_set(struct err *e)
{
	struct vm *vm = find("old");
	struct vm_config c = vm->config;

	c.memory.size_mb = 1024;
	return inventory_set(&ms, vm, &c, NULL, NULL, e);
}

static int
do_rename(struct err *e)
{
	struct vm *vm = find("old");
	struct vm_config c = vm->config;

	snprintf(c.name, sizeof(c.name), "moved");
	return inventory_set(&ms, vm, &c, NULL, NULL, e);
}

static int
do_delete(struct err *e)
{
	return inventory_delete(&ms, find("old"), false, NULL, NULL, e);
}

/* What may be found after a cut: `was` with its memory, or `is` with its own. NULL: no such machine. */
static const struct op {
	const char *name;
	int (*run)(struct err *e);
	const char *was, *is;
	uint64_t was_mb, is_mb;
	size_t was_n, is_n;
} ops[] = {
	{ "create", do_create, NULL, "new", 0, 512, 1, 2 },
	{ "set", do_set, "old", "old", 512, 1024, 1, 1 },
	{ "rename", do_rename, "old", "moved", 512, 512, 1, 1 },
	{ "delete", do_delete, "old", NULL, 512, 0, 1, 0 },
};

static void
clear(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'/vms", root);
	if (system(command) != 0)
		abort();
}

static void
make_old(void)
{
	struct vm_config c;
	struct vm *vm;
	struct err e = { 0 };

	clear();
	open_inventory();
	config_of(&c, "old", 1);
	if (inventory_create(&ms, &c, &vm, &e) < 0)
		abort();
	vm_put(vm);
	inventory_close(&ms);
}

static bool
has(const char *name, uint64_t mb)
{
	struct vm *vm = find(name);

	return vm && !vm->broken[0] && vm->state == VM_OFF && vm->config.memory.size_mb == mb;
}

static bool
nothing_half_is_left(void)
{
	char command[160];

	snprintf(command, sizeof(command), "test -z \"$(find '%s'/vms -mindepth 1 -maxdepth 1 -name '.*')\"",
	    root);
	return system(command) == 0;
}

static void
check_found(const struct op *op)
{
	struct err e = { 0 };
	bool was, is;

	open_inventory();
	was = ms.n == op->was_n && (!op->was || has(op->was, op->was_mb)) &&
	      (!op->is || op->was || !find(op->is));
	is = ms.n == op->is_n && (!op->is || has(op->is, op->is_mb));
	point(was || is, "neither as it was nor as it was to be", "");
	point(nothing_half_is_left(), "something half is left", "");
	/* And it can be worked with. */
	point(is || op->run(&e) == 0, "cannot be done again:", e.msg);
	inventory_close(&ms);
}

/* --- targets
 * -------------------------------------------------------------------------------------------------- */

/* Runs op in a process of its own that ends at its at-th call; false when it has fewer. */
static bool
cut_process(const struct op *op, unsigned at, bool half)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct err e = { 0 };

		open_inventory();
		cut.at = at;
		cut.half = half;
		cut.on = true;
		op->run(&e);
		_exit(7);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		abort();
	return WEXITSTATUS(status) == 0;
}

static void
cuts(const struct op *op, bool half)
{
	bool more = true;

	for (unsigned at = 0; more && at < CALLS_MAX; at++) {
		make_old();
		more = cut_process(op, at, half);
		snprintf(tally.point, sizeof(tally.point), "%s, cut at call %u%s", op->name, at,
		    half ? ", half written" : "");
		check_found(op);
	}
	point(!more, "has no end", op->name);
}

/* Each call fails once: there is a sentence, and what is on the disk and in memory is the same. */
static void
failures(const struct op *op)
{
	static const int codes[] = { ENOSPC, EIO };

	for (size_t c = 0; c < sizeof(codes) / sizeof(codes[0]); c++)
		for (unsigned at = 0; at < CALLS_MAX; at++) {
			struct err e = { 0 };
			struct vm *vm;
			char name[VM_NAME_SIZE];
			uint64_t mb;
			int rc;

			make_old();
			open_inventory();
			memset(&cut, 0, sizeof(cut));
			cut.at = at;
			cut.code = codes[c];
			cut.on = true;
			rc = op->run(&e);
			cut.on = false;
			snprintf(tally.point, sizeof(tally.point), "%s, call %u fails: %s", op->name, at,
			    strerror(codes[c]));
			point(rc == 0 || e.msg[0], "no sentence", "");
			for (size_t i = 0; i < ms.n; i++) {
				snprintf(name, sizeof(name), "%s", ms.vm[i]->name);
				mb = ms.vm[i]->config.memory.size_mb;
				inventory_refresh(&ms, ms.vm[i]);
				vm = find(name);
				point(vm && !vm->broken[0] && vm->config.memory.size_mb == mb,
				    "memory and disk differ", name);
			}
			inventory_close(&ms);
			check_found(op);
			if (!cut.came)
				break;
		}
	memset(&cut, 0, sizeof(cut));
}

int
main(void)
{
	snprintf(root, sizeof(root), "/tmp/inventory_crash.XXXXXX");
	if (!mkdtemp(root))
		return 1;
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		cuts(&ops[i], false);
		cuts(&ops[i], true);
		failures(&ops[i]);
	}
	clear();
	rmdir(root);
	return tell("inventory");
}
