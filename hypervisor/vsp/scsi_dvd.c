/*
 * hypervisor/vsp/scsi_dvd.c - a DVD drive: a medium of one data track that comes and goes (MMC-6).
 */
#include <string.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/scsi.h"

enum {
	BLOCK = 2048,
	LEAD_OUT = 0xaa,
	DATA_TRACK = 0x14, /* ADR 1, data, copy prohibited */
	CD_BLOCKS = 80 * 60 * 75,
	FRAMES = 75,
	MSF_OFFSET = 150,
	PROFILE_CD = 0x08,
	PROFILE_DVD = 0x10,
	EVENT_NEW_MEDIUM = 2,
	EVENT_REMOVAL = 3,
	EVENT_EJECT = 1,
};

static uint32_t
blocks_of(const struct scsi_cmd *c)
{
	uint64_t n = scsi_blocks(c->unit);

	return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static uint16_t
profile(const struct scsi_unit *u)
{
	if (!u->medium)
		return 0;
	return scsi_blocks(u) > CD_BLOCKS ? PROFILE_DVD : PROFILE_CD;
}

static void
put_address(uint8_t *p, uint32_t lba, bool msf)
{
	if (!msf) {
		put_be32(p, lba);
		return;
	}
	lba += MSF_OFFSET;
	p[0] = 0;
	p[1] = (uint8_t)(lba / FRAMES / 60);
	p[2] = (uint8_t)(lba / FRAMES % 60);
	p[3] = (uint8_t)(lba % FRAMES);
}

/* --- READ TOC: one session, one track --- */

static void
toc_tracks(struct scsi_cmd *c, bool msf, uint32_t allocated)
{
	uint8_t d[20] = { 0, 0, 1, 1 }, *p = d + 4;
	uint8_t track = c->cdb[6];

	if (track > 1 && track != LEAD_OUT) {
		scsi_fail_field(c, 6, 7);
		return;
	}
	if (track <= 1) {
		p[1] = DATA_TRACK;
		p[2] = 1;
		put_address(p + 4, 0, msf);
		p += 8;
	}
	p[1] = DATA_TRACK;
	p[2] = LEAD_OUT;
	put_address(p + 4, blocks_of(c), msf);
	p += 8;
	put_be16(d, (uint16_t)(p - d - 2));
	scsi_reply(c, d, (uint32_t)(p - d), allocated);
}

static void
toc_sessions(struct scsi_cmd *c, bool msf, uint32_t allocated)
{
	uint8_t d[12] = { 0, 10, 1, 1, 0, DATA_TRACK, 1, 0 };

	put_address(d + 8, 0, msf);
	scsi_reply(c, d, sizeof(d), allocated);
}

static void
toc_raw(struct scsi_cmd *c, uint32_t allocated)
{
	static const uint8_t points[] = { 0xa0, 0xa1, 0xa2, 1 };
	uint8_t d[4 + sizeof(points) * 11] = { 0, sizeof(d) - 2, 1, 1 };

	for (unsigned i = 0; i < sizeof(points); i++) {
		uint8_t *p = d + 4 + i * 11, msf[4] = { 0, 1, 0, 0 }; /* A0, A1: the first, the last track */

		if (points[i] == 0xa2)
			put_address(msf, blocks_of(c), true);
		else if (points[i] == 1)
			put_address(msf, 0, true);
		p[0] = 1;
		p[1] = DATA_TRACK;
		p[3] = points[i];
		memcpy(p + 8, msf + 1, 3);
	}
	scsi_reply(c, d, sizeof(d), allocated);
}

static void
read_toc(struct scsi_cmd *c)
{
	bool msf = c->cdb[1] & 2;
	uint32_t allocated = get_be16(c->cdb + 7);
	uint8_t format = c->cdb[2] & 0xf;

	if (!format)
		format = c->cdb[9] >> 6; /* where ATAPI drives once had it */
	switch (format) {
	case 0:
		toc_tracks(c, msf, allocated);
		break;
	case 1:
		toc_sessions(c, msf, allocated);
		break;
	case 2:
		toc_raw(c, allocated);
		break;
	default:
		scsi_fail_field(c, 2, 3);
	}
}

/* --- The drive and what is in it --- */

static void
get_event(struct scsi_cmd *c)
{
	enum { POLLED = 1, MEDIA = 0x10, MEDIA_CLASS = 4, NO_EVENT = 0x80 };
	uint8_t d[8] = { 0, 2, NO_EVENT, MEDIA };
	struct scsi_unit *u = c->unit;

	if (!(c->cdb[1] & POLLED)) { /* events that come by themselves: not here */
		scsi_fail_field(c, 1, 0);
		return;
	}
	if (!(c->cdb[4] & MEDIA)) {
		scsi_reply(c, d, 4, get_be16(c->cdb + 7));
		return;
	}
	d[1] = 6;
	d[2] = MEDIA_CLASS;
	d[4] = u->media_event;
	d[5] = (uint8_t)((u->tray_open ? 1 : 0) | (u->medium ? 2 : 0));
	u->media_event = 0;
	scsi_reply(c, d, sizeof(d), get_be16(c->cdb + 7));
}

/* Features: code, version/persistent/current, length, data. */
static const struct feature {
	uint16_t code;
	uint8_t flags, len;
	uint8_t data[8];
	bool needs_medium; /* to be current */
} features[] = {
	{ 0x0000, 0x03, 8, { 0, PROFILE_DVD, 0, 0, 0, PROFILE_CD, 0, 0 }, false },
	{ 0x0001, 0x0b, 8, { 0, 0, 0, 1, 1, 0, 0, 0 }, false }, /* core: SCSI */
	{ 0x0002, 0x07, 4, { 2 }, false },                      /* morphing: events */
	{ 0x0003, 0x0b, 4, { 0x29 }, false },                   /* tray, locks, ejects */
	{ 0x0010, 0x00, 8, { 0, 0, 8, 0, 0, 1, 0, 0 }, true },  /* random reads of 2048 bytes */
	{ 0x001e, 0x08, 4, { 0 }, true },                       /* CD */
	{ 0x001f, 0x00, 4, { 0 }, true },                       /* DVD */
};

static uint8_t *
put_feature(const struct scsi_unit *u, const struct feature *f, uint8_t *p)
{
	uint16_t is = profile(u);

	put_be16(p, f->code);
	p[2] = f->flags;
	if (f->needs_medium && u->medium)
		p[2] |= 1;
	p[3] = f->len;
	memcpy(p + 4, f->data, f->len);
	if (f->code == 0) { /* which of the profiles is current */
		p[6] = is == PROFILE_DVD;
		p[10] = is == PROFILE_CD;
	}
	return p + 4 + f->len;
}

static void
get_configuration(struct scsi_cmd *c)
{
	enum { ALL, CURRENT, ONE };
	uint8_t d[8 + sizeof(features) / sizeof(features[0]) * 12] = { 0 }, *p = d + 8;
	uint8_t which = c->cdb[1] & 3;
	uint16_t from = get_be16(c->cdb + 2);

	if (which > ONE) {
		scsi_fail_field(c, 1, 1);
		return;
	}
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		const struct feature *f = &features[i];
		bool current = (f->flags & 1) || (f->needs_medium && c->unit->medium);

		if (which == ONE ? f->code == from : f->code >= from && (which == ALL || current))
			p = put_feature(c->unit, f, p);
	}
	put_be32(d, (uint32_t)(p - d - 4));
	put_be16(d + 6, profile(c->unit));
	scsi_reply(c, d, (uint32_t)(p - d), get_be16(c->cdb + 7));
}

static void
eject(struct scsi_cmd *c)
{
	struct scsi_unit *u = c->unit;

	if (u->locked) {
		scsi_fail(c, SENSE_REMOVAL_PREVENTED);
		return;
	}
	if (!u->tray_open)
		u->media_event = EVENT_REMOVAL;
	u->tray_open = true;
	if (u->medium) {
		scsi_set_medium(u, NULL);
		u->host->ejected(u->host->ctx, u);
	}
	scsi_good(c);
}

static void
start_stop(struct scsi_cmd *c)
{
	enum { START = 1, LOEJ = 2, POWER = 0xf0 };

	if ((c->cdb[4] & POWER) || !(c->cdb[4] & LOEJ)) {
		scsi_good(c); /* it neither sleeps nor spins */
		return;
	}
	if (!(c->cdb[4] & START)) {
		eject(c);
		return;
	}
	c->unit->tray_open = false;
	if (c->unit->medium)
		scsi_good(c);
	else
		scsi_fail(c, SENSE_NO_MEDIUM);
}

static void
prevent_allow(struct scsi_cmd *c)
{
	c->unit->locked = c->cdb[4] & 1;
	scsi_good(c);
}

static void
read_disc_information(struct scsi_cmd *c)
{
	uint8_t d[34] = { 0, sizeof(d) - 2, 0x0e, 1, 1, 1, 1, 0x20 }; /* complete, one session, one track */

	if (c->cdb[1] & 7) {
		scsi_fail_field(c, 1, 2);
		return;
	}
	memset(d + 16, 0xff, 8); /* no session can be added */
	scsi_reply(c, d, sizeof(d), get_be16(c->cdb + 7));
}

static void
read_track_information(struct scsi_cmd *c)
{
	uint8_t d[36] = { 0, sizeof(d) - 2, 1, 1, 0, 4, 1 };
	uint32_t n = get_be32(c->cdb + 2);
	uint8_t by = c->cdb[1] & 3;

	/* By address, track or session: there is one. */
	if (by == 3 || (by == 0 && n >= blocks_of(c)) || (by != 0 && n != 1)) {
		scsi_fail_field(c, by == 3 ? 1 : 2, by == 3 ? 1 : 7);
		return;
	}
	put_be32(d + 24, blocks_of(c));
	scsi_reply(c, d, sizeof(d), get_be16(c->cdb + 7));
}

/* Of a DVD-ROM with one layer; BLOCK bytes begin at 030000h. */
static uint32_t
physical_format(const struct scsi_cmd *c, uint8_t *p)
{
	p[0] = 1; /* DVD-ROM, version 1 */
	p[1] = 0x0f;
	p[2] = 1;
	put_be32(p + 4, 0x30000);
	put_be32(p + 8, 0x30000 + blocks_of(c) - 1);
	return BLOCK;
}

static void
read_structure(struct scsi_cmd *c)
{
	static const uint8_t formats[] = { 0x00, 0x40, 0, 20, 0x01, 0x40, 0, 8, 0xff, 0x40, 0, 16 };
	uint8_t d[4 + BLOCK] = { 0 };
	uint32_t n;

	if (c->cdb[1] & 0xf || c->cdb[6]) { /* other media, another layer */
		scsi_fail_field(c, c->cdb[6] ? 6 : 1, c->cdb[6] ? 7 : 3);
		return;
	}
	switch (c->cdb[7]) {
	case 0x00:
		n = physical_format(c, d + 4);
		break;
	case 0x01:
		n = 4; /* no copy protection, no regions */
		break;
	case 0xff:
		n = sizeof(formats);
		memcpy(d + 4, formats, n);
		put_be16(d + 6, BLOCK + 4);
		break;
	default:
		scsi_fail_field(c, 7, 7);
		return;
	}
	put_be16(d, (uint16_t)(n + 2));
	scsi_reply(c, d, n + 4, get_be16(c->cdb + 8));
}

static void
get_performance(struct scsi_cmd *c)
{
	enum { KB_PER_S = 22160 }; /* DVD 16x */
	uint8_t d[24] = { 0, 0, 0, sizeof(d) - 4 };

	if (c->cdb[10]) {
		scsi_fail_field(c, 10, 7);
		return;
	}
	put_be32(d + 12, KB_PER_S);
	put_be32(d + 16, blocks_of(c) ? blocks_of(c) - 1 : 0);
	put_be32(d + 20, KB_PER_S);
	scsi_reply(c, d, get_be16(c->cdb + 8) ? sizeof(d) : 8, sizeof(d));
}

static void
mechanism_status(struct scsi_cmd *c)
{
	uint8_t d[8] = { 0, (uint8_t)(c->unit->tray_open ? 0x10 : 0), [5] = 1 };

	scsi_reply(c, d, sizeof(d), get_be16(c->cdb + 8));
}

static void
read_buffer_capacity(struct scsi_cmd *c)
{
	uint8_t d[12] = { 0, sizeof(d) - 2 };

	if (c->cdb[1] & 1) { /* in blocks: for what is written */
		scsi_fail_field(c, 1, 0);
		return;
	}
	put_be32(d + 4, SCSI_MAX_TRANSFER);
	put_be32(d + 8, SCSI_MAX_TRANSFER);
	scsi_reply(c, d, sizeof(d), get_be16(c->cdb + 7));
}

/* --- Mode pages --- */

enum { PAGE_ERRORS = 0x01, PAGE_CAPABILITIES = 0x2a };

static void
errors(const struct scsi_unit *u, uint8_t *p)
{
	(void)u;
	p[3] = 5; /* retries */
}

static void
capabilities(const struct scsi_unit *u, uint8_t *p)
{
	p[2] = 0x3b;                                  /* reads CD-R, CD-RW, DVD-ROM, DVD-R */
	p[4] = 0x40;                                  /* several sessions */
	p[6] = (uint8_t)(0x29 | (u->locked ? 2 : 0)); /* tray; locks; ejects */
	put_be16(p + 8, 22160);
	put_be16(p + 12, SCSI_MAX_TRANSFER / 1024);
	put_be16(p + 14, 22160);
}

static const uint8_t errors_changeable[12] = { [2] = 0xff, [3] = 0xff };
static const uint8_t capabilities_changeable[22];

static const struct scsi_page dvd_pages[] = {
	{ PAGE_ERRORS, sizeof(errors_changeable), errors, errors_changeable, NULL }, /* taken, of no effect */
	{ PAGE_CAPABILITIES, sizeof(capabilities_changeable), capabilities, capabilities_changeable, NULL },
};

static unsigned
dvd_vpd(const struct scsi_unit *u, uint8_t page, uint8_t *p)
{
	(void)u, (void)page, (void)p;
	return 0;
}

static const struct scsi_row dvd_rows[] = {
	{ 0x28, NO_ACTION, 10, ROW_MEDIUM, scsi_read, "\x18\xff\xff\xff\xff\x00\xff\xff\x00" },
	{ 0xa8, NO_ACTION, 12, ROW_MEDIUM, scsi_read, "\x18\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00" },
	{ 0x88, NO_ACTION, 16, ROW_MEDIUM, scsi_read,
	    "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00" },
	{ 0x00, NO_ACTION, 6, ROW_MEDIUM, scsi_test_ready, "\x00\x00\x00\x00\x00" },
	{ 0x03, NO_ACTION, 6, ROW_ATTENTION, scsi_request_sense, "\x01\x00\x00\xff\x00" },
	{ 0x12, NO_ACTION, 6, ROW_ATTENTION, scsi_inquiry, "\x01\xff\xff\xff\x00" },
	{ 0x1a, NO_ACTION, 6, 0, scsi_mode_sense, "\x08\xff\xff\xff\x00" },
	{ 0x1b, NO_ACTION, 6, 0, start_stop, "\x01\x00\x00\xf3\x00" },
	{ 0x1e, NO_ACTION, 6, 0, prevent_allow, "\x00\x00\x00\x03\x00" },
	{ 0x25, NO_ACTION, 10, ROW_MEDIUM, scsi_read_capacity10, "\x00\xff\xff\xff\xff\x00\x00\x01\x00" },
	{ 0x35, NO_ACTION, 10, ROW_MEDIUM, scsi_nothing, "\x02\xff\xff\xff\xff\x00\xff\xff\x00" },
	{ 0x43, NO_ACTION, 10, ROW_MEDIUM, read_toc, "\x02\x0f\x00\x00\x00\xff\xff\xff\xc0" },
	{ 0x46, NO_ACTION, 10, ROW_ATTENTION, get_configuration, "\x03\xff\xff\x00\x00\x00\xff\xff\x00" },
	{ 0x4a, NO_ACTION, 10, ROW_ATTENTION, get_event, "\x01\x00\x00\xff\x00\x00\xff\xff\x00" },
	{ 0x51, NO_ACTION, 10, ROW_MEDIUM, read_disc_information, "\x07\x00\x00\x00\x00\x00\xff\xff\x00" },
	{ 0x52, NO_ACTION, 10, ROW_MEDIUM, read_track_information, "\x07\xff\xff\xff\xff\x00\xff\xff\x00" },
	{ 0x55, NO_ACTION, 10, 0, scsi_mode_select, "\x11\x00\x00\x00\x00\x00\xff\xff\x00" },
	{ 0x5a, NO_ACTION, 10, 0, scsi_mode_sense, "\x08\xff\xff\x00\x00\x00\xff\xff\x00" },
	{ 0x5c, NO_ACTION, 10, ROW_MEDIUM, read_buffer_capacity, "\x01\x00\x00\x00\x00\x00\xff\xff\x00" },
	{ 0xa3, 0x0c, 12, 0, scsi_report_opcodes, "\x00\x87\xff\xff\xff\xff\xff\xff\xff\x00\x00" },
	{ 0xac, NO_ACTION, 12, ROW_MEDIUM, get_performance, "\x1f\xff\xff\xff\xff\x00\x00\xff\xff\xff\x00" },
	{ 0xad, NO_ACTION, 12, ROW_MEDIUM, read_structure, "\x0f\xff\xff\xff\xff\xff\xff\xff\xff\xc0\x00" },
	{ 0xb6, NO_ACTION, 12, 0, scsi_nothing, "\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00" },
	{ 0xbb, NO_ACTION, 12, 0, scsi_nothing, "\x03\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00" },
	{ 0xbd, NO_ACTION, 12, ROW_ATTENTION, mechanism_status,
	    "\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00" },
	{ 0 },
};

static const uint8_t dvd_vpd_pages[] = { 0x00, 0x80, 0x83 };

const struct scsi_type scsi_dvd_type = {
	.rows = dvd_rows,
	.pages = dvd_pages,
	.n_pages = sizeof(dvd_pages) / sizeof(dvd_pages[0]),
	.product = "Virtual DVD-ROM ",
	.device_type = 5,
	.removable = true,
	.block = BLOCK,
	.vpd = dvd_vpd,
	.vpd_pages = dvd_vpd_pages,
	.n_vpd_pages = sizeof(dvd_vpd_pages),
};

/* --- What the host does with the tray --- */

bool
scsi_dvd_insert(struct scsi_unit *u, struct scsi_medium *m, bool force)
{
	if (u->locked && u->medium && !force) {
		u->media_event = EVENT_EJECT; /* the button was pressed: the guest may let go */
		return false;
	}
	u->media_event = m ? EVENT_NEW_MEDIUM : EVENT_REMOVAL;
	u->tray_open = false;
	u->locked = u->locked && !force;
	if (m)
		u->attention |= ATTENTION_MEDIUM;
	scsi_set_medium(u, m);
	return true;
}
