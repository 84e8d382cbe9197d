/*
 * tests/lab/guest/pattern.h - a block that says of itself which one it is and when it was written, and whose
 * every word follows from that: any bit that is lost, stale or in the wrong place shows.
 */
#ifndef TESTS_LAB_GUEST_PATTERN_H
#define TESTS_LAB_GUEST_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

enum { PATTERN_BLOCK = 4096, PATTERN_WORDS = PATTERN_BLOCK / 8 };

enum pattern_state { PATTERN_GOOD, PATTERN_EMPTY, PATTERN_BAD };

void pattern_fill(uint64_t *block, uint64_t number, uint64_t generation);
/* Good: the block is this one, of some generation, which goes to *generation. Empty: all zero. */
enum pattern_state pattern_check(const uint64_t *block, uint64_t number, uint64_t *generation);
/* What one written block adds to the checksum of a disk; blocks may come in any order. */
uint64_t pattern_sum(uint64_t number, uint64_t generation);

#endif
