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
};

enum vm_auto_start { AUTO_START_NOTHING, AUTO_START_IF_RUNNING, AUTO_START_ALWAYS };
enum vm_auto_stop { AUTO_STOP_SHUT_DOWN, AUTO_STOP_TURN_OFF };
extern const char *const vm_auto_start_names[]; /* "Nothing", "StartIfRunning", "Start", NULL */
extern const char *const vm_auto_stop_names[];  /* "ShutDown", "TurnOff", NULL */

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
		uint64_t size_mb, maximum_mb;
		unsigned huge_pages;
	} memory;
	struct { /* paths: "images/NAME", or "./NAME" in the machine's own folder (agent/files.h) */
		char kernel[VM_PATH_SIZE], initrd[VM_PATH_SIZE];
		char cmdline[VM_CMDLINE_SIZE];
	} direct;
	bool com[VM_COM_PORTS];
	struct {
		char serial[65], asset_tag[65];
	} smbios;
	uint8_t generation_id[GUID_BYTES];
};

extern const struct field vm_config_fields[];

/* One processor, 512 MiB, COM1, no kernel yet, no id. */
void vm_config_defaults(struct vm_config *c);
/* The rules between fields; fills in nothing. -EINVAL with the sentence. */
int vm_config_check(const struct vm_config *c, struct err *e);
/* Defaults, the document, the rules. doc is borrowed. */
int vm_config_read(struct vm_config *c, json_t *doc, struct err *e);
/* Whether both documents say the same. */
bool vm_config_same(const struct vm_config *a, const struct vm_config *b);
/* What goes into vm.json: a new reference, or NULL when memory is out. */
json_t *vm_config_write(const struct vm_config *c);
/* What a worker is told: its "create" parameters, with the kernel as descriptor 0 and the initrd, if there
 * is one, as descriptor 1. A new reference, or NULL. */
json_t *vm_config_worker(const struct vm_config *c);
/* A name that can be a folder and cannot be taken for a GUID: 1-100 bytes. */
int vm_name_check(const char *name, struct err *e);
/* A new random GUID (version 4). */
void vm_new_guid(uint8_t guid[GUID_BYTES]);

#endif
