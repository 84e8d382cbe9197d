/*
 * tests/unit/storage_bus_test.c - the storage controller on the real bus: offered, opened, asked for
 * sub-channels, saved with the bus in the middle of I/O and continued elsewhere, broken, reset.
 */
#include "hypervisor/vsp/storage.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/fake_disk.h"
#include "tests/unit/fake_loop.h"
#include "tests/unit/fake_vstor.h"

enum { SIZE = 1 << 20, MEMORY_MB = 16, DATA = 8 << 20, RING = 33, VPS = 4, OK = 1 };

struct fixture {
	struct fake_vmbus f;
	struct io_loop *loop;
	struct storage *s;
	struct fake_disk *d;
	struct fake_channel c[VPS];
	bool work;
};

static void
work(void *ctx)
{
	((struct fixture *)ctx)->work = true;
}

static void
run(struct fixture *x)
{
	assert_true(fake_loop_run(x->loop));
	while (x->work) {
		x->work = false;
		storage_work(x->s);
		assert_true(fake_loop_run(x->loop));
	}
}

static void
make(struct fixture *x)
{
	static const uint8_t id[16] = { 9, 8, 7 };
	static const struct unit_config config = { .kind = UNIT_DISK };
	const struct storage_events events = { .ctx = x, .work = work };

	x->loop = fake_loop_new();
	assert_int_equal(storage_new(&x->s, x->f.bus, x->loop, 0, id, &events, NULL), 0);
	x->d = fake_disk_new(x->loop, SIZE, 512);
	assert_int_equal(storage_add(x->s, 0, &config, &x->d->disk, NULL), 0);
	assert_int_equal(vmbus_offer_device(x->f.bus, storage_device(x->s), NULL), 0);
}

static uint32_t
vstor(struct fixture *x, struct fake_channel *c, uint8_t op, uint16_t argument)
{
	uint8_t p[VSTOR_LEN] = { op, 0, 0, 0, 1 };
	struct packet_head h;

	put_le16(p + 12, argument);
	assert_true(fake_vstor_send_on(c, op, p, sizeof(p)));
	run(x);
	if (fake_recv(c, &h, p, sizeof(p)) != VSTOR_LEN || h.type != PACKET_COMPLETION || h.transaction != op)
		return UINT32_MAX;
	return get_le32(p + 8);
}

static int
setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));
	struct wire_offer offer;
	struct fake_srb tur = { { 0 }, 6, 2, 0, 0, 0, 0 };
	struct packet_head h;
	uint8_t p[VSTOR_LEN];

	assert_int_equal(fake_vmbus_init(&x->f, MEMORY_MB, VPS), 0);
	make(x);
	assert_true(fake_connect(&x->f, VMBUS_5_3));
	assert_int_equal(fake_offers(&x->f, &offer, 1), 1);
	assert_memory_equal(offer.type,
	    ((uint8_t[]){ 0xd9, 0x63, 0x61, 0xba, 0xa1, 0x04, 0x29, 0x4d, 0xb6, 0x05, 0x72, 0xe2, 0xff, 0xb1,
		0xdc, 0x7f }),
	    16); /* as on the wire */
	assert_int_equal(fake_open(&x->f, &x->c[0], &offer, RING, RING, 0), WIRE_STATUS_OK);
	assert_int_equal(vstor(x, &x->c[0], 7, 0), 0);
	assert_int_equal(vstor(x, &x->c[0], 9, 0x602), 0);
	assert_int_equal(vstor(x, &x->c[0], 10, 0), 0);
	assert_int_equal(vstor(x, &x->c[0], 8, 0), 0);
	fake_srb_send_on(&x->c[0], 1, &tur, 0); /* hears of the power-on */
	run(x);
	assert_int_equal(fake_recv(&x->c[0], &h, p, sizeof(p)), VSTOR_LEN);
	*state = x;
	return 0;
}

static void
drop(struct fixture *x)
{
	vmbus_reset(x->f.bus);
	run(x);
	assert_true(vmbus_idle(x->f.bus));
}

static int
teardown(void **state)
{
	struct fixture *x = *state;

	drop(x);
	fake_vmbus_free(&x->f);
	storage_free(x->s);
	io_loop_free(x->loop);
	free(x);
	return 0;
}

static unsigned
answers(struct fake_channel *c)
{
	struct packet_head h;
	uint8_t p[VSTOR_LEN];
	unsigned n = 0;

	while (fake_recv(c, &h, p, sizeof(p)) >= 0)
		n += p[14] == OK;
	return n;
}

static const struct fake_srb read_8 = { { 0x28, 0, 0, 0, 0, 3, 0, 0, 8 }, 10, 1, 0, 0, 0, 4096 };
static const struct fake_srb write_8 = { { 0x2a, 0, 0, 0, 0, 0, 0, 0, 8 }, 10, 0, 0, 0, 0, 4096 };

static void
a_read_goes_through_with_one_interrupt(void **state)
{
	struct fixture *x = *state;

	fake_signalled(&x->f, 0, x->c[0].relid);
	assert_true(fake_srb_send_on(&x->c[0], 5, &read_8, DATA + 100));
	run(x);
	assert_true(fake_signalled(&x->f, 0, x->c[0].relid));
	assert_int_equal(answers(&x->c[0]), 1);
	assert_memory_equal(gmem_span(x->f.mem, DATA + 100, 4096), x->d->data + 3 * 512, 4096);
}

static void
sub_channels_come_and_carry_commands(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;

	assert_int_equal(vstor(x, &x->c[0], 13, VPS - 1), 0);
	for (unsigned i = 1; i < VPS; i++) {
		assert_true(fake_await(&x->f, WIRE_OFFER, &m));
		assert_int_equal(m.offer.index, i);
		assert_int_equal(fake_open(&x->f, &x->c[i], &m.offer, RING, RING, i), WIRE_STATUS_OK);
	}
	for (unsigned i = 0; i < VPS; i++)
		assert_true(fake_srb_send_on(&x->c[i], 5, &read_8, DATA + i * 8192));
	run(x);
	for (unsigned i = 0; i < VPS; i++)
		assert_int_equal(answers(&x->c[i]), 1);
	assert_int_not_equal(vstor(x, &x->c[0], 13, 1), 0); /* there are no more processors */
}

static void
memory_is_given_back_when_the_last_read_has_ended(void **state)
{
	struct fixture *x = *state;

	x->d->hold = true;
	fake_srb_send_on(&x->c[0], 5, &read_8, DATA);
	run(x);
	fake_close(&x->c[0]);
	assert_false(fake_teardown(&x->f, x->c[0].relid, x->c[0].gpadl)); /* not yet */
	fake_disk_release_all(x->d, false);
	run(x);
	assert_true(fake_await(&x->f, WIRE_GPADL_TORNDOWN, &(struct fake_message){ 0 }));
}

static void
a_broken_ring_takes_the_controller_back(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;

	x->c[0].out.control->write_index = 3;
	fake_kick(&x->f, x->c[0].connection);
	run(x);
	assert_true(fake_await(&x->f, WIRE_RESCIND, &m));
	assert_int_equal(m.relid.relid, x->c[0].relid);
}

/* Everything is saved while writes wait; another bus, another controller and another disk go on with it. */
static void
bus_and_controller_are_saved_in_the_middle_of_io(void **state)
{
	enum { WRITES = 20 };
	static uint8_t memory[MEMORY_MB << 20], disk[SIZE];
	static const struct unit_config slow = { .kind = UNIT_DISK, .max_iops = 5 };
	struct fixture *x = *state;
	struct fake_channel c = x->c[0];
	size_t cap;
	void *buf;
	long len;
	unsigned n;

	storage_set_limits(x->s, 0, &slow, NULL);
	for (unsigned i = 0; i < WRITES; i++) {
		struct fake_srb b = write_8;

		b.cdb[5] = (uint8_t)(i * 8);
		gmem_zero(x->f.mem, DATA + i * 4096, 4096);
		gmem_write(x->f.mem, DATA + i * 4096, &(uint32_t){ i + 1 }, 4);
		assert_true(fake_srb_send_on(&c, i, &b, DATA + i * 4096));
		if (i == WRITES / 2)
			run(x);
	}
	fake_loop_pass(x->loop, UINT64_C(1000000000));
	n = answers(&c);
	assert_in_range(n, 4, 8);
	assert_int_equal(storage_pause(x->s, 10, NULL), 0);
	cap = vmbus_state_max(x->f.bus);
	buf = malloc(cap);
	len = vmbus_save(x->f.bus, buf, cap);
	assert_true(len > 0);
	gmem_read(x->f.mem, 0, memory, sizeof(memory));
	memcpy(disk, x->d->data, SIZE);

	drop(x);
	vmbus_free(x->f.bus);
	storage_free(x->s);
	io_loop_free(x->loop);
	x->work = false;
	assert_int_equal(vmbus_new(&x->f.bus, &x->f.host, NULL), 0);
	make(x);
	memcpy(x->d->data, disk, SIZE);
	gmem_write(x->f.mem, 0, memory, sizeof(memory));
	assert_int_equal(vmbus_restore(x->f.bus, buf, (size_t)len, NULL), 0);
	free(buf);
	run(x);
	assert_int_equal(answers(&c), 0); /* not before all is there */
	vmbus_restored(x->f.bus);
	run(x);
	assert_int_equal(answers(&c), WRITES - n);
	for (uint32_t i = 0; i < WRITES; i++) {
		uint32_t v;

		memcpy(&v, x->d->data + i * 4096, 4);
		assert_int_equal(v, i + 1);
	}
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(a_read_goes_through_with_one_interrupt),
		unit(sub_channels_come_and_carry_commands),
		unit(memory_is_given_back_when_the_last_read_has_ended),
		unit(a_broken_ring_takes_the_controller_back),
		unit(bus_and_controller_are_saved_in_the_middle_of_io),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
