/*
 * hypervisor/vsp/scsi_disk.c - a disk: its commands, pages and limits (SPC-5, SBC-4).
 */
#include "hypervisor/vsp/scsi_disk.h"

#include <string.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/scsi.h"

/* --- Vital product data --- */

enum {
	PAGE_LIMITS = 0xb0,
	PAGE_CHARACTERISTICS = 0xb1,
	PAGE_THIN = 0xb2,
	LBPU = 0x80,
	LBPWS = 0x40,
	LBPWS10 = 0x20,
	LBPRZ = 4,
	THIN = 2,
	NON_ROTATING = 1,
};

static unsigned
vpd_limits(const struct scsi_unit *u, uint8_t *p)
{
	const struct disk *d = u->medium->disk;

	p[0] = 1; /* WSNZ */
	put_be16(p + 2, (uint16_t)(d->physical / d->logical));
	put_be32(p + 4, SCSI_MAX_TRANSFER / d->logical);
	put_be64(p + 32, DISK_MAX_SAME / d->logical);
	if (scsi_can_discard(u)) {
		put_be32(p + 16, (uint32_t)(DISK_MAX_UNMAP / d->logical));
		put_be32(p + 20, DISK_MAX_DESCRIPTORS);
		put_be32(p + 24, d->discard_granularity / d->logical);
		p[28] = 0x80; /* UGAVALID: granules begin at block 0 */
	}
	return 60;
}

static unsigned
vpd_thin(const struct scsi_unit *u, uint8_t *p)
{
	if (scsi_can_discard(u)) {
		p[1] = (uint8_t)(LBPU | LBPWS | LBPWS10 | (scsi_discard_zeroes(u) ? LBPRZ : 0));
		p[2] = THIN;
	}
	return 4;
}

static unsigned
disk_vpd(const struct scsi_unit *u, uint8_t page, uint8_t *p)
{
	switch (page) {
	case PAGE_LIMITS:
		return vpd_limits(u, p);
	case PAGE_CHARACTERISTICS:
		put_be16(p, NON_ROTATING);
		return 60;
	case PAGE_THIN:
		return vpd_thin(u, p);
	default:
		return 0;
	}
}

/* --- Mode pages --- */

enum { PAGE_CACHING = 0x08, PAGE_CONTROL = 0x0a, WCE = 4 };

static void
caching(const struct scsi_unit *u, uint8_t *p)
{
	p[2] = u->write_through ? 0 : WCE;
}

static void
select_caching(struct scsi_unit *u, const uint8_t *p)
{
	u->write_through = !(p[2] & WCE);
}

static void
control(const struct scsi_unit *u, uint8_t *p)
{
	(void)u;
	p[3] = 0x10;             /* commands may be reordered */
	put_be16(p + 8, 0xffff); /* a busy time-out that is not limited */
}

static const uint8_t caching_changeable[20] = { [2] = WCE };
static const uint8_t control_changeable[12];

static const struct scsi_page disk_pages[] = {
	{ PAGE_CACHING, sizeof(caching_changeable), caching, caching_changeable, select_caching },
	{ PAGE_CONTROL, sizeof(control_changeable), control, control_changeable, NULL },
};

/* --- Capacity --- */

static unsigned
exponent(uint32_t n)
{
	return n ? 31u - (unsigned)__builtin_clz(n) : 0;
}

static void
read_capacity16(struct scsi_cmd *c)
{
	const struct disk *d = c->medium->disk;
	uint64_t blocks = scsi_blocks(c->unit);
	uint8_t data[32] = { 0 };

	if (get_be64(c->cdb + 2)) { /* obsolete: PMI and its address */
		scsi_fail_field(c, 2, 7);
		return;
	}
	put_be64(data, blocks ? blocks - 1 : 0);
	put_be32(data + 8, d->logical);
	data[13] = (uint8_t)exponent(d->physical / d->logical);
	if (scsi_can_discard(c->unit))
		data[14] = (uint8_t)(0x80 | (scsi_discard_zeroes(c->unit) ? 0x40 : 0)); /* LBPME, LBPRZ */
	scsi_reply(c, data, sizeof(data), get_be32(c->cdb + 10));
}

static void
start_stop(struct scsi_cmd *c)
{
	if (c->cdb[4] & 2) /* LOEJ: nothing to eject */
		scsi_fail_field(c, 4, 1);
	else if (c->cdb[4] & 1)
		scsi_good(c);
	else
		scsi_synchronize_all(c); /* a disk that stops has nothing left to write */
}

static const struct scsi_row disk_rows[] = {
	{ 0x28, NO_ACTION, 10, ROW_MEDIUM, scsi_read, "\xf8\xff\xff\xff\xff\x3f\xff\xff\x00" },
	{ 0x2a, NO_ACTION, 10, ROW_WRITES, scsi_write, "\xf8\xff\xff\xff\xff\x3f\xff\xff\x00" },
	{ 0x88, NO_ACTION, 16, ROW_MEDIUM, scsi_read,
	    "\xf8\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00" },
	{ 0x8a, NO_ACTION, 16, ROW_WRITES, scsi_write,
	    "\xf8\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00" },
	{ 0x35, NO_ACTION, 10, ROW_MEDIUM, scsi_synchronize, "\x02\xff\xff\xff\xff\x3f\xff\xff\x00" },
	{ 0x91, NO_ACTION, 16, ROW_MEDIUM, scsi_synchronize,
	    "\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00" },
	{ 0x42, NO_ACTION, 10, ROW_WRITES, scsi_unmap, "\x01\x00\x00\x00\x00\x3f\xff\xff\x00" },
	{ 0x00, NO_ACTION, 6, ROW_MEDIUM, scsi_test_ready, "\x00\x00\x00\x00\x00" },
	{ 0x03, NO_ACTION, 6, ROW_ATTENTION, scsi_request_sense, "\x01\x00\x00\xff\x00" },
	{ 0x04, NO_ACTION, 6, ROW_WRITES, scsi_nothing, "\x00\x00\x00\x00\x00" },
	{ 0x08, NO_ACTION, 6, ROW_MEDIUM, scsi_read, "\x1f\xff\xff\xff\x00" },
	{ 0x0a, NO_ACTION, 6, ROW_WRITES, scsi_write, "\x1f\xff\xff\xff\x00" },
	{ 0x12, NO_ACTION, 6, ROW_ATTENTION, scsi_inquiry, "\x01\xff\xff\xff\x00" },
	{ 0x15, NO_ACTION, 6, 0, scsi_mode_select, "\x11\x00\x00\xff\x00" },
	{ 0x16, NO_ACTION, 6, 0, scsi_nothing, "\x00\x00\x00\x00\x00" },
	{ 0x17, NO_ACTION, 6, 0, scsi_nothing, "\x00\x00\x00\x00\x00" },
	{ 0x1a, NO_ACTION, 6, 0, scsi_mode_sense, "\x08\xff\xff\xff\x00" },
	{ 0x1b, NO_ACTION, 6, ROW_MEDIUM, start_stop, "\x01\x00\x00\x03\x00" },
	{ 0x1d, NO_ACTION, 6, 0, scsi_nothing, "\xff\x00\xff\xff\x00" },
	{ 0x1e, NO_ACTION, 6, 0, scsi_nothing, "\x00\x00\x00\x03\x00" },
	{ 0x25, NO_ACTION, 10, ROW_MEDIUM, scsi_read_capacity10, "\x00\xff\xff\xff\xff\x00\x00\x01\x00" },
	{ 0x2e, NO_ACTION, 10, ROW_WRITES, scsi_write_verify, "\xf6\xff\xff\xff\xff\x3f\xff\xff\x00" },
	{ 0x2f, NO_ACTION, 10, ROW_MEDIUM, scsi_verify, "\xf6\xff\xff\xff\xff\x3f\xff\xff\x00" },
	{ 0x41, NO_ACTION, 10, ROW_WRITES, scsi_write_same, "\xf8\xff\xff\xff\xff\x3f\xff\xff\x00" },
	{ 0x55, NO_ACTION, 10, 0, scsi_mode_select, "\x11\x00\x00\x00\x00\x00\xff\xff\x00" },
	{ 0x56, NO_ACTION, 10, 0, scsi_nothing, "\x00\x00\x00\x00\x00\x00\x00\x00\x00" },
	{ 0x57, NO_ACTION, 10, 0, scsi_nothing, "\x00\x00\x00\x00\x00\x00\x00\x00\x00" },
	{ 0x5a, NO_ACTION, 10, 0, scsi_mode_sense, "\x08\xff\xff\x00\x00\x00\xff\xff\x00" },
	{ 0x8e, NO_ACTION, 16, ROW_WRITES, scsi_write_verify,
	    "\xf6\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00" },
	{ 0x8f, NO_ACTION, 16, ROW_MEDIUM, scsi_verify,
	    "\xf6\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00" },
	{ 0x93, NO_ACTION, 16, ROW_WRITES, scsi_write_same,
	    "\xf9\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00" },
	{ 0x9e, 0x10, 16, ROW_MEDIUM, read_capacity16,
	    "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00" },
	{ 0xa3, 0x0c, 12, 0, scsi_report_opcodes, "\x00\x87\xff\xff\xff\xff\xff\xff\xff\x00\x00" },
	{ 0xa8, NO_ACTION, 12, ROW_MEDIUM, scsi_read, "\xf8\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00" },
	{ 0xaa, NO_ACTION, 12, ROW_WRITES, scsi_write, "\xf8\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00" },
	{ 0xae, NO_ACTION, 12, ROW_WRITES, scsi_write_verify,
	    "\xf6\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00" },
	{ 0xaf, NO_ACTION, 12, ROW_MEDIUM, scsi_verify, "\xf6\xff\xff\xff\xff\xff\xff\xff\xff\x3f\x00" },
	{ 0 },
};

static const uint8_t disk_vpd_pages[] = { 0x00, 0x80, 0x83, PAGE_LIMITS, PAGE_CHARACTERISTICS, PAGE_THIN };

const struct scsi_type scsi_disk_type = {
	.rows = disk_rows,
	.pages = disk_pages,
	.n_pages = sizeof(disk_pages) / sizeof(disk_pages[0]),
	.product = "Virtual Disk    ",
	.device_type = 0,
	.vpd = disk_vpd,
	.vpd_pages = disk_vpd_pages,
	.n_vpd_pages = sizeof(disk_vpd_pages),
};
