/*
 * tests/unit/fake_vstor.h - what a guest's storage driver puts into packets, for any channel that it has
 * open.
 */
#ifndef TESTS_UNIT_FAKE_VSTOR_H
#define TESTS_UNIT_FAKE_VSTOR_H

#include "hypervisor/vsp/bytes.h"
#include "tests/unit/fake_vmbus.h"

enum { VSTOR_LEN = 64 };

struct fake_srb {
	uint8_t cdb[16];
	uint8_t cdb_len, dir, path, target, lun;
	uint32_t len;
};

static inline void
fake_srb_packet(uint8_t p[VSTOR_LEN], const struct fake_srb *b)
{
	memset(p, 0, VSTOR_LEN);
	put_le32(p, 3);
	put_le32(p + 4, 1);
	put_le16(p + 12, 52);
	p[17] = b->path;
	p[18] = b->target;
	p[19] = b->lun;
	p[20] = b->cdb_len;
	p[21] = 20;
	p[22] = b->dir;
	put_le32(p + 24, b->len);
	memcpy(p + 28, b->cdb, 16);
}

/* Sends an operation in-band. */
static inline bool
fake_vstor_send_on(struct fake_channel *c, uint64_t transaction, const uint8_t *p, size_t len)
{
	return fake_send(c, PACKET_INBAND, PACKET_WANTS_REPLY, transaction, NULL, 0, p, len);
}

/* Sends an SRB with `len` bytes of guest memory at `gpa`, whole pages one after the other. */
static inline bool
fake_srb_send_on(struct fake_channel *c, uint64_t transaction, const struct fake_srb *b, uint64_t gpa)
{
	uint8_t p[VSTOR_LEN], ext[16 + 8 * 300] = { 0 };
	uint32_t pages = (uint32_t)((gpa % GMEM_PAGE + b->len + GMEM_PAGE - 1) / GMEM_PAGE);

	fake_srb_packet(p, b);
	if (b->len == 0 || b->dir == 2)
		return fake_vstor_send_on(c, transaction, p, sizeof(p));
	put_le32(ext + 4, 1);
	put_le32(ext + 8, b->len);
	put_le32(ext + 12, (uint32_t)(gpa % GMEM_PAGE));
	for (uint32_t n = 0; n < pages; n++) {
		uint64_t pfn = gpa / GMEM_PAGE + n;

		memcpy(ext + 16 + 8 * n, &pfn, 8);
	}
	return fake_send(
	    c, PACKET_GPA_DIRECT, PACKET_WANTS_REPLY, transaction, ext, 16 + 8 * (size_t)pages, p, sizeof(p));
}

#endif
