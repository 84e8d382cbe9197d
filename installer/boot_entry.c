/*
 * installer/boot_entry.c - variables of the UEFI specification: a load option (3.1.3) and the order of all. A
 * variable is a file: four bytes of attributes, then its value, written at once.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "installer/boot_entry.h"

#define EFIVARS "/sys/firmware/efi/efivars"
#define GLOBAL  "8be4df61-93ca-11d2-aa0d-00e098032b8c"
#define NAME    "Freehold"
#define LOADER  "\\EFI\\BOOT\\BOOTX64.EFI"

enum {
	VARIABLE_MAX = 4096,
	ATTRIBUTES = 7, /* kept; seen before and after the start of the system */
	ACTIVE = 1,
	NUMBERS = 0x10000,
};

struct bytes {
	size_t n;
	uint8_t at[VARIABLE_MAX];
};

static void
put(struct bytes *b, uint64_t value, size_t n)
{
	for (size_t i = 0; i < n; i++)
		b->at[b->n++] = (uint8_t)(value >> 8 * i);
}

static uint16_t
get16(const struct bytes *b, size_t at)
{
	return (uint16_t)(b->at[at] | b->at[at + 1] << 8);
}

/* UCS-2, with its end. */
static void
put_text(struct bytes *b, const char *s)
{
	for (; *s; s++)
		put(b, (uint8_t)*s, 2);
	put(b, 0, 2);
}

/* The first three groups of digits are numbers, which are stored with their lowest byte first. */
static void
put_uuid(struct bytes *b, const char *uuid)
{
	static const uint8_t place[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
	size_t digit = 0;

	memset(b->at + b->n, 0, 16);
	for (; *uuid && digit < 32; uuid++) {
		char text[2] = { *uuid, '\0' };

		if (*uuid == '-')
			continue;
		b->at[b->n + place[digit / 2]] |= (uint8_t)(strtoul(text, NULL, 16) << (digit % 2 ? 0 : 4));
		digit++;
	}
	b->n += 16;
}

/* The loader on the boot partition, which is found by its UUID on whatever disk. */
static void
make_entry(struct bytes *b, const struct layout *l)
{
	const struct layout_part *p = &l->part[PART_BOOT];
	enum { HARD_DRIVE = 42, END = 4 };
	size_t path = 4 + 2 * sizeof(LOADER);

	b->n = 0;
	put(b, ATTRIBUTES, 4);
	put(b, ACTIVE, 4);
	put(b, HARD_DRIVE + path + END, 2);
	put_text(b, NAME);
	put(b, 0x0104, 2); /* media, hard drive */
	put(b, HARD_DRIVE, 2);
	put(b, PART_BOOT + 1, 4);
	put(b, p->start / l->sector, 8);
	put(b, p->size / l->sector, 8);
	put_uuid(b, p->uuid);
	put(b, 0x0202, 2); /* GPT, by UUID */
	put(b, 0x0404, 2); /* media, file */
	put(b, path, 2);
	put_text(b, LOADER);
	put(b, 0xff7f, 2);
	put(b, END, 2);
}

static bool
is_ours(const struct bytes *b)
{
	static const char name[] = NAME;
	enum { TEXT = 10 };

	for (size_t i = 0; i < sizeof(name); i++)
		if (b->n < TEXT + 2 * i + 2 || get16(b, TEXT + 2 * i) != (uint8_t)name[i])
			return false;
	return true;
}

static bool
read_variable(const char *folder, const char *name, struct bytes *b)
{
	char path[512];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	b->n = 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, b->at, sizeof(b->at));
	close(fd);
	b->n = n > 0 ? (size_t)n : 0;
	return b->n >= 4;
}

static int
write_variable(const char *folder, const char *name, const struct bytes *b, struct err *e)
{
	char path[512];
	ssize_t n;
	int fd, rc = 0;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_sys(e, "%s", name);
	n = write(fd, b->at, b->n);
	if (n != (ssize_t)b->n)
		rc = n < 0 ? err_sys(e, "%s", name) : err_set(e, EIO, "%s: written in part", name);
	close(fd);
	return rc;
}

/* "Boot0007-8be4..." is 7; -1 for what is no entry. */
static int
entry_number(const char *name)
{
	char digits[5], *end;
	unsigned long n;

	if (strlen(name) != 9 + strlen(GLOBAL) || strncmp(name, "Boot", 4) != 0 ||
	    strcasecmp(name + 8, "-" GLOBAL) != 0)
		return -1;
	memcpy(digits, name + 4, 4);
	digits[4] = '\0';
	n = strtoul(digits, &end, 16);
	return end == digits + 4 && strspn(digits, "0123456789ABCDEFabcdef") == 4 ? (int)n : -1;
}

/* Ours from an earlier time, else the lowest that nobody has. */
static int
choose_number(const char *folder, struct err *e)
{
	bool *taken = calloc(NUMBERS, sizeof(*taken));
	DIR *dir = opendir(folder);
	int free_one = 0, ours = -1, n;
	struct dirent *d;
	struct bytes b;

	if (!dir || !taken) {
		n = err_sys(e, "%s", folder);
		if (dir)
			closedir(dir);
		free(taken);
		return n;
	}
	while ((d = readdir(dir))) {
		n = entry_number(d->d_name);
		if (n < 0)
			continue;
		taken[n] = true;
		if (read_variable(folder, d->d_name, &b) && is_ours(&b) && (ours < 0 || n < ours))
			ours = n;
	}
	closedir(dir);
	while (free_one < NUMBERS - 1 && taken[free_one])
		free_one++;
	free(taken);
	return ours >= 0 ? ours : free_one;
}

/* The number first, the others as they were. */
static void
make_order(const struct bytes *was, unsigned number, struct bytes *b)
{
	b->n = 0;
	put(b, ATTRIBUTES, 4);
	put(b, number, 2);
	for (size_t i = 4; i + 2 <= was->n && b->n + 2 <= sizeof(b->at); i += 2)
		if (get16(was, i) != number)
			put(b, get16(was, i), 2);
}

int
boot_entry_write(const char *folder, const struct layout *l, struct err *e)
{
	int number = choose_number(folder, e), rc;
	struct bytes b, was;
	char name[64];

	if (number < 0)
		return number;
	make_entry(&b, l);
	snprintf(name, sizeof(name), "Boot%04X-" GLOBAL, (unsigned)number);
	rc = write_variable(folder, name, &b, e);
	if (rc < 0)
		return rc;
	read_variable(folder, "BootOrder-" GLOBAL, &was);
	make_order(&was, (unsigned)number, &b);
	return write_variable(folder, "BootOrder-" GLOBAL, &b, e);
}

/* The system keeps the variables read-only; they are not for that long. */
static int
mount_again(unsigned long flags)
{
	return mount(NULL, EFIVARS, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC | flags, NULL);
}

int
boot_entry_tell(const struct layout *l, bool *told, struct err *e)
{
	int rc;

	*told = false;
	if (access(EFIVARS, F_OK) < 0)
		return 0;
	if (mount_again(0) < 0)
		return err_sys(e, EFIVARS);
	rc = boot_entry_write(EFIVARS, l, e);
	mount_again(MS_RDONLY);
	*told = rc == 0;
	return rc;
}
