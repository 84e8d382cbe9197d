/*
 * tests/unit/chain_test.c - chains: where parents are found, what is refused, and who has the locks.
 */
#include "tests/unit/images.h"

#include "hypervisor/disk/lock.h"

enum { SIZE = 4 << 20 };

static const enum disk_format_id formats[] = { DISK_VHD, DISK_VHDX };
static const char *const names[] = { [DISK_VHD] = "vhd", [DISK_VHDX] = "vhdx" };

#define EACH_FORMAT(f)                                                                           \
	for (size_t each = 0; each < 2; each++)                                                  \
		for (enum disk_format_id f = formats[each]; f != DISK_FORMATS && images_have(f); \
		     f = DISK_FORMATS)

/* "base.vhdx": static buffers, four of them. */
static const char *
named(const char *stem, enum disk_format_id f)
{
	static char name[4][64];
	static unsigned i;

	i = (i + 1) % 4;
	snprintf(name[i], sizeof(name[i]), "%s.%s", stem, names[f]);
	return name[i];
}

static int
open_chain(const char *path, const struct disk_search *search, struct err *e)
{
	const struct disk_chain_how how = { .format = DISK_GUESS, .search = search };
	struct disk_chain *c = NULL;
	int rc = disk_chain_open(&c, path, &how, e), n = rc < 0 ? rc : (int)c->n;

	disk_chain_free(c);
	return n;
}

static void
move(const char *from, const char *to)
{
	assert_int_equal(rename(from, to), 0);
}

static void
parents_are_found_from_the_childs_folder(void **state)
{
	struct err e = { 0 };

	(void)state;
	assert_int_equal(mkdir("sub", 0755), 0);
	assert_int_equal(mkdir("elsewhere", 0755), 0);
	EACH_FORMAT(f)
	{
		images_make(named("base", f), f, SIZE, NULL);
		images_make(named("sub/mid", f), f, 0, named("base", f));
		images_make(named("top", f), f, 0, named("sub/mid", f));
		assert_int_equal(open_chain(named("top", f), NULL, &e), 3);
		assert_int_equal(chdir("elsewhere"), 0); /* not from the process's */
		assert_int_equal(open_chain(named("../top", f), NULL, &e), 3);
		assert_int_equal(chdir(".."), 0);
	}
}

static void
a_moved_parent_is_searched_by_its_name(void **state)
{
	const char *const folders[] = { "nowhere", "store" };
	const struct disk_search search = { .folders = folders, .folders_n = 2 };
	struct err e = { 0 };

	(void)state;
	assert_int_equal(mkdir("store", 0755), 0);
	assert_int_equal(mkdir("sub", 0755), 0);
	EACH_FORMAT(f)
	{
		images_make(named("base", f), f, SIZE, NULL);
		images_make(named("sub/top", f), f, 0, named("base", f));
		move(named("base", f), named("store/base", f));
		assert_int_equal(open_chain(named("sub/top", f), NULL, &e), -ENOENT);
		assert_non_null(strstr(e.msg, "base."));
		assert_int_equal(open_chain(named("sub/top", f), &search, &e), 2);
		move(named("store/base", f), named("sub/base", f)); /* beside the child: no list needed */
		assert_int_equal(open_chain(named("sub/top", f), NULL, &e), 2);
	}
}

static void
nothing_leads_out_of_the_root(void **state)
{
	struct images *x = *state;
	char root[PATH_MAX], top[PATH_MAX + 32];
	struct disk_search search = { .root = root };
	struct err e = { 0 };

	assert_int_equal(mkdir("root", 0755), 0);
	assert_int_equal(mkdir("root/sub", 0755), 0);
	snprintf(root, sizeof(root), "%s/root", x->folder);
	EACH_FORMAT(f)
	{
		images_make(named("base", f), f, SIZE, NULL);
		images_make(named("root/top", f), f, 0, named("base", f));
		snprintf(top, sizeof(top), "%s/%s", root, named("top", f));
		assert_int_equal(open_chain(named("root/top", f), NULL, &e), 2);
		assert_int_equal(open_chain(top, &search, &e), -EXDEV);
		assert_int_equal(open_chain(named("top", f), &search, &e), -EXDEV); /* below the root */
		assert_int_equal(open_chain(named("base", f), &search, &e), -ENOENT);
		assert_int_equal(open_chain(named("../base", f), &search, &e), -EXDEV);
		assert_int_equal(symlink(named("../base", f), named("root/base", f)), 0);
		assert_int_equal(open_chain(named("top", f), &search, &e), -EXDEV);

		images_make(named("root/in", f), f, SIZE, NULL);
		images_make(named("root/sub/top", f), f, 0, named("root/in", f));
		assert_int_equal(open_chain(named("sub/top", f), &search, &e), 2); /* .. is no harm inside */
	}
}

static void
a_changed_parent_is_refused_with_advice(void **state)
{
	struct images *x = *state;
	uint8_t *model = calloc(1, SIZE);
	struct err e = { 0 };

	EACH_FORMAT(f)
	{
		images_make(named("base", f), f, SIZE, NULL);
		images_make(named("other", f), f, SIZE, NULL);
		images_make(named("top", f), f, 0, named("base", f));
		move(named("other", f), named("base", f));
		assert_int_equal(open_chain(named("top", f), NULL, &e), -ESTALE);
		assert_non_null(strstr(e.msg, "relink --force"));
		if (f != DISK_VHDX)
			continue;
		images_make("b.vhdx", f, SIZE, NULL);
		images_make("t.vhdx", f, 0, "b.vhdx");
		images_scribble(x, "b.vhdx", f, model, 8); /* zeros alone change nothing */
		assert_int_equal(open_chain("t.vhdx", NULL, &e), -ESTALE);
	}
	free(model);
}

static void
formats_are_not_mixed(void **state)
{
	struct err e = { 0 };

	(void)state;
	if (!images_have(DISK_VHD) || !images_have(DISK_VHDX))
		skip();
	images_make("base.vhd", DISK_VHD, SIZE, NULL);
	images_make("top.vhd", DISK_VHD, 0, "base.vhd");
	images_make("other.vhdx", DISK_VHDX, SIZE, NULL);
	move("other.vhdx", "base.vhd");
	assert_true(open_chain("top.vhd", NULL, &e) < 0);
	assert_non_null(strstr(e.msg, "one format"));
}

/* The only way to make a cycle is to write one: each child's parent by the other's name and identity. */
static void
a_cycle_is_refused(void **state)
{
	struct err e = { 0 };

	(void)state;
	EACH_FORMAT(f)
	{
		struct disk_chain *c;
		struct disk_file *file;

		images_make(named("base", f), f, SIZE, NULL);
		images_make(named("a", f), f, 0, named("base", f));
		images_make(named("b", f), f, 0, named("a", f));
		c = images_chain(named("a", f), (int)f, true);
		WORKS(disk_info_of(c->link[0]->fd, (int)f, &c->link[0]->info, &works_e));
		{
			struct disk_chain_how look = { .format = (int)f, .look = true };
			struct disk_chain *b = NULL;

			WORKS(disk_chain_open(&b, named("b", f), &look, &works_e));
			WORKS(disk_chain_file(&file, c, 0, true, &works_e));
			WORKS(disk_formats[f]->relink(
			    file, &b->link[0]->info, named("./b", f), NULL, &works_e));
			file_free(file);
			disk_chain_free(b);
		}
		disk_chain_free(c);
		assert_true(open_chain(named("b", f), NULL, &e) < 0);
		assert_true(e.code == ELOOP || e.code == ESTALE);
	}
}

static void
too_long_a_chain_is_refused(void **state)
{
	char name[2][32];
	struct err e = { 0 };

	(void)state;
	EACH_FORMAT(f)
	{
		snprintf(name[0], sizeof(name[0]), "0.%s", names[f]);
		images_make(name[0], f, SIZE, NULL);
		for (int i = 1; i <= DISK_CHAIN_MAX; i++) {
			struct disk_chain_how how = { .format = (int)f, .most = 1 };
			struct disk_chain *c = NULL;
			char relative[40];
			struct disk_new n = { .path = name[i % 2],
				.format = f,
				.create = { .type = DISK_DIFFERENCING,
				    .block_size = 1 << 20,
				    .parent_relative = relative } };

			WORKS(disk_chain_open(&c, name[!(i % 2)], &how, &works_e));
			snprintf(relative, sizeof(relative), "./%s", name[!(i % 2)]);
			snprintf(name[i % 2], sizeof(name[0]), "%d.%s", i, names[f]);
			n.create.parent = &c->link[0]->info;
			WORKS(disk_make(&n, NULL, &works_e));
			disk_chain_free(c);
			if (i == DISK_CHAIN_MAX - 1)
				assert_int_equal(open_chain(name[i % 2], NULL, &e), DISK_CHAIN_MAX);
		}
		assert_int_equal(open_chain(name[DISK_CHAIN_MAX % 2], NULL, &e), -ELOOP);
	}
}

static void
parents_are_shared_and_the_first_is_alone(void **state)
{
	struct err e = { 0 };

	(void)state;
	EACH_FORMAT(f)
	{
		const struct disk_chain_how write = { .format = (int)f, .write = true };
		const struct disk_chain_how look = { .format = (int)f, .look = true };
		struct disk_chain *a, *b, *no = NULL;

		images_make(named("base", f), f, SIZE, NULL);
		images_make(named("a", f), f, 0, named("base", f));
		images_make(named("b", f), f, 0, named("base", f));
		WORKS(disk_chain_open(&a, named("a", f), &write, &works_e));
		WORKS(disk_chain_open(&b, named("b", f), &write, &works_e));
		assert_int_equal(disk_chain_open(&no, named("a", f), &write, &e), -EAGAIN);
		assert_non_null(strstr(e.msg, "process"));
		assert_int_equal(disk_chain_open(&no, named("base", f), &write, &e), -EAGAIN);
		assert_int_equal(open_chain(named("a", f), NULL, &e), -EAGAIN);
		disk_chain_free(a);
		assert_int_equal(disk_chain_open(&no, named("base", f), &write, &e), -EAGAIN);
		WORKS(disk_chain_open(&no, named("b", f), &look, &works_e));
		disk_chain_free(no);
		disk_chain_free(b);
		assert_int_equal(open_chain(named("a", f), NULL, &e), 2);
	}
}

static void
only_files_are_parents(void **state)
{
	struct err e = { 0 };

	(void)state;
	EACH_FORMAT(f)
	{
		images_make(named("base", f), f, SIZE, NULL);
		images_make(named("top", f), f, 0, named("base", f));
		assert_int_equal(unlink(named("base", f)), 0);
		assert_int_equal(mkfifo(named("base", f), 0600), 0); /* to open it would wait for ever */
		assert_int_equal(open_chain(named("top", f), NULL, &e), -EINVAL);
		assert_non_null(strstr(e.msg, "not a file"));
		assert_int_equal(open_chain(named("base", f), NULL, &e), -EINVAL);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, images_setup, images_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(parents_are_found_from_the_childs_folder),
		TEST(a_moved_parent_is_searched_by_its_name),
		TEST(nothing_leads_out_of_the_root),
		TEST(a_changed_parent_is_refused_with_advice),
		TEST(formats_are_not_mixed),
		TEST(a_cycle_is_refused),
		TEST(too_long_a_chain_is_refused),
		TEST(parents_are_shared_and_the_first_is_alone),
		TEST(only_files_are_parents),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
