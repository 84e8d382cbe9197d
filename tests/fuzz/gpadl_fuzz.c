/*
 * tests/fuzz/gpadl_fuzz.c - lists of memory: headers, bodies and teardowns with any content, several at a
 * time. What is accepted is memory and holds its bytes; number and pages stay within bounds; all comes back.
 */
#include "tests/fuzz/vmbus.h"

static struct fake_vmbus f;
static struct fake_device dev;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	must(fake_vmbus_init(&f, FUZZ_PAGES * GMEM_PAGE >> 20, FUZZ_VPS) == 0);
	fake_device_init(&dev, 0x20, 1);
	must(vmbus_offer_device(f.bus, &dev.d, NULL) == 0);
	return 0;
}

static uint64_t
take_pfn(struct actions *a)
{
	uint8_t b = take8(a);

	return b < 0xf8 ? b : (uint64_t)take32(a) << 32 | take32(a);
}

/* Page numbers behind a head of `at` bytes; the length of the message. */
static size_t
put_pfns(uint8_t *m, size_t at, struct actions *a)
{
	size_t n = take8(a) % 32;

	for (size_t i = 0; i < n && at + 8 <= SYNIC_MESSAGE_MAX; i++, at += 8) {
		uint64_t pfn = take_pfn(a);

		memcpy(m + at, &pfn, sizeof(pfn));
	}
	at += take8(a) % 8;
	return at < SYNIC_MESSAGE_MAX ? at : SYNIC_MESSAGE_MAX;
}

static void
header(struct actions *a)
{
	uint8_t m[SYNIC_MESSAGE_MAX] = { 0 };
	struct wire_gpadl_header h = {
		.head.type = WIRE_GPADL_HEADER, .relid = take8(a) % 3, .gpadl = take8(a) % 4
	};
	uint8_t shape = take8(a);

	h.ranges = shape < 0xf0 ? 1 : shape;
	h.range_bytes = (uint16_t)(shape & 1 ? take16(a) : 8 + 8 * (take8(a) % 64));
	h.len = shape & 2 ? take32(a) : (h.range_bytes / 8u - 1) * GMEM_PAGE;
	h.offset = shape & 4 ? take16(a) : 0;
	memcpy(m, &h, sizeof(h));
	fake_say(&f, m, put_pfns(m, sizeof(h), a));
}

static void
body(struct actions *a)
{
	uint8_t m[SYNIC_MESSAGE_MAX] = { 0 };
	struct wire_gpadl_body b = { .head.type = WIRE_GPADL_BODY, .gpadl = take8(a) % 4 };

	memcpy(m, &b, sizeof(b));
	fake_say(&f, m, put_pfns(m, sizeof(b), a));
}

static void
taken_back(struct actions *a)
{
	uint32_t relid = take8(a) % 3;

	fake_say_numbers(&f, WIRE_GPADL_TEARDOWN, 16, relid, take8(a) % 4);
}

static void
looked_at(struct actions *a)
{
	uint32_t id = take8(a) % 4, pages, offset, len;
	const uint64_t *pfn = vmbus_gpadl(dev.open[0], id, &pages, &offset, &len);

	dev.keep_gpadl = take8(a) & 1;
	if (pfn == NULL)
		return;
	must(pages != 0 && len != 0 && offset < GMEM_PAGE);
	must(((uint64_t)offset + len + GMEM_PAGE - 1) / GMEM_PAGE == pages);
	for (uint32_t i = 0; i < pages; i++)
		must(pfn[i] < FUZZ_PAGES);
}

static void
given_back(struct actions *a)
{
	vmbus_gpadl_release(dev.open[0], take8(a) % 4);
}

static void (*const action[])(struct actions *a) = { header, body, taken_back, looked_at, given_back };

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct actions a = { data, size };
	struct fake_channel c;
	struct wire_offer o;
	struct vmbus_stats s;

	f.first = f.last = 0;
	f.next_page = FAKE_FIRST_PAGE;
	f.next_gpadl = 1000;
	must(fake_connect(&f, VMBUS_5_3) && fake_offers(&f, &o, 1) == 1);
	must(fake_open(&f, &c, &o, 2, 2, 0) == WIRE_STATUS_OK);
	while (a.n != 0) {
		action[take8(&a) % (sizeof(action) / sizeof(action[0]))](&a);
		vmbus_statistics(f.bus, &s);
		must(s.gpadls <= VMBUS_MAX_GPADLS && s.pages <= VMBUS_MAX_PAGES);
		fake_forget(&f);
	}
	fake_close(&c);
	must(fake_connect(&f, VMBUS_5_3));
	vmbus_statistics(f.bus, &s);
	must(s.gpadls == 0 && s.pages == 0 && dev.opens == dev.closes);
	return 0;
}
