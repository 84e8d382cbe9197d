/*
 * sconfig/page_disks.c - the disks and DVD drives of a machine: the list, a new disk, one that is there,
 * drives and discs, removing.
 */
#include <stdio.h>
#include <string.h>

#include "sconfig/checks.h"
#include "sconfig/pages.h"

/* DVD, VHDX, VHD; a raw one is a disk. */
static void
show_type(const json_t *value, const json_t *row, char *out, size_t size)
{
	const char *type = json_string_value(value),
		   *format = json_string_value(json_object_get(row, "format"));
	bool image = format && strcmp(format, "Raw") != 0;

	snprintf(out, size, "%s", !type ? "?" : strcmp(type, "Dvd") == 0 ? "DVD" : image ? format : "disk");
}

/* What is wrong with it stands where its file would. */
static void
show_file(const json_t *value, const json_t *row, char *out, size_t size)
{
	const char *path = json_string_value(value),
		   *problem = json_string_value(json_object_get(row, "problem"));

	snprintf(out, size, "%s%s%s%s", path && path[0] ? path : "(no disc)",
	    json_is_true(json_object_get(row, "readOnly")) && path && path[0] ? ", read only" : "",
	    problem && problem[0] ? ": " : "", problem ? problem : "");
}

static void
show_size(const json_t *value, const json_t *row, char *out, size_t size)
{
	if (json_integer_value(value) > 0)
		show_bytes(value, row, out, size);
	else
		snprintf(out, size, "-");
}

static const struct column disk_columns[] = {
	{ "Place", "place", 5 },
	{ "Type", "type", 4, false, show_type },
	{ "Size", "size", 10, true, show_size },
	{ "On disk", "used", 10, true, show_size },
	{ "File", "path", 0, false, show_file },
	{ 0 },
};

#define IMAGES                                                                  \
	{                                                                       \
		"file.list", "{\"folder\":\"images\"}", "files", "path", "size" \
	}

static const char *const formats[] = { "VHDX", "VHD", "Raw", NULL };
static const char *const types[] = { "Dynamic", "Fixed", NULL };

static const struct item create_items[] = {
	{ "size", ITEM_NUMBER, "Size", "Such as 20G or 500M.", ITEM_REQUIRED, .unit = "bytes", .first = "20G",
	    .check = check_disk_size },
	{ "name", ITEM_TEXT, "File name",
	    "In the machine's folder; without one it is diskN, with its format." },
	{ "overcommit", ITEM_BOOL, "Larger than room",
	    "Though the data disk has less room now. The machine is paused when that is full.",
	    .first = "no" },
	{ "format", ITEM_CHOICE, "Format", "Of its file. VHDX if nothing speaks for another one.",
	    .first = "VHDX", .names = formats },
	{ "type", ITEM_CHOICE, "Type",
	    "Dynamic takes room only as the guest writes, Fixed all of it at once.", .first = "Dynamic",
	    .names = types },
	{ 0 },
};

const struct page page_disk_create = {
	.number = -1,
	.name = "disk-create",
	.title = "New disk",
	.about = "Makes an empty disk in the machine's folder and attaches it; if the machine runs, at once.",
	.kind = PAGE_FORM,
	.flags = PAGE_CREATES,
	.items = create_items,
	.apply = "disk.add",
	.verb = "Create",
	.subject = "vm",
};

static const struct item attach_items[] = {
	{ "path", ITEM_CHOICE, "Image",
	    "A VHDX, VHD or raw image from /data/images, told by its name. The shell takes block devices, "
	    "too.",
	    ITEM_REQUIRED, .source = IMAGES },
	{ "readOnly", ITEM_BOOL, "Read only",
	    "The guest cannot write to it. Several machines may then have it at the same time.",
	    .first = "no" },
	{ 0 },
};

const struct page page_disk_attach = {
	.number = -1,
	.name = "disk-attach",
	.title = "Attach a disk",
	.about = "Attaches a disk image that is there. What the guest writes is written to that file.",
	.kind = PAGE_FORM,
	.flags = PAGE_CREATES,
	.items = attach_items,
	.apply = "disk.add",
	.verb = "Attach",
	.subject = "vm",
};

static const struct item drive_items[] = {
	{ "path", ITEM_CHOICE, "Disc", "An ISO image from /data/images; Backspace empties it: no disc.",
	    .source = IMAGES },
	{ 0 },
};

const struct page page_dvd_add = {
	.number = -1,
	.name = "dvd-add",
	.title = "DVD drive",
	.about = "Gives the machine a DVD drive, with a disc or without.",
	.kind = PAGE_FORM,
	.flags = PAGE_CREATES,
	.items = drive_items,
	.apply = "dvd.add",
	.verb = "Add",
	.subject = "vm",
};

static const struct item insert_items[] = {
	{ "path", ITEM_CHOICE, "Disc", "An ISO image from /data/images.", ITEM_REQUIRED, .source = IMAGES },
	{ "force", ITEM_BOOL, "Though locked", "Though the guest has locked the drive.", .first = "no" },
	{ 0 },
};

const struct page page_dvd_insert = {
	.number = -1,
	.name = "dvd-insert",
	.title = "Insert a disc",
	.about = "Puts a disc into the drive, in the place of what is in it.",
	.kind = PAGE_FORM,
	.flags = PAGE_CREATES,
	.items = insert_items,
	.apply = "dvd.set",
	.verb = "Insert",
	.subject = "vm",
};

static const struct item remove_items[] = {
	{ "deleteFile", ITEM_BOOL, "Delete its file", "Its file in the machine's folder, for good.",
	    .first = "no" },
	{ 0 },
};

const struct page page_disk_remove = {
	.number = -1,
	.name = "disk-remove",
	.title = "Remove a disk or drive",
	.about = "Takes the disk or DVD drive from the machine; if the machine runs, as if it were pulled: "
		 "the guest "
		 "should have unmounted it.",
	.kind = PAGE_FORM,
	.flags = PAGE_CREATES | PAGE_DESTRUCTIVE,
	.items = remove_items,
	.apply = "disk.remove",
	.verb = "Remove",
	.confirm = "A file that is deleted is gone for good.",
	.subject = "vm",
};

static const struct item child_items[] = {
	{ "parent", ITEM_CHOICE, "Parent",
	    "A VHDX or VHD from /data/images, which must not be written any more.", ITEM_REQUIRED,
	    .source = IMAGES },
	{ "name", ITEM_TEXT, "File name",
	    "In the machine's folder; without one it is diskN, with its format." },
	{ 0 },
};

const struct page page_disk_child = {
	.number = -1,
	.name = "disk-child",
	.title = "Disk on a parent",
	.about = "Makes a disk that begins with what an image has, and keeps only what is written to it.",
	.kind = PAGE_FORM,
	.flags = PAGE_CREATES,
	.items = child_items,
	.apply = "disk.add",
	.verb = "Create",
	.subject = "vm",
};

static const struct item grow_items[] = {
	{ "size", ITEM_NUMBER, "New size", "Such as 40G: more than it has.", ITEM_REQUIRED, .unit = "bytes",
	    .check = check_disk_size },
	{ 0 },
};

const struct page page_disk_grow = {
	.number = -1,
	.name = "disk-grow",
	.title = "Make a disk larger",
	.about = "The guest then sees more space. A VHD or VHDX only while the machine is off.",
	.kind = PAGE_FORM,
	.flags = PAGE_CREATES,
	.items = grow_items,
	.apply = "disk.resize",
	.verb = "Resize",
	.subject = "vm",
};

static const struct item convert_items[] = {
	{ "destination", ITEM_TEXT, "New image", "Such as images/copy.vhdx: .vhdx, .vhd, all else is raw.",
	    ITEM_REQUIRED },
	{ "type", ITEM_CHOICE, "Type", "Dynamic takes room only as it is written, Fixed all of it at once.",
	    .first = "Dynamic", .names = types },
	{ 0 },
};

const struct page page_disk_convert = {
	.number = -1,
	.name = "disk-convert",
	.title = "Copy a disk",
	.about = "Copies what the disk has, with all its parents, into a new image of any format.",
	.kind = PAGE_FORM,
	.flags = PAGE_CREATES,
	.items = convert_items,
	.apply = "vhd.convert",
	.verb = "Copy",
	.subject = "vm",
};

static const struct item branch_items[] = {
	{ "name", ITEM_TEXT, "File name",
	    "In the machine's folder; without one it is diskN, with its format." },
	{ "overcommit", ITEM_BOOL, "Larger than room",
	    "Though the data disk has less room now. The machine is paused when that is full.",
	    .first = "no" },
	{ 0 },
};

const struct page page_disk_branch = {
	.number = -1,
	.name = "disk-branch",
	.title = "Put a child on a disk",
	.about =
	    "Makes an image that keeps what is written from now on, and has it as the disk; if the machine "
	    "runs, at once. The image below stays as it is, until they are merged.",
	.kind = PAGE_FORM,
	.flags = PAGE_CREATES,
	.items = branch_items,
	.apply = "disk.branch",
	.verb = "Create",
	.subject = "vm",
};

static const struct item merge_items[] = {
	{ "levels", ITEM_NUMBER, "Images",
	    "How many are merged, the disk's own first, into the one below them.", ITEM_REQUIRED,
	    .first = "1" },
	{ "delete", ITEM_BOOL, "Delete them then", "The files of those that are merged, for good.",
	    .first = "yes" },
	{ 0 },
};

const struct page page_disk_merge = {
	.number = -1,
	.name = "disk-merge",
	.title = "Merge a disk into its parent",
	.about =
	    "Puts what a differencing disk holds into its parent, which the machine has then; also while it "
	    "runs. Cancelled, the disk is what it was.",
	.kind = PAGE_FORM,
	.flags = PAGE_CREATES | PAGE_DESTRUCTIVE,
	.items = merge_items,
	.apply = "disk.merge",
	.verb = "Merge",
	.confirm = "What else was made on that parent does not fit it any more.",
	.subject = "vm",
};

static void
show_ok(const json_t *value, const json_t *doc, char *out, size_t size)
{
	(void)doc;
	snprintf(out, size, "%s", json_is_true(value) ? "whole" : "damaged");
}

static const struct item test_items[] = {
	{ "ok", ITEM_FACT, "The image is", "Whether any damage was found.", .show = show_ok },
	{ "damages", ITEM_FACT, "Damaged places", "Nothing but a copy of the data helps against these." },
	{ "repairable", ITEM_FACT, "Repairable places", "vhd repair in the shell repairs these." },
	{ "notes", ITEM_FACT, "Notes", "What is worth knowing and no damage; vhd test in the shell tells." },
	{ 0 },
};

const struct page page_disk_test = {
	.number = -1,
	.name = "disk-test",
	.title = "Test a disk's image",
	.about = "Reads all tables of the image, while nobody uses it, and counts what is damaged. Changes "
		 "nothing.",
	.kind = PAGE_FACTS,
	.items = test_items,
	.load = "vhd.test",
	.subject = "vm",
};

static void
show_parents(const json_t *value, const json_t *doc, char *out, size_t size)
{
	size_t n = json_array_size(value), len = 0;

	(void)doc;
	snprintf(out, size, "nothing: it is a whole image");
	for (size_t i = 1; i < n && len < size; i++) {
		const char *path = json_string_value(json_object_get(json_array_get(value, i), "path"));

		len += (size_t)snprintf(
		    out + len, size - len, "%s%s", i > 1 ? ", on " : "", path ? path : "?");
	}
}

static void
show_user(const json_t *value, const json_t *doc, char *out, size_t size)
{
	const char *who = json_string_value(value);

	(void)doc;
	snprintf(out, size, "%s", who && who[0] ? who : "by nobody that can be seen");
}

static const struct item image_items[] = {
	{ "path", ITEM_FACT, "Image", "Its file.", .from = "images.0.path" },
	{ "format", ITEM_FACT, "Format", "What its file is.", .from = "images.0.format" },
	{ "type", ITEM_FACT, "Type", "Dynamic, Fixed, or Differencing.", .from = "images.0.type" },
	{ "size", ITEM_FACT, "Size", "Of the disk as the guest sees it.", .from = "images.0.size",
	    .show = show_size },
	{ "fileSize", ITEM_FACT, "File", "Of its file.", .from = "images.0.fileSize", .show = show_size },
	{ "allocated", ITEM_FACT, "Allocated", "Of blocks that have a place in the file.",
	    .from = "images.0.allocated", .show = show_size },
	{ "id", ITEM_FACT, "Identity", "As guests see it.", .from = "images.0.id" },
	{ "images", ITEM_FACT, "Stands on", "Its parent, that one's parent, and so on.",
	    .show = show_parents },
	{ "inUse", ITEM_FACT, "In use", "What is in use may change while it is looked at.",
	    .show = show_user },
	{ 0 },
};

const struct page page_disk_image = {
	.number = -1,
	.name = "disk-image",
	.title = "A disk's image",
	.about = "What the image says of itself, and what it stands on. Changes nothing.",
	.kind = PAGE_FACTS,
	.items = image_items,
	.load = "vhd.get",
	.subject = "vm",
};

static const char *const place[] = { "controller", "lun", NULL };
static const char *const image[] = { "path", "format", NULL };

static const struct action disk_actions[] = {
	{ 'n', "New", "Makes a new disk of some size.", ACTION_PAGE, true, &page_disk_create },
	{ 'a', "Attach", "Attaches a disk image that is there.", ACTION_PAGE, true, &page_disk_attach },
	{ 'd', "DVD drive", "Adds a DVD drive.", ACTION_PAGE, true, &page_dvd_add },
	{ 'i', "Insert", "Puts a disc into the DVD drive.", ACTION_PAGE, .page = &page_dvd_insert },
	{ 'e', "Eject", "Takes the disc out of the DVD drive.", ACTION_CALL, .method = "dvd.set",
	    .params = "{\"path\":\"\"}", .confirm = "Take the disc out of drive %s?" },
	{ 'r', "Remove", "Takes the disk or drive from the machine.", ACTION_PAGE,
	    .page = &page_disk_remove },
	{ 'p', "On a parent", "Makes a new disk on an image that is there.", ACTION_PAGE, true,
	    &page_disk_child, .rare = true },
	{ 'g', "Grow", "Makes the disk larger.", ACTION_PAGE, .page = &page_disk_grow, .rare = true },
	{ 'c', "Copy", "Copies the disk into a new image of any format.", ACTION_PAGE,
	    .page = &page_disk_convert, .rare = true, .row_params = image },
	{ 'o', "Optimize", "Makes the disk's file shorter where it can be.", ACTION_CALL,
	    .method = "vhd.optimize", .rare = true, .row_params = image },
	{ 'v', "View image", "Shows what the disk's image says of itself.", ACTION_PAGE,
	    .page = &page_disk_image, .rare = true, .row_params = image },
	{ 't', "Test", "Looks for damage in the disk's image.", ACTION_PAGE, .page = &page_disk_test,
	    .rare = true, .row_params = image },
	{ 'b', "Branch", "Puts a child on the disk: what is written from now on.", ACTION_PAGE,
	    .page = &page_disk_branch, .rare = true },
	{ 'm', "Merge", "Merges a differencing disk into its parent.", ACTION_PAGE, .page = &page_disk_merge,
	    .rare = true },
	{ 0 },
};

const struct page page_disks = {
	.number = -1,
	.name = "disks",
	.title = "Disks",
	.about = "The disks and DVD drives of the machine. They come and go while it runs, too.",
	.kind = PAGE_TABLE,
	.load = "disk.list",
	.member = "disks",
	.subject = "vm",
	.columns = disk_columns,
	.row_key = "place",
	.row_params = place,
	.events = "vm.",
	.empty = "The machine has no disk yet: press n for a new one.",
	.actions = disk_actions,
};
