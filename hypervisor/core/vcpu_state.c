/*
 * hypervisor/core/vcpu_state.c - everything a virtual processor is, as bytes: for saved state, and to
 * go back to power-on.
 *
 * The bytes are records {u32 item, u32 length, KVM's own structure}. KVM's structures are a stable
 * interface of the kernel, and KVM checks their content as strictly as if a stranger had written it.
 * Two orders matter: in which state can be read (asking for the run state may change registers) and
 * in which it can be put back (nested state needs EFER.SVME, timers need the LAPIC).
 */
#include "hypervisor/core/vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "hypervisor/core/partition.h"

enum item {
	IT_MP_STATE = 1,
	IT_MSR_EARLY,
	IT_SREGS,
	IT_NESTED,
	IT_REGS,
	IT_XCRS,
	IT_XSAVE,
	IT_LAPIC,
	IT_MSRS,
	IT_EVENTS,
	IT_DEBUG,
	IT_TSC,
	ITEMS,
};

enum { MSRS_MAX = 512, XSAVE_MIN = 4096, NESTED_MAX = 16384, XSAVE_MAX = 65536 };

struct msrs {
	struct kvm_msrs head;
	struct kvm_msr_entry e[MSRS_MAX];
};

/* MSRs that must come before the rest, in this order; what KVM lists besides follows. */
enum { MSR_FEATURE_CONTROL = 0x3a, MSR_TSC = 0x10, MSR_TSC_DEADLINE = 0x6e0, HV_TIME_REF = 0x40000020 };

static const uint32_t first_msrs[] = {
	0x40000000, 0x40000001, 0x40000021, /* OS id, hypercall page, reference TSC page */
	0x40000073,                         /* VP assist page */
	0x40000080, 0x40000082, 0x40000083, /* SynIC control, event page, message page */
};

/* What KVM_GET_MSR_INDEX_LIST leaves out, or stands for by its first one alone. Timers come last: a count
 * means nothing before its configuration, the SynIC and the clock. */
static const struct {
	uint32_t first, n;
} unlisted_msrs[] = {
	{ 0x400, 128 },                                                        /* machine-check banks 0-31 */
	{ 0x200, 16 }, { 0x250, 1 }, { 0x258, 2 }, { 0x268, 8 }, { 0x2ff, 1 }, /* MTRRs */
	{ 0x40000090, 16 },                                                    /* SINT 0-15 */
	{ 0x400000b0, 8 }, /* synthetic timers: configuration, count, four times */
};
enum { UNLISTED = sizeof(unlisted_msrs) / sizeof(unlisted_msrs[0]) };

static bool
is_unlisted(uint32_t msr)
{
	for (size_t i = 0; i < UNLISTED; i++)
		if (msr - unlisted_msrs[i].first < unlisted_msrs[i].n)
			return true;
	return false;
}

/* Not carried as an MSR: the TSC goes by its offset, reference time by the partition's clock. */
static bool
carried_elsewhere(uint32_t msr)
{
	return msr == MSR_FEATURE_CONTROL || msr == MSR_TSC || msr == HV_TIME_REF ||
	       (msr >= HV_CRASH_P0 && msr < HV_CRASH_P0 + HV_CRASH_MSRS) || msr == 0x11 || msr == 0x12 ||
	       (msr >= 0x4b564d00 && msr <= 0x4b564dff); /* KVM's own */
}

static bool
is_first(uint32_t msr)
{
	for (size_t i = 0; i < sizeof(first_msrs) / sizeof(first_msrs[0]); i++)
		if (first_msrs[i] == msr)
			return true;
	return false;
}

/* --- one function an item and direction --------------------------------------------------------- */

/* Items that are one ioctl on one structure of fixed size. */
static const struct {
	unsigned long get, set;
	size_t size;
} plain[ITEMS] = {
	[IT_MP_STATE] = { KVM_GET_MP_STATE, KVM_SET_MP_STATE, sizeof(struct kvm_mp_state) },
	[IT_SREGS] = { KVM_GET_SREGS2, KVM_SET_SREGS2, sizeof(struct kvm_sregs2) },
	[IT_REGS] = { KVM_GET_REGS, KVM_SET_REGS, sizeof(struct kvm_regs) },
	[IT_XCRS] = { KVM_GET_XCRS, KVM_SET_XCRS, sizeof(struct kvm_xcrs) },
	[IT_LAPIC] = { KVM_GET_LAPIC, KVM_SET_LAPIC, sizeof(struct kvm_lapic_state) },
	[IT_EVENTS] = { KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, sizeof(struct kvm_vcpu_events) },
	[IT_DEBUG] = { KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, sizeof(struct kvm_debugregs) },
};

static const char *const item_names[ITEMS] = {
	[IT_MP_STATE] = "run state",
	[IT_MSR_EARLY] = "feature control",
	[IT_SREGS] = "special registers",
	[IT_NESTED] = "nested state",
	[IT_REGS] = "registers",
	[IT_XCRS] = "XCR0",
	[IT_XSAVE] = "XSAVE area",
	[IT_LAPIC] = "local APIC",
	[IT_MSRS] = "MSRs",
	[IT_EVENTS] = "pending events",
	[IT_DEBUG] = "debug registers",
	[IT_TSC] = "TSC offset",
};

static size_t
xsave_size(const struct vcpu *v)
{
	int n = ioctl(v->p->vm_fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);

	return n > XSAVE_MIN && n <= XSAVE_MAX ? (size_t)n : XSAVE_MIN;
}

static long
get_xsave(struct vcpu *v, void *buf, size_t cap)
{
	size_t n = xsave_size(v);

	if (n > cap)
		return -ENOSPC;
	return ioctl(v->fd, n > XSAVE_MIN ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, buf) < 0 ? -errno : (long)n;
}

static long
get_nested(struct vcpu *v, void *buf, size_t cap)
{
	struct kvm_nested_state *n = buf;

	if (!v->p->machine->processor.expose_virtualization)
		return 0;
	if (cap < NESTED_MAX)
		return -ENOSPC;
	memset(n, 0, sizeof(*n));
	n->size = NESTED_MAX;
	return ioctl(v->fd, KVM_GET_NESTED_STATE, n) < 0 ? -errno : (long)n->size;
}

/* Which of KVM's MSRs to carry, the first ones first. Returns how many, or -errno. */
static long
list_msrs(const struct vcpu *v, struct msrs *m)
{
	struct {
		struct kvm_msr_list head;
		uint32_t index[MSRS_MAX];
	} list = { .head.nmsrs = MSRS_MAX };
	uint32_t n = 0;

	if (ioctl(v->p->host_info->kvm_fd, KVM_GET_MSR_INDEX_LIST, &list) < 0)
		return -errno;
	for (size_t i = 0; i < sizeof(first_msrs) / sizeof(first_msrs[0]); i++)
		m->e[n++].index = first_msrs[i];
	for (uint32_t i = 0; i < list.head.nmsrs && n < MSRS_MAX; i++)
		if (!is_first(list.index[i]) && !is_unlisted(list.index[i]) &&
		    !carried_elsewhere(list.index[i]))
			m->e[n++].index = list.index[i];
	for (size_t i = 0; i < UNLISTED; i++)
		for (uint32_t k = 0; k < unlisted_msrs[i].n && n < MSRS_MAX; k++)
			m->e[n++].index = unlisted_msrs[i].first + k;
	return n;
}

/* KVM stops at the first MSR that this processor does not have: that one is left out. */
static long
get_msrs(struct vcpu *v, void *buf, size_t cap)
{
	struct msrs *m = buf;
	uint32_t n, done = 0;
	long listed;

	if (cap < sizeof(*m))
		return -ENOSPC;
	memset(m, 0, sizeof(*m));
	listed = list_msrs(v, m);
	if (listed < 0)
		return listed;
	n = (uint32_t)listed;
	while (done < n) {
		struct {
			struct kvm_msrs head;
			struct kvm_msr_entry e[MSRS_MAX];
		} part = { .head.nmsrs = n - done };
		int got;

		memcpy(part.e, &m->e[done], (n - done) * sizeof(m->e[0]));
		got = ioctl(v->fd, KVM_GET_MSRS, &part);
		if (got < 0)
			return -errno;
		memcpy(&m->e[done], part.e, (size_t)got * sizeof(m->e[0]));
		done += (uint32_t)got;
		if (done < n) {
			memmove(&m->e[done], &m->e[done + 1], (n - done - 1) * sizeof(m->e[0]));
			n--;
		}
	}
	m->head.nmsrs = n;
	return (long)(sizeof(m->head) + n * sizeof(m->e[0]));
}

static long
get_feature_control(struct vcpu *v, void *buf, size_t cap)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry e[1];
	} one = { .head.nmsrs = 1, .e[0].index = MSR_FEATURE_CONTROL };

	if (cap < sizeof(uint64_t))
		return -ENOSPC;
	if (ioctl(v->fd, KVM_GET_MSRS, &one) != 1)
		return 0; /* AMD */
	memcpy(buf, &one.e[0].data, sizeof(uint64_t));
	return sizeof(uint64_t);
}

/* The guest's TSC minus processor 0's: 0 unless the guest wrote it. The partition's clock record says
 * where processor 0's stands. */
static long
get_tsc(struct vcpu *v, void *buf, size_t cap)
{
	int64_t mine = 0, boot = 0;
	int rc;

	if (cap < sizeof(mine))
		return -ENOSPC;
	rc = vcpu_tsc_offset(v, &mine);
	if (rc == 0)
		rc = vcpu_tsc_offset(&v->p->vcpu[0], &boot);
	if (rc < 0)
		return rc;
	mine = (int64_t)((uint64_t)mine - (uint64_t)boot);
	memcpy(buf, &mine, sizeof(mine));
	return sizeof(mine);
}

static long
get_item(struct vcpu *v, enum item it, void *buf, size_t cap)
{
	switch (it) {
	case IT_XSAVE:
		return get_xsave(v, buf, cap);
	case IT_NESTED:
		return get_nested(v, buf, cap);
	case IT_MSRS:
		return get_msrs(v, buf, cap);
	case IT_MSR_EARLY:
		return get_feature_control(v, buf, cap);
	case IT_TSC:
		return get_tsc(v, buf, cap);
	default:
		if (plain[it].size > cap)
			return -ENOSPC;
		return ioctl(v->fd, plain[it].get, buf) < 0 ? -errno : (long)plain[it].size;
	}
}

static int
set_msrs(struct vcpu *v, const void *data, size_t len, struct err *e)
{
	struct msrs m;
	uint32_t n, done = 0;

	memset(&m, 0, sizeof(m));
	if (len < sizeof(m.head) || len > sizeof(m))
		return err_set(e, EINVAL, "MSRs: %zu bytes", len);
	memcpy(&m, data, len);
	n = m.head.nmsrs;
	if (n > MSRS_MAX || len != sizeof(m.head) + n * sizeof(m.e[0]))
		return err_set(e, EINVAL, "MSRs: %u in %zu bytes", n, len);
	while (done < n) {
		struct msrs part = { .head.nmsrs = n - done };
		int got;

		memcpy(part.e, &m.e[done], (n - done) * sizeof(m.e[0]));
		got = ioctl(v->fd, KVM_SET_MSRS, &part);
		if (got < 0)
			return err_sys(e, "MSRs");
		done += (uint32_t)got;
		if (done < n) {
			/* A read-only one gives itself back unchanged; another value means another host. */
			struct msrs now = { .head.nmsrs = 1, .e[0].index = m.e[done].index };

			if (ioctl(v->fd, KVM_GET_MSRS, &now) != 1 || now.e[0].data != m.e[done].data)
				return err_set(e, EINVAL, "MSR %#x: this host refuses the value %#llx",
				    m.e[done].index, (unsigned long long)m.e[done].data);
			done++;
		}
	}
	return 0;
}

static int
set_feature_control(struct vcpu *v, const void *data, size_t len)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry e[1];
	} one = { .head.nmsrs = 1, .e[0].index = MSR_FEATURE_CONTROL };

	if (len != sizeof(uint64_t))
		return -EINVAL;
	memcpy(&one.e[0].data, data, sizeof(uint64_t));
	return ioctl(v->fd, KVM_SET_MSRS, &one) == 1 ? 0 : -EINVAL;
}

static int
set_nested(struct vcpu *v, const void *data, size_t len)
{
	union {
		struct kvm_nested_state n;
		uint8_t bytes[NESTED_MAX];
	} *u = calloc(1, sizeof(*u));
	int rc = -EINVAL;

	if (!u)
		return -ENOMEM;
	if (len >= sizeof(u->n) && len <= sizeof(u->bytes)) {
		memcpy(u->bytes, data, len);
		if (u->n.size == len)
			rc = ioctl(v->fd, KVM_SET_NESTED_STATE, &u->n) < 0 ? -errno : 0;
	}
	free(u);
	return rc;
}

static int
set_xsave(struct vcpu *v, const void *data, size_t len)
{
	size_t need = xsave_size(v);
	void *area = calloc(1, need);
	int rc = -EINVAL;

	if (!area)
		return -ENOMEM;
	/* A host with more components has a larger area: what is missing was never in use. */
	if (len >= XSAVE_MIN && len <= need) {
		memcpy(area, data, len);
		rc = ioctl(v->fd, KVM_SET_XSAVE, area) < 0 ? -errno : 0;
	}
	free(area);
	return rc;
}

static int
set_tsc(struct vcpu *v, const void *data, size_t len)
{
	int64_t delta, boot = 0;
	int rc;

	if (len != sizeof(delta))
		return -EINVAL;
	memcpy(&delta, data, sizeof(delta));
	rc = vcpu_tsc_offset(&v->p->vcpu[0], &boot);
	return rc < 0 ? rc : vcpu_set_tsc_offset(v, (int64_t)((uint64_t)boot + (uint64_t)delta));
}

static int
set_item(struct vcpu *v, enum item it, const void *data, size_t len, struct err *e)
{
	union {
		struct kvm_sregs2 s;
		struct kvm_lapic_state l;
		struct kvm_xcrs x;
		struct kvm_vcpu_events ev;
		uint8_t bytes[2048];
	} u;
	int rc;

	if (it == IT_MSRS)
		return set_msrs(v, data, len, e);
	if (it == IT_MSR_EARLY)
		rc = set_feature_control(v, data, len);
	else if (it == IT_NESTED)
		rc = set_nested(v, data, len);
	else if (it == IT_XSAVE)
		rc = set_xsave(v, data, len);
	else if (it == IT_TSC)
		rc = set_tsc(v, data, len);
	else if (len != plain[it].size || len > sizeof(u))
		rc = -EINVAL;
	else {
		memcpy(&u, data, len); /* aligned for the kernel's structures */
		/* A host without XSAVE has no XCR0 to read, and KVM refuses to be given none. */
		rc = it == IT_XCRS && u.x.nr_xcrs == 0 ? 0 : ioctl(v->fd, plain[it].set, &u) < 0 ? -errno : 0;
	}
	return rc < 0 ? err_set(e, -rc, "%s: %s", item_names[it], strerror(-rc)) : 0;
}

/* --- TSC offset ------------------------------------------------------------------------------- */

static struct kvm_device_attr
tsc_attr(int64_t *offset)
{
	return (struct kvm_device_attr){
		.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uint64_t)(uintptr_t)offset
	};
}

int
vcpu_tsc_offset(struct vcpu *v, int64_t *offset)
{
	struct kvm_device_attr a = tsc_attr(offset);

	return ioctl(v->fd, KVM_GET_DEVICE_ATTR, &a) < 0 ? -errno : 0;
}

int
vcpu_set_tsc_offset(struct vcpu *v, int64_t offset)
{
	struct kvm_device_attr a = tsc_attr(&offset);

	return ioctl(v->fd, KVM_SET_DEVICE_ATTR, &a) < 0 ? -errno : 0;
}

/* --- the whole ------------------------------------------------------------------------------- */

static const enum item save_order[] = { IT_MP_STATE, IT_MSR_EARLY, IT_EVENTS, IT_NESTED, IT_SREGS, IT_REGS,
	IT_XCRS, IT_XSAVE, IT_LAPIC, IT_MSRS, IT_DEBUG, IT_TSC };
static const enum item restore_order[] = { IT_MSR_EARLY, IT_SREGS, IT_NESTED, IT_REGS, IT_XCRS, IT_XSAVE,
	IT_TSC, IT_LAPIC, IT_MSRS, IT_EVENTS, IT_MP_STATE, IT_DEBUG };
enum { ORDERED = sizeof(save_order) / sizeof(save_order[0]) };

struct record {
	uint32_t item, len;
};

size_t
vcpu_state_max(const struct vcpu *v)
{
	return ITEMS * sizeof(struct record) + 8192 + sizeof(struct msrs) + NESTED_MAX + xsave_size(v);
}

long
vcpu_save(struct vcpu *v, void *buf, size_t cap, struct err *e)
{
	uint8_t *at = buf, *end = at + cap;

	for (size_t i = 0; i < ORDERED; i++) {
		struct record r = { .item = save_order[i] };
		long n;

		if ((size_t)(end - at) < sizeof(r))
			return err_set(e, ENOSPC, "processor %u: state too large", v->index);
		/* Records are written unaligned into buf; KVM wants its structures aligned enough, which a
		 * multiple of 8 gives. */
		n = get_item(v, save_order[i], at + sizeof(r), (size_t)(end - at) - sizeof(r));
		if (n < 0)
			return err_set(e, (int)-n, "processor %u: %s: %s", v->index,
			    item_names[save_order[i]], strerror((int)-n));
		r.len = (uint32_t)n;
		memcpy(at, &r, sizeof(r));
		at += sizeof(r) + (((size_t)n + 7) & ~(size_t)7);
	}
	return at - (uint8_t *)buf;
}

/* Finds the record of an item; NULL when it is not there or the bytes are cut. */
static const uint8_t *
find_record(const uint8_t *buf, size_t len, enum item it, uint32_t *n)
{
	for (size_t at = 0; len - at >= sizeof(struct record);) {
		struct record r;
		size_t padded;

		memcpy(&r, buf + at, sizeof(r));
		at += sizeof(r);
		padded = ((size_t)r.len + 7) & ~(size_t)7;
		if (padded > len - at)
			return NULL;
		if (r.item == (uint32_t)it) {
			*n = r.len;
			return buf + at;
		}
		at += padded;
	}
	return NULL;
}

/* What not every processor has. */
static bool
may_be_empty(enum item it)
{
	return it == IT_NESTED || it == IT_MSR_EARLY;
}

int
vcpu_restore(struct vcpu *v, const void *buf, size_t len, struct err *e)
{
	for (size_t i = 0; i < ORDERED; i++) {
		enum item it = restore_order[i];
		uint32_t n = 0;
		const uint8_t *data = find_record(buf, len, it, &n);
		int rc = 0;

		if (!data)
			return err_set(
			    e, EINVAL, "processor %u: %s: missing or cut short", v->index, item_names[it]);
		if (n > 0 || !may_be_empty(it))
			rc = set_item(v, it, data, n, e);
		if (rc < 0)
			return err_wrap(e, rc, "processor %u", v->index);
	}
	return 0;
}
