/*
 * tests/fuzz/device.h - fuzzing an emulated device: the input is a list of actions, done to the device
 * through a bus as a guest would, with time and events of the host in between.
 *
 * Each action is a byte for its kind and then what it needs; missing bytes count as zero. After the
 * last one the device must survive a save and a restore into a fresh one without losing anything.
 */
#ifndef TESTS_FUZZ_DEVICE_H
#define TESTS_FUZZ_DEVICE_H

#include <errno.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/fake_host.h"

struct actions {
	const uint8_t *p;
	size_t n;
};

struct fuzzed {
	uint16_t base; /* accesses go from 4 ports below it ... */
	uint16_t span; /* ... to so many above that */
	struct device *(*fresh)(struct fake_host *f);
	void (*attach)(struct fake_host *f, struct device *d);
	void (*event)(struct device *d, struct actions *a); /* from the host; may be NULL */
	void (*check)(struct fake_host *f);                 /* of the end state; may be NULL */
};

enum { FUZZ_SNAP_MAX = 512, FUZZ_WAKES = 8 };

static inline uint8_t
take8(struct actions *a)
{
	if (!a->n)
		return 0;
	a->n--;
	return *a->p++;
}

static inline uint32_t
take32(struct actions *a)
{
	uint32_t v = take8(a);

	v |= (uint32_t)take8(a) << 8;
	v |= (uint32_t)take8(a) << 16;
	return v | (uint32_t)take8(a) << 24;
}

/* Puts a fresh device in the place of d; leaves it as it is when the state is refused. */
static inline struct device *
fuzz_restore(const struct fuzzed *t, struct fake_host *f, struct device *d, const void *buf, size_t len)
{
	struct err e = { 0 };
	int rc;

	device_free(d);
	memset(f->line, 0, sizeof(f->line)); /* interrupt controllers know nothing yet, either */
	d = t->fresh(f);
	rc = device_restore(d, buf, len, &e);
	must(rc == 0 || (rc == -EINVAL && e.msg[0]));
	if (rc) { /* unspecified but destroyable */
		device_free(d);
		d = t->fresh(f);
	}
	f->bus.n = 0;
	t->attach(f, d);
	return d;
}

static inline struct device *
fuzz_round_trip(const struct fuzzed *t, struct fake_host *f, struct device *d)
{
	uint8_t was[FUZZ_SNAP_MAX], is[FUZZ_SNAP_MAX];
	long n = device_save(d, was, sizeof(was));

	must(n > 0);
	d = fuzz_restore(t, f, d, was, (size_t)n);
	must(device_save(d, is, sizeof(is)) == n);
	must(!memcmp(was, is, (size_t)n));
	return d;
}

/* The device's own state with one byte changed: gets further than random bytes. */
static inline struct device *
fuzz_restore_changed(const struct fuzzed *t, struct fake_host *f, struct device *d, struct actions *a)
{
	uint8_t buf[FUZZ_SNAP_MAX];
	long n = device_save(d, buf, sizeof(buf));

	must(n > 0);
	for (unsigned changes = take8(a) % 4 + 1u; changes; changes--) {
		size_t at = take8(a) % (size_t)n;

		buf[at] = take8(a);
	}
	return fuzz_restore(t, f, d, buf, (size_t)n);
}

static inline void
fuzz_access(const struct fuzzed *t, struct fake_host *f, struct actions *a, bool write)
{
	uint16_t port = (uint16_t)(t->base - 4 + take8(a) % t->span);
	unsigned size = 1u << take8(a) % 3;

	if (write)
		bus_write(&f->bus, port, size, take32(a));
	else
		must(size == 4 || bus_read(&f->bus, port, size) >> (8 * size) == 0);
}

static inline struct device *
fuzz_action(const struct fuzzed *t, struct fake_host *f, struct device *d, struct actions *a)
{
	uint8_t kind = take8(a);

	switch (kind & 7) {
	case 0:
		fuzz_access(t, f, a, false);
		break;
	case 1:
	case 2:
		fuzz_access(t, f, a, true);
		break;
	case 3: /* up to 78 hours */
		fake_pass(f, (uint64_t)take8(a) << (kind >> 3) << (kind >> 7 ? 8 : 0), FUZZ_WAKES);
		break;
	case 4:
		f->wall += (int8_t)take8(a) * (INT64_C(1) << (kind >> 3));
		break;
	case 5:
		if (t->event)
			t->event(d, a);
		break;
	case 6:
		return kind & 8 ? fuzz_round_trip(t, f, d) : fuzz_restore_changed(t, f, d, a);
	default:
		if (kind & 8)
			device_reset(d);
		else
			device_expire(d); /* when nobody asked for it */
	}
	return d;
}

static inline void
fuzz_device(const struct fuzzed *t, const uint8_t *data, size_t size)
{
	struct actions a = { data, size };
	struct fake_host f;
	struct device *d;

	fake_host_init(&f);
	d = t->fresh(&f);
	t->attach(&f, d);
	while (a.n)
		d = fuzz_action(t, &f, d, &a);
	if (t->check)
		t->check(&f);
	d = fuzz_round_trip(t, &f, d);
	device_free(d);
	must(f.due == UINT64_MAX);
}

#endif
