/*
 * tests/fuzz/pm_fuzz.c - ACPI power management under a hostile guest and file, with buttons pressed.
 */
#include "hypervisor/chipset/pm.h"

#include "hypervisor/core/machine.h"
#include "tests/fuzz/device.h"

static struct device *
fresh(struct fake_host *f)
{
	return pm_new(&f->host, 0);
}

static void
attach(struct fake_host *f, struct device *d)
{
	bus_add(&f->bus, PORT_PM, PM_PORTS, d);
}

static void
event(struct device *d, struct actions *a)
{
	uint8_t what = take8(a);

	if (what & 0x80)
		pm_power_button(d);
	else
		pm_gpe(d, what);
}

/* The line is what the registers say, and only the timer's event wakes the host. */
static void
check(struct fake_host *f)
{
	uint16_t enable = in16(f, PORT_PM + 2);
	uint16_t gpe = in16(f, PORT_PM + 12);
	uint16_t status;

	fake_pass(f, 0, FUZZ_WAKES);
	status = in16(f, PORT_PM);
	must(f->line[IRQ_SCI] == ((status & enable) || (gpe & gpe >> 8)));
	must((f->due != UINT64_MAX) == (enable & 1 && !(status & 1)));
	must(in16(f, PORT_PM + 4) & 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzzed pm = { PORT_PM, 24, fresh, attach, event, check };

	fuzz_device(&pm, data, size);
	return 0;
}
