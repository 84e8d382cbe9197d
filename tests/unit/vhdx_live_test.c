/*
 * tests/unit/vhdx_live_test.c - a VHDX while its disk works: what is read, what a flush costs, what is left
 * of it after a power cut at any moment.
 */
#include "hypervisor/disk/format.h"
#include "hypervisor/disk/image.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/disk/vhdx.h"
#include "tests/disk/memory_file.h"

#define MIB    UINT64_C(0x100000)
#define SPREAD (512 * MIB) /* blocks so far apart have no page of a table in common */
#define VALUE  UINT64_C(0x5a00000000000000)

enum { UNIT = 4096, SECTOR = 512, UNITS = 48, ALLOWED = 24 };

/* --- A disk on a host in memory --- */

struct rig {
	struct memory_host *host;
	struct disk *disk;
};

static struct disk *
open_disk(struct memory_host *h, bool child, bool read_only)
{
	struct disk_open how = { .file = memory_open(h, 0, read_only), .read_only = read_only };
	struct err e = { 0 };
	struct disk *d;

	if (child) {
		struct disk_open parent = { .file = memory_open(h, 1, true), .read_only = true };

		assert_int_equal(disk_vhdx_format.open(&how.parent, &parent, &e), 0);
	}
	if (disk_vhdx_format.open(&d, &how, &e) < 0)
		fail_msg("%s", e.msg);
	return d;
}

static void
create(struct memory_host *h, unsigned number, const struct disk_create *how)
{
	struct disk_file *f = memory_open(h, number, false);
	struct err e = { 0 };

	if (disk_vhdx_format.create(f, how, NULL, &e) < 0)
		fail_msg("%s", e.msg);
	file_free(f);
}

struct request {
	struct disk_io io;
	struct iovec iov;
	int rc;
	bool done, is_flush;
	unsigned unit;
};

static void
request_done(struct disk_io *io, int rc)
{
	struct request *r = (struct request *)io;

	r->rc = rc;
	r->done = true;
}

static void
submit(struct disk *d, struct request *r, enum disk_op op, uint64_t offset, void *buf, uint64_t len)
{
	*r = (struct request){ .io = { .op = op, .offset = offset, .len = len, .done = request_done } };
	r->iov = (struct iovec){ buf, buf ? len : 0 };
	r->io.iov = &r->iov;
	r->io.iovs = buf ? 1 : 0;
	r->io.unmap = true;
	disk_submit(d, &r->io);
}

static int
run(struct rig *g, enum disk_op op, uint64_t offset, void *buf, uint64_t len)
{
	struct request r;

	submit(g->disk, &r, op, offset, buf, len);
	memory_run(g->host);
	assert_true(r.done);
	return r.rc;
}

static void
put(struct rig *g, uint64_t offset, uint64_t len, int byte)
{
	void *p = malloc(len);

	memset(p, byte, len);
	assert_int_equal(run(g, DISK_WRITE, offset, p, len), 0);
	free(p);
}

/* The byte that fills a range; -1: they differ. */
static int
filled(struct rig *g, uint64_t offset, uint64_t len)
{
	uint8_t *p = malloc(len);
	int byte;

	memset(p, 0xee, len);
	assert_int_equal(run(g, DISK_READ, offset, p, len), 0);
	byte = p[0];
	for (uint64_t i = 0; i < len; i++)
		if (p[i] != byte)
			byte = -1;
	free(p);
	return byte;
}

static struct rig
new_rig(const struct disk_create *how)
{
	struct rig g = { memory_host_new(), NULL };

	create(g.host, 0, how);
	g.disk = open_disk(g.host, false, false);
	return g;
}

/* A child, and a parent that has 0x11 in its first 4 MiB, and in half a MiB at each multiple of SPREAD. */
static struct rig
child_rig_of(uint64_t size, uint64_t parent_size, uint32_t block_size)
{
	struct rig g = new_rig(
	    &(struct disk_create){ .type = DISK_DYNAMIC, .size = parent_size, .block_size = MIB });
	struct disk_create how = {
		.type = DISK_DIFFERENCING, .size = size, .block_size = block_size, .parent_relative = "p"
	};
	struct memory_host *h = memory_host_new();
	struct disk_info info;
	struct rig parent = { h, NULL };
	struct disk_file *f;

	disk_free(g.disk);
	memory_host_free(g.host);
	create(h, 1, &(struct disk_create){ .type = DISK_DYNAMIC, .size = parent_size, .block_size = MIB });
	f = memory_open(h, 1, false);
	assert_int_equal(disk_vhdx_format.open(&parent.disk, &(struct disk_open){ .file = f }, NULL), 0);
	put(&parent, 0, 4 * MIB, 0x11);
	for (uint64_t at = SPREAD; at < parent_size; at += SPREAD)
		put(&parent, at, MIB / 2, 0x11);
	assert_int_equal(disk_close(parent.disk, NULL), 0);
	disk_free(parent.disk);
	f = memory_open(h, 1, true);
	assert_int_equal(disk_vhdx_format.info(f, &info, NULL), 0);
	file_free(f);
	how.parent = &info;
	create(h, 0, &how);
	return (struct rig){ h, open_disk(h, true, false) };
}

static struct rig
child_rig(uint64_t size, uint64_t parent_size)
{
	return child_rig_of(size, parent_size, MIB);
}

static void
end_rig(struct rig *g)
{
	disk_free(g->disk);
	memory_host_free(g->host);
}

static void
close_rig(struct rig *g, bool child)
{
	struct err e = { 0 };

	if (disk_close(g->disk, &e) < 0)
		fail_msg("%s", e.msg);
	disk_free(g->disk);
	g->disk = open_disk(g->host, child, false);
}

static void
say(void *ctx, enum disk_fault_kind kind, const char *text)
{
	(void)ctx;
	if (kind != DISK_NOTE)
		print_message("check: %s\n", text);
}

static unsigned
faults(struct memory_host *h)
{
	struct disk_file *f = memory_open(h, 0, true);
	struct disk_check c = { .found = say };
	struct err e = { 0 };

	if (disk_vhdx_format.check(f, &c, NULL, &e) < 0)
		fail_msg("%s", e.msg);
	file_free(f);
	return c.faults[DISK_DAMAGE] + c.faults[DISK_REPAIRABLE];
}

/* --- What it does --- */

static const struct disk_create small = { .type = DISK_DYNAMIC, .size = 64 * MIB, .block_size = MIB };

static void
what_is_written_is_read_again(void **state)
{
	struct rig g = new_rig(&small);

	(void)state;
	put(&g, 3 * MIB - UNIT, 2 * UNIT, 0x42); /* over a border of blocks */
	assert_int_equal(filled(&g, 3 * MIB - UNIT, 2 * UNIT), 0x42);
	assert_int_equal(filled(&g, 0, 3 * MIB - UNIT), 0);
	assert_int_equal(filled(&g, 3 * MIB + UNIT, 61 * MIB - UNIT), 0);
	close_rig(&g, false);
	assert_int_equal(filled(&g, 3 * MIB - UNIT, 2 * UNIT), 0x42);
	assert_int_equal(faults(g.host), 0);
	end_rig(&g);
}

static void
a_flush_costs_one_flush_and_one_write(void **state)
{
	struct rig g = new_rig(&small);

	(void)state;
	put(&g, 0, UNIT, 1); /* the beginning */
	for (unsigned i = 1; i < 50; i++) {
		unsigned flushes = g.host->count[MEMORY_FLUSH], writes = g.host->count[MEMORY_WRITE];

		put(&g, i * MIB, UNIT, 1); /* each allocates */
		assert_int_equal(g.host->count[MEMORY_FLUSH], flushes);
		assert_in_range(g.host->count[MEMORY_WRITE] - writes, 1, 2); /* now and then the file grows */
		writes = g.host->count[MEMORY_WRITE];
		assert_int_equal(run(&g, DISK_FLUSH, 0, NULL, 0), 0);
		assert_int_equal(g.host->count[MEMORY_FLUSH], flushes + 1);
		assert_in_range(g.host->count[MEMORY_WRITE] - writes, 2, 3); /* entry (it may wrap), home */
	}
	end_rig(&g);
}

static void
opening_writes_nothing(void **state)
{
	struct rig g = new_rig(&small);
	unsigned writes = g.host->count[MEMORY_WRITE], flushes = g.host->count[MEMORY_FLUSH];

	(void)state;
	filled(&g, 0, MIB);
	assert_int_equal(run(&g, DISK_DISCARD, 0, NULL, MIB), 0);
	close_rig(&g, false);
	assert_int_equal(g.host->count[MEMORY_WRITE], writes);
	/* What somebody else may have left in the host's memory is flushed. */
	assert_in_range(g.host->count[MEMORY_FLUSH], flushes, flushes + 1);
	end_rig(&g);
}

static void
zeros_without_a_block_need_no_read(void **state)
{
	struct rig g = new_rig(&small);
	unsigned reads = g.host->count[MEMORY_READ];

	(void)state;
	assert_int_equal(filled(&g, 0, 64 * MIB), 0);
	assert_int_equal(g.host->count[MEMORY_READ], reads);
	end_rig(&g);
}

static void
trimmed_blocks_read_zero_and_keep_their_place(void **state)
{
	struct rig g = new_rig(&small);
	struct disk_file *f;
	uint64_t before, after;

	(void)state;
	put(&g, 0, 4 * MIB, 0x33);
	close_rig(&g, false);
	f = memory_open(g.host, 0, true);
	assert_int_equal(file_size(f, &before, NULL), 0);
	assert_int_equal(run(&g, DISK_DISCARD, MIB, NULL, 2 * MIB), 0);
	assert_int_equal(filled(&g, MIB, 2 * MIB), 0);
	close_rig(&g, false);
	assert_int_equal(filled(&g, MIB, 2 * MIB), 0);
	put(&g, MIB + UNIT, UNIT,
	    0x44); /* into the old place, which is emptied again: nobody knows what is there */
	assert_int_equal(filled(&g, MIB, UNIT), 0);
	assert_int_equal(filled(&g, MIB + UNIT, UNIT), 0x44);
	assert_int_equal(filled(&g, MIB + 2 * UNIT, MIB), 0);
	close_rig(&g, false);
	assert_int_equal(file_size(f, &after, NULL), 0);
	assert_int_equal(before, after);
	assert_int_equal(filled(&g, 0, MIB), 0x33);
	assert_int_equal(filled(&g, MIB + UNIT, UNIT), 0x44);
	assert_int_equal(faults(g.host), 0);
	file_free(f);
	end_rig(&g);
}

static void
a_child_shows_its_parent_but_for_what_it_has(void **state)
{
	struct rig g = child_rig(64 * MIB, 64 * MIB);

	(void)state;
	assert_int_equal(filled(&g, 0, 4 * MIB), 0x11);
	put(&g, SECTOR, SECTOR, 0x22);
	assert_int_equal(filled(&g, 0, SECTOR), 0x11);
	assert_int_equal(filled(&g, SECTOR, SECTOR), 0x22);
	assert_int_equal(filled(&g, 2 * SECTOR, MIB), 0x11);
	assert_int_equal(run(&g, DISK_ZERO, MIB, NULL, MIB), 0); /* zeros, never the parent again */
	assert_int_equal(filled(&g, MIB, MIB), 0);
	assert_int_equal(run(&g, DISK_ZERO, 2 * MIB, NULL, UNIT), 0);
	close_rig(&g, true);
	assert_int_equal(filled(&g, SECTOR, SECTOR), 0x22);
	assert_int_equal(filled(&g, 2 * SECTOR, MIB - 2 * SECTOR), 0x11);
	assert_int_equal(filled(&g, MIB, MIB + UNIT), 0);
	assert_int_equal(filled(&g, 2 * MIB + UNIT, UNIT), 0x11);
	assert_int_equal(run(&g, DISK_DISCARD, 0, NULL, MIB), 0); /* it was partly here */
	assert_int_equal(filled(&g, 0, MIB), 0);
	close_rig(&g, true);
	assert_int_equal(filled(&g, 0, MIB), 0);
	assert_int_equal(faults(g.host), 0);
	end_rig(&g);
}

static void
a_child_flush_costs_two(void **state)
{
	struct rig g = child_rig(64 * MIB, 64 * MIB);
	unsigned flushes;

	(void)state;
	put(&g, 0, UNIT, 1);
	assert_int_equal(run(&g, DISK_FLUSH, 0, NULL, 0), 0);
	for (unsigned i = 1; i < 60; i++) {
		put(&g, i * MIB, UNIT, 1);
		flushes = g.host->count[MEMORY_FLUSH];
		assert_int_equal(run(&g, DISK_FLUSH, 0, NULL, 0), 0);
		assert_int_equal(g.host->count[MEMORY_FLUSH], flushes + 2);
	}
	flushes = g.host->count[MEMORY_FLUSH];
	put(&g, 0, UNIT, 2); /* it has that already: no table changes */
	assert_int_equal(run(&g, DISK_FLUSH, 0, NULL, 0), 0);
	assert_int_equal(g.host->count[MEMORY_FLUSH], flushes + 1);
	end_rig(&g);
}

static void
sizes_of_child_and_parent_may_differ(void **state)
{
	struct rig g = child_rig(3 * MIB, 64 * MIB);

	(void)state;
	assert_int_equal(filled(&g, 0, 3 * MIB), 0x11);
	end_rig(&g);
	g = child_rig(64 * MIB, 4 * MIB);
	assert_int_equal(filled(&g, 0, 4 * MIB), 0x11);
	assert_int_equal(filled(&g, 4 * MIB, 60 * MIB), 0);
	put(&g, 4 * MIB - SECTOR, 2 * SECTOR, 0x77);
	assert_int_equal(filled(&g, 4 * MIB - SECTOR, 2 * SECTOR), 0x77);
	assert_int_equal(filled(&g, 4 * MIB + SECTOR, MIB), 0);
	end_rig(&g);
}

static void
many_blocks_at_once_need_many_commits(void **state)
{
	struct rig g = new_rig(
	    &(struct disk_create){ .type = DISK_DYNAMIC, .size = 512 * 200 * MIB, .block_size = MIB });
	struct request *r = calloc(200, sizeof(*r));
	uint8_t page[UNIT];

	(void)state;
	memset(page, 0x66, sizeof(page));
	for (uint64_t i = 0; i < 200; i++) /* each in a page of the table of its own */
		submit(g.disk, &r[i], DISK_WRITE, i * 512 * MIB, page, sizeof(page));
	memory_run(g.host);
	for (unsigned i = 0; i < 200; i++)
		assert_true(r[i].done && r[i].rc == 0);
	close_rig(&g, false);
	for (uint64_t i = 0; i < 200; i++)
		assert_int_equal(filled(&g, i * 512 * MIB, UNIT), 0x66);
	assert_int_equal(faults(g.host), 0);
	free(r);
	end_rig(&g);
}

/* Its tables would be 512 MiB, and 16 GiB of bitmaps: only what is touched is read. */
static void
the_largest_disk_takes_little_memory(void **state)
{
	static const uint64_t places[] = { 0, 1000 * MIB, 40 * 1024 * 1024 * MIB,
		64 * 1024 * 1024 * MIB - UNIT };
	const uint64_t size = 64 * 1024 * 1024 * MIB;

	(void)state;
	for (unsigned child = 0; child < 2; child++) {
		struct rig g = child ? child_rig(size, 64 * MIB)
				     : new_rig(&(struct disk_create){
					   .type = DISK_DYNAMIC, .size = size, .block_size = MIB });
		uint64_t reads;

		for (unsigned i = 0; i < 4; i++)
			put(&g, places[i], UNIT, (int)i + 1);
		close_rig(&g, child);
		reads = g.host->bytes_read;
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(filled(&g, places[i], UNIT), (int)i + 1);
		assert_int_equal(run(&g, DISK_DISCARD, 0, NULL, 2048 * MIB), 0);
		assert_true(g.host->bytes_read - reads < 32 * UNIT);
		assert_int_equal(run(&g, DISK_FLUSH, 0, NULL, 0), 0);
		assert_int_equal(filled(&g, places[2], UNIT), 3);
		end_rig(&g);
	}
}

/* Of a table that is read page by page only the damaged page's blocks are lost, and nothing is written to
 * them. */
/* --- More bitmaps than are in memory --- */

enum { PLACES = VHDX_BITS_MAX + 1000, STEPS = 3 * PLACES, AT_ONCE = 32 };
#define APART ((uint64_t)VHDX_PAGE_BITS * SECTOR) /* what a page of bitmap speaks of */

/* In each page's part of the disk four units, not always in the same block; which byte each holds, 0: none.
 */
struct wide {
	struct rig g;
	uint8_t byte[PLACES][4];
	uint64_t seed;
};

static uint64_t
wide_random(struct wide *w, uint64_t n)
{
	return memory_mix(w->seed++, 7) % n;
}

static uint64_t
wide_at(unsigned place, unsigned unit)
{
	return place * APART + place % 5 * 2 * MIB + unit * UNIT;
}

static void
check_wide(struct wide *w)
{
	const struct vhdx *v = (const struct vhdx *)w->g.disk;

	for (unsigned i = 1; i < PLACES; i++) /* the parent has something in the first */
		for (unsigned k = 0; k < 4; k++)
			assert_int_equal(filled(&w->g, wide_at(i, k), UNIT), w->byte[i][k]);
	assert_int_equal(filled(&w->g, wide_at(11, 0) + MIB, MIB), 0);
	assert_int_equal(v->kept_n, VHDX_BITS_MAX);
}

/* Several in flight, all of different places. */
static void
requests_at_once(struct wide *w)
{
	static struct request r[AT_ONCE];
	static uint8_t buf[AT_ONCE][UNIT];
	unsigned first = (unsigned)wide_random(w, PLACES), unit = (unsigned)wide_random(w, 4);
	bool write = wide_random(w, 3) == 0;

	for (unsigned n = 0; n < AT_ONCE; n++) {
		unsigned place = 1 + (first + n * 89) % (PLACES - 1);

		if (write)
			w->byte[place][unit] = (uint8_t)(1 + wide_random(w, 255));
		memset(buf[n], w->byte[place][unit], UNIT);
		submit(w->g.disk, &r[n], write ? DISK_WRITE : DISK_READ, wide_at(place, unit), buf[n], UNIT);
		r[n].unit = w->byte[place][unit];
	}
	memory_run(w->g.host);
	for (unsigned n = 0; n < AT_ONCE; n++) {
		assert_true(r[n].done);
		assert_int_equal(r[n].rc, 0);
		assert_int_equal(buf[n][0], r[n].unit);
		assert_memory_equal(buf[n], buf[n] + 1, UNIT - 1);
	}
}

static void
use_wide(struct wide *w)
{
	for (unsigned i = 1; i < PLACES; i++) {
		w->byte[i][0] = (uint8_t)(1 + i % 255);
		put(&w->g, wide_at(i, 0), UNIT, w->byte[i][0]);
	}
	for (unsigned i = 0; i < STEPS / AT_ONCE; i++) {
		requests_at_once(w);
		if (wide_random(w, 8) == 0)
			assert_int_equal(run(&w->g, DISK_FLUSH, 0, NULL, 0), 0);
	}
}

/* What is begun now waits while all bitmaps' pages take turns: each read ends what was begun last, its own.
 */
static void
turn_over(struct wide *w)
{
	static struct request r;
	static uint8_t buf[UNIT];

	for (unsigned i = 10; i < PLACES; i++) {
		submit(w->g.disk, &r, DISK_READ, wide_at(i, 0), buf, UNIT);
		while (!r.done)
			memory_end(w->g.host, w->g.host->in_flight - 1);
		assert_int_equal(r.rc, 0);
		assert_int_equal(buf[0], w->byte[i][0]);
	}
}

/* A commit, and a page that is being read, while others come: after each of their steps. */
static void
what_is_under_way_stays(struct wide *w)
{
	static struct request flush, read, again;
	static uint8_t buf[2][UNIT];

	for (unsigned steps = 0; steps < 8; steps++) {
		unsigned fresh = 8 + steps; /* of which no bit is set */

		put(&w->g, wide_at(9, fresh), UNIT, 0x99);
		submit(w->g.disk, &flush, DISK_FLUSH, 0, NULL, 0);
		for (unsigned i = 0; i < steps && !flush.done; i++)
			memory_end(w->g.host, 0);
		turn_over(w);
		submit(w->g.disk, &read, DISK_READ, wide_at(9, fresh), buf[0], UNIT);
		while (!read.done)
			memory_end(w->g.host, w->g.host->in_flight - 1);
		assert_int_equal(buf[0][0], 0x99);
		submit(w->g.disk, &again, DISK_READ, wide_at(4, 0), buf[1], UNIT);
		turn_over(w);
		memory_run(w->g.host);
		assert_true(flush.done && again.done);
		assert_int_equal(flush.rc, 0);
		assert_int_equal(buf[1][0], w->byte[4][0]);
	}
}

static void
bitmaps_take_turns_in_memory(void **state)
{
	static const uint32_t blocks[] = { MIB, 64 * MIB };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct wide *w = calloc(1, sizeof(*w));
		struct memory_host *cut;

		w->g = child_rig_of(PLACES * APART, 4 * MIB, blocks[i]);
		w->g.host->seed = 3;
		use_wide(w);
		check_wide(w);
		what_is_under_way_stays(w);
		assert_int_equal(run(&w->g, DISK_FLUSH, 0, NULL, 0), 0);
		cut = memory_cut(w->g.host, 0);
		end_rig(&w->g);
		w->g = (struct rig){ cut, open_disk(cut, true, false) };
		check_wide(w);
		put(&w->g, 5 * APART, 64 * MIB, 0x44); /* all of a block: its bits are not needed any more */
		for (unsigned k = 0; k < 4 * 4; k++)
			w->byte[5 + k / 4][k % 4] = 0x44;
		close_rig(&w->g, true);
		check_wide(w);
		assert_int_equal(faults(cut), 0);
		end_rig(&w->g);
		free(w);
	}
}

static void
damage_in_a_large_table_hurts_its_blocks_only(void **state)
{
	const uint64_t size = 4 * 1024 * 1024 * MIB;
	struct rig g = new_rig(
	    &(struct disk_create){ .type = DISK_DYNAMIC, .size = size, .block_size = MIB });
	struct disk_file *f = memory_open(g.host, 0, false);
	uint64_t entry = 0x600005; /* no such state */
	uint8_t page[UNIT] = { 0 };

	(void)state;
	put(&g, 0, UNIT, 1);
	close_rig(&g, false);
	assert_int_equal(file_put(f, &entry, sizeof(entry), 3 * MIB + 2 * UNIT, NULL), 0);
	assert_int_equal(filled(&g, 0, UNIT), 1);
	assert_int_equal(run(&g, DISK_READ, 1030 * MIB, page, UNIT), -EIO);
	assert_int_equal(run(&g, DISK_WRITE, 1030 * MIB, page, UNIT), -EIO);
	put(&g, 600 * MIB, UNIT, 2);
	assert_int_equal(filled(&g, 600 * MIB, UNIT), 2);
	file_free(f);
	end_rig(&g);
}

/* --- When the host has no room, or fails --- */

struct failing {
	enum memory_kind kind;
	uint64_t from, to; /* offsets */
	int rc;
	unsigned left;
};

static int
fail_some(void *ctx, const struct memory_op *op)
{
	struct failing *f = ctx;

	if (op->file != 0 || op->kind != f->kind || op->off < f->from || op->off >= f->to || !f->left)
		return 0;
	f->left--;
	return f->rc;
}

static void
a_full_host_is_tried_again(void **state)
{
	/* log, the table's home, the end of the file */
	static const struct failing rows[] = { { MEMORY_WRITE, MIB, 2 * MIB, -ENOSPC, 2 },
		{ MEMORY_WRITE, 3 * MIB, 4 * MIB, -ENOSPC, 2 } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig g = new_rig(&small);
		struct failing f = rows[i];
		int rc = -1;

		put(&g, 0, UNIT, 1);
		assert_int_equal(run(&g, DISK_FLUSH, 0, NULL, 0), 0);
		g.host->fault = fail_some;
		g.host->ctx = &f;
		for (unsigned n = 1; n < 8; n++) {
			put(&g, n * MIB, UNIT, (int)n);
			rc = run(&g, DISK_FLUSH, 0, NULL, 0);
			assert_true(rc == 0 || rc == -ENOSPC);
		}
		assert_int_equal(f.left, 0);
		assert_int_equal(rc, 0);
		close_rig(&g, false);
		for (unsigned n = 1; n < 8; n++)
			assert_int_equal(filled(&g, n * MIB, UNIT), (int)n);
		assert_int_equal(faults(g.host), 0);
		end_rig(&g);
	}
}

static void
after_an_error_of_the_log_nothing_is_written(void **state)
{
	struct rig g = new_rig(&small);
	struct failing f = { MEMORY_WRITE, MIB, 2 * MIB, -EIO, 1 };
	uint8_t page[UNIT] = { 0 };

	(void)state;
	put(&g, 0, UNIT, 1);
	assert_int_equal(run(&g, DISK_FLUSH, 0, NULL, 0), 0);
	put(&g, MIB, UNIT, 2);
	g.host->fault = fail_some;
	g.host->ctx = &f;
	assert_int_equal(run(&g, DISK_FLUSH, 0, NULL, 0), -EIO);
	assert_int_equal(run(&g, DISK_WRITE, 0, page, sizeof(page)), -EIO);
	assert_int_equal(run(&g, DISK_FLUSH, 0, NULL, 0), -EIO);
	assert_int_equal(filled(&g, 0, UNIT), 1); /* reads go on */
	assert_true(disk_close(g.disk, NULL) < 0);
	disk_free(g.disk);
	g.disk = open_disk(g.host, false, false); /* what was flushed is there */
	assert_int_equal(filled(&g, 0, UNIT), 1);
	end_rig(&g);
}

/* --- Power cuts --- */

/* What each unit may hold: values that were written and not followed by a flush; the first is the oldest. */
struct model {
	struct rig rig;
	bool child;
	uint64_t allowed[UNITS][ALLOWED];
	unsigned count[UNITS];
	uint64_t next, seed, step;
	unsigned cuts;
	uint64_t every;
	bool checking;
};

/* Four units in each of some blocks, some next to each other. */
static uint64_t
unit_at(unsigned unit)
{
	return unit / 4 * SPREAD + unit % 4 * UNIT + unit % 3 * 64 * 1024;
}

static uint64_t
parent_value(const struct model *m, unsigned unit)
{
	(void)unit;
	return m->child ? UINT64_C(0x1111111111111111) : 0;
}

static bool
may_hold(const struct model *m, unsigned unit, uint64_t value)
{
	for (unsigned i = 0; i < m->count[unit]; i++)
		if (m->allowed[unit][i] == value)
			return true;
	return false;
}

static void
allow(struct model *m, unsigned unit, uint64_t value)
{
	if (may_hold(m, unit, value))
		return;
	assert_true(m->count[unit] < ALLOWED);
	m->allowed[unit][m->count[unit]++] = value;
}

/* Each sector is one of those. */
static void
verify_unit(struct model *m, struct rig *g, unsigned unit)
{
	uint64_t words[UNIT / 8];

	assert_int_equal(run(g, DISK_READ, unit_at(unit), words, UNIT), 0);
	for (unsigned s = 0; s < UNIT / 8; s += SECTOR / 8) {
		for (unsigned i = s + 1; i < s + SECTOR / 8; i++)
			assert_int_equal(words[i], words[s]);
		if (!may_hold(m, unit, words[s]))
			fail_msg("seed %llu, cut %u: unit %u has %llx", (unsigned long long)m->seed, m->cuts,
			    unit, (unsigned long long)words[s]);
	}
}

static void
verify_cut(struct model *m, uint64_t seed)
{
	struct rig g = { memory_cut(m->rig.host, seed), NULL };

	g.host->fault = NULL;
	g.disk = open_disk(g.host, m->child, false);
	for (unsigned u = 0; u < UNITS; u++)
		verify_unit(m, &g, u);
	put(&g, 60 * MIB, UNIT, 0x99); /* it works on */
	assert_int_equal(disk_close(g.disk, NULL), 0);
	assert_int_equal(faults(g.host), 0);
	end_rig(&g);
	m->cuts++;
}

static int
maybe_cut(void *ctx, const struct memory_op *op)
{
	struct model *m = ctx;

	(void)op;
	if (m->checking || memory_mix(m->seed, ++m->step) % m->every)
		return 0;
	m->checking = true;
	verify_cut(m, memory_mix(m->step, 7) % 4 == 0 ? 0 : memory_mix(m->step, 9));
	m->checking = false;
	return 0;
}

/* A few requests at a time, of different units; then what the disk shows is what it may hold. */
static void
some_requests(struct model *m, bool trims)
{
	static uint64_t words[8][UNIT / 8];
	struct request r[8];
	unsigned n = (unsigned)(memory_mix(m->seed, ++m->step) % 8 + 1);
	unsigned first = (unsigned)(memory_mix(m->seed, ++m->step) % UNITS);

	for (unsigned i = 0; i < n; i++) {
		unsigned unit = (first + i * 5) % UNITS;
		uint64_t kind = memory_mix(m->seed, ++m->step) % 8;
		enum disk_op op = kind < 6 || !trims ? DISK_WRITE : kind == 6 ? DISK_ZERO : DISK_DISCARD;
		uint64_t value = op == DISK_WRITE ? VALUE + ++m->next : 0;

		allow(m, unit, value);
		for (unsigned w = 0; w < UNIT / 8; w++)
			words[i][w] = value;
		submit(m->rig.disk, &r[i], op, unit_at(unit), op == DISK_WRITE ? words[i] : NULL, UNIT);
		r[i].unit = unit;
	}
	memory_run(m->rig.host);
	for (unsigned i = 0; i < n; i++)
		assert_true(r[i].done && r[i].rc == 0);
}

/* A block is given up, or made zeros. */
static void
whole_block(struct model *m)
{
	unsigned block = (unsigned)(memory_mix(m->seed, ++m->step) % (UNITS / 4));
	enum disk_op op = memory_mix(m->seed, ++m->step) % 2 ? DISK_ZERO : DISK_DISCARD;

	for (unsigned u = block * 4; u < block * 4 + 4; u++)
		allow(m, u, 0);
	assert_int_equal(run(&m->rig, op, block * SPREAD, NULL, MIB), 0);
}

/* What was there before is there now, for good. */
static void
flush(struct model *m)
{
	uint64_t words[UNIT / 8];

	assert_int_equal(run(&m->rig, DISK_FLUSH, 0, NULL, 0), 0);
	m->checking = true;
	for (unsigned u = 0; u < UNITS; u++) {
		verify_unit(m, &m->rig, u);
		assert_int_equal(run(&m->rig, DISK_READ, unit_at(u), words, UNIT), 0);
		m->count[u] = 1;
		m->allowed[u][0] = words[0];
	}
	m->checking = false;
}

static void
cut_everywhere(bool child, uint64_t seed, unsigned rounds)
{
	const uint64_t size = UNITS / 4 * SPREAD;
	struct model m = { .child = child, .seed = seed, .every = 2 };

	m.rig = child
		    ? child_rig(size, size)
		    : new_rig(&(struct disk_create){ .type = DISK_DYNAMIC, .size = size, .block_size = MIB });
	for (unsigned u = 0; u < UNITS; u++)
		allow(&m, u, parent_value(&m, u));
	m.rig.host->seed = seed;
	m.rig.host->fault = maybe_cut;
	m.rig.host->ctx = &m;
	for (unsigned i = 0; i < rounds; i++) {
		some_requests(&m, true);
		if (i % 5 == 4)
			whole_block(&m);
		if (i % 4 == 3)
			flush(&m);
		if (i % 10 == 9) {
			flush(&m);
			close_rig(&m.rig, child);
		}
	}
	assert_true(m.cuts > rounds);
	end_rig(&m.rig);
}

static void
a_dynamic_disk_survives_cuts(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++)
		cut_everywhere(false, seed, 12);
}

static void
a_child_survives_cuts(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++)
		cut_everywhere(true, seed, 12);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_again),
		cmocka_unit_test(a_flush_costs_one_flush_and_one_write),
		cmocka_unit_test(opening_writes_nothing),
		cmocka_unit_test(zeros_without_a_block_need_no_read),
		cmocka_unit_test(trimmed_blocks_read_zero_and_keep_their_place),
		cmocka_unit_test(a_child_shows_its_parent_but_for_what_it_has),
		cmocka_unit_test(a_child_flush_costs_two),
		cmocka_unit_test(sizes_of_child_and_parent_may_differ),
		cmocka_unit_test(many_blocks_at_once_need_many_commits),
		cmocka_unit_test(the_largest_disk_takes_little_memory),
		cmocka_unit_test(bitmaps_take_turns_in_memory),
		cmocka_unit_test(damage_in_a_large_table_hurts_its_blocks_only),
		cmocka_unit_test(a_full_host_is_tried_again),
		cmocka_unit_test(after_an_error_of_the_log_nothing_is_written),
		cmocka_unit_test(a_dynamic_disk_survives_cuts),
		cmocka_unit_test(a_child_survives_cuts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
