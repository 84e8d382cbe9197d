/*
 * hypervisor/vsp/scsi_io.c - commands that move blocks: straight between the medium and the guest's memory.
 */
#include <string.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/scsi.h"

enum {
	PROTECT = 0xe0, /* RDPROTECT, WRPROTECT, VRPROTECT: no protection information here */
	FUA = 8,
	BYTCHK = 6,
	BYTCHK_SHIFT = 1,
	COMPARE = 4096, /* bytes at a time: a multiple of every block size */
};

uint32_t
scsi_block(const struct scsi_unit *u)
{
	if (u->type->block)
		return u->type->block;
	return u->medium ? u->medium->disk->logical : 512;
}

uint64_t
scsi_blocks(const struct scsi_unit *u)
{
	return u->medium ? u->medium->disk->size / scsi_block(u) : 0;
}

/* Where the operation code's group keeps the address and the number of blocks. */
static void
parse_extent(const uint8_t *cdb, uint64_t *lba, uint32_t *blocks)
{
	switch (cdb[0] >> 5) {
	case 0:
		*lba = get_be32(cdb) & 0x1fffff;
		*blocks = cdb[4] ? cdb[4] : 256;
		break;
	case 4:
		*lba = get_be64(cdb + 2);
		*blocks = get_be32(cdb + 10);
		break;
	case 5:
		*lba = get_be32(cdb + 2);
		*blocks = get_be32(cdb + 6);
		break;
	default:
		*lba = get_be32(cdb + 2);
		*blocks = get_be16(cdb + 7);
	}
}

bool
scsi_extent(struct scsi_cmd *c, uint64_t *lba, uint32_t *blocks)
{
	uint64_t all = scsi_blocks(c->unit);

	parse_extent(c->cdb, lba, blocks);
	if (c->cdb[0] >> 5 && (c->cdb[1] & PROTECT)) {
		scsi_fail_field(c, 1, 7);
		return false;
	}
	if (*lba > all || *blocks > all - *lba) {
		scsi_fail_at(c, SENSE_LBA_RANGE, *lba > all ? *lba : all);
		return false;
	}
	return true;
}

/* Cuts the guest's buffer to n bytes, of which it has at least as many. */
static void
trim(struct scsi_cmd *c, uint64_t n)
{
	unsigned i = 0;

	for (; n; i++) {
		if (c->iov[i].iov_len > n)
			c->iov[i].iov_len = n;
		n -= c->iov[i].iov_len;
	}
	c->iovs = i;
}

static void
read_done(struct scsi_cmd *c)
{
	c->moved = (uint32_t)c->io.len;
	c->unit->stats.reads++;
	c->unit->stats.read_bytes += c->io.len;
	scsi_good(c);
}

static void
write_done(struct scsi_cmd *c)
{
	c->moved = (uint32_t)c->io.len;
	c->unit->stats.writes++;
	c->unit->stats.written_bytes += c->io.len;
	scsi_good(c);
}

/* Moves the blocks that the CDB names, as far as the guest's buffer goes. */
static void
transfer(struct scsi_cmd *c, enum disk_op op, bool fua)
{
	uint32_t block = scsi_block(c->unit);
	uint32_t room = scsi_room(c, op == DISK_READ ? SCSI_IN : SCSI_OUT);
	uint64_t lba, bytes;
	uint32_t blocks;

	if (!scsi_extent(c, &lba, &blocks))
		return;
	bytes = (uint64_t)blocks * block;
	if (bytes > room) {
		bytes = room / block * block;
		c->overrun = true;
	}
	if (!bytes) {
		scsi_good(c);
		return;
	}
	if (bytes < c->len)
		trim(c, bytes);
	if (op == DISK_READ)
		c->touched = (uint32_t)bytes;
	c->io.op = op;
	c->io.fua = fua;
	c->io.offset = lba * block;
	c->io.len = bytes;
	c->io.iov = c->iov;
	c->io.iovs = c->iovs;
	scsi_begin(c, op == DISK_READ ? read_done : write_done);
}

void
scsi_read(struct scsi_cmd *c)
{
	transfer(c, DISK_READ, false);
}

void
scsi_write(struct scsi_cmd *c)
{
	bool fua = c->cdb[0] >> 5 && (c->cdb[1] & FUA);

	transfer(c, DISK_WRITE, fua || c->unit->write_through);
}

void
scsi_write_verify(struct scsi_cmd *c)
{
	if ((unsigned)(c->cdb[1] & BYTCHK) >> BYTCHK_SHIFT > 1)
		scsi_fail_field(c, 1, 2);
	else
		transfer(c, DISK_WRITE, true); /* what is stable has been verified */
}

static void
flush_done(struct scsi_cmd *c)
{
	c->unit->stats.flushes++;
	scsi_good(c);
}

void
scsi_synchronize_all(struct scsi_cmd *c)
{
	c->io.op = DISK_FLUSH;
	c->io.fua = false;
	c->io.offset = c->io.len = 0;
	c->io.iov = NULL;
	c->io.iovs = 0;
	scsi_begin(c, flush_done);
}

/* All of the medium, whatever part the guest asks for, and never before it is done (IMMED). */
void
scsi_synchronize(struct scsi_cmd *c)
{
	uint64_t lba;
	uint32_t blocks;

	if (scsi_extent(c, &lba, &blocks))
		scsi_synchronize_all(c);
}

/* --- VERIFY: the guest's data against the medium, piece by piece --- */

struct compare {
	struct iovec iov;
	uint8_t medium[COMPARE];
};
_Static_assert(sizeof(struct compare) <= SCSI_SCRATCH, "scratch memory is too small");

static void compare_next(struct scsi_cmd *c);

static void
compare_done(struct scsi_cmd *c)
{
	struct compare *w = c->scratch;
	uint8_t guest[COMPARE];
	uint32_t n = (uint32_t)c->io.len;

	if (!scsi_take(c, c->index, guest, n) || memcmp(guest, w->medium, n) != 0) {
		scsi_fail(c, SENSE_MISCOMPARE);
		return;
	}
	c->index += n;
	c->at += n;
	compare_next(c);
}

static void
compare_next(struct scsi_cmd *c)
{
	struct compare *w = c->scratch;
	uint64_t left = c->end - c->at;

	if (!left) {
		c->moved = c->index;
		scsi_good(c);
		return;
	}
	c->io.op = DISK_READ;
	c->io.fua = false;
	c->io.offset = c->at;
	c->io.len = left < COMPARE ? left : COMPARE;
	w->iov = (struct iovec){ w->medium, c->io.len };
	c->io.iov = &w->iov;
	c->io.iovs = 1;
	scsi_begin(c, compare_done);
}

void
scsi_verify(struct scsi_cmd *c)
{
	uint32_t block = scsi_block(c->unit), room = scsi_room(c, SCSI_OUT);
	unsigned check = (unsigned)(c->cdb[1] & BYTCHK) >> BYTCHK_SHIFT;
	uint64_t lba, bytes;
	uint32_t blocks;

	if (check > 1) {
		scsi_fail_field(c, 1, 2);
		return;
	}
	if (!scsi_extent(c, &lba, &blocks))
		return;
	bytes = (uint64_t)blocks * block;
	if (!check || !bytes) { /* that the medium can be read is the host's care */
		scsi_good(c);
		return;
	}
	if (bytes > room) {
		bytes = room / block * block;
		c->overrun = true;
	}
	c->at = lba * block;
	c->end = c->at + bytes;
	c->index = 0;
	if (c->unit->host->scratch(c->unit->host->ctx, c))
		compare_next(c);
	else
		scsi_busy(c);
}
