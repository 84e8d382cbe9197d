/*
 * tests/fuzz/machine_fuzz.c - the input is the description of a machine. Whatever it is, it is refused in
 * words or its rules hold and its tables can be made; no descriptor is lost.
 */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hypervisor/boot/boot.h"
#include "hypervisor/core/machine.h"
#include "tests/fuzz/fuzz.h"

static struct gmem *mem;
static int file;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	json_object_seed(1); /* an input takes the same path every time */
	must(gmem_new(&mem, 0x100000, false, NULL) == 0);
	must(gmem_add(mem, 0, 0x100000, NULL, NULL) == 0);
	file = memfd_create("file", MFD_CLOEXEC);
	must(file >= 0);
	return 0;
}

static void
check_machine(const struct machine *m)
{
	struct memory_map map;
	uint64_t mb = 0;

	machine_map(m, &map);
	must(map.low_ram + map.high_ram == m->memory.size_mb << 20);
	must(map.high_limit >= MAP_HIGH_RAM + map.high_ram);
	must(map.vmbus_high >= map.high_limit && map.pci_high > map.vmbus_high && map.end > map.pci_high);
	must(map.end < 1ull << 45);
	for (unsigned vp = 0; vp < m->processor.count; vp++)
		must(machine_apic_id(m, vp) < 128 && machine_node_of(m, vp) <= m->nodes);
	for (size_t i = 0; i < m->nodes; i++)
		mb += m->node[i].memory_mb;
	must(m->nodes == 0 || mb == m->memory.size_mb);
	must(m->direct.kernel_fd >= 0);
	must(boot_tables(m, mem, NULL) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct machine m;
	struct err e = { 0 };
	int fd[2] = { dup(file), dup(file) }, first = fd[0];
	struct fd_set_in fds = { fd, 2 };
	json_t *doc = schema_parse((const char *)data, size, &e);

	if (doc) {
		if (machine_read(&m, doc, &fds, &e) == 0) {
			check_machine(&m);
			machine_close(&m);
		} else {
			must(e.code != 0 && e.msg[0] != '\0');
		}
		json_decref(doc);
	}
	for (size_t i = 0; i < 2; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	fd[0] = dup(file);
	must(fd[0] == first); /* the lowest free number again: none was lost */
	close(fd[0]);
	return 0;
}
