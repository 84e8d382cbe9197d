/*
 * tests/unit/rtc_test.c - the CMOS clock as drivers see it, and how little it wakes the host.
 */
#include "hypervisor/chipset/rtc.h"

#include <time.h>

#include "hypervisor/core/machine.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/fake_snap.h"

enum {
	SECONDS = 0,
	SECONDS_ALARM = 1,
	MINUTES = 2,
	MINUTES_ALARM = 3,
	HOURS = 4,
	HOURS_ALARM = 5,
	WEEKDAY = 6,
	DAY = 7,
	MONTH = 8,
	YEAR = 9,
	REG_A = 10,
	REG_B = 11,
	REG_C = 12,
	REG_D = 13,

	A_UIP = 0x80,
	A_NORMAL = 0x26,
	A_STOP_DIVIDER = 0x66,
	B_SET = 0x80,
	B_PIE = 0x40,
	B_AIE = 0x20,
	B_UIE = 0x10,
	B_BINARY = 0x04,
	B_24H = 0x02,
	C_IRQF = 0x80,
	C_PF = 0x40,
	C_AF = 0x20,
	C_UF = 0x10,

	/* Where things are in the saved state. */
	AT_INDEX = 0,
	AT_REG = 1,
	AT_OFFSET = 129,
	AT_OFFSET_NS = 137,
	AT_SECOND = 141,
};

struct fixture {
	struct fake_host f;
	struct device *rtc;
};

static int
setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	fake_host_init(&x->f);
	x->rtc = rtc_new(&x->f.host, 0);
	bus_add(&x->f.bus, PORT_RTC, RTC_PORTS, x->rtc);
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *x = *state;

	device_free(x->rtc);
	free(x);
	return 0;
}

static uint8_t
peek(struct fixture *x, uint8_t reg)
{
	out8(&x->f, PORT_RTC, reg);
	return in8(&x->f, PORT_RTC + 1);
}

static void
poke(struct fixture *x, uint8_t reg, uint8_t v)
{
	out8(&x->f, PORT_RTC, reg);
	out8(&x->f, PORT_RTC + 1, v);
}

static int
from_bcd(uint8_t v)
{
	return (v >> 4) * 10 + (v & 15);
}

static uint8_t
to_bcd(int v)
{
	return (uint8_t)(v / 10 << 4 | v % 10);
}

/* The clock as the guest reads it, in 24-hour BCD mode, as seconds since 1970. */
static int64_t
guest_time(struct fixture *x)
{
	const struct tm tm = {
		.tm_sec = from_bcd(peek(x, SECONDS)),
		.tm_min = from_bcd(peek(x, MINUTES)),
		.tm_hour = from_bcd(peek(x, HOURS)),
		.tm_mday = from_bcd(peek(x, DAY)),
		.tm_mon = from_bcd(peek(x, MONTH)) - 1,
		.tm_year = from_bcd(peek(x, RTC_CENTURY)) * 100 + from_bcd(peek(x, YEAR)) - 1900,
	};
	struct tm normal = tm;
	int64_t t = timegm(&normal);

	assert_int_equal(normal.tm_mday, tm.tm_mday); /* not the 30th of February */
	assert_int_equal(normal.tm_hour, tm.tm_hour);
	assert_int_equal(peek(x, WEEKDAY), normal.tm_wday + 1);
	return t;
}

/* Sets the clock as Linux does it: SET, divider stopped, registers, back. */
static void
set_time(struct fixture *x, int64_t t)
{
	uint8_t b = peek(x, REG_B);
	struct tm tm;
	time_t tt = t;

	gmtime_r(&tt, &tm);
	poke(x, REG_B, b | B_SET);
	poke(x, REG_A, A_STOP_DIVIDER);
	poke(x, YEAR, to_bcd((tm.tm_year + 1900) % 100));
	poke(x, MONTH, to_bcd(tm.tm_mon + 1));
	poke(x, DAY, to_bcd(tm.tm_mday));
	poke(x, HOURS, to_bcd(tm.tm_hour));
	poke(x, MINUTES, to_bcd(tm.tm_min));
	poke(x, SECONDS, to_bcd(tm.tm_sec));
	poke(x, RTC_CENTURY, to_bcd((tm.tm_year + 1900) / 100));
	poke(x, REG_B, b);
	poke(x, REG_A, A_NORMAL);
}

static void
set_alarm(struct fixture *x, uint8_t h, uint8_t m, uint8_t s)
{
	poke(x, HOURS_ALARM, h);
	poke(x, MINUTES_ALARM, m);
	poke(x, SECONDS_ALARM, s);
}

/* --- reading ----------------------------------------------------------------------------------- */

static void
it_shows_the_host_s_wall_clock(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(guest_time(x), 1700000000);
	assert_int_equal(peek(x, HOURS), 0x22);
	assert_int_equal(peek(x, MINUTES), 0x13);
	assert_int_equal(peek(x, SECONDS), 0x20);
	assert_int_equal(peek(x, RTC_CENTURY), 0x20);
	fake_advance(&x->f, 3600 * FAKE_SECOND);
	assert_int_equal(guest_time(x), 1700003600);
}

static void
any_date_of_ten_thousand_years_is_right(void **state)
{
	struct fixture *x = *state;
	const int64_t first = -62167219200, last = 253402300799; /* 0000-01-01, 9999-12-31 */

	for (int64_t t = first; t <= last; t += 86400 * 61 + 12345) {
		x->f.wall = t;
		assert_int_equal(guest_time(x), t);
	}
	for (int64_t t = -2556144000; t < 4449600000; t += 86400) { /* each day of 1889 to 2110 */
		x->f.wall = t;
		assert_int_equal(guest_time(x), t);
	}
	x->f.wall = last;
	assert_int_equal(guest_time(x), last);
}

static void
any_date_can_be_set(void **state)
{
	struct fixture *x = *state;

	for (int64_t t = -62167219200; t <= 253402300799; t += 86400 * 173 + 54321) {
		set_time(x, t);
		assert_int_equal(guest_time(x), t);
	}
}

static void
a_wall_clock_gone_mad_does_no_harm(void **state)
{
	static const int64_t mad[] = { INT64_MIN, INT64_MAX, -(1ll << 41), 1ll << 41, -62167219201,
		253402300800 };
	struct fixture *x = *state;

	for (size_t i = 0; i < sizeof(mad) / sizeof(mad[0]); i++) {
		x->f.wall = mad[i];
		poke(x, REG_B, B_24H | B_AIE | B_UIE);
		for (uint8_t reg = 0; reg < 10; reg++)
			peek(x, reg);
		assert_in_range(from_bcd(peek(x, MONTH)), 1, 12);
		assert_in_range(from_bcd(peek(x, DAY)), 1, 31);
		poke(x, SECONDS, 0);
		assert_true(device_save(x->rtc, (uint8_t[256]){ 0 }, 256) > 0);
	}
}

static void
hours_and_digits_follow_register_b(void **state)
{
	static const struct {
		int hour;
		uint8_t bcd12, bin12, bin24;
	} rows[] = {
		{ 0, 0x12, 12, 0 },
		{ 1, 0x01, 1, 1 },
		{ 11, 0x11, 11, 11 },
		{ 12, 0x92, 0x8c, 12 },
		{ 13, 0x81, 0x81, 13 },
		{ 23, 0x91, 0x8b, 23 },
	};
	struct fixture *x = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		x->f.wall = 1700006400 + rows[i].hour * 3600; /* a midnight */
		poke(x, REG_B, 0);
		assert_int_equal(peek(x, HOURS), rows[i].bcd12);
		poke(x, REG_B, B_BINARY);
		assert_int_equal(peek(x, HOURS), rows[i].bin12);
		assert_int_equal(peek(x, YEAR), 23);
		poke(x, REG_B, B_BINARY | B_24H);
		assert_int_equal(peek(x, HOURS), rows[i].bin24);
		poke(x, REG_B, B_24H);
		assert_int_equal(peek(x, HOURS), to_bcd(rows[i].hour));
	}
}

static void
hours_can_be_set_in_every_mode(void **state)
{
	static const struct {
		uint8_t mode, hour, is;
	} rows[] = {
		{ 0, 0x12, 0 },
		{ 0, 0x92, 12 },
		{ 0, 0x91, 23 },
		{ B_BINARY, 12, 0 },
		{ B_BINARY, 0x8c, 12 },
		{ B_BINARY | B_24H, 23, 23 },
		{ B_24H, 0x19, 19 },
	};
	struct fixture *x = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		poke(x, REG_B, rows[i].mode);
		poke(x, HOURS, rows[i].hour);
		assert_int_equal(peek(x, HOURS), rows[i].hour);
		poke(x, REG_B, B_24H);
		assert_int_equal(peek(x, HOURS), to_bcd(rows[i].is));
	}
}

static void
nonsense_counts_as_the_nearest_date(void **state)
{
	struct fixture *x = *state;

	poke(x, REG_B, B_24H | B_SET);
	poke(x, RTC_CENTURY, 0x20);
	poke(x, YEAR, 0x23);
	poke(x, MONTH, 0x02);
	poke(x, DAY, 0x31);
	poke(x, HOURS, 0xff);
	poke(x, MINUTES, 0x60);
	poke(x, SECONDS, 0xaa);
	assert_int_equal(peek(x, SECONDS), 0xaa); /* while it stands, it is memory */
	poke(x, REG_B, B_24H);
	assert_int_equal(peek(x, DAY), 0x28);
	assert_int_equal(peek(x, MONTH), 0x02);
	assert_int_equal(peek(x, HOURS), 0x23);
	assert_int_equal(peek(x, MINUTES), 0x59);
	assert_int_equal(peek(x, SECONDS), 0x59);
	poke(x, MONTH, 0);
	poke(x, DAY, 0);
	assert_int_equal(peek(x, MONTH), 1);
	assert_int_equal(peek(x, DAY), 1);
}

static void
the_index_has_seven_bits_and_cannot_be_read(void **state)
{
	struct fixture *x = *state;

	poke(x, 0x40, 0x5a);
	assert_int_equal(peek(x, 0x80 | 0x40), 0x5a);
	assert_int_equal(in8(&x->f, PORT_RTC), 0xff);
	out16(&x->f, PORT_RTC, 0xa540); /* index and data in one access */
	assert_int_equal(in8(&x->f, PORT_RTC + 1), 0xa5);
}

static void
memory_keeps_what_is_written(void **state)
{
	struct fixture *x = *state;

	for (uint8_t i = 0x0e; i < RTC_NREGS; i++)
		if (i != RTC_CENTURY)
			poke(x, i, (uint8_t)~i);
	for (uint8_t i = 0x0e; i < RTC_NREGS; i++)
		if (i != RTC_CENTURY)
			assert_int_equal(peek(x, i), (uint8_t)~i);
}

static void
registers_c_and_d_are_read_only(void **state)
{
	struct fixture *x = *state;

	poke(x, REG_C, 0xff);
	poke(x, REG_D, 0);
	assert_int_equal(peek(x, REG_C), 0);
	assert_int_equal(peek(x, REG_D), 0x80);
}

/* --- the running of the clock ------------------------------------------------------------------ */

static void
an_update_is_announced(void **state)
{
	struct fixture *x = *state;
	bool before = false, announced = false;

	peek(x, SECONDS);
	for (int us = 0; us < 1000000; us += 100) {
		uint8_t uip = peek(x, REG_A) & A_UIP;

		assert_int_equal(peek(x, SECONDS), 0x20);
		before |= !uip;
		announced |= uip != 0;
		assert_true(announced == (us >= 999756)); /* 244 us ahead */
		fake_advance(&x->f, 100000);
	}
	assert_true(before && announced);
	assert_int_equal(peek(x, SECONDS), 0x21);
	assert_int_equal(peek(x, REG_A), A_NORMAL);
}

static void
without_uip_the_time_stands_for_244_us(void **state)
{
	struct fixture *x = *state;

	for (unsigned phase = 0; phase < 1000; phase += 37) {
		x->f.wall_ns = phase * 1000000;
		for (int i = 0; i < 3000; i++) {
			bool uip = peek(x, REG_A) & A_UIP;
			uint8_t s = peek(x, SECONDS);

			fake_advance(&x->f, 243000);
			if (!uip)
				assert_int_equal(peek(x, SECONDS), s);
			fake_advance(&x->f, 700000);
		}
	}
}

static void
its_seconds_begin_with_the_wall_clock_s(void **state)
{
	struct fixture *x = *state;

	for (unsigned phase = 1; phase < 1000; phase += 83) {
		x->f.wall_ns += FAKE_SECOND - phase * 1000000; /* that long before the next edge */
		fake_advance(&x->f, phase * 1000000 - 1);
		assert_int_equal(guest_time(x), fake_wall(&x->f).tv_sec);
		assert_int_equal(peek(x, REG_A), A_UIP | A_NORMAL);
		fake_advance(&x->f, 1);
		assert_int_equal(guest_time(x), fake_wall(&x->f).tv_sec);
		assert_int_equal(peek(x, REG_A), A_NORMAL);
	}
}

static uint8_t
slow_peek(struct fixture *x, uint8_t reg, unsigned *reads)
{
	fake_advance(&x->f, 4000);
	++*reads;
	return peek(x, reg);
}

/* The time as Linux reads it (mc146818_avoid_UIP): how many registers it has to look at. */
static unsigned
reads_of_linux(struct fixture *x)
{
	unsigned n = 0;

	for (;; fake_advance(&x->f, 100000)) {
		uint8_t s = slow_peek(x, SECONDS, &n);

		if (slow_peek(x, REG_A, &n) & A_UIP)
			continue;
		if (slow_peek(x, SECONDS, &n) != s)
			continue;
		for (uint8_t reg = MINUTES; reg <= YEAR; reg++)
			slow_peek(x, reg, &n);
		slow_peek(x, RTC_CENTURY, &n);
		slow_peek(x, REG_B, &n);
		if (slow_peek(x, REG_A, &n) & A_UIP)
			continue;
		if (slow_peek(x, SECONDS, &n) == s)
			return n;
	}
}

static void
who_reads_the_time_seldom_waits_and_never_long(void **state)
{
	struct fixture *x = *state;
	unsigned waited = 0, least = reads_of_linux(x);

	for (unsigned us = 0; us < 1000000; us += 50) { /* 20000 moments of the second */
		unsigned n;

		x->f.wall_ns += FAKE_SECOND - (uint64_t)fake_wall(&x->f).tv_nsec + us * 1000;
		n = reads_of_linux(x);
		assert_in_range(n, least, 2 * least + 6);
		waited += n > least;
	}
	assert_in_range(waited, 1, 10); /* 244 us, and the 60 us that it takes */
}

static void
a_wall_clock_that_is_slower_or_faster_is_followed(void **state)
{
	struct fixture *x = *state;
	int64_t last = guest_time(x);

	x->f.wall -= 10;
	x->f.wall_ns = 10 * FAKE_SECOND; /* so that it can be taken from */
	for (int i = 0; i < 200000; i++) {
		int64_t t;

		fake_advance(&x->f, 10000000);
		if (i % 50 == 0)
			x->f.wall_ns += i < 50000 ? 1000000 : (uint64_t)-1000000; /* 0.2% */
		t = guest_time(x);
		assert_in_range(t - last, 0, 1); /* never back, never two at once */
		assert_in_range(t - fake_wall(&x->f).tv_sec, 0, 1);
		last = t;
	}
}

static void
a_step_of_the_wall_clock_is_seen(void **state)
{
	struct fixture *x = *state;

	guest_time(x);
	fake_advance(&x->f, FAKE_SECOND * 9 / 10);
	x->f.wall += 86400;
	assert_int_equal(guest_time(x), 1700086400);
	x->f.wall -= 2 * 86400;
	assert_int_equal(guest_time(x), 1699913600);
	fake_advance(&x->f, FAKE_SECOND / 10);
	assert_int_equal(guest_time(x), 1699913601);
}

/* As it does by a second at each leap second. */
static void
a_wall_clock_that_falls_back_a_little_is_waited_for(void **state)
{
	struct fixture *x = *state;

	poke(x, REG_B, B_24H | B_UIE);
	fake_advance(&x->f, FAKE_SECOND);
	x->f.wall -= 1;
	peek(x, REG_C);
	for (int i = 0; i < 19; i++) {
		fake_advance(&x->f, FAKE_SECOND / 10 - 1);
		assert_int_equal(guest_time(x), 1700000001);
		assert_int_equal(peek(x, REG_A), A_NORMAL);
		assert_false(x->f.line[IRQ_RTC]);
		fake_advance(&x->f, 1);
	}
	fake_advance(&x->f, FAKE_SECOND / 10);
	assert_true(x->f.line[IRQ_RTC]);
	assert_int_equal(guest_time(x), 1700000002);
	assert_int_equal(x->f.wakes, 2);
}

static void
set_stops_the_clock_and_clears_update_interrupts(void **state)
{
	struct fixture *x = *state;

	poke(x, REG_B, B_24H | B_UIE);
	poke(x, REG_B, B_24H | B_UIE | B_SET);
	assert_int_equal(peek(x, REG_B), B_24H | B_SET);
	fake_advance(&x->f, 10 * FAKE_SECOND - 1000000);
	assert_int_equal(guest_time(x), 1700000000);
	assert_int_equal(peek(x, REG_A), A_NORMAL); /* no UIP */
	assert_int_equal(x->f.wakes, 0);
	poke(x, REG_B, B_24H);
	assert_int_equal(guest_time(x), 1700000000);
	fake_advance(&x->f, 5 * FAKE_SECOND);
	assert_in_range(guest_time(x), 1700000004, 1700000005);
}

static void
the_guest_s_time_is_an_offset_to_the_wall_clock(void **state)
{
	struct fixture *x = *state;

	set_time(x, 951782400); /* 2000-02-29 */
	assert_int_equal(guest_time(x), 951782400);
	fake_advance(&x->f, 86400 * FAKE_SECOND);
	assert_int_equal(guest_time(x), 951868800);
}

static void
out_of_reset_the_first_update_comes_after_half_a_second(void **state)
{
	struct fixture *x = *state;

	for (unsigned phase = 0; phase < 10; phase++) { /* of the wall clock */
		x->f.wall_ns = phase * FAKE_SECOND / 10;
		set_time(x, 951782400);
		fake_advance(&x->f, 499900000);
		assert_int_equal(guest_time(x), 951782400);
		assert_int_equal(peek(x, REG_A), A_UIP | A_NORMAL);
		fake_advance(&x->f, 100000);
		assert_int_equal(guest_time(x), 951782401);
	}
}

static void
the_half_second_counts_from_the_end_of_the_reset(void **state)
{
	struct fixture *x = *state;

	poke(x, REG_B, B_24H | B_SET);
	poke(x, REG_A, A_STOP_DIVIDER);
	fake_advance(&x->f, 5 * FAKE_SECOND + 123456789);
	poke(x, REG_A, A_NORMAL);
	fake_advance(&x->f, FAKE_SECOND * 3 / 10);
	poke(x, REG_B, B_24H);
	fake_advance(&x->f, FAKE_SECOND * 2 / 10 - 1);
	assert_int_equal(guest_time(x), 1700000000);
	fake_advance(&x->f, 1);
	assert_int_equal(guest_time(x), 1700000001);
}

static void
without_a_reset_of_the_divider_its_phase_is_kept(void **state)
{
	struct fixture *x = *state;

	fake_advance(&x->f, FAKE_SECOND * 6 / 10);
	poke(x, REG_B, B_24H | B_SET);
	poke(x, REG_B, B_24H);
	fake_advance(&x->f, FAKE_SECOND * 4 / 10 - 1);
	assert_int_equal(guest_time(x), 1700000000);
	fake_advance(&x->f, 1);
	assert_int_equal(guest_time(x), 1700000001);
}

static void
a_register_written_while_it_runs_takes_effect_at_once(void **state)
{
	struct fixture *x = *state;

	poke(x, MINUTES, 0x59);
	poke(x, SECONDS, 0x58);
	fake_advance(&x->f, 3 * FAKE_SECOND);
	assert_int_equal(peek(x, HOURS), 0x23);
	assert_int_equal(peek(x, MINUTES), 0x00);
	assert_int_equal(peek(x, SECONDS), 0x01);
}

/* --- interrupts -------------------------------------------------------------------------------- */

static void
an_idle_clock_never_wakes_the_host(void **state)
{
	struct fixture *x = *state;

	guest_time(x);
	poke(x, SECONDS_ALARM, 0xff);
	fake_advance(&x->f, 1000 * FAKE_SECOND);
	assert_int_equal(x->f.wakes, 0);
	assert_int_equal(x->f.rises[IRQ_RTC], 0);
}

static void
flags_show_what_happened_without_interrupts(void **state)
{
	struct fixture *x = *state;

	set_alarm(x, 0x22, 0x14, 0x00); /* in 40 s */
	fake_advance(&x->f, 39 * FAKE_SECOND);
	assert_int_equal(peek(x, REG_C), C_PF | C_UF);
	assert_int_equal(peek(x, REG_C), 0);
	fake_advance(&x->f, FAKE_SECOND);
	assert_int_equal(peek(x, REG_C), C_PF | C_UF | C_AF);
	assert_int_equal(x->f.wakes, 0);
}

static void
an_update_interrupt_comes_every_second_once_acknowledged(void **state)
{
	struct fixture *x = *state;

	poke(x, REG_B, B_24H | B_UIE);
	fake_advance(&x->f, FAKE_SECOND - 1);
	assert_false(x->f.line[IRQ_RTC]);
	fake_advance(&x->f, 1);
	assert_true(x->f.line[IRQ_RTC]);
	assert_int_equal(peek(x, REG_C), C_IRQF | C_PF | C_UF);
	assert_false(x->f.line[IRQ_RTC]);
	fake_advance(&x->f, FAKE_SECOND);
	assert_int_equal(x->f.rises[IRQ_RTC], 2);
	fake_advance(&x->f, 100 * FAKE_SECOND); /* nobody reads C: no need to wake up */
	assert_int_equal(x->f.rises[IRQ_RTC], 2);
	assert_int_equal(x->f.wakes, 2);
}

/* Two clocks that are read one after the other never agree to the nanosecond. */
static void
looking_at_the_clock_does_not_set_the_host_s_timer_again(void **state)
{
	struct fixture *x = *state;

	poke(x, REG_B, B_24H | B_UIE);
	x->f.due = 12345; /* ours: stays until the timer is set */
	for (int i = 0; i < 20; i++) {
		x->f.wall_ns += i % 2 ? 40 : (uint64_t)-40;
		x->f.ns += 1000;
		guest_time(x);
		assert_int_equal(x->f.due, 12345);
	}
	x->f.wall_ns += 300000; /* the host's clock is put right: this counts */
	guest_time(x);
	assert_in_range(x->f.due, FAKE_SECOND - 300100, FAKE_SECOND - 299900);
}

/* A host whose timer is not to be relied upon. */
static void
an_expiry_too_early_or_lost_is_made_good(void **state)
{
	struct fixture *x = *state;

	poke(x, REG_B, B_24H | B_UIE);
	x->f.due = UINT64_MAX;
	x->f.ns = FAKE_SECOND - 1000;
	device_expire(x->rtc);
	assert_true(x->f.due == FAKE_SECOND);
	assert_false(x->f.line[IRQ_RTC]);
	fake_advance(&x->f, 1000);
	assert_true(x->f.line[IRQ_RTC]);
	x->f.due = 1;
	device_expire(x->rtc);
	assert_true(x->f.due == UINT64_MAX);
}

static void
the_periodic_interrupt_has_the_rate_of_register_a(void **state)
{
	static const unsigned hz[16] = { 0, 256, 128, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4,
		2 };
	struct fixture *x = *state;

	for (uint8_t rate = 0; rate < 16; rate++) {
		unsigned before = x->f.rises[IRQ_RTC];

		poke(x, REG_A, 0x20 | rate);
		peek(x, REG_C);
		poke(x, REG_B, B_24H | B_PIE);
		for (uint64_t end = x->f.ns + FAKE_SECOND; x->f.due <= end;) {
			fake_pass(&x->f, x->f.due - x->f.ns, 1);
			assert_true(x->f.line[IRQ_RTC]);
			peek(x, REG_C);
		}
		assert_in_range(x->f.rises[IRQ_RTC] - before + 1, hz[rate], hz[rate] + 1);
		poke(x, REG_B, B_24H);
		assert_true(x->f.due == UINT64_MAX);
	}
}

static void
a_stopped_divider_stops_periodic_interrupts(void **state)
{
	struct fixture *x = *state;

	poke(x, REG_B, B_24H | B_PIE | B_AIE);
	poke(x, REG_A, A_STOP_DIVIDER);
	assert_true(x->f.due == UINT64_MAX);
	fake_advance(&x->f, 10 * FAKE_SECOND);
	assert_int_equal(peek(x, REG_C), 0);
}

static void
an_alarm_comes_at_its_time_with_one_wake_up(void **state)
{
	struct fixture *x = *state;

	set_alarm(x, 0x07, 0x30, 0x15); /* tomorrow */
	poke(x, REG_B, B_24H | B_AIE);
	fake_advance(&x->f, 86400 * FAKE_SECOND);
	assert_true(x->f.line[IRQ_RTC]);
	assert_int_equal(x->f.wakes, 1);
	assert_int_equal(peek(x, REG_C) & (C_IRQF | C_AF), C_IRQF | C_AF);
}

/* Each alarm against a plain search, second by second. */
static void
alarms_match_as_a_search_would(void **state)
{
	static const uint8_t alarms[][3] = {
		{ 0xff, 0xff, 0xff },
		{ 0xff, 0xff, 0x00 },
		{ 0xff, 0xc0, 0x59 },
		{ 0xff, 0x13, 0x20 },
		{ 0xff, 0x13, 0x21 },
		{ 0xff, 0x13, 0x19 },
		{ 0x22, 0xff, 0x19 },
		{ 0x22, 0xff, 0xff },
		{ 0x21, 0xff, 0xff },
		{ 0x22, 0x13, 0x20 },
		{ 0x22, 0x13, 0x21 },
		{ 0x22, 0x13, 0xc5 },
		{ 0x22, 0x12, 0xff },
		{ 0x22, 0x14, 0x05 },
		{ 0x23, 0x05, 0x05 },
		{ 0x00, 0x00, 0x00 },
		{ 0x23, 0x59, 0x59 },
		{ 0x23, 0xff, 0xff },
	};
	struct fixture *x = *state;

	for (size_t i = 0; i < sizeof(alarms) / sizeof(alarms[0]); i++) {
		const uint8_t *a = alarms[i];
		int64_t t = guest_time(x), want = t;
		struct tm tm;

		do {
			time_t tt = ++want;

			gmtime_r(&tt, &tm);
		} while ((a[0] < 0xc0 && a[0] != to_bcd(tm.tm_hour)) ||
			 (a[1] < 0xc0 && a[1] != to_bcd(tm.tm_min)) ||
			 (a[2] < 0xc0 && a[2] != to_bcd(tm.tm_sec)));
		peek(x, REG_C);
		set_alarm(x, a[0], a[1], a[2]);
		poke(x, REG_B, B_24H | B_AIE);
		fake_advance(&x->f, (uint64_t)(want - t) * FAKE_SECOND - 1);
		assert_false(x->f.line[IRQ_RTC]);
		fake_advance(&x->f, 1);
		assert_true(x->f.line[IRQ_RTC]);
		peek(x, REG_C);
		poke(x, REG_B, B_24H);
	}
}

static void
an_alarm_at_midnight_comes_at_midnight(void **state)
{
	struct fixture *x = *state;

	poke(x, HOURS, 0x23);
	poke(x, MINUTES, 0x59);
	poke(x, SECONDS, 0x59);
	set_alarm(x, 0, 0, 0);
	poke(x, REG_B, B_24H | B_AIE);
	fake_advance(&x->f, FAKE_SECOND);
	assert_true(x->f.line[IRQ_RTC]);
}

static void
alarms_follow_the_mode_of_hours_and_digits(void **state)
{
	struct fixture *x = *state;

	poke(x, REG_B, B_BINARY); /* it is 10:13:20 pm */
	set_alarm(x, 0x8a, 14, 5);
	fake_advance(&x->f, 44 * FAKE_SECOND);
	assert_int_equal(peek(x, REG_C) & C_AF, 0);
	fake_advance(&x->f, FAKE_SECOND);
	assert_int_equal(peek(x, REG_C) & C_AF, C_AF);
}

static void
an_illegal_alarm_never_comes(void **state)
{
	static const uint8_t illegal[][3] = { { 0x24, 0xff, 0xff }, { 0xff, 0x60, 0xff },
		{ 0xff, 0xff, 0x1f }, { 0x92, 0xff, 0xff } };
	struct fixture *x = *state;

	for (size_t i = 0; i < sizeof(illegal) / sizeof(illegal[0]); i++) {
		set_alarm(x, illegal[i][0], illegal[i][1], illegal[i][2]);
		poke(x, REG_B, B_24H | B_AIE);
		assert_true(x->f.due == UINT64_MAX);
		fake_advance(&x->f, 2 * 86400 * FAKE_SECOND);
		assert_int_equal(peek(x, REG_C) & C_AF, 0);
	}
}

static void
a_step_over_the_alarm_raises_it(void **state)
{
	struct fixture *x = *state;

	set_alarm(x, 0x23, 0x00, 0x00);
	guest_time(x);
	x->f.wall += 40ll * 365 * 86400;
	assert_int_equal(peek(x, REG_C) & C_AF, C_AF);
	x->f.wall += 600;
	assert_int_equal(peek(x, REG_C) & C_AF, 0);
}

static void
enabling_an_interrupt_whose_flag_is_set_raises_it(void **state)
{
	struct fixture *x = *state;

	fake_advance(&x->f, 2 * FAKE_SECOND);
	poke(x, REG_B, B_24H | B_UIE);
	assert_true(x->f.line[IRQ_RTC]);
	poke(x, REG_B, B_24H);
	assert_false(x->f.line[IRQ_RTC]);
}

static void
register_c_is_right_even_when_the_host_s_timer_is_late(void **state)
{
	struct fixture *x = *state;

	poke(x, REG_B, B_24H | B_UIE);
	x->f.ns = FAKE_SECOND;
	assert_int_equal(peek(x, REG_C), C_IRQF | C_PF | C_UF);
	assert_false(x->f.line[IRQ_RTC]);
	assert_int_equal(x->f.rises[IRQ_RTC], 1);
}

/* --- reset and saved state --------------------------------------------------------------------- */

static void
a_reset_leaves_time_and_memory(void **state)
{
	struct fixture *x = *state;

	set_time(x, 951782400);
	poke(x, 0x40, 0x77);
	poke(x, REG_B, B_24H | B_UIE | B_AIE | B_PIE);
	fake_advance(&x->f, FAKE_SECOND);
	assert_true(x->f.line[IRQ_RTC]);
	poke(x, REG_A, A_STOP_DIVIDER);
	device_reset(x->rtc);
	assert_false(x->f.line[IRQ_RTC]);
	assert_true(x->f.due == UINT64_MAX);
	assert_int_equal(peek(x, REG_A), A_NORMAL);
	assert_int_equal(peek(x, REG_B), B_24H);
	assert_int_equal(peek(x, REG_C), 0);
	assert_int_equal(peek(x, 0x40), 0x77);
	assert_in_range(guest_time(x), 951782400, 951782402);
	fake_advance(&x->f, 5 * FAKE_SECOND);
	device_reset(x->rtc);
	assert_int_equal(in8(&x->f, PORT_RTC + 1), peek(x, SECONDS)); /* index 0 */
	assert_int_equal(peek(x, REG_C), 0);
}

static void
a_clock_made_late_has_no_flags(void **state)
{
	struct fixture *x = *state;

	x->f.ns = 700 * FAKE_SECOND;
	device_free(x->rtc);
	x->rtc = rtc_new(&x->f.host, 0);
	x->f.bus.n = 0;
	bus_add(&x->f.bus, PORT_RTC, RTC_PORTS, x->rtc);
	assert_int_equal(peek(x, REG_C), 0);
	assert_int_equal(guest_time(x), 1700000700);
}

/* Swaps in what was restored, so that the helpers above see it. */
static void
go_on_restored(struct fixture *x)
{
	uint8_t buf[FAKE_SNAP_MAX];
	long n = device_save(x->rtc, buf, sizeof(buf));

	device_free(x->rtc);
	x->rtc = rtc_new(&x->f.host, 0);
	assert_int_equal(device_restore(x->rtc, buf, (size_t)n, NULL), 0);
	x->f.bus.n = 0;
	bus_add(&x->f.bus, PORT_RTC, RTC_PORTS, x->rtc);
}

static void
saved_state_holds_every_field(void **state)
{
	struct fixture *x = *state;
	struct device *d = rtc_new(&x->f.host, 0);

	set_time(x, 951782400);
	for (uint8_t i = 0x0e; i < RTC_NREGS; i++)
		poke(x, i, (uint8_t)~i);
	set_alarm(x, 0x12, 0x34, 0x56);
	poke(x, REG_A, 0x23);
	fake_advance(&x->f, FAKE_SECOND * 5 / 2);
	out8(&x->f, PORT_RTC, MINUTES);
	assert_saves_whole_or_not_at_all(x->rtc, d);
	device_free(d);
	go_on_restored(x);
	assert_int_equal(in8(&x->f, PORT_RTC + 1), peek(x, MINUTES)); /* the index */
	assert_int_equal(peek(x, REG_C), C_PF | C_UF);
	assert_int_equal(peek(x, REG_A) & 0x7f, 0x23);
	assert_int_equal(peek(x, SECONDS_ALARM), 0x56);
	for (uint8_t i = 0x0e; i < RTC_NREGS; i++)
		if (i != RTC_CENTURY)
			assert_int_equal(peek(x, i), (uint8_t)~i);
}

static void
a_restored_clock_s_seconds_begin_where_they_did(void **state)
{
	struct fixture *x = *state;

	fake_advance(&x->f, FAKE_SECOND * 3 / 10);
	set_time(x, 951782400); /* its seconds begin at .8 of the wall clock's */
	x->f.wall += 3600;
	x->f.wall_ns += FAKE_SECOND / 10; /* the save took so long, now() stood still */
	go_on_restored(x);
	assert_int_equal(guest_time(x), 951786000);
	fake_advance(&x->f, FAKE_SECOND * 4 / 10 - 1);
	assert_int_equal(guest_time(x), 951786000);
	fake_advance(&x->f, 1);
	assert_int_equal(guest_time(x), 951786001);
}

static void
a_restore_makes_no_flags_of_its_own(void **state)
{
	struct fixture *x = *state;
	uint8_t buf[FAKE_SNAP_MAX];
	long n;

	poke(x, REG_A, 0x2f);
	fake_advance(&x->f, FAKE_SECOND);
	peek(x, REG_C);
	n = device_save(x->rtc, buf, sizeof(buf));
	x->f.ns += 5 * FAKE_SECOND; /* reference time is restored after devices are made */
	x->f.wall -= 5;
	assert_int_equal(device_restore(x->rtc, buf, (size_t)n, NULL), 0);
	assert_int_equal(peek(x, REG_C), 0);
}

static void
a_clock_saved_while_it_stands_stands_still(void **state)
{
	struct fixture *x = *state;

	poke(x, REG_B, B_24H | B_SET);
	poke(x, HOURS, 0x05);
	fake_advance(&x->f, 100 * FAKE_SECOND);
	go_on_restored(x);
	assert_int_equal(peek(x, HOURS), 0x05);
	assert_int_equal(peek(x, SECONDS), 0x20);
	poke(x, REG_B, B_24H);
	assert_int_equal(peek(x, HOURS), 0x05);
}

static void
an_alarm_that_came_due_while_saved_comes_at_restore(void **state)
{
	struct fixture *x = *state;
	uint8_t buf[FAKE_SNAP_MAX];
	long n;

	set_alarm(x, 0x23, 0x00, 0x00);
	poke(x, REG_B, B_24H | B_AIE);
	n = device_save(x->rtc, buf, sizeof(buf));
	poke(x, REG_B, B_24H);
	x->f.wall += 3 * 3600; /* now() stood still */
	assert_int_equal(device_restore(x->rtc, buf, (size_t)n, NULL), 0);
	assert_true(x->f.line[IRQ_RTC]);
	assert_int_equal(peek(x, REG_C) & C_AF, C_AF);
	assert_int_equal(guest_time(x), 1700000000 + 3 * 3600);
}

static void
a_restore_raises_the_line_and_arms_the_timer(void **state)
{
	struct fixture *x = *state;

	poke(x, REG_B, B_24H | B_UIE);
	go_on_restored(x);
	assert_true(x->f.due != UINT64_MAX);
	fake_advance(&x->f, 2 * FAKE_SECOND);
	assert_true(x->f.line[IRQ_RTC]);
	x->f.line[IRQ_RTC] = false;
	go_on_restored(x);
	assert_true(x->f.line[IRQ_RTC]);
	peek(x, REG_C);
	x->f.line[IRQ_RTC] = true; /* as somebody else left it */
	go_on_restored(x);
	assert_false(x->f.line[IRQ_RTC]);
}

static void
illegal_state_is_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
	} bad[] = {
		{ AT_INDEX, 0x80 },
		{ AT_REG + REG_A, 0xa6 },
		{ AT_REG + REG_B, 0x92 },
		{ AT_REG + REG_C, 0x80 },
		{ AT_REG + REG_C, 0x01 },
		{ AT_REG + REG_D, 0x00 },
		{ AT_OFFSET + 7, 0x01 },
		{ AT_OFFSET_NS + 3, 0x3c }, /* more than a second */
		{ AT_SECOND + 7, 0x01 },
	};
	struct fixture *x = *state;
	struct device *d = rtc_new(&x->f.host, 0);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_refuses_byte(x->rtc, d, bad[i].at, bad[i].byte);
	device_free(d);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		unit(it_shows_the_host_s_wall_clock),
		unit(any_date_of_ten_thousand_years_is_right),
		unit(any_date_can_be_set),
		unit(a_wall_clock_gone_mad_does_no_harm),
		unit(hours_and_digits_follow_register_b),
		unit(hours_can_be_set_in_every_mode),
		unit(nonsense_counts_as_the_nearest_date),
		unit(the_index_has_seven_bits_and_cannot_be_read),
		unit(memory_keeps_what_is_written),
		unit(registers_c_and_d_are_read_only),
		unit(an_update_is_announced),
		unit(without_uip_the_time_stands_for_244_us),
		unit(its_seconds_begin_with_the_wall_clock_s),
		unit(who_reads_the_time_seldom_waits_and_never_long),
		unit(a_wall_clock_that_is_slower_or_faster_is_followed),
		unit(a_step_of_the_wall_clock_is_seen),
		unit(a_wall_clock_that_falls_back_a_little_is_waited_for),
		unit(set_stops_the_clock_and_clears_update_interrupts),
		unit(the_guest_s_time_is_an_offset_to_the_wall_clock),
		unit(out_of_reset_the_first_update_comes_after_half_a_second),
		unit(the_half_second_counts_from_the_end_of_the_reset),
		unit(without_a_reset_of_the_divider_its_phase_is_kept),
		unit(a_register_written_while_it_runs_takes_effect_at_once),
		unit(an_idle_clock_never_wakes_the_host),
		unit(flags_show_what_happened_without_interrupts),
		unit(an_update_interrupt_comes_every_second_once_acknowledged),
		unit(looking_at_the_clock_does_not_set_the_host_s_timer_again),
		unit(an_expiry_too_early_or_lost_is_made_good),
		unit(the_periodic_interrupt_has_the_rate_of_register_a),
		unit(a_stopped_divider_stops_periodic_interrupts),
		unit(an_alarm_comes_at_its_time_with_one_wake_up),
		unit(alarms_match_as_a_search_would),
		unit(an_alarm_at_midnight_comes_at_midnight),
		unit(alarms_follow_the_mode_of_hours_and_digits),
		unit(an_illegal_alarm_never_comes),
		unit(a_step_over_the_alarm_raises_it),
		unit(enabling_an_interrupt_whose_flag_is_set_raises_it),
		unit(register_c_is_right_even_when_the_host_s_timer_is_late),
		unit(a_reset_leaves_time_and_memory),
		unit(a_clock_made_late_has_no_flags),
		unit(saved_state_holds_every_field),
		unit(a_restored_clock_s_seconds_begin_where_they_did),
		unit(a_restore_makes_no_flags_of_its_own),
		unit(a_clock_saved_while_it_stands_stands_still),
		unit(an_alarm_that_came_due_while_saved_comes_at_restore),
		unit(a_restore_raises_the_line_and_arms_the_timer),
		unit(illegal_state_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
