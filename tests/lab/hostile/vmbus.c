/*
 * tests/lab/hostile/vmbus.c - connection, channels, rings and lent memory: half of what is done is right.
 */
#include "tests/lab/hostile/vmbus.h"

enum {
	CHANNELS = 24,
	VP_MESSAGES = 0x40000083,
	VP_EVENTS = 0x40000082,
	SIGNAL = 0x2000,    /* | relid: where a channel's signals go */
	SPINS = 1500,       /* so long an answer is waited for */
	PATIENCE = 60,      /* steps with hardly a channel */
	ENOUGH = 4,         /* channels */
	REWRITES = 40,      /* of the same word, one after the other */
	STREAM_PORT = 2000, /* which the host listens to */
};
#define STREAM_CLASS 0x11e6facbu /* what follows the port in the class of a stream */

static struct channel channels[CHANNELS];
static bool all_offered;
static uint32_t loans;
static volatile uint32_t put[KINDS], taken[KINDS], rewritten;
static struct packet packet, heard;

static uint32_t
mostly(struct cpu *c, uint32_t v)
{
	return below(c, 1000) ? v : (uint32_t)value(c);
}

/* --- messages to the host ------------------------------------------------------------------------------- */

static void
post(struct cpu *c, const uint32_t *words, unsigned n)
{
	volatile uint32_t *p = (volatile uint32_t *)(POST + 0x1000ul * c->number);

	p[0] = mostly(c, below(c, 2) ? 4 : 1);
	p[1] = 0;
	p[2] = mostly(c, 1);
	p[3] = mostly(c, n * 4);
	for (unsigned i = 0; i < n; i++)
		p[4 + i] = mostly(c, words[i]);
	hypercall(c, 0x5c, (uint64_t)(unsigned long)p, 0);
}

static void
say_numbers(struct cpu *c, uint32_t type, uint32_t a, uint32_t b)
{
	post(c, (const uint32_t[]){ type, 0, a, b }, 4);
}

static void
signal(struct cpu *c, uint32_t relid)
{
	hypercall(c, 0x5d | 1 << 16, mostly(c, SIGNAL | relid), 0);
}

/* A head has room for 26 pages, each that follows for 28. */
uint32_t
lend(struct cpu *c, const struct channel *ch, uint32_t address, unsigned pages)
{
	uint32_t m[60] = { 8, 0, ch->relid, ++loans, (8 + 8 * pages) | 1u << 16, pages * 4096, 0 };
	unsigned n = 7;

	for (unsigned i = 0; i < pages; i++) {
		m[n++] = address / 4096 + i;
		m[n++] = 0;
		if (n < 59 && i + 1 < pages)
			continue;
		post(c, m, n);
		m[0] = 9;
		m[2] = 0;
		m[3] = loans;
		n = 4;
	}
	return loans;
}

/* --- channels ------------------------------------------------------------------------------------------- */

/* The control page of the ring to the host (0) or from it (1). */
static volatile uint32_t *
ring(const struct channel *ch, unsigned direction)
{
	unsigned long at = RINGS + (unsigned long)(ch - channels) * RING_PAGES * 4096;

	return (volatile uint32_t *)(at + direction * RING_PAGES / 2 * 4096);
}

static struct channel *
find(uint32_t relid)
{
	for (unsigned i = 0; i < CHANNELS; i++)
		if (channels[i].relid == relid)
			return &channels[i];
	return 0;
}

static void
open_channel(struct cpu *c, struct channel *ch)
{
	uint32_t m[37] = { 5, 0, ch->relid, 1, 0, below(c, 3), RING_PAGES / 2 };

	for (unsigned i = 0; i < 17; i++) /* both rings are empty */
		ring(ch, 0)[i] = ring(ch, 1)[i] = 0;
	ring(ch, 0)[16] = ring(ch, 1)[16] = 1; /* pending sizes are honoured */
	ch->put_at = ch->take_at = 0;
	m[4] = ch->gpadl = lend(c, ch, (uint32_t)(unsigned long)ring(ch, 0), RING_PAGES);
	ch->waiting = true;
	post(c, m, 37);
}

static void
close_channel(struct cpu *c, struct channel *ch)
{
	ch->open = false;
	say_numbers(c, 7, ch->relid, 0);
	say_numbers(c, 11, ch->relid, ch->gpadl);
}

/* --- messages from the host: word 0 of each is its type ------------------------------------------------- */

static void
hear_offer(struct cpu *c, const uint32_t *m)
{
	struct channel *ch = find(0);

	if (!ch)
		return;
	*ch = (struct channel){ .relid = m[46], .primary = !(m[45] & 0xffff), .kind = STREAM };
	if (m[3] != STREAM_CLASS)
		for (ch->kind = 0; ch->kind < STREAM && devices[ch->kind].class != m[2]; ch->kind++)
			;
	if (ch->relid)
		open_channel(c, ch);
}

static void
hear_rescind(struct cpu *c, const uint32_t *m)
{
	struct channel *ch = find(m[2]);

	if (!m[2] || !ch)
		return;
	if (below(c, 2))
		close_channel(c, ch);
	ch->open = false;
	ch->relid = 0;
	if (below(c, 8))
		say_numbers(c, 13, m[2], 0);
}

static void
hear_opened(struct cpu *c, const uint32_t *m)
{
	struct channel *ch = find(m[2]);

	if (!m[2] || !ch)
		return;
	ch->waiting = false;
	ch->open = m[4] == 0;
	if (ch->open && ch->primary) {
		devices[ch->kind].greet(c, ch);
		signal(c, ch->relid);
	}
}

static void
hear_version(struct cpu *c, const uint32_t *m)
{
	if (m[2] & 0xff)
		say_numbers(c, 3, 0, 0);
}

/* False: there was none. */
static bool
listen(struct cpu *c)
{
	volatile uint32_t *slot = (volatile uint32_t *)(MESSAGES + 2 * 256ul);
	uint32_t m[60];

	if (!slot[0])
		return false;
	for (unsigned i = 0; i < 60; i++)
		m[i] = slot[4 + i];
	slot[0] = 0;
	write_msr(c, 0x40000084, 0);
	switch (m[0]) {
	case 1:
		hear_offer(c, m);
		break;
	case 2:
		hear_rescind(c, m);
		break;
	case 4:
		all_offered = true;
		break;
	case 6:
		hear_opened(c, m);
		break;
	case 15:
		hear_version(c, m);
	}
	return true;
}

/* --- the connection ------------------------------------------------------------------------------------- */

static void
set_synic(struct cpu *c)
{
	write_msr(c, 0x40000000, 0x8100000000000000ull);
	write_msr(c, 0x40000001, (SCRATCH + 0x2000) | 1);
	write_msr(c, VP_MESSAGES, MESSAGES | 1);
	write_msr(c, VP_EVENTS, EVENTS | 1);
	write_msr(c, 0x40000092, 0x50);
	write_msr(c, 0x40000080, 1);
}

/* Where other tries have led it astray. */
static void
mend_synic(struct cpu *c)
{
	uint32_t a = 0, d = 0;

	GUARDED(c, "rdmsr", OUT("+a"(a), "+d"(d)), "c"(VP_MESSAGES));
	if (a != (MESSAGES | 1) || below(c, 64) == 0)
		set_synic(c);
}

static bool
settled(void)
{
	for (unsigned i = 0; i < CHANNELS; i++)
		if (channels[i].waiting)
			return false;
	return all_offered;
}

/* As a driver does it: contact, offers, every channel opened, and greeted. */
static void
begin(struct cpu *c)
{
	static const uint32_t versions[] = { 0x50003, 0x50003, 0x50003, 0x50003, 0x50003, 0x50002, 0x40001,
		0x30000, 0x20004, 0x10001 };
	uint32_t version = versions[below(c, sizeof(versions) / sizeof(versions[0]))];

	for (unsigned i = 0; i < CHANNELS; i++)
		channels[i] = (struct channel){ .relid = 0 };
	all_offered = false;
	set_synic(c);
	if (below(c, 2))
		say_numbers(c, 16, 0, 0);
	post(c, (const uint32_t[]){ 14, 0, version, 0, version >= 0x50000 ? 2 : DATA, 0, 0, 0, 0, 0 }, 10);
	for (unsigned i = 0; i < SPINS && !settled(); i++)
		if (!listen(c))
			hypercall(c, 0x08 | 1 << 16, 1000, 0); /* a long spin: others have their turn */
}

/* --- packets -------------------------------------------------------------------------------------------- */

struct packet *
packet_new(struct cpu *c, unsigned type)
{
	packet.type = type;
	packet.wants_reply = below(c, 16) != 0;
	packet.transaction[0] = rnd(c);
	packet.transaction[1] = 0;
	packet.head = packet.words = 0;
	return &packet;
}

void
packet_add(struct packet *p, uint32_t word)
{
	if (p->words < PACKET_WORDS)
		p->word[p->words++] = word;
}

void
packet_range(struct packet *p, uint32_t len, uint32_t offset, const uint32_t *pages, unsigned n)
{
	if (p->words == 0) {
		packet_add(p, 0);
		packet_add(p, 0);
	}
	p->word[1]++;
	packet_add(p, len);
	packet_add(p, offset);
	for (unsigned i = 0; i < n; i++) {
		packet_add(p, pages[i]);
		packet_add(p, 0);
	}
	p->head = p->words;
}

static void
put_word(struct channel *ch, uint32_t v)
{
	ring(ch, 0)[1024 + ch->put_at / 4] = v;
	ch->put_at = (ch->put_at + 4) % RING_BYTES;
}

static void
spoil(struct cpu *c, struct packet *p)
{
	for (unsigned n = 1 + below(c, 3); n && p->words; n--)
		p->word[below(c, below(c, 2) && p->words > 24 ? 24 : p->words)] = (uint32_t)value(c);
}

void
packet_put(struct cpu *c, struct channel *ch, struct packet *p)
{
	volatile uint32_t *control = ring(ch, 0);
	uint32_t first = ch->put_at, room = (control[1] % RING_BYTES - first - 8 + RING_BYTES) % RING_BYTES;
	uint32_t start, len;

	if (p->words & 1)
		packet_add(p, 0);
	start = 2 + p->head / 2;
	len = 2 + p->words / 2;
	if (room < len * 8 + 8 && below(c, 500))
		return;
	if (below(c, 6) == 0)
		spoil(c, p);
	if (below(c, 400) == 0)
		*(below(c, 2) ? &start : &len) = (uint32_t)value(c);
	put_word(ch, p->type | start << 16);
	put_word(ch, (len & 0xffff) | p->wants_reply << 16);
	put_word(ch, p->transaction[0]);
	put_word(ch, p->transaction[1]);
	for (unsigned i = 0; i < p->words; i++)
		put_word(ch, p->word[i]);
	put_word(ch, 0);
	put_word(ch, first);
	__asm__ volatile("" : : : "memory");
	control[0] = ch->put_at;
	put[ch->kind]++;
}

static uint32_t
take_word(struct channel *ch)
{
	uint32_t v = ring(ch, 1)[1024 + ch->take_at / 4];

	ch->take_at = (ch->take_at + 4) % RING_BYTES;
	return v;
}

/* The next packet of the host, copied. False: there is none, or none that makes sense any more. */
static bool
take_packet(struct channel *ch)
{
	volatile uint32_t *control = ring(ch, 1);
	uint32_t end = control[0] % RING_BYTES & ~7u, head, len;

	if (ch->take_at == end)
		return false;
	head = take_word(ch);
	len = take_word(ch);
	heard.type = head & 0xffff;
	heard.wants_reply = len >> 16 & 1;
	heard.transaction[0] = take_word(ch);
	heard.transaction[1] = take_word(ch);
	heard.head = head >> 15 & ~1u;
	heard.head = heard.head > 4 ? heard.head - 4 : 0;
	heard.words = 0;
	len &= 0xffff;
	if (len < 2 || len * 8 > RING_BYTES || heard.head > len * 2) { /* we have rewritten it ourselves */
		ch->take_at = end;
		return false;
	}
	for (len = len * 2 - 4; len; len--)
		packet_add(&heard, take_word(ch));
	take_word(ch);
	take_word(ch);
	return true;
}

static void
take_packets(struct cpu *c, struct channel *ch)
{
	unsigned n;

	for (n = 0; n < 16 && take_packet(ch); n++) {
		taken[ch->kind]++;
		if (devices[ch->kind].hear)
			devices[ch->kind].hear(c, ch, &heard);
	}
	ring(ch, 1)[1] = ch->take_at;
	if (n)
		signal(c, ch->relid);
}

/* --- what is done to an open channel -------------------------------------------------------------------- */

static void
talk(struct cpu *c, struct channel *ch)
{
	for (unsigned n = 1 + below(c, 8); n; n--)
		devices[ch->kind].talk(c, ch);
	signal(c, ch->relid);
}

/* Of any device's, or of none's. */
static void
put_garbage(struct cpu *c, struct channel *ch)
{
	struct packet *p = packet_new(c, below(c, 14));

	for (unsigned n = below(c, below(c, 8) ? 40 : 1000); n; n--)
		packet_add(p, (uint32_t)value(c));
	p->head = below(c, 2) ? 0 : below(c, p->words + 1) & ~1u;
	packet_put(c, ch, p);
	signal(c, ch->relid);
}

static void
reopen(struct cpu *c, struct channel *ch)
{
	close_channel(c, ch);
	if (below(c, 4))
		open_channel(c, ch);
}

static void
take_loan_back(struct cpu *c, struct channel *ch)
{
	say_numbers(c, 11, ch->relid, below(c, 2) ? ch->gpadl : loans - below(c, 8));
}

static void
lend_anything(struct cpu *c, struct channel *ch)
{
	uint32_t at = below(c, 4) ? SCRATCH + below(c, SCRATCH_END - SCRATCH) : (uint32_t)value(c);

	lend(c, ch, at, 1 + below(c, below(c, 8) ? 60 : 400));
}

static void
move(struct cpu *c, struct channel *ch)
{
	say_numbers(c, 22, ch->relid, below(c, 3));
}

static void
say_anything(struct cpu *c, struct channel *ch)
{
	say_numbers(c, below(c, 30), below(c, 2) ? ch->relid : rnd(c), rnd(c));
}

static void
release(struct cpu *c, struct channel *ch)
{
	say_numbers(c, 13, below(c, 2) ? ch->relid : below(c, 30), 0);
}

static void
ask_for_stream(struct cpu *c, struct channel *ch)
{
	(void)ch;
	post(c,
	    (const uint32_t[]){ 21, 0, rnd(c), rnd(c), rnd(c), rnd(c), STREAM_PORT + (below(c, 8) == 0),
		STREAM_CLASS, 0x006458bd, 0xd386796a, 0, 0, 0, 0 },
	    14);
}

static void
break_ring(struct cpu *c, struct channel *ch)
{
	ring(ch, below(c, 4) == 0)[below(c, 2)] = below(c, 2) ? below(c, RING_BYTES) & ~7u
							      : (uint32_t)value(c);
	signal(c, ch->relid);
}

static void
begin_anew(struct cpu *c, struct channel *ch)
{
	(void)ch;
	begin(c);
}

static void
scribble(struct cpu *c, struct channel *ch)
{
	(void)ch;
	bus_scribble(c);
}

static void
do_something(struct cpu *c, struct channel *ch)
{
	static const struct {
		unsigned weight;
		void (*act)(struct cpu *c, struct channel *ch);
	} acts[] = { { 200, talk }, { 30, scribble }, { 8, put_garbage }, { 6, ask_for_stream }, { 5, move },
		{ 4, reopen }, { 4, take_loan_back }, { 3, lend_anything }, { 3, say_anything },
		{ 2, break_ring }, { 1, release }, { 1, begin_anew } };
	unsigned sum = 0, n;

	for (unsigned i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
		sum += acts[i].weight;
	n = below(c, sum);
	for (unsigned i = 0; i < sizeof(acts) / sizeof(acts[0]); n -= acts[i++].weight)
		if (n < acts[i].weight) {
			acts[i].act(c, ch);
			return;
		}
}

static unsigned
open_channels(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CHANNELS; i++)
		n += channels[i].open;
	return n;
}

/* Storage and network more often than the others. */
static struct channel *
any_channel(struct cpu *c)
{
	struct channel *ch = 0;

	for (unsigned tries = 0; tries < 200; tries++) {
		ch = &channels[below(c, CHANNELS)];
		if (ch->open && (ch->kind <= NETWORK || below(c, 2)))
			return ch;
	}
	return 0;
}

void
bus_step(struct cpu *c)
{
	static unsigned impatience = PATIENCE;
	struct channel *ch;

	if (below(c, 16) == 0)
		mend_synic(c);
	for (unsigned i = 0; i < 4 && listen(c); i++)
		;
	impatience = open_channels() < ENOUGH ? impatience + 1 : 0;
	if (impatience > PATIENCE) {
		impatience = 0;
		begin(c);
	}
	ch = any_channel(c);
	if (!ch)
		return;
	take_packets(c, ch);
	do_something(c, ch);
}

/* --- the second processor ------------------------------------------------------------------------------- */

/* A word that the host reads now, or may. */
static volatile uint32_t *
shared_word(struct cpu *c, const struct channel *ch)
{
	volatile uint32_t *to = ring(ch, 0);

	switch (below(c, 12)) {
	case 0: /* masks, sizes that are waited for */
		return ring(ch, below(c, 2)) + 2 + below(c, 2);
	case 1:
		return (volatile uint32_t *)(RECEIVE + 4ul * below(c, RECEIVE_PAGES * 1024));
	case 2:
	case 3: /* heads of RNDIS messages */
		return (volatile uint32_t *)(SENDS + 6144ul * below(c, SEND_PAGES * 4096 / 6144) +
					     4ul * below(c, 40));
	case 4:
		return (volatile uint32_t *)(DATA + 4096ul * below(c, DATA_PAGES) + 4ul * below(c, 64));
	case 5:
		return ring(ch, below(c, 2)) + 1024 + below(c, RING_BYTES / 4);
	case 6: /* rarely an index: a ring that makes no sense is closed for good */
		if (below(c, 50) == 0)
			return ring(ch, below(c, 2)) + below(c, 2);
		/* fallthrough */
	default: /* packets that are read just now, but not their heads */
		return to + 1024 + (to[1] % RING_BYTES / 4 + 4 + below(c, 60)) % (RING_BYTES / 4);
	}
}

void
bus_scribble(struct cpu *c)
{
	const struct channel *ch = any_channel(c);
	volatile uint32_t *at;
	uint32_t before, after = (uint32_t)value(c);

	if (!ch)
		return;
	at = shared_word(c, ch);
	before = *at;
	if (below(c, 2))
		after = before ^ 1u << below(c, 32);
	for (unsigned i = 1 + below(c, REWRITES); i; i--)
		*at = i & 1 ? after : before;
	if (below(c, 2))
		*at = before;
	if (below(c, 8) == 0)
		signal(c, ch->relid);
	rewritten++;
}

void
bus_report(void)
{
	say("\nHK-BUS");
	say_number(rewritten);
	rewritten = 0;
	for (unsigned i = 0; i < KINDS; i++) {
		say_number(put[i]);
		say_number(taken[i]);
		put[i] = taken[i] = 0;
	}
	say("\n");
}
