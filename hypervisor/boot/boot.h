/*
 * hypervisor/boot/boot.h - puts a kernel given to us ("direct" boot) and the machine's tables into
 * guest memory, and says in which state the first processor must start.
 *
 * Images are untrusted: every offset and size in them is checked against the file's size and the
 * machine's RAM before use. Images are read with pread from the descriptors, straight into guest
 * memory; nothing of their size is allocated. Knows nothing of KVM. Control thread, or tests.
 */
#ifndef HYPERVISOR_BOOT_BOOT_H
#define HYPERVISOR_BOOT_BOOT_H

#include <stdint.h>

#include "hypervisor/core/gmem.h"
#include "hypervisor/core/machine.h"
#include "lib/err.h"

/* How the first processor starts. The others wait for INIT/SIPI. */
enum boot_mode { BOOT_PROTECTED32, BOOT_LONG64 };
struct boot_entry {
	enum boot_mode mode;
	uint64_t rip;
	uint64_t rsi; /* bzImage: address of boot_params */
	uint64_t rbx; /* PVH: address of hvm_start_info */
	uint64_t rsp;
	uint64_t gdt;     /* GPA of a GDT; code selector 0x10, data selector 0x18, flat */
	uint16_t gdt_len; /* bytes */
	uint64_t cr3;     /* BOOT_LONG64: page tables that map the first 4 GiB one to one */
};

/*
 * Loads the machine's kernel, initrd and command line, boot parameters (e820, RSDP), page tables and
 * GDT. bzImage with the 64-bit entry where it has one, else the 32-bit one; ELF (32 or 64 bit) with a
 * PVH note. Returns -ENOEXEC for something that is neither, -EINVAL for a damaged one, -E2BIG when
 * it does not fit the machine's memory; the sentence begins with "kernel:" or "initrd:".
 */
int boot_load(const struct machine *m, struct gmem *mem, struct boot_entry *entry, struct err *e);

/* Writes ACPI tables (acpi.h), SMBIOS (smbios.h) and the shared page. Called before boot_load. */
int boot_tables(const struct machine *m, struct gmem *mem, struct err *e);

#endif
