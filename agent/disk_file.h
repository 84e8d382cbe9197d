/*
 * agent/disk_file.h - what a machine's disks and DVDs are made of: raw files and block devices.
 *
 *   ./disks/NAME   in the machine's own folder, DATA/vms/NAME/disks; made here, too
 *   images/PATH    below DATA/images, for all machines
 *   /dev/PATH      a block device that the host does not use itself
 *
 * Whoever opens one to use it locks its open file description (hypervisor/disk/lock.h): for writing alone,
 * for reading together with other readers. The descriptor is passed to a worker, and the lock lasts as long
 * as that holds it, whatever becomes of the agent. Of a block device that is written the kernel's own claim
 * (O_EXCL) is held as well. Any thread; blocks for as long as the file system does. 0 or -errno with one
 * sentence.
 */
#ifndef AGENT_DISK_FILE_H
#define AGENT_DISK_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "lib/err.h"

enum { DISK_FILE_LEAST = 1 << 20 }; /* bytes of one that is made */

/* Where the files of a machine are looked for. */
struct disk_place {
	const char *data, *name; /* /data, and the machine's name */
};

/* The short form of what somebody has typed (cap bytes with the NUL); a bare NAME is images/NAME. -EINVAL. */
int disk_file_tidy(const struct disk_place *at, const char *path, char *out, size_t cap, struct err *e);

enum disk_use {
	USE_LOOK,  /* neither read nor locked: only size and identity */
	USE_READ,  /* shared */
	USE_WRITE, /* alone */
	USE_GROW,  /* to be resized: not locked, since the machine that has it may hold the lock */
};
/*
 * Opens one in its short form; *st (may be NULL) is what it is. sector: bytes that it has at least. Returns a
 * descriptor, or -ENOENT; -EAGAIN: somebody else has it (perhaps only for another moment); -EBUSY: the host
 * uses it; -EINVAL: it is no disk; ...
 */
int disk_file_open(const struct disk_place *at, const char *path, enum disk_use use, uint64_t sector,
    struct stat *st, struct err *e);
/* The same file or device, whatever it is called. */
bool disk_file_same(const struct stat *a, const struct stat *b);
/* Bytes of what fd is: a file's length, or a block device's size. */
int disk_file_size(int fd, uint64_t *size, struct err *e);

/* Makes ./disks/NAME of size bytes, all of them holes. -EEXIST. */
int disk_file_make(const struct disk_place *at, const char *path, uint64_t size, struct err *e);
/* Deletes ./disks/NAME. */
int disk_file_delete(const struct disk_place *at, const char *path, struct err *e);
/* A name that ./disks has not yet: "./disks/disk0.END". */
int disk_file_name(const struct disk_place *at, const char *end, char *out, size_t cap, struct err *e);
/* Bytes that the data disk has left. */
int disk_file_room(const struct disk_place *at, uint64_t *left, struct err *e);

/*
 * Whether the host uses block device dev: it, or another part of the same disk, is mounted. mounts is
 * /proc/self/mountinfo, sys /sys/dev/block; tests have others. 0, or -EBUSY in words.
 */
int disk_file_free(const char *mounts, const char *sys, dev_t dev, struct err *e);

#endif
