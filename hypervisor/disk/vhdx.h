/*
 * hypervisor/disk/vhdx.h - VHDX files, as MS-VHDX (version 20240423) has them: private to vhdx*.c. "2.x"
 * below are its sections.
 *
 * All integers in the file are little-endian, as on the only machine that we run on. GUIDs here are in the
 * file's mixed order; vhdx_guid turns them over for everybody else.
 *
 * One struct vhdx is a file that has been read, whatever is done with it. As an open disk it is on its loop's
 * thread, and what has to be read or written goes on without waiting; everything else waits at each step
 * (`blocking`) on the thread of whoever asked.
 *
 *   vhdx_crc.c       checksums
 *   vhdx_header.c    identifier, headers, region tables          vhdx_open.c     opening, closing, what it
 * says vhdx_metadata.c  items, parent locator                       vhdx_create.c   new images vhdx_log.c
 * finding and replaying, building entries     vhdx_check.c    naming and repairing damage vhdx_commit.c
 * writing through the log, waiting            vhdx_change.c   settings, links, identities vhdx_bat.c tables:
 * pages, states, who owns which MiB   vhdx_resize.c   another size vhdx_live.c      image_ops vhdx_compact.c
 * a smaller file
 */
#ifndef HYPERVISOR_DISK_VHDX_H
#define HYPERVISOR_DISK_VHDX_H

#include "hypervisor/disk/format.h"
#include "hypervisor/disk/image.h"

#define VHDX_MIB      UINT64_C(0x100000)
#define VHDX_TIB      (VHDX_MIB << 20)
#define VHDX_FILE_MAX (UINT64_C(256) * VHDX_TIB) /* ours: no image needs more */
#define VHDX_SIZE_MAX (UINT64_C(64) * VHDX_TIB)  /* 2.6.2.2 */

enum {
	VHDX_PAGE = 4096,
	VHDX_HEADER_AT = 64 << 10,  /* and one more of it; 2.2 */
	VHDX_REGION_AT = 192 << 10, /* likewise */
	VHDX_COPY = 64 << 10,       /* between two copies; a region table's size */
	VHDX_HEADERS_END = 1 << 20,
	VHDX_REGIONS_MAX = 2047, /* 2.2.3 */
	VHDX_TABLE = 64 << 10,   /* metadata table; 2.6.1 */
	VHDX_ITEMS_MAX = 2047,
	VHDX_USER_ITEMS_MAX = 1024,
	VHDX_ITEM_MAX = 1 << 20,
	VHDX_LOCATOR_PAIRS = 256, /* ours */
	VHDX_LOG_MAX = 1 << 30,   /* ours */
	VHDX_BLOCK_MIN = 1 << 20, /* 2.6.2.1 */
	VHDX_BLOCK_MAX = 256 << 20,
	VHDX_BITS = 1 << 23, /* sectors that one bitmap block describes; 2.4 */

	VHDX_ENTRIES = VHDX_PAGE / 8,   /* of the block table, a page */
	VHDX_PAGE_BITS = VHDX_PAGE * 8, /* of a bitmap, a page */
	VHDX_BITMAP_PAGES = 256,        /* a bitmap block */
	VHDX_DESCS_FIRST = 126,         /* descriptors in an entry's first sector; 2.3.1 */
	VHDX_DESCS = 128,               /* in the others */
	/*
	 * Pages that one commit may have. Three entries must find room in the smallest ring of 256 sectors:
	 * the one being written, the last, and the one before, whose pages may not be home for good.
	 */
	VHDX_COMMIT_MAX = 84,
	VHDX_COMMIT_CAP = 64, /* where guests have to wait for one */
};

/* --- In the file -----------------------------------------------------------------------------------------
 */

struct vhdx_header { /* 2.2.2 */
	char signature[4];
	uint32_t crc;
	uint64_t sequence;
	uint8_t file_write[GUID_BYTES], data_write[GUID_BYTES], log[GUID_BYTES];
	uint16_t log_version, version;
	uint32_t log_length;
	uint64_t log_offset;
	uint8_t reserved[4016];
};
struct vhdx_region_head { /* 2.2.3.1 */
	char signature[4];
	uint32_t crc, count, reserved;
};
struct vhdx_region { /* 2.2.3.2 */
	uint8_t id[GUID_BYTES];
	uint64_t offset;
	uint32_t length, flags; /* bit 0: required */
};
struct vhdx_meta_head { /* 2.6.1.1 */
	char signature[8];
	uint16_t reserved, count;
	uint32_t reserved2[5];
};
struct vhdx_item { /* 2.6.1.2; offset from the region's start */
	uint8_t id[GUID_BYTES];
	uint32_t offset, length, flags, reserved;
};
enum { ITEM_USER = 1, ITEM_DISK = 2, ITEM_REQUIRED = 4 };
struct vhdx_locator_head { /* 2.6.2.6 */
	uint8_t type[GUID_BYTES];
	uint16_t reserved, count;
};
struct vhdx_locator_pair {
	uint32_t key, value;
	uint16_t key_length, value_length;
};
struct vhdx_log_head { /* 2.3.1.1 */
	char signature[4];
	uint32_t crc, length, tail;
	uint64_t sequence;
	uint32_t count, reserved;
	uint8_t log[GUID_BYTES];
	uint64_t flushed, last; /* sizes of the file */
};
struct vhdx_log_desc { /* 2.3.1.2, 2.3.1.3 */
	char signature[4];
	uint32_t trailing; /* zero: 0 */
	uint64_t leading;  /* zero: length */
	uint64_t offset, sequence;
};

_Static_assert(sizeof(struct vhdx_header) == VHDX_PAGE, "2.2.2");
_Static_assert(sizeof(struct vhdx_region_head) == 16 && sizeof(struct vhdx_region) == 32, "2.2.3");
_Static_assert(sizeof(struct vhdx_meta_head) == 32 && sizeof(struct vhdx_item) == 32, "2.6.1");
_Static_assert(sizeof(struct vhdx_locator_head) == 20 && sizeof(struct vhdx_locator_pair) == 12, "2.6.2.6");
_Static_assert(sizeof(struct vhdx_log_head) == 64 && sizeof(struct vhdx_log_desc) == 32, "2.3.1");

extern const uint8_t vhdx_bat_id[GUID_BYTES], vhdx_metadata_id[GUID_BYTES];

/* An entry of the block table, 2.5.1. */
enum vhdx_state {
	BLOCK_NOT_PRESENT,
	BLOCK_UNDEFINED,
	BLOCK_ZERO,
	BLOCK_UNMAPPED,
	BLOCK_FULL = 6, /* of a bitmap: present */
	BLOCK_PARTIAL,
};
#define ENTRY_STATE    UINT64_C(7)
#define ENTRY_RESERVED UINT64_C(0xffff8)
#define ENTRY_OFFSET   (~UINT64_C(0xfffff))
/* In memory only: the space that an unmapped block has kept is known to read zero. */
#define ENTRY_CLEAN UINT64_C(8)

/* --- In memory -------------------------------------------------------------------------------------------
 */

/* What is known by its GUID in the metadata. */
enum vhdx_item_id {
	ITEM_PARAMETERS,
	ITEM_SIZE,
	ITEM_PAGE83,
	ITEM_LOGICAL,
	ITEM_PHYSICAL,
	ITEM_LOCATOR,
	ITEMS
};

/*
 * A table of pages that are read when they are needed. The block table has address space for all, and memory
 * for what was touched: 8 bytes a block, so 512 MiB for 64 TiB in blocks of 1 MiB, 4 MiB for 1 TiB in blocks
 * of 2 MiB. Of a differencing image's bitmaps VHDX_BITS_MAX pages are in memory, 8 MiB, which speak of 32 GiB
 * (of 256 GiB in sectors of 4096 bytes): who needs another takes the place of the one that came first. That
 * is for each image of a chain; to know what is where 8 bytes more for each page that ever was.
 */
struct vhdx_table {
	uint8_t *pages;
	uint32_t *state; /* PAGE_*, and how many writes hold it */
	uint32_t *slot; /* of bitmaps: which of the pages in memory it is, from 1 on; 0: none. NULL: it is its
			   own number */
	uint64_t count, room; /* pages; those that there is address space for */
};
enum vhdx_table_id { TABLE_BAT, TABLE_BITMAP, TABLES };
/* Far more than can be needed at a time: what commits hold and write, and a block's for each request. */
enum { VHDX_BITS_MAX = 2048 };
enum { PAGE_HERE = 1, PAGE_COMING = 2, PAGE_DIRTY = 4, PAGE_BAD = 8, PAGE_FAILED = 16, PAGE_HOLD = 256 };

/* A page of a table on its way into memory. */
struct vhdx_fetch {
	struct file_op op;
	struct iovec iov;
	struct vhdx *v; /* NULL: free */
	enum vhdx_table_id table;
	uint64_t page;
};
enum { VHDX_FETCHES = 16 };

struct vhdx_ref {
	enum vhdx_table_id table;
	uint64_t page;
};

/* What the log has for a range of the file: a page, or zeros. */
struct vhdx_patch {
	uint64_t offset, length;
	uint8_t *page; /* NULL: zeros */
};
enum { VHDX_PATCHES = 65536 };

struct vhdx_sequence {           /* the active one; 2.3.2 */
	uint32_t first, entries; /* offset in the ring of the first that is to be replayed; their number */
	uint64_t flushed, last;
};

/* Whoever changes the file. Nothing of it is used before the first change. */
struct vhdx_writer {
	enum { WRITER_IDLE, WRITER_BEGINS, WRITER_OPEN } phase;
	bool marked; /* a header may name our log */
	bool data;   /* what guests see changes: a new DataWriteGuid */
	uint8_t file_write[GUID_BYTES], data_write[GUID_BYTES], log[GUID_BYTES];
	uint64_t sequence;         /* of the next entry */
	uint32_t head, last, live; /* in the ring: the next entry, the last, the oldest that a replay needs */
	uint64_t durable;          /* size of the file that is safe */
	uint8_t *entry;            /* VHDX_COMMIT_MAX + 1 sectors */
	uint32_t length;           /* of the entry in there */
	uint64_t size;             /* of the file when it was made */
	unsigned pages;            /* in it */
	uint64_t home[VHDX_COMMIT_MAX];
	struct vhdx_ref dirty[VHDX_COMMIT_MAX];    /* what the next commit has to take */
	struct vhdx_ref captured[VHDX_COMMIT_MAX]; /* what comes back if the one under way fails */
	unsigned dirties, committing;

	/* The loop's thread only. */
	struct file_op op;
	struct iovec iov;
	unsigned step;
	int error; /* why the beginning failed last time */
	struct image_write ring[2], homes[VHDX_COMMIT_MAX];
	bool recorded; /* the commit under way has an entry */
	bool home_failed[VHDX_COMMIT_MAX];
	unsigned homeless; /* homes without room on the host */
};

/* Space at the end of the file. */
struct vhdx_growth {
	struct file_op op;
	struct iovec iov;
	bool under_way;
	uint64_t to;
	int error;
};

/* A block's old space is emptied before it is used again. */
struct vhdx_cleaning {
	struct file_op op;
	bool under_way;
	uint64_t index; /* of the entry */
	int error;
};

struct vhdx {
	struct image image; /* first; an open disk's only */
	struct disk_file *file;
	bool read_only, blocking;
	struct err *err;          /* where a fault's sentence goes */
	struct disk_check *check; /* a check: faults go there, and it goes on */
	uint64_t file_size;

	struct vhdx_header header[2];
	bool header_ok[2];
	unsigned current; /* header */
	bool was_dirty;   /* its log was not empty */
	struct vhdx_patch *patches;
	unsigned n_patches;
	uint64_t replayed; /* what the file would be as long as, once replayed; else file_size */

	bool region_ok[2];
	uint8_t *regions; /* the good region table, VHDX_COPY bytes */
	struct vhdx_region bat, metadata;

	uint8_t *items;  /* metadata table, VHDX_TABLE bytes */
	int item[ITEMS]; /* index in the table, -1: none */
	uint32_t block_size, logical, physical;
	bool fixed, child;
	uint64_t size; /* of the disk */
	uint8_t page83[GUID_BYTES];
	uint8_t *locator; /* the item; NULL: none */
	uint32_t locator_length;

	uint32_t ratio;                   /* blocks a chunk */
	uint64_t blocks, chunks, entries; /* of payload, of bitmaps, of the table */
	struct vhdx_table table[TABLES];
	uint32_t kept[VHDX_BITS_MAX + 1]; /* the bitmaps' pages that are in memory, by slot; 0 is not used */
	uint32_t kept_n, hand;            /* how many slots were ever used; the one that was taken last */
	uint8_t *space;                   /* a bit for each MiB of a file: it has an owner */
	uint64_t next;                    /* space begins here */
	uint64_t need;                    /* the file must be as long */
	unsigned counted;                 /* pages that are dirty or held */
	bool starved;                     /* somebody waits for fewer of them */

	struct vhdx_fetch fetch[VHDX_FETCHES];
	struct vhdx_growth growth;
	struct vhdx_cleaning cleaning;
	struct vhdx_writer w;
};

static inline struct vhdx *
vhdx_of(struct image *i)
{
	return (struct vhdx *)i; /* its first member */
}

static inline uint64_t
round_up(uint64_t n, uint64_t unit) /* a power of two */
{
	return (n + unit - 1) & ~(unit - 1);
}

/* --- vhdx_crc.c: CRC-32C --- */
/* Of a structure whose own checksum, at `field`, counts as zero. */
uint32_t vhdx_crc(const void *p, size_t n, size_t field);
/* In parts: begins with UINT32_MAX, ends with the complement. */
uint32_t vhdx_crc_part(uint32_t crc, const void *p, size_t n);

/* --- vhdx_open.c --- */
/*
 * Reads everything but tables. A dirty log is replayed: in memory if the file is only read, else to the file.
 * v: zeroed but for file, read_only, blocking, err, check. vhdx_drop frees what it took, always.
 */
int vhdx_load(struct vhdx *v);
void vhdx_drop(struct vhdx *v);
/* What is wrong, in words: the error, or a check's finding. Returns -EINVAL. */
int vhdx_fault(struct vhdx *v, enum disk_fault_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Reads what the file holds once its log is replayed. */
int vhdx_get(struct vhdx *v, void *buf, size_t len, uint64_t off);
void vhdx_guid(uint8_t to[GUID_BYTES], const uint8_t from[GUID_BYTES]); /* both ways */
int vhdx_random(void *p, size_t n, struct err *e);

/* disk_ops; idle is vhdx_live.c's. */
int vhdx_disk_extent(struct disk *d, uint64_t offset, uint64_t len, struct extent *x, struct err *e);
int vhdx_disk_close(struct disk *d, struct err *e);
void vhdx_disk_free(struct disk *d);
int vhdx_open(struct disk **out, const struct disk_open *how, struct err *e);
int vhdx_info(struct disk_file *f, struct disk_info *out, struct err *e);

/* --- vhdx_header.c --- */
int vhdx_read_identifier(struct vhdx *v, char creator[64]);
int vhdx_read_headers(struct vhdx *v);
int vhdx_read_regions(struct vhdx *v);
/* The header that follows the current one, for the other place; log: GUID or NULL. */
int vhdx_next_header(struct vhdx *v, struct vhdx_header *h, const uint8_t *log);
uint64_t vhdx_header_place(const struct vhdx *v); /* where it goes */
void vhdx_header_written(struct vhdx *v, const struct vhdx_header *h);
/* Both, waiting. */
int vhdx_update_headers(struct vhdx *v, const uint8_t *log);
/* Checksum of a region table. */
void vhdx_seal_regions(uint8_t *table);

/* --- vhdx_metadata.c --- */
extern const uint8_t vhdx_item_guid[ITEMS][GUID_BYTES];
extern const uint8_t vhdx_locator_type[GUID_BYTES];
int vhdx_read_metadata(struct vhdx *v);
void vhdx_geometry(struct vhdx *v); /* ratio, blocks, ... from size and block size */
uint64_t vhdx_entries_needed(uint64_t size, uint32_t block_size, uint32_t logical, bool child);
uint64_t vhdx_item_at(const struct vhdx *v, enum vhdx_item_id id); /* in the file */

/* --- vhdx_locator.c: 2.6.2.6 --- */
int vhdx_check_locator(struct vhdx *v, const uint8_t *p, uint32_t len);
/* A key's value as UTF-8: 1, 0 there is none. Of a locator that was checked. */
int vhdx_locator_get(const uint8_t *p, uint32_t len, const char *key, char *value, size_t size);
/* A copy with other values: value NULL takes the key out. NULL: no memory, or too long. */
struct vhdx_setting {
	const char *key, *value;
};
uint8_t *vhdx_locator_make(const uint8_t *old, uint32_t old_length, const struct vhdx_setting *set,
    unsigned n, uint32_t *length, struct err *e);
void vhdx_linkage(
    char text[GUID_TEXT + 3], const uint8_t id[GUID_BYTES]); /* "{guid}"; id as guid_format has it */
/* '/' becomes '\', and a relative path begins with a dot. */
int vhdx_windows_path(char *to, size_t size, const char *from, bool relative, struct err *e);

/* --- vhdx_log.c --- */
/* The active sequence of the ring that the current header names. -EINVAL: there is none. */
int vhdx_find_sequence(struct vhdx *v, struct vhdx_sequence *s);
/* To the file, or as patches. The header's GUID stays. */
int vhdx_replay(struct vhdx *v, const struct vhdx_sequence *s);
void vhdx_patch(const struct vhdx *v, uint8_t *buf, uint64_t len, uint64_t off);
/* How the log changes what is at off: its kind; *len becomes what is alike. */
enum vhdx_patched { PATCHED_NOT, PATCHED_ZERO, PATCHED_PAGE };
enum vhdx_patched vhdx_patched(const struct vhdx *v, uint64_t off, uint64_t *len);
/* Makes w.entry of pages (w.pages of them, each already in its sector; w.home). tail: offset in the ring. */
void vhdx_build_entry(struct vhdx *v, uint32_t tail);
/* Turns the sectors of w.entry into the pages again. */
void vhdx_entry_pages(struct vhdx *v);
static inline uint8_t *
vhdx_entry_page(struct vhdx *v, unsigned n)
{
	return v->w.entry + (size_t)(n + 1) * VHDX_PAGE;
}

/* --- vhdx_bat.c --- */
int vhdx_tables_new(struct vhdx *v);
void vhdx_tables_free(struct vhdx *v);
/* Every page of the block table; for what needs all of it, and where it is small. */
int vhdx_read_bat(struct vhdx *v);
static inline uint64_t
vhdx_block_index(const struct vhdx *v, uint64_t block)
{
	return block + block / v->ratio;
}
static inline uint64_t
vhdx_bitmap_index(const struct vhdx *v, uint64_t chunk)
{
	return chunk * (v->ratio + 1) + v->ratio;
}
static inline bool
vhdx_is_bitmap(const struct vhdx *v, uint64_t index)
{
	return index % (v->ratio + 1) == v->ratio;
}
/* A page; -EAGAIN: it is on its way. */
int vhdx_page(struct vhdx *v, enum vhdx_table_id table, uint64_t page, uint8_t **p);
/* Of a new bitmap, which is all zeros in the file. */
void vhdx_new_bits(struct vhdx *v, uint64_t page);
static inline uint8_t *
vhdx_at(const struct vhdx *v, enum vhdx_table_id table, uint64_t page) /* it is here */
{
	const struct vhdx_table *t = &v->table[table];

	return t->pages + (t->slot ? t->slot[page] : page) * VHDX_PAGE;
}
int vhdx_entry(struct vhdx *v, uint64_t index, uint64_t **e);
/* Why an entry cannot be: NULL if it can. */
const char *vhdx_entry_fault(const struct vhdx *v, uint64_t index, uint64_t entry);
/* Bytes that an entry takes in the file from ENTRY_OFFSET on; 0: none. */
uint64_t vhdx_entry_space(const struct vhdx *v, uint64_t index, uint64_t entry);
bool vhdx_space_free(const struct vhdx *v, uint64_t off, uint64_t len);
void vhdx_space_mark(struct vhdx *v, uint64_t off, uint64_t len, bool taken);
/* Headers, log and regions. */
void vhdx_space_fixed(struct vhdx *v);
/* From the tables, all of which are here: what is owned now. The end of the last owner. */
uint64_t vhdx_space_again(struct vhdx *v);
/* 1: that part of the file is all zeros. */
int vhdx_reads_zero(struct vhdx *v, uint64_t off, uint64_t len);
void vhdx_dirty(struct vhdx *v, enum vhdx_table_id table, uint64_t page);
void vhdx_set_entry(struct vhdx *v, uint64_t index, uint64_t value); /* its page is here */
bool vhdx_counted(const struct vhdx *v, enum vhdx_table_id table, uint64_t page);
void vhdx_hold(struct vhdx *v, enum vhdx_table_id table, uint64_t page);
void vhdx_release(struct vhdx *v, enum vhdx_table_id table, uint64_t page);
/* Dirty pages of tables join those that w.entry has; they are clean then. */
void vhdx_collect(struct vhdx *v);
/* A commit failed: they are dirty again. */
void vhdx_uncollect(struct vhdx *v);
/* The bitmap's page and bit of a sector. */
static inline uint64_t
vhdx_bit_page(const struct vhdx *v, uint64_t offset)
{
	return offset / v->logical / VHDX_PAGE_BITS;
}
static inline uint32_t
vhdx_bit(const struct vhdx *v, uint64_t offset)
{
	return (uint32_t)(offset / v->logical % VHDX_PAGE_BITS);
}

/* --- vhdx_map.c: what is where --- */
int vhdx_map(struct vhdx *v, uint64_t offset, uint64_t len, struct extent *x);

/* --- vhdx_live.c --- */
extern const struct image_ops vhdx_image_ops;
int vhdx_writer_new(struct vhdx *v, struct err *e);
/* The steps of a beginning, each a write and a flush. */
enum { BEGIN_SLOT, BEGIN_ENTRY, BEGIN_FIRST, BEGIN_SECOND, BEGIN_STEPS };
/* What a step writes and where; len 0: nothing. Into *h or w.entry. */
int vhdx_begin_step(
    struct vhdx *v, unsigned step, struct vhdx_header *h, struct iovec *what, uint64_t *where);
void vhdx_begin_done(struct vhdx *v, unsigned step, const struct vhdx_header *h);

/* --- vhdx_commit.c: whole changes through the log, waiting --- */
/* The log is opened: from here on a replay will be needed until vhdx_end. data: as in struct vhdx_writer. */
int vhdx_begin(struct vhdx *v, bool data);
/* The page of the file at off, for change; it becomes part of the next commit. */
uint8_t *vhdx_change(struct vhdx *v, uint64_t off);
int vhdx_change_bytes(struct vhdx *v, uint64_t off, const void *p, size_t n);
/* All of it, with dirty pages of tables; safe and at home when it returns. */
int vhdx_commit(struct vhdx *v);
int vhdx_settle_now(struct vhdx *v);
int vhdx_end(struct vhdx *v);
/* For an operation on a whole file: loads it for writing, without a log; frees it, and takes over the error.
 */
int vhdx_take(struct vhdx *v, struct disk_file *f, struct err *e);
int vhdx_give_back(struct vhdx *v, int rc);
static inline bool
vhdx_cancelled(const struct disk_progress *p, const char *phase, uint64_t done, uint64_t total)
{
	return p && p->step && p->step(p->ctx, phase, done, total);
}

/* --- operations --- */
int vhdx_create(
    struct disk_file *f, const struct disk_create *how, const struct disk_progress *p, struct err *e);
/* Space that is really there and was not there before; zeros are written where it cannot just be given. */
int vhdx_real_space(
    struct disk_file *f, uint64_t off, uint64_t len, const struct disk_progress *p, struct err *e);
int vhdx_check(struct disk_file *f, struct disk_check *c, const struct disk_progress *p, struct err *e);
int vhdx_resize(struct disk_file *f, uint64_t size, const struct disk_progress *p, struct err *e);
int vhdx_compact(struct disk_file *f, const struct disk_progress *p, struct err *e);
int vhdx_relink(struct disk_file *f, const struct disk_info *parent, const char *relative,
    const char *absolute, struct err *e);
int vhdx_set(struct disk_file *f, const uint8_t *id, uint32_t physical, struct err *e);
int vhdx_set_parent_id2(struct disk_file *child, const uint8_t *next, struct err *e);
int vhdx_set_data_id(struct disk_file *parent, const uint8_t *next, struct err *e);

#endif
