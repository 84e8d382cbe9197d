/*
 * tests/unit/storage_test.c - the synthetic SCSI controller as its guest's driver and the worker see it.
 */
#include "hypervisor/vsp/storage.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/fake_storage.h"

enum {
	SIZE = 4 << 20,
	RING = 33, /* pages: 128 KiB of data, as Linux has it */
	VERSION = 0x602,

	OK = 1,
	CHECK = 0x84,
	INVALID_REQUEST = 6,
	OVERRUN = 0x12,
	INVALID_LUN = 0x20,
};

#define STATE_ERROR     0xc0000184u
#define PARAMETER_ERROR 0xc000000du
#define VERSION_ERROR   0xc0000059u

static const struct unit_config disk_config = { .kind = UNIT_DISK };
static const struct unit_config dvd_config = { .kind = UNIT_DVD };

static struct fake_disk *
add_disk(struct fake_storage *x, unsigned lun)
{
	struct fake_disk *d = fake_disk_new(x->loop, SIZE, 512);

	assert_int_equal(storage_add(x->s, lun, &disk_config, &d->disk, NULL), 0);
	return d;
}

static const struct fake_srb test_ready = { { 0 }, 6, 2, 0, 0, 0, 0 };
static const struct fake_srb read_8 = { { 0x28, 0, 0, 0, 0, 3, 0, 0, 8 }, 10, 1, 0, 0, 0, 4096 };
static const struct fake_srb write_8 = { { 0x2a, 0, 0, 0, 0, 3, 0, 0, 8 }, 10, 0, 0, 0, 0, 4096 };

struct fixture {
	struct fake_storage x;
	struct fake_disk *d;
};

/* An offered controller with a disk at LUN 0. */
static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_storage_init(&f->x);
	f->d = add_disk(&f->x, 0);
	*state = f;
	return 0;
}

/* A driver is there, and has heard of the power-on. */
static int
setup_ready(void **state)
{
	struct fixture *f;
	uint8_t p[VSTOR_LEN];

	setup(state);
	f = *state;
	assert_int_equal(fake_storage_open(&f->x, 0, RING), 0);
	assert_true(fake_handshake(&f->x, VERSION));
	assert_int_equal(fake_srb(&f->x, 0, &test_ready, 0, p), CHECK);
	return 0;
}

static int
teardown(void **state)
{
	fake_storage_free(&((struct fixture *)*state)->x);
	free(*state);
	return 0;
}

/* The number of answers that wait for the guest; they are taken. */
static unsigned
answers(struct fake_storage *x, unsigned i)
{
	struct packet_head h;
	uint8_t p[VSTOR_LEN];
	unsigned n = 0;

	while (fake_vstor_recv(x, i, &h, p) >= 0)
		n++;
	return n;
}

static uint8_t *
data(struct fake_storage *x, uint64_t gpa, size_t len)
{
	return gmem_span(x->f.mem, gpa, len);
}

/* --- The handshake --- */

static void
every_version_of_windows_and_linux_is_spoken(void **state)
{
	static const uint16_t spoken[] = { 0x602, 0x600, 0x501, 0x402, 0x200 };
	static const uint16_t others[] = { 0, 0x100, 0x500, 0x502, 0x601, 0x603, 0x700, 0xffff };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(spoken) / sizeof(spoken[0]); i++) {
		assert_int_equal(fake_storage_open(&f->x, 0, RING), 0);
		assert_int_equal(fake_vstor_op(&f->x, 7, 0), 0);
		assert_int_equal(storage_version(f->x.s), 0);
		for (size_t n = 0; n < sizeof(others) / sizeof(others[0]); n++)
			assert_int_equal(fake_vstor_op(&f->x, 9, others[n]), VERSION_ERROR);
		assert_int_equal(fake_vstor_op(&f->x, 9, spoken[i]), 0);
		assert_int_equal(storage_version(f->x.s), spoken[i]);
		assert_int_equal(fake_vstor_op(&f->x, 10, 0), 0);
		assert_int_equal(fake_vstor_op(&f->x, 8, 0), 0);
		fake_storage_close(&f->x, 0);
		assert_int_equal(storage_version(f->x.s), 0);
	}
	assert_int_equal(f->x.bus.closed, 5);
}

static void
properties_promise_transfers_of_1_mib_and_sub_channels(void **state)
{
	struct fixture *f = *state;
	uint8_t p[VSTOR_LEN] = { 10, 0, 0, 0, 1 };

	fake_storage_open(&f->x, 0, RING);
	fake_vstor_op(&f->x, 7, 0);
	fake_vstor_op(&f->x, 9, VERSION);
	assert_int_equal(fake_vstor(&f->x, 0, p, sizeof(p)), 0);
	assert_int_equal(get_le16(p + 16), FAKE_SUBCHANNELS);
	assert_int_equal(get_le32(p + 20), 1);
	assert_int_equal(get_le32(p + 24), 1 << 20);
}

/* What each operation is answered in each state of the handshake. */
enum { START, BEGUN, AGREED, TOLD, READY, STATES };

static void
to_state(struct fake_storage *x, unsigned state)
{
	static const struct {
		uint32_t op;
		uint16_t argument;
	} steps[] = { { 7, 0 }, { 9, VERSION }, { 10, 0 }, { 8, 0 } };

	fake_storage_close(x, 0);
	assert_int_equal(fake_storage_open(x, 0, RING), 0);
	for (unsigned i = 0; i < state; i++)
		assert_int_equal(fake_vstor_op(x, steps[i].op, steps[i].argument), 0);
}

static bool
is_right(uint32_t op, unsigned state)
{
	static const unsigned states[16] = { [7] = 1 << START,
		[9] = 1 << BEGUN | 1 << AGREED,
		[10] = 1 << AGREED,
		[8] = 1 << TOLD,
		[13] = 1 << TOLD | 1 << READY,
		[3] = 1 << READY,
		[4] = 1 << READY,
		[5] = 1 << READY,
		[6] = 1 << READY };

	return op < 16 && (states[op] & 1u << state);
}

/* In-band, with any payload: the protocol looks at 48 bytes at least and at 64 at most. */
static void
every_operation_in_every_state_with_every_length(void **state)
{
	static const size_t lengths[] = { 0, 1, 8, 40, 47, 48, 49, 56, 63, 64, 65, 72, 4000, 8000 };
	static uint8_t packet[8192];
	struct fixture *f = *state;
	struct packet_head h;
	uint8_t p[VSTOR_LEN];

	for (uint32_t op = 0; op < 17; op++)
		for (unsigned st = 0; st < STATES; st++)
			for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
				size_t rounded = (lengths[l] + 7) / 8 * 8;
				bool fits = rounded >= 48 && rounded <= 4000;
				uint32_t want = PARAMETER_ERROR;
				long n;

				to_state(&f->x, st);
				memset(packet, 0, sizeof(packet));
				put_le32(packet, op == 16 ? UINT32_MAX : op);
				put_le16(packet + 12, op == 9 ? VERSION : 1);
				packet[20] = op == 3 ? 6 : 0; /* a CDB: TEST UNIT READY */
				assert_true(fake_vstor_send(&f->x, 0, op + 1000, packet, lengths[l]));
				assert_true(fake_storage_run(&f->x));
				n = fake_vstor_recv(&f->x, 0, &h, p);
				if (fits)
					want = is_right(op, st) ? 0 : STATE_ERROR;
				if (n != (rounded < 64 ? 48 : 64) || h.type != PACKET_COMPLETION ||
				    h.transaction != op + 1000 || get_le32(p) != 1 || get_le32(p + 8) != want)
					fail_msg("operation %u in state %u with %zu bytes: %ld, status %08x",
					    op, st, lengths[l], n, get_le32(p + 8));
				assert_int_equal(answers(&f->x, 0), 0);
			}
	assert_int_equal(f->x.bus.broke, 0);
}

static void
a_packet_that_wants_no_answer_gets_none(void **state)
{
	struct fixture *f = *state;
	uint8_t p[VSTOR_LEN];

	fake_srb_packet(p, &test_ready);
	assert_true(fake_send(&f->x.c[0].guest, PACKET_INBAND, 0, 5, NULL, 0, p, sizeof(p)));
	fake_storage_run(&f->x);
	assert_int_equal(answers(&f->x, 0), 0);
	assert_int_equal(fake_srb(&f->x, 0, &test_ready, 0, p), OK); /* and does no harm */
}

static void
packets_of_other_kinds_are_refused(void **state)
{
	static const uint16_t types[] = { 0, 1, 5, 7, 8, 0xb, 0xffff };
	struct fixture *f = *state;
	struct packet_head h;
	uint8_t p[VSTOR_LEN], ext[16] = { 0 };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		fake_srb_packet(p, &test_ready);
		fake_send(&f->x.c[0].guest, types[i], PACKET_WANTS_REPLY, i, ext, sizeof(ext), p, sizeof(p));
		fake_storage_run(&f->x);
		assert_int_equal(fake_vstor_recv(&f->x, 0, &h, p), 64);
		assert_int_equal(get_le32(p + 8), PARAMETER_ERROR);
		assert_int_equal(p[14], INVALID_REQUEST);
	}
	assert_int_equal(fake_srb(&f->x, 0, &test_ready, 0, p), OK);
}

/* --- Sub-channels --- */

static void
sub_channels_are_offered_when_asked_for(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fake_vstor_op(&f->x, 13, 0), PARAMETER_ERROR);
	assert_int_equal(fake_vstor_op(&f->x, 13, FAKE_SUBCHANNELS + 1), PARAMETER_ERROR);
	assert_int_equal(f->x.bus.offered, 0);
	assert_int_equal(fake_vstor_op(&f->x, 13, FAKE_SUBCHANNELS), 0);
	assert_int_equal(f->x.bus.offered, FAKE_SUBCHANNELS);
	f->x.bus.offer_rc = -EINVAL; /* the bus has no more */
	assert_int_equal(fake_vstor_op(&f->x, 13, 1), PARAMETER_ERROR);
}

static void
sub_channels_carry_commands_only_and_answer_where_they_came(void **state)
{
	struct fixture *f = *state;
	uint8_t p[VSTOR_LEN];

	for (unsigned i = 1; i <= FAKE_SUBCHANNELS; i++)
		assert_int_equal(fake_storage_open(&f->x, i, RING), 0);
	for (uint32_t op = 4; op < 14; op++) {
		memset(p, 0, sizeof(p));
		put_le32(p, op);
		assert_int_equal(fake_vstor(&f->x, 2, p, sizeof(p)), STATE_ERROR);
	}
	f->d->hold = true;
	for (unsigned i = 0; i <= FAKE_SUBCHANNELS; i++)
		assert_true(fake_srb_send(&f->x, i, 10 + i, &read_8, FAKE_DATA + i * 8192));
	fake_storage_run(&f->x);
	assert_int_equal(f->d->n_held, 4);
	fake_disk_release_all(f->d, true);
	fake_storage_run(&f->x);
	for (unsigned i = 0; i <= FAKE_SUBCHANNELS; i++) {
		struct packet_head h;

		assert_int_equal(fake_vstor_recv(&f->x, i, &h, p), 64);
		assert_int_equal(h.transaction, 10 + i);
		assert_int_equal(p[14], OK);
	}
}

/* --- Units --- */

static void
an_absent_unit_is_absent_in_the_right_way(void **state)
{
	static const struct {
		uint8_t path, target, lun;
	} nobody[] = { { 0, 0, 1 }, { 0, 0, 63 }, { 0, 0, 64 }, { 0, 0, 255 }, { 0, 1, 0 }, { 1, 0, 0 },
		{ 255, 255, 255 } };
	struct fixture *f = *state;
	uint8_t p[VSTOR_LEN];

	for (size_t i = 0; i < sizeof(nobody) / sizeof(nobody[0]); i++) {
		struct fake_srb b = test_ready;

		b.path = nobody[i].path;
		b.target = nobody[i].target;
		b.lun = nobody[i].lun;
		assert_int_equal(fake_srb(&f->x, 0, &b, 0, p), INVALID_LUN);
		b = (struct fake_srb){ { 0x12, 0, 0, 0, 36 }, 6, 1, b.path, b.target, b.lun, 36 };
		assert_int_equal(fake_srb(&f->x, 0, &b, FAKE_DATA, p), OK);
		assert_int_equal(data(&f->x, FAKE_DATA, 1)[0], 0x7f);
		assert_int_equal(get_le32(p + 24), 36);
	}
}

static void
luns_are_reported_on_lun_0_of_any_target(void **state)
{
	static const uint8_t luns[24] = { [9] = 7, [17] = 63 };
	struct fixture *f = *state;
	struct fake_srb b = { { 0xa0, 0, 0, 0, 0, 0, 0, 0, 4, 0 }, 12, 1, 0, 0, 0, 1024 };
	uint8_t p[VSTOR_LEN], *list = data(&f->x, FAKE_DATA, 1024);

	add_disk(&f->x, 7);
	add_disk(&f->x, 63);
	answers(&f->x, 0);
	assert_int_equal(fake_srb(&f->x, 0, &b, FAKE_DATA, p), OK);
	assert_int_equal(get_le32(p + 24), 32);
	assert_int_equal(get_be32(list), 24);
	assert_memory_equal(list + 8, luns, sizeof(luns));
	b.cdb[2] = 1; /* well-known ones only: none */
	assert_int_equal(fake_srb(&f->x, 0, &b, FAKE_DATA, p), OK);
	assert_int_equal(get_be32(list), 0);
	b.cdb[2] = 3;
	assert_int_equal(fake_srb(&f->x, 0, &b, FAKE_DATA, p), CHECK);
	b.cdb[2] = 2;
	b.target = 1;
	assert_int_equal(fake_srb(&f->x, 0, &b, FAKE_DATA, p), OK);
	assert_int_equal(get_be32(list), 0);
	assert_int_equal(storage_remove(f->x.s, 0, NULL, NULL, NULL), 0);
	answers(&f->x, 0);
	b.target = 0;
	assert_int_equal(fake_srb(&f->x, 0, &b, FAKE_DATA, p), OK); /* LUN 0 itself is not there */
	assert_int_equal(get_be32(list), 16);
}

static void
identities_stay_and_differ(void **state)
{
	struct fixture *f = *state;
	struct fake_srb b = { { 0x12, 1, 0x80, 0, 255 }, 6, 1, 0, 0, 0, 255 };
	struct unit_config named = { .kind = UNIT_DISK, .serial = "my own", .wwn = { 0x6a, 1, 2, 3 } };
	uint8_t p[VSTOR_LEN], *d = data(&f->x, FAKE_DATA, 256);
	struct fake_disk *disk = fake_disk_new(f->x.loop, SIZE, 512);

	assert_int_equal(storage_add(f->x.s, 1, &named, &disk->disk, NULL), 0);
	answers(&f->x, 0);
	assert_int_equal(fake_srb(&f->x, 0, &b, FAKE_DATA, p), OK);
	assert_memory_equal(d + 4, "0102030405060708090a0b0c0000", 28);
	b.lun = 1;
	assert_int_equal(fake_srb(&f->x, 0, &b, FAKE_DATA, p), OK);
	assert_memory_equal(d + 4, "my own", 6);
	b.cdb[2] = 0x83;
	assert_int_equal(fake_srb(&f->x, 0, &b, FAKE_DATA, p), OK);
	assert_memory_equal(d + 8, named.wwn, 16);
	b.lun = 0;
	assert_int_equal(fake_srb(&f->x, 0, &b, FAKE_DATA, p), OK);
	assert_memory_equal(d + 8, ((uint8_t[]){ 0x60, 0x02, 0x24, 0x80 }), 4);
}

static void
a_unit_that_comes_or_goes_is_announced(void **state)
{
	struct fixture *f = *state;
	struct packet_head h;
	struct fake_disk *d;
	uint8_t p[VSTOR_LEN];
	unsigned freed = 0;

	d = add_disk(&f->x, 5);
	d->freed = &freed;
	assert_int_equal(fake_vstor_recv(&f->x, 0, &h, p), 64);
	assert_int_equal(h.type, PACKET_INBAND);
	assert_int_equal(h.transaction, 0);
	assert_int_equal(h.flags, 0);
	assert_int_equal(get_le32(p), 11);
	assert_int_equal(storage_add(f->x.s, 5, &disk_config, &d->disk, NULL), -EEXIST);
	assert_int_equal(storage_remove(f->x.s, 5, fake_storage_gone, &f->x, NULL), 0);
	assert_int_equal(fake_vstor_recv(&f->x, 0, &h, p), 64);
	assert_int_equal(get_le32(p), 11);
	fake_storage_run(&f->x);
	assert_int_equal(f->x.gone, 1);
	assert_int_equal(freed, 1);
	assert_int_equal(storage_remove(f->x.s, 5, fake_storage_gone, &f->x, NULL), -ENOENT);
	assert_int_equal(storage_remove(f->x.s, 64, fake_storage_gone, &f->x, NULL), -ENOENT);
	assert_int_equal(storage_add(f->x.s, 64, &disk_config, NULL, NULL), -EINVAL);
	assert_int_equal(storage_add(f->x.s, 6, &disk_config, NULL, NULL), -EINVAL); /* without a disk */
}

static void
before_the_driver_is_ready_nothing_is_announced(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(fake_storage_open(&f->x, 0, RING), 0);
	fake_vstor_op(&f->x, 7, 0);
	add_disk(&f->x, 5);
	fake_storage_run(&f->x);
	assert_int_equal(answers(&f->x, 0), 0);
}

static void
a_unit_removed_in_the_middle_of_io_ends_it_first(void **state)
{
	struct fixture *f = *state;
	struct fake_disk *old = f->d;
	unsigned freed = 0;
	struct packet_head h;
	uint8_t p[VSTOR_LEN];

	old->freed = &freed;
	old->hold = true;
	assert_true(fake_srb_send(&f->x, 0, 1, &read_8, FAKE_DATA));
	fake_storage_run(&f->x);
	assert_int_equal(storage_remove(f->x.s, 0, fake_storage_gone, &f->x, NULL), 0);
	fake_storage_run(&f->x);
	answers(&f->x, 0); /* the announcement */
	assert_int_equal(f->x.gone, 0);
	assert_int_equal(fake_srb(&f->x, 0, &test_ready, 0, p), INVALID_LUN);
	f->d = add_disk(&f->x, 0); /* the place is free at once */
	answers(&f->x, 0);
	assert_int_equal(fake_srb(&f->x, 0, &test_ready, 0, p), CHECK);
	assert_int_equal(freed, 0);
	fake_disk_release(old, 0);
	fake_storage_run(&f->x);
	assert_int_equal(freed, 1);
	assert_int_equal(f->x.gone, 1);
	assert_int_equal(fake_vstor_recv(&f->x, 0, &h, p), 64);
	assert_int_equal(h.transaction, 1);
	assert_int_equal(p[14], OK);
}

static void
hot_add_and_remove_a_hundred_times_under_load(void **state)
{
	struct fixture *f = *state;
	unsigned freed = 0;

	for (unsigned n = 0; n < 100; n++) {
		struct fake_disk *d = add_disk(&f->x, 1 + n % 63);
		struct fake_srb b = read_8;

		d->freed = &freed;
		d->hold = true;
		b.lun = (uint8_t)(1 + n % 63);
		fake_srb_send(&f->x, 0, 1, &b, FAKE_DATA); /* hears of the power-on */
		fake_srb_send(&f->x, 0, 2, &b, FAKE_DATA);
		fake_srb_send(&f->x, 0, 3, &read_8, FAKE_DATA + 8192);
		fake_storage_run(&f->x);
		assert_int_equal(storage_remove(f->x.s, b.lun, fake_storage_gone, &f->x, NULL), 0);
		assert_int_equal(freed, n);
		fake_disk_release(d, 0);
		fake_storage_run(&f->x);
		assert_int_equal(freed, n + 1);
		assert_int_equal(f->x.gone, n + 1);
		assert_int_equal(answers(&f->x, 0), 5); /* two announcements, three answers */
	}
}

static void
a_medium_is_changed_while_the_machine_runs(void **state)
{
	struct fixture *f = *state;
	struct fake_srb tur = test_ready, lock = { { 0x1e, 0, 0, 0, 1 }, 6, 2, 0, 0, 2, 0 };
	struct fake_disk *d = fake_disk_new(f->x.loop, SIZE, 2048);
	uint8_t p[VSTOR_LEN];
	unsigned freed = 0;

	d->freed = &freed;
	assert_int_equal(storage_add(f->x.s, 2, &dvd_config, NULL, NULL), 0);
	answers(&f->x, 0);
	tur.lun = 2;
	assert_int_equal(fake_srb(&f->x, 0, &tur, 0, p), CHECK); /* power-on */
	assert_int_equal(fake_srb(&f->x, 0, &tur, 0, p), CHECK);
	assert_int_equal(p[28 + 12], 0x3a);
	assert_int_equal(storage_insert(f->x.s, 2, &d->disk, false, NULL), 0);
	assert_int_equal(fake_srb(&f->x, 0, &tur, 0, p), CHECK);
	assert_int_equal(p[28 + 12], 0x28);
	assert_int_equal(fake_srb(&f->x, 0, &tur, 0, p), OK);
	assert_int_equal(fake_srb(&f->x, 0, &lock, 0, p), OK);
	assert_int_equal(storage_insert(f->x.s, 2, NULL, false, NULL), -EBUSY);
	assert_int_equal(freed, 0);
	assert_int_equal(storage_insert(f->x.s, 2, NULL, true, NULL), 0);
	fake_storage_run(&f->x);
	assert_int_equal(freed, 1);
	assert_int_equal(storage_insert(f->x.s, 0, NULL, false, NULL), -EINVAL);
	assert_int_equal(storage_insert(f->x.s, 9, NULL, false, NULL), -ENOENT);
}

static void
an_ejected_medium_is_told_and_freed(void **state)
{
	struct fixture *f = *state;
	struct fake_srb b = { { 0x1b, 0, 0, 0, 2 }, 6, 2, 0, 0, 2, 0 };
	struct fake_disk *d = fake_disk_new(f->x.loop, SIZE, 2048);
	uint8_t p[VSTOR_LEN];
	unsigned freed = 0;

	d->freed = &freed;
	storage_add(f->x.s, 2, &dvd_config, &d->disk, NULL);
	answers(&f->x, 0);
	fake_srb(&f->x, 0, &b, 0, p);
	assert_int_equal(fake_srb(&f->x, 0, &b, 0, p), OK);
	assert_int_equal(f->x.ejected, 1);
	assert_int_equal(freed, 1);
}

static void
a_new_size_is_a_unit_attention(void **state)
{
	struct fixture *f = *state;
	struct fake_srb b = { { 0x25 }, 10, 1, 0, 0, 0, 8 };
	uint8_t p[VSTOR_LEN];

	assert_int_equal(storage_resized(f->x.s, 0, SIZE / 2, NULL), 0);
	assert_int_equal(fake_srb(&f->x, 0, &b, FAKE_DATA, p), CHECK);
	assert_int_equal(p[28 + 2], 6);
	assert_int_equal(p[28 + 12], 0x2a);
	assert_int_equal(p[28 + 13], 0x09);
	assert_int_equal(fake_srb(&f->x, 0, &b, FAKE_DATA, p), OK);
	assert_int_equal(get_be32(data(&f->x, FAKE_DATA, 8)), SIZE / 2 / 512 - 1);
	assert_int_equal(storage_resized(f->x.s, 0, 100, NULL), -EINVAL);
	assert_int_equal(storage_resized(f->x.s, 1, 512, NULL), -ENOENT);
	storage_resized(f->x.s, 0, SIZE, NULL);
}

/* --- Commands and their data --- */

static void
a_failed_command_carries_its_sense_data(void **state)
{
	struct fixture *f = *state;
	struct fake_srb b = read_8;
	uint8_t p[VSTOR_LEN];

	b.cdb[2] = 0x80;
	assert_int_equal(fake_srb(&f->x, 0, &b, FAKE_DATA, p), CHECK);
	assert_int_equal(p[15], 2);
	assert_int_equal(p[21], 18);
	assert_int_equal(get_le32(p + 24), 0);
	assert_int_equal(p[28], 0xf0);
	assert_int_equal(p[30], 5);
	assert_int_equal(p[40], 0x21);
	assert_int_equal(get_le32(p), 1);
	assert_int_equal(get_le32(p + 8), 0);
}

static void
sense_data_without_room_is_kept_for_request_sense(void **state)
{
	struct fixture *f = *state;
	struct fake_srb b = { { 0x03, 0, 0, 0, 18 }, 6, 1, 0, 0, 0, 18 };
	uint8_t p[VSTOR_LEN];
	struct packet_head h;

	fake_srb_packet(p, &test_ready);
	p[28] = 0xee; /* no such command ... */
	p[21] = 0;    /* ... and no room to say so */
	fake_vstor_send(&f->x, 0, 1, p, sizeof(p));
	fake_storage_run(&f->x);
	fake_vstor_recv(&f->x, 0, &h, p);
	assert_int_equal(p[14], 4);
	assert_int_equal(p[15], 2);
	assert_int_equal(p[21], 0);
	assert_int_equal(fake_srb(&f->x, 0, &b, FAKE_DATA, p), OK);
	assert_int_equal(data(&f->x, FAKE_DATA, 18)[2], 5);
	assert_int_equal(data(&f->x, FAKE_DATA, 18)[12], 0x20);
	fake_srb(&f->x, 0, &b, FAKE_DATA, p);
	assert_int_equal(data(&f->x, FAKE_DATA, 18)[12], 0);
}

static void
a_cdb_of_no_length_or_too_long_is_refused(void **state)
{
	static const uint8_t lengths[] = { 0, 17, 255 };
	struct fixture *f = *state;
	uint8_t p[VSTOR_LEN];

	for (size_t i = 0; i < sizeof(lengths); i++) {
		struct fake_srb b = test_ready;

		b.cdb_len = lengths[i];
		assert_int_equal(fake_srb(&f->x, 0, &b, 0, p), INVALID_REQUEST);
		assert_int_equal(get_le32(p + 8), PARAMETER_ERROR);
	}
}

static void
data_goes_to_any_address(void **state)
{
	static const uint32_t offsets[] = { 0, 1, 512, 4095 };
	struct fixture *f = *state;
	struct fake_srb b = read_8;
	uint8_t p[VSTOR_LEN];

	b.cdb[8] = 40;
	b.len = 20480;
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		uint64_t gpa = FAKE_DATA + 4096 + offsets[i];

		memset(data(&f->x, FAKE_DATA, 32768), 0xcc, 32768);
		assert_int_equal(fake_srb(&f->x, 0, &b, gpa, p), OK);
		assert_int_equal(get_le32(p + 24), 20480);
		assert_memory_equal(data(&f->x, gpa, 20480), f->d->data + 3 * 512, 20480);
		assert_int_equal(data(&f->x, gpa - 1, 1)[0], 0xcc);
		assert_int_equal(data(&f->x, gpa + 20480, 1)[0], 0xcc);
	}
}

/* A GPA-direct packet with the ranges as they are given: head, and page numbers in any order. */
static void
send_ranges(struct fake_storage *x, const uint8_t *ext, size_t len, const struct fake_srb *b)
{
	uint8_t p[VSTOR_LEN];

	fake_srb_packet(p, b);
	assert_true(
	    fake_send(&x->c[0].guest, PACKET_GPA_DIRECT, PACKET_WANTS_REPLY, 99, ext, len, p, sizeof(p)));
	fake_storage_run(x);
}

static uint8_t *
put_range(uint8_t *e, uint32_t offset, uint32_t len, const uint64_t *pfn, unsigned n)
{
	put_le32(e, len);
	put_le32(e + 4, offset);
	memcpy(e + 8, pfn, 8 * n);
	return e + 8 + 8 * n;
}

static void
pages_may_lie_anywhere_and_ranges_may_be_several(void **state)
{
	static const uint64_t base = FAKE_DATA / GMEM_PAGE;
	const uint64_t first[] = { base + 9, base + 2, base + 30 }, second[] = { base + 1, base + 0 };
	struct fixture *f = *state;
	uint8_t ext[256] = { 0 }, *e = ext + 8, p[VSTOR_LEN];
	struct packet_head h;
	struct fake_srb b = read_8;

	put_le32(ext + 4, 2);
	e = put_range(e, 100, 8192, first, 3);
	e = put_range(e, 0, 8192, second, 2);
	b.cdb[8] = 32;
	b.len = 16384;
	send_ranges(&f->x, ext, (size_t)(e - ext), &b);
	assert_int_equal(fake_vstor_recv(&f->x, 0, &h, p), 64);
	assert_int_equal(p[14], OK);
	assert_memory_equal(data(&f->x, (base + 9) * 4096 + 100, 3996), f->d->data + 1536, 3996);
	assert_memory_equal(data(&f->x, (base + 2) * 4096, 4096), f->d->data + 1536 + 3996, 4096);
	assert_memory_equal(data(&f->x, (base + 30) * 4096, 100), f->d->data + 1536 + 8092, 100);
	assert_memory_equal(data(&f->x, (base + 1) * 4096, 4096), f->d->data + 1536 + 8192, 4096);
	assert_memory_equal(data(&f->x, base * 4096, 4096), f->d->data + 1536 + 12288, 4096);
}

static void
ranges_that_make_no_sense_are_refused_and_touch_nothing(void **state)
{
	static const uint64_t base = FAKE_DATA / GMEM_PAGE, end = (FAKE_STORAGE_MB << 20) / GMEM_PAGE;
	static const struct {
		uint32_t count, offset, len;
		uint64_t pfn[2];
		unsigned pages;
	} rows[] = {
		{ 1, 0, 4096, { end }, 1 }, /* no RAM */
		{ 1, 0, 4096, { UINT64_MAX }, 1 },
		{ 1, 0, 4096, { UINT64_MAX / GMEM_PAGE }, 1 },
		{ 1, 1, 8191, { base, end + 7 }, 2 },
		{ 1, 4096, 4096, { base, base + 1 }, 2 }, /* begins behind its first page */
		{ 1, 0, 0, { base }, 1 },                 /* empty */
		{ 1, 0, 8192, { base }, 1 },              /* longer than its pages */
		{ 1, UINT32_MAX, UINT32_MAX, { base }, 1 },
		{ 2, 0, 4096, { base }, 1 }, /* fewer than are said */
		{ UINT32_MAX, 0, 4096, { base }, 1 },
	};
	struct fixture *f = *state;
	struct packet_head h;
	uint8_t p[VSTOR_LEN];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t ext[64] = { 0 }, *e;

		put_le32(ext + 4, rows[i].count);
		e = put_range(ext + 8, rows[i].offset, rows[i].len, rows[i].pfn, rows[i].pages);
		send_ranges(&f->x, ext, (size_t)(e - ext), &read_8);
		assert_int_equal(fake_vstor_recv(&f->x, 0, &h, p), 64);
		if (p[14] != INVALID_REQUEST || get_le32(p + 8) != PARAMETER_ERROR)
			fail_msg("row %zu: %02x %08x", i, p[14], get_le32(p + 8));
	}
	assert_int_equal(f->d->begun[DISK_READ], 0);
	assert_int_equal(f->x.bus.broke, 0);
}

static void
lengths_that_differ_move_what_both_agree_on(void **state)
{
	static const struct {
		uint32_t range, transfer, status, moved;
	} rows[] = {
		{ 4096, 4096, OK, 4096 },
		{ 8192, 4096, OK, 4096 },
		{ 4096, 8192, OK, 4096 }, /* more room */
		{ 2048, 4096, OVERRUN, 2048 },
		{ 4096, 2048, OVERRUN, 2048 },
		{ 4096, 1000, OVERRUN, 512 },
		{ 4096, 100, OVERRUN, 0 },
		{ 4096, 0, OVERRUN, 0 },
	};
	static const uint64_t base = FAKE_DATA / GMEM_PAGE;
	const uint64_t pfn[] = { base, base + 1 };
	struct fixture *f = *state;
	struct packet_head h;
	uint8_t p[VSTOR_LEN];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t ext[64] = { 0 }, *e;
		struct fake_srb b = read_8;

		b.len = rows[i].transfer;
		put_le32(ext + 4, 1);
		e = put_range(ext + 8, 0, rows[i].range, pfn, (rows[i].range + 4095) / 4096);
		memset(data(&f->x, FAKE_DATA, 8192), 0xcc, 8192);
		send_ranges(&f->x, ext, (size_t)(e - ext), &b);
		assert_int_equal(fake_vstor_recv(&f->x, 0, &h, p), 64);
		assert_int_equal(p[14], rows[i].status);
		assert_int_equal(get_le32(p + 24), rows[i].moved);
		assert_memory_equal(
		    data(&f->x, FAKE_DATA, 1), rows[i].moved ? f->d->data + 1536 : (uint8_t[]){ 0xcc }, 1);
		assert_int_equal(data(&f->x, FAKE_DATA + rows[i].moved, 1)[0], 0xcc);
	}
}

static void
one_mib_of_single_pages_is_one_request(void **state)
{
	struct fixture *f = *state;
	uint8_t ext[16 + 8 * 257] = { 0 }, p[VSTOR_LEN];
	struct packet_head h;
	struct fake_srb b = { { 0x28, 0, 0, 0, 0, 0, 0, 8, 0 }, 10, 1, 0, 0, 0, 1 << 20 };
	uint64_t base = FAKE_DATA / GMEM_PAGE;

	put_le32(ext + 4, 1);
	put_le32(ext + 8, 1 << 20);
	put_le32(ext + 12, 8);
	for (uint64_t i = 0; i < 257; i++) { /* every second page: nothing can be merged */
		uint64_t pfn = base + 2 * i;

		memcpy(ext + 16 + 8 * i, &pfn, 8);
	}
	send_ranges(&f->x, ext, sizeof(ext), &b);
	assert_int_equal(fake_vstor_recv(&f->x, 0, &h, p), 64);
	assert_int_equal(p[14], OK);
	assert_int_equal(get_le32(p + 24), 1 << 20);
	assert_int_equal(f->d->begun[DISK_READ], 1);
	assert_memory_equal(data(&f->x, FAKE_DATA + 8, 4088), f->d->data, 4088);
	for (unsigned i = 1; i < 256; i++)
		assert_memory_equal(
		    data(&f->x, FAKE_DATA + i * 8192, 4096), f->d->data + 4088 + (i - 1) * 4096, 4096);
	assert_memory_equal(data(&f->x, FAKE_DATA + 256 * 8192, 8), f->d->data + (1 << 20) - 8, 8);
}

static void
more_than_was_promised_to_work_is_refused(void **state)
{
	struct fixture *f = *state;
	struct fake_srb b = { { 0x28, 0, 0, 0, 0, 0, 0, 8, 1 }, 10, 1, 0, 0, 0, (1 << 20) + 512 };
	uint8_t p[VSTOR_LEN];

	assert_int_equal(fake_srb(&f->x, 0, &b, FAKE_DATA, p), INVALID_REQUEST);
	assert_int_equal(f->d->begun[DISK_READ], 0);
}

static void
what_a_read_wrote_is_marked(void **state)
{
	static uint64_t bits[(FAKE_STORAGE_MB << 20) / GMEM_PAGE / 64];
	struct fixture *f = *state;
	uint64_t page = FAKE_DATA / GMEM_PAGE;
	uint8_t p[VSTOR_LEN];

	assert_int_equal(gmem_track(f->x.f.mem, true, NULL), 0);
	assert_int_equal(fake_srb(&f->x, 0, &read_8, FAKE_DATA + 4000, p), OK);
	assert_int_equal(fake_srb(&f->x, 0, &write_8, FAKE_DATA + 10 * 4096, p), OK);
	gmem_take_dirty(f->x.f.mem, 0, bits);
	assert_int_equal(bits[page / 64] >> page % 64 & 0xffff, 3); /* both pages of the read, none else */
	f->d->fail[DISK_READ] = -EIO; /* some of it may have been written all the same */
	assert_int_equal(fake_srb(&f->x, 0, &read_8, FAKE_DATA, p), CHECK);
	gmem_take_dirty(f->x.f.mem, 0, bits);
	assert_int_equal(bits[page / 64] >> page % 64 & 0xffff, 1);
}

/* --- Many at a time --- */

static void
answers_of_a_round_share_one_interrupt(void **state)
{
	struct fixture *f = *state;
	unsigned before, n = 0;

	f->d->hold = true;
	while (n < 100 && fake_srb_send(&f->x, 0, n + 1, &read_8, FAKE_DATA + n * 4096))
		n++;
	assert_int_equal(n, 100);
	fake_storage_run(&f->x);
	assert_int_equal(f->d->n_held, 100);
	before = f->x.bus.signals;
	fake_disk_release_all(f->d, true);
	fake_storage_run(&f->x);
	assert_int_equal(f->x.bus.signals, before + 1);
	assert_int_equal(answers(&f->x, 0), 100);
}

static void
the_guest_need_not_signal_while_packets_are_read(void **state)
{
	struct fixture *f = *state;
	struct fake_storage_channel *c = &f->x.c[0];

	fake_storage_run(&f->x);
	assert_int_equal(c->guest.out.control->mask, 0); /* asleep: wake it */
	f->d->hold = true;
	for (unsigned i = 0; i < 384; i++)
		if (!fake_srb_send(&f->x, 0, i, &read_8, FAKE_DATA)) {
			fake_storage_run(&f->x);
			i--;
		}
	fake_storage_run(&f->x);
	assert_int_equal(f->d->n_held, 384);
	fake_srb_send(&f->x, 0, 384, &read_8, FAKE_DATA); /* one too many: it stays in the ring */
	fake_storage_run(&f->x);
	assert_int_equal(f->d->n_held, 384);
	assert_int_equal(c->guest.out.control->mask, 1);
	fake_disk_release(f->d, 200);
	fake_storage_run(&f->x); /* until there is room */
	assert_int_equal(f->d->n_held, 384);
	fake_disk_release_all(f->d, false);
	fake_storage_run(&f->x);
	assert_int_equal(c->guest.out.control->mask, 0);
	assert_int_equal(answers(&f->x, 0), 385);
}

static void
a_full_ring_keeps_answers_until_the_guest_makes_room(void **state)
{
	struct fixture *f = *state;
	unsigned got = 0, sent = 0;
	struct packet_head h;
	uint8_t p[VSTOR_LEN];

	fake_storage_close(&f->x, 0);
	assert_int_equal(fake_storage_open(&f->x, 0, 2), 0); /* 4096 bytes: 46 answers */
	assert_true(fake_handshake(&f->x, VERSION));
	while (
	    sent < 300 && fake_srb_send(&f->x, 0, sent + 1, &test_ready, 0)) { /* as long as there is room */
		sent++;
		fake_storage_run(&f->x);
	}
	assert_in_range(sent, 46, 300);
	while (got < sent) {
		while (fake_vstor_recv(&f->x, 0, &h, p) < 0)
			assert_true(fake_storage_run(&f->x));
		assert_int_equal(h.transaction, ++got);
	}
	assert_int_equal(answers(&f->x, 0), 0);
}

static void
a_guest_that_never_rests_does_not_keep_the_loop(void **state)
{
	struct fixture *f = *state;
	struct fake_storage_channel *c = &f->x.c[0];

	for (unsigned i = 0; i < 3; i++) { /* packets without answers: nothing but reading bounds them */
		uint8_t p[VSTOR_LEN];

		fake_srb_packet(p, &test_ready);
		while (fake_send(&c->guest, PACKET_INBAND, 0, 1, NULL, 0, p, sizeof(p)))
			;
		assert_true(fake_storage_run(&f->x));
		assert_int_equal(c->guest.out.control->read_index, c->guest.out.control->write_index);
	}
}

/* --- Broken rings, resets, closing --- */

static void
a_ring_that_makes_no_sense_breaks_its_channel_only(void **state)
{
	struct fixture *f = *state;
	uint8_t p[VSTOR_LEN];

	fake_storage_open(&f->x, 1, RING);
	f->d->hold = true;
	fake_srb_send(&f->x, 1, 1, &read_8, FAKE_DATA);
	fake_storage_run(&f->x);
	f->x.c[1].guest.out.control->write_index = 12345; /* not a multiple of 8 */
	fake_kick(&f->x.f, 101);
	fake_storage_run(&f->x);
	assert_int_equal(f->x.bus.broke, 1);
	assert_non_null(f->x.bus.why);
	assert_int_equal(f->x.bus.closed, 0); /* its read is still in flight */
	fake_disk_release_all(f->d, false);
	fake_storage_run(&f->x);
	assert_int_equal(f->x.bus.closed, 1);
	f->d->hold = false;
	assert_int_equal(fake_srb(&f->x, 0, &read_8, FAKE_DATA, p), OK);
}

static void
a_ring_that_breaks_where_it_is_written_to(void **state)
{
	struct fixture *f = *state;

	fake_srb_send(&f->x, 0, 1, &test_ready, 0);
	f->x.c[0].guest.in.control->read_index = 0xfffffff0;
	fake_storage_run(&f->x);
	assert_int_equal(f->x.bus.broke, 1);
	assert_int_equal(f->x.bus.closed, 1);
}

static void
a_reset_ends_what_was_begun_before_it_is_answered(void **state)
{
	struct fixture *f = *state;
	struct packet_head h;
	uint8_t p[VSTOR_LEN];

	for (uint32_t op = 4; op <= 6; op++) {
		memset(p, 0, sizeof(p));
		put_le32(p, op);
		f->d->hold = true;
		fake_srb_send(&f->x, 0, 1, &read_8, FAKE_DATA);
		fake_srb_send(&f->x, 0, 2, &read_8, FAKE_DATA + 8192);
		fake_vstor_send(&f->x, 0, 3, p, sizeof(p));
		fake_srb_send(&f->x, 0, 4, &test_ready, 0); /* after it */
		fake_storage_run(&f->x);
		assert_int_equal(answers(&f->x, 0), 0);
		fake_disk_release_all(f->d, true);
		fake_storage_run(&f->x);
		fake_vstor_recv(&f->x, 0, &h, p);
		assert_int_equal(h.transaction, 2);
		fake_vstor_recv(&f->x, 0, &h, p);
		assert_int_equal(h.transaction, 1);
		fake_vstor_recv(&f->x, 0, &h, p);
		assert_int_equal(h.transaction, 3);
		assert_int_equal(get_le32(p + 8), 0);
		fake_vstor_recv(&f->x, 0, &h, p);
		assert_int_equal(h.transaction, 4);
		assert_int_equal(p[14], CHECK);
		assert_int_equal(p[28 + 12], 0x29); /* it was reset */
	}
}

static void
a_reset_of_one_unit_does_not_wait_for_another(void **state)
{
	struct fixture *f = *state;
	struct fake_disk *other = add_disk(&f->x, 1);
	struct fake_srb b = read_8;
	uint8_t p[VSTOR_LEN] = { 4 };

	answers(&f->x, 0);
	b.lun = 1;
	fake_srb(&f->x, 0, &b, FAKE_DATA, p);
	other->hold = true;
	fake_srb_send(&f->x, 0, 1, &b, FAKE_DATA);
	fake_storage_run(&f->x);
	memset(p, 0, sizeof(p));
	p[0] = 4;
	assert_int_equal(fake_vstor(&f->x, 0, p, sizeof(p)), 0); /* LUN 0 */
	memset(p, 0, sizeof(p));
	p[0] = 4;
	p[19] = 200; /* nobody */
	assert_int_equal(fake_vstor(&f->x, 0, p, sizeof(p)), 0);
	fake_disk_release_all(other, false);
}

static void
a_reset_ends_what_waits_for_space(void **state)
{
	struct fixture *f = *state;
	struct unit_config c = { .kind = UNIT_DISK, .pause_on_full = true };
	struct packet_head h;
	uint8_t p[VSTOR_LEN] = { 6 };

	storage_set_limits(f->x.s, 0, &c, NULL);
	f->d->fail[DISK_WRITE] = -ENOSPC;
	fake_srb_send(&f->x, 0, 1, &write_8, FAKE_DATA);
	fake_storage_run(&f->x);
	assert_int_equal(f->x.full, 1);
	fake_vstor_send(&f->x, 0, 2, p, sizeof(p));
	fake_storage_run(&f->x);
	fake_vstor_recv(&f->x, 0, &h, p);
	assert_int_equal(h.transaction, 1);
	assert_int_equal(p[14], CHECK);
	fake_vstor_recv(&f->x, 0, &h, p);
	assert_int_equal(h.transaction, 2);
}

static void
a_closed_channel_is_let_go_when_nothing_touches_it(void **state)
{
	struct fixture *f = *state;
	struct vmbus_channel *ch = &f->x.c[0].ch;

	f->d->hold = true;
	fake_srb_send(&f->x, 0, 1, &read_8, FAKE_DATA);
	fake_srb_send(&f->x, 0, 2, &read_8, FAKE_DATA);
	fake_storage_run(&f->x);
	ch->device->ops->close(ch->device, ch);
	fake_storage_run(&f->x);
	assert_int_equal(f->x.bus.closed, 0);
	assert_int_equal(storage_version(f->x.s), 0);
	fake_disk_release(f->d, 0);
	fake_storage_run(&f->x);
	assert_int_equal(f->x.bus.closed, 0);
	fake_disk_release(f->d, 0);
	fake_storage_run(&f->x);
	assert_int_equal(f->x.bus.closed, 1);
	assert_int_equal(answers(&f->x, 0), 0);
}

static void
a_driver_that_comes_again_finds_units_as_after_power_on(void **state)
{
	struct fixture *f = *state;
	struct fake_srb off = { { 0x15, 0x10, 0, 0, 24 }, 6, 0, 0, 0, 0, 24 };
	uint8_t p[VSTOR_LEN], *list = data(&f->x, FAKE_DATA, 24);

	list[4] = 8;
	list[5] = 0x12;
	assert_int_equal(fake_srb(&f->x, 0, &off, FAKE_DATA, p), OK);
	fake_srb(&f->x, 0, &write_8, FAKE_DATA, p);
	assert_int_equal(f->d->fuas, 1); /* the write cache is off */
	fake_storage_close(&f->x, 0);
	fake_storage_open(&f->x, 0, RING);
	assert_true(fake_handshake(&f->x, 0x501));
	assert_int_equal(fake_srb(&f->x, 0, &test_ready, 0, p), CHECK);
	assert_int_equal(p[28 + 12], 0x29);
	fake_srb(&f->x, 0, &write_8, FAKE_DATA, p);
	assert_int_equal(f->d->fuas, 1);
}

/* --- Space, limits, statistics --- */

static void
a_full_host_disk_loses_nothing_and_goes_on(void **state)
{
	struct fixture *f = *state;
	struct unit_config c = { .kind = UNIT_DISK, .pause_on_full = true };
	struct unit_stats st;

	storage_set_limits(f->x.s, 0, &c, NULL);
	f->d->fail[DISK_WRITE] = -ENOSPC;
	for (unsigned i = 0; i < 10; i++) {
		struct fake_srb b = write_8;

		b.cdb[5] = (uint8_t)(i * 8);
		memset(data(&f->x, FAKE_DATA + i * 4096, 4096), 0xa0 + (int)i, 4096);
		fake_srb_send(&f->x, 0, i, &b, FAKE_DATA + i * 4096);
	}
	fake_storage_run(&f->x);
	assert_int_equal(f->x.full, 10);
	assert_int_equal(f->x.last_error, ENOSPC);
	assert_int_equal(answers(&f->x, 0), 0);
	assert_int_equal(storage_statistics(f->x.s, 0, &st), 0);
	assert_int_equal(st.waiting, 10);
	f->d->fail[DISK_WRITE] = 0;
	storage_retry(f->x.s);
	fake_storage_run(&f->x);
	assert_int_equal(answers(&f->x, 0), 10);
	for (unsigned i = 0; i < 10; i++)
		assert_memory_equal(f->d->data + i * 4096, data(&f->x, FAKE_DATA + i * 4096, 4096), 4096);
	storage_statistics(f->x.s, 0, &st);
	assert_int_equal(st.waiting, 0);
	assert_int_equal(st.writes, 10);
	assert_int_equal(st.written_bytes, 40960);
}

static void
without_pause_the_guest_is_told_that_there_is_no_space(void **state)
{
	struct fixture *f = *state;
	uint8_t p[VSTOR_LEN];

	f->d->fail[DISK_WRITE] = -ENOSPC;
	assert_int_equal(fake_srb(&f->x, 0, &write_8, FAKE_DATA, p), CHECK);
	assert_int_equal(p[30], 7);
	assert_int_equal(p[40], 0x27);
	assert_int_equal(p[41], 0x07);
	assert_int_equal(f->x.full, 0);
	assert_int_equal(f->x.failed, 1);
}

static void
limits_hold_and_change_through_the_controller(void **state)
{
	struct fixture *f = *state;
	struct unit_config c = { .kind = UNIT_DISK, .max_iops = 10 };
	struct unit_stats st;
	unsigned n = 0;

	storage_set_limits(f->x.s, 0, &c, NULL);
	for (unsigned i = 0; i < 40; i++)
		fake_srb_send(&f->x, 0, i, &read_8, FAKE_DATA);
	fake_storage_run(&f->x);
	n = answers(&f->x, 0);
	assert_in_range(n, 1, 2);
	fake_loop_pass(f->x.loop, UINT64_C(1000000000));
	n = answers(&f->x, 0);
	assert_in_range(n, 9, 11);
	storage_statistics(f->x.s, 0, &st);
	assert_true(st.throttled >= 38);
	assert_true(st.waiting > 20);
	c.max_iops = 0;
	storage_set_limits(f->x.s, 0, &c, NULL);
	fake_storage_run(&f->x);
	assert_in_range(answers(&f->x, 0), 27, 30);
	assert_int_equal(storage_statistics(f->x.s, 1, &st), -ENOENT);
	assert_int_equal(storage_statistics(f->x.s, 64, &st), -ENOENT);
	assert_int_equal(storage_set_limits(f->x.s, 1, &c, NULL), -ENOENT);
}

static void
a_unit_slower_than_its_minimum_is_told(void **state)
{
	struct fixture *f = *state;
	struct unit_config c = { .kind = UNIT_DISK, .min_iops = 500 };

	storage_set_limits(f->x.s, 0, &c, NULL);
	f->d->hold = true;
	fake_srb_send(&f->x, 0, 1, &read_8, FAKE_DATA);
	fake_storage_run(&f->x);
	fake_loop_pass(f->x.loop, UINT64_C(10100000000));
	assert_int_equal(f->x.slow, 1);
	fake_disk_release_all(f->d, false);
}

/* --- Pause, save, restore --- */

static void
a_pause_waits_for_what_is_in_flight_and_then_gives_up(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };

	f->d->hold = true;
	fake_srb_send(&f->x, 0, 1, &read_8, FAKE_DATA);
	fake_storage_run(&f->x);
	assert_int_equal(storage_pause(f->x.s, 3, &e), -EBUSY);
	assert_true(e.msg[0]);
	fake_disk_release_all(f->d, false); /* it goes on */
	fake_storage_run(&f->x);
	assert_int_equal(answers(&f->x, 0), 1);
	assert_int_equal(storage_pause(f->x.s, 3, &e), 0);
	fake_srb_send(&f->x, 0, 2, &test_ready, 0);
	fake_storage_run(&f->x);
	assert_int_equal(answers(&f->x, 0), 0); /* nothing is taken */
	storage_resume(f->x.s);
	fake_storage_run(&f->x);
	assert_int_equal(answers(&f->x, 0), 1);
}

static void
a_retry_while_paused_waits_for_the_next(void **state)
{
	struct fixture *f = *state;
	struct unit_config c = { .kind = UNIT_DISK, .pause_on_full = true };

	storage_set_limits(f->x.s, 0, &c, NULL);
	f->d->fail[DISK_WRITE] = -ENOSPC;
	fake_srb_send(&f->x, 0, 1, &write_8, FAKE_DATA);
	fake_storage_run(&f->x);
	assert_int_equal(storage_pause(f->x.s, 3, NULL), 0); /* what waits does not fly */
	f->d->fail[DISK_WRITE] = 0;
	storage_retry(f->x.s);
	assert_int_equal(f->d->begun[DISK_WRITE], 1);
	storage_resume(f->x.s);
	storage_retry(f->x.s);
	fake_storage_run(&f->x);
	assert_int_equal(answers(&f->x, 0), 1);
}

enum { STATE_MAX = 1 << 20 };

static size_t
save(struct fake_storage *x, uint8_t *buf)
{
	struct vmbus_device *d = storage_device(x->s);
	struct snap s;

	snap_save_to(&s, buf, STATE_MAX);
	d->ops->snap(d, &s);
	assert_int_equal(snap_end(&s), 0);
	return s.pos;
}

static int
restore(struct fake_storage *x, const uint8_t *buf, size_t len)
{
	struct vmbus_device *d = storage_device(x->s);
	struct snap s;

	snap_restore_from(&s, buf, len);
	d->ops->snap(d, &s);
	return snap_end(&s);
}

/* A new controller in the place of the old, with the same memory; its channels were open. */
static void
rebuild(struct fake_storage *x, unsigned channels, struct fake_disk *disk)
{
	x->work = 0;
	fake_storage_make(x);
	disk->disk.loop = x->loop;
	assert_int_equal(storage_add(x->s, 0, &disk_config, &disk->disk, NULL), 0);
	for (unsigned i = 0; i < channels; i++) {
		fake_storage_map(x, i, RING);
		assert_int_equal(x->c[i].ch.device->ops->open(x->c[i].ch.device, &x->c[i].ch, NULL), 0);
	}
}

/* The old one is thrown away, but for its disk and the guest's memory. */
static struct fake_disk *
keep_disk(struct fixture *f)
{
	struct fake_disk *copy = fake_disk_new(f->x.loop, SIZE, 512);
	static uint8_t memory[FAKE_STORAGE_MB << 20];

	memcpy(copy->data, f->d->data, SIZE);
	memcpy(copy->stable, f->d->stable, SIZE);
	gmem_read(f->x.f.mem, 0, memory, sizeof(memory));
	fake_storage_drop(&f->x);
	gmem_write(f->x.f.mem, 0, memory, sizeof(memory)); /* what it did while it ended is undone */
	return copy;
}

static uint32_t
sum(const uint8_t *p, size_t n)
{
	uint32_t a = 1, b = 0;

	while (n--) {
		a = (a + *p++) % 65521;
		b = (b + a) % 65521;
	}
	return b << 16 | a;
}

/*
 * Writes wait for their limit, a read's answer has no room, more commands are still in the ring; then the
 * machine is saved and goes on in a new worker. Every command is answered once, and the disk has every write.
 */
static void
io_that_was_saved_in_the_middle_goes_on_elsewhere(void **state)
{
	enum { WRITES = 60, AT = 64 };
	static uint8_t buf[STATE_MAX], expected[SIZE];
	struct fixture *f = *state;
	struct unit_config c = { .kind = UNIT_DISK, .max_iops = 20 };
	bool seen[WRITES + 1] = { false };
	struct packet_head h;
	uint8_t p[VSTOR_LEN];
	unsigned n = 0;
	size_t len;

	memcpy(expected, f->d->data, SIZE);
	storage_set_limits(f->x.s, 0, &c, NULL);
	for (unsigned i = 0; i < WRITES; i++) {
		struct fake_srb b = write_8;
		uint64_t gpa = FAKE_DATA + i * 8192 + i * 16; /* across pages, too */

		b.cdb[4] = (uint8_t)(AT * i >> 8);
		b.cdb[5] = (uint8_t)(AT * i);
		for (unsigned k = 0; k < 4096; k++)
			data(&f->x, gpa, 4096)[k] = (uint8_t)(k * i + i);
		memcpy(expected + i * AT * 512, data(&f->x, gpa, 4096), 4096);
		assert_true(fake_srb_send(&f->x, 0, i, &b, gpa));
		if (i == WRITES / 2)
			fake_storage_run(&f->x);
	}
	fake_loop_pass(f->x.loop, UINT64_C(500000000));
	while (fake_vstor_recv(&f->x, 0, &h, p) >= 0) {
		assert_int_equal(p[14], OK);
		seen[h.transaction] = true;
		n++;
	}
	assert_in_range(n, 5, 20);
	assert_int_equal(storage_pause(f->x.s, 10, NULL), 0);
	len = save(&f->x, buf);

	f->d = keep_disk(f);
	rebuild(&f->x, 1, f->d);
	assert_int_equal(restore(&f->x, buf, len), 0);
	assert_int_equal(storage_version(f->x.s), VERSION);
	assert_int_equal(answers(&f->x, 0), 0); /* not before all is restored */
	f->x.bus.signals = 0;
	storage_device(f->x.s)->ops->restored(storage_device(f->x.s));
	assert_true(f->x.bus.signals > 0);
	fake_storage_run(&f->x);
	while (fake_vstor_recv(&f->x, 0, &h, p) >= 0) {
		assert_int_equal(p[14], OK);
		assert_true(h.transaction < WRITES);
		assert_false(seen[h.transaction]);
		seen[h.transaction] = true;
		n++;
	}
	assert_int_equal(n, WRITES);
	assert_int_equal(sum(f->d->data, SIZE), sum(expected, SIZE));
}

static void
answers_that_had_no_room_are_saved(void **state)
{
	static uint8_t buf[STATE_MAX];
	struct fixture *f = *state;
	unsigned n = 0;
	size_t len;

	f->d->hold = true;
	for (unsigned i = 0; i < 20; i++)
		fake_srb_send(&f->x, 0, i, &read_8, FAKE_DATA + i * 4096);
	fake_storage_run(&f->x);
	while (f->d->n_held) /* they end in the round in which the pause begins: no answer is sent */
		fake_disk_release(f->d, 0);
	assert_int_equal(storage_pause(f->x.s, 0, NULL), 0);
	len = save(&f->x, buf);
	f->d = keep_disk(f);
	rebuild(&f->x, 1, f->d);
	assert_int_equal(restore(&f->x, buf, len), 0);
	storage_device(f->x.s)->ops->restored(storage_device(f->x.s));
	fake_storage_run(&f->x);
	n = answers(&f->x, 0);
	assert_int_equal(n, 20);
}

/* The primary channel is closed under a sub-channel's write, which then finds no space: it is saved all the
 * same. */
static void
a_command_that_outlives_its_driver_is_saved(void **state)
{
	static uint8_t buf[STATE_MAX];
	struct fixture *f = *state;
	struct unit_config c = { .kind = UNIT_DISK, .pause_on_full = true };
	size_t len;

	storage_set_limits(f->x.s, 0, &c, NULL);
	fake_storage_open(&f->x, 1, RING);
	f->d->hold = true;
	f->d->fail[DISK_WRITE] = -ENOSPC;
	fake_srb_send(&f->x, 1, 7, &write_8, FAKE_DATA);
	fake_storage_run(&f->x);
	fake_storage_close(&f->x, 0);
	fake_disk_release_all(f->d, false);
	fake_storage_run(&f->x);
	assert_int_equal(f->x.full, 1);
	assert_int_equal(storage_pause(f->x.s, 3, NULL), 0);
	len = save(&f->x, buf);
	f->d = keep_disk(f);
	rebuild(&f->x, 0, f->d);
	fake_storage_map(&f->x, 1, RING);
	f->x.c[1].ch.device->ops->open(f->x.c[1].ch.device, &f->x.c[1].ch, NULL);
	assert_int_equal(restore(&f->x, buf, len), 0);
	storage_device(f->x.s)->ops->restored(storage_device(f->x.s));
	fake_storage_run(&f->x);
	assert_int_equal(answers(&f->x, 1), 1);
}

static void
units_keep_what_the_guest_made_of_them(void **state)
{
	static uint8_t buf[STATE_MAX], again[STATE_MAX];
	struct fixture *f = *state;
	uint8_t p[VSTOR_LEN];
	size_t len;

	storage_resized(f->x.s, 0, SIZE, NULL);
	assert_int_equal(storage_pause(f->x.s, 10, NULL), 0);
	len = save(&f->x, buf);
	f->d = keep_disk(f);
	rebuild(&f->x, 1, f->d);
	assert_int_equal(restore(&f->x, buf, len), 0);
	assert_int_equal(save(&f->x, again), len);
	assert_memory_equal(buf, again, len);
	storage_device(f->x.s)->ops->restored(storage_device(f->x.s));
	assert_int_equal(fake_srb(&f->x, 0, &test_ready, 0, p), CHECK);
	assert_int_equal(p[28 + 12], 0x2a); /* the new size; not a power-on */
	assert_int_equal(fake_srb(&f->x, 0, &test_ready, 0, p), OK);
}

static void
damaged_state_is_refused_wherever_it_is_damaged(void **state)
{
	static uint8_t buf[STATE_MAX], bad[STATE_MAX];
	struct fixture *f = *state;
	struct unit_config c = { .kind = UNIT_DISK, .max_iops = 1 };
	size_t len;

	storage_set_limits(f->x.s, 0, &c, NULL);
	for (unsigned i = 0; i < 4; i++)
		fake_srb_send(&f->x, 0, i, &write_8, FAKE_DATA + i * 8192);
	fake_storage_run(&f->x);
	assert_int_equal(storage_pause(f->x.s, 10, NULL), 0);
	len = save(&f->x, buf);
	f->d = keep_disk(f);
	for (size_t cut = 0; cut <= len; cut += cut < 200 ? 1 : 7) {
		struct fake_disk *copy;

		rebuild(&f->x, 1, f->d);
		if (cut < len)
			assert_int_equal(restore(&f->x, buf, cut), -EINVAL);
		copy = keep_disk(f);
		f->d = copy;
	}
	for (size_t at = 0; at < len; at++) { /* nothing worse than a refusal comes of any byte */
		struct fake_disk *copy;

		memcpy(bad, buf, len);
		bad[at] ^= 0xff;
		rebuild(&f->x, 1, f->d);
		if (restore(&f->x, bad, len) == 0) {
			storage_device(f->x.s)->ops->restored(storage_device(f->x.s));
			fake_storage_run(&f->x);
		}
		copy = keep_disk(f);
		f->d = copy;
	}
	rebuild(&f->x, 0, f->d); /* the channel is not open */
	assert_int_equal(restore(&f->x, buf, len), -EINVAL);
}

#define unit(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)
#define ready(f) cmocka_unit_test_setup_teardown(f, setup_ready, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(every_version_of_windows_and_linux_is_spoken),
		unit(properties_promise_transfers_of_1_mib_and_sub_channels),
		unit(every_operation_in_every_state_with_every_length),
		ready(a_packet_that_wants_no_answer_gets_none),
		ready(packets_of_other_kinds_are_refused),
		ready(sub_channels_are_offered_when_asked_for),
		ready(sub_channels_carry_commands_only_and_answer_where_they_came),
		ready(an_absent_unit_is_absent_in_the_right_way),
		ready(luns_are_reported_on_lun_0_of_any_target),
		ready(identities_stay_and_differ),
		ready(a_unit_that_comes_or_goes_is_announced),
		unit(before_the_driver_is_ready_nothing_is_announced),
		ready(a_unit_removed_in_the_middle_of_io_ends_it_first),
		ready(hot_add_and_remove_a_hundred_times_under_load),
		ready(a_medium_is_changed_while_the_machine_runs),
		ready(an_ejected_medium_is_told_and_freed),
		ready(a_new_size_is_a_unit_attention),
		ready(a_failed_command_carries_its_sense_data),
		ready(sense_data_without_room_is_kept_for_request_sense),
		ready(a_cdb_of_no_length_or_too_long_is_refused),
		ready(data_goes_to_any_address),
		ready(pages_may_lie_anywhere_and_ranges_may_be_several),
		ready(ranges_that_make_no_sense_are_refused_and_touch_nothing),
		ready(lengths_that_differ_move_what_both_agree_on),
		ready(one_mib_of_single_pages_is_one_request),
		ready(more_than_was_promised_to_work_is_refused),
		ready(what_a_read_wrote_is_marked),
		ready(answers_of_a_round_share_one_interrupt),
		ready(the_guest_need_not_signal_while_packets_are_read),
		ready(a_full_ring_keeps_answers_until_the_guest_makes_room),
		ready(a_guest_that_never_rests_does_not_keep_the_loop),
		ready(a_ring_that_makes_no_sense_breaks_its_channel_only),
		ready(a_ring_that_breaks_where_it_is_written_to),
		ready(a_reset_ends_what_was_begun_before_it_is_answered),
		ready(a_reset_of_one_unit_does_not_wait_for_another),
		ready(a_reset_ends_what_waits_for_space),
		ready(a_closed_channel_is_let_go_when_nothing_touches_it),
		ready(a_driver_that_comes_again_finds_units_as_after_power_on),
		ready(a_full_host_disk_loses_nothing_and_goes_on),
		ready(without_pause_the_guest_is_told_that_there_is_no_space),
		ready(limits_hold_and_change_through_the_controller),
		ready(a_unit_slower_than_its_minimum_is_told),
		ready(a_pause_waits_for_what_is_in_flight_and_then_gives_up),
		ready(a_retry_while_paused_waits_for_the_next),
		ready(io_that_was_saved_in_the_middle_goes_on_elsewhere),
		ready(answers_that_had_no_room_are_saved),
		ready(a_command_that_outlives_its_driver_is_saved),
		ready(units_keep_what_the_guest_made_of_them),
		ready(damaged_state_is_refused_wherever_it_is_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
