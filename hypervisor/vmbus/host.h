/*
 * hypervisor/vmbus/host.h - all that the bus and its devices see of the partition around them.
 *
 * In a worker it is core/synic.c on KVM; in units and fuzz targets a fake partition
 * (tests/unit/fake_vmbus.h), so that a guest's every message and packet can be tried in milliseconds.
 */
#ifndef HYPERVISOR_VMBUS_HOST_H
#define HYPERVISOR_VMBUS_HOST_H

#include <stddef.h>
#include <stdint.h>

#include "hypervisor/core/gmem.h"
#include "lib/err.h"

enum { SYNIC_MESSAGE_MAX = 240, VMBUS_SINT = 2 };

struct vmbus_host {
	void *ctx;
	struct gmem *mem;
	unsigned vps; /* virtual processors of the machine: VP indices are 0..vps-1 */

	/*
	 * Puts a message into the slot of VMBUS_SINT of vp and raises its interrupt. 0: delivered. -EAGAIN:
	 * the slot still holds one (the guest has been told that another waits): try again in a millisecond.
	 * -ENOTCONN: this processor takes no messages (SynIC or message page is off). Control thread.
	 */
	int (*post)(void *ctx, unsigned vp, uint32_t type, const void *payload, size_t len);
	/*
	 * While bound, HvSignalEvent on connection `conn` (up to 0xffffff) makes fd, an eventfd, readable
	 * without leaving the kernel. Control thread. -EEXIST: bound already.
	 */
	int (*bind)(void *ctx, uint32_t conn, int fd, struct err *e);
	void (*unbind)(void *ctx, uint32_t conn);
	/* Sets event flag `flag` (below 2048) of VMBUS_SINT on vp, and raises the interrupt if it was clear.
	 * Does nothing where the guest has no event page. Any thread; neither blocks nor allocates. */
	void (*signal)(void *ctx, unsigned vp, unsigned flag);
	/* Calls vmbus_retry (vmbus/bus.h) once, about `ms` milliseconds from now, on the control thread. */
	void (*retry)(void *ctx, unsigned ms);
};

#endif
