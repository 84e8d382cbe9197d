/*
 * tests/unit/worker_ic_test.c - a worker's integration components as its controller sees them: what it asks,
 * what it is told, with the components' own thread. The guest's drivers work blind: what the host says on the
 * bus goes to a message page that is not there.
 */
#include "tests/unit/worker_guest.h"

#include <sys/mman.h>

/* Relids go by the devices' types. */
enum { SHUTDOWN = 1, FCOPY, VSS, HEARTBEAT, TIME, KVP, HEAD = 28 };

#define MACHINE(ics) DOCUMENT(SMALL, ",\"Devices\":{\"IntegrationServices\":{" ics "}}")
#define ALL                                                                                           \
	"\"Heartbeat\":true,\"Shutdown\":true,\"TimeSynchronization\":true,\"KeyValuePairExchange\":" \
	"true,\"VSS\":true,\"GuestServiceInterface\":true,\"TimeAtBoot\":false"

static struct fake_channel channel[KVP + 1];
static uint8_t message[KVP + 1][20000];

/* What the loop does when an I/O thread has news, until the controller hears of `text`. */
static void
expect_event(const char *text)
{
	for (int i = 0; i < 5000; i++) {
		turn();
		while (fake_told(&f)[0])
			if (strstr(f.heard, "\"integration\"") && strstr(f.heard, text))
				return;
	}
	fail_msg("the controller has not heard of %s", text);
}

static int
setup_with(void **state, const char *document)
{
	setup(state);
	create(document);
	return good("start", "{}", -1) ? 0 : -1;
}

static int
setup_all(void **state)
{
	return setup_with(state, MACHINE(ALL));
}

static int
setup_without(void **state)
{
	return setup_with(state, MACHINE(""));
}

/* The next question's payload. */
static uint8_t *
take(uint32_t relid)
{
	await_packet(&channel[relid], message[relid], sizeof(message[relid]));
	return message[relid] + HEAD;
}

static void
answer(uint32_t relid, uint32_t status)
{
	uint8_t *m = message[relid];

	put_le32(m + 8 + 12, status);
	m[8 + 17] = 5;
	assert_true(fake_send(&channel[relid], PACKET_INBAND, 0, 1, NULL, 0, m, get_le32(m + 4) + 8));
	kick(relid);
}

static void
open_channel(uint32_t relid, uint16_t major, uint16_t minor)
{
	uint8_t *p;

	channel[relid] = open_rings(relid);
	p = take(relid);
	put_le16(p, 1);
	put_le16(p + 2, 1);
	put_le16(p + 8, 3);
	put_le16(p + 10, 0);
	put_le16(p + 12, major);
	put_le16(p + 14, minor);
	put_le16(message[relid] + 8 + 10, 16);
	answer(relid, 0);
}

static void
the_controller_hears_the_heart(void **state)
{
	uint8_t *p;

	(void)state;
	connect_guest();
	open_channel(HEARTBEAT, 3, 0);
	p = take(HEARTBEAT);
	p[0]++;
	p[8] = 1;
	answer(HEARTBEAT, 0);
	expect_event("\"Applications\":\"Healthy\"");
	assert_true(good("ic.list", "{}", -1));
	assert_true(heard("\"Component\":\"Heartbeat\",\"Enabled\":true,\"State\":\"Ok\",\"Version\":\"3.0\","
			  "\"There\":true"));
	assert_true(good("power_off", "{}", -1));
	expect_event("\"There\":false");
}

static void
shutting_down_is_asked_and_answered(void **state)
{
	(void)state;
	assert_false(good("guest.shutdown", "{}", -1));
	assert_true(heard("Shutdown: the guest does not answer it"));
	connect_guest();
	open_channel(SHUTDOWN, 3, 2);
	for (int i = 0; !good("guest.shutdown", "{\"Kind\":\"Reboot\",\"Force\":true,\"Reason\":\"x\"}", -1);
	     i++) {
		assert_in_range(i, 0, 5000); /* until versions are agreed on */
		poll(NULL, 0, 1);
	}
	assert_int_equal(get_le32(take(SHUTDOWN) + 8), 3);
	answer(SHUTDOWN, 0x80004005);
	expect_event(
	    "\"Operation\":\"guest.shutdown\",\"Error\":\"the guest says that it failed\",\"Status\":"
	    "\"0x80004005\"");
	assert_true(good("pause", "{}", -1));
	assert_false(good("guest.shutdown", "{}", -1));
	assert_true(heard("the machine is Paused, not Running"));
}

static void
facts_are_kept_and_told(void **state)
{
	uint8_t *p;

	(void)state;
	assert_true(good("kvp.set", "{\"Pool\":\"Host\",\"Key\":\"HostName\",\"Value\":\"h\"}", -1));
	assert_true(heard("\"changed\":true"));
	assert_true(good("kvp.get", "{\"Pool\":\"Host\",\"Key\":\"HostName\"}", -1));
	assert_true(heard("\"Told\":false"));
	connect_guest();
	open_channel(KVP, 4, 0);
	assert_int_equal(take(KVP)[0], 1);
	answer(KVP, 0);
	p = take(KVP);
	assert_int_equal(p[0], 3);
	put_le32(p + 8, 1);
	put_le32(p + 12, 4);
	put_le32(p + 16, 4);
	p[20] = 'k';
	p[20 + 512] = 'v';
	answer(KVP, 0);
	for (int i = 0; i < 2; i++) {
		take(KVP);
		answer(KVP, 0x80070103);
	}
	expect_event("\"GuestFacts\"");
	assert_true(good("kvp.enumerate", "{\"Pool\":\"Intrinsic\"}", -1));
	assert_true(heard("\"Items\":[{\"Key\":\"k\",\"Value\":\"v\",\"Told\":false}],\"Total\":1"));
	assert_true(good("kvp.get", "{\"Pool\":\"Host\",\"Key\":\"HostName\"}", -1));
	assert_true(heard("\"Told\":true"));
	assert_true(good("kvp.enumerate", "{\"Pool\":\"Guest\",\"Refresh\":true}", -1));
	assert_true(good("guest.ip.get", "{\"Adapter\":\"00:15:5d:00:00:01\"}", -1));
	for (int i = 0; i < 2; i++) {
		take(KVP);
		answer(KVP, 0x80070103);
	}
	p = take(KVP);
	assert_int_equal(p[0], 4);
	p[260] = ':';
	answer(KVP, 0);
	expect_event(
	    "\"Ip\":{\"Adapter\":\"00:15:5d:00:00:01\",\"Family\":\"IPv4\",\"Dhcp\":false,\"Addresses\":"
	    "\":\"");
	assert_false(good("kvp.set", "{\"Pool\":\"Guest\",\"Key\":\"k\",\"Value\":\"v\"}", -1));
	assert_true(good("kvp.delete", "{\"Pool\":\"Host\",\"Key\":\"HostName\"}", -1));
}

static void
files_are_copied_and_the_guest_is_frozen(void **state)
{
	int fd = memfd_create("source", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(write(fd, "hello", 5), 5);
	connect_guest();
	open_channel(FCOPY, 1, 1);
	open_channel(VSS, 5, 0);
	for (int i = 0; !good("guest.copy", "{\"File\":0,\"Name\":\"n\",\"Path\":\"/p\"}", dup(fd)); i++) {
		assert_in_range(i, 0, 5000);
		poll(NULL, 0, 1);
	}
	for (uint32_t op = 0; op < 3; op++) {
		uint8_t *p = take(FCOPY);

		assert_int_equal(get_le32(p), op);
		if (op == 1)
			assert_memory_equal(p + 52, "hello", 5);
		answer(FCOPY, 0);
		if (op == 1)
			expect_event("\"Copying\"");
	}
	expect_event("\"Operation\":\"guest.copy\"}");
	while (!good("guest.freeze", "{\"TimeLimit\":1}", -1))
		poll(NULL, 0, 1);
	for (unsigned i = 0; i < 2; i++) {
		take(VSS);
		answer(VSS, 0);
	}
	expect_event("\"guest.freeze\"}");
	assert_false(good("ic.set", "{\"Component\":\"VSS\",\"Enabled\":false}", -1));
	assert_int_equal(take(VSS)[0], 6); /* a second later, by itself */
	answer(VSS, 0);
	expect_event("\"guest.thaw\"}");
	close(fd);
}

static void
the_clock_is_set_when_it_goes_on(void **state)
{
	(void)state;
	connect_guest();
	open_channel(TIME, 4, 0);
	assert_true(good("ic.list", "{}", -1));
	while (!good("guest.time.sync", "{}", -1))
		poll(NULL, 0, 1);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(take(TIME)[16], i + 1);
		answer(TIME, 0);
	}
	expect_event("\"guest.time.sync\"}");
	assert_true(good("pause", "{}", -1) && good("resume", "{}", -1));
	assert_int_equal(take(TIME)[16], 1);
}

static void
components_are_switched(void **state)
{
	(void)state;
	connect_guest();
	open_channel(HEARTBEAT, 3, 0);
	assert_true(good("ic.set", "{\"Component\":\"Heartbeat\",\"Enabled\":false}", -1));
	assert_true(heard("\"changed\":true"));
	assert_int_equal(channels_open(), 0);
	assert_true(good("ic.list", "{}", -1));
	assert_true(heard("\"Component\":\"Heartbeat\",\"Enabled\":false"));
	assert_true(good("ic.set", "{\"Component\":\"Heartbeat\",\"Enabled\":false}", -1));
	assert_true(heard("\"changed\":false"));
	assert_true(good("ic.set", "{\"Component\":\"Heartbeat\",\"Enabled\":true}", -1));
	assert_true(heard("\"changed\":true"));
}

/* A guest that starts again finds them as they were in the beginning. */
static void
a_reset_closes_them(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		connect_guest();
		open_channel(HEARTBEAT, 3, 0);
		take(HEARTBEAT);
		assert_true(good("reset", "{}", -1));
		assert_int_equal(channels_open(), 0);
	}
}

/* The channel, what was agreed on and the number of the last heartbeat are those that it was saved with. */
static void
a_guest_goes_on_in_another_worker(void **state)
{
	int stream = memfd_create("state", MFD_CLOEXEC);
	uint8_t *p;

	(void)state;
	connect_guest();
	open_channel(HEARTBEAT, 3, 0);
	for (unsigned i = 0; i < 2; i++) {
		p = take(HEARTBEAT);
		assert_int_equal(get_le64(p), i);
		p[0]++;
		answer(HEARTBEAT, 0);
	}
	expect_event("\"There\":true");
	for (int i = 0; !good("ic.list", "{}", -1) || !heard("\"Answered\":2"); i++) {
		assert_in_range(
		    i, 0, 5000); /* else the second heartbeat would be open, and negotiated anew */
		poll(NULL, 0, 1);
	}
	assert_true(good("save", "{\"Stream\":0}", dup(stream)));
	fake_worker_free(&f);
	fake_worker_init(&f);
	lseek(stream, 0, SEEK_SET);
	assert_says(restore(MACHINE(ALL), stream), "\"result\"");
	guest.bus = f.w.p->vmbus;
	guest.mem = f.w.p->mem;
	channel[HEARTBEAT] = map_rings(HEARTBEAT);
	assert_true(good("ic.list", "{}", -1));
	assert_true(
	    heard("\"Component\":\"Heartbeat\",\"Enabled\":true,\"State\":\"Ok\",\"Version\":\"3.0\""));
	assert_true(good("resume", "{}", -1));
	p = take(HEARTBEAT);
	assert_int_equal(get_le64(p), 2);
	p[0]++;
	answer(HEARTBEAT, 0);
}

/* The document and the requests call a component the same. */
static void
the_document_names_each(void **state)
{
	(void)state;
	for (unsigned i = 0; i < IC_KINDS; i++) {
		struct machine m;
		char text[600];
		json_t *doc;

		snprintf(text, sizeof(text),
		    "{\"ConfigurationVersion\":1,\"Id\":\"01234567-89ab-cdef-0123-456789abcdef\","
		    "\"Name\":\"t\",\"Memory\":{\"SizeInMB\":32},\"Devices\":{\"IntegrationServices\":{"
		    "\"%s\":true,\"TimeAtBoot\":false,\"TimeSampleInSeconds\":5,\"FactsInSeconds\":6}}}",
		    ic_names[i]);
		doc = schema_parse(text, strlen(text), NULL);
		machine_defaults(&m);
		assert_int_equal(schema_read(machine_fields, doc, NULL, &m, NULL), 0);
		for (unsigned k = 0; k < IC_KINDS; k++)
			assert_int_equal(m.ic.on[k], k == i);
		assert_false(m.ic.time_at_boot);
		assert_true(m.ic.time_at_resume && m.ic.time_at_step);
		assert_int_equal(m.ic.time_sample_s, 5);
		assert_int_equal(m.ic.facts_s, 6);
		json_decref(doc);
	}
}

static void
a_machine_may_have_none(void **state)
{
	(void)state;
	assert_false(good("ic.list", "{}", -1));
	assert_true(heard("without integration components"));
	assert_false(good("guest.copy", "{\"File\":0,\"Name\":\"n\",\"Path\":\"/p\"}", memfd_create("x", 0)));
	assert_false(good("kvp.get", "{\"Pool\":\"Host\",\"Key\":\"k\"}", -1));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_all, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_controller_hears_the_heart),
		TEST(shutting_down_is_asked_and_answered),
		TEST(facts_are_kept_and_told),
		TEST(files_are_copied_and_the_guest_is_frozen),
		TEST(the_clock_is_set_when_it_goes_on),
		TEST(components_are_switched),
		TEST(a_reset_closes_them),
		TEST(a_guest_goes_on_in_another_worker),
		cmocka_unit_test(the_document_names_each),
		cmocka_unit_test_setup_teardown(a_machine_may_have_none, setup_without, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
