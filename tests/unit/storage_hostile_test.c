/*
 * tests/unit/storage_hostile_test.c - a storage controller between a guest that closes and resets at the
 * worst moment, and a disk that fails at that moment.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define FAKE_LOOP_FILES 128
#include "tests/unit/fake_storage.h"

enum { RESET_BUS = 6, SRB_GOOD = 1, SRB_ERROR_SENSE = 0x84, CROWD = 90, CROWD_PAGES = 2 };

static struct fake_storage x;
static struct fake_disk *disk;

static int
setup(void **state)
{
	const struct unit_config config = { .kind = UNIT_DISK, .pause_on_full = true };
	const struct fake_srb ready = { .cdb_len = 6, .dir = 2 };
	uint8_t p[VSTOR_LEN];

	(void)state;
	fake_storage_init(&x);
	disk = fake_disk_new(x.loop, 1 << 20, 512);
	if (storage_add(x.s, 0, &config, &disk->disk, NULL) < 0 || fake_storage_open(&x, 0, 32) < 0 ||
	    !fake_handshake(&x, 0x602))
		abort();
	fake_srb(&x, 0, &ready, 0, p); /* the unit attention of power-on */
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fake_storage_free(&x);
	return 0;
}

static const struct fake_srb write_a_block = { { 0x2a, 0, 0, 0, 0, 3, 0, 0, 1, 0 }, 10, 0, 0, 0, 0, 512 };
static const struct fake_srb synchronize = { { 0x35 }, 10, 2, 0, 0, 0, 0 };

/* A write that has begun below and does not end yet. */
static void
begin_write(unsigned channel)
{
	disk->hold = true;
	assert_true(fake_srb_send(&x, channel, 1, &write_a_block, FAKE_DATA));
	fake_storage_run(&x);
}

static void
no_space_left(void)
{
	disk->fail[DISK_WRITE] = -ENOSPC;
	fake_disk_release_all(disk, false);
	fake_storage_run(&x);
}

static void
a_channel_that_closes_waits_for_no_space(void **state)
{
	(void)state;
	begin_write(0);
	x.c[0].ch.device->ops->close(x.c[0].ch.device, &x.c[0].ch);
	assert_int_equal(x.bus.closed, 0);
	no_space_left();
	assert_int_equal(x.bus.closed, 1);
	assert_int_equal(x.full, 0);
}

static void
a_reset_waits_for_no_space(void **state)
{
	uint8_t p[VSTOR_LEN] = { RESET_BUS };
	struct packet_head h;

	(void)state;
	begin_write(0);
	assert_true(fake_vstor_send(&x, 0, 2, p, sizeof(p)));
	fake_storage_run(&x);
	no_space_left();
	assert_int_equal(x.full, 0);
	assert_true(fake_vstor_recv(&x, 0, &h, p) > 0);
	assert_int_equal(h.transaction, 1);
	assert_int_equal(p[14], SRB_ERROR_SENSE);
	assert_true(fake_vstor_recv(&x, 0, &h, p) > 0);
	assert_int_equal(h.transaction, 2);
	assert_int_equal(get_le32(p + 8), 0);
	assert_int_equal(storage_pause(x.s, 0, NULL), 0);
	storage_resume(x.s);
}

/* What a flush could not write is lost to it: a second one would say that all is well. */
static void
a_flush_that_found_no_space_is_not_tried_again(void **state)
{
	uint8_t p[VSTOR_LEN];

	(void)state;
	disk->fail[DISK_FLUSH] = -ENOSPC;
	assert_int_equal(fake_srb(&x, 0, &synchronize, 0, p), SRB_ERROR_SENSE);
	assert_int_equal(x.full, 0);
	assert_int_equal(disk->begun[DISK_FLUSH], 1);
}

static struct fake_storage_channel crowd[CROWD];

static void
map_crowd(void)
{
	for (unsigned i = 0; i < CROWD; i++) {
		struct fake_storage_channel *c = &crowd[i];
		uint64_t first = FAKE_FIRST_PAGE + 300 + i * 2 * CROWD_PAGES, pfn[2 * CROWD_PAGES];

		for (unsigned n = 0; n < 2 * CROWD_PAGES; n++)
			pfn[n] = first + n;
		c->ch = (struct vmbus_channel){ .device = storage_device(x.s),
			.index = (uint16_t)(i + 1),
			.kick_fd = eventfd(0, EFD_NONBLOCK),
			.open = true };
		assert_int_equal(ring_pair_map(&c->ch.rings, x.f.mem, pfn, 2 * CROWD_PAGES, CROWD_PAGES), 0);
		assert_int_equal(c->ch.device->ops->open(c->ch.device, &c->ch, NULL), 0);
		c->guest = (struct fake_channel){ .f = &x.f };
		c->guest.out = fake_ring(&x.f, first, CROWD_PAGES);
		c->guest.in = fake_ring(&x.f, first + CROWD_PAGES, CROWD_PAGES);
	}
}

/* Sub-channels of before may still be closing when there are new ones: there is no number that is the most.
 */
static void
any_number_of_channels_may_close_in_one_moment(void **state)
{
	uint8_t p[VSTOR_LEN], ext[24] = { 0 };
	uint64_t pfn = FAKE_DATA / GMEM_PAGE;

	(void)state;
	map_crowd();
	disk->hold = true;
	fake_srb_packet(p, &write_a_block);
	put_le32(ext + 4, 1);
	put_le32(ext + 8, 512);
	memcpy(ext + 16, &pfn, sizeof(pfn));
	for (unsigned i = 0; i < CROWD; i++) {
		assert_true(fake_send(&crowd[i].guest, PACKET_GPA_DIRECT, PACKET_WANTS_REPLY, 1, ext,
		    sizeof(ext), p, sizeof(p)));
		eventfd_write(crowd[i].ch.kick_fd, 1);
	}
	fake_storage_run(&x);
	assert_int_equal(disk->n_held, CROWD);
	for (unsigned i = 0; i < CROWD; i++)
		crowd[i].ch.device->ops->close(crowd[i].ch.device, &crowd[i].ch);
	assert_int_equal(x.bus.closed, 0);
	fake_disk_release_all(disk, false);
	fake_storage_run(&x);
	assert_int_equal(x.bus.closed, CROWD);
	for (unsigned i = 0; i < CROWD; i++) {
		ring_pair_unmap(&crowd[i].ch.rings);
		close(crowd[i].ch.kick_fd);
	}
}

#define unit(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(a_channel_that_closes_waits_for_no_space),
		unit(a_reset_waits_for_no_space),
		unit(a_flush_that_found_no_space_is_not_tried_again),
		unit(any_number_of_channels_may_close_in_one_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
