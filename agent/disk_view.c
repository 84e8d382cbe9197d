/* agent/disk_view.c - what disk.list and dvd.list answer. */
#include "agent/disk_calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/disk_image.h"
#include "agent/vm_disks.h"
#include "lib/text.h"

enum { LOOKED_INTO = 64 }; /* each takes a process */

struct disk_view {
	char place[8];
	unsigned type, format;
	char path[VM_DISK_PATH_SIZE];
	uint64_t size, used;
	bool read_only;
	char problem[ERR_MSG_SIZE];
	uint64_t controller, lun, sector;
	char serial[VM_SERIAL_SIZE];
	bool pause_when_full;
	uint64_t min_iops, max_iops, max_bytes;
	uint64_t reads, writes, bytes_read, bytes_written, flushes, discards, errors, throttled, merged,
	    to_merge;
};
struct disk_list {
	size_t n;
	struct disk_view disk[VM_MAX_DISKS];
};

/* clang-format off */
#define TEXT(s, m) .type = FIELD_STRING, FIELD_AT(s, m), .size = sizeof(((struct s *)0)->m), .max = sizeof(((struct s *)0)->m) - 1
#define UINT(s, m) .type = FIELD_UINT, FIELD_AT(s, m)
#define COUNTER(n, m, h) { n, UINT(disk_view, m), .max = INT64_MAX, .help = h }
#define BYTES(n, m, h)   { n, UINT(disk_view, m), .max = INT64_MAX, .unit = "bytes", .help = h }
static const struct field view_fields[] = {
	{ "place", TEXT(disk_view, place), .help = "Controller and place on it: 0:1." },
	{ "type", FIELD_ENUM, FIELD_AT(disk_view, type), .names = vm_disk_types, .help = "What the guest sees." },
	{ "path", TEXT(disk_view, path), .unit = "path", .help = "Its file or block device; empty: a drive without a disc." },
	{ "format", FIELD_ENUM, FIELD_AT(disk_view, format), .names = vm_disk_formats, .help = "What its file is." },
	BYTES("size", size, "Its size."),
	BYTES("used", used, "What its file takes on the data disk."),
	{ "readOnly", FIELD_BOOL, FIELD_AT(disk_view, read_only), .help = "Whether the guest can only read." },
	{ "problem", TEXT(disk_view, problem), .help = "Why its file cannot be used; empty: it can." },
	COUNTER("controller", controller, "Storage controller."),
	COUNTER("lun", lun, "Place on the controller."),
	BYTES("sectorSize", sector, "Of the sectors that the guest sees."),
	{ "serialNumber", TEXT(disk_view, serial), .help = "As it was set." },
	{ "pauseWhenFull", FIELD_BOOL, FIELD_AT(disk_view, pause_when_full), .help = "Whether the machine is paused when there is no space for a write." },
	COUNTER("minimumIops", min_iops, "Below this it is reported as slow; 0: never."),
	COUNTER("maximumIops", max_iops, "Operations a second at most; 0: no limit."),
	BYTES("maximumBytesPerSecond", max_bytes, "At most; 0: no limit."),
	COUNTER("reads", reads, "Requests to read since the machine's start; these numbers are there while it runs."),
	COUNTER("writes", writes, "Requests to write."),
	BYTES("bytesRead", bytes_read, "Bytes read."),
	BYTES("bytesWritten", bytes_written, "Bytes written."),
	COUNTER("flushes", flushes, "Flushes to stable storage."),
	COUNTER("discards", discards, "Ranges that the guest has given back."),
	COUNTER("errors", errors, "Requests that failed below."),
	COUNTER("throttled", throttled, "Requests that waited for a limit."),
	BYTES("merged", merged, "While it is being merged: how far that is."),
	BYTES("toMerge", to_merge, "Of so much; 0: it is not being merged."),
	{ 0 }
};
const struct field disk_view_result[] = {
	{ "disks", FIELD_LIST, FIELD_AT(disk_list, disk), .max = VM_MAX_DISKS, .size = sizeof(struct disk_view),
	  .count_offset = offsetof(struct disk_list, n), .fields = view_fields, .help = "By controller and place." },
	{ 0 }
};
/* clang-format on */

static void
look_at_file(const struct disk_place *at, const struct vm_disk *d, struct disk_view *v)
{
	struct err e = { 0 };
	struct stat st;
	int fd;

	if (!d->path[0])
		return;
	fd = disk_file_open(at, d->path, USE_LOOK, 0, &st, &e);
	if (fd < 0) {
		snprintf(v->problem, sizeof(v->problem), "%s", e.msg);
		return;
	}
	if (disk_file_size(fd, &v->size, &e) == 0 && S_ISREG(st.st_mode))
		v->used = (uint64_t)st.st_blocks * 512;
	close(fd);
}

/* What an image says of itself; while a machine uses it, too. */
static void
look_into(const struct agent *a, const struct disk_place *at, struct disk_view *v)
{
	char whole[PATH_MAX];
	struct disk_tool t;
	struct fault f = { 0 };
	json_t *info = NULL;
	json_int_t size;

	if (v->format == VM_RAW || v->problem[0])
		return;
	image_whole_path(at, v->path, whole);
	disk_tool_begin(&t, a, "info");
	disk_tool_add(&t, "--json");
	disk_tool_add(&t, "-f%s", image_format_word(v->format));
	disk_tool_read(&t, whole);
	disk_tool_add(&t, "%s", whole);
	if (disk_tool_run(&t, NULL, &info, &f) < 0)
		text_copy(v->problem, sizeof(v->problem), f.message);
	size = json_integer_value(json_object_get(info, "size"));
	v->size = size > 0 ? (uint64_t)size : 0;
	size = json_integer_value(json_object_get(info, "logicalSectorSize"));
	v->sector = size == 4096 ? 4096 : 512;
	json_decref(info);
}

static void
look_at(const struct disk_place *at, const struct vm_disk *d, struct disk_view *v)
{
	snprintf(v->place, sizeof(v->place), "%u:%u", (unsigned)d->controller % 10, (unsigned)d->lun % 100);
	v->controller = d->controller;
	v->lun = d->lun;
	v->type = d->type;
	v->format = d->format;
	memcpy(v->path, d->path, sizeof(v->path));
	v->read_only = d->read_only || d->type == VM_DVD;
	v->sector = d->type == VM_DVD ? 2048 : d->sector;
	memcpy(v->serial, d->serial, sizeof(v->serial));
	v->pause_when_full = d->pause_when_full;
	v->min_iops = d->min_iops;
	v->max_iops = d->max_iops;
	v->max_bytes = d->max_bytes;
	look_at_file(at, d, v);
}

static const struct {
	const char *theirs, *ours;
} counters[] = { { "Reads", "reads" }, { "Writes", "writes" }, { "BytesRead", "bytesRead" },
	{ "BytesWritten", "bytesWritten" }, { "Flushes", "flushes" }, { "Discards", "discards" },
	{ "Errors", "errors" }, { "Throttled", "throttled" }, { "MergeAt", "merged" },
	{ "MergeSize", "toMerge" } };

/* What the worker counts there, into the row; without it the members go. */
static void
count(json_t *row, const json_t *report)
{
	const json_t *unit, *found = NULL;
	size_t i;

	json_array_foreach(json_object_get(report, "Disks"), i, unit)
	{
		if (json_equal(json_object_get(unit, "Controller"), json_object_get(row, "controller")) &&
		    json_equal(json_object_get(unit, "Lun"), json_object_get(row, "lun")))
			found = unit;
	}
	for (i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
		json_t *n = json_object_get(found, counters[i].theirs);

		if (json_is_integer(n) && json_integer_value(n) >= 0)
			json_object_set(row, counters[i].ours, n);
		else
			json_object_del(row, counters[i].ours);
	}
}

static json_t *
list_of(struct machines *ms, const struct vm_config *c, bool drives_only, const json_t *report)
{
	const struct disk_place at = { ms->data, c->name };
	struct disk_list *list = calloc(1, sizeof(*list));
	json_t *doc, *row;
	size_t i;

	if (!list)
		return NULL;
	for (i = 0; i < c->devices.disks; i++)
		if (!drives_only || c->devices.disk[i].type == VM_DVD)
			look_at(&at, &c->devices.disk[i], &list->disk[list->n++]);
	for (i = 0; i < list->n && i < LOOKED_INTO; i++)
		look_into(ms->agent, &at, &list->disk[i]);
	doc = schema_write(disk_view_result, list);
	json_array_foreach(json_object_get(doc, "disks"), i, row)
	{
		count(row, report);
	}
	free(list);
	return doc;
}

static int
no_memory(struct fault *f)
{
	return fault_set(f, FAULT_INTERNAL, NULL, NULL, "out of memory");
}

static int
list(struct call *c, const void *params, json_t *result, bool drives_only, struct fault *f)
{
	struct vm *vm = call_vm(c, ((const struct disk_params *)params)->vm, f);
	struct vm_config *config = vm ? malloc(sizeof(*config)) : NULL;
	json_t *report = NULL, *doc = NULL;

	if (config) {
		pthread_mutex_lock(&vm->lock);
		*config = vm->config;
		pthread_mutex_unlock(&vm->lock);
		report = vm_disks_report(vm);
		doc = list_of(c->agent->machines, config, drives_only, report);
	}
	free(config);
	json_decref(report);
	if (vm && (!doc || json_object_update(result, doc) < 0))
		no_memory(f);
	json_decref(doc);
	vm_put(vm);
	return f->code ? -1 : 0;
}

int
disk_call_list(struct call *c, const void *params, json_t *result, struct fault *f)
{
	return list(c, params, result, false, f);
}

int
dvd_call_list(struct call *c, const void *params, json_t *result, struct fault *f)
{
	return list(c, params, result, true, f);
}
