/*
 * hypervisor/boot/smbios.h - the SMBIOS tables of a machine: what inventory tools in the guest read.
 */
#ifndef HYPERVISOR_BOOT_SMBIOS_H
#define HYPERVISOR_BOOT_SMBIOS_H

#include "hypervisor/core/gmem.h"
#include "hypervisor/core/machine.h"
#include "lib/err.h"

/* Writes both entry points, of SMBIOS 3 and, for old guests, of SMBIOS 2, and the structures at MAP_SMBIOS.
 */
int smbios_write(const struct machine *m, struct gmem *mem, struct err *e);

#endif
