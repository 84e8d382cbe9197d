/*
 * tests/unit/ic_table_test.c - what an integration component is told, as tables: every message type in every
 * state with every length that matters, of the packet and of what it says of itself, and every number of
 * versions; for each component.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fake_ic.h"

enum { PIPE_MOST = 16384, NO_MORE = -0x7ff8fefd };

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

enum situation { OPENED_HELD, NEGOTIATING, IDLE, ASKED, ASKED_HELD, ALONE, SITUATIONS };

/* All that it asks by itself is answered, until it is content. */
static void
settle(enum ic_kind k)
{
	for (unsigned i = 0; fake_ic_take(&x, k) >= 0; i++) {
		assert_in_range(i, 0, 100);
		if (k == IC_HEARTBEAT)
			fake_ic_payload(&x, k)[0]++;
		fake_ic_answer(&x, k, k == IC_KVP ? (uint32_t)NO_MORE : 0);
	}
}

static void
go_to(enum ic_kind k, enum situation s)
{
	if (s == OPENED_HELD)
		ics_hold(x.s);
	memset(x.c[k].message, 0, sizeof(x.c[k].message));
	fake_ic_open(&x, k);
	if (s == NEGOTIATING || s == ALONE)
		assert_true(fake_ic_take(&x, k) >= 0);
	if (s == ALONE)
		fake_ic_agree(&x, k, 0, 0);
	if (s == IDLE || s == ASKED || s == ASKED_HELD)
		assert_true(fake_ic_negotiate(&x, k));
	if (s == IDLE)
		settle(k);
	if (s == ASKED || s == ASKED_HELD) {
		assert_true(fake_ic_begin(&x, k));
		assert_true(fake_ic_take(&x, k) >= 0);
	}
	if (s == ASKED_HELD)
		ics_hold(x.s);
	assert_int_equal(x.s->ic[k]->state, s == OPENED_HELD   ? IC_OPEN
					    : s == NEGOTIATING ? IC_NEGOTIATING
					    : s == ALONE       ? IC_ALONE
							       : IC_READY);
}

/* The next driver finds it as the first did. */
static void
leave(enum ic_kind k)
{
	ics_go(x.s);
	fake_ic_close(&x, k);
	fake_ic_run(&x);
	assert_int_equal(x.s->ic[k]->state, IC_CLOSED);
	assert_null(x.s->ic[k]->ch);
	assert_false(x.s->fcopy.wanted);
}

/* A message of `len` bytes, which says that it has `says` behind the pipe's head. */
static void
check(enum ic_kind k, enum situation s, uint16_t type, uint32_t len, uint32_t says, uint8_t flags)
{
	struct ic *c = x.s->ic[k];
	uint8_t *m = x.c[k].message;
	uint64_t before;
	uint32_t there = (len + 7) / 8 * 8; /* a ring counts in units of 8 bytes */
	bool held = s == OPENED_HELD || s == ASKED_HELD, whole, is_message, is_answer;
	enum ic_state was;

	go_to(k, s);
	before = c->mistakes;
	was = c->state;
	put_le32(m, 1);
	put_le32(m + 4, says);
	put_le16(m + IC_PIPE + 4, type);
	put_le16(m + IC_PIPE + 10, 0);
	m[IC_PIPE + 17] = flags;
	whole = there <= PIPE_MOST;
	is_message = whole && there >= IC_HEAD && len > IC_PIPE && says >= IC_HEADER &&
		     says <= there - IC_PIPE;
	is_answer = is_message && c->busy && type == c->asked && (flags & 4) && len > IC_PIPE + 17;
	fake_ic_send(&x, k, len);
	if (held        ? c->mistakes != before || c->state != was
	    : is_answer ? c->mistakes > before + 1 || c->state < IC_NEGOTIATING
			: c->mistakes != before + 1)
		fail_msg("component %d situation %d type %u length %u says %u flags %u: %d, %d mistakes", k,
		    s, type, len, says, flags, c->state, (int)(c->mistakes - before));
	if (!held && !is_answer && is_message)
		assert_int_equal(c->state, was); /* whoever waits still does */
	if (!held && !is_message && was != IC_ALONE && s != IDLE)
		assert_in_range(c->state, IC_NEGOTIATING, IC_NEGOTIATING);
	leave(k);
}

static void
every_message_in_every_situation_with_every_length(void **state)
{
	static const uint16_t types[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 0xffff };

	(void)state;
	for (unsigned i = 0; i < IC_KINDS; i++)
		for (enum situation s = 0; s < SITUATIONS; s++) {
			enum ic_kind k = (enum ic_kind)i;
			uint32_t exact;

			go_to(k, s);
			exact = x.c[k].len > IC_HEAD ? (uint32_t)x.c[k].len : IC_HEAD + 16;
			leave(k);
			const uint32_t lengths[] = { 0, 1, IC_PIPE, IC_HEAD - 1, IC_HEAD, IC_HEAD + 1,
				exact - 1, exact, exact + 1, PIPE_MOST, PIPE_MOST + 8 };

			for (size_t t = 0; t < sizeof(types) / sizeof(types[0]); t++)
				for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
					uint32_t rest = lengths[l] > IC_PIPE ? lengths[l] - IC_PIPE : 0;

					check(k, s, types[t], lengths[l], rest, 5);
					check(k, s, types[t], lengths[l], rest, 3); /* a question */
				}
		}
}

static void
every_length_that_a_message_says_of_itself(void **state)
{
	static const uint32_t says[] = { 0, 1, IC_HEADER - 1, IC_HEADER, IC_HEADER + 1, PIPE_MOST - IC_PIPE,
		PIPE_MOST, 0x7fffffff, 0xfffffff8, UINT32_MAX };

	(void)state;
	for (unsigned i = 0; i < IC_KINDS; i++)
		for (enum situation s = 0; s < SITUATIONS; s++)
			for (size_t k = 0; k < sizeof(says) / sizeof(says[0]); k++) {
				uint16_t type = s == NEGOTIATING ? 0 : x.s->ic[i]->type->message;

				check((enum ic_kind)i, s, type, IC_HEAD + 40, says[k], 5);
				check((enum ic_kind)i, s, type, PIPE_MOST, says[k], 5);
				/* As long as what was asked, and not there. */
				check((enum ic_kind)i, s, type, IC_HEAD + 8, IC_HEADER + 16, 5);
			}
}

/* What is agreed to: one of each kind, neither none nor more; and they have to be there. */
static void
every_number_of_versions(void **state)
{
	static const uint16_t counts[] = { 0, 1, 2, 3, 0x7fff, 0xffff };
	static const uint32_t lengths[] = { 0, 1, 3, 4, 8, 11, 12, 15, 16, 17, 24 };

	(void)state;
	for (unsigned i = 0; i < IC_KINDS; i++)
		for (size_t f = 0; f < 6; f++)
			for (size_t n = 0; n < 6; n++)
				for (size_t l = 0; l < sizeof(lengths) / sizeof(lengths[0]); l++) {
					enum ic_kind k = (enum ic_kind)i;
					struct ic *c = x.s->ic[i];
					uint8_t *p = fake_ic_payload(&x, k);
					uint32_t len = lengths[l], want;

					go_to(k, NEGOTIATING);
					want = len < 4                        ? IC_NEGOTIATING
					       : !counts[f] || !counts[n]     ? IC_ALONE
					       : len < 16 || f != 1 || n != 1 ? IC_NEGOTIATING
									      : IC_READY;
					if (IC_HEAD + len > x.c[k].len) /* longer than the question */
						want = IC_NEGOTIATING;
					put_le16(p, counts[f]);
					put_le16(p + 2, counts[n]);
					put_le16(p + 8, 3);
					put_le16(p + 10, 0);
					put_le16(p + 12, (uint16_t)(fake_ic_newest(k) >> 16));
					put_le16(p + 14, (uint16_t)fake_ic_newest(k));
					put_le32(x.c[k].message + 4, IC_HEADER + len);
					put_le16(x.c[k].message + IC_PIPE + 10, 0);
					fake_ic_answer(&x, k, 0);
					if (c->state != want)
						fail_msg("component %u: %u and %u versions in %u bytes: %d",
						    i, counts[f], counts[n], len, c->state);
					leave(k);
				}
}

#define unit(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(every_message_in_every_situation_with_every_length),
		unit(every_length_that_a_message_says_of_itself),
		unit(every_number_of_versions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
