/*
 * hypervisor/disk/parent_path.h - the paths to a parent that an image keeps, in Windows' spelling, as paths
 * of this host.
 *
 * They were written by a stranger: no length, character or form of them is believed, and what they lead to is
 * opened by chain.c alone. Any thread.
 */
#ifndef HYPERVISOR_DISK_PARENT_PATH_H
#define HYPERVISOR_DISK_PARENT_PATH_H

#include <limits.h>
#include <stddef.h>

/* Where paths of a Windows host lie here: { "C:", "/data" }, { "\\\\server\\share", "/mnt/share" }, also
 * { "Volume{...}", ... }. Whatever the case. */
struct disk_drive {
	const char *prefix, *folder;
};

/* Where parents are looked for. All of it may be empty. */
struct disk_search {
	const char
	    *root; /* absolute: nothing leads out of it, by .. or by symbolic links; NULL: no such limit */
	const char *const *folders; /* by base name, after the child's own folder */
	size_t folders_n;
	const struct disk_drive *drives;
	size_t drives_n;
};

/*
 * Backslashes become slashes, "\\?\", "\\?\UNC\" and "file://" go, a drive, share or volume becomes its
 * folder. 0; -ENOENT: a drive that this host has no folder for, or no path at all; -ENAMETOOLONG.
 */
int parent_path_here(const char *windows, const struct disk_search *s, char out[PATH_MAX]);
/* Behind the last slash; never NULL. */
const char *parent_path_base(const char *path);
/* A path in the folder that `child` is in (not cleaned: the kernel resolves its ..). -ENAMETOOLONG. */
int parent_path_beside(const char *child, const char *relative, char out[PATH_MAX]);
/*
 * How the folder of `child` comes to `parent`: "../base/a.vhdx". Both are absolute and clean (realpath).
 * -ENAMETOOLONG.
 */
int parent_path_relative(const char *child, const char *parent, char out[PATH_MAX]);
/* An absolute path of this host in Windows' spelling, if a drive's folder has it: "C:\images\a.vhdx".
 * -ENOENT. */
int parent_path_windows(const char *path, const struct disk_search *s, char out[PATH_MAX]);

#endif
