/*
 * hypervisor/state/save.h - a whole machine to a stream, and from a stream into a new worker.
 *
 * Saving leaves the machine as it was: its processors must be stopped and stay so until it is known
 * that the copy is whole. Restoring has two steps, because processors are made with what the stream says
 * of them: saved_facts_read, partition_new with facts.cpuid, then machine_restore. Everything in the
 * stream is untrusted. Both block on the descriptor. Control thread.
 */
#ifndef HYPERVISOR_STATE_SAVE_H
#define HYPERVISOR_STATE_SAVE_H

#include "hypervisor/core/partition.h"

/* What a saved machine must have in common with the one it is restored to. */
struct saved_facts {
	uint64_t version; /* ConfigurationVersion */
	uint8_t id[16];
	uint64_t processors, threads_per_core, cores_per_socket;
	uint64_t memory_mb, maximum_mb;
	uint64_t added; /* bytes of memory added while it ran */
	uint8_t com[MACHINE_COM_PORTS];
	struct cpuid_table cpuid;
};

int machine_save(struct partition *p, int fd, struct err *e);

/* Reads the head of the stream; compares it with m. */
int saved_facts_read(struct saved_facts *f, const struct machine *m, int fd, struct err *e);
/* Reads the rest into a partition that has never run. After a failure the partition must be freed. */
int machine_restore(struct partition *p, const struct saved_facts *f, int fd, struct err *e);

#endif
