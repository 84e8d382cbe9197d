/*
 * tests/unit/ic_test.c - what all integration components promise: frames, versions, one question at a time,
 * time limits, guests that answer anything, switching off and on, saved state.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fake_ic.h"

static struct fake_ic x;

static int
setup(void **state)
{
	(void)state;
	fake_ic_init(&x);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fake_ic_free(&x);
	return 0;
}

static uint8_t
operation(enum ic_kind kind)
{
	return fake_ic_payload(&x, kind)[0];
}

static void
every_component_offers_its_versions_in_ascending_order(void **state)
{
	static const struct {
		uint16_t n, first, last;
	} list[IC_KINDS] = { [IC_HEARTBEAT] = { 2, 1, 3 },
		[IC_SHUTDOWN] = { 4, 1, 3 },
		[IC_TIMESYNC] = { 3, 1, 4 },
		[IC_KVP] = { 3, 1, 4 },
		[IC_VSS] = { 1, 5, 5 },
		[IC_FCOPY] = { 1, 1, 1 } };

	(void)state;
	for (unsigned i = 0; i < IC_KINDS; i++) {
		const uint8_t *m = x.c[i].message, *p = m + IC_HEAD;

		fake_ic_open(&x, (enum ic_kind)i);
		assert_int_equal(fake_ic_take(&x, (enum ic_kind)i), 8 + 8 + 4 * list[i].n);
		assert_int_equal(get_le16(m + IC_PIPE + 4), 0);
		assert_int_equal(get_le16(m + IC_PIPE + 10), 8 + 8 + 4 * list[i].n);
		assert_int_equal(m[IC_PIPE + 17], 3);
		assert_int_equal(get_le16(p), 2);
		assert_int_equal(get_le16(p + 2), list[i].n);
		assert_int_equal(get_le16(p + 8), 1);
		assert_int_equal(get_le16(p + 12), 3);
		assert_int_equal(get_le16(p + 16), list[i].first);
		assert_int_equal(get_le16(p + 16 + 4 * (list[i].n - 1)), list[i].last);
		assert_int_equal(fake_ic_take(&x, (enum ic_kind)i), -1); /* one question at a time */
	}
}

static void
linux_and_older_guests_agree(void **state)
{
	static const uint32_t old[] = { 1 << 16, 3 << 16 };
	struct ic_report r;

	(void)state;
	for (unsigned i = 0; i < IC_KINDS; i++) {
		const struct ic_type *t = x.s->ic[i]->type;

		for (const uint32_t *v = t->versions; *v; v++)
			for (unsigned f = 0; f < 2; f++) {
				fake_ic_open(&x, (enum ic_kind)i);
				assert_true(fake_ic_take(&x, (enum ic_kind)i) > 0);
				fake_ic_agree(&x, (enum ic_kind)i, old[f], *v);
				ics_report(x.s, (enum ic_kind)i, &r);
				assert_int_equal(r.state, IC_READY);
				assert_int_equal(r.version, *v);
				assert_int_equal(r.framework, old[f]);
				fake_ic_close(&x, (enum ic_kind)i);
			}
	}
}

static void
nothing_in_common_is_left_alone(void **state)
{
	(void)state;
	for (unsigned i = 0; i < IC_KINDS; i++) {
		fake_ic_open(&x, (enum ic_kind)i);
		assert_true(fake_ic_take(&x, (enum ic_kind)i) > 0);
		fake_ic_agree(&x, (enum ic_kind)i, 0, 0);
		assert_int_equal(x.s->ic[i]->state, IC_ALONE);
		fake_ic_pass(&x, 1000000);
		assert_int_equal(fake_ic_take(&x, (enum ic_kind)i), -1);
		fake_ic_close(&x, (enum ic_kind)i);
		assert_true(fake_ic_start(&x, (enum ic_kind)i)); /* another guest, or its next driver */
	}
}

static void
versions_that_were_not_offered_are_negotiated_again_and_then_left_alone(void **state)
{
	(void)state;
	fake_ic_open(&x, IC_KVP);
	for (unsigned i = 0; i <= IC_STRIKES; i++) {
		assert_true(fake_ic_take(&x, IC_KVP) > 0);
		fake_ic_agree(&x, IC_KVP, 3 << 16, 9 << 16);
	}
	assert_int_equal(x.s->kvp.c.state, IC_ALONE);
	assert_int_equal(fake_ic_take(&x, IC_KVP), -1);
}

/* A driver without its daemon may take a minute; nobody is woken meanwhile. */
static void
a_negotiation_may_take_as_long_as_the_guest_likes(void **state)
{
	(void)state;
	fake_ic_open(&x, IC_KVP);
	assert_true(fake_ic_take(&x, IC_KVP) > 0);
	assert_null(x.loop->timers);
	fake_ic_pass(&x, 55000);
	fake_ic_agree(&x, IC_KVP, 3 << 16, 4 << 16);
	assert_int_equal(x.s->kvp.c.state, IC_READY);
	assert_int_equal(fake_ic_take(&x, IC_KVP), 4 + 4 + 12 + 512 + 2048);
}

static void
a_late_answer_is_an_answer_to_nothing(void **state)
{
	uint8_t late[64];

	(void)state;
	assert_true(fake_ic_start(&x, IC_VSS));
	assert_true(fake_ic_begin(&x, IC_VSS));
	assert_int_equal(fake_ic_take(&x, IC_VSS), 32);
	memcpy(late, x.c[IC_VSS].message, sizeof(late));
	fake_ic_pass(&x, 60001);
	assert_true(fake_ic_did_end(&x, IC_OP_FREEZE, -ETIMEDOUT));
	assert_int_equal(x.s->vss.c.state, IC_NEGOTIATING);
	memcpy(x.c[IC_VSS].message, late, sizeof(late));
	x.c[IC_VSS].len = IC_HEAD + 32;
	fake_ic_answer(&x, IC_VSS, 0);
	assert_int_equal(x.s->vss.c.state, IC_NEGOTIATING);
	assert_true(fake_ic_negotiate(&x, IC_VSS));
	assert_int_equal(fake_ic_take(&x, IC_VSS), -1);
}

/* Though the same is asked again in this moment. */
static void
an_answer_to_an_earlier_question_is_none_to_a_later(void **state)
{
	uint8_t *id = &x.c[IC_VSS].message[IC_PIPE + 16];

	(void)state;
	assert_true(fake_ic_start(&x, IC_VSS));
	assert_true(fake_ic_begin(&x, IC_VSS));
	assert_int_equal(fake_ic_take(&x, IC_VSS), 32);
	fake_ic_pass(&x, 60001);
	assert_true(fake_ic_negotiate(&x, IC_VSS));
	assert_true(fake_ic_begin(&x, IC_VSS));
	assert_int_equal(fake_ic_take(&x, IC_VSS), 32);
	*id = (uint8_t)(*id - 2);
	fake_ic_answer(&x, IC_VSS, 0);
	assert_int_equal(x.s->vss.doing, VSS_CHECKING);
	*id = (uint8_t)(*id + 2);
	fake_ic_answer(&x, IC_VSS, 0);
	assert_int_equal(x.s->vss.doing, VSS_FREEZING);
}

static void
a_question_that_comes_back_is_no_answer(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_SHUTDOWN));
	assert_true(fake_ic_begin(&x, IC_SHUTDOWN));
	assert_true(fake_ic_take(&x, IC_SHUTDOWN) > 0);
	fake_ic_send(&x, IC_SHUTDOWN, (size_t)x.c[IC_SHUTDOWN].len);
	assert_int_equal(x.ends, 0);
	fake_ic_answer(&x, IC_SHUTDOWN, 0);
	assert_int_equal(x.ends, 1);
}

/* Mistakes are forgiven to a guest that goes on answering. */
static void
good_answers_make_up_for_bad_ones(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_HEARTBEAT));
	for (unsigned i = 0; i < 3 * IC_STRIKES; i++) {
		assert_int_equal(fake_ic_take(&x, IC_HEARTBEAT), 40);
		fake_ic_payload(&x, IC_HEARTBEAT)[0]++;
		fake_ic_answer(&x, IC_HEARTBEAT, 0);
		fake_ic_pass(&x, 2000);
		assert_int_equal(fake_ic_take(&x, IC_HEARTBEAT), 40);
		fake_ic_answer(&x, IC_HEARTBEAT, 0);
		assert_true(fake_ic_negotiate(&x, IC_HEARTBEAT));
	}
}

static void
an_answer_counts_once(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_SHUTDOWN));
	assert_true(fake_ic_begin(&x, IC_SHUTDOWN));
	assert_true(fake_ic_take(&x, IC_SHUTDOWN) > 0);
	fake_ic_answer(&x, IC_SHUTDOWN, 0);
	fake_ic_answer(&x, IC_SHUTDOWN, 0);
	assert_int_equal(x.ends, 1);
	assert_int_equal(x.s->shutdown.c.mistakes, 1);
	assert_int_equal(x.s->shutdown.c.state, IC_READY);
}

/* Every length of an answer, in every state that waits for one: no memory but the message's is looked at, and
 * the component agrees, renegotiates, or is left alone. */
static void
answers_of_any_length_do_no_harm(void **state)
{
	(void)state;
	for (unsigned i = 0; i < IC_KINDS; i++)
		for (unsigned ready = 0; ready < 2; ready++)
			for (unsigned which = 0; which < 7; which++) {
				enum ic_kind k = (enum ic_kind)i;
				struct ic *c = x.s->ic[i];
				uint32_t sent, lengths[7];

				fake_ic_open(&x, k);
				if (ready) {
					assert_true(fake_ic_negotiate(&x, k));
					assert_true(fake_ic_begin(&x, k));
				}
				assert_true(fake_ic_take(&x, k) >= 0);
				sent = (uint32_t)x.c[i].len;
				memcpy(lengths,
				    (uint32_t[]){ 0, 1, IC_HEAD - 1, sent - 1, sent, sent + 1, 16384 },
				    sizeof(lengths));
				put_le32(x.c[i].message + 4, lengths[which] - IC_PIPE);
				x.c[i].message[IC_PIPE + 17] = 5;
				put_le16(x.c[i].message + IC_PIPE + 10, 0);
				fake_ic_send(&x, k, lengths[which]);
				if (lengths[which] < IC_HEAD || lengths[which] > sent)
					assert_int_equal(c->state, IC_NEGOTIATING);
				else if (ready)
					assert_in_range(c->state, IC_NEGOTIATING, IC_READY);
				fake_ic_close(&x, k);
				fake_ic_run(&x);
				assert_false(x.s->fcopy.wanted);
			}
}

/* What the pipe's head and the header say of lengths is checked against what there is. */
static void
lengths_that_lie_are_not_believed(void **state)
{
	static const uint32_t pipe[] = { 0, 19, 1000, 0x7fffffff, 0xfffffff8, 0xffffffff };

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		assert_true(fake_ic_start(&x, IC_HEARTBEAT));
		assert_true(fake_ic_take(&x, IC_HEARTBEAT) > 0);
		fake_ic_payload(&x, IC_HEARTBEAT)[0]++; /* else it is right */
		put_le32(x.c[IC_HEARTBEAT].message + 4, pipe[i]);
		fake_ic_answer(&x, IC_HEARTBEAT, 0);
		assert_int_equal(x.s->heartbeat.c.state, IC_NEGOTIATING);
		fake_ic_close(&x, IC_HEARTBEAT);
	}
	assert_true(fake_ic_start(&x, IC_HEARTBEAT));
	assert_true(fake_ic_take(&x, IC_HEARTBEAT) > 0);
	fake_ic_payload(&x, IC_HEARTBEAT)[0]++;
	put_le16(x.c[IC_HEARTBEAT].message + IC_PIPE + 10, 41);
	fake_ic_answer(&x, IC_HEARTBEAT, 0);
	assert_int_equal(x.s->heartbeat.c.state, IC_NEGOTIATING);
	fake_ic_close(&x, IC_HEARTBEAT);
	assert_true(
	    fake_ic_start(&x, IC_HEARTBEAT)); /* more than the packet has, though no more than asked */
	assert_true(fake_ic_take(&x, IC_HEARTBEAT) > 0);
	fake_ic_payload(&x, IC_HEARTBEAT)[0]++;
	x.c[IC_HEARTBEAT].len = IC_HEAD + 12;
	fake_ic_answer(&x, IC_HEARTBEAT, 0);
	assert_int_equal(x.s->heartbeat.c.state, IC_NEGOTIATING);
}

static void
a_packet_longer_than_a_pipe_carries_is_left_out(void **state)
{
	static uint8_t p[FAKE_IC_MESSAGE];

	(void)state;
	assert_true(fake_ic_start(&x, IC_HEARTBEAT));
	assert_true(fake_ic_take(&x, IC_HEARTBEAT) > 0);
	fake_send(&x.c[IC_HEARTBEAT].guest, PACKET_INBAND, 0, 1, NULL, 0, p, sizeof(p));
	fake_ic_run(&x);
	assert_int_equal(x.s->heartbeat.c.state, IC_NEGOTIATING);
	assert_int_equal(x.s->heartbeat.c.mistakes, 1);
	assert_true(fake_ic_negotiate(&x, IC_HEARTBEAT));
}

static void
a_packet_that_wants_a_reply_has_one(void **state)
{
	uint8_t p[8] = { 9 };

	(void)state;
	assert_true(fake_ic_start(&x, IC_SHUTDOWN));
	for (unsigned flags = 0; flags < 2; flags++) {
		fake_send(&x.c[IC_SHUTDOWN].guest, PACKET_INBAND, (uint16_t)flags, 77, NULL, 0, p, sizeof(p));
		fake_send(&x.c[IC_SHUTDOWN].guest, PACKET_COMPLETION, 1, 77, NULL, 0, p, sizeof(p));
		assert_int_equal(fake_ic_take(&x, IC_SHUTDOWN), -1);
		assert_int_equal(x.completions, flags);
	}
	assert_int_equal(x.s->shutdown.c.state, IC_READY); /* nothing was asked */
}

static void
a_broken_ring_closes_its_channel_alone(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_HEARTBEAT));
	assert_true(fake_ic_start(&x, IC_TIMESYNC));
	x.c[IC_HEARTBEAT].guest.out.control->write_index = 12345;
	fake_kick(&x.f, 100 + IC_HEARTBEAT);
	fake_ic_run(&x);
	assert_int_equal(x.bus.broke, 1);
	assert_int_equal(x.s->heartbeat.c.state, IC_CLOSED);
	assert_int_equal(x.s->timesync.c.state, IC_READY);
	fake_ic_unmap(&x, IC_HEARTBEAT);
}

/* A full ring: the question waits until the guest has made room. */
static void
a_ring_without_room_is_waited_for(void **state)
{
	struct ring_control *in;

	(void)state;
	assert_true(fake_ic_start(&x, IC_SHUTDOWN));
	in = x.c[IC_SHUTDOWN].guest.in.control;
	in->read_index = (in->write_index + 64) % x.c[IC_SHUTDOWN].guest.in.size;
	assert_true(fake_ic_begin(&x, IC_SHUTDOWN));
	assert_true(x.s->shutdown.c.unsent);
	in->read_index = in->write_index;
	fake_kick(&x.f, 100 + IC_SHUTDOWN);
	assert_int_equal(fake_ic_take(&x, IC_SHUTDOWN), 12 + 2048);
	fake_ic_answer(&x, IC_SHUTDOWN, 0);
	assert_true(fake_ic_did_end(&x, IC_OP_SHUTDOWN, 0));
}

static void
nothing_is_begun_without_a_driver(void **state)
{
	const struct ic_ip ip = { .adapter = "a" };
	struct err e;

	(void)state;
	assert_int_equal(ic_shutdown(x.s, IC_REBOOT, true, "", &e), -ENOTCONN);
	assert_int_equal(ic_time_sync(x.s, &e), -ENOTCONN);
	assert_int_equal(ic_kvp_refresh(x.s, &e), -ENOTCONN);
	assert_int_equal(ic_ip_get(x.s, &ip, &e), -ENOTCONN);
	assert_int_equal(ic_freeze(x.s, 1, &e), -ENOTCONN);
	assert_int_equal(ic_thaw(x.s, &e), -EALREADY);
	assert_int_equal(ic_copy_cancel(x.s, &e), -EALREADY);
}

static void
a_component_is_switched_off_and_on(void **state)
{
	bool changed;
	struct err e;

	(void)state;
	assert_int_equal(x.bus.offered, IC_KINDS);
	assert_true(fake_ic_start(&x, IC_HEARTBEAT));
	assert_int_equal(ics_set(x.s, IC_HEARTBEAT, false, &changed, &e), 0);
	assert_true(changed);
	assert_int_equal(x.bus.revoked, 1);
	assert_int_equal(x.s->heartbeat.c.state, IC_CLOSED);
	assert_null(x.loop->timers); /* nobody is woken any more */
	fake_ic_unmap(&x, IC_HEARTBEAT);
	assert_int_equal(ics_set(x.s, IC_HEARTBEAT, false, &changed, &e), 0);
	assert_false(changed);
	x.bus.offer_rc = -ENOSPC;
	assert_int_equal(ics_set(x.s, IC_HEARTBEAT, true, &changed, &e), -ENOSPC);
	assert_false(changed);
	x.bus.offer_rc = 0;
	assert_int_equal(ics_set(x.s, IC_HEARTBEAT, true, &changed, &e), 0);
	assert_true(changed);
	assert_true(fake_ic_start(&x, IC_HEARTBEAT));
}

static void
a_frozen_guest_is_not_left_frozen(void **state)
{
	bool changed;
	struct err e;

	(void)state;
	assert_true(fake_ic_start(&x, IC_VSS));
	assert_true(fake_ic_begin(&x, IC_VSS));
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(fake_ic_take(&x, IC_VSS), 32);
		fake_ic_answer(&x, IC_VSS, 0);
	}
	assert_int_equal(ics_set(x.s, IC_VSS, false, &changed, &e), -EBUSY);
	assert_false(changed);
}

/* Nothing is sent, read or timed while the machine stands still. */
static void
a_machine_that_stands_still_is_left_in_peace(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_HEARTBEAT));
	assert_true(fake_ic_start(&x, IC_VSS));
	assert_true(fake_ic_begin(&x, IC_VSS));
	ics_hold(x.s);
	assert_null(x.loop->timers);
	fake_ic_pass(&x, 1000000);
	assert_int_equal(x.ends, 0);
	ics_go(x.s);
	assert_int_equal(fake_ic_take(&x, IC_VSS), 32);
	fake_ic_pass(&x, 59000); /* all its time again */
	fake_ic_answer(&x, IC_VSS, 0);
	assert_int_equal(fake_ic_take(&x, IC_VSS), 32);
	assert_int_equal(operation(IC_VSS), 5);
}

static void
a_channel_opened_while_it_stands_still_waits(void **state)
{
	(void)state;
	ics_hold(x.s);
	fake_ic_open(&x, IC_TIMESYNC);
	assert_int_equal(fake_ic_take(&x, IC_TIMESYNC), -1);
	ics_go(x.s);
	assert_true(fake_ic_negotiate(&x, IC_TIMESYNC));
}

/* --- Saved state --- */

enum { STATE_MAX = 256 };

static size_t
save(enum ic_kind kind, uint8_t *buf)
{
	struct vmbus_device *d = &x.s->ic[kind]->dev;
	struct snap s;

	snap_save_to(&s, buf, STATE_MAX);
	d->ops->snap(d, &s);
	assert_int_equal(snap_end(&s), 0);
	return s.pos;
}

/* As the bus does it: open, then the state; the machine does not run. */
static int
restore(enum ic_kind kind, const uint8_t *buf, size_t len)
{
	struct vmbus_device *d;
	struct ic_config config = fake_ic_config();
	struct snap s;

	fake_ic_drop(&x);
	fake_ic_make(&x, &config);
	d = &x.s->ic[kind]->dev;
	fake_ic_map(&x, kind);
	assert_int_equal(d->ops->open(d, &x.c[kind].ch, NULL), 0);
	snap_restore_from(&s, buf, len);
	d->ops->snap(d, &s);
	if (snap_end(&s) < 0)
		return s.rc;
	d->ops->restored(d);
	ics_go(x.s);
	return 0;
}

static void
what_was_agreed_on_survives(void **state)
{
	uint8_t buf[STATE_MAX], again[STATE_MAX];
	struct ic_report r;

	(void)state;
	for (unsigned i = 0; i < IC_KINDS; i++) {
		enum ic_kind k = (enum ic_kind)i;
		size_t n;

		assert_true(fake_ic_start(&x, k));
		while (i != IC_KVP && fake_ic_take(&x, k) > 0) {
			if (i == IC_HEARTBEAT)
				fake_ic_payload(&x, k)[0]++;
			fake_ic_answer(&x, k, 0);
		}
		ics_hold(x.s);
		x.s->ic[i]->busy = false;
		n = save(k, buf);
		assert_int_equal(restore(k, buf, n), 0);
		ics_report(x.s, k, &r);
		assert_int_equal(r.state, IC_READY);
		assert_int_equal(r.version, fake_ic_newest(k));
		ics_hold(x.s);
		x.s->ic[i]->busy = false;
		assert_int_equal(save(k, again), n);
		fake_ic_close(&x, k);
		ics_go(x.s);
	}
}

static void
what_is_under_way_when_it_is_saved_is_agreed_on_anew(void **state)
{
	uint8_t buf[STATE_MAX];

	(void)state;
	for (unsigned i = 0; i < IC_KINDS; i++) {
		enum ic_kind k = (enum ic_kind)i;

		assert_true(fake_ic_start(&x, k));
		assert_true(fake_ic_begin(&x, k));
		assert_true(fake_ic_take(&x, k) > 0);
		ics_hold(x.s);
		assert_int_equal(restore(k, buf, save(k, buf)), 0);
		fake_ic_answer(&x, k, 0); /* to what the other machine asked */
		assert_int_equal(x.s->ic[i]->state, IC_NEGOTIATING);
		assert_true(fake_ic_negotiate(&x, k));
		fake_ic_close(&x, k);
	}
}

static void
a_frozen_guest_is_thawed_when_it_goes_on_elsewhere(void **state)
{
	uint8_t buf[STATE_MAX];

	(void)state;
	assert_true(fake_ic_start(&x, IC_VSS));
	assert_true(fake_ic_begin(&x, IC_VSS));
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(fake_ic_take(&x, IC_VSS), 32);
		fake_ic_answer(&x, IC_VSS, 0);
	}
	ics_hold(x.s);
	assert_int_equal(restore(IC_VSS, buf, save(IC_VSS, buf)), 0);
	assert_int_equal(fake_ic_take(&x, IC_VSS), 32);
	assert_int_equal(operation(IC_VSS), 6);
}

static void
saved_state_is_not_believed(void **state)
{
	uint8_t buf[STATE_MAX], bad[STATE_MAX];

	(void)state;
	for (unsigned i = 0; i < IC_KINDS; i++) {
		enum ic_kind k = (enum ic_kind)i;
		size_t n;

		assert_true(fake_ic_start(&x, k));
		ics_hold(x.s);
		n = save(k, buf);
		for (size_t cut = 0; cut < n; cut++) {
			assert_int_equal(restore(k, buf, cut), -EINVAL);
			fake_ic_close(&x, k);
		}
		for (size_t at = 0; at < n; at++)
			for (unsigned v = 0; v < 256; v += 51) {
				memcpy(bad, buf, n);
				bad[at] = (uint8_t)v;
				restore(k, bad, n);
				fake_ic_pass(&x, 100000);
				fake_ic_close(&x, k);
			}
		memcpy(bad, buf, n);
		bad[0] = IC_CLOSED; /* but its channel is open */
		assert_int_equal(restore(k, bad, n), -EINVAL);
		fake_ic_close(&x, k);
		ics_go(x.s);
	}
}

/* A component without a channel has nothing to remember of a guest. */
static void
a_guest_that_is_not_there_is_not_frozen(void **state)
{
	static const enum ic_kind kinds[] = { IC_HEARTBEAT, IC_VSS, IC_FCOPY };
	uint8_t buf[STATE_MAX];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct vmbus_device *d = &x.s->ic[kinds[i]]->dev;
		size_t n = save(kinds[i], buf);
		struct snap s;

		buf[n - 1] = 1; /* there; frozen; a file half copied */
		snap_restore_from(&s, buf, n);
		d->ops->snap(d, &s);
		assert_int_equal(snap_end(&s), -EINVAL);
	}
	assert_false(x.s->vss.frozen || x.s->heartbeat.there || x.s->fcopy.cancel_due);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_component_offers_its_versions_in_ascending_order),
		TEST(linux_and_older_guests_agree),
		TEST(nothing_in_common_is_left_alone),
		TEST(versions_that_were_not_offered_are_negotiated_again_and_then_left_alone),
		TEST(a_negotiation_may_take_as_long_as_the_guest_likes),
		TEST(a_late_answer_is_an_answer_to_nothing),
		TEST(an_answer_to_an_earlier_question_is_none_to_a_later),
		TEST(a_question_that_comes_back_is_no_answer),
		TEST(good_answers_make_up_for_bad_ones),
		TEST(an_answer_counts_once),
		TEST(answers_of_any_length_do_no_harm),
		TEST(lengths_that_lie_are_not_believed),
		TEST(a_packet_longer_than_a_pipe_carries_is_left_out),
		TEST(a_packet_that_wants_a_reply_has_one),
		TEST(a_broken_ring_closes_its_channel_alone),
		TEST(a_ring_without_room_is_waited_for),
		TEST(nothing_is_begun_without_a_driver),
		TEST(a_component_is_switched_off_and_on),
		TEST(a_frozen_guest_is_not_left_frozen),
		TEST(a_machine_that_stands_still_is_left_in_peace),
		TEST(a_channel_opened_while_it_stands_still_waits),
		TEST(what_was_agreed_on_survives),
		TEST(what_is_under_way_when_it_is_saved_is_agreed_on_anew),
		TEST(a_frozen_guest_is_thawed_when_it_goes_on_elsewhere),
		TEST(saved_state_is_not_believed),
		TEST(a_guest_that_is_not_there_is_not_frozen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
