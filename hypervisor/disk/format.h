/*
 * hypervisor/disk/format.h - the formats: what each can do with a whole image, in one table.
 *
 * All functions block, on the thread that owns the file, and nothing else uses it meanwhile. A file is
 * hostile until its format has read it: every length, offset and count is checked before it is used, memory
 * is bounded by what lies in the file, and messages say what was wrong, at which offset, and what was
 * expected (the caller puts the file's name in front).
 *
 * Whatever changes an image leaves the old state or the new one when the power fails at any point.
 */
#ifndef HYPERVISOR_DISK_FORMAT_H
#define HYPERVISOR_DISK_FORMAT_H

#include "hypervisor/disk/disk.h"
#include "lib/guid.h"

enum disk_format_id { DISK_RAW, DISK_VHD, DISK_VHDX, DISK_FORMATS };
enum disk_type { DISK_FIXED, DISK_DYNAMIC, DISK_DIFFERENCING };

enum {
	DISK_CHAIN_MAX = 128, /* images in a chain */
	DISK_PARENT_PATHS = 4,
	DISK_PATH_MAX = 1024, /* bytes of UTF-8, with the final 0 */
};

/* A path to the parent as an image keeps it; which: "relative_path", "volume_path", "absolute_win32_path"
 * (VHDX), "W2ru", "W2ku", "MacX", "name" (VHD). In Windows' spelling. */
struct disk_parent_path {
	char which[24];
	char path[DISK_PATH_MAX];
};

/* What an image says of itself. */
struct disk_info {
	enum disk_format_id format;
	enum disk_type type;
	uint64_t size;       /* bytes that a guest sees */
	uint64_t file_size;  /* bytes of the file */
	uint64_t allocated;  /* bytes of blocks that have a place in the file */
	uint32_t block_size; /* 0: raw and fixed VHD */
	uint32_t logical, physical;
	uint8_t
	    id[GUID_BYTES]; /* VHD: unique id; VHDX: virtual disk id (page 83), as guid_format prints it */
	uint8_t data_id[GUID_BYTES];    /* what a child must name: VHD: unique id; VHDX: DataWriteGuid */
	char creator[64];               /* UTF-8; control characters replaced */
	uint32_t created;               /* VHD: seconds since 2000; 0 unknown */
	bool dirty;                     /* it was not closed: a log to replay, a trailer to write again */
	bool saved_state;               /* VHD: a machine's saved state goes with it */
	uint8_t parent_id[GUID_BYTES];  /* differencing: the parent's data_id */
	uint8_t parent_id2[GUID_BYTES]; /* a second one that is right too, during a merge; zeros: none */
	unsigned parent_paths;
	struct disk_parent_path parent_path[DISK_PARENT_PATHS];
};

struct disk_create {
	enum disk_type type;
	uint64_t size;                  /* differencing: 0 takes the parent's */
	uint32_t block_size;            /* 0: the format's own choice */
	uint32_t logical, physical;     /* 0: 512, 4096 */
	const struct disk_info *parent; /* differencing */
	const char *parent_relative;    /* UTF-8, '/' or '\\'; at least one of the two */
	const char *parent_absolute;
	const uint8_t *id; /* NULL: random (VHDX differencing: the parent's) */
	bool sparse_fixed; /* a fixed image's space is not taken now */
};

/* What a check has found, worst last. */
enum disk_fault_kind { DISK_NOTE, DISK_REPAIRED, DISK_REPAIRABLE, DISK_DAMAGE };
struct disk_check {
	bool repair; /* what can be repaired without guessing is */
	void (*found)(void *ctx, enum disk_fault_kind kind, const char *text);
	void *ctx;
	unsigned faults[DISK_DAMAGE + 1]; /* how many of each */
	uint64_t blocks, allocated;
};

/* Long work: called now and then; true: stop, and leave the old state (or a whole step less). */
struct disk_progress {
	bool (*step)(void *ctx, const char *phase, uint64_t done, uint64_t total);
	void *ctx;
};

struct disk_open {
	struct disk_file *file; /* the disk's on success, else the caller's as before */
	struct io_loop *loop;
	bool read_only; /* nothing is written: a dirty log is replayed in memory */
	/* Taken over on success. A differencing image needs it, no other may have one. Its identity is
	 * checked by the caller with disk_parent_fits; its sector size here. */
	struct disk *parent;
	uint32_t logical; /* raw only */
	/* For merges: set_data_id has given the image its next identity already, and a child names it:
	 * writing does not change it again. */
	bool keep_data_id;
};

struct disk_format {
	const char *name; /* "Raw", "VHD", "VHDX" */
	int (*open)(struct disk **out, const struct disk_open *how, struct err *e);
	int (*info)(struct disk_file *f, struct disk_info *out, struct err *e);
	/* Into an empty file. Until it has returned, the file is no image of this format. */
	int (*create)(
	    struct disk_file *f, const struct disk_create *how, const struct disk_progress *p, struct err *e);
	/* 0: it was read as far as it could be, and c says what was found; -errno: nothing could be said. */
	int (*check)(struct disk_file *f, struct disk_check *c, const struct disk_progress *p, struct err *e);
	int (*resize)(struct disk_file *f, uint64_t size, const struct disk_progress *p, struct err *e);
	/* Gives back blocks that hold only zeros or nothing, moves the rest together, makes the file shorter.
	 */
	int (*compact)(struct disk_file *f, const struct disk_progress *p, struct err *e);
	/* A differencing image's parent: another path, another identity (both or either; NULL: stays). */
	int (*relink)(struct disk_file *f, const struct disk_info *parent, const char *relative,
	    const char *absolute, struct err *e);
	/* id: the disk's identity that guests see. physical: 0 stays (VHDX). */
	int (*set)(struct disk_file *f, const uint8_t *id, uint32_t physical, struct err *e);
	/*
	 * Before the content of a parent is changed by a merge, though children name its data_id: the child's
	 * second name is `next` (VHDX: parent_linkage2; VHD cannot, and need not: its id stays). Then the
	 * parent's becomes `next`. Both durable when they return.
	 */
	int (*set_parent_id2)(struct disk_file *child, const uint8_t *next, struct err *e);
	int (*set_data_id)(struct disk_file *parent, const uint8_t *next, struct err *e);
};

extern const struct disk_format disk_raw_format, disk_vhd_format, disk_vhdx_format;
/* By enum disk_format_id. */
extern const struct disk_format *const disk_formats[DISK_FORMATS];
/* By name, whatever the case: -1 if there is none. */
int disk_format_by_name(const char *name);
/* For people's tools only, never for a machine's disk: what the file looks like (VHDX by its beginning, VHD
 * by its end or beginning, else raw). */
enum disk_format_id disk_format_guess(struct disk_file *f);
/* Whether `parent` is the one that `child` was made on: identity, format, sector size. */
int disk_parent_fits(const struct disk_info *child, const struct disk_info *parent, struct err *e);

#endif
