/*
 * hypervisor/disk/new_file.h - a file that is there whole or not at all.
 *
 * It is written as ".NAME.new" in its folder, locked there (so nobody else writes the same), brought to the
 * disk, renamed, and the folder is brought to the disk. What a crash leaves is overwritten next time. Any
 * thread; 0 or -errno with a sentence that names the file.
 */
#ifndef HYPERVISOR_DISK_NEW_FILE_H
#define HYPERVISOR_DISK_NEW_FILE_H

#include <limits.h>
#include <stdbool.h>

#include "lib/err.h"

struct new_file {
	char path[PATH_MAX], temporary[PATH_MAX];
	bool replace;
	int fd; /* open for reading and writing, empty; -1: nothing is under way */
};

/* replace: a file of that name may be there and is replaced in the end, unless somebody uses it; else
 * -EEXIST. */
int new_file_begin(struct new_file *n, const char *path, bool replace, struct err *e);
/* What was written is under its name and stays there. fd is closed, also on failure; then nothing has
 * changed. */
int new_file_end(struct new_file *n, struct err *e);
/* Nothing was there. Also after a failed begin, and after end. */
void new_file_abort(struct new_file *n);

#endif
