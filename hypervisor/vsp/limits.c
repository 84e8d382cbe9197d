/*
 * hypervisor/vsp/limits.c - how much of the host's storage one unit may take, and how little it should get.
 */
#include "hypervisor/vsp/limits.h"

#define NS 1000000000ull

enum {
	BURST_NS = 50 * 1000 * 1000, /* what was not used so long ago is lost */
	BUSY_PERCENT = 90,           /* of a window: less is a guest that does not want more */
};

void
limits_set(struct limits *l, uint64_t max_iops, uint64_t max_bytes)
{
	*l = (struct limits){ .requests.per_s = max_iops, .bytes.per_s = max_bytes };
}

static uint64_t
requests_of(uint64_t bytes)
{
	return bytes <= LIMITS_REQUEST ? 1 : (bytes + LIMITS_REQUEST - 1) / LIMITS_REQUEST;
}

static void
charge(struct ceiling *c, uint64_t n, uint64_t now)
{
	uint64_t earliest = now > BURST_NS ? now - BURST_NS : 0;

	if (!c->per_s)
		return;
	if (c->due < earliest)
		c->due = earliest;
	c->due += n / c->per_s * NS + n % c->per_s * NS / c->per_s;
}

uint64_t
limits_take(struct limits *l, uint64_t bytes, uint64_t now)
{
	uint64_t due = 0;

	if (l->requests.per_s)
		due = l->requests.due;
	if (l->bytes.per_s && l->bytes.due > due)
		due = l->bytes.due;
	if (due > now)
		return due;
	charge(&l->requests, requests_of(bytes), now);
	charge(&l->bytes, bytes, now);
	return 0;
}

bool
floor_busy(struct iops_floor *f, uint64_t now)
{
	bool begins = f->begun == 0;

	if (f->busy_at)
		return false;
	f->busy_at = now;
	if (begins) {
		f->begun = now;
		f->busy = f->got = 0;
	}
	return begins;
}

void
floor_idle(struct iops_floor *f, uint64_t now)
{
	if (f->busy_at)
		f->busy += now - f->busy_at;
	f->busy_at = 0;
}

void
floor_got(struct iops_floor *f, uint64_t bytes)
{
	f->got += requests_of(bytes);
}

bool
floor_window_ends(struct iops_floor *f, uint64_t now, uint64_t *iops)
{
	uint64_t length = now - f->begun;
	bool active = f->busy_at != 0;
	bool slow;

	floor_idle(f, now);
	*iops = length ? f->got * NS / length : f->got;
	slow = f->busy >= length / 100 * BUSY_PERCENT && *iops < f->min_iops;
	f->begun = 0;
	if (active)
		floor_busy(f, now);
	return slow;
}
