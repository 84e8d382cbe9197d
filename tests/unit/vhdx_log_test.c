/*
 * tests/unit/vhdx_log_test.c - which entries of a log count, what their replay does, and what it never does.
 */
#include "tests/unit/fake_vhdx.h"

enum {
	RING = 1 << 20,
	MARK = 0x200000 + (512 << 10)
}; /* MARK: a place in the metadata region that is nobody's */

static const struct disk_create small = { .type = DISK_DYNAMIC, .size = 64 * MIB, .block_size = MIB };
static const uint8_t guid[GUID_BYTES] = "a log's identity";

/* A change: a page of one byte, or zeros. */
struct change {
	uint64_t off, zeros; /* zeros: their length; 0: a page */
	int byte;
};

/* An entry of a log, and what is wrong with it. */
struct entry {
	uint32_t at, tail;
	uint64_t number;
	struct change change[3];
	uint32_t length, count; /* 0: what is right */
	uint64_t flushed, last; /* MiB; 0: 4 */
	uint32_t break_at;      /* this byte of it is another after the checksum; 0: none */
	uint32_t false_at;      /* the same before it */
	bool other;             /* of another log */
};

static void
put_ring(struct memory_host *h, uint32_t at, const uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += VHDX_PAGE)
		fake_put(h, LOG_AT + (at + i) % RING, p + i, VHDX_PAGE);
}

static void
put_page(uint8_t *sector, struct vhdx_log_desc *d, const struct entry *e, const struct change *c)
{
	uint32_t high = (uint32_t)(e->number >> 32), low = (uint32_t)e->number;

	memcpy(d->signature, "desc", 4);
	memset(sector, c->byte, VHDX_PAGE);
	memcpy(&d->leading, sector, 8);
	memcpy(&d->trailing, sector + 4092, 4);
	memcpy(sector, "data", 4);
	memcpy(sector + 4, &high, 4);
	memcpy(sector + 4092, &low, 4);
}

static void
put_entry(struct memory_host *h, const struct entry *e)
{
	static uint8_t p[4 * VHDX_PAGE];
	struct vhdx_log_head head = { .signature = "loge", .tail = e->tail, .sequence = e->number };
	uint32_t pages = 0;

	memset(p, 0, sizeof(p));
	for (const struct change *c = e->change; c < e->change + 3 && c->off; c++, head.count++) {
		struct vhdx_log_desc d = { .signature = "zero", .offset = c->off, .sequence = e->number };

		d.leading = c->zeros;
		if (!c->zeros)
			put_page(p + (size_t)++pages * VHDX_PAGE, &d, e, c);
		memcpy(p + 64 + head.count * sizeof(d), &d, sizeof(d));
	}
	head.length = e->length ? e->length : (1 + pages) * VHDX_PAGE;
	head.count = e->count ? e->count : head.count;
	head.flushed = (e->flushed ? e->flushed : 4) * MIB;
	head.last = (e->last ? e->last : 4) * MIB;
	memcpy(head.log, e->other ? (const uint8_t *)"another's identity" : guid, GUID_BYTES);
	memcpy(p, &head, sizeof(head));
	p[e->false_at] ^= e->false_at ? 0x55 : 0;
	head.crc = vhdx_crc(p, head.length <= sizeof(p) ? head.length : VHDX_PAGE, 4);
	memcpy(p + 4, &head.crc, 4);
	p[e->break_at] ^= e->break_at ? 0x55 : 0;
	put_ring(h, e->at, p, (1 + pages) * VHDX_PAGE);
}

static struct memory_host *
host_with(const struct entry *e, unsigned n)
{
	struct memory_host *h = fake_host(&small);

	for (unsigned i = 0; i < 2; i++)
		fake_put(h, VHDX_HEADER_AT + i * (uint64_t)VHDX_COPY + 48, guid, GUID_BYTES);
	fake_seal(h);
	for (unsigned i = 0; i < n && e[i].number; i++)
		put_entry(h, &e[i]);
	return h;
}

static int
mark(struct memory_host *h)
{
	uint8_t p[VHDX_PAGE];

	fake_get(h, MARK, p, sizeof(p));
	for (unsigned i = 1; i < sizeof(p); i++)
		if (p[i] != p[0])
			return -1;
	return p[0];
}

/* What a reader in memory has there, without a write to the file. */
static int
mark_in_memory(struct memory_host *h)
{
	struct disk_file *f = memory_open(h, 0, true);
	struct vhdx v = { .file = f, .read_only = true, .blocking = true };
	uint8_t p[VHDX_PAGE];
	unsigned writes = h->count[MEMORY_WRITE];

	assert_int_equal(vhdx_load(&v), 0);
	assert_int_equal(vhdx_get(&v, p, sizeof(p), MARK), 0);
	vhdx_drop(&v);
	file_free(f);
	assert_int_equal(h->count[MEMORY_WRITE], writes);
	for (unsigned i = 1; i < sizeof(p); i++)
		if (p[i] != p[0])
			return -1;
	return p[0];
}

/* --- Which entries count --- */

#define PAGE(b)                    \
	{                          \
		{                  \
			MARK, 0, b \
		}                  \
	}

static const struct {
	const char *what;
	struct entry e[4];
	int mark;
} good[] = {
	{ "one", { { .number = 5, .change = PAGE(7) } }, 7 },
	{ "the largest number", { { .number = UINT64_MAX, .change = PAGE(7) } }, 7 },
	{ "empty", { { .number = 5 } }, 0 },
	{ "two, the later last",
	    { { .number = 5, .change = PAGE(7) }, { .at = 8192, .number = 6, .change = PAGE(8) } }, 8 },
	{ "a gap in the numbers ends it",
	    { { .number = 5, .change = PAGE(7) }, { .at = 8192, .number = 9, .tail = 0, .change = PAGE(8) } },
	    7 },
	{ "retired before the tail",
	    { { .number = 5, .change = { { MARK + 4096, 0, 9 }, { MARK, 8192, 0 } } },
		{ .at = 8192, .tail = 8192, .number = 6, .change = PAGE(8) } },
	    8 },
	{ "over the end of the ring",
	    { { .at = RING - 4096, .tail = RING - 4096, .number = 5, .change = PAGE(7) } }, 7 },
	{ "a sequence over the end",
	    { { .at = RING - 8192, .tail = RING - 8192, .number = 5, .change = PAGE(7) },
		{ .at = 0, .tail = RING - 8192, .number = 6, .change = { { MARK, 4096, 0 } } } },
	    0 },
	{ "older ones of another log",
	    { { .at = 0, .number = 99, .change = PAGE(9), .other = true },
		{ .at = 8192, .tail = 8192, .number = 5, .change = PAGE(7) } },
	    7 },
	{ "the newest is torn",
	    { { .number = 5, .change = PAGE(7) },
		{ .at = 8192, .number = 6, .change = PAGE(8), .break_at = 5000 } },
	    7 },
	{ "an older sequence elsewhere",
	    { { .at = 65536, .tail = 65536, .number = 3, .change = PAGE(3) },
		{ .at = 8192, .tail = 8192, .number = 5, .change = PAGE(7) } },
	    7 },
	{ "the greater number has no tail",
	    { { .at = 65536, .tail = 4096, .number = 9, .change = PAGE(3) },
		{ .at = 8192, .tail = 8192, .number = 5, .change = PAGE(7) } },
	    7 },
	{ "zeros after a page", { { .number = 5, .change = { { MARK, 0, 7 }, { MARK - 4096, 12288, 0 } } } },
	    0 },
	{ "a page after zeros", { { .number = 5, .change = { { MARK - 4096, 12288, 0 }, { MARK, 0, 7 } } } },
	    7 },
};

static void
the_active_sequence_is_replayed(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct memory_host *h = host_with(good[i].e, 4);
		struct disk_info before, after;
		struct disk *d;
		struct err e;

		assert_int_equal(fake_info(h, &before, &e), 0);
		assert_true(before.dirty);
		if (mark_in_memory(h) != good[i].mark)
			fail_msg("%s: in memory %d", good[i].what, mark_in_memory(h));
		if (fake_open(h, false, &d, &e) < 0)
			fail_msg("%s: %s", good[i].what, e.msg);
		disk_free(d);
		if (mark(h) != good[i].mark)
			fail_msg("%s: %d", good[i].what, mark(h));
		assert_int_equal(fake_info(h, &after, &e), 0);
		assert_false(after.dirty);
		assert_memory_equal(before.data_id, after.data_id, GUID_BYTES); /* nothing a guest sees */
		memory_host_free(h);
	}
}

/* --- Which are refused --- */

static const struct {
	const char *what;
	struct entry e;
	const char *says;
} bad[] = {
	{ "none", { 0 }, "no whole entry" },
	{ "number 0 is none", { .at = 4096, .other = true, .number = 1, .change = PAGE(7) },
	    "no whole entry" },
	{ "checksum", { .number = 5, .change = PAGE(7), .break_at = 100 }, "no whole entry" },
	{ "signature", { .number = 5, .change = PAGE(7), .false_at = 3 }, "no whole entry" },
	{ "descriptor's signature", { .number = 5, .change = PAGE(7), .false_at = 64 }, "no whole entry" },
	{ "descriptor's number", { .number = 5, .change = PAGE(7), .false_at = 88 }, "no whole entry" },
	{ "data's signature", { .number = 5, .change = PAGE(7), .false_at = 4096 }, "no whole entry" },
	{ "data's high number", { .number = 5, .change = PAGE(7), .false_at = 4100 }, "no whole entry" },
	{ "data's low number", { .number = 5, .change = PAGE(7), .false_at = 8190 }, "no whole entry" },
	{ "tail elsewhere", { .number = 5, .tail = 65536, .change = PAGE(7) }, "no whole entry" },
	{ "tail odd", { .number = 5, .tail = 1, .change = PAGE(7) }, "no whole entry" },
	{ "tail outside", { .number = 5, .tail = RING, .change = PAGE(7) }, "no whole entry" },
	{ "length odd", { .number = 5, .length = 8193, .change = PAGE(7) }, "no whole entry" },
	{ "length of one less", { .number = 5, .length = 4096, .change = PAGE(7) }, "no whole entry" },
	{ "length of one more", { .number = 5, .length = 12288, .change = PAGE(7) }, "no whole entry" },
	{ "longer than the ring", { .number = 5, .length = RING + 4096, .change = PAGE(7) },
	    "no whole entry" },
	{ "as long as the ring", { .number = 5, .length = RING, .change = PAGE(7) }, "no whole entry" },
	{ "2^32-1 descriptors", { .number = 5, .count = UINT32_MAX, .change = PAGE(7) }, "no whole entry" },
	{ "200 descriptors", { .number = 5, .count = 200, .change = PAGE(7) }, "no whole entry" },
	{ "into the identifier", { .number = 5, .change = { { 4096, 0, 7 } } }, "no whole entry" },
	{ "into a header", { .number = 5, .change = { { 65536, 0, 7 } } }, "no whole entry" },
	{ "into the log", { .number = 5, .change = { { LOG_AT + 65536, 0, 7 } } }, "no whole entry" },
	{ "odd target", { .number = 5, .change = { { MARK + 512, 0, 7 } } }, "no whole entry" },
	{ "over the log", { .number = 5, .change = { { 512 << 10, 2 * MIB, 0 } } }, "no whole entry" },
	{ "zeros of 2^63", { .number = 5, .change = { { MARK, UINT64_C(1) << 63, 0 } } }, "no whole entry" },
	{ "zeros up to 2^64", { .number = 5, .change = { { MARK, UINT64_MAX - 4095, 0 } } },
	    "no whole entry" },
	{ "target at 2^64", { .number = 5, .change = { { UINT64_MAX - 4095, 0, 7 } } }, "no whole entry" },
	{ "behind the end", { .number = 5, .change = { { 8 * MIB, 0, 7 } } }, "behind the end of the file" },
	{ "zeros behind the end", { .number = 5, .change = { { MARK, 8 * MIB, 0 } } },
	    "behind the end of the file" },
	{ "a file cut short", { .number = 5, .flushed = 5, .change = PAGE(7) }, "cut short" },
	{ "a file of 2^60", { .number = 5, .last = UINT64_C(1) << 40, .change = PAGE(7) }, "256 TiB" },
};

static void
what_cannot_be_believed_is_refused_and_nothing_is_written(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct memory_host *h = host_with(&bad[i].e, 1);
		struct disk_check c = { 0 };
		struct disk_info info;
		struct disk *d;
		struct err e;

		assert_int_equal(fake_info(h, &info, &e), -EINVAL);
		if (!strstr(e.msg, bad[i].says))
			fail_msg("%s: \"%s\" does not say \"%s\"", bad[i].what, e.msg, bad[i].says);
		assert_int_equal(fake_open(h, false, &d, &e), -EINVAL);
		assert_int_equal(mark(h), 0);
		assert_int_equal(fake_check(h, &c), 0);
		assert_true(c.faults[DISK_DAMAGE] > 0);
		memory_host_free(h);
	}
}

static void
a_file_becomes_as_long_as_it_was_to_be(void **state)
{
	static const struct entry one = { .number = 5, .last = 9, .change = PAGE(7) };
	struct memory_host *h = host_with(&one, 1);
	struct disk_file *f = memory_open(h, 0, true);
	uint64_t size;
	struct disk *d;
	struct err e;

	(void)state;
	assert_int_equal(fake_open(h, true, &d, &e), 0);
	disk_free(d);
	assert_int_equal(file_size(f, &size, NULL), 0);
	assert_int_equal(size, 4 * MIB);
	assert_int_equal(fake_open(h, false, &d, &e), 0);
	disk_free(d);
	assert_int_equal(file_size(f, &size, NULL), 0);
	assert_int_equal(size, 9 * MIB);
	file_free(f);
	memory_host_free(h);
}

/* A page of the table that is only in the log is what a reader sees. */
static void
a_reader_sees_tables_as_they_would_be(void **state)
{
	struct memory_host *h = fake_host(&small), *dirty;
	uint8_t page[VHDX_PAGE], table[VHDX_PAGE];
	struct entry one = { .number = 5, .last = 9, .flushed = 5, .change = { { BAT_AT, 0, 0 } } };
	struct disk *d;
	struct err e;
	static uint8_t p[2 * VHDX_PAGE];

	(void)state;
	fake_fill(h, 1, 0x42);
	fake_get(h, BAT_AT, table, sizeof(table));
	dirty = h;
	for (unsigned i = 0; i < 2; i++)
		fake_put(dirty, VHDX_HEADER_AT + i * (uint64_t)VHDX_COPY + 48, guid, GUID_BYTES);
	fake_seal(dirty);
	put_entry(dirty, &one);
	fake_get(dirty, LOG_AT, p, sizeof(p));
	memcpy(p + 64 + 8, table, 8); /* the page in the log is the right one, */
	memcpy(p + 64 + 4, table + 4092, 4);
	memcpy(p + VHDX_PAGE + 8, table + 8, 4084);
	*(uint32_t *)(void *)(p + 4) = vhdx_crc(p, sizeof(p), 4);
	fake_put(dirty, LOG_AT, p, sizeof(p));
	memset(table, 0, sizeof(table));
	fake_put(dirty, BAT_AT, table, sizeof(table)); /* and that in the file is not */
	assert_int_equal(fake_open(dirty, true, &d, &e), 0);
	assert_int_equal(fake_io(dirty, d, DISK_READ, MIB / 2, page, sizeof(page)), 0);
	assert_int_equal(page[100], 0x42);
	disk_free(d);
	fake_get(dirty, BAT_AT, table, 1);
	assert_int_equal(table[0], 0);
	memory_host_free(dirty);
}

/* --- Cut while it is replayed --- */

struct cutter {
	struct memory_host *host;
	unsigned cuts;
	bool busy;
};

static int
cut_here(void *ctx, const struct memory_op *op)
{
	struct cutter *c = ctx;

	(void)op;
	if (c->busy)
		return 0;
	c->busy = true;
	for (uint64_t seed = 0; seed < 8; seed++) {
		struct memory_host *cut = memory_cut(c->host, seed < 2 ? seed : memory_mix(c->cuts, seed));
		struct disk *d;
		struct err e;

		if (fake_open(cut, false, &d, &e) < 0)
			fail_msg("cut %u: %s", c->cuts, e.msg);
		disk_free(d);
		assert_int_equal(mark(cut), 8);
		memory_host_free(cut);
		c->cuts++;
	}
	c->busy = false;
	return 0;
}

static void
a_replay_can_be_cut(void **state)
{
	static const struct entry two[] = { { .number = 5, .change = PAGE(7) },
		{ .at = 8192, .number = 6, .last = 7, .change = PAGE(8) } };
	struct cutter c = { .host = host_with(two, 2) };
	struct disk *d;
	struct err e;

	(void)state;
	memory_host_free(NULL);
	c.busy = true;
	{ /* the file itself is safe */
		struct memory_host *safe = memory_copy(c.host);

		memory_host_free(c.host);
		c.host = safe;
	}
	c.busy = false;
	c.host->fault = cut_here;
	c.host->ctx = &c;
	assert_int_equal(fake_open(c.host, false, &d, &e), 0);
	c.host->fault = NULL;
	disk_free(d);
	assert_int_equal(mark(c.host), 8);
	assert_true(c.cuts > 40);
	memory_host_free(c.host);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_active_sequence_is_replayed),
		cmocka_unit_test(what_cannot_be_believed_is_refused_and_nothing_is_written),
		cmocka_unit_test(a_file_becomes_as_long_as_it_was_to_be),
		cmocka_unit_test(a_reader_sees_tables_as_they_would_be),
		cmocka_unit_test(a_replay_can_be_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
