/*
 * tests/unit/console_test.c - a serial port's other end, on a real port with real sockets and pipes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hypervisor/chipset/uart.h"
#include "hypervisor/worker/console.h"
#include "tests/unit/fake_host.h"

struct world {
	struct fake_host f;
	struct device *port;
	struct console c;
	int end; /* ours */
	unsigned outputs, rooms;
};
static struct world w;

static void
on_output(void *ctx)
{
	(void)ctx;
	w.outputs++;
}

static void
on_room(void *ctx)
{
	(void)ctx;
	w.rooms++;
}

enum { PORT = 0x3f8, LSR = PORT + 5, FCR = PORT + 2 };

static int
setup(void **state)
{
	const struct uart_events events = { NULL, on_output, on_room };

	(void)state;
	memset(&w, 0, sizeof(w));
	signal(SIGPIPE, SIG_IGN);
	fake_host_init(&w.f);
	w.port = uart_new(&w.f.host, 0, &events);
	bus_add(&w.f.bus, PORT, UART_PORTS, w.port);
	out8(&w.f, FCR, 1);
	console_init(&w.c, w.port);
	w.end = -1;
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	console_detach(&w.c);
	if (w.end >= 0)
		close(w.end);
	device_free(w.port);
	return 0;
}

static void
attach_socket(void)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	w.end = fd[1];
	assert_int_equal(fcntl(w.end, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(console_attach(&w.c, fd[0], NULL), 0);
}

/* Attaches the writing end of a pipe of one page; the reading end is ours. */
static void
attach_pipe(void)
{
	int fd[2];

	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	assert_int_equal(fcntl(fd[0], F_SETPIPE_SZ, 4096), 4096);
	w.end = fd[0];
	assert_int_equal(fcntl(w.end, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(console_attach(&w.c, fd[1], NULL), 0);
}

static uint8_t
pattern(size_t i)
{
	return (uint8_t)(i ^ i >> 8 ^ i >> 16);
}

static void
guest_writes(size_t from, size_t n)
{
	for (size_t i = from; i < from + n; i++)
		out8(&w.f, PORT, pattern(i));
}

/* What our end has, which must be the pattern from `from` on. Returns the bytes. */
static size_t
hear(size_t from)
{
	uint8_t buf[8192];
	size_t got = 0;
	ssize_t n;

	while ((n = read(w.end, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(buf[i], pattern(from + got++));
	return got;
}

/* As much as the guest can read now. */
static size_t
guest_reads(uint8_t *buf, size_t max)
{
	size_t n = 0;

	while (n < max && (in8(&w.f, LSR) & 1))
		buf[n++] = in8(&w.f, PORT);
	return n;
}

/* Each byte that goes through write() makes the guest write more, if this is not 0. */
static size_t more_per_write, more_from, more_end;
ssize_t __real_write(int fd, const void *buf, size_t n);
ssize_t __wrap_write(int fd, const void *buf, size_t n);

ssize_t
__wrap_write(int fd, const void *buf, size_t n)
{
	ssize_t rc = __real_write(fd, buf, n);

	for (size_t i = 0; rc > 0 && i < more_per_write && more_from < more_end; i++)
		out8(&w.f, PORT, pattern(more_from++));
	return rc;
}

static void
nothing_is_lost_while_the_reader_keeps_up(void **state)
{
	size_t heard = 0;

	(void)state;
	attach_socket();
	for (size_t i = 0; i < 300000; i += 1000) {
		guest_writes(i, 1000);
		console_pump(&w.c);
		heard += hear(heard);
	}
	assert_int_equal(heard, 300000);
	assert_int_equal(uart_lost(w.port), 0);
	assert_int_equal(console_wants(&w.c), POLLIN);
}

static void
a_reader_that_is_too_slow_loses_the_oldest(void **state)
{
	size_t lost, heard, total = 200000, first;

	(void)state;
	attach_pipe();
	guest_writes(0, 4096);
	console_pump(&w.c); /* the pipe is full */
	guest_writes(4096, total - 4096);
	console_pump(&w.c); /* and does not hold us up */
	assert_int_equal(console_wants(&w.c) & POLLOUT, POLLOUT);
	lost = uart_lost(w.port);
	assert_true(lost > 0);
	first = hear(0); /* what was under way when it became slow */
	assert_in_range(first, 4096, 8192);
	heard = 0;
	for (int i = 0; i < 40; i++) {
		console_pump(&w.c);
		heard += hear(first + lost + heard);
	}
	assert_int_equal(first + lost + heard, total);
	assert_true(heard + 8192 >= UART_RING);
}

static void
output_that_grows_while_it_is_written_is_not_forgotten(void **state)
{
	size_t heard = 0;

	(void)state;
	attach_socket();
	more_from = 65536;
	more_end = 400000;
	more_per_write = CONSOLE_CHUNK; /* as fast as it is written */
	guest_writes(0, 65536);
	for (int i = 0; i < 1000 && (console_wants(&w.c) & POLLOUT || w.outputs); i++) {
		w.outputs = 0; /* only what tells the loop to pump makes us pump */
		console_pump(&w.c);
		heard += hear(heard);
	}
	more_per_write = 0;
	assert_int_equal(uart_lost(w.port), 0);
	assert_int_equal(heard, 400000);
}

static void
what_was_written_before_comes_first(void **state)
{
	(void)state;
	guest_writes(0, 100000);
	attach_socket();
	for (int i = 0; i < 10; i++)
		console_pump(&w.c);
	assert_int_equal(hear(100000 - UART_RING), UART_RING);
}

static void
a_reader_that_has_gone_is_let_go(void **state)
{
	(void)state;
	attach_socket();
	close(w.end);
	w.end = -1;
	guest_writes(0, 10);
	console_pump(&w.c);
	assert_int_equal(w.c.fd, -1);
	assert_int_equal(console_wants(&w.c), 0);
	attach_socket(); /* the next one has what the first never got */
	console_pump(&w.c);
	assert_int_equal(hear(0), 10);
}

static void
a_writer_that_has_ended_still_reads(void **state)
{
	uint8_t buf[4];

	(void)state;
	attach_socket();
	assert_int_equal(write(w.end, "bye", 3), 3);
	shutdown(w.end, SHUT_WR);
	console_pump(&w.c);
	assert_int_equal(guest_reads(buf, sizeof(buf)), 3);
	console_pump(&w.c);
	assert_int_equal(console_wants(&w.c), 0); /* else poll would return at once, for ever */
	guest_writes(0, 5000);
	console_pump(&w.c);
	assert_int_equal(hear(0), 5000);
}

static void
a_descriptor_for_writing_only_is_not_asked_again(void **state)
{
	(void)state;
	attach_pipe();
	console_pump(&w.c);
	assert_int_equal(console_wants(&w.c), 0);
	guest_writes(0, 10);
	console_pump(&w.c);
	assert_int_equal(hear(0), 10);
}

static void
a_descriptor_for_reading_only_is_let_go_at_the_first_output(void **state)
{
	int fd[2];
	uint8_t buf[4];

	(void)state;
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	assert_int_equal(console_attach(&w.c, fd[0], NULL), 0);
	w.end = fd[1];
	assert_int_equal(write(w.end, "abc", 3), 3);
	console_pump(&w.c);
	assert_int_equal(guest_reads(buf, sizeof(buf)), 3);
	guest_writes(0, 1);
	console_pump(&w.c);
	assert_int_equal(w.c.fd, -1);
}

static void
input_larger_than_the_fifo_arrives_whole(void **state)
{
	uint8_t sent[1000], got[1000];
	size_t n = 0;

	(void)state;
	attach_socket();
	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = pattern(i);
	assert_int_equal(write(w.end, sent, sizeof(sent)), sizeof(sent));
	console_pump(&w.c);
	assert_int_equal(console_wants(&w.c), 0); /* the FIFO is full: the guest has the next word */
	for (int i = 0; i < 1000 && n < sizeof(got); i++) {
		unsigned rooms = w.rooms;

		n += guest_reads(got + n, sizeof(got) - n);
		if (w.rooms != rooms || console_wants(&w.c))
			console_pump(&w.c);
	}
	assert_int_equal(n, sizeof(got));
	assert_memory_equal(sent, got, sizeof(got));
}

static void
another_descriptor_takes_the_place_of_the_first(void **state)
{
	int first;
	char c;

	(void)state;
	attach_socket();
	first = w.end;
	guest_writes(0, 10);
	console_pump(&w.c);
	assert_int_equal(hear(0), 10);
	attach_socket();
	guest_writes(10, 10);
	console_pump(&w.c);
	assert_int_equal(hear(10), 10);
	assert_int_equal(read(first, &c, 1), 0); /* it was closed */
	close(first);
}

static void
input_of_the_one_before_is_forgotten(void **state)
{
	uint8_t buf[64], sent[40] = { 0 };

	(void)state;
	attach_socket();
	assert_int_equal(write(w.end, sent, sizeof(sent)), sizeof(sent));
	console_pump(&w.c);
	close(w.end);
	attach_socket();
	assert_int_equal(guest_reads(buf, sizeof(buf)), UART_FIFO);
	assert_int_equal(write(w.end, "new", 3), 3);
	console_pump(&w.c);
	assert_int_equal(guest_reads(buf, sizeof(buf)), 3);
	assert_memory_equal(buf, "new", 3);
}

static void
a_machine_without_the_port_says_so(void **state)
{
	struct console none;
	struct err e = { 0 };
	int fd[2];

	(void)state;
	memset(&none, 0, sizeof(none));
	console_init(&none, NULL);
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	assert_int_equal(console_attach(&none, fd[1], &e), -ENODEV);
	assert_string_equal(e.msg, "Port: the machine has no such serial port");
	assert_int_equal(fcntl(fd[1], F_GETFD), -1); /* not kept, not lost */
	close(fd[0]);
	assert_int_equal(console_wants(&none), 0);
}

static void
a_descriptor_that_is_none_is_refused_and_the_old_one_kept(void **state)
{
	struct err e = { 0 };

	(void)state;
	attach_socket();
	assert_int_equal(console_attach(&w.c, 12345, &e), -EBADF);
	guest_writes(0, 3);
	console_pump(&w.c);
	assert_int_equal(hear(0), 3);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		unit(nothing_is_lost_while_the_reader_keeps_up),
		unit(a_reader_that_is_too_slow_loses_the_oldest),
		unit(output_that_grows_while_it_is_written_is_not_forgotten),
		unit(what_was_written_before_comes_first),
		unit(a_reader_that_has_gone_is_let_go),
		unit(a_writer_that_has_ended_still_reads),
		unit(a_descriptor_for_writing_only_is_not_asked_again),
		unit(a_descriptor_for_reading_only_is_let_go_at_the_first_output),
		unit(input_larger_than_the_fifo_arrives_whole),
		unit(another_descriptor_takes_the_place_of_the_first),
		unit(input_of_the_one_before_is_forgotten),
		unit(a_machine_without_the_port_says_so),
		unit(a_descriptor_that_is_none_is_refused_and_the_old_one_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
