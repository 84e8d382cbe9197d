/*
 * tests/unit/scsi_dvd_test.c - what every command of a DVD drive answers, with a medium and without, and what
 * the guest hears when the medium changes.
 */
#include "hypervisor/vsp/scsi.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/fake_scsi.h"

enum { BLOCKS = 1000, SIZE = BLOCKS * 2048, OUT = SCSI_OUT, IN = SCSI_IN, NO = SCSI_NO_DATA };

static int
setup(void **state)
{
	struct fake_scsi *x = calloc(1, sizeof(*x));

	fake_scsi_init(x, &scsi_dvd_type, SIZE, 2048);
	x->disk->disk.read_only = true;
	x->disk->disk.can_discard = false;
	x->u.attention = 0;
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	fake_scsi_free(*state);
	free(*state);
	return 0;
}

#define CDB(...)            \
	(const uint8_t[16]) \
	{                   \
		__VA_ARGS__ \
	}

struct row {
	uint8_t cdb[16];
	uint8_t len, dir;
	uint32_t room, sense, moved;
	bool overrun;
};

static void
expect(struct fake_scsi *x, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct row *r = &rows[i];
		uint32_t sense = fake_scsi_do(x, r->cdb, r->len, (enum scsi_dir)r->dir, r->room);

		if (sense != r->sense || x->c.moved != r->moved || x->c.overrun != r->overrun)
			fail_msg("row %zu (%02x): sense %06x, moved %u, overrun %d", i, r->cdb[0], sense,
			    x->c.moved, x->c.overrun);
	}
	assert_int_equal(x->u.users, 0);
}
#define EXPECT(x, rows) expect(x, rows, sizeof(rows) / sizeof((rows)[0]))

static void
every_command_answers_as_the_standards_say(void **state)
{
	static const struct row rows[] = {
		{ { 0x00 }, 6, NO, 0, 0, 0, 0 },
		{ { 0x12, 0, 0, 0, 36 }, 6, IN, 36, 0, 36, 0 },
		{ { 0x12, 1, 0, 0, 99 }, 6, IN, 99, 0, 7, 0 },
		{ { 0x12, 1, 0xb0, 0, 99 }, 6, IN, 99, 0x052400, 0, 0 },
		{ { 0x28, 0, 0, 0, 0, 5, 0, 0, 2 }, 10, IN, 4096, 0, 4096, 0 },
		{ { 0x28, 0, 0, 0, 3, 231, 0, 0, 1 }, 10, IN, 2048, 0, 2048, 0 },
		{ { 0x28, 0, 0, 0, 3, 231, 0, 0, 2 }, 10, IN, 4096, 0x052100, 0, 0 },
		{ { 0x28, 0, 0, 0, 0, 5, 0, 0, 2 }, 10, IN, 3000, 0, 2048, 1 },
		{ { 0xa8, 0, 0, 0, 0, 5, 0, 0, 0, 2 }, 12, IN, 4096, 0, 4096, 0 },
		{ { 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2 }, 16, IN, 4096, 0, 4096, 0 },
		{ { 0x2a, 0, 0, 0, 0, 5, 0, 0, 2 }, 10, OUT, 4096, 0x052000, 0, 0 },
		{ { 0x25 }, 10, IN, 8, 0, 8, 0 },
		{ { 0x35 }, 10, NO, 0, 0, 0, 0 },
		{ { 0x1e, 0, 0, 0, 1 }, 6, NO, 0, 0, 0, 0 },
		{ { 0x1e, 0, 0, 0, 0 }, 6, NO, 0, 0, 0, 0 },
		/* table of contents: formats, tracks, lengths */
		{ { 0x43, 0, 0, 0, 0, 0, 0, 0, 99 }, 10, IN, 99, 0, 20, 0 },
		{ { 0x43, 2, 0, 0, 0, 0, 0, 0, 99 }, 10, IN, 99, 0, 20, 0 },
		{ { 0x43, 0, 0, 0, 0, 0, 1, 0, 99 }, 10, IN, 99, 0, 20, 0 },
		{ { 0x43, 0, 0, 0, 0, 0, 0xaa, 0, 99 }, 10, IN, 99, 0, 12, 0 },
		{ { 0x43, 0, 0, 0, 0, 0, 2, 0, 99 }, 10, IN, 99, 0x052400, 0, 0 },
		{ { 0x43, 0, 0, 0, 0, 0, 0, 0, 12 }, 10, IN, 99, 0, 12, 0 },
		{ { 0x43, 0, 0, 0, 0, 0, 0, 0, 0 }, 10, IN, 99, 0, 0, 0 },
		{ { 0x43, 0, 1, 0, 0, 0, 0, 0, 99 }, 10, IN, 99, 0, 12, 0 },
		{ { 0x43, 0, 2, 0, 0, 0, 0, 0, 99 }, 10, IN, 99, 0, 48, 0 },
		{ { 0x43, 0, 0, 0, 0, 0, 0, 0, 99, 0x40 }, 10, IN, 99, 0, 12, 0 },
		{ { 0x43, 0, 5, 0, 0, 0, 0, 0, 99 }, 10, IN, 99, 0x052400, 0, 0 },
		/* the drive */
		{ { 0x46, 0, 0, 0, 0, 0, 0, 1, 0 }, 10, IN, 256, 0, 76, 0 },
		{ { 0x46, 1, 0, 0, 0, 0, 0, 1, 0 }, 10, IN, 256, 0, 76, 0 },
		{ { 0x46, 2, 0, 3, 0, 0, 0, 1, 0 }, 10, IN, 256, 0, 16, 0 },
		{ { 0x46, 2, 0xff, 0, 0, 0, 0, 1, 0 }, 10, IN, 256, 0, 8, 0 },
		{ { 0x46, 3, 0, 0, 0, 0, 0, 1, 0 }, 10, IN, 256, 0x052400, 0, 0 },
		{ { 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8 }, 10, IN, 8, 0, 8, 0 },
		{ { 0x4a, 1, 0, 0, 0x02, 0, 0, 0, 8 }, 10, IN, 8, 0, 4, 0 },
		{ { 0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8 }, 10, IN, 8, 0x052400, 0, 0 },
		{ { 0x51, 0, 0, 0, 0, 0, 0, 0, 34 }, 10, IN, 34, 0, 34, 0 },
		{ { 0x51, 1, 0, 0, 0, 0, 0, 0, 34 }, 10, IN, 34, 0x052400, 0, 0 },
		{ { 0x52, 1, 0, 0, 0, 1, 0, 0, 36 }, 10, IN, 36, 0, 36, 0 },
		{ { 0x52, 0, 0, 0, 0, 9, 0, 0, 36 }, 10, IN, 36, 0, 36, 0 },
		{ { 0x52, 0, 0, 0, 9, 9, 0, 0, 36 }, 10, IN, 36, 0x052400, 0, 0 },
		{ { 0x52, 1, 0, 0, 0, 2, 0, 0, 36 }, 10, IN, 36, 0x052400, 0, 0 },
		{ { 0x52, 3, 0, 0, 0, 1, 0, 0, 36 }, 10, IN, 36, 0x052400, 0, 0 },
		{ { 0xad, 0, 0, 0, 0, 0, 0, 0, 8, 4 }, 12, IN, 2052, 0, 2052, 0 },
		{ { 0xad, 0, 0, 0, 0, 0, 0, 1, 0, 99 }, 12, IN, 99, 0, 8, 0 },
		{ { 0xad, 0, 0, 0, 0, 0, 0, 0xff, 0, 99 }, 12, IN, 99, 0, 16, 0 },
		{ { 0xad, 0, 0, 0, 0, 0, 0, 3, 0, 99 }, 12, IN, 99, 0x052400, 0, 0 },
		{ { 0xad, 0, 0, 0, 0, 0, 1, 0, 0, 99 }, 12, IN, 99, 0x052400, 0, 0 },
		{ { 0xad, 1, 0, 0, 0, 0, 0, 0, 0, 99 }, 12, IN, 99, 0x052400, 0, 0 },
		{ { 0xac, 0x10, 0, 0, 0, 0, 0, 0, 0, 1 }, 12, IN, 24, 0, 24, 0 },
		{ { 0xac, 0x10, 0, 0, 0, 0, 0, 0, 0, 0 }, 12, IN, 24, 0, 8, 0 },
		{ { 0xac, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, 3 }, 12, IN, 24, 0x052400, 0, 0 },
		{ { 0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8 }, 12, IN, 8, 0, 8, 0 },
		{ { 0x5c, 0, 0, 0, 0, 0, 0, 0, 12 }, 10, IN, 12, 0, 12, 0 },
		{ { 0x5c, 1, 0, 0, 0, 0, 0, 0, 12 }, 10, IN, 12, 0x052400, 0, 0 },
		{ { 0xb6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 28 }, 12, OUT, 28, 0, 0, 0 },
		{ { 0xbb, 0, 255, 255, 255, 255 }, 12, NO, 0, 0, 0, 0 },
		{ { 0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 99 }, 10, IN, 99, 0, 30, 0 },
		{ { 0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 99 }, 10, IN, 99, 0, 42, 0 },
		{ { 0x5a, 0, 0x08, 0, 0, 0, 0, 0, 99 }, 10, IN, 99, 0x052400, 0, 0 },
		{ { 0x5a, 0, 0xea, 0, 0, 0, 0, 0, 99 }, 10, IN, 99, 0x053900, 0, 0 },
		{ { 0x1a, 0, 0x2a, 0, 99 }, 6, IN, 99, 0, 26, 0 },
		{ { 0x55, 0x10, 0, 0, 0, 0, 0, 0, 0 }, 10, NO, 0, 0, 0, 0 },
		{ { 0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 4, 0 }, 12, IN, 1024, 0, 4 + 25 * 8, 0 },
		{ { 0xbe }, 12, IN, 99, 0x052000, 0, 0 },
	};

	EXPECT((struct fake_scsi *)*state, rows);
}

static void
an_empty_drive_says_so_and_still_tells_what_it_is(void **state)
{
	static const struct row rows[] = {
		{ { 0x00 }, 6, NO, 0, 0x023a00, 0, 0 },
		{ { 0x28, 0, 0, 0, 0, 5, 0, 0, 2 }, 10, IN, 4096, 0x023a00, 0, 0 },
		{ { 0x25 }, 10, IN, 8, 0x023a00, 0, 0 },
		{ { 0x43, 0, 0, 0, 0, 0, 0, 0, 99 }, 10, IN, 99, 0x023a00, 0, 0 },
		{ { 0x51, 0, 0, 0, 0, 0, 0, 0, 34 }, 10, IN, 34, 0x023a00, 0, 0 },
		{ { 0xad, 0, 0, 0, 0, 0, 0, 0, 8, 4 }, 12, IN, 2052, 0x023a00, 0, 0 },
		{ { 0x1b, 0, 0, 0, 3 }, 6, NO, 0, 0x023a00, 0, 0 }, /* nothing to load */
		{ { 0x12, 0, 0, 0, 36 }, 6, IN, 36, 0, 36, 0 },
		{ { 0x46, 0, 0, 0, 0, 0, 0, 1, 0 }, 10, IN, 256, 0, 76, 0 },
		{ { 0x46, 1, 0, 0, 0, 0, 0, 1, 0 }, 10, IN, 256, 0, 48, 0 }, /* fewer are current */
		{ { 0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 99 }, 10, IN, 99, 0, 30, 0 },
		{ { 0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8 }, 12, IN, 8, 0, 8, 0 },
		{ { 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8 }, 10, IN, 8, 0, 8, 0 },
	};
	struct fake_scsi *x = *state;

	scsi_set_medium(&x->u, NULL);
	EXPECT(x, rows);
	assert_int_equal(x->buffer[5], 0); /* neither medium nor open tray */
	fake_scsi_do(x, CDB(0x03, 0, 0, 0, 18), 6, SCSI_IN, 18);
	assert_int_equal(x->buffer[2], 2);
	assert_int_equal(x->buffer[12], 0x3a);
}

static void
blocks_are_of_2048_bytes(void **state)
{
	struct fake_scsi *x = *state;

	fake_scsi_do(x, CDB(0x25), 10, SCSI_IN, 8);
	assert_int_equal(get_be32(x->buffer), BLOCKS - 1);
	assert_int_equal(get_be32(x->buffer + 4), 2048);
	fake_scsi_do(x, CDB(0x28, 0, 0, 0, 0, 5, 0, 0, 2), 10, SCSI_IN, 4096);
	assert_memory_equal(x->buffer, x->disk->data + 5 * 2048, 4096);
}

static void
the_table_of_contents_has_one_data_track(void **state)
{
	struct fake_scsi *x = *state;
	static const uint8_t tracks[] = { 0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 3,
		232 };

	fake_scsi_do(x, CDB(0x43, 0, 0, 0, 0, 0, 0, 0, 99), 10, SCSI_IN, 99);
	assert_memory_equal(x->buffer, tracks, sizeof(tracks));
	fake_scsi_do(x, CDB(0x43, 2, 0, 0, 0, 0, 0, 0, 99), 10, SCSI_IN, 99);
	assert_memory_equal(x->buffer + 8, ((uint8_t[]){ 0, 0, 2, 0 }), 4);    /* 150 frames */
	assert_memory_equal(x->buffer + 16, ((uint8_t[]){ 0, 0, 15, 25 }), 4); /* 1150 */
}

static void
the_profile_follows_the_medium(void **state)
{
	struct fake_scsi *x = *state;

	fake_scsi_do(x, CDB(0x46, 0, 0, 0, 0, 0, 0, 1, 0), 10, SCSI_IN, 256);
	assert_int_equal(get_be16(x->buffer + 6), 8);
	x->disk->disk.size = UINT64_C(4) << 30;
	fake_scsi_do(x, CDB(0x46, 0, 0, 0, 0, 0, 0, 1, 0), 10, SCSI_IN, 256);
	assert_int_equal(get_be16(x->buffer + 6), 0x10);
	x->disk->disk.size = SIZE;
	scsi_set_medium(&x->u, NULL);
	fake_scsi_do(x, CDB(0x46, 0, 0, 0, 0, 0, 0, 1, 0), 10, SCSI_IN, 256);
	assert_int_equal(get_be16(x->buffer + 6), 0);
}

static uint8_t
event(struct fake_scsi *x)
{
	fake_scsi_do(x, CDB(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), 10, SCSI_IN, 8);
	return x->buffer[4];
}

static void
a_new_medium_is_an_event_and_a_unit_attention(void **state)
{
	struct fake_scsi *x = *state;

	assert_int_equal(event(x), 0);
	assert_true(scsi_dvd_insert(&x->u, NULL, false));
	assert_int_equal(event(x), 3);
	assert_int_equal(x->buffer[5], 0);
	assert_int_equal(event(x), 0); /* told once */
	assert_true(scsi_dvd_insert(&x->u, fake_scsi_medium(x, 2 * SIZE, 2048), false));
	assert_int_equal(event(x), 2);
	assert_int_equal(x->buffer[5], 2);
	assert_int_equal(fake_scsi_do(x, CDB(0), 6, SCSI_NO_DATA, 0), 0x062800);
	assert_int_equal(fake_scsi_do(x, CDB(0), 6, SCSI_NO_DATA, 0), 0);
	fake_scsi_do(x, CDB(0x25), 10, SCSI_IN, 8);
	assert_int_equal(get_be32(x->buffer), 2 * BLOCKS - 1);
}

static void
a_locked_drive_keeps_its_medium_unless_it_is_forced(void **state)
{
	struct fake_scsi *x = *state;

	fake_scsi_do(x, CDB(0x1e, 0, 0, 0, 1), 6, SCSI_NO_DATA, 0);
	fake_scsi_do(x, CDB(0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 99), 10, SCSI_IN, 99);
	assert_int_equal(x->buffer[8 + 6], 0x2b); /* the page says so */
	assert_int_equal(fake_scsi_do(x, CDB(0x1b, 0, 0, 0, 2), 6, SCSI_NO_DATA, 0), 0x055302);
	assert_int_equal(x->ejected, 0);
	assert_false(scsi_dvd_insert(&x->u, NULL, false));
	assert_int_equal(event(x), 1); /* somebody wants it: the guest may let go */
	assert_non_null(x->u.medium);
	assert_true(scsi_dvd_insert(&x->u, NULL, true));
	assert_null(x->u.medium);
	assert_false(x->u.locked);
}

static void
the_guest_ejects_and_the_worker_hears_of_it(void **state)
{
	struct fake_scsi *x = *state;

	assert_int_equal(fake_scsi_do(x, CDB(0x1b, 0, 0, 0, 2), 6, SCSI_NO_DATA, 0), 0);
	assert_int_equal(x->ejected, 1);
	assert_null(x->u.medium);
	assert_int_equal(fake_scsi_do(x, CDB(0), 6, SCSI_NO_DATA, 0), 0x023a02); /* the tray is open */
	assert_int_equal(event(x), 3);
	assert_int_equal(x->buffer[5], 1);
	fake_scsi_do(x, CDB(0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8), 12, SCSI_IN, 8);
	assert_int_equal(x->buffer[1], 0x10);
	assert_int_equal(fake_scsi_do(x, CDB(0x1b, 0, 0, 0, 2), 6, SCSI_NO_DATA, 0), 0); /* once more */
	assert_int_equal(x->ejected, 1);
	assert_int_equal(fake_scsi_do(x, CDB(0x1b, 0, 0, 0, 3), 6, SCSI_NO_DATA, 0), 0x023a00);
	assert_int_equal(fake_scsi_do(x, CDB(0), 6, SCSI_NO_DATA, 0), 0x023a00); /* and closed */
	assert_true(scsi_dvd_insert(&x->u, fake_scsi_medium(x, SIZE, 512), false));
	assert_int_equal(fake_scsi_do(x, CDB(0), 6, SCSI_NO_DATA, 0), 0x062800);
	assert_int_equal(fake_scsi_do(x, CDB(0x1b, 0, 0, 0, 3), 6, SCSI_NO_DATA, 0), 0);
}

static void
a_medium_taken_out_while_it_is_read_ends_the_read_first(void **state)
{
	struct fake_scsi *x = *state;
	struct fake_disk *old = x->disk;
	uint8_t was[2048];

	memcpy(was, old->data, sizeof(was));
	old->hold = true;
	fake_scsi_begin(x, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1), 10, SCSI_IN, 2048);
	assert_true(scsi_dvd_insert(&x->u, fake_scsi_medium(x, SIZE, 2048), false));
	assert_int_equal(x->done, 0);
	fake_disk_release(old, 0); /* and it is freed */
	assert_int_equal(x->done, 1);
	assert_int_equal(x->c.status, SCSI_GOOD);
	assert_memory_equal(x->buffer, was, sizeof(was));
}

static void
error_recovery_can_be_set_as_drivers_do(void **state)
{
	struct fake_scsi *x = *state;
	static const uint8_t list[20] = { [8] = 1, 10, 0x20, 3 };
	static const uint8_t bad[30] = { [8] = 0x2a, 20, 0xff };

	memcpy(x->buffer, list, sizeof(list));
	assert_int_equal(fake_scsi_do(x, CDB(0x55, 0x10, 0, 0, 0, 0, 0, 0, 20), 10, SCSI_OUT, 20), 0);
	memcpy(x->buffer, bad, sizeof(bad));
	assert_int_equal(fake_scsi_do(x, CDB(0x55, 0x10, 0, 0, 0, 0, 0, 0, 30), 10, SCSI_OUT, 30), 0x052600);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(every_command_answers_as_the_standards_say),
		unit(an_empty_drive_says_so_and_still_tells_what_it_is),
		unit(blocks_are_of_2048_bytes),
		unit(the_table_of_contents_has_one_data_track),
		unit(the_profile_follows_the_medium),
		unit(a_new_medium_is_an_event_and_a_unit_attention),
		unit(a_locked_drive_keeps_its_medium_unless_it_is_forced),
		unit(the_guest_ejects_and_the_worker_hears_of_it),
		unit(a_medium_taken_out_while_it_is_read_ends_the_read_first),
		unit(error_recovery_can_be_set_as_drivers_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
