/*
 * hypervisor/disk_tool/tool.h - fh-disk: what its commands share. See docs/fh-disk.md.
 *
 * One thread. A command returns 0, an exit status above 0 whose words it has printed, or -errno with a
 * sentence, which main prints.
 */
#ifndef HYPERVISOR_DISK_TOOL_TOOL_H
#define HYPERVISOR_DISK_TOOL_TOOL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/disk/chain.h"
#include "hypervisor/disk/copy.h"
#include "hypervisor/disk/format.h"
#include "lib/err.h"

/* Exit status: what a script can tell apart. */
enum {
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
	STATUS_DAMAGED = 3,
	STATUS_DIFFERS = 4,
	STATUS_IN_USE = 5,
	STATUS_CANCELLED = 130,
};

enum { FOLDERS = 16, DRIVES = 16, ALLOWED = 256, LEVELS_ALL = 0 };

/* What was on the command line; see options.c. */
struct options {
	const char *format, *to, *type, *parent, *parent_format; /* names */
	const char *id, *pattern, *levels, *op, *root;
	bool absolute, sparse, full, force, json, chain, repair, quiet, remove, new_id, unmap, fua, no_close;
	bool read_only, direct, help, confine, progress_json, parent_in_use;
	uint64_t block_size, sector, physical, offset, length, size, stride;
	uint64_t depth, count, seconds, flush_every, seed;
	const char *folder[FOLDERS];
	struct disk_drive drive[DRIVES];
	const char *readable[ALLOWED], *writable[ALLOWED]; /* --confine: files and folders */
	size_t folders, drives, readables, writables;
};

struct tool {
	struct options o;
	struct disk_search search;
	struct disk_progress progress;
	struct io_loop *loop; /* made when it is needed */
	int args;
	char **arg; /* behind the options */
};

struct command {
	const char *name, *synopsis;
	const char *options; /* the long names that it has, apart from those that all have */
	int least, most;     /* arguments; most < 0: any number */
	int (*run)(struct tool *t, struct err *e);
};
extern const struct command commands[]; /* up to a name that is NULL */

/* --- options.c: 0, or STATUS_USAGE when it has said why. Permutes argv. --- */
int options_read(struct tool *t, const struct command *c, int argc, char **argv);

/* --- values.c: "10G", "0x200", "8s"; -EINVAL with a sentence that begins with `what`. --- */
int value_size(const char *text, uint64_t *out, const char *what, struct err *e);
int value_guid(const char *text, uint8_t id[GUID_BYTES], struct err *e);
int value_format(const char *name, int absent, int *out, struct err *e);
/* absent: by the end of the file's name: .vhd, .avhd, .vhdx, .avhdx; else raw. */
int value_new_format(const char *name, const char *path, enum disk_format_id *out, struct err *e);
int value_type(const char *name, enum disk_format_id format, enum disk_type *out, struct err *e);
/* Bytes, repeated; *out is the caller's to free. */
int value_pattern(const char *hex, uint8_t **out, size_t *len, struct err *e);
/* "10 GiB" beside the bytes; a static buffer. */
const char *size_text(uint64_t bytes);
extern const char *const type_names[]; /* by enum disk_type */

/* --- open.c --- */
struct io_loop *tool_loop(struct tool *t, struct err *e);
/* As disk_chain_how has it; the format is that of -f. */
int tool_chain(struct disk_chain **out, struct tool *t, const char *path, const struct disk_chain_how *how,
    struct err *e);
/* The image with its parents as a disk on the tool's loop. The chain is the caller's to free, after the disk.
 */
int tool_disk(
    struct disk **d, struct disk_chain **c, struct tool *t, const char *path, bool write, struct err *e);
/* One image's file, for what changes it as a whole; closed by tool_file_close. */
struct tool_file {
	struct disk_chain *chain;
	struct disk_file *file;
	const struct disk_info *info;
	const struct disk_format *format;
};
int tool_file(struct tool_file *out, struct tool *t, const char *path, bool write, struct err *e);
void tool_file_close(struct tool_file *f);
/* How an image beside `child` (which need not be there) names its parent. */
struct parent_names {
	char relative[PATH_MAX], absolute[PATH_MAX];
};
int tool_parent_names(
    struct tool *t, const char *child, const char *parent, struct parent_names *n, struct err *e);
/* What create, convert and import make, from the options. */
int tool_new(struct tool *t, const char *path, struct disk_new *n, struct err *e);

/* --- children.c: -EBUSY: images beside those of the chain, outside of it, are made on one of [first, into].
 * --- */
int children_none(
    const struct tool *t, const struct disk_chain *c, unsigned first, unsigned into, struct err *e);

/* --- progress.c --- */
void progress_begin(struct tool *t);
void progress_end(void);
bool interrupted(void);

/* --- confine.c: what --confine gives up, before the first byte of an image is read. --- */
int confine(struct tool *t, struct err *e);

/* --- the commands --- */
int cmd_create(struct tool *t, struct err *e);
int cmd_info(struct tool *t, struct err *e);
int cmd_check(struct tool *t, struct err *e);
int cmd_convert(struct tool *t, struct err *e);
int cmd_resize(struct tool *t, struct err *e);
int cmd_compact(struct tool *t, struct err *e);
int cmd_merge(struct tool *t, struct err *e);
int cmd_relink(struct tool *t, struct err *e);
int cmd_set_id(struct tool *t, struct err *e);
int cmd_map(struct tool *t, struct err *e);
int cmd_import(struct tool *t, struct err *e);
int cmd_read(struct tool *t, struct err *e);
int cmd_write(struct tool *t, struct err *e);
int cmd_zero(struct tool *t, struct err *e);
int cmd_discard(struct tool *t, struct err *e);
int cmd_flush(struct tool *t, struct err *e);
int cmd_io(struct tool *t, struct err *e);
int cmd_bench(struct tool *t, struct err *e);

#endif
