/*
 * tests/unit/cpuid_test.c - what processors a machine sees, on a host whose processors and KVM have
 * everything: what is hidden, what is demanded, what the topology says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "hypervisor/core/hyperv.h"
#include "tests/unit/fake_kvm.h"

static struct machine m;
static struct host host;
static struct err e;

static int
setup(void **state)
{
	(void)state;
	memset(&e, 0, sizeof(e));
	host = (struct host){ .kvm_fd = fake_kvm_open() };
	machine_defaults(&m);
	m.memory.size_mb = 64;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fake_kvm_close();
	return 0;
}

static int
build(struct cpuid_table *t, const char *baseline)
{
	snprintf(m.processor.baseline, sizeof(m.processor.baseline), "%s", baseline);
	return cpuid_build(t, &host, &m, &e);
}

static struct kvm_cpuid_entry2
leaf(struct cpuid_table *t, uint32_t function, uint32_t index)
{
	struct kvm_cpuid_entry2 *found = cpuid_find(t, function, index);

	assert_non_null(found);
	return *found;
}

static struct kvm_cpuid_entry2 *
host_leaf(uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < fake_kvm.supported; i++)
		if (fake_kvm.supported_cpuid[i].function == function &&
		    fake_kvm.supported_cpuid[i].index == index)
			return &fake_kvm.supported_cpuid[i];
	fail();
	return NULL;
}

/* Where features are, and what each baseline shows of a processor that has all. */
static const struct {
	uint32_t leaf, index;
	int reg; /* 0 EAX ... 3 EDX */
	uint32_t v2, v3, v4;
} shown[] = {
	{ 1, 0, 2, 0xc3ba2223, 0xf7fa3223, 0xf7fa3223 },
	{ 1, 0, 3, 0x178bfbff, 0x178bfbff, 0x178bfbff },
	{ 7, 0, 1, 0x01940283, 0x019403ab, 0xd19703ab },
	{ 7, 0, 2, 0x00000004, 0x00000004, 0x00000004 },
	{ 7, 0, 3, 0xac000400, 0xac000400, 0xac000400 },
	{ 7, 1, 0, 0, 0, 0 },
	{ 0x80000001, 0, 2, 0x00400117, 0x00400137, 0x00400137 },
	{ 0x80000001, 0, 3, 0x2fd3fbff, 0x2fd3fbff, 0x2fd3fbff },
	{ 0x80000008, 0, 1, 0x0300d000, 0x0300d000, 0x0300d000 },
};
enum { SHOWN = sizeof(shown) / sizeof(shown[0]) };

static uint32_t
reg_of(const struct kvm_cpuid_entry2 *x, int reg)
{
	const uint32_t regs[] = { x->eax, x->ebx, x->ecx, x->edx };

	return regs[reg];
}

static void
a_baseline_shows_its_features_and_no_others(void **state)
{
	static const char *const name[] = { "x86-64-v2", "x86-64-v3", "x86-64-v4" };

	(void)state;
	m.processor.count = 2;
	m.processor.expose_virtualization = true;
	for (int b = 0; b < 3; b++) {
		struct cpuid_table t;

		assert_int_equal(build(&t, name[b]), 0);
		for (int i = 0; i < SHOWN; i++) {
			struct kvm_cpuid_entry2 x = leaf(&t, shown[i].leaf, shown[i].index);
			const uint32_t want[] = { shown[i].v2, shown[i].v3, shown[i].v4 };

			if (reg_of(&x, shown[i].reg) != want[b])
				print_error("%s: leaf %#x %u register %d\n", name[b], shown[i].leaf,
				    shown[i].index, shown[i].reg);
			assert_int_equal(reg_of(&x, shown[i].reg), want[b]);
		}
		for (uint32_t i = 0; i < t.n; i++) {
			uint32_t f = t.e[i].function;

			assert_false(f == 5 || f == 6 || f == 0xa || f == 0x14 || f == 0x1d || f == 0x1f ||
				     f == 0x20 || f == 0x80000021 || f == 0x80000022);
		}
	}
}

static void
the_narrower_baseline_is_part_of_the_wider(void **state)
{
	struct cpuid_table t[4];

	(void)state;
	for (int b = 0; b < 4; b++) /* from the widest: host, v4, v3, v2 */
		assert_int_equal(build(&t[b], machine_baselines[b ? 4 - b : 0]), 0);
	for (int b = 1; b < 4; b++) {
		assert_int_equal(cpuid_runs_here(&t[b], &t[b - 1], &e), 0);
		assert_int_equal(cpuid_runs_here(&t[b - 1], &t[b], &e), -ENOTSUP);
	}
}

static void
what_a_baseline_needs_and_the_host_lacks_is_named(void **state)
{
	static const struct {
		uint32_t leaf, reg_ecx, bit;
		const char *baseline, *name;
	} lacks[] = {
		{ 1, 1, 20, "x86-64-v2", "sse4_2" },
		{ 1, 1, 28, "x86-64-v3", "avx" },
		{ 1, 1, 0, "x86-64-v4", "sse3" },
		{ 7, 0, 5, "x86-64-v3", "avx2" },
		{ 7, 0, 31, "x86-64-v4", "avx512vl" },
		{ 0x80000001, 1, 5, "x86-64-v3", "abm" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lacks) / sizeof(lacks[0]); i++) {
		struct kvm_cpuid_entry2 *x = host_leaf(lacks[i].leaf, 0);
		uint32_t *reg = lacks[i].reg_ecx ? &x->ecx : &x->ebx, was = *reg;
		struct cpuid_table t;
		char want[80];

		*reg &= ~(1u << lacks[i].bit);
		snprintf(want, sizeof(want), "this host's processor has no %s, which %s needs", lacks[i].name,
		    lacks[i].baseline);
		assert_int_equal(build(&t, lacks[i].baseline), -ENOTSUP);
		assert_non_null(strstr(e.msg, want));
		assert_null(strstr(e.msg, "  "));
		assert_int_equal(build(&t, "host"), 0);
		*reg = was;
	}
}

static void
avx512_missing_does_not_matter_below_v4(void **state)
{
	struct cpuid_table t;

	(void)state;
	host_leaf(7, 0)->ebx = 0x1 << 5 | 1 << 3 | 1 << 8;
	assert_int_equal(build(&t, "x86-64-v3"), 0);
	assert_int_equal(build(&t, "x86-64-v4"), -ENOTSUP);
}

static void
an_unknown_baseline_is_refused(void **state)
{
	static const char *const names[] = { "", "x86-64-v1", "x86-64-v5", "Host", "x86-64-v2 " };
	struct cpuid_table t;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(build(&t, names[i]), -EINVAL);
		assert_non_null(strstr(e.msg, "is not one of host, x86-64-v2"));
	}
}

static void
the_xsave_area_has_the_baseline_s_parts_and_their_size(void **state)
{
	static const struct {
		const char *baseline;
		uint32_t xcr0, size;
		unsigned parts; /* bit i: component i */
	} want[] = {
		{ "x86-64-v3", 0x7, 832, 1 << 2 },
		{ "x86-64-v4", 0xe7, 2688, 1 << 2 | 1 << 5 | 1 << 6 | 1 << 7 },
	};
	struct cpuid_table t;

	(void)state;
	assert_int_equal(build(&t, "x86-64-v2"), 0);
	assert_null(cpuid_find(&t, 0xd, 0));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(build(&t, want[i].baseline), 0);
		assert_int_equal(leaf(&t, 0xd, 0).eax, want[i].xcr0);
		assert_int_equal(leaf(&t, 0xd, 0).edx, 0);
		assert_int_equal(leaf(&t, 0xd, 0).ebx, want[i].size);
		assert_int_equal(leaf(&t, 0xd, 0).ecx, want[i].size);
		assert_int_equal(leaf(&t, 0xd, 1).eax, 7); /* no supervisor states */
		assert_int_equal(leaf(&t, 0xd, 1).ecx, 0);
		for (uint32_t c = 2; c < 64; c++)
			assert_true((cpuid_find(&t, 0xd, c) != NULL) == ((1ull << c & want[i].parts) != 0));
	}
	assert_int_equal(build(&t, "host"), 0);
	assert_int_equal(leaf(&t, 0xd, 0).eax, 0x602e7);
}

static void
a_baseline_has_addresses_of_four_levels(void **state)
{
	struct cpuid_table t;

	(void)state;
	assert_int_equal(build(&t, "x86-64-v4"), 0);
	assert_int_equal(leaf(&t, 0x80000008, 0).eax, 48 << 8 | 46);
	assert_int_equal(cpuid_address_bits(&t), 46);
	assert_int_equal(build(&t, "host"), 0);
	assert_int_equal(leaf(&t, 0x80000008, 0).eax, 57 << 8 | 46);
}

static void
virtualization_is_seen_only_where_it_was_asked_for(void **state)
{
	struct cpuid_table t;

	(void)state;
	for (int b = 0; machine_baselines[b]; b++) {
		m.processor.expose_virtualization = true;
		assert_int_equal(build(&t, machine_baselines[b]), 0);
		assert_true(leaf(&t, 1, 0).ecx & 1 << 5);
		assert_true(leaf(&t, 0x80000001, 0).ecx & 1 << 2);
		assert_non_null(cpuid_find(&t, 0x8000000a, 0));
		m.processor.expose_virtualization = false;
		assert_int_equal(build(&t, machine_baselines[b]), 0);
		assert_false(leaf(&t, 1, 0).ecx & 1 << 5);
		assert_false(leaf(&t, 0x80000001, 0).ecx & 1 << 2);
		assert_null(cpuid_find(&t, 0x8000000a, 0));
	}
}

static void
a_host_that_does_not_nest_refuses_in_words(void **state)
{
	struct cpuid_table t;

	(void)state;
	m.processor.expose_virtualization = true;
	host_leaf(1, 0)->ecx &= ~(1u << 5);
	host_leaf(0x80000001, 0)->ecx &= ~(1u << 2);
	assert_int_equal(build(&t, "host"), -ENOTSUP);
	assert_non_null(strstr(e.msg, "nested=1"));
	m.processor.expose_virtualization = false;
	assert_int_equal(build(&t, "host"), 0);
}

static void
no_processor_has_counters(void **state)
{
	struct cpuid_table t;

	(void)state;
	assert_int_equal(build(&t, "host"), 0);
	assert_null(cpuid_find(&t, 0xa, 0));
	assert_null(cpuid_find(&t, 0x80000022, 0));
	assert_false(leaf(&t, 1, 0).ecx & 1 << 15);
	assert_int_equal(leaf(&t, 0x80000001, 0).ecx & (1 << 23 | 1 << 24 | 1 << 28), 0);
}

/* As a guest finds it: by cutting its APIC id. */
static void
check_topology(unsigned count, unsigned threads, unsigned cores)
{
	struct cpuid_table t;
	unsigned in_socket = threads * (cores ? cores : count / threads);

	m.processor.count = count;
	m.processor.threads_per_core = threads;
	m.processor.cores_per_socket = cores;
	assert_int_equal(build(&t, "host"), 0);
	for (unsigned vp = 0; vp < count; vp++) {
		struct kvm_cpuid_entry2 smt, core, one;

		cpuid_for_processor(&t, &m, vp);
		smt = leaf(&t, 0xb, 0);
		core = leaf(&t, 0xb, 1);
		one = leaf(&t, 1, 0);
		assert_int_equal(smt.ecx, 1 << 8 | 0);
		assert_int_equal(core.ecx, 2 << 8 | 1);
		assert_int_equal(leaf(&t, 0xb, 2).ecx, 2); /* the end */
		assert_int_equal(leaf(&t, 0xb, 2).ebx, 0);
		assert_int_equal(smt.ebx, threads);
		assert_int_equal(core.ebx, in_socket);
		for (uint32_t i = 0; i < 3; i++)
			assert_int_equal(leaf(&t, 0xb, i).edx, machine_apic_id(&m, vp));
		assert_int_equal(one.ebx >> 24, machine_apic_id(&m, vp));
		assert_int_equal(smt.edx & ((1u << smt.eax) - 1), vp % threads);
		assert_int_equal(core.edx >> core.eax, vp / in_socket);
		assert_int_equal((core.edx & ((1u << core.eax) - 1)) >> smt.eax, vp % in_socket / threads);
		assert_int_equal(one.ebx >> 16 & 0xff, 1u << core.eax);
		assert_true(!!(one.edx & 1 << 28) == (in_socket > 1));
		assert_int_equal(leaf(&t, 0x80000008, 0).ecx, core.eax << 12 | (in_socket - 1));
		assert_int_equal(leaf(&t, 0x8000001e, 0).eax, machine_apic_id(&m, vp));
		assert_int_equal(leaf(&t, 0x8000001e, 0).ecx, vp / in_socket);
		/* L1 is a core's, L3 a socket's. */
		assert_int_equal(leaf(&t, 4, 0).eax >> 14 & 0xfff, (1u << smt.eax) - 1);
		assert_int_equal(leaf(&t, 4, 2).eax >> 14 & 0xfff, (1u << core.eax) - 1);
		assert_int_equal(leaf(&t, 4, 2).eax >> 26, (1u << (core.eax - smt.eax)) - 1);
		assert_int_equal(leaf(&t, 4, 3).eax, 0);
		assert_int_equal(leaf(&t, 0x8000001d, 0).eax >> 14, (1u << smt.eax) - 1);
	}
	assert_null(cpuid_find(&t, 0x1f, 0));
}

static void
topology_is_what_the_machine_says(void **state)
{
	(void)state;
	check_topology(1, 1, 0);
	check_topology(2, 1, 0);
	check_topology(2, 2, 0);
	check_topology(6, 1, 3); /* two sockets of 3: ids have a gap */
	check_topology(6, 2, 3);
	check_topology(12, 2, 3);
	check_topology(64, 1, 0);
	check_topology(64, 2, 0);
	check_topology(64, 2, 4);
	check_topology(64, 1, 1);
}

static void
the_highest_leaf_is_the_last_there_is(void **state)
{
	struct cpuid_table t;

	(void)state;
	assert_int_equal(build(&t, "x86-64-v4"), 0);
	assert_int_equal(leaf(&t, 0, 0).eax, 0xd);
	assert_int_equal(leaf(&t, 0x80000000, 0).eax, 0x8000001e);
	assert_int_equal(build(&t, "host"), 0);
	assert_int_equal(leaf(&t, 0, 0).eax, 0x20);
	assert_int_equal(leaf(&t, 0x40000000, 0).eax, 0x40000006);
}

static void
no_entry_comes_twice(void **state)
{
	struct cpuid_table t;

	(void)state;
	for (int b = 0; machine_baselines[b]; b++) {
		assert_int_equal(build(&t, machine_baselines[b]), 0);
		for (uint32_t i = 0; i < t.n; i++)
			assert_ptr_equal(cpuid_find(&t, t.e[i].function, t.e[i].index), &t.e[i]);
	}
}

static void
of_hypervisors_a_guest_sees_hyper_v_alone(void **state)
{
	struct cpuid_table t;

	(void)state;
	assert_int_equal(build(&t, "host"), 0);
	for (uint32_t i = 0; i < t.n; i++) {
		assert_true(t.e[i].ebx != 0x4b4d564b); /* KVMK */
		if (t.e[i].function >> 28 == 4)
			assert_in_range(t.e[i].function, 0x40000000, 0x40000006);
	}
	assert_int_equal(leaf(&t, 0x40000000, 0).ebx, 0x7263694d); /* Micr */
	assert_int_equal(leaf(&t, 0x40000001, 0).eax, 0x31237648); /* Hv#1 */
	assert_true(leaf(&t, 1, 0).ecx >> 31);
}

static void
a_guest_is_a_child_partition(void **state)
{
	struct cpuid_table t;
	struct kvm_cpuid_entry2 f;

	(void)state;
	assert_int_equal(build(&t, "host"), 0);
	f = leaf(&t, 0x40000003, 0);
	assert_int_equal(f.ebx, 1 << 4 | 1 << 5); /* post messages, signal events, nothing of a root's */
	assert_int_equal(f.eax, 0x8a7f);
	assert_int_equal(f.ecx, 0);
	assert_true(f.edx & 1 << 10); /* crash MSRs */
	assert_int_equal(leaf(&t, 0x40000004, 0).ecx | leaf(&t, 0x40000004, 0).edx, 0);
	fake_kvm.hv_cpuid[3].edx = 0; /* those are ours, whatever KVM has */
	assert_int_equal(build(&t, "host"), 0);
	assert_int_equal(leaf(&t, 0x40000003, 0).edx, 1 << 10);
}

static void
apic_msrs_are_recommended_where_hardware_has_no_apic(void **state)
{
	struct cpuid_table t;

	(void)state;
	assert_int_equal(build(&t, "host"), 0);
	assert_true(leaf(&t, 0x40000004, 0).eax & 1 << 3);
	host.virtual_apic = true;
	assert_int_equal(build(&t, "host"), 0);
	assert_false(leaf(&t, 0x40000004, 0).eax & 1 << 3);
	assert_true(leaf(&t, 0x40000003, 0).eax & 1 << 4); /* they work all the same */
}

static void
an_invariant_tsc_is_announced_where_there_is_one(void **state)
{
	struct cpuid_table t;

	(void)state;
	host_leaf(0x80000007, 0)->edx = 0;
	assert_int_equal(build(&t, "host"), 0);
	assert_false(leaf(&t, 0x40000003, 0).eax & 1 << 15);
}

static void
a_host_with_too_little_of_hyper_v_is_told(void **state)
{
	struct cpuid_table t;

	(void)state;
	for (unsigned bit = 0; bit < 32; bit++) {
		bool needed = 1u << bit & (1 << 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 11);

		fake_kvm.hv_cpuid[3].eax = ~(1u << bit);
		assert_int_equal(build(&t, "host"), needed ? -ENOTSUP : 0);
	}
	assert_non_null(strstr(e.msg, "needs Linux 6.1 or newer"));
}

static void
kvm_s_refusals_are_passed_on(void **state)
{
	struct cpuid_table t;

	(void)state;
	fake_kvm.fails = KVM_GET_SUPPORTED_CPUID;
	assert_int_equal(build(&t, "host"), -EIO);
	assert_string_equal(e.msg, "KVM_GET_SUPPORTED_CPUID: Input/output error");
	fake_kvm.fails = KVM_GET_SUPPORTED_HV_CPUID;
	assert_int_equal(build(&t, "host"), -EIO);
}

static void
a_saved_machine_runs_where_all_it_had_is_there(void **state)
{
	static const struct {
		uint32_t leaf, index;
		int reg;
		uint32_t bits;
		const char *words;
	} lacks[] = {
		{ 1, 0, 2, 1u << 25, "a processor with aes" },
		{ 7, 0, 1, 1u << 16, "avx512f" },
		{ 0xd, 0, 0, 0x40000, "CPUID 0xd" },
		{ 0x40000003, 0, 3, 1u << 4, "CPUID 0x40000003" },
		{ 0x40000004, 0, 0, 1u << 3, "CPUID 0x40000004" },
		{ 0x80000001, 0, 3, 1u << 26, "pdpe1gb" },
	};
	struct cpuid_table saved, here;

	(void)state;
	assert_int_equal(build(&saved, "host"), 0);
	for (size_t i = 0; i < sizeof(lacks) / sizeof(lacks[0]); i++) {
		struct kvm_cpuid_entry2 *x;
		uint32_t *regs[4];

		here = saved;
		assert_int_equal(cpuid_runs_here(&saved, &here, &e), 0);
		x = cpuid_find(&here, lacks[i].leaf, lacks[i].index);
		regs[0] = &x->eax, regs[1] = &x->ebx, regs[2] = &x->ecx, regs[3] = &x->edx;
		*regs[lacks[i].reg] &= ~lacks[i].bits;
		assert_int_equal(cpuid_runs_here(&saved, &here, &e), -ENOTSUP);
		assert_non_null(strstr(e.msg, lacks[i].words));
		assert_int_equal(cpuid_runs_here(&here, &saved, &e), 0);
	}
}

static void
a_saved_machine_of_another_kind_is_refused(void **state)
{
	struct cpuid_table saved, here;

	(void)state;
	assert_int_equal(build(&here, "host"), 0);
	saved = here;
	cpuid_find(&saved, 0, 0)->ebx++;
	assert_int_equal(cpuid_runs_here(&saved, &here, &e), -ENOTSUP);
	assert_non_null(strstr(e.msg, "another manufacturer"));
	saved = here;
	cpuid_find(&saved, 0x80000008, 0)->eax++;
	assert_int_equal(cpuid_runs_here(&saved, &here, &e), -ENOTSUP);
	assert_non_null(strstr(e.msg, "47 address bits"));
	saved = here;
	cpuid_set(&saved, (struct kvm_cpuid_entry2){ .function = 0x40000100 });
	assert_int_equal(cpuid_runs_here(&saved, &here, &e), -EINVAL);
	saved = here;
	saved.n = 0;
	assert_int_equal(cpuid_runs_here(&saved, &here, &e), -ENOTSUP);
}

static void
more_entries_than_fit_are_dropped_or_refused(void **state)
{
	struct cpuid_table t = { .n = 0 };

	(void)state;
	for (uint32_t i = 0; i < CPUID_MAX + 3; i++)
		cpuid_set(&t, (struct kvm_cpuid_entry2){ .function = i });
	assert_int_equal(t.n, CPUID_MAX);
	assert_null(cpuid_find(&t, CPUID_MAX, 0));
	assert_int_equal(cpuid_address_bits(&t), 36); /* what processors without the leaf have */
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		unit(a_baseline_shows_its_features_and_no_others),
		unit(the_narrower_baseline_is_part_of_the_wider),
		unit(what_a_baseline_needs_and_the_host_lacks_is_named),
		unit(avx512_missing_does_not_matter_below_v4),
		unit(an_unknown_baseline_is_refused),
		unit(the_xsave_area_has_the_baseline_s_parts_and_their_size),
		unit(a_baseline_has_addresses_of_four_levels),
		unit(virtualization_is_seen_only_where_it_was_asked_for),
		unit(a_host_that_does_not_nest_refuses_in_words),
		unit(no_processor_has_counters),
		unit(topology_is_what_the_machine_says),
		unit(the_highest_leaf_is_the_last_there_is),
		unit(no_entry_comes_twice),
		unit(of_hypervisors_a_guest_sees_hyper_v_alone),
		unit(a_guest_is_a_child_partition),
		unit(apic_msrs_are_recommended_where_hardware_has_no_apic),
		unit(an_invariant_tsc_is_announced_where_there_is_one),
		unit(a_host_with_too_little_of_hyper_v_is_told),
		unit(kvm_s_refusals_are_passed_on),
		unit(a_saved_machine_runs_where_all_it_had_is_there),
		unit(a_saved_machine_of_another_kind_is_refused),
		unit(more_entries_than_fit_are_dropped_or_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
