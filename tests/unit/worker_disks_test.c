/*
 * tests/unit/worker_disks_test.c - a worker's disks as its controller asks for them: before there is a
 * machine and after, with every descriptor closed in the end. The guest's side is storage_test.c's.
 */
#include "tests/unit/worker_case.h"

static unsigned closed; /* disks that may be written */

static int
setup_disks(void **state)
{
	closed = 0;
	return setup(state);
}

static void
create_with(unsigned controllers)
{
	char text[600];

	snprintf(text, sizeof(text), DOCUMENT(SMALL, ",\"Devices\":{\"ScsiControllers\":%u}"), controllers);
	create(text);
}

static int
image(off_t size)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, size) < 0)
		abort();
	return fd;
}

/* Waits for the event that a unit is gone. */
static void
wait_removed(const char *place)
{
	for (int i = 0; i < 1000; i++) {
		struct pollfd p = { .fd = f.w.p->wake_fd, .events = POLLIN };
		char why[100];

		if (poll(&p, 1, 10) > 0)
			partition_take_asked(f.w.p);
		disks_news(f.w.disks, why, sizeof(why));
		while (fake_told(&f)[0])
			if (strstr(f.heard, "\"Removed\"")) {
				assert_says(f.heard, place);
				return;
			}
	}
	fail_msg("no event that it was removed");
}

static void
a_disk_may_come_before_the_machine(void **state)
{
	(void)state;
	assert_says(ask("disk.add", "{\"Lun\":3,\"File\":0}", image(1 << 20)), DONE);
	assert_says(ask("disk.add", "{\"Lun\":4,\"Type\":\"Dvd\"}", -1), DONE);
	create_with(1);
	assert_int_equal(f.w.state, STATE_OFF);
	assert_says(ask("disk.list", "{}", -1), "\"Lun\":3,\"Type\":\"VirtualDisk\"");
	assert_says(ask("disk.list", "{}", -1), "\"Lun\":4,\"Type\":\"Dvd\"");
}

static void
one_that_was_named_and_taken_back_is_not_there(void **state)
{
	(void)state;
	ask("disk.add", "{\"Lun\":3,\"File\":0}", image(1 << 20));
	assert_says(ask("disk.remove", "{\"Lun\":3}", -1), DONE);
	assert_says(ask("disk.remove", "{\"Lun\":3}", -1), "there is no disk 0:3");
	create_with(1);
	assert_says(ask("disk.list", "{}", -1), "\"Disks\":[]");
}

static void
a_machine_without_its_controller_is_not_made(void **state)
{
	(void)state;
	ask("disk.add", "{\"Controller\":1,\"Lun\":0,\"File\":0}", image(1 << 20));
	create_with(1);
	assert_true(f.w.quit);
}

static void
disks_come_and_go_while_it_runs(void **state)
{
	(void)state;
	create_with(4);
	ask("start", "{}", -1);
	for (int i = 0; i < 20; i++) {
		assert_says(ask("disk.add", "{\"Controller\":3,\"Lun\":63,\"File\":0}", image(4096)), DONE);
		assert_says(ask("disk.add", "{\"Controller\":3,\"Lun\":63,\"File\":0}", image(4096)),
		    "disk 3:63 is there already");
		assert_says(ask("disk.remove", "{\"Controller\":3,\"Lun\":63}", -1), DONE);
		wait_removed("\"Controller\":3,\"Lun\":63");
	}
	assert_says(ask("disk.list", "{}", -1), "\"Disks\":[]");
}

static void
what_cannot_be_a_disk_is_refused(void **state)
{
	static const struct {
		const char *params, *words;
		int size; /* of the file; -1: none */
	} bad[] = {
		{ "{\"File\":0}", "Lun", 4096 },
		{ "{\"Lun\":64,\"File\":0}", "Lun: 64 is not between 0 and 63", 4096 },
		{ "{\"Controller\":4,\"Lun\":0,\"File\":0}", "Controller: 4", 4096 },
		{ "{\"Controller\":1,\"Lun\":0,\"File\":0}", "the machine has 1 storage controllers", 4096 },
		{ "{\"Lun\":0}", "a disk needs one", -1 },
		{ "{\"Lun\":0,\"File\":0,\"LogicalSectorSize\":1024}", "512 or 4096", 4096 },
		{ "{\"Lun\":0,\"File\":0,\"Format\":\"Qcow2\"}", "Format", 4096 },
		{ "{\"Lun\":0,\"File\":0}", "disk 0:0", 0 },
		{ "{\"Lun\":0,\"File\":0}", "disk 0:0", 511 },
	};

	(void)state;
	create_with(1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *answer = ask(
		    "disk.add", bad[i].params, bad[i].size < 0 ? -1 : image(bad[i].size));

		assert_says(answer, "\"error\"");
		assert_says(answer, bad[i].words);
	}
	assert_says(ask("disk.list", "{}", -1), "\"Disks\":[]");
}

static void
a_medium_is_changed(void **state)
{
	(void)state;
	ask("disk.add", "{\"Lun\":1,\"Type\":\"Dvd\"}", -1);
	ask("disk.add", "{\"Lun\":0,\"File\":0}", image(4096));
	assert_says(ask("disk.insert", "{\"Lun\":1,\"File\":0}", image(4096)), DONE);
	create_with(1);
	assert_says(ask("disk.insert", "{\"Lun\":1,\"File\":0}", image(8192)), DONE);
	assert_says(ask("disk.insert", "{\"Lun\":1}", -1), DONE);
	assert_says(ask("disk.insert", "{\"Lun\":0,\"File\":0}", image(4096)), "is no DVD drive");
	assert_says(ask("disk.insert", "{\"Lun\":2,\"File\":0}", image(4096)), "there is no disk 0:2");
	assert_says(ask("disk.insert", "{\"Lun\":1,\"File\":0}", image(100)), "\"error\"");
}

static void
limits_and_size_are_set(void **state)
{
	(void)state;
	create_with(1);
	ask("disk.add", "{\"Lun\":0,\"File\":0}", image(1 << 20));
	assert_says(ask("disk.limit", "{\"Lun\":0,\"MaximumIops\":100}", -1), DONE);
	assert_says(ask("disk.limit", "{\"Lun\":1,\"MaximumIops\":100}", -1), "there is no disk 0:1");
	assert_says(ask("disk.resized", "{\"Lun\":0,\"SizeInBytes\":2097152}", -1), DONE);
	assert_says(ask("disk.resized", "{\"Lun\":9,\"SizeInBytes\":2097152}", -1), "there is no disk 0:9");
}

static void
a_machine_with_disks_is_saved_and_restored(void **state)
{
	int stream = memfd_create("state", MFD_CLOEXEC);

	(void)state;
	ask("disk.add", "{\"Lun\":0,\"File\":0}", image(1 << 20));
	create_with(1);
	ask("start", "{}", -1);
	assert_says(ask("save", "{\"Stream\":0}", dup(stream)), DONE);
	assert_int_equal(f.w.state, STATE_SAVED);
	fake_worker_free(&f);
	fake_worker_init(&f);
	lseek(stream, 0, SEEK_SET);
	ask("disk.add", "{\"Lun\":0,\"File\":0}", image(1 << 20));
	assert_says(restore(DOCUMENT(SMALL, ",\"Devices\":{\"ScsiControllers\":1}"), stream), DONE);
	assert_int_equal(f.w.state, STATE_PAUSED);
	assert_says(ask("disk.list", "{}", -1), "\"Lun\":0");
	assert_says(ask("resume", "{}", -1), "\"changed\":true");
}

/* --- images: in order when they go -------------------------------------------------------------------- */

int __real_disk_close(struct disk *d, struct err *e);
int __wrap_disk_close(struct disk *d, struct err *e);

int
__wrap_disk_close(struct disk *d, struct err *e)
{
	closed += !d->read_only;
	return __real_disk_close(d, e);
}

static void
make(int fd, enum disk_format_id format, const struct disk_create *how)
{
	struct disk_file *file;

	assert_int_equal(file_new(&file, NULL, dup(fd), false, NULL), 0);
	assert_int_equal(disk_formats[format]->create(file, how, NULL, NULL), 0);
	file_free(file);
}

static void
inform(int fd, enum disk_format_id format, struct disk_info *info)
{
	struct disk_file *file;

	assert_int_equal(file_new(&file, NULL, dup(fd), true, NULL), 0);
	assert_int_equal(disk_formats[format]->info(file, info, NULL), 0);
	file_free(file);
}

/* Writes and flushes, and then the power fails. */
static void
leave_dirty(int fd, enum disk_format_id format)
{
	struct disk_open how = { 0 };
	struct disk_info info;
	uint8_t b[4096] = { 0x5a };
	struct iovec iov = { b, sizeof(b) };
	struct disk_io io = { .op = DISK_WRITE, .len = sizeof(b), .iov = &iov, .iovs = 1 };
	struct disk *d;

	assert_int_equal(io_loop_new(&how.loop, NULL), 0);
	assert_int_equal(io_loop_here(how.loop, NULL), 0);
	assert_int_equal(file_new(&how.file, how.loop, dup(fd), false, NULL), 0);
	assert_int_equal(disk_formats[format]->open(&d, &how, NULL), 0);
	assert_int_equal(disk_wait(d, &io), 0);
	io = (struct disk_io){ .op = DISK_FLUSH };
	assert_int_equal(disk_wait(d, &io), 0);
	disk_free(d);
	io_loop_free(how.loop);
	inform(fd, format, &info);
	assert_true(info.dirty);
}

static void
images_that_were_cut_off_are_replayed_and_left_in_order(void **state)
{
	static const struct disk_create how = { .type = DISK_DYNAMIC, .size = 1 << 24 };
	struct disk_info info;
	char text[100];

	(void)state;
	create_with(1);
	for (enum disk_format_id format = DISK_VHD; format < DISK_FORMATS; format++) {
		int fd = image(0);

		make(fd, format, &how);
		leave_dirty(fd, format);
		snprintf(text, sizeof(text), "{\"Lun\":1,\"File\":0,\"Format\":\"%s\"}",
		    disk_formats[format]->name);
		assert_says(ask("disk.add", text, dup(fd)), DONE);
		assert_says(ask("disk.remove", "{\"Lun\":1}", -1), DONE);
		wait_removed("\"Lun\":1");
		inform(fd, format, &info);
		assert_false(info.dirty);
		assert_true(info.allocated > 0);
		close(fd);
	}
	assert_int_equal(closed, 2);
}

static void
a_chain_of_images_comes_with_its_descriptors(void **state)
{
	static const struct disk_create base = { .type = DISK_DYNAMIC, .size = 1 << 24 };

	(void)state;
	create_with(1);
	for (enum disk_format_id format = DISK_VHD; format < DISK_FORMATS; format++) {
		struct disk_info info[2];
		struct disk_create how = { .type = DISK_DIFFERENCING, .parent_relative = "base" };
		int fd[3], given[3];
		char text[200], swapped[200];

		for (int i = 2; i >= 0; i--) {
			fd[i] = image(0);
			make(fd[i], format, i == 2 ? &base : &how);
			inform(fd[i], format, &info[i & 1]);
			how.parent = &info[i & 1];
		}
		snprintf(text, sizeof(text),
		    "{\"Lun\":1,\"File\":0,\"Parents\":[{\"File\":1},{\"File\":2}],\"Format\":\"%s\"}",
		    disk_formats[format]->name);
		snprintf(swapped, sizeof(swapped),
		    "{\"Lun\":1,\"File\":0,\"Parents\":[{\"File\":2},{\"File\":1}],\"Format\":\"%s\"}",
		    disk_formats[format]->name);
		for (int i = 0; i < 3; i++)
			given[i] = dup(fd[i]);
		assert_says(ask_with("disk.add", swapped, given, 3), "\"error\"");
		for (int i = 0; i < 3; i++)
			given[i] = dup(fd[i]);
		assert_says(ask_with("disk.add", text, given, 3), DONE);
		assert_says(ask("disk.remove", "{\"Lun\":1}", -1), DONE);
		wait_removed("\"Lun\":1");
		for (int i = 0; i < 3; i++)
			close(fd[i]);
	}
}

static void
disks_are_closed_when_a_worker_ends_whose_machine_is_off(void **state)
{
	(void)state;
	create_with(1);
	ask("disk.add", "{\"Lun\":0,\"File\":0}", image(1 << 20));
	ask("disk.add", "{\"Lun\":1,\"Type\":\"Dvd\"}", -1);
	ask("disk.add", "{\"Lun\":2,\"File\":0}", image(1 << 20));
	ask("start", "{}", -1);
	ask("reset", "{}", -1);
	ask("power_off", "{}", -1);
	assert_int_equal(closed, 0);
	ask("quit", "{}", -1);
	assert_int_equal(closed, 2);
	assert_true(f.w.quit);
}

static void
a_running_machine_is_cut_off(void **state)
{
	(void)state;
	create_with(1);
	ask("disk.add", "{\"Lun\":0,\"File\":0}", image(1 << 20));
	ask("start", "{}", -1);
	ask("quit", "{}", -1);
	assert_int_equal(closed, 0);
}

/* Which of them are taken, and when a chain is refused, the teardown sees by what is left open. */
static void
parents_come_with_their_image(void **state)
{
	(void)state;
	for (int created = 0; created < 2; created++) {
		int fd[3] = { image(4096), image(4096), image(4096) };

		assert_says(ask_with("disk.add",
				"{\"Lun\":0,\"File\":0,\"Parents\":[{\"File\":1},{\"File\":2}]}", fd, 3),
		    "only a differencing image has some");
		fd[0] = image(4096);
		assert_says(ask_with("disk.add", "{\"Lun\":0,\"File\":0,\"Parents\":[{\"File\":0}]}", fd, 1),
		    "Parents[0].File");
		if (!created)
			create_with(1);
	}
}

#define with_disks(t) cmocka_unit_test_setup_teardown(t, setup_disks, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_disks(a_disk_may_come_before_the_machine),
		with_disks(one_that_was_named_and_taken_back_is_not_there),
		with_disks(a_machine_without_its_controller_is_not_made),
		with_disks(disks_come_and_go_while_it_runs),
		with_disks(what_cannot_be_a_disk_is_refused),
		with_disks(parents_come_with_their_image),
		with_disks(a_medium_is_changed),
		with_disks(limits_and_size_are_set),
		with_disks(images_that_were_cut_off_are_replayed_and_left_in_order),
		with_disks(a_chain_of_images_comes_with_its_descriptors),
		with_disks(disks_are_closed_when_a_worker_ends_whose_machine_is_off),
		with_disks(a_running_machine_is_cut_off),
		with_disks(a_machine_with_disks_is_saved_and_restored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
