/*
 * tests/unit/vmbus_state_test.c - a bus saved in any situation goes on in another process as if nothing had
 * been; a file that was tampered with is refused, and leaves a bus that works.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fake_vmbus_device.h"

enum { OUT = 3, IN = 2, VPS = 4, MB = 2, STATE = 1 << 20 };

struct world {
	struct fake_vmbus f;
	struct fake_device a, b;
	struct wire_offer offer[2];
	struct fake_channel c; /* of b: relid 1 */
};

static uint8_t saved[STATE];

static struct world *
new_world(void)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_int_equal(fake_vmbus_init(&w->f, MB, VPS), 0);
	fake_device_init(&w->a, 0x20, 1);
	fake_device_init(&w->b, 0x10, 1);
	assert_int_equal(vmbus_offer_device(w->f.bus, &w->a.d, NULL), 0);
	assert_int_equal(vmbus_offer_device(w->f.bus, &w->b.d, NULL), 0);
	return w;
}

static void
free_world(struct world *w)
{
	fake_vmbus_free(&w->f);
	free(w);
}

static struct world *
offered_at(uint32_t version)
{
	struct world *w = new_world();

	assert_true(fake_connect(&w->f, version));
	assert_int_equal(fake_offers(&w->f, w->offer, 2), 2);
	return w;
}

static struct world *
open_at(uint32_t version)
{
	struct world *w = offered_at(version);

	assert_int_equal(fake_open(&w->f, &w->c, &w->offer[0], OUT, IN, 1), 0);
	return w;
}

static size_t
save(struct world *w)
{
	size_t max = vmbus_state_max(w->f.bus);
	long n = vmbus_save(w->f.bus, saved, sizeof(saved));

	assert_true(n > 0);
	assert_int_equal(max, n);
	assert_int_equal(vmbus_save(w->f.bus, saved, (size_t)n), n);
	return (size_t)n;
}

/* What the guest has goes with it: memory, SynIC, what its driver knows. */
static void
move_guest(struct world *to, struct world *from)
{
	assert_int_equal(gmem_write(to->f.mem, 0, gmem_span(from->f.mem, 0, MB << 20), MB << 20), 0);
	memcpy(to->f.slot, from->f.slot, sizeof(to->f.slot));
	to->f.version = from->f.version;
	to->f.connection = from->f.connection;
	to->f.next_page = from->f.next_page;
	to->f.next_gpadl = from->f.next_gpadl;
	memcpy(to->offer, from->offer, sizeof(to->offer));
	to->c = from->c;
	to->c.f = &to->f;
	if (to->c.pages != 0) {
		to->c.out = fake_ring(&to->f, to->c.first, to->c.downstream);
		to->c.in = fake_ring(&to->f, to->c.first + to->c.downstream, to->c.pages - to->c.downstream);
	}
}

/* Saves, restores into a new process (`to`), and ends the old one. Memory comes after the bus. */
static struct world *
move_to(struct world *w, struct world *to)
{
	size_t n = save(w);
	struct err e = { 0 };

	if (vmbus_restore(to->f.bus, saved, n, &e) != 0)
		fail_msg("%s", e.msg);
	assert_int_equal(to->f.posts, 0);
	assert_int_equal(atomic_load(&to->f.signals), 0);
	move_guest(to, w);
	vmbus_restored(to->f.bus);
	free_world(w);
	return to;
}

static struct world *
move(struct world *w)
{
	return move_to(w, new_world());
}

static struct vmbus_stats
stats(const struct world *w)
{
	struct vmbus_stats s;

	vmbus_statistics(w->f.bus, &s);
	return s;
}

/* --- each situation --- */

static void
before_any_contact(void **state)
{
	struct world *w = move(new_world());

	(void)state;
	assert_int_equal(stats(w).version, 0);
	assert_true(fake_connect(&w->f, VMBUS_5_3));
	free_world(w);
}

static void
between_contact_and_offers(void **state)
{
	struct world *w = new_world();

	(void)state;
	assert_true(fake_connect(&w->f, VMBUS_5_1));
	w = move(w);
	assert_int_equal(stats(w).version, VMBUS_5_1);
	assert_int_equal(fake_offers(&w->f, w->offer, 2), 2);
	free_world(w);
}

static void
in_the_middle_of_the_offers(void **state)
{
	struct world *w = new_world();
	struct fake_message m;

	(void)state;
	assert_true(fake_connect(&w->f, VMBUS_5_3));
	fake_say_numbers(&w->f, WIRE_REQUEST_OFFERS, 8, 0, 0); /* one is in the slot */
	w = move(w);
	assert_int_equal(fake_hear(&w->f, &m), WIRE_OFFER);
	assert_int_equal(m.offer.relid, 1);
	assert_int_equal(fake_hear(&w->f, &m), WIRE_OFFER);
	assert_int_equal(m.offer.relid, 2);
	assert_int_equal(fake_hear(&w->f, &m), WIRE_ALL_OFFERS);
	assert_int_equal(fake_hear(&w->f, &m), 0);
	free_world(w);
}

static void
with_messages_of_the_guest_unread(void **state)
{
	struct world *w = offered_at(VMBUS_5_3);
	struct fake_message m;
	bool wake;

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		vmbus_receive(w->f.bus, 4, 1, &(struct wire_head){ .type = WIRE_REQUEST_OFFERS }, 8, &wake);
	w = move(w);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(fake_hear(&w->f, &m), WIRE_ALL_OFFERS);
	assert_int_equal(fake_hear(&w->f, &m), 0);
	free_world(w);
}

static void
with_memory_half_lent(void **state)
{
	struct world *w = offered_at(VMBUS_5_3);
	uint64_t pfn[100];
	struct fake_message m;
	size_t done;

	(void)state;
	for (uint64_t i = 0; i < 100; i++)
		pfn[i] = 400 - i;
	done = fake_gpadl_header(&w->f, 1, 7, pfn, 100, 0, 100 * GMEM_PAGE);
	fake_gpadl_bodies(&w->f, 7, pfn + done, 30);
	w = move(w);
	fake_gpadl_bodies(&w->f, 7, pfn + done + 30, 100 - done - 30);
	assert_int_equal(fake_hear(&w->f, &m), WIRE_GPADL_CREATED);
	assert_int_equal(m.created.status, 0);
	assert_int_equal(stats(w).pages, 100);
	free_world(w);
}

static void
open_with_packets_in_both_rings(void **state)
{
	static const uint32_t version[] = { VMBUS_0_13, VMBUS_2_4, VMBUS_4_1, VMBUS_5_3 };

	(void)state;
	for (size_t v = 0; v < 4; v++) {
		struct world *w = open_at(version[v]);
		unsigned vp = version[v] < VMBUS_2_4 ? 0 : 1, flag = version[v] < VMBUS_2_4 ? 0 : 1;
		struct packet_head h;
		uint8_t got[16];

		w->b.value = 77;
		memset(w->b.open[0]->user, 5, 120);
		assert_true(fake_send(&w->c, PACKET_INBAND, 1, 1, NULL, 0, "one", 3));
		assert_true(fake_device_echo(w->b.open[0]));
		assert_true(fake_send(&w->c, PACKET_INBAND, 1, 2, NULL, 0, "two", 3));
		w = move(w);
		assert_int_equal(w->b.opens, 1);
		assert_int_equal(w->b.restores, 1);
		assert_int_equal(w->a.restores, 1);
		assert_int_equal(w->b.value, 77);
		assert_ptr_equal(w->b.open[0], w->b.d.primary);
		assert_int_equal(w->b.open[0]->user[119], 5);
		assert_true(fake_kicked(w->b.open[0])); /* both sides look, whatever was lost on the way */
		assert_true(fake_signalled(&w->f, vp, flag));
		assert_true(fake_device_echo(w->b.open[0]));
		assert_int_equal(fake_recv(&w->c, &h, got, sizeof(got)), 8);
		assert_int_equal(h.transaction, 1);
		assert_int_equal(fake_recv(&w->c, &h, got, sizeof(got)), 8);
		assert_int_equal(h.transaction, 2);
		assert_int_equal(fake_recv(&w->c, &h, got, sizeof(got)), -1);
		if (version[v] < VMBUS_2_4) {
			*(uint32_t *)gmem_span(w->f.mem, GMEM_PAGE + 2048, 4) = 2;
			assert_true(fake_kick(&w->f, CONNECTION_EVENT));
			vmbus_legacy_signal(w->f.bus);
			assert_true(fake_kicked(w->b.open[0]));
		} else {
			assert_true(fake_kick(&w->f, w->c.connection));
		}
		assert_true(fake_shut(&w->c));
		free_world(w);
	}
}

static void
with_subchannels(void **state)
{
	struct world *w = open_at(VMBUS_5_3);
	struct fake_channel sub;
	struct fake_message m;

	(void)state;
	assert_int_equal(vmbus_offer_subchannels(&w->b.d, 2, NULL), 0);
	assert_true(fake_await(&w->f, WIRE_OFFER, &m));
	assert_int_equal(fake_open(&w->f, &sub, &m.offer, OUT, IN, 2), 0);
	fake_forget(&w->f);
	w = move(w);
	sub.f = &w->f;
	assert_int_equal(w->b.opens, 2);
	assert_int_equal(w->b.open[0]->index, 0);
	assert_int_equal(w->b.open[1]->index, 1);
	assert_true(fake_signalled(&w->f, 2, 3));
	assert_int_equal(vmbus_offer_subchannels(&w->b.d, 2, NULL), -EINVAL); /* two are there */
	assert_int_equal(vmbus_offer_subchannels(&w->b.d, 1, NULL), 0);
	assert_true(fake_await(&w->f, WIRE_OFFER, &m));
	assert_int_equal(m.offer.index, 3);
	fake_close(&w->c);
	assert_int_equal(w->b.closes, 2);
	free_world(w);
}

static void
closing_with_its_memory_wanted_back(void **state)
{
	struct world *w = open_at(VMBUS_5_3);
	struct fake_message m;

	(void)state;
	w->b.hold = true;
	assert_false(fake_shut(&w->c));
	w = move(w); /* requests of the old process are over: it has let go */
	assert_int_equal(fake_hear(&w->f, &m), WIRE_GPADL_TORNDOWN);
	assert_int_equal(w->b.opens, 0);
	assert_int_equal(stats(w).gpadls, 0);
	free_world(w);
}

static void
closing_with_memory_that_the_device_has(void **state)
{
	struct world *w = open_at(VMBUS_5_3);
	uint32_t id = fake_gpadl(&w->f, 1, 300, 2), pages, offset, len;

	(void)state;
	assert_non_null(vmbus_gpadl(w->b.open[0], id, &pages, &offset, &len));
	w->b.hold = true;
	fake_close(&w->c);
	w = move(w);
	assert_true(fake_teardown(&w->f, 1, id));
	assert_true(fake_teardown(&w->f, 1, w->c.gpadl));
	free_world(w);
}

static void
closing_and_opened_again(void **state)
{
	struct world *w = open_at(VMBUS_5_3);
	struct fake_message m;

	(void)state;
	w->b.hold = true;
	fake_close(&w->c);
	fake_open_again(&w->c, 3, w->c.gpadl);
	w = move(w);
	assert_int_equal(fake_hear(&w->f, &m), WIRE_OPEN_RESULT);
	assert_int_equal(m.opened.status, 0);
	assert_int_equal(w->b.opens, 1);
	assert_int_equal(w->b.open[0]->target_vp, 3);
	free_world(w);
}

static void
unload_and_contact_that_wait(void **state)
{
	struct fake_message m;

	(void)state;
	for (unsigned contact = 0; contact < 2; contact++) {
		struct world *w = open_at(VMBUS_5_3);
		struct wire_contact c = fake_contact(VMBUS_4_0, 2);

		w->b.hold = true;
		if (contact)
			fake_say(&w->f, &c, sizeof(c));
		else
			fake_say_numbers(&w->f, WIRE_UNLOAD, 8, 0, 0);
		w = move(w);
		assert_int_equal(fake_hear(&w->f, &m), contact ? WIRE_VERSION_RESPONSE : WIRE_UNLOADED);
		assert_int_equal(m.vp, contact ? 2 : 0);
		assert_int_equal(stats(w).version, contact ? VMBUS_4_0 : 0);
		assert_int_equal(stats(w).gpadls, 0);
		free_world(w);
	}
}

static void
taken_back_and_not_released(void **state)
{
	struct world *w = open_at(VMBUS_5_3), *to = calloc(1, sizeof(*to));
	struct fake_message m;

	(void)state;
	vmbus_revoke_device(&w->b.d, NULL);
	assert_int_equal(fake_vmbus_init(&to->f, MB, VPS), 0);
	fake_device_init(&to->a, 0x20, 1);
	fake_device_init(&to->b, 0x10, 1);
	assert_int_equal(vmbus_offer_device(to->f.bus, &to->a.d, NULL), 0);
	w = move_to(w, to);
	assert_int_equal(fake_hear(&w->f, &m), WIRE_RESCIND);
	assert_int_equal(stats(w).gpadls, 1);
	assert_int_equal(vmbus_offer_device(w->f.bus, &w->b.d, NULL), 0);
	assert_int_equal(fake_hear(&w->f, &m), WIRE_OFFER);
	assert_int_equal(m.offer.relid, 3); /* 1 is still the guest's */
	assert_true(fake_teardown(&w->f, 1, w->c.gpadl));
	fake_say_numbers(&w->f, WIRE_RELID_RELEASED, 12, 1, 0);
	assert_int_equal(stats(w).messages_bad, 0);
	free_world(w);
}

static void
broken_by_its_device(void **state)
{
	struct world *w = open_at(VMBUS_5_3);
	struct fake_message m;

	(void)state;
	vmbus_channel_break(w->b.d.primary, "for the test");
	w = move(w);
	assert_int_equal(w->b.opens, 0);
	assert_int_equal(fake_hear(&w->f, &m), WIRE_RESCIND);
	assert_int_equal(fake_offers(&w->f, w->offer, 2), 0);
	assert_true(fake_connect(&w->f, VMBUS_5_3));
	assert_int_equal(fake_offers(&w->f, w->offer, 2), 2);
	free_world(w);
}

static void
memory_that_the_device_still_has(void **state)
{
	struct world *w = open_at(VMBUS_5_3);
	uint32_t id = fake_gpadl(&w->f, 1, 300, 2), pages, offset, len;
	struct fake_message m;

	(void)state;
	w->b.keep_gpadl = true;
	assert_non_null(vmbus_gpadl(w->b.open[0], id, &pages, &offset, &len));
	assert_false(fake_teardown(&w->f, 1, id));
	w = move(w);
	assert_int_equal(w->b.wanted, 1); /* asked again */
	assert_int_equal(fake_hear(&w->f, &m), WIRE_GPADL_TORNDOWN);
	free_world(w);
}

static void
a_ring_that_the_guest_broke_is_the_devices_to_find(void **state)
{
	struct world *w = open_at(VMBUS_5_3);

	(void)state;
	w->c.out.control->write_index = 5;
	w = move(w);
	assert_int_equal(w->b.opens, 1);
	assert_false(fake_device_echo(w->b.open[0]));
	free_world(w);
}

/* --- what is refused --- */

static void
works(struct world *w)
{
	w->f.next_page = FAKE_FIRST_PAGE;
	w->b.open_error = 0;
	fake_forget(&w->f);
	assert_true(fake_connect(&w->f, VMBUS_5_3));
	assert_int_equal(fake_offers(&w->f, w->offer, 2), 2);
	assert_int_equal(fake_open(&w->f, &w->c, &w->offer[0], OUT, IN, 1), 0);
	assert_true(fake_shut(&w->c));
	assert_int_equal(stats(w).gpadls, 0);
	assert_int_equal(w->b.opens, w->b.closes);
	vmbus_reset(w->f.bus);
	fake_forget(&w->f);
}

/* A state with something of everything. */
static size_t
rich_state(void)
{
	struct world *w = open_at(VMBUS_5_3);
	uint64_t pfn[30] = { 1, 2, 3 };
	struct fake_channel sub;
	struct fake_message m;
	bool wake;
	size_t n;

	fake_gpadl_header(&w->f, 2, 9, pfn, 30, 0, 30 * GMEM_PAGE);
	assert_int_not_equal(fake_gpadl(&w->f, 2, 0x1a0, 3), 0);
	assert_int_equal(vmbus_offer_subchannels(&w->b.d, 1, NULL), 0);
	assert_true(fake_await(&w->f, WIRE_OFFER, &m));
	assert_int_equal(fake_open(&w->f, &sub, &m.offer, OUT, IN, 2), 0);
	for (unsigned i = 0; i < 3; i++)
		fake_say_numbers(&w->f, WIRE_REQUEST_OFFERS, 8, 0, 0);
	vmbus_receive(w->f.bus, 4, 1, &(struct wire_head){ .type = WIRE_REQUEST_OFFERS }, 8, &wake);
	n = save(w);
	free_world(w);
	return n;
}

static void
a_state_cut_anywhere_is_refused(void **state)
{
	struct world *w = new_world();
	size_t n = rich_state();
	struct err e;

	(void)state;
	for (size_t cut = 0; cut < n; cut++) {
		e = (struct err){ 0 };
		assert_int_equal(vmbus_restore(w->f.bus, saved, cut, &e), -EINVAL);
		assert_true(e.msg[0] != '\0');
		if (cut % 64 == 0)
			works(w);
	}
	assert_int_equal(vmbus_restore(w->f.bus, saved, n + 1, &e), -EINVAL);
	works(w);
	assert_int_equal(vmbus_restore(w->f.bus, saved, n, &e), 0);
	assert_int_equal(vmbus_restore(w->f.bus, saved, n, &e), -EBUSY);
	free_world(w);
}

/* Whatever a byte is changed to: it is refused, or what comes of it can be used, saved and ended. */
static void
a_state_with_any_byte_changed_does_no_harm(void **state)
{
	static const uint8_t change[] = { 0x01, 0x80, 0xff, 0x10 };
	struct world *w = new_world();
	size_t n = rich_state(), refused = 0;

	(void)state;
	for (size_t at = 0; at < n; at++)
		for (size_t i = 0; i < sizeof(change); i++) {
			struct err e = { 0 };

			saved[at] ^= change[i];
			if (vmbus_restore(w->f.bus, saved, n, &e) == 0) {
				vmbus_restored(w->f.bus);
				fake_forget(&w->f);
				assert_true(vmbus_state_max(w->f.bus) != 0);
				vmbus_reset(w->f.bus);
			} else {
				refused++;
			}
			saved[at] ^= change[i];
			assert_true(vmbus_idle(w->f.bus));
			if (at % 16 == 0)
				works(w);
		}
	assert_true(refused > n);
	works(w);
	free_world(w);
}

/* The place in the saved state where these bytes are, and only there. */
static uint8_t *
find(size_t n, const void *bytes, size_t len)
{
	uint8_t *at = memmem(saved, n, bytes, len);

	assert_non_null(at);
	assert_null(memmem(at + 1, n - (size_t)(at + 1 - saved), bytes, len));
	return at;
}

static void
rules_between_fields_are_checked(void **state)
{
	/* A channel: device, sub-channel, relid, offered, taken back, released, open, reopen, target. */
	static const struct {
		uint8_t is[17], becomes[17];
		size_t len;
		const char *why;
	} tampered[] = {
		{ { 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0 }, { 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0 }, 13,
		    "VMBus: channel: its relid is another's, too" },
		{ { 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0 }, { 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0 }, 13,
		    "VMBus: channel: its relid does not go with its offer" },
		{ { 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0 }, { 9, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0 }, 13,
		    "VMBus: channel: its device does not exist" },
		{ { 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0 }, { 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0 }, 13,
		    "VMBus: channel: is there twice" },
		{ { 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0 }, { 255, 255, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0 },
		    13, "VMBus: channel: is of no device" },
		{ { 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0 }, { 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 1, 0, 0 }, 13,
		    "VMBus: channel: cannot have been released" },
		{ { 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0 },
		    { 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 4, 0, 0, 0 }, 17,
		    "VMBus: channel: interrupts a processor that does not exist" },
		{ { 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0 },
		    { 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 1, 0, 1, 0, 0, 0 }, 17,
		    "VMBus: channel: cannot be open" },
		/* Page numbers: the first of a list of 0x1a0, 0x1a1, 0x1a2. */
		{ { 0xa0, 1, 0, 0, 0, 0, 0, 0 }, { 0xa0, 1, 0x10, 0, 0, 0, 0, 0 }, 8,
		    "VMBus: GPADL: is not all memory" },
		{ { 16, 0, 0, 0, 0, 0, 0, 0 }, { 16, 0, 0, 1, 0, 0, 0, 0 }, 8,
		    "VMBus: GPADL: is not all memory" },
	};
	struct world *w = new_world();
	size_t n = rich_state();
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(tampered) / sizeof(tampered[0]); i++) {
		uint8_t *at = find(n, tampered[i].is, tampered[i].len);

		memcpy(at, tampered[i].becomes, tampered[i].len);
		assert_int_equal(vmbus_restore(w->f.bus, saved, n, &e), -EINVAL);
		assert_string_equal(e.msg, tampered[i].why);
		memcpy(at, tampered[i].is, tampered[i].len);
	}
	assert_int_equal(vmbus_restore(w->f.bus, saved, n, &e), 0);
	free_world(w);
}

static void
another_machine_is_refused_in_words(void **state)
{
	struct world *w = new_world();
	size_t n = rich_state();
	struct fake_device third;
	struct vmbus_device_ops other;
	struct err e;

	(void)state;
	fake_device_init(&third, 0x30, 1);
	vmbus_revoke_device(&w->a.d, NULL);
	assert_int_equal(vmbus_restore(w->f.bus, saved, n, &e), -EINVAL);
	assert_string_equal(e.msg, "VMBus: devices: the machine has others");
	assert_int_equal(vmbus_offer_device(w->f.bus, &third.d, NULL), 0);
	assert_int_equal(vmbus_restore(w->f.bus, saved, n, &e), -EINVAL);
	assert_string_equal(e.msg, "VMBus: fake device: is another device");
	vmbus_revoke_device(&third.d, NULL);
	other = *w->a.d.ops;
	other.version = 2;
	w->a.d.ops = &other;
	assert_int_equal(vmbus_offer_device(w->f.bus, &w->a.d, NULL), 0);
	assert_int_equal(vmbus_restore(w->f.bus, saved, n, &e), -EINVAL);
	assert_string_equal(e.msg, "VMBus: fake device: is of another version");
	other.version = 1;
	other.name = "fakf";
	assert_int_equal(vmbus_restore(w->f.bus, saved, n, &e), -EINVAL);
	assert_string_equal(e.msg, "VMBus: fake device: is of another kind");
	other.name = "fake";
	w->b.open_error = EIO;
	assert_int_equal(vmbus_restore(w->f.bus, saved, n, &e), -EINVAL);
	assert_string_equal(e.msg, "VMBus: fake device: refused by the test");
	works(w);
	free_world(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(before_any_contact),
		cmocka_unit_test(between_contact_and_offers),
		cmocka_unit_test(in_the_middle_of_the_offers),
		cmocka_unit_test(with_messages_of_the_guest_unread),
		cmocka_unit_test(with_memory_half_lent),
		cmocka_unit_test(open_with_packets_in_both_rings),
		cmocka_unit_test(with_subchannels),
		cmocka_unit_test(closing_with_its_memory_wanted_back),
		cmocka_unit_test(closing_with_memory_that_the_device_has),
		cmocka_unit_test(closing_and_opened_again),
		cmocka_unit_test(unload_and_contact_that_wait),
		cmocka_unit_test(taken_back_and_not_released),
		cmocka_unit_test(broken_by_its_device),
		cmocka_unit_test(memory_that_the_device_still_has),
		cmocka_unit_test(a_ring_that_the_guest_broke_is_the_devices_to_find),
		cmocka_unit_test(a_state_cut_anywhere_is_refused),
		cmocka_unit_test(a_state_with_any_byte_changed_does_no_harm),
		cmocka_unit_test(rules_between_fields_are_checked),
		cmocka_unit_test(another_machine_is_refused_in_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
