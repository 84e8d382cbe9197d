/*
 * tests/lab/hostile/devices.c - what each kind of device on VMBus is told: what its driver says, with fields
 * at random.
 */
#include "tests/lab/hostile/vmbus.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const uint8_t mac[6] = { 0x00, 0x15, 0x5d, 0x66, 0x66, 0x06 }; /* as hostile.lua has it */

/* Zeros up to so many words. */
static void
pad(struct packet *p, unsigned words)
{
	while (p->words < words)
		packet_add(p, 0);
}

static uint32_t
data_page(struct cpu *c)
{
	return DATA / 4096 + below(c, DATA_PAGES);
}

/* --- storage -------------------------------------------------------------------------------------------- */

static void
storage_say(struct cpu *c, struct channel *ch, uint32_t operation, uint32_t argument)
{
	struct packet *p = packet_new(c, INBAND);

	packet_add(p, operation);
	packet_add(p, 1);
	packet_add(p, 0);
	packet_add(p, argument);
	pad(p, 16);
	packet_put(c, ch, p);
}

static void
storage_greet(struct cpu *c, struct channel *ch)
{
	static const uint8_t steps[] = { 7, 9, 10, 8 };

	for (unsigned i = 0; i < sizeof(steps); i++)
		storage_say(c, ch, steps[i], 0x602);
	if (below(c, 2))
		storage_say(c, ch, 13, 1);
}

/* A command with so many bytes in up to three pages. */
static void
storage_command(struct cpu *c, struct channel *ch, const uint8_t cdb[16], uint32_t len, uint32_t direction)
{
	uint32_t pages[3] = { data_page(c), data_page(c), data_page(c) };
	struct packet *p = packet_new(c, DIRECT);

	packet_range(p, len ? len : 512, 0, pages, len ? (len + 4095) / 4096 : 1);
	packet_add(p, 3);
	packet_add(p, 1);
	packet_add(p, 0);
	packet_add(p, 52);
	packet_add(p, below(c, 32) ? below(c, 3) << 24 : rnd(c)); /* path, target, LUN */
	packet_add(p, 16u | 20u << 8 | direction << 16);
	packet_add(p, len);
	for (unsigned i = 0; i < 16; i += 4)
		packet_add(p, cdb[i] | (uint32_t)cdb[i + 1] << 8 | (uint32_t)cdb[i + 2] << 16 |
				  (uint32_t)cdb[i + 3] << 24);
	pad(p, p->head + 16);
	packet_put(c, ch, p);
}

static void
storage_any(struct cpu *c, struct channel *ch)
{
	static const uint8_t codes[] = { 0x00, 0x03, 0x12, 0x15, 0x1a, 0x1b, 0x25, 0x28, 0x28, 0x2a, 0x2a,
		0x2e, 0x2f, 0x35, 0x41, 0x42, 0x43, 0x46, 0x55, 0x5a, 0x88, 0x8a, 0x93, 0x9e, 0xa0, 0xa3,
		0xad };
	uint8_t cdb[16];

	for (unsigned i = 0; i < 16; i++)
		cdb[i] = (uint8_t)(below(c, 3) ? 0 : value(c));
	cdb[0] = below(c, 16) ? codes[below(c, sizeof(codes))] : (uint8_t)rnd(c);
	cdb[8] = (uint8_t)below(c, 17);
	storage_command(c, ch, cdb, 512 * below(c, 17), below(c, 3));
}

/* One that makes sense: so many blocks, somewhere in the first 16 MiB of a disk of 4. */
static void
storage_transfer(struct cpu *c, struct channel *ch)
{
	static const uint8_t codes[] = { 0x28, 0x2a, 0x2e };
	uint8_t blocks = (uint8_t)(1 + below(c, 16));
	uint8_t cdb[16] = { [0] = codes[below(c, sizeof(codes))],
		[4] = (uint8_t)below(c, 0x80),
		[5] = (uint8_t)rnd(c),
		[8] = blocks };

	storage_command(c, ch, cdb, 512u * blocks, cdb[0] == 0x28);
}

static void
storage_talk(struct cpu *c, struct channel *ch)
{
	if (below(c, 2))
		storage_any(c, ch);
	else if (below(c, 20))
		storage_transfer(c, ch);
	else /* resets, sub-channels, steps that are over */
		storage_say(c, ch, below(c, 15), 1 + below(c, 2));
}

/* --- network: NVSP -------------------------------------------------------------------------------------- */

static void
nvsp(struct cpu *c, struct channel *ch, uint32_t type, uint32_t a, uint32_t b, uint32_t d)
{
	struct packet *p = packet_new(c, INBAND);

	packet_add(p, type);
	packet_add(p, a);
	packet_add(p, b);
	packet_add(p, d);
	pad(p, 10);
	packet_put(c, ch, p);
}

static void
lend_receive(struct cpu *c, struct channel *ch)
{
	nvsp(c, ch, 101, lend(c, ch, RECEIVE, RECEIVE_PAGES), 0xcafe, 0);
}

static void
lend_sends(struct cpu *c, struct channel *ch)
{
	nvsp(c, ch, 104, lend(c, ch, SENDS, SEND_PAGES), 0, 0);
}

/* --- network: RNDIS. Each writes a message to m, and answers its length --- */

static uint32_t
rndis_control(struct cpu *c, volatile uint32_t *m, uint32_t type, uint32_t oid, uint32_t v)
{
	const uint32_t len = type == 2 ? 24 : type == 4 || type == 5 ? 28 + 64 : 12;

	m[0] = type;
	m[1] = len;
	m[2] = rnd(c);
	m[3] = type == 2 ? 1 : oid;
	m[4] = type == 2 ? 0 : below(c, 16) ? 4 : below(c, 80);
	m[5] = type == 2 ? 0x4000 : 20;
	m[6] = 0;
	m[7] = v;
	for (unsigned i = 8; i < 23; i++)
		m[i] = below(c, 4) ? 0 : (uint32_t)value(c);
	return len;
}

static uint32_t
rndis_any_control(struct cpu *c, volatile uint32_t *m)
{
	static const uint32_t oids[] = { 0x00010106, 0x01010101, 0x01010102, 0x01010103, 0x0001010e,
		0x00010114, 0x00010107, 0x00010203, 0x00010204, 0x0001021b, 0xfc01020c, 0xfc01020d,
		0x00010101, 0x00020101, 0x00020102, 0x00010202 };
	uint32_t length = rndis_control(
	    c, m, 2 + below(c, 8), oids[below(c, COUNT(oids))], (uint32_t)value(c));

	if (m[3] == 0xfc01020c && below(c, 2)) /* an NDIS object with its head */
		m[7] = 0xa7 | 1u << 8 | 56u << 16;
	if (m[3] == 0x00010204 && below(c, 2))
		m[7] = 0x89 | 2u << 8 | 44u << 16;
	return length;
}

/* Up to three records beside the frame: checksums, segments, a tag. */
static uint32_t
rndis_records(struct cpu *c, volatile uint32_t *m)
{
	static const uint32_t types[] = { 0, 2, 6, 0, 2, 4 };
	unsigned n = below(c, 4);

	for (unsigned i = 0; i < n; i++, m += 4) {
		uint32_t type = types[below(c, COUNT(types))];

		m[0] = 16;
		m[1] = type;
		m[2] = 12;
		m[3] = type == 2   ? (1u << 30 | 34u << 20 | (below(c, 4) ? 1400 : below(c, 3000)))
		       : type == 0 ? below(c, 32) | 34u << 16
				   : rnd(c);
	}
	return n * 16;
}

static void
ethernet(struct cpu *c, volatile uint8_t *f, uint32_t len)
{
	static const uint8_t protocols[] = { 6, 6, 17, 1 };

	for (unsigned i = 0; i < 6; i++) {
		f[i] = below(c, 2) ? 0xff : (uint8_t)rnd(c);
		f[6 + i] = mac[i];
	}
	if (below(c, 16) == 0)
		f[11]++; /* somebody else's */
	f[12] = below(c, 4) ? 0x08 : (uint8_t)(below(c, 2) ? 0x81 : 0x86);
	f[13] = f[12] == 0x86 ? 0xdd : 0;
	f[14] = f[12] == 0x86 ? 0x60 : 0x45;
	f[16] = (uint8_t)((len - 14) >> 8);
	f[17] = (uint8_t)(len - 14);
	f[20] = f[21] = 0;
	f[23] = protocols[below(c, sizeof(protocols))];
	f[46] = (uint8_t)((5 + below(c, 2) * below(c, 11)) << 4); /* of TCP: where its data begins */
}

static uint32_t
rndis_frame(struct cpu *c, volatile uint32_t *m, uint32_t most)
{
	uint32_t records = rndis_records(c, m + 11), len = 60 + below(c, most - 60 - 44 - 48);

	m[0] = 1;
	m[1] = 44 + records + len;
	m[2] = 36 + records;
	m[3] = len;
	m[4] = m[5] = m[6] = m[9] = m[10] = 0;
	m[7] = records ? 36 : 0;
	m[8] = records;
	ethernet(c, (volatile uint8_t *)m + 44 + records, len);
	return m[1];
}

/* --- network: messages in a section of the send buffer, or in pages --- */

static void
network_send(struct cpu *c, struct channel *ch, bool control, uint32_t section, uint32_t len)
{
	struct packet *p = packet_new(c, INBAND);

	packet_add(p, 107);
	packet_add(p, control);
	packet_add(p, section);
	packet_add(p, len);
	pad(p, 10);
	packet_put(c, ch, p);
}

static void
network_section(struct cpu *c, struct channel *ch)
{
	uint32_t section = below(c, SEND_PAGES * 4096 / 6144), len = 0;
	unsigned long at = SENDS + section * 6144ul;
	bool control = below(c, 8) == 0;

	if (control)
		len = rndis_any_control(c, (volatile uint32_t *)at);
	else /* several */
		for (unsigned n = 1 + below(c, 6); n && len + 200 < 6144; n--)
			len +=
			    (rndis_frame(c, (volatile uint32_t *)(at + len), below(c, 2) ? 200 : 6144 - len) +
				7) &
			    ~7u;
	network_send(c, ch, control, section, len);
}

/* A message in pages one after the other, cut into ranges anywhere. */
static void
network_pages(struct cpu *c, struct channel *ch)
{
	uint32_t page = DATA / 4096 + below(c, DATA_PAGES - 16), at = 0, len;
	bool control = below(c, 8) == 0;
	struct packet *p;

	len = control ? rndis_any_control(c, (volatile uint32_t *)(page * 4096ul))
		      : rndis_frame(c, (volatile uint32_t *)(page * 4096ul), below(c, 4) ? 1600 : 60000);
	p = packet_new(c, DIRECT);
	while (at < len) {
		uint32_t offset = at % 4096, most = 4096 - offset,
			 n = below(c, 2) ? most : 1 + below(c, most);
		uint32_t pfn = page + at / 4096;

		if (n > len - at)
			n = len - at;
		packet_range(p, n, offset, &pfn, 1);
		at += n;
	}
	packet_add(p, 107);
	packet_add(p, control);
	packet_add(p, 0xffffffff);
	packet_add(p, 0);
	pad(p, p->head + 10);
	packet_put(c, ch, p);
}

static void
network_greet(struct cpu *c, struct channel *ch)
{
	volatile uint32_t *m = (volatile uint32_t *)(unsigned long)SENDS;
	uint32_t version = below(c, 4) ? 0x60001 : 0x50000;

	nvsp(c, ch, 1, version, version, 0);
	nvsp(c, ch, 125, 1514, 0, 1u << 3 | 1u << 7);
	nvsp(c, ch, 100, 6, 30, 0);
	lend_receive(c, ch);
	lend_sends(c, ch);
	network_send(c, ch, true, 0, rndis_control(c, m, 2, 0, 0));
	network_send(c, ch, true, 1, rndis_control(c, m + 6144 / 4, 5, 0x0001010e, 0x2d));
	if (below(c, 2))
		nvsp(c, ch, 133, 1, 1, 0);
}

static void
network_talk(struct cpu *c, struct channel *ch)
{
	static const uint8_t types[] = { 1, 100, 101, 103, 104, 106, 107, 125, 129, 131, 133, 134, 135, 136 };

	switch (below(c, 60)) {
	case 0:
		nvsp(c, ch, 103, 0xcafe, 0, 0);
		break;
	case 1:
		lend_receive(c, ch);
		break;
	case 2:
		nvsp(c, ch, 106, 0, 0, 0);
		break;
	case 3:
		lend_sends(c, ch);
		break;
	case 4:
	case 5:
		nvsp(c, ch, types[below(c, COUNT(types))], (uint32_t)value(c), below(c, 20), below(c, 20));
		break;
	default:
		if (below(c, 2))
			network_section(c, ch);
		else
			network_pages(c, ch);
	}
}

static void
network_hear(struct cpu *c, struct channel *ch, struct packet *heard)
{
	struct packet *p;

	if (heard->type != XFER_PAGES || below(c, 16) == 0)
		return;
	p = packet_new(c, COMPLETION);
	p->wants_reply = 0;
	p->transaction[0] = below(c, 64) ? heard->transaction[0] : rnd(c);
	p->transaction[1] = heard->transaction[1];
	packet_add(p, 108);
	packet_add(p, 1);
	pad(p, 10);
	packet_put(c, ch, p);
}

/* --- dynamic memory ------------------------------------------------------------------------------------- */

static struct packet *
balloon_new(struct cpu *c, uint32_t type, uint32_t size)
{
	struct packet *p = packet_new(c, INBAND);

	packet_add(p, type | size << 16);
	packet_add(p, rnd(c));
	return p;
}

static void
balloon_greet(struct cpu *c, struct channel *ch)
{
	struct packet *p = balloon_new(c, 1, 16);

	packet_add(p, 0x20000);
	packet_add(p, 0);
	packet_put(c, ch, p);
	p = balloon_new(c, 3, 32);
	packet_add(p, 3 | 7 << 2); /* gives and takes, in units of 128 MiB */
	pad(p, 6);
	packet_add(p, 0xffffff);
	pad(p, 8);
	packet_put(c, ch, p);
}

static void
balloon_pages(struct cpu *c, struct channel *ch, bool more)
{
	unsigned n = below(c, 40);
	struct packet *p = balloon_new(c, 7, 16 + 8 * n);

	packet_add(p, 0);
	packet_add(p, more | n << 1);
	for (unsigned i = 0; i < n; i++) {
		packet_add(p, below(c, 30) ? GIVEN / 4096 + below(c, GIVEN_PAGES)
					   : SCRATCH / 4096 + below(c, 0x2000)); /* lent ones, too */
		packet_add(p, (1 + below(c, 64)) << 8);
	}
	packet_put(c, ch, p);
}

static void
balloon_talk(struct cpu *c, struct channel *ch)
{
	struct packet *p;

	switch (below(c, 8)) {
	case 0:
		balloon_pages(c, ch, below(c, 2));
		return;
	case 1:
		p = balloon_new(c, 9, 8);
		break;
	case 2:
		p = balloon_new(c, 11, 16);
		packet_add(p, below(c, 0x20000));
		packet_add(p, below(c, 3));
		break;
	case 3:
		p = balloon_new(c, below(c, 14), below(c, 64));
		pad(p, 2 + below(c, 20));
		break;
	default:
		p = balloon_new(c, 5, 48);
		while (p->words < 12)
			packet_add(p, (uint32_t)value(c));
	}
	packet_put(c, ch, p);
}

static void
balloon_hear(struct cpu *c, struct channel *ch, struct packet *heard)
{
	struct packet *p;

	switch (heard->type == INBAND && heard->words ? heard->word[0] & 0xffff : 0) {
	case 6:
		balloon_pages(c, ch, true);
		balloon_pages(c, ch, false);
		break;
	case 8:
		p = balloon_new(c, 9, 8);
		packet_put(c, ch, p);
		break;
	case 10:
		p = balloon_new(c, 11, 16);
		packet_add(p, heard->words > 3 ? heard->word[3] >> 8 : 0); /* all of them */
		packet_add(p, 1);
		packet_put(c, ch, p);
	}
}

/* --- integration components ------------------------------------------------------------------------------
 */

static void
component_greet(struct cpu *c, struct channel *ch)
{
	(void)c; /* the host speaks first */
	(void)ch;
}

/* What it says without being asked. */
static void
component_talk(struct cpu *c, struct channel *ch)
{
	unsigned n = below(c, 4) ? below(c, 20) : below(c, 1500);
	struct packet *p = packet_new(c, INBAND);

	packet_add(p, 1);
	packet_add(p, 20 + n * 4);
	packet_add(p, 3);
	packet_add(p, below(c, 8) | 3u << 16);
	packet_add(p, below(c, 4) | n * 4 << 16);
	packet_add(p, 0);
	packet_add(p, below(c, 256) | 5u << 8);
	while (n--)
		packet_add(p, below(c, 4) ? 0 : (uint32_t)value(c));
	packet_put(c, ch, p);
}

/* The question is sent back as its answer. */
static void
component_hear(struct cpu *c, struct channel *ch, struct packet *p)
{
	uint32_t frameworks, versions;

	if (p->type != INBAND || p->words < 9)
		return;
	p->word[6] = (p->word[6] & ~0xff00u) | 5u << 8;
	frameworks = p->word[7] & 0xffff;
	versions = p->word[7] >> 16;
	if ((p->word[3] & 0xffff) == 0 && frameworks && versions && 9 + frameworks + versions <= p->words) {
		p->word[9] = p->word[9 + frameworks - 1];
		p->word[10] = p->word[9 + frameworks + below(c, versions)];
		p->word[7] = 1 | 1u << 16;
	} else if (below(c, 3) == 0) {
		p->word[5] = below(c, 2) ? 0x80070103 : 0x80004005; /* no more; failed */
	} else {
		for (unsigned i = below(c, 4); i; i--)
			p->word[7 + below(c, p->words - 7)] = below(c, 2) ? below(c, 600)
									  : (uint32_t)value(c);
	}
	if (below(c, 16))
		packet_put(c, ch, p);
}

/* --- streams -------------------------------------------------------------------------------------------- */

static void
stream_talk(struct cpu *c, struct channel *ch)
{
	uint32_t len = below(c, 8) ? below(c, 400) : below(c, 16385);
	struct packet *p = packet_new(c, INBAND);

	if (below(c, 40) == 0) /* its end */
		len = 0;
	packet_add(p, 1);
	packet_add(p, len);
	for (unsigned i = 0; i < (len + 3) / 4; i++)
		packet_add(p, i);
	packet_put(c, ch, p);
}

#define COMPONENT component_greet, component_talk, component_hear
const struct device devices[KINDS] = {
	[STORAGE] = { 0xba6163d9, storage_greet, storage_talk, 0 },
	[NETWORK] = { 0xf8615163, network_greet, network_talk, network_hear },
	[BALLOON] = { 0x525074dc, balloon_greet, balloon_talk, balloon_hear },
	[HEARTBEAT] = { 0x57164f39, COMPONENT },
	[SHUTDOWN] = { 0x0e0b6031, COMPONENT },
	[TIME] = { 0x9527e630, COMPONENT },
	[FACTS] = { 0xa9a0f4e7, COMPONENT },
	[FREEZING] = { 0x35fa2e29, COMPONENT },
	[COPYING] = { 0x34d14be3, COMPONENT },
	[STREAM] = { 0, component_greet, stream_talk, 0 },
};
