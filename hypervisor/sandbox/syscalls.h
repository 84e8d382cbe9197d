/*
 * hypervisor/sandbox/syscalls.h - the table of system calls that each kind of thread may make.
 *
 * One table, read by the generator at build time (gen_filters.c, which compiles it with libseccomp) and
 * by the back door of the containment test, which tries everything that is not in it.
 */
#ifndef HYPERVISOR_SANDBOX_SYSCALLS_H
#define HYPERVISOR_SANDBOX_SYSCALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* THREAD_TOOL: fh-disk when it looks at images of strangers (disk_tool/confine.c). */
enum thread_kind {
	THREAD_CONTROL = 1 << 0,
	THREAD_PROCESSOR = 1 << 1,
	THREAD_IO = 1 << 2,
	THREAD_TOOL = 1 << 3
};

struct allowed_call {
	int nr;
	unsigned kinds; /* enum thread_kind bits */
	/* Only when argument `arg` (0-5), masked with `mask`, equals `value`; mask 0: whatever the arguments.
	 */
	unsigned arg;
	uint64_t mask, value;
	const char *why;
};

extern const struct allowed_call allowed_calls[];
extern const size_t allowed_calls_n;
extern const struct allowed_call tool_calls[];
extern const size_t tool_calls_n;

#endif
