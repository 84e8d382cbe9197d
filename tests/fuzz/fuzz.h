/*
 * tests/fuzz/fuzz.h - what libFuzzer calls. A target runs in one process and one thread, keeps nothing
 * from one input to the next that could change what the next one does, and does not sleep.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Once, before the first input; may be left out. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
/* Returns 0. What must hold is checked with must(). */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert(): a promise is checked in every build. */
#define must(x)                  \
	do {                     \
		if (!(x))        \
			abort(); \
	} while (0)

#endif
