/*
 * hypervisor/core/host.h - does this host have what a partition needs?
 *
 * Asked once, before anything is set up, so that a host that lacks something gives one sentence that
 * names it and what to switch on, and nothing is left half started.
 */
#ifndef HYPERVISOR_CORE_HOST_H
#define HYPERVISOR_CORE_HOST_H

#include <stdbool.h>

#include "lib/err.h"

struct host {
	int kvm_fd;        /* /dev/kvm, close-on-exec */
	bool virtual_apic; /* interrupts are acknowledged without an exit (APICv, AVIC) */
};

/* Opens /dev/kvm and checks: KVM, its capabilities, SLAT, NX, Hyper-V support. 0, or -errno with the
 * sentence. Needs /dev and /sys. */
int host_open(struct host *h, struct err *e);

#endif
