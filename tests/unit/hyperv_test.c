/*
 * tests/unit/hyperv_test.c - the crash MSRs, as a guest in panic writes them, and the answers to hypercalls
 * that KVM hands over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "hypervisor/core/hyperv.h"

#define NOTIFY  (1ull << 63)
#define MESSAGE (1ull << 62)
enum { RAM = 0x10000, P3 = HV_CRASH_P0 + 3, P4 = HV_CRASH_P0 + 4 };

struct world {
	struct hv_crash c;
	struct gmem *mem;
	char text[HV_CRASH_TEXT + 1];
};
static struct world w;

static int
setup(void **state)
{
	(void)state;
	memset(&w, 0, sizeof(w));
	memset(w.text, '#', sizeof(w.text));
	if (gmem_new(&w.mem, RAM, false, NULL) < 0)
		return -1;
	return gmem_add(w.mem, 0, RAM, NULL, NULL);
}

static int
teardown(void **state)
{
	(void)state;
	gmem_free(w.mem);
	return 0;
}

static int
wrmsr(uint32_t msr, uint64_t value)
{
	return hv_crash_write(&w.c, msr, value, w.mem, w.text);
}

/* A panic whose words are len bytes at gpa. */
static int
panic(uint64_t gpa, uint64_t len)
{
	assert_int_equal(wrmsr(P3, gpa), 0);
	assert_int_equal(wrmsr(P4, len), 0);
	return wrmsr(HV_CRASH_CTL, NOTIFY | MESSAGE);
}

static void
parameters_are_read_back(void **state)
{
	uint64_t v;

	(void)state;
	for (uint32_t i = 0; i < 5; i++)
		assert_int_equal(wrmsr(HV_CRASH_P0 + i, ~0ull - i), 0);
	for (uint32_t i = 0; i < 5; i++) {
		assert_true(hv_crash_read(&w.c, HV_CRASH_P0 + i, &v));
		assert_true(v == ~0ull - i);
	}
	assert_int_equal(w.text[0], '#');
}

static void
reading_the_control_msr_tells_what_we_can_do(void **state)
{
	uint64_t v;

	(void)state;
	assert_int_equal(wrmsr(HV_CRASH_CTL, 0x123), 0);
	assert_true(hv_crash_read(&w.c, HV_CRASH_CTL, &v));
	assert_true(v == (NOTIFY | MESSAGE));
}

static void
other_msrs_are_not_ours(void **state)
{
	static const uint32_t others[] = { 0, HV_CRASH_P0 - 1, HV_CRASH_CTL + 1, 0x10, UINT32_MAX };
	uint64_t v;

	(void)state;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		assert_false(hv_crash_read(&w.c, others[i], &v));
		assert_int_equal(wrmsr(others[i], 1), -1);
	}
	assert_int_equal(HV_CRASH_CTL - HV_CRASH_P0 + 1, HV_CRASH_MSRS); /* what the MSR filter hands over */
}

static void
only_a_notification_is_a_panic(void **state)
{
	(void)state;
	assert_int_equal(wrmsr(HV_CRASH_CTL, MESSAGE), 0);
	assert_int_equal(w.text[0], '#');
	assert_int_equal(wrmsr(HV_CRASH_CTL, NOTIFY), 1);
	assert_string_equal(w.text, "");
}

static void
its_words_are_copied(void **state)
{
	(void)state;
	assert_int_equal(gmem_write(w.mem, 0x1ffe, "Kernel panic", 12), 0);
	assert_int_equal(panic(0x1ffe, 12), 1); /* over the end of a page */
	assert_string_equal(w.text, "Kernel panic");
	assert_int_equal(panic(0x1ffe, 6), 1);
	assert_string_equal(w.text, "Kernel");
	assert_int_equal(panic(0x1ffe, 0), 1);
	assert_string_equal(w.text, "");
}

static void
without_the_message_bit_there_are_no_words(void **state)
{
	(void)state;
	assert_int_equal(gmem_write(w.mem, 0, "words", 5), 0);
	assert_int_equal(wrmsr(P3, 0), 0);
	assert_int_equal(wrmsr(P4, 5), 0);
	assert_int_equal(wrmsr(HV_CRASH_CTL, NOTIFY), 1);
	assert_string_equal(w.text, "");
}

static void
what_is_not_printable_is_replaced(void **state)
{
	uint8_t bytes[256];

	(void)state;
	for (int i = 0; i < 256; i++)
		bytes[i] = (uint8_t)i;
	assert_int_equal(gmem_write(w.mem, 0x3000, bytes, sizeof(bytes)), 0);
	assert_int_equal(panic(0x3000, sizeof(bytes)), 1);
	assert_int_equal(strlen(w.text), 256);
	for (int i = 0; i < 256; i++) {
		bool kept = i == '\n' || i == '\t' || (i >= 0x20 && i < 0x7f);

		assert_int_equal(w.text[i], kept ? i : i == 0 ? ' ' : '?');
	}
}

static void
a_page_of_words_is_the_most(void **state)
{
	static const uint64_t lens[] = { 4095, 4096, 4097, RAM, UINT32_MAX, UINT64_MAX };

	(void)state;
	memset(gmem_span(w.mem, 0, RAM), 'x', RAM);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		assert_int_equal(panic(0x800, lens[i]), 1);
		assert_int_equal(strlen(w.text), lens[i] < 4096 ? lens[i] : 4096);
	}
}

static void
words_outside_memory_are_none(void **state)
{
	static const uint64_t at[] = { RAM, RAM - 1, UINT64_MAX, UINT64_MAX - 1, 1ull << 63, 0xfee00000 };

	(void)state;
	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		memset(w.text, '#', sizeof(w.text));
		assert_int_equal(panic(at[i], 2), 1);
		assert_string_equal(w.text, "");
	}
	assert_int_equal(panic(RAM - 2, 2), 1);
	assert_int_equal(strlen(w.text), 2);
	assert_int_equal(panic(RAM - 4095, UINT64_MAX), 1); /* a page of it is not there */
	assert_string_equal(w.text, "");
}

enum { POST = 0x5c, SIGNAL = 0x5d, FAST = 1 << 16 };

/* What was posted last. */
static struct posted {
	unsigned n;
	uint32_t connection, type;
	size_t len;
	uint8_t payload[240];
} posted;

static uint16_t
take(void *ctx, uint32_t connection, uint32_t type, const void *payload, size_t len)
{
	(void)ctx;
	posted = (struct posted){ .n = posted.n + 1, .connection = connection, .type = type, .len = len };
	assert_true(len <= sizeof(posted.payload));
	memcpy(posted.payload, payload, len);
	return HV_INSUFFICIENT_BUFFERS;
}

static uint64_t
call(uint64_t input, uint64_t param0)
{
	static const struct hv_mail mail = { .post = take };

	return hyperv_hypercall(input, param0, 8, w.mem, &mail);
}

static void
put_message(uint64_t gpa, uint32_t connection, uint32_t type, uint32_t len)
{
	const uint32_t head[4] = { connection, 0xffffffff, type, len };

	assert_int_equal(gmem_write(w.mem, gpa, head, sizeof(head)), 0);
}

static void
a_message_is_taken_with_all_its_bytes(void **state)
{
	static const uint32_t lengths[] = { 0, 1, 239, 240 };

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		put_message(0x1000, 4, 1, lengths[i]);
		gmem_write(w.mem, 0x1010, "first", 5);
		assert_int_equal(call(POST, 0x1000), HV_INSUFFICIENT_BUFFERS); /* whatever its taker says */
		assert_int_equal(posted.connection, 4);
		assert_int_equal(posted.type, 1);
		assert_int_equal(posted.len, lengths[i]);
		assert_memory_equal(posted.payload, "first", lengths[i] < 5 ? lengths[i] : 5);
	}
}

static void
a_message_that_is_not_whole_is_not_taken(void **state)
{
	unsigned n = posted.n;

	(void)state;
	put_message(0x1000, 1, 1, 241);
	assert_int_equal(call(POST, 0x1000), HV_INVALID_PARAMETER);
	put_message(0x1000, 1, 1, UINT32_MAX);
	assert_int_equal(call(POST, 0x1000), HV_INVALID_PARAMETER);
	put_message(0x2000 - 24, 1, 1, 9); /* reaches into the next page */
	assert_int_equal(call(POST, 0x2000 - 24), HV_INVALID_ALIGNMENT);
	gmem_zero(w.mem, 0x2000 - 8, 64);
	assert_int_equal(call(POST, 0x2000 - 8), HV_INVALID_ALIGNMENT); /* its head does */
	assert_int_equal(call(POST, RAM), HV_INVALID_PARAMETER);
	assert_int_equal(call(POST, RAM - 8), HV_INVALID_PARAMETER);
	assert_int_equal(call(POST, UINT64_MAX - 7), HV_INVALID_PARAMETER);
	assert_int_equal(posted.n, n);
}

static void
nobody_hears_a_signal_that_comes_here(void **state)
{
	(void)state;
	assert_int_equal(call(SIGNAL, 0x1008), HV_INVALID_CONNECTION_ID);
	assert_int_equal(call(SIGNAL | FAST, 0x10001), HV_INVALID_CONNECTION_ID);
	assert_int_equal(call(SIGNAL | FAST, UINT64_MAX), HV_INVALID_CONNECTION_ID);
}

static void
parameters_in_memory_are_aligned(void **state)
{
	(void)state;
	for (uint64_t off = 1; off < 8; off++) {
		assert_int_equal(call(POST, 0x1000 + off), HV_INVALID_ALIGNMENT);
		assert_int_equal(call(SIGNAL, 0x1000 + off), HV_INVALID_ALIGNMENT);
	}
}

static void
a_message_does_not_fit_into_registers(void **state)
{
	(void)state;
	assert_int_equal(call(POST | FAST, 0), HV_INVALID_HYPERCALL_CODE);
}

static void
every_other_call_is_unknown(void **state)
{
	(void)state;
	for (uint64_t code = 0; code <= UINT16_MAX; code++)
		for (int fast = 0; fast < 2; fast++)
			if (code != POST && code != SIGNAL)
				assert_int_equal(call(code | (fast ? FAST : 0) | 3ull << 32, 8),
				    HV_INVALID_HYPERCALL_CODE);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		unit(parameters_are_read_back),
		unit(reading_the_control_msr_tells_what_we_can_do),
		unit(other_msrs_are_not_ours),
		unit(only_a_notification_is_a_panic),
		unit(its_words_are_copied),
		unit(without_the_message_bit_there_are_no_words),
		unit(what_is_not_printable_is_replaced),
		unit(a_page_of_words_is_the_most),
		unit(words_outside_memory_are_none),
		unit(a_message_is_taken_with_all_its_bytes),
		unit(a_message_that_is_not_whole_is_not_taken),
		unit(nobody_hears_a_signal_that_comes_here),
		unit(parameters_in_memory_are_aligned),
		unit(a_message_does_not_fit_into_registers),
		unit(every_other_call_is_unknown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
