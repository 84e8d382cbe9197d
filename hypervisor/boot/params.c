/*
 * hypervisor/boot/params.c - what every directly booted kernel finds in low memory: its command line,
 * a GDT, page tables; and the memory map it is told of.
 */
#include "hypervisor/boot/load.h"

#include <errno.h>
#include <string.h>

/* Tells a kernel what is RAM. PCI configuration space and firmware are reserved although nothing is
 * there yet: a kernel must not put devices where later versions of this map have something. */
size_t
boot_memory_ranges(const struct memory_map *map, struct memory_range *out)
{
	size_t n = 0;

	out[n++] = (struct memory_range){ 0, LOW_RAM_TOP, RANGE_RAM };
	out[n++] = (struct memory_range){ MAP_TABLES, IMAGE_MIN - MAP_TABLES, RANGE_RESERVED };
	out[n++] = (struct memory_range){ IMAGE_MIN, map->low_ram - IMAGE_MIN, RANGE_RAM };
	out[n++] = (struct memory_range){ MAP_PCI_ECAM, MAP_VMBUS_LOW - MAP_PCI_ECAM, RANGE_RESERVED };
	out[n++] = (struct memory_range){ MAP_KVM_TSS, MAP_HIGH_RAM - MAP_KVM_TSS, RANGE_RESERVED };
	if (map->high_ram != 0)
		out[n++] = (struct memory_range){ MAP_HIGH_RAM, map->high_ram, RANGE_RAM };
	return n;
}

static int
put(struct gmem *mem, uint64_t gpa, const void *buf, size_t len, struct err *e)
{
	if (gmem_write(mem, gpa, buf, len) < 0)
		return err_set(
		    e, E2BIG, "kernel: the machine has no memory at %#llx", (unsigned long long)gpa);
	return 0;
}

int
boot_write_cmdline(struct boot_job *job, uint64_t most, struct err *e)
{
	size_t len = strnlen(job->m->direct.cmdline, sizeof(job->m->direct.cmdline) - 1);

	if (len > most)
		return err_set(e, E2BIG, "kernel: takes %llu bytes of command line, %zu are given",
		    (unsigned long long)most, len);
	return put(job->mem, LOW_CMDLINE, job->m->direct.cmdline, len + 1, e);
}

/* Flat segments as boot.rst wants them: 0x10 code, 0x18 data. */
static int
write_gdt(struct boot_job *job, enum boot_mode mode, struct boot_entry *entry, struct err *e)
{
	const uint64_t gdt[] = {
		0,
		0,
		mode == BOOT_LONG64 ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull,
		0x00cf93000000ffffull,
	};

	entry->gdt = LOW_GDT;
	entry->gdt_len = sizeof(gdt);
	return put(job->mem, LOW_GDT, gdt, sizeof(gdt), e);
}

enum { PTE_PRESENT = 1, PTE_WRITE = 2, PTE_HUGE = 0x80, PTES = 512 };

/* One PML4, one page of 1 GiB entries, four of 2 MiB entries: the first 4 GiB one to one. */
static int
write_page_tables(struct boot_job *job, struct err *e)
{
	enum { GIBS = 4 };
	const uint64_t table = PTE_PRESENT | PTE_WRITE, pdpt = LOW_PAGE_TABLES + GMEM_PAGE;
	uint64_t pte[PTES] = { pdpt | table };
	int rc = put(job->mem, LOW_PAGE_TABLES, pte, sizeof(pte), e);

	for (unsigned i = 0; i < GIBS; i++)
		pte[i] = (pdpt + (i + 1) * GMEM_PAGE) | table;
	if (rc == 0)
		rc = put(job->mem, pdpt, pte, sizeof(pte), e);
	for (unsigned gib = 0; rc == 0 && gib < GIBS; gib++) {
		for (uint64_t i = 0; i < PTES; i++)
			pte[i] = (gib * PTES + i) << 21 | table | PTE_HUGE;
		rc = put(job->mem, pdpt + (gib + 1) * GMEM_PAGE, pte, sizeof(pte), e);
	}
	return rc;
}

int
boot_write_cpu(struct boot_job *job, enum boot_mode mode, struct boot_entry *entry, struct err *e)
{
	int rc = write_gdt(job, mode, entry, e);

	entry->mode = mode;
	entry->rsp = LOW_STACK_TOP;
	if (rc == 0 && mode == BOOT_LONG64) {
		entry->cr3 = LOW_PAGE_TABLES;
		rc = write_page_tables(job, e);
	}
	return rc;
}
