/* hypervisor/worker/console.c - a serial port's other end. */
#include "hypervisor/worker/console.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "hypervisor/chipset/uart.h"

void
console_init(struct console *c, struct device *port)
{
	c->port = port;
	c->fd = -1;
}

int
console_attach(struct console *c, int fd, struct err *e)
{
	int flags = fcntl(fd, F_GETFL);

	if (!c->port) {
		close(fd);
		return err_set(e, ENODEV, "Port: the machine has no such serial port");
	}
	/* Also for the other holders of this open file: they were told that it is ours now. */
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		err_sys(e, "console");
		close(fd);
		return -e->code;
	}
	console_detach(c);
	c->fd = fd;
	console_pump(c);
	return 0;
}

void
console_detach(struct console *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->in_len = c->in_at = 0;
	c->in_end = false;
}

short
console_wants(const struct console *c)
{
	short events = 0;

	if (c->fd < 0)
		return 0;
	if (c->out_at < c->out_len)
		events |= POLLOUT;
	if (c->in_at == c->in_len && !c->in_end)
		events |= POLLIN;
	return events;
}

/* Takes output from the port when there is none left to write. Returns false when there is none at all. */
static bool
fetch(struct console *c)
{
	if (c->out_at == c->out_len) {
		c->out_at = 0;
		c->out_len = uart_output(c->port, c->out, sizeof(c->out));
	}
	return c->out_len > 0;
}

/* Returns false when the descriptor takes no more for now, or is gone. */
static bool
write_some(struct console *c)
{
	ssize_t n;

	if (!fetch(c))
		return false;
	n = write(c->fd, c->out + c->out_at, c->out_len - c->out_at);
	if (n >= 0) {
		c->out_at += (size_t)n;
		return true;
	}
	if (errno != EAGAIN && errno != EINTR)
		console_detach(c);
	return false;
}

/* Returns false when there is nothing to read for now, or the guest takes no more. */
static bool
read_some(struct console *c)
{
	ssize_t n;

	if (c->in_at == c->in_len) {
		n = c->in_end ? -1 : read(c->fd, c->in, sizeof(c->in));
		c->in_at = c->in_len = 0;
		/* A closed input, or a descriptor that is for writing only, is no reason to stop the output.
		 */
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			c->in_end = true;
		if (n <= 0)
			return false;
		c->in_len = (size_t)n;
	}
	n = (ssize_t)uart_input(c->port, c->in + c->in_at, c->in_len - c->in_at);
	c->in_at += (size_t)n;
	return n > 0;
}

void
console_pump(struct console *c)
{
	/* Bounded: one ring's worth of output, one FIFO's worth of input refills, then others have their
	 * turn. */
	for (int i = 0; i < UART_RING / CONSOLE_CHUNK + 1 && c->fd >= 0 && write_some(c); i++)
		;
	/* The port tells only when its ring stops being empty: what is left must be seen by console_wants. */
	if (c->fd >= 0)
		fetch(c);
	for (int i = 0; i < 4 && c->fd >= 0 && read_some(c); i++)
		;
}
