/*
 * hypervisor/vmbus/packet.c - address ranges in packets. Works on a copy of the packet, which nobody
 * rewrites.
 */
#include <errno.h>
#include <string.h>

#include "hypervisor/vmbus/ring.h"
#include "hypervisor/vmbus/wire.h"

uint64_t
gpa_range_pfn(const struct gpa_range *r, uint32_t i)
{
	uint64_t pfn;

	memcpy(&pfn, r->pfns + (size_t)i * sizeof(pfn), sizeof(pfn));
	return pfn;
}

/* One range from p, of which `left` bytes are there. Returns the bytes it takes, or 0 when it is none. */
static size_t
parse_range(const uint8_t *p, size_t left, struct gpa_range *r)
{
	size_t bytes;

	if (left < PACKET_RANGE_HEAD)
		return 0;
	memcpy(&r->len, p, sizeof(r->len));
	memcpy(&r->offset, p + sizeof(r->len), sizeof(r->offset));
	if (r->len == 0 || r->offset >= GMEM_PAGE)
		return 0;
	r->pfns = p + PACKET_RANGE_HEAD;
	r->pages = (uint32_t)(((uint64_t)r->offset + r->len + GMEM_PAGE - 1) / GMEM_PAGE);
	bytes = PACKET_RANGE_HEAD + (size_t)r->pages * sizeof(uint64_t);
	return bytes <= left ? bytes : 0;
}

int
packet_ranges(const struct packet *p, const void *buf, struct gpa_range *r, size_t cap)
{
	struct packet_ranges_head h;
	size_t at = sizeof(struct packet_head) + sizeof(h);
	const uint8_t *bytes = buf;

	if (p->offset < at)
		return -EPROTO;
	memcpy(&h, bytes + sizeof(struct packet_head), sizeof(h));
	/* Each takes at least 16 bytes of a head that has at most 2^19: the loop ends soon whatever count
	 * says. */
	for (uint32_t i = 0; i < h.count; i++) {
		struct gpa_range one;
		size_t n = parse_range(bytes + at, p->offset - at, &one);

		if (n == 0)
			return -EPROTO;
		if (i < cap)
			r[i] = one;
		at += n;
	}
	return (int)h.count;
}
