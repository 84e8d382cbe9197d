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
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

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
	assert_int_equal(ticket_new(c, fd[1], ticket, &e), 0);
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

struct watch_params {
	char vm[65];
};

static const struct field watch_params[] = {
	{ "vm", FIELD_STRING, FIELD_AT(watch_params, vm), .max = 64, .size = 65, .help = "A machine." },
	{ .type = FIELD_END },
};

const struct rpc_method fake_methods[] = {
	{ "stream.open", "Opens.", "/", ROLE_NONE, 0, .example = "x", .call = open_stream },
	{ "vm.watch", "Opens.", "/vm/{vm}", ROLE_OPERATOR, 0, watch_params, sizeof(struct watch_params),
	    .example = "x", .call = open_stream },
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

static const char *token; /* to log in with instead of a password */

static struct rpc_client *
remote_as(const char *user)
{
	static char hosts[160];
	struct rpc_options o = { .port = carriers_port(fake_agent),
		.user = user,
		.token = token,
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
	assert_int_equal(rpc_stream_open(c, ticket, &fd, &e), -EREMOTEIO); /* used up */
	assert_string_equal(e.symbol, "TICKET_INVALID");
	assert_non_null(strstr(e.message, "ticket was used"));
	assert_int_equal(fd, -1);
}

static void
a_refused_ticket_is_an_answer_not_bytes_of_the_stream(void **state)
{
	static const char ask[] = "GET /stream/nonsense HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
				  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
				  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
	const char *got = over_tls(ask, strlen(ask)), *body = strstr(got, "\r\n\r\n");
	json_t *doc;

	(void)state;
	assert_int_equal(strncmp(got, "HTTP/1.", 7), 0);
	assert_int_equal(strncmp(got + 8, " 403", 4), 0);
	assert_non_null(strstr(got, "application/json"));
	assert_non_null(body);
	doc = json_loads(body, 0, NULL);
	assert_string_equal(fake_symbol(doc), "TICKET_INVALID");
	json_decref(doc);
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

/* --- rights that go --- */

static void
delete_olga(void)
{
	json_decref(fake_done("root", "user.delete", "{\"name\":\"olga\",\"_\":{\"confirm\":true}}"));
}

static void
change_password(void)
{
	json_decref(
	    fake_done("root", "user.setPassword", "{\"name\":\"olga\",\"password\":\"another password\"}"));
}

static void
delete_token(void)
{
	json_decref(fake_done("root", "token.delete", "{\"name\":\"t\",\"user\":\"olga\"}"));
}

static void
demote_olga(void)
{
	fake_file("etc/group", "root:x:0:\nviewers:x:802:anna,olga\n");
}

static void
take_scope(void)
{
	fake_file("data/system/roles.json", "{\"Version\":1,\"Grants\":[]}");
}

static void
disable_olga(void)
{
	fake_file("etc/shadow", "olga:!$5$x$y:20000:0:99999:7:::\n");
}

static const struct loss {
	const char *user;
	bool by_token, connection_too;
	void (*lose)(void);
} losses[] = {
	{ "olga", false, true, delete_olga },
	{ "olga", false, true, change_password },
	{ "olga", true, true, delete_token },
	{ "olga", true, true, delete_olga },
	{ "olga", true, true, disable_olga },
	{ "olga", false, false, demote_olga },
	{ "paul", false, false, take_scope },
};

static struct rpc_client *
with_rights(const struct loss *row)
{
	json_t *r = row->by_token ? fake_done(row->user, "token.create", "{\"name\":\"t\"}") : NULL;
	struct rpc_client *c;

	token = json_string_value(json_object_get(r, "token"));
	c = remote_as(row->user);
	token = NULL;
	json_decref(r);
	return c;
}

/* Its end comes, within five seconds: rights that go by a file are looked at once a second. */
static void
assert_ends(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char byte;

	assert_int_equal(poll(&p, 1, 5000), 1);
	assert_int_equal(read(fd, &byte, 1), 0);
	close(fd);
}

static void
get_ticket(struct rpc_client *c, char ticket[TICKET_SIZE])
{
	struct rpc_error e;
	json_t *r;

	if (rpc_call(c, "vm.watch", json_pack("{s:s}", "vm", "web1"), 10000, &r, &e) < 0)
		fail_msg("%s", e.message);
	strcpy(ticket, json_string_value(json_object_get(r, "ticket")));
	json_decref(r);
}

static void
lose(const struct loss *row)
{
	struct rpc_client *c = with_rights(row);
	char ticket[TICKET_SIZE];
	struct rpc_error e;
	int fd, far[2];
	json_t *r;

	get_ticket(c, ticket);
	far[0] = far_end;
	assert_int_equal(rpc_stream_open(c, ticket, &fd, &e), 0);
	get_ticket(c, ticket); /* not shown yet */
	far[1] = far_end;
	row->lose();
	assert_ends(fd);
	assert_ends(far[0]);
	assert_ends(far[1]);
	if (row->connection_too)
		assert_ends(dup(rpc_fd(c)));
	assert_true(rpc_call(c, "vm.watch", json_pack("{s:s}", "vm", "web1"), 10000, &r, &e) < 0);
	rpc_close(c);
}

static void
a_stream_is_cut_when_its_rights_go(void **state)
{
	for (size_t i = 0; i < sizeof(losses) / sizeof(losses[0]); i++) {
		lose(&losses[i]);
		assert_int_equal(fake_teardown(state), 0);
		assert_int_equal(setup(state), 0);
	}
}

static void
a_stream_with_much_to_say_is_cut_too(void **state)
{
	struct rpc_client *c = remote_as("olga");
	char ticket[TICKET_SIZE], much[65536];
	struct rpc_error e;
	int fd, n = 0;

	(void)state;
	get_ticket(c, ticket);
	assert_int_equal(rpc_stream_open(c, ticket, &fd, &e), 0);
	memset(much, 'x', sizeof(much));
	fcntl(far_end, F_SETFL, O_NONBLOCK);
	delete_olga();
	for (; n < 1000; n++) { /* it goes on talking, and somebody goes on reading */
		ssize_t in = recv(fd, much, sizeof(much), MSG_DONTWAIT);

		if (in == 0 || (send(far_end, much, sizeof(much), MSG_NOSIGNAL) < 0 && errno == EPIPE))
			break;
		usleep(1000);
	}
	assert_true(n < 1000);
	close(far_end);
	close(fd);
	rpc_close(c);
}

static void
only_those_who_lost_the_right_are_cut(void **state)
{
	struct rpc_client *c = remote_as("paul"), *other = remote_as("olga");
	char ticket[TICKET_SIZE];
	struct pollfd p = { .events = POLLIN };
	struct rpc_error e;
	json_t *r;
	int fd;

	(void)state;
	get_ticket(c, ticket);
	assert_int_equal(rpc_stream_open(c, ticket, &fd, &e), 0);
	delete_olga();
	p.fd = fd;
	assert_int_equal(poll(&p, 1, 1500), 0);
	assert_int_equal(rpc_call(c, "session.get", NULL, 10000, &r, &e), 0);
	json_decref(r);
	close(far_end);
	close(fd);
	rpc_close(other);
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

/* Connections of another user, as a process of its own; pid. They are held until it is killed. */
static pid_t
crowd_of(uid_t uid, int n)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int ready[2];
	pid_t pid;
	char byte;

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", fake_path("run/rpc.sock"));
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		if (setresuid(uid, uid, uid) < 0)
			_exit(1);
		for (int i = 0; i < n; i++) {
			int fd = socket(AF_UNIX, SOCK_STREAM, 0);

			if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0)
				_exit(2);
		}
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(0);
	}
	assert_true(pid > 0);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void
other_users_cannot_lock_root_out(void **state)
{
	int fd[LINKS_LOCAL_ROOT];
	pid_t crowd[5];

	(void)state;
	if (getuid() != 0)
		skip();
	assert_int_equal(chmod(fake_dir, 0755), 0);
	for (int i = 0; i < 5; i++)
		crowd[i] = crowd_of((uid_t)(20001 + i), 40);
	for (int i = 0; i < LINKS_LOCAL_ROOT; i++) {
		fd[i] = connect_local(); /* all that is root's */
		say(fd[i], "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"session.get\"}\n");
		assert_non_null(strstr(line(fd[i]), "\"user\":\"root\""));
	}
	for (int i = 0; i < LINKS_LOCAL_ROOT; i++)
		close(fd[i]);
	for (int i = 0; i < 5; i++)
		kill(crowd[i], SIGKILL);
	for (int i = 0; i < 5; i++)
		assert_int_equal(waitpid(crowd[i], NULL, 0), crowd[i]);
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
		T(a_refused_ticket_is_an_answer_not_bytes_of_the_stream),
		T(a_stream_is_cut_when_its_rights_go),
		T(a_stream_with_much_to_say_is_cut_too),
		T(only_those_who_lost_the_right_are_cut),
		T(remote_management_is_opened_and_closed_at_run_time),
		T(a_port_that_is_taken_is_told),
		T(the_certificate_stays_and_a_broken_one_is_made_anew),
		T(connections_from_one_address_are_bounded),
		T(other_users_cannot_lock_root_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
