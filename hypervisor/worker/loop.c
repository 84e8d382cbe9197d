/*
 * hypervisor/worker/loop.c - the control thread's loop: requests, what processors ask, timers, consoles.
 *
 * It sleeps until one of them has something. A guest that is idle wakes nobody here.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

#include "hypervisor/worker/worker.h"
#include "lib/log.h"

enum {
	SLOT_CONTROL,
	SLOT_WAKE,
	SLOT_TIMER,
	SLOT_VMBUS,
	SLOT_CONSOLE,
	SLOTS = SLOT_CONSOLE + MACHINE_COM_PORTS
};

/* Whether one more panic may be told, and not only counted. */
static bool
may_tell(struct worker *w)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	w->panic_rate.burst = 10;
	w->panic_rate.per_s = 1;
	return rate_take(&w->panic_rate, (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec);
}

static void
tell_panic(struct worker *w)
{
	struct hv_crash c;
	json_t *text, *numbers;
	char hex[24];

	w->panics++;
	if (!may_tell(w))
		return;
	numbers = json_array();
	pthread_mutex_lock(&w->p->crash_lock);
	c = w->p->crash;
	text = json_string(w->p->panic);
	pthread_mutex_unlock(&w->p->crash_lock);
	for (int i = 0; i < 5; i++) {
		snprintf(hex, sizeof(hex), "0x%llx", (unsigned long long)c.p[i]);
		json_array_append_new(numbers, json_string(hex));
	}
	log_once(&w->told_panic, LOG_WARN, "%s: the guest reports a panic", w->machine.name);
	control_event(w->control, "panic", json_pack("{s:o, s:o}", "Text", text, "Parameters", numbers));
}

/* A disk without space below: the guest waits, with its write, until somebody has made room. */
static void
hear_disks(struct worker *w)
{
	char why[sizeof(w->reason)];

	if (disks_news(w->disks, why, sizeof(why)))
		life_move(w, LIFE_PAUSE, why, NULL, NULL);
}

static void
answer_asked(struct worker *w)
{
	unsigned asked = partition_take_asked(w->p);
	char failure[sizeof(w->p->failure)];
	bool go_on;

	go_on = w->go_on;
	w->go_on = false;
	if (asked & ASKED_VMBUS)
		vmbus_work(w->p->vmbus);
	if (asked & ASKED_DEVICES) {
		hear_disks(w);
		nics_work(w->nics);
		services_work(w);
	}
	if (asked & ASKED_PANIC)
		tell_panic(w);
	if (asked & ASKED_FAILED) {
		pthread_mutex_lock(&w->p->crash_lock);
		snprintf(failure, sizeof(failure), "%s", w->p->failure);
		pthread_mutex_unlock(&w->p->crash_lock);
		log_msg(LOG_ERROR, "%s: %s", w->machine.name, failure);
		life_move(w, LIFE_FAILED, failure, NULL, NULL);
	} else if (asked & ASKED_POWER_OFF) {
		life_move(w, LIFE_GUEST_OFF, "turned off by the guest", NULL, NULL);
	} else if (asked & ASKED_RESET) {
		struct err e = { 0 };

		if (life_move(w, LIFE_GUEST_RESET, "reset by the guest", NULL, &e) < 0)
			log_msg(LOG_ERROR, "%s: reset: %s", w->machine.name, e.msg);
		else if (go_on)
			life_move(w, LIFE_RESUME, "it could not be saved", NULL, NULL);
	}
}

static void
prepare(const struct worker *w, struct pollfd *f)
{
	f[SLOT_CONTROL] = (struct pollfd){ .fd = control_poll_fd(w->control), .events = POLLIN };
	f[SLOT_WAKE] = (struct pollfd){ .fd = w->p ? w->p->wake_fd : -1, .events = POLLIN };
	f[SLOT_TIMER] = (struct pollfd){ .fd = w->p ? w->p->timer_fd : -1, .events = POLLIN };
	f[SLOT_VMBUS] = (struct pollfd){ .fd = w->p ? vmbus_legacy_fd(w->p->vmbus) : -1, .events = POLLIN };
	for (int i = 0; i < MACHINE_COM_PORTS; i++) {
		short events = console_wants(&w->console[i]);

		f[SLOT_CONSOLE + i] =
		    (struct pollfd){ .fd = events ? w->console[i].fd : -1, .events = events };
	}
}

int
worker_loop(struct worker *w)
{
	struct pollfd f[SLOTS];

	while (!w->quit) {
		bool woken;

		prepare(w, f);
		if (ppoll(f, SLOTS, NULL, NULL) < 0) {
			if (errno == EINTR)
				continue;
			log_msg(LOG_ERROR, "poll: the worker cannot go on");
			return 1;
		}
		woken = f[SLOT_WAKE].revents != 0;
		if (woken)
			answer_asked(w);
		if (f[SLOT_TIMER].revents)
			partition_timers(w->p);
		if (f[SLOT_VMBUS].revents)
			vmbus_legacy_signal(w->p->vmbus);
		for (int i = 0; i < MACHINE_COM_PORTS; i++)
			if (w->console[i].fd >= 0 && (woken || f[SLOT_CONSOLE + i].revents))
				console_pump(&w->console[i]);
		if (f[SLOT_CONTROL].revents)
			control_handle(w->control);
	}
	return w->status;
}
