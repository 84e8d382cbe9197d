/*
 * agent/files.h - files that users put onto the data disk, and the two places where a machine may name them.
 *
 *   images/PATH   below DATA/images, for all machines
 *   ./PATH        below the machine's own folder, DATA/vms/NAME
 *
 * Other machines' folders are out of reach: who may change one machine must not read another's disks. People
 * may write absolute paths and vms/NAME/PATH as well; file_path_tidy makes the two forms of them. Any thread.
 */
#ifndef AGENT_FILES_H
#define AGENT_FILES_H

#include <jansson.h>
#include <stddef.h>

#include "lib/err.h"

/* The short form of path (cap bytes with the NUL) as machine `name` may use it; -EINVAL in words. */
int file_path_tidy(
    const char *data, const char *name, const char *path, char *out, size_t cap, struct err *e);
/* Opens such a path for reading: a regular file, never outside its place (openat2, RESOLVE_BENEATH). Returns
 * a descriptor, or -ENOENT, -EINVAL, ... */
int file_open_image(const char *data, const char *name, const char *path, struct err *e);
/*
 * The short form of a path below images for who writes there: "images/NAME", with folders in between; no part
 * of it begins with a dot (those are ours), images/ and DATA/ may be left out. -EINVAL in words.
 */
int file_image_path(const char *data, const char *path, char *out, size_t cap, struct err *e);
/* Opens the folder that such a path is in, never outside of images: a descriptor for openat and the like, and
 * *name (borrowed from path) in it. -ENOENT, -EINVAL, ... */
int file_open_folder(const char *data, const char *path, const char **name, struct err *e);
/* The regular files of DATA/folder (a name, or several in each other), sorted, as an array of {name, path,
 * size, modified}; hidden ones and folders are left out. NULL with -ENOENT and others in e. */
json_t *file_list(const char *data, const char *folder, struct err *e);

#endif
