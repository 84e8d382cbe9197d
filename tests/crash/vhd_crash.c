/* tests/crash/vhd_crash.c - VHD: the power cut at every change of its files; see disk_crash.h. */
#include "tests/crash/disk_crash.h"

enum { KIB = 1 << 10, MIB = 1 << 20 };

static const struct scenario scenarios[] = {
	{ "dynamic, small blocks", { .type = DISK_DYNAMIC, .size = 200 * MIB, .block_size = 512 * KIB },
	    { 0, 1, 2, 127, 128, 129, 255, 256, 398, 399 }, 10 },
	{ "dynamic", { .type = DISK_DYNAMIC, .size = 1024ull * MIB, .block_size = 2 * MIB },
	    { 0, 1, 255, 256, 511 }, 5 },
	{ "dynamic, full", { .type = DISK_DYNAMIC, .size = 4 * MIB, .block_size = 512 * KIB },
	    { 0, 1, 2, 3, 4, 5, 6, 7 }, 8 },
	{ "fixed", { .type = DISK_FIXED, .size = 8 * MIB, .block_size = MIB }, { 0, 1, 7 }, 3 },
};

int
main(void)
{
	return crash_main("vhd", &disk_vhd_format, scenarios, sizeof(scenarios) / sizeof(*scenarios));
}
