/*
 * agent/vm_room.h - the machines room as a whole: opened at the agent's start, with the machines that run
 * found again, and those started that are to start with the host. Private to the room and its tests.
 */
#ifndef AGENT_VM_ROOM_H
#define AGENT_VM_ROOM_H

#include "agent/vm.h"

/* a->o is set. publish: event_publish, or a test's. */
int machines_open(struct machines **out, struct agent *a,
    void (*publish)(struct agent *a, const char *type, json_t *data), struct err *e);
/* Starts what is to start with the host, on a thread of its own, unless this is only a restart of the agent.
 */
void machines_boot(struct machines *ms);
/* Waits for that. */
void machines_booted(struct machines *ms);
/* Workers go on. ms may be NULL. */
void machines_close(struct machines *ms);

#endif
