/*
 * hypervisor/state/stream.h - a saved machine as a stream of sections, to and from a descriptor.
 *
 * Layout, little-endian: 8 bytes "FHSTATE1", then sections {u32 type, u32 zero, u64 length, bytes}, the
 * last of type SECTION_END with length 0. A stream that ends before it was cut. Descriptors are
 * blocking (file, pipe or socket); closing the other end makes a call in progress fail.
 */
#ifndef HYPERVISOR_STATE_STREAM_H
#define HYPERVISOR_STATE_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

enum section_type {
	SECTION_FACTS = 1,      /* what the machine is: first */
	SECTION_DEVICE = 2,     /* one device */
	SECTION_PROCESSORS = 3, /* clock, interrupt controllers, processors */
	SECTION_MEMORY = 4,     /* u64 address, then pages */
	SECTION_VMBUS = 6,      /* the bus with its channels and synthetic devices */
	SECTION_END = 5,        /* not 0: a file may end in zeros that nobody wrote */
};

enum { SECTION_MAX = 16 * 1024 * 1024, SECTION_MEMORY_MAX = 1024 * 1024 };

struct section {
	uint32_t type;
	uint64_t len;
};

int stream_begin_write(int fd, struct err *e);
int stream_begin_read(int fd, struct err *e);
/* One section out of two parts, either of which may be empty. */
int stream_write(
    int fd, enum section_type type, const void *a, size_t alen, const void *b, size_t blen, struct err *e);
/* The next section's head; lengths above SECTION_MAX are refused. */
int stream_next(int fd, struct section *s, struct err *e);
/* Exactly len bytes of the section's content. */
int stream_read(int fd, void *buf, size_t len, struct err *e);

#endif
