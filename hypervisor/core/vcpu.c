/*
 * hypervisor/core/vcpu.c - a virtual processor's thread and the exits it answers.
 *
 * The loop: wait until the partition goes, run the guest, answer what it asked, until the partition
 * stops. A processor never leaves the loop; whatever a guest does that we cannot answer stops the
 * machine (partition_fail), not the process.
 */
#include "hypervisor/core/vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hypervisor/core/partition.h"
#include "hypervisor/core/synic.h"
#include "lib/log.h"

#define KICK_SIGNAL SIGUSR1

static void
on_kick(int sig)
{
	(void)sig; /* its arrival alone ends KVM_RUN */
}

int
vcpu_setup_signal(struct err *e)
{
	struct sigaction sa = { .sa_handler = on_kick };

	return sigaction(KICK_SIGNAL, &sa, NULL) < 0 ? err_sys(e, "sigaction") : 0;
}

void
vcpu_kick(struct vcpu *v)
{
	/* Seen by KVM even when the signal comes just before it enters the guest. */
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_RELEASE);
	pthread_kill(v->thread, KICK_SIGNAL);
}

/* --- calls from the control thread ------------------------------------------------------------------ */

static void
answer_call(struct vcpu *v)
{
	struct partition *p = v->p;

	pthread_mutex_lock(&p->lock);
	if (v->called) {
		v->call(v->call_arg);
		v->called = false;
		/* Whoever stops the partition clears `go` first: the loop looks at that after this. */
		__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
		pthread_cond_broadcast(&p->parked_cond);
	}
	pthread_mutex_unlock(&p->lock);
}

void
vcpu_call(struct vcpu *v, void (*fn)(void *arg), void *arg)
{
	struct partition *p = v->p;
	bool ran = false;

	pthread_mutex_lock(&p->lock);
	if (!v->parked) {
		v->call = fn;
		v->call_arg = arg;
		v->called = true;
		vcpu_kick(v);
		while (v->called && !v->parked)
			pthread_cond_wait(&p->parked_cond, &p->lock);
		ran = !v->called;
		v->called = false;
	}
	if (!ran) /* stopped, or it stopped by itself meanwhile */
		fn(arg);
	pthread_mutex_unlock(&p->lock);
}

int
vcpu_get_msr(struct vcpu *v, uint32_t index, uint64_t *value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry e[1];
	} m = { .head.nmsrs = 1, .e[0].index = index };
	int n = ioctl(v->fd, KVM_GET_MSRS, &m);

	if (n != 1)
		return n < 0 ? -errno : -ENOENT;
	*value = m.e[0].data;
	return 0;
}

/* --- exits: each returns 0, or -1 when this processor must stop and wait ------------------------ */

static int
exit_io(struct vcpu *v)
{
	struct kvm_run *r = v->run;
	uint8_t *data = (uint8_t *)r + r->io.data_offset;

	/* count > 1: a string instruction; the kernel keeps size * count within the page. */
	for (uint32_t i = 0; i < r->io.count; i++, data += r->io.size) {
		uint32_t x = 0;

		if (r->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&x, data, r->io.size);
			bus_write(&v->p->ports, r->io.port, r->io.size, x);
		} else {
			x = bus_read(&v->p->ports, r->io.port, r->io.size);
			memcpy(data, &x, r->io.size);
		}
	}
	return 0;
}

static int
exit_mmio(struct vcpu *v)
{
	if (!v->run->mmio.is_write) /* nobody there: the bus floats high */
		memset(v->run->mmio.data, 0xff, sizeof(v->run->mmio.data));
	return 0;
}

static int
exit_rdmsr(struct vcpu *v)
{
	struct kvm_run *r = v->run;
	uint64_t value = 0;

	pthread_mutex_lock(&v->p->crash_lock);
	r->msr.error = !hv_crash_read(&v->p->crash, r->msr.index, &value); /* error: #GP */
	pthread_mutex_unlock(&v->p->crash_lock);
	r->msr.data = value;
	return 0;
}

static int
exit_wrmsr(struct vcpu *v)
{
	struct kvm_run *r = v->run;
	struct partition *p = v->p;
	int rc;

	pthread_mutex_lock(&p->crash_lock);
	rc = hv_crash_write(&p->crash, r->msr.index, r->msr.data, p->mem, p->panic);
	pthread_mutex_unlock(&p->crash_lock);
	r->msr.error = rc < 0;
	if (rc == 1)
		partition_ask(p, ASKED_PANIC);
	return 0;
}

static int
exit_hyperv(struct vcpu *v)
{
	struct kvm_hyperv_exit *h = &v->run->hyperv;

	if (h->type == KVM_EXIT_HYPERV_HCALL)
		h->u.hcall.result = hyperv_hypercall(
		    h->u.hcall.input, h->u.hcall.params[0], h->u.hcall.params[1], v->p->mem, &v->p->mail);
	else if (h->type == KVM_EXIT_HYPERV_SYNIC)
		synic_set(v, h->u.synic.control, h->u.synic.evt_page, h->u.synic.msg_page);
	return 0;
}

static int
exit_shutdown(struct vcpu *v)
{
	partition_ask(v->p, ASKED_RESET); /* a triple fault resets a machine */
	return -1;
}

static int
exit_system_event(struct vcpu *v)
{
	uint32_t type = v->run->system_event.type;

	if (type == KVM_SYSTEM_EVENT_CRASH)
		return 0; /* the MSR filter has told us already */
	partition_ask(v->p, type == KVM_SYSTEM_EVENT_SHUTDOWN ? ASKED_POWER_OFF : ASKED_RESET);
	return -1;
}

static int
exit_internal_error(struct vcpu *v)
{
	partition_fail(v->p,
	    "processor %u: KVM could not carry out an instruction of the guest (internal error %u)", v->index,
	    v->run->internal.suberror);
	return -1;
}

static int
exit_fail_entry(struct vcpu *v)
{
	partition_fail(v->p, "processor %u: the hardware refused to enter the guest (reason %#llx)", v->index,
	    (unsigned long long)v->run->fail_entry.hardware_entry_failure_reason);
	return -1;
}

static int
exit_nothing(struct vcpu *v)
{
	(void)v;
	return 0;
}

static const struct {
	int (*act)(struct vcpu *);
	enum exit_kind kind;
} on_exit_reason[] = {
	[KVM_EXIT_IO] = { exit_io, EXIT_IO },
	[KVM_EXIT_MMIO] = { exit_mmio, EXIT_MMIO },
	[KVM_EXIT_X86_RDMSR] = { exit_rdmsr, EXIT_MSR },
	[KVM_EXIT_X86_WRMSR] = { exit_wrmsr, EXIT_MSR },
	[KVM_EXIT_HYPERV] = { exit_hyperv, EXIT_HYPERCALL },
	[KVM_EXIT_SHUTDOWN] = { exit_shutdown, EXIT_OTHER },
	[KVM_EXIT_SYSTEM_EVENT] = { exit_system_event, EXIT_OTHER },
	[KVM_EXIT_INTERNAL_ERROR] = { exit_internal_error, EXIT_OTHER },
	[KVM_EXIT_FAIL_ENTRY] = { exit_fail_entry, EXIT_OTHER },
	[KVM_EXIT_INTR] = { exit_nothing, EXIT_STOP },
	[KVM_EXIT_IRQ_WINDOW_OPEN] = { exit_nothing, EXIT_OTHER },
};
enum { EXIT_REASONS = sizeof(on_exit_reason) / sizeof(on_exit_reason[0]) };

static void
count(struct vcpu *v, enum exit_kind k)
{
	/* One writer: no locked instruction needed. */
	atomic_store_explicit(
	    &v->exits[k], atomic_load_explicit(&v->exits[k], memory_order_relaxed) + 1, memory_order_relaxed);
}

static int
answer_exit(struct vcpu *v)
{
	uint32_t reason = v->run->exit_reason;

	if (reason >= EXIT_REASONS || !on_exit_reason[reason].act) {
		partition_fail(
		    v->p, "processor %u: KVM gave an exit this worker does not know (%u)", v->index, reason);
		return -1;
	}
	count(v, on_exit_reason[reason].kind);
	return on_exit_reason[reason].act(v);
}

/* --- the loop ---------------------------------------------------------------------------------- */

/*
 * An access that we answered is complete only when KVM is entered again: it then gives the guest what was
 * read and goes on to the next instruction. Without that a saved guest would do its last access twice, and
 * a reset one would get the answer to an access from before. One access may be several exits.
 */
static void
finish_access(struct vcpu *v)
{
	do
		__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_RELEASE); /* and not into the guest */
	while (ioctl(v->fd, KVM_RUN, 0) == 0 && answer_exit(v) == 0);
}

static void
run_guest(struct vcpu *v)
{
	struct partition *p = v->p;

	for (;;) {
		if (atomic_load_explicit(&v->called, memory_order_relaxed))
			answer_call(v);
		if (!atomic_load(&p->go))
			return;
		if (ioctl(v->fd, KVM_RUN, 0) < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue; /* kicked, or an unborn processor that was woken */
			partition_fail(p, "processor %u: KVM_RUN: %s", v->index, strerror(errno));
			return;
		}
		/* A device may have asked for reset or power-off: the guest must not run past that. */
		if (answer_exit(v) < 0 ||
		    (atomic_load_explicit(&p->asked, memory_order_relaxed) & ASKED_TO_END)) {
			finish_access(v);
			return;
		}
		if (!atomic_load_explicit(&p->go, memory_order_acquire))
			finish_access(v);
	}
}

/* Waits for the partition to go. A processor that stopped by itself waits for the next stop first. */
static void
park(struct vcpu *v, unsigned *generation)
{
	struct partition *p = v->p;

	pthread_mutex_lock(&p->lock);
	p->parked++;
	v->parked = true;
	pthread_cond_broadcast(&p->parked_cond);
	while (!(atomic_load(&p->go) && p->generation != *generation))
		pthread_cond_wait(&p->go_cond, &p->lock);
	*generation = p->generation;
	p->parked--;
	v->parked = false;
	v->run->immediate_exit = 0;
	pthread_mutex_unlock(&p->lock);
}

static void *
vcpu_thread(void *arg)
{
	struct vcpu *v = arg;
	unsigned generation = 0;
	struct err e = { 0 };

	if (v->walls && v->walls(&e) < 0) {
		pthread_mutex_lock(&v->p->lock);
		v->p->refused = true;
		pthread_mutex_unlock(&v->p->lock);
		log_msg(LOG_ERROR, "processor %u: %s", v->index, e.msg);
	}
	for (;;) {
		park(v, &generation);
		run_guest(v);
	}
	return NULL;
}

int
vcpu_start_thread(struct vcpu *v, int (*walls)(struct err *), struct err *e)
{
	pthread_attr_t attr;
	int rc;

	v->walls = walls;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 128 * 1024); /* the deepest path is a device access */
	rc = pthread_create(&v->thread, &attr, vcpu_thread, v);
	pthread_attr_destroy(&attr);
	return rc ? err_set(e, rc, "processor %u: thread: %s", v->index, strerror(rc)) : 0;
}

/* --- making one -------------------------------------------------------------------------------- */

static int
enable_cap(int fd, uint32_t cap, uint64_t arg)
{
	struct kvm_enable_cap c = { .cap = cap, .args = { arg } };

	return ioctl(fd, KVM_ENABLE_CAP, &c);
}

static int
set_cpuid(struct vcpu *v)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 e[CPUID_MAX];
	} c;
	struct cpuid_table t = v->p->cpuid; /* that one stays processor 0's */

	cpuid_for_processor(&t, v->p->machine, v->index);
	c.head.nent = t.n;
	c.head.padding = 0;
	memcpy(c.e, t.e, t.n * sizeof(t.e[0]));
	return ioctl(v->fd, KVM_SET_CPUID2, &c);
}

int
vcpu_new(struct vcpu *v, struct partition *p, unsigned index, struct err *e)
{
	v->p = p;
	v->index = index;
	/* KVM's id of a processor is its APIC id; its VP index counts them in order of creation. */
	v->fd = ioctl(p->vm_fd, KVM_CREATE_VCPU, (unsigned long)machine_apic_id(p->machine, index));
	if (v->fd < 0)
		return err_sys(e, "processor %u", index);
	v->run = mmap(NULL, v->run_len, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		return err_sys(e, "processor %u: mmap", index);
	}
	/* What CPUID does not announce is not there either: neither more of Hyper-V nor KVM's own interface.
	 */
	if (enable_cap(v->fd, KVM_CAP_HYPERV_ENFORCE_CPUID, 1) < 0 ||
	    enable_cap(v->fd, KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1) < 0 || set_cpuid(v) < 0)
		return err_sys(e, "processor %u: CPUID", index);
	if (enable_cap(v->fd, KVM_CAP_HYPERV_SYNIC2, 0) < 0)
		return err_sys(e, "processor %u: SynIC", index);
	return 0;
}

void
vcpu_free(struct vcpu *v)
{
	if (v->run)
		munmap(v->run, v->run_len);
	if (v->fd >= 0)
		close(v->fd);
	v->run = NULL;
	v->fd = -1;
}

/* --- direct boot ------------------------------------------------------------------------------- */

enum {
	CR0_PE = 1,
	CR0_ET = 1 << 4,
	CR0_NE = 1 << 5,
	CR0_WP = 1 << 16,
	CR4_PAE = 1 << 5,
	EFER_LME = 1 << 8,
	EFER_LMA = 1 << 10
};
#define CR0_PG 0x80000000ull

static struct kvm_segment
flat_segment(uint16_t selector, uint8_t type, bool code64)
{
	return (struct kvm_segment){ .base = 0,
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
		.g = 1,
		.l = code64,
		.db = !code64 };
}

/*
 * KVM on AMD clears a processor's control block at a triple fault, and loads the root of its nested page
 * tables again only when something about paging changes. A processor that had paging off would go on with
 * host page 0 as its page tables: without end it would fault and get nowhere. So something changes.
 */
int
vcpu_renew_paging(struct vcpu *v, struct err *e)
{
	struct kvm_sregs s;

	if (ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return err_sys(e, "processor %u: KVM_GET_SREGS", v->index);
	s.cr0 ^= CR0_WP;
	if (ioctl(v->fd, KVM_SET_SREGS, &s) < 0)
		return err_sys(e, "processor %u: KVM_SET_SREGS", v->index);
	return 0;
}

/* One that waits to be started takes no NMI (Intel SDM volume 3, "Wait for SIPI"). In KVM it would keep it,
 * and its thread awake, until it is started, if ever. */
int
vcpu_nmi(struct vcpu *v, struct err *e)
{
	struct kvm_mp_state s;

	if (ioctl(v->fd, KVM_GET_MP_STATE, &s) < 0)
		return err_sys(e, "processor %u: run state", v->index);
	if (s.mp_state != KVM_MP_STATE_RUNNABLE && s.mp_state != KVM_MP_STATE_HALTED)
		return 0;
	return ioctl(v->fd, KVM_NMI) < 0 ? err_sys(e, "processor %u: NMI", v->index) : 0;
}

int
vcpu_set_entry(struct vcpu *v, const struct boot_entry *entry, struct err *e)
{
	bool long_mode = entry->mode == BOOT_LONG64;
	struct kvm_regs regs = {
		.rip = entry->rip, .rsi = entry->rsi, .rbx = entry->rbx, .rsp = entry->rsp, .rflags = 2
	};
	struct kvm_sregs s;

	if (ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return err_sys(e, "processor %u: KVM_GET_SREGS", v->index);
	s.cs = flat_segment(0x10, 0xb, long_mode);
	s.ds = s.es = s.fs = s.gs = s.ss = flat_segment(0x18, 3, false);
	s.gdt.base = entry->gdt;
	s.gdt.limit = (uint16_t)(entry->gdt_len - 1);
	s.idt.base = s.idt.limit = 0;
	s.cr0 = CR0_PE | CR0_ET | CR0_NE;
	if (long_mode) {
		s.cr0 |= CR0_PG;
		s.cr3 = entry->cr3;
		s.cr4 = CR4_PAE;
		s.efer |= EFER_LME | EFER_LMA;
	}
	if (ioctl(v->fd, KVM_SET_SREGS, &s) < 0)
		return err_sys(e, "processor %u: KVM_SET_SREGS", v->index);
	if (ioctl(v->fd, KVM_SET_REGS, &regs) < 0)
		return err_sys(e, "processor %u: KVM_SET_REGS", v->index);
	return 0;
}
