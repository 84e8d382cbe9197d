/*
 * tests/unit/sock_test.c - streams between guest and host on the real bus: asked for from either side, bytes
 * both ways at the pace of the slower, every kind of end, hostile packets, a save in the middle.
 */
#include "hypervisor/vsp/sock.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#define FAKE_LOOP_FILES 512
#include "hypervisor/vsp/bytes.h"
#include "tests/unit/fake_loop.h"
#include "tests/unit/fake_vmbus.h"

enum { MEMORY_MB = 64, RING = 3, SECOND = 1000000000, PIECE = 16384 };

struct fixture {
	struct fake_vmbus f;
	struct io_loop *loop;
	struct sockets *s;
	bool work;
	/* what was told */
	unsigned requests, withdrawals, ends;
	uint32_t id;
	uint8_t service[16];
	enum sock_end why;
};

static void
on_work(void *ctx)
{
	((struct fixture *)ctx)->work = true;
}

static void
on_requested(void *ctx, uint32_t id, const uint8_t service[16])
{
	struct fixture *x = ctx;

	x->requests++;
	x->id = id;
	memcpy(x->service, service, 16);
}

static void
on_withdrawn(void *ctx, uint32_t id)
{
	struct fixture *x = ctx;

	x->withdrawals++;
	x->id = id;
}

static void
on_ended(void *ctx, uint32_t id, enum sock_end why)
{
	struct fixture *x = ctx;

	x->ends++;
	x->id = id;
	x->why = why;
}

static void
run(struct fixture *x)
{
	assert_true(fake_loop_run(x->loop));
	while (x->work) {
		x->work = false;
		sockets_work(x->s);
		assert_true(fake_loop_run(x->loop));
	}
}

static void
pass(struct fixture *x, uint64_t ms)
{
	fake_loop_pass(x->loop, ms * 1000000);
	run(x);
}

static void
make(struct fixture *x)
{
	const struct sock_events events = { x, on_work, on_requested, on_withdrawn, on_ended };

	assert_int_equal(fake_vmbus_init(&x->f, MEMORY_MB, 2), 0);
	x->loop = fake_loop_new();
	assert_int_equal(sockets_new(&x->s, x->f.bus, x->loop, &events, NULL), 0);
}

static int
setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	make(x);
	assert_true(fake_connect(&x->f, VMBUS_5_3));
	assert_int_equal(fake_offers(&x->f, NULL, 0), 0);
	*state = x;
	return 0;
}

static void
drop(struct fixture *x)
{
	vmbus_reset(x->f.bus);
	sockets_reset(x->s);
	run(x);
	assert_true(vmbus_idle(x->f.bus));
	assert_int_equal(sockets_report(x->s, NULL, 0), 0);
	assert_int_equal(x->loop->ops, 0);
	for (int i = 0; i < FAKE_LOOP_FILES; i++)
		assert_int_equal(x->loop->fd[i], 0);
	fake_vmbus_free(&x->f);
	sockets_free(x->s);
	io_loop_free(x->loop);
}

static int
teardown(void **state)
{
	drop(*state);
	free(*state);
	return 0;
}

/* --- the two ends ------------------------------------------------------------------------------------- */

struct pair {
	struct fake_channel c;
	struct wire_offer offer;
	uint32_t id;
	int host; /* our end of the socket */
};

static void
socket_pair(struct pair *p, int *theirs)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	p->host = fd[0];
	*theirs = fd[1];
}

static void
service_of(uint32_t port, uint8_t service[16])
{
	sock_port_service(port, service);
}

static void
connect_to_guest(struct fixture *x, struct pair *p, uint32_t port)
{
	struct fake_message m;
	uint8_t service[16];
	int fd;

	memset(p, 0, sizeof(*p));
	service_of(port, service);
	socket_pair(p, &fd);
	assert_int_equal(sockets_connect(x->s, service, fd, &p->id, NULL), 0);
	assert_true(fake_await(&x->f, WIRE_OFFER, &m));
	p->offer = m.offer;
}

static void
open_pair(struct fixture *x, struct pair *p, uint32_t port)
{
	connect_to_guest(x, p, port);
	assert_int_equal(fake_open(&x->f, &p->c, &p->offer, RING, RING, 0), WIRE_STATUS_OK);
	run(x);
}

static bool
guest_sends(struct pair *p, const void *data, uint32_t n)
{
	uint8_t b[8 + PIECE];

	put_le32(b, 1);
	put_le32(b + 4, n);
	if (n)
		memcpy(b + 8, data, n);
	return fake_send(&p->c, PACKET_INBAND, 0, 0, NULL, 0, b, 8 + n);
}

/* Bytes of the next packet; -1: there is none. */
static long
guest_hears(struct pair *p, void *to)
{
	struct packet_head h;
	uint8_t b[8 + PIECE];
	long n = fake_recv(&p->c, &h, b, sizeof(b));

	if (n < 0)
		return -1;
	assert_int_equal(h.type, PACKET_INBAND);
	assert_in_range(n, 8, sizeof(b));
	assert_int_equal(get_le32(b), 1);
	assert_true(get_le32(b + 4) <= (uint32_t)n - 8);
	memcpy(to, b + 8, get_le32(b + 4));
	return get_le32(b + 4);
}

static ssize_t
host_reads(struct pair *p, void *to, size_t n)
{
	return recv(p->host, to, n, MSG_DONTWAIT);
}

static void
assert_ended(struct fixture *x, const struct pair *p, enum sock_end why)
{
	struct fake_message m;

	assert_int_equal(x->ends, 1);
	assert_int_equal(x->id, p->id);
	assert_int_equal(x->why, why);
	assert_true(fake_await(&x->f, WIRE_RESCIND, &m));
	assert_int_equal(m.relid.relid, p->offer.relid);
	assert_int_equal(sockets_report(x->s, NULL, 0), 0);
}

/* --- tests -------------------------------------------------------------------------------------------- */

static void
the_host_reaches_a_service_of_the_guest(void **state)
{
	struct fixture *x = *state;
	struct sock_report r;
	struct pair p;
	char b[64];

	open_pair(x, &p, 0x1234);
	assert_memory_equal(p.offer.type,
	    ((uint8_t[]){
		0x34, 0x12, 0, 0, 0xcb, 0xfa, 0xe6, 0x11, 0xbd, 0x58, 0x64, 0, 0x6a, 0x79, 0x86, 0xd3 }),
	    16); /* as on the wire */
	assert_int_equal(p.offer.flags, 0x2011);
	assert_int_equal(p.offer.user[4], 1);
	assert_int_equal(send(p.host, "hello", 5, 0), 5);
	run(x);
	assert_int_equal(guest_hears(&p, b), 5);
	assert_memory_equal(b, "hello", 5);
	assert_true(guest_sends(&p, "yes?", 4));
	run(x);
	assert_int_equal(host_reads(&p, b, sizeof(b)), 4);
	assert_memory_equal(b, "yes?", 4);
	assert_int_equal(sockets_report(x->s, &r, 1), 1);
	assert_true(r.open && !r.from_guest && r.sent == 5 && r.received == 4 && r.id == p.id);
	close(p.host);
}

static void
each_direction_ends_by_itself(void **state)
{
	struct fixture *x = *state;
	struct pair p;
	char b[64];

	open_pair(x, &p, 1);
	assert_true(guest_sends(&p, "last", 4));
	assert_true(guest_sends(&p, NULL, 0));
	run(x);
	assert_int_equal(host_reads(&p, b, sizeof(b)), 4);
	assert_int_equal(host_reads(&p, b, sizeof(b)), 0);
	assert_int_equal(send(p.host, "answer", 6, 0), 6);
	assert_int_equal(shutdown(p.host, SHUT_WR), 0);
	pass(x, 1000);
	assert_int_equal(x->ends, 0); /* the guest has not read it: it would be lost with the channel */
	assert_int_equal(guest_hears(&p, b), 6);
	pass(x, 100); /* the packet that ends it stays in the ring: Linux only looks at it */
	assert_ended(x, &p, SOCK_CLOSED);
	close(p.host);
}

static void
ask(struct fixture *x, uint32_t port, uint8_t mark)
{
	struct wire_tl_connect m = { .head.type = WIRE_TL_CONNECT };
	uint8_t service[16];

	service_of(port, service);
	memset(m.endpoint, mark, sizeof(m.endpoint));
	for (int i = 0; i < 16; i++) /* a GUID's order on the wire */
		m.service[i] = service[((int[]){ 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 })[i]];
	assert_int_equal(fake_say(&x->f, &m, sizeof(m)), HV_STATUS_SUCCESS);
}

static void
assert_refused(struct fixture *x, uint8_t mark)
{
	struct fake_message m;

	assert_true(fake_await(&x->f, WIRE_TL_RESULT, &m));
	assert_int_equal(m.tl.status, WIRE_STATUS_REFUSED);
	assert_int_equal(m.tl.endpoint[0], mark);
}

static void
the_guest_reaches_a_service_of_the_host(void **state)
{
	struct fixture *x = *state;
	uint8_t service[16];
	struct fake_message m;
	struct pair p = { 0 };
	char b[64];
	int fd;

	service_of(22, service);
	ask(x, 22, 1);
	assert_refused(x, 1); /* nobody listens */
	assert_int_equal(sockets_listen(x->s, service, NULL), 0);
	assert_int_equal(sockets_listen(x->s, service, NULL), -EEXIST);
	ask(x, 22, 2);
	assert_int_equal(x->requests, 1);
	assert_memory_equal(x->service, service, 16);
	p.id = x->id;
	socket_pair(&p, &fd);
	assert_int_equal(sockets_accept(x->s, p.id, fd, NULL), 0);
	assert_true(fake_await(&x->f, WIRE_OFFER, &m));
	assert_int_equal(m.offer.user[4], 0);
	assert_int_equal(m.offer.instance[0], 2);
	p.offer = m.offer;
	assert_int_equal(fake_open(&x->f, &p.c, &p.offer, RING, RING, 0), WIRE_STATUS_OK);
	assert_true(guest_sends(&p, "x", 1));
	run(x);
	assert_int_equal(host_reads(&p, b, sizeof(b)), 1);
	assert_int_equal(sockets_unlisten(x->s, service, NULL), 0);
	assert_int_equal(sockets_unlisten(x->s, service, NULL), -ENOENT);
	ask(x, 22, 3);
	assert_refused(x, 3);
	close(p.host);
}

static void
a_request_is_answered_in_time_or_refused(void **state)
{
	struct fixture *x = *state;
	uint8_t service[16];

	service_of(22, service);
	assert_int_equal(sockets_listen(x->s, service, NULL), 0);
	ask(x, 22, 1);
	pass(x, SOCK_WAIT_MS - 1);
	assert_int_equal(x->withdrawals, 0);
	pass(x, 1);
	assert_int_equal(x->withdrawals, 1);
	assert_refused(x, 1);
	assert_int_equal(sockets_accept(x->s, x->id, 0, NULL), -ENOENT);
	ask(x, 22, 2);
	assert_int_equal(sockets_refuse(x->s, x->id, NULL), 0);
	assert_refused(x, 2);
	assert_int_equal(sockets_refuse(x->s, x->id, NULL), -ENOENT);
	ask(x, 22, 3);
	ask(x, 22, 3); /* the same endpoint a second time */
	assert_refused(x, 3);
	pass(x, 2000);
	assert_int_equal(x->withdrawals, 2);
}

static void
who_asks_too_often_is_refused(void **state)
{
	struct fixture *x = *state;
	uint8_t service[16];

	for (uint32_t i = 0; i < SOCK_SERVICES; i++) {
		service_of(i, service);
		assert_int_equal(sockets_listen(x->s, service, NULL), 0);
	}
	service_of(SOCK_SERVICES, service);
	assert_int_equal(sockets_listen(x->s, service, NULL), -ENOSPC);
	for (uint8_t i = 1; i <= SOCK_REQUESTS; i++)
		ask(x, 5, i);
	assert_int_equal(x->requests, SOCK_REQUESTS);
	ask(x, 5, 200);
	assert_refused(x, 200);
	assert_int_equal(x->requests, SOCK_REQUESTS);
	pass(x, 1600);
	assert_int_equal(x->withdrawals, SOCK_REQUESTS);
}

static void
a_stream_that_the_guest_does_not_open_has_ended(void **state)
{
	struct fixture *x = *state;
	struct pair p;
	char b;

	connect_to_guest(x, &p, 9);
	pass(x, SOCK_OPEN_MS - 1);
	assert_int_equal(x->ends, 0);
	pass(x, 2);
	assert_ended(x, &p, SOCK_NOT_TAKEN);
	assert_int_equal(host_reads(&p, &b, 1), 0);
	close(p.host);
}

static uint8_t
pattern(uint64_t at, uint8_t salt)
{
	return (uint8_t)((at * 2654435761u >> 11) + salt);
}

/* Neither side takes everything at once; all comes, in order, and what waits has a bound. */
static void
the_slower_side_sets_the_pace(void **state)
{
	enum { ALL = 3 << 20 };
	struct fixture *x = *state;
	uint64_t in = 0, out = 0, to_host = 0, to_guest = 0;
	static uint8_t b[8 + PIECE];
	struct pair p;

	open_pair(x, &p, 7);
	for (unsigned turn = 0; to_host < ALL || to_guest < ALL; turn++) {
		uint32_t n = 1 + turn * 7919 % PIECE;
		ssize_t got;
		long heard;

		assert_true(turn < 100000);
		n = n < ALL - in ? n : (uint32_t)(ALL - in);
		for (uint32_t i = 0; i < n; i++)
			b[i] = pattern(in + i, 1);
		if (n && n < (RING - 1) * GMEM_PAGE - 64 && guest_sends(&p, b, n))
			in += n;
		n = (uint32_t)(ALL - out < 5000 ? ALL - out : 5000);
		for (uint32_t i = 0; i < n; i++)
			b[i] = pattern(out + i, 2);
		got = n ? send(p.host, b, n, MSG_DONTWAIT) : 0;
		out += got > 0 ? (uint64_t)got : 0;
		run(x);
		if (turn % 3 == 0 && (got = host_reads(&p, b, 3000)) > 0)
			for (ssize_t i = 0; i < got; i++)
				assert_int_equal(b[i], pattern(to_host++, 1));
		if (turn % 2 == 0 && (heard = guest_hears(&p, b)) > 0)
			for (long i = 0; i < heard; i++)
				assert_int_equal(b[i], pattern(to_guest++, 2));
	}
	assert_int_equal(in, ALL);
	assert_int_equal(out, ALL);
	assert_int_equal(x->ends, 0);
	close(p.host);
}

static void
a_guest_that_closes_ends_the_stream(void **state)
{
	struct fixture *x = *state;
	struct pair p;
	char b;

	open_pair(x, &p, 7);
	assert_true(guest_sends(&p, "z", 1));
	run(x);
	fake_close(&p.c);
	run(x);
	assert_ended(x, &p, SOCK_CLOSED);
	assert_true(fake_teardown(&x->f, p.c.relid, p.c.gpadl));
	assert_int_equal(host_reads(&p, &b, 1), 1);
	assert_int_equal(host_reads(&p, &b, 1), 0);
	close(p.host);
}

static void
a_socket_that_breaks_ends_the_stream(void **state)
{
	struct fixture *x = *state;
	struct pair p;

	open_pair(x, &p, 7);
	close(p.host);
	assert_true(guest_sends(&p, "for nobody", 10));
	run(x);
	assert_ended(x, &p, SOCK_FAILED);
}

static void
the_controller_can_end_it(void **state)
{
	struct fixture *x = *state;
	struct pair p;
	char b;

	open_pair(x, &p, 7);
	assert_int_equal(sockets_close(x->s, p.id, NULL), 0);
	run(x);
	assert_ended(x, &p, SOCK_SHUT);
	assert_int_equal(host_reads(&p, &b, 1), 0);
	assert_int_equal(sockets_close(x->s, p.id, NULL), -ENOENT);
	close(p.host);
}

static void
what_makes_no_sense_ends_the_stream_alone(void **state)
{
	static const struct {
		uint16_t type;
		uint32_t kind, size, len; /* len: of the payload in the packet */
	} rows[] = {
		{ PACKET_INBAND, 0, 4, 12 },             /* no data */
		{ PACKET_INBAND, 2, 4, 12 },             /* a part of a message */
		{ PACKET_INBAND, 1, 9, 16 },             /* more than there is */
		{ PACKET_INBAND, 1, UINT32_MAX, 16 },    /* much more */
		{ PACKET_INBAND, 1, UINT32_MAX - 7, 8 }, /* with its head, 0 */
		{ PACKET_INBAND, 1, 1, 0 },              /* no head */
		{ PACKET_COMPLETION, 1, 4, 12 },
		{ PACKET_GPA_DIRECT, 1, 4, 12 },
		{ PACKET_XFER_PAGES, 1, 4, 12 },
		{ PACKET_INBAND, 1, PIECE + 1, PIECE + 16 },
		{ PACKET_INBAND, 1, 4, PIECE + 1024 },
	};
	struct fixture *x = *state;
	static uint8_t b[PIECE + 2048];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pair p;
		char c;

		connect_to_guest(x, &p, 7);
		assert_int_equal(fake_open(&x->f, &p.c, &p.offer, 8, RING, 0), WIRE_STATUS_OK);
		put_le32(b, rows[i].kind);
		put_le32(b + 4, rows[i].size);
		assert_true(fake_send(&p.c, rows[i].type, 0, 0, NULL, 0, b, rows[i].len));
		run(x);
		assert_ended(x, &p, SOCK_FAILED);
		assert_int_equal(host_reads(&p, &c, 1), 0);
		x->ends = 0;
		close(p.host);
	}
}

enum situation { OPEN, GUEST_ENDED, HOST_ENDED, HELD, SITUATIONS };

static void
go_to(struct fixture *x, struct pair *p, enum situation s)
{
	char c;

	connect_to_guest(x, p, 7);
	assert_int_equal(fake_open(&x->f, &p->c, &p->offer, 8, RING, 0), WIRE_STATUS_OK);
	run(x);
	assert_true(
	    guest_sends(p, "x", 1)); /* which stays in the buffer, for the next one not to be taken for it */
	run(x);
	assert_int_equal(host_reads(p, &c, 1), 1);
	if (s == GUEST_ENDED)
		assert_true(guest_sends(p, NULL, 0));
	if (s == HOST_ENDED)
		assert_int_equal(shutdown(p->host, SHUT_WR), 0);
	run(x);
	if (s == HOST_ENDED)
		assert_int_equal(guest_hears(p, &c), 0);
	if (s == HELD)
		sockets_hold(x->s, true);
}

/* A packet with `len` bytes of payload: a head of this kind, which says that `size` bytes follow. */
static void
check_packet(struct fixture *x, enum situation s, uint16_t type, uint32_t kind, uint32_t len, uint32_t size)
{
	static uint8_t b[2 * PIECE], got[2 * PIECE];
	uint32_t there = (len + 7) / 8 * 8; /* a ring counts in units of 8 bytes */
	bool sense;
	struct pair p;
	ssize_t n;

	go_to(x, &p, s);
	memset(b, 0xa5, sizeof(b));
	put_le32(b, kind);
	put_le32(b + 4, size);
	if (len < 8)
		memset(b + len, 0, 8 - len);
	size = get_le32(b + 4);
	sense = type == PACKET_INBAND && get_le32(b) == 1 && there >= 8 && there <= PIECE + 496 &&
		size <= PIECE && size <= there - 8;
	assert_true(fake_send(&p.c, type, 0, 0, NULL, 0, b, len));
	run(x);
	n = host_reads(&p, got, sizeof(got));
	if (s == HELD) {
		assert_int_equal(n, -1);
		sockets_hold(x->s, false);
		run(x);
		n = host_reads(&p, got, sizeof(got));
	}
	if (s == GUEST_ENDED)
		assert_true(n == 0 && x->ends == 0); /* it has said that no more comes */
	else if (!sense)
		assert_true(n == 0 && x->ends == 1 && x->why == SOCK_FAILED);
	else if (size == 0)
		assert_true(n == 0 && x->ends == (s == HOST_ENDED));
	else
		assert_true(n == (ssize_t)size && memcmp(got, b + 8, size < len - 8 ? size : len - 8) == 0 &&
			    x->ends == 0);
	close(p.host);
}

static void
every_packet_in_every_state_with_every_length(void **state)
{
	static const uint16_t types[] = { PACKET_INBAND, PACKET_COMPLETION, PACKET_GPA_DIRECT, 0, 0xffff };
	static const uint32_t kinds[] = { 0, 1, 2, UINT32_MAX };
	static const uint32_t lengths[] = { 0, 1, 7, 8, 9, 15, 16, 17, PIECE + 7, PIECE + 8, PIECE + 16,
		PIECE + 1024 };
	struct fixture *x = *state;

	for (enum situation s = 0; s < SITUATIONS; s++)
		for (size_t t = 0; t < sizeof(types) / sizeof(types[0]) + 3; t++)
			for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
				uint32_t len = lengths[l], rest = len > 8 ? len - 8 : 0;
				const uint32_t sizes[] = { 0, 1, rest - 1, rest, rest + 8, PIECE, PIECE + 1,
					UINT32_MAX };

				for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
					check_packet(x, s, t < 3 ? PACKET_INBAND : types[t - 3],
					    t < 3 ? kinds[t + (t > 0)] : 1, len, sizes[i]);
					drop(x);
					memset(x, 0, sizeof(*x));
					make(x);
					assert_true(fake_connect(&x->f, VMBUS_5_3));
					assert_int_equal(fake_offers(&x->f, NULL, 0), 0);
				}
			}
}

static void
many_at_once_and_no_more(void **state)
{
	struct fixture *x = *state;
	static struct pair p[SOCK_STREAMS];
	uint8_t service[16] = { 1 };
	uint32_t id;
	char b[8];

	for (unsigned i = 0; i < SOCK_STREAMS; i++) {
		open_pair(x, &p[i], 7);
		assert_int_equal(send(p[i].host, &i, sizeof(i), 0), sizeof(i));
	}
	assert_int_equal(sockets_connect(x->s, service, 0, &id, NULL), -ENOSPC);
	run(x);
	for (unsigned i = 0; i < SOCK_STREAMS; i++) {
		assert_int_equal(guest_hears(&p[i], b), sizeof(i));
		assert_memory_equal(b, &i, sizeof(i));
	}
	for (unsigned i = 0; i < SOCK_STREAMS; i++)
		close(p[i].host);
}

/* The guest of the saved state hears that its streams are gone; the one that goes on keeps them. */
static void
a_save_has_no_streams(void **state)
{
	struct fixture *x = *state, *y = calloc(1, sizeof(*y));
	static uint8_t buf[1 << 20];
	struct fake_message m;
	struct pair p, unopened;
	char b[64];
	long len;

	open_pair(x, &p, 7);
	connect_to_guest(x, &unopened, 8);
	sockets_hold(x->s, true);
	assert_int_equal(send(p.host, "later", 5, 0), 5);
	assert_true(guest_sends(&p, "now", 3));
	run(x);
	assert_int_equal(guest_hears(&p, b), -1);
	len = vmbus_save(x->f.bus, buf, sizeof(buf));
	assert_true(len > 0);
	assert_int_equal(vmbus_state_max(x->f.bus), len);

	make(y);
	memcpy(gmem_span(y->f.mem, 0, MEMORY_MB << 20), gmem_span(x->f.mem, 0, MEMORY_MB << 20),
	    MEMORY_MB << 20);
	assert_int_equal(vmbus_restore(y->f.bus, buf, (size_t)len, NULL), 0);
	vmbus_restored(y->f.bus);
	y->f.connection = x->f.connection;
	for (int i = 0; i < 2; i++) {
		assert_true(fake_await(&y->f, WIRE_RESCIND, &m));
		assert_true(m.relid.relid == p.offer.relid || m.relid.relid == unopened.offer.relid);
		fake_say_numbers(&y->f, WIRE_RELID_RELEASED, sizeof(struct wire_relid), m.relid.relid, 0);
	}
	assert_false(fake_await(&y->f, WIRE_RESCIND, &m));
	connect_to_guest(y, &unopened, 9); /* relids are free again */
	assert_true(unopened.offer.relid <= 2);
	close(unopened.host);
	drop(y);
	free(y);

	sockets_hold(x->s, false);
	run(x);
	assert_int_equal(guest_hears(&p, b), 5);
	assert_int_equal(host_reads(&p, b, sizeof(b)), 3);
	close(p.host);
}

static void
guests_of_old_protocols_hear_nothing(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;

	assert_true(fake_connect(&x->f, VMBUS_4_0));
	ask(x, 22, 1);
	assert_false(fake_await(&x->f, WIRE_TL_RESULT, &m));
	assert_true(fake_connect(&x->f, VMBUS_3_0));
	ask(x, 22, 1); /* the message is not of that protocol */
	assert_false(fake_await(&x->f, WIRE_TL_RESULT, &m));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_host_reaches_a_service_of_the_guest),
		TEST(each_direction_ends_by_itself),
		TEST(the_guest_reaches_a_service_of_the_host),
		TEST(a_request_is_answered_in_time_or_refused),
		TEST(who_asks_too_often_is_refused),
		TEST(a_stream_that_the_guest_does_not_open_has_ended),
		TEST(the_slower_side_sets_the_pace),
		TEST(a_guest_that_closes_ends_the_stream),
		TEST(a_socket_that_breaks_ends_the_stream),
		TEST(the_controller_can_end_it),
		TEST(what_makes_no_sense_ends_the_stream_alone),
		TEST(every_packet_in_every_state_with_every_length),
		TEST(many_at_once_and_no_more),
		TEST(a_save_has_no_streams),
		TEST(guests_of_old_protocols_hear_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
