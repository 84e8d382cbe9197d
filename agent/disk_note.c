/* agent/disk_note.c - notes of what is being done with the images of a disk. */
#include "agent/disk_note.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/file.h"

enum { NOTE_VERSION = 1 };

struct written {
	uint64_t version;
	struct disk_note note;
};

static const char *const kinds[] = { "Branch", "Merge", NULL };

/* clang-format off */
#define NOTE(m) FIELD_AT(written, note.m)
static const struct field fields[] = {
	{ "Version", FIELD_UINT, .required = true, FIELD_AT(written, version), .min = NOTE_VERSION, .max = NOTE_VERSION, .help = "Of this form." },
	{ "Kind", FIELD_ENUM, .required = true, NOTE(kind), .names = kinds, .help = "What is being done." },
	{ "Controller", FIELD_UINT, .required = true, NOTE(controller), .max = VM_MAX_CONTROLLERS - 1, .help = "Of the disk." },
	{ "Lun", FIELD_UINT, .required = true, NOTE(lun), .max = VM_CONTROLLER_UNITS - 1, .help = "Its place there." },
	{ "Format", FIELD_ENUM, .required = true, NOTE(format), .names = vm_disk_formats, .help = "Of the images." },
	{ "Images", FIELD_STRINGS, .required = true, NOTE(image), .max = VM_CHAIN_MAX, .size = VM_DISK_PATH_SIZE,
	  .count_offset = offsetof(struct written, note.images), .help = "Those that come or go, the uppermost first." },
	{ "Parent", FIELD_STRING, .required = true, NOTE(parent), .min = 1, .max = VM_DISK_PATH_SIZE - 1, .size = VM_DISK_PATH_SIZE,
	  .help = "The image below them." },
	{ "Delete", FIELD_BOOL, NOTE(remove), .help = "Whether the files of the images go, too." },
	{ 0 }
};
/* clang-format on */

struct disk_note *
disk_note_new(unsigned kind, const struct vm_disk *d)
{
	struct disk_note *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->kind = kind;
	n->controller = d->controller;
	n->lun = d->lun;
	n->format = d->format;
	return n;
}

static void
path_of(const struct disk_place *at, uint64_t controller, uint64_t lun, char out[PATH_MAX])
{
	snprintf(out, PATH_MAX, "%s/vms/%s/change-%u-%u.json", at->data, at->name, (unsigned)controller,
	    (unsigned)lun);
}

int
disk_note_write(const struct disk_place *at, const struct disk_note *n, struct err *e)
{
	struct written *w = malloc(sizeof(*w));
	char path[PATH_MAX];
	json_t *doc = NULL;
	int rc;

	if (w) {
		*w = (struct written){ .version = NOTE_VERSION, .note = *n };
		doc = schema_write(fields, w);
	}
	free(w);
	path_of(at, n->controller, n->lun, path);
	rc = doc ? file_replace_json(path, doc, 0640, e) : err_set(e, ENOMEM, "out of memory");
	json_decref(doc);
	return rc;
}

int
disk_note_read(
    const struct disk_place *at, uint64_t controller, uint64_t lun, struct disk_note *out, struct err *e)
{
	struct written *w = calloc(1, sizeof(*w));
	char path[PATH_MAX];
	json_t *doc;
	int rc;

	path_of(at, controller, lun, path);
	doc = w ? file_read_json(path, e) : NULL;
	if (doc && w) {
		rc = schema_read(fields, doc, NULL, w, e);
		if (rc == 0 &&
		    (w->note.images == 0 || w->note.controller != controller || w->note.lun != lun))
			rc = err_set(e, EINVAL, "it is of another disk, or names no image");
		if (rc == 0)
			*out = w->note;
		else
			err_wrap(e, rc, "%s", path);
	} else {
		rc = w ? -e->code : err_set(e, ENOMEM, "out of memory");
	}
	json_decref(doc);
	free(w);
	return rc;
}

int
disk_note_remove(const struct disk_place *at, const struct disk_note *n, struct err *e)
{
	char path[PATH_MAX];

	path_of(at, n->controller, n->lun, path);
	return file_remove(path, e);
}

bool
disk_note_places(const struct disk_place *at, uint64_t out[VM_MAX_CONTROLLERS])
{
	char path[PATH_MAX];
	struct dirent *entry;
	bool any = false;
	DIR *dir;

	memset(out, 0, VM_MAX_CONTROLLERS * sizeof(out[0]));
	snprintf(path, sizeof(path), "%s/vms/%s", at->data, at->name);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		unsigned controller, lun;
		int len = 0;

		if (sscanf(entry->d_name, "change-%1u-%2u.json%n", &controller, &lun, &len) != 2 ||
		    len == 0 || entry->d_name[len] || controller >= VM_MAX_CONTROLLERS ||
		    lun >= VM_CONTROLLER_UNITS)
			continue;
		out[controller] |= 1ull << lun;
		any = true;
	}
	if (dir)
		closedir(dir);
	return any;
}
