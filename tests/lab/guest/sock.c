/*
 * tests/lab/guest/sock.c - AF_VSOCK: streams with the host, every byte checked.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
/* first: sa_family_t */
#include <linux/vm_sockets.h>

#include "tests/lab/guest/tool.h"

enum { PIECE = 60000, MOST = 256 };

static int
address(struct sockaddr_vm *a, const char *port, unsigned cid)
{
	*a = (struct sockaddr_vm){ .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = (unsigned)atoi(port) };
	return socket(AF_VSOCK, SOCK_STREAM, 0);
}

/* --- the guest serves ---------------------------------------------------------------------------------- */

/* What comes goes back, until the other side has ended. */
static void *
echo(void *arg)
{
	static __thread char buf[PIECE];
	int fd = (int)(long)arg;
	unsigned long long all = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t at = 0, m; at < n; at += m, all += (unsigned long long)m)
			if ((m = write(fd, buf + at, (size_t)(n - at))) <= 0) {
				printf("FH-ECHO-BROKEN after %llu\n", all);
				close(fd);
				return NULL;
			}
	printf("FH-ECHO %llu\n", all);
	close(fd);
	return NULL;
}

int
tool_sock_serve(char **args)
{
	struct sockaddr_vm a;
	int fd = address(&a, args[0], VMADDR_CID_ANY), n = atoi(args[1]);
	pthread_t thread[MOST];

	signal(SIGPIPE, SIG_IGN);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, MOST) < 0) {
		perror("vsock");
		return 1;
	}
	printf("FH-LISTENS\n");
	for (int i = 0; i < n && i < MOST; i++) {
		int c = accept(fd, NULL, NULL);

		if (c < 0 || pthread_create(&thread[i], NULL, echo, (void *)(long)c) != 0)
			return 1;
	}
	for (int i = 0; i < n && i < MOST; i++)
		pthread_join(thread[i], NULL);
	close(fd);
	printf("FH-SERVED\n");
	return 0;
}

/* --- the guest calls ----------------------------------------------------------------------------------- */

struct call {
	pthread_t thread;
	int fd, number;
	unsigned long long bytes;
	const char *why; /* NULL: all is well */
};

static char
byte_at(unsigned long long at, int number)
{
	return (char)((at * 2654435761u >> 9) + (unsigned)number);
}

static void *
send_all(void *arg)
{
	static __thread char buf[PIECE];
	struct call *c = arg;

	for (unsigned long long at = 0; at < c->bytes;) {
		size_t n = c->bytes - at < PIECE ? (size_t)(c->bytes - at) : PIECE;
		ssize_t m;

		for (size_t i = 0; i < n; i++)
			buf[i] = byte_at(at + i, c->number);
		m = write(c->fd, buf, n);
		if (m <= 0) {
			c->why = "it cannot be sent";
			break;
		}
		at += (unsigned long long)m;
	}
	shutdown(c->fd, SHUT_WR);
	return NULL;
}

static void *
call(void *arg)
{
	static __thread char buf[PIECE];
	struct call *c = arg;
	unsigned long long at = 0;
	pthread_t sender;
	ssize_t n;

	if (pthread_create(&sender, NULL, send_all, c) != 0) {
		c->why = "no thread";
		return NULL;
	}
	while ((n = read(c->fd, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; i++, at++)
			if (buf[i] != byte_at(at, c->number) && !c->why)
				c->why = "other bytes came back";
	pthread_join(sender, NULL);
	if (!c->why && (n < 0 || at != c->bytes))
		c->why = "not all came back";
	close(c->fd);
	return NULL;
}

int
tool_sock_call(char **args)
{
	static struct call c[MOST];
	int n = atoi(args[2]), bad = 0;

	for (int i = 0; i < n && i < MOST; i++) {
		struct sockaddr_vm a;

		c[i] = (struct call){ .number = i, .bytes = strtoull(args[1], NULL, 10) };
		c[i].fd = address(&a, args[0], VMADDR_CID_HOST);
		if (c[i].fd < 0 || connect(c[i].fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
			perror("FH-REFUSED");
			return 1;
		}
	}
	for (int i = 0; i < n && i < MOST; i++)
		if (pthread_create(&c[i].thread, NULL, call, &c[i]) != 0)
			return 1;
	for (int i = 0; i < n && i < MOST; i++) {
		pthread_join(c[i].thread, NULL);
		if (c[i].why && bad++ == 0)
			printf("FH-STREAM %d: %s\n", i, c[i].why);
	}
	printf("FH-CALLED %d of %d good\n", n - bad, n);
	return bad != 0;
}
