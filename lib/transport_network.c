/* lib/transport_network.c - the listener of the network: how many may come, and from where. */
#include "lib/transport_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/source.h"
#include "lib/text.h"

/* The address without port; IPv4 as itself. */
static void
source_of(const struct sockaddr_storage *ss, char out[64])
{
	const struct sockaddr_in6 *v6 = (const void *)ss;
	const struct sockaddr_in *v4 = (const void *)ss;

	text_copy(out, 64, "?");
	if (ss->ss_family == AF_INET)
		inet_ntop(AF_INET, &v4->sin_addr, out, 64);
	else if (ss->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], out, 64);
	else if (ss->ss_family == AF_INET6)
		inet_ntop(AF_INET6, &v6->sin6_addr, out, 64);
}

bool
network_has_room(const struct transport *t, const char *source)
{
	char from[SOURCE_NETWORK_SIZE], other[SOURCE_NETWORK_SIZE];
	size_t n = 0;

	source_network(source, from);
	for (const struct link *l = t->links; l; l = l->next) {
		if (l->role != ROLE_NETWORK)
			continue;
		source_network(l->source, other);
		n += strcmp(other, from) == 0;
	}
	return n < LINKS_SOURCE && t->network < LINKS_NETWORK;
}

int
network_adopt(struct transport *t, struct lws_vhost *vhost, int fd, const char *source)
{
	struct link *l = link_new(t, ROLE_NETWORK, -1);

	if (!l) {
		close(fd);
		return -ENOMEM;
	}
	l->kind = LINK_HTTP;
	l->secure = vhost == t->secure;
	snprintf(l->source, sizeof(l->source), "%s", source);
	l->wsi = lws_adopt_socket_vhost(vhost, fd);
	if (!l->wsi) { /* which has closed it */
		link_free(l);
		return -ENOMEM;
	}
	lws_set_opaque_user_data(l->wsi, l);
	return 0;
}

void
network_accept(struct transport *t, int listener)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	int one = 1, fd = accept4(listener, (struct sockaddr *)&ss, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	char source[64];

	if (fd < 0)
		return;
	source_of(&ss, source);
	if (!network_has_room(t, source)) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	network_adopt(t, t->secure, fd, source);
}

/* IPv6 takes IPv4 along; a kernel without it gets IPv4 alone. */
static int
listen_network(uint16_t port, struct err *e)
{
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	int one = 1, zero = 0, fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc;
	bool has_v6 = fd >= 0;

	if (!has_v6)
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (has_v6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	rc = has_v6 ? bind(fd, (struct sockaddr *)&v6, sizeof(v6))
		    : bind(fd, (struct sockaddr *)&v4, sizeof(v4));
	if (rc < 0 || listen(fd, 128) < 0) {
		rc = err_sys(e, "port %u", port);
		close(fd);
		return rc;
	}
	return fd;
}

static uint16_t
port_of(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} at = { 0 };
	socklen_t len = sizeof(at);

	if (getsockname(fd, &at.any, &len) < 0)
		return 0;
	if (at.any.sa_family == AF_INET6)
		return ntohs(at.v6.sin6_port);
	return ntohs(at.v4.sin_port);
}

static void
close_network(struct transport *t)
{
	if (t->listener) /* at once, so that the port is free for the next one */
		lws_set_timeout(t->listener->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
	for (struct link *l = t->links; l; l = l->next)
		if (l->role == ROLE_NETWORK)
			link_kill_soon(l);
	t->actual_port = 0;
}

/* On the loop's thread. */
int
network_serve(struct transport *t, bool on, uint16_t port, struct err *e)
{
	int fd;

	if (on && !t->secure)
		return err_set(e, ENOTSUP, "there is no certificate to serve the network with");
	if (on && t->listener)
		return 0;
	if (!on) {
		close_network(t);
		return 0;
	}
	fd = listen_network(port, e);
	if (fd < 0)
		return fd;
	t->actual_port = port_of(fd);
	t->listener = raw_adopt(t, ROLE_LISTEN_NETWORK, fd);
	return t->listener ? 0 : err_set(e, ENOMEM, "out of memory");
}
