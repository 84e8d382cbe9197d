/*
 * tests/unit/storage_swap_test.c - another disk under a unit while its guest runs: nothing is lost, nothing
 * is done by both, and the guest is told nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fake_storage.h"

enum { SIZE = 4 << 20, RING = 33, OK = 1, CHECK = 0x84, SOON_MS = 5, AT = 3 * 512, LEN = 4096 };

static const struct unit_config config = { .kind = UNIT_DISK };
static const struct fake_srb test_ready = { { 0 }, 6, 2, 0, 0, 0, 0 };
static const struct fake_srb read_8 = { { 0x28, 0, 0, 0, 0, 3, 0, 0, 8 }, 10, 1, 0, 0, 0, LEN };
static const struct fake_srb write_8 = { { 0x2a, 0, 0, 0, 0, 3, 0, 0, 8 }, 10, 0, 0, 0, 0, LEN };

struct fixture {
	struct fake_storage x;
	struct fake_disk *was, *is;
	struct io_round release; /* ends what `was` holds, after some rounds */
	unsigned rounds;
};

static void
release_later(void *ctx)
{
	struct fixture *f = ctx;

	if (f->rounds && --f->rounds == 0)
		fake_disk_release_all(f->was, false);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	uint8_t p[VSTOR_LEN];

	fake_storage_init(&f->x);
	f->release = (struct io_round){ .fn = release_later, .ctx = f };
	io_loop_each_round(f->x.loop, &f->release);
	f->was = fake_disk_new(f->x.loop, SIZE, 512);
	f->is = fake_disk_new(f->x.loop, SIZE, 512);
	memset(f->is->data, 0x33, SIZE);
	assert_int_equal(storage_add(f->x.s, 0, &config, &f->was->disk, NULL), 0);
	assert_int_equal(fake_storage_open(&f->x, 0, RING), 0);
	assert_true(fake_handshake(&f->x, 0x602));
	assert_int_equal(fake_srb(&f->x, 0, &test_ready, 0, p), CHECK); /* the power-on */
	*state = f;
	return 0;
}

/* The one that is under the unit is the controller's. */
static int
teardown(void **state)
{
	struct fixture *f = *state;
	struct disk *under = NULL;

	f->was->hold = f->is->hold = false;
	fake_disk_release_all(f->was, false);
	fake_disk_release_all(f->is, false);
	assert_int_equal(storage_rest(f->x.s, 0, SOON_MS, &under, NULL), 0);
	storage_go_on(f->x.s, 0);
	disk_free(under == &f->was->disk ? &f->is->disk : &f->was->disk);
	fake_storage_free(&f->x);
	free(f);
	return 0;
}

static void
rest(struct fixture *f)
{
	struct disk *d = NULL;
	struct err e = { 0 };

	assert_int_equal(storage_rest(f->x.s, 0, 1000, &d, &e), 0);
	assert_ptr_equal(d, &f->was->disk);
}

static void
exchange(struct fixture *f)
{
	struct err e = { 0 };

	assert_int_equal(storage_exchange(f->x.s, 0, &f->is->disk, &e), 0);
	storage_go_on(f->x.s, 0);
	fake_storage_run(&f->x);
}

/* The status of the answer to a transaction; -1: there is no answer yet. */
static int
answer(struct fixture *f, uint64_t transaction)
{
	struct packet_head h;
	uint8_t p[VSTOR_LEN];

	if (fake_vstor_recv(&f->x, 0, &h, p) < 0)
		return -1;
	assert_int_equal(h.transaction, transaction);
	return p[14];
}

static void
what_comes_meanwhile_goes_to_the_other_disk(void **state)
{
	struct fixture *f = *state;
	uint8_t *mine = gmem_span(f->x.f.mem, FAKE_DATA, LEN),
		*read = gmem_span(f->x.f.mem, FAKE_DATA * 2, LEN);
	struct unit_stats st;

	memset(mine, 0x77, LEN);
	rest(f);
	fake_srb_send(&f->x, 0, 1, &write_8, FAKE_DATA);
	fake_storage_run(&f->x);
	assert_int_equal(answer(f, 1), -1);
	storage_statistics(f->x.s, 0, &st);
	assert_int_equal(st.waiting, 1);
	assert_int_equal(st.in_flight, 0);
	exchange(f);
	assert_int_equal(answer(f, 1), OK);
	assert_int_equal(f->was->begun[DISK_WRITE], 0);
	assert_memory_equal(f->is->data + AT, mine, LEN);
	fake_srb_send(&f->x, 0, 2, &read_8, FAKE_DATA * 2);
	fake_storage_run(&f->x);
	assert_int_equal(answer(f, 2), OK); /* no unit attention, nothing */
	assert_memory_equal(read, mine, LEN);
	storage_statistics(f->x.s, 0, &st);
	assert_int_equal(st.waiting, 0);
	assert_int_equal(st.writes, 1);
}

static void
what_is_in_flight_ends_first(void **state)
{
	struct fixture *f = *state;

	f->was->hold = true;
	fake_srb_send(&f->x, 0, 1, &write_8, FAKE_DATA);
	fake_srb_send(&f->x, 0, 2, &read_8, FAKE_DATA * 2);
	fake_storage_run(&f->x);
	assert_int_equal(f->was->n_held, 2);
	f->rounds = 4;
	rest(f);
	assert_int_equal(f->was->n_held, 0);
	exchange(f);
	assert_int_equal(answer(f, 1), OK);
	assert_int_equal(answer(f, 2), OK);
	assert_int_equal(f->is->begun[DISK_WRITE] + f->is->begun[DISK_READ], 0);
}

/* An UNMAP of two ranges: the first was in flight. */
static void
a_command_in_the_middle_of_its_steps_goes_on_with_the_other_disk(void **state)
{
	static const struct fake_srb unmap = { { 0x42, 0, 0, 0, 0, 0, 0, 0, 40 }, 10, 0, 0, 0, 0, 40 };
	struct fixture *f = *state;
	uint8_t *list = gmem_span(f->x.f.mem, FAKE_DATA, 40);

	memset(list, 0, 40);
	put_be16(list, 38);
	put_be16(list + 2, 32);
	put_be64(list + 8, 16);
	put_be32(list + 16, 8);
	put_be64(list + 24, 64);
	put_be32(list + 32, 8);
	f->was->hold = true;
	fake_srb_send(&f->x, 0, 1, &unmap, FAKE_DATA);
	fake_storage_run(&f->x);
	f->rounds = 2;
	rest(f);
	assert_int_equal(f->was->begun[DISK_DISCARD], 1);
	exchange(f);
	assert_int_equal(answer(f, 1), OK);
	assert_int_equal(f->was->begun[DISK_DISCARD], 1);
	assert_int_equal(f->is->begun[DISK_DISCARD], 1);
	assert_int_equal(f->is->data[64 * 512], 0);
	assert_int_equal(f->is->data[16 * 512], 0x33);
}

static void
one_that_does_not_come_to_rest_goes_on(void **state)
{
	struct fixture *f = *state;
	struct disk *d;
	struct err e = { 0 };

	f->was->hold = true;
	fake_srb_send(&f->x, 0, 1, &read_8, FAKE_DATA);
	fake_storage_run(&f->x);
	assert_int_equal(storage_rest(f->x.s, 0, SOON_MS, &d, &e), -EBUSY);
	assert_non_null(strstr(e.msg, "1 requests to its disk have not ended"));
	f->was->hold = false;
	fake_disk_release_all(f->was, false);
	fake_srb_send(&f->x, 0, 2, &read_8, FAKE_DATA);
	fake_storage_run(&f->x);
	assert_int_equal(answer(f, 1), OK);
	assert_int_equal(answer(f, 2), OK);
}

static void
other_units_go_on(void **state)
{
	struct fixture *f = *state;
	struct fake_srb other = read_8;
	uint8_t p[VSTOR_LEN];

	assert_int_equal(
	    storage_add(f->x.s, 1, &config, &fake_disk_new(f->x.loop, SIZE, 512)->disk, NULL), 0);
	fake_storage_run(&f->x);
	while (fake_vstor_recv(&f->x, 0, &(struct packet_head){ 0 }, p) >= 0)
		;
	other.lun = 1;
	rest(f);
	fake_srb(&f->x, 0, &other, FAKE_DATA, p); /* its power-on */
	assert_int_equal(fake_srb(&f->x, 0, &other, FAKE_DATA, p), OK);
	storage_go_on(f->x.s, 0);
}

static void
a_limit_that_ends_meanwhile_lets_nothing_through(void **state)
{
	struct fixture *f = *state;
	struct unit_config slow = { .kind = UNIT_DISK, .max_iops = 1 };
	unsigned n = 0;

	assert_int_equal(storage_set_limits(f->x.s, 0, &slow, NULL), 0);
	for (uint64_t i = 1; i <= 3; i++)
		fake_srb_send(&f->x, 0, i, &read_8, FAKE_DATA);
	fake_storage_run(&f->x);
	n = f->was->begun[DISK_READ];
	assert_true(n < 3);
	rest(f);
	fake_loop_pass(f->x.loop, 20000000000);
	assert_int_equal(f->was->begun[DISK_READ], n);
	exchange(f);
	fake_loop_pass(f->x.loop, 20000000000);
	for (uint64_t i = 1; i <= 3; i++)
		assert_int_equal(answer(f, i), OK);
	assert_int_equal(f->is->begun[DISK_READ], 3 - n);
}

static void
a_reset_ends_what_waits(void **state)
{
	struct fixture *f = *state;
	uint8_t p[VSTOR_LEN] = { 6 };
	struct packet_head h = { 0 };

	rest(f);
	fake_srb_send(&f->x, 0, 1, &read_8, FAKE_DATA);
	fake_vstor_send(&f->x, 0, 2, p, sizeof(p));
	fake_storage_run(&f->x);
	assert_int_equal(answer(f, 1), CHECK);
	fake_vstor_recv(&f->x, 0, &h, p);
	assert_int_equal(h.transaction, 2);
	exchange(f);
	assert_int_equal(f->is->begun[DISK_READ], 0);
}

static void
a_channel_closes_meanwhile(void **state)
{
	struct fixture *f = *state;

	rest(f);
	fake_srb_send(&f->x, 0, 1, &read_8, FAKE_DATA);
	fake_storage_run(&f->x);
	fake_storage_close(&f->x, 0);
	assert_int_equal(f->x.bus.closed, 1);
	exchange(f);
	assert_int_equal(f->is->begun[DISK_READ], 0);
}

static void
a_disk_that_the_guest_would_notice_is_refused(void **state)
{
	struct fixture *f = *state;
	const struct disk good = f->is->disk;
	struct disk bad[4];
	struct err e;

	rest(f);
	for (unsigned i = 0; i < 4; i++)
		bad[i] = good;
	bad[0].size -= 512;
	bad[1].logical = 4096;
	bad[2].physical = 512;
	bad[3].read_only = true;
	for (unsigned i = 0; i < 4; i++) {
		f->is->disk = bad[i];
		e = (struct err){ 0 };
		assert_int_equal(storage_exchange(f->x.s, 0, &f->is->disk, &e), -EINVAL);
		assert_true(e.msg[0]);
	}
	f->is->disk = good;
	storage_go_on(f->x.s, 0);
	fake_srb_send(&f->x, 0, 1, &read_8, FAKE_DATA);
	fake_storage_run(&f->x);
	assert_int_equal(answer(f, 1), OK);
	assert_int_equal(f->was->begun[DISK_READ], 1);
}

/* Blocks that are given up go on to read zero, and giving them up goes on to work. */
static void
what_the_guest_was_told_of_discards_holds(void **state)
{
	static const struct fake_srb unmap = { { 0x42, 0, 0, 0, 0, 0, 0, 0, 24 }, 10, 0, 0, 0, 0, 24 };
	static const struct fake_srb capacity = { { 0x9e, 0x10, [13] = 32 }, 16, 1, 0, 0, 0, 32 };
	struct fixture *f = *state;
	uint8_t *list = gmem_span(f->x.f.mem, FAKE_DATA, 32);
	uint8_t p[VSTOR_LEN];

	memset(list, 0, 32);
	put_be16(list, 22);
	put_be16(list + 2, 16);
	put_be64(list + 8, 64);
	put_be32(list + 16, 8);
	f->is->disk.can_discard = f->is->disk.discard_zeroes = false;
	rest(f);
	exchange(f);
	assert_int_equal(fake_srb(&f->x, 0, &unmap, FAKE_DATA, p), OK);
	assert_int_equal(f->is->begun[DISK_ZERO], 1);
	assert_int_equal(f->is->data[64 * 512], 0);
	assert_int_equal(fake_srb(&f->x, 0, &capacity, FAKE_DATA, p), OK);
	assert_int_equal(list[14], 0xc0);
}

static void
there_must_be_a_disk(void **state)
{
	static const struct unit_config dvd = { .kind = UNIT_DVD };
	struct fixture *f = *state;
	struct disk *d;
	struct err e = { 0 };

	assert_int_equal(storage_add(f->x.s, 1, &dvd, NULL, NULL), 0);
	assert_int_equal(storage_rest(f->x.s, 1, SOON_MS, &d, &e), -ENOENT);
	assert_int_equal(storage_rest(f->x.s, 2, SOON_MS, &d, &e), -ENOENT);
	assert_int_equal(storage_rest(f->x.s, 64, SOON_MS, &d, &e), -ENOENT);
	assert_int_equal(storage_exchange(f->x.s, 1, &f->is->disk, &e), -ENOENT);
	storage_go_on(f->x.s, 64); /* of nobody: nothing */
}

#define unit(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(what_comes_meanwhile_goes_to_the_other_disk),
		unit(what_is_in_flight_ends_first),
		unit(a_command_in_the_middle_of_its_steps_goes_on_with_the_other_disk),
		unit(one_that_does_not_come_to_rest_goes_on),
		unit(other_units_go_on),
		unit(a_limit_that_ends_meanwhile_lets_nothing_through),
		unit(a_reset_ends_what_waits),
		unit(a_channel_closes_meanwhile),
		unit(a_disk_that_the_guest_would_notice_is_refused),
		unit(what_the_guest_was_told_of_discards_holds),
		unit(there_must_be_a_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
