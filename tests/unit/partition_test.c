/*
 * tests/unit/partition_test.c - a partition and its processors on a fake KVM: building, running and
 * stopping, exits, reset, memory that is added, its state as bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <dirent.h>
#include <poll.h>

#include "tests/unit/fake_partition.h"

static struct machine m;
static struct host host;
static struct err e;
static struct partition *p;

static int
no_walls(struct err *err)
{
	(void)err;
	return 0;
}

static int
make(uint64_t mb, uint64_t maximum, uint64_t processors)
{
	memset(&e, 0, sizeof(e));
	host = (struct host){ .kvm_fd = fake_kvm_open() };
	fake_machine(&m, mb, processors);
	m.memory.maximum_mb = maximum;
	return partition_new(&p, &host, &m, NULL, no_walls, &e);
}

static int
setup(void **state)
{
	(void)state;
	return vcpu_setup_signal(NULL) < 0 ? -1 : make(64, 512, 2);
}

static int
teardown(void **state)
{
	(void)state;
	fake_partition_free(p);
	p = NULL;
	fake_kvm_close();
	machine_close(&m);
	return 0;
}

static unsigned
wait_asked(void)
{
	struct pollfd f = { .fd = p->wake_fd, .events = POLLIN };

	assert_int_equal(poll(&f, 1, 10000), 1);
	return partition_take_asked(p);
}

/* --- exits: what a processor does, and when it is complete ------------------------------------- */

/* What the guest does: one access, then it is idle. Like KVM, the fake completes an access only when it is
 * entered again. */
static struct {
	uint32_t reason;
	uint16_t port;
	uint8_t size, direction;
	uint32_t data;
	unsigned pieces; /* the access is so many exits */
	atomic_uint exits, completed;
	bool pending;
	bool stop_first; /* the partition stops while the exit is on its way */
} guest;

static int
one_access(struct fake_vcpu *v, struct kvm_run *r)
{
	if (v != &fake_kvm.vcpu[0])
		goto idle;
	if (guest.pending) {
		guest.pending = false;
		guest.completed++;
	}
	if (guest.exits < guest.pieces) {
		if (guest.exits++ == 0 && guest.stop_first)
			atomic_store(&p->go, false);
		guest.pending = true;
		r->exit_reason = guest.reason;
		r->io.direction = guest.direction;
		r->io.size = guest.size;
		r->io.port = guest.port;
		r->io.count = 1;
		r->io.data_offset = 4096;
		memcpy((uint8_t *)r + 4096, &guest.data, sizeof(guest.data));
		return 0;
	}
idle:
	while (!__atomic_load_n(&r->immediate_exit, __ATOMIC_ACQUIRE))
		usleep(500);
	return EINTR;
}

static void
let_guest(uint32_t reason, uint8_t direction, uint16_t port, uint8_t size, uint32_t data)
{
	memset(&guest, 0, sizeof(guest));
	guest.reason = reason;
	guest.direction = direction;
	guest.port = port;
	guest.size = size;
	guest.data = data;
	guest.pieces = 1;
	fake_kvm.run = one_access;
}

static void
an_access_is_complete_before_a_processor_stops(void **state)
{
	(void)state;
	for (unsigned pieces = 1; pieces < 4; pieces++) {
		let_guest(KVM_EXIT_IO, KVM_EXIT_IO_OUT, 0x70, 1, 0x0a);
		guest.pieces = pieces;
		guest.stop_first = true;
		partition_go(p);
		while (guest.completed < pieces)
			usleep(500);
		partition_stop(p);
		assert_int_equal(guest.exits, pieces);
		assert_false(guest.pending);
	}
}

static void
an_access_that_resets_the_machine_is_complete_as_well(void **state)
{
	(void)state;
	let_guest(KVM_EXIT_IO, KVM_EXIT_IO_OUT, 0xcf9, 1, 0x06);
	partition_go(p);
	assert_int_equal(wait_asked(), ASKED_RESET);
	partition_stop(p);
	assert_int_equal(guest.completed, 1);
}

static void
a_port_answers_the_guest(void **state)
{
	uint8_t got;

	(void)state;
	let_guest(KVM_EXIT_IO, KVM_EXIT_IO_IN, 0x92, 1, 0);
	partition_go(p);
	while (!guest.completed)
		usleep(500);
	partition_stop(p);
	got = ((uint8_t *)fake_kvm.vcpu[0].run)[4096];
	assert_int_equal(got, 2);
	assert_int_equal(p->vcpu[0].exits[EXIT_IO], 1);
}

static void
exits_that_nobody_knows_stop_the_machine(void **state)
{
	static const struct {
		uint32_t reason;
		unsigned asked;
		const char *words;
	} bad[] = {
		{ KVM_EXIT_SHUTDOWN, ASKED_RESET, "" },
		{ KVM_EXIT_INTERNAL_ERROR, ASKED_FAILED, "could not carry out an instruction" },
		{ KVM_EXIT_FAIL_ENTRY, ASKED_FAILED, "refused to enter the guest" },
		{ KVM_EXIT_DEBUG, ASKED_FAILED, "does not know (4)" },
		{ 0x7fffffff, ASKED_FAILED, "does not know (2147483647)" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		let_guest(bad[i].reason, 0, 0, 1, 0);
		p->failure[0] = '\0';
		partition_go(p);
		assert_int_equal(wait_asked(), bad[i].asked);
		partition_stop(p);
		assert_non_null(strstr(p->failure, bad[i].words));
	}
}

static int
no_memory(struct fake_vcpu *v, struct kvm_run *r)
{
	(void)v;
	(void)r;
	return ENOMEM;
}

static void
a_processor_that_kvm_refuses_stops_the_machine(void **state)
{
	(void)state;
	fake_kvm.run = no_memory;
	partition_go(p);
	assert_true(wait_asked() & ASKED_FAILED);
	partition_stop(p);
	assert_non_null(strstr(p->failure, "KVM_RUN: Cannot allocate memory"));
}

static int
panics(struct fake_vcpu *v, struct kvm_run *r)
{
	static const struct {
		uint32_t msr;
		uint64_t value;
	} writes[] = { { HV_CRASH_P0 + 3, 0x300000 }, { HV_CRASH_P0 + 4, 4 }, { HV_CRASH_CTL, 3ull << 62 },
		{ 0x123, 0 } };

	if (v == &fake_kvm.vcpu[0] && guest.exits < 4) {
		r->exit_reason = KVM_EXIT_X86_WRMSR;
		r->msr.index = writes[guest.exits].msr;
		r->msr.data = writes[guest.exits++].value;
		r->msr.error = 9;
		return 0;
	}
	while (!__atomic_load_n(&r->immediate_exit, __ATOMIC_ACQUIRE))
		usleep(500);
	return EINTR;
}

static void
a_guest_s_panic_is_told(void **state)
{
	(void)state;
	assert_int_equal(gmem_write(p->mem, 0x300000, "oops", 4), 0);
	guest.exits = 0;
	fake_kvm.run = panics;
	partition_go(p);
	assert_int_equal(wait_asked(), ASKED_PANIC);
	while (guest.exits < 4)
		usleep(500);
	partition_stop(p);
	assert_string_equal(p->panic, "oops");
	assert_int_equal(fake_kvm.vcpu[0].run->msr.error, 1); /* an MSR of nobody's: #GP */
	assert_int_equal(p->vcpu[0].exits[EXIT_MSR], 4);
}

/* --- running and stopping ----------------------------------------------------------------------- */

static void
it_goes_and_stops_as_often_as_one_likes(void **state)
{
	(void)state;
	for (int i = 0; i < 200; i++) {
		partition_go(p);
		if (i % 3 == 0)
			usleep(200);
		partition_stop(p);
		assert_int_equal(p->parked, 2);
	}
	partition_stop(p);
}

static void
every_bit_asked_is_taken_once(void **state)
{
	struct pollfd f = { .fd = p->wake_fd, .events = POLLIN };

	(void)state;
	partition_ask(p, ASKED_CONSOLE);
	partition_ask(p, ASKED_PANIC);
	assert_int_equal(wait_asked(), ASKED_CONSOLE | ASKED_PANIC);
	assert_int_equal(poll(&f, 1, 0), 0);
	assert_int_equal(partition_take_asked(p), 0);
}

static void
an_nmi_goes_to_every_processor_while_it_runs(void **state)
{
	(void)state;
	partition_go(p);
	while (!fake_kvm.vcpu[0].in_run || !fake_kvm.vcpu[1].in_run)
		usleep(500);
	assert_int_equal(partition_nmi(p, &e), 0);
	assert_int_equal(fake_kvm.vcpu[0].nmis, 1);
	assert_int_equal(fake_kvm.vcpu[1].nmis, 1);
	assert_true(atomic_load(&p->go));
	fake_kvm.fails = KVM_NMI;
	assert_int_equal(partition_nmi(p, &e), -EIO);
	assert_string_equal(e.msg, "processor 0: NMI: Input/output error");
	assert_true(atomic_load(&p->go));
}

static void
an_nmi_wakes_no_processor_that_waits_to_be_started(void **state)
{
	static const struct {
		uint32_t mp_state;
		unsigned nmis;
	} processors[] = { { KVM_MP_STATE_RUNNABLE, 1 }, { KVM_MP_STATE_HALTED, 1 },
		{ KVM_MP_STATE_UNINITIALIZED, 0 }, { KVM_MP_STATE_INIT_RECEIVED, 0 } };

	(void)state;
	for (size_t i = 0; i < sizeof(processors) / sizeof(processors[0]); i++) {
		partition_stop(p);
		memcpy(fake_kvm.vcpu[1].state[0], &processors[i].mp_state, sizeof(uint32_t));
		fake_kvm.vcpu[1].nmis = 0;
		assert_int_equal(partition_nmi(p, &e), 0);
		assert_int_equal(fake_kvm.vcpu[1].nmis, processors[i].nmis);
	}
}

static void
an_nmi_does_not_let_a_guest_run_past_what_it_asked(void **state)
{
	static const enum asked asked[] = { ASKED_RESET, ASKED_POWER_OFF, ASKED_FAILED };

	(void)state;
	for (int i = 0; i < 3; i++) {
		partition_go(p);
		partition_ask(p, asked[i]);
		assert_int_equal(partition_nmi(p, &e), 0);
		assert_false(atomic_load(&p->go));
		assert_int_equal(partition_take_asked(p), asked[i]);
	}
}

static void
every_processor_has_its_own_ids_and_the_partition_those_of_the_first(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++)
		for (uint32_t k = 0; k < fake_kvm.vcpu[i].cpuids; k++)
			if (fake_kvm.vcpu[i].cpuid[k].function == 1)
				assert_int_equal(fake_kvm.vcpu[i].cpuid[k].ebx >> 24, i);
	assert_int_equal(cpuid_find(&p->cpuid, 1, 0)->ebx >> 24, 0);
}

/* --- power-on and reset -------------------------------------------------------------------------- */

static struct kvm_regs *
regs_of(unsigned vp)
{
	return (struct kvm_regs *)fake_kvm.vcpu[vp].state[3];
}

static void
reset_goes_back_to_power_on(void **state)
{
	(void)state;
	assert_int_equal(partition_power_on(p, &e), 0);
	assert_int_equal(regs_of(0)->rip, 0x200100);
	memset(regs_of(0), 0x11, sizeof(struct kvm_regs));
	memset(regs_of(1), 0x22, sizeof(struct kvm_regs));
	assert_int_equal(gmem_write(p->mem, 0x3000000, "old", 3), 0);
	p->crash.p[0] = 1;
	bus_write(&p->ports, 0x3ff, 1, 0x77); /* COM1 scratch */
	assert_int_equal(partition_power_on(p, &e), 0);
	assert_int_equal(regs_of(0)->rip, 0x200100);
	assert_int_equal(regs_of(1)->rip, 0);
	assert_int_equal(*(uint8_t *)gmem_span(p->mem, 0x3000000, 1), 0);
	assert_int_equal(bus_read(&p->ports, 0x3ff, 1), 0);
	assert_int_equal(p->crash.p[0], 0);
}

/* KVM sets the paging of a processor up anew when CR0 changes, whatever was wrong with it. */
static void
reset_renews_the_paging_of_every_processor(void **state)
{
	uint64_t before[2];

	(void)state;
	assert_int_equal(partition_power_on(p, &e), 0);
	for (unsigned i = 0; i < 2; i++)
		before[i] = ((struct kvm_sregs *)fake_kvm.vcpu[i].state[1])->cr0;
	assert_int_equal(partition_power_on(p, &e), 0);
	/* Processor 0 got its first instruction's registers after it, and the fake has SREGS2 apart. */
	assert_int_not_equal(((struct kvm_sregs *)fake_kvm.vcpu[1].state[1])->cr0, before[1]);
	assert_int_equal(((struct kvm_sregs *)fake_kvm.vcpu[0].state[1])->cr0, before[0]);
}

static void
system_management_mode_has_memory(void **state)
{
	(void)state;
	assert_int_equal(fake_kvm.management.slot, 1 << 16);
	assert_int_equal(fake_kvm.management.guest_phys_addr, 0);
	assert_int_equal(fake_kvm.management.memory_size, 1 << 20);
	assert_ptr_equal((void *)(uintptr_t)fake_kvm.management.userspace_addr, gmem_span(p->mem, 0, 1));
}

static void
a_restored_machine_is_reset_to_power_on_too(void **state)
{
	void *buf;
	size_t len;

	(void)state;
	memset(regs_of(1), 0x22, sizeof(struct kvm_regs));
	assert_int_equal(partition_save_state(p, &buf, &len, &e), 0);
	fake_partition_free(p);
	machine_close(&m);
	fake_kvm_close();
	assert_int_equal(make(64, 512, 2), 0);
	assert_int_equal(partition_restore_state(p, buf, len, &e), 0);
	free(buf);
	assert_int_equal(regs_of(1)->rip, 0x2222222222222222);
	assert_int_equal(gmem_write(p->mem, 0x3000000, "old", 3), 0);
	assert_int_equal(partition_power_on(p, &e), 0);
	assert_int_equal(regs_of(1)->rip, 0);
	assert_int_equal(*(uint8_t *)gmem_span(p->mem, 0x3000000, 1), 0);
}

static void
power_on_tells_why_it_failed_and_can_be_tried_again(void **state)
{
	int kernel = m.direct.kernel_fd;

	(void)state;
	m.direct.kernel_fd = memfd_create("empty", MFD_CLOEXEC);
	assert_true(partition_power_on(p, &e) < 0);
	assert_string_equal(e.msg, "kernel: is neither a Linux kernel (bzImage) nor an ELF file");
	close(m.direct.kernel_fd);
	m.direct.kernel_fd = kernel;
	fake_kvm.fails = KVM_SET_IRQCHIP;
	assert_int_equal(partition_power_on(p, &e), -EIO);
	fake_kvm.fails = 0;
	assert_int_equal(partition_power_on(p, &e), 0);
}

/* A device tells of output only while there was none before: a console that missed it would stay silent. */
static void
a_reset_forgets_what_the_guest_asked_of_its_machine_but_loses_no_news(void **state)
{
	(void)state;
	partition_ask(p, ASKED_RESET);
	partition_ask(p, ASKED_POWER_OFF);
	partition_ask(p, ASKED_FAILED);
	partition_ask(p, ASKED_PANIC);
	partition_ask(p, ASKED_CONSOLE);
	assert_int_equal(partition_power_on(p, &e), 0);
	assert_int_equal(wait_asked(), ASKED_PANIC | ASKED_CONSOLE);
	partition_ask(p, ASKED_FAILED);
	assert_int_equal(partition_power_on(p, &e), 0);
	partition_ask(p, ASKED_CONSOLE);
	assert_int_equal(wait_asked(), ASKED_CONSOLE);
}

/* --- memory --------------------------------------------------------------------------------------- */

static void
added_memory_is_where_the_tables_say(void **state)
{
	uint64_t gpa = 0;

	(void)state;
	assert_int_equal(partition_add_memory(p, 2 << 20, &gpa, &e), 0);
	assert_int_equal(gpa, p->map.hot_add);
	assert_int_equal(gpa % MAP_HOT_ADD_ALIGN, 0);
	assert_int_equal(fake_kvm.region.guest_phys_addr, gpa);
	assert_int_equal(fake_kvm.region.slot, 1);
	assert_int_equal(partition_add_memory(p, 128 << 20, &gpa, &e), 0);
	assert_int_equal(gpa, p->map.hot_add + (2 << 20));
	assert_int_equal(fake_kvm.region.slot, 2);
	assert_int_equal(gmem_size(p->mem), (64 + 130) << 20);
}

static void
added_memory_leaves_a_gap_above_memory_that_ends_anywhere(void **state)
{
	uint64_t gpa = 0;

	(void)state;
	fake_partition_free(p);
	machine_close(&m);
	fake_kvm_close();
	assert_int_equal(make(3172, 8192, 1), 0);
	assert_int_equal(partition_add_memory(p, 2 << 20, &gpa, &e), 0);
	assert_int_equal(gpa, MAP_HIGH_RAM + MAP_HOT_ADD_ALIGN); /* 100 MiB are below it */
}

static void
memory_is_added_in_whole_pieces_up_to_the_maximum(void **state)
{
	static const uint64_t bad[] = { 0, 1, 1 << 20, 3 << 20, 450ull << 20, 1ull << 40, UINT64_MAX,
		-(2ull << 20) };
	uint64_t gpa;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_true(partition_add_memory(p, bad[i], &gpa, &e) < 0);
	assert_int_equal(gmem_regions(p->mem), 1);
	assert_int_equal(partition_add_memory(p, 448 << 20, &gpa, &e), 0);
	assert_true(partition_add_memory(p, 2 << 20, &gpa, &e) < 0);
}

static void
memory_that_kvm_refuses_is_not_there_and_can_be_added_again(void **state)
{
	uint64_t gpa = 0;
	char c;

	(void)state;
	fake_kvm.fails = KVM_SET_USER_MEMORY_REGION;
	for (int i = 0; i < 2 * GMEM_MAX_REGIONS; i++)
		assert_int_equal(partition_add_memory(p, 128 << 20, &gpa, &e), -EIO);
	assert_non_null(strstr(e.msg, "Input/output error"));
	assert_int_equal(gmem_regions(p->mem), 1);
	assert_int_equal(gmem_size(p->mem), 64 << 20);
	assert_int_equal(gmem_read(p->mem, p->map.hot_add, &c, 1), -EFAULT);
	fake_kvm.fails = 0;
	assert_int_equal(partition_add_memory(p, 448 << 20, &gpa, &e), 0); /* all that there may be */
	assert_int_equal(gpa, p->map.hot_add);
	assert_int_equal(fake_kvm.region.slot, 1);
	assert_int_equal(gmem_write(p->mem, gpa + (448 << 20) - 1, "", 1), 0);
}

/* --- state ---------------------------------------------------------------------------------------- */

static void
state_is_restored_equal(void **state)
{
	uint8_t *was;
	void *is;
	size_t n, len;

	(void)state;
	for (unsigned v = 0; v < 2; v++)
		for (int i = 0; i < FAKE_STATES; i++)
			memset(fake_kvm.vcpu[v].state[i], (int)(16 * v) + i + 1, 4096);
	fake_kvm.vcpu[1].tsc_offset = 77;
	fake_kvm.vcpu[1].msr[2] = 0x1234;
	fake_kvm.clock = 5000000000;
	memset(&fake_kvm.chip[1].chip, 0x31, sizeof(fake_kvm.chip[1].chip));
	p->crash.p[2] = 3;
	assert_int_equal(partition_save_state(p, (void **)&was, &n, &e), 0);
	fake_partition_free(p);
	machine_close(&m);
	fake_kvm_close();
	assert_int_equal(make(64, 512, 2), 0);
	for (size_t cut = 0; cut < n; cut++) {
		memset(&e, 0, sizeof(e));
		assert_int_equal(partition_restore_state(p, was, cut, &e), -EINVAL);
		assert_true(e.msg[0]);
	}
	assert_int_equal(partition_restore_state(p, was, n, &e), 0);
	assert_int_equal(fake_kvm.vcpu[1].tsc_offset - fake_kvm.vcpu[0].tsc_offset, 77);
	assert_int_equal(fake_kvm.vcpu[1].msr[2], 0x1234);
	assert_int_equal(fake_kvm.clock, 5000000000);
	assert_int_equal(p->crash.p[2], 3);
	assert_int_equal(partition_save_state(p, &is, &len, &e), 0);
	assert_int_equal(len, n);
	memcpy((uint8_t *)is + 24, was + 24, 8); /* the reference time went on */
	assert_memory_equal(is, was, n);
	free(is);
	was = realloc(was, n + 8);
	assert_int_equal(partition_restore_state(p, was, n + 8, &e), -EINVAL);
	free(was);
}

/* Without XSAVE, KVM gives no XCR0 and refuses to be given none: a machine can be reset there, too. */
static void
state_is_restored_where_there_is_no_xsave(void **state)
{
	const struct kvm_xcrs one = { .nr_xcrs = 1, .xcrs[0].value = 7 };
	void *buf;
	size_t n;

	(void)state;
	assert_int_equal(partition_save_state(p, &buf, &n, &e), 0); /* with none */
	fake_kvm.fails = KVM_SET_XCRS;
	assert_int_equal(partition_restore_state(p, buf, n, &e), 0);
	free(buf);
	memcpy(fake_kvm.vcpu[0].state[4], &one, sizeof(one));
	assert_int_equal(partition_save_state(p, &buf, &n, &e), 0);
	assert_true(partition_restore_state(p, buf, n, &e) < 0); /* what was in use must be here, too */
	assert_non_null(strstr(e.msg, "XCR0"));
	free(buf);
}

static void
time_goes_on_where_it_was_saved(void **state)
{
	uint8_t *buf;
	uint64_t saved, now;
	size_t n;

	(void)state;
	p->clock_offset += 3600ll * 1000000000;
	fake_kvm.tsc = 5000;
	assert_int_equal(partition_save_state(p, (void **)&buf, &n, &e), 0);
	memcpy(&saved, buf + 24, sizeof(saved));
	fake_partition_free(p);
	machine_close(&m);
	fake_kvm_close();
	assert_int_equal(make(64, 512, 2), 0);
	assert_true(partition_now(p) < 3600ull * 1000000000);
	assert_int_equal(partition_restore_state(p, buf, n, &e), 0);
	now = partition_now(p);
	assert_true(now >= saved && now < saved + 60ull * 1000000000);
	assert_int_equal(fake_kvm.tsc + (uint64_t)fake_kvm.vcpu[0].tsc_offset, 5000);
	free(buf);
}

static void
a_rate_of_the_tsc_that_cannot_be_is_refused(void **state)
{
	static const uint64_t bad[] = { 0, 1ull << 32, UINT64_MAX, 1ull << 52 };
	uint8_t *buf;
	size_t n;

	(void)state;
	assert_int_equal(partition_save_state(p, (void **)&buf, &n, &e), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memcpy(buf + 32, &bad[i], sizeof(bad[i]));
		assert_int_equal(partition_restore_state(p, buf, n, &e), -EINVAL);
	}
	memcpy(buf + 32, &(uint64_t){ 1000000 }, 8);
	assert_int_equal(partition_restore_state(p, buf, n, &e), 0);
	assert_int_equal(p->tsc_khz, 1000000);
	free(buf);
}

/* Devices reckon with the time in whole ticks, and the clock must not come to its end while they do. */
static void
a_reference_time_that_cannot_be_is_refused(void **state)
{
	static const uint64_t bad[] = { 1ull << 62, INT64_MAX, 1ull << 63, UINT64_MAX };
	uint8_t *buf;
	size_t n;

	(void)state;
	assert_int_equal(partition_save_state(p, (void **)&buf, &n, &e), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memcpy(buf + 24, &bad[i], sizeof(bad[i]));
		memset(&e, 0, sizeof(e));
		assert_int_equal(partition_restore_state(p, buf, n, &e), -EINVAL);
		assert_non_null(strstr(e.msg, "reference time"));
	}
	memcpy(buf + 24, &(uint64_t){ 1ull << 61 }, 8); /* 73 years */
	assert_int_equal(partition_restore_state(p, buf, n, &e), 0);
	free(buf);
}

static void
a_processor_s_part_that_is_empty_is_refused(void **state)
{
	uint8_t *buf;
	size_t n, at = 8 + 32 + 8 + sizeof(struct hv_crash) + 3 * (8 + sizeof(struct kvm_irqchip)) + 8;
	uint32_t zero = 0;

	(void)state;
	assert_int_equal(partition_save_state(p, (void **)&buf, &n, &e), 0);
	for (int i = 0; i < 12; i++) { /* the records of processor 0 */
		uint32_t item, len;

		memcpy(&item, buf + at, 4);
		memcpy(&len, buf + at + 4, 4);
		if (len > 0) {
			memcpy(buf + at + 4, &zero, 4);
			memset(&e, 0, sizeof(e));
			assert_int_equal(partition_restore_state(p, buf, n, &e), -EINVAL);
			assert_true(e.msg[0]);
			memcpy(buf + at + 4, &len, 4);
		}
		at += 8 + ((len + 7) & ~7u);
	}
	assert_int_equal(partition_restore_state(p, buf, n, &e), 0);
	free(buf);
}

static void
an_msr_that_another_host_has_otherwise_is_refused(void **state)
{
	uint8_t *buf;
	size_t n;

	(void)state;
	assert_int_equal(partition_save_state(p, (void **)&buf, &n, &e), 0);
	fake_kvm.vcpu[0].msr[1]++;
	assert_int_equal(partition_restore_state(p, buf, n, &e), -EINVAL);
	assert_string_equal(e.msg, "processor 0: MSR 0x10a: this host refuses the value 0x2b");
	free(buf);
}

/* --- building -------------------------------------------------------------------------------------- */

static size_t
open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void
what_kvm_refuses_while_it_is_built_is_told_and_nothing_stays(void **state)
{
	static const unsigned long requests[] = { KVM_GET_SUPPORTED_CPUID, KVM_GET_SUPPORTED_HV_CPUID,
		KVM_CREATE_VM, KVM_ENABLE_CAP, KVM_X86_SET_MSR_FILTER, KVM_SET_TSS_ADDR,
		KVM_SET_IDENTITY_MAP_ADDR, KVM_CREATE_IRQCHIP, KVM_SET_USER_MEMORY_REGION,
		KVM_GET_VCPU_MMAP_SIZE, KVM_CREATE_VCPU, KVM_SET_CPUID2, KVM_GET_IRQCHIP, KVM_GET_REGS,
		KVM_GET_LAPIC, KVM_GET_MSRS, KVM_GET_XSAVE, KVM_GET_DEVICE_ATTR };
	struct partition *none = NULL;
	size_t before;

	(void)state;
	fake_partition_free(p);
	p = NULL;
	before = open_fds();
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		memset(&e, 0, sizeof(e));
		fake_kvm.fails = requests[i];
		assert_true(partition_new(&none, &host, &m, NULL, no_walls, &e) < 0);
		assert_true(e.code > 0 && e.msg[0]);
		fake_kvm_forget_vm();
		assert_int_equal(open_fds(), before);
	}
}

static int
broken_walls(struct err *err)
{
	return err_set(err, EPERM, "no walls today");
}

static void
a_processor_without_walls_never_runs(void **state)
{
	struct partition *none = NULL;

	(void)state;
	fake_partition_free(p);
	p = NULL;
	assert_int_equal(partition_new(&none, &host, &m, NULL, broken_walls, &e), -EPERM);
	assert_null(none);
	assert_int_equal(fake_kvm.vcpu[0].runs, 0);
}

static void
a_machine_that_is_too_large_for_the_processors_is_refused(void **state)
{
	struct partition *none = NULL;

	(void)state;
	fake_partition_free(p);
	p = NULL;
	for (uint32_t i = 0; i < fake_kvm.supported; i++)
		if (fake_kvm.supported_cpuid[i].function == 0x80000008)
			fake_kvm.supported_cpuid[i].eax = 36;
	assert_int_equal(partition_new(&none, &host, &m, NULL, no_walls, &e), -E2BIG);
	assert_non_null(strstr(e.msg, "this host's processors have 36 bits"));
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		unit(an_access_is_complete_before_a_processor_stops),
		unit(an_access_that_resets_the_machine_is_complete_as_well), unit(a_port_answers_the_guest),
		unit(exits_that_nobody_knows_stop_the_machine),
		unit(a_processor_that_kvm_refuses_stops_the_machine), unit(a_guest_s_panic_is_told),
		unit(it_goes_and_stops_as_often_as_one_likes), unit(every_bit_asked_is_taken_once),
		unit(an_nmi_goes_to_every_processor_while_it_runs),
		unit(an_nmi_wakes_no_processor_that_waits_to_be_started),
		unit(an_nmi_does_not_let_a_guest_run_past_what_it_asked),
		unit(every_processor_has_its_own_ids_and_the_partition_those_of_the_first),
		unit(reset_goes_back_to_power_on), unit(reset_renews_the_paging_of_every_processor),
		unit(system_management_mode_has_memory), unit(a_restored_machine_is_reset_to_power_on_too),
		unit(power_on_tells_why_it_failed_and_can_be_tried_again),
		unit(a_reset_forgets_what_the_guest_asked_of_its_machine_but_loses_no_news),
		unit(added_memory_is_where_the_tables_say),
		unit(added_memory_leaves_a_gap_above_memory_that_ends_anywhere),
		unit(memory_is_added_in_whole_pieces_up_to_the_maximum),
		unit(memory_that_kvm_refuses_is_not_there_and_can_be_added_again),
		unit(state_is_restored_equal), unit(state_is_restored_where_there_is_no_xsave),
		unit(time_goes_on_where_it_was_saved), unit(a_rate_of_the_tsc_that_cannot_be_is_refused),
		unit(a_reference_time_that_cannot_be_is_refused),
		unit(a_processor_s_part_that_is_empty_is_refused),
		unit(an_msr_that_another_host_has_otherwise_is_refused),
		unit(what_kvm_refuses_while_it_is_built_is_told_and_nothing_stays),
		unit(a_machine_that_is_too_large_for_the_processors_is_refused),
		unit(a_processor_without_walls_never_runs), /* last: its threads stay */
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
