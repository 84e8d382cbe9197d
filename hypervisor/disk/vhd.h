/*
 * hypervisor/disk/vhd.h - VHD version 1, for the files vhd_*.c alone.
 *
 * All numbers in a VHD are big-endian; its sector is always 512 bytes; identities are 16 bytes in the order
 * in which they are written. In memory numbers are the host's, but the block table, which stays as it is in
 * the file. Offsets and lengths are bytes.
 *
 *   0          copy of the footer            (fixed: the data, and nothing else before the footer)
 *   512        dynamic header, 1024 bytes; at footer.data_offset
 *              parent locators' strings      (differencing)
 *              block table: for each block the sector of its bitmap, or VHD_ABSENT
 *              blocks: a bitmap of whole sectors (a bit per sector, the highest of a byte first), then the
 * data end - 512  footer
 *
 * Sources: Microsoft's "Virtual Hard Disk Image Format Specification" 1.0; what Windows and Virtual PC really
 * write, where that differs.
 */
#ifndef HYPERVISOR_DISK_VHD_H
#define HYPERVISOR_DISK_VHD_H

#include "hypervisor/disk/format.h"

enum {
	VHD_SECTOR = 512,
	VHD_FOOTER = 512,
	VHD_OLD_FOOTER = 511, /* before Virtual PC 2004 */
	VHD_HEADER = 1024,
	VHD_LOCATORS = 8,
	VHD_NAME = 512,  /* bytes: the parent's name in the header */
	VHD_PAGE = 4096, /* a block's data begins at a multiple of it, as Windows has it, too */
	VHD_ENTRIES_PER_SECTOR = 128,
	VHD_PHYSICAL = 512,
	/* Of blocks. Windows knows 512 KiB and 2 MiB; the rest is there, but nobody makes it. */
	VHD_BLOCK_MIN = 4096,
	VHD_BLOCK_MAX = 256 << 20,
	VHD_BLOCK_DEFAULT = 2 << 20,
	VHD_ENTRIES_MAX = 1 << 24, /* 64 MiB of table; 2040 GiB in blocks of 128 KiB */
};
#define VHD_ABSENT   UINT32_MAX
#define VHD_SIZE_MAX (UINT64_C(2040) << 30) /* of a disk: the product's limit */
/* Of a file: sectors have 32 bits, and the last number says "absent". */
#define VHD_FILE_MAX ((uint64_t)UINT32_MAX * VHD_SECTOR)

enum vhd_type { VHD_FIXED = 2, VHD_DYNAMIC = 3, VHD_DIFFERENCING = 4 };

/* --- vhd_footer.c: the two structures, as bytes and as numbers ------------------------------------- */

struct vhd_footer {
	uint8_t raw[VHD_FOOTER]; /* what we do not know of stays */
	uint32_t features, version;
	uint64_t data_offset; /* of the dynamic header; all ones: fixed */
	uint32_t created;     /* seconds since 2000 */
	char creator[4];
	uint32_t creator_version; /* major.minor */
	char host[4];
	uint64_t original_size, size;
	uint32_t geometry;
	enum vhd_type type;
	uint8_t id[GUID_BYTES];
	bool saved_state;
};

struct vhd_locator {
	char code[4]; /* zeros: unused */
	uint32_t space, len;
	uint64_t at;
};

struct vhd_header {
	uint8_t raw[VHD_HEADER];
	uint64_t table; /* offset of the block table */
	uint32_t entries;
	uint32_t block_size;
	uint8_t parent_id[GUID_BYTES];
	uint32_t parent_time;
	uint8_t parent_name[VHD_NAME]; /* UTF-16BE, ended by a zero or by its space */
	struct vhd_locator locator[VHD_LOCATORS];
};

/* Whether the bytes begin as a footer does. */
bool vhd_is_footer(const uint8_t *raw);
bool vhd_is_header(const uint8_t *raw);
/* All checks that need no more than the bytes; `at`, where they lie, is for the sentence. */
int vhd_footer_decode(struct vhd_footer *out, const uint8_t raw[VHD_FOOTER], uint64_t at, struct err *e);
/* Into f->raw, with a checksum. */
void vhd_footer_encode(struct vhd_footer *f);
int vhd_header_decode(struct vhd_header *out, const uint8_t raw[VHD_HEADER], uint64_t at, struct err *e);
void vhd_header_encode(struct vhd_header *h);
/* A new footer; the time is now. id: NULL for a random one. */
int vhd_footer_init(
    struct vhd_footer *f, enum vhd_type type, uint64_t size, const uint8_t *id, struct err *e);
void vhd_header_init(struct vhd_header *h, uint64_t table, uint32_t entries, uint32_t block_size);
/* Another size, with the geometry that goes with it. */
void vhd_footer_resize(struct vhd_footer *f, uint64_t size);
/* Cylinders << 16 | heads << 8 | sectors per track. */
uint32_t vhd_geometry(uint64_t size);

/* --- vhd_text.c: UTF-16 in images ------------------------------------------------------------------- */

/* To UTF-8, cut where out is full; stops at a zero. What is no character becomes U+FFFD, control characters
 * '?'. len: bytes, odd ones are ignored. */
void vhd_from_utf16(const uint8_t *in, size_t len, bool big, char *out, size_t size);
/* Bytes written, without a final zero; -EILSEQ, -ENAMETOOLONG. '/' becomes '\\'. */
int vhd_to_utf16(const char *text, bool big, uint8_t *out, size_t size);

/* --- vhd_layout.c: what lies where in a file ------------------------------------------------------- */

/* What was not as it should be, and was put right in memory. */
enum {
	VHD_NO_TRAILER = 1,    /* the last footer is missing or damaged: the copy was used */
	VHD_NO_COPY = 2,       /* the copy at 0 is missing or damaged */
	VHD_COPY_DIFFERS = 4,  /* both are valid: the last counts */
	VHD_OLD_TRAILER = 8,   /* it has 511 bytes */
	VHD_SLACK = 16,        /* there is space between what is used and the last footer */
	VHD_LOST_TRAILER = 32, /* fixed: behind the footer are zeros, which it was to move over */
};

struct vhd {
	struct disk_file *file;
	struct vhd_footer footer;
	struct vhd_header header; /* below: all but fixed */
	uint64_t file_size;
	unsigned faults;    /* VHD_NO_TRAILER ... */
	uint64_t trailer;   /* where the last footer is, or would have to be if it is missing */
	uint32_t blocks;    /* that the size needs; the table may have more */
	uint32_t allocated; /* entries that are not absent */
	uint32_t *table;    /* header.entries, as in the file (big-endian), whole sectors */
	uint32_t bitmap;    /* bytes of a block's bitmap in the file */
	uint64_t end;       /* behind everything that is used */
	bool tight;         /* blocks lie one behind the other, unaligned: else they would not all fit */
};

/* Everything in the file that says where something is, checked. A file that may be written is flushed first.
 * On failure nothing is left to free. */
int vhd_load(struct vhd *v, struct disk_file *f, struct err *e);
/* The same without looking at blocks one by one: they may lie anywhere, overlap, or be cut off. For check. */
int vhd_load_loosely(struct vhd *v, struct disk_file *f, struct err *e);
void vhd_unload(struct vhd *v);
/* v->end and v->allocated, from the table as it is now. */
void vhd_recount(struct vhd *v);

uint32_t vhd_entry(const struct vhd *v, uint32_t block); /* sector or VHD_ABSENT */
void vhd_set_entry(struct vhd *v, uint32_t block, uint32_t sector);
uint64_t vhd_table_bytes(uint32_t entries); /* in the file: whole sectors */
/* A block in the file: its bitmap and its data. */
static inline uint64_t
vhd_span(const struct vhd *v)
{
	return (uint64_t)v->bitmap + v->header.block_size;
}
/* The first offset from `at` where a block can be put, so that its data is aligned. */
uint64_t vhd_place(const struct vhd *v, uint64_t at);
/* From one place to the next. */
uint64_t vhd_stride(const struct vhd *v);
uint32_t vhd_bitmap_bytes(uint32_t block_size);

/* What in the file is no block: in no order. */
struct vhd_extent {
	uint64_t at, len;
	const char *what;
};
enum { VHD_FIXTURES = VHD_LOCATORS + 3 };
unsigned vhd_fixtures(const struct vhd *v, struct vhd_extent out[VHD_FIXTURES]);

/* Allocated blocks by where they are: sector << 32 | block; v->allocated of them. The caller frees. NULL: no
 * memory. */
uint64_t *vhd_sorted(const struct vhd *v);

/* For whatever changes a file: loads it, refuses what must not be changed, and writes what was missing: so
 * that it is without faults. Durable when it returns. */
int vhd_load_to_change(struct vhd *v, struct disk_file *f, struct err *e);
/* The parts of it. -EROFS. */
int vhd_may_change(const struct vhd *v, struct err *e);
int vhd_mend(struct vhd *v, struct err *e);
/* Puts the last footer behind what is used, and makes the file that long. Durable. v->end must be right. */
int vhd_cut(struct vhd *v, struct err *e);
/* Makes room: the last footer is at `at` or behind it afterwards, durable. */
int vhd_extend(struct vhd *v, uint64_t at, struct err *e);
/* v->footer to both of its places, the last first, each durable. */
int vhd_write_footers(struct vhd *v, struct err *e);
/* The sector of the table with that block's entry. */
int vhd_write_entry(struct vhd *v, uint32_t block, struct err *e);

/* --- vhd_lost.c: a fixed disk's footer that is not at the end ------------------------------------------ */

/* Fills in footer, trailer and faults; v->file_size bytes are looked at. */
bool vhd_find_lost(struct vhd *v);
/* A fixed disk's file ends behind its footer. Durable. */
int vhd_cut_fixed(struct vhd *v, struct err *e);

/* --- vhd_blocks.c ------------------------------------------------------------------------------------ */

/* 1: nothing is in the block from that sector on (in a child: no sector is here); 0; -errno. */
int vhd_is_blank(const struct vhd *v, uint32_t block, uint32_t from, struct err *e);
/* The bitmap and the data to another place; not durable, and the table stays. */
int vhd_copy_block(struct vhd *v, uint32_t block, uint64_t to, struct err *e);
/* With the table, all durable. */
int vhd_move_block(struct vhd *v, uint32_t block, uint64_t to, struct err *e);

/* --- The files of whole operations ------------------------------------------------------------------ */

/* On success v is the disk's. */
int vhd_live_open(struct disk **out, const struct disk_open *how, struct vhd *v, struct err *e);
int vhd_create(
    struct disk_file *f, const struct disk_create *how, const struct disk_progress *p, struct err *e);
int vhd_check(struct disk_file *f, struct disk_check *c, const struct disk_progress *p, struct err *e);
int vhd_resize(struct disk_file *f, uint64_t size, const struct disk_progress *p, struct err *e);
int vhd_compact(struct disk_file *f, const struct disk_progress *p, struct err *e);
int vhd_relink(struct disk_file *f, const struct disk_info *parent, const char *relative,
    const char *absolute, struct err *e);
int vhd_set(struct disk_file *f, const uint8_t *id, uint32_t physical, struct err *e);

/* Whether a parent's two paths and name fit: the locators' strings, to be written at `at`, where there is
 * room for VHD_STRINGS bytes; fills in h. len: how many bytes. */
enum { VHD_STRINGS = 2 * 2048 };
int vhd_locate(struct vhd_header *h, const struct disk_info *parent, const char *relative,
    const char *absolute, uint64_t at, uint8_t strings[VHD_STRINGS], struct err *e);

#endif
