/*
 * tests/fuzz/http_fuzz.c - the input is what a peer sends on a connection: the first byte says on which
 * carrier (POST and WebSocket, without TLS, or the local socket) and where it is cut in two. Whatever it is,
 * the carrier answers or closes, no message is longer than allowed, and nothing is left of the connection.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/transport_server.h"
#include "tests/fuzz/fuzz.h"

enum { STEPS = 8 };

static struct transport *transport;
static int opened, ended;

static void *
on_open(void *ctx, struct link *l, const struct link_peer *peer)
{
	(void)ctx;
	must(memchr(peer->source, '\0', sizeof(peer->source)) != NULL);
	must(!peer->authorization || strlen(peer->authorization) < 4096);
	opened++;
	return l;
}

static void
on_message(void *user, const char *text, size_t len)
{
	char *answer = malloc(len + 3);

	must(len <= LINK_MESSAGE_MAX);
	snprintf(answer, len + 3, "[%.*s]", (int)len, text);
	link_send(user, answer, strlen(answer), 200);
	if (len && text[0] == 'x')
		link_close(user);
}

static void
on_oversized(void *user)
{
	link_send(user, strdup("too long"), 8, 413);
	link_close(user);
}

static void
on_ended(void *user)
{
	link_close(user);
}

static void
on_closed(void *user)
{
	(void)user;
	ended++;
}

static int
on_stream(void *ctx, const char *ticket, const struct link_peer *peer, char **refusal)
{
	int fd[2];

	(void)ctx;
	(void)peer;
	if (strcmp(ticket, "good") == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) == 0) {
		must(write(fd[1], "hello", 5) == 5);
		close(fd[1]);
		return fd[0];
	}
	*refusal = strdup("no");
	return -1;
}

static char *
on_complaint(int status, const char *sentence)
{
	must(status >= 400 && strlen(sentence) > 5);
	return strdup(sentence);
}

static const struct transport_ops ops = { on_open, on_message, on_oversized, on_ended, on_closed, on_stream,
	on_complaint };

static int
next_free(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct transport_config config = { .ops = &ops };

	(void)argc;
	(void)argv;
	log_open("http_fuzz", -1, LOG_ERROR);
	must(transport_new(&transport, &config, NULL) == 0);
	return 0;
}

static void
steps(int fd)
{
	char buf[8192];

	for (int i = 0; i < STEPS; i++) {
		transport_step(transport);
		while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
			;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd[2], lowest = next_free();
	size_t cut;

	if (size < 2)
		return 0;
	cut = 1 + (data[0] >> 1) % (size - 1);
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) == 0);
	must(transport_adopt(transport, data[0] & 1 ? LINK_LOCAL : LINK_HTTP, fd[0], NULL) == 0);
	send(fd[1], data + 1, cut - 1, MSG_NOSIGNAL);
	steps(fd[1]);
	send(fd[1], data + cut, size - cut, MSG_NOSIGNAL);
	steps(fd[1]);
	close(fd[1]);
	for (int i = 0; i < 100 && next_free() != lowest; i++)
		transport_step(transport);
	must(next_free() == lowest);
	must(opened == ended);
	return 0;
}
