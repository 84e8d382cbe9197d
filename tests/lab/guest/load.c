/*
 * tests/lab/guest/load.c - clocks, and load that makes processors interrupt each other.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/lab/guest/tool.h"

static uint64_t
ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int
tool_clocks(char **args)
{
	for (int n = atoi(args[0]); n > 0; n--) {
		printf("FH-CLOCKPAIR %llu %llu %llu\n", (unsigned long long)__builtin_ia32_rdtsc(),
		    (unsigned long long)ns(CLOCK_MONOTONIC), (unsigned long long)ns(CLOCK_REALTIME));
		usleep(100000);
	}
	return 0;
}

static atomic_bool stop;
static atomic_ullong rounds, errors;

/* Every thread shares one address space, so unmapping makes the kernel flush the TLBs of all processors. */
static void *
churn(void *arg)
{
	enum { LEN = 16 * 4096 };
	uint64_t me = (uintptr_t)arg;

	while (!stop) {
		uint64_t *p = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			continue;
		for (size_t i = 0; i < LEN / 8; i += 512)
			p[i] = me << 32 | i;
		for (size_t i = 0; i < LEN / 8; i += 512)
			if (p[i] != (me << 32 | i))
				errors++;
		munmap(p, LEN);
		rounds++;
	}
	return NULL;
}

int
tool_busy(char **args)
{
	enum { MOST = 256 };
	pthread_t thread[MOST];
	int n = atoi(args[0]);

	n = n < 1 ? 1 : n > MOST ? MOST : n;
	printf("FH-BUSY %d threads\n", n);
	for (int i = 0; i < n; i++)
		if (pthread_create(&thread[i], NULL, churn, (void *)(uintptr_t)(i + 1)) != 0)
			return 1;
	sleep((unsigned)atoi(args[1]));
	stop = true;
	for (int i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
	printf("FH-BUSY-END %llu rounds %llu errors\n", rounds, errors);
	return errors != 0;
}
