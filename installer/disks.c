/* installer/disks.c - disks: from sysfs; what is on them: from libblkid. */
#include <blkid/blkid.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "installer/disks.h"
#include "installer/layout.h"
#include "lib/text.h"

/* What is no disk though it is a block device. */
static const char *const not_disks[] = { "loop", "ram", "zram", "sr", "fd", "md", "dm-", "nbd", "mtdblock",
	NULL };

/* A file below sysfs: its bytes, terminated; how many, or -1. */
static ssize_t
read_file(const char *sys, const char *name, const char *attribute, char *out, size_t size)
{
	char path[512];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/block/%s/%s", sys, name, attribute);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, out, size - 1);
	if (fd >= 0)
		close(fd);
	out[n < 0 ? 0 : n] = '\0';
	return n;
}

static uint64_t
read_number(const char *sys, const char *name, const char *attribute)
{
	char text[32];

	return read_file(sys, name, attribute, text, sizeof(text)) > 0 ? strtoull(text, NULL, 10) : 0;
}

/* Text that a disk tells about itself: no blanks around it, none doubled, nothing a terminal obeys. */
static void
tidy(char *s)
{
	char *to = s;

	for (const char *p = s; *p; p++) {
		if (isspace((unsigned char)*p) && (to == s || to[-1] == ' '))
			continue;
		*to++ = isspace((unsigned char)*p) ? ' ' : *p;
	}
	while (to > s && to[-1] == ' ')
		to--;
	*to = '\0';
	text_clean(s);
}

/* NVMe and virtio have a file for it; SCSI, SAS and SATA answer with the page 0x80 of their vital product
 * data. */
static void
read_serial(const char *sys, const char *name, char *out, size_t size)
{
	char page[256];
	ssize_t n = read_file(sys, name, "device/serial", out, size);
	size_t len;

	if (n <= 0)
		n = read_file(sys, name, "serial", out, size);
	if (n <= 0) {
		n = read_file(sys, name, "device/vpd_pg80", page, sizeof(page));
		out[0] = '\0';
		if (n > 4) {
			len = (size_t)n - 4 < (unsigned char)page[3] ? (size_t)n - 4 : (unsigned char)page[3];
			len = len < size - 1 ? len : size - 1;
			memcpy(out, page + 4, len);
			out[len] = '\0';
		}
	}
	tidy(out);
}

static void
read_model(const char *sys, const char *name, char *out, size_t size)
{
	char vendor[32] = "", model[64] = "";

	read_file(sys, name, "device/model", model, sizeof(model));
	read_file(sys, name, "device/vendor", vendor, sizeof(vendor));
	tidy(vendor);
	tidy(model);
	if (!vendor[0] || strcmp(vendor, "ATA") == 0 || strncmp(vendor, "0x", 2) == 0)
		snprintf(out, size, "%s",
		    model[0]                      ? model
		    : strncmp(name, "vd", 2) == 0 ? "virtual disk"
						  : "");
	else
		snprintf(out, size, "%s %s", vendor, model);
}

/* Whether a device number, "8:1\n", is that of the disk or of one of its partitions. */
static bool
has_device(const char *sys, const char *disk, const char *number)
{
	char path[512], text[32];
	struct dirent *d;
	bool found = false;
	size_t n = strlen(number);
	DIR *dir;

	if (read_file(sys, disk, "dev", text, sizeof(text)) > 0 && strncmp(text, number, n) == 0 &&
	    text[n] == '\n')
		return true;
	snprintf(path, sizeof(path), "%s/block/%s", sys, disk);
	dir = opendir(path);
	while (dir && !found && (d = readdir(dir))) {
		if (strncmp(d->d_name, disk, strlen(disk)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/dev", d->d_name);
		found = read_file(sys, disk, path, text, sizeof(text)) > 0 && strncmp(text, number, n) == 0 &&
			text[n] == '\n';
	}
	if (dir)
		closedir(dir);
	return found;
}

static void
note_mounts(const struct disks_from *from, struct disk *d)
{
	FILE *f = fopen(from->mountinfo, "re");
	char line[4096], number[32], where[1024];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*d %*d %31s %*s %1023s", number, where) != 2 ||
		    !has_device(from->sys, d->name, number))
			continue;
		d->in_use = true;
		if (from->medium && strcmp(where, from->medium) == 0)
			d->medium = true;
	}
	if (f)
		fclose(f);
}

static bool
is_disk(const char *name)
{
	for (int i = 0; not_disks[i]; i++) {
		if (strncmp(name, not_disks[i], strlen(not_disks[i])) == 0)
			return false;
	}
	return name[0] != '.' && !(strncmp(name, "mmcblk", 6) == 0 && strstr(name, "boot"));
}

static int
by_name(const void *a, const void *b)
{
	return strverscmp(((const struct disk *)a)->name, ((const struct disk *)b)->name);
}

int
disks_list(const struct disks_from *from, struct disk *out, size_t max, struct err *e)
{
	char path[512];
	struct dirent *d;
	size_t n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/block", from->sys);
	dir = opendir(path);
	if (!dir)
		return err_sys(e, "%s", path);
	while (n < max && (d = readdir(dir))) {
		struct disk *k = &out[n];

		if (!is_disk(d->d_name) || strlen(d->d_name) >= sizeof(k->name))
			continue;
		memset(k, 0, sizeof(*k));
		memcpy(k->name, d->d_name, strlen(d->d_name) + 1);
		k->size = read_number(from->sys, k->name, "size") * 512;
		if (k->size == 0)
			continue; /* a card reader without a card */
		snprintf(k->path, sizeof(k->path), "/dev/%s", k->name);
		k->sector = (uint32_t)read_number(from->sys, k->name, "queue/logical_block_size");
		k->sector = k->sector ? k->sector : 512;
		k->read_only = read_number(from->sys, k->name, "ro") != 0;
		k->removable = read_number(from->sys, k->name, "removable") != 0;
		read_model(from->sys, k->name, k->model, sizeof(k->model));
		read_serial(from->sys, k->name, k->serial, sizeof(k->serial));
		note_mounts(from, k);
		n++;
	}
	closedir(dir);
	qsort(out, n, sizeof(*out), by_name);
	return (int)n;
}

/* Adds ", NAME" (the first: "NAME") to the list of what was found; longer lists end in "...". */
static void
add_name(char *list, size_t size, const char *name)
{
	size_t at = strlen(list);

	if (at + strlen(name) + 8 < size)
		snprintf(list + at, size - at, "%s%s", at ? ", " : "", name);
	else if (at && strcmp(list + at - 3, "...") != 0)
		snprintf(list + at, size - at, ", ...");
}

/* What one place of the disk holds: "ext4 FREEHOLD-DATA", or nothing. */
static void
content_of(int fd, uint64_t start, uint64_t size, char *list, size_t list_size)
{
	blkid_probe p = blkid_new_probe();
	const char *type = NULL, *label = NULL;
	char text[64];

	if (p && blkid_probe_set_device(p, fd, (blkid_loff_t)start, (blkid_loff_t)size) == 0) {
		blkid_probe_enable_superblocks(p, 1);
		blkid_probe_set_superblocks_flags(p, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL);
		if (blkid_do_safeprobe(p) == 0 && blkid_probe_lookup_value(p, "TYPE", &type, NULL) == 0) {
			blkid_probe_lookup_value(p, "LABEL", &label, NULL);
			snprintf(text, sizeof(text), "%s%s%s", type, label ? " " : "", label ? label : "");
			text_clean(text);
			add_name(list, list_size, text);
		}
	}
	blkid_free_probe(p);
}

void
disks_content(const char *path, char out[CONTENT_SIZE])
{
	char found[CONTENT_SIZE - 40] = "";
	blkid_probe p = blkid_new_probe_from_filename(path);
	blkid_partlist l;
	blkid_parttable t;
	int n = 0, fd;

	if (!p) {
		snprintf(out, CONTENT_SIZE, "cannot be read");
		return;
	}
	fd = blkid_probe_get_fd(p);
	blkid_probe_enable_superblocks(p, 0);
	blkid_probe_enable_partitions(p, 1);
	l = blkid_do_safeprobe(p) == 0 ? blkid_probe_get_partitions(p) : NULL;
	t = l ? blkid_partlist_get_table(l) : NULL;
	if (t) {
		n = blkid_partlist_numof_partitions(l);
		for (int i = 0; i < n; i++) {
			blkid_partition part = blkid_partlist_get_partition(l, i);

			content_of(fd, (uint64_t)blkid_partition_get_start(part) * 512,
			    (uint64_t)blkid_partition_get_size(part) * 512, found, sizeof(found));
		}
		snprintf(out, CONTENT_SIZE, "%s: %d partition%s%s%s%s", blkid_parttable_get_type(t), n,
		    n == 1 ? "" : "s", found[0] ? " (" : "", found, found[0] ? ")" : "");
	} else {
		content_of(fd, 0, (uint64_t)blkid_probe_get_size(p), found, sizeof(found));
		snprintf(out, CONTENT_SIZE, "%s", found[0] ? found : "empty");
	}
	blkid_free_probe(p);
}

void
disks_describe(const struct disk *d, char *out, size_t size)
{
	snprintf(out, size, "%s, %.1f GB%s%s%s%s", d->name, (double)d->size / 1e9, d->model[0] ? ", " : "",
	    d->model, d->serial[0] ? ", serial " : "", d->serial);
}

int
disks_check(const struct disk *d, struct err *e)
{
	struct layout l;
	int rc;

	if (d->medium)
		return err_set(e, EBUSY, "%s is the medium that this system runs from", d->name);
	if (d->in_use)
		return err_set(e, EBUSY, "%s is in use", d->name);
	if (d->read_only)
		return err_set(e, EROFS, "%s is write-protected", d->name);
	rc = layout_plan(d->size, d->sector, &l, e);
	return rc < 0 ? err_wrap(e, rc, "%s", d->name) : 0;
}

static bool
fits(const struct disk *d, const struct disk_filter *f)
{
	return (!f->serial[0] || fnmatch(f->serial, d->serial, 0) == 0) &&
	       (!f->model[0] || fnmatch(f->model, d->model, FNM_CASEFOLD) == 0) && d->size >= f->minimum &&
	       (!f->maximum || d->size <= f->maximum);
}

/* "sda, 500.1 GB, ..., sdb, ..." */
static void
list_all(const struct disk *d, size_t n, char *out, size_t size)
{
	char one[200];

	out[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		disks_describe(&d[i], one, sizeof(one));
		add_name(out, size, one);
	}
}

int
disks_choose(const struct disk *d, size_t n, const struct disk_filter *f, struct err *e)
{
	char all[ERR_MSG_SIZE - 60];
	int found = -1, unfit = -1, rc;
	struct err why;

	for (size_t i = 0; i < n; i++) {
		if (!fits(&d[i], f))
			continue;
		if (disks_check(&d[i], &why) < 0) {
			unfit = unfit < 0 || d[unfit].medium ? (int)i : unfit;
			continue;
		}
		if (found >= 0)
			return err_set(e, EEXIST,
			    "disk: %s and %s both fit; say more about the one that is meant", d[found].name,
			    d[i].name);
		found = (int)i;
	}
	if (found >= 0)
		return found;
	if (unfit >= 0) {
		rc = disks_check(&d[unfit], e);
		return err_wrap(e, rc, "disk");
	}
	list_all(d, n, all, sizeof(all));
	return err_set(
	    e, ENODEV, "disk: none fits; %s%s", n ? "there is " : "this machine has no disk at all", all);
}
