/*
 * hypervisor/vsp/net_buffers.c - the buffers that the guest lends its adapter: found on the bus, given to
 * every queue, taken from them; and whether anything is in flight that may use them. Control thread.
 */
#include <errno.h>

#include "hypervisor/vsp/net_private.h"

int
net_find_buffer(struct net *n, bool send, uint32_t gpadl, uint16_t id, struct net_buffer *b)
{
	struct vmbus_channel *ch = n->channel[0];
	uint32_t pages;

	*b = (struct net_buffer){ .gpadl = gpadl, .id = id };
	b->pfn = ch && !n->leaving[0] ? vmbus_gpadl(ch, gpadl, &pages, &b->offset, &b->len) : NULL;
	if (!b->pfn)
		return -EINVAL;
	b->section = send ? SEND_SECTION : nvsp_section(n);
	b->sections = b->len / b->section;
	if (!send && b->sections > SECTIONS)
		b->sections = SECTIONS;
	if (b->sections)
		return 0;
	vmbus_gpadl_release(ch, gpadl);
	b->pfn = NULL;
	return -EINVAL;
}

struct giving {
	struct net_queue *q;
	const struct net_buffer *b;
	bool send;
};

static void
give_on_loop(void *arg)
{
	struct giving *g = arg;

	if (g->send)
		g->q->send = *g->b;
	else
		receive_buffer(g->q, g->b);
}

void
net_give_buffer(struct net *n, bool send, const struct net_buffer *b)
{
	for (unsigned i = 0; i < n->queues; i++) {
		struct giving g = { &n->queue[i], b, send };

		io_loop_call(n->queue[i].loop, give_on_loop, &g);
	}
	atomic_store(&n->tap_dirty, true);
}

void
net_take_buffer(struct net *n, bool send)
{
	static const struct net_buffer none = { 0 };

	net_give_buffer(n, send, &none);
}

struct idle {
	const struct net_queue *q;
	bool is;
};

static void
idle_on_loop(void *arg)
{
	struct idle *i = arg;

	i->is = !i->q->reads && !i->q->writes;
}

bool
net_queue_idle(const struct net_queue *q)
{
	struct idle i = { .q = q };

	io_loop_call(q->loop, idle_on_loop, &i);
	return i.is;
}

bool
net_all_idle(const struct net *n)
{
	for (unsigned i = 0; i < n->queues; i++)
		if (!net_queue_idle(&n->queue[i]))
			return false;
	return true;
}
