/*
 * hypervisor/core/hyperv.h - the part of the Hyper-V interface that is not KVM's: which of it is
 * announced (CPUID 0x40000000-0x40000006), crash MSRs, and the answers to hypercalls KVM hands over.
 * Numbers: Hyper-V Top Level Functional Specification (TLFS).
 */
#ifndef HYPERVISOR_CORE_HYPERV_H
#define HYPERVISOR_CORE_HYPERV_H

#include <stdbool.h>
#include <stdint.h>

#include "hypervisor/core/cpuid.h"
#include "hypervisor/core/gmem.h"

enum { HV_CRASH_P0 = 0x40000100, HV_CRASH_CTL = 0x40000105, HV_CRASH_MSRS = 6, HV_CRASH_TEXT = 4096 };

/* Status codes (TLFS appendix). */
enum {
	HV_SUCCESS = 0,
	HV_INVALID_HYPERCALL_CODE = 2,
	HV_INVALID_HYPERCALL_INPUT = 3,
	HV_INVALID_ALIGNMENT = 4,
	HV_INVALID_PARAMETER = 5,
	HV_INVALID_CONNECTION_ID = 18,
	HV_INSUFFICIENT_BUFFERS = 19,
};

/* Adds the Hyper-V leaves that both KVM and this worker make work. */
int hyperv_leaves(struct cpuid_table *t, const struct host *host, struct err *e);

/* The crash MSRs of a partition: a guest in panic leaves five numbers and, if it can, its last words.
 * One instance a partition; the caller locks. */
struct hv_crash {
	uint64_t p[5];
	uint64_t ctl; /* what was last written */
};
/* True when msr is one of ours. */
bool hv_crash_read(const struct hv_crash *c, uint32_t msr, uint64_t *value);
/* Returns 1 when the write reports a crash: text then holds its words, printable and terminated,
 * empty when there are none. Returns 0 otherwise, -1 when msr is not ours. */
int hv_crash_write(
    struct hv_crash *c, uint32_t msr, uint64_t value, const struct gmem *mem, char text[HV_CRASH_TEXT + 1]);

/* Takes what HvPostMessage brings, a copy of it: a status. */
struct hv_mail {
	uint16_t (*post)(void *ctx, uint32_t connection, uint32_t type, const void *payload, size_t len);
	void *ctx;
};
/* A hypercall that KVM left to us: its two parameters as the guest gave them, addresses unless the call is
 * fast. Returns the whole result value. */
uint64_t hyperv_hypercall(
    uint64_t input, uint64_t param0, uint64_t param1, const struct gmem *mem, const struct hv_mail *mail);

#endif
