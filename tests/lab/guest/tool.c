/*
 * tests/lab/guest/tool.c - guest-tool, what a shell in a guest cannot do. Called by guest/init.
 *
 *   clocks N               N lines FH-CLOCKPAIR tsc monotonic_ns realtime_ns
 *   memsum MIB ABOVE       fills MIB MiB of memory at physical addresses above ABOVE MiB, sums it up twice
 *   memhold MIB ABOVE      the same, then answers each line it reads with the sum as it is now
 *   busy THREADS SECONDS   maps, writes and unmaps memory on all processors: IPIs and TLB flushes
 *   nested                 runs a guest of one instruction in KVM
 *   button                 ends when the power button is pressed
 *   cpuid                  a line FH-CPUID for each leaf of features
 *   io DISK MIB DEPTH THREADS AMOUNT
 *                          random verified I/O on the first MIB MiB (0: all), DEPTH in flight for each
 *                          thread; AMOUNT operations or, with an s behind it, seconds
 *   iocheck DISK           reads what io has written
 *   watch                  tells which disks come, go and change
 *   eject DRIVE            opens a DVD drive
 *   variable NAME          an int of the kernel's
 *   kexec now|crash KERNEL BYTES INITRD BYTES COMMAND-LINE
 *                          the next kernel, from disks
 *   sock-serve PORT N      N streams from the host: what comes goes back
 *   sock-call PORT BYTES N N streams to the host at once: so many bytes each, which are to come back
 *   udp-send ADDRESS PORT N LARGEST
 *                          N datagrams of up to LARGEST bytes
 *   udp-receive PORT N LARGEST
 *                          a line FH-UDP good bad when they have come, or no more come
 */
#include "tests/lab/guest/tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	int args;
	int (*run)(char **args);
} tools[] = {
	{ "clocks", 1, tool_clocks },
	{ "memsum", 2, tool_memsum },
	{ "memhold", 2, tool_memhold },
	{ "busy", 2, tool_busy },
	{ "nested", 0, tool_nested },
	{ "button", 0, tool_button },
	{ "cpuid", 0, tool_cpuid },
	{ "io", 5, tool_io },
	{ "iocheck", 1, tool_iocheck },
	{ "watch", 0, tool_watch },
	{ "eject", 1, tool_eject },
	{ "variable", 1, tool_variable },
	{ "kexec", 6, tool_kexec },
	{ "sock-serve", 2, tool_sock_serve },
	{ "sock-call", 3, tool_sock_call },
	{ "udp-send", 4, tool_udp_send },
	{ "udp-receive", 3, tool_udp_receive },
};

int
main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++)
		if (argc == tools[i].args + 2 && strcmp(argv[1], tools[i].name) == 0)
			return tools[i].run(argv + 2);
	fprintf(stderr, "guest-tool: see tests/lab/guest/tool.c\n");
	return 2;
}
