/*
 * hypervisor/boot/smbios.c - the SMBIOS tables of a machine, after DMTF DSP0134 version 3.3.
 *
 * A structure is made field by field in the order of its table in section 7; its length follows from
 * that, and its strings go behind it. Values that mean "unknown" are used wherever a virtual machine
 * has nothing to say: nothing here describes the host.
 */
#include "hypervisor/boot/smbios.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum {
	ENTRY3_AT = 0x00, /* guests look at every 16 bytes of the last 64 KiB below 1 MiB */
	ENTRY2_AT = 0x20,
	STRUCTURES_AT = 0x40,
	/* 64 sockets of 65 bytes and less than 1 KiB for all the rest with the longest strings. */
	STRUCTURES_MAX = 8192,
	STRINGS_MAX = 320, /* of one structure */
};

/* One structure of each type, or several counted up from this number. */
enum handle {
	H_BIOS = 0x0000,
	H_SYSTEM = 0x0100,
	H_CHASSIS = 0x0300,
	H_PROCESSOR = 0x0400,
	H_MEMORY_ARRAY = 0x1000,
	H_MEMORY_DEVICE = 0x1100,
	H_MEMORY_RANGE = 0x1300,
	H_BOOT = 0x2000,
	H_END = 0x7f00,
	H_NOT_PROVIDED = 0xfffe,
	H_NONE = 0xffff,
};

enum { OTHER = 1, UNKNOWN = 2, SAFE = 3 };

struct smbios {
	uint8_t buf[STRUCTURES_MAX];
	size_t len;
	size_t start; /* of the structure being made */
	size_t longest;
	unsigned count;
	char strings[STRINGS_MAX];
	size_t strings_len;
	uint8_t nstrings;
	bool full;
};

static void
put(struct smbios *s, const void *p, size_t len)
{
	if (len > sizeof(s->buf) - s->len) {
		s->full = true;
		return;
	}
	memcpy(s->buf + s->len, p, len);
	s->len += len;
}

static void
u8(struct smbios *s, unsigned v)
{
	put(s, &(uint8_t){ (uint8_t)v }, 1);
}

static void
u16(struct smbios *s, unsigned v)
{
	put(s, &(uint16_t){ (uint16_t)v }, 2);
}

static void
u32(struct smbios *s, uint32_t v)
{
	put(s, &v, 4);
}

static void
u64(struct smbios *s, uint64_t v)
{
	put(s, &v, 8);
}

/* The number of a string; 0 for an empty one. */
static void
str(struct smbios *s, const char *text)
{
	size_t len = strlen(text) + 1;

	if (len > 1 && len <= sizeof(s->strings) - s->strings_len) {
		memcpy(s->strings + s->strings_len, text, len);
		s->strings_len += len;
		u8(s, ++s->nstrings);
	} else {
		u8(s, 0);
	}
}

static void
begin(struct smbios *s, unsigned type, unsigned handle)
{
	s->start = s->len;
	s->strings_len = 0;
	s->nstrings = 0;
	u8(s, type);
	u8(s, 0); /* length: end() */
	u16(s, handle);
}

/* Section 6.1.3: strings end with a zero each, their list with one more; two when there are none. */
static void
end(struct smbios *s)
{
	size_t len;

	if (s->full)
		return;
	s->buf[s->start + 1] = (uint8_t)(s->len - s->start);
	put(s, s->strings, s->strings_len);
	if (s->nstrings == 0)
		u8(s, 0);
	u8(s, 0);
	s->count++;
	len = s->len - s->start;
	if (len > s->longest)
		s->longest = len;
}

static void
add_bios(struct smbios *s) /* 7.1 */
{
	begin(s, 0, H_BIOS);
	str(s, "Freehold");
	str(s, "1");          /* version: that of the tables, not of the program */
	u16(s, 0);            /* start segment: there is no BIOS */
	str(s, "01/01/2026"); /* of ConfigurationVersion 1 */
	u8(s, 0);             /* size of ROM */
	u64(s, 1 << 3);       /* characteristics are not supported */
	u16(s, 0x1000);       /* extension byte 2, bit 4: a virtual machine */
	u16(s, 0xffff);       /* release */
	u16(s, 0xffff);       /* release of an embedded controller */
	u16(s, 0);            /* extended size of ROM */
	end(s);
}

/* 7.2.1: the first three parts of a UUID are little-endian numbers since SMBIOS 2.6, so that guests show
 * the id as it is written in the configuration. */
static void
uuid(struct smbios *s, const uint8_t id[16])
{
	static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

	for (size_t i = 0; i < sizeof(order); i++)
		u8(s, id[order[i]]);
}

static void
add_system(struct smbios *s, const struct machine *m) /* 7.2 */
{
	begin(s, 1, H_SYSTEM);
	str(s, "Freehold");
	str(s, "Virtual Machine");
	str(s, "");
	str(s, m->smbios.serial);
	uuid(s, m->id);
	u8(s, 6); /* woken by the power switch */
	str(s, "");
	str(s, "");
	end(s);
}

static void
add_chassis(struct smbios *s, const struct machine *m) /* 7.4 */
{
	begin(s, 3, H_CHASSIS);
	str(s, "Freehold");
	u8(s, OTHER); /* type */
	str(s, "");
	str(s, m->smbios.serial);
	str(s, m->smbios.asset_tag);
	u8(s, SAFE); /* boot-up, power supply, thermal state */
	u8(s, SAFE);
	u8(s, SAFE);
	u8(s, 3); /* security: none */
	u32(s, 0);
	u8(s, 0);  /* height */
	u8(s, 0);  /* power cords */
	u16(s, 0); /* contained elements and their length */
	str(s, "");
	end(s);
}

static void
add_processor(struct smbios *s, const struct machine *m, unsigned socket) /* 7.5 */
{
	unsigned cores = machine_cores_per_socket(m);
	unsigned threads = cores * (unsigned)m->processor.threads_per_core;
	char name[] = "CPU 00";

	name[4] = (char)('0' + socket / 10 % 10);
	name[5] = (char)('0' + socket % 10);
	begin(s, 4, H_PROCESSOR + socket);
	str(s, name);
	u8(s, 3);     /* central processor */
	u8(s, OTHER); /* family */
	str(s, "");   /* manufacturer */
	u64(s, 0);    /* id: CPUID tells the guest better */
	str(s, "");   /* version */
	u8(s, 0);     /* voltage */
	u16(s, 0);    /* clocks: unknown */
	u16(s, 0);
	u16(s, 0);
	u8(s, 0x41);    /* populated, enabled */
	u8(s, UNKNOWN); /* upgrade */
	u16(s, H_NONE); /* caches */
	u16(s, H_NONE);
	u16(s, H_NONE);
	str(s, ""); /* serial number, asset tag, part number */
	str(s, "");
	str(s, "");
	u8(s, cores);
	u8(s, cores);
	u8(s, threads);
	u16(s, 0x04 | (cores > 1 ? 0x08 : 0) | (threads > cores ? 0x10 : 0)); /* 64-bit, cores, threads */
	u16(s, OTHER);
	u16(s, cores);
	u16(s, cores);
	u16(s, threads);
	end(s);
}

static void
add_memory_array(struct smbios *s, uint64_t most_mb) /* 7.17 */
{
	uint64_t kb = most_mb << 10;
	bool fits = kb < 0x80000000u;

	begin(s, 16, H_MEMORY_ARRAY);
	u8(s, 3); /* on the system board */
	u8(s, 3); /* system memory */
	u8(s, UNKNOWN);
	u32(s, fits ? (uint32_t)kb : 0x80000000u);
	u16(s, H_NOT_PROVIDED);
	u16(s, 1);
	u64(s, fits ? 0 : kb << 10);
	end(s);
}

static void
add_memory_device(struct smbios *s, uint64_t mb) /* 7.18 */
{
	bool fits = mb < 0x7fff;

	begin(s, 17, H_MEMORY_DEVICE);
	u16(s, H_MEMORY_ARRAY);
	u16(s, H_NOT_PROVIDED);
	u16(s, 0xffff); /* widths */
	u16(s, 0xffff);
	u16(s, fits ? (unsigned)mb : 0x7fff);
	u8(s, OTHER); /* form */
	u8(s, 0);     /* in no set */
	str(s, "RAM");
	str(s, "");
	u8(s, 7);       /* RAM */
	u16(s, 1 << 1); /* other */
	u16(s, 0);      /* speed */
	str(s, "");     /* manufacturer, serial number, asset tag, part number */
	str(s, "");
	str(s, "");
	str(s, "");
	u8(s, 0); /* rank */
	u32(s, fits ? 0 : (uint32_t)mb);
	u16(s, 0); /* configured speed, voltages */
	u16(s, 0);
	u16(s, 0);
	u16(s, 0);
	end(s);
}

static void
add_memory_range(struct smbios *s, unsigned n, uint64_t base, uint64_t len) /* 7.20 */
{
	uint64_t last = base + len - 1;
	bool fits = last >> 10 < UINT32_MAX;

	begin(s, 19, H_MEMORY_RANGE + n);
	u32(s, fits ? (uint32_t)(base >> 10) : UINT32_MAX);
	u32(s, fits ? (uint32_t)(last >> 10) : UINT32_MAX);
	u16(s, H_MEMORY_ARRAY);
	u8(s, 1); /* devices that form it */
	u64(s, fits ? 0 : base);
	u64(s, fits ? 0 : last);
	end(s);
}

static void
add_end(struct smbios *s)
{
	begin(s, 32, H_BOOT); /* 7.33 */
	put(s, (const uint8_t[6]){ 0 }, 6);
	u8(s, 0); /* no error */
	end(s);
	begin(s, 127, H_END); /* 7.45 */
	end(s);
}

static void
add_all(struct smbios *s, const struct machine *m)
{
	uint64_t per_socket = machine_cores_per_socket(m) * m->processor.threads_per_core;
	uint64_t most = m->memory.maximum_mb > m->memory.size_mb ? m->memory.maximum_mb : m->memory.size_mb;
	struct memory_map map;

	machine_map(m, &map);
	add_bios(s);
	add_system(s, m);
	add_chassis(s, m);
	for (unsigned i = 0; i < m->processor.count / per_socket; i++)
		add_processor(s, m, i);
	add_memory_array(s, most);
	add_memory_device(s, m->memory.size_mb);
	add_memory_range(s, 0, 0, map.low_ram);
	if (map.high_ram != 0)
		add_memory_range(s, 1, MAP_HIGH_RAM, map.high_ram);
	add_end(s);
}

struct entry3 { /* 5.2.2 */
	char anchor[5];
	uint8_t checksum, length, major, minor, docrev, revision, reserved;
	uint32_t max;
	uint64_t address;
} __attribute__((packed));

struct entry2 { /* 5.2.1 */
	char anchor[4];
	uint8_t checksum, length, major, minor;
	uint16_t longest;
	uint8_t revision, formatted[5];
	char dmi_anchor[5];
	uint8_t dmi_checksum;
	uint16_t table_length;
	uint32_t address;
	uint16_t count;
	uint8_t bcd;
} __attribute__((packed));

static uint8_t
checksum(const void *p, size_t len)
{
	const uint8_t *byte = p;
	uint8_t sum = 0;

	while (len-- != 0)
		sum = (uint8_t)(sum + *byte++);
	return (uint8_t)-sum;
}

static int
write_entries(const struct smbios *s, struct gmem *mem)
{
	struct entry3 e3 = { .length = sizeof(e3),
		.major = 3,
		.minor = 3,
		.revision = 1,
		.max = (uint32_t)s->len,
		.address = MAP_SMBIOS + STRUCTURES_AT };
	struct entry2 e2 = { .length = sizeof(e2),
		.major = 2,
		.minor = 8,
		.longest = (uint16_t)s->longest,
		.table_length = (uint16_t)s->len,
		.address = MAP_SMBIOS + STRUCTURES_AT,
		.count = (uint16_t)s->count,
		.bcd = 0x28 };
	int rc;

	memcpy(e3.anchor, "_SM3_", sizeof(e3.anchor));
	e3.checksum = checksum(&e3, sizeof(e3));
	memcpy(e2.anchor, "_SM_", sizeof(e2.anchor));
	memcpy(e2.dmi_anchor, "_DMI_", sizeof(e2.dmi_anchor));
	e2.dmi_checksum = checksum(e2.dmi_anchor, sizeof(e2) - offsetof(struct entry2, dmi_anchor));
	e2.checksum = checksum(&e2, sizeof(e2));
	rc = gmem_write(mem, MAP_SMBIOS + ENTRY3_AT, &e3, sizeof(e3));
	return rc < 0 ? rc : gmem_write(mem, MAP_SMBIOS + ENTRY2_AT, &e2, sizeof(e2));
}

int
smbios_write(const struct machine *m, struct gmem *mem, struct err *e)
{
	struct smbios s = { 0 };
	int rc;

	add_all(&s, m);
	rc = s.full ? -ENOSPC : gmem_write(mem, MAP_SMBIOS + STRUCTURES_AT, s.buf, s.len);
	if (rc == 0)
		rc = write_entries(&s, mem);
	return rc == 0 ? 0 : err_set(e, -rc, "SMBIOS tables: %s", strerror(-rc));
}
