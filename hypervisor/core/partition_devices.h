/*
 * hypervisor/core/partition_devices.h - the inner parts of a partition: its emulated devices and the
 * host they see, its power-on state. For partition.c alone.
 */
#ifndef HYPERVISOR_CORE_PARTITION_DEVICES_H
#define HYPERVISOR_CORE_PARTITION_DEVICES_H

#include "hypervisor/core/partition.h"

int partition_make_devices(struct partition *p, struct err *e);
/* The SynIC's interrupts, and the bus on it. */
int partition_make_bus(struct partition *p, struct err *e);
/* Remembers what processors and interrupt controllers are now; puts them back. Memory, devices, clock
 * and TSC are not part of it: time goes on over a reset. */
int partition_keep_power_on(struct partition *p, struct err *e);
int partition_restore_power_on(struct partition *p, struct err *e);

#endif
