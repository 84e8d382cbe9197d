/* agent/methods_disk.c - what can be asked about the disks and DVD drives of machines: one table. */
#include <stddef.h>

#include "agent/disk_calls.h"
#include "agent/disk_file.h"
#include "agent/disk_image.h"
#include "agent/method.h"

#define MAX_SIZE (64ull << 40) /* as of a VHDX */
enum { RESTART_MAX = 2 };

/* --- parameters and results --------------------------------------------------------------------------- */

struct disk_result {
	uint64_t controller, lun, size, revision;
	char path[VM_DISK_PATH_SIZE];
	unsigned effect;
	size_t restarts;
	char restart[RESTART_MAX][16];
	bool closed;
};

/* clang-format off */
#define TEXT(s, m) .type = FIELD_STRING, FIELD_AT(s, m), .size = sizeof(((struct s *)0)->m), .max = sizeof(((struct s *)0)->m) - 1
#define UINT(s, m) .type = FIELD_UINT, FIELD_AT(s, m)
#define VM { "vm", TEXT(disk_params, vm), .min = 1, .required = true, .help = "Name or id of the machine." }
#define LUN .type = FIELD_UINT, FIELD_AT(disk_params, lun), .max = VM_CONTROLLER_UNITS - 1
#define CONTROLLER { "controller", UINT(disk_params, controller), .max = VM_MAX_CONTROLLERS - 1, .help = "Storage controller." }
#define LIMITS \
	{ "minimumIops", UINT(disk_params, min_iops), .max = VM_MAX_IOPS, \
	  .help = "Operations a second, of 8 KiB each, below which the disk is reported as slow. 0: none." }, \
	{ "maximumIops", UINT(disk_params, max_iops), .max = VM_MAX_IOPS, .help = "Operations a second, of 8 KiB each, at most. 0: no limit." }, \
	{ "maximumBytesPerSecond", UINT(disk_params, max_bytes), .max = VM_MAX_BYTES, .unit = "bytes", .help = "At most. 0: no limit." }
#define READ_ONLY(h) { "readOnly", FIELD_BOOL, FIELD_AT(disk_params, read_only), .help = h }
#define PAUSE { "pauseWhenFull", FIELD_BOOL, FIELD_AT(disk_params, pause_when_full), \
	.help = "When there is no space for a write the machine is paused; else its guest gets an error." }
#define OVERCOMMIT { "overcommit", FIELD_BOOL, FIELD_AT(disk_params, overcommit), \
	.help = "Though the data disk has less room than that now." }

static const struct field add_params[] = {
	VM,
	{ "size", UINT(disk_params, size), .min = DISK_FILE_LEAST, .max = MAX_SIZE, .unit = "bytes",
	  .help = "Of a new disk in the machine's folder, in whole MiB. It takes room as it is written." },
	{ "name", TEXT(disk_params, name), .min = 1, .help = "What the new disk's file is called; diskN.vhdx, or as its format is, if it is not given." },
	{ "path", TEXT(disk_params, path), .min = 1, .unit = "path",
	  .help = "Instead of size: a disk that is there. images/NAME, ./disks/NAME, or a block device /dev/NAME." },
	{ "format", FIELD_ENUM, FIELD_AT(disk_params, format), .names = vm_disk_formats,
	  .help = "Of the file. Without it, of one that is there and of a new one with a name: .vhd, .avhd, .vhdx, .avhdx, all else is raw; of a new one "
	      "without: its parent's, or VHDX." },
	{ "type", FIELD_ENUM, FIELD_AT(disk_params, type), .names = image_types,
	  .help = "Of a new disk. Dynamic takes room as it is written, Fixed at once, Differencing keeps what differs from its parent." },
	{ "parent", TEXT(disk_params, parent), .min = 1, .unit = "path",
	  .help = "Of a new differencing disk: images/NAME or ./disks/NAME. It must not be written any more." },
	{ "blockSize", UINT(disk_params, block_size), .max = 256 << 20, .unit = "bytes", .help = "Of a new dynamic disk; 0: its format's own choice." },
	{ "physicalSectorSize", UINT(disk_params, physical), .max = 4096, .unit = "bytes", .help = "Of a new VHDX: 512 or 4096; 0: 4096." },
	CONTROLLER,
	{ "lun", LUN, .help = "Its place on the controller; the first that is free if it is not given." },
	READ_ONLY("The guest cannot write. Several machines may read one disk."),
	{ "sectorSize", UINT(disk_params, sector), .min = 512, .max = 4096, .unit = "bytes", .help = "Of the sectors that the guest sees: 512 or 4096. A VHD or VHDX that is there says itself." },
	{ "serialNumber", TEXT(disk_params, serial), .help = "As the guest reads it; derived from the machine's id and the place if it is empty." },
	PAUSE,
	LIMITS,
	OVERCOMMIT,
	{ 0 }
};
static const struct field vm_params[] = { VM, { 0 } };
static const struct field set_params[] = {
	VM,
	{ "lun", LUN, .required = true, .help = "Its place on the controller." },
	CONTROLLER,
	LIMITS,
	PAUSE,
	READ_ONLY("The guest cannot write. Only while the machine is off."),
	{ 0 }
};
static const struct field remove_params[] = {
	VM,
	{ "lun", LUN, .required = true, .help = "Its place on the controller." },
	CONTROLLER,
	{ "deleteFile", FIELD_BOOL, FIELD_AT(disk_params, delete_file), .help = "Deletes its file in the machine's folder, too." },
	{ 0 }
};
static const struct field resize_params[] = {
	VM,
	{ "lun", LUN, .required = true, .help = "Its place on the controller." },
	{ "size", UINT(disk_params, size), .required = true, .min = DISK_FILE_LEAST, .max = MAX_SIZE, .unit = "bytes",
	  .help = "Its new size, in whole MiB: more than it has." },
	CONTROLLER,
	OVERCOMMIT,
	{ 0 }
};
static const struct field branch_params[] = {
	VM,
	{ "lun", LUN, .required = true, .help = "Its place on the controller." },
	CONTROLLER,
	{ "name", TEXT(disk_params, name), .min = 1, .help = "What the new image's file in the machine's folder is called; diskN, as its format is, if nothing is given." },
	{ "path", TEXT(disk_params, path), .min = 1, .unit = "path", .help = "Instead of name: where its file is to be, images/NAME or ./disks/NAME." },
	OVERCOMMIT,
	{ 0 }
};
static const struct field merge_params[] = {
	VM,
	{ "lun", LUN, .required = true, .help = "Its place on the controller." },
	CONTROLLER,
	{ "levels", UINT(disk_params, levels), .min = 1, .max = VM_CHAIN_MAX,
	  .help = "How many images are merged, the disk's own first; the next one takes what they have, and is the disk then." },
	{ "delete", FIELD_BOOL, FIELD_AT(disk_params, delete_file), .help = "Deletes the files of those that are merged." },
	{ 0 }
};
static const struct field dvd_add_params[] = {
	VM,
	{ "path", TEXT(disk_params, path), .unit = "path", .help = "The disc in it: images/NAME. None if it is not given." },
	CONTROLLER,
	{ "lun", LUN, .help = "Its place on the controller; the first that is free if it is not given." },
	{ 0 }
};
static const struct field dvd_set_params[] = {
	VM,
	{ "path", TEXT(disk_params, path), .required = true, .unit = "path", .help = "The disc: images/NAME. Empty: none is in it." },
	CONTROLLER,
	{ "lun", LUN, .help = "Its place; the machine's only drive if it is not given." },
	{ "force", FIELD_BOOL, FIELD_AT(disk_params, force), .help = "Though the guest has locked the drive." },
	{ 0 }
};
static const struct field dvd_remove_params[] = {
	VM,
	CONTROLLER,
	{ "lun", LUN, .help = "Its place; the machine's only drive if it is not given." },
	{ 0 }
};

#define PLACE \
	{ "controller", UINT(disk_result, controller), .max = VM_MAX_CONTROLLERS - 1, .help = "Storage controller." }, \
	{ "lun", UINT(disk_result, lun), .max = VM_CONTROLLER_UNITS - 1, .help = "Place on the controller." }, \
	{ "path", TEXT(disk_result, path), .unit = "path", .help = "Its file or block device; empty: none." }
#define EFFECT \
	{ "effect", FIELD_ENUM, FIELD_AT(disk_result, effect), .names = disk_effects, \
	  .help = "Now: the running machine has it so. NextStart: from its next start on." }, \
	{ "revision", UINT(disk_result, revision), .max = INT64_MAX, .help = "Of the machine's settings; for ifMatch." }
static const struct field place_result[] = { PLACE, EFFECT, { 0 } };
static const struct field size_result[] = {
	PLACE,
	{ "size", UINT(disk_result, size), .max = INT64_MAX, .unit = "bytes", .help = "Its size." },
	EFFECT, { 0 }
};
static const struct field set_result[] = {
	PLACE, EFFECT,
	{ "restart", FIELD_STRINGS, FIELD_AT(disk_result, restart), .max = RESTART_MAX, .size = 16,
	  .count_offset = offsetof(struct disk_result, restarts), .help = "What takes effect at the machine's next start all the same." },
	{ 0 }
};
static const struct field remove_result[] = {
	PLACE, EFFECT,
	{ "closed", FIELD_BOOL, FIELD_AT(disk_result, closed),
	  .help = "Whether its file is closed. If not, requests to it go on, and it is as soon as they end." },
	{ 0 }
};
/* clang-format on */

static void
defaults(void *params)
{
	struct disk_params *p = params;

	p->lun = UINT64_MAX; /* none: see where it is looked for */
	p->sector = 512;
	p->levels = 1;
	p->type = IMAGE_DYNAMIC;
	p->pause_when_full = true;
}

/* --- the table ---------------------------------------------------------------------------------------- */

#define FAULTS(...)                                                                                         \
	(const enum fault_code[])                                                                           \
	{                                                                                                   \
		FAULT_VM_NOT_FOUND, FAULT_VM_WRONG_STATE, FAULT_VM_DOCUMENT_BAD, __VA_ARGS__,               \
		    FAULT_VM_WORKER_LOST, FAULT_VM_WORKER_FAILED, FAULT_NO_SPACE, FAULT_STORAGE, FAULT_NONE \
	}
#define PARAMS(table) .params = table, .params_size = sizeof(struct disk_params), .defaults = defaults
#define CHANGE        .path = "/vm/{vm}", .flags = METHOD_CHANGES | METHOD_WAITS
#define LOOK          .path = "/vm/{vm}", .flags = METHOD_WAITS

/* clang-format off */
const struct rpc_method methods_disk[] = {
	{ .name = "disk.add", .help = "Gives a machine a disk, also while it runs: a new one of some size, or one that is there. "
	      "New ones are dynamic VHDX files if nothing else is said.",
	  CHANGE, .role = ROLE_ADMINISTRATOR, PARAMS(add_params), .result = place_result,
	  .faults = FAULTS(FAULT_DISK_EXISTS, FAULT_DISK_IN_USE, FAULT_FILE_NOT_FOUND, FAULT_FILE_BAD, FAULT_LIMIT),
	  .example = "disk.add(\"web1\", {size=\"20G\"})", .call = disk_call_add },
	{ .name = "disk.list", .help = "The disks and DVD drives of a machine, and what its guest does with them.", LOOK, .role = ROLE_VIEWER,
	  PARAMS(vm_params), .result = disk_view_result, .faults = (const enum fault_code[]){ FAULT_VM_NOT_FOUND, FAULT_NONE },
	  .example = "disk.list(\"web1\")", .call = disk_call_list },
	{ .name = "disk.set", .help = "Changes the limits of a disk, also while the machine runs, and what else can be said of it.", CHANGE,
	  .role = ROLE_ADMINISTRATOR, PARAMS(set_params), .result = set_result, .faults = FAULTS(FAULT_DISK_NOT_FOUND),
	  .example = "disk.set(\"web1\", 0, {maximumIops=500})", .call = disk_call_set },
	{ .name = "disk.remove", .help = "Takes a disk, or DVD drive, from a machine, also while it runs: as if it were pulled. Its file stays unless deleteFile is given.",
	  CHANGE, .destroys = "deleteFile", .role = ROLE_ADMINISTRATOR, PARAMS(remove_params), .result = remove_result,
	  .faults = FAULTS(FAULT_DISK_NOT_FOUND, FAULT_DISK_IN_USE), .example = "disk.remove(\"web1\", 1)", .call = disk_call_remove },
	{ .name = "disk.resize", .help = "Makes a disk larger, also while the machine runs (a VHD or VHDX: while it is off); its guest then sees more space. Of a block device that has "
	      "grown, give the size that it has.",
	  CHANGE, .role = ROLE_ADMINISTRATOR, PARAMS(resize_params), .result = size_result,
	  .faults = FAULTS(FAULT_DISK_NOT_FOUND, FAULT_DISK_IN_USE, FAULT_FILE_NOT_FOUND, FAULT_FILE_BAD),
	  .example = "disk.resize(\"web1\", 0, \"40G\")", .call = disk_call_resize },
	{ .name = "disk.branch", .help = "Makes a differencing image on a disk, VHD or VHDX, and has it as the disk, also while the machine runs: from now on what "
	      "is written goes there, and the image below stays as it is.",
	  CHANGE, .role = ROLE_ADMINISTRATOR, PARAMS(branch_params), .result = place_result,
	  .faults = FAULTS(FAULT_DISK_NOT_FOUND, FAULT_DISK_EXISTS, FAULT_DISK_IN_USE, FAULT_FILE_NOT_FOUND, FAULT_FILE_BAD, FAULT_FOLDER_NOT_FOUND, FAULT_LIMIT),
	  .example = "disk.branch(\"web1\", 0)", .call = disk_call_branch },
	{ .name = "disk.merge", .help = "Puts what the uppermost images of a disk hold into the one below them, also while the machine runs: that one is the disk then.",
	  .path = "/vm/{vm}", .flags = METHOD_CHANGES | METHOD_JOB, .destroys = "delete", .role = ROLE_ADMINISTRATOR, PARAMS(merge_params), .result = place_result,
	  .faults = FAULTS(FAULT_DISK_NOT_FOUND, FAULT_DISK_IN_USE, FAULT_FILE_NOT_FOUND, FAULT_FILE_BAD, FAULT_FILE_IN_USE),
	  .example = "disk.merge{vm=\"web1\", lun=0, delete=true, confirm=true}", .call = disk_call_merge },
	{ .name = "dvd.add", .help = "Gives a machine a DVD drive, also while it runs.", CHANGE, .role = ROLE_ADMINISTRATOR, PARAMS(dvd_add_params),
	  .result = place_result, .faults = FAULTS(FAULT_DISK_EXISTS, FAULT_DISK_IN_USE, FAULT_FILE_NOT_FOUND, FAULT_FILE_BAD, FAULT_LIMIT),
	  .example = "dvd.add(\"web1\", {path=\"images/tools.iso\"})", .call = dvd_call_add },
	{ .name = "dvd.list", .help = "The DVD drives of a machine.", LOOK, .role = ROLE_VIEWER, PARAMS(vm_params), .result = disk_view_result,
	  .faults = (const enum fault_code[]){ FAULT_VM_NOT_FOUND, FAULT_NONE }, .example = "dvd.list(\"web1\")", .call = dvd_call_list },
	{ .name = "dvd.set", .help = "Puts a disc into a drive, or takes it out, also while the machine runs.", CHANGE, .role = ROLE_OPERATOR,
	  PARAMS(dvd_set_params), .result = place_result,
	  .faults = FAULTS(FAULT_DISK_NOT_FOUND, FAULT_DISK_LOCKED, FAULT_DISK_IN_USE, FAULT_FILE_NOT_FOUND, FAULT_FILE_BAD),
	  .example = "dvd.set(\"web1\", \"images/tools.iso\")", .call = dvd_call_set },
	{ .name = "dvd.remove", .help = "Takes a DVD drive from a machine, also while it runs.", CHANGE, .role = ROLE_ADMINISTRATOR,
	  PARAMS(dvd_remove_params), .result = remove_result, .faults = FAULTS(FAULT_DISK_NOT_FOUND),
	  .example = "dvd.remove(\"web1\")", .call = dvd_call_remove },
	{ 0 }
};
/* clang-format on */
