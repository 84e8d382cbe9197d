/*
 * tests/unit/merge_test.c - merges: the parent shows what the top has shown, however far the top is above it;
 * one that is broken off or dies leaves a chain that opens, shows the same, and can be merged again.
 */
#include "tests/unit/images.h"

#include <sys/wait.h>

#include "hypervisor/disk/merge.h"
#include "hypervisor/disk/mover.h"

enum { SIZE = 70 << 20, LEVELS = 4 }; /* more than two steps */

static const char *const names[] = { "base", "one", "two", "top" };

struct family {
	struct images *x;
	enum disk_format_id format;
	uint8_t *model; /* what the top shows */
};

static void
make_family(struct family *f, struct images *x, enum disk_format_id format)
{
	*f = (struct family){ x, format, calloc(1, SIZE) };
	for (int i = 0; i < LEVELS; i++) {
		unlink(names[i]);
		images_make(names[i], format, SIZE, i ? names[i - 1] : NULL);
		images_scribble(x, names[i], format, f->model, 15);
	}
}

static int
merge(struct family *f, const char *top, unsigned into, const struct disk_progress *p, struct err *e)
{
	struct disk_chain *c = images_chain(top, (int)f->format, true);
	int rc = disk_merge(c, into, f->x->loop, p, e);

	disk_chain_free(c);
	return rc;
}

static void
check_image(struct family *f, const char *path)
{
	struct disk_check check = { 0 };
	struct disk_chain *c = images_chain(path, (int)f->format, false);
	struct disk_file *file;

	WORKS(disk_chain_file(&file, c, 0, false, &works_e));
	if (disk_formats[f->format]->check)
		WORKS(disk_formats[f->format]->check(file, &check, NULL, &works_e));
	file_free(file);
	disk_chain_free(c);
	assert_int_equal(check.faults[DISK_DAMAGE] + check.faults[DISK_REPAIRABLE], 0);
}

#define EACH_FORMAT(f, x)                                                    \
	for (enum disk_format_id each = DISK_VHD; each <= DISK_VHDX; each++) \
		for (struct family f = { NULL, DISK_RAW, NULL };             \
		     images_have(each) && !f.model && (make_family(&f, x, each), true); free(f.model))

static void
any_number_of_levels(void **state)
{
	EACH_FORMAT(f, *state)
	{
		for (unsigned into = 1; into < LEVELS; into++) {
			if (into > 1) {
				free(f.model);
				make_family(&f, *state, each);
			}
			WORKS(merge(&f, "top", into, NULL, &works_e));
			images_show(f.x, names[LEVELS - 1 - into], f.format, f.model, SIZE);
			images_show(f.x, "top", f.format, f.model, SIZE); /* it is there still */
			check_image(&f, names[LEVELS - 1 - into]);
		}
	}
}

static void
one_after_the_other(void **state)
{
	EACH_FORMAT(f, *state)
	for (int i = LEVELS - 1; i > 0; i--) {
		WORKS(merge(&f, names[i], 1, NULL, &works_e));
		assert_int_equal(unlink(names[i]), 0);
		images_show(f.x, names[i - 1], f.format, f.model, SIZE);
		images_scribble(f.x, names[i - 1], f.format, f.model, 3);
	}
}

static void
what_is_in_the_middle(void **state)
{
	EACH_FORMAT(f, *state)
	{
		struct disk_chain *c = images_chain("two", (int)f.format, false);
		uint8_t *two = malloc(SIZE);
		struct disk *d = images_open(f.x, "two", (int)f.format, false);

		assert_int_equal(images_do(d, DISK_READ, 0, two, SIZE), 0);
		disk_free(d);
		disk_chain_free(c);
		WORKS(merge(&f, "two", 2, NULL, &works_e));
		images_show(f.x, "base", f.format, two, SIZE);
		images_show(f.x, "two", f.format, two, SIZE);
		/* The top is a child of `two`, whose content and identity are what they were. */
		images_show(f.x, "top", f.format, f.model, SIZE);
		free(two);
	}
}

static bool
stop(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	unsigned *left = ctx;

	(void)phase, (void)done, (void)total;
	return (*left)-- == 0;
}

static void
broken_off_it_can_go_on(void **state)
{
	EACH_FORMAT(f, *state)
	{
		for (unsigned after = 0; after < 3; after++) {
			unsigned left = after;
			const struct disk_progress p = { stop, &left };
			struct err e = { 0 };

			assert_int_equal(merge(&f, "top", 2, &p, &e), -ECANCELED);
			images_show(f.x, "top", f.format, f.model, SIZE);
		}
		images_scribble(f.x, "top", f.format, f.model, 3); /* used meanwhile */
		WORKS(merge(&f, "top", 2, NULL, &works_e));
		images_show(f.x, "one", f.format, f.model, SIZE);
	}
}

static bool
die(void *ctx, const char *phase, uint64_t done, uint64_t total)
{
	if (stop(ctx, phase, done, total))
		_exit(0);
	return false;
}

static void
killed_it_can_go_on(void **state)
{
	EACH_FORMAT(f, *state)
	{
		for (unsigned after = 0; after < 3; after++) {
			unsigned left = after;
			const struct disk_progress p = { die, &left };
			struct err e = { 0 };
			int status;
			pid_t pid = fork();

			if (pid == 0) { /* with a loop of its own */
				if (io_loop_new(&f.x->loop, &e) == 0 && io_loop_here(f.x->loop, &e) == 0)
					merge(&f, "top", 3, &p, &e);
				_exit(1);
			}
			assert_int_equal(waitpid(pid, &status, 0), pid);
			assert_int_equal(status, 0);
			images_show(f.x, "top", f.format, f.model, SIZE);
		}
		WORKS(merge(&f, "top", 3, NULL, &works_e));
		images_show(f.x, "base", f.format, f.model, SIZE);
		check_image(&f, "base");
	}
}

static void
other_children_do_not_fit_any_more(void **state)
{
	struct images *x = *state;
	struct disk_chain *c = NULL;
	struct err e = { 0 };

	if (!images_have(DISK_VHDX))
		skip();
	EACH_FORMAT(f, x)
	{
		const struct disk_chain_how how = { .format = (int)f.format };

		if (f.format != DISK_VHDX)
			continue;
		images_make("other", f.format, 0, "two");
		WORKS(merge(&f, "top", 1, NULL, &works_e));
		assert_int_equal(disk_chain_open(&c, "other", &how, &e), -ESTALE);
	}
}

static void
what_cannot_be_merged_is_refused(void **state)
{
	EACH_FORMAT(f, *state)
	{
		struct err e = { 0 };
		struct disk_chain *reader;

		assert_int_equal(merge(&f, "top", 0, NULL, &e), -EINVAL);
		assert_int_equal(merge(&f, "top", LEVELS, NULL, &e), -EINVAL);
		reader = images_chain("one", (int)f.format, false);
		assert_int_equal(merge(&f, "top", 2, NULL, &e), -EAGAIN); /* somebody reads it */
		assert_non_null(strstr(e.msg, "one"));
		disk_chain_free(reader);
		images_show(f.x, "top", f.format, f.model, SIZE);
	}
}

/* --- live ------------------------------------------------------------------------------------------------
 */

static void
a_guests_writes_know_their_way(void **state)
{
	const struct merge_cursor at_rest = { 100, 100 }, moving = { 100, 200 };

	(void)state;
	assert_int_equal(merge_route(&at_rest, 0, 100), MERGE_BOTH);
	assert_int_equal(merge_route(&at_rest, 50, 100), MERGE_BOTH);
	assert_int_equal(merge_route(&at_rest, 100, 100), MERGE_TOP);
	assert_int_equal(merge_route(&moving, 0, 100), MERGE_BOTH);
	assert_int_equal(merge_route(&moving, 50, 51), MERGE_WAIT);
	assert_int_equal(merge_route(&moving, 100, 1), MERGE_WAIT);
	assert_int_equal(merge_route(&moving, 199, 100), MERGE_WAIT);
	assert_int_equal(merge_route(&moving, 50, 500), MERGE_WAIT);
	assert_int_equal(merge_route(&moving, 200, 1), MERGE_TOP);
}

static void
moved(void *ctx, int rc)
{
	assert_int_equal(rc, 0);
	*(bool *)ctx = true;
}

/* As header merge.h has it, between two steps: a guest that writes everywhere while the cursor goes along. */
static void
live_merge(struct family *f, struct disk *top, struct disk *parent)
{
	const struct mover_how how = { .from = top, .stop = parent, .to = parent, .live = true };
	struct merge_cursor at = { 0, 0 };
	struct mover *m;
	static uint8_t buf[64 << 10];

	WORKS(mover_new(&m, &how, &works_e));
	while (at.done < SIZE) {
		uint64_t off = images_random(f->x, (SIZE - sizeof(buf)) / 512) * 512, step = 5 << 20;
		bool done = false;

		memset(buf, (int)images_random(f->x, 256), sizeof(buf));
		memcpy(f->model + off, buf, sizeof(buf));
		assert_int_equal(images_do(top, DISK_WRITE, off, buf, sizeof(buf)), 0);
		if (merge_route(&at, off, sizeof(buf)) == MERGE_BOTH)
			assert_int_equal(images_do(parent, DISK_WRITE, off, buf, sizeof(buf)), 0);
		at.busy = at.done + step < SIZE ? at.done + step : SIZE;
		mover_step(m, at.done, at.busy - at.done, moved, &done);
		while (!done)
			assert_true(io_loop_once(f->x->loop));
		at.done = at.busy;
	}
	mover_free(m);
}

static void
a_merge_under_a_guest(void **state)
{
	EACH_FORMAT(f, *state)
	{
		struct disk_chain *c = images_chain("top", (int)f.format, true);
		struct disk_stack lower = { .from = 1, .loop = f.x->loop, .write = true, .keep_id = true };
		struct disk_stack upper = { .to = 1, .loop = f.x->loop, .write = true };
		struct disk *parent, *top;

		WORKS(disk_merge_prepare(c, 1, &works_e));
		WORKS(disk_chain_disk(&parent, c, &lower, &works_e));
		upper.below = parent;
		WORKS(disk_chain_disk(&top, c, &upper, &works_e));
		disk_chain_free(c);
		live_merge(&f, top, parent);
		assert_int_equal(images_do(parent, DISK_FLUSH, 0, NULL, 0), 0);
		WORKS(disk_close(parent, &works_e));
		images_close(top);
		images_show(f.x, "top", f.format, f.model, SIZE);
		images_show(f.x, "two", f.format, f.model, SIZE);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, images_setup, images_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(any_number_of_levels),
		TEST(one_after_the_other),
		TEST(what_is_in_the_middle),
		TEST(broken_off_it_can_go_on),
		TEST(killed_it_can_go_on),
		TEST(other_children_do_not_fit_any_more),
		TEST(what_cannot_be_merged_is_refused),
		TEST(a_guests_writes_know_their_way),
		TEST(a_merge_under_a_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
