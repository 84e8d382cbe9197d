/*
 * tests/fuzz/reset_fuzz.c - the reset ports under a hostile guest and file.
 */
#include "hypervisor/chipset/reset.h"

#include "hypervisor/core/machine.h"
#include "tests/fuzz/device.h"

static struct device *
fresh(struct fake_host *f)
{
	return reset_new(&f->host, 0);
}

static void
attach(struct fake_host *f, struct device *d)
{
	must(reset_attach(d, &f->bus) == 0);
}

/* The single ports are out of the span of ordinary accesses. */
static void
check(struct fake_host *f)
{
	must(!(in8(f, PORT_RESET) & ~0x0a));
	must(in8(f, 0x64) == 0xff && in8(f, 0x92) == 0x02);
	must(!f->requests[GUEST_POWER_OFF]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzzed reset = { PORT_RESET, 12, fresh, attach, .check = check };

	fuzz_device(&reset, data, size);
	return 0;
}
