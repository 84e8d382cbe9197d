/*
 * hypervisor/core/vcpu.h - one virtual processor: its thread, its exits, its state.
 */
#ifndef HYPERVISOR_CORE_VCPU_H
#define HYPERVISOR_CORE_VCPU_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "hypervisor/boot/boot.h"
#include "lib/err.h"

struct partition;
struct kvm_run;

/* Why a processor came out of the kernel: counted, and shown by "statistics", but for its stops. */
enum exit_kind { EXIT_IO, EXIT_MMIO, EXIT_MSR, EXIT_HYPERCALL, EXIT_STOP, EXIT_OTHER, EXIT_KINDS };

struct vcpu {
	struct partition *p;
	unsigned index; /* also the Hyper-V VP index */
	int fd;
	struct kvm_run *run;
	size_t run_len;
	pthread_t thread;
	int (*walls)(struct err *);
	/* A call from the control thread (vcpu_call), and whether this processor is out of its loop: both
	 * under the partition's lock; `called` may be looked at without. */
	_Atomic bool called;
	void (*call)(void *arg);
	void *call_arg;
	bool parked;
	/* Its SynIC's registers as the guest set them last (core/synic.c). */
	_Atomic uint64_t synic_control, event_page, message_page;
	int event_fd; /* raises VMBUS_SINT; -1: none */
	/* Written by this processor's thread only. */
	_Atomic uint64_t exits[EXIT_KINDS];
	atomic_int told; /* log_once */
};

/* Makes the processor and gives it CPUID and the Hyper-V interface. */
int vcpu_new(struct vcpu *v, struct partition *p, unsigned index, struct err *e);
void vcpu_free(struct vcpu *v);
/* Starts the thread, which waits for partition_go. */
int vcpu_start_thread(struct vcpu *v, int (*walls)(struct err *), struct err *e);
/* Makes the processor leave the guest, if it is there. Any thread. */
void vcpu_kick(struct vcpu *v);
/* Runs fn(arg) where this processor is in nobody's hands: on its own thread between two entries of the guest,
 * or here if it is stopped. Returns when it has run. fn must neither block nor take a lock. Control thread.
 */
void vcpu_call(struct vcpu *v, void (*fn)(void *arg), void *arg);
/* One MSR of a stopped processor. 0 or -errno. */
int vcpu_get_msr(struct vcpu *v, uint32_t index, uint64_t *value);
/* Signal handler for vcpu_kick: once a process, before any thread starts. */
int vcpu_setup_signal(struct err *e);

/* Before a stopped processor goes back to power-on: makes KVM load its nested page tables anew. Its state
 * must be restored after it. */
int vcpu_renew_paging(struct vcpu *v, struct err *e);
/* Non-maskable interrupt to a stopped processor, unless it waits to be started. */
int vcpu_nmi(struct vcpu *v, struct err *e);
/* Registers for the first instruction of a direct boot. Stopped processor at power-on state. */
int vcpu_set_entry(struct vcpu *v, const struct boot_entry *entry, struct err *e);

/* State: the bytes that vcpu_save writes, vcpu_restore takes. vcpu_save returns the number of bytes
 * (at most cap) or -errno. The bytes are untrusted; KVM checks what is in them. */
long vcpu_save(struct vcpu *v, void *buf, size_t cap, struct err *e);
int vcpu_restore(struct vcpu *v, const void *buf, size_t len, struct err *e);
/* Enough for any processor of this host. */
size_t vcpu_state_max(const struct vcpu *v);

/* Guest TSC = host TSC (scaled to the guest's rate) + offset. 0 or -errno. */
int vcpu_tsc_offset(struct vcpu *v, int64_t *offset);
int vcpu_set_tsc_offset(struct vcpu *v, int64_t offset);

#endif
