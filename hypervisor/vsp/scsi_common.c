/*
 * hypervisor/vsp/scsi_common.c - commands that every kind of unit answers: who it is, what it can, how it is.
 */
#include <string.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/scsi.h"

enum {
	INQUIRY_LEN = 36,
	EVPD = 1,
	SPC_3 = 5,
	PAGE_SUPPORTED = 0x00,
	PAGE_SERIAL = 0x80,
	PAGE_IDENTIFICATION = 0x83,
	VPD_MAX = 256,
};

static const uint8_t vendor[8] = { 'M', 's', 'f', 't', ' ', ' ', ' ', ' ' };
static const uint8_t revision[4] = { '1', '.', '0', ' ' };

/* --- INQUIRY --- */

static void
inquire(struct scsi_cmd *c, uint32_t allocated)
{
	const struct scsi_type *t = c->unit->type;
	uint8_t d[INQUIRY_LEN] = { t->device_type, t->removable ? 0x80 : 0, SPC_3, 2, INQUIRY_LEN - 5 };

	d[7] = 2; /* CMDQUE */
	memcpy(d + 8, vendor, sizeof(vendor));
	memcpy(d + 16, t->product, 16);
	memcpy(d + 32, revision, sizeof(revision));
	scsi_reply(c, d, sizeof(d), allocated);
}

static unsigned
vpd_serial(const struct scsi_unit *u, uint8_t *p)
{
	size_t n = strlen(u->config.serial);

	memcpy(p, u->config.serial, n);
	return (unsigned)n;
}

/* NAA 6 and, for those who do not know it, vendor and serial number. */
static unsigned
vpd_identification(const struct scsi_unit *u, uint8_t *p)
{
	size_t serial = strlen(u->config.serial);

	memcpy(p, (const uint8_t[]){ 1, 3, 0, 16 }, 4); /* binary, NAA, of the unit */
	memcpy(p + 4, u->config.wwn, 16);
	memcpy(p + 20, (const uint8_t[]){ 2, 1, 0, (uint8_t)(8 + serial) }, 4); /* ASCII, T10 */
	memcpy(p + 24, vendor, sizeof(vendor));
	memcpy(p + 32, u->config.serial, serial);
	return (unsigned)(32 + serial);
}

static bool
has_vpd(const struct scsi_type *t, uint8_t page)
{
	return memchr(t->vpd_pages, page, t->n_vpd_pages) != NULL;
}

static unsigned
vpd_data(const struct scsi_unit *u, uint8_t page, uint8_t *p)
{
	const struct scsi_type *t = u->type;

	switch (page) {
	case PAGE_SUPPORTED:
		memcpy(p, t->vpd_pages, t->n_vpd_pages);
		return t->n_vpd_pages;
	case PAGE_SERIAL:
		return vpd_serial(u, p);
	case PAGE_IDENTIFICATION:
		return vpd_identification(u, p);
	default:
		return t->vpd(u, page, p);
	}
}

void
scsi_inquiry(struct scsi_cmd *c)
{
	uint32_t allocated = get_be16(c->cdb + 3);
	uint8_t page = c->cdb[2], d[VPD_MAX] = { 0 };
	unsigned n;

	if (c->cdb[1] & ~EVPD) {
		scsi_fail_field(c, 1, 31u - (unsigned)__builtin_clz(c->cdb[1]));
		return;
	}
	if (!(c->cdb[1] & EVPD)) {
		if (page)
			scsi_fail_field(c, 2, 7);
		else
			inquire(c, allocated);
		return;
	}
	if (!has_vpd(c->unit->type, page)) {
		scsi_fail_field(c, 2, 7);
		return;
	}
	d[0] = c->unit->type->device_type;
	d[1] = page;
	n = vpd_data(c->unit, page, d + 4);
	put_be16(d + 2, (uint16_t)n);
	scsi_reply(c, d, n + 4, allocated);
}

/* --- How it is --- */

void
scsi_test_ready(struct scsi_cmd *c)
{
	scsi_good(c); /* what could be said against it has been said before */
}

static enum scsi_sense
pending_sense(struct scsi_unit *u)
{
	enum scsi_sense s = (enum scsi_sense)u->sense;

	u->sense = SENSE_NONE;
	if (s == SENSE_NONE)
		s = scsi_take_attention(u);
	if (s == SENSE_NONE && u->type->removable && !u->medium)
		s = u->tray_open ? SENSE_NO_MEDIUM_TRAY_OPEN : SENSE_NO_MEDIUM;
	return s;
}

void
scsi_request_sense(struct scsi_cmd *c)
{
	uint8_t d[SCSI_SENSE] = { 0x70, [7] = SCSI_SENSE - 8 };
	enum scsi_sense s;

	if (c->cdb[1] & 1) { /* DESC: descriptors are not spoken here */
		scsi_fail_field(c, 1, 0);
		return;
	}
	s = pending_sense(c->unit);
	d[2] = (uint8_t)(s >> 16);
	d[12] = (uint8_t)(s >> 8);
	d[13] = (uint8_t)s;
	scsi_reply(c, d, sizeof(d), c->cdb[4]);
}

void
scsi_nothing(struct scsi_cmd *c)
{
	scsi_good(c);
}

void
scsi_read_capacity10(struct scsi_cmd *c)
{
	uint64_t blocks = scsi_blocks(c->unit), last = blocks ? blocks - 1 : 0;
	uint8_t d[8];

	if (get_be32(c->cdb + 2)) { /* obsolete: PMI and its address */
		scsi_fail_field(c, 2, 7);
		return;
	}
	put_be32(d, last > UINT32_MAX ? UINT32_MAX : (uint32_t)last); /* then READ CAPACITY(16) tells */
	put_be32(d + 4, scsi_block(c->unit));
	scsi_reply(c, d, sizeof(d), sizeof(d));
}

/* --- REPORT SUPPORTED OPERATION CODES (SPC-5, 6.38) --- */

enum {
	REPORT_ALL = 0,
	REPORT_OPCODE = 1,
	REPORT_ACTION = 2,
	REPORT_EITHER = 3,
	RCTD = 0x80,
	SUPPORTED = 3,
	NOT_SUPPORTED = 1,
	ROWS_MAX = 80,
};

static void
report_all(struct scsi_cmd *c, uint32_t allocated)
{
	uint8_t d[4 + ROWS_MAX * 8] = { 0 };
	uint32_t n = 4;

	for (const struct scsi_row *r = c->unit->type->rows; r->run && n + 8 <= sizeof(d); r++, n += 8) {
		d[n] = r->opcode;
		if (r->action != NO_ACTION) {
			d[n + 3] = r->action;
			d[n + 5] = 1; /* SERVACTV */
		}
		d[n + 7] = r->len;
	}
	put_be32(d, n - 4);
	scsi_reply(c, d, n, allocated);
}

static void
report_one(struct scsi_cmd *c, const struct scsi_row *r, uint32_t allocated)
{
	uint8_t d[4 + SCSI_CDB] = { 0, NOT_SUPPORTED };

	if (!r) {
		scsi_reply(c, d, 4, allocated);
		return;
	}
	d[1] = SUPPORTED;
	put_be16(d + 2, r->len);
	d[4] = r->opcode;
	memcpy(d + 5, r->usage, r->len - 1u);
	if (r->action != NO_ACTION)
		d[5] |= r->action;
	scsi_reply(c, d, 4u + r->len, allocated);
}

void
scsi_report_opcodes(struct scsi_cmd *c)
{
	uint32_t allocated = get_be32(c->cdb + 6);
	uint8_t how = c->cdb[2] & 7, opcode = c->cdb[3];
	uint16_t action = get_be16(c->cdb + 4);
	const struct scsi_row *one = NULL;
	bool has_actions = false;

	if (c->cdb[2] & RCTD || how > REPORT_EITHER) {
		scsi_fail_field(c, 2, c->cdb[2] & RCTD ? 7 : 2);
		return;
	}
	if (how == REPORT_ALL) {
		report_all(c, allocated);
		return;
	}
	for (const struct scsi_row *r = c->unit->type->rows; r->run; r++) {
		if (r->opcode != opcode)
			continue;
		has_actions = has_actions || r->action != NO_ACTION;
		if (r->action == NO_ACTION ? how != REPORT_EITHER || !action : r->action == action)
			one = r;
	}
	if ((how == REPORT_OPCODE && has_actions) || (how == REPORT_ACTION && one && !has_actions))
		scsi_fail_field(c, how == REPORT_OPCODE ? 2 : 4, how == REPORT_OPCODE ? 2 : 7);
	else
		report_one(c, one, allocated);
}
