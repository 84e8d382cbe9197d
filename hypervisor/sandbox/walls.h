/*
 * hypervisor/sandbox/walls.h - what a worker gives up before the first guest instruction.
 *
 * In three steps. walls_spawn (root) makes the process: own user, empty namespaces, its control group.
 * walls_enter (the new process) gives up file system, privileges and capabilities. walls_close_control
 * and walls_close_processor put the seccomp allow-list of the calling thread's kind up; after them nothing
 * is taken back. The lists are the table in syscalls.c, compiled at build time.
 */
#ifndef HYPERVISOR_SANDBOX_WALLS_H
#define HYPERVISOR_SANDBOX_WALLS_H

#include <sys/types.h>

#include "lib/err.h"

struct walls {
	uid_t uid;
	gid_t gid;
	const char *cgroup; /* directory of the control group to be born in, or NULL */
};

/*
 * Forks into new namespaces. In the child returns 0; in the parent the child's pid; or -errno. Needs root.
 * The child is process 1 of its process namespace.
 */
pid_t walls_spawn(const struct walls *w, struct err *e);
/* In the child: empty root, user and group, no capabilities, no_new_privs, Landlock. Descriptors that are
 * open stay open. */
int walls_enter(const struct walls *w, struct err *e);
int walls_close_control(struct err *e);
int walls_close_processor(struct err *e);
int walls_close_io(struct err *e); /* the same for an I/O thread */

#endif
