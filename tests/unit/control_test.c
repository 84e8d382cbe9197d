/*
 * tests/unit/control_test.c - the control protocol: a real server on a real socket, driven packet by
 * packet by a peer that may be well-behaved or not; the client against a peer of that kind; and both
 * together.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/control.h"
#include "lib/log.h"

/* What the methods below do is written down here. */
static struct world {
	struct control *server;
	int listener, peer;
	int calls, given;
	uint64_t amount;
	int fds_before;
} w;

struct add {
	uint64_t a, b, c;
	int fd;
};

static const struct field add_fields[] = {
	{ "A", FIELD_UINT, true, FIELD_AT(add, a), .min = 1, .max = 1000, .help = "One." },
	{ "B", FIELD_UINT, .help = "Other.", .max = 1000, FIELD_AT(add, b) },
	{ "C", FIELD_UINT, .help = "Third, by default nothing.", .max = 1000, FIELD_AT(add, c) },
	{ "Fd", FIELD_FD, .help = "A file.", FIELD_AT(add, fd) },
	{ .type = FIELD_END },
};

struct sum {
	uint64_t sum;
	char text[120000];
};

static const struct field sum_fields[] = {
	{ "Sum", FIELD_UINT, .help = "Of both.", .max = UINT64_MAX, FIELD_AT(sum, sum) },
	{ .type = FIELD_END },
};

static const struct field text_fields[] = {
	{ "Text", FIELD_STRING, .help = "Much.", .max = 119999, .size = 120000, FIELD_AT(sum, text) },
	{ "Again", FIELD_STRING, .help = "The same.", .max = 119999, .size = 120000, FIELD_AT(sum, text) },
	{ .type = FIELD_END },
};

static void
add_defaults(void *params)
{
	struct add *p = params;

	p->b = 40;
}

static int
add(void *ctx, void *params, void *result, struct err *e)
{
	struct add *p = params;
	struct sum *r = result;

	(void)e;
	assert_ptr_equal(ctx, &w);
	w.calls++;
	w.given = p->fd;
	r->sum = p->a + p->b + p->c;
	w.amount = r->sum;
	return 0;
}

static int
refuse(void *ctx, void *params, void *result, struct err *e)
{
	(void)ctx;
	(void)params;
	(void)result;
	w.calls++;
	return err_set(e, EBUSY, "the disk is in use");
}

static int
refuse_silently(void *ctx, void *params, void *result, struct err *e)
{
	(void)ctx;
	(void)params;
	(void)result;
	(void)e;
	return -ENOSPC;
}

static int
tell(void *ctx, void *params, void *result, struct err *e)
{
	(void)ctx;
	(void)params;
	(void)result;
	(void)e;
	control_event(w.server, "told", json_pack("{s:i}", "n", 1));
	return 0;
}

static int
talk(void *ctx, void *params, void *result, struct err *e)
{
	struct sum *r = result;

	(void)ctx;
	(void)params;
	(void)e;
	memset(r->text, 'x', 100000);
	return 0;
}

static const struct method methods[] = {
	{ "add", "Adds.", add_fields, sizeof(struct add), add_defaults, sum_fields, sizeof(struct sum), add },
	{ "fail", "Fails.", .call = refuse },
	{ "fail_silently", "Fails.", .call = refuse_silently },
	{ "tell", "Sends an event.", .call = tell },
	{ "talk", "Answers too much.", .result = text_fields, .result_size = sizeof(struct sum),
	    .call = talk },
	{ 0 },
};

static int
open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 512; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* A listening socket; where is filled with its address. path NULL: the kernel picks a name. */
static int
listen_at(const char *path, struct sockaddr_un *where, socklen_t *len)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	memset(where, 0, sizeof(*where));
	where->sun_family = AF_UNIX;
	*len = sizeof(sa_family_t);
	if (path) {
		snprintf(where->sun_path, sizeof(where->sun_path), "%s", path);
		*len = sizeof(*where);
	}
	assert_int_equal(bind(fd, (struct sockaddr *)where, *len), 0);
	assert_int_equal(listen(fd, 4), 0);
	*len = sizeof(*where);
	assert_int_equal(getsockname(fd, (struct sockaddr *)where, len), 0);
	return fd;
}

static int
connect_to(const struct sockaddr_un *where, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)where, len), 0);
	return fd;
}

static struct sockaddr_un address;
static socklen_t address_len;

/* A server and a peer that is connected to it. */
static int
connect_peer(void **state)
{
	(void)state;
	memset(&w, 0, sizeof(w));
	w.fds_before = open_fds();
	w.listener = listen_at(NULL, &address, &address_len);
	if (control_new(&w.server, w.listener, methods, &w, NULL) < 0)
		return -1;
	w.peer = connect_to(&address, address_len);
	control_handle(w.server);
	return control_poll_fd(w.server) == w.listener ? -1 : 0;
}

static int
disconnect_peer(void **state)
{
	(void)state;
	close(w.peer);
	control_free(w.server);
	return open_fds() == w.fds_before ? 0 : -1; /* in every test: no descriptor is lost */
}

static void
say_bytes(int fd, const char *text, size_t len)
{
	assert_int_equal(send(fd, text, len, MSG_NOSIGNAL), len);
}

static void
say(const char *text)
{
	say_bytes(w.peer, text, strlen(text));
	control_handle(w.server);
}

static void
say_with_fds(const char *text, const int *fd, size_t n)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(250 * sizeof(int))];
	} anc = { 0 };
	struct iovec iov = { .iov_base = (char *)text, .iov_len = strlen(text) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = anc.bytes };

	m.msg_controllen = CMSG_SPACE(n * sizeof(int));
	anc.header.cmsg_level = SOL_SOCKET;
	anc.header.cmsg_type = SCM_RIGHTS;
	anc.header.cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(&anc.header), fd, n * sizeof(int));
	assert_int_equal(sendmsg(w.peer, &m, MSG_NOSIGNAL), strlen(text));
	control_handle(w.server);
}

static char heard_text[CONTROL_MAX + 1];

/* The next packet, "" when there is none. */
static const char *
heard(void)
{
	ssize_t n = recv(w.peer, heard_text, sizeof(heard_text) - 1, MSG_DONTWAIT);

	heard_text[n > 0 ? n : 0] = '\0';
	return heard_text;
}

/* Expects an answer with this error code and errno to this id (JSON), and an empty socket after it. */
static void
expect_error(const char *id, int code, int errnum)
{
	json_t *doc = json_loads(heard(), 0, NULL), *want = json_loads(id, JSON_DECODE_ANY, NULL);
	json_t *error = json_object_get(doc, "error");

	assert_non_null(doc);
	assert_string_equal(json_string_value(json_object_get(doc, "jsonrpc")), "2.0");
	assert_true(json_equal(json_object_get(doc, "id"), want));
	assert_int_equal(json_integer_value(json_object_get(error, "code")), code);
	assert_int_equal(
	    json_integer_value(json_object_get(json_object_get(error, "data"), "errno")), errnum);
	assert_true(json_string_length(json_object_get(error, "message")) > 0);
	assert_string_equal(heard(), "");
	json_decref(doc);
	json_decref(want);
}

static void
expect_alive(void)
{
	say("{\"jsonrpc\":\"2.0\",\"id\":99,\"method\":\"add\",\"params\":{\"A\":1}}");
	assert_string_equal(heard(), "{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":{\"Sum\":41}}");
}

static void
a_request_is_answered(void **state)
{
	(void)state;
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\",\"params\":{\"A\":1,\"B\":2}}");
	assert_string_equal(heard(), "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"Sum\":3}}");
	assert_int_equal(w.given, -1);
	say("{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"tell\"}");
	heard();
	assert_string_equal(heard(), "{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}");
}

static void
an_absent_parameter_has_its_default_every_time(void **state)
{
	(void)state;
	expect_alive();
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\",\"params\":{\"A\":1,\"B\":2,\"C\":500}}");
	assert_non_null(strstr(heard(), ":503}"));
	expect_alive();
}

static void
an_id_comes_back_as_it_was(void **state)
{
	static const char *const ids[] = { "0", "-7", "9223372036854775807", "\"\"", "\"a b\"", "null" };

	(void)state;
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		char text[128], want[128];

		snprintf(text, sizeof(text),
		    "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"add\",\"params\":{\"A\":1}}", ids[i]);
		snprintf(
		    want, sizeof(want), "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{\"Sum\":41}}", ids[i]);
		say(text);
		assert_string_equal(heard(), want);
	}
}

static void
what_is_wrong_is_told_and_the_connection_kept(void **state)
{
	static const struct {
		const char *text, *id;
		int code, errnum;
	} wrong[] = {
		{ "x", "null", -32700, EINVAL },
		{ "{", "null", -32700, EINVAL },
		{ "\xff", "null", -32700, EINVAL },
		{ "{\"id\":1,\"id\":1}", "null", -32700, EINVAL },
		{ "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", "null", -32700,
		    EINVAL },
		{ "1", "null", -32600, EPROTO },
		{ "null", "null", -32600, EPROTO },
		{ "[]", "null", -32600, EPROTO },
		{ "[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fail\"}]", "null", -32600, EPROTO },
		{ "{}", "null", -32600, EPROTO },
		{ "{\"id\":1,\"method\":\"fail\"}", "1", -32600, EPROTO },
		{ "{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"fail\"}", "1", -32600, EPROTO },
		{ "{\"jsonrpc\":2.0,\"id\":1,\"method\":\"fail\"}", "1", -32600, EPROTO },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1}", "1", -32600, EPROTO },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":1}", "1", -32600, EPROTO },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fail\",\"x\":1}", "1", -32600, EPROTO },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"fail\"}", "null", -32600, EPROTO },
		{ "{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"fail\"}", "null", -32600, EPROTO },
		{ "{\"jsonrpc\":\"2.0\",\"id\":\"0123456789012345678901234567890123456789"
		  "0123456789012345678901234\",\"method\":\"fail\"}",
		    "null", -32600, EPROTO },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\"}", "1", -32601, ENOSYS },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"Add\"}", "1", -32601, ENOSYS },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\"}", "1", -32602, EINVAL },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\",\"params\":null}", "1", -32602, EINVAL },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\",\"params\":[1]}", "1", -32602, EINVAL },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\",\"params\":{\"A\":0}}", "1", -32602,
		    EINVAL },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\",\"params\":{\"A\":1,\"Fd\":0}}", "1",
		    -32602, EBADF },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fail\",\"params\":{\"A\":1}}", "1", -32602,
		    EINVAL },
		{ "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"methods\",\"params\":{\"A\":1}}", "1", -32602,
		    EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		say(wrong[i].text);
		assert_int_equal(w.calls, 0);
		expect_error(wrong[i].id, wrong[i].code, wrong[i].errnum);
	}
	expect_alive();
}

static void
a_refusal_says_where_and_why(void **state)
{
	(void)state;
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\",\"params\":{\"A\":1001}}");
	assert_non_null(strstr(heard(), "\"A: 1001 is not between 1 and 1000\""));
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\\nb\\u009b\"}");
	/* split, or ??' would be a trigraph */
	const char *told = "\"no method named 'a?b?"
			   "?'\"";
	assert_non_null(strstr(heard(), told));
}

static void
a_method_that_fails_says_why(void **state)
{
	(void)state;
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fail\"}");
	assert_string_equal(heard(), "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32000,"
				     "\"message\":\"the disk is in use\",\"data\":{\"errno\":16}}}");
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fail_silently\"}");
	assert_non_null(strstr(heard(), "\"fail_silently: No space left on device\""));
	expect_alive();
}

static void
a_notification_is_carried_out_and_not_answered(void **state)
{
	(void)state;
	say("{\"jsonrpc\":\"2.0\",\"method\":\"add\",\"params\":{\"A\":2}}");
	assert_int_equal(w.amount, 42);
	say("{\"jsonrpc\":\"2.0\",\"method\":\"fail\"}");
	assert_int_equal(w.calls, 2);
	say("{\"jsonrpc\":\"2.0\",\"method\":\"nothing\"}");
	say("{\"jsonrpc\":\"2.0\",\"method\":\"methods\"}");
	say("{\"jsonrpc\":\"2.0\",\"method\":\"add\"}");
	assert_string_equal(heard(), "");
	expect_alive();
}

static void
every_method_is_described(void **state)
{
	json_t *doc, *list;

	(void)state;
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"methods\"}");
	doc = json_loads(heard(), 0, NULL);
	list = json_object_get(doc, "result");
	assert_int_equal(json_array_size(list), 5);
	for (size_t i = 0; i < 5; i++) {
		json_t *row = json_array_get(list, i);

		assert_string_equal(json_string_value(json_object_get(row, "name")), methods[i].name);
		assert_string_equal(json_string_value(json_object_get(row, "help")), methods[i].help);
		assert_true(json_is_object(json_object_get(row, "params")));
		assert_true(json_is_object(json_object_get(row, "result")));
	}
	json_decref(doc);
}

static void
the_tables_of_this_test_keep_the_rules(void **state)
{
	(void)state;
	for (const struct method *m = methods; m->name; m++) {
		assert_true(!m->params || schema_table_ok(m->params, NULL));
		assert_true(!m->result || schema_table_ok(m->result, NULL));
	}
}

static void
a_request_cut_anywhere_is_an_error(void **state)
{
	const char *text = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\",\"params\":{\"A\":1,\"B\":2}}";

	(void)state;
	for (size_t len = 1; len < strlen(text); len++) {
		say_bytes(w.peer, text, len);
		control_handle(w.server);
		expect_error("null", -32700, EINVAL);
	}
	assert_int_equal(w.calls, 0);
}

static void
a_descriptor_reaches_the_method(void **state)
{
	int fd[3] = { 0, 1, 2 };

	(void)state;
	say_with_fds(
	    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\",\"params\":{\"A\":1,\"Fd\":2}}", fd, 3);
	heard();
	assert_true(w.given > 2);
	assert_true(fcntl(w.given, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(close(w.given), 0); /* the other two: disconnect_peer counts */
}

static void
descriptors_of_a_request_that_is_refused_are_closed(void **state)
{
	static const char *const texts[] = {
		"garbage",
		"[]",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"nothing\"}",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fail\"}",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\",\"params\":{\"A\":1,\"Fd\":3}}",
		"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\",\"params\":{\"A\":0,\"Fd\":0}}",
		"{\"jsonrpc\":\"2.0\",\"method\":\"add\",\"params\":{\"B\":1001,\"A\":1,\"Fd\":0}}",
	};
	int fd[3] = { 0, 1, 2 }, before = open_fds();

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		say_with_fds(texts[i], fd, 3);
		assert_int_equal(open_fds(), before);
	}
}

static void
too_many_descriptors_are_refused_and_closed(void **state)
{
	int fd[CONTROL_MAX_FDS + 1] = { 0 }, before = open_fds();

	(void)state;
	say_with_fds("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fail\"}", fd, CONTROL_MAX_FDS + 1);
	expect_error("null", -32600, EMSGSIZE);
	assert_int_equal(w.calls, 0);
	assert_int_equal(open_fds(), before);
	say_with_fds("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fail\"}", fd, CONTROL_MAX_FDS);
	assert_int_equal(w.calls, 1);
	assert_int_equal(open_fds(), before);
}

static void
a_packet_that_is_too_long_is_refused(void **state)
{
	char *text = malloc(CONTROL_MAX + 1);

	(void)state;
	memset(text, ' ', CONTROL_MAX + 1);
	memcpy(text, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"fail\"}", 40);
	say_bytes(w.peer, text, CONTROL_MAX + 1);
	control_handle(w.server);
	expect_error("null", -32600, EMSGSIZE);
	assert_int_equal(w.calls, 0);
	say_bytes(w.peer, text, CONTROL_MAX);
	control_handle(w.server);
	assert_int_equal(w.calls, 1);
	free(text);
}

static void
an_answer_that_is_too_long_becomes_an_error(void **state)
{
	(void)state;
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"talk\"}");
	expect_error("1", -32000, EMSGSIZE);
	expect_alive();
}

static void
an_event_goes_out_before_the_answer(void **state)
{
	(void)state;
	say("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tell\"}");
	assert_string_equal(heard(), "{\"jsonrpc\":\"2.0\",\"method\":\"told\",\"params\":{\"n\":1}}");
	assert_string_equal(heard(), "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}");
	control_event(w.server, "bare", NULL);
	assert_string_equal(heard(), "{\"jsonrpc\":\"2.0\",\"method\":\"bare\",\"params\":{}}");
}

static void
an_event_that_is_too_long_is_dropped(void **state)
{
	char *text = malloc(CONTROL_MAX);

	(void)state;
	memset(text, 'x', CONTROL_MAX - 1);
	text[CONTROL_MAX - 1] = '\0';
	control_event(w.server, "long", json_pack("{s:s}", "t", text));
	assert_string_equal(heard(), "");
	expect_alive();
	free(text);
}

static void
a_peer_that_does_not_read_is_disconnected(void **state)
{
	int n;

	(void)state;
	for (n = 0; n < 100000 && control_poll_fd(w.server) != w.listener; n++)
		control_event(w.server, "told", NULL);
	assert_in_range(n, 16, 99999);
	control_event(w.server, "told", NULL); /* nobody is there */
	assert_int_equal(w.listener, control_poll_fd(w.server));
}

static void
a_peer_that_asks_and_does_not_read_is_disconnected(void **state)
{
	const char *text = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tell\"}";
	int n;

	(void)state;
	for (n = 0; n < 100000 && control_poll_fd(w.server) != w.listener; n++)
		say(text);
	assert_in_range(n, 16, 99999);
}

static void
a_newcomer_is_served_when_the_controller_has_gone(void **state)
{
	const char *text = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\",\"params\":{\"A\":1}}";
	int second = connect_to(&address, address_len);

	(void)state;
	say_bytes(second, text, strlen(text));
	expect_alive();
	assert_int_equal(w.calls, 1);
	close(w.peer);
	control_handle(w.server); /* sees the end */
	assert_int_equal(control_poll_fd(w.server), w.listener);
	control_handle(w.server); /* takes the newcomer */
	control_handle(w.server); /* and serves it */
	assert_int_equal(w.calls, 2);
	w.peer = second;
	assert_string_equal(heard(), "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"Sum\":41}}");
}

static void
a_peer_that_goes_before_its_answer_does_no_harm(void **state)
{
	const char *text = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tell\"}";

	(void)state;
	say_bytes(w.peer, text, strlen(text));
	close(w.peer);
	control_handle(w.server);
	assert_int_equal(control_poll_fd(w.server), w.listener);
	w.peer = connect_to(&address, address_len);
	control_handle(w.server);
	expect_alive();
}

static void
an_empty_packet_ends_the_connection(void **state)
{
	int fd[1] = { 0 };

	(void)state;
	say_with_fds("", fd, 1);
	assert_int_equal(control_poll_fd(w.server), w.listener);
}

static void
a_call_for_nothing_changes_nothing(void **state)
{
	(void)state;
	control_handle(w.server);
	control_handle(w.server);
	expect_alive();
}

static size_t until_failure;

static void *
failing_malloc(size_t size)
{
	return until_failure-- == 0 ? NULL : malloc(size);
}

static void
memory_may_be_out_at_any_moment(void **state)
{
	static const char *const texts[] = {
		"{\"id\":7,\"jsonrpc\":\"2.0\",\"method\":\"tell\",\"params\":{}}",
		"{\"id\":7,\"jsonrpc\":\"2.0\",\"method\":\"add\",\"params\":{\"A\":0}}",
		"{\"id\":7,\"jsonrpc\":\"2.0\",\"method\":\"methods\"}",
		"{\"id\":7,\"jsonrpc\":\"2.0\",\"method\":\"add\"}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		for (size_t n = 0; n < 300; n++) {
			until_failure = n;
			json_set_alloc_funcs(failing_malloc, free);
			say(texts[i]);
			json_set_alloc_funcs(malloc, free);
			while (heard()[0])
				assert_int_equal(heard_text[strlen(heard_text) - 1], '}');
			if (control_poll_fd(w.server) == w.listener) { /* nothing could be told */
				close(w.peer);
				w.peer = connect_to(&address, address_len);
				control_handle(w.server);
			}
		}
	expect_alive();
}

static void
a_listener_that_is_none_is_refused(void **state)
{
	struct control *c;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(control_new(&c, -1, methods, NULL, &e), -EBADF);
	assert_null(c);
	assert_string_equal(e.msg, "control: listener: Bad file descriptor");
	control_free(NULL);
}

/* The client, whose peer is the test itself: what it will say is sent before the call. */

static struct control_client *client;

static int
attach_client(void **state)
{
	int fd[2];

	(void)state;
	memset(&w, 0, sizeof(w));
	w.fds_before = open_fds();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) < 0)
		return -1;
	w.peer = fd[0];
	return control_attach(&client, fd[1], NULL);
}

static int
detach_client(void **state)
{
	(void)state;
	control_close(client);
	close(w.peer);
	return open_fds() == w.fds_before ? 0 : -1;
}

static void
prepare(const char *text)
{
	say_bytes(w.peer, text, strlen(text));
}

static void
a_call_returns_the_result(void **state)
{
	json_t *result;

	(void)state;
	prepare("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"x\":5}}");
	assert_int_equal(
	    control_call(client, "add", json_pack("{s:i}", "A", 1), NULL, 0, 1000, &result, NULL), 0);
	assert_int_equal(json_integer_value(json_object_get(result, "x")), 5);
	json_decref(result);
	assert_string_equal(
	    heard(), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"add\",\"params\":{\"A\":1}}");
	prepare("{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}");
	assert_int_equal(control_call(client, "pause", NULL, NULL, 0, 1000, NULL, NULL), 0);
	assert_string_equal(heard(), "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"pause\"}");
}

static void
a_failed_call_has_the_server_s_sentence(void **state)
{
	struct err e = { 0 };
	json_t *result;

	(void)state;
	prepare("{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32000,\"message\":\"in use\","
		"\"data\":{\"errno\":16}}}");
	assert_int_equal(control_call(client, "x", NULL, NULL, 0, 1000, &result, &e), -EBUSY);
	assert_null(result);
	assert_string_equal(e.msg, "in use");
}

static void
an_answer_that_makes_no_sense_is_a_failure(void **state)
{
	static const char *const answers[] = {
		"garbage",
		"{\"jsonrpc\":\"2.0\",\"id\":null}",
		"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{}}",
		"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":1}",
		"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"message\":1,\"data\":{\"errno\":0}}}",
		"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"message\":\"m\",\"data\":{\"errno\":-5}}}",
		"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"message\":\"m\",\"data\":{\"errno\":"
		"4294967296}}}",
		"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"message\":\"m\\n\",\"data\":{\"errno\":\"1\"}}"
		"}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct err e = { 0 };

		prepare(answers[i]);
		assert_int_equal(control_call(client, "x", NULL, NULL, 0, 1000, NULL, &e), -EPROTO);
		assert_int_equal(e.code, EPROTO);
		assert_null(strchr(e.msg, '\n'));
	}
}

static void
answers_to_other_requests_are_skipped(void **state)
{
	json_t *result;
	struct err e = { 0 };

	(void)state;
	assert_int_equal(control_call(client, "slow", NULL, NULL, 0, 1, NULL, &e), -ETIMEDOUT);
	assert_string_equal(e.msg, "no answer in time");
	prepare("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"late\"}");
	prepare("[]");
	prepare("{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":\"right\"}");
	assert_int_equal(control_call(client, "x", NULL, NULL, 0, -1, &result, NULL), 0);
	assert_string_equal(json_string_value(result), "right");
	json_decref(result);
}

static void
a_stream_of_events_does_not_hold_a_call(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++)
		prepare("{\"jsonrpc\":\"2.0\",\"method\":\"e\"}");
	prepare("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}");
	assert_int_equal(control_call(client, "x", NULL, NULL, 0, 0, NULL, NULL), -ETIMEDOUT);
}

static void
a_connection_that_ends_is_told(void **state)
{
	struct err e = { 0 };

	(void)state;
	shutdown(w.peer, SHUT_WR);
	assert_int_equal(control_call(client, "x", NULL, NULL, 0, -1, NULL, &e), -ECONNRESET);
	assert_null(control_next_event(client, -1, &e));
	assert_int_equal(e.code, ECONNRESET);
	shutdown(w.peer, SHUT_RDWR);
	assert_int_equal(control_call(client, "x", NULL, NULL, 0, -1, NULL, &e), -ECONNRESET);
}

static int
next_n(int timeout_ms, struct err *e)
{
	json_t *ev = control_next_event(client, timeout_ms, e);
	json_int_t n = ev ? json_integer_value(json_object_get(json_object_get(ev, "params"), "n")) : -1;

	if (ev) {
		assert_int_equal(json_object_size(ev), 2);
		assert_string_equal(json_string_value(json_object_get(ev, "method")), "e");
	}
	json_decref(ev);
	return (int)n;
}

static void
prepare_event(int n)
{
	char text[96];

	snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"method\":\"e\",\"params\":{\"n\":%d}}", n);
	prepare(text);
}

static void
events_are_kept_while_a_call_waits(void **state)
{
	struct err e = { 0 };

	(void)state;
	prepare_event(1);
	prepare_event(2);
	prepare("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}");
	prepare_event(3);
	assert_int_equal(control_call(client, "x", NULL, NULL, 0, 1000, NULL, &e), 0);
	assert_int_equal(next_n(0, &e), 1);
	assert_int_equal(next_n(0, &e), 2);
	assert_int_equal(next_n(1000, &e), 3);
	assert_int_equal(next_n(1, &e), -1);
	assert_int_equal(e.code, ETIMEDOUT);
	prepare("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}"); /* late: not an event */
	prepare_event(4);
	assert_int_equal(next_n(1000, &e), 4);
}

static void
of_too_many_events_the_oldest_are_dropped(void **state)
{
	(void)state;
	for (int i = 0; i < 300; i++) {
		char answer[64];

		prepare_event(i);
		snprintf(answer, sizeof(answer), "{\"jsonrpc\":\"2.0\",\"id\":%d,\"result\":{}}", i + 1);
		prepare(answer);
		assert_int_equal(control_call(client, "x", NULL, NULL, 0, 1000, NULL, NULL), 0);
		heard();
	}
	for (int i = 300 - 256; i < 300; i++)
		assert_int_equal(next_n(0, NULL), i);
	assert_int_equal(next_n(0, NULL), -1);
}

static void
of_events_that_are_too_long_the_oldest_are_dropped(void **state)
{
	char *text = malloc(CONTROL_MAX);

	(void)state;
	for (int i = 0; i < 12; i++) {
		memset(text, ' ', CONTROL_MAX);
		memcpy(text, "{\"method\":\"e\",\"params\":{\"n\":", 28);
		text[28 + i] = '1';
		text[28 + 12] = '}';
		text[CONTROL_MAX - 1] = '}';
		say_bytes(w.peer, text, CONTROL_MAX);
		snprintf(text, 64, "{\"jsonrpc\":\"2.0\",\"id\":%d,\"result\":{}}", i + 1);
		prepare(text);
		assert_int_equal(control_call(client, "x", NULL, NULL, 0, 1000, NULL, NULL), 0);
		heard();
	}
	for (int i = 0; i < 8; i++)
		assert_int_equal(next_n(0, NULL), 1);
	assert_int_equal(next_n(0, NULL), -1);
	free(text);
}

static void
descriptors_from_a_server_are_closed(void **state)
{
	struct world was = w;

	(void)state;
	/* say_with_fds lets a server handle it; there is none here, so one that is not connected. */
	was.listener = listen_at(NULL, &address, &address_len);
	assert_int_equal(control_new(&w.server, was.listener, methods, &w, NULL), 0);
	say_with_fds("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", (const int[]){ 0, 1, 2 }, 3);
	control_free(w.server);
	assert_int_equal(control_call(client, "x", NULL, NULL, 0, 1000, NULL, NULL), 0);
}

static void
a_server_that_does_not_read_is_given_up(void **state)
{
	int rc, n;

	(void)state;
	for (n = 0; n < 100000; n++) {
		rc = control_call(client, "x", NULL, NULL, 0, 0, NULL, NULL);
		assert_int_equal(rc, -ETIMEDOUT);
		if (poll(&(struct pollfd){ .fd = control_client_fd(client), .events = POLLOUT }, 1, 0) == 0)
			break;
	}
	assert_in_range(n, 16, 99999);
	rc = control_call(client, "x", NULL, NULL, 0, 1, NULL, NULL);
	assert_int_equal(rc, -ETIMEDOUT);
}

static void
a_call_that_cannot_be_sent_fails(void **state)
{
	char *text = malloc(CONTROL_MAX + 1);
	int fds[CONTROL_MAX_FDS + 1] = { 0 };
	struct err e = { 0 };

	(void)state;
	memset(text, 'x', CONTROL_MAX);
	text[CONTROL_MAX] = '\0';
	assert_int_equal(
	    control_call(client, "m", json_pack("{s:s}", "t", text), NULL, 0, 0, NULL, &e), -EMSGSIZE);
	assert_string_equal(e.msg, "m: Message too long");
	assert_int_equal(control_call(client, "m", NULL, fds, CONTROL_MAX_FDS + 1, 0, NULL, &e), -E2BIG);
	free(text);
}

static void
a_name_that_leads_nowhere_is_told(void **state)
{
	struct control_client *c;
	struct err e = { 0 };
	char much[200];

	(void)state;
	assert_int_equal(control_connect(&c, "/nowhere/at/all", &e), -ENOENT);
	assert_null(c);
	assert_string_equal(e.msg, "/nowhere/at/all: No such file or directory");
	memset(much, 'x', sizeof(much) - 1);
	much[sizeof(much) - 1] = '\0';
	assert_int_equal(control_connect(&c, much, &e), -ENAMETOOLONG);
	control_close(NULL);
}

/* Both halves, the server on its own thread as in a worker. */
static void *
serve_until_told(void *stop)
{
	for (;;) {
		struct pollfd p[2] = { { .fd = control_poll_fd(w.server), .events = POLLIN },
			{ .fd = *(int *)stop, .events = POLLIN } };

		poll(p, 2, -1);
		if (p[1].revents)
			return NULL;
		control_handle(w.server);
	}
}

static void
client_and_server_understand_each_other(void **state)
{
	char dir[] = "/tmp/control_test.XXXXXX", path[64];
	struct control_client *c;
	struct sockaddr_un where;
	socklen_t len;
	pthread_t thread;
	json_t *result;
	int stop[2], before = open_fds();

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
	assert_int_equal(control_new(&w.server, listen_at(path, &where, &len), methods, &w, NULL), 0);
	pthread_create(&thread, NULL, serve_until_told, &stop[0]);
	for (int i = 0; i < 3; i++) { /* controllers come and go */
		struct err e = { 0 };
		json_t *ev;

		assert_int_equal(control_connect(&c, path, &e), 0);
		assert_int_equal(control_call(c, "add", json_pack("{s:i, s:i}", "A", 1, "Fd", 0),
				     (const int[]){ 1 }, 1, 10000, &result, &e),
		    0);
		assert_int_equal(json_integer_value(json_object_get(result, "Sum")), 41);
		json_decref(result);
		assert_int_equal(close(w.given), 0);
		assert_int_equal(control_call(c, "tell", NULL, NULL, 0, 10000, NULL, &e), 0);
		ev = control_next_event(c, 10000, &e);
		assert_string_equal(json_string_value(json_object_get(ev, "method")), "told");
		json_decref(ev);
		assert_int_equal(control_call(c, "fail", NULL, NULL, 0, 10000, NULL, &e), -EBUSY);
		assert_string_equal(e.msg, "the disk is in use");
		control_close(c);
	}
	close(stop[1]);
	pthread_join(thread, NULL);
	close(stop[0]);
	control_free(w.server);
	unlink(path);
	rmdir(dir);
	assert_int_equal(open_fds(), before);
}

#define SERVER_TEST(f) cmocka_unit_test_setup_teardown(f, connect_peer, disconnect_peer)
#define CLIENT_TEST(f) cmocka_unit_test_setup_teardown(f, attach_client, detach_client)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		SERVER_TEST(a_request_is_answered),
		SERVER_TEST(an_absent_parameter_has_its_default_every_time),
		SERVER_TEST(an_id_comes_back_as_it_was),
		SERVER_TEST(what_is_wrong_is_told_and_the_connection_kept),
		SERVER_TEST(a_refusal_says_where_and_why),
		SERVER_TEST(a_method_that_fails_says_why),
		SERVER_TEST(a_notification_is_carried_out_and_not_answered),
		SERVER_TEST(every_method_is_described),
		cmocka_unit_test(the_tables_of_this_test_keep_the_rules),
		SERVER_TEST(a_request_cut_anywhere_is_an_error),
		SERVER_TEST(a_descriptor_reaches_the_method),
		SERVER_TEST(descriptors_of_a_request_that_is_refused_are_closed),
		SERVER_TEST(too_many_descriptors_are_refused_and_closed),
		SERVER_TEST(a_packet_that_is_too_long_is_refused),
		SERVER_TEST(an_answer_that_is_too_long_becomes_an_error),
		SERVER_TEST(an_event_goes_out_before_the_answer),
		SERVER_TEST(an_event_that_is_too_long_is_dropped),
		SERVER_TEST(a_peer_that_does_not_read_is_disconnected),
		SERVER_TEST(a_peer_that_asks_and_does_not_read_is_disconnected),
		SERVER_TEST(a_newcomer_is_served_when_the_controller_has_gone),
		SERVER_TEST(a_peer_that_goes_before_its_answer_does_no_harm),
		SERVER_TEST(an_empty_packet_ends_the_connection),
		SERVER_TEST(a_call_for_nothing_changes_nothing),
		SERVER_TEST(memory_may_be_out_at_any_moment),
		cmocka_unit_test(a_listener_that_is_none_is_refused),
		CLIENT_TEST(a_call_returns_the_result),
		CLIENT_TEST(a_failed_call_has_the_server_s_sentence),
		CLIENT_TEST(an_answer_that_makes_no_sense_is_a_failure),
		CLIENT_TEST(answers_to_other_requests_are_skipped),
		CLIENT_TEST(a_stream_of_events_does_not_hold_a_call),
		CLIENT_TEST(a_connection_that_ends_is_told),
		CLIENT_TEST(events_are_kept_while_a_call_waits),
		CLIENT_TEST(of_too_many_events_the_oldest_are_dropped),
		CLIENT_TEST(of_events_that_are_too_long_the_oldest_are_dropped),
		CLIENT_TEST(descriptors_from_a_server_are_closed),
		CLIENT_TEST(a_server_that_does_not_read_is_given_up),
		CLIENT_TEST(a_call_that_cannot_be_sent_fails),
		cmocka_unit_test(a_name_that_leads_nowhere_is_told),
		cmocka_unit_test(client_and_server_understand_each_other),
	};

	log_open("control_test", 2, (enum log_level)0); /* the server tells of each peer it drops */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
