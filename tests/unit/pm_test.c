/*
 * tests/unit/pm_test.c - ACPI fixed hardware: the button, the timer, the events and the way out.
 */
#include "hypervisor/chipset/pm.h"

#include "hypervisor/core/machine.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/fake_snap.h"

enum {
	STATUS = PORT_PM,
	ENABLE = PORT_PM + 2,
	CONTROL = PORT_PM + 4,
	TIMER = PORT_PM + 8,
	GPE_STATUS = PORT_PM + 12,
	GPE_ENABLE = PORT_PM + 13,

	TMR = 1 << 0,
	GBL = 1 << 5,
	BUTTON = 1 << 8,
	RTC = 1 << 10,
	WAKE = 1 << 15,
	SCI_EN = 1,
	SLP_EN = 1 << 13,
};

struct fixture {
	struct fake_host f;
	struct device *pm;
};

static int
setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	fake_host_init(&x->f);
	x->pm = pm_new(&x->f.host, 0);
	bus_add(&x->f.bus, PORT_PM, PM_PORTS, x->pm);
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *x = *state;

	device_free(x->pm);
	free(x);
	return 0;
}

static void
the_power_button_raises_the_sci_when_enabled(void **state)
{
	struct fixture *x = *state;

	pm_power_button(x->pm);
	assert_int_equal(in16(&x->f, STATUS), BUTTON);
	assert_false(x->f.line[IRQ_SCI]);
	out16(&x->f, ENABLE, BUTTON);
	assert_true(x->f.line[IRQ_SCI]);
	out16(&x->f, STATUS, TMR | WAKE); /* not that one */
	assert_true(x->f.line[IRQ_SCI]);
	out16(&x->f, STATUS, BUTTON);
	assert_false(x->f.line[IRQ_SCI]);
	assert_int_equal(in16(&x->f, STATUS), 0);
	pm_power_button(x->pm);
	assert_true(x->f.line[IRQ_SCI]);
	out16(&x->f, ENABLE, 0);
	assert_false(x->f.line[IRQ_SCI]);
}

static void
an_event_raises_the_sci_when_enabled(void **state)
{
	struct fixture *x = *state;

	out8(&x->f, GPE_ENABLE, 1 << GPE_VMGENID);
	pm_gpe(x->pm, 7);
	assert_false(x->f.line[IRQ_SCI]);
	pm_gpe(x->pm, GPE_VMGENID);
	assert_true(x->f.line[IRQ_SCI]);
	assert_int_equal(in16(&x->f, GPE_STATUS), 0x0181);
	out8(&x->f, GPE_STATUS, 1);
	assert_false(x->f.line[IRQ_SCI]);
	assert_int_equal(in8(&x->f, GPE_STATUS), 0x80);
	pm_gpe(x->pm, 8);
	pm_gpe(x->pm, UINT32_MAX);
	assert_int_equal(in8(&x->f, GPE_STATUS), 0x80);
}

static void
s5_powers_off_and_other_sleep_wakes_at_once(void **state)
{
	struct fixture *x = *state;

	for (uint32_t type = 0; type < 8; type++) {
		out16(&x->f, STATUS, 0xffff);
		x->f.requests[GUEST_POWER_OFF] = 0;
		out16(&x->f, CONTROL, type << 10);
		assert_int_equal(x->f.requests[GUEST_POWER_OFF], 0);
		out16(&x->f, CONTROL, type << 10 | SLP_EN);
		assert_int_equal(x->f.requests[GUEST_POWER_OFF], type == PM_S5);
		assert_int_equal(in16(&x->f, STATUS), type == PM_S5 ? 0 : WAKE);
		assert_int_equal(in16(&x->f, CONTROL), type << 10 | SCI_EN);
	}
	out8(&x->f, CONTROL + 1, (PM_S5 << 10 | SLP_EN) >> 8); /* byte by byte, as some do */
	assert_int_equal(x->f.requests[GUEST_POWER_OFF], 1);
	assert_int_equal(x->f.requests[GUEST_RESET], 0);
}

static void
acpi_mode_cannot_be_left(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(in16(&x->f, CONTROL), SCI_EN);
	out16(&x->f, CONTROL, 0);
	assert_int_equal(in16(&x->f, CONTROL), SCI_EN);
	out16(&x->f, CONTROL, (uint16_t)~SLP_EN);
	assert_int_equal(in16(&x->f, CONTROL), 0x1c03); /* type, BM_RLD and SCI_EN */
}

static void
only_known_events_can_be_enabled(void **state)
{
	struct fixture *x = *state;

	out32(&x->f, STATUS, 0xffffffff);
	assert_int_equal(in32(&x->f, STATUS), (TMR | GBL | BUTTON | RTC) << 16);
	out8(&x->f, ENABLE, 0);
	assert_int_equal(in16(&x->f, ENABLE), BUTTON | RTC);
	out8(&x->f, ENABLE + 1, 0);
	assert_int_equal(in16(&x->f, ENABLE), 0);
}

static void
the_timer_counts_3579545_a_second_in_32_bits(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(in32(&x->f, TIMER), 0);
	x->f.ns = FAKE_SECOND;
	assert_int_equal(in32(&x->f, TIMER), 3579545);
	x->f.ns = 1000;
	assert_int_equal(in32(&x->f, TIMER), 3);
	for (uint64_t s = 1; s < 1ull << 33; s *= 3) {
		x->f.ns = s * FAKE_SECOND;
		assert_int_equal(in32(&x->f, TIMER), (uint32_t)(s * PM_TIMER_HZ));
	}
	out32(&x->f, TIMER, 0); /* read only */
	assert_int_not_equal(in32(&x->f, TIMER), 0);
	x->f.ns = 0x12345678ull * FAKE_SECOND / PM_TIMER_HZ + 1;
	assert_int_equal(in32(&x->f, TIMER), 0x12345678);
	assert_int_equal(in16(&x->f, TIMER + 1), 0x3456);
	assert_int_equal(in8(&x->f, TIMER + 3), 0x12);
}

static void
the_timer_s_top_bit_sets_its_status(void **state)
{
	struct fixture *x = *state;
	const uint64_t half = (1ull << 31) * FAKE_SECOND / PM_TIMER_HZ + 1;

	fake_advance(&x->f, half - 1);
	assert_int_equal(in32(&x->f, TIMER), 0x7fffffff);
	assert_int_equal(in16(&x->f, STATUS), 0);
	fake_advance(&x->f, 1);
	assert_int_equal(in16(&x->f, STATUS), TMR);
	assert_int_equal(x->f.wakes, 0); /* nobody was woken up for that */
	out16(&x->f, STATUS, TMR);
	fake_advance(&x->f, half);
	assert_int_equal(in16(&x->f, STATUS), TMR);
}

static void
an_overflow_that_is_cleared_unread_stays_cleared(void **state)
{
	struct fixture *x = *state;

	fake_advance(&x->f, 601 * FAKE_SECOND);
	out16(&x->f, STATUS, TMR);
	assert_int_equal(in16(&x->f, STATUS), 0);
}

static void
what_happened_adds_up(void **state)
{
	struct fixture *x = *state;

	out16(&x->f, CONTROL, SLP_EN);
	pm_power_button(x->pm);
	fake_advance(&x->f, 601 * FAKE_SECOND);
	assert_int_equal(in16(&x->f, STATUS), TMR | BUTTON | WAKE);
	out16(&x->f, STATUS, WAKE);
	out16(&x->f, CONTROL, SLP_EN);
	assert_int_equal(in16(&x->f, STATUS), TMR | BUTTON | WAKE);
}

static void
an_enabled_timer_wakes_once_per_overflow(void **state)
{
	struct fixture *x = *state;
	const uint64_t half = (1ull << 31) * FAKE_SECOND / PM_TIMER_HZ + 1;

	out16(&x->f, ENABLE, TMR);
	fake_advance(&x->f, half - 1);
	assert_false(x->f.line[IRQ_SCI]);
	fake_advance(&x->f, 1);
	assert_true(x->f.line[IRQ_SCI]);
	assert_int_equal(x->f.wakes, 1);
	fake_advance(&x->f, 10 * half);
	assert_int_equal(x->f.wakes, 1);
	out16(&x->f, STATUS, TMR);
	assert_false(x->f.line[IRQ_SCI]);
	fake_advance(&x->f, half);
	assert_int_equal(x->f.wakes, 2);
	assert_true(x->f.line[IRQ_SCI]);
	out16(&x->f, STATUS, TMR);
	out16(&x->f, ENABLE, 0);
	assert_true(x->f.due == UINT64_MAX);
}

/* A host whose timer is not to be relied upon. */
static void
an_expiry_too_early_or_lost_is_made_good(void **state)
{
	struct fixture *x = *state;
	uint64_t due;

	out16(&x->f, ENABLE, TMR);
	due = x->f.due;
	x->f.due = UINT64_MAX;
	x->f.ns = due - 1000;
	device_expire(x->pm);
	assert_true(x->f.due == due);
	assert_false(x->f.line[IRQ_SCI]);
	fake_advance(&x->f, 1000);
	assert_true(x->f.line[IRQ_SCI]);
	x->f.due = 1;
	device_expire(x->pm);
	assert_true(x->f.due == UINT64_MAX);
}

static void
reserved_ports_are_quiet(void **state)
{
	struct fixture *x = *state;

	out16(&x->f, PORT_PM + 6, 0xffff);
	out16(&x->f, PORT_PM + 14, 0xffff);
	assert_int_equal(in16(&x->f, PORT_PM + 6), 0);
	assert_int_equal(in16(&x->f, PORT_PM + 14), 0);
}

static void
reset_forgets_events_and_lowers_the_line(void **state)
{
	struct fixture *x = *state;

	out16(&x->f, ENABLE, BUTTON | TMR);
	out8(&x->f, GPE_ENABLE, 0xff);
	out16(&x->f, CONTROL, 7 << 10);
	pm_power_button(x->pm);
	pm_gpe(x->pm, 3);
	assert_true(x->f.line[IRQ_SCI]);
	device_reset(x->pm);
	assert_false(x->f.line[IRQ_SCI]);
	assert_true(x->f.due == UINT64_MAX);
	assert_int_equal(in32(&x->f, STATUS), 0);
	assert_int_equal(in32(&x->f, CONTROL), SCI_EN);
	assert_int_equal(in16(&x->f, GPE_STATUS), 0);
	fake_advance(&x->f, 601 * FAKE_SECOND);
	device_reset(x->pm);
	assert_int_equal(in16(&x->f, STATUS), 0); /* nor an overflow nobody had seen */
}

static void
a_device_made_late_has_not_overflowed(void **state)
{
	struct fixture *x = *state;
	struct device *d;
	uint8_t buf[FAKE_SNAP_MAX];
	long n = device_save(x->pm, buf, sizeof(buf));

	x->f.ns = 700 * FAKE_SECOND;
	d = pm_new(&x->f.host, 0);
	x->f.bus.n = 0;
	bus_add(&x->f.bus, PORT_PM, PM_PORTS, d);
	assert_int_equal(in16(&x->f, STATUS), 0);
	assert_int_equal(device_restore(d, buf, (size_t)n, NULL), 0);
	assert_int_equal(in16(&x->f, STATUS), 0);
	/* Restored over one that stood elsewhere. */
	x->f.ns = 1400 * FAKE_SECOND;
	assert_int_equal(device_restore(d, buf, (size_t)n, NULL), 0);
	assert_int_equal(in16(&x->f, STATUS), 0);
	device_free(d);
}

static void
a_restore_says_what_the_line_is(void **state)
{
	struct fixture *x = *state;
	uint8_t buf[FAKE_SNAP_MAX];
	long n = device_save(x->pm, buf, sizeof(buf));

	x->f.line[IRQ_SCI] = true;
	assert_int_equal(device_restore(x->pm, buf, (size_t)n, NULL), 0);
	assert_false(x->f.line[IRQ_SCI]);
}

static void
saved_state_holds_every_field(void **state)
{
	struct fixture *x = *state;
	struct device *d = pm_new(&x->f.host, 0);

	out16(&x->f, ENABLE, BUTTON | TMR);
	out16(&x->f, CONTROL, 3 << 10);
	out8(&x->f, GPE_ENABLE, 0xa5);
	pm_power_button(x->pm);
	pm_gpe(x->pm, 6);
	x->f.line[IRQ_SCI] = false;
	x->f.due = UINT64_MAX;
	assert_saves_whole_or_not_at_all(x->pm, d);
	assert_true(x->f.line[IRQ_SCI]);
	assert_true(x->f.due != UINT64_MAX);
	x->f.bus.n = 0;
	bus_add(&x->f.bus, PORT_PM, PM_PORTS, d);
	assert_int_equal(in32(&x->f, STATUS), (BUTTON | TMR) << 16 | BUTTON);
	assert_int_equal(in16(&x->f, CONTROL), 3 << 10 | SCI_EN);
	assert_int_equal(in16(&x->f, GPE_STATUS), 0xa540);
	device_free(d);
}

static void
an_overflow_before_the_save_is_in_it(void **state)
{
	struct fixture *x = *state;
	uint8_t buf[FAKE_SNAP_MAX];
	long n;

	fake_advance(&x->f, 601 * FAKE_SECOND);
	n = device_save(x->pm, buf, sizeof(buf));
	device_reset(x->pm);
	assert_int_equal(device_restore(x->pm, buf, (size_t)n, NULL), 0);
	assert_int_equal(in16(&x->f, STATUS), TMR);
}

static void
illegal_state_is_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
	} bad[] = {
		{ 0, 0x02 },
		{ 1, 0x04 },
		{ 2, 0x10 },
		{ 3, 0x80 },
		{ 4, 0x01 },
		{ 5, 0x20 },
	};
	struct fixture *x = *state;
	struct device *d = pm_new(&x->f.host, 0);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_refuses_byte(x->pm, d, bad[i].at, bad[i].byte);
	device_free(d);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		unit(the_power_button_raises_the_sci_when_enabled),
		unit(an_event_raises_the_sci_when_enabled),
		unit(s5_powers_off_and_other_sleep_wakes_at_once),
		unit(acpi_mode_cannot_be_left),
		unit(only_known_events_can_be_enabled),
		unit(the_timer_counts_3579545_a_second_in_32_bits),
		unit(the_timer_s_top_bit_sets_its_status),
		unit(an_overflow_that_is_cleared_unread_stays_cleared),
		unit(what_happened_adds_up),
		unit(an_enabled_timer_wakes_once_per_overflow),
		unit(an_expiry_too_early_or_lost_is_made_good),
		unit(reserved_ports_are_quiet),
		unit(reset_forgets_events_and_lowers_the_line),
		unit(a_device_made_late_has_not_overflowed),
		unit(a_restore_says_what_the_line_is),
		unit(saved_state_holds_every_field),
		unit(an_overflow_before_the_save_is_in_it),
		unit(illegal_state_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
