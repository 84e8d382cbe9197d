/*
 * hypervisor/vsp/sock_stream.c - the bytes of a stream: from the guest's ring to a socket, and back.
 *
 * A packet is a head {type 1, size} and so many bytes; one of size 0 ends the direction. Each direction has
 * one buffer and one operation in flight, so that the slower side sets the pace. I/O thread.
 */
#include <errno.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/sock_private.h"

enum { PIPE_HEAD = 8, PIPE_DATA = 1, LOOK_MS = 20, RING_SLACK = 64, LAST_PACKET = 32, MS = 1000000 };

/* --- the end ------------------------------------------------------------------------------------------ */

static void
over(struct sock_stream *st, bool failed)
{
	if (st->over)
		return;
	st->over = true;
	st->failed = failed;
	io_loop_unwatch(st->s->loop, &st->kick);
	sockets_ask(st->s);
}

/* A guest that learns that its channel is gone may not read what is left in it. The last packet, which says
 * that no more comes, it need not take: Linux only looks at that. */
static void
look(void *ctx)
{
	struct sock_stream *st = ctx;

	if (st->closing || st->over)
		return;
	if (ring_unread(&st->ch->rings.out) <= LAST_PACKET)
		over(st, false);
	else
		io_loop_timer(st->s->loop, &st->look, io_loop_now(st->s->loop) + (uint64_t)LOOK_MS * MS);
}

static void
check_end(struct sock_stream *st)
{
	if (st->to_socket.ended && !st->to_socket.busy && st->to_guest.told)
		look(st);
}

static void
check_gone(struct sock_stream *st)
{
	if (!st->closing || st->gone || st->to_socket.busy || st->to_guest.busy)
		return;
	st->gone = true;
	sockets_ask(st->s);
}

/* --- from the guest ----------------------------------------------------------------------------------- */

static void
write_on(struct sock_stream *st)
{
	struct sock_half *h = &st->to_socket;

	h->iov = (struct iovec){ h->buf + h->at, h->len - h->at };
	h->busy = true;
	io_loop_writev(st->s->loop, &h->op, st->slot, &h->iov, 1, 0, false);
}

static void
was_written(struct io_op *op, int res)
{
	struct sock_half *h = (struct sock_half *)op;
	struct sock_stream *st = (struct sock_stream *)((char *)h - offsetof(struct sock_stream, to_socket));

	h->busy = false;
	if (st->closing) {
		check_gone(st);
		return;
	}
	if (res <= 0 && res != -EINTR && res != -EAGAIN) {
		over(st, true);
		return;
	}
	h->at += res > 0 ? (uint32_t)res : 0;
	if (h->at < h->len)
		write_on(st);
	else
		sock_stream_pump(st);
}

/* The packet in the buffer. False: it makes no sense. */
static bool
take_packet(struct sock_stream *st, const struct packet *p)
{
	struct sock_half *h = &st->to_socket;
	uint32_t have = p->len - p->offset, size;

	if (p->type != PACKET_INBAND || have < PIPE_HEAD || get_le32(h->buf + p->offset) != PIPE_DATA)
		return false;
	size = get_le32(h->buf + p->offset + 4);
	if (size > SOCK_PIECE || size > have - PIPE_HEAD)
		return false;
	if (size == 0) {
		h->ended = true;
		st->shut = true;
		sockets_ask(st->s);
		return true;
	}
	h->at = p->offset + PIPE_HEAD;
	h->len = h->at + size;
	atomic_fetch_add_explicit(&st->received, size, memory_order_relaxed);
	write_on(st);
	return true;
}

/* True when there was one. */
static bool
read_packet(struct sock_stream *st)
{
	struct ring *in = &st->ch->rings.in;
	struct packet p;
	int rc = ring_read(in, &p, st->to_socket.buf, sizeof(st->to_socket.buf));

	if (rc == 0)
		return false;
	if (rc < 0 || !take_packet(st, &p)) {
		over(st, true);
		return false;
	}
	if (ring_read_done(in))
		vmbus_channel_signal(st->ch);
	return true;
}

static void
pump_to_socket(struct sock_stream *st)
{
	struct sock_half *h = &st->to_socket;

	ring_mask(&st->ch->rings.in);
	while (!h->busy && !h->ended && !st->over)
		if (!read_packet(st) && (st->over || !ring_idle(&st->ch->rings.in)))
			return;
}

/* --- to the guest ------------------------------------------------------------------------------------- */

static void
was_read(struct io_op *op, int res)
{
	struct sock_half *h = (struct sock_half *)op;
	struct sock_stream *st = (struct sock_stream *)((char *)h - offsetof(struct sock_stream, to_guest));

	h->busy = false;
	if (st->closing) {
		check_gone(st);
		return;
	}
	if (res < 0 && res != -EINTR && res != -EAGAIN) {
		over(st, true);
		return;
	}
	h->at = 0;
	h->len = res > 0 ? (uint32_t)res : 0;
	h->ended = res == 0;
	sock_stream_pump(st);
}

static void
read_on(struct sock_stream *st)
{
	struct sock_half *h = &st->to_guest;
	uint32_t room = st->ch->rings.out.size - RING_SLACK; /* a page at least */

	h->iov = (struct iovec){ h->buf, room < SOCK_PIECE ? room : SOCK_PIECE };
	h->busy = true;
	io_loop_readv(st->s->loop, &h->op, st->slot, &h->iov, 1, 0);
}

/* A packet with what is in the buffer, or the end. False: it waits for room, or all is over. */
static bool
send_packet(struct sock_stream *st)
{
	struct sock_half *h = &st->to_guest;
	uint32_t n = h->len - h->at;
	uint8_t head[PIPE_HEAD];
	bool signal = false;
	int rc;

	put_le32(head, PIPE_DATA);
	put_le32(head + 4, n);
	rc = ring_write(
	    &st->ch->rings.out, PACKET_INBAND, 0, 0, head, sizeof(head), h->buf + h->at, n, &signal);
	if (rc < 0) {
		if (rc != -EAGAIN)
			over(st, true);
		return false;
	}
	if (signal)
		vmbus_channel_signal(st->ch);
	h->at = h->len;
	h->told = n == 0;
	atomic_fetch_add_explicit(&st->sent, n, memory_order_relaxed);
	return true;
}

static void
pump_to_guest(struct sock_stream *st)
{
	struct sock_half *h = &st->to_guest;

	while (!h->busy && !h->told && !st->over) {
		if (h->at == h->len && !h->ended)
			read_on(st);
		else if (!send_packet(st))
			return;
	}
}

/* --- both --------------------------------------------------------------------------------------------- */

void
sock_stream_pump(struct sock_stream *st)
{
	if (st->closing || st->over || st->s->held)
		return;
	pump_to_socket(st);
	pump_to_guest(st);
	check_end(st);
}

static void
kicked(void *ctx)
{
	sock_stream_pump(ctx);
}

void
sock_stream_begin(void *stream)
{
	struct sock_stream *st = stream;

	st->to_socket = (struct sock_half){ .op.done = was_written };
	st->to_guest = (struct sock_half){ .op.done = was_read };
	st->kick.fn = kicked;
	st->kick.ctx = st;
	st->look = (struct io_timer){ .fn = look, .ctx = st };
	io_loop_watch(st->s->loop, &st->kick);
	sock_stream_pump(st);
}

void
sock_stream_close(void *stream)
{
	struct sock_stream *st = stream;

	st->closing = true;
	io_loop_unwatch(st->s->loop, &st->kick);
	io_loop_timer(st->s->loop, &st->look, 0);
	check_gone(st);
}
