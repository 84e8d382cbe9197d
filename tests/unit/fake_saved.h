/*
 * tests/unit/fake_saved.h - a partition without threads on a fake KVM, for what is done with its saved state
 * over and over: made in microseconds. Devices, memory, clock and processors are real.
 */
#ifndef TESTS_UNIT_FAKE_SAVED_H
#define TESTS_UNIT_FAKE_SAVED_H

#include <sys/eventfd.h>

#include "hypervisor/core/partition_devices.h"
#include "hypervisor/core/synic.h"
#include "hypervisor/state/save.h"
#include "hypervisor/state/stream.h"
#include "tests/unit/fake_partition.h"

/* Its processors: as many as the fake has been asked for already. p is zero; host and m outlive it. */
static inline int
fake_saved_init(struct partition *p, const struct host *host, const struct machine *m, struct err *e)
{
	int rc;

	memset(p, 0, sizeof(*p));
	p->machine = m;
	p->host_info = host;
	p->wake_fd = p->timer_fd = -1;
	p->tsc_khz = 2000000;
	pthread_mutex_init(&p->lock, NULL);
	pthread_mutex_init(&p->timer_lock, NULL);
	pthread_mutex_init(&p->crash_lock, NULL);
	machine_map(m, &p->map);
	p->vm_fd = ioctl(host->kvm_fd, KVM_CREATE_VM, 0);
	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->vm_fd < 0 || p->wake_fd < 0)
		return err_sys(e, "fake");
	rc = gmem_new(&p->mem, m->memory.maximum_mb << 20, false, e);
	if (rc == 0)
		rc = gmem_add(p->mem, 0, p->map.low_ram, NULL, e);
	if (rc == 0)
		rc = cpuid_build(&p->cpuid, host, m, e);
	p->vcpu = calloc(m->processor.count, sizeof(*p->vcpu));
	if (!p->vcpu)
		return err_set(e, ENOMEM, "processors: out of memory");
	for (uint64_t i = 0; i < m->processor.count; i++)
		p->vcpu[i] = (struct vcpu){ .fd = -1, .event_fd = -1, .run_len = FAKE_RUN_LEN };
	for (; rc == 0 && p->vcpus < m->processor.count; p->vcpus++)
		rc = vcpu_new(&p->vcpu[p->vcpus], p, p->vcpus, e);
	if (rc == 0)
		rc = partition_make_devices(p, e);
	return rc < 0 ? rc : partition_make_bus(p, e);
}

/* All that fake_saved_init made, however far it came. */
static inline void
fake_saved_free(struct partition *p)
{
	vmbus_free(p->vmbus);
	synic_free(p);
	for (unsigned i = 0; i < p->devices; i++)
		device_free(p->device[i]);
	for (uint64_t i = 0; p->vcpu && i < p->machine->processor.count; i++)
		vcpu_free(&p->vcpu[i]);
	gmem_free(p->mem);
	for (int i = 0; i < 3; i++)
		if ((const int[]){ p->vm_fd, p->wake_fd, p->timer_fd }[i] >= 0)
			close((const int[]){ p->vm_fd, p->wake_fd, p->timer_fd }[i]);
	free(p->vcpu);
	fake_kvm_forget_vm();
	memset(p, 0, sizeof(*p));
	p->vm_fd = p->wake_fd = p->timer_fd = -1; /* freeing it again does nothing */
}

#endif
