/*
 * hypervisor/vsp/storage_state.c - a controller's saved state: what was agreed on, what the guest made of its
 * units, commands that wait, and answers that the guest's ring had no room for.
 *
 * A command is saved as the packet it came in and the guest memory it names, and begins anew after the
 * restore: doing it twice does no harm, for the guest has not been answered. What is read is as untrusted as
 * the guest.
 */
#include <errno.h>

#include "hypervisor/vsp/storage_private.h"

enum { WAITS = 0, ANSWERED = 1, MAX_SENSE = 0x0fffff, MAX_EVENT = 3, MAX_REQUESTS = REQUESTS * 64 };

struct job {
	struct storage *s;
	struct snap *snap;
};

static void
snap_unit(struct storage *s, struct snap *snap, unsigned lun)
{
	struct scsi_unit *u = s->unit[lun];
	uint8_t is = u ? (uint8_t)(u->config.kind + 1) : 0, was = is;

	snap_u8(snap, "unit", &was, UNIT_DVD + 1);
	snap_check(snap, was == is, "unit", "the machine's disks are not those it was saved with");
	if (!u || snap->rc)
		return;
	snap_u8(snap, "attention", &u->attention, ATTENTION_ALL);
	snap_bool(snap, "write_through", &u->write_through);
	snap_bool(snap, "locked", &u->locked);
	snap_bool(snap, "tray_open", &u->tray_open);
	snap_u8(snap, "media_event", &u->media_event, MAX_EVENT);
	snap_u32(snap, "sense", &u->sense, MAX_SENSE);
}

/* --- Requests --- */

static void
save_request(struct snap *snap, struct request *r, uint8_t what)
{
	uint16_t index = r->ch->ch->index, pieces = what == WAITS ? r->pieces : 0;

	snap_u8(snap, "what", &what, ANSWERED);
	snap_u16(snap, "channel", &index, UINT16_MAX);
	snap_u64(snap, "transaction", &r->transaction, UINT64_MAX);
	snap_u8(snap, "reply", &r->reply, VSTOR_PACKET);
	snap_bytes(snap, "packet", r->packet, sizeof(r->packet));
	snap_u16(snap, "pieces", &pieces, PIECES);
	for (unsigned i = 0; i < pieces; i++) {
		snap_u64(snap, "gpa", &r->piece[i].gpa, UINT64_MAX);
		snap_u32(snap, "len", &r->piece[i].len, SCSI_MAX_TRANSFER);
	}
}

static void
count_command(struct scsi_cmd *c, void *arg)
{
	(void)c;
	++*(uint32_t *)arg;
}

static void
save_command(struct scsi_cmd *c, void *arg)
{
	save_request(arg, (struct request *)c, WAITS);
}

static void
save_requests(struct storage *s, struct snap *snap)
{
	uint32_t n = 0;

	for (struct channel *c = s->channels; c; c = c->next)
		for (struct request *r = c->done; r; r = r->next)
			n++;
	for (unsigned i = 0; i < STORAGE_UNITS; i++)
		if (s->unit[i])
			scsi_each_waiting(s->unit[i], count_command, &n);
	snap_u32(snap, "requests", &n, MAX_REQUESTS);
	for (struct channel *c = s->channels; c; c = c->next)
		for (struct request *r = c->done; r; r = r->next)
			save_request(snap, r, ANSWERED);
	for (unsigned i = 0; i < STORAGE_UNITS; i++)
		if (s->unit[i])
			scsi_each_waiting(s->unit[i], save_command, snap);
}

static struct channel *
find_channel(struct storage *s, uint16_t index)
{
	struct channel *c = s->channels;

	while (c && c->ch->index != index)
		c = c->next;
	return c;
}

static void
restore_pieces(struct request *r, struct snap *snap)
{
	uint16_t n = 0;

	snap_u16(snap, "pieces", &n, PIECES);
	for (unsigned i = 0; i < n && !snap->rc; i++) {
		uint64_t gpa = 0;
		uint32_t len = 0;

		snap_u64(snap, "gpa", &gpa, UINT64_MAX);
		snap_u32(snap, "len", &len, SCSI_MAX_TRANSFER);
		snap_check(
		    snap, len && request_add(r, gpa, len) == 0, "gpa", "memory that a request cannot use");
	}
	snap_check(snap, r->bytes <= protocol_transfer(r), "pieces", "more memory than the command has");
}

static void
restore_request(struct storage *s, struct snap *snap)
{
	uint8_t what = 0;
	uint16_t index = 0;
	struct channel *c;
	struct request *r;

	snap_u8(snap, "what", &what, ANSWERED);
	snap_u16(snap, "channel", &index, UINT16_MAX);
	c = find_channel(s, index);
	r = c && !snap->rc ? request_new(c) : NULL;
	snap_check(snap, r != NULL, "channel", c ? "more requests than it can have" : "not open");
	if (!r)
		return;
	*c->restored_last = r; /* here or in `done`: someone frees it, whatever follows */
	c->restored_last = &r->next;
	r->next = NULL;
	r->answered = what == ANSWERED;
	snap_u64(snap, "transaction", &r->transaction, UINT64_MAX);
	snap_u8(snap, "reply", &r->reply, VSTOR_PACKET);
	snap_check(snap, !r->reply || r->reply == VSTOR_PACKET || r->reply == VSTOR_PACKET_OLD, "reply",
	    "not a packet's length");
	snap_bytes(snap, "packet", r->packet, sizeof(r->packet));
	/* At any time of the protocol: a sub-channel's command may outlive the primary's agreement. */
	snap_check(snap, r->answered || protocol_is_command(r), "packet", "not a command");
	restore_pieces(r, snap);
}

static void
restore_requests(struct storage *s, struct snap *snap)
{
	uint32_t n = 0;

	snap_u32(snap, "requests", &n, MAX_REQUESTS);
	while (n-- && !snap->rc)
		restore_request(s, snap);
}

/* --- All of it --- */

static void
snap_protocol(struct storage *s, struct snap *snap)
{
	uint8_t state = (uint8_t)s->state;
	uint16_t version = (uint16_t)storage_version(s);

	snap_u8(snap, "state", &state, PROTOCOL_STATES - 1);
	snap_u16(snap, "version", &version, UINT16_MAX);
	snap_bool(snap, "enumerate", &s->enumerate);
	if (snap->saving || snap->rc)
		return;
	snap_check(snap, state == PROTOCOL_START || find_channel(s, 0), "state", "no channel is open");
	snap_check(snap, protocol_has_version(version) == (state >= PROTOCOL_PROPERTIES), "version",
	    "not one that is spoken, or not at this time");
	if (snap->rc)
		return;
	s->state = (enum protocol_state)state;
	atomic_store_explicit(&s->version, version, memory_order_relaxed);
}

static void
snap_on_loop(void *arg)
{
	struct job *j = arg;
	struct storage *s = j->s;

	if (!j->snap->saving)
		s->restoring = true;
	snap_protocol(s, j->snap);
	for (unsigned i = 0; i < STORAGE_UNITS; i++)
		snap_unit(s, j->snap, i);
	if (j->snap->saving)
		save_requests(s, j->snap);
	else
		restore_requests(s, j->snap);
}

void
storage_snap(struct vmbus_device *d, struct snap *snap)
{
	struct job j = { (struct storage *)d, snap };

	io_loop_call(j.s->loop, snap_on_loop, &j);
}

static void
begin_restored(struct channel *c)
{
	struct request *r = c->restored;

	c->restored = NULL;
	c->restored_last = &c->restored;
	for (struct request *next; r; r = next) {
		next = r->next;
		if (r->answered)
			request_answer(r);
		else
			protocol_execute(r, true);
	}
	c->stalled = true; /* the ring is looked at in this round */
}

static void
restored_on_loop(void *arg)
{
	struct storage *s = arg;

	s->restoring = false;
	storage_hold(s, false);
	for (struct channel *c = s->channels; c; c = c->next) {
		begin_restored(c);
		vmbus_channel_signal(c->ch);
	}
}

void
storage_restored(struct vmbus_device *d)
{
	struct storage *s = (struct storage *)d;

	io_loop_call(s->loop, restored_on_loop, s);
}
