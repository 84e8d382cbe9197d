/*
 * tests/unit/synic_test.c - messages and event flags reach the guest's pages where it has put them, and
 * interrupt it; what it puts where there is no memory reaches nothing.
 */
#include "hypervisor/core/synic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#include "tests/unit/fake_partition.h"

enum { MESSAGES = 0x300000, EVENTS = 0x301000, ON = 1, SLOT2 = 2 * 256, PROCESSORS = 2 };

struct world {
	struct machine m;
	struct host host;
	struct partition *p;
};
static struct world w;

static int
setup(void **state)
{
	struct err e;

	(void)state;
	memset(&w, 0, sizeof(w));
	fake_machine(&w.m, 64, PROCESSORS);
	w.host.kvm_fd = fake_kvm_open();
	if (vcpu_setup_signal(&e) < 0 || partition_new(&w.p, &w.host, &w.m, NULL, NULL, &e) < 0)
		return -1;
	synic_set(&w.p->vcpu[1], ON, EVENTS | ON, MESSAGES | ON);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fake_partition_free(w.p);
	machine_close(&w.m);
	return 0;
}

static unsigned
interrupts(unsigned vp)
{
	eventfd_t n = 0;

	return eventfd_read(w.p->vcpu[vp].event_fd, &n) < 0 ? 0 : (unsigned)n;
}

static int
post(unsigned vp, const char *text)
{
	return w.p->vmbus_host.post(w.p, vp, 1, text, strlen(text));
}

static void
every_line_keeps_its_route_and_every_processor_has_its_interrupt(void **state)
{
	unsigned pins = 0, sints = 0;

	(void)state;
	for (unsigned i = 0; i < fake_kvm.routes; i++) {
		const struct kvm_irq_routing_entry *r = &fake_kvm.route[i];

		if (r->type == KVM_IRQ_ROUTING_IRQCHIP) {
			pins++;
			assert_true(r->gsi < 24);
		} else {
			assert_int_equal(r->type, KVM_IRQ_ROUTING_HV_SINT);
			assert_int_equal(r->gsi, 24 + sints);
			assert_int_equal(r->u.hv_sint.vcpu, sints++);
			assert_int_equal(r->u.hv_sint.sint, 2);
		}
	}
	assert_int_equal(pins, 24 + 16);
	assert_int_equal(sints, PROCESSORS);
}

static void
check_message(const char *text)
{
	struct {
		uint32_t type;
		uint8_t len, flags;
		uint16_t zero;
		uint64_t sender;
		char payload[240];
	} m;

	assert_int_equal(gmem_read(w.p->mem, MESSAGES + SLOT2, &m, sizeof(m)), 0);
	assert_int_equal(m.type, 1);
	assert_int_equal(m.len, strlen(text));
	assert_int_equal(m.flags, 0);
	assert_memory_equal(m.payload, text, strlen(text));
}

static void
a_message_waits_for_its_slot(void **state)
{
	uint32_t none = 0;
	uint8_t flags;

	(void)state;
	assert_int_equal(post(1, "one"), 0);
	assert_int_equal(interrupts(1), 1);
	check_message("one");
	assert_int_equal(post(1, "two"), -EAGAIN);
	assert_int_equal(interrupts(1), 0);
	gmem_read(w.p->mem, MESSAGES + SLOT2 + 5, &flags, 1);
	assert_int_equal(flags, 1); /* the guest knows that one waits */
	gmem_write(w.p->mem, MESSAGES + SLOT2, &none, sizeof(none));
	assert_int_equal(post(1, "two"), 0);
	check_message("two");
}

static void
a_message_is_written_by_the_processor_that_runs(void **state)
{
	(void)state;
	partition_go(w.p);
	assert_int_equal(post(1, "one"), 0);
	check_message("one");
	partition_stop(w.p);
}

static void
call_many(void *arg)
{
	++*(int *)arg;
}

static void
calls_and_stops_do_not_lose_each_other(void **state)
{
	int calls = 0;

	(void)state;
	for (int i = 0; i < 200; i++) {
		if (i % 3 == 0)
			partition_go(w.p);
		vcpu_call(&w.p->vcpu[i % PROCESSORS], call_many, &calls);
		if (i % 3 == 1)
			partition_stop(w.p);
	}
	assert_int_equal(calls, 200);
	partition_stop(w.p);
}

/* It asked for a reset, and waits. */
static int
ask_and_park(struct fake_vcpu *v, struct kvm_run *r)
{
	(void)v;
	r->exit_reason = KVM_EXIT_SHUTDOWN;
	return 0;
}

static void
a_processor_that_stopped_by_itself_is_called_all_the_same(void **state)
{
	int calls = 0;

	(void)state;
	fake_kvm.run = ask_and_park;
	partition_go(w.p);
	for (int i = 0; i < 50; i++)
		vcpu_call(&w.p->vcpu[0], call_many, &calls);
	assert_int_equal(calls, 50);
	partition_stop(w.p);
	fake_kvm.run = NULL;
}

static void
who_takes_no_messages_gets_none(void **state)
{
	static const uint64_t off[][3] = { { 0, EVENTS | ON, MESSAGES | ON }, { ON, EVENTS | ON, MESSAGES },
		{ ON, 0, 1ull << 40 | ON }, { ON, 0, ~0ull } };

	(void)state;
	assert_int_equal(post(0, "x"), -ENOTCONN);
	assert_int_equal(post(PROCESSORS, "x"), -ENOTCONN);
	assert_int_equal(post(UINT32_MAX, "x"), -ENOTCONN);
	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++) {
		synic_set(&w.p->vcpu[1], off[i][0], off[i][1], off[i][2]);
		assert_int_equal(post(1, "x"), -ENOTCONN);
	}
	assert_int_equal(interrupts(1), 0);
}

static void
a_flag_interrupts_once_until_the_guest_has_seen_it(void **state)
{
	uint32_t word;

	(void)state;
	w.p->vmbus_host.signal(w.p, 1, 33);
	w.p->vmbus_host.signal(w.p, 1, 33);
	assert_int_equal(interrupts(1), 1);
	gmem_read(w.p->mem, EVENTS + SLOT2 + 4, &word, 4);
	assert_int_equal(word, 2);
	w.p->vmbus_host.signal(w.p, 1, 34);
	assert_int_equal(interrupts(1), 1);
	word = 0;
	gmem_write(w.p->mem, EVENTS + SLOT2 + 4, &word, 4);
	w.p->vmbus_host.signal(w.p, 1, 33);
	assert_int_equal(interrupts(1), 1);
}

static void
a_flag_that_has_no_place_is_nobodys(void **state)
{
	(void)state;
	w.p->vmbus_host.signal(w.p, 1, 2048);
	w.p->vmbus_host.signal(w.p, PROCESSORS, 1);
	w.p->vmbus_host.signal(w.p, 0, 1); /* its pages are off */
	synic_set(&w.p->vcpu[1], ON, 1ull << 45 | ON, 0);
	w.p->vmbus_host.signal(w.p, 1, 1);
	assert_int_equal(interrupts(0) + interrupts(1), 0);
}

static void
a_connection_has_one_listener(void **state)
{
	struct err e;
	int fd = eventfd(0, EFD_CLOEXEC);

	(void)state;
	assert_int_equal(w.p->vmbus_host.bind(w.p, 0x2001, fd, &e), 0);
	assert_int_equal(fake_kvm.bound[0].conn_id, 0x2001);
	assert_int_equal(fake_kvm.bound[0].fd, fd);
	assert_int_equal(w.p->vmbus_host.bind(w.p, 0x2001, fd, &e), -EEXIST);
	w.p->vmbus_host.unbind(w.p, 0x2001);
	assert_int_equal(fake_kvm.bindings, 0);
	close(fd);
}

static void
registers_are_found_again(void **state)
{
	struct err e;

	(void)state;
	fake_kvm.vcpu[1].msr[fake_msr_at(0x40000080)] = ON;
	fake_kvm.vcpu[1].msr[fake_msr_at(0x40000082)] = 0x5000 | ON;
	fake_kvm.vcpu[1].msr[fake_msr_at(0x40000083)] = 0x6000 | ON;
	assert_int_equal(synic_reload(w.p, &e), 0);
	assert_int_equal(w.p->vcpu[1].synic_control, ON);
	assert_int_equal(w.p->vcpu[1].event_page, 0x5000 | ON);
	assert_int_equal(w.p->vcpu[1].message_page, 0x6000 | ON);
	assert_int_equal(w.p->vcpu[0].synic_control, 0);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(every_line_keeps_its_route_and_every_processor_has_its_interrupt),
		unit(a_message_waits_for_its_slot),
		unit(a_message_is_written_by_the_processor_that_runs),
		unit(calls_and_stops_do_not_lose_each_other),
		unit(a_processor_that_stopped_by_itself_is_called_all_the_same),
		unit(who_takes_no_messages_gets_none),
		unit(a_flag_interrupts_once_until_the_guest_has_seen_it),
		unit(a_flag_that_has_no_place_is_nobodys),
		unit(a_connection_has_one_listener),
		unit(registers_are_found_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
