/* hypervisor/worker/nics.c - network adapters, their I/O threads and their taps. */
#include "hypervisor/worker/nics.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"

enum { PAUSE_MS = 5000 };

struct slot {
	bool used, leaving, gone; /* gone: the bus has let go of it; freed at the next look */
	struct nic nic;           /* its taps: while there is no machine */
	struct net *net;
};

struct nics {
	struct control *control;
	struct partition *p; /* NULL: not created yet */
	struct io_loop *loop[NET_QUEUES];
	unsigned loops;
	struct slot slot[MAX_NICS];
	atomic_bool work; /* an adapter wants its net_work */
};

static void
close_taps(struct nic *c)
{
	for (size_t i = 0; i < c->taps; i++)
		if (c->tap[i].fd >= 0)
			close(c->tap[i].fd);
	c->taps = 0;
}

static void
on_work(void *ctx)
{
	struct nics *n = ctx;

	atomic_store(&n->work, true);
	partition_ask(n->p, ASKED_DEVICES);
}

/* --- addresses --- */

static int
digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
read_mac(const char *s, uint8_t mac[NET_MAC])
{
	if (strlen(s) != 3 * NET_MAC - 1)
		return false;
	for (int i = 0; i < NET_MAC; i++, s += 3) {
		int high = digit(s[0]), low = digit(s[1]);

		if (high < 0 || low < 0 || (i < NET_MAC - 1 && s[2] != '-' && s[2] != ':'))
			return false;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	return !(mac[0] & 1);
}

/* Locally administered, from the machine's id: the same wherever and whenever it is started. */
static void
derive_mac(const struct nics *n, uint64_t number, uint8_t mac[NET_MAC])
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < 16; i++)
		h = (h ^ n->p->machine->id[i]) * 0x100000001b3;
	h = (h ^ number) * 0x100000001b3;
	memcpy(mac, &h, NET_MAC);
	mac[0] = (uint8_t)((mac[0] & 0xfc) | 2);
}

/* --- adapters --- */

static struct slot *
find(struct nics *n, uint64_t number, struct err *e)
{
	if (number < MAX_NICS && n->slot[number].used && !n->slot[number].leaving)
		return &n->slot[number];
	err_set(e, ENOENT, "there is no network adapter %llu", (unsigned long long)number);
	return NULL;
}

static int
connect_taps(struct net *net, struct nic *c, struct err *e)
{
	int fd[NET_QUEUES], rc;

	for (size_t i = 0; i < c->taps; i++)
		fd[i] = c->tap[i].fd;
	rc = net_connect(net, c->connected, fd, (unsigned)c->taps, e);
	if (rc == 0)
		c->taps = 0; /* they are the adapter's */
	return rc;
}

static int
attach(struct nics *n, struct slot *s, struct err *e)
{
	const struct net_events events = { .ctx = n, .work = on_work };
	struct nic *c = &s->nic;
	struct net_config config = { .queues = (unsigned)(c->queues ? c->queues
							  : c->taps ? c->taps
								    : 1),
		.mtu = (uint32_t)c->mtu,
		.spoofing = c->spoofing,
		.speed = c->speed_mbps * 1000000 };
	int rc;

	if (!c->mac[0])
		derive_mac(n, c->number, config.mac);
	else if (!read_mac(c->mac, config.mac))
		return err_set(e, EINVAL, "MacAddress: '%s' is not like 00-15-5D-01-02-03", c->mac);
	if (!n->loops)
		return err_set(e, ENOENT, "the machine has no network threads (Devices.NetworkThreads)");
	rc = net_new(&s->net, n->p->vmbus, n->loop, n->loops, (unsigned)c->number, n->p->machine->id, &config,
	    &events, e);
	if (rc < 0)
		return rc;
	if (c->taps || c->connected)
		rc = connect_taps(s->net, c, e);
	if (rc == 0)
		rc = vmbus_offer_device(n->p->vmbus, net_device(s->net), e);
	if (rc == 0)
		return 0;
	net_free(s->net);
	s->net = NULL;
	return rc;
}

static int
check(const struct nics *n, const struct nic *c, struct err *e)
{
	uint8_t mac[NET_MAC];

	if (n->slot[c->number].used)
		return err_set(
		    e, EEXIST, "network adapter %llu is there already", (unsigned long long)c->number);
	if (c->mac[0] && !read_mac(c->mac, mac))
		return err_set(e, EINVAL, "MacAddress: '%s' is not like 00-15-5D-01-02-03", c->mac);
	if (c->queues && c->taps > c->queues)
		return err_set(e, EINVAL, "Taps: %zu are more than its queues", c->taps);
	if (c->connected && !c->taps)
		return err_set(e, EINVAL, "Taps: an adapter that is connected needs one at least");
	return 0;
}

int
nics_add(struct nics *n, const struct nic *c, struct err *e)
{
	struct slot *s = &n->slot[c->number];
	int rc = check(n, c, e);

	if (rc < 0) {
		struct nic refused = *c;

		close_taps(&refused);
		return rc;
	}
	*s = (struct slot){ .used = true, .nic = *c };
	if (!n->p)
		return 0;
	rc = attach(n, s, e);
	if (rc < 0) {
		close_taps(&s->nic);
		s->used = false;
	}
	return rc;
}

/* Called from within the bus, perhaps from within the adapter: it is freed later. */
static void
gone(struct vmbus_device *d)
{
	struct slot *s = d->owner;

	s->gone = true;
}

int
nics_remove(struct nics *n, uint64_t number, struct err *e)
{
	struct slot *s = find(n, number, e);

	if (!s)
		return -ENOENT;
	if (!n->p) {
		close_taps(&s->nic);
		s->used = false;
		return 0;
	}
	s->leaving = true;
	net_device(s->net)->owner = s;
	vmbus_revoke_device(net_device(s->net), gone);
	on_work(n);
	return 0;
}

int
nics_connect(struct nics *n, const struct nic *c, struct err *e)
{
	struct nic change = *c;
	struct slot *s = find(n, c->number, e);
	int rc = s ? 0 : -ENOENT;

	if (rc == 0 && !n->p) {
		if (change.taps) {
			close_taps(&s->nic);
			memcpy(s->nic.tap, change.tap, sizeof(change.tap));
			s->nic.taps = change.taps;
		}
		s->nic.connected = change.connected;
		return 0;
	}
	if (rc == 0)
		rc = connect_taps(s->net, &change, e);
	close_taps(&change);
	return rc;
}

/* --- what I/O threads have left --- */

static void
tell_removed(struct nics *n, unsigned number)
{
	control_event(n->control, "nic", json_pack("{s:s, s:i}", "What", "Removed", "Number", (int)number));
}

void
nics_work(struct nics *n)
{
	if (!atomic_exchange(&n->work, false))
		return;
	for (unsigned i = 0; i < MAX_NICS; i++) {
		struct slot *s = &n->slot[i];

		if (s->net && !s->gone)
			net_work(s->net);
		if (!s->gone)
			continue;
		net_free(s->net);
		*s = (struct slot){ .used = false };
		tell_removed(n, i);
	}
}

int
nics_pause(struct nics *n, struct err *e)
{
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < MAX_NICS; i++)
		if (n->slot[i].net)
			rc = net_pause(n->slot[i].net, PAUSE_MS, e);
	if (rc < 0)
		nics_resume(n);
	return rc;
}

void
nics_resume(struct nics *n)
{
	for (unsigned i = 0; i < MAX_NICS; i++)
		if (n->slot[i].net)
			net_resume(n->slot[i].net);
}

size_t
nics_report(struct nics *n, struct nic_report *r, size_t cap)
{
	size_t at = 0;

	for (unsigned i = 0; i < MAX_NICS && at < cap; i++) {
		struct net_stats st;

		if (!n->slot[i].net)
			continue;
		net_statistics(n->slot[i].net, &st);
		r[at] = (struct nic_report){ .number = i,
			.mtu = st.mtu,
			.channels = st.channels,
			.version = st.version,
			.connected = st.link,
			.ready = st.ready,
			.leaving = n->slot[i].leaving };
		snprintf(r[at].mac, sizeof(r[at].mac), "%02X-%02X-%02X-%02X-%02X-%02X", st.mac[0], st.mac[1],
		    st.mac[2], st.mac[3], st.mac[4], st.mac[5]);
		memcpy(r[at].count, st.count, sizeof(st.count));
		at++;
	}
	return at;
}

/* --- life --- */

int
nics_new(struct nics **out, struct control *control, struct err *e)
{
	struct nics *n = calloc(1, sizeof(*n));

	if (!n)
		return err_set(e, ENOMEM, "network adapters: out of memory");
	n->control = control;
	*out = n;
	return 0;
}

/* How many threads: as the description says, but enough for a queue each of the largest adapter. */
static unsigned
count_loops(const struct nics *n)
{
	uint64_t most = n->p->machine->network_threads;

	for (unsigned i = 0; i < MAX_NICS; i++) {
		const struct nic *c = &n->slot[i].nic;
		uint64_t queues = c->queues ? c->queues : c->taps ? c->taps : 1;

		if (queues > n->p->machine->processor.count)
			queues = n->p->machine->processor.count;
		if (n->slot[i].used && queues > most)
			most = queues;
	}
	return (unsigned)(most < NET_QUEUES ? most : NET_QUEUES);
}

int
nics_create(struct nics *n, struct partition *p, int (*walls)(struct err *), struct err *e)
{
	unsigned wanted;
	int rc = 0;

	n->p = p;
	wanted = count_loops(n);
	for (; rc == 0 && n->loops < wanted; n->loops++) {
		rc = io_loop_new(&n->loop[n->loops], e);
		if (rc == 0)
			rc = io_loop_start(n->loop[n->loops], walls, e);
	}
	for (unsigned i = 0; rc == 0 && i < MAX_NICS; i++)
		if (n->slot[i].used) {
			rc = attach(n, &n->slot[i], e);
			if (rc < 0)
				err_wrap(e, rc, "network adapter %u", i);
		}
	return rc;
}

void
nics_free(struct nics *n)
{
	if (!n)
		return;
	for (unsigned i = 0; i < MAX_NICS; i++) {
		struct slot *s = &n->slot[i];

		if (s->net && !s->leaving)
			vmbus_revoke_device(net_device(s->net), NULL);
	}
	for (unsigned i = 0; i < n->loops; i++)
		if (n->loop[i])
			io_loop_stop(n->loop[i]);
	for (unsigned i = 0; i < MAX_NICS; i++) {
		net_free(n->slot[i].net);
		close_taps(&n->slot[i].nic);
	}
	for (unsigned i = 0; i < n->loops; i++)
		io_loop_free(n->loop[i]);
	free(n);
}
