/*
 * hypervisor/vsp/scsi_thin.c - commands that fill or give up blocks without moving their content: WRITE SAME,
 * UNMAP.
 */
#include <string.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/scsi.h"
#include "hypervisor/vsp/scsi_disk.h"

enum {
	OP_WRITE_SAME16 = 0x93,
	SAME_ANCHOR = 0x10,
	SAME_UNMAP = 8,
	SAME_OBSOLETE = 6, /* PBDATA, LBDATA */
	SAME_NO_DATA = 1,  /* NDOB */
	UNMAP_ANCHOR = 1,
	UNMAP_HEAD = 8,
	UNMAP_DESCRIPTOR = 16,
	PATTERN = 4096, /* bytes: a multiple of every block size */
	PIECES = 255,   /* patterns in one write */
};

struct pattern {
	struct iovec iov[PIECES];
	uint8_t block[PATTERN];
};
_Static_assert(sizeof(struct pattern) <= SCSI_SCRATCH, "scratch memory is too small");

bool
scsi_can_discard(const struct scsi_unit *u)
{
	return u->medium->disk->can_discard || u->told_discard;
}

bool
scsi_discard_zeroes(const struct scsi_unit *u)
{
	return u->medium->disk->discard_zeroes || u->told_zeroes;
}

static void
thin_done(struct scsi_cmd *c)
{
	c->unit->stats.discards++;
	scsi_good(c);
}

static void
no_data(struct disk_io *io, enum disk_op op, bool fua)
{
	io->op = op;
	io->fua = fua;
	io->iov = NULL;
	io->iovs = 0;
}

/* The next piece of a WRITE SAME with a pattern. */
static void
pattern_next(struct scsi_cmd *c)
{
	struct pattern *p = c->scratch;
	uint64_t left = c->end - c->at, n = left < PIECES * PATTERN ? left : PIECES * PATTERN;
	unsigned pieces = 0;

	if (!left) {
		thin_done(c);
		return;
	}
	c->io.op = DISK_WRITE;
	c->io.fua = c->unit->write_through;
	c->io.offset = c->at;
	c->io.len = n;
	c->io.iov = p->iov;
	c->at += n;
	for (; n; pieces++) {
		size_t m = n < PATTERN ? n : PATTERN;

		p->iov[pieces] = (struct iovec){ p->block, m };
		n -= m;
	}
	c->io.iovs = pieces;
	scsi_begin(c, pattern_next);
}

static void
write_pattern(struct scsi_cmd *c, const uint8_t *block, uint32_t size)
{
	struct pattern *p;

	if (!c->unit->host->scratch(c->unit->host->ctx, c)) {
		scsi_busy(c);
		return;
	}
	p = c->scratch;
	for (uint32_t at = 0; at < PATTERN; at += size)
		memcpy(p->block + at, block, size);
	pattern_next(c);
}

static bool
is_zero(const uint8_t *p, uint32_t n)
{
	return p[0] == 0 && !memcmp(p, p + 1, n - 1);
}

static void
write_zeros(struct scsi_cmd *c)
{
	no_data(&c->io, DISK_ZERO, c->unit->write_through);
	c->io.unmap = c->unmap;
	c->io.offset = c->at;
	c->io.len = c->end - c->at;
	scsi_begin(c, thin_done);
}

/* The bits of byte 1, and the number of blocks: false, and c has ended, when they make no sense. */
static bool
same_fields(struct scsi_cmd *c, uint32_t blocks)
{
	bool wide = c->cdb[0] == OP_WRITE_SAME16;
	uint8_t no_data_bit = wide ? SAME_NO_DATA : 0;
	uint8_t bad = c->cdb[1] & (uint8_t)(SAME_ANCHOR | SAME_OBSOLETE | (SAME_NO_DATA & ~no_data_bit));

	if ((c->cdb[1] & SAME_UNMAP) && !scsi_can_discard(c->unit))
		bad |= SAME_UNMAP;
	if (bad) {
		scsi_fail_field(c, 1, 31u - (unsigned)__builtin_clz(bad));
		return false;
	}
	if (!blocks || blocks > DISK_MAX_SAME / scsi_block(c->unit)) {
		scsi_fail_field(c, wide ? 10 : 7, 7); /* WSNZ: none does not mean all */
		return false;
	}
	return true;
}

void
scsi_write_same(struct scsi_cmd *c)
{
	uint32_t size = scsi_block(c->unit), blocks;
	uint8_t block[PATTERN];
	uint64_t lba;

	if (!scsi_extent(c, &lba, &blocks) || !same_fields(c, blocks))
		return;
	c->at = lba * size;
	c->end = c->at + (uint64_t)blocks * size;
	c->unmap = (c->cdb[1] & SAME_UNMAP) != 0;
	if (c->cdb[0] == OP_WRITE_SAME16 && (c->cdb[1] & SAME_NO_DATA)) {
		write_zeros(c);
		return;
	}
	if (!scsi_take(c, 0, block, size)) {
		c->overrun = true;
		scsi_good(c);
		return;
	}
	c->moved = size;
	if (is_zero(block, size))
		write_zeros(c);
	else
		write_pattern(c, block, size);
}

/* --- UNMAP: its descriptors are copied one by one, checked, and done --- */

/* A disk that took another's place may do it in another way. */
static enum disk_op
give_up(const struct scsi_unit *u)
{
	return scsi_discard_zeroes(u) && !u->medium->disk->discard_zeroes ? DISK_ZERO : DISK_DISCARD;
}

static void
unmap_next(struct scsi_cmd *c)
{
	uint32_t block = scsi_block(c->unit), blocks;
	uint32_t at = UNMAP_HEAD + c->index * UNMAP_DESCRIPTOR;
	uint64_t lba, all = scsi_blocks(c->unit);
	uint8_t d[UNMAP_DESCRIPTOR];

	if (c->index == c->count) {
		thin_done(c);
		return;
	}
	if (!scsi_take(c, at, d, sizeof(d))) {
		scsi_fail(c, SENSE_LIST_LENGTH);
		return;
	}
	lba = get_be64(d);
	blocks = get_be32(d + 8);
	if (lba > all || blocks > all - lba) {
		scsi_fail_at(c, SENSE_LBA_RANGE, lba > all ? lba : all);
		return;
	}
	if (blocks > DISK_MAX_UNMAP / block) {
		scsi_fail_list(c, at + 8, 7);
		return;
	}
	c->index++;
	c->moved = at + UNMAP_DESCRIPTOR;
	no_data(&c->io, give_up(c->unit), false);
	c->io.unmap = true;
	c->io.offset = lba * block;
	c->io.len = (uint64_t)blocks * block;
	if (c->io.len && (c->io.op == DISK_ZERO || c->medium->disk->can_discard))
		scsi_begin(c, unmap_next);
	else
		unmap_next(c);
}

void
scsi_unmap(struct scsi_cmd *c)
{
	uint32_t len = get_be16(c->cdb + 7), descriptors;
	uint8_t head[UNMAP_HEAD];

	if (!scsi_can_discard(c->unit)) {
		scsi_fail(c, SENSE_OPCODE);
		return;
	}
	if (c->cdb[1] & UNMAP_ANCHOR) {
		scsi_fail_field(c, 1, 0);
		return;
	}
	if (!len) {
		scsi_good(c);
		return;
	}
	if (len < UNMAP_HEAD || !scsi_take(c, 0, head, sizeof(head))) {
		scsi_fail(c, SENSE_LIST_LENGTH);
		return;
	}
	descriptors = get_be16(head + 2);
	if (descriptors > len - UNMAP_HEAD)
		descriptors = len - UNMAP_HEAD;
	c->index = 0;
	c->count = descriptors / UNMAP_DESCRIPTOR;
	if (c->count > DISK_MAX_DESCRIPTORS)
		scsi_fail_list(c, 2, 7);
	else
		unmap_next(c);
}
