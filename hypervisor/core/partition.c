/*
 * hypervisor/core/partition.c - building, starting and stopping a partition.
 *
 * Its clock and its saved state are in partition_state.c, its devices in partition_devices.c.
 */
#include "hypervisor/core/partition.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "hypervisor/core/partition_devices.h"
#include "hypervisor/core/synic.h"

#define MIB 0x100000ull

/* --- talking to the control thread --------------------------------------------------------------- */

void
partition_ask(struct partition *p, enum asked what)
{
	uint64_t one = 1;

	/* Only the first to ask wakes: the control thread takes all bits at once. */
	if (atomic_fetch_or(&p->asked, what) == 0 && write(p->wake_fd, &one, sizeof(one)) < 0)
		return; /* the counter is full: readable already */
}

unsigned
partition_take_asked(struct partition *p)
{
	uint64_t n;

	if (read(p->wake_fd, &n, sizeof(n)) < 0)
		n = 0; /* nothing was pending */
	return atomic_exchange(&p->asked, 0);
}

void
partition_fail(struct partition *p, const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&p->crash_lock);
	va_start(ap, fmt);
	vsnprintf(p->failure, sizeof(p->failure), fmt, ap);
	va_end(ap);
	pthread_mutex_unlock(&p->crash_lock);
	partition_ask(p, ASKED_FAILED);
}

/* --- running ------------------------------------------------------------------------------------ */

void
partition_go(struct partition *p)
{
	pthread_mutex_lock(&p->lock);
	p->generation++;
	atomic_store(&p->go, true);
	pthread_cond_broadcast(&p->go_cond);
	pthread_mutex_unlock(&p->lock);
}

void
partition_stop(struct partition *p)
{
	pthread_mutex_lock(&p->lock);
	atomic_store(&p->go, false);
	if (p->parked < p->vcpus)
		for (unsigned i = 0; i < p->vcpus; i++)
			vcpu_kick(&p->vcpu[i]);
	while (p->parked < p->vcpus)
		pthread_cond_wait(&p->parked_cond, &p->lock);
	pthread_mutex_unlock(&p->lock);
}

/* KVM has whoever asks something of a processor wait until it leaves the guest: an idle one may never. */
int
partition_nmi(struct partition *p, struct err *e)
{
	int rc = 0;

	partition_stop(p);
	for (unsigned i = 0; rc == 0 && i < p->vcpus; i++)
		rc = vcpu_nmi(&p->vcpu[i], e);
	if (!(atomic_load(&p->asked) & ASKED_TO_END))
		partition_go(p);
	return rc;
}

/* --- memory ------------------------------------------------------------------------------------- */

static int
show_region(struct partition *p, const struct gmem_region *r, struct err *e)
{
	struct kvm_userspace_memory_region slot = { .slot = (uint32_t)p->slots,
		.guest_phys_addr = r->gpa,
		.memory_size = r->len,
		.userspace_addr = (uint64_t)(uintptr_t)r->host };

	if (ioctl(p->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
		return err_sys(e, "memory at %#llx", (unsigned long long)r->gpa);
	p->slots++;
	return 0;
}

/*
 * What processors see in system management mode: the first MiB, where that mode begins. We have no use for
 * the mode, but a guest can send itself the interrupt that leads there, and KVM gives up for good a machine
 * without memory to save the processor's state in. What is above is not there for it.
 */
static int
show_management_memory(struct partition *p, struct err *e)
{
	const struct gmem_region *low = gmem_region(p->mem, 0);
	struct kvm_userspace_memory_region slot = {
		.slot = 1u << 16, .memory_size = MIB, .userspace_addr = (uint64_t)(uintptr_t)low->host
	};

	if (ioctl(p->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MULTI_ADDRESS_SPACE) < 2)
		return 0; /* a KVM without that mode */
	return ioctl(p->vm_fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0 ? err_sys(e, "management memory") : 0;
}

/* RAM is only what KVM has agreed to: nothing is ever taken back from under a processor's thread. */
static int
add_region(struct partition *p, uint64_t gpa, uint64_t len, struct err *e)
{
	const struct gmem_region *r;
	int rc = gmem_prepare(p->mem, gpa, len, &r, e);

	if (rc == 0)
		rc = show_region(p, r, e);
	if (rc == 0)
		gmem_publish(p->mem);
	return rc;
}

static int
make_memory(struct partition *p, struct err *e)
{
	const struct machine *m = p->machine;
	uint64_t max = m->memory.maximum_mb > m->memory.size_mb ? m->memory.maximum_mb : m->memory.size_mb;
	int rc = gmem_new(&p->mem, max * MIB, m->memory.huge_pages, e);

	if (rc == 0)
		rc = add_region(p, 0, p->map.low_ram, e);
	if (rc == 0 && p->map.high_ram)
		rc = add_region(p, MAP_HIGH_RAM, p->map.high_ram, e);
	if (rc == 0)
		rc = show_management_memory(p, e);
	return rc;
}

uint64_t
partition_memory_end(const struct partition *p)
{
	uint64_t end = p->map.hot_add; /* where the tables say that it appears */

	for (size_t i = 0; i < gmem_regions(p->mem); i++) {
		const struct gmem_region *r = gmem_region(p->mem, i);

		if (r->gpa + r->len > end)
			end = r->gpa + r->len;
	}
	return end;
}

int
partition_add_memory(struct partition *p, uint64_t bytes, uint64_t *gpa, struct err *e)
{
	uint64_t end = partition_memory_end(p);
	int rc;

	if (bytes == 0 || bytes % (2 * MIB))
		return err_set(e, EINVAL, "memory is added in multiples of 2 MiB");
	if (bytes > p->map.high_limit - end)
		return err_set(e, ENOSPC, "only %llu MiB are left below Memory.MaximumSizeInMB",
		    (unsigned long long)((p->map.high_limit - end) / MIB));
	rc = add_region(p, end, bytes, e);
	if (rc == 0)
		*gpa = end;
	return rc;
}

/* --- building ----------------------------------------------------------------------------------- */

static int
create_vm(struct partition *p, struct err *e)
{
	struct kvm_enable_cap msr_exits = { .cap = KVM_CAP_X86_USER_SPACE_MSR,
		.args = { KVM_MSR_EXIT_REASON_FILTER } };
	struct kvm_enable_cap no_pmu = { .cap = KVM_CAP_PMU_CAPABILITY, .args = { KVM_PMU_CAP_DISABLE } };
	uint64_t deny = 0; /* a clear bit denies: the crash MSRs come to us; KVM reads whole words */
	struct kvm_msr_filter filter = { .flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges[0] = { .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
		    .base = HV_CRASH_P0,
		    .nmsrs = HV_CRASH_MSRS,
		    .bitmap = (uint8_t *)&deny } };
	uint64_t identity = MAP_KVM_TSS + 3 * GMEM_PAGE;

	do
		p->vm_fd = ioctl(p->host_info->kvm_fd, KVM_CREATE_VM, 0);
	while (p->vm_fd < 0 && errno == EINTR);
	if (p->vm_fd < 0)
		return err_sys(e, "KVM_CREATE_VM");
	if (ioctl(p->vm_fd, KVM_ENABLE_CAP, &msr_exits) < 0 ||
	    ioctl(p->vm_fd, KVM_X86_SET_MSR_FILTER, &filter) < 0)
		return err_sys(e, "MSR filter");
	if (ioctl(p->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_PMU_CAPABILITY) > 0)
		ioctl(
		    p->vm_fd, KVM_ENABLE_CAP, &no_pmu); /* saves work at every exit; not needed to be right */
	if (ioctl(p->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 ||
	    ioctl(p->vm_fd, KVM_SET_TSS_ADDR, (unsigned long)MAP_KVM_TSS) < 0)
		return err_sys(e, "KVM_SET_TSS_ADDR");
	if (ioctl(p->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return err_sys(e, "interrupt controllers");
	return 0;
}

static int
check_address_bits(struct partition *p, struct err *e)
{
	unsigned bits = cpuid_address_bits(&p->cpuid);

	if (bits < 64 && p->map.end > 1ull << bits)
		return err_set(e, E2BIG,
		    "Memory: the machine needs addresses up to %#llx, this host's processors have %u bits",
		    (unsigned long long)p->map.end, bits);
	return 0;
}

static int
make_processors(struct partition *p, struct err *e)
{
	int rc = 0, run_len = ioctl(p->host_info->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	unsigned n = (unsigned)p->machine->processor.count;

	if (run_len < 0)
		return err_sys(e, "KVM_GET_VCPU_MMAP_SIZE");
	p->vcpu = calloc(n, sizeof(*p->vcpu));
	if (!p->vcpu)
		return err_set(e, ENOMEM, "processors: out of memory");
	for (unsigned i = 0; i < n; i++) {
		p->vcpu[i].fd = p->vcpu[i].event_fd = -1;
		p->vcpu[i].run_len = (size_t)run_len;
	}
	for (; rc == 0 && p->vcpus < n; p->vcpus++)
		rc = vcpu_new(&p->vcpu[p->vcpus], p, p->vcpus, e);
	if (rc == 0)
		p->tsc_khz = (uint32_t)ioctl(p->vcpu[0].fd, KVM_GET_TSC_KHZ, 0);
	return rc;
}

/* Waits until every thread is up with its walls closed. */
static int
start_threads(struct partition *p, int (*walls)(struct err *), struct err *e)
{
	bool refused;

	for (unsigned i = 0; i < p->vcpus; i++) {
		int rc = vcpu_start_thread(&p->vcpu[i], walls, e);

		if (rc < 0)
			return rc;
	}
	partition_stop(p);
	pthread_mutex_lock(&p->lock);
	refused = p->refused;
	pthread_mutex_unlock(&p->lock);
	return refused ? err_set(e, EPERM, "a processor thread could not close its sandbox: see the log") : 0;
}

static void
init(struct partition *p, const struct host *host, const struct machine *m)
{
	p->machine = m;
	p->host_info = host;
	p->vm_fd = p->wake_fd = p->timer_fd = -1;
	pthread_mutex_init(&p->lock, NULL);
	pthread_mutex_init(&p->crash_lock, NULL);
	pthread_mutex_init(&p->timer_lock, NULL);
	pthread_cond_init(&p->go_cond, NULL);
	pthread_cond_init(&p->parked_cond, NULL);
	machine_map(m, &p->map);
}

/* A machine keeps the processors it was saved with, if this host can give them. */
static int
choose_cpuid(struct partition *p, const struct cpuid_table *saved, struct err *e)
{
	int rc = cpuid_build(&p->cpuid, p->host_info, p->machine, e);

	if (rc < 0 || !saved)
		return rc;
	rc = cpuid_runs_here(saved, &p->cpuid, e);
	if (rc == 0)
		p->cpuid = *saved;
	return rc;
}

static int
build(struct partition *p, const struct cpuid_table *saved, int (*walls)(struct err *), struct err *e)
{
	int rc;

	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->wake_fd < 0)
		return err_sys(e, "eventfd");
	rc = choose_cpuid(p, saved, e);
	if (rc == 0)
		rc = check_address_bits(p, e);
	if (rc == 0)
		rc = create_vm(p, e);
	if (rc == 0)
		rc = make_memory(p, e);
	if (rc == 0)
		rc = make_processors(p, e);
	if (rc == 0)
		rc = partition_make_devices(p, e);
	if (rc == 0)
		rc = partition_make_bus(p, e);
	if (rc == 0)
		rc = partition_keep_power_on(p, e);
	if (rc == 0)
		rc = start_threads(p, walls, e);
	p->fresh = true;
	return rc;
}

int
partition_new(struct partition **out, const struct host *host, const struct machine *m,
    const struct cpuid_table *saved, int (*thread_walls)(struct err *), struct err *e)
{
	struct partition *p = calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return err_set(e, ENOMEM, "partition: out of memory");
	init(p, host, m);
	rc = build(p, saved, thread_walls, e);
	if (rc < 0) {
		partition_free(p);
		return rc;
	}
	*out = p;
	return 0;
}

void
partition_free(struct partition *p)
{
	if (!p)
		return;
	vmbus_free(p->vmbus);
	synic_free(p);
	for (unsigned i = 0; i < p->devices; i++)
		device_free(p->device[i]);
	for (unsigned i = 0; p->vcpu && i < p->machine->processor.count; i++)
		vcpu_free(&p->vcpu[i]);
	gmem_free(p->mem);
	if (p->vm_fd >= 0)
		close(p->vm_fd);
	if (p->wake_fd >= 0)
		close(p->wake_fd);
	if (p->timer_fd >= 0)
		close(p->timer_fd);
	free(p->power_on);
	free(p->vcpu);
	free(p);
}

bool
partition_let_go(struct partition *p)
{
	vmbus_reset(p->vmbus);
	return vmbus_idle(p->vmbus);
}

static int
to_power_on(struct partition *p, struct err *e)
{
	int rc = 0;

	if (!partition_let_go(p))
		return err_set(e, EBUSY, "a disk has not ended the last guest's requests yet");
	for (unsigned i = 0; i < p->devices; i++)
		device_reset(p->device[i]);
	memset(&p->crash, 0, sizeof(p->crash));
	gmem_discard(p->mem); /* memory loses its content, and the host has it back */
	for (unsigned i = 0; rc == 0 && i < p->vcpus; i++)
		rc = vcpu_renew_paging(&p->vcpu[i], e);
	if (rc == 0)
		rc = partition_restore_power_on(p, e);
	return rc < 0 ? rc : synic_reload(p, e);
}

int
partition_power_on(struct partition *p, struct err *e)
{
	struct boot_entry entry;
	int rc = p->fresh ? 0 : to_power_on(p, e);

	p->fresh = false;
	if (rc == 0)
		rc = boot_tables(p->machine, p->mem, e);
	if (rc == 0)
		rc = boot_load(p->machine, p->mem, &entry, e);
	if (rc == 0)
		rc = vcpu_set_entry(&p->vcpu[0], &entry, e);
	/* Of the guest that was. What is news stays: a panic, output that nobody has fetched. */
	atomic_fetch_and(&p->asked, ~(unsigned)ASKED_TO_END);
	return rc;
}
