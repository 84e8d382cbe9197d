/*
 * tests/fuzz/boot_fuzz.c - the input is a kernel, and all of it again an initrd if the first byte is odd.
 * Whatever it is, it is refused in words or lies where the processor is told to start, and the tables
 * below 1 MiB are as they were.
 *
 * Memory and files are made once and reused; what a loader does does not depend on what is in them.
 */
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hypervisor/boot/boot.h"
#include "tests/fuzz/fuzz.h"

enum { MEMORY_MB = 4, TABLES_LEN = 0x20000 };
static struct machine machine;
static struct gmem *mem;
static int kernel, initrd;

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	machine_defaults(&machine);
	machine.memory.size_mb = machine.memory.maximum_mb = MEMORY_MB;
	memcpy(machine.direct.cmdline, "quiet", sizeof("quiet"));
	must(gmem_new(&mem, MEMORY_MB << 20, false, NULL) == 0);
	must(gmem_add(mem, 0, MEMORY_MB << 20, NULL, NULL) == 0);
	memset(gmem_span(mem, MAP_TABLES, TABLES_LEN), 0xa5, TABLES_LEN);
	kernel = memfd_create("kernel", MFD_CLOEXEC);
	initrd = memfd_create("initrd", MFD_CLOEXEC);
	must(kernel >= 0 && initrd >= 0);
	return 0;
}

static void
fill(int fd, const uint8_t *data, size_t size)
{
	must(ftruncate(fd, 0) == 0);
	must(pwrite(fd, data, size, 0) == (ssize_t)size);
}

static bool
tables_are_untouched(void)
{
	const uint8_t *t = gmem_span(mem, MAP_TABLES, TABLES_LEN);

	return t[0] == 0xa5 && memcmp(t, t + 1, TABLES_LEN - 1) == 0;
}

static void
check_entry(const struct boot_entry *entry)
{
	must(entry->rip >= 0x100000 && entry->rip < MEMORY_MB << 20);
	must((entry->rsi == 0) != (entry->rbx == 0));
	must(gmem_span(mem, entry->rsi + entry->rbx, 4096));
	must(gmem_span(mem, entry->gdt, entry->gdt_len));
	must((entry->mode == BOOT_LONG64) == (entry->cr3 != 0));
	must(gmem_span(mem, entry->cr3, 4096));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct boot_entry entry;
	struct err e = { 0 };
	int rc;

	if (size == 0)
		return 0;
	fill(kernel, data + 1, size - 1);
	fill(initrd, data, size);
	machine.direct.kernel_fd = kernel;
	machine.direct.initrd_fd = (data[0] & 1) != 0 ? initrd : -1;
	rc = boot_load(&machine, mem, &entry, &e);
	must(tables_are_untouched());
	if (rc == 0) {
		check_entry(&entry);
	} else {
		must(rc == -e.code);
		must(strncmp(e.msg, "kernel: ", 8) == 0 || strncmp(e.msg, "initrd: ", 8) == 0);
	}
	return 0;
}
