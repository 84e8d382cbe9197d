/*
 * installer/disks.h - the disks of this machine as the kernel shows them, what is on them, and which of them
 * a filter means.
 */
#ifndef INSTALLER_DISKS_H
#define INSTALLER_DISKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "installer/answers.h"

enum { DISKS_MAX = 256, CONTENT_SIZE = 120 };

struct disk {
	char name[32];   /* sda */
	char path[48];   /* /dev/sda */
	char model[64];  /* clean text; "" when unknown */
	char serial[64]; /* the same */
	uint64_t size;   /* bytes */
	uint32_t sector; /* logical, bytes */
	bool read_only;
	bool removable;
	bool medium; /* what this system runs from is on it */
	bool in_use; /* something of it is mounted */
};

/* Where the kernel tells: /sys, /proc/self/mountinfo and the mounted medium; tests have their own. */
struct disks_from {
	const char *sys;       /* "/sys" */
	const char *mountinfo; /* "/proc/self/mountinfo" */
	const char *medium;    /* where the medium is mounted */
};

/* Whole disks that could be written, in the order of their names, at most max; how many, or -errno. */
int disks_list(const struct disks_from *from, struct disk *out, size_t max, struct err *e);
/* "empty", "GPT: 3 partitions (ntfs, ext4)": what is on the disk now, by libblkid; never fails. */
void disks_content(const char *path, char out[CONTENT_SIZE]);
/* "sda, 500.1 GB, Samsung SSD 870, serial S4EWNX0M" */
void disks_describe(const struct disk *d, char *out, size_t size);
/* Whether Freehold can be installed onto it; if not, *e says why. */
int disks_check(const struct disk *d, struct err *e);
/*
 * The one disk that a filter means: its index, or -errno with a sentence: none fits, several fit, or the one
 * that fits cannot be used. The medium itself never fits unless nothing else does.
 */
int disks_choose(const struct disk *d, size_t n, const struct disk_filter *f, struct err *e);

#endif
