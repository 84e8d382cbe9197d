/* hypervisor/core/hyperv.c - announcing the Hyper-V interface, crash MSRs, left-over hypercalls. */
#include "hypervisor/core/hyperv.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

/*
 * What we announce where KVM supports it. Every bit here works and is used by guests; whatever KVM
 * reports beyond it stays hidden, because KVM_CAP_HYPERV_ENFORCE_CPUID then also refuses it.
 */
enum {
	/* 0x40000003 EAX: groups of MSRs */
	F_RUNTIME = 1 << 0,
	F_TIME_REF = 1 << 1,
	F_SYNIC = 1 << 2,
	F_SYNTIMER = 1 << 3,
	F_APIC = 1 << 4,
	F_HYPERCALL = 1 << 5,
	F_VP_INDEX = 1 << 6,
	F_TSC_PAGE = 1 << 9,
	F_FREQUENCY = 1 << 11,
	F_TSC_INVARIANT = 1 << 15,
	/* EBX: hypercalls allowed */
	P_POST_MESSAGES = 1 << 4,
	P_SIGNAL_EVENTS = 1 << 5,
	/* EDX */
	M_XMM_INPUT = 1 << 4,
	M_FREQUENCY = 1 << 8,
	M_CRASH = 1 << 10,
	M_TIMER_DIRECT = 1 << 19,
	/* 0x40000004 EAX: what we recommend */
	H_REMOTE_FLUSH = 1 << 2,
	H_APIC_MSRS = 1 << 3,
	H_RELAXED_TIMING = 1 << 5,
	H_NO_AUTO_EOI = 1 << 9,
	H_CLUSTER_IPI = 1 << 10,
	H_EX_MASKS = 1 << 11,
};

static const struct {
	uint32_t leaf, eax, ebx, ecx, edx; /* bits kept of what KVM reports */
} kept[] = {
	{ 0x40000001, ~0u, 0, 0, 0 },       /* "Hv#1" */
	{ 0x40000002, ~0u, ~0u, ~0u, ~0u }, /* version */
	{ 0x40000003,
	    F_RUNTIME | F_TIME_REF | F_SYNIC | F_SYNTIMER | F_APIC | F_HYPERCALL | F_VP_INDEX | F_TSC_PAGE |
		F_FREQUENCY | F_TSC_INVARIANT,
	    P_POST_MESSAGES | P_SIGNAL_EVENTS, 0, M_XMM_INPUT | M_FREQUENCY | M_CRASH | M_TIMER_DIRECT },
	{ 0x40000004,
	    H_REMOTE_FLUSH | H_APIC_MSRS | H_RELAXED_TIMING | H_NO_AUTO_EOI | H_CLUSTER_IPI | H_EX_MASKS, ~0u,
	    0, 0 },
};

enum { HV_MAX_LEAF = 0x40000006 };

/* A guest without these has no use for us (Linux: ms_hyperv_platform, hv_vmbus). */
#define NEEDED (F_TIME_REF | F_SYNIC | F_SYNTIMER | F_HYPERCALL | F_VP_INDEX | F_FREQUENCY)

static const struct kvm_cpuid_entry2 *
find(const struct kvm_cpuid2 *c, uint32_t leaf)
{
	for (uint32_t i = 0; i < c->nent; i++)
		if (c->entries[i].function == leaf)
			return &c->entries[i];
	return NULL;
}

static bool
invariant_tsc(struct cpuid_table *t)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(t, 0x80000007, 0);

	return e && (e->edx & 1u << 8);
}

static void
add_kept(struct cpuid_table *t, const struct kvm_cpuid2 *host)
{
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		const struct kvm_cpuid_entry2 *h = find(host, kept[i].leaf);
		struct kvm_cpuid_entry2 e = { .function = kept[i].leaf };

		if (h) {
			e.eax = h->eax & kept[i].eax;
			e.ebx = h->ebx & kept[i].ebx;
			e.ecx = h->ecx & kept[i].ecx;
			e.edx = h->edx & kept[i].edx;
		}
		if (e.function == 0x40000003) {
			if (!invariant_tsc(t))
				e.eax &= ~(uint32_t)F_TSC_INVARIANT;
			e.edx |= M_CRASH; /* ours, by the MSR filter */
		}
		cpuid_set(t, e);
	}
}

int
hyperv_leaves(struct cpuid_table *t, const struct host *host, struct err *e)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 e[32];
	} kvm = { .head.nent = 32 };
	struct kvm_cpuid_entry2 *f;

	if (ioctl(host->kvm_fd, KVM_GET_SUPPORTED_HV_CPUID, &kvm) < 0)
		return err_sys(e, "KVM_GET_SUPPORTED_HV_CPUID");
	cpuid_set(t, (struct kvm_cpuid_entry2){ .function = 0x40000000,
			 .eax = HV_MAX_LEAF,
			 .ebx = 0x7263694d, /* "Microsoft Hv" */
			 .ecx = 0x666f736f,
			 .edx = 0x76482074 });
	add_kept(t, &kvm.head);
	cpuid_set(
	    t, (struct kvm_cpuid_entry2){
		   .function = 0x40000005, .eax = MACHINE_MAX_PROCESSORS, .ebx = MACHINE_MAX_PROCESSORS });
	cpuid_set(t, (struct kvm_cpuid_entry2){ .function = 0x40000006 });
	/* Where the hardware acknowledges interrupts by itself, the MSRs would cost exits that it saves. */
	if (host->virtual_apic)
		cpuid_find(t, 0x40000004, 0)->eax &= ~(uint32_t)H_APIC_MSRS;
	f = cpuid_find(t, 0x40000003, 0);
	if (!f || (f->eax & NEEDED) != NEEDED)
		return err_set(e, ENOTSUP,
		    "this host's KVM offers too little of the Hyper-V interface (features %#x, needed %#x): "
		    "needs "
		    "Linux 6.1 or newer with CONFIG_KVM_HYPERV",
		    f ? f->eax : 0, (unsigned)NEEDED);
	return 0;
}

/* --- crash MSRs ------------------------------------------------------------------------------- */

#define CRASH_NOTIFY  (1ull << 63)
#define CRASH_MESSAGE (1ull << 62)

bool
hv_crash_read(const struct hv_crash *c, uint32_t msr, uint64_t *value)
{
	if (msr >= HV_CRASH_P0 && msr < HV_CRASH_P0 + 5) {
		*value = c->p[msr - HV_CRASH_P0];
		return true;
	}
	if (msr != HV_CRASH_CTL)
		return false;
	*value = CRASH_NOTIFY | CRASH_MESSAGE; /* reading tells what we can do */
	return true;
}

/* The text is the guest's: what is not plain printable ASCII, tab or newline becomes '?'. */
static void
printable(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] != '\n' && text[i] != '\t' && (text[i] < ' ' || text[i] > '~'))
			text[i] = text[i] == '\0' ? ' ' : '?';
	text[len] = '\0';
}

int
hv_crash_write(
    struct hv_crash *c, uint32_t msr, uint64_t value, const struct gmem *mem, char text[HV_CRASH_TEXT + 1])
{
	size_t len;

	if (msr >= HV_CRASH_P0 && msr < HV_CRASH_P0 + 5) {
		c->p[msr - HV_CRASH_P0] = value;
		return 0;
	}
	if (msr != HV_CRASH_CTL)
		return -1;
	c->ctl = value;
	if (!(value & CRASH_NOTIFY))
		return 0;
	/* With a message: P3 is its address and P4 its length, at most a page. */
	len = c->p[4] < HV_CRASH_TEXT ? (size_t)c->p[4] : HV_CRASH_TEXT;
	if (!(value & CRASH_MESSAGE) || gmem_read(mem, c->p[3], text, len) < 0)
		len = 0;
	printable(text, len);
	return 1;
}

/* --- hypercalls ------------------------------------------------------------------------------- */

enum { CALL_POST_MESSAGE = 0x5c, CALL_SIGNAL_EVENT = 0x5d, MESSAGE_HEAD = 16, MESSAGE_MAX = 240 };

/* The input page: connection, reserved, type, length, then the message (TLFS, HvCallPostMessage). It is
 * copied once: the guest may change it meanwhile. */
static uint64_t
post_message(uint64_t input, const struct gmem *mem, const struct hv_mail *mail)
{
	struct {
		uint32_t connection, reserved, type, len;
		uint8_t payload[MESSAGE_MAX];
	} m;

	if (input & 7)
		return HV_INVALID_ALIGNMENT;
	if (gmem_read(mem, input, &m, MESSAGE_HEAD) < 0)
		return HV_INVALID_PARAMETER;
	if (m.len > MESSAGE_MAX)
		return HV_INVALID_PARAMETER;
	/* An input may not reach into the next page. */
	if (input % GMEM_PAGE + MESSAGE_HEAD + m.len > GMEM_PAGE)
		return HV_INVALID_ALIGNMENT;
	if (gmem_read(mem, input + MESSAGE_HEAD, m.payload, m.len) < 0)
		return HV_INVALID_PARAMETER;
	return mail->post(mail->ctx, m.connection, m.type, m.payload, m.len);
}

/* KVM hands over HvPostMessage always and HvSignalEvent for a connection without an eventfd. */
uint64_t
hyperv_hypercall(
    uint64_t input, uint64_t param0, uint64_t param1, const struct gmem *mem, const struct hv_mail *mail)
{
	uint16_t code = (uint16_t)input;
	bool fast = input & 1 << 16;

	(void)param1;
	if (code == CALL_POST_MESSAGE && !fast)
		return post_message(param0, mem, mail);
	if (code != CALL_SIGNAL_EVENT) /* posting has no fast form */
		return HV_INVALID_HYPERCALL_CODE;
	if (!fast && (param0 & 7))
		return HV_INVALID_ALIGNMENT;
	return HV_INVALID_CONNECTION_ID; /* nobody listens there */
}
