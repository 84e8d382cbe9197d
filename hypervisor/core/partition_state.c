/*
 * hypervisor/core/partition_state.c - clock, interrupt controllers and processors as bytes, for saved
 * state; and the power-on state that a reset goes back to.
 *
 * Time: saving stops the guest's reference time and TSC, restoring continues both where they were:
 * never back, whatever this host's clocks say.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "hypervisor/core/partition_devices.h"
#include "hypervisor/core/synic.h"

enum { CHIPS = 3, MSR_TSC = 0x10 };
/* What time may have gone by for a guest: 73 years. Far from where sums of ns and moments of devices' timers
 * come round. */
#define REFERENCE_MAX (1ull << 61)

/* --- a growing list of pieces: {u64 length, bytes padded to 8} ------------------------------------- */

struct pieces {
	uint8_t *buf;
	size_t len, cap;
};

static void *
piece_room(struct pieces *w, size_t max)
{
	return w->cap - w->len < max + 16 ? NULL : w->buf + w->len + 8;
}

static void
piece_done(struct pieces *w, size_t n)
{
	uint64_t len = n;

	memcpy(w->buf + w->len, &len, sizeof(len));
	w->len += 8 + ((n + 7) & ~(size_t)7);
}

static int
piece_put(struct pieces *w, const void *data, size_t n)
{
	void *room = piece_room(w, n);

	if (!room)
		return -ENOSPC;
	memcpy(room, data, n);
	piece_done(w, n);
	return 0;
}

static const void *
piece_next(const uint8_t *buf, size_t len, size_t *at, size_t *n)
{
	const void *data;
	uint64_t l;

	if (len - *at < 8)
		return NULL;
	memcpy(&l, buf + *at, sizeof(l));
	if (l > len - *at - 8 || ((l + 7) & ~7ull) > len - *at - 8)
		return NULL;
	data = buf + *at + 8;
	*n = (size_t)l;
	*at += 8 + ((*n + 7) & ~(size_t)7);
	return data;
}

static int
piece_get(const uint8_t *buf, size_t len, size_t *at, void *out, size_t n, const char *what, struct err *e)
{
	size_t got = 0;
	const void *data = piece_next(buf, len, at, &got);

	if (!data || got != n)
		return err_set(e, EINVAL, "%s: missing or cut short", what);
	memcpy(out, data, n);
	return 0;
}

/* --- clock ------------------------------------------------------------------------------------- */

struct clock_record {
	uint64_t kvm_clock; /* ns; Hyper-V's reference counter is this / 100 */
	uint64_t tsc;       /* processor 0's at that moment */
	uint64_t reference; /* partition_now at that moment */
	uint64_t tsc_khz;
};

static int
read_tsc(struct vcpu *v, uint64_t *tsc)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry e[1];
	} one = { .head.nmsrs = 1, .e[0].index = MSR_TSC };

	if (ioctl(v->fd, KVM_GET_MSRS, &one) != 1)
		return -EIO;
	*tsc = one.e[0].data;
	return 0;
}

static int
save_clock(struct partition *p, struct clock_record *c, struct err *e)
{
	struct kvm_clock_data k = { 0 };

	if (ioctl(p->vm_fd, KVM_GET_CLOCK, &k) < 0)
		return err_sys(e, "KVM_GET_CLOCK");
	c->kvm_clock = k.clock;
	c->reference = partition_now(p);
	c->tsc_khz = p->tsc_khz;
	return read_tsc(&p->vcpu[0], &c->tsc) < 0 ? err_set(e, EIO, "the TSC cannot be read") : 0;
}

static int
check_reference(uint64_t ns, struct err *e)
{
	if (ns > REFERENCE_MAX)
		return err_set(e, EINVAL, "the reference time: %llu ns cannot be", (unsigned long long)ns);
	return 0;
}

static int
check_rate(struct partition *p, uint64_t khz, struct err *e)
{
	bool scales = ioctl(p->host_info->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) > 0;

	/* Rates measured at two boots of one machine differ a little: 250 ppm is what KVM tolerates. */
	uint64_t diff = khz > p->tsc_khz ? khz - p->tsc_khz : p->tsc_khz - khz;

	if (khz == 0 || khz > UINT32_MAX)
		return err_set(e, EINVAL, "the TSC's rate: %llu kHz cannot be", (unsigned long long)khz);
	if (diff * 4000 <= p->tsc_khz)
		return 0;
	if (!scales)
		return err_set(e, ENOTSUP,
		    "the machine was saved on a host whose TSC runs at %llu kHz, this one's runs at %u kHz "
		    "and cannot be "
		    "scaled",
		    (unsigned long long)khz, p->tsc_khz);
	for (unsigned i = 0; i < p->vcpus; i++)
		if (ioctl(p->vcpu[i].fd, KVM_SET_TSC_KHZ, (unsigned long)khz) < 0)
			return err_sys(e, "processor %u: TSC rate", i);
	p->tsc_khz = (uint32_t)khz;
	return 0;
}

/* Processors were restored with their offset relative to processor 0: all move by the same. */
static int
shift_tsc(struct partition *p, uint64_t tsc, struct err *e)
{
	uint64_t now;
	int rc = read_tsc(&p->vcpu[0], &now);

	for (unsigned i = 0; rc == 0 && i < p->vcpus; i++) {
		int64_t offset;

		rc = vcpu_tsc_offset(&p->vcpu[i], &offset);
		if (rc == 0)
			rc = vcpu_set_tsc_offset(&p->vcpu[i], (int64_t)((uint64_t)offset + (tsc - now)));
	}
	return rc < 0 ? err_set(e, -rc, "the TSC cannot be set: %s", strerror(-rc)) : 0;
}

static int
restore_clock(struct partition *p, const struct clock_record *c, struct err *e)
{
	struct kvm_clock_data k = { .clock = c->kvm_clock };
	int rc = shift_tsc(p, c->tsc, e);

	if (rc == 0 && ioctl(p->vm_fd, KVM_SET_CLOCK, &k) < 0)
		rc = err_sys(e, "KVM_SET_CLOCK");
	p->clock_offset += (int64_t)(c->reference - partition_now(p));
	return rc;
}

/* --- interrupt controllers, processors ----------------------------------------------------------- */

static int
save_chips(struct partition *p, struct pieces *w, struct err *e)
{
	for (uint32_t i = 0; i < CHIPS; i++) {
		struct kvm_irqchip chip = { .chip_id = i };

		if (ioctl(p->vm_fd, KVM_GET_IRQCHIP, &chip) < 0)
			return err_sys(e, "interrupt controller %u", i);
		if (piece_put(w, &chip, sizeof(chip)) < 0)
			return err_set(e, ENOSPC, "interrupt controllers: state too large");
	}
	return 0;
}

static int
restore_chips(struct partition *p, const uint8_t *buf, size_t len, size_t *at, struct err *e)
{
	for (uint32_t i = 0; i < CHIPS; i++) {
		struct kvm_irqchip chip;
		int rc = piece_get(buf, len, at, &chip, sizeof(chip), "interrupt controllers", e);

		if (rc < 0)
			return rc;
		chip.chip_id = i;
		if (ioctl(p->vm_fd, KVM_SET_IRQCHIP, &chip) < 0)
			return err_sys(e, "interrupt controller %u", i);
	}
	return 0;
}

static int
save_processors(struct partition *p, struct pieces *w, struct err *e)
{
	for (unsigned i = 0; i < p->vcpus; i++) {
		size_t max = vcpu_state_max(&p->vcpu[i]);
		void *room = piece_room(w, max);
		long n = room ? vcpu_save(&p->vcpu[i], room, max, e) : err_set(e, ENOSPC, "state too large");

		if (n < 0)
			return (int)n;
		piece_done(w, (size_t)n);
	}
	return 0;
}

static int
restore_processors(struct partition *p, const uint8_t *buf, size_t len, size_t *at, struct err *e)
{
	for (unsigned i = 0; i < p->vcpus; i++) {
		size_t n = 0;
		const void *data = piece_next(buf, len, at, &n);
		int rc = data ? vcpu_restore(&p->vcpu[i], data, n, e)
			      : err_set(e, EINVAL, "processor %u: missing or cut short", i);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
pieces_alloc(struct partition *p, struct pieces *w, struct err *e)
{
	w->cap = 16384 + p->vcpus * (vcpu_state_max(&p->vcpu[0]) + 16);
	w->len = 0;
	w->buf = calloc(1, w->cap);
	return w->buf ? 0 : err_set(e, ENOMEM, "state: out of memory");
}

/* --- power-on ------------------------------------------------------------------------------------ */

int
partition_keep_power_on(struct partition *p, struct err *e)
{
	struct pieces w = { 0 };
	int rc = pieces_alloc(p, &w, e);

	if (rc == 0)
		rc = save_chips(p, &w, e);
	if (rc == 0)
		rc = save_processors(p, &w, e);
	if (rc < 0) {
		free(w.buf);
		return rc;
	}
	p->power_on = w.buf;
	p->power_on_len = w.len;
	return 0;
}

int
partition_restore_power_on(struct partition *p, struct err *e)
{
	size_t at = 0;
	int rc = restore_chips(p, p->power_on, p->power_on_len, &at, e);

	return rc < 0 ? rc : restore_processors(p, p->power_on, p->power_on_len, &at, e);
}

/* --- saved state ---------------------------------------------------------------------------------- */

int
partition_save_state(struct partition *p, void **buf, size_t *len, struct err *e)
{
	struct clock_record clock = { 0 };
	struct pieces w = { 0 };
	int rc = pieces_alloc(p, &w, e);

	if (rc == 0)
		rc = save_clock(p, &clock, e);
	if (rc == 0)
		rc = piece_put(&w, &clock, sizeof(clock));
	if (rc == 0)
		rc = piece_put(&w, &p->crash, sizeof(p->crash));
	if (rc == 0)
		rc = save_chips(p, &w, e);
	if (rc == 0)
		rc = save_processors(p, &w, e);
	if (rc < 0) {
		free(w.buf);
		return rc;
	}
	*buf = w.buf;
	*len = w.len;
	return 0;
}

int
partition_restore_state(struct partition *p, const void *buf, size_t len, struct err *e)
{
	struct clock_record clock = { 0 };
	struct hv_crash crash;
	size_t at = 0;
	int rc = piece_get(buf, len, &at, &clock, sizeof(clock), "clock", e);

	p->fresh = false; /* from here on a reset must go back to power-on */
	if (rc == 0)
		rc = check_reference(clock.reference, e);
	if (rc == 0)
		rc = check_rate(p, clock.tsc_khz, e);
	if (rc == 0)
		rc = piece_get(buf, len, &at, &crash, sizeof(crash), "crash registers", e);
	if (rc == 0)
		rc = restore_chips(p, buf, len, &at, e);
	if (rc == 0)
		rc = restore_processors(p, buf, len, &at, e);
	if (rc == 0 && at != len)
		rc = err_set(e, EINVAL, "%zu bytes too many after the processors", len - at);
	if (rc == 0)
		rc = restore_clock(p, &clock, e);
	if (rc == 0)
		p->crash = crash;
	return rc < 0 ? rc : synic_reload(p, e);
}
