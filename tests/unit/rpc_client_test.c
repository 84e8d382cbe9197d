/*
 * tests/unit/rpc_client_test.c - the RPC client against an agent that answers, is silent, lies or goes
 * away; addresses and pins by themselves.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>
#include <cmocka.h>

#include "lib/rpc_client.h"
#include "lib/rpc_client_private.h"
#include "tests/unit/fake_wire.h"

static struct rpc_error e;

static int
setup(void **state)
{
	(void)state;
	return fake_wire_start();
}

static int
teardown(void **state)
{
	(void)state;
	fake_wire_stop();
	return 0;
}

static struct rpc_client *
connected(void)
{
	struct rpc_client *c;

	assert_int_equal(rpc_open(&c, NULL, NULL, &e), 0);
	return c;
}

static void
a_call_gives_its_result(void **state)
{
	struct rpc_client *c = connected();
	json_t *result;

	(void)state;
	assert_int_equal(rpc_call(c, "vm.start", json_pack("{s:s}", "vm", "web1"), 5000, &result, &e), 0);
	assert_true(json_is_boolean(json_object_get(result, "changed")));
	json_decref(result);
	assert_string_equal(fake_last(), "vm.start {\"vm\":\"web1\"}");
	assert_string_equal(rpc_host(c), "localhost");
	rpc_close(c);
}

static void
a_refusal_has_code_symbol_path_and_hint(void **state)
{
	struct rpc_client *c = connected();

	(void)state;
	assert_int_equal(rpc_call(c, "vm.start", json_pack("{s:s}", "vm", "no"), 5000, NULL, &e), -EREMOTEIO);
	assert_int_equal(e.code, 1404);
	assert_string_equal(e.symbol, "VM_NOT_FOUND");
	assert_string_equal(e.path, "vm");
	assert_string_equal(e.hint, "vm list shows the machines.");
	assert_true(rpc_connected(c));
	rpc_close(c);
}

static void
what_a_terminal_would_obey_is_taken_out_of_errors(void **state)
{
	struct rpc_client *c = connected();

	(void)state;
	assert_int_equal(rpc_call(c, "test.evil", NULL, 5000, NULL, &e), -EREMOTEIO);
	assert_null(strpbrk(e.message, "\x1b\x07\n"));
	assert_null(strchr(e.symbol, '\x1b'));
	rpc_close(c);
}

static void
no_answer_in_time_leaves_the_connection_usable(void **state)
{
	struct rpc_client *c = connected();

	(void)state;
	assert_int_equal(rpc_call(c, "test.hang", NULL, 50, NULL, &e), -ETIMEDOUT);
	assert_int_equal(e.code, RPC_TIMED_OUT);
	assert_int_equal(rpc_call(c, "host.get", NULL, 5000, NULL, &e), 0);
	rpc_close(c);
}

static bool
at_once(void *ctx)
{
	++*(int *)ctx;
	return true;
}

static void
an_interrupt_ends_a_call_and_leaves_the_connection_usable(void **state)
{
	int asked = 0;
	struct rpc_options o = { .interrupted = at_once, .ctx = &asked };
	struct rpc_client *c;

	(void)state;
	assert_int_equal(rpc_open(&c, NULL, &o, &e), 0);
	assert_int_equal(rpc_call(c, "test.hang", NULL, -1, NULL, &e), -ECANCELED);
	assert_int_equal(e.code, RPC_INTERRUPTED);
	assert_true(asked > 0 && rpc_connected(c));
	rpc_close(c);
}

static void
a_host_that_sends_nonsense_is_left(void **state)
{
	static const char *const methods[] = { "test.garbage", "test.neither", "test.flood" };

	(void)state;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		struct rpc_client *c = connected();

		assert_true(rpc_call(c, methods[i], NULL, 10000, NULL, &e) < 0);
		assert_int_equal(e.code, RPC_BAD_ANSWER);
		assert_false(rpc_connected(c));
		assert_true(rpc_call(c, "host.get", NULL, 1000, NULL, &e) < 0);
		assert_int_equal(e.code, RPC_NOT_CONNECTED);
		rpc_close(c);
	}
}

static void
a_lost_connection_can_be_made_again(void **state)
{
	struct rpc_client *c = connected();

	(void)state;
	assert_int_equal(rpc_call(c, "test.drop", NULL, 5000, NULL, &e), -ECONNRESET);
	assert_int_equal(rpc_fd(c), -1);
	assert_int_equal(rpc_reconnect(c, &e), 0);
	assert_int_equal(rpc_call(c, "host.get", NULL, 5000, NULL, &e), 0);
	rpc_close(c);
}

static void
nobody_listening_is_told_with_the_path(void **state)
{
	struct rpc_options o = { .socket_path = "/nonexistent/rpc.sock" };
	struct rpc_client *c = (void *)1;

	(void)state;
	assert_int_equal(rpc_open(&c, NULL, &o, &e), -ENOENT);
	assert_null(c);
	assert_int_equal(e.code, RPC_NOT_CONNECTED);
	assert_non_null(strstr(e.message, "/nonexistent/rpc.sock"));
}

static void
events_that_came_during_a_call_are_kept_in_order(void **state)
{
	struct rpc_client *c = connected();

	(void)state;
	assert_int_equal(rpc_call(c, "event.subscribe", NULL, 5000, NULL, &e), 0);
	for (int i = 1; i <= 3; i++) {
		json_t *ev = rpc_next_event(c, 1000, &e);

		assert_int_equal(json_integer_value(json_object_get(ev, "seq")), i);
		json_decref(ev);
	}
	assert_null(rpc_next_event(c, 0, &e));
	assert_int_equal(e.code, RPC_TIMED_OUT);
	rpc_close(c);
}

static void
of_too_many_events_the_oldest_are_dropped(void **state)
{
	struct rpc_events *ev = calloc(1, sizeof(*ev));
	char text[64];
	json_t *got;

	(void)state;
	for (int i = 0; i < RPC_EVENTS_KEPT + 10; i++)
		rpc_events_keep(
		    ev, text, (size_t)snprintf(text, sizeof(text), "{\"params\":{\"seq\":%d}}", i));
	got = rpc_events_take(ev);
	assert_int_equal(json_integer_value(json_object_get(got, "seq")), 10);
	json_decref(got);
	rpc_events_drop(ev);
	assert_null(rpc_events_take(ev));
	free(ev);
}

static bool
count_progress(void *ctx, const struct rpc_progress *p)
{
	assert_string_equal(p->job, "7");
	assert_string_equal(p->phase, "stopping");
	assert_int_equal(p->total, fake.polls_needed);
	return ++*(int *)ctx < 100;
}

static bool
refuse_progress(void *ctx, const struct rpc_progress *p)
{
	(void)ctx;
	(void)p;
	return false;
}

static void
a_job_is_waited_for_and_tells_how_far_it_is(void **state)
{
	struct rpc_client *c = connected();
	json_t *result;
	int reports = 0;

	(void)state;
	fake.polls = 0;
	fake.cancelled = false;
	assert_int_equal(rpc_job_wait(c, "7", count_progress, &reports, &result, &e), 0);
	assert_int_equal(reports, 3);
	assert_true(json_is_true(json_object_get(result, "changed")));
	json_decref(result);
	fake.cancelled = true;
	assert_int_equal(rpc_job_wait(c, "7", NULL, NULL, &result, &e), -EREMOTEIO);
	assert_string_equal(e.symbol, "CANCELLED");
	fake.cancelled = false;
	fake.polls = -1000;
	assert_int_equal(rpc_job_wait(c, "7", refuse_progress, NULL, &result, &e), -ECANCELED);
	rpc_close(c);
}

static void
a_ticket_becomes_a_descriptor_of_raw_bytes(void **state)
{
	struct rpc_client *c = connected();
	char got[32] = "";
	size_t n = 0;
	int fd;

	(void)state;
	assert_int_equal(rpc_stream_open(c, "T1", &fd, &e), 0);
	rpc_close(c); /* the stream lives on */
	assert_int_equal(write(fd, "root\x04", 5), 5);
	while (n < sizeof(got) - 1) {
		ssize_t k = read(fd, got + n, sizeof(got) - 1 - n);

		if (k <= 0)
			break;
		n += (size_t)k;
	}
	assert_string_equal(got, "login: ROOT");
	close(fd);
}

static void
a_wrong_ticket_is_refused_in_the_hosts_words(void **state)
{
	struct rpc_client *c = connected();
	int fd;

	(void)state;
	assert_int_equal(rpc_stream_open(c, "T2", &fd, &e), -EREMOTEIO);
	assert_int_equal(fd, -1);
	assert_string_equal(e.symbol, "TICKET_INVALID");
	rpc_close(c);
}

static void
parameters_that_are_too_large_are_not_sent(void **state)
{
	struct rpc_client *c = connected();
	char *much = malloc(RPC_MESSAGE_MAX + 1);

	(void)state;
	memset(much, 'x', RPC_MESSAGE_MAX);
	much[RPC_MESSAGE_MAX] = '\0';
	assert_int_equal(rpc_call(c, "vm.set", json_pack("{s:s}", "notes", much), 5000, NULL, &e), -EMSGSIZE);
	assert_int_equal(rpc_call(c, "host.get", NULL, 5000, NULL, &e), 0);
	free(much);
	rpc_close(c);
}

static void
addresses_are_taken_apart(void **state)
{
	static const struct {
		const char *text, *user, *host;
		uint16_t port;
	} good[] = {
		{ "alpha", "", "alpha", 0 },
		{ "root@alpha", "root", "alpha", 0 },
		{ "alpha:9000", "", "alpha", 9000 },
		{ "a@b@10.0.0.1:1", "a@b", "10.0.0.1", 1 },
		{ "2001:db8::1", "", "2001:db8::1", 0 },
		{ "[2001:db8::1]:65535", "", "2001:db8::1", 65535 },
		{ "[::1]", "", "::1", 0 },
	};
	static const char *const bad[] = { "", "@", "a@", "@a", "a:", "a:0", "a:65536", "a:1x", "[::1",
		"[::1]x", "a b", "a/b", "-a", "a\n" };
	struct rpc_address a;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(rpc_address_parse(&a, good[i].text, &e), 0);
		assert_string_equal(a.user, good[i].user);
		assert_string_equal(a.host, good[i].host);
		assert_int_equal(a.port, good[i].port);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(rpc_address_parse(&a, bad[i], &e), -EINVAL);
}

static void
a_pin_is_found_again_and_the_file_is_private(void **state)
{
	char file[128], got[RPC_FINGERPRINT_SIZE], pin[RPC_FINGERPRINT_SIZE], folder[128];
	struct stat st;

	(void)state;
	for (int i = 0; i < 32; i++)
		snprintf(pin + 3 * i, 4, i < 31 ? "%02x:" : "%02x", i);
	snprintf(folder, sizeof(folder), "%s/a", fake.folder);
	snprintf(file, sizeof(file), "%s/a/known_hosts", fake.folder);
	assert_int_equal(rpc_pin_find(file, "alpha", 8443, got, &e), -ENOENT);
	assert_int_equal(rpc_pin_add(file, "alpha", 8443, pin, &e), 0);
	assert_int_equal(rpc_pin_add(file, "::1", 1, pin, &e), 0);
	assert_int_equal(rpc_pin_find(file, "ALPHA", 8443, got, &e), 0);
	assert_string_equal(got, pin);
	assert_int_equal(rpc_pin_find(file, "::1", 1, got, &e), 0);
	assert_int_equal(rpc_pin_find(file, "alpha", 8444, got, &e), -ENOENT);
	assert_int_equal(rpc_pin_find(file, "alph", 8443, got, &e), -ENOENT);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	unlink(file);
	rmdir(folder);
}

/* Whoever edits the file may leave its last line without an end. */
static void
a_pin_gets_a_line_of_its_own(void **state)
{
	static const char *const before[] = { "", "\n", "# mine", "# mine\n", "beta:1 SHA256:x" };
	char folder[] = "/tmp/fh-pins-XXXXXX", file[64], pin[RPC_FINGERPRINT_SIZE], got[RPC_FINGERPRINT_SIZE],
	     text[512], wanted[512];

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(file, sizeof(file), "%s/known_hosts", folder);
	for (int i = 0; i < 32; i++)
		snprintf(pin + 3 * i, 4, i < 31 ? "%02X:" : "%02X", i);
	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
		size_t len = strlen(before[i]);
		FILE *f = fopen(file, "w");

		fputs(before[i], f);
		fclose(f);
		assert_int_equal(rpc_pin_add(file, "alpha", 8443, pin, &e), 0);
		assert_int_equal(rpc_pin_find(file, "alpha", 8443, got, &e), 0);
		assert_string_equal(got, pin);
		snprintf(wanted, sizeof(wanted), "%s%salpha:8443 SHA256:%s\n", before[i],
		    len && before[i][len - 1] != '\n' ? "\n" : "", pin);
		f = fopen(file, "r");
		text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
		fclose(f);
		assert_string_equal(text, wanted);
	}
	unlink(file);
	rmdir(folder);
}

static void
a_new_host_is_not_reached_without_a_place_for_its_pin(void **state)
{
	struct rpc_client *c;
	struct rpc_options o = { .known_hosts = "/dev/null/known_hosts" };

	(void)state;
	assert_true(rpc_open(&c, "127.0.0.1:1", &o, &e) < 0);
	assert_null(c);
	assert_true(e.message[0]);
}

static void
a_host_that_does_not_listen_is_told(void **state)
{
	char file[128];
	struct rpc_client *c;
	struct rpc_options o = { .known_hosts = file, .timeout_ms = 5000 };

	(void)state;
	snprintf(file, sizeof(file), "%s/known_hosts", fake.folder);
	assert_true(rpc_open(&c, "127.0.0.1:1", &o, &e) < 0);
	assert_int_equal(e.code, RPC_NOT_CONNECTED);
	assert_non_null(strstr(e.message, "127.0.0.1:1 cannot be reached"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_gives_its_result),
		cmocka_unit_test(a_refusal_has_code_symbol_path_and_hint),
		cmocka_unit_test(what_a_terminal_would_obey_is_taken_out_of_errors),
		cmocka_unit_test(no_answer_in_time_leaves_the_connection_usable),
		cmocka_unit_test(an_interrupt_ends_a_call_and_leaves_the_connection_usable),
		cmocka_unit_test(a_host_that_sends_nonsense_is_left),
		cmocka_unit_test(a_lost_connection_can_be_made_again),
		cmocka_unit_test(nobody_listening_is_told_with_the_path),
		cmocka_unit_test(events_that_came_during_a_call_are_kept_in_order),
		cmocka_unit_test(of_too_many_events_the_oldest_are_dropped),
		cmocka_unit_test(a_job_is_waited_for_and_tells_how_far_it_is),
		cmocka_unit_test(a_ticket_becomes_a_descriptor_of_raw_bytes),
		cmocka_unit_test(a_wrong_ticket_is_refused_in_the_hosts_words),
		cmocka_unit_test(parameters_that_are_too_large_are_not_sent),
		cmocka_unit_test(addresses_are_taken_apart),
		cmocka_unit_test(a_pin_is_found_again_and_the_file_is_private),
		cmocka_unit_test(a_pin_gets_a_line_of_its_own),
		cmocka_unit_test(a_new_host_is_not_reached_without_a_place_for_its_pin),
		cmocka_unit_test(a_host_that_does_not_listen_is_told),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
