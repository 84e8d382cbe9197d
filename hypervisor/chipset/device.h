/*
 * hypervisor/chipset/device.h - what every emulated device is: a private struct that begins with a
 * struct device, and one constant table of what it can do.
 *
 * The bus (chipset/bus.h) calls a device with its lock held, on the thread of whichever processor made
 * the access; `expire` comes from the control thread, also under the lock. Nothing in a device
 * blocks. A device never takes another device's lock; it speaks to the world through its host.
 */
#ifndef HYPERVISOR_CHIPSET_DEVICE_H
#define HYPERVISOR_CHIPSET_DEVICE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "hypervisor/state/snap.h"
#include "lib/err.h"

struct device;

/* What a guest asks of its machine through a device. */
enum guest_request { GUEST_POWER_OFF, GUEST_RESET };

/* The machine around a device. All may be called with the device's lock held and do not block. */
struct device_host {
	void *ctx;
	/* Sets interrupt line gsi (0-23, level as wired; edge devices pulse it). */
	void (*irq)(void *ctx, unsigned gsi, bool level);
	/* Guest reference time in ns: continues over pause and save, never goes back. */
	uint64_t (*now)(void *ctx);
	/* The machine's wall clock, since 1970 UTC; tv_nsec is 0 to 999999999. May be set, back or forth. */
	struct timespec (*wall)(void *ctx);
	void (*request)(void *ctx, enum guest_request what);
	/*
	 * Calls dev's expire op (device_expire) once when now() reaches ns; UINT64_MAX: never. One timer a
	 * device; setting it again replaces it. A moment that has passed expires at once. An expiry may
	 * come late, or after the timer was set to something else: devices look at the time themselves.
	 */
	void (*timer)(void *ctx, struct device *dev, uint64_t ns);
};

struct device_ops {
	const char *name; /* in machine files and saved state: never changes */
	uint32_t version; /* of snap() */
	unsigned width;   /* widest access it takes, in bytes: 1, 2 or 4; the bus splits wider ones */
	uint32_t (*read)(struct device *dev, uint32_t off, unsigned size);
	void (*write)(struct device *dev, uint32_t off, unsigned size, uint32_t value);
	void (*reset)(struct device *dev);  /* to the state after power-on */
	void (*expire)(struct device *dev); /* NULL: no timer */
	void (*snap)(struct device *dev, struct snap *s);
	void (*restored)(struct device *dev); /* after a restore: raise lines, arm the timer; may be NULL */
	void (*free)(struct device *dev);
};

struct device {
	const struct device_ops *ops;
	const struct device_host *host;
	unsigned instance; /* 0 for COM1, 1 for COM2, ...; with the name it identifies saved state */
	pthread_mutex_t lock;
};

/* Fills in the common part. size of the whole struct is the device's own business. */
void device_init(
    struct device *d, const struct device_ops *ops, const struct device_host *host, unsigned instance);
/*
 * Locks around ops. device_save returns the bytes used or -ENOSPC; device_restore 0 or -EINVAL with e.
 * device_free stops the timer first; by then nobody else may know the device.
 */
void device_reset(struct device *d);
void device_expire(struct device *d);
long device_save(struct device *d, void *buf, size_t cap);
int device_restore(struct device *d, const void *buf, size_t len, struct err *e);
void device_free(struct device *d);

#endif
