/*
 * hypervisor/chipset/uart.h - serial port: a 16550A on the guest's side, a stream of bytes on ours.
 *
 * Output never holds the guest up: it goes into a ring of UART_RING bytes, and when nobody reads, the
 * oldest bytes give way. So the ring is also what a console shows first when it is opened: the
 * last 64 KiB. Input goes into the receive FIFO as far as there is room.
 *
 * All functions may be called from any thread that does not hold the device's lock. The events
 * come with that lock held, mostly on a processor's thread: they may wake somebody up, no more.
 */
#ifndef HYPERVISOR_CHIPSET_UART_H
#define HYPERVISOR_CHIPSET_UART_H

#include "hypervisor/chipset/device.h"

enum { UART_PORTS = 8, UART_FIFO = 16, UART_RING = 64 * 1024 };

struct uart_events {
	void *ctx;
	void (*output)(void *ctx); /* the ring is no longer empty; may be NULL */
	void (*room)(void *ctx);   /* input that was refused can be offered again; may be NULL */
};

/* Instance 0 is COM1, 1 is COM2: they differ in their interrupt. NULL when memory is out. */
struct device *uart_new(const struct device_host *host, unsigned instance, const struct uart_events *events);

/* Takes pending output, oldest first. Returns the bytes; 0 when there are none: then `output` comes again. */
size_t uart_output(struct device *dev, void *buf, size_t cap);
/* Bytes that nobody had read when they were overwritten, since the machine was started. */
uint64_t uart_lost(struct device *dev);
/* Returns how many bytes were accepted; the rest stays with the caller, for whom `room` comes. */
size_t uart_input(struct device *dev, const void *buf, size_t len);
/* The line is held at break for a moment (Linux: magic SysRq). False when there is no room for it. */
bool uart_break(struct device *dev);

#endif
