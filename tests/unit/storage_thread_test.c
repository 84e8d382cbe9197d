/*
 * tests/unit/storage_thread_test.c - the storage controller as in a worker: its own thread with an io_uring,
 * the real bus, raw disks on files; the test is the guest and the control thread.
 */
#include "hypervisor/vsp/storage.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <poll.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/unit/fake_vstor.h"

enum { SIZE = 4 << 20, MEMORY_MB = 32, DATA = 8 << 20, RING = 33, VPS = 4, OK = 1, PATIENCE_MS = 20000 };

struct fixture {
	struct fake_vmbus f;
	struct io_loop *loop;
	struct storage *s;
	struct fake_channel c[VPS];
	atomic_bool work;
	atomic_uint full;
	unsigned gone;
	int file;
};

static void
on_work(void *ctx)
{
	atomic_store(&((struct fixture *)ctx)->work, true);
}

static void
on_full(void *ctx, unsigned controller, unsigned lun, int error)
{
	(void)controller, (void)lun, (void)error;
	atomic_fetch_add(&((struct fixture *)ctx)->full, 1);
}

static void
on_gone(void *ctx)
{
	((struct fixture *)ctx)->gone++;
}

static void
control(struct fixture *x)
{
	if (atomic_exchange(&x->work, false))
		storage_work(x->s);
}

/* The next answer, waited for; its transaction. p has it. */
static uint64_t
await(struct fixture *x, struct fake_channel *c, uint8_t p[VSTOR_LEN])
{
	struct packet_head h;

	for (unsigned ms = 0; ms < PATIENCE_MS; ms++) {
		while (fake_recv(c, &h, p, VSTOR_LEN) >= 0)
			if (h.type == PACKET_COMPLETION)
				return h.transaction;
		control(x);
		poll(NULL, 0, 1);
	}
	fail_msg("an answer was lost");
	return 0;
}

static uint32_t
vstor(struct fixture *x, uint8_t op, uint16_t argument)
{
	uint8_t p[VSTOR_LEN] = { op, 0, 0, 0, 1 };

	put_le16(p + 12, argument);
	assert_true(fake_vstor_send_on(&x->c[0], op, p, sizeof(p)));
	assert_int_equal(await(x, &x->c[0], p), op);
	return get_le32(p + 8);
}

static int
new_file(off_t size)
{
	int fd = memfd_create("disk", 0);

	assert_int_equal(ftruncate(fd, size), 0);
	return fd;
}

static void
add(struct fixture *x, unsigned lun, int fd)
{
	static const struct unit_config config = { .kind = UNIT_DISK };
	struct disk_file *file;
	struct disk *d;

	assert_int_equal(file_new(&file, x->loop, fd, false, NULL), 0);
	assert_int_equal(disk_raw_new(&d, x->loop, file, 512, false, NULL), 0);
	assert_int_equal(storage_add(x->s, lun, &config, d, NULL), 0);
}

static void
open_channels(struct fixture *x, const struct wire_offer *offer)
{
	struct fake_message m;

	assert_int_equal(fake_open(&x->f, &x->c[0], offer, RING, RING, 0), WIRE_STATUS_OK);
	assert_int_equal(vstor(x, 7, 0), 0);
	assert_int_equal(vstor(x, 9, 0x602), 0);
	assert_int_equal(vstor(x, 10, 0), 0);
	assert_int_equal(vstor(x, 8, 0), 0);
	assert_int_equal(vstor(x, 13, VPS - 1), 0);
	for (unsigned i = 1; i < VPS; i++) {
		assert_true(fake_await(&x->f, WIRE_OFFER, &m));
		assert_int_equal(fake_open(&x->f, &x->c[i], &m.offer, RING, RING, i), WIRE_STATUS_OK);
	}
}

static int
setup(void **state)
{
	static const uint8_t id[16] = { 1 };
	struct fixture *x = calloc(1, sizeof(*x));
	const struct storage_events events = { .ctx = x, .work = on_work, .full = on_full };
	struct fake_srb tur = { { 0 }, 6, 2, 0, 0, 0, 0 };
	struct wire_offer offer;
	uint8_t p[VSTOR_LEN];

	assert_int_equal(fake_vmbus_init(&x->f, MEMORY_MB, VPS), 0);
	assert_int_equal(io_loop_new(&x->loop, NULL), 0);
	assert_int_equal(storage_new(&x->s, x->f.bus, x->loop, 0, id, &events, NULL), 0);
	assert_int_equal(io_loop_start(x->loop, NULL, NULL), 0);
	x->file = new_file(SIZE);
	add(x, 0, dup(x->file));
	assert_int_equal(vmbus_offer_device(x->f.bus, storage_device(x->s), NULL), 0);
	assert_true(fake_connect(&x->f, VMBUS_5_3));
	assert_int_equal(fake_offers(&x->f, &offer, 1), 1);
	open_channels(x, &offer);
	fake_srb_send_on(&x->c[0], 1, &tur, 0); /* hears of the power-on */
	await(x, &x->c[0], p);
	*state = x;
	return 0;
}

/* A worker's controllers live as long as its process, for their loops call them to the end. */
static struct storage *kept[16];

static int
teardown(void **state)
{
	static unsigned n;
	struct fixture *x = *state;

	vmbus_reset(x->f.bus);
	for (unsigned ms = 0; !vmbus_idle(x->f.bus) && ms < PATIENCE_MS; ms++) {
		poll(NULL, 0, 1);
		control(x);
	}
	assert_true(vmbus_idle(x->f.bus));
	for (unsigned lun = 0; lun < STORAGE_UNITS; lun++)
		storage_remove(x->s, lun, NULL, NULL, NULL);
	storage_work(x->s);
	kept[n++] = x->s;
	fake_vmbus_free(&x->f);
	io_loop_free(x->loop);
	close(x->file);
	free(x);
	return 0;
}

/* A place on the disk and in memory for each request: what is written there says which it was. */
static bool
send_io(struct fixture *x, unsigned c, bool write, uint32_t n, uint8_t lun)
{
	struct fake_srb b = { { write ? 0x2a : 0x28, 0, 0, 0, (uint8_t)(n * 8 >> 8), (uint8_t)(n * 8), 0, 0,
				  8 },
		10, !write, 0, 0, lun, 4096 };
	uint64_t gpa = DATA + (uint64_t)n * 8192 + n % 7 * 512; /* across pages, too */

	if (write)
		for (uint32_t i = 0; i < 4096; i += 4)
			gmem_write(x->f.mem, gpa + i, &(uint32_t){ n * 1000003 + i }, 4);
	else
		gmem_zero(x->f.mem, gpa, 4096);
	return fake_srb_send_on(&x->c[c], n + 1, &b, gpa);
}

static bool
is_right(struct fixture *x, uint32_t n)
{
	const uint8_t *p = gmem_span(x->f.mem, DATA + (uint64_t)n * 8192 + n % 7 * 512, 4096);

	for (uint32_t i = 0; i < 4096; i += 4) {
		uint32_t v;

		memcpy(&v, p + i, 4);
		if (v != n * 1000003 + i)
			return false;
	}
	return true;
}

/* One request a number, spread over the channels; every answer is good. */
static void
all(struct fixture *x, bool write, uint32_t n)
{
	uint8_t p[VSTOR_LEN];

	for (uint32_t i = 0; i < n; i++)
		assert_true(send_io(x, i % VPS, write, i, 0));
	for (uint32_t i = 0; i < n; i++) {
		uint64_t t = await(x, &x->c[i % VPS], p);

		assert_int_equal(p[14], OK);
		assert_in_range(t, 1, n);
	}
}

static void
what_is_written_on_all_channels_is_read_back(void **state)
{
	struct fixture *x = *state;

	all(x, true, 512);
	all(x, false, 512);
	for (uint32_t i = 0; i < 512; i++)
		assert_true(is_right(x, i));
}

static void
units_come_and_go_under_load(void **state)
{
	struct fixture *x = *state;
	uint8_t p[VSTOR_LEN];

	for (unsigned round = 0; round < 100; round++) {
		unsigned lun = 1 + round % 5;

		add(x, lun, new_file(SIZE));
		for (uint32_t i = 0; i < 32; i++)
			assert_true(send_io(x, i % VPS, i & 1, i, i & 2 ? (uint8_t)lun : 0));
		assert_int_equal(storage_remove(x->s, lun, on_gone, x, NULL), 0);
		for (uint32_t i = 0; i < 32; i++)
			await(x, &x->c[i % VPS], p); /* done, or gone: but answered */
	}
	for (unsigned ms = 0; x->gone < 100 && ms < PATIENCE_MS; ms++) {
		control(x);
		poll(NULL, 0, 1);
	}
	assert_int_equal(x->gone, 100);
}

static void
pauses_lose_nothing(void **state)
{
	struct fixture *x = *state;
	uint8_t p[VSTOR_LEN];

	for (unsigned round = 0; round < 50; round++) {
		struct unit_stats st;

		for (uint32_t i = 0; i < 64; i++)
			assert_true(send_io(x, i % VPS, true, i, 0));
		assert_int_equal(storage_pause(x->s, PATIENCE_MS, NULL), 0);
		assert_int_equal(storage_statistics(x->s, 0, &st), 0);
		assert_int_equal(st.in_flight, 0);
		storage_resume(x->s);
		for (uint32_t i = 0; i < 64; i++) {
			await(x, &x->c[i % VPS], p);
			assert_int_equal(p[14], OK);
		}
	}
}

static void
limits_are_kept_in_real_time(void **state)
{
	static const struct unit_config slow = { .kind = UNIT_DISK, .max_iops = 200 }, fast = { 0 };
	struct fixture *x = *state;
	struct timespec a, b;
	long ms;

	storage_set_limits(x->s, 0, &slow, NULL);
	clock_gettime(CLOCK_MONOTONIC, &a);
	all(x, true, 100);
	clock_gettime(CLOCK_MONOTONIC, &b);
	ms = (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;
	assert_in_range(ms, 400, PATIENCE_MS);
	storage_set_limits(x->s, 0, &fast, NULL);
}

static void
a_guest_that_vanishes_is_let_go(void **state)
{
	struct fixture *x = *state;

	for (uint32_t i = 0; i < 200; i++)
		assert_true(send_io(x, i % VPS, i & 1, i, 0));
	vmbus_reset(x->f.bus); /* with all of it under way: teardown waits for the rest */
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(what_is_written_on_all_channels_is_read_back),
		unit(units_come_and_go_under_load),
		unit(pauses_lose_nothing),
		unit(limits_are_kept_in_real_time),
		unit(a_guest_that_vanishes_is_let_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
