/*
 * installer/boot_entry.h - UEFI firmware is told of the new system: an entry "Freehold" in its boot menu, as
 * the first. Firmware that forgets it, or cannot be told, finds the disk all the same, by the path of
 * removable media.
 */
#ifndef INSTALLER_BOOT_ENTRY_H
#define INSTALLER_BOOT_ENTRY_H

#include <stdbool.h>

#include "installer/layout.h"

/*
 * Writes Boot#### and BootOrder below folder, an efivarfs that can be written. An entry of an earlier
 * installation is used again. What is there is as untrusted as any file. 0, or -errno with one sentence.
 */
int boot_entry_write(const char *folder, const struct layout *l, struct err *e);
/* The same in this machine's firmware: 0 too when it was not started by UEFI, with *told false. */
int boot_entry_tell(const struct layout *l, bool *told, struct err *e);

#endif
