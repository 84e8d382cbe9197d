/*
 * hypervisor/chipset/pm.c - ACPI fixed hardware (ACPI 6.5, 4.8.3 and 4.8.4).
 *
 * Ops run with the lock held: accesses on a processor's thread, expire on the control thread. Registers
 * are kept byte by byte, so an access of any width at any offset is a few of those. The timer is the
 * host's clock, counted when somebody looks; it wakes us only while its overflow is an enabled event.
 */
#include "hypervisor/chipset/pm.h"

#include <stdlib.h>

#include "hypervisor/core/machine.h"

enum {
	OFF_PM1_STATUS = 0,
	OFF_PM1_ENABLE = 2,
	OFF_PM1_CONTROL = 4,
	OFF_TIMER = 8,
	OFF_GPE_STATUS = 12,
	OFF_GPE_ENABLE = 13,

	PM1_TIMER = 1 << 0,
	PM1_GLOBAL = 1 << 5,
	PM1_POWER_BUTTON = 1 << 8,
	PM1_RTC = 1 << 10, /* can be enabled, as systems try to, but there is no sleep to wake from */
	PM1_WAKE = 1 << 15,
	PM1_STATUS = PM1_TIMER | PM1_POWER_BUTTON | PM1_WAKE, /* what can happen here */
	PM1_ENABLE = PM1_TIMER | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_RTC,

	CONTROL_SCI_EN = 1 << 0,
	CONTROL_BM_RLD = 1 << 1,
	CONTROL_SLEEP_SHIFT = 10,
	CONTROL_SLEEP_TYPE = 7 << CONTROL_SLEEP_SHIFT,
	CONTROL_SLEEP = 1 << 13, /* write only */
	CONTROL_STORED = CONTROL_BM_RLD | CONTROL_SLEEP_TYPE,
};

#define NS 1000000000ull

struct pm {
	struct device dev;
	/* guest-visible */
	uint16_t status, enable, control;
	uint8_t gpe_status, gpe_enable;
	/* the host's side */
	uint64_t halves; /* times that the timer's top bit had changed when last looked at */
	uint64_t armed;  /* what the host's timer is set to; 0: not known */
	bool sci;
};

static uint64_t
pm_ticks(const struct pm *p)
{
	uint64_t ns = p->dev.host->now(p->dev.host->ctx);

	return ns / NS * PM_TIMER_HZ + ns % NS * PM_TIMER_HZ / NS;
}

/* The first ns at which pm_ticks is at least t. */
static uint64_t
pm_tick_ns(uint64_t t)
{
	return t / PM_TIMER_HZ * NS + (t % PM_TIMER_HZ * NS + PM_TIMER_HZ - 1) / PM_TIMER_HZ;
}

/* TMR_STS: the top bit of the counter has changed. */
static void
pm_look_at_timer(struct pm *p)
{
	uint64_t halves = pm_ticks(p) >> (PM_TIMER_BITS - 1);

	if (halves != p->halves)
		p->status |= PM1_TIMER;
	p->halves = halves;
}

static void
pm_tell_host(struct pm *p)
{
	const struct device_host *h = p->dev.host;
	bool sci = (p->status & p->enable) || (p->gpe_status & p->gpe_enable);
	uint64_t due = UINT64_MAX;

	if ((p->enable & PM1_TIMER) && !(p->status & PM1_TIMER))
		due = pm_tick_ns((p->halves + 1) << (PM_TIMER_BITS - 1));
	if (due != p->armed)
		h->timer(h->ctx, &p->dev, due);
	p->armed = due;
	if (sci != p->sci)
		h->irq(h->ctx, IRQ_SCI, sci);
	p->sci = sci;
}

static uint8_t
pm_byte(const struct pm *p, uint32_t off, uint32_t timer)
{
	switch (off) {
	case OFF_PM1_STATUS:
	case OFF_PM1_STATUS + 1:
		return (uint8_t)(p->status >> (8 * (off - OFF_PM1_STATUS)));
	case OFF_PM1_ENABLE:
	case OFF_PM1_ENABLE + 1:
		return (uint8_t)(p->enable >> (8 * (off - OFF_PM1_ENABLE)));
	case OFF_PM1_CONTROL:
	case OFF_PM1_CONTROL + 1:
		return (uint8_t)((p->control | CONTROL_SCI_EN) >> (8 * (off - OFF_PM1_CONTROL)));
	case OFF_TIMER:
	case OFF_TIMER + 1:
	case OFF_TIMER + 2:
	case OFF_TIMER + 3:
		return (uint8_t)(timer >> (8 * (off - OFF_TIMER)));
	case OFF_GPE_STATUS:
		return p->gpe_status;
	case OFF_GPE_ENABLE:
		return p->gpe_enable;
	default:
		return 0; /* reserved */
	}
}

static uint32_t
pm_read(struct device *dev, uint32_t off, unsigned size)
{
	struct pm *p = (struct pm *)dev;
	uint32_t timer = (uint32_t)pm_ticks(p); /* once: the bytes of one read belong together */
	uint32_t v = 0;

	pm_look_at_timer(p);
	for (unsigned i = 0; i < size; i++)
		v |= (uint32_t)pm_byte(p, off + i, timer) << (8 * i);
	return v;
}

/* Replaces byte i of a register, as far as the bits in mask go. */
static uint16_t
merge(uint16_t reg, unsigned i, uint32_t byte, uint16_t mask)
{
	uint32_t in = 0xffu << (8 * i) & mask;

	return (uint16_t)((reg & ~in) | (byte << (8 * i) & in));
}

/* The machine sleeps in no other way than being off: whoever tries wakes up at once. */
static void
pm_sleep(struct pm *p)
{
	const struct device_host *h = p->dev.host;

	if ((p->control & CONTROL_SLEEP_TYPE) >> CONTROL_SLEEP_SHIFT == PM_S5)
		h->request(h->ctx, GUEST_POWER_OFF);
	else
		p->status |= PM1_WAKE;
}

static void
pm_write_byte(struct pm *p, uint32_t off, uint32_t byte)
{
	unsigned i = off & 1;

	switch (off) {
	case OFF_PM1_STATUS:
	case OFF_PM1_STATUS + 1: /* a one clears */
		p->status = (uint16_t)(p->status & ~(byte << (8 * i)));
		break;
	case OFF_PM1_ENABLE:
	case OFF_PM1_ENABLE + 1:
		p->enable = merge(p->enable, i, byte, PM1_ENABLE);
		break;
	case OFF_PM1_CONTROL:
	case OFF_PM1_CONTROL + 1:
		p->control = merge(p->control, i, byte, CONTROL_STORED);
		if (byte << (8 * i) & CONTROL_SLEEP)
			pm_sleep(p);
		break;
	case OFF_GPE_STATUS:
		p->gpe_status = (uint8_t)(p->gpe_status & ~byte);
		break;
	case OFF_GPE_ENABLE:
		p->gpe_enable = (uint8_t)byte;
		break;
	default:
		break; /* reserved, or the timer: read only */
	}
}

static void
pm_write(struct device *dev, uint32_t off, unsigned size, uint32_t value)
{
	struct pm *p = (struct pm *)dev;

	pm_look_at_timer(p);
	for (unsigned i = 0; i < size; i++)
		pm_write_byte(p, off + i, value >> (8 * i) & 0xff);
	pm_tell_host(p);
}

void
pm_power_button(struct device *dev)
{
	struct pm *p = (struct pm *)dev;

	pthread_mutex_lock(&dev->lock);
	p->status |= PM1_POWER_BUTTON;
	pm_tell_host(p);
	pthread_mutex_unlock(&dev->lock);
}

void
pm_gpe(struct device *dev, unsigned event)
{
	struct pm *p = (struct pm *)dev;

	if (event >= PM_GPES)
		return;
	pthread_mutex_lock(&dev->lock);
	p->gpe_status = (uint8_t)(p->gpe_status | 1u << event);
	pm_tell_host(p);
	pthread_mutex_unlock(&dev->lock);
}

static void
pm_reset(struct device *dev)
{
	struct pm *p = (struct pm *)dev;

	pm_look_at_timer(p);
	p->status = p->enable = p->control = 0;
	p->gpe_status = p->gpe_enable = 0;
	pm_tell_host(p);
}

static void
pm_expire(struct device *dev)
{
	struct pm *p = (struct pm *)dev;

	p->armed = 0; /* whatever the host thinks, tell it anew */
	pm_look_at_timer(p);
	pm_tell_host(p);
}

static void
pm_snap(struct device *dev, struct snap *s)
{
	struct pm *p = (struct pm *)dev;

	if (s->saving)
		pm_look_at_timer(p);
	snap_u16(s, "status", &p->status, PM1_STATUS);
	snap_u16(s, "enable", &p->enable, PM1_ENABLE);
	snap_u16(s, "control", &p->control, CONTROL_STORED);
	snap_u8(s, "gpe status", &p->gpe_status, UINT8_MAX);
	snap_u8(s, "gpe enable", &p->gpe_enable, UINT8_MAX);
	snap_check(s, !(p->status & ~PM1_STATUS), "status", "unknown bits");
	snap_check(s, !(p->enable & ~PM1_ENABLE), "enable", "unknown bits");
	snap_check(s, !(p->control & ~CONTROL_STORED), "control", "unknown bits");
}

static void
pm_restored(struct device *dev)
{
	struct pm *p = (struct pm *)dev;
	const struct device_host *h = dev->host;

	p->halves = pm_ticks(p) >> (PM_TIMER_BITS - 1);
	pm_tell_host(p);
	h->irq(h->ctx, IRQ_SCI, p->sci); /* said again: the interrupt controllers are new to us */
}

static void
pm_free(struct device *dev)
{
	free(dev);
}

static const struct device_ops pm_ops = {
	.name = "pm",
	.version = 1,
	.width = 4,
	.read = pm_read,
	.write = pm_write,
	.reset = pm_reset,
	.expire = pm_expire,
	.snap = pm_snap,
	.restored = pm_restored,
	.free = pm_free,
};

struct device *
pm_new(const struct device_host *host, unsigned instance)
{
	struct pm *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	device_init(&p->dev, &pm_ops, host, instance);
	p->armed = UINT64_MAX;
	p->halves = pm_ticks(p) >> (PM_TIMER_BITS - 1);
	return &p->dev;
}
