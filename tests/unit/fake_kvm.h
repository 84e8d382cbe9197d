/*
 * tests/unit/fake_kvm.h - KVM as far as a partition needs it: remembers what it is given and gives it back,
 * runs no guest. A program that includes it is linked with -Wl,--wrap=ioctl and has one of it.
 *
 * A processor in KVM_RUN waits until it is kicked, unless the test has given it something to do (run). As
 * long as it is there, KVM has whoever asks something else of it wait; this one aborts.
 * The processors it announces have every feature there is.
 */
#ifndef TESTS_UNIT_FAKE_KVM_H
#define TESTS_UNIT_FAKE_KVM_H

#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FAKE_VCPUS = 4, FAKE_RUN_LEN = 8192, FAKE_STATES = 10, FAKE_MSRS = 128, FAKE_CPUID = 64 };

/* What is set and got again as one structure. */
static const unsigned long fake_pairs[FAKE_STATES][2] = {
	{ KVM_GET_MP_STATE, KVM_SET_MP_STATE },
	{ KVM_GET_SREGS, KVM_SET_SREGS },
	{ KVM_GET_SREGS2, KVM_SET_SREGS2 },
	{ KVM_GET_REGS, KVM_SET_REGS },
	{ KVM_GET_XCRS, KVM_SET_XCRS },
	{ KVM_GET_XSAVE, KVM_SET_XSAVE },
	{ KVM_GET_LAPIC, KVM_SET_LAPIC },
	{ KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS },
	{ KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS },
	{ 0, 0 },
};

/* The MSRs these processors have, n from first on, in the order of fake_vcpu.msr. KVM_GET_MSR_INDEX_LIST
 * names those listed, as Linux does (arch/x86/kvm/x86.c): of the MTRRs none, of the SynIC and the synthetic
 * timers one for all. 0x10a can only be read; 0x3a is one that they do not have. */
static const struct {
	uint32_t first, n;
	bool listed;
} fake_msrs_there[] = {
	{ 0x10, 1, true },
	{ 0x10a, 1, true },
	{ 0x174, 1, true },
	{ 0x200, 16, false },
	{ 0x250, 1, false },
	{ 0x258, 2, false },
	{ 0x268, 8, false },
	{ 0x2ff, 1, false },
	{ 0x40000000, 3, true },
	{ 0x40000010, 1, true },
	{ 0x40000020, 4, true },
	{ 0x40000073, 1, true },
	{ 0x40000080, 1, true },
	{ 0x40000082, 2, false },
	{ 0x40000090, 16, false },
	{ 0x400000b0, 1, true },
	{ 0x400000b1, 7, false },
	{ 0x40000100, 6, true },
	{ 0x40000118, 1, true },
};
enum { FAKE_MSR_RANGES = sizeof(fake_msrs_there) / sizeof(fake_msrs_there[0]) };

struct fake_vcpu {
	int fd;
	struct kvm_run *run;
	uint8_t state[FAKE_STATES][4096];
	uint64_t msr[FAKE_MSRS];
	unsigned msr_set[FAKE_MSRS]; /* when it was set last: the how manieth of msr_sets */
	unsigned msr_sets;
	int64_t tsc_offset;
	uint32_t cpuids;
	struct kvm_cpuid_entry2 cpuid[128];
	atomic_uint runs, nmis;
	atomic_bool in_run;
};

static struct fake_kvm {
	int kvm_fd, vm_fd;
	unsigned vcpus;
	struct fake_vcpu vcpu[FAKE_VCPUS];
	struct kvm_irqchip chip[3];
	uint64_t clock, tsc;
	bool line[24];
	unsigned regions;
	struct kvm_userspace_memory_region region;     /* the last one */
	struct kvm_userspace_memory_region management; /* seen in system management mode */
	struct kvm_irq_routing_entry route[128];
	unsigned routes;
	struct kvm_hyperv_eventfd bound[8];
	unsigned bindings;
	uint32_t supported, hv;
	struct kvm_cpuid_entry2 supported_cpuid[FAKE_CPUID], hv_cpuid[8];
	/* What the test wants. */
	bool (*fails_now)(void);                            /* asked each time: true fails with EIO */
	unsigned long fails;                                /* this request fails with EIO */
	int (*run)(struct fake_vcpu *v, struct kvm_run *r); /* 0: an exit, else errno */
} fake_kvm;

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

/* --- processors with every feature ------------------------------------------------------------ */

static inline void
fake_leaf(uint32_t leaf, int index, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
	if (fake_kvm.supported == FAKE_CPUID)
		abort();
	fake_kvm.supported_cpuid[fake_kvm.supported++] = (struct kvm_cpuid_entry2){ .function = leaf,
		.index = index < 0 ? 0 : (uint32_t)index,
		.flags = index < 0 ? 0 : KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		.eax = eax,
		.ebx = ebx,
		.ecx = ecx,
		.edx = edx };
}

/* Leaf 0xD: components of the XSAVE area with their size, place and whether they are a supervisor's. */
static inline void
fake_xsave_leaves(void)
{
	static const uint32_t part[][4] = { { 2, 256, 576, 0 }, { 5, 64, 1088, 0 }, { 6, 512, 1152, 0 },
		{ 7, 1024, 1664, 0 }, { 9, 8, 2688, 0 }, { 11, 16, 0, 1 }, { 17, 64, 2752, 0 },
		{ 18, 8192, 2816, 0 } };

	fake_leaf(0xd, 0, 0x602e7, 11008, 11008, 0);
	fake_leaf(0xd, 1, 0xf, 11008, 1 << 11, 0);
	for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++)
		fake_leaf(0xd, (int)part[i][0], part[i][1], part[i][2], part[i][3], 0);
}

static inline void
fake_processor_leaves(void)
{
	const uint32_t all = UINT32_MAX;

	fake_leaf(0, -1, 0x20, 0x756e6547, 0x6c65746e, 0x49656e69); /* GenuineIntel */
	fake_leaf(1, -1, 0xa06f2, 0x800, all & ~(1u << 31), all);
	fake_leaf(4, 0, 0x4121, 0x2c0003f, 0x3f, 0);  /* L1 data */
	fake_leaf(4, 1, 0x4143, 0x3c0003f, 0x7ff, 0); /* L2 */
	fake_leaf(4, 2, 0x4163, 0x3c0003f, 0xfff, 4); /* L3 */
	fake_leaf(4, 3, 0, 0, 0, 0);
	fake_leaf(5, -1, 0x40, 0x40, 3, 0);
	fake_leaf(6, -1, 4, 0, 0, 0);
	fake_leaf(7, 0, 1, all, all, all);
	fake_leaf(7, 1, all, 0, 0, 0);
	fake_leaf(0xa, -1, 0x8300805, 0, 0, 0x8604);
	fake_leaf(0xb, 0, 1, 2, 0x100, 3);
	fake_xsave_leaves();
	fake_leaf(0x14, 0, 1, 0xf, 7, 0);
	fake_leaf(0x1d, 0, 1, 0, 0, 0);
	fake_leaf(0x1f, 0, 1, 2, 0x100, 3);
	fake_leaf(0x20, 0, 0, 1, 0, 0);
	fake_leaf(0x40000000, -1, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d); /* KVMKVMKVM */
	fake_leaf(0x40000001, -1, all, 0, 0, 0);
	fake_leaf(0x80000000, -1, 0x80000022, 0, 0, 0);
	fake_leaf(0x80000001, -1, 0, 0, all, all);
	fake_leaf(0x80000007, -1, 0, 0, 0, 1 << 8); /* invariant TSC */
	fake_leaf(0x80000008, -1, 57 << 8 | 46, all, 0, 0);
	fake_leaf(0x8000000a, -1, 1, 8, 0, all);
	fake_leaf(0x8000001d, 0, 0x4121, 0x1c0003f, 0x3f, 0);
	fake_leaf(0x8000001e, -1, 0, 0, 0, 0);
	fake_leaf(0x80000021, -1, all, 0, 0, 0);
	fake_leaf(0x80000022, -1, all, 0, 0, 0);
}

/* Of Hyper-V's interface everything as well, more than a guest may see. */
static inline void
fake_hv_leaves(void)
{
	static const uint32_t leaf[] = { 0x40000000, 0x40000001, 0x40000002, 0x40000003, 0x40000004,
		0x40000005, 0x4000000a };

	for (fake_kvm.hv = 0; fake_kvm.hv < sizeof(leaf) / sizeof(leaf[0]); fake_kvm.hv++)
		fake_kvm.hv_cpuid[fake_kvm.hv] = (struct kvm_cpuid_entry2){ leaf[fake_kvm.hv], 0, 0,
			UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, { 0 } };
	fake_kvm.hv_cpuid[1].eax = 0x31237648; /* Hv#1 */
}

/* Fresh, with /dev/kvm open: its descriptor, which fake_kvm_close closes. */
static inline int
fake_kvm_open(void)
{
	memset(&fake_kvm, 0, sizeof(fake_kvm));
	fake_kvm.kvm_fd = memfd_create("kvm", MFD_CLOEXEC);
	fake_kvm.vm_fd = -1;
	fake_kvm.tsc = 1000000;
	fake_processor_leaves();
	fake_hv_leaves();
	return fake_kvm.kvm_fd;
}

/* What belongs to a partition that is gone. */
static inline void
fake_kvm_forget_vm(void)
{
	for (unsigned i = 0; i < fake_kvm.vcpus; i++) {
		munmap(fake_kvm.vcpu[i].run, FAKE_RUN_LEN);
		memset(&fake_kvm.vcpu[i], 0, sizeof(fake_kvm.vcpu[i]));
	}
	fake_kvm.vcpus = fake_kvm.regions = 0;
	fake_kvm.vm_fd = -1;
}

static inline void
fake_kvm_close(void)
{
	fake_kvm_forget_vm();
	close(fake_kvm.kvm_fd);
	fake_kvm.kvm_fd = -1;
}

/* --- what it is asked ----------------------------------------------------------------------------- */

static inline int
fake_fail(int code)
{
	errno = code;
	return -1;
}

static inline int
fake_give_cpuid(struct kvm_cpuid2 *to, const struct kvm_cpuid_entry2 *e, uint32_t n)
{
	if (to->nent < n)
		return fake_fail(E2BIG);
	memcpy(to->entries, e, n * sizeof(*e));
	to->nent = n;
	return 0;
}

static inline int
fake_list_msrs(struct kvm_msr_list *l)
{
	uint32_t room = l->nmsrs;

	l->nmsrs = 0;
	for (int r = 0; r < FAKE_MSR_RANGES; r++)
		for (uint32_t i = 0; fake_msrs_there[r].listed && i < fake_msrs_there[r].n; i++)
			if (l->nmsrs++ < room)
				l->indices[l->nmsrs - 1] = fake_msrs_there[r].first + i;
	return l->nmsrs <= room ? 0 : fake_fail(E2BIG);
}

static inline int
fake_on_kvm(unsigned long request, uintptr_t arg)
{
	switch (request) {
	case KVM_GET_API_VERSION:
		return KVM_API_VERSION;
	case KVM_CHECK_EXTENSION:
		return arg == KVM_CAP_XSAVE2 ? 4096 : arg == KVM_CAP_MULTI_ADDRESS_SPACE ? 2 : 1;
	case KVM_GET_VCPU_MMAP_SIZE:
		return FAKE_RUN_LEN;
	case KVM_GET_SUPPORTED_CPUID:
		return fake_give_cpuid(
		    (struct kvm_cpuid2 *)arg, fake_kvm.supported_cpuid, fake_kvm.supported);
	case KVM_GET_SUPPORTED_HV_CPUID:
		return fake_give_cpuid((struct kvm_cpuid2 *)arg, fake_kvm.hv_cpuid, fake_kvm.hv);
	case KVM_GET_MSR_INDEX_LIST:
		return fake_list_msrs((struct kvm_msr_list *)arg);
	case KVM_CREATE_VM:
		return fake_kvm.vm_fd = memfd_create("vm", MFD_CLOEXEC);
	default:
		return fake_fail(ENOTTY);
	}
}

static inline int
fake_new_vcpu(void)
{
	struct fake_vcpu *v = &fake_kvm.vcpu[fake_kvm.vcpus];

	if (fake_kvm.vcpus == FAKE_VCPUS)
		return fake_fail(EINVAL);
	v->fd = memfd_create("vcpu", MFD_CLOEXEC);
	if (v->fd < 0)
		return -1;
	v->run = MAP_FAILED;
	if (ftruncate(v->fd, FAKE_RUN_LEN) == 0)
		v->run = mmap(NULL, FAKE_RUN_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) { /* the real one can fail, too */
		close(v->fd);
		return fake_fail(ENOMEM);
	}
	v->msr[1] = 0x2b; /* the one that can only be read */
	fake_kvm.vcpus++;
	return v->fd;
}

static inline int
fake_route(const struct kvm_irq_routing *r)
{
	if (r->nr > sizeof(fake_kvm.route) / sizeof(fake_kvm.route[0]))
		abort();
	memcpy(fake_kvm.route, r->entries, r->nr * sizeof(r->entries[0]));
	fake_kvm.routes = r->nr;
	return 0;
}

static inline int
fake_bind(const struct kvm_hyperv_eventfd *b)
{
	for (unsigned i = 0; i < fake_kvm.bindings; i++)
		if (fake_kvm.bound[i].conn_id == b->conn_id) {
			if (!(b->flags & KVM_HYPERV_EVENTFD_DEASSIGN))
				return fake_fail(EEXIST);
			fake_kvm.bound[i] = fake_kvm.bound[--fake_kvm.bindings];
			return 0;
		}
	if (b->flags & KVM_HYPERV_EVENTFD_DEASSIGN)
		return fake_fail(ENOENT);
	fake_kvm.bound[fake_kvm.bindings++] = *b;
	return 0;
}

static inline int
fake_on_vm(unsigned long request, uintptr_t arg)
{
	struct kvm_irqchip *chip = (struct kvm_irqchip *)arg;
	struct kvm_clock_data *clock = (struct kvm_clock_data *)arg;
	const struct kvm_irq_level *irq = (struct kvm_irq_level *)arg;

	switch (request) {
	case KVM_CHECK_EXTENSION:
		return fake_on_kvm(request, arg);
	case KVM_CREATE_VCPU:
		return fake_new_vcpu();
	case KVM_SET_USER_MEMORY_REGION:
		if (((struct kvm_userspace_memory_region *)arg)->slot >> 16) {
			fake_kvm.management = *(struct kvm_userspace_memory_region *)arg;
			return 0;
		}
		fake_kvm.region = *(struct kvm_userspace_memory_region *)arg;
		fake_kvm.regions++;
		return 0;
	case KVM_GET_IRQCHIP:
		chip->chip = fake_kvm.chip[chip->chip_id].chip;
		return 0;
	case KVM_SET_IRQCHIP:
		fake_kvm.chip[chip->chip_id] = *chip;
		return 0;
	case KVM_GET_CLOCK:
		clock->clock = fake_kvm.clock;
		return 0;
	case KVM_SET_CLOCK:
		fake_kvm.clock = clock->clock;
		return 0;
	case KVM_IRQ_LINE:
		if (irq->irq >= 24)
			abort();
		fake_kvm.line[irq->irq] = irq->level;
		return 0;
	case KVM_SET_GSI_ROUTING:
		return fake_route((struct kvm_irq_routing *)arg);
	case KVM_HYPERV_EVENTFD:
		return fake_bind((struct kvm_hyperv_eventfd *)arg);
	case KVM_IRQFD:
	case KVM_ENABLE_CAP:
	case KVM_X86_SET_MSR_FILTER:
	case KVM_SET_IDENTITY_MAP_ADDR:
	case KVM_SET_TSS_ADDR:
	case KVM_CREATE_IRQCHIP:
		return 0;
	default:
		return fake_fail(ENOTTY);
	}
}

/* Where fake_vcpu.msr has it; -1: there is no such MSR. */
static inline int
fake_msr_at(uint32_t index)
{
	int at = 0;

	for (int r = 0; r < FAKE_MSR_RANGES; r++) {
		if (index - fake_msrs_there[r].first < fake_msrs_there[r].n)
			return at + (int)(index - fake_msrs_there[r].first);
		at += (int)fake_msrs_there[r].n;
	}
	return -1;
}

/* As many as are known, and may be written, from the first on. */
static inline int
fake_msrs(struct fake_vcpu *v, struct kvm_msrs *m, bool set)
{
	for (uint32_t i = 0; i < m->nmsrs; i++) {
		int k = fake_msr_at(m->entries[i].index);

		if (k < 0 || (set && m->entries[i].index == 0x10a))
			return (int)i;
		if (set)
			v->msr[k] = m->entries[i].data;
		if (set)
			v->msr_set[k] = ++v->msr_sets;
		else
			m->entries[i].data = k == 0 ? fake_kvm.tsc + (uint64_t)v->tsc_offset : v->msr[k];
	}
	return (int)m->nmsrs;
}

static inline int
fake_run(struct fake_vcpu *v)
{
	int rc = EINTR;

	v->runs++;
	v->in_run = true;
	if (fake_kvm.run)
		rc = fake_kvm.run(v, v->run);
	else
		while (!__atomic_load_n(&v->run->immediate_exit, __ATOMIC_ACQUIRE))
			usleep(500);
	v->in_run = false;
	return rc ? fake_fail(rc) : 0;
}

static inline int
fake_on_state(struct fake_vcpu *v, unsigned long request, void *arg)
{
	for (int i = 0; fake_pairs[i][0]; i++)
		if (request == fake_pairs[i][0]) {
			memcpy(arg, v->state[i], _IOC_SIZE(request));
			return 0;
		} else if (request == fake_pairs[i][1]) {
			memcpy(v->state[i], arg, _IOC_SIZE(request));
			return 0;
		}
	return fake_fail(ENOTTY);
}

static inline int
fake_on_vcpu(struct fake_vcpu *v, unsigned long request, uintptr_t arg)
{
	const struct kvm_device_attr *a = (struct kvm_device_attr *)arg;
	const struct kvm_cpuid2 *c = (struct kvm_cpuid2 *)arg;

	if (v->in_run)
		abort();
	switch (request) {
	case KVM_RUN:
		return fake_run(v);
	case KVM_GET_MSRS:
	case KVM_SET_MSRS:
		return fake_msrs(v, (struct kvm_msrs *)arg, request == KVM_SET_MSRS);
	case KVM_GET_DEVICE_ATTR:
		memcpy((void *)(uintptr_t)a->addr, &v->tsc_offset, sizeof(v->tsc_offset));
		return 0;
	case KVM_SET_DEVICE_ATTR:
		memcpy(&v->tsc_offset, (void *)(uintptr_t)a->addr, sizeof(v->tsc_offset));
		return 0;
	case KVM_SET_CPUID2:
		v->cpuids = c->nent;
		memcpy(v->cpuid, c->entries, c->nent * sizeof(c->entries[0]));
		return 0;
	case KVM_GET_TSC_KHZ:
		return 2000000;
	case KVM_NMI:
		v->nmis++;
		return 0;
	case KVM_SET_TSC_KHZ:
	case KVM_ENABLE_CAP:
		return 0;
	default:
		return fake_on_state(v, request, (void *)arg);
	}
}

int
__wrap_ioctl(int fd, unsigned long request, ...)
{
	uintptr_t arg;
	va_list ap;

	va_start(ap, request);
	arg = va_arg(ap, uintptr_t);
	va_end(ap);
	if ((request == fake_kvm.fails && request) || (fake_kvm.fails_now && fake_kvm.fails_now()))
		return fake_fail(EIO);
	if (fd >= 0 && fd == fake_kvm.kvm_fd)
		return fake_on_kvm(request, arg);
	if (fd >= 0 && fd == fake_kvm.vm_fd)
		return fake_on_vm(request, arg);
	for (unsigned i = 0; i < fake_kvm.vcpus; i++)
		if (fd == fake_kvm.vcpu[i].fd)
			return fake_on_vcpu(&fake_kvm.vcpu[i], request, arg);
	return __real_ioctl(fd, request, arg);
}

#endif
