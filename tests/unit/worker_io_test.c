/*
 * tests/unit/worker_io_test.c - a worker's disks while their guest uses them: what it left in its rings when
 * it was saved, what its controller hears of disks that fail. The guest's driver works blind: what the host
 * says on the bus goes to a message page that is not there.
 */
#include "tests/unit/worker_guest.h"

#include "hypervisor/worker/disks.c"

enum { DATA_PAGE = 5000, RELID = 1, VSTOR = 64 };

static struct fake_channel channel;
static int image;

static int
setup_disk(void **state)
{
	setup(state);
	image = memfd_create("disk", MFD_CLOEXEC);
	if (ftruncate(image, 1 << 20) < 0 || !good("disk.add", "{\"Lun\":0,\"File\":0}", dup(image)))
		return -1;
	create(DOCUMENT(SMALL, ",\"Devices\":{\"ScsiControllers\":1}"));
	return good("start", "{}", -1) ? 0 : -1;
}

static int
teardown_disk(void **state)
{
	close(image);
	return teardown(state);
}

static void
operation(uint32_t op, uint16_t argument)
{
	uint8_t p[VSTOR] = { 0 };

	put_le32(p, op);
	put_le16(p + 12, argument);
	assert_true(fake_send(&channel, PACKET_INBAND, PACKET_WANTS_REPLY, op, NULL, 0, p, sizeof(p)));
	kick(RELID);
	await_packet(&channel, p, sizeof(p));
	assert_int_equal(get_le32(p + 8), 0);
}

static void
put_write(uint8_t opcode, bool attention)
{
	const uint64_t pfn = DATA_PAGE;
	uint8_t p[VSTOR] = { 3 }, ext[24] = { 0 };

	p[20] = 10;
	p[21] = 20;
	p[22] = attention ? 2 : 0;
	put_le32(p + 24, attention ? 0 : 512);
	p[28] = opcode;
	p[28 + 8] = 1;
	put_le32(ext + 4, 1);
	put_le32(ext + 8, 512);
	memcpy(ext + 16, &pfn, sizeof(pfn));
	memset(gmem_span(guest.mem, DATA_PAGE * GMEM_PAGE, GMEM_PAGE), 0xee, GMEM_PAGE);
	assert_true(
	    fake_send(&channel, PACKET_GPA_DIRECT, PACKET_WANTS_REPLY, 5, ext, sizeof(ext), p, sizeof(p)));
}

/* It is part of the saved state, and whoever restores that will do it: twice would be once too often. */
static void
what_a_saved_guest_left_in_its_ring_is_not_done_here(void **state)
{
	uint8_t block[512];

	(void)state;
	connect_guest();
	channel = open_rings(RELID);
	operation(7, 0);
	operation(9, 0x602);
	operation(10, 0);
	operation(8, 0);
	put_write(0, true); /* TEST UNIT READY takes the unit attention */
	kick(RELID);
	await_packet(&channel, block, VSTOR);
	assert_true(good("save", "{\"Stream\":0}", memfd_create("state", MFD_CLOEXEC)));
	assert_int_equal(f.w.state, STATE_SAVED);
	put_write(0x2a, false);
	assert_true(good("power_off", "{}", -1));
	for (unsigned i = 0; i < 10000 && !partition_let_go(f.w.p); i++) {
		poll(NULL, 0, 1);
		disks_work(f.w.disks);
	}
	assert_true(partition_let_go(f.w.p));
	assert_int_equal(pread(image, block, sizeof(block), 0), sizeof(block));
	assert_int_equal(block[0], 0);
	assert_int_equal(block[511], 0);
}

/* --- news ---------------------------------------------------------------------------------------------- */

static unsigned
count_heard(const char *word)
{
	unsigned n = 0;

	while (fake_told(&f)[0])
		n += strstr(f.heard, word) != NULL;
	return n;
}

static void
a_guest_that_reads_a_bad_disk_without_end_does_not_flood_its_controller(void **state)
{
	unsigned told = 0;
	char why[200];

	(void)state;
	for (int i = 0; i < 200; i++) {
		for (int k = 0; k < 20; k++) {
			on_failed(f.w.disks, 0, 0, DISK_READ, 0, EIO);
			on_ejected(f.w.disks, 0, 0);
		}
		disks_news(f.w.disks, why, sizeof(why));
		told += count_heard("\"disk\"");
	}
	assert_in_range(told, 1, 100);
}

static void
a_full_disk_is_heard_of_however_much_else_there_is_to_tell(void **state)
{
	char why[200] = "";

	(void)state;
	for (int i = 0; i < 1000; i++)
		on_slow(f.w.disks, 0, 1, 5);
	on_full(f.w.disks, 0, 3, ENOSPC);
	assert_true(disks_news(f.w.disks, why, sizeof(why)));
	assert_non_null(strstr(why, "disk 0:3"));
}

#define with_disk(t) cmocka_unit_test_setup_teardown(t, setup_disk, teardown_disk)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		with_disk(what_a_saved_guest_left_in_its_ring_is_not_done_here),
		with_disk(a_guest_that_reads_a_bad_disk_without_end_does_not_flood_its_controller),
		with_disk(a_full_disk_is_heard_of_however_much_else_there_is_to_tell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
