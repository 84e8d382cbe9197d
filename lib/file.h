/*
 * lib/file.h - small files that must be whole or not there: settings, inventory, jobs.
 *
 * A replaced file is written beside the old one, brought to the disk, renamed over it, and the folder is
 * brought to the disk: after a crash at any point there is either the old content or the new one. What a
 * crash leaves beside it (".NAME.new") is overwritten next time. Any thread; two writers of one file need
 * a lock of their own. Functions return 0 or -errno with a sentence that names the file.
 */
#ifndef LIB_FILE_H
#define LIB_FILE_H

#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/err.h"

/* Symbolic links are followed, so that a link in a read-only tree can lead to the file. A mode of 0 keeps
 * that of the old file (0600 if there is none); the owner stays, too. */
int file_replace(const char *path, const void *data, size_t len, mode_t mode, struct err *e);
/* Indented, with a newline at the end. */
int file_replace_json(const char *path, const json_t *doc, mode_t mode, struct err *e);
/* At most max bytes, else -EFBIG; *text is terminated, the caller's to free. len may be NULL. Only regular
 * files: a pipe would hold the reader up. */
int file_read(const char *path, size_t max, char **text, size_t *len, struct err *e);
/* A JSON document (lib/schema.h: bounded): a new reference, or NULL with *e (ENOENT, EINVAL, ...). */
json_t *file_read_json(const char *path, struct err *e);
/* Removes it for good; 0 if it is not there. */
int file_remove(const char *path, struct err *e);
/* Makes the folder and those above it that are missing; 0 if it is there. */
int file_make_dirs(const char *path, mode_t mode, struct err *e);
/* What happened in a folder (rename, mkdir, unlink) survives a crash once this has returned 0. */
int file_sync_dir(const char *path, struct err *e);
/* Renames within a file system and brings both folders to the disk. */
int file_rename(const char *from, const char *to, struct err *e);

#endif
