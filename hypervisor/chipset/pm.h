/*
 * hypervisor/chipset/pm.h - ACPI fixed hardware: power button, power off, power management timer, and
 * the general purpose events through which the machine tells its guest that something changed.
 *
 * The FADT must agree with this: PM1a event block of 4 bytes at offset 0, PM1a control block of 2 at 4,
 * PM timer of 4 at 8 with 32 bits (TMR_VAL_EXT), GPE0 block of 2 (8 events) at 12, SCI on IRQ_SCI, no SMI
 * command port (SCI_EN reads as set), power button in fixed hardware, no sleep button, no wake from the RTC.
 * \_S5 gives PM_S5 as the sleep type.
 */
#ifndef HYPERVISOR_CHIPSET_PM_H
#define HYPERVISOR_CHIPSET_PM_H

#include "hypervisor/chipset/device.h"

enum {
	PM_PORTS = 16, /* that the device takes, from PORT_PM on */
	PM_TIMER_BITS = 32,
	PM_TIMER_HZ = 3579545,
	PM_GPES = 8,
	PM_S5 = 5, /* SLP_TYP that powers off; any other one wakes up at once */
};

/* NULL when memory is out. */
struct device *pm_new(const struct device_host *host, unsigned instance);

/* These come from any thread that does not hold the device's lock. */
void pm_power_button(struct device *dev);
/* Event 0 to PM_GPES - 1 (GPE_VMGENID, ...); others are ignored. */
void pm_gpe(struct device *dev, unsigned event);

#endif
