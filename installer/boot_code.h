/*
 * installer/boot_code.h - GRUB for BIOS on a GPT disk: its first sector at the start of the disk, its second
 * part in the BIOS boot partition, each told where the next is. What grub-bios-setup does, without mounting
 * anything.
 */
#ifndef INSTALLER_BOOT_CODE_H
#define INSTALLER_BOOT_CODE_H

#include <stddef.h>
#include <stdint.h>

#include "installer/layout.h"

enum { BOOT_SECTOR = 512 };

/*
 * Patches both parts, in memory: sector is GRUB's boot.img, core its core.img padded to whole sectors, both
 * as Debian's package and grub-mkimage make them. core_at is where core will be, in sectors of 512 bytes.
 * -EINVAL when either is not what it should be.
 */
int boot_code_patch(
    uint8_t sector[BOOT_SECTOR], uint8_t *core, size_t core_len, uint64_t core_at, struct err *e);
/* Writes both to the disk open as fd, the table of the first sector being left alone. The last thing to be
 * written. */
int boot_code_write(
    int fd, const struct layout *l, const char *sector_path, const char *core_path, struct err *e);

#endif
