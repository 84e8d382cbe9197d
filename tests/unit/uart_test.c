/*
 * tests/unit/uart_test.c - the serial port as drivers and consoles see it.
 */
#include "hypervisor/chipset/uart.h"

#include "hypervisor/core/machine.h"
#include "tests/unit/fake_host.h"
#include "tests/unit/fake_snap.h"

enum {
	DATA = PORT_COM1,
	IER,
	IIR, /* FCR when written */
	LCR,
	MCR,
	LSR,
	MSR,
	SCR,
	FCR = IIR,

	RDI = 1,
	THRI = 2,
	RLSI = 4,
	MSI = 8,

	DTR = 1,
	RTS = 2,
	OUT1 = 4,
	OUT2 = 8,
	LOOP = 16,

	DR = 1,
	OE = 2,
	FE = 8,
	BI = 16,
	IDLE = 0x60, /* THRE and TEMT */
	FIFOE = 0x80,

	/* Where things are in the saved state. */
	AT_IER = 0,
	AT_FCR = 1,
	AT_MCR = 3,
	AT_MSR = 5,
	AT_LSR = 6,
	AT_THRE = 9,
	AT_FIFO = 10,
	AT_FIFO_LEN = 26,
	AT_BREAKS = 27,
};

struct fixture {
	struct fake_host f;
	struct device *uart;
	unsigned outputs, rooms;
};

static void
on_output(void *ctx)
{
	((struct fixture *)ctx)->outputs++;
}

static void
on_room(void *ctx)
{
	((struct fixture *)ctx)->rooms++;
}

static struct device *
fresh(struct fixture *x)
{
	return uart_new(&x->f.host, 0, &(struct uart_events){ x, on_output, on_room });
}

static int
setup(void **state)
{
	struct fixture *x = calloc(1, sizeof(*x));

	fake_host_init(&x->f);
	x->uart = fresh(x);
	bus_add(&x->f.bus, PORT_COM1, UART_PORTS, x->uart);
	*state = x;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *x = *state;

	device_free(x->uart);
	free(x);
	return 0;
}

static void
write_string(struct fixture *x, const char *s)
{
	while (*s)
		out8(&x->f, DATA, (uint8_t)*s++);
}

static size_t
input(struct fixture *x, const char *s)
{
	return uart_input(x->uart, s, strlen(s));
}

static void
assert_output(struct fixture *x, const char *want)
{
	char buf[128] = { 0 };

	assert_int_equal(uart_output(x->uart, buf, sizeof(buf) - 1), strlen(want));
	assert_string_equal(buf, want);
}

/* --- output ------------------------------------------------------------------------------------ */

static void
what_the_guest_writes_comes_out(void **state)
{
	struct fixture *x = *state;

	write_string(x, "hello");
	assert_output(x, "hello");
	assert_output(x, "");
	assert_int_equal(in8(&x->f, LSR), IDLE);
}

static void
output_is_announced_when_there_was_none(void **state)
{
	struct fixture *x = *state;
	char c;

	write_string(x, "abc");
	assert_int_equal(x->outputs, 1);
	assert_int_equal(uart_output(x->uart, &c, 1), 1);
	write_string(x, "d");
	assert_int_equal(x->outputs, 1);
	assert_output(x, "bcd");
	write_string(x, "e");
	assert_int_equal(x->outputs, 2);
}

static void
unread_output_is_overwritten_oldest_first(void **state)
{
	struct fixture *x = *state;
	static uint8_t buf[UART_RING + 10];

	for (uint32_t i = 0; i < UART_RING; i++)
		out8(&x->f, DATA, i % 251);
	assert_int_equal(uart_lost(x->uart), 0);
	for (uint32_t i = UART_RING; i < UART_RING + 1000; i++)
		out8(&x->f, DATA, i % 251);
	assert_int_equal(uart_lost(x->uart), 1000);
	assert_int_equal(x->outputs, 1);
	assert_int_equal(uart_output(x->uart, buf, sizeof(buf)), UART_RING);
	for (uint32_t i = 0; i < UART_RING; i++)
		assert_int_equal(buf[i], (i + 1000) % 251);
}

static void
output_survives_reset_and_is_not_saved(void **state)
{
	struct fixture *x = *state;
	uint8_t a[FAKE_SNAP_MAX], b[FAKE_SNAP_MAX];
	long n = device_save(x->uart, a, sizeof(a));

	write_string(x, "x");
	in8(&x->f, IIR);
	device_reset(x->uart);
	assert_int_equal(device_save(x->uart, b, sizeof(b)), n);
	assert_memory_equal(a, b, (size_t)n);
	assert_output(x, "x");
}

static void
a_port_nobody_listens_to_works(void **state)
{
	struct fixture *x = *state;
	struct device *d = uart_new(&x->f.host, 1, &(struct uart_events){ 0 });
	char c = 'a';

	bus_add(&x->f.bus, PORT_COM2, UART_PORTS, d);
	out8(&x->f, PORT_COM2, 'b');
	assert_int_equal(uart_input(d, &c, 1), 1);
	assert_int_equal(uart_input(d, &c, 1), 0);
	assert_int_equal(in8(&x->f, PORT_COM2), 'a');
	out8(&x->f, PORT_COM2 + 4, OUT2);
	out8(&x->f, PORT_COM2 + 1, THRI);
	assert_true(x->f.line[IRQ_COM2]);
	assert_false(x->f.line[IRQ_COM1]);
	device_free(d);
	assert_null(uart_new(&x->f.host, 2, &(struct uart_events){ 0 }));
}

/* --- input ------------------------------------------------------------------------------------- */

static void
input_is_read_in_order(void **state)
{
	struct fixture *x = *state;

	out8(&x->f, FCR, 1);
	assert_int_equal(input(x, "abc"), 3);
	assert_int_equal(in8(&x->f, LSR), IDLE | DR);
	assert_int_equal(in8(&x->f, DATA), 'a');
	assert_int_equal(in8(&x->f, DATA), 'b');
	assert_int_equal(in8(&x->f, LSR), IDLE | DR);
	assert_int_equal(in8(&x->f, DATA), 'c');
	assert_int_equal(in8(&x->f, LSR), IDLE);
	assert_int_equal(in8(&x->f, DATA), 0);
}

static void
input_beyond_the_fifo_stays_with_the_caller_until_there_is_room(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(input(x, "ab"), 1); /* without FIFOs */
	assert_int_equal(in8(&x->f, DATA), 'a');
	assert_int_equal(x->rooms, 1);
	out8(&x->f, FCR, 1);
	assert_int_equal(input(x, "0123456789abcdefgh"), UART_FIFO);
	assert_int_equal(input(x, "g"), 0);
	assert_int_equal(x->rooms, 1);
	for (int i = 0; i < UART_FIFO; i++) {
		assert_int_equal(x->rooms, 1);
		assert_int_equal(in8(&x->f, DATA), "0123456789abcdef"[i]);
	}
	assert_int_equal(x->rooms, 2);
	assert_int_equal(input(x, "g"), 1);
	in8(&x->f, DATA);
	assert_int_equal(x->rooms, 2); /* nothing had been refused */
	assert_int_equal(in8(&x->f, LSR), IDLE);
}

static void
whatever_empties_the_receiver_makes_room(void **state)
{
	struct fixture *x = *state;
	unsigned rooms = 0;

	input(x, "ab");
	out8(&x->f, FCR, 1); /* FIFOs on: cleared */
	assert_int_equal(x->rooms, ++rooms);
	input(x, "0123456789abcdefg");
	out8(&x->f, FCR, 3); /* clear receiver */
	assert_int_equal(x->rooms, ++rooms);
	assert_int_equal(in8(&x->f, LSR), IDLE);
	input(x, "0123456789abcdefg");
	out8(&x->f, FCR, 5); /* clear transmitter: no */
	assert_int_equal(x->rooms, rooms);
	out8(&x->f, FCR, 2); /* FIFOs off */
	assert_int_equal(x->rooms, ++rooms);
	input(x, "ab");
	out8(&x->f, FCR, 2); /* without FIFOs this bit does nothing */
	assert_int_equal(x->rooms, rooms);
	device_reset(x->uart);
	assert_int_equal(x->rooms, ++rooms);
	out8(&x->f, MCR, LOOP);
	assert_int_equal(input(x, "a"), 0);
	out8(&x->f, MCR, 0);
	assert_int_equal(x->rooms, ++rooms);
}

static void
a_break_is_told_once_it_is_at_the_head(void **state)
{
	struct fixture *x = *state;

	out8(&x->f, FCR, 1);
	input(x, "a");
	assert_true(uart_break(x->uart));
	input(x, "b");
	assert_int_equal(in8(&x->f, LSR), IDLE | DR | FIFOE);
	assert_int_equal(in8(&x->f, DATA), 'a');
	assert_int_equal(in8(&x->f, LSR), IDLE | DR | BI | FE | FIFOE);
	assert_int_equal(in8(&x->f, LSR), IDLE | DR);
	assert_int_equal(in8(&x->f, DATA), 0);
	assert_int_equal(in8(&x->f, LSR), IDLE | DR);
	assert_int_equal(in8(&x->f, DATA), 'b');
	for (int i = 0; i < UART_FIFO; i++)
		assert_true(uart_break(x->uart));
	assert_false(uart_break(x->uart));
	assert_int_equal(in8(&x->f, LSR), IDLE | DR | BI | FE | FIFOE);
	for (int i = 0; i < UART_FIFO; i++)
		in8(&x->f, DATA);
	assert_int_equal(x->rooms, 1);
}

static void
a_break_comes_alone_or_in_the_middle(void **state)
{
	struct fixture *x = *state;

	assert_true(uart_break(x->uart)); /* without FIFOs */
	assert_int_equal(in8(&x->f, LSR), IDLE | DR | BI | FE);
	in8(&x->f, DATA);
	out8(&x->f, FCR, 1);
	assert_true(uart_break(x->uart));
	assert_int_equal(in8(&x->f, LSR), IDLE | DR | BI | FE | FIFOE);
	in8(&x->f, DATA);
	assert_int_equal(in8(&x->f, LSR), IDLE);
	/* Unread errors add up: an overrun, then a break. */
	out8(&x->f, MCR, LOOP);
	for (int i = 0; i <= UART_FIFO; i++)
		out8(&x->f, DATA, 'a');
	out8(&x->f, MCR, 0);
	for (int i = 0; i < UART_FIFO; i++)
		in8(&x->f, DATA);
	assert_true(uart_break(x->uart));
	assert_int_equal(in8(&x->f, LSR), IDLE | DR | OE | BI | FE | FIFOE);
	in8(&x->f, DATA);
	/* And a break, then an overrun; the break that is overwritten is gone. */
	out8(&x->f, FCR, 0);
	uart_break(x->uart);
	out8(&x->f, MCR, LOOP);
	out8(&x->f, DATA, 'a');
	assert_int_equal(in8(&x->f, LSR), IDLE | DR | OE | BI | FE);
	assert_int_equal(in8(&x->f, DATA), 'a');
	out8(&x->f, MCR, 0);
	uart_break(x->uart);
	out8(&x->f, MCR, LOOP);
	out8(&x->f, DATA, 'b');
	assert_saves_whole_or_not_at_all(x->uart, x->uart); /* which a left-over mark would not allow */
	in8(&x->f, LSR);
	assert_int_equal(in8(&x->f, DATA), 'b');
	out8(&x->f, DATA, 'c');
	assert_int_equal(in8(&x->f, LSR), IDLE | DR);
}

/* --- interrupts -------------------------------------------------------------------------------- */

static void
the_transmitter_s_interrupt_is_told_once_and_comes_back(void **state)
{
	struct fixture *x = *state;

	out8(&x->f, MCR, OUT2);
	assert_int_equal(in8(&x->f, IIR), 1);
	/* Linux tests twice that enabling it raises it. */
	for (int i = 0; i < 2; i++) {
		out8(&x->f, IER, THRI);
		assert_true(x->f.line[IRQ_COM1]);
		assert_int_equal(in8(&x->f, IIR), 2);
		assert_false(x->f.line[IRQ_COM1]);
		assert_int_equal(in8(&x->f, IIR), 1);
		out8(&x->f, IER, THRI); /* was on already */
		assert_int_equal(in8(&x->f, IIR), 1);
		out8(&x->f, IER, 0);
	}
	out8(&x->f, IER, THRI);
	in8(&x->f, IIR);
	write_string(x, "abc");
	assert_true(x->f.line[IRQ_COM1]);
	assert_int_equal(in8(&x->f, IIR), 2);
	assert_int_equal(in8(&x->f, IIR), 1);
	/* Off and on again: both the enabled and the unread one are gone and back. */
	write_string(x, "d");
	out8(&x->f, IER, 0);
	assert_false(x->f.line[IRQ_COM1]);
	assert_int_equal(in8(&x->f, IIR), 1);
}

static void
what_comes_from_outside_raises_the_line_at_once(void **state)
{
	struct fixture *x = *state;

	out8(&x->f, MCR, OUT2);
	out8(&x->f, IER, RDI);
	input(x, "a");
	assert_true(x->f.line[IRQ_COM1]);
	in8(&x->f, DATA);
	assert_false(x->f.line[IRQ_COM1]);
	out8(&x->f, IER, RLSI);
	uart_break(x->uart);
	assert_true(x->f.line[IRQ_COM1]);
	in8(&x->f, LSR);
	assert_false(x->f.line[IRQ_COM1]);
}

static void
only_enabled_interrupts_come(void **state)
{
	static const struct {
		uint8_t ier, iir;
	} rows[] = { { 0, 1 }, { RDI, 4 }, { THRI, 2 }, { RLSI, 6 }, { MSI, 0 } };
	struct fixture *x = *state;

	uart_break(x->uart);
	out8(&x->f, MCR, OUT2 | LOOP);
	out8(&x->f, MCR, OUT2);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		out8(&x->f, IER, rows[i].ier);
		assert_true(x->f.line[IRQ_COM1] == (rows[i].iir != 1));
		assert_int_equal(in8(&x->f, IIR), rows[i].iir);
	}
}

static void
interrupts_are_told_by_priority(void **state)
{
	struct fixture *x = *state;

	out8(&x->f, FCR, 0x41); /* trigger at 4 */
	out8(&x->f, MCR, OUT2 | LOOP | RTS);
	out8(&x->f, MCR, OUT2);
	out8(&x->f, IER, RDI | THRI | RLSI | MSI);
	uart_break(x->uart);
	input(x, "abc");
	assert_int_equal(in8(&x->f, IIR), 0xc6);
	in8(&x->f, LSR);
	assert_int_equal(in8(&x->f, IIR), 0xc4);
	in8(&x->f, DATA);
	assert_int_equal(in8(&x->f, IIR), 0xcc); /* less than the trigger level: time-out */
	in8(&x->f, DATA);
	in8(&x->f, DATA);
	in8(&x->f, DATA);
	assert_int_equal(in8(&x->f, IIR), 0xc2);
	assert_int_equal(in8(&x->f, IIR), 0xc0);
	assert_true(x->f.line[IRQ_COM1]);
	in8(&x->f, MSR);
	assert_int_equal(in8(&x->f, IIR), 0xc1);
	assert_false(x->f.line[IRQ_COM1]);
	assert_int_equal(x->f.rises[IRQ_COM1], 1);
}

static void
the_trigger_level_is_that_of_fcr(void **state)
{
	static const unsigned level[] = { 1, 4, 8, 14 };
	struct fixture *x = *state;

	for (uint32_t i = 0; i < 4; i++) {
		out8(&x->f, FCR, 3 | i << 6);
		out8(&x->f, IER, RDI);
		for (unsigned n = 1; n <= UART_FIFO; n++) {
			input(x, "x");
			assert_int_equal(in8(&x->f, IIR), n < level[i] ? 0xcc : 0xc4);
		}
	}
	out8(&x->f, FCR, 0);
	input(x, "x");
	assert_int_equal(in8(&x->f, IIR), 4);
}

static void
out2_connects_the_interrupt(void **state)
{
	struct fixture *x = *state;

	out8(&x->f, IER, THRI);
	assert_false(x->f.line[IRQ_COM1]);
	out8(&x->f, MCR, OUT2);
	assert_true(x->f.line[IRQ_COM1]);
	out8(&x->f, MCR, OUT2 | LOOP);
	assert_false(x->f.line[IRQ_COM1]);
	out8(&x->f, MCR, OUT2);
	assert_true(x->f.line[IRQ_COM1]);
	out8(&x->f, MCR, 0);
	assert_false(x->f.line[IRQ_COM1]);
}

/* --- what drivers probe ------------------------------------------------------------------------ */

static void
a_driver_recognises_a_16550a(void **state)
{
	struct fixture *x = *state;

	out8(&x->f, IER, 0xff);
	assert_int_equal(in8(&x->f, IER), 0x0f); /* no XScale, no 16750 */
	out8(&x->f, IER, 0);
	assert_int_equal(in8(&x->f, IER), 0);
	out8(&x->f, MCR, LOOP | OUT2 | RTS);
	assert_int_equal(in8(&x->f, MSR) & 0xf0, 0x90);
	out8(&x->f, MCR, 0xff);
	assert_int_equal(in8(&x->f, MCR), 0x1f);
	out8(&x->f, MCR, 0);
	out8(&x->f, FCR, 1);
	assert_int_equal(in8(&x->f, IIR), 0xc1);
	out8(&x->f, LCR, 0xbf); /* no enhanced feature register of a 16650 */
	assert_int_equal(in8(&x->f, IIR), 0xc1);
	out8(&x->f, LCR, 0x80);
	out8(&x->f, FCR, 0x21); /* no 64 byte FIFO of a 16750 */
	assert_int_equal(in8(&x->f, IIR), 0xc1);
	out8(&x->f, LCR, 0);
	out8(&x->f, FCR, 0);
	assert_int_equal(in8(&x->f, IIR), 0x01);
	out8(&x->f, SCR, 0xa5);
	assert_int_equal(in8(&x->f, SCR), 0xa5);
}

static void
loopback_shows_a_fifo_of_16_bytes(void **state)
{
	struct fixture *x = *state;
	unsigned n = 0;

	out8(&x->f, FCR, 7);
	out8(&x->f, MCR, LOOP);
	for (uint32_t i = 0; i < 256; i++)
		out8(&x->f, DATA, i);
	assert_int_equal(in8(&x->f, LSR), IDLE | DR | OE);
	assert_int_equal(in8(&x->f, LSR), IDLE | DR);
	for (; in8(&x->f, LSR) & DR; n++)
		assert_int_equal(in8(&x->f, DATA), n);
	assert_int_equal(n, 16);
	assert_output(x, "");
	out8(&x->f, FCR, 0);
	out8(&x->f, DATA, 1);
	out8(&x->f, DATA, 2); /* without FIFOs the newer byte stays */
	assert_int_equal(in8(&x->f, LSR), IDLE | DR | OE);
	assert_int_equal(in8(&x->f, DATA), 2);
}

static void
loopback_joins_modem_outputs_to_inputs(void **state)
{
	static const struct {
		uint8_t mcr, lines, changes;
	} steps[] = {
		{ LOOP, 0x00, 0x0b }, /* from the cable: CTS, DSR and DCD went */
		{ LOOP | DTR, 0x20, 0x02 },
		{ LOOP | RTS, 0x10, 0x03 },
		{ LOOP | OUT1, 0x40, 0x01 }, /* RI counts when it goes, not when it comes */
		{ LOOP | OUT2, 0x80, 0x0c },
		{ LOOP | OUT2, 0x80, 0x00 },
		{ 0, 0xb0, 0x03 },
	};
	struct fixture *x = *state;

	assert_int_equal(in8(&x->f, MSR), 0xb0);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		out8(&x->f, MCR, steps[i].mcr);
		assert_int_equal(in8(&x->f, MSR), steps[i].lines | steps[i].changes);
		assert_int_equal(in8(&x->f, MSR), steps[i].lines);
	}
	out8(&x->f, MCR, LOOP | DTR | RTS | OUT2);
	out8(&x->f, MCR, LOOP | RTS | OUT2);
	out8(&x->f, MCR, LOOP | OUT2);
	out8(&x->f, MCR, LOOP | DTR | OUT2);
	assert_int_equal(in8(&x->f, MSR), 0xa3); /* unread changes add up */
}

static void
the_divisor_hides_behind_dlab(void **state)
{
	struct fixture *x = *state;

	out8(&x->f, LCR, 0x83);
	out8(&x->f, DATA, 0x34);
	out8(&x->f, IER, 0x12);
	assert_int_equal(in16(&x->f, DATA), 0x1234);
	assert_output(x, "");
	out8(&x->f, LCR, 0x03);
	assert_int_equal(in8(&x->f, IER), 0);
	assert_int_equal(in8(&x->f, LCR), 0x03);
	out8(&x->f, LCR, 0x80);
	assert_int_equal(in16(&x->f, DATA), 0x1234);
}

static void
lsr_and_msr_are_read_only(void **state)
{
	struct fixture *x = *state;

	out8(&x->f, LSR, 0);
	out8(&x->f, MSR, 0xff);
	assert_int_equal(in8(&x->f, LSR), IDLE);
	assert_int_equal(in8(&x->f, MSR), 0xb0);
}

/* --- reset and saved state --------------------------------------------------------------------- */

static void
disturb(struct fixture *x)
{
	out8(&x->f, LCR, 0x83);
	out8(&x->f, DATA, 0x34);
	out8(&x->f, IER, 0x12);
	out8(&x->f, LCR, 0x1b);
	out8(&x->f, FCR, 0x81);
	out8(&x->f, MCR, LOOP | DTR);
	for (int i = 0; i < 17; i++) /* for an overrun */
		out8(&x->f, DATA, 'a');
	out8(&x->f, MCR, OUT2 | OUT1);
	in8(&x->f, DATA);
	in8(&x->f, DATA);
	uart_break(x->uart);
	out8(&x->f, SCR, 0x5a);
	out8(&x->f, IER, 0x0d);
}

static void
reset_returns_to_the_beginning(void **state)
{
	struct fixture *x = *state;
	uint8_t a[FAKE_SNAP_MAX], b[FAKE_SNAP_MAX];
	long n = device_save(x->uart, a, sizeof(a));

	disturb(x);
	assert_true(x->f.line[IRQ_COM1]);
	device_reset(x->uart);
	assert_false(x->f.line[IRQ_COM1]);
	assert_int_equal(device_save(x->uart, b, sizeof(b)), n);
	assert_memory_equal(a, b, (size_t)n);
}

static void
saved_state_holds_every_field(void **state)
{
	struct fixture *x = *state;
	struct device *d = fresh(x);

	disturb(x);
	out8(&x->f, IER, 0x0f);
	x->f.line[IRQ_COM1] = false;
	assert_saves_whole_or_not_at_all(x->uart, d);
	assert_true(x->f.line[IRQ_COM1]);
	x->f.bus.n = 0;
	bus_add(&x->f.bus, PORT_COM1, UART_PORTS, d);
	assert_int_equal(in8(&x->f, SCR), 0x5a);
	assert_int_equal(in8(&x->f, LCR), 0x1b);
	assert_int_equal(in8(&x->f, MCR), OUT2 | OUT1);
	assert_int_equal(in8(&x->f, IER), 0x0f);
	assert_int_equal(in8(&x->f, IIR), 0xc6);
	assert_int_equal(in8(&x->f, LSR), IDLE | DR | OE | FIFOE);
	assert_int_equal(in8(&x->f, IIR), 0xc4);
	for (int i = 0; i < 14; i++)
		assert_int_equal(in8(&x->f, DATA), 'a');
	assert_int_equal(in8(&x->f, LSR), IDLE | DR | BI | FE | FIFOE);
	in8(&x->f, DATA);
	assert_int_equal(in8(&x->f, IIR), 0xc2);
	assert_int_equal(in8(&x->f, MSR), 0xb9);
	out8(&x->f, LCR, 0x80);
	assert_int_equal(in16(&x->f, DATA), 0x1234);
	device_free(d);
}

static void
full_fifos_are_saved(void **state)
{
	struct fixture *x = *state;
	struct device *d = fresh(x);

	input(x, "a");
	assert_saves_whole_or_not_at_all(x->uart, d);
	out8(&x->f, FCR, 1);
	assert_int_equal(input(x, "0123456789abcdef"), 16);
	assert_saves_whole_or_not_at_all(x->uart, d);
	device_free(d);
}

static void
a_restore_says_what_the_line_is_and_that_there_is_room(void **state)
{
	struct fixture *x = *state;
	uint8_t buf[FAKE_SNAP_MAX];
	long n = device_save(x->uart, buf, sizeof(buf));

	input(x, "ab");
	x->f.line[IRQ_COM1] = true;
	assert_int_equal(device_restore(x->uart, buf, (size_t)n, NULL), 0);
	assert_false(x->f.line[IRQ_COM1]);
	assert_int_equal(x->rooms, 1);
}

static void
illegal_state_is_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
	} bad[] = {
		{ AT_IER, 0x10 },
		{ AT_FCR, 0x80 },
		{ AT_FCR, 0x09 },
		{ AT_MCR, 0x20 },
		{ AT_MSR, 0x10 },
		{ AT_LSR, 0x04 },
		{ AT_LSR, 0x20 },
		{ AT_THRE, 2 },
		{ AT_FIFO, 1 },
		{ AT_FIFO + 15, 1 },
		{ AT_FIFO_LEN, 17 },
		{ AT_FIFO_LEN, 2 },
		{ AT_BREAKS, 1 },
		{ AT_BREAKS + 1, 0x80 },
	};
	struct fixture *x = *state;
	struct device *d = fresh(x);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_refuses_byte(x->uart, d, bad[i].at, bad[i].byte);
	device_free(d);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		unit(what_the_guest_writes_comes_out),
		unit(output_is_announced_when_there_was_none),
		unit(unread_output_is_overwritten_oldest_first),
		unit(output_survives_reset_and_is_not_saved),
		unit(a_port_nobody_listens_to_works),
		unit(input_is_read_in_order),
		unit(input_beyond_the_fifo_stays_with_the_caller_until_there_is_room),
		unit(whatever_empties_the_receiver_makes_room),
		unit(a_break_is_told_once_it_is_at_the_head),
		unit(a_break_comes_alone_or_in_the_middle),
		unit(the_transmitter_s_interrupt_is_told_once_and_comes_back),
		unit(what_comes_from_outside_raises_the_line_at_once),
		unit(only_enabled_interrupts_come),
		unit(interrupts_are_told_by_priority),
		unit(the_trigger_level_is_that_of_fcr),
		unit(out2_connects_the_interrupt),
		unit(a_driver_recognises_a_16550a),
		unit(loopback_shows_a_fifo_of_16_bytes),
		unit(loopback_joins_modem_outputs_to_inputs),
		unit(the_divisor_hides_behind_dlab),
		unit(lsr_and_msr_are_read_only),
		unit(reset_returns_to_the_beginning),
		unit(saved_state_holds_every_field),
		unit(full_fifos_are_saved),
		unit(a_restore_says_what_the_line_is_and_that_there_is_room),
		unit(illegal_state_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
