/*
 * lib/control_wire.c - packets of the control protocol.
 */
#include "lib/control_wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union ancillary {
	struct cmsghdr header; /* for its alignment */
	char bytes[CMSG_SPACE(CONTROL_MAX_FDS * sizeof(int))];
};

void
wire_close_fds(struct packet *p)
{
	for (size_t i = 0; i < p->nfds; i++)
		if (p->fd[i] >= 0)
			close(p->fd[i]);
	p->nfds = 0;
}

static void
take_fds(struct packet *p, struct msghdr *m)
{
	p->nfds = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		/* The kernel sends one such header at most, and no more than the buffer holds. */
		if (n > CONTROL_MAX_FDS - p->nfds)
			n = CONTROL_MAX_FDS - p->nfds;
		memcpy(p->fd + p->nfds, CMSG_DATA(c), n * sizeof(int));
		p->nfds += n;
	}
}

ssize_t
wire_recv(int sock, struct packet *p)
{
	union ancillary anc;
	struct iovec iov = { .iov_base = p->text, .iov_len = sizeof(p->text) };
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = anc.bytes,
		.msg_controllen = sizeof(anc.bytes),
	};
	ssize_t n;

	p->len = p->nfds = 0;
	do
		n = recvmsg(sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	p->len = (size_t)n;
	p->cut_short = m.msg_flags & MSG_TRUNC;
	p->fds_lost = m.msg_flags & MSG_CTRUNC;
	take_fds(p, &m);
	if (n == 0 || p->fds_lost)
		wire_close_fds(p);
	return n;
}

int
wire_send(int sock, const char *text, size_t len, const int *fd, size_t nfds)
{
	union ancillary anc = { 0 };
	struct iovec iov = { .iov_base = (char *)text, .iov_len = len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (nfds > CONTROL_MAX_FDS)
		return -E2BIG;
	if (nfds) {
		anc.header.cmsg_level = SOL_SOCKET;
		anc.header.cmsg_type = SCM_RIGHTS;
		anc.header.cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(&anc.header), fd, nfds * sizeof(int));
		m.msg_control = anc.bytes;
		m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
	}
	do
		n = sendmsg(sock, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

ssize_t
wire_encode(const json_t *msg, char text[CONTROL_MAX])
{
	size_t len = msg ? json_dumpb(msg, text, CONTROL_MAX, JSON_COMPACT) : 0;

	if (len == 0) /* no message has an empty text */
		return -ENOMEM;
	return len > CONTROL_MAX ? -EMSGSIZE : (ssize_t)len;
}
