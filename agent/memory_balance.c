/* agent/memory_balance.c - sharing the host's memory among machines whose memory is dynamic. */
#include "agent/memory_balance.h"

#include <stdio.h>
#include <stdlib.h>

#include "agent/inventory.h"
#include "agent/vm_keeper.h"

#define MIB           0x100000ull
#define OWN_PART      16          /* of the host's memory is its own, */
#define OWN_LEAST     (128 * MIB) /* or this, and */
#define MACHINE_EXTRA (32 * MIB)  /* a worker's own memory */

/* --- the plan ---------------------------------------------------------------------------------------------
 */

static uint64_t
larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t
smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t
within(const struct balance_row *r, uint64_t bytes)
{
	return smaller(larger(bytes, r->least), r->most);
}

/* What it should have if there were no others. */
static uint64_t
wanted(const struct balance_row *r, bool is_short)
{
	uint64_t bytes = r->demand ? smaller(r->demand, r->most) : r->assigned;

	if (r->demand && !is_short)
		bytes += bytes / 5;
	return within(r, (bytes + BALANCE_UNIT - 1) / BALANCE_UNIT * BALANCE_UNIT);
}

/* Differences up to this are left alone; not when it has what it may not have. */
static uint64_t
band(const struct balance_row *r)
{
	return within(r, r->assigned) == r->assigned ? larger(BALANCE_BAND, r->assigned / 16) : 0;
}

/* How much more it should have now. Who has less than its demand is not left alone. */
static uint64_t
growth(const struct balance_row *r)
{
	uint64_t to = wanted(r, false);

	if (to <= r->assigned || (r->demand <= r->assigned && to - r->assigned <= band(r)))
		return 0;
	return smaller(to - r->assigned, larger(BALANCE_STEP_IN, r->assigned / 2));
}

static uint64_t
shrinkage(const struct balance_row *r, bool is_short)
{
	uint64_t to = wanted(r, is_short);

	if (to >= r->assigned)
		return 0;
	if (is_short)
		return r->assigned - to;
	if (r->assigned - to <= band(r))
		return 0;
	return smaller(r->assigned - to, larger(BALANCE_STEP_OUT, r->assigned / 8));
}

/* It has about what it should: what was asked for stays, unless that is something else by now. */
static uint64_t
keep(const struct balance_row *r)
{
	uint64_t off = r->target > r->assigned ? r->target - r->assigned : r->assigned - r->target;

	return within(r, off <= band(r) ? r->target : r->assigned);
}

void
balance_plan(struct balance_row *row, size_t n, int64_t spare)
{
	uint64_t all = 0, units, left;

	for (size_t i = 0; i < n; i++)
		all += growth(&row[i]) / BALANCE_UNIT;
	left = spare > 0 ? smaller((uint64_t)spare / BALANCE_UNIT, all) : 0;
	for (size_t i = 0; i < n; i++) {
		struct balance_row *r = &row[i];
		uint64_t less = shrinkage(r, spare < 0);

		units = all ? growth(r) / BALANCE_UNIT * left / all : 0;
		r->target = less    ? within(r, r->assigned - less)
			    : units ? within(r, r->assigned + units * BALANCE_UNIT)
				    : keep(r);
	}
}

/* --- the host ---------------------------------------------------------------------------------------------
 */

void
balance_host(uint64_t *total, uint64_t *available)
{
	unsigned long long all_kb = 0, left_kb = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "MemTotal: %llu", &all_kb);
		sscanf(line, "MemAvailable: %llu", &left_kb);
	}
	if (f)
		fclose(f);
	*total = all_kb << 10;
	*available = left_kb << 10;
}

/* Guests have been promised what they have not touched yet, and the host needs what nobody was promised. */
int64_t
balance_spare(uint64_t total, uint64_t available, uint64_t promised)
{
	int64_t own = (int64_t)larger(total / OWN_PART, OWN_LEAST);
	int64_t by_use = (int64_t)available - own, by_promise = (int64_t)total - own - (int64_t)promised;

	return by_use < by_promise ? by_use : by_promise;
}

/* --- the machines -----------------------------------------------------------------------------------------
 */

struct balance {
	size_t *which; /* of all machines: those whose memory is to be thought over */
	struct balance_row *row;
	size_t n;
	uint64_t promised;
};

/* What its document says by now, as far as its worker can do it. With vm->lock. */
static void
limits(const struct vm *vm, struct balance_row *r)
{
	const struct guest_memory *m = &vm->guest.memory;
	uint64_t least, most;

	vm_config_memory(&vm->config, &least, &most);
	r->least = larger(least * MIB, m->minimum);
	r->most = smaller(smaller(most * MIB, m->maximum), vm->guest.most);
	if (vm->config.memory.dynamic && r->least <= r->most)
		return;
	r->most = smaller(m->maximum, vm->guest.most);
	r->least = smaller(m->minimum, r->most);
}

/* Adds what vm has; whether it takes part. */
static bool
add(struct balance *b, struct vm *vm)
{
	const struct guest_memory *m = &vm->guest.memory;
	struct balance_row *r = &b->row[b->n];
	bool counts, takes_part;

	pthread_mutex_lock(&vm->lock);
	counts = vm->keeper && vm->state == VM_RUNNING && m->known && m->dynamic && m->minimum <= m->maximum;
	takes_part = counts && m->takes_part;
	if (counts) {
		*r =
		    (struct balance_row){ .assigned = m->assigned, .demand = m->demand, .target = m->target };
		limits(vm, r);
		r->assigned = smaller(r->assigned, vm->guest.most); /* whatever its worker says */
		if (vm->guest.pinned)
			r->least = r->most = smaller(larger(vm->guest.pinned, r->least), r->most);
	}
	if (vm->keeper)
		b->promised += MACHINE_EXTRA + (counts ? r->assigned : vm->config.memory.size_mb * MIB);
	pthread_mutex_unlock(&vm->lock);
	return takes_part;
}

static void
tell(struct vm *vm, uint64_t target)
{
	pthread_mutex_lock(&vm->lock);
	if (vm->keeper && vm->guest.want != target) {
		vm->guest.want = target;
		keeper_wake(vm);
	}
	pthread_mutex_unlock(&vm->lock);
}

static void
balance(struct machines *ms)
{
	struct vm **all;
	size_t n = inventory_all(ms, &all);
	struct balance b = { .which = calloc(n + 1, sizeof(*b.which)), .row = calloc(n + 1, sizeof(*b.row)) };
	uint64_t total, available;

	for (size_t i = 0; b.which && b.row && i < n; i++)
		if (add(&b, all[i]))
			b.which[b.n++] = i;
	balance_host(&total, &available);
	if (b.n && total) {
		balance_plan(b.row, b.n, balance_spare(total, available, b.promised));
		for (size_t i = 0; i < b.n; i++)
			tell(all[b.which[i]], b.row[i].target);
	}
	for (size_t i = 0; i < n; i++)
		vm_put(all[i]);
	free(all);
	free(b.which);
	free(b.row);
}

void
memory_balance(struct machines *ms)
{
	uint64_t now = vm_now_ms(), due = atomic_load(&ms->balance_due);

	if (now >= due && atomic_compare_exchange_strong(&ms->balance_due, &due, now + ms->balance_ms))
		balance(ms);
}
