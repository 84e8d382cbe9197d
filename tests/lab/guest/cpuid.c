/*
 * tests/lab/guest/cpuid.c - what the CPUID instruction says of features, whatever the kernel makes of it.
 */
#include <cpuid.h>
#include <stdio.h>

#include "tests/lab/guest/tool.h"

static const struct {
	unsigned leaf, index;
} leaves[] = { { 1, 0 }, { 7, 0 }, { 7, 1 }, { 0xd, 0 }, { 0xd, 1 }, { 0x80000001, 0 }, { 0x80000007, 0 },
	{ 0x80000008, 0 } };

int
tool_cpuid(char **args)
{
	(void)args;
	for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
		unsigned a = 0, b = 0, c = 0, d = 0;

		/* Beyond the highest leaf, which this asks for first, some processors answer anything. */
		__get_cpuid_count(leaves[i].leaf, leaves[i].index, &a, &b, &c, &d);
		printf("FH-CPUID %x.%u a=%08x b=%08x c=%08x d=%08x\n", leaves[i].leaf, leaves[i].index, a, b,
		    c, d);
	}
	return 0;
}
