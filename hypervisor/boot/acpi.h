/*
 * hypervisor/boot/acpi.h - the ACPI tables of a machine and the page it shares with them.
 */
#ifndef HYPERVISOR_BOOT_ACPI_H
#define HYPERVISOR_BOOT_ACPI_H

#include <stdint.h>

#include "hypervisor/core/gmem.h"
#include "hypervisor/core/machine.h"
#include "lib/err.h"

/* The shared page (MAP_SHARED_PAGE). */
enum { SHARED_GENERATION_ID = 0x000, SHARED_FACTS = 0x100 };

/* What dsdt.asl reads of a machine: fixed layout, at MAP_SHARED_PAGE + SHARED_FACTS. */
struct acpi_facts {
	uint32_t processors;
	uint32_t com; /* bit 0: COM1, bit 1: COM2 */
	uint64_t vmbus_high;
	uint64_t vmbus_high_len;
};

/* Writes RSDP (at MAP_TABLES), tables and facts. */
int acpi_write(const struct machine *m, struct gmem *mem, struct err *e);
/* Writes the VM generation id. While the machine runs, GPE_VMGENID must be raised afterwards. */
int acpi_write_generation_id(struct gmem *mem, const uint8_t id[16], struct err *e);

#endif
