/*
 * hypervisor/vsp/scsi_mode.c - MODE SENSE and MODE SELECT of 6 and 10 bytes (SPC-5, 6.14 and 7.5), for any
 * unit's table of pages.
 */
#include <string.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/scsi.h"

enum {
	OP_SELECT6 = 0x15,
	OP_SENSE6 = 0x1a,
	DBD = 8, /* no block descriptor */
	SP = 1,
	PAGE_MASK = 0x3f,
	PAGE_SPF = 0x40,
	ALL_PAGES = 0x3f,
	ALL_SUBPAGES = 0xff,
	CURRENT = 0,
	CHANGEABLE = 1,
	SAVED = 3,
	WRITE_PROTECT = 0x80,
	DPO_FUA = 0x10,
	DESCRIPTOR = 8,
	MODE_MAX = 256,
	PAGE_MAX = 64,
};

static uint8_t
specific(const struct scsi_unit *u)
{
	if (u->type->removable)
		return 0; /* CD and DVD: reserved */
	return (uint8_t)(DPO_FUA | (u->medium && u->medium->disk->read_only ? WRITE_PROTECT : 0));
}

/* The page with its head: how many bytes. */
static unsigned
put_page(const struct scsi_unit *u, const struct scsi_page *page, unsigned control, uint8_t *p)
{
	if (control == CHANGEABLE)
		memcpy(p, page->changeable, page->len);
	else
		page->current(u, p);
	p[0] = page->page;
	p[1] = (uint8_t)(page->len - 2);
	return page->len;
}

static unsigned
put_pages(const struct scsi_cmd *c, uint8_t *p)
{
	const struct scsi_unit *u = c->unit;
	uint8_t wanted = c->cdb[2] & PAGE_MASK, subpage = c->cdb[3];
	unsigned n = 0;

	if (subpage && subpage != ALL_SUBPAGES)
		return 0;
	for (unsigned i = 0; i < u->type->n_pages; i++)
		if (wanted == ALL_PAGES || wanted == u->type->pages[i].page)
			n += put_page(u, &u->type->pages[i], c->cdb[2] >> 6, p + n);
	return n;
}

static unsigned
put_descriptor(const struct scsi_unit *u, uint8_t *p)
{
	uint64_t blocks = scsi_blocks(u);

	put_be32(p, blocks > UINT32_MAX ? UINT32_MAX : (uint32_t)blocks);
	put_be32(p + 4, scsi_block(u)); /* the byte above its three is reserved */
	return DESCRIPTOR;
}

void
scsi_mode_sense(struct scsi_cmd *c)
{
	bool six = c->cdb[0] == OP_SENSE6;
	unsigned head = six ? 4 : 8, n = head, pages;
	bool descriptor = !(c->cdb[1] & DBD) && !c->unit->type->removable;
	uint8_t d[MODE_MAX] = { 0 };

	if (c->cdb[2] >> 6 == SAVED) {
		scsi_fail(c, SENSE_NO_SAVED_PAGES);
		return;
	}
	if (descriptor)
		n += put_descriptor(c->unit, d + n);
	pages = put_pages(c, d + n);
	if (!pages) {
		scsi_fail_field(c, c->cdb[3] && c->cdb[3] != ALL_SUBPAGES ? 3 : 2, 5);
		return;
	}
	n += pages;
	if (six) {
		d[0] = (uint8_t)(n - 1);
		d[2] = specific(c->unit);
		d[3] = descriptor ? DESCRIPTOR : 0;
		scsi_reply(c, d, n, c->cdb[4]);
	} else {
		put_be16(d, (uint16_t)(n - 2));
		d[3] = specific(c->unit);
		put_be16(d + 6, descriptor ? DESCRIPTOR : 0);
		scsi_reply(c, d, n, get_be16(c->cdb + 7));
	}
}

/* --- MODE SELECT --- */

static const struct scsi_page *
find_page(const struct scsi_type *t, uint8_t page)
{
	for (unsigned i = 0; i < t->n_pages; i++)
		if (t->pages[i].page == page)
			return &t->pages[i];
	return NULL;
}

/* The first byte of a page that is neither as it was nor may be changed; its length when all is well. */
static unsigned
bad_byte(const struct scsi_unit *u, const struct scsi_page *page, const uint8_t *p)
{
	uint8_t is[PAGE_MAX] = { 0 };

	page->current(u, is);
	for (unsigned i = 2; i < page->len; i++)
		if ((p[i] ^ is[i]) & ~page->changeable[i])
			return i;
	return page->len;
}

/* Goes through the pages from `at`; changes nothing unless `apply`. -1: all well, else where it is wrong. */
static int
walk_pages(struct scsi_unit *u, const uint8_t *d, unsigned at, unsigned n, bool apply)
{
	while (at < n) {
		const struct scsi_page *page = find_page(u->type, d[at] & PAGE_MASK);
		unsigned bad;

		if (!page || d[at] & PAGE_SPF)
			return (int)at;
		if (n - at < 2 || d[at + 1] != page->len - 2 || n - at < page->len)
			return (int)at + 1;
		bad = bad_byte(u, page, d + at);
		if (bad < page->len)
			return (int)(at + bad);
		if (apply && page->select)
			page->select(u, d + at);
		at += page->len;
	}
	return -1;
}

/* What stands before the pages: its length, or -1 when c has ended. */
static int
check_head(struct scsi_cmd *c, const uint8_t *d, unsigned n, bool six)
{
	unsigned head = six ? 4 : 8, descriptor;

	if (n < head) {
		scsi_fail(c, SENSE_LIST_LENGTH);
		return -1;
	}
	descriptor = six ? d[3] : get_be16(d + 6);
	if (descriptor && (descriptor != DESCRIPTOR || n < head + DESCRIPTOR)) {
		scsi_fail_list(c, six ? 3 : 6, 7);
		return -1;
	}
	if (descriptor && (get_be32(d + head + 4) & 0xffffff) != scsi_block(c->unit)) {
		scsi_fail_list(c, head + 5, 7); /* blocks keep their size */
		return -1;
	}
	return (int)(head + descriptor);
}

void
scsi_mode_select(struct scsi_cmd *c)
{
	bool six = c->cdb[0] == OP_SELECT6;
	unsigned n = six ? c->cdb[4] : get_be16(c->cdb + 7);
	uint8_t d[MODE_MAX];
	int at, bad;

	if (c->cdb[1] & SP) {
		scsi_fail_field(c, 1, 0);
		return;
	}
	if (!n) {
		scsi_good(c);
		return;
	}
	if (n > sizeof(d) || !scsi_take(c, 0, d, n)) {
		scsi_fail(c, SENSE_LIST_LENGTH);
		return;
	}
	at = check_head(c, d, n, six);
	if (at < 0)
		return;
	bad = walk_pages(c->unit, d, (unsigned)at, n, false);
	if (bad >= 0) {
		scsi_fail_list(c, (unsigned)bad, 7);
		return;
	}
	walk_pages(c->unit, d, (unsigned)at, n, true);
	c->moved = n;
	scsi_good(c);
}
