/* hypervisor/sandbox/filters.c - puts the compiled allow-lists up. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "filters.h"
#include "hypervisor/sandbox/walls.h"

static int
install(const struct sock_filter *f, size_t n, struct err *e)
{
	struct sock_fprog prog = { .len = (unsigned short)n, .filter = (struct sock_filter *)(uintptr_t)f };

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0 ? err_sys(e, "seccomp") : 0;
}

int
walls_close_control(struct err *e)
{
	return install(control_filter, sizeof(control_filter) / sizeof(control_filter[0]), e);
}

int
walls_close_processor(struct err *e)
{
	return install(processor_filter, sizeof(processor_filter) / sizeof(processor_filter[0]), e);
}

int
walls_close_io(struct err *e)
{
	return install(io_filter, sizeof(io_filter) / sizeof(io_filter[0]), e);
}
