/*
 * hypervisor/disk/import.h - images of other programs, read by qemu-img where it can do no harm (confined.h).
 *
 * qemu-img cannot write into a pipe, so what it reads goes into a nameless sparse file beside the new image,
 * and from there, by extents, into the new image: simpler than a server for it (NBD) between two processes,
 * and where the file system shares space between files nothing is copied twice. It needs room for the content
 * twice for that time.
 *
 * The format is said, never guessed by qemu-img; an image that names other files (backing file, extents, data
 * file) is refused, and could not open them.
 */
#ifndef HYPERVISOR_DISK_IMPORT_H
#define HYPERVISOR_DISK_IMPORT_H

#include "hypervisor/disk/copy.h"

/* Formats: "vmdk", "qcow2", "vdi". */
bool disk_import_knows(const char *format);
/* Blocks; on the thread of a loop that is here. Sentences name the file. */
int disk_import(const char *path, const char *format, const struct disk_new *what, struct io_loop *loop,
    const struct disk_progress *p, struct err *e);

#endif
