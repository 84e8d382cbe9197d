/*
 * tests/fuzz/sock_fuzz.c - streams between guest and host: asked for, opened, written to and ended from
 * either side, in any order; packets of any shape, rings spoilt, time that passes, the bus saved and
 * restored. In the end, whatever it was, nothing is left: no stream, no request, no descriptor in the loop.
 */
#include "hypervisor/vsp/sock.h"

#define FAKE_LOOP_FILES 512
#include "hypervisor/vsp/bytes.h"
#include "tests/fuzz/vmbus.h"
#include "tests/unit/fake_loop.h"

enum { PAIRS = 4, RING = 2, PORT = 9, STATE = 1 << 18 };

struct pair {
	bool used, offered, open;
	uint32_t id;
	int host; /* -1: closed */
	struct fake_channel c;
	struct wire_offer offer;
};

static struct fake_vmbus f;
static struct io_loop *loop;
static struct sockets *s;
static struct pair pair[PAIRS];
static uint8_t state[STATE], service[16];
static bool work_wanted, held;
static uint32_t asked; /* of the last request; 0: none */

static void
on_work(void *ctx)
{
	(void)ctx;
	work_wanted = true;
}

static void
on_requested(void *ctx, uint32_t id, const uint8_t of[16])
{
	(void)ctx;
	must(memcmp(of, service, 16) == 0);
	asked = id;
}

static void
on_withdrawn(void *ctx, uint32_t id)
{
	(void)ctx;
	asked = asked == id ? 0 : asked;
}

static void
on_ended(void *ctx, uint32_t id, enum sock_end why)
{
	(void)ctx;
	must(why < SOCK_ENDS);
	for (unsigned i = 0; i < PAIRS; i++)
		if (pair[i].used && pair[i].id == id)
			pair[i].used = pair[i].open = pair[i].offered = false;
}

static void
run(void)
{
	do {
		work_wanted = false;
		sockets_work(s);
		must(fake_loop_run(loop));
	} while (work_wanted);
}

static struct pair *
a_pair(struct actions *a)
{
	return &pair[take8(a) % PAIRS];
}

/* Our end of a pair's socket, and the other in *theirs. */
static void
make_sockets(struct pair *p, int *theirs)
{
	int fd[2];

	if (p->host >= 0)
		close(p->host);
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
	p->host = fd[0];
	*theirs = fd[1];
}

/* --- the controller --- */

static void
host_connects(struct actions *a)
{
	struct pair *p = a_pair(a);
	int fd;

	if (p->used)
		return;
	make_sockets(p, &fd);
	p->used = sockets_connect(s, service, fd, &p->id, NULL) == 0;
	if (!p->used)
		close(fd);
}

static void
host_answers(struct actions *a)
{
	struct pair *p = a_pair(a);
	uint32_t id = asked;
	int fd;

	asked = 0;
	if (p->used || take8(a) & 1) {
		sockets_refuse(s, id, NULL);
		return;
	}
	make_sockets(p, &fd);
	p->id = id;
	p->used = sockets_accept(s, id, fd, NULL) == 0;
	if (!p->used)
		close(fd);
}

static void
host_listens(struct actions *a)
{
	if (take8(a) & 1)
		sockets_listen(s, service, NULL);
	else
		sockets_unlisten(s, service, NULL);
}

static void
host_moves_bytes(struct actions *a)
{
	static uint8_t b[1 << 16];
	struct pair *p = a_pair(a);
	uint8_t what = take8(a);

	if (p->host < 0)
		return;
	if (what & 1)
		(void)!send(p->host, b, what * 100, MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		(void)!recv(p->host, b, what * 100, MSG_DONTWAIT);
	if (what % 16 == 15)
		shutdown(p->host, SHUT_WR);
	run();
}

static void
host_hangs_up(struct actions *a)
{
	struct pair *p = a_pair(a);

	if (p->host >= 0)
		close(p->host);
	p->host = -1;
	run();
}

static void
host_ends_it(struct actions *a)
{
	struct pair *p = a_pair(a);

	sockets_close(s, p->id + (take8(a) & 1), NULL);
	run();
}

static void
host_holds(struct actions *a)
{
	held = take8(a) & 1;
	sockets_hold(s, held);
	run();
}

static void
time_passes(struct actions *a)
{
	fake_loop_pass(loop, take8(a) * 40000000ull);
	run();
}

/* --- the guest --- */

static void
guest_asks(struct actions *a)
{
	struct wire_tl_connect m = { .head.type = WIRE_TL_CONNECT };
	uint8_t mark = take8(a);

	memset(m.endpoint, mark, sizeof(m.endpoint));
	for (int i = 0; i < 16; i++)
		m.service[i] = service[((int[]){ 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 })[i]];
	if (mark == 0xff)
		m.service[0]++;
	fake_say(&f, &m, sizeof(m));
}

static struct pair *
by_relid(uint32_t relid)
{
	for (unsigned i = 0; i < PAIRS; i++)
		if (pair[i].offered && pair[i].offer.relid == relid)
			return &pair[i];
	return NULL;
}

/* What came: offers belong to whichever pair has none yet; what was taken back is released. */
static void
guest_listens(struct actions *a)
{
	struct fake_message m;

	(void)a;
	for (uint32_t type; (type = fake_hear(&f, &m)) != 0;) {
		struct pair *p = type == WIRE_RESCIND ? by_relid(m.relid.relid) : NULL;
		unsigned i = 0;

		if (p)
			p->offered = p->open = false;
		if (type == WIRE_RESCIND)
			fake_say_numbers(
			    &f, WIRE_RELID_RELEASED, sizeof(struct wire_relid), m.relid.relid, 0);
		while (type == WIRE_OFFER && i < PAIRS && (!pair[i].used || pair[i].offered))
			i++;
		if (type != WIRE_OFFER || i == PAIRS)
			continue;
		pair[i].offer = m.offer;
		pair[i].offered = true;
	}
	run();
}

static void
guest_opens(struct actions *a)
{
	struct pair *p = a_pair(a);

	if (p->offered && !p->open && f.next_page + 2 * RING < FUZZ_PAGES)
		p->open = fake_open(&f, &p->c, &p->offer, RING, RING, 0) == WIRE_STATUS_OK;
	run();
}

static void
guest_sends(struct actions *a)
{
	static const uint16_t type[] = { PACKET_INBAND, PACKET_INBAND, PACKET_INBAND, PACKET_COMPLETION,
		PACKET_GPA_DIRECT };
	static uint8_t b[4096];
	struct pair *p = a_pair(a);
	uint32_t len = take_number(a), size = take_number(a);
	uint8_t what = take8(a);

	put_le32(b, what & 64 ? what : 1);
	put_le32(b + 4, size);
	if (p->open)
		fake_send(&p->c, type[what % 5], 0, 0, NULL, 0, b, what & 128 ? len % 4000 : 8 + size % 4000);
	run();
}

static void
guest_hears(struct actions *a)
{
	struct pair *p = a_pair(a);
	struct packet_head h;
	uint8_t b[512];

	if (p->open && p->c.in.control->read_index < p->c.in.size)
		fake_recv(&p->c, &h, b, sizeof(b));
	run();
}

static void
guest_closes(struct actions *a)
{
	struct pair *p = a_pair(a);

	if (p->open)
		fake_shut(&p->c);
	p->open = false;
	run();
}

static void
guest_scribbles(struct actions *a)
{
	struct pair *p = a_pair(a);
	uint32_t at = take16(a), v = take_number(a);

	if (p->open)
		must(gmem_write(f.mem, p->c.first * GMEM_PAGE + at % (2 * RING * GMEM_PAGE - 4), &v,
			 sizeof(v)) == 0);
	run();
}

/* --- both --- */

static void
begin(void)
{
	const struct sock_events events = { NULL, on_work, on_requested, on_withdrawn, on_ended };

	loop = fake_loop_new();
	must(sockets_new(&s, f.bus, loop, &events, NULL) == 0);
}

static void
end(void)
{
	vmbus_reset(f.bus);
	sockets_reset(s);
	run();
	must(vmbus_idle(f.bus) && sockets_report(s, NULL, 0) == 0 && loop->ops == 0);
	for (int i = 0; i < FAKE_LOOP_FILES; i++)
		must(loop->fd[i] == 0);
	for (unsigned i = 0; i < PAIRS; i++) {
		must(!pair[i].used);
		if (pair[i].host >= 0)
			close(pair[i].host);
		pair[i] = (struct pair){ .host = -1 };
	}
	vmbus_free(f.bus);
	f.bus = NULL;
	sockets_free(s);
	io_loop_free(loop);
	asked = 0;
	held = false;
}

/* Into another process; the guest finds its streams ended. */
static void
saved_and_restored(struct actions *a)
{
	long n;

	(void)a;
	sockets_hold(s, true);
	n = vmbus_save(f.bus, state, sizeof(state));
	must(n > 0);
	sockets_hold(s, held);
	end();
	f.retry_ms = 0;
	must(vmbus_new(&f.bus, &f.host, NULL) == 0);
	begin();
	must(vmbus_restore(f.bus, state, (size_t)n, NULL) == 0);
	vmbus_restored(f.bus);
	run();
}

static void (*const action[])(struct actions *a) = { host_connects, host_answers, host_listens,
	host_moves_bytes, host_hangs_up, host_ends_it, host_holds, time_passes, guest_asks, guest_listens,
	guest_opens, guest_sends, guest_sends, guest_hears, guest_closes, guest_scribbles,
	saved_and_restored };

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	sock_port_service(PORT, service);
	must(fake_vmbus_init(&f, FUZZ_PAGES * GMEM_PAGE >> 20, FUZZ_VPS) == 0);
	vmbus_free(f.bus);
	for (unsigned i = 0; i < PAIRS; i++)
		pair[i].host = -1;
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct actions a = { data, size };

	fuzz_wipe(&f);
	must(vmbus_new(&f.bus, &f.host, NULL) == 0);
	begin();
	must(fake_connect(&f, VMBUS_5_3));
	fake_offers(&f, NULL, 0);
	while (a.n != 0)
		action[take8(&a) % (sizeof(action) / sizeof(action[0]))](&a);
	end();
	return 0;
}
