/*
 * tests/unit/bus_test.c - every access at every port is answered, by the right device in the right pieces.
 */
#include "hypervisor/chipset/bus.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

/* A device that writes down what it is asked: "r2.4=..." is a read of 4 bytes at offset 2. */
struct scribe {
	struct device dev;
	struct device_ops ops;
	char log[128];
	uint32_t answer;
};

static void
note(struct scribe *d, const char *fmt, unsigned a, unsigned b, uint32_t v)
{
	size_t n = strlen(d->log);

	/* Only with the lock held. */
	assert_int_not_equal(pthread_mutex_trylock(&d->dev.lock), 0);
	snprintf(d->log + n, sizeof(d->log) - n, fmt, a, b, v);
}

static uint32_t
scribe_read(struct device *dev, uint32_t off, unsigned size)
{
	struct scribe *d = (struct scribe *)dev;

	note(d, "r%u.%u ", off, size, 0);
	return d->answer;
}

static void
scribe_write(struct device *dev, uint32_t off, unsigned size, uint32_t value)
{
	note((struct scribe *)dev, "w%u.%u=%x ", off, size, value);
}

static void
scribe_reset(struct device *dev)
{
	note((struct scribe *)dev, "reset ", 0, 0, 0);
}

static void
scribe_expire(struct device *dev)
{
	note((struct scribe *)dev, "expire ", 0, 0, 0);
}

static void
scribe_snap(struct device *dev, struct snap *s)
{
	assert_int_not_equal(pthread_mutex_trylock(&dev->lock), 0);
	snap_u32(s, "answer", &((struct scribe *)dev)->answer, 0xffff);
}

static void
scribe_restored(struct device *dev)
{
	note((struct scribe *)dev, "restored ", 0, 0, 0);
}

static void
scribe_free(struct device *dev)
{
	struct scribe *d = (struct scribe *)dev;

	strcat(d->log, "freed ");
}

static void
stop_timer(void *ctx, struct device *dev, uint64_t ns)
{
	(void)ctx;
	assert_true(ns == UINT64_MAX);
	strcat(((struct scribe *)dev)->log, "stopped ");
}

static const struct device_host host = { .timer = stop_timer };

static void
scribe_init(struct scribe *d, unsigned width)
{
	memset(d, 0, sizeof(*d));
	d->ops = (struct device_ops){ "scribe", 1, width, scribe_read, scribe_write, scribe_reset,
		scribe_expire, scribe_snap, scribe_restored, scribe_free };
	d->answer = 0x44332211;
	device_init(&d->dev, &d->ops, &host, 3);
}

static void
nobody_answers_with_ones(void **state)
{
	struct bus b = { 0 };

	(void)state;
	assert_int_equal(bus_read(&b, 0x80, 1), 0xff);
	assert_int_equal(bus_read(&b, 0x80, 2), 0xffff);
	assert_int_equal(bus_read(&b, 0xffff, 4), 0xffffffff);
	bus_write(&b, 0xffff, 4, 0);
}

static void
ranges_do_not_overlap(void **state)
{
	struct scribe d;
	struct bus b = { 0 };

	(void)state;
	scribe_init(&d, 4);
	assert_int_equal(bus_add(&b, 0x100, 8, &d.dev), 0);
	assert_int_equal(bus_add(&b, 0x0f8, 8, &d.dev), 0);
	assert_int_equal(bus_add(&b, 0x108, 8, &d.dev), 0);
	for (uint32_t base = 0xf1; base < 0x110; base++)
		assert_int_equal(bus_add(&b, base, 8, &d.dev), -EEXIST);
	assert_int_equal(bus_add(&b, 0, 0x1000, &d.dev), -EEXIST);
	assert_int_equal(b.n, 3);
	for (unsigned i = 1; i < b.n; i++)
		assert_true(b.range[i - 1].base + b.range[i - 1].len <= b.range[i].base);
}

static void
ranges_end_at_the_last_port(void **state)
{
	struct scribe d;
	struct bus b = { 0 };

	(void)state;
	scribe_init(&d, 1);
	assert_int_equal(bus_add(&b, 0xfff8, 9, &d.dev), -ERANGE);
	assert_int_equal(bus_add(&b, 0x10000, 1, &d.dev), -ERANGE);
	assert_int_equal(bus_add(&b, 8, UINT32_MAX, &d.dev), -ERANGE);
	assert_int_equal(bus_add(&b, 8, 0, &d.dev), -ERANGE);
	assert_int_equal(bus_add(&b, 0xfff8, 8, &d.dev), 0);
	assert_int_equal(bus_add(&b, 0, 1, &d.dev), 0);
	bus_write(&b, 0xffff, 4, 0x12345678); /* does not come round to port 0 */
	assert_string_equal(d.log, "w7.1=78 ");
}

static void
the_map_has_room_for_64_ranges(void **state)
{
	struct scribe d;
	struct bus b = { 0 };

	(void)state;
	scribe_init(&d, 1);
	for (uint32_t i = 0; i < BUS_MAX_RANGES; i++)
		assert_int_equal(bus_add(&b, 0x1000 - 4 * i, 2, &d.dev), 0);
	assert_int_equal(bus_add(&b, 0x2000, 1, &d.dev), -ENOSPC);
	for (uint32_t i = 0; i < BUS_MAX_RANGES; i++) {
		d.log[0] = '\0';
		bus_read(&b, (uint16_t)(0x1001 - 4 * i), 1);
		assert_string_equal(d.log, "r1.1 ");
		assert_int_equal(bus_read(&b, (uint16_t)(0x1002 - 4 * i), 1), 0xff);
	}
}

static void
an_access_wider_than_the_device_is_split(void **state)
{
	static const struct {
		unsigned width, size;
		const char *log;
	} rows[] = {
		{ 1, 1, "w2.1=ef " },
		{ 1, 2, "w2.1=ef w3.1=be " },
		{ 1, 4, "w2.1=ef w3.1=be w4.1=ad w5.1=de " },
		{ 2, 1, "w2.1=ef " },
		{ 2, 2, "w2.2=beef " },
		{ 2, 4, "w2.2=beef w4.2=dead " },
		{ 4, 2, "w2.2=beef " },
		{ 4, 4, "w2.4=deadbeef " },
	};
	struct scribe d;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bus b = { 0 };

		scribe_init(&d, rows[i].width);
		bus_add(&b, 0x40, 8, &d.dev);
		bus_write(&b, 0x42, rows[i].size, 0xdeadbeef);
		assert_string_equal(d.log, rows[i].log);
	}
}

static void
pieces_read_make_one_value(void **state)
{
	struct scribe d;
	struct bus b = { 0 };

	(void)state;
	scribe_init(&d, 2);
	bus_add(&b, 0x40, 8, &d.dev);
	assert_int_equal(bus_read(&b, 0x40, 1), 0x11); /* what is above the piece is cut off */
	assert_int_equal(bus_read(&b, 0x40, 2), 0x2211);
	assert_int_equal(bus_read(&b, 0x40, 4), 0x22112211);
}

static void
over_the_end_of_a_range_each_byte_finds_its_own(void **state)
{
	struct scribe d, e;
	struct bus b = { 0 };

	(void)state;
	scribe_init(&d, 4);
	scribe_init(&e, 4);
	bus_add(&b, 0x40, 4, &d.dev);
	bus_add_at(&b, 0x44, 4, &e.dev, 0x20);
	bus_write(&b, 0x43, 4, 0x04030201);
	assert_string_equal(d.log, "w3.1=1 ");
	assert_string_equal(e.log, "w32.1=2 w33.2=403 ");
	e.log[0] = '\0';
	assert_int_equal(bus_read(&b, 0x46, 4), 0xffff1111);
	assert_string_equal(e.log, "r34.1 r35.1 ");
	assert_int_equal(bus_read(&b, 0x3e, 4), 0x2211ffff);
	d.log[0] = '\0';
	bus_write(&b, 0x40, 4, 0x04030201); /* up to the end is not over it */
	assert_string_equal(d.log, "w0.4=4030201 ");
}

static void
the_common_part_takes_the_lock_and_calls_the_device(void **state)
{
	struct scribe d;
	uint8_t buf[8];
	struct err e;

	(void)state;
	scribe_init(&d, 4);
	device_reset(&d.dev);
	device_expire(&d.dev);
	assert_int_equal(device_save(&d.dev, buf, sizeof(buf)), -EINVAL); /* above its limit */
	d.answer = 5;
	assert_int_equal(device_save(&d.dev, buf, 3), -ENOSPC);
	assert_int_equal(device_save(&d.dev, buf, sizeof(buf)), 4);
	assert_int_equal(device_restore(&d.dev, buf, 3, &e), -EINVAL);
	assert_string_equal(e.msg, "scribe3: answer: cut short");
	assert_int_equal(device_restore(&d.dev, buf, 5, &e), -EINVAL);
	assert_string_equal(d.log, "reset expire "); /* a bad state is never acted upon */
	assert_int_equal(device_restore(&d.dev, buf, 4, &e), 0);
	device_free(&d.dev);
	assert_string_equal(d.log, "reset expire restored stopped freed ");
	device_free(NULL);
}

static void
a_device_without_a_timer_has_none_stopped(void **state)
{
	struct scribe d;

	(void)state;
	scribe_init(&d, 4);
	d.ops.expire = NULL;
	d.ops.restored = NULL;
	d.answer = 0;
	device_expire(&d.dev);
	assert_int_equal(device_restore(&d.dev, "\1\0\0", 4, NULL), 0);
	assert_int_equal(d.answer, 1);
	device_free(&d.dev);
	assert_string_equal(d.log, "freed ");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_answers_with_ones),
		cmocka_unit_test(ranges_do_not_overlap),
		cmocka_unit_test(ranges_end_at_the_last_port),
		cmocka_unit_test(the_map_has_room_for_64_ranges),
		cmocka_unit_test(an_access_wider_than_the_device_is_split),
		cmocka_unit_test(pieces_read_make_one_value),
		cmocka_unit_test(over_the_end_of_a_range_each_byte_finds_its_own),
		cmocka_unit_test(the_common_part_takes_the_lock_and_calls_the_device),
		cmocka_unit_test(a_device_without_a_timer_has_none_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
