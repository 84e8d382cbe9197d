/*
 * hypervisor/chipset/rtc.h - the PC's clock and its 128 bytes of battery-backed memory.
 *
 * The FADT must agree: century register at 0x32, no day or month alarm. Control thread.
 */
#ifndef HYPERVISOR_CHIPSET_RTC_H
#define HYPERVISOR_CHIPSET_RTC_H

#include "hypervisor/chipset/device.h"

enum { RTC_PORTS = 2, RTC_NREGS = 128, RTC_CENTURY = 0x32 };

/* Shows the host's wall clock until the guest sets it. NULL when memory is out. */
struct device *rtc_new(const struct device_host *host, unsigned instance);

#endif
