/* tests/unit/install_test.c - a whole installation onto an image file, and what must not be begun. Nothing is
 * mounted. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "installer/install.h"

static char top[64], medium[80], disk[80];
static struct answers answers;

static void
put(const char *name, const void *bytes, size_t n)
{
	char path[256], *slash;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", medium, name);
	for (slash = path + strlen(medium) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	fclose(f);
}

static void
make_disk(off_t size)
{
	int fd = open(disk, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static int
setup(void **state)
{
	uint8_t boot[512] = { [0x66] = 0xeb, [0x1fe] = 0x55, [0x1ff] = 0xaa },
		core[1500] = { [0x1fe] = 0x20, [0x1ff] = 8 };
	static uint8_t root[3 * 1024 * 1024 + 77];

	(void)state;
	snprintf(top, sizeof(top), "/tmp/install_test.XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(medium, sizeof(medium), "%s/medium", top);
	snprintf(disk, sizeof(disk), "%s/disk", top);
	mkdir(medium, 0700);
	for (size_t i = 0; i < sizeof(root); i++)
		root[i] = (uint8_t)(i * 7 + i / 4096);
	put("boot/root.squashfs", root, sizeof(root));
	put("boot/vmlinuz", "kernel", 6);
	put("boot/initrd", "initrd", 6);
	put("boot/install/boot.img", boot, sizeof(boot));
	put("boot/install/core.img", core, sizeof(core));
	put("boot/install/grub.cfg", "menu", 4);
	put("EFI/BOOT/BOOTX64.EFI", "shim", 4);
	put("EFI/BOOT/grubx64.efi", "grub", 4);
	put("EFI/BOOT/mmx64.efi", "mm", 2);
	make_disk(3LL << 30);
	memset(&answers, 0, sizeof(answers));
	strcpy(answers.hash, "$y$j9T$salt$hash");
	strcpy(answers.name, "host1");
	return 0;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int
teardown(void **state)
{
	(void)state;
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
quiet(void *ctx, const char *step, int percent)
{
	(void)ctx;
	(void)step;
	(void)percent;
}

static int
run(struct layout *l, struct err *e)
{
	struct install in = { .disk = disk, .medium = medium, .answers = &answers, .progress = quiet };

	memset(e, 0, sizeof(*e));
	return install_run(&in, l, e);
}

/* What a command prints, its first bytes. */
static void
output(const char *command, char *out, size_t size)
{
	FILE *f = popen(command, "r");
	size_t n;

	assert_non_null(f);
	n = fread(out, 1, size - 1, f);
	out[n] = '\0';
	pclose(f);
}

static void
the_disk_holds_everything_afterwards(void **state)
{
	char command[400], out[1024];
	uint8_t sector[512], back[4096], was[4096];
	struct layout l;
	struct err e;
	int fd, root;

	(void)state;
	if (run(&l, &e) < 0)
		fail_msg("%s", e.msg);
	fd = open(disk, O_RDONLY);
	assert_int_equal(pread(fd, sector, 512, 0), 512);
	assert_memory_equal(sector + 0x5c, "\0\x08\0\0\0\0\0\0", 8); /* core.img at 1 MiB */
	assert_int_equal(sector[0x1c2], 0xee); /* and the protective table is left alone */
	snprintf(command, sizeof(command), "%s/boot/root.squashfs", medium);
	root = open(command, O_RDONLY);
	for (off_t at = 0; pread(root, was, sizeof(was), at) == sizeof(was); at += (off_t)sizeof(was)) {
		assert_int_equal(
		    pread(fd, back, sizeof(back), (off_t)l.part[PART_SLOT_A].start + at), sizeof(back));
		assert_memory_equal(back, was, sizeof(was));
	}
	close(root);
	close(fd);
	snprintf(command, sizeof(command), "mtype -i %s@@%llu ::grub/disk.cfg", disk,
	    (unsigned long long)l.part[PART_BOOT].start);
	output(command, out, sizeof(out));
	assert_non_null(strstr(out, l.part[PART_SLOT_A].uuid));
	assert_non_null(strstr(out, l.part[PART_DATA].uuid));
	snprintf(command, sizeof(command), "mtype -i %s@@%llu ::slot-a/vmlinuz", disk,
	    (unsigned long long)l.part[PART_BOOT].start);
	output(command, out, sizeof(out));
	assert_string_equal(out, "kernel");
	snprintf(command, sizeof(command),
	    "/sbin/debugfs -R 'cat /system/etc/shadow' '%s?offset=%llu' 2>/dev/null", disk,
	    (unsigned long long)l.part[PART_DATA].start);
	output(command, out, sizeof(out));
	assert_non_null(strstr(out, "root:$y$j9T$salt$hash:"));
	snprintf(command, sizeof(command),
	    "/sbin/debugfs -R 'cat /system/host.json' '%s?offset=%llu' 2>/dev/null", disk,
	    (unsigned long long)l.part[PART_DATA].start);
	output(command, out, sizeof(out));
	assert_non_null(strstr(out, "\"Name\": \"host1\""));
}

static void
assert_untouched(off_t size)
{
	int fd = open(disk, O_RDONLY);
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, size);
	assert_int_equal(st.st_blocks, 0); /* it is still one hole */
	close(fd);
}

static void
nothing_is_written_when_the_medium_is_incomplete(void **state)
{
	char path[200];
	struct layout l;
	struct err e;

	(void)state;
	snprintf(path, sizeof(path), "%s/boot/initrd", medium);
	unlink(path);
	assert_true(run(&l, &e) < 0);
	assert_non_null(strstr(e.msg, "the medium lacks"));
	assert_untouched(3LL << 30);
}

static void
nothing_is_written_to_a_small_disk(void **state)
{
	struct layout l;
	struct err e;

	(void)state;
	make_disk(1 << 30);
	assert_true(run(&l, &e) < 0);
	assert_non_null(strstr(e.msg, "too small"));
	assert_untouched(1 << 30);
}

static void
nothing_is_written_when_the_system_is_larger_than_a_slot(void **state)
{
	char path[200];
	struct layout l;
	struct err e;

	(void)state;
	snprintf(path, sizeof(path), "%s/boot/root.squashfs", medium);
	assert_int_equal(truncate(path, 513LL << 20), 0);
	assert_true(run(&l, &e) < 0);
	assert_non_null(strstr(e.msg, "larger than a slot"));
	assert_untouched(3LL << 30);
}

static void
a_step_that_fails_is_named(void **state)
{
	struct layout l;
	struct err e;

	(void)state;
	put("boot/install/core.img", "this is not GRUB", 16);
	assert_true(run(&l, &e) < 0);
	assert_string_equal(e.msg, "Making the disk bootable: core.img is not GRUB's second part");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_disk_holds_everything_afterwards, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    nothing_is_written_when_the_medium_is_incomplete, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_written_to_a_small_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    nothing_is_written_when_the_system_is_larger_than_a_slot, setup, teardown),
		cmocka_unit_test_setup_teardown(a_step_that_fails_is_named, setup, teardown),
	};

	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
