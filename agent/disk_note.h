/*
 * agent/disk_note.h - what is being done with the images of a disk, in a file beside vm.json: so that whoever
 * comes after an agent that was killed can lead it to one of its two ends (disk_live.h).
 *
 *   DATA/vms/NAME/change-C-L.json    of the disk at place L of controller C
 *
 * Only within a change of the machine's disks (vm_disks_begin), or while nobody can have one. 0 or -errno
 * with one sentence.
 */
#ifndef AGENT_DISK_NOTE_H
#define AGENT_DISK_NOTE_H

#include "agent/disk_file.h"
#include "agent/vm_config.h"

enum disk_note_kind {
	NOTE_BRANCH, /* image[0] comes on top of the parent */
	NOTE_MERGE,  /* the images go into the parent */
};

struct disk_note {
	unsigned kind;
	uint64_t controller, lun;
	unsigned format; /* enum vm_disk_format: of all of them */
	size_t images;   /* the uppermost first; short forms as everywhere */
	char image[VM_CHAIN_MAX][VM_DISK_PATH_SIZE];
	char parent[VM_DISK_PATH_SIZE];
	bool remove; /* the images' files, once they are merged */
};

/* A new one of d, of no images yet; NULL: out of memory. free() it. */
struct disk_note *disk_note_new(unsigned kind, const struct vm_disk *d);
int disk_note_write(const struct disk_place *at, const struct disk_note *n, struct err *e);
/* -ENOENT: there is none. */
int disk_note_read(
    const struct disk_place *at, uint64_t controller, uint64_t lun, struct disk_note *out, struct err *e);
int disk_note_remove(const struct disk_place *at, const struct disk_note *n, struct err *e);
/* The places of which there is one: bits, by controller. Whether there is any. */
bool disk_note_places(const struct disk_place *at, uint64_t out[VM_MAX_CONTROLLERS]);

#endif
