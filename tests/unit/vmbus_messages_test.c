/*
 * tests/unit/vmbus_messages_test.c - every message type, known or not, in every state of connection and
 * channel, with every length that matters. Whatever it is: it is counted, what must be answered is answered,
 * and the bus works as before for the next kernel.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/fake_vmbus_device.h"

enum { OUT = 3, IN = 2, VPS = 2, RING = 10, PARTIAL = 11, SPARE = 12 };

/* What the channel, and the connection, may be like when the message comes. */
enum situation {
	DISCONNECTED,
	CONNECTED, /* nobody has asked for offers */
	OFFERED,
	LENT, /* with memory, one list of it in progress */
	OPEN,
	CLOSING,
	REOPENING,
	TAKEN_BACK,
	TAKEN_BACK_CLOSING,
	RELEASED,
	DISCONNECTING,
	CONTACT_WAITS,
	SITUATIONS,
};

struct world {
	struct fake_vmbus f;
	struct fake_device a;
	struct fake_channel c;
};

static void
lend(struct world *w)
{
	uint64_t pfn[27] = { 0 };

	w->c = (struct fake_channel){ .f = &w->f, .relid = 1, .downstream = OUT, .pages = OUT + IN };
	w->c.first = fake_pages(&w->f, OUT + IN);
	for (uint64_t i = 0; i < 27; i++)
		pfn[i] = w->c.first + i;
	assert_int_equal(fake_gpadl_pages(&w->f, 1, RING, pfn, OUT + IN, 0, (OUT + IN) * GMEM_PAGE), 0);
	assert_int_equal(fake_gpadl_pages(&w->f, 1, SPARE, pfn + 8, 1, 0, GMEM_PAGE), 0);
	fake_gpadl_header(&w->f, 1, PARTIAL, pfn, 27, 0, 27 * GMEM_PAGE);
}

static void
say_contact(struct world *w)
{
	struct wire_contact c = fake_contact(w->f.version, 0);

	fake_say(&w->f, &c, sizeof(c));
}

static void
begin(struct world *w, enum situation s, uint32_t version)
{
	struct wire_offer o;

	assert_int_equal(fake_vmbus_init(&w->f, 1, VPS), 0);
	fake_device_init(&w->a, 1, 1);
	assert_int_equal(vmbus_offer_device(w->f.bus, &w->a.d, NULL), 0);
	w->f.version = version;
	w->f.connection = 1;
	if (s >= CONNECTED)
		assert_true(fake_connect(&w->f, version));
	if (s >= OFFERED)
		assert_int_equal(fake_offers(&w->f, &o, 1), 1);
	if (s >= LENT)
		lend(w);
	if (s >= OPEN && s != TAKEN_BACK && s != RELEASED)
		fake_open_again(&w->c, 0, RING);
	w->a.hold = true;
	if (s == CLOSING || s == REOPENING)
		fake_close(&w->c);
	if (s == REOPENING)
		fake_open_again(&w->c, 0, RING);
	if (s == TAKEN_BACK || s == TAKEN_BACK_CLOSING || s == RELEASED)
		vmbus_revoke_device(&w->a.d, NULL);
	if (s == RELEASED)
		fake_say_numbers(&w->f, WIRE_RELID_RELEASED, 12, 1, 0);
	if (s == DISCONNECTING)
		fake_say_numbers(&w->f, WIRE_UNLOAD, 8, 0, 0);
	if (s == CONTACT_WAITS)
		say_contact(w);
	fake_forget(&w->f);
}

static uint64_t
bad(struct world *w)
{
	struct vmbus_stats s;

	vmbus_statistics(w->f.bus, &s);
	return s.messages_bad;
}

/* Devices let go; the next kernel finds the bus as it should be. */
static void
end(struct world *w)
{
	struct wire_offer o;
	struct vmbus_stats s;

	w->a.hold = false;
	fake_let_go(&w->a);
	w->f.next_page = FAKE_FIRST_PAGE;
	assert_true(fake_connect(&w->f, VMBUS_5_3));
	vmbus_statistics(w->f.bus, &s);
	assert_int_equal(s.gpadls, 0);
	assert_int_equal(s.pages, 0);
	assert_int_equal(s.channels_open, 0);
	if (w->a.d.node == NULL)
		assert_int_equal(vmbus_offer_device(w->f.bus, &w->a.d, NULL), 0);
	assert_int_equal(fake_offers(&w->f, &o, 1), 1);
	assert_int_equal(fake_open(&w->f, &w->c, &o, OUT, IN, 0), 0);
	assert_true(fake_shut(&w->c));
	assert_int_equal(w->a.opens, w->a.closes);
	fake_vmbus_free(&w->f);
}

/* The message as it should be; its exact length. */
static size_t
well_formed(uint8_t m[SYNIC_MESSAGE_MAX], uint32_t type, uint32_t version)
{
	union {
		struct wire_head head;
		struct wire_relid relid;
		struct wire_open open;
		struct wire_gpadl_header header;
		struct wire_gpadl_body body;
		struct wire_gpadl_teardown teardown;
		struct wire_contact contact;
		struct wire_modify modify;
	} u;
	size_t len = sizeof(struct wire_head);

	memset(&u, 0, sizeof(u));
	memset(m, 0, SYNIC_MESSAGE_MAX);
	switch (type) {
	case WIRE_OPEN:
		u.open = (struct wire_open){ .relid = 1, .gpadl = RING, .downstream = OUT };
		len = sizeof(u.open);
		break;
	case WIRE_CLOSE:
	case WIRE_RELID_RELEASED:
		u.relid.relid = 1;
		len = sizeof(u.relid);
		break;
	case WIRE_GPADL_HEADER:
		u.header = (struct wire_gpadl_header){
			.relid = 1, .gpadl = 99, .range_bytes = 16, .ranges = 1, .len = GMEM_PAGE
		};
		len = sizeof(u.header);
		break;
	case WIRE_GPADL_BODY:
		u.body.gpadl = PARTIAL;
		len = sizeof(u.body);
		break;
	case WIRE_GPADL_TEARDOWN:
		u.teardown = (struct wire_gpadl_teardown){ .relid = 1, .gpadl = RING };
		len = sizeof(u.teardown);
		break;
	case WIRE_CONTACT:
		u.contact = fake_contact(version, 0);
		len = sizeof(u.contact);
		break;
	case WIRE_MODIFY:
		u.modify = (struct wire_modify){ .relid = 1, .target_vp = 1 };
		len = sizeof(u.modify);
		break;
	case WIRE_TL_CONNECT:
		len = sizeof(struct wire_tl_connect);
		break;
	default:
		break;
	}
	u.head.type = type;
	memcpy(m, &u, sizeof(u) < SYNIC_MESSAGE_MAX ? sizeof(u) : SYNIC_MESSAGE_MAX);
	return len;
}

/* What a whole message brings: the answer's type, 0 for none, and whether it is counted as bad. */
struct reaction {
	uint8_t answer;
	bool bad;
};

#define NONE             \
	{                \
		0, false \
	}
#define BAD             \
	{               \
		0, true \
	}
#define SAYS(t)          \
	{                \
		t, false \
	}
#define SAYS_BAD(t)     \
	{               \
		t, true \
	}

/* For 5.3. Rows are what is not listed: BAD in every situation. */
static const struct {
	uint32_t type;
	struct reaction in[SITUATIONS];
} expected[] = {
	/* DISCONNECTED, CONNECTED, OFFERED, LENT, OPEN, CLOSING, REOPENING, TAKEN_BACK, ..._CLOSING,
	 * RELEASED, DISCONNECTING, CONTACT_WAITS */
	{ WIRE_REQUEST_OFFERS,
	    { BAD, SAYS(WIRE_OFFER), SAYS(WIRE_ALL_OFFERS), SAYS(WIRE_ALL_OFFERS), SAYS(WIRE_ALL_OFFERS),
		SAYS(WIRE_ALL_OFFERS), SAYS(WIRE_ALL_OFFERS), SAYS(WIRE_ALL_OFFERS), SAYS(WIRE_ALL_OFFERS),
		SAYS(WIRE_ALL_OFFERS), BAD, BAD } },
	{ WIRE_OPEN, { BAD, SAYS_BAD(WIRE_OPEN_RESULT), SAYS_BAD(WIRE_OPEN_RESULT), SAYS(WIRE_OPEN_RESULT),
			 SAYS_BAD(WIRE_OPEN_RESULT), NONE, SAYS_BAD(WIRE_OPEN_RESULT), NONE, NONE,
			 SAYS_BAD(WIRE_OPEN_RESULT), BAD, BAD } },
	{ WIRE_CLOSE, { BAD, BAD, BAD, BAD, NONE, BAD, SAYS(WIRE_OPEN_RESULT), NONE, NONE, BAD, BAD, BAD } },
	{ WIRE_GPADL_HEADER, { BAD, SAYS_BAD(WIRE_GPADL_CREATED), NONE, NONE, NONE, NONE, NONE, NONE, NONE,
				 SAYS_BAD(WIRE_GPADL_CREATED), BAD, BAD } },
	{ WIRE_GPADL_BODY, { BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD } },
	{ WIRE_GPADL_TEARDOWN,
	    { BAD, SAYS_BAD(WIRE_GPADL_TORNDOWN), SAYS_BAD(WIRE_GPADL_TORNDOWN), SAYS(WIRE_GPADL_TORNDOWN),
		BAD, NONE, NONE, SAYS(WIRE_GPADL_TORNDOWN), NONE, SAYS_BAD(WIRE_GPADL_TORNDOWN), BAD, BAD } },
	{ WIRE_RELID_RELEASED, { BAD, BAD, BAD, BAD, BAD, BAD, BAD, NONE, NONE, BAD, BAD, BAD } },
	{ WIRE_CONTACT, { SAYS(WIRE_VERSION_RESPONSE), SAYS(WIRE_VERSION_RESPONSE),
			    SAYS(WIRE_VERSION_RESPONSE), SAYS(WIRE_VERSION_RESPONSE), NONE, NONE, NONE,
			    SAYS(WIRE_VERSION_RESPONSE), NONE, SAYS(WIRE_VERSION_RESPONSE), NONE, NONE } },
	{ WIRE_UNLOAD, { SAYS(WIRE_UNLOADED), SAYS(WIRE_UNLOADED), SAYS(WIRE_UNLOADED), SAYS(WIRE_UNLOADED),
			   NONE, NONE, NONE, SAYS(WIRE_UNLOADED), NONE, SAYS(WIRE_UNLOADED), NONE, NONE } },
	{ 18, { BAD, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, BAD, BAD } },
	{ 19, { BAD, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, BAD, BAD } },
	{ 20, { BAD, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, BAD, BAD } },
	{ WIRE_TL_CONNECT, { BAD, SAYS(WIRE_TL_RESULT), SAYS(WIRE_TL_RESULT), SAYS(WIRE_TL_RESULT),
			       SAYS(WIRE_TL_RESULT), SAYS(WIRE_TL_RESULT), SAYS(WIRE_TL_RESULT),
			       SAYS(WIRE_TL_RESULT), SAYS(WIRE_TL_RESULT), SAYS(WIRE_TL_RESULT), BAD, BAD } },
	{ WIRE_MODIFY,
	    { BAD, SAYS_BAD(WIRE_MODIFY_RESULT), SAYS_BAD(WIRE_MODIFY_RESULT), SAYS_BAD(WIRE_MODIFY_RESULT),
		SAYS(WIRE_MODIFY_RESULT), SAYS_BAD(WIRE_MODIFY_RESULT), SAYS_BAD(WIRE_MODIFY_RESULT),
		SAYS(WIRE_MODIFY_RESULT), SAYS(WIRE_MODIFY_RESULT), SAYS_BAD(WIRE_MODIFY_RESULT), BAD,
		BAD } },
};

static struct reaction
expect(uint32_t type, enum situation s)
{
	struct reaction none = BAD;

	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		if (expected[i].type == type)
			return expected[i].in[s];
	return none;
}

static void
try_one(enum situation s, uint32_t type, size_t len, bool whole)
{
	uint8_t m[SYNIC_MESSAGE_MAX];
	struct reaction want = whole ? expect(type, s) : (struct reaction)BAD;
	struct fake_message answer;
	struct world w;
	uint64_t before;

	begin(&w, s, VMBUS_5_3);
	well_formed(m, type, VMBUS_5_3);
	before = bad(&w);
	assert_int_equal(fake_say(&w.f, m, len), 0);
	if (bad(&w) - before != want.bad || fake_hear(&w.f, &answer) != want.answer)
		fail_msg("situation %u, type %u, length %zu: answer %u, %u bad", s, type, len,
		    answer.head.type, (unsigned)(bad(&w) - before));
	end(&w);
}

static void
every_message_in_every_situation_with_every_length(void **state)
{
	(void)state;
	for (unsigned s = 0; s < SITUATIONS; s++)
		for (uint32_t type = 0; type <= WIRE_TYPES + 1; type++) {
			uint8_t m[SYNIC_MESSAGE_MAX];
			size_t exact = well_formed(m, type, VMBUS_5_3);

			try_one(s, type, 0, false);
			try_one(s, type, 1, false);
			try_one(s, type, exact - 1, false);
			try_one(s, type, exact, true);
			try_one(s, type, exact + 1, true);
			/* With page numbers in them these two are more than they were. */
			if (type != WIRE_GPADL_HEADER && type != WIRE_GPADL_BODY)
				try_one(s, type, SYNIC_MESSAGE_MAX, true);
		}
}

/* The same without a judgement, in each version, with numbers that are near. */
static void
no_version_and_no_number_upsets_the_bus(void **state)
{
	static const uint32_t version[] = { VMBUS_0_13, VMBUS_1_1, VMBUS_2_4, VMBUS_3_0, VMBUS_4_0, VMBUS_4_1,
		VMBUS_5_0, VMBUS_5_1, VMBUS_5_2, VMBUS_5_3 };
	static const uint32_t number[] = { 0, 1, 2, RING, PARTIAL, 2047, 2048, UINT32_MAX };

	(void)state;
	for (size_t v = 0; v < sizeof(version) / sizeof(version[0]); v++)
		for (unsigned s = 0; s < SITUATIONS; s++) {
			struct world w;

			begin(&w, s, version[v]);
			for (uint32_t type = 0; type <= WIRE_TYPES; type++)
				for (size_t i = 0; i < sizeof(number) / sizeof(number[0]); i++) {
					uint8_t m[SYNIC_MESSAGE_MAX];
					size_t exact = well_formed(m, type, version[v]);

					if (type == WIRE_CONTACT || type == WIRE_UNLOAD)
						continue; /* they would end the situation */
					memcpy(m + 8, &number[i], sizeof(number[i]));
					fake_say(&w.f, m, exact);
					fake_say(&w.f, m, SYNIC_MESSAGE_MAX);
				}
			fake_forget(&w.f);
			end(&w);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message_in_every_situation_with_every_length),
		cmocka_unit_test(no_version_and_no_number_upsets_the_bus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
