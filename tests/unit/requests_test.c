/*
 * tests/unit/requests_test.c - what a worker can be asked: the table's own rules, and each request as a
 * controller makes it, before and after there is a machine. No descriptor is ever lost.
 */
#include <ctype.h>

#include "tests/unit/worker_case.h"

#define MACHINE DOCUMENT("\"SizeInMB\":32,\"MaximumSizeInMB\":64", ",\"ComPorts\":{\"Com1\":true}")

static int
memory(void)
{
	return memfd_create("stream", MFD_CLOEXEC);
}

/* --- the table -------------------------------------------------------------------------------------- */

static void
every_table_keeps_the_rules(void **state)
{
	struct err e = { 0 };

	(void)state;
	for (const struct method *m = worker_methods; m->name; m++) {
		assert_true(schema_table_ok(m->params, &e));
		assert_true(schema_table_ok(m->result, &e));
		assert_non_null(m->call);
	}
}

static void
every_name_is_its_own_and_every_method_has_help(void **state)
{
	(void)state;
	for (const struct method *m = worker_methods; m->name; m++) {
		for (const struct method *o = worker_methods; o < m; o++)
			assert_string_not_equal(o->name, m->name);
		for (const char *c = m->name; *c; c++)
			assert_true(islower((unsigned char)*c) || *c == '_' || *c == '.');
		assert_string_not_equal(m->name, "methods"); /* which every server answers itself */
		assert_true(strlen(m->help) > 10 && m->help[strlen(m->help) - 1] == '.');
	}
}

static void
the_description_of_all_fits_into_an_answer(void **state)
{
	(void)state;
	assert_int_equal(strncmp(ask("methods", "{}", -1), "\"result\":[{", 11), 0);
}

/* --- before there is a machine ------------------------------------------------------------------------ */

static void
before_create_requests_are_refused_in_words(void **state)
{
	static const struct {
		const char *method, *params;
		size_t nfds;
	} asks[] = {
		{ "start", "{}", 0 },
		{ "pause", "{}", 0 },
		{ "resume", "{}", 0 },
		{ "reset", "{}", 0 },
		{ "power_off", "{}", 0 },
		{ "statistics", "{}", 0 },
		{ "console.attach", "{\"Port\":0,\"Stream\":0}", 1 },
		{ "console.detach", "{\"Port\":1}", 0 },
		{ "save", "{\"Stream\":0}", 1 },
		{ "memory.add", "{\"SizeInMB\":2}", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
		const int fd[] = { asks[i].nfds ? memory() : -1 };

		assert_string_equal(ask_with(asks[i].method, asks[i].params, fd, asks[i].nfds),
		    "\"error\":{\"code\":-32000,\"message\":\"no machine was created yet\","
		    "\"data\":{\"errno\":2}}}");
	}
	assert_says(ask("nmi", "{}", -1), "NMI: the machine is None, not Running");
	assert_says(ask("power_button", "{}", -1), "the machine is None");
	assert_says(ask("status", "{}", -1), "\"State\":\"None\"");
}

static void
descriptors_of_requests_that_are_refused_are_closed(void **state)
{
	size_t before = fake_open_fds();

	(void)state;
	for (const struct method *m = worker_methods; m->name; m++) {
		const int fd[] = { memory(), memory(), memory() };

		ask_with(
		    m->name, "{\"Port\":7,\"Stream\":0,\"Machine\":{}}", fd, 3); /* none takes all of these */
	}
	assert_int_equal(fake_open_fds(), before);
	assert_false(f.w.quit);
}

static void
a_machine_that_breaks_a_rule_leaves_nothing_of_itself(void **state)
{
	size_t before = fake_open_fds();

	(void)state;
	assert_says(create(DOCUMENT("\"SizeInMB\":64,\"MaximumSizeInMB\":32", "")),
	    "Memory.MaximumSizeInMB: 32 is below");
	assert_int_equal(fake_open_fds(), before);
	assert_says(ask("status", "{}", -1),
	    "\"Id\":\"00000000-0000-0000-0000-000000000000\",\"Name\":\"\",\"State\":\"None\"");
	assert_string_equal(create(MACHINE), "\"result\":{}}");
}

static void
a_machine_that_cannot_be_made_leaves_no_descriptor(void **state)
{
	size_t before = fake_open_fds();

	(void)state;
	fake_kvm.fails = KVM_CREATE_IRQCHIP;
	assert_says(create(MACHINE), "\"message\":\"interrupt controllers: Input/output error\"");
	fake_kvm_forget_vm();
	assert_int_equal(fake_open_fds(), before);
	assert_int_equal(worker_loop(&f.w), 1); /* it ends, as a failure */
}

static void
a_stream_that_is_no_machine_leaves_no_descriptor(void **state)
{
	size_t before = fake_open_fds();

	(void)state;
	assert_says(restore(MACHINE, memory()), "saved state: cut short");
	assert_int_equal(fake_open_fds(), before);
	assert_int_equal(worker_loop(&f.w), 1);
}

/* --- with a machine ----------------------------------------------------------------------------------- */

static void
a_machine_lives(void **state)
{
	static const char yes[] = "\"result\":{\"changed\":true}}", no[] = "\"result\":{\"changed\":false}}";

	(void)state;
	assert_string_equal(create(MACHINE), "\"result\":{}}");
	assert_string_equal(ask("power_off", "{}", -1), no);
	assert_string_equal(ask("start", "{}", -1), yes);
	assert_string_equal(ask("start", "{}", -1), no);
	assert_string_equal(ask("nmi", "{}", -1), "\"result\":{}}");
	assert_string_equal(ask("power_button", "{}", -1), "\"result\":{}}");
	assert_string_equal(ask("pause", "{}", -1), yes);
	assert_says(ask("nmi", "{}", -1), "the machine is Paused, not Running");
	assert_string_equal(ask("resume", "{}", -1), yes);
	assert_string_equal(ask("reset", "{}", -1), yes);
	assert_says(ask("status", "{}", -1),
	    "\"Name\":\"t\",\"State\":\"Running\",\"Reason\":\"requested\",\"Resets\":1,\"Panics\":0,"
	    "\"LastPanic\":\"\"");
	assert_says(ask("statistics", "{}", -1), "\"MemoryInMB\":32");
	assert_string_equal(ask("power_off", "{}", -1), yes);
	assert_says(ask("pause", "{}", -1), "a machine that is Off cannot be paused");
	assert_false(f.w.quit);
	assert_string_equal(ask("quit", "{}", -1), "\"result\":{}}");
	assert_int_equal(worker_loop(&f.w), 0);
}

static void
a_second_machine_is_refused_and_its_descriptors_closed(void **state)
{
	size_t before;

	(void)state;
	create(MACHINE);
	before = fake_open_fds();
	assert_says(create(MACHINE), "this worker has its machine already");
	assert_says(restore(MACHINE, memory()), "this worker has its machine already");
	assert_int_equal(fake_open_fds(), before);
	assert_int_equal(f.w.state, STATE_OFF);
	assert_false(f.w.quit);
	assert_string_equal(ask("start", "{}", -1), "\"result\":{\"changed\":true}}");
}

static void
a_console_comes_and_goes(void **state)
{
	int fd[2];
	char c;

	(void)state;
	create(MACHINE);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	assert_string_equal(ask("console.attach", "{\"Port\":0,\"Stream\":0}", fd[0]), "\"result\":{}}");
	bus_write(&f.w.p->ports, 0x3f8, 1, 'x');
	console_pump(&f.w.console[0]);
	assert_int_equal(read(fd[1], &c, 1), 1);
	assert_int_equal(c, 'x');
	assert_string_equal(ask("console.detach", "{\"Port\":0}", -1), "\"result\":{\"changed\":true}}");
	assert_int_equal(read(fd[1], &c, 1), 0);
	assert_string_equal(ask("console.detach", "{\"Port\":0}", -1), "\"result\":{\"changed\":false}}");
	close(fd[1]);
	assert_says(ask("console.attach", "{\"Port\":1,\"Stream\":0}", memory()),
	    "the machine has no such serial port");
}

static void
memory_can_be_added(void **state)
{
	(void)state;
	create(MACHINE);
	assert_string_equal(ask("memory.add", "{\"SizeInMB\":2}", -1),
	    "\"result\":{\"Address\":4294967296,\"SizeInMB\":34}}");
	assert_says(ask("memory.add", "{\"SizeInMB\":3}", -1), "multiples of 2 MiB");
	assert_says(ask("memory.add", "{\"SizeInMB\":1024}", -1), "\"error\"");
}

/* --- saving -------------------------------------------------------------------------------------------- */

static void
a_saved_machine_goes_on_in_another_worker(void **state)
{
	int stream = memory();

	(void)state;
	create(MACHINE);
	ask("start", "{}", -1);
	ask("memory.add", "{\"SizeInMB\":2}", -1);
	assert_int_equal(gmem_write(f.w.p->mem, 0x100000000, "far", 3), 0);
	assert_string_equal(ask("save", "{\"Stream\":0}", dup(stream)), "\"result\":{}}");
	assert_int_equal(f.w.state, STATE_SAVED);
	assert_says(ask("start", "{}", -1), "a machine that is Saved cannot be started");
	fake_worker_free(&f);
	fake_worker_init(&f);
	lseek(stream, 0, SEEK_SET);
	assert_string_equal(restore(MACHINE, stream), "\"result\":{}}");
	assert_int_equal(f.w.state, STATE_PAUSED);
	assert_memory_equal(gmem_span(f.w.p->mem, 0x100000000, 3), "far", 3);
	assert_string_equal(ask("start", "{}", -1), "\"result\":{\"changed\":true}}");
}

static void
a_machine_that_cannot_be_saved_is_as_it_was(void **state)
{
	int fd[2];

	(void)state;
	create(MACHINE);
	ask("start", "{}", -1);
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	close(fd[0]);
	assert_says(ask("save", "{\"Stream\":0}", fd[1]), "saved state: write: Broken pipe");
	assert_int_equal(f.w.state, STATE_RUNNING);
	assert_true(atomic_load(&f.w.p->go));
	ask("pause", "{}", -1);
	fd[1] = open("/dev/full", O_WRONLY | O_CLOEXEC);
	assert_says(ask("save", "{\"Stream\":0}", fd[1]), "No space left on device");
	assert_int_equal(f.w.state, STATE_PAUSED);
	ask("power_off", "{}", -1);
	assert_says(ask("save", "{\"Stream\":0}", memory()), "cannot be paused");
}

static void
what_the_guest_asked_in_that_moment_is_not_lost(void **state)
{
	static const enum asked asked[] = { ASKED_RESET, ASKED_POWER_OFF, ASKED_FAILED };

	(void)state;
	create(MACHINE);
	for (int i = 0; i < 3; i++) {
		ask("start", "{}", -1);
		partition_ask(f.w.p, asked[i]);
		assert_says(ask("save", "{\"Stream\":0}", memory()),
		    "the guest turns itself off or resets in this moment");
		assert_int_equal(f.w.state, STATE_PAUSED);
		assert_int_equal(partition_take_asked(f.w.p), asked[i]);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_table_keeps_the_rules),
		cmocka_unit_test(every_name_is_its_own_and_every_method_has_help),
		unit(the_description_of_all_fits_into_an_answer),
		unit(before_create_requests_are_refused_in_words),
		unit(descriptors_of_requests_that_are_refused_are_closed),
		unit(a_machine_that_breaks_a_rule_leaves_nothing_of_itself),
		unit(a_machine_that_cannot_be_made_leaves_no_descriptor),
		unit(a_stream_that_is_no_machine_leaves_no_descriptor),
		unit(a_machine_lives),
		unit(a_second_machine_is_refused_and_its_descriptors_closed),
		unit(a_console_comes_and_goes),
		unit(memory_can_be_added),
		unit(a_saved_machine_goes_on_in_another_worker),
		unit(a_machine_that_cannot_be_saved_is_as_it_was),
		unit(what_the_guest_asked_in_that_moment_is_not_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
