/* tests/unit/ic_parts_test.c - heartbeat, shutdown, time and freezing, each with a guest that does its part.
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

/* --- Heartbeat --- */

static void
beat(uint32_t application)
{
	uint8_t *p = fake_ic_payload(&x, IC_HEARTBEAT);

	put_le64(p, get_le64(p) + 1);
	put_le32(p + 8, application);
	fake_ic_answer(&x, IC_HEARTBEAT, 0);
}

static void
a_guest_that_answers_lives(void **state)
{
	struct ic_report r;

	(void)state;
	assert_true(fake_ic_start(&x, IC_HEARTBEAT));
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(fake_ic_take(&x, IC_HEARTBEAT), 40);
		assert_int_equal(get_le64(fake_ic_payload(&x, IC_HEARTBEAT)), i);
		beat(1);
		assert_int_equal(fake_ic_take(&x, IC_HEARTBEAT), -1);
		fake_ic_pass(&x, 2000);
	}
	assert_int_equal(x.beats, 1); /* it is told once */
	assert_true(x.there);
	assert_int_equal(x.application, 1);
	ics_report(x.s, IC_HEARTBEAT, &r);
	assert_true(r.there && r.on);
	assert_int_equal(r.heartbeats, 10);
	assert_int_equal(r.application, 1);
	assert_int_equal(r.since_ms, 2000);
}

static void
its_applications_are_told_when_they_change(void **state)
{
	static const uint32_t states[] = { 1, 2, 2, 3, 77 };

	(void)state;
	assert_true(fake_ic_start(&x, IC_HEARTBEAT));
	for (unsigned i = 0; i < 5; i++) {
		assert_true(fake_ic_take(&x, IC_HEARTBEAT) > 0);
		beat(states[i]);
		assert_int_equal(x.application, states[i] > 3 ? 0 : states[i]);
		fake_ic_pass(&x, 2000);
	}
	assert_int_equal(x.beats, 4);
}

/* Nothing more is asked of one that is busy; when it answers, late, it is back. */
static void
a_guest_is_lost_and_comes_back(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_HEARTBEAT));
	assert_true(fake_ic_take(&x, IC_HEARTBEAT) > 0);
	beat(0);
	fake_ic_pass(&x, 2000);
	assert_true(fake_ic_take(&x, IC_HEARTBEAT) > 0);
	fake_ic_pass(&x, 9000);
	assert_true(x.there);
	fake_ic_pass(&x, 1000);
	assert_false(x.there);
	assert_int_equal(x.beats, 2);
	beat(0);
	assert_true(x.there);
	assert_int_equal(x.beats, 3);
}

static void
a_guest_that_forgot_its_answer_is_negotiated_with_anew(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_HEARTBEAT));
	assert_true(fake_ic_take(&x, IC_HEARTBEAT) > 0);
	beat(0);
	fake_ic_pass(&x, 2000);
	assert_true(fake_ic_take(&x, IC_HEARTBEAT) > 0);
	fake_ic_pass(&x, 31000);
	assert_false(x.there);
	assert_true(fake_ic_negotiate(&x, IC_HEARTBEAT));
	assert_true(fake_ic_take(&x, IC_HEARTBEAT) > 0);
	beat(0);
	assert_true(x.there);
}

static void
a_number_that_is_not_one_greater_is_no_sign_of_life(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_HEARTBEAT));
	assert_true(fake_ic_take(&x, IC_HEARTBEAT) > 0);
	fake_ic_answer(&x, IC_HEARTBEAT, 0);
	assert_int_equal(x.beats, 0);
	assert_int_equal(x.s->heartbeat.c.mistakes, 1);
}

/* One that lived and then answers nonsense is lost, too, though nothing is asked of it any more. */
static void
a_guest_that_is_left_alone_is_lost(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_HEARTBEAT));
	assert_true(fake_ic_take(&x, IC_HEARTBEAT) > 0);
	beat(0);
	fake_ic_pass(&x, 2000);
	assert_true(fake_ic_take(&x, IC_HEARTBEAT) > 0);
	fake_ic_answer(&x, IC_HEARTBEAT, 0);
	assert_true(fake_ic_take(&x, IC_HEARTBEAT) > 0);
	fake_ic_agree(&x, IC_HEARTBEAT, 0, 0);
	assert_int_equal(x.s->heartbeat.c.state, IC_ALONE);
	fake_ic_pass(&x, 20000);
	assert_false(x.there);
	assert_null(x.loop->timers);
}

static void
a_pause_is_not_the_guests_silence(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_HEARTBEAT));
	assert_true(fake_ic_take(&x, IC_HEARTBEAT) > 0);
	beat(0);
	fake_ic_pass(&x, 2000);
	assert_true(fake_ic_take(&x, IC_HEARTBEAT) > 0);
	fake_ic_pass(&x, 9000);
	ics_hold(x.s);
	fake_ic_pass(&x, 100000);
	ics_go(x.s);
	fake_ic_pass(&x, 9000);
	assert_true(x.there);
	beat(0);
	assert_int_equal(x.beats, 1);
	fake_ic_pass(&x, 2000);
	assert_true(fake_ic_take(&x, IC_HEARTBEAT) > 0); /* it beats on */
}

static void
a_guest_that_closes_is_lost_at_once(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_HEARTBEAT));
	assert_true(fake_ic_take(&x, IC_HEARTBEAT) > 0);
	beat(0);
	fake_ic_close(&x, IC_HEARTBEAT);
	assert_false(x.there);
	assert_null(x.loop->timers);
}

/* --- Shutdown --- */

static void
each_kind_of_shutdown_has_its_flags(void **state)
{
	static const uint32_t flags[] = { [IC_POWER_OFF] = 0, [IC_REBOOT] = 2, [IC_HIBERNATE] = 4 };

	(void)state;
	assert_true(fake_ic_start(&x, IC_SHUTDOWN));
	for (unsigned kind = 0; kind < 3; kind++)
		for (unsigned force = 0; force < 2; force++) {
			const uint8_t *p = fake_ic_payload(&x, IC_SHUTDOWN);

			assert_int_equal(ic_shutdown(x.s, (enum ic_shutdown_kind)kind, force,
					     "\xc3\xa4\xf0\x9f\x98\x80", NULL),
			    0);
			assert_int_equal(fake_ic_take(&x, IC_SHUTDOWN), 12 + 2048);
			assert_int_equal(get_le32(p), 0x80000000);
			assert_int_equal(get_le32(p + 4), 0);
			assert_int_equal(get_le32(p + 8), flags[kind] | force);
			assert_int_equal(get_le16(p + 12), 0xe4);
			assert_int_equal(get_le16(p + 14), 0xd83d);
			assert_int_equal(get_le16(p + 16), 0xde00);
			assert_int_equal(get_le16(p + 18), 0);
			fake_ic_answer(&x, IC_SHUTDOWN, 0);
			assert_true(fake_ic_did_end(&x, IC_OP_SHUTDOWN, 0));
		}
}

static void
a_guest_may_refuse_to_shut_down(void **state)
{
	struct err e;

	(void)state;
	assert_true(fake_ic_start(&x, IC_SHUTDOWN));
	assert_int_equal(ic_shutdown(x.s, IC_POWER_OFF, false, "", NULL), 0);
	assert_int_equal(ic_shutdown(x.s, IC_POWER_OFF, false, "", &e), -EBUSY);
	assert_true(fake_ic_take(&x, IC_SHUTDOWN) > 0);
	fake_ic_answer(&x, IC_SHUTDOWN, 0x800704f7);
	assert_true(fake_ic_did_end(&x, IC_OP_SHUTDOWN, -EREMOTEIO));
	assert_int_equal(x.end[0].status, 0x800704f7);
	assert_int_equal(ic_shutdown(x.s, IC_POWER_OFF, false, "", NULL), 0);
	assert_true(fake_ic_take(&x, IC_SHUTDOWN) > 0);
	fake_ic_pass(&x, 30001);
	assert_true(fake_ic_did_end(&x, IC_OP_SHUTDOWN, -ETIMEDOUT));
}

/* --- Time --- */

enum { SYNC = 1, SAMPLE = 2 };

static void
expect_time(uint8_t flag)
{
	const uint8_t *p = fake_ic_payload(&x, IC_TIMESYNC);

	assert_int_equal(fake_ic_take(&x, IC_TIMESYNC), 22);
	assert_int_equal(get_le64(p), x.wall / 100 + 116444736000000000);
	assert_int_equal(get_le64(p + 8), x.reference / 100);
	assert_int_equal(p[16], flag);
	fake_ic_answer(&x, IC_TIMESYNC, 0);
}

static void
expect_no_time(void)
{
	assert_int_equal(fake_ic_take(&x, IC_TIMESYNC), -1);
}

static void
the_clock_is_set_at_each_of_its_causes(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_TIMESYNC)); /* boot */
	expect_time(SYNC);
	expect_time(SAMPLE);
	expect_no_time();
	ics_hold(x.s); /* a pause */
	ics_go(x.s);
	expect_time(SYNC);
	expect_time(SAMPLE);
	eventfd_write(x.clock_fd, 1); /* a step of the host's clock */
	expect_time(SYNC);
	expect_time(SAMPLE);
	assert_int_equal(ic_time_sync(x.s, NULL), 0); /* a request */
	expect_time(SYNC);
	assert_true(fake_ic_did_end(&x, IC_OP_TIME, 0));
	expect_time(SAMPLE);
	expect_no_time();
	assert_null(x.loop->timers);
}

static void
each_cause_can_be_switched_off(void **state)
{
	struct ic_config c = fake_ic_config();

	(void)state;
	c.time_at_boot = c.time_at_resume = c.time_at_step = false;
	fake_ic_drop(&x);
	fake_ic_make(&x, &c);
	ics_go(x.s);
	assert_true(fake_ic_start(&x, IC_TIMESYNC));
	expect_no_time();
	ics_hold(x.s);
	ics_go(x.s);
	expect_no_time();
	eventfd_write(x.clock_fd, 1);
	expect_no_time();
	assert_int_equal(ic_time_sync(x.s, NULL), 0);
	expect_time(SYNC);
}

static void
samples_come_at_their_times(void **state)
{
	struct ic_config c = fake_ic_config();

	(void)state;
	c.time_at_boot = false;
	c.time_sample_s = 5;
	fake_ic_drop(&x);
	fake_ic_make(&x, &c);
	ics_go(x.s);
	assert_true(fake_ic_start(&x, IC_TIMESYNC));
	for (unsigned i = 0; i < 3; i++) {
		fake_ic_pass(&x, 4999);
		expect_no_time();
		fake_ic_pass(&x, 1);
		expect_time(SAMPLE);
	}
	fake_ic_close(&x, IC_TIMESYNC);
	assert_null(x.loop->timers);
}

static void
older_guests_have_another_message(void **state)
{
	const uint8_t *p = fake_ic_payload(&x, IC_TIMESYNC);

	(void)state;
	fake_ic_open(&x, IC_TIMESYNC);
	assert_true(fake_ic_take(&x, IC_TIMESYNC) > 0);
	fake_ic_agree(&x, IC_TIMESYNC, 1 << 16, 1 << 16);
	assert_int_equal(fake_ic_take(&x, IC_TIMESYNC), 25);
	assert_int_equal(get_le64(p), x.wall / 100 + 116444736000000000);
	assert_int_equal(get_le64(p + 8), 0);
	assert_int_equal(p[24], SYNC);
}

/* --- Freezing --- */

static void
expect_vss(uint8_t operation, uint32_t status)
{
	assert_int_equal(fake_ic_take(&x, IC_VSS), 32);
	assert_int_equal(fake_ic_payload(&x, IC_VSS)[0], operation);
	fake_ic_answer(&x, IC_VSS, status);
}

enum { CHECK = 2, FREEZE = 5, THAW = 6 };

static void
freeze(void)
{
	assert_int_equal(ic_freeze(x.s, 10, NULL), 0);
	expect_vss(CHECK, 0);
	assert_int_equal(x.ends, 0);
	expect_vss(FREEZE, 0);
	assert_true(fake_ic_did_end(&x, IC_OP_FREEZE, 0));
}

static void
a_guest_is_frozen_and_thawed(void **state)
{
	struct ic_report r;

	(void)state;
	assert_true(fake_ic_start(&x, IC_VSS));
	freeze();
	ics_report(x.s, IC_VSS, &r);
	assert_true(r.frozen);
	assert_int_equal(ic_freeze(x.s, 10, NULL), -EBUSY);
	assert_int_equal(ic_thaw(x.s, NULL), 0);
	expect_vss(THAW, 0);
	assert_true(fake_ic_did_end(&x, IC_OP_THAW, 0));
	ics_report(x.s, IC_VSS, &r);
	assert_false(r.frozen);
	assert_int_equal(ic_thaw(x.s, NULL), -EALREADY);
	assert_null(x.loop->timers);
}

static void
a_guest_that_nobody_thaws_is_thawed(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_VSS));
	freeze();
	fake_ic_pass(&x, 9999);
	assert_int_equal(fake_ic_take(&x, IC_VSS), -1);
	fake_ic_pass(&x, 1);
	expect_vss(THAW, 0);
	assert_true(fake_ic_did_end(&x, IC_OP_THAW, 0));
}

static void
a_guest_that_cannot_be_frozen_is_not(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_VSS));
	assert_int_equal(ic_freeze(x.s, 10, NULL), 0);
	expect_vss(CHECK, 0x80004005);
	assert_true(fake_ic_did_end(&x, IC_OP_FREEZE, -EREMOTEIO));
	assert_int_equal(fake_ic_take(&x, IC_VSS), -1);
}

static void
a_freeze_that_failed_is_thawed_all_the_same(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_VSS));
	assert_int_equal(ic_freeze(x.s, 10, NULL), 0);
	expect_vss(CHECK, 0);
	expect_vss(FREEZE, 0x80004005);
	assert_true(fake_ic_did_end(&x, IC_OP_FREEZE, -EREMOTEIO));
	expect_vss(THAW, 0);
	assert_true(fake_ic_did_end(&x, IC_OP_THAW, 0));
}

static void
a_freeze_without_answer_is_thawed_when_the_guest_listens(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_VSS));
	assert_int_equal(ic_freeze(x.s, 10, NULL), 0);
	expect_vss(CHECK, 0);
	assert_int_equal(fake_ic_take(&x, IC_VSS), 32);
	fake_ic_pass(&x, 10001);
	assert_true(fake_ic_did_end(&x, IC_OP_FREEZE, -ETIMEDOUT));
	assert_true(fake_ic_negotiate(&x, IC_VSS));
	expect_vss(THAW, 0);
}

static void
thawing_before_it_is_frozen_waits_its_turn(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_VSS));
	assert_int_equal(ic_freeze(x.s, 10, NULL), 0);
	expect_vss(CHECK, 0);
	assert_int_equal(ic_thaw(x.s, NULL), 0);
	expect_vss(FREEZE, 0);
	expect_vss(THAW, 0);
	assert_true(fake_ic_did_end(&x, IC_OP_THAW, 0));
}

static void
a_guest_that_goes_while_it_is_frozen_is_told(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_VSS));
	freeze();
	fake_ic_close(&x, IC_VSS);
	assert_true(fake_ic_did_end(&x, IC_OP_THAW, -ENOTCONN));
	assert_null(x.loop->timers);
	assert_true(fake_ic_start(&x, IC_VSS));
	assert_int_equal(fake_ic_take(&x, IC_VSS), -1); /* another guest */
}

/* Also while it agrees on versions anew. */
static void
a_guest_that_goes_before_it_is_thawed_is_forgotten(void **state)
{
	(void)state;
	assert_true(fake_ic_start(&x, IC_VSS));
	assert_int_equal(ic_freeze(x.s, 10, NULL), 0);
	expect_vss(CHECK, 0);
	assert_int_equal(fake_ic_take(&x, IC_VSS), 32);
	fake_ic_pass(&x, 10001);
	fake_ic_close(&x, IC_VSS);
	assert_true(fake_ic_did_end(&x, IC_OP_THAW, -ENOTCONN));
	x.ends = 0;
	assert_true(fake_ic_start(&x, IC_VSS));
	freeze();
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_guest_that_answers_lives),
		TEST(its_applications_are_told_when_they_change),
		TEST(a_guest_is_lost_and_comes_back),
		TEST(a_guest_that_forgot_its_answer_is_negotiated_with_anew),
		TEST(a_number_that_is_not_one_greater_is_no_sign_of_life),
		TEST(a_guest_that_is_left_alone_is_lost),
		TEST(a_pause_is_not_the_guests_silence),
		TEST(a_guest_that_closes_is_lost_at_once),
		TEST(each_kind_of_shutdown_has_its_flags),
		TEST(a_guest_may_refuse_to_shut_down),
		TEST(the_clock_is_set_at_each_of_its_causes),
		TEST(each_cause_can_be_switched_off),
		TEST(samples_come_at_their_times),
		TEST(older_guests_have_another_message),
		TEST(a_guest_is_frozen_and_thawed),
		TEST(a_guest_that_nobody_thaws_is_thawed),
		TEST(a_guest_that_cannot_be_frozen_is_not),
		TEST(a_freeze_that_failed_is_thawed_all_the_same),
		TEST(a_freeze_without_answer_is_thawed_when_the_guest_listens),
		TEST(thawing_before_it_is_frozen_waits_its_turn),
		TEST(a_guest_that_goes_while_it_is_frozen_is_told),
		TEST(a_guest_that_goes_before_it_is_thawed_is_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
