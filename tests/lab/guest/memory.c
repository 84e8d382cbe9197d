/*
 * tests/lab/guest/memory.c - memory at chosen physical addresses: filled with a pattern that depends on the
 * address, summed up, summed up again. What is lost or mixed up between host and guest changes the sum.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lab/guest/tool.h"

enum { PAGE = 4096, WORDS = PAGE / 8 };

struct pages {
	uint64_t *at[1 << 18];
	size_t n;
	uint64_t lowest, highest;
};
static struct pages pages;

/* Physical address of a page that is there; 0 when the kernel does not tell. */
static uint64_t
physical(int pagemap, const void *p)
{
	uint64_t entry = 0;

	if (pread(pagemap, &entry, 8, (off_t)((uintptr_t)p / PAGE * 8)) != 8 || !(entry >> 63))
		return 0;
	return (entry & ((1ull << 55) - 1)) * PAGE;
}

static uint64_t
pattern(uint64_t i)
{
	i = (i + 0x9e3779b97f4a7c15ull) * 0xbf58476d1ce4e5b9ull;
	return i ^ i >> 29;
}

static void
fill(uint64_t *page, uint64_t number)
{
	for (uint64_t w = 0; w < WORDS; w++)
		page[w] = pattern(number * WORDS + w);
}

static uint64_t
sum(void)
{
	uint64_t s = 0;

	for (size_t i = 0; i < pages.n; i++)
		for (size_t w = 0; w < WORDS; w++)
			s = (s << 1 | s >> 63) ^ pages.at[i][w];
	return s;
}

static uint64_t
sum_wanted(void)
{
	uint64_t s = 0;

	for (size_t i = 0; i < pages.n; i++)
		for (size_t w = 0; w < WORDS; w++)
			s = (s << 1 | s >> 63) ^ pattern(i * WORDS + w);
	return s;
}

static void
keep(uint64_t *page, uint64_t where)
{
	fill(page, pages.n);
	pages.at[pages.n++] = page;
	if (pages.lowest == 0 || where < pages.lowest)
		pages.lowest = where;
	if (where > pages.highest)
		pages.highest = where;
}

/* Takes memory, keeps the pages above the limit and gives the others back, until there are enough. */
static int
collect(size_t mib, uint64_t above)
{
	size_t want = mib << 8, most = sizeof(pages.at) / sizeof(pages.at[0]);
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	for (size_t tried = 0; pages.n < want && pages.n < most && tried < want * 16 + (1 << 18); tried++) {
		uint64_t *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		uint64_t where;

		if (p == MAP_FAILED)
			break;
		p[0] = 1;
		where = physical(pagemap, p);
		if (where >= above)
			keep(p, where);
	}
	close(pagemap);
	printf("FH-MEMORY %zu pages from %#llx to %#llx\n", pages.n, (unsigned long long)pages.lowest,
	    (unsigned long long)pages.highest);
	return pages.n == want;
}

static void
say_sum(void)
{
	uint64_t s = sum();

	printf("FH-SUM %016llx %s\n", (unsigned long long)s, s == sum_wanted() ? "good" : "BAD");
}

int
tool_memsum(char **args)
{
	if (!collect(strtoul(args[0], NULL, 10), strtoull(args[1], NULL, 10) << 20)) {
		printf("FH-MEMORY too little above %s MiB\n", args[1]);
		return 1;
	}
	say_sum();
	say_sum();
	return 0;
}

int
tool_memhold(char **args)
{
	char line[64];

	if (tool_memsum(args) != 0)
		return 1;
	printf("FH-HOLD\n");
	while (fgets(line, sizeof(line), stdin) && strncmp(line, "end", 3) != 0)
		say_sum();
	return 0;
}
