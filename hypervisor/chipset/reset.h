/*
 * hypervisor/chipset/reset.h - the ports through which PC operating systems restart their machine:
 * reset control (0xcf9), system control port A (0x92), the keyboard controller's pulse (0x64); and
 * control port B (0x61), which says that no NMI came from a bus.
 *
 * Control thread.
 */
#ifndef HYPERVISOR_CHIPSET_RESET_H
#define HYPERVISOR_CHIPSET_RESET_H

#include "hypervisor/chipset/bus.h"
#include "hypervisor/chipset/device.h"

/* NULL when memory is out. */
struct device *reset_new(const struct device_host *host, unsigned instance);
/* Puts the device at its ports. Returns what bus_add does. */
int reset_attach(struct device *dev, struct bus *b);

#endif
