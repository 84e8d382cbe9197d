/*
 * tests/fuzz/rtc_fuzz.c - the CMOS clock under a hostile guest, file and wall clock.
 */
#include "hypervisor/chipset/rtc.h"

#include "hypervisor/core/machine.h"
#include "tests/fuzz/device.h"

static struct device *
fresh(struct fake_host *f)
{
	return rtc_new(&f->host, 0);
}

static void
attach(struct fake_host *f, struct device *d)
{
	bus_add(&f->bus, PORT_RTC, RTC_PORTS, d);
}

static uint8_t
peek(struct fake_host *f, uint8_t reg)
{
	out8(f, PORT_RTC, reg);
	return in8(f, PORT_RTC + 1);
}

/* Nothing enabled: no wake-up. The clock runs: it shows a date. */
static void
check(struct fake_host *f)
{
	uint8_t b = peek(f, 11);

	if (!(b & 0x70))
		must(f->due == UINT64_MAX && !f->line[IRQ_RTC]);
	if ((b & 0x80) || (peek(f, 10) & 0x70) > 0x20)
		return;
	out8(f, PORT_RTC, 11);
	out8(f, PORT_RTC + 1, (b & 0x70) | 0x06); /* binary, 24 hours */
	must(peek(f, 0) < 60 && peek(f, 2) < 60 && peek(f, 4) < 24);
	must(peek(f, 6) >= 1 && peek(f, 6) <= 7 && peek(f, 7) >= 1 && peek(f, 7) <= 31);
	must(peek(f, 8) >= 1 && peek(f, 8) <= 12 && peek(f, 9) < 100 && peek(f, RTC_CENTURY) < 100);
	peek(f, 12);
	must(!f->line[IRQ_RTC]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzzed rtc = { PORT_RTC, 10, fresh, attach, .check = check };

	fuzz_device(&rtc, data, size);
	return 0;
}
