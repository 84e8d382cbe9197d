/*
 * hypervisor/vsp/storage_protocol.c - the storage protocol (vstor): which operation is right when, and what
 * it is answered.
 *
 * Everything runs on the I/O thread. A packet has been copied out of the ring; its fields are the guest's.
 */
#include <string.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/storage_private.h"

enum {
	OP_COMPLETE_IO = 1,
	OP_EXECUTE_SRB = 3,
	OP_RESET_LUN = 4,
	OP_RESET_ADAPTER = 5,
	OP_RESET_BUS = 6,
	OP_BEGIN = 7,
	OP_END = 8,
	OP_QUERY_VERSION = 9,
	OP_QUERY_PROPERTIES = 10,
	OP_ENUMERATE_BUS = 11,
	OP_CREATE_SUBCHANNELS = 13,

	/* Where things are in a packet. */
	AT_OP = 0,
	AT_STATUS = 8,
	AT_PAYLOAD = 12,
	AT_SRB_STATUS = 14,
	AT_SCSI_STATUS = 15,
	AT_PATH = 17,
	AT_TARGET = 18,
	AT_LUN = 19,
	AT_CDB_LEN = 20,
	AT_SENSE_LEN = 21,
	AT_DIRECTION = 22,
	AT_TRANSFER = 24,
	AT_CDB = 28, /* and the sense data of the answer */
	SENSE_ROOM = 20,

	SRB_SUCCESS = 0x01,
	SRB_ERROR = 0x04,
	SRB_BUSY = 0x05,
	SRB_INVALID_REQUEST = 0x06,
	SRB_DATA_OVERRUN = 0x12,
	SRB_INVALID_LUN = 0x20,
	SRB_AUTOSENSE = 0x80,

	MULTI_CHANNEL = 1,
	CDB_REPORT_LUNS = 0xa0,
	CDB_INQUIRY = 0x12,
};

/* NTSTATUS */
#define STATUS_OK                UINT32_C(0)
#define STATUS_INVALID_PARAMETER UINT32_C(0xc000000d)
#define STATUS_REVISION_MISMATCH UINT32_C(0xc0000059)
#define STATUS_INVALID_STATE     UINT32_C(0xc0000184)

static void
answer(struct request *r, uint32_t status)
{
	put_le32(r->packet + AT_OP, OP_COMPLETE_IO);
	put_le32(r->packet + AT_STATUS, status);
	request_answer(r);
}

static void
refuse(struct request *r, uint32_t status)
{
	if (get_le32(r->packet + AT_OP) == OP_EXECUTE_SRB) {
		r->packet[AT_SRB_STATUS] = SRB_INVALID_REQUEST;
		r->packet[AT_SCSI_STATUS] = 0;
		put_le32(r->packet + AT_TRANSFER, 0);
	}
	answer(r, status);
}

void
protocol_refuse(struct request *r)
{
	refuse(r, STATUS_INVALID_PARAMETER);
}

/* --- The handshake --- */

static void
begin(struct request *r)
{
	r->ch->s->state = PROTOCOL_VERSION;
	answer(r, STATUS_OK);
}

bool
protocol_has_version(unsigned version)
{
	static const uint16_t versions[] = { 0x602, 0x600, 0x501, 0x402, 0x200 };

	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		if (version == versions[i])
			return true;
	return false;
}

static void
query_version(struct request *r)
{
	struct storage *s = r->ch->s;
	uint16_t version = get_le16(r->packet + AT_PAYLOAD);

	if (!protocol_has_version(version)) {
		answer(r, STATUS_REVISION_MISMATCH);
		return;
	}
	s->state = PROTOCOL_PROPERTIES;
	atomic_store_explicit(&s->version, version, memory_order_relaxed);
	answer(r, STATUS_OK);
}

static void
query_properties(struct request *r)
{
	struct storage *s = r->ch->s;
	uint8_t *p = r->packet + AT_PAYLOAD;
	size_t room = (r->reply == VSTOR_PACKET_OLD ? VSTOR_PACKET_OLD : VSTOR_PACKET) - AT_PAYLOAD;

	s->state = PROTOCOL_END;
	memset(p, 0, room);
	put_le16(p + 4, (uint16_t)s->max_subchannels);
	put_le32(p + 8, s->max_subchannels ? MULTI_CHANNEL : 0);
	put_le32(p + 12, SCSI_MAX_TRANSFER);
	answer(r, STATUS_OK);
}

static void
end(struct request *r)
{
	r->ch->s->state = PROTOCOL_READY;
	answer(r, STATUS_OK);
}

/* The bus is the control thread's: it offers them, then the guest is answered. */
static void
create_subchannels(struct request *r)
{
	struct storage *s = r->ch->s;
	unsigned count = get_le16(r->packet + AT_PAYLOAD);

	if (s->subchannels || !count || count > s->max_subchannels) {
		answer(r, STATUS_INVALID_PARAMETER);
		return;
	}
	s->subchannels = r;
	storage_ask(s);
}

unsigned
protocol_subchannels(const struct request *r)
{
	return get_le16(r->packet + AT_PAYLOAD);
}

void
protocol_subchannels_done(struct storage *s, int rc)
{
	struct request *r = s->subchannels;

	s->subchannels = NULL;
	if (r)
		answer(r, rc < 0 ? STATUS_INVALID_PARAMETER : STATUS_OK);
}

/* --- Resets: they are answered when all that was begun has been --- */

static void
reset(struct request *r)
{
	struct storage *s = r->ch->s;
	bool one = get_le32(r->packet + AT_OP) == OP_RESET_LUN;
	unsigned lun = r->packet[AT_LUN];

	s->reset = r;
	s->reset_unit = one ? (lun < STORAGE_UNITS ? s->unit[lun] : NULL) : NULL;
	s->reset_all = !one;
	for (unsigned i = 0; i < STORAGE_UNITS; i++)
		if (s->unit[i] && (!one || i == lun))
			scsi_reset(s->unit[i]);
}

/* Once a round. Nothing new is read from the rings meanwhile (channel_drain). */
void
protocol_look_at_reset(struct storage *s)
{
	struct request *r = s->reset;

	if (!r || (s->reset_all ? s->running : s->reset_unit && s->reset_unit->users))
		return;
	s->reset = NULL;
	answer(r, STATUS_OK);
	for (struct channel *c = s->channels; c; c = c->next)
		c->stalled = true; /* there may be packets that were left */
}

/* --- SCSI requests --- */

static uint8_t
srb_status(const struct scsi_cmd *c)
{
	if (c->status == SCSI_BUSY)
		return SRB_BUSY;
	if (c->status != SCSI_GOOD)
		return SRB_ERROR;
	return c->overrun ? SRB_DATA_OVERRUN : SRB_SUCCESS;
}

/* Sense data that the packet has no room for is kept for REQUEST SENSE. */
static void
put_sense(struct request *r, uint8_t *status)
{
	struct scsi_cmd *c = &r->cmd;
	uint8_t room = r->packet[AT_SENSE_LEN] < SENSE_ROOM ? r->packet[AT_SENSE_LEN] : SENSE_ROOM;

	r->packet[AT_SENSE_LEN] = 0;
	if (!c->sense_len)
		return;
	if (!room) {
		if (c->unit)
			c->unit->sense = (uint32_t)c->sense[2] << 16 | (uint32_t)c->sense[12] << 8 |
					 c->sense[13];
		return;
	}
	r->packet[AT_SENSE_LEN] = c->sense_len < room ? c->sense_len : room;
	memset(r->packet + AT_CDB, 0, SENSE_ROOM);
	memcpy(r->packet + AT_CDB, c->sense, r->packet[AT_SENSE_LEN]);
	*status |= SRB_AUTOSENSE;
}

/* What the host wrote into the guest's memory, the kernel's dirty log has not seen. */
static void
mark(struct request *r)
{
	struct gmem *mem = r->ch->ch->rings.in.mem;
	uint32_t left = r->cmd.touched;

	if (!left || !gmem_tracked(mem))
		return;
	for (unsigned i = 0; i < r->pieces && left; i++) {
		uint32_t n = r->piece[i].len < left ? r->piece[i].len : left;

		gmem_dirty(mem, r->piece[i].gpa, n);
		left -= n;
	}
}

static void
srb_done(struct scsi_cmd *c)
{
	struct request *r = (struct request *)c; /* its first member */
	struct storage *s = r->ch->s;
	uint8_t status = srb_status(c);

	mark(r);
	put_sense(r, &status);
	r->packet[AT_SRB_STATUS] = status;
	r->packet[AT_SCSI_STATUS] = c->status;
	put_le32(r->packet + AT_TRANSFER, c->moved);
	s->running--;
	answer(r, STATUS_OK);
}

static void
invalid_lun(struct request *r)
{
	r->ch->s->running--;
	r->packet[AT_SRB_STATUS] = SRB_INVALID_LUN;
	r->packet[AT_SCSI_STATUS] = 0;
	r->packet[AT_SENSE_LEN] = 0;
	put_le32(r->packet + AT_TRANSFER, 0);
	answer(r, STATUS_OK);
}

void
protocol_execute(struct request *r, bool again)
{
	struct storage *s = r->ch->s;
	const uint8_t *p = r->packet;
	unsigned lun = p[AT_LUN];
	bool here = p[AT_PATH] == 0 && p[AT_TARGET] == 0;
	struct scsi_unit *u = here && lun < STORAGE_UNITS ? s->unit[lun] : NULL;
	struct scsi_cmd *c = &r->cmd;

	memcpy(c->cdb, p + AT_CDB, SCSI_CDB);
	c->cdb_len = p[AT_CDB_LEN];
	c->dir = p[AT_DIRECTION] <= SCSI_NO_DATA ? (enum scsi_dir)p[AT_DIRECTION] : SCSI_NO_DATA;
	c->len = r->bytes;
	c->iov = r->iov;
	c->iovs = r->pieces;
	c->again = again;
	c->unit = u;
	c->done = srb_done;
	s->running++;
	if (c->cdb[0] == CDB_REPORT_LUNS && (u || lun == 0))
		scsi_report_luns(c, here ? s->luns : 0);
	else if (u)
		scsi_execute(u, c);
	else if (c->cdb[0] == CDB_INQUIRY)
		scsi_inquire_nobody(c);
	else
		invalid_lun(r);
}

bool
protocol_is_command(const struct request *r)
{
	uint8_t len = r->packet[AT_CDB_LEN];

	return get_le32(r->packet + AT_OP) == OP_EXECUTE_SRB && len && len <= SCSI_CDB;
}

uint32_t
protocol_transfer(const struct request *r)
{
	return get_le32(r->packet + AT_OP) == OP_EXECUTE_SRB ? get_le32(r->packet + AT_TRANSFER) : 0;
}

static void
execute(struct request *r)
{
	if (protocol_is_command(r))
		protocol_execute(r, false);
	else
		refuse(r, STATUS_INVALID_PARAMETER);
}

/* --- Which operation is right when --- */

#define IN(state) (1u << PROTOCOL_##state)

static const struct operation {
	uint32_t op;
	unsigned states;
	bool subchannel; /* may come on one */
	void (*run)(struct request *r);
} operations[] = {
	{ OP_EXECUTE_SRB, IN(READY), true, execute },
	{ OP_RESET_LUN, IN(READY), false, reset },
	{ OP_RESET_ADAPTER, IN(READY), false, reset },
	{ OP_RESET_BUS, IN(READY), false, reset },
	{ OP_BEGIN, IN(START), false, begin },
	{ OP_QUERY_VERSION, IN(VERSION) | IN(PROPERTIES), false, query_version },
	{ OP_QUERY_PROPERTIES, IN(PROPERTIES), false, query_properties },
	{ OP_END, IN(END), false, end },
	{ OP_CREATE_SUBCHANNELS, IN(END) | IN(READY), false, create_subchannels },
};

void
protocol_packet(struct request *r)
{
	struct storage *s = r->ch->s;
	uint32_t op = get_le32(r->packet + AT_OP);

	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		const struct operation *o = &operations[i];

		if (o->op != op)
			continue;
		if ((o->states & 1u << s->state) && (o->subchannel || r->ch->ch->index == 0))
			o->run(r);
		else
			refuse(r, STATUS_INVALID_STATE);
		return;
	}
	refuse(r, STATUS_INVALID_STATE);
}

/* The driver is gone, or will begin anew: as after power-on. */
void
protocol_close(struct storage *s)
{
	s->state = PROTOCOL_START;
	atomic_store_explicit(&s->version, 0, memory_order_relaxed);
	s->enumerate = false;
	for (unsigned i = 0; i < STORAGE_UNITS; i++) {
		struct scsi_unit *u = s->unit[i];

		if (!u)
			continue;
		scsi_abort_waiting(u, NULL, NULL); /* on sub-channels, too */
		u->attention = ATTENTION_POWER_ON;
		u->locked = u->write_through = false;
		u->sense = SENSE_NONE;
		u->media_event = 0;
	}
}

void
protocol_enumerate(uint8_t packet[VSTOR_PACKET])
{
	memset(packet, 0, VSTOR_PACKET);
	put_le32(packet + AT_OP, OP_ENUMERATE_BUS);
}
