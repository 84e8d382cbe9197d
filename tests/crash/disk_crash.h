/*
 * tests/crash/disk_crash.h - the power cut at every event of a disk's life: main of the targets for its
 * formats.
 *
 *   CRASH_STATES=N   how many states (100,000 without it)
 *   CRASH_SEED=N     one run alone, as a failure names it
 *   CRASH_TRACE=1    what is done in it
 */
#ifndef TESTS_CRASH_DISK_CRASH_H
#define TESTS_CRASH_DISK_CRASH_H

#include <malloc.h>
#include <time.h>

#include "tests/crash/disk_work.h"

enum {
	STATES = 100000,
	FAILURES = 5,
	ROUNDS = 6,
	REQUESTS = 40,
	MORE = 2,
	MEND_ONE_OF = 24,
	ERRORS_IN_ONE_OF = 4, /* runs */
	FAILS_ONE_OF = 60,    /* changes and flushes of these */
	SAMPLES = 2,
	SAMPLED_RUNS = 30
};

struct crash_sum {
	const char *samples; /* the folder for states that others read, too; NULL: no more */
	unsigned long runs, failed, states, mended, again, events, faults;
};

static inline unsigned long
crash_number(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoul(text, NULL, 10) : otherwise;
}

static inline void
crash_run(struct crash_sum *sum, const struct disk_format *f, const struct scenario *s, uint64_t seed)
{
	static struct rig r;

	work_init(&r, f, s, seed);
	r.trace = crash_number("CRASH_TRACE", 0);
	r.samples = sum->samples;
	r.most_samples = SAMPLES;
	r.mend = MEND_ONE_OF;
	r.errors = memory_mix(seed, seed) % ERRORS_IN_ONE_OF == 0 ? FAILS_ONE_OF : 0;
	work_run(&r, ROUNDS, REQUESTS);
	sum->runs++;
	sum->failed += r.failed;
	sum->states += r.states;
	sum->mended += r.mended;
	sum->again += r.again;
	sum->events += r.events;
	sum->faults += r.faults;
	work_fini(&r);
}

/* What the oracle thinks of the samples (tests/disk/states.py). */
static inline void
crash_ask_oracle(struct crash_sum *sum, const char *folder)
{
	char command[512];
	int rc;

	if (access("/usr/bin/python3", X_OK) < 0) {
		printf("SKIP crash: states are not read by the oracle, for there is no python3\n");
		return;
	}
	snprintf(command, sizeof(command), "/usr/bin/python3 tests/disk/states.py %s", folder);
	rc = system(command);
	sum->runs++;
	sum->failed += rc != 0;
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	if (rc == 0 && system(command) != 0)
		printf("%s is left behind\n", folder);
}

static inline int
crash_main(const char *name, const struct disk_format *f, const struct scenario *s, size_t n)
{
	unsigned long want = crash_number("CRASH_STATES", STATES), only = crash_number("CRASH_SEED", 0);
	char folder[64], command[160];
	struct crash_sum sum = { .samples = folder };
	time_t a, b;

	/* Freed memory is soon used again; but large pools, of which little is touched, are best zeroed by
	 * the kernel. */
	mallopt(M_MMAP_THRESHOLD, 4 << 20);
	mallopt(M_TRIM_THRESHOLD, 1 << 28);
	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(folder, sizeof(folder), "build-crash/states/%s", name);
	snprintf(command, sizeof(command), "rm -rf %s && mkdir -p %s", folder, folder);
	if (system(command) != 0)
		sum.samples = NULL;
	time(&a);
	for (uint64_t seed = only ? only : 1;
	     sum.failed < FAILURES && (only ? seed == only : sum.states < want); seed++) {
		crash_run(&sum, f, &s[seed % n], seed);
		if (sum.runs == SAMPLED_RUNS)
			sum.samples = NULL;
	}
	if (sum.failed == 0 && !only)
		crash_ask_oracle(&sum, folder);
	time(&b);
	printf("%s: %lu states after a cut at %lu moments in %ld s; %lu were mended and used, %lu are of "
	       "cuts while that "
	       "was done; %lu changes and flushes failed\n",
	    name, sum.states, sum.events, (long)(b - a), sum.mended, sum.again, sum.faults);
	printf("%s: %lu passed, %lu failed\n", name, sum.runs - sum.failed, sum.failed);
	return sum.failed != 0;
}

#endif
