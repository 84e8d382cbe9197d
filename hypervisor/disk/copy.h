/*
 * hypervisor/disk/copy.h - new images: empty ones, and copies of disks in any format and kind.
 *
 * A new image has its name only when it is whole and on the disk (new_file.h). Blocks; on the thread of a
 * loop that is here (io_loop_here). Sentences name the file.
 */
#ifndef HYPERVISOR_DISK_COPY_H
#define HYPERVISOR_DISK_COPY_H

#include "hypervisor/disk/format.h"

/* Where a new image goes, and what it is. */
struct disk_new {
	const char *path;
	bool replace; /* a file of that name, if nobody uses it */
	enum disk_format_id format;
	struct disk_create create; /* disk_copy_new: its size and, if 0, sectors are those of the source */
};

int disk_make(const struct disk_new *what, const struct disk_progress *p, struct err *e);
/* With all that a reader of `from` sees: a chain becomes one image. from's loop is used for both. */
int disk_copy_new(
    struct disk *from, const struct disk_new *what, const struct disk_progress *p, struct err *e);

/*
 * The content of one disk to another that reads zero everywhere and is at least as large; flushed when it
 * returns. -ECANCELED: p has ended it.
 */
int disk_copy(struct disk *from, struct disk *to, const struct disk_progress *p, struct err *e);

/* True, and the sentence, if p wants to end the work. p may be NULL. */
bool disk_cancelled(
    const struct disk_progress *p, const char *phase, uint64_t done, uint64_t total, struct err *e);

#endif
