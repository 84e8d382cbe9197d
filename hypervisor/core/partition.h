/*
 * hypervisor/core/partition.h - one child partition on KVM: its memory, processors, interrupt
 * controllers and devices.
 *
 * Threads. The control thread owns the partition: it builds, starts, stops, saves and frees it. Each
 * virtual processor has a thread that only runs the guest and answers its exits. Processors ask the
 * control thread for what they may not do themselves (reset, power off, report a panic) through
 * partition_ask; it then finds partition_wake_fd readable and takes the requests with
 * partition_take_asked. While the processors are stopped (partition_stop) the control thread may touch
 * all of their state.
 */
#ifndef HYPERVISOR_CORE_PARTITION_H
#define HYPERVISOR_CORE_PARTITION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/boot/boot.h"
#include "hypervisor/chipset/bus.h"
#include "hypervisor/core/cpuid.h"
#include "hypervisor/core/gmem.h"
#include "hypervisor/core/hyperv.h"
#include "hypervisor/core/machine.h"
#include "hypervisor/core/vcpu.h"
#include "hypervisor/vmbus/bus.h"
#include "lib/err.h"

enum { PARTITION_MAX_DEVICES = 16 };

/* What a processor can ask of the control thread: bits. */
enum asked {
	ASKED_POWER_OFF = 1 << 0,
	ASKED_RESET = 1 << 1,
	ASKED_PANIC = 1 << 2,   /* the guest reported a panic: partition.panic */
	ASKED_FAILED = 1 << 3,  /* a processor cannot go on: partition.failure */
	ASKED_CONSOLE = 1 << 4, /* a serial port has something to say, or room for more */
	ASKED_VMBUS = 1 << 5,   /* the guest has sent the bus a message */
	ASKED_DEVICES = 1 << 6, /* an I/O thread has news (worker/storage.c) */
	/* After any of these the guest must not run on. */
	ASKED_TO_END = ASKED_POWER_OFF | ASKED_RESET | ASKED_FAILED,
};

struct partition {
	const struct machine *machine; /* the owner's; outlives the partition */
	struct memory_map map;
	const struct host *host_info; /* the owner's, too */
	int vm_fd;
	struct gmem *mem;
	struct cpuid_table cpuid; /* of virtual processor 0 */
	uint32_t tsc_khz;
	struct vcpu *vcpu; /* machine->processor.count of them */
	unsigned vcpus;

	struct bus ports;
	struct device_host host;
	struct device *device[PARTITION_MAX_DEVICES]; /* in power-on order */
	unsigned devices;
	struct device *pm, *com[MACHINE_COM_PORTS]; /* also in device[] */

	/* Running and stopping: go is what processors obey, parked counts those that have. */
	pthread_mutex_t lock;
	pthread_cond_t go_cond, parked_cond;
	atomic_bool go;
	unsigned parked;
	unsigned generation; /* of go: a processor that stopped by itself goes on only in the next */
	bool refused;        /* a processor thread could not put up its walls: nothing may run */

	int wake_fd;
	atomic_uint asked;

	pthread_mutex_t crash_lock; /* crash, panic, failure */
	struct hv_crash crash;
	char panic[HV_CRASH_TEXT + 1];
	char failure[200];

	int64_t clock_offset; /* guest reference time = CLOCK_MONOTONIC_RAW + this, in ns */
	int timer_fd;         /* wakes the control thread for the earliest device timer */
	pthread_mutex_t timer_lock;
	uint64_t deadline[PARTITION_MAX_DEVICES]; /* in reference time, UINT64_MAX: none */
	uint64_t retry_at;                        /* the same for the bus */

	struct vmbus_host vmbus_host; /* what the bus sees of us: core/synic.c */
	struct vmbus *vmbus;
	struct hv_mail mail; /* where HvPostMessage goes */

	bool fresh;     /* at power-on still: nothing has run */
	void *power_on; /* what every processor and interrupt controller was at power-on */
	size_t power_on_len;
	size_t slots; /* memory regions KVM knows */
};

/* Builds everything and starts the processor threads, stopped. `saved` is the CPUID table of a machine
 * that comes from saved state, else NULL. `thread_walls` is run first on each thread (sandbox). host and m
 * must outlive the partition. */
int partition_new(struct partition **out, const struct host *host, const struct machine *m,
    const struct cpuid_table *saved, int (*thread_walls)(struct err *), struct err *e);
/* Only for a partition whose processors are stopped; does not wait for their threads (the process ends). */
void partition_free(struct partition *p);

/* Puts everything back to power-on and loads the guest again. Processors must be stopped, and every synthetic
 * device must have let go of guest memory: -EBUSY otherwise (partition_let_go begins that). */
int partition_power_on(struct partition *p, struct err *e);

/* The guest is gone: closes its channels. True when no device uses guest memory any more; else it is so when
 * vmbus_idle says so. */
bool partition_let_go(struct partition *p);

void partition_go(struct partition *p);
void partition_stop(struct partition *p); /* returns when no processor is in the guest */

void partition_ask(struct partition *p, enum asked what);
unsigned partition_take_asked(struct partition *p); /* also clears wake_fd */
/* Has vmbus_retry called about ms milliseconds from now. */
void partition_retry_in(struct partition *p, unsigned ms);
/* Runs the devices' timers that are due. Called when timer_fd is readable. */
void partition_timers(struct partition *p);

/* Where the next memory that is added while running will be. */
uint64_t partition_memory_end(const struct partition *p);
/* Memory added while running appears from map.hot_add on. Multiple of 2 MiB. *gpa: where. */
int partition_add_memory(struct partition *p, uint64_t bytes, uint64_t *gpa, struct err *e);
/* Non-maskable interrupt to every processor of a running partition, as the "NMI" button of a server does. Its
 * processors stop for that moment. */
int partition_nmi(struct partition *p, struct err *e);
/* Guest reference time, ns. */
uint64_t partition_now(const struct partition *p);

/* Called by a processor's thread: notes that it cannot go on, and asks for help. */
void partition_fail(struct partition *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The whole state outside guest memory and devices: clock, interrupt controllers, processors. In one
 * buffer that the caller frees; processors must be stopped. */
int partition_save_state(struct partition *p, void **buf, size_t *len, struct err *e);
int partition_restore_state(struct partition *p, const void *buf, size_t len, struct err *e);

#endif
