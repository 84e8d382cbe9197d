/*
 * tests/unit/requests_test.c - what a worker can be asked: the table's own rules, and each request as a
 * controller makes it, before and after there is a machine. No descriptor is ever lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>

#include "tests/unit/fake_worker.h"

static struct fake_worker f;
static size_t fds_before;

static int
setup(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	fds_before = fake_open_fds();
	fake_worker_init(&f);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	fake_worker_free(&f);
	return fake_open_fds() == fds_before ? 0 : -1;
}

/* Asks and skips events. The answer without what is the same in all. fds are given away. */
static const char *
ask(const char *method, const char *params, const int *fd, size_t nfds)
{
	static const char head[] = "{\"jsonrpc\":\"2.0\",\"id\":1,";
	char text[2000];

	snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"%s\",\"params\":%s}", method,
	    params);
	fake_ask(&f, text, fd, nfds);
	for (size_t i = 0; i < nfds; i++)
		close(fd[i]);
	while (fake_hear(&f)[0] && strncmp(f.heard, head, sizeof(head) - 1) != 0)
		;
	return f.heard[0] ? f.heard + sizeof(head) - 1 : "";
}

#define DOCUMENT                                                                                      \
	"{\"ConfigurationVersion\":1,\"Id\":\"01234567-89ab-cdef-0123-456789abcdef\",\"Name\":\"t\"," \
	"\"Memory\":{\"SizeInMB\":32,\"MaximumSizeInMB\":64},\"ComPorts\":{\"Com1\":true},"           \
	"\"LinuxKernelDirect\":{\"Kernel\":0}}"

static const char *
create(void)
{
	const int fd[] = { fake_kernel() };

	return ask("create", "{\"Machine\":" DOCUMENT "}", fd, 1);
}

static const char *
restore(int stream)
{
	const int fd[] = { fake_kernel(), stream };

	return ask("restore", "{\"Machine\":" DOCUMENT ",\"Stream\":1}", fd, 2);
}

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
	assert_int_equal(strncmp(ask("methods", "{}", NULL, 0), "\"result\":[{", 11), 0);
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

		assert_string_equal(ask(asks[i].method, asks[i].params, fd, asks[i].nfds),
		    "\"error\":{\"code\":-32000,\"message\":\"no machine was created yet\","
		    "\"data\":{\"errno\":2}}}");
	}
	assert_non_null(strstr(ask("nmi", "{}", NULL, 0), "NMI: the machine is None, not Running"));
	assert_non_null(strstr(ask("power_button", "{}", NULL, 0), "the machine is None"));
	assert_non_null(strstr(ask("status", "{}", NULL, 0), "\"State\":\"None\""));
}

static void
descriptors_of_requests_that_are_refused_are_closed(void **state)
{
	size_t before = fake_open_fds();

	(void)state;
	for (const struct method *m = worker_methods; m->name; m++) {
		const int fd[] = { memory(), memory(), memory() };

		ask(m->name, "{\"Port\":7,\"Stream\":0,\"Machine\":{}}", fd, 3); /* none takes all of these */
	}
	assert_int_equal(fake_open_fds(), before);
	assert_false(f.w.quit);
}

static void
a_machine_that_breaks_a_rule_leaves_nothing_of_itself(void **state)
{
	const int fd[] = { fake_kernel() };
	size_t before = fake_open_fds();

	(void)state;
	assert_non_null(strstr(ask("create",
				   "{\"Machine\":{\"ConfigurationVersion\":1,"
				   "\"Id\":\"01234567-89ab-cdef-0123-456789abcdef\",\"Name\":\"bad\","
				   "\"Memory\":{\"SizeInMB\":64,\"MaximumSizeInMB\":32},"
				   "\"LinuxKernelDirect\":{\"Kernel\":0}}}",
				   fd, 1),
	    "Memory.MaximumSizeInMB: 32 is below"));
	assert_int_equal(fake_open_fds(), before - 1);
	assert_non_null(strstr(ask("status", "{}", NULL, 0),
	    "\"Id\":\"00000000-0000-0000-0000-000000000000\",\"Name\":\"\",\"State\":\"None\""));
	assert_string_equal(create(), "\"result\":{}}");
}

static void
a_machine_that_cannot_be_made_leaves_no_descriptor(void **state)
{
	size_t before = fake_open_fds();

	(void)state;
	fake_kvm.fails = KVM_CREATE_IRQCHIP;
	assert_non_null(strstr(create(), "\"message\":\"interrupt controllers: Input/output error\""));
	fake_kvm_forget_vm();
	assert_int_equal(fake_open_fds(), before);
	assert_int_equal(worker_loop(&f.w), 1); /* it ends, as a failure */
}

static void
a_stream_that_is_no_machine_leaves_no_descriptor(void **state)
{
	size_t before = fake_open_fds();

	(void)state;
	assert_non_null(strstr(restore(memory()), "saved state: cut short"));
	assert_int_equal(fake_open_fds(), before);
	assert_int_equal(worker_loop(&f.w), 1);
}

/* --- with a machine ----------------------------------------------------------------------------------- */

static void
a_machine_lives(void **state)
{
	static const char yes[] = "\"result\":{\"changed\":true}}", no[] = "\"result\":{\"changed\":false}}";

	(void)state;
	assert_string_equal(create(), "\"result\":{}}");
	assert_string_equal(ask("power_off", "{}", NULL, 0), no);
	assert_string_equal(ask("start", "{}", NULL, 0), yes);
	assert_string_equal(ask("start", "{}", NULL, 0), no);
	assert_string_equal(ask("nmi", "{}", NULL, 0), "\"result\":{}}");
	assert_string_equal(ask("power_button", "{}", NULL, 0), "\"result\":{}}");
	assert_string_equal(ask("pause", "{}", NULL, 0), yes);
	assert_non_null(strstr(ask("nmi", "{}", NULL, 0), "the machine is Paused, not Running"));
	assert_string_equal(ask("resume", "{}", NULL, 0), yes);
	assert_string_equal(ask("reset", "{}", NULL, 0), yes);
	assert_non_null(strstr(ask("status", "{}", NULL, 0),
	    "\"Name\":\"t\",\"State\":\"Running\",\"Reason\":\"requested\",\"Resets\":1,\"Panics\":0,"
	    "\"LastPanic\":\"\""));
	assert_non_null(strstr(ask("statistics", "{}", NULL, 0), "\"MemoryInMB\":32"));
	assert_string_equal(ask("power_off", "{}", NULL, 0), yes);
	assert_non_null(strstr(ask("pause", "{}", NULL, 0), "a machine that is Off cannot be paused"));
	assert_false(f.w.quit);
	assert_string_equal(ask("quit", "{}", NULL, 0), "\"result\":{}}");
	assert_int_equal(worker_loop(&f.w), 0);
}

static void
a_second_machine_is_refused_and_its_descriptors_closed(void **state)
{
	size_t before;

	(void)state;
	create();
	before = fake_open_fds();
	assert_non_null(strstr(create(), "this worker has its machine already"));
	assert_non_null(strstr(restore(memory()), "this worker has its machine already"));
	assert_int_equal(fake_open_fds(), before);
	assert_int_equal(f.w.state, STATE_OFF);
	assert_false(f.w.quit);
	assert_string_equal(ask("start", "{}", NULL, 0), "\"result\":{\"changed\":true}}");
}

static void
a_console_comes_and_goes(void **state)
{
	int fd[2];
	char c;

	(void)state;
	create();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	assert_string_equal(ask("console.attach", "{\"Port\":0,\"Stream\":0}", fd, 1), "\"result\":{}}");
	bus_write(&f.w.p->ports, 0x3f8, 1, 'x');
	console_pump(&f.w.console[0]);
	assert_int_equal(read(fd[1], &c, 1), 1);
	assert_int_equal(c, 'x');
	assert_string_equal(ask("console.detach", "{\"Port\":0}", NULL, 0), "\"result\":{\"changed\":true}}");
	assert_int_equal(read(fd[1], &c, 1), 0);
	assert_string_equal(
	    ask("console.detach", "{\"Port\":0}", NULL, 0), "\"result\":{\"changed\":false}}");
	close(fd[1]);
	assert_non_null(
	    strstr(ask("console.attach", "{\"Port\":1,\"Stream\":0}", (const int[]){ memory() }, 1),
		"the machine has no such serial port"));
}

static void
memory_can_be_added(void **state)
{
	(void)state;
	create();
	assert_string_equal(ask("memory.add", "{\"SizeInMB\":2}", NULL, 0),
	    "\"result\":{\"Address\":4294967296,\"SizeInMB\":34}}");
	assert_non_null(strstr(ask("memory.add", "{\"SizeInMB\":3}", NULL, 0), "multiples of 2 MiB"));
	assert_non_null(strstr(ask("memory.add", "{\"SizeInMB\":1024}", NULL, 0), "\"error\""));
}

/* --- saving -------------------------------------------------------------------------------------------- */

static void
a_saved_machine_goes_on_in_another_worker(void **state)
{
	int stream = memory();

	(void)state;
	create();
	ask("start", "{}", NULL, 0);
	ask("memory.add", "{\"SizeInMB\":2}", NULL, 0);
	assert_int_equal(gmem_write(f.w.p->mem, 0x100000000, "far", 3), 0);
	assert_string_equal(ask("save", "{\"Stream\":0}", (const int[]){ dup(stream) }, 1), "\"result\":{}}");
	assert_int_equal(f.w.state, STATE_SAVED);
	assert_non_null(strstr(ask("start", "{}", NULL, 0), "a machine that is Saved cannot be started"));
	fake_worker_free(&f);
	fake_worker_init(&f);
	lseek(stream, 0, SEEK_SET);
	assert_string_equal(restore(stream), "\"result\":{}}");
	assert_int_equal(f.w.state, STATE_PAUSED);
	assert_memory_equal(gmem_span(f.w.p->mem, 0x100000000, 3), "far", 3);
	assert_string_equal(ask("start", "{}", NULL, 0), "\"result\":{\"changed\":true}}");
}

static void
a_machine_that_cannot_be_saved_is_as_it_was(void **state)
{
	int fd[2];

	(void)state;
	create();
	ask("start", "{}", NULL, 0);
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	close(fd[0]);
	assert_non_null(strstr(ask("save", "{\"Stream\":0}", fd + 1, 1), "saved state: write: Broken pipe"));
	assert_int_equal(f.w.state, STATE_RUNNING);
	assert_true(atomic_load(&f.w.p->go));
	ask("pause", "{}", NULL, 0);
	fd[1] = open("/dev/full", O_WRONLY | O_CLOEXEC);
	assert_non_null(strstr(ask("save", "{\"Stream\":0}", fd + 1, 1), "No space left on device"));
	assert_int_equal(f.w.state, STATE_PAUSED);
	ask("power_off", "{}", NULL, 0);
	assert_non_null(
	    strstr(ask("save", "{\"Stream\":0}", (const int[]){ memory() }, 1), "cannot be paused"));
}

static void
what_the_guest_asked_in_that_moment_is_not_lost(void **state)
{
	static const enum asked asked[] = { ASKED_RESET, ASKED_POWER_OFF, ASKED_FAILED };

	(void)state;
	create();
	for (int i = 0; i < 3; i++) {
		ask("start", "{}", NULL, 0);
		partition_ask(f.w.p, asked[i]);
		assert_non_null(strstr(ask("save", "{\"Stream\":0}", (const int[]){ memory() }, 1),
		    "the guest turns itself off or resets in this moment"));
		assert_int_equal(f.w.state, STATE_PAUSED);
		assert_int_equal(partition_take_asked(f.w.p), asked[i]);
	}
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

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
