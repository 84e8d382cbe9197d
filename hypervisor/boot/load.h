/*
 * hypervisor/boot/load.h - what the loaders of this room share: the job in hand, where small things
 * go in low memory, and the memory map a kernel is told of.
 */
#ifndef HYPERVISOR_BOOT_LOAD_H
#define HYPERVISOR_BOOT_LOAD_H

#include <stddef.h>
#include <stdint.h>

#include "hypervisor/boot/boot.h"
#include "hypervisor/core/gmem.h"
#include "hypervisor/core/machine.h"
#include "lib/err.h"

/* Low memory at the start of a kernel. It is ordinary RAM for the guest, which reads what it needs before
 * it uses the memory otherwise. Images are only loaded above 1 MiB, so nothing can be loaded over it. */
enum {
	LOW_GDT = 0x1000,
	LOW_PARAMS = 0x2000, /* bzImage: boot_params. PVH: hvm_start_info, module, memory map */
	LOW_CMDLINE = 0x3000,
	LOW_PAGE_TABLES = 0x4000, /* 6 pages */
	LOW_STACK_TOP = 0xc000,   /* 2 pages below it */
	LOW_RAM_TOP = 0xa0000,
	IMAGE_MIN = 0x100000,
};

struct boot_file {
	const char *what; /* "kernel", "initrd": begins every sentence about it */
	int fd;           /* -1: none */
	uint64_t size;
};

struct boot_range {
	uint64_t addr, len;
};

struct boot_job {
	const struct machine *m;
	struct gmem *mem;
	struct memory_map map;
	struct boot_file kernel, initrd;
	struct boot_range initrd_at; /* len 0: none */
};

/* Types of ranges, the same number in e820 (ACPI 6.5 section 15) and in Xen's memory map. */
enum { RANGE_RAM = 1, RANGE_RESERVED = 2 };
enum { RANGES_MAX = 8 };
struct memory_range {
	uint64_t addr, len;
	uint32_t type;
};
/* Fills out[RANGES_MAX] in the order of addresses; returns how many. */
size_t boot_memory_ranges(const struct memory_map *map, struct memory_range *out);

/* Bytes off..off+len-1 of the file into buf, or the sentence that it is too short or unreadable. */
int boot_file_read(const struct boot_file *f, uint64_t off, void *buf, size_t len, struct err *e);
/* The same into guest memory at gpa. */
int boot_file_load(
    const struct boot_file *f, struct gmem *mem, uint64_t gpa, uint64_t off, uint64_t len, struct err *e);

/* Puts the initrd as high as it fits into lowest..limit-1 of low RAM, at a page. */
int boot_load_initrd(struct boot_job *job, uint64_t lowest, uint64_t limit, struct err *e);
/* Writes the command line, which may have `most` bytes without its final zero. */
int boot_write_cmdline(struct boot_job *job, uint64_t most, struct err *e);
/* Writes GDT and, for long mode, page tables; fills in the entry but for rip, rsi and rbx. */
int boot_write_cpu(struct boot_job *job, enum boot_mode mode, struct boot_entry *entry, struct err *e);

/* The two kinds of kernel. */
int bzimage_load(struct boot_job *job, struct boot_entry *entry, struct err *e);
int pvh_load(struct boot_job *job, struct boot_entry *entry, struct err *e);

#endif
