/* hypervisor/core/cpuid.c - what processors a machine sees: baselines, topology. */
#include "hypervisor/core/cpuid.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "hypervisor/core/hyperv.h"

enum reg { EAX, EBX, ECX, EDX };

/* Words of CPUID that hold features; the columns of the baselines follow this order. */
enum word {
	W_1C,
	W_1D,
	W_7B,
	W_7C,
	W_7D,
	W_71A,
	W_D1A,
	W_81C,
	W_81D,
	W_88B,
	WORDS,
	/* no baseline masks these, but a saved machine needs what it had: parts of the XSAVE area and the
	 * Hyper-V interface */
	W_D0A = WORDS,
	W_HV3A,
	W_HV3B,
	W_HV3D,
	W_HV4A,
	ALL_WORDS
};

static const struct {
	uint32_t leaf, index;
	enum reg reg;
} word_at[ALL_WORDS] = {
	[W_1C] = { 1, 0, ECX },
	[W_1D] = { 1, 0, EDX },
	[W_7B] = { 7, 0, EBX },
	[W_7C] = { 7, 0, ECX },
	[W_7D] = { 7, 0, EDX },
	[W_71A] = { 7, 1, EAX },
	[W_D1A] = { 0xd, 1, EAX },
	[W_81C] = { 0x80000001, 0, ECX },
	[W_81D] = { 0x80000001, 0, EDX },
	[W_88B] = { 0x80000008, 0, EBX },
	[W_D0A] = { 0xd, 0, EAX },
	[W_HV3A] = { 0x40000003, 0, EAX },
	[W_HV3B] = { 0x40000003, 0, EBX },
	[W_HV3D] = { 0x40000003, 0, EDX },
	[W_HV4A] = { 0x40000004, 0, EAX },
};

/* How a feature stands in a baseline. */
enum rank {
	V2 = 2,
	V3 = 3,
	V4 = 4, /* needed from this level of the x86-64 psABI on, hidden below it */
	MAY,    /* no part of a level; shown in every baseline where the host has it */
};

/*
 * Every feature a named baseline can show. What is not listed (new instruction sets, PMU, debug and
 * power features) is hidden by every baseline but "host". Names: /proc/cpuinfo of Linux. Levels:
 * System V psABI x86-64, "micro-architecture levels". MAY are the features of the platform itself
 * that KVM emulates on any host, or mitigations that a guest should see where they are.
 */
static const struct feature {
	enum word word;
	uint8_t bit;
	uint8_t rank;
	const char *name;
} features[] = {
	{ W_1D, 0, V2, "fpu" },
	{ W_1D, 1, MAY, "vme" },
	{ W_1D, 2, MAY, "de" },
	{ W_1D, 3, V2, "pse" },
	{ W_1D, 4, V2, "tsc" },
	{ W_1D, 5, V2, "msr" },
	{ W_1D, 6, V2, "pae" },
	{ W_1D, 7, MAY, "mce" },
	{ W_1D, 8, V2, "cx8" },
	{ W_1D, 9, V2, "apic" },
	{ W_1D, 11, MAY, "sep" },
	{ W_1D, 12, V2, "mtrr" },
	{ W_1D, 13, V2, "pge" },
	{ W_1D, 14, MAY, "mca" },
	{ W_1D, 15, V2, "cmov" },
	{ W_1D, 16, V2, "pat" },
	{ W_1D, 17, MAY, "pse36" },
	{ W_1D, 19, MAY, "clflush" },
	{ W_1D, 23, V2, "mmx" },
	{ W_1D, 24, V2, "fxsr" },
	{ W_1D, 25, V2, "sse" },
	{ W_1D, 26, V2, "sse2" },
	{ W_1D, 28, MAY, "ht" },
	{ W_1C, 0, V2, "sse3" },
	{ W_1C, 1, MAY, "pclmulqdq" },
	{ W_1C, 5, MAY, "vmx" },
	{ W_1C, 9, V2, "ssse3" },
	{ W_1C, 12, V3, "fma" },
	{ W_1C, 13, V2, "cx16" },
	{ W_1C, 17, MAY, "pcid" },
	{ W_1C, 19, V2, "sse4_1" },
	{ W_1C, 20, V2, "sse4_2" },
	{ W_1C, 21, MAY, "x2apic" },
	{ W_1C, 22, V3, "movbe" },
	{ W_1C, 23, V2, "popcnt" },
	{ W_1C, 24, MAY, "tsc_deadline_timer" },
	{ W_1C, 25, MAY, "aes" },
	{ W_1C, 26, V3, "xsave" },
	{ W_1C, 28, V3, "avx" },
	{ W_1C, 29, V3, "f16c" },
	{ W_1C, 30, MAY, "rdrand" },
	{ W_1C, 31, MAY, "hypervisor" },
	{ W_7B, 0, MAY, "fsgsbase" },
	{ W_7B, 1, MAY, "tsc_adjust" },
	{ W_7B, 3, V3, "bmi1" },
	{ W_7B, 5, V3, "avx2" },
	{ W_7B, 7, MAY, "smep" },
	{ W_7B, 8, V3, "bmi2" },
	{ W_7B, 9, MAY, "erms" },
	{ W_7B, 16, V4, "avx512f" },
	{ W_7B, 17, V4, "avx512dq" },
	{ W_7B, 18, MAY, "rdseed" },
	{ W_7B, 20, MAY, "smap" },
	{ W_7B, 23, MAY, "clflushopt" },
	{ W_7B, 24, MAY, "clwb" },
	{ W_7B, 28, V4, "avx512cd" },
	{ W_7B, 30, V4, "avx512bw" },
	{ W_7B, 31, V4, "avx512vl" },
	{ W_7C, 2, MAY, "umip" },
	{ W_7D, 10, MAY, "md_clear" },
	{ W_7D, 26, MAY, "spec_ctrl" },
	{ W_7D, 27, MAY, "intel_stibp" },
	{ W_7D, 29, MAY, "arch_capabilities" },
	{ W_7D, 31, MAY, "ssbd" },
	{ W_D1A, 0, MAY, "xsaveopt" },
	{ W_D1A, 1, MAY, "xsavec" },
	{ W_D1A, 2, MAY, "xgetbv1" },
	{ W_81C, 0, V2, "lahf_lm" },
	{ W_81C, 1, MAY, "cmp_legacy" },
	{ W_81C, 2, MAY, "svm" },
	{ W_81C, 4, MAY, "cr8_legacy" },
	{ W_81C, 5, V3, "abm" },
	{ W_81C, 8, MAY, "3dnowprefetch" },
	{ W_81C, 22, MAY, "topoext" },
	{ W_81D, 0, MAY, "fpu" },
	{ W_81D, 1, MAY, "vme" },
	{ W_81D, 2, MAY, "de" },
	{ W_81D, 3, MAY, "pse" },
	{ W_81D, 4, MAY, "tsc" },
	{ W_81D, 5, MAY, "msr" },
	{ W_81D, 6, MAY, "pae" },
	{ W_81D, 7, MAY, "mce" },
	{ W_81D, 8, MAY, "cx8" },
	{ W_81D, 9, MAY, "apic" },
	{ W_81D, 11, V2, "syscall" },
	{ W_81D, 12, MAY, "mtrr" },
	{ W_81D, 13, MAY, "pge" },
	{ W_81D, 14, MAY, "mca" },
	{ W_81D, 15, MAY, "cmov" },
	{ W_81D, 16, MAY, "pat" },
	{ W_81D, 17, MAY, "pse36" },
	{ W_81D, 20, V2, "nx" },
	{ W_81D, 22, MAY, "mmxext" },
	{ W_81D, 23, MAY, "mmx" },
	{ W_81D, 24, MAY, "fxsr" },
	{ W_81D, 25, MAY, "fxsr_opt" },
	{ W_81D, 26, MAY, "pdpe1gb" },
	{ W_81D, 27, MAY, "rdtscp" },
	{ W_81D, 29, V2, "lm" },
	{ W_88B, 12, MAY, "ibpb" },
	{ W_88B, 14, MAY, "ibrs" },
	{ W_88B, 15, MAY, "stibp" },
	{ W_88B, 24, MAY, "amd_ssbd" },
	{ W_88B, 25, MAY, "virt_ssbd" },
};
enum { FEATURES = sizeof(features) / sizeof(features[0]) };

/* XCR0 components: x87 and SSE; and AVX; and AVX-512 (opmask, ZMM_Hi256, Hi16_ZMM). 0: no XSAVE. */
static const uint64_t baseline_xcr0[] = { UINT64_MAX, 0x0, 0x7, 0xe7 };

static uint32_t *
reg_of(struct kvm_cpuid_entry2 *e, enum reg r)
{
	uint32_t *const regs[] = { &e->eax, &e->ebx, &e->ecx, &e->edx };

	return regs[r];
}

struct kvm_cpuid_entry2 *
cpuid_find(struct cpuid_table *t, uint32_t leaf, uint32_t index)
{
	for (uint32_t i = 0; i < t->n; i++)
		if (t->e[i].function == leaf &&
		    (t->e[i].index == index || !(t->e[i].flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)))
			return &t->e[i];
	return NULL;
}

void
cpuid_set(struct cpuid_table *t, struct kvm_cpuid_entry2 e)
{
	struct kvm_cpuid_entry2 *old = cpuid_find(t, e.function, e.index);

	if (!old && t->n < CPUID_MAX)
		old = &t->e[t->n++];
	if (old)
		*old = e;
}

static void
drop(struct cpuid_table *t, uint32_t first, uint32_t last)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->n; i++)
		if (t->e[i].function < first || t->e[i].function > last)
			t->e[n++] = t->e[i];
	t->n = n;
}

static uint32_t
word(const struct cpuid_table *t, enum word w)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(
	    (struct cpuid_table *)(uintptr_t)t, word_at[w].leaf, word_at[w].index);

	return e ? *reg_of(e, word_at[w].reg) : 0;
}

/* --- what the host has ----------------------------------------------------------------------- */

static int
supported(struct cpuid_table *t, int kvm, struct err *e)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 e[256];
	} *host = calloc(1, sizeof(*host));
	int rc = 0;

	if (!host)
		return err_set(e, ENOMEM, "processor features: out of memory");
	host->head.nent = 256;
	t->n = 0;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, host) < 0)
		rc = err_sys(e, "KVM_GET_SUPPORTED_CPUID");
	for (uint32_t i = 0; rc == 0 && i < host->head.nent; i++) {
		uint32_t f = host->e[i].function;

		if (f >= 0x40000000 && f <= 0x4fffffff)
			continue; /* KVM's own leaves: a guest that sees them takes no VMBus */
		if (t->n == CPUID_MAX)
			rc = err_set(e, E2BIG, "processor features: more than %d CPUID entries", CPUID_MAX);
		else
			t->e[t->n++] = host->e[i];
	}
	free(host);
	return rc;
}

/* KVM reports these by capability, or leaves them to us. */
static void
platform_bits(struct cpuid_table *t, int kvm)
{
	struct kvm_cpuid_entry2 *one = cpuid_find(t, 1, 0);

	if (!one)
		return;
	one->ecx |= 1u << 31 | 1u << 21; /* hypervisor present, x2APIC (emulated) */
	if (ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
		one->ecx |= 1u << 24;
}

/* --- baselines ------------------------------------------------------------------------------- */

static int
level_of(const char *name)
{
	for (int i = 0; machine_baselines[i]; i++)
		if (strcmp(machine_baselines[i], name) == 0)
			return i == 0 ? 0 : i + 1; /* 0: host; else 2, 3, 4 */
	return -1;
}

static int
check_level(const struct cpuid_table *t, int level, const char *name, struct err *e)
{
	for (size_t i = 0; i < FEATURES; i++)
		if (features[i].rank <= level && !(word(t, features[i].word) & 1u << features[i].bit))
			return err_set(e, ENOTSUP,
			    "Processor.Baseline: this host's processor has no %s, which %s needs: choose %s",
			    features[i].name, name, level > 2 ? "a lower baseline, or host" : "host");
	return 0;
}

static void
mask_words(struct cpuid_table *t, int level)
{
	uint32_t keep[WORDS] = { 0 };

	for (size_t i = 0; i < FEATURES; i++)
		if (features[i].rank == MAY || features[i].rank <= level)
			keep[features[i].word] |= 1u << features[i].bit;
	for (int w = 0; w < WORDS; w++) {
		struct kvm_cpuid_entry2 *x = cpuid_find(t, word_at[w].leaf, word_at[w].index);

		if (x)
			*reg_of(x, word_at[w].reg) &= keep[w];
	}
}

/* Leaf 0xD: which parts of the XSAVE area exist, and how large it can get. */
static void
limit_xsave(struct cpuid_table *t, uint64_t xcr0)
{
	struct kvm_cpuid_entry2 *d = cpuid_find(t, 0xd, 0);
	uint32_t n = 0, size = 576; /* legacy area and header */

	if (!d)
		return;
	if (!xcr0) {
		drop(t, 0xd, 0xd);
		return;
	}
	for (uint32_t i = 0; i < t->n; i++) {
		struct kvm_cpuid_entry2 *x = &t->e[i];
		bool part = x->function == 0xd && x->index >= 2;

		if (part && (x->index > 63 || !(xcr0 >> x->index & 1) || (x->ecx & 1)))
			continue; /* hidden, or a supervisor state, which no baseline has */
		if (part && x->ebx + x->eax > size)
			size = x->ebx + x->eax;
		t->e[n++] = *x;
	}
	t->n = n;
	d = cpuid_find(t, 0xd, 0);
	d->eax &= (uint32_t)xcr0;
	d->edx &= (uint32_t)(xcr0 >> 32);
	d->ebx = d->ecx = size;
	d = cpuid_find(t, 0xd, 1);
	if (d)
		d->ecx = d->edx = 0;
}

/* No baseline has LA57: linear addresses have 48 bits. */
static void
four_level_addresses(struct cpuid_table *t)
{
	struct kvm_cpuid_entry2 *size = cpuid_find(t, 0x80000008, 0);

	if (size)
		size->eax = (size->eax & ~0xff00u) | 48 << 8;
}

static const uint32_t baseline_drops[][2] = {
	{ 5, 6 },      /* MONITOR, thermal and power */
	{ 0xe, 0x1e }, /* resource control, SGX, trace, AMX, ... but 0x1f is topology */
	{ 0x20, 0xff },
	{ 0x80000019, 0x8000001c },
	{ 0x8000001f, 0x8000ffff },
};

static int
apply_baseline(struct cpuid_table *t, const char *name, struct err *e)
{
	int rc, level = level_of(name);

	if (level <= 0)
		return machine_check_baseline(name, e);
	rc = check_level(t, level, name, e);
	if (rc < 0)
		return rc;
	mask_words(t, level);
	four_level_addresses(t);
	limit_xsave(t, baseline_xcr0[level - 1]);
	for (size_t i = 0; i < sizeof(baseline_drops) / sizeof(baseline_drops[0]); i++)
		drop(t, baseline_drops[i][0], baseline_drops[i][1]);
	return 0;
}

/* Machines that do not nest must not see the means. */
static int
nesting(struct cpuid_table *t, bool on, struct err *e)
{
	struct kvm_cpuid_entry2 *one = cpuid_find(t, 1, 0), *amd = cpuid_find(t, 0x80000001, 0);
	uint32_t vmx = 1u << 5, svm = 1u << 2;

	if (on && !(one && (one->ecx & vmx)) && !(amd && (amd->ecx & svm)))
		return err_set(e, ENOTSUP,
		    "Processor.ExposeVirtualizationExtensions: this host's KVM does not nest: load kvm_intel "
		    "or "
		    "kvm_amd with nested=1");
	if (on)
		return 0;
	if (one)
		one->ecx &= ~vmx;
	if (amd)
		amd->ecx &= ~svm;
	drop(t, 0x8000000a, 0x8000000a);
	return 0;
}

/* No virtual PMU: counters are the host's business, and guests spend exits looking for them. */
static void
no_pmu(struct cpuid_table *t)
{
	struct kvm_cpuid_entry2 *one = cpuid_find(t, 1, 0), *amd = cpuid_find(t, 0x80000001, 0);

	if (one)
		one->ecx &= ~(1u << 15); /* PDCM */
	if (amd)
		amd->ecx &= ~(1u << 23 | 1u << 24 | 1u << 28); /* PERFCTR core, NB, LLC */
	drop(t, 0xa, 0xa);
	drop(t, 0x80000022, 0x80000022);
}

/* --- topology -------------------------------------------------------------------------------- */

static unsigned
per_socket(const struct machine *m)
{
	uint64_t cores = m->processor.cores_per_socket;

	return (unsigned)(cores ? cores * m->processor.threads_per_core : m->processor.count);
}

/* Caches: L1 and L2 belong to a core, L3 to a socket. */
static void
cache_sharing(struct cpuid_table *t, const struct machine *m, uint32_t leaf)
{
	for (uint32_t i = 0; i < t->n; i++) {
		struct kvm_cpuid_entry2 *c = &t->e[i];
		unsigned level = c->eax >> 5 & 7;
		uint32_t share = level >= 3 ? 1u << machine_socket_shift(m) : 1u << machine_core_shift(m);

		if (c->function != leaf || (c->eax & 0x1f) == 0)
			continue;
		c->eax = (c->eax & 0x3fff) | (share - 1) << 14;
		if (leaf == 4)
			c->eax |= ((1u << (machine_socket_shift(m) - machine_core_shift(m))) - 1) << 26;
	}
}

/* Leaves 0xB and 0x1F: level 0 threads of a core, level 1 processors of a socket. */
static void
extended_topology(struct cpuid_table *t, const struct machine *m)
{
	unsigned shift[2] = { machine_core_shift(m), machine_socket_shift(m) };
	uint32_t count[2] = { (uint32_t)m->processor.threads_per_core, per_socket(m) };

	drop(t, 0x1f, 0x1f);
	drop(t, 0xb, 0xb);
	for (uint32_t i = 0; i < 3; i++)
		cpuid_set(t, (struct kvm_cpuid_entry2){ .function = 0xb,
				 .index = i,
				 .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
				 .eax = i < 2 ? shift[i] : 0,
				 .ebx = i < 2 ? count[i] : 0,
				 .ecx = i | (i < 2 ? (i + 1) << 8 : 0) });
}

static void
topology(struct cpuid_table *t, const struct machine *m)
{
	struct kvm_cpuid_entry2 *one, *size, *amd;
	unsigned n = per_socket(m), bits = machine_socket_shift(m);

	extended_topology(t, m); /* moves entries */
	one = cpuid_find(t, 1, 0);
	size = cpuid_find(t, 0x80000008, 0);
	amd = cpuid_find(t, 0x80000001, 0);
	cache_sharing(t, m, 4);
	cache_sharing(t, m, 0x8000001d);
	if (one) {
		one->ebx = (one->ebx & ~0xff0000u) | (1u << bits) << 16;
		one->edx = n > 1 ? one->edx | 1u << 28 : one->edx & ~(1u << 28); /* HTT */
	}
	if (size)
		size->ecx = bits << 12 | (n - 1);
	if (amd)
		amd->ecx = n > 1 ? amd->ecx | 1u << 1 : amd->ecx & ~(1u << 1); /* CMP_LEGACY */
}

void
cpuid_for_processor(struct cpuid_table *t, const struct machine *m, unsigned vp)
{
	uint32_t id = machine_apic_id(m, vp), core = id >> machine_core_shift(m);
	struct kvm_cpuid_entry2 *e = cpuid_find(t, 1, 0);

	if (e)
		e->ebx = (e->ebx & 0xffffff) | (id & 0xff) << 24;
	for (uint32_t i = 0; i < t->n; i++)
		if (t->e[i].function == 0xb)
			t->e[i].edx = id;
	e = cpuid_find(t, 0x8000001e, 0);
	if (e) {
		e->eax = id;
		e->ebx = (uint32_t)(m->processor.threads_per_core - 1) << 8 | (core & 0xff);
		e->ecx = id >> machine_socket_shift(m); /* one node a socket */
	}
}

/* --- the whole ------------------------------------------------------------------------------- */

static void
max_leaf(struct cpuid_table *t, uint32_t base)
{
	struct kvm_cpuid_entry2 *b = cpuid_find(t, base, 0);
	uint32_t max = base;

	for (uint32_t i = 0; i < t->n; i++)
		if (t->e[i].function > max && t->e[i].function < base + 0x10000)
			max = t->e[i].function;
	if (b)
		b->eax = max;
}

int
cpuid_build(struct cpuid_table *t, const struct host *host, const struct machine *m, struct err *e)
{
	int rc = supported(t, host->kvm_fd, e);

	if (rc < 0)
		return rc;
	platform_bits(t, host->kvm_fd);
	rc = apply_baseline(t, m->processor.baseline, e);
	if (rc < 0)
		return rc;
	rc = nesting(t, m->processor.expose_virtualization, e);
	if (rc < 0)
		return rc;
	no_pmu(t);
	topology(t, m);
	max_leaf(t, 0);
	max_leaf(t, 0x80000000);
	return hyperv_leaves(t, host, e);
}

static struct kvm_cpuid_entry2
entry(const struct cpuid_table *t, uint32_t leaf)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find((struct cpuid_table *)(uintptr_t)t, leaf, 0);

	return e ? *e : (struct kvm_cpuid_entry2){ 0 };
}

static bool
same_vendor(const struct cpuid_table *t, const struct cpuid_table *here)
{
	struct kvm_cpuid_entry2 a = entry(t, 0), b = entry(here, 0);

	return a.ebx == b.ebx && a.ecx == b.ecx && a.edx == b.edx;
}

/* What no word of features tells. The table may come from a stranger: of the leaves of hypervisors it has
 * none but ours. */
static int
check_saved(const struct cpuid_table *t, const struct cpuid_table *here, struct err *e)
{
	if (!same_vendor(t, here))
		return err_set(e, ENOTSUP, "the machine was saved on a processor of another manufacturer");
	if (cpuid_address_bits(t) > cpuid_address_bits(here))
		return err_set(e, ENOTSUP,
		    "the machine was saved on a processor with %u address bits, this host's has %u",
		    cpuid_address_bits(t), cpuid_address_bits(here));
	for (uint32_t i = 0; i < t->n; i++) {
		uint32_t leaf = t->e[i].function;

		if (leaf >> 28 == 4 && !entry(here, leaf).function)
			return err_set(e, EINVAL, "CPUID %#x is not part of a machine", leaf);
	}
	return 0;
}

int
cpuid_runs_here(const struct cpuid_table *t, const struct cpuid_table *here, struct err *e)
{
	int rc = check_saved(t, here, e);

	if (rc < 0)
		return rc;
	for (int w = 0; w < ALL_WORDS; w++) {
		uint32_t lacking = word(t, (enum word)w) & ~word(here, (enum word)w);
		const char *name = "a feature";

		if (!lacking)
			continue;
		for (size_t i = 0; i < FEATURES; i++)
			if (features[i].word == (enum word)w && (lacking & 1u << features[i].bit))
				name = features[i].name;
		return err_set(e, ENOTSUP,
		    "the machine was saved on a processor with %s (CPUID %#x, bits %#x), which this host "
		    "lacks: use "
		    "a lower Processor.Baseline for machines that move",
		    name, word_at[w].leaf, lacking);
	}
	return 0;
}

unsigned
cpuid_address_bits(const struct cpuid_table *t)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find((struct cpuid_table *)(uintptr_t)t, 0x80000008, 0);

	return e ? e->eax & 0xff : 36;
}
