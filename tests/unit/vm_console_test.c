/*
 * tests/unit/vm_console_test.c - consoles: several viewers, those who are slow, those who come late, guests
 * that come and go, and what an earlier agent has kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/vm_console.h"

static char root[64];
static struct consoles *all;
static struct console *console;
static int guest; /* the worker's end */

static int
plug_in(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		abort();
	console_guest(console, pair[0]);
	return pair[1];
}

static int
view(void)
{
	struct err e = { 0 };
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		abort();
	if (console_view(console, pair[0], &e) < 0)
		fail_msg("%s", e.msg);
	return pair[1];
}

static void
open_all(void)
{
	struct err e = { 0 };

	assert_int_equal(consoles_new(&all, root, &e), 0);
	console = console_new(all, "guid-0");
	assert_non_null(console);
	guest = plug_in();
}

static void
close_all(void)
{
	close(guest);
	console_put(console);
	consoles_free(all);
}

static int
setup(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "/tmp/vm_console_test.XXXXXX");
	if (!mkdtemp(root))
		return -1;
	open_all();
	return 0;
}

static int
teardown(void **state)
{
	char command[128];

	(void)state;
	close_all();
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

static void
say(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void
expect(int fd, const char *wanted)
{
	size_t len = strlen(wanted), got = 0;
	char text[256];

	assert_true(len < sizeof(text));
	while (got < len) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (poll(&p, 1, 10000) <= 0)
			fail_msg("only %zu bytes of '%s' came", got, wanted);
		n = read(fd, text + got, len - got);
		assert_true(n > 0);
		got += (size_t)n;
	}
	assert_memory_equal(text, wanted, len);
}

/* Until the other end has closed it. */
static void
expect_end(int fd)
{
	char text[4096];
	struct pollfd p = { .fd = fd, .events = POLLIN };

	do
		assert_true(poll(&p, 1, 10000) > 0);
	while (read(fd, text, sizeof(text)) > 0);
}

static void
several_look_on_and_all_may_type(void **state)
{
	int a = view(), b = view();

	(void)state;
	say(guest, "login: ");
	expect(a, "login: ");
	expect(b, "login: ");
	say(a, "ro");
	expect(guest, "ro");
	say(b, "ot\n");
	expect(guest, "ot\n");
	assert_int_equal(console_viewers(console), 2);
	close(a);
	say(guest, "x");
	expect(b, "x");
	for (int i = 0; i < 1000 && console_viewers(console) > 1; i++)
		usleep(2000);
	assert_int_equal(console_viewers(console), 1);
	close(b);
}

static void
who_comes_late_sees_what_was_written(void **state)
{
	int a = view(), b;

	(void)state;
	say(guest, "boot\n");
	expect(a, "boot\n");
	b = view();
	expect(b, "boot\n");
	close(a);
	close(b);
}

static void
only_the_end_is_kept(void **state)
{
	char line[65] = "", last[70];
	int a = view(), b;

	(void)state;
	for (int i = 0; i < 4096; i++) { /* 256 KiB, all read by a */
		snprintf(line, sizeof(line), "%062d\r\n", i);
		say(guest, line);
		expect(a, line);
	}
	b = view();
	snprintf(last, sizeof(last), "%062d\r\n", 4096 - CONSOLE_KEPT / 64);
	expect(b, last); /* the oldest of the last 64 KiB */
	close(a);
	close(b);
}

static void
one_that_does_not_read_holds_nobody_up(void **state)
{
	int slow = view(), fast = view();
	char block[1024];

	(void)state;
	memset(block, 'x', sizeof(block) - 1);
	block[sizeof(block) - 1] = '\0';
	for (int i = 0; i < 2000; i++) { /* 2 MB: more than any socket holds */
		char text[sizeof(block)];
		size_t got = 0;

		say(guest, block);
		while (got < sizeof(block) - 1) {
			ssize_t n = read(fast, text, sizeof(text) - 1 - got);

			assert_true(n > 0);
			got += (size_t)n;
		}
	}
	assert_int_equal(console_viewers(console), 2);
	close(slow);
	close(fast);
}

static void
a_guest_that_does_not_read_holds_nobody_up(void **state)
{
	int a = view(), b = view();
	char block[1024];
	size_t sent = 0;

	(void)state;
	memset(block, 'y', sizeof(block));
	for (;;) { /* until nothing more is taken */
		ssize_t n = send(a, block, sizeof(block), MSG_DONTWAIT);

		if (n < 0) {
			usleep(20000);
			n = send(a, block, sizeof(block), MSG_DONTWAIT);
		}
		if (n < 0)
			break;
		sent += (size_t)n;
		assert_true(sent < 16 * 1024 * 1024);
	}
	say(guest, "still here\n");
	expect(b, "still here\n");
	close(a); /* full, and gone */
	say(guest, "and now\n");
	expect(b, "and now\n");
	close(b);
}

static void
a_machine_that_starts_again_has_the_same_viewers(void **state)
{
	int a = view();

	(void)state;
	say(guest, "last words\n");
	close(guest);
	guest = plug_in(); /* at once: nothing is lost */
	say(guest, "first words\n");
	expect(a, "last words\nfirst words\n");
	close(guest);
	say(a, "to nobody");
	usleep(20000);
	guest = plug_in();
	say(a, "z");
	expect(guest, "z"); /* what was typed while it was off was not kept for it */
	close(a);
}

static void
one_too_many_takes_the_place_of_the_oldest(void **state)
{
	int v[CONSOLE_VIEWERS + 1];

	(void)state;
	for (int i = 0; i <= CONSOLE_VIEWERS; i++)
		v[i] = view();
	assert_int_equal(console_viewers(console), CONSOLE_VIEWERS);
	expect_end(v[0]);
	say(guest, "x");
	for (int i = 1; i <= CONSOLE_VIEWERS; i++)
		expect(v[i], "x");
	for (int i = 0; i <= CONSOLE_VIEWERS; i++)
		close(v[i]);
}

static void
what_was_kept_outlives_the_agent(void **state)
{
	int a = view();

	(void)state;
	say(guest, "before\n");
	expect(a, "before\n");
	close(a);
	close_all();
	open_all();
	say(guest, "after\n");
	a = view();
	expect(a, "before\nafter\n");
	close(a);
	console_forget(console);
	close_all();
	open_all();
	a = view();
	say(guest, "new\n");
	expect(a, "new\n");
	close(a);
}

static void
a_console_that_ends_ends_its_viewers(void **state)
{
	int a = view();

	(void)state;
	console_put(console);
	expect_end(a);
	console = console_new(all, "guid-1");
	close(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(several_look_on_and_all_may_type),
		TEST(who_comes_late_sees_what_was_written),
		TEST(only_the_end_is_kept),
		TEST(one_that_does_not_read_holds_nobody_up),
		TEST(a_guest_that_does_not_read_holds_nobody_up),
		TEST(a_machine_that_starts_again_has_the_same_viewers),
		TEST(one_too_many_takes_the_place_of_the_oldest),
		TEST(what_was_kept_outlives_the_agent),
		TEST(a_console_that_ends_ends_its_viewers),
	};

	signal(SIGPIPE, SIG_IGN);
	alarm(120);
	return cmocka_run_group_tests_name("vm_console", tests, NULL, NULL);
}
