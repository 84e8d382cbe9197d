/*
 * tests/unit/carriers_test.c - the real carriers on loopback: the local socket, POST over TLS, WebSockets,
 * streams; garbage on each of them; remote management opened and closed.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lib/rpc_client.h"
#include "lib/transport_server.h"
#include "tests/unit/fake_agent.h"

/* libwebsockets 4.1 keeps the TLS context of a vhost that ends while a hello is under way: once a process, at
 * its end. Connections that come and go were counted by the thousand: they leave nothing. */
const char *__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return "leak:libcrypto.so\nleak:libssl.so\n"; /* other tests with an agent look there, too */
}

static int far_end = -1; /* of the last stream */

static int
open_stream(struct call *c, const void *params, json_t *result, struct fault *f)
{
	char ticket[TICKET_SIZE];
	struct err e = { 0 };
	int fd[2];

	(void)params;
	(void)f;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	far_end = fd[0];
	assert_int_equal(ticket_new(c->agent, c->who, fd[1], ticket, &e), 0);
	json_object_set_new(result, "ticket", json_string(ticket));
	return 0;
}

static int
say_much(struct call *c, const void *params, json_t *result, struct fault *f)
{
	char *text = malloc(500001);

	(void)c;
	(void)params;
	(void)f;
	memset(text, 'x', 500000);
	text[500000] = '\0';
	json_object_set_new(result, "text", json_string(text));
	free(text);
	return 0;
}

const struct rpc_method fake_methods[] = {
	{ "stream.open", "Opens.", "/", ROLE_NONE, 0, .example = "x", .call = open_stream },
	{ "much.say", "Says much.", "/", ROLE_NONE, METHOD_OPEN, .example = "x", .call = say_much },
	{ 0 },
};

static int
setup(void **state)
{
	struct err e = { 0 };

	signal(SIGPIPE, SIG_IGN);
	if (fake_setup(state) < 0)
		return -1;
	return carriers_remote(fake_agent, true, &e);
}

/* --- by hand --- */

static int
connect_local(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct timeval tv = { .tv_sec = 10 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", fake_path("run/rpc.sock"));
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	return fd;
}

static in_addr_t source = INADDR_LOOPBACK; /* that we come from */

static int
connect_tcp(void)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(source) };
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_port = htons(carriers_port(fake_agent)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval tv = { .tv_sec = 10 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0 ||
	    connect(fd, (struct sockaddr *)&in, sizeof(in)) < 0) {
		close(fd);
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	return fd;
}

static void
say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* A line without its newline, or "" at the end. */
static const char *
line(int fd)
{
	static char buf[1 << 20];
	size_t n = 0;

	while (n + 1 < sizeof(buf) && recv(fd, buf + n, 1, 0) == 1 && buf[n] != '\n')
		n++;
	buf[n] = '\0';
	return buf;
}

/* Sends a request over TLS, and gives what came back until the server closed. */
static const char *
over_tls(const char *request, size_t len)
{
	static char buf[1 << 16];
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl = SSL_new(ctx);
	int fd = connect_tcp(), n = 0, got;

	SSL_set_fd(ssl, fd);
	assert_int_equal(SSL_connect(ssl), 1);
	assert_string_equal(SSL_get_version(ssl), "TLSv1.3");
	assert_int_equal(SSL_write(ssl, request, (int)len), len);
	while (n < (int)sizeof(buf) - 1 && (got = SSL_read(ssl, buf + n, (int)sizeof(buf) - 1 - n)) > 0)
		n += got;
	buf[n] = '\0';
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
	return buf;
}

static const char *
post(const char *body, const char *more)
{
	char request[2048];

	snprintf(request, sizeof(request),
	    "POST /rpc/v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n%s", more,
	    strlen(body), body);
	return over_tls(request, strlen(request));
}

static void
the_local_socket_knows_who_is_there(void **state)
{
	int fd = connect_local();

	(void)state;
	say(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"session.get\"}\r\n\n");
	if (getuid() == 0)
		assert_non_null(
		    strstr(line(fd), "\"user\":\"root\",\"role\":\"Administrator\",\"carrier\":\"local\""));
	else
		assert_non_null(line(fd));
	say(fd, "{\"jsonrpc\":\"2.0\",\"id\":2,\"meth");
	usleep(20000);
	say(fd, "od\":\"rpc.features\"}\n{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"rpc.features\"}\n");
	assert_non_null(strstr(line(fd), "\"features\""));
	assert_non_null(strstr(line(fd), "\"features\""));
	close(fd);
}

static void
half_closed_the_answers_still_come(void **state)
{
	int fd = connect_local();

	(void)state;
	say(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"much.say\"}\n");
	shutdown(fd, SHUT_WR);
	assert_true(strlen(line(fd)) > 500000);
	assert_string_equal(line(fd), ""); /* and then the end */
	close(fd);
}

static void
garbage_on_the_local_socket_gets_one_error(void **state)
{
	static char junk[100000];
	int fd = connect_local();

	(void)state;
	say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_non_null(strstr(line(fd), "NOT_JSON"));
	assert_string_equal(line(fd), "");
	close(fd);
	fd = connect_local();
	memset(junk, 'x', sizeof(junk));
	for (int i = 0; i < 12; i++) /* 1.2 MB without an end */
		if (send(fd, junk, sizeof(junk), MSG_NOSIGNAL) < 0)
			break;
	assert_non_null(strstr(line(fd), "TOO_LARGE"));
	close(fd);
}

static void
a_client_that_does_not_read_is_disconnected(void **state)
{
	static const char ask[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"much.say\"}\n";
	struct timeval tv = { .tv_sec = 10 };
	int fd = connect_local(), sent = 0;

	(void)state;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	while (sent < 2000 && send(fd, ask, sizeof(ask) - 1, MSG_NOSIGNAL) > 0) {
		sent++;
		usleep(1000);
	}
	assert_true(sent < 2000);
	close(fd);
	fd = connect_local(); /* others are served */
	say(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rpc.features\"}\n");
	assert_non_null(strstr(line(fd), "features"));
	close(fd);
}

static void
a_post_is_answered_with_its_status(void **state)
{
	static const char ask[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"session.get\"}";
	const char *answer;

	(void)state;
	answer = post(ask, "");
	assert_int_equal(strncmp(answer, "HTTP/1.1 401", 12), 0);
	assert_non_null(strstr(answer, "NOT_LOGGED_IN"));
	answer = post(ask, "Authorization: Basic YW5uYTpwYXNzd29yZCBvZiBhbm5h\r\n");
	assert_int_equal(strncmp(answer, "HTTP/1.1 200", 12), 0);
	assert_non_null(strstr(answer, "\"carrier\":\"https\""));
	answer = post("[{\"jsonrpc\":\"2.0\",\"method\":\"rpc.features\"}]", "");
	assert_int_equal(strncmp(answer, "HTTP/1.1 204", 12), 0);
	answer = post("garbage", "");
	assert_int_equal(strncmp(answer, "HTTP/1.1 400", 12), 0);
	assert_non_null(strstr(answer, "NOT_JSON"));
}

static void
what_is_no_post_to_us_gets_one_sentence(void **state)
{
	static const struct {
		const char *request, *status;
	} rows[] = {
		{ "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404" },
		{ "GET /rpc/v1 HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 405" },
		{ "POST /rpc/v2 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 404" },
		{ "POST /rpc/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 400" },
		{ "POST /rpc/v1 HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 411" },
		{ "POST /rpc/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n", "HTTP/1.1 413" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *answer = over_tls(rows[i].request, strlen(rows[i].request));

		if (strncmp(answer, rows[i].status, 12) != 0)
			fail_msg("%s: %s", rows[i].request, answer);
		assert_non_null(strstr(answer, "\"error\":{\"code\":"));
	}
}

static void
nothing_is_said_in_the_clear(void **state)
{
	char buf[1024];
	ssize_t n;
	int fd = connect_tcp();

	(void)state;
	say(fd, "POST /rpc/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 51\r\n\r\n"
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rpc.features\"}    ");
	n = recv(fd, buf, sizeof(buf) - 1, MSG_WAITALL);
	assert_true(n > 0);
	buf[n] = '\0';
	assert_int_equal(strncmp(buf, "HTTP/1.1 400", 12), 0);
	assert_non_null(strstr(buf, "HTTPS only"));
	assert_null(strstr(buf, "\"result\""));
	close(fd);
	for (size_t i = 0; i < 2; i++) { /* nor a WebSocket in the clear */
		static const char *const path[] = { "/rpc/v1", "/stream/x" };
		char text[256], got[64] = "";

		snprintf(text, sizeof(text),
		    "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
		    path[i]);
		fd = connect_tcp();
		assert_true(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
		if (read(fd, got, sizeof(got) - 1) > 0)
			assert_null(strstr(got, "101"));
		close(fd);
	}
	fd = connect_tcp(); /* no TLS at all */
	say(fd, "\x01\x02\x03\x04\x05\x06\x07\x08\x09");
	assert_true(recv(fd, buf, sizeof(buf), 0) <= 64);
	close(fd);
}

static int
hello(int version)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	int fd = connect_tcp(), rc;
	SSL *ssl;

	SSL_CTX_set_max_proto_version(ctx, version);
	ssl = SSL_new(ctx);
	SSL_set_fd(ssl, fd);
	rc = SSL_connect(ssl);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
	return rc;
}

static void
an_older_tls_is_refused(void **state)
{
	(void)state;
	assert_int_not_equal(hello(TLS1_2_VERSION), 1);
	assert_int_equal(hello(TLS1_3_VERSION), 1);
}

/* --- by the client that menu and shell use --- */

static bool
pin(void *ctx, const char *host, const char *fingerprint)
{
	(void)ctx;
	(void)host;
	return strcmp(fingerprint, carriers_fingerprint(fake_agent)) == 0;
}

static int
password(void *ctx, const char *user, const char *host, char *out, size_t size)
{
	(void)host;
	snprintf(out, size, "%s of %s", (const char *)ctx, user);
	return 0;
}

static struct rpc_client *
remote_as(const char *user)
{
	static char hosts[160];
	struct rpc_options o = { .port = carriers_port(fake_agent),
		.user = user,
		.known_hosts = hosts,
		.password = password,
		.pin = pin,
		.ctx = (char[]){ "password" } };
	struct rpc_client *c;
	struct rpc_error e;

	snprintf(hosts, sizeof(hosts), "%s", fake_path("known_hosts"));
	if (rpc_open(&c, "127.0.0.1", &o, &e) < 0)
		fail_msg("%s", e.message);
	return c;
}

static void
a_websocket_carries_calls_and_events(void **state)
{
	struct rpc_client *c = remote_as("olga");
	struct rpc_error e;
	json_t *r;

	(void)state;
	assert_int_equal(rpc_call(c, "session.get", NULL, 10000, &r, &e), 0);
	assert_string_equal(json_string_value(json_object_get(r, "carrier")), "wss");
	assert_string_equal(json_string_value(json_object_get(r, "role")), "Operator");
	json_decref(r);
	assert_int_equal(rpc_call(c, "much.say", NULL, 10000, &r, &e), 0);
	assert_int_equal(json_string_length(json_object_get(r, "text")), 500000);
	json_decref(r);
	assert_true(rpc_call(c, "user.list", NULL, 10000, &r, &e) < 0);
	assert_string_equal(e.symbol, "FORBIDDEN");
	assert_int_equal(rpc_call(c, "event.subscribe", NULL, 10000, &r, &e), 0);
	json_decref(r);
	event_publish(fake_agent, "a.one", NULL);
	r = rpc_next_event(c, 10000, &e);
	assert_string_equal(json_string_value(json_object_get(r, "type")), "a.one");
	json_decref(r);
	rpc_close(c);
}

/* Something large in both directions, at once, through a stream. */
static void
assert_carries(int fd)
{
	enum { SIZE = 3000000 };
	char *out = malloc(SIZE), *in = malloc(SIZE);
	size_t sent[2] = { 0 }, got[2] = { 0 };
	int ends[2] = { fd, far_end };

	for (int i = 0; i < SIZE; i++)
		out[i] = (char)(i * 7 + i / 256);
	for (int i = 0; i < 2; i++)
		fcntl(ends[i], F_SETFL, fcntl(ends[i], F_GETFL) | O_NONBLOCK);
	while (got[0] < SIZE || got[1] < SIZE) {
		struct pollfd p[2];

		for (int i = 0; i < 2; i++)
			p[i] =
			    (struct pollfd){ ends[i], (short)(POLLIN | (sent[i] < SIZE ? POLLOUT : 0)), 0 };
		assert_true(poll(p, 2, 10000) > 0);
		for (int i = 0; i < 2; i++) {
			ssize_t n = read(ends[i], in, SIZE);

			assert_true(n != 0);
			if (n > 0) {
				assert_memory_equal(in, out + got[i], (size_t)n);
				got[i] += (size_t)n;
			}
			n = sent[i] < SIZE ? send(ends[i], out + sent[i], SIZE - sent[i], MSG_NOSIGNAL) : 0;
			sent[i] += n > 0 ? (size_t)n : 0;
		}
	}
	free(out);
	free(in);
}

static void
use_stream(struct rpc_client *c)
{
	struct rpc_error e;
	char ticket[TICKET_SIZE], byte;
	json_t *r;
	int fd;

	assert_int_equal(rpc_call(c, "stream.open", NULL, 10000, &r, &e), 0);
	strcpy(ticket, json_string_value(json_object_get(r, "ticket")));
	json_decref(r);
	if (rpc_stream_open(c, ticket, &fd, &e) < 0)
		fail_msg("%s", e.message);
	assert_carries(fd);
	close(far_end); /* the other end goes: so does the stream */
	fcntl(fd, F_SETFL, 0);
	assert_int_equal(read(fd, &byte, 1), 0);
	close(fd);
	/* Used up. Over a WebSocket the refusal comes as a frame, and then the end. */
	if (rpc_stream_open(c, ticket, &fd, &e) == 0) {
		char buf[512];
		ssize_t n = read(fd, buf, sizeof(buf) - 1);

		buf[n > 0 ? n : 0] = '\0';
		assert_non_null(strstr(buf, "TICKET_INVALID"));
		close(fd);
	}
}

static void
a_stream_carries_bytes_both_ways_on_both_carriers(void **state)
{
	struct rpc_client *c = remote_as("olga");
	struct rpc_options o = { .socket_path = fake_path("run/rpc.sock") };
	struct rpc_error e;

	(void)state;
	use_stream(c);
	rpc_close(c);
	if (getuid() != 0)
		return;
	assert_int_equal(rpc_open(&c, NULL, &o, &e), 0);
	use_stream(c);
	rpc_close(c);
}

static void
remote_management_is_opened_and_closed_at_run_time(void **state)
{
	struct rpc_client *c = remote_as("olga");
	struct rpc_error e;
	struct err why = { 0 };
	json_t *r;
	int fd;

	(void)state;
	assert_true(carriers_remote_is_on(fake_agent));
	assert_int_equal(carriers_remote(fake_agent, true, &why), 0); /* already */
	assert_int_equal(carriers_remote(fake_agent, false, &why), 0);
	assert_false(carriers_remote_is_on(fake_agent));
	assert_true(rpc_call(c, "session.get", NULL, 10000, &r, &e) < 0); /* who was there is gone */
	rpc_close(c);
	fd = connect_local(); /* locally nothing has changed */
	say(fd, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"rpc.features\"}\n");
	assert_non_null(strstr(line(fd), "features"));
	close(fd);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(carriers_remote(fake_agent, true, &why), 0);
		assert_int_equal(carriers_remote(fake_agent, false, &why), 0);
	}
	assert_int_equal(carriers_remote(fake_agent, true, &why), 0);
	rpc_close(remote_as("anna"));
}

static void
a_port_that_is_taken_is_told(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY) };
	socklen_t len = sizeof(in);
	struct err e = { 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(carriers_remote(fake_agent, false, &e), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	fake_agent->o.port = ntohs(in.sin_port);
	assert_int_equal(carriers_remote(fake_agent, true, &e), -EADDRINUSE);
	assert_non_null(strstr(e.msg, "port"));
	assert_false(carriers_remote_is_on(fake_agent));
	close(fd);
}

static void
the_certificate_stays_and_a_broken_one_is_made_anew(void **state)
{
	char before[96];

	(void)state;
	snprintf(before, sizeof(before), "%s", carriers_fingerprint(fake_agent));
	assert_int_equal(strlen(before), 95);
	fake_restart();
	assert_string_equal(carriers_fingerprint(fake_agent), before);
	agent_stop(fake_agent);
	fake_file("data/system/tls/cert.pem", "half a cer");
	fake_start();
	assert_string_not_equal(carriers_fingerprint(fake_agent), before);
}

static void
connections_from_one_address_are_bounded(void **state)
{
	static const char nothing[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	int fd[LINKS_SOURCE + 8], refused = 0;
	char byte;

	(void)state;
	for (int i = 0; i < LINKS_SOURCE + 8; i++)
		fd[i] = connect_tcp();
	usleep(200000);
	source = INADDR_LOOPBACK + 1; /* others are served */
	assert_non_null(strstr(over_tls(nothing, strlen(nothing)), "404"));
	source = INADDR_LOOPBACK;
	for (int i = 0; i < LINKS_SOURCE + 8; i++) {
		refused += recv(fd[i], &byte, 1, MSG_DONTWAIT) == 0;
		close(fd[i]);
	}
	assert_int_equal(refused, 8);
}

#define T(x) cmocka_unit_test_setup_teardown(x, setup, fake_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_local_socket_knows_who_is_there),
		T(half_closed_the_answers_still_come),
		T(garbage_on_the_local_socket_gets_one_error),
		T(a_client_that_does_not_read_is_disconnected),
		T(a_post_is_answered_with_its_status),
		T(what_is_no_post_to_us_gets_one_sentence),
		T(nothing_is_said_in_the_clear),
		T(an_older_tls_is_refused),
		T(a_websocket_carries_calls_and_events),
		T(a_stream_carries_bytes_both_ways_on_both_carriers),
		T(remote_management_is_opened_and_closed_at_run_time),
		T(a_port_that_is_taken_is_told),
		T(the_certificate_stays_and_a_broken_one_is_made_anew),
		T(connections_from_one_address_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
