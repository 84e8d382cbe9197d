/*
 * tests/fuzz/ring_fuzz.c - two rings under a guest that writes good packets, and anything anywhere, between
 * any two steps of ours. What is read lies within what was asked for; a broken ring stays broken; nothing but
 * the rings is written.
 */
#include "tests/fuzz/vmbus.h"

enum { OUT = 3, IN = 2, GUARD = 2, FIRST = 16, CAP = 512, RINGS = OUT + IN };

static struct fake_vmbus f; /* without a bus */
static struct fake_channel c;
static struct ring_pair r;
static uint8_t *memory;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	must(gmem_new(&f.mem, FUZZ_PAGES * GMEM_PAGE, false, NULL) == 0);
	must(gmem_add(f.mem, 0, FUZZ_PAGES * GMEM_PAGE, NULL, NULL) == 0);
	memory = gmem_span(f.mem, (FIRST - GUARD) * GMEM_PAGE, (RINGS + 2 * GUARD) * GMEM_PAGE);
	return 0;
}

static void
map(void)
{
	uint64_t pfn[RINGS];

	for (unsigned i = 0; i < RINGS; i++)
		pfn[i] = FIRST + i;
	must(ring_pair_map(&r, f.mem, pfn, RINGS, OUT) == 0);
	c = (struct fake_channel){ .f = &f };
	c.out = fake_ring(&f, FIRST, OUT);
	c.in = fake_ring(&f, FIRST + OUT, IN);
}

/* The guest's own functions trust its indices, which it may have spoilt. */
static bool
sane(const struct fake_ring *ring)
{
	return ring->control->write_index < ring->size && ring->control->read_index < ring->size;
}

static void
guest_sends(struct actions *a)
{
	uint8_t payload[600] = { 0 };
	uint8_t type = take8(a) % 12, ext = take8(a) % 8;
	size_t len = take16(a) % sizeof(payload);

	for (size_t i = 0; i < 64 && i < len; i++)
		payload[i] = take8(a);
	if (sane(&c.out))
		fake_send(&c, type, type & 1, len, payload, ext * 8u, payload, len);
}

static void
guest_reads(struct actions *a)
{
	struct packet_head h;
	uint8_t got[64];

	(void)a;
	if (sane(&c.in))
		fake_recv(&c, &h, got, sizeof(got));
}

static void
guest_spoils_control(struct actions *a)
{
	uint32_t *control = (uint32_t *)(void *)(take8(a) & 1 ? c.out.control : c.in.control);

	control[take8(a) % 17] = take8(a) & 1 ? take32(a) : take16(a) % 1025 * 8;
}

static void
guest_spoils_data(struct actions *a)
{
	uint32_t at = take16(a) % (c.out.size / 8) * 8;

	for (unsigned i = 0; i < 8; i++)
		c.out.data[at + i] = take8(a);
}

static void
we_read(struct actions *a)
{
	uint64_t buf[CAP / 8 + 1];
	size_t cap = take8(a) & 1 ? CAP : take16(a) % CAP;
	uint8_t *bytes = (uint8_t *)buf;
	struct gpa_range range[4];
	struct packet p = { 0 };
	int rc;

	bytes[cap] = 0x5a;
	rc = ring_read(&r.in, &p, buf, cap);
	must(rc == 0 || rc == 1 || rc == -EPROTO || rc == -EMSGSIZE);
	must(bytes[cap] == 0x5a);
	must((rc == -EPROTO) == r.in.broken);
	if (rc == 1) {
		must(p.len <= cap && p.offset >= 16 && p.offset <= p.len && p.len % 8 == 0);
		rc = packet_ranges(&p, buf, range, 4);
		must(rc >= -EPROTO && rc <= CAP);
		for (int i = 0; i < rc && i < 4; i++)
			for (uint32_t page = 0; page < range[i].pages; page++) {
				must(range[i].pfns + page * 8 + 8 <= bytes + p.offset);
				(void)gpa_range_pfn(&range[i], page);
			}
	} else if (rc == -EMSGSIZE) {
		must(p.len > cap && p.len < c.out.size);
	}
}

static void
we_say_so(struct actions *a)
{
	(void)a;
	ring_read_done(&r.in);
}

static void
we_sleep_or_wake(struct actions *a)
{
	if (take8(a) & 1)
		ring_mask(&r.in);
	else
		(void)ring_idle(&r.in);
}

static void
we_write(struct actions *a)
{
	static const uint8_t payload[4096];
	bool was = r.out.broken, signal = false;
	size_t n = take16(a) % 3000;
	int rc = ring_write(&r.out, take8(a), 0, n, payload, n, payload, take16(a) % 2000, &signal);

	must(rc == 0 || rc == -EAGAIN || rc == -EPROTO || rc == -EMSGSIZE);
	must(!was || rc == -EPROTO);
	must(rc != -EPROTO || r.out.broken);
	must(rc == 0 || !signal);
}

static void
we_are_restored(struct actions *a)
{
	(void)a;
	ring_pair_sync(&r);
}

static void (*const action[])(struct actions *a) = {
	guest_sends,
	guest_reads,
	guest_spoils_control,
	guest_spoils_data,
	we_read,
	we_say_so,
	we_sleep_or_wake,
	we_write,
	we_are_restored,
};

static void
guards_are_untouched(void)
{
	static const uint8_t zeros[GUARD * GMEM_PAGE];

	must(memcmp(memory, zeros, sizeof(zeros)) == 0);
	must(memcmp(memory + (GUARD + RINGS) * GMEM_PAGE, zeros, sizeof(zeros)) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct actions a = { data, size };

	memset(memory, 0, (RINGS + 2 * GUARD) * GMEM_PAGE);
	map();
	while (a.n != 0)
		action[take8(&a) % (sizeof(action) / sizeof(action[0]))](&a);
	guards_are_untouched();
	ring_pair_unmap(&r);
	return 0;
}
