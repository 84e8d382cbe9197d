/*
 * tests/unit/fake_snap.h - what every device promises about saved state, as one check for its test.
 */
#ifndef TESTS_UNIT_FAKE_SNAP_H
#define TESTS_UNIT_FAKE_SNAP_H

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "hypervisor/chipset/device.h"

enum { FAKE_SNAP_MAX = 512 };

/* Restores a's state into b, a fresh device of the same kind: all of it, and none of it cut short. */
static inline void
assert_saves_whole_or_not_at_all(struct device *a, struct device *b)
{
	uint8_t was[FAKE_SNAP_MAX], is[FAKE_SNAP_MAX];
	long n = device_save(a, was, sizeof(was));
	struct err e = { 0 };

	assert_in_range(n, 1, sizeof(was));
	for (long room = 0; room < n; room++)
		assert_int_equal(device_save(a, is, (size_t)room), -ENOSPC);
	for (long cut = 0; cut < n; cut++) {
		assert_int_equal(device_restore(b, was, (size_t)cut, &e), -EINVAL);
		assert_true(e.msg[0]);
	}
	assert_int_equal(device_restore(b, was, (size_t)n, &e), 0);
	assert_int_equal(device_save(b, is, sizeof(is)), n);
	assert_memory_equal(was, is, (size_t)n);
	was[n] = 0;
	assert_int_equal(device_restore(b, was, (size_t)n + 1, &e), -EINVAL);
}

/* State with `byte` at `at` is refused. */
static inline void
assert_refuses_byte(struct device *a, struct device *b, size_t at, uint8_t byte)
{
	uint8_t buf[FAKE_SNAP_MAX];
	long n = device_save(a, buf, sizeof(buf));

	assert_in_range(n, at + 1, sizeof(buf));
	buf[at] = byte;
	assert_int_equal(device_restore(b, buf, (size_t)n, NULL), -EINVAL);
}

#endif
