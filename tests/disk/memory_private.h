/* tests/disk/memory_private.h - what memory_file.c and memory_cut.c share. */
#ifndef TESTS_DISK_MEMORY_PRIVATE_H
#define TESTS_DISK_MEMORY_PRIVATE_H

#include "tests/disk/memory_file.h"

/* Something that a cut may lose. */
struct memory_change {
	struct memory_change *next;
	uint64_t moment;
	enum { CHANGE_WRITE, CHANGE_CLEAR, CHANGE_SHRINK, CHANGE_GROW } kind;
	uint64_t off, len; /* CHANGE_SHRINK: what was cut off */
	uint64_t size;     /* of the file afterwards */
	uint8_t *data;     /* CHANGE_WRITE: len bytes */
};

struct memory_inode {
	struct pages now, durable;
	uint64_t size, durable_size;
	struct memory_change *changes, **changes_last; /* since: the oldest first */
	unsigned opened;
};

struct memory_flight {
	struct memory_flight *next;
	struct memory_op what;
	struct io_op *op;
	const struct iovec *iov;
	unsigned iovs;
	uint64_t covers; /* MEMORY_FLUSH: the last moment before it began */
};

struct memory_inode *memory_inode(struct memory_host *h, unsigned number);

#endif
