/*
 * vmbench_lost.c - guests that the emulator has spoilt.
 *
 * It now and then delivers an interrupt once more, while they are disabled (docs/performance.md, "Limits of
 * these figures"). A kernel on one processor then waits for ever for a lock that it holds itself; or, when
 * that happens on its way in before it has its own GS, every fault leads to another until the stack is full.
 * A monitor can do neither, so such a run is repeated. It has to be known early: to emulate a guest that
 * spins takes a minute for each of its seconds.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/vmbench.h"

/* How many silences in a row make a guest suspicious: 200 ms, more than its kernel needs to unpack itself.
 * And how long it is then watched. */
enum { SILENCES = 4, WATCH_MS = 50 };
enum { LOCK = 512 }; /* bytes: the slow path of a spin lock */

static int faulted;
static struct places { /* of the exits while it was watched */
	uint64_t low, high;
} seen;

int
lost_line(const char *line)
{
	faulted = faulted || strstr(line, "PANIC: double fault") != NULL;
	return faulted;
}

static void
exit_at(void *ctx, const char *row, double hits)
{
	struct places *p = ctx;
	uint64_t rip;

	(void)hits;
	if (sscanf(row, " guest_rip: %" SCNx64, &rip) != 1)
		return;
	p->low = rip < p->low ? rip : p->low;
	p->high = rip > p->high ? rip : p->high;
}

/* Does the guest's kernel neither halt nor leave one place? */
static int
spins(void)
{
	double halts = kvm_counter("halt_exits");

	seen = (struct places){ UINT64_MAX, 0 };
	kvm_hist_on("kvm_exit", "guest_rip.hex");
	usleep(WATCH_MS * 1000);
	kvm_hist_off("kvm_exit", "guest_rip.hex", exit_at, &seen);
	return seen.high >> 63 && seen.high - seen.low < LOCK && kvm_counter("halt_exits") <= halts;
}

/*
 * A guest that runs sets its timer, halts, uses devices; one that waits for a lock with interrupts disabled
 * is left for this machine's own ticks alone. Reading two counters is little enough to be done while
 * something is measured.
 */
int
lost_silence(void)
{
	static double exits, ticks;
	static int silences;
	double e = kvm_counter("exits"), t = kvm_counter("irq_exits");

	silences = e > exits && e - exits == t - ticks ? silences + 1 : 0;
	exits = e;
	ticks = t;
	if (silences < SILENCES)
		return 0;
	silences = 0;
	fprintf(stderr, "# the guest only runs\n"); /* a sign of life for run.sh */
	return spins();
}

int
lost_how(char *how, size_t size)
{
	int spinning;

	if (faulted) {
		snprintf(how, size, "died of a double fault");
		return 1;
	}
	spinning = spins();
	snprintf(how, size, "%s at %" PRIx64 " to %" PRIx64, spinning ? "spins" : "is", seen.low, seen.high);
	return spinning;
}
