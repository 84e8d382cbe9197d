/*
 * tests/unit/copy_test.c - new images: whole or not at all, and with what their source shows, between all
 * formats and kinds; holes and zeros take no space.
 */
#include "tests/unit/images.h"

#include "hypervisor/disk/lock.h"
#include "hypervisor/disk/mover.h"
#include "hypervisor/disk/new_file.h"

enum { SIZE = 8 << 20, LARGE = 200 << 20 };

static const struct {
	const char *name;
	enum disk_format_id format;
	enum disk_type type;
} kinds[] = {
	{ "raw", DISK_RAW, DISK_FIXED },
	{ "vhd", DISK_VHD, DISK_FIXED },
	{ "vhd", DISK_VHD, DISK_DYNAMIC },
	{ "vhdx", DISK_VHDX, DISK_FIXED },
	{ "vhdx", DISK_VHDX, DISK_DYNAMIC },
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static int
copy_to(struct images *x, const char *from, int format, const struct disk_new *n,
    const struct disk_progress *p, struct err *e)
{
	struct disk *d = images_open(x, from, format, false);
	int rc = disk_copy_new(d, n, p, e);

	disk_free(d);
	return rc;
}

static uint64_t
space(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* --- content ------------------------------------------------------------------------------------------- */

static void
every_kind_becomes_every_other(void **state)
{
	struct images *x = *state;
	uint8_t *model = calloc(1, SIZE);

	images_make("source.img", DISK_RAW, SIZE, NULL);
	images_scribble(x, "source.img", DISK_RAW, model, 12);
	for (unsigned from = 0; from < KINDS; from++)
		for (unsigned to = 0; to < KINDS; to++) {
			struct disk_new a = { "a", true, kinds[from].format, { .type = kinds[from].type } };
			struct disk_new b = { "b", true, kinds[to].format, { .type = kinds[to].type } };

			if (!images_have(kinds[from].format) || !images_have(kinds[to].format))
				continue;
			WORKS(copy_to(x, "source.img", DISK_RAW, &a, NULL, &works_e));
			WORKS(copy_to(x, "a", (int)a.format, &b, NULL, &works_e));
			images_show(x, "b", b.format, model, SIZE);
		}
	free(model);
}

static void
a_chain_becomes_one_image(void **state)
{
	struct images *x = *state;
	uint8_t *model = calloc(1, SIZE);

	for (enum disk_format_id f = DISK_VHD; f <= DISK_VHDX; f++) {
		struct disk_new flat = { "flat", true, DISK_RAW,
			{ .type = DISK_FIXED, .sparse_fixed = true } };
		struct disk_new same = { "same", true, f, { .type = DISK_DYNAMIC } };

		if (!images_have(f))
			continue;
		memset(model, 0, SIZE);
		for (char name[] = "0"; name[0] < '5'; name[0]++) {
			char parent[] = { (char)(name[0] - 1), 0 };

			unlink(name);
			images_make(name, f, SIZE, name[0] == '0' ? NULL : parent);
			images_scribble(x, name, f, model, 6);
		}
		WORKS(copy_to(x, "4", (int)f, &flat, NULL, &works_e));
		images_show(x, "flat", DISK_RAW, model, SIZE);
		WORKS(copy_to(x, "4", (int)f, &same, NULL, &works_e));
		images_show(x, "same", f, model, SIZE);
	}
	free(model);
}

/* Sectors of 512 bytes, data in every other one, to sectors of 4096. */
static void
small_sectors_become_large_ones(void **state)
{
	struct images *x = *state;
	uint8_t *model = calloc(1, SIZE), sector[512];
	struct disk_new n = { "new", false, DISK_VHDX, { .type = DISK_DYNAMIC, .logical = 4096 } };
	struct disk *d;

	if (!images_have(DISK_VHD) || !images_have(DISK_VHDX)) {
		free(model);
		skip();
	}
	images_make("base", DISK_VHD, SIZE, NULL);
	images_scribble(x, "base", DISK_VHD, model, 4);
	images_make("top", DISK_VHD, 0, "base");
	d = images_open(x, "top", DISK_VHD, true);
	memset(sector, 0x77, sizeof(sector));
	for (uint64_t off = 512; off < 64 << 10; off += 1024) {
		assert_int_equal(images_do(d, DISK_WRITE, off, sector, sizeof(sector)), 0);
		memset(model + off, 0x77, sizeof(sector));
	}
	images_close(d);
	WORKS(copy_to(x, "top", DISK_VHD, &n, NULL, &works_e));
	images_show(x, "new", DISK_VHDX, model, SIZE);
	free(model);
}

static void
zeros_and_holes_take_no_space(void **state)
{
	static const uint8_t data[4096] = { 1 };
	struct images *x = *state;
	uint8_t *zeros = calloc(1, 1 << 20);
	int fd = open("full.img", O_RDWR | O_CREAT, 0600);

	/* 16 MiB of zeros that were written, then a page of data, then a hole. */
	for (int i = 0; i < 16; i++)
		assert_int_equal(write(fd, zeros, 1 << 20), 1 << 20);
	assert_int_equal(pwrite(fd, data, sizeof(data), 16 << 20), sizeof(data));
	assert_int_equal(ftruncate(fd, LARGE), 0);
	close(fd);
	assert_true(space("full.img") >= 16 << 20);
	for (unsigned i = 0; i < KINDS; i++) {
		struct disk_new n = { "new", true, kinds[i].format,
			{ .type = kinds[i].type, .sparse_fixed = true } };

		if (!images_have(kinds[i].format))
			continue;
		WORKS(copy_to(x, "full.img", DISK_RAW, &n, NULL, &works_e));
		assert_true(space("new") < 8 << 20);
	}
	free(zeros);
}

/* Without the kernel's help: the copy goes through buffers, as it does between file systems. */
static void
buffers_do_the_same(void **state)
{
	struct images *x = *state;
	uint8_t *model = calloc(1, SIZE);
	char path[64];
	struct disk_new n = { path, true, DISK_RAW, { .type = DISK_FIXED, .sparse_fixed = true } };

	snprintf(path, sizeof(path), "/dev/shm/copy_test.%d", (int)getpid());

	images_make("source.img", DISK_RAW, SIZE, NULL);
	images_scribble(x, "source.img", DISK_RAW, model, 12);
	for (unsigned i = 0; i < KINDS; i++) {
		if (!images_have(kinds[i].format))
			continue;
		n.format = kinds[i].format;
		n.create.type = kinds[i].type;
		WORKS(copy_to(x, "source.img", DISK_RAW, &n, NULL, &works_e));
		images_show(x, n.path, n.format, model, SIZE);
	}
	unlink(n.path);
	free(model);
}

static void
zero_is_told_from_what_is_not(void **state)
{
	struct images *x = *state;
	uint8_t *model = calloc(1, SIZE);
	struct disk_new n = { "new", false, DISK_RAW, { .type = DISK_FIXED, .sparse_fixed = true } };
	struct disk *d;

	/* One byte at each place where a cheap look could miss it. */
	images_make("source.img", DISK_RAW, SIZE, NULL);
	d = images_open(x, "source.img", DISK_RAW, true);
	for (uint64_t run = 0; run < 64; run++)
		model[run * MOVER_RUN + run * run % MOVER_RUN + (run % 2 ? MOVER_RUN - 1 - run * run : 0)] =
		    1;
	assert_int_equal(images_do(d, DISK_WRITE, 0, model, SIZE), 0);
	images_close(d);
	WORKS(copy_to(x, "source.img", DISK_RAW, &n, NULL, &works_e));
	images_show(x, "new", DISK_RAW, model, SIZE);
	free(model);
}

/* --- whole or not at all ------------------------------------------------------------------------------- */

static bool
stop(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	unsigned *left = ctx;

	(void)phase, (void)done, (void)total;
	return (*left)-- == 0;
}

static void
broken_off_it_leaves_nothing(void **state)
{
	struct images *x = *state;
	struct disk_new n = { "new", false, DISK_RAW, { .type = DISK_FIXED, .sparse_fixed = true } };
	struct err e = { 0 };

	images_make("source.img", DISK_RAW, LARGE, NULL);
	for (unsigned after = 0; after < 3; after++) {
		unsigned left = after;
		const struct disk_progress p = { stop, &left };

		assert_int_equal(copy_to(x, "source.img", DISK_RAW, &n, &p, &e), -ECANCELED);
		assert_int_equal(access("new", F_OK), -1);
		assert_int_equal(access(".new.new", F_OK), -1);
	}
}

static void
what_is_there_stays_unless_it_shall_go(void **state)
{
	struct images *x = *state;
	struct disk_new n = { "old", false, DISK_RAW, { .type = DISK_FIXED, .sparse_fixed = true } };
	struct err e = { 0 };
	struct stat st;
	int fd;

	images_make("source.img", DISK_RAW, SIZE, NULL);
	images_make("old", DISK_RAW, 1 << 20, NULL);
	assert_int_equal(copy_to(x, "source.img", DISK_RAW, &n, NULL, &e), -EEXIST);
	n.replace = true;
	fd = open("old", O_RDWR);
	assert_int_equal(disk_lock(fd, false, &e), 0);
	assert_int_equal(copy_to(x, "source.img", DISK_RAW, &n, NULL, &e), -EAGAIN);
	assert_non_null(strstr(e.msg, "old"));
	close(fd);
	assert_int_equal(stat("old", &st), 0);
	assert_int_equal(st.st_size, 1 << 20);
	assert_int_equal(copy_to(x, "source.img", DISK_RAW, &n, NULL, &e), 0);
	assert_int_equal(stat("old", &st), 0);
	assert_int_equal(st.st_size, SIZE);
}

static void
two_do_not_write_the_same(void **state)
{
	struct new_file a, b;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(new_file_begin(&a, "new", false, &e), 0);
	assert_int_equal(new_file_begin(&b, "new", false, &e), -EAGAIN);
	assert_int_equal(write(a.fd, "x", 1), 1);
	assert_int_equal(new_file_end(&a, &e), 0);
	assert_int_equal(new_file_begin(&b, "new", false, &e), -EEXIST);
	assert_int_equal(new_file_begin(&b, "", false, &e), -EINVAL);
	assert_int_equal(new_file_begin(&b, "no/new", false, &e), -ENOENT);
	assert_int_equal(new_file_begin(&b, "new", true, &e), 0);
	new_file_abort(&b);
	assert_int_equal(access("new", F_OK), 0);
	assert_int_equal(access(".new.new", F_OK), -1);
}

/* Somebody else's file of that name, made meanwhile, is not replaced. */
static void
the_last_moment_counts(void **state)
{
	struct new_file a;
	struct err e = { 0 };
	int fd;

	(void)state;
	assert_int_equal(new_file_begin(&a, "new", false, &e), 0);
	fd = open("new", O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, "theirs", 6), 6);
	close(fd);
	assert_int_equal(new_file_end(&a, &e), -EEXIST);
	assert_int_equal(access(".new.new", F_OK), -1);
	assert_int_equal(access("new", F_OK), 0);
}

static void
a_smaller_disk_is_refused(void **state)
{
	struct images *x = *state;
	struct disk *from, *to;
	struct err e = { 0 };

	images_make("large", DISK_RAW, SIZE, NULL);
	images_make("small", DISK_RAW, SIZE - 4096, NULL);
	from = images_open(x, "large", DISK_RAW, false);
	to = images_open(x, "small", DISK_RAW, true);
	assert_int_equal(disk_copy(from, to, NULL, &e), -ENOSPC);
	disk_free(from);
	disk_free(to);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, images_setup, images_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_kind_becomes_every_other),
		TEST(a_chain_becomes_one_image),
		TEST(small_sectors_become_large_ones),
		TEST(zeros_and_holes_take_no_space),
		TEST(buffers_do_the_same),
		TEST(zero_is_told_from_what_is_not),
		TEST(broken_off_it_leaves_nothing),
		TEST(what_is_there_stays_unless_it_shall_go),
		TEST(two_do_not_write_the_same),
		TEST(the_last_moment_counts),
		TEST(a_smaller_disk_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
