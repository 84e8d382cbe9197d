/*
 * hypervisor/vsp/net_tap.c - a tap's descriptors: what they must be, and the settings that follow from what
 * the guest has agreed to. Control thread.
 *
 * Whoever opens a tap makes it (name, owner, bridge); here only that is set which is between it and the
 * guest: the header before each frame, which offloads the kernel may leave to the guest, which queues take
 * part.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hypervisor/disk/file.h"
#include "hypervisor/vsp/net_private.h"

enum { SETTLE_MS = 1000 };

static int
check_socket(int fd, struct err *e)
{
	int type = 0;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return err_sys(e, "a tap's socket");
	if (type != SOCK_DGRAM && type != SOCK_SEQPACKET)
		return err_set(
		    e, EINVAL, "a socket for frames keeps them apart: SOCK_DGRAM or SOCK_SEQPACKET");
	return 0;
}

static int
check_tap(int fd, struct err *e)
{
	struct ifreq r = { 0 };
	int size = VNET;

	if (ioctl(fd, TUNGETIFF, &r) < 0)
		return err_sys(e, "this is no tap");
	if ((r.ifr_flags & (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)) != (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
		return err_set(
		    e, EINVAL, "%.16s: a tap needs IFF_TAP, IFF_NO_PI and IFF_VNET_HDR", r.ifr_name);
	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0)
		return err_sys(e, "%.16s: a header of %d bytes", r.ifr_name, size);
	return 0;
}

/* Nothing may wait in it: an I/O thread serves others, too. */
int
tap_check(int fd, bool *is_tap, struct err *e)
{
	struct stat st;
	int flags, rc;

	if (file_fstat(fd, &st) < 0)
		return err_sys(e, "a tap");
	*is_tap = !S_ISSOCK(st.st_mode);
	rc = *is_tap ? check_tap(fd, e) : check_socket(fd, e);
	if (rc < 0)
		return rc;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return err_sys(e, "a tap cannot be made non-blocking");
	return 0;
}

/* Of the frames that the kernel gives us: may they lack a checksum, may they be longer than the link's? One
 * setting for all queues. A tap that does not know a part of it does that part itself. */
void
tap_offloads(int fd, bool checksums, bool segments)
{
	unsigned long flags = checksums ? TUN_F_CSUM : 0;

	if (checksums && segments)
		flags |= TUN_F_TSO4 | TUN_F_TSO6;
	(void)ioctl(fd, TUNSETOFFLOAD, flags);
}

/* A queue whose channel is closed takes no frames, so that the kernel gives them to the others. One that has
 * only one queue refuses this, and loses nothing by it. */
void
tap_join(int fd, bool join)
{
	struct ifreq r = { .ifr_flags = (short)(join ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE) };

	(void)ioctl(fd, TUNSETQUEUE, &r);
}

static bool
has_room_for_long_ones(const struct net *n)
{
	const struct net_buffer *b = &n->queue[0].receive;

	return b->pfn && parts_of_long_ones(b, b->sections / nvsp_shares(n, b->sections));
}

/* Which of the tap's frames the guest can take as they are. */
void
net_follow_offloads(struct net *n)
{
	if (!atomic_exchange(&n->tap_dirty, false))
		return;
	if (n->taps && n->tap[0].is_tap)
		tap_offloads(n->tap[0].fd, atomic_load(&n->checked),
		    atomic_load(&n->coalesce) && has_room_for_long_ones(n));
}

/* --- another tap, another link --- */

struct tap_change {
	struct net *n;
	struct net_queue *q;
	int slot;
	bool up, own;
};

static void
leave_tap_on_loop(void *arg)
{
	struct tap_change *c = arg;

	receive_stop(c->q);
	c->q->tap.slot = -1;
}

static void
enter_tap_on_loop(void *arg)
{
	struct tap_change *c = arg;

	c->q->tap.slot = c->slot;
	c->q->tap_own = c->own;
	atomic_store(&c->q->tap_told, 0);
	receive_start(c->q);
}

/* Its operations end at once, but not always in the same moment. */
int
net_leave_taps(struct net *n, struct err *e)
{
	for (unsigned i = 0; n->taps && i < n->queues; i++) {
		struct tap_change c = { .q = &n->queue[i] };

		io_loop_call(c.q->loop, leave_tap_on_loop, &c);
	}
	for (unsigned ms = 0; !net_all_idle(n); ms++) {
		if (ms == SETTLE_MS)
			return err_set(e, EBUSY, "%s: its tap does not end what was begun", n->name);
		poll(NULL, 0, 1);
	}
	for (unsigned i = 0; n->taps && i < n->queues; i++) {
		io_loop_drop_file(n->queue[i].loop, n->tap[i].slot);
		if (i < n->taps)
			close(n->tap[i].fd);
		n->tap[i].fd = n->tap[i].slot = -1;
	}
	n->taps = 0;
	return 0;
}

static void
change_link_on_loop(void *arg)
{
	struct tap_change *c = arg;

	atomic_store(&c->n->link, c->up);
	if (c->slot >= 0)
		c->n->network_changed = true;
}

static int
check_taps(const struct net *n, const int *fd, unsigned count, bool *is_tap, struct err *e)
{
	int rc = 0;

	if (count > n->queues)
		return err_set(
		    e, EINVAL, "%s: it has %u queues, and no room for %u", n->name, n->queues, count);
	for (unsigned i = 0; rc == 0 && i < count; i++)
		rc = tap_check(fd[i], &is_tap[i], e);
	return rc < 0 ? err_wrap(e, rc, "%s", n->name) : 0;
}

/* Every queue can write; those beyond the tap's do so on one of its. */
static int
add_slots(struct net *n, const int *fd, unsigned count, int *slot, struct err *e)
{
	for (unsigned i = 0; i < n->queues; i++) {
		int rc = slot[i] = io_loop_add_file(n->queue[i].loop, fd[i % count], e);

		if (rc >= 0)
			continue;
		while (i-- > 0)
			io_loop_drop_file(n->queue[i].loop, slot[i]);
		return err_wrap(e, rc, "%s", n->name);
	}
	return 0;
}

static void
enter_taps(struct net *n, const int *fd, const int *slot, const bool *is_tap, unsigned count)
{
	n->taps = count;
	for (unsigned i = 0; i < n->queues; i++) {
		struct tap_change c = { .q = &n->queue[i], .slot = slot[i], .own = i < count };

		n->tap[i].slot = slot[i];
		if (c.own) {
			n->tap[i].fd = fd[i];
			n->tap[i].is_tap = is_tap[i];
			n->tap[i].joined = i == 0 || (n->channel[i] && !n->leaving[i]);
			if (is_tap[i] && !n->tap[i].joined)
				tap_join(fd[i], false);
		}
		io_loop_call(c.q->loop, enter_tap_on_loop, &c);
	}
}

int
net_connect(struct net *n, bool up, const int *fd, unsigned count, struct err *e)
{
	bool is_tap[NET_QUEUES] = { false };
	int slot[NET_QUEUES] = { 0 };
	struct tap_change link = { .n = n, .up = up, .slot = count ? 0 : -1 };
	int rc = check_taps(n, fd, count, is_tap, e);

	if (rc == 0 && up && !count && !n->taps)
		rc = err_set(e, EINVAL, "%s: it has no tap to be connected to", n->name);
	if (rc == 0 && count)
		rc = add_slots(n, fd, count, slot, e);
	if (rc == 0 && count) {
		rc = net_leave_taps(n, e);
		for (unsigned i = 0; rc < 0 && i < n->queues; i++)
			io_loop_drop_file(n->queue[i].loop, slot[i]);
	}
	if (rc < 0)
		return rc;
	if (count)
		enter_taps(n, fd, slot, is_tap, count);
	io_loop_call(n->queue[0].loop, change_link_on_loop, &link);
	atomic_store(&n->tap_dirty, true);
	net_follow_offloads(n);
	return 0;
}
