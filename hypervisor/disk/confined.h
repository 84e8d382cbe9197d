/*
 * hypervisor/disk/confined.h - a program of others, run on a stranger's file, where it can do no harm.
 *
 * It sees two files, as descriptors 3 and 4 (/proc/self/fd/3, ...), and what it needs to start (/usr, the
 * libraries): Landlock denies everything else. It has no network and sees no other process (namespaces of its
 * own, as far as the caller may make them), no privileges (as root: the user of its input, without
 * capabilities), limits on memory, processor time without progress, descriptors and the size of what it
 * writes; it ends with its caller. What it says is a stranger's, too.
 *
 * Any thread; blocks until it has ended.
 */
#ifndef HYPERVISOR_DISK_CONFINED_H
#define HYPERVISOR_DISK_CONFINED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

struct confined {
	const char *const *argv; /* the first is the program's whole path; ends with NULL */
	int input;               /* descriptor 3: opened again, it can only be read */
	int output;              /* descriptor 4: read and written, not deleted; -1: none */
	uint64_t output_max;     /* bytes */
	unsigned patience_s;     /* how long it may say nothing new and write nothing */
	/* What it says on standard output, as it comes; true: it is ended, -ECANCELED. text is not
	 * terminated. Also called about once a second with nothing. */
	bool (*said)(void *ctx, const char *text, size_t len);
	void *ctx;
};

/* 0 when it has ended with status 0; -ECANCELED, -ETIMEDOUT; -EIO: it failed, the sentence ends with its own
 * last words; -ENOENT: there is no such program. */
int confined_run(const struct confined *c, struct err *e);

#endif
