/*
 * tests/lab/guest/kernel.c - the kernel of the guest itself: a variable of it, and another one in its place.
 */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/reboot.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/lab/guest/tool.h"

#ifndef SYS_kexec_file_load /* 32-bit kernels do not have it */
#define SYS_kexec_file_load -1
#endif
#define KEXEC_ON_CRASH 2ul /* KEXEC_FILE_ON_CRASH */

/* --- variables -------------------------------------------------------------------------------------- */

static uintptr_t
symbol(const char *name)
{
	char line[512], found[256];
	unsigned long long at = 0;
	FILE *f = fopen("/proc/kallsyms", "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx %*c %255s", &at, found) == 2 && strcmp(found, name) == 0)
			break;
		at = 0;
	}
	if (f)
		fclose(f);
	return (uintptr_t)at;
}

/* Where an address of the kernel is in /proc/kcore; 0 when it is not. */
static off_t
in_core(int core, uintptr_t at)
{
	ElfW(Ehdr) head;
	ElfW(Phdr) part;

	if (pread(core, &head, sizeof(head), 0) != sizeof(head))
		return 0;
	for (int i = 0; i < head.e_phnum; i++) {
		if (pread(core, &part, sizeof(part), (off_t)(head.e_phoff + (unsigned)i * sizeof(part))) !=
		    sizeof(part))
			return 0;
		if (part.p_type == PT_LOAD && at >= part.p_vaddr && at - part.p_vaddr < part.p_memsz)
			return (off_t)(at - part.p_vaddr + part.p_offset);
	}
	return 0;
}

int
tool_variable(char **args)
{
	int core = open("/proc/kcore", O_RDONLY | O_CLOEXEC);
	uintptr_t at = symbol(args[0]);
	off_t where = core >= 0 && at ? in_core(core, at) : 0;
	uint32_t v = 0;

	if (!where || pread(core, &v, sizeof(v), where) != sizeof(v)) {
		printf("FH-VARIABLE %s is not to be had\n", args[0]);
		return 1;
	}
	printf("FH-VARIABLE %s 0x%x\n", args[0], v);
	return 0;
}

/* --- the next kernel -------------------------------------------------------------------------------- */

/* The first bytes of a disk, as a file; "-" for none. */
static int
copy(const char *path, const char *size)
{
	static char buf[1 << 16];
	int from = open(path, O_RDONLY | O_CLOEXEC), to = memfd_create("kexec", MFD_CLOEXEC);
	size_t left = strtoul(size, NULL, 10);

	while (from >= 0 && to >= 0 && left > 0) {
		ssize_t n = read(from, buf, left < sizeof(buf) ? left : sizeof(buf));

		if (n <= 0 || write(to, buf, (size_t)n) != n)
			return -1;
		left -= (size_t)n;
	}
	close(from);
	return to;
}

int
tool_kexec(char **args)
{
	int kernel = copy(args[1], args[2]), initrd = copy(args[3], args[4]);
	unsigned long flags = strcmp(args[0], "crash") == 0 ? KEXEC_ON_CRASH : 0;

	if (kernel < 0 || initrd < 0 ||
	    syscall(SYS_kexec_file_load, kernel, initrd, strlen(args[5]) + 1, args[5], flags) != 0) {
		printf("FH-KEXEC not loaded: %s\n", strerror(errno));
		return 1;
	}
	printf("FH-KEXEC loaded\n");
	if (flags)
		return 0;
	sync();
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, NULL);
	printf("FH-KEXEC failed: %s\n", strerror(errno));
	return 1;
}
