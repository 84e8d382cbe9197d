/*
 * hypervisor/vsp/storage_channel.c - the packets of a channel: in, through the protocol, and out again, many
 * at a time.
 *
 * I/O thread, but for storage_channel_open, storage_channel_close and storage_channel_free. While packets are
 * read the guest need not signal; answers are written once a round of the loop, with one interrupt for all.
 * When requests or room in the guest's ring run out, reading stops: the rings are the guest's own queue, and
 * nothing here grows.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "hypervisor/vsp/storage_private.h"
#include "lib/log.h"

enum { SOON = 1 }; /* a time that has passed: the loop comes round once more before it sleeps */

/* --- Requests and their memory --- */

static bool
array_is_free(const struct storage *s)
{
	return s->spare_arrays || s->arrays_made < LONG_ARRAYS;
}

static union long_array *
array_new(struct storage *s)
{
	union long_array *a = s->spare_arrays;

	if (a)
		s->spare_arrays = a->next;
	else if (s->arrays_made < LONG_ARRAYS)
		a = &s->arrays[s->arrays_made++];
	return a;
}

static void
array_free(struct storage *s, union long_array *a)
{
	if (!a)
		return;
	a->next = s->spare_arrays;
	s->spare_arrays = a;
}

struct request *
request_new(struct channel *c)
{
	struct request *r = c->spare;

	if (r)
		c->spare = r->next;
	else if (c->made < REQUESTS)
		r = &c->requests[c->made++];
	else
		return NULL;
	c->busy++;
	r->ch = c;
	r->pieces = 0;
	r->bytes = 0;
	r->piece = r->few_piece;
	r->iov = r->few_iov;
	r->array = r->scratch = NULL;
	return r;
}

void
request_free(struct request *r)
{
	struct channel *c = r->ch;

	array_free(c->s, r->array);
	array_free(c->s, r->scratch);
	r->next = c->spare;
	c->spare = r;
	if (--c->busy == 0 && c->closing && !c->gone) {
		c->gone = true;
		storage_ask(c->s);
	}
}

bool
storage_scratch(void *ctx, struct scsi_cmd *c)
{
	struct request *r = (struct request *)c;

	if (!r->scratch)
		r->scratch = array_new(ctx);
	c->scratch = r->scratch ? r->scratch->scratch : NULL;
	return c->scratch != NULL;
}

/* Room for one piece more. */
static int
grow(struct request *r)
{
	union long_array *a = r->array;

	if (a)
		return r->pieces < PIECES ? 0 : -E2BIG;
	if (r->pieces < FEW)
		return 0;
	a = array_new(r->ch->s);
	if (!a)
		return -ENOBUFS;
	memcpy(a->piece, r->few_piece, sizeof(r->few_piece));
	memcpy(a->iov, r->few_iov, sizeof(r->few_iov));
	r->array = a;
	r->piece = a->piece;
	r->iov = a->iov;
	return 0;
}

/* Adds what follows the last piece, there and here, to it. */
static bool
extend(struct request *r, uint64_t gpa, const uint8_t *p, uint32_t len)
{
	struct piece *last = &r->piece[r->pieces - 1];
	struct iovec *iov = &r->iov[r->pieces - 1];

	if (last->gpa + last->len != gpa || (uint8_t *)iov->iov_base + iov->iov_len != p)
		return false;
	last->len += len;
	iov->iov_len += len;
	return true;
}

int
request_add(struct request *r, uint64_t gpa, uint32_t len)
{
	uint8_t *p = gmem_span(r->ch->ch->rings.in.mem, gpa, len);
	int rc;

	if (!p)
		return -EFAULT;
	if (len > SCSI_MAX_TRANSFER - r->bytes)
		return -E2BIG;
	r->bytes += len;
	if (r->pieces && extend(r, gpa, p, len))
		return 0;
	rc = grow(r);
	if (rc < 0)
		return rc;
	r->piece[r->pieces] = (struct piece){ gpa, len };
	r->iov[r->pieces] = (struct iovec){ p, len };
	r->pieces++;
	return 0;
}

void
request_rewind(struct request *r)
{
	const struct gmem *mem = r->ch->ch->rings.in.mem;

	for (unsigned i = 0; i < r->pieces; i++) /* RAM stays RAM */
		r->iov[i] =
		    (struct iovec){ gmem_span(mem, r->piece[i].gpa, r->piece[i].len), r->piece[i].len };
}

void
request_answer(struct request *r)
{
	struct channel *c = r->ch;

	if (c->closing || c->broken) {
		request_free(r);
		return;
	}
	array_free(c->s, r->array);
	array_free(c->s, r->scratch);
	r->array = r->scratch = NULL;
	r->pieces = 0;
	r->next = NULL;
	*c->done_last = r;
	c->done_last = &r->next;
}

/* --- Packets in --- */

/* The first `want` bytes that a range of the guest's pages has. */
static int
add_range(struct request *r, const struct gpa_range *g, uint32_t want)
{
	uint32_t off = g->offset;

	for (uint32_t i = 0; i < g->pages && want; i++) {
		uint64_t pfn = gpa_range_pfn(g, i);
		uint32_t n = GMEM_PAGE - off < want ? GMEM_PAGE - off : want;
		int rc = pfn > UINT64_MAX / GMEM_PAGE ? -EFAULT : request_add(r, pfn * GMEM_PAGE + off, n);

		if (rc < 0)
			return rc;
		want -= n;
		off = 0;
	}
	return 0;
}

/* The memory that a command may use: what its packet names, as far as the command goes. */
static int
add_ranges(struct request *r, const struct packet *p)
{
	struct gpa_range range[RANGES];
	uint32_t left = protocol_transfer(r);
	int n;

	if (!left)
		return 0;
	n = packet_ranges(p, r->ch->s->packet, range, RANGES);
	if (n < 0 || n > RANGES)
		return n < 0 ? n : -E2BIG;
	for (int i = 0; i < n && left; i++) {
		uint32_t want = range[i].len < left ? range[i].len : left;
		int rc = add_range(r, &range[i], want);

		if (rc < 0)
			return rc;
		left -= want;
	}
	return 0;
}

static void
refuse(struct request *r, enum storage_mistake m)
{
	static const char *const what[STORAGE_MISTAKES] = {
		[MISTAKE_LENGTH] = "is longer than one can be",
		[MISTAKE_TYPE] = "is of a type that storage does not know",
		[MISTAKE_SHORT] = "has no whole operation in it",
		[MISTAKE_MEMORY] = "names memory that it does not have, or too much of it",
	};
	struct storage *s = r->ch->s;

	log_once(&s->told[m], LOG_WARN, "%s: the guest sent a packet that %s", s->name, what[m]);
	protocol_refuse(r);
}

static void
take_packet(struct request *r, const struct packet *p, bool whole)
{
	const uint8_t *buf = r->ch->s->packet;
	uint32_t len = p->len - p->offset, have = len < VSTOR_PACKET ? len : VSTOR_PACKET;

	r->transaction = p->transaction;
	r->reply = 0;
	if (p->flags & PACKET_WANTS_REPLY)
		r->reply = len < VSTOR_PACKET ? VSTOR_PACKET_OLD : VSTOR_PACKET;
	if (p->offset > PACKET_MAX - have)
		have = 0;
	memcpy(r->packet, buf + p->offset, have);
	memset(r->packet + have, 0, VSTOR_PACKET - have);
	if (!whole)
		refuse(r, MISTAKE_LENGTH);
	else if (p->type != PACKET_INBAND && p->type != PACKET_GPA_DIRECT)
		refuse(r, MISTAKE_TYPE);
	else if (len < VSTOR_PACKET_OLD)
		refuse(r, MISTAKE_SHORT);
	else if (p->type == PACKET_GPA_DIRECT && add_ranges(r, p) < 0)
		refuse(r, MISTAKE_MEMORY);
	else
		protocol_packet(r);
}

/* 1: a packet was read; 0: there is none; -ENOBUFS: no request or array is free; -EPROTO. */
static int
read_packet(struct channel *c)
{
	struct storage *s = c->s;
	struct packet p;
	struct request *r = array_is_free(s) ? request_new(c) : NULL;
	int rc;

	if (!r)
		return -ENOBUFS;
	rc = ring_read(&c->ch->rings.in, &p, s->packet, sizeof(s->packet));
	if (rc == 1 || rc == -EMSGSIZE) {
		take_packet(r, &p, rc == 1);
		return 1;
	}
	request_free(r);
	return rc;
}

static void
break_channel(struct channel *c, const char *why)
{
	c->broken = true;
	c->why = why;
	io_loop_unwatch(c->s->loop, &c->kick);
	storage_ask(c->s);
}

/* Reads until the ring is empty (0), the guest had its share (1), or no more can be taken now (-errno). */
static int
read_packets(struct channel *c)
{
	struct ring *in = &c->ch->rings.in;
	struct storage *s = c->s;

	c->found = 0;
	for (unsigned n = 0; n < DRAIN_AT_ONCE; n++) {
		int rc = s->reset ? -ENOBUFS : read_packet(c);

		if (rc < 0)
			return rc;
		if (rc == 1) {
			c->found++;
			continue;
		}
		if (ring_read_done(in))
			vmbus_channel_signal(c->ch);
		if (!ring_idle(in))
			return 0;
	}
	return 1;
}

void
channel_drain(struct channel *c)
{
	struct ring *in = &c->ch->rings.in;
	int rc;

	if (c->closing || c->broken)
		return;
	c->stalled = true;
	if (storage_rests(c->s) || c->s->reset)
		return;
	ring_mask(in);
	rc = read_packets(c);
	if (rc == -EPROTO) {
		break_channel(c, "its ring makes no sense");
		return;
	}
	if (rc != 0 && ring_read_done(in))
		vmbus_channel_signal(c->ch);
	c->stalled = rc != 0;
}

/* --- Packets out --- */

static void
drop_done(struct channel *c)
{
	struct request *r = c->done;

	c->done = NULL;
	c->done_last = &c->done;
	for (struct request *next; r; r = next) {
		next = r->next;
		request_free(r);
	}
}

static int
send_enumerate(struct channel *c, bool *signal)
{
	struct storage *s = c->s;
	uint8_t packet[VSTOR_PACKET];
	int rc;

	if (!s->enumerate || c->ch->index != 0 || s->state != PROTOCOL_READY)
		return 0;
	protocol_enumerate(packet);
	rc = ring_write(&c->ch->rings.out, PACKET_INBAND, 0, 0, packet, sizeof(packet), NULL, 0, signal);
	if (rc == 0)
		s->enumerate = false;
	return rc;
}

static int
send_done(struct channel *c, bool *signal)
{
	for (struct request *r = c->done; r; r = c->done) {
		int rc = 0;

		if (r->reply)
			rc = ring_write(&c->ch->rings.out, PACKET_COMPLETION, 0, r->transaction, r->packet,
			    r->reply, NULL, 0, signal);
		if (rc < 0)
			return rc;
		c->done = r->next;
		if (!c->done)
			c->done_last = &c->done;
		request_free(r);
	}
	return 0;
}

static void
flush(struct channel *c)
{
	bool signal = false;
	int rc;

	if (c->broken || storage_rests(c->s))
		return;
	rc = send_enumerate(c, &signal);
	if (rc == 0)
		rc = send_done(c, &signal);
	if (signal)
		vmbus_channel_signal(c->ch);
	if (rc < 0 && rc != -EAGAIN) { /* -EAGAIN: the guest signals when it has made room */
		drop_done(c);
		break_channel(c, "its ring makes no sense");
	}
}

/* Requests that were answered are free again: what was left in the ring may be read. */
static bool
can_go_on(const struct channel *c)
{
	return c->stalled && !c->closing && !c->broken && !storage_rests(c->s) && !c->s->reset &&
	       (c->spare || c->made < REQUESTS) && array_is_free(c->s);
}

void
channel_round(void *ctx)
{
	struct storage *s = ctx;

	protocol_look_at_reset(s);
	for (struct channel *c = s->channels; c; c = c->next) {
		if (can_go_on(c))
			channel_drain(c);
		flush(c);
		if (can_go_on(c))
			io_loop_timer(s->loop, &c->again, SOON);
	}
}

/* --- Opened and closed --- */

/* The guest goes on writing for as long as it has this processor, and need not signal again. */
static void
give_way(struct channel *c)
{
	struct io_loop *l = c->s->loop;
	uint64_t began = io_loop_now(l), ns;

	ring_mask(&c->ch->rings.in);
	sched_yield();
	ns = io_loop_now(l) - began;
	channel_drain(c);
	gather_told(&c->gather, c->found, ns);
}

static void
kicked(void *ctx)
{
	struct channel *c = ctx;
	bool may = !c->closing && !c->broken && !c->stalled && !storage_rests(c->s) && !c->s->reset;

	if (may && gather_try(&c->gather))
		give_way(c);
	else
		channel_drain(c);
}

/* What is left is read in this round. */
static void
woken(void *ctx)
{
	(void)ctx;
}

static void
open_on_loop(void *arg)
{
	struct channel *c = arg;

	if (c->ch->index == 0)
		c->s->restoring = false; /* a restore that failed has no end of its own */
	c->next = c->s->channels;
	c->s->channels = c;
	io_loop_watch(c->s->loop, &c->kick);
}

void
storage_channel_free(struct channel *c)
{
	if (c->kick.slot >= 0)
		io_loop_drop_file(c->s->loop, c->kick.slot);
	munmap(c->requests, REQUESTS * sizeof(*c->requests));
	free(c);
}

static struct channel *
channel_new(struct storage *s, struct vmbus_channel *ch)
{
	struct channel *c = calloc(1, sizeof(*c));
	void *m = mmap(NULL, REQUESTS * sizeof(*c->requests), PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (!c || m == MAP_FAILED) {
		free(c);
		if (m != MAP_FAILED)
			munmap(m, REQUESTS * sizeof(*c->requests));
		return NULL;
	}
	c->s = s;
	c->ch = ch;
	c->requests = m;
	c->done_last = &c->done;
	c->restored_last = &c->restored;
	c->kick = (struct io_watch){ .fn = kicked, .ctx = c, .slot = -1 };
	c->again = (struct io_timer){ .fn = woken, .ctx = c };
	return c;
}

int
storage_channel_open(struct vmbus_device *d, struct vmbus_channel *ch, struct err *e)
{
	struct storage *s = (struct storage *)d;
	struct channel *c = channel_new(s, ch);
	int slot;

	if (!c)
		return err_set(e, ENOMEM, "%s: out of memory", s->name);
	slot = io_loop_add_file(s->loop, ch->kick_fd, e);
	if (slot < 0) {
		storage_channel_free(c);
		return slot;
	}
	c->kick.slot = slot;
	ch->ctx = c;
	io_loop_call(s->loop, open_on_loop, c);
	return 0;
}

static bool
is_of(struct scsi_cmd *cmd, void *arg)
{
	return ((struct request *)cmd)->ch == arg;
}

/* Requests of the control thread's and of a reset are nobody's any more. */
static void
forget(struct request **r, const struct channel *c)
{
	struct request *was = *r;

	if (!was || was->ch != c)
		return;
	*r = NULL;
	request_free(was);
}

struct closing {
	struct channel *c;
	bool gone; /* at once */
};

static void
unlink_channel(struct channel *c)
{
	struct channel **p = &c->s->channels;

	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
}

static void
close_on_loop(void *arg)
{
	struct closing *closing = arg;
	struct channel *c = closing->c;
	struct storage *s = c->s;

	c->busy++; /* it is not gone before all of this is done */
	c->closing = true;
	if (!c->broken)
		io_loop_unwatch(s->loop, &c->kick);
	io_loop_timer(s->loop, &c->again, 0);
	forget(&s->reset, c);
	forget(&s->subchannels, c);
	for (struct request *r = c->restored, *next; r; r = next) {
		next = r->next;
		request_free(r);
	}
	c->restored = NULL;
	for (unsigned i = 0; i < STORAGE_UNITS; i++)
		if (s->unit[i])
			scsi_abort_waiting(s->unit[i], is_of, c);
	drop_done(c);
	if (c->ch->index == 0)
		protocol_close(s);
	c->gone = closing->gone = --c->busy == 0;
	if (c->gone)
		unlink_channel(c);
}

void
storage_channel_close(struct vmbus_device *d, struct vmbus_channel *ch)
{
	struct storage *s = (struct storage *)d;
	struct closing closing = { .c = ch->ctx };

	io_loop_call(s->loop, close_on_loop, &closing);
	if (!closing.gone) /* the last of its requests tells (request_free) */
		return;
	storage_channel_free(closing.c);
	ch->ctx = NULL;
	vmbus_channel_closed(ch);
}
