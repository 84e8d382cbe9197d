/*
 * tests/unit/transport_client_test.c - the remote carrier end to end on loopback: our client against our own
 * transport, with a host behind it that answers by rote. Pins, log-in, calls, large messages, streams.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <jansson.h>
#include <cmocka.h>

#include "agent/tls.h"
#include "lib/rpc_client.h"
#include "lib/transport_server.h"

/* libwebsockets 4.1 keeps the TLS context of a server's vhost that ends after a hello was broken off, once
 * for each such vhost (see carriers_test.c): not ours to free. The client's own contexts are not excused. */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return "leak:lws_create_vhost\n";
}

/* So that the frames of that call are found. */
const char *__asan_default_options(void);
const char *
__asan_default_options(void)
{
	return "fast_unwind_on_malloc=0";
}

static struct server {
	char folder[64], cert[96], key[96], known[96], host[32], token[128];
	struct transport *t;
	uint16_t port;
	int far; /* the machine's end of the stream */
	int asked_password, asked_pin, logins;
	bool accept_pin;
	struct rpc_error e;
} s;

/* --- the host ----------------------------------------------------------------------------------- */

static void *
on_open(void *ctx, struct link *l, const struct link_peer *peer)
{
	(void)ctx;
	snprintf(s.token, sizeof(s.token), "%s", peer->authorization ? peer->authorization : "");
	return l;
}

static json_t *
answer_to(const char *method, const json_t *params)
{
	const char *password = json_string_value(json_object_get(params, "password"));
	char *much;
	json_t *v;

	if (strcmp(method, "session.login") == 0) {
		s.logins++;
		if (password && strcmp(password, "right") == 0)
			return json_pack("{s:{s:s}}", "result", "token", "session-token");
		return json_pack("{s:{s:i, s:s, s:{s:s}}}", "error", "code", 1002, "message", "wrong", "data",
		    "symbol", "LOGIN_FAILED");
	}
	if (strcmp(method, "much") == 0) {
		much = calloc(1, 700001);
		memset(much, 'x', 700000);
		v = json_pack("{s:{s:s}}", "result", "text", much);
		free(much);
		return v;
	}
	return json_pack("{s:O?}", "result", params);
}

static void
on_message(void *user, const char *text, size_t len)
{
	json_t *msg = json_loadb(text, len, 0, NULL), *answer;
	const char *method = json_string_value(json_object_get(msg, "method"));
	char *out;

	if (strcmp(method, "hang.up") == 0) {
		link_close(user);
		json_decref(msg);
		return;
	}
	answer = answer_to(method, json_object_get(msg, "params"));
	json_object_set(answer, "id", json_object_get(msg, "id"));
	out = json_dumps(answer, JSON_INDENT(1)); /* white space between: lines must survive it */
	link_send(user, out, strlen(out), 200);
	json_decref(answer);
	json_decref(msg);
}

static void
on_end(void *user)
{
	link_close(user);
}

static void
on_closed(void *user)
{
	(void)user;
}

static int
on_stream(void *ctx, const char *ticket, const struct link_peer *peer, char **refusal)
{
	int pair[2];

	(void)ctx;
	(void)peer;
	if (strcmp(ticket, "good") != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0) {
		*refusal = strdup("{\"error\":{}}");
		return -1;
	}
	s.far = pair[1];
	return pair[0];
}

static char *
complain(int status, const char *sentence)
{
	(void)status;
	return strdup(sentence);
}

static const struct transport_ops ops = { on_open, on_message, on_end, on_end, on_closed, on_stream,
	complain };

static int
make_keys(void)
{
	char fingerprint[FINGERPRINT_SIZE];
	struct err e = { 0 };

	return tls_prepare(s.folder, "localhost", fingerprint, &e);
}

static int
serve(void)
{
	const struct transport_config c = { .cert = s.cert, .key = s.key, .ops = &ops };
	struct err e = { 0 };

	if (transport_new(&s.t, &c, &e) < 0 || transport_start(s.t, &e) < 0 ||
	    transport_listen(s.t, true, s.port, &s.port, &e) < 0) {
		print_message("%s\n", e.msg);
		return -1;
	}
	return 0;
}

/* --- the user ----------------------------------------------------------------------------------- */

static int
give_password(void *ctx, const char *user, const char *host, char *out, size_t size)
{
	assert_string_equal(user, "anna");
	assert_string_equal(host, "127.0.0.1");
	s.asked_password++;
	snprintf(out, size, "%s", (const char *)ctx);
	return 0;
}

static bool
give_pin(void *ctx, const char *host, const char *fingerprint)
{
	(void)ctx;
	assert_string_equal(host, "127.0.0.1");
	assert_int_equal(strlen(fingerprint), RPC_FINGERPRINT_SIZE - 1);
	s.asked_pin++;
	return s.accept_pin;
}

static int
open_as(struct rpc_client **c, const char *password, const char *token)
{
	struct rpc_options o = { .user = "anna",
		.token = token,
		.port = s.port,
		.known_hosts = s.known,
		.password = give_password,
		.pin = give_pin,
		.ctx = (char *)password,
		.timeout_ms = 15000 };

	s.asked_password = s.asked_pin = 0;
	return rpc_open(c, "127.0.0.1", &o, &s.e);
}

static int
setup(void **state)
{
	(void)state;
	unsetenv("FREEHOLD_TOKEN");
	strcpy(s.folder, "/tmp/fh-remote-XXXXXX");
	if (!mkdtemp(s.folder))
		return -1;
	snprintf(s.cert, sizeof(s.cert), "%s/cert.pem", s.folder);
	snprintf(s.key, sizeof(s.key), "%s/key.pem", s.folder);
	snprintf(s.known, sizeof(s.known), "%s/known_hosts", s.folder);
	s.accept_pin = true;
	return make_keys() < 0 ? -1 : serve();
}

static int
teardown(void **state)
{
	(void)state;
	transport_stop(s.t);
	transport_free(s.t);
	unlink(s.cert);
	unlink(s.key);
	unlink(s.known);
	rmdir(s.folder);
	return 0;
}

/* --- tests -------------------------------------------------------------------------------------- */

static void
an_unknown_certificate_is_asked_about_before_anything_is_sent(void **state)
{
	struct rpc_client *c;

	(void)state;
	s.accept_pin = false;
	s.token[0] = '?';
	assert_int_equal(open_as(&c, "right", "secret-token"), -EKEYREJECTED);
	assert_int_equal(s.e.code, RPC_UNKNOWN_CERTIFICATE);
	assert_int_equal(s.asked_pin, 1);
	assert_int_equal(s.token[0], '?'); /* no request has reached the host */
	s.accept_pin = true;
}

static void
an_accepted_certificate_is_not_asked_about_again(void **state)
{
	struct rpc_client *c;

	(void)state;
	assert_int_equal(open_as(&c, "right", NULL), 0);
	assert_int_equal(s.asked_pin, 1);
	assert_int_equal(s.asked_password, 1);
	rpc_close(c);
	assert_int_equal(open_as(&c, "right", NULL), 0);
	assert_int_equal(s.asked_pin, 0);
	rpc_close(c);
}

static void
a_fingerprint_may_be_written_in_small_or_large_letters(void **state)
{
	struct rpc_client *c;
	char command[600];

	(void)state;
	assert_int_equal(open_as(&c, "right", NULL), 0);
	rpc_close(c);
	for (int i = 0; i < 2; i++) {
		snprintf(command, sizeof(command), "sed -i 's/SHA256:.*/\\%c&/; s/sha256:/SHA256:/' %s",
		    "LU"[i], s.known);
		assert_int_equal(system(command), 0);
		assert_int_equal(open_as(&c, "right", NULL), 0);
		assert_int_equal(s.asked_pin, 0);
		rpc_close(c);
	}
}

static void
a_token_goes_with_the_connection(void **state)
{
	struct rpc_client *c;

	(void)state;
	assert_int_equal(open_as(&c, "right", "secret-token"), 0);
	assert_int_equal(s.asked_password, 0);
	assert_string_equal(s.token, "Bearer secret-token");
	rpc_close(c);
}

static void
a_wrong_password_is_refused_in_the_hosts_words(void **state)
{
	struct rpc_client *c;

	(void)state;
	assert_int_equal(open_as(&c, "wrong", NULL), -EREMOTEIO);
	assert_string_equal(s.e.symbol, "LOGIN_FAILED");
	assert_int_equal(s.asked_password, 1);
}

static void
messages_of_any_size_go_both_ways(void **state)
{
	struct rpc_client *c;
	json_t *result;
	char *much = calloc(1, 600001);

	(void)state;
	memset(much, 'y', 600000);
	assert_int_equal(open_as(&c, "right", NULL), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(rpc_call(c, "much", NULL, 20000, &result, &s.e), 0);
		assert_int_equal(json_string_length(json_object_get(result, "text")), 700000);
		json_decref(result);
		assert_int_equal(rpc_call(c, "echo", json_pack("{s:s}", "a", much), 20000, &result, &s.e), 0);
		assert_string_equal(json_string_value(json_object_get(result, "a")), much);
		json_decref(result);
	}
	for (int i = 0; i < 200; i++)
		assert_int_equal(rpc_call(c, "echo", json_pack("{s:i}", "a", i), 20000, NULL, &s.e), 0);
	free(much);
	rpc_close(c);
}

static void
a_lost_connection_is_told_and_made_again_with_the_sessions_token(void **state)
{
	struct rpc_client *c;

	(void)state;
	assert_int_equal(open_as(&c, "right", NULL), 0);
	assert_int_equal(rpc_call(c, "hang.up", NULL, 15000, NULL, &s.e), -ECONNRESET);
	assert_int_equal(s.e.code, RPC_NOT_CONNECTED);
	assert_int_equal(rpc_reconnect(c, &s.e), 0);
	assert_int_equal(s.asked_password, 1);
	assert_string_equal(s.token, "Bearer session-token");
	assert_int_equal(rpc_call(c, "echo", NULL, 15000, NULL, &s.e), 0);
	rpc_close(c);
}

static void
read_all(int fd, char *out, size_t len)
{
	for (size_t n = 0; n < len;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t got = poll(&p, 1, 10000) > 0 ? read(fd, out + n, len - n) : -1;

		assert_true(got > 0);
		n += (size_t)got;
	}
}

static void
a_stream_carries_bytes_both_ways_and_ends_with_either_side(void **state)
{
	static char sent[200000], got[200000];
	struct rpc_client *c;
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (char)(i * 7 + i / 256);
	assert_int_equal(open_as(&c, "right", NULL), 0);
	assert_int_equal(rpc_stream_open(c, "bad", &fd, &s.e), -EREMOTEIO);
	assert_string_equal(s.e.symbol, "TICKET_INVALID");
	assert_int_equal(rpc_stream_open(c, "good", &fd, &s.e), 0);
	rpc_close(c);
	assert_int_equal(write(fd, "typed\n", 6), 6); /* not a line: bytes */
	read_all(s.far, got, 6);
	assert_memory_equal(got, "typed\n", 6);
	for (size_t at = 0; at < sizeof(sent); at += 20000) {
		assert_int_equal(write(s.far, sent + at, 20000), 20000);
		read_all(fd, got + at, 20000);
	}
	assert_memory_equal(got, sent, sizeof(sent));
	close(s.far);
	assert_int_equal(read(fd, got, sizeof(got)), 0);
	close(fd);
}

static void
a_changed_certificate_is_refused_with_both_fingerprints(void **state)
{
	struct rpc_client *c;
	char old[RPC_FINGERPRINT_SIZE], line[300];
	FILE *f = fopen(s.known, "r");

	(void)state;
	assert_non_null(f);
	assert_non_null(fgets(line, sizeof(line), f));
	fclose(f);
	snprintf(old, sizeof(old), "%.95s", strstr(line, "SHA256:") + 7);
	transport_stop(s.t);
	transport_free(s.t);
	unlink(s.cert);
	unlink(s.key);
	assert_true(make_keys() >= 0);
	assert_int_equal(serve(), 0);
	s.token[0] = '?';
	assert_int_equal(open_as(&c, "right", "secret-token"), -EKEYREJECTED);
	assert_int_equal(s.e.code, RPC_CHANGED_CERTIFICATE);
	assert_non_null(strstr(s.e.message, old));
	assert_true(strlen(s.e.message) > 2 * 95);
	assert_non_null(strstr(s.e.hint, s.known));
	assert_int_equal(s.asked_pin, 0);
	assert_int_equal(s.token[0], '?');
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_unknown_certificate_is_asked_about_before_anything_is_sent),
		cmocka_unit_test(an_accepted_certificate_is_not_asked_about_again),
		cmocka_unit_test(a_fingerprint_may_be_written_in_small_or_large_letters),
		cmocka_unit_test(a_token_goes_with_the_connection),
		cmocka_unit_test(a_wrong_password_is_refused_in_the_hosts_words),
		cmocka_unit_test(messages_of_any_size_go_both_ways),
		cmocka_unit_test(a_lost_connection_is_told_and_made_again_with_the_sessions_token),
		cmocka_unit_test(a_stream_carries_bytes_both_ways_and_ends_with_either_side),
		cmocka_unit_test(a_changed_certificate_is_refused_with_both_fingerprints),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
