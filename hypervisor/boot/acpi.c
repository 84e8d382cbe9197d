/*
 * hypervisor/boot/acpi.c - the ACPI tables of a machine.
 *
 * What differs between machines is in the fixed tables made here and in the facts; AML is compiled
 * in the folder acpi and copied as it is. Numbers of sections are those of ACPI 6.5. All tables together
 * need less than 9 KiB of the 60 KiB at MAP_TABLES with 64 processors and 16 nodes.
 */
#include "hypervisor/chipset/rtc.h"
#include "hypervisor/boot/acpi.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "dsdt.aml.h"
#include "ssdt_cpu0.aml.h"
#include "ssdt_cpu1.aml.h"
#include "ssdt_cpu16.aml.h"
#include "ssdt_cpu2.aml.h"
#include "ssdt_cpu32.aml.h"
#include "ssdt_cpu4.aml.h"
#include "ssdt_cpu8.aml.h"

/* dsdt.asl has these as plain numbers. */
_Static_assert(
    MAP_SHARED_PAGE + SHARED_FACTS == 0xef100 && sizeof(struct acpi_facts) == 0x18, "dsdt.asl: FACT");
_Static_assert(MAP_SHARED_PAGE + SHARED_GENERATION_ID == 0xef000, "dsdt.asl: ADDR");
_Static_assert(MAP_VMBUS_LOW == 0xf0000000 && MAP_VMBUS_LOW_LEN == 0x08000000, "dsdt.asl: WIND");
_Static_assert(PORT_RTC == 0x70 && IRQ_RTC == 8 && PORT_COM1 == 0x3f8 && IRQ_COM1 == 4 &&
		   PORT_COM2 == 0x2f8 && IRQ_COM2 == 3 && GPE_VMGENID == 0,
    "dsdt.asl: devices");

#define PACKED __attribute__((packed))

struct header { /* 5.2.6 */
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
} PACKED;

struct rsdp { /* 5.2.5.3 */
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt, length;
	uint64_t xsdt;
	uint8_t checksum_all, reserved[3];
} PACKED;

struct gas { /* 5.2.3.2 */
	uint8_t space, bits, bit_offset, access;
	uint64_t address;
} PACKED;

enum { GAS_PORT = 1, GAS_BYTE = 1, GAS_WORD = 2, GAS_DWORD = 3 };

struct fadt { /* 5.2.9 */
	struct header h;
	uint32_t facs, dsdt;
	uint8_t reserved0, profile;
	uint16_t sci;
	uint32_t smi_command;
	uint8_t acpi_enable, acpi_disable, s4bios, pstate_control;
	uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
	uint8_t pm1_event_len, pm1_control_len, pm2_control_len, pm_timer_len, gpe0_len, gpe1_len, gpe1_base;
	uint8_t cst_control;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_arch;
	uint8_t reserved1;
	uint32_t flags;
	struct gas reset;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct gas x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control, x_pm_timer,
	    x_gpe0;
	struct gas x_gpe1, sleep_control, sleep_status;
	uint64_t hypervisor;
} PACKED;
_Static_assert(sizeof(struct fadt) == 276, "table 5.9");

enum { /* FADT flags, table 5.10, and boot architecture flags, table 5.11 */
	FADT_WBINVD = 1 << 0,
	FADT_PROC_C1 = 1 << 2,
	FADT_NO_SLEEP_BUTTON = 1 << 5,
	FADT_NO_FIXED_RTC_WAKE = 1 << 6,
	FADT_TIMER_32BIT = 1 << 8,
	FADT_RESET_REGISTER = 1 << 10,
	BOOT_LEGACY_DEVICES = 1 << 0,
	BOOT_NO_VGA = 1 << 2,
	PROFILE_SERVER = 4,
	NO_C2 = 0xfff, /* more than 100 and 1000 us: the state does not exist */
	NO_C3 = 0xfff,
	RESET_VALUE = 6, /* what port 0xcf9 takes for a full reset */
};

struct facs { /* 5.2.10 */
	char signature[4];
	uint32_t length, hardware, waking, lock, flags;
	uint64_t x_waking;
	uint8_t version, reserved[31];
} PACKED;
_Static_assert(sizeof(struct facs) == 64, "table 5.13");

struct madt_apic { /* 5.2.12.2 */
	uint8_t type, length, uid, apic_id;
	uint32_t flags;
} PACKED;
struct madt_ioapic { /* 5.2.12.3 */
	uint8_t type, length, id, reserved;
	uint32_t address, gsi;
} PACKED;
struct madt_override { /* 5.2.12.5 */
	uint8_t type, length, bus, source;
	uint32_t gsi;
	uint16_t flags;
} PACKED;
struct madt_nmi { /* 5.2.12.7 */
	uint8_t type, length, uid;
	uint16_t flags;
	uint8_t lint;
} PACKED;

enum {
	MADT_APIC = 0,
	MADT_IOAPIC = 1,
	MADT_OVERRIDE = 2,
	MADT_NMI = 4,
	MADT_ENABLED = 1,
	MADT_ALL_PROCESSORS = 0xff,
	MPS_HIGH_LEVEL = 0x0d, /* table 5.26: active high, level triggered */
};

struct srat_apic { /* 5.2.16.1 */
	uint8_t type, length, domain, apic_id;
	uint32_t flags;
	uint8_t eid, domain_high[3];
	uint32_t clock;
} PACKED;
struct srat_memory { /* 5.2.16.2 */
	uint8_t type, length;
	uint32_t domain;
	uint16_t reserved0;
	uint64_t base, len;
	uint32_t reserved1, flags;
	uint64_t reserved2;
} PACKED;
_Static_assert(sizeof(struct srat_memory) == 40, "table 5.56");

enum { SRAT_APIC = 0, SRAT_MEMORY = 1, SRAT_ENABLED = 1, SRAT_HOT_PLUG = 2 };
enum { SLIT_LOCAL = 10, SLIT_REMOTE = 20 };

/* A table being made. */
struct table {
	size_t len;
	union {
		struct header h;
		uint8_t byte[4096]; /* the longest is the SRAT: 64 * 16 + 18 * 40 and a little */
	};
};

struct builder {
	const struct machine *m;
	struct gmem *mem;
	struct memory_map map;
	uint64_t next; /* free for the next table */
	uint64_t xsdt[16];
	size_t tables;
	int rc; /* first failure */
};

static uint8_t
checksum(const void *p, size_t len)
{
	const uint8_t *byte = p;
	uint8_t sum = 0;

	while (len-- != 0)
		sum = (uint8_t)(sum + *byte++);
	return (uint8_t)-sum;
}

static void
begin(struct table *t, const char *signature, uint8_t revision)
{
	memset(t, 0, sizeof(*t));
	t->len = sizeof(t->h);
	memcpy(t->h.signature, signature, sizeof(t->h.signature));
	t->h.revision = revision;
	memcpy(t->h.oem_id, "FRHOLD", sizeof(t->h.oem_id));
	memcpy(t->h.oem_table, "FREEHOLD", sizeof(t->h.oem_table));
	t->h.oem_revision = MACHINE_VERSION;
	memcpy(t->h.creator, "FHLD", sizeof(t->h.creator));
	t->h.creator_revision = MACHINE_VERSION;
}

static void
add(struct table *t, const void *p, size_t len)
{
	memcpy(t->byte + t->len, p, len);
	t->len += len;
}

/* Puts bytes into the next free place and returns where they are. */
static uint64_t
place(struct builder *b, const void *p, size_t len)
{
	uint64_t at = (b->next + 63) & ~63ull; /* the FACS wants 64, the others are content with less */

	if (b->rc == 0 && at + len > MAP_TABLES + MAP_TABLES_LEN)
		b->rc = -ENOSPC;
	if (b->rc == 0)
		b->rc = gmem_write(b->mem, at, p, len);
	b->next = at + len;
	return at;
}

static uint64_t
finish(struct builder *b, struct table *t)
{
	t->h.length = (uint32_t)t->len;
	t->h.checksum = 0;
	t->h.checksum = checksum(t->byte, t->len);
	return place(b, t->byte, t->len);
}

static void
list(struct builder *b, uint64_t at)
{
	b->xsdt[b->tables++] = at;
}

static struct gas
port(unsigned address, unsigned bytes, unsigned access)
{
	return (struct gas){
		.space = GAS_PORT, .bits = (uint8_t)(bytes * 8), .access = (uint8_t)access, .address = address
	};
}

/* The power button is fixed hardware (its flag is clear); there is no SMI command port: always ACPI mode. */
static void
write_fadt(struct builder *b, uint64_t facs, uint64_t dsdt)
{
	bool legacy = b->m->com[0] || b->m->com[1];
	struct table t;
	struct fadt f = {
		.facs = (uint32_t)facs,
		.dsdt = (uint32_t)dsdt,
		.x_dsdt = dsdt,
		.profile = PROFILE_SERVER,
		.sci = IRQ_SCI,
		.pm1a_event = PORT_PM,
		.pm1_event_len = 4,
		.x_pm1a_event = port(PORT_PM, 4, GAS_WORD),
		.pm1a_control = PORT_PM + 4,
		.pm1_control_len = 2,
		.x_pm1a_control = port(PORT_PM + 4, 2, GAS_WORD),
		.pm_timer = PORT_PM + 8,
		.pm_timer_len = 4,
		.x_pm_timer = port(PORT_PM + 8, 4, GAS_DWORD),
		.gpe0 = PORT_PM + 12,
		.gpe0_len = 2,
		.x_gpe0 = port(PORT_PM + 12, 2, GAS_BYTE),
		.c2_latency = NO_C2,
		.c3_latency = NO_C3,
		.boot_arch = BOOT_NO_VGA | (legacy ? BOOT_LEGACY_DEVICES : 0),
		.flags = FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP_BUTTON | FADT_NO_FIXED_RTC_WAKE |
			 FADT_TIMER_32BIT | FADT_RESET_REGISTER,
		.reset = port(PORT_RESET, 1, GAS_BYTE),
		.century = RTC_CENTURY,
		.reset_value = RESET_VALUE,
		.minor = 5,
	};

	memcpy(&f.hypervisor, "Freehold", sizeof(f.hypervisor));
	begin(&t, "FACP", 6);
	add(&t, (uint8_t *)&f + sizeof(f.h), sizeof(f) - sizeof(f.h));
	list(b, finish(b, &t));
}

static uint64_t
write_facs(struct builder *b)
{
	const struct facs f = { .signature = "FACS", .length = sizeof(f), .version = 2 };

	return place(b, &f, sizeof(f));
}

/*
 * One I/O APIC for GSI 0-23. There is neither a PIC nor a PIT, so its flag is clear and IRQ 0 needs no
 * override. APIC ids are below 128 (machine_apic_id): no x2APIC entries are needed.
 */
static void
write_madt(struct builder *b)
{
	const uint32_t head[] = { (uint32_t)MAP_LAPIC, 0 };
	const struct madt_ioapic io = { MADT_IOAPIC, sizeof(io), 0, 0, (uint32_t)MAP_IOAPIC, 0 };
	const struct madt_override sci = { MADT_OVERRIDE, sizeof(sci), 0, IRQ_SCI, IRQ_SCI, MPS_HIGH_LEVEL };
	const struct madt_nmi nmi = { MADT_NMI, sizeof(nmi), MADT_ALL_PROCESSORS, 0, 1 };
	struct table t;

	begin(&t, "APIC", 5);
	add(&t, head, sizeof(head));
	for (unsigned vp = 0; vp < b->m->processor.count; vp++) {
		uint8_t id = (uint8_t)machine_apic_id(b->m, vp);
		struct madt_apic apic = { MADT_APIC, sizeof(apic), (uint8_t)vp, id, MADT_ENABLED };

		add(&t, &apic, sizeof(apic));
	}
	add(&t, &io, sizeof(io));
	add(&t, &sci, sizeof(sci));
	add(&t, &nmi, sizeof(nmi));
	list(b, finish(b, &t));
}

static void
add_memory(struct table *t, unsigned node, uint64_t base, uint64_t len, uint32_t flags)
{
	const struct srat_memory r = {
		SRAT_MEMORY,
		sizeof(r),
		.domain = node,
		.base = base,
		.len = len,
		.flags = SRAT_ENABLED | flags,
	};

	if (len != 0)
		add(t, &r, sizeof(r));
}

/* Nodes fill the RAM in their order; the one that reaches over the hole below 4 GiB gets two ranges. */
static void
add_nodes_memory(struct builder *b, struct table *t)
{
	uint64_t low = b->map.low_ram, at = 0;

	for (unsigned i = 0; i < b->m->nodes; i++) {
		uint64_t len = b->m->node[i].memory_mb << 20;
		uint64_t in_low = at >= low ? 0 : len < low - at ? len : low - at;
		uint64_t high = at + in_low - low; /* meant only when in_low < len */

		add_memory(t, i, at, in_low, 0);
		add_memory(t, i, MAP_HIGH_RAM + high, len - in_low, 0);
		at += len;
	}
	add_memory(
	    t, (unsigned)b->m->nodes - 1, b->map.hot_add, b->map.high_limit - b->map.hot_add, SRAT_HOT_PLUG);
}

static void
write_srat(struct builder *b)
{
	const uint32_t head[] = { 1, 0, 0 }; /* table 5.54: reserved, must be 1; reserved */
	struct table t;

	begin(&t, "SRAT", 3);
	add(&t, head, sizeof(head));
	for (unsigned vp = 0; vp < b->m->processor.count; vp++) {
		struct srat_apic cpu = {
			SRAT_APIC,
			sizeof(cpu),
			.domain = (uint8_t)machine_node_of(b->m, vp),
			.apic_id = (uint8_t)machine_apic_id(b->m, vp),
			.flags = SRAT_ENABLED,
		};

		add(&t, &cpu, sizeof(cpu));
	}
	add_nodes_memory(b, &t);
	list(b, finish(b, &t));
}

static void
write_slit(struct builder *b)
{
	uint64_t n = b->m->nodes;
	struct table t;

	begin(&t, "SLIT", 1);
	add(&t, &n, sizeof(n));
	for (uint64_t i = 0; i < n * n; i++) {
		uint8_t distance = i / n == i % n ? SLIT_LOCAL : SLIT_REMOTE;

		add(&t, &distance, 1);
	}
	list(b, finish(b, &t));
}

/* Processor devices: all tables up to the last processor (acpi/ssdt_cpu0.asl says why). */
static const struct {
	unsigned first;
	const uint8_t *aml;
	size_t len;
} cpu_tables[] = {
	{ 0, ssdt_cpu0_aml_code, sizeof(ssdt_cpu0_aml_code) },
	{ 1, ssdt_cpu1_aml_code, sizeof(ssdt_cpu1_aml_code) },
	{ 2, ssdt_cpu2_aml_code, sizeof(ssdt_cpu2_aml_code) },
	{ 4, ssdt_cpu4_aml_code, sizeof(ssdt_cpu4_aml_code) },
	{ 8, ssdt_cpu8_aml_code, sizeof(ssdt_cpu8_aml_code) },
	{ 16, ssdt_cpu16_aml_code, sizeof(ssdt_cpu16_aml_code) },
	{ 32, ssdt_cpu32_aml_code, sizeof(ssdt_cpu32_aml_code) },
};

static void
write_cpu_tables(struct builder *b)
{
	for (size_t i = 0; i < sizeof(cpu_tables) / sizeof(cpu_tables[0]); i++)
		if (cpu_tables[i].first < b->m->processor.count)
			list(b, place(b, cpu_tables[i].aml, cpu_tables[i].len));
}

static void
write_root(struct builder *b)
{
	struct rsdp r = { .signature = "RSD PTR ", .revision = 2, .length = sizeof(r) };
	struct table t;

	begin(&t, "XSDT", 1);
	add(&t, b->xsdt, b->tables * sizeof(b->xsdt[0]));
	r.xsdt = finish(b, &t);
	memcpy(r.oem_id, "FRHOLD", sizeof(r.oem_id));
	r.checksum = checksum(&r, offsetof(struct rsdp, length));
	r.checksum_all = checksum(&r, sizeof(r));
	if (b->rc == 0)
		b->rc = gmem_write(b->mem, MAP_TABLES, &r, sizeof(r));
}

static void
write_facts(struct builder *b)
{
	const struct acpi_facts f = {
		.processors = (uint32_t)b->m->processor.count,
		.com = (b->m->com[0] ? 1u : 0) | (b->m->com[1] ? 2u : 0),
		.vmbus_high = b->map.vmbus_high,
		.vmbus_high_len = MAP_VMBUS_HIGH_LEN,
	};

	if (b->rc == 0)
		b->rc = gmem_write(b->mem, MAP_SHARED_PAGE + SHARED_FACTS, &f, sizeof(f));
}

int
acpi_write(const struct machine *m, struct gmem *mem, struct err *e)
{
	struct builder b = { .m = m, .mem = mem, .next = MAP_TABLES + sizeof(struct rsdp) };
	uint64_t facs, dsdt;

	machine_map(m, &b.map);
	write_facts(&b);
	facs = write_facs(&b);
	dsdt = place(&b, dsdt_aml_code, sizeof(dsdt_aml_code));
	write_fadt(&b, facs, dsdt);
	write_madt(&b);
	if (m->nodes != 0) {
		write_srat(&b);
		write_slit(&b);
	}
	write_cpu_tables(&b);
	write_root(&b);
	return b.rc == 0 ? 0 : err_set(e, -b.rc, "ACPI tables: %s", strerror(-b.rc));
}

int
acpi_write_generation_id(struct gmem *mem, const uint8_t id[16], struct err *e)
{
	int rc = gmem_write(mem, MAP_SHARED_PAGE + SHARED_GENERATION_ID, id, 16);

	return rc == 0 ? 0 : err_set(e, -rc, "generation id: %s", strerror(-rc));
}
