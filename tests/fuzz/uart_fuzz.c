/*
 * tests/fuzz/uart_fuzz.c - the serial port under a hostile guest and file, with a console at the other end.
 */
#include "hypervisor/chipset/uart.h"

#include "hypervisor/core/machine.h"
#include "tests/fuzz/device.h"

static struct uart_console {
	unsigned outputs, rooms;
	bool refused;
} console;

static void
on_output(void *ctx)
{
	((struct uart_console *)ctx)->outputs++;
}

static void
on_room(void *ctx)
{
	must(((struct uart_console *)ctx)->refused);
	((struct uart_console *)ctx)->refused = false;
}

static struct device *
fresh(struct fake_host *f)
{
	console = (struct uart_console){ 0 };
	return uart_new(&f->host, 0, &(struct uart_events){ &console, on_output, on_room });
}

static void
attach(struct fake_host *f, struct device *d)
{
	bus_add(&f->bus, PORT_COM1, UART_PORTS, d);
}

static void
event(struct device *d, struct actions *a)
{
	uint8_t what = take8(a), buf[64] = { 0 };
	size_t len = what & 0x1f, n;

	if (what & 0x80) {
		n = uart_output(d, buf, len);
		must(n <= len && (n == 0 || console.outputs));
	} else if (what & 0x40) {
		console.refused |= !uart_break(d);
	} else {
		n = uart_input(d, buf, len);
		must(n <= len && n <= UART_FIFO);
		console.refused |= n < len;
	}
}

/* Once everything is served there is no interrupt. */
static void
check(struct fake_host *f)
{
	out8(f, PORT_COM1 + 3, 0);
	if (!(in8(f, PORT_COM1 + 4) & 8))
		must(!f->line[IRQ_COM1]);
	for (int i = 0; i < UART_FIFO; i++) {
		in8(f, PORT_COM1 + 5);
		in8(f, PORT_COM1);
	}
	in8(f, PORT_COM1 + 6);
	in8(f, PORT_COM1 + 2);
	must((in8(f, PORT_COM1 + 2) & 0x0f) == 1 && !f->line[IRQ_COM1]);
	must(in8(f, PORT_COM1 + 5) == 0x60);
	must(!console.refused || (in8(f, PORT_COM1 + 4) & 0x10));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzzed uart = { PORT_COM1, 16, fresh, attach, event, check };

	fuzz_device(&uart, data, size);
	return 0;
}
