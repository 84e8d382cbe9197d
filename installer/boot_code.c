/* installer/boot_code.c - GRUB for BIOS, placed by hand. Offsets: grub-core/boot/i386/pc/{boot,diskboot}.S.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "installer/boot_code.h"

enum {
	CODE_END = 440,       /* behind it are the disk's signature and the table */
	KERNEL_SECTOR = 0x5c, /* boot.img: where core.img begins, 8 bytes */
	DRIVE_CHECK = 0x66,   /* boot.img: a jump that hard disks do without (two NOPs) */
	JUMP = 0xeb,
	NOP = 0x90,
	LIST_START = 0x1f4,   /* core.img's first sector: where the rest of it is, 8 bytes */
	LIST_LENGTH = 0x1fc,  /* in sectors, 2 bytes */
	LIST_SEGMENT = 0x1fe, /* and where in memory it goes, 2 bytes */
	SEGMENT = 0x820,
};

static void
put(uint8_t *at, uint64_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		at[i] = (uint8_t)(v >> (8 * i));
}

int
boot_code_patch(uint8_t sector[BOOT_SECTOR], uint8_t *core, size_t core_len, uint64_t core_at, struct err *e)
{
	if (sector[BOOT_SECTOR - 2] != 0x55 || sector[BOOT_SECTOR - 1] != 0xaa || sector[DRIVE_CHECK] != JUMP)
		return err_set(e, EINVAL, "boot.img is not GRUB's first sector");
	if (core_len < 2 * BOOT_SECTOR || core_len % BOOT_SECTOR || core_len / BOOT_SECTOR > UINT16_MAX ||
	    core[LIST_SEGMENT] != (SEGMENT & 0xff) || core[LIST_SEGMENT + 1] != SEGMENT >> 8)
		return err_set(e, EINVAL, "core.img is not GRUB's second part");
	put(sector + KERNEL_SECTOR, core_at, 8);
	sector[DRIVE_CHECK] = sector[DRIVE_CHECK + 1] = NOP;
	put(core + LIST_START, core_at + 1, 8);
	put(core + LIST_LENGTH, core_len / BOOT_SECTOR - 1, 2);
	return 0;
}

/* The file, filled up with zeros to whole sectors; the caller frees it. NULL with *e. */
static uint8_t *
load(const char *path, size_t *len, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *p = NULL;

	if (fd < 0 || fstat(fd, &st) < 0) {
		err_sys(e, "%s", path);
	} else if (st.st_size <= 0 || st.st_size > 1024 * 1024 - BOOT_SECTOR) {
		err_set(e, EINVAL, "%s: it has %lld bytes", path, (long long)st.st_size);
	} else {
		*len = ((size_t)st.st_size + BOOT_SECTOR - 1) / BOOT_SECTOR * BOOT_SECTOR;
		p = calloc(1, *len);
		if (!p || read(fd, p, *len) != st.st_size) {
			err_set(e, p ? EIO : ENOMEM, "%s: it cannot be read", path);
			free(p);
			p = NULL;
		}
	}
	if (fd >= 0)
		close(fd);
	return p;
}

int
boot_code_write(int fd, const struct layout *l, const char *sector_path, const char *core_path, struct err *e)
{
	size_t sector_len = 0, core_len = 0;
	uint8_t *sector = load(sector_path, &sector_len, e);
	uint8_t *core = sector ? load(core_path, &core_len, e) : NULL;
	int rc = 0;

	if (!sector || !core) {
		free(sector);
		return -e->code;
	}
	if ((sector_len != BOOT_SECTOR || core_len > l->part[PART_BIOS].size))
		rc = err_set(e, EINVAL, "GRUB does not fit into its partition");
	if (rc == 0)
		rc = boot_code_patch(sector, core, core_len, l->part[PART_BIOS].start / BOOT_SECTOR, e);
	if (rc == 0 && pwrite(fd, core, core_len, (off_t)l->part[PART_BIOS].start) != (ssize_t)core_len)
		rc = err_sys(e, "writing GRUB");
	if (rc == 0 && fdatasync(fd) < 0)
		rc = err_sys(e, "writing GRUB");
	if (rc == 0 && pwrite(fd, sector, CODE_END, 0) != CODE_END)
		rc = err_sys(e, "writing the first sector");
	free(sector);
	free(core);
	return rc;
}
