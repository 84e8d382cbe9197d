/*
 * hypervisor/core/machine.c - reading the description of a machine, and what follows from it alone:
 * topology and memory map.
 *
 * The table says what a document may hold; the rules between fields are the functions in `rules`,
 * asked one after the other. Nothing here looks at the host.
 */
#include "hypervisor/core/machine.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define MIB 0x100000ull
#define GIB 0x40000000ull

/* Every row of this file, nested ones too, is placed from the start of struct machine: objects are
 * at offset 0. Only elements of a list have a struct of their own. */
#define OBJECT(n, table, h) .name = n, .type = FIELD_OBJECT, .fields = table, .help = h
#define TEXT(m)             .type = FIELD_STRING, FIELD_AT(machine, m), .size = sizeof(((struct machine *)0)->m),
#define TEXT_MAX(m)         (sizeof(((struct machine *)0)->m) - 1)

const char *const machine_baselines[] = { "host", "x86-64-v2", "x86-64-v3", "x86-64-v4", NULL };
static const char *const page_sizes[] = { "Small", "Large", NULL };

/* clang-format off */
static const struct field processor_fields[] = {
	{ .name = "Count", .type = FIELD_UINT, FIELD_AT(machine, processor.count),
	  .min = 1, .max = MACHINE_MAX_PROCESSORS, .help = "Virtual processors." },
	{ .name = "ThreadsPerCore", .type = FIELD_UINT, FIELD_AT(machine, processor.threads_per_core),
	  .min = 1, .max = 2, .help = "Virtual processors that share a core." },
	{ .name = "CoresPerSocket", .type = FIELD_UINT, FIELD_AT(machine, processor.cores_per_socket),
	  .min = 0, .max = MACHINE_MAX_PROCESSORS, .help = "Cores in a socket; 0 puts all into one." },
	{ .name = "Baseline", TEXT(processor.baseline) .min = 1, .max = TEXT_MAX(processor.baseline),
	  .help = "Name of the set of processor features the guest sees; \"host\" for all of the host's." },
	{ .name = "ExposeVirtualizationExtensions", .type = FIELD_BOOL,
	  FIELD_AT(machine, processor.expose_virtualization), .help = "Lets the guest run guests of its own." },
	{ 0 }
};

static const struct field memory_fields[] = {
	{ .name = "SizeInMB", .type = FIELD_UINT, .required = true, FIELD_AT(machine, memory.size_mb),
	  .min = MACHINE_MIN_MB, .max = MACHINE_MAX_MB, .help = "Memory at start, in MiB." },
	{ .name = "MaximumSizeInMB", .type = FIELD_UINT, FIELD_AT(machine, memory.maximum_mb),
	  .min = 0, .max = MACHINE_MAX_MB, .help = "Most it may grow to while running; 0: SizeInMB." },
	{ .name = "MinimumSizeInMB", .type = FIELD_UINT, FIELD_AT(machine, memory.minimum_mb),
	  .min = 0, .max = MACHINE_MAX_MB, .help = "Least it may be asked to run with, if Dynamic; 0: SizeInMB." },
	{ .name = "Dynamic", .type = FIELD_BOOL, FIELD_AT(machine, memory.dynamic),
	  .help = "It changes between minimum and maximum while the machine runs, if the guest takes part." },
	{ .name = "BackingPageSize", .type = FIELD_ENUM, FIELD_AT(machine, memory.huge_pages),
	  .names = page_sizes, .help = "Pages of the host that hold it: Large takes reserved ones of 2 MiB." },
	{ 0 }
};

static const struct field node_fields[] = {
	{ .name = "MemorySizeInMB", .type = FIELD_UINT, .required = true, FIELD_AT(machine_node, memory_mb),
	  .min = 1, .max = MACHINE_MAX_MB, .help = "Memory of the node, in MiB." },
	{ .name = "ProcessorCount", .type = FIELD_UINT, .required = true, FIELD_AT(machine_node, processors),
	  .min = 1, .max = MACHINE_MAX_PROCESSORS, .help = "Virtual processors of the node." },
	{ 0 }
};

static const struct field numa_fields[] = {
	{ .name = "Nodes", .type = FIELD_LIST, FIELD_AT(machine, node), .count_offset = offsetof(struct machine, nodes),
	  .min = 0, .max = MACHINE_MAX_NODES, .size = sizeof(struct machine_node), .fields = node_fields,
	  .help = "Virtual NUMA nodes, in the order of addresses and processors; none: no NUMA." },
	{ 0 }
};

static const struct field direct_fields[] = {
	{ .name = "Kernel", .type = FIELD_FD, .required = true, FIELD_AT(machine, direct.kernel_fd),
	  .help = "Linux kernel (bzImage) or ELF file with a PVH note." },
	{ .name = "Initrd", .type = FIELD_FD, FIELD_AT(machine, direct.initrd_fd), .help = "Initial RAM disk." },
	{ .name = "CommandLine", TEXT(direct.cmdline) .min = 0, .max = TEXT_MAX(direct.cmdline),
	  .help = "Command line of the kernel." },
	{ 0 }
};

static const struct field com_fields[] = {
	{ .name = "Com1", .type = FIELD_BOOL, FIELD_AT(machine, com[0]), .help = "Serial port at 0x3f8, IRQ 4." },
	{ .name = "Com2", .type = FIELD_BOOL, FIELD_AT(machine, com[1]), .help = "Serial port at 0x2f8, IRQ 3." },
	{ 0 }
};

#define COMPONENT(n, i, h) { .name = n, .type = FIELD_BOOL, FIELD_AT(machine, ic.on[i]), .help = h }
static const struct field ic_fields[] = {
	COMPONENT("Heartbeat", 0, "Whether the guest lives is asked every two seconds."),
	COMPONENT("Shutdown", 1, "The guest can be asked to shut down, restart or hibernate."),
	COMPONENT("TimeSynchronization", 2, "The guest's clock follows the host's."),
	COMPONENT("KeyValuePairExchange", 3, "Facts of the guest are read, and it is told facts."),
	COMPONENT("VSS", 4, "The guest's file systems can be made to stand still for a checkpoint."),
	COMPONENT("GuestServiceInterface", 5, "Files can be copied into the guest."),
	{ .name = "TimeAtBoot", .type = FIELD_BOOL, FIELD_AT(machine, ic.time_at_boot),
	  .help = "The guest's clock is set when its driver is there." },
	{ .name = "TimeAtResume", .type = FIELD_BOOL, FIELD_AT(machine, ic.time_at_resume),
	  .help = "It is set when the machine goes on after a pause, or from saved state." },
	{ .name = "TimeAtHostStep", .type = FIELD_BOOL, FIELD_AT(machine, ic.time_at_step),
	  .help = "It is set when the host's clock is set." },
	{ .name = "TimeSampleInSeconds", .type = FIELD_UINT, FIELD_AT(machine, ic.time_sample_s), .max = 86400, .unit = "s",
	  .help = "Samples of the host's clock, for a guest that corrects its drift; 0: none." },
	{ .name = "FactsInSeconds", .type = FIELD_UINT, FIELD_AT(machine, ic.facts_s), .max = 86400, .unit = "s",
	  .help = "How often the guest's facts are read anew; 0: after its start, and when asked for." },
	{ 0 }
};

static const struct field devices_fields[] = {
	{ .name = "ScsiControllers", .type = FIELD_UINT, FIELD_AT(machine, scsi_controllers), .max = MACHINE_MAX_SCSI,
	  .help = "Storage controllers, for 64 disks and DVD drives each." },
	{ .name = "Sockets", .type = FIELD_BOOL, FIELD_AT(machine, sockets),
	  .help = "Streams between the guest and whoever controls the machine (hv_sock) are possible." },
	{ OBJECT("IntegrationServices", ic_fields, "Components that speak with drivers in the guest; none of them: there are none.") },
	{ .name = "NetworkThreads", .type = FIELD_UINT, FIELD_AT(machine, network_threads), .max = MACHINE_MAX_NET_THREADS,
	  .help = "I/O threads for network adapters; as many as the largest of them has queues, if that is more. Without one "
		  "none can come later." },
	{ 0 }
};
static const struct field smbios_fields[] = {
	{ .name = "SerialNumber", TEXT(smbios.serial) .min = 0, .max = TEXT_MAX(smbios.serial),
	  .help = "Serial number of the system." },
	{ .name = "AssetTag", TEXT(smbios.asset_tag) .min = 0, .max = TEXT_MAX(smbios.asset_tag),
	  .help = "Asset tag of the chassis." },
	{ 0 }
};

const struct field machine_fields[] = {
	{ .name = "ConfigurationVersion", .type = FIELD_UINT, .required = true, FIELD_AT(machine, version),
	  .min = MACHINE_VERSION, .max = MACHINE_VERSION, .help = "Fixes memory map, ports and tables." },
	{ .name = "Id", .type = FIELD_GUID, .required = true, FIELD_AT(machine, id), .help = "Identity of the machine." },
	{ .name = "Name", TEXT(name) .required = true, .min = 1, .max = TEXT_MAX(name), .help = "Label for people." },
	{ OBJECT("Processor", processor_fields, "Virtual processors and their topology.") },
	{ OBJECT("Memory", memory_fields, "Guest memory."), .required = true },
	{ OBJECT("Numa", numa_fields, "Virtual NUMA.") },
	{ OBJECT("LinuxKernelDirect", direct_fields, "A kernel given to the machine, started without firmware.") },
	{ OBJECT("Devices", devices_fields, "Synthetic devices.") },
	{ OBJECT("ComPorts", com_fields, "Serial ports.") },
	{ OBJECT("Smbios", smbios_fields, "What the guest reads in its SMBIOS tables.") },
	{ .name = "GenerationId", .type = FIELD_GUID, FIELD_AT(machine, generation_id),
	  .help = "VM generation id: changed when the machine goes back to an earlier state." },
	{ 0 }
};
/* clang-format on */

void
machine_defaults(struct machine *m)
{
	memset(m, 0, sizeof(*m));
	m->version = MACHINE_VERSION;
	m->processor.count = 1;
	m->processor.threads_per_core = 1;
	memcpy(m->processor.baseline, "host", sizeof("host"));
	m->direct.kernel_fd = -1;
	m->direct.initrd_fd = -1;
	m->ic.time_at_boot = m->ic.time_at_resume = m->ic.time_at_step = true;
}

static int
check_topology(struct machine *m, struct err *e)
{
	unsigned count = (unsigned)m->processor.count, threads = (unsigned)m->processor.threads_per_core;
	unsigned cores = count / threads, socket = (unsigned)m->processor.cores_per_socket;

	if (count % threads != 0)
		return err_set(e, EINVAL,
		    "Processor.Count: %u processors do not make whole cores of %u threads", count, threads);
	if (socket == 0)
		m->processor.cores_per_socket = socket = cores;
	if (cores % socket != 0)
		return err_set(
		    e, EINVAL, "Processor.CoresPerSocket: %u cores do not fill sockets of %u", cores, socket);
	return 0;
}

static int
check_memory(struct machine *m, struct err *e)
{
	unsigned long long size = m->memory.size_mb, most;

	if (m->memory.maximum_mb == 0)
		m->memory.maximum_mb = size;
	most = m->memory.maximum_mb;
	if (most < size)
		return err_set(
		    e, EINVAL, "Memory.MaximumSizeInMB: %llu is below the %llu MiB at start", most, size);
	if (m->memory.minimum_mb == 0)
		m->memory.minimum_mb = size;
	if (m->memory.minimum_mb > size || m->memory.minimum_mb < MACHINE_MIN_MB)
		return err_set(e, EINVAL,
		    "Memory.MinimumSizeInMB: %llu is not between %d and the %llu MiB at start",
		    (unsigned long long)m->memory.minimum_mb, MACHINE_MIN_MB, size);
	if (m->memory.dynamic && m->memory.huge_pages)
		return err_set(e, EINVAL, "Memory.Dynamic: memory in Large pages cannot be given back");
	if (m->memory.huge_pages && (size % 2 != 0 || most % 2 != 0))
		return err_set(e, EINVAL, "Memory.BackingPageSize: %llu MiB are not whole pages of 2 MiB",
		    size % 2 != 0 ? size : most);
	return 0;
}

static int
check_numa(struct machine *m, struct err *e)
{
	unsigned long long mb = 0, cpus = 0;

	if (m->nodes == 0) { /* one node: guests are told so, rather than left to search for more */
		m->nodes = 1;
		m->node[0] = (struct machine_node){ m->memory.size_mb, m->processor.count };
	}
	for (size_t i = 0; i < m->nodes; i++) {
		mb += m->node[i].memory_mb;
		cpus += m->node[i].processors;
	}
	if (mb != m->memory.size_mb)
		return err_set(e, EINVAL, "Numa.Nodes: they have %llu MiB in all, the machine %llu MiB", mb,
		    (unsigned long long)m->memory.size_mb);
	if (cpus != m->processor.count)
		return err_set(e, EINVAL, "Numa.Nodes: they have %llu processors in all, the machine %llu",
		    cpus, (unsigned long long)m->processor.count);
	return 0;
}

static int
check_boot(struct machine *m, struct err *e)
{
	if (m->direct.kernel_fd < 0)
		return err_set(
		    e, EINVAL, "LinuxKernelDirect.Kernel: missing, and no other way to boot is configured");
	return 0;
}

int
machine_check_baseline(const char *name, struct err *e)
{
	for (size_t i = 0; machine_baselines[i]; i++)
		if (strcmp(machine_baselines[i], name) == 0)
			return 0;
	return err_set(
	    e, EINVAL, "Processor.Baseline: '%s' is not one of host, x86-64-v2, x86-64-v3, x86-64-v4", name);
}

static int
check_baseline(struct machine *m, struct err *e)
{
	return machine_check_baseline(m->processor.baseline, e);
}

static int (*const rules[])(struct machine *, struct err *) = {
	check_topology,
	check_baseline,
	check_memory,
	check_numa,
	check_boot,
};

int
machine_check(struct machine *m, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(rules) / sizeof(rules[0]); i++)
		rc = rules[i](m, e);
	return rc;
}

int
machine_read(struct machine *m, json_t *doc, struct fd_set_in *fds, struct err *e)
{
	int rc;

	machine_defaults(m);
	rc = schema_read(machine_fields, doc, fds, m, e);
	if (rc == 0) {
		rc = machine_check(m, e);
		if (rc < 0)
			machine_close(m);
	}
	return rc;
}

static void
close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void
machine_close(struct machine *m)
{
	close_fd(&m->direct.kernel_fd);
	close_fd(&m->direct.initrd_fd);
}

/* Bits that n different numbers need. */
static unsigned
bits_for(uint64_t n)
{
	unsigned bits = 0;

	while (1ull << bits < n)
		bits++;
	return bits;
}

unsigned
machine_cores_per_socket(const struct machine *m)
{
	uint64_t cores = m->processor.count / m->processor.threads_per_core;

	return (unsigned)(m->processor.cores_per_socket != 0 ? m->processor.cores_per_socket : cores);
}

unsigned
machine_core_shift(const struct machine *m)
{
	return bits_for(m->processor.threads_per_core);
}

unsigned
machine_socket_shift(const struct machine *m)
{
	return machine_core_shift(m) + bits_for(machine_cores_per_socket(m));
}

/*
 * Guests find the topology by cutting the APIC id at whole bits (Intel SDM volume 3, "Extracting the
 * topology"), so ids have gaps when a number is not a power of two. Sockets are full and processors
 * at most 64: no id exceeds 127.
 */
uint32_t
machine_apic_id(const struct machine *m, unsigned vp)
{
	uint64_t threads = m->processor.threads_per_core, cores = machine_cores_per_socket(m);
	uint64_t core = vp / threads;

	return (uint32_t)(vp % threads | (core % cores) << machine_core_shift(m) |
			  (core / cores) << machine_socket_shift(m));
}

unsigned
machine_node_of(const struct machine *m, unsigned vp)
{
	uint64_t end = 0;

	for (size_t i = 0; i < m->nodes; i++) {
		end += m->node[i].processors;
		if (vp < end)
			return (unsigned)i;
	}
	return 0;
}

static uint64_t
align_up(uint64_t v, uint64_t unit)
{
	return (v + unit - 1) / unit * unit;
}

/* Sizes are at most MACHINE_MAX_MB, so nothing here can overflow. */
void
machine_map(const struct machine *m, struct memory_map *map)
{
	uint64_t size = m->memory.size_mb * MIB;
	uint64_t most = m->memory.maximum_mb * MIB;
	uint64_t high_end;

	map->low_ram = size < MAP_LOW_RAM_END ? size : MAP_LOW_RAM_END;
	map->high_ram = size - map->low_ram;
	high_end = MAP_HIGH_RAM + map->high_ram;
	map->hot_add = map->high_limit = high_end;
	if (most > size) {
		map->hot_add = align_up(high_end, MAP_HOT_ADD_ALIGN);
		map->high_limit = align_up(map->hot_add + (most - size), MAP_HOT_ADD_ALIGN);
	}
	map->vmbus_high = align_up(map->high_limit, GIB);
	map->pci_high = align_up(map->vmbus_high + MAP_VMBUS_HIGH_LEN, GIB);
	map->end = map->pci_high + MAP_PCI_HIGH_LEN;
}
