/*
 * agent/vm_config.h - a machine's document: vm.json, in the field names of Hyper-V's compute schema and
 * PowerShell module.
 *
 * It may have been edited by hand, or come from elsewhere: it is checked by its table and by the rules that
 * a worker has for its machine (hypervisor/core/machine.h), and what is wrong is said in one sentence that
 * begins with the path of the field. No locks, no files: plain values.
 */
#ifndef AGENT_VM_CONFIG_H
#define AGENT_VM_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/guid.h"
#include "lib/schema.h"

enum {
	VM_VERSION = 1, /* of vm.json's form */
	VM_NAME_SIZE = 101,
	VM_NOTES_SIZE = 1025,
	VM_PATH_SIZE = 512,
	VM_CMDLINE_SIZE = 2048,
	VM_COM_PORTS = 2,
	VM_MIN_MB = 32,
	VM_MAX_MB = 16 << 20,
	VM_MAX_PROCESSORS = 64,
	VM_MAX_CONTROLLERS = 4, /* for storage, with */
	VM_CONTROLLER_UNITS = 64,
	VM_MAX_DISKS = VM_MAX_CONTROLLERS * VM_CONTROLLER_UNITS,
	VM_DISK_PATH_SIZE = 288,
	VM_MAX_PARENTS = 512, /* of all differencing disks of a machine together; */
	VM_CHAIN_MAX = 127,   /* of one */
	VM_SERIAL_SIZE = 33,
	VM_DEFAULT_MB = 512,
	VM_SERVICES = 6,  /* integration components */
	VM_FACTS_S = 300, /* a guest's facts are read anew so often */
};

enum vm_auto_start { AUTO_START_NOTHING, AUTO_START_IF_RUNNING, AUTO_START_ALWAYS };
enum vm_auto_stop { AUTO_STOP_SHUT_DOWN, AUTO_STOP_TURN_OFF };
extern const char *const vm_auto_start_names[]; /* "Nothing", "StartIfRunning", "Start", NULL */
extern const char *const vm_auto_stop_names[];  /* "ShutDown", "TurnOff", NULL */

enum vm_disk_type { VM_DISK, VM_DVD };
extern const char *const vm_disk_types[]; /* "VirtualDisk", "Dvd", NULL */
enum vm_disk_format { VM_RAW, VM_VHD, VM_VHDX };
extern const char *const vm_disk_formats[]; /* "Raw", "VHD", "VHDX", NULL: as workers call them, too */

/* Integration components: "Heartbeat", "Shutdown", "TimeSynchronization", "KeyValuePairExchange", "VSS",
 * "GuestServiceInterface", NULL; as workers call them, too. */
extern const char *const vm_services[];

#define VM_MAX_IOPS  1000000000ull
#define VM_MAX_BYTES (1ull << 50) /* a second */

/* A disk or DVD drive: its place, and what the guest finds there. */
struct vm_disk {
	uint64_t controller, lun;
	unsigned type;
	unsigned format;
	/* "./disks/NAME" in the machine's own folder, "images/NAME" or "/dev/..." (agent/disk_file.h); of a
	 * DVD drive "" when it is empty. */
	char path[VM_DISK_PATH_SIZE];
	bool read_only;
	bool pause_when_full;
	uint64_t sector; /* 512 or 4096; a DVD has its own */
	char serial[VM_SERIAL_SIZE];
	uint64_t min_iops, max_iops, max_bytes; /* 0: none */
	json_t *parents; /* while its document is read; else NULL: see vm_config_parents */
};

/* One image that a differencing disk stands on. */
struct vm_parent {
	uint64_t controller, lun; /* of the disk */
	char path[VM_DISK_PATH_SIZE];
};

struct vm_config {
	uint64_t version, revision;
	uint64_t configuration_version;
	uint8_t id[GUID_BYTES];
	char name[VM_NAME_SIZE]; /* for readers of the file; the folder's name is the machine's */
	char notes[VM_NOTES_SIZE];
	unsigned auto_start, auto_stop;
	struct {
		uint64_t count, threads_per_core, cores_per_socket;
		char baseline[32];
		bool expose_virtualization;
	} processor;
	struct {
		uint64_t size_mb; /* at start */
		/* Between these it changes while it runs, if dynamic; 0: as size_mb (vm_config_memory). */
		uint64_t minimum_mb, maximum_mb;
		bool dynamic;
		unsigned huge_pages;
	} memory;
	struct { /* paths: "images/NAME", or "./NAME" in the machine's own folder (agent/files.h) */
		char kernel[VM_PATH_SIZE], initrd[VM_PATH_SIZE];
		char cmdline[VM_CMDLINE_SIZE];
	} direct;
	bool com[VM_COM_PORTS];
	struct {
		uint64_t controllers;
		size_t disks;
		struct vm_disk disk[VM_MAX_DISKS]; /* sorted by place */
		size_t parents;
		/* Those of one disk: the nearest first. Room for some that take the place of others. */
		struct vm_parent parent[VM_MAX_PARENTS + VM_CHAIN_MAX];
		bool service[VM_SERVICES]; /* by vm_services: whether the guest is offered it */
	} devices;
	struct {
		char serial[65], asset_tag[65];
	} smbios;
	uint8_t generation_id[GUID_BYTES];
};

/* A document is large (about 250 KiB): on the heap, not on the stack of a thread that has little. */
extern const struct field vm_config_fields[];

/* One processor, 512 MiB, COM1, one storage controller without disks, all integration components but copies
 * of files, no kernel yet, no id. */
void vm_config_defaults(struct vm_config *c);
/* The rules between fields; fills in nothing. -EINVAL with the sentence. */
int vm_config_check(const struct vm_config *c, struct err *e);
/* Defaults, the document, the rules. doc is borrowed. */
int vm_config_read(struct vm_config *c, json_t *doc, struct err *e);
/* Its least and its most memory, in MiB; size_mb where the document has no other. */
void vm_config_memory(const struct vm_config *c, uint64_t *least, uint64_t *most);
/* Whether both documents say the same. */
bool vm_config_same(const struct vm_config *a, const struct vm_config *b);
/* What goes into vm.json: a new reference, or NULL when memory is out. */
json_t *vm_config_write(const struct vm_config *c);
/* What a worker is told: its "create" parameters, with the kernel as descriptor 0 and the initrd, if there
 * is one, as descriptor 1. A new reference, or NULL. */
json_t *vm_config_worker(const struct vm_config *c);
/* A disk as it is when nothing is said of it. */
void vm_disk_defaults(struct vm_disk *d);
/* The disk at a place; NULL: there is none. Borrowed. */
struct vm_disk *vm_config_disk(struct vm_config *c, uint64_t controller, uint64_t lun);
/* Puts d at its place, over what is there, whose parents stay. False: there may be no more. */
bool vm_config_put_disk(struct vm_config *c, const struct vm_disk *d);
/* Takes it out with its parents; whether it was there. */
bool vm_config_drop_disk(struct vm_config *c, uint64_t controller, uint64_t lun);
/* The first place on a controller that has nothing; -1: all are taken. */
int vm_config_free_lun(const struct vm_config *c, uint64_t controller);
/*
 * The images that the disk at a place stands on, by their paths: its parent, that one's parent, and so on;
 * none of a disk that is no differencing one. They are opened because they stand here, never because an image
 * says so. Their number; paths are borrowed.
 */
size_t vm_config_parents(
    const struct vm_config *c, uint64_t controller, uint64_t lun, const char *path[VM_CHAIN_MAX]);
/* Puts these in the place of those. path may be of c itself. False: there may be no more. */
bool vm_config_put_parents(
    struct vm_config *c, uint64_t controller, uint64_t lun, const char *const *path, size_t n);
/* What a worker is told of it: the parameters of "disk.add", with its file, if it has one, as descriptor 0,
 * and its parents as those behind that. A new reference, or NULL. */
json_t *vm_disk_worker(const struct vm_disk *d, size_t parents);
/* A name that can be a folder and cannot be taken for a GUID: 1-100 bytes. */
int vm_name_check(const char *name, struct err *e);
/* A new random GUID (version 4). */
void vm_new_guid(uint8_t guid[GUID_BYTES]);

#endif
