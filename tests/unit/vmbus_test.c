/*
 * tests/unit/vmbus_test.c - the bus as a guest's driver meets it: contact, offers, channels, interrupts, the
 * end of a connection, and devices that come, go and break.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fake_vmbus_device.h"

enum { VPS = 4, OUT = 3, IN = 2 };

static const uint32_t versions[] = { VMBUS_0_13, VMBUS_1_1, VMBUS_2_4, VMBUS_3_0, VMBUS_4_0, VMBUS_4_1,
	VMBUS_5_0, VMBUS_5_1, VMBUS_5_2, VMBUS_5_3 };
enum { VERSIONS = sizeof(versions) / sizeof(versions[0]) };

struct fixture {
	struct fake_vmbus f;
	struct fake_device a, b; /* a is offered */
	struct wire_offer offer; /* of a, once asked */
	struct fake_channel c;
};

static int
setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	assert_int_equal(fake_vmbus_init(&x->f, 64, VPS), 0);
	fake_device_init(&x->a, 0x20, 1);
	fake_device_init(&x->b, 0x10, 1);
	assert_int_equal(vmbus_offer_device(x->f.bus, &x->a.d, NULL), 0);
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *x = *state;

	fake_vmbus_free(&x->f);
	free(x);
	return 0;
}

static struct vmbus_stats
stats(const struct fixture *x)
{
	struct vmbus_stats s;

	vmbus_statistics(x->f.bus, &s);
	return s;
}

static void
attach(struct fixture *x, uint32_t version)
{
	assert_true(fake_connect(&x->f, version));
	assert_int_equal(fake_offers(&x->f, &x->offer, 1), 1);
}

static void
open_at(struct fixture *x, uint32_t version)
{
	attach(x, version);
	assert_int_equal(fake_open(&x->f, &x->c, &x->offer, OUT, IN, 1), WIRE_STATUS_OK);
}

static void
nothing_comes(struct fixture *x)
{
	struct fake_message m;

	assert_int_equal(fake_hear(&x->f, &m), 0);
}

static uint32_t
hear(struct fixture *x, struct fake_message *m)
{
	return fake_hear(&x->f, m);
}

/* --- contact --- */

static void
every_version_is_agreed_on_and_no_other(void **state)
{
	static const uint32_t bad[] = { 0, 1, 0x0000000c, 0x0000000e, 0x00010000, 0x00010002, 0x00020003,
		0x00050004, VMBUS_6_0, 0x00060001, 0x00070000, UINT32_MAX };
	struct fixture *x = *state;
	struct fake_message m;

	for (size_t i = 0; i < VERSIONS; i++) {
		assert_true(fake_connect(&x->f, versions[i]));
		assert_int_equal(stats(x).version, versions[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct wire_contact c = fake_contact(bad[i], 0);

		assert_int_equal(fake_say(&x->f, &c, sizeof(c)), 0);
		assert_int_equal(hear(x, &m), WIRE_VERSION_RESPONSE);
		assert_int_equal(m.len, 16);
		assert_int_equal(m.version.supported, 0);
		assert_int_equal(stats(x).version, 0);
	}
}

static void
a_version_response_says_where_to_post(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;

	for (size_t i = 0; i < VERSIONS; i++)
		for (uint32_t conn = 1; conn <= 4; conn += 3) {
			struct wire_contact c = fake_contact(versions[i], 2);

			assert_int_equal(fake_post(&x->f, conn, &c, sizeof(c)), 0);
			assert_int_equal(hear(x, &m), WIRE_VERSION_RESPONSE);
			assert_int_equal(m.vp, 2); /* where the guest wants its messages */
			assert_int_equal(m.len, 16);
			assert_int_equal(m.version.supported, 1);
			assert_int_equal(m.version.state, 0);
			assert_int_equal(m.version.connection, versions[i] >= VMBUS_5_0 ? conn : versions[i]);
		}
}

static void
messages_come_in_on_two_connections_only(void **state)
{
	struct fixture *x = *state;
	struct wire_contact c = fake_contact(VMBUS_5_3, 0);
	uint8_t big[SYNIC_MESSAGE_MAX + 1] = { 0 };
	bool wake;

	for (uint32_t conn = 0; conn < 100; conn++)
		assert_int_equal(fake_post(&x->f, conn, &c, sizeof(c)), conn == 1 || conn == 4 ? 0 : 18);
	assert_int_equal(fake_post(&x->f, 0x800074, &c, sizeof(c)), 18);
	assert_int_equal(vmbus_receive(x->f.bus, 1, 0, &c, sizeof(c), &wake), 5);
	assert_int_equal(vmbus_receive(x->f.bus, 1, 2, &c, sizeof(c), &wake), 5);
	assert_int_equal(vmbus_receive(x->f.bus, 1, 0x80000001, &c, sizeof(c), &wake), 5);
	assert_int_equal(vmbus_receive(x->f.bus, 1, 1, big, sizeof(big), &wake), 5);
	assert_false(wake);
}

static void
contact_with_parameters_that_cannot_be_is_refused(void **state)
{
	struct fixture *x = *state;
	struct wire_contact bad[8];
	struct fake_message m;

	for (size_t i = 0; i < 8; i++)
		bad[i] = fake_contact(VMBUS_5_3, 0);
	bad[0].target_vp = VPS;
	bad[1].target_vp = UINT32_MAX;
	bad[2].monitor_page[0] = 0;
	bad[3].monitor_page[1] = 0;
	bad[4].target.sint = 3;
	bad[5].target.vtl = 2;
	bad[6] = fake_contact(VMBUS_0_13, 0);
	bad[6].interrupt_page = 64 << 20;
	bad[7] = fake_contact(VMBUS_1_1, 0);
	bad[7].interrupt_page = GMEM_PAGE + 8;
	for (size_t i = 0; i < 8; i++) {
		assert_true(fake_connect(&x->f, VMBUS_5_3));
		assert_int_equal(fake_say(&x->f, &bad[i], sizeof(bad[i])), 0);
		assert_int_equal(hear(x, &m), WIRE_VERSION_RESPONSE);
		assert_int_equal(m.version.supported, 0);
		assert_int_equal(stats(x).version, 0);
	}
	assert_int_equal(stats(x).messages_bad, 8);
	bad[0] = fake_contact(VMBUS_3_0, 0);
	bad[0].monitor_page[0] = bad[0].monitor_page[1] = 0; /* neither: fine */
	bad[0].interrupt_page = 123;                         /* not looked at from 2.4 on */
	fake_say(&x->f, &bad[0], sizeof(bad[0]));
	hear(x, &m);
	assert_int_equal(m.version.supported, 1);
}

static void
a_boot_loader_tries_one_version_and_takes_another(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;

	/* iPXE: 3.0 to see whether UNLOAD works, then 0.13, whose UNLOAD has no answer. */
	assert_true(fake_connect(&x->f, VMBUS_3_0));
	fake_say_numbers(&x->f, WIRE_UNLOAD, 8, 0, 0);
	assert_int_equal(hear(x, &m), WIRE_UNLOADED);
	assert_int_equal(m.len, 8);
	attach(x, VMBUS_0_13);
	fake_say_numbers(&x->f, WIRE_UNLOAD, 8, 0, 0);
	nothing_comes(x);
	assert_int_equal(stats(x).version, 0);
	assert_true(fake_connect(&x->f, VMBUS_1_1));
	fake_say_numbers(&x->f, WIRE_UNLOAD, 8, 0, 0);
	assert_int_equal(hear(x, &m), WIRE_UNLOADED);
}

/* --- offers --- */

static void
an_offer_holds_what_drivers_look_for(void **state)
{
	static const uint8_t type[16] = { 0x23, 0x22, 0x21, 0x20, 0x25, 0x24, 0x27, 0x26, 0x28, 0x29, 0x2a,
		0x2b, 0x2c, 0x2d, 0x2e, 0x2f };
	struct fixture *x = *state;

	x->a.d.offer.flags = OFFER_ENUMERATE | OFFER_PIPE;
	x->a.d.offer.mmio_mb = 8;
	memset(x->a.d.offer.user, 7, sizeof(x->a.d.offer.user));
	attach(x, VMBUS_5_3);
	assert_memory_equal(x->offer.type, type, 16);
	assert_int_equal(x->offer.instance[0], 4);
	assert_int_equal(x->offer.instance[15], 16);
	assert_int_equal(x->offer.flags, 0x11);
	assert_int_equal(x->offer.mmio_mb, 8);
	assert_int_equal(x->offer.user[119], 7);
	assert_int_equal(x->offer.index, 0);
	assert_int_equal(x->offer.relid, 1);
	assert_int_equal(x->offer.connection, 0x2001);
	assert_int_equal(x->offer.dedicated, 1);
	assert_int_equal(x->offer.monitored, 0);
}

static void
offers_come_in_the_same_order_whenever_devices_came(void **state)
{
	struct fixture *x = *state;
	struct fake_device d[5];
	struct wire_offer o[8];

	for (unsigned i = 0; i < 5; i++) {
		fake_device_init(&d[i], 0x20, (uint8_t)(0x50 - i));
		assert_int_equal(vmbus_offer_device(x->f.bus, &d[i].d, NULL), 0);
	}
	assert_int_equal(vmbus_offer_device(x->f.bus, &x->b.d, NULL), 0);
	for (unsigned round = 0; round < 2; round++) {
		assert_true(fake_connect(&x->f, VMBUS_5_3));
		assert_int_equal(fake_offers(&x->f, o, 8), 7);
		assert_int_equal(o[0].type[3], 0x10);
		for (unsigned i = 0; i < 7; i++)
			assert_int_equal(o[i].relid, i + 1);
		for (unsigned i = 2; i < 7; i++)
			assert_true(o[i].instance[3] > o[i - 1].instance[3]);
	}
}

static void
asking_twice_brings_the_end_again_and_nothing_else(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;

	attach(x, VMBUS_5_3);
	assert_int_equal(fake_offers(&x->f, &x->offer, 1), 0);
	fake_say_numbers(&x->f, WIRE_REQUEST_OFFERS, 8, 0, 0);
	assert_int_equal(hear(x, &m), WIRE_ALL_OFFERS);
	nothing_comes(x);
}

static void
a_device_is_added_and_removed_while_the_guest_runs(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;

	attach(x, VMBUS_5_3);
	for (unsigned i = 0; i < 100; i++) {
		uint32_t relid;

		fake_device_init(&x->b, 0x10, 1);
		assert_int_equal(vmbus_offer_device(x->f.bus, &x->b.d, NULL), 0);
		assert_int_equal(hear(x, &m), WIRE_OFFER);
		relid = m.offer.relid;
		assert_int_equal(relid, 2);
		assert_int_equal(fake_open(&x->f, &x->c, &m.offer, OUT, IN, 0), WIRE_STATUS_OK);
		vmbus_revoke_device(&x->b.d, fake_device_gone);
		assert_int_equal(x->b.closes, 1);
		assert_int_equal(x->b.gone, 1); /* the guest need not have let go for that */
		assert_null(x->b.d.primary);
		assert_int_equal(hear(x, &m), WIRE_RESCIND);
		assert_int_equal(m.relid.relid, relid);
		assert_true(fake_teardown(&x->f, relid, x->c.gpadl));
		fake_say_numbers(&x->f, WIRE_RELID_RELEASED, 12, relid, 0);
		nothing_comes(x);
		assert_int_equal(stats(x).pages, 0);
		x->f.next_page = FAKE_FIRST_PAGE;
	}
	assert_int_equal(stats(x).messages_bad, 0);
}

static void
a_relid_is_used_again_only_after_the_guest_released_it(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;

	attach(x, VMBUS_5_3);
	vmbus_revoke_device(&x->a.d, NULL);
	assert_int_equal(hear(x, &m), WIRE_RESCIND);
	assert_int_equal(m.len, 12);
	assert_int_equal(vmbus_offer_device(x->f.bus, &x->b.d, NULL), 0);
	assert_int_equal(hear(x, &m), WIRE_OFFER);
	assert_int_equal(m.offer.relid, 2);
	fake_say_numbers(&x->f, WIRE_RELID_RELEASED, 12, 1, 0);
	assert_int_equal(vmbus_offer_device(x->f.bus, &x->a.d, NULL), 0);
	assert_int_equal(hear(x, &m), WIRE_OFFER);
	assert_int_equal(m.offer.relid, 1);
	fake_say_numbers(&x->f, WIRE_RELID_RELEASED, 12, 1, 0); /* it was not taken back */
	assert_int_equal(stats(x).messages_bad, 1);
}

static void
a_device_that_was_never_offered_goes_without_a_word(void **state)
{
	struct fixture *x = *state;

	vmbus_revoke_device(&x->a.d, fake_device_gone);
	assert_int_equal(x->a.gone, 1);
	assert_true(fake_connect(&x->f, VMBUS_5_3));
	assert_int_equal(fake_offers(&x->f, &x->offer, 1), 0);
	vmbus_revoke_device(&x->a.d, fake_device_gone); /* it is on no bus: gone already */
	assert_int_equal(x->a.gone, 2);
}

static void
the_bus_has_2047_channels_and_says_so(void **state)
{
	struct fixture *x = *state;
	struct fake_device *d = calloc(VMBUS_MAX_CHANNELS, sizeof(*d));
	struct wire_offer *o = calloc(FAKE_OFFERS, sizeof(*o));
	struct err e;

	for (unsigned i = 0; i < VMBUS_MAX_CHANNELS; i++) {
		int rc;

		fake_device_init(&d[i], (uint8_t)(0x30 + i / 256), (uint8_t)i);
		rc = vmbus_offer_device(x->f.bus, &d[i].d, &e);
		if (rc == -EMFILE) /* a small limit of descriptors */
			break;
		assert_int_equal(rc, i < VMBUS_MAX_CHANNELS - 1 ? 0 : -ENOSPC);
		if (i == VMBUS_MAX_CHANNELS - 1) {
			assert_true(fake_connect(&x->f, VMBUS_5_3));
			assert_int_equal(fake_offers(&x->f, o, FAKE_OFFERS), VMBUS_MAX_CHANNELS);
			assert_int_equal(o[FAKE_OFFERS - 1].relid, VMBUS_MAX_CHANNELS);
		}
	}
	assert_int_equal(vmbus_offer_device(x->f.bus, &x->a.d, &e), -EEXIST);
	vmbus_free(x->f.bus);
	assert_null(d[0].d.bus);
	assert_int_equal(vmbus_new(&x->f.bus, &x->f.host, NULL), 0);
	free(d);
	free(o);
}

/* --- open, close, traffic --- */

static void
a_channel_opens_carries_packets_and_closes(void **state)
{
	struct fixture *x = *state;

	for (size_t i = 0; i < VERSIONS; i++) {
		struct packet_head h;
		uint8_t got[64];
		unsigned vp = versions[i] < VMBUS_2_4 ? 0 : 1;

		open_at(x, versions[i]);
		assert_ptr_equal(x->a.open[0], x->a.d.primary);
		assert_true(fake_send(&x->c, PACKET_INBAND, 1, 42, NULL, 0, "hello", 5));
		if (versions[i] >= VMBUS_2_4)
			assert_true(fake_kicked(x->a.open[0]));
		assert_true(fake_device_echo(x->a.open[0]));
		assert_true(fake_signalled(&x->f, vp, versions[i] < VMBUS_2_4 ? 0 : x->offer.relid));
		assert_int_equal(fake_recv(&x->c, &h, got, sizeof(got)), 8);
		assert_int_equal(h.transaction, 42);
		assert_memory_equal(got, "hello\0\0\0", 8);
		assert_true(fake_shut(&x->c));
		assert_int_equal(x->a.closes, i + 1);
		assert_false(fake_kick(&x->f, x->c.connection));
		x->f.next_page = FAKE_FIRST_PAGE;
	}
	assert_int_equal(stats(x).messages_bad, 0);
}

static void
open_results_carry_the_guests_number_and_user_data_the_device(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;
	struct wire_open o;

	open_at(x, VMBUS_5_3);
	assert_true(fake_shut(&x->c));
	x->c.gpadl = fake_gpadl(&x->f, 1, x->c.first, OUT + IN);
	o = (struct wire_open){ .head.type = WIRE_OPEN,
		.relid = 1,
		.open_id = 0xabcd,
		.gpadl = x->c.gpadl,
		.target_vp = 3,
		.downstream = OUT };
	memset(o.user, 9, sizeof(o.user));
	fake_say(&x->f, &o, sizeof(o));
	assert_int_equal(hear(x, &m), WIRE_OPEN_RESULT);
	assert_int_equal(m.len, 20);
	assert_int_equal(m.opened.open_id, 0xabcd);
	assert_int_equal(m.opened.status, 0);
	assert_int_equal(x->a.open[0]->user[119], 9);
	assert_int_equal(x->a.open[0]->target_vp, 3);
}

static void
an_open_that_cannot_be_is_answered_with_a_failure(void **state)
{
	struct fixture *x = *state;
	uint64_t first;
	uint32_t good, other, odd, shifted, pfn_of;
	struct fake_message m;
	struct wire_offer two[2];
	uint64_t pages[27] = { 0 };

	assert_int_equal(vmbus_offer_device(x->f.bus, &x->b.d, NULL), 0);
	assert_true(fake_connect(&x->f, VMBUS_5_3));
	assert_int_equal(fake_offers(&x->f, two, 2), 2);
	first = fake_pages(&x->f, OUT + IN);
	for (unsigned i = 0; i < OUT + IN; i++)
		pages[i] = first + i;
	good = fake_gpadl(&x->f, 1, first, OUT + IN);
	other = fake_gpadl(&x->f, 2, first, OUT + IN);
	odd = 77;
	assert_int_equal(fake_gpadl_pages(&x->f, 1, odd, pages, 5, 0, 5 * GMEM_PAGE - 8), 0);
	shifted = 78;
	assert_int_equal(fake_gpadl_pages(&x->f, 1, shifted, pages, 5, 8, 4 * GMEM_PAGE), 0);
	pfn_of = 79;
	fake_gpadl_header(&x->f, 1, pfn_of, pages, 27, 0, 27 * GMEM_PAGE); /* in progress */
	{
		const struct {
			uint32_t relid, gpadl, vp, downstream;
		} bad[] = {
			{ 3, good, 0, OUT },
			{ 0, good, 0, OUT },
			{ 2048, good, 0, OUT },
			{ UINT32_MAX, good, 0, OUT },
			{ 1, other, 0, OUT },
			{ 1, 12345, 0, OUT },
			{ 1, odd, 0, OUT },
			{ 1, shifted, 0, OUT },
			{ 1, pfn_of, 0, OUT },
			{ 1, good, VPS, OUT },
			{ 1, good, UINT32_MAX - 1, OUT },
			{ 1, good, 0, 0 },
			{ 1, good, 0, 1 },
			{ 1, good, 0, 4 },
			{ 1, good, 0, 5 },
			{ 1, good, 0, UINT32_MAX },
		};

		for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
			struct wire_open o = { .head.type = WIRE_OPEN,
				.relid = bad[i].relid,
				.open_id = 5,
				.gpadl = bad[i].gpadl,
				.target_vp = bad[i].vp,
				.downstream = bad[i].downstream };

			fake_say(&x->f, &o, sizeof(o));
			assert_int_equal(hear(x, &m), WIRE_OPEN_RESULT);
			assert_int_equal(m.opened.relid, bad[i].relid);
			assert_int_not_equal(m.opened.status, 0);
		}
		assert_int_equal(stats(x).messages_bad, sizeof(bad) / sizeof(bad[0]));
	}
	assert_int_equal(x->b.opens, 0);
	/* Nobody wants interrupts: that is allowed. */
	fake_open_again(
	    &(struct fake_channel){ .f = &x->f, .relid = 1, .downstream = OUT }, UINT32_MAX, good);
	assert_int_equal(hear(x, &m), WIRE_OPEN_RESULT);
	assert_int_equal(m.opened.status, 0);
	vmbus_channel_signal(x->b.open[0]);
	assert_int_equal(atomic_load(&x->f.signals), 0);
	/* And once more, while it is open: refused, and it stays open. */
	fake_open_again(&(struct fake_channel){ .f = &x->f, .relid = 1, .downstream = OUT }, 0, good);
	assert_int_equal(hear(x, &m), WIRE_OPEN_RESULT);
	assert_int_not_equal(m.opened.status, 0);
	assert_int_equal(stats(x).channels_open, 1);
}

static void
a_ring_with_bad_indices_does_not_open(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;

	open_at(x, VMBUS_5_3);
	fake_close(&x->c);
	x->c.out.control->write_index = 4;
	fake_open_again(&x->c, 0, x->c.gpadl);
	assert_int_equal(hear(x, &m), WIRE_OPEN_RESULT);
	assert_int_not_equal(m.opened.status, 0);
	x->c.out.control->write_index = 0;
	fake_open_again(&x->c, 0, x->c.gpadl);
	assert_int_equal(hear(x, &m), WIRE_OPEN_RESULT);
	assert_int_equal(m.opened.status, 0);
}

static void
a_device_or_a_host_that_cannot_open_leaves_nothing_behind(void **state)
{
	struct fixture *x = *state;

	attach(x, VMBUS_5_3);
	x->a.open_error = EIO;
	assert_int_not_equal(fake_open(&x->f, &x->c, &x->offer, OUT, IN, 0), 0);
	assert_false(fake_kick(&x->f, x->offer.connection));
	assert_true(fake_teardown(&x->f, 1, x->c.gpadl));
	x->a.open_error = 0;
	x->f.bind_error = ENOSPC;
	assert_int_not_equal(fake_open(&x->f, &x->c, &x->offer, OUT, IN, 0), 0);
	assert_int_equal(x->a.opens, 0);
	x->f.bind_error = 0;
	assert_int_equal(fake_open(&x->f, &x->c, &x->offer, OUT, IN, 0), 0);
	assert_int_equal(x->a.opens, 1);
}

static void
a_close_has_no_answer_and_a_teardown_waits_for_the_device(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;

	open_at(x, VMBUS_5_3);
	x->a.hold = true;
	fake_close(&x->c);
	nothing_comes(x);
	assert_false(fake_teardown(&x->f, 1, x->c.gpadl));
	assert_false(vmbus_idle(x->f.bus));
	fake_let_go(&x->a);
	assert_int_equal(hear(x, &m), WIRE_GPADL_TORNDOWN);
	assert_int_equal(m.len, 12);
	assert_true(vmbus_idle(x->f.bus));
	fake_close(&x->c); /* it is closed */
	assert_int_equal(stats(x).messages_bad, 1);
	vmbus_channel_closed(x->a.d.primary); /* and stays so */
	nothing_comes(x);
}

static void
rings_of_an_open_channel_cannot_be_torn_down(void **state)
{
	struct fixture *x = *state;
	struct packet_head h;
	uint8_t got[8];

	open_at(x, VMBUS_5_3);
	assert_false(fake_teardown(&x->f, 1, x->c.gpadl));
	assert_true(fake_send(&x->c, PACKET_INBAND, 1, 1, NULL, 0, "x", 1));
	assert_true(fake_device_echo(x->a.open[0]));
	assert_int_equal(fake_recv(&x->c, &h, got, sizeof(got)), 8);
	assert_true(fake_shut(&x->c));
}

static void
a_channel_opened_again_while_it_closes_waits_for_that(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;

	open_at(x, VMBUS_5_3);
	x->a.hold = true;
	fake_close(&x->c);
	fake_open_again(&x->c, 2, x->c.gpadl);
	nothing_comes(x);
	fake_open_again(&x->c, 2, x->c.gpadl); /* one is waiting already */
	assert_int_equal(hear(x, &m), WIRE_OPEN_RESULT);
	assert_int_not_equal(m.opened.status, 0);
	fake_let_go(&x->a);
	assert_int_equal(hear(x, &m), WIRE_OPEN_RESULT);
	assert_int_equal(m.opened.status, 0);
	assert_int_equal(x->a.opens, 2);
	fake_close(&x->c);
	fake_open_again(&x->c, 2, x->c.gpadl);
	fake_close(&x->c); /* it changed its mind */
	assert_int_equal(hear(x, &m), WIRE_OPEN_RESULT);
	assert_int_not_equal(m.opened.status, 0);
	fake_let_go(&x->a);
	assert_int_equal(x->a.opens, 2);
	nothing_comes(x);
}

/* --- interrupts --- */

static void
interrupts_follow_the_channel_to_another_processor(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;

	for (size_t i = 5; i < VERSIONS; i++) { /* from 4.1 on */
		open_at(x, versions[i]);
		for (unsigned vp = 0; vp < VPS; vp++) {
			fake_say_numbers(&x->f, WIRE_MODIFY, 16, 1, vp);
			if (versions[i] >= VMBUS_5_3) {
				assert_int_equal(hear(x, &m), WIRE_MODIFY_RESULT);
				assert_int_equal(m.len, 16);
				assert_int_equal(m.modified.relid, 1);
				assert_int_equal(m.modified.status, 0);
			}
			nothing_comes(x);
			vmbus_channel_signal(x->a.open[0]);
			for (unsigned other = 0; other < VPS; other++)
				assert_int_equal(fake_signalled(&x->f, other, 1), other == vp);
		}
		fake_say_numbers(&x->f, WIRE_MODIFY, 16, 1, UINT32_MAX);
		vmbus_channel_signal(x->a.open[0]);
		for (unsigned vp = 0; vp < VPS; vp++)
			assert_false(fake_signalled(&x->f, vp, 1));
		x->f.next_page = FAKE_FIRST_PAGE;
	}
}

static void
a_modify_that_cannot_be_changes_nothing(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;

	open_at(x, VMBUS_5_3);
	fake_say_numbers(&x->f, WIRE_MODIFY, 16, 1, VPS);
	assert_int_equal(hear(x, &m), WIRE_MODIFY_RESULT);
	assert_int_not_equal(m.modified.status, 0);
	assert_int_equal(x->a.open[0]->target_vp, 1);
	fake_say_numbers(&x->f, WIRE_MODIFY, 16, 2, 0);
	assert_int_equal(hear(x, &m), WIRE_MODIFY_RESULT);
	assert_int_not_equal(m.modified.status, 0);
	fake_close(&x->c);
	fake_say_numbers(&x->f, WIRE_MODIFY, 16, 1, 0);
	assert_int_equal(hear(x, &m), WIRE_MODIFY_RESULT);
	assert_int_not_equal(m.modified.status, 0);
	x->f.next_page = FAKE_FIRST_PAGE;
	open_at(x, VMBUS_4_0); /* which does not have it */
	fake_say_numbers(&x->f, WIRE_MODIFY, 16, 1, 0);
	nothing_comes(x);
	assert_int_equal(x->a.open[0]->target_vp, 1);
}

/* A host whose signal() is met by a MODIFYCHANNEL, as another thread may do. */
static struct vmbus_channel *meddled;

static void
meddling_signal(void *ctx, unsigned vp, unsigned flag)
{
	fake_vmbus_signal(ctx, vp, flag);
	if (vp == 1)
		atomic_store(&meddled->target_vp, 2);
}

static void
an_interrupt_under_way_while_the_target_changes_reaches_the_new_one(void **state)
{
	struct fixture *x = *state;

	open_at(x, VMBUS_5_3);
	x->f.host.signal = meddling_signal;
	meddled = x->a.open[0];
	vmbus_channel_signal(x->a.open[0]);
	assert_true(fake_signalled(&x->f, 1, 1));
	assert_true(fake_signalled(&x->f, 2, 1));
}

static void
old_protocols_interrupt_by_page(void **state)
{
	struct fixture *x = *state;
	uint32_t *page = gmem_span(x->f.mem, GMEM_PAGE, GMEM_PAGE);

	for (size_t i = 0; i < 2; i++) {
		uint64_t bits[64 * 256 / 64];

		open_at(x, versions[i]);
		assert_int_equal(gmem_track(x->f.mem, true, NULL), 0);
		vmbus_channel_signal(x->a.open[0]);
		assert_int_equal(page[0], 1u << 1);
		assert_true(fake_signalled(&x->f, 0, 0));
		gmem_take_dirty(x->f.mem, 0, bits);
		assert_true(bits[0] & 2);

		page[512] = 1u << 1 | 1u << 5 | 1u; /* of its channel, and of none */
		page[512 + 63] = UINT32_MAX;
		assert_true(fake_kick(&x->f, CONNECTION_EVENT));
		vmbus_legacy_signal(x->f.bus);
		assert_true(fake_kicked(x->a.open[0]));
		assert_int_equal(page[512], 0);
		assert_int_equal(page[512 + 63], 0);
		gmem_take_dirty(x->f.mem, 0, bits);
		assert_true(bits[0] & 2);
		vmbus_legacy_signal(x->f.bus); /* nothing new */
		assert_false(fake_kicked(x->a.open[0]));
		page[0] = 0;
		assert_int_equal(gmem_track(x->f.mem, false, NULL), 0);
		x->f.next_page = FAKE_FIRST_PAGE;
	}
	assert_true(fake_connect(&x->f, VMBUS_2_4));
	assert_false(fake_kick(&x->f, CONNECTION_EVENT));
	page[512] = 2;
	vmbus_legacy_signal(x->f.bus);
	assert_int_equal(page[512], 2); /* its page is its own again */
}

/* --- the end of a connection --- */

static void
contact_during_traffic_waits_for_devices_to_let_go(void **state)
{
	struct fixture *x = *state;
	struct wire_contact c = fake_contact(VMBUS_4_1, 3);
	struct fake_message m;

	open_at(x, VMBUS_5_3);
	x->a.hold = true;
	fake_say(&x->f, &c, sizeof(c));
	assert_int_equal(x->a.closes, 1);
	nothing_comes(x);
	fake_say_numbers(&x->f, WIRE_REQUEST_OFFERS, 8, 0, 0); /* of whom? */
	fake_close(&x->c);
	nothing_comes(x);
	assert_int_equal(stats(x).messages_bad, 2);
	fake_let_go(&x->a);
	assert_int_equal(hear(x, &m), WIRE_VERSION_RESPONSE);
	assert_int_equal(m.vp, 3);
	assert_int_equal(m.version.supported, 1);
	assert_int_equal(stats(x).version, VMBUS_4_1);
	assert_int_equal(stats(x).gpadls, 0);
	assert_int_equal(fake_offers(&x->f, &x->offer, 1), 1);
	assert_int_equal(x->offer.relid, 1);
}

static void
the_newest_contact_counts_and_what_waits_for_the_old_kernel_is_forgotten(void **state)
{
	struct fixture *x = *state;
	struct wire_contact old = fake_contact(VMBUS_5_3, 0), new = fake_contact(VMBUS_3_0, 1);
	struct fake_message m;

	open_at(x, VMBUS_5_3);
	x->a.hold = true;
	for (unsigned i = 0; i < 5; i++)
		fake_say_numbers(&x->f, WIRE_REQUEST_OFFERS, 8, 0, 0);
	fake_say_numbers(&x->f, WIRE_UNLOAD, 8, 0, 0);
	fake_say(&x->f, &old, sizeof(old));
	fake_say(&x->f, &new, sizeof(new));
	assert_int_equal(hear(x, &m), WIRE_ALL_OFFERS); /* it was in the slot */
	nothing_comes(x);
	fake_let_go(&x->a);
	assert_int_equal(hear(x, &m), WIRE_VERSION_RESPONSE);
	assert_int_equal(m.vp, 1);
	assert_int_equal(m.version.connection, VMBUS_3_0);
	nothing_comes(x);
}

static void
an_unload_is_answered_when_all_is_let_go(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;

	open_at(x, VMBUS_5_3);
	x->a.hold = true;
	fake_say_numbers(&x->f, WIRE_UNLOAD, 8, 0, 0);
	nothing_comes(x);
	fake_let_go(&x->a);
	assert_int_equal(hear(x, &m), WIRE_UNLOADED);
	assert_int_equal(stats(x).version, 0);
	assert_int_equal(stats(x).pages, 0);
	fake_say_numbers(&x->f, WIRE_UNLOAD, 8, 0, 0); /* one that has nothing to end */
	assert_int_equal(hear(x, &m), WIRE_UNLOADED);
	fake_say_numbers(&x->f, WIRE_REQUEST_OFFERS, 8, 0, 0);
	nothing_comes(x);
	x->a.hold = false;
	x->f.next_page = FAKE_FIRST_PAGE;
	open_at(x, VMBUS_5_3);
}

static void
after_a_reset_there_is_no_guest_and_no_word(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;
	bool wake;

	open_at(x, VMBUS_5_3);
	x->a.hold = true;
	fake_say_numbers(&x->f, WIRE_REQUEST_OFFERS, 8, 0, 0);
	fake_say_numbers(&x->f, WIRE_REQUEST_OFFERS, 8, 0, 0);
	vmbus_receive(x->f.bus, 4, 1, &(struct wire_head){ .type = WIRE_UNLOAD }, 8, &wake);
	vmbus_reset(x->f.bus);
	memset(x->f.slot, 0, sizeof(x->f.slot));
	vmbus_work(x->f.bus);
	assert_false(vmbus_idle(x->f.bus));
	fake_let_go(&x->a);
	assert_true(vmbus_idle(x->f.bus));
	vmbus_retry(x->f.bus);
	assert_int_equal(hear(x, &m), 0);
	assert_int_equal(stats(x).version, 0);
	x->a.hold = false;
	x->f.next_page = FAKE_FIRST_PAGE;
	open_at(x, VMBUS_5_3);
	assert_int_equal(x->a.opens, 2);
}

/* --- what waits --- */

static void
messages_go_one_at_a_time_and_in_order(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;

	assert_int_equal(vmbus_offer_device(x->f.bus, &x->b.d, NULL), 0);
	assert_true(fake_connect(&x->f, VMBUS_5_3));
	fake_say_numbers(&x->f, WIRE_REQUEST_OFFERS, 8, 0, 0);
	assert_int_equal(x->f.slot[0].head.type, WIRE_OFFER);
	assert_int_equal(x->f.slot[0].offer.relid, 1);
	assert_int_equal(x->f.retry_ms, 1);
	vmbus_retry(x->f.bus); /* too early */
	assert_int_equal(x->f.slot[0].offer.relid, 1);
	assert_int_equal(hear(x, &m), WIRE_OFFER);
	assert_int_equal(hear(x, &m), WIRE_OFFER);
	assert_int_equal(m.offer.relid, 2);
	assert_int_equal(hear(x, &m), WIRE_ALL_OFFERS);
	nothing_comes(x);
	assert_int_equal(x->f.retry_ms, 0);
	assert_int_equal(stats(x).messages_out, 4);
}

static void
a_processor_without_a_synic_is_asked_again_slowly_but_not_for_ever(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;
	unsigned tries = 0;

	attach(x, VMBUS_5_3);
	x->f.deaf[0] = true;
	fake_say_numbers(&x->f, WIRE_REQUEST_OFFERS, 8, 0, 0);
	assert_true(x->f.retry_ms >= 10);
	x->f.retry_ms = 0;
	vmbus_retry(x->f.bus);
	x->f.deaf[0] = false;
	x->f.retry_ms = 0;
	vmbus_retry(x->f.bus);
	assert_int_equal(hear(x, &m), WIRE_ALL_OFFERS);

	x->f.deaf[0] = true;
	fake_say_numbers(&x->f, WIRE_REQUEST_OFFERS, 8, 0, 0);
	while (x->f.retry_ms != 0 && tries++ < 100000) {
		x->f.retry_ms = 0;
		vmbus_retry(x->f.bus);
	}
	assert_in_range(tries, 100, 10000);
	x->f.deaf[0] = false;
	nothing_comes(x);
	assert_int_equal(fake_offers(&x->f, &x->offer, 1), 0); /* and it goes on */
}

static void
a_guest_that_does_not_listen_is_not_listened_to(void **state)
{
	struct fixture *x = *state;
	uint16_t status = 0;
	unsigned sent = 0;
	struct fake_message m;

	attach(x, VMBUS_5_3);
	while (status == 0 && sent < 100000) {
		status = fake_say_numbers(&x->f, WIRE_REQUEST_OFFERS, 8, 0, 0);
		sent += status == 0;
	}
	assert_int_equal(status, HV_STATUS_INSUFFICIENT_BUFFERS);
	assert_int_equal(sent, 1 + VMBUS_MAX_OUTBOX + VMBUS_MAX_INBOX);
	for (unsigned i = 0; i < sent; i++)
		assert_int_equal(hear(x, &m), WIRE_ALL_OFFERS);
	nothing_comes(x); /* all were answered in the end */
}

static void
sockets_are_refused_where_the_protocol_can_say_so(void **state)
{
	struct fixture *x = *state;
	struct wire_tl_connect t = { .head.type = WIRE_TL_CONNECT };
	struct fake_message m;

	memset(t.endpoint, 1, 16);
	memset(t.service, 2, 16);
	for (size_t i = 0; i < VERSIONS; i++) {
		assert_true(fake_connect(&x->f, versions[i]));
		fake_say(&x->f, &t, sizeof(t));
		if (versions[i] >= VMBUS_4_1) {
			assert_int_equal(hear(x, &m), WIRE_TL_RESULT);
			assert_int_equal(m.len, 44);
			assert_memory_equal(m.tl.endpoint, t.endpoint, 32);
			assert_int_equal(m.tl.status, 0xc0000236);
		}
		nothing_comes(x);
	}
	assert_int_equal(stats(x).messages_bad, 4); /* below 4.0 it does not exist */
}

/* --- taken back --- */

static void
a_revoked_device_in_use_goes_when_it_has_let_go(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;

	open_at(x, VMBUS_5_3);
	x->a.hold = true;
	vmbus_revoke_device(&x->a.d, fake_device_gone);
	assert_int_equal(hear(x, &m), WIRE_RESCIND);
	assert_int_equal(x->a.gone, 0);
	fake_close(&x->c); /* the guest tidies up */
	assert_false(fake_teardown(&x->f, 1, x->c.gpadl));
	fake_say_numbers(&x->f, WIRE_RELID_RELEASED, 12, 1, 0);
	assert_int_equal(stats(x).gpadls, 1); /* not before the device has let go */
	fake_let_go(&x->a);
	assert_int_equal(x->a.gone, 1);
	assert_int_equal(hear(x, &m), WIRE_GPADL_TORNDOWN);
	assert_int_equal(stats(x).gpadls, 0);
	assert_int_equal(stats(x).messages_bad, 0);
}

static void
no_guest_hangs_on_a_channel_that_was_taken_back(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;
	uint32_t id;

	open_at(x, VMBUS_5_3);
	assert_true(fake_shut(&x->c));
	vmbus_revoke_device(&x->a.d, fake_device_gone);
	id = fake_gpadl(&x->f, 1, x->c.first, OUT + IN); /* it has not heard yet */
	assert_int_not_equal(id, 0);
	fake_open_again(&x->c, 0, id); /* it waits no longer once it has heard */
	fake_say_numbers(&x->f, WIRE_MODIFY, 16, 1, 0);
	assert_true(fake_await(&x->f, WIRE_MODIFY_RESULT, &m));
	assert_int_not_equal(m.modified.status, 0);
	assert_int_equal(hear(x, &m), WIRE_RESCIND);
	nothing_comes(x);
	assert_true(fake_teardown(&x->f, 1, id));
	assert_true(fake_teardown(&x->f, 1, 4711)); /* of which we know nothing */
	fake_close(&x->c);
	nothing_comes(x);
	assert_int_equal(stats(x).messages_bad, 0);
}

static void
a_broken_channel_is_taken_back_and_offered_to_the_next_kernel(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;

	open_at(x, VMBUS_5_3);
	x->c.out.control->write_index = 3;
	assert_false(fake_device_echo(x->a.open[0]));
	vmbus_channel_break(x->a.d.primary, "a bad index");
	vmbus_channel_break(x->a.d.primary, "a bad index");
	assert_int_equal(x->a.closes, 1);
	assert_int_equal(hear(x, &m), WIRE_RESCIND);
	fake_say_numbers(&x->f, WIRE_RELID_RELEASED, 12, 1, 0);
	assert_int_equal(fake_offers(&x->f, &x->offer, 1), 0);
	assert_non_null(x->a.d.primary);
	x->f.next_page = FAKE_FIRST_PAGE;
	open_at(x, VMBUS_5_3);
	assert_int_equal(x->a.opens, 2);
	/* The same without the guest's release. */
	vmbus_channel_break(x->a.d.primary, "again");
	x->f.next_page = FAKE_FIRST_PAGE;
	open_at(x, VMBUS_5_3);
	vmbus_channel_break(x->a.d.primary, "again");
	vmbus_revoke_device(&x->a.d, fake_device_gone);
	assert_int_equal(x->a.gone, 1);
}

static void
a_device_may_break_its_channel_in_the_middle_of_opening_it(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;

	attach(x, VMBUS_5_3);
	x->a.break_in_open = true;
	for (unsigned hold = 0; hold < 2; hold++) {
		x->a.hold = hold;
		x->c = (struct fake_channel){ .f = &x->f, .relid = 1, .pages = 5, .downstream = 3 };
		x->c.first = fake_pages(&x->f, 5);
		x->c.gpadl = fake_gpadl(&x->f, 1, x->c.first, 5);
		fake_open_again(&x->c, 0, x->c.gpadl);
		assert_int_equal(hear(x, &m), WIRE_RESCIND);
		assert_int_equal(hear(x, &m), WIRE_OPEN_RESULT);
		assert_int_not_equal(m.opened.status, 0);
		fake_let_go(&x->a);
		assert_true(fake_teardown(&x->f, 1, x->c.gpadl));
		attach(x, VMBUS_5_3);
	}
}

/* --- sub-channels --- */

static void
subchannels_are_offered_opened_and_go_with_the_primary(void **state)
{
	struct fixture *x = *state;
	struct fake_channel sub[VPS - 1];
	struct fake_message m;
	struct err e;

	attach(x, VMBUS_5_3);
	assert_int_equal(vmbus_max_subchannels(x->f.bus), VPS - 1);
	assert_int_equal(vmbus_offer_subchannels(&x->a.d, 1, &e), -EINVAL); /* it is not open */
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(fake_open(&x->f, &x->c, &x->offer, OUT, IN, 0), 0);
		assert_int_equal(vmbus_offer_subchannels(&x->a.d, VPS, &e), -EINVAL);
		assert_int_equal(vmbus_offer_subchannels(&x->a.d, UINT32_MAX, &e), -EINVAL);
		assert_int_equal(vmbus_offer_subchannels(&x->a.d, VPS - 2, &e), 0);
		assert_int_equal(vmbus_offer_subchannels(&x->a.d, 1, &e), 0);
		assert_int_equal(vmbus_offer_subchannels(&x->a.d, 1, &e), -EINVAL);
		for (unsigned i = 0; i < VPS - 1; i++) {
			assert_true(fake_await(&x->f, WIRE_OFFER, &m));
			assert_int_equal(m.offer.index, i + 1);
			assert_memory_equal(m.offer.type, x->offer.type, 32);
			assert_int_equal(fake_open(&x->f, &sub[i], &m.offer, OUT, IN, i + 1), 0);
		}
		assert_int_equal(stats(x).channels_open, VPS);
		assert_int_equal(x->a.open[1]->index, 1);
		vmbus_channel_signal(x->a.open[2]);
		assert_true(fake_signalled(&x->f, 2, sub[1].relid));
		assert_true(fake_shut(&sub[0])); /* Linux closes them first */
		fake_close(&x->c);
		assert_int_equal(stats(x).channels_open, 0);
		for (unsigned i = 0; i < VPS - 1; i++) {
			assert_int_equal(hear(x, &m), WIRE_RESCIND);
			assert_int_equal(m.relid.relid, sub[i].relid);
		}
		for (unsigned i = 0; i < VPS - 1; i++)
			fake_say_numbers(&x->f, WIRE_RELID_RELEASED, 12, sub[i].relid, 0);
		assert_true(fake_teardown(&x->f, 1, x->c.gpadl));
		assert_int_equal(stats(x).gpadls, 0);
		x->f.next_page = FAKE_FIRST_PAGE;
	}
	assert_int_equal(stats(x).messages_bad, 0);
}

static void
a_new_connection_knows_no_subchannels(void **state)
{
	struct fixture *x = *state;
	struct fake_message m;
	struct fake_channel sub;

	open_at(x, VMBUS_5_3);
	assert_int_equal(vmbus_offer_subchannels(&x->a.d, 2, NULL), 0);
	assert_true(fake_await(&x->f, WIRE_OFFER, &m));
	assert_int_equal(fake_open(&x->f, &sub, &m.offer, OUT, IN, 0), 0);
	x->f.next_page = FAKE_FIRST_PAGE;
	open_at(x, VMBUS_5_3);
	assert_int_equal(x->a.closes, 2);
	assert_int_equal(stats(x).channels_open, 1);
	vmbus_revoke_device(&x->a.d, fake_device_gone);
	assert_int_equal(x->a.gone, 1);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_version_is_agreed_on_and_no_other),
		TEST(a_version_response_says_where_to_post),
		TEST(messages_come_in_on_two_connections_only),
		TEST(contact_with_parameters_that_cannot_be_is_refused),
		TEST(a_boot_loader_tries_one_version_and_takes_another),
		TEST(an_offer_holds_what_drivers_look_for),
		TEST(offers_come_in_the_same_order_whenever_devices_came),
		TEST(asking_twice_brings_the_end_again_and_nothing_else),
		TEST(a_device_is_added_and_removed_while_the_guest_runs),
		TEST(a_relid_is_used_again_only_after_the_guest_released_it),
		TEST(a_device_that_was_never_offered_goes_without_a_word),
		TEST(the_bus_has_2047_channels_and_says_so),
		TEST(a_channel_opens_carries_packets_and_closes),
		TEST(open_results_carry_the_guests_number_and_user_data_the_device),
		TEST(an_open_that_cannot_be_is_answered_with_a_failure),
		TEST(a_ring_with_bad_indices_does_not_open),
		TEST(a_device_or_a_host_that_cannot_open_leaves_nothing_behind),
		TEST(a_close_has_no_answer_and_a_teardown_waits_for_the_device),
		TEST(rings_of_an_open_channel_cannot_be_torn_down),
		TEST(a_channel_opened_again_while_it_closes_waits_for_that),
		TEST(interrupts_follow_the_channel_to_another_processor),
		TEST(a_modify_that_cannot_be_changes_nothing),
		TEST(an_interrupt_under_way_while_the_target_changes_reaches_the_new_one),
		TEST(old_protocols_interrupt_by_page),
		TEST(contact_during_traffic_waits_for_devices_to_let_go),
		TEST(the_newest_contact_counts_and_what_waits_for_the_old_kernel_is_forgotten),
		TEST(an_unload_is_answered_when_all_is_let_go),
		TEST(after_a_reset_there_is_no_guest_and_no_word),
		TEST(messages_go_one_at_a_time_and_in_order),
		TEST(a_processor_without_a_synic_is_asked_again_slowly_but_not_for_ever),
		TEST(a_guest_that_does_not_listen_is_not_listened_to),
		TEST(sockets_are_refused_where_the_protocol_can_say_so),
		TEST(a_revoked_device_in_use_goes_when_it_has_let_go),
		TEST(no_guest_hangs_on_a_channel_that_was_taken_back),
		TEST(a_broken_channel_is_taken_back_and_offered_to_the_next_kernel),
		TEST(a_device_may_break_its_channel_in_the_middle_of_opening_it),
		TEST(subchannels_are_offered_opened_and_go_with_the_primary),
		TEST(a_new_connection_knows_no_subchannels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
