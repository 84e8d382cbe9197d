/*
 * tests/fuzz/control_fuzz.c - the input is packets from a controller: each begins with a byte that says
 * how many descriptors go with it and ends at a NUL. Whatever they are, the server answers with JSON or
 * not at all, no descriptor is lost, and it goes on listening.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/control.h"
#include "lib/log.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/schema_table.h"

enum { PACKETS_MAX = 4 }; /* of an input: more tell nothing new and take time */

static struct control *server;
static struct sockaddr_un address;
static socklen_t address_len = sizeof(address);
static int peer, file, lowest_free;

static void
defaults(void *params)
{
	struct fuzzed *f = params;

	f->thing.u = 7;
}

static int
take(void *ctx, void *params, void *result, struct err *e)
{
	(void)ctx;
	(void)e;
	memcpy(result, params, sizeof(struct fuzzed));
	schema_close_fds(fuzzed_fields, params);
	return 0;
}

static int
refuse(void *ctx, void *params, void *result, struct err *e)
{
	struct fuzzed *f = params;

	(void)ctx;
	(void)result;
	schema_close_fds(fuzzed_fields, params);
	return f->thing.b ? -EIO : err_set(e, ENOENT, "nothing called '%s'", f->thing.s);
}

static int
tell(void *ctx, void *params, void *result, struct err *e)
{
	(void)ctx;
	(void)params;
	(void)result;
	(void)e;
	control_event(server, "told", NULL);
	return 0;
}

static const struct method methods[] = {
	{ "take", "Takes all.", fuzzed_fields, sizeof(struct fuzzed), defaults, fuzzed_fields,
	    sizeof(struct fuzzed), take },
	{ "refuse", "Fails.", fuzzed_fields, sizeof(struct fuzzed), .call = refuse },
	{ "tell", "Sends an event.", .call = tell },
	{ 0 },
};

static void
connect_peer(void)
{
	peer = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	must(connect(peer, (struct sockaddr *)&address, address_len) == 0);
	control_handle(server);
}

/* A descriptor that the server lost would take this number. */
static int
next_free(void)
{
	int fd = dup(peer);

	must(fd >= 0);
	close(fd);
	return fd;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	(void)argc;
	(void)argv;
	address.sun_family = AF_UNIX; /* and no name: the kernel picks one */
	must(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) == 0);
	must(listen(fd, 1) == 0);
	must(getsockname(fd, (struct sockaddr *)&address, &address_len) == 0);
	json_object_seed(1); /* an input takes the same path every time */
	must(control_new(&server, fd, methods, NULL, NULL) == 0);
	log_open("control_fuzz", -1, LOG_ERROR);
	connect_peer();
	file = open("/dev/null", O_RDWR | O_CLOEXEC); /* a socket would set the kernel looking for cycles */
	lowest_free = next_free();
	return 0;
}

static void
say(const uint8_t *text, size_t len, size_t nfds)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE((CONTROL_MAX_FDS + 1) * sizeof(int))];
	} anc = { 0 };
	struct iovec iov = { .iov_base = (uint8_t *)text, .iov_len = len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nfds) {
		anc.header.cmsg_level = SOL_SOCKET;
		anc.header.cmsg_type = SCM_RIGHTS;
		anc.header.cmsg_len = CMSG_LEN(nfds * sizeof(int));
		for (size_t i = 0; i < nfds; i++)
			memcpy(CMSG_DATA(&anc.header) + i * sizeof(int), &file, sizeof(int));
		m.msg_control = anc.bytes;
		m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
	}
	must(sendmsg(peer, &m, MSG_NOSIGNAL) >= 0);
	control_handle(server);
}

/* Every answer is JSON; there is one for a packet at most, and an event before it. */
static void
hear(void)
{
	static char answer[CONTROL_MAX];
	struct err e = { 0 };
	json_t *doc;
	ssize_t n;
	int packets = 0;

	while ((n = recv(peer, answer, sizeof(answer), MSG_DONTWAIT)) > 0) {
		doc = schema_parse(answer, (size_t)n, &e);
		must(json_is_object(doc));
		json_decref(doc);
		must(++packets <= 2);
	}
	if (n == 0 || errno != EAGAIN) { /* an empty packet was sent */
		close(peer);
		connect_peer();
	}
}

static size_t
descriptors(uint8_t byte)
{
	if (byte == 0xff)
		return CONTROL_MAX_FDS + 1;
	return byte >= '1' && byte <= '4' ? (size_t)(byte - '0') : 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (int i = 0; i < PACKETS_MAX && size > 1; i++) {
		const uint8_t *text = data + 1, *end = memchr(text, '\0', size - 1);
		size_t len = end ? (size_t)(end - text) : size - 1;

		say(text, len, descriptors(data[0]));
		hear();
		must(next_free() == lowest_free);
		size -= 1 + len + (end ? 1 : 0);
		data = end ? end + 1 : data;
	}
	return 0;
}
