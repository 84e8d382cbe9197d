/*
 * tests/unit/worker_live_test.c - children and merges under a worker's machine as its controller asks for
 * them: real images in memory files, and what is in them afterwards. What a guest does meanwhile is
 * mirror_test.c's.
 */
#include "tests/unit/worker_case.h"

#include <errno.h>

#include "hypervisor/disk/format.h"
#include "hypervisor/disk/lock.h"

#define MACHINE DOCUMENT(SMALL, ",\"Devices\":{\"ScsiControllers\":1}")

enum { SIZE = 8 << 20, BLOCK = 1 << 20, PIECE = 8192, IMAGES = 4 };

static int file[IMAGES]; /* the test's own descriptors: 0 is the base, 1 its child, ... */

static int
setup_images(void **state)
{
	for (unsigned i = 0; i < IMAGES; i++)
		file[i] = memfd_create("image", MFD_CLOEXEC);
	return setup(state);
}

static int
teardown_images(void **state)
{
	int rc = teardown(state);

	for (unsigned i = 0; i < IMAGES; i++)
		close(file[i]);
	return rc;
}

/* --- images ----------------------------------------------------------------------------------------- */

/* Another description of the same file, as another process would have it. */
static int
open_again(unsigned n)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file[n]);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

static struct disk_info
info_of(enum disk_format_id format, unsigned n)
{
	struct disk_info info;
	struct disk_file *d;

	assert_int_equal(file_new(&d, NULL, open_again(n), true, NULL), 0);
	assert_int_equal(disk_formats[format]->info(d, &info, NULL), 0);
	file_free(d);
	return info;
}

static void
make(enum disk_format_id format, unsigned n)
{
	struct disk_create how = { .type = n ? DISK_DIFFERENCING : DISK_DYNAMIC,
		.size = SIZE,
		.block_size = format == DISK_VHDX ? BLOCK : 0,
		.parent_relative = n ? "parent.vhdx" : NULL };
	struct disk_info parent;
	struct disk_file *d;
	struct err e = { 0 };

	if (n) {
		parent = info_of(format, n - 1);
		how.parent = &parent;
	}
	assert_int_equal(file_new(&d, NULL, open_again(n), false, NULL), 0);
	if (disk_formats[format]->create(d, &how, NULL, &e) < 0)
		fail_msg("%s", e.msg);
	file_free(d);
}

/* The chain of images n, n - 1, ... 0 on a loop of its own. */
static struct disk *
open_chain(enum disk_format_id format, struct io_loop *l, unsigned n, bool write)
{
	struct disk *d = NULL;
	struct err e = { 0 };

	for (unsigned i = 0; i <= n; i++) {
		struct disk_open how = { .loop = l, .read_only = !write || i < n, .parent = d };

		assert_int_equal(file_new(&how.file, l, open_again(i), how.read_only, NULL), 0);
		if (disk_formats[format]->open(&d, &how, &e) < 0)
			fail_msg("%s", e.msg);
	}
	return d;
}

static struct io_loop *
loop_here(void)
{
	struct io_loop *l;

	assert_int_equal(io_loop_new(&l, NULL), 0);
	assert_int_equal(io_loop_here(l, NULL), 0);
	return l;
}

/* Writes a byte at every PIECE that has it in `pieces`, through image n and its parents. */
static void
write_pieces(enum disk_format_id format, unsigned n, uint64_t pieces)
{
	struct io_loop *l = loop_here();
	struct disk *d = open_chain(format, l, n, true);
	uint8_t buf[PIECE];

	memset(buf, (int)n + 1, sizeof(buf));
	for (unsigned i = 0; i < 64; i++) {
		struct iovec iov = { buf, sizeof(buf) };
		struct disk_io io = { .op = DISK_WRITE,
			.offset = (uint64_t)i * (SIZE / 64),
			.len = sizeof(buf),
			.iov = &iov,
			.iovs = 1 };

		if (pieces & 1ull << i)
			assert_int_equal(disk_wait(d, &io), 0);
	}
	assert_int_equal(disk_close(d, NULL), 0);
	disk_free(d);
	io_loop_free(l);
}

/* What is at each piece when image n is read with its parents. */
static void
read_pieces(enum disk_format_id format, unsigned n, uint8_t out[64])
{
	struct io_loop *l = loop_here();
	struct disk *d = open_chain(format, l, n, false);
	uint8_t buf[PIECE];

	for (unsigned i = 0; i < 64; i++) {
		struct iovec iov = { buf, sizeof(buf) };
		struct disk_io io = { .op = DISK_READ,
			.offset = (uint64_t)i * (SIZE / 64),
			.len = sizeof(buf),
			.iov = &iov,
			.iovs = 1 };

		assert_int_equal(disk_wait(d, &io), 0);
		out[i] = buf[0];
		for (unsigned b = 0; b < sizeof(buf); b++)
			assert_int_equal(buf[b], buf[0]);
	}
	disk_free(d);
	io_loop_free(l);
}

/* --- the worker ------------------------------------------------------------------------------------- */

/* A running machine with the chain that ends at image n. */
static void
start(enum disk_format_id format, unsigned n)
{
	char params[300], parents[100] = "";
	int fd[IMAGES];

	for (unsigned i = 0; i <= n; i++) {
		fd[i] = open_again(n - i);
		if (i)
			snprintf(parents + strlen(parents), sizeof(parents) - strlen(parents),
			    "%s{\"File\":%u}", i > 1 ? "," : "", i);
	}
	create(MACHINE);
	snprintf(params, sizeof(params), "{\"Lun\":0,\"Format\":\"%s\",\"File\":0,\"Parents\":[%s]}",
	    disk_formats[format]->name, parents);
	assert_says(ask_with("disk.add", params, fd, n + 1), DONE);
	ask("start", "{}", -1);
}

static const char *
ask_of(const char *method, int fd)
{
	return ask(method, fd < 0 ? "{\"Lun\":0}" : "{\"Lun\":0,\"File\":0}", fd);
}

static void
await(const char *what)
{
	char words[100], why[200];

	snprintf(words, sizeof(words), "\"What\":\"%s\"", what);
	for (int i = 0; i < 1000; i++) {
		struct pollfd p = { .fd = f.w.p->wake_fd, .events = POLLIN };

		if (poll(&p, 1, 10) > 0)
			partition_take_asked(f.w.p);
		disks_news(f.w.disks, why, sizeof(why));
		while (fake_told(&f)[0])
			if (strstr(f.heard, words))
				return;
	}
	fail_msg("no event %s", what);
}

static void
take_away(void)
{
	assert_says(ask_of("disk.remove", -1), DONE);
	await("Removed");
}

static bool
is_free(unsigned n, bool writing)
{
	int fd = open_again(n);
	bool is = disk_lock(fd, writing, NULL) == 0;

	close(fd);
	return is;
}

/* --- tests ------------------------------------------------------------------------------------------ */

static const enum disk_format_id formats[] = { DISK_VHDX, DISK_VHD };

static int
setup_again(void **state)
{
	return teardown_images(state) == 0 ? setup_images(state) : -1;
}

static void
a_child_is_put_on_top_and_merged_again(void **state)
{
	uint8_t before[64], after[64];

	for (unsigned i = 0; i < 2; i++) {
		make(formats[i], 0);
		write_pieces(formats[i], 0, 0x0f0f);
		read_pieces(formats[i], 0, before);
		start(formats[i], 0);
		make(formats[i], 1);
		assert_says(ask_of("disk.branch", open_again(1)), DONE);
		assert_false(is_free(1, false)); /* it is written */
		assert_true(is_free(0, false));  /* it is read by whoever will */
		assert_false(is_free(0, true));
		assert_says(ask_of("disk.merge", open_again(0)), DONE);
		await("Merged");
		assert_false(is_free(0, false));
		assert_says(ask("disk.list", "{}", -1), "\"Merge\":\"Merged\"");
		assert_says(ask_of("disk.merge.complete", -1), DONE);
		assert_says(ask("disk.list", "{}", -1), "\"Merge\":\"None\"");
		assert_true(is_free(1, true));
		take_away();
		read_pieces(formats[i], 0, after);
		assert_memory_equal(before, after, sizeof(before));
		assert_false(info_of(formats[i], 0).dirty);
		setup_again(state);
	}
}

static void
what_a_chain_holds_is_in_its_parent_afterwards(void **state)
{
	uint8_t before[64], after[64];

	for (unsigned i = 0; i < 2; i++)
		for (unsigned levels = 1; levels < 4; levels++) {
			char params[100];
			int fd[2] = { open_again(3 - levels), open_again(4 - levels) };

			for (unsigned n = 0; n < IMAGES; n++) {
				make(formats[i], n);
				write_pieces(formats[i], n, 0x123456789abcdefull << 4 * n);
			}
			read_pieces(formats[i], 3, before);
			start(formats[i], 3);
			snprintf(params, sizeof(params), "{\"Lun\":0,\"Levels\":%u,\"File\":0%s}", levels,
			    levels > 1 ? ",\"Above\":1" : "");
			if (levels == 1)
				close(fd[1]);
			assert_says(ask_with("disk.merge", params, fd, levels > 1 ? 2 : 1), DONE);
			await("Merged");
			read_pieces(formats[i], 3, after); /* the child, still: all of its names fit */
			assert_memory_equal(before, after, sizeof(before));
			assert_says(ask_of("disk.merge.complete", -1), DONE);
			take_away();
			read_pieces(formats[i], 3 - levels, after);
			assert_memory_equal(before, after, sizeof(before));
			setup_again(state);
		}
}

static void
a_merge_that_is_cancelled_leaves_the_chain(void **state)
{
	uint8_t before[64], after[64];

	for (unsigned i = 0; i < 2; i++) {
		for (unsigned n = 0; n < 2; n++) {
			make(formats[i], n);
			write_pieces(formats[i], n, 0x123456789abcdefull << 4 * n);
		}
		read_pieces(formats[i], 1, before);
		start(formats[i], 1);
		assert_says(ask_of("disk.merge", open_again(0)), DONE);
		await("Merged"); /* whoever asked has changed its mind */
		assert_says(ask_of("disk.merge.cancel", -1), DONE);
		await("MergeEnded");
		assert_true(is_free(0, false));
		assert_says(ask_of("disk.merge", open_again(0)), DONE); /* and once more */
		assert_says(ask_of("disk.merge.cancel", -1), DONE);
		await("MergeEnded");
		take_away();
		read_pieces(formats[i], 1, after);
		assert_memory_equal(before, after, sizeof(before));
		setup_again(state);
	}
}

static void
while_a_merge_lasts_others_wait(void **state)
{
	int stream = memfd_create("state", MFD_CLOEXEC);

	(void)state;
	for (unsigned n = 0; n < 3; n++)
		make(DISK_VHDX, n);
	start(DISK_VHDX, 1);
	assert_says(ask_of("disk.merge.complete", -1), "is not being merged");
	assert_says(ask_of("disk.merge.cancel", -1), "is not being merged");
	assert_says(ask_of("disk.merge", open_again(0)), DONE);
	assert_says(ask_of("disk.merge", open_again(0)), "disk 0:0 is being merged");
	assert_says(ask_of("disk.branch", open_again(2)), "disk 0:0 is being merged");
	assert_says(ask_of("disk.remove", -1), "disk 0:0 is being merged");
	assert_says(ask("save", "{\"Stream\":0}", stream), "saving the machine has to wait");
	assert_int_equal(f.w.state, STATE_RUNNING);
	await("Merged");
	assert_says(ask_of("disk.remove", -1), "disk 0:0 is being merged");
	assert_says(ask_of("disk.merge.complete", -1), DONE);
	take_away();
}

static void
a_merge_may_be_under_way_when_the_worker_ends(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 2; n++) {
		make(DISK_VHDX, n);
		write_pieces(DISK_VHDX, n, UINT64_MAX);
	}
	start(DISK_VHDX, 1);
	assert_says(ask_of("disk.merge", open_again(0)), DONE);
}

static void
what_does_not_fit_is_refused_and_nothing_has_changed(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 2; n++)
		make(DISK_VHDX, n);
	write_pieces(DISK_VHDX, 1, 0xff);
	start(DISK_VHDX, 1);
	make(DISK_VHDX, 2);
	write_pieces(DISK_VHDX, 2, 1);
	assert_says(ask_of("disk.branch", open_again(2)), "the child is not empty");
	assert_int_equal(ftruncate(file[2], 0), 0);
	assert_says(ask_of("disk.branch", open_again(2)), "disk 0:0");
	make(DISK_VHDX, 0); /* over the old one: another identity */
	assert_says(ask_of("disk.merge", open_again(2)), "File is not the file");
	assert_says(
	    ask("disk.merge", "{\"Lun\":0,\"Levels\":2,\"File\":0}", open_again(0)), "it has 1 parents");
	assert_says(ask_of("disk.merge", open_again(0)), "is not the one that the image was made on");
	assert_true(is_free(0, false));
	assert_int_equal(f.w.state, STATE_RUNNING);
	take_away();
}

static void
only_images_that_can_have_children_are_taken(void **state)
{
	int raw = open_again(0);

	(void)state;
	assert_int_equal(ftruncate(raw, SIZE), 0);
	assert_says(ask("disk.add", "{\"Lun\":0,\"File\":0}", raw), DONE);
	assert_says(ask_of("disk.branch", open_again(1)), "was not created yet");
	create(MACHINE);
	assert_says(ask_of("disk.branch", open_again(1)), "is no VHD or VHDX");
	assert_says(ask_of("disk.merge", open_again(1)), "is no VHD or VHDX");
	assert_says(ask("disk.branch", "{\"Lun\":5,\"File\":0}", open_again(1)), "there is no disk 0:5");
	assert_says(ask_of("disk.branch", -1), "File");
}

#define with_images(t) cmocka_unit_test_setup_teardown(t, setup_images, teardown_images)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_images(a_child_is_put_on_top_and_merged_again),
		with_images(what_a_chain_holds_is_in_its_parent_afterwards),
		with_images(a_merge_that_is_cancelled_leaves_the_chain),
		with_images(while_a_merge_lasts_others_wait),
		with_images(a_merge_may_be_under_way_when_the_worker_ends),
		with_images(what_does_not_fit_is_refused_and_nothing_has_changed),
		with_images(only_images_that_can_have_children_are_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
