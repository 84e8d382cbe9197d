/*
 * tests/unit/vcpu_state_test.c - the MSRs of a processor in its saved state: those of the guest interface
 * (docs/guest-abi.md) and those that KVM's own list leaves out, in an order in which they mean something.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/fake_saved.h"

static struct machine m;
static struct host host;
static struct err e;
static struct partition p;

static int
setup(void **state)
{
	(void)state;
	memset(&e, 0, sizeof(e));
	host = (struct host){ .kvm_fd = fake_kvm_open() };
	fake_machine(&m, 32, 1);
	return fake_saved_init(&p, &host, &m, &e);
}

static int
teardown(void **state)
{
	(void)state;
	fake_saved_free(&p);
	fake_kvm_close();
	machine_close(&m);
	return 0;
}

static uint64_t
value(uint32_t msr)
{
	return msr ^ 0x5a5a00000000;
}

/* Gives every MSR a value of its own, saves the processor, forgets them, restores it. */
static void
save_and_restore(void)
{
	struct fake_vcpu *v = &fake_kvm.vcpu[0];
	size_t cap = vcpu_state_max(&p.vcpu[0]);
	uint8_t *buf = malloc(cap);
	long n;

	for (int r = 0, k = 0; r < FAKE_MSR_RANGES; r++)
		for (uint32_t i = 0; i < fake_msrs_there[r].n; i++, k++)
			v->msr[k] = value(fake_msrs_there[r].first + i);
	n = vcpu_save(&p.vcpu[0], buf, cap, &e);
	assert_true(n > 0);
	memset(v->msr, 0, sizeof(v->msr));
	v->msr[fake_msr_at(0x10a)] = value(0x10a); /* the hosts are alike */
	assert_int_equal(vcpu_restore(&p.vcpu[0], buf, (size_t)n, &e), 0);
	free(buf);
}

static bool
came_back(uint32_t msr)
{
	int k = fake_msr_at(msr);

	return k >= 0 && fake_kvm.vcpu[0].msr[k] == value(msr);
}

/* When it was restored, counted from 1; 0: never. */
static unsigned
turn(uint32_t msr)
{
	int k = fake_msr_at(msr);

	return k < 0 ? 0 : fake_kvm.vcpu[0].msr_set[k];
}

/* --- the guest interface --------------------------------------------------------------------------- */

/* MSRs of the interface that need not be carried, or are not carried as MSRs. */
static const struct {
	uint32_t first, last;
	const char *why;
} otherwise[] = {
	{ 0x40000020, 0x40000020, "goes on with the partition's clock" },
	{ 0x40000022, 0x40000023, "constants" },
	{ 0x40000070, 0x40000072, "registers of the local APIC" },
	{ 0x40000081, 0x40000081, "a constant" },
	{ 0x40000084, 0x40000084, "can only be written" },
	{ 0x40000100, 0x40000105, "ours: saved with the partition" },
};

static bool
carried_otherwise(uint32_t msr)
{
	for (size_t i = 0; i < sizeof(otherwise) / sizeof(otherwise[0]); i++)
		if (msr >= otherwise[i].first && msr <= otherwise[i].last)
			return true;
	return false;
}

/* The next MSR of a row's first cell, which holds one number and then more by their last digits: ", 21" one
 * more, "-72" all up to that. *last is the number before it and becomes the end of what is returned. */
static const char *
next_numbers(const char *s, uint32_t *first, uint32_t *last)
{
	char how = *s;
	char *end;
	uint32_t digits;

	if (strncmp(s, "0x", 2) == 0) {
		*first = *last = (uint32_t)strtoul(s, &end, 16);
		return end;
	}
	if (how != '-' && how != ',')
		return NULL;
	s += how == ',' ? 2 : 1;
	digits = (uint32_t)strtoul(s, &end, 16);
	if (end == s)
		return NULL;
	*first = how == '-' ? *last + 1 : (*last & ~((1u << 4 * (end - s)) - 1)) | digits;
	*last = (*last & ~((1u << 4 * (end - s)) - 1)) | digits;
	return end;
}

/* A row of the table: | numbers | name | who answers | state |. Returns how many MSRs are to be carried. */
static unsigned
check_row(const char *row)
{
	const char *who = strchr(strchr(row + 2, '|') + 1, '|') + 2, *s = row + 2;
	uint32_t first = 0, last = 0;
	unsigned n = 0;

	while ((s = next_numbers(s, &first, &last)))
		for (uint32_t msr = first; msr <= last; msr++) {
			if (strncmp(who, "hidden", 6) == 0 || carried_otherwise(msr))
				continue;
			if (!came_back(msr))
				fail_msg("MSR %#x is not in the saved state: %s", msr, row);
			n++;
		}
	return n;
}

static void
every_msr_of_the_guest_interface_is_carried(void **state)
{
	FILE *f = fopen("docs/guest-abi.md", "re");
	unsigned rows = 0, n = 0;
	bool there = false;
	char line[512];

	(void)state;
	save_and_restore();
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		if (line[0] == '#')
			there = strcmp(line, "## MSRs\n") == 0;
		if (!there || strncmp(line, "| 0x", 4) != 0)
			continue;
		rows++;
		n += check_row(line);
	}
	fclose(f);
	assert_true(rows >= 15);
	assert_true(n >= 34); /* 24 SINTs and registers of timers, and 10 others */
}

/* --- what KVM does not list -------------------------------------------------------------------------- */

/* Intel SDM volume 3, "Memory type range registers"; TLFS, "SynIC MSRs" and "Synthetic timer MSRs". */
static const struct {
	uint32_t first, n;
} unlisted[] = {
	{ 0x200, 16 },      /* MTRR: eight pairs of base and mask */
	{ 0x250, 1 },       /* MTRR: below 512 KiB */
	{ 0x258, 2 },       /* to 768 KiB */
	{ 0x268, 8 },       /* to 1 MiB */
	{ 0x2ff, 1 },       /* MTRR: default type */
	{ 0x40000082, 2 },  /* SynIC: event and message page */
	{ 0x40000090, 16 }, /* SINTs */
	{ 0x400000b0, 8 },  /* timers: configuration and count, four times */
};

static void
what_kvm_does_not_list_is_carried(void **state)
{
	(void)state;
	save_and_restore();
	for (size_t i = 0; i < sizeof(unlisted) / sizeof(unlisted[0]); i++)
		for (uint32_t msr = unlisted[i].first; msr < unlisted[i].first + unlisted[i].n; msr++)
			if (!came_back(msr))
				fail_msg("MSR %#x is not in the saved state", msr);
}

static void
no_msr_is_carried_twice(void **state)
{
	unsigned n = 0;

	(void)state;
	save_and_restore();
	for (int k = 0; k < FAKE_MSRS; k++)
		n += fake_kvm.vcpu[0].msr_set[k] != 0;
	assert_int_equal(fake_kvm.vcpu[0].msr_sets, n);
}

/* A timer that starts before the SynIC is there reports to nobody; a count before its configuration is lost.
 */
static void
timers_come_after_all_they_need(void **state)
{
	(void)state;
	save_and_restore();
	assert_true(turn(0x40000000) && turn(0x40000000) < turn(0x40000001)); /* no page without an OS id */
	for (uint32_t sint = 0x40000090; sint < 0x400000a0; sint++)
		assert_true(turn(0x40000080) < turn(sint));
	for (uint32_t timer = 0x400000b0; timer < 0x400000b8; timer += 2) {
		assert_true(turn(0x4000009f) < turn(timer));
		assert_true(turn(timer) < turn(timer + 1));
	}
}

static void
what_goes_another_way_is_not_carried_as_an_msr(void **state)
{
	static const uint32_t other_way[] = { 0x10, 0x40000020, 0x40000100, 0x40000104, 0x40000105 };

	(void)state;
	save_and_restore();
	for (size_t i = 0; i < sizeof(other_way) / sizeof(other_way[0]); i++) {
		assert_true(fake_msr_at(other_way[i]) >= 0);
		assert_int_equal(turn(other_way[i]), 0);
	}
}

/* Without KVM's list the guest would go on without its system call entry, its FS and GS bases, ... */
static void
a_processor_whose_msrs_are_not_known_is_not_saved(void **state)
{
	size_t cap = vcpu_state_max(&p.vcpu[0]);
	uint8_t *buf = malloc(cap);

	(void)state;
	fake_kvm.fails = KVM_GET_MSR_INDEX_LIST;
	assert_int_equal(vcpu_save(&p.vcpu[0], buf, cap, &e), -EIO);
	assert_string_equal(e.msg, "processor 0: MSRs: Input/output error");
	free(buf);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(every_msr_of_the_guest_interface_is_carried),
		T(what_kvm_does_not_list_is_carried),
		T(no_msr_is_carried_twice),
		T(timers_come_after_all_they_need),
		T(what_goes_another_way_is_not_carried_as_an_msr),
		T(a_processor_whose_msrs_are_not_known_is_not_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
