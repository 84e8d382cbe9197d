/*
 * tests/unit/fake_host.h - the machine around one emulated device, for tests and fuzz targets: a clock
 * that goes when it is told to, wires that remember, one timer.
 */
#ifndef TESTS_UNIT_FAKE_HOST_H
#define TESTS_UNIT_FAKE_HOST_H

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hypervisor/chipset/bus.h"
#include "hypervisor/chipset/device.h"

enum { FAKE_LINES = 24 };
#define FAKE_SECOND 1000000000ull

struct fake_host {
	struct device_host host;
	uint64_t ns;      /* now() */
	int64_t wall;     /* the wall clock when now() was 0 */
	uint64_t wall_ns; /* and how far that second had gone */
	bool line[FAKE_LINES];
	unsigned rises[FAKE_LINES];
	unsigned requests[2]; /* by enum guest_request */
	struct device *timer;
	uint64_t due;
	unsigned wakes; /* times that the timer expired */
	struct bus bus;
};

static inline void
fake_irq(void *ctx, unsigned gsi, bool level)
{
	struct fake_host *f = ctx;

	if (gsi >= FAKE_LINES)
		abort();
	f->rises[gsi] += level && !f->line[gsi];
	f->line[gsi] = level;
}

static inline uint64_t
fake_now(void *ctx)
{
	return ((struct fake_host *)ctx)->ns;
}

static inline struct timespec
fake_wall(void *ctx)
{
	struct fake_host *f = ctx;
	uint64_t ns = f->ns + f->wall_ns;

	return (struct timespec){ f->wall + (int64_t)(ns / FAKE_SECOND), (long)(ns % FAKE_SECOND) };
}

static inline void
fake_request(void *ctx, enum guest_request what)
{
	((struct fake_host *)ctx)->requests[what]++;
}

static inline void
fake_timer(void *ctx, struct device *dev, uint64_t ns)
{
	struct fake_host *f = ctx;

	f->timer = dev;
	f->due = ns;
}

static inline void
fake_host_init(struct fake_host *f)
{
	memset(f, 0, sizeof(*f));
	f->host = (struct device_host){ f, fake_irq, fake_now, fake_wall, fake_request, fake_timer };
	f->wall = 1700000000; /* Tue 2023-11-14 22:13:20 UTC */
	f->due = UINT64_MAX;
}

/* Lets time pass; the timer expires when it is due, at most `most` times. */
static inline void
fake_pass(struct fake_host *f, uint64_t ns, unsigned most)
{
	uint64_t end = f->ns + ns;

	while (f->due <= end && most--) {
		if (f->due > f->ns)
			f->ns = f->due;
		f->due = UINT64_MAX;
		f->wakes++;
		device_expire(f->timer);
	}
	f->ns = end;
}

static inline void
fake_advance(struct fake_host *f, uint64_t ns)
{
	fake_pass(f, ns, 1000000);
}

static inline uint8_t
in8(struct fake_host *f, uint16_t port)
{
	return (uint8_t)bus_read(&f->bus, port, 1);
}

static inline uint16_t
in16(struct fake_host *f, uint16_t port)
{
	return (uint16_t)bus_read(&f->bus, port, 2);
}

static inline uint32_t
in32(struct fake_host *f, uint16_t port)
{
	return bus_read(&f->bus, port, 4);
}

static inline void
out8(struct fake_host *f, uint16_t port, uint32_t v)
{
	bus_write(&f->bus, port, 1, v);
}

static inline void
out16(struct fake_host *f, uint16_t port, uint32_t v)
{
	bus_write(&f->bus, port, 2, v);
}

static inline void
out32(struct fake_host *f, uint16_t port, uint32_t v)
{
	bus_write(&f->bus, port, 4, v);
}

#endif
