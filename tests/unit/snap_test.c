/*
 * tests/unit/snap_test.c - saved fields: the same list in both directions, nothing believed.
 */
#include "hypervisor/state/snap.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

struct sample {
	bool b;
	uint8_t u8;
	uint16_t u16;
	uint32_t u32;
	uint64_t u64;
	uint8_t bytes[3];
};

enum { SAMPLE_LEN = 1 + 1 + 2 + 4 + 8 + 3 };

static void
snap_sample(struct snap *s, struct sample *v)
{
	snap_bool(s, "b", &v->b);
	snap_u8(s, "u8", &v->u8, 0x7f);
	snap_u16(s, "u16", &v->u16, 0x1234);
	snap_u32(s, "u32", &v->u32, UINT32_MAX);
	snap_u64(s, "u64", &v->u64, UINT64_MAX);
	snap_bytes(s, "bytes", v->bytes, sizeof(v->bytes));
	snap_check(s, v->u8 != 0, "u8", "is zero");
}

static const struct sample full = { true, 0x7f, 0x1234, 0x89abcdef, 0xfedcba9876543210, { 1, 2, 3 } };
static const uint8_t full_bytes[SAMPLE_LEN] = { 1, 0x7f, 0x34, 0x12, 0xef, 0xcd, 0xab, 0x89, 0x10, 0x32, 0x54,
	0x76, 0x98, 0xba, 0xdc, 0xfe, 1, 2, 3 };

static int
restore(struct snap *s, const void *buf, size_t len, struct sample *v)
{
	/* A block of the exact size, so that a read beyond its end is caught. */
	uint8_t *copy = malloc(len ? len : 1);

	memcpy(copy, buf, len);
	snap_restore_from(s, copy, len);
	snap_sample(s, v);
	snap_end(s);
	free(copy);
	return s->rc;
}

static void
values_are_written_little_endian_without_gaps(void **state)
{
	uint8_t buf[64];
	struct sample v = full;
	struct snap s;

	(void)state;
	snap_save_to(&s, buf, sizeof(buf));
	snap_sample(&s, &v);
	assert_int_equal(snap_end(&s), 0);
	assert_int_equal(s.pos, SAMPLE_LEN);
	assert_memory_equal(buf, full_bytes, SAMPLE_LEN);
}

static void
what_was_saved_is_read_back(void **state)
{
	struct sample v = { 0 };
	struct snap s;

	(void)state;
	assert_int_equal(restore(&s, full_bytes, SAMPLE_LEN, &v), 0);
	assert_true(v.b);
	assert_int_equal(v.u8, full.u8);
	assert_int_equal(v.u16, full.u16);
	assert_int_equal(v.u32, full.u32);
	assert_true(v.u64 == full.u64);
	assert_memory_equal(v.bytes, full.bytes, sizeof(v.bytes));
}

static void
a_cut_at_any_length_is_refused(void **state)
{
	struct sample v;
	struct snap s;

	(void)state;
	for (size_t cut = 0; cut < SAMPLE_LEN; cut++) {
		assert_int_equal(restore(&s, full_bytes, cut, &v), -EINVAL);
		assert_non_null(strstr(s.err.msg, "cut short"));
	}
}

static void
bytes_left_over_are_refused(void **state)
{
	uint8_t buf[SAMPLE_LEN + 1] = { 0 };
	struct sample v;
	struct snap s;

	(void)state;
	memcpy(buf, full_bytes, SAMPLE_LEN);
	assert_int_equal(restore(&s, buf, sizeof(buf), &v), -EINVAL);
	assert_string_equal(s.err.msg, "1 bytes too many");
}

static void
a_save_without_room_fails_with_the_field_s_name(void **state)
{
	uint8_t buf[SAMPLE_LEN + 1];
	struct sample v = full;
	struct snap s;

	(void)state;
	for (size_t cap = 0; cap < SAMPLE_LEN; cap++) {
		memset(buf, 0xee, sizeof(buf));
		snap_save_to(&s, buf, cap);
		snap_sample(&s, &v);
		assert_int_equal(snap_end(&s), -ENOSPC);
		assert_int_equal(buf[cap], 0xee);
		assert_non_null(strstr(s.err.msg, ": no room left"));
	}
}

static void
a_value_above_its_limit_is_refused_and_left_alone(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
		const char *msg;
	} bad[] = {
		{ 0, 2, "b: 2 is more than 1" },
		{ 1, 0x80, "u8: 128 is more than 127" },
		{ 2, 0x35, "u16: 4661 is more than 4660" },
		{ 1, 0, "u8: is zero" },
	};
	struct snap s;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint8_t buf[SAMPLE_LEN];
		struct sample v = { .u16 = 7 };

		memcpy(buf, full_bytes, sizeof(buf));
		buf[bad[i].at] = bad[i].byte;
		assert_int_equal(restore(&s, buf, sizeof(buf), &v), -EINVAL);
		assert_string_equal(s.err.msg, bad[i].msg);
		if (bad[i].at == 2)
			assert_int_equal(v.u16, 7);
	}
}

static void
what_could_not_be_read_back_is_not_written(void **state)
{
	struct sample v = full;
	uint8_t buf[64];
	struct snap s;

	(void)state;
	v.u8 = 0x80;
	snap_save_to(&s, buf, sizeof(buf));
	snap_sample(&s, &v);
	assert_int_equal(snap_end(&s), -EINVAL);
}

static void
the_first_failure_stays(void **state)
{
	uint8_t buf[SAMPLE_LEN] = { 2, 0xff };
	struct sample v = { 0 };
	struct snap s;

	(void)state;
	restore(&s, buf, sizeof(buf), &v);
	assert_string_equal(s.err.msg, "b: 2 is more than 1");
	assert_int_equal(v.u8, 0);
}

static void
nothing_can_be_saved_and_restored(void **state)
{
	struct snap s;

	(void)state;
	snap_save_to(&s, NULL, 0);
	snap_bytes(&s, "none", NULL, 0);
	assert_int_equal(snap_end(&s), 0);
	snap_restore_from(&s, NULL, 0);
	snap_bytes(&s, "none", NULL, 0);
	assert_int_equal(snap_end(&s), 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_written_little_endian_without_gaps),
		cmocka_unit_test(what_was_saved_is_read_back),
		cmocka_unit_test(a_cut_at_any_length_is_refused),
		cmocka_unit_test(bytes_left_over_are_refused),
		cmocka_unit_test(a_save_without_room_fails_with_the_field_s_name),
		cmocka_unit_test(a_value_above_its_limit_is_refused_and_left_alone),
		cmocka_unit_test(what_could_not_be_read_back_is_not_written),
		cmocka_unit_test(the_first_failure_stays),
		cmocka_unit_test(nothing_can_be_saved_and_restored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
