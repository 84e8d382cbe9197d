/*
 * hypervisor/vsp/ic.c - one channel of an integration component: frames, versions, one question at a time.
 *
 * A message is a pipe's head, a header of 20 bytes and what the component says. The host speaks first, and
 * only one of its questions is open at a time; each has a number, by which an answer that comes too late is
 * known. I/O thread, but for ic_channel_open and ic_channel_close.
 */
#include <errno.h>
#include <string.h>

#include "hypervisor/vsp/ic_private.h"
#include "lib/log.h"

enum {
	PIPE_DATA = 1,
	NEGOTIATE = 0, /* message type */
	TRANSACTION = 1,
	REQUEST = 2,
	RESPONSE = 4, /* flags */
	DRAIN_AT_ONCE = 32,
	SOON = 1, /* a time that has passed */
	NEGOTIATION_MAX = 8 + 4 * 8,
};

static const uint32_t frameworks[] = { 1 << 16, 3 << 16, 0 };

/* --- Numbers that are agreed on --- */

static unsigned
count(const uint32_t *list)
{
	unsigned n = 0;

	while (list[n])
		n++;
	return n;
}

static bool
holds(const uint32_t *list, uint32_t v)
{
	while (*list && *list != v)
		list++;
	return *list != 0;
}

bool
ic_speaks(const struct ic *c, uint32_t framework, uint32_t version)
{
	return holds(frameworks, framework) && holds(c->type->versions, version);
}

static void
put_version(uint8_t *p, uint32_t v)
{
	put_le16(p, (uint16_t)(v >> 16));
	put_le16(p + 2, (uint16_t)v);
}

static uint32_t
get_version(const uint8_t *p)
{
	return (uint32_t)get_le16(p) << 16 | get_le16(p + 2);
}

/* --- Out --- */

void
ic_look(struct ics *s)
{
	if (s->asked)
		return;
	s->asked = true;
	if (s->events.work)
		s->events.work(s->events.ctx);
}

static void
break_channel(struct ic *c)
{
	c->broken = true;
	c->busy = c->unsent = false;
	c->state = IC_ALONE;
	io_loop_timer(c->all->loop, &c->limit, 0);
	io_loop_unwatch(c->all->loop, &c->kick);
	c->type->stop(c, -EPROTO);
	ic_look(c->all);
}

/* Into the guest's ring, when it has room. */
static void
send(struct ic *c)
{
	bool signal = false;
	int rc;

	if (!c->unsent || c->broken || c->all->held)
		return;
	rc = ring_write(
	    &c->ch->rings.out, PACKET_INBAND, 0, c->transaction, c->message, c->len, NULL, 0, &signal);
	if (signal)
		vmbus_channel_signal(c->ch);
	if (rc == 0)
		c->unsent = false;
	else if (rc != -EAGAIN) /* else the guest signals when it has made room */
		break_channel(c);
}

static void
put_header(struct ic *c, uint16_t type, size_t len)
{
	uint8_t *p = c->message, *h = p + IC_PIPE;

	memset(p, 0, IC_HEAD);
	put_le32(p, PIPE_DATA);
	put_le32(p + 4, (uint32_t)(IC_HEADER + len));
	put_version(h, c->framework);
	put_le16(h + 4, type);
	put_version(h + 6, c->version);
	put_le16(h + 10, (uint16_t)len);
	h[16] = c->transaction;
	h[17] = TRANSACTION | REQUEST;
}

static void
arm(struct ic *c)
{
	uint64_t at = io_loop_now(c->all->loop) + (uint64_t)c->limit_ms * 1000000;

	io_loop_timer(c->all->loop, &c->limit, c->busy && c->limit_ms && !c->all->held ? at : 0);
}

static void
ask(struct ic *c, uint16_t type, const void *payload, size_t len, unsigned limit_ms)
{
	c->transaction++;
	c->asked = type;
	c->len = (uint32_t)(IC_HEAD + len);
	c->limit_ms = limit_ms;
	put_header(c, type, len);
	memcpy(c->message + IC_HEAD, payload, len);
	c->busy = c->unsent = true;
	arm(c);
	send(c);
}

bool
ic_may_ask(const struct ic *c)
{
	return c->state == IC_READY && !c->busy && !c->all->held;
}

void
ic_ask(struct ic *c, const void *payload, size_t len, unsigned limit_ms)
{
	ask(c, c->type->message, payload, len, limit_ms);
}

void
ic_next(struct ic *c)
{
	if (ic_may_ask(c))
		c->type->next(c);
}

/* --- Negotiation --- */

/* Its answer may take as long as the guest likes: a driver waits for its daemon. */
static void
negotiate(struct ic *c)
{
	uint8_t p[NEGOTIATION_MAX] = { 0 }, *at = p + 8;

	c->state = IC_NEGOTIATING;
	c->framework = c->version = 0;
	put_le16(p, (uint16_t)count(frameworks));
	put_le16(p + 2, (uint16_t)count(c->type->versions));
	for (const uint32_t *v = frameworks; *v; v++, at += 4)
		put_version(at, *v);
	for (const uint32_t *v = c->type->versions; *v; v++, at += 4)
		put_version(at, *v);
	ask(c, NEGOTIATE, p, (size_t)(at - p), 0);
}

void
ic_begin(struct ic *c)
{
	if (c->state == IC_OPEN && !c->all->held && !c->broken)
		negotiate(c);
}

void
ic_mistaken(struct ic *c, enum ic_mistake m)
{
	static const char *const what[IC_MISTAKES] = {
		[MISTAKE_PACKET] = "sent a packet that is no message",
		[MISTAKE_TRANSACTION] = "answered what was not asked, or too late",
		[MISTAKE_NEGOTIATION] = "agreed to versions that were not offered",
		[MISTAKE_ANSWER] = "gave an answer that makes no sense",
		[MISTAKE_LATE] = "has not answered in time",
	};

	c->mistakes++;
	log_once(
	    &c->told[m], LOG_WARN, "%s: the guest %s; more of it is not logged", c->type->label, what[m]);
}

static void
leave_alone(struct ic *c)
{
	c->state = IC_ALONE;
	c->busy = c->unsent = false;
	arm(c);
}

void
ic_renegotiate(struct ic *c, int rc, bool strike)
{
	bool was = c->state == IC_READY;

	c->busy = c->unsent = false;
	arm(c);
	c->state = IC_OPEN;
	if (was)
		c->type->stop(c, rc);
	if (strike && c->strikes++ == IC_STRIKES)
		leave_alone(c);
	else
		ic_begin(c);
}

static void
negotiated(struct ic *c, const uint8_t *p, size_t len)
{
	uint16_t fw = len < 4 ? 0 : get_le16(p), n = len < 4 ? 0 : get_le16(p + 2);

	if (len >= 4 && (fw == 0 || n == 0)) {
		log_once(&c->told_alone, LOG_INFO, "%s: the guest has no version in common with us",
		    c->type->label);
		leave_alone(c);
		return;
	}
	if (len >= 16 && fw == 1 && n == 1 && ic_speaks(c, get_version(p + 8), get_version(p + 12))) {
		c->framework = get_version(p + 8);
		c->version = get_version(p + 12);
		c->state = IC_READY;
		c->type->ready(c);
		return;
	}
	ic_mistaken(c, MISTAKE_NEGOTIATION);
	ic_renegotiate(c, -EPROTO, true);
}

static void
too_late(void *ctx)
{
	struct ic *c = ctx;

	if (!c->busy)
		return;
	ic_mistaken(c, MISTAKE_LATE);
	ic_renegotiate(c, -ETIMEDOUT, true);
}

/* --- In --- */

/* A message in a packet's payload; NULL: there is none. *len: bytes behind its header. */
static const uint8_t *
frame(const uint8_t *p, uint64_t have, size_t *len)
{
	uint64_t n;

	if (have < IC_HEAD || get_le32(p) != PIPE_DATA)
		return NULL;
	n = get_le32(p + 4);
	if (n < IC_HEADER || n > have - IC_PIPE || get_le16(p + IC_PIPE + 10) > n - IC_HEADER)
		return NULL;
	*len = (size_t)(n - IC_HEADER);
	return p + IC_PIPE;
}

static bool
is_answer(const struct ic *c, const uint8_t *h)
{
	return c->busy && !c->unsent && h[16] == c->transaction && (h[17] & RESPONSE) &&
	       get_le16(h + 4) == c->asked;
}

static void
take_answer(struct ic *c, const uint8_t *h, size_t len)
{
	bool overlong = len > c->len - IC_HEAD;

	c->busy = false;
	arm(c);
	if (c->state == IC_NEGOTIATING) {
		negotiated(c, h + IC_HEADER, overlong ? 0 : len);
	} else if (overlong || c->type->answer(c, get_le32(h + 12), h + IC_HEADER, len) < 0) {
		ic_mistaken(c, MISTAKE_ANSWER);
		ic_renegotiate(c, -EPROTO, true);
	} else {
		c->strikes = 0;
	}
	ic_next(c);
}

/* No driver asks for it; one that does gets it, if its ring has room. */
static void
complete(struct ic *c, const struct packet *p)
{
	bool signal = false;

	if (p->type == PACKET_COMPLETION || !(p->flags & PACKET_WANTS_REPLY))
		return;
	ring_write(&c->ch->rings.out, PACKET_COMPLETION, 0, p->transaction, NULL, 0, NULL, 0, &signal);
	if (signal)
		vmbus_channel_signal(c->ch);
}

/* What is no message was perhaps the answer: whoever waits for it would wait in vain. */
static void
take_packet(struct ic *c, const struct packet *p, bool whole)
{
	const uint8_t *h = NULL;
	size_t len = 0;

	complete(c, p);
	if (whole && p->type == PACKET_INBAND)
		h = frame(c->all->packet + p->offset, p->len - p->offset, &len);
	if (h && is_answer(c, h)) {
		take_answer(c, h, len);
		return;
	}
	ic_mistaken(c, h ? MISTAKE_TRANSACTION : MISTAKE_PACKET);
	if (!h && c->busy && !c->unsent)
		ic_renegotiate(c, -EPROTO, true);
}

/* 0: the ring is empty; 1: the guest had its share; -EPROTO. */
static int
read_packets(struct ic *c)
{
	struct ring *in = &c->ch->rings.in;
	struct packet p;

	for (unsigned n = 0; n < DRAIN_AT_ONCE; n++) {
		int rc = ring_read(in, &p, c->all->packet, sizeof(c->all->packet));

		if (rc == 1 || rc == -EMSGSIZE) {
			take_packet(c, &p, rc == 1);
			if (c->broken)
				return 0;
			continue;
		}
		if (rc < 0)
			return rc;
		if (ring_read_done(in))
			vmbus_channel_signal(c->ch);
		if (!ring_idle(in))
			return 0;
	}
	return 1;
}

void
ic_drain(struct ic *c)
{
	int rc;

	if (!c->ch || c->broken || c->all->held)
		return;
	send(c); /* it may have been signalled that there is room */
	if (c->broken)
		return;
	ring_mask(&c->ch->rings.in);
	rc = read_packets(c);
	if (rc < 0) {
		break_channel(c);
	} else if (rc == 1) {
		if (ring_read_done(&c->ch->rings.in))
			vmbus_channel_signal(c->ch);
		io_loop_timer(c->all->loop, &c->again, SOON);
	}
}

static void
kicked(void *ctx)
{
	ic_drain(ctx);
}

/* --- The machine stands still, goes on --- */

void
ic_hold(struct ic *c, bool held)
{
	arm(c); /* an answer has all its time from when the machine goes on */
	if (held)
		io_loop_timer(c->all->loop, &c->again, 0);
	if (c->type->hold)
		c->type->hold(c, held);
	if (held || !c->ch)
		return;
	ic_begin(c);
	ic_drain(c);
	ic_next(c);
}

/* --- Opened and closed --- */

static void
open_on_loop(void *arg)
{
	struct ic *c = arg;

	c->state = IC_OPEN;
	c->busy = c->unsent = c->broken = c->told_broken = false;
	c->strikes = 0;
	c->framework = c->version = 0;
	io_loop_watch(c->all->loop, &c->kick);
	ic_begin(c);
}

int
ic_channel_open(struct vmbus_device *d, struct vmbus_channel *ch, struct err *e)
{
	struct ic *c = (struct ic *)d;
	int slot = io_loop_add_file(c->all->loop, ch->kick_fd, e);

	if (slot < 0)
		return slot;
	c->kick = (struct io_watch){ .fn = kicked, .ctx = c, .slot = slot };
	c->limit = (struct io_timer){ .fn = too_late, .ctx = c };
	c->again = (struct io_timer){ .fn = kicked, .ctx = c };
	c->ch = ch; /* the loop does not look before it is told to */
	io_loop_call(c->all->loop, open_on_loop, c);
	return 0;
}

static void
close_on_loop(void *arg)
{
	struct ic *c = arg;

	if (!c->broken)
		io_loop_unwatch(c->all->loop, &c->kick);
	c->busy = c->unsent = false;
	io_loop_timer(c->all->loop, &c->limit, 0);
	io_loop_timer(c->all->loop, &c->again, 0);
	c->state = IC_CLOSED;
	c->framework = c->version = 0;
	c->ch = NULL;
	c->type->stop(c, -ENOTCONN);
}

void
ic_channel_close(struct vmbus_device *d, struct vmbus_channel *ch)
{
	struct ic *c = (struct ic *)d;

	io_loop_call(c->all->loop, close_on_loop, c);
	io_loop_drop_file(c->all->loop, c->kick.slot);
	vmbus_channel_closed(ch);
}
