/* agent/vm_config.c - vm.json: its table, its rules, and what a worker is told of it. */
#include "agent/vm_config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "hypervisor/core/machine.h"
#include "hypervisor/disk/format.h"
#include "hypervisor/vsp/storage.h"
#include "lib/text.h"

/* A worker takes what we promise here. */
_Static_assert((int)VM_MIN_MB == MACHINE_MIN_MB && (int)VM_MAX_MB == MACHINE_MAX_MB, "memory");
_Static_assert((int)VM_MAX_PROCESSORS == MACHINE_MAX_PROCESSORS, "processors");
_Static_assert((int)VM_COM_PORTS == MACHINE_COM_PORTS, "serial ports");
_Static_assert((int)VM_CMDLINE_SIZE == MACHINE_CMDLINE, "command line");
_Static_assert((int)VM_MAX_CONTROLLERS == MACHINE_MAX_SCSI, "storage controllers");
_Static_assert((int)VM_CONTROLLER_UNITS == STORAGE_UNITS, "units of a controller");
_Static_assert((int)VM_SERIAL_SIZE == STORAGE_SERIAL + 1, "serial number of a disk");
_Static_assert((int)VM_CHAIN_MAX == DISK_CHAIN_MAX - 1, "parents of a disk");
_Static_assert((int)VM_RAW == DISK_RAW && (int)VM_VHD == DISK_VHD && (int)VM_VHDX == DISK_VHDX, "formats");
_Static_assert((int)VM_SERVICES == MACHINE_ICS, "integration components");
_Static_assert((int)VM_NAME_SIZE == sizeof(((struct machine *)0)->name), "name");

const char *const vm_auto_start_names[] = { "Nothing", "StartIfRunning", "Start", NULL };
const char *const vm_auto_stop_names[] = { "ShutDown", "TurnOff", NULL };
const char *const vm_disk_types[] = { "VirtualDisk", "Dvd", NULL };
const char *const vm_disk_formats[] = { "Raw", "VHD", "VHDX", NULL };
const char *const vm_services[] = { "Heartbeat", "Shutdown", "TimeSynchronization", "KeyValuePairExchange",
	"VSS", "GuestServiceInterface", NULL };
enum { COPY_SERVICE = 5 }; /* the one that is off unless somebody wants it */
static const char *const page_sizes[] = { "Small", "Large", NULL };

#define OBJECT(n, table, h) .name = n, .type = FIELD_OBJECT, .fields = table, .help = h
#define UINT(n, m)          .name = n, .type = FIELD_UINT, FIELD_AT(vm_config, m)
#define TEXT(n, m)                                                                                           \
	.name = n, .type = FIELD_STRING, FIELD_AT(vm_config, m), .size = sizeof(((struct vm_config *)0)->m), \
	.max = sizeof(((struct vm_config *)0)->m) - 1

/* clang-format off */
static const struct field processor_fields[] = {
	{ UINT("Count", processor.count), .min = 1, .max = VM_MAX_PROCESSORS, .help = "Virtual processors." },
	{ UINT("ThreadsPerCore", processor.threads_per_core), .min = 1, .max = 2, .help = "Virtual processors that share a core." },
	{ UINT("CoresPerSocket", processor.cores_per_socket), .max = VM_MAX_PROCESSORS, .help = "Cores in a socket; 0 puts all into one." },
	{ TEXT("Baseline", processor.baseline), .min = 1, .help = "Name of the set of processor features the guest sees; \"host\" for all of the host's." },
	{ .name = "ExposeVirtualizationExtensions", .type = FIELD_BOOL, FIELD_AT(vm_config, processor.expose_virtualization),
	  .help = "Lets the guest run guests of its own." },
	{ 0 }
};
static const struct field memory_fields[] = {
	{ UINT("SizeInMB", memory.size_mb), .required = true, .min = VM_MIN_MB, .max = VM_MAX_MB, .help = "Memory at start, in MiB." },
	{ UINT("MaximumSizeInMB", memory.maximum_mb), .max = VM_MAX_MB, .help = "Most it may grow to while running; 0: SizeInMB." },
	{ UINT("MinimumSizeInMB", memory.minimum_mb), .max = VM_MAX_MB, .help = "Least it may be asked to run with, if Dynamic; 0: SizeInMB." },
	{ .name = "Dynamic", .type = FIELD_BOOL, FIELD_AT(vm_config, memory.dynamic),
	  .help = "It changes between minimum and maximum while the machine runs, if the guest takes part." },
	{ .name = "BackingPageSize", .type = FIELD_ENUM, FIELD_AT(vm_config, memory.huge_pages), .names = page_sizes,
	  .help = "Pages of the host that hold it: Large takes reserved ones of 2 MiB." },
	{ 0 }
};
static const struct field direct_fields[] = {
	{ TEXT("KernelFilePath", direct.kernel), .required = true, .min = 1, .help = "Linux kernel: images/NAME, or ./NAME in the machine's folder." },
	{ TEXT("InitRdPath", direct.initrd), .help = "Initial RAM disk, likewise; empty for none." },
	{ TEXT("KernelCmdLine", direct.cmdline), .help = "Command line of the kernel." },
	{ 0 }
};
static const struct field com_fields[] = {
	{ .name = "Com1", .type = FIELD_BOOL, FIELD_AT(vm_config, com[0]), .help = "Serial port at 0x3f8, IRQ 4." },
	{ .name = "Com2", .type = FIELD_BOOL, FIELD_AT(vm_config, com[1]), .help = "Serial port at 0x2f8, IRQ 3." },
	{ 0 }
};
#define DISK_UINT(n, m) .name = n, .type = FIELD_UINT, FIELD_AT(vm_disk, m)
#define DISK_TEXT(n, m) \
	.name = n, .type = FIELD_STRING, FIELD_AT(vm_disk, m), .size = sizeof(((struct vm_disk *)0)->m), \
	.max = sizeof(((struct vm_disk *)0)->m) - 1
static const struct field disk_fields[] = {
	{ DISK_UINT("Controller", controller), .max = VM_MAX_CONTROLLERS - 1, .help = "Storage controller it is on." },
	{ DISK_UINT("Lun", lun), .required = true, .max = VM_CONTROLLER_UNITS - 1, .help = "Its place there." },
	{ .name = "Type", .type = FIELD_ENUM, FIELD_AT(vm_disk, type), .names = vm_disk_types, .help = "What the guest sees." },
	{ .name = "Format", .type = FIELD_ENUM, FIELD_AT(vm_disk, format), .names = vm_disk_formats,
	  .help = "What the file is. Never guessed." },
	{ DISK_TEXT("Path", path), .help = "./disks/NAME in the machine's folder, images/NAME, or a block device /dev/...; "
	  "empty for a DVD drive without a disc." },
	{ .name = "Parents", .type = FIELD_JSON, FIELD_AT(vm_disk, parents),
	  .help = "Paths of the images that a differencing disk stands on: its parent, that one's parent, and so on. Only these are opened." },
	{ .name = "ReadOnly", .type = FIELD_BOOL, FIELD_AT(vm_disk, read_only), .help = "The guest cannot write. A DVD is always so." },
	{ DISK_UINT("LogicalSectorSize", sector), .min = 512, .max = 4096, .help = "512 or 4096 bytes; a DVD has its own." },
	{ DISK_TEXT("SerialNumber", serial), .help = "As the guest reads it; empty: derived from the machine's id and the place." },
	{ .name = "PauseWhenFull", .type = FIELD_BOOL, FIELD_AT(vm_disk, pause_when_full),
	  .help = "When there is no space for a write the machine is paused; else its guest gets an error." },
	{ DISK_UINT("MinimumIops", min_iops), .max = VM_MAX_IOPS, .help = "Operations a second, of 8 KiB each, below which a disk is reported as slow. 0: none." },
	{ DISK_UINT("MaximumIops", max_iops), .max = VM_MAX_IOPS, .help = "Operations a second, of 8 KiB each, at most. 0: no limit." },
	{ DISK_UINT("MaximumBytesPerSecond", max_bytes), .max = VM_MAX_BYTES, .help = "Bytes a second at most. 0: no limit." },
	{ 0 }
};
#define SERVICE(n, i, h) { .name = n, .type = FIELD_BOOL, FIELD_AT(vm_config, devices.service[i]), .help = h }
static const struct field service_fields[] = {
	SERVICE("Heartbeat", 0, "Whether the guest lives is asked every two seconds."),
	SERVICE("Shutdown", 1, "The guest can be asked to shut down or restart."),
	SERVICE("TimeSynchronization", 2, "The guest's clock follows the host's."),
	SERVICE("KeyValuePairExchange", 3, "Facts of the guest are read: its name, system and addresses."),
	SERVICE("VSS", 4, "The guest's file systems can be made to stand still for a backup."),
	SERVICE("GuestServiceInterface", 5, "Files can be copied into the guest."),
	{ 0 }
};
static const struct field device_fields[] = {
	{ UINT("ScsiControllers", devices.controllers), .max = VM_MAX_CONTROLLERS, .help = "Storage controllers." },
	{ .name = "Disks", .type = FIELD_LIST, FIELD_AT(vm_config, devices.disk), .max = VM_MAX_DISKS, .size = sizeof(struct vm_disk),
	  .count_offset = offsetof(struct vm_config, devices.disks), .fields = disk_fields, .help = "Disks and DVD drives." },
	{ OBJECT("IntegrationServices", service_fields, "Components that speak with drivers in the guest.") },
	{ 0 }
};
static const struct field smbios_fields[] = {
	{ TEXT("SerialNumber", smbios.serial), .help = "Serial number of the system." },
	{ TEXT("AssetTag", smbios.asset_tag), .help = "Asset tag of the chassis." },
	{ 0 }
};
const struct field vm_config_fields[] = {
	{ UINT("Version", version), .required = true, .min = VM_VERSION, .max = VM_VERSION, .help = "Form of this document." },
	{ UINT("Revision", revision), .max = INT64_MAX, .help = "Counts changes of this document." },
	{ UINT("ConfigurationVersion", configuration_version), .min = MACHINE_VERSION, .max = MACHINE_VERSION,
	  .help = "Fixes memory map, ports and tables of the machine." },
	{ .name = "Id", .type = FIELD_GUID, .required = true, FIELD_AT(vm_config, id), .help = "Identity of the machine." },
	{ TEXT("Name", name), .help = "Its name; that of its folder counts." },
	{ TEXT("Notes", notes), .help = "For people." },
	{ .name = "AutomaticStartAction", .type = FIELD_ENUM, FIELD_AT(vm_config, auto_start), .names = vm_auto_start_names,
	  .help = "What happens when the host starts." },
	{ .name = "AutomaticStopAction", .type = FIELD_ENUM, FIELD_AT(vm_config, auto_stop), .names = vm_auto_stop_names,
	  .help = "What happens when the host shuts down." },
	{ OBJECT("Processor", processor_fields, "Virtual processors and their topology.") },
	{ OBJECT("Memory", memory_fields, "Guest memory."), .required = true },
	{ OBJECT("LinuxKernelDirect", direct_fields, "A kernel given to the machine, started without firmware."), .required = true },
	{ OBJECT("ComPorts", com_fields, "Serial ports.") },
	{ OBJECT("Devices", device_fields, "Storage controllers, and what is on them; integration components.") },
	{ OBJECT("Smbios", smbios_fields, "What the guest reads in its SMBIOS tables.") },
	{ .name = "GenerationId", .type = FIELD_GUID, FIELD_AT(vm_config, generation_id),
	  .help = "Changed when the machine goes back to an earlier state." },
	{ 0 }
};
/* clang-format on */

void
vm_config_defaults(struct vm_config *c)
{
	memset(c, 0, sizeof(*c));
	c->version = VM_VERSION;
	c->revision = 1;
	c->configuration_version = MACHINE_VERSION;
	c->processor.count = 1;
	c->processor.threads_per_core = 1;
	memcpy(c->processor.baseline, "host", sizeof("host"));
	c->memory.size_mb = VM_DEFAULT_MB;
	c->com[0] = true;
	c->devices.controllers = 1;
	for (size_t i = 0; i < VM_SERVICES; i++)
		c->devices.service[i] = i != COPY_SERVICE;
	for (size_t i = 0; i < VM_MAX_DISKS; i++)
		vm_disk_defaults(&c->devices.disk[i]);
}

/* --- disks --- */

void
vm_disk_defaults(struct vm_disk *d)
{
	memset(d, 0, sizeof(*d));
	d->sector = 512;
	d->pause_when_full = true;
}

static bool
is_before(const struct vm_disk *d, uint64_t controller, uint64_t lun)
{
	return d->controller < controller || (d->controller == controller && d->lun < lun);
}

/* Where that place is in the list, or would be. */
static size_t
index_of(const struct vm_config *c, uint64_t controller, uint64_t lun)
{
	size_t i = 0;

	while (i < c->devices.disks && is_before(&c->devices.disk[i], controller, lun))
		i++;
	return i;
}

struct vm_disk *
vm_config_disk(struct vm_config *c, uint64_t controller, uint64_t lun)
{
	size_t i = index_of(c, controller, lun);
	struct vm_disk *d = &c->devices.disk[i];

	return i < c->devices.disks && d->controller == controller && d->lun == lun ? d : NULL;
}

bool
vm_config_put_disk(struct vm_config *c, const struct vm_disk *d)
{
	struct vm_disk *there = vm_config_disk(c, d->controller, d->lun);
	size_t i = index_of(c, d->controller, d->lun);

	if (!there && c->devices.disks == VM_MAX_DISKS)
		return false;
	if (!there) {
		there = &c->devices.disk[i];
		memmove(there + 1, there, (c->devices.disks - i) * sizeof(*there));
		c->devices.disks++;
	}
	*there = *d;
	return true;
}

bool
vm_config_drop_disk(struct vm_config *c, uint64_t controller, uint64_t lun)
{
	struct vm_disk *d = vm_config_disk(c, controller, lun);

	if (!d)
		return false;
	c->devices.disks--;
	memmove(d, d + 1, (size_t)(&c->devices.disk[c->devices.disks] - d) * sizeof(*d));
	vm_config_put_parents(c, controller, lun, NULL, 0);
	vm_disk_defaults(&c->devices.disk[c->devices.disks]); /* as if it had never been there */
	return true;
}

static bool
is_of(const struct vm_parent *p, uint64_t controller, uint64_t lun)
{
	return p->controller == controller && p->lun == lun;
}

size_t
vm_config_parents(
    const struct vm_config *c, uint64_t controller, uint64_t lun, const char *path[VM_CHAIN_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < c->devices.parents && n < VM_CHAIN_MAX; i++)
		if (is_of(&c->devices.parent[i], controller, lun))
			path[n++] = c->devices.parent[i].path;
	return n;
}

static void
drop_parents(struct vm_config *c, uint64_t controller, uint64_t lun, size_t among)
{
	struct vm_parent *all = c->devices.parent;
	size_t kept = 0;

	for (size_t i = 0; i < c->devices.parents; i++)
		if (i >= among || !is_of(&all[i], controller, lun)) {
			if (kept != i)
				all[kept] = all[i];
			kept++;
		}
	memset(&all[kept], 0, (c->devices.parents - kept) * sizeof(all[0]));
	c->devices.parents = kept;
}

/* The new ones are put behind all others first: path may be one of the old. */
bool
vm_config_put_parents(
    struct vm_config *c, uint64_t controller, uint64_t lun, const char *const *path, size_t n)
{
	const char *old[VM_CHAIN_MAX];
	size_t before = c->devices.parents, leave = vm_config_parents(c, controller, lun, old);

	if (n > VM_CHAIN_MAX || before - leave + n > VM_MAX_PARENTS)
		return false;
	for (size_t i = 0; i < n; i++) {
		struct vm_parent *p = &c->devices.parent[before + i];

		p->controller = controller;
		p->lun = lun;
		text_copy(p->path, sizeof(p->path), path[i]);
	}
	c->devices.parents = before + n;
	drop_parents(c, controller, lun, before);
	return true;
}

int
vm_config_free_lun(const struct vm_config *c, uint64_t controller)
{
	int lun = 0;

	for (size_t i = 0; i < c->devices.disks; i++)
		if (c->devices.disk[i].controller == controller && c->devices.disk[i].lun == (uint64_t)lun)
			lun++;
	return lun < VM_CONTROLLER_UNITS ? lun : -1;
}

/* Only the form: whether there is such a file is seen when it is opened. */
static bool
is_disk_path(const char *path)
{
	static const char *const places[] = { "./disks/", "images/", "/dev/" };

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (strncmp(path, places[i], strlen(places[i])) == 0)
			return path[strlen(places[i])] != '\0';
	return false;
}

static int
check_disk(const struct vm_config *c, const struct vm_disk *d, struct err *e)
{
	if (d->controller >= c->devices.controllers)
		return err_set(e, EINVAL, "Controller: there is no controller %u; ScsiControllers is %u",
		    (unsigned)d->controller, (unsigned)c->devices.controllers);
	if (d->type == VM_DISK && !d->path[0])
		return err_set(e, EINVAL, "Path: a disk needs a file");
	if (d->path[0] && !is_disk_path(d->path))
		return err_set(e, EINVAL,
		    "Path: '%.100s' is neither ./disks/NAME nor images/NAME nor /dev/...", d->path);
	if (d->type == VM_DVD && d->format != VM_RAW)
		return err_set(e, EINVAL, "Format: a DVD is Raw");
	if (d->format != VM_RAW && d->path[0] == '/')
		return err_set(e, EINVAL, "Format: a block device is Raw");
	if (d->sector != 512 && d->sector != 4096)
		return err_set(
		    e, EINVAL, "LogicalSectorSize: %u is neither 512 nor 4096", (unsigned)d->sector);
	if (d->max_iops && d->min_iops > d->max_iops)
		return err_set(e, EINVAL, "MinimumIops: %llu is more than MaximumIops, which is %llu",
		    (unsigned long long)d->min_iops, (unsigned long long)d->max_iops);
	return 0;
}

static bool
only_reads(const struct vm_disk *d)
{
	return d->read_only || d->type == VM_DVD;
}

/* What two disks cannot have both. */
static int
check_pair(const struct vm_disk *a, const struct vm_disk *b, struct err *e)
{
	if (a->controller == b->controller && a->lun == b->lun)
		return err_set(e, EINVAL, "Lun: %u:%u is taken by another one", (unsigned)b->controller,
		    (unsigned)b->lun);
	if (b->path[0] && strcmp(a->path, b->path) == 0 && !(only_reads(a) && only_reads(b)))
		return err_set(e, EINVAL, "Path: '%.100s' is at %u:%u already, and one of them may write",
		    b->path, (unsigned)a->controller, (unsigned)a->lun);
	return 0;
}

/* Whoever writes to the parent of another spoils that one. */
static int
check_writers(const struct vm_config *c, const char *parent, struct err *e)
{
	for (size_t i = 0; i < c->devices.disks; i++) {
		const struct vm_disk *d = &c->devices.disk[i];

		if (!only_reads(d) && strcmp(d->path, parent) == 0)
			return err_set(e, EINVAL, "'%.100s' is the disk at %u:%u, which may write to it",
			    parent, (unsigned)d->controller, (unsigned)d->lun);
	}
	return 0;
}

static int
check_parents(const struct vm_config *c, const struct vm_disk *d, struct err *e)
{
	const char *path[VM_CHAIN_MAX];
	size_t n = vm_config_parents(c, d->controller, d->lun, path);
	int rc = 0;

	if (n && d->format == VM_RAW)
		return err_set(e, EINVAL, "Parents: a raw disk has none");
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (!is_disk_path(path[i]) || path[i][0] == '/')
			rc = err_set(e, EINVAL, "'%.100s' is neither ./disks/NAME nor images/NAME", path[i]);
		for (size_t j = 0; rc == 0 && j < i; j++)
			if (strcmp(path[i], path[j]) == 0)
				rc = err_set(e, EINVAL, "'%.100s' is there twice", path[i]);
		if (rc == 0)
			rc = check_writers(c, path[i], e);
		if (rc < 0)
			err_wrap(e, rc, "Parents[%zu]", i);
	}
	return rc;
}

static int
check_disks(const struct vm_config *c, struct err *e)
{
	for (size_t i = 0; i < c->devices.disks; i++) {
		const struct vm_disk *d = &c->devices.disk[i];
		int rc = check_disk(c, d, e);

		for (size_t j = 0; rc == 0 && j < i; j++)
			rc = check_pair(&c->devices.disk[j], d, e);
		if (rc == 0)
			rc = check_parents(c, d, e);
		if (rc < 0)
			return err_wrap(e, rc, "Devices.Disks[%zu]", i);
	}
	return 0;
}

/* The worker's names are ours: only the file comes in another way. */
json_t *
vm_disk_worker(const struct vm_disk *d, size_t parents)
{
	json_t *doc = schema_write(disk_fields, d), *files = parents ? json_array() : NULL;

	if (!doc)
		return NULL;
	json_object_del(doc, "Path");
	if (d->path[0])
		json_object_set_new(doc, "File", json_integer(0));
	for (size_t i = 0; i < parents; i++)
		json_array_append_new(files, json_pack("{s:I}", "File", (json_int_t)i + 1));
	if (files)
		json_object_set_new(doc, "Parents", files);
	if (d->type == VM_DVD || d->format != VM_RAW) /* an image says that itself */
		json_object_del(doc, "LogicalSectorSize");
	return doc;
}

/* --- the machine --- */

/* The worker's view of it, without descriptors. Names were checked to fit (above). */
static void
to_machine(const struct vm_config *c, struct machine *m)
{
	machine_defaults(m);
	m->version = c->configuration_version;
	memcpy(m->id, c->id, sizeof(m->id));
	memcpy(m->name, c->name, sizeof(m->name));
	m->processor.count = c->processor.count;
	m->processor.threads_per_core = c->processor.threads_per_core;
	m->processor.cores_per_socket = c->processor.cores_per_socket;
	memcpy(m->processor.baseline, c->processor.baseline, sizeof(m->processor.baseline));
	m->processor.expose_virtualization = c->processor.expose_virtualization;
	m->memory.size_mb = c->memory.size_mb;
	m->memory.maximum_mb = c->memory.maximum_mb;
	m->memory.minimum_mb = c->memory.minimum_mb;
	m->memory.dynamic = c->memory.dynamic;
	m->memory.huge_pages = c->memory.huge_pages;
	memcpy(m->direct.cmdline, c->direct.cmdline, sizeof(m->direct.cmdline));
	m->scsi_controllers = c->devices.controllers;
	memcpy(m->ic.on, c->devices.service, sizeof(m->ic.on));
	m->ic.facts_s = VM_FACTS_S;
	memcpy(m->com, c->com, sizeof(m->com));
	memcpy(m->smbios.serial, c->smbios.serial, sizeof(m->smbios.serial));
	memcpy(m->smbios.asset_tag, c->smbios.asset_tag, sizeof(m->smbios.asset_tag));
	memcpy(m->generation_id, c->generation_id, sizeof(m->generation_id));
}

int
vm_config_check(const struct vm_config *c, struct err *e)
{
	static const uint8_t zero[GUID_BYTES];
	struct machine m;

	if (memcmp(c->id, zero, sizeof(zero)) == 0)
		return err_set(e, EINVAL, "Id: a machine's id is not all zeros");
	if (check_disks(c, e) < 0)
		return -EINVAL;
	to_machine(c, &m);
	m.direct.kernel_fd = 0; /* there will be one; nobody looks at it */
	return machine_check(&m, e);
}

/* --- parents in a document ---------------------------------------------------------------------------- */

static int
take_parents(struct vm_config *c, const struct vm_disk *d, struct err *e)
{
	const char *path[VM_CHAIN_MAX];
	size_t n = json_array_size(d->parents);

	if (!json_is_array(d->parents) || n > VM_CHAIN_MAX)
		return err_set(e, EINVAL, "Parents: not a list of at most %d paths", VM_CHAIN_MAX);
	for (size_t i = 0; i < n; i++) {
		const json_t *text = json_array_get(d->parents, i);
		size_t len = json_string_length(text);

		path[i] = json_string_value(text);
		if (len == 0 || len >= VM_DISK_PATH_SIZE || !text_is_clean(path[i], len))
			return err_set(
			    e, EINVAL, "Parents[%zu]: not a path of 1 to %d bytes", i, VM_DISK_PATH_SIZE - 1);
	}
	if (!vm_config_put_parents(c, d->controller, d->lun, path, n))
		return err_set(e, EINVAL, "Parents: there are more than %d of all disks", VM_MAX_PARENTS);
	return 0;
}

/* From the document, which is another's, to where they are kept; if it was read (rc 0). */
static int
take_all_parents(struct vm_config *c, int rc, struct err *e)
{
	for (size_t i = 0; i < VM_MAX_DISKS; i++) {
		struct vm_disk *d = &c->devices.disk[i];

		if (rc == 0 && i < c->devices.disks && d->parents) {
			rc = take_parents(c, d, e);
			if (rc < 0)
				err_wrap(e, rc, "Devices.Disks[%zu]", i);
		}
		d->parents = NULL;
	}
	return rc;
}

static void
put_parents(const struct vm_config *c, json_t *doc)
{
	json_t *disks = json_object_get(json_object_get(doc, "Devices"), "Disks");

	for (size_t i = 0; c->devices.parents && i < c->devices.disks; i++) {
		const struct vm_disk *d = &c->devices.disk[i];
		const char *path[VM_CHAIN_MAX];
		size_t n = vm_config_parents(c, d->controller, d->lun, path);
		json_t *list = n ? json_array() : NULL;

		for (size_t j = 0; j < n; j++)
			json_array_append_new(list, json_string(path[j]));
		if (list)
			json_object_set_new(json_array_get(disks, i), "Parents", list);
	}
}

/* --- reading, writing --------------------------------------------------------------------------------- */

/* People write them in any order. */
static int
by_place(const void *a, const void *b)
{
	const struct vm_disk *x = a, *y = b;

	return is_before(x, y->controller, y->lun) ? -1 : 1;
}

static void
sort_disks(struct vm_config *c)
{
	qsort(c->devices.disk, c->devices.disks, sizeof(c->devices.disk[0]), by_place);
	for (size_t i = 0; c->devices.parents && i < c->devices.disks; i++) {
		const struct vm_disk *d = &c->devices.disk[i];
		const char *path[VM_CHAIN_MAX];
		size_t n = vm_config_parents(c, d->controller, d->lun, path);

		vm_config_put_parents(c, d->controller, d->lun, path, n); /* behind those before it */
	}
}

int
vm_config_read(struct vm_config *c, json_t *doc, struct err *e)
{
	int rc;

	vm_config_defaults(c);
	rc = schema_read(vm_config_fields, doc, NULL, c, e);
	rc = take_all_parents(c, rc, e);
	if (rc == 0)
		rc = vm_config_check(c, e);
	if (rc == 0)
		sort_disks(c);
	return rc;
}

json_t *
vm_config_write(const struct vm_config *c)
{
	json_t *doc = schema_write(vm_config_fields, c);

	put_parents(c, doc);
	return doc;
}

void
vm_config_memory(const struct vm_config *c, uint64_t *least, uint64_t *most)
{
	*least = c->memory.minimum_mb ? c->memory.minimum_mb : c->memory.size_mb;
	*most = c->memory.maximum_mb ? c->memory.maximum_mb : c->memory.size_mb;
}

bool
vm_config_same(const struct vm_config *a, const struct vm_config *b)
{
	json_t *x = vm_config_write(a), *y = vm_config_write(b);
	bool same = x && y && json_equal(x, y);

	json_decref(x);
	json_decref(y);
	return same;
}

json_t *
vm_config_worker(const struct vm_config *c)
{
	struct machine m;
	json_t *doc, *direct;

	to_machine(c, &m);
	doc = schema_write(machine_fields, &m);
	direct = json_object_get(doc, "LinuxKernelDirect");
	if (json_object_set_new(direct, "Kernel", json_integer(0)) < 0 ||
	    (c->direct.initrd[0] && json_object_set_new(direct, "Initrd", json_integer(1)) < 0)) {
		json_decref(doc);
		return NULL;
	}
	return json_pack("{s:o}", "Machine", doc);
}

int
vm_name_check(const char *name, struct err *e)
{
	size_t len = strlen(name);
	uint8_t guid[GUID_BYTES];

	if (len == 0 || len >= VM_NAME_SIZE)
		return err_set(
		    e, EINVAL, "a machine's name has 1 to %d bytes, not %zu", VM_NAME_SIZE - 1, len);
	if (!text_is_clean(name, len))
		return err_set(e, EINVAL, "a machine's name has no control characters");
	if (name[0] == '.' || name[0] == '-' || name[0] == ' ' || name[len - 1] == ' ')
		return err_set(e, EINVAL,
		    "'%s': a machine's name does not begin with . - or a space, nor end with one", name);
	if (strpbrk(name, "/*?"))
		return err_set(e, EINVAL, "'%s': a machine's name has no / * or ?", name);
	if (guid_parse(name, guid))
		return err_set(e, EINVAL, "'%s': a machine's name does not look like an id", name);
	return 0;
}

void
vm_new_guid(uint8_t guid[GUID_BYTES])
{
	size_t done = 0;

	while (done < GUID_BYTES) {
		ssize_t n = getrandom(guid + done, GUID_BYTES - done, 0);

		done += n > 0 ? (size_t)n : 0;
	}
	guid[6] = (uint8_t)((guid[6] & 0x0f) | 0x40); /* RFC 9562: version 4, variant 10 */
	guid[8] = (uint8_t)((guid[8] & 0x3f) | 0x80);
}
