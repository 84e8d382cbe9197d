/* tests/lab/guest/pattern.c - blocks that say of themselves what they are. */
#include "tests/lab/guest/pattern.h"

#define MAGIC 0x4b434f4c42484600ull
#define STEP  0x9e3779b97f4a7c15ull

enum { NUMBER = 1, GENERATION = 2, FIRST = 3 };

static uint64_t
mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

uint64_t
pattern_sum(uint64_t number, uint64_t generation)
{
	return mix(mix(number + STEP) + generation);
}

void
pattern_fill(uint64_t *block, uint64_t number, uint64_t generation)
{
	uint64_t x = pattern_sum(number, generation);

	block[0] = MAGIC;
	block[NUMBER] = number;
	block[GENERATION] = generation;
	for (int i = FIRST; i < PATTERN_WORDS; i++)
		block[i] = x += STEP;
}

static enum pattern_state
empty_or_bad(const uint64_t *block)
{
	for (int i = 0; i < PATTERN_WORDS; i++)
		if (block[i])
			return PATTERN_BAD;
	return PATTERN_EMPTY;
}

enum pattern_state
pattern_check(const uint64_t *block, uint64_t number, uint64_t *generation)
{
	uint64_t x;

	*generation = block[GENERATION];
	if (block[0] != MAGIC)
		return empty_or_bad(block);
	if (block[NUMBER] != number)
		return PATTERN_BAD;
	x = pattern_sum(number, *generation);
	for (int i = FIRST; i < PATTERN_WORDS; i++)
		if (block[i] != (x += STEP))
			return PATTERN_BAD;
	return PATTERN_GOOD;
}
