/*
 * hypervisor/boot/pvh.c - loads an ELF kernel that has a PVH entry: a note of Xen's with the address
 * of a 32-bit entry without paging (Xen, docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h).
 *
 * The file is read in small pieces: ELF header, one program header or note at a time. 32-bit headers
 * are widened when they are read, so that the rest knows only the 64-bit ones.
 */
#include "hypervisor/boot/load.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum {
	SEGMENTS_MAX = 64,
	NOTES_MAX = 256, /* per segment; a kernel has about 20 */
	NOTE_PHYS32_ENTRY = 18,
	START_MAGIC = 0x336ec578,
	START_VERSION = 1,
	/* Within the page at LOW_PARAMS. */
	MODULE_AT = 0x100,
	MEMORY_MAP_AT = 0x200,
};
/* As the header of a 32-bit bzImage says: it maps no more of its memory when it looks for the initrd. */
#define INITRD_LIMIT_32 0x38000000ull

struct start_info {
	uint32_t magic, version, flags, modules;
	uint64_t module_list, cmdline, rsdp, memory_map;
	uint32_t memory_map_entries, reserved;
};
struct start_module {
	uint64_t addr, len, cmdline, reserved;
};
struct start_range {
	uint64_t addr, len;
	uint32_t type, reserved;
};

struct elf {
	const struct boot_file *file;
	bool is64;
	uint64_t table; /* program headers in the file */
	unsigned segments;
	Elf64_Phdr ph[SEGMENTS_MAX];
	uint64_t entry; /* from the note; 0: none found */
};

/* Takes what matters from an ELF header of either width. */
#define TAKE_EHDR(elf, h)                      \
	do {                                   \
		(elf)->table = (h).e_phoff;    \
		(elf)->segments = (h).e_phnum; \
		machine = (h).e_machine;       \
		size = (h).e_phentsize;        \
	} while (0)

static int
read_ehdr(struct elf *elf, struct err *e)
{
	uint8_t ident[EI_NIDENT];
	unsigned machine, size, want;
	Elf32_Ehdr h32;
	Elf64_Ehdr h64;
	int rc = boot_file_read(elf->file, 0, ident, sizeof(ident), e);

	if (rc < 0)
		return rc;
	elf->is64 = ident[EI_CLASS] == ELFCLASS64;
	if ((!elf->is64 && ident[EI_CLASS] != ELFCLASS32) || ident[EI_DATA] != ELFDATA2LSB)
		return err_set(e, ENOEXEC, "kernel: is an ELF file for another processor");
	rc = elf->is64 ? boot_file_read(elf->file, 0, &h64, sizeof(h64), e)
		       : boot_file_read(elf->file, 0, &h32, sizeof(h32), e);
	if (rc < 0)
		return rc;
	if (elf->is64)
		TAKE_EHDR(elf, h64);
	else
		TAKE_EHDR(elf, h32);
	want = elf->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	if (machine != EM_X86_64 && machine != EM_386)
		return err_set(e, ENOEXEC, "kernel: is an ELF file for another processor");
	if (elf->segments == 0 || elf->segments > SEGMENTS_MAX || size != want)
		return err_set(
		    e, EINVAL, "kernel: damaged: %u program headers of %u bytes", elf->segments, size);
	return 0;
}

static int
read_phdr(struct elf *elf, unsigned i, struct err *e)
{
	size_t size = elf->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	Elf64_Phdr *p = &elf->ph[i];
	Elf32_Phdr p32;
	int rc;

	if (elf->table > elf->file->size) /* keeps the sum below from wrapping */
		return err_set(e, EINVAL, "kernel: cut short: program headers at %llu, file has %llu bytes",
		    (unsigned long long)elf->table, (unsigned long long)elf->file->size);
	if (elf->is64)
		return boot_file_read(elf->file, elf->table + i * size, p, size, e);
	rc = boot_file_read(elf->file, elf->table + i * size, &p32, size, e);
	if (rc == 0)
		*p = (Elf64_Phdr){
			.p_type = p32.p_type,
			.p_offset = p32.p_offset,
			.p_paddr = p32.p_paddr,
			.p_filesz = p32.p_filesz,
			.p_memsz = p32.p_memsz,
		};
	return rc;
}

static int
check_segment(const struct elf *elf, const Elf64_Phdr *p, const struct memory_map *map, struct err *e)
{
	uint64_t size = elf->file->size, end;

	if (p->p_filesz > size || p->p_offset > size - p->p_filesz)
		return err_set(e, EINVAL, "kernel: cut short: needs %llu bytes at %llu, file has %llu",
		    (unsigned long long)p->p_filesz, (unsigned long long)p->p_offset,
		    (unsigned long long)size);
	if (p->p_type != PT_LOAD)
		return 0;
	if (p->p_filesz > p->p_memsz)
		return err_set(e, EINVAL, "kernel: damaged: %llu bytes for %llu bytes at %#llx",
		    (unsigned long long)p->p_filesz, (unsigned long long)p->p_memsz,
		    (unsigned long long)p->p_paddr);
	if (p->p_paddr < IMAGE_MIN)
		return err_set(e, EINVAL,
		    "kernel: a segment at %#llx, where only tables may be: it must be at %#llx or above",
		    (unsigned long long)p->p_paddr, (unsigned long long)IMAGE_MIN);
	if (__builtin_add_overflow(p->p_paddr, p->p_memsz, &end) || end > map->low_ram)
		return err_set(e, E2BIG, "kernel: needs %llu bytes at %#llx, memory ends at %llu MiB",
		    (unsigned long long)p->p_memsz, (unsigned long long)p->p_paddr,
		    (unsigned long long)(map->low_ram >> 20));
	return 0;
}

static int
check_overlap(const struct elf *elf, unsigned i, struct err *e)
{
	const Elf64_Phdr *a = &elf->ph[i];

	for (unsigned j = 0; a->p_type == PT_LOAD && j < i; j++) {
		const Elf64_Phdr *b = &elf->ph[j];

		if (b->p_type == PT_LOAD && a->p_paddr < b->p_paddr + b->p_memsz &&
		    b->p_paddr < a->p_paddr + a->p_memsz)
			return err_set(e, EINVAL, "kernel: damaged: two segments at %#llx",
			    (unsigned long long)a->p_paddr);
	}
	return 0;
}

static uint64_t
pad4(uint64_t len)
{
	return (len + 3) & ~3ull;
}

/* Looks for the entry in the notes of one segment, which lies within the file. Both widths of ELF have
 * the same notes: three words, name, description, the latter two padded to words. */
static int
read_notes(struct elf *elf, const Elf64_Phdr *p, struct err *e)
{
	uint64_t at = p->p_offset, end = p->p_offset + p->p_filesz;
	struct {
		Elf64_Nhdr h;
		char name[4];
	} note;

	for (unsigned i = 0; i < NOTES_MAX && end - at >= sizeof(note); i++) {
		uint64_t desc, next;
		int rc = boot_file_read(elf->file, at, &note, sizeof(note), e);

		if (rc < 0)
			return rc;
		desc = at + sizeof(note.h) + pad4(note.h.n_namesz);
		next = desc + pad4(note.h.n_descsz);
		if (note.h.n_namesz == 4 && memcmp(note.name, "Xen", 4) == 0 &&
		    note.h.n_type == NOTE_PHYS32_ENTRY && note.h.n_descsz >= 4)
			/* 4 or 8 bytes; the entry is a 32-bit address either way */
			return boot_file_read(elf->file, desc, &elf->entry, 4, e);
		if (next > end)
			break;
		at = next;
	}
	return 0;
}

static int
read_headers(struct elf *elf, const struct memory_map *map, struct err *e)
{
	int rc = read_ehdr(elf, e);

	for (unsigned i = 0; rc == 0 && i < elf->segments; i++) {
		rc = read_phdr(elf, i, e);
		if (rc == 0)
			rc = check_segment(elf, &elf->ph[i], map, e);
		if (rc == 0)
			rc = check_overlap(elf, i, e);
		if (rc == 0 && elf->ph[i].p_type == PT_NOTE && elf->entry == 0)
			rc = read_notes(elf, &elf->ph[i], e);
	}
	if (rc == 0 && elf->entry == 0)
		return err_set(e, ENOEXEC, "kernel: is an ELF file without a PVH entry");
	return rc;
}

static int
load_segments(struct elf *elf, struct boot_job *job, uint64_t *top, struct err *e)
{
	bool has_entry = false;

	*top = 0;
	for (unsigned i = 0; i < elf->segments; i++) {
		const Elf64_Phdr *p = &elf->ph[i];
		uint64_t end = p->p_paddr + p->p_memsz;
		int rc;

		if (p->p_type != PT_LOAD)
			continue;
		rc = boot_file_load(elf->file, job->mem, p->p_paddr, p->p_offset, p->p_filesz, e);
		if (rc < 0)
			return rc;
		if (gmem_zero(job->mem, p->p_paddr + p->p_filesz, p->p_memsz - p->p_filesz) < 0)
			return err_set(
			    e, E2BIG, "kernel: no memory at %#llx", (unsigned long long)p->p_paddr);
		has_entry = has_entry || (elf->entry >= p->p_paddr && elf->entry < end);
		*top = end > *top ? end : *top;
	}
	if (!has_entry)
		return err_set(e, EINVAL, "kernel: damaged: its entry %#llx is in no segment",
		    (unsigned long long)elf->entry);
	return 0;
}

static int
write_start_info(struct boot_job *job, struct err *e)
{
	struct memory_range r[RANGES_MAX];
	struct start_range ranges[RANGES_MAX] = { 0 };
	size_t n = boot_memory_ranges(&job->map, r);
	const struct start_module module = { .addr = job->initrd_at.addr, .len = job->initrd_at.len };
	const struct start_info info = {
		.magic = START_MAGIC,
		.version = START_VERSION,
		.modules = module.len != 0,
		.module_list = module.len != 0 ? LOW_PARAMS + MODULE_AT : 0,
		.cmdline = LOW_CMDLINE,
		.rsdp = MAP_TABLES,
		.memory_map = LOW_PARAMS + MEMORY_MAP_AT,
		.memory_map_entries = (uint32_t)n,
	};

	for (size_t i = 0; i < n; i++)
		ranges[i] = (struct start_range){ .addr = r[i].addr, .len = r[i].len, .type = r[i].type };
	if (gmem_write(job->mem, LOW_PARAMS, &info, sizeof(info)) < 0 ||
	    gmem_write(job->mem, LOW_PARAMS + MODULE_AT, &module, sizeof(module)) < 0 ||
	    gmem_write(job->mem, LOW_PARAMS + MEMORY_MAP_AT, ranges, sizeof(ranges)) < 0)
		return err_set(e, E2BIG, "kernel: the machine has no low memory");
	return 0;
}

int
pvh_load(struct boot_job *job, struct boot_entry *entry, struct err *e)
{
	struct elf elf = { .file = &job->kernel };
	uint64_t top;
	int rc = read_headers(&elf, &job->map, e);

	if (rc == 0)
		rc = boot_write_cmdline(job, MACHINE_CMDLINE - 1, e);
	if (rc == 0)
		rc = load_segments(&elf, job, &top, e);
	if (rc == 0)
		rc = boot_load_initrd(job, top, elf.is64 ? MAP_LOW_RAM_END : INITRD_LIMIT_32, e);
	if (rc == 0)
		rc = write_start_info(job, e);
	if (rc < 0)
		return rc;
	entry->rip = elf.entry;
	entry->rbx = LOW_PARAMS;
	return boot_write_cpu(job, BOOT_PROTECTED32, entry, e);
}
