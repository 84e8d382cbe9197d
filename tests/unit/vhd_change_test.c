/*
 * tests/unit/vhd_change_test.c - what changes a whole VHD: another size, less space, another parent, another
 * identity. Each is cut and failed at every operation on the file, and leaves the old or the new state; what
 * failed is done again, and cut at every operation of that, too.
 */
#include "tests/unit/fake_vhd.h"

#include <errno.h>
#include <fcntl.h>

enum { BLOCK = 65536, AGAIN_CUTS = 12 };

/* --- What a disk holds ------------------------------------------------------------------------------- */

static struct disk *
open_disk(struct memory_host *h, unsigned n, bool read_only, struct disk *parent)
{
	struct disk_open how = {
		.file = memory_open(h, n, read_only), .read_only = read_only, .parent = parent
	};
	struct err e = { 0 };
	struct disk *d;

	vhd_ok(disk_vhd_format.open(&d, &how, &e), &e);
	return d;
}

/* A sum of what is not zero, so that a longer disk of the same content has the same. */
static uint64_t
content(struct memory_host *h, bool child)
{
	struct disk *d = open_disk(h, 0, true, child ? open_disk(h, 1, true, NULL) : NULL);
	uint8_t *data = malloc(BLOCK);
	uint64_t sum = 1;

	for (uint64_t at = 0; at < d->size; at += BLOCK) {
		uint64_t len = d->size - at < BLOCK ? d->size - at : BLOCK;
		struct iovec iov = { data, len };
		struct disk_io io = { .op = DISK_READ, .offset = at, .len = len, .iov = &iov, .iovs = 1 };

		assert_int_equal(disk_wait(d, &io), 0);
		if (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0)
			continue;
		for (uint64_t i = 0; i < len; i++)
			if (data[i])
				sum = memory_mix(sum, memory_mix(at + i, data[i]));
	}
	free(data);
	disk_free(d);
	return sum;
}

static uint64_t
size_of(struct memory_host *h)
{
	struct disk_file *f = memory_open(h, 0, true);
	struct disk_info info;
	struct err e = { 0 };

	vhd_ok(disk_vhd_format.info(f, &info, &e), &e);
	file_free(f);
	return info.size;
}

static void
damaged(void *ctx, enum disk_fault_kind kind, const char *text)
{
	(void)ctx;
	if (kind == DISK_DAMAGE)
		fail_msg("%s", text);
}

static void
check_whole(struct memory_host *h)
{
	struct disk_check c = { .found = damaged, .repair = true };
	struct disk_file *f = memory_open(h, 0, false);
	struct err e = { 0 };

	vhd_ok(disk_vhd_format.check(f, &c, NULL, &e), &e);
	memset(c.faults, 0, sizeof(c.faults));
	vhd_ok(disk_vhd_format.check(f, &c, NULL, &e), &e);
	assert_int_equal(c.faults[DISK_REPAIRABLE] + c.faults[DISK_REPAIRED], 0);
	file_free(f);
}

/* --- Each change, cut and failed everywhere ---------------------------------------------------------- */

struct change {
	const char *name;
	enum disk_type type;
	uint64_t size; /* before */
	void (*prepare)(struct disk_file *f);
	int (*change)(struct disk_file *f, struct err *e);
	void (*changed)(struct memory_host *h); /* checks that it is done; NULL: content and size say all */
	uint64_t size_then;
};

struct run {
	const struct change *c;
	struct memory_host *h;
	uint64_t sum;
	unsigned at, fail_at;
	unsigned cuts, flush_cuts; /* states that are looked at before a change, before a flush */
	int error;
};

static void
check_old_or_new(const struct run *r, struct memory_host *h)
{
	uint64_t size = size_of(h);

	if (size != r->c->size && size != r->c->size_then)
		fail_msg("%s, operation %u: the size is %llu", r->c->name, r->at, (unsigned long long)size);
	if (content(h, r->c->type == DISK_DIFFERENCING) != r->sum)
		fail_msg("%s, operation %u: the content has changed", r->c->name, r->at);
	check_whole(h);
}

static int
cut_or_fail(void *ctx, const struct memory_op *op)
{
	struct run *r = ctx;
	unsigned cuts = op->kind == MEMORY_FLUSH ? r->flush_cuts : r->cuts;

	if (op->kind == MEMORY_READ)
		return 0;
	if (++r->at == r->fail_at)
		return r->error;
	for (unsigned i = 0; i < cuts; i++) {
		struct memory_host *h = memory_cut(r->h, i < 2 ? i : memory_mix(r->at, i));

		check_old_or_new(r, h);
		memory_host_free(h);
	}
	return 0;
}

static struct memory_host *
prepared(const struct change *c)
{
	struct memory_host *h = memory_host_new();
	struct disk_file *f;

	if (c->type == DISK_DIFFERENCING) {
		f = memory_open(h, 1, false);
		vhd_make(f, DISK_DYNAMIC, 4 * MIB, BLOCK);
		vhd_put_block(f, 1, 0, 128, 0x21);
		vhd_put_block(f, 7, 0, 128, 0x22);
		assert_int_equal(file_sync(f, NULL), 0);
		file_free(f);
	}
	f = memory_open(h, 0, false);
	vhd_make(f, c->type, c->size, c->type == DISK_FIXED ? 0 : BLOCK);
	c->prepare(f);
	assert_int_equal(file_sync(f, NULL), 0);
	file_free(f);
	return h;
}

static int
do_change(struct run *r, struct err *e)
{
	struct disk_file *f = memory_open(r->h, 0, false);
	int rc;

	r->at = 0;
	r->h->fault = cut_or_fail;
	r->h->ctx = r;
	rc = r->c->change(f, e);
	r->h->fault = NULL;
	file_free(f);
	return rc;
}

/* Not all that the first try wrote need be on the disk, and the second builds on what it reads. */
static void
change_again(struct run *r)
{
	struct err e = { 0 };

	r->fail_at = 0;
	r->flush_cuts = AGAIN_CUTS;
	vhd_ok(do_change(r, &e), &e);
	assert_int_equal(size_of(r->h), r->c->size_then);
}

static void
try_change(const struct change *c)
{
	struct run r = { .c = c, .h = prepared(c), .cuts = 6, .flush_cuts = 6 };
	struct err e = { 0 };
	unsigned operations;

	r.sum = content(r.h, c->type == DISK_DIFFERENCING);
	vhd_ok(do_change(&r, &e), &e);
	assert_int_equal(memory_unsafe(r.h, 0), 0);
	assert_int_equal(size_of(r.h), c->size_then);
	check_old_or_new(&r, r.h);
	if (c->changed)
		c->changed(r.h);
	operations = r.at;
	memory_host_free(r.h);
	for (unsigned at = 1; at <= operations; at++) {
		r = (struct run){ .c = c, .h = prepared(c), .sum = r.sum, .fail_at = at };
		r.error = at % 2 ? -EIO : -ENOSPC;
		e = (struct err){ 0 };
		/* What is only to save space may be done without. */
		if (do_change(&r, &e) < 0) {
			assert_string_not_equal(e.msg, "");
			change_again(&r);
		}
		check_old_or_new(&r, r.h);
		memory_host_free(r.h);
	}
	assert_int_equal(pages_alive(), 0);
}

/* --- The changes ------------------------------------------------------------------------------------- */

static void
some_blocks(struct disk_file *f)
{
	vhd_put_block(f, 3, 0, 128, 0x33);
	vhd_put_block(f, 0, 5, 20, 0x44);
	vhd_put_block(f, 5, 0, 128, 0);
	vhd_put_block(f, 6, 0, 128, 0x55);
	vhd_put_block(f, 2, 0, 128, 0x66);
}

/* The last block is the disk's in half: behind it lies what must not come up. */
static void
a_dirty_end(struct disk_file *f)
{
	some_blocks(f);
	vhd_put_block(f, 15, 0, 64, 0x77);
}

static void
some_data(struct disk_file *f)
{
	vhd_poke(f, 1000, "some data", 9);
	vhd_poke(f, MIB - 600, "at the end", 10);
}

static void
data_at_the_beginning(struct disk_file *f)
{
	vhd_poke(f, 1000, "some data", 9);
}

static int
to_1_gib(struct disk_file *f, struct err *e)
{
	return disk_vhd_format.resize(f, GIB, NULL, e);
}

static int
to_2_mib(struct disk_file *f, struct err *e)
{
	return disk_vhd_format.resize(f, 2 * MIB, NULL, e);
}

static int
to_512_kib(struct disk_file *f, struct err *e)
{
	return disk_vhd_format.resize(f, 512 * KIB, NULL, e);
}

static int
compact(struct disk_file *f, struct err *e)
{
	return disk_vhd_format.compact(f, NULL, e);
}

static void
is_compact(struct memory_host *h)
{
	struct disk_file *f = memory_open(h, 0, false);
	uint64_t before, after;
	struct err e = { 0 };
	struct vhd v;

	vhd_ok(vhd_load(&v, f, &e), &e);
	assert_true(v.end - v.allocated * vhd_stride(&v) < 16 * KIB);
	assert_int_equal(v.allocated, v.footer.type == VHD_DYNAMIC ? 4 : 5);
	vhd_unload(&v);
	vhd_ok(file_size(f, &before, &e), &e);
	vhd_ok(disk_vhd_format.compact(f, NULL, &e), &e);
	vhd_ok(file_size(f, &after, &e), &e);
	assert_int_equal(before, after);
	file_free(f);
}

static void
gaps(struct disk_file *f)
{
	struct err e = { 0 };
	struct vhd v;

	some_blocks(f);
	vhd_put_block(f, 9, 0, 128, 0);
	vhd_put_block(f, 7, 0, 128, 0x13);
	vhd_ok(vhd_load(&v, f, &e), &e);
	for (uint32_t i = 3; i < 10; i += 6) { /* whose places are gaps now */
		vhd_set_entry(&v, i, VHD_ABSENT);
		vhd_ok(vhd_write_entry(&v, i, &e), &e);
	}
	vhd_unload(&v);
}

static int
relink(struct disk_file *f, struct err *e)
{
	static const struct disk_info parent = { .format = DISK_VHD, .data_id = "another parent!" };

	return disk_vhd_format.relink(f, &parent, "../base/other.vhd", "D:\\base\\other.vhd", e);
}

static void
is_relinked(struct memory_host *h)
{
	struct disk_file *f = memory_open(h, 0, true);
	struct disk_info info;
	struct err e = { 0 };

	vhd_ok(disk_vhd_format.info(f, &info, &e), &e);
	assert_memory_equal(info.parent_id, "another parent!", 16);
	assert_int_equal(info.parent_paths, 3);
	assert_string_equal(info.parent_path[0].path, "..\\base\\other.vhd");
	assert_string_equal(info.parent_path[1].path, "D:\\base\\other.vhd");
	assert_string_equal(info.parent_path[2].path, "other.vhd");
	file_free(f);
}

static int
set_id(struct disk_file *f, struct err *e)
{
	return disk_vhd_format.set(f, (const uint8_t *)"another identity", 0, e);
}

static void
has_id(struct memory_host *h)
{
	struct disk_file *f = memory_open(h, 0, true);
	struct disk_info info;
	struct err e = { 0 };

	vhd_ok(disk_vhd_format.info(f, &info, &e), &e);
	assert_memory_equal(info.id, "another identity", 16);
	file_free(f);
}

static const struct change changes[] = {
	{ "dynamic, larger", DISK_DYNAMIC, MIB, some_blocks, to_1_gib, NULL, GIB },
	{ "dynamic, larger in its table", DISK_DYNAMIC, MIB - BLOCK / 2, a_dirty_end, to_2_mib, NULL,
	    2 * MIB },
	{ "dynamic, smaller", DISK_DYNAMIC, MIB, some_blocks, to_512_kib, NULL, 512 * KIB },
	{ "dynamic, compact", DISK_DYNAMIC, MIB, gaps, compact, is_compact, MIB },
	{ "child, compact", DISK_DIFFERENCING, MIB, gaps, compact, is_compact, MIB },
	{ "child, another parent", DISK_DIFFERENCING, MIB, some_blocks, relink, is_relinked, MIB },
	{ "dynamic, another identity", DISK_DYNAMIC, MIB, some_blocks, set_id, has_id, MIB },
	{ "fixed, larger", DISK_FIXED, MIB, some_data, to_2_mib, NULL, 2 * MIB },
	{ "fixed, much larger", DISK_FIXED, MIB, some_data, to_1_gib, NULL, GIB },
	{ "fixed, smaller", DISK_FIXED, MIB, data_at_the_beginning, to_512_kib, NULL, 512 * KIB },
	{ "fixed, another identity", DISK_FIXED, MIB, some_data, set_id, has_id, MIB },
};

static void
each_change_leaves_the_old_state_or_the_new(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		try_change(&changes[i]);
}

/* --- Refusals, and what is odd ----------------------------------------------------------------------- */

static void
what_holds_data_is_not_cut_off(void **state)
{
	struct vhd_files *x = *state;
	struct err e = { 0 };

	vhd_make(x->f, DISK_DYNAMIC, MIB, BLOCK);
	some_blocks(x->f);
	assert_int_equal(disk_vhd_format.resize(x->f, 6 * BLOCK, NULL, &e), -EBUSY);
	assert_non_null(strstr(e.msg, "block 6"));
	assert_int_equal(disk_vhd_format.resize(x->f, 7 * BLOCK - 512, NULL, &e), -EBUSY);
	vhd_ok(disk_vhd_format.resize(x->f, 7 * BLOCK, NULL, &e), &e);
	vhd_ok(file_truncate(x->f, 0, &e), &e);
	vhd_make(x->f, DISK_FIXED, MIB, 0);
	some_data(x->f);
	assert_int_equal(disk_vhd_format.resize(x->f, 512 * KIB, NULL, &e), -EBUSY);
	assert_int_equal(size_of(x->h), MIB);
}

static void
a_child_keeps_its_size_and_only_it_has_a_parent(void **state)
{
	struct vhd_files *x = *state;
	struct err e = { 0 };

	vhd_make(x->f, DISK_DIFFERENCING, MIB, BLOCK);
	assert_int_equal(disk_vhd_format.resize(x->f, 2 * MIB, NULL, &e), -ENOTSUP);
	vhd_ok(file_truncate(x->f, 0, &e), &e);
	vhd_make(x->f, DISK_DYNAMIC, MIB, BLOCK);
	assert_int_equal(relink(x->f, &e), -EINVAL);
	assert_int_equal(disk_vhd_format.set(x->f, NULL, 4096, &e), -ENOTSUP);
	assert_int_equal(disk_vhd_format.resize(x->f, 2041 * GIB, NULL, &e), -EINVAL);
	assert_int_equal(disk_vhd_format.resize(x->f, 1000, NULL, &e), -EINVAL);
	assert_int_equal(disk_vhd_format.resize(x->f, 0, NULL, &e), -EINVAL);
}

static bool
stop_at(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	int *left = ctx;

	(void)phase;
	assert_true(done <= total);
	return --*left == 0;
}

static void
whoever_cancels_finds_a_whole_image(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
		for (int n = 1; n < 12; n++) {
			struct memory_host *h = prepared(&changes[i]);
			int left = n;
			const struct disk_progress p = { stop_at, &left };
			struct run r = { .c = &changes[i], .h = h };
			struct disk_file *f = memory_open(h, 0, false);
			struct err e = { 0 };
			int rc = 0;

			r.sum = content(h, r.c->type == DISK_DIFFERENCING);
			if (r.c->change == compact)
				rc = disk_vhd_format.compact(f, &p, &e);
			else if (r.c->size != r.c->size_then)
				rc = disk_vhd_format.resize(f, r.c->size_then, &p, &e);
			assert_int_equal(rc, left <= 0 ? -ECANCELED : 0);
			assert_int_equal(memory_unsafe(h, 0), 0);
			file_free(f);
			check_old_or_new(&r, h);
			memory_host_free(h);
		}
}

/* Strings that lie somewhere else than ours, with no room behind the header. */
static void
a_child_of_another_program_can_be_relinked(void **state)
{
	struct vhd_files *x = *state;

	if (!vhd_sample(x, "fat-differential.vhd.gz"))
		return;
	for (unsigned i = 0; i < 3; i++) {
		struct err e = { 0 };

		vhd_ok(relink(x->f, &e), &e);
		is_relinked(x->h);
		check_whole(x->h);
	}
}

static void
the_largest_disk_can_be_made_from_a_small_one(void **state)
{
	struct vhd_files *x = *state;
	struct err e = { 0 };
	struct vhd v;

	vhd_make(x->f, DISK_DYNAMIC, MIB, 0);
	vhd_put_block(x->f, 0, 0, 4096, 0x12);
	vhd_ok(disk_vhd_format.resize(x->f, 2040 * GIB, NULL, &e), &e);
	vhd_ok(vhd_load(&v, x->f, &e), &e);
	assert_int_equal(v.header.entries, 2040 * 512);
	assert_int_equal(v.allocated, 1);
	assert_int_equal(v.faults, 0);
	vhd_unload(&v);
	vhd_ok(disk_vhd_format.resize(x->f, 2 * MIB, NULL, &e), &e);
	vhd_ok(disk_vhd_format.compact(x->f, NULL, &e), &e);
	assert_true(vhd_trailer(x->f) < 16 * MIB);
}

/* --- A fixed disk that was growing ------------------------------------------------------------------- */

static void
fixed_of_1_mib(struct disk_file *f)
{
	struct err e = { 0 };

	vhd_ok(file_truncate(f, 0, &e), &e);
	vhd_make(f, DISK_FIXED, MIB, 0);
	some_data(f);
}

static uint64_t
bytes(struct disk_file *f)
{
	struct err e = { 0 };
	uint64_t n = 0;

	vhd_ok(file_size(f, &n, &e), &e);
	return n;
}

static void
check_found(struct vhd_files *x)
{
	struct disk_check c = { .found = damaged };
	struct err e = { 0 };
	struct vhd v;

	vhd_ok(vhd_load(&v, x->f, &e), &e);
	assert_int_equal(v.footer.size, MIB);
	assert_int_equal(v.faults, VHD_LOST_TRAILER);
	vhd_unload(&v);
	vhd_ok(disk_vhd_format.check(x->f, &c, NULL, &e), &e);
	assert_int_equal(c.faults[DISK_REPAIRABLE], 1);
	c = (struct disk_check){ .found = damaged, .repair = true };
	vhd_ok(disk_vhd_format.check(x->f, &c, NULL, &e), &e);
	assert_int_equal(c.faults[DISK_REPAIRED], 1);
	assert_int_equal(bytes(x->f), MIB + 512);
	assert_int_equal(size_of(x->h), MIB);
}

static void
a_footer_that_was_to_move_is_found_where_it_was(void **state)
{
	static const uint64_t sizes[] = { MIB + 1024, 2 * MIB, 2 * MIB + 512, TIB };
	static const uint8_t zeros[64 * KIB];
	struct vhd_files *x = *state;
	struct err e = { 0 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		fixed_of_1_mib(x->f);
		vhd_ok(file_truncate(x->f, sizes[i], &e), &e);
		check_found(x);
	}
	fixed_of_1_mib(x->f); /* zeros that are data */
	for (uint64_t at = MIB + 512; at < 3 * MIB; at += sizeof(zeros))
		vhd_ok(file_put(x->f, zeros, sizeof(zeros), at, &e), &e);
	check_found(x);
	fixed_of_1_mib(
	    x->f); /* such zeros far behind: space was taken for the new footer, and it was not written */
	vhd_ok(file_put(x->f, zeros, VHD_FOOTER, TIB, &e), &e);
	check_found(x);
	fixed_of_1_mib(x->f);
	vhd_ok(file_truncate(x->f, 2 * MIB, &e), &e);
	vhd_ok(to_2_mib(x->f, &e), &e);
	assert_int_equal(size_of(x->h), 2 * MIB);
	assert_int_equal(bytes(x->f), 2 * MIB + 512);
}

/* As a guest could. */
static void
forge(struct disk_file *f, uint64_t at)
{
	struct vhd_footer forged;
	struct err e = { 0 };

	vhd_ok(vhd_footer_init(&forged, VHD_FIXED, at, vhd_id, &e), &e);
	vhd_footer_encode(&forged);
	vhd_ok(file_put(f, forged.raw, VHD_FOOTER, at, &e), &e);
}

static void
a_footer_in_the_data_is_not_taken(void **state)
{
	struct vhd_files *x = *state;
	struct err e = { 0 };

	fixed_of_1_mib(x->f);
	forge(x->f, 512 * KIB);
	forge(x->f, MIB - 512);
	assert_int_equal(size_of(x->h), MIB);
	vhd_ok(file_truncate(x->f, 2 * MIB, &e), &e);
	check_found(x);
}

static void
refused(struct vhd_files *x)
{
	struct err e = { 0 };
	struct vhd v;

	assert_int_equal(vhd_load(&v, x->f, &e), -EINVAL);
}

static void
what_is_no_lost_footer_is_not_taken_for_one(void **state)
{
	struct vhd_files *x = *state;
	unsigned reads;
	struct err e = { 0 };

	fixed_of_1_mib(x->f);
	vhd_ok(file_truncate(x->f, 2 * MIB, &e), &e);
	vhd_poke(x->f, 2 * MIB - 1, "x", 1); /* something at the end */
	refused(x);
	vhd_poke(x->f, 2 * MIB - 1, "", 1);
	vhd_poke(x->f, MIB + 600, "x", 1); /* behind the footer */
	refused(x);
	fixed_of_1_mib(x->f); /* one that lies elsewhere than it says */
	vhd_ok(file_truncate(x->f, 4 * MIB, &e), &e);
	forge(x->f, 2 * MIB);
	vhd_poke(x->f, 2 * MIB, "", 1);
	refused(x);
	vhd_ok(file_truncate(x->f, 0, &e), &e); /* one with tables that has lost both */
	vhd_make(x->f, DISK_DYNAMIC, MIB, BLOCK);
	forge(x->f, 8 * MIB);
	vhd_ok(file_truncate(x->f, 9 * MIB, &e), &e);
	vhd_poke(x->f, 0, "x", 1);
	refused(x);
	vhd_ok(file_truncate(x->f, 0, &e), &e); /* nothing at all, at length */
	vhd_ok(file_truncate(x->f, TIB, &e), &e);
	reads = x->h->count[MEMORY_READ];
	x->h->bytes_read = 0;
	refused(x);
	assert_true(x->h->count[MEMORY_READ] - reads < 16);
	vhd_poke(x->f, 0, "x", 1);
	for (uint64_t at = 4 * MIB; at < 64 * MIB; at += 4 * KIB) /* zeros that are data, more than is read */
		vhd_poke(x->f, at, "", 1);
	refused(x);
	assert_true(x->h->bytes_read < 20 * MIB);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_change_leaves_the_old_state_or_the_new),
		VHD_TEST(what_holds_data_is_not_cut_off),
		VHD_TEST(a_child_keeps_its_size_and_only_it_has_a_parent),
		cmocka_unit_test(whoever_cancels_finds_a_whole_image),
		VHD_TEST(a_child_of_another_program_can_be_relinked),
		VHD_TEST(the_largest_disk_can_be_made_from_a_small_one),
		VHD_TEST(a_footer_that_was_to_move_is_found_where_it_was),
		VHD_TEST(a_footer_in_the_data_is_not_taken),
		VHD_TEST(what_is_no_lost_footer_is_not_taken_for_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
