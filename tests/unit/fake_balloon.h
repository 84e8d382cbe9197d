/*
 * tests/unit/fake_balloon.h - a guest's hv_balloon on the real bus, and the machine around the device, for
 * its test and its fuzz target: guest_* is what its driver says, fake_balloon_* what the host's side does.
 */
#ifndef TESTS_UNIT_FAKE_BALLOON_H
#define TESTS_UNIT_FAKE_BALLOON_H

#include "hypervisor/vsp/balloon_private.h"
#include "hypervisor/vsp/bytes.h"
#include "tests/unit/fake_loop.h"
#include "tests/unit/fake_vmbus.h"

enum { FAKE_BALLOON_RING = 4, FAKE_BALLOON_MB = 1 << 20, FAKE_BALLOON_UNIT_MB = 2 };

struct fake_balloon {
	struct fake_vmbus f;
	struct io_loop *loop;
	struct balloon *b;
	struct balloon_limits limits;
	struct fake_channel c;
	struct wire_offer offer;
	bool work;
	unsigned tells, adds;
	int add_error; /* what the next ones fail with */
	uint64_t next; /* where memory is added */
	struct balloon_report told;
};

static inline void
fake_balloon_wake(void *ctx)
{
	((struct fake_balloon *)ctx)->work = true;
}

static inline int
fake_balloon_add(void *ctx, uint64_t bytes, uint64_t unit, uint64_t *gpa, struct err *e)
{
	struct fake_balloon *x = ctx;
	uint64_t at = (x->next + unit - 1) / unit * unit;
	int rc = x->add_error;

	x->adds++;
	if (bytes % unit || (unit & (unit - 1)) || unit < 2 * (uint64_t)FAKE_BALLOON_MB)
		abort();
	if (rc == 0)
		rc = gmem_add(x->f.mem, at, bytes, NULL, e);
	if (rc < 0)
		return rc;
	x->next = at + bytes;
	*gpa = at;
	return 0;
}

static inline void
fake_balloon_changed(void *ctx, const struct balloon_report *r)
{
	struct fake_balloon *x = ctx;

	x->tells++;
	x->told = *r;
}

/* Until nobody has anything to do; false: there was no end. */
static inline bool
fake_balloon_run(struct fake_balloon *x)
{
	unsigned turns = 0;

	do {
		x->work = false;
		balloon_work(x->b);
		if (!fake_loop_run(x->loop) || turns++ > 10000)
			return false;
	} while (x->work);
	return true;
}

static inline bool
fake_balloon_pass(struct fake_balloon *x, uint64_t ms)
{
	bool ok = true;

	/* In small steps: the control thread has its turn between them. */
	for (uint64_t left = ms; left && ok;) {
		uint64_t step = left < 1000 ? left : 1000;

		fake_loop_pass(x->loop, step * 1000000);
		ok = fake_balloon_run(x);
		left -= step;
	}
	return ok;
}

/* A machine with memory `mb` at 0, in f.mem, that may grow to `most`. */
static inline int
fake_balloon_init(struct fake_balloon *x, uint64_t mb, uint64_t least, uint64_t most)
{
	const struct balloon_events events = { x, fake_balloon_wake, fake_balloon_add, fake_balloon_changed };
	struct err e;
	int rc;

	memset(x, 0, sizeof(*x));
	rc = fake_vmbus_init(&x->f, mb, 2);
	if (rc < 0)
		return rc;
	/* Another memory, with room to grow. */
	vmbus_free(x->f.bus);
	gmem_free(x->f.mem);
	rc = gmem_new(&x->f.mem, most * FAKE_BALLOON_MB, false, &e);
	if (rc == 0)
		rc = gmem_add(x->f.mem, 0, mb * FAKE_BALLOON_MB, NULL, &e);
	x->f.host.mem = x->f.mem;
	if (rc == 0)
		rc = vmbus_new(&x->f.bus, &x->f.host, &e);
	x->next = 1ull << 32;
	x->limits = (struct balloon_limits){ mb * FAKE_BALLOON_MB, least * FAKE_BALLOON_MB,
		most * FAKE_BALLOON_MB, (1ull << 32) + 2 * most * FAKE_BALLOON_MB };
	x->loop = fake_loop_new();
	if (rc == 0)
		rc = balloon_new(&x->b, x->f.mem, x->loop, &x->limits, &events, &e);
	return rc < 0 ? rc : vmbus_offer_device(x->f.bus, balloon_device(x->b), &e);
}

static inline void
fake_balloon_free(struct fake_balloon *x)
{
	vmbus_free(x->f.bus);
	x->f.bus = NULL;
	balloon_free(x->b);
	io_loop_free(x->loop);
	gmem_free(x->f.mem);
	free(x->f.heard);
}

static inline uint32_t
guest_opens(struct fake_balloon *x)
{
	uint32_t status = fake_open(&x->f, &x->c, &x->offer, FAKE_BALLOON_RING, FAKE_BALLOON_RING, 0);

	return fake_balloon_run(x) ? status : UINT32_MAX;
}

/* --- what the driver says ------------------------------------------------------------------------------ */

/* A message whose payload is `len` bytes, and which says that it has `size`. */
static inline bool
guest_says(struct fake_balloon *x, uint16_t type, uint16_t size, const void *body, size_t len)
{
	uint8_t m[2 * BALLOON_MESSAGE] = { 0 };

	put_le16(m, type);
	put_le16(m + 2, size);
	put_le32(m + 4, 77);
	if (len > BALLOON_HEAD && body)
		memcpy(m + BALLOON_HEAD, body, len - BALLOON_HEAD);
	return fake_send(&x->c, PACKET_INBAND, 0, 0, NULL, 0, m, len) && fake_balloon_run(x);
}

static inline bool
guest_says_version(struct fake_balloon *x, uint32_t version)
{
	const uint32_t body[2] = { version, 0 };

	return guest_says(x, SAYS_VERSION, 16, body, 16);
}

static inline bool
guest_says_capabilities(struct fake_balloon *x, uint64_t can, unsigned unit_shift)
{
	const uint64_t body[3] = { can | unit_shift << 2, 0, UINT64_MAX };

	return guest_says(x, SAYS_CAPABILITIES, 32, body, 32);
}

static inline bool
guest_says_status(struct fake_balloon *x, uint64_t available, uint64_t committed)
{
	const uint64_t body[5] = { available, committed, 0, 0, 0 };

	return guest_says(x, SAYS_STATUS, 48, body, 48);
}

struct guest_range {
	uint64_t first, pages;
};

static inline bool
guest_says_balloon(struct fake_balloon *x, const struct guest_range *r, uint32_t n, bool more)
{
	uint8_t body[BALLOON_MESSAGE] = { 0 };

	put_le32(body + 4, n << 1 | more);
	for (uint32_t i = 0; i < n; i++)
		put_le64(body + 8 + 8 * (size_t)i, r[i].first | r[i].pages << 40);
	return guest_says(x, SAYS_BALLOON, (uint16_t)(16 + 8 * n), body, 16 + 8 * (size_t)n);
}

static inline bool
guest_says_unballoon(struct fake_balloon *x)
{
	return guest_says(x, SAYS_UNBALLOON, 8, NULL, 8);
}

static inline bool
guest_says_hot_add(struct fake_balloon *x, uint32_t pages, uint32_t result)
{
	const uint32_t body[2] = { pages, result };

	return guest_says(x, SAYS_HOT_ADD, 16, body, 16);
}

/* What the host says next: its type, and the message in m (BALLOON_MESSAGE bytes); 0: nothing. */
static inline uint16_t
guest_hears(struct fake_balloon *x, uint8_t *m)
{
	struct packet_head h;
	long n = fake_recv(&x->c, &h, m, BALLOON_MESSAGE);

	if (n < 0)
		return 0;
	if (h.type != PACKET_INBAND || n < BALLOON_HEAD || n > BALLOON_MESSAGE || get_le16(m + 2) > n ||
	    !fake_balloon_run(x))
		abort();
	return get_le16(m);
}

static inline struct guest_range
guest_range_at(const uint8_t *p)
{
	return (struct guest_range){ get_le64(p) & ((1ull << 40) - 1), get_le64(p) >> 40 };
}

#endif
