/* lib/transport_raw.c - descriptors that libwebsockets only watches: listeners, local connections, ends of
 * streams. */
#include "lib/transport_private.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

struct link *
raw_adopt(struct transport *t, enum link_role role, int fd)
{
	lws_sock_file_fd_type u;
	struct link *l = link_new(t, role, fd);

	if (!l) {
		close(fd);
		return NULL;
	}
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	u.filefd = fd;
	l->wsi = lws_adopt_descriptor_vhost(t->plain, LWS_ADOPT_RAW_FILE_DESC, u, TRANSPORT_PROTOCOL, NULL);
	if (!l->wsi) {
		l->fd = -1;
		close(fd);
		link_free(l);
		return NULL;
	}
	lws_set_opaque_user_data(l->wsi, l);
	return l;
}

bool
raw_is_gone(ssize_t n)
{
	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

int
raw_readable(struct link *l)
{
	switch (l->role) {
	case ROLE_LISTEN_LOCAL:
		local_accept(l->t, l->fd);
		return 0;
	case ROLE_LISTEN_NETWORK:
		network_accept(l->t, l->fd);
		return 0;
	case ROLE_LOCAL:
		return local_readable(l);
	case ROLE_STREAM_END:
		return stream_end_readable(l);
	case ROLE_NETWORK:
		break;
	}
	return -1;
}

/* A descriptor that is a socket is written without a signal when the peer has gone. */
static ssize_t
write_fd(int fd, const char *data, size_t len)
{
	ssize_t n = send(fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	return n < 0 && errno == ENOTSOCK ? write(fd, data, len) : n;
}

int
raw_writable(struct link *l)
{
	struct out *o;

	while ((o = link_first(l))) {
		ssize_t n = write_fd(l->fd, o->text + o->sent, o->len - o->sent);

		if (n < 0 && raw_is_gone(n))
			return -1;
		if (n < 0)
			break;
		link_wrote(l, (size_t)n);
	}
	stream_release(l, STREAM_LOW / 2);
	return link_after_write(l);
}
