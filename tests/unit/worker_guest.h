/*
 * tests/unit/worker_guest.h - the guest of a worker's unit. Its drivers work blind: what the host says on the
 * bus goes to a message page that is not there. With the worker's own I/O threads.
 */
#ifndef TESTS_UNIT_WORKER_GUEST_H
#define TESTS_UNIT_WORKER_GUEST_H

#include "hypervisor/vmbus/bus_private.h"
#include "hypervisor/vsp/bytes.h"
#include "tests/unit/fake_vmbus.h"
#include "tests/unit/worker_case.h"

enum {
	GUEST_RINGS = 4096,   /* page; each relid has GUEST_PAGES from there on */
	GUEST_PAGES = 16,     /* both rings of a channel */
	GUEST_PATIENCE = 5000 /* ms */
};

static struct fake_vmbus guest; /* its view of the bus: memory, and where messages go */

static inline void
connect_guest(void)
{
	const struct wire_contact contact = fake_contact(VMBUS_5_3, 0);

	guest = (struct fake_vmbus){
		.bus = f.w.p->vmbus, .mem = f.w.p->mem, .connection = CONNECTION_MESSAGE_NEW
	};
	fake_say(&guest, &contact, sizeof(contact));
	fake_say_numbers(&guest, WIRE_REQUEST_OFFERS, sizeof(struct wire_head), 0, 0);
}

static inline struct fake_channel
map_rings(uint32_t relid)
{
	uint64_t first = GUEST_RINGS + relid * GUEST_PAGES;

	return (struct fake_channel){ .f = &guest,
		.connection = CONNECTION_CHANNEL | relid,
		.out = fake_ring(&guest, first, GUEST_PAGES / 2),
		.in = fake_ring(&guest, first + GUEST_PAGES / 2, GUEST_PAGES / 2) };
}

static inline unsigned
channels_open(void)
{
	struct vmbus_stats s;

	vmbus_statistics(f.w.p->vmbus, &s);
	return s.channels_open;
}

static inline struct fake_channel
open_rings(uint32_t relid)
{
	const struct wire_open open = { .head.type = WIRE_OPEN,
		.relid = relid,
		.open_id = 1,
		.gpadl = 100 + relid,
		.target_vp = 0,
		.downstream = GUEST_PAGES / 2 };
	uint64_t pfn[GUEST_PAGES], first = GUEST_RINGS + relid * GUEST_PAGES;
	unsigned before = channels_open();

	for (unsigned i = 0; i < GUEST_PAGES; i++)
		pfn[i] = first + i;
	gmem_zero(guest.mem, first * GMEM_PAGE, GUEST_PAGES * GMEM_PAGE);
	fake_gpadl_header(&guest, relid, 100 + relid, pfn, GUEST_PAGES, 0, GUEST_PAGES * GMEM_PAGE);
	fake_say(&guest, &open, sizeof(open));
	assert_int_equal(channels_open(), before + 1);
	return map_rings(relid);
}

/* The guest's signal, as KVM would pass it on. */
static inline void
kick(uint32_t relid)
{
	eventfd_write(guest.bus->by_relid[relid]->pub.kick_fd, 1);
}

/* What the control thread's loop does when it is woken by a device. */
static inline void
turn(void)
{
	if (f.w.p && partition_take_asked(f.w.p) & ASKED_DEVICES)
		services_work(&f.w);
	poll(NULL, 0, 1);
}

/* The next packet for the guest: its length. */
static inline long
await_packet(struct fake_channel *c, void *to, size_t cap)
{
	struct packet_head h;
	long n;

	for (int i = 0; (n = fake_recv(c, &h, to, cap)) < 0; i++) {
		assert_in_range(i, 0, GUEST_PATIENCE);
		turn();
	}
	return n;
}

#endif
