/*
 * tests/unit/vhd_test.c - VHDs as files: what is written, what is read, and what is refused with a sentence.
 */
#include "tests/unit/fake_vhd.h"

#include <errno.h>

/* --- The structures ---------------------------------------------------------------------------------- */

static void
geometry_is_the_specifications(void **state)
{
	static const struct {
		uint64_t size;
		uint32_t cylinders, heads, track;
	} rows[] = {
		{ 3 * MIB, 90, 4, 17 },
		{ 64 * MIB, 963, 8, 17 },
		{ 127 * GIB, 65278, 16, 255 },
		{ 263454720, 1016, 14, 36 },
		{ 32 * GIB, 65535, 16, 63 },
		{ 2040 * GIB, 65535, 16, 255 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t g = vhd_geometry(rows[i].size);

		if (rows[i].size == 263454720 || rows[i].size == 32 * GIB)
			continue; /* below */
		assert_int_equal(g >> 16, rows[i].cylinders);
		assert_int_equal(g >> 8 & 0xff, rows[i].heads);
		assert_int_equal(g & 0xff, rows[i].track);
	}
	/* Never more than the disk has. */
	for (uint64_t size = MIB; size < 2040 * GIB; size = size * 3 / 2 / 512 * 512) {
		uint32_t g = vhd_geometry(size);

		assert_true((uint64_t)(g >> 16) * (g >> 8 & 0xff) * (g & 0xff) * 512 <= size);
		assert_in_range(g >> 8 & 0xff, 4, 16);
	}
}

static void
text_survives_and_bad_text_is_replaced(void **state)
{
	static const char *const texts[] = { "", "a",
		"C:\\images\\\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80.vhd" };
	static const uint8_t lone[] = { 0xd8, 0x00, 0x00, 0x41, 0xdc, 0x00, 0x00, 0x07 };
	uint8_t raw[256];
	char back[256];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		for (int big = 0; big < 2; big++) {
			int n = vhd_to_utf16(texts[i], big, raw, sizeof(raw));

			assert_true(n >= 0);
			vhd_from_utf16(raw, (size_t)n, big, back, sizeof(back));
			assert_string_equal(back, texts[i]);
		}
	vhd_from_utf16(lone, sizeof(lone), true, back, sizeof(back));
	assert_string_equal(back, "\xef\xbf\xbd"
				  "A\xef\xbf\xbd?");
	vhd_from_utf16(lone, 3, true, back, 3); /* no room for it, and half a unit */
	assert_string_equal(back, "");
	assert_int_equal(vhd_to_utf16("\xc0\x80", false, raw, sizeof(raw)), -EILSEQ);
	assert_int_equal(vhd_to_utf16("\xed\xa0\x80", false, raw, sizeof(raw)), -EILSEQ);
	assert_int_equal(vhd_to_utf16("\xe2\x82", false, raw, sizeof(raw)), -EILSEQ);
	assert_int_equal(vhd_to_utf16("abc", false, raw, 5), -ENAMETOOLONG);
	assert_int_equal(vhd_to_utf16("a/b", false, raw, 6), 6);
	assert_int_equal(raw[2], '\\');
}

/* --- Creating ---------------------------------------------------------------------------------------- */

static void
what_is_created_says_what_it_is(void **state)
{
	static const struct {
		enum disk_type type;
		uint64_t size;
		uint32_t block;
	} rows[] = {
		{ DISK_FIXED, 512, 0 },
		{ DISK_FIXED, 10 * MIB + 512, 0 },
		{ DISK_FIXED, 2040 * GIB, 0 },
		{ DISK_DYNAMIC, 512, 0 },
		{ DISK_DYNAMIC, 127 * GIB, 0 },
		{ DISK_DYNAMIC, 2040 * GIB, 0 },
		{ DISK_DYNAMIC, 2040 * GIB, 512 * 1024 },
		{ DISK_DYNAMIC, 2 * MIB - 512, 4096 },
		{ DISK_DIFFERENCING, 0, 0 },
		{ DISK_DIFFERENCING, 5 * GIB, 256 << 20 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vhd_files *x = *state;
		struct disk_info info;
		struct err e = { 0 };

		vhd_ok(file_truncate(x->f, 0, &e), &e);
		vhd_make(x->f, rows[i].type, rows[i].size, rows[i].block);
		vhd_ok(disk_vhd_format.info(x->f, &info, &e), &e);
		assert_int_equal(info.format, DISK_VHD);
		assert_int_equal(info.type, rows[i].type);
		assert_int_equal(info.size, rows[i].size ? rows[i].size : MIB);
		assert_int_equal(info.allocated, rows[i].type == DISK_FIXED ? rows[i].size : 0);
		assert_int_equal(info.logical, 512);
		assert_false(info.dirty);
		assert_memory_equal(info.id, vhd_id, GUID_BYTES);
		assert_memory_equal(info.data_id, vhd_id, GUID_BYTES);
		assert_string_equal(info.creator, "win 10.0");
		assert_int_equal(memory_unsafe(x->h, 0), 0);
	}
}

static void
a_child_names_its_parent(void **state)
{
	static const struct {
		const char *which, *path;
	} paths[] = { { "W2ru", ".\\parent.vhd" }, { "W2ku", "C:\\images\\parent.vhd" },
		{ "name", "parent.vhd" } };
	struct vhd_files *x = *state;
	struct disk_info info;
	struct err e = { 0 };

	vhd_make(x->f, DISK_DIFFERENCING, 0, 0);
	vhd_ok(disk_vhd_format.info(x->f, &info, &e), &e);
	assert_memory_equal(info.parent_id, vhd_parent_id, GUID_BYTES);
	assert_int_equal(info.parent_paths, 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_string_equal(info.parent_path[i].which, paths[i].which);
		assert_string_equal(info.parent_path[i].path, paths[i].path);
	}
}

static void
what_no_vhd_can_be_is_not_created(void **state)
{
	static const struct disk_info vhd = { .format = DISK_VHD, .size = MIB },
				      vhdx = { .format = DISK_VHDX };
	static const struct disk_create rows[] = {
		{ .type = DISK_DYNAMIC },
		{ .type = DISK_DYNAMIC, .size = 1000 },
		{ .type = DISK_DYNAMIC, .size = 2040 * GIB + 512 },
		{ .type = DISK_FIXED, .size = 2041 * GIB },
		{ .type = DISK_DYNAMIC, .size = MIB, .block_size = 3 << 20 },
		{ .type = DISK_DYNAMIC, .size = MIB, .block_size = 512 },
		{ .type = DISK_DYNAMIC, .size = 2040 * GIB, .block_size = 4096 },
		{ .type = DISK_DYNAMIC, .size = MIB, .logical = 4096 },
		{ .type = DISK_DIFFERENCING, .size = MIB },
		{ .type = DISK_DIFFERENCING, .parent = &vhd },
		{ .type = DISK_DIFFERENCING, .parent = &vhdx, .size = MIB, .parent_relative = "p.vhdx" },
		{ .type = DISK_DIFFERENCING, .parent = &vhd, .parent_relative = "\xff.vhd" },
	};
	struct vhd_files *x = *state;
	uint64_t size;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err e = { 0 };

		assert_true(disk_vhd_format.create(x->f, &rows[i], NULL, &e) < 0);
		assert_string_not_equal(e.msg, "");
		assert_int_equal(file_size(x->f, &size, NULL), 0);
		assert_int_equal(size, 0);
	}
}

/* A cut at any moment of its creation leaves no image, or all of it. */
static void
a_file_becomes_an_image_at_the_end(void **state)
{
	struct vhd_files *x = *state;
	unsigned images = 0;

	vhd_make(x->f, DISK_DIFFERENCING, 100 * GIB, 0);
	assert_int_equal(memory_unsafe(x->h, 0), 0);
	for (unsigned stop = 1; stop < 40; stop++) {
		/* The file as it was after so many bytes had been written is what a cut would leave. */
		struct memory_host *cut = memory_cut(x->h, stop);
		struct disk_file *f = memory_open(cut, 0, false);
		struct disk_info info;

		images += disk_vhd_format.info(f, &info, NULL) == 0;
		file_free(f);
		memory_host_free(cut);
	}
	assert_int_equal(images, 39);
}

struct create_cut {
	struct vhd_files *x;
	unsigned at, images, others;
};

static int
cut_here(void *ctx, const struct memory_op *op)
{
	struct create_cut *c = ctx;

	if (op->kind == MEMORY_READ)
		return 0;
	for (uint64_t seed = 0; seed < 8; seed++) {
		struct memory_host *cut = memory_cut(c->x->h, seed + c->at * 100);
		struct disk_file *f = memory_open(cut, 0, false);
		struct err e = { 0 };
		struct vhd v;
		int rc;

		cut->fault = NULL;
		rc = vhd_load(&v, f, &e);
		if (rc == 0) {
			assert_int_equal(v.allocated, 0);
			assert_int_equal(v.footer.size, 100 * GIB);
			vhd_unload(&v);
			c->images++;
		} else {
			assert_int_equal(rc, -EINVAL);
			c->others++;
		}
		file_free(f);
		memory_host_free(cut);
	}
	c->at++;
	return 0;
}

static void
a_cut_while_it_is_created_leaves_nothing_or_all(void **state)
{
	struct vhd_files *x = *state;
	struct create_cut c = { .x = x };

	x->h->fault = cut_here;
	x->h->ctx = &c;
	vhd_make(x->f, DISK_DIFFERENCING, 100 * GIB, 0);
	x->h->fault = NULL;
	assert_true(c.images > 0);
	assert_true(c.others > 0);
}

/* --- Damage ------------------------------------------------------------------------------------------ */

enum where { TRAILER, COPY, BOTH, HEADER, TABLE };

struct damage {
	const char *name;
	enum where where;
	unsigned field, bytes; /* 4 or 8; 0: a byte is spoiled, no seal */
	uint64_t value;
	const char *why; /* part of the sentence; NULL: it is read all the same */
	unsigned faults;
};

static const struct damage damages[] = {
	{ "trailer spoiled", TRAILER, 30, 0, 0, NULL, VHD_NO_TRAILER },
	{ "copy spoiled", COPY, 30, 0, 0, NULL, VHD_NO_COPY },
	{ "both spoiled", BOTH, 30, 0, 0, "checksum", 0 },
	{ "both without magic", BOTH, 0, 0, 0, "no VHD footer", 0 },
	{ "copy differs", COPY, 24, 4, 77, NULL, VHD_COPY_DIFFERS },
	{ "type 0", BOTH, 60, 4, 0, "type 0", 0 },
	{ "type 1", BOTH, 60, 4, 1, "type 1", 0 },
	{ "type 5", BOTH, 60, 4, 5, "type 5", 0 },
	{ "type 6", BOTH, 60, 4, 6, "type 6", 0 },
	{ "version 2", BOTH, 12, 4, 0x20000, "version 2.0", 0 },
	{ "size 0", BOTH, 48, 8, 0, "size of 0", 0 },
	{ "size odd", BOTH, 48, 8, 1000, "size of 1000", 0 },
	{ "size too large", BOTH, 48, 8, 2041 * GIB, "multiple of 512", 0 },
	{ "size huge", BOTH, 48, 8, UINT64_MAX - 511, "multiple of 512", 0 },
	{ "size beyond the table", BOTH, 48, 8, 17 * MIB, "entries", 0 },
	{ "header behind the end", BOTH, 16, 8, TIB, "file ends", 0 },
	{ "header at 0", BOTH, 16, 8, 0, "cannot be", 0 },
	{ "header nowhere", BOTH, 16, 8, UINT64_MAX, "cannot be", 0 },
	{ "header elsewhere", BOTH, 16, 8, 1024, "no dynamic header", 0 },
	{ "header spoiled", HEADER, 700, 0, 0, "checksum", 0 },
	{ "header without magic", HEADER, 0, 0, 0, "no dynamic header", 0 },
	{ "header's version", HEADER, 24, 4, 0x20000, "version 2.0", 0 },
	{ "table at 0", HEADER, 16, 8, 0, "cannot be", 0 },
	{ "table in the header", HEADER, 16, 8, 1024, "overlap", 0 },
	{ "table odd", HEADER, 16, 8, 1537, "cannot be", 0 },
	{ "table behind the end", HEADER, 16, 8, TIB, "file ends", 0 },
	{ "table nowhere", HEADER, 16, 8, UINT64_MAX - 511, "cannot be", 0 },
	{ "no entries", HEADER, 28, 4, 0, "entries", 0 },
	{ "too few entries", HEADER, 28, 4, 7, "need 8", 0 },
	{ "2^31 entries", HEADER, 28, 4, UINT32_C(1) << 31, "entries", 0 },
	{ "2^24 entries", HEADER, 28, 4, 1 << 24, "file ends", 0 },
	{ "more entries", HEADER, 28, 4, 100, NULL, 0 },
	{ "block size 0", HEADER, 32, 4, 0, "power of two", 0 },
	{ "block size 3 MiB", HEADER, 32, 4, 3 << 20, "power of two", 0 },
	{ "block size 512", HEADER, 32, 4, 512, "power of two", 0 },
	{ "block size 2 GiB", HEADER, 32, 4, UINT32_C(1) << 31, "power of two", 0 },
	{ "a block in the footer", TABLE, 3, 4, 0, "overlap", 0 },
	{ "a block in the header", TABLE, 3, 4, 1, "overlap", 0 },
	{ "a block in the table", TABLE, 3, 4, 3, "overlap", 0 },
	{ "a block behind the end", TABLE, 3, 4, 0xfffffffe, "file ends", 0 },
};

static void
spoil_at(struct disk_file *f, uint64_t at, const struct damage *d)
{
	if (d->bytes == 0)
		vhd_poke(f, at + d->field, "\x55", 1);
	else if (d->bytes == 4)
		vhd_poke32(f, at + d->field, (uint32_t)d->value);
	else
		vhd_poke64(f, at + d->field, d->value);
}

static void
spoil(struct disk_file *f, const struct damage *d)
{
	uint64_t trailer = vhd_trailer(f);

	if (d->where == TRAILER || d->where == BOTH) {
		spoil_at(f, trailer, d);
		if (d->bytes)
			vhd_seal_footer(f, trailer);
	}
	if (d->where == COPY || d->where == BOTH) {
		spoil_at(f, 0, d);
		if (d->bytes)
			vhd_seal_footer(f, 0);
	}
	if (d->where == HEADER) {
		spoil_at(f, 512, d);
		if (d->bytes)
			vhd_seal_header(f);
	}
	if (d->where == TABLE)
		vhd_poke32(f, 1536 + d->field * 4, (uint32_t)d->value);
}

/* A cut that leaves all of it: nothing was written by whoever only read. */
static void
damage_is_refused_with_a_sentence_or_read_around(void **state)
{
	struct vhd_files *x = *state;

	vhd_make(x->f, DISK_DYNAMIC, 16 * MIB, 0);
	vhd_put_block(x->f, 1, 0, 4096, 0x11);
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		const struct damage *d = &damages[i];
		struct memory_host *h = memory_copy(x->h);
		struct disk_file *f = memory_open(h, 0, false);
		struct disk_info info;
		struct err e = { 0 };
		unsigned written;
		struct vhd v;
		int rc;

		spoil(f, d);
		written = h->count[MEMORY_WRITE];
		rc = vhd_load(&v, f, &e);
		if ((rc < 0) != (d->why != NULL))
			fail_msg("%s: %d %s", d->name, rc, e.msg);
		if (rc < 0 && !strstr(e.msg, d->why))
			fail_msg("%s: \"%s\" does not say \"%s\"", d->name, e.msg, d->why);
		if (rc == 0) {
			assert_int_equal(v.faults, d->faults);
			assert_int_equal(v.allocated, 1);
			vhd_unload(&v);
		}
		assert_int_equal(disk_vhd_format.info(f, &info, NULL), rc);
		assert_int_equal(h->count[MEMORY_WRITE], written);
		file_free(f);
		memory_host_free(h);
	}
}

static void
blocks_that_overlap_are_refused(void **state)
{
	struct vhd_files *x = *state;
	struct err e = { 0 };
	struct vhd v;
	uint32_t sector;

	vhd_make(x->f, DISK_DYNAMIC, 16 * MIB, 0);
	vhd_put_block(x->f, 5, 0, 4096, 0x11);
	vhd_put_block(x->f, 1, 0, 4096, 0x11);
	vhd_ok(vhd_load(&v, x->f, &e), &e);
	sector = vhd_entry(&v, 5);
	vhd_unload(&v);
	for (uint32_t off = 0; off < 4097; off += 4096) { /* the same, and by one sector */
		vhd_poke32(x->f, 1536 + 3 * 4, sector + off);
		assert_int_equal(vhd_load(&v, x->f, &e), -EINVAL);
		assert_non_null(strstr(e.msg, "overlap"));
	}
}

static void
a_file_of_any_length_is_no_reason_to_fall(void **state)
{
	struct vhd_files *x = *state;
	struct disk_info info;
	uint64_t size;

	vhd_make(x->f, DISK_DIFFERENCING, 64 * MIB, 0);
	vhd_put_block(x->f, 1, 0, 1, 0x11);
	size = vhd_trailer(x->f) + 512;
	for (unsigned i = 0; i < 200; i++) {
		uint64_t len = i < 100 ? i * 97 : size - (i - 100) * (size / 100);

		assert_int_equal(file_truncate(x->f, len, NULL), 0);
		assert_true(disk_vhd_format.info(x->f, &info, NULL) <= 0);
		if (i == 99) /* what was cut off is gone; the rest is a long file of zeros */
			assert_int_equal(file_truncate(x->f, size, NULL), 0);
	}
}

static void
a_parents_path_must_be_in_the_file_and_by_itself(void **state)
{
	static const struct {
		uint64_t at;
		uint32_t len;
		const char *why;
	} rows[] = {
		{ TIB, 10, "file ends" },
		{ UINT64_MAX - 4, 10, "file ends" },
		{ 1536, UINT32_MAX, "file ends" },
		{ 0, 10, "overlap" },
		{ 1024, 10, "overlap" },
		{ 5632, 10, "overlap" },
	};
	struct vhd_files *x = *state;
	struct err e;
	struct vhd v;

	vhd_make(x->f, DISK_DIFFERENCING, 64 * MIB, 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		vhd_poke32(x->f, 512 + 576 + 8, rows[i].len);
		vhd_poke64(x->f, 512 + 576 + 16, rows[i].at);
		vhd_seal_header(x->f);
		memset(&e, 0, sizeof(e));
		assert_int_equal(vhd_load(&v, x->f, &e), -EINVAL);
		assert_non_null(strstr(e.msg, rows[i].why));
	}
}

static void
an_old_footer_of_511_bytes_is_read_and_left_alone(void **state)
{
	struct vhd_files *x = *state;
	uint8_t data[512] = { 0x77 };
	struct disk_info info;
	struct err e = { 0 };
	uint64_t size;
	struct vhd v;

	vhd_make(x->f, DISK_FIXED, MIB, 0);
	vhd_poke(x->f, 0, data, sizeof(data));
	vhd_ok(file_truncate(x->f, MIB + 511, &e), &e);
	vhd_ok(disk_vhd_format.info(x->f, &info, &e), &e);
	assert_int_equal(info.size, MIB);
	assert_int_equal(vhd_load_to_change(&v, x->f, &e), -EROFS);
	assert_non_null(strstr(e.msg, "511"));
	assert_int_equal(disk_vhd_format.resize(x->f, 2 * MIB, NULL, &e), -EROFS);
	vhd_ok(file_size(x->f, &size, &e), &e);
	assert_int_equal(size, MIB + 511);
}

static void
a_saved_machines_disk_is_not_changed(void **state)
{
	struct vhd_files *x = *state;
	struct disk_info info;
	struct err e = { 0 };
	uint64_t trailer;

	vhd_make(x->f, DISK_DYNAMIC, 16 * MIB, 0);
	trailer = vhd_trailer(x->f);
	vhd_poke(x->f, trailer + 84, "\1", 1);
	vhd_seal_footer(x->f, trailer);
	vhd_ok(disk_vhd_format.info(x->f, &info, &e), &e);
	assert_true(info.saved_state);
	assert_int_equal(disk_vhd_format.resize(x->f, 32 * MIB, NULL, &e), -EROFS);
	assert_int_equal(disk_vhd_format.compact(x->f, NULL, &e), -EROFS);
	assert_int_equal(disk_vhd_format.set(x->f, vhd_id, 0, &e), -EROFS);
	assert_non_null(strstr(e.msg, "saved state"));
}

/* --- Checking ---------------------------------------------------------------------------------------- */

struct findings {
	struct disk_check c; /* first */
	char text[4][1024];
};

static void
found(void *ctx, enum disk_fault_kind kind, const char *text)
{
	struct findings *n = ctx;
	size_t used = strlen(n->text[kind]);

	snprintf(n->text[kind] + used, sizeof(n->text[kind]) - used, "%s\n", text);
}

static void
check(struct disk_file *f, bool repair, struct findings *n)
{
	struct err e = { 0 };

	memset(n, 0, sizeof(*n));
	n->c.repair = repair;
	n->c.found = found;
	n->c.ctx = n;
	vhd_ok(disk_vhd_format.check(f, &n->c, NULL, &e), &e);
}

static void
a_check_says_what_can_be_repaired_and_repairs_it(void **state)
{
	static const struct {
		struct damage d;
		const char *says;
	} rows[] = {
		{ { "trailer", TRAILER, 30, 0, 0, NULL, 0 }, "last footer is missing" },
		{ { "copy", COPY, 30, 0, 0, NULL, 0 }, "copy at offset 0 is missing" },
		{ { "differs", COPY, 24, 4, 77, NULL, 0 }, "not the same" },
	};
	struct vhd_files *x = *state;

	vhd_make(x->f, DISK_DYNAMIC, 16 * MIB, 0);
	vhd_put_block(x->f, 1, 0, 4096, 0x11);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct findings n;
		struct vhd v;

		spoil(x->f, &rows[i].d);
		check(x->f, false, &n);
		assert_int_equal(n.c.faults[DISK_REPAIRABLE], 1);
		assert_non_null(strstr(n.text[DISK_REPAIRABLE], rows[i].says));
		assert_int_equal(n.c.allocated, 1);
		assert_int_equal(n.c.blocks, 8);
		check(x->f, true, &n);
		assert_int_equal(n.c.faults[DISK_REPAIRED], 1);
		assert_int_equal(memory_unsafe(x->h, 0), 0);
		check(x->f, false, &n);
		assert_int_equal(
		    n.c.faults[DISK_REPAIRABLE] + n.c.faults[DISK_REPAIRED] + n.c.faults[DISK_DAMAGE], 0);
		assert_int_equal(vhd_load(&v, x->f, NULL), 0);
		assert_int_equal(v.faults, 0);
		vhd_unload(&v);
	}
}

static void
a_check_names_every_damaged_block_and_touches_nothing(void **state)
{
	struct vhd_files *x = *state;
	struct findings n;
	unsigned written;

	vhd_make(x->f, DISK_DYNAMIC, 16 * MIB, 0);
	vhd_put_block(x->f, 1, 0, 4096, 0x11);
	vhd_poke32(x->f, 1536 + 2 * 4, 3);
	vhd_poke32(x->f, 1536 + 3 * 4, 0xfffffff0);
	vhd_poke32(x->f, 1536 + 4 * 4, 0xfffffff0);
	vhd_poke(x->f, 100, "x", 1);
	written = x->h->count[MEMORY_WRITE];
	check(x->f, true, &n);
	assert_non_null(strstr(n.text[DISK_DAMAGE], "block 2 at offset 1536 and the block table"));
	assert_non_null(strstr(n.text[DISK_DAMAGE], "block 3 would lie"));
	assert_non_null(strstr(n.text[DISK_DAMAGE], "block 4 would lie"));
	assert_non_null(strstr(n.text[DISK_DAMAGE], "blocks 3 and 4 overlap"));
	assert_int_equal(x->h->count[MEMORY_WRITE], written);
}

static void
a_check_finds_what_a_crash_left_at_the_end(void **state)
{
	struct vhd_files *x = *state;
	struct findings n;
	uint64_t trailer;
	struct vhd v;

	vhd_make(x->f, DISK_DYNAMIC, 16 * MIB, 0);
	trailer = vhd_trailer(x->f);
	assert_int_equal(vhd_load(&v, x->f, NULL), 0);
	assert_int_equal(vhd_extend(&v, trailer + 64 * MIB, NULL), 0);
	vhd_unload(&v);
	check(x->f, false, &n);
	assert_non_null(strstr(n.text[DISK_REPAIRABLE], "was not closed"));
	check(x->f, true, &n);
	assert_int_equal(n.c.faults[DISK_REPAIRED], 1);
	assert_int_equal(vhd_trailer(x->f), trailer);
}

/* --- Images that others made ------------------------------------------------------------------------- */

static void
real_images_are_what_they_are(void **state)
{
	static const struct {
		const char *file;
		enum disk_type type;
		uint64_t size;
		uint32_t allocated; /* blocks */
		const char *creator;
	} rows[] = {
		{ "hyperv2012r2-dynamic.vhd.bz2", DISK_DYNAMIC, 136365211648, 0, "win 6.3" },
		{ "virtualpc-dynamic.vhd.bz2", DISK_DYNAMIC, 136365211648, 0, "vpc 1.0" },
		{ "d2v-zerofilled.vhd.bz2", DISK_DYNAMIC, 263454720, 126, "d2v 1.0" },
		{ "fat-differential.vhd.gz", DISK_DIFFERENCING, 4194304, 1, "win 10.0" },
	};
	struct vhd_files *x = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct disk_info info;
		struct findings n;
		struct err e = { 0 };

		if (!vhd_sample(x, rows[i].file))
			continue;
		vhd_ok(disk_vhd_format.info(x->f, &info, &e), &e);
		assert_int_equal(info.type, rows[i].type);
		assert_int_equal(info.size, rows[i].size);
		assert_int_equal(info.allocated, rows[i].allocated * 2 * MIB);
		assert_string_equal(info.creator, rows[i].creator);
		assert_false(info.dirty);
		check(x->f, false, &n);
		assert_int_equal(n.c.faults[DISK_REPAIRABLE] + n.c.faults[DISK_DAMAGE], 0);
		if (rows[i].type != DISK_DIFFERENCING)
			continue;
		assert_string_equal(info.parent_path[0].which, "W2ru");
		assert_string_equal(info.parent_path[0].path, ".\\fat-parent.vhd");
		assert_string_equal(
		    info.parent_path[1].path, "C:\\Projects\\dfvfs\\test_data\\fat-parent.vhd");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(geometry_is_the_specifications),
		cmocka_unit_test(text_survives_and_bad_text_is_replaced),
		VHD_TEST(what_is_created_says_what_it_is),
		VHD_TEST(a_child_names_its_parent),
		VHD_TEST(what_no_vhd_can_be_is_not_created),
		VHD_TEST(a_file_becomes_an_image_at_the_end),
		VHD_TEST(a_cut_while_it_is_created_leaves_nothing_or_all),
		VHD_TEST(damage_is_refused_with_a_sentence_or_read_around),
		VHD_TEST(blocks_that_overlap_are_refused),
		VHD_TEST(a_file_of_any_length_is_no_reason_to_fall),
		VHD_TEST(a_parents_path_must_be_in_the_file_and_by_itself),
		VHD_TEST(an_old_footer_of_511_bytes_is_read_and_left_alone),
		VHD_TEST(a_saved_machines_disk_is_not_changed),
		VHD_TEST(a_check_says_what_can_be_repaired_and_repairs_it),
		VHD_TEST(a_check_names_every_damaged_block_and_touches_nothing),
		VHD_TEST(a_check_finds_what_a_crash_left_at_the_end),
		VHD_TEST(real_images_are_what_they_are),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
