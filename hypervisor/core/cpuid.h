/*
 * hypervisor/core/cpuid.h - what processors a machine sees.
 *
 * The table starts from what KVM supports on this host, keeps only the features of the machine's
 * baseline (so that it can move to another host that has them), puts the machine's topology in, and
 * replaces KVM's own leaves by Hyper-V's (hyperv.h). A saved machine keeps the table it had.
 */
#ifndef HYPERVISOR_CORE_CPUID_H
#define HYPERVISOR_CORE_CPUID_H

#include <linux/kvm.h>
#include <stdint.h>

#include "hypervisor/core/host.h"
#include "hypervisor/core/machine.h"
#include "lib/err.h"

enum { CPUID_MAX = 128 };

struct cpuid_table {
	uint32_t n;
	struct kvm_cpuid_entry2 e[CPUID_MAX]; /* of virtual processor 0 */
};

/* Fills t for machine m on this host. -EINVAL when the baseline is not known, -ENOTSUP
 * when the host does not have all of it; the sentence names the first feature that is missing. */
int cpuid_build(struct cpuid_table *t, const struct host *host, const struct machine *m, struct err *e);
/* The entries that differ from one virtual processor to the next: APIC ids. */
void cpuid_for_processor(struct cpuid_table *t, const struct machine *m, unsigned vp);
/* Can this host run a machine that was saved with table t? -ENOTSUP names what is missing. */
int cpuid_runs_here(const struct cpuid_table *t, const struct cpuid_table *here, struct err *e);
/* Physical address bits the guest sees. */
unsigned cpuid_address_bits(const struct cpuid_table *t);

struct kvm_cpuid_entry2 *cpuid_find(struct cpuid_table *t, uint32_t leaf, uint32_t index);
/* Adds or replaces; a full table drops it (never happens with what KVM reports). */
void cpuid_set(struct cpuid_table *t, struct kvm_cpuid_entry2 e);

#endif
