/*
 * tests/fuzz/net_fuzz.c - a guest's packets to the network adapter, good, odd and malformed, on any channel
 * in any state: NVSP messages, RNDIS control messages and OIDs, RNDIS packets; frames from the tap meanwhile,
 * rings spoilt, sections kept, channels closed and opened, the link pulled, the adapter saved and restored.
 *
 * In the end every packet that wanted an answer on a channel that lived has one: a lost one would hang a
 * guest.
 */
#include "tests/fuzz/fuzz.h"
#include "lib/log.h"
#include "tests/unit/fake_net.h"

enum { MOST = 150, CHANNELS = 3, STATE_MAX = 1 << 18, HELD = 64, OID_SCALING = 0x10204 };

struct input {
	const uint8_t *p;
	size_t n;
};

struct fuzzed {
	struct fake_net x;
	struct input in;
	bool open[CHANNELS], lost; /* lost: a ring or a state was spoilt, nothing is promised */
	bool usual;                /* all was agreed on as drivers do it: so are the frames */
	unsigned wanted[CHANNELS];
	uint64_t held[HELD]; /* packets that the guest has not completed, of channel 0 */
	unsigned n_held;
};

static uint8_t
take(struct input *in)
{
	if (!in->n)
		return 0;
	in->n--;
	return *in->p++;
}

static void
take_bytes(struct input *in, uint8_t *p, size_t n)
{
	while (n--)
		*p++ = take(in);
}

/* A number that is more often near something than not. */
static uint32_t
take_number(struct input *in)
{
	static const uint32_t near[] = { 0, 12, 16, 36, 44, 60, 100, 1514, 1518, 6144, 0x7fffffff,
		0xfffffff8 };
	uint8_t how = take(in);

	if (how < 0x80)
		return how;
	if (how < 0xe0)
		return near[how % 12] + (how >> 4 & 3) - 1;
	return take(in) | (uint32_t)take(in) << 8 | (uint32_t)take(in) << 24;
}

static void
run(struct fuzzed *z)
{
	must(fake_net_run(&z->x));
}

/* Every frame of a packet can be put together. */
static void
frames_are_whole(struct fuzzed *z)
{
	static uint8_t frame[FAKE_MAX_FRAME];

	for (uint32_t k = 0; k < z->x.ranges;)
		must(fake_net_frame(&z->x, &k, frame, sizeof(frame)) > 0);
}

static void
receive(struct fuzzed *z, unsigned i, bool keep)
{
	struct packet_head h;
	unsigned type;

	if (!z->open[i] || z->lost)
		return;
	while ((type = fake_net_recv(&z->x, i, &h)) != 0) {
		if (type == PACKET_COMPLETION) {
			must(z->wanted[i] > 0);
			z->wanted[i]--;
		} else if (type == PACKET_XFER_PAGES) {
			must(z->x.ranges > 0);
			for (uint32_t k = 0; k < z->x.ranges; k++)
				must(z->x.range[k].at + (uint64_t)z->x.range[k].len <=
				     FAKE_RECEIVE_PAGES * GMEM_PAGE);
			if (z->usual && get_le32(z->x.nvsp + 4) == 0)
				frames_are_whole(z);
			if (!keep || i || z->n_held == HELD)
				fake_net_complete(&z->x, i, h.transaction);
			else
				z->held[z->n_held++] = h.transaction;
		} else {
			must(type == PACKET_INBAND && get_le32(z->x.nvsp) == 134);
		}
	}
}

static void
sent(struct fuzzed *z, unsigned i, bool ok, uint8_t flags)
{
	if (ok && (flags & PACKET_WANTS_REPLY))
		z->wanted[i]++;
}

/* --- the guest --- */

static void
nvsp(struct fuzzed *z, unsigned i)
{
	static const uint8_t types[] = { 1, 100, 101, 103, 104, 106, 107, 125, 129, 133 };
	uint8_t m[NVSP_LEN] = { 0 };
	uint32_t len = take(&z->in) % (NVSP_LEN + 1);

	z->usual = false;
	m[0] = types[take(&z->in) % 10];
	put_le32(m + 4, take_number(&z->in));
	put_le32(m + 8, take_number(&z->in));
	put_le32(m + 12, take_number(&z->in));
	if (m[0] == 1) {
		static const uint32_t versions[] = { 2, 0x30002, 0x40000, 0x50000, 0x60000, 0x60001 };
		uint32_t v = versions[m[4] % 6];

		put_le32(m + 4, v);
		put_le32(m + 8, v);
	} else if ((m[0] == 101 || m[0] == 104) && (m[8] & 1)) {
		put_le32(m + 4, m[0] == 101 ? z->x.receive : z->x.send);
	}
	sent(z, i, fake_send(&z->x.c[i], PACKET_INBAND, 1, 1, NULL, 0, m, len), 1);
}

/* A control message: a type, four numbers, and bytes. */
static void
control(struct fuzzed *z, unsigned i)
{
	static const uint32_t oids[] = { 0x10101, 0x1010e, 0x10203, OID_SCALING, 0x1021b, 0x1010103,
		0xfc01020b, 0xfc01020c, 0xfc01020d, 0x20106, 0x10207 };
	uint8_t m[256] = { 0 };
	uint32_t len = 12 + take(&z->in) % 200;

	m[0] = take(&z->in) % 10;
	put_le32(m + 4, len);
	put_le32(m + 12, oids[take(&z->in) % 11]);
	put_le32(m + 16, take_number(&z->in));
	put_le32(m + 20, 20);
	take_bytes(&z->in, m + 28, take(&z->in) % 200);
	if (get_le32(m + 12) == OID_SCALING && (take(&z->in) & 1)) { /* as it should be, but for its table */
		uint8_t entries = take(&z->in) % 16;

		m[0] = 5;
		put_le32(m + 4, len = 28 + 28 + 40 + 64);
		put_le32(m + 16, len - 28);
		m[28] = 0x89;
		put_le32(m + 28 + 8, 0x1701);
		put_le16(m + 28 + 12, 4 * entries);
		put_le32(m + 28 + 16, 28 + 40);
		put_le16(m + 28 + 20, 40);
		put_le32(m + 28 + 24, 28);
	}
	if (take(&z->in) & 1)
		put_le32(m + 4 * (take(&z->in) % 6), take_number(&z->in));
	gmem_write(z->x.f.mem, FAKE_CONTROL, m, sizeof(m));
	sent(z, i, fake_rndis_send(&z->x, i, 1, 2, FAKE_CONTROL, len), 1);
}

/* A packet with records, some of its numbers the input's; by its pages or in a section. */
static void
packet(struct fuzzed *z, unsigned i)
{
	uint8_t m[4096], frame[2000] = { 0 }, ppi[48] = { 0 }, how = take(&z->in), nv[NVSP_LEN] = { 107 };
	uint32_t len = 14 + take(&z->in) * 7u, ppi_len = (how & 3) * 16u, total;

	memcpy(frame + 6, z->x.config.mac, 6);
	take_bytes(&z->in, frame + 12, 40);
	for (uint32_t k = 0; k < ppi_len; k += 16) {
		ppi[k] = 16;
		ppi[k + 4] = take(&z->in) % 8;
		ppi[k + 8] = 12;
		take_bytes(&z->in, ppi + k + 12, 4);
	}
	total = fake_packet(m, ppi, ppi_len, frame, len);
	if (how & 0x40) /* two of them */
		total += fake_packet(m + total, NULL, 0, frame, 60);
	for (unsigned k = how >> 4 & 3; k; k--)
		put_le32(m + take(&z->in) % 27 * 4, take_number(&z->in));
	if (how & 0x80) {
		uint32_t section = take(&z->in) % 17;

		gmem_write(z->x.f.mem, FAKE_SEND + section % 16 * 6144, m, total < 6144 ? total : 6144);
		put_le32(nv + 8, section);
		put_le32(nv + 12, how & 4 ? take_number(&z->in) : total);
		sent(z, i, fake_send(&z->x.c[i], PACKET_INBAND, 1, 3, NULL, 0, nv, sizeof(nv)), 1);
		return;
	}
	gmem_write(z->x.f.mem, FAKE_DATA + how * 64u, m, total);
	sent(z, i, fake_rndis_send(&z->x, i, 0, 3, FAKE_DATA + how * 64u, total), 1);
}

/* Head, ranges and payload are the input's. */
static void
raw_packet(struct fuzzed *z, unsigned i)
{
	uint8_t ext[64], p[48], flags = take(&z->in);
	uint16_t type = take(&z->in) % 14;
	size_t ext_len = take(&z->in) % (sizeof(ext) + 1) / 8 * 8, len = take(&z->in) % (sizeof(p) + 1);

	z->usual = false;
	take_bytes(&z->in, ext, ext_len);
	take_bytes(&z->in, p, len);
	if (fake_send(&z->x.c[i], type, flags, 4, ext, ext_len, p, len) && type != PACKET_COMPLETION)
		sent(z, i, true, flags);
}

static void
give_back(struct fuzzed *z, unsigned i)
{
	uint8_t which = take(&z->in);
	unsigned at;

	(void)i;
	if (!z->n_held || !z->open[0])
		return;
	at = which % z->n_held;
	fake_net_complete(&z->x, 0, z->held[at]);
	z->n_held--;
	z->held[at] = z->held[z->n_held];
}

static void
spoil(struct fuzzed *z, unsigned i)
{
	struct fake_channel *g = &z->x.c[i];
	uint8_t what = take(&z->in);
	uint32_t v = take(&z->in) * 8u + (what >> 7);

	if (take(&z->in) & 7)
		return;
	z->lost = true;
	if (what & 1)
		g->out.control->write_index = v;
	else if (what & 2)
		g->in.control->read_index = v;
	else if (what & 4)
		g->out.control->pending_send = v;
	else
		take_bytes(&z->in, g->out.data + v % (g->out.size - 64), 32);
	fake_kick(&z->x.f, g->connection);
}

static void
subchannels(struct fuzzed *z, unsigned i)
{
	uint8_t request[NVSP_LEN] = { 0 };
	struct fake_message m;

	(void)i;
	put_le32(request, 133);
	put_le32(request + 4, 1);
	put_le32(request + 8, 2);
	sent(z, 0, z->open[0] && fake_send(&z->x.c[0], PACKET_INBAND, 1, 5, NULL, 0, request, NVSP_LEN), 1);
	run(z);
	while (fake_await(&z->x.f, WIRE_OFFER, &m))
		if (m.offer.index > 0 && m.offer.index < CHANNELS && !z->open[m.offer.index]) {
			unsigned k = m.offer.index;

			z->open[k] = fake_open(&z->x.f, &z->x.c[k], &m.offer, 4, 4, 0) == WIRE_STATUS_OK;
			z->wanted[k] = 0;
		}
	run(z);
}

/* Long frames: 1 off, 2 on. */
static void
coalesce(struct fuzzed *z, uint8_t how)
{
	uint8_t params[28] = { 0x80, 3, 28 };

	params[22] = params[23] = how;
	must(fake_set(&z->x, 0xfc01020c, params, sizeof(params)) != UINT32_MAX);
}

/* All is closed, and a driver begins anew, as far as the input wants. */
static void
begin_again(struct fuzzed *z, uint8_t how)
{
	static const uint32_t versions[] = { 2, 0x30002, 0x40000, 0x50000, 0x60000, 0x60001 };

	vmbus_reset(z->x.f.bus);
	run(z);
	memset(z->open, 0, sizeof(z->open));
	memset(z->wanted, 0, sizeof(z->wanted));
	z->lost = false;
	z->n_held = 0;
	z->x.f.next_page = FAKE_FIRST_PAGE;
	z->x.f.next_gpadl = 1;
	z->x.receive = z->x.send = 0;
	fake_forget(&z->x.f);
	must(fake_net_open(&z->x));
	z->open[0] = true;
	if (how & 1)
		must(fake_net_agree(&z->x, versions[(how >> 4) % 6], how & 8 ? 9000 : 1500));
	z->usual = (how & 3) == 3;
	if (z->usual)
		must(fake_rndis_initialize(&z->x) && fake_filter(&z->x, 0x2f));
	if (z->usual && how & 4)
		coalesce(z, 2);
}

/* --- the host --- */

static void
frames(struct fuzzed *z)
{
	static const uint8_t segments[FAKE_VNET] = { 1, 1, 54, 0, 180, 5, 34, 0, 16 };
	static uint8_t frame[FAKE_MAX_FRAME];
	uint8_t vnet[FAKE_VNET] = { 0 }, how = take(&z->in);
	size_t len = take(&z->in) * (how >> 4 == 15 ? 260u : 6u);

	memset(frame, 0, sizeof(frame));
	if (how >> 4 == 15)
		memcpy(vnet, segments, sizeof(vnet));

	memcpy(frame, z->x.config.mac, 6);
	take_bytes(&z->in, frame + 12, 30);
	if (frame[12] & 1) { /* of IP */
		put_be16(frame + 12, frame[13] & 1 ? 0x86dd : 0x0800);
		frame[14] |= 0x40;
	}
	if (how & 1)
		take_bytes(&z->in, vnet, 10);
	if (how & 2)
		vnet[0] = 1, vnet[1] = 0;
	for (unsigned n = 1 + (how >> 4); n; n--)
		fake_net_inject(&z->x, (how >> 2 & 3) % CHANNELS, vnet, frame, len);
}

static void
empty_taps(struct fuzzed *z)
{
	static uint8_t frame[FAKE_MAX_FRAME], vnet[FAKE_VNET];

	for (unsigned q = 0; q < CHANNELS; q++)
		while (fake_net_sent(&z->x, q, vnet, frame, sizeof(frame)) >= 0)
			must(get_le16(vnet + 4) == 0 || vnet[1] != 0);
}

static void
plug(struct fuzzed *z, uint8_t how)
{
	if (how & 1)
		net_connect(z->x.n, how & 2, NULL, 0, NULL);
	else
		must(fake_net_connect(&z->x, CHANNELS));
}

static void
save_and_restore(struct fuzzed *z)
{
	static uint8_t buf[STATE_MAX];
	uint8_t changes = take(&z->in) % 4;
	long len;

	if (net_pause(z->x.n, 0, NULL) < 0)
		return;
	len = vmbus_save(z->x.f.bus, buf, sizeof(buf));
	must(len > 0);
	for (unsigned i = 0; i < changes; i++)
		buf[len - 1 - (take(&z->in) | (long)take(&z->in) << 8) % len] = take(&z->in);
	z->lost = z->lost || changes;
	vmbus_free(z->x.f.bus);
	net_free(z->x.n);
	io_loop_free(z->x.loop);
	memset(z->x.f.bound, 0, sizeof(z->x.f.bound));
	must(vmbus_new(&z->x.f.bus, &z->x.f.host, NULL) == 0);
	fake_net_make(&z->x);
	if (vmbus_restore(z->x.f.bus, buf, (size_t)len, NULL) == 0) {
		vmbus_restored(z->x.f.bus);
	} else {
		must(changes);
		begin_again(z, 0);
	}
	run(z);
}

/* --- one input --- */

static void
action(struct fuzzed *z)
{
	uint8_t what = take(&z->in);
	unsigned i = what >> 4 & 1 ? (what >> 5) % CHANNELS : 0;
	static void (*const guest[])(struct fuzzed *, unsigned) = { packet, packet, control, nvsp, raw_packet,
		give_back, spoil, subchannels };

	what &= 15;
	if (what < 8) {
		if (z->open[i])
			guest[what](z, i);
	} else if (what < 10) {
		frames(z);
	} else if (what == 10) {
		save_and_restore(z);
	} else if (what == 11) {
		begin_again(z, take(&z->in));
	} else if (what == 12) {
		plug(z, take(&z->in));
	} else if (what == 13) {
		receive(z, i, true);
	} else if (what == 14) {
		fake_loop_pass(z->x.loop, (uint64_t)take(&z->in) << 26);
	} else {
		empty_taps(z);
		run(z);
	}
}

/* Everything that is owed comes, as fast as the guest takes it. */
static void
end(struct fuzzed *z)
{
	unsigned owed = 0;

	for (unsigned again = 0; again < 200; again++) {
		owed = 0;
		empty_taps(z);
		fake_net_wait(&z->x);
		for (unsigned i = 0; i < CHANNELS; i++) {
			receive(z, i, false);
			owed += z->open[i] && !z->lost ? z->wanted[i] : 0;
		}
		if (!owed)
			return;
	}
	must(owed == 0);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	log_open("fuzz", 2, LOG_ERROR);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzzed z;

	memset(&z, 0, sizeof(z));
	z.in = (struct input){ data, size };
	fake_net_init(
	    &z.x, &(struct net_config){ .mac = { 0, 0x15, 0x5d, 1, 2, 3 }, .queues = CHANNELS, .mtu = 9000 });
	begin_again(&z, take(&z.in));
	for (unsigned i = 0; i < MOST && z.in.n; i++)
		action(&z);
	end(&z);
	fake_net_free(&z.x);
	return 0;
}
