/*
 * tests/unit/reset_test.c - the ways to restart the machine, and what must not be taken for one.
 */
#include "hypervisor/chipset/reset.h"

#include "tests/unit/fake_host.h"
#include "tests/unit/fake_snap.h"

struct fixture {
	struct fake_host f;
	struct device *reset;
};

static int
setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	fake_host_init(&x->f);
	x->reset = reset_new(&x->f.host, 0);
	*state = x;
	return reset_attach(x->reset, &x->f.bus);
}

static int
teardown(void **state)
{
	struct fixture *x = *state;

	device_free(x->reset);
	free(x);
	return 0;
}

/* Writes and says whether that restarts the machine. */
static bool
restarts(struct fixture *x, uint16_t port, unsigned size, uint32_t v)
{
	unsigned before = x->f.requests[GUEST_RESET];

	bus_write(&x->f.bus, port, size, v);
	assert_int_equal(x->f.requests[GUEST_POWER_OFF], 0);
	return x->f.requests[GUEST_RESET] != before;
}

static void
no_bus_is_to_blame_for_an_nmi(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(in8(&x->f, 0x61) & 0xc0, 0);
	assert_false(restarts(x, 0x61, 1, 0xff));
	assert_int_equal(in8(&x->f, 0x61) & 0xc0, 0);
}

static void
reset_control_acts_on_the_processor_bit(void **state)
{
	struct fixture *x = *state;

	assert_false(restarts(x, 0xcf9, 1, 0x00));
	assert_false(restarts(x, 0xcf9, 1, 0x02));
	assert_int_equal(in8(&x->f, 0xcf9), 0x02);
	assert_true(restarts(x, 0xcf9, 1, 0x06));
	assert_true(restarts(x, 0xcf9, 1, 0x06)); /* should the first one have gone unheard */
	assert_true(restarts(x, 0xcf9, 1, 0x04));
	assert_true(restarts(x, 0xcf9, 1, 0x0e));
	assert_int_equal(in8(&x->f, 0xcf9), 0x0a);
	assert_false(restarts(x, 0xcf9, 1, 0xf1));
	assert_int_equal(in8(&x->f, 0xcf9), 0x00);
}

static void
a_probe_for_pci_does_not_restart(void **state)
{
	struct fixture *x = *state;

	assert_false(restarts(x, 0xcf8, 4, 0x80000600));
	assert_int_equal(in32(&x->f, 0xcf8), 0xffffffff);
	assert_false(restarts(x, 0xcf8, 2, 0x0600));
	assert_false(restarts(x, 0xcf9, 2, 0x0006));
	assert_false(restarts(x, 0xcf8, 1, 0x06));
	assert_false(restarts(x, 0xcfa, 1, 0x06));
	assert_false(restarts(x, 0xcfb, 1, 0x06));
	assert_false(restarts(x, 0xcfc, 4, 0x06060606));
	assert_int_equal(in32(&x->f, 0xcfc), 0xffffffff);
	assert_int_equal(in8(&x->f, 0xcf8), 0xff);
	assert_int_equal(in8(&x->f, 0xcfb), 0xff);
}

static void
port_92_restarts_by_its_lowest_bit_and_a20_is_open(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(in8(&x->f, 0x92), 0x02);
	assert_false(restarts(x, 0x92, 1, 0xfe));
	assert_false(restarts(x, 0x92, 1, 0x00));
	assert_int_equal(in8(&x->f, 0x92), 0x02);
	assert_true(restarts(x, 0x92, 1, 0x03));
	assert_true(restarts(x, 0x92, 1, 0x01));
}

static void
the_keyboard_controller_s_pulse_restarts_but_nobody_is_there(void **state)
{
	struct fixture *x = *state;

	for (uint32_t v = 0; v < 0x100; v++)
		assert_true(restarts(x, 0x64, 1, v) == (v == 0xfe));
	assert_int_equal(in8(&x->f, 0x64), 0xff);
	assert_int_equal(in8(&x->f, 0x60), 0xff);
}

static void
its_ports_are_free_or_it_says_so(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(reset_attach(x->reset, &x->f.bus), -EEXIST);
}

static void
reset_clears_it(void **state)
{
	struct fixture *x = *state;

	out8(&x->f, 0xcf9, 0x0a);
	device_reset(x->reset);
	assert_int_equal(in8(&x->f, 0xcf9), 0);
}

static void
saved_state_holds_every_field(void **state)
{
	struct fixture *x = *state;
	struct device *d = reset_new(&x->f.host, 0);

	out8(&x->f, 0xcf9, 0x0a);
	assert_saves_whole_or_not_at_all(x->reset, d);
	x->f.bus.n = 0;
	reset_attach(d, &x->f.bus);
	assert_int_equal(in8(&x->f, 0xcf9), 0x0a);
	assert_refuses_byte(x->reset, d, 0, 0x04);
	assert_refuses_byte(x->reset, d, 0, 0x10);
	device_free(d);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		unit(no_bus_is_to_blame_for_an_nmi),
		unit(reset_control_acts_on_the_processor_bit),
		unit(a_probe_for_pci_does_not_restart),
		unit(port_92_restarts_by_its_lowest_bit_and_a20_is_open),
		unit(the_keyboard_controller_s_pulse_restarts_but_nobody_is_there),
		unit(its_ports_are_free_or_it_says_so),
		unit(reset_clears_it),
		unit(saved_state_holds_every_field),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
