/* tests/crash/vhdx_crash.c - VHDX: the power cut at every change of its files; see disk_crash.h. */
#include "tests/crash/disk_crash.h"

enum { MIB = 1 << 20 };

static const struct scenario scenarios[] = {
	{ "dynamic, two chunks", { .type = DISK_DYNAMIC, .size = 4099ull * MIB, .block_size = MIB },
	    { 0, 1, 2, 510, 511, 512, 4094, 4095, 4096, 4098 }, 10 },
	{ "4096-byte sectors",
	    { .type = DISK_DYNAMIC, .size = 600 * MIB, .block_size = MIB, .logical = 4096 },
	    { 0, 1, 2, 511, 512, 599 }, 6 },
	{ "short last block", { .type = DISK_DYNAMIC, .size = 1024ull * MIB + 512, .block_size = 2 * MIB },
	    { 0, 1, 2, 511, 512 }, 5 },
	{ "dynamic, full", { .type = DISK_DYNAMIC, .size = 8 * MIB, .block_size = MIB },
	    { 0, 1, 2, 3, 4, 5, 6, 7 }, 8 },
	{ "fixed", { .type = DISK_FIXED, .size = 8 * MIB, .block_size = MIB }, { 0, 1, 7 }, 3 },
};

int
main(void)
{
	return crash_main("vhdx", &disk_vhdx_format, scenarios, sizeof(scenarios) / sizeof(*scenarios));
}
