/* agent/methods_vhd.c - what can be asked about disk images, attached or not: one table. */
#include <stddef.h>

#include "agent/vhd_calls.h"

#define MAX_SIZE (64ull << 40) /* of a VHDX */

struct vhd_result {
	char path[VM_DISK_PATH_SIZE];
};

/* clang-format off */
#define TEXT(s, m) .type = FIELD_STRING, FIELD_AT(s, m), .size = sizeof(((struct s *)0)->m), .max = sizeof(((struct s *)0)->m) - 1
#define UINT(m) .type = FIELD_UINT, FIELD_AT(vhd_params, m)
#define VM { "vm", TEXT(vhd_params, vm), .min = 1, .help = "Name or id of the machine in whose folder it is: ./disks/NAME." }
#define PATH(h) { "path", TEXT(vhd_params, path), .min = 1, .required = true, .unit = "path", .help = h }
#define IMAGE VM, PATH("The image: images/NAME, or ./disks/NAME of the machine."), \
	{ "format", FIELD_ENUM, FIELD_AT(vhd_params, format), .names = vm_disk_formats, \
	  .help = "What it is. Without it by its name: .vhd, .avhd, .vhdx, .avhdx; all else is raw." }
#define SIZE(r, h) { "size", UINT(size), .required = r, .min = DISK_FILE_LEAST, .max = MAX_SIZE, .unit = "bytes", .help = h }
#define TYPE(h) { "type", FIELD_ENUM, FIELD_AT(vhd_params, type), .names = image_types, .help = h }
#define BLOCK { "blockSize", UINT(block_size), .max = 256 << 20, .unit = "bytes", .help = "Of a dynamic or differencing image; 0: its format's own choice." }
#define PHYSICAL(h) { "physicalSectorSize", UINT(physical), .max = 4096, .unit = "bytes", .help = h }
#define FORCE(h) { "force", FIELD_BOOL, FIELD_AT(vhd_params, force), .help = h }
#define DESTINATION \
	{ "destination", TEXT(vhd_params, destination), .min = 1, .required = true, .unit = "path", \
	  .help = "The new image: images/NAME, or ./disks/NAME of the machine." }, \
	{ "destinationFormat", FIELD_ENUM, FIELD_AT(vhd_params, to_format), .names = vm_disk_formats, .help = "Its format; without it by its name." }

static const struct field create_params[] = {
	IMAGE, SIZE(false, "Of the disk; a differencing one has its parent's if it is not given."),
	TYPE("Dynamic takes room as it is written, Fixed at once, Differencing keeps what differs from its parent."),
	{ "parent", TEXT(vhd_params, parent), .min = 1, .unit = "path", .help = "Of a differencing image. It must not be written any more." },
	BLOCK,
	{ "sectorSize", UINT(sector), .max = 4096, .unit = "bytes", .help = "Of the sectors that guests see, of a VHDX: 512 or 4096; 0: 512." },
	PHYSICAL("Of a VHDX: 512 or 4096; 0: 4096."),
	{ 0 }
};
static const struct field image_params[] = { IMAGE, { 0 } };
static const struct field set_params[] = {
	IMAGE,
	{ "parent", TEXT(vhd_params, parent), .min = 1, .unit = "path", .help = "Of a differencing image: where its parent is now." },
	FORCE("Though the parent was changed since the image was made on it, or others are made on the image."),
	{ "id", FIELD_GUID, FIELD_AT(vhd_params, id), .help = "Another identity of the disk as guests see it." },
	{ "newId", FIELD_BOOL, FIELD_AT(vhd_params, new_id), .help = "A new random identity." },
	PHYSICAL("Of a VHDX: 512 or 4096."),
	{ 0 }
};
static const struct field resize_params[] = {
	IMAGE, SIZE(true, "Its new size. Smaller only if nothing is stored behind the new end."),
	FORCE("Though others are made on it."),
	{ 0 }
};
static const struct field convert_params[] = { IMAGE, DESTINATION, TYPE("Dynamic or Fixed."), BLOCK, { 0 } };
static const struct field import_params[] = {
	VM, PATH("What another program wrote: images/NAME, or ./disks/NAME of the machine."),
	{ "source", FIELD_ENUM, FIELD_AT(vhd_params, source), .names = vhd_sources, .required = true, .help = "What it is. It is not guessed." },
	DESTINATION, TYPE("Dynamic or Fixed."), BLOCK, { 0 }
};
static const struct field merge_params[] = {
	IMAGE,
	{ "levels", UINT(levels), .min = 1, .max = VHD_LEVELS_MAX, .help = "How many images are merged, this one first; the next one takes what they have." },
	{ "delete", FIELD_BOOL, FIELD_AT(vhd_params, remove), .help = "Deletes those that are merged." },
	FORCE("Though others are made on them, which do not fit any more then."),
	{ 0 }
};
static const struct field path_result[] = {
	{ "path", TEXT(vhd_result, path), .unit = "path", .help = "The image." }, { 0 }
};
/* clang-format on */

static void
defaults(void *params)
{
	struct vhd_params *p = params;

	p->type = IMAGE_DYNAMIC;
	p->levels = 1;
}

#define FAULTS(...)                                                                                       \
	(const enum fault_code[])                                                                         \
	{                                                                                                 \
		FAULT_VM_NOT_FOUND, FAULT_FILE_NOT_FOUND, FAULT_FILE_BAD, FAULT_DISK_IN_USE, __VA_ARGS__, \
		    FAULT_NOT_SUPPORTED, FAULT_TIMED_OUT, FAULT_STORAGE, FAULT_NONE                       \
	}
#define LOOK_FAULTS   FAULTS(FAULT_VM_DOCUMENT_BAD)
#define PARAMS(table) .params = table, .params_size = sizeof(struct vhd_params), .defaults = defaults
#define AT            .path = "/vm/{vm?}"
#define JOB           AT, .flags = METHOD_CHANGES | METHOD_JOB, .role = ROLE_ADMINISTRATOR, .undo = vhd_undo
#define CHANGE        AT, .flags = METHOD_CHANGES | METHOD_WAITS, .role = ROLE_ADMINISTRATOR

/* clang-format off */
const struct rpc_method methods_vhd[] = {
	{ .name = "vhd.create", .help = "Makes a disk image: VHDX, VHD or raw; dynamic if nothing else is said.", JOB, PARAMS(create_params),
	  .result = path_result, .faults = FAULTS(FAULT_FILE_EXISTS, FAULT_FOLDER_NOT_FOUND, FAULT_NO_SPACE),
	  .example = "vhd.create(\"images/base.vhdx\", {size=\"40G\"})", .call = vhd_call_create },
	{ .name = "vhd.get", .help = "What an image and its parents say of themselves.", AT, .flags = METHOD_WAITS, .role = ROLE_VIEWER,
	  PARAMS(image_params), .result = vhd_get_result, .faults = LOOK_FAULTS,
	  .example = "vhd.get(\"images/base.vhdx\")", .call = vhd_call_get },
	{ .name = "vhd.test", .help = "Looks for damage in an image, and whether its parents are there and fit. Changes nothing.", AT,
	  .flags = METHOD_WAITS, .role = ROLE_OPERATOR, PARAMS(image_params), .result = vhd_test_result, .faults = LOOK_FAULTS,
	  .example = "vhd.test(\"images/base.vhdx\")", .call = vhd_call_test },
	{ .name = "vhd.repair", .help = "Repairs in an image what can be repaired without guessing.", CHANGE, PARAMS(image_params),
	  .result = vhd_test_result, .faults = LOOK_FAULTS, .example = "vhd.repair(\"images/base.vhdx\")", .call = vhd_call_repair },
	{ .name = "vhd.set", .help = "Says where an image's parent is, or gives the disk another identity or physical sector size.", CHANGE,
	  PARAMS(set_params), .result = NULL, .faults = FAULTS(FAULT_FILE_IN_USE, FAULT_LIMIT),
	  .example = "vhd.set(\"images/a.avhdx\", {parent=\"images/base.vhdx\"})", .call = vhd_call_set },
	{ .name = "vhd.resize", .help = "Makes an image larger, or smaller where nothing is stored behind the new end.", JOB, PARAMS(resize_params),
	  .result = path_result, .faults = FAULTS(FAULT_FILE_IN_USE, FAULT_NO_SPACE), .example = "vhd.resize(\"images/base.vhdx\", \"80G\")",
	  .call = vhd_call_resize },
	{ .name = "vhd.convert", .help = "Copies an image with all its parents into a new one of any format and kind.", JOB, PARAMS(convert_params),
	  .result = path_result, .faults = FAULTS(FAULT_FILE_EXISTS, FAULT_FOLDER_NOT_FOUND, FAULT_NO_SPACE),
	  .example = "vhd.convert(\"images/old.vhd\", {destination=\"images/new.vhdx\"})", .call = vhd_call_convert },
	{ .name = "vhd.merge", .help = "Puts what a differencing image holds into its parent. A machine whose disk it was has the parent then.", JOB,
	  .destroys = "delete", PARAMS(merge_params), .result = path_result, .faults = FAULTS(FAULT_FILE_IN_USE, FAULT_NO_SPACE, FAULT_LIMIT),
	  .example = "vhd.merge{vm=\"web1\", path=\"./disks/a.avhdx\", delete=true, confirm=true}", .call = vhd_call_merge },
	{ .name = "vhd.optimize", .help = "Gives back what an image holds of zeros and nothing, and makes its file shorter.", JOB,
	  PARAMS(image_params), .result = path_result, .faults = FAULTS(FAULT_NO_SPACE), .example = "vhd.optimize(\"images/base.vhdx\")",
	  .call = vhd_call_optimize },
	{ .name = "vhd.import", .help = "Copies the disk image of another program, read in a process where it can do no harm, into a new image.", JOB,
	  PARAMS(import_params), .result = path_result, .faults = FAULTS(FAULT_FILE_EXISTS, FAULT_FOLDER_NOT_FOUND, FAULT_NO_SPACE),
	  .example = "vhd.import(\"images/old.vmdk\", {source=\"VMDK\", destination=\"images/new.vhdx\"})", .call = vhd_call_import },
	{ 0 }
};
/* clang-format on */
