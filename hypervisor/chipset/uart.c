/*
 * hypervisor/chipset/uart.c - serial port: National Semiconductor PC16550D (its datasheet, 1995, sections
 * 6.0 and 8.0), wired as in a PC: OUT2 lets the interrupt through to the interrupt controller.
 *
 * Ops run with the lock held, on a processor's thread. There is no baud rate: a byte has left when
 * its write returns, so the transmitter is always empty, and received bytes that do not reach the
 * trigger level have timed out as soon as they are there. So no host timer is needed.
 */
#include "hypervisor/chipset/uart.h"

#include <stdlib.h>
#include <string.h>

#include "hypervisor/core/machine.h"

enum {
	OFF_DATA = 0,    /* RBR, THR; divisor latch low while LCR_DLAB */
	OFF_IER = 1,     /* divisor latch high while LCR_DLAB */
	OFF_IIR_FCR = 2, /* read, write */
	OFF_LCR = 3,
	OFF_MCR = 4,
	OFF_LSR = 5,
	OFF_MSR = 6,
	OFF_SCRATCH = 7,

	IER_DATA = 1 << 0,
	IER_THRE = 1 << 1,
	IER_LINE = 1 << 2,
	IER_MODEM = 1 << 3,
	IER_ALL = 0x0f,

	IIR_MODEM = 0x00,
	IIR_NONE = 0x01,
	IIR_THRE = 0x02,
	IIR_DATA = 0x04,
	IIR_LINE = 0x06,
	IIR_TIMEOUT = 0x0c,
	IIR_FIFOS = 0xc0,

	FCR_ENABLE = 1 << 0,
	FCR_CLEAR_RX = 1 << 1,
	FCR_TRIGGER = 0xc0,
	FCR_STORED = FCR_ENABLE | FCR_TRIGGER,

	LCR_DLAB = 1 << 7,

	MCR_DTR = 1 << 0,
	MCR_RTS = 1 << 1,
	MCR_OUT1 = 1 << 2,
	MCR_OUT2 = 1 << 3,
	MCR_LOOP = 1 << 4,
	MCR_ALL = 0x1f,

	LSR_DATA = 1 << 0,
	LSR_OVERRUN = 1 << 1,
	LSR_FRAMING = 1 << 3,
	LSR_BREAK = 1 << 4,
	LSR_THRE = 1 << 5,
	LSR_TEMT = 1 << 6,
	LSR_FIFO_ERROR = 1 << 7,
	LSR_ERRORS = LSR_OVERRUN | LSR_FRAMING | LSR_BREAK, /* that can happen here */

	MSR_CTS = 1 << 4,
	MSR_DSR = 1 << 5,
	MSR_RI = 1 << 6,
	MSR_DCD = 1 << 7,
	MSR_RING_CHANGE = 1 << 2, /* the trailing edge only */
	MSR_CHANGES = 0x0f,       /* of the lines in bits 4 to 7 */

	DIVISOR_9600 = 12,
};

struct uart {
	struct device dev;
	/* guest-visible */
	uint8_t ier, fcr, lcr, mcr, scratch;
	uint8_t msr_changes;
	uint8_t lsr_errors; /* of bytes that have come to the head of the FIFO; until LSR is read */
	uint16_t divisor;
	bool thre_pending;       /* the transmitter became empty and IIR has not told yet */
	uint8_t fifo[UART_FIFO]; /* the oldest first; zero behind the last one */
	uint8_t fifo_len;
	uint16_t breaks; /* bit i: fifo[i] is a break whose error was not told yet */
	/* the host's side */
	struct uart_events events;
	bool irq;
	bool refused;                     /* input was: tell when there is room */
	uint64_t ring_in, ring_out, lost; /* bytes ever written, read or overwritten, overwritten */
	uint8_t ring[UART_RING];
};

static const unsigned uart_gsi[] = { IRQ_COM1, IRQ_COM2 };

static bool
fifos(const struct uart *u)
{
	return u->fcr & FCR_ENABLE;
}

/* --- the transmitted side: the ring ------------------------------------------------------------ */

static void
ring_put(struct uart *u, uint8_t byte)
{
	bool was_empty = u->ring_in == u->ring_out;

	if (u->ring_in - u->ring_out == UART_RING) {
		u->ring_out++;
		u->lost++;
	}
	u->ring[u->ring_in++ % UART_RING] = byte;
	if (was_empty && u->events.output)
		u->events.output(u->events.ctx);
}

size_t
uart_output(struct device *dev, void *buf, size_t cap)
{
	struct uart *u = (struct uart *)dev;
	size_t n = 0;

	pthread_mutex_lock(&dev->lock);
	while (n < cap && u->ring_out != u->ring_in) { /* once or, at the end of the ring, twice */
		size_t at = u->ring_out % UART_RING;
		size_t part = UART_RING - at;

		if (part > u->ring_in - u->ring_out)
			part = u->ring_in - u->ring_out;
		if (part > cap - n)
			part = cap - n;
		memcpy((uint8_t *)buf + n, u->ring + at, part);
		u->ring_out += part;
		n += part;
	}
	pthread_mutex_unlock(&dev->lock);
	return n;
}

uint64_t
uart_lost(struct device *dev)
{
	struct uart *u = (struct uart *)dev;
	uint64_t n;

	pthread_mutex_lock(&dev->lock);
	n = u->lost;
	pthread_mutex_unlock(&dev->lock);
	return n;
}

/* --- the received side: the FIFO --------------------------------------------------------------- */

static unsigned
fifo_size(const struct uart *u)
{
	return fifos(u) ? UART_FIFO : 1;
}

/* What came to the head of the FIFO shows its error in LSR. */
static void
fifo_show_head(struct uart *u)
{
	if (u->breaks & 1)
		u->lsr_errors |= LSR_BREAK | LSR_FRAMING;
}

static void
fifo_put(struct uart *u, uint8_t byte, bool is_break)
{
	if (u->fifo_len == fifo_size(u)) {
		u->lsr_errors |= LSR_OVERRUN;
		if (fifos(u))
			return; /* lost in the shift register */
		u->fifo_len = 0;
		u->breaks = 0;
	}
	u->fifo[u->fifo_len] = byte;
	if (is_break)
		u->breaks = (uint16_t)(u->breaks | 1u << u->fifo_len);
	if (u->fifo_len++ == 0)
		fifo_show_head(u);
}

static void
fifo_has_room(struct uart *u)
{
	if (!u->refused || u->fifo_len || (u->mcr & MCR_LOOP))
		return;
	u->refused = false;
	if (u->events.room)
		u->events.room(u->events.ctx);
}

static uint8_t
fifo_get(struct uart *u)
{
	uint8_t byte = u->fifo[0];

	if (!u->fifo_len)
		return 0;
	u->fifo_len--;
	memmove(u->fifo, u->fifo + 1, u->fifo_len);
	u->fifo[u->fifo_len] = 0;
	u->breaks >>= 1;
	fifo_show_head(u);
	fifo_has_room(u);
	return byte;
}

static void
fifo_clear(struct uart *u)
{
	memset(u->fifo, 0, sizeof(u->fifo));
	u->fifo_len = 0;
	u->breaks = 0;
	fifo_has_room(u);
}

/* --- interrupts -------------------------------------------------------------------------------- */

static uint8_t
uart_received(const struct uart *u)
{
	static const uint8_t trigger[] = { 1, 4, 8, 14 }; /* by the two top bits of FCR */

	if (!u->fifo_len)
		return IIR_NONE;
	return !fifos(u) || u->fifo_len >= trigger[u->fcr >> 6] ? IIR_DATA : IIR_TIMEOUT;
}

/* The pending interrupt of the highest priority (datasheet table IV). */
static uint8_t
uart_pending(const struct uart *u)
{
	if ((u->ier & IER_LINE) && u->lsr_errors)
		return IIR_LINE;
	if ((u->ier & IER_DATA) && u->fifo_len)
		return uart_received(u);
	if ((u->ier & IER_THRE) && u->thre_pending)
		return IIR_THRE;
	if ((u->ier & IER_MODEM) && u->msr_changes)
		return IIR_MODEM;
	return IIR_NONE;
}

static void
uart_tell_host(struct uart *u)
{
	const struct device_host *h = u->dev.host;
	/* In loopback mode the OUT2 pin is off, and with it the interrupt. */
	bool wired = (u->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2;
	bool irq = wired && uart_pending(u) != IIR_NONE;

	if (irq != u->irq)
		h->irq(h->ctx, uart_gsi[u->dev.instance], irq);
	u->irq = irq;
}

size_t
uart_input(struct device *dev, const void *buf, size_t len)
{
	struct uart *u = (struct uart *)dev;
	size_t n = 0;

	pthread_mutex_lock(&dev->lock);
	if (!(u->mcr & MCR_LOOP))
		while (n < len && u->fifo_len < fifo_size(u))
			fifo_put(u, ((const uint8_t *)buf)[n++], false);
	if (n < len)
		u->refused = true;
	uart_tell_host(u);
	pthread_mutex_unlock(&dev->lock);
	return n;
}

bool
uart_break(struct device *dev)
{
	struct uart *u = (struct uart *)dev;
	bool ok;

	pthread_mutex_lock(&dev->lock);
	ok = !(u->mcr & MCR_LOOP) && u->fifo_len < fifo_size(u);
	if (ok)
		fifo_put(u, 0, true);
	else
		u->refused = true;
	uart_tell_host(u);
	pthread_mutex_unlock(&dev->lock);
	return ok;
}

/* --- registers --------------------------------------------------------------------------------- */

/* In loopback mode the modem's inputs are our own outputs; otherwise a cable is plugged in. */
static uint8_t
modem_lines(uint8_t mcr)
{
	if (!(mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (uint8_t)((mcr & MCR_RTS ? MSR_CTS : 0) | (mcr & MCR_DTR ? MSR_DSR : 0) |
			 (mcr & MCR_OUT1 ? MSR_RI : 0) | (mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static void
write_mcr(struct uart *u, uint8_t value)
{
	uint8_t was = modem_lines(u->mcr), is = modem_lines(value & MCR_ALL);
	uint8_t changes = (uint8_t)((was ^ is) >> 4);

	if (is & MSR_RI)
		changes &= (uint8_t)~MSR_RING_CHANGE;
	u->msr_changes |= changes;
	u->mcr = value & MCR_ALL;
	fifo_has_room(u);
}

static void
write_fcr(struct uart *u, uint8_t value)
{
	/* Without FCR_ENABLE the other bits are not programmed. */
	uint8_t fcr = value & FCR_ENABLE ? value : 0;

	if (((u->fcr ^ fcr) & FCR_ENABLE) || (fcr & FCR_CLEAR_RX))
		fifo_clear(u);
	u->fcr = fcr & FCR_STORED;
}

/* Drivers test for a transmitter that tells each time it is asked; ours has just become empty. */
static void
write_ier(struct uart *u, uint8_t value)
{
	if (value & ~u->ier & IER_THRE)
		u->thre_pending = true;
	u->ier = value & IER_ALL;
}

static void
transmit(struct uart *u, uint8_t byte)
{
	if (u->mcr & MCR_LOOP)
		fifo_put(u, byte, false);
	else
		ring_put(u, byte);
	u->thre_pending = true;
}

static uint8_t
read_iir(struct uart *u)
{
	uint8_t id = uart_pending(u);

	if (id == IIR_THRE)
		u->thre_pending = false;
	return id | (fifos(u) ? IIR_FIFOS : 0);
}

static uint8_t
read_lsr(struct uart *u)
{
	uint8_t v = LSR_THRE | LSR_TEMT | u->lsr_errors;

	if (u->fifo_len)
		v |= LSR_DATA;
	if (fifos(u) && (u->breaks || (u->lsr_errors & LSR_BREAK)))
		v |= LSR_FIFO_ERROR;
	u->lsr_errors = 0;
	u->breaks &= (uint16_t)~1u;
	return v;
}

static uint8_t
read_msr(struct uart *u)
{
	uint8_t v = modem_lines(u->mcr) | u->msr_changes;

	u->msr_changes = 0;
	return v;
}

static uint8_t
read_register(struct uart *u, uint32_t off)
{
	bool dlab = u->lcr & LCR_DLAB;

	switch (off) {
	case OFF_DATA:
		return dlab ? (uint8_t)u->divisor : fifo_get(u);
	case OFF_IER:
		return dlab ? (uint8_t)(u->divisor >> 8) : u->ier;
	case OFF_IIR_FCR:
		return read_iir(u);
	case OFF_LCR:
		return u->lcr;
	case OFF_MCR:
		return u->mcr;
	case OFF_LSR:
		return read_lsr(u);
	case OFF_MSR:
		return read_msr(u);
	default:
		return u->scratch;
	}
}

static void
write_register(struct uart *u, uint32_t off, uint8_t v)
{
	bool dlab = u->lcr & LCR_DLAB;

	switch (off) {
	case OFF_DATA:
		if (dlab)
			u->divisor = (uint16_t)((u->divisor & 0xff00) | v);
		else
			transmit(u, v);
		break;
	case OFF_IER:
		if (dlab)
			u->divisor = (uint16_t)((u->divisor & 0x00ff) | v << 8);
		else
			write_ier(u, v);
		break;
	case OFF_IIR_FCR:
		write_fcr(u, v);
		break;
	case OFF_LCR:
		u->lcr = v;
		break;
	case OFF_MCR:
		write_mcr(u, v);
		break;
	case OFF_SCRATCH:
		u->scratch = v;
		break;
	default:
		break; /* LSR and MSR: read only */
	}
}

static uint32_t
uart_read(struct device *dev, uint32_t off, unsigned size)
{
	struct uart *u = (struct uart *)dev;
	uint8_t v = read_register(u, off);

	(void)size; /* 1, by width */
	uart_tell_host(u);
	return v;
}

static void
uart_write(struct device *dev, uint32_t off, unsigned size, uint32_t value)
{
	struct uart *u = (struct uart *)dev;

	(void)size;
	write_register(u, off, (uint8_t)value);
	uart_tell_host(u);
}

static void
uart_reset(struct device *dev)
{
	struct uart *u = (struct uart *)dev;

	u->ier = u->fcr = u->lcr = u->mcr = u->scratch = 0;
	u->msr_changes = u->lsr_errors = 0;
	u->divisor = DIVISOR_9600;
	u->thre_pending = false;
	fifo_clear(u);
	uart_tell_host(u);
}

static void
uart_snap(struct device *dev, struct snap *s)
{
	struct uart *u = (struct uart *)dev;

	snap_u8(s, "ier", &u->ier, IER_ALL);
	snap_u8(s, "fcr", &u->fcr, FCR_STORED);
	snap_u8(s, "lcr", &u->lcr, UINT8_MAX);
	snap_u8(s, "mcr", &u->mcr, MCR_ALL);
	snap_u8(s, "scratch", &u->scratch, UINT8_MAX);
	snap_u8(s, "msr changes", &u->msr_changes, MSR_CHANGES);
	snap_u8(s, "lsr errors", &u->lsr_errors, LSR_ERRORS);
	snap_u16(s, "divisor", &u->divisor, UINT16_MAX);
	snap_bool(s, "thre pending", &u->thre_pending);
	snap_bytes(s, "fifo", u->fifo, sizeof(u->fifo));
	snap_u8(s, "fifo length", &u->fifo_len, UART_FIFO);
	snap_u16(s, "breaks", &u->breaks, UINT16_MAX);
	snap_check(
	    s, u->fcr == 0 || ((u->fcr & FCR_ENABLE) && !(u->fcr & ~FCR_STORED)), "fcr", "unknown bits");
	snap_check(s, !(u->lsr_errors & ~LSR_ERRORS), "lsr errors", "unknown bits");
	snap_check(s, u->fifo_len <= fifo_size(u), "fifo length", "more than one byte without FIFOs");
	snap_check(s, !(u->breaks >> u->fifo_len), "breaks", "where there is no byte");
	for (unsigned i = u->fifo_len; i < UART_FIFO; i++)
		snap_check(s, !u->fifo[i], "fifo", "not zero behind its end");
}

static void
uart_restored(struct device *dev)
{
	struct uart *u = (struct uart *)dev;
	const struct device_host *h = dev->host;

	uart_tell_host(u);
	h->irq(h->ctx, uart_gsi[dev->instance], u->irq); /* said again: the interrupt controllers are new */
	fifo_has_room(u);
}

static void
uart_free(struct device *dev)
{
	free(dev);
}

static const struct device_ops uart_ops = {
	.name = "uart",
	.version = 1,
	.width = 1,
	.read = uart_read,
	.write = uart_write,
	.reset = uart_reset,
	.snap = uart_snap,
	.restored = uart_restored,
	.free = uart_free,
};

struct device *
uart_new(const struct device_host *host, unsigned instance, const struct uart_events *events)
{
	struct uart *u;

	if (instance >= sizeof(uart_gsi) / sizeof(uart_gsi[0]))
		return NULL;
	u = malloc(sizeof(*u));
	if (!u)
		return NULL;
	memset(u, 0, offsetof(struct uart, ring)); /* a silent port costs none of the ring's pages */
	device_init(&u->dev, &uart_ops, host, instance);
	u->events = *events;
	u->divisor = DIVISOR_9600;
	return &u->dev;
}
