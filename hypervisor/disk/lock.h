/*
 * hypervisor/disk/lock.h - who may have an image open: one writer, or any number of readers.
 *
 * The locks are those of open file descriptions (F_OFD_SETLK): they go with a descriptor that is passed to
 * another process and last as long as anybody holds it; closing another descriptor of the file does not end
 * them; and an NFS server keeps them between hosts. flock would do the same here, but not meet the locks that
 * QEMU's programs take, and on NFS it is turned into such a lock anyway. (Locks of either kind do not see
 * each other on a local file system: so all of us use these.)
 *
 *   writing   an exclusive lock of the whole file: meets every other one, QEMU's too
 *   reading   a shared lock of byte 201 alone, in which QEMU's programs say "nobody else may write": so those
 * that read go on, and those that would write are refused (QEMU, docs/devel: image locking)
 *
 * Bytes are only names here: they need not exist, and block devices have them too (of a device, a lock holds
 * among those who open the same node). Any thread. A lock whose holder can be seen is not waited for; else it
 * is for up to 10 s, since a process that has died may keep it for a moment.
 */
#ifndef HYPERVISOR_DISK_LOCK_H
#define HYPERVISOR_DISK_LOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/err.h"

/*
 * Takes the lock, or turns the one that fd holds into the other kind, without a moment in which it has none.
 * fd is open for reading, for a lock to write also for writing. -EAGAIN: somebody else has it, and the
 * sentence says who if that can be found out; then what was held before still is.
 */
int disk_lock(int fd, bool writing, struct err *e);
void disk_unlock(int fd);

/*
 * One lock and all that share it: copies of one descriptor. Left alone, the kernel ends a lock when the last
 * of them is closed; but one that an io_uring has used may stay open in a request that the ring frees only
 * when it is entered next. So the last that shares it ends the lock. One thread at a time.
 */
struct disk_hold;
struct disk_hold *disk_hold_new(void);                  /* NULL: out of memory */
struct disk_hold *disk_hold_share(struct disk_hold *h); /* NULL gives NULL */
void disk_hold_end(struct disk_hold *h, int fd);        /* before its fd is closed; NULL is allowed */

/* "fh-worker (process 1234)" that holds a lock of the file, any kind, as far as /proc shows; false: nobody to
 * be seen (another host, another user's process). */
bool disk_lock_holder(int fd, char *out, size_t size);

#endif
