/* hypervisor/worker/services.c - the machine's small devices, and the loop that they share. */
#include "hypervisor/worker/services.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "hypervisor/worker/components.h"
#include "hypervisor/worker/memory_requests.h"
#include "hypervisor/worker/streams.h"
#include "hypervisor/worker/worker.h"

/* In the order they are made in. */
static const struct service *const kinds[] = { &stream_service, &component_service, &memory_service };
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

struct services {
	struct io_loop *loop;
	bool has[KINDS];
	atomic_bool wanted; /* the control thread is */
};

static bool
any_wanted(const struct machine *m)
{
	for (int i = 0; i < KINDS; i++)
		if (kinds[i]->wanted(m))
			return true;
	return false;
}

int
services_create(struct worker *w, int (*walls)(struct err *), struct err *e)
{
	struct services *s;
	int rc;

	if (!any_wanted(&w->machine))
		return 0;
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, ENOMEM, "services: out of memory");
	w->services = s;
	rc = io_loop_new(&s->loop, e);
	for (int i = 0; rc == 0 && i < KINDS; i++)
		if (kinds[i]->wanted(&w->machine)) {
			s->has[i] = true;
			rc = kinds[i]->make(w, s->loop, e);
		}
	if (rc < 0)
		return rc;
	services_hold(w, true);
	return io_loop_start(s->loop, walls, e);
}

void
services_free(struct worker *w)
{
	struct services *s = w->services;

	if (!s)
		return;
	for (int i = 0; i < KINDS; i++)
		if (s->has[i])
			kinds[i]->leave(w);
	if (s->loop)
		io_loop_stop(s->loop);
	for (int i = 0; i < KINDS; i++)
		if (s->has[i])
			kinds[i]->free(w);
	io_loop_free(s->loop);
	free(s);
	w->services = NULL;
}

void
services_wake(void *worker)
{
	struct worker *w = worker;

	atomic_store(&w->services->wanted, true);
	partition_ask(w->p, ASKED_DEVICES);
}

void
services_work(struct worker *w)
{
	if (!w->services || !atomic_exchange(&w->services->wanted, false))
		return;
	for (int i = 0; i < KINDS; i++)
		if (w->services->has[i])
			kinds[i]->work(w);
}

void
services_hold(struct worker *w, bool on)
{
	for (int i = 0; w->services && i < KINDS; i++)
		if (w->services->has[i])
			kinds[i]->hold(w, on);
}

void
services_reset(struct worker *w)
{
	for (int i = 0; w->services && i < KINDS; i++)
		if (w->services->has[i] && kinds[i]->reset)
			kinds[i]->reset(w);
}
