/*
 * tests/unit/fh_disk_test.c - fh-disk on real files: what its commands do, say, and end with.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hypervisor/disk/lock.h"

static char folder[64], out[1 << 20], err[4096];

/* Results of a shell's line; `fh-disk` is ours. */
static int
sh(const char *format, ...)
{
	char line[4096], all[8192];
	int status;
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	snprintf(all, sizeof(all), "{ %s ; } >out 2>err </dev/null", line);
	status = system(all);
	for (int i = 0; i < 2; i++) {
		FILE *f = fopen(i ? "err" : "out", "r");
		char *to = i ? err : out;
		size_t n = f ? fread(to, 1, (i ? sizeof(err) : sizeof(out)) - 1, f) : 0;

		to[n] = '\0';
		if (f)
			fclose(f);
	}
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define OK(...)                                                                  \
	do {                                                                     \
		int ok_rc = sh(__VA_ARGS__);                                     \
		if (ok_rc != 0)                                                  \
			fail_msg("%s: status %d: %s", #__VA_ARGS__, ok_rc, err); \
	} while (0)

static int
setup(void **state)
{
	char self[PATH_MAX - 64] = "", path[2 * PATH_MAX];

	(void)state;
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/bin:%s", dirname(dirname(dirname(self))), getenv("PATH"));
	setenv("PATH", path, 1);
	snprintf(folder, sizeof(folder), "/tmp/fh_disk_test.XXXXXX");
	return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int
teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return chdir("/") == 0 ? system(command) : -1;
}

static const char *const formats[] = { "vhd", "vhdx" };
#define EACH(f)                                                      \
	for (const char **each = (const char **)formats, *f = *each; \
	     each < (const char **)formats + 2 && (f = *each); each++)

/* --- the command line ---------------------------------------------------------------------------------- */

static void
it_says_how_it_is_called(void **state)
{
	(void)state;
	assert_int_equal(sh("fh-disk"), 2);
	assert_non_null(strstr(err, "usage: fh-disk create"));
	assert_int_equal(sh("fh-disk frobnicate"), 2);
	assert_non_null(strstr(err, "no command 'frobnicate'"));
	assert_int_equal(sh("fh-disk info"), 2);
	assert_int_equal(sh("fh-disk info --size 4 x"), 2);
	assert_non_null(strstr(err, "no --size"));
	assert_int_equal(sh("fh-disk create x 10Q"), 1);
	assert_non_null(strstr(err, "10Q"));
	OK("fh-disk --help");
	assert_non_null(strstr(out, "fh-disk bench"));
	OK("fh-disk merge --help");
	assert_null(strstr(out, "fh-disk bench"));
	assert_int_equal(sh("fh-disk info nothing.img"), 1);
	assert_non_null(strstr(err, "nothing.img"));
	assert_int_equal(sh("fh-disk info -f qed nothing.img"), 1);
	assert_non_null(strstr(err, "'qed' is no format"));
}

/* --- ranges -------------------------------------------------------------------------------------------- */

static void
what_is_written_is_read(void **state)
{
	(void)state;
	OK("fh-disk create a.img 8M");
	OK("fh-disk write --pattern 0102 a.img 1M 64K");
	OK("fh-disk read --pattern 0102 a.img 1M 64K");
	OK("fh-disk read --pattern 00 a.img 0 1M");
	assert_int_equal(sh("fh-disk read --pattern 0102 a.img 1M 65K"), 4);
	assert_non_null(strstr(err, "a.img: offset 1114112 is 00, expected is 01"));
	OK("fh-disk read a.img 1M 1024 | od -An -tx1 -N4");
	assert_non_null(strstr(out, "01 02 01 02"));
	OK("printf '%%01024d' 7 | fh-disk write --fua a.img 2M 1024; fh-disk read a.img 2M 1024 | tail -c 3");
	assert_string_equal(out, "007");
	assert_int_equal(sh("printf x | fh-disk write a.img 2M 1024"), 1);
	assert_non_null(strstr(err, "1023 bytes too early"));
	OK("fh-disk zero --unmap a.img 1M 32K; fh-disk discard a.img 0 4K; fh-disk flush a.img");
	OK("fh-disk read --pattern 00 a.img 1M 32K");
	assert_int_equal(sh("fh-disk read a.img 8M 512"), 1);
	assert_non_null(strstr(err, "offset 8388608, length 512"));
	assert_int_equal(sh("fh-disk read a.img 1 512"), 1);
}

static void
many_operations_on_one_image(void **state)
{
	(void)state;
	EACH(f)
	{
		OK("fh-disk create a.%s 8M", f);
		OK("fh-disk io a.%s 'write 0 1M aa' 'fua 4K 4K bb' 'unmap 8K 4K' flush 'read 4K 4K bb' 'read "
		   "8K 4K 00'",
		    f);
		assert_string_equal(out, "ok\nok\nok\nok\nok\nok\n");
		assert_int_equal(sh("fh-disk io a.%s 'read 0 4K bb' 'jump' 'read 0 4K aa'", f), 4);
		assert_non_null(strstr(out, "error: offset 0 is aa, expected is bb\nerror: 'jump'"));
		OK("printf 'read 0 4K aa\\n\\n# a remark\\nzero 0 4K\\nread 0 4K 00\\n' | fh-disk io a.%s",
		    f);
		OK("fh-disk io --read-only a.%s 'read 0 4K 00'", f);
		/* As if the power failed: what was flushed is there. */
		OK("fh-disk io a.%s 'write 2M 4K cc' flush 'write 3M 4K dd' crash 'write 4M 4K ee'", f);
		assert_string_equal(out, "ok\nok\nok\n");
		OK("fh-disk io a.%s 'read 2M 4K cc' 'read 4M 4K 00'", f);
		OK("fh-disk check a.%s", f);
	}
}

/* --- whole images -------------------------------------------------------------------------------------- */

static json_t *
answer(void)
{
	json_t *j = json_loads(out, JSON_DECODE_ANY, NULL);

	assert_non_null(j);
	return j;
}

static void
an_image_says_what_it_is(void **state)
{
	(void)state;
	EACH(f)
	{
		json_t *j;

		OK("fh-disk create --id 01234567-89ab-cdef-0123-456789abcdef a.%s 100M", f);
		OK("fh-disk info --json a.%s", f);
		j = answer();
		assert_int_equal(json_integer_value(json_object_get(j, "size")), 100 << 20);
		assert_string_equal(json_string_value(json_object_get(j, "type")), "dynamic");
		assert_string_equal(
		    json_string_value(json_object_get(j, "id")), "01234567-89ab-cdef-0123-456789abcdef");
		json_decref(j);
		OK("fh-disk create --parent a.%s b.%s", f, f);
		OK("fh-disk info --chain --json b.%s", f);
		j = answer();
		assert_int_equal(json_array_size(j), 2);
		json_decref(j);
		OK("fh-disk info --chain b.%s", f);
		assert_non_null(strstr(out, "differencing"));
		assert_non_null(strstr(out, "100 MiB"));
		OK("fh-disk set-id --new-id b.%s", f);
		assert_int_equal(sh("fh-disk set-id b.%s", f), 1);
		OK("fh-disk check --json a.%s", f);
		j = answer();
		assert_int_equal(json_integer_value(json_object_get(j, "damages")), 0);
		json_decref(j);
		OK("fh-disk create --type fixed c.%s 4M && fh-disk info c.%s", f, f);
		assert_non_null(strstr(out, "fixed"));
	}
}

/* Somebody writes the parent: only who knows that somebody makes a child of it. */
static void
a_child_of_an_image_in_use_has_to_be_meant(void **state)
{
	(void)state;
	EACH(f)
	{
		char path[PATH_MAX];
		int fd;

		OK("fh-disk create a.%s 16M", f);
		snprintf(path, sizeof(path), "a.%s", f);
		fd = open(path, O_RDWR | O_CLOEXEC);
		assert_int_equal(disk_lock(fd, true, NULL), 0);
		assert_int_equal(sh("fh-disk create --parent a.%s b.%s", f, f), 5);
		OK("fh-disk create --parent a.%s --parent-in-use b.%s", f, f);
		close(fd);
		OK("fh-disk info --chain b.%s", f);
		assert_int_equal(sh("fh-disk create --parent-in-use c.%s 16M", f), 1);
		assert_int_equal(sh("fh-disk info --parent-in-use b.%s", f), 2);
	}
}

static void
a_map_shows_which_file_has_what(void **state)
{
	(void)state;
	EACH(f)
	{
		json_t *j, *last;

		OK("fh-disk create a.%s 16M; fh-disk write --pattern 11 a.%s 0 1M", f, f);
		OK("fh-disk create --parent a.%s b.%s; fh-disk write --pattern 22 b.%s 2M 4K", f, f, f);
		OK("fh-disk map --json --length 4M b.%s", f);
		j = answer();
		assert_int_equal(json_integer_value(json_object_get(json_array_get(j, 0), "depth")), 1);
		assert_int_equal(
		    json_integer_value(json_object_get(json_array_get(j, 0), "length")), 1 << 20);
		last = json_array_get(j, json_array_size(j) - 1);
		assert_true(json_is_false(json_object_get(last, "data")));
		assert_int_equal(json_integer_value(json_object_get(last, "start")) +
				     json_integer_value(json_object_get(last, "length")),
		    4 << 20);
		json_decref(j);
		OK("fh-disk map b.%s", f);
		assert_non_null(strstr(out, "b."));
	}
}

static void
images_are_converted_and_merged(void **state)
{
	(void)state;
	EACH(f)
	{
		OK("mkdir -p sub && fh-disk create a.%s 16M && fh-disk write --pattern 11 a.%s 0 1M", f, f);
		OK("fh-disk create --parent a.%s sub/b.%s && fh-disk write --pattern 22 sub/b.%s 512K 1M", f,
		    f, f);
		OK("fh-disk create --parent sub/b.%s c.%s && fh-disk zero c.%s 256K 512K", f, f, f);
		OK("fh-disk convert -t raw c.%s c.img && fh-disk convert --type fixed c.%s fixed.%s", f, f,
		    f);
		OK("fh-disk io --read-only c.img 'read 0 256K 11' 'read 256K 512K 00' 'read 768K 768K 22' "
		   "'read 1536K 1M 00'");
		OK("fh-disk convert fixed.%s d.img && cmp c.img d.img", f);
		assert_int_equal(sh("fh-disk convert c.%s c.img", f), 1);
		assert_non_null(strstr(err, "c.img is there already"));
		OK("fh-disk merge c.%s && fh-disk convert --force sub/b.%s d.img && cmp c.img d.img", f, f);
		OK("fh-disk merge --levels all --delete c.%s && fh-disk convert --force a.%s d.img && cmp "
		   "c.img d.img",
		    f, f);
		assert_int_equal(access("sub/b.vhd", F_OK) & access("sub/b.vhdx", F_OK), -1);
		assert_int_equal(sh("fh-disk merge a.%s", f), 1);
		OK("fh-disk check a.%s && rm *.img", f);
	}
}

static void
nobody_loses_a_parent_to_a_merge(void **state)
{
	(void)state;
	EACH(f)
	{
		OK("mkdir -p sub && fh-disk create a.%s 16M && fh-disk write --pattern 11 a.%s 0 1M", f, f);
		OK("fh-disk create --parent a.%s sub/b.%s && fh-disk write --pattern 22 sub/b.%s 512K 1M", f,
		    f, f);
		OK("fh-disk create --parent sub/b.%s c.%s && fh-disk write --pattern 33 c.%s 1M 1M", f, f, f);
		OK("fh-disk convert -t raw c.%s c.img", f);
		/* In the middle: what is above shows the same. */
		assert_int_equal(sh("fh-disk merge --delete sub/b.%s", f), 1);
		assert_non_null(strstr(err, "is made on sub/b."));
		assert_non_null(strstr(err, "which would be deleted"));
		OK("fh-disk merge sub/b.%s && fh-disk convert -t raw --force c.%s d.img && cmp c.img d.img",
		    f, f);
		/* Beside it. */
		OK("fh-disk create --parent a.%s other.%s && fh-disk convert -t raw other.%s other.img", f, f,
		    f);
		assert_int_equal(sh("fh-disk merge sub/b.%s", f), 1);
		assert_non_null(strstr(err, "which would change under it"));
		assert_int_equal(sh("fh-disk merge --levels 2 c.%s", f), 1);
		OK("fh-disk convert -t raw --force other.%s d.img && cmp other.img d.img", f);
		OK("fh-disk merge --force sub/b.%s && rm other.%s", f, f);
		OK("fh-disk create --parent sub/b.%s other.%s", f, f);
		assert_int_equal(sh("fh-disk merge --levels all --delete c.%s", f), 1);
		assert_non_null(strstr(err, "whose parents would change or go"));
		OK("rm other.%s && fh-disk merge --levels all --delete c.%s && rm *.img", f, f);
	}
}

static void
a_parent_that_moved_is_linked_again(void **state)
{
	(void)state;
	EACH(f)
	{
		OK("mkdir -p away; fh-disk create a.%s 8M; fh-disk create --parent a.%s b.%s; mv a.%s away",
		    f, f, f, f);
		assert_int_equal(sh("fh-disk read b.%s 0 512", f), 1);
		assert_non_null(strstr(err, "parent of b."));
		OK("fh-disk read --search away b.%s 0 512", f);
		OK("fh-disk relink --parent away/a.%s b.%s && fh-disk read b.%s 0 512", f, f, f);
		OK("fh-disk create other.%s 8M", f);
		assert_int_equal(sh("fh-disk relink --parent other.%s b.%s", f, f), 1);
		assert_non_null(strstr(err, "--force"));
		OK("fh-disk relink --force --parent other.%s b.%s && fh-disk read b.%s 0 512", f, f, f);
		assert_int_equal(sh("fh-disk relink --force --parent b.%s b.%s", f, f), 1);
		assert_non_null(strstr(err, "itself"));
	}
}

static void
sizes_change(void **state)
{
	(void)state;
	EACH(f)
	{
		OK("fh-disk create a.%s 8M && fh-disk write --pattern 33 a.%s 7M 1M", f, f);
		OK("fh-disk resize a.%s 40M && fh-disk io --read-only a.%s 'read 7M 1M 33' 'read 8M 32M 00'",
		    f, f);
		OK("fh-disk zero a.%s 0 40M && fh-disk compact a.%s && fh-disk check a.%s", f, f, f);
		OK("fh-disk read --pattern 00 a.%s 0 40M", f);
	}
	OK("fh-disk create r.img 1M && fh-disk resize r.img 2M && fh-disk info r.img");
	assert_non_null(strstr(out, "2097152"));
}

/* --- use, cancelling ----------------------------------------------------------------------------------- */

static void
what_is_in_use_is_left_alone(void **state)
{
	(void)state;
	EACH(f)
	{
		OK("fh-disk create a.%s 8M && mkfifo go%s", f, f);
		OK("rm -f answer; fh-disk io a.%s <go%s >answer & exec 5>go%s; echo flush >&5; "
		   "until grep -qs ok answer; do :; done; "
		   "fh-disk write --pattern 11 a.%s 0 4K 2>why; [ $? = 5 ] && cat why && fh-disk info a.%s "
		   ">/dev/null && "
		   "! fh-disk create --force a.%s 1M; s=$?; exec 5>&-; wait; [ $s = 0 ]",
		    f, f, f, f, f, f);
		assert_non_null(strstr(out, "in use by fh-disk (process "));
	}
}

/* Once it has its lock it has its handlers, too. */
#define TERMINATE "p=$!; until grep -qs OFDLCK /proc/$p/fdinfo/*; do :; done; kill -TERM $p; wait $p"

static void
an_interrupted_command_ends_cleanly(void **state)
{
	(void)state;
	OK("fh-disk create a.img 2M && mkfifo pipe");
	assert_int_equal(sh("fh-disk write a.img 0 2M <pipe & exec 5>pipe; " TERMINATE), 130);
	OK("fh-disk bench --seconds 60 a.img & " TERMINATE);
	assert_non_null(strstr(out, "\"requests\""));
}

static void
speed_is_measured(void **state)
{
	(void)state;
	EACH(f)
	{
		json_t *j;

		OK("fh-disk create a.%s 64M", f);
		OK("fh-disk bench --op write --pattern stride --stride 2M --count 32 --flush-every 4 --depth "
		   "2 a.%s",
		    f);
		j = answer();
		assert_int_equal(json_integer_value(json_object_get(j, "requests")), 32);
		assert_true(json_integer_value(json_object_get(j, "flushes")) >= 7);
		json_decref(j);
		OK("fh-disk bench --count 100 --depth 16 --size 64K a.%s", f);
		OK("fh-disk check a.%s", f);
	}
	assert_int_equal(sh("fh-disk bench --depth 1000 a.vhd"), 1);
	assert_int_equal(sh("fh-disk bench --direct a.vhd"), 1);
	assert_non_null(strstr(err, "--direct: a.vhd has a block table and bitmaps in pieces of 512 bytes"));
}

/* --- import --------------------------------------------------------------------------------------------- */

static void
other_programs_images_are_imported(void **state)
{
	static const char *const kinds[] = { "qcow2", "vdi", "vmdk", "vmdk -o subformat=streamOptimized" };

	(void)state;
	if (access("/usr/bin/qemu-img", X_OK) < 0)
		skip();
	OK("fh-disk create s.img 20M && fh-disk write --pattern 010203 s.img 3M 777K");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		OK("qemu-img convert -f raw -O %s s.img s.other", kinds[i]);
		OK("fh-disk import -f $(echo %s | cut -d' ' -f1) --force s.other new.vhdx", kinds[i]);
		OK("fh-disk convert --force new.vhdx new.img && cmp s.img new.img");
		assert_int_equal(access(".new.vhdx.new", F_OK), -1);
	}
}

static void
what_names_other_files_is_not_imported(void **state)
{
	(void)state;
	if (access("/usr/bin/qemu-img", X_OK) < 0)
		skip();
	OK("fh-disk create s.img 20M");
	OK("qemu-img create -q -f qcow2 -b s.img -F raw child.qcow2");
	assert_int_equal(sh("fh-disk import -f qcow2 child.qcow2 new.vhdx"), 1);
	assert_non_null(strstr(err, "made on another image"));
	OK("qemu-img convert -f raw -O vmdk -o subformat=monolithicFlat s.img flat.vmdk");
	assert_int_equal(sh("fh-disk import -f vmdk flat.vmdk new.vhdx"), 1);
	OK("qemu-img create -q -f qcow2 -o data_file=data.raw outside.qcow2 20M");
	assert_int_equal(sh("fh-disk import -f qcow2 outside.qcow2 new.vhdx"), 1);
	assert_int_equal(sh("fh-disk import -f vdi child.qcow2 new.vhdx"), 1);
	assert_int_equal(sh("fh-disk import -f raw s.img new.vhdx"), 1);
	assert_non_null(strstr(err, "vmdk, qcow2 and vdi"));
	assert_int_equal(access("new.vhdx", F_OK), -1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_says_how_it_is_called),
		TEST(what_is_written_is_read),
		TEST(many_operations_on_one_image),
		TEST(an_image_says_what_it_is),
		TEST(a_child_of_an_image_in_use_has_to_be_meant),
		TEST(a_map_shows_which_file_has_what),
		TEST(images_are_converted_and_merged),
		TEST(nobody_loses_a_parent_to_a_merge),
		TEST(a_parent_that_moved_is_linked_again),
		TEST(sizes_change),
		TEST(what_is_in_use_is_left_alone),
		TEST(an_interrupted_command_ends_cleanly),
		TEST(speed_is_measured),
		TEST(other_programs_images_are_imported),
		TEST(what_names_other_files_is_not_imported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
