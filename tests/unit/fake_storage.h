/*
 * tests/unit/fake_storage.h - a storage controller between a fake bus, a fake loop and a guest's driver: for
 * tests and fuzz targets. The rings are real; the bus is what a storage device sees of it, and nothing more.
 */
#ifndef TESTS_UNIT_FAKE_STORAGE_H
#define TESTS_UNIT_FAKE_STORAGE_H

#include "hypervisor/vsp/storage.h"
#include "tests/unit/fake_disk.h"
#include "tests/unit/fake_loop.h"
#include "tests/unit/fake_vmbus.h"
#include "tests/unit/fake_vstor.h"

enum {
	FAKE_SUBCHANNELS = 3,
	FAKE_STORAGE_MB = 16,
	FAKE_DATA = 4096 * 1024, /* guest memory from here on is the test's */
};

/* The other side of what storage calls. */
struct vmbus {
	unsigned offered, closed, broke;
	const char *why;
	unsigned signals;
	int offer_rc;
};

unsigned
vmbus_max_subchannels(const struct vmbus *b)
{
	(void)b;
	return FAKE_SUBCHANNELS;
}

int
vmbus_offer_subchannels(struct vmbus_device *d, unsigned count, struct err *e)
{
	(void)e;
	if (d->bus->offer_rc == 0)
		d->bus->offered += count;
	return d->bus->offer_rc;
}

void
vmbus_channel_closed(struct vmbus_channel *ch)
{
	ch->open = false;
	ch->device->bus->closed++;
}

void
vmbus_channel_signal(struct vmbus_channel *ch)
{
	ch->device->bus->signals++;
}

void
vmbus_channel_break(struct vmbus_channel *ch, const char *why)
{
	ch->device->bus->broke++;
	ch->device->bus->why = why;
	ch->device->ops->close(ch->device, ch);
}

struct fake_storage_channel {
	struct vmbus_channel ch;
	struct fake_channel guest;
};

struct fake_storage {
	struct fake_vmbus f; /* of it: memory, and who is kicked */
	struct vmbus bus;
	struct io_loop *loop;
	struct storage *s;
	struct fake_storage_channel c[1 + FAKE_SUBCHANNELS];
	unsigned work, full, ejected, slow, failed, gone;
	int last_error;
	uint64_t last_iops;
};

static inline void
fake_storage_work(void *ctx)
{
	((struct fake_storage *)ctx)->work++;
}

static inline void
fake_storage_full(void *ctx, unsigned controller, unsigned lun, int error)
{
	struct fake_storage *x = ctx;

	(void)controller, (void)lun;
	x->full++;
	x->last_error = error;
}

static inline void
fake_storage_ejected(void *ctx, unsigned controller, unsigned lun)
{
	(void)controller, (void)lun;
	((struct fake_storage *)ctx)->ejected++;
}

static inline void
fake_storage_slow(void *ctx, unsigned controller, unsigned lun, uint64_t iops)
{
	struct fake_storage *x = ctx;

	(void)controller, (void)lun;
	x->slow++;
	x->last_iops = iops;
}

static inline void
fake_storage_failed(void *ctx, unsigned controller, unsigned lun, enum disk_op op, uint64_t offset, int error)
{
	struct fake_storage *x = ctx;

	(void)controller, (void)lun, (void)op, (void)offset;
	x->failed++;
	x->last_error = error;
}

static inline void
fake_storage_gone(void *ctx)
{
	((struct fake_storage *)ctx)->gone++;
}

/* Both threads do what there is to do. */
static inline bool
fake_storage_run(struct fake_storage *x)
{
	bool ended = fake_loop_run(x->loop);

	while (x->work) {
		x->work = 0;
		storage_work(x->s);
		ended = fake_loop_run(x->loop) && ended;
	}
	return ended;
}

static inline void
fake_storage_make(struct fake_storage *x)
{
	static const uint8_t id[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };
	const struct storage_events events = { .ctx = x,
		.work = fake_storage_work,
		.full = fake_storage_full,
		.ejected = fake_storage_ejected,
		.slow = fake_storage_slow,
		.failed = fake_storage_failed };

	x->loop = fake_loop_new();
	if (storage_new(&x->s, &x->bus, x->loop, 0, id, &events, NULL) < 0)
		abort();
}

static inline void
fake_storage_init(struct fake_storage *x)
{
	memset(x, 0, sizeof(*x));
	if (gmem_new(&x->f.mem, (uint64_t)FAKE_STORAGE_MB << 20, false, NULL) < 0 ||
	    gmem_add(x->f.mem, 0, (uint64_t)FAKE_STORAGE_MB << 20, NULL, NULL) < 0)
		abort();
	x->f.next_page = FAKE_FIRST_PAGE;
	fake_storage_make(x);
}

/* Rings of `pages` pages (control page and data) each way, at the same place each time. */
static inline void
fake_storage_map(struct fake_storage *x, unsigned i, uint32_t pages)
{
	struct fake_storage_channel *c = &x->c[i];
	uint64_t pfn[256], first = FAKE_FIRST_PAGE + i * 256;

	for (uint32_t n = 0; n < 2 * pages; n++)
		pfn[n] = first + n;
	c->ch = (struct vmbus_channel){ .device = storage_device(x->s),
		.index = (uint16_t)i,
		.relid = i + 1,
		.connection = 100 + i,
		.kick_fd = eventfd(0, EFD_NONBLOCK),
		.open = true };
	if (ring_pair_map(&c->ch.rings, x->f.mem, pfn, 2 * pages, pages) < 0)
		abort();
	c->guest.f = &x->f;
	c->guest.connection = 100 + i;
	c->guest.out = fake_ring(&x->f, first, pages);
	c->guest.in = fake_ring(&x->f, first + pages, pages);
	x->f.bound[i].conn = 100 + i;
	x->f.bound[i].fd = c->ch.kick_fd;
}

static inline int
fake_storage_open(struct fake_storage *x, unsigned i, uint32_t pages)
{
	uint64_t first = FAKE_FIRST_PAGE + i * 256;

	gmem_zero(x->f.mem, first * GMEM_PAGE, 2ull * pages * GMEM_PAGE);
	fake_storage_map(x, i, pages);
	return x->c[i].ch.device->ops->open(x->c[i].ch.device, &x->c[i].ch, NULL);
}

/* The channel's memory is given back, once storage has let go. */
static inline void
fake_storage_unmap(struct fake_storage *x, unsigned i)
{
	struct fake_storage_channel *c = &x->c[i];

	if (c->ch.kick_fd <= 0 || c->ch.open)
		return;
	ring_pair_unmap(&c->ch.rings);
	close(c->ch.kick_fd);
	x->f.bound[i].conn = 0;
	c->ch.kick_fd = 0;
}

static inline void
fake_storage_close(struct fake_storage *x, unsigned i)
{
	struct vmbus_channel *ch = &x->c[i].ch;

	if (ch->open && ch->ctx)
		ch->device->ops->close(ch->device, ch);
	fake_storage_run(x);
	fake_storage_unmap(x, i);
}

static inline void
fake_storage_drop(struct fake_storage *x)
{
	for (unsigned i = 1 + FAKE_SUBCHANNELS; i-- > 0;)
		fake_storage_close(x, i);
	storage_free(x->s);
	free(x->loop);
}

static inline void
fake_storage_free(struct fake_storage *x)
{
	fake_storage_drop(x);
	gmem_free(x->f.mem);
}

/* --- the guest's driver --- */

static inline bool
fake_vstor_send(struct fake_storage *x, unsigned i, uint64_t transaction, const uint8_t *p, size_t len)
{
	return fake_vstor_send_on(&x->c[i].guest, transaction, p, len);
}

static inline bool
fake_srb_send(
    struct fake_storage *x, unsigned i, uint64_t transaction, const struct fake_srb *b, uint64_t gpa)
{
	return fake_srb_send_on(&x->c[i].guest, transaction, b, gpa);
}

/* The next packet to the guest; its payload's length, -1: none. */
static inline long
fake_vstor_recv(struct fake_storage *x, unsigned i, struct packet_head *h, uint8_t p[VSTOR_LEN])
{
	memset(p, 0, VSTOR_LEN);
	return fake_recv(&x->c[i].guest, h, p, VSTOR_LEN);
}

/* Sends, and takes the answer: its status, UINT32_MAX when none came. */
static inline uint32_t
fake_vstor(struct fake_storage *x, unsigned i, uint8_t p[VSTOR_LEN], size_t len)
{
	struct packet_head h;

	if (!fake_vstor_send(x, i, 77, p, len))
		return UINT32_MAX;
	fake_storage_run(x);
	if (fake_vstor_recv(x, i, &h, p) < 0 || h.type != PACKET_COMPLETION || h.transaction != 77)
		return UINT32_MAX;
	return get_le32(p) == 1 ? get_le32(p + 8) : UINT32_MAX;
}

static inline uint32_t
fake_vstor_op(struct fake_storage *x, uint32_t op, uint16_t argument)
{
	uint8_t p[VSTOR_LEN] = { 0 };

	put_le32(p, op);
	put_le32(p + 4, 1);
	put_le16(p + 12, argument);
	return fake_vstor(x, 0, p, sizeof(p));
}

/* Begin, version, properties, end. */
static inline bool
fake_handshake(struct fake_storage *x, uint16_t version)
{
	return fake_vstor_op(x, 7, 0) == 0 && fake_vstor_op(x, 9, version) == 0 &&
	       fake_vstor_op(x, 10, 0) == 0 && fake_vstor_op(x, 8, 0) == 0;
}

/* One SRB, its answer in p: srb_status, or -1. */
static inline int
fake_srb(struct fake_storage *x, unsigned i, const struct fake_srb *b, uint64_t gpa, uint8_t p[VSTOR_LEN])
{
	struct packet_head h;

	if (!fake_srb_send(x, i, 99, b, gpa))
		return -1;
	fake_storage_run(x);
	if (fake_vstor_recv(x, i, &h, p) < 0 || h.transaction != 99)
		return -1;
	return p[14];
}

#endif
