/*
 * installer/layout.h - how a disk is divided: GPT with five partitions, for ever the same.
 *
 *   1  BIOS boot    1 MiB     GRUB's second part, for BIOS
 *   2  boot         320 MiB   FAT32: EFI system partition; GRUB, kernel and initramfs of each slot
 *   3  slot A       512 MiB   squashfs, as it is
 *   4  slot B       512 MiB   the same: room for an update
 *   5  data         the rest  ext4, FREEHOLD-DATA
 *
 * Everything is written through the whole disk by offset: no partition needs to be known to the kernel,
 * nothing is mounted, and an image file works like a disk. All offsets and sizes are bytes.
 */
#ifndef INSTALLER_LAYOUT_H
#define INSTALLER_LAYOUT_H

#include <stdint.h>

#include "lib/err.h"

enum part { PART_BIOS, PART_BOOT, PART_SLOT_A, PART_SLOT_B, PART_DATA, PARTS };

/* The smallest disk: 2 GB as they are sold, so that data has room. */
#define LAYOUT_MIN_BYTES 2000000000ULL

struct layout {
	uint64_t disk;   /* size */
	uint32_t sector; /* logical sector: 512 or 4096 */
	struct layout_part {
		uint64_t start, size;
		char uuid[37]; /* lower case; known once the table is written */
	} part[PARTS];
};

/* Divides a disk of this size; -ENOSPC with a sentence when it is too small. */
int layout_plan(uint64_t disk, uint32_t sector, struct layout *out, struct err *e);
/* Writes the table over whatever is there, wipes old signatures, fills in the UUIDs. */
int layout_write(const char *path, struct layout *l, struct err *e);

#endif
