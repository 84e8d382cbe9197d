/*
 * hypervisor/vsp/scsi.c - a command from its CDB to its answer: dispatch by the unit's table, sense data,
 * what waits, and the life of units and media.
 *
 * Everything runs on the controller's I/O thread.
 */
#include "hypervisor/vsp/scsi.h"

#include <errno.h>
#include <string.h>

#include "hypervisor/vsp/bytes.h"

enum {
	CONTROL_NACA = 4,
	SENSE_FIXED = 0x70,
	SENSE_INFORMATION_VALID = 0x80,
	POINTER_VALID = 0x80,
	POINTER_IN_CDB = 0x40,
	POINTER_BIT = 0x08,
};

/* --- Answers --- */

static void
queue_add(struct scsi_queue *q, struct scsi_cmd *c)
{
	c->next = NULL;
	*q->last = c;
	q->last = &c->next;
}

static struct scsi_cmd *
queue_take(struct scsi_queue *q)
{
	struct scsi_cmd *c = q->first;

	if (c && !(q->first = c->next))
		q->last = &q->first;
	return c;
}

static unsigned
queue_length(const struct scsi_queue *q)
{
	unsigned n = 0;

	for (const struct scsi_cmd *c = q->first; c; c = c->next)
		n++;
	return n;
}

static void
medium_put(const struct scsi_host *h, struct scsi_medium *m)
{
	if (--m->users == 0 && m->retired)
		h->retired(h->ctx, m);
}

static void
finish(struct scsi_cmd *c)
{
	struct scsi_unit *u = c->unit;
	const struct scsi_host *h = u->host;

	if (c->medium)
		medium_put(h, c->medium);
	c->medium = NULL;
	c->done(c);
	if (--u->users == 0) {
		if (u->floor.busy_at)
			floor_idle(&u->floor, io_loop_now(h->loop));
		if (u->leaving)
			h->left(h->ctx, u);
	}
}

void
scsi_good(struct scsi_cmd *c)
{
	c->status = SCSI_GOOD;
	finish(c);
}

void
scsi_busy(struct scsi_cmd *c)
{
	c->status = SCSI_BUSY;
	finish(c);
}

static void
set_sense(struct scsi_cmd *c, enum scsi_sense sense)
{
	memset(c->sense, 0, sizeof(c->sense));
	c->sense[0] = SENSE_FIXED;
	c->sense[2] = (uint8_t)(sense >> 16);
	c->sense[7] = SCSI_SENSE - 8;
	c->sense[12] = (uint8_t)(sense >> 8);
	c->sense[13] = (uint8_t)sense;
	c->sense_len = SCSI_SENSE;
	c->status = SCSI_CHECK_CONDITION;
	c->moved = 0;
}

void
scsi_fail(struct scsi_cmd *c, enum scsi_sense sense)
{
	set_sense(c, sense);
	finish(c);
}

void
scsi_fail_at(struct scsi_cmd *c, enum scsi_sense sense, uint64_t lba)
{
	set_sense(c, sense);
	if (lba <= UINT32_MAX) { /* the fixed format has no room for more */
		c->sense[0] |= SENSE_INFORMATION_VALID;
		put_be32(c->sense + 3, (uint32_t)lba);
	}
	finish(c);
}

static void
fail_pointing(struct scsi_cmd *c, enum scsi_sense sense, uint8_t where, unsigned byte, unsigned bit)
{
	set_sense(c, sense);
	c->sense[15] = (uint8_t)(POINTER_VALID | POINTER_BIT | where | bit);
	put_be16(c->sense + 16, (uint16_t)byte);
	finish(c);
}

void
scsi_fail_field(struct scsi_cmd *c, unsigned byte, unsigned bit)
{
	fail_pointing(c, SENSE_FIELD_IN_CDB, POINTER_IN_CDB, byte, bit);
}

void
scsi_fail_list(struct scsi_cmd *c, unsigned byte, unsigned bit)
{
	fail_pointing(c, SENSE_FIELD_IN_LIST, 0, byte, bit);
}

/* --- Small data --- */

/* Copies n bytes at `off` of the guest's buffer, to it or from it. The caller has looked at len. */
static void
copy(const struct scsi_cmd *c, uint32_t off, void *buf, uint32_t n, bool to_guest)
{
	uint8_t *p = buf;

	for (unsigned i = 0; i < c->iovs && n; i++) {
		size_t have = c->iov[i].iov_len;
		size_t m;

		if (off >= have) {
			off -= (uint32_t)have;
			continue;
		}
		m = have - off < n ? have - off : n;
		if (to_guest)
			memcpy((uint8_t *)c->iov[i].iov_base + off, p, m);
		else
			memcpy(p, (uint8_t *)c->iov[i].iov_base + off, m);
		p += m;
		n -= (uint32_t)m;
		off = 0;
	}
}

void
scsi_reply(struct scsi_cmd *c, const void *data, uint32_t n, uint32_t allocated)
{
	uint32_t room = scsi_room(c, SCSI_IN);

	if (n > allocated)
		n = allocated;
	if (n > room) {
		n = room;
		c->overrun = true;
	}
	copy(c, 0, (void *)(uintptr_t)data, n, true);
	c->moved = c->touched = n;
	scsi_good(c);
}

bool
scsi_take(const struct scsi_cmd *c, uint32_t off, void *buf, uint32_t n)
{
	uint32_t room = scsi_room(c, SCSI_OUT);

	if (off > room || n > room - off)
		return false;
	copy(c, off, buf, n, false);
	return true;
}

/* --- Dispatch --- */

static const struct scsi_row *
find_row(const struct scsi_type *t, const uint8_t *cdb, bool *opcode)
{
	*opcode = false;
	for (const struct scsi_row *r = t->rows; r->run; r++) {
		if (r->opcode != cdb[0])
			continue;
		*opcode = true;
		if (r->action == NO_ACTION || r->action == (cdb[1] & 0x1f))
			return r;
	}
	return NULL;
}

static const struct {
	uint8_t bit;
	enum scsi_sense sense;
} attentions[] = {
	{ ATTENTION_POWER_ON, SENSE_POWER_ON },
	{ ATTENTION_MEDIUM, SENSE_MEDIUM_CHANGED },
	{ ATTENTION_CAPACITY, SENSE_CAPACITY_CHANGED },
};

enum scsi_sense
scsi_take_attention(struct scsi_unit *u)
{
	for (size_t i = 0; i < sizeof(attentions) / sizeof(attentions[0]); i++)
		if (u->attention & attentions[i].bit) {
			u->attention &= (uint8_t)~attentions[i].bit;
			return attentions[i].sense;
		}
	return SENSE_NONE;
}

static void
run_row(struct scsi_unit *u, struct scsi_cmd *c, const struct scsi_row *r)
{
	if (c->cdb_len < r->len)
		scsi_fail_field(c, c->cdb_len, 7);
	else if (c->cdb[r->len - 1] & CONTROL_NACA)
		scsi_fail_field(c, r->len - 1u, 2);
	else if (u->attention && !c->again && !(r->flags & ROW_ATTENTION))
		scsi_fail(c, scsi_take_attention(u));
	else if ((r->flags & (ROW_MEDIUM | ROW_WRITES)) && !c->medium)
		scsi_fail(c, u->tray_open ? SENSE_NO_MEDIUM_TRAY_OPEN : SENSE_NO_MEDIUM);
	else if ((r->flags & ROW_WRITES) && c->medium && c->medium->disk->read_only)
		scsi_fail(c, SENSE_WRITE_PROTECTED);
	else
		r->run(c);
}

static void
reset_answer(struct scsi_cmd *c)
{
	c->status = SCSI_GOOD;
	c->overrun = c->waits = c->unmap = false;
	c->moved = c->touched = 0;
	c->sense_len = 0;
	c->step = NULL;
}

static void
unit_busy(struct scsi_unit *u)
{
	uint64_t now;

	if (u->users++ || !u->floor.min_iops)
		return;
	now = io_loop_now(u->host->loop);
	if (floor_busy(&u->floor, now))
		io_loop_timer(u->host->loop, &u->floor_timer, now + FLOOR_WINDOW_S * 1000000000ull);
}

void
scsi_execute(struct scsi_unit *u, struct scsi_cmd *c)
{
	bool known;
	const struct scsi_row *r = find_row(u->type, c->cdb, &known);

	reset_answer(c);
	c->unit = u;
	if ((c->medium = u->medium))
		c->medium->users++;
	unit_busy(u);
	if (r)
		run_row(u, c, r);
	else if (known)
		scsi_fail_field(c, 1, 4);
	else
		scsi_fail(c, SENSE_OPCODE);
}

/* --- The controller's own answers --- */

/* Ends a command that no unit has begun. */
static void
reply_alone(struct scsi_cmd *c, const void *data, uint32_t n, uint32_t allocated)
{
	uint32_t room = scsi_room(c, SCSI_IN);

	reset_answer(c);
	n = n < allocated ? n : allocated;
	c->overrun = n > room;
	n = n < room ? n : room;
	copy(c, 0, (void *)(uintptr_t)data, n, true);
	c->moved = c->touched = n;
	c->done(c);
}

static void
fail_alone(struct scsi_cmd *c, unsigned byte)
{
	reset_answer(c);
	set_sense(c, SENSE_FIELD_IN_CDB);
	c->sense[15] = POINTER_VALID | POINTER_IN_CDB | POINTER_BIT | 7;
	put_be16(c->sense + 16, (uint16_t)byte);
	c->done(c);
}

void
scsi_report_luns(struct scsi_cmd *c, uint64_t luns)
{
	enum { WELL_KNOWN = 1, ALL = 2, CDB = 12 };
	uint8_t list[8 + STORAGE_UNITS * 8] = { 0 };
	uint32_t n = 8;

	if (c->cdb_len < CDB) {
		fail_alone(c, c->cdb_len);
		return;
	}
	if (c->cdb[2] > ALL) {
		fail_alone(c, 2);
		return;
	}
	for (unsigned lun = 0; lun < STORAGE_UNITS && c->cdb[2] != WELL_KNOWN; lun++)
		if (luns & 1ull << lun) {
			list[n + 1] = (uint8_t)lun; /* peripheral device addressing */
			n += 8;
		}
	put_be32(list, n - 8);
	reply_alone(c, list, n, get_be32(c->cdb + 6));
}

void
scsi_inquire_nobody(struct scsi_cmd *c)
{
	/* No device can be here; SPC-3, so that the guest asks for the list of LUNs. */
	static const uint8_t nobody[36] = { 0x7f, 0, 5, 2, 31, [8] = 'M', 's', 'f', 't', ' ', ' ', ' ', ' ',
		'V', 'i', 'r', 't', 'u', 'a', 'l', ' ', 'D', 'i', 's', 'k', ' ', ' ', ' ', ' ', '1', '.', '0',
		' ' };

	reply_alone(c, nobody, sizeof(nobody), c->cdb_len < 6 ? 0 : get_be16(c->cdb + 3));
}

/* --- What waits --- */

static void
abort_queue(struct scsi_queue *q, bool (*which)(struct scsi_cmd *c, void *arg), void *arg)
{
	struct scsi_cmd *c = q->first;

	*q = (struct scsi_queue){ NULL, &q->first };
	for (struct scsi_cmd *next; c; c = next) {
		next = c->next;
		if (which && !which(c, arg))
			queue_add(q, c);
		else
			scsi_fail(c, SENSE_ABORTED);
	}
}

void
scsi_abort_waiting(struct scsi_unit *u, bool (*which)(struct scsi_cmd *c, void *arg), void *arg)
{
	u->users++; /* the unit stays until both are done */
	abort_queue(&u->throttled, which, arg);
	abort_queue(&u->full, which, arg);
	abort_queue(&u->rested, which, arg);
	u->stats.waiting = queue_length(&u->throttled) + queue_length(&u->full) + queue_length(&u->rested);
	if (--u->users == 0 && u->leaving)
		u->host->left(u->host->ctx, u);
}

void
scsi_each_waiting(struct scsi_unit *u, void (*fn)(struct scsi_cmd *c, void *arg), void *arg)
{
	for (struct scsi_cmd *c = u->full.first; c; c = c->next)
		fn(c, arg);
	for (struct scsi_cmd *c = u->throttled.first; c; c = c->next)
		fn(c, arg);
	for (struct scsi_cmd *c = u->rested.first; c; c = c->next)
		fn(c, arg);
}

void
scsi_retry(struct scsi_unit *u)
{
	struct scsi_cmd *c = u->full.first;

	u->full = (struct scsi_queue){ NULL, &u->full.first };
	for (struct scsi_cmd *next; c; c = next) {
		next = c->next;
		u->stats.waiting--;
		u->users--;
		if (c->medium)
			medium_put(u->host, c->medium);
		c->medium = NULL;
		c->again = true;
		u->host->again(u->host->ctx, c);
	}
}

/* --- Limits --- */

/* What a transfer counts: giving space up moves nothing. */
static uint64_t
weight(const struct disk_io *io)
{
	return io->op == DISK_READ || io->op == DISK_WRITE ? io->len : 0;
}

static void
limit_expires(void *ctx)
{
	struct scsi_unit *u = ctx;
	const struct scsi_host *h = u->host;
	struct scsi_cmd *c;
	uint64_t now = io_loop_now(h->loop);

	while (!u->held && !u->resting && (c = u->throttled.first)) {
		uint64_t due = limits_take(&u->limits, weight(&c->io), now);

		if (due) {
			io_loop_timer(h->loop, &u->limit_timer, due);
			return;
		}
		queue_take(&u->throttled);
		u->stats.waiting--;
		c->waits = false;
		u->stats.in_flight++;
		disk_submit(c->medium->disk, &c->io);
	}
}

/* True when c, which is about to make its first transfer, has to wait its turn. */
static bool
throttled(struct scsi_unit *u, struct scsi_cmd *c)
{
	uint64_t due = 0;

	if (!u->held && !u->throttled.first)
		due = limits_take(&u->limits, weight(&c->io), io_loop_now(u->host->loop));
	if (!u->held && !u->throttled.first && !due)
		return false;
	queue_add(&u->throttled, c);
	c->waits = true;
	u->stats.waiting++;
	u->stats.throttled++;
	if (due)
		io_loop_timer(u->host->loop, &u->limit_timer, due);
	return true;
}

static void
floor_expires(void *ctx)
{
	struct scsi_unit *u = ctx;
	const struct scsi_host *h = u->host;
	uint64_t iops, now = io_loop_now(h->loop);

	if (floor_window_ends(&u->floor, now, &iops))
		h->slow(h->ctx, u, iops);
	if (u->floor.begun)
		io_loop_timer(h->loop, &u->floor_timer, now + FLOOR_WINDOW_S * 1000000000ull);
}

void
scsi_hold(struct scsi_unit *u, bool held)
{
	u->held = held;
	if (!held && u->throttled.first)
		limit_expires(u);
}

void
scsi_rest(struct scsi_unit *u, bool resting)
{
	struct scsi_cmd *c;

	u->resting = resting;
	while (!u->resting && (c = queue_take(&u->rested))) {
		u->stats.waiting--;
		c->waits = false;
		u->stats.in_flight++;
		disk_submit(c->medium->disk, &c->io);
	}
	if (!u->resting && u->throttled.first)
		limit_expires(u);
}

void
scsi_set_limits(struct scsi_unit *u, uint64_t min_iops, uint64_t max_iops, uint64_t max_bytes)
{
	u->config.min_iops = min_iops;
	u->config.max_iops = max_iops;
	u->config.max_bytes = max_bytes;
	u->floor = (struct iops_floor){ .min_iops = min_iops };
	io_loop_timer(u->host->loop, &u->floor_timer, 0);
	limits_set(&u->limits, max_iops, max_bytes);
	io_loop_timer(u->host->loop, &u->limit_timer, 0);
	if (u->throttled.first)
		limit_expires(u);
}

/* --- Transfers --- */

static enum scsi_sense
sense_of(enum disk_op op, int rc)
{
	if (rc == -ENOSPC || rc == -EDQUOT)
		return SENSE_NO_SPACE;
	if (rc == -EROFS || rc == -EPERM)
		return SENSE_WRITE_PROTECTED;
	return op == DISK_READ ? SENSE_READ_ERROR : SENSE_WRITE_ERROR;
}

/* What a flush could not write is lost below: tried again it would say that all is well. */
static bool
can_be_tried_again(const struct scsi_cmd *c, int rc)
{
	const struct scsi_unit *u = c->unit;

	return (rc == -ENOSPC || rc == -EDQUOT) && c->io.op != DISK_FLUSH && u->config.pause_on_full &&
	       !u->leaving && u->host->may_wait(u->host->ctx, c);
}

static void
io_failed(struct scsi_cmd *c, int rc)
{
	struct scsi_unit *u = c->unit;
	const struct scsi_host *h = u->host;

	h->failed(h->ctx, u, c->io.op, c->io.offset, -rc);
	if (!can_be_tried_again(c, rc)) {
		u->stats.errors++;
		scsi_fail_at(c, sense_of(c->io.op, rc), c->io.offset / scsi_block(u));
		return;
	}
	queue_add(&u->full, c);
	c->waits = true;
	u->stats.waiting++;
	h->full(h->ctx, u, -rc);
}

static void
io_done(struct disk_io *io, int rc)
{
	struct scsi_cmd *c = (struct scsi_cmd *)((char *)io - offsetof(struct scsi_cmd, io));
	struct scsi_unit *u = c->unit;

	u->stats.in_flight--;
	if (rc < 0) {
		io_failed(c, rc);
		return;
	}
	if (u->floor.min_iops)
		floor_got(&u->floor, weight(io));
	c->step(c);
}

void
scsi_begin(struct scsi_cmd *c, void (*step)(struct scsi_cmd *c))
{
	struct scsi_unit *u = c->unit;
	bool first = c->step == NULL && !c->again;

	c->io.done = io_done;
	c->step = step;
	if (first && (limits_on(&u->limits) || u->throttled.first) && throttled(u, c))
		return;
	if (u->resting) { /* any step of it: the last one has ended */
		queue_add(&u->rested, c);
		c->waits = true;
		u->stats.waiting++;
		return;
	}
	u->stats.in_flight++;
	disk_submit(c->medium->disk, &c->io);
}

/* --- Life --- */

void
scsi_unit_init(struct scsi_unit *u)
{
	u->throttled.last = &u->throttled.first;
	u->full.last = &u->full.first;
	u->rested.last = &u->rested.first;
	u->limit_timer = (struct io_timer){ .fn = limit_expires, .ctx = u };
	u->floor_timer = (struct io_timer){ .fn = floor_expires, .ctx = u };
	u->attention = ATTENTION_POWER_ON;
	limits_set(&u->limits, u->config.max_iops, u->config.max_bytes);
	u->floor.min_iops = u->config.min_iops;
}

void
scsi_set_medium(struct scsi_unit *u, struct scsi_medium *m)
{
	struct scsi_medium *old = u->medium;

	u->medium = m;
	if (!old)
		return;
	old->retired = true;
	if (!old->users)
		u->host->retired(u->host->ctx, old);
}

void
scsi_leave(struct scsi_unit *u)
{
	io_loop_timer(u->host->loop, &u->limit_timer, 0);
	io_loop_timer(u->host->loop, &u->floor_timer, 0);
	scsi_set_limits(u, 0, 0, 0);
	u->users++;
	u->leaving = true;
	scsi_abort_waiting(u, NULL, NULL);
	scsi_set_medium(u, NULL);
	if (--u->users == 0)
		u->host->left(u->host->ctx, u);
}

void
scsi_reset(struct scsi_unit *u)
{
	scsi_abort_waiting(u, NULL, NULL);
	u->attention |= ATTENTION_POWER_ON;
	u->locked = false;
	u->sense = SENSE_NONE;
}
