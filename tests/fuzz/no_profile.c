/*
 * tests/fuzz/no_profile.c - stands in for the list of live allocations that libFuzzer prints once a target
 * is past its memory limit. Address sanitizer makes it with all threads stopped, and waits for ever if
 * one of them was inside malloc, so the input that did it would never be saved.
 */
#include <stddef.h>

/* In place of __sanitizer_print_memory_profile, by the linker's --wrap. */
void __wrap___sanitizer_print_memory_profile(size_t percent, size_t contexts);

void
__wrap___sanitizer_print_memory_profile(size_t percent, size_t contexts)
{
	(void)percent;
	(void)contexts;
}
