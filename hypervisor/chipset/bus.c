/*
 * hypervisor/chipset/bus.c - who answers at which port.
 *
 * bus_add: control thread, before the processors run. bus_read and bus_write: any processor's thread.
 */
#include "hypervisor/chipset/bus.h"

#include <errno.h>
#include <string.h>

enum { BUS_PORTS = 0x10000 };

/* Index of the first range that ends behind port; b->n when there is none. */
static unsigned
bus_index(const struct bus *b, uint32_t port)
{
	unsigned lo = 0, hi = b->n;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (port < b->range[mid].base + b->range[mid].len)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

static const struct bus_range *
bus_find(const struct bus *b, uint32_t port)
{
	unsigned i = bus_index(b, port);

	return i < b->n && port >= b->range[i].base ? &b->range[i] : NULL;
}

int
bus_add_at(struct bus *b, uint32_t base, uint32_t len, struct device *dev, uint32_t first)
{
	unsigned i;

	if (!len || base >= BUS_PORTS || len > BUS_PORTS - base)
		return -ERANGE;
	if (b->n == BUS_MAX_RANGES)
		return -ENOSPC;
	i = bus_index(b, base);
	if (i < b->n && b->range[i].base < base + len)
		return -EEXIST;
	memmove(&b->range[i + 1], &b->range[i], (b->n - i) * sizeof(b->range[0]));
	b->range[i] = (struct bus_range){ base, len, dev, first };
	b->n++;
	return 0;
}

int
bus_add(struct bus *b, uint32_t base, uint32_t len, struct device *dev)
{
	return bus_add_at(b, base, len, dev, 0);
}

static uint32_t
ones(unsigned size)
{
	return UINT32_MAX >> (32 - 8 * size);
}

/* The widest piece of an access that can be handed over at once: 1 where nobody is. */
static unsigned
bus_piece(const struct bus_range *r, uint32_t port, unsigned size)
{
	if (!r || size == 3 || size > r->base + r->len - port)
		return 1; /* 3: the rest of an access that ran over the end of another range */
	return size < r->dev->ops->width ? size : r->dev->ops->width;
}

static uint32_t
bus_read_piece(const struct bus_range *r, uint32_t port, unsigned size)
{
	struct device *d;
	uint32_t v;

	if (!r)
		return ones(size);
	d = r->dev;
	pthread_mutex_lock(&d->lock);
	v = d->ops->read(d, r->first + (port - r->base), size);
	pthread_mutex_unlock(&d->lock);
	return v & ones(size);
}

static void
bus_write_piece(const struct bus_range *r, uint32_t port, unsigned size, uint32_t value)
{
	struct device *d;

	if (!r)
		return;
	d = r->dev;
	pthread_mutex_lock(&d->lock);
	d->ops->write(d, r->first + (port - r->base), size, value & ones(size));
	pthread_mutex_unlock(&d->lock);
}

/* Port numbers are 32 bits wide in here: a wide access at 0xffff does not come round to port 0. */
uint32_t
bus_read(const struct bus *b, uint16_t port, unsigned size)
{
	uint32_t v = 0;

	for (unsigned i = 0, n; i < size; i += n) {
		const struct bus_range *r = bus_find(b, port + i);

		n = bus_piece(r, port + i, size - i);
		v |= bus_read_piece(r, port + i, n) << (8 * i);
	}
	return v;
}

void
bus_write(const struct bus *b, uint16_t port, unsigned size, uint32_t value)
{
	for (unsigned i = 0, n; i < size; i += n) {
		const struct bus_range *r = bus_find(b, port + i);

		n = bus_piece(r, port + i, size - i);
		bus_write_piece(r, port + i, n, value >> (8 * i));
	}
}
