/*
 * tests/fuzz/balloon_fuzz.c - dynamic memory: a guest that agrees, answers, answers late, or says anything;
 * targets, time, held and saved and restored in between. What must hold: the guest is never given a page that
 * it did not give away, nor memory that is not there, nor the same memory twice; what it has is what it was
 * given; and in the end nothing is left.
 */
#include "tests/unit/fake_balloon.h"

#include "tests/fuzz/vmbus.h"

enum { START_MB = 4, LEAST_MB = 2, MOST_MB = 32, STATE = 1 << 17, MAP_PAGES = 0x100000 + 64 * 256 };

/* What the guest knows of its pages. */
enum { ITS_OWN = 1, GIVEN_AWAY, NAMED_TWICE /* it may get it as often */ };

static struct fake_balloon x;
static uint8_t state[STATE];
static uint8_t page[MAP_PAGES];
static bool opened, held;
static bool spoilt;               /* the guest's ring: old messages may have come a second time */
static struct guest_range adding; /* what it was told of last */

static void
mark(uint64_t first, uint64_t n, uint8_t as)
{
	must(first <= MAP_PAGES && n <= MAP_PAGES - first);
	memset(page + first, as, n);
}

static void
run(void)
{
	must(fake_balloon_run(&x));
}

/* --- the guest's end of each message ------------------------------------------------------------------- */

static void
gets_pages(const uint8_t *m)
{
	uint32_t n = get_le32(m + 12);

	must(get_le16(m + 2) == 16 + 8 * n);
	for (uint32_t i = 0; i < n; i++) {
		struct guest_range r = guest_range_at(m + 16 + 8 * (size_t)i);

		must(r.pages);
		for (uint64_t p = r.first; p < r.first + r.pages; p++) {
			must(p < MAP_PAGES && (page[p] >= GIVEN_AWAY || spoilt));
			if (page[p] == GIVEN_AWAY)
				page[p] = ITS_OWN;
		}
	}
}

static void
gets_memory(const uint8_t *m)
{
	adding = guest_range_at(m + 8);
	must(adding.pages && gmem_span(x.f.mem, adding.first * GMEM_PAGE, adding.pages * GMEM_PAGE));
	for (uint64_t p = adding.first; p < adding.first + adding.pages; p++)
		must(p < MAP_PAGES && (page[p] == 0 || spoilt));
}

static void
guest_listens(struct actions *a)
{
	static uint8_t m[BALLOON_MESSAGE];
	unsigned most = 1 + take8(a) % 8;

	while (opened && most--) {
		uint16_t type = guest_hears(&x, m);

		if (type == ASKS_UNBALLOON)
			gets_pages(m);
		else if (type == ASKS_HOT_ADD)
			gets_memory(m);
	}
}

static void
guest_opens_it(struct actions *a)
{
	(void)a;
	if (opened || x.f.next_page + 2 * FAKE_BALLOON_RING >= FUZZ_PAGES)
		return;
	opened = guest_opens(&x) == WIRE_STATUS_OK;
}

/* What was given away is the guest's again. */
static void
forget(void)
{
	for (size_t p = 0; p < MAP_PAGES; p++)
		page[p] = page[p] ? ITS_OWN : 0;
	adding = (struct guest_range){ 0 };
	opened = spoilt = false;
}

static void
guest_closes(struct actions *a)
{
	(void)a;
	if (opened)
		fake_shut(&x.c);
	if (opened)
		forget();
	run();
}

/* Its own index may have been spoilt: then it does not write. */
static bool
can_send(void)
{
	uint32_t at = opened ? x.c.out.control->write_index : UINT32_MAX;

	return opened && at < x.c.out.size && at % 8 == 0;
}

static void
says_version(struct actions *a)
{
	static const uint32_t version[] = { BALLOON_2_0, BALLOON_1_0, BALLOON_0_3, 7 };

	if (can_send())
		guest_says_version(&x, version[take8(a) % 4]);
}

static void
says_capabilities(struct actions *a)
{
	uint8_t what = take8(a);

	if (can_send())
		guest_says_capabilities(&x, what & 3, what >> 2 & 3);
}

static void
says_status(struct actions *a)
{
	uint64_t available = take32(a), committed = take32(a);

	if (can_send())
		guest_says_status(&x, available, committed << (take8(a) & 31));
}

/* Ranges that may lie anywhere. Which of them were taken, the device's own set says. */
static void
says_balloon(struct actions *a)
{
	static const uint64_t bases[] = { 0, FUZZ_PAGES, 1 << 20, START_MB * 256 - 8 };
	struct guest_range r[8];
	uint32_t n = take8(a) % 8;
	uint8_t what = take8(a);

	for (uint32_t i = 0; i < n; i++) {
		r[i].first = (bases[take8(a) & 3] + take_number(a)) & ((1ull << 40) - 1);
		r[i].pages = take_number(a) & 0xffffff;
	}
	if (!can_send() || held)
		return;
	/* Before it is read: what is told afterwards may be given at once. */
	for (uint32_t i = 0; i < n; i++)
		for (uint64_t p = r[i].first; p < r[i].first + r[i].pages && p < MAP_PAGES; p++)
			if (page[p])
				page[p] = page[p] == ITS_OWN ? GIVEN_AWAY : NAMED_TWICE;
	guest_says_balloon(&x, r, n, what & 1);
}

static void
says_unballoon(struct actions *a)
{
	(void)a;
	if (can_send())
		guest_says_unballoon(&x);
}

static void
says_hot_add(struct actions *a)
{
	uint32_t pages = take8(a) & 1 ? (uint32_t)adding.pages : take_number(a), result = take8(a) & 1;
	uint64_t had;

	if (!can_send() || held || !adding.pages || x.b->adding != adding.pages)
		return; /* nothing was asked */
	had = pages < adding.pages ? pages : adding.pages;
	mark(adding.first, had, ITS_OWN);
	adding = (struct guest_range){ 0 };
	guest_says_hot_add(&x, pages, result);
}

static void
says_anything(struct actions *a)
{
	static const uint16_t types[] = { PACKET_INBAND, PACKET_INBAND, PACKET_INBAND, PACKET_COMPLETION,
		PACKET_GPA_DIRECT };
	uint8_t m[64];
	uint16_t packet = types[take8(a) % 5], flags = take8(a) & 1;
	size_t len = take8(a) % sizeof(m);

	for (size_t i = 0; i < sizeof(m); i++)
		m[i] = take8(a);
	if (len >= 2 && packet == PACKET_INBAND &&
	    (get_le16(m) == SAYS_BALLOON || get_le16(m) == SAYS_HOT_ADD))
		return; /* those keep books */
	if (can_send())
		fake_send(&x.c, packet, flags, 1, NULL, 0, m, len);
	run();
}

static void
guest_scribbles(struct actions *a)
{
	static const uint8_t at[] = { 0, 4, 8, 12, 64 };
	uint32_t where = at[take8(a) % sizeof(at)], v = take_number(a);
	uint64_t ring = take8(a) & 1 ? FAKE_BALLOON_RING : 0;

	/* What the guest hears of is not to be trusted after that: only that nothing breaks. */
	if (!opened || ring)
		return;
	spoilt = true;
	must(gmem_write(x.f.mem, x.c.first * GMEM_PAGE + where, &v, sizeof(v)) == 0);
	fake_kick(&x.f, x.c.connection);
	run();
	if (!x.b->ch)
		forget();
}

/* --- the host ------------------------------------------------------------------------------------------ */

static void
host_sets_target(struct actions *a)
{
	uint64_t bytes = (uint64_t)take16(a) * GMEM_PAGE;
	int rc = balloon_target(x.b, bytes, NULL);

	must((rc == 0) == (bytes >= x.limits.minimum && bytes <= x.limits.maximum));
	run();
}

static void
host_has_no_memory(struct actions *a)
{
	x.add_error = take8(a) & 1 ? -ENOMEM : 0;
}

static void
time_passes(struct actions *a)
{
	must(fake_balloon_pass(&x, take8(a) * 500ull));
}

static void
host_holds(struct actions *a)
{
	held = take8(a) & 1;
	balloon_hold(x.b, held);
	run();
}

static void
reset(struct actions *a)
{
	(void)a;
	vmbus_reset(x.f.bus);
	balloon_reset(x.b);
	run();
	forget();
	memset(page, 0, sizeof(page));
	mark(0, START_MB * 256, ITS_OWN);
	must(fake_connect(&x.f, VMBUS_5_3));
	fake_offers(&x.f, &x.offer, 1);
	run();
}

static void
saved_and_restored(struct actions *a)
{
	const struct balloon_events events = { &x, fake_balloon_wake, fake_balloon_add,
		fake_balloon_changed };
	struct balloon_report before, after;
	uint64_t late = x.b->ranges;
	long n;

	(void)a;
	balloon_hold(x.b, true);
	n = vmbus_save(x.f.bus, state, sizeof(state));
	must(n > 0);
	balloon_report(x.b, &before);
	vmbus_free(x.f.bus);
	balloon_free(x.b);
	io_loop_free(x.loop);
	x.loop = fake_loop_new();
	x.f.retry_ms = 0;
	must(vmbus_new(&x.f.bus, &x.f.host, NULL) == 0);
	must(balloon_new(&x.b, x.f.mem, x.loop, &x.limits, &events, NULL) == 0);
	x.b->regions = 1; /* as it would be: memory that was added comes later */
	must(vmbus_offer_device(x.f.bus, balloon_device(x.b), NULL) == 0);
	must(vmbus_restore(x.f.bus, state, (size_t)n, NULL) == 0);
	balloon_hold(x.b, held);
	vmbus_restored(x.f.bus);
	balloon_report(x.b, &after);
	must(before.ballooned == after.ballooned && before.added == after.added && x.b->ranges == late);
	run();
}

static void (*const action[])(struct actions *a) = { guest_listens, guest_opens_it, guest_closes,
	says_version, says_capabilities, says_status, says_balloon, says_balloon, says_unballoon,
	says_hot_add, says_anything, guest_scribbles, host_sets_target, host_has_no_memory, time_passes,
	host_holds, reset, saved_and_restored, guest_listens };

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct actions a = { data, size };
	struct balloon_report r;

	must(fake_balloon_init(&x, START_MB, LEAST_MB, MOST_MB) == 0);
	held = opened = spoilt = false;
	adding = (struct guest_range){ 0 };
	memset(page, 0, sizeof(page));
	mark(0, START_MB * 256, ITS_OWN);
	must(fake_connect(&x.f, VMBUS_5_3));
	fake_offers(&x.f, &x.offer, 1);
	while (a.n != 0)
		action[take8(&a) % (sizeof(action) / sizeof(action[0]))](&a);
	balloon_hold(x.b, false);
	vmbus_reset(x.f.bus);
	balloon_reset(x.b);
	run();
	balloon_report(x.b, &r);
	must(vmbus_idle(x.f.bus) && r.assigned == x.limits.start && r.state == BALLOON_CLOSED);
	for (int i = 0; i < FAKE_LOOP_FILES; i++)
		must(x.loop->fd[i] == 0);
	fake_balloon_free(&x);
	return 0;
}
