/*
 * tests/unit/net_table_test.c - what a network adapter is told, as tables: every NVSP message, every RNDIS
 * message and every OID, in every state, with every length that matters and every count at nothing, one, the
 * most and one more; and what each is answered.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/log.h"
#include "tests/unit/fake_net.h"

enum { MTU = 1500, LONG = 96, CONTROL_MOST = 1024, SET_HEAD = 28, SET_MOST = CONTROL_MOST - SET_HEAD };
enum status { NONE = 0, GOOD = 1, FAIL = 2, TOO_OLD = 4, INVALID = 5 }; /* of NVSP */
#define OK            0u
#define NOT_SUPPORTED 0xc00000bbu
#define LENGTH        0xc0010014u
#define INVALID_DATA  0xc0010015u

static struct fake_net x;
static uint8_t frame[2048], message[4096], got[FAKE_MAX_FRAME], vnet[FAKE_VNET];

static int
setup(void **state)
{
	(void)state;
	log_open("test", 2, LOG_ERROR);
	fake_net_init(&x, NULL);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fake_net_free(&x);
	return 0;
}

/* --- states -------------------------------------------------------------------------------------------- */

enum situation { START, AGREED_OLD, AGREED, LENT_RECEIVE, BUFFERS, READY, SPREAD, HALTED, SITUATIONS };

static void
go_to(enum situation s)
{
	uint8_t halt[12] = { 3 }, answer[1024];

	vmbus_reset(x.f.bus);
	assert_true(fake_net_run(&x));
	x.f.next_page = FAKE_FIRST_PAGE;
	fake_forget(&x.f);
	assert_true(fake_net_open(&x));
	if (s == AGREED_OLD)
		assert_true(fake_nvsp_numbers(&x, 1, 2, 2, 0));
	if (s == AGREED || s == LENT_RECEIVE)
		assert_true(fake_nvsp_numbers(&x, 1, 0x60001, 0x60001, 0));
	if (s == LENT_RECEIVE) {
		x.receive = fake_net_lend(&x, FAKE_RECEIVE, FAKE_RECEIVE_PAGES);
		assert_true(fake_nvsp_numbers(&x, 101, x.receive, FAKE_RECEIVE_ID, 0));
	}
	if (s >= BUFFERS)
		assert_true(fake_net_agree(&x, 0x60001, MTU));
	if (s >= READY)
		assert_true(fake_rndis_initialize(&x));
	if (s == SPREAD) {
		assert_true(fake_net_subchannels(&x, 1));
		fake_net_recv(&x, 0, &(struct packet_head){ 0 }); /* the send table */
	}
	if (s == HALTED)
		fake_rndis(&x, halt, sizeof(halt), answer);
}

static void
serves_the_next_driver(void)
{
	go_to(READY);
	assert_true(fake_filter(&x, 9));
	memset(frame, 0x5a, 100);
	memcpy(frame + 6, x.config.mac, 6);
	assert_int_equal(
	    fake_net_send(&x, 0, FAKE_DATA, message, fake_packet(message, NULL, 0, frame, 100)), GOOD);
	assert_int_equal(fake_net_sent(&x, 0, vnet, got, sizeof(got)), 100);
}

/* --- NVSP ---------------------------------------------------------------------------------------------- */

/* Which are right, when, and how long they are; what they are answered when they are not. */
#define AT(s) (1u << (s))
#define SINCE_AGREED \
	(AT(AGREED_OLD) | AT(AGREED) | AT(LENT_RECEIVE) | AT(BUFFERS) | AT(READY) | AT(SPREAD) | AT(HALTED))
#define NEW (SINCE_AGREED & ~AT(AGREED_OLD))

static const struct row {
	uint32_t type;
	unsigned when; /* situations in which the right message is no mistake */
	uint32_t least;
	uint32_t answer; /* type; 0: an empty one */
	uint32_t status_at;
	enum status refused;
} rows[] = {
	{ 1, AT(START), 12, 2, 12, FAIL }, { 100, SINCE_AGREED, 12, 0, 0, NONE },
	{ 125, NEW, 20, 0, 0, NONE }, { 101, AT(AGREED_OLD) | AT(AGREED), 10, 102, 4, FAIL },
	{ 103, SINCE_AGREED, 6, 0, 0, NONE },
	{ 104, AT(AGREED_OLD) | AT(AGREED) | AT(LENT_RECEIVE), 10, 105, 4, FAIL },
	{ 106, SINCE_AGREED, 6, 0, 0, NONE }, { 129, NEW, 8, 0, 0, NONE },
	{ 133, AT(BUFFERS) | AT(READY) | AT(HALTED) | AT(LENT_RECEIVE), 12, 133, 4, FAIL },
	{ 107, 0, 16, 108, 4, INVALID }, /* of no memory */
};

static const struct row *
row_of(uint32_t type)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].type == type)
			return &rows[i];
	return NULL;
}

/* The one completion that the message gets: its status, NONE when it has none. */
static enum status
answered(unsigned channel, const uint8_t *m, uint32_t len, const struct row *r)
{
	struct packet_head h;
	unsigned n = 0, type;
	enum status status = NONE;

	assert_true(fake_send(&x.c[channel], PACKET_INBAND, PACKET_WANTS_REPLY, 9, NULL, 0, m, len));
	assert_true(fake_net_run(&x));
	while ((type = fake_net_recv(&x, channel, &h)) != 0) {
		if (type == PACKET_XFER_PAGES)
			fake_net_complete(&x, channel, h.transaction);
		if (type != PACKET_COMPLETION)
			continue;
		n++;
		assert_int_equal(h.transaction, 9);
		assert_int_equal(get_le32(x.nvsp), r ? r->answer : 0);
		if (r && r->answer)
			status = (enum status)get_le32(x.nvsp + r->status_at);
	}
	assert_int_equal(n, 1);
	return status;
}

static void
every_nvsp_message_in_every_situation_with_every_length(void **state)
{
	(void)state;
	for (enum situation s = 0; s < SITUATIONS; s++)
		for (uint32_t t = 0; t < 145; t++) {
			uint32_t type = t == 144 ? UINT32_MAX : t;
			const struct row *r = row_of(type);
			uint32_t exact = r ? r->least : 40;
			const uint32_t lengths[] = { 0, 1, 4, exact - 1, exact, exact + 1, exact + 8, 40, 41,
				LONG };

			if (t == 3)
				t = 95; /* those between are like it */
			go_to(s);
			for (size_t i = 0; i < 2 * sizeof(lengths) / sizeof(lengths[0]); i++) {
				uint32_t len = lengths[i / 2];
				uint8_t m[LONG];
				struct net_stats was, is;
				enum status status;

				memset(m, i % 2 ? 0xff : 0, sizeof(m));
				put_le32(m, type);
				net_statistics(x.n, &was);
				/* What is not there is zeros. */
				status = answered(
				    0, m, len, len < 4 ? row_of(type & ((1u << 8 * len) - 1)) : r);
				net_statistics(x.n, &is);
				if (r && r->answer && len >= 4 && status != r->refused &&
				    !(type == 1 && s == START && len >= exact - 3))
					fail_msg("situation %d type %u length %u: %d", s, type, len, status);
				assert_int_equal(is.version, was.version);
				assert_int_equal(is.ready, was.ready);
				assert_int_equal(is.channels, was.channels);
				if (!r || type != 125)
					assert_int_equal(is.mtu, was.mtu);
			}
		}
	serves_the_next_driver();
}

/* The right message, with something in it: it works where it may, and is refused where it may not. */
static void
every_right_message_works_in_its_time_alone(void **state)
{
	(void)state;
	for (enum situation s = 0; s < SITUATIONS; s++)
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
			const struct row *r = &rows[i];
			/* A ring counts in units of 8 bytes: what lies between them cannot be told apart. */
			const uint32_t lengths[] = { 4, (r->least - 1) / 8 * 8, r->least, r->least + 1, 40 };

			for (size_t l = 0; r->answer && l < sizeof(lengths) / sizeof(lengths[0]); l++) {
				uint8_t m[LONG] = { 0 };
				bool right = (r->when & AT(s)) && lengths[l] >= r->least;
				uint32_t gpadl = 0;

				go_to(s);
				if (r->type == 101 || r->type == 104)
					gpadl = fake_net_lend(&x, FAKE_SEND + (32 << 12), 16);
				put_le32(m, r->type);
				put_le32(m + 4, r->type == 1 ? 0x60001 : gpadl ? gpadl : 1);
				put_le32(m + 8, r->type == 1 ? 0x60001 : 1);
				if (r->type == 107)
					put_le32(m + 8, UINT32_MAX);
				if ((answered(0, m, lengths[l], r) == GOOD) != right)
					fail_msg("situation %d type %u length %u", s, r->type, lengths[l]);
			}
		}
	serves_the_next_driver();
}

static void
a_sub_channel_carries_frames_alone(void **state)
{
	uint8_t v[1024];
	uint32_t before, after;

	(void)state;
	go_to(SPREAD);
	assert_int_equal(
	    fake_query(&x, 0xfc01020d, v, &before), OK); /* as long as its version of NDIS has it */
	for (uint32_t type = 0; type < 145; type++) {
		const struct row *r = row_of(type);
		uint8_t m[40] = { 0 };

		put_le32(m, type);
		put_le32(m + 4, type == 1 ? 0x60001 : type == 100 ? 6 : type == 103 ? FAKE_RECEIVE_ID : 1);
		put_le32(m + 8, type == 1 ? 0x60001 : type == 100 ? 0 : UINT32_MAX);
		assert_int_equal(answered(1, m, sizeof(m), r), r ? r->refused : NONE);
	}
	assert_int_equal(fake_query(&x, 0xfc01020d, v, &after), OK);
	assert_int_equal(after, before);
	serves_the_next_driver();
}

static void
sub_channels_are_counted(void **state)
{
	static const struct {
		uint32_t asked, granted;
	} counts[] = { { 0, 0 }, { 1, 1 }, { FAKE_NET_VPS - 1, FAKE_NET_VPS - 1 },
		{ FAKE_NET_VPS, FAKE_NET_VPS - 1 }, { UINT32_MAX, FAKE_NET_VPS - 1 } };

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		for (enum situation s = LENT_RECEIVE; s <= READY; s++) {
			go_to(s);
			assert_true(fake_nvsp_numbers(&x, 133, 1, counts[i].asked, 0));
			assert_int_equal(get_le32(x.nvsp + 4), counts[i].granted ? GOOD : FAIL);
			assert_int_equal(get_le32(x.nvsp + 8), counts[i].granted);
		}
	serves_the_next_driver();
}

/* --- RNDIS --------------------------------------------------------------------------------------------- */

static const struct {
	uint32_t type, least;
	bool always; /* else after INITIALIZE alone */
	uint32_t answer;
} controls[] = {
	{ 2, 24, true, 52 },
	{ 3, 12, false, 0 },
	{ 4, 28, false, 24 },
	{ 5, 28, false, 16 },
	{ 6, 12, false, 16 },
	{ 8, 12, false, 16 },
};
enum { CONTROLS = sizeof(controls) / sizeof(controls[0]) };

/* A control message in `there` bytes that says it has `len`: its status; *answer: the answer's bytes, 0:
 * none. */
static enum status
say_control(uint32_t type, uint32_t len, uint32_t there, uint32_t *answer, uint32_t *answer_type)
{
	uint8_t m[2 * CONTROL_MOST] = { 0 };
	struct packet_head h;
	enum status status = NONE;
	unsigned kind;

	put_le32(m, type);
	put_le32(m + 4, len);
	gmem_write(x.f.mem, FAKE_CONTROL, m, sizeof(m));
	assert_true(fake_rndis_send(&x, 0, 1, 9, FAKE_CONTROL, there));
	assert_true(fake_net_run(&x));
	*answer = *answer_type = 0;
	while ((kind = fake_net_recv(&x, 0, &h)) != 0) {
		if (kind == PACKET_COMPLETION)
			status = (enum status)get_le32(x.nvsp + 4);
		if (kind != PACKET_XFER_PAGES)
			continue;
		*answer = x.range[0].len;
		*answer_type = get_le32(fake_net_received(&x, 0));
		fake_net_complete(&x, 0, h.transaction);
	}
	return status;
}

static void
every_control_message_in_every_state_with_every_length(void **state)
{
	static const enum situation situations[] = { LENT_RECEIVE, BUFFERS, READY, SPREAD, HALTED };

	(void)state;
	for (size_t s = 0; s < sizeof(situations) / sizeof(situations[0]); s++)
		for (uint32_t type = 0; type < 12; type++) {
			bool ready = situations[s] == READY || situations[s] == SPREAD;
			size_t k = 0;
			uint32_t least;

			while (k < CONTROLS && controls[k].type != type)
				k++;
			least = k < CONTROLS ? controls[k].least : 12;
			const uint32_t lengths[] = { 0, 1, 8, 11, 12, least - 1, least, least + 1,
				CONTROL_MOST - 1, CONTROL_MOST, CONTROL_MOST + 1, UINT32_MAX };

			for (size_t i = 0; i < 3 * sizeof(lengths) / sizeof(lengths[0]); i++) {
				uint32_t len = lengths[i / 3], answer, kind,
					 there = i % 3 == 0   ? len
						 : i % 3 == 1 ? len - 1
							      : len + 1;
				bool good;
				enum status status;

				if (there < 1 || there > CONTROL_MOST + 2)
					there = CONTROL_MOST + 2;
				good = k < CONTROLS && len >= least && len <= CONTROL_MOST && there >= len &&
				       (ready || controls[k].always);
				go_to(situations[s]);
				status = say_control(type, len, there, &answer, &kind);
				if (status != (good ? GOOD : INVALID) ||
				    (answer != 0) != (good && controls[k].answer))
					fail_msg("situation %d type %u length %u of %u: %d, %u bytes",
					    situations[s], type, len, there, status, answer);
				if (answer) {
					assert_int_equal(kind, type | 0x80000000u);
					assert_true(answer >= controls[k].answer);
				}
			}
		}
	serves_the_next_driver();
}

/* --- OIDs ---------------------------------------------------------------------------------------------- */

static uint32_t
set_length(uint32_t oid, const uint8_t *v, uint32_t len, uint32_t says)
{
	uint8_t m[CONTROL_MOST] = { 5 }, a[1024];

	put_le32(m + 8, 4711);
	put_le32(m + 12, oid);
	put_le32(m + 16, says);
	put_le32(m + 20, 20);
	memcpy(m + SET_HEAD, v, len);
	assert_int_equal(fake_rndis(&x, m, SET_HEAD + len, a), 16);
	assert_int_equal(get_le32(a + 8), 4711);
	return get_le32(a + 12);
}

/* With zeros, or with the byte that says what it is, if it has one. */
static uint32_t
set_expected(uint32_t oid, uint32_t len, bool object)
{
	switch (oid) {
	case 0x1010e: /* filter */
		return len < 4 ? LENGTH : OK;
	case 0x1010103: /* multicast list */
		return len % 6 || len > 6 * 32 ? LENGTH : OK;
	case 0x1021b: /* a parameter without a name */
		return len < 20 ? LENGTH : NOT_SUPPORTED;
	case 0x10204: /* receive scaling */
		return len < 28 ? LENGTH : object ? OK : INVALID_DATA;
	case 0xfc01020c: /* offloads */
		return len < 16 ? LENGTH : object ? OK : INVALID_DATA;
	case 0x1010f:
	case 0x10118:
	case 0x10208:
	case 0x101010a:
	case 0xfd010101:
		return OK;
	default:
		return NOT_SUPPORTED;
	}
}

static void
every_oid_is_set_with_every_length(void **state)
{
	static const uint32_t exact[] = { 4, 6, 16, 20, 28, 6 * 32, SET_MOST };
	uint8_t list[1024], v[CONTROL_MOST];
	uint32_t n = 0;

	(void)state;
	go_to(READY);
	assert_int_equal(fake_query(&x, 0x10101, list, &n), OK);
	put_le32(list + n, 0x12345678); /* and one that there is not */
	for (uint32_t at = 0; at <= n; at += 4) {
		uint32_t oid = get_le32(list + at);

		for (size_t i = 0; i < 6 * sizeof(exact) / sizeof(exact[0]); i++) {
			const uint32_t lengths[] = { 0, 1, exact[i / 6] - 1, exact[i / 6], exact[i / 6] + 1,
				exact[i / 6] + 6 };
			uint32_t len = lengths[i % 6] <= SET_MOST ? lengths[i % 6] : SET_MOST;

			for (unsigned object = 0; object < 2; object++) {
				uint32_t status;

				memset(v, 0, sizeof(v));
				if (object)
					v[0] = oid == 0x10204 ? 0x89 : oid == 0xfc01020c ? 0x80 : 0;
				status = set_length(oid, v, len, len);
				if (status != set_expected(oid, len, object))
					fail_msg("OID %x length %u: %x", oid, len, status);
			}
			assert_int_equal(set_length(oid, v, len, SET_MOST + 1), INVALID_DATA);
			assert_int_equal(set_length(oid, v, len, UINT32_MAX), INVALID_DATA);
		}
	}
	serves_the_next_driver();
}

static void
every_oid_is_asked_with_every_length(void **state)
{
	static const uint32_t lengths[] = { 0, 1, 3, 4, 5, 111, 112, 113, 156, SET_MOST },
			      not_asked[] = { 0x10118, 0x10204, 0x10208, 0x1021b, 0x101010a, 0xfc01020c,
				      0xfd010101, 0x12345678 };
	uint8_t list[1024], a[1024];
	uint32_t n = 0;

	(void)state;
	go_to(READY);
	assert_int_equal(fake_query(&x, 0x10101, list, &n), OK);
	put_le32(list + n, 0x12345678);
	for (uint32_t at = 0; at <= n; at += 4)
		for (size_t i = 0; i < 2 * sizeof(lengths) / sizeof(lengths[0]); i++) {
			uint8_t m[CONTROL_MOST] = { 4 };
			uint32_t oid = get_le32(list + at), got_len, want = OK;

			memset(m + SET_HEAD, i % 2 ? 0xff : 0, SET_MOST);
			put_le32(m + 12, oid);
			put_le32(m + 16, lengths[i / 2]);
			put_le32(m + 20, 20);
			got_len = fake_rndis(&x, m, SET_HEAD + lengths[i / 2], a);
			for (size_t k = 0; k < sizeof(not_asked) / sizeof(not_asked[0]); k++)
				want = not_asked[k] == oid ? NOT_SUPPORTED : want;
			if (get_le32(a + 12) != want || got_len != 24 + get_le32(a + 16))
				fail_msg("OID %x length %u: %x", oid, lengths[i / 2], get_le32(a + 12));
			assert_int_equal(want != OK || oid == 0x1010103, get_le32(a + 16) == 0);
		}
	serves_the_next_driver();
}

static void
what_receive_scaling_counts(void **state)
{
	static const struct {
		uint32_t entries, key;
		bool good;
	} counts[] = { { 0, 0, true }, { 1, 1, true }, { 128, 40, true }, { 129, 40, false },
		{ 128, 41, false }, { 0x3fff, 0, false }, { 0, 0xffff, false } };
	uint8_t v[28 + 48 + 4 * 130] = { 0x89 };

	(void)state;
	go_to(READY);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		for (int last = -1; last < 2;
		     last++) { /* the last entry is of no channel, of the last, the first */
			uint32_t size = 4 * counts[i].entries;
			bool bad = last < 0 && counts[i].entries;

			memset(v + 28 + 48, 0, sizeof(v) - 28 - 48);
			put_le32(v + 8, 0x1701);
			put_le16(v + 12, (uint16_t)size);
			put_le32(v + 16, 28 + 48);
			put_le16(v + 20, (uint16_t)counts[i].key);
			put_le32(v + 24, 28);
			if (counts[i].entries && counts[i].entries <= 130)
				put_le32(v + 28 + 48 + size - 4, last < 0 ? FAKE_NET_VPS
								 : last   ? FAKE_NET_VPS - 1
									  : 0);
			assert_int_equal(set_length(0x10204, v, sizeof(v), sizeof(v)),
			    counts[i].good && !bad ? OK : INVALID_DATA);
		}
	serves_the_next_driver();
}

/* --- frames -------------------------------------------------------------------------------------------- */

static void
the_frames_of_a_packet_are_counted(void **state)
{
	static const unsigned counts[] = { 0, 1, 2, 128, 129, 140 };

	(void)state;
	go_to(READY);
	memset(frame, 0x5a, 60);
	memcpy(frame + 6, x.config.mac, 6);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		static uint8_t all[140 * 128];
		uint32_t len = 0, status;
		unsigned sent = 0;

		for (unsigned k = 0; k < counts[i]; k++)
			len += fake_packet(all + len, NULL, 0, frame, 60);
		status = fake_net_send(&x, 0, FAKE_DATA, all, len);
		while (fake_net_sent(&x, 0, vnet, got, sizeof(got)) >= 0)
			sent++;
		assert_int_equal(status, counts[i] && counts[i] <= 128 ? GOOD : INVALID);
		assert_int_equal(sent, counts[i] <= 128 ? counts[i] : sent <= 128 ? sent : 0);
	}
	serves_the_next_driver();
}

#define unit(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(every_nvsp_message_in_every_situation_with_every_length),
		unit(every_right_message_works_in_its_time_alone),
		unit(a_sub_channel_carries_frames_alone),
		unit(sub_channels_are_counted),
		unit(every_control_message_in_every_state_with_every_length),
		unit(every_oid_is_set_with_every_length),
		unit(every_oid_is_asked_with_every_length),
		unit(what_receive_scaling_counts),
		unit(the_frames_of_a_packet_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
