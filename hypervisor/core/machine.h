/*
 * hypervisor/core/machine.h - the description of one machine (child partition), from which everything
 * else follows: processors, memory map, tables, devices.
 *
 * It arrives as one JSON document (field names after Hyper-V's compute schema); machine_read
 * checks it against the table machine_fields and against rules between fields. memory_map is
 * derived and fixed by ConfigurationVersion, so that a machine and its saved state survive updates.
 */
#ifndef HYPERVISOR_CORE_MACHINE_H
#define HYPERVISOR_CORE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/schema.h"

enum {
	MACHINE_VERSION = 1,
	MACHINE_MAX_PROCESSORS = 64,
	MACHINE_MAX_NODES = 16,
	MACHINE_COM_PORTS = 2,
	MACHINE_MAX_SCSI = 4,
	MACHINE_ICS = 6, /* in the order of enum ic_kind (vsp/ic.h) */
	MACHINE_MAX_NET_THREADS = 16,
	MACHINE_MIN_MB = 32,
	MACHINE_MAX_MB = 16 << 20, /* 16 TiB: with the windows above it still below 2^45 */
	MACHINE_CMDLINE = 2048,    /* bytes with the final zero */
};

struct machine_node {
	uint64_t memory_mb;
	uint64_t processors;
};

struct machine {
	uint64_t version; /* ConfigurationVersion: 1 */
	uint8_t id[16];
	char name[101];
	struct {
		uint64_t count;            /* 1-64 */
		uint64_t threads_per_core; /* 1 or 2 */
		uint64_t cores_per_socket; /* 0 in the document: all in one socket */
		char baseline[32];         /* a name from machine_baselines: "host", "x86-64-v2", ... */
		bool expose_virtualization;
	} processor;
	struct {
		uint64_t size_mb;    /* assigned at start */
		uint64_t maximum_mb; /* room for what is added while running; 0 in the document: size_mb */
		uint64_t
		    minimum_mb; /* least it is asked to run with, if dynamic; 0 in the document: size_mb */
		bool dynamic;   /* it changes while the machine runs (vsp/balloon.h) */
		unsigned huge_pages; /* BackingPageSize: 0 "Small", 1 "Large" */
	} memory;
	struct machine_node node[MACHINE_MAX_NODES];
	size_t nodes; /* machine_check makes it 1 at least */
	struct {
		int kernel_fd; /* -1: none */
		int initrd_fd; /* -1: none */
		char cmdline[MACHINE_CMDLINE];
	} direct;
	uint64_t scsi_controllers; /* 0-4; what is on them comes by requests of its own (worker/disks.h) */
	bool sockets;              /* streams between guest and controller (worker/streams.h) */
	struct {
		bool on[MACHINE_ICS];
		bool time_at_boot, time_at_resume, time_at_step;
		uint64_t time_sample_s, facts_s;
	} ic;
	uint64_t network_threads;    /* 0-16; adapters come by requests of their own (worker/nics.h) */
	bool com[MACHINE_COM_PORTS]; /* COM1 0x3f8 IRQ 4, COM2 0x2f8 IRQ 3 */
	struct {
		char serial[65];    /* BIOSSerialNumber */
		char asset_tag[65]; /* ChassisAssetTag */
	} smbios;
	uint8_t generation_id[16]; /* VM generation id as the guest reads it */
};

extern const struct field machine_fields[];

void machine_defaults(struct machine *m);
/* Fills m from defaults and the document, and checks. Its descriptors become m's (machine_close). */
int machine_read(struct machine *m, json_t *doc, struct fd_set_in *fds, struct err *e);
/* The rules between fields alone, for a machine that was read by its table as part of something else;
 * fills in what follows from other fields. */
int machine_check(struct machine *m, struct err *e);
void machine_close(struct machine *m);
/* Sets of processor features by name, NULL-terminated: "host", "x86-64-v2", ... What they hold: cpuid.c. */
extern const char *const machine_baselines[];
/* Whether name is one of them: 0, or -EINVAL with a sentence that names them all. */
int machine_check_baseline(const char *name, struct err *e);

/* APIC id of virtual processor vp: thread, core and socket packed in fields of whole bits. */
uint32_t machine_apic_id(const struct machine *m, unsigned vp);
/* Never 0, even in a machine that machine_read has not completed. */
unsigned machine_cores_per_socket(const struct machine *m);
/* Bits of an APIC id below the core number, and below the socket number. */
unsigned machine_core_shift(const struct machine *m);
unsigned machine_socket_shift(const struct machine *m);
/* NUMA node of vp; 0 without NUMA. */
unsigned machine_node_of(const struct machine *m, unsigned vp);

/* --- ConfigurationVersion 1: the memory map ------------------------------------------------------ */
#define MAP_LOW_RAM_END   0xc0000000ull /* RAM below this; the hole reaches to 4 GiB */
#define MAP_PCI_MMIO      0xc0000000ull /* room for PCI, 512 MiB */
#define MAP_PCI_ECAM      0xe0000000ull /* room for PCI, 256 MiB */
#define MAP_VMBUS_LOW     0xf0000000ull /* VMBus devices, 128 MiB */
#define MAP_VMBUS_LOW_LEN 0x08000000ull
#define MAP_IOAPIC        0xfec00000ull
#define MAP_LAPIC         0xfee00000ull
#define MAP_KVM_TSS       0xfeffc000ull /* 3 pages and the identity map page, for KVM on VT-x */
#define MAP_FIRMWARE      0xff000000ull /* room for firmware flash, 16 MiB */
#define MAP_HIGH_RAM      0x100000000ull
/* What is added while running begins at a multiple of 128 MiB, the unit of memory hot-add. */
#define MAP_HOT_ADD_ALIGN  0x08000000ull
#define MAP_VMBUS_HIGH_LEN 0x20000000ull   /* 512 MiB above the RAM (up to maximum_mb), 1 GiB aligned */
#define MAP_PCI_HIGH_LEN   0x1000000000ull /* 64 GiB after it: room for PCI */
/* The last 128 KiB below 1 MiB are RAM that the guest is told is reserved: tables and small shared things. */
#define MAP_TABLES      0x000e0000ull /* RSDP at its start, then ACPI tables */
#define MAP_TABLES_LEN  0x0000f000ull
#define MAP_SHARED_PAGE 0x000ef000ull /* VM generation id at +0, machine facts for AML at +0x100 */
#define MAP_SMBIOS      0x000f0000ull
#define MAP_SMBIOS_LEN  0x00010000ull

struct memory_map {
	uint64_t low_ram;    /* bytes at 0 */
	uint64_t high_ram;   /* bytes at MAP_HIGH_RAM */
	uint64_t hot_add;    /* where the first RAM added while running goes */
	uint64_t high_limit; /* end of the address space kept for RAM */
	uint64_t vmbus_high; /* base of the high VMBus window */
	uint64_t pci_high;
	uint64_t end; /* first address above everything: must fit the processor's physical address bits */
};
void machine_map(const struct machine *m, struct memory_map *map);

/* Ports and interrupts of ConfigurationVersion 1. */
enum {
	PORT_RTC = 0x70,
	PORT_COM1 = 0x3f8,
	PORT_COM2 = 0x2f8,
	PORT_PM = 0x400, /* PM1a event 0x400, PM1a control 0x404, PM timer 0x408, GPE0 0x40c-0x40d */
	PORT_RESET = 0xcf9,
	IRQ_COM2 = 3,
	IRQ_COM1 = 4,
	IRQ_RTC = 8,
	IRQ_SCI = 9, /* level, active high */
	GPE_VMGENID = 0,
};

#endif
