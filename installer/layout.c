/* installer/layout.c - the partition table, planned by a table of our own and written by libfdisk. */
#include <errno.h>
#include <libfdisk/libfdisk.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ctype.h>

#include "installer/layout.h"

#define MIB (1024ULL * 1024)

static const struct {
	const char *name, *type;
	uint64_t mib; /* 0: what is left */
} parts[PARTS] = {
	[PART_BIOS] = { "freehold-bios", "21686148-6449-6E6F-744E-656564454649", 1 },
	[PART_BOOT] = { "freehold-boot", "C12A7328-F81F-11D2-BA4B-00A0C93EC93B", 320 },
	[PART_SLOT_A] = { "freehold-slot-a", "0FC63DAF-8483-4772-8E79-3D69D8477DE4", 512 },
	[PART_SLOT_B] = { "freehold-slot-b", "0FC63DAF-8483-4772-8E79-3D69D8477DE4", 512 },
	[PART_DATA] = { "freehold-data", "0FC63DAF-8483-4772-8E79-3D69D8477DE4", 0 },
};

int
layout_plan(uint64_t disk, uint32_t sector, struct layout *out, struct err *e)
{
	uint64_t at = MIB, end;

	memset(out, 0, sizeof(*out));
	out->disk = disk;
	out->sector = sector;
	if (disk < LAYOUT_MIN_BYTES)
		return err_set(e, ENOSPC, "a disk of %.1f GB is too small: Freehold needs %.0f GB",
		    (double)disk / 1e9, (double)LAYOUT_MIN_BYTES / 1e9);
	end = disk / MIB * MIB - MIB; /* the second copy of the table is behind */
	for (int i = 0; i < PARTS; i++) {
		out->part[i].start = at;
		out->part[i].size = parts[i].mib ? parts[i].mib * MIB : end - at;
		at += out->part[i].size;
	}
	return 0;
}

static int
add_part(struct fdisk_context *c, const struct layout *l, int i, struct err *e)
{
	struct fdisk_partition *p = fdisk_new_partition();
	struct fdisk_parttype *t = fdisk_label_parse_parttype(fdisk_get_label(c, NULL), parts[i].type);
	int rc = -ENOMEM;

	if (p && t) {
		fdisk_partition_set_partno(p, (size_t)i);
		fdisk_partition_set_start(p, l->part[i].start / l->sector);
		fdisk_partition_set_size(p, l->part[i].size / l->sector);
		fdisk_partition_set_name(p, parts[i].name);
		fdisk_partition_set_type(p, t);
		rc = fdisk_add_partition(c, p, NULL);
	}
	fdisk_unref_parttype(t);
	fdisk_unref_partition(p);
	return rc < 0 ? err_set(e, -rc, "partition %d: %s", i + 1, strerror(-rc)) : 0;
}

static int
read_uuid(struct fdisk_context *c, struct layout *l, int i, struct err *e)
{
	struct fdisk_partition *p = NULL;
	const char *uuid;
	int rc = fdisk_get_partition(c, (size_t)i, &p);

	uuid = rc == 0 ? fdisk_partition_get_uuid(p) : NULL;
	if (uuid && strlen(uuid) < sizeof(l->part[i].uuid)) {
		for (size_t k = 0; k <= strlen(uuid); k++)
			l->part[i].uuid[k] = (char)tolower((unsigned char)uuid[k]);
	} else {
		rc = err_set(e, EIO, "partition %d: it has no UUID", i + 1);
	}
	fdisk_unref_partition(p);
	return rc;
}

/* Questions are not asked: the disk was confirmed. Warnings are not for the screen. */
static int
no_questions(struct fdisk_context *c, struct fdisk_ask *ask, void *data)
{
	(void)c;
	(void)data;
	if (fdisk_is_ask(ask, YESNO))
		fdisk_ask_yesno_set_result(ask, 1);
	return 0;
}

int
layout_write(const char *path, struct layout *l, struct err *e)
{
	struct fdisk_context *c = fdisk_new_context();
	int rc;

	if (!c)
		return err_set(e, ENOMEM, "out of memory");
	fdisk_set_ask(c, no_questions, NULL);
	rc = fdisk_save_user_sector_size(c, l->sector, l->sector);
	if (rc == 0)
		rc = fdisk_assign_device(c, path, 0);
	if (rc < 0) {
		fdisk_unref_context(c);
		return err_set(e, -rc, "%s: %s", path, strerror(-rc));
	}
	fdisk_enable_wipe(c, 1);
	rc = fdisk_create_disklabel(c, "gpt");
	rc = rc < 0 ? err_set(e, -rc, "partition table: %s", strerror(-rc)) : 0;
	for (int i = 0; i < PARTS && rc == 0; i++)
		rc = add_part(c, l, i, e);
	if (rc == 0) {
		rc = fdisk_write_disklabel(c);
		rc = rc < 0 ? err_set(e, -rc, "writing the partition table: %s", strerror(-rc)) : 0;
	}
	for (int i = 0; i < PARTS && rc == 0; i++)
		rc = read_uuid(c, l, i, e);
	fdisk_deassign_device(c, 0);
	fdisk_unref_context(c);
	return rc;
}
