/*
 * tests/fuzz/vmbus_fuzz.c - a guest's messages, in any order and shape, and what the host does meanwhile:
 * devices come, go, break and take their time; the bus is saved and goes on elsewhere; the guest is reset. At
 * the end the next kernel finds the bus as it should be.
 */
#include "tests/fuzz/vmbus.h"

enum { DEVICES = 2, STATE = 1 << 20 };

static struct fake_vmbus f;
static struct fake_device dev[DEVICES];
static bool revoked[DEVICES]; /* and not yet gone */
static uint8_t state[STATE];

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	must(fake_vmbus_init(&f, FUZZ_PAGES * GMEM_PAGE >> 20, FUZZ_VPS) == 0);
	vmbus_free(f.bus);
	f.bus = NULL;
	return 0;
}

static void
put(unsigned i)
{
	if (dev[i].d.node != NULL)
		return;
	revoked[i] = false;
	must(vmbus_offer_device(f.bus, &dev[i].d, NULL) == 0);
}

static struct vmbus_channel *
an_open_channel(const struct fake_device *d, uint8_t which)
{
	for (unsigned i = 0; i < FAKE_CHANNELS; i++)
		if (d->open[(which + i) % 8] != NULL)
			return d->open[(which + i) % 8];
	return NULL;
}

/* --- the guest --- */

static void
say_numbers(struct actions *a)
{
	uint32_t m[SYNIC_MESSAGE_MAX / 4] = { take8(a) % (WIRE_TYPES + 2) };
	size_t len = take8(a);
	unsigned words = take8(a) % 12;

	for (unsigned i = 0; i < words; i++)
		m[2 + i] = take_number(a);
	fake_post(&f, len & 1 ? 4 : 1, m, len < 200 ? 160 : len);
}

static void
say_raw(struct actions *a)
{
	uint8_t m[SYNIC_MESSAGE_MAX] = { 0 };
	size_t len = take8(a);

	for (size_t i = 0; i < len && i < sizeof(m); i++)
		m[i] = take8(a);
	fake_post(&f, take8(a), m, len);
}

static void
say_contact(struct actions *a)
{
	static const uint32_t version[] = { VMBUS_0_13, VMBUS_1_1, VMBUS_2_4, VMBUS_3_0, VMBUS_4_0, VMBUS_4_1,
		VMBUS_5_0, VMBUS_5_1, VMBUS_5_2, VMBUS_5_3, VMBUS_6_0 };
	struct wire_contact c = fake_contact(version[take8(a) % 11], take8(a) % FUZZ_VPS);

	fake_post(&f, 4, &c, sizeof(c));
}

static void
lend(struct actions *a)
{
	uint64_t pfn[40];
	uint32_t relid = 1 + take8(a) % 4, id = take8(a) % 8;
	size_t n = 1 + take8(a) % 40, done;

	for (size_t i = 0; i < n; i++)
		pfn[i] = FAKE_FIRST_PAGE + (id * 16 + i) % 200;
	done = fake_gpadl_header(&f, relid, id, pfn, n, 0, (uint32_t)n * GMEM_PAGE);
	fake_gpadl_bodies(&f, id, pfn + done, n - done);
}

static void
say_open(struct actions *a)
{
	struct wire_open o = { .head.type = WIRE_OPEN,
		.relid = 1 + take8(a) % 4,
		.gpadl = take8(a) % 8,
		.target_vp = take8(a) % FUZZ_VPS,
		.downstream = 2 + take8(a) % 4 };

	fake_post(&f, 4, &o, sizeof(o));
}

static void
scribble(struct actions *a)
{
	uint32_t at = take16(a) % (FUZZ_PAGES * GMEM_PAGE / 16);
	uint32_t v = take_number(a);

	must(gmem_write(f.mem, (uint64_t)at * 16 + (v & 12), &v, sizeof(v)) == 0);
}

static void
listen(struct actions *a)
{
	fake_take(&f);
	f.first = f.last;
	f.deaf[take8(a) % FUZZ_VPS] = take8(a) & 1;
}

static void
let_time_pass(struct actions *a)
{
	(void)a;
	if (f.retry_ms != 0) {
		f.retry_ms = 0;
		vmbus_retry(f.bus);
	}
	vmbus_legacy_signal(f.bus);
}

/* --- the host --- */

static void
devices_work(struct actions *a)
{
	struct vmbus_channel *ch = an_open_channel(&dev[take8(a) % DEVICES], take8(a));

	if (ch != NULL && !fake_device_echo(ch))
		vmbus_channel_break(ch, "bad ring");
}

static void
device_changes(struct actions *a)
{
	struct fake_device *d = &dev[take8(a) % DEVICES];
	uint8_t what = take8(a);

	d->hold = what & 1;
	d->keep_gpadl = what & 2;
	d->break_in_open = what & 4;
	d->open_error = what & 8 ? EIO : 0;
	f.bind_error = what & 16 ? ENOSPC : 0;
}

static void
devices_let_go(struct actions *a)
{
	fake_let_go(&dev[take8(a) % DEVICES]);
}

static void
device_comes_or_goes(struct actions *a)
{
	unsigned i = take8(a) % DEVICES;

	if (dev[i].d.node == NULL) {
		put(i);
		return;
	}
	revoked[i] = true;
	vmbus_revoke_device(&dev[i].d, fake_device_gone);
}

static void
device_breaks(struct actions *a)
{
	struct vmbus_channel *ch = an_open_channel(&dev[take8(a) % DEVICES], take8(a));

	if (ch != NULL)
		vmbus_channel_break(ch, "for the test");
}

static void
more_channels(struct actions *a)
{
	struct fake_device *d = &dev[take8(a) % DEVICES];

	if (d->d.node != NULL)
		vmbus_offer_subchannels(&d->d, take8(a) % 4, NULL);
}

static void
device_looks_at_memory(struct actions *a)
{
	struct vmbus_channel *ch = an_open_channel(&dev[take8(a) % DEVICES], take8(a));
	uint32_t id = take8(a) % 8, pages, offset, len;
	const uint64_t *pfn = ch != NULL ? vmbus_gpadl(ch, id, &pages, &offset, &len) : NULL;

	if (pfn == NULL)
		return;
	must(pages != 0 && offset < GMEM_PAGE && (uint64_t)offset + len <= (uint64_t)pages * GMEM_PAGE);
	for (uint32_t i = 0; i < pages; i++)
		must(guest_page(f.mem, pfn[i]) != NULL);
	if (take8(a) & 1)
		vmbus_gpadl_release(ch, id);
}

static void
guest_is_reset(struct actions *a)
{
	(void)a;
	vmbus_reset(f.bus);
	memset(f.slot, 0, sizeof(f.slot));
}

/* Into another process, where devices have nothing open and nothing to wait for. */
static void
saved_and_restored(struct actions *a)
{
	long n = vmbus_save(f.bus, state, sizeof(state));
	bool there[DEVICES];
	struct err e = { 0 };

	must(n > 0);
	for (unsigned i = 0; i < DEVICES; i++)
		there[i] = dev[i].d.node != NULL && !revoked[i];
	vmbus_free(f.bus);
	must(vmbus_new(&f.bus, &f.host, NULL) == 0);
	f.retry_ms = 0;
	f.bind_error = 0;
	for (unsigned i = 0; i < DEVICES; i++) {
		fake_device_init(&dev[i], 0x20, (uint8_t)i);
		if (there[i])
			put(i);
	}
	if (take8(a) & 1) { /* a hostile file first */
		size_t at = take16(a) % (size_t)n;
		uint8_t was = state[at];

		state[at] ^= take8(a) | 1;
		if (vmbus_restore(f.bus, state, (size_t)n, &e) == 0)
			vmbus_reset(f.bus);
		else
			must(e.code > 0 && e.msg[0] != '\0');
		must(vmbus_idle(f.bus));
		state[at] = was;
	}
	must(vmbus_restore(f.bus, state, (size_t)n, &e) == 0);
	vmbus_restored(f.bus);
}

static void (*const action[])(struct actions *a) = {
	say_numbers,
	say_raw,
	say_contact,
	lend,
	say_open,
	scribble,
	listen,
	let_time_pass,
	devices_work,
	device_changes,
	devices_let_go,
	device_comes_or_goes,
	device_breaks,
	more_channels,
	device_looks_at_memory,
	guest_is_reset,
	saved_and_restored,
};

/* The next kernel. */
static void
must_work(void)
{
	struct wire_offer o[DEVICES];
	struct fake_channel c;
	struct vmbus_stats s;

	for (unsigned i = 0; i < DEVICES; i++) {
		dev[i].hold = dev[i].break_in_open = false;
		dev[i].open_error = 0;
		fake_let_go(&dev[i]);
		put(i);
	}
	vmbus_reset(f.bus);
	must(vmbus_idle(f.bus));
	vmbus_retry(f.bus);
	fuzz_wipe(&f);
	must(fake_connect(&f, VMBUS_5_3));
	vmbus_statistics(f.bus, &s);
	must(s.gpadls == 0 && s.pages == 0 && s.channels_open == 0);
	must(fake_offers(&f, o, DEVICES) == DEVICES);
	must(o[0].relid == 1 && o[1].relid == 2);
	must(fake_open(&f, &c, &o[1], 2, 2, 0) == WIRE_STATUS_OK && fake_shut(&c));
	for (unsigned i = 0; i < DEVICES; i++)
		must(dev[i].opens == dev[i].closes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct actions a = { data, size };

	fuzz_wipe(&f);
	must(vmbus_new(&f.bus, &f.host, NULL) == 0);
	for (unsigned i = 0; i < DEVICES; i++) {
		fake_device_init(&dev[i], 0x20, (uint8_t)i);
		put(i);
	}
	while (a.n != 0)
		action[take8(&a) % (sizeof(action) / sizeof(action[0]))](&a);
	must_work();
	vmbus_free(f.bus);
	return 0;
}
