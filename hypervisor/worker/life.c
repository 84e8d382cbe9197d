/*
 * hypervisor/worker/life.c - the life of a machine: a table of states and events.
 *
 * One function walks it: find the row, run its action, and move only when that worked. A pair that has no
 * row is refused in words; a pair whose row leads back to its own state without an action is "already so".
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hypervisor/chipset/pm.h"
#include "hypervisor/sandbox/walls.h"
#include "hypervisor/state/save.h"
#include "hypervisor/worker/worker.h"
#include "lib/log.h"

const char *const state_names[] = { "None", "Off", "Running", "Paused", "Saved", "Critical", NULL };

static const char *const event_names[LIFE_EVENTS] = {
	[LIFE_START] = "started",
	[LIFE_PAUSE] = "paused",
	[LIFE_RESUME] = "resumed",
	[LIFE_RESET] = "reset",
	[LIFE_POWER_OFF] = "turned off",
	[LIFE_SAVED] = "saved",
	[LIFE_GUEST_OFF] = "turned off by its guest",
	[LIFE_GUEST_RESET] = "reset by its guest",
	[LIFE_FAILED] = "stopped",
};

/* --- a guest that is gone --------------------------------------------------------------------------- */

enum { SETTLE_MS = 10000, SETTLE_STEP_MS = 1 };

static uint64_t
milliseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Waits until no device uses its memory any more. Looks now and then: the partition's descriptor, through
 * which the I/O threads speak, stays readable while there is anything else that nobody has taken. */
static int
settle(struct worker *w, struct err *e)
{
	uint64_t until = milliseconds() + SETTLE_MS;

	services_reset(w);
	while (!partition_let_go(w->p)) {
		if (milliseconds() >= until)
			return err_set(e, EBUSY,
			    "a disk or a tap has not ended what was begun on it in %d s: see what lies "
			    "below, "
			    "then try again",
			    SETTLE_MS / 1000);
		poll(NULL, 0, SETTLE_STEP_MS);
		disks_work(w->disks);
		nics_work(w->nics);
		services_work(w);
	}
	return 0;
}

/* --- actions ------------------------------------------------------------------------------------- */

static void
go(struct worker *w)
{
	partition_go(w->p);
	services_hold(w, false);
}

static int
act_start(struct worker *w, struct err *e)
{
	int rc = w->p->fresh ? 0 : settle(w, e);

	if (rc == 0)
		rc = partition_power_on(w->p, e);
	if (rc == 0)
		go(w);
	return rc;
}

static void
stop(struct worker *w)
{
	services_hold(w, true);
	partition_stop(w->p);
}

static int
act_stop(struct worker *w, struct err *e)
{
	(void)e;
	stop(w);
	return 0;
}

/* The guest is gone: its disks are nobody's until the next start. */
static int
act_off(struct worker *w, struct err *e)
{
	(void)e;
	stop(w);
	partition_let_go(w->p);
	services_reset(w);
	/* Of a machine that was saved: only now, for what its guest has left in its rings and what waits is
	 * done by whoever restores it. */
	disks_resume(w->disks);
	nics_resume(w->nics);
	return 0;
}

static int
act_resume(struct worker *w, struct err *e)
{
	(void)e;
	disks_retry(w->disks);
	go(w);
	return 0;
}

static int
act_reset(struct worker *w, struct err *e)
{
	stop(w);
	w->resets++;
	return act_start(w, e);
}

/* Back to power-on, and there it stays until it is let go on. */
static int
act_reset_paused(struct worker *w, struct err *e)
{
	int rc = settle(w, e);

	w->resets++;
	return rc < 0 ? rc : partition_power_on(w->p, e);
}

/* --- the table ------------------------------------------------------------------------------------ */

static const struct move {
	enum machine_state from;
	enum life_event event;
	enum machine_state to;
	int (*act)(struct worker *, struct err *);
} moves[] = {
	{ STATE_OFF, LIFE_START, STATE_RUNNING, act_start },
	{ STATE_OFF, LIFE_POWER_OFF, STATE_OFF, NULL },

	{ STATE_RUNNING, LIFE_START, STATE_RUNNING, NULL },
	{ STATE_RUNNING, LIFE_RESUME, STATE_RUNNING, NULL },
	{ STATE_RUNNING, LIFE_PAUSE, STATE_PAUSED, act_stop },
	{ STATE_RUNNING, LIFE_RESET, STATE_RUNNING, act_reset },
	{ STATE_RUNNING, LIFE_POWER_OFF, STATE_OFF, act_off },
	{ STATE_RUNNING, LIFE_GUEST_OFF, STATE_OFF, act_off },
	{ STATE_RUNNING, LIFE_GUEST_RESET, STATE_RUNNING, act_reset },
	{ STATE_RUNNING, LIFE_FAILED, STATE_CRITICAL, act_stop },

	{ STATE_PAUSED, LIFE_PAUSE, STATE_PAUSED, NULL },
	{ STATE_PAUSED, LIFE_RESUME, STATE_RUNNING, act_resume },
	{ STATE_PAUSED, LIFE_START, STATE_RUNNING, act_resume },
	{ STATE_PAUSED, LIFE_RESET, STATE_RUNNING, act_reset },
	{ STATE_PAUSED, LIFE_POWER_OFF, STATE_OFF, act_off },
	{ STATE_PAUSED, LIFE_SAVED, STATE_SAVED, act_stop },
	/* What the guest asked in the moment it was paused happens all the same; but it stays paused. */
	{ STATE_PAUSED, LIFE_GUEST_OFF, STATE_OFF, act_off },
	{ STATE_PAUSED, LIFE_GUEST_RESET, STATE_PAUSED, act_reset_paused },
	{ STATE_PAUSED, LIFE_FAILED, STATE_CRITICAL, act_stop },

	{ STATE_SAVED, LIFE_POWER_OFF, STATE_OFF, act_off },

	{ STATE_CRITICAL, LIFE_RESET, STATE_RUNNING, act_reset },
	{ STATE_CRITICAL, LIFE_POWER_OFF, STATE_OFF, act_off },
};

static const struct move *
find(enum machine_state from, enum life_event event)
{
	for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++)
		if (moves[i].from == from && moves[i].event == event)
			return &moves[i];
	return NULL;
}

static void
enter(struct worker *w, enum machine_state to, const char *reason)
{
	w->state = to;
	snprintf(w->reason, sizeof(w->reason), "%s", reason ? reason : "");
	control_event(
	    w->control, "state", json_pack("{s:s, s:s}", "State", state_names[to], "Reason", w->reason));
}

int
life_move(struct worker *w, enum life_event ev, const char *reason, bool *changed, struct err *e)
{
	const struct move *m = find(w->state, ev);
	struct err own = { 0 };
	int rc = 0;

	e = e ? e : &own; /* a failure becomes the machine's reason, whoever asked */
	if (changed)
		*changed = false;
	if (!m)
		return err_set(
		    e, EINVAL, "a machine that is %s cannot be %s", state_names[w->state], event_names[ev]);
	if (!m->act)
		return 0;
	rc = m->act(w, e);
	if (rc < 0) {
		/* Half-way to power-on: nothing runs, and the next start begins from the beginning. */
		if (m->act == act_start || m->act == act_reset || m->act == act_reset_paused)
			enter(w, STATE_OFF, e->msg);
		return rc;
	}
	enter(w, m->to, reason);
	if (changed)
		*changed = true;
	return 0;
}

/* --- creation ------------------------------------------------------------------------------------- */

/* A machine that continues under another generation id went back in time, or is a copy: its guest is told,
 * so that it does not use the same random numbers twice. */
static int
new_generation(struct worker *w, struct err *e)
{
	uint8_t was[16];

	if (gmem_read(w->p->mem, MAP_SHARED_PAGE, was, sizeof(was)) == 0 &&
	    memcmp(was, w->machine.generation_id, sizeof(was)) == 0)
		return 0;
	if (gmem_write(w->p->mem, MAP_SHARED_PAGE, w->machine.generation_id, sizeof(was)) < 0)
		return err_set(e, EFAULT, "VM generation id: no memory there");
	pm_gpe(w->p->pm, GPE_VMGENID);
	return 0;
}

static int
build(struct worker *w, int stream, struct saved_facts *facts, struct err *e)
{
	int rc = partition_new(
	    &w->p, &w->host, &w->machine, stream < 0 ? NULL : &facts->cpuid, walls_close_processor, e);

	if (rc == 0)
		rc = disks_create(w->disks, w->p, walls_close_io, e);
	if (rc == 0)
		rc = nics_create(w->nics, w->p, walls_close_io, e);
	if (rc == 0)
		rc = services_create(w, walls_close_io, e);
	if (rc < 0)
		return rc;
	/* From here on images and streams are read, and then the guest runs. */
	rc = walls_close_control(e);
	if (rc == 0)
		rc = disks_attach(w->disks, e);
	if (rc == 0 && stream >= 0)
		rc = machine_restore(w->p, facts, stream, e);
	if (rc == 0 && stream >= 0)
		rc = new_generation(w, e);
	return rc;
}

int
life_create(struct worker *w, int stream, struct err *e)
{
	struct saved_facts facts;
	int rc = 0;

	if (w->state != STATE_NONE)
		return err_set(e, EBUSY, "this worker has its machine already");
	rc = machine_check(&w->machine, e);
	if (rc < 0)
		return rc; /* nothing was built yet: it waits for a better one */
	if (stream >= 0)
		rc = saved_facts_read(&facts, &w->machine, stream, e);
	if (rc == 0)
		rc = build(w, stream, &facts, e);
	if (rc < 0) {
		/* Its walls may be up and its threads made: this process can do nothing else any more. */
		w->quit = true;
		w->status = EXIT_FAILURE;
		return rc;
	}
	for (int i = 0; i < MACHINE_COM_PORTS; i++)
		console_init(&w->console[i], w->p->com[i]);
	enter(w, stream < 0 ? STATE_OFF : STATE_PAUSED, stream < 0 ? "created" : "restored");
	return 0;
}
