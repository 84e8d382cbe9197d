/*
 * hypervisor/vsp/sock.c - streams between guest and host: services that are listened to, requests, streams
 * that come and go.
 *
 * Control thread. A stream's life: offered (the guest is to open it in time), open (sock_stream.c), over, and
 * revoked; when the bus has let go of it, it is told and freed.
 */
#include "hypervisor/vsp/sock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hypervisor/vmbus/wire.h"
#include "hypervisor/vsp/sock_private.h"
#include "lib/guid.h"

enum { MS = 1000000, USER_FROM_HOST = 4 };

void
sockets_ask(struct sockets *s)
{
	if (!atomic_exchange(&s->asked, true) && s->events.work)
		s->events.work(s->events.ctx);
}

void
sock_port_service(uint32_t port, uint8_t service[16])
{
	char text[GUID_TEXT + 1];

	snprintf(text, sizeof(text), "%08x-facb-11e6-bd58-64006a7986d3", port);
	guid_parse(text, service);
}

/* --- time --------------------------------------------------------------------------------------------- */

/* The earliest of what waits; 0: nothing does. */
static uint64_t
next_deadline(const struct sockets *s)
{
	uint64_t at = UINT64_MAX;

	for (unsigned i = 0; i < SOCK_REQUESTS; i++)
		if (s->request[i].id && s->request[i].deadline < at)
			at = s->request[i].deadline;
	for (const struct sock_stream *st = s->streams; st; st = st->next)
		if (st->deadline && !st->revoked && st->deadline < at)
			at = st->deadline;
	return at == UINT64_MAX ? 0 : at;
}

static void
set_alarm(void *arg)
{
	struct sockets *s = arg;

	io_loop_timer(s->loop, &s->alarm, next_deadline(s));
}

static void
rang(void *ctx)
{
	sockets_ask(ctx);
}

static uint64_t
from_now(const struct sockets *s, unsigned ms)
{
	return io_loop_now(s->loop) + (uint64_t)ms * MS;
}

/* --- services ----------------------------------------------------------------------------------------- */

static unsigned
find_service(const struct sockets *s, const uint8_t service[16])
{
	unsigned i = 0;

	while (i < s->services && memcmp(s->service[i], service, 16) != 0)
		i++;
	return i;
}

int
sockets_listen(struct sockets *s, const uint8_t service[16], struct err *e)
{
	if (find_service(s, service) < s->services)
		return err_set(e, EEXIST, "it is listened to already");
	if (s->services == SOCK_SERVICES)
		return err_set(
		    e, ENOSPC, "a machine can have %d services that are listened to", SOCK_SERVICES);
	memcpy(s->service[s->services++], service, 16);
	return 0;
}

int
sockets_unlisten(struct sockets *s, const uint8_t service[16], struct err *e)
{
	unsigned i = find_service(s, service);

	if (i == s->services)
		return err_set(e, ENOENT, "it is not listened to");
	memcpy(s->service[i], s->service[--s->services], 16);
	return 0;
}

/* --- requests of the guest ---------------------------------------------------------------------------- */

static uint32_t
new_id(struct sockets *s)
{
	if (++s->last_id == 0)
		s->last_id = 1;
	return s->last_id;
}

static struct sock_request *
find_request(struct sockets *s, uint32_t id)
{
	for (unsigned i = 0; id && i < SOCK_REQUESTS; i++)
		if (s->request[i].id == id)
			return &s->request[i];
	return NULL;
}

static bool
is_endpoint(const struct sockets *s, const uint8_t endpoint[16])
{
	for (unsigned i = 0; i < SOCK_REQUESTS; i++)
		if (s->request[i].id && memcmp(s->request[i].endpoint, endpoint, 16) == 0)
			return true;
	return false;
}

static void
wanted(void *ctx, const uint8_t endpoint[16], const uint8_t service[16])
{
	struct sockets *s = ctx;
	unsigned i = 0;

	while (i < SOCK_REQUESTS && s->request[i].id)
		i++;
	if (i == SOCK_REQUESTS || is_endpoint(s, endpoint) || s->streams_n == SOCK_STREAMS ||
	    find_service(s, service) == s->services) {
		vmbus_refuse_stream(s->bus, endpoint, service);
		return;
	}
	s->request[i] = (struct sock_request){ .id = new_id(s), .deadline = from_now(s, SOCK_WAIT_MS) };
	memcpy(s->request[i].endpoint, endpoint, 16);
	memcpy(s->request[i].service, service, 16);
	io_loop_call(s->loop, set_alarm, s);
	if (s->events.requested)
		s->events.requested(s->events.ctx, s->request[i].id, service);
}

static void
refuse(struct sockets *s, struct sock_request *r)
{
	vmbus_refuse_stream(s->bus, r->endpoint, r->service);
	r->id = 0;
}

int
sockets_refuse(struct sockets *s, uint32_t id, struct err *e)
{
	struct sock_request *r = find_request(s, id);

	if (!r)
		return err_set(e, ENOENT, "stream %u: the guest does not ask for it (any more)", id);
	refuse(s, r);
	return 0;
}

static void
withdraw(struct sockets *s, struct sock_request *r)
{
	uint32_t id = r->id;

	refuse(s, r);
	if (s->events.withdrawn)
		s->events.withdrawn(s->events.ctx, id);
}

/* --- streams ------------------------------------------------------------------------------------------ */

static int
stream_opened(struct vmbus_device *d, struct vmbus_channel *ch, struct err *e)
{
	struct sock_stream *st = (struct sock_stream *)d;
	struct io_loop *l = st->s->loop;
	int kick = st->over ? err_set(e, EPROTO, "it has ended") : io_loop_add_file(l, ch->kick_fd, e);

	if (kick < 0)
		return kick;
	st->slot = io_loop_add_file(l, st->fd, e);
	if (st->slot < 0) {
		io_loop_drop_file(l, kick);
		return st->slot;
	}
	st->ch = ch;
	st->kick.slot = kick;
	st->deadline = 0;
	io_loop_call(l, sock_stream_begin, st);
	return 0;
}

/* Nothing of it is in flight any more. */
static void
let_go(struct sock_stream *st)
{
	struct vmbus_channel *ch = st->ch;

	io_loop_drop_file(st->s->loop, st->kick.slot);
	io_loop_drop_file(st->s->loop, st->slot);
	st->ch = NULL;
	st->over = true; /* it is not opened a second time */
	vmbus_channel_closed(ch);
}

static void
stream_closed(struct vmbus_device *d, struct vmbus_channel *ch)
{
	struct sock_stream *st = (struct sock_stream *)d;

	(void)ch;
	io_loop_call(st->s->loop, sock_stream_close, st);
	shutdown(st->fd, SHUT_RDWR); /* what is in flight ends */
	sockets_ask(st->s);
}

static const struct vmbus_device_ops stream_ops = {
	.name = "socket", .version = 1, .transient = true, .open = stream_opened, .close = stream_closed
};

static void
free_stream(struct sock_stream *st)
{
	struct sock_stream **p = &st->s->streams;

	while (*p != st)
		p = &(*p)->next;
	*p = st->next;
	st->s->streams_n--;
	close(st->fd);
	free(st);
}

static void
stream_gone(struct vmbus_device *d)
{
	struct sock_stream *st = (struct sock_stream *)d;
	struct sockets *s = st->s;
	enum sock_end why = st->why;
	uint32_t id = st->id;

	free_stream(st);
	if (s->events.ended)
		s->events.ended(s->events.ctx, id, why);
}

static void
take_back(struct sock_stream *st, enum sock_end why)
{
	if (st->revoked)
		return;
	st->revoked = true;
	st->why = why;
	vmbus_revoke_device(&st->dev, stream_gone);
}

/* fd is the stream's on success. */
static int
offer(struct sockets *s, const uint8_t service[16], const uint8_t endpoint[16], bool from_guest, uint32_t id,
    int fd, struct err *e)
{
	struct sock_stream *st = s->streams_n < SOCK_STREAMS ? calloc(1, sizeof(*st)) : NULL;
	int rc;

	if (s->streams_n == SOCK_STREAMS)
		return err_set(e, ENOSPC, "a machine can have %d streams at a time", SOCK_STREAMS);
	if (!st)
		return err_set(e, ENOMEM, "stream: out of memory");
	st->s = s;
	st->id = id;
	st->from_guest = from_guest;
	st->fd = fd;
	st->slot = -1;
	st->deadline = from_now(s, SOCK_OPEN_MS);
	snprintf(st->name, sizeof(st->name), "stream %u", id);
	st->dev.ops = &stream_ops;
	st->dev.offer =
	    (struct vmbus_offer){ .flags = OFFER_HV_SOCK | OFFER_PIPE | OFFER_ENUMERATE, .name = st->name };
	st->dev.offer.user[USER_FROM_HOST] = !from_guest;
	memcpy(st->dev.offer.type, service, 16);
	memcpy(st->dev.offer.instance, endpoint, 16);
	rc = vmbus_offer_device(s->bus, &st->dev, e);
	if (rc < 0) {
		free(st);
		return rc;
	}
	st->next = s->streams;
	s->streams = st;
	s->streams_n++;
	io_loop_call(s->loop, set_alarm, s);
	return 0;
}

int
sockets_accept(struct sockets *s, uint32_t id, int fd, struct err *e)
{
	struct sock_request *r = find_request(s, id);
	int rc;

	if (!r)
		return err_set(e, ENOENT, "stream %u: the guest does not ask for it (any more)", id);
	rc = offer(s, r->service, r->endpoint, true, id, fd, e);
	if (rc == 0)
		r->id = 0;
	else
		refuse(s, r);
	return rc;
}

/* At random: a guest takes a channel of the same service and endpoint for one that it has, also for one that
 * was there before its machine was restored. */
static int
own_endpoint(uint8_t endpoint[16], struct err *e)
{
	if (getrandom(endpoint, 16, 0) != 16)
		return err_sys(e, "random numbers");
	return 0;
}

int
sockets_connect(struct sockets *s, const uint8_t service[16], int fd, uint32_t *id, struct err *e)
{
	uint32_t n = new_id(s);
	uint8_t endpoint[16];
	int rc = own_endpoint(endpoint, e);

	rc = rc < 0 ? rc : offer(s, service, endpoint, false, n, fd, e);
	if (rc == 0)
		*id = n;
	return rc;
}

int
sockets_close(struct sockets *s, uint32_t id, struct err *e)
{
	for (struct sock_stream *st = s->streams; st; st = st->next)
		if (st->id == id && !st->revoked) {
			take_back(st, SOCK_SHUT);
			return 0;
		}
	return err_set(e, ENOENT, "stream %u: there is none", id);
}

size_t
sockets_report(struct sockets *s, struct sock_report *r, size_t cap)
{
	size_t n = 0;

	for (const struct sock_stream *st = s->streams; st; st = st->next, n++) {
		if (n >= cap)
			continue;
		r[n] = (struct sock_report){ .id = st->id,
			.from_guest = st->from_guest,
			.open = st->ch != NULL,
			.sent = atomic_load(&st->sent),
			.received = atomic_load(&st->received) };
		memcpy(r[n].service, st->dev.offer.type, 16);
	}
	return n;
}

/* --- what is left to the control thread --------------------------------------------------------------- */

/* What the I/O thread has noted about a stream, or its time is over. True: the list may have changed. */
static bool
look_at(struct sock_stream *st, uint64_t now)
{
	if (st->gone && st->ch) {
		let_go(st);
		return true;
	}
	if (st->ch && atomic_exchange(&st->shut, false))
		shutdown(st->fd, SHUT_WR);
	if (st->revoked)
		return false;
	if (st->over)
		take_back(st, st->failed ? SOCK_FAILED : SOCK_CLOSED);
	else if (st->deadline && now >= st->deadline)
		take_back(st, SOCK_NOT_TAKEN);
	else
		return false;
	return true;
}

void
sockets_work(struct sockets *s)
{
	uint64_t now = io_loop_now(s->loop);
	struct sock_stream *st;

	atomic_store(&s->asked, false);
	for (unsigned i = 0; i < SOCK_REQUESTS; i++)
		if (s->request[i].id && now >= s->request[i].deadline)
			withdraw(s, &s->request[i]);
	do {
		st = s->streams;
		while (st && !look_at(st, now))
			st = st->next;
	} while (st);
	io_loop_call(s->loop, set_alarm, s);
}

static struct sock_stream *
first_offered(struct sockets *s)
{
	struct sock_stream *st = s->streams;

	while (st && st->revoked)
		st = st->next;
	return st;
}

void
sockets_reset(struct sockets *s)
{
	struct sock_stream *st;

	for (unsigned i = 0; i < SOCK_REQUESTS; i++)
		if (s->request[i].id)
			withdraw(s, &s->request[i]);
	while ((st = first_offered(s)))
		take_back(st, SOCK_SHUT); /* which may free it, and others */
}

static void
hold_on_loop(void *arg)
{
	((struct sockets *)arg)->held = true;
}

static void
go_on_on_loop(void *arg)
{
	struct sockets *s = arg;

	s->held = false;
	for (struct sock_stream *st = s->streams; st; st = st->next)
		if (st->ch)
			sock_stream_pump(st);
}

void
sockets_hold(struct sockets *s, bool hold)
{
	io_loop_call(s->loop, hold ? hold_on_loop : go_on_on_loop, s);
}

/* --- life --------------------------------------------------------------------------------------------- */

int
sockets_new(struct sockets **out, struct vmbus *bus, struct io_loop *loop, const struct sock_events *events,
    struct err *e)
{
	struct sockets *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, ENOMEM, "streams: out of memory");
	s->bus = bus;
	s->loop = loop;
	s->events = *events;
	s->alarm = (struct io_timer){ .fn = rang, .ctx = s };
	vmbus_set_streams(bus, &(struct vmbus_streams){ .ctx = s, .wanted = wanted });
	*out = s;
	return 0;
}

void
sockets_free(struct sockets *s)
{
	if (!s)
		return;
	for (struct sock_stream *st = s->streams, *next; st; st = next) {
		next = st->next;
		vmbus_forget_device(&st->dev);
		close(st->fd);
		free(st);
	}
	free(s);
}
