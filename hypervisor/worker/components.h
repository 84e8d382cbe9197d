/*
 * hypervisor/worker/components.h - the machine's integration components: one of the worker's small devices
 * (services.h), and what they have to tell.
 *
 * They exist when the machine's document has at least one of them on; then each can be switched off and on.
 * News come from the I/O thread; what a guest can cause without end is told ten times, then once a second.
 */
#ifndef HYPERVISOR_WORKER_COMPONENTS_H
#define HYPERVISOR_WORKER_COMPONENTS_H

#include "hypervisor/vsp/ic.h"
#include "hypervisor/worker/services.h"

extern const struct service component_service;

/* NULL: the machine has none. Control thread. */
struct ics *components_ics(const struct worker *w);

#endif
