/*
 * hypervisor/core/synic.c - messages, event flags and their interrupts, on KVM's SynIC.
 *
 * A processor's message page and event page are guest memory where the guest has put them; KVM tells us when
 * they move (synic_set). Numbers: TLFS chapter 11 (Virtual Interrupt Controller), docs/guest-abi.md.
 *
 * A message slot has two writers, KVM for synthetic timers and this file, so ours writes where KVM cannot:
 * between two entries of that processor (vcpu_call). An event flag is one atomic bit: any thread sets it.
 */
#include "hypervisor/core/synic.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
	MSR_SCONTROL = 0x40000080,
	MSR_SIEFP = 0x40000082,
	MSR_SIMP = 0x40000083,
	ENABLED = 1, /* in each of them */
	SLOT = 256,  /* bytes of a message slot, and of the flags of one SINT */
	FLAGS = 2048,
	MESSAGE_PENDING = 1,
	GSI_SINT = 24, /* the first after the IOAPIC's: one a processor */
};
#define PAGE_MASK (~(uint64_t)(GMEM_PAGE - 1))

struct message {
	uint32_t type;
	uint8_t len, flags;
	uint16_t reserved;
	uint64_t sender;
	uint8_t payload[SYNIC_MESSAGE_MAX];
};
_Static_assert(sizeof(struct message) == SLOT, "TLFS: HV_MESSAGE");

/* --- what the guest has set -------------------------------------------------------------------------- */

void
synic_set(struct vcpu *v, uint64_t control, uint64_t event_page, uint64_t message_page)
{
	atomic_store(&v->event_page, event_page);
	atomic_store(&v->message_page, message_page);
	atomic_store(&v->synic_control, control);
}

int
synic_reload(struct partition *p, struct err *e)
{
	for (unsigned i = 0; i < p->vcpus; i++) {
		uint64_t control = 0, event = 0, message = 0;
		struct vcpu *v = &p->vcpu[i];
		int rc = vcpu_get_msr(v, MSR_SCONTROL, &control);

		if (rc == 0)
			rc = vcpu_get_msr(v, MSR_SIEFP, &event);
		if (rc == 0)
			rc = vcpu_get_msr(v, MSR_SIMP, &message);
		if (rc < 0)
			return err_set(e, -rc, "processor %u: its SynIC registers: %s", i, strerror(-rc));
		synic_set(v, control, event, message);
	}
	return 0;
}

/* Where the slot of VMBUS_SINT is in a page register, or 0 when that or the whole SynIC is off. */
static uint64_t
slot_of(const struct vcpu *v, const _Atomic uint64_t *page)
{
	uint64_t at = atomic_load(page);

	if (!(atomic_load(&v->synic_control) & ENABLED) || !(at & ENABLED))
		return 0;
	return (at & PAGE_MASK) + VMBUS_SINT * SLOT;
}

static void
interrupt(struct vcpu *v)
{
	uint64_t one = 1;

	if (write(v->event_fd, &one, sizeof(one)) < 0)
		return; /* its counter is full: KVM has not taken the last one yet */
}

/* --- the bus's host ---------------------------------------------------------------------------------- */

struct posting {
	struct vcpu *v;
	uint32_t type;
	const void *payload;
	size_t len;
	int rc;
};

static void
post_here(void *arg)
{
	struct posting *m = arg;
	struct gmem *mem = m->v->p->mem;
	uint64_t gpa = slot_of(m->v, &m->v->message_page);
	struct message *slot = gpa ? gmem_span(mem, gpa, sizeof(*slot)) : NULL;

	m->rc = -ENOTCONN;
	if (!slot)
		return;
	if (__atomic_load_n(&slot->type, __ATOMIC_ACQUIRE) != 0) {
		/* The guest says when it has emptied the slot if it sees this in time; if not, the slot is
		 * empty now. */
		__atomic_fetch_or(&slot->flags, MESSAGE_PENDING, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&slot->type, __ATOMIC_SEQ_CST) != 0) {
			m->rc = -EAGAIN;
			return;
		}
	}
	memcpy(slot->payload, m->payload, m->len);
	slot->len = (uint8_t)m->len;
	slot->flags = 0;
	slot->reserved = 0;
	slot->sender = 0;
	__atomic_store_n(&slot->type, m->type, __ATOMIC_RELEASE);
	gmem_dirty(mem, gpa, sizeof(*slot));
	m->rc = 0;
}

static int
host_post(void *ctx, unsigned vp, uint32_t type, const void *payload, size_t len)
{
	struct partition *p = ctx;
	struct posting m = { .type = type, .payload = payload, .len = len };

	if (vp >= p->vcpus || len > SYNIC_MESSAGE_MAX)
		return -ENOTCONN;
	m.v = &p->vcpu[vp];
	if (!slot_of(m.v, &m.v->message_page))
		return -ENOTCONN;
	vcpu_call(m.v, post_here, &m);
	if (m.rc == 0)
		interrupt(m.v);
	return m.rc;
}

static void
host_signal(void *ctx, unsigned vp, unsigned flag)
{
	struct partition *p = ctx;
	struct vcpu *v;
	uint64_t gpa;
	uint32_t *word;

	if (vp >= p->vcpus || flag >= FLAGS)
		return;
	v = &p->vcpu[vp];
	gpa = slot_of(v, &v->event_page);
	if (!gpa)
		return;
	gpa += flag / 32 * sizeof(*word);
	word = gmem_span(p->mem, gpa, sizeof(*word));
	if (!word || __atomic_fetch_or(word, 1u << flag % 32, __ATOMIC_SEQ_CST) & 1u << flag % 32)
		return; /* set already: the guest has been interrupted and will look */
	gmem_dirty(p->mem, gpa, sizeof(*word));
	interrupt(v);
}

static int
change_binding(struct partition *p, uint32_t conn, int fd, uint32_t flags)
{
	struct kvm_hyperv_eventfd b = { .conn_id = conn, .fd = fd, .flags = flags };

	return ioctl(p->vm_fd, KVM_HYPERV_EVENTFD, &b);
}

static int
host_bind(void *ctx, uint32_t conn, int fd, struct err *e)
{
	return change_binding(ctx, conn, fd, 0) < 0 ? err_sys(e, "VMBus: connection %#x", conn) : 0;
}

static void
host_unbind(void *ctx, uint32_t conn)
{
	change_binding(ctx, conn, -1, KVM_HYPERV_EVENTFD_DEASSIGN);
}

static void
host_retry(void *ctx, unsigned ms)
{
	partition_retry_in(ctx, ms);
}

/* --- setting up ---------------------------------------------------------------------------------------- */

static struct kvm_irq_routing_entry
pin(uint32_t gsi, uint32_t chip, uint32_t line)
{
	return (struct kvm_irq_routing_entry){
		.gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = { .irqchip = chip, .pin = line }
	};
}

/* The table is set whole: the interrupt controllers' lines as KVM has them at first, then one SINT a
 * processor. */
static int
route(struct partition *p)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry e[GSI_SINT + 16 + MACHINE_MAX_PROCESSORS];
	} r = { 0 };
	uint32_t n = 0;

	for (uint32_t gsi = 0; gsi < GSI_SINT; gsi++) {
		r.e[n++] = pin(gsi, KVM_IRQCHIP_IOAPIC, gsi);
		if (gsi < 16)
			r.e[n++] = pin(
			    gsi, gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, gsi % 8);
	}
	for (unsigned i = 0; i < p->vcpus; i++)
		r.e[n++] = (struct kvm_irq_routing_entry){ .gsi = GSI_SINT + i,
			.type = KVM_IRQ_ROUTING_HV_SINT,
			.u.hv_sint = { .vcpu = i, .sint = VMBUS_SINT } };
	r.head.nr = n;
	return ioctl(p->vm_fd, KVM_SET_GSI_ROUTING, &r);
}

static int
give_interrupt(struct vcpu *v, struct err *e)
{
	struct kvm_irqfd f = { .gsi = GSI_SINT + v->index };

	v->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->event_fd < 0)
		return err_sys(e, "processor %u: eventfd", v->index);
	f.fd = (uint32_t)v->event_fd;
	return ioctl(v->p->vm_fd, KVM_IRQFD, &f) < 0 ? err_sys(e, "processor %u: irqfd", v->index) : 0;
}

int
synic_setup(struct partition *p, struct err *e)
{
	int rc = route(p) < 0 ? err_sys(e, "interrupt routes") : 0;

	for (unsigned i = 0; rc == 0 && i < p->vcpus; i++)
		rc = give_interrupt(&p->vcpu[i], e);
	p->vmbus_host = (struct vmbus_host){ .ctx = p,
		.mem = p->mem,
		.vps = p->vcpus,
		.post = host_post,
		.bind = host_bind,
		.unbind = host_unbind,
		.signal = host_signal,
		.retry = host_retry };
	return rc;
}

void
synic_free(struct partition *p)
{
	for (unsigned i = 0; p->vcpu && i < p->machine->processor.count; i++)
		if (p->vcpu[i].event_fd >= 0)
			close(p->vcpu[i].event_fd);
}
