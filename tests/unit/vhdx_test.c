/*
 * tests/unit/vhdx_test.c - whole VHDX files: made, described, refused, checked, repaired, changed; and what a
 * power cut leaves of each change.
 */
#include "tests/unit/fake_vhdx.h"

#include <unistd.h>

static const struct disk_create small = { .type = DISK_DYNAMIC, .size = 64 * MIB, .block_size = MIB };

enum { SOME = 32 << 10 };

/* --- Numbers --- */

static void
checksums_are_crc_32c(void **state)
{
	(void)state;
	assert_int_equal(~vhdx_crc_part(UINT32_MAX, "123456789", 9), 0xe3069283);
	assert_int_equal(
	    vhdx_crc("123456789....", 13, 9), ~vhdx_crc_part(UINT32_MAX, "123456789\0\0\0\0", 13));
}

static void
tables_have_the_entries_that_2_5_1_asks_for(void **state)
{
	static const struct {
		uint64_t size;
		uint32_t block, logical;
		bool child;
		uint64_t entries;
	} rows[] = {
		{ UINT64_C(10240) * MIB, 32 << 20, 512, false, 322 },
		{ 64 * MIB, 2 << 20, 512, true, 2049 },
		{ UINT64_C(64) * VHDX_TIB, 1 << 20, 512, true, 67125248 },
		{ UINT64_C(64) * VHDX_TIB, 256 << 20, 4096, false, 262144 + 2047 },
		{ 512, 1 << 20, 512, false, 1 },
		{ UINT64_C(4096) * MIB, 2 << 20, 512, false, 2048 },
		{ UINT64_C(4098) * MIB, 2 << 20, 512, false, 2050 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(
		    vhdx_entries_needed(rows[i].size, rows[i].block, rows[i].logical, rows[i].child),
		    rows[i].entries);
}

/* --- New files --- */

static unsigned
faults(struct memory_host *h)
{
	struct disk_check c = { 0 };

	assert_int_equal(fake_check(h, &c), 0);
	return c.faults[DISK_DAMAGE] + c.faults[DISK_REPAIRABLE];
}

static void
new_files_are_what_was_asked_for(void **state)
{
	static const struct disk_create rows[] = {
		{ .type = DISK_DYNAMIC, .size = 512 },
		{ .type = DISK_DYNAMIC, .size = UINT64_C(64) * VHDX_TIB },
		{ .type = DISK_DYNAMIC,
		    .size = UINT64_C(4097) * MIB,
		    .block_size = 1 << 20,
		    .logical = 4096 },
		{ .type = DISK_DYNAMIC, .size = 33 * MIB, .block_size = 256 << 20, .physical = 512 },
		{ .type = DISK_FIXED, .size = 10 * MIB + 512, .block_size = 1 << 20 },
		{ .type = DISK_FIXED, .size = UINT64_C(40) << 30, .sparse_fixed = true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct memory_host *h = fake_host(&rows[i]);
		struct disk_info info;
		struct err e;

		assert_int_equal(fake_info(h, &info, &e), 0);
		assert_int_equal(info.type, rows[i].type);
		assert_int_equal(info.size, rows[i].size);
		assert_int_equal(info.block_size, rows[i].block_size ? rows[i].block_size : 32 << 20);
		assert_int_equal(info.logical, rows[i].logical ? rows[i].logical : 512);
		assert_int_equal(info.physical, rows[i].physical ? rows[i].physical : 4096);
		assert_false(info.dirty);
		assert_string_equal(info.creator, "Freehold");
		assert_int_equal(
		    info.allocated, rows[i].type == DISK_FIXED ? round_up(rows[i].size, info.block_size) : 0);
		assert_int_equal(faults(h), 0);
		memory_host_free(h);
	}
}

static unsigned seeks;

static int64_t
count_seek(struct disk_file *f, uint64_t off, int whence)
{
	int64_t end = f->ops->size(f);

	seeks++;
	/* All of it is data, as a copy that made no holes has it. */
	return (int64_t)off >= end ? -ENXIO : whence == SEEK_DATA ? (int64_t)off : end;
}

static void
a_table_without_holes_is_asked_for_them_once(void **state)
{
	const struct disk_create how = { .type = DISK_DYNAMIC, .size = UINT64_C(64) * VHDX_TIB };
	struct memory_host *h = fake_host(&how);
	struct disk_file *f = memory_open(h, 0, true);
	struct disk_file_ops ops = *f->ops;
	struct disk_info info;

	(void)state;
	ops.seek = count_seek;
	f->ops = &ops;
	seeks = 0;
	assert_int_equal(disk_vhdx_format.info(f, &info, NULL), 0);
	assert_int_equal(info.allocated, 0);
	assert_in_range(seeks, 1, 8);
	file_free(f);
	memory_host_free(h);
}

static void
what_cannot_be_is_not_made(void **state)
{
	static const struct {
		struct disk_create how;
		const char *says;
	} rows[] = {
		{ { .type = DISK_DYNAMIC, .size = 0 }, "64 TiB" },
		{ { .type = DISK_DYNAMIC, .size = 513 }, "64 TiB" },
		{ { .type = DISK_DYNAMIC, .size = (UINT64_C(64) * VHDX_TIB) + 512 }, "64 TiB" },
		{ { .type = DISK_DYNAMIC, .size = 512, .logical = 4096 }, "64 TiB" },
		{ { .type = DISK_DYNAMIC, .size = 512, .logical = 1024 }, "512 or 4096" },
		{ { .type = DISK_DYNAMIC, .size = 512, .block_size = 3 << 20 }, "power of two" },
		{ { .type = DISK_DYNAMIC, .size = 512, .block_size = 512 << 20 }, "power of two" },
		{ { .type = DISK_DIFFERENCING, .size = 512 }, "parent" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct memory_host *h = memory_host_new();
		struct disk_file *f = memory_open(h, 0, false);
		struct err e = { 0 };

		assert_true(disk_vhdx_format.create(f, &rows[i].how, NULL, &e) < 0);
		if (!strstr(e.msg, rows[i].says))
			fail_msg("%s", e.msg);
		file_free(f);
		memory_host_free(h);
	}
}

/* --- Damage --- */

struct patch {
	uint64_t off;
	const char *bytes;
	size_t n;
	bool seal;
	const char *says; /* NULL: it opens all the same, and a check repairs it */
};
#define BYTES(s) s, sizeof(s) - 1
#define HEADER1  (64 << 10)
#define HEADER2  (128 << 10)
#define REGIONS1 (192 << 10)
#define REGIONS2 (256 << 10)
#define ITEM(n)  (METADATA_AT + 32 + (n)*32)
#define VALUES   (METADATA_AT + VHDX_TABLE) /* parameters, size, page 83, logical, physical: 8, 8, 16, 8, 8 */
#define ENTRY(n) (BAT_AT + (n)*8)

static const struct patch patches[] = {
	{ 0, BYTES("vhdxfilf"), false, "vhdxfile" },
	{ HEADER1, BYTES("x"), false, NULL },
	{ HEADER2 + 100, BYTES("x"), false, NULL },
	{ REGIONS1 + 20, BYTES("x"), false, NULL },
	{ REGIONS2 + 60000, BYTES("x"), false, NULL },
	{ HEADER2 + 66, BYTES("\2"), true, "version 2" },
	{ HEADER2 + 68, BYTES("\1"), true, "multiples of 1 MiB" },
	{ HEADER2 + 68, BYTES("\0\0\0\x7f"), true, "1024 is the most" },
	{ HEADER2 + 72, BYTES("\0\0\0\0"), true, "multiples of 1 MiB" },
	{ HEADER2 + 72, BYTES("\0\0\0\5"), true, "not in the file" },
	{ HEADER2 + 72, BYTES("\0\0\xf0\xff\xff\xff\xff\xff"), true, "not in the file" },
	{ HEADER2 + 48, BYTES("guid"), true, "no whole entry" },
	{ HEADER2 + 48, BYTES("guid............\1"), true, "version 1" },
	{ HEADER2 + 8, BYTES("\1\0\0\0\0\0\0\0x"), true, "but are different" },
	{ REGIONS1 + 8, BYTES("\xff\xff"), true, NULL },
	{ REGIONS1 + 16, BYTES("x"), true, "not known" },
	{ REGIONS1 + 32, BYTES("\0\0\x20"), true, "overlap" },
	{ REGIONS1 + 32, BYTES("\0\0\x10"), true, "overlap" },
	{ REGIONS1 + 32, BYTES("\0\0\0"), true, "multiples of 1 MiB" },
	{ REGIONS1 + 32, BYTES("\0\1\x30"), true, "multiples of 1 MiB" },
	{ REGIONS1 + 32, BYTES("\0\0\xf0\xff\xff\xff\xff\xff"), true, "not in the file" },
	{ REGIONS1 + 40, BYTES("\0\0\0"), true, "multiples of 1 MiB" },
	{ REGIONS1 + 40, BYTES("\0\0\x80\x7f"), true, "not in the file" },
	{ REGIONS1 + 8, BYTES("\1"), true, "does not name the metadata region" },
	{ METADATA_AT, BYTES("x"), false, "\"metadata\"" },
	{ METADATA_AT + 10, BYTES("\0\x10"), false, "2047" },
	{ METADATA_AT + 10, BYTES("\4"), false, "no physical sector size" },
	{ METADATA_AT + 10, BYTES("\x20"), false, "" }, /* entries of zeros: the same twice */
	{ ITEM(0), BYTES("x"), false, "must be understood" },
	{ ITEM(0), BYTES("\xf0\x85\xcc\x71\x69\x1b\x28\x4e\x95\x58\xc3\xbf\x83\xae\x75\xd3"), false,
	    "never finished" },
	{ ITEM(1) + 16, BYTES("\0\0\0\0"), false, "lies in the metadata table" },
	{ ITEM(1) + 16, BYTES("\xfc\xff\x0f\0"), false, "behind the end" },
	{ ITEM(1) + 16, BYTES("\xff\xff\xff\xff"), false, "behind the end" },
	{ ITEM(1) + 16, BYTES("\4\0\1\0"), false, "overlap" },
	{ ITEM(1) + 20, BYTES("\0\0\0\0"), false, "has an offset, but no length" },
	{ ITEM(1) + 20, BYTES("\4\0\0\0"), false, "4 bytes, not 8" },
	{ ITEM(1) + 20, BYTES("\1\0\x10\0"), false, "longer than 1 MiB" },
	{ VALUES, BYTES("\0\0\0\0"), false, "blocks of 0 bytes" },
	{ VALUES, BYTES("\0\0\x30\0"), false, "blocks of 3145728 bytes" },
	{ VALUES, BYTES("\0\0\0\x20"), false, "blocks of 536870912 bytes" },
	{ VALUES + 4, BYTES("\2"), false, "no parent locator" },
	{ VALUES + 4, BYTES("\3"), false, "cannot be fixed" },
	{ VALUES + 8, BYTES("\0\0\0\0\0\0\0\0"), false, "a disk of 0 bytes" },
	{ VALUES + 8, BYTES("\1"), false, "whole sectors" },
	{ VALUES + 8, BYTES("\0\2\0\0\0\x40\0\0"), false, "64 TiB" },
	{ VALUES + 8, BYTES("\0\0\0\0\0\x10\0\0"), false, "has room for" },
	{ VALUES + 32, BYTES("\0\4\0\0"), false, "sectors of 1024" },
	{ VALUES + 40, BYTES("\0\0\0\0"), false, "sectors of 512 and 0" },
	{ ENTRY(5), BYTES("\4"), false, "not known" },
	{ ENTRY(5), BYTES("\5"), false, "not known" },
	{ ENTRY(5), BYTES("\7\0\x40"), false, "no parent" },
	{ ENTRY(5), BYTES("\6"), false, "in the headers" },
	{ ENTRY(5), BYTES("\6\0\x10"), false, "something else" },
	{ ENTRY(5), BYTES("\6\0\x20"), false, "something else" },
	{ ENTRY(5), BYTES("\6\0\x40"), false, "something else" }, /* block 0 is there */
	{ ENTRY(5), BYTES("\3\0\x40"), false, "something else" },
	{ ENTRY(5), BYTES("\6\0\0\0\1"), false, "behind the end" },
	{ ENTRY(5), BYTES("\6\0\xf0\xff\xff\xff\xff\xff"), false, "behind the end" },
	{ ENTRY(5), BYTES("\x0e\0\x60"), false, "bits 3 to 19" },
	{ ENTRY(5), BYTES("\2\0\x60"), false, NULL },
};

static void
damage_is_refused_and_named(const struct patch *p, struct memory_host *h)
{
	struct disk_check c = { 0 };
	struct disk_info info;
	struct disk *d;
	struct err e;

	assert_int_equal(fake_info(h, &info, &e), -EINVAL);
	if (!strstr(e.msg, p->says))
		fail_msg("\"%s\" does not say \"%s\"", e.msg, p->says);
	assert_int_equal(fake_open(h, true, &d, &e), -EINVAL);
	assert_int_equal(fake_open(h, false, &d, &e), -EINVAL);
	assert_int_equal(fake_check(h, &c), 0);
	assert_true(c.faults[DISK_DAMAGE] > 0);
	c = (struct disk_check){ .repair = true };
	assert_int_equal(fake_check(h, &c), 0);
	assert_true(c.faults[DISK_DAMAGE] > 0);
}

static void
damage_is_repaired(struct memory_host *h, uint64_t sum)
{
	struct disk_check c = { 0 };

	assert_int_equal(fake_sum(h, 64, SOME), sum);
	assert_int_equal(fake_check(h, &c), 0);
	assert_int_equal(c.faults[DISK_DAMAGE], 0);
	assert_int_equal(c.faults[DISK_REPAIRABLE], 1);
	c = (struct disk_check){ .repair = true };
	assert_int_equal(fake_check(h, &c), 0);
	assert_int_equal(c.faults[DISK_REPAIRED], 1);
	assert_int_equal(c.faults[DISK_REPAIRABLE], 0);
	assert_int_equal(faults(h), 0);
	assert_int_equal(fake_sum(h, 64, SOME), sum);
}

static void
damage_is_found(void **state)
{
	struct memory_host *good = fake_host(&small);
	uint64_t sum;

	(void)state;
	fake_fill(good, 4, 0x10);
	/* Both headers the same age, the second the current one; and the same bytes where a patch means both.
	 */
	sum = fake_sum(good, 64, SOME);
	for (size_t i = 0; i < sizeof(patches) / sizeof(patches[0]); i++) {
		const struct patch *p = &patches[i];
		struct memory_host *h = memory_copy(good);
		struct vhdx_header one;

		if (p->off >= HEADER2 && p->off < REGIONS1 && p->seal) { /* the second is current */
			fake_get(h, HEADER1, &one, sizeof(one));
			one.sequence = 1;
			fake_put(h, HEADER1, &one, sizeof(one));
		}
		fake_put(h, p->off, p->bytes, p->n);
		if (p->off >= REGIONS1 && p->off < REGIONS2 && p->says)
			fake_put(h, p->off - REGIONS1 + REGIONS2, p->bytes, p->n);
		if (p->seal)
			fake_seal(h);
		if (p->says)
			damage_is_refused_and_named(p, h);
		else
			damage_is_repaired(h, sum);
		memory_host_free(h);
	}
	memory_host_free(good);
}

static void
bytes_of_chance_do_no_harm(void **state)
{
	struct memory_host *good = fake_host(&small);

	(void)state;
	fake_fill(good, 4, 0x10);
	for (uint64_t seed = 1; seed < 600; seed++) {
		static const uint64_t places[] = { HEADER1, HEADER2, REGIONS1, METADATA_AT, VALUES, BAT_AT };
		struct memory_host *h = memory_copy(good);
		struct disk_check c = { .repair = seed % 2 };
		struct disk_info info;
		struct err e;

		for (unsigned i = 0; i < 3; i++) {
			uint64_t r = memory_mix(seed, i), at = places[r % 6] + r / 6 % 128;
			uint8_t byte = (uint8_t)(r >> 32);

			fake_put(h, at, &byte, 1);
		}
		fake_seal(h);
		if (fake_info(h, &info, &e) < 0)
			assert_true(e.code != 0 && e.msg[0]);
		fake_check(h, &c);
		memory_host_free(h);
	}
	memory_host_free(good);
}

/* --- Changes, each cut at every operation --- */

struct change {
	int (*fn)(struct disk_file *f, struct err *e);
	uint64_t before, after; /* sizes */
	uint64_t sum;
	unsigned cuts;
	bool busy;
};

static int
to_96(struct disk_file *f, struct err *e)
{
	return disk_vhdx_format.resize(f, 96 * MIB + 512, NULL, e);
}
static int
to_200_gib(struct disk_file *f, struct err *e)
{
	return disk_vhdx_format.resize(f, UINT64_C(200) << 30, NULL, e);
}
static int
to_48(struct disk_file *f, struct err *e)
{
	return disk_vhdx_format.resize(f, 48 * MIB, NULL, e);
}
static int
compact(struct disk_file *f, struct err *e)
{
	return disk_vhdx_format.compact(f, NULL, e);
}
static int
set(struct disk_file *f, struct err *e)
{
	return disk_vhdx_format.set(f, (const uint8_t *)"0123456789abcdef", 512, e);
}
static int
set_data_id(struct disk_file *f, struct err *e)
{
	return disk_vhdx_format.set_data_id(f, (const uint8_t *)"0123456789abcdef", e);
}
static int
repair(struct disk_file *f, struct err *e)
{
	struct disk_check c = { .repair = true };

	return disk_vhdx_format.check(f, &c, NULL, e);
}

static void
verify_cut(struct change *c, struct memory_host *h, uint64_t seed)
{
	struct memory_host *cut = memory_cut(h, seed);
	struct disk_check check = { .repair = true };
	struct disk_info info;
	struct err e;

	cut->fault = NULL;
	if (fake_info(cut, &info, &e) < 0)
		fail_msg("cut %u: %s", c->cuts, e.msg);
	assert_true(info.size == c->before || info.size == c->after);
	assert_int_equal(fake_sum(cut, 48, SOME), c->sum);
	assert_int_equal(fake_check(cut, &check), 0);
	assert_int_equal(check.faults[DISK_DAMAGE] + check.faults[DISK_REPAIRABLE], 0);
	assert_int_equal(fake_sum(cut, 48, SOME), c->sum);
	memory_host_free(cut);
	c->cuts++;
}

static int
cut_here(void *ctx, const struct memory_op *op)
{
	struct {
		struct change *change;
		struct memory_host *host;
	} *x = ctx;

	(void)op;
	if (x->change->busy)
		return 0;
	x->change->busy = true;
	for (uint64_t i = 0; i < 3; i++)
		verify_cut(x->change, x->host, i < 2 ? i : memory_mix(x->change->cuts, i));
	x->change->busy = false;
	return 0;
}

static struct memory_host *
cut_change(
    struct memory_host *h, int (*fn)(struct disk_file *, struct err *), uint64_t before, uint64_t after)
{
	struct change c = { fn, before, after, fake_sum(h, 48, SOME), 0, false };
	struct {
		struct change *change;
		struct memory_host *host;
	} x = { &c, h };
	struct disk_file *f = memory_open(h, 0, false);
	struct disk_info info;
	struct err e = { 0 };

	h->fault = cut_here;
	h->ctx = &x;
	if (fn(f, &e) < 0)
		fail_msg("%s", e.msg);
	h->fault = NULL;
	file_free(f);
	assert_int_equal(fake_info(h, &info, &e), 0);
	assert_int_equal(info.size, after);
	assert_int_equal(fake_sum(h, 48, SOME), c.sum);
	assert_int_equal(faults(h), 0);
	assert_true(c.cuts > 3);
	return h;
}

static void
sizes_change_whole_or_not_at_all(void **state)
{
	static const struct disk_create fixed = {
		.type = DISK_FIXED, .size = 64 * MIB, .block_size = 1 << 20
	};
	static const struct disk_create *const from[] = { &small, &fixed };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct memory_host *h = fake_host(from[i]);

		fake_fill(h, 20, 0x30);
		cut_change(h, to_96, 64 * MIB, 96 * MIB + 512);
		cut_change(h, to_48, 96 * MIB + 512, 48 * MIB);
		if (i == 0) { /* the table moves */
			struct disk_info info;
			struct err e;

			cut_change(h, to_200_gib, 48 * MIB, UINT64_C(200) << 30);
			assert_int_equal(fake_info(h, &info, &e), 0);
		}
		memory_host_free(h);
	}
}

static void
data_is_never_cut_off(void **state)
{
	struct memory_host *h = fake_host(&small);
	struct disk_file *f = memory_open(h, 0, false);
	uint64_t sum;
	struct err e = { 0 };

	(void)state;
	fake_fill(h, 60, 1);
	sum = fake_sum(h, 64, SOME);
	assert_int_equal(to_48(f, &e), -EBUSY);
	assert_non_null(strstr(e.msg, "data behind the new end"));
	assert_int_equal(fake_sum(h, 64, SOME), sum);
	file_free(f);
	memory_host_free(h);
}

static void
what_becomes_visible_is_zero(void **state)
{
	struct memory_host *h = fake_host(
	    &(struct disk_create){ .type = DISK_DYNAMIC, .size = MIB / 2 + 4096, .block_size = 1 << 20 });
	struct disk_file *f = memory_open(h, 0, false);
	uint8_t page[VHDX_PAGE];
	struct disk *d;
	struct err e;

	(void)state;
	fake_fill(h, 1, 0x77);
	memset(page, 0x55, sizeof(page));
	fake_put(h, 4 * MIB + MIB / 2 + 8192, page, sizeof(page)); /* behind the disk's end, in its block */
	assert_int_equal(to_96(f, &e), 0);
	file_free(f);
	assert_int_equal(fake_open(h, true, &d, &e), 0);
	assert_int_equal(fake_io(h, d, DISK_READ, MIB / 2, page, sizeof(page)), 0);
	assert_int_equal(page[0], 0x77);
	assert_int_equal(fake_io(h, d, DISK_READ, MIB / 2 + 8192, page, sizeof(page)), 0);
	assert_int_equal(page[0], 0);
	disk_free(d);
	memory_host_free(h);
}

static void
a_compact_gives_back_zeros_and_gaps(void **state)
{
	struct memory_host *h = fake_host(&small);
	uint8_t page[VHDX_PAGE] = { 0 };
	struct disk_info before, after;
	struct disk *d;
	struct err e;

	(void)state;
	fake_fill(h, 24, 0x30);
	assert_int_equal(fake_open(h, false, &d, &e), 0);
	for (unsigned i = 0; i < 12; i++)
		if (i % 2)
			assert_int_equal(fake_io(h, d, DISK_DISCARD, i * MIB, NULL, MIB), 0);
		else if (i % 4)
			assert_int_equal(fake_io(h, d, DISK_WRITE, i * MIB + MIB / 2, page, sizeof(page)), 0);
	assert_int_equal(disk_close(d, NULL), 0);
	disk_free(d);
	assert_int_equal(fake_info(h, &before, &e), 0);
	cut_change(h, compact, 64 * MIB, 64 * MIB);
	assert_int_equal(fake_info(h, &after, &e), 0);
	assert_int_equal(after.file_size, 4 * MIB + 15 * MIB); /* 24 blocks, 6 trimmed, 3 of zeros */
	assert_memory_equal(before.data_id, after.data_id, GUID_BYTES);
	memory_host_free(h);
}

static void
identities_change(void **state)
{
	struct memory_host *h = fake_host(&small);
	struct disk_info a, b, c;
	struct err e;

	(void)state;
	fake_fill(h, 3, 9);
	assert_int_equal(fake_info(h, &a, &e), 0);
	cut_change(h, set, 64 * MIB, 64 * MIB);
	assert_int_equal(fake_info(h, &b, &e), 0);
	assert_memory_equal(b.id, "0123456789abcdef", GUID_BYTES);
	assert_int_equal(b.physical, 512);
	assert_memory_not_equal(a.data_id, b.data_id, GUID_BYTES);
	cut_change(h, set_data_id, 64 * MIB, 64 * MIB);
	assert_int_equal(fake_info(h, &c, &e), 0);
	assert_memory_equal(c.data_id, "0123456789abcdef", GUID_BYTES);
	memory_host_free(h);
}

static void
a_repair_is_safe(void **state)
{
	struct memory_host *h = fake_host(&small);

	(void)state;
	fake_fill(h, 3, 9);
	fake_put(h, REGIONS1 + 20, "x", 1);
	cut_change(h, repair, 64 * MIB, 64 * MIB);
	memory_host_free(h);
}

static void
a_child_says_who_its_parent_is(void **state)
{
	struct memory_host *h = fake_host(&small);
	struct disk_create how = { .type = DISK_DIFFERENCING,
		.parent_relative = "dir/p\xc3\xa4.vhdx",
		.parent_absolute = "C:/disks/p.vhdx" };
	struct disk_info parent, child;
	struct disk_file *f;
	struct err e;

	(void)state;
	assert_int_equal(fake_info(h, &parent, &e), 0);
	memory_host_free(h);
	how.parent = &parent;
	h = fake_host(&how);
	assert_int_equal(fake_info(h, &child, &e), 0);
	assert_int_equal(child.type, DISK_DIFFERENCING);
	assert_int_equal(child.size, parent.size);
	assert_int_equal(child.block_size, 2 << 20);
	assert_memory_equal(child.id, parent.id, GUID_BYTES);
	assert_memory_equal(child.parent_id, parent.data_id, GUID_BYTES);
	assert_int_equal(disk_parent_fits(&child, &parent, &e), 0);
	assert_int_equal(child.parent_paths, 2);
	assert_string_equal(child.parent_path[0].path, ".\\dir\\p\xc3\xa4.vhdx");
	assert_string_equal(child.parent_path[1].path, "\\\\?\\C:\\disks\\p.vhdx");
	f = memory_open(h, 0, false);
	assert_int_equal(disk_vhdx_format.set_parent_id2(f, (const uint8_t *)"0123456789abcdef", &e), 0);
	assert_int_equal(fake_info(h, &child, &e), 0);
	assert_memory_equal(child.parent_id, parent.data_id, GUID_BYTES);
	assert_memory_equal(child.parent_id2, "0123456789abcdef", GUID_BYTES);
	memcpy(parent.data_id, "fedcba9876543210", GUID_BYTES);
	assert_int_equal(disk_vhdx_format.relink(f, &parent, "../q.vhdx", NULL, &e), 0);
	assert_int_equal(fake_info(h, &child, &e), 0);
	assert_memory_equal(child.parent_id, "fedcba9876543210", GUID_BYTES);
	assert_memory_equal(child.parent_id2, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", GUID_BYTES);
	assert_int_equal(child.parent_paths, 2);
	assert_string_equal(child.parent_path[0].path, "..\\q.vhdx");
	file_free(f);
	memory_host_free(h);
}

/* --- Files that others made --- */

struct sample {
	const char *name, *unpack;
	uint64_t size;
	uint32_t block;
	bool dirty;
	unsigned full, zero, unmapped; /* blocks */
};

static const struct sample samples[] = {
	{ "vhdx-log-replay.vhdx.gz", "zcat", 1024 * MIB, 32 << 20, true, 1, 3, 0 },
	{ "xfs.vhdx.gz", "zcat", 10240 * MIB, 32 << 20, false, 20, 58, 0 },
	{ "swap.vhdx.gz", "zcat", 10240 * MIB, 32 << 20, false, 1, 0, 0 },
	{ "iotest-dynamic-1G.vhdx.bz2", "bzcat", 1024 * MIB, 32 << 20, false, 3, 29, 0 },
	{ "test-disk2vhd.vhdx.bz2", "bzcat", 256 * MIB, 2 << 20, false, 128, 0, 0 },
	{ "iotest-dirtylog-10G-4M.vhdx.bz2", "bzcat", 10240 * MIB, 1 << 20, true, 18, 0, 0 },
};

static struct memory_host *
unpack(const struct sample *s)
{
	const char *dir = getenv("FREEHOLD_SAMPLES") ? getenv("FREEHOLD_SAMPLES") : "../shared/samples";
	char path[512], command[1200], to[] = "/tmp/vhdx_test.XXXXXX";
	struct memory_host *h = memory_host_new();
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, s->name);
	if (access(path, R_OK) < 0) {
		memory_host_free(h);
		return NULL;
	}
	fd = mkstemp(to);
	assert_true(fd >= 0);
	close(fd);
	snprintf(command, sizeof(command), "%s '%s' > %s", s->unpack, path, to);
	assert_int_equal(system(command), 0); /* NOLINT */
	assert_int_equal(memory_load(h, 0, to), 0);
	unlink(to);
	return h;
}

static void
count_states(struct memory_host *h, unsigned count[8])
{
	struct disk_file *f = memory_open(h, 0, true);
	struct vhdx v = { .file = f, .read_only = true, .blocking = true };
	uint64_t *e;

	assert_int_equal(vhdx_load(&v), 0);
	for (uint64_t b = 0; b < v.blocks; b++) {
		assert_int_equal(vhdx_entry(&v, vhdx_block_index(&v, b), &e), 0);
		count[*e & ENTRY_STATE]++;
	}
	vhdx_drop(&v);
	file_free(f);
}

/* Read only, a replay is in memory: the file stays as it is. Then for good. */
static void
look_at_sample(const struct sample *s, struct memory_host *h)
{
	unsigned count[8] = { 0 }, again[8] = { 0 }, writes = h->count[MEMORY_WRITE];
	struct disk_check c = { .repair = true };
	struct disk_info info;
	struct err e;
	uint64_t sum;

	assert_int_equal(fake_info(h, &info, &e), 0);
	assert_int_equal(info.size, s->size);
	assert_int_equal(info.block_size, s->block);
	assert_int_equal(info.dirty, s->dirty);
	count_states(h, count);
	assert_int_equal(count[BLOCK_FULL], s->full);
	assert_int_equal(count[BLOCK_UNMAPPED], s->unmapped);
	if (s->zero)
		assert_int_equal(count[BLOCK_ZERO], s->zero);
	sum = fake_sum(h, 256, MIB);
	assert_int_equal(h->count[MEMORY_WRITE], writes);
	assert_int_equal(fake_check(h, &c), 0);
	assert_int_equal(c.faults[DISK_DAMAGE], 0);
	assert_int_equal(fake_info(h, &info, &e), 0);
	assert_false(info.dirty);
	count_states(h, again);
	assert_memory_equal(count, again, sizeof(count));
	assert_int_equal(fake_sum(h, 256, MIB), sum);
	assert_int_equal(faults(h), 0);
}

static void
real_files_are_understood(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		struct memory_host *h = unpack(&samples[i]);

		if (!h) {
			print_message("SKIP %s: no samples (FREEHOLD_SAMPLES)\n", samples[i].name);
			continue;
		}
		look_at_sample(&samples[i], h);
		memory_host_free(h);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksums_are_crc_32c),
		cmocka_unit_test(tables_have_the_entries_that_2_5_1_asks_for),
		cmocka_unit_test(new_files_are_what_was_asked_for),
		cmocka_unit_test(a_table_without_holes_is_asked_for_them_once),
		cmocka_unit_test(what_cannot_be_is_not_made),
		cmocka_unit_test(damage_is_found),
		cmocka_unit_test(bytes_of_chance_do_no_harm),
		cmocka_unit_test(sizes_change_whole_or_not_at_all),
		cmocka_unit_test(data_is_never_cut_off),
		cmocka_unit_test(what_becomes_visible_is_zero),
		cmocka_unit_test(a_compact_gives_back_zeros_and_gaps),
		cmocka_unit_test(identities_change),
		cmocka_unit_test(a_repair_is_safe),
		cmocka_unit_test(a_child_says_who_its_parent_is),
		cmocka_unit_test(real_files_are_understood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
