/* hypervisor/disk_tool/range.h - reading, writing and emptying ranges of a disk, for cmd_range.c and
 * cmd_io.c. */
#ifndef HYPERVISOR_DISK_TOOL_RANGE_H
#define HYPERVISOR_DISK_TOOL_RANGE_H

#include "hypervisor/disk_tool/tool.h"

enum range_op {
	RANGE_READ,  /* compares with the pattern, or writes to standard output */
	RANGE_WRITE, /* the pattern, or standard input */
	RANGE_FUA,
	RANGE_ZERO,
	RANGE_UNMAP,
	RANGE_DISCARD,
	RANGE_FLUSH,
};

struct range_request {
	enum range_op op;
	uint64_t offset, len;
	const char *pattern; /* hexadecimal; NULL: standard input or output */
};

/* 0; STATUS_DIFFERS, and the sentence says where; -errno. */
int range_do(struct disk *d, const struct range_request *r, struct err *e);

#endif
