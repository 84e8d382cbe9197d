/*
 * hypervisor/chipset/reset.c - the ports through which PC operating systems restart their machine.
 *
 * Ops run with the lock held, on a processor's thread. Nothing is told to the guest but the two
 * stored bits of the reset control register.
 */
#include "hypervisor/chipset/reset.h"

#include <stdlib.h>

#include "hypervisor/core/machine.h"

enum {
	/* Offsets within the device: four ports from 0xcf8, then the single ones. */
	OFF_PCI_ADDRESS = 0,
	OFF_CONTROL = 1,
	OFF_PORT_92 = 4,
	OFF_KEYBOARD = 5,
	OFF_PORT_61 = 6,

	/* Reset control register (Intel PIIX3 datasheet 2.5.4, later chipsets alike). */
	CONTROL_SYSTEM = 1 << 1, /* hard instead of soft; both restart the machine here */
	CONTROL_CPU = 1 << 2,    /* does it */
	CONTROL_FULL = 1 << 3,   /* with the power switched off for a moment */

	/* System control port A (IBM PS/2 technical reference). */
	PORT_92_FAST_RESET = 1 << 0,
	PORT_92_A20 = 1 << 1, /* reads as set: address line 20 is never masked */

	/* System control port B. Its upper bits are why there was an NMI: a bus that does not exist has no
	 * errors, or every NMI would be taken for one. */
	PORT_61_TIMER_OUT = 1 << 5, /* reads as set: nobody waits for a timer that is not there */

	/* Keyboard controller command: pulse output line 0, which is the processor's reset. */
	KEYBOARD_PULSE_RESET = 0xfe,
};

struct reset {
	struct device dev;
	/* guest-visible */
	uint8_t control; /* never CONTROL_CPU: each write with it acts anew */
};

static uint32_t
reset_read(struct device *dev, uint32_t off, unsigned size)
{
	const struct reset *r = (const struct reset *)dev;

	if (off == OFF_CONTROL && size == 1)
		return r->control;
	if (off == OFF_PORT_92)
		return PORT_92_A20;
	if (off == OFF_PORT_61)
		return PORT_61_TIMER_OUT;
	return UINT32_MAX; /* as if nobody were there: no driver may take us for a keyboard controller or PCI
			    */
}

/*
 * The reset control register lies amid the PCI address port. Like the chips that have both we look
 * at single bytes only: a probe for PCI that writes 32 bits to 0xcf8 must not restart the machine.
 */
static bool
reset_asked(struct reset *r, uint32_t off, unsigned size, uint32_t value)
{
	if (size != 1)
		return false;
	switch (off) {
	case OFF_CONTROL:
		r->control = value & (CONTROL_SYSTEM | CONTROL_FULL);
		return value & CONTROL_CPU;
	case OFF_PORT_92:
		return value & PORT_92_FAST_RESET;
	case OFF_KEYBOARD:
		return value == KEYBOARD_PULSE_RESET;
	default:
		return false;
	}
}

static void
reset_write(struct device *dev, uint32_t off, unsigned size, uint32_t value)
{
	if (reset_asked((struct reset *)dev, off, size, value))
		dev->host->request(dev->host->ctx, GUEST_RESET);
}

static void
reset_reset(struct device *dev)
{
	((struct reset *)dev)->control = 0;
}

static void
reset_snap(struct device *dev, struct snap *s)
{
	struct reset *r = (struct reset *)dev;

	snap_u8(s, "control", &r->control, CONTROL_SYSTEM | CONTROL_FULL);
	snap_check(s, !(r->control & ~(CONTROL_SYSTEM | CONTROL_FULL)), "control", "unknown bits");
}

static void
reset_free(struct device *dev)
{
	free(dev);
}

static const struct device_ops reset_ops = {
	.name = "reset",
	.version = 1,
	.width = 4,
	.read = reset_read,
	.write = reset_write,
	.reset = reset_reset,
	.snap = reset_snap,
	.free = reset_free,
};

struct device *
reset_new(const struct device_host *host, unsigned instance)
{
	struct reset *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	device_init(&r->dev, &reset_ops, host, instance);
	return &r->dev;
}

int
reset_attach(struct device *dev, struct bus *b)
{
	static const struct {
		uint32_t base, len, first;
	} ports[] = {
		{ PORT_RESET - OFF_CONTROL, 4, OFF_PCI_ADDRESS },
		{ 0x92, 1, OFF_PORT_92 },
		{ 0x64, 1, OFF_KEYBOARD },
		{ 0x61, 1, OFF_PORT_61 },
	};
	int rc = 0;

	for (size_t i = 0; !rc && i < sizeof(ports) / sizeof(ports[0]); i++)
		rc = bus_add_at(b, ports[i].base, ports[i].len, dev, ports[i].first);
	return rc;
}
