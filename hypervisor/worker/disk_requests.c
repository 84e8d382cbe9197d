/* hypervisor/worker/disk_requests.c - what a worker can be asked about its disks. */
#include "hypervisor/worker/disk_requests.h"

#include <string.h>

#include "hypervisor/worker/worker.h"

/* clang-format off */
#define UNIT(m)    FIELD_AT(disk_params, unit.m)
#define STATS(m)   FIELD_AT(unit_report, stats.m), .max = UINT64_MAX
#define CONTROLLER { .name = "Controller", .type = FIELD_UINT, UNIT(controller), .max = MACHINE_MAX_SCSI - 1, \
	.help = "Storage controller." }
#define LUN        { .name = "Lun", .type = FIELD_UINT, .required = true, UNIT(lun), .max = STORAGE_UNITS - 1, \
	.help = "Place on the controller." }
#define LIMITS \
	{ .name = "MinimumIops", .type = FIELD_UINT, UNIT(config.min_iops), .max = 1000000000, \
	  .help = "Operations a second, of 8 KiB each, below which it is told that the disk is slow. 0: none." }, \
	{ .name = "MaximumIops", .type = FIELD_UINT, UNIT(config.max_iops), .max = 1000000000, \
	  .help = "Operations a second, of 8 KiB each, at most. 0: no limit." }, \
	{ .name = "MaximumBytesPerSecond", .type = FIELD_UINT, UNIT(config.max_bytes), .max = 1ull << 50, \
	  .help = "Bytes a second at most. 0: no limit." }

static const struct field parent_fields[] = {
	{ .name = "File", .type = FIELD_FD, .required = true, FIELD_AT(unit_parent, file), .help = "Its file, open for reading." },
	{ 0 }
};
const struct field disk_add_fields[] = {
	CONTROLLER,
	LUN,
	{ .name = "Type", .type = FIELD_ENUM, UNIT(config.kind), .names = unit_kinds, .help = "What the guest sees." },
	{ .name = "Format", .type = FIELD_ENUM, UNIT(format), .names = format_names, .help = "What the file is. Never guessed." },
	{ .name = "File", .type = FIELD_FD, UNIT(file), .help = "Its file or block device; a DVD drive may be empty." },
	{ .name = "Parents", .type = FIELD_LIST, UNIT(parent), .max = DISK_CHAIN_MAX - 1, .size = sizeof(struct unit_parent),
	  .count_offset = offsetof(struct disk_params, unit.parents), .fields = parent_fields,
	  .help = "Of a differencing image: its parent, that one's parent, and so on to the last." },
	{ .name = "ReadOnly", .type = FIELD_BOOL, UNIT(read_only), .help = "The guest cannot write." },
	{ .name = "LogicalSectorSize", .type = FIELD_UINT, UNIT(sector), .min = 512, .max = 4096, .help = "512 or 4096 bytes." },
	{ .name = "SerialNumber", .type = FIELD_STRING, UNIT(config.serial), .max = STORAGE_SERIAL, .size = STORAGE_SERIAL + 1,
	  .help = "As the guest reads it. Derived from the machine's id if empty." },
	{ .name = "PauseWhenFull", .type = FIELD_BOOL, UNIT(config.pause_on_full),
	  .help = "When there is no space for a write the machine is paused, else the guest gets an error." },
	LIMITS,
	{ 0 }
};
const struct field disk_name_fields[] = { CONTROLLER, LUN, { 0 } };
const struct field disk_insert_fields[] = {
	CONTROLLER,
	LUN,
	{ .name = "File", .type = FIELD_FD, UNIT(file), .help = "The medium; without it the drive is emptied." },
	{ .name = "Force", .type = FIELD_BOOL, FIELD_AT(disk_params, force), .help = "Though the guest has locked the drive." },
	{ 0 }
};
const struct field disk_limit_fields[] = { CONTROLLER, LUN, LIMITS, { 0 } };
const struct field disk_resized_fields[] = {
	CONTROLLER,
	LUN,
	{ .name = "SizeInBytes", .type = FIELD_UINT, .required = true, FIELD_AT(disk_params, size), .min = 512, .max = 1ull << 60,
	  .help = "The disk's size now: its file has been grown or shrunk." },
	{ 0 }
};
const struct field disk_branch_fields[] = {
	CONTROLLER,
	LUN,
	{ .name = "File", .type = FIELD_FD, .required = true, UNIT(file),
	  .help = "An empty differencing image that was made on the disk's own, for reading and writing." },
	{ 0 }
};
const struct field disk_merge_fields[] = {
	CONTROLLER,
	LUN,
	{ .name = "Levels", .type = FIELD_UINT, FIELD_AT(disk_params, levels), .min = 1, .max = DISK_CHAIN_MAX - 1,
	  .help = "How many images are merged, the disk's own first; the next one takes what they have." },
	{ .name = "File", .type = FIELD_FD, .required = true, UNIT(file),
	  .help = "That next one, for reading and writing." },
	{ .name = "Above", .type = FIELD_FD, FIELD_AT(disk_params, above),
	  .help = "With Levels above 1: the image right above it, for reading and writing." },
	{ 0 }
};
static const struct field report_fields[] = {
	{ .name = "Controller", .type = FIELD_UINT, FIELD_AT(unit_report, controller), .max = UINT64_MAX, .help = "Storage controller." },
	{ .name = "Lun", .type = FIELD_UINT, FIELD_AT(unit_report, lun), .max = UINT64_MAX, .help = "Place on the controller." },
	{ .name = "Type", .type = FIELD_ENUM, FIELD_AT(unit_report, kind), .names = unit_kinds, .help = "What the guest sees." },
	{ .name = "Reads", .type = FIELD_UINT, STATS(reads), .help = "Requests to read." },
	{ .name = "Writes", .type = FIELD_UINT, STATS(writes), .help = "Requests to write." },
	{ .name = "BytesRead", .type = FIELD_UINT, STATS(read_bytes), .help = "Bytes read." },
	{ .name = "BytesWritten", .type = FIELD_UINT, STATS(written_bytes), .help = "Bytes written." },
	{ .name = "Flushes", .type = FIELD_UINT, STATS(flushes), .help = "Flushes to stable storage." },
	{ .name = "Discards", .type = FIELD_UINT, STATS(discards), .help = "Ranges given back." },
	{ .name = "Errors", .type = FIELD_UINT, STATS(errors), .help = "Requests that failed below." },
	{ .name = "Merge", .type = FIELD_ENUM, FIELD_AT(unit_report, merge), .names = merge_names,
	  .help = "Moving: a merge is under way. Merged: the parent has everything, and waits for disk.merge.complete." },
	{ .name = "MergeAt", .type = FIELD_UINT, FIELD_AT(unit_report, merge_at), .max = UINT64_MAX, .help = "Bytes of the disk that are merged." },
	{ .name = "MergeSize", .type = FIELD_UINT, FIELD_AT(unit_report, merge_size), .max = UINT64_MAX, .help = "Of so many." },
	{ .name = "Throttled", .type = FIELD_UINT, STATS(throttled), .help = "Requests that waited for a limit." },
	{ 0 }
};
const struct field disk_list_fields[] = {
	{ .name = "Disks", .type = FIELD_LIST, FIELD_AT(disk_list, unit), .max = MACHINE_MAX_SCSI * STORAGE_UNITS,
	  .size = sizeof(struct unit_report), .count_offset = offsetof(struct disk_list, n), .fields = report_fields,
	  .help = "Disks and DVD drives." },
	{ 0 }
};
/* clang-format on */

void
disk_defaults(void *params)
{
	struct disk_params *p = params;

	p->unit.file = -1;
	p->above = -1;
	p->levels = 1;
	p->unit.sector = 512;
	p->unit.config.pause_on_full = true;
}

int
do_disk_add(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	struct disk_params *p = params;

	(void)result;
	return disks_add(w->disks, &p->unit, e);
}

int
do_disk_remove(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	struct disk_params *p = params;

	(void)result;
	return disks_remove(w->disks, p->unit.controller, p->unit.lun, e);
}

int
do_disk_insert(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	struct disk_params *p = params;

	(void)result;
	return disks_insert(w->disks, &p->unit, p->force, e);
}

int
do_disk_limit(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	struct disk_params *p = params;

	(void)result;
	return disks_limit(w->disks, &p->unit, e);
}

int
do_disk_resized(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	struct disk_params *p = params;

	(void)result;
	return disks_resized(w->disks, p->unit.controller, p->unit.lun, p->size, e);
}

#define LIVE(what, call)                                                         \
	int do_disk_##what(void *ctx, void *params, void *result, struct err *e) \
	{                                                                        \
		struct worker *w = ctx;                                          \
		struct disk_params *p = params;                                  \
                                                                                 \
		(void)result;                                                    \
		return call;                                                     \
	}
LIVE(branch, disks_branch(w->disks, &p->unit, e))
LIVE(merge, disks_merge(w->disks, &p->unit, p->levels, p->above, e))
LIVE(merge_complete, disks_merge_complete(w->disks, &p->unit, e))
LIVE(merge_cancel, disks_merge_cancel(w->disks, &p->unit, e))

int
do_disk_list(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	struct disk_list *r = result;

	(void)params;
	(void)e;
	r->n = disks_report(w->disks, r->unit, sizeof(r->unit) / sizeof(r->unit[0]));
	return 0;
}
