/*
 * tests/unit/worker_nics_test.c - network adapters as a worker's controller deals with them: before there is
 * a machine and while it runs; what is refused; no descriptor is ever lost.
 */
#include <sys/socket.h>

#include "tests/unit/worker_case.h"

#define MACHINE DOCUMENT(SMALL, ",\"Devices\":{\"NetworkThreads\":2}")

/* One end of a socket for frames; the other is closed. */
static int
tap(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	close(pair[1]);
	return pair[0];
}

static void
an_adapter_is_part_of_the_machine_from_its_first_moment(void **state)
{
	const char *list;

	(void)state;
	assert_true(good("nic.add",
	    "{\"Number\":3,\"MacAddress\":\"00-15-5D-01-02-0a\",\"Mtu\":1500,\"Taps\":[{\"Tap\":0}]}",
	    tap()));
	assert_says(create(MACHINE), DONE);
	list = ask("nic.list", "{}", -1);
	assert_non_null(strstr(list, "\"Number\":3"));
	assert_non_null(strstr(list, "00-15-5D-01-02-0A"));
	assert_non_null(strstr(list, "\"Connected\":true"));
	assert_true(good("start", "{}", -1));
	assert_true(good("reset", "{}", -1));
	assert_true(good("power_off", "{}", -1));
}

static void
adapters_come_and_go_while_it_runs(void **state)
{
	(void)state;
	assert_says(create(MACHINE), DONE);
	assert_true(good("start", "{}", -1));
	for (int round = 0; round < 3; round++) {
		assert_true(good("nic.add", "{\"Number\":0,\"Taps\":[{\"Tap\":0}]}", tap()));
		assert_false(good("nic.add", "{\"Number\":0,\"Connected\":false}", -1));
		assert_true(good("nic.add", "{\"Number\":7,\"Connected\":false}", -1));
		assert_true(good("nic.remove", "{\"Number\":0}", -1));
		nics_work(f.w.nics);
		assert_non_null(strstr(fake_told(&f), "Removed"));
		assert_false(good("nic.remove", "{\"Number\":0}", -1));
		assert_true(good("nic.remove", "{\"Number\":7}", -1));
		nics_work(f.w.nics);
		assert_non_null(strstr(fake_told(&f), "Removed"));
	}
}

static void
cables_are_plugged(void **state)
{
	(void)state;
	assert_true(good("nic.add", "{\"Number\":1,\"Connected\":false}", -1));
	assert_true(good("nic.connect", "{\"Number\":1,\"Taps\":[{\"Tap\":0}]}", tap()));
	assert_says(create(MACHINE), DONE);
	assert_non_null(strstr(ask("nic.list", "{}", -1), "\"Connected\":true"));
	assert_true(good("nic.connect", "{\"Number\":1,\"Connected\":false}", -1));
	assert_non_null(strstr(ask("nic.list", "{}", -1), "\"Connected\":false"));
	assert_true(good("nic.connect", "{\"Number\":1,\"Taps\":[{\"Tap\":0}]}", tap()));
	assert_non_null(strstr(ask("nic.list", "{}", -1), "\"Connected\":true"));
	assert_false(good("nic.connect", "{\"Number\":2}", -1));
}

static void
what_makes_no_sense_is_refused(void **state)
{
	static const char *const bad[] = {
		"{\"Number\":8,\"Taps\":[{\"Tap\":0}]}",
		"{\"Number\":0,\"MacAddress\":\"00-15-5D-01-02\",\"Taps\":[{\"Tap\":0}]}",
		"{\"Number\":0,\"MacAddress\":\"01-15-5D-01-02-03\",\"Taps\":[{\"Tap\":0}]}",
		"{\"Number\":0,\"Mtu\":100,\"Taps\":[{\"Tap\":0}]}",
		"{\"Number\":0,\"Queues\":17,\"Taps\":[{\"Tap\":0}]}",
		"{\"Number\":0,\"Taps\":[{\"Tap\":1}]}",
	};

	(void)state;
	for (int created = 0; created < 2; created++) {
		int file = memfd_create("no tap", MFD_CLOEXEC);

		for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
			assert_false(good("nic.add", bad[i], tap()));
		assert_false(good("nic.add", "{\"Number\":0}", -1));
		if (created)
			assert_false(good("nic.add", "{\"Number\":0,\"Taps\":[{\"Tap\":0}]}", file));
		else
			close(file);
		if (!created)
			assert_says(create(MACHINE), DONE);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		unit(an_adapter_is_part_of_the_machine_from_its_first_moment),
		unit(adapters_come_and_go_while_it_runs),
		unit(cables_are_plugged),
		unit(what_makes_no_sense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
