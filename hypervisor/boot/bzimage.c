/*
 * hypervisor/boot/bzimage.c - loads a Linux kernel image (bzImage) as Linux's
 * Documentation/arch/x86/boot.rst describes it, boot protocol 2.06 and later.
 *
 * The setup header is copied out of the file once, up to the end it declares; what is behind that end
 * is code and reads as zero here. The real-mode part is never run and so not loaded.
 */
#include "hypervisor/boot/load.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <string.h>

#define MIB 0x100000ull

enum {
	HEADER_AT = 0x1f1, /* in the file and in boot_params */
	HEADER_LEN_AT = 0x201,
	HEADER_END_MAX = 0x290, /* what boot_params has room for */
	SECTOR = 512,
	PARAGRAPH = 16,
	ENTRY_64 = 0x200,          /* 64-bit entry, from the start of the protected-mode part */
	CODE32_DEFAULT = 0x100000, /* code32_start of every image that has a 32-bit entry */
	LOADER_UNDEFINED = 0xff,
};

struct bzimage {
	struct setup_header hdr;
	uint64_t setup_len; /* the part that is not loaded */
	uint64_t len;       /* protected-mode part in the file */
	uint64_t addr;      /* where it goes */
	uint64_t run_len;   /* memory from there on that it uses before it knows its memory map */
};

static int
read_header(const struct boot_file *f, struct bzimage *k, struct err *e)
{
	uint8_t head[HEADER_END_MAX];
	size_t end;
	int rc = boot_file_read(f, 0, head, sizeof(head), e);

	if (rc < 0)
		return rc;
	end = 0x202u + head[HEADER_LEN_AT];
	if (end > sizeof(head))
		end = sizeof(head);
	if (end > HEADER_AT + sizeof(k->hdr))
		end = HEADER_AT + sizeof(k->hdr);
	memcpy(&k->hdr, head + HEADER_AT, end - HEADER_AT);
	return 0;
}

static int
check_header(const struct boot_file *f, struct bzimage *k, struct err *e)
{
	const struct setup_header *h = &k->hdr;

	if (h->version < 0x206)
		return err_set(e, ENOEXEC, "kernel: boot protocol %u.%02u is too old, 2.06 is needed",
		    h->version >> 8, h->version & 0xffu);
	if (!(h->loadflags & LOADED_HIGH) || h->code32_start != CODE32_DEFAULT)
		return err_set(e, ENOEXEC, "kernel: starts only from a BIOS");
	k->setup_len = ((h->setup_sects != 0 ? h->setup_sects : 4u) + 1u) * SECTOR;
	k->len = h->syssize;
	k->len *= PARAGRAPH;
	if (k->len <= ENTRY_64)
		return err_set(
		    e, EINVAL, "kernel: damaged: header says %llu bytes of code", (unsigned long long)k->len);
	if (k->setup_len + k->len > f->size)
		return err_set(e, EINVAL, "kernel: cut short: header says %llu bytes, file has %llu",
		    (unsigned long long)(k->setup_len + k->len), (unsigned long long)f->size);
	return 0;
}

/*
 * A relocatable kernel runs at the preferred address or the next that is aligned, wherever it is
 * loaded; loading it there saves it the move.
 */
static int
place(const struct boot_job *job, struct bzimage *k, struct err *e)
{
	const struct setup_header *h = &k->hdr;
	uint64_t align = h->kernel_alignment, end;

	k->addr = CODE32_DEFAULT;
	k->run_len = 4 * k->len; /* before 2.10 a header does not tell; a guess at what it unpacks to */
	if (h->version >= 0x20a) {
		k->addr = h->pref_address;
		k->run_len = h->init_size > k->len ? h->init_size : k->len;
	}
	if (h->relocatable_kernel) {
		if (align == 0 || (align & (align - 1)) != 0)
			return err_set(
			    e, EINVAL, "kernel: damaged: its alignment is %#llx", (unsigned long long)align);
		k->addr = (k->addr + align - 1) & ~(align - 1);
	}
	if (k->addr < IMAGE_MIN)
		return err_set(
		    e, EINVAL, "kernel: damaged: it wants to be at %#llx", (unsigned long long)k->addr);
	if (__builtin_add_overflow(k->addr, k->run_len, &end) || end > job->map.low_ram)
		return err_set(e, E2BIG, "kernel: needs %llu MiB at %#llx, memory ends at %llu MiB",
		    (unsigned long long)((k->run_len + MIB - 1) / MIB), (unsigned long long)k->addr,
		    (unsigned long long)(job->map.low_ram / MIB));
	return 0;
}

static void
fill_e820(const struct memory_map *map, struct boot_params *bp)
{
	struct memory_range r[RANGES_MAX];
	size_t n = boot_memory_ranges(map, r);

	for (size_t i = 0; i < n; i++)
		bp->e820_table[i] =
		    (struct boot_e820_entry){ .addr = r[i].addr, .size = r[i].len, .type = r[i].type };
	bp->e820_entries = (__u8)n;
}

static int
write_params(struct boot_job *job, const struct bzimage *k, struct err *e)
{
	struct boot_params bp = { .hdr = k->hdr, .acpi_rsdp_addr = MAP_TABLES };

	bp.hdr.type_of_loader = LOADER_UNDEFINED;
	bp.hdr.code32_start = (uint32_t)k->addr;
	bp.hdr.cmd_line_ptr = LOW_CMDLINE;
	bp.hdr.ramdisk_image = (uint32_t)job->initrd_at.addr;
	bp.hdr.ramdisk_size = (uint32_t)job->initrd_at.len;
	bp.hdr.setup_data = 0; /* a list of ours, and we have none */
	bp.hdr.vid_mode = 0xffff;
	fill_e820(&job->map, &bp);
	if (gmem_write(job->mem, LOW_PARAMS, &bp, sizeof(bp)) < 0)
		return err_set(e, E2BIG, "kernel: the machine has no low memory");
	return 0;
}

int
bzimage_load(struct boot_job *job, struct boot_entry *entry, struct err *e)
{
	struct bzimage k = { 0 };
	bool long64;
	int rc = read_header(&job->kernel, &k, e);

	if (rc == 0)
		rc = check_header(&job->kernel, &k, e);
	if (rc == 0)
		rc = place(job, &k, e);
	if (rc == 0)
		rc = boot_write_cmdline(job, k.hdr.cmdline_size, e);
	if (rc == 0)
		rc = boot_load_initrd(job, k.addr + k.run_len, (uint64_t)k.hdr.initrd_addr_max + 1, e);
	if (rc == 0)
		rc = boot_file_load(&job->kernel, job->mem, k.addr, k.setup_len, k.len, e);
	if (rc == 0)
		rc = write_params(job, &k, e);
	if (rc < 0)
		return rc;
	long64 = k.hdr.version >= 0x20c && (k.hdr.xloadflags & XLF_KERNEL_64) != 0;
	entry->rip = k.addr + (long64 ? ENTRY_64 : 0);
	entry->rsi = LOW_PARAMS;
	return boot_write_cpu(job, long64 ? BOOT_LONG64 : BOOT_PROTECTED32, entry, e);
}
