/*
 * agent/host_watch.c - adapters that come and go while the host runs: whoever is new gets its address, by
 * DHCP or as it is set; of whoever has gone the DHCP client is ended. Clients are told of that, and of
 * links and addresses that change, so that a menu shows the address that DHCP has brought.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "agent/host.h"
#include "agent/host_dhcp.h"
#include "lib/log.h"

/* A driver that loads tells of its adapter several times. */
enum { SETTLE_MS = 300 };

static bool
is_in(const struct host_adapter *list, size_t n, const struct host_adapter *a)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(list[i].name, a->name) == 0 && strcmp(list[i].mac, a->mac) == 0)
			return true;
	return false;
}

static void
tell(struct host_state *h, const char *adapter)
{
	event_publish(h->agent, "host.changed",
	    json_pack("{s:I, s:s}", "revision", (json_int_t)h->settings.revision, "adapter", adapter));
}

static void
forget_gone(struct host_state *h, const struct host_adapter *list, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < h->used_count; i++) {
		struct host_adapter *a = &h->used[i];
		struct err e = { 0 };

		if (is_in(list, n, a)) {
			h->used[kept++] = *a;
			continue;
		}
		log_msg(LOG_INFO, "%s: the adapter %s has gone", a->name, a->mac);
		if (dhcp_stop(h->agent->o.run, a->name, &e) < 0)
			log_msg(LOG_ERROR, "%s: %s", a->name, e.msg);
		tell(h, a->name);
	}
	h->used_count = kept;
}

static void
use_new(struct host_state *h, const struct host_adapter *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct err e = { 0 };

		if (is_in(h->used, h->used_count, &list[i]))
			continue;
		log_msg(LOG_INFO, "%s: there is a new adapter, %s", list[i].name, list[i].mac);
		if (host_use_adapter(h, &list[i], &e) < 0)
			log_msg(
			    LOG_ERROR, "%s: %s", list[i].name, e.msg); /* its next event is the next try */
		tell(h, list[i].name);
	}
}

static bool
looks_alike(const struct host_adapter *a, const struct host_adapter *b)
{
	if (a->link != b->link || a->addresses != b->addresses || strcmp(a->gateway, b->gateway) != 0)
		return false;
	for (size_t i = 0; i < a->addresses; i++)
		if (strcmp(a->address[i], b->address[i]) != 0)
			return false;
	return true;
}

static void
note_changes(struct host_state *h, const struct host_adapter *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < h->used_count; j++) {
			if (!is_in(&h->used[j], 1, &list[i]) || looks_alike(&h->used[j], &list[i]))
				continue;
			h->used[j] = list[i];
			tell(h, list[i].name);
		}
}

static void
look_again(struct host_state *h)
{
	struct host_adapter list[HOST_ADAPTERS];
	struct err e = { 0 };
	int n;

	pthread_mutex_lock(&h->lock);
	n = h->ops->adapters(list, &e);
	if (n < 0) {
		log_msg(LOG_ERROR, "network: %s", e.msg);
	} else {
		forget_gone(h, list, (size_t)n); /* first: a new one may have its name */
		note_changes(h, list, (size_t)n);
		use_new(h, list, (size_t)n);
	}
	pthread_mutex_unlock(&h->lock);
}

/* What is told does not matter, nor whether some of it was lost. */
static void
drain(int fd)
{
	char buf[8192];

	while (read(fd, buf, sizeof(buf)) > 0 || errno == EINTR || errno == ENOBUFS)
		errno = 0;
}

static void *
run(void *arg)
{
	struct host_state *h = arg;
	struct pollfd p[2] = { { .fd = h->watch_stop, .events = POLLIN },
		{ .fd = h->watch, .events = POLLIN } };

	while (poll(p, 2, -1) >= 0 || errno == EINTR) {
		if (p[0].revents || (p[1].revents && poll(p, 1, SETTLE_MS) > 0))
			break;
		if (p[1].revents) {
			drain(h->watch);
			look_again(h);
		}
	}
	return NULL;
}

int
host_watch_start(struct host_state *h, struct err *e)
{
	int rc;

	if (h->watch < 0)
		return 0;
	h->watch_stop = eventfd(0, EFD_CLOEXEC);
	if (h->watch_stop < 0)
		return err_sys(e, "eventfd");
	rc = pthread_create(&h->watcher, NULL, run, h);
	if (rc != 0)
		return err_set(e, rc, "%s", strerror(rc));
	h->has_watcher = true;
	return 0;
}

void
host_watch_stop(struct host_state *h)
{
	uint64_t one = 1;

	if (h->has_watcher && write(h->watch_stop, &one, sizeof(one)) == (ssize_t)sizeof(one))
		pthread_join(h->watcher, NULL);
	if (h->watch_stop >= 0)
		close(h->watch_stop);
	if (h->watch >= 0)
		close(h->watch);
	h->watch = h->watch_stop = -1;
	h->has_watcher = false;
}
