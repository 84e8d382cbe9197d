/*
 * tests/unit/net_thread_test.c - the network adapter as in a worker: threads of its own with an io_uring
 * each, the real bus, sockets for taps; the test is the guest, the other end of the tap and the control
 * thread.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <sys/socket.h>

#include "hypervisor/vsp/bytes.h"
#include "hypervisor/vsp/net.h"
#include "tests/unit/fake_vmbus.h"

enum {
	VPS = 4,
	MB = 32,
	RECEIVE = 8 << 20,
	RECEIVE_PAGES = 256,
	DATA = 16 << 20,
	RING = 33,
	NVSP = 40,
	VNET_LEN = 12,
	PATIENCE_MS = 20000
};

static struct fake_vmbus f;
static struct io_loop *loops[VPS];
static struct net *n;
static struct fake_channel c[VPS];
static int tap[VPS];
static atomic_bool work;
static uint64_t taken[VPS], completed[VPS];

static void
on_work(void *ctx)
{
	(void)ctx;
	atomic_store(&work, true);
}

static void
control(void)
{
	if (atomic_exchange(&work, false))
		net_work(n);
}

/* What channel i has for the guest: frames are counted and given back, completions counted; a control message
 * or the answer to an NVSP message is copied to m. True when there was one of those. */
static bool
look(unsigned i, uint8_t m[128])
{
	uint8_t p[64], back[NVSP] = { 108, 0, 0, 0, 1 };
	struct packet_head h;
	bool found = false;
	struct fake_ring *r = &c[i].in;

	for (;;) {
		uint32_t at = r->control->read_index, ranges = 0;
		uint8_t head[4];

		if (atomic_load((_Atomic uint32_t *)&r->control->write_index) == at)
			return found;
		for (unsigned k = 0; k < 4; k++)
			head[k] = r->data[(at + 20 + k) % r->size];
		ranges = get_le32(head);
		fake_recv(&c[i], &h, p, sizeof(p));
		if (h.type == PACKET_XFER_PAGES) {
			if (get_le32(p + 4) == 0)
				taken[i] += ranges;
			else
				found = true;
			while (!fake_send(&c[i], PACKET_COMPLETION, 0, h.transaction, NULL, 0, back, NVSP))
				control();
		} else if (h.type == PACKET_COMPLETION && get_le32(p) == 108 && h.transaction >= 1000) {
			completed[i]++;
		} else if (h.type == PACKET_COMPLETION && get_le32(p) != 108) {
			memcpy(m, p, sizeof(p));
			found = true;
		}
	}
}

static void
await(unsigned i, uint8_t m[128])
{
	for (unsigned ms = 0; !look(i, m); ms++) {
		assert_in_range(ms, 0, PATIENCE_MS);
		control();
		poll(NULL, 0, 1);
	}
}

static void
nvsp(uint32_t type, uint32_t a, uint32_t b, uint8_t answer[128])
{
	uint8_t m[NVSP] = { 0 };

	put_le32(m, type);
	put_le32(m + 4, a);
	put_le32(m + 8, b);
	assert_true(fake_send(&c[0], PACKET_INBAND, answer != NULL, 1, NULL, 0, m, sizeof(m)));
	if (answer)
		await(0, answer);
}

static bool
send_pages(unsigned i, uint32_t channel, uint64_t transaction, uint64_t gpa, uint32_t len)
{
	uint8_t ext[24] = { 0 }, m[NVSP] = { 107 };
	uint64_t pfn = gpa / GMEM_PAGE;

	put_le32(ext + 4, 1);
	put_le32(ext + 8, len);
	memcpy(ext + 16, &pfn, sizeof(pfn));
	put_le32(m + 4, channel);
	put_le32(m + 8, UINT32_MAX);
	return fake_send(&c[i], PACKET_GPA_DIRECT, 1, transaction, ext, sizeof(ext), m, sizeof(m));
}

static void
rndis(const uint8_t *m, uint32_t len)
{
	uint8_t a[128];

	gmem_write(f.mem, DATA, m, len);
	assert_true(send_pages(0, 1, 2, DATA, len));
	await(0, a);
}

/* A table that leads to another thread's channel, whichever frame it is. */
static void
scale(void)
{
	uint8_t m[28 + 28 + 40 + 4] = { 5, 0, 0, 0, sizeof(m) }, *v = m + 28;

	put_le32(m + 12, 0x10204);
	put_le32(m + 16, sizeof(m) - 28);
	put_le32(m + 20, 20);
	v[0] = 0x89;
	put_le32(v + 8, 0x1701);
	put_le16(v + 12, 4);
	put_le32(v + 16, 28 + 40);
	put_le16(v + 20, 40);
	put_le32(v + 24, 28);
	v[28] = 0x5a; /* a key */
	put_le32(v + 68, VPS - 1);
	rndis(m, sizeof(m));
}

static int
setup(void **state)
{
	static const struct net_config config = { .mac = { 2 }, .queues = VPS, .mtu = 1500 };
	const struct net_events events = { .work = on_work };
	uint8_t a[128], init[24] = { 2, 0, 0, 0, 24 }, filter[32] = { 5, 0, 0, 0, 32 };
	struct wire_offer offer;
	struct fake_message m;
	int fd[VPS], size = 1 << 20;

	(void)state;
	memset(taken, 0, sizeof(taken));
	memset(completed, 0, sizeof(completed));
	assert_int_equal(fake_vmbus_init(&f, MB, VPS), 0);
	for (unsigned i = 0; i < VPS; i++) {
		int pair[2];

		assert_int_equal(io_loop_new(&loops[i], NULL), 0);
		assert_int_equal(io_loop_start(loops[i], NULL, NULL), 0);
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
		setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		tap[i] = pair[0];
		fd[i] = pair[1];
	}
	assert_int_equal(
	    net_new(&n, f.bus, loops, VPS, 0, (const uint8_t[16]){ 1 }, &config, &events, NULL), 0);
	assert_int_equal(vmbus_offer_device(f.bus, net_device(n), NULL), 0);
	assert_int_equal(net_connect(n, true, fd, VPS, NULL), 0);
	assert_true(fake_connect(&f, VMBUS_5_3));
	assert_int_equal(fake_offers(&f, &offer, 1), 1);
	assert_int_equal(fake_open(&f, &c[0], &offer, RING, RING, 0), WIRE_STATUS_OK);
	nvsp(1, 0x60001, 0x60001, a);
	assert_int_equal(get_le32(a + 12), 1);
	nvsp(101, fake_gpadl(&f, c[0].relid, RECEIVE / GMEM_PAGE, RECEIVE_PAGES), 7, a);
	assert_int_equal(get_le32(a + 4), 1);
	rndis(init, sizeof(init));
	put_le32(filter + 12, 0x1010e);
	put_le32(filter + 16, 4);
	put_le32(filter + 20, 20);
	put_le32(filter + 28, 0x20);
	rndis(filter, sizeof(filter));
	scale();
	nvsp(133, 1, VPS - 1, a);
	assert_int_equal(get_le32(a + 4), 1);
	for (unsigned i = 1; i < VPS; i++) {
		assert_true(fake_await(&f, WIRE_OFFER, &m));
		assert_int_equal(fake_open(&f, &c[i], &m.offer, RING, RING, i), WIRE_STATUS_OK);
	}
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	vmbus_reset(f.bus);
	for (unsigned ms = 0; !vmbus_idle(f.bus); ms++) {
		assert_in_range(ms, 0, PATIENCE_MS);
		control();
		poll(NULL, 0, 1);
	}
	vmbus_free(f.bus);
	net_free(n);
	for (unsigned i = 0; i < VPS; i++) {
		io_loop_free(loops[i]);
		close(tap[i]);
	}
	f.bus = NULL;
	gmem_free(f.mem);
	free(f.heard);
	return 0;
}

/* Both ways on all channels, as fast as it goes; with pauses in between. Frames stay with the thread that has
 * read them, though the guest's table leads elsewhere. */
static void
frames_go_both_ways_on_all_channels(void **state)
{
	enum { FRAMES = 4000 };
	uint8_t wire[VNET_LEN + 200] = { 0 }, m[256] = { 1 }, got[2048];
	uint64_t in[VPS] = { 0 }, out[VPS] = { 0 }, arrived[VPS] = { 0 };
	unsigned idle = 0;

	(void)state;
	wire[VNET_LEN] = 2;
	put_be16(wire + VNET_LEN + 12, 0x0800);
	wire[VNET_LEN + 14] = 0x45;
	wire[VNET_LEN + 23] = 6;
	put_le32(m + 4, 144);
	put_le32(m + 8, 36);
	put_le32(m + 12, 100);
	m[44] = 4;
	m[50] = 2;
	gmem_write(f.mem, DATA + 4096, m, 144);
	for (unsigned round = 0; idle < PATIENCE_MS; round++) {
		bool busy = false, done = true;

		for (unsigned i = 0; i < VPS; i++) {
			while (in[i] < FRAMES && write(tap[i], wire, sizeof(wire)) > 0)
				in[i]++, busy = true;
			for (unsigned k = 0; k < 32 && out[i] < FRAMES; k++)
				if (send_pages(i, 0, 1000 + out[i], DATA + 4096, 144))
					out[i]++, busy = true;
			look(i, got);
			while (read(tap[i], got, sizeof(got)) == VNET_LEN + 100)
				arrived[i]++, busy = true;
			done = done && taken[i] == FRAMES && completed[i] == FRAMES && arrived[i] == FRAMES;
		}
		control();
		if (round % 50 == 49) {
			assert_int_equal(net_pause(n, PATIENCE_MS, NULL), 0);
			net_resume(n);
		}
		if (done)
			return;
		if (!busy) {
			poll(NULL, 0, 1);
			idle++;
		} else {
			idle = 0;
		}
	}
	for (unsigned i = 0; i < VPS; i++)
		print_error("channel %u: taken %llu completed %llu arrived %llu\n", i,
		    (unsigned long long)taken[i], (unsigned long long)completed[i],
		    (unsigned long long)arrived[i]);
	fail_msg("frames were lost");
}

static void
a_guest_that_vanishes_is_let_go(void **state)
{
	uint8_t wire[VNET_LEN + 200] = { 0 };

	(void)state;
	for (unsigned k = 0; k < 200; k++)
		for (unsigned i = 0; i < VPS; i++) {
			(void)!write(tap[i], wire, sizeof(wire));
			send_pages(i, 0, 1000, DATA + 4096, 144);
		}
	/* with all of it under way: teardown waits for the rest */
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(frames_go_both_ways_on_all_channels),
		unit(a_guest_that_vanishes_is_let_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
