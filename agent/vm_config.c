/* agent/vm_config.c - vm.json: its table, its rules, and what a worker is told of it. */
#include "agent/vm_config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "hypervisor/core/machine.h"
#include "lib/text.h"

/* A worker takes what we promise here. */
_Static_assert((int)VM_MIN_MB == MACHINE_MIN_MB && (int)VM_MAX_MB == MACHINE_MAX_MB, "memory");
_Static_assert((int)VM_MAX_PROCESSORS == MACHINE_MAX_PROCESSORS, "processors");
_Static_assert((int)VM_COM_PORTS == MACHINE_COM_PORTS, "serial ports");
_Static_assert((int)VM_CMDLINE_SIZE == MACHINE_CMDLINE, "command line");
_Static_assert((int)VM_NAME_SIZE == sizeof(((struct machine *)0)->name), "name");

const char *const vm_auto_start_names[] = { "Nothing", "StartIfRunning", "Start", NULL };
const char *const vm_auto_stop_names[] = { "ShutDown", "TurnOff", NULL };
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
	c->memory.size_mb = 512;
	c->com[0] = true;
}

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
	m->memory.huge_pages = c->memory.huge_pages;
	memcpy(m->direct.cmdline, c->direct.cmdline, sizeof(m->direct.cmdline));
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
	to_machine(c, &m);
	m.direct.kernel_fd = 0; /* there will be one; nobody looks at it */
	return machine_check(&m, e);
}

int
vm_config_read(struct vm_config *c, json_t *doc, struct err *e)
{
	int rc;

	vm_config_defaults(c);
	rc = schema_read(vm_config_fields, doc, NULL, c, e);
	return rc < 0 ? rc : vm_config_check(c, e);
}

json_t *
vm_config_write(const struct vm_config *c)
{
	return schema_write(vm_config_fields, c);
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
