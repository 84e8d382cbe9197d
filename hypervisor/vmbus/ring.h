/*
 * hypervisor/vmbus/ring.h - one pair of ring buffers in guest memory: what the guest sends (in), what it is
 * sent (out).
 *
 * The layout and the rules of signalling: TLFS has none; they are those of Linux (hv/ring_buffer.c) and
 * of the guest ABI page of this project (docs/guest-abi.md). Everything in a ring is the guest's to
 * rewrite at any moment: indices are read once, checked, and only then used; a packet is copied out whole
 * before anybody looks at it. A ring that breaks its own rules is broken for good: every later call answers
 * -EPROTO, and its device closes the channel.
 *
 * One thread at a time uses a pair (the device's I/O thread).
 */
#ifndef HYPERVISOR_VMBUS_RING_H
#define HYPERVISOR_VMBUS_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/core/gmem.h"

enum { RING_MAX_PAGES = 8190 }; /* of a pair: what one GPADL can hold */

/* A page of guest memory by its number; NULL when it is no RAM. */
static inline void *
guest_page(const struct gmem *mem, uint64_t pfn)
{
	return pfn < UINT64_MAX / GMEM_PAGE ? gmem_span(mem, pfn * GMEM_PAGE, GMEM_PAGE) : NULL;
}

struct ring {
	struct gmem *mem;
	const uint64_t *pfn;  /* the ring's pages: the control page, then data */
	uint8_t *const *page; /* the same, as the worker sees them (gmem_span) */
	uint32_t size;        /* bytes of data: a multiple of GMEM_PAGE */
	uint32_t at;          /* our index: the reader's in `in`, the writer's in `out` */
	uint32_t told;        /* in: the index that the guest knows */
	bool waiting;         /* out: the guest has been asked to signal when there is room */
	bool broken;
};

struct ring_pair {
	struct ring in, out;
	uint64_t *pfns;  /* of both rings: owned by the pair */
	uint8_t **pages; /* likewise */
};

/* Takes over nothing; copies the page numbers. `downstream` is the page at which `out` begins. -EINVAL when a
 * page is no RAM, or a ring has no data page; -ENOMEM. Indices are taken from the control pages (they are
 * those of a restored guest, or 0): a ring whose indices make no sense is broken from the start. Sets our
 * feature bit in `out`. */
int ring_pair_map(
    struct ring_pair *r, struct gmem *mem, const uint64_t *pfn, uint32_t pages, uint32_t downstream);
/* Takes the indices once more: guest memory has been restored since. */
void ring_pair_sync(struct ring_pair *r);
void ring_pair_unmap(struct ring_pair *r);

/* A packet's head, checked. Offsets and lengths in bytes. */
struct packet {
	uint16_t type, flags;
	uint64_t transaction;
	uint32_t offset; /* of the payload, from the start of the packet */
	uint32_t len;    /* of the packet, head and payload, without the trailer: a multiple of 8 */
};
enum {
	PACKET_INBAND = 6,
	PACKET_XFER_PAGES = 7,
	PACKET_GPA_DIRECT = 9,
	PACKET_COMPLETION = 0xb,
	PACKET_WANTS_REPLY = 1
};

/*
 * Copies the next packet of `in` into buf and goes past it. 1: there was one; 0: the ring is empty; -EPROTO:
 * broken; -EMSGSIZE: longer than cap: the packet was left out (its head is in *p, its first cap bytes in
 * buf).
 */
int ring_read(struct ring *in, struct packet *p, void *buf, size_t cap);
/*
 * Makes the space of the packets read so far known to the guest. True when the guest waits for it and must be
 * signalled.
 */
bool ring_read_done(struct ring *in);
/* ring_mask: the guest need not signal new packets, for they are looked for. ring_idle, before going to
 * sleep: it must again; answers true when there is something to read after all, and then signals stay off. */
void ring_mask(struct ring *in);
bool ring_idle(struct ring *in);

/*
 * Writes one packet. *signal is set to true when the guest must be signalled, and left alone otherwise, so
 * that one signal serves several packets. -EAGAIN: no room; the guest has been asked to signal when there is
 * (pending send size). -EPROTO: broken. -EMSGSIZE: the packet does not fit into this ring even when that is
 * empty. The payload is in two parts, either of which may be empty.
 */
int ring_write(struct ring *out, uint16_t type, uint16_t flags, uint64_t transaction, const void *a,
    size_t alen, const void *b, size_t blen, bool *signal);
/* The same with a PACKET_XFER_PAGES: `pages` is what belongs to its head, a multiple of 8 bytes. */
int ring_write_pages(struct ring *out, uint16_t flags, uint64_t transaction, const void *pages,
    size_t pages_len, const void *payload, size_t len, bool *signal);

/* How many bytes of what was written, packets whole with head and trailer, the guest has not taken. 0 of a
 * ring that makes no sense. */
uint32_t ring_unread(const struct ring *out);

/* Address ranges behind the head of a PACKET_GPA_DIRECT. */
struct gpa_range {
	uint32_t offset, len; /* bytes: offset into the first page */
	const uint8_t *pfns;  /* in the packet, not aligned: gpa_range_pfn */
	uint32_t pages;
};
uint64_t gpa_range_pfn(const struct gpa_range *r, uint32_t i);
/* The first `cap` ranges of a packet that is whole in buf; returns how many there are, or -EPROTO when they
 * do not fit into the packet's head, or one is empty or begins behind its first page. */
int packet_ranges(const struct packet *p, const void *buf, struct gpa_range *r, size_t cap);

#endif
