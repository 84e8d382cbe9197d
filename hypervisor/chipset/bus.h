/*
 * hypervisor/chipset/bus.h - who answers at which port.
 *
 * The map is built before the first guest instruction and then only read, so processors look it up
 * without a lock. An access of any width at any port is answered: wider than a device takes, it is
 * split into pieces (little-endian); where nobody is, reads give all ones and writes are dropped,
 * silently. An access that runs over the end of a device's range is split per byte.
 */
#ifndef HYPERVISOR_CHIPSET_BUS_H
#define HYPERVISOR_CHIPSET_BUS_H

#include <stdint.h>

#include "hypervisor/chipset/device.h"

enum { BUS_MAX_RANGES = 64 };

struct bus_range {
	uint32_t base, len;
	struct device *dev;
	uint32_t first; /* what the device calls the first port of the range */
};

struct bus {
	struct bus_range range[BUS_MAX_RANGES]; /* sorted by base, disjoint */
	unsigned n;
};

/* 0, or -EEXIST on overlap, -ENOSPC, -ERANGE beyond 64 Ki ports. */
int bus_add(struct bus *b, uint32_t base, uint32_t len, struct device *dev);
/* For a device with several ranges: its offsets in this one begin at first instead of 0. */
int bus_add_at(struct bus *b, uint32_t base, uint32_t len, struct device *dev, uint32_t first);
/* size: 1, 2 or 4 bytes. */
uint32_t bus_read(const struct bus *b, uint16_t port, unsigned size);
void bus_write(const struct bus *b, uint16_t port, unsigned size, uint32_t value);

#endif
