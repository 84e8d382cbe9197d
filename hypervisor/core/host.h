/*
 * hypervisor/core/host.h - does this host have what a partition needs?
 *
 * Asked once, before anything is set up, so that a host that lacks something gives one sentence that
 * names it and what to switch on, and nothing is left half started.
 */
#ifndef HYPERVISOR_CORE_HOST_H
#define HYPERVISOR_CORE_HOST_H

#include "lib/err.h"

/* Opens /dev/kvm and checks: KVM, its capabilities, SLAT, NX, Hyper-V support. Returns the descriptor
 * (close-on-exec, the caller's) or -errno with the sentence. Needs /dev and /sys. */
int host_open_kvm(struct err *e);

#endif
