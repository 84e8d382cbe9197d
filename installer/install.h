/*
 * installer/install.h - the installation itself: everything is known, nothing is asked. A disk or an image
 * file is written through by offset; nothing of it is mounted.
 *
 * What it reads of the medium (installed from the ISO as build/image/medium):
 *   boot/vmlinuz boot/initrd boot/root.squashfs boot/version
 *   boot/install/{boot.img,core.img,grub.cfg}     GRUB for BIOS, and the menu of a disk
 *   EFI/BOOT/{BOOTX64.EFI,grubx64.efi,mmx64.efi}  signed shim and GRUB
 */
#ifndef INSTALLER_INSTALL_H
#define INSTALLER_INSTALL_H

#include "installer/answers.h"
#include "installer/layout.h"

struct install {
	const char *disk;              /* path of a disk or of an image file that has its size */
	const char *medium;            /* folder */
	const struct answers *answers; /* password, name, address; its disk filter is not looked at */
	/* Called before each step with what it is, and while the long one goes on with its part of 100. */
	void (*progress)(void *ctx, const char *step, int percent);
	void *ctx;
};

/*
 * 0, or -errno with one sentence. Until the disk and the medium have been checked nothing is written; the
 * first sector, without which the disk does not boot, is written last. *out is what was made.
 */
int install_run(const struct install *in, struct layout *out, struct err *e);

#endif
