/*
 * hypervisor/core/synic.h - the synthetic interrupt controller as the bus uses it (vmbus/host.h), on KVM:
 * messages and event flags in the guest's pages, interrupts through irqfds, guest's signals through KVM's
 * eventfds.
 */
#ifndef HYPERVISOR_CORE_SYNIC_H
#define HYPERVISOR_CORE_SYNIC_H

#include "hypervisor/core/partition.h"

/* Interrupt routes and descriptors of all processors, which must exist. Fills in p->vmbus_host. */
int synic_setup(struct partition *p, struct err *e);
/* What a processor's registers are now: from an exit, on its thread. */
void synic_set(struct vcpu *v, uint64_t control, uint64_t event_page, uint64_t message_page);
/* The same for all stopped processors, from KVM: after power-on and after a restore. */
int synic_reload(struct partition *p, struct err *e);
void synic_free(struct partition *p);

#endif
